"""The table of areas of draws: classes of area, and a line for the readers and one for each run."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from draw_areas import DRAWS, EDGES, main, shares

from ambiseg.preprocessing.store.store import Store


def test_classes_of_area() -> None:
    assert shares(np.array([0, 5, 6, 300, 301])).tolist() == [0.2, 0.2, 0.2, 0, 0, 0.2, 0.2]


def test_the_script_prints_readers_and_runs(
    made_run: Callable[..., Path],
    known_truth: Store,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = made_run("mheads", {"heads": 3}, data=known_truth)
    monkeypatch.setattr("sys.argv", ["draw_areas.py", str(known_truth.path), str(run), "--limit", "4"])
    main()
    heading, readers, drawn = (line.split() for line in capsys.readouterr().out.splitlines())
    assert heading == ["pixels", "0", "1-5", "6-20", "21-50", "51-100", "101-300", "301-", "stray"]
    assert readers[0] == "readers"
    assert len(readers) == len(drawn) == len(EDGES) + 2
    assert sum(map(float, readers[1:-1])) == pytest.approx(1, abs=0.01)
    assert all(
        float(share) * 4 * DRAWS == pytest.approx(round(float(share) * 4 * DRAWS), abs=0.1) for share in drawn[1:-1]
    )
