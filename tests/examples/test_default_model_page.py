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
    folds = [{"recipe": "deep", "crops": 12753, **ranges, **{f"{name}_of_runs": "0.2 to 0.3" for name in ranges}}]
    write_table(tmp_path / "folds.csv", rows=folds, columns=list(folds[0]))
    apart = {"crops": 99, "patients": 9, "folds": 0.21, "model": 0.22, "difference": "-0.01 (-0.02 to 0.01)", "p": 0.2}
    write_table(
        tmp_path / "against.csv", [{"recipe": "deep", "figure": "ged16_u", **apart}], ["recipe", "figure", *apart]
    )
    monkeypatch.setattr("sys.argv", ["page.py", str(tmp_path)])
    page.main()
    text = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        "## Round 1",
        "## Round 2",
        "## Out of fold",
        "## Against",
    ]
    assert "1,000 steps, 1 seed." in text
    assert "1,000 steps, 2 seeds." in text
    assert "`deep` | widths 16-32-64-96-128-128 |  .235 |" in text
    assert ".235 (.002)" in text
    assert "12753" in text
    assert "`deep` | GED16, unbiased |" in text
    for block in text.split("\n\n"):
        if block.startswith("|"):
            assert len({line.count("|") for line in block.splitlines()}) == 1
