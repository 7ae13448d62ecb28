"""`ambiseg.predict` in Python: what the command does, with arrays instead of files."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ambiseg.models.bundle.find import find_model
from ambiseg.models.core.hypotheses import MERGE
from ambiseg.models.prediction.inference import LesionHypotheses, Ranking
from ambiseg.models.prediction.lesion_points import Point
from ambiseg.models.prediction.places import Places
from ambiseg.models.prediction.predict_scan import Prediction, Request, predict_scan
from ambiseg.models.results.folder import check_folder, check_formats, write_prediction
from ambiseg.models.runs.hardware import resolve_device
from ambiseg.models.runs.trained import Trained, load_trained
from ambiseg.preprocessing.errors import UsageError
from ambiseg.preprocessing.scans.scan import Scan, open_scan, scan_of_image

if TYPE_CHECKING:
    import nibabel as nib


@dataclass(frozen=True)
class ScanHypotheses:
    """What a model says of a scan: `lesions`, each with its ranked `hypotheses`, and the scan's geometry.

    `figures` is the content of hypotheses.json: sizes in mm, probabilities, warnings.
    """

    scan: Scan
    trained: Trained
    prediction: Prediction

    @property
    def lesions(self) -> Sequence[LesionHypotheses]:
        """The lesions in the order in which they were named or, in a search, by score."""
        return self.prediction.lesions

    @property
    def figures(self) -> Mapping[str, Any]:
        """The content of hypotheses.json (docs/reference/hypotheses-json.md)."""
        return self.prediction.document.plain()

    def mask(self, rank: int = 1, lesion: int = 1) -> "nib.Nifti1Image":
        """The mask of a hypothesis (uint8 labels) on the scan's own grid; ranks and lesions count from 1."""
        result = self._lesion(lesion)
        masks = result.hypotheses.masks
        if not 1 <= rank <= len(masks):
            raise UsageError(f"No hypothesis {rank}: lesion {lesion} has {len(masks)}, counted from 1.")
        return self._image(masks[rank - 1], result)

    def probability(self, lesion: int = 1) -> "nib.Nifti1Image":
        """Each voxel's probability of being lesion (float32) on the scan's own grid."""
        result = self._lesion(lesion)
        return self._image(result.probability, result)

    def save(self, folder: Path | str, *, formats: Sequence[str] = (), overwrite: bool = False) -> Sequence[str]:
        """Write the folder that `ambiseg predict` writes; `formats` beside NIfTI: dicom-seg, seg-nrrd.

        Returns sentences about what could not be made, a picture, the report or a format, none when the folder is complete.
        """
        check_folder(Path(folder), overwrite)
        check_formats(self.scan, formats)
        return write_prediction(Path(folder), self.scan, self.prediction, self.trained, formats=formats).missing

    def _lesion(self, number: int) -> LesionHypotheses:
        if not 1 <= number <= len(self.lesions):
            raise UsageError(f"No lesion {number}: there are {len(self.lesions)}, counted from 1.")
        return self.lesions[number - 1]

    def _image(self, array: NDArray, result: LesionHypotheses) -> "nib.Nifti1Image":
        from ambiseg.preprocessing.scans.formats.nifti_volume import image_on_grid

        return image_on_grid(self.scan.volume.filled(array, result.box), self.scan.grid)


def load_model(model: str | Path | None = None, device: str = "auto", *, calibrated: bool = True) -> Trained:
    """A trained model: a run folder, an installed model's name, or None for the newest run; to be used many times."""
    return load_trained(find_model(model), resolve_device(device), calibrated=calibrated)


def predict(
    image: Any,
    model: Trained | str | Path | None = None,
    *,
    top: int = 8,
    at: Sequence[Point] = (),
    points: Path | str | None = None,
    roi: Path | str | None = None,
    lung_mask: Path | str | None = None,
    candidates: int = 5,
    draws: int = 256,
    merge: float = MERGE,
    depth_mm: float | None = None,
    seed: int = 0,
    device: str = "auto",
    series: str | None = None,
    probabilities: Path | str | None = None,
) -> ScanHypotheses:
    """The `top` most probable masks of each lesion in a scan, each with its probability.

    image: a path (as for the command), a nibabel image, or a SimpleITK image. model: as for `load_model`, or what that
    gave. at: points (x, y, z) in mm RAS; without them, `points` or `roi` a small scan is taken for a lesion's crop and a
    chest CT is searched for `candidates`. The other settings are the command's. Raises `AmbisegError`s.
    """
    if any(np.ndim(point) != 1 or len(point) != 3 for point in at):
        raise UsageError(f"at = {at!r}: expected a list of points (x, y, z) in mm, as in at=[(-42.5, 18, 120)].")
    if candidates < 1:
        raise UsageError(f"candidates = {candidates}: expected at least 1.")
    trained = model if isinstance(model, Trained) else load_model(model, device)
    places = Places(
        at=[(float(x), float(y), float(z)) for x, y, z in at],
        points=_path(points),
        roi=_path(roi),
        lung_mask=_path(lung_mask),
        candidates=candidates,
    )
    request = Request(places, Ranking(top, draws, merge, depth_mm, seed), _path(probabilities), series)
    opened = (
        open_scan(Path(image), series=series) if isinstance(image, str | Path) else nullcontext(scan_of_image(image))
    )
    with opened as scan:
        return ScanHypotheses(scan, trained, predict_scan(trained, scan, request))


def _path(path: Path | str | None) -> Path | None:
    return None if path is None else Path(path)
