"""Shared by all tests: one thread for torch, no drawing, the folder of real data, small stores, a model that is known."""

import base64
import json
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import torch

from ambiseg.models.core.batch import Batch, Loss
from ambiseg.models.core.method import Method
from ambiseg.models.core.predictive import SampledPredictive
from ambiseg.models.evaluation.summary_document import EvaluationSummary
from ambiseg.models.methods.constructor import options_model
from ambiseg.models.methods.registry import build, find_method
from ambiseg.models.runs.config import make_config
from ambiseg.models.runs.run_folder import Run
from ambiseg.models.runs.run_record import DataRecord, RunRecord
from ambiseg.models.runs.trained import Trained, load_trained
from ambiseg.models.training.loop import train
from ambiseg.preprocessing.sources.papers.known_readers import write_known_truth
from ambiseg.preprocessing.store.intensity import Channel
from ambiseg.preprocessing.store.store import Store

torch.set_num_threads(1)
hypothesis.settings.register_profile("any machine", deadline=None)  # a first call imports, and a busy machine is slow
hypothesis.settings.load_profile("any machine")

# A shell that runs tests in the background has them ignore these, and so would every command that a test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

NARROW = {"widths": [6, 8], "convs": 1}  # options of a small, fast net
BLANK_PNG = base64.b64decode(  # of one pixel
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYGBgAAAABQABpfZFQAAAAABJRU5ErkJggg=="
)
BLANK_SVG = b'<svg xmlns="http://www.w3.org/2000/svg"/>'


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What tests remember of DICOM headers goes with them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AMBISEG_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def undrawn(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures are composed but blank, except in tests marked `drawn`: drawing takes most of the time of short trainings.

    AMBISEG_DRAW_ALL has them drawn in all tests.
    """
    if request.node.get_closest_marker("drawn") is None and not os.environ.get("AMBISEG_DRAW_ALL"):
        monkeypatch.setattr("matplotlib.figure.Figure.savefig", _save_blank)


def _save_blank(figure: object, target: Any, **choice: Any) -> None:
    content = BLANK_SVG if choice.get("format") == "svg" else BLANK_PNG
    if isinstance(target, str | Path):
        Path(target).write_bytes(content)
    else:
        target.write(content)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with real data, named by AMBISEG_REAL_DATA."""
    folder = os.environ.get("AMBISEG_REAL_DATA")
    if not folder:
        pytest.skip("AMBISEG_REAL_DATA is not set")
    return Path(folder)


@pytest.fixture(scope="session")
def known_truth(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """60 synthetic lesions of 24 x 24 pixels with four readers, split 60/20/20 by patient."""
    return write_known_truth(tmp_path_factory.mktemp("known") / "store", crops=60, size=24)


@pytest.fixture(scope="session")
def read_lesions(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """800 synthetic lesions of 32 x 32 pixels with four readers: enough for a narrow net to learn what readers do."""
    return write_known_truth(tmp_path_factory.mktemp("read") / "store", crops=800)


@pytest.fixture(scope="session")
def lesions_truth(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """400 other lesions of the same kind, with all masks that a reader may draw and the masks' odds."""
    return write_known_truth(tmp_path_factory.mktemp("truth") / "store", crops=400, readers=None, seed=1)


@pytest.fixture
def train_narrow(read_lesions: Store, tmp_path: Path) -> Callable[..., Trained]:
    """A function that trains a narrow net of a method on `read_lesions`, into the folder `run` of the test's own."""

    def trained(method: str, *settings: str, run: str = "run") -> Trained:
        same = ["hardware.precision=float32", "data.crop=32", "data.readers=4", "options.widths=[8,16,32]"]
        config = make_config(method, "demo", settings=[*same, "steps=500", "validation.every=250", *settings])
        data = DataRecord.of(read_lesions)
        record = RunRecord(version="test", torch=torch.__version__, device="cpu", config=config, data=data)
        made = Run.create(tmp_path / run, record)
        train(made, read_lesions, torch.device("cpu"))
        return load_trained(made.path, torch.device("cpu"))

    return trained


@pytest.fixture
def ambiseg(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run the command line in this process: arguments in, exit code, stdout and stderr (lines joined) out."""
    from ambiseg.main import main

    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as leaving:
            main([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        return int(leaving.value.code or 0), captured.out, captured.err

    return run


class Thresholds(SampledPredictive):
    """Draws that mark what is brighter than a level between .3 and .6, or nothing in one of five."""

    def __init__(self, image: torch.Tensor, classes: int):
        self.image, self.classes = image[:, 0, None, None], classes

    def chunks(self, n: int, generator: torch.Generator | None, tied: bool) -> Iterator[torch.Tensor]:
        """All n at once."""
        chance = torch.rand((1 if tied else len(self.image), n, 2), generator=generator)[..., None, None, None]
        level = torch.where(chance[:, :, 1] < 0.2, 2.0, 0.3 + 0.3 * chance[:, :, 0])
        lesion = (self.image - level) * 1000
        yield torch.cat([torch.zeros_like(lesion), lesion] + [lesion - 1e6] * (self.classes - 2), 2)


class ThresholdModel(Method):
    """A method whose distribution over masks is known by construction; nothing in it is trained."""

    def __init__(self, channels: int = 1, classes: int = 2):
        super().__init__()
        self.channels, self.classes = channels, classes

    def forward(self, image: torch.Tensor) -> Thresholds:
        """Thresholds of the first channel."""
        return Thresholds(image, self.classes)

    def loss(self, batch: Batch, generator: torch.Generator) -> Loss:
        """There is nothing to train."""
        raise NotImplementedError


@pytest.fixture(scope="session")
def threshold_model() -> Callable[..., Trained]:
    """A function that gives a `Trained` threshold model for crops of a size, pixel spacing and intensity unit."""

    def make(
        crop: int = 64,
        spacing_mm: float | None = 0.5,
        unit: str = "HU",
        low: float = -1024,
        high: float = 3071,
        classes: tuple[str, ...] = ("background", "lesion"),
        channels: int = 1,
        names: tuple[str, ...] = (),
        **data_facts: object,
    ) -> Trained:
        config = make_config("probunet", "demo", flags={"data.crop": crop})
        data = DataRecord(
            path="data",
            name="made",
            content_hash="0" * 64,
            channels=channels,
            class_names=classes,
            spacing_mm=spacing_mm,
            unit=unit,
            low=low,
            high=high,
            described=tuple(Channel(name, low, high, low, high) for name in names),
            **data_facts,
        )
        record = RunRecord(version="0", torch="0", device="cpu", config=config, data=data)
        method = ThresholdModel(channels, len(classes))
        return Trained(method, record, torch.device("cpu"), "threshold-001", "f" * 64)

    return make


@pytest.fixture
def stored_run(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes the evaluation of a run with given figures of its cases, and returns the run's folder.

    Figures are lists with a number or None a case; `patients` default to one a case; `about` changes the summary.
    """

    def write(
        name: str,
        *,
        folder: Path | None = None,
        patients: list[str] | None = None,
        about: dict | None = None,
        **figures: list,
    ) -> Path:
        run = folder or tmp_path / name
        evaluation = run / "evaluation-test"
        evaluation.mkdir(parents=True)
        cases = len(next(iter(figures.values())))
        said = {
            "ambiseg": "0.4.0", "run": name, "method": "probunet", "weights_hash": "f" * 64,
            "calibrated": None, "trained_on": "d" * 64, "data": "blobs",
            "data_hash": "d" * 64, "split": "test", "cases": cases, "crop": [32, 32],
            "spacing_mm": 0.5, "known_odds": False, "scored": None,
            "samples": 100, "seed": 0, "weights": "draws", "estimators": {"ged*_v": "squared GED, V-statistic"},
        }  # fmt: skip
        EvaluationSummary.model_validate(said | (about or {})).write(evaluation)
        patients = patients or [f"p{case}" for case in range(cases)]
        lines = [["row", "patient", *figures]]
        lines += [[row, patients[row], *(figures[n][row] for n in figures)] for row in range(cases)]
        text = "\n".join(",".join("" if cell is None else str(cell) for cell in line) for line in lines)
        (evaluation / "cases.csv").write_text(text + "\n")
        return run

    return write


@pytest.fixture
def made_run(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes the run of a narrow, untrained model of HU crops of 16 pixels, and returns its folder.

    `options` are the method's, `settings` the run's ("a.b=value"), `probabilities` gives it another segmenter's to read.
    """

    def make(
        method: str = "probunet",
        options: dict | None = None,
        *,
        name: str = "toy",
        settings: Sequence[str] = (),
        probabilities: bool = False,
        data: Store | None = None,
    ) -> Path:
        known = options_model(find_method(method)).model_fields
        chosen = {key: value for key, value in NARROW.items() if key in known} | (options or {})
        narrow = [f"options.{key}={json.dumps(value)}" for key, value in chosen.items()]
        config = make_config(method, "known-truth", None, ["data.crop=16", *narrow, *settings])
        about = DataRecord(
            path=str(tmp_path / "somewhere" / "store"),
            name="made-lesions",
            content_hash="d" * 64,
            channels=1,
            class_names=("background", "lesion"),
            probabilities=probabilities,
            spacing_mm=0.5,
            unit="HU",
            low=-1024,
            high=3071,
        )
        record = RunRecord(
            version="0.1.0",
            torch=torch.__version__,
            device="cpu",
            config=config,
            data=about if data is None else DataRecord.of(data),
        )
        run = next(path for n in range(99) if not (path := tmp_path / f"made{n or ''}" / name).exists())
        torch.manual_seed(0)
        Run.create(run, record).save_weights(build(method, about.inputs, 2, config.options), 0)
        return run

    return make
