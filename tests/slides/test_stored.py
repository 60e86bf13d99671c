"""A block's stored bytes, shown by another JPEG decoder, are the block."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from coverslip import open_slide
from coverslip.core.errors import CorruptTileError
from coverslip.slides.reader import Reader
from coverslip.slides.source import LocalBytes, RemoteBytes
from coverslip.slides.stored import StoredJpeg, StoresJpeg

DECODERS_DIFFER = 3
"""Grey levels by which two JPEG decoders may differ: chroma is enlarged in two ways."""


def picture(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.stack([x % 256, y % 256, (x + y) // 2 % 256], axis=2).astype(np.uint8)


def written(path: Path, photometric: str, **options: object) -> Path:
    tifffile.imwrite(
        path, picture(300, 520), tile=(128, 128), compression="jpeg", photometric=photometric,
        compressionargs={"level": 90, **options},
    )  # fmt: skip
    return path


def shown(stored: StoredJpeg) -> np.ndarray:
    """Decode as a browser does: by the stream's own markers alone."""
    return np.asarray(Image.open(io.BytesIO(stored.read())).convert("RGB"))


@pytest.mark.parametrize("photometric", ["rgb", "ycbcr"])
def test_stream_shows_the_block(tmp_path: Path, photometric: str) -> None:
    with open_slide(written(tmp_path / "a.tif", photometric), mpp=0.5) as slide:
        stored = reader_of(slide.reader).stored(0, 1, 1)
        assert stored is not None
        block = slide.reader.block(0, 1, 1)
        assert np.abs(shown(stored).astype(int) - block).max() <= DECODERS_DIFFER


def reader_of(reader: Reader) -> StoresJpeg:
    assert isinstance(reader, StoresJpeg)
    return reader


def test_a_block_beyond_the_edge_is_not_given(tmp_path: Path) -> None:
    with open_slide(written(tmp_path / "a.tif", "ycbcr"), mpp=0.5) as slide:
        reader = reader_of(slide.reader)
        assert reader.stored(0, 3, 1) is not None
        assert reader.stored(0, 4, 1) is None
        assert reader.stored(0, 1, 2) is None


def test_other_codecs_are_not_given(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, picture(256, 256), tile=(128, 128), compression="deflate", photometric="rgb")
    with open_slide(path, mpp=0.5) as slide:
        assert reader_of(slide.reader).stored(0, 0, 0) is None


def test_a_damaged_stream_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "a.tif", "ycbcr")
    with tifffile.TiffFile(path) as tif:
        offset = tif.pages[0].dataoffsets[0]
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(b"\0\0")
    with open_slide(path, mpp=0.5) as slide:
        stored = reader_of(slide.reader).stored(0, 0, 0)
        assert stored is not None
        with pytest.raises(CorruptTileError, match="no whole JPEG"):
            stored.read()


def test_a_truncated_file_is_said(tmp_path: Path) -> None:
    whole = written(tmp_path / "a.tif", "ycbcr").read_bytes()
    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        last = max(tif.pages[0].dataoffsets[:10])
    with open_slide(tmp_path / "a.tif", mpp=0.5) as slide:
        stored = reader_of(slide.reader).stored(0, 3, 1)
        assert stored is not None
        os.truncate(tmp_path / "a.tif", last - 1)
        with pytest.raises(CorruptTileError, match="no whole JPEG"):
            StoredJpeg(stored.source, len(whole), stored.count, 0, b"", stored.size).read()


def test_a_stream_of_another_size_is_refused(tmp_path: Path) -> None:
    with open_slide(written(tmp_path / "a.tif", "ycbcr"), mpp=0.5) as slide:
        stored = reader_of(slide.reader).stored(0, 0, 0)
        assert stored is not None
        odd = StoredJpeg(stored.source, stored.offset, stored.count, 0, stored.head, (64, 128))
        with pytest.raises(CorruptTileError, match="not \\(64, 128\\)"):
            odd.read()


@pytest.mark.skipif(not hasattr(os, "RWF_NOWAIT"), reason="only Linux reads without waiting")
def test_bytes_in_memory_come_at_once(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(bytes(range(256)) * 40)
    source = LocalBytes(str(path))
    source.read(0, 10_240)
    found = source.read_at_once(100, 50)
    assert found in (None, source.read(100, 50))  # None where the file system cannot tell
    assert source.read_at_once(10_000, 1_000) is None, "the file ends before"
    source.close()
    assert source.read_at_once(0, 10) is None, "it is closed"


def test_a_network_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"1234")
    assert RemoteBytes(f"file://{path}").read_at_once(0, 4) is None


def test_real_slides_show_their_blocks(test_data: Path) -> None:
    for name in ("aperio/CMU-1-Small-Region.svs", "dicom/camelyon_jpeg_multiframe.dcm"):
        with open_slide(test_data / "slides" / name) as slide:
            stored = reader_of(slide.reader).stored(0, 1, 1)
            assert stored is not None, name
            block = slide.reader.block(0, 1, 1)
            assert np.abs(shown(stored).astype(int) - block).mean() < 1, name
