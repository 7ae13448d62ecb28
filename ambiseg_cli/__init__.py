"""ambiseg: ranked, plausible segmentation masks, each with a probability.

    import ambiseg
    found = ambiseg.predict("scan.nii.gz", at=[(-52.5, 31.0, -140.2)])

The names below are imported when they are first used, so that the command line starts at once.
"""

from typing import TYPE_CHECKING, Any

from .version import __version__

if TYPE_CHECKING:
    from .api import ScanHypotheses, load_model, predict

__all__ = ["ScanHypotheses", "__version__", "load_model", "predict"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from . import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
