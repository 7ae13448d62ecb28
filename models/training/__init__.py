"""Training: the loop, its batches, checkpoints and validation, and the checks that every method must pass."""
