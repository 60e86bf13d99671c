"""Where objects lie: densities, distances, patterns, neighbours and hot spots.

Points are ``(x, y)`` in level-0 pixels; every length that comes out is in µm, every area in mm².
"""

from coverslip.measure.spatial.counts import area_shares, densities, shares
from coverslip.measure.spatial.distance import bands, nearest, to_edge
from coverslip.measure.spatial.hotspot import HotSpot, counts_around, getis_ord, hottest_circle
from coverslip.measure.spatial.maps import mapped
from coverslip.measure.spatial.neighbours import (
    Enrichment,
    NearestNeighbour,
    degrees,
    delaunay,
    enrichment,
    k_nearest,
    nearest_neighbour,
    within_reach,
)
from coverslip.measure.spatial.ripley import Ripley, ripley
from coverslip.measure.spatial.window import Window

__all__ = [
    "Enrichment",
    "HotSpot",
    "NearestNeighbour",
    "Ripley",
    "Window",
    "area_shares",
    "bands",
    "counts_around",
    "degrees",
    "delaunay",
    "densities",
    "enrichment",
    "getis_ord",
    "hottest_circle",
    "k_nearest",
    "mapped",
    "nearest",
    "nearest_neighbour",
    "ripley",
    "shares",
    "to_edge",
    "within_reach",
]
