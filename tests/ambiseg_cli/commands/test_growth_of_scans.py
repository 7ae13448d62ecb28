"""`ambiseg growth` on scans: each is predicted first; patients and dates are read where scans say them."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from .lesion_scans import save, save_dicom

pytestmark = pytest.mark.usefixtures("known_model")

Command = Callable[..., tuple[int, str, str]]
PLACES = ("--at", "4,-3,12", "--at", "4,-3,12")
BASELINE, FOLLOW_UP = "20240105", "20240404"  # 90 days, over a 29 February


def growth_of(ambiseg: Command, *arguments: str) -> dict:
    code, out, err = ambiseg("growth", *arguments, "--json")
    assert code == 0, err
    return json.loads(out)


def test_the_days_are_those_between_the_dates_and_no_date_is_written(ambiseg: Command) -> None:
    save_dicom("one", day=BASELINE)
    save_dicom("two", day=FOLLOW_UP, size=1.5)
    found = growth_of(ambiseg, "one", "two", *PLACES)
    assert [time["days"] for time in found["times"]] == [0, 90]
    assert found["times"][1]["median_mm3"] > 1.5 * found["times"][0]["median_mm3"]
    independent, ranked = found["steps"][0]["changes"]
    assert ranked["change"]["median"] > 0.5
    assert independent["grown"] > 0.5
    for file in Path("growth").rglob("*"):
        if file.is_file() and file.suffix in {".json", ".csv", ".html"}:
            text = file.read_text()
            assert not any(said in text for said in (BASELINE, FOLLOW_UP, "2024-01-05", "MRN-4711", "Doe^"))


def test_predictions_of_the_scans_say_the_same(ambiseg: Command) -> None:
    save_dicom("one", day=BASELINE)
    save("two.nii.gz")
    found = growth_of(ambiseg, "one", "two.nii.gz", *PLACES, "--days", "30")
    assert ambiseg("predict", "two.nii.gz", "--at", "4,-3,12", "-o", "late")[0] == 0
    assert growth_of(ambiseg, "growth/time_1", "late", "--days", "30", "-o", "again") == found
    assert growth_of(ambiseg, "one", "late", "--at", "4,-3,12", "--days", "30", "-o", "mixed") == found


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["one", "stranger", *PLACES], "The scans are of different patients (their PatientIDs differ)"),
        (["two", "one", *PLACES], "one was acquired 90 days before the scan in front of it, by its date: give the earliest"),
        (["one", "same", *PLACES], "same was acquired on the day of the scan in front of it"),
        (["one", "undated", *PLACES], "--days: undated holds no date; give the days from the first scan to each later one"),
        (["one", "scan.nii", *PLACES], "--days: scan.nii holds no date"),
        (["one", "one", *PLACES], "The same scan is given twice"),
        (["one", "two", "--at", "4,-3,12"], "--at: expected one place for each scan (2; predictions need none), got 1"),
        (["one", "two", *PLACES, "--lesion", "1"], "--lesion: expected one number for each prediction (2), got 1"),
        (["one", "two", "--at", "4,-3,12", "--at", "4,-3,900"], "lies outside the scan"),
        (["one", "flat.nii", *PLACES, "--days", "9"], "flat.nii is a single slice"),
    ],
)  # fmt: skip
def test_scans_that_cannot_be_compared_are_named(ambiseg: Command, arguments: list[str], says: str) -> None:
    save_dicom("one", day=BASELINE)
    save_dicom("two", day=FOLLOW_UP)
    save_dicom("same", day=BASELINE)
    save_dicom("undated")
    save_dicom("stranger", day=FOLLOW_UP, patient="MRN-4712")
    save("scan.nii")
    save("flat.nii", shape=(110, 80, 1))
    code, _, err = ambiseg("growth", *arguments)
    assert code != 0
    assert says in " ".join(err.split())
    assert "Traceback" not in err
    assert not Path("growth/growth.json").exists()


def test_different_patients_are_compared_where_the_user_says_so(ambiseg: Command) -> None:
    save_dicom("one", day=BASELINE)
    save_dicom("stranger", day=FOLLOW_UP, patient="MRN-4712")
    assert growth_of(ambiseg, "one", "stranger", *PLACES, "--different-patients")["times"][1]["days"] == 90
