"""Units, geometry, errors, plug-ins: what every room stands on."""

from coverslip.core.files import atomic
from coverslip.core.geometry import Box, Region, Size
from coverslip.core.names import load_plugin, plugins, unknown
from coverslip.core.units import Mpp, as_mpp, mpp_of_magnification, parse_mpp

__all__ = [
    "Box",
    "Mpp",
    "Region",
    "Size",
    "as_mpp",
    "atomic",
    "load_plugin",
    "mpp_of_magnification",
    "parse_mpp",
    "plugins",
    "unknown",
]
