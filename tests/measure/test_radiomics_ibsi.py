"""Radiomics against the reference values of the Image Biomarker Standardisation Initiative."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner

from coverslip.cli.bench import bench
from coverslip.core.errors import UsageError
from coverslip.measure.radiomics import ibsi_ct
from coverslip.measure.radiomics.ibsi import PHANTOM, REFERENCE, agrees, read_nifti, run


@pytest.fixture(scope="module")
def data(test_data: Path) -> Path:
    folder = test_data / "radiomics"
    if not (folder / REFERENCE).is_file():
        pytest.skip(f"{folder} lacks {REFERENCE}")
    return folder


def test_every_reference_value_of_the_digital_phantom_agrees(data: Path) -> None:
    rows = run(str(data))
    assert len(rows) == 482
    assert [row for row in rows if not row["agrees"]] == []


def test_every_reference_value_of_the_ct_phantom_agrees(data: Path) -> None:
    if not (data / ibsi_ct.PHANTOM).is_dir():
        pytest.skip(f"{data} lacks {ibsi_ct.PHANTOM}")
    rows = ibsi_ct.run(str(data))
    assert Counter(row["configuration"] for row in rows) == {"A": 346, "B": 346, "C": 209, "D": 210, "E": 210}
    assert [row for row in rows if not row["agrees"]] == []


def test_the_command_prints_ours_and_ends_with_1_where_one_is_off(data: Path, tmp_path: Path) -> None:
    good = CliRunner().invoke(bench, ["ibsi", "--data", str(data), "--json"])
    assert good.exit_code == 0
    assert len(json.loads(good.output)) == 482
    shutil.copytree(data / PHANTOM, tmp_path / PHANTOM)
    text = (data / REFERENCE).read_text(encoding="utf-8")
    changed = text.replace("YEKZ,dig. phantom,,592.0,4.0", "YEKZ,dig. phantom,,598.0,4.0")
    assert changed != text
    (tmp_path / REFERENCE).write_text(changed, encoding="utf-8")
    bad = CliRunner().invoke(bench, ["ibsi", "--data", str(tmp_path)])
    assert bad.exit_code == 1
    off = [line for line in bad.output.splitlines() if line.endswith(" no")]
    assert len(off) == 1
    assert "Volume (voxel counting)" in off[0]


@pytest.mark.parametrize(
    ("ours", "reference", "tolerance", "is_so"),
    [(0.04106, 0.0411, 0.0003, True), (0.0407, 0.0411, 0.0003, False), (550.4, 556, 4, False),
     (2.149, 2.15, None, True), (2.1449, 2.15, None, False), (float("nan"), 1.0, 0.1, False),
     (1e-17, 0.0, None, True), (0.00963, 0.00963, None, True)],
)  # fmt: skip
def test_agreement_is_to_three_digits(
    ours: float, reference: float, tolerance: float | None, is_so: bool
) -> None:
    assert agrees(ours, reference, tolerance) is is_so


def test_the_input_is_checked(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs the initiative's files"):
        run(None)
    with pytest.raises(UsageError, match="lacks"):
        run(str(tmp_path))
    result = CliRunner().invoke(bench, ["ibsi", "--data", str(tmp_path), "--slide", "a.svs"])
    assert isinstance(result.exception, UsageError)
    (tmp_path / "a.nii").write_bytes(b"\0" * 400)
    with pytest.raises(UsageError, match=r"a\.nii is no NIfTI-1 volume"):
        read_nifti(tmp_path / "a.nii")
