"""The report of a prediction: one page that shows each lesion's hypotheses on its scan, without a network."""

from .prediction_page import write_report

__all__ = ["write_report"]
