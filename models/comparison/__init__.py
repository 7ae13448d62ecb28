"""Comparing evaluations with each other, and published figures with themselves."""
