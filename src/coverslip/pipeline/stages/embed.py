"""What an encoder says of the tiles."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from coverslip.core.errors import UsageError
from coverslip.models import Encoder, encoder_card, load_encoder
from coverslip.models.card import ModelCard
from coverslip.models.encoder import Runtime
from coverslip.models.network import file_digest
from coverslip.models.pinned import pin
from coverslip.pipeline.stage import NOTES, chosen
from coverslip.slides import Slide
from coverslip.store import FeatureStream, Resume
from coverslip.tiles import Batch, Tiles, stream

DEFAULT = "resnet18"

Rows = tuple[NDArray[np.float16], NDArray[np.int32]]


@dataclass(frozen=True)
class EmbedStage:
    """Turn tiles into features with an encoder; float16, in the order of the tiles.

    The back end and its precision change the last digits, so they are parameters like any other and stand
    in the provenance of the features.

    Parameters
    ----------
    encoder
        A name of ``coverslip models list``. With `model` it is filled in: the model's name and the begin of
        its weights' digest.
    model
        Instead: a model folder that ``coverslip train`` made with method tiles; what its head sees is taken.
    weights
        A safetensors file of the encoder's network; None takes the published weights from the hub's cache.
    weights_digest
        SHA-256 of that file, as ``sha256:…``. Filled in when not given; checked when given.
    backend, precision, device, threads, batch
        See `coverslip.models.encoder.Runtime`.

    Raises
    ------
    UnknownNameError
        When there is no such encoder, back end, precision or device.
    MissingExtraError
        When the back end is not installed.
    StoreError
        When the weights are not there, or not those of `weights_digest`.
    """

    name: ClassVar[str] = "embed"
    version: ClassVar[int] = 2

    encoder: str = DEFAULT
    model: str | None = None
    weights: str | None = None
    weights_digest: str | None = None
    backend: Literal["torch", "torch-compile", "openvino", "onnx"] = "torch"
    precision: Literal["f32", "bf16"] = "f32"
    device: Literal["cpu", "cuda"] = "cpu"
    threads: int = 2
    batch: int = 64

    def __post_init__(self) -> None:
        if self.model is not None:
            self._take_model(self.model)
            return
        self._runtime(encoder_card(self.encoder).tile_px).require_packages()
        if self.weights is not None:
            pin(self, "weights_digest", file_digest(self.weights), what=str(self.weights))

    def _take_model(self, path: str) -> None:
        from coverslip.models.folder import ModelFolder
        from coverslip.models.folder_encoder import encoder_name

        if self.weights is not None:
            raise UsageError("both model and weights are given", mend="give one: a model brings its weights")
        found = ModelFolder.load(path)
        self._runtime(int(found.card.tile_px or 1)).require_packages()
        name = encoder_name(found)
        if self.encoder not in (DEFAULT, name):
            raise UsageError(
                f"the features of {path} are called {name!r}, and the recipe names encoder {self.encoder!r}",
                mend="leave encoder out: a model brings its own name",
            )
        object.__setattr__(self, "encoder", name)
        pin(self, "weights_digest", found.digest, what=path)

    def reads(self) -> tuple[str, ...]:
        """Return the key of the tiles."""
        return ("tiles",)

    def writes(self) -> tuple[str, ...]:
        """Return the key of the features."""
        return (f"features/{self.encoder}",)

    def run(self, slide: Slide, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        """Encode the tiles, after those that an earlier run left.

        Raises
        ------
        UsageError
            When the encoder was trained on tiles of another size or mpp.
        """
        tiles: Tiles = chosen(inputs, "tiles")
        card, key = self._card(), self.writes()[0]
        card.check_tiles(tiles.spec.size, tiles.mpp)
        start = inputs.get("resume", Resume()).rows(key)
        notes: list[str] = []
        features = FeatureStream(
            card.id,
            self._rows(slide, tiles.take(np.arange(start, len(tiles))), notes),
            d=card.dim,
            n=len(tiles),
            dtype="float16",
            tile_px=tiles.spec.size,
            tile_side=tiles.side_px,
            mpp=tiles.mpp,
        )
        return {key: features, NOTES: notes}

    def _card(self) -> ModelCard:
        return encoder_card(self.encoder) if self.model is None else self._from_model(self.model)[0]

    def _loaded(self, runtime: Runtime) -> Encoder:
        if self.model is None:
            return load_encoder(self.encoder, weights=self.weights, runtime=runtime)
        return Encoder(*self._from_model(self.model), runtime)

    @staticmethod
    def _from_model(path: str) -> tuple[ModelCard, Any]:
        from coverslip.models.folder import ModelFolder
        from coverslip.models.folder_encoder import folder_encoder

        return folder_encoder(ModelFolder.load(path))

    def _runtime(self, size: int) -> Runtime:
        return Runtime(
            backend=self.backend,
            precision=self.precision,
            device=self.device,
            threads=self.threads,
            batch=self.batch,
            size=size,
        )

    def _rows(self, slide: Slide, tiles: Tiles, notes: list[str]) -> Iterator[Rows]:
        if not len(tiles):
            return
        encoder = self._loaded(self._runtime(tiles.spec.size))
        unread = 0
        for batch, values in encoded(encoder, stream(slide, tiles, batch_size=self.batch, threads=1)):
            unread += int(batch.missing.sum())
            notes += (error for error in batch.errors if error not in notes)
            yield values, tiles.xy[batch.index]
        if unread:
            notes.insert(0, f"{unread} of {len(tiles)} tiles could not be read and have no features")


def encoded(encoder: Encoder, batches: Iterator[Batch]) -> Iterator[tuple[Batch, NDArray[np.float16]]]:
    """Yield each batch with its features; a tile that could not be read has NaN in its whole row."""
    waiting: deque[Batch] = deque()

    def pixels() -> Iterator[NDArray[np.uint8]]:
        for batch in batches:
            waiting.append(batch)
            yield batch.pixels

    for features in encoder.stream(pixels()):
        batch = waiting.popleft()
        with np.errstate(over="ignore"):  # what does not fit is refused below, with words
            values = features.astype(np.float16)
        if not np.isfinite(values[~batch.missing]).all():
            raise UsageError(
                f"encoder {encoder.card.id!r} gives features that are no numbers or beyond float16 (65,504)",
                mend="check its weights, and try --set embed.precision=f32",
            )
        values[batch.missing] = np.nan
        yield batch, values
