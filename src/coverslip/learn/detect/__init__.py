"""Learning to find objects one by one: boxes, and masks where outlines were drawn."""

from coverslip.learn.detect.example import Example, from_labels

__all__ = ["Example", "from_labels"]
