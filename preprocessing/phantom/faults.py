"""The archive's traps, planted on purpose: each takes one scan of the phantom and spoils it as real ones are spoilt."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGLSLossless, RLELossless, generate_uid


def missing_slices(paths: Sequence[Path]) -> None:
    """Every third slice on which a reader drew is missing."""
    for path in paths[::3]:
        path.unlink()


def duplicate_z(paths: Sequence[Path]) -> None:
    """A second, different image lies at the place of one slice, with a higher instance number."""
    dataset = pydicom.dcmread(paths[0])
    pixels = dataset.pixel_array.copy()
    pixels[pixels > 0] += 1
    dataset.PixelData = pixels.tobytes()
    dataset.InstanceNumber += 10_000
    _rename(dataset)
    dataset.save_as(paths[0].with_stem(f"{dataset.InstanceNumber:06d}"))


def truncated(paths: Sequence[Path]) -> None:
    """One file ends in the middle of its pixels, as after a broken download."""
    with paths[0].open("r+b") as file:
        file.truncate(paths[0].stat().st_size // 2)


def foreign_series(paths: Sequence[Path]) -> None:
    """Slices of another series, at other heights, lie in the scan's folder."""
    for path in paths[:3]:
        dataset = pydicom.dcmread(path)
        dataset.SeriesInstanceUID = generate_uid(entropy_srcs=["foreign", dataset.SeriesInstanceUID])
        dataset.InstanceNumber += 20_000
        dataset.ImagePositionPatient[2] += 1.25
        _rename(dataset)
        dataset.save_as(path.with_stem(f"{dataset.InstanceNumber:06d}"))


def compressed(paths: Sequence[Path]) -> None:
    """The slices on which a reader drew are run-length encoded, which every reader of DICOM can undo."""
    for path in paths:
        dataset = pydicom.dcmread(path)
        dataset.compress(RLELossless, generate_instance_uid=False)
        dataset.save_as(path)


def unreadable_syntax(paths: Sequence[Path]) -> None:
    """One slice says that it is JPEG-LS, but no decoder can make anything of it."""
    dataset = pydicom.dcmread(paths[0])
    dataset.file_meta.TransferSyntaxUID = JPEGLSLossless
    dataset.PixelData = encapsulate([b"\xff\xd8 no image \xff\xd9"])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(paths[0])


FAULTS: Mapping[str, Callable[[Sequence[Path]], None]] = {
    function.__name__.replace("_", "-"): function
    for function in (missing_slices, duplicate_z, truncated, foreign_series, compressed, unreadable_syntax)
}


def describe(fault: str) -> str:
    """A fault of `FAULTS` described in one sentence."""
    return (FAULTS[fault].__doc__ or "").strip()


def _rename(dataset: Dataset) -> None:
    """Another SOPInstanceUID, made from the old one."""
    uid = generate_uid(entropy_srcs=["copy", dataset.SOPInstanceUID])
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = uid
