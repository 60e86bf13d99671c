"""The parts of a detector: pyramid, heads and pools; imports torch and torchvision."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign

from coverslip.core.errors import UsageError

if TYPE_CHECKING:
    from coverslip.models.detectors import DetectorSpec

WIDTHS = (16, 40, 80, 128, 192, 256)
"""Channels of the small encoder at strides 1, 2, 4 …"""


class Pyramid(nn.Module):
    """Encoder and feature pyramid: a picture in, a feature map per level out, the finest first."""

    def __init__(self, encoder: nn.Module, channels: Sequence[int], skip: int, width: int) -> None:
        super().__init__()
        self.encoder, self._skip = encoder, skip
        self.neck = FeaturePyramidNetwork(list(channels), width, norm_layer=nn.BatchNorm2d)
        self.out_channels = width

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the levels by number."""
        x = x.contiguous(memory_format=torch.channels_last)
        features = self.encoder(x)[self._skip :]
        return dict(self.neck({str(level): found for level, found in enumerate(features)}))


def pyramid(spec: DetectorSpec, *, pretrained: bool) -> Pyramid:
    """Return encoder and pyramid of a spec."""
    first = 0 if spec.finest == 2 else 1
    if spec.backbone == "small":
        from coverslip.models.segmenters_encoder import SmallEncoder

        if pretrained:
            raise UsageError(
                "the small encoder has no published weights",
                mend="train it from scratch (pretrained: false), or name a backbone of timm",
            )
        encoder: nn.Module = SmallEncoder(WIDTHS, depth=first + spec.levels)
        return Pyramid(encoder, WIDTHS[1 + first : 1 + first + spec.levels], 1 + first, spec.width)
    import timm

    encoder = timm.create_model(
        spec.backbone,
        features_only=True,
        pretrained=pretrained,
        out_indices=tuple(range(first, first + spec.levels)),
    )
    return Pyramid(encoder, encoder.feature_info.channels(), 0, spec.width)


class BoxHead(nn.Module):
    """What is seen in a box, as a vector: two convolutions and a dense layer."""

    def __init__(self, width: int, side: int, dim: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        )
        self.dense = nn.Linear(width * side * side, dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Turn (n, width, side, side) into (n, dim)."""
        return torch.relu(self.dense(self.convolutions(x).flatten(1)))


class Unresized(GeneralizedRCNNTransform):  # type: ignore[misc,unused-ignore]
    """Normalises colours and pads, but never resizes: tiles have the mpp that the network was trained at."""

    def __init__(self, mean: Sequence[float], std: Sequence[float], *, divisible: int) -> None:
        super().__init__(1, 1, list(mean), list(std), size_divisible=divisible)

    def resize(
        self, image: torch.Tensor, target: dict[str, torch.Tensor] | None = None
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor] | None]:
        """Return both as they are."""
        return image, target

    def postprocess(
        self,
        result: list[dict[str, torch.Tensor]],
        image_shapes: list[tuple[int, int]],  # noqa: ARG002 - torchvision's signature
        original_image_sizes: list[tuple[int, int]],  # noqa: ARG002
    ) -> list[dict[str, torch.Tensor]]:
        """Leave boxes in pixels of the tile and masks within their boxes."""
        return result


def anchors(sides: Sequence[int], ratios: Sequence[float]) -> AnchorGenerator:
    """Return boxes of one side per level, in several shapes."""
    return AnchorGenerator(tuple((side,) for side in sides), (tuple(ratios),) * len(sides))


def pools(names: Sequence[str], side: int) -> MultiScaleRoIAlign:
    """Return what cuts boxes out of the levels, as `side` × `side` features."""
    return MultiScaleRoIAlign(list(names), side, 2)


def mask_parts(names: Sequence[str], width: int, classes: int) -> dict[str, Any]:
    """Return the parts that draw a mask in each box."""
    return {
        "mask_roi_pool": pools(names, 14),
        "mask_head": MaskRCNNHeads(width, (width,) * 3, 1, norm_layer=nn.BatchNorm2d),
        "mask_predictor": MaskRCNNPredictor(width, width, classes),
    }
