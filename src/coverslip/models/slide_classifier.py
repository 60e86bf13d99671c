"""A trained classifier of tiles on a whole slide: tiles, then the slide."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from coverslip.models.folder import ModelFolder
from coverslip.models.picture_classifier import AGGREGATION, PictureClassifier
from coverslip.models.votes import LEARNED, head_says, histogram, voted

if TYPE_CHECKING:
    import torch

    from coverslip.tiles.stream import Batch

READER = AGGREGATION

SPAN = 20
"""Tiles that a recurrent aggregation reads."""


class SlideClassifier:
    """Tiles of a slide → probabilities of each, and of the slide.

    Parameters
    ----------
    tiles
        Judges tiles. Its card's ``preprocessing["votes"]`` holds ``rule``, ``top`` and, of ``histogram``, the
        ``head``.
    reader
        Weights of the recurrent aggregation, where the rule is ``lstm``.
    """

    def __init__(self, tiles: PictureClassifier, reader: Mapping[str, torch.Tensor] | None = None) -> None:
        self.tiles = tiles
        votes = tiles.card.preprocessing.get("votes", {"rule": "mean"})
        self.rule, self.top, self._head = votes["rule"], int(votes.get("top", 10)), votes.get("head")
        self._reader = None
        if self.rule == "lstm" and reader:
            from coverslip.models.votes_lstm import reader_of

            self._reader = reader_of(dict(reader))

    @classmethod
    def load(cls, model: ModelFolder, **options: Any) -> Self:
        """Load a model folder; options are those of `PictureClassifier.load`."""
        state = model.state()
        reader = {k.removeprefix(READER): v for k, v in state.items() if k.startswith(READER)}
        return cls(PictureClassifier.load(model, **options), reader)

    def judge(self, batches: Iterator[Batch], count: int) -> Judged:
        """Judge all `count` tiles of a slide; unreadable ones are NaN.

        Raises
        ------
        UsageError
            When no tile could be read.
        """
        seen = Judged(np.full((count, len(self.tiles.classes)), np.nan, np.float32))
        for batch in batches:
            good = ~batch.missing
            if good.any():
                rows = batch.index[good]
                seen.chances[rows] = self.tiles.probabilities(batch.pixels[good])
                if self._reader is not None:
                    seen.keep(rows, self.tiles.features(batch.pixels[good]), SPAN)
            seen.errors += [error for error in batch.errors if error not in seen.errors]
        return seen

    def slide(self, seen: Judged) -> NDArray[np.float64]:
        """Return the slide's probabilities (k,)."""
        if self.rule not in LEARNED:
            return voted(seen.chances, self.rule, top=self.top)
        if self.rule == "histogram":
            return head_says(self._head or {}, histogram(seen.chances))
        import torch

        if self._reader is None:
            return voted(seen.chances, "mean")
        with torch.inference_mode():
            scores = self._reader(torch.from_numpy(seen.suspicious(SPAN))[None])[0]
            return scores.double().softmax(dim=0).numpy()


class Judged:
    """What was said of a slide's tiles so far.

    Attributes
    ----------
    chances
        float32 (n, k), NaN where nothing was said.
    errors
        What was wrong with tiles that could not be read.
    """

    def __init__(self, chances: NDArray[np.float32]) -> None:
        self.chances = chances
        self.errors: list[str] = []
        self._rows = np.zeros(0, np.int64)
        self._features = np.zeros((0, 0), np.float32)

    def keep(self, rows: NDArray[np.int64], features: NDArray[np.float32], most: int) -> None:
        """Keep the features of the `most` tiles that are most suspicious so far."""
        if not len(self._rows):
            self._features = np.zeros((0, features.shape[1]), np.float32)
        self._rows = np.concatenate([self._rows, rows])
        self._features = np.concatenate([self._features, features])
        order = np.argsort(-self.suspicion(self._rows), kind="stable")[:most]
        self._rows, self._features = self._rows[order], self._features[order]

    def suspicion(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return how suspicious tiles are: the probability that they are not of the first class."""
        return np.asarray(1 - self.chances[rows, 0], np.float32)

    def suspicious(self, most: int) -> NDArray[np.float32]:
        """Return the features of the most suspicious tiles (most, d); of fewer, the last are repeated."""
        place = np.minimum(np.arange(most), len(self._rows) - 1)
        return np.ascontiguousarray(self._features[place])


def votes_card(rule: str, top: int, head: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return what a card says of the aggregation."""
    return {"rule": rule, "top": top, **({"head": dict(head)} if head else {})}
