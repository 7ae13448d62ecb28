"""Workers as SLURM's jobs, with a `sbatch` that starts a job's script at once."""

import os
import stat
import time
from functools import partial
from pathlib import Path

import pytest

from ambiseg.preprocessing.errors import UsageError
from ambiseg.preprocessing.work.dask_cluster import DaskCluster, check_cluster
from ambiseg.preprocessing.work.engine import Limits, always

pytest.importorskip("dask_jobqueue")
SBATCH = """#!/bin/bash
cp "${@: -1}" HERE/$$.sh
setsid bash HERE/$$.sh > HERE/$$.log 2>&1 < /dev/null &
echo $! > HERE/$$.pid
echo "Submitted batch job $$"
"""
SCANCEL = """#!/bin/bash
for job in "$@"; do kill -TERM -$(cat HERE/$job.pid); done
"""


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with SLURM's two commands, first on the path; jobs leave their scripts there."""
    folder = tmp_path / "slurm"
    folder.mkdir()
    for name, text in {"sbatch": SBATCH, "scancel": SCANCEL}.items():
        (folder / name).write_text(text.replace("HERE", str(folder)))
        (folder / name).chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    return folder


@pytest.mark.exhaustive
@pytest.mark.filterwarnings("ignore")  # of dask-jobqueue, about its own configuration
def test_jobs_do_the_tasks_and_end_with_them(slurm: Path) -> None:
    check_cluster("slurm")
    with DaskCluster("slurm", jobs=2).held() as engine:
        for base in (2, 3):
            outcomes = engine.outcomes(always(partial(pow, base)), range(20), limits=Limits(1), in_order=True)
            assert [outcome.get() for outcome in outcomes] == [base**number for number in range(20)]
    scripts = list(slurm.glob("*.sh"))
    assert len(scripts) == 2, "the second round has the jobs of the first"
    assert all("#SBATCH --mem=4G" in script.read_text() for script in scripts)
    deadline = time.monotonic() + 30
    while any(runs(int(job.read_text())) for job in slurm.glob("*.pid")):
        assert time.monotonic() < deadline, "jobs outlive their work"
        time.sleep(0.1)


def runs(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_without_slurm_it_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="SLURM's command sbatch, which is not here"):
        check_cluster("slurm")
