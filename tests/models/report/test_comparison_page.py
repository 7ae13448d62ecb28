"""The page of a comparison reports what the comparison found and loads nothing else."""

import base64
import re

import pytest

from ambiseg.models.comparison.compare_runs import compare
from ambiseg.models.evaluation.stored import read_evaluations
from ambiseg.models.figures.numbers import p_value, signed
from ambiseg.models.report.comparison_folder import write_comparison
from ambiseg.models.report.comparison_page import findings

pytestmark = pytest.mark.drawn

FIGURES = ("ged16_v", "hm_iou16", "sample_diversity16")
BASE = [0.5, 0.4, 0.3, 0.6, 0.2, 0.7, 0.35, 0.45, 0.55, 0.25, 0.65, 0.33]


@pytest.fixture
def compared(stored_run):
    """Evaluations of three runs and their comparison: `two` has lower, `<three>` nearly the same figures as `one`."""

    def make(figures=FIGURES, **about):
        shifts = {"one": lambda n: 0.0, "two": lambda n: -0.1 - n / 1000, "<three>": lambda n: (-1) ** n / 100}
        runs = [
            stored_run(name, about=about, **{f: [v + shift(n) for n, v in enumerate(BASE)] for f in figures})
            for name, shift in shifts.items()
        ]
        evaluations = read_evaluations(runs, "test")
        return evaluations, compare(evaluations, figures)

    return make


def test_the_page_says_what_was_found(compared, tmp_path):
    evaluations, comparison = compared()
    report = write_comparison(tmp_path / "out", comparison, evaluations)
    text = report.read_text(encoding="utf-8")
    assert (
        "<dt>one → two</dt><dd>second better in ged16_v; first better in hm_iou16; different in sample_diversity16</dd>"
        in text
    )
    assert "undecided in ged16_v, hm_iou16, sample_diversity16" in text
    assert "one → &lt;three&gt;" in text
    assert "<three>" not in text
    assert "blobs, SHA-256 dddddddddddd…" in text
    assert "12 cases of 12 patients" in " ".join(text.split())
    assert "squared GED, V-statistic" in text
    first = comparison.differences[0]
    row = re.search(r'<tr><th scope="row">GED16, V-statistic.*?</tr>', text)[0]
    cells = re.findall(r"<td[^>]*>(.*?)</td>", row)
    assert cells[2:4] == ["−.1055", f"{signed(first.low)} to {signed(first.high)}".replace("-", "−")]
    assert cells[4:] == ["−1.00", p_value(first.p), p_value(first.p_holm), "second"]
    assert first.p < first.p_holm < 0.05


def test_the_page_holds_its_pictures_and_loads_nothing(compared, tmp_path):
    evaluations, comparison = compared()
    text = write_comparison(tmp_path, comparison, evaluations).read_text(encoding="utf-8")
    shown = [base64.b64decode(source) for source in re.findall(r'src="data:image/png;base64,([^"]*)"', text)]
    assert shown == [(tmp_path / f"{name}.png").read_bytes() for name in ("comparison", "distribution")]
    assert "default-src 'none'; img-src data:; style-src 'sha256-" in text
    assert not re.search(r"<(script|link|iframe|form)|https?://", text)
    drawn = (tmp_path / "distribution.svg").read_text(encoding="utf-8")
    assert all(word in drawn for word in ("one", "two", "0.440"))
    assert "perfect model" not in drawn


def test_known_truth_shows_a_perfect_model(compared, tmp_path):
    evaluations, comparison = compared(floor={"ged16_v": 0.02}, known_odds=True)
    write_comparison(tmp_path, comparison, evaluations)
    assert "perfect model" in (tmp_path / "distribution.svg").read_text(encoding="utf-8")


def test_without_ged16_there_is_no_distribution(compared, tmp_path):
    (tmp_path / "distribution.png").write_text("old")
    evaluations, comparison = compared(("hm_iou16",))
    write_comparison(tmp_path, comparison, evaluations)
    assert not (tmp_path / "distribution.png").exists()


def test_notes_are_told(compared, tmp_path):
    evaluations, comparison = compared()
    assert not comparison.notes
    few = compare(evaluations[:2], ["ged16_v"])
    assert findings(few.differences) == "second better in ged16_v"
    noted = comparison.model_copy(update={"notes": ("Mind <this>.",)})
    assert "Mind &lt;this&gt;." in write_comparison(tmp_path, noted, evaluations).read_text(encoding="utf-8")
