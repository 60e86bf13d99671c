"""Networks of segmentation: all build, learn, and give a pixel the same whatever tile it lies on."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("segmentation_models_pytorch")
import torch

from coverslip.core.errors import UnknownNameError, UsageError
from coverslip.models.segmenters import ARCHITECTURES, SegmenterSpec, build_segmenter
from coverslip.models.segmenters_attention import AttentionUnet, Gate
from coverslip.models.segmenters_run import Segmenter, whole

TWO = ("stroma", "tumour")


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture_scores_every_pixel_and_learns(name: str) -> None:
    torch.manual_seed(0)
    network = build_segmenter(SegmenterSpec(classes=TWO, architecture=name, width=4))
    scores = network(torch.rand(2, 3, 64, 64))
    assert scores.shape == (2, 2, 64, 64)
    scores.square().mean().backward()
    still = [k for k, p in network.named_parameters() if p.grad is None]
    assert not still


def test_an_encoder_of_timm() -> None:
    network = build_segmenter(SegmenterSpec(classes=TWO, encoder="resnet10t", depth=4)).eval()
    assert network(torch.rand(1, 3, 32, 32)).shape == (1, 2, 32, 32)


def test_the_tiny_encoder_has_half_the_weights_of_the_small_one() -> None:
    def weights(encoder: str) -> int:
        network = build_segmenter(SegmenterSpec(classes=TWO, encoder=encoder))
        return sum(parameter.numel() for parameter in network.encoder.parameters())

    assert 0.3 < weights("tiny") / weights("small") < 0.6
    with pytest.raises(UsageError, match="the tiny encoder has no published weights"):
        build_segmenter(SegmenterSpec(classes=TWO, encoder="tiny"), pretrained=True)


def test_what_cannot_be_built_is_refused_by_name() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'unet'"):
        SegmenterSpec(classes=TWO, architecture="unett")
    with pytest.raises(UsageError, match="two or more"):
        SegmenterSpec(classes=("tumour",))
    with pytest.raises(UnknownNameError, match="did you mean 'resnet34'"):
        build_segmenter(SegmenterSpec(classes=TWO, encoder="resnet_34"))
    with pytest.raises(UsageError, match="no published weights"):
        build_segmenter(SegmenterSpec(classes=TWO), pretrained=True)
    with pytest.raises(UsageError, match="depth 4"):
        SegmenterSpec(classes=TWO, architecture="deeplabv3+", depth=4)


def test_a_gate_is_additive_attention() -> None:
    """Equations 1 and 2 of Oktay et al., written out."""
    torch.manual_seed(0)
    gate = Gate(4, 6).eval()
    skip, signal = torch.randn(1, 4, 8, 8), torch.randn(1, 6, 4, 4)
    x = torch.einsum("oc,bchw->bohw", gate.of_skip[0].weight[:, :, 0, 0], skip) / (1 + 1e-5) ** 0.5
    g = torch.einsum("oc,bchw->bohw", gate.of_signal[0].weight[:, :, 0, 0], signal) / (1 + 1e-5) ** 0.5
    g = torch.nn.functional.interpolate(g, size=(8, 8), mode="bilinear")
    psi, bias = gate.opening[0].weight[0, :, 0, 0], gate.opening[0].bias
    alpha = torch.sigmoid(torch.einsum("c,bchw->bhw", psi, torch.relu(x + g)) + bias)
    torch.testing.assert_close(gate(skip, signal), skip * alpha[:, None])


def test_the_gates_of_attention_unet_are_all_in_use() -> None:
    network = build_segmenter(SegmenterSpec(classes=TWO, architecture="attention-unet", width=8)).eval()
    assert isinstance(network, AttentionUnet)
    assert len(network.decoder.gates) == 4
    picture = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        before = network(picture)
        for gate in network.decoder.gates:
            gate.opening[0].bias -= 50
        shut = network(picture)
    assert (before - shut).abs().max() > 1e-4


@pytest.mark.parametrize("name", ["unet", "attention-unet"])
def test_a_pixel_far_from_the_edge_has_the_same_result_on_any_tile(name: str) -> None:
    torch.manual_seed(1)
    spec = SegmenterSpec(classes=TWO, architecture=name, depth=3, width=4)
    network = build_segmenter(spec)
    _settle(network)
    segmenter = Segmenter(network, spec)
    picture = np.random.default_rng(0).integers(0, 255, (1, 208, 208, 3)).astype(np.uint8)
    large = segmenter.probabilities(picture)[0, :, 8:, 8:]
    small = segmenter.probabilities(picture[:, 8:, 8:])[0]
    # no path through this network is longer than 88 px
    np.testing.assert_allclose(small[:, 88:-88, 88:-88], large[:, 88:-88, 88:-88], atol=1e-5)
    assert np.abs(small - large).max() > 1e-4  # near the cut edge it differs: that is what margins are for


def test_tiles_with_a_margin_equal_one_pass() -> None:
    class Blurred(Segmenter):
        """Looks 6 px far, as a small network would."""

        def __init__(self) -> None:
            self.multiple, self.surround = 8, None

        def probabilities(self, tiles: Any, views: Any = None) -> Any:
            assert views is None
            return np.stack([cv2.blur(t.astype(np.float32), (13, 13)).transpose(2, 0, 1) for t in tiles])

    picture = np.random.default_rng(0).integers(0, 255, (150, 90, 3)).astype(np.uint8)
    once = Blurred().probabilities(picture[None])[0]
    tiled = whole(Blurred(), picture, size=32, margin=8)
    assert tiled.shape == (3, 150, 90)
    inside = np.s_[:, 6:-6, 6:-6]
    np.testing.assert_allclose(tiled[inside], once[inside], atol=1e-3)
    narrow = whole(Blurred(), picture, size=32, margin=0)
    assert np.abs(narrow[inside] - once[inside]).max() > 1


def _settle(network: torch.nn.Module) -> None:
    """Give batch normalisation statistics of its own, as training does."""
    network.train()
    with torch.no_grad():
        for seed in range(2):
            network(torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(seed)))


def test_flips_are_a_mean_over_mirror_images() -> None:
    torch.manual_seed(0)
    spec = SegmenterSpec(classes=TWO, depth=3, width=8)
    network = build_segmenter(spec)
    _settle(network)
    tile = np.random.default_rng(0).integers(0, 255, (1, 64, 64, 3)).astype(np.uint8)
    once = Segmenter(network, spec)
    mirrored = Segmenter(network, spec, flips=True).probabilities(tile)
    views = [
        (lambda a: a),
        (lambda a: a[..., ::-1, :]),
        (lambda a: a[..., ::-1]),
        (lambda a: a[..., ::-1, ::-1]),
    ]
    turned = [tile, tile[:, ::-1], tile[:, :, ::-1], tile[:, ::-1, ::-1]]
    mean = np.mean(
        [view(once.probabilities(np.ascontiguousarray(t))) for view, t in zip(views, turned, strict=True)],
        axis=0,
    )
    np.testing.assert_allclose(mirrored, mean, atol=1e-6)


def test_tiles_of_an_odd_size_are_refused() -> None:
    spec = SegmenterSpec(classes=TWO, depth=3, width=8)
    segmenter = Segmenter(build_segmenter(spec), spec)
    with pytest.raises(UsageError, match="multiples of 8"):
        segmenter.probabilities(np.zeros((1, 60, 64, 3), np.uint8))


def test_a_picture_smaller_than_a_tile_is_segmented_whole() -> None:
    spec = SegmenterSpec(classes=TWO, depth=3, width=8)
    segmenter = Segmenter(build_segmenter(spec), spec)
    picture = np.zeros((30, 50, 3), np.uint8)
    assert whole(segmenter, picture, size=64, margin=16).shape == (2, 30, 50)


# ------------------------------------------------------------------ context
def test_a_view_of_the_surroundings_makes_tiles_equal_one_pass() -> None:
    """Views are cut out of the picture, so what a tile does not show is there; without them it is not."""
    torch.manual_seed(4)
    spec = SegmenterSpec(classes=TWO, depth=3, width=4, context=2, around=48)
    segmenter = Segmenter(_settled(spec), spec, threads=1)
    rng = np.random.default_rng(0)
    picture = cv2.resize(rng.integers(0, 255, (48, 48, 3)).astype(np.uint8), (384, 384))
    once = segmenter.probabilities(picture[None])[0]
    tiled = whole(segmenter, picture, size=128, margin=64)
    inside = np.s_[:, 160:224, 160:224]  # 96 from where its tile's pixels end
    np.testing.assert_allclose(tiled[inside], once[inside], atol=1e-4)
    tile = picture[None, 64:320, 64:320]
    views = segmenter.surround.of_picture(picture)[None, 32 : 32 + 224, 32 : 32 + 224]  # type: ignore[union-attr]
    mine, other = (segmenter.probabilities(tile, v)[0, :, 96:160, 96:160] for v in (views, 255 - views))
    np.testing.assert_allclose(mine, once[inside], atol=1e-4)
    assert np.abs(other - mine).max() > 1e-3  # the surroundings count
    with pytest.raises(UsageError, match="do not belong to tiles"):
        segmenter.probabilities(picture[None], picture[None])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"context": 3, "around": 8}, "3 times as coarse"),
        ({"context": 2, "around": 3}, "around 3 cannot be: expected a multiple of 16"),
        ({"context": 4, "around": 8, "architecture": "fpn"}, "fpn takes no context"),
    ],
)
def test_contexts_that_cannot_be_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        SegmenterSpec(classes=TWO, **options)


def _settled(spec: SegmenterSpec) -> torch.nn.Module:
    network = build_segmenter(spec).train()
    side = 64 // spec.context + 2 * spec.around
    with torch.no_grad():
        for _ in range(2):
            network(torch.rand(2, 3, 64, 64), torch.rand(2, 3, side, side))
    return network
