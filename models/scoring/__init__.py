"""Masks of any program and of readers: scored against each other, fused, and compared."""
