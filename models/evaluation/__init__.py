"""Evaluating a trained run on a split of a dataset store, and fitting its calibration."""
