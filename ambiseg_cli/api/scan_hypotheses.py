"""What `ambiseg.predict` returns: the hypotheses of a scan's lesions, as arrays, images and files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ambiseg.models.prediction.document import Document
from ambiseg.models.prediction.inference import LesionHypotheses
from ambiseg.models.prediction.predict_scan import Exports, Prediction
from ambiseg.models.results.exports import check_exports
from ambiseg.models.results.folder import check_folder, write_prediction
from ambiseg.models.runs.trained import Trained
from ambiseg.preprocessing.errors import UsageError
from ambiseg.preprocessing.scans.scan import Scan

if TYPE_CHECKING:
    import nibabel as nib


@dataclass(frozen=True)
class ScanHypotheses:
    """The ranked hypotheses of each lesion of a scan; `ambiseg.predict` returns it.

    Attributes:
        scan: the scan. `scan.volume` holds its voxels [Z, Y, X] in display orientation (Z to the head, Y to the back, X to the
            left), with the `affine` to mm (RAS).
        trained: the model.
        prediction: the hypotheses and their document.
    """

    scan: Scan
    trained: Trained
    prediction: Prediction

    @property
    def lesions(self) -> Sequence[LesionHypotheses]:
        """The lesions, in the order in which they were given or, in a search, by descending score."""
        return self.prediction.lesions

    @property
    def document(self) -> Document:
        """The content of hypotheses.json: sizes in mm, probabilities, warnings (docs/reference/hypotheses-json.md)."""
        return self.prediction.document

    @property
    def figures(self) -> Mapping[str, Any]:
        """The `document` in plain values, as JSON has them."""
        return self.document.plain()

    def mask(self, rank: int = 1, lesion: int = 1) -> "nib.Nifti1Image":
        """The mask of a hypothesis.

        Args:
            rank: which hypothesis, from 1 (the most probable).
            lesion: which lesion, from 1.

        Returns:
            An image of uint8 labels on the scan's own grid.

        Raises:
            UsageError: if there is no such hypothesis or lesion.
        """
        result = self._lesion(lesion)
        return self._image(self._ranked(result, rank, lesion), result)

    def labels(self, rank: int = 1, lesion: int = 1) -> NDArray[np.uint8]:
        """The mask of a hypothesis as an array [Z, Y, X] of labels, in the order of `scan.volume.array`.

        Args:
            rank: which hypothesis, from 1 (the most probable).
            lesion: which lesion, from 1.

        Raises:
            UsageError: if there is no such hypothesis or lesion.
        """
        result = self._lesion(lesion)
        whole: NDArray[np.uint8] = self.scan.volume.filled(self._ranked(result, rank, lesion), result.box)
        return whole

    def probability(self, lesion: int = 1) -> "nib.Nifti1Image":
        """Each voxel's probability of being lesion.

        Args:
            lesion: which lesion, from 1.

        Returns:
            A float32 image on the scan's own grid.

        Raises:
            UsageError: if there is no such lesion.
        """
        result = self._lesion(lesion)
        return self._image(result.probability, result)

    def save(
        self,
        folder: Path | str,
        *,
        formats: Sequence[str] = (),
        seg: str = "all",
        layout: str = "plain",
        report: str = "single",
        overwrite: bool = False,
    ) -> Sequence[str]:
        """Write the folder that `ambiseg predict` writes, whole or not at all.

        Args:
            folder: the folder to write. An earlier prediction there is replaced.
            formats: formats to write in addition to NIfTI: "dicom-seg", "dicom-sr" (which implies "dicom-seg"), "dicom-pm",
            "dicom-sc", "seg-nrrd", "png".
            seg: how "dicom-seg" holds a lesion's hypotheses: "all" in one object, or "each" in its own.
            layout: "plain" names, or "bids": masks and maps under names of BIDS derivatives.
            report: "single": a report.html that needs no other file; "shared": one whose viewer (2.3 MB) and style
                lie in a folder `report-files` beside `folder`, once for all such reports; "none": no report.
            overwrite: replace an earlier prediction even if it also holds other files.

        Returns:
            Sentences about a picture, the report or a format that could not be made; none if the folder is complete.

        Raises:
            UsageError: if the folder may not be replaced, or a format does not suit the scan.
        """
        check_folder(Path(folder), overwrite)
        exports = Exports(tuple(formats), seg, layout, report)
        check_exports(self.scan, exports)
        return write_prediction(Path(folder), self.scan, self.prediction, self.trained, exports).missing

    def _ranked(self, result: LesionHypotheses, rank: int, lesion: int) -> NDArray[np.uint8]:
        """The mask of a hypothesis of a lesion, in its box."""
        masks = result.hypotheses.masks
        if not 1 <= rank <= len(masks):
            raise UsageError(f"No hypothesis {rank}: lesion {lesion} has {len(masks)}, counted from 1.")
        ranked: NDArray[np.uint8] = masks[rank - 1]
        return ranked

    def _lesion(self, number: int) -> LesionHypotheses:
        if not 1 <= number <= len(self.lesions):
            raise UsageError(f"No lesion {number}: there are {len(self.lesions)}, counted from 1.")
        return self.lesions[number - 1]

    def _image(self, array: NDArray[Any], result: LesionHypotheses) -> "nib.Nifti1Image":
        from ambiseg.preprocessing.scans.formats.nifti_volume import image_on_grid

        return image_on_grid(self.scan.volume.filled(array, result.box), self.scan.grid)
