"""ambiseg in Python: the functions behind `import ambiseg`, and what they return."""

from .scan_hypotheses import ScanHypotheses
from .steps import Calibrated, calibrate, evaluate, load_model, open_store, predict, train

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
