"""Reading cohorts: what comes in, what is refused, and that all of it is said at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from coverslip.cohort import Cohort, Target, TileCohort
from coverslip.core.errors import SlideNotFoundError, UnknownNameError, UsageError

TABLE = """slide,case,patient,path,label,site,mpp
a,c1,p1,a.svs,tumour,A,0.25
b,c1,p1,b.svs,tumour,A,20x
c,c2,p2,sub/c.svs,normal,B,
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sub").mkdir()
    for name in ("a.svs", "b.svs", "sub/c.svs"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "cohort.csv").write_text(TABLE)
    return tmp_path


def test_a_csv_becomes_columns_sources_and_labels(folder: Path) -> None:
    cohort = Cohort.read(folder / "cohort.csv")
    assert (len(cohort), cohort.label_columns, cohort.notes) == (3, ("label",), ())
    assert [source.mpp for source in cohort.to_sources()] == [0.25, 0.5, None]
    assert cohort.to_sources()[2].path == str(folder / "sub" / "c.svs")
    classes, codes = cohort.labels("Label")
    assert (classes, codes.tolist()) == (("normal", "tumour"), [1, 1, 0])
    cohort.check()


def test_parquet_arrow_pandas_and_csv_are_one_cohort(folder: Path) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_csv(folder / "cohort.csv")
    parquet.write_table(pa.Table.from_pandas(frame), folder / "cohort.parquet")
    csv = Cohort.read(folder / "cohort.csv")
    others = [Cohort.read(folder / "cohort.parquet"), Cohort.read(frame, files=False)]
    assert {other.digest for other in others} == {csv.digest}
    assert others[0].columns["path"].tolist() == csv.columns["path"].tolist()


def test_defaults_are_noted() -> None:
    cohort = Cohort.read({"slide": ["a", "b"], "path": ["1", "2"], "case": ["k", ""]}, files=False)
    assert cohort.column("patient").tolist() == ["k", "b"]
    assert len(cohort.notes) == 2


def test_all_problems_are_listed_at_once(folder: Path) -> None:
    (folder / "bad.csv").write_text(
        "slide,case,patient,path,label,mpp,split\n"
        "a,c1,p1,a.svs,tumour,0.25,train\n"
        "A,c2,p2,b.svs,tumour,250,test\n"
        "b,c1,p3,./a.svs,normal,quick,dev\n"
        "d/e,c4,p1,gone.svs,,,test\n"
        "a,c5,p5,sub/c.svs,normal,,\n"
    )
    with pytest.raises(UsageError) as caught:
        Cohort.read(folder / "bad.csv")
    text = str(caught.value)
    for words in (
        "line 3: slide 'A' stands in line 2 already",
        "line 3: mpp 250",
        "line 4: cannot read 'quick'",
        "line 4: path",
        "line 4: split 'dev' is unknown",
        "line 5: no label",
        "line 5: there is no file",
        "'d/e' cannot be the name of a folder",
        "case 'c1' has 2 values of patient: p1, p3",
        "case 'c1' has 2 values of label: tumour, normal",
        "slide 'a' has 2 values of case: c1, c5",
        "patient 'p1' has 2 values of split: train, test",
    ):
        assert words in text, words
    assert f"{text.count(chr(10) + '  ')} problems" in text


def test_labels_of_slides_may_differ_within_a_case() -> None:
    table = {"slide": ["a", "b"], "path": ["1", "2"], "case": ["k", "k"], "label": ["x", "y"]}
    with pytest.raises(UsageError, match="labels_per"):
        Cohort.read(table, files=False)
    assert len(Cohort.read(table, files=False, labels_per="slide")) == 2


@pytest.mark.parametrize("table", [{"slide": ["a"]}, {"slide": ["a"], "path": ["1", "2"]}, 3])
def test_what_is_no_cohort_is_refused(table: object) -> None:
    with pytest.raises(UsageError):
        Cohort.read(table, files=False)


def test_empty_and_missing_tables_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.csv").write_text("slide,path\n")
    (tmp_path / "not.parquet").write_text("slide,path\n")
    with pytest.raises(UsageError, match="no rows"):
        Cohort.read(tmp_path / "empty.csv")
    with pytest.raises(UsageError, match="Parquet"):
        Cohort.read(tmp_path / "not.parquet")
    with pytest.raises(SlideNotFoundError):
        Cohort.read(tmp_path / "gone.parquet")


def test_a_cohort_cannot_change_and_can_be_taken_from(make_cohort) -> None:
    cohort = make_cohort(10)
    with pytest.raises(ValueError, match="read-only"):
        cohort.columns["label"][0] = "z"
    with pytest.raises(TypeError):
        cohort.columns["label"] = cohort.columns["slide"]
    half = cohort.take(cohort.column("site") == "S1")
    assert set(half.column("site")) == {"S1"}
    assert half.digest != cohort.digest
    assert cohort.take(np.arange(len(cohort))).digest == cohort.digest
    assert len(cohort.take([])) == 0
    with pytest.raises(UsageError, match="cannot be taken"):
        cohort.take([len(cohort)])
    with pytest.raises(UsageError, match="cannot be taken"):
        cohort.take([True, False])


# ------------------------------------------------------------------ targets
def test_kinds_of_targets_are_declared(make_cohort) -> None:
    cohort = make_cohort(30, shares=(0.4, 0.3, 0.3))
    assert cohort.labels("age").classes != ()  # numbers are classes until declared otherwise
    assert cohort.labels(Target("age", "regression")).codes.dtype == np.float64
    ordered = cohort.labels(Target("label", "ordinal", ("c", "a", "b")))
    assert ordered.codes.tolist() == ["cab".index(name) for name in cohort.column("label")]
    with pytest.raises(UsageError, match="has 3 classes"):
        cohort.labels(Target("label", "binary"))
    with pytest.raises(UsageError, match="none of a, b"):
        cohort.labels(Target("label", "multiclass", ("a", "b")))
    with pytest.raises(UsageError, match="no finite number"):
        cohort.labels(Target("label", "regression"))
    with pytest.raises(UsageError, match="no order"):
        Target("label", "ordinal")
    with pytest.raises(UnknownNameError, match="label"):
        cohort.labels("lable")
    with pytest.raises(UnknownNameError):
        Target("label", "binnary")


# ------------------------------------------------------------------ tiles
def test_class_folders_are_a_cohort_of_tiles(tmp_path: Path) -> None:
    for name in ("x/1.png", "x/deep/2.png", "y/1.png", "y/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    tiles = TileCohort.read(tmp_path)
    assert tiles.ids.tolist() == ["x/1.png", "x/deep/2.png", "y/1.png"]
    assert tiles.labels("label").codes.tolist() == [0, 0, 1]
    assert "stands alone" in tiles.notes[0]
    with pytest.raises(UsageError, match="no class folders"):
        TileCohort.read(tmp_path / "x" / "deep")


def test_a_table_of_tiles_is_checked(tmp_path: Path) -> None:
    (tmp_path / "tiles.csv").write_text("path,label,source,split\na.png,x,s,train\na.png,,s,test\n")
    with pytest.raises(UsageError) as caught:
        TileCohort.read(tmp_path / "tiles.csv")
    assert str(caught.value).startswith(f"{tmp_path / 'tiles.csv'} has 5 problems")
