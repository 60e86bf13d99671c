from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile
from imagecodecs import Jpeg8Error, jpeg8_decode

from coverslip.core import Box
from coverslip.core.errors import UnknownNameError, UsageError
from coverslip.phantom import PhantomSpec, damage_tile, make, write_demo_set, write_demo_slide, write_slide


@pytest.fixture(scope="module")
def svs(marred, tmp_path_factory):
    return write_slide(marred, tmp_path_factory.mktemp("svs") / "a.svs", quality=92)


def test_openslide_reads_it_as_aperio(svs, marred):
    with openslide.OpenSlide(svs) as slide:
        assert slide.properties["openslide.vendor"] == "aperio"
        assert float(slide.properties["openslide.mpp-x"]) == 0.5
        assert float(slide.properties["openslide.objective-power"]) == 20
        assert slide.level_dimensions == ((2300, 1700), (575, 425))
        assert set(slide.associated_images) == {"thumbnail", "label", "macro"}
        assert slide.associated_images["macro"].size == (1280, 430)
        seen = np.asarray(slide.read_region((0, 0), 0, slide.dimensions).convert("RGB")).astype(int)
        small = np.asarray(slide.read_region((0, 0), 1, (575, 425)).convert("RGB")).astype(int)
    assert np.abs(seen - marred.render(Box(0, 0, 2300, 1700))).mean() < 2.5
    assert np.abs(small - marred.render(Box(0, 0, 2300, 1700), 4)).mean() < 3.0


def test_tifffile_reads_it_as_svs(svs):
    with tifffile.TiffFile(svs) as file:
        assert file.is_svs
        assert [series.name for series in file.series] == ["Baseline", "Thumbnail", "Label", "Macro"]
        page = file.pages[0]
        assert page.tile == (256, 256)
        assert page.subsampling == (2, 2)
        assert page.compression == 7
        assert "|MPP = 0.5|" in page.description


def test_ome_tiff(marred, tmp_path):
    path = write_slide(marred, tmp_path / "a.ome.tif", format="ome")
    with tifffile.TiffFile(path) as file:
        assert file.is_ome
        assert 'PhysicalSizeX="0.5"' in file.ome_metadata
        levels = file.series[0].levels
        assert [level.shape for level in levels] == [(1700, 2300, 3), (425, 575, 3)]
        seen = levels[0].asarray().astype(int)
    assert np.abs(seen - marred.render(Box(0, 0, 2300, 1700))).mean() < 3.0


def test_threads_do_not_change_the_file(marred, svs, tmp_path):
    assert write_slide(marred, tmp_path / "b.svs", quality=92, threads=5).read_bytes() == svs.read_bytes()


@pytest.mark.parametrize(("width", "height"), [(64, 64), (513, 700), (3000, 90), (1025, 1024)])
@pytest.mark.parametrize("format", ["svs", "ome"])
def test_odd_sizes(tmp_path, width, height, format):
    phantom = make(PhantomSpec(width=width, height=height, mpp=1.0, tissue_share=0.2), 2)
    path = write_slide(phantom, tmp_path / ("a.svs" if format == "svs" else "a.ome.tif"), format=format)
    with tifffile.TiffFile(path) as file:
        for number, level in enumerate(file.series[0].levels):
            assert level.shape == (height // 4**number, width // 4**number, 3)
        assert (
            np.abs(file.series[0].asarray().astype(int) - phantom.render(Box(0, 0, width, height))).mean() < 4
        )


def test_progress_ends_at_one(tmp_path):
    seen = []
    write_slide(make(PhantomSpec(width=600, height=1600)), tmp_path / "a.svs", progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 1


def test_wrong_use_leaves_nothing(tmp_path):
    phantom = make(PhantomSpec(width=100, height=100))
    with pytest.raises(UnknownNameError, match="ome"):
        write_slide(phantom, tmp_path / "a.svs", format="omw")
    with pytest.raises(UsageError, match="quality"):
        write_slide(phantom, tmp_path / "a.svs", quality=0)

    def stop(_share):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_slide(phantom, tmp_path / "a.svs", progress=stop)
    assert list(tmp_path.iterdir()) == []


def _tiles(page):
    for offset, length in zip(page.dataoffsets, page.databytecounts, strict=True):
        page.parent.filehandle.seek(offset)
        yield page.parent.filehandle.read(length)


def _whole(data):
    try:
        return jpeg8_decode(data).shape == (256, 256, 3)
    except Jpeg8Error:
        return False


def test_a_damaged_tile_and_only_it_is_lost(marred, tmp_path):
    path = write_slide(marred, tmp_path / "a.svs")
    damage_tile(path, 0, 2, 1)
    with tifffile.TiffFile(path) as file:
        lost = [number for number, data in enumerate(_tiles(file.pages[0])) if not _whole(data)]
    assert lost == [1 * -(-2300 // 256) + 2]
    with pytest.raises(UsageError, match="tile"):
        damage_tile(path, 0, 99, 0)
    with pytest.raises(UsageError, match="level"):
        damage_tile(path, 7, 0, 0)


def test_demo_slide_is_small_and_always_the_same(tmp_path):
    one, other = write_demo_slide(tmp_path / "a.svs"), write_demo_slide(tmp_path / "b.svs")
    assert one.read_bytes() == other.read_bytes()
    assert one.stat().st_size < 5e6
    with openslide.OpenSlide(one) as slide:
        assert slide.dimensions == (3000, 2400)


def test_demo_set(tmp_path):
    paths = write_demo_set(tmp_path / "demo")
    assert [path.suffix for path in paths] == [".svs"] * 4
    for path in paths:
        assert path.with_suffix(".truth.json").is_file()
        with openslide.OpenSlide(path) as slide:
            assert slide.level_count >= 2


MEMORY = """
import pathlib, sys
from coverslip.phantom import PhantomSpec, make, write_slide
phantom = make(PhantomSpec(width=20000, height=20000, tissue_share=0.01, n_sections=2), 1)
write_slide(phantom, sys.argv[1])
lines = pathlib.Path("/proc/self/status").read_text().splitlines()
print(next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM")))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc (Linux)")
def test_memory_is_bounded(tmp_path):
    """A slide of 1.2 GB of pixels is written within 500 MB."""
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, str(tmp_path / "a.svs")], capture_output=True, text=True, check=True
    )
    assert 50 < int(done.stdout) < 500
    with openslide.OpenSlide(tmp_path / "a.svs") as slide:
        assert slide.level_dimensions == ((20000, 20000), (5000, 5000), (1250, 1250), (312, 312))
