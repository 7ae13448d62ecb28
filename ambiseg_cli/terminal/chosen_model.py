"""The model that a command's user chose, loaded."""

from typing import TYPE_CHECKING

from .console import console

if TYPE_CHECKING:
    from ambiseg.models.runs.trained import Trained


def load_chosen(model: str | None, device: str, *, calibrated: bool = True) -> "Trained":
    """Load a model for prediction, and say which one it is.

    Args:
        model: a run folder or a model's name; None: the newest run, or else an installed or shipped model.
        device: as `resolve_device` takes it.
        calibrated: with the model's calibration, if it has one.

    Raises:
        AmbisegError: there is no such model, or it is damaged.
    """
    from ambiseg.models.bundle.find import find_model
    from ambiseg.models.bundle.installed import is_shipped
    from ambiseg.models.runs.hardware import resolve_device
    from ambiseg.models.runs.trained import load_trained

    chosen = find_model(model)
    trained = load_trained(chosen, resolve_device(device), calibrated=calibrated, keep_memory=True)
    origin = ", which comes with ambiseg (see `ambiseg model list`)" if is_shipped(chosen) else ""
    console.print(f"Model {trained.name} ({trained.record.method}) on {trained.device}{origin}")
    return trained
