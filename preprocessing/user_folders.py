"""The user's own folders, by the platform's conventions: for what is kept, and for what can be made again."""

import os
import sys
from pathlib import Path
from typing import Literal

MAC = {"data": "Application Support", "cache": "Caches"}
UNIX = {"data": ("XDG_DATA_HOME", ".local/share"), "cache": ("XDG_CACHE_HOME", ".cache")}


def user_folder(kind: Literal["data", "cache"]) -> Path:
    """The folder in which ambiseg keeps data, or what it can make again, of this user; it may not exist yet."""
    home = Path.home()
    if sys.platform == "win32":
        root = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    elif sys.platform == "darwin":
        root = home / "Library" / MAC[kind]
    else:
        variable, usual = UNIX[kind]
        root = Path(os.environ.get(variable) or home / usual)
    return root / "ambiseg"
