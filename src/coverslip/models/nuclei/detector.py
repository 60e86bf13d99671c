"""What finds nuclei in a tile: the shipped network, or another's model behind the same door."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from coverslip.core.errors import MissingExtraError, UsageError
from coverslip.models.folder import ModelFolder
from coverslip.models.nuclei.intensity import resized, scaled
from coverslip.models.nuclei.layout import GRID, RAYS, STRIDE
from coverslip.models.nuclei.reading import LEAST_SEED, Found, Maps, Reading, read, smoothed
from coverslip.models.nuclei.views import EDGE, judged

if TYPE_CHECKING:
    from coverslip.models.nuclei.network import NucleiNetwork

SHIPPED = Path(__file__).parent / "shipped"
"""The model folder that comes with the package."""

TASK = "nuclei"
"""Of the card of such a model."""

MARGIN = 96
"""Pixels that a tile is read beyond its edges, so that nuclei near them are judged as those inside are."""

Precision = Literal["f32", "bf16"]


class Detector(Protocol):
    """Finds the nuclei of a tile.

    Attributes
    ----------
    mpp
        Microns per pixel of the pictures it takes.
    diameter
        Pixels of a usual nucleus in such pictures.
    margin
        Pixels beyond a tile's edges that it wants to see.
    """

    @property
    def mpp(self) -> float: ...  # noqa: D102 - told above
    @property
    def diameter(self) -> float: ...  # noqa: D102
    @property
    def margin(self) -> int: ...  # noqa: D102

    def find(self, pixels: NDArray[np.float32], between: tuple[float, float], scale: float = 1.0) -> Found:
        """Find nuclei; they come in the pixels given.

        Parameters
        ----------
        pixels
            float32 (h, w, 3), any size.
        between
            The intensities that count as 0 and 1, from `coverslip.models.nuclei.intensity.levels` of the
            whole picture or slide.
        scale
            By what factor the pixels are to be resized before they are judged.
        """
        ...


@dataclass(frozen=True)
class NucleiNetworkDetector:
    """The house's own network.

    Attributes
    ----------
    network
        With its weights, ready to infer.
    reading
        How its maps become nuclei.
    precision
        ``"bf16"`` is several times as fast as ``"f32"`` where the processor has instructions for it.
    views
        1, or 4: each picture is judged as it is and mirrored, and the maps are averaged.
    describes
        Whether nuclei come with features: see `coverslip.models.nuclei.features`.
    """

    network: NucleiNetwork
    reading: Reading
    mpp: float
    diameter: float
    digest: str
    precision: Precision = "bf16"
    views: int = 1
    margin: int = MARGIN
    describes: bool = False

    def find(self, pixels: NDArray[np.float32], between: tuple[float, float], scale: float = 1.0) -> Found:
        """Find nuclei; see `Detector`."""
        seen, layers = resized(scaled(pixels, between), scale), list[Any]()
        maps = self.maps(seen, layers if self.describes else None)
        found = read(maps, self.reading, (pixels.shape[0], pixels.shape[1]))
        if not self.describes:
            return found
        from coverslip.models.nuclei.features import features_of

        return replace(found, features=features_of(found, seen, layers))

    def maps(self, pixels: NDArray[np.float32], layers: list[Any] | None = None) -> Maps:
        """Judge every pixel of a picture (h, w, 3) whose levels are set.

        Parameters
        ----------
        layers
            Receives the network's inner maps, with one view.
        """
        import cv2

        height, width = pixels.shape[:2]
        edge = EDGE if self.views > 1 else 0
        down, right = -height % STRIDE, -width % STRIDE
        sides = (edge, edge + down + 1, edge, edge + right + 1)
        whole = np.asarray(cv2.copyMakeBorder(pixels, *sides, cv2.BORDER_REFLECT_101), np.float32)
        if self.views == 1:  # nothing to average, so nothing to copy
            planes, radii = self._look(np.ascontiguousarray(whole[:-1, :-1]), layers)
        else:
            planes, radii = judged(whole, self._look, self.views)
        inner = planes[:, edge : edge + height, edge : edge + width]
        start, rows, columns = edge // GRID, -(-height // GRID), -(-width // GRID)
        grid = radii[start : start + rows, start : start + columns]
        return Maps(np.ascontiguousarray(inner[0]), np.ascontiguousarray(inner[2]), grid, GRID)

    def _look(
        self, pixels: NDArray[np.float32], layers: list[Any] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        import torch

        from coverslip.models.nuclei.network import radii

        batch = torch.from_numpy(pixels).permute(2, 0, 1)[None]
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=self.precision == "bf16"):
            outputs, *inner = self.network.seen(batch)
            if layers is not None:
                layers.extend(inner)
            planes = torch.sigmoid(outputs.planes[0].float()).numpy()
            stars = outputs.stars[0].permute(1, 2, 0)
            if self.views > 1:  # what each view proposes is not known before their mean
                return planes, radii(stars).numpy()
            where = torch.from_numpy(smoothed(planes[2], GRID) >= LEAST_SEED)
            far = torch.zeros((*where.shape, RAYS))
            far[where] = radii(stars[where])
            return planes, far.numpy()


def load_nuclei(
    folder: str | os.PathLike[str] | None = None, *, precision: Precision = "bf16", views: int = 1
) -> NucleiNetworkDetector:
    """Load the nuclei model: the one that ships, or one in a model folder.

    Raises
    ------
    UsageError
        When the folder holds a model of another task.
    StoreError
        When it holds no whole model.
    MissingExtraError
        When torch is not installed.
    """
    if precision not in ("f32", "bf16"):
        raise UsageError(f"precision {precision!r} is unknown", mend="give f32 or bf16")
    if views not in (1, 4):
        raise UsageError(f"{views} views are not offered", mend="give 1 or 4")
    return replace(_loaded(str(SHIPPED if folder is None else folder)), precision=precision, views=views)


@cache
def _loaded(folder: str) -> NucleiNetworkDetector:
    model = ModelFolder.load(folder)
    card = model.card
    if card.task != TASK or card.mpp is None:
        raise UsageError(f"{folder} holds a model for {card.task!r}, not for nuclei")
    try:
        import torch

        from coverslip.models.nuclei.network import NucleiNetwork
    except ImportError as error:
        raise MissingExtraError.of("torch", "torch") from error
    wanted = {name: card.preprocessing[name] for name in (f.name for f in fields(Reading))}
    network = NucleiNetwork(tuple(card.parameters["widths"]))
    model.into(network)
    return NucleiNetworkDetector(
        network=fused(network).to(memory_format=torch.channels_last),
        reading=Reading(**wanted),
        mpp=card.mpp,
        diameter=float(card.preprocessing["diameter"]),
        digest=model.digest,
    )


def fused(network: NucleiNetwork) -> NucleiNetwork:
    """Put each batch norm into the convolution before it: the same numbers with fewer passes over memory."""
    from torch import nn
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    from coverslip.models.nuclei.network import Residual

    for module in network.modules():
        if isinstance(module, nn.Sequential) and len(module) > 1 and isinstance(module[1], nn.BatchNorm2d):
            convolution = module[0]
            if isinstance(convolution, nn.Conv2d):
                module[0], module[1] = fuse_conv_bn_eval(convolution, module[1]), nn.Identity()
        if isinstance(module, Residual) and isinstance(module.norm, nn.BatchNorm2d):
            module.second = fuse_conv_bn_eval(module.second, module.norm)
            module.add_module("norm", nn.Identity())
    return network
