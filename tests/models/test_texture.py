"""Colour and texture beside a network: against references, and what turning a picture must not change."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason='torch is not installed: pip install "coverslip[torch]"')

from coverslip.models.committee import Committee  # noqa: E402 - after the check for torch
from coverslip.models.picture_classifier import symmetry  # noqa: E402
from coverslip.models.small_cnn import SmallCNN  # noqa: E402
from coverslip.models.texture import (  # noqa: E402
    BINS,
    COLOURS,
    PATTERNS,
    PER_SCALE,
    WIDTH,
    Texture,
    WithTexture,
)

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PATTERNS_AT = COLOURS**3 + 5 * BINS


def pictures(count: int = 3, side: int = 48) -> np.ndarray:
    rng = np.random.default_rng(5)
    coarse = rng.integers(30, 250, (count, side // 4, side // 4, 3))
    fine = rng.integers(-25, 25, (count, side, side, 3))
    return np.clip(coarse.repeat(4, axis=1).repeat(4, axis=2) + fine, 0, 255).astype(np.uint8)


def normalised(rgb: np.ndarray) -> torch.Tensor:
    mean, std = (torch.tensor(each).view(1, 3, 1, 1) for each in (MEAN, STD))
    return (torch.from_numpy(np.ascontiguousarray(rgb)).permute(0, 3, 1, 2).float() / 255 - mean) / std


def texture(classes: int = 3) -> Texture:
    torch.manual_seed(1)
    return Texture(classes, mean=MEAN, std=STD).eval()


@pytest.mark.parametrize("number", range(8))
def test_turning_and_mirroring_change_nothing(number: int) -> None:
    rgb = pictures()
    said = [texture().describe(normalised(each)) for each in (rgb, symmetry(rgb, number))]
    assert said[0].shape == (3, WIDTH)
    torch.testing.assert_close(*said, atol=2e-4, rtol=1e-3)


def test_colours_are_counted_as_numpy_counts_them() -> None:
    rgb = pictures(1)
    codes = (rgb[0].astype(int) * COLOURS) // 256
    flat = (codes[..., 0] * COLOURS + codes[..., 1]) * COLOURS + codes[..., 2]
    expected = np.sqrt(np.bincount(flat.ravel(), minlength=COLOURS**3) / flat.size)
    found = texture().describe(normalised(rgb))[0, : COLOURS**3].numpy()
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_patterns_are_those_of_the_paper_counted_one_by_one() -> None:
    rgb = pictures(1, side=16)
    grey = np.round(rgb[0].astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32))
    ring = [(-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1)]
    counts = np.zeros(PATTERNS)
    for y in range(1, 15):
        for x in range(1, 15):
            bits = [bool(grey[y + dy, x + dx] >= grey[y, x]) for dy, dx in ring]
            changes = sum(bits[i] != bits[i - 1] for i in range(8))
            counts[sum(bits) if changes <= 2 else PATTERNS - 1] += 1
    found = texture().describe(normalised(rgb))[0, PATTERNS_AT : PATTERNS_AT + PATTERNS].numpy()
    np.testing.assert_allclose(found, np.sqrt(counts / 14**2), atol=1e-6)


def test_pairs_agree_as_a_correlation_says() -> None:
    stripes = np.tile(np.array([60, 60, 60, 200, 200, 200], np.uint8), (36, 6))
    found = texture().describe(normalised(stripes[None, ..., None].repeat(3, axis=-1)))[0]
    _, _, near, near_differ, far, _ = found[PATTERNS_AT + PATTERNS : PATTERNS_AT + PATTERNS + 6].tolist()
    assert near == pytest.approx((1 + (24 - 11) / 35) / 2, abs=0.01)  # down all alike; across 11 of 35 differ
    assert far == pytest.approx((1 - 1) / 2, abs=0.01)  # three apart every pair across is opposite
    assert near_differ == pytest.approx(140 / 32 * 11 / 35 / 2, rel=0.01)
    assert PER_SCALE * 3 + PATTERNS_AT == WIDTH


def test_a_committee_describes_once_and_says_the_mean_of_its_members() -> None:
    members = [WithTexture(SmallCNN(3, width=8, depths=(0, 0)), texture()) for _ in range(3)]
    whole, x, asked = Committee(members).eval(), normalised(pictures()), []
    members[0].texture.register_forward_hook(lambda *_: asked.append(1))
    describe = members[0].describe
    members[0].describe = lambda y: asked.append(2) or describe(y)
    mean = torch.stack([member(x).softmax(dim=1) for member in members]).mean(dim=0)
    asked.clear()
    torch.testing.assert_close(whole(x).exp(), mean, atol=1e-6, rtol=1e-5)
    assert asked == [2]
    assert whole.features(x).shape == (3, 3 * members[0].features(x).shape[1])


def test_half_precision_around_it_changes_nothing() -> None:
    x, own = normalised(pictures()), texture()
    with torch.autocast("cpu", torch.bfloat16):
        found = own(x)
    torch.testing.assert_close(found, own(x))
