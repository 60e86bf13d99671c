"""Kernels are compiled for good where they can be kept, and work where they cannot."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from coverslip.core.compiled import bits_of, compiled, inlined, madd, real_of

KERNEL = """
from coverslip.core.compiled import compiled
@compiled("int64(int64)")
def twice(number):
    return 2 * number
"""


def test_a_kernel_that_cannot_be_kept_works_all_the_same():
    names: dict = {}
    exec(compile(KERNEL, "<nowhere>", "exec"), names)  # noqa: S102 - a function without a file
    assert names["twice"](21) == 42


def test_a_kernel_is_kept_beside_its_module(tmp_path: Path):
    (tmp_path / "doubling.py").write_text(KERNEL)
    code = "import doubling; print(doubling.twice(21), sum(doubling.twice.stats.cache_hits.values()))"
    found = [
        subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
        for _ in range(2)
    ]
    assert [done.stdout.split() for done in found] == [["42", "0"], ["42", "1"]]


def test_other_mistakes_are_not_hidden():
    def wrong(number):
        return number.no_such_thing

    with pytest.raises(Exception, match="no_such_thing"):
        compiled("int64(int64)", keep=False)(wrong)


def test_bits_of_a_number():
    @inlined
    def both(value):
        return real_of(bits_of(value))

    assert both(np.float32(0.1)) == np.float32(0.1)


def test_products_are_the_same_wherever_they_stand():
    @compiled("void(float32[::1], float32[::1], float32[::1])", keep=False)
    def mixed(a, b, out):
        for i in range(out.shape[0]):
            out[i] = madd(a[i], b[i], madd(a[i], np.float32(0.7), b[i] * np.float32(0.3)))

    a, b = np.random.default_rng(0).random((2, 1000), np.float32)
    whole = np.empty(1000, np.float32)
    mixed(a, b, whole)
    for start in range(40):
        part = np.empty(1000 - 2 * start, np.float32)
        mixed(a[start : 1000 - start].copy(), b[start : 1000 - start].copy(), part)
        assert np.array_equal(part, whole[start : 1000 - start])
