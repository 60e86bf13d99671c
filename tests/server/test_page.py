"""The page in Chromium, on a served run: what a reader does, and what is on the screen then."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import shapely

from coverslip.pipeline import Recipe, run_recipe
from coverslip.slides import find_slides
from coverslip.store import LabelMap, Provenance, RunFolder
from coverslip.store.objects import ObjectTable

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
PAGE = Path(__file__).parents[2] / "src" / "coverslip" / "server" / "static" / "index.html"

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed: apt install chromium"),
    pytest.mark.skipif(not PAGE.is_file(), reason="the page is not built: make page"),
]

PATIENCE = 60_000
"""Milliseconds that a busy machine may take."""

CELLS = 5000


def cells() -> ObjectTable:
    rng = np.random.default_rng(1)
    xy = rng.uniform((0, 0), (2060, 1460), (CELLS, 2))
    side = rng.uniform(8, 24, CELLS)
    return ObjectTable(
        shapely.box(xy[:, 0], xy[:, 1], xy[:, 0] + side, xy[:, 1] + side),
        classes=("tumour", "lymphocyte"),
        labels=(np.arange(CELLS) % 2).astype(np.int32),
        scores=rng.uniform(0, 1, CELLS).astype(np.float32),
        measurements={"area_um2": (side**2 * 0.25).astype(np.float32)},
        mpp=0.5,
    )


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, slide_path: Path) -> Iterator[str]:
    """The address of a server of a run of two slides."""
    folder = tmp_path_factory.mktemp("page")
    second = folder / "second.tif"
    shutil.copy(slide_path, second)
    recipe = Recipe.from_dict({"stages": ["tissue", "quality", {"tiles": {"size": 256, "min_tissue": 0.0}}]})
    run_recipe(recipe, find_slides([str(slide_path), str(second)]), folder / "run")
    run, made = RunFolder(folder / "run"), Provenance.make("test", 1, parameters={}, inputs={}, slide=None)
    run.put("a slide", "objects/nuclei", cells(), provenance=made)
    labels = np.ones((300, 420), np.uint8)
    run.put("a slide", "maps/regions", LabelMap(labels, 5.0, (0.0, 0.0), ("tumour",), 0.5), provenance=made)
    command = [sys.executable, "-m", "coverslip", "view", str(folder / "run"), "--no-browser", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield json.loads(server.stdout.readline())["url"]
        server.terminate()


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    with playwright.sync_playwright() as driver:
        made = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield made
        made.close()


@pytest.fixture
def page(browser: object, served: str) -> Iterator[object]:
    """The page, open at the first slide; what it complains of fails the test."""
    opened = browser.new_page(viewport={"width": 1280, "height": 800})
    opened.set_default_timeout(PATIENCE)
    said: list[str] = []
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.goto(served)
    opened.get_by_text("x · ").wait_for()
    yield opened
    opened.close()
    assert said == []


def wait_for_colour(page: object, layer: str, wanted: str) -> None:
    """Wait until some pixel of a layer's canvas meets a condition on r, g, b and a, as JavaScript."""
    page.wait_for_function(SOME_PIXEL.replace("WANTED", wanted), arg=layer)


SOME_PIXEL = """(layer) => {
    const found = [...document.querySelectorAll(`.layer.${layer} canvas`)];
    const canvas = found.find((one) => !one.closest('.navigator'));
    if (!canvas || !canvas.width) return false;
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    for (let i = 0; i < data.length; i += 4) {
        const [r, g, b, a] = [data[i], data[i + 1], data[i + 2], data[i + 3]];
        if (WANTED) return true;
    }
    return false;
}"""


def test_the_slide_is_shown_with_its_scale(page: object) -> None:
    wait_for_colour(page, "below", "a === 255 && r + g + b < 500")
    page.get_by_role("img", name="Scale bar").wait_for()
    assert page.locator(".title").inner_text() == "a slide"
    assert page.get_by_text("2,100 × 1,500 px").is_visible()


def test_magnifications_by_key(page: object) -> None:
    page.keyboard.press("4")
    page.get_by_text("10.0x · 1.00 µm/px").wait_for()
    page.keyboard.press("5")
    page.get_by_text("20.0x · 0.500 µm/px").wait_for()
    assert page.get_by_role("img", name="Scale bar").get_attribute("aria-label") == "Scale bar: 50 µm"
    page.keyboard.press("+")
    page.get_by_text("30.0x").wait_for()
    page.keyboard.press("f")
    page.wait_for_function("() => parseFloat(document.querySelector('.now').textContent) < 10")


def test_the_address_restores_the_view(page: object, browser: object, served: str) -> None:
    page.keyboard.press("5")
    page.get_by_text("20.0x").wait_for()
    page.keyboard.press("Shift+ArrowRight")
    page.wait_for_timeout(1200)
    there = page.evaluate("location.hash")
    again = browser.new_page(viewport={"width": 1280, "height": 800})
    again.set_default_timeout(PATIENCE)
    again.goto(served + there)
    again.get_by_text("20.0x").wait_for()
    view = json.loads(again.evaluate("decodeURIComponent(location.hash.slice(1))"))["view"]
    wanted = json.loads(page.evaluate("decodeURIComponent(location.hash.slice(1))"))["view"]
    assert view["x"] == pytest.approx(wanted["x"], abs=2)
    assert view["y"] == pytest.approx(wanted["y"], abs=2)
    again.close()


def test_slides_are_searched_and_opened_beside(page: object) -> None:
    page.keyboard.press("/")
    page.keyboard.type("second")
    assert page.locator(".slides li").count() == 1
    page.get_by_role("button", name="Open second beside").click()
    page.get_by_role("region", name="second").wait_for()
    assert page.locator(".pane").count() == 2
    page.locator(".pane").first.click(position={"x": 200, "y": 300})
    page.keyboard.press("5")
    page.get_by_text("20.0x").wait_for()
    assert "second" in page.evaluate("decodeURIComponent(location.hash)")
    page.keyboard.press("x")
    page.wait_for_function("() => document.querySelectorAll('.pane').length === 1")


def test_layers_are_laid_over(page: object) -> None:
    page.get_by_label("Map: regions").check()
    wait_for_colour(page, "above", "a > 100 && b > r + 60")
    page.get_by_label("Map: regions").uncheck()
    page.get_by_label("Tissue").check()
    wait_for_colour(page, "ink", "a > 100 && b > r + 60")
    page.keyboard.press("o")
    page.wait_for_function(
        "() => getComputedStyle(document.querySelector('.layer.above > *')).visibility === 'hidden'"
    )


def test_objects_are_drawn_filtered_and_looked_at(page: object) -> None:
    panel = page.locator("section", has_text="Objects: nuclei").last
    panel.get_by_label("Show").check()
    panel.get_by_text("5,000 of 5,000").wait_for()
    wait_for_colour(page, "ink", "a > 100")  # near enough for outlines
    for _ in range(3):
        page.keyboard.press("-")
    wait_for_colour(page, "above", "a > 100")  # far: drawn as dots
    panel.get_by_label("lymphocyte").uncheck()
    panel.get_by_text("2,500 of 5,000").wait_for()
    panel.get_by_text("area_um2").click()
    panel.get_by_role("img", name="Histogram of area_um2").wait_for()
    least = panel.get_by_label("least").last
    least.evaluate("(e) => { e.value = '60'; e.dispatchEvent(new Event('input', {bubbles: true})); }")
    page.wait_for_function("() => !document.body.innerText.includes('2,500 of 5,000')")
    page.keyboard.press("6")
    wait_for_colour(page, "ink", "a > 100")


def test_lengths_and_areas_are_measured(page: object) -> None:
    page.keyboard.press("4")
    page.get_by_text("10.0x").wait_for()
    page.wait_for_timeout(800)
    page.keyboard.press("l")
    host = page.locator(".host")
    host.click(position={"x": 200, "y": 300})
    page.wait_for_timeout(600)  # a second click within it would be a double one
    host.click(position={"x": 400, "y": 300})
    wait_for_colour(page, "ink", "a === 255 && b > r + 100")
    page.keyboard.press("Escape")
    assert page.get_by_role("radio", name="Look").get_attribute("aria-checked") == "true"


def test_the_view_is_saved_as_a_picture(page: object, tmp_path: Path) -> None:
    from PIL import Image

    wait_for_colour(page, "below", "a === 255 && r + g + b < 500")
    with page.expect_download() as coming:
        page.keyboard.press("s")
    coming.value.save_as(tmp_path / "view.png")
    picture = np.asarray(Image.open(tmp_path / "view.png").convert("RGB")).astype(int)
    assert picture.shape[0] > 600
    assert picture.std() > 20
    assert coming.value.suggested_filename == "a slide.png"


def test_keys_are_explained(page: object) -> None:
    page.keyboard.press("?")
    page.get_by_role("dialog", name="Keys").wait_for()
    assert "research use only" in page.get_by_role("dialog").inner_text()
    page.keyboard.press("Escape")
    page.wait_for_function("() => !document.querySelector('dialog').open")


# ---------------------------------------------------------------------- drawing and reading
def shapes_of(page: object, wanted: int) -> list[dict[str, object]]:
    """Wait until the server has so many shapes, and return them."""
    found: list[dict[str, object]] = []
    for _ in range(PATIENCE // 200):
        found = page.evaluate("async () => (await fetch('api/slides/a%20slide/shapes')).json()")
        if len(found) == wanted:
            break
        page.wait_for_timeout(200)
    assert len(found) == wanted
    return found


def dragged(page: object, *points: tuple[int, int]) -> None:
    page.mouse.move(*points[0])
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*point, steps=5)
    page.mouse.up()


def test_shapes_are_drawn_kept_and_taken_back(page: object) -> None:
    wait_for_colour(page, "below", "a === 255 && r + g + b < 500")
    page.get_by_role("button", name="Rectangle", exact=True).click()
    dragged(page, (400, 300), (500, 380))
    (rectangle,) = shapes_of(page, 1)
    assert (rectangle["kind"], rectangle["class_name"], rectangle["author"]) == ("rectangle", "tumour", "You")
    page.get_by_label("stroma").check()
    page.get_by_role("button", name="Brush", exact=True).click()
    dragged(page, (500, 500), (560, 520), (620, 580))
    brush = next(one for one in shapes_of(page, 2) if one["kind"] == "brush")
    assert brush["class_name"] == "stroma"
    assert shapely.from_geojson(json.dumps(brush["geometry"])).area > 1000
    page.keyboard.press("Control+z")
    (left,) = shapes_of(page, 1)
    assert left["id"] == rectangle["id"]
    page.reload()
    page.get_by_text("x · ").wait_for()
    assert shapes_of(page, 1)[0]["id"] == rectangle["id"]


def test_the_own_finding_is_locked_before_the_reveal(page: object) -> None:
    page.get_by_role("button", name="Begin reading").click()
    page.get_by_role("textbox", name="Finding", exact=True).fill("benign")
    page.get_by_role("button", name="Lock my finding").click()
    page.get_by_text("locked").wait_for()
    page.get_by_role("button", name="Show what the model says").click()
    page.get_by_role("alert").get_by_text("no model spoke of a slide").wait_for()
