"""File formats of volumes: NIfTI, NRRD and MetaImage."""
