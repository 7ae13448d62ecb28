"""Sharing models: export a run as one zip, install it elsewhere, use it by its name."""

from .export_run import Exported, export_model
from .find import find_model
from .install import install_model
from .installed import Installed, installed_models, models_folder, remove_model, shipped_models, verify_model

__all__ = [
    "Exported",
    "Installed",
    "export_model",
    "find_model",
    "install_model",
    "installed_models",
    "models_folder",
    "remove_model",
    "shipped_models",
    "verify_model",
]
