"""The page in Chromium, on a served run: looking at slides and at what was found on them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from browsing import ON_SCREEN, REAL, open_tab, real_slide, state_of, wait_for_colour, wait_until_gone

STAINED = "a === 255 && r + g + b < 500"
FIRST = "r < 8 && Math.abs(g - 114) < 8 && Math.abs(b - 178) < 8"
SECOND = "Math.abs(r - 230) < 8 && Math.abs(g - 159) < 8 && b < 8"
"""The colours of the first two classes; nothing on the slide has them."""

SECOND_DRAWN = """() => {
    const canvas = document.querySelector('.pane:nth-of-type(2) .layer.below canvas');
    if (!canvas || !canvas.width) return false;
    const middle = [canvas.width >> 1, canvas.height >> 1, 1, 1];
    return canvas.getContext('2d').getImageData(...middle).data[3] > 0;
}"""


# ---------------------------------------------------------------------- slides
def test_the_slide_is_shown_with_its_scale(page: object) -> None:
    wait_for_colour(page, "below", STAINED)
    page.get_by_role("img", name="Scale bar").wait_for()
    assert page.locator(".title").inner_text() == "a slide"
    assert page.get_by_text("2,100 × 1,500 px").is_visible()
    page.wait_for_function("() => document.querySelector('.overview canvas').width > 50")


def test_slides_are_listed_with_thumbnail_and_state(page: object) -> None:
    row = page.get_by_role("listitem").filter(has_text="second")
    assert "done" in row.inner_text()
    page.wait_for_function(
        "() => [...document.querySelectorAll('.pick img')].every((i) => i.naturalWidth > 10)"
    )


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
    assert page.get_by_role("button", name="20x").get_attribute("title") == "20x: 0.5 µm per pixel (5)"


def test_the_address_restores_the_view(page: object, served: str) -> None:
    page.keyboard.press("5")
    page.get_by_text("20.0x").wait_for()
    page.get_by_label("Tissue").check()
    open_tab(page, "Regions")
    page.keyboard.press("Shift+ArrowRight")
    page.wait_for_function("() => { const v = JSON.parse(decodeURIComponent(location.hash.slice(1))).view;"
                           " return v && v.x > 1300; }")  # fmt: skip
    wanted = state_of(page)
    again = page.context.new_page()
    again.goto(served + page.evaluate("location.hash"))
    again.get_by_text("20.0x").wait_for()
    found = state_of(again)
    assert found["view"] == pytest.approx(wanted["view"], abs=2)
    assert (found["tab"], found["layers"]["tissue"]) == ("regions", True)


def test_slides_are_searched_opened_beside_and_moved_together(page: object) -> None:
    page.keyboard.press("/")
    page.keyboard.type("second")
    assert page.locator(".slides li").count() == 1
    page.get_by_role("button", name="Open second beside").click()
    page.get_by_role("region", name="second").wait_for()
    assert page.locator(".pane").count() == 2
    page.wait_for_function(SECOND_DRAWN)  # what is not there yet does not move along
    page.locator(".pane").first.click(position={"x": 200, "y": 300})
    page.keyboard.press("5")
    page.get_by_text("20.0x").wait_for()
    bars = page.get_by_role("img", name="Scale bar: 50 µm")
    bars.nth(1).wait_for()  # both are at 20x
    page.keyboard.press("k")
    page.keyboard.press("4")
    page.get_by_role("img", name="Scale bar: 100 µm").wait_for()
    assert bars.count() == 1
    page.keyboard.press("x")
    page.wait_for_function("() => document.querySelectorAll('.pane').length === 1")


@pytest.mark.skipif(real_slide() is None, reason="COVERSLIP_TEST_DATA is not set")
def test_a_real_slide_is_shown_from_its_stored_tiles(page: object) -> None:
    asked: list[str] = []
    page.on("response", lambda answer: asked.append(answer.url) if f"{REAL}/tiles/" in answer.url else None)
    page.get_by_role("button", name=REAL).first.click()
    page.get_by_text("2,220 × 2,967 px").wait_for()
    wait_for_colour(page, "below", "a === 255")
    page.keyboard.press("5")
    wait_for_colour(page, "below", "a === 255 && r > g + 60 && b > g + 30")  # eosin
    page.get_by_label("Tissue").check()
    wait_for_colour(page, "ink", "a > 100 && b > r + 60")
    assert any("/tiles/0/" in url for url in asked)


# ---------------------------------------------------------------------- colours, measuring, pictures
def test_colours_are_adjusted_and_stains_shown_alone(page: object) -> None:
    wait_for_colour(page, "below", "a === 255 && b > 150 && r < 100")
    page.get_by_label("Colour", exact=True).click()
    page.get_by_label("Brightness").fill("1.5")
    wait_for_colour(page, "below", "r > 240 && g > 240")  # too bright for what was scanned
    page.get_by_role("combobox").first.select_option("haematoxylin")
    wait_for_colour(page, "below", "a === 255 && b > r + 20 && r < 150")
    assert page.get_by_text("The file has no colour profile").is_visible()
    page.get_by_role("button", name="As scanned").click()
    page.wait_for_function("() => decodeURIComponent(location.hash).includes('\"brightness\":1,')")


AT = """([x, y]) => {
    const canvas = document.querySelector('.layer.below canvas');
    const { view } = JSON.parse(decodeURIComponent(location.hash.slice(1)));
    if (!canvas?.width || !view) return false;
    const ratio = canvas.width / canvas.clientWidth;
    const place = [[x, view.x, canvas.clientWidth], [y, view.y, canvas.clientHeight]];
    const [left, top] = place.map(([at, middle, side]) => ((at - middle) / view.step + side / 2) * ratio);
    const [r, g, b] = canvas.getContext('2d').getImageData(left, top, 1, 1).data;
    return WANTED;
}"""
"""Whether a place of the slide meets a condition on r, g and b."""


def test_the_colour_profile_of_the_scanner_is_applied(page: object) -> None:
    page.get_by_role("button", name="second").first.click()
    page.get_by_role("application", name="Slide second").wait_for()
    place = [992, 672]
    page.wait_for_function(AT.replace("WANTED", "r > 110 && b < 80"), arg=place)
    page.get_by_label("Colour", exact=True).click()
    profile = page.get_by_label("Colour profile of the scanner")
    profile.check()
    page.wait_for_function(AT.replace("WANTED", "b > 110 && r < 80"), arg=place)  # red and blue change places
    profile.uncheck()
    page.wait_for_function(AT.replace("WANTED", "r > 110 && b < 80"), arg=place)


def test_lengths_and_areas_are_measured(page: object) -> None:
    page.keyboard.press("4")
    page.get_by_text("10.0x").wait_for()
    page.keyboard.press("l")
    host = page.locator(".host")
    host.click(position={"x": 200, "y": 300})
    host.click(position={"x": 400, "y": 300})
    page.get_by_role("status").get_by_text("200 µm").wait_for()  # 200 screen pixels at 1 µm each
    wait_for_colour(page, "ink", "a === 255 && b > r + 100")
    page.keyboard.press("Escape")
    page.keyboard.press("a")
    for x, y in ((200, 300), (400, 300), (400, 400)):
        host.click(position={"x": x, "y": y})
    page.get_by_role("status").get_by_text("10000 µm²").wait_for()
    page.keyboard.press("v")
    assert page.get_by_role("radio", name="Look").get_attribute("aria-checked") == "true"


def test_the_view_is_saved_as_a_picture(page: object, tmp_path: Path) -> None:
    from PIL import Image

    wait_for_colour(page, "below", STAINED)
    with page.expect_download() as coming:
        page.keyboard.press("s")
    coming.value.save_as(tmp_path / "view.png")
    picture = np.asarray(Image.open(tmp_path / "view.png").convert("RGB")).astype(int)
    assert picture.shape[0] > 600
    assert picture.std() > 20
    corner = picture[-58:-10, 10:200]
    assert (corner.sum(axis=2) < 150).any()  # the scale bar
    assert coming.value.suggested_filename == "a slide.png"


# ---------------------------------------------------------------------- layers
def test_layers_are_laid_over(page: object) -> None:
    page.get_by_label("Map: regions").check()
    page.get_by_label("Opacity").fill("1")
    wait_for_colour(page, "below", FIRST)
    page.get_by_label("Tissue").check()
    wait_for_colour(page, "ink", "a > 100 && b > r + 60")
    page.keyboard.press("o")
    wait_until_gone(page, "below", FIRST)
    assert page.locator(".layer.ink canvas").is_hidden()


def test_tiles_are_coloured_by_a_prediction_and_tell_their_numbers(page: object) -> None:
    page.get_by_label("Tiles").check()
    page.get_by_text(re.compile(r"^ benign \d+$")).wait_for()
    wait_for_colour(page, "ink", "a > 60 && b > r + 60")
    page.locator(".host").click(position={"x": 380, "y": 400})
    clicked = page.get_by_role("region", name="What was clicked")
    clicked.get_by_text("p_tumour").wait_for()
    assert "The model says" in clicked.inner_text()


def test_quality_is_shown_by_flag(page: object) -> None:
    page.get_by_label("Quality").check()
    page.get_by_text("of the tissue is fit to read").wait_for()


def test_objects_are_drawn_filtered_and_looked_at(page: object) -> None:
    panel = page.locator("section", has_text="Objects: nuclei").last
    panel.get_by_label("Show").check()
    panel.get_by_text("5,000 of 5,000").wait_for()
    page.wait_for_function("() => performance.getEntriesByName('coverslip:objects').length > 0")
    page.keyboard.press("6")
    page.get_by_text("40.0x").wait_for()
    wait_for_colour(page, "below", FIRST)
    wait_for_colour(page, "below", SECOND)
    panel.get_by_label("lymphocyte").uncheck()
    panel.get_by_text("2,500 of 5,000").wait_for()
    wait_until_gone(page, "below", SECOND)
    panel.get_by_text("area_um2").click()
    panel.get_by_role("img", name="Histogram of area_um2").wait_for()
    panel.get_by_label("least").last.fill("140")
    panel.get_by_text(re.compile("^[0-9]+ of 5,000$")).wait_for()


def test_large_regions_are_outlined_from_afar_with_their_holes(page: object) -> None:
    panel = page.locator("section", has_text="Objects: regions").last
    panel.get_by_label("Show").check()
    panel.get_by_text("2 of 2").wait_for()
    wait_for_colour(page, "ink", "a > 100")
    box = page.locator(".host").bounding_box()
    assert box is not None
    to_screen = page.evaluate(ON_SCREEN, [550, 550])  # in the hole of the first region
    page.mouse.click(box["x"] + to_screen[0], box["y"] + to_screen[1])
    page.mouse.click(box["x"] + page.evaluate(ON_SCREEN, [300, 300])[0],
                     box["y"] + page.evaluate(ON_SCREEN, [300, 300])[1])  # fmt: skip
    page.get_by_role("region", name="What was clicked").get_by_text("gland").first.wait_for()


def test_regions_of_interest_are_ranked_and_visited_by_key(page: object) -> None:
    open_tab(page, "Regions")
    first = page.get_by_role("listitem").filter(has_text="kind: tumour 98%").first
    first.wait_for()
    page.wait_for_function("() => document.querySelector('.findings img').naturalWidth > 10")
    chosen = page.locator(".findings li.open strong")
    for key, title in (("n", "1. tumour"), ("n", "2. tumour"), ("p", "1. tumour")):
        page.keyboard.press(key)
        chosen.get_by_text(title).wait_for()


def test_keys_are_explained(page: object) -> None:
    page.keyboard.press("?")
    page.get_by_role("dialog", name="Keys").wait_for()
    assert "research use only" in page.get_by_role("dialog").inner_text()
    page.keyboard.press("Escape")
    page.wait_for_function("() => !document.querySelector('dialog').open")
