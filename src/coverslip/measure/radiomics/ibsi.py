"""The check against the reference values of the Image Biomarker Standardisation Initiative.

The digital phantom (5 × 4 × 4 voxels of 2 mm, 74 of them in the region) and its values come from
https://github.com/theibsi (CC BY 4.0). A value agrees if, rounded to the three digits in which values are
printed, it lies within the tolerance of the reference; a blank tolerance asks for the printed digits.
"""

from __future__ import annotations

import csv
import gzip
import struct
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coverslip.core.errors import UsageError
from coverslip.measure.radiomics.discretise import AsLevels
from coverslip.measure.radiomics.extract import FEATURES, radiomics

PHANTOM = "ibsi1_digital_phantom"
REFERENCE = "ibsi1_reference_values.csv"

_FAMILIES = {
    "morph": ("morphology",),
    "loc": ("local",),
    "stat": ("statistics",),
    "int": ("histogram", "ivh"),
    "cm": ("glcm",),
    "rlm": ("glrlm", "glszm"),  # the published table holds one row of zones under the heading of runs
    "szm": ("glszm",),
    "dzm": ("gldzm",),
    "ngtdm": ("ngtdm",),
    "ngldm": ("ngldm",),
}
_FRACTIONS = ("10 %", "90 %")  # a feature that is listed twice is of these, in this order

_TYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4"}

_CODES = {(feature.family, feature.name): feature.code for feature in FEATURES}


def run(data: str | None) -> list[dict[str, Any]]:
    """Measure the digital phantom and compare each value with its reference.

    Parameters
    ----------
    data
        Folder that holds ``ibsi1_digital_phantom/`` and ``ibsi1_reference_values.csv``.

    Returns
    -------
    list
        A row for each reference value: family, feature, code, aggregation, reference, tolerance (None where
        the source has none), consensus, ours, agrees.

    Raises
    ------
    UsageError
        A file is missing or is not what it should be.
    """
    folder = folder_of(data, PHANTOM)
    image, spacing = read_nifti(folder / PHANTOM / "phantom.nii.gz")
    mask, _ = read_nifti(folder / PHANTOM / "mask.nii.gz")
    ours = radiomics(image, mask, spacing=spacing, discretise=AsLevels())
    return compare(read_reference(folder / REFERENCE, "dig. phantom"), ours)


def folder_of(data: str | None, phantom: str) -> Path:
    """Return the folder, or raise if it lacks the phantom or the reference values."""
    if data is None:
        raise UsageError("this bench needs the initiative's files", mend="say where they are: --data DIR")
    folder = Path(data)
    wanted = (f"{phantom}/phantom.nii.gz", f"{phantom}/mask.nii.gz", REFERENCE)
    missing = [name for name in wanted if not (folder / name).is_file()]
    if missing:
        raise UsageError(
            f"{folder} lacks {', '.join(missing)}", mend="get them from https://github.com/theibsi"
        )
    return folder


def compare(
    reference: list[dict[str, str]], ours: Mapping[tuple[str, str, str], float]
) -> list[dict[str, Any]]:
    """Return a row for each reference value, with ours beside it."""
    twice: defaultdict[tuple[str, str], int] = defaultdict(int)
    rows = []
    for row in reference:
        family, name = _identify(row, twice)
        group = row["aggregation"]
        value, tolerance = float(row["value"]), float(row["tolerance"]) if row["tolerance"] else None
        mine = ours[family, name, group]
        rows.append(
            {
                "family": family,
                "feature": name,
                "code": _CODES[family, name],
                "aggregation": group,
                "reference": value,
                "tolerance": tolerance,
                "consensus": row["consensus"],
                "ours": mine,
                "agrees": agrees(mine, value, tolerance),
            }
        )
    return rows


def agrees(ours: float, reference: float, tolerance: float | None) -> bool:
    """Say whether a value, rounded to three digits, lies within the tolerance of the reference.

    Examples
    --------
    >>> agrees(2.1486, 2.15, None), agrees(2.1449, 2.15, None), agrees(2.1449, 2.15, 0.01)
    (True, False, True)
    """
    rounded = float(f"{ours:.3g}")
    return abs(rounded - reference) <= (tolerance or 0.0) + 1e-9 * max(1.0, abs(reference))


def read_reference(path: Path, data: str) -> list[dict[str, str]]:
    """Return the rows of the table that have a value for `data`, such as "dig. phantom" or "config. A"."""
    with path.open(encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file) if row["data"] == data and row["value"]]


def _identify(row: Mapping[str, str], seen: dict[tuple[str, str], int]) -> tuple[str, str]:
    """Return our family and name of a row; of a feature listed twice, the first is of 10 %."""
    plain = row["feature"].replace("’", "'")
    for family in _FAMILIES.get(row["family"], ()):
        if (family, plain) in _CODES:
            return family, plain
        if (family, f"{plain} {_FRACTIONS[0]}") in _CODES:
            seen[family, plain] += 1
            return family, f"{plain} {_FRACTIONS[seen[family, plain] - 1]}"
    raise UsageError(f"{REFERENCE} has a feature that is not known here: {row['family']}, {plain}")


def read_nifti(path: Path) -> tuple[NDArray[Any], tuple[float, float, float]]:
    """Read a volume of NIfTI-1: the array (z, y, x), and the side of a voxel in mm in the same order.

    Raises
    ------
    UsageError
        The file is not a little-endian NIfTI-1 volume of a plain type.
    """
    raw = path.read_bytes()
    content = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    if len(content) < 352 or content[344:348] != b"n+1\0" or struct.unpack("<i", content[:4])[0] != 348:
        raise UsageError(f"{path} is no NIfTI-1 volume in one file")
    count, *size = struct.unpack("<8h", content[40:56])
    kind = _TYPES.get(struct.unpack("<h", content[70:72])[0])
    if count < 3 or kind is None or np.prod(size[3:count]) != 1:
        raise UsageError(f"{path} is no volume of numbers: {count} axes, {tuple(size[:count])}")
    _, x, y, z = struct.unpack("<4f", content[76:92])
    start = int(struct.unpack("<f", content[108:112])[0])
    voxels = np.frombuffer(content, f"<{kind}", int(np.prod(size[:3])), start)
    return voxels.reshape(size[2], size[1], size[0]), (z, y, x)
