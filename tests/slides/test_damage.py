"""Bytes changed at random: a slide is read, or refused with an error of ours; nothing else."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

from coverslip.core.errors import CoverslipError
from coverslip.slides import open_slide

CASES = 25
SMALL = [
    "aperio/openslide_small.svs",
    "generic_tiff/openslide_boxes.tiff",
    "generic_tiff/large_image_orient6.tif",
    "ometiff/cells-2c.ome.tif",
    "ometiff/cells.ome.tif",
    "dicom/highdicom_sm_image.dcm",
    "dicom/openslide_boxes_0.dcm",
]


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """Change a few bytes, most of them near the ends where the structure lies; cut the file now and then."""
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 6))):
        near = [
            int(rng.integers(0, 400)),
            len(data) - 1 - int(rng.integers(0, 1000)),
            int(rng.integers(0, len(data))),
        ]
        changed[int(rng.choice(near))] = int(rng.choice([0, 1, 127, 255, int(rng.integers(0, 256))]))
    return bytes(changed[: int(rng.integers(1, len(data)))] if rng.random() < 0.25 else changed)


@pytest.mark.filterwarnings("ignore")  # pydicom warns of what it repairs
@pytest.mark.parametrize("name", SMALL)
def test_random_damage_is_refused_in_words(test_data, tmp_path, name):
    data = (test_data / "slides" / name).read_bytes()
    rng = np.random.default_rng(5)
    path = tmp_path / f"a{Path(name).suffix}"
    said = []
    for _ in range(CASES):
        path.write_bytes(damaged(data, rng))
        try:
            with warnings.catch_warnings(), open_slide(path) as slide:
                slide.info()
                for level in slide.levels:
                    slide.reader.block(level.index, 0, 0)
        except CoverslipError as error:
            said.append(str(error))
    assert 0 < len(said) < CASES
    for text in said:
        assert str(path) in text or "segment" in text or "frame" in text
