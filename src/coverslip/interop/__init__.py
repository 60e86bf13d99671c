"""Other people's formats, out and in."""

from coverslip.interop.geojson import ObjectsGeoJSON, write_geojson

__all__ = ["ObjectsGeoJSON", "write_geojson"]
