"""Tiles with their masks as a PyTorch dataset; read when asked for, at random places."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from coverslip.core import Box
from coverslip.core.errors import UsageError
from coverslip.learn.loading import rng_of
from coverslip.learn.segment.masks import Masks
from coverslip.learn.segment.places import Places
from coverslip.slides import Slide, open_slide
from coverslip.stain.augment import augment_hed

if TYPE_CHECKING:
    from coverslip.models.segmenters_context import Surround
    from coverslip.slides import SlideSource

Item = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Augment:
    """How tiles are varied in training.

    Parameters
    ----------
    turn
        Mirror and turn by quarters.
    stain
        Scale and shift the amounts of haematoxylin, eosin and residual by up to this share, see
        `coverslip.stain.augment_hed`; 0 for never.
    light
        Change the brightness by up to this share.

    Raises
    ------
    UsageError
        When a share is not from 0 to 1.
    """

    turn: bool = True
    stain: float = 0.05
    light: float = 0.05

    def __post_init__(self) -> None:
        if not (0 <= self.stain <= 1 and 0 <= self.light <= 1):
            raise UsageError(f"stain {self.stain} and light {self.light} are no shares: expected 0 to 1")

    def __call__(
        self, pixels: NDArray[np.uint8], mask: NDArray[np.uint8], rng: np.random.Generator
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Return both, varied alike where it is about place."""
        if self.turn:
            quarter, mirror = int(rng.integers(4)), bool(rng.integers(2))
            pixels, mask = (np.rot90(a[:, ::-1] if mirror else a, quarter) for a in (pixels, mask))
        if self.stain:
            pixels = augment_hed(np.ascontiguousarray(pixels), rng, sigma=self.stain, shift=self.stain / 5)
        if self.light:
            gain = rng.uniform(1 - self.light, 1 + self.light)
            pixels = np.minimum(pixels * np.float32(gain), 255).astype(np.uint8)
        return np.ascontiguousarray(pixels), np.ascontiguousarray(mask)


class Pixels:
    """Pixels of slides at the scale of their masks; each process opens the slides for itself."""

    def __init__(
        self, sources: Sequence[SlideSource], masks: Sequence[Masks], surround: Surround | None = None
    ) -> None:
        self._sources, self._masks, self.surround = list(sources), masks, surround
        self._open: dict[int, Slide] = {}

    def read(self, slide: int, x: int, y: int, side: int) -> NDArray[np.uint8]:
        """Return (side, side, 3) from pixel (x, y) of the masks on; white beyond the edge."""
        step = self._masks[slide].downsample
        return self._slide(slide).read_at(Box(x * step, y * step, side * step, side * step), step)

    def view(self, slide: int, x: int, y: int, side: int) -> NDArray[np.uint8] | None:
        """Return the surroundings of the square that `read` gives; None where nobody wants them."""
        if self.surround is None:
            return None
        step = self._masks[slide].downsample
        coarse, edge = step * self.surround.factor, step * self.surround.factor * self.surround.around
        wide = self.surround.side(side) * coarse
        return self._slide(slide).read_at(Box(x * step - edge, y * step - edge, wide, wide), coarse)

    def _slide(self, slide: int) -> Slide:
        if slide not in self._open:
            source = self._sources[slide]
            self._open[slide] = open_slide(source.path, mpp=source.mpp)
        return self._open[slide]

    def close(self) -> None:
        """Close the slides."""
        for slide in self._open.values():
            slide.close()
        self._open.clear()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": {}}  # an open file cannot go to another process


class TrainTiles:
    """Tiles to learn from: as many per epoch as asked for, at places drawn by `Places.chances`.

    Parameters
    ----------
    rows
        Tiles per epoch.
    balance, hard
        See `Places.chances`; `hardness` is filled in while training goes on.
    """

    def __init__(  # noqa: PLR0913 - all that makes a tile
        self,
        pixels: Pixels,
        masks: Sequence[Masks],
        places: Places,
        *,
        rows: int,
        augment: Augment,
        balance: bool = True,
        hard: float = 0.0,
        seed: int = 0,
    ) -> None:
        self._pixels, self._masks, self._places = pixels, masks, places
        self._rows, self._augment, self._seed = rows, augment, seed
        self._balance, self._hard = balance, hard
        self.hardness = np.full(len(places), np.nan)
        self._drawn: tuple[int, NDArray[np.int64]] = (-1, np.empty(0, np.int64))

    def __len__(self) -> int:
        return self._rows

    def __getitem__(self, key: tuple[int, int]) -> Item:
        """Return ``pixels`` (3, h, w) uint8, ``mask`` (h, w) uint8, ``place``, and ``view`` if wanted."""
        epoch, row = key
        place = int(self._of_epoch(epoch)[row])
        rng = rng_of(self._seed, epoch, row)
        side, number = self._places.side, int(self._places.slide[place])
        shift = rng.integers(-side // 2, side // 2 + 1, 2)
        x, y = (int(v) for v in self._places.xy[place] + shift)
        mask = self._masks[number].window(x, y, side, side)
        view, same = self._pixels.view(number, x, y, side), deepcopy(rng)
        tile, mask = self._augment(self._pixels.read(number, x, y, side), mask, rng)
        if view is not None:  # varied as the tile is
            view, _ = self._augment(view, np.zeros(view.shape[:2], np.uint8), same)
        return item_of(tile, mask, place, view)

    def _of_epoch(self, epoch: int) -> NDArray[np.int64]:
        if self._drawn[0] != epoch:
            chances = self._places.chances(self.hardness, balance=self._balance, hard=self._hard)
            rng = np.random.default_rng([self._seed, epoch])
            self._drawn = (epoch, rng.choice(len(self._places), self._rows, p=chances))
        return self._drawn[1]


class FixedTiles:
    """Tiles that stay where they are, to validate on."""

    def __init__(self, pixels: Pixels, masks: Sequence[Masks], places: Places) -> None:
        self._pixels, self._masks, self._places = pixels, masks, places

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, key: tuple[int, int]) -> Item:
        """Return a tile as `TrainTiles` does, never varied."""
        place = key[1]
        number, (x, y) = int(self._places.slide[place]), self._places.xy[place].tolist()
        side = self._places.side
        mask = self._masks[number].window(x, y, side, side)
        view = self._pixels.view(number, x, y, side)
        return item_of(self._pixels.read(number, x, y, side), mask, place, view)


def item_of(
    pixels: NDArray[np.uint8], mask: NDArray[np.uint8], place: int, view: NDArray[np.uint8] | None = None
) -> Item:
    """Return a tile, its mask and the view of its surroundings as tensors."""
    item = {
        "pixels": torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1),
        "mask": torch.from_numpy(np.ascontiguousarray(mask)),
        "place": torch.tensor(place),
    }
    if view is not None:
        item["view"] = torch.from_numpy(np.ascontiguousarray(view)).permute(2, 0, 1)
    return item
