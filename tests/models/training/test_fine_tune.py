"""Training that starts from a trained model, goes on longer, and is logged for other programs."""

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ambiseg import load_model, train
from ambiseg.models.runs.run_folder import Run
from ambiseg.models.runs.training_list import TrainingList
from ambiseg.models.runs.weights_file import read_weights
from ambiseg.models.training.schedule import laid_out
from ambiseg.preprocessing.errors import UsageError
from ambiseg.preprocessing.sources.papers.known_readers import write_known_truth
from ambiseg.preprocessing.store.store import Store
from ambiseg.preprocessing.store.store_crop import Crop, StoreInfo
from ambiseg.preprocessing.store.store_writer import write_store

SHORT = {
    "data.crop": 16, "options.widths": [4, 6], "options.convs": 1, "validation.limit": 2, "validation.every": 2,
    "validation.samples": 2,
}  # fmt: skip
Trainer = Callable[..., Run]


@pytest.fixture
def short(known_truth: Store, tmp_path: Path) -> Trainer:
    """A function that trains two steps of a narrow network into a folder."""

    def go(name: str, **given: object) -> Run:
        given = {"steps": 2, "batch": 2, "preset": "demo", "device": "cpu"} | given
        settings = {key: value for key, value in SHORT.items() if "start" not in given or not key.startswith("options")}
        return train(known_truth, output=tmp_path / name, settings=settings, **given)  # type: ignore[arg-type]

    return go


def weights(run: Run) -> dict[str, torch.Tensor]:
    """The best weights of a run."""
    return read_weights(run.weights.read_bytes(), "weights")[0]


def test_a_run_starts_from_a_models_weights_and_keeps_its_options(short: Trainer, tmp_path: Path) -> None:
    first = short("first", method="modal")
    slow = short("second", start=str(first.path), learning_rate=1e-12, seed=5)
    assert slow.record.method == "modal"
    assert slow.record.config.options == first.record.config.options
    assert slow.record.config.start.weights == load_model(first.path).weights_hash
    before, after = weights(first), weights(slow)
    parameters = {name for name, _ in load_model(first.path).method.named_parameters()}
    assert all(torch.allclose(before[name], after[name], atol=1e-6) for name in parameters)
    with pytest.raises(UsageError, match="a model of modal, not of probunet"):
        short("third", method="probunet", start=str(first.path))
    assert not (tmp_path / "third").exists()


def test_frozen_parts_stay_to_the_bit_and_others_move(short: Trainer) -> None:
    first = short("first", method="modal")
    second = short("second", start=str(first.path), frozen=["prior.blocks"], learning_rate=0.1)
    before, after = weights(first), weights(second)
    frozen = [name for name in before if name.startswith("prior.blocks")]
    assert frozen
    assert all(torch.equal(before[name], after[name]) for name in frozen)
    assert any(not torch.equal(before[name], after[name]) for name in before if name not in frozen)
    with pytest.raises(UsageError, match=r"No part 'nothing' to freeze: expected names such as"):
        short("third", start=str(first.path), frozen=["nothing"])
    with pytest.raises(UsageError, match="give the model as `start`"):
        short("fourth", method="modal", frozen=["prior"])


def test_other_channels_are_made_anew_where_shapes_differ(short: Trainer, tmp_path: Path) -> None:
    first = short("first", method="modal")
    old = Store.open(first.record.data.path)
    info = StoreInfo("two", "two channels", old.intensity)
    splits = {old.index[row].patient: old.index[row]["split"] for row in range(len(old))}
    with write_store(tmp_path / "two", info, splits) as writer:
        for row in range(len(old)):
            rows = torch.tensor([row]).numpy()
            image = old.images(rows)[0].repeat(2, 0)
            writer.add(Crop(image, old.masks(rows)[0], patient=old.index[row].patient, case=f"c{row}"))
    settings = {key: value for key, value in SHORT.items() if not key.startswith("options")}
    run = train(
        tmp_path / "two", output=tmp_path / "second", start=first.path, settings=settings, preset="demo", steps=2,
        batch=2, learning_rate=1e-12, device="cpu",
    )  # fmt: skip
    before, after = weights(first), weights(run)
    other = [name for name in before if name not in after or before[name].shape != after[name].shape]
    assert other
    assert len(other) < len(before) / 4
    assert torch.allclose(before["decoder.logits.weight"], after["decoder.logits.weight"], atol=1e-6)
    with pytest.raises(UsageError, match="cannot be frozen, as the model has other shapes there"):
        train(tmp_path / "two", output=tmp_path / "third", start=first.path, frozen=["prior"], settings=settings,
              preset="demo", device="cpu")  # fmt: skip


def test_what_trained_the_first_model_counts_for_the_second(short: Trainer, tmp_path: Path) -> None:
    first = short("first", method="modal")
    other = write_known_truth(tmp_path / "other", crops=30, size=24, seed=9)
    settings = {key: value for key, value in SHORT.items() if not key.startswith("options")}
    run = train(other, output=tmp_path / "second", start=first.path, settings=settings, preset="demo", steps=2, batch=2,
                device="cpu")  # fmt: skip
    found, one, two = TrainingList.read(run.path), TrainingList.read(first.path), TrainingList.of(other)
    assert found is not None
    assert one is not None
    assert set(found.images) == set(one.images) | set(two.images)


def test_a_run_goes_on_longer_and_keeps_its_best(short: Trainer) -> None:
    run = short("run", method="modal")
    best = min(entry["ged"] for entry in run.read_log() if entry["kind"] == "validation")
    longer = train(resume=run.path, steps=6, device="cpu")
    assert longer.record.config.steps == 6
    assert [(one.planned, one.begin) for one in longer.record.config.continued] == [(2, 2)]
    steps = [entry["step"] for entry in longer.read_log() if entry["kind"] == "validation"]
    assert steps == [2, 4, 6]
    log = {entry["step"]: entry["ged"] for entry in longer.read_log() if entry["kind"] == "validation"}
    _, about = read_weights(longer.weights.read_bytes(), "weights")
    assert int(about["step"]) == min(log, key=lambda step: (log[step], step))
    assert min(log.values()) <= best
    with pytest.raises(UsageError, match=r"`steps` is 6, but .* has 6: give more to go on longer"):
        train(resume=run.path, steps=6, device="cpu")
    with pytest.raises(UsageError, match="A resumed run keeps its settings: leave out `seed`"):
        train(resume=run.path, steps=8, seed=1, device="cpu")
    spans = laid_out(load_model(run.path).method.stages(), longer.record.config)
    assert [(span.begin, span.end, span.again) for span in spans] == [(0, 2, False), (2, 6, True)]


def test_figures_are_logged_as_csv(short: Trainer) -> None:
    run = short("run", method="modal", log="csv")
    with (run.path / "metrics.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["kind"] for row in rows} == {"train", "validation"}
    ged = next(entry["ged"] for entry in run.read_log() if entry["kind"] == "validation")
    assert float(next(row["value"] for row in rows if row["name"] == "ged")) == pytest.approx(ged, rel=1e-6)
    with pytest.raises(UsageError, match="No `log` 'wandb': expected csv, tensorboard, mlflow"):
        short("other", method="modal", log="wandb")


def test_figures_are_logged_for_tensorboard(short: Trainer) -> None:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run = short("run", method="modal", log="tensorboard")
    found = events.EventAccumulator(str(run.path / "tensorboard")).Reload()
    (ged,) = found.Scalars("validation/ged")
    assert ged.step == 2
    assert ged.value == pytest.approx(
        next(one["ged"] for one in run.read_log() if one["kind"] == "validation"), rel=1e-5
    )


def test_figures_are_logged_for_mlflow_on_this_machine(short: Trainer) -> None:
    tracking = pytest.importorskip("mlflow.tracking")
    pytest.importorskip("mlflow.store.tracking.sqlalchemy_store")
    run = short("run", method="modal", log="mlflow")
    client = tracking.MlflowClient(tracking_uri=f"sqlite:///{(run.path / 'mlflow.db').resolve()}")
    (logged,) = client.search_runs([client.get_experiment_by_name("run").experiment_id])
    assert logged.data.params["method"] == "modal"
    assert "validation/ged" in logged.data.metrics


def test_a_log_whose_package_is_missing_is_said_before_a_run_is_made(
    short: Trainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "mlflow.store.tracking.sqlalchemy_store", None)
    with pytest.raises(UsageError, match=r'needs mlflow: run pip install "ambiseg\[mlflow\]", or choose csv'):
        short("run", method="modal", log="mlflow")
    assert not (tmp_path / "run").exists()
