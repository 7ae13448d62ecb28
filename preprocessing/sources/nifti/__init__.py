"""NIfTI images with readers' masks as a dataset store."""
