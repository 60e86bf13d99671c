"""The library: slides by name, opened once, closed when others are looked at."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from coverslip.core.errors import SlideNotFoundError, UnknownNameError, UsageError
from coverslip.pipeline import Recipe, run_recipe
from coverslip.server import Entry, Library
from coverslip.slides import find_slides


@pytest.fixture
def five(tmp_path: Path, jpeg_slide: Callable[..., Path]) -> Library:
    for name in "abcde":
        jpeg_slide(tmp_path / f"{name}.tif", 300, 400)
    return Library([Entry(path.stem, str(path)) for path in sorted(tmp_path.glob("*.tif"))], open_at_once=2)


def test_few_slides_are_open_at_once(five: Library) -> None:
    for name in "abcde":
        with five.use(name) as pyramid:
            assert pyramid.slide.id == name
    assert list(five._open) == ["d", "e"]
    with five.at_hand("a") as glance:
        assert glance is None


def test_a_slide_in_use_stays_open(five: Library) -> None:
    with five.use("a") as pyramid:
        for name in "bcd":
            with five.use(name):
                pass
        assert pyramid.tile(0, 0, 0).damaged is None, "it is still read"
    with pytest.raises(OSError, match="closed"):
        pyramid.slide.thumbnail(64)


def test_many_threads_open_a_slide_once(five: Library) -> None:
    with ThreadPoolExecutor(8) as threads:

        def look(_: int) -> int:
            with five.use("c") as pyramid:
                return id(pyramid)

        assert len(set(threads.map(look, range(64)))) == 1


def test_a_slide_that_went_is_said(five: Library) -> None:
    path = Path(str(five.entry("a").path))
    with five.use("a"):
        pass
    path.unlink()
    with pytest.raises(SlideNotFoundError, match="has gone"), five.use("a"):
        pass


def test_a_slide_that_was_replaced_is_opened_anew(five: Library, jpeg_slide: Callable[..., Path]) -> None:
    path = Path(str(five.entry("a").path))
    with five.use("a") as before:
        width = before.slide.size.width
    path.unlink()
    jpeg_slide(path, 300, 500)
    with five.use("a") as after:
        assert (width, after.slide.size.width) == (400, 500)


def test_names_that_are_not_there(five: Library) -> None:
    with pytest.raises(UnknownNameError, match="f"), five.use("f"):
        pass
    with pytest.raises(UsageError, match="no slide to view"):
        Library([])
    with pytest.raises(UsageError, match="two slides are called 'a'"):
        Library([Entry("a", "x/a.tif"), Entry("a", "y/a.tif")])


def test_a_slide_named_from_where_the_run_began_is_found(
    tmp_path: Path, jpeg_slide: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "work" / "slides").mkdir(parents=True)
    jpeg_slide(tmp_path / "work" / "slides" / "a.tif", 300, 400)
    monkeypatch.chdir(tmp_path / "work")
    run_recipe(Recipe.from_dict({"stages": ["tissue"]}), find_slides(["slides/a.tif"]), "run")
    monkeypatch.chdir(tmp_path)
    with Library.of(["work/run"]).use("a") as pyramid:
        assert pyramid.slide.size.width == 400


def test_a_run_lists_its_slides(tmp_path: Path, slide_path: Path) -> None:
    recipe = Recipe.from_dict({"stages": ["tissue"]})
    run_recipe(recipe, find_slides([str(slide_path)]), tmp_path / "run")
    library = Library.of([str(tmp_path / "run")])
    entry = library.entry("a slide")
    assert entry.path == str(slide_path)
    assert entry.run is not None
    assert entry.run.path == tmp_path / "run"
