"""A prediction laid out as a BIDS derivative: masks and maps under BIDS names, and dataset_description.json.

BIDS 1.10, "Derivatives", https://bids-specification.readthedocs.io. Tables, pictures and documents keep their names;
`.bidsignore` lists them.
"""

import re
from importlib.metadata import version
from pathlib import Path

from ambiseg.preprocessing.documents import write_json

from ..prediction.document import Document, HypothesisEntry, LesionEntry

VERSION = "1.10.0"
ENTITY = re.compile(r"[a-zA-Z]+-[a-zA-Z0-9]+")
OWN = ("desc", "label", "space")  # entities that say what a file is; the others say of what it is
IGNORED = (
    "*.dcm",
    "*.nrrd",
    "*.html",
    "*.png",
    "*_map.nii.gz",
    "lesion_*",
    "hypotheses.*",
    "lesions.csv",
    "sizes.csv",
    "run.json",
)
FILES = re.compile(
    r"dataset_description\.json|\.bidsignore|dseg\.tsv"
    r"|sub-[a-zA-Z0-9]+(/ses-[a-zA-Z0-9]+)?(/anat(/sub-[a-zA-Z0-9_-]+_(dseg|probseg|map)\.nii\.gz)?)?"
)


def as_bids(document: Document, scan: str) -> Document:
    """The document with the names that its files have in BIDS.

    Args:
        document: hypotheses.json.
        scan: the scan's name. Entities that it has, such as `sub-01_ses-1`, stay; any other name becomes the subject's label.
    """
    several = len(document.lesions) > 1
    return document.model_copy(update={"lesions": [_lesion(each, _source(scan), several) for each in document.lesions]})


def write_dataset(folder: Path, document: Document) -> None:
    """Write what makes a folder a BIDS derivative."""
    made_by = {
        "Name": "ambiseg",
        "Version": version("ambiseg"),
        "Description": f"model {document.model.name}; research only",
    }
    described = {
        "Name": "Possible lesion masks with probabilities, research only",
        "BIDSVersion": VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [made_by | {"CodeURL": "https://github.com/ambiseg/ambiseg"}],
    }
    write_json(folder / "dataset_description.json", described)
    (folder / ".bidsignore").write_text("".join(f"{each}\n" for each in IGNORED), encoding="utf-8")
    rows = ["index\tname", *(f"{index}\t{name}" for index, name in enumerate(document.classes))]
    (folder / "dseg.tsv").write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")


def _source(scan: str) -> str:
    """The place and the beginning of names: "sub-01/ses-1/anat/sub-01_ses-1".

    >>> _source("sub-01_ses-1_T1w"), _source("LIDC-IDRI-0001")
    ('sub-01/ses-1/anat/sub-01_ses-1', 'sub-LIDCIDRI0001/anat/sub-LIDCIDRI0001')
    """
    parts = [part for part in scan.split("_") if ENTITY.fullmatch(part) and part.split("-")[0] not in OWN]
    if not parts or not parts[0].startswith("sub-"):
        parts = [f"sub-{re.sub(r'[^a-zA-Z0-9]', '', scan) or 'scan'}"]
    folders = [part for part in parts if part.startswith(("sub-", "ses-"))]
    return "/".join([*folders, "anat", "_".join(parts)])


def _lesion(lesion: LesionEntry, source: str, several: bool) -> LesionEntry:
    which = f"lesion{lesion.number:02d}" if several else ""
    of = f"_desc-{which}" if which else ""
    names: dict[str, str | list[HypothesisEntry] | None] = {
        "probability": f"{source}_label-L{of}_probseg.nii.gz",
        "entropy": f"{source}_desc-{which}entropy_map.nii.gz",
        "aleatoric": None if lesion.aleatoric is None else f"{source}_desc-{which}aleatoric_map.nii.gz",
        "hypotheses": [
            each.model_copy(update={"file": f"{source}_desc-{which}hyp{each.rank:02d}_dseg.nii.gz"})
            for each in lesion.hypotheses
        ],
    }
    return lesion.model_copy(update=names)
