"""Classes of nuclei: a linear head on what the network saw of each."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from coverslip.core.errors import StoreError, UsageError
from coverslip.models.folder import ModelFolder

TASK = "nuclei-classes"
"""Of the card of such a model."""


@dataclass(frozen=True)
class NucleusClasses:
    """A head that a user trained; it belongs to one network.

    Attributes
    ----------
    classes
        In the order of the outputs.
    mean, sd
        Of the features, (d,); they are standardised by these.
    weights, bias
        (d, k) and (k,); softmax follows.
    network
        Digest of the network's weights whose features it reads.
    digest
        Of its own.
    """

    classes: tuple[str, ...]
    mean: NDArray[np.float32]
    sd: NDArray[np.float32]
    weights: NDArray[np.float32]
    bias: NDArray[np.float32]
    network: str
    digest: str = ""

    def probabilities(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the probability of each class, float32 (n, k), of features (n, d)."""
        raw = (features - self.mean) / self.sd @ self.weights + self.bias
        raw = np.exp(raw - raw.max(axis=1, keepdims=True, initial=-np.inf))
        return np.asarray(raw / raw.sum(axis=1, keepdims=True), np.float32)

    def tensors(self) -> dict[str, Any]:
        """Return what a model folder keeps."""
        import torch

        arrays = {name: getattr(self, name) for name in ("mean", "sd", "weights", "bias")}
        return {name: torch.from_numpy(np.asarray(value, np.float32)) for name, value in arrays.items()}

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, network: str | None = None) -> Self:
        """Read a model folder; parameters and errors as of `classifier_at`."""
        folder = classifier_at(path, network=network)
        arrays = {name: value.numpy() for name, value in folder.state().items()}
        own = str(folder.card.preprocessing["network"])
        return cls(folder.card.classes, **arrays, network=own, digest=folder.digest)


def classifier_at(path: str | os.PathLike[str], *, network: str | None = None) -> ModelFolder:
    """Check the folder of such a head; its weights are not read.

    Parameters
    ----------
    network
        Digest of the network that it is to serve; None does not ask.

    Raises
    ------
    UsageError
        When the folder holds a model of another task.
    StoreError
        When it is not whole, or belongs to another network.
    """
    folder = ModelFolder.load(path)
    card = folder.card
    if card.task != TASK:
        raise UsageError(f"{path} holds a model for {card.task!r}, not for classes of nuclei")
    own = card.preprocessing["network"]
    if network not in (None, own):
        raise StoreError(
            f"{path} reads what the nuclei network {own} saw, and this is {network}",
            mend="train it again with this nuclei model, or name the model that it was trained with",
        )
    return folder
