"""Conformance checks for plug-ins: call them in the tests of a reader or a stage of your own."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coverslip.core import Size
from coverslip.core.errors import CoverslipError, RecipeError, SlideError
from coverslip.pipeline.parameters import build
from coverslip.pipeline.stage import GIVEN, LIMITED, NOTES, Casewise, Stage, parameters_of
from coverslip.pipeline.step import WORDS, Step, said_of
from coverslip.slides import Slide
from coverslip.slides.reader import HEAD_BYTES, Reader, paste
from coverslip.slides.source import head_of
from coverslip.store import (
    STREAMS,
    Derived,
    Features,
    Objects,
    ObjectTable,
    Provenance,
    Resume,
    RunFolder,
    StitchedMap,
)
from coverslip.tiles import Tiles
from coverslip.tissue import Tissue

WINDOWS = 8
"""Random windows compared per level."""

WIDEST = 700
"""Longest side of these windows."""

NOT_A_SLIDE = (b"", b"\0" * HEAD_BYTES, b"plain text\n" * 300, bytes(range(256)) * 16)


def check_reader(kind: type[Reader], path: str | os.PathLike[str], *, seed: int = 0) -> None:
    """Check that a reader keeps what `coverslip.slides.Reader` promises, on a slide that it reads.

    Parameters
    ----------
    kind
        The reader's class.
    path
        A slide of its format, a small one.
    seed
        Of the random windows.

    Raises
    ------
    AssertionError
        Names the promise that is broken.
    """
    name = os.fspath(path)
    _check_probe(kind, name)
    reader = kind.open(name)
    try:
        require(isinstance(reader, Reader), f"{kind.__name__} lacks methods or attributes of Reader")
        _check_facts(reader)
        rng = np.random.default_rng(seed)
        for level in range(len(reader.facts.levels)):
            _check_blocks(reader, level)
            _check_windows(reader, level, rng)
        _check_associated(reader)
    finally:
        reader.close()
    _check_closed(reader)


def require(kept: bool, promise: str) -> None:
    """Raise an AssertionError that names the promise unless it is kept."""
    if not kept:
        raise AssertionError(promise)


def _check_probe(kind: type[Reader], path: str) -> None:
    head = b"" if Path(path).is_dir() else head_of(path, HEAD_BYTES)
    require(0 < kind.probe(path, head) <= 1, "probe: a slide of the format scores above 0 and up to 1")
    for other in NOT_A_SLIDE:
        require(kind.probe("no-such-file.xyz", other) == 0, f"probe: {other[:12]!r} is no slide and scores 0")


def _check_facts(reader: Reader) -> None:
    facts = reader.facts
    sizes = [level.width * level.height for level in facts.levels]
    require(len(sizes) > 0 and min(sizes) > 0, "facts: there is a level, and none is empty")
    require(sizes == sorted(sizes, reverse=True), "facts: levels are sorted, finest first")
    require([level.index for level in facts.levels] == list(range(len(sizes))), "facts: levels count from 0")
    require(facts.levels[0].downsample == 1.0, "facts: level 0 has downsample 1")
    require(len(set(facts.channels)) == len(facts.channels) > 0, "facts: channels have distinct names")
    require(np.dtype(facts.dtype).kind in "uif", "facts: dtype is a real number's")
    require(len(facts.scenes) > 0, "facts: there is a scene")


def _blocks(reader: Reader, level: int) -> tuple[int, int]:
    whole, size = reader.facts.levels[level], reader.block_size(level)
    return -(-whole.width // size.width), -(-whole.height // size.height)


def _cut(reader: Reader, level: int, column: int, row: int) -> tuple[int, int, int]:
    whole, size = reader.facts.levels[level], reader.block_size(level)
    height = min(size.height, whole.height - row * size.height)
    width = min(size.width, whole.width - column * size.width)
    return height, width, len(reader.facts.channels)


def _check_blocks(reader: Reader, level: int) -> None:
    columns, rows = _blocks(reader, level)
    size = reader.block_size(level)
    for column, row in {(0, 0), (columns - 1, 0), (0, rows - 1), (columns - 1, rows - 1)}:
        pixels = reader.block(level, column, row)
        where = f"block ({column}, {row}) of level {level}"
        require(
            pixels.shape == _cut(reader, level, column, row), f"{where} is cut to the level: {pixels.shape}"
        )
        require(str(pixels.dtype) == reader.facts.dtype, f"{where} has the dtype of the facts")
        out = np.empty((size.height, size.width, len(reader.facts.channels)), reader.facts.dtype)
        again = reader.block(level, column, row, out)
        require(np.array_equal(again, pixels), f"{where} is the same with and without a buffer")


def _assembled(reader: Reader, level: int, corner: tuple[int, int], size: Size) -> NDArray[Any]:
    block = reader.block_size(level)
    pixels = np.empty((size.height, size.width, len(reader.facts.channels)), reader.facts.dtype)
    x, y = corner
    for row in range(y // block.height, -(-(y + size.height) // block.height)):
        for column in range(x // block.width, -(-(x + size.width) // block.width)):
            paste(pixels, reader.block(level, column, row), column * block.width - x, row * block.height - y)
    return pixels


def _check_windows(reader: Reader, level: int, rng: np.random.Generator) -> None:
    whole = reader.facts.levels[level]
    places = []
    for _ in range(WINDOWS):
        size = Size(*(int(rng.integers(1, min(side, WIDEST) + 1)) for side in (whole.width, whole.height)))
        x, y = (
            int(rng.integers(0, whole.width - size.width + 1)),
            int(rng.integers(0, whole.height - size.height + 1)),
        )
        places.append((x, y, size))
    alone = [reader.window(level, x, y, size) for x, y, size in places]
    for (x, y, size), pixels in zip(places, alone, strict=True):
        same = np.array_equal(pixels, _assembled(reader, level, (x, y), size))
        require(same, f"window {x, y, size} of level {level} equals its blocks")
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(lambda place: reader.window(level, *place), places))
    same = all(np.array_equal(one, other) for one, other in zip(alone, together, strict=True))
    require(same, f"windows of level {level} are the same from several threads")


def _check_associated(reader: Reader) -> None:
    for name in reader.facts.associated:
        pixels = reader.associated(name)
        require(
            pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3,
            f"{name} is (h, w, 3) uint8",
        )
    try:
        reader.associated("no such image")
    except CoverslipError:
        return
    require(False, "an unknown associated image is refused with an error of Coverslip")


def _check_closed(reader: Reader) -> None:
    try:
        reader.block(0, 0, 0)
    except SlideError:
        return
    require(False, "a closed reader raises SlideError")


# ------------------------------------------------------------------ stages
def check_stage(stage: Stage, slide: Slide, inputs: Mapping[str, Any]) -> None:
    """Check that a stage keeps what `coverslip.pipeline.Stage` promises, on a slide that it can serve.

    Parameters
    ----------
    stage
        With parameters that suit the slide.
    inputs
        What `stage.reads` names, by artefact key.

    Raises
    ------
    AssertionError
        Names the promise that is broken.
    """
    require(isinstance(stage, Stage), f"{type(stage).__name__} lacks methods or attributes of Stage")
    _check_parameters(stage)
    _check_keys(stage, inputs)
    first, second = (_stored(stage, slide, inputs) for _ in range(2))
    require(first == second, "run: the same inputs give the same outputs")
    _check_step(stage, slide, inputs, first)
    _check_nothing(stage, slide, inputs)


def _check_parameters(stage: Stage) -> None:
    kind = type(stage)
    require(dataclasses.is_dataclass(kind), "a stage is a dataclass")
    require(getattr(kind, "__dataclass_params__").frozen, "a stage is frozen")  # noqa: B009 - mypy knows it not
    require(kind() is not None, "all parameters have defaults")
    taken = sorted(set(WORDS) & set(parameters_of(stage)))
    require(not taken, f"{', '.join(taken)}: words of a recipe, and no parameters; name is a ClassVar[str]")
    require(stage.version >= 1, "version is a whole number from 1 on")
    plain = json.loads(json.dumps(parameters_of(stage)))
    require(build(kind, plain, where=stage.name) == stage, "parameters survive a recipe")
    require(pickle.loads(pickle.dumps(stage)) == stage, "a stage goes to workers and back")  # noqa: S301 - our own


def _check_keys(stage: Stage, inputs: Mapping[str, Any]) -> None:
    for keys in (stage.reads(), stage.writes()):
        require(isinstance(keys, tuple) and all(isinstance(key, str) for key in keys), "keys come as a tuple")
    cases = isinstance(stage, Casewise)
    require(len(stage.writes()) > 0 or cases, "writes: a stage makes something")
    missing = [key for key in stage.reads() if key not in inputs]
    require(not missing, f"inputs: give {', '.join(missing)} to check_stage")


def _stored(stage: Stage, slide: Slide, inputs: Mapping[str, Any]) -> dict[str, bytes]:
    """Run the stage, store what it gave, and return what it looks like after a trip to the disk."""
    given = {key: inputs[key] for key in stage.reads()}
    given |= {key: inputs[key] for key in (LIMITED,) if key in inputs}
    outputs = dict(stage.run(slide, given))
    for beside in (NOTES, GIVEN):
        outputs.pop(beside, None)
    require(
        set(outputs) == set(stage.writes()), f"run gives what writes names, and no more: {sorted(outputs)}"
    )
    made = Provenance.make(stage.name, stage.version, parameters=said_of(stage), inputs={}, slide=None)
    found: dict[str, bytes] = {}
    with tempfile.TemporaryDirectory() as folder:
        run = RunFolder.create(Path(folder) / "run")
        for key in sorted(outputs, key=lambda key: isinstance(outputs[key], Derived)):
            value = outputs[key]
            if isinstance(value, Derived):
                value = value.make({k: run.get("s", k) for k in found})
            run.put("s", key, value, provenance=made)
            found[key] = pickle.dumps(_content(run.get("s", key)))
    streamed = [key for key, value in outputs.items() if isinstance(value, STREAMS)]
    _check_resume(stage, slide, given, streamed)
    return found


def _check_step(stage: Stage, slide: Slide, inputs: Mapping[str, Any], plain: Mapping[str, bytes]) -> None:
    """Check that the stage does the same under another name, where its results may have one."""
    try:
        step = Step(stage, name="check-stage")
    except RecipeError:
        return  # a slide has only one such result
    found = _stored(step, slide, inputs)
    same = list(found.values()) == list(plain.values())
    require(same, "run: the same comes out under another name in a recipe")


def _check_nothing(stage: Stage, slide: Slide, inputs: Mapping[str, Any]) -> None:
    """Check that the stage bears a gate before it that lets nothing through."""
    given = {key: inputs[key] for key in stage.reads()}
    less = {key: _emptied(value) for key, value in given.items()}
    if all(less[key] is given[key] for key in given):
        return  # it reads nothing that a gate keeps back
    try:
        outputs = _stored(stage, slide, {**less, LIMITED: "where nothing passes"})
    except CoverslipError:
        return  # words are as good as an empty result
    except (ValueError, LookupError, ArithmeticError, TypeError, AttributeError) as error:
        require(False, f"no tiles or objects are a result, or an error in words; got {error!r}")
    require(bool(outputs), "no tiles or objects are a result")


def _emptied(value: Any) -> Any:
    """Return tiles, objects, features or tissue without any; other inputs as they are."""
    if isinstance(value, Tiles):
        return value.take(np.zeros(0, np.int64))
    if isinstance(value, ObjectTable | Objects):
        return value.where(np.zeros(len(value), bool))
    if isinstance(value, Features):
        return dataclasses.replace(value, X=value.X[:0], coords=value.coords[:0])
    if isinstance(value, Tissue):
        height, width = value.mask.shape
        size = Size(round(width * value.downsample), round(height * value.downsample))
        return Tissue.from_polygons([], size, value.downsample)
    return value


def _check_resume(stage: Stage, slide: Slide, given: Mapping[str, Any], streamed: list[str]) -> None:
    for key in streamed:
        if key.startswith("maps/"):
            continue  # what is left of a map tells by itself which tiles are still needed
        if key.startswith("objects/"):
            _check_parts(stage, slide, given, key)
            continue
        whole = stage.run(slide, given)[key].collect()
        kept = len(whole) // 2
        rest = stage.run(slide, {**given, "resume": Resume({key: kept})})[key]
        rows = [part for part, _ in rest.batches]
        tail = np.concatenate(rows) if rows else np.empty((0, rest.d))
        same = np.array_equal(tail, whole.X[kept:].astype(tail.dtype), equal_nan=True)
        require(same, f"{key}: with resume after {kept} rows come the others, and they are the same")


def _check_parts(stage: Stage, slide: Slide, given: Mapping[str, Any], key: str) -> None:
    parts = [pickle.dumps(part) for part in stage.run(slide, given)[key].batches]
    kept = len(parts) // 2
    rest = stage.run(slide, {**given, "resume": Resume({key: kept})})[key]
    same = [pickle.dumps(part) for part in rest.batches] == parts[kept:]
    require(same, f"{key}: with resume after {kept} parts come the others, and they are the same")


def _content(value: Any) -> Any:
    """Return what a value says, wherever it lies."""
    if isinstance(value, StitchedMap):
        return value.kind, value.classes, value.downsample, value.read()
    return value.read() if isinstance(value, Objects) else value
