"""Nuclei as a population, how they lie to one another, and how the tissue between them is built."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from coverslip.measure.measurement import Measurement
from coverslip.measure.nuclei import Nuclei
from coverslip.measure.planes import STEP, Planes

_WHOLE = "over nuclei that do not touch the edge; 0 without any"
_PAIR = "0 with fewer than 2 nuclei"
_MESH = "0 with fewer than 3 nuclei, or all in a line"


def _mean_sd(name: str, unit: str, what: str) -> tuple[Measurement, ...]:
    return (
        Measurement(f"nuclear_{name}_mean", unit, f"mean {what} {_WHOLE}"),
        Measurement(f"nuclear_{name}_sd", unit, f"standard deviation of the {what} {_WHOLE}"),
    )


POPULATION = (
    Measurement("nuclear_density", "1/mm²", "nuclei per area of tissue; 0 without tissue"),
    Measurement("nuclear_area_share", "share", "pixels in nuclei, of the tissue"),
    *_mean_sd("area", "µm²", "area"),
    Measurement("nuclear_area_p10", "µm²", f"10th percentile of the area {_WHOLE}"),
    Measurement("nuclear_area_p90", "µm²", f"90th percentile of the area {_WHOLE}"),
    *_mean_sd("major", "µm", "major axis"),
    *_mean_sd("eccentricity", "", "eccentricity of the ellipse of equal moments"),
    *_mean_sd("solidity", "", "solidity (area over that of the convex hull)"),
    *_mean_sd("circularity", "", "circularity (4π · area / perimeter²)"),
    *_mean_sd("haematoxylin", "decades", "mean haematoxylin of a nucleus"),
    Measurement(
        "nuclear_texture", "decades", f"mean standard deviation of haematoxylin inside a nucleus {_WHOLE}"
    ),
    Measurement("nuclear_contrast", "decades", "haematoxylin in nuclei less that in the rest of the tissue"),
    Measurement(
        "nuclear_alignment", "share", f"how far long axes agree, long nuclei counting more, {_WHOLE}"
    ),
)

ARRANGEMENT = (
    Measurement("neighbour_distance_mean", "µm", f"mean distance to the nearest nucleus; {_PAIR}"),
    Measurement("neighbour_distance_sd", "µm", f"its standard deviation; {_PAIR}"),
    Measurement(
        "clark_evans",
        "",
        f"mean nearest distance over that of a random pattern; {_PAIR}",
        "Clark & Evans 1954",
    ),
    Measurement(
        "delaunay_edge_mean", "µm", f"mean edge of the Delaunay mesh of nuclei; {_MESH}", "Delaunay 1934"
    ),
    Measurement("delaunay_edge_sd", "µm", f"its standard deviation; {_MESH}", "Delaunay 1934"),
    Measurement(
        "delaunay_area_disorder",
        "share",
        f"1 − 1 / (1 + sd / mean) of its triangles; {_MESH}",
        "Marcelpoil & Usson 1992",
    ),
    Measurement("nuclear_dispersion", "", "variance over mean of counts in 4 × 4 fields; 0 without nuclei"),
)

FABRIC = (
    Measurement(
        "fibre_coherence",
        "share",
        "mean local (10 µm) coherence of the gradient of eosin",
        "Bigün & Granlund 1987",
    ),
    Measurement(
        "fibre_alignment",
        "share",
        "coherence of the gradient of eosin over the whole tile",
        "Bigün & Granlund 1987",
    ),
    Measurement(
        "density_coherence",
        "share",
        "mean local coherence of the gradient of the grey density",
        "Bigün & Granlund 1987",
    ),
    Measurement("density_alignment", "share", "its coherence over the whole tile", "Bigün & Granlund 1987"),
    Measurement("lumen_share", "share", "white areas of at least 100 µm², of the tile"),
    Measurement("lumen_density", "1/mm²", "white areas of at least 100 µm² per area of the tile"),
    Measurement("lumen_area_mean", "µm²", "mean of such areas; 0 without any"),
)

LUMEN = 100.0
"""µm² from which a white area counts."""

LOCAL = 10.0
"""µm, side of the field of local coherence."""


def measure_population(planes: Planes, nuclei: Nuclei) -> list[float]:
    """Return the values of `POPULATION`."""
    table = nuclei.table
    tissue_mm2 = planes.tissue_share * planes.area_mm2
    share = float(table["area_um2"].sum()) / 1e6 / tissue_mm2 if tissue_mm2 else 0.0
    density = len(nuclei) / tissue_mm2 if tissue_mm2 else 0.0
    whole = table["whole"] > 0
    columns = {name: values[whole] for name, values in table.items()}
    return [
        density,
        min(share, 1.0),
        *_spread(columns["area_um2"]),
        *_percentiles(columns["area_um2"]),
        *_spread(columns["major_um"]),
        *_spread(columns["eccentricity"]),
        *_spread(columns["solidity"]),
        *_spread(columns["circularity"]),
        *_spread(columns["haematoxylin"]),
        _spread(columns["haematoxylin_sd"])[0],
        _contrast(planes, nuclei),
        _alignment(columns),
    ]


def _spread(values: NDArray[np.float32]) -> list[float]:
    return [float(values.mean()), float(values.std())] if values.size else [0.0, 0.0]


def _percentiles(values: NDArray[np.float32]) -> list[float]:
    return [float(p) for p in np.percentile(values, [10, 90])] if values.size else [0.0, 0.0]


def _contrast(planes: Planes, nuclei: Nuclei) -> float:
    import cv2

    inside = (nuclei.labels > 0).astype(np.uint8)
    outside = cv2.bitwise_and(planes.tissue, cv2.compare(inside, 0, cv2.CMP_EQ))
    if not len(nuclei) or not cv2.countNonZero(outside):
        return 0.0
    return float(cv2.mean(planes.haematoxylin, inside)[0] - cv2.mean(planes.haematoxylin, outside)[0])


def _alignment(columns: dict[str, NDArray[np.float32]]) -> float:
    weight = columns["major_um"] - columns["minor_um"]
    total = float(weight.sum())
    if total <= 0:
        return 0.0
    return float(np.abs((weight * np.exp(2j * columns["orientation"])).sum()) / total)


def measure_arrangement(planes: Planes, nuclei: Nuclei) -> list[float]:
    """Return the values of `ARRANGEMENT`."""
    points = np.column_stack([nuclei.table["x"], nuclei.table["y"]]).astype(np.float64) * planes.mpp
    size = np.array(planes.grey.shape[::-1]) * planes.mpp
    return [*_nearest(points, float(size.prod())), *_mesh(points), _dispersion(points, size)]


def _nearest(points: NDArray[np.float64], area_um2: float) -> list[float]:
    if len(points) < 2:
        return [0.0, 0.0, 0.0]
    from scipy.spatial import cKDTree

    distance = cKDTree(points).query(points, 2)[0][:, 1]
    expected = 0.5 / np.sqrt(len(points) / area_um2)
    return [float(distance.mean()), float(distance.std()), float(distance.mean() / expected)]


def _mesh(points: NDArray[np.float64]) -> list[float]:
    if len(points) < 3:
        return [0.0, 0.0, 0.0]
    from scipy.spatial import Delaunay, QhullError

    try:
        triangles = Delaunay(points).simplices
    except QhullError:  # all in a line
        return [0.0, 0.0, 0.0]
    pairs = np.sort(
        np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]), axis=1
    )
    first, second = np.divmod(
        np.unique(pairs[:, 0].astype(np.int64) * len(points) + pairs[:, 1]), len(points)
    )
    edges = np.linalg.norm(points[first] - points[second], axis=1)
    (ax, ay), (bx, by) = (points[triangles[:, k]].T - points[triangles[:, 0]].T for k in (1, 2))
    area = np.abs(ax * by - ay * bx) / 2
    disorder = 1 - 1 / (1 + area.std() / area.mean())
    return [float(edges.mean()), float(edges.std()), float(disorder)]


def _dispersion(points: NDArray[np.float64], size: NDArray[np.float64]) -> float:
    if not len(points):
        return 0.0
    cell = np.minimum((points / size * 4).astype(np.int64), 3)
    counts = np.bincount(cell[:, 1] * 4 + cell[:, 0], minlength=16)
    return float(counts.var() / counts.mean())


def measure_fabric(planes: Planes) -> list[float]:
    """Return the values of `FABRIC`."""
    density = planes.density.astype(np.float32) * np.float32(STEP)
    return [*coherence(planes.second, planes), *coherence(density, planes), *_lumina(planes)]


def coherence(plane: NDArray[np.float32], planes: Planes) -> tuple[float, float]:
    """Return the structure tensor's coherence: mean of local fields (weighted by their energy), and of all.

    1 where all gradients point along one line, 0 where they point everywhere; 0 on a flat tile.
    """
    import cv2

    half = cv2.resize(plane, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)  # enough for 1 µm
    smooth = cv2.GaussianBlur(half, (0, 0), 0.5 / planes.mpp)
    x, y = cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)
    side = 2 * (planes.pixels(LOCAL) // 4) + 1
    energy, swing, cross = (cv2.blur(p, (side, side)) for p in (x * x + y * y, x * x - y * y, 2 * x * y))
    total = float(cv2.sumElems(energy)[0])
    if total / energy.size < 1e-8:
        return 0.0, 0.0
    local = float(cv2.sumElems(cv2.magnitude(swing, cross))[0]) / total
    overall = float(np.hypot(cv2.sumElems(swing)[0], cv2.sumElems(cross)[0])) / total
    return min(local, 1.0), min(overall, 1.0)


def _lumina(planes: Planes) -> list[float]:
    import cv2

    half = cv2.resize(planes.tissue, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    white = cv2.compare(half, 128, cv2.CMP_LT)
    _, _, stats, _ = cv2.connectedComponentsWithStats(white, connectivity=4)
    areas = stats[1:, cv2.CC_STAT_AREA] * (planes.mpp**2 * planes.tissue.size / half.size)
    areas = areas[areas >= LUMEN]
    if not areas.size:
        return [0.0, 0.0, 0.0]
    return [float(areas.sum()) / 1e6 / planes.area_mm2, areas.size / planes.area_mm2, float(areas.mean())]
