"""Export: from a run's folder to a zip that others can install."""

import shutil
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import torch

from ambiseg.preprocessing.documents import json_text
from ambiseg.preprocessing.errors import UsageError
from ambiseg.preprocessing.files import scratch_folder

from ..runs.run_folder import Run
from ..runs.trained import load_trained
from ..runs.weights_file import read_weights, weights_bytes
from .find import find_model
from .licence import read_licence
from .metadata import metadata_of, read_metadata
from .model_card import model_card
from .model_files import CARD, FILES, LICENCE, METADATA, RECORD, SUMS, WEIGHTS, check_name, write_sums
from .model_zip import pack
from .run_facts import Facts, Said, gather


@dataclass(frozen=True)
class Exported:
    """A zip that was written, the model's name, the SHA-256 of its weights, and notes on what was left out."""

    path: Path
    name: str
    weights_hash: str
    notes: tuple[str, ...]


def export_model(
    run: Path | str,
    output: Path | None = None,
    *,
    name: str | None = None,
    version: str | None = None,
    authors: str = "",
    description: str = "",
    licence: str | None = None,
    half: bool = False,
    patients: bool = True,
    overwrite: bool = False,
) -> Exported:
    """Export a run's best weights, and all that others need to use them, as one zip without any path of this machine.

    The same run gives the same bytes. A model that was exported before is packed as it is.

    Args:
        run: The run's folder, or the name of an installed or shipped model.
        output: The zip to write; by default NAME-VERSION.zip in the working folder.
        name: The model's name; by default the name of the run's folder.
        version: The model's version; by default 1.0.0.
        authors: Who made it.
        description: One sentence for the model card.
        licence: A text file, or an SPDX name such as "CC-BY-4.0".
        half: Whether to round the weights to half precision, in half the space.
        patients: Whether the zip holds the hashes of the training patients' identifiers. Identifiers that can be guessed can be
            found by guessing.
        overwrite: Whether to replace an existing zip.

    Returns:
        The zip, the model's name, the hash of its weights, and notes on what of the run was left out, or is in it.

    Raises:
        UsageError: The name is not valid, the zip exists, a text is too long, or something is to be changed in a model that was
            exported before.
        InputError: There is no such run or licence.
        DataError: The run or its evaluation is damaged.

    Example:
        >>> from ambiseg.models.bundle import export_model, install_model
        >>> def share(run, output):
        ...     return install_model(export_model(run, output, half=True).path)
    """
    run = find_model(run)
    if (run / SUMS).is_file():
        changes: dict[str, object] = {"name": name, "version": version, "authors": authors, "description": description}
        changes |= {"licence": licence, "half": half, "patients": not patients}
        return _packed(run, output, [f"`{what}`" for what, given in changes.items() if given], overwrite)
    said = Said(
        check_name(name or run.resolve().name),
        _line("version", version or "1.0.0"),
        _line("author", authors),
        _line("description", description),
        read_licence(licence),
    )
    path = _free(output or Path(f"{said.name}-{said.version}.zip"), overwrite)
    trained = load_trained(run, torch.device("cpu"))
    content = Run.open(run).weights.read_bytes()
    content, rounded = halved(content) if half else (content, False)
    facts, notes = gather(run, trained, said, sha256(content).hexdigest(), half=half, rounded=rounded)
    with scratch_folder() as folder:
        write_model(folder, facts, content, patients=patients)
        pack(folder, path, said.name)
    names = trained.record.data.reader_names
    carried = f"The model carries the names of readers, which others will see: {', '.join(names)}."
    return Exported(path, said.name, facts.weights_hash, (*notes, *[carried] * bool(names)))


def _free(path: Path, overwrite: bool) -> Path:
    """The place itself. Raises UsageError where something is there that must not be replaced."""
    if path.exists() and not overwrite:
        raise UsageError(f"{path} exists already: choose another `output`, or give `overwrite` to replace it.")
    return path


def _packed(folder: Path, output: Path | None, changes: list[str], overwrite: bool) -> Exported:
    """The zip of a model that was exported before."""
    if changes:
        raise UsageError(
            f"{folder.name} was exported already and is packed as it is: leave out {', '.join(changes)}, or export "
            "the run that it came from."
        )
    about = read_metadata(folder, folder.name)
    path = _free(output or Path(f"{folder.name}-{about.version}.zip"), overwrite)
    with scratch_folder() as place:
        for file in FILES:
            if (folder / file).is_file():
                shutil.copyfile(folder / file, place / file)
        pack(place, path, folder.name)
    return Exported(path, folder.name, sha256((folder / WEIGHTS).read_bytes()).hexdigest(), ())


def _line(what: str, text: str) -> str:
    """The text itself. Raises UsageError unless it is one line that can be printed."""
    if not text.isprintable() or len(text) > 1000:
        raise UsageError(f"`{what}` must be one line of at most 1000 characters, got {text[:40]!r}.")
    return text


def halved(content: bytes) -> tuple[bytes, bool]:
    """A safetensors file with its matrices and kernels in half precision, and whether they were not before.

    Vectors (biases, statistics, counts) are few and may be large or small, so they stay as they are. Raises UsageError where
    a weight is too large for half precision.
    """
    tensors, about = read_weights(content, WEIGHTS)
    before = {name: tensor.dtype for name, tensor in tensors.items()}
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and tensor.ndim > 1:
            tensors[name] = tensor.half()
            if not tensors[name].isfinite().all():
                raise UsageError(f"The weight {name} is too large for half precision: export without `half`.")
    return weights_bytes(tensors, about), before != {name: tensor.dtype for name, tensor in tensors.items()}


def write_model(folder: Path, facts: Facts, weights: bytes, *, patients: bool = True) -> None:
    """Write a model's files into an empty folder; `patients`: with the hashes of the training patients' identifiers."""
    record, calibration = facts.trained.record, facts.trained.calibration
    teacher = record.config.teacher.model_copy(update={"model": Path(record.config.teacher.model).name})
    start = record.config.start.model_copy(update={"model": Path(record.config.start.model).name})
    nowhere = record.model_copy(
        update={
            "config": record.config.model_copy(update={"teacher": teacher, "start": start}),
            "data": record.data.model_copy(update={"path": ""}),
        }
    )
    texts = {
        RECORD: json_text(nowhere),
        METADATA: json_text(metadata_of(facts)),
        CARD: model_card(facts),
        LICENCE: facts.said.licence.text,
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8", newline="\n")
    (folder / WEIGHTS).write_bytes(weights)
    if calibration is not None:
        calibration.model_copy(update={"weights_hash": facts.weights_hash}).write(folder)
    known = facts.trained.trained_on()
    if known is not None:
        (known if patients else known.model_copy(update={"patients": ()})).write(folder)
    write_sums(folder)
