"""The built-in stages: each a frozen dataclass of parameters that calls the room that does the work."""

from coverslip.pipeline.stages.embed import EmbedStage
from coverslip.pipeline.stages.pathomics import PathomicsStage
from coverslip.pipeline.stages.quality import QualityStage
from coverslip.pipeline.stages.stain import StainStage
from coverslip.pipeline.stages.tiles import TilesStage
from coverslip.pipeline.stages.tissue import TissueStage

__all__ = ["EmbedStage", "PathomicsStage", "QualityStage", "StainStage", "TilesStage", "TissueStage"]
