"""`ambiseg score`, `data readers` and `data consensus` as a user runs them; refusals write nothing."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ambiseg.preprocessing.store.store import Store

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def masks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Masks of readers and of a program, of two cases, in the working folder."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for folder, count in (("readers", 4), ("masks", 20)):
        Path(folder).mkdir()
        for case in ("a", "b"):
            np.savez(f"{folder}/{case}.npz", masks=(rng.random((count, 8, 8)) < 0.5).astype(np.uint8))


def test_masks_are_scored(ambiseg: Command) -> None:
    code, out, err = ambiseg("score", "--readers", "readers", "--masks", "masks", "-o", "found")
    assert code == 0, err
    for words in ("GED16, unbiased", "HM-IoU", "Collective insight", "Mean size, readers, pixels", "2 cases"):
        assert words in " ".join(out.split())
    document = json.loads(Path("found/scores.json").read_text())
    assert [one["case"] for one in document["cases"]] == ["a", "b"]
    assert len(Path("found/scores.csv").read_text().splitlines()) == 3
    page = Path("found/report.html").read_text()
    assert "Collective insight" in page
    assert "http" not in page.replace("http-equiv", "")
    assert json.loads(ambiseg("score", "--readers", "readers", "--masks", "masks", "--json")[1]) == document


def test_bad_weights_write_nothing(ambiseg: Command) -> None:
    rows = "".join(f"{case},{n},0.04\n" for case in "ab" for n in range(20))
    Path("w.csv").write_text("case,mask,weight\n" + rows)
    code, _, err = ambiseg("score", "--readers", "readers", "--masks", "masks", "--weights", "w.csv")
    assert (code, "have the sum 0.8" in err, Path("score").exists()) == (4, True, False)
    Path("w.csv").write_text("case,mask,weight\n" + rows.replace("0.04", "0.05"))
    code, out, _ = ambiseg("score", "--readers", "readers", "--masks", "masks", "--weights", "w.csv")
    assert (code, "ECE of the list of masks" in " ".join(out.split())) == (0, True)


def test_readers_and_their_consensus(ambiseg: Command, known_truth: Store) -> None:
    code, out, err = ambiseg("data", "readers", known_truth.path, "--split", "val")
    assert (code, "Fleiss' kappa of presence" in out) == (0, True)
    assert "one number need not be one person" in err
    assert Path("readers/readers.png").read_bytes().startswith(b"\x89PNG")
    code, _, err = ambiseg("data", "consensus", known_truth.path, "-o", "fused", "--rule", "staple")
    assert (code, "Next: ambiseg train -d fused" in err) == (0, True)
    assert Store.open("fused").readers == 1
    code, out, _ = ambiseg("data", "readers", "readers", "-o", "r", "--json")
    assert (code, json.loads(out)["named"]) == (0, True)
