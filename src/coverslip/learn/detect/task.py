"""The task ``detect``: from pictures or slides with objects drawn on them to a detector."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from coverslip.cohort import Cohort, Splits, given, holdout
from coverslip.core import as_mpp
from coverslip.core.errors import UsageError
from coverslip.learn.detect.augment import Augment
from coverslip.learn.detect.sources import Drawn, Reading, read_objects
from coverslip.learn.fit import FitSpec
from coverslip.learn.task import Plan, Trained
from coverslip.learn.told import Listen, Told, silent
from coverslip.models.detectors import DetectorSpec


@dataclass(frozen=True, kw_only=True)
class Network:
    """What is trained.

    Parameters
    ----------
    backbone, width, finest, levels, anchor, at_most
        See `coverslip.models.detectors.DetectorSpec`.
    pretrained
        Begin with the backbone's published weights (backbones of timm).
    """

    backbone: str = "small"
    width: int = 64
    finest: int = 2
    levels: int = 4
    anchor: int = 12
    at_most: int = 500
    pretrained: bool = False


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
        How often an epoch goes over a picture: squares that together have half its area, at least one.
    test, val, seed
        Shares of the patients held back, and the seed; a column ``split`` is taken instead where there is
        one.
    fit
        How the network is fitted; ``monitor`` is ``-val_map`` unless said otherwise.
    """

    key: ClassVar[str] = "detect"

    cohort: Path
    classes: tuple[str, ...]
    masks: bool = True
    mpp: float | None = None
    name: str = "detect"
    rename: dict[str, str] = field(default_factory=dict)
    repair: bool = False
    network: Network = field(default_factory=Network)
    augment: Augment = field(default_factory=Augment)
    repeat: int = 1
    test: float = 0.2
    val: float = 0.2
    seed: int = 0
    fit: FitSpec = field(default_factory=lambda: FitSpec(monitor="-val_map", batch_size=4, clip=5.0))

    def __post_init__(self) -> None:
        if self.mpp is not None:
            as_mpp(self.mpp)
        if self.repeat < 1:
            raise UsageError(f"repeat {self.repeat} is too small: expected 1 or more")
        self.spec()

    def spec(self) -> DetectorSpec:
        """Return what builds the network."""
        n = self.network
        return DetectorSpec(
            classes=self.classes,
            masks=self.masks,
            backbone=n.backbone,
            width=n.width,
            finest=n.finest,
            levels=n.levels,
            anchor=n.anchor,
            at_most=n.at_most,
        )

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
        facts = {
            "pictures": ", ".join(f"{count} {name}" for name, count in parts.items()),
            "objects": str(objects),
            "network": f"{'Mask' if self.masks else 'Faster'} R-CNN over {self.network.backbone}",
        }
        return Plan(facts, values={"pictures": len(cohort), "parts": parts, "objects": objects})

    def read(self) -> tuple[Cohort, list[Drawn], Splits]:
        """Read the cohort, all objects and the splits, checked."""
        cohort = Cohort.read(self.cohort, labels=[])
        reading = Reading(
            classes=self.classes, masks=self.masks, mpp=self.mpp, rename=self.rename, repair=self.repair
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
