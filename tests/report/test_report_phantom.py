"""The survey of a phantom slide beside a broken one: the report says what is known to be there."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from coverslip.phantom import Phantom, PhantomSpec, make, write_slide
from coverslip.pipeline.execution import Execution
from coverslip.pipeline.recipe import Recipe
from coverslip.pipeline.runner import RunResult, run_recipe
from coverslip.report import write_run_report
from coverslip.slides import SlideSource

SPEC = PhantomSpec(width=1600, height=1400, tissue_share=0.4)
HERE = Execution(workers=0)


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return make(SPEC, 3)


@pytest.fixture(scope="module")
def surveyed(phantom: Phantom, tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    folder = tmp_path_factory.mktemp("survey")
    whole = write_slide(phantom, folder / "whole.svs")
    broken = folder / "broken.svs"
    broken.write_bytes(b"II*\0" + bytes(400))
    sources = [SlideSource("whole", str(whole), None), SlideSource("broken", str(broken), None)]
    return run_recipe(Recipe.load("survey"), sources, folder / "run", execution=HERE)


def rows_of(result: RunResult) -> dict[str, dict[str, str]]:
    with (
        result.run.path_of(None, "report").with_name("summary.csv").open(encoding="utf-8", newline="") as file
    ):
        return {row["slide_id"]: row for row in csv.DictReader(file)}


def test_the_report_is_written_with_the_run(surveyed: RunResult) -> None:
    assert surveyed.finishing == ()
    assert [outcome.status for outcome in surveyed.outcomes] == ["done", "failed"]
    assert surveyed.run.has(None, "report")
    assert surveyed.run.has("whole", "page")
    assert surveyed.run.has("broken", "page")


def test_the_summary_agrees_with_the_truth(surveyed: RunResult, phantom: Phantom) -> None:
    row = rows_of(surveyed)["whole"]
    truth = phantom.truth.tissue.area
    assert float(row["tissue_mm2"]) == pytest.approx(truth * float(row["mpp"]) ** 2 / 1e6, rel=0.15)
    assert (int(row["width_px"]), int(row["height_px"])) == (SPEC.width, SPEC.height)
    assert int(row["tiles"]) == len(surveyed.run.get("whole", "tiles"))
    assert float(row["usable_fraction"]) == surveyed.run.get("whole", "quality").summary["usable_fraction"]


def test_the_page_has_all_its_parts_and_stays_small(surveyed: RunResult) -> None:
    html = surveyed.run.get("whole", "page")
    for part in ("Fit to be read?", "How it is stained", "under measurement", "Tiles that look alike"):
        assert part in html
    assert 'data-layer="layer-lookalike"' in html
    assert len(html) < 1.5e6


def test_what_could_not_be_opened_is_explained(surveyed: RunResult) -> None:
    failure = surveyed.outcomes[1].failure
    assert failure is not None
    row = rows_of(surveyed)["broken"]
    assert (row["status"], row["stage"], row["error"]) == ("failed", failure.stage, failure.message)
    assert row["path"].endswith("broken.svs")


def test_the_report_can_be_made_anew_without_the_slides(surveyed: RunResult) -> None:
    page: Path = surveyed.run.path_of(None, "report")
    before = json.loads(page.with_name("summary.json").read_text(encoding="utf-8"))["slides"]
    page.unlink()
    Path(surveyed.run.info["slides"][0]["path"]).rename(page.with_name("moved.svs"))
    assert write_run_report(surveyed.run) == page
    assert json.loads(page.with_name("summary.json").read_text(encoding="utf-8"))["slides"] == before
