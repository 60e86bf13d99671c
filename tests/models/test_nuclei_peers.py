"""Models of others behind our door: what they are shown, what becomes of what they say, what is refused.

Their packages are extras. Where one is missing, a stand-in with the interface that its documentation gives
checks our side; where it is there, an untrained model must say the same through us as by itself.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import shapely
from scipy.spatial import cKDTree

from coverslip.core import Box, Size
from coverslip.core.errors import MissingExtraError, StoreError, UnknownNameError, UsageError
from coverslip.models.nuclei.peers import PeerModel, peer_of
from coverslip.models.nuclei.peers.labelled import found_of, levelled
from coverslip.pipeline.stages.nuclei import KEY, NucleiStage
from coverslip.tiles import GridSpec, lay
from coverslip.tissue import Tissue

sys.path.insert(0, str(Path(__file__).parent))

from nuclei_painted import discs, painted_slide

SIZE = Size(400, 300)
TRUTH = discs(SIZE, 24, 0)


def components(dark: np.ndarray) -> np.ndarray:
    return cv2.connectedComponents(dark.astype(np.uint8), connectivity=4)[1]


def nuclei(model: str, options: dict[str, Any]) -> Any:
    slide = painted_slide(SIZE, TRUTH)
    tiles = lay(slide, GridSpec(mpp=0.5, size=128, edge="pad"))
    stage = NucleiStage(model=model, options=options)
    return stage.run(slide, {"tiles": tiles, "tissue": Tissue.from_polygons([], SIZE, 10)})[KEY].collect()


def assert_true(found: Any) -> None:
    """Every disc is there once, where it was painted and as large."""
    assert len(found) == len(TRUTH)
    far, which = cKDTree(TRUTH[:, :2]).query(found.xy)
    assert sorted(which.tolist()) == list(range(len(TRUTH)))
    assert far.max() < 0.75
    pixels = painted_slide(SIZE, TRUTH).read_at(Box(0, 0, SIZE.width, SIZE.height), 1.0)
    labels = components(pixels[..., 0] < 150)
    drawn = np.bincount(labels.ravel())[labels[tuple(found.xy.astype(int).T[::-1])]]
    np.testing.assert_allclose(shapely.area(found.polygons), drawn, rtol=0.05)
    np.testing.assert_allclose(shapely.area(found.polygons).sum(), (labels > 0).sum(), rtol=0.01)


# ------------------------------------------------------------------ StarDist
class StandInStarDist:
    """What `stardist.models.StarDist2D` promises in its documentation."""

    seen: list[dict[str, Any]]

    def __init__(self, config: None, name: str, basedir: str) -> None:
        assert config is None
        self.config = SimpleNamespace(**json.loads((Path(basedir) / name / "config.json").read_text()))
        self.seen = []

    def predict_instances(self, img: np.ndarray, **said: Any) -> tuple[np.ndarray, dict[str, Any]]:
        self.seen.append(said | {"shape": img.shape, "range": (img.min(), img.max())})
        grey = img if img.ndim == 2 else img[..., 0]
        labels = components(grey < 0.5)
        return labels, {"prob": np.linspace(0.5, 0.9, labels.max())}


@pytest.fixture
def stardist(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    module = ModuleType("stardist.models")
    module.StarDist2D = StandInStarDist  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "stardist", ModuleType("stardist"))
    monkeypatch.setitem(sys.modules, "stardist.models", module)
    folder = tmp_path / "he"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"n_channel_in": 3}))
    return folder


def test_stardist_serves_slides(stardist: Path) -> None:
    found = nuclei(f"stardist:{stardist}", {"mpp": 0.5})
    assert_true(found)
    assert found["score"].min() >= 0.5


@pytest.mark.parametrize(("channels", "axes"), [(3, "YXC"), (1, "YX")])
def test_stardist_is_shown_what_it_was_made_for(stardist: Path, channels: int, axes: str) -> None:
    (stardist / "config.json").write_text(json.dumps({"n_channel_in": channels}))
    peer = PeerModel("stardist", stardist)
    detector = peer.open({"mpp": 0.25, "probability": 0.3, "overlap": 0.2})
    picture = np.full((40, 60, 3), 0.9, np.float32)
    picture[10:20, 30:44] = 0.1
    found = detector.find(picture, (0.1, 0.9), 2.0)
    (said,) = detector.model.seen  # type: ignore[attr-defined]
    assert said["axes"] == axes
    assert said["shape"][:2] == (80, 120)
    assert (said["prob_thresh"], said["nms_thresh"]) == (0.3, 0.2)
    assert said["range"] == pytest.approx((0, 1), abs=0.3)
    assert detector.mpp == 0.25
    assert found.labels.shape == (40, 60)
    assert found.areas.tolist() == pytest.approx([140], abs=24)
    assert shapely.area(found.polygons()).tolist() == found.areas.tolist()


# ------------------------------------------------------------------ Cellpose
class StandInCellpose:
    """What `cellpose.models.CellposeModel` of Cellpose 2 and 3 promises in its documentation."""

    diam_mean = 17.0

    def __init__(self, gpu: bool, pretrained_model: str) -> None:
        assert not gpu
        assert Path(pretrained_model).is_file()
        self.said: dict[str, Any] = {}

    def eval(self, x: np.ndarray, **said: Any) -> tuple[np.ndarray, list[Any], np.ndarray]:
        self.said = said | {"shape": x.shape}
        labels = components(x > 0.5)
        return labels, [None, None, np.where(labels > 0, 2.0, -2.0), None], np.zeros(256)


@pytest.fixture
def cellpose(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    torch = pytest.importorskip("torch")
    module = ModuleType("cellpose.models")
    module.CellposeModel = StandInCellpose  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cellpose", ModuleType("cellpose"))
    monkeypatch.setitem(sys.modules, "cellpose.models", module)
    torch.save({"output.weight": torch.zeros(2)}, tmp_path / "nuclei")
    return tmp_path / "nuclei"


def test_cellpose_serves_slides(cellpose: Path) -> None:
    found = nuclei(f"cellpose:{cellpose}", {"mpp": 0.5, "invert": True})
    assert_true(found)
    np.testing.assert_allclose(found["score"], 1 / (1 + np.exp(-2)), rtol=1e-6)


def test_cellpose_takes_its_options(cellpose: Path) -> None:
    options = {"mpp": 0.5, "diameter": 20, "flow": 0.6, "probability": -1, "smallest": 5}
    detector = PeerModel("cellpose", cellpose).open(options)
    detector.find(np.zeros((30, 20, 3), np.float32), (0, 1))
    said = detector.model.said  # type: ignore[attr-defined]
    assert said == {
        "shape": (30, 20),
        "channels": [0, 0],
        "normalize": False,
        "diameter": 20.0,
        "flow_threshold": 0.6,
        "cellprob_threshold": -1.0,
        "min_size": 5,
    }
    assert PeerModel("cellpose", cellpose).open({"mpp": 0.5}).diameter == 17


def test_cellpose_weights_that_would_run_code_are_refused(cellpose: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.save(Path, cellpose)
    with pytest.raises(StoreError, match="holds no Cellpose weights"):
        PeerModel("cellpose", cellpose).open({"mpp": 0.5})


# ------------------------------------------------------------------ InstanSeg
@pytest.fixture(scope="module")
def instanseg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A TorchScript file with the interface that InstanSeg's have: it numbers dark spots."""
    torch = pytest.importorskip("torch")

    class Spots(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pixel_size = 0.5
            self.cells_and_nuclei = True

        def forward(self, x: torch.Tensor, target_segmentation: torch.Tensor) -> torch.Tensor:
            dark = (x[:, :1] < 0.5).float() * target_segmentation[0]
            marks = torch.arange(1, dark.numel() + 1).float().reshape(dark.shape) * dark
            for _ in range(16):
                marks = torch.nn.functional.max_pool2d(marks, 3, 1, 1) * dark
            return marks

    path = tmp_path_factory.mktemp("instanseg") / "instanseg.pt"
    scripted(Spots()).save(str(path))
    return path


def scripted(module: Any) -> Any:
    """Torch would rather have it exported, but TorchScript is what InstanSeg writes."""
    torch = pytest.importorskip("torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return torch.jit.script(module)


def test_instanseg_serves_slides_at_the_scale_that_it_says(instanseg: Path) -> None:
    assert_true(nuclei(f"instanseg:{instanseg}", {}))
    assert len(nuclei(f"instanseg:{instanseg}", {"target": "cells"})) == 0
    with pytest.raises(UsageError, match=r"takes tiles at mpp 0\.3"):
        nuclei(f"instanseg:{instanseg}", {"mpp": 0.3})


# ------------------------------------------------------------------ all of them
def test_levels_are_the_slide_s_or_each_channel_s_own() -> None:
    picture = np.linspace(0, 1, 300, dtype=np.float32).reshape(10, 10, 3)
    whole = levelled(picture, (0.2, 0.7), "slide", (0, 100))
    np.testing.assert_allclose(whole, np.clip((picture - 0.2) / 0.5, -0.5, 1.5), atol=1e-6)
    own = levelled(picture, (0.2, 0.7), "tile", (0, 100))
    np.testing.assert_allclose(own.min(axis=(0, 1)), 0, atol=1e-6)
    np.testing.assert_allclose(own.max(axis=(0, 1)), 1, atol=1e-6)


def test_labels_with_gaps_are_numbered_anew_and_keep_their_scores() -> None:
    labels = np.zeros((8, 8), np.int64)
    labels[1:3, 1:4], labels[5:8, 5:8] = 2, 5
    found = found_of(labels, (8, 8), np.array([0.1, 0.2, 0.3, 0.4, 0.5]))
    assert np.unique(found.labels).tolist() == [0, 1, 2]
    assert found.scores.tolist() == pytest.approx([0.2, 0.5])
    assert found.areas.tolist() == [6, 9]
    assert found.centres.tolist() == [[2.5, 2], [6.5, 6.5]]
    second = found.take(np.array([False, True]))
    assert shapely.area(second.polygons()).tolist() == [9]
    assert len(found_of(np.zeros((4, 4), int), (8, 8))) == 0


def test_a_digest_is_of_all_files_and_their_names(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    (tmp_path / "b").write_text("2")
    digest = PeerModel("stardist", tmp_path).digest
    (tmp_path / "b").rename(tmp_path / "c")
    assert PeerModel("stardist", tmp_path).digest != digest
    with pytest.raises(StoreError, match="no cellpose model at"):
        _ = PeerModel("cellpose", tmp_path / "nowhere").digest


def test_names_are_told_apart_from_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run:2").mkdir()
    assert peer_of("run:2") is None
    assert peer_of("C:\\models\\nuclei") is None
    assert peer_of(None) is None
    with pytest.raises(UnknownNameError, match="stardst") as caught:
        peer_of("stardst:he")
    assert "did you mean 'stardist'" in str(caught.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [({}, "'mpp' of stardist: field required"), ({"mpp": "fine"}, "'mpp' of stardist"), ({"mp": 1}, "'mp'")],
)
def test_options_are_checked_before_anything_is_loaded(stardist: Path, options: dict, said: str) -> None:
    with pytest.raises((UsageError, UnknownNameError), match=said):
        NucleiStage(model=f"stardist:{stardist}", options=options)
    with pytest.raises(UsageError, match="this one is ours"):
        NucleiStage(options={"mpp": 0.5})


@pytest.mark.parametrize("kind", ["stardist", "cellpose"])
def test_a_missing_package_is_named(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, kind, None)
    monkeypatch.setitem(sys.modules, f"{kind}.models", None)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(MissingExtraError, match=kind) as caught:
        PeerModel(kind, tmp_path).open({"mpp": 0.5})
    assert f'pip install "coverslip[{kind}]"' in str(caught.value)


# ------------------------------------------------------------------ the packages themselves
def noise(side: int = 160) -> np.ndarray:
    rng = np.random.default_rng(0)
    picture = cv2.GaussianBlur(rng.normal(0.5, 1, (side, side, 3)).astype(np.float32), (0, 0), 4)
    return np.ascontiguousarray((picture - picture.min()) / np.ptp(picture)).astype(np.float32)


@pytest.mark.filterwarnings("ignore")  # theirs
def test_an_untrained_stardist_says_the_same_through_us(tmp_path: Path) -> None:
    models = pytest.importorskip("stardist.models", reason="stardist is not installed: coverslip[stardist]")
    config = models.Config2D(n_channel_in=3, grid=(2, 2), n_rays=32, unet_n_depth=1)
    by_itself = models.StarDist2D(config, name="untrained", basedir=str(tmp_path))
    by_itself.keras_model.save_weights(str(tmp_path / "untrained" / "weights_best.h5"))
    detector = PeerModel("stardist", tmp_path / "untrained").open({"mpp": 0.5, "probability": 0.5})
    picture = noise()
    labels, details = by_itself.predict_instances(picture, axes="YXC", prob_thresh=0.5)
    found = detector.find(picture, (0, 1))
    np.testing.assert_array_equal(found.labels > 0, labels > 0)
    assert len(found) == len(np.unique(labels)) - 1
    np.testing.assert_allclose(np.sort(found.scores)[-1:], np.sort(details["prob"])[-1:], rtol=1e-5)


@pytest.mark.filterwarnings("ignore")  # theirs
def test_an_untrained_cellpose_says_the_same_through_us(tmp_path: Path) -> None:
    models = pytest.importorskip("cellpose.models", reason="cellpose is not installed: coverslip[cellpose]")
    torch = pytest.importorskip("torch")
    from cellpose.resnet_torch import CPnet

    torch.manual_seed(0)
    net = CPnet([2, 32, 64, 128, 256], 3, sz=3, mkldnn=False, max_pool=True, diam_mean=17.0)
    path = tmp_path / "untrained"
    net.save_model(str(path))
    by_itself = models.CellposeModel(gpu=False, pretrained_model=str(path))
    picture = noise()
    options = {"mpp": 0.5, "probability": -5.0, "flow": 0.0, "smallest": 4}
    found = PeerModel("cellpose", path).open(options).find(picture, (0, 1))
    labels, _, _ = by_itself.eval(
        picture.mean(axis=2), channels=[0, 0], normalize=False, diameter=17.0, flow_threshold=0.0,
        cellprob_threshold=-5.0, min_size=4,
    )  # fmt: skip
    np.testing.assert_array_equal(found.labels, labels)


@pytest.mark.filterwarnings("ignore")  # theirs
def test_an_untrained_instanseg_says_the_same_through_us(tmp_path: Path) -> None:
    losses = pytest.importorskip(
        "instanseg.utils.loss.instanseg_loss",
        reason="instanseg is not installed: instanseg-torch",
    )
    torch = pytest.importorskip("torch")
    from instanseg.inference_class import InstanSeg

    torch.manual_seed(0)
    path = instanseg_file(losses, tmp_path)
    picture = noise(256)
    by_itself = InstanSeg(torch.jit.load(str(path)), device="cpu", verbosity=0)
    batch = torch.from_numpy(picture).permute(2, 0, 1)[None].contiguous()
    labels = by_itself.eval_small_image(batch.clone(), None, normalise=False, return_image_tensor=False)
    found = PeerModel("instanseg", path).open({}).find(picture, (0, 1))
    np.testing.assert_array_equal(found.labels > 0, labels[0, 0].numpy() > 0)
    assert len(found) == len(np.unique(labels[0, 0].numpy())) - 1


def instanseg_file(losses: Any, folder: Path) -> Path:
    """Export an untrained InstanSeg model as its training does."""
    from instanseg.utils.model_loader import build_model_from_dict

    shape = {"model_str": "instanseg_unet", "dim_in": 3, "layers": [32, 64, 128, 256], "norm": "BATCH"}
    heads = {"dim_coords": 2, "n_sigma": 2, "dim_seeds": 1, "multihead": False, "cells_and_nuclei": False}
    net = build_model_from_dict(shape | heads | {"dropprob": 0.0}).eval()
    loss = losses.InstanSeg(n_sigma=2, device="cpu")
    net = loss.initialize_pixel_classifier(net, MLP_width=5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        script = scripted(losses.InstanSeg_Torchscript(net, pixel_size=0.5))
    script.save(str(folder / "instanseg.pt"))
    return folder / "instanseg.pt"
