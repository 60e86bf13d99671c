"""Learning one classifier of pictures: network, loss, loop, model folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from coverslip.core.errors import UsageError
from coverslip.learn.classify.augment import AugmentSpec
from coverslip.learn.classify.module import LossSpec
from coverslip.learn.classify.specs import NetworkSpec
from coverslip.learn.fit import FitSpec, Fitted, fit
from coverslip.learn.told import Listen, Told
from coverslip.models.classifiers import TEXTURE, build_classifier, load_pretrained, normalisation
from coverslip.models.folder import CARD, FolderCard, ModelFolder
from coverslip.models.picture_classifier import PictureClassifier

if TYPE_CHECKING:
    import torch

    from coverslip.learn.classify.module import Classifying

IMAGENET = "imagenet"

Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Gathered:
    """Pictures to learn from and to judge, and whose they are.

    Attributes
    ----------
    pixels
        uint8 (n, side, side, 3), mapped from the disk.
    owner
        Row of the cohort that each belongs to, (n,).
    codes
        Class of each, (n,); -1 where it teaches nothing.
    """

    pixels: NDArray[np.uint8]
    owner: Rows
    codes: Rows

    def of(self, rows: Rows, *, taught: bool = False) -> Rows:
        """Return the pictures of some rows of the cohort; those with a class alone if `taught`."""
        wanted = np.isin(self.owner, rows)
        return np.flatnonzero(wanted & (self.codes >= 0) if taught else wanted)


@dataclass(frozen=True, kw_only=True)
class Learner:
    """What is learned, and how.

    Attributes
    ----------
    card
        All of the model's card that is known before: classes, side, mpp, cohort, ….
    """

    network: NetworkSpec
    loss: LossSpec
    augment: AugmentSpec
    fit: FitSpec
    card: FolderCard

    def check(self) -> dict[str, int]:
        """Build the network, with its weights if it begins with any; return numbers of weights.

        Raises
        ------
        CoverslipError
            When it cannot be built, or the weights cannot be had or do not match; when it takes pictures of
            one size alone, and `AugmentSpec.crop` would give it smaller ones.
        """
        network = self._built()
        if self.augment.crop < 1 and getattr(getattr(network, "patch_embed", None), "strict_img_size", False):
            raise UsageError(
                f"{self.network.name} takes pictures of one size alone, and augment.crop makes smaller ones",
                mend="leave crop out, or take a network that pools",
            )
        module = self._module(network, None)
        total = sum(p.numel() for p in network.parameters())
        learned = sum(p.numel() for p in module.parameters() if p.requires_grad)
        return {"weights": total, "learned": learned}

    def learn(
        self, gathered: Gathered, parts: tuple[Rows, Rows], folder: Path, *, listen: Listen, **more: Any
    ) -> PictureClassifier:
        """Learn from pictures `parts[0]`, choose the epoch on `parts[1]`; return the model, kept in `folder`.

        Parameters
        ----------
        more
            Fields of the card: splits, ….

        Raises
        ------
        UsageError
            When a part lacks what it needs, or training diverges.
        """
        if not (folder / CARD).exists():
            fitted = self._fitted(gathered, parts, folder, listen)
            prefix = "network."
            state = {k.removeprefix(prefix): v for k, v in fitted.state().items() if k.startswith(prefix)}
            if self.card.parameters.get(TEXTURE):
                state = self._with_texture(state, gathered, parts[0])
            metrics = {
                "epochs": fitted.epochs,
                "epoch": fitted.epoch,
                self.fit.monitor.lstrip("-"): fitted.best,
            }
            ModelFolder.save(folder, state, replace(self.card, metrics=metrics, **more))
        return self.load(folder)

    def _with_texture(
        self, state: Mapping[str, torch.Tensor], gathered: Gathered, rows: Rows
    ) -> dict[str, torch.Tensor]:
        """Return the weights of a network and of the texture learned beside it, from the same rows."""
        from coverslip.learn.classify.texture_fit import learned

        balanced = self.loss.imbalance != "none"
        beside = learned(gathered.pixels, rows, gathered.codes[rows], self.card, balanced=balanced)
        return {f"network.{name}": value for name, value in state.items()} | {
            f"texture.{name}": value for name, value in beside.items()
        }

    def load(self, folder: Path) -> PictureClassifier:
        """Load what `learn` kept."""
        precision = "bf16" if self.fit.precision == "bf16" else "f32"
        where: dict[str, Any] = {"device": self.fit.device, "threads": self.fit.threads}
        return PictureClassifier.load(folder, precision=precision, **where)  # type: ignore[arg-type]

    def _fitted(self, gathered: Gathered, parts: tuple[Rows, Rows], folder: Path, listen: Listen) -> Fitted:
        from coverslip.learn.classify.pictures import PictureRows
        from coverslip.learn.loading import balancing, loader
        from coverslip.learn.loop import seed_everything

        train, val = parts
        codes = gathered.codes[train]
        self._require_classes(codes)
        rows = PictureRows(gathered.pixels, train, codes, self.augment, self.fit.seed)
        chances = balancing(codes) if self.loss.imbalance == "sampling" else None
        checked = None
        if len(val):
            held = PictureRows(gathered.pixels, val, gathered.codes[val], None, self.fit.seed)
            checked = loader(held, self.fit, train=False, batch_size=2 * self.fit.batch_size)
        seed_everything(self.fit.seed)
        return fit(
            self._module(self._built(), codes),
            loader(rows, self.fit, train=True, weights=chances),
            checked,
            spec=self.fit,
            folder=folder / "fit",
            listen=listen,
        )

    def _require_classes(self, codes: Rows) -> None:
        counts = np.bincount(codes, minlength=len(self.card.classes))
        missing = [name for name, count in zip(self.card.classes, counts, strict=True) if not count]
        if missing:
            raise UsageError(
                f"no picture of class {', '.join(missing)} is there to learn from",
                mend="add some, ask for fewer folds, or draw regions of it",
            )

    def _built(self) -> torch.nn.Module:
        spec = self.network
        network = build_classifier(spec.name, len(self.card.classes), spec.parameters)
        if spec.transfer != "scratch":
            load_pretrained(network, spec.name, IMAGENET if spec.weights is None else str(spec.weights))
        return network

    def _module(self, network: torch.nn.Module, codes: Rows | None) -> Classifying:
        from coverslip.learn.classify.module import Classifying, class_weights

        weighted = self.loss.imbalance == "weights" and codes is not None
        return Classifying(
            network,
            scale=normalisation(self.network.name),
            loss=self.loss,
            weights=class_weights(codes, len(self.card.classes)) if weighted and codes is not None else None,
            transfer=self.network.transfer,
            blocks=self.network.blocks,
            decay=self.network.layer_decay,
        )


def telling(listen: Listen, what: str) -> Listen:
    """Return a listener that puts `what` before what it hears."""

    def heard(told: Told) -> None:
        listen(replace(told, what=f"{what}: {told.what}"))

    return heard


def scale_of(name: str) -> Mapping[str, Any]:
    """Return mean and std of a network's input as a card holds them."""
    mean, std = normalisation(name)
    return {"mean": mean, "std": std}
