"""File names: which kind of file a suffix stands for, in upper or lower case, and how scans are named after files."""

from pathlib import Path

NIFTI = (".nii", ".nii.gz")
ITK = (".nrrd", ".nhdr", ".mha", ".mhd")
PAIR = (".hdr", ".img")  # Analyze, or NIfTI in two files: not read
ZIP = ".zip"
DICOM = (".dcm",)
NPZ = ".npz"
PNG = ".png"
PICTURE = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
CSV = ".csv"
GZIP = ".gz"
HIDDEN = (".", "__MACOSX")  # how names begin of files and folders that are the system's own


def has_suffix(path: Path, suffixes: str | tuple[str, ...]) -> bool:
    """Whether the file's name ends in one of the suffixes, written in whatever case."""
    return path.name.lower().endswith(suffixes)


def without_suffix(name: str, suffixes: tuple[str, ...]) -> str:
    """A file's name without the longest of the suffixes that it ends in."""
    ends = [end for end in suffixes if name.lower().endswith(end)]
    return name[: -len(max(ends, key=len))] if ends else name


def scan_name(path: Path) -> str:
    """The name of a scan's file without its suffix (nor that of a zip about it), or of its folder.

    >>> scan_name(Path("scans/patient-1.nii.gz"))
    'patient-1'
    """
    name = path.name if path.name not in ("", "..") else path.resolve().name
    if path.is_dir():
        return name
    for suffixes in ((ZIP,), (*NIFTI, *ITK, *PAIR, *DICOM, *PICTURE)):
        name = without_suffix(name, suffixes)
    return name


def is_hidden(path: Path) -> bool:
    """Whether a file or folder is the system's own: .DS_Store, ._scan.nii, __MACOSX."""
    return path.name.startswith(HIDDEN)
