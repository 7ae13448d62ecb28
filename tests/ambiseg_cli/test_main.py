"""The command line as a whole: help of every command, versions, and messages and leftovers when something fails."""

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import typer

from ambiseg import __version__
from ambiseg.main import app
from ambiseg.preprocessing.errors import DataError
from ambiseg.preprocessing.sources.papers.known_readers import write_known_truth
from ambiseg.preprocessing.store.store import Store

ROOT = Path(__file__).parents[2]
Ambiseg = Callable[..., tuple[int, str, str]]
TINY = ("--preset", "demo", "--set", "data.crop=16", "--steps", "20", "--set", "validation.every=10")


def commands() -> Iterator[tuple[str, ...]]:
    """The words of every command there is."""
    group = typer.main.get_command(app)
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        inner = getattr(command, "commands", None)
        yield (name,)
        yield from ((name, key) for key in inner or ())


@pytest.mark.parametrize("words", list(commands()), ids=" ".join)
def test_every_command_explains_itself(ambiseg: Ambiseg, words: tuple[str, ...]) -> None:
    code, out, _ = ambiseg(*words, "--help")
    assert code == 0
    assert "Usage: ambiseg" in out


def test_every_option_is_explained() -> None:
    group = typer.main.get_command(app)
    for command in [
        c for top in group.commands.values() for c in (getattr(top, "commands", None) or {"": top}).values()
    ]:  # type: ignore[attr-defined]
        assert command.help
        for parameter in command.params:
            assert getattr(parameter, "help", None), f"{command.name}: {parameter.name}"


def test_version(ambiseg: Ambiseg) -> None:
    assert ambiseg("--version") == (0, f"ambiseg {__version__}\n", "")


def test_an_unknown_command_is_a_usage_error(ambiseg: Ambiseg) -> None:
    code, _, err = ambiseg("trian")
    assert code == 2
    assert "No such command" in err


def test_train_then_resume_then_list(
    ambiseg: Ambiseg, known_truth: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = ambiseg("train", "--method", "probunet", "--data", known_truth.path, *TINY)
    assert code == 0, err
    assert out == "runs/probunet-001\n"
    assert "Best on validation" in err
    assert "No --method" not in err
    code, out, err = ambiseg("train", "--resume", "runs/probunet-001", "--json")
    assert (code, '"finished": true' in out) == (0, True)
    code, _, err = ambiseg("train", "--resume", "runs/probunet-001", "--seed", "3")
    assert code == 2
    assert "A resumed run keeps its settings: leave out --seed" in err


def test_a_method_that_nobody_chose_is_explained(
    ambiseg: Ambiseg, known_truth: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = ambiseg("train", "--data", known_truth.path, *TINY, "--steps", "2")
    assert (code, out) == (0, "runs/generalized-001\n")
    said = " ".join(err.split())
    assert "No --method: generalized, which follows its paper and has the most options." in said
    assert "gated comes closest to the readers of LIDC-IDRI" in said


@pytest.mark.parametrize("centre", ["crop", "auto"])
def test_weights_are_taken_over_with_the_inputs_that_they_expect(
    centre: str, ambiseg: Ambiseg, known_truth: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = ("--data", known_truth.path)
    assert ambiseg("train", *data, *TINY, "--set", f"data.centre={centre}", "-O", "norm=each", "-o", "old")[0] == 0
    code, _, err = ambiseg("train", *data, "--from", "old", "--preset", "small", "--steps", "1", "-o", "new")
    assert code == 0, err
    old, new = (json.loads(Path(run, "run.json").read_text())["config"] for run in ("old", "new"))
    assert (old["data"]["centre"], new["data"]["centre"]) == (centre, "crop")  # what it was for the old run's data
    assert (new["data"]["crop"], new["options"]["norm"]) == (old["data"]["crop"], "each")


def test_a_student_learns_from_a_teacher(
    ambiseg: Ambiseg, known_truth: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = ("--data", known_truth.path)
    assert ambiseg("train", "-m", "probunet", *data, *TINY, "-o", "old")[0] == 0
    taught = ("--teacher", "old", "--teacher-draws", "3")
    code, out, err = ambiseg("train", "-m", "mheads", *data, *TINY, *taught, "-o", "new")
    assert (code, out) == (0, "new\n"), err
    assert json.loads(Path("new/run.json").read_text())["config"]["teacher"]["model"] == "old"
    assert json.loads(Path("new/teacher/masks.json").read_text())["draws"] == 3
    code, _, err = ambiseg("train", "--resume", "new", *taught)
    assert (code, "leave out --teacher, --teacher-draws" in err) == (2, True)
    code, _, err = ambiseg("train", "-m", "mheads", *data, "--set", "data.crop=24", "--teacher", "old", "-o", "no")
    assert code == 2
    assert "The teacher sees crops of 16 pixels" in err
    assert "No model 'nothing'" in ambiseg("train", *data, "--teacher", "nothing")[2]
    assert not Path("no").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--data", "none"), 3, "No dataset store at none: expected a folder with manifest.json"),
        ((), 3, "No data set under data/: make one with `ambiseg preprocess lidc`"),
        (("--method", "unet"), 2, "No method 'unet': expected one of"),
        (("-O", "familly=full"), 2, "Unknown option 'familly' of method generalized: expected one of family"),
        (("--set", "optimiser.lr=1"), 2, "Unknown option 'optimiser.lr' of train"),
        (("--device", "tpu"), 2, "Unknown --device 'tpu': expected auto, cpu, cuda or cuda:N"),
        (("--resume", "none"), 3, "No run at none: expected a folder with run.json"),
        (("--config", "none.toml"), 3, "No settings file none.toml"),
    ],
)
def test_train_says_what_is_wrong(
    ambiseg: Ambiseg,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    code: int,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    came, out, err = ambiseg("train", *arguments)
    assert came == code
    assert message in err
    assert "Traceback" not in err
    assert out == ""
    assert not list(tmp_path.iterdir())


def test_a_run_without_data_leaves_nothing(ambiseg: Ambiseg, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The data has no validation crops: said before a run folder is made."""
    monkeypatch.chdir(tmp_path)
    write_known_truth(Path("data/lidc"), crops=4, size=24)
    code, _, err = ambiseg("train", *TINY)
    assert code == 3
    assert "has no val crops" in err
    assert not Path("runs").exists()


def test_settings_that_the_device_cannot_do_leave_nothing(ambiseg: Ambiseg, known_truth: Store, tmp_path: Path) -> None:
    for wrong in ("hardware.precision=fp16", "hardware.graphs=true"):
        words = ["train", "-d", known_truth.path, "--set", "data.crop=16", "--set", wrong, "--device", "cpu"]
        code, _, err = ambiseg(*words, "-o", tmp_path / "run")
        assert code == 2
        assert "needs CUDA" in err
        assert not (tmp_path / "run").exists()


def test_a_full_disk_is_said(
    ambiseg: Ambiseg, known_truth: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def full(self: Path, *args: object, **kwargs: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    code, _, err = ambiseg("train", "--data", known_truth.path, *TINY)
    assert code == 6
    assert "No room left on the disk while writing" in err
    assert not list(tmp_path.rglob(".writing*"))


def test_a_name_that_the_system_refuses_is_said(
    ambiseg: Ambiseg, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("published.csv").write_text("method,ged16,ged100\nours,.3,.25\n")
    code, _, err = ambiseg("audit", "published.csv", "-o", "x" * 300 + ".csv")
    assert code == 6
    assert "The system refuses to use" in err
    assert "File name too long" in err
    assert sorted(tmp_path.iterdir()) == [tmp_path / "published.csv"]


def test_ctrl_c_anywhere_is_130_and_one_line(ambiseg: Ambiseg, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ambiseg.models.bundle.find.find_model", interrupted)
    code, out, err = ambiseg("evaluate")
    assert (code, out) == (130, "")
    assert "Interrupted: nothing half-written was kept. Run the same command again." in err
    assert "Traceback" not in err


@pytest.mark.slow
def test_ctrl_c_keeps_the_run_and_says_how_to_go_on(known_truth: Store, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ambiseg", "train", "--data", str(known_truth.path), *TINY, "--steps", "100000"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    run = tmp_path / "runs" / "generalized-001"
    for _ in range(600):
        if (run / "model.safetensors").exists():
            break
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Stopped; nothing is lost. Continue with: ambiseg train --resume runs/generalized-001" in err
    assert "Traceback" not in err
    assert not list(run.glob(".writing*"))
    assert (run / "checkpoint.pt").is_file()


def test_a_shortage_under_a_sentence_of_ours_is_what_is_said(ambiseg: Ambiseg, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a library could not do for want of memory is no damaged file."""

    def fail(*arguments: object) -> None:
        try:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes")
        except RuntimeError as error:
            raise DataError("checkpoint.pt is corrupt: delete it.") from error

    monkeypatch.setattr("ambiseg.models.bundle.find.find_model", fail)
    code, _, err = ambiseg("evaluate")
    assert code == 6
    assert err.startswith("Error: Out of memory: use a smaller batch")
    assert "corrupt" not in err


def test_the_end_of_a_file_is_no_wish_to_leave(ambiseg: Ambiseg, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise EOFError("Compressed file ended before the end-of-stream marker was reached")

    monkeypatch.setattr("ambiseg.models.bundle.find.find_model", fail)
    code, _, err = ambiseg("evaluate")
    assert (code, err.count("\n")) == (4, 1)
    assert "A file ends too early (Compressed file ended before" in err


def test_a_file_that_may_not_be_read_is_code_6(
    ambiseg: Ambiseg, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may read everything, so the system's answer is made."""
    file = tmp_path / "published.csv"
    file.write_text("method,ged16,ged100\nours,.3,.25\n")

    def refuse(self: Path, *arguments: object, **more: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    for way in ("open", "read_text", "read_bytes"):
        monkeypatch.setattr(Path, way, refuse)
    code, _, err = ambiseg("audit", file)
    assert code == 6
    assert err == (
        f"Error: Not allowed to use {file} (Permission denied): change its permissions, or name another file or folder.\n"
    )


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (MemoryError(), 6, "Out of memory: use a smaller batch"),
        (ValueError("[bold] odd"), 1, "Unexpected error: ValueError: [bold] odd"),
    ],
)
def test_what_nobody_foresaw_is_one_line_too(
    ambiseg: Ambiseg, monkeypatch: pytest.MonkeyPatch, error: Exception, code: int, message: str
) -> None:
    def fail(*arguments: object) -> None:
        raise error

    monkeypatch.setattr("ambiseg.models.bundle.find.find_model", fail)
    came, _, err = ambiseg("evaluate")
    assert came == code
    assert message in err
    assert "Traceback" not in err
    assert "Traceback" in ambiseg("--debug", "evaluate")[2]


@pytest.mark.parametrize("place", [0, 1, 2, 6])
def test_quiet_may_stand_anywhere(ambiseg: Ambiseg, made_run: Callable[..., Path], tmp_path: Path, place: int) -> None:
    """Also between a group's name and its command's; and it holds for the one command alone."""
    words = ["model", "export", made_run(), "--overwrite", "-o", tmp_path / "m.zip"]
    assert f"Written: {tmp_path / 'm.zip'}" in ambiseg(*words)[2]
    for option in ("-q", "--quiet"):
        assert ambiseg(*words[:place], option, *words[place:]) == (0, "", "")
    assert "Written" in ambiseg(*words)[2]


@pytest.mark.parametrize("place", [0, 1, 2])
def test_debug_may_stand_anywhere(ambiseg: Ambiseg, place: int) -> None:
    words = ["data", "info", "nowhere"]
    assert "Traceback" not in ambiseg(*words)[2]
    assert "Traceback" in ambiseg(*words[:place], "--debug", *words[place:])[2]
    assert "Traceback" not in ambiseg(*words)[2]


@pytest.mark.parametrize("words", list(commands()), ids=" ".join)
def test_every_command_takes_and_explains_the_common_options(ambiseg: Ambiseg, words: tuple[str, ...]) -> None:
    shown = ambiseg(*words, "--help")[1]
    assert "Options of every command" in shown
    for option in ("--quiet", "-q", "--debug"):
        assert option in shown


COMPLETED = """
ambiseg --install-completion > /dev/null
. ~/.bashrc
complete -p ambiseg
complete_ambiseg() {
    COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
    _ambiseg_completion ambiseg
    echo "${COMPREPLY[@]}"
}
complete_ambiseg ambiseg pre
complete_ambiseg ambiseg preprocess ""
complete_ambiseg ambiseg train --pre
"""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_commands_and_options_once_that_is_installed(tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    script = tmp_path / "script"  # of a file: a shell with -c lets its last command take its place
    script.write_text(COMPLETED)
    done = subprocess.run(
        ["bash", script], env=os.environ | {"HOME": str(tmp_path), "PATH": path}, capture_output=True, text=True
    )
    registered, *found = done.stdout.splitlines()
    assert "_ambiseg_completion ambiseg" in registered, done.stderr
    assert found == ["predict preprocess", "lidc nifti packed mnist-guess cityscapes", "--preset"]


def test_methods_are_listed_as_on_their_page(ambiseg: Ambiseg) -> None:
    named = re.findall(r"\]\(([a-z0-9-]+)\.md\) \|", (ROOT / "docs" / "methods" / "README.md").read_text())
    assert list(json.loads(ambiseg("methods", "--json")[1])) == named
    shown = ambiseg("methods")[1]
    assert sorted(named, key=lambda name: shown.index(f" {name} ")) == named


def test_methods_and_their_options(ambiseg: Ambiseg) -> None:
    code, out, _ = ambiseg("methods")
    assert code == 0
    assert "generalized" in out
    assert "probunet" in out
    code, out, _ = ambiseg("methods", "generalized")
    assert code == 0
    assert "mixture-full" in out
    code, out, _ = ambiseg("methods", "generalized", "--json")
    assert '"additionalProperties": false' in out


def test_printed_settings_can_be_read_back(ambiseg: Ambiseg, tmp_path: Path) -> None:
    code, out, _ = ambiseg("train", "-m", "probunet", "--preset", "paper", "--seed", "7", "--print-config")
    assert code == 0
    (tmp_path / "own.toml").write_text(out)
    again = ambiseg("train", "-m", "probunet", "--preset", "small", "--config", tmp_path / "own.toml", "--print-config")
    assert again[1].replace('"small"', '"paper"') == out


@pytest.mark.parametrize(("given", "used"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_threads_wait_without_spinning_unless_the_user_says_so(given: str | None, used: str) -> None:
    """It must be said before torch is loaded: libgomp shows what it understood when it starts."""
    code = "from ambiseg.main import main\ntry:\n    main(['methods'])\nexcept SystemExit:\n    pass"
    environment = {key: value for key, value in os.environ.items() if key != "OMP_WAIT_POLICY"}
    environment |= {"OMP_DISPLAY_ENV": "TRUE"} | ({"OMP_WAIT_POLICY": given} if given else {})
    process = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert f"OMP_WAIT_POLICY = '{used}'" in process.stderr
