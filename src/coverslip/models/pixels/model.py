"""A pixel classifier: fitted, kept as JSON, applied."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from coverslip.core import atomic, unknown
from coverslip.core.errors import StoreError, UsageError
from coverslip.models.pixels.features import FEATURES

FORMAT = "coverslip pixel classifier 1"

UNITS = 32
"""Of the hidden layer."""

Weights = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class PixelModel:
    """A small network from the features of a pixel to its class.

    Attributes
    ----------
    name, description
        For people: what it was fitted to, and for what it may be used.
    classes
        In the order of the outputs.
    mpp
        Microns per pixel at which pixels are looked at.
    stains
        Names of the stains of the slides that it can serve.
    mean, sd
        Of the features; they are standardised by these.
    hidden, hidden_bias, out, out_bias
        Weights: one hidden layer of rectified linear units, then softmax.
    features
        Names of what it looks at; measurements, for one that classes objects.
    """

    name: str
    classes: tuple[str, ...]
    mpp: float
    stains: tuple[str, ...]
    mean: tuple[float, ...]
    sd: tuple[float, ...]
    hidden: Weights
    hidden_bias: tuple[float, ...]
    out: Weights
    out_bias: tuple[float, ...]
    description: str = ""
    features: tuple[str, ...] = FEATURES

    def probabilities(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the probability of each class, float32 (…, k), of features (…, d)."""
        flat = (features.reshape(-1, features.shape[-1]) - np.float32(self.mean)) / np.float32(self.sd)
        inner = np.maximum(flat @ np.float32(self.hidden) + np.float32(self.hidden_bias), 0)
        raw = inner @ np.float32(self.out) + np.float32(self.out_bias)
        raw = np.exp(raw - raw.max(axis=1, keepdims=True))
        shares = raw / raw.sum(axis=1, keepdims=True)
        return np.asarray(shares.reshape(*features.shape[:-1], len(self.classes)), np.float32)

    @property
    def digest(self) -> str:
        """SHA-256 of all that it is, as ``sha256:…``."""
        return "sha256:" + hashlib.sha256(self.to_json().encode()).hexdigest()

    def to_json(self) -> str:
        """Return it as JSON text."""
        return json.dumps({"format": FORMAT, **asdict(self)}, ensure_ascii=False)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write it to a file, whole or not at all."""
        target = Path(path)
        with atomic(target) as partial:
            partial.write_text(self.to_json() + "\n", encoding="utf-8")
        return target

    @classmethod
    def load(cls, name_or_path: str | os.PathLike[str], *, of_pixels: bool = True) -> Self:
        """Read one that ships with Coverslip by name, or a JSON file.

        Parameters
        ----------
        of_pixels
            Refuse one that looks at other things than `FEATURES`.

        Raises
        ------
        UnknownNameError
            When there is neither; the nearest match is in the message.
        StoreError
            When the file holds no pixel classifier, or one of other features.
        """
        text = os.fspath(name_or_path)
        path = shipped().get(text, Path(text))
        if not path.is_file():
            raise unknown("pixel classifier", text, shipped())
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise StoreError(f"{path} holds no pixel classifier: {error}") from error
        if not isinstance(values, dict) or values.get("format") != FORMAT:
            raise StoreError(f"{path} holds no pixel classifier: expected format {FORMAT!r}")
        if of_pixels and tuple(values["features"]) != FEATURES:
            raise StoreError(f"{path} was fitted to other features", mend="fit it again with this release")
        return cls(**{key: _plain(values[key]) for key in cls.__dataclass_fields__ if key in values})


def shipped() -> dict[str, Path]:
    """Return the pixel classifiers that ship with Coverslip, by name."""
    return {path.stem: path for path in sorted(Path(__file__).parent.glob("*.json"))}


def fit_pixels(
    features: NDArray[np.float32],
    labels: NDArray[np.integer[Any]],
    *,
    classes: tuple[str, ...],
    name: str,
    mpp: float,
    columns: tuple[str, ...] = FEATURES,
    balanced: bool = True,
) -> PixelModel:
    """Fit a classifier of pixels, or of objects.

    Parameters
    ----------
    features
        float32 (n, d), as of `features_of`.
    labels
        (n,), index into `classes`.
    columns
        Names of the features: `FEATURES`, or measurements of objects.
    balanced
        Let classes count alike, however many rows each has; else each row, so that probabilities are those
        of the sample.

    Raises
    ------
    UsageError
        When a class has no pixel.
    """
    from sklearn.neural_network import MLPClassifier

    counts = np.bincount(labels, minlength=len(classes))
    if len(counts) > len(classes) or not counts.all():
        raise UsageError(
            f"pixels per class are {counts.tolist()} for {len(classes)} classes: expected some of each"
        )
    rng = np.random.default_rng(0)
    share = int(np.median(counts))
    rows = np.concatenate([rng.choice(np.flatnonzero(labels == c), share) for c in range(len(classes))])
    mean, sd = features[rows].mean(axis=0), features[rows].std(axis=0) + 1e-6
    network = MLPClassifier(
        (UNITS,),
        max_iter=200,
        batch_size=int(np.clip(len(rows) // 30, 16, 1024)),
        learning_rate_init=3e-3,
        alpha=1e-4,
        early_stopping=True,
        n_iter_no_change=12,
        random_state=0,
    )
    network.fit((features[rows] - mean) / sd, labels[rows])
    (hidden, out), (hidden_bias, out_bias) = network.coefs_, network.intercepts_
    if len(classes) == 2:  # one output: as two, so that all models are alike
        out, out_bias = np.hstack([0 * out, out]), np.array([0.0, *out_bias])
    if not balanced:  # back to how frequent classes are (Saerens 2002)
        out_bias = out_bias + np.log(counts / counts.sum())
    return PixelModel(
        name,
        classes,
        mpp,
        ("haematoxylin", "eosin"),
        _numbers(mean),
        _numbers(sd),
        _rows(hidden),
        _numbers(hidden_bias),
        _rows(out),
        _numbers(out_bias),
        features=columns,
    )


def _numbers(values: Any) -> tuple[float, ...]:
    return tuple(float(f"{value:.5g}") for value in values)


def _rows(values: Any) -> Weights:
    return tuple(_numbers(row) for row in values)


def _plain(value: Any) -> Any:
    return tuple(_plain(part) for part in value) if isinstance(value, list) else value
