"""Nuclei of plain pictures: a label image per picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coverslip.core.errors import CoverslipError, SlideError, UsageError
from coverslip.core.files import atomic
from coverslip.learn.classify.predict import pictures_of
from coverslip.models.folder import ModelFolder
from coverslip.models.nuclei.detector import load_nuclei
from coverslip.models.nuclei.picture import nuclei_of_picture

MOST = 65_535
"""Nuclei that a uint16 label image can number."""

TIFF = (".tif", ".tiff")


def predict_pictures(
    model: ModelFolder, images: Sequence[str], out: str, options: Mapping[str, Any]
) -> dict[str, Any]:
    """Write a uint16 label image ``STEM.tif`` of each picture into the folder `out`.

    Parameters
    ----------
    images
        Files, folders (searched through) and CSVs with a column ``path``, relative to the CSV.
    options
        ``mpp``: microns per pixel of all pictures; None to judge each from the size of its nuclei.
        ``threads``: of the network. ``device``: only ``"cpu"``.

    Returns
    -------
    ``pictures`` and ``nuclei`` (their numbers), ``labels`` (path, nuclei and scale of each), and ``failed``:
    path and message of each that could not be read.

    Raises
    ------
    UsageError
        When there are no pictures, two have one stem, or one would be overwritten by its labels.
    SlideNotFoundError
        When a path leads nowhere.
    """
    import torch

    if options.get("device", "cpu") != "cpu":
        raise UsageError("nuclei of pictures are found on the CPU", mend="leave --device out")
    paths = list(dict.fromkeys(path for image in images for path in pictures_of(image)))
    targets = _targets(paths, Path(out))
    detector = load_nuclei(model.path)
    before = torch.get_num_threads()
    torch.set_num_threads(int(options.get("threads", 1)))
    done: list[dict[str, Any]] = []
    failed: list[dict[str, str]] = []
    try:
        for path, target in zip(paths, targets, strict=True):
            try:
                found = nuclei_of_picture(detector, read_picture(path), mpp=options.get("mpp"))
                write_labels(target, found.labels)
            except CoverslipError as error:
                failed.append({"path": path, "message": error.message})
            else:
                done.append({"path": str(target), "nuclei": len(found), "scale": round(found.scale, 4)})
    finally:
        torch.set_num_threads(before)
    nuclei = sum(one["nuclei"] for one in done)
    return {"pictures": len(done), "nuclei": nuclei, "labels": done, "failed": failed}


def _targets(paths: Sequence[str], out: Path) -> list[Path]:
    if not paths:
        raise UsageError("there are no pictures to judge", mend="give PNG, JPEG, TIFF or BMP files")
    twice = [stem for stem, count in Counter(Path(path).stem for path in paths).items() if count > 1]
    if twice:
        raise UsageError(
            f"{len(twice)} names come twice, first {twice[0]!r}: their labels would overwrite each other",
            mend="predict them into different folders",
        )
    targets = [out / f"{Path(path).stem}.tif" for path in paths]
    own = {Path(path).resolve() for path in paths} & {target.resolve() for target in targets}
    if own:
        raise UsageError(f"{min(own)} would be overwritten by its labels", mend="choose another folder")
    return targets


def read_picture(path: str) -> NDArray[np.generic]:
    """Read a picture with its own depth and channels, in the order red, green, blue, opacity.

    Raises
    ------
    SlideError
        When it cannot be read.
    """
    import cv2

    if Path(path).suffix.lower() in TIFF:
        return _tiff(path)
    try:
        raw = np.fromfile(path, np.uint8)  # cv2.imread knows no paths beyond ASCII everywhere
    except OSError as error:
        raise SlideError(f"{path} cannot be read: {error.strerror}", mend="check the path") from error
    picture = cv2.imdecode(raw, cv2.IMREAD_UNCHANGED) if len(raw) else None
    if picture is None:
        raise SlideError(f"{path} is no picture that can be read", mend="give PNG, JPEG, TIFF or BMP")
    if picture.ndim == 3 and picture.shape[2] >= 3:
        picture = picture[..., [2, 1, 0, *range(3, picture.shape[2])]]
    return np.asarray(picture)


def _tiff(path: str) -> NDArray[np.generic]:
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            return np.asarray(file.series[0].asarray())
    except (OSError, ValueError, IndexError, tifffile.TiffFileError) as error:
        raise SlideError(f"{path} is no TIFF that can be read: {error}", mend="save it anew") from error


def write_labels(path: Path, labels: NDArray[np.int32]) -> None:
    """Write a label image as uint16 TIFF.

    Raises
    ------
    UsageError
        When it has more nuclei than uint16 can number.
    """
    import tifffile

    count = int(labels.max(initial=0))
    if count > MOST:
        raise UsageError(
            f"{count:,} nuclei do not fit into a uint16 label image ({MOST:,} at most)",
            mend="cut the picture, or read it as a slide: coverslip run nuclei PICTURE --mpp … -o RUN",
        )
    with atomic(path) as partial:
        tifffile.imwrite(partial, labels.astype(np.uint16), compression="zlib")
