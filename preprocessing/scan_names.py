"""What the names of files and folders say of the scans in them."""

from pathlib import Path

NIFTI = (".nii", ".nii.gz")
ITK = (".nrrd", ".nhdr", ".mha", ".mhd")
PAIR = (".hdr", ".img")  # Analyze, or NIfTI in two files: not read
ZIP = ".zip"
DICOM = (".dcm",)


def has_suffix(path: Path, suffixes: str | tuple[str, ...]) -> bool:
    """Whether the file's name ends in one of the suffixes, written in whatever case."""
    return path.name.lower().endswith(suffixes)


def scan_name(path: Path) -> str:
    """The name of a scan's file without its suffix (nor that of a zip about it), or of its folder."""
    name = path.name if path.name not in ("", "..") else path.resolve().name
    if path.is_dir():
        return name
    for suffixes in ((ZIP,), (*NIFTI, *ITK, *PAIR, *DICOM)):
        name = next((name[: -len(end)] for end in suffixes if name.lower().endswith(end)), name)
    return name


def is_hidden(path: Path) -> bool:
    """Whether a file or folder is the system's own: .DS_Store, ._scan.nii, __MACOSX."""
    return path.name.startswith((".", "__MACOSX"))
