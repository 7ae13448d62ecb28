"""Models that tell readers apart: each reader's habit, and the mixture of all, on synthetic lesions of known habits."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from ambiseg import UsageError, evaluate, load_model, predict, train
from ambiseg.main import app
from ambiseg.models.core.named_readers import ReaderShift, by_names, reader_numbers, some_forgotten
from ambiseg.models.core.randomness import generator_for
from ambiseg.models.methods.registry import build
from ambiseg.models.runs.config import AugmentSettings, DataSettings
from ambiseg.models.runs.run_folder import Run
from ambiseg.models.runs.trained import Trained
from ambiseg.models.runs.weights_file import read_weights
from ambiseg.models.training.crops.augment import make_batch
from ambiseg.models.training.crops.crop_source import Crops
from ambiseg.preprocessing.errors import InputError
from ambiseg.preprocessing.sources.papers.known_readers import HABITS, write_habits, write_known_truth
from ambiseg.preprocessing.store.store import Store

SIZE, CROPS = 16, 240
BY_READER = {"options.condition": "reader"}
SMALL = {"data.crop": SIZE, "data.readers": 2, "options.widths": [6, 8], "options.convs": 1} | BY_READER
QUICK = SMALL | {"validation.every": 1000, "validation.limit": 2, "augment.flip": "none", "optimiser.ema": 0}
QUICK |= {"optimiser.warmup": 5, "augment.shift_px": 0, "augment.gain": 0, "augment.offset": 0}
QUICK |= {"options.norm": True, "data.centre": "none"}  # a habit follows from how bright a lesion is
GATED = {"options.gate_width": 4, "options.gate_dropout": 0, "options.gate_views": "one", "options.masks": 10}


@pytest.fixture(scope="module")
def habits(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return write_habits(tmp_path_factory.mktemp("habits") / "store", crops=CROPS, size=SIZE)


def trained_on(store: Store, method: str, path: Path, steps: int, **more: object) -> Run:
    settings = QUICK | (GATED if method == "gated" else {}) | more
    return train(
        store,
        method,
        output=path,
        preset="small",
        settings=settings,
        steps=steps,
        batch=12,
        learning_rate=1e-2,
        device="cpu",
    )


@pytest.fixture(scope="module")
def run(habits: Store, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A gated model that has learnt the readers' habits."""
    return trained_on(habits, "gated", tmp_path_factory.mktemp("told-apart") / "run", 150)


def empty_and_area(trained: Trained, store: Store, faint: bool) -> tuple[float, float]:
    """The probability of an empty mask, and the mean area of the others as a share of the whole lesion's, over test crops."""
    cue = store.column("cue") == "faint"
    rows = np.array([row for row in store.rows("test") if cue[row] == faint])
    atoms = trained.predictive(store.images(rows)).atoms(40, generator_for(0))
    area, weights = (atoms.labels > 0).sum((2, 3)).double(), atoms.weights.double()
    marked = weights * (area > 0)
    whole = np.pi * store.column("ring").astype(float)[rows] ** 2
    return float((weights - marked).sum(1).mean()), float(
        ((marked * area).sum(1) / marked.sum(1) / torch.tensor(whole)).mean()
    )


def check_habits(trained: Trained, store: Store) -> None:
    """anna marks all, ben the core (a quarter), carl nothing of what is faint; the pool is a third of each."""
    found = {
        name: {
            faint: empty_and_area(trained.as_reader(name) if name else trained, store, faint) for faint in (True, False)
        }
        for name in ("", *HABITS)
    }
    for faint in (True, False):
        assert found["anna"][faint][0] < 0.15
        assert found["anna"][faint][1] > 0.7
        assert found["ben"][faint][1] < 0.45
    assert found["carl"][True][0] > 0.7
    assert found["carl"][False][0] < 0.35
    assert 0.15 < found[""][True][0] < 0.55
    assert found[""][False][0] < 0.15
    assert found["ben"][False][1] + 0.05 < found[""][False][1] < found["anna"][False][1] - 0.15


def test_every_reader_has_a_habit_and_the_pool_mixes_them(run: Run, habits: Store) -> None:
    check_habits(load_model(run.path, "cpu"), habits)


@pytest.mark.learning
@pytest.mark.parametrize("method", ["probunet", "generalized"])
def test_latent_methods_learn_habits_too(method: str, habits: Store, tmp_path: Path) -> None:
    found = trained_on(habits, method, tmp_path / "run", 800)
    trained = load_model(found.path, "cpu")
    assert empty_and_area(trained.as_reader("anna"), habits, False)[1] > 0.7
    assert empty_and_area(trained.as_reader("ben"), habits, False)[1] < 0.45
    empty = {name: empty_and_area(trained.as_reader(name), habits, True)[0] for name in HABITS}
    assert empty["carl"] > max(empty["anna"], empty["ben"]) + 0.15


def test_prediction_for_a_reader_says_so(run: Run, habits: Store, tmp_path: Path) -> None:
    row = next(row for row in habits.rows("test") if habits.index[row]["cue"] == "bright")
    image = habits.images(np.array([row]))[0, 0]
    found = {name: predict(image, run.path, draws=40, device="cpu", reader=name) for name in (None, "anna", "carl")}
    area = {name: np.count_nonzero(one.labels()) for name, one in found.items()}
    assert area["anna"] > 2 * area["carl"] > 0
    assert found["carl"].document.model.reader == "carl"
    assert "for the reader carl" in found["carl"].document.notes[0]
    assert "reader" not in found[None].figures["model"]
    found["carl"].save(tmp_path / "carl")
    assert json.loads((tmp_path / "carl" / "hypotheses.json").read_text())["model"]["reader"] == "carl"
    found[None].save(tmp_path / "pool")
    for file in (tmp_path / "pool").rglob("*"):  # no name of a reader in what nobody asked for
        assert not file.is_file() or not re.search(rb"\b(anna|carl)\b", file.read_bytes()), file


def test_evaluation_of_a_reader_compares_the_readers_own_masks(run: Run, habits: Store) -> None:
    alone = evaluate(run.path, habits, samples=16, device="cpu", reader="anna", by="slice")
    everyone = evaluate(run.path, habits, samples=16, device="cpu", by="slice")
    assert (alone.about.reader, everyone.about.reader) == ("anna", None)
    assert alone.about.estimators["readers"] == "anna alone"
    read = habits.present[habits.rows("test")]
    assert alone.about.cases == read[:, 0].sum() < everyone.about.cases == len(read)
    assert {case.readers for case in alone.cases} == {1}
    # distance of a hypothesis to anna's mask, which is far smaller for anna's hypotheses than for the pool's
    pool = evaluate(load_model(run.path, "cpu"), habits.read_by("anna"), samples=16, device="cpu", by="slice")
    assert alone.figures["ged16_v"].mean < pool.figures["ged16_v"].mean - 0.1


def test_a_calibration_is_not_used_for_a_reader(run: Run) -> None:
    trained = load_model(run.path, "cpu")
    assert trained.as_reader("ben").calibration is None


def test_readers_whom_nobody_knows(run: Run, habits: Store, tmp_path: Path) -> None:
    trained = load_model(run.path, "cpu")
    with pytest.raises(UsageError, match="knows no reader 'dora': expected one of anna, ben, carl"):
        trained.as_reader("dora")
    with pytest.raises(UsageError, match="The model lidc-gated knows no reader by name: leave out `reader`, or train"):
        predict(np.zeros((32, 32), np.float32), "lidc-gated", reader="anna", device="cpu")
    with pytest.raises(InputError, match="names no reader 'dora': expected one of anna, ben, carl"):
        habits.read_by("dora")
    plain = write_known_truth(tmp_path / "plain", crops=10, size=SIZE)
    with pytest.raises(InputError, match="names no reader 'anna': it does not say who drew"):
        plain.read_by("anna")
    result = CliRunner().invoke(
        app, ["train", "-m", "gated", "-d", str(plain.path), "-O", "condition=reader", "--set", "data.crop=16"]
    )
    assert (result.exit_code, isinstance(result.exception, UsageError)) == (1, True)
    assert "does not say who drew, so readers cannot be told apart" in str(result.exception)


@pytest.mark.parametrize(
    ("method", "settings", "message"),
    [
        ("ssn", {}, "Unknown option 'condition' of method ssn"),
        ("gated", {"options.shapes": "ssn"}, "shapes of ssn know no readers: leave options.shapes out"),
        ("probunet", {"options.prior": "fixed"}, "a fixed prior is the same for all: leave options.prior out"),
    ],
)
def test_what_cannot_tell_readers_apart(
    method: str, settings: dict[str, object], message: str, habits: Store, tmp_path: Path
) -> None:
    given = {"data.crop": SIZE} | BY_READER | settings
    with pytest.raises(UsageError, match=message):
        train(
            habits,
            method,
            output=tmp_path / "run",
            preset="small",
            settings=given,
            steps=1,
            device="cpu",
        )
    assert not (tmp_path / "run").exists()


def test_a_teachers_masks_are_no_readers(run: Run, habits: Store, tmp_path: Path) -> None:
    given: dict[str, object] = {"data.crop": SIZE} | BY_READER
    with pytest.raises(UsageError, match="the masks of a teacher are no reader's: leave out `teacher`"):
        train(habits, "probunet", teacher=str(run.path), output=tmp_path / "run", settings=given, steps=1, device="cpu")


def test_data_that_one_reader_read_alone(tmp_path: Path) -> None:
    alone = write_known_truth(tmp_path / "store", crops=10, size=SIZE, readers=1, names=("anna",))
    with pytest.raises(UsageError, match="were all read by anna alone"):
        train(alone, "probunet", output=tmp_path / "run", preset="small", settings=SMALL, steps=1, device="cpu")
    known = write_known_truth(tmp_path / "known", crops=10, size=SIZE, readers=None)
    with pytest.raises(UsageError, match="holds all masks that can be drawn, and no readers"):
        train(known, "probunet", output=tmp_path / "run", preset="small", settings=SMALL, steps=1, device="cpu")


def test_only_readers_of_training_crops_are_known(run: Run, habits: Store) -> None:
    assert run.record.data.reader_names == ("anna", "ben", "carl")
    assert habits.read_by("anna").present.sum(0).tolist()[1:] == [0, 0]


def test_a_batch_says_who_drew_each_mask() -> None:
    """Mask r marks r pixels, so that a batch shows whose each is; half of the names are forgotten."""
    masks = torch.zeros(4000, 3, 8, 8, dtype=torch.uint8)
    for reader in range(3):
        masks[:, reader].view(4000, 64)[:, : 5 * reader] = 1
    crops = Crops(torch.zeros(4000, 1, 8, 8), masks, torch.ones(4000, 3))
    data, plain = DataSettings(crop=8, readers=2), AugmentSettings(flip="none")
    numbers = reader_numbers(["anna", "", "carl"], ["anna", "carl"])
    batch = make_batch(crops, data, plain, (0.0, 1.0), generator_for(0), readers=numbers, centre="none")
    assert batch.readers is not None
    drawn = batch.mask.sum((2, 3)) // 5
    named = batch.readers > 0
    assert torch.equal(numbers[drawn][named], batch.readers[named])
    assert not named[drawn == 1].any()  # who has no name is one of the pool
    assert 0.47 < named[drawn != 1].float().mean() < 0.53
    without = make_batch(crops, data, plain, (0.0, 1.0), generator_for(0), centre="none")
    assert torch.equal(batch.mask, without.mask)
    assert without.readers is None


def test_numbers_of_readers() -> None:
    assert reader_numbers(["ben", "", "dora"], ["anna", "ben"]).tolist() == [2, 0, 0]
    forgotten = some_forgotten(torch.full((2000, 2), 3), generator_for(0))
    assert set(forgotten.unique().tolist()) == {0, 3}


def test_features_of_the_pool_stay_as_they_are() -> None:
    shift, features = ReaderShift(4, 2), torch.rand(3, 4)
    with torch.no_grad():
        shift.factor.copy_(torch.tensor([[1.0] * 4, [0.0] * 4]))
        shift.shift.copy_(torch.tensor([[0.0] * 4, [2.0] * 4]))
    seen = shift(features, torch.tensor([[0, 1, 2]] * 3))
    torch.testing.assert_close(seen[:, 0], features, rtol=0, atol=0)
    torch.testing.assert_close(seen[:, 1], 2 * features)
    torch.testing.assert_close(seen[:, 2], features + 2)


def test_a_model_of_other_readers_is_taken_over_by_name() -> None:
    old = {"by_reader.shift": torch.tensor([[1.0], [2.0]]), "unet.weight": torch.tensor([[3.0], [4.0]])}
    new = by_names(old, ["anna", "ben"], ["ben", "carl", "anna"])
    assert new["by_reader.shift"].tolist() == [[2.0], [0.0], [1.0]]
    assert new["unet.weight"].tolist() == [[3.0], [4.0]]


def test_fine_tuning_keeps_readers_by_name(run: Run, tmp_path: Path) -> None:
    fewer = write_known_truth(tmp_path / "store", crops=20, size=SIZE, readers=2, names=("carl", "dora"))
    later = train(
        fewer, start=str(run.path), output=tmp_path / "later", preset="small", steps=1, batch=4, learning_rate=1e-12,
        settings={"validation.limit": 2, "optimiser.ema": 0}, device="cpu",
    )  # fmt: skip
    assert later.record.data.reader_names == ("carl", "dora")
    before, after = (read_weights(each.weights.read_bytes(), "weights")[0] for each in (run, later))
    names = [name for name in after if "by_reader" in name]
    assert len(names) == 4
    for name in names:
        torch.testing.assert_close(after[name][0], before[name][2], rtol=0, atol=1e-6)
        assert after[name][1].abs().max() < 1e-6


def test_without_the_option_nothing_is_added() -> None:
    for method in ("probunet", "generalized", "gated"):
        plain = build(method, 1, 2, {"widths": [4, 6], "convs": 1}, readers=3)
        assert not any("by_reader" in name for name in plain.state_dict())


def test_the_command_line(run: Run, habits: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = CliRunner().invoke(
        app,
        [
            "evaluate",
            str(run.path),
            "--reader",
            "ben",
            "--samples",
            "16",
            "--limit",
            "3",
            "--no-report",
            "--by",
            "slice",
        ],
    )
    assert found.exit_code == 0, found.output
    summary = json.loads((run.path / "evaluation-test-reader-2" / "summary.json").read_text())
    assert summary["reader"] == "ben"
