"""The stream on slides of real scanners, through every reader."""

from __future__ import annotations

import numpy as np
import pytest

from coverslip.slides import open_slide
from coverslip.tiles import GridSpec, lay, place, stream

SLIDES = (
    ("aperio/CMU-1-Small-Region.svs", "tiff"),
    ("aperio/CMU-1-Small-Region.svs", "openslide"),
    ("generic_tiff/histolab_kidney-48-5_HE.tif", None),
    ("dicom/camelyon_jpeg_multiframe.dcm", None),
    ("dicom/google_test_jpeg.dcm", None),
)


@pytest.mark.parametrize(("name", "reader"), SLIDES)
@pytest.mark.parametrize("factor", [1.0, 1.7, 4.0])
def test_equals_read_at(test_data, name, reader, factor):
    with open_slide(test_data / "slides" / name, reader=reader, mpp=0.5) as slide:
        spec = GridSpec(mpp=0.5 * factor, size=120, stride=90, edge="pad")
        laid = lay(slide, spec)
        rng = np.random.default_rng(0)
        some = laid.take(np.sort(rng.permutation(len(laid))[:40]))
        off = place(slide, rng.integers(-200, slide.size, (10, 2)), spec)
        for tiles in (some, off):
            for batch in stream(slide, tiles, batch_size=16):
                assert not batch.missing.any()
                for index, pixels in zip(batch.index.tolist(), batch.pixels, strict=True):
                    assert np.array_equal(pixels, slide.read_at(tiles.box(index), tiles.downsample))
