"""`calibration/check.json`: what a run's calibration was fitted on, and what it does on cases that it was not fitted on."""

from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from pydantic import BaseModel, ConfigDict, FiniteFloat

from ambiseg.preprocessing.documents import read_json, write_json
from ambiseg.preprocessing.store.store import Store

from ..core.calibration import Calibration
from ..metrics.reliability import BinsSummary, bins_summaries
from ..metrics.summary import FigureSummary, figure_summaries
from ..runs.trained import Trained
from .calibrate_run import Check, Fit, Pair
from .fitting import Fitted
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
        return cls(
            figures=JudgedFigures(**figure_summaries(judged.figures)),
            reliability=bins_summaries(judged.bins),
            credible_sets=[CredibleSet.model_validate(asdict(one)) for one in judged.coverage],
        )


class FitSummary(BaseModel):
    """How a calibration was fitted: on how many cases of how many patients, and how patients left out were predicted.

    `held_out` has, for "presence" and "size", the score (nats per reader) without and with a correction.
    """

    model_config = ConfigDict(frozen=True)

    cases: int
    patients: int
    held_out: dict[str, tuple[FiniteFloat, FiniteFloat]] = {}

    @classmethod
    def of(cls, fitted: Fitted) -> "FitSummary":
        """The document's form of a fit."""
        return cls(cases=fitted.events, patients=fitted.patients, held_out=fitted.held_out)


class PairSummary(BaseModel):
    """A fit, and the judgement of the hypotheses of another split before and after it."""

    model_config = ConfigDict(frozen=True)

    fit: FitSummary
    cases: int
    patients: int
    before: JudgementSummary
    after: JudgementSummary

    @classmethod
    def of(cls, fitted: Fitted, pair: Pair) -> "PairSummary":
        """The document's form of a pair of judgements."""
        return cls(
            fit=FitSummary.of(fitted),
            cases=pair.cases,
            patients=pair.patients,
            before=JudgementSummary.of(pair.before),
            after=JudgementSummary.of(pair.after),
        )


class CalibrationCheck(BaseModel):
    """The whole of `check.json`: a fit on the validation split, and its judgement on another split, by slice and by lesion.

    `worse` names the figures that the calibration made worse there; `used` says whether it became the model's own all the same
    or because there are none.
    """

    model_config = ConfigDict(frozen=True)

    ambiseg: str = ""
    run: str = ""
    method: str = ""
    data: str = ""
    fitted: Calibration
    checked_on: str
    worse: dict[str, list[str]] = {}
    used: bool = True
    slices: PairSummary
    lesions: PairSummary | None = None

    @classmethod
    def of(cls, trained: Trained, store: Store, fit: Fit, check: Check, *, used: bool = True) -> "CalibrationCheck":
        """The check of a fit on a split of `store`; `used`: whether the model uses the calibration from now on."""
        return cls(
            ambiseg=version("ambiseg"),
            run=trained.name,
            method=trained.method.name,
            data=store.manifest.name,
            fitted=fit.calibration,
            checked_on=check.split,
            worse=check.worse(),
            used=used,
            slices=PairSummary.of(fit.slices, check.slices),
            lesions=None
            if check.lesions is None or fit.lesions is None
            else PairSummary.of(fit.lesions, check.lesions),
        )

    def write(self, folder: Path) -> None:
        """Write `check.json` into a folder."""
        write_json(folder / CHECK, self)

    @classmethod
    def read(cls, run: Path) -> "CalibrationCheck | None":
        """The check in a run's folder, None where there is none. Raises DataError when it is damaged."""
        file = run / FOLDER / CHECK
        return read_json(file, cls, f"run `ambiseg calibrate {run}` again") if file.is_file() else None
