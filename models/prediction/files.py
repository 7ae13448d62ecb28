"""The folder that a prediction leaves: masks and maps on the scan's own grid, tables, pictures and a report.

One lesion lies directly in the folder, several in `lesion_01`, `lesion_02`, ... The same results give the same bytes in
every file but run.json, which says when and how fast they were made, and the DICOM files, whose UIDs are fresh.
"""

import json
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from ambiseg.preprocessing.errors import UsageError
from ambiseg.preprocessing.files import whole_folder
from ambiseg.preprocessing.nifti import write_on_grid
from ambiseg.preprocessing.scan import Scan, open_scan

from ..preview import save_preview
from ..run import Trained
from ..viewer.page import write_report
from .content import MAPS, table
from .doubts import in_hounsfield
from .exports import write_dicom, write_nrrd
from .inference import LesionHypotheses
from .predict import Prediction, Progress, Request, predict_scan, silent
from .stopwatch import Stopwatch, peak_memory_mb

INDEX = "hypotheses.json"
FORMATS = ("dicom-seg", "seg-nrrd")  # beside NIfTI
OURS = re.compile(
    r"(lesion_\d+/)?((hyp_\d+|probability|entropy|aleatoric)\.nii\.gz|preview\.png|(hypotheses|probability)\.dcm"
    r"|hypotheses\.seg\.nrrd)|lesion_\d+|hypotheses\.(json|csv)|run\.json|report\.html"
)


def check_folder(folder: Path, overwrite: bool) -> None:
    """Raise `UsageError` unless `folder` may be written: absent, empty, or a former prediction.

    A former prediction that has got other files needs `overwrite`; a folder of anything else is never replaced.
    """
    if not folder.exists():
        return
    held = [file.relative_to(folder).as_posix() for file in folder.rglob("*")] if folder.is_dir() else ["a file"]
    if held and INDEX not in held:
        raise UsageError(f"{folder} exists and is no former prediction: choose another folder with -o.")
    others = [name for name in held if not OURS.fullmatch(name)]
    if others and not overwrite:
        raise UsageError(
            f"{folder} is a former prediction that also holds {others[0]}, which would be lost: choose another folder "
            "with -o, or replace it with --overwrite."
        )


def predict_to_folder(
    trained: Trained,
    path: Path,
    folder: Path,
    request: Request = Request(),
    *,
    name: str | None = None,
    watch: Stopwatch | None = None,
    on_search: Progress = silent,
    on_lesion: Progress = silent,
) -> Prediction:
    """Predict the scan at `path` and write the results to `folder`, whole or not at all. What stood there is replaced.

    `name`: what tables of points call the scan; None: as its file or folder.
    """
    watch = watch or Stopwatch()
    with ExitStack() as open_files:
        with watch("reading"):
            scan = open_files.enter_context(open_scan(path, series=request.series))
            scan = replace(scan, name=name or scan.name)
        check_formats(scan, request.formats)
        prediction = predict_scan(trained, scan, request, watch=watch, on_search=on_search, on_lesion=on_lesion)
        write_prediction(folder, scan, prediction, trained, formats=request.formats, watch=watch)
    return prediction


def check_formats(scan: Scan, formats: Sequence[str]) -> None:
    """Raise `UsageError` for a format that there is not, or that a scan's kind does not allow."""
    unknown = [each for each in formats if each not in FORMATS]
    if unknown:
        raise UsageError(f"There is no format {unknown[0]!r}: expected {' or '.join(FORMATS)}.")
    if "dicom-seg" in formats and scan.dicom is None:
        raise UsageError("--format dicom-seg refers to the scan's DICOM images, and it is no DICOM: leave it out.")
    if "dicom-seg" in formats and scan.dicom is not None and not all(each.path.is_file() for each in scan.dicom.slices):
        raise UsageError(
            "--format dicom-seg needs the scan's files, and they are gone (a zip is unpacked only while it is predicted): "
            "unpack the zip first, or use the command."
        )
    if "seg-nrrd" in formats and find_spec("slicerio") is None:
        raise UsageError("--format seg-nrrd needs slicerio: `pip install 'ambiseg[slicer]'`.")


def write_prediction(
    folder: Path,
    scan: Scan,
    prediction: Prediction,
    trained: Trained,
    *,
    formats: Sequence[str] = (),
    watch: Stopwatch | None = None,
) -> None:
    """Write what was predicted of a scan, whole or not at all."""
    watch = watch or Stopwatch()
    content = prediction.content
    unit = "HU" if in_hounsfield(scan) else "relative"
    with whole_folder(folder) as aside:
        with watch("writing"):
            for lesion, result in zip(content["lesions"], prediction.lesions, strict=True):
                (aside / lesion["folder"]).mkdir(exist_ok=True)
                _write_lesion(aside, scan, lesion, result)
                save_preview(aside / lesion["preview"], result, scan.volume, unit)
            (aside / INDEX).write_text(_json(content), encoding="utf-8")
            (aside / "hypotheses.csv").write_text(table(content), encoding="utf-8")
            if "dicom-seg" in formats:
                write_dicom(aside, scan, prediction)
            if "seg-nrrd" in formats:
                write_nrrd(aside, scan, prediction)
        with watch("report"):
            write_report(aside / "report.html", scan.volume, prediction.lesions, content, unit)
        (aside / "run.json").write_text(_json(_run(content, trained, formats, watch)), encoding="utf-8")


def _write_lesion(folder: Path, scan: Scan, lesion: Mapping[str, Any], result: LesionHypotheses) -> None:
    entries = lesion["hypotheses"]
    for entry, mask in zip(entries, result.hypotheses.masks, strict=True):
        title = f"ambiseg hypothesis {entry['rank']} of {len(entries)}, probability {entry['probability']:.4f}"
        comment = json.dumps({key: entry[key] for key in ("rank", "probability", "interval")})
        write_on_grid(folder / entry["file"], scan.volume.filled(mask, result.box), scan.grid, title, comment)
    for name, title in MAPS.items():
        if lesion[name] is not None:
            whole = scan.volume.filled(getattr(result, name), result.box)
            write_on_grid(folder / lesion[name], whole, scan.grid, title)


def _run(content: Mapping[str, Any], trained: Trained, formats: Sequence[str], watch: Stopwatch) -> dict[str, Any]:
    """How the prediction was made: what hypotheses.json has of it, and what changes from one time to the next."""
    shared = ("program", "model", "settings", "calibration", "found_by")
    return {
        "schema": 1,
        **{key: content[key] for key in shared},
        "formats": ["nifti", *formats],
        "torch": torch.__version__,
        "device": str(trained.device),
        "threads": torch.get_num_threads(),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "seconds": {part: round(seconds, 3) for part, seconds in watch.seconds.items()},
        "peak_memory_mb": round(peak_memory_mb()),
    }


def _json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=1, allow_nan=False) + "\n"
