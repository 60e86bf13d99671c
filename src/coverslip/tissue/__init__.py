"""Where the tissue is, and whether it is fit to read."""

from coverslip.tissue.colour import illumination
from coverslip.tissue.find import TissueSpec, find_tissue
from coverslip.tissue.tissue import Tissue

__all__ = ["Tissue", "TissueSpec", "find_tissue", "illumination"]
