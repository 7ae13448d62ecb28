"""Zips: only safe ones are unpacked, and no unpacked file remains."""

import stat
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from ambiseg.preprocessing.archive import unpacked
from ambiseg.preprocessing.errors import DataError, InputError, ResourceError

TEXT = bytes(range(256)) * 40


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which temporary folders are made."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def pack(path: Path, *names: str) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, TEXT)
    return path


def test_files_are_unpacked_and_removed_afterwards(tmp_path: Path, temporary: Path) -> None:
    path = pack(tmp_path / "a.zip", "scan/1.dcm", "scan/deep/2.dcm", "3", ".DS_Store", "__MACOSX/scan/._1.dcm", "e/")
    with unpacked(path) as folder:
        assert folder.parent == temporary
        files = sorted(each.relative_to(folder).as_posix() for each in folder.rglob("*") if each.is_file())
        assert files == ["3", "scan/1.dcm", "scan/deep/2.dcm"]
        assert (folder / "scan" / "1.dcm").read_bytes() == TEXT
    assert list(temporary.iterdir()) == []


def test_the_folder_is_removed_when_the_block_raises(tmp_path: Path, temporary: Path) -> None:
    path = pack(tmp_path / "a.zip", "1.dcm")
    with pytest.raises(KeyError), unpacked(path) as folder:
        raise KeyError(folder.name)
    assert list(temporary.iterdir()) == []


def link(path: Path) -> None:
    entry = zipfile.ZipInfo("link")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(entry, "/etc")


def encrypted(path: Path) -> None:
    content = bytearray(pack(path, "1.dcm").read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    content[6] |= 1
    path.write_bytes(content)


def damaged(path: Path) -> None:
    content = bytearray(pack(path, "1.dcm").read_bytes())
    content[90] ^= 0xFF
    path.write_bytes(content)


def cut_short(path: Path) -> None:
    content = pack(path, "1.dcm", "2.dcm").read_bytes()
    path.write_bytes(content[: len(content) // 2])


def no_zip(path: Path) -> None:
    path.write_bytes(TEXT)


def unknown_method(path: Path) -> None:
    content = bytearray(pack(path, "1.dcm").read_bytes())
    content[content.index(b"PK\x01\x02") + 10] = content[8] = 97
    path.write_bytes(content)


def lying_about_its_size(path: Path) -> None:
    """The entry says one byte, and would be 10 240."""
    content = bytearray(pack(path, "1.dcm").read_bytes())
    central = content.index(b"PK\x01\x02")
    content[22:26] = content[central + 24 : central + 28] = (1).to_bytes(4, "little")
    path.write_bytes(content)


def too_large(path: Path) -> None:
    content = bytearray(pack(path, *"abcdef").read_bytes())
    place = 0
    while (place := content.find(b"PK\x01\x02", place + 1)) > 0:
        content[place + 24 : place + 28] = (4 * 10**9).to_bytes(4, "little")
    path.write_bytes(content)


def upwards(path: Path) -> None:
    pack(path, "scan/../../outside")


def from_the_root(path: Path) -> None:
    pack(path, "/outside")


def upwards_by_backslash(path: Path) -> None:
    pack(path, "scan\\..\\..\\outside")


def with_a_drive(path: Path) -> None:
    pack(path, "C:/outside")


def two_of_one_name(path: Path) -> None:
    pack(path, "Scan.nii", "scan.nii")


def a_file_that_is_a_folder(path: Path) -> None:
    pack(path, "scan", "scan/1.dcm")


def packed_too_tightly(path: Path) -> None:
    content = bytearray(pack(path, "a").read_bytes())
    place = content.index(b"PK\x01\x02")
    content[place + 24 : place + 28] = (120 * 10**6).to_bytes(4, "little")
    path.write_bytes(content)


def sharing_their_bytes(path: Path) -> None:
    """Many entries that are one and the same block."""
    content = bytearray(pack(path, "a", *"bcdef").read_bytes())
    place = 0
    while (place := content.find(b"PK\x01\x02", place + 1)) > 0:
        content[place + 20 : place + 24] = (len(content)).to_bytes(4, "little")
    path.write_bytes(content)


def a_long_index(path: Path) -> None:
    end = len(pack(path, "1").read_bytes()) - 22
    content = bytearray(path.read_bytes())
    content[end + 12 : end + 16] = (16 * 10**6).to_bytes(4, "little")
    path.write_bytes(content)


def a_long_index_of_zip64(path: Path) -> None:
    a_long_index(path)
    content = path.read_bytes()
    end = bytearray(content[-22:])
    end[12:16] = b"\xff" * 4
    record = b"PK\x06\x06" + bytes(36) + (10**9).to_bytes(8, "little") + bytes(8)
    path.write_bytes(content[:-22] + record + end)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (packed_too_tightly, r"holds 0.1 GB in 0.0 MB: expected at most 200 times as much unpacked"),
        (sharing_their_bytes, "is not a whole zip"),
        (a_long_index, r"has a list of files of 16.0 MB: expected one of at most 100,000 files"),
        (a_long_index_of_zip64, r"has a list of files of 1,000.0 MB: expected one of at most 100,000 files"),
        (upwards, "holds paths that lead out of it: it was not unpacked"),
        (from_the_root, "holds paths that lead out of it"),
        (upwards_by_backslash, "holds paths that lead out of it"),
        (with_a_drive, "holds paths that lead out of it"),
        (link, "holds links or devices: it was not unpacked"),
        (two_of_one_name, "holds two files of one name"),
        (encrypted, "is encrypted: unpack it yourself"),
        (too_large, r"holds 6 files of 24.0 GB unpacked: expected at most 100,000 and 20 GB"),
        (damaged, r"is not a whole zip \(wrong format, or cut short or damaged\)"),
        (cut_short, "is not a whole zip"),
        (no_zip, "is not a whole zip"),
        (unknown_method, "is not a whole zip"),
        (lying_about_its_size, "is not a whole zip"),
        (a_file_that_is_a_folder, "is not a whole zip"),
    ],
)
def test_what_is_not_safe_or_whole_is_refused_and_leaves_nothing(
    tmp_path: Path, temporary: Path, make: Callable[[Path], None], message: str
) -> None:
    make(tmp_path / "a.zip")
    with pytest.raises(DataError, match=f"^a.zip {message}"), unpacked(tmp_path / "a.zip"):
        pass
    assert list(temporary.iterdir()) == []
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.zip", "temporary"]


def test_too_many_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ambiseg.preprocessing.archive.MAX_FILES", 2)
    with pytest.raises(DataError, match=r"a.zip holds 3 files"), unpacked(pack(tmp_path / "a.zip", "1", "2", "3")):
        pass


def test_no_room(tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 100}))
    message = r"a.zip needs 0.0 GB in .*temporary and 0.0 are free: .* TMPDIR"
    with pytest.raises(ResourceError, match=message), unpacked(pack(tmp_path / "a.zip", "1")):
        pass
    assert list(temporary.iterdir()) == []


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"No file .*a.zip"), unpacked(tmp_path / "a.zip"):
        pass
