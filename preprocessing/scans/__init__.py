"""Voxels in: scans and masks from whatever file they come in, with their place in the patient."""
