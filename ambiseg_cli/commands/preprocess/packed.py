"""`ambiseg preprocess packed`: a dataset store from crops that were cut elsewhere."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import typer

from ...terminal.console import Meter, progress, report_store
from ...terminal.options import (
    AllowDuplicates,
    ClassNames,
    OwnOrShares,
    ReportAsJson,
    SplitFile,
    SplitSeed,
    own_or_sizes,
)
from ...terminal.options import class_names as parse_classes


class Unit(StrEnum):
    """The unit of the images' values."""

    relative = "relative"
    hu = "hu"


class Fit(StrEnum):
    """How images of different sizes become crops of one size."""

    pad = "pad"
    crop = "crop"
    resize = "resize"


def packed(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="IN...",
            help="Files, or folders of them: npz (images [N,H,W] or [N,C,H,W], masks [N,R,H,W], optional patient, case, "
            "lesion, slice, split, present, readers); Knegt's data_lidc.pickle; PHiSeg's or CCDM's data_lidc.hdf5; or a folder "
            "with images/ and mask-0/, mask-1/, ... of PNG files, or one such folder per lesion, as PATIENT/LESION/images/. "
            "Folders train, val and test may stand about these.",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Folder of the dataset store. Default: data/NAME.", show_default=False),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="Name of the dataset. Default: the input's.", show_default=False)
    ] = None,
    intensity: Annotated[
        Unit, typer.Option("--intensity", help="Unit of the images' values: relative grey values, or hu.")
    ] = Unit.relative,
    class_names: ClassNames = "background,lesion",
    absent_when_empty: Annotated[
        bool,
        typer.Option(
            "--absent-when-empty", help="An empty mask means an absent reader, not a reader who saw no lesion."
        ),
    ] = False,
    patient_pattern: Annotated[
        str | None,
        typer.Option(
            "--patient-pattern",
            help="Regular expression that finds the patient in an image file's path. Default: patients.csv (columns "
            "file,patient) in the folder, or the patient's folder.",
            show_default=False,
        ),
    ] = None,
    fit: Annotated[
        Fit | None,
        typer.Option(
            "--fit",
            help="How images of different sizes become crops of one size: pad each with its least value, crop its middle, or "
            "resize it. Prediction does the same to a picture, and takes the masks back to its own pixels.",
            show_default=False,
        ),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(
            "--size",
            help="With --fit: height and width of a crop, in pixels.",
            min=1,
            show_default="the largest side (pad), the smallest (crop), 128 (resize)",
        ),
    ] = None,
    channels: Annotated[
        str | None,
        typer.Option(
            "--channel-names",
            help="What the images' channels show, separated by commas, such as T1,FLAIR. Default: red,green,blue for three "
            "channels of bytes, else none.",
            show_default=False,
        ),
    ] = None,
    layout: Annotated[
        list[str] | None,
        typer.Option(
            "--layout",
            metavar="PATTERN",
            help="Where image files and masks lie in the folder, as IMAGES;MASKS with named fields: "
            "'{patient}/im_{slice}.png; {patient}/m_{slice}_{reader}.png'. Fields: split, patient, case, "
            "lesion, slice, z, reader, task; * stands for anything. Default: HPU-Net's (images/PATIENT/x.png, "
            "gt/PATIENT/x_l0.png), CIMD's (CASE/image_1.jpg, CASE/label0_.jpg) or QUBIQ's (CASE/image.nii.gz, "
            "CASE/task01_seg01.nii.gz) where it is found.",
            show_default=False,
        ),
    ] = None,
    readers: Annotated[
        Literal["auto", "named", "anonymous"],
        typer.Option(
            help="Whether readers' names are those of persons, which the store keeps. auto: names are, and what {reader} of "
            "--layout finds; mere numbers of other layouts are not. named: numbers are, too.",
        ),
    ] = "auto",
    split: OwnOrShares = None,
    seed: SplitSeed = 0,
    split_file: SplitFile = None,
    allow_duplicates: AllowDuplicates = False,
    as_json: ReportAsJson = False,
) -> None:
    """Import crops that are already cut, with any number of readers' masks, without changing them."""
    from ambiseg.preprocessing.sources.packed.kinds import open_pack
    from ambiseg.preprocessing.sources.packed.pack import PackSettings
    from ambiseg.preprocessing.sources.packed.packed_store import write_packed

    settings = PackSettings(
        parse_classes(class_names),
        intensity.value,
        patient_pattern,
        tuple(layout or ()),
        fit.value if fit else None,
        size,
        tuple(name.strip() for name in channels.split(",")) if channels else (),
        readers,
    )
    pack = open_pack(inputs, settings)
    with progress() as display:
        report = write_packed(
            pack,
            output or Path("data") / (name or pack.name),
            settings,
            name=name,
            seed=seed,
            split=own_or_sizes(split),
            split_file=split_file,
            absent_when_empty=absent_when_empty,
            allow_duplicates=allow_duplicates,
            on_progress=Meter(display, "Importing", "crops"),
        )
    report_store(report, f"crops {report.crops}, patients {report.counts['patients']}", as_json)
