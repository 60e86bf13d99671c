"""The task ``detect``: from pictures or slides with objects drawn on them to a detector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from coverslip.cohort import Cohort, Splits, given, holdout
from coverslip.core import as_mpp
from coverslip.core.errors import UsageError
from coverslip.learn.detect.augment import Augment
from coverslip.learn.detect.network import Network
from coverslip.learn.detect.sources import Drawn, Reading, read_objects, scale_to
from coverslip.learn.fit import FitSpec
from coverslip.learn.task import Plan, Trained
from coverslip.learn.told import Listen, Told, silent
from coverslip.models.detectors import DetectorSpec

FIT = FitSpec(monitor="-val_map", batch_size=4, clip=5.0, weight_decay=0.02, ema=0.99)
"""What trains from scratch; other keys of ``fit`` keep these."""


@dataclass(frozen=True, kw_only=True)
class DetectTask:
    """Learn to find objects one by one: Mask R-CNN, or boxes alone.

    Parameters
    ----------
    cohort
        Table of pictures or slides with a column ``annotations``: boxes or outlines in any format that
        `coverslip.annotations.Annotations.read` knows (VOC, COCO, GeoJSON …), or an instance mask (PNG, TIFF;
        one number per object). All objects of a picture must be drawn: what is not counts as background.
    classes
        Names.
    masks
        True learns outlines, too (Mask R-CNN); False boxes alone (Faster R-CNN).
    mpp
        Microns per pixel that the network sees; without it pictures are taken as they are.
    object_px
        Bring pictures whose scale nobody knows to one size of object: the median side of a picture's objects
        becomes so many pixels, in training as drawn, afterwards as found at a first look. Not with `mpp`.
    stretch
        Black and white of each picture are set by its own darkest and brightest pixels, as dark
        fluorescence wants it. Not with `mpp`.
    name
        Of the model and its objects.
    rename
        Class in the files → class here.
    repair
        Untangle and clip shapes that cannot be used as they are.
    network
        What is trained.
    augment
        How squares are cut and varied.
    repeat
        Squares that an epoch cuts of a picture for every 16 objects on it, at least.
    test, val, seed
        Shares of the patients held back, and the seed; a column ``split`` is taken instead where there is
        one.
    fit
        How the network is fitted; keys that are not said stay as in `FIT`, which trains from scratch.
    """

    key: ClassVar[str] = "detect"

    cohort: Path
    classes: tuple[str, ...]
    masks: bool = True
    mpp: float | None = None
    object_px: float | None = None
    stretch: bool = False
    name: str = "detect"
    rename: dict[str, str] = field(default_factory=dict)
    repair: bool = False
    network: Network = field(default_factory=Network)
    augment: Augment = field(default_factory=Augment)
    repeat: int = 1
    test: float = 0.2
    val: float = 0.2
    seed: int = 0
    fit: FitSpec = FIT

    def __post_init__(self) -> None:
        if self.mpp is not None:
            as_mpp(self.mpp)
        if self.repeat < 1:
            raise UsageError(f"repeat {self.repeat} is too small: expected 1 or more")
        if self.object_px is not None and not 4 <= self.object_px <= 256:
            raise UsageError(f"object_px {self.object_px} cannot be: expected 4 to 256 pixels")
        if self.mpp is not None and (self.object_px is not None or self.stretch):
            raise UsageError(
                "mpp says the scale of slides; object_px and stretch are for pictures of unknown scale",
                mend="give mpp alone, or leave it out",
            )
        self.spec(())

    def spec(self, drawn: Sequence[Drawn]) -> DetectorSpec:
        """Return what builds the network, its boxes fitted to the objects drawn."""
        n = self.network.fitted(self._sides(drawn))
        names = ("backbone", "width", "finest", "levels", "anchor", "at_most")
        return DetectorSpec(
            classes=self.classes,
            architecture="mask-rcnn" if self.masks else "faster-rcnn",
            **{name: getattr(n, name) for name in names},
        )

    def _sides(self, drawn: Sequence[Drawn]) -> list[NDArray[np.float64]]:
        """Return the sides of the objects of each class that there is, in pixels that the network sees."""
        scales = [1.0 if self.object_px is None else scale_to(self.object_px, d.sides) for d in drawn]
        sides = [each.sides * scale for each, scale in zip(drawn, scales, strict=True)]
        together = np.concatenate([np.empty(0), *sides])
        kinds = np.concatenate([np.empty(0, str), *(each.kinds for each in drawn)])
        return [together[kinds == kind] for kind in np.unique(kinds)]

    def plan(self) -> Plan:
        """Read the cohort, all objects and the splits; train nothing.

        Raises
        ------
        UsageError
            With all that is wrong with table and objects.
        """
        cohort, drawn, splits = self.read()
        fold = splits.folds[0]
        parts = {name: len(getattr(fold, name)) for name in ("train", "val", "test")}
        objects = sum(each.count for each in drawn)
        spec = self.spec([drawn[i] for i in fold.train])
        facts = {
            "pictures": ", ".join(f"{count} {name}" for name, count in parts.items()),
            "objects": str(objects),
            "network": f"{'Mask' if self.masks else 'Faster'} R-CNN over {self.network.backbone}",
            "boxes": f"{', '.join(map(str, spec.sides))} px, finest stride {spec.finest}",
        }
        values = {"pictures": len(cohort), "parts": parts, "objects": objects, "boxes_px": spec.sides}
        notes = tuple(f"{each.source.id}: {note}" for each in drawn for note in each.notes)
        return Plan(facts, notes, values)

    def read(self) -> tuple[Cohort, list[Drawn], Splits]:
        """Read the cohort, all objects and the splits, checked."""
        cohort = Cohort.read(self.cohort, labels=[])
        reading = Reading(
            classes=self.classes,
            masks=self.masks,
            mpp=self.mpp,
            rename=self.rename,
            repair=self.repair,
            stretch=self.stretch,
        )
        drawn = read_objects(cohort, reading)
        if "split" in cohort.columns:
            splits = given(cohort)
        else:
            splits = holdout(cohort, test=self.test, val=self.val, stratify=None, seed=self.seed)
        if not any(drawn[i].count for i in splits.folds[0].train):
            raise UsageError("no picture that trains has an object", mend="draw some, or look at the split")
        return cohort, drawn, splits

    def train(self, run: Path, *, listen: Listen = silent) -> Trained:
        """Plan, learn, and measure average precision on the pictures held back."""
        from coverslip.learn.detect.training import train

        listen(Told("reading objects"))
        summary = train(self, run, self.read(), listen=listen)
        return Trained(run, (self.name,), {self.name: summary})
