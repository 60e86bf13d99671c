"""The runner: resume, failures per slide, workers that die, interrupts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, ThreadPoolExecutor
from pathlib import Path

import acting
import pytest

from coverslip.core.errors import StoreError, UsageError
from coverslip.pipeline import (
    Execution,
    Listener,
    Pipeline,
    Recipe,
    RunResult,
    run_recipe,
    status_of,
    workers,
)
from coverslip.slides import find_slides, open_slide
from coverslip.store import Event, RunFolder
from coverslip.store.claim import claimed

HERE = Execution(workers=0)
BOTH = (acting.Brightness(), acting.Doubled())


def run(folder: Path, out: Path, *stages: object, execution: Execution = HERE) -> RunResult:
    return run_recipe(Recipe("r", stages or BOTH), find_slides([folder]), out, execution=execution)


def states(result: RunResult) -> dict[str, str]:
    return {outcome.slide: outcome.status for outcome in result.outcomes}


def computed(result: RunResult) -> dict[str, tuple[str, ...]]:
    return {outcome.slide: outcome.computed for outcome in result.outcomes}


# ------------------------------------------------------------------ doing and doing again
def test_every_slide_goes_through_every_stage(slides: Callable[..., Path], tmp_path: Path) -> None:
    result = run(slides("a", "b"), tmp_path / "run")
    assert result.ok
    assert computed(result) == dict.fromkeys("ab", ("open", "brightness", "doubled"))
    assert result.run.get("b", "tables/doubled")["value"].tolist() == pytest.approx([220], abs=2)
    assert result.run.get("a", "slide")["width"] == 60
    assert [(e.slide, e.stage) for e in result.run.events() if e.slide == "a"] == [
        ("a", "open"), ("a", "brightness"), ("a", "doubled"),
    ]  # fmt: skip
    noted = [event.note for event in result.run.events() if event.stage == "brightness"]
    assert noted == [["bright"], ["bright"]]


def test_again_computes_nothing_and_touches_nothing(slides: Callable[..., Path], tmp_path: Path) -> None:
    folder, out = slides("a", "b"), tmp_path / "run"
    run(folder, out)
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*") if p.is_file() and p.name != "run.json"}
    result = run(folder, out, execution=Execution(workers=2))  # would need seconds to start
    assert states(result) == {"a": "fresh", "b": "fresh"}
    assert {p: p.stat().st_mtime_ns for p in out.rglob("*") if p.is_file() and p.name != "run.json"} == before


def test_another_parameter_redoes_what_stands_on_it(slides: Callable[..., Path], tmp_path: Path) -> None:
    folder, out = slides("a"), tmp_path / "run"
    run(folder, out)
    result = run(folder, out, acting.Brightness(factor=2.0), acting.Doubled())
    assert computed(result) == {"a": ("brightness", "doubled")}
    result = run(folder, out, acting.Brightness(factor=2.0), acting.Doubled(diary=str(tmp_path / "diary")))
    assert computed(result) == {"a": ("doubled",)}
    assert result.run.get("a", "tables/doubled")["value"].tolist() == pytest.approx([400], abs=4)


def test_changed_content_and_mpp_redo_everything(slides: Callable[..., Path], tmp_path: Path) -> None:
    folder, out = slides("a"), tmp_path / "run"
    run(folder, out)
    slides("b", "a")  # a is brighter now
    result = run(folder, out)
    assert computed(result)["a"] == ("open", "brightness", "doubled")
    sources = find_slides([folder / "a.tif"])
    said = [type(source)(source.id, source.path, 0.5) for source in sources]
    again = run_recipe(Recipe("r", BOTH), said, out, execution=HERE)
    assert computed(again) == {"a": ("open", "brightness", "doubled")}
    assert again.run.provenance("a", "tables/doubled").slide.mpp_source == "user"
    assert run_recipe(Recipe("r", BOTH), said, out, execution=HERE).outcomes[0].status == "fresh"


def test_more_slides_and_a_moved_run_keep_what_is_done(slides: Callable[..., Path], tmp_path: Path) -> None:
    folder, out = slides("a"), tmp_path / "run"
    run(folder, out)
    moved = out.rename(tmp_path / "moved")
    elsewhere = folder.rename(tmp_path / "elsewhere")
    (elsewhere / "b.tif").write_bytes((elsewhere / "a.tif").read_bytes())
    assert states(run(elsewhere, moved)) == {"a": "fresh", "b": "done"}


def test_a_damaged_result_is_made_again(slides: Callable[..., Path], tmp_path: Path) -> None:
    folder, out = slides("a"), tmp_path / "run"
    path = run(folder, out).run.path_of("a", "tables/brightness")
    path.write_bytes(b"PAR1")
    assert computed(run(folder, out)) == {"a": ("brightness",)}


# ------------------------------------------------------------------ failures
def test_one_failure_stops_no_other_slide(slides: Callable[..., Path], tmp_path: Path) -> None:
    folder = slides("a", "brown", "fault", "z")
    (folder / "empty.svs").write_bytes(b"")
    (folder / "text.svs").write_text("no slide")
    result = run(folder, tmp_path / "run", *BOTH, acting.Ending())
    assert states(result) == {
        "a": "done", "z": "done", "brown": "failed", "fault": "failed", "empty": "failed", "text": "failed",
    }  # fmt: skip
    assert not result.ok
    told = {o.slide: o.failure for o in result.failed}
    assert (told["brown"].stage, told["brown"].error, told["brown"].mend) == (
        "doubled",
        "StainError",
        "leave it out",
    )
    assert (told["empty"].stage, told["text"].stage) == ("open", "open")
    assert "zero bytes" in told["empty"].message
    assert told["fault"].error == "ZeroDivisionError"
    assert "acting.py" in told["fault"].traceback
    assert "please report it" in told["fault"].mend
    assert told["brown"].traceback is None
    logged = {e.slide: e.message for e in result.run.events() if e.status == "failed"}
    assert logged == {slide: event.message for slide, event in told.items()}
    assert "6 slides" in result.run.get(None, "report")


def test_only_what_failed_is_tried_again(slides: Callable[..., Path], tmp_path: Path) -> None:
    folder, out, diary = slides("a", "brown"), tmp_path / "run", tmp_path / "diary"
    stages = (acting.Brightness(), acting.Doubled(diary=str(diary)))
    run(folder, out, *stages)
    assert computed(run(folder, out, *stages)) == {"a": (), "brown": ()}
    assert diary.read_text().split() == ["a", "brown", "brown"]


def test_a_stage_that_gives_other_things_than_it_says(slides: Callable[..., Path], tmp_path: Path) -> None:
    result = run(slides("a"), tmp_path / "run", acting.Liar())
    assert "gave ['tables/lie'] and says that it writes ['tables/truth']" in result.failed[0].failure.message


def test_a_broken_ending_is_told(slides: Callable[..., Path], tmp_path: Path) -> None:
    result = run(slides("a"), tmp_path / "run", *BOTH, acting.Ending(broken=True))
    assert (result.ok, result.failed) == (False, ())
    assert result.finishing[0].error == "ZeroDivisionError"


def test_the_ending_is_made_anew_only_when_something_changed(
    slides: Callable[..., Path], tmp_path: Path
) -> None:
    folder, out = slides("a", "brown"), tmp_path / "run"
    page = run(folder, out, *BOTH, acting.Ending()).run.path_of(None, "report")
    first = page.stat().st_mtime_ns
    run(folder, out, *BOTH, acting.Ending())
    assert page.stat().st_mtime_ns == first
    (folder / "c.tif").write_bytes((folder / "a.tif").read_bytes())
    assert "3 slides" in run(folder, out, *BOTH, acting.Ending()).run.get(None, "report")


# ------------------------------------------------------------------ streams
def test_a_stream_goes_on_where_it_was_interrupted(slides: Callable[..., Path], tmp_path: Path) -> None:
    folder, out = slides("a"), tmp_path / "run"
    stage = acting.Counting(marker=str(tmp_path / "marker"))
    with pytest.raises(KeyboardInterrupt):
        run(folder, out, stage)
    assert [event.status for event in RunFolder(out).events()][-1] == "interrupted"
    assert status_of(RunFolder(out)).slides[0].stages == {"open": "done", "counting": "partial"}
    result = run(folder, out, stage)
    assert result.run.get("a", "features/counting").X[:, 0].tolist() == list(range(20))
    assert result.run.get("a", "tables/sum")["sum"].tolist() == [190]
    assert [event.note for event in result.run.events() if event.stage == "counting"] == [["from 8"]]


# ------------------------------------------------------------------ the folder
def test_two_slides_of_one_name_are_refused(slides: Callable[..., Path], tmp_path: Path) -> None:
    folder, out = slides("a"), tmp_path / "run"
    run(folder, out)
    other = tmp_path / "other"
    other.mkdir()
    (other / "a.tif").write_bytes((slides("b", "c") / "c.tif").read_bytes())
    before = (out / "run.json").read_text()
    with pytest.raises(UsageError, match=r"two slides are called 'a'.*name them in a CSV"):
        run(other, out)
    assert (out / "run.json").read_text() == before


def test_one_run_at_a_time(slides: Callable[..., Path], tmp_path: Path) -> None:
    folder, out = slides("a"), tmp_path / "run"
    run(folder, out)
    with claimed(out), pytest.raises(StoreError, match="another run is at work in"):
        run(folder, out)
    assert states(run(folder, out)) == {"a": "fresh"}


def test_a_run_and_results_show_themselves(slides: Callable[..., Path], tmp_path: Path) -> None:
    folder = slides("a", "brown")
    shown = run(folder, tmp_path / "run").run._repr_html_()
    assert "2 slide(s)" in shown
    assert shown.count("data:image/jpeg;base64,") == 2
    assert "tables/doubled" in shown
    with open_slide(folder / "a.tif") as slide:
        assert "tables/brightness" in Pipeline([acting.Brightness()]).run(slide)._repr_html_()


def test_run_json_says_what_was_done(slides: Callable[..., Path], tmp_path: Path) -> None:
    folder, out = slides("a"), tmp_path / "run"
    run(folder, out)
    info = json.loads((out / "run.json").read_text())
    assert info["recipe"] == "r"
    assert [stage["name"] for stage in info["stages"]] == ["brightness", "doubled"]
    assert info["slides"] == [{"id": "a", "path": str(folder / "a.tif"), "mpp": None}]
    assert info["versions"]["numpy"]
    assert "factor: 1.0" in info["recipe_text"]
    assert info["coverslip"]["type"] == "run"


# ------------------------------------------------------------------ workers
class Heard(Listener):
    def __init__(self) -> None:
        self.events: list[Event] = []
        self.ended: list[str] = []

    def event(self, event: Event) -> None:
        self.events.append(event)

    def end(self, outcome: object) -> None:
        self.ended.append(outcome.slide)


def test_workers_do_the_same_as_one_process(slides: Callable[..., Path], tmp_path: Path) -> None:
    folder, heard = slides("a", "b", "brown"), Heard()
    sources, recipe = find_slides([folder]), Recipe("r", BOTH)
    many = run_recipe(recipe, sources, tmp_path / "many", execution=Execution(workers=2), listener=heard)
    one = run_recipe(recipe, sources, tmp_path / "one", execution=HERE)
    assert states(many) == states(one)
    assert sorted(heard.ended) == ["a", "b", "brown"]
    assert {(e.slide, e.stage) for e in heard.events if e.slide} >= {("a", "open"), ("b", "doubled")}
    for slide in ("a", "b"):
        for key in one.run.keys(slide):
            assert many.run.fingerprint(slide, key) == one.run.fingerprint(slide, key)
    assert many.run.get("a", "tables/doubled")["value"] == one.run.get("a", "tables/doubled")["value"]


def test_a_worker_that_dies_takes_no_other_slide_along(slides: Callable[..., Path], tmp_path: Path) -> None:
    folder, diary = slides("a", "b", "c", "kill", "x", "y"), tmp_path / "diary"
    stages = (acting.Brightness(), acting.Doubled(diary=str(diary)))
    result = run(folder, tmp_path / "run", *stages, execution=Execution(workers=2))
    assert {o.slide for o in result.failed} == {"kill"}
    failure = result.failed[0].failure
    assert (failure.stage, failure.error) == ("worker", "WorkerDied")
    assert "fewer --workers" in failure.mend
    assert diary.read_text().split().count("kill") == 2
    assert all(result.run.has(slide, "tables/doubled") for slide in "abcxy")


SCRIPT = """
    import signal
    import sys
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job begins without it
    sys.path.insert(0, {here!r})
    import acting
    from coverslip.pipeline import Execution, Recipe, run_recipe
    from coverslip.slides import find_slides, open_slide
    if __name__ == "__main__":
        recipe = Recipe("r", (acting.Brightness(), acting.Doubled()))
        run_recipe(recipe, find_slides([{folder!r}]), {out!r}, execution=Execution(workers=2))
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_stopped_in_the_middle_it_goes_on(slides: Callable[..., Path], tmp_path: Path, how: int) -> None:
    folder, out = slides("a", "slow"), tmp_path / "run"
    script = tmp_path / "script.py"
    values = {"here": str(Path(__file__).parent), "folder": str(folder), "out": str(out)}
    script.write_text(textwrap.dedent(SCRIPT.format(**values)))
    process = subprocess.Popen([sys.executable, script], stderr=subprocess.PIPE, start_new_session=True)
    run_folder = wait_for(lambda: RunFolder(out) if out.exists() and (out / "run.json").exists() else None)
    wait_for(lambda: run_folder.has("a", "tables/doubled") and run_folder.has("slow", "tables/brightness"))
    process.send_signal(how)
    process.communicate(timeout=20)
    assert process.returncode != 0
    wait_for(lambda: not alive(process.pid))
    assert not run_folder.has("slow", "tables/doubled")
    (folder / "slow.tif").unlink()
    assert states(run(folder, out)) == {"a": "fresh"}
    assert status_of(run_folder).counts == {"done": 1, "failed": 0, "unfinished": 1}


def alive(session: int) -> list[int]:
    """Processes of a session that are not zombies."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == session and fields[0] != "Z":
                found.append(int(entry.name))
    return found


def wait_for(question: Callable[[], object], seconds: float = 20) -> object:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if answer := question():
            return answer
        time.sleep(0.05)
    raise AssertionError("it did not happen in time")


def test_a_script_without_a_guard_is_told(slides: Callable[..., Path], tmp_path: Path) -> None:
    script, out = tmp_path / "script.py", tmp_path / "run"
    values = {"here": str(Path(__file__).parent), "folder": str(slides("a")), "out": str(out)}
    script.write_text(
        textwrap.dedent(SCRIPT.format(**values)).replace('if __name__ == "__main__":', "if True:")
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False, timeout=60)
    assert 'to mend: put the call under `if __name__ == "__main__":`' in done.stderr


@pytest.mark.parametrize("breaks", [1, 99])
def test_a_pool_that_breaks_while_idle_ends_no_run(
    slides: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, breaks: int
) -> None:
    left = [breaks]

    class Idle(ThreadPoolExecutor):
        def submit(self, *work, **options):
            left[0] -= 1
            if left[0] >= 0:
                raise BrokenExecutor("a worker was killed between two slides")
            return super().submit(*work, **options)

    monkeypatch.setattr(workers, "_processes", Idle)
    found = run(slides("a", "b"), tmp_path / "run", execution=Execution(workers=1))
    assert set(states(found).values()) == {"done" if breaks == 1 else "failed"}


def test_workers_cannot_be_fewer_than_none() -> None:
    with pytest.raises(UsageError, match="-1 workers cannot be"):
        Execution(workers=-1)


def test_the_default_does_not_depend_on_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    assert Execution() == Execution(workers=2)
