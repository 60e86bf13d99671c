"""Pages say what is known, say what is missing, and nothing in them can run or call home."""

from __future__ import annotations

import dataclasses
import re
import time
from html.parser import HTMLParser

import pytest

from coverslip.core.errors import CoverslipError
from coverslip.report import OverviewStage, page_of
from coverslip.report.findings import Failure, Findings
from coverslip.report.index import Entry, RunFacts, run_page, thumbnail_of
from coverslip.report.page import GIVEN_SCALE
from coverslip.report.summary import Row
from coverslip.slides.slide import Slide

HOSTILE = """<script>alert('x')</script>"><img src=http:a onerror=alert(1)>{{7*7}}"""
XMLNS = re.compile(r"xmlns(:\w+)?=[\"']http[^\"']*[\"']")


class Seen(HTMLParser):
    """Collect tags with their attributes, and the text outside scripts and styles."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._inside: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in {"script", "style"}:
            self._inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self._inside and self._inside[-1] == tag:
            self._inside.pop()

    def handle_data(self, data: str) -> None:
        if not self._inside:
            self.text += data

    def attributes(self, tag: str, name: str) -> list[str]:
        return [attrs[name] or "" for found, attrs in self.tags if found == tag and name in attrs]


def without_pictures(html: str) -> str:
    return re.sub(r"data:image/\w+;base64,[A-Za-z0-9+/=]+", "", html)


@pytest.fixture(scope="module")
def html(findings: Findings, slide: Slide) -> str:
    return page_of(findings, slide)


@pytest.mark.parametrize("longer", [600, 1250, 3000])
def test_outlines_lie_on_the_picture_whatever_the_thumbnail_measures(findings: Findings, longer: int) -> None:
    import cv2

    height, width = findings.thumbnail.shape[:2]
    size = round(longer * width / max(width, height)), round(longer * height / max(width, height))
    page = page_of(dataclasses.replace(findings, thumbnail=cv2.resize(findings.thumbnail, size)))
    picture = re.search(r'<svg viewBox="0 0 (\d+) \d+" role="img"', page)
    path = re.search(r'<path d="(M[^"]+)" class="outline"', page)
    assert picture, "the page shows no picture"
    assert path, "the page shows no outline"
    right = max(float(pair.split()[0]) for pair in re.findall(r"[\d.]+ [\d.]+", path[1]))
    far = findings.tissue.polygons[0].bounds[2]
    assert right / int(picture[1]) == pytest.approx(far / findings.info["width"], abs=0.01)


def test_the_page_is_one_file(html: str) -> None:
    seen = Seen(html)
    assert "://" not in XMLNS.sub("", without_pictures(html))
    sources = seen.attributes("img", "src") + seen.attributes("image", "href")
    assert len(sources) > 10
    assert all(re.match(r"data:image/(jpeg|png);base64,[\w+/]", source) for source in sources)
    assert seen.attributes("link", "href") == []
    assert "default-src 'none'" in seen.attributes("meta", "content")[0]


def test_every_picture_has_words(html: str) -> None:
    seen = Seen(html)
    assert all(attrs.get("alt") for tag, attrs in seen.tags if tag == "img")
    unlabelled = [
        a for tag, a in seen.tags if tag == "svg" and "aria-label" not in a and "aria-hidden" not in a
    ]
    assert unlabelled == []


def test_the_page_says_what_was_found(html: str, findings: Findings) -> None:
    text = " ".join(Seen(html).text.replace("\N{NARROW NO-BREAK SPACE}", " ").split())
    assert "1 200 × 900 px" in text
    assert "0.500 µm/px (from the file)" in text
    area = 3.14159 * (330**2 - 60**2) * 0.25 / 1e6
    assert float(re.search(r"Tissue ?([\d.]+) mm²", text)[1]) == pytest.approx(area, rel=0.02)
    assert f"{100 * findings.quality.summary['usable_fraction']:.0f} %" in text
    assert "pen marks were left out" in text
    assert f"1 of {len(findings.tiles)} tiles could not be read" in text
    assert "Haematoxylin" in text
    assert "1.30 OD" in text
    assert "12 measurements" in text
    assert "▲ measurement 0" in text
    assert "For research use only" in text


def test_the_page_is_small_and_quick(findings: Findings, slide: Slide) -> None:
    start = time.process_time()
    html = page_of(findings, slide)
    assert time.process_time() - start < 1.5
    assert len(html) < 1.5e6


def test_the_page_is_the_same_every_time(findings: Findings, slide: Slide, html: str) -> None:
    assert page_of(findings, slide) == html


def test_hostile_names_are_shown_and_never_run(findings: Findings) -> None:
    info = {**findings.info, "id": HOSTILE, "path": HOSTILE, "vendor": HOSTILE, "warnings": [HOSTILE]}
    made = dataclasses.replace(
        findings, slide_id=HOSTILE, info=info, failure=Failure(HOSTILE, HOSTILE, HOSTILE)
    )
    plain = Seen(page_of(dataclasses.replace(made, slide_id="x", info=findings.info, failure=None)))
    hostile = Seen(page_of(made))
    assert hostile.text.count(HOSTILE) >= 5
    assert [a for _, a in hostile.tags if "onerror" in a] == []
    assert [t for t, _ in hostile.tags].count("script") == [t for t, _ in plain.tags].count("script")
    assert all(src.startswith("data:") for src in hostile.attributes("img", "src"))


def test_hostile_names_in_the_runs_page(findings: Findings) -> None:
    row = Row(
        HOSTILE,
        path=HOSTILE,
        status="failed",
        stage=HOSTILE,
        error=HOSTILE,
        mend=HOSTILE,
        warnings=(HOSTILE,),
    )
    entry = Entry(row, thumbnail_of(HOSTILE, findings.thumbnail), "slides/a.html")
    page = run_page(
        [entry], RunFacts(HOSTILE, recipe=HOSTILE, versions={HOSTILE: HOSTILE}, recipe_text=HOSTILE)
    )
    seen = Seen(page)
    assert seen.text.count(HOSTILE) >= 6
    assert [t for t, _ in seen.tags].count("script") == 1
    assert [a for _, a in seen.tags if "onerror" in a] == []


def test_what_failed_and_what_is_missing_is_said(findings: Findings) -> None:
    half = dataclasses.replace(
        findings,
        tiles=None,
        stain=None,
        features=None,
        lookalike=None,
        failure=Failure("tiles", "no tile", "lower it"),
    )
    text = " ".join(Seen(page_of(half)).text.split())
    assert "stage “tiles” failed no tile What to do: lower it" in text
    assert "Not on this page, because of it: tiles, stain, pathomics, look-alike map." in text
    assert "Fit to be read?" in text
    assert "How it is stained" not in text


def test_a_file_that_could_not_be_opened_has_a_page() -> None:
    text = Seen(page_of(Findings("a", failure=Failure("open", "it is truncated")))).text
    assert "it is truncated" in text
    assert "could not be opened" in text


def test_a_scale_given_by_the_user_is_said(findings: Findings) -> None:
    given = dataclasses.replace(findings, info={**findings.info, "mpp_source": "user"})
    text = Seen(page_of(given)).text
    assert GIVEN_SCALE in text
    assert "(given by the user)" in text


def test_without_a_scale_areas_are_shares(findings: Findings) -> None:
    info = {**findings.info, "mpp_x": None, "mpp_y": None, "mpp_source": None}
    text = Seen(page_of(dataclasses.replace(findings, info=info, tiles=None, features=None))).text
    assert "mm²" not in text
    assert "no µm/px known" in text


def test_the_stage_takes_its_inputs_and_gives_a_page(findings: Findings, slide: Slide) -> None:
    stage = OverviewStage()
    inputs = {
        "slide": findings.info,
        "thumbnail": findings.thumbnail,
        "tissue": findings.tissue,
        "quality": findings.quality,
        "tiles": findings.tiles,
        "stain": findings.stain,
        "features/pathomics": findings.features,
        "predictions/lookalike": findings.lookalike,
    }
    assert set(stage.reads()) == set(inputs)
    assert stage.run(slide, inputs) == {"page": page_of(findings, slide)}
    assert OverviewStage(parts=("tissue",)).reads() == ("slide", "thumbnail", "tissue")
    with pytest.raises(CoverslipError, match=r"'tisue'.*did you mean 'tissue'"):
        OverviewStage(parts=("tisue",))
