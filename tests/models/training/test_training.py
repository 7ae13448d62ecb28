"""The training loop: what it learns, what it keeps, and how it stops."""

import itertools
import json
import math
import signal
from pathlib import Path

import pytest
import torch

from ambiseg.models.runs.config import OptimiserSettings, make_config
from ambiseg.models.runs.run_folder import Run, new_run_path, newest_run
from ambiseg.models.runs.run_record import DataRecord, RunRecord
from ambiseg.models.runs.trained import load_trained
from ambiseg.models.training.checkpoint import initial_state
from ambiseg.models.training.loop import BudgetSpent, Progress, train
from ambiseg.models.training.schedule import learning_rate
from ambiseg.models.training.stepper import update_average
from ambiseg.preprocessing.errors import AmbisegError, DataError, InputError, UsageError
from ambiseg.preprocessing.sources.papers.known_readers import write_known_truth
from ambiseg.preprocessing.sources.resplit import write_split
from ambiseg.preprocessing.store.store import Store

CPU = torch.device("cpu")
TINY = [
    "data.crop=16",
    "options.widths=[6,8]",
    "options.convs=1",
    "steps=20",
    "batch=4",
    "validation.every=10",
    "optimiser.warmup=0",
]


def make_run(path: Path, store: Store, *settings: str, method: str = "probunet") -> Run:
    config = make_config(method, "small", None, [*TINY, *settings])
    record = RunRecord(version="test", torch=torch.__version__, device="cpu", config=config, data=DataRecord.of(store))
    return Run.create(path, record)


def test_the_loss_falls_and_everything_is_kept(known_truth: Store, tmp_path: Path) -> None:
    settings = ["steps=120", "optimiser.learning_rate=1e-2", "data.centre=none"]
    run = make_run(tmp_path / "run", known_truth, *settings, method="generalized")
    seen: list[Progress] = []
    assert train(run, known_truth, CPU, seen.append)
    losses = [entry["loss"] for entry in run.read_log() if entry["kind"] == "validation"]
    assert losses[-1] < 0.5 * losses[0]
    assert {"cross_entropy", "kl", "kl_dim_0", "kl_dim_1", "ged", "ged_u", "hm_iou"} <= run.read_log()[-1].keys()
    assert {file.name for file in run.path.iterdir()} == {
        "run.json",
        "metrics.jsonl",
        "model.safetensors",
        "checkpoint.pt",
        "progress.png",
        "trained_on.json",
    }
    assert seen[-1].step == 120
    best = min((entry for entry in run.read_log() if entry["kind"] == "validation"), key=lambda entry: entry["ged"])
    state = torch.load(run.checkpoint, weights_only=True)
    assert state["best"] == best["ged"]


def test_the_same_seed_gives_the_same_weights(known_truth: Store, tmp_path: Path) -> None:
    runs = [make_run(tmp_path / str(n), known_truth, f"seed={seed}") for n, seed in enumerate((1, 1, 2))]
    for run in runs:
        train(run, known_truth, CPU)
    first, again, other = (run.weights.read_bytes() for run in runs)
    assert first == again
    assert first != other


def test_patience_stops_early(known_truth: Store, tmp_path: Path) -> None:
    run = make_run(
        tmp_path / "run",
        known_truth,
        "steps=200",
        "validation.every=1",
        "validation.patience=3",
        "optimiser.learning_rate=1e-9",
    )
    assert not train(run, known_truth, CPU)
    stopped = torch.load(run.checkpoint, weights_only=True)["step"]
    assert stopped < 50
    assert not train(run, known_truth, CPU)  # nor does it go on
    assert torch.load(run.checkpoint, weights_only=True)["step"] == stopped


def test_a_loss_that_is_no_number_stops_with_advice(known_truth: Store, tmp_path: Path) -> None:
    run = make_run(
        tmp_path / "run", known_truth, "optimiser.learning_rate=1e30", "optimiser.clip=0", "optimiser.warmup=0"
    )
    with pytest.raises(UsageError, match=r"not a finite number at step 10: lower optimiser.learning_rate"):
        train(run, known_truth, CPU)


def test_a_high_learning_rate_stays_finite(known_truth: Store, tmp_path: Path) -> None:
    """At 1e-2 without clipping, where an unbounded exp(log sigma) goes to infinity."""
    run = make_run(tmp_path / "run", known_truth, "optimiser.learning_rate=1e-2", "optimiser.clip=0", "steps=40")
    assert train(run, known_truth, CPU)


def test_other_data_is_refused(known_truth: Store, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", known_truth)
    other = write_known_truth(tmp_path / "other", crops=60, size=24, seed=1)
    with pytest.raises(InputError, match=r"is not the data set that .* was started on"):
        train(run, other, CPU)


def test_data_without_validation_is_refused(tmp_path: Path) -> None:
    store = write_known_truth(tmp_path / "store", crops=4, size=24)
    with pytest.raises(InputError, match="has no val crops"):
        train(make_run(tmp_path / "run", store), store, CPU)


def test_without_a_monitor_the_last_weights_are_kept(known_truth: Store, tmp_path: Path) -> None:
    """Validated or not, and after an interruption."""
    everybody = write_split(known_truth, tmp_path / "everybody", (1, 0, 0))
    with pytest.raises(InputError, match=r"no val crops: .* keep the last weights with validation\.monitor=none"):
        train(make_run(tmp_path / "refused", everybody), everybody, CPU)
    for store in (known_truth, everybody):
        run = make_run(tmp_path / store.path.name / "run", store, "validation.monitor=none", "validation.patience=1")
        with pytest.raises(BudgetSpent):
            train(run, store, CPU, enough=itertools.chain([False] * 14, itertools.repeat(True)).__next__)
        assert train(run, store, CPU)
        validated = [entry["step"] for entry in run.read_log() if entry["kind"] == "validation"]
        assert validated == ([10, 20] if len(store.rows("val")) else [])
        state = torch.load(run.checkpoint, weights_only=True)
        assert state["step"] == 20
        kept = load_trained(run.path, CPU).method.state_dict()
        averaged = state["averaged"]
        assert all(torch.equal(value, averaged[name]) for name, value in kept.items())
        assert (run.path / "progress.png").is_file()


def test_a_crop_larger_than_the_data_is_refused(known_truth: Store, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"data\.crop is 32 pixels, but the stored crops are \(24, 24\)"):
        train(make_run(tmp_path / "run", known_truth, "data.crop=32"), known_truth, CPU)


def test_batch_statistics_of_one_image_are_refused(known_truth: Store, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"each process gets only 1 image per step: choose a larger `batch`"):
        train(make_run(tmp_path / "run", known_truth, "batch=1", method="modal"), known_truth, CPU)
    assert train(make_run(tmp_path / "one", known_truth, "batch=1", "steps=2", "options.norm=false"), known_truth, CPU)


def test_what_only_cuda_has_is_refused(known_truth: Store, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"hardware\.precision = 'fp16' needs CUDA"):
        train(make_run(tmp_path / "fp16", known_truth, "hardware.precision=fp16"), known_truth, CPU)
    with pytest.raises(UsageError, match=r"hardware\.graphs = true needs CUDA and .*, but the device is cpu"):
        train(make_run(tmp_path / "graphs", known_truth, "hardware.graphs=true"), known_truth, CPU)


def test_a_corrupt_checkpoint_is_named(known_truth: Store, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", known_truth)
    train(run, known_truth, CPU)
    whole = run.checkpoint.read_bytes()
    newer = torch.load(run.checkpoint, weights_only=True) | {"schema": 2}
    run.checkpoint.write_bytes(whole[:2000])
    with pytest.raises(DataError, match=r"checkpoint\.pt is corrupt or of another version"):
        train(run, known_truth, CPU)
    torch.save(newer, run.checkpoint)
    with pytest.raises(DataError, match=r"checkpoint\.pt is corrupt or of another version"):
        train(run, known_truth, CPU)


class Malicious:
    def __reduce__(self):
        return (Path.touch, (Path("executed"),))


def test_a_checkpoint_executes_no_code(known_truth: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = make_run(tmp_path / "run", known_truth)
    torch.save({"schema": 1, "method": Malicious()}, run.checkpoint)
    with pytest.raises(DataError):
        train(run, known_truth, CPU)
    assert not Path("executed").exists()


def test_corrupt_weights_are_named(known_truth: Store, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", known_truth)
    with pytest.raises(InputError, match="has no weights yet"):
        load_trained(run.path, CPU)
    run.weights.write_bytes(b"\x10" * 100)
    with pytest.raises(DataError, match=r"model\.safetensors is corrupt or not of this model"):
        load_trained(run.path, CPU)


def test_a_damaged_run_is_named(known_truth: Store, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", known_truth)
    record = json.loads((run.path / "run.json").read_text())
    for damage in ({"schema_number": 2}, {"config": record["config"] | {"steps": "many"}}):
        (run.path / "run.json").write_text(json.dumps(record | damage))
        with pytest.raises(DataError, match=r"run\.json is damaged or of another version"):
            Run.open(run.path)
    with pytest.raises(UsageError, match="already exists: give it as `resume`"):
        make_run(run.path, known_truth)
    with pytest.raises(InputError, match="No run at"):
        Run.open(tmp_path / "none")


def test_runs_are_numbered_and_the_newest_is_found(known_truth: Store, tmp_path: Path) -> None:
    assert new_run_path("probunet", tmp_path).name == "probunet-001"
    with pytest.raises(InputError, match="No trained model under"):
        newest_run(tmp_path)
    first, second = (make_run(new_run_path("probunet", tmp_path), known_truth) for _ in range(2))
    assert (first.path.name, second.path.name) == ("probunet-001", "probunet-002")
    state = initial_state(first.record.config, known_truth, CPU)
    first.save_weights(state.method, 0)
    assert newest_run(tmp_path) == first.path


def test_a_full_disk_keeps_the_last_checkpoint(
    known_truth: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    run = make_run(tmp_path / "run", known_truth)
    train(run, known_truth, CPU)
    kept = run.checkpoint.read_bytes()

    def full(self: Path, mode: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "open", full)
    state = initial_state(run.record.config, known_truth, CPU)
    with pytest.raises(AmbisegError, match=r"No room left on the disk while writing .*checkpoint\.pt"):
        state.save(run.checkpoint)
    monkeypatch.undo()
    assert run.checkpoint.read_bytes() == kept
    assert not list(run.path.glob(".writing*"))


def test_a_spent_budget_saves_the_state_and_is_no_interruption(known_truth: Store, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", known_truth)
    asked = iter([False, True, True])
    with pytest.raises(BudgetSpent):
        train(run, known_truth, CPU, enough=lambda: next(asked))
    assert torch.load(run.checkpoint, weights_only=True)["step"] == 2
    assert train(run, known_truth, CPU)


def test_the_learning_rate_warms_up_and_decays() -> None:
    settings = OptimiserSettings(learning_rate=1.0, schedule="cosine", warmup=10)
    rates = [learning_rate(settings, step, 100) for step in range(100)]
    assert rates[0] < 0.1
    assert max(rates) == rates[10]
    assert rates[-1] < 0.02


def test_milestones_are_shares_of_the_schedule() -> None:
    settings = OptimiserSettings(learning_rate=2.0, schedule="steps", milestones=((0.25, 0.5), (0.75, 0.1)))
    rates = [learning_rate(settings, step, 100) for step in (0, 24, 25, 74, 75, 99)]
    assert rates == [2.0, 2.0, 1.0, 1.0, 0.2, 0.2]


def test_stages_follow_each_other(known_truth: Store, tmp_path: Path) -> None:
    """The calibration net learns first and then stands still, running averages included; the others the other way."""
    settings = ["steps=8", "batch=2", "validation.every=4", "optimiser.ema=0.0", "options.calibrate_share=0.5"]
    settings += ["options.refiner_width=4", "options.discriminator_width=4", "options.samples=2"]
    run = make_run(tmp_path / "run", known_truth, *settings, method="refine")
    start = initial_state(run.record.config, known_truth, CPU).method.state_dict()
    checkpoints, stages = [], []

    def observe(progress: Progress) -> None:
        if progress.stage:
            stages.append((progress.step, progress.stage))
        elif progress.step == 4:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(run, known_truth, CPU, observe)
    checkpoints.append(torch.load(run.checkpoint, weights_only=True))
    assert checkpoints[0]["step"] == 4
    assert checkpoints[0]["best"] < math.inf
    assert train(run, known_truth, CPU, observe)
    checkpoints.append(torch.load(run.checkpoint, weights_only=True))
    middle, end = (checkpoint["method"] for checkpoint in checkpoints)

    def moved(before: dict, after: dict, part: str) -> bool:
        return any(not torch.equal(before[key], after[key]) for key in before if key.startswith(part))

    assert moved(start, middle, "calibrator")
    assert not moved(start, middle, "refiner")
    assert not moved(middle, end, "calibrator")
    assert moved(middle, end, "refiner")
    assert moved(middle, end, "discriminator")
    assert stages[-1] == (8, "refine")


def test_the_average_forgets_its_start() -> None:
    averaged, method = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)
    torch.nn.init.constant_(averaged.weight, 100.0)
    torch.nn.init.constant_(method.weight, 1.0)
    for step in range(200):
        update_average(averaged, method, 0.99, step)
    assert abs(averaged.weight.item() - 1.0) < 1.5


def test_statistics_are_averaged_with_the_weights_and_counters_copied() -> None:
    averaged, method = torch.nn.BatchNorm2d(1), torch.nn.BatchNorm2d(1)
    for step in range(400):
        method.running_mean.fill_(step % 2)  # type: ignore[operator]
        method.num_batches_tracked.fill_(step)  # type: ignore[operator]
        update_average(averaged, method, 0.99, step)
    assert averaged.running_mean == pytest.approx(0.5, abs=0.01)
    assert averaged.num_batches_tracked == 399
