"""The truth of a crop, batches that come again, training that goes on, and pictures predicted."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import tifffile
import torch

from coverslip.core.errors import StoreError, UsageError
from coverslip.learn.nuclei import calibrate as calibrating
from coverslip.learn.nuclei import predict as predicting
from coverslip.learn.nuclei.augment import Picture
from coverslip.learn.nuclei.batches import batch
from coverslip.learn.nuclei.calibrate import Seen, calibrate, settled
from coverslip.learn.nuclei.losses import loss
from coverslip.learn.nuclei.predict import predict_pictures, read_picture, write_labels
from coverslip.learn.nuclei.ship import Make, detector_of, mean_weights, ship
from coverslip.learn.nuclei.targets import target
from coverslip.learn.nuclei.train import Schedule, train
from coverslip.models.folder import ModelFolder
from coverslip.models.nuclei.detector import SHIPPED, load_nuclei
from coverslip.models.nuclei.network import NucleiNetwork, Outputs
from coverslip.models.nuclei.reading import Maps, Reading

sys.path.insert(0, str(Path(__file__).parents[1] / "models"))

from nuclei_painted import Sees


def disc(height: int, width: int, circles: list[tuple[float, float, float]]) -> np.ndarray:
    labels = np.zeros((height, width), np.int32)
    y, x = np.mgrid[:height, :width]
    for number, (cx, cy, radius) in enumerate(circles, 1):
        labels[np.hypot(x - cx, y - cy) <= radius] = number
    return labels


def test_stars_of_a_disc_reach_its_edge_and_its_centre() -> None:
    labels = disc(96, 112, [(50, 44, 15)])
    made = target(labels, np.ones(labels.shape, bool), 16, np.random.default_rng(0))
    columns = (112 - 32) // 2
    x, y = made.points % columns * 2 + 16, made.points // columns * 2 + 16
    assert (labels[y, x] == 1).all()
    angle = np.arange(32) * 2 * np.pi / 32
    dx, dy = (x - 50)[:, None], (y - 44)[:, None]
    along = dx * np.cos(angle) + dy * np.sin(angle)
    expected = -along + np.sqrt(along**2 - dx**2 - dy**2 + 15.0**2)
    wrong = np.abs(made.radii - np.maximum(expected, 0.5))
    assert wrong.mean() < 0.5
    assert np.quantile(wrong, 0.98) < 1.5  # along the edge a pixel is far
    np.testing.assert_allclose(made.ways, np.stack([50 - x, 44 - y], axis=1), atol=0.2)
    np.testing.assert_allclose(made.radius, 15, atol=0.3)
    assert made.planes[0].sum() == (labels > 0).sum()
    assert made.planes[2].max() == 1


def test_touching_nuclei_have_a_contour_between_them_and_none_counts_outside() -> None:
    labels = np.zeros((64, 64), np.int32)
    labels[20:40, 10:30], labels[20:40, 30:50] = 1, 2
    inside = np.ones(labels.shape, bool)
    inside[:, 45:] = False
    made = target(labels, inside, 8, np.random.default_rng(0))
    assert made.planes[1][12 + 10, 29 - 8] == made.planes[1][12 + 10, 30 - 8] == 1
    assert made.planes[1][12 + 10, 20 - 8] == 0
    assert (made.weight[:, 45 - 8 :] == 0).all()


def pictures() -> list[Picture]:
    labels = disc(160, 160, [(40, 40, 10), (80, 44, 12), (110, 110, 9)])
    pixels = np.repeat(np.float32(labels > 0)[..., None], 3, axis=2)
    centres = np.array([[40, 40], [80, 44], [110, 110]], float)
    return [Picture(pixels, labels, "fluorescence", 20.0, centres)]


def test_batches_come_again_by_seed_and_step() -> None:
    first, truth = batch(pictures(), 2, 64, seed=1, step=5)
    again, same = batch(pictures(), 2, 64, seed=1, step=5)
    other, _ = batch(pictures(), 2, 64, seed=1, step=6)
    assert torch.equal(first, again)
    assert all(torch.equal(a, b) for a, b in zip(truth, same, strict=True))
    assert not torch.equal(first, other)


def test_what_is_true_costs_least() -> None:
    _, truth = batch(pictures(), 2, 64, seed=1, step=5)
    planes = torch.logit(truth.planes.clamp(1e-4, 1 - 1e-4))
    stars = torch.zeros(2 * 32 * 32, 34)
    stars[truth.points, :32] = torch.log(torch.expm1((truth.radii / 8).clamp_min(1e-3)))
    stars[truth.points, 32:] = truth.ways / 8
    perfect = Outputs(planes, stars.reshape(2, 32, 32, 34).permute(0, 3, 1, 2))
    good = loss(perfect, truth)
    bad = loss(Outputs(-planes, -perfect.stars), truth)
    assert all(float(good[name]) < 0.05 for name in good)
    assert all(float(bad[name]) > float(good[name]) for name in good)


def test_training_begins_with_the_weights_given(tmp_path: Path) -> None:
    weights = ModelFolder.load(SHIPPED).state()
    mean = train(pictures(), Schedule(steps=0), tmp_path, weights=weights)
    assert mean.keys() == weights.keys()
    assert all(torch.equal(mean[name], weights[name].to(mean[name].dtype)) for name in mean)


def test_training_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    schedule = Schedule(steps=3, count=1, size=32, warm=1, every=1)
    whole = train(pictures(), schedule, tmp_path / "whole")
    train(pictures(), Schedule(steps=2, count=1, size=32, warm=1, every=1, decay=0.5), tmp_path / "part")
    assert mean_weights(tmp_path / "part")[1] == 2
    rest = train(pictures(), schedule, tmp_path / "whole")  # nothing left to do
    assert all(torch.equal(whole[name], rest[name]) for name in whole)
    with pytest.raises(StoreError, match="checkpoint"):
        mean_weights(tmp_path)


@pytest.mark.parametrize("widths", [(8, 8, 16, 16, 16), (0, 12, 16, 16, 16)])
def test_what_is_shipped_is_what_was_trained(tmp_path: Path, widths: tuple[int, int, int, int, int]) -> None:
    torch.manual_seed(0)
    network, rng = NucleiNetwork(widths).train(), np.random.default_rng(0)
    for _ in range(3):  # statistics for the norms that are put into convolutions
        network(torch.rand(2, 3, 32, 32))
    weights, make = network.eval().state_dict(), Make("small", widths, 0.25, 30.0)
    ship(tmp_path / "model", weights, Reading(), {}, make)
    pixels = rng.random((45, 51, 3), np.float32)
    wanted = detector_of(weights, Reading(), make).maps(pixels)
    loaded = load_nuclei(tmp_path / "model", precision="f32")
    assert (loaded.mpp, loaded.diameter, loaded.network.widths) == (0.25, 30.0, widths)
    found = loaded.maps(pixels)
    assert found.nucleus.shape == (45, 51)
    assert found.radii.shape == (23, 26, 32)
    with torch.inference_mode():
        whole = torch.from_numpy(pixels[:32, :48].copy()).permute(2, 0, 1)[None]
        plain = torch.sigmoid(network(whole).planes[0, 0]).numpy()
    np.testing.assert_allclose(loaded.maps(pixels[:32, :48]).nucleus, plain, atol=2e-3)  # half precision
    np.testing.assert_allclose(found.nucleus, wanted.nucleus, atol=0.03)  # bf16 beside f32


def test_the_rate_warms_up_stays_and_ends_at_nothing() -> None:
    schedule = Schedule(steps=1000, warm=10, decay=0.3)
    assert schedule.factor(0) == 0.1
    assert schedule.factor(500) == 1
    assert 0 < schedule.factor(999) < schedule.factor(800) < 1
    with pytest.raises(UsageError, match="no pictures"):
        train([], schedule, Path("nowhere"))


def test_thresholds_are_chosen_by_what_they_bring() -> None:
    picture = pictures()[0]
    nucleus = np.float32(picture.labels > 0) * 0.5
    radii = np.full((80, 80, 32), 10, np.float32)
    seen = Seen(Maps(nucleus, np.float32(picture.labels > 0), radii, 2), picture)
    best, worth = calibrate([seen], Reading(pixel=0.55, score=0.5), lambda pairs: float(pairs[0][1].max()))
    assert best.pixel <= 0.5
    assert worth == 3


def test_a_reading_counts_at_the_scales_that_it_judges_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    picture, start = pictures()[0], Reading(pixel=0.55, score=0.5)
    radii, depth = np.full((80, 80, 32), 10, np.float32), np.float32(picture.labels > 0)

    @dataclass
    class Judges:
        reading: Reading

    def looked(detector: Judges, _pictures: Sequence[Picture]) -> list[Seen]:
        # at the first look a lower threshold would bring more, but with it nothing is found
        seen = 0.5 if detector.reading == start else 0.0
        return [Seen(Maps(depth * np.float32(seen), depth, radii, 2), picture)]

    monkeypatch.setattr(calibrating, "look", looked)
    found = settled(cast(Any, Judges(start)), [picture], lambda pairs: 1.0 + float(pairs[0][1].max()))
    assert found == (start, 1.0)


# ------------------------------------------------------------------ plain pictures


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(predicting, "load_nuclei", lambda *_, **__: Sees(mpp=0.5))
    grey = np.where(disc(80, 90, [(30, 30, 6), (60, 50, 7)]) > 0, 60, 240).astype(np.uint8)
    tifffile.imwrite(tmp_path / "grey.tif", grey)
    tifffile.imwrite(tmp_path / "deep.tif", grey.astype(np.uint16) * 257)
    import cv2

    cv2.imwrite(str(tmp_path / "colour.png"), np.repeat(grey[..., None], 3, axis=2))
    cv2.imwrite(str(tmp_path / "opaque.png"), np.dstack([grey, grey, grey, np.full_like(grey, 255)]))
    return tmp_path


def test_each_picture_gets_a_label_image_of_its_stem(folder: Path) -> None:
    names = ["grey.tif", "deep.tif", "colour.png", "opaque.png"]
    said = predict_pictures(
        ModelFolder.load(SHIPPED), [str(folder / n) for n in names], str(folder / "out"), {"mpp": 0.5}
    )
    assert (said["pictures"], said["nuclei"], said["failed"]) == (4, 8, [])
    for name in names:
        labels = tifffile.imread(folder / "out" / f"{Path(name).stem}.tif")
        assert labels.dtype == np.uint16
        assert labels.shape == (80, 90)
        assert sorted(np.unique(labels).tolist()) == [0, 1, 2]


def test_what_cannot_be_read_is_named_and_the_rest_is_done(folder: Path) -> None:
    (folder / "bad.png").write_bytes(b"no picture")
    tifffile.imwrite(folder / "stack.tif", np.zeros((5, 40, 40), np.uint8), photometric="minisblack")
    paths = [str(folder / n) for n in ("bad.png", "stack.tif", "grey.tif")]
    said = predict_pictures(ModelFolder.load(SHIPPED), paths, str(folder / "out"), {"mpp": 0.5})
    assert said["pictures"] == 1
    assert [Path(f["path"]).name for f in said["failed"]] == ["bad.png", "stack.tif"]
    assert "(5, 40, 40)" in said["failed"][1]["message"]


def test_nothing_is_overwritten_by_its_own_labels(folder: Path) -> None:
    model = ModelFolder.load(SHIPPED)
    with pytest.raises(UsageError, match="overwritten"):
        predict_pictures(model, [str(folder / "grey.tif")], str(folder), {})
    (folder / "again").mkdir()
    (folder / "again" / "grey.png").write_bytes((folder / "colour.png").read_bytes())
    both = [str(folder / "grey.tif"), str(folder / "again" / "grey.png")]
    with pytest.raises(UsageError, match="twice"):
        predict_pictures(model, both, str(folder / "out"), {})
    with pytest.raises(UsageError, match="CPU"):
        predict_pictures(model, both[:1], str(folder / "out"), {"device": "cuda"})


def test_colours_come_as_red_green_blue(tmp_path: Path) -> None:
    import cv2

    cv2.imwrite(str(tmp_path / "red.png"), np.full((9, 9, 3), (0, 0, 255), np.uint8))
    assert read_picture(str(tmp_path / "red.png"))[0, 0].tolist() == [255, 0, 0]


def test_more_nuclei_than_uint16_can_number_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="70,000"):
        write_labels(tmp_path / "many.tif", np.full((2, 2), 70_000, np.int32))
    assert not (tmp_path / "many.tif").exists()
