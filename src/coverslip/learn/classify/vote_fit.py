"""Aggregation that is learned: fitted on a fold's training slides, chosen on its validation slides."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from coverslip.cohort import Fold
from coverslip.core import unknown
from coverslip.core.errors import UsageError
from coverslip.learn.told import Listen, Told
from coverslip.models.folder import ModelFolder
from coverslip.models.slide_classifier import READER, SPAN, Judged, SlideClassifier, votes_card
from coverslip.models.votes import LEARNED, RULES, histogram
from coverslip.slides import open_slide
from coverslip.tiles import stream

if TYPE_CHECKING:
    from coverslip.learn.classify.learner import Gathered
    from coverslip.learn.classify.runs import TaskRun
    from coverslip.learn.classify.slide_tiles import SlideTiles
    from coverslip.models.picture_classifier import PictureClassifier

STRENGTHS = (0.01, 0.1, 1.0, 10.0, 100.0)
"""Inverse strengths of the ridge that are tried."""

EPOCHS = 200
BATCH = 64

Rows = NDArray[np.int64]
Told2 = tuple["Gathered", "TaskRun", Fold]


@dataclass(frozen=True, kw_only=True)
class VotesSpec:
    """How the slide follows from its tiles.

    Parameters
    ----------
    rule
        ``mean``, ``max``, ``top-k``, ``majority``, ``noisy-or``; or learned: ``histogram`` (logistic
        regression on the histogram of the tiles' probabilities) or ``lstm`` (over the most suspicious tiles).
    top
        Tiles that ``top-k`` averages.
    also
        Other rules, not learned, whose predictions are written beside.
    """

    rule: Literal["mean", "max", "top-k", "majority", "noisy-or", "histogram", "lstm"] = "top-k"
    top: int = 10
    also: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.top < 1:
            raise UsageError(f"top {self.top} cannot be: expected 1 or more")
        for name in self.also:
            if name not in RULES:
                raise unknown("rule of aggregation without learning", name, RULES)
        if self.rule in self.also:
            raise UsageError(f"{self.rule} is the rule, and stands under also", mend="leave it out there")


def fitted_votes(
    work: SlideTiles, model: PictureClassifier, folder: Path, told: Told2, listen: Listen
) -> SlideClassifier:
    """Return the fold's judge with its aggregation, which is kept in the model folder.

    Raises
    ------
    UsageError
        When a class has no training slide.
    """
    kept = ModelFolder.load(folder)
    done = load_votes(model, kept)
    if done is not None:
        return done
    _, made, fold = told
    seen: dict[int, Judged] = {}
    wanted = np.concatenate([fold.train, fold.val])
    for place, row in enumerate(wanted.tolist()):
        listen(Told("judging slides to learn the aggregation", place + 1, len(wanted)))
        seen[row] = _seen(work, made, model, row)
    if work.task.votes.rule == "histogram":
        x = {row: histogram(each.chances) for row, each in seen.items()}
        head = fit_head(x, work.codes, (fold.train, fold.val), len(work.classes))
        votes = votes_card("histogram", work.task.votes.top, head)
        state = kept.state()
    else:
        features = {row: each.suspicious(SPAN) for row, each in seen.items()}
        reader = fit_reader(features, work.codes, (fold.train, fold.val), len(work.classes))
        votes = votes_card("lstm", work.task.votes.top)
        state = kept.state() | {READER + name: value for name, value in reader.state_dict().items()}
    card = replace(kept.card, preprocessing={**kept.card.preprocessing, "votes": {**votes, "fitted": True}})
    whole = load_votes(model, ModelFolder.save(folder, state, card))
    return whole if whole is not None else SlideClassifier(model)


def load_votes(model: PictureClassifier, kept: ModelFolder) -> SlideClassifier | None:
    """Return the judge whose aggregation was fitted; None when it was not."""
    votes = kept.card.preprocessing.get("votes", {})
    if votes.get("rule") in LEARNED and not votes.get("fitted"):
        return None
    reader = {k.removeprefix(READER): v for k, v in kept.state().items() if k.startswith(READER)}
    return SlideClassifier(_with(model, votes), reader)


def _with(model: PictureClassifier, votes: dict[str, Any]) -> PictureClassifier:
    """Return the classifier with another aggregation on its card."""
    import copy

    changed = copy.copy(model)
    changed.card = replace(model.card, preprocessing={**model.card.preprocessing, "votes": votes})
    return changed


def _seen(work: SlideTiles, made: TaskRun, model: PictureClassifier, row: int) -> Judged:
    source = work.cohort.to_sources()[row]
    tiles = made.run.get(source.id, "tiles")
    with open_slide(source.path, mpp=source.mpp) as slide:
        batches = stream(slide, tiles, batch_size=BATCH, threads=work.task.fit.threads)
        seen = Judged(np.full((len(tiles), len(work.classes)), np.nan, np.float32))
        for batch in batches:
            good = ~batch.missing
            rows = batch.index[good]
            if len(rows):
                seen.chances[rows] = model.probabilities(batch.pixels[good])
                if work.task.votes.rule == "lstm":
                    seen.keep(rows, model.features(batch.pixels[good]), SPAN)
    return seen


def fit_head(
    x: dict[int, NDArray[np.float64]], codes: Rows, parts: tuple[Rows, Rows], classes: int
) -> dict[str, Any]:
    """Return weight (k, d) and bias (k,) of a logistic regression; its ridge is chosen on `parts[1]`.

    Examples
    --------
    >>> x = {i: np.array([float(i % 2), 1.0]) for i in range(12)}
    >>> rows = np.arange(8), np.arange(8, 12)
    >>> head = fit_head(x, np.arange(12) % 2, rows, 2)
    >>> bool(np.subtract(*np.array(head["weight"])[:, 0]) < 0)
    True
    """
    from sklearn.linear_model import LogisticRegression

    train, val = parts
    best, kept = np.inf, None
    for strength in STRENGTHS:
        model = LogisticRegression(C=strength, max_iter=2000)
        model.fit(np.stack([x[r] for r in train.tolist()]), codes[train])
        if not len(val):
            kept = model
            continue
        said = model.predict_proba(np.stack([x[r] for r in val.tolist()]))
        place = {int(code): i for i, code in enumerate(model.classes_)}
        chances = [said[i, place[c]] if c in place else 1e-9 for i, c in enumerate(codes[val].tolist())]
        loss = -float(np.log(np.maximum(chances, 1e-9)).mean())
        if loss < best:
            best, kept = loss, model
    if kept is None or len(kept.classes_) != classes:
        raise UsageError(
            "a class has no training slide, so no aggregation can be learned", mend="fewer folds"
        )
    weight, bias = kept.coef_, kept.intercept_
    if classes == 2:
        weight, bias = np.vstack([-weight / 2, weight / 2]), np.array([-bias[0] / 2, bias[0] / 2])
    return {"weight": weight.tolist(), "bias": bias.tolist()}


def fit_reader(x: dict[int, NDArray[np.float32]], codes: Rows, parts: tuple[Rows, Rows], classes: int) -> Any:
    """Return an LSTM over the most suspicious tiles; its epoch is chosen on `parts[1]`."""
    import torch
    from torch.nn.functional import cross_entropy

    from coverslip.learn.loop import seed_everything
    from coverslip.models.votes_lstm import TileReader

    seed_everything(0)
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # so small a network only waits for a second thread
    first, second = (_tensors(x, codes, part) for part in parts)
    if first is None:
        raise UsageError("there is no training slide")
    reader = TileReader(first[0].shape[2], classes)
    optimiser = torch.optim.AdamW(reader.parameters(), lr=1e-3, weight_decay=0.05)
    best, kept = np.inf, reader.state_dict()
    for _ in range(EPOCHS):
        reader.train()
        loss = cross_entropy(reader(first[0]), first[1])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        reader.eval()
        with torch.inference_mode():
            held = first if second is None else second
            score = float(cross_entropy(reader(held[0]), held[1]))
        if score < best:
            best, kept = score, {name: value.clone() for name, value in reader.state_dict().items()}
    torch.set_num_threads(before)
    reader.load_state_dict(kept)
    return reader.eval().requires_grad_(False)


def _tensors(x: dict[int, NDArray[np.float32]], codes: Rows, rows: Rows) -> Any:
    """Return features and codes of some slides; None of no slide."""
    import torch

    if not len(rows):
        return None
    return torch.from_numpy(np.stack([x[row] for row in rows.tolist()])), torch.from_numpy(codes[rows])
