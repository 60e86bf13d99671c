"""A Dask cluster: a real scheduler, two workers, one killed in the middle; nothing is lost."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import acting
import pytest

from coverslip.core.errors import UsageError
from coverslip.pipeline import Execution, Recipe, run_recipe
from coverslip.slides import find_slides

pytest.importorskip("distributed", reason='Dask is not installed: pip install "coverslip[cluster]"')


def free_port() -> int:
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return int(asked.getsockname()[1])


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """Start a scheduler and two workers as processes of their own, as on several machines."""
    address = f"tcp://127.0.0.1:{free_port()}"
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]),
        "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "30s",
        "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "15s",
    }
    scheduler = ["scheduler", "--host", "127.0.0.1", "--port", address.rpartition(":")[2], "--no-dashboard"]
    worker = ["worker", address, "--nthreads", "1", "--no-nanny", "--no-dashboard"]
    worker += ["--local-directory", str(tmp_path / "dask")]
    started = [
        subprocess.Popen([sys.executable, "-m", "dask", *words], env=environment, stderr=subprocess.DEVNULL)
        for words in (scheduler, worker, worker)
    ]
    yield address, started[1:]
    for process in reversed(started):
        process.kill()
        process.wait()


def test_a_killed_worker_loses_nothing(cluster: tuple, slides: Callable[..., Path], tmp_path: Path) -> None:
    address, workers = cluster
    names = [f"s{number}" for number in range(6)]
    folder, diary = slides(*names), tmp_path / "diary"
    stages = (acting.Brightness(), acting.Lingering(diary=str(diary)))
    killer = Killer(workers[0], diary)
    execution = Execution(cluster=address)
    result = run_recipe(Recipe("r", stages), find_slides([folder]), tmp_path / "run", execution=execution,
                        listener=killer)  # fmt: skip
    assert killer.killed
    assert workers[0].wait(5) == -signal.SIGKILL
    assert result.ok, [outcome.failure for outcome in result.failed]
    for number, name in enumerate(names):
        assert result.run.get(name, "tables/lingering")["value"].tolist() == [100 + 10 * number]
    again = run_recipe(Recipe("r", stages), find_slides([folder]), tmp_path / "run", execution=execution)
    assert {outcome.status for outcome in again.outcomes} == {"fresh"}


class Killer(acting.Quiet):
    """Kills a worker once both are at work."""

    def __init__(self, worker: subprocess.Popen[bytes], diary: Path) -> None:
        self.worker, self.diary, self.killed = worker, diary, False

    def event(self, event: object) -> None:  # noqa: ARG002 - which one it is does not matter
        lines = self.diary.read_text().splitlines() if self.diary.exists() else []
        pids = {line.split()[1] for line in lines}
        if not self.killed and str(self.worker.pid) in pids:
            self.worker.send_signal(signal.SIGKILL)
            self.killed = True


def test_no_scheduler_at_the_address_is_said(
    slides: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coverslip.pipeline.workers.CONNECT_S", 1)
    recipe, sources = Recipe("r", (acting.Brightness(),)), find_slides([slides("a")])
    began = time.monotonic()
    with pytest.raises(UsageError, match=r"no Dask scheduler answers at tcp://127.0.0.1:9.*dask scheduler"):
        run_recipe(recipe, sources, tmp_path / "run", execution=Execution(cluster="tcp://127.0.0.1:9"))
    assert time.monotonic() - began < 15
