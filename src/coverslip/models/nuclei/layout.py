"""How the network lays out what it says."""

RAYS = 32
"""Directions of a star, from (1, 0) towards (0, 1), x to the right and y down."""

GRID = 2
"""Pixels between the grid points at which stars are drawn."""

PLANES = 3
"""Maps at full resolution: nucleus, contour, depth."""

STRIDE = 16
"""Height and width of the input must be multiples of it."""
