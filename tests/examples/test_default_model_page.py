"""examples/studies/default_model/page.py: the study's CSV files become tables of what was tried and what it was worth."""

from pathlib import Path

import page
import pytest
from recipes import RECIPES

from ambiseg.preprocessing.tables import write_table

ROW = {"steps": 1000, "ged16_v": 0.2346, "ged16_u": 0.0676, "hm_iou16": 0.6159}
SPREAD = {"ged16_v_spread": 0.0021, "ged16_u_spread": 0.0025, "hm_iou16_spread": 0.0027}


def test_each_recipe_is_told_apart_in_words() -> None:
    told = {recipe.name: page.changes(recipe) for recipe in RECIPES}
    assert told["all-three"] == "widths 16-32-64-96-128-128, norm each, centre crop"
    assert told["experts"] == "method mose"
    assert told["base"] == "as `lidc-gated` was trained"
    assert len(set(told.values())) == len(told)


def test_tables_show_what_was_done_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rounds = [
        {"round": number, "recipe": name, **ROW, **SPREAD, "seeds": number}
        for number, name in ((1, "deep"), (2, "wide"))
    ]
    write_table(tmp_path / "search.csv", rows=rounds, columns=list(rounds[0]))
    ranges = {"ged16_v": "0.21 (0.20 to 0.22)", "ged16_u": "0.05 (0.04 to 0.06)", "hm_iou16": "0.64 (0.63 to 0.65)"}
    parts = {f"{name}_of_{part}": "0.2 to 0.3" for name in ranges for part in ("folds", "seeds")}
    of_lesions = {
        "lesions": 875,
        "lesion_ged16_u": "0.04",
        "lesion_ged16_u_of_folds": "",
        "lesion_ged16_u_of_seeds": "",
    }
    about = {"recipe": "deep", "steps": 8750, "folds": 5, "seeds": 2, "slices": 12753}
    folds = [{**about, **ranges, **parts, **of_lesions}]
    write_table(tmp_path / "folds.csv", rows=folds, columns=list(folds[0]))
    apart = {"cases": 99, "patients": 9, "folds": 0.21, "model": 0.22, "difference": "-0.01 (-0.02 to 0.01)", "p": 0.2}
    rows = [{"recipe": "deep", "steps": 8750, "by": by, "figure": "ged16_u", **apart} for by in ("slice", "lesion")]
    write_table(tmp_path / "against.csv", rows, list(rows[0]))
    costs = [{"part": part, "runs": 2, "core_hours": "1.50", "kwh": "0.015"} for part in ("round-1", "folds")]
    write_table(tmp_path / "cost.csv", costs, list(costs[0]))
    monkeypatch.setattr("sys.argv", ["page.py", str(tmp_path)])
    page.main()
    text = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        "## Round 1",
        "## Round 2",
        "## Out of fold",
        "## Against",
        "## Cost",
    ]
    assert "1,000 steps, 1 seed." in text
    assert "1,000 steps, 2 seeds." in text
    assert "`deep` | widths 16-32-64-96-128-128 |  .235 |" in text
    assert ".235 (.002)" in text
    assert cells(text, "GED16", "0.21 (0.20") == [
        "`deep`", "8,750", "GED16", "5", "2", "12753", "0.21 (0.20 to 0.22)", "0.2 to 0.3", "0.2 to 0.3",
    ]  # fmt: skip
    assert cells(text, "lesions: GED16, unbiased", "875")[:4] == ["`deep`", "8,750", "lesions: GED16, unbiased", "5"]
    assert cells(text, "GED16, unbiased", "99")[2:5] == ["GED16, unbiased", "99", "9"]
    assert cells(text, "lesions: GED16, unbiased", "99")[2:5] == ["lesions: GED16, unbiased", "99", "9"]
    assert cells(text, "all", "4") == ["all", "4", "3.00", "0.030"]
    for block in text.split("\n\n"):
        if block.startswith("|"):
            assert len({line.count("|") for line in block.splitlines()}) == 1


def cells(text: str, *words: str) -> list[str]:
    """The cells of the one row that holds a cell with the first word alone, and somewhere the others."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    found = [row for row in rows if words[0] in row and all(any(word in cell for cell in row) for word in words[1:])]
    (row,) = found
    return row
