"""Stages, recipes and the runner."""

from coverslip.pipeline.stage import Finishing, Stage

__all__ = ["Finishing", "Stage"]
