"""Cut the left half of a slide into training pictures, labelled as a nuclei model does that is there already.

    python benchmarks/nuclei_taught.py SLIDE FOLDER --model TEACHER

A network that learns long from the pictures of one collection alone finds fewer nuclei on slides that look
otherwise. The teacher judges the slide enlarged, and what does not absorb red, as haematoxylin does, is left
out of its labels. `benchmarks/nuclei.py train --also FOLDER` learns from them beside its own pictures.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

TEACHER_SCALE = 1.4
SIDE, MARGIN = 370, 64
"""Pixels of a picture's side, and around it for the teacher to see."""
FEWEST = 8
"""Nuclei of a picture that is kept, at least."""
RED = 150
"""Greatest mean red of a nucleus, of 255."""
REPEATED = 3
"""How often each picture counts beside those of the collection."""


def teach(slide_path: Path, folder: Path, teacher_path: Path | None) -> None:
    """Write pictures and labels."""
    from coverslip.core import Box
    from coverslip.models.nuclei.detector import load_nuclei
    from coverslip.models.nuclei.slide import slide_levels
    from coverslip.slides import open_slide
    from coverslip.tiles import GridSpec, lay

    teacher = load_nuclei(teacher_path)
    folder.mkdir(parents=True, exist_ok=True)
    with open_slide(slide_path) as slide:
        between = slide_levels(slide, lay(slide, GridSpec(mpp=0.5, size=768, edge="pad")))
        for y in range(0, slide.size.height - SIDE, SIDE):
            for x in range(0, slide.size.width // 2 - SIDE + 1, SIDE):
                box = Box(x - MARGIN, y - MARGIN, SIDE + 2 * MARGIN, SIDE + 2 * MARGIN)
                pixels = slide.read_at(box, 1.0)
                found = teacher.find(pixels.astype(np.float32) / 255, between, TEACHER_SCALE)
                kept = dark(pixels[..., 0], found.labels)[MARGIN:-MARGIN, MARGIN:-MARGIN]
                if len(np.unique(kept)) > FEWEST:
                    inner = np.ascontiguousarray(pixels[MARGIN:-MARGIN, MARGIN:-MARGIN, ::-1])
                    cv2.imwrite(str(folder / f"{x}-{y}.png"), inner)
                    cv2.imwrite(str(folder / f"{x}-{y}-labels.png"), kept.astype(np.uint16))


def dark(red: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the labels of objects whose mean red is below `RED`."""
    pixels = np.maximum(np.bincount(labels.ravel()), 1)
    mean = np.bincount(labels.ravel(), red.ravel()) / pixels
    return np.where(mean < RED, np.arange(len(mean)), 0)[labels]


def taught(folder: Path) -> list:
    """Return the pictures of a folder, each as often as it counts."""
    from coverslip.learn.nuclei.pictures import as_picture

    found = []
    for path in sorted(path for path in folder.glob("*.png") if not path.stem.endswith("labels")):
        labels = cv2.imread(str(path.with_name(f"{path.stem}-labels.png")), cv2.IMREAD_UNCHANGED)
        found.append(as_picture(cv2.imread(str(path))[..., ::-1], labels, "histology"))
    return [picture for picture in found for _ in range(REPEATED)]


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("slide", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", type=Path)
    given = parser.parse_args()
    teach(given.slide, given.folder, given.model)


if __name__ == "__main__":
    main()
