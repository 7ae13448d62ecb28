"""Auditing published figures: what they imply by hand, what rounding allows, what is impossible, and a simulated table."""

import csv
import json
import re

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ambiseg.models.audit.audit_published import audit, write_audits
from ambiseg.models.audit.published_figures import Published, read_published
from ambiseg.models.audit.rounded_line import AtMost, Lines, Rounded
from ambiseg.models.core.overlap import overlaps
from ambiseg.models.metrics.distances import ged
from ambiseg.preprocessing.errors import DataError, InputError, UsageError

HALF = 0.0005


def published(ged, *, half=HALF, **known):
    return Published("model", {n: Rounded(value, half) for n, value in ged.items()}, **known)


def sentences(found):
    return [finding.sentence for finding in found.findings]


def test_two_counts_by_hand():
    """(.218 - .189) / (1/16 - 1/100) = .552; rounding moves the difference by .001 at most."""
    found = audit(published({16: 0.218, 100: 0.189}))
    step = 1 / 16 - 1 / 100
    assert found.verdict == "possible"
    assert found.diversity.value == pytest.approx(0.029 / step)
    assert (found.diversity.low, found.diversity.high) == pytest.approx((0.028 / step, 0.030 / step))
    assert found.limit.value == pytest.approx(0.189 - 0.029 / step / 100)
    assert found.limit.low == pytest.approx(0.1885 - 0.030 / step / 100)
    assert found.unbiased is None


def test_unbiased_with_the_readers_diversity():
    """Four readers, .3 with self-pairs: .4 without, so d_YY / M is .1."""
    found = audit(published({16: 0.30, 100: 0.28}, readers=4, reader_diversity=Rounded(0.3, 0)))
    assert found.unbiased.value == pytest.approx(found.limit.value - 0.1)
    assert found.unbiased.high - found.limit.high == pytest.approx(-0.1)


def test_exact_figures_have_no_interval():
    found = audit(published({16: 0.25, 50: 0.2}, half=0))
    assert found.diversity.low == pytest.approx(found.diversity.high)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (published({16: 0.320, 100: 0.252}), r"falls by more than masks can differ \(diversity 1.295\)"),
        (published({16: 0.200, 100: 0.230}), r"rises with the number of draws \(diversity -0.571\)"),
        (published({16: 0.030, 100: -0.015}), "infinitely many draws lies below 0"),
        (published({16: 0.200, 50: 0.150, 100: 0.180}), "at 16, 50 and 100 draws do not lie on one line"),
        (
            published({16: 0.218, 100: 0.189}, diversity=Rounded(0.2, HALF)),
            "diversity 0.2 contradicts the implied 0.552",
        ),
    ],
)
def test_the_impossible_is_named(row, words):
    found = audit(row)
    assert found.verdict == "impossible"
    assert any(np.isfinite(finding.excess) and finding.verdict == "impossible" for finding in found.findings)
    assert any(re.search(words, sentence) for sentence in sentences(found))


def test_the_excess_by_hand():
    """To fall by one .0525, .068 must shrink by .0155: .00725 a figure beyond half a unit."""
    (finding,) = audit(published({16: 0.320, 100: 0.252})).findings
    assert finding.excess == pytest.approx((0.068 - 0.0525) / 2 - HALF)
    assert "impossible, each figure would have to be off by 0.0073 beyond its rounding" in finding.text


def test_rounding_and_noise_excuse_what_they_can():
    """One tenth of a unit too high is within rounding, two units within noise, and neither without them."""
    row = {50: 0.201, 100: 0.202}
    assert audit(published(row)).verdict == "within rounding"
    assert audit(published(row, half=0), noise=0.0006).verdict == "within noise"
    assert audit(published(row, half=0), noise=0.0004).verdict == "impossible"
    assert audit(published(row)).findings[0].text.endswith("within rounding")


def test_three_counts_on_a_line_within_rounding():
    found = audit(published({16: 0.271, 50: 0.250, 100: 0.245}))
    assert (found.verdict, sentences(found)) == ("possible", [])
    assert found.diversity.low < 0.021 / (1 / 16 - 1 / 50) < found.diversity.high


def test_published_diversity_may_hold_self_pairs():
    """.552 without self-pairs, or .552 x 15/16 with those of 16 draws."""
    for value in (0.552, 0.552 * 15 / 16):
        assert audit(published({16: 0.218, 100: 0.189}, diversity=Rounded(value, HALF))).verdict == "possible"


def test_one_count_says_little():
    assert audit(published({16: 0.25})).verdict == "one count"
    assert audit(published({})).verdict == "one count"
    below = audit(published({16: 0.05}, reader_diversity=Rounded(0.3, HALF)))
    assert (below.verdict, sentences(below)) == ("dependent readers", ["the unbiased GED lies below 0"])


def test_an_unbiased_distance_below_0_needs_readers_that_depend_on_each_other():
    """Two readers of whom always just one marks, and a model that marks half of the time: G is 0, so GED_U is -1/2.

    d = 1 where just one of two masks is empty: E d(S, Y) = E d(S, S') = 1/2, and two different readers always differ.
    """
    lone, nothing = np.ones((1, 1, 1), np.uint8), np.zeros((1, 1, 1), np.uint8)
    both = np.concatenate((nothing, lone))
    found = ged(overlaps(both, both), np.array([0.5, 0.5]), draws=None)
    assert (found.v, found.u) == (0, -0.5)
    diversity = Rounded(found.reader_diversity, 0)
    figures = {n: found.v + found.ambiguity / n for n in (16, 100)}
    audited = audit(published(figures, half=0, readers=2, reader_diversity=diversity))
    assert audited.verdict == "dependent readers"
    assert "possible only where an image's readers depend on each other" in audited.findings[0].text
    assert audited.unbiased.value == pytest.approx(found.u)
    below = audit(published({16: 0.030, 100: -0.015}, readers=2, reader_diversity=diversity))
    assert below.verdict == "impossible"


@pytest.mark.parametrize(
    ("ged", "part", "slope"),
    [
        ({16: 0.290, 32: 0.286, 100: 0.260}, "from 32 to 100", 1.224),
        ({16: 0.300, 32: 0.262, 100: 0.258}, "from 16 to 32", 1.216),
        ({8: 0.300, 16: 0.310, 32: 0.286, 100: 0.260}, "from 32 to 100", 1.224),
    ],
)
def test_neighbouring_counts_are_held_to_the_same_conditions(ged, part, slope):
    """The line through all figures falls by no more than masks can differ, the one through two of them does."""
    found = audit(published(ged))
    assert found.diversity.value < 1
    assert f"GED falls by more than masks can differ (diversity {slope:.3f}, {part} draws)" in sentences(found)


def test_a_rise_between_neighbours_is_named():
    found = audit(published({16: 0.300, 50: 0.280, 100: 0.300}))
    assert "GED rises with the number of draws (diversity -2.000, from 50 to 100 draws)" in sentences(found)


def test_a_coarse_figure_does_not_excuse_the_fine_ones():
    """.3 may be .25 to .35, but whatever it is, the fall from 32 to 100 draws needs a diversity of 1.176 at the least."""
    row = Published("model", {16: Rounded(0.3, 0.05), 32: Rounded(0.286, HALF), 100: Rounded(0.260, HALF)})
    found = audit(row, noise=0)
    assert found.verdict == "impossible"
    assert found.findings[0].excess == pytest.approx((0.026 - (1 / 32 - 1 / 100)) / 2 - HALF)


@pytest.mark.parametrize("noise", [float("nan"), float("inf"), -0.1])
def test_noise_is_a_number(noise):
    with pytest.raises(UsageError, match="`noise` must be a number of 0 or more"):
        audit(published({16: 0.2}), noise)


def test_true_lines_are_never_accused():
    """Whatever the diversity, the distance and the counts: figures rounded from a true line pass, and give it back."""
    rng = np.random.default_rng(5)
    for _ in range(60):
        limit, slope = rng.uniform(0, 0.5), rng.choice([0.0, 1.0, rng.uniform()])
        counts = rng.choice([1, 2, 4, 8, 16, 32, 50, 100, 1000], rng.integers(2, 5), replace=False)
        places = int(rng.integers(2, 5))
        rounded = {int(n): round(limit + slope / n, places) for n in counts}
        found = audit(published(rounded, half=0.5 * 10.0**-places))
        assert found.verdict in ("possible", "within rounding")
        assert found.diversity.low - 1e-5 <= slope <= found.diversity.high + 1e-5
        assert found.limit.low - 1e-5 <= limit <= found.limit.high + 1e-5


def test_lines_against_a_search_over_all_lines():
    """The least excess over a fine grid of lines is no less than the solver's, and not much more."""
    rng = np.random.default_rng(3)
    limits, slopes = np.meshgrid(np.linspace(0, 0.4, 401), np.linspace(0, 1, 401), indexing="ij")
    for _ in range(5):
        figures = {n: Rounded(rng.uniform(0.1, 0.3), 0.001) for n in (4, 16, 100)}
        off = np.max([abs(limits + slopes / n - f.value) - f.half_unit for n, f in figures.items()], 0).clip(0)
        exact = Lines(figures).excess(AtMost(0, -1, 0), AtMost(0, 1, 1), AtMost(-1, 0, 0), AtMost(1, 0, 0.4))
        assert exact - 1e-9 <= off.min() <= exact + 0.002


@pytest.fixture(scope="module")
def simulated():
    """GED at 4, 16 and 64 draws of 1,500 synthetic images whose model and readers draw from known masks, and the truth."""
    rng = np.random.default_rng(11)
    masks = np.stack([np.arange(12) < size for size in (0, 3, 6, 12)]).astype(np.uint8)[:, None]
    model, truth = np.array([0.1, 0.4, 0.3, 0.2]), np.array([0.4, 0.2, 0.2, 0.2])
    distance = 1 - overlaps(masks, masks).draws
    found = {}
    for draws in (4, 16, 64):
        values = []
        for _ in range(1500):
            chosen, read = rng.choice(4, draws, p=model), rng.choice(4, 4, p=truth)
            cross, within = distance[np.ix_(chosen, read)].mean(), distance[np.ix_(chosen, chosen)].mean()
            values.append(
                (2 * cross - within - distance[np.ix_(read, read)].mean(), distance[np.ix_(read, read)].mean())
            )
        found[draws] = np.mean(values, 0)
    one = ged(overlaps(masks, masks), model, draws=None, reader_weights=truth)
    return found, one


def test_a_simulated_table_passes_and_gives_the_true_diversity_and_distance(simulated):
    figures, truth = simulated
    rounded = {n: round(float(value), 3) for n, (value, _) in figures.items()}
    readers = Rounded(float(np.mean([value for _, value in figures.values()])), HALF)
    found = audit(published(rounded, reader_diversity=readers), noise=0.02)
    assert found.verdict != "impossible"
    assert found.diversity.value == pytest.approx(truth.sample_diversity, abs=0.05)
    assert found.unbiased.value == pytest.approx(truth.v, abs=0.02)


@pytest.fixture
def table(tmp_path):
    def write(*lines):
        path = tmp_path / "table.csv"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    return write


def test_a_table_is_read_with_its_precision(table):
    path = table("Name,GED16,ged_100,GED4_V,note", " A ,.218,0.1890,,why", "B,-,—,1,")
    first, second = read_published(path)
    assert first.method == "A"
    assert first.ged == {16: Rounded(0.218, 0.0005), 100: Rounded(0.189, 0.00005)}
    assert first.rest == {"note": "why"}
    assert second.ged == {4: Rounded(1, 0.5)}
    assert read_published(path, decimals=3)[0].ged[100] == Rounded(0.189, 0.0005)


def test_readers_of_the_row_come_before_the_option(table):
    path = table("method,ged16,readers,reader_diversity,diversity", "A,.2,6,.30,.5", "B,.2,,,")
    first, second = read_published(path, readers=3, reader_diversity="0.392")
    assert (first.readers, first.reader_diversity, first.diversity.value) == (6, Rounded(0.3, 0.005), 0.5)
    assert (second.readers, second.reader_diversity, second.diversity) == (3, Rounded(0.392, 0.0005), None)


@pytest.mark.parametrize(
    ("lines", "error", "message"),
    [
        (["method,ged16"], InputError, "holds no row of figures"),
        ([""], InputError, "is empty: expected a CSV with a column 'method'"),
        (["method,dice", "A,.5"], DataError, "has no column of energy distances: expected ged<N>"),
        (["method,ged0", "A,.5"], DataError, "has no column of energy distances"),
        (["model,ged16", "A,.5"], DataError, "names no methods: expected a column 'method' or 'name'"),
        (
            ["method,ged16", "A,.5", "B,good"],
            DataError,
            "Column 'ged16' in line 3 of .* holds 'good', expected a number",
        ),
        (["method,ged16", "A,nan"], DataError, "Column 'ged16' in line 2 of .* holds 'nan'"),
        (["method,ged16", "A,21.8"], DataError, "holds 21.8, expected at most 2: give shares of 1, not per cent"),
        (["method,ged16", "A,1e999999999"], DataError, "Column 'ged16' in line 2 of .* holds '1e999999999'"),
        (["method,ged16", "A,0." + "3" * 5000], DataError, r"holds '0\.3+\.\.\., expected a number"),
        (["method,ged16", "A,1_0"], DataError, "holds '1_0', expected a number"),
        (["method,ged16", "A,٠.٢"], DataError, "Column 'ged16' in line 2 of .*, expected a number"),
        (
            ["method,ged16,readers", "A,.2,1e999999999"],
            DataError,
            "Column 'readers' in line 2 of .* holds '1e999999999'",
        ),
        (["method,ged16,readers", "A,.2,1e9"], DataError, "Column 'readers' in line 2 .* 10,000 at most"),
        (["method,ged16,readers", "A,.2,4.5"], DataError, "Column 'readers' in line 2 .* expected a whole number"),
        (["method,ged" + "1" * 5000, "A,.2"], DataError, r"Column 'ged1+\.\.\. of .* is for more than 100,000 draws"),
        (["method,ged100001", "A,.2"], DataError, "is for more than 100,000 draws"),
        (["method," + ",".join(f"ged{n}" for n in range(1, 102)), "A" + ",.2" * 101], DataError, "has 101 columns"),
        (
            ["method,ged16,readers", "A,.2,1"],
            DataError,
            "Column 'readers' in line 2 .* expected a whole number of two or more",
        ),
        (["method,ged16", "A,.2,.3"], DataError, "line 2: 3 cells, expected 2"),
        (["method,ged16,GED16", "A,.2,.3"], DataError, "has a column given twice"),
        (["method,ged16,ged_16", "A,.2,.3"], DataError, "has a column twice"),
    ],
)
def test_tables_that_cannot_be_read(table, lines, error, message):
    with pytest.raises(error, match=message):
        read_published(table(*lines))


def test_options_that_cannot_be(table, tmp_path):
    path = table("method,ged16", "A,.2")
    with pytest.raises(UsageError, match=r"`readers` must be from 2 to 10,000, got 1\."):
        read_published(path, readers=1)
    with pytest.raises(UsageError, match="got 100000000000000000000"):
        read_published(path, readers=10**20)
    for text in ("much", "1e999999999", "0." + "3" * 5000, "2"):
        with pytest.raises(UsageError, match="`reader_diversity` holds"):
            read_published(path, reader_diversity=text)
    with pytest.raises(InputError, match=r"No file .*: expected a CSV with a column 'method'"):
        read_published(tmp_path / "nothing.csv")
    (tmp_path / "table.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="utf-16 text that breaks off"):
        read_published(path)


def test_what_is_written(tmp_path):
    rows = [published({16: 0.320, 100: 0.252}, rest={"source": "a, b"}), published({16: 0.2})]
    audits = [audit(row) for row in rows]
    write_audits(tmp_path / "out.csv", audits)
    with (tmp_path / "out.csv").open(newline="") as file:
        first, second = csv.DictReader(file)
    assert (first["ged16"], first["ged100"], first["source"], first["verdict"]) == (
        "0.32",
        "0.252",
        "a, b",
        "impossible",
    )
    assert float(first["diversity"]) == pytest.approx(1.295, abs=0.001)
    assert float(first["excess"]) == pytest.approx(0.00725)
    assert (second["ged100"], second["diversity"], second["verdict"], second["source"]) == ("", "", "one count", "")
    assert json.loads(json.dumps(audits[0].summary()))["columns"] == {"source": "a, b"}


CELLS = st.one_of(
    st.text(max_size=8),
    st.from_regex(r"[+-]?[0-9]{0,30}\.?[0-9]{0,30}", fullmatch=True),
    st.from_regex(r"[0-9.]{1,4}[eE][+-]?[0-9]{1,12}", fullmatch=True),
    st.floats(0, 2).map(lambda value: f"{value:.3f}"),
    st.sampled_from(["", "-", "nan", "inf", "1" * 5000, "." + "0" * 5000 + "1", "1e-99", "4", "10000"]),
)
COLUMNS = ("ged16", "ged99999", "GED100000", "readers", "reader_diversity", "diversity")


@settings(max_examples=60, deadline=2000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(cells=("", "1", ".0", "", "", ""), decimals=None)
@example(cells=("", "0", "0E18", "", "", ""), decimals=None)
@given(cells=st.tuples(*[CELLS] * len(COLUMNS)), decimals=st.none() | st.integers(0, 12))
def test_any_cells_are_audited_or_refused_by_row_and_column(tmp_path, cells, decimals):
    """No number is too long or too large to be answered at once, by finite numbers or by one sentence."""
    path = tmp_path / "table.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["method", *COLUMNS], ["A", *cells]])
    try:
        (row,) = read_published(path, decimals=decimals)
    except DataError as error:
        said = str(error)
    else:
        said = ""
    if said:
        assert re.search(r"Column '[\w_]+' in line 2 of|is no table of text|as CSV in UTF-8", said)
        assert len(said) < 400
        return
    found = audit(row)
    assert all(np.isfinite(finding.excess) for finding in found.findings)
    for implied in (found.diversity, found.limit, found.unbiased):
        assert implied is None or implied.low <= implied.value <= implied.high
