"""Streamed features: complete or resumable, whatever happens to the writer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coverslip.core.errors import StoreError
from coverslip.store import FeatureStream, Provenance, RunFolder
from coverslip.store.writing import stream_path

KEY = "features/f"


def made(**parameters: object) -> Provenance:
    return Provenance.make("example", 1, parameters=parameters, inputs={}, slide=None)


def truth(n: int, d: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rows = np.arange(n * d, dtype=np.float32).reshape(n, d)
    return rows, np.arange(2 * n, dtype=np.int32).reshape(n, 2)


def stream(n: int, cuts: list[int], start: int = 0, *, dtype: str = "float32") -> FeatureStream:
    """Rows `start` … of `n`, cut at `cuts`; a cut of -1 breaks the stream off there."""

    def batches() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        rows, coords = truth(n)
        done = start
        for size in cuts:
            if size < 0:
                raise KeyboardInterrupt
            yield rows[done : done + size], coords[done : done + size]
            done += size
        yield rows[done:], coords[done:]

    return FeatureStream("f", batches(), d=3, n=n, dtype=dtype, tile_px=256, tile_side=256.0)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(n=st.integers(0, 30), cuts=st.lists(st.integers(0, 6), max_size=4), broken=st.booleans())
def test_interrupted_anywhere_it_ends_the_same(tmp_path: Path, n: int, cuts: list[int], broken: bool) -> None:
    run = RunFolder.create(tmp_path / "run")
    run.discard("s", KEY)
    provenance = made(n=n, cuts=cuts, broken=broken)
    if broken:
        with pytest.raises(KeyboardInterrupt):
            run.put("s", KEY, stream(n, [*cuts, -1]), provenance=provenance)
        assert not run.has("s", KEY)
    kept = run.kept("s", KEY, provenance.fingerprint)
    assert kept == (min(sum(cuts), n) if broken else 0)
    run.put("s", KEY, stream(n, [1], kept), provenance=provenance)
    got = run.get("s", KEY)
    assert np.array_equal(got.X, truth(n)[0])
    assert np.array_equal(got.coords, truth(n)[1])
    assert not stream_path(run.path_of("s", KEY)).exists()


def test_other_parameters_start_anew(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        run.put("s", KEY, stream(20, [5, -1]), provenance=made(size=1))
    assert run.kept("s", KEY, made(size=1).fingerprint) == 5
    assert run.kept("s", KEY, made(size=2).fingerprint) == 0
    run.put("s", KEY, stream(20, [5]), provenance=made(size=2))
    assert np.array_equal(run.get("s", KEY).X, truth(20)[0])


@pytest.mark.parametrize("content", [b"", b"\x89HDF\r\n\x1a\n", b"rubbish" * 100])
def test_a_partial_file_that_is_none_is_started_anew(tmp_path: Path, content: bytes) -> None:
    run = RunFolder.create(tmp_path / "run")
    partial = stream_path(run.path_of("s", KEY))
    partial.parent.mkdir(parents=True)
    partial.write_bytes(content)
    assert run.kept("s", KEY, made().fingerprint) == 0
    run.put("s", KEY, stream(4, []), provenance=made())
    assert len(run.get("s", KEY)) == 4


def test_too_few_and_too_many_rows_are_said(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "run")
    few = FeatureStream("f", iter([truth(3)]), d=3, n=4)
    with pytest.raises(StoreError, match="ended after 3 of 4 rows"):
        run.put("s", KEY, few, provenance=made())
    many = FeatureStream("f", iter([truth(3)]), d=3, n=2)
    with pytest.raises(StoreError, match="do not fit after 0 of 2"):
        run.put("t", KEY, many, provenance=made())
    assert not run.has("s", KEY)
    with pytest.raises(StoreError, match="ended after 3 of 4 rows"):
        FeatureStream("f", iter([truth(3)]), d=3, n=4).collect()


def test_float16_stays_float16(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "run")
    run.put("s", KEY, stream(9, [4], dtype="float16"), provenance=made())
    assert run.get("s", KEY).X.dtype == np.float16
    assert stream(9, [4], dtype="float16").collect().X.dtype == np.float16


def test_a_killed_writer_loses_no_row(tmp_path: Path) -> None:
    code = textwrap.dedent(f"""
        import os, signal, sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from test_feature_streams import *
        def killing():
            X, coords = truth(50)
            for i in range(0, 50, 5):
                if i == 35:
                    os.kill(os.getpid(), signal.SIGKILL)
                yield X[i:i + 5], coords[i:i + 5]
        run = RunFolder.create({str(tmp_path / "run")!r})
        run.put("s", KEY, FeatureStream("f", killing(), d=3, n=50), provenance=made())
    """)
    dead = subprocess.run([sys.executable, "-c", code], env=os.environ, capture_output=True, check=False)
    assert dead.returncode == -signal.SIGKILL, dead.stderr.decode()
    run = RunFolder(tmp_path / "run")
    assert run.kept("s", KEY, made().fingerprint) == 35
    run.put("s", KEY, stream(50, [], 35), provenance=made())
    assert np.array_equal(run.get("s", KEY).X, truth(50)[0])


def test_sweeping_leaves_what_can_be_resumed(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        run.put("s", KEY, stream(20, [5, -1]), provenance=made())
    debris = run.path_of("s", "tissue").with_name(".tissue.0a1b2c3d.partial.geojson")
    debris.write_text("half")
    run.sweep("s")
    assert not debris.exists()
    assert run.kept("s", KEY, made().fingerprint) == 5
