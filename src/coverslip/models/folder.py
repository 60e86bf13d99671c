"""A trained model on disk: ``weights.safetensors`` and ``card.json``, nothing that can run code."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from coverslip._version import __version__
from coverslip.core.errors import MissingExtraError, StoreError, UsageError
from coverslip.core.files import atomic
from coverslip.models.network import file_digest

if TYPE_CHECKING:
    import torch

WEIGHTS, CARD = "weights.safetensors", "card.json"
TYPE, VERSION = "coverslip model", 1

SHIPPED = {f"phantom-{name}": Path(__file__).parent / "phantoms" / name for name in ("nuclei", "tissue")}
"""Models that ship with Coverslip, by the name that stands for their folder: they serve phantoms only."""

PICKLED = (".pt", ".pth", ".ckpt", ".pkl", ".bin")


@dataclass(frozen=True, kw_only=True)
class FolderCard:
    """What a trained model is, what it was trained on, and how well it did.

    Attributes
    ----------
    id
        Name of the model: letters, digits, ``. _ + -``.
    task
        Row of `coverslip.learn.tasks.TASKS`: ``"classify/tiles"``, ``"segment"``, …
    architecture, parameters
        What builds the network: a name that the task's builder knows, and its arguments (JSON types).
    classes
        In the order of the outputs.
    mpp, tile_px
        Scale and side of its input; None where it has none.
    mean, std
        Of the training pixels, per channel, on the scale 0 to 1.
    stain
        Of the training slides, e.g. ``"H&E"``; None where nobody said.
    licence
        Of the weights; None where nobody said.
    preprocessing
        How pixels become input, and outputs become results (JSON types).
    trained_on
        Name and digest of the cohort, number of rows.
    splits
        Digest of ``splits.json``, fold, rows per part.
    metrics
        Figures of rows that did not train it.
    weights_sha256
        ``sha256:…`` of the weights file; filled in by `ModelFolder.save`.
    coverslip
        Version that saved it.
    """

    id: str
    task: str
    architecture: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    mpp: float | None = None
    tile_px: int | None = None
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    stain: str | None = None
    licence: str | None = None
    preprocessing: Mapping[str, Any] = field(default_factory=dict)
    trained_on: Mapping[str, Any] = field(default_factory=dict)
    splits: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    weights_sha256: str = ""
    coverslip: str = __version__

    def __post_init__(self) -> None:
        for name in ("classes", "mean", "std"):
            value = getattr(self, name)
            object.__setattr__(self, name, None if value is None else tuple(value))

    def require_task(self, task: str) -> None:
        """Refuse a model of another task.

        Raises
        ------
        UsageError
            Naming both.
        """
        if self.task != task:
            raise UsageError(
                f"model {self.id} is for {self.task!r}, not for {task!r}",
                mend=f"give a model folder of ``task: {task}``",
            )


@dataclass(frozen=True)
class ModelFolder:
    """A model folder that was checked: it holds the weights that its card names.

    Made by `ModelFolder.save` and `ModelFolder.load`.
    """

    path: Path
    card: FolderCard

    @classmethod
    def save(cls, path: str | os.PathLike[str], state: Mapping[str, torch.Tensor], card: FolderCard) -> Self:
        """Write a model folder; the card is written last, so a folder with a card is whole.

        Parameters
        ----------
        state
            Name → tensor, as ``network.state_dict()`` gives it.

        Raises
        ------
        StoreError
            When it cannot be written.
        """
        from safetensors.torch import save_file

        folder = Path(path)
        (folder / CARD).unlink(missing_ok=True)  # an older card must not stand beside new weights
        with atomic(folder / WEIGHTS) as partial:
            save_file(
                {name: value.detach().cpu().contiguous().clone() for name, value in state.items()}, partial
            )
        whole = replace(card, weights_sha256=file_digest(str(folder / WEIGHTS)), coverslip=__version__)
        _write_card(folder, whole)
        return cls(folder, whole)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Open a model folder, or one of `SHIPPED` by name, and check that its weights are those of its card.

        Raises
        ------
        StoreError
            When card or weights are missing or damaged, of a later version, or do not belong together.
        UsageError
            When there are pickled weights instead.
        """
        folder = located(path)
        card = _card(folder)
        weights = folder / WEIGHTS
        if not weights.is_file():
            raise _no_weights(folder)
        if (found := file_digest(str(weights))) != card.weights_sha256:
            raise StoreError(
                f"{weights} has {found}, but the card names {card.weights_sha256}: other weights lie there",
                mend="copy the whole model folder anew, or train again",
            )
        return cls(folder, card)

    def noted(self, **trained_on: Any) -> ModelFolder:
        """Return the same model, of which the card on disk says more of what it was trained on."""
        card = replace(self.card, trained_on={**self.card.trained_on, **trained_on})
        _write_card(self.path, card)
        return ModelFolder(self.path, card)

    @property
    def digest(self) -> str:
        """SHA-256 of the weights: what identifies the model in a result's provenance."""
        return self.card.weights_sha256

    def state(self) -> dict[str, torch.Tensor]:
        """Read the weights.

        Raises
        ------
        StoreError
            When they cannot be read as safetensors.
        MissingExtraError
            When torch is not installed.
        """
        try:
            from safetensors import SafetensorError
            from safetensors.torch import load_file
        except ImportError as error:
            raise MissingExtraError.of("torch", "torch") from error
        try:
            return load_file(self.path / WEIGHTS)
        except (SafetensorError, OSError) as error:
            raise StoreError(
                f"{self.path / WEIGHTS} cannot be read as safetensors: {error}", mend="copy it anew"
            ) from error

    def into(self, network: torch.nn.Module, *, ignore: str | None = None) -> torch.nn.Module:
        """Put the weights into `network` and return it, ready to infer.

        Parameters
        ----------
        ignore
            Prefix of weights that are not the network's.

        Raises
        ------
        UsageError
            When names or shapes of the tensors are not those of the network.
        """
        state, wanted = self.state(), network.state_dict()
        if ignore is not None:
            state = {name: value for name, value in state.items() if not name.startswith(ignore)}
        wrong = sorted(
            name for name in wanted.keys() | state.keys()
            if name not in wanted or name not in state or wanted[name].shape != state[name].shape
        )  # fmt: skip
        if wrong:
            raise UsageError(
                f"{self.path} does not hold weights of {self.card.architecture}: "
                f"{len(wrong)} tensors differ: {', '.join(wrong[:3])}",
                mend="its card was changed, or Coverslip builds another network now: train again",
            )
        network.load_state_dict(state)
        return network.eval().requires_grad_(False)


def located(name_or_path: str | os.PathLike[str]) -> Path:
    """Return the folder of a model that ships with Coverslip, by name, or the path itself."""
    return SHIPPED.get(os.fspath(name_or_path), Path(name_or_path))


def is_model_folder(path: str | os.PathLike[str]) -> bool:
    """Say whether `path` is a folder with a card, or with weights that lost theirs."""
    folder = Path(path)
    return folder.is_dir() and any((folder / name).exists() for name in (CARD, WEIGHTS))


def _write_card(folder: Path, card: FolderCard) -> None:
    with atomic(folder / CARD) as partial:
        record = {"type": TYPE, "version": VERSION, **asdict(card)}
        partial.write_text(json.dumps(record, indent=1, allow_nan=False), encoding="utf-8")


def _card(folder: Path) -> FolderCard:
    file = folder / CARD
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        if folder.is_file() and folder.suffix in PICKLED:
            raise _pickled(folder) from error
        near = difflib.get_close_matches(str(folder), SHIPPED, n=1)
        hint = f"did you mean {near[0]!r}, or " if near else ""
        raise StoreError(
            f"{folder} holds no model: {CARD} is missing",
            mend=f"{hint}give a folder that coverslip train wrote",
        ) from error
    except (OSError, ValueError) as error:
        raise StoreError(f"{file} cannot be read: {error}", mend="copy the model folder anew") from error
    if not isinstance(record, dict) or record.pop("type", None) != TYPE:
        raise StoreError(f"{file} is no card of a trained model", mend="give a folder of coverslip train")
    if (version := record.pop("version", 0)) > VERSION:
        raise StoreError(
            f"{file} is of version {version}; this release reads up to {VERSION}",
            mend="pip install --upgrade coverslip",
        )
    known = {each.name for each in fields(FolderCard)}
    try:
        return FolderCard(**{name: value for name, value in record.items() if name in known})
    except TypeError as error:
        raise StoreError(f"{file} is damaged: {error}", mend="copy the model folder anew") from error


def _no_weights(folder: Path) -> Exception:
    pickled = sorted(file for file in folder.iterdir() if file.suffix in PICKLED)
    if pickled:
        return _pickled(pickled[0])
    return StoreError(f"{folder} lacks {WEIGHTS}", mend="copy the whole model folder anew")


def _pickled(file: Path) -> UsageError:
    return UsageError(
        f"{file} is pickled: such weights can run code and are not loaded",
        mend="save them once with safetensors.torch.save_file(state_dict, 'weights.safetensors')",
    )
