"""The pictures of the documentation, made of phantoms: ``python docs/gallery.py`` fills docs/gallery/."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

import coverslip
from coverslip import Box, Slide
from coverslip.measure import lookalike
from coverslip.measure.pathomics import measure_tile
from coverslip.phantom import Phantom, PhantomSpec, make, write_slide
from coverslip.stain import Normaliser, estimate_background, fit, fit_target, recombine, separate
from coverslip.tiles import GridSpec, Tiles, lay, stream
from coverslip.tissue import find_tissue
from coverslip.tissue.quality import assess

FOLDER = Path(__file__).parent / "gallery"
Rgb = NDArray[np.uint8]

TRUTH, FOUND = (255, 255, 255), (20, 90, 200)
DEFECTS = {"blur": (230, 159, 0), "pen": (0, 114, 178), "fold": (213, 94, 0), "bubble": (0, 158, 115)}
"""Colours that colour-blind readers can tell apart (Okabe & Ito 2008)."""
CLUSTERS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#999999")

SPECS = {
    "plain": PhantomSpec(4096, 3072, tissue_share=0.4),
    "defects": PhantomSpec(
        4096, 3072, tissue_share=0.5, artefacts=(("blur", 1), ("pen", 1), ("fold", 1), ("bubble", 1))
    ),
    "biopsy": PhantomSpec(4096, 3072, tissue_share=0.12, shape="biopsy", n_sections=3),
    "fatty": PhantomSpec(4096, 3072, tissue_share=0.4, fatty=0.5, faint=0.4),
}


# ------------------------------------------------------------------ the pictures
def phantom(cut: Cutter) -> Rgb:
    """A whole phantom."""
    return cut.slide("plain").thumbnail(1000)


def levels(cut: Cutter) -> Rgb:
    """One place at three resolutions."""
    slide = cut.slide("plain")
    x, y = cut.middle("plain")
    boxes = {d: Box(x - 160 * d, y - 160 * d, 320 * d, 320 * d) for d in (1, 2, 5)}
    return row([slide.read_at(box, d) for d, box in boxes.items()], [f"mpp {d * slide.mpp:g}" for d in boxes])


def tissue(cut: Cutter) -> Rgb:
    """Outlines found (blue) and true (white) on three phantoms."""
    names = ["plain", "biopsy", "fatty"]
    return row([outlined(cut.slide(name), cut.truth(name)) for name in names], names)


def quality(cut: Cutter) -> Rgb:
    """The truth of four defects, and the cells that were flagged."""
    slide, cells = cut.slide("defects"), assess(cut.slide("defects"), find_tissue(cut.slide("defects"))).cells
    truth, found = canvas(slide), canvas(slide)
    scale = truth.width / slide.size.width
    for kind, colour in DEFECTS.items():
        for polygon in cut.truth("defects").artefacts[kind]:
            ImageDraw.Draw(truth).line(points(polygon.exterior.coords, scale), fill=colour, width=3)
        for x, y in zip(cells["x"][cells[kind]], cells["y"][cells[kind]], strict=True):
            side = cells["side_px"][0] if np.ndim(cells["side_px"]) else cells["side_px"]
            corner = (x * scale, y * scale, (x + side) * scale, (y + side) * scale)
            ImageDraw.Draw(found).rectangle(corner, outline=colour, width=2)
    legend = "flagged: " + ", ".join(DEFECTS)
    return row([np.asarray(truth), np.asarray(found)], ["truth", legend])


def separation(cut: Cutter) -> Rgb:
    """A tile, its haematoxylin and its eosin."""
    tiles = cut.tiles("plain")
    stains = fit("macenko", tiles, cut.glass("plain"))
    amounts = separate(tiles[0], stains)
    alone = [recombine(np.where(np.arange(2) == k, amounts, 0).astype(np.float32), stains) for k in range(2)]
    return row([tiles[0], *alone], ["tile", *stains.names])


def stain(cut: Cutter) -> Rgb:
    """Tiles of one slide before and after they took another's colours."""
    ours, theirs = cut.tiles("plain", seed=2), cut.tiles("plain")
    target = fit_target("plain", theirs, cut.glass("plain"), source="a phantom")
    normaliser = Normaliser.to_target("macenko", fit("macenko", ours, cut.glass("plain", 2)), target)
    parts = [np.vstack(tiles[2:4]) for tiles in (ours, normaliser.apply(ours), theirs)]
    return row(parts, ["before", "after (Macenko)", "target"])


def alike(cut: Cutter) -> Rgb:
    """Tiles that measure alike, in one colour."""
    slide = cut.slide("plain")
    tiles = lay(slide, GridSpec(size=128, min_tissue=0.5), find_tissue(slide))
    stains = fit("macenko", cut.tiles("plain"), cut.glass("plain"))
    features = np.array([measure_tile(t, slide.mpp, stains) for b in stream(slide, tiles) for t in b.pixels])
    return row(
        [slide.thumbnail(500), labelled(slide, tiles, lookalike(features).labels)],
        ["slide", "look-alike tiles"],
    )


PICTURES: dict[str, Callable[[Cutter], Rgb]] = {
    "phantom": phantom,
    "levels": levels,
    "tissue": tissue,
    "quality": quality,
    "separation": separation,
    "stain": stain,
    "lookalike": alike,
}


# ------------------------------------------------------------------ tools
class Cutter:
    """Phantoms on disk, and tiles cut from them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: dict[tuple[str, int], tuple[Phantom, Slide]] = {}

    def _get(self, name: str, seed: int = 1) -> tuple[Phantom, Slide]:
        if (name, seed) not in self._made:
            made = make(SPECS[name], seed)
            path = self._folder / f"{name}-{seed}.svs"
            write_slide(made, path, format="svs")
            self._made[name, seed] = made, coverslip.open_slide(path)
        return self._made[name, seed]

    def slide(self, name: str, seed: int = 1) -> Slide:
        return self._get(name, seed)[1]

    def truth(self, name: str, seed: int = 1) -> Any:
        return self._get(name, seed)[0].truth

    def middle(self, name: str) -> tuple[int, int]:
        """A place with tissue around it."""
        point = find_tissue(self.slide(name)).polygons[0].buffer(-400).representative_point()
        return round(point.x), round(point.y)

    def glass(self, name: str, seed: int = 1) -> tuple[float, float, float]:
        """The colour of empty glass."""
        return estimate_background(self.slide(name, seed).thumbnail(512))

    def tiles(self, name: str, seed: int = 1) -> Rgb:
        """Some tiles that are all tissue, (n, 320, 320, 3)."""
        slide = self.slide(name, seed)
        tiles = lay(slide, GridSpec(size=320, min_tissue=0.99), find_tissue(slide))
        return np.concatenate([b.pixels for b in stream(slide, tiles.take(np.arange(0, len(tiles), 3)))])

    def close(self) -> None:
        for _, slide in self._made.values():
            slide.close()


def canvas(slide: Slide, size: int = 480) -> Image.Image:
    return Image.fromarray(slide.thumbnail(size))


def points(coords: Iterable[tuple[float, float]], scale: float) -> list[tuple[float, float]]:
    return [(x * scale, y * scale) for x, y, *_ in coords]


def outlined(slide: Slide, truth: Any) -> Rgb:
    picture = canvas(slide, 400)
    draw, scale = ImageDraw.Draw(picture), picture.width / slide.size.width
    for polygons, colour, width in ((truth.tissue.geoms, TRUTH, 4), (find_tissue(slide).polygons, FOUND, 2)):
        for polygon in polygons:
            for ring in (polygon.exterior, *polygon.interiors):
                draw.line(points(ring.coords, scale), fill=colour, width=width)
    return np.asarray(picture)


def labelled(slide: Slide, tiles: Tiles, labels: NDArray[Any]) -> Rgb:
    picture = canvas(slide, 500).convert("L").convert("RGB")
    draw, scale = ImageDraw.Draw(picture), picture.width / slide.size.width
    for (x, y), label in zip(tiles.xy.tolist(), labels.tolist(), strict=True):
        corner = (x * scale, y * scale, (x + tiles.side_px) * scale, (y + tiles.side_px) * scale)
        draw.rectangle(corner, fill=CLUSTERS[label % len(CLUSTERS)])
    return np.asarray(picture)


def row(pictures: list[Rgb], titles: list[str], gap: int = 12, head: int = 28) -> Rgb:
    """Pictures side by side, each with its title above."""
    height = max(p.shape[0] for p in pictures) + head
    width = sum(p.shape[1] for p in pictures) + gap * (len(pictures) - 1)
    sheet = Image.new("RGB", (width, height), "white")
    draw, font, x = ImageDraw.Draw(sheet), ImageFont.load_default(16), 0
    for picture, title in zip(pictures, titles, strict=True):
        draw.text((x, 4), title, fill=(60, 60, 60), font=font)
        sheet.paste(Image.fromarray(picture), (x, head))
        x += picture.shape[1] + gap
    return np.asarray(sheet)


def main(folder: Path = FOLDER) -> None:
    """Make all pictures anew."""
    folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as slides:
        cut = Cutter(Path(slides))
        for name, draw in PICTURES.items():
            Image.fromarray(draw(cut)).save(folder / f"{name}.jpg", quality=88)
            print(folder / f"{name}.jpg")
        cut.close()


if __name__ == "__main__":
    main()
