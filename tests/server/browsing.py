"""What the tests of the page share: the run that is looked at, and waiting for what is on the screen."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import shapely
import tifffile
from PIL import ImageCms

from coverslip.pipeline import Recipe, run_recipe
from coverslip.slides import find_slides
from coverslip.store import LabelMap, Prediction, Provenance, RunFolder
from coverslip.store.objects import ObjectTable

PATIENCE = 60_000
"""Milliseconds that a busy machine may take."""

CELLS = 5000
REAL = "CMU-1-Small-Region"

WHOLE = "() => performance.getEntriesByName('coverslip:view').length > 0"
"""Whether all of the slide was on the screen."""

WIPE = """async () => {
    localStorage.clear();
    const {csrf} = await (await fetch('api/me')).json();
    const headers = csrf ? {'X-Coverslip-CSRF': csrf} : {};
    for (const one of await (await fetch('api/slides/a%20slide/shapes')).json()) {
        const address = `api/slides/a%20slide/shapes/${one.id}?version=${one.version}`;
        await fetch(address, {method: 'DELETE', headers});
    }
}"""


ON_SCREEN = """([x, y]) => {
    const { view } = JSON.parse(decodeURIComponent(location.hash.slice(1)));
    const host = document.querySelector('.host');
    const [left, top] = [host.clientWidth / 2, host.clientHeight / 2];
    return [(x - view.x) / view.step + left, (y - view.y) / view.step + top];
}"""
"""Where a place of the slide is on the screen."""


def real_slide() -> Path | None:
    """Return a slide of people's tissue, where the folder of test data has it."""
    folder = os.environ.get("COVERSLIP_TEST_DATA")
    path = Path(folder or "") / "slides" / "aperio" / f"{REAL}.svs"
    return path if folder and path.is_file() else None


def make_run(folder: Path, slide: Path) -> Path:
    """Make a run that has something of every kind to show."""
    second = profiled(slide, folder / "second.tif")
    slides = [str(path) for path in (slide, second, real_slide()) if path is not None]
    tiles = {"tiles": {"size": 256, "min_tissue": 0.0}}
    recipe = Recipe.from_dict({"stages": ["tissue", "quality", tiles]})
    run_recipe(recipe, find_slides(slides), folder / "run")
    run, made = RunFolder(folder / "run"), Provenance.make("test", 1, parameters={}, inputs={}, slide=None)
    labels = np.ones((300, 420), np.uint8)
    for key, value in {
        "objects/nuclei": cells(),
        "objects/regions": regions(),
        "maps/regions": LabelMap(labels, 5.0, (0.0, 0.0), ("tumour",), 0.5),
        "predictions/kind": kinds(len(run.get("a slide", "tiles"))),
    }.items():
        run.put("a slide", key, value, provenance=made)
    target = Prediction({
        "slide": np.array(["a slide", "second"]), "label": np.array([1, 0]),
        "probability_benign": np.array([0.2, 0.9]), "probability_tumour": np.array([0.8, 0.1]),
    }, {"names": ["benign", "tumour"]})  # fmt: skip
    run.put(None, "predictions/diagnosis", target, provenance=made)
    return run.path


def profiled(slide: Path, path: Path) -> Path:
    """Write a slide anew, with a colour profile that takes red for blue."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for number in range(struct.unpack_from(">I", profile, 128)[0]):
        place = 132 + 12 * number
        name = bytes(profile[place : place + 4])
        profile[place : place + 4] = {b"rXYZ": b"bXYZ", b"bXYZ": b"rXYZ"}.get(name, name)
    tifffile.imwrite(
        path, tifffile.imread(slide), tile=(256, 256), compression="jpeg", photometric="rgb",
        resolution=(20_000, 20_000), resolutionunit="CENTIMETER", iccprofile=bytes(profile),
    )  # fmt: skip
    return path


def cells() -> ObjectTable:
    """Return small squares all over the slide, of two classes."""
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


def regions() -> ObjectTable:
    """Return two large regions, one with a hole."""
    ring = shapely.Polygon(
        shapely.box(200, 200, 900, 900).exterior, [shapely.box(400, 400, 700, 700).exterior]
    )
    return ObjectTable([ring, shapely.box(1200, 300, 1600, 800)], classes=("gland",), mpp=0.5)


def kinds(n: int) -> Prediction:
    """Return a prediction of tiles that is less and less sure of benign."""
    tumour = np.linspace(0.02, 0.98, n).astype(np.float32)
    columns = {
        "tile": np.arange(n, dtype=np.int32), "label": (tumour > 0.5).astype(np.int32),
        "p_benign": 1 - tumour, "p_tumour": tumour,
    }  # fmt: skip
    return Prediction(columns, {"names": ["benign", "tumour"]})


# ---------------------------------------------------------------------- waiting
SOME_PIXEL = """(layer) => {
    const canvas = document.querySelector(`.layer.${layer} canvas`);
    if (!canvas || !canvas.width) return false;
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    for (let i = 0; i < data.length; i += 4) {
        const [r, g, b, a] = [data[i], data[i + 1], data[i + 2], data[i + 3]];
        if (WANTED) return true;
    }
    return false;
}"""


def wait_for_colour(page: object, layer: str, wanted: str) -> None:
    """Wait until some pixel of a layer's canvas meets a condition on r, g, b and a, as JavaScript."""
    page.wait_for_function(SOME_PIXEL.replace("WANTED", wanted), arg=layer)


def wait_until_gone(page: object, layer: str, unwanted: str) -> None:
    """Wait until no pixel of a layer's canvas meets a condition."""
    page.wait_for_function(f"(layer) => !({SOME_PIXEL.replace('WANTED', unwanted)})(layer)", arg=layer)


def barriers(page: object) -> list[object]:
    """Return what axe finds on the page that keeps people out: serious and critical findings, with where."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    grave = [one for one in found if one["impact"] in ("serious", "critical")]
    return [(one["id"], [node["html"][:160] for node in one["nodes"]]) for one in grave]


def open_tab(page: object, name: str) -> None:
    """Show a panel."""
    page.get_by_role("tab", name=name, exact=True).click()


def wait_until_drawn(page: object, name: str, count: int) -> None:
    """Wait until so many shapes of a class are on the slide: what draws them is loaded with the first."""
    counted = """([name, count]) => [...document.querySelectorAll('.legend label')].some(
        (one) => one.textContent.includes(name) && one.querySelector('small').textContent === count)"""
    page.wait_for_function(counted, arg=[name, str(count)])


def shapes_of(page: object, wanted: int, condition: str = "true") -> list[dict[str, object]]:
    """Wait until the server has so many shapes and a condition on them holds, and return them."""
    found = page.evaluate(SHAPES.replace("CONDITION", condition), [wanted, PATIENCE])
    assert len(found) == wanted, found
    return found


SHAPES = """async ([wanted, patience]) => {
    const end = Date.now() + patience;
    for (;;) {
        const shapes = await (await fetch('api/slides/a%20slide/shapes')).json();
        if (shapes.length === wanted && (CONDITION)) return shapes;
        if (Date.now() > end) throw new Error('in vain: ' + JSON.stringify(shapes));
        await new Promise((done) => setTimeout(done, 60));
    }
}"""


def dragged(page: object, *points: tuple[int, int]) -> None:
    """Drag the pointer over the screen."""
    page.mouse.move(*points[0])
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*point, steps=4)
    page.mouse.up()


def state_of(page: object) -> dict[str, object]:
    """Return what the address says of the view."""
    return page.evaluate("JSON.parse(decodeURIComponent(location.hash.slice(1)))")
