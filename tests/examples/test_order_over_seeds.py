"""The order of a benchmark's entries over seeds, of a table made by hand."""

from pathlib import Path

import numpy as np
import pytest
from order_over_seeds import ordered, read_seeds, tables

FIGURES = {"generalized-axis": (0.3, 0.28, 0.29), "generalized-full": (0.2, 0.3, 0.25), "modal": (0.1, 0.1, 0.1)}


def write(folder: Path) -> Path:
    path = folder / "results.csv"
    lines = ["entry,seed,ged16_v"]
    lines += [f"{name},{seed},{value}" for name, values in FIGURES.items() for seed, value in enumerate(values)]
    lines += ["generalized-low-rank,0,0.4", "generalized-low-rank,1,"]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_places_differences_and_agreement(tmp_path: Path) -> None:
    found = read_seeds(write(tmp_path), "ged16_v", ["generalized"])
    assert found.entries == ("generalized-full", "generalized-axis")  # the one that lacks seeds is left out
    assert found.places.tolist() == [[1, 2, 1], [2, 1, 2]]
    assert found.agreement == pytest.approx(1 / 9)
    text = tables(found)
    assert "| `generalized-full` |" in text
    cells = [cell.strip() for cell in text.splitlines()[-3].strip("|").split("|")]
    difference = np.array([0.1, -0.02, 0.04])
    assert cells == [
        "`generalized-full`", "`generalized-axis`", f"{difference.mean():+.4f}",
        f"{difference.std(ddof=1) / np.sqrt(3):.4f}", "2 of 3",
    ]  # fmt: skip


def test_seeds_can_be_chosen(tmp_path: Path) -> None:
    """An entry that lacks a seed is there again where only the others are compared."""
    path = write(tmp_path)
    path.write_text(path.read_text().replace("low-rank,1,", "low-rank,1,0.5"))
    assert "generalized-low-rank" not in read_seeds(path, "ged16_v").entries
    found = read_seeds(path, "ged16_v", seeds=[0, 1])
    assert found.seeds == (0, 1)
    assert found.entries[-1] == "generalized-low-rank"


def test_all_entries_and_figures_of_which_more_is_better(tmp_path: Path) -> None:
    assert read_seeds(write(tmp_path), "ged16_v").entries[0] == "modal"
    found = ordered({name: dict(enumerate(values)) for name, values in FIGURES.items()}, higher=True)
    assert found.entries[-1] == "modal"
    assert found.places[-1].tolist() == [3, 3, 3]
    with pytest.raises(SystemExit, match="two entries with two seeds"):
        ordered({"modal": {0: 0.1, 1: 0.2}}, higher=False)
