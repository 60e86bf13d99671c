"""What TIFF files of each vendor say about themselves: scale, objective, channels, scenes."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import tifffile

VENDORS = {
    "svs": "aperio",
    "qpi": "akoya",
    "ndpi": "hamamatsu",
    "philips": "philips",
    "ome": "ome",
    "imagej": "imagej",
}
"""Vendor by kind of tifffile series; everything else is ``generic-tiff``."""

COARSEST_BY_RESOLUTION_TAG = 10.0
"""Microns per pixel above which XResolution is a figure for printers (72 to 1200 dpi), not a microscope's."""

UM_PER = {
    "nm": 1e-3,
    "µm": 1.0,
    "um": 1.0,
    "micron": 1.0,
    "microns": 1.0,
    "mm": 1e3,
    "cm": 1e4,
    "m": 1e6,
    "inch": 25400.0,
}


@dataclass
class Said:
    """What metadata state; filled by one of the functions of this module."""

    mpp_x: float | None = None
    mpp_y: float | None = None
    origin: str | None = None
    power: float | None = None
    channels: tuple[str, ...] | None = None
    properties: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def scale(self, x: float | None, y: float | None, origin: str) -> None:
        """Take a scale, when it is one and none has been taken."""
        if x and y and self.mpp_x is None:
            self.mpp_x, self.mpp_y, self.origin = x, y, origin


def kind_of(tif: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> str:
    """Return the kind of file, by its marks even where tifffile could not lay out its series as that kind."""
    marked = [kind for kind in ("svs", "qpi", "philips", "ndpi") if getattr(tif, f"is_{kind}")]
    return marked[0] if marked else str(series.kind)


def said_by(tif: tifffile.TiffFile, kind: str, scene: int) -> Said:
    """Return what the file says of its scene `scene`."""
    said = Said()
    page = tif.pages.first
    said.properties.update(_tags(page))
    readers = {"svs": _aperio, "qpi": _akoya, "philips": _philips, "ndpi": _hamamatsu, "imagej": _imagej}
    if kind == "ome":
        _ome(tif.ome_metadata or "", scene, said)
    elif kind in readers:
        readers[kind](tif, said)
    _resolution(page, said)
    return said


def _tags(page: tifffile.TiffPage) -> dict[str, str]:
    names = ("Make", "Model", "Software", "DateTime", "Artist")
    found = {f"tiff.{name}": str(page.tags.valueof(name)) for name in names if name in page.tags}
    description = page.description
    if description and not description.lstrip().startswith("<") and "|" not in description:
        found["tiff.ImageDescription"] = description[:2000]
    return found


def number(text: str | None) -> float | None:
    """Read a decimal number, with a point or a comma, or None.

    Examples
    --------
    >>> number(" 0,25 "), number("20x"), number("none")
    (0.25, 20.0, None)
    """
    match = re.match(r"\s*([-+]?[0-9]*[.,]?[0-9]+(?:[eE][-+]?[0-9]+)?)", text or "")
    return float(match[1].replace(",", ".")) if match else None


def _resolution(page: tifffile.TiffPage, said: Said) -> None:
    """Take XResolution and YResolution, where a length is their unit and a microscope can have made them."""
    across, down = (_ratio(page.tags.valueof(name)) for name in ("XResolution", "YResolution"))
    unit = {2: 25400.0, 3: 10000.0}.get(int(page.tags.valueof("ResolutionUnit") or 0))
    if said.mpp_x is not None or not (across and down and unit):
        return
    x, y = unit / across, unit / down
    if max(x, y) > COARSEST_BY_RESOLUTION_TAG:
        said.warnings.append(
            f"XResolution would mean {x:.4g} µm per pixel, a figure for printers and screens; it is not used"
        )
        return
    said.scale(x, y, "tiff.XResolution")


def _ratio(value: object) -> float | None:
    if not isinstance(value, tuple) or len(value) != 2 or not value[1]:
        return None
    return float(value[0]) / float(value[1])


def _aperio(tif: tifffile.TiffFile, said: Said) -> None:
    for key, value in aperio_fields(tif.pages.first.description).items():
        said.properties[f"aperio.{key}"] = value
    mpp = number(said.properties.get("aperio.MPP"))
    said.scale(mpp, mpp, "aperio.MPP")
    said.power = number(said.properties.get("aperio.AppMag"))


def aperio_fields(description: str) -> dict[str, str]:
    """Read the ``key = value`` fields of an Aperio image description.

    Examples
    --------
    >>> aperio_fields("Aperio Image Library v1|AppMag = 20|MPP = 0.4990")
    {'AppMag': '20', 'MPP': '0.4990'}
    """
    pairs = (part.partition("=") for part in description.split("|")[1:])
    return {key.strip(): value.strip() for key, equals, value in pairs if equals}


def _akoya(tif: tifffile.TiffFile, said: Said) -> None:
    """Read the XML of each channel's page; the scale is in XResolution, as Akoya's specification says."""
    names: list[str] = []
    for page in tif.series[0].pages:
        root = _xml(getattr(page, "description", ""), said)
        names.append((root.findtext("Name") if root is not None else None) or f"channel {len(names) + 1}")
    root = _xml(tif.pages.first.description, said)
    if root is None:
        return
    if len(names) > 1:
        said.channels = tuple(names)
    said.power = number(root.findtext("Objective") or root.findtext(".//Magnification"))
    for child in root:
        if not len(child) and child.text:
            said.properties[f"akoya.{child.tag}"] = child.text.strip()


def _philips(tif: tifffile.TiffFile, said: Said) -> None:
    """Read DICOM_PIXEL_SPACING of the whole-slide image: millimetres down, then across."""
    root = _xml(tif.philips_metadata or "", said)
    if root is None:
        return
    for attribute in root.iter("Attribute"):
        name, text = attribute.get("Name", ""), (attribute.text or "").strip()
        if not text or len(text) > 2000 or f"philips.{name}" in said.properties:
            continue
        said.properties[f"philips.{name}"] = text
        if name == "DICOM_PIXEL_SPACING":
            spacing = [float(part) for part in re.findall(r"[0-9.]+(?:[eE]-?[0-9]+)?", text)]
            if len(spacing) == 2:
                said.scale(spacing[1] * 1000, spacing[0] * 1000, "philips.DICOM_PIXEL_SPACING")


def _hamamatsu(tif: tifffile.TiffFile, said: Said) -> None:
    tags: Mapping[str, Any] = tif.pages.first.ndpi_tags or {}
    said.power = float(tags["Magnification"]) if tags.get("Magnification") else None
    for name in ("Model", "Software", "Fluorescence", "Reference"):
        if tags.get(name):
            said.properties[f"hamamatsu.{name}"] = str(tags[name])


def _imagej(tif: tifffile.TiffFile, said: Said) -> None:
    unit = str((tif.imagej_metadata or {}).get("unit", "")).replace("\\u00B5", "µ")
    across, down = (_ratio(tif.pages.first.tags.valueof(name)) for name in ("XResolution", "YResolution"))
    if unit in UM_PER and across and down:
        said.scale(UM_PER[unit] / across, UM_PER[unit] / down, "imagej.unit")


def _ome(text: str, scene: int, said: Said) -> None:
    root = _xml(text, said)
    if root is None:
        return
    space = root.tag.rpartition("}")[0] + "}" if root.tag.startswith("{") else ""
    images = root.findall(f"{space}Image")
    if scene >= len(images):
        return
    image = images[scene]
    pixels = image.find(f"{space}Pixels")
    if pixels is None:
        return
    said.properties.update({f"ome.{key}": value for key, value in pixels.attrib.items() if key != "ID"})
    said.scale(_length(pixels, "X"), _length(pixels, "Y"), "ome.PhysicalSizeX")
    channels = pixels.findall(f"{space}Channel")
    said.channels = tuple(channel.get("Name") or f"channel {i + 1}" for i, channel in enumerate(channels))
    reference = image.find(f"{space}ObjectiveSettings")
    for objective in root.iter(f"{space}Objective"):
        if reference is not None and objective.get("ID") == reference.get("ID"):
            said.power = number(objective.get("NominalMagnification"))


def _length(pixels: ET.Element, axis: str) -> float | None:
    """Return PhysicalSizeX or Y in microns; the schema's default unit is µm."""
    value = number(pixels.get(f"PhysicalSize{axis}"))
    unit = pixels.get(f"PhysicalSize{axis}Unit", "µm").replace("\u03bc", "µ")
    return value * UM_PER[unit] if value and unit in UM_PER else None


def scene_names(tif: tifffile.TiffFile, count: int) -> tuple[str, ...]:
    """Return a name per scene: what OME-XML calls the image, else its number."""
    names = [series.name for series in tif.series[:count]]
    return tuple(name or str(index) for index, name in enumerate(names))


def _xml(text: str, said: Said) -> ET.Element | None:
    if not text.strip():
        return None
    body = re.sub(
        r"^\s*<\?xml[^>]*\?>", "", text
    )  # the declaration may name an encoding that the tag does not have
    try:
        return ET.fromstring(body)  # noqa: S314 - see the import
    except ET.ParseError as error:
        said.warnings.append(
            f"the file's XML cannot be read ({error}); scale and channel names in it are lost"
        )
        return None
