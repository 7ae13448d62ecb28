"""Benchmarks: what methods learn where the truth is known, and what a training step costs beside its arithmetic."""
