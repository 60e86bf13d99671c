"""The built-in recipes on phantom slides, held against what the phantoms know; and what a gate saves.

    python benchmarks/recipes.py truth [RECIPE …] [--seeds 5] [--first 50] [--times 1] [--people]
    python benchmarks/recipes.py gate

Each row says the slide's seed, what was measured, what was found, the truth, and whether it is within bounds;
a summary follows. `--people` takes the network of nuclei that ships for slides of people in place of that for
phantoms.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import shapely

from coverslip.core import Box
from coverslip.phantom import CLASSES, Phantom, PhantomSpec, make, write_slide
from coverslip.pipeline import Pipeline, Recipe, Step
from coverslip.pipeline.stages import PathomicsStage, TilesStage
from coverslip.pipeline.stages.colour import ColourStage
from coverslip.pipeline.stages.glands import grade
from coverslip.slides import open_slide

SIZE = {"width": 1800, "height": 1500, "tissue_share": 0.6, "holes": 0.0}
FIRST = 50
"""Seeds of the slides; the models that ship were fitted to others."""


@dataclass(frozen=True)
class Row:
    """One number of one slide beside its truth."""

    what: str
    found: float
    truth: float
    bound: float

    @property
    def ok(self) -> bool:
        """Whether it is within the bound."""
        return abs(self.found - self.truth) <= self.bound + 1e-9


def share(what: str, found: Any, truth: float) -> Row:
    """Hold shares (0 to 1) to 3 points."""
    return Row(what, float(found), float(truth), 0.03)


def count(what: str, found: Any, truth: float) -> Row:
    """Hold counts to 5 %, and to one object where there are few."""
    return Row(what, float(found), float(truth), max(0.05 * float(truth), 1.0))


def nuclei_of(phantom: Phantom) -> np.ndarray:
    """Return all nuclei."""
    return np.concatenate(list(phantom.truth.nuclei()))


# ------------------------------------------------------------------ what each recipe should find
def ihc(phantom: Phantom, found: Any) -> Iterator[Row]:
    """Positive share, H-score and hot spot."""
    nuclei, score = nuclei_of(phantom), found["tables/positivity"]
    yield count("nuclei", score["nuclei"][0], len(nuclei))
    yield share("positive share", score["positive_share"][0], nuclei["positive"].mean())
    truth = 100 * float(nuclei["level"].mean())
    yield Row("H-score", float(score["h_score"][0]), truth, 10.0)
    hot = found["tables/hot-spot"]
    across, down, _ = phantom.spec.hot
    place = np.array([across * phantom.spec.width, down * phantom.spec.height])
    away = np.hypot(*(np.array([hot["x"][0], hot["y"][0]]) - place)) * phantom.spec.mpp / 1000
    yield Row("hot spot, mm away", float(away), 0.0, 0.5)


def her2(phantom: Phantom, found: Any) -> Iterator[Row]:
    """Shares of cells per grade, and the slide's score."""
    nuclei, table = nuclei_of(phantom), found["tables/membrane"]
    cells = nuclei[nuclei["kind"] == CLASSES.index("tumour")]
    shares = np.bincount(cells["level"], minlength=4) / len(cells)
    above = shares[::-1].cumsum()[::-1]
    truth = next((level for level in (3, 2, 1) if above[level] > 0.1), 0)
    yield Row("score", float(table["score"][0]), truth, 0.0)
    yield Row("share of 3+", float(table["share_3"][0]), shares[3], 0.1)


def cellularity(phantom: Phantom, found: Any) -> Iterator[Row]:
    """Tumour's share of the tissue, its nuclei, and the share that they cover."""
    truth = phantom.truth
    nests = nest_share(phantom)
    table, names = found["tables/tumour-share"], found["tables/tumour-share"]["class"].tolist()
    yield share("tumour share", table["share"][names.index("nest")], nests)
    nuclei = nuclei_of(phantom)
    inside = nuclei[truth.in_nest(nuclei["x"], nuclei["y"])]
    yield count("nuclei in tumour", found["tables/cellularity"]["count"][0], len(inside))
    labels, seen = phantom.instance_mask(Box(0, 0, *phantom.size))
    which = np.concatenate([[False], truth.in_nest(seen["x"], seen["y"])])
    covered = which[labels].sum() / (nests * truth.tissue.area)
    yield Row("share of tumour that is nuclei", float(found["tables/cellularity"]["share"][0]), covered, 0.08)


def nest_share(phantom: Phantom) -> float:
    """Return the share of the tissue that is nests of tumour cells."""
    x, y, tissue = grid_of(phantom)
    return float((phantom.truth.in_nest(x, y) & tissue).sum() / tissue.sum())


def grid_of(phantom: Phantom, step: float = 4.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return points every `step` pixels, and whether each lies in the tissue."""
    size = phantom.size
    x, y = np.meshgrid(np.arange(step / 2, size.width, step), np.arange(step / 2, size.height, step))
    tissue = phantom.truth.tissue
    shapely.prepare(tissue)
    return x.ravel(), y.ravel(), shapely.contains_xy(tissue, x.ravel(), y.ravel())


def til(phantom: Phantom, found: Any) -> Iterator[Row]:
    """Lymphocytes in the stroma of the bed: count, and share of the area that they cover."""
    truth, table = phantom.truth, found["tables/til"]
    bed = shapely.union_all(found["objects/bed"].read().polygons)
    shapely.prepare(bed)
    nuclei = nuclei_of(phantom)
    nuclei = nuclei[
        (nuclei["kind"] == CLASSES.index("lymphocyte")) & shapely.contains_xy(bed, nuclei["x"], nuclei["y"])
    ]
    other = shapely.union_all([truth.necrosis, truth.fat, truth.fibrosis, *map(filled, truth.glands)])
    shapely.prepare(other)

    def in_stroma(x: Any, y: Any) -> Any:
        inside = shapely.contains_xy(bed, x, y) & ~shapely.contains_xy(other, x, y)
        return inside & ~truth.in_nest(x, y)

    stroma = nuclei[in_stroma(nuclei["x"], nuclei["y"])]
    x, y, tissue = grid_of(phantom)
    area = (tissue & in_stroma(x, y)).sum() * 16.0
    shapes = [shapely.Polygon(truth.outline(n)).buffer(1.0 / phantom.spec.mpp) for n in stroma]
    yield share(
        "stromal TIL share", table["stromal_til_percent"][0] / 100, shapely.union_all(shapes).area / area
    )
    yield count("lymphocytes in stroma", table["stroma_lymphocytes"][0], len(stroma))


def filled(gland: Any) -> Any:
    """Return a gland with its lumens."""
    return shapely.Polygon(gland.exterior).buffer(0)


def mitosis(phantom: Phantom, found: Any) -> Iterator[Row]:
    """Mitotic figures."""
    yield count("mitoses", found["tables/count"]["count"][0], len(phantom.truth.mitoses()))
    hot = found["tables/hot-spot"]
    across, down, _ = phantom.spec.hot
    away = np.hypot(hot["x"][0] - across * phantom.spec.width, hot["y"][0] - down * phantom.spec.height)
    yield Row("hot spot, mm away", float(away * phantom.spec.mpp / 1000), 0.0, 0.5)


def glands(phantom: Phantom, found: Any) -> Iterator[Row]:
    """Glands and the grade group."""
    areas = np.array([shapely.Polygon(gland.exterior).area for gland in phantom.truth.glands])
    shares = np.array([areas[phantom.truth.patterns == pattern].sum() for pattern in (3, 4, 5)])
    yield Row("grade group", float(found["tables/gleason"]["group"][0]), grade(shares, 0.05)["group"], 0.0)
    yield count("glands", found["tables/gleason"]["glands"][0], len(areas))


def shares(kind: str) -> Any:
    """Return the comparison of one type's share of the tissue."""

    def compare(phantom: Phantom, found: Any) -> Iterator[Row]:
        table = found["tables/count"]
        row = table["class"].tolist().index(kind)
        shape = getattr(phantom.truth, kind)
        yield share(f"{kind} share", table["share"][row], shape.area / phantom.truth.tissue.area)

    return compare


def patterns(seed: int) -> tuple[float, float, float]:
    """Return shares of Gleason patterns that leave no doubt which is first."""
    table = ((1, 0, 0), (0.7, 0.3, 0), (0.25, 0.75, 0), (0, 1, 0), (0, 0.3, 0.7))
    return table[seed % len(table)]


TISSUE, NUCLEI, KINDS = "phantom-tissue", "phantom-nuclei", "phantom-nuclei-kinds"
RECIPES: dict[str, tuple[Any, dict[str, Any], Any]] = {
    "ki67": (
        lambda _: PhantomSpec(
            **SIZE,
            stain="ihc",
            levels=(0.3, 0.3, 0.4),
            positive_share=0.2,
            tumour_share=0.6,
            hot=(0.5, 0.5, 220.0),
        ),
        {"nuclei.model": NUCLEI, "hot-spot.area_mm2": 0.1},
        ihc,
    ),
    "er-pr": (
        lambda _: PhantomSpec(
            **SIZE,
            stain="ihc",
            levels=(0.2, 0.3, 0.5),
            positive_share=0.3,
            tumour_share=0.7,
            hot=(0.5, 0.5, 250.0),
        ),
        {"nuclei.model": NUCLEI, "hot-spot.area_mm2": 0.1},
        ihc,
    ),
    "her2-membrane": (
        lambda seed: PhantomSpec(
            **SIZE,
            stain="ihc",
            marker="membrane",
            positive_share=(0.0, 0.8, 0.8, 0.8)[seed % 4],
            levels=((1, 0, 0), (1, 0, 0), (0.1, 0.9, 0), (0.1, 0.2, 0.7))[seed % 4],
            tumour_share=0.7,
        ),
        {"nuclei.model": NUCLEI},
        her2,
    ),
    "tumour-cellularity": (
        lambda seed: PhantomSpec(**SIZE, tumour_share=0.3 + 0.1 * (seed % 4)),
        {"tumour.model": TISSUE, "nuclei.model": NUCLEI},
        cellularity,
    ),
    "til": (
        lambda seed: PhantomSpec(**SIZE, tumour_share=0.5, lymphocytes=1.0 + (seed % 3)),
        {
            "tissue-types.model": TISSUE,
            "nuclei.model": NUCLEI,
            "kinds.model": KINDS,
        },
        til,
    ),
    "mitosis": (
        lambda _: PhantomSpec(**SIZE, tumour_share=0.6, mitoses=0.02, hot=(0.5, 0.5, 220.0)),
        {"nuclei.model": NUCLEI, "second-look.model": KINDS, "hot-spot.area_mm2": 0.1},
        mitosis,
    ),
    "gland-grade": (
        lambda seed: PhantomSpec(**SIZE, tumour_share=0.0, glandular=1.0, patterns=patterns(seed)),
        {"tissue-types.model": TISSUE},
        glands,
    ),
    "necrosis": (
        lambda seed: PhantomSpec(**SIZE, tumour_share=0.5, necrosis=0.15 * (1 + seed % 3)),
        {"tissue-types.model": TISSUE},
        shares("necrosis"),
    ),
    "fibrosis": (
        lambda seed: PhantomSpec(**SIZE, tumour_share=0.3, fibrosis=0.15 * (1 + seed % 3)),
        {"tissue-types.model": TISSUE},
        shares("fibrosis"),
    ),
}
"""Per recipe the phantom of a seed, the parameters that differ, and the comparison."""


def run(name: str, seed: int, folder: Path, *, people: bool = False, times: int = 1) -> list[Row]:
    """Run a recipe on one phantom in memory, whose sides are some times as long, and compare."""
    spec, settings, compare = RECIPES[name]
    small = spec(seed)
    phantom = make(replace(small, width=times * small.width, height=times * small.height), seed)
    chosen = {key: value for key, value in settings.items() if not (people and key == "nuclei.model")}
    recipe = Recipe.load(name).with_parameters(chosen)
    path = write_slide(phantom, folder / f"{name}-{seed}.svs")
    with open_slide(path) as slide:
        found = Pipeline([stage for stage in recipe.stages if stage.name != "levels"]).run(slide)
    path.unlink()
    return list(compare(phantom, found))


def truth(names: list[str], seeds: range, *, people: bool, times: int) -> bool:
    """Print a row per number and a summary; say whether all are within their bounds."""
    print("recipe | seed | number | found | truth | bound | within")
    rows: dict[tuple[str, str], list[Row]] = {}
    with TemporaryDirectory() as folder:
        for name in names or RECIPES:
            for seed in seeds:
                for row in run(name, seed, Path(folder), people=people, times=times):
                    rows.setdefault((name, row.what), []).append(row)
                    values = f"{row.found:.4g} | {row.truth:.4g} | {row.bound:.3g}"
                    said = "yes" if row.ok else "NO"
                    print(f"{name} | {seed} | {row.what} | {values} | {said}", flush=True)
    print("\nrecipe | number | within | mean error | mean absolute error | worst")
    for (name, what), found in rows.items():
        off = np.array([row.found - row.truth for row in found])
        within = f"{sum(row.ok for row in found)} of {len(found)}"
        worst = f"{np.abs(off).max():.3g}"
        print(f"{name} | {what} | {within} | {off.mean():+.3g} | {np.abs(off).mean():.3g} | {worst}")
    return all(row.ok for found in rows.values() for row in found)


# ------------------------------------------------------------------ what a gate saves
def gate(keep: float = 0.1) -> float:
    """Measure all tiles of a phantom, and those that a gate keeps; return the ratio of the times."""
    phantom = make(PhantomSpec(width=2600, height=2200, tissue_share=0.6, holes=0.0), FIRST)
    with TemporaryDirectory() as folder:
        path = write_slide(phantom, Path(folder) / "gate.svs")
        recipe = Recipe.from_dict(
            {"stages": ["tissue", {"tiles": {"size": 256, "stride": 56, "quality": False}}, "stain"]}
        )
        coarse = Step(TilesStage(mpp=2.0, size=64, quality=False), name="coarse")
        look = (*recipe.stages, coarse, Step(ColourStage(), name="look", using={"tiles": "coarse"}))
        with open_slide(path) as slide:
            amounts = Pipeline(look).run(slide)["predictions/look"]["haematoxylin"]
            least = float(np.quantile(amounts, 1 - keep))
            step = Step(PathomicsStage(clusters=2), where={"look": "haematoxylin", "at_least": least})
            times = {}
            for name, stages in {
                "all": (*recipe.stages, PathomicsStage(clusters=2)),
                "gated": (*look, step),
            }.items():
                start = time.process_time()
                found = Pipeline(stages).run(slide)
                times[name] = time.process_time() - start
                print(f"{name}: {len(found['features/pathomics'])} tiles, {times[name]:.1f} s of CPU")
    ratio = times["gated"] / times["all"]
    print(f"the gated run took {ratio:.3f} of the other")
    return ratio


def main() -> int:
    """Run what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("what", choices=("truth", "gate"))
    parser.add_argument("recipes", nargs="*")
    parser.add_argument("--seeds", type=int, default=5, help="how many")
    parser.add_argument("--first", type=int, default=FIRST)
    parser.add_argument("--people", action="store_true")
    parser.add_argument("--times", type=int, default=1, help="how many times as long the slides' sides are")
    given = parser.parse_args()
    if given.what == "gate":
        return 0 if gate() <= 0.2 else 1
    seeds = range(given.first, given.first + given.seeds)
    return 0 if truth(given.recipes, seeds, people=given.people, times=given.times) else 1


if __name__ == "__main__":
    sys.exit(main())
