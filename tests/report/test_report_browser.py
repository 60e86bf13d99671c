"""Pages in a real browser, without a network: nothing complains, and the switches switch."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from coverslip.report import page_of, write_run_report
from coverslip.report.findings import Findings
from coverslip.slides.slide import Slide
from coverslip.store import Provenance, RunFolder

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage"),
    *(
        "--enable-logging=stderr",
        "--virtual-time-budget=4000",
        "--hide-scrollbars",
        "--window-size=1300,1800",
    ),
)
NO_NETWORK = "--host-resolver-rules=MAP * ~NOTFOUND"

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium")


def browse(page: Path, profile: Path, *flags: str) -> tuple[str, list[str]]:
    """Open a page; return its elements as they are once loaded, and what it wrote to the console."""
    command = [
        str(CHROMIUM),
        *FLAGS,
        NO_NETWORK,
        f"--user-data-dir={profile}",
        *flags,
        page.resolve().as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def tried(page: Path, script: str, profile: Path) -> dict[str, object]:
    """Run a script in a copy of the page that allows it, and return what it put into `result`."""
    html = page.read_text(encoding="utf-8")
    html = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", html, count=1)
    probe = (
        f"<script>const result = {{}};\n{script}\n"
        "const out = document.createElement('output'); out.id = 'result';"
        "out.textContent = JSON.stringify(result); document.body.append(out);</script></body>"
    )
    copy = page.with_name("tried.html")
    copy.write_text(html.replace("</body>", probe), encoding="utf-8")
    dom, console = browse(copy, profile, "--dump-dom")
    assert console == []
    found = re.search(r'<output id="result">(.*?)</output>', dom, re.DOTALL)
    assert found is not None
    return dict(json.loads(unescape(found[1])))


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("profile")


@pytest.fixture(scope="module")
def page(findings: Findings, slide: Slide, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "slide & more.html"
    path.write_text(page_of(findings, slide), encoding="utf-8")
    return path


def test_a_slides_page_loads_whole_and_in_silence(page: Path, profile: Path, tmp_path: Path) -> None:
    shot = tmp_path / "page.png"
    _, console = browse(page, profile, f"--screenshot={shot}")
    assert console == []
    pixels = np.asarray(Image.open(shot).convert("RGB"))
    assert pixels.shape == (1800, 1300, 3)
    # the thumbnail is there: pixels of eosin, which no other part of the page comes near
    pink = (np.abs(pixels.astype(int) - (232, 138, 205)).max(axis=2) < 40).sum()
    assert pink > 5000


def test_pictures_are_decoded(page: Path, profile: Path) -> None:
    script = """
    const images = [...document.images];
    for (const image of images) image.loading = "eager";
    result.count = images.length;
    result.empty = images.filter((image) => image.complete && image.naturalWidth === 0).length;
    result.layers = [...document.querySelectorAll("svg image")].every((i) => i.getBBox().width > 0);
    """
    found = tried(page, script, profile)
    assert found["count"] > 15
    assert (found["empty"], found["layers"]) == (0, True)


def test_switches_and_keys_show_and_hide_overlays(page: Path, profile: Path) -> None:
    script = """
    const shown = () => [...document.querySelectorAll("g.layer")]
      .filter((g) => getComputedStyle(g).display !== "none").map((g) => g.id);
    const press = (key) => document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
    result.start = shown();
    document.querySelector('input[data-layer="layer-tiles"]').click();
    result.clicked = shown();
    press("0");
    result.none = shown();
    press("5");
    result.fifth = shown();
    const range = document.querySelector("input[data-strength]");
    range.value = 80; range.dispatchEvent(new Event("input"));
    const zoom = document.querySelector("input[data-zoom]"), stage = document.querySelector(".stage");
    const before = [stage.offsetWidth, stage.offsetHeight];
    zoom.value = 3; zoom.dispatchEvent(new Event("input"));
    result.zoomed = stage.scrollWidth / stage.clientWidth;
    result.middle = (stage.scrollLeft + stage.clientWidth / 2) / stage.scrollWidth;
    result.still = [stage.offsetWidth, stage.offsetHeight].every((side, i) => side === before[i]);
    result.strength = getComputedStyle(document.querySelector("#layer-lookalike .paint")).opacity;
    """
    found = tried(page, script, profile)
    assert found["start"] == ["layer-tissue", "layer-flag-blur", "layer-flag-fold"]
    assert found["clicked"] == [*found["start"], "layer-tiles"]
    assert found["none"] == []
    assert found["fifth"] == ["layer-lookalike"]
    assert found["strength"] == "0.8"
    assert found["zoomed"] == pytest.approx(3, abs=0.05)
    assert found["middle"] == pytest.approx(0.5, abs=0.02)
    assert found["still"] is True


def test_a_foreign_script_does_not_run(page: Path, profile: Path, tmp_path: Path) -> None:
    """Should a name ever slip through the escaping, the page's policy still stops it."""
    bad = tmp_path / "bad.html"
    hostile = "<script>document.title = 'run'</script><img src='http://example.org/a.png'></main>"
    bad.write_text(page.read_text(encoding="utf-8").replace("</main>", hostile), encoding="utf-8")
    dom, console = browse(bad, profile, "--dump-dom")
    assert "<title>run</title>" not in dom
    assert len([line for line in console if "Content Security Policy" in line]) == 2


def test_the_runs_page_sorts_searches_and_links(
    run: RunFolder, findings: Findings, slide: Slide, profile: Path
) -> None:
    made = Provenance.make("overview", 1, parameters={}, inputs={}, slide=None)
    run.put("round one", "page", page_of(findings, slide), provenance=made)
    index = write_run_report(run)
    _, console = browse(index, profile, "--dump-dom")
    assert console == []
    script = """
    const body = document.querySelector("table[data-slides]").tBodies[0];
    const name = (row) => row.cells[1].querySelector("a").textContent;
    const names = () => [...body.rows].filter((row) => !row.hidden).map(name);
    const head = (text) => [...document.querySelectorAll("table[data-slides] thead button")]
      .find((button) => button.textContent.startsWith(text));
    result.start = names();
    head("Slide").click();
    result.up = names();
    head("Tiles").click(); head("Tiles").click();
    result.tiles = names();
    const search = document.querySelector("input[data-search]");
    search.value = "NO TISSUE tile"; search.dispatchEvent(new Event("input"));
    result.found = names();
    search.value = ""; search.dispatchEvent(new Event("input"));
    document.querySelector('input[name=only][value=failed]').click();
    result.failed = names();
    result.count = document.querySelector("[data-count]").textContent;
    """
    found = tried(index, script, profile)
    assert found["start"] == ["round one", "no#tissue?", "broken"]
    assert found["up"] == ["broken", "no#tissue?", "round one"]
    assert found["tiles"][0] == "round one"
    assert found["found"] == ["no#tissue?"]
    assert sorted(found["failed"]) == ["broken", "no#tissue?"]
    assert found["count"] == "2 of 3 shown"
