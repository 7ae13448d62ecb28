"""Batches of many cases: what is written for each, parts that share a folder, and the tables and pages of the whole."""

import csv
import json
import random
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from ambiseg.models.cohort import batch_folder
from ambiseg.models.cohort.batches import WHOLE, Batch, Part, asked_of, predict_batch
from ambiseg.models.cohort.joining import join_batch
from ambiseg.models.prediction.predict_scan import Exports, Request
from ambiseg.models.runs.trained import Trained
from ambiseg.preprocessing.errors import BeingWritten, DataError, InputError, NothingFound, UsageError
from ambiseg.preprocessing.files import only_writer
from ambiseg.preprocessing.scans.cases import Case
from ambiseg.preprocessing.work.engine import InProcess, always

from .conftest import made_document, made_lesion, write_made

REQUEST = Request(exports=Exports(report="shared"))
DERIVED = ("results.csv", "lesions.csv", "failures.csv", "nothing.csv", "index.html", "overview", "tables.json")


@dataclass
class Cohort:
    """Batches of made cases: number n has a lesion of n % 17 + 4 mm; some fail, some have nothing to predict."""

    trained: Trained
    seen: list[str] = field(default_factory=list)
    sound: bool = False

    def run(self, folder: Path, count: int, **choice: Any) -> Batch:
        cases = [Case(f"scan-{number:04d}", Path("x")) for number in range(count)]
        random.Random(count).shuffle(cases)
        made = always(self.predict)
        return predict_batch(self.trained, cases, folder, REQUEST, made, engine=InProcess(), **choice)

    def predict(self, work: tuple[Case, Path]) -> Sequence[str]:
        case, folder = work
        self.seen.append(case.name)
        number = int(case.name[-4:])
        if number % 10 == 7 and not self.sound:
            raise (
                DataError(f"{case.name} is cut short.") if number % 20 == 7 else InputError(f"{case.name} is not read.")
            )
        if number % 10 == 3 and not self.sound:
            raise NothingFound(f"{case.name} has no lesion.")
        shutil.rmtree(folder, ignore_errors=True)
        content = made_document([made_lesion(diameter=number % 17 + 4.0)])
        write_made(folder, asked_of(self.trained, REQUEST).sha256, content)
        return []


@pytest.fixture
def cohort(threshold_model: Callable[..., Trained]) -> Cohort:
    return Cohort(threshold_model())


def tree(folder: Path) -> dict[str, bytes]:
    """All files; of tables.json all but the stamp, which is of the times of the cases' files."""
    found = {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    found["tables.json"] = re.sub(rb'"stamp": "\w+"', b"", found["tables.json"])
    return found


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as opened:
        return list(csv.DictReader(opened))


def written() -> int:
    """Bytes that this process has written so far."""
    return int(re.search(r"wchar: (\d+)", Path("/proc/self/io").read_text())[1])  # type: ignore[index]


def test_a_case_costs_as_much_in_a_large_batch_as_in_a_small_one(cohort: Cohort, tmp_path: Path) -> None:
    most = []
    for count in (30, 300):
        marks: list[int] = []
        cohort.run(tmp_path / str(count), count, on_progress=lambda done, total, marks=marks: marks.append(written()))
        assert len(marks) == count + 2
        most.append(max(after - before for before, after in pairwise(marks)))
    assert most[1] <= most[0] + 50


@pytest.mark.parametrize("count", [3, 25])
def test_parts_in_any_order_make_the_same_as_one(cohort: Cohort, tmp_path: Path, count: int) -> None:
    cohort.run(tmp_path / "one", count)
    order = random.Random(1).sample(range(1, 6), 5)
    for place, number in enumerate(order):
        cohort.seen.clear()
        batch = cohort.run(tmp_path / "parts", count, part=Part(number, 5))
        assert len(cohort.seen) == len(range(number - 1, count, 5))
        assert (batch.whole is not None) == (place >= 4 or (count <= 3 and set(order[: place + 1]) >= {1, 2, 3}))
    assert tree(tmp_path / "parts") == tree(tmp_path / "one")


def test_every_case_belongs_to_one_part() -> None:
    cases = [Case(str(number), Path("x")) for number in range(17)]
    for of in (1, 2, 5, 17, 40):
        parts = [Part(number, of).own(cases) for number in range(1, of + 1)]
        assert sorted((case.name for part in parts for case in part), key=int) == [case.name for case in cases]
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("text", ["5/4", "0/4", "a/b", "3", "1/0", "-1/4", "1/2/3", "1 / 2", "", "1.5/2"])
def test_what_is_no_part_is_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(UsageError, match=rf"`part` is '{re.escape(text)}': expected I/N with I from 1 to N"):
        Part.parse(text)


def test_the_same_part_twice_at_once_is_refused_and_another_is_not(cohort: Cohort, tmp_path: Path) -> None:
    held = only_writer(tmp_path / "out" / "part-2-of-3")
    with held:
        assert cohort.run(tmp_path / "out", 9, part=Part(1, 3)).done
    assert (WHOLE, str(Part(2, 3))) == (Part(1, 1), "part 2 of 3")


def test_a_case_that_another_process_writes_is_left_to_it(cohort: Cohort, tmp_path: Path) -> None:
    def busy(work: tuple[Case, Path]) -> Sequence[str]:
        if work[0].name == "scan-0001":
            raise BeingWritten("Another process is writing it.")
        return cohort.predict(work)

    cases = [Case(f"scan-{number:04d}", Path("x")) for number in range(3)]
    batch = predict_batch(cohort.trained, cases, tmp_path / "out", REQUEST, always(busy), engine=InProcess())
    assert (batch.elsewhere, batch.done, batch.failures) == (["scan-0001"], ["scan-0000", "scan-0002"], [])
    assert not (tmp_path / "out" / "scan-0001").exists()
    assert join_batch(tmp_path / "out").waiting == ["scan-0001"]
    assert {row["scan"] for row in rows(tmp_path / "out" / "lesions.csv")} == {"scan-0000", "scan-0002"}


def test_what_another_process_has_done_meanwhile_is_not_done_again(cohort: Cohort, tmp_path: Path) -> None:
    def meet(work: tuple[Case, Path]) -> Sequence[str]:
        if work[0].name == "scan-0000":
            write_made(tmp_path / "out" / "scan-0001", asked_of(cohort.trained, REQUEST).sha256)
        return cohort.predict(work)

    cases = [Case(f"scan-{number:04d}", Path("x")) for number in range(3)]
    batch = predict_batch(cohort.trained, cases, tmp_path / "out", REQUEST, always(meet), engine=InProcess())
    assert (batch.skipped, cohort.seen) == (["scan-0001"], ["scan-0000", "scan-0002"])


def test_joining_says_what_is_missing_and_gives_the_same_bytes_again(cohort: Cohort, tmp_path: Path) -> None:
    out = tmp_path / "out"
    cohort.run(out, 40, part=Part(1, 2))
    found = join_batch(out)
    assert (found.endings["waiting"], found.waiting[:2]) == (20, ["scan-0001", "scan-0003"])
    cohort.run(out, 40, part=Part(2, 2))
    before = tree(out)
    for name in DERIVED:
        shutil.rmtree(out / name) if (out / name).is_dir() else (out / name).unlink()
    assert join_batch(out).endings == {"done": 32, "nothing": 4, "failed": 4}
    assert tree(out) == before
    with pytest.raises(InputError, match=r"is no batch \(it has no batch.json\)"):
        join_batch(tmp_path)


def test_a_batch_that_is_done_is_not_joined_again_until_a_case_changes(cohort: Cohort, tmp_path: Path) -> None:
    cohort.sound = True
    cohort.run(tmp_path, 5)
    written_at = (tmp_path / "index.html").stat().st_mtime_ns
    again = cohort.run(tmp_path, 5)
    assert again.whole is not None
    assert again.whole.endings == {"done": 5}
    assert (tmp_path / "index.html").stat().st_mtime_ns == written_at
    shutil.rmtree(tmp_path / "scan-0002")
    cohort.run(tmp_path, 5)
    assert (tmp_path / "index.html").stat().st_mtime_ns > written_at


def test_large_batches_lie_in_folders_between_and_stay_so(
    cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cohort.sound = True
    monkeypatch.setattr(batch_folder, "FLAT", 6)
    cohort.run(tmp_path / "large", 8)
    cohort.run(tmp_path / "small", 5)
    assert len(list((tmp_path / "large").glob("[0-9a-f][0-9a-f]/scan-*/run.json"))) == 8
    assert len(list((tmp_path / "small").glob("scan-*/run.json"))) == 5
    for folder, count, done in (("large", 4, []), ("small", 8, ["scan-0005", "scan-0006", "scan-0007"])):
        assert cohort.run(tmp_path / folder, count).done == done
    assert len(list((tmp_path / "small").glob("scan-*/run.json"))) == 8
    assert rows(tmp_path / "large" / "lesions.csv")[0]["folder"].endswith("/scan-0000")


def test_names_of_the_batchs_own_files_and_old_batches_are_refused(cohort: Cohort, tmp_path: Path) -> None:
    cases = [Case("Overview", Path("x"))]
    with pytest.raises(UsageError, match="Overview is the name of one of the batch's own files: rename this scan"):
        predict_batch(cohort.trained, cases, tmp_path / "out", REQUEST, always(cohort.predict), engine=InProcess())
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "manifest.json").write_text("{}")
    with pytest.raises(UsageError, match="a batch of an earlier version of ambiseg"):
        cohort.run(tmp_path / "old", 3)
    assert len(cohort.run(tmp_path / "old", 3, overwrite=True).done) == 3
    assert not (tmp_path / "old" / "manifest.json").exists()


def test_a_failure_takes_the_place_of_an_earlier_prediction(cohort: Cohort, tmp_path: Path) -> None:
    cohort.sound = True
    cohort.run(tmp_path, 9)
    cohort.sound = False
    batch = cohort.run(tmp_path, 9, overwrite=True)
    assert [failure.case for failure in batch.failures] == ["scan-0007"]
    assert [path.name for path in (tmp_path / "scan-0007").iterdir()] == ["not-predicted.json"]
    told = json.loads((tmp_path / "scan-0007" / "not-predicted.json").read_text())
    assert (told["state"], told["kind"], told["reason"]) == ("failed", "data", "scan-0007 is cut short.")
    cohort.sound = True
    assert cohort.run(tmp_path, 9).done == ["scan-0007"]


def made_batch(cohort: Cohort, out: Path, documents: dict[str, dict[str, Any]]) -> None:
    """A batch of these documents."""

    def predict(work: tuple[Case, Path]) -> Sequence[str]:
        write_made(work[1], asked_of(cohort.trained, REQUEST).sha256, documents[work[0].name])
        return []

    cases = [Case(name, Path("x")) for name in documents]
    predict_batch(cohort.trained, cases, out, REQUEST, always(predict), engine=InProcess())


def test_the_tables_hold_every_hypothesis_and_every_lesion(cohort: Cohort, tmp_path: Path) -> None:
    two = [made_lesion(1, several=True), made_lesion(2, several=True, diameter=20.0, no_lesion=0.5, name="=1+1")]
    made_batch(cohort, tmp_path, {"b": made_document(two, warnings=["No HU."]), "a": made_document()})
    found = rows(tmp_path / "results.csv")
    assert [(row["scan"], row["lesion"], row["rank"]) for row in found] == [
        ("a", "1", "1"), ("a", "1", "2"), ("b", "1", "1"), ("b", "1", "2"), ("b", "2", "1"), ("b", "2", "2"),
    ]  # fmt: skip
    last = found[-1]
    assert (last["file"], last["flags"], last["name"]) == ("b/lesion_02/hyp_02.nii.gz", "cut_off", "'=1+1")
    assert (last["probability"], last["low"], last["mean_diameter_mm"]) == ("0.2", "0.1", "20.0")
    lesions = rows(tmp_path / "lesions.csv")
    assert [(row["scan"], row["flags"], row["folder"]) for row in lesions] == [
        ("a", "", "a"), ("b", "warned", "b/lesion_01"), ("b", "undecided warned", "b/lesion_02"),
    ]  # fmt: skip
    assert lesions[2]["mean_diameter_mm_high_90"] == "22.0"
    assert lesions[2]["p_mean_diameter_mm_at_least_6"] == "0.8"
    parquet = pytest.importorskip("pyarrow.parquet", reason="pip install pyarrow")
    for name in ("results", "lesions"):
        table = parquet.read_table(tmp_path / f"{name}.parquet").to_pylist()
        plain = rows(tmp_path / f"{name}.csv")
        assert [row["scan"] for row in table] == [row["scan"] for row in plain]
        assert [row["x_mm"] for row in table] == [float(row["x_mm"]) for row in plain]
        assert table[-1]["name"] == "=1+1"  # numbers and text as they are, for programs


class Links(HTMLParser):
    """The addresses on a page."""

    def __init__(self, file: Path):
        super().__init__()
        self.found: list[str] = []
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if name in ("href", "src") and value]


def test_the_overview_shows_outliers_and_doubtful_ones_first_and_pages_all(cohort: Cohort, tmp_path: Path) -> None:
    documents = {f"scan-{number:03d}": made_document([made_lesion(diameter=8 + number % 3)]) for number in range(230)}
    documents["huge & odd"] = made_document([made_lesion(diameter=90.0, ambiguity=0.9)])
    documents["doubtful"] = made_document([made_lesion(no_lesion=0.45, ambiguity=0.7, residual=0.4)], warnings=["Odd."])
    made_batch(cohort, tmp_path, documents)
    text = (tmp_path / "index.html").read_text(encoding="utf-8")
    words = " ".join(re.sub("<[^>]+>", " ", text).split())
    assert "232 scans, 232 lesions. Model" in words
    assert words.index("Unusually large") < words.index("huge &amp; odd") < words.index("Doubtful lesions")
    assert words.index("doubtful , lesion 1") < words.index(
        "huge &amp; odd , lesion 1", words.index("Doubtful lesions")
    )
    assert "Unusually small" not in words
    assert re.search(r"undecided</th><td>1</td>.*ambiguous</th><td>2</td>", text, re.DOTALL)
    pages = sorted(path.name for path in (tmp_path / "overview").iterdir())
    assert pages == ["0001.html", "0002.html", "0003.html"]
    shown = [re.findall(r"<h2>.*?</h2>", (tmp_path / "overview" / page).read_text()) for page in pages]
    assert list(map(len, shown)) == [100, 100, 32]
    for page in (tmp_path / "index.html", *((tmp_path / "overview" / name) for name in pages)):
        for address in Links(page).found:
            made = address.endswith((".png", "report.html"))  # which the made cases lack
            target = page.parent / address.replace("%20", " ").replace("%26", "&")
            assert (target.parent if made else target).exists(), address
        assert str(tmp_path) not in page.read_text(encoding="utf-8")


def test_failures_are_counted_by_kind(cohort: Cohort, tmp_path: Path) -> None:
    batch = cohort.run(tmp_path, 60)
    assert batch.whole is not None
    assert batch.whole.kinds == {"data": 3, "input": 3}
    failures = rows(tmp_path / "failures.csv")
    assert [(row["case"], row["kind"]) for row in failures[:2]] == [("scan-0007", "data"), ("scan-0017", "input")]
    assert rows(tmp_path / "nothing.csv")[0] == {"case": "scan-0003", "reason": "scan-0003 has no lesion."}
    assert json.loads((tmp_path / "tables.json").read_text())["failures"] == {"data": 3, "input": 3}
    text = (tmp_path / "index.html").read_text()
    assert re.search(r"data</th><td>3</td>.*scan-0007</b>: scan-0007 is cut short", text)
    cohort.sound = True
    cohort.run(tmp_path, 60)
    assert not (tmp_path / "failures.csv").exists()
    assert "Failures by kind" not in (tmp_path / "index.html").read_text()


def test_a_damaged_document_is_named_when_tables_are_made(cohort: Cohort, tmp_path: Path) -> None:
    cohort.run(tmp_path, 3)
    (tmp_path / "scan-0001" / "hypotheses.json").write_text("{")
    with pytest.raises(DataError, match=r"scan-0001/hypotheses.json is damaged.*predict the scan again"):
        join_batch(tmp_path)


def test_a_failure_that_repeats_itself_changes_nothing(cohort: Cohort, tmp_path: Path) -> None:
    cohort.run(tmp_path, 9)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    batch = cohort.run(tmp_path, 9)
    assert [failure.case for failure in batch.failures] == ["scan-0007"]
    assert batch.whole is not None
    assert batch.whole.endings == {"done": 7, "nothing": 1, "failed": 1}
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()} == before
