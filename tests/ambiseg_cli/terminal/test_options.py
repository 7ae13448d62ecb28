"""Values of options, as text that a user types."""

import sys

import pytest

from ambiseg.preprocessing.errors import UsageError
from ambiseg.preprocessing.work.dask_cluster import DaskCluster
from ambiseg.terminal.options import point, workplace


@pytest.mark.parametrize("text", ["1,2", "1,2,x", "1 2 3", "1,2,3,4", "nan,1,2", ""])
def test_points_need_three_numbers(text: str) -> None:
    with pytest.raises(UsageError, match="expected three"):
        point(text)


def test_work_is_done_here_or_on_a_cluster() -> None:
    assert workplace(None, None, None) is None
    assert workplace(3, None, None) == 3
    pytest.importorskip("distributed")
    engine = workplace(None, "tcp://head:8786", None)
    assert isinstance(engine, DaskCluster)
    assert engine.address == "tcp://head:8786"


@pytest.mark.parametrize(
    ("workers", "cluster", "jobs", "says"),
    [
        (2, "tcp://head:8786", None, "Both `workers` and `cluster` are given"),
        (None, None, 4, "`jobs` is a number of SLURM jobs"),
        (None, "tcp://head:8786", 4, "`jobs` is a number of SLURM jobs"),
    ],
)
def test_options_of_work_that_contradict_each_other(
    workers: int | None, cluster: str | None, jobs: int | None, says: str
) -> None:
    with pytest.raises(UsageError, match=says):
        workplace(workers, cluster, jobs)


def test_a_cluster_needs_dask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UsageError, match=r"`cluster` needs Dask: run `pip install 'ambiseg\[dask\]'`"):
        workplace(None, "tcp://head:8786", None)
