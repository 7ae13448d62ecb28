"""Evaluating a trained run on a split of a dataset store."""
