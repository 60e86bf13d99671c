"""The page in Chromium: drawing, correcting what a model found, labelling, reading; all of it by key, too."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
import shapely
from browsing import (
    ON_SCREEN,
    WHOLE,
    barriers,
    dragged,
    open_tab,
    shapes_of,
    wait_for_colour,
    wait_until_drawn,
)
from playwright.sync_api import expect

from coverslip.annotations import Annotations

DATA = os.environ.get("COVERSLIP_TEST_DATA", "")

MPP = 0.5
"""Of the slide that is drawn on."""


def area_of(shape: dict[str, object]) -> float:
    return float(shapely.from_geojson(json.dumps(shape["geometry"])).area)


# ---------------------------------------------------------------------- drawing
def test_shapes_are_drawn_kept_and_taken_back(page: object) -> None:
    wait_for_colour(page, "below", "a === 255 && r + g + b < 500")
    open_tab(page, "Annotate")
    page.get_by_role("button", name="Rectangle", exact=True).click()
    dragged(page, (400, 300), (500, 380))
    (rectangle,) = shapes_of(page, 1)
    assert (rectangle["kind"], rectangle["class_name"], rectangle["author"]) == ("rectangle", "tumour", "You")
    page.get_by_label("stroma").check()
    page.get_by_role("button", name="Brush", exact=True).click()
    dragged(page, (500, 500), (560, 520), (620, 580))
    brush = next(one for one in shapes_of(page, 2) if one["kind"] == "brush")
    assert brush["class_name"] == "stroma"
    assert area_of(brush) > 1000
    page.keyboard.press("Control+z")
    (left,) = shapes_of(page, 1)
    assert left["id"] == rectangle["id"]
    page.keyboard.press("Control+y")
    shapes_of(page, 2)
    page.reload()
    page.wait_for_function(WHOLE)
    assert rectangle["id"] in [one["id"] for one in shapes_of(page, 2)]


@pytest.mark.parametrize("tool", ["Ellipse", "Freehand", "Line"])
def test_tools_that_follow_the_pointer(page: object, tool: str) -> None:
    open_tab(page, "Annotate")
    page.get_by_role("button", name=tool, exact=True).click()
    dragged(page, (420, 300), (480, 420), (600, 330))
    (shape,) = shapes_of(page, 1)
    assert shape["kind"] == {"Ellipse": "ellipse", "Freehand": "polygon", "Line": "line"}[tool]


def test_tools_that_are_clicked(page: object) -> None:
    wait_for_colour(page, "below", "a === 255 && r + g + b < 500")
    open_tab(page, "Annotate")
    page.get_by_role("button", name="Polygon", exact=True).click()
    for place in ((400, 300), (500, 300), (500, 400)):
        page.mouse.click(*place)
    page.keyboard.press("Enter")
    assert shapes_of(page, 1)[0]["kind"] == "polygon"
    page.keyboard.press("d")
    page.mouse.click(560, 300)
    shapes_of(page, 2, "shapes.some((one) => one.kind === 'point')")
    page.keyboard.press("w")
    page.mouse.click(700, 500)
    shapes_of(page, 3)


def test_a_shape_says_who_drew_it_and_is_changed_by_its_corners(page: object) -> None:
    open_tab(page, "Annotate")
    page.keyboard.press("g")
    for place in ((400, 300), (600, 300), (600, 450), (400, 450)):
        page.mouse.click(*place)
    page.keyboard.press("Enter")
    (drawn,) = shapes_of(page, 1)
    wait_until_drawn(page, "tumour", 1)
    page.keyboard.press("Escape")
    page.mouse.click(500, 380)
    card = page.get_by_role("region", name="Selected shape")
    card.get_by_text("You, ").first.wait_for()
    card.get_by_text(f"{area_of(drawn) * MPP**2:.0f} µm²").wait_for()
    dragged(page, (600, 450), (660, 500))  # a corner, by its handle
    (changed,) = shapes_of(page, 1, "shapes[0].version > 1")
    assert area_of(changed) > area_of(drawn)
    page.get_by_label("necrosis").check()
    shapes_of(page, 1, "shapes[0].class_name === 'necrosis'")
    page.keyboard.press("Delete")
    shapes_of(page, 0)


def test_shapes_go_out_and_come_in_again(page: object, tmp_path: object) -> None:
    open_tab(page, "Annotate")
    page.keyboard.press("r")
    dragged(page, (400, 300), (500, 380))
    (drawn,) = shapes_of(page, 1)
    with page.expect_download() as coming:
        page.get_by_label("Export annotations").select_option("geojson")
    coming.value.save_as(tmp_path / "shapes.geojson")
    page.get_by_label("Import annotations").set_input_files(tmp_path / "shapes.geojson")
    both = shapes_of(page, 2)
    assert area_of(both[0]) == pytest.approx(area_of(both[1]))
    assert drawn["id"] in [one["id"] for one in both]


@pytest.mark.skipif(not DATA, reason="COVERSLIP_TEST_DATA is not set")
@pytest.mark.parametrize(
    ("file", "count", "classes"),
    [("wsidicom/asap/asap-polygon.xml", 1, ()), ("imagescope/TCGA-EJ-5518-01Z-00-DX1.xml", 4, ("CaP",))],
    ids=["asap", "imagescope"],
)
def test_annotations_of_other_programs_come_in(
    page: object, file: str, count: int, classes: tuple[str, ...]
) -> None:
    open_tab(page, "Annotate")
    page.get_by_label("Import annotations").set_input_files(Path(DATA) / "annotations" / file)
    taken = shapes_of(page, count)
    wanted = Annotations.read(Path(DATA) / "annotations" / file)
    assert {one["class_name"] for one in taken if one["class_name"]} == set(classes)
    areas = sorted(shapely.from_geojson(json.dumps(one["geometry"])).area for one in taken)
    assert areas == pytest.approx(sorted(one.geometry.area for one in wanted.shapes))
    assert {one["author"] for one in taken} == {"You"}
    for name in classes:
        wait_until_drawn(page, name, sum(one["class_name"] == name for one in taken))


def test_what_the_server_did_not_get_waits_for_it(page: object) -> None:
    open_tab(page, "Annotate")
    page.route("**/shapes", lambda r: r.abort() if r.request.method == "POST" else r.continue_())
    page.keyboard.press("r")
    dragged(page, (400, 300), (500, 380))
    page.get_by_text("1 not saved yet").wait_for()
    page.unroute("**/shapes")
    page.on("dialog", lambda dialog: dialog.accept())
    page.reload()  # as after a crash: it waits in the browser's storage
    page.wait_for_function(WHOLE)
    shapes_of(page, 1)


# ---------------------------------------------------------------------- all by key
def test_a_polygon_is_drawn_and_changed_by_key_alone(page: object) -> None:
    page.keyboard.press("5")
    page.keyboard.press("g")
    for key in ("Space", "ArrowRight", "Space", "ArrowDown", "Space", "Enter"):
        page.keyboard.press(key)
    (drawn,) = shapes_of(page, 1)
    assert drawn["kind"] == "polygon"
    assert area_of(drawn) > 1000
    wait_until_drawn(page, "tumour", 1)
    page.keyboard.press("Escape")
    page.keyboard.press("m")
    page.get_by_role("region", name="Selected shape").wait_for()
    page.keyboard.press(".")
    for _ in range(3):
        page.keyboard.press("Alt+Shift+ArrowLeft")
    (changed,) = shapes_of(page, 1, "shapes[0].version > 1")
    assert area_of(changed) == pytest.approx(area_of(drawn) + 30 * bounds_height(drawn) / 2, rel=0.05)
    page.keyboard.press("Insert")
    shapes_of(page, 1, "shapes[0].geometry.coordinates[0].length === 5")
    page.keyboard.press("Delete")
    shapes_of(page, 0)


def bounds_height(shape: dict[str, object]) -> float:
    _, top, _, bottom = shapely.from_geojson(json.dumps(shape["geometry"])).bounds
    return float(bottom - top)


KEYS = [("r", "rectangle"), ("e", "ellipse"), ("i", "line"), ("d", "point")]


@pytest.mark.parametrize(("key", "kind"), KEYS)
def test_other_shapes_by_key(page: object, key: str, kind: str) -> None:
    page.keyboard.press("5")
    for pressed in (key, "Space", "ArrowRight", "ArrowDown", *(() if kind == "point" else ("Space",))):
        page.keyboard.press(pressed)
    assert shapes_of(page, 1)[0]["kind"] == kind


def test_a_length_is_measured_by_key(page: object) -> None:
    page.keyboard.press("5")
    page.get_by_text("20.0x").wait_for()
    for key in ("l", "Space", "ArrowRight", "Space"):
        page.keyboard.press(key)
    expect(page.locator("output.measure")).to_contain_text("µm")


def test_panels_are_reached_by_key(page: object) -> None:
    page.keyboard.press("t")
    expect(page.get_by_role("tab", name="Regions")).to_have_attribute("aria-selected", "true")
    page.get_by_role("tab", name="Regions").focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="Annotate")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_role("tabpanel")).to_be_focused()


# ---------------------------------------------------------------------- the learning loop
def test_objects_are_confirmed_rejected_and_taken_back(page: object) -> None:
    page.locator("section", has_text="Objects: regions").last.get_by_label("Show").check()
    wait_for_colour(page, "ink", "a > 100")
    box = page.locator(".host").bounding_box()
    x, y = page.evaluate(ON_SCREEN, [1400, 500])
    page.mouse.click(box["x"] + x, box["y"] + y)
    clicked = page.get_by_role("region", name="What was clicked")
    clicked.get_by_text("gland").first.wait_for()
    page.keyboard.press("y")
    clicked.get_by_text("confirmed by You").wait_for()
    (kept,) = shapes_of(page, 1)
    assert kept["origin"]["key"] == "objects/regions"
    assert kept["class_name"] == "gland"
    page.keyboard.press("u")
    clicked.get_by_text("rejected by You").wait_for()
    shapes_of(page, 1, "shapes[0].origin.verdict === 'reject'")
    page.keyboard.press("Control+z")
    shapes_of(page, 1, "shapes[0].origin.verdict === 'accept'")
    clicked.get_by_label("It is").select_option("tumour")
    clicked.get_by_text("relabelled as tumour").wait_for()
    page.keyboard.press("j")  # reshape: its corners are moved as those of any shape
    page.get_by_role("region", name="Selected shape").wait_for()
    page.keyboard.press(".")
    page.keyboard.press("Alt+Shift+ArrowRight")
    shapes_of(page, 1, "shapes[0].origin.verdict === 'reshape'")


def test_tiles_are_labelled_from_the_queue_by_key(page: object) -> None:
    open_tab(page, "Regions")
    queue = page.locator("section", has_text="Label next")
    queue.get_by_text(re.compile("0 of [0-9]+ have a label")).wait_for()
    page.keyboard.press("q")
    expect(queue.locator("li.open")).to_have_count(1)
    page.keyboard.press("Shift+Digit2")
    (kept,) = shapes_of(page, 1)
    assert (kept["origin"]["key"], kept["class_name"]) == ("predictions/kind", "tumour")
    queue.get_by_text("labelled", exact=True).wait_for()
    queue.get_by_role("button", name="Ask anew").click()
    queue.get_by_text(re.compile("1 of [0-9]+ have a label")).wait_for()


# ---------------------------------------------------------------------- read first
def test_what_models_say_is_hidden_until_the_own_finding_is_locked(page: object) -> None:
    open_tab(page, "Opinion")
    page.get_by_role("button", name="Begin reading").click()
    page.get_by_role("textbox", name="Finding", exact=True).wait_for()
    open_tab(page, "Regions")
    page.get_by_text("hidden until your own finding is locked").wait_for()
    expect(page.get_by_role("button", name="Layers", exact=True)).to_be_disabled()
    asked = "async () => (await fetch('api/slides/a%20slide/suspicious')).status"
    assert page.evaluate(asked) == 403, "the server itself tells nothing"
    page.reload()
    page.wait_for_function(WHOLE)
    open_tab(page, "Regions")
    page.get_by_text("hidden until your own finding is locked").wait_for()
    open_tab(page, "Opinion")
    page.get_by_role("textbox", name="Finding", exact=True).fill("benign")
    page.get_by_role("button", name="Lock my finding").click()
    page.get_by_text("locked").wait_for()
    page.get_by_role("button", name="Show what the model says").click()
    told = page.get_by_role("group", name="What the model says")
    told.get_by_text("for research use only").wait_for()
    said = told.inner_text()
    for part in ("tumour", "80 %", "calibrated", "Model", "Sees", "Trained on", "This slide"):
        assert part in said
    open_tab(page, "Regions")
    page.get_by_text("1. tumour", exact=True).wait_for()
    open_tab(page, "Opinion")
    page.get_by_label("Reason").fill("I see no invasion")
    page.get_by_role("button", name="I stay with mine").click()
    page.get_by_text("Final: benign").wait_for()


# ---------------------------------------------------------------------- accessibility
STATES = ("start", "regions", "annotate", "opinion", "objects", "colour", "keys", "beside", "shape")


@pytest.mark.parametrize("state", STATES)
def test_axe_finds_nothing_serious(page: object, state: str) -> None:
    prepare(page, state)
    assert barriers(page) == []


def prepare(page: object, state: str) -> None:
    if state in ("regions", "annotate", "opinion"):
        open_tab(page, state.capitalize())
    elif state == "objects":
        for name in ("Tissue", "Quality", "Tiles", "Map: regions"):
            page.get_by_label(name).check()
        panel = page.locator("section", has_text="Objects: nuclei").last
        panel.get_by_label("Show").check()
        panel.get_by_text("area_um2").click()
        panel.get_by_role("img", name="Histogram of area_um2").wait_for()
    elif state == "colour":
        page.get_by_label("Colour", exact=True).click()
    elif state == "keys":
        page.keyboard.press("?")
        page.get_by_role("dialog", name="Keys").wait_for()
    elif state == "beside":
        page.get_by_role("button", name="Open second beside").click()
        page.get_by_role("region", name="second").wait_for()
    elif state == "shape":
        page.keyboard.press("r")
        dragged(page, (400, 300), (500, 380))
        shapes_of(page, 1)
        wait_until_drawn(page, "tumour", 1)
        page.keyboard.press("Escape")
        page.keyboard.press("m")
        page.get_by_role("region", name="Selected shape").wait_for()


FOCUSED = "document.activeElement"


def test_focus_is_seen_and_stays_in_a_dialog(page: object) -> None:
    page.get_by_role("button", name="Fit").focus()
    page.keyboard.press("Tab")
    outline = "(one) => getComputedStyle(one).outlineStyle"
    assert page.get_by_role("button", name="1.25x").evaluate(outline) == "solid"
    page.keyboard.press("?")
    page.get_by_role("dialog").wait_for()
    for _ in range(6):
        page.keyboard.press("Tab")
        assert page.evaluate(f"{FOCUSED} === document.body || !!{FOCUSED}.closest('dialog')")
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="1.25x")).to_be_focused()
