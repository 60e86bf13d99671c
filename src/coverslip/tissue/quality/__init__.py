"""Whether the tissue is fit to read: focus, pen, folds, bubbles, strength of stain, clipped pixels."""

from coverslip.tissue.quality.assess import assess
from coverslip.tissue.quality.cells import FLAGS, Quality
from coverslip.tissue.quality.spec import QualitySpec

__all__ = ["FLAGS", "Quality", "QualitySpec", "assess"]
