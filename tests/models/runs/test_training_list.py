"""What trained a model: hashes that find the same images and patients again, and count them."""

import numpy as np
import pytest
import torch

from ambiseg.models.evaluation.evaluate_run import evaluate
from ambiseg.models.runs.config import make_config
from ambiseg.models.runs.run_folder import Run
from ambiseg.models.runs.run_record import RunRecord
from ambiseg.models.runs.trained import load_trained
from ambiseg.models.runs.training_list import FILE, TrainingList, seen
from ambiseg.models.training.loop import train
from ambiseg.preprocessing.errors import DataError
from ambiseg.preprocessing.store.store import Store

SHORT = ("steps=1", "data.crop=16", "options.widths=[4,6]", "options.convs=1", "validation.limit=2")


def test_training_crops_are_found_again_and_no_others(known_truth: Store) -> None:
    known = TrainingList.of(known_truth)
    rows = {split: known_truth.rows(split) for split in ("train", "val", "test")}
    assert len(known.images) == len(rows["train"])
    assert not any(name in known.model_dump_json() for name in known_truth.column("patient"))
    found = seen(known, known_truth, rows["train"])
    assert (found.crops, found.of_crops) == (len(rows["train"]), len(rows["train"]))
    assert found.patients == found.of_patients == len(known.patients)
    assert not seen(known, known_truth, rows["test"])
    mixed = seen(known, known_truth, np.concatenate([rows["train"][:3], rows["test"]]))
    assert (mixed.crops, mixed.of_crops) == (3, 3 + len(rows["test"]))
    assert "3 of 15 crops of mine were in the model's training, 1 of 4 patients by their identifiers" in mixed.sentence(
        "mine"
    )


def test_patients_alone_are_a_suspicion(known_truth: Store) -> None:
    known = TrainingList.of(known_truth).model_copy(update={"images": ()})
    found = seen(known, known_truth, known_truth.rows("train")[:4])
    assert (found.crops, found.patients, bool(found)) == (0, 1, True)
    assert "but 1 of 1 patient by their identifiers: if these are the same patients" in found.sentence("test")


def test_a_run_keeps_its_list_and_an_evaluation_counts(known_truth: Store, tmp_path) -> None:
    config = make_config("probunet", "known-truth", None, SHORT)
    run = Run.create(tmp_path / "run", RunRecord.of(config, known_truth, "cpu"))
    train(run, known_truth, torch.device("cpu"))
    assert TrainingList.read(run.path) == TrainingList.of(known_truth)
    trained = load_trained(run.path, torch.device("cpu"))
    about = evaluate(trained, known_truth, "train", samples=16, limit=3).about
    assert about.seen is not None
    assert (about.seen.crops, about.seen.patients, about.seen_before) == (3, 3, True)
    assert about.notes[0].startswith("3 of 3 crops of train were in the model's training")
    about = evaluate(trained, known_truth, "test", samples=16, limit=3).about
    assert (about.seen is not None, about.seen_before) == (True, False)
    (run.path / FILE).unlink()
    assert evaluate(trained, known_truth, "train", samples=16, limit=1).about.seen is None
    (run.path / FILE).write_text('{"images": ["C:\\\\x"]}')
    with pytest.raises(DataError, match=r"trained_on\.json"):
        evaluate(trained, known_truth, "train", samples=16, limit=1)


def test_a_model_that_started_from_another_has_seen_what_that_one_saw() -> None:
    one, other = (
        TrainingList(patients=("a" * 12,), images=("1" * 12, "3" * 12)),
        TrainingList(images=("2" * 12, "1" * 12)),
    )
    assert one.joined(other).images == ("1" * 12, "2" * 12, "3" * 12)
    assert other.joined(one).patients == ("a" * 12,)
