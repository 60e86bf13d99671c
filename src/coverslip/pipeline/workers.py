"""Tasks to workers and outcomes back; a worker that dies takes no other slide along."""

from __future__ import annotations

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    wait,
)
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from coverslip.core.errors import MissingExtraError, UsageError
from coverslip.pipeline.execution import Execution
from coverslip.pipeline.slide_run import Outcome, SlideTask, process
from coverslip.store import Event, RunFolder

TICK_S = 0.2
"""How often the caller is given a chance to look at the log while nothing ends."""

CONNECT_S = 10
"""How long a Dask scheduler may take to answer."""

DIED = "the worker process died, most likely stopped by the system for want of memory"
DIED_MEND = "run with fewer --workers, or on a machine with more memory; the other slides are not affected"


@dataclass(frozen=True)
class Pool:
    """Workers of one kind.

    Attributes
    ----------
    width
        How many tasks are handed out at once.
    executor
        Opens an executor; leaving the context stops the workers.
    """

    width: int
    executor: Callable[[], AbstractContextManager[Executor]]


def pool_of(execution: Execution) -> Pool:
    """Return the workers that `execution` names."""
    if execution.cluster is not None:
        address = execution.cluster
        return Pool(1 << 30, lambda: _cluster(address))
    return Pool(execution.workers, lambda: _processes(execution.workers))


def outcomes(
    tasks: Sequence[SlideTask], execution: Execution, tick: Callable[[], None]
) -> Generator[Outcome, None, None]:
    """Run all tasks and yield their outcomes as they end.

    Parameters
    ----------
    tick
        Called a few times a second.
    """
    if execution.workers == 0 and execution.cluster is None:
        for task in tasks:
            outcome = process(task)
            tick()
            yield outcome
        return
    pool, suspects = pool_of(execution), []
    waiting = deque(tasks)
    while waiting:
        with pool.executor() as executor:
            suspects += yield from _drive(executor, waiting, pool.width, tick)
    # when a pool breaks it does not say through whom: each slide that was in the works is tried again, alone
    for task in suspects:
        with pool.executor() as executor:
            for _ in (yield from _drive(executor, deque([task]), 1, tick)):
                yield _died(task)


def refuse_unguarded() -> None:
    """Refuse to start a run from a worker that is only just importing the user's script.

    Raises
    ------
    UsageError
        When a script calls this outside ``if __name__ == "__main__":``.
    """
    import multiprocessing

    # what multiprocessing itself looks at to tell this case
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise UsageError(
            "a worker process imports your script, and the script starts a run when imported",
            mend='put the call under `if __name__ == "__main__":`, or give Execution(workers=0)',
        )


def _drive(
    executor: Executor, waiting: deque[SlideTask], width: int, tick: Callable[[], None]
) -> Generator[Outcome, None, list[SlideTask]]:
    """Yield outcomes until all is done or the pool breaks; return the tasks that were in the works then."""
    running: dict[Future[Outcome], SlideTask] = {}
    broken: list[SlideTask] = []
    while (waiting and not broken) or running:
        while waiting and not broken and len(running) < width:
            try:
                running[executor.submit(process, waiting[0])] = waiting[0]
            except BrokenExecutor:
                if not running:  # it broke while idle, so nobody else will say so
                    broken.append(waiting.popleft())
                break
            waiting.popleft()
        done, _ = wait(running, timeout=TICK_S, return_when=FIRST_COMPLETED)
        tick()
        for future in done:
            task = running.pop(future)
            try:
                yield future.result()
            except BrokenExecutor:
                broken.append(task)
            except (Exception, CancelledError) as error:  # noqa: BLE001 - a cluster's own: the task raises none
                yield _lost(task, error)
    return broken


def _died(task: SlideTask) -> Outcome:
    return _failed(
        task, Event("failed", task.source.id, "worker", error="WorkerDied", message=DIED, mend=DIED_MEND)
    )


def _lost(task: SlideTask, error: BaseException) -> Outcome:
    killed = type(error).__name__ == "KilledWorker"
    told = f"{DIED} ({error})" if killed else f"the slide was lost on its way to a worker or back: {error}"
    mend = "run the same command again; with --workers 0, or the cluster's own log, it shows why"
    name = type(error).__name__
    return _failed(task, Event("failed", task.source.id, "worker", error=name, message=told, mend=mend))


def _failed(task: SlideTask, event: Event) -> Outcome:
    RunFolder(task.run).log(event)
    return Outcome(task.source.id, "failed", event)


# ------------------------------------------------------------------ processes on this machine
@contextmanager
def _processes(workers: int) -> Iterator[Executor]:
    import multiprocessing

    others = set(multiprocessing.active_children())
    context = multiprocessing.get_context("spawn")  # threads and open files of this process stay out of it
    executor = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin_worker)
    try:
        yield executor
        executor.shutdown(wait=True)
    except BaseException:
        executor.shutdown(wait=False, cancel_futures=True)
        for child in set(multiprocessing.active_children()) - others:
            child.terminate()
        raise


def _begin_worker() -> None:
    """Leave Ctrl-C to the parent, and end when it ends, however that happens."""
    from multiprocessing import connection, parent_process

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    if parent is None:
        return

    def watch() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="coverslip-parent").start()


# ------------------------------------------------------------------ a Dask cluster
@contextmanager
def _cluster(address: str) -> Iterator[Executor]:
    try:
        from distributed import Client
    except ImportError as error:
        raise MissingExtraError.of("distributed", "cluster") from error
    try:
        client = Client(address, timeout=CONNECT_S)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        raise UsageError(
            f"no Dask scheduler answers at {address}: {error}",
            mend="start one with `dask scheduler` and give the address that it prints",
        ) from error
    with client:
        executor: Executor = client.get_executor(pure=False)  # type: ignore[no-untyped-call]
        try:
            yield executor
        except BaseException:
            executor.shutdown(wait=False)
            raise
