"""Normalisers against slow references in float64, on synthetic and on real tiles."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from coverslip.core.errors import StainError, UnknownNameError, UsageError
from coverslip.stain import (
    METHODS,
    Normaliser,
    StainTarget,
    augment_hed,
    fit,
    fit_target,
    load_target,
    recombine,
)
from coverslip.stain.reinhard import to_lab
from coverslip.stain.targets import BUILT_IN

NAMES = sorted(METHODS)


def tissue(seed: int = 0, n: int = 16_384) -> np.ndarray:
    from coverslip.stain import RUIFROK_JOHNSTON

    rng = np.random.default_rng(seed)
    nucleus = rng.random(n) < 0.3
    amounts = np.where(nucleus[:, None], [0.8, 0.05], [0.05, 0.4]) * rng.gamma(4, 0.25, (n, 2))
    return recombine(amounts.astype(np.float32), RUIFROK_JOHNSTON["H&E"])


def normaliser(name: str, seed: int = 0) -> Normaliser:
    return Normaliser.to_target(name, fit(name, tissue(seed)), load_target("nct-crc"))


def stains_reference(pixels: np.ndarray, which: Normaliser) -> np.ndarray:
    od = np.maximum(-np.log10(np.maximum(pixels.astype(np.float64), 0.5) / which.source.background), 0)
    amounts = np.maximum(od @ np.linalg.pinv(which.source.array), 0)
    scale = np.divide(which.target.max_concentrations, which.source.max_concentrations)
    return np.rint(255 * 10 ** -(amounts * scale @ which.target.array)).clip(0, 255)


def reinhard_reference(pixels: np.ndarray, which: Normaliser) -> np.ndarray:
    from skimage.color import lab2rgb, rgb2lab

    lab = rgb2lab(pixels[None] / 255.0)
    lab = (lab - which.source.mean) / which.source.sd * which.target.sd + which.target.mean
    return np.rint(lab2rgb(lab)[0] * 255)


@pytest.mark.parametrize("name", ["macenko", "vahadane"])
def test_stain_transfer_is_the_slow_one(name: str) -> None:
    pixels = np.concatenate(
        [tissue(1), np.random.default_rng(0).integers(0, 256, (20_000, 3), dtype=np.uint8)]
    )
    which = normaliser(name)
    error = np.abs(which.apply(pixels) - stains_reference(pixels, which))
    assert error.max() <= 1
    assert (error > 0).mean() < 0.02


def test_stain_transfer_where_stains_are_almost_one_is_as_exact_as_its_logarithms() -> None:
    from coverslip.stain import StainMatrix

    slanted = [[np.cos(angle), np.sin(angle), 0.3] for angle in (0.8, 0.86)]  # 3.3 degrees apart
    near = StainMatrix(("haematoxylin", "eosin"), tuple(slanted), (0.3, 1.4), (240, 238, 241))
    which = Normaliser.to_target("macenko", near, load_target("cmu-1"))
    pixels = np.random.default_rng(0).integers(0, 256, (100_000, 3), dtype=np.uint8)
    error = np.abs(which.apply(pixels) - stains_reference(pixels, which))
    assert error.max() <= 4  # small differences of logarithms count more than a hundredfold
    assert (error > 1).mean() < 0.005


@pytest.mark.parametrize("count", [0, 1, 31, 32, 33, 64, 999])
def test_processors_without_byte_tables_give_the_same(count: int, plain_kernel: Callable[..., None]) -> None:
    from coverslip.stain.kernels import transfer

    numbers = normaliser("macenko")._map._numbers
    pixels = np.random.default_rng(count).integers(0, 256, 3 * count, dtype=np.uint8)
    here, there = np.empty_like(pixels), np.empty_like(pixels)
    transfer(pixels, here, *numbers)
    plain_kernel(pixels, there, *numbers)
    assert np.array_equal(here, there)


@pytest.fixture(scope="module")
def plain_kernel() -> Iterator[Callable[..., None]]:
    """The kernel as it is compiled for other processors."""
    from coverslip.core.compiled import compiled
    from coverslip.stain import kernels

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(kernels, "byte_tables", lambda _: False)
        signature = "void(uint8[::1], uint8[::1], uint8[::1], int16[::1], float32[::1])"
        yield compiled(signature, keep=False)(kernels.transfer.py_func)


def test_reinhard_is_the_slow_one() -> None:
    pixels = tissue(1)
    which = normaliser("reinhard")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # scikit-image: colours that sRGB cannot show
        error = np.abs(which.apply(pixels) - reinhard_reference(pixels, which))
    assert error.mean() < 0.5
    assert np.percentile(error, 99) <= 2


@pytest.mark.parametrize("name", NAMES)
def test_a_slide_normalised_to_itself_hardly_changes(name: str) -> None:
    pixels = tissue(2)
    found = fit(name, pixels)
    error = np.abs(Normaliser(name, found, found).apply(pixels).astype(int) - pixels)
    assert error.mean() < 1.5


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(3,), (256, 3), (128, 2, 3), (4, 32, 32, 3), (1, 1, 3), (0, 8, 3)])
def test_any_shape_and_out(name: str, shape: tuple[int, ...]) -> None:
    which = normaliser(name)
    if len(shape) == 1:
        with pytest.raises(UsageError):
            which.apply(np.zeros(shape, np.uint8))
        return
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    expected = which.apply(pixels)
    out = np.empty_like(pixels)
    assert which.apply(pixels, out) is out
    assert np.array_equal(out, expected)
    pixelwise = which.apply(pixels.reshape(-1, 3)).reshape(shape)
    assert np.array_equal(pixelwise, expected)
    assert np.array_equal(which.apply(pixels, pixels), expected)


def test_strided_input_and_large_batches() -> None:
    which = normaliser("macenko")
    big = np.random.default_rng(0).integers(0, 256, (3, 300, 301, 3), dtype=np.uint8)
    assert np.array_equal(which.apply(big[:, ::2, ::3]), which.apply(big)[:, ::2, ::3])


def test_out_must_fit() -> None:
    tile = np.zeros((8, 8, 3), np.uint8)
    for out in (
        np.zeros((8, 7, 3), np.uint8),
        np.zeros((8, 8, 3), np.float32),
        np.zeros((8, 16, 3), np.uint8)[:, ::2],
    ):
        with pytest.raises(UsageError, match="out"):
            normaliser("macenko").apply(tile, out)


def test_threads_share_a_normaliser() -> None:
    which = normaliser("reinhard")
    tiles = np.random.default_rng(0).integers(0, 256, (16, 64, 64, 3), dtype=np.uint8)
    expected = [which.apply(tile) for tile in tiles]
    with ThreadPoolExecutor(4) as pool:
        assert all(np.array_equal(a, b) for a, b in zip(pool.map(which.apply, tiles), expected, strict=True))


def test_tables_without_opencv_5_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    from coverslip.stain import chain

    pixels = np.random.default_rng(0).integers(0, 256, (999, 3), dtype=np.uint8)
    expected = {name: normaliser(name).apply(pixels) for name in NAMES}
    monkeypatch.setattr(chain, "_wide_tables", lambda: False)
    for name in NAMES:
        assert np.array_equal(normaliser(name).apply(pixels), expected[name])


@pytest.mark.parametrize("name", ["macenko", "vahadane"])
def test_white_stays_white_and_black_dark(name: str) -> None:
    out = normaliser(name).apply(np.array([[255] * 3, [0] * 3], np.uint8))
    assert out[0].tolist() == [255] * 3
    assert out[1].max() < 60


@pytest.mark.parametrize("name", NAMES)
def test_json_round_trip_of_normalisers(name: str) -> None:
    which = normaliser(name)
    again = Normaliser.from_json(which.to_json())
    assert again == which
    assert np.array_equal(again.apply(tissue()), which.apply(tissue()))


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"method": "macenko", "source": {}, "target": {}}'])
def test_json_that_holds_no_normaliser(text: str) -> None:
    with pytest.raises(StainError):
        Normaliser.from_json(text)


def test_fits_of_another_method_are_refused() -> None:
    with pytest.raises(StainError, match="LabStatistics"):
        Normaliser("reinhard", fit("macenko", tissue()), fit("macenko", tissue()))


def test_unknown_names_get_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="macenko"):
        fit("macenco", tissue())
    with pytest.raises(UnknownNameError, match="nct-crc"):
        load_target("nct-cr")


@pytest.mark.parametrize("name", BUILT_IN)
def test_built_in_targets_state_their_origin(name: str) -> None:
    target = load_target(name)
    assert "CC" in target.source
    assert {*target.fits} == {*METHODS}
    for key in METHODS:
        target.fitted(key)


def test_targets_are_saved_and_loaded(tmp_path: Path) -> None:
    target = fit_target("ours", tissue(), source="made up")
    target.save(tmp_path / "ours.json")
    assert load_target(tmp_path / "ours.json") == target
    assert target.fitted("macenko") == fit("macenko", tissue())


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"type": "coverslip stain target", "version": 99}'])
def test_files_that_hold_no_target(tmp_path: Path, text: str) -> None:
    (tmp_path / "bad.json").write_text(text)
    with pytest.raises(StainError):
        load_target(tmp_path / "bad.json")
    with pytest.raises(StainError):
        StainTarget.from_json(text)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("target", ["torchstain_target", "tiatoolbox_target_image"])
def test_real_tiles_move_to_the_target_and_keep_their_structure(
    test_data: Path, name: str, target: str
) -> None:
    import cv2

    def read(stem: str) -> np.ndarray:
        return cv2.imread(str(test_data / "stain" / f"{stem}.png"))[..., ::-1].copy()

    source, wanted = read("torchstain_source"), read(target)
    which = Normaliser.to_target(name, fit(name, source), fit_target(target, wanted))
    out = which.apply(source)
    means = [to_lab(pixels).mean(axis=0) for pixels in (source, wanted, out)]
    assert np.linalg.norm(means[2] - means[1]) < 0.75 * np.linalg.norm(means[0] - means[1])
    grey = [cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).ravel() for pixels in (source, out)]
    assert np.corrcoef(*grey)[0, 1] > 0.92


def test_augmentation_at_zero_changes_nothing() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    assert np.array_equal(augment_hed(pixels, np.random.default_rng(0), sigma=0), pixels)


def test_augmentation_is_the_slow_one() -> None:
    from coverslip.stain import RUIFROK_JOHNSTON, separate, to_od

    stains = RUIFROK_JOHNSTON["HED"]
    tile = tissue().reshape(128, 128, 3)
    out = augment_hed(tile, np.random.default_rng(7), sigma=0.1, shift=0.02)
    rng = np.random.default_rng(7)
    scale, shift = rng.uniform(0.9, 1.1, 3), rng.uniform(-0.02, 0.02, 3)
    amounts = to_od(tile).astype(np.float64) @ np.linalg.inv(stains.array)
    expected = np.rint(255 * 10 ** -((amounts * scale + shift) @ stains.array)).clip(0, 255)
    assert np.abs(out - expected).max() <= 1
    assert np.abs(separate(tile, stains) - amounts).max() < 1e-4


def test_each_tile_gets_its_own_draw_and_a_seed_repeats_it() -> None:
    tiles = np.stack([tissue(0, 256).reshape(16, 16, 3)] * 3)
    out = augment_hed(tiles, np.random.default_rng(1), sigma=0.2)
    assert not np.array_equal(out[0], out[1])
    assert np.array_equal(out, augment_hed(tiles, np.random.default_rng(1), sigma=0.2))


@pytest.mark.parametrize("bad", [{"sigma": -0.1}, {"sigma": 2}, {"shift": -1}, {"shift": float("inf")}])
def test_augmentation_out_of_range(bad: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        augment_hed(np.zeros((4, 4, 3), np.uint8), np.random.default_rng(0), **bad)
