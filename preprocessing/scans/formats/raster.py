"""Pictures: PNG, JPEG and TIFF, with one channel or three, in 8 or 16 bits or floating point.

A picture is a scan of one slice. It has no place in a patient, and its pixels have no size in mm: each counts as 1 mm, from
left to right and from top to bottom.
"""

import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...errors import DataError, InputError
from ...files import whole_file
from ...names import PICTURE, PNG, has_suffix
from ...volumes.grid import Grid, grid_from
from ...volumes.values import usable_values
from ...volumes.volume import Volume, of_channels

COLOURS = ("red", "green", "blue")
PLAIN = {"1": "L", "P": "RGB", "LA": "L", "La": "L", "PA": "RGB", "RGBA": "RGB", "RGBa": "RGB", "RGBX": "RGB",
         "CMYK": "RGB", "YCbCr": "RGB", "LAB": "RGB", "HSV": "RGB"}  # modes that are converted  # fmt: skip
UPRIGHT = np.diag([-1.0, -1.0, 1.0, 1.0])  # columns to the left, rows to the back: as a slice is shown


def read_picture(path: Path) -> tuple[Volume, Grid, tuple[str, ...]]:
    """The scan [1, Y, X] of a picture, the grid of its pixels, and its channels' names; none for a grey picture.

    Colours that are grey in every pixel are one channel.

    Args:
        path: A .png, .jpg, .jpeg, .tif or .tiff file.

    Raises:
        InputError: There is no such file.
        DataError: It is damaged, or holds several pages.
    """
    if not path.is_file():
        raise InputError(f"No file {path}: expected a picture ({', '.join(PICTURE)}); check the path.")
    pixels = usable_values(path.name, read_pixels(path, PLAIN, "picture"))
    height, width = pixels.shape[:2]
    grid = grid_from(UPRIGHT, (width, height, 1), path.name)
    if pixels.ndim == 3 and (pixels == pixels[..., :1]).all():
        pixels = pixels[..., 0]
    channels = pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, 2, 0)
    return of_channels(channels[:, None], grid.display_affine), grid, COLOURS if len(channels) == 3 else ()


def read_pixels(path: Path, converted: Mapping[str, str], what: str) -> NDArray:
    """The pixels [Y, X] or [Y, X, C] of a picture, of which some modes are `converted`; `what` it is called in messages."""
    try:
        with warnings.catch_warnings(action="error", category=Image.DecompressionBombWarning):
            if has_suffix(path, PNG):
                with Image.open(path) as picture:
                    picture.verify()  # its checksums, which reading the pixels passes over
            with Image.open(path) as picture:
                pages = getattr(picture, "n_frames", 1)
                if pages > 1:
                    raise DataError(f"{path} holds {pages} pages: expected one {what}; save each as a file of its own.")
                mode = converted.get(picture.mode, picture.mode)
                return np.asarray(picture if mode == picture.mode else picture.convert(mode))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(
            f"{path} claims more pixels than a {what} can have: it is damaged, or no {what}; get it again."
        ) from error
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(
            f"{path} is not a whole picture of a kind that is read (PNG, JPEG or TIFF; grey values of 8 or 16 bits or floats, "
            "or colours of 8 bits): it is damaged, or of another kind; convert it, or get it again."
        ) from error


def write_mask_picture(path: Path, mask: NDArray[np.uint8], classes: int) -> None:
    """Write a mask [Y, X] as a grey PNG: white on black for two classes, else the classes' labels."""
    pixels = mask * np.uint8(255) if classes == 2 else mask
    with whole_file(path) as aside:
        Image.fromarray(np.ascontiguousarray(pixels)).save(aside, format="PNG")
