"""Headers that were read once are not read again, unless the file changed; a cache that fails changes nothing but the time."""

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom.uid import generate_uid

from ambiseg.preprocessing.errors import InputError
from ambiseg.preprocessing.lidc.annotations import ScanRecord
from ambiseg.preprocessing.scans.dicom import header_cache
from ambiseg.preprocessing.scans.dicom.dicom_files import FileIdentity, SeriesIndex, find_series, identify
from ambiseg.preprocessing.scans.dicom.header_cache import HeaderCache, cache_file

WriteSeries = Callable[..., list[Path]]
SHAPE = (8, 8)


@pytest.fixture
def archive(tmp_path: Path, scan: ScanRecord, write_series: WriteSeries) -> Path:
    """Two studies of three slices each, a text, a broken file and a folder whose name is no UTF-8."""
    root = tmp_path / "archive"
    write_series(root / "a", scan, [0.0, 1.0, 2.0], SHAPE)
    write_series(
        root / "b" / "c", scan, [0.0, 1.0, 2.0], SHAPE, lambda each, _: setattr(each, "SeriesInstanceUID", OTHER)
    )
    (root / "notes.txt").write_text("no DICOM")
    (root / "empty.dcm").touch()
    odd = root / os.fsdecode(b"\xff")
    odd.mkdir()
    (root / "a" / "000000.dcm").rename(odd / "0")
    return root


OTHER = generate_uid()


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files whose headers are read, as they are read."""
    read = list[Path]()

    def watched(path: Path) -> object:
        read.append(path)
        return identify(path)

    monkeypatch.setattr(header_cache, "identify", watched)
    return read


def told(found: SeriesIndex[FileIdentity]) -> tuple[object, ...]:
    """All that an index says; errors by their words."""
    broken = [(each.path, each.cut, str(each.error)) for each in found.broken]
    return found.members, found.strangers, found.nameless, found.total, broken


def index(archive: Path, file: Path | None) -> dict[str, list[Path]]:
    with HeaderCache(file) as cache:
        return cache.find_series(archive, workers=1).files


def test_the_second_time_only_what_changed_is_read(archive: Path, tmp_path: Path, reads: list[Path]) -> None:
    file, seen = tmp_path / "cache" / "headers.sqlite", list[tuple[int, int]]()
    with HeaderCache(file) as cache:
        first = cache.find_series(archive, lambda done, total: seen.append((done, total)), workers=1)
    assert told(first) == told(find_series(archive))
    assert seen == [(count, 8) for count in range(1, 9)]
    assert len(reads) == 8
    assert file.stat().st_mode & 0o077 == 0  # only the user reads it
    reads.clear()
    with HeaderCache(file) as cache:
        assert told(cache.find_series(archive, workers=1)) == told(first)
        assert [cache.identify(path) for path in first.strangers] == [None]
    assert reads == [archive / "empty.dcm"]  # what could not be read may be whole by now
    (archive / "a" / "000001.dcm").write_bytes((archive / "b" / "c" / "000001.dcm").read_bytes())
    (archive / "b" / "c" / "000002.dcm").unlink()
    os.utime(archive / "a" / "000002.dcm", ns=(1, 1))
    reads.clear()
    assert index(archive, file) == find_series(archive).files
    assert sorted(reads) == [archive / "a" / "000001.dcm", archive / "a" / "000002.dcm", archive / "empty.dcm"]


def test_without_a_cache_all_is_read_and_nothing_kept(archive: Path, tmp_path: Path, reads: list[Path]) -> None:
    before = set(tmp_path.rglob("*"))
    assert index(archive, None) == index(archive, None) == find_series(archive).files
    assert len(reads) == 16
    assert set(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("content", [b"", b"no base at all " * 100], ids=["empty", "foreign"])
def test_a_damaged_cache_is_made_anew(archive: Path, tmp_path: Path, reads: list[Path], content: bytes) -> None:
    file = tmp_path / "headers.sqlite"
    file.write_bytes(content)
    assert index(archive, file) == find_series(archive).files
    reads.clear()
    index(archive, file)
    assert len(reads) == 1


def test_a_cache_of_another_version_is_made_anew(archive: Path, tmp_path: Path, reads: list[Path]) -> None:
    file = tmp_path / "headers.sqlite"
    index(archive, file)
    with sqlite3.connect(file) as base:
        base.execute("pragma user_version = 99")
    base.close()
    reads.clear()
    assert index(archive, file) == find_series(archive).files
    assert len(reads) == 8


def test_a_cache_that_another_process_holds_is_done_without(
    archive: Path, tmp_path: Path, reads: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(header_cache, "WAIT_S", 0.0)
    file = tmp_path / "headers.sqlite"
    index(archive, file)
    (archive / "a" / "000001.dcm").touch()
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("begin exclusive")
    assert index(archive, file) == find_series(archive).files
    other.close()


def test_a_place_that_cannot_be_written_is_done_without(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    assert index(archive, tmp_path / "taken" / "headers.sqlite") == find_series(archive).files


def test_its_place_follows_the_platform(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("AMBISEG_CACHE", raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_file() == tmp_path / "ambiseg" / "headers.sqlite"
    monkeypatch.setenv("AMBISEG_CACHE", str(tmp_path / "own"))
    assert cache_file() == tmp_path / "own" / "headers.sqlite"


def test_no_folder(tmp_path: Path) -> None:
    with HeaderCache(None) as cache, pytest.raises(InputError, match=r"No folder .*nowhere"):
        cache.find_series(tmp_path / "nowhere")
