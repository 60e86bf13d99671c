"""Classes of objects by a small model of their measurements: the second look at candidates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from coverslip.core import unknown
from coverslip.core.errors import RecipeError
from coverslip.models.pinned import pin
from coverslip.models.pixels import PixelModel
from coverslip.pipeline.stage import chosen
from coverslip.pipeline.stages.ihc import relabelled
from coverslip.slides import Slide


@dataclass(frozen=True)
class ClassifyObjectsStage:
    """Give every object a class by what was measured of it; the score is the class's probability.

    Parameters
    ----------
    of
        Name of the step that found the objects.
    model
        A JSON file of `coverslip.models.pixels` fitted to measurements, or the name of one that ships with
        Coverslip (those serve phantoms only).
    model_digest
        SHA-256 of the model. Filled in when not given; checked when given.
    """

    name: ClassVar[str] = "classify-objects"
    version: ClassVar[int] = 1

    of: str = "nuclei"
    model: str | None = None
    model_digest: str | None = None

    def __post_init__(self) -> None:
        if self.model is None:
            return
        pin(self, "model_digest", PixelModel.load(self.model, of_pixels=False).digest, what=self.model)

    def reads(self) -> tuple[str, ...]:
        """Return the key of the objects."""
        return (f"objects/{self.of}",)

    def writes(self) -> tuple[str, ...]:
        """Return the key of the classed objects."""
        return ("objects/classify-objects",)

    def classes(self) -> tuple[str, ...]:
        """Return the model's classes."""
        return () if self.model is None else PixelModel.load(self.model, of_pixels=False).classes

    def run(self, slide: Slide, inputs: Mapping[str, Any]) -> Mapping[str, Any]:  # noqa: ARG002 - the protocol's
        """Class the objects.

        Raises
        ------
        RecipeError
            When no model is named.
        UnknownNameError
            When the objects lack a measurement that the model looks at.
        """
        if self.model is None:
            raise RecipeError(
                "stage 'classify-objects' has no model", mend="name one: --set STEP.model=FILE.json"
            )
        model = PixelModel.load(self.model, of_pixels=False)
        objects = chosen(inputs, f"objects/{self.of}").read()
        for name in model.features:
            if name not in objects.measurements:
                raise unknown(f"measurement of {self.of!r}", name, objects.measurements)
        columns = [np.asarray(objects[name], np.float32) for name in model.features]
        found = model.probabilities(np.stack(columns, axis=1)) if len(objects) else np.zeros((0, 1))
        made = relabelled(objects, found.argmax(axis=1).astype(np.int32), model.classes)
        scored = replace(made, scores=found.max(axis=1, initial=0).astype(np.float32))
        return {"objects/classify-objects": scored}
