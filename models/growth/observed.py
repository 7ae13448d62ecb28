"""A lesion as a prediction's folder has it: the document, and the volumes of all of the model's masks."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ambiseg.preprocessing.errors import DataError, InputError
from ambiseg.preprocessing.tables import parse_table

from ..metrics.volume_scores import VolumeForecast
from ..prediction.document import Document, LesionEntry
from ..results.result_documents import read_hypotheses


@dataclass(frozen=True)
class Observed:
    """A lesion of a prediction: the document, the lesion's entry, and its volumes as a weighted set."""

    document: Document
    lesion: LesionEntry
    volumes: VolumeForecast


def observe(folder: Path, lesion: int | None) -> Observed:
    """A lesion of a prediction's folder.

    Args:
        folder: as `ambiseg predict` wrote it.
        lesion: its number; None: the only one.

    Raises:
        InputError: there is no prediction, or no such lesion.
        DataError: a file is damaged, or the prediction is of a single slice or of an earlier version.
    """
    document = read_hypotheses(folder)
    known = {entry.number: entry for entry in document.lesions}
    if lesion is None and len(known) > 1:
        raise InputError(f"{folder} has lesions 1 to {len(known)}: give one `lesion` for each prediction.")
    number = min(known) if lesion is None and known else lesion
    if number not in known:
        raise InputError(f"{folder} has no lesion {number}: expected one of {', '.join(map(str, known)) or 'none'}.")
    entry = known[number]
    if entry.sizes is None:
        raise DataError(f"{folder} was written by an earlier version, without sizes.csv: predict the scan again.")
    return Observed(document, entry, _volumes(folder / entry.sizes))


def _volumes(file: Path) -> VolumeForecast:
    if not file.is_file():
        raise InputError(f"No file {file}: predict the scan again.")
    table = parse_table(file.read_bytes(), file, "columns weight, volume_mm3, ..., as `ambiseg predict` writes them")
    if not {"weight", "volume_mm3"} <= set(table.columns):
        raise DataError(
            f"{file} has no column volume_mm3: expected the masks of a scan with several slices, predicted by this version."
        )
    weights, volumes = (np.array([table.number(row, name) for row in table.rows]) for name in ("weight", "volume_mm3"))
    if (
        not len(weights)
        or (weights < 0).any()
        or (volumes < 0).any()
        or not math.isclose(weights.sum(), 1, abs_tol=1e-3)
    ):
        raise DataError(
            f"{file} is damaged: expected weights that sum to 1, and volumes of 0 or more. Predict the scan again."
        )
    return VolumeForecast(volumes, weights / weights.sum())
