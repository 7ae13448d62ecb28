"""`ambiseg benchmark`: what methods learn, and what they cost."""
