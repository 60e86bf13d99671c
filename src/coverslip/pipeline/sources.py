"""Which slides a run is about, and what the user says of their scale."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

from coverslip.core import Mpp
from coverslip.core.errors import UsageError
from coverslip.slides import SlideSource, find_slides, read_mpp_table


def sources_of(
    slides: Sequence[str], *, mpp: Mpp | None = None, mpp_csv: str | os.PathLike[str] | None = None
) -> list[SlideSource]:
    """Find slides and note what the user says of their scale.

    Parameters
    ----------
    slides
        Files, folders, addresses, and CSVs of ``slide,path[,mpp]``.
    mpp
        Microns per pixel of all slides of which nothing more particular is said.
    mpp_csv
        A CSV of ``slide,mpp``; goes before a cohort table, which goes before `mpp`.

    Raises
    ------
    SlideNotFoundError
        When a path leads nowhere, or a folder holds no slide.
    UsageError
        When two slides have the same id, or the table names none of the slides.
    """
    table = read_mpp_table(mpp_csv) if mpp_csv is not None else {}
    found = find_slides(slides)
    if table and not table.keys() & {source.id for source in found}:
        raise UsageError(
            f"{mpp_csv} names none of the slides: it has {', '.join(sorted(table)[:3])} and the slides are "
            f"{', '.join(source.id for source in found[:3])}",
            mend="name slides as the run does: by file name without its ending",
        )
    return [replace(source, mpp=table.get(source.id, source.mpp or mpp)) for source in found]
