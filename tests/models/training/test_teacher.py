"""Learning from a teacher's draws: what the student learns, what is drawn once, and which teachers are refused."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ambiseg.models.core.batch import Batch, Loss
from ambiseg.models.core.method import Method
from ambiseg.models.core.predictive import FinitePredictive
from ambiseg.models.methods.registry import known_as
from ambiseg.models.runs.config import make_config
from ambiseg.models.runs.run_folder import Run
from ambiseg.models.runs.run_record import RunRecord
from ambiseg.models.runs.trained import load_trained
from ambiseg.models.training.chosen_teacher import with_teacher
from ambiseg.models.training.crops.crop_source import Crops
from ambiseg.models.training.crops.taught_crops import TaughtMasks
from ambiseg.models.training.drawn_masks import TeacherRecord, taught_masks
from ambiseg.models.training.loop import train
from ambiseg.preprocessing.errors import AmbisegError, DataError, InputError, UsageError
from ambiseg.preprocessing.sources.papers.known_readers import write_known_truth
from ambiseg.preprocessing.store.store import IGNORE, Store
from ambiseg.preprocessing.volumes.planes import centre_crop

CPU = torch.device("cpu")
BRIGHT = 0.25
EMPTY = 0.8  # the teacher's probability of the empty mask; no reader of these data marks so little
TINY = ["data.crop=24", "steps=4", "batch=4", "validation.every=4", "validation.limit=4"]
NARROW = ["options.widths=[6,8]", "options.convs=1"]


class Bright(Method):
    """Nothing, or all bright pixels of the image, with the same probabilities for all images."""

    name, summary = "bright", "a teacher whose distribution is known"

    def __init__(self, channels: int, classes: int):
        super().__init__()
        self.channels, self.classes = channels, classes
        self.odds = nn.Parameter(torch.tensor([EMPTY, 1 - EMPTY]).log())

    def forward(self, image: Tensor) -> FinitePredictive:
        shape = (image[:, :1] > BRIGHT).float() * 2 - 1
        empty = torch.full_like(shape, -1)
        lesion = torch.stack((empty, shape), 1)
        masks = 9 * torch.cat((-lesion, lesion), 2)
        rows = torch.arange(len(image), device=image.device)[:, None]
        return FinitePredictive(self.odds.expand(len(image), -1), lambda index: masks[rows, index])

    def loss(self, batch: Batch, generator: torch.Generator) -> Loss:
        raise NotImplementedError


@pytest.fixture(autouse=True)
def known() -> Iterator[None]:
    with known_as(Bright):
        yield


@pytest.fixture
def teacher(known_truth: Store, tmp_path: Path) -> Path:
    return make_teacher(tmp_path / "teacher", known_truth)


def make_teacher(path: Path, store: Store, *settings: str) -> Path:
    record = RunRecord.of(make_config("bright", "known-truth", None, [*TINY, *settings]), store, "cpu")
    run = Run.create(path, record)
    run.save_weights(Bright(1, 2), 0)
    return path


def make_student(path: Path, store: Store, teacher: Path, *settings: str, method: str = "probunet") -> Run:
    config = make_config(method, "known-truth", None, [*TINY, *NARROW, f'teacher.model="{teacher}"', *settings])
    return Run.create(path, RunRecord.of(with_teacher(config, store), store, "cpu"))


def masks_of(run: Run, store: Store) -> np.ndarray:
    taught = taught_masks(run, store, CPU)
    assert taught is not None
    return taught.masks


def test_a_student_approaches_its_teacher_and_not_the_readers(
    known_truth: Store, teacher: Path, tmp_path: Path
) -> None:
    settings = ["steps=120", "batch=8", "validation.every=120", "optimiser.learning_rate=1e-2", "options.heads=4"]
    settings += ["options.gate='learned'"]
    run = make_student(tmp_path / "student", known_truth, teacher, *settings, method="mheads")
    train(run, known_truth, CPU)
    rows = known_truth.rows("test")
    atoms = load_trained(run.path, CPU).predictive(known_truth.images(rows)).atoms(4)
    lesion, bright = atoms.marginal[:, 1], torch.from_numpy(known_truth.images(rows)[:, 0] > BRIGHT)
    assert lesion[bright].mean().item() == pytest.approx(1 - EMPTY, abs=0.06)
    assert lesion[~bright].mean() < 0.06
    empty = (atoms.weights * (atoms.labels == 0).flatten(2).all(2)).sum(1)
    assert empty.mean().item() == pytest.approx(EMPTY, abs=0.1)


def test_masks_are_drawn_once_with_the_teachers_probabilities(
    known_truth: Store, teacher: Path, tmp_path: Path
) -> None:
    run = make_student(tmp_path / "student", known_truth, teacher, "teacher.draws=50")
    masks = masks_of(run, known_truth)
    assert masks.shape == (36, 50, 24, 24)
    assert (masks == 0).all((2, 3)).mean() == pytest.approx(EMPTY, abs=0.03)
    bright = known_truth.images(known_truth.rows("train")) > BRIGHT
    assert ((masks == 0) | (masks == bright)).all()
    record = TeacherRecord.model_validate_json((run.path / "teacher" / "masks.json").read_text())
    assert (record.name, record.method, record.draws, record.crops, record.size) == ("teacher", "bright", 50, 36, 24)
    assert record.weights_hash == run.record.config.teacher.weights == load_trained(teacher, CPU).weights_hash
    shutil.rmtree(teacher)  # it is no longer needed
    assert np.array_equal(masks, masks_of(run, known_truth))
    assert train(run, known_truth, CPU)


def test_the_seed_decides_the_masks(known_truth: Store, teacher: Path, tmp_path: Path) -> None:
    runs = [
        make_student(tmp_path / name, known_truth, teacher, f"seed={seed}")
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    ]
    first, again, other = (masks_of(run, known_truth) for run in runs)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_stopped_drawing_continues_to_the_same_masks(known_truth: Store, teacher: Path, tmp_path: Path) -> None:
    whole, parted = (make_student(tmp_path / name, known_truth, teacher) for name in ("whole", "parted"))

    def stop(done: int, total: int) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        taught_masks(parted, known_truth, CPU, stop)
    (kept,) = (parted.path / "teacher").glob("part-*.npz")
    time = kept.stat().st_mtime_ns
    assert np.array_equal(masks_of(parted, known_truth), masks_of(whole, known_truth))
    assert kept.stat().st_mtime_ns == time
    for run in (whole, parted):
        train(run, known_truth, CPU)
    assert whole.weights.read_bytes() == parted.weights.read_bytes()


def test_a_cut_part_is_drawn_again_and_a_changed_one_refused(known_truth: Store, teacher: Path, tmp_path: Path) -> None:
    run = make_student(tmp_path / "student", known_truth, teacher)
    masks = masks_of(run, known_truth)
    document, part = run.path / "teacher" / "masks.json", run.path / "teacher" / "part-00001.npz"
    part.write_bytes(part.read_bytes()[:100])
    with pytest.raises(DataError, match="have changed since they were drawn: remove"):
        taught_masks(run, known_truth, CPU)
    document.unlink()
    assert np.array_equal(masks_of(run, known_truth), masks)


def test_beyond_the_teachers_crop_and_where_readers_ignore_nothing_counts(known_truth: Store, tmp_path: Path) -> None:
    teacher = make_teacher(tmp_path / "teacher", known_truth, "data.crop=16")
    run = make_student(tmp_path / "student", known_truth, teacher, "data.crop=16")
    taught = taught_masks(run, known_truth, CPU)
    assert taught is not None
    assert taught.masks.shape == (36, 16, 16, 16)
    crops = Crops(torch.zeros(2, 1, 24, 24), torch.zeros(2, 4, 24, 24, dtype=torch.uint8), torch.ones(2, 4))
    found = taught.instead(crops, np.array([5, 3]))
    assert np.array_equal(centre_crop(found.masks.numpy(), 16), taught.masks[[5, 3]])
    outside = torch.ones(24, 24, dtype=torch.bool)
    outside[4:-4, 4:-4] = False
    assert (found.masks[..., outside] == IGNORE).all()
    assert (found.known, found.chances.shape) == (False, (2, 16))


def test_masks_are_mixed_with_readers_in_the_given_share() -> None:
    present = torch.tensor([[1.0, 0.0, 1.0, 1.0]])
    crops = Crops(torch.zeros(1, 1, 4, 4), torch.ones(1, 4, 4, 4, dtype=torch.uint8), present)
    found = TaughtMasks(np.zeros((1, 5, 4, 4), dtype=np.uint8), 0.3).instead(crops, np.array([0]))
    assert found.known
    assert found.masks[0, :, 0, 0].tolist() == [0] * 5 + [1] * 4
    assert found.chances[0].tolist() == pytest.approx([0.14] * 5 + [0.1, 0, 0.1, 0.1])


def edited(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    record = json.loads((path / "run.json").read_text())
    change(record)
    (path / "run.json").write_text(json.dumps(record))


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"class_names": ["background", "cyst"]}, DataError, "The teacher knows the classes background, cyst, but"),
        ({"unit": "HU", "low": -1024, "high": 3071}, DataError, "The teacher reads intensities in HU, but"),
        ({"content_hash": "e" * 64}, UsageError, "and may have seen its test cases: choose another `teacher`"),
    ],
)
def test_a_teacher_of_other_data_is_refused_before_a_run_is_made(
    known_truth: Store, teacher: Path, tmp_path: Path, change: dict[str, Any], kind: type[AmbisegError], message: str
) -> None:
    edited(teacher, lambda record: record["data"].update(change))
    with pytest.raises(kind, match=message):
        make_student(tmp_path / "student", known_truth, teacher)
    assert not (tmp_path / "student").exists()


def test_another_data_set_may_be_allowed_and_is_recorded(known_truth: Store, teacher: Path, tmp_path: Path) -> None:
    edited(teacher, lambda record: record["data"].update(content_hash="e" * 64))
    run = make_student(tmp_path / "student", known_truth, teacher, "teacher.other_data=true")
    masks_of(run, known_truth)
    record = json.loads((run.path / "teacher" / "masks.json").read_text())
    assert (record["trained_on"], record["data"]) == ("e" * 64, known_truth.content_hash)


def test_a_teacher_that_sees_too_little_has_gone_or_has_changed_is_refused(
    known_truth: Store, teacher: Path, tmp_path: Path
) -> None:
    small = make_teacher(tmp_path / "small", known_truth, "data.crop=16")
    with pytest.raises(
        UsageError, match=r"sees crops of 16 pixels: expected data\.crop, which is 24, to be at most that"
    ):
        make_student(tmp_path / "student", known_truth, small)
    with pytest.raises(InputError, match=r"The teacher cannot be used\. No run at"):
        make_student(tmp_path / "student", known_truth, tmp_path / "nowhere")
    run = make_student(tmp_path / "student", known_truth, teacher)
    other = Bright(1, 2)
    nn.init.zeros_(other.odds)
    Run.open(teacher).save_weights(other, 0)
    with pytest.raises(UsageError, match="other weights than the run was started with"):
        train(run, known_truth, CPU)


def test_of_several_processes_none_draws(known_truth: Store, teacher: Path, tmp_path: Path) -> None:
    run = make_student(tmp_path / "student", known_truth, teacher)
    with pytest.raises(UsageError, match="start the run in one process first"):
        taught_masks(run, known_truth, CPU, alone=False)


def test_a_teacher_of_crops_that_are_made_for_every_step_is_refused(tmp_path: Path, teacher: Path) -> None:
    store = write_known_truth(tmp_path / "other", crops=20, size=24)
    dealt = Store(store.path, store.manifest.model_copy(update={"deal": 10}))
    config = make_config("probunet", "known-truth", None, [*TINY, *NARROW, f'teacher.model="{teacher}"'])
    with pytest.raises(UsageError, match="draws new images for every step"):
        with_teacher(config, dealt)
