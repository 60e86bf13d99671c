"""The task ``segment``: from slides and the regions drawn on them to a model folder."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from coverslip.cohort import Cohort, Splits, given, holdout
from coverslip.core import as_mpp, unknown
from coverslip.core.errors import UsageError
from coverslip.learn.fit import FitSpec
from coverslip.learn.segment.drawn import DrawnSlide, Reading, missing_classes, read_drawn
from coverslip.learn.segment.feed import Augment
from coverslip.learn.task import Plan, Trained
from coverslip.learn.told import Listen, Told, silent
from coverslip.models.segmenters import SegmenterSpec

LOSS = {"dice": 1.0, "cross-entropy": 1.0}


@dataclass(frozen=True, kw_only=True)
class Network:
    """What is trained.

    Parameters
    ----------
    architecture, encoder, depth, width
        See `coverslip.models.segmenters.SegmenterSpec`.
    pretrained
        Begin with the encoder's published weights (transfer) instead of random ones (from scratch).
    """

    architecture: str = "unet"
    encoder: str = "small"
    depth: int = 5
    width: int = 16
    pretrained: bool = False


@dataclass(frozen=True, kw_only=True)
class Context:
    """A second, coarser look around each tile.

    Parameters
    ----------
    mpp
        Microns per pixel of it: 2, 4, 8 … times the task's; None for no such look.
    around_um
        How far it reaches beyond the tile on each side; by default it has as many pixels as the tile.
    """

    mpp: float | None = None
    around_um: float | None = None


@dataclass(frozen=True, kw_only=True)
class SegmentTask:
    """Learn to give every pixel of a slide a class.

    Parameters
    ----------
    cohort
        Table of slides with a column ``annotations``: the file of each slide's shapes, in any format that
        `coverslip.annotations.Annotations.read` knows.
    classes
        Names, in the order of the model's outputs; the topmost first where shapes overlap, unless `priority`
        orders them.
    mpp, tile
        Microns per pixel and side in pixels of the tiles learned from.
    name
        Of the model, its maps and its objects.
    background
        The class of what nobody drew on. Without it such pixels are unknown and teach nothing, so that a few
        drawn regions per slide train honestly.
    rename
        Class in the files → class here.
    leave_out
        Classes in the files that are not wanted; a class that is in none of these lists is refused.
    repair
        Untangle and clip shapes that cannot be used as they are; each repair is recorded in
        ``annotations.json``.
    network
        What is trained.
    context
        ``{mpp: 4}``: tell a tile by what lies around it, too, where its own pixels do not say enough.
    loss
        Weights of cross-entropy, dice, focal, tversky and boundary.
    balance
        Draw tiles of every class alike.
    hard
        0 to 1: how much more often places are drawn on which the loss is high.
    tiles_per_epoch
        Tiles drawn per epoch; by default as many as there are annotated places, at least 64.
    augment
        How tiles are varied.
    test, val
        Shares of the patients held back, to report on and to choose the epoch; a column ``split`` is taken
        instead where the table has one.
    seed
        Of the split.
    fit
        How the network is fitted. Unless said otherwise the epoch of the best ``-val_dice`` is kept, of
        running averages of weights and of batch statistics (``ema: 0.98``): with few tiles per epoch the
        statistics of the last batches alone let validation jump.
    """

    key: ClassVar[str] = "segment"

    cohort: Path
    classes: tuple[str, ...]
    mpp: float
    tile: int = 256
    name: str = "segment"
    background: str | None = None
    priority: tuple[str, ...] | None = None
    rename: dict[str, str] = field(default_factory=dict)
    leave_out: tuple[str, ...] = ()
    repair: bool = False
    network: Network = field(default_factory=Network)
    context: Context = field(default_factory=Context)
    loss: dict[str, float] = field(default_factory=lambda: dict(LOSS))
    balance: bool = True
    hard: float = 0.0
    tiles_per_epoch: int | None = None
    augment: Augment = field(default_factory=Augment)
    test: float = 0.2
    val: float = 0.2
    seed: int = 0
    fit: FitSpec = field(default_factory=lambda: FitSpec(monitor="-val_dice", batch_size=8, ema=0.98))

    def __post_init__(self) -> None:
        as_mpp(self.mpp)
        spec = self.spec()
        if self.tile < spec.multiple or self.tile % spec.multiple:
            raise UsageError(f"tile {self.tile} cannot be: expected a multiple of {spec.multiple}")
        for name in (*(self.priority or ()), *((self.background,) if self.background else ())):
            if name not in self.classes:
                raise unknown("class", name, self.classes)
        for name, share in (("hard", self.hard), ("test", self.test), ("val", self.val)):
            if not 0 <= share <= 1:
                raise UsageError(f"{name} {share} is no share: expected 0 to 1")
        if self.tiles_per_epoch is not None and self.tiles_per_epoch < 1:
            raise UsageError(f"tiles_per_epoch {self.tiles_per_epoch} is too small: expected 1 or more")
        _check_loss(self.loss)

    def spec(self) -> SegmenterSpec:
        """Return what builds the network.

        Raises
        ------
        UsageError
            When the context's mpp is no power of two times the task's, or the network takes none.
        """
        n = self.network
        factor, around = self._surround()
        return SegmenterSpec(
            classes=self.classes,
            architecture=n.architecture,
            encoder=n.encoder,
            depth=n.depth,
            width=n.width,
            context=factor,
            around=around,
        )

    def _surround(self) -> tuple[int, int]:
        """Return how many times coarser the context is, and its pixels on each side of a tile."""
        if self.context.mpp is None:
            return 1, 0
        times = as_mpp(self.context.mpp) / self.mpp
        factor = round(times)
        if abs(times / max(factor, 1) - 1) > 0.01 or factor < 2:
            raise UsageError(
                f"context.mpp {self.context.mpp:g} is {times:g} times mpp {self.mpp:g}: expected 2, 4, 8 …"
            )
        step = max(1, 2**self.network.depth // factor)
        wanted = (
            (self.tile - self.tile / factor) / 2
            if self.context.around_um is None
            else self.context.around_um / (self.mpp * factor)
        )
        return factor, max(step, math.ceil(wanted / step) * step)

    # ------------------------------------------------------------------ looking
    def plan(self) -> Plan:
        """Read the cohort, all annotations and the splits; train nothing.

        Raises
        ------
        UsageError
            With all that is wrong with table and shapes; and when no slide has a region of some class.
        """
        cohort, slides, splits = self.read()
        fold = splits.folds[0]
        shapes = sum(len(each.drawn) for each in slides)
        parts = {name: len(getattr(fold, name)) for name in ("train", "val", "test")}
        area = self.areas(slides)
        facts = {
            "slides": ", ".join(f"{count} {name}" for name, count in parts.items()),
            "shapes": str(shapes),
            "area": ", ".join(f"{name} {mm2:.3g} mm²" for name, mm2 in area.items()),
            "network": f"{self.network.architecture} over {self.network.encoder}",
            "tiles": f"{self.tile} px at {self.mpp:g} µm per pixel",
        }
        notes = tuple(f"{each.source.id}: {note}" for each in slides for note in each.drawn.notes)
        values = {"slides": len(cohort), "parts": parts, "shapes": shapes, "area_mm2": area}
        return Plan(facts, notes, values)

    def areas(self, slides: list[DrawnSlide]) -> dict[str, float]:
        """Return how many mm² were drawn of each class."""
        return {
            name: sum(each.drawn.area_px(name) * each.mpp**2 for each in slides) / 1e6
            for name in self.classes
        }

    def read(self) -> tuple[Cohort, list[DrawnSlide], Splits]:
        """Read the cohort, all annotations and the splits, checked."""
        cohort = Cohort.read(self.cohort, labels=[])
        reading = Reading(
            classes=self.classes, rename=self.rename, leave_out=self.leave_out, repair=self.repair
        )
        slides = read_drawn(cohort, reading)
        lacking = [name for name in missing_classes(slides, self.classes) if name != self.background]
        if lacking:
            raise UsageError(
                f"no slide has a region of {', '.join(lacking)}",
                mend="draw some, or leave the class out of classes (rename maps names of the files to them)",
            )
        splits = self.splits(cohort)
        trains = missing_classes([slides[i] for i in splits.folds[0].train], self.classes)
        lacking = [name for name in trains if name != self.background]
        if lacking:
            raise UsageError(
                f"no slide that trains has a region of {', '.join(lacking)}: all are held back",
                mend="try another seed, or say who trains in a column split",
            )
        return cohort, slides, splits

    def splits(self, cohort: Cohort) -> Splits:
        """Return the split of the table, or one by patient."""
        if "split" in cohort.columns:
            return given(cohort)
        return holdout(cohort, test=self.test, val=self.val, stratify=None, seed=self.seed)

    # ------------------------------------------------------------------ learning
    def train(self, run: Path, *, listen: Listen = silent) -> Trained:
        """Plan, learn, and measure Dice on the slides held back."""
        from coverslip.learn.segment.training import train

        listen(Told("reading annotations"))
        cohort, slides, splits = self.read()
        summary = train(self, run, (cohort, slides, splits), listen=listen)
        return Trained(run, (self.name,), {self.name: summary})


def _check_loss(loss: Mapping[str, float]) -> None:
    known = ("cross-entropy", "dice", "focal", "tversky", "boundary")
    for name, weight in loss.items():
        if name not in known:
            raise unknown("loss", name, known)
        if not weight > 0:
            raise UsageError(f"loss {name} has weight {weight!r}: expected a number above 0")
    if not loss:
        raise UsageError("there is no loss", mend="write loss: {dice: 1, cross-entropy: 1}")
