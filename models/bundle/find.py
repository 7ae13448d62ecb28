"""Finding a model: by a run's folder, by the name of an installed or shipped model, or by default."""

from pathlib import Path

from ambiseg.preprocessing.errors import InputError

from ..runs.run_folder import RUNS, newest_run
from .installed import DEFAULT, installed_models, installed_text, known_models, shipped_models
from .model_files import RECORD, SUMS, check_files


def find_model(name: str | Path | None = None) -> Path:
    """Find the folder of a model, and check an exported model against its hashes.

    Args:
        name: A run's folder, or the name of a model that is installed or comes with ambiseg. None for the newest run in
            runs/, else the only installed model, else the model that comes with ambiseg.

    Returns:
        The model's folder.

    Raises:
        InputError: There is no such model; the error lists the known ones.
        DataError: The model is damaged.

    Example:
        >>> from ambiseg.models.bundle import find_model
        >>> find_model("lidc-gated").name
        'lidc-gated'
    """
    path = _unnamed() if name is None else _named(name)
    if (path / SUMS).is_file():
        check_files(path, path)
    return path


def results_of(model: Path, what: str) -> Path:
    """Where results of a model belong if no place is named: in a run's folder, but not in that of an exported model.

    Args:
        model: The model's folder, as `find_model` gives it.
        what: Name of the file or folder.

    Returns:
        `model/what`; for an installed or shipped model `NAME-what` in the working folder.

    Example:
        >>> str(results_of(find_model("lidc-gated"), "evaluation-test"))
        'lidc-gated-evaluation-test'
    """
    return Path(f"{model.name}-{what}") if (model / SUMS).is_file() else model / what


def evaluated(name: str | Path, split: str) -> Path:
    """The folder of a model's evaluation: of a run, of an installed or shipped model by its name, or as it was named.

    Args:
        name: A run's folder, the folder of an evaluation, or the name of a model.
        split: The split that was evaluated.

    Raises:
        InputError: A model of this name was not evaluated in the working folder.
    """
    path = Path(name)
    known = known_models()
    if path.is_dir() or str(name) not in known:
        return path
    folder = results_of(known[str(name)], f"evaluation-{split}")
    if not folder.is_dir():
        raise InputError(
            f"{name} has not been evaluated on {split!r} here: run `ambiseg evaluate {name}` with {split!r} as `split` first, "
            "or name the folder of its evaluation."
        )
    return folder


def _named(name: str | Path) -> Path:
    """The folder of the model with a name or a path."""
    path = Path(name)
    if (path / RECORD).is_file():
        return path
    known = known_models()
    if str(name) in known:
        return known[str(name)]
    if path.is_file():
        raise InputError(
            f"{path} is a file: install it with `ambiseg model install {path}`, then use the model's name."
        )
    raise InputError(
        f"No model {str(name)!r}: expected the folder of a run, or the name of an installed model; "
        f"{installed_text(list(known))}."
    )


def _unnamed() -> Path:
    """The default model."""
    if any(RUNS.glob("*/model.safetensors")):
        return newest_run()
    installed = installed_models()
    if len(installed) == 1:
        return installed[0].path
    if installed:
        names = [model.name for model in installed]
        raise InputError(
            f"No run in {RUNS}/ and several installed models: choose one as `model`, {installed_text(names)}."
        )
    shipped = {model.name: model.path for model in shipped_models()}
    if DEFAULT in shipped:
        return shipped[DEFAULT]
    raise InputError(
        f"No model: there is no run in {RUNS}/ and none is installed; train one with `ambiseg train`, install one with "
        "`ambiseg model install ZIP`, or name a run's folder."
    )
