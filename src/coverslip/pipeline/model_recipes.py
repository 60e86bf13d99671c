"""From a model folder to the recipe that applies it to slides, at the model's own mpp."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from coverslip.core import unknown
from coverslip.core.errors import RecipeError
from coverslip.models.folder import ModelFolder
from coverslip.pipeline.recipe import Recipe

RECIPES: dict[str, str] = {
    "classify/tiles": "coverslip.pipeline.stages.classify:recipe_of_tiles",
    "classify/slide": "coverslip.pipeline.stages.classify:recipe_of_slide",
    "classify/bags": "coverslip.pipeline.stages.aggregate:recipe_of_model",
    "segment": "coverslip.pipeline.stages.segment:recipe_of_model",
    "detect": "coverslip.pipeline.stages.detect:recipe_of_model",
}
"""Task of a model's card → the function that gives the recipe: ``recipe_of(model)`` returns the plain values
that `Recipe.from_dict` takes. Nothing is imported before it is asked for."""


def recipe_of_model(path: str | os.PathLike[str]) -> Recipe:
    """Return the recipe that applies a model folder to slides.

    Raises
    ------
    StoreError, UsageError
        When it is no whole model folder.
    RecipeError
        When such models are not for slides, or the card does not say at which mpp.
    """
    model = ModelFolder.load(path)
    task = model.card.task
    if task not in RECIPES:
        error = unknown("recipe for models of", task, RECIPES)
        raise RecipeError(f"{path}: a model for {task} is not applied to slides", mend=error.mend)
    module, _, name = RECIPES[task].partition(":")
    recipe_of: Callable[[ModelFolder], Mapping[str, Any]] = getattr(import_module(module), name)
    return Recipe.from_dict(recipe_of(model), source=str(path))
