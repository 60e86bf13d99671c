"""Training of the shipped nuclei model."""
