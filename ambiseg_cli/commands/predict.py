"""`ambiseg predict`: from scans to ranked masks with probabilities. (`ambiseg.predict` is the same in Python.)"""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..terminal.batch_report import join_parts, report_batch
from ..terminal.chosen_model import load_chosen
from ..terminal.console import Meter, console, emit_json, progress, warn
from ..terminal.options import Cluster, Device, Jobs, NoCache, Workers, point, workplace

if TYPE_CHECKING:
    from ambiseg.models.prediction.predict_scan import Exports, Prediction
    from ambiseg.models.prediction.stopwatch import Stopwatch


class Format(StrEnum):
    """Formats in addition to NIfTI."""

    DICOM_SEG = "dicom-seg"
    DICOM_SR = "dicom-sr"
    DICOM_PM = "dicom-pm"
    DICOM_SC = "dicom-sc"
    SEG_NRRD = "seg-nrrd"
    PNG = "png"


class SegWay(StrEnum):
    """How many DICOM SEGs a lesion's hypotheses make."""

    ALL = "all"
    EACH = "each"


class Layout(StrEnum):
    """How files are named."""

    PLAIN = "plain"
    BIDS = "bids"


class Report(StrEnum):
    """How reports are written."""

    SINGLE = "single"
    SHARED = "shared"
    NONE = "none"


Scan = Annotated[
    Path | None,
    typer.Argument(
        help="The scan, 2D or 3D: .nii, .nii.gz, .nrrd, .mha, a DICOM folder, a picture (.png, .jpg, .tif), or a .zip of one "
        "of these; or a folder of scans.",
        show_default=False,
    ),
]
At = Annotated[
    list[str] | None,
    typer.Option(help="A lesion's place X,Y,Z in mm (RAS); repeatable.", metavar="X,Y,Z", show_default=False),
]
Points = Annotated[
    Path | None,
    typer.Option(
        help="File of places: CSV with columns x,y,z (and name, scan), or LUNA16's coordX,coordY,coordZ; points of 3D "
        "Slicer (.mrk.json, .fcsv); or MONAI's detections (.json).",
        show_default=False,
    ),
]
Roi = Annotated[
    Path | None,
    typer.Option(
        help="Mask on the scan's grid, or DICOM SEG or RTSTRUCT. Each connected piece is a lesion.", show_default=False
    ),
]
Structures = Annotated[
    list[str] | None,
    typer.Option(
        "--structure",
        help="Which labels or structures of --roi: a number, a name, or a pattern such as 'Nodule*'; repeatable.",
        show_default="all labels of a mask, the only structure of DICOM",
    ),
]
Voxel = Annotated[
    bool, typer.Option("--voxel", help="--at and --points are voxel indices i,j,k of the file, from 0, instead of mm.")
]
LungMask = Annotated[
    Path | None,
    typer.Option(help="Mask on the scan's grid to search in. Default: the lungs are found.", show_default=False),
]
Candidates = Annotated[
    int, typer.Option(help="Largest number of lesions if no place is given and the lungs are searched.", min=1, max=50)
]
MinScore = Annotated[
    float | None,
    typer.Option(
        help="Leave out what the search, or MONAI, scores lower.",
        min=0,
        max=1,
        show_default="0.1 for the search, none for MONAI's",
    ),
]
Series = Annotated[
    str | None,
    typer.Option(help="Which series of a DICOM folder: its number in the list, or its UID.", show_default=False),
]
Channels = Annotated[
    list[str] | None,
    typer.Option(
        "--channel",
        help="File of a further channel, for a model that reads several; SCAN is the first, or the one that is not named. "
        "Repeatable.",
        metavar="[NAME=]FILE",
        show_default=False,
    ),
]
Probabilities = Annotated[
    Path | None,
    typer.Option(
        help="Another segmenter's class probabilities of the scan (nnU-Net's .npz, or .nii.gz), for a model that refines "
        "them.",
        show_default=False,
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        help="A run folder or a model's name. Default: the newest run, or else an installed or shipped model.",
        show_default=False,
    ),
]
Reader = Annotated[
    str | None,
    typer.Option(
        help="Hypotheses for this reader, for a model that knows readers by name.",
        metavar="NAME",
        show_default="all readers together",
    ),
]
Depth = Annotated[
    float | None,
    typer.Option(
        "--depth",
        help="Look at the slices within this distance of the lesion's centre, in mm.",
        min=0,
        show_default="as far as the lesion reaches",
    ),
]
Diameters = Annotated[
    list[float] | None,
    typer.Option(
        "--diameter",
        help="State the probability that the mean diameter is at least this, in mm; repeatable.",
        show_default="6, 8 and 15",
    ),
]
Volumes = Annotated[
    list[float] | None,
    typer.Option(
        "--volume",
        help="State the probability that the volume is at least this, in mm³; repeatable.",
        show_default="100 and 250",
    ),
]
Formats = Annotated[
    list[Format] | None,
    typer.Option(
        "--format",
        help="Also write this format, for a PACS or 3D Slicer; repeatable. dicom-sr also writes dicom-seg.",
        show_default=False,
    ),
]
Seg = Annotated[
    SegWay,
    typer.Option(
        help="How dicom-seg holds a lesion's hypotheses: all in one object, or each in its own, for viewers that do not show "
        "segments which overlap.",
    ),
]
Names = Annotated[
    Layout,
    typer.Option("--layout", help="How masks and maps are named: plainly, or as BIDS derivatives."),
]
Reports = Annotated[
    Report | None,
    typer.Option(
        "--report",
        help="report.html as a single file that needs no other; or with its viewer and style in a folder report-files, shared "
        "by all scans of a batch; or none.",
        show_default="single for one scan, shared for a folder of scans",
    ),
]
Output = Annotated[
    Path | None, typer.Option("-o", "--output", help="Folder to write.", show_default="<scan>-hypotheses")
]
Overwrite = Annotated[
    bool,
    typer.Option(
        "--overwrite",
        help="Replace an earlier prediction even if the folder also holds other files. In a batch, predict all scans again.",
    ),
]
PartOf = Annotated[
    str | None,
    typer.Option(
        "--part",
        help="Predict only the I-th of N parts of a folder of scans. The parts may run at the same time, on several machines "
        "that share the folder --output.",
        metavar="I/N",
        show_default=False,
    ),
]
Join = Annotated[
    Path | None,
    typer.Option(
        help="Write the tables and the overview of this folder of results, as the last part of a batch does, and say what is "
        "missing. Nothing is predicted.",
        metavar="FOLDER",
        show_default=False,
    ),
]
Minutes = Annotated[
    float,
    typer.Option("--time-limit", help="In a batch, stop a scan that takes longer than this, in minutes.", min=0.01),
]
Memory = Annotated[
    float | None,
    typer.Option(
        "--memory-limit",
        help="In a batch, stop a scan whose process needs more memory than this, in GB.",
        min=0.1,
        show_default="what was free at the start",
    ),
]


def predict(
    scan: Scan = None,
    at: At = None,
    points: Points = None,
    roi: Roi = None,
    structures: Structures = None,
    voxel: Voxel = False,
    lung_mask: LungMask = None,
    candidates: Candidates = 5,
    min_score: MinScore = None,
    series: Series = None,
    channel: Channels = None,
    probabilities: Probabilities = None,
    model: Model = None,
    reader: Reader = None,
    top: Annotated[int, typer.Option(help="Number of hypotheses to keep.", min=1, max=99)] = 8,
    draws: Annotated[int, typer.Option(help="Number of masks to draw from the model.", min=1)] = 256,
    depth_mm: Depth = None,
    uncalibrated: Annotated[
        bool, typer.Option("--uncalibrated", help="Use the model's own probabilities, even if it is calibrated.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of the draws. The same seed gives the same files.")] = 0,
    fast: Annotated[
        bool, typer.Option("--fast", help="Look only once, around the place as given; large lesions may be cut off.")
    ] = False,
    diameters_mm: Diameters = None,
    volumes_mm3: Volumes = None,
    formats: Formats = None,
    seg: Seg = SegWay.ALL,
    layout: Names = Layout.PLAIN,
    report: Reports = None,
    device: Device = "auto",
    output: Output = None,
    overwrite: Overwrite = False,
    part: PartOf = None,
    join: Join = None,
    minutes: Minutes = 60,
    memory_gb: Memory = None,
    workers: Workers = None,
    cluster: Cluster = None,
    jobs: Jobs = None,
    no_cache: NoCache = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Show how the time was spent.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print hypotheses.json instead of tables.")] = False,
) -> None:
    """Predict the most probable masks of each lesion, each with its probability, on the scan's own grid.

    If no place is given, a small scan is taken for one lesion's crop, and a chest CT is searched (experimental).
    """
    if join is not None:
        join_parts(scan, join, as_json)
        return
    from ambiseg.models.prediction.stopwatch import Stopwatch

    watch = Stopwatch()
    with watch("starting"):
        from ambiseg.models.cohort.batches import WHOLE, Part, predict_cases
        from ambiseg.models.metrics.size_forecast import DIAMETERS_MM, VOLUMES_MM3
        from ambiseg.models.prediction.inference import Ranking
        from ambiseg.models.prediction.places import Places
        from ambiseg.models.prediction.predict_scan import Exports, Request
        from ambiseg.models.results.folder import check_folder, predict_to_folder
        from ambiseg.preprocessing.errors import UsageError
        from ambiseg.preprocessing.names import scan_name
        from ambiseg.preprocessing.scans.cases import find_cases
        from ambiseg.preprocessing.scans.dicom.header_cache import HeaderCache, cache_file
        from ambiseg.preprocessing.work.engine import Limits

        if scan is None:
            raise UsageError("SCAN is missing: give a scan or a folder of scans, or `join` with a folder of results.")
        share = WHOLE if part is None else Part.parse(part)
        engine = workplace(workers, cluster, jobs)
        with HeaderCache(None if no_cache else cache_file()) as headers:
            cases = find_cases(scan, headers.identify)
        folder = output or Path(f"{scan_name(scan)}-hypotheses")
        channels = tuple(map(_channel, channel or ()))
        if cases is None and part is not None:
            raise UsageError("`part` is for a folder of scans, but SCAN is a single one: leave `part` out.")
        if cases is None and cluster is not None:
            raise UsageError("`cluster` is for a folder of scans, but SCAN is a single one: leave `cluster` out.")
        if cases is None:
            check_folder(folder, overwrite)
        elif channels:
            raise UsageError(
                "`channel` gives the files of one scan, but SCAN is a folder of scans: predict one by one."
            )
        named = tuple(map(point, at or ()))
        places = Places(
            named,
            points,
            roi,
            tuple(structures or ()),
            voxel,
            lung_mask,
            candidates,
            min_score,
            of_many=cases is not None,
        )
        ranking = Ranking(
            top, draws, depth_mm, seed, fast, tuple(diameters_mm or DIAMETERS_MM), tuple(volumes_mm3 or VOLUMES_MM3)
        )
        kept = report or (Report.SINGLE if cases is None else Report.SHARED)
        exports = Exports(tuple(each.value for each in formats or ()), seg.value, layout.value, kept.value)
        _say_added(exports)
        request = Request(places, ranking, probabilities, series, exports, channels)
        trained = load_chosen(model, device, calibrated=not uncalibrated)
        trained = trained.as_reader(reader) if reader is not None else trained
    with progress() as display:
        if cases is not None:
            meter = Meter(display, "Predicting", "scans")
            found = predict_cases(
                trained,
                cases,
                folder,
                request,
                overwrite=overwrite,
                part=share,
                limits=Limits(minutes, memory_gb),
                workers=engine,
                on_progress=meter,
            )
        else:
            searching, predicting = Meter(display, "Searching", "steps"), Meter(display, "Predicting", "lesions")
            prediction = predict_to_folder(
                trained,
                scan,
                folder,
                request,
                overwrite=overwrite,
                watch=watch,
                on_search=searching,
                on_lesion=predicting,
            )
    if cases is not None:
        report_batch(found, folder, as_json)
    else:
        _report(prediction, folder, watch, as_json, verbose)


def _channel(text: str) -> tuple[str, Path]:
    """The name and the file of a channel, "flair=flair.nii.gz"; without a name "" and the file."""
    name, found, file = text.partition("=")
    return (name.strip(), Path(file)) if found and not Path(text).exists() else ("", Path(text))


def _say_added(exports: "Exports") -> None:
    """Name the formats that are written because others refer to them."""
    from ambiseg.models.results.exports import wanted

    for added in wanted(exports):
        if added not in exports.formats:
            console.print(f"{added} is written too, because another format refers to it")


def _report(prediction: "Prediction", folder: Path, watch: "Stopwatch", as_json: bool, verbose: bool) -> None:
    """Print a prediction and where it was written. Leave with 5 if something is missing."""
    from ambiseg.models.prediction.stopwatch import peak_memory_mb
    from ambiseg.preprocessing.errors import PartialError

    from ..terminal.predict_tables import show, time_split

    if as_json:
        emit_json(prediction.document.plain())
    else:
        show(prediction.document)
    if verbose:
        console.print(time_split(watch.seconds, peak_memory_mb()))
    report = " (open report.html)" if (folder / "report.html").is_file() else ""
    console.print(f"Written: {folder}/{report}")
    for missing in prediction.missing:
        warn(missing)
    if prediction.missing:
        raise PartialError(
            f"{folder} lacks what the warnings above name; all masks, maps and numbers are there. Run the same command again "
            "to retry."
        )
