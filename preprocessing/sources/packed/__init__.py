"""Crops that others cut as a dataset store."""
