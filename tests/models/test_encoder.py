"""Encoders agree across back ends, and refuse what they cannot judge."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from functools import cache
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason='torch is not installed: pip install "coverslip[torch]"')
timm = pytest.importorskip("timm", reason='timm is not installed: pip install "coverslip[torch]"')

from coverslip.core.errors import StoreError, UnknownNameError, UsageError  # noqa: E402
from coverslip.models import (  # noqa: E402
    ENCODERS,
    MODELS,
    SLIDE_ENCODERS,
    encoder_card,
    load_encoder,
    load_slide_encoder,
    model_card,
)
from coverslip.models.card import PERMISSIVE  # noqa: E402
from coverslip.models.encoder import Runtime  # noqa: E402
from coverslip.models.encoder_networks import assemble  # noqa: E402
from coverslip.models.network import build, normalised, sample_tiles  # noqa: E402
from coverslip.models.weights_layout import LAYOUTS  # noqa: E402

TILES = sample_tiles(encoder_card("resnet18"), 5)


def cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * b).sum(axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))


@pytest.fixture(scope="module")
def reference(weights: str) -> np.ndarray:
    """What torch gives in float64, one tile at a time, normalised as the textbook does."""
    card = encoder_card("resnet18")
    network = build(card, weights).double()
    pixels = torch.from_numpy(TILES).double().permute(0, 3, 1, 2) / 255
    mean, std = (torch.tensor(v, dtype=torch.float64).view(1, 3, 1, 1) for v in (card.mean, card.std))
    return torch.cat([network((tile[None] - mean) / std) for tile in pixels]).numpy()


@pytest.mark.parametrize(
    ("backend", "precision", "least"),
    [
        ("torch", "f32", 0.999),
        ("torch", "bf16", 0.995),
        ("torch-compile", "f32", 0.999),
        ("openvino", "f32", 0.999),
        ("openvino", "bf16", 0.995),
        ("onnx", "f32", 0.999),
    ],
)
def test_back_ends_agree(
    weights: str, reference: np.ndarray, backend: str, precision: str, least: float
) -> None:
    if backend in ("openvino", "onnx"):
        pytest.importorskip({"openvino": "openvino", "onnx": "onnxruntime"}[backend])
    runtime = Runtime(backend=backend, precision=precision, batch=2)
    features = load_encoder("resnet18", weights=weights, runtime=runtime).encode(TILES)
    assert features.shape == (5, 512)
    assert features.dtype == np.float32
    assert cosine(features, reference).min() >= least


def test_order_and_length_hold_over_short_batches(weights: str) -> None:
    encoder = load_encoder("resnet18", weights=weights, runtime=Runtime(batch=4))
    parts = list(encoder.stream(iter([TILES[:3], TILES[3:4], TILES[4:5]])))
    assert [len(part) for part in parts] == [3, 1, 1]
    np.testing.assert_allclose(np.concatenate(parts), encoder.encode(TILES), atol=1e-5)


def test_a_failing_reader_is_heard_and_earlier_features_are_kept(weights: str) -> None:
    def broken() -> Iterator[np.ndarray]:
        yield TILES[:2]
        raise OSError("the disk is gone")

    features = load_encoder("resnet18", weights=weights, runtime=Runtime(batch=2)).stream(broken())
    assert len(next(features)) == 2
    with pytest.raises(OSError, match="disk is gone"):
        next(features)


def test_hub_weights_come_from_the_cache_and_say_when_they_cannot(
    weights: str, reference: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    asked: list[bool] = []

    def cached(repository: str, name: str, *, local_files_only: bool = False) -> str:
        asked.append(local_files_only)
        return weights

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", cached)
    features = load_encoder("resnet18").encode(TILES)
    assert asked == [True]
    assert cosine(features, reference).min() >= 0.999

    def absent(repository: str, name: str, *, local_files_only: bool = False) -> str:
        raise LocalEntryNotFoundError("no such entry") if local_files_only else OSError("no network")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", absent)
    with pytest.raises(StoreError, match=r"no network.*embed\.weights"):
        load_encoder("resnet18")


RUNNABLE = sorted(name for name, card in ENCODERS.items() if not card.unavailable)


@cache
def features_shape(architecture: str, parameters: str, pooling: str, tile_px: int) -> tuple[int, ...]:
    """Build a network on the meta device, where nothing is computed, and return the shape of its features."""
    card = next(
        card for card in ENCODERS.values()
        if (card.architecture, repr(card.parameters), card.pooling, card.tile_px)
        == (architecture, parameters, pooling, tile_px)
    )  # fmt: skip
    with torch.device("meta"):
        network = normalised(assemble(card), card)
    tiles = torch.empty((2, tile_px, tile_px, 3), dtype=torch.uint8, device="meta")
    with torch.inference_mode():
        return tuple(network.to("meta")(tiles).shape)


@pytest.mark.parametrize("name", RUNNABLE)
def test_every_card_tells_the_truth_without_weights(name: str) -> None:
    card = ENCODERS[name]
    shape = features_shape(card.architecture, repr(card.parameters), card.pooling, card.tile_px)
    assert shape == (2, card.dim)


PUBLISHED_MILLIONS = {
    "uni": 303, "uni2-h": 681, "virchow": 632, "virchow2": 632, "gigapath": 1135, "h-optimus-0": 1135,
    "h0-mini": 86, "phikon": 86, "phikon-v2": 303, "hibou-b": 86, "hibou-l": 304, "midnight-12k": 1136,
    "kaiko-vits16": 22, "kaiko-vitl14": 304, "ctranspath": 28, "retccl": 24,
}  # fmt: skip
"""Parameters as the models' pages and papers state them."""


@pytest.mark.parametrize("name", PUBLISHED_MILLIONS)
def test_networks_are_as_large_as_published(name: str) -> None:
    with torch.device("meta"):
        network = assemble(ENCODERS[name])
    count = sum(parameter.numel() for parameter in network.parameters()) / 1e6
    assert count == pytest.approx(PUBLISHED_MILLIONS[name], rel=0.015, abs=0.6)


def test_cards_are_complete_and_agree_with_themselves() -> None:
    assert len(RUNNABLE) >= 25
    for card in MODELS.values():
        assert card.layout in LAYOUTS, card.id
        assert card.pooling in ("own", "class+mean"), card.id
        assert card.id == "mean" or (card.cite and card.facts and card.source.count("/") == 1), card.id
        assert card.takes is None or card.takes in ENCODERS, card.id
        assert (card.task == "slide-encoder") == (card.takes is not None or card.id == "mean"), card.id
        assert all(0 < value < 1 for value in (*card.mean, *card.std)), card.id
        assert card.restricted or card.licence in PERMISSIVE, card.id
        assert not (card.commercial_use and ("NC" in card.licence or "non-commercial" in card.licence)), (
            card.id
        )
        json.dumps(asdict(card))


def test_what_cannot_be_run_says_why() -> None:
    with pytest.raises(UsageError, match=r"musk cannot be run by Coverslip: .*CC-BY-NC-ND"):
        load_encoder("musk", runtime=Runtime(size=384))
    for name, card in SLIDE_ENCODERS.items():
        if card.unavailable:
            with pytest.raises(UsageError, match=f"{name} cannot be run"):
                load_slide_encoder(name)
    with pytest.raises(UnknownNameError, match="titan"):
        load_slide_encoder("titian")
    with pytest.raises(UnknownNameError, match="virchow2"):
        model_card("virchow3")


def test_mean_of_a_slide() -> None:
    encoder = load_slide_encoder("mean")
    features = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float16)
    features[3] = np.nan
    found = encoder.encode(features)
    np.testing.assert_allclose(found, np.nanmean(features.astype(float), axis=0), rtol=1e-5)
    np.testing.assert_array_equal(found, encoder.encode(features[::-1], np.zeros((50, 2), int)))
    with pytest.raises(UsageError, match="none of 2 tiles has features"):
        encoder.encode(np.full((2, 8), np.nan))


def test_bad_requests_are_refused_with_the_mend(weights: str, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="resnet18"):
        load_encoder("resnet81")
    with pytest.raises(UnknownNameError, match="openvino"):
        Runtime(backend="openvinno")
    with pytest.raises(UsageError, match="224"):
        load_encoder("vit-small", runtime=Runtime(size=256))
    with pytest.raises(UsageError, match="resnet50"):
        load_encoder("resnet50", weights=weights)
    with pytest.raises(UsageError, match="pickled"):
        load_encoder("resnet18", weights=str(tmp_path / "model.pth"))
    with pytest.raises(StoreError, match="no weights"):
        load_encoder("resnet18", weights=str(tmp_path / "none.safetensors"))
    (tmp_path / "bad.safetensors").write_bytes(b"\0" * 100)
    with pytest.raises(StoreError, match="cannot be read"):
        load_encoder("resnet18", weights=str(tmp_path / "bad.safetensors"))
    with pytest.raises(UsageError, match="bf16"):
        load_encoder("resnet18", weights=weights, runtime=Runtime(backend="onnx", precision="bf16"))
    encoder = load_encoder("resnet18", weights=weights, runtime=Runtime(batch=2))
    with pytest.raises(UsageError, match="expected uint8 tiles"):
        list(encoder.stream([TILES.astype(np.float32)[:2]]))


def test_a_back_end_that_is_not_installed_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    from coverslip.core.errors import MissingExtraError
    from coverslip.models import encoder

    monkeypatch.setattr(encoder, "find_spec", lambda name: None if name == "openvino" else object())
    Runtime(backend="torch").require_packages()
    with pytest.raises(MissingExtraError, match=r"openvino is not installed.*coverslip\[openvino\]"):
        Runtime(backend="openvino").require_packages()


def test_tiles_of_another_scale_are_refused() -> None:
    from dataclasses import replace

    card = replace(encoder_card("vit-small"), mpp=0.5)
    card.check_tiles(224, 0.499)
    with pytest.raises(UsageError, match=r"tiles\.mpp=0\.5"):
        card.check_tiles(224, 0.25)
    with pytest.raises(UsageError, match=r"tiles\.size=224"):
        card.check_tiles(256, 0.5)
    several = encoder_card("virchow2")
    several.check_tiles(224, 0.25)
    several.check_tiles(224, 2.0)
    with pytest.raises(UsageError, match=r"trained at mpp 0\.5, 0\.25, 1, 2, these tiles have 0\.35"):
        several.check_tiles(224, 0.35)
