"""The shipped nuclei model."""
