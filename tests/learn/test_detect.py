"""Detectors: examples, scores, objects of slides owned once, and a whole small training."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torchvision")
pytest.importorskip("lightning")

from coverslip import open_slide
from coverslip.core.errors import UsageError
from coverslip.learn.detect.augment import Augment
from coverslip.learn.detect.example import Example, crop, from_labels, turned
from coverslip.learn.detect.feed import Squares
from coverslip.learn.detect.module import DetectModule
from coverslip.learn.detect.network import Network
from coverslip.learn.detect.objects import Found, apart, drawn, label_image, polygons
from coverslip.learn.detect.picture import found_on
from coverslip.learn.detect.predict import objects_on
from coverslip.learn.detect.scoring import best_score, ranked
from coverslip.learn.detect.slide import objects_of_slide, parts_of
from coverslip.learn.detect.sources import Windows
from coverslip.learn.detect.task import DetectTask
from coverslip.learn.task import load_task
from coverslip.models.detectors import DetectorSpec, build_detector
from coverslip.models.detectors_light import Sight
from coverslip.models.detectors_run import Detector
from coverslip.models.folder import ModelFolder
from coverslip.tiles import GridSpec, lay


def discs(seed: int, side: int = 128, count: int = 9) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Dark discs that do not touch, on a light ground, and which is which."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((side, side), np.int32)
    number = 0
    while number < count:
        x, y, r = (int(v) for v in (*rng.integers(0, side, 2), rng.integers(6, 12)))
        disc = cv2.circle(np.zeros((side, side), np.uint8), (x, y), r, 1, -1) > 0
        if not labels[cv2.dilate(disc.astype(np.uint8), np.ones((5, 5))) > 0].any():
            number += 1
            labels[disc] = number
    pixels = np.where(labels[..., None] > 0, (90, 50, 120), (235, 230, 238)) + rng.normal(
        0, 6, (side, side, 3)
    )
    return np.clip(pixels, 0, 255).astype(np.uint8), labels


# ------------------------------------------------------------------ examples
@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 99), quarter=st.integers(0, 3), mirror=st.booleans())
def test_turning_keeps_boxes_masks_and_pixels_together(seed: int, quarter: int, mirror: bool) -> None:
    pixels, labels = discs(seed, side=64, count=3)
    example = turned(from_labels(pixels, labels), quarter, mirror=mirror)
    assert example.labels is not None
    again = from_labels(example.pixels, example.labels)
    np.testing.assert_array_equal(again.boxes, example.boxes)
    assert (example.pixels.mean(axis=2) < 160).sum() == pytest.approx((labels > 0).sum(), abs=3)
    np.testing.assert_array_equal(example.pixels.mean(axis=2) < 160, example.labels > 0)


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 9), x=st.integers(-40, 100), y=st.integers(-40, 100), scale=st.floats(0.6, 1.7))
def test_a_crop_cuts_pixels_masks_and_boxes_alike(seed: int, x: int, y: int, scale: float) -> None:
    pixels, labels = discs(seed)
    example = from_labels(pixels, labels)
    both = crop(example, (x, y), 64, scale=scale)
    boxes = crop(Example(pixels, example.boxes, example.classes), (x, y), 64, scale=scale)
    assert both.labels is not None
    assert both.pixels.shape == (64, 64, 3)
    core = cv2.erode((both.labels > 0).astype(np.uint8), np.ones((5, 5))) > 0
    assert not core.any() or (both.pixels[core].mean(axis=1) < 200).mean() > 0.9
    for box in both.boxes:  # boxes from masks lie where scaled boxes do, to a pixel of either picture
        off = box - boxes.boxes
        nearest = np.abs(off).max(axis=1).argmin()
        assert (off[nearest, :2] > -1).all(), "a mask reaches beyond its box"
        assert (off[nearest, 2:] < 1).all(), "a mask reaches beyond its box"
        if box.min() > 0 and box.max() < 64:  # whole: what is left of a cut disc may be narrower than its box
            assert np.abs(off[nearest]).max() < 1 + scale


def test_labels_of_another_size_are_refused() -> None:
    with pytest.raises(UsageError, match="the mask has 5 × 4 pixels and the picture 6 × 4"):
        Example(np.zeros((4, 6, 3), np.uint8), np.zeros((0, 4), np.float32), np.zeros(0, np.int64),
                np.zeros((4, 5), np.int32), "a")  # fmt: skip
    with pytest.raises(UsageError, match="zoom"):
        Augment(zoom=0.5)


# ------------------------------------------------------------------ scores
def test_average_precision_as_by_its_definition() -> None:
    """At each recall that is reached the best precision at that recall or beyond, written out."""
    rng = np.random.default_rng(0)
    pairs = []
    for _ in range(6):
        corner = rng.uniform(0, 200, (8, 2))
        truth = np.concatenate([corner, corner + rng.uniform(15, 30, (8, 2))], axis=1).astype(np.float32)
        noisy = (truth + rng.normal(0, 3, truth.shape)).astype(np.float32)
        found = Found(noisy, np.zeros(8, np.int32), rng.random(8).astype(np.float32))
        pairs.append(((truth, np.zeros(8, np.int64)), found))
    (order,) = ranked(pairs, 1)
    points = [order.at(score) for score in order.scores]
    curve = [(true / (true + missed), true / (true + false)) for true, false, missed in points]
    area, before = 0.0, 0.0
    for recall, _ in curve:
        area += (recall - before) * max(precision for other, precision in curve if other >= recall)
        before = recall
    assert 0.3 < order.average_precision < 1
    assert order.average_precision == pytest.approx(area)


def test_each_true_object_is_met_once() -> None:
    box = np.array([[0, 0, 10, 10]], np.float32)
    twice = Found(np.repeat(box, 2, axis=0), np.zeros(2, np.int32), np.array([0.6, 0.9], np.float32))
    (one,) = ranked([((box, np.zeros(1, np.int64)), twice)], 1)
    assert one.hits.tolist() == [True, False]
    assert one.at(0.5) == (1, 1, 0)
    assert one.at(0.7) == (1, 0, 0)
    assert best_score([one]) == pytest.approx(0.65)
    assert len(apart(twice, overlap=0.5)) == 1
    assert apart(twice, overlap=0.5).scores.tolist() == pytest.approx([0.9])
    assert len(apart(twice.take(np.empty(0, np.int64)), overlap=0.5)) == 0


def test_slanting_neighbours_whose_boxes_overlap_are_both_kept() -> None:
    upper = np.triu(np.ones((28, 28), np.float32), 2)
    boxes = np.array([[0, 0, 20, 20], [1, 1, 21, 21], [0, 0, 20, 19]], np.float32)
    masks = np.stack([upper, upper.T, upper])
    found = Found(boxes, np.zeros(3, np.int32), np.array([0.9, 0.8, 0.7], np.float32), masks)
    assert apart(found, overlap=0.5).scores.tolist() == pytest.approx([0.9, 0.8])


# ------------------------------------------------------------------ objects
def test_masks_are_drawn_to_the_pixel() -> None:
    yy, xx = np.mgrid[0:28, 0:28]
    disc = ((xx - 13.5) ** 2 + (yy - 13.5) ** 2 < 12.5**2).astype(np.float32)
    box = np.array([[10.0, 20.0, 50.0, 60.0]], np.float32)
    found = Found(box, np.zeros(1, np.int32), np.ones(1, np.float32), disc[None])
    expected = np.pi * (12.5 / 28 * 40) ** 2
    pixels, x, y = drawn(found.boxes[0], disc)
    assert (x, y) == (10, 20)
    assert pixels.sum() == pytest.approx(expected, rel=0.03)
    (outline,) = polygons(found)
    assert outline.is_valid
    assert outline.area == pytest.approx(expected, rel=0.03)
    assert (outline.centroid.x, outline.centroid.y) == (
        pytest.approx(30, abs=0.3),
        pytest.approx(40, abs=0.3),
    )
    labels = label_image(found, (64, 64))
    assert (labels == 1).sum() == pixels.sum()


class Exact(Detector):
    """Finds dark discs by thresholding: what each tile sees whole, every tile sees alike."""

    def __init__(self) -> None:
        self.classes, self.sight = ("disc",), Sight()

    def found(self, tiles: Any) -> Any:
        return [self._one(tile) for tile in tiles]

    def _one(self, tile: Any) -> Any:
        example = from_labels(tile, cv2.connectedComponents((tile.mean(axis=2) < 160).astype(np.uint8))[1])
        masks = np.ones((len(example), 28, 28), np.float32)
        return example.boxes, np.zeros(len(example), np.int32), np.ones(len(example), np.float32), masks


@pytest.mark.parametrize("size", [64, 100, 128])
def test_every_object_of_a_slide_is_found_once(tmp_path: Path, size: int) -> None:
    pixels, labels = discs(3, side=400, count=90)
    cv2.imwrite(str(tmp_path / "discs.png"), pixels)
    truth = from_labels(pixels, labels)
    with open_slide(tmp_path / "discs.png", mpp=0.5) as slide:
        tiles = lay(slide, GridSpec(size=size, edge="pad", min_tissue=0))
        found = list(objects_of_slide(Exact(), slide, tiles, margin=32))
        resumed = list(objects_of_slide(Exact(), slide, tiles, margin=32, start=1))
    assert len(found) == parts_of(tiles)
    assert [len(part) for part in resumed] == [len(part) for part in found[1:]]
    boxes = np.concatenate([
        np.stack([p[n] for n in ("left", "top", "width", "height")], axis=1) for p in found if len(p)
    ])  # fmt: skip
    boxes[:, 2:] += boxes[:, :2]
    assert sorted(map(tuple, boxes.round().tolist())) == sorted(map(tuple, truth.boxes.tolist()))


def test_the_light_of_a_dim_slide_is_set(tmp_path: Path) -> None:
    pixels, labels = discs(3, side=256, count=30)
    cv2.imwrite(str(tmp_path / "dim.png"), (pixels * 0.2 + 10).astype(np.uint8))
    detector = Exact()
    detector.sight = Sight(stretch=True)
    with open_slide(tmp_path / "dim.png", mpp=0.5) as slide:
        tiles = lay(slide, GridSpec(size=128, edge="pad", min_tissue=0))
        found = sum(len(part) for part in objects_of_slide(detector, slide, tiles, margin=32))
    assert found == labels.max()


# ------------------------------------------------------------------ plain pictures
def test_pictures_of_any_scale_and_light_are_judged_alike() -> None:
    """The detector knows discs of 18 pixels alone, black to white; pictures hold larger ones, and dim."""
    detector = Exact()
    detector.sight = Sight(object_px=18, stretch=True)
    pixels, labels = discs(4, side=200, count=12)
    dim = (pixels * 0.25 + 20).astype(np.uint8)
    twice = cv2.resize(dim, (400, 400), interpolation=cv2.INTER_CUBIC)
    found = objects_on(detector, twice)
    true = from_labels(pixels, labels).boxes * 2
    assert len(found) == len(true) == 12
    assert np.abs(found.boxes - true[_nearest(found.boxes, true)]).max() < 5


def test_large_pictures_are_judged_piece_by_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coverslip.learn.detect.picture.CORE", 96)
    monkeypatch.setattr("coverslip.learn.detect.picture.MARGIN", 32)
    pixels, labels = discs(6, side=300, count=50)
    found = found_on(Exact(), pixels)
    true = from_labels(pixels, labels).boxes
    assert sorted(map(tuple, found.boxes.tolist())) == sorted(map(tuple, true.tolist()))


def _nearest(boxes: np.ndarray[Any, Any], true: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.abs(boxes[:, None] - true[None]).sum(axis=2).argmin(axis=1)


def test_boxes_are_fitted_to_the_objects(tmp_path: Path) -> None:
    small = Network().fitted([np.linspace(9, 40, 50)])
    assert (small.finest, small.anchor) == (2, 12)
    large = Network(anchor=24).fitted([np.linspace(30, 300, 50)])
    assert (large.finest, large.anchor, large.levels) == (4, 24, 5)
    common, rare = np.full(1000, 60.0), np.linspace(17, 19, 10)
    both = Network().fitted([common, rare])
    assert (both.anchor, both.levels) == (17, 3), "the rare class has boxes, too"
    with pytest.raises(UsageError, match="mpp says the scale of slides"):
        DetectTask(cohort=tmp_path / "a.csv", classes=("a",), mpp=0.5, object_px=20)
    with pytest.raises(UsageError, match="object_px 2"):
        DetectTask(cohort=tmp_path / "a.csv", classes=("a",), object_px=2)


def test_pictures_are_brought_to_one_size_of_object(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coverslip.learn.detect.feed.WIDELY", 0.0)
    task = load_task(trained / "task.yaml")
    assert isinstance(task, DetectTask)
    _, drawn, _ = replace(task, mpp=None, object_px=36.0, stretch=True).read()
    boxes = task.plan().values["boxes_px"]
    assert boxes[0] < 18 < boxes[-1]  # of the discs, and fitted to them
    windows = Windows(drawn[:2], task.classes, masks=True)
    assert int(windows[0].pixels.min()) == 0
    assert int(windows[0].pixels.max()) == 255
    scales = windows.scales(36.0)
    assert scales is not None
    assert min(scales) > 1.5  # the discs are about 18 pixels wide
    squares = Squares(windows, Augment(side=320, zoom=1.0), scales=scales)
    for row in range(2):
        boxes = squares[0, row][1]["boxes"].numpy()
        assert len(boxes) == len(windows[row])
        assert np.median(np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(axis=1))) == pytest.approx(36, abs=2)


# ------------------------------------------------------------------ networks
@pytest.mark.parametrize("options", [{}, {"architecture": "faster-rcnn", "finest": 4, "levels": 3},
                                     {"backbone": "resnet10t", "levels": 2}])  # fmt: skip
def test_networks_learn_and_find(options: dict[str, Any]) -> None:
    import torch

    torch.manual_seed(0)
    network = build_detector(DetectorSpec(classes=("a", "b"), width=16, at_most=20, **options)).train()
    boxes = torch.tensor([[4.0, 4.0, 30.0, 28.0]])
    target = {"boxes": boxes, "labels": torch.tensor([2]), "masks": torch.ones(1, 64, 64, dtype=torch.uint8)}
    losses = network([torch.rand(3, 64, 64)] * 2, [target] * 2)
    torch.stack(list(losses.values())).sum().backward()
    assert ("loss_mask" in losses) == ("architecture" not in options)
    detector = Detector(network, ("a", "b"), least_score=0.0)
    boxes, labels, scores, masks = detector.found(np.zeros((1, 70, 50, 3), np.uint8))[0]
    assert len(boxes) == len(labels) == len(scores) <= 20
    assert set(labels) <= {0, 1}
    assert (masks is None) or masks.shape[1:] == (28, 28)


def test_a_loss_that_is_no_number_is_refused_with_the_pictures_named() -> None:
    import torch

    class Broken(torch.nn.Module):
        def forward(self, _pictures: Any, _targets: Any) -> Any:
            return {"loss_mask": torch.tensor(float("nan")), "loss_classifier": torch.tensor(0.5)}

    module = DetectModule(Broken(), ("disc",), where=lambda index: f"d{index} at (0, 0)")
    batch = ([torch.zeros(3, 8, 8)] * 2, [{"place": torch.tensor(i)} for i in (3, 5)])
    with pytest.raises(
        UsageError, match=r"loss_mask nan, loss_classifier 0.5\) on squares of d3 at \(0, 0\), d5"
    ):
        module.training_step(batch, 0)


TASK = """
task: detect
cohort: pictures.csv
classes: [disc]
mpp: 0.5
network: {width: 16, levels: 3, at_most: 40}
augment: {side: 96, zoom: 1.2, colour: 0.1}
repeat: 4
fit: {epochs: 6, batch_size: 2, lr: 0.003, threads: 1, precision: f32}
"""


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pictures, instance masks and a model trained on them."""
    folder = tmp_path_factory.mktemp("discs")
    rows = ["slide,path,annotations,mpp,split"]
    for number in range(14):
        pixels, labels = discs(number)
        cv2.imwrite(str(folder / f"d{number}.png"), pixels[..., ::-1])
        cv2.imwrite(str(folder / f"d{number}-mask.png"), labels.astype(np.uint16))
        part = "test" if number >= 12 else "val" if number >= 10 else "train"
        rows.append(f"d{number},d{number}.png,d{number}-mask.png,0.5,{part}")
    (folder / "pictures.csv").write_text("\n".join(rows))
    (folder / "task.yaml").write_text(TASK)
    load_task(folder / "task.yaml").train(folder / "run")
    return folder


def test_a_detector_is_trained_and_finds_discs(trained: Path) -> None:
    card = ModelFolder.load(trained / "run/models/detect").card
    assert (card.task, card.architecture, card.classes, card.mpp) == ("detect", "mask-rcnn", ("disc",), 0.5)
    scores = json.loads((trained / "run/evaluation/detect.json").read_text())
    assert scores["mean_ap50"] > 0.5
    assert scores["tp"] + scores["fn"] == 18
    record = json.loads((trained / "run/annotations.json").read_text())
    assert record["d0"] == {"objects": 9, "notes": []}


def test_it_is_applied_to_pictures_and_slides(trained: Path, tmp_path: Path) -> None:
    from coverslip.learn.detect.predict import predict_pictures
    from coverslip.pipeline.stages.detect import DetectStage

    model = ModelFolder.load(trained / "run/models/detect")
    said = predict_pictures(model, [str(trained / "d13.png")], str(tmp_path), {"threads": 1})
    mask = cv2.imread(str(tmp_path / "d13.png"), cv2.IMREAD_UNCHANGED)
    with (tmp_path / "objects.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert said["counts"]["disc"] == len(rows) == int(mask.max())
    truth = cv2.imread(str(trained / "d13-mask.png"), cv2.IMREAD_UNCHANGED)
    assert ((mask > 0) & (truth > 0)).sum() > 0.5 * (truth > 0).sum()
    stage = DetectStage(model=str(model.path), threads=1)
    assert (stage.writes(), stage.classes()) == (("objects/detect",), ("disc",))
    with open_slide(trained / "d13.png", mpp=0.5) as slide:
        tiles = lay(slide, GridSpec(size=64, edge="pad", min_tissue=0))
        objects = stage.run(slide, {"tiles": tiles})["objects/detect"].collect()
    assert len(objects) > 0
    assert objects.classes == ("disc",)


def test_repairs_are_asked_for_and_told(trained: Path, tmp_path: Path) -> None:
    voc = (
        "<annotation><object><name>disc</name><bndbox><xmin>100</xmin><ymin>10</ymin><xmax>140</xmax>"
        "<ymax>40</ymax></bndbox></object></annotation>"
    )
    (tmp_path / "a.xml").write_text(voc)
    rows = [f"{p},{trained}/d{i}.png,a.xml,0.5,{p}" for i, p in enumerate(("train", "val", "test"))]
    (tmp_path / "pictures.csv").write_text("\n".join(["slide,path,annotations,mpp,split", *rows]))
    boxes = TASK.replace("mpp: 0.5", "mpp: 0.5\nmasks: false")
    (tmp_path / "task.yaml").write_text(boxes)
    with pytest.raises(UsageError, match="reaches 12 pixels over the edge"):
        load_task(tmp_path / "task.yaml").plan()
    (tmp_path / "task.yaml").write_text(boxes + "repair: true\n")
    plan = load_task(tmp_path / "task.yaml").plan()
    assert len(plan.warnings) == 3
    assert "clipped to the slide; its area went from 1271 to 899 px" in plan.warnings[0]


def test_boxes_where_masks_are_wanted_and_masks_of_another_size_are_refused(
    trained: Path, tmp_path: Path
) -> None:
    voc = (
        "<annotation><size><width>128</width><height>128</height><depth>3</depth></size><object><name>disc</name>"
        "<bndbox><xmin>10</xmin><ymin>10</ymin><xmax>40</xmax><ymax>40</ymax></bndbox></object></annotation>"
    )
    (tmp_path / "a.xml").write_text(voc)
    cv2.imwrite(str(tmp_path / "b.png"), np.zeros((100, 128), np.uint16))
    rows = ["slide,path,annotations,mpp,split", f"a,{trained}/d0.png,a.xml,0.5,train"]
    rows += [f"b,{trained}/d1.png,b.png,0.5,train", f"c,{trained}/d2.png,{trained}/d2-mask.png,0.5,test"]
    (tmp_path / "pictures.csv").write_text("\n".join(rows))
    (tmp_path / "task.yaml").write_text(TASK)
    with pytest.raises(UsageError) as caught:
        load_task(tmp_path / "task.yaml").plan()
    assert "2 of 3 pictures" in str(caught.value)
    assert "holds boxes alone, and masks are to be learned" in str(caught.value)
    assert "128 × 100 pixels and d1 has 128 × 128" in str(caught.value)
