"""Open a slide, read a region at a resolution."""

from coverslip.slides.find import SlideSource, find_slides
from coverslip.slides.opening import open_slide, reader_report
from coverslip.slides.reader import Facts, Level, Reader
from coverslip.slides.scale import Scale
from coverslip.slides.slide import Slide, slide_id
from coverslip.slides.tables import read_cohort, read_mpp_table

__all__ = [
    "Facts",
    "Level",
    "Reader",
    "Scale",
    "Slide",
    "SlideSource",
    "find_slides",
    "open_slide",
    "read_cohort",
    "read_mpp_table",
    "reader_report",
    "slide_id",
]
