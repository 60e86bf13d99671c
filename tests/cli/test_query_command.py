"""``coverslip query`` and ``coverslip export`` as a user types them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import shapely
from click.testing import CliRunner, Result

from coverslip.cli.main import main
from coverslip.store import ObjectTable, Provenance, RunFolder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = RunFolder.create(tmp_path / "run")
    made = Provenance.make("a", 1, parameters={}, inputs={}, slide=None)
    for slide, n in (("s1", 60), ("s2", 10)):
        x = np.arange(n) * 10.0
        table = ObjectTable(
            shapely.box(x, x, x + 5, x + 5),
            classes=("tumour", "stroma"),
            labels=np.arange(n) % 2,
            measurements={"area_um2": np.arange(n) * 2.0},
        )
        folder.put(slide, "objects/nuclei", table, provenance=made)
    return folder.path


def typed(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def test_a_question_is_answered(run: Path) -> None:
    found = typed("query", run, "area_um2 > 80 and class == 'tumour'")
    assert found.exit_code == 0
    assert found.stdout.splitlines()[0].split() == ["slide", "object", "class", "score", "x", "y", "area_um2"]
    assert len(found.stdout.splitlines()) == 1 + 9
    assert "9 of 9 objects" in found.stderr
    assert "20 of 70 objects" in typed("query", run).stderr


def test_groups(run: Path) -> None:
    found = typed("query", run, "--by", "class,slide", "--summarise", "count,mean(area_um2)", "--json")
    rows = json.loads(found.stdout)
    assert rows[0] == {"class": "stroma", "slide": "s1", "count": 30, "mean(area_um2)": 60}
    assert len(rows) == 4
    assert typed("query", run, "--by", "class").stdout.split() == [
        "class",
        "count",
        "stroma",
        "35",
        "tumour",
        "35",
    ]


def test_answers_in_files(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "some.csv"
    assert typed("query", run, "area_um2 >= 100", "-o", out).stdout == f"{out}: 10 rows\n"
    assert len(list(csv.DictReader(out.read_text().splitlines()))) == 10
    again = typed("query", run, "-o", out)
    assert (again.exit_code, "--replace" in again.stderr) == (2, True)
    several = typed("query", run, "-o", tmp_path / "a.geojson")
    assert (several.exit_code, "coverslip export" in several.stderr) == (2, True)
    assert typed("query", run, "--slide", "s2", "-o", tmp_path / "a.geojson").exit_code == 0
    assert len(json.loads((tmp_path / "a.geojson").read_text())["features"]) == 10
    assert typed("query", run, "--by", "class", "-o", tmp_path / "b.geojson").exit_code == 2


def test_mistakes_are_told(run: Path, tmp_path: Path) -> None:
    wrong = typed("query", run, "area > 80")
    assert (wrong.exit_code, "did you mean 'area_um2'" in wrong.stderr) == (2, True)
    assert typed("query", tmp_path).exit_code == 2
    assert "write == to compare" in typed("query", run, "class = 'a'").stderr


def test_export(run: Path, tmp_path: Path) -> None:
    found = typed("export", run, "--to", "geojson", "--gz", "--measurements", "none", "-o", tmp_path / "out")
    assert found.exit_code == 0, found.stderr
    names = ["s1.nuclei.geojson.gz", "s2.nuclei.geojson.gz"]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == names
    told = json.loads(typed("export", run, "--to", "csv", "--where", "area_um2 < 4", "--json").stdout)
    assert told == [{"path": str(run / "export" / "nuclei.csv"), "objects": 4}]
    wrong = typed("export", run, "--to", "geojson", "--measurements", "area")
    assert (wrong.exit_code, "area_um2" in wrong.stderr) == (2, True)
