"""One level of a DICOM slide: which frame of which instance lies where, for each channel."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coverslip.core import Size
from coverslip.core.errors import CorruptSlideError, CorruptTileError, UnsupportedSlideError
from coverslip.slides.dicom_decode import decode_frame
from coverslip.slides.dicom_file import Instance
from coverslip.slides.reader import paste
from coverslip.slides.stored import StoredJpeg

NO_FRAME = -1


@dataclass(frozen=True)
class DicomLevel:
    """Frames of a level.

    Attributes
    ----------
    channels
        ``("R", "G", "B")``, or a name per optical path.
    where
        Per channel of frames: instance and frame number by block (row-major), `NO_FRAME` where there is none.
    """

    width: int
    height: int
    block: Size
    columns: int
    channels: tuple[str, ...]
    instances: tuple[Instance, ...]
    where: tuple[tuple[array[int], array[int]], ...]

    def read(self, column: int, row: int, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Decode a block of all channels, cut to the level's size, as (h, w, c)."""
        index = row * self.columns + column
        pieces = [self._frame(owner[index], frame[index], out) for owner, frame in self.where]
        pixels = pieces[0] if len(pieces) == 1 else np.concatenate(pieces, axis=2)
        height, width = self.height - row * self.block.height, self.width - column * self.block.width
        return pixels[:height, :width]

    def stored(self, column: int, row: int) -> StoredJpeg | None:
        """Return where a frame's JPEG stream lies, see `coverslip.slides.stored.StoresJpeg`."""
        inside = (column + 1) * self.block.width <= self.width and (
            row + 1
        ) * self.block.height <= self.height
        index = row * self.columns + column
        owner, frame = (part[index] for part in self.where[0])
        if not inside or len(self.where) > 1 or frame == NO_FRAME:
            return None
        return self.instances[owner].stored(frame)

    def _frame(self, owner: int, frame: int, out: NDArray[Any] | None) -> NDArray[Any]:
        if frame == NO_FRAME:
            form = self.instances[0].form
            fill = 255 if form.samples == 3 else 0
            return np.full((form.rows, form.columns, form.samples), fill, form.dtype)
        instance = self.instances[owner]
        try:
            return decode_frame(instance.frame(frame), instance.form, out if len(self.where) == 1 else None)
        except CorruptTileError as error:
            raise CorruptTileError(f"frame {frame} of {instance.path}: {error.message}") from error

    def whole(self) -> NDArray[Any]:
        """Read the level at once: for label, macro and thumbnail."""
        form = self.instances[0].form
        pixels = np.empty((self.height, self.width, form.samples), form.dtype)
        for row in range(-(-self.height // self.block.height)):
            for column in range(self.columns):
                paste(pixels, self.read(column, row), column * self.block.width, row * self.block.height)
        return pixels


def optical_paths(header: Any) -> list[Any]:
    """Return the optical paths that a header describes."""
    return list(header.get("OpticalPathSequence") or [])


def level_of(instances: list[Instance], doubts: list[str]) -> DicomLevel:
    """Make a level of instances of the same size: parts of a concatenation, or one per optical path."""
    first = instances[0]
    form = first.form
    if any(other.form.rows != form.rows or other.form.columns != form.columns for other in instances):
        raise UnsupportedSlideError(
            f"{first.path}: instances of one level have frames of different sizes",
            mend="export the slide anew",
        )
    columns, rows = -(-first.width // form.columns), -(-first.height // form.rows)
    table: dict[str, tuple[array[int], array[int]]] = {}
    left_out = 0
    for number, instance in enumerate(instances):
        for frame, (path, block) in enumerate(_positions(instance, columns, rows)):
            if path not in table:
                empty = array("q", [NO_FRAME]) * (columns * rows)
                table[path] = (empty, empty[:])
            owner, frames = table[path]
            if frames[block] == NO_FRAME:
                owner[block], frames[block] = number, frame
            else:
                left_out += 1
    if left_out:
        doubts.append(f"{left_out} frames of further focal planes are left out; the first plane is shown")
    names = _channel_names(instances, list(table))
    chosen = list(table.values())[: 1 if form.samples == 3 else None]
    return DicomLevel(
        first.width,
        first.height,
        Size(form.columns, form.rows),
        columns,
        names,
        tuple(instances),
        tuple(chosen),
    )


def _channel_names(instances: list[Instance], paths: list[str]) -> tuple[str, ...]:
    if instances[0].form.samples == 3:
        return "R", "G", "B"
    described = {
        str(path.get("OpticalPathIdentifier", "")): str(path.get("OpticalPathDescription") or "")
        for instance in instances
        for path in optical_paths(instance.header)
    }
    if len(paths) == 1:
        return ("grey",)
    return tuple(described.get(path) or path or f"channel {index + 1}" for index, path in enumerate(paths))


def _positions(instance: Instance, columns: int, rows: int) -> Iterator[tuple[str, int]]:
    """Yield optical path and block of each frame, in the order of frames."""
    header = instance.header
    frames = len(instance.frames[0])
    groups = header.get("PerFrameFunctionalGroupsSequence")
    if str(header.get("DimensionOrganizationType", "")) == "TILED_FULL":
        yield from _tiled_full(instance, columns * rows, frames)
    elif groups:
        yield from _tiled_sparse(instance, groups, columns, rows)
    elif frames == columns * rows and min(columns, rows) == 1:
        for index in range(frames):
            yield "", index
    else:  # row by row or column by column: a guess would scramble the picture
        raise UnsupportedSlideError(
            f"{instance.path} does not say where its {frames} frames lie (no DimensionOrganizationType, no "
            "positions)",
            mend="export it anew as DICOM, e.g. with wsidicomizer",
        )


def _tiled_full(instance: Instance, blocks: int, frames: int) -> Iterator[tuple[str, int]]:
    """Go through blocks, then focal planes, then optical paths (DICOM PS3.3, C.7.6.17.3)."""
    header = instance.header
    planes = int(header.get("TotalPixelMatrixFocalPlanes") or 1)
    paths = [str(path.get("OpticalPathIdentifier", "")) for path in optical_paths(header)] or [""]
    first = int(header.get("ConcatenationFrameOffsetNumber") or 0)
    if first + frames > blocks * planes * len(paths):
        raise CorruptSlideError(
            f"{instance.path} has {first + frames} frames for {blocks} places, {planes} focal planes and "
            f"{len(paths)} optical paths",
            mend="export it anew",
        )
    for index in range(first, first + frames):
        yield paths[index // (blocks * planes)], index % blocks


def _tiled_sparse(instance: Instance, groups: Any, columns: int, rows: int) -> Iterator[tuple[str, int]]:
    shared = instance.header.get("SharedFunctionalGroupsSequence")
    form = instance.form
    for number, group in enumerate(groups):
        at = _sub(group, "PlanePositionSlideSequence") or _sub(
            shared[0] if shared else None, "PlanePositionSlideSequence"
        )
        if at is None:
            raise CorruptSlideError(f"{instance.path}: frame {number} has no position", mend="export it anew")
        column = (int(at.ColumnPositionInTotalImagePixelMatrix) - 1) // form.columns
        row = (int(at.RowPositionInTotalImagePixelMatrix) - 1) // form.rows
        if not (0 <= column < columns and 0 <= row < rows):
            raise CorruptSlideError(
                f"{instance.path}: frame {number} lies outside the picture", mend="export it anew"
            )
        path = _sub(group, "OpticalPathIdentificationSequence") or _sub(
            shared[0] if shared else None, "OpticalPathIdentificationSequence"
        )
        yield str(path.OpticalPathIdentifier) if path is not None else "", row * columns + column


def _sub(group: Any, name: str) -> Any:
    sequence = group.get(name) if group is not None else None
    return sequence[0] if sequence else None
