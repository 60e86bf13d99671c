"""Regions by a pixel classifier: tissue types from stain and texture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from coverslip.core.errors import RecipeError, StainError, UsageError
from coverslip.models.pinned import pin
from coverslip.models.pixels import PixelModel, features_of, margin_px
from coverslip.pipeline.stage import LIMITED, NOTES, chosen
from coverslip.pipeline.stages.classical import widened
from coverslip.slides import Slide
from coverslip.stain import StainMatrix
from coverslip.store import LabelMap, ObjectTable
from coverslip.tiles import GridSpec, lay, stream
from coverslip.tissue import Tissue

SIDE = 512
"""Pixels of the squares in which the slide is read."""


@dataclass(frozen=True)
class PixelsStage:
    """Give every pixel of the tissue a class, and outline the regions of each.

    For regions that differ in stain and texture. ``segment`` does the same with a trained network, for those
    that differ in form.

    Parameters
    ----------
    model
        A pixel classifier: a JSON file of `coverslip.models.pixels`, or the name of one that ships with
        Coverslip (those serve phantoms only).
    model_digest
        SHA-256 of the model. Filled in when not given; checked when given.
    smallest_um2
        Regions smaller than this go to what surrounds them.
    smooth_um
        Standard deviation over which probabilities are averaged before the class is chosen.

    Raises
    ------
    UnknownNameError, StoreError
        When the model is not there, or not that of `model_digest`.
    """

    name: ClassVar[str] = "pixels"
    version: ClassVar[int] = 1

    model: str | None = None
    model_digest: str | None = None
    smallest_um2: float = 400.0
    smooth_um: float = 4.0

    def __post_init__(self) -> None:
        if self.smallest_um2 < 0 or self.smooth_um < 0:
            raise UsageError("smallest_um2 and smooth_um cannot be below 0")
        if self.model is None:
            return
        pin(self, "model_digest", PixelModel.load(self.model).digest, what=self.model)

    def reads(self) -> tuple[str, ...]:
        """Return the keys of tissue and stains."""
        return ("tissue", "stain")

    def writes(self) -> tuple[str, ...]:
        """Return the keys of the map and of the regions."""
        return ("maps/pixels", "objects/pixels")

    def classes(self) -> tuple[str, ...]:
        """Return the model's classes."""
        return () if self.model is None else PixelModel.load(self.model).classes

    def run(self, slide: Slide, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        """Classify the tissue's pixels.

        Raises
        ------
        RecipeError
            When no model is named.
        StainError
            When the slide has other stains than those that the model was fitted to.
        MppError
            When the slide is coarser than the model.
        """
        if self.model is None:
            raise RecipeError(
                "stage 'pixels' has no model",
                mend="name one: --set STEP.model=FILE.json; phantom-pixels serves phantoms only",
            )
        model, tissue = PixelModel.load(self.model), chosen(inputs, "tissue")
        stains = require_stains(slide, chosen(inputs, "stain").stains, model)
        notes = [] if not tissue.empty else [f"there is no tissue {inputs.get(LIMITED, '')}".strip()]
        labels, downsample = self._labels(slide, tissue, (model, stains), notes)
        labels = merged(labels, self.smallest_um2 / model.mpp**2)
        made = LabelMap(labels, downsample, names=model.classes, mpp=slide.mpp)
        return {"maps/pixels": made, "objects/pixels": regions_of(made), NOTES: notes}

    def _labels(
        self, slide: Slide, tissue: Tissue, look: tuple[PixelModel, StainMatrix], notes: list[str]
    ) -> tuple[NDArray[np.uint8], float]:
        """Return 1 + class of every pixel of the tissue at the model's scale, 0 elsewhere."""
        import cv2

        model, stains = look
        spec = GridSpec(mpp=model.mpp, size=SIDE, min_tissue=0, edge="pad")
        tiles = lay(slide, spec, tissue)
        tiles = tiles.take(np.flatnonzero(tiles.tissue > 0))
        down = tiles.downsample
        labels = np.zeros([max(1, int(np.ceil(side / down))) for side in reversed(slide.size)], np.uint8)
        margin, sigma = margin_px(model.mpp), self.smooth_um / model.mpp
        for batch in stream(slide, widened(tiles, margin), batch_size=1):
            notes += (error for error in batch.errors if error not in notes)
            found = model.probabilities(features_of(batch.pixels[0], tiles.mpp, stains))
            soft = cv2.GaussianBlur(found, (0, 0), sigma) if sigma > 0 else found
            part = soft.argmax(axis=-1)[margin : margin + SIDE, margin : margin + SIDE].astype(np.uint8) + 1
            x, y = np.rint(tiles.xy[batch.index[0]] / down).astype(int)
            place = labels[y : y + SIDE, x : x + SIDE]
            place[...] = part[: place.shape[0], : place.shape[1]]
        inside = cv2.resize(tissue.mask.view(np.uint8), labels.shape[::-1], interpolation=cv2.INTER_NEAREST)
        kept: NDArray[np.uint8] = (labels * inside).astype(np.uint8)
        return kept, down


def require_stains(slide: Slide, stains: StainMatrix, model: PixelModel) -> StainMatrix:
    """Refuse a slide of other stains than a model's; raises `StainError`."""
    if tuple(stains.names[:2]) != tuple(model.stains[:2]):
        raise StainError(
            f"{slide.path} is stained with {' and '.join(stains.names[:2])}, and the model {model.name!r} "
            f"was fitted to {' and '.join(model.stains)}",
            mend="name a model of this stain, or leave the slide out",
        )
    return stains


def merged(labels: NDArray[np.uint8], smallest: float) -> NDArray[np.uint8]:
    """Give areas of fewer than `smallest` pixels the label of what lies next to them."""
    import cv2
    from scipy.ndimage import distance_transform_edt

    small = np.zeros(labels.shape, bool)
    for value in np.unique(labels[labels > 0]):
        _, parts, stats, _ = cv2.connectedComponentsWithStats(
            (labels == value).view(np.uint8), connectivity=4
        )
        tiny = stats[:, cv2.CC_STAT_AREA] < smallest
        tiny[0] = False
        small |= tiny[parts]
    lost = small | (labels == 0)
    if not small.any() or lost.all():
        return labels
    nearest = distance_transform_edt(lost, return_distances=False, return_indices=True)
    return np.where(small, labels[tuple(nearest)], labels)


def regions_of(made: LabelMap) -> ObjectTable:
    """Return the regions of a map as objects, with their area."""
    from coverslip.annotations import vectorise

    classes = {name: i for i, name in enumerate(made.names, start=1)}
    drawn = vectorise(
        np.asarray(made.labels, np.int32), made.downsample, classes=classes, tolerance=made.downsample
    ).shapes
    mpp = made.mpp or 1.0
    return ObjectTable(
        np.array([*(shape.geometry for shape in drawn), None], object)[:-1],
        classes=made.names,
        labels=np.array([classes[str(shape.class_name)] - 1 for shape in drawn], np.int32),
        measurements={"area_um2": np.array([shape.geometry.area * mpp**2 for shape in drawn])},
        mpp=made.mpp,
    )
