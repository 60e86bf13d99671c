"""The page of one slide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from coverslip.report.findings import Findings
from coverslip.report.html import render
from coverslip.report.layers import layers, scale_bar
from coverslip.report.numbers import NARROW, NONE, counted, number, percent, quantity
from coverslip.report.pathomics_panel import pathomics_panel
from coverslip.report.pictures import jpeg_within, shrink
from coverslip.report.quality_panel import quality_panel
from coverslip.report.stain_panel import stain_panel
from coverslip.slides.slide import Slide
from coverslip.store import SlideStain

GIVEN_SCALE = "The scale (µm/px) was given by the user, not by the file: all lengths and areas rest on it."

Pairs = list[tuple[str, str]]

THUMBNAIL, THUMBNAIL_BYTES = 1200, 300_000
"""Longer side of the thumbnail in pixels, and what it may weigh."""


def slide_page(
    findings: Findings,
    slide: Slide | None = None,
    *,
    back: str | None = None,
    carried: Mapping[str, Any] | None = None,
) -> str:
    """Write the page of one slide.

    Parameters
    ----------
    findings
        What is known; a part that is None is said to be missing.
    slide
        To read example tiles from; None leaves them out.
    back
        Link to the run's page, relative to this one.
    carried
        Plain values that the page keeps for whoever reads it by program.

    Returns
    -------
    HTML, one file that needs no other.
    """
    picture = None
    if findings.thumbnail is not None:
        # shrunk once, up front: the overlays are laid in the pixels of the picture that is shown
        findings = replace(findings, thumbnail=shrink(findings.thumbnail, THUMBNAIL))
        picture = jpeg_within(findings.thumbnail, f"The whole slide {findings.slide_id}", THUMBNAIL_BYTES)
    return render(
        "slide.html.j2",
        title=findings.slide_id,
        findings=findings,
        back=back,
        carried=carried,
        picture=picture,
        layers=layers(findings),
        bar=scale_bar(findings),
        subtitle=subtitle(findings),
        headline=headline(findings),
        cards=cards(findings),
        warnings=warnings(findings),
        quality=quality_panel(findings, slide),
        stain=stain_panel(findings, slide),
        pathomics=pathomics_panel(findings, slide),
        missing=missing(findings),
    )


def subtitle(findings: Findings) -> str:
    """Say in one line what the slide is."""
    info = findings.info
    if not info.get("width"):
        return "The file could not be opened"
    power = info.get("objective_power")
    parts = [
        str(info.get("vendor") or "").capitalize(),
        f"{number(info['width'])} × {number(info['height'])}{NARROW}px",
        mpp_words(info),
        f"{power:g}x objective" if power else "",
    ]
    return " · ".join(part for part in parts if part)


def mpp_words(info: Mapping[str, Any]) -> str:
    """Say the scale and whose word it is.

    Examples
    --------
    >>> mpp_words({"mpp_x": 0.5, "mpp_y": 0.5, "mpp_source": "user"}).replace(NARROW, " ")
    '0.500 µm/px (given by the user)'
    """
    x, y = info.get("mpp_x"), info.get("mpp_y")
    if x is None or y is None:
        return "no µm/px known"
    square = abs(x / y - 1) < 0.01
    text = quantity((x + y) / 2, "µm/px") if square else f"{number(x)} × {quantity(y, 'µm/px')}"
    return f"{text} ({'given by the user' if info.get('mpp_source') == 'user' else 'from the file'})"


def headline(findings: Findings) -> list[tuple[str, str, str]]:
    """Return the figures at the top: label, value, and a remark."""
    tissue, quality, tiles, stain = findings.tissue, findings.quality, findings.tiles, findings.stain
    area = None if tissue is None else findings.area_mm2(tissue.area_px)
    usable = None if quality is None else quality.summary.get("usable_fraction")
    return [
        ("Tissue", tissue_words(findings, area), tissue_remark(findings)),
        ("Usable", percent(usable), "of the tissue, clean and in focus" if quality is not None else ""),
        ("Tiles", NONE if tiles is None else number(len(tiles)), tiles_remark(tiles)),
        ("Stain", *stain_words(stain)),
    ]


def tissue_words(findings: Findings, area: float | None) -> str:
    """Say how much tissue there is: in mm² with a scale, else as a share of the slide."""
    if findings.tissue is None or area is not None:
        return quantity(area, "mm²")
    return percent(findings.tissue.area_px / (findings.info["width"] * findings.info["height"]))


def tissue_remark(findings: Findings) -> str:
    """Say in how many pieces, and by which method."""
    if findings.tissue is None:
        return ""
    return f"in {counted(len(findings.tissue.polygons), 'piece')}"


def tiles_remark(tiles: Any) -> str:
    """Say size and scale of the tiles."""
    if tiles is None:
        return ""
    return f"{tiles.spec.size} px at {quantity(tiles.mpp, 'µm/px')}"


def stain_words(stain: SlideStain | None) -> tuple[str, str]:
    """Say how strong the stains are, and how far apart."""
    if stain is None:
        return NONE, ""
    pair = " / ".join(number(value, 2) for value in stain.stains.max_concentrations[:2])
    names = " / ".join(stain.stains.names[:2])
    return f"{pair}{NARROW}OD", f"{names}, {stain.angle:.0f}° apart"


def cards(findings: Findings) -> list[tuple[str, Pairs]]:
    """Return the short tables beside the picture: a title, and names with values."""
    made = [
        ("The file", file_facts(findings.info)),
        ("The tissue", tissue_facts(findings)),
        ("The tiles", tile_facts(findings.tiles)),
    ]
    return [(title, pairs) for title, pairs in made if pairs]


def file_facts(info: Mapping[str, Any]) -> Pairs:
    """Return the file's facts in words."""
    if not info.get("width"):
        return []
    levels = info.get("levels") or ()
    power = info.get("objective_power")
    origin = info.get("mpp_origin")
    return [
        ("Path", str(info.get("path", NONE))),
        ("Format", f"{info.get('vendor', NONE)}, read by {info.get('reader', NONE)}"),
        ("Size", f"{number(info['width'])} × {number(info['height'])}{NARROW}px"),
        ("Scale", mpp_words(info) + (f", {origin}" if origin else "")),
        ("Objective", f"{power:g}x" if power else "not stated"),
        ("Levels", ", ".join(f"{level['downsample']:.3g}" for level in levels) or NONE),
        ("Colour", f"{', '.join(info.get('channels', ()))} · {info.get('dtype', '')}"),
        ("ICC profile", "in the file, not applied" if info.get("icc") else "none"),
        ("Other images", ", ".join(info.get("associated", ())) or "none"),
        ("Digest", str(info.get("digest", NONE))),
    ]


def tissue_facts(findings: Findings) -> Pairs:
    """Return where the tissue is, in words."""
    tissue, info = findings.tissue, findings.info
    if tissue is None:
        return []
    largest = max((polygon.area for polygon in tissue.polygons), default=None)
    pairs = [
        ("Share of the slide", percent(tissue.area_px / (info["width"] * info["height"]))),
        ("Largest piece", quantity(findings.area_mm2(largest), "mm²")),
        ("Found by", tissue.method),
    ]
    return [pair for pair in pairs if pair[1] != NONE]


def tile_facts(tiles: Any) -> Pairs:
    """Return how the tiles were laid, in words."""
    if tiles is None:
        return []
    spec = tiles.spec
    wide = quantity(spec.size * tiles.mpp, "µm") if tiles.mpp else NONE
    pairs = [
        ("Side", f"{spec.size}{NARROW}px" + (f", {wide}" if tiles.mpp else "")),
        ("Scale", quantity(tiles.mpp, "µm/px")),
        ("Stride", f"{spec.stride or spec.size}{NARROW}px"),
        ("Least tissue", percent(spec.min_tissue)),
    ]
    usable = getattr(tiles, "quality", {}).get("usable")
    if usable is not None and len(usable):
        pairs.append(("Wholly usable", f"{number(int((usable > 0.99).sum()))} of {number(len(tiles))}"))
    return pairs


def warnings(findings: Findings) -> list[str]:
    """Gather what a reader should know before trusting a number."""
    said = list(findings.info.get("warnings", ()))
    if findings.info.get("mpp_source") == "user":
        said.insert(
            0, "The scale (µm/px) was given by the user, not by the file: all lengths and areas rest on it."
        )
    if findings.tissue is not None:
        said += findings.tissue.notes
    if findings.quality is not None and findings.quality.summary.get("unreadable_fraction"):
        said.append(
            f"{percent(findings.quality.summary['unreadable_fraction'])} of the slide could not be decoded."
        )
    if findings.features is not None and findings.features.missing.any():
        lost, count = int(findings.features.missing.sum()), len(findings.features)
        said.append(f"{number(lost)} of {counted(count, 'tile')} could not be read and have no measurements.")
    return said


def missing(findings: Findings) -> list[str]:
    """Name the results that are not there."""
    parts = ("tissue", "quality", "tiles", "stain", "features", "lookalike")
    names = {"features": "pathomics", "lookalike": "look-alike map"}
    return [names.get(part, part) for part in parts if getattr(findings, part) is None]
