"""Models with a name: those that come with ambiseg, and those that the user installed."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from ambiseg.preprocessing.errors import DataError, InputError
from ambiseg.preprocessing.files import disk_errors, only_writer, scratch_folder
from ambiseg.preprocessing.user_folders import user_folder

from .metadata import Metadata, read_metadata
from .model_files import CALIBRATION, FILES, RECORD, SUMS, check_files, is_name
from .model_zip import unpack

SHIPPED = Path(__file__).parents[1] / "weights"  # within the package
DEFAULT = "lidc-gated"  # the shipped model that predict uses by default


def models_folder() -> Path:
    """The folder of installed models: AMBISEG_MODELS, else the platform's folder for user data."""
    asked = os.environ.get("AMBISEG_MODELS")
    if asked:
        return Path(asked).expanduser()
    return user_folder("data") / "models"


@dataclass(frozen=True)
class Installed:
    """An installed model.

    Attributes:
        name: Its name.
        path: Its folder.
        metadata: The content of metadata.json; None where it cannot be read.
        size: Size of all its files in bytes.
        calibrated: Whether it has a calibration.
    """

    name: str
    path: Path
    metadata: Metadata | None
    size: int
    calibrated: bool


def installed_models() -> list[Installed]:
    """All installed models by name."""
    return _models_in(models_folder())


def shipped_models() -> list[Installed]:
    """The models that come with ambiseg, by name; docs/how-to/share-a-model.md says how they were made."""
    return _models_in(SHIPPED)


def _models_in(folder: Path) -> list[Installed]:
    if not folder.is_dir():
        return []
    return [_installed(path) for path in sorted(folder.iterdir()) if is_name(path.name) and (path / RECORD).is_file()]


def _installed(path: Path) -> Installed:
    try:
        metadata = read_metadata(path, path.name)
    except DataError:
        metadata = None
    size = sum((path / name).stat().st_size for name in FILES if (path / name).is_file())
    return Installed(path.name, path, metadata, size, (path / CALIBRATION).is_file())


def known_models() -> dict[str, Path]:
    """The folders of all models with a name; where two share a name, the user's own is taken."""
    return {model.name: model.path for model in (*shipped_models(), *installed_models())}


def is_shipped(path: Path) -> bool:
    """Whether a model's folder is one of those that come with ambiseg."""
    return path.parent == SHIPPED


def installed_path(name: str) -> Path:
    """The folder of an installed model. Raises InputError that lists the installed ones."""
    names = [model.name for model in installed_models()]
    if name not in names:
        raise InputError(f"No model {name!r} is installed in {models_folder()}: {installed_text(names)}.")
    return models_folder() / name


def installed_text(names: list[str]) -> str:
    """The names of models, as the end of a sentence."""
    return f"there are {', '.join(names)}" if names else "there is none, install one with `ambiseg model install ZIP`"


def remove_model(name: str) -> Path:
    """Delete an installed model, and return where it was."""
    path = installed_path(name)
    gone = path.with_name(f".old-{path.name}")
    with disk_errors(path), only_writer(path, what=f"the model {name}", remedy="try again then"):
        shutil.rmtree(gone, ignore_errors=True)
        os.replace(path, gone)  # from now on it is not there, even if what follows is interrupted
        shutil.rmtree(gone)
    return path


def verify_model(model: str | Path) -> dict[str, str]:
    """Check every file of a model against its hash.

    Args:
        model: The name of an installed model, a model's folder, or its zip.

    Returns:
        The SHA-256 of each file, by its name.

    Raises:
        InputError: There is no such model.
        DataError: A file is damaged; the error names it.
    """
    path = Path(model)
    if path.is_file():
        with scratch_folder() as folder:
            unpack(path, folder)
            return check_files(folder, path)
    if not path.is_dir():
        path = known_models().get(str(model)) or installed_path(str(model))
    elif not (path / SUMS).is_file():
        raise InputError(f"{path} holds no {SUMS}: expected a model that was exported, not a run.")
    return check_files(path, path)
