"""Evaluations and comparisons as pictures and pages that need no network."""
