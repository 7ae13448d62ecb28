"""`ambiseg demo`: every step on made data."""
