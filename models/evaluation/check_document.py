"""`calibration/check.json`: what a run's calibration was fitted on, and what it does on cases that it was not fitted on."""

from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from ambiseg.preprocessing.documents import read_json, write_json
from ambiseg.preprocessing.store.store import Store

from ..core.calibration import Calibration
from ..metrics.reliability import BinsSummary
from ..metrics.summary import FigureSummary
from ..runs.trained import Trained
from .calibrate_run import Fit
from .judgement import Judgement

FOLDER, CHECK = "calibration", "check.json"


class CredibleSet(BaseModel):
    """Credible sets of one level, means over the cases: the probability stated, the share of readers held, the size."""

    model_config = ConfigDict(frozen=True)

    level: FiniteFloat
    stated: FiniteFloat
    held: FiniteFloat
    size: FiniteFloat


class JudgedFigures(BaseModel):
    """The figures of a judgement: NLL (nats per reader), Brier score, and ECE of all hypotheses and of the first."""

    model_config = ConfigDict(frozen=True)

    nll: FigureSummary
    brier: FigureSummary
    ece: FigureSummary
    top_ece: FigureSummary


class JudgementSummary(BaseModel):
    """A `Judgement`, as documents have it."""

    model_config = ConfigDict(frozen=True)

    figures: JudgedFigures
    reliability: dict[str, BinsSummary] = {}
    credible_sets: list[CredibleSet] = []

    @classmethod
    def of(cls, judged: Judgement) -> "JudgementSummary":
        """The document's form of a judgement."""
        figures = {name: FigureSummary.model_validate(one.summary()) for name, one in judged.figures.items()}
        return cls(
            figures=JudgedFigures(**figures),
            reliability={name: BinsSummary.model_validate(one.summary()) for name, one in judged.bins.items()},
            credible_sets=[CredibleSet.model_validate(asdict(one)) for one in judged.coverage],
        )


class FittedCalibration(Calibration):
    """A calibration, what of it was fitted, and the NLL (nats per reader) of held-out patients for each choice."""

    model_config = ConfigDict(extra="ignore")

    what: str = ""
    held_out_nll: dict[str, FiniteFloat] = Field(default_factory=dict)
    cases: int = 0
    patients: int = 0

    @property
    def calibration(self) -> Calibration:
        """The calibration alone, as `calibration.json` has it."""
        return Calibration.model_validate(self.model_dump(include=set(Calibration.model_fields)))


class CalibrationCheck(BaseModel):
    """The whole of `check.json`: a fit on the validation split, and its judgement on another split, before and after."""

    model_config = ConfigDict(frozen=True)

    ambiseg: str = ""
    run: str = ""
    method: str = ""
    data: str = ""
    fitted: FittedCalibration
    checked_on: str
    before: JudgementSummary
    after: JudgementSummary

    @classmethod
    def of(
        cls, trained: Trained, store: Store, split: str, fit: Fit, before: Judgement, after: Judgement
    ) -> "CalibrationCheck":
        """The check of a fit on a split of `store`."""
        fitted = {
            **fit.calibration.model_dump(),
            "what": fit.chosen,
            "held_out_nll": fit.held_out,
            "cases": fit.cases,
            "patients": fit.patients,
        }
        return cls(
            ambiseg=version("ambiseg"),
            run=trained.name,
            method=trained.method.name,
            data=store.manifest.name,
            fitted=FittedCalibration.model_validate(fitted),
            checked_on=split,
            before=JudgementSummary.of(before),
            after=JudgementSummary.of(after),
        )

    def write(self, folder: Path) -> None:
        """Write `check.json` into a folder."""
        write_json(folder / CHECK, self)

    @classmethod
    def read(cls, run: Path) -> "CalibrationCheck | None":
        """The check in a run's folder, None where there is none. Raises DataError when it is damaged."""
        file = run / FOLDER / CHECK
        return read_json(file, cls, f"run `ambiseg calibrate {run}` again") if file.is_file() else None
