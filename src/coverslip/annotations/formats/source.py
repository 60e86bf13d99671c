"""What formats read from and write for."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from xml.etree import ElementTree as ET
from xml.parsers import expat

from coverslip.annotations.annotations import Annotations
from coverslip.annotations.shape import Shape
from coverslip.core.errors import UsageError

if TYPE_CHECKING:
    from coverslip.annotations.raster import Grid
    from coverslip.slides import Slide


class Source:
    """A file's content, taken apart when a format asks for it."""

    def __init__(self, path: str, data: bytes, slide: Slide | None = None) -> None:
        self.path = path
        self.data = data
        self.slide = slide
        self._same: Source | None = None

    @classmethod
    def load(cls, path: Path, slide: Slide | None = None) -> Self:
        """Read a file; the last one is kept, since one file may hold the shapes of thousands of pictures.

        Raises
        ------
        UsageError
            When there is no such file.
        """
        if not path.is_file():
            raise UsageError(f"there is no annotation file {path}", mend="check the path")
        said = path.stat()
        kept = _last(str(path), said.st_mtime_ns, said.st_size)
        source = cls(str(path), kept.data, slide)
        source._same = kept
        return source

    @property
    def stem(self) -> str:
        """The file's name without its ending."""
        return Path(self.path).stem

    @cached_property
    def text(self) -> str | None:
        """The content as text, or None when it is none."""
        try:
            return self.data.decode("utf-8-sig")
        except UnicodeDecodeError:
            return None

    @cached_property
    def json(self) -> Any:
        """The content as JSON, or None when it does not start like it.

        Raises
        ------
        UsageError
            When it starts like JSON and is none.
        """
        if self._same is not None:
            return self._same.json
        if self.text is None or self.text.lstrip()[:1] not in {"{", "["}:
            return None
        try:
            return json.loads(self.text)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{self.path} is damaged JSON: {error}", mend="export it anew") from error

    @cached_property
    def xml(self) -> ET.Element | None:
        """The root of the content as XML, or None when it does not start like it.

        Raises
        ------
        UsageError
            When it starts like XML and is none, or declares a document type.
        """
        if not self.data.lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n\0").startswith(b"<"):
            return None
        return parse_xml(self.data, self.path)

    def damaged(self, what: str) -> UsageError:
        """Make the error for content that is not as the format has it."""
        return UsageError(f"{self.path}: {what}", mend="export it anew, or mend the file")


@lru_cache(maxsize=1)
def _last(path: str, _changed: int, _size: int) -> Source:
    return Source(path, Path(path).read_bytes())


def parse_xml(data: bytes, path: str) -> ET.Element:
    """Parse XML without document types: nothing is expanded and nothing is fetched.

    Raises
    ------
    UsageError
        When the XML is damaged or declares a document type.
    """
    builder = ET.TreeBuilder()
    parser = expat.ParserCreate()
    parser.buffer_text = True

    def refuse(*_: object) -> None:
        raise UsageError(
            f"{path} declares a document type, which can make a small file expand without end: not read",
            mend="take the <!DOCTYPE …> out of the file",
        )

    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise UsageError(f"{path} is damaged XML: {error}", mend="export it anew") from error
    root: ET.Element = builder.close()
    return root


@dataclass(frozen=True, slots=True)
class Target:
    """For what a file is written: the slide it was drawn on, and the pixels of a label image."""

    slide: Slide | None = None
    grid: Grid | None = None


@dataclass(frozen=True, slots=True)
class Format:
    """A row of the table of formats.

    Attributes
    ----------
    name
        As users write it.
    title
        In words.
    holds
        What it can hold, in words.
    probe
        Says whether a file's content is of this format.
    read, write
        `write` is None for formats that are only read.
    """

    name: str
    title: str
    holds: str
    probe: Callable[[Source], bool]
    read: Callable[[Source], Annotations]
    write: Callable[[Annotations, Target], bytes] | None


# ------------------------------------------------------------------ helpers of the formats
def dump_json(value: Any) -> bytes:
    """Write JSON whose numbers read back as they are."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False).encode()


def dump_xml(root: ET.Element) -> bytes:
    """Write an indented XML document."""
    ET.indent(root)
    text: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return text + b"\n"


def refuse_shapes(title: str, shapes: Iterable[Shape], mend: str) -> None:
    """Raise one error that names the shapes a format cannot hold; none raises nothing."""
    odd = [f"{shape.title}: {shape.kind}{_holes(shape)}" for shape in shapes]
    if odd:
        listed = "\n".join(f"  {i}. {text}" for i, text in enumerate(odd, 1))
        raise UsageError(f"{title} cannot hold {len(odd)} of the shapes:\n{listed}\n", mend=mend)


def _holes(shape: Shape) -> str:
    count = sum(len(part.interiors) for part in shape.polygons)
    return f" with {count} hole(s)" if count else ""


def holed_or_many(shape: Shape) -> bool:
    """Say whether a shape has holes or several parts of its own, which simple formats cannot hold."""
    parts = shape.polygons
    return len(parts) > 1 or any(len(part.interiors) for part in parts) or _many_lines(shape)


def _many_lines(shape: Shape) -> bool:
    return bool(shape.geometry.geom_type == "MultiLineString")


def real(text: str | float | None, source: Source, what: str) -> float:
    """Read a number, or say where it is none; ``nan`` is read, so that checks can name its shape."""
    try:
        return float(text)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise source.damaged(f"{what}: expected a number, got {text!r}") from None


def pairs(points: Any, source: Source, what: str) -> list[tuple[float, float]]:
    """Read ``[[x, y, …], …]``, or say where it is none."""
    if not isinstance(points, Sequence) or isinstance(points, str):
        raise source.damaged(f"{what}: expected a list of vertices, got {points!r:.60}")
    result = []
    for i, point in enumerate(points):
        if not isinstance(point, Sequence) or len(point) < 2:
            raise source.damaged(f"{what}, vertex {i}: expected x and y, got {point!r:.60}")
        result.append((real(point[0], source, what), real(point[1], source, what)))
    return result
