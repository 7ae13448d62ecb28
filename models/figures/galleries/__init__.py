"""What the parts of a model stand for, as pictures: `ambiseg gallery`."""
