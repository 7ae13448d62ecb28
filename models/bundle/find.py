"""Find the requested model: a run's folder, the name of an installed or shipped model, or the default."""

from pathlib import Path

from ambiseg.preprocessing.errors import InputError

from ..runs.run_folder import RUNS, newest_run
from .installed import DEFAULT, installed_models, installed_text, known_models, shipped_models
from .model_files import RECORD, SUMS, check_files


def find_model(name: str | Path | None = None) -> Path:
    """The folder of a model: a run's, or one of that name that is installed or comes with ambiseg; without a name the newest
    run in runs/, else the only installed model, else the one that comes with ambiseg.

    A model that was exported is held against its hashes. Raises InputError that says which models there are, or how to come
    by one, DataError for one that is damaged.
    """
    path = _unnamed() if name is None else _named(name)
    if (path / SUMS).is_file():
        check_files(path, path)
    return path


def _named(name: str | Path) -> Path:
    """The folder of the model that is meant by a name or a path."""
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
    """The model that is meant when none is named."""
    if any(RUNS.glob("*/model.safetensors")):
        return newest_run()
    installed = installed_models()
    if len(installed) == 1:
        return installed[0].path
    if installed:
        names = [model.name for model in installed]
        raise InputError(
            f"No run in {RUNS}/ and several installed models: choose one with --model, {installed_text(names)}."
        )
    shipped = {model.name: model.path for model in shipped_models()}
    if DEFAULT in shipped:
        return shipped[DEFAULT]
    raise InputError(
        f"No model: there is no run in {RUNS}/ and none is installed; train one with `ambiseg train`, install one with "
        "`ambiseg model install ZIP`, or name a run's folder."
    )
