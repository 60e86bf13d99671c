"""Pages for people: one per slide, one for the run, each a single file that opens without a network."""

from coverslip.report.overview import OverviewStage, page_of, write_run_report

__all__ = ["OverviewStage", "page_of", "write_run_report"]
