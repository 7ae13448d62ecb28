"""Benchmarks: what methods learn where the truth is known and on real readers, and what a training step costs."""
