"""Whether a slide looks like those that a model was trained on."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from coverslip.core.errors import MissingMppError, StainError, UsageError
from coverslip.models.seen import LOOKS, Seen, look, looks_of
from coverslip.slides import SlideSource, open_slide


def tile(seed: int, colour: tuple[int, int, int] = (170, 110, 180)) -> np.ndarray:
    """Return blots of a colour on glass."""
    rng = np.random.default_rng(seed)
    blots = cv2.GaussianBlur(rng.uniform(0, 1, (96, 96)).astype(np.float32), (0, 0), 2)[..., None]
    blots = np.clip((blots - 0.45) * 8, 0, 1)
    return (245 * (1 - blots) + np.array(colour) * blots).astype(np.uint8)


def looks(seeds: range, **how: tuple[int, int, int]) -> np.ndarray:
    return np.stack([look(tile(seed, **how)) for seed in seeds])


@pytest.fixture(scope="module")
def seen() -> Seen:
    made = Seen.of([looks(range(20 * n, 20 * n + 20)) for n in range(6)], mpp=0.5, tile_px=96)
    assert made is not None
    return made


def test_slides_of_the_same_kind_are_alike(seen: Seen) -> None:
    assert not any(seen.judge(looks(range(1000 + 20 * n, 1020 + 20 * n))).is_unlike for n in range(10))


def test_another_colour_and_blur_are_unlike(seen: Seen) -> None:
    brown = seen.judge(looks(range(1000, 1020), colour=(150, 110, 70)))
    assert brown.is_unlike
    assert "stain" in brown.most
    blurred = np.stack([look(cv2.GaussianBlur(tile(seed), (0, 0), 3)) for seed in range(1000, 1020)])
    assert seen.judge(blurred).is_unlike


def test_a_summary_survives_a_card(seen: Seen) -> None:
    import json

    again = Seen.from_dict(json.loads(json.dumps(seen.to_dict())))
    assert again == seen
    assert Seen.from_dict({**seen.to_dict(), "looks": ["others"]}) is None, "numbers of another version"


def test_too_little_to_tell(seen: Seen) -> None:
    assert Seen.of([looks(range(20)), looks(range(20, 40))], mpp=0.5, tile_px=96) is None
    with pytest.raises(UsageError, match="2 tiles"):
        seen.judge(looks(range(2)))


def test_white_and_black_tiles_have_numbers() -> None:
    for level in (0, 255):
        found = look(np.full((32, 32, 3), level, np.uint8))
        assert found.shape == (len(LOOKS),)
        assert np.isfinite(found).all()


def test_tiles_are_looked_at_where_there_is_stain(tmp_path: Path) -> None:
    picture = np.full((512, 512, 3), 245, np.uint8)
    picture[200:296, 300:396] = tile(1)
    tifffile.imwrite(tmp_path / "a.tif", picture, tile=(128, 128), photometric="rgb",
                     resolution=(20_000, 20_000), resolutionunit="CENTIMETER")  # fmt: skip
    with open_slide(str(tmp_path / "a.tif")) as slide:
        found = looks_of(slide, mpp=0.5, tile_px=32)
    assert 20 < len(found) <= 48
    assert np.abs(found[:, 1].mean() - look(tile(1))[1]) < 0.1


def test_a_slide_without_scale_cannot_be_looked_at(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", tile(1), photometric="rgb")
    with open_slide(str(tmp_path / "a.tif")) as slide, pytest.raises(MissingMppError):
        looks_of(slide, mpp=0.5, tile_px=32)


def test_a_scale_finer_than_the_slides(tmp_path: Path) -> None:
    big = np.tile(tile(1), (4, 4, 1))
    tifffile.imwrite(tmp_path / "a.tif", big, photometric="rgb", resolution=(20_000, 20_000),
                     resolutionunit="CENTIMETER")  # fmt: skip
    with open_slide(str(tmp_path / "a.tif")) as slide:
        found = looks_of(slide, mpp=0.25, tile_px=64)
    assert len(found) > 20
    assert np.isfinite(found).all()


def test_sixteen_bits_cannot_be_looked_at(tmp_path: Path) -> None:
    grey = np.zeros((256, 256), np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", grey, resolution=(20_000, 20_000), resolutionunit="CENTIMETER")
    with open_slide(str(tmp_path / "a.tif")) as slide, pytest.raises(StainError):
        looks_of(slide, mpp=0.5, tile_px=32)


def test_a_card_tells_only_what_could_be_looked_at(tmp_path: Path) -> None:
    """A slide that has gone and one without scale are left out; with too few, the card says nothing."""
    torch = pytest.importorskip("torch", reason="a model folder holds tensors")
    from coverslip.learn.seen import keep_seen
    from coverslip.models.folder import FolderCard, ModelFolder

    card = FolderCard(
        id="m", task="segment", architecture="unet", mpp=0.5, tile_px=48, trained_on={"slides": 5}
    )
    ModelFolder.save(tmp_path / "m", {"w": torch.zeros(1)}, card)
    sources = [SlideSource("gone", str(tmp_path / "gone.tif"))]
    tifffile.imwrite(tmp_path / "bare.tif", tile(1), photometric="rgb")
    sources.append(SlideSource("bare", str(tmp_path / "bare.tif")))
    keep_seen(tmp_path / "m", sources)
    assert "seen" not in ModelFolder.load(tmp_path / "m").card.trained_on
    for number in range(3):
        big = np.tile(tile(number), (3, 3, 1))
        tifffile.imwrite(tmp_path / f"{number}.tif", big, photometric="rgb")
        sources.append(SlideSource(str(number), str(tmp_path / f"{number}.tif"), 0.5))
    keep_seen(tmp_path / "m", sources)
    kept = ModelFolder.load(tmp_path / "m").card.trained_on
    assert (kept["slides"], kept["seen"]["slides"], kept["seen"]["mpp"]) == (5, 3, 0.5)
