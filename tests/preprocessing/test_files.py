"""Files and folders that are whole or absent, and written by one process at a time."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ambiseg.preprocessing import files
from ambiseg.preprocessing.errors import UsageError
from ambiseg.preprocessing.files import (
    clear_leftovers,
    exchange,
    only_writer,
    scratch_folder,
    whole_file,
    whole_folder,
)


def write(folder: Path, text: str) -> None:
    with whole_folder(folder) as aside:
        (aside / "it").write_text(text)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(params=["exchange", "renames"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How folders change places: in one step, or, where the system has none, in two."""
    if request.param == "renames":
        monkeypatch.setattr(files, "exchange", lambda one, other: False)
    return request.param


def test_a_folder_takes_the_place_of_another_and_leaves_nothing_beside(tmp_path: Path, way: str) -> None:
    for text in ("first", "second", "third"):
        write(tmp_path / "out", text)
        assert (tmp_path / "out" / "it").read_text() == text
    assert names(tmp_path) == ["out"]


def test_a_block_that_raises_leaves_what_stood_there(tmp_path: Path, way: str) -> None:
    write(tmp_path / "out", "old")
    with pytest.raises(FileNotFoundError), whole_folder(tmp_path / "out") as aside:
        (aside / "missing").rename(aside / "it")
    assert (tmp_path / "out" / "it").read_text() == "old"
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize("failing", [1, 2])
def test_a_rename_that_fails_puts_the_old_folder_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    write(tmp_path / "out", "old")
    monkeypatch.setattr(files, "exchange", lambda one, other: False)
    replace, calls = os.replace, []

    def refuse(source: Path, target: Path) -> None:
        calls.append(source)
        if len(calls) == failing:
            raise OSError("refused")
        replace(source, target)

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="refused"):
        write(tmp_path / "out", "new")
    assert (tmp_path / "out" / "it").read_text() == "old"
    assert names(tmp_path) == ["out"]


def test_what_a_kill_between_two_renames_left_is_put_back_by_a_call_that_fails(tmp_path: Path) -> None:
    write(tmp_path / ".old-out", "old")
    (tmp_path / ".writing-out").mkdir()
    with pytest.raises(RuntimeError), whole_folder(tmp_path / "out"):
        raise RuntimeError
    assert (tmp_path / "out" / "it").read_text() == "old"
    assert names(tmp_path) == ["out"]


@pytest.mark.skipif(sys.platform != "linux", reason="Linux' renameat2")
def test_an_exchange_of_a_missing_file_is_said_to_be_none(tmp_path: Path) -> None:
    write(tmp_path / "there", "there")
    assert not exchange(tmp_path / "there", tmp_path / "missing")
    assert names(tmp_path) == ["there"]


def test_results_go_where_a_link_leads(tmp_path: Path, way: str) -> None:
    write(tmp_path / "real", "old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "it").read_text() == "new"
    assert names(tmp_path) == ["link", "real"]


def test_the_current_folder_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    write(Path(), "new")
    assert (tmp_path / "here" / "it").read_text() == "new"


@pytest.mark.parametrize("opened", [whole_file, whole_folder])
def test_the_root_of_a_disk_is_no_place_to_write(opened: Callable) -> None:
    with pytest.raises(UsageError, match=r"folder"), opened(Path("/")):
        pass


HOLD = """
import sys
from pathlib import Path
from ambiseg.preprocessing.files import only_writer
with only_writer(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def another_holds(path: Path) -> Iterator[None]:
    """Another process writes `path`, as long as the block lasts."""
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield
        process.communicate()


def test_a_second_writer_is_refused_in_one_sentence(tmp_path: Path) -> None:
    write(tmp_path / "out", "first")
    wanted = (
        r"Another process is writing .*out, since \d{4}-\d\d-\d\d [\d:]{8} \(process \d+ on .+\): wait until it has"
    )
    with another_holds(tmp_path / "out"), pytest.raises(UsageError, match=wanted):
        write(tmp_path / "out", "second")
    assert (tmp_path / "out" / "it").read_text() == "first"
    assert names(tmp_path) == ["out"]


def test_a_signature_that_is_no_signature_is_not_told(tmp_path: Path) -> None:
    with another_holds(tmp_path / "out"):
        (tmp_path / ".lock-out").write_text("\x1b[2J 4711\n")
        second = only_writer(tmp_path / "out", what="the thing", remedy="stop it")
        with pytest.raises(UsageError, match=r"writing the thing: wait until it has finished, or stop it\."):
            second.__enter__()
    with only_writer(tmp_path / "out"):  # the other one has gone, whatever its lock says
        assert (tmp_path / ".lock-out").read_text().startswith(f"{os.getpid()} ")


def test_who_holds_a_place_may_hold_it_again(tmp_path: Path) -> None:
    with only_writer(tmp_path / "new" / "it"):
        with whole_file(tmp_path / "new" / "it") as aside:
            aside.write_text("held")
        assert names(tmp_path / "new") == [".lock-it", "it"]
    assert names(tmp_path / "new") == ["it"]


def test_locks_of_killed_processes_go_with_what_else_they_left(tmp_path: Path) -> None:
    for name in (".lock-it", ".writing-it", ".lock-other", "kept"):
        (tmp_path / name).touch()
    clear_leftovers(tmp_path)
    assert names(tmp_path) == ["kept"]


def test_a_writer_that_was_killed_holds_nothing(tmp_path: Path) -> None:
    script = (
        "import os, sys; from pathlib import Path; from ambiseg.preprocessing.files import whole_folder\n"
        "with whole_folder(Path(sys.argv[1])): os.kill(os.getpid(), 9)"
    )
    ended = subprocess.run([sys.executable, "-c", script, str(tmp_path / "out")], check=False)
    assert ended.returncode == -9
    write(tmp_path / "out", "new")
    assert names(tmp_path) == ["out"]


def test_a_file_waits_for_another_that_writes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "PATIENCE", 0.1)
    waiting = whole_file(tmp_path / "table.csv")
    with another_holds(tmp_path / "table.csv"), pytest.raises(UsageError, match=r"Another process"):
        waiting.__enter__()
    with whole_file(tmp_path / "table.csv") as aside:
        aside.write_text("x")
    assert names(tmp_path) == ["table.csv"]


def test_a_temporary_folder_stays_while_this_process_takes_another() -> None:
    with scratch_folder() as outer:
        (outer / "it").write_text("here")
        with scratch_folder() as inner:
            assert inner.is_dir()
            assert (outer / "it").read_text() == "here"
        assert (outer / "it").read_text() == "here"
        assert not inner.exists()
    assert not outer.exists()
