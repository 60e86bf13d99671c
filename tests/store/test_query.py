"""Questions to a run: what they mean, what they may not do, and that they agree with plain numpy."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from coverslip.core.errors import CoverslipError, StoreError, UnknownNameError, UsageError
from coverslip.store import Objects, ObjectTable, Provenance, RunFolder
from coverslip.store.query import Query, condition

COLUMNS = {"slide": "text", "class": "text", "score": "number", "x": "number", "area_um2": "number"}
CLASSES = ("tumour", "stroma", "it's")
IDS = ("a", "b'; drop table o; --", "c [1]*")


def objects_of(seed: int, n: int = 40, **more: object) -> ObjectTable:
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(0, 1000, (2, n))
    area = rng.integers(20, 140, n).astype(float)
    area[::7] = np.nan
    return ObjectTable(
        shapely.box(x, y, x + 3, y + 3),
        classes=CLASSES,
        labels=rng.integers(-1, 3, n),
        scores=rng.uniform(0, 1, n),
        measurements={"area_um2": area, **more},
        mpp=0.5,
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    run = RunFolder.create(tmp_path_factory.mktemp("query") / "it's a run")
    made = Provenance.make("a", 1, parameters={}, inputs={}, slide=None)
    for seed, slide in enumerate(IDS):
        more = {"density": np.arange(40.0)} if slide == "a" else {}
        run.put(slide, "objects/nuclei", objects_of(seed, **more), provenance=made)
    return run


def everything(run: RunFolder) -> dict[str, np.ndarray]:
    found = [run.get(slide, "objects/nuclei") for slide in IDS]
    whole = {name: np.concatenate([o[name] for o in found]) for name in ("class", "score", "x", "area_um2")}
    return whole | {"slide": np.repeat(np.array(IDS, object), 40)}


# ------------------------------------------------------------------ meaning
def known(o: dict[str, np.ndarray]) -> np.ndarray:
    return np.isin(o["class"].astype(str), CLASSES[:2])


ASKED = {
    "area_um2 > 80 and class == 'tumour'": lambda o: (o["area_um2"] > 80) & (o["class"] == "tumour"),
    "class != 'tumour'": lambda o: o["class"] != "tumour",
    'class == "it\'s"': lambda o: o["class"] == "it's",
    "class in ('tumour', 'stroma') or score < .1": lambda o: known(o) | (o["score"] < 0.1),
    "class not in ['tumour']": lambda o: o["class"] != "tumour",
    "class == null": lambda o: o["class"] == None,  # noqa: E711
    "area_um2 != null and not area_um2 > 80": lambda o: o["area_um2"] <= 80,
    "not area_um2 > 80": lambda o: ~(o["area_um2"] > 80),
    "area_um2 between 50 and 60 and score > 0": lambda o: (o["area_um2"] >= 50) & (o["area_um2"] <= 60),
    "area_um2 not between 50 and 60": lambda o: ~((o["area_um2"] >= 50) & (o["area_um2"] <= 60)),
    "40 < area_um2 <= 60": lambda o: (o["area_um2"] > 40) & (o["area_um2"] <= 60),
    "sqrt(area_um2) * 2 - 1 >= -x / 1e3 + 10": lambda o: np.sqrt(o["area_um2"]) * 2 - 1 >= -o["x"] / 1e3 + 10,
    "slide == 'a' AND (x > 500 or x < 100)": lambda o: (o["slide"] == "a") & (abs(o["x"] - 300) > 200),
    "density >= 38": None,
    "`area_um2` > 80": lambda o: o["area_um2"] > 80,
}  # fmt: skip


@pytest.mark.parametrize("text", ASKED)
def test_conditions_mean_what_python_means(run: RunFolder, text: str) -> None:
    query, wanted = Query(run, where=text), ASKED[text]
    if wanted is None:
        assert query.count() == 2
        return
    expected = wanted(everything(run))
    assert 0 < query.count() == expected.sum() < 120
    assert np.array_equal(np.concatenate([query.masks()[slide] for slide in IDS]), expected)


def test_groups_and_summaries(run: RunFolder) -> None:
    asked = "count, mean(area_um2), sd(area_um2), median(x), p90(score), share(class == 'tumour'), max(x - 1)"
    found = Query(run, by=("slide",), summarise=asked).rows()
    whole = everything(run)
    assert [row["slide"] for row in found] == sorted(IDS)
    for row in found:
        o = {name: value[whole["slide"] == row["slide"]] for name, value in whole.items()}
        assert row["count"] == 40
        assert row["mean(area_um2)"] == pytest.approx(np.nanmean(o["area_um2"]))
        assert row["sd(area_um2)"] == pytest.approx(np.nanstd(o["area_um2"], ddof=1))
        assert row["median(x)"] == pytest.approx(np.median(o["x"]))
        assert row["p90(score)"] == pytest.approx(np.percentile(o["score"], 90), rel=1e-5)
        assert row["share(class == 'tumour')"] == pytest.approx((o["class"] == "tumour").mean())
        assert row["max(x - 1)"] == pytest.approx(o["x"].max() - 1)
    assert Query(run, by=("class",), where="slide == 'a'").rows()[0].keys() == {"class", "count"}
    assert Query(run, summarise="sum(x)", slides=("a",)).rows()[0]["sum(x)"] == pytest.approx(
        whole["x"][:40].sum()
    )
    assert len(Query(run, by=("class", "slide")).rows()) == 12


def test_without_summaries_come_the_objects(run: RunFolder) -> None:
    query = Query(run, where="area_um2 > 80", limit=5)
    rows = query.rows()
    assert len(rows) == 5
    assert list(rows[0]) == ["slide", "object", "class", "score", "x", "y", "area_um2", "density"]
    assert query.count() > 5
    chosen = query.selected()
    assert sum(map(len, chosen.values())) == query.count()
    assert all((o["area_um2"] > 80).all() for o in chosen.values())


def test_files_of_answers(run: RunFolder, tmp_path: Path) -> None:
    from pyarrow import parquet

    Query(run, by=("class",)).write(tmp_path / "it's.csv")
    assert (tmp_path / "it's.csv").read_text().splitlines()[0] == "class,count"
    Query(run, where="class == 'tumour'").write(tmp_path / "some.parquet")
    found = parquet.read_table(tmp_path / "some.parquet")
    assert found.num_rows == Query(run, where="class == 'tumour'").count()
    assert shapely.from_wkb(found["geometry"].to_numpy())[0].area == pytest.approx(9)
    geo = json.loads(parquet.read_metadata(tmp_path / "some.parquet").metadata[b"geo"])
    assert geo["columns"]["geometry"]["encoding"] == "WKB"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["it's.csv", "some.parquet"]
    with pytest.raises(UsageError, match=r"\.xlsx"):
        Query(run).write(tmp_path / "a.xlsx")


# ------------------------------------------------------------------ what is refused
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("area_um > 80", "area_um2"),
        ("area_um2 = 80", "write == to compare"),
        ("area_um2 > 80 & x < 1", "write and"),
        ("area_um2 > '80'", "cannot compare number and text"),
        ("class == tumour", "there is no column 'tumour'"),
        ("class > 3", "put text in quotes"),
        ("area_um2", "no condition"),
        ("area_um2 > 80 and", "got the end"),
        ("(area_um2 > 80", "expected '\\)'"),
        ("area_um2 > 80)", "expected and, or"),
        ("area_um2 > 80 class == 'x'", "expected and, or"),
        ("'open", "close the quote"),
        ("80abc > 1", "no meaning"),
        ("", "expected a column"),
        ("class + 1 > 2", "takes numbers"),
        ("area_um2 and x > 1", "joins conditions"),
        ("system('rm') > 1", "there is no function 'system'"),
        ("class < null", "by == and !="),
        ("area_um2 in ('a')", "cannot compare number and text"),
        ("(" * 500 + "x", "levels of parentheses"),
        ("not " * 500 + "x > 1", "levels of parentheses"),
        ("x > " + "-" * 500 + "1", "levels of parentheses"),
    ],
)
def test_mistakes_are_pointed_at(text: str, said: str) -> None:
    with pytest.raises((UsageError, UnknownNameError), match=said):
        condition(text, COLUMNS)


def test_the_place_is_marked() -> None:
    with pytest.raises(UsageError) as caught:
        condition("area_um2 > 80 and class = 'a'", COLUMNS)
    assert caught.value.message.splitlines()[-1].index("^") == len("  area_um2 > 80 and class ")


ATTACKS = (
    "1 == 1; drop table o",
    "class == 'x'' or 1=1 --'",
    "slide == 'a' union select * from read_csv('/etc/passwd')",
    '`x" or 1=1 --` > 1',
    "read_text('/etc/passwd') == 'a'",
    "x > (select 1)",
    "x > 1 /* comment */",
    "x::varchar == '1'",
    "$1 == x",
    "? == x",
)


@pytest.mark.parametrize("text", ATTACKS)
def test_no_sql_comes_through(text: str) -> None:
    with pytest.raises((UsageError, UnknownNameError)):
        condition(text, COLUMNS)


def test_text_stays_text(run: RunFolder) -> None:
    assert Query(run, where="class == '\\' or 1 == 1 --'").count() == 0
    assert Query(run, where=f'slide == "{IDS[1]}"').count() == 40
    made = condition("class == 'a; drop table o' and x > 1", COLUMNS)
    assert "drop" not in made.text
    assert made.values == ("a; drop table o", 1.0)


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet="xy()'\"`;-<>=!,. andornotinbetween01\\/*+[]", max_size=40))
def test_any_text_parses_or_is_a_mistake(text: str) -> None:
    try:
        made = condition(text, COLUMNS)
    except CoverslipError:
        return
    assert made.type == "truth"
    assert made.text.count("?") == len(made.values)


def test_wrong_names_and_lists(run: RunFolder) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'class'"):
        Query(run, by=("clas",))
    with pytest.raises(UnknownNameError, match="slide 'z'"):
        Query(run, slides=("z",))
    with pytest.raises(UnknownNameError, match="did you mean 'nuclei'"):
        Query(run, objects="nucli")
    mistakes = {"mode(x)": "mode", "mean(class)": "takes a number", "mean x": "expected '\\('"}
    mistakes |= {"share(x)": "a condition", "count,": "expected a summary", "count x": "comma"}
    for text, said in mistakes.items():
        with pytest.raises((UsageError, UnknownNameError), match=said):
            Query(run, summarise=text)


def test_a_run_without_objects_or_with_several(tmp_path: Path) -> None:
    bare = RunFolder.create(tmp_path / "bare")
    with pytest.raises(UsageError, match="has no objects"):
        Query(bare)
    made = Provenance.make("a", 1, parameters={}, inputs={}, slide=None)
    bare.put("s", "objects/nuclei", objects_of(0), provenance=made)
    bare.put("s", "objects/glands", objects_of(1, 3), provenance=made)
    with pytest.raises(UsageError, match="glands, nuclei: say which"):
        Query(bare)
    assert Query(bare, objects="glands").count() == 3
    assert isinstance(Query(bare, objects="glands").selected()["s"], Objects)


def test_a_run_of_an_older_release_is_refused() -> None:
    run = RunFolder(Path(__file__).parent / "data" / "run-0.1")
    with pytest.raises(StoreError, match="older release"):
        Query(run)
