"""Options that several commands have, and how their values are read."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ambiseg.preprocessing.errors import UsageError

if TYPE_CHECKING:
    from ambiseg.preprocessing.work.engine import Engine

Model = Annotated[
    str | None,
    typer.Argument(
        metavar="MODEL",
        help="Run folder, or name of an installed or shipped model. Default: the newest run.",
        show_default=False,
    ),
]
Data = Annotated[
    Path | None,
    typer.Option(
        "--data", "-d", help="Dataset store. Default: the one that the run was trained on.", show_default=False
    ),
]
Entries = Annotated[
    list[str] | None,
    typer.Option(
        "--method",
        "-m",
        help="Only these entries, repeated or separated by commas. A method that is no entry's name, such as generalized, "
        "stands for all of its entries.",
        show_default="all",
    ),
]
FoldRuns = Annotated[
    Path | None,
    typer.Option(
        help="Judge a model that was trained on all patients by the runs of a cross-validation: the folder that holds one run "
        "per fold, trained with the same settings. Each is judged on its own test split.",
        show_default=False,
    ),
]
MaskLayout = Annotated[
    Literal["case/mask", "mask/case", "case_mask", "case", "mask"] | None,
    typer.Option(help="How folders of masks are to be read. Default: as the names tell.", show_default=False),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is already there.")]
ClassNames = Annotated[
    str, typer.Option("--class-names", help="Names of the masks' labels 0, 1, ..., background first.")
]
OwnOrShares = Annotated[
    str | None,
    typer.Option(
        "--split",
        help="Shares of train, val and test, such as 70,10,20, by patient; own: the split that the data bring (a key or "
        "column split, HDF5 groups, folders train, val, test); mose: MoSE's split by series, of pickles. Default: own where "
        "there is one, else 70,10,20.",
        show_default=False,
    ),
]
SplitSeed = Annotated[int, typer.Option("--seed", help="Seed of the split by patient.")]
SplitFile = Annotated[
    Path | None,
    typer.Option(
        "--split-file",
        help="CSV file with the columns patient,split that gives the split, instead of the seed.",
        show_default=False,
    ),
]
AllowDuplicates = Annotated[
    bool,
    typer.Option(
        "--allow-duplicates", help="Keep images that lie under two patients in different splits; else they are refused."
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers", min=1, help="Number of processes. Default: one per core where that saves time.", show_default=False
    ),
]
Cluster = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        help="Send the work to a Dask cluster: the address of its scheduler, such as tcp://host:8786, or slurm. "
        "Needs the extra dask.",
        show_default=False,
    ),
]
Jobs = Annotated[
    int | None,
    typer.Option("--jobs", min=1, help="With --cluster slurm: number of jobs to start.", show_default="1"),
]
NoCache = Annotated[
    bool,
    typer.Option(
        "--no-cache",
        help="Read the headers of all DICOM files again. Otherwise those that were read before are remembered, in the "
        "user's folder for caches.",
    ),
]
ReportAsJson = Annotated[bool, typer.Option("--json", help="Print the report as JSON.")]


def workplace(workers: int | None, cluster: str | None, jobs: int | None) -> "int | Engine | None":
    """Where work is done by these options: a number of processes, None for as many as are of use, or a cluster."""
    if jobs is not None and cluster != "slurm":
        raise UsageError("`jobs` is a number of SLURM jobs: give it with `cluster` slurm.")
    if cluster is None:
        return workers
    if workers is not None:
        raise UsageError("Both `workers` and `cluster` are given: a cluster has its own workers, leave `workers` out.")
    from ambiseg.preprocessing.work.dask_cluster import DaskCluster, check_cluster

    check_cluster(cluster)
    return DaskCluster(cluster, jobs)


def point(text: str) -> tuple[float, float, float]:
    """A point from text "X,Y,Z".

    >>> point("-42.5,18,120")
    (-42.5, 18.0, 120.0)
    """
    try:
        x, y, z = map(float, text.split(","))
    except ValueError:
        x = y = z = math.nan
    if not all(map(math.isfinite, (x, y, z))):
        raise UsageError(
            f"The point {text!r} is not understood: expected three finite numbers X,Y,Z such as -42.5,18,120."
        )
    return x, y, z


def split_sizes(text: str) -> tuple[int, int, int]:
    """Shares of train, val and test from text such as "70,10,20"; only that of train must be more than 0.

    >>> split_sizes("70,10,20")
    (70, 10, 20)
    """
    parts = text.split(",")
    if len(parts) != 3 or not all(part.strip().isdecimal() for part in parts) or not int(parts[0]):
        raise UsageError(
            f"`split` {text!r} is not understood: expected shares of train, val and test such as 70,10,20, that of "
            "train more than 0."
        )
    train, val, test = map(int, parts)
    return train, val, test


def own_or_sizes(text: str | None) -> tuple[int, int, int] | str | None:
    """Shares of train, val and test, or the name of a split, from text.

    >>> own_or_sizes("70,10,20"), own_or_sizes("own"), own_or_sizes(None)
    ((70, 10, 20), 'own', None)
    """
    return split_sizes(text) if text and "," in text else text


def entry_names(given: list[str] | None) -> list[str]:
    """The names that a repeated option gives, each time one or several separated by commas.

    >>> entry_names(["modal,probunet", "mose"]), entry_names(None)
    (['modal', 'probunet', 'mose'], [])
    """
    return [name for text in given or [] for name in names(text)]


def class_names(text: str) -> tuple[str, ...]:
    """Names of classes, background first, from text such as "background,lesion".

    >>> class_names("background, lesion")
    ('background', 'lesion')
    """
    names = tuple(name.strip() for name in text.split(","))
    if len(names) < 2 or not all(names) or len(set(names)) < len(names):
        raise UsageError(
            f"`class_names` {text!r} is not understood: expected two or more different names, background first."
        )
    return names


def spacing_mm(text: str) -> float | None:
    """A pixel size in mm from text such as "0.5"; None from "native".

    >>> spacing_mm("0.5"), spacing_mm("native")
    (0.5, None)
    """
    if text == "native":
        return None
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 100:
        raise UsageError(f"`spacing` {text!r} is not understood: expected a pixel size in mm above 0, or native.")
    return value


def names(text: str) -> list[str]:
    """Names from text such as "modal, probunet".

    >>> names("modal, probunet")
    ['modal', 'probunet']
    """
    return [name.strip() for name in text.split(",") if name.strip()]


def seeds(text: str) -> list[int]:
    """Different seeds, at least one, from text such as "0,1,2".

    >>> seeds("0,1,1,2")
    [0, 1, 2]
    """
    try:
        found = list(dict.fromkeys(int(name) for name in names(text)))
    except ValueError:
        found = []
    if not found:
        raise UsageError(
            f"The seeds {text!r} are not understood: expected whole numbers separated by commas, e.g. 0,1,2."
        )
    return found
