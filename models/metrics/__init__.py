"""Metrics for sets of masks: overlap, distances between distributions, the evaluation of a run."""
