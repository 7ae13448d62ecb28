"""Which series DICOM files belong to, kept for the next time: reading the headers of an archive takes longer than all else.

A file is taken for the one that was read while its path, size and time of change are the same. What is kept are paths and UIDs,
in one SQLite file that only its user can read. A cache that cannot be read or written is done without.
"""

import os
import sqlite3
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, TypeAlias

from ...user_folders import user_folder
from ...work.engine import Engine, always
from ...work.local_processes import engine_of
from .dicom_files import FileIdentity, SeriesIndex, files_of, identify, series_of

SCHEMA = """
create table folders (id integer primary key, path blob unique);
create table kinds (id integer primary key, sop_class text, study text, series text, unique (sop_class, study, series));
create table files (folder integer, name blob, size integer, time integer, kind integer, primary key (folder, name))
    without rowid;
"""
VERSION = 1
A_TASK, A_SAVE = 100, 1000  # files
WAIT_S = 5.0  # for another process that writes the cache just now

Found: TypeAlias = FileIdentity | None
Stamp: TypeAlias = tuple[int, int]


def cache_file() -> Path:
    """The file of the cache, in AMBISEG_CACHE or else the platform's folder for caches."""
    asked = os.environ.get("AMBISEG_CACHE")
    return (Path(asked).expanduser() if asked else user_folder("cache")) / "headers.sqlite"


class HeaderCache:
    """A context in which files are identified, from the cache where it knows them.

    Args:
        file: The file of the cache, which is made; None: nothing is kept.

    Example:
        >>> with HeaderCache(None) as cache:
        ...     print(cache.identify(Path("pyproject.toml")))
        None
    """

    def __init__(self, file: Path | None):
        self._base = None if file is None else _opened(file)
        self._unsaved, self._folder = 0, b""
        self._known: dict[bytes, tuple[Stamp, Found]] = {}

    def __enter__(self) -> "HeaderCache":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._save()
        self._close()

    def identify(self, path: Path) -> Found:
        """As `dicom_files.identify`."""
        stamp = _stamp(path)
        known, found = self._look_up(path, stamp)
        if not known:
            found = identify(path)
            self._keep(path, stamp, found)
        return found

    def find_series(
        self,
        root: Path,
        on_file: Callable[[int, int], None] = lambda done, total: None,
        *,
        workers: int | Engine | None = None,
    ) -> SeriesIndex[FileIdentity]:
        """Index all DICOM files anywhere under a folder by their series, as `dicom_files.find_series`.

        Args:
            root: The folder.
            on_file: Called as `on_file(done, total)` after every file.
            workers: Processes that read headers, or the engine that has them; None: as many as save time.

        Raises:
            InputError: There is no such folder.
        """
        paths = files_of(root)
        found = dict[Path, Found]()
        stamps = {path: _stamp(path) for path in paths}
        unknown = list[Path]()
        for path in paths:
            known, identity = self._look_up(path, stamps[path])
            if known:
                found[path] = identity
                on_file(len(found), len(paths))
            else:
                unknown.append(path)
        tasks = [unknown[start : start + A_TASK] for start in range(0, len(unknown), A_TASK)]
        for outcome in engine_of(workers).outcomes(always(_identities), tasks, read=[root]):
            for path, identity in zip(outcome.task, outcome.get(), strict=True):
                found[path] = _at(path, identity)
                self._keep(path, stamps[path], identity)
                on_file(len(found), len(paths))
        return series_of((path, found[path]) for path in paths)

    def _look_up(self, path: Path, stamp: Stamp | None) -> tuple[bool, Found]:
        """Whether the cache knows what a file is, and what it is."""
        if self._base is None or stamp is None:
            return False, None
        folder = _folder(path)
        if folder != self._folder:  # a walk stays in a folder until it is done
            self._folder, self._known = folder, self._read(folder)
        kept, found = self._known.get(os.fsencode(path.name), (None, None))
        return kept == stamp, _at(path, found)

    def _read(self, folder: bytes) -> dict[bytes, tuple[Stamp, Found]]:
        """What is known of the files in a folder, by their names."""
        rows = self._ask(
            "select name, size, time, sop_class, study, series from files left join kinds on kinds.id = kind "
            "where folder = (select id from folders where path = ?)",
            folder,
        )
        return {
            name: ((size, time), None if series is None else FileIdentity(Path(), sop_class, study, series))
            for name, size, time, sop_class, study, series in rows
        }

    def _keep(self, path: Path, stamp: Stamp | None, found: Found) -> None:
        """Keep what a file is. One that cannot be read is read again the next time."""
        if self._base is None or stamp is None or (found is not None and not found.series):
            return
        folder, kind = _folder(path), None
        self._ask("insert or ignore into folders (path) values (?)", folder)
        if found is not None:
            kind = (found.sop_class, found.study, found.series)
            self._ask("insert or ignore into kinds (sop_class, study, series) values (?, ?, ?)", *kind)
        self._ask(
            "insert or replace into files select folders.id, ?, ?, ?, "
            "(select id from kinds where sop_class = ? and study = ? and series = ?) from folders where path = ?",
            *(os.fsencode(path.name), *stamp, *(kind or (None,) * 3), folder),
        )
        self._unsaved += 1
        if self._unsaved == A_SAVE:
            self._save()

    def _ask(self, question: str, *values: object) -> list[tuple[Any, ...]]:
        """The rows of an answer; none from a cache that fails, which is not asked again."""
        try:
            return [] if self._base is None else self._base.execute(question, values).fetchall()
        except sqlite3.Error:
            self._close()
            return []

    def _save(self) -> None:
        self._unsaved = 0
        if self._base is not None:
            try:
                self._base.commit()
            except sqlite3.Error:
                self._close()

    def _close(self) -> None:
        if self._base is not None:
            self._base.close()
        self._base = None


def _opened(file: Path) -> sqlite3.Connection | None:
    """The cache's base, made anew where it is damaged or of another version; None where there can be none."""
    for _ in range(2):
        base = None
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch(0o600)
            base = sqlite3.connect(file, timeout=WAIT_S)
            (version,) = base.execute("pragma user_version").fetchone()
            if version == VERSION:
                return base
            if version == 0 and not base.execute("select * from sqlite_master").fetchall():
                base.executescript(f"begin; {SCHEMA} pragma user_version = {VERSION}; commit;")
                return base
        except sqlite3.OperationalError:  # locked, full, or read-only
            if base is not None:
                base.close()
            return None
        except OSError:
            return None
        except sqlite3.DatabaseError:  # no SQLite file, or a damaged one
            pass
        if base is not None:
            base.close()
        file.unlink(missing_ok=True)
    return None


def _folder(path: Path) -> bytes:
    return os.fsencode(os.path.realpath(path.parent))


def _stamp(path: Path) -> Stamp | None:
    """A file's size and time of change; None where it is gone."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _at(path: Path, found: Found) -> Found:
    """What a file is, of which another object says it; the UIDs of a series are one string for all of its files."""
    if found is None:
        return None
    sop_class, study, series = map(sys.intern, (found.sop_class, found.study, found.series))
    return replace(found, path=path, sop_class=sop_class, study=study, series=series)


def _identities(paths: Sequence[Path]) -> list[Found]:
    return [identify(path) for path in paths]
