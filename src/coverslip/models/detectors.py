"""Networks that find objects one by one: Mask R-CNN, and Faster R-CNN where nobody drew outlines.

He et al., Mask R-CNN, ICCV 2017; Ren et al., Faster R-CNN, NeurIPS 2015; Lin et al., Feature pyramid
networks, CVPR 2017. The parts are torchvision's; encoder, pyramid and heads are narrow enough to train on a
processor, and their normalisation lets them be trained from scratch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from coverslip.core import unknown
from coverslip.core.errors import MissingExtraError, UsageError
from coverslip.models.card import IMAGENET_MEAN, IMAGENET_STD

if TYPE_CHECKING:
    from torch import nn

ARCHITECTURES = ("mask-rcnn", "faster-rcnn")

RATIOS = (0.5, 1.0, 2.0)
"""Height by width of the boxes that are tried at every place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorSpec:
    """What makes a detector's network.

    Attributes
    ----------
    classes
        Names, without the background.
    architecture
        ``"mask-rcnn"``, or ``"faster-rcnn"`` for boxes alone.
    backbone
        ``"small"`` for our own encoder, else a name of timm.
    width
        Channels of pyramid and heads.
    finest
        Stride of the finest level of the pyramid, 2 or 4: 2 for objects of about 10 pixels.
    levels
        Levels of the pyramid, each half as fine as the one before.
    anchor
        Side in pixels of the boxes tried at the finest level; twice as large at each next.
    at_most
        Most objects that one tile can have.

    Raises
    ------
    UsageError
        When a value cannot be served.
    """

    classes: tuple[str, ...]
    architecture: str = "mask-rcnn"
    backbone: str = "small"
    width: int = 64
    finest: int = 2
    levels: int = 4
    anchor: int = 12
    at_most: int = 500

    def __post_init__(self) -> None:
        if self.architecture not in ARCHITECTURES:
            raise unknown("architecture", self.architecture, ARCHITECTURES)
        if not self.classes or len(set(self.classes)) != len(self.classes):
            raise UsageError(f"classes {self.classes} cannot be: expected one or more different names")
        if self.finest not in (2, 4) or not 1 <= self.levels <= 5:
            raise UsageError(
                f"finest {self.finest} and levels {self.levels}: expected 2 or 4, and 1 to 5 levels"
            )
        for name in ("width", "anchor", "at_most"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} {getattr(self, name)} is too small: expected 1 or more")

    @property
    def masks(self) -> bool:
        """Whether outlines are found, too."""
        return self.architecture == "mask-rcnn"

    @property
    def sides(self) -> tuple[int, ...]:
        """Sides of the boxes tried, level by level."""
        return tuple(self.anchor * 2**level for level in range(self.levels))


def build_detector(spec: DetectorSpec, *, pretrained: bool = False) -> nn.Module:
    """Make the network, with random weights.

    Parameters
    ----------
    pretrained
        Take the encoder's published weights; only for backbones of timm.

    Raises
    ------
    MissingExtraError
        When torchvision is not installed.
    UsageError
        When pretrained weights are asked of the small encoder, which has none.

    Notes
    -----
    Takes what torchvision's detectors take: a list of float pictures (3, h, w) from 0 to 1, and in training
    their targets. When it predicts, ``masks`` are (n, 1, 28, 28) probabilities within each box: whole
    pictures per object would need gigabytes on a slide; `coverslip.learn.detect.objects` draws them.
    """
    try:
        from torchvision.models.detection import FasterRCNN, MaskRCNN
        from torchvision.models.detection.faster_rcnn import FastRCNNPredictor
    except ImportError as error:
        raise MissingExtraError.of("torchvision", "torch") from error

    from coverslip.models.detectors_parts import BoxHead, Unresized, anchors, mask_parts, pools, pyramid

    names = [str(level) for level in range(spec.levels)]
    options: dict[str, Any] = {
        "rpn_anchor_generator": anchors(spec.sides, RATIOS),
        "rpn_pre_nms_top_n_train": 500,
        "rpn_post_nms_top_n_train": 300,
        "rpn_pre_nms_top_n_test": 1000,
        "rpn_post_nms_top_n_test": max(1000, spec.at_most * 2),
        "box_roi_pool": pools(names, 7),
        "box_head": BoxHead(spec.width, 7, 4 * spec.width),
        "box_predictor": FastRCNNPredictor(4 * spec.width, len(spec.classes) + 1),
        "box_batch_size_per_image": 128,
        "box_detections_per_img": spec.at_most,
    }
    if spec.masks:
        options |= mask_parts(names, spec.width, len(spec.classes) + 1)
    network = (MaskRCNN if spec.masks else FasterRCNN)(pyramid(spec, pretrained=pretrained), **options)
    network.transform = Unresized(IMAGENET_MEAN, IMAGENET_STD, divisible=spec.finest * 2 ** (spec.levels - 1))
    return network
