"""Training: the loop, its batches, its checkpoints and its validation."""
