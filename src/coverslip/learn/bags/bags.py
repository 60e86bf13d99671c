"""Bags of a cohort: which files hold them, and whether they can be learned from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from coverslip.cohort import Cohort
from coverslip.core.errors import CoverslipError, StoreError, UsageError
from coverslip.learn.bags.files import FeatureFacts, facts_of, find_features, read_features

SHOWN = 8
"""Problems listed at once; more are counted."""

LOOKED_AT = 64
"""Tiles of a slide whose features are looked at before training."""

GAP = 100_000
"""Level-0 pixels between the slides of a case, so that no tile neighbours another slide's."""

MPP_TOLERANCE = 0.05

EXPONENT_F16, EXPONENT_F32 = 0x7C00, 0x7F800000


@dataclass(frozen=True)
class Bag:
    """All tiles of a slide or of a case.

    Attributes
    ----------
    id
        Of the slide or case.
    slides
        Facts of each of its slides, by slide.
    """

    id: str
    slides: Mapping[str, FeatureFacts]

    @property
    def tiles(self) -> int:
        """Number of tiles."""
        return sum(facts.tiles for facts in self.slides.values())

    def read(
        self, rows: NDArray[np.int64] | None = None, *, coords: bool = False
    ) -> tuple[NDArray[Any], NDArray[np.int64] | None]:
        """Read features (m, d), and the tiles' places (m, 2) if wanted, without tiles that could not be read.

        Parameters
        ----------
        rows
            Which tiles, ascending; None for all.
        coords
            Slides of a case lie beside each other, far apart.

        Raises
        ------
        UsageError
            When features are no numbers, or all of a bag's tiles could not be read.
        """
        parts, places, begin, corner = [], [], 0, 0
        for slide, facts in self.slides.items():
            mine = None if rows is None else rows[(rows >= begin) & (rows < begin + facts.tiles)] - begin
            features, where = read_features(facts, mine, coords=coords)
            good = readable(features, slide)
            parts.append(features if good is None else features[good])
            if where is not None:
                places.append((where if good is None else where[good]) + np.array([corner, 0]))
                corner += GAP + int(where[:, 0].max(initial=0))
            begin += facts.tiles
        joined = parts[0] if len(parts) == 1 else np.concatenate(parts)
        if not len(joined):
            raise UsageError(f"bag {self.id!r} is empty: no tile could be read", mend="leave it out")
        return joined, np.concatenate(places) if coords else None


def readable(features: NDArray[Any], slide: str) -> NDArray[np.bool_] | None:
    """Return which tiles have features, (n,); None when all have.

    Raises
    ------
    UsageError
        When a tile has features of which some are no numbers.
    """
    bits = {2: (np.uint16, EXPONENT_F16), 4: (np.uint32, EXPONENT_F32)}.get(features.dtype.itemsize)
    if bits and features.dtype.kind == "f":  # three times as fast as isfinite on float16
        kind, exponent = bits
        if not ((np.ascontiguousarray(features).view(kind) & exponent) == exponent).any():
            return None
    elif np.isfinite(features).all():
        return None
    missing = np.isnan(features).all(axis=1)
    broken = np.flatnonzero(~np.isfinite(features).all(axis=1) & ~missing)
    if len(broken):
        raise UsageError(
            f"features of {slide!r} are no numbers (NaN, infinite) in {len(broken)} tiles, first {broken[0]}",
            mend="make them anew; where they are beyond float16, with embed.precision=f32",
        )
    return ~missing


@dataclass(frozen=True, eq=False)
class BagSet:
    """The bags of a cohort, alike in encoder, length and tiles.

    Attributes
    ----------
    bags
        In the order of their first rows in the cohort.
    rows
        Of each bag, the rows of the cohort that belong to it.
    dim, encoder, tile_px, mpp
        What all have in common; None where no file says.
    """

    bags: tuple[Bag, ...]
    rows: tuple[NDArray[np.int64], ...]
    dim: int
    encoder: str | None = None
    tile_px: int | None = None
    mpp: float | None = None

    def __len__(self) -> int:
        return len(self.bags)

    @classmethod
    def of(
        cls,
        cohort: Cohort,
        features: Path,
        *,
        per: Literal["slide", "case"] = "slide",
        encoder: str | None = None,
    ) -> BagSet:
        """Find the features of all slides and check that they belong together; read none of them.

        Raises
        ------
        UsageError
            With all problems: features missing or empty, of several encoders, lengths or kinds of tile.
        """
        ids = cohort.ids.tolist() if per == "slide" else cohort.column("case").tolist()
        rows = {name: np.flatnonzero(np.asarray(ids) == name) for name in dict.fromkeys(ids)}
        slides = cohort.ids.tolist()
        found, problems = _facts(features, slides, encoder)
        problems += _differences(found, encoder)
        _refuse(problems)
        bags = tuple(
            Bag(name, {slides[row]: found[slides[row]] for row in mine.tolist()})
            for name, mine in rows.items()
        )
        any_facts = next(iter(found.values()))
        return cls(
            bags,
            tuple(rows.values()),
            any_facts.dim,
            _common(found, "encoder") or encoder,
            _common(found, "tile_px"),
            _common(found, "mpp"),
        )

    def check(self, *, whole: bool = False) -> None:
        """Look into the features: a sample of each slide, or `whole`.

        Raises
        ------
        UsageError
            With all slides whose features are no numbers.
        """
        problems = []
        for bag in self.bags:
            some = None if whole else np.unique(np.linspace(0, bag.tiles - 1, LOOKED_AT).astype(np.int64))
            try:
                bag.read(some)
            except CoverslipError as error:
                if whole or "empty" not in error.message:  # the tiles looked at may be the missing ones
                    problems.append(error.message)
        _refuse(problems)


def _facts(
    folder: Path, slides: Sequence[str], encoder: str | None
) -> tuple[dict[str, FeatureFacts], list[str]]:
    found, problems = {}, []
    for slide in slides:
        try:
            found[slide] = facts_of(find_features(folder, slide, encoder))
        except StoreError as error:
            problems.append(error.message)
            continue
        if not found[slide].tiles:
            problems.append(f"the bag of {slide!r} is empty: {found[slide].path.name} holds no tile")
    return found, problems


def _differences(found: Mapping[str, FeatureFacts], encoder: str | None) -> Iterator[str]:
    for name, what in (("dim", "length"), ("encoder", "encoder"), ("tile_px", "tile size"), ("mpp", "mpp")):
        values: dict[Any, list[str]] = {}
        for slide, facts in found.items():
            if (value := getattr(facts, name)) is not None:
                values.setdefault(round(value, 3) if name == "mpp" else value, []).append(slide)
        if name == "encoder" and encoder is not None:
            for other in values.keys() - {encoder}:
                yield f"features of {values[other][0]!r} are of encoder {other!r}; expected {encoder!r}"
        elif len(values) > 1 and not (name == "mpp" and max(values) / min(values) < 1 + MPP_TOLERANCE):
            shown = ", ".join(f"{value} ({len(of)} slides, e.g. {of[0]!r})" for value, of in values.items())
            yield f"features differ in {what}: {shown}"


def _common(found: Mapping[str, FeatureFacts], name: str) -> Any:
    return next((value for facts in found.values() if (value := getattr(facts, name)) is not None), None)


def _refuse(problems: Sequence[str]) -> None:
    if not problems:
        return
    listed = "".join(f"\n  {number}. {text}" for number, text in enumerate(problems[:SHOWN], 1))
    more = f"\n  … and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
    raise UsageError(
        f"these bags cannot be learned from ({len(problems)} problems):{listed}{more}\n",
        mend="make the features of all slides with one encoder: coverslip run embed COHORT.csv -o RUN",
    )
