"""Which model is meant: a run's folder, an installed model's name, or nothing said."""

from pathlib import Path

from ambiseg.preprocessing.errors import InputError

from ..run import RUNS, newest_run
from .files import RECORD
from .installed import installed_models, installed_text


def find_model(name: str | Path | None = None) -> Path:
    """The folder of a model: a run's, or one that is installed by that name; without a name the newest run in runs/, or
    else the only installed model.

    Raises InputError that says which models there are, or how to come by one.
    """
    known = known_models()
    if name is None:
        return _only(known)
    path = Path(name)
    if (path / RECORD).is_file():
        return path
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


def known_models() -> dict[str, Path]:
    """The folders of all models that have a name; of two with one name the later source wins."""
    sources = (installed_models(),)
    return {model.name: model.path for models in sources for model in models}


def _only(known: dict[str, Path]) -> Path:
    """The model that is meant when none is named."""
    if any(RUNS.glob("*/model.safetensors")):
        return newest_run()
    if len(known) == 1:
        return next(iter(known.values()))
    if known:
        raise InputError(
            f"No run in {RUNS}/ and several installed models: choose one with --model, {installed_text(list(known))}."
        )
    raise InputError(
        f"No model: there is no run in {RUNS}/ and none is installed; train one with `ambiseg train`, install one with "
        "`ambiseg model install ZIP`, or name a run's folder."
    )
