"""The zip of a model: written to the same bytes each time, and read with the checks that an untrusted file needs."""

import contextlib
import shutil
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from ambiseg.preprocessing.archive import BROKEN
from ambiseg.preprocessing.counted import counted
from ambiseg.preprocessing.errors import DataError, InputError
from ambiseg.preprocessing.files import whole_file
from ambiseg.preprocessing.shortages import shortage

from .model_files import FILES, LIMITS, WEIGHTS, check_name, is_name

DATE = (1980, 1, 1, 0, 0, 0)  # the zip format's first
PICKLES = (
    ".pt",
    ".pth",
    ".pkl",
    ".pickle",
    ".ckpt",
    ".bin",
    ".joblib",
)  # formats that may run code when they are loaded
ENTRIES = 2 * len(FILES)  # the most that are read
LONGEST_END = 22 + 2**16  # bytes of the record at a zip's end, with its comment
LONGEST_LIST = 2**16  # bytes of a zip's list of entries
RATIO, SMALL = 100, 2**14  # how much smaller an entry may be packed than it is, but for small ones
ENCRYPTED = 1  # in a zip entry's flags


def pack(folder: Path, path: Path, name: str) -> None:
    """Write a model's folder as a zip with the top folder `name`. Nothing is compressed: weights hardly can
    be, and compressors differ.
    """
    with whole_file(path) as file, zipfile.ZipFile(file, "w") as archive:
        for entry in sorted(folder.iterdir()):
            info = zipfile.ZipInfo(f"{check_name(name)}/{entry.name}", DATE)
            info.create_system, info.external_attr = 3, (stat.S_IFREG | 0o644) << 16
            archive.writestr(info, entry.read_bytes())


def model_name(path: Path) -> str:
    """The name of the model in a zip, after all its entries were checked. Raises what `unpack` raises."""
    with _opened(path) as archive:
        return _checked(archive, path)[0]


def unpack(path: Path, folder: Path) -> None:
    """Write the files of a model's zip into an existing empty folder, after all entries were checked.

    Raises InputError when there is no file, DataError for a zip that is damaged or holds anything but a model's own files,
    once each, in one top folder.
    """
    with _opened(path) as archive:
        for file, info in _checked(archive, path)[1].items():
            with archive.open(info) as source, (folder / file).open("wb") as target:
                shutil.copyfileobj(source, target)  # never more than the size that was checked: zipfile stops there


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    if not path.is_file():
        raise InputError(f"No file {path}: expected a model's zip, as `ambiseg model export` writes it.")
    try:
        _check_directory(path)
        with zipfile.ZipFile(path) as archive:
            yield archive
    except BROKEN as error:
        if shortage(error):  # of the disk that is unpacked to
            raise
        raise DataError(f"{path} is not a zip, or damaged: get the model again.") from error


def _check_directory(path: Path) -> None:
    """Raise a DataError where a zip lists far more than a model has, before `zipfile` reads all of it."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - LONGEST_END))
        end = file.read()
    place = end.rfind(b"PK\x05\x06")
    listed = int.from_bytes(end[place + 12 : place + 16], "little") if place >= 0 else 0
    if listed > LONGEST_LIST:
        raise DataError(f"{path} was refused, it lists far too many entries: a model has {len(FILES)} files at most.")


def _checked(archive: zipfile.ZipFile, path: Path) -> tuple[str, dict[str, zipfile.ZipInfo]]:
    """The model's name and its files' entries, none of which is anything but a plain file of a model."""
    infos = archive.infolist()
    if len(infos) > ENTRIES:
        raise DataError(
            f"{path} was refused, it holds {counted(len(infos), 'entry', 'entries')}: a model has {len(FILES)} files at most."
        )
    names, entries = set(), dict[str, zipfile.ZipInfo]()
    for info in infos:
        top, file = _place(info, path)
        names.add(top)
        if file is None:
            continue
        if file in entries:
            raise DataError(f"{path} was refused, it holds {file} twice: expected each file of a model once.")
        entries[file] = info
    if len(names) != 1:
        raise DataError(
            f"{path} was refused, it holds {counted(len(names), 'folder')}: expected one, that of the model."
        )
    return names.pop(), entries


def _place(info: zipfile.ZipInfo, path: Path) -> tuple[str, str | None]:
    """The top folder and the file that an entry names; no file for the folder itself. Raises DataError for all else."""
    shown = ascii(info.orig_filename[:80])
    entry, kind = PurePosixPath(info.orig_filename), stat.S_IFMT(info.external_attr >> 16)
    if entry.is_absolute() or ".." in entry.parts or any(sign in info.orig_filename for sign in "\\:\0"):
        raise DataError(f"{path} was refused, its entry {shown} points out of the folder that it is unpacked to.")
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise DataError(f"{path} was refused, its entry {shown} is a link or a device: expected plain files.")
    if info.flag_bits & ENCRYPTED or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise DataError(
            f"{path} was refused, its entry {shown} is encrypted or packed in a rare way: expected plain files."
        )
    if entry.suffix.lower() in PICKLES:
        raise DataError(f"{path} was refused, {shown} may run code when it is loaded: weights come as {WEIGHTS} alone.")
    if info.is_dir() and len(entry.parts) == 1 and is_name(entry.name):
        return entry.name, None
    if info.is_dir() or len(entry.parts) != 2 or not is_name(entry.parts[0]) or entry.name not in FILES:
        raise DataError(
            f"{path} was refused, {shown} is not a file of a model: expected NAME/{WEIGHTS} and its companions."
        )
    if info.file_size > LIMITS[entry.name]:
        raise DataError(f"{path} was refused, {shown} is larger than a model's can be: {info.file_size:,} bytes.")
    if info.file_size > RATIO * max(info.compress_size, SMALL):
        raise DataError(
            f"{path} was refused, {shown} unpacks to over {RATIO} times its size, which no weights or texts do."
        )
    return entry.parts[0], entry.name
