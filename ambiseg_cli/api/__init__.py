"""ambiseg in Python: the functions behind `import ambiseg`, and what they return."""

from .judging import Calibrated, calibrate, evaluate
from .scan_hypotheses import ScanHypotheses
from .steps import load_model, open_store, predict, train

__all__ = [
    "Calibrated",
    "ScanHypotheses",
    "calibrate",
    "evaluate",
    "load_model",
    "open_store",
    "predict",
    "train",
]
