"""`ambiseg demo`: every step on simulated data."""
