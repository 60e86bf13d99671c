"""What lies over a slide: maps, tissue, tiles, and objects by the million."""
