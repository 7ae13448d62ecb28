"""The examples behind docs/results/lidc.md: how the page is filled, and the oracles' figures on masks where they are known."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from ablations import STUDIES

from ambiseg.models.core.overlap import overlaps
from ambiseg.models.metrics.distances import ged
from ambiseg.preprocessing.store.store import Store

ROOT = Path(__file__).parents[2]
STUDIES_FOLDER = ROOT / "examples" / "studies"
RESULTS = """\
# Methods on crops

Made by `ambiseg benchmark lidc --data /somewhere/else/crops --seeds 0`.

## At a glance

![All](at-a-glance.png)

## Validation

| entry |
| ----- |
| `a`   |

## Runs

one run
"""
PAGE = """\
# Page
<!-- results.md: -->
<!-- end -->
Between.
<!-- results.md: Validation -->
an old table
<!-- end -->
<!-- results.md: Test -->
<!-- end -->
<!-- ablations.md: `a` -->
<!-- end -->
<!-- ../short/ablations.md: `a` -->
<!-- end -->
<!-- ../gone/ablations.md: `a` -->
| measured |
<!-- end -->
<!-- ../short/ablations.md: `b` -->
| measured before |
<!-- end -->
Last.
"""


def example(name: str) -> ModuleType:
    (file,) = STUDIES_FOLDER.rglob(f"{name}.py")
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_slots_are_filled_and_all_else_stays(tmp_path: Path) -> None:
    filled = example("fill_lidc_page").filled
    folder, short = tmp_path / "lidc", tmp_path / "short"
    for made in (folder, short):
        made.mkdir()
    (folder / "results.md").write_text(RESULTS)
    (short / "ablations.md").write_text("# Ablations\n\n## `a`\n\n| changed |\n")
    page = filled(PAGE, folder)
    assert page.splitlines() == [
        "# Page",
        "<!-- results.md: -->",
        "Made by `ambiseg benchmark lidc --data data/crops --seeds 0`.",
        "<!-- end -->",
        "Between.",
        "<!-- results.md: Validation -->",
        "| entry |",
        "| ----- |",
        "| `a`   |",
        "<!-- end -->",
        "<!-- results.md: Test -->",
        "*Not measured yet.*",
        "<!-- end -->",
        "<!-- ablations.md: `a` -->",
        "*Not measured yet.*",
        "<!-- end -->",
        "<!-- ../short/ablations.md: `a` -->",
        "| changed |",
        "<!-- end -->",
        "<!-- ../gone/ablations.md: `a` -->",
        "| measured |",
        "<!-- end -->",
        "<!-- ../short/ablations.md: `b` -->",
        "| measured before |",
        "<!-- end -->",
        "Last.",
    ]
    assert filled(page, folder) == page


def test_the_command_writes_page_and_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = example("fill_lidc_page")
    folder, page = tmp_path / "out", tmp_path / "docs/results/lidc.md"
    (page.parents[1] / "images").mkdir(parents=True)
    page.parent.mkdir()
    folder.mkdir()
    page.write_text(PAGE)
    monkeypatch.setattr(sys, "argv", ["fill_lidc_page.py", str(folder), "--page", str(page)])
    with pytest.raises(SystemExit, match=r"holds no results\.md"):
        module.main()
    (folder / "results.md").write_text(RESULTS)
    (folder / "curves.png").write_bytes(b"curves")
    module.main()
    assert "| `a`   |" in page.read_text()
    assert "![All](../images/lidc-at-a-glance.png)" in module.filled(
        "<!-- results.md: At a glance -->\n<!-- end -->\n", folder
    )
    assert [file.name for file in (page.parents[1] / "images").iterdir()] == ["lidc-curves.png"]


def test_docs_page_has_every_section_of_the_results() -> None:
    """Each slot of the page names a file and a section that the benchmark writes."""
    slots = [
        (slot["file"], slot["section"])
        for slot in example("fill_lidc_page").SLOT.finditer((ROOT / "docs" / "results" / "lidc.md").read_text())
    ]
    assert ("results.md", "Test") in slots
    known = {"", "At a glance", "Validation", "Test", "Runs", "Beside published figures"}
    assert {name for file, name in slots if file == "results.md"} <= known
    studies = {f"`{study.base.name}`" for study in STUDIES}
    assert {name for file, name in slots if file == "../lidc-short/ablations.md"} == {"", *studies}
    assert {name for file, name in slots if file == "ablations.md"} <= {"", *studies}


def test_oracles_by_hand() -> None:
    """Two of four readers mark the same pixel: half of the pairs differ, by 1."""
    module = example("lidc_oracles")
    masks = np.zeros((4, 2, 2), np.uint8)
    masks[:2, 0, 0] = 1
    expected = {
        "always nothing": (0.5, 0.5, 0.5),  # 2 * 1/2 - 0 - 1/2
        "what any reader marked": (0.5, 0.5, 0.5),
        "what half of them marked": (0.5, 0.5, 0.5),
        # the readers' own masks as often as they drew them:
        "nothing, or what any marked, at even odds": (0.0, 0.5 / 16, 0.5 / 100),
        "nothing, or what half marked, at even odds": (0.0, 0.5 / 16, 0.5 / 100),
    }
    for name, oracle in module.ORACLES.items():
        found = ged(overlaps(np.stack(oracle(masks)), masks), draws=None)
        exact, sixteen, hundred, unbiased = module.figures(found)
        assert (exact, sixteen, hundred) == pytest.approx(expected.pop(name))
        assert unbiased == pytest.approx(exact - (2 / 3 - 1 / 2))
    assert not expected
    assert module.perfect(found, 4) == pytest.approx((1 / 6, 2 / 3 * (1 / 4 + 1 / 16), 2 / 3 * (1 / 4 + 1 / 100), 0))


def test_oracles_of_a_store(
    known_truth: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["lidc_oracles.py", str(known_truth.path), "--crop", "16"])
    example("lidc_oracles").main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "12 crops of known-truth, test"
    assert lines[-1].split("|")[1].strip() == "the readers' own distribution, if they are independent"
    assert lines[-1].split("|")[5].strip() == ".000"


def test_the_presence_floor_by_simulation() -> None:
    """Lesions of random p, four readers, kept when one marks: a model that draws with m(p) has the floor as its mean GED_U."""
    module = example("presence_floor")
    rng = np.random.default_rng(0)
    p = rng.beta(0.5, 1.5, 400_000)
    k = rng.binomial(4, p)
    p, k = p[k > 0], k[k > 0]
    counts = [int((k == n).sum()) for n in (1, 2, 3, 4)]
    m = p / (1 - (1 - p) ** 4)
    unbiased = 2 * (m * (1 - k / 4) + (1 - m) * k / 4) - 2 * m * (1 - m) - 2 * k * (4 - k) / 12
    error = unbiased.std() / np.sqrt(len(k))
    a, b = module.fitted(counts)
    assert (a, b) == pytest.approx((0.5, 1.5), rel=0.05)
    assert len(k) * module.frequencies(a, b, 4) == pytest.approx(counts, rel=0.01)
    floor = module.mean_over_crops(lambda value: module.floor_at(value, 4), 0.5, 1.5, 4)
    assert unbiased.mean() == pytest.approx(floor, abs=4 * error)
    assert floor < -20 * error
    least, most = module.bounds(counts)
    assert least <= floor + 4 * error
    assert floor - 4 * error <= most
    assert most < 0
    worse = [2 * (q * (1 - m) + (1 - q) * m) - 2 * q * (1 - q) for q in (0.9 * m, np.minimum(1.1 * m, 1))]
    assert all((one >= 2 * m * (1 - m) - 1e-12).all() for one in worse)


def test_the_presence_floor_of_a_store(
    known_truth: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = example("presence_floor")
    marked = [int(known_truth.masks(np.array([row]))[0].any((1, 2)).sum()) for row in range(len(known_truth))]
    assert module.counts_of(known_truth) == np.bincount(marked, minlength=5).tolist()
    monkeypatch.setattr(sys, "argv", ["presence_floor.py"])
    module.main()
    printed = capsys.readouterr().out
    assert "1 to 4: [3905, 2500, 2381, 3914]; by none, left out: 53" in printed
    assert "floor of the presence part of GED_U: -0.0405" in printed
    assert "-0.0421 to -0.0384" in printed
