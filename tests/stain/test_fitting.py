"""Stain vectors are found again where they are known; what cannot be fitted is refused."""

from __future__ import annotations

import numpy as np
import pytest

from coverslip.core.errors import StainError
from coverslip.stain import RUIFROK_JOHNSTON, StainMatrix, fit_macenko, fit_vahadane, recombine

FITS = [fit_macenko, fit_vahadane]


def matrix(seed: int) -> StainMatrix:
    """Haematoxylin and eosin as another laboratory's."""
    rng = np.random.default_rng(seed)
    vectors = np.array([[0.65, 0.70, 0.29], [0.10, 0.95, 0.20]]) + rng.normal(0, 0.04, (2, 3))
    return StainMatrix(("haematoxylin", "eosin"), tuple(map(tuple, np.clip(vectors, 0.01, None))))


def tissue(stains: StainMatrix, seed: int = 0, n: int = 40_000) -> np.ndarray:
    """Pixels of nuclei (a quarter) and of the rest, with a camera's noise."""
    rng = np.random.default_rng(seed)
    nucleus = rng.random(n) < 0.25
    haematoxylin = np.where(nucleus, rng.gamma(4, 0.2, n), rng.gamma(1, 0.02, n))
    eosin = np.where(nucleus, rng.gamma(1, 0.03, n), rng.gamma(3, 0.12, n))
    pixels = recombine(np.stack([haematoxylin, eosin], axis=1).astype(np.float32), stains)
    return np.clip(np.rint(pixels + rng.normal(0, 1.5, pixels.shape)), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("fit", FITS)
def test_known_vectors_are_recovered(fit) -> None:
    angles = [fit(tissue(matrix(seed), seed)).angles_to(matrix(seed)) for seed in range(10)]
    assert np.mean(angles) <= 3
    assert np.max(angles) <= 5


@pytest.mark.parametrize("fit", FITS)
def test_glass_ink_and_dirt_change_nothing(fit) -> None:
    stains = matrix(3)
    clean = tissue(stains, 3)
    glass = np.random.default_rng(0).integers(242, 256, (40_000, 3), dtype=np.uint8)
    ink = np.full((3000, 3), (30, 140, 130), np.uint8)
    dirt = np.full((3000, 3), 2, np.uint8)
    with_all = np.concatenate([clean, glass, ink, dirt])
    assert np.allclose(fit(clean).array, fit(with_all).array, atol=1e-5)


@pytest.mark.parametrize("fit", FITS)
def test_background_of_the_slide_is_used(fit) -> None:
    stains = matrix(5)
    pixels = tissue(StainMatrix(stains.names, stains.vectors, background=(236.0, 240.0, 238.0)), 5)
    assert np.mean(fit(pixels, (236.0, 240.0, 238.0)).angles_to(stains)) <= 3
    assert fit(pixels, (236.0, 240.0, 238.0)).background == (236.0, 240.0, 238.0)


@pytest.mark.parametrize("fit", FITS)
def test_order_and_strength(fit) -> None:
    found = fit(tissue(matrix(1), 1))
    assert found.names == ("haematoxylin", "eosin")
    assert found.array[0, 0] > found.array[1, 0]
    weaker = fit(np.clip(255 * (tissue(matrix(1), 1) / 255) ** 0.5, 0, 255).astype(np.uint8))
    assert np.allclose(np.array(weaker.max_concentrations) / found.max_concentrations, 0.5, atol=0.08)


@pytest.mark.parametrize("fit", FITS)
def test_jpeg_changes_little(fit) -> None:
    import cv2

    pixels = tissue(matrix(2), 2).reshape(200, 200, 3)
    blurred = cv2.GaussianBlur(pixels, (0, 0), 1.0)
    code = cv2.imencode(".jpg", blurred[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 75])[1]
    again = cv2.imdecode(code, cv2.IMREAD_COLOR)[..., ::-1]
    assert np.mean(fit(again).angles_to(fit(blurred))) < 4


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("level", [0, 128, 255])
def test_flat_pictures_are_refused(fit, level: int) -> None:
    with pytest.raises(StainError):
        fit(np.full((100, 100, 3), level, np.uint8))


@pytest.mark.parametrize("fit", FITS)
def test_too_little_tissue_is_refused_with_a_mend(fit) -> None:
    pixels = np.full((5000, 3), 250, np.uint8)
    pixels[:300] = tissue(matrix(0), 0, 300)
    with pytest.raises(StainError, match="show stain") as caught:
        fit(pixels)
    assert "RUIFROK_JOHNSTON" in str(caught.value)


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("stain", [0, 1])
def test_a_single_stain_is_refused(fit, stain: int) -> None:
    amounts = np.zeros((20_000, 2), np.float32)
    amounts[:, stain] = np.random.default_rng(0).uniform(0.2, 0.8, 20_000)
    with pytest.raises(StainError, match="one stain"):
        fit(recombine(amounts, RUIFROK_JOHNSTON["H&E"]))


@pytest.mark.parametrize("fit", FITS)
def test_brown_is_not_eosin(fit) -> None:
    names, vectors = ("haematoxylin", "eosin"), RUIFROK_JOHNSTON["H-DAB"].vectors
    with pytest.raises(StainError, match="H-DAB"):
        fit(tissue(StainMatrix(names, vectors)))


def test_a_gradient_has_no_two_stains_but_no_crash() -> None:
    ramp = np.arange(256, dtype=np.uint8)[None, :, None].repeat(60, axis=0).repeat(3, axis=2)
    for fit in FITS:
        with pytest.raises(StainError):
            fit(ramp)


def test_vectors_of_phantom_slides_are_recovered() -> None:
    from coverslip.core import Box
    from coverslip.phantom import PhantomSpec, make

    off: dict[str, list[float]] = {"macenko": [], "vahadane": []}
    for seed in range(3):
        phantom = make(PhantomSpec(width=1500, height=1500, tissue_share=0.6), seed)
        truth = StainMatrix(tuple(phantom.truth.stains), tuple(phantom.truth.stains.values()))
        pixels = np.concatenate([phantom.render(Box(x, 600, 256, 512)) for x in (300, 650, 1000)])
        for fit, angles in zip(FITS, off.values(), strict=True):
            angles.extend(fit(pixels, phantom.spec.glass).angles_to(truth))
    assert np.mean(off["macenko"]) <= 1.5
    assert np.mean(off["vahadane"]) <= 3


def test_fits_are_repeatable() -> None:
    pixels = tissue(matrix(4), 4, 300_000)
    assert fit_macenko(pixels) == fit_macenko(pixels)
    assert fit_vahadane(pixels) == fit_vahadane(pixels)


def test_vahadane_ends_at_a_minimum() -> None:
    """No small turn of a vector lowers the objective, amounts solved exactly by scikit-learn's lasso."""
    from sklearn.linear_model import Lasso

    from coverslip.stain import to_od
    from coverslip.stain.vahadane import SPARSITY, _factorise

    od = to_od(tissue(matrix(6), 6, 600)).astype(np.float64)
    od = od[od.mean(axis=1) > 0.1][:300]

    def objective(vectors: np.ndarray) -> float:
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        lasso = Lasso(SPARSITY / 3, positive=True, fit_intercept=False, tol=1e-9, max_iter=10_000)
        amounts = lasso.fit(unit.T, od.T).coef_
        return float(0.5 * ((od - amounts @ unit) ** 2).sum() + SPARSITY * amounts.sum())

    found = _factorise(od, SPARSITY)
    best = objective(found)
    rng = np.random.default_rng(0)
    turns = [np.clip(found + rng.normal(0, 0.02, (2, 3)), 0, None) for _ in range(12)]
    assert best < objective(RUIFROK_JOHNSTON["H&E"].array)
    assert all(best <= objective(turn) * (1 + 1e-4) for turn in turns)
