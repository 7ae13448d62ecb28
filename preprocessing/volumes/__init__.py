"""Voxels and their place in the patient: volumes, grids, values, and resampling from one grid to another."""
