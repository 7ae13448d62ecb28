"""Voxels out: segmentations as DICOM and as NRRD for 3D Slicer."""
