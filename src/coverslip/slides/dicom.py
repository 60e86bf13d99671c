"""DICOM whole-slide microscopy: an instance, its series in the folder around it, or a folder.

pydicom reads headers; frames are read by range and decoded by imagecodecs, from any number of threads.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from coverslip.core import Size
from coverslip.core.errors import SlideError, UnsupportedSlideError, UsageError
from coverslip.slides.dicom_decode import codec_of
from coverslip.slides.dicom_file import WSI, Instance, header_of, identity, open_instance
from coverslip.slides.dicom_level import DicomLevel, level_of, optical_paths
from coverslip.slides.heads import is_dicom
from coverslip.slides.reader import BlockReader, Facts, levels_of
from coverslip.slides.source import head_of, is_url
from coverslip.slides.stored import StoredJpeg

ASSOCIATED = {"LABEL": "label", "OVERVIEW": "macro", "THUMBNAIL": "thumbnail"}
"""Names by flavour, as OpenSlide gives them."""

SHOWN = [
    "Manufacturer",
    "ManufacturerModelName",
    "DeviceSerialNumber",
    "SoftwareVersions",
    "SeriesInstanceUID",
    "StudyDate",
    "AcquisitionDateTime",
    "ContainerIdentifier",
    "BurnedInAnnotation",
    "LossyImageCompressionRatio",
]
"""Attributes that are listed in the facts; none names the patient."""


class DicomReader(BlockReader):
    """Reads DICOM whole-slide images.

    Parameters
    ----------
    path
        As the user gave it, for messages.
    instances
        Of one series; the reader closes them.
    """

    name: ClassVar[str] = "dicom"
    needs: ClassVar[str] = "pydicom, imagecodecs"
    formats: ClassVar[str] = "DICOM whole-slide microscopy (a file, its series, or a folder)"

    def __init__(self, path: str, instances: list[Instance]) -> None:
        self._instances = instances
        volumes = [one for one in instances if one.flavour in (None, "VOLUME")]
        if not volumes:
            kinds = ", ".join(sorted({str(one.flavour) for one in instances}))
            raise UnsupportedSlideError(
                f"{path} holds no slide, only {kinds}", mend="name the folder of its series"
            )
        self._doubts: list[str] = []
        sizes = sorted({(one.width, one.height) for one in volumes}, reverse=True)
        of_size = [[one for one in volumes if (one.width, one.height) == size] for size in sizes]
        self._levels = [level_of(group, self._doubts) for group in of_size]
        self._others = {
            ASSOCIATED[one.flavour]: level_of([one], []) for one in instances if one.flavour in ASSOCIATED
        }
        self.facts = _facts(of_size[0][0], self._levels, tuple(self._others), self._doubts)

    @classmethod
    def probe(cls, path: str, head: bytes) -> float:
        """Score: DICOM files, and folders that hold some."""
        if is_url(path):
            return 0.0
        if Path(path).is_dir():
            return 0.9 if any(_dicom_files(Path(path))) else 0.0
        if head[128:132] == b"DICM":
            return 0.9
        return 0.85 if is_dicom(head) else 0.0

    @classmethod
    def open(cls, path: str, *, scene: int = 0) -> Self:
        """Open an instance with its series, or the one series of a folder, see `Reader.open`."""
        if is_url(path):
            raise UnsupportedSlideError(
                f"{path}: DICOM is read from local files only", mend="download it first"
            )
        if scene:
            raise UsageError(f"{path} has no scene {scene}", mend="a DICOM series is one scene: scene=0")
        opened: list[Instance] = []
        try:
            with header_of(path):
                for file in _series_files(Path(path)):
                    opened.append(open_instance(str(file)))
                    codec_of(opened[-1].form)
                return cls(path, opened)
        except BaseException:
            for instance in opened:
                instance.source.close()
            raise

    # ----------------------------------------------------------------- pixels
    def block_size(self, level: int) -> Size:
        """Return width and height of the level's frames."""
        return self._levels[level].block

    def block(self, level: int, column: int, row: int, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Decode one frame, see `Reader.block`."""
        return self._levels[level].read(column, row, out)

    def stored(self, level: int, column: int, row: int) -> StoredJpeg | None:
        """Return where a frame's JPEG stream lies, see `coverslip.slides.stored.StoresJpeg`."""
        return self._levels[level].stored(column, row)

    def associated(self, name: str) -> NDArray[np.uint8]:
        """Return an associated image as (h, w, 3)."""
        if name not in self._others:
            raise UsageError(
                f"there is no associated image {name!r}", mend=f"there are: {', '.join(self._others)}"
            )
        pixels = self._others[name].whole()
        return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels

    def close(self) -> None:
        """Let go of all files."""
        for instance in self._instances:
            instance.source.close()


# ---------------------------------------------------------------------- files
def series_uid(file: Path) -> str | None:
    """Return the series of a DICOM file, or None when it has none that can be read."""
    try:
        return identity(str(file))[0] or None
    except SlideError:
        return None


def _dicom_files(folder: Path) -> Iterable[Path]:
    """Yield the DICOM files directly in a folder, sorted."""
    for file in sorted(folder.iterdir()):
        if file.is_file() and not file.name.startswith(".") and is_dicom(head_of(str(file), 132)):
            yield file


def _slide_files(folder: Path) -> list[tuple[Path, str]]:
    """Return path and series of a folder's whole-slide images; files that cannot be read are left out."""
    found = []
    for file in _dicom_files(folder):
        try:
            series, kind = identity(str(file))
        except SlideError:
            continue
        if kind == WSI:
            found.append((file, series))
    return found


def _series_files(place: Path) -> list[Path]:
    if place.is_dir():
        found = _slide_files(place)
        names = {series for _, series in found}
        if len(names) != 1:
            raise UnsupportedSlideError(
                f"the folder {place} holds {len(names)} series of DICOM slides, not one",
                mend="name a file of the series that is meant" if names else "name a folder of DICOM slides",
            )
        return [file for file, _ in found]
    mine = series_uid(place)
    siblings = [file for file, series in _slide_files(place.parent) if mine and series == mine]
    return siblings if any(file.name == place.name for file in siblings) else [place]


# ---------------------------------------------------------------------- facts
def _facts(
    first: Instance, levels: list[DicomLevel], associated: tuple[str, ...], doubts: list[str]
) -> Facts:
    header = first.header
    x, y, origin = _scale(first, doubts)
    if first.flavour is None:
        doubts.append(
            "the file does not say whether it is the slide itself (no ImageType); it is taken for it"
        )
    paths = optical_paths(header)
    power = next((path.get("ObjectiveLensPower") for path in paths), None)
    return Facts(
        levels=levels_of([(level.width, level.height) for level in levels]),
        vendor="dicom",
        mpp_x=x,
        mpp_y=y,
        mpp_origin=origin,
        objective_power=float(power) if power else None,
        channels=levels[0].channels,
        dtype=str(first.form.dtype),
        icc=next((bytes(path.ICCProfile) for path in paths if path.get("ICCProfile")), None),
        associated=associated,
        scenes=(str(header.get("SeriesInstanceUID", "0")),),
        properties={f"dicom.{name}": str(header.get(name)) for name in SHOWN if header.get(name)},
        warnings=tuple(doubts),
    )


def _scale(first: Instance, doubts: list[str]) -> tuple[float | None, float | None, str | None]:
    """Return microns per pixel: from PixelSpacing (mm, rows first), else from the volume's size (mm)."""
    header = first.header
    shared = header.get("SharedFunctionalGroupsSequence")
    measures = shared[0].get("PixelMeasuresSequence") if shared else None
    spacing = measures[0].get("PixelSpacing") if measures else None
    if spacing:
        return float(spacing[1]) * 1000, float(spacing[0]) * 1000, "dicom.PixelSpacing"
    width, height = header.get("ImagedVolumeWidth"), header.get("ImagedVolumeHeight")
    if not (width and height):
        return None, None, None
    x, y = float(width) * 1000 / first.width, float(height) * 1000 / first.height
    if abs(x / y - 1) > 0.01:
        doubts.append(
            f"the imaged volume of {float(width):g} × {float(height):g} mm does not fit the picture; "
            "it is no scale"
        )
        return None, None, None
    return x, y, "dicom.ImagedVolumeWidth"
