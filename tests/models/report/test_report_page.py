"""The folder of an evaluation and its page: complete, without network access, without patient names."""

import base64
import hashlib
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from ambiseg.models.evaluation.evaluate_run import evaluate
from ambiseg.models.figures.chosen import case_panels
from ambiseg.models.figures.picture import Picture
from ambiseg.models.report.evaluation_folder import write_numbers, write_report
from ambiseg.models.report.evaluation_page import render_page
from ambiseg.models.report.table import table
from ambiseg.preprocessing.store.intensity import BYTES, HOUNSFIELD
from ambiseg.preprocessing.store.store import Store
from ambiseg.preprocessing.store.store_crop import Crop, StoreInfo
from ambiseg.preprocessing.store.store_writer import write_store

pytestmark = pytest.mark.drawn

VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """A page's elements, its words, and whether every element is closed."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.words = [], [], ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.words += data

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def write_blobs(path, *, known=False, classes=("background", "lesion"), channels=1, cases=5):
    """Crops with a bright blob of three readers (or modes), some of whom marked nothing."""
    rng = np.random.default_rng(0)
    unit = HOUNSFIELD if channels == 1 else BYTES
    info = StoreInfo("blobs", "test", unit, classes, 0.5, group="cue" if known else None)
    patients = [f"SECRET-{row // 2}" for row in range(cases)]
    with write_store(path, info, dict.fromkeys(patients, "test")) as writer:
        for row, patient in enumerate(patients):
            masks = np.zeros((3, 24, 24), np.uint8)
            masks[1, 6:14, 6:14] = 1
            masks[2, 4:16, 4 : 16 + row] = len(classes) - 1
            image = rng.normal(0, 60, (channels, 24, 24)) + 900.0 * (masks[2] > 0)
            image = image.astype(np.int16) if channels == 1 else image.clip(0, 255).astype(np.uint8)
            odds = np.array([0.2, 0.5, 0.3]) if known else None
            provenance = {"cue": "ab"[row % 2]} if known else {}
            writer.add(Crop(image, masks, patient, f"crop-{row}", mask_probabilities=odds, provenance=provenance))
    return Store.open(path)


@pytest.fixture(params=["readers", "known", "classes", "one"])
def evaluated(request, tmp_path, trained_for):
    """A trained model, a store of one kind or another, and the evaluation of the one on the other."""
    kinds = {
        "readers": {},
        "known": {"known": True},
        "classes": {"classes": ("background", "a", "b", "c", "d", "e"), "channels": 3},
        "one": {"cases": 1},
    }
    store = write_blobs(tmp_path / "data", **kinds[request.param])
    trained = trained_for(store)
    return trained, store, evaluate(trained, store, "test", samples=20)


def test_the_folder_is_complete_and_the_page_needs_nothing_else(evaluated, tmp_path):
    trained, store, evaluation = evaluated
    steps = []
    report = write_report(tmp_path / "out", evaluation, trained, store, on_progress=lambda *step: steps.append(step))
    assert report == tmp_path / "out" / "report.html"
    assert sorted(file.name for file in report.parent.iterdir()) == [
        "cases.csv", "figures", "report.html", "summary.json",
    ]  # fmt: skip
    pictures = {file.stem for file in (report.parent / "figures").iterdir()}
    assert {"ged", "diversity", "reliability-hypotheses", "reliability-pixels", "cases-best"} <= pictures
    assert ("modes" in pictures) == store.manifest.known_odds
    assert (steps[0], steps[-1]) == ((0, len(pictures)), (len(pictures), len(pictures)))

    text = report.read_text(encoding="utf-8")
    page = Page(text)
    assert not page.open
    assert not re.search(r"(?:src|href|url|@import|action)\s*[=(]?\s*[\"']?(?:https?:)?//", text)
    assert not {"script", "link", "iframe", "object", "embed", "form"} & {tag for tag, _ in page.elements}
    assert all(image["src"].startswith("data:image/png;base64,") and image["alt"] for image in page.all("img"))
    shown = {base64.b64decode(image["src"].split(",")[1]) for image in page.all("img")}
    assert shown == {file.read_bytes() for file in (report.parent / "figures").iterdir()}
    assert not any("style" in attributes for _, attributes in page.elements)
    assert "SECRET" not in text
    for rows in table(evaluation).values():
        for row in rows:
            assert row.label.strip() in page.words
    for words in ("not for diagnosis", store.content_hash[:12], trained.weights_hash[:12], "20 draws per image"):
        assert words in page.words


def test_the_page_allows_its_own_style_and_nothing_else(made):
    text = render_page(made(), [])
    (policy,) = (meta["content"] for meta in Page(text).all("meta") if "content-security-policy" in str(meta).lower())
    style = text[text.index("<style>") + len("<style>") : text.index("</style>")]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    rules = [rule.strip() for rule in policy.split(";")]
    assert rules[:3] == ["default-src 'none'", "img-src data:", f"style-src 'sha256-{digest}'"]


def test_names_cannot_break_the_page(made):
    text = render_page(made(run="<script>x</script>", data='"blobs" & more'), [Picture("ged", "<i>", "a < b", b"png")])
    assert "script" not in {tag for tag, _ in Page(text).elements}
    assert "<script>x</script>, method probunet" in Page(text).words
    assert '"blobs" & more' in Page(text).words
    assert "a < b" in Page(text).words


@pytest.mark.parametrize("options", [{}, {"defined": False}, {"known": True}, {"exact": True}, {"cases": 1}])
def test_pages_of_whatever_is_defined(made, options):
    evaluation = made(**options)
    page = Page(render_page(evaluation, []))
    assert not page.open
    assert "nan" not in page.words.lower().split()
    assert ("Perfect model" in page.words) == evaluation.about.known_odds
    assert all(line in page.words for line in evaluation.about.estimators.values())


def test_notes_and_calibration_are_told(made):
    page = Page(render_page(made(1), []))
    assert "In no case two readers' masks share nothing" in page.words
    assert "probabilities as the model states them" in page.words
    page = Page(render_page(made(calibrated={"slices": {"presence_shift": 0.25}, "split": "val"}), []))
    assert "log-odds of a lesion +0.25 and times 1.00, fitted on val" in page.words


def test_panels_show_the_draws_that_were_scored(evaluated):
    trained, store, evaluation = evaluated
    for case, panel in zip(evaluation.cases, case_panels(trained, store, evaluation, evaluation.cases), strict=True):
        np.testing.assert_array_equal(panel.outcome.probabilities, case.outcome.probabilities)
        np.testing.assert_array_equal(panel.outcome.hits, case.outcome.hits)
        assert panel.image.shape[:2] == panel.marginal.shape == (24, 24)


@pytest.mark.parametrize("report", [True, False])
def test_nothing_of_an_earlier_evaluation_stays(tmp_path, trained_for, report):
    store = write_blobs(tmp_path / "data")
    trained = trained_for(store)
    evaluation = evaluate(trained, store, "test")
    out = tmp_path / "out"
    (out / "figures").mkdir(parents=True)
    for name in ("report.html", "cases.parquet", "figures/old.png", "notes.txt"):
        (out / name).write_text("old")
    if report:
        write_report(out, evaluation, trained, store)
    else:
        write_numbers(out, evaluation)
    found = {str(file.relative_to(out)) for file in out.rglob("*") if file.is_file()}
    assert found >= {"cases.csv", "summary.json", "notes.txt"}
    assert not {"cases.parquet", "figures/old.png"} & found
    assert ("report.html" in found) == report


def test_the_same_evaluation_gives_the_same_files(tmp_path, trained_for):
    store = write_blobs(tmp_path / "data")
    trained = trained_for(store)
    evaluation = evaluate(trained, store, "test")
    a, b = (write_report(tmp_path / name, evaluation, trained, store).parent for name in "ab")
    for file in a.rglob("*.*"):
        assert file.read_bytes() == (b / file.relative_to(a)).read_bytes()
