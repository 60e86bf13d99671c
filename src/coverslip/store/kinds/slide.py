"""Facts of a slide as JSON, its thumbnail as JPEG, its report page as HTML."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coverslip.store.header import Header, damaged, in_comment
from coverslip.store.kinds.base import Kind, read_json, write_json

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

JPEG_QUALITY = 88
_COMMENT = re.compile(r"<!--coverslip \{.*?\}-->\n?", re.DOTALL)
_DOCTYPE = re.compile(r"\s*<!doctype [^>]*>\n?", re.IGNORECASE)


def _write_facts(paths: tuple[Path, ...], value: dict[str, Any], header: Header) -> None:
    write_json(paths[0], header, value)


def _read_facts(paths: tuple[Path, ...], _header: Header) -> dict[str, Any]:
    return read_json(paths[0])


def _write_picture(paths: tuple[Path, ...], value: NDArray[np.uint8], header: Header) -> None:
    from PIL import Image

    Image.fromarray(value).save(paths[0], "JPEG", quality=JPEG_QUALITY, comment=header.to_json().encode())


def _read_picture(paths: tuple[Path, ...], _header: Header) -> NDArray[np.uint8]:
    import numpy as np
    from PIL import Image

    try:
        with Image.open(paths[0]) as image:
            return np.asarray(image.convert("RGB"))
    except OSError as error:
        raise damaged(paths[0], error) from error


def _write_page(paths: tuple[Path, ...], value: str, header: Header) -> None:
    doctype = _DOCTYPE.match(value)
    start = doctype.end() if doctype else 0
    paths[0].write_text(value[:start] + in_comment(header) + "\n" + value[start:], encoding="utf-8")


def _read_page(paths: tuple[Path, ...], _header: Header) -> str:
    try:
        return _COMMENT.sub("", paths[0].read_text(encoding="utf-8"), count=1)
    except (OSError, UnicodeDecodeError) as error:
        raise damaged(paths[0], error) from error


SLIDE = Kind("slide", 1, (".json",), _write_facts, _read_facts)
THUMBNAIL = Kind("thumbnail", 1, (".jpg",), _write_picture, _read_picture)
PAGE = Kind("page", 1, (".html",), _write_page, _read_page)
