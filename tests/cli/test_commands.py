"""The other commands: info, plan, status, doctor, report, demo; and what becomes of errors."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from coverslip.cli import main
from coverslip.core.errors import CorruptSlideError, StoreError

Coverslip = Callable[..., object]


def test_info_for_people_and_programs(coverslip: Coverslip, phantom: Path) -> None:
    said = coverslip("info", phantom)
    assert said.code == 0
    assert "1280 × 1024 px, 0.64 × 0.512 mm" in said.out
    assert "0.5 microns per pixel, from the file" in said.out
    values = json.loads(coverslip("info", phantom, "--json").out)
    assert {
        "path", "reader", "vendor", "width", "height", "mpp_x", "mpp_y", "mpp_source",
        "objective_power", "levels", "associated", "channels", "dtype", "icc", "digest", "warnings",
    } <= set(values)  # fmt: skip
    assert (values["width"], values["height"], values["mpp_x"]) == (1280, 1024, 0.5)


def test_info_takes_the_users_scale(coverslip: Coverslip, phantom: Path) -> None:
    values = json.loads(coverslip("info", phantom, "--mpp", "40x", "--json").out)
    assert (values["mpp_x"], values["mpp_source"]) == (0.25, "user")
    assert values["warnings"]


@pytest.mark.parametrize(
    ("content", "code"), [(None, 2), (b"", 1), (b"no slide at all", 1)], ids=["missing", "empty", "text"]
)
def test_info_on_a_bad_file_is_one_error_and_its_mend(
    coverslip: Coverslip, tmp_path: Path, content: bytes | None, code: int
) -> None:
    path = tmp_path / "bad.svs"
    if content is not None:
        path.write_bytes(content)
    said = coverslip("info", path)
    assert (said.code, said.out) == (code, "")
    error, mend = said.err.splitlines()
    assert error.startswith("error: ")
    assert str(path) in error
    assert mend.startswith("to mend: ")


def test_info_knows_readers_by_name(coverslip: Coverslip, phantom: Path) -> None:
    said = coverslip("info", phantom, "--reader", "tif")
    assert said.code == 2
    assert "did you mean 'tiff'" in said.err


def test_plan_shows_and_runs_nothing(coverslip: Coverslip, phantom: Path, tmp_path: Path) -> None:
    said = coverslip("plan", "survey", "--set", "tiles.size=512")
    assert said.code == 0
    assert "size: 512" in said.out
    assert "tissue, quality → tiles" in said.out
    out = tmp_path / "run"
    left = json.loads(coverslip("plan", "survey", phantom, "-o", out, "--json").out)
    assert left["slides"]["phantom"][:2] == ["open", "tissue"]
    assert "open, tissue" in coverslip("plan", "survey", phantom, "-o", out).out
    assert not out.exists()


def test_status_of_a_run_with_a_failure(coverslip: Coverslip, phantom: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.svs").write_bytes(b"")
    recipe = tmp_path / "r.yaml"
    recipe.write_text("stages: [tissue]")
    out = tmp_path / "run"
    coverslip("run", recipe, phantom, tmp_path / "bad.svs", "-o", out, "--workers", 0)
    said = coverslip("status", out)
    assert said.code == 0
    assert "2 slide(s): 1 done, 1 failed, 0 unfinished" in said.out
    assert "bad failed at open" in said.out
    values = json.loads(coverslip("status", out, "--json").out)
    assert {s["slide"]: s["state"] for s in values["slides"]} == {"phantom": "done", "bad": "failed"}
    assert [s["failure"]["error"] for s in values["slides"] if s["failure"]] == ["UnsupportedSlideError"]


def test_doctor_lists_readers(coverslip: Coverslip) -> None:
    said = coverslip("doctor")
    assert said.code == 0
    for name in ("tiff", "openslide", "dicom", "image", "survey", "numpy"):
        assert name in said.out
    values = json.loads(coverslip("doctor", "--json").out)
    assert values["problems"] == []
    assert {row["name"] for row in values["readers"]} >= {"tiff", "openslide", "dicom", "image"}


def test_models_are_listed_with_their_licences(coverslip: Coverslip) -> None:
    said = coverslip("models", "list")
    assert said.code == 0
    assert "resnet18" in said.out
    cards = json.loads(coverslip("models", "list", "--json").out)
    assert all(card["licence"] for card in cards)
    assert "licence" in coverslip("models", "show", "resnet18").out
    unknown = coverslip("models", "show", "resnet81")
    assert unknown.code == 2
    assert "did you mean 'resnet18'" in unknown.err


def test_encoder_and_backend_are_settings_of_embed(coverslip: Coverslip) -> None:
    values = json.loads(
        coverslip("plan", "embed", "--encoder", "resnet50", "--backend", "onnx", "--json").out
    )
    embed = values["stages"][-1]["embed"]
    assert (embed["encoder"], embed["backend"]) == ("resnet50", "onnx")
    refused = coverslip("plan", "survey", "--encoder", "resnet50")
    assert refused.code == 2
    assert "there is no stage 'embed'" in refused.err


def test_report_is_written_anew(coverslip: Coverslip, phantom: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "r.yaml"
    recipe.write_text("stages: [tissue]")
    out = tmp_path / "run"
    coverslip("run", recipe, phantom, "-o", out, "--workers", 0)
    said = coverslip("report", out)
    assert said.code == 0
    assert Path(said.out.strip()) == out / "report" / "index.html"
    assert "phantom" in (out / "report" / "index.html").read_text()


def test_every_command_has_help(coverslip: Coverslip) -> None:
    for name in main.commands:
        said = coverslip(name, "--help")
        assert said.code == 0
        assert len(said.out.splitlines()) > 4


# ------------------------------------------------------------------ errors
@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """Make ``coverslip doctor`` raise."""

    def fail(error: BaseException) -> None:
        @click.command()
        def doctor() -> None:
            raise error

        monkeypatch.setitem(main.commands, "doctor", doctor)

    return fail


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (CorruptSlideError("cut off", mend="copy it anew"), 1, "error: cut off\nto mend: copy it anew\n"),
        (StoreError("holds no run"), 2, "error: holds no run\n"),
        (KeyboardInterrupt(), 130, "the same command goes on from here"),
        (ZeroDivisionError("nobody thought of this"), 3, "fault: ZeroDivisionError: nobody thought of this"),
    ],
)
def test_errors_become_a_line_and_a_code(
    coverslip: Coverslip, failing: Callable[..., None], error: BaseException, code: int, said: str
) -> None:
    failing(error)
    found = coverslip("doctor")
    assert found.code == code
    assert said in found.err
    assert "Traceback" not in found.err


def test_debug_shows_where_a_fault_comes_from(coverslip: Coverslip, failing: Callable[..., None]) -> None:
    failing(ZeroDivisionError("nobody thought of this"))
    found = coverslip("--debug", "doctor")
    assert found.code == 3
    assert "Traceback" in found.err
    assert "please report it" in found.err
