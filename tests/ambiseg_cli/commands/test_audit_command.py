"""`ambiseg audit`: on the published table that comes with the examples, and its errors as exit codes."""

import csv
import json
from pathlib import Path

import pytest

PUBLISHED = Path(__file__).parents[3] / "examples" / "studies" / "lidc_page" / "published_lidc.csv"


def test_the_published_table(ambiseg):
    code, printed, _ = ambiseg("audit", PUBLISHED)
    assert code == 0
    assert ".552 ±.019" in printed
    assert "Probabilistic U-Net: GED falls by more than masks can differ (diversity 1.295): impossible" in printed
    assert (
        "cGAN + L_cal (10 samples): the figures at 16, 50 and 100 draws do not lie on one line in 1/N: within noise"
        in printed
    )
    assert "unbiased" not in printed


def test_json_and_csv(ambiseg, tmp_path):
    code, printed, noted = ambiseg(
        "audit", PUBLISHED, "--reader-diversity", "0.392", "--json", "-o", tmp_path / "out.csv"
    )
    assert code == 0
    assert "Written:" in noted
    found = {row["method"]: row for row in json.loads(printed)}
    assert found["MoSE"]["implied"]["ged_unbiased"]["value"] == pytest.approx(0.0528, abs=1e-4)
    assert {name for name, row in found.items() if row["verdict"] == "impossible"} == {"Probabilistic U-Net"}
    with (tmp_path / "out.csv").open(newline="") as file:
        assert [row["verdict"] for row in csv.DictReader(file)] == [row["verdict"] for row in found.values()]


def test_without_any_noise_more_is_impossible(ambiseg):
    _, printed, _ = ambiseg("audit", PUBLISHED, "--noise", "0", "--json")
    assert [row["method"] for row in json.loads(printed) if row["verdict"] == "impossible"] == [
        "CCDM", "Probabilistic U-Net", "cGAN + L_cal (10 samples)", "cVAE-GAN + L_cal",
    ]  # fmt: skip


def test_errors_have_exit_codes(ambiseg, tmp_path):
    code, _, said = ambiseg("audit", tmp_path / "nothing.csv")
    assert (code, "No file " in said) == (3, True)
    table = tmp_path / "table.csv"
    table.write_text("method,ged16\nA,good\n")
    code, _, said = ambiseg("audit", table)
    assert (code, "Column 'ged16' in line 2" in said) == (4, True)
    assert ambiseg("audit", table, "--readers", "1")[0] == 2
    table.write_text("method,ged16,readers\nA,.2,1e999999999\n")
    code, _, said = ambiseg("audit", table)
    assert (code, "Column 'readers' in line 2" in said) == (4, True)
    assert ambiseg("audit", table, "--reader-diversity", "1e999999999")[0] == 2
    table.write_text("method,ged16\nA,.2\n")
    assert ambiseg("audit", table, "--noise", "inf")[0] == 2


def test_readers_that_depend_on_each_other_are_a_verdict(ambiseg, tmp_path):
    table = tmp_path / "table.csv"
    table.write_text("method,ged16,ged100\nA,.12,.11\n")
    code, printed, _ = ambiseg("audit", table, "--reader-diversity", ".39")
    assert code == 0
    assert "the unbiased GED lies below 0: possible only where an image's readers depend on each other" in printed
