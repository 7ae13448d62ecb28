"""A simulated LIDC cohort: DICOM with real UIDs, geometry and outlines, and invented pixels."""

from .cohort import write_phantom

__all__ = ["write_phantom"]
