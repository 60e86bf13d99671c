"""Every nucleus of the slide, by the model that ships with Coverslip or one of the user's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

from coverslip.core.errors import UsageError
from coverslip.models.folder import ModelFolder
from coverslip.models.nuclei.classes import NucleusClasses, classifier_at
from coverslip.models.nuclei.detector import SHIPPED, Detector, load_nuclei
from coverslip.models.nuclei.peers import peer_of
from coverslip.models.nuclei.slide import CLASSES, described, nuclei_of_slide, parts_of
from coverslip.models.pinned import pin
from coverslip.pipeline.stage import LIMITED, NOTES, chosen
from coverslip.slides import Slide
from coverslip.store import ObjectStream, ObjectTable, Resume
from coverslip.tiles import Tiles

KEY = "objects/nuclei"


@dataclass(frozen=True)
class NucleiStage:
    """Find nuclei as polygons, each owned by the tile on which its centre lies.

    Where a recipe limits the stage to regions, nuclei are kept whose centre lies in one.

    Parameters
    ----------
    model
        Model folder; None takes the one that ships with Coverslip, and ``phantom-nuclei`` the small one that
        serves phantoms only. ``stardist:PATH``, ``cellpose:PATH`` and ``instanseg:PATH`` take another's: see
        docs/how-to/nuclei.md.
    options
        Of another's model: how it is applied.
    weights_digest
        SHA-256 of the model's weights, as ``sha256:…``. Filled in when not given; checked when given.
    classifier
        Model folder of ``coverslip train`` (``task: nuclei-classes``) that gives each nucleus a class; it
        belongs to the nuclei model that it was trained with. None: all are of the class ``nucleus``.
    classifier_digest
        SHA-256 of its weights. Filled in when not given; checked when given.
    precision
        ``"bf16"`` is several times as fast where the processor has instructions for it; nuclei differ little.
        Of our own network only.
    threads
        CPU threads of the network.

    Raises
    ------
    StoreError
        When a model is not there, not that of its digest, or the classifier is another model's.
    UsageError
        When there is no such precision, or no thread; when there are options and the model is ours, or a
        classifier and it is not.
    """

    name: ClassVar[str] = "nuclei"
    version: ClassVar[int] = 2

    model: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    weights_digest: str | None = None
    classifier: str | None = None
    classifier_digest: str | None = None
    precision: Literal["f32", "bf16"] = "bf16"
    threads: int = 1

    def __post_init__(self) -> None:
        if self.precision not in ("f32", "bf16"):
            raise UsageError(f"precision {self.precision!r} is unknown", mend="give f32 or bf16")
        if self.threads < 1:
            raise UsageError(f"{self.threads} threads cannot be", mend="give 1 or more")
        pin(self, "weights_digest", self._model_digest(), what="the nuclei model")
        if self.classifier is not None:
            head = classifier_at(self.classifier, network=self.weights_digest)
            pin(self, "classifier_digest", head.digest, what="the classifier")
        elif self.classifier_digest is not None:
            raise UsageError("classifier_digest names no classifier", mend="give the classifier as well")

    def _model_digest(self) -> str:
        peer = peer_of(self.model)
        if peer is None:
            if self.options:
                raise UsageError(
                    f"options {self.options} are for models of others, this one is ours",
                    mend="leave them out, or name such a model: stardist:PATH, cellpose:PATH, instanseg:PATH",
                )
            return ModelFolder.load(self.model or SHIPPED).digest
        if self.classifier is not None:
            raise UsageError(
                f"a classifier reads what our own network saw, and {self.model} is another's",
                mend="leave the classifier out; classify-objects goes by measurements alone",
            )
        peer.check(self.options)
        return peer.digest

    def _head(self) -> NucleusClasses | None:
        if self.classifier is None:
            return None
        return NucleusClasses.load(self.classifier, network=self.weights_digest)

    def classes(self) -> tuple[str, ...]:
        """Return the classes that ``within`` and ``where`` may name."""
        return CLASSES if self.classifier is None else classifier_at(self.classifier).card.classes

    def reads(self) -> tuple[str, ...]:
        """Return the keys of tissue and tiles."""
        return ("tissue", "tiles")

    def writes(self) -> tuple[str, ...]:
        """Return the key of the nuclei."""
        return (KEY,)

    def run(self, slide: Slide, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        """Find the nuclei, after the parts that an earlier run left.

        Raises
        ------
        UsageError
            When the tiles do not have the model's mpp.
        MissingExtraError
            When torch is not installed.
        """
        tiles: Tiles = chosen(inputs, "tiles")
        start = inputs.get("resume", Resume()).parts(KEY)
        notes: list[str] = []
        detector, head = self._detector(), self._head()
        parts = nuclei_of_slide(detector, slide, tiles, start=start, notes=notes, head=head)
        if LIMITED in inputs:
            parts = _inside(parts, chosen(inputs, "tissue").polygons)
        classes, measurements = described(head)
        found = ObjectStream(
            self._on_threads(parts),
            n=parts_of(tiles),
            classes=classes,
            mpp=slide.mpp,
            measurements=measurements,
            notes={"model": self.weights_digest, "model_mpp": detector.mpp},
        )
        return {KEY: found, NOTES: notes}

    def _detector(self) -> Detector:
        peer = peer_of(self.model)
        if peer is not None:
            return peer.open(self.options)
        ours = load_nuclei(self.model, precision=self.precision)
        return ours if self.classifier is None else replace(ours, describes=True)

    def _on_threads(self, parts: Iterator[ObjectTable]) -> Iterator[ObjectTable]:
        """Set torch's threads only while a part is made: they are the process's, not ours."""
        while True:
            with torch_threads(self.threads):
                part = next(parts, None)
            if part is None:
                return
            yield part


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let torch use so many threads meanwhile."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _inside(parts: Iterator[ObjectTable], polygons: tuple[Any, ...]) -> Iterator[ObjectTable]:
    """Keep the objects whose centre lies in one of the polygons."""
    import shapely

    region = shapely.union_all(list(polygons))
    shapely.prepare(region)
    for part in parts:
        x, y = part.xy.T
        yield part.take(shapely.contains_xy(region, x, y)) if len(part) else part
