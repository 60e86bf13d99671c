"""The draft report of a case: gathered, edited and signed by a person, as JSON and PDF."""

from coverslip.server.drafts.content import Gatherer, edited
from coverslip.server.drafts.pdf import as_pdf
from coverslip.server.drafts.pictures import RegionPicture, picture_of

__all__ = ["Gatherer", "RegionPicture", "as_pdf", "edited", "picture_of"]
