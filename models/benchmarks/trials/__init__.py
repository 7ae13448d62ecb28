"""Benchmarks that train: entries, trials, and what was measured of them."""
