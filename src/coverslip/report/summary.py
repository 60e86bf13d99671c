"""One row per slide: what the run's page shows, and what ``summary.csv`` and ``summary.json`` hold."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Self

from coverslip.report.findings import Findings, flag_share, flags_of
from coverslip.report.page import warnings
from coverslip.store import SlideStain
from coverslip.store.kinds.base import finite

if TYPE_CHECKING:
    from coverslip.tissue.quality import Quality

TYPE, VERSION = "coverslip.summary", 1
"""What ``summary.json`` says of itself."""

LISTS = " | "
"""Between the warnings in one cell of the CSV."""


@dataclass(frozen=True, slots=True)
class Row:
    """One slide of the run; None where nothing is known. Units are in the names.

    Attributes
    ----------
    status
        ``"done"``, ``"failed"``, or ``"unfinished"`` when results are still missing.
    usable_fraction
        Share of the tissue that is clean and in focus, 0 to 1.
    stain_angle_deg
        Between the first two stains' vectors in optical density.
    strengths
        Optical density of each stain at its 99th percentile.
    flags
        Share of the tissue under each quality flag, 0 to 1.
    """

    slide_id: str
    path: str | None = None
    status: str = "done"
    stage: str | None = None
    error: str | None = None
    mend: str | None = None
    vendor: str | None = None
    width_px: int | None = None
    height_px: int | None = None
    mpp: float | None = None
    mpp_source: str | None = None
    tissue_mm2: float | None = None
    tissue_share: float | None = None
    pieces: int | None = None
    usable_fraction: float | None = None
    focus_median: float | None = None
    tiles: int | None = None
    stain_angle_deg: float | None = None
    seconds: float | None = None
    strengths: Mapping[str, float] = field(default_factory=dict)
    flags: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Rebuild from plain values; what a later version added is ignored."""
        known = {f.name: values[f.name] for f in fields(cls) if f.name in values}
        return cls(**known | {"warnings": tuple(known.get("warnings", ()))})

    def flat(self) -> dict[str, Any]:
        """Return one value per column: strengths as ``strength_<stain>``, flags as ``share_<flag>``."""
        plain = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in NESTED}
        plain |= {f"strength_{name}": value for name, value in self.strengths.items()}
        plain |= {f"share_{name}": value for name, value in self.flags.items()}
        return plain | {"warnings": LISTS.join(self.warnings)}


NESTED = ("strengths", "flags", "warnings")


def row_of(findings: Findings) -> Row:
    """Sum up what is known of a slide."""
    info, failure = findings.info, findings.failure
    return Row(
        slide_id=findings.slide_id,
        path=info.get("path"),
        status="failed" if failure else "done",
        stage=failure.stage if failure else None,
        error=failure.error if failure else None,
        mend=failure.mend if failure else None,
        vendor=info.get("vendor"),
        width_px=info.get("width"),
        height_px=info.get("height"),
        mpp=findings.mpp,
        mpp_source=info.get("mpp_source"),
        seconds=sum(note.seconds for note in findings.stages if note.seconds) or None,
        warnings=tuple(warnings(findings)),
        **_tissue(findings),
        **_quality(findings.quality),
        **_stain(findings.stain),
        tiles=None if findings.tiles is None else len(findings.tiles),
    )


def _tissue(findings: Findings) -> dict[str, Any]:
    tissue, info = findings.tissue, findings.info
    if tissue is None:
        return {}
    area = float(tissue.area_px)
    whole = (info.get("width") or 0) * (info.get("height") or 0)
    return {
        "tissue_mm2": findings.area_mm2(area),
        "tissue_share": area / whole if whole else None,
        "pieces": len(tissue.polygons),
    }


def _quality(quality: Quality | None) -> dict[str, Any]:
    if quality is None:
        return {}
    return {
        "usable_fraction": _finite(quality.summary.get("usable_fraction")),
        "focus_median": _finite(quality.summary.get("focus_median")),
        "flags": {flag: flag_share(quality, flag) for flag in flags_of(quality)},
    }


def _stain(stain: SlideStain | None) -> dict[str, Any]:
    if stain is None:
        return {}
    strengths = dict(zip(stain.stains.names, stain.stains.max_concentrations, strict=True))
    return {"stain_angle_deg": stain.angle, "strengths": strengths}


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


def to_json(rows: Sequence[Row], run: Mapping[str, Any]) -> str:
    """Write rows as JSON; ``pandas.json_normalize(content["slides"])`` makes a table of it."""
    content = {"type": TYPE, "version": VERSION, "run": dict(run), "slides": [asdict(row) for row in rows]}
    return json.dumps(finite(content), indent=1, ensure_ascii=False, allow_nan=False)


def to_csv(rows: Sequence[Row]) -> str:
    """Write rows as CSV, one column per number, empty where nothing is known; ``pandas.read_csv`` reads it.

    Examples
    --------
    >>> print(to_csv([Row("a", mpp=0.5, flags={"blur": 0.1})]).splitlines()[1].split(",")[0])
    a
    """
    table = [row.flat() for row in rows]
    columns = list(dict.fromkeys(name for row in table for name in row)) or [f.name for f in fields(Row)]
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    return stream.getvalue()
