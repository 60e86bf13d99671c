"""The run's page and tables: every slide once, failures in plain sight, links that lead somewhere."""

from __future__ import annotations

import csv
import json
import re
import time
from html import unescape
from pathlib import Path
from urllib.parse import unquote

import pytest

from coverslip.report import OverviewStage, page_of, write_run_report
from coverslip.report.findings import Findings
from coverslip.report.index import THUMBNAIL_BYTES, Entry, RunFacts, failures, run_page, thumbnail_of
from coverslip.report.overview import BACK
from coverslip.report.summary import Row
from coverslip.slides.slide import Slide
from coverslip.store import Event, Provenance, RunFolder


@pytest.fixture
def reported(run: RunFolder, findings: Findings, slide: Slide) -> RunFolder:
    made = Provenance.make("overview", 1, parameters={}, inputs={}, slide=None)
    run.put("round one", "page", page_of(findings, slide), provenance=made)
    write_run_report(run)
    return run


def test_every_slide_is_there_and_failures_are_plain(reported: RunFolder) -> None:
    html = unescape(reported.get(None, "report"))
    assert html.count("<tr data-words=") == 3
    assert "2 slides did not get through" in html
    assert "no tile has tissue" in html
    assert "lower it" in html
    assert "truncated <script>alert('x')</script>" in html
    assert "my <b>run" in html


def test_slides_that_failed_alike_stand_together() -> None:
    def entry(name: str, why: str) -> Entry:
        return Entry(Row(name, path=f"/in/{name}.svs", status="failed", stage="open", error=why.format(name)))

    alike = [entry(name, "/in/{}.svs is truncated") for name in "ab"]
    groups = failures([entry("c", "/in/{}.svs is odd"), *alike, Entry(Row("d"))])
    assert [(group.why, len(group.entries)) for group in groups] == [
        ("the slide is truncated", 2),
        ("c is odd", 1),
    ]


def test_links_lead_to_pages_and_back(reported: RunFolder) -> None:
    html = reported.get(None, "report")
    folder = reported.path_of(None, "report").parent
    links = {unquote(unescape(link)) for link in re.findall(r'href="(slides/[^"]+)"', html)}
    assert links == {"slides/round one.html", "slides/no#tissue?.html", "slides/broken.html"}
    for link in links:
        page = folder / link
        assert page.is_file()
        assert (page.parent / BACK).resolve() == reported.path_of(None, "report").resolve()


def test_pages_of_slides_that_failed_say_why(reported: RunFolder) -> None:
    assert "no tile has tissue" in reported.get("no#tissue?", "page")
    assert "data:image/jpeg" in reported.get("no#tissue?", "page")
    assert "could not be opened" in reported.get("broken", "page")


def test_tables_hold_one_row_per_slide(reported: RunFolder, findings: Findings) -> None:
    folder = reported.path_of(None, "report").parent
    with (folder / "summary.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["slide_id"]: row for row in csv.DictReader(file)}
    assert list(rows) == ["round one", "no#tissue?", "broken"]
    first = rows["round one"]
    assert first["status"] == "done"
    assert float(first["tissue_mm2"]) == pytest.approx(findings.tissue.area_px * 0.25 / 1e6)
    assert float(first["strength_eosin"]) == pytest.approx(0.8)
    assert float(first["share_blur"]) == pytest.approx(findings.quality.summary["blur"])
    assert int(first["tiles"]) == len(findings.tiles)
    assert rows["no#tissue?"]["tiles"] == ""
    assert (rows["broken"]["status"], rows["broken"]["stage"]) == ("failed", "open")
    content = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    assert content["type"] == "coverslip.summary"
    assert [slide["slide_id"] for slide in content["slides"]] == list(rows)


def test_pandas_reads_the_tables(reported: RunFolder) -> None:
    pandas = pytest.importorskip("pandas")
    folder = reported.path_of(None, "report").parent
    table = pandas.read_csv(folder / "summary.csv", index_col="slide_id")
    assert table.loc["round one", "tissue_mm2"] > 0
    assert table["tiles"].isna().tolist() == [False, True, True]
    slides = json.loads((folder / "summary.json").read_text(encoding="utf-8"))["slides"]
    nested = pandas.json_normalize(slides).set_index("slide_id")
    assert nested.loc["round one", "flags.blur"] == pytest.approx(table.loc["round one", "share_blur"])


def test_finish_gives_the_report_and_needs_no_result_opened(
    reported: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[tuple[str | None, str]] = []
    get = RunFolder.get
    monkeypatch.setattr(
        RunFolder, "get", lambda self, slide, key: opened.append((slide, key)) or get(self, slide, key)
    )
    made = OverviewStage().finish(reported)
    assert list(made) == ["report"]
    assert [slide for slide, _ in opened if slide == "round one"] == []


def test_a_slide_that_went_through_after_failing_is_done(
    run: RunFolder, findings: Findings, slide: Slide
) -> None:
    run.log(Event("failed", "round one", "stain", message="first try"))
    write_run_report(run)
    assert "first try" in run.get("round one", "page")
    run.log(Event("done", "round one", "stain"))
    made = Provenance.make("overview", 1, parameters={}, inputs={}, slide=None)
    run.put("round one", "page", page_of(findings, slide), provenance=made, replace=True)
    write_run_report(run)
    assert "first try" not in run.get(None, "report")


def test_a_slide_without_a_page_is_shown_from_its_results(run: RunFolder) -> None:
    write_run_report(run)
    assert "round one" in run.get(None, "report")
    assert not run.has("round one", "page")


def test_a_run_without_slides_says_so(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "empty")
    assert "The run holds no slide" in write_run_report(run).read_text(encoding="utf-8")


def test_a_thousand_slides_stay_openable(findings: Findings) -> None:
    picture = thumbnail_of("a", findings.thumbnail)
    assert len(picture.uri) < 4 / 3 * THUMBNAIL_BYTES + 64
    rows = [Row(f"s{i}", mpp=0.5, tissue_mm2=i / 10, usable_fraction=i / 1000, tiles=i) for i in range(1000)]
    start = time.process_time()
    html = run_page([Entry(row, picture, f"slides/{row.slide_id}.html") for row in rows], RunFacts("big"))
    assert time.process_time() - start < 5
    assert len(html) < 1000 * (4 / 3 * THUMBNAIL_BYTES + 4000)
