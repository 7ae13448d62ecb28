"""ambiseg: ranked, plausible segmentation masks, each with a probability."""

from .version import __version__

__all__ = ["__version__"]
