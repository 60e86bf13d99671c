"""Classes of slides and tiles: whole slides shrunk, tiles and aggregation."""

__all__: list[str] = []
