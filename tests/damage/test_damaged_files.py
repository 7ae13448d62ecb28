"""Damaged files in every format that the commands read: refused with one sentence, or read correctly.

There is no traceback, no process that ends or takes over 20 seconds, nothing accepted against a checksum, nothing left behind.
The cases are generated from a seed; a failure is shown with its case, `SEED:NUMBER`. In the project's folder

    PYTHONPATH=tests python -m damage --cases 100000 --seed 7     tries more
    PYTHONPATH=tests python -m damage --case 7:12345              tries one again, with its traceback, and keeps its folder

AMBISEG_DAMAGE_CASES and AMBISEG_DAMAGE_SEED set the cases of the exhaustive test. New formats go into `subjects.py`, with an
intact input in `sound.py`; new kinds of damage go into `damages.py`.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ambiseg.preprocessing.errors import AmbisegError, DataError

TESTS = Path(__file__).parents[1]
CASES = int(os.environ.get("AMBISEG_DAMAGE_CASES", "10000"))
SEED = int(os.environ.get("AMBISEG_DAMAGE_SEED", "0"))
EXHAUSTIVE = [pytest.mark.exhaustive, pytest.mark.slow]


@pytest.mark.parametrize(
    ("choice", "least"),
    [
        pytest.param(["--cases", "300", "--quick"], 250, id="quick", marks=pytest.mark.shortened),
        pytest.param(["--cases", "400"], 400, id="all formats", marks=pytest.mark.slow),
        pytest.param(["--cases", str(CASES), "--seed", str(SEED)], CASES, id="all", marks=EXHAUSTIVE),
    ],
)
def test_damaged_files_are_refused_or_read_as_they_are(tmp_path: Path, choice: list[str], least: int) -> None:
    environment = os.environ | {"PYTHONPATH": str(TESTS), "OMP_NUM_THREADS": "1", "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-m", "damage", *choice, "--verdicts", str(tmp_path / "verdicts.jsonl")]
    process = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    verdicts = [json.loads(line) for line in (tmp_path / "verdicts.jsonl").read_text().splitlines()]
    assert len(verdicts) >= least
    assert any(one["outcome"].startswith("refused") for one in verdicts)
    assert not [one for one in verdicts if one["fault"]], process.stdout


FAULTS: dict[str, tuple[Any, bool, str]] = {
    "the same": ("sound", True, ""),
    "a sentence": (DataError("t.csv is damaged: save it again."), True, ""),
    "other content": ("other", False, ""),
    "other content, sealed": ("other", True, "against its checksum"),
    "a fault of ours": (KeyError("rows"), False, "KeyError: 'rows'"),
    "no code": (AmbisegError("t.csv is damaged: save it again."), False, "exit code 1"),
    "no sentence": (DataError(""), False, "no sentence"),
    "something left": (Path(".writing-t.csv"), False, "left behind: .writing-t.csv"),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_is_seen(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """What reads a file, after it was damaged, comes to the end that the kind says."""
    monkeypatch.syspath_prepend(str(TESTS))
    from damage import damages, sound, subjects, trials

    ending, sealed, fault = FAULTS[kind]

    def read() -> Any:
        if Path("t.csv").read_bytes() == (sound.kept(sound.split_table) / "t.csv").read_bytes():
            return "sound"
        if isinstance(ending, Exception):
            raise ending
        if isinstance(ending, Path):
            ending.touch()
        return ending

    made = subjects.Subject("made", sound.split_table, "t.csv", read, (damages.drop_line,), sealed)
    monkeypatch.setattr(trials, "subject_of", lambda seed, number: made)
    verdict = trials.try_case(0, 0)
    assert fault in verdict.fault
    assert bool(fault) == bool(verdict.fault)


HANGING = """
import damage.__main__ as harness, ctypes, time
def endless(seed, number):
    while number == 0: pass
    time.sleep(60 * (number == 1))
    ctypes.string_at(0)
harness.HANG, harness.WAIT, harness.try_case = 1.0, 3.0, endless
print(*[one.fault for one in harness._run(0, [0, 1, 2], 1)], sep=chr(10))
"""


@pytest.mark.slow
def test_a_hang_and_a_crash_cost_their_case_alone() -> None:
    environment = os.environ | {"PYTHONPATH": str(TESTS), "OMP_NUM_THREADS": "1"}
    process = subprocess.run(
        [sys.executable, "-c", HANGING], env=environment, capture_output=True, text=True, check=True
    )
    assert process.stdout.splitlines() == ["hang: over 1 s", "hang: over 1 s", "crash: SIGSEGV"]
