"""Audits of published energy distances: what they imply, and whether they can be true."""
