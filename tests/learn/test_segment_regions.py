"""Regions of maps: area and topology kept, joined over blocks, specks and holes dealt with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from shapely import union_all

from coverslip.core.errors import UsageError
from coverslip.learn.segment import regions as module
from coverslip.learn.segment.regions import RegionSpec, regions_of
from coverslip.store import StitchedMap


def stored(folder: Path, labels: np.ndarray[Any, Any], classes: int, downsample: float = 3.0) -> StitchedMap:
    """Write a map whose classes are sure: labels from 0 on, 255 for nothing."""
    planes = np.stack([(labels == k) * np.uint8(255) for k in range(classes)])
    group = zarr.create_group(str(folder / "m.ome.zarr"), zarr_format=2)
    group.create_array("0", data=planes, chunks=(classes, 64, 64))
    names = [f"c{k}" for k in range(classes)]
    group.attrs["coverslip"] = {
        "kind": "probabilities", "classes": names, "downsample": downsample, "mpp": 1.5, "one": 255,
    }  # fmt: skip
    return StitchedMap.open(folder / "m.ome.zarr")


def smooth(seed: int, shape: tuple[int, int], classes: int) -> np.ndarray[Any, Any]:
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(seed)
    return np.argmax([gaussian_filter(rng.normal(size=shape), 9) for _ in range(classes)], axis=0)


@pytest.mark.parametrize("seed", range(3))
def test_area_of_every_class_is_its_pixels_and_blocks_leave_no_trace(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = smooth(seed, (190, 230), 3)
    map_ = stored(tmp_path, labels, 3)
    whole = regions_of(map_)
    monkeypatch.setattr(module, "BLOCK", 64)
    joined = regions_of(map_)
    for label in range(3):
        area = sum(p.area for p in joined.polygons[joined.labels == label])
        assert area == pytest.approx((labels == label).sum() * 9)
        same = union_all(joined.polygons[joined.labels == label]).symmetric_difference(
            union_all(whole.polygons[whole.labels == label])
        )
        assert same.area < 1e-6
    assert len(joined.polygons) == len(whole.polygons)
    assert joined.mpp == pytest.approx(0.5)


def test_simplified_neighbours_keep_one_common_border(tmp_path: Path) -> None:
    labels = smooth(5, (200, 200), 3)
    found = regions_of(stored(tmp_path, labels, 3), RegionSpec(tolerance_um=3.0))
    plain = regions_of(stored(tmp_path / "b", labels, 3))
    everything = union_all(found.polygons)
    assert everything.area == pytest.approx(600 * 600, rel=1e-6)
    assert sum(p.area for p in found.polygons) == pytest.approx(everything.area, rel=1e-6)
    count = [sum(len(p.exterior.coords) for p in each.polygons) for each in (found, plain)]
    assert count[0] < 0.5 * count[1]


def test_specks_go_and_small_holes_are_filled(tmp_path: Path) -> None:
    labels = np.zeros((60, 60), int)
    labels[10:40, 10:40] = 1
    labels[20:23, 20:23] = 0  # a hole of 9 pixels, 20.25 µm²
    labels[28:38, 28:38] = 0  # one of 100 pixels, 225 µm²
    labels[50:52, 50:52] = 1  # a speck of 4 pixels
    found = regions_of(stored(tmp_path, labels, 2), RegionSpec(smallest_um2=50, fill_um2=50))
    one = found.polygons[found.labels == 1]
    assert len(one) == 1
    assert len(one[0].interiors) == 1
    assert one[0].area == (900 - 100) * 9
    table = found.table(without=["c0"])
    assert table.classes == ("c1",)
    assert table["area_um2"].tolist() == pytest.approx([800 * 2.25])
    assert table["perimeter_um"].tolist() == pytest.approx([(4 * 30 + 4 * 10) * 1.5])
    # what was a speck is background now, and nothing is covered twice
    assert sum(p.area for p in found.polygons) == pytest.approx(60 * 60 * 9)


def test_smoothing_has_no_seam(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    map_ = stored(tmp_path, smooth(2, (150, 170), 2), 2)
    spec = RegionSpec(smooth_um=6.0)
    whole = regions_of(map_, spec)
    monkeypatch.setattr(module, "BLOCK", 50)
    joined = regions_of(map_, spec)
    for label in range(2):
        both = [union_all(each.polygons[each.labels == label]) for each in (whole, joined)]
        assert both[0].symmetric_difference(both[1]).area < 1e-6


def test_nothing_predicted_makes_no_region(tmp_path: Path) -> None:
    labels = np.full((40, 40), 255)
    assert len(regions_of(stored(tmp_path, labels, 2)).polygons) == 0
    labels[:20] = 1
    found = regions_of(stored(tmp_path / "b", labels, 2), RegionSpec(smooth_um=3.0))
    assert sum(p.area for p in found.polygons) == 20 * 40 * 9


def test_settings_below_zero_are_refused() -> None:
    with pytest.raises(UsageError, match="smallest_um2 -1"):
        RegionSpec(smallest_um2=-1)
