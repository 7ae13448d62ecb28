"""DICOM: from a folder of files to one series, and from a series to a volume."""
