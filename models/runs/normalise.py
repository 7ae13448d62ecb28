"""From stored intensities to the inputs of networks."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ambiseg.preprocessing.store.intensity import BYTES, LUNG_WINDOW, Channel, Intensity
from ambiseg.preprocessing.volumes.hounsfield import TISSUE_HU
from ambiseg.preprocessing.volumes.usual_range import usual_range

Ends = tuple[float, float]
Window = Ends | tuple[Ends, ...] | Literal["crop"]
Centre = Literal["none", "half", "crop"]  # where the networks' inputs are 0: see `centred`

FLATTEST = 0.01  # standard deviation below which an image counts as one that is the same everywhere


def resolve_window(asked: Ends | str, intensity: Intensity, channels: Sequence[Channel] = ()) -> Window:
    """The window of a run: as requested, or for "auto" the lung window for HU and the range that the data use otherwise.

    Channels that use different ranges have a window each.

    Example:
        >>> resolve_window("auto", Intensity("HU", -1024, 3071))
        (-1000.0, 400.0)
    """
    if isinstance(asked, tuple):
        return asked
    if asked == "crop":
        return "crop"
    if intensity.unit == "HU":
        return LUNG_WINDOW
    ends = tuple((channel.low, channel.high) for channel in channels)
    return ends if len(set(ends)) > 1 else (intensity.low, intensity.high)


def resolve_centre(asked: Centre | Literal["auto"], intensity: Intensity) -> Centre:
    """Where the inputs of a run are 0: as requested, or for "auto" in the middle of the window for HU, which mean the same in
    all scans, and at each crop's own mean otherwise.

    Example:
        >>> resolve_centre("auto", Intensity("HU", -1024, 3071)), resolve_centre("auto", Intensity("relative", 0, 255))
        ('half', 'crop')
    """
    if asked != "auto":
        return asked
    return "half" if intensity.unit == "HU" else "crop"


def window_text(window: Window) -> str:
    """A window in words.

    >>> window_text((0.0, 1.0)), window_text(((0.0, 1.0), (0.0, 99.5)))
    ('0 to 1', '0 to 1, 0 to 99.5 (by channel)')
    """
    if window == "crop":
        return "each crop's own range"
    if not isinstance(window[0], tuple):
        return f"{window[0]:g} to {window[1]:g}"
    return ", ".join(window_text(ends) for ends in window if isinstance(ends, tuple)) + " (by channel)"


def normalise(images: Tensor, window: Window) -> Tensor:
    """Images [B, C, H, W] in the stored unit to float32 in [0, 1]: the ends of `window` become 0 and 1, the rest is clipped.

    There is one window for all channels, or one for each. The window "crop" is each image's own minimum and maximum, over
    all of its channels.
    """
    images = images.float()
    if window == "crop":
        least, most = images.amin((1, 2, 3), keepdim=True), images.amax((1, 2, 3), keepdim=True)
        return (images - least) / (most - least).clamp_min(1e-6)
    if isinstance(window[0], tuple):
        lows, highs = images.new_tensor(window).T[..., None, None]
        return ((images - lows) / (highs - lows)).clamp(0, 1)
    low, high = (float(end) for end in window if isinstance(end, float | int))
    return ((images - low) / (high - low)).clamp(0, 1)


def used_ends(plane: NDArray[Any], intensity: Intensity, *, hounsfield: bool) -> tuple[float, float]:
    """The values of a slice that become the ends of a training range without a unit.

    Bytes were scaled by their extremes when the data were packed. Of other values those that stray do not count, as in
    training. In a slice in HU neither metal nor what fills the corners of a scan counts for more than bone and air: few crops
    had either, and it would take the contrast from the lesion (docs/decisions/0027).
    """
    if hounsfield:
        plane = plane.clip(*TISSUE_HU)
    return (float(plane.min()), float(plane.max())) if intensity == BYTES else usual_range(plane)


def scaled(
    planes: NDArray[np.float32], low: NDArray[np.float32], high: NDArray[np.float32], intensity: Intensity
) -> NDArray[np.float32]:
    """Slices [..., H, W] with their values from `low` to `high` [..., 1, 1] brought to a range, the rest clipped.

    A slice that is the same everywhere becomes the lower end.
    """
    share = np.divide(planes - low, high - low, out=np.zeros_like(planes), where=high > low)
    return intensity.low + share.clip(0, 1) * (intensity.high - intensity.low)


def network_input(image: Tensor, centre: Centre, probabilities: Tensor | None = None) -> Tensor:
    """The input of a network [B, C (+ K), H, W]: the normalised image, centred, then the class probabilities of another
    segmenter [B, K, H, W], which are stored in 255ths.
    """
    image = centred(image, centre)
    return image if probabilities is None else torch.cat((image, probabilities.float() / 255), 1)


def stored_input(arrays: Sequence[NDArray[Any]], window: Window, centre: Centre, device: torch.device) -> Tensor:
    """The input of a network, on its device and with channels last, from what is stored: images [B, C, H, W] and, where the
    network reads them, class probabilities [B, K, H, W].
    """
    image, *others = (torch.from_numpy(np.ascontiguousarray(array)).to(device) for array in arrays)
    return network_input(normalise(image, window), centre, *others).to(memory_format=torch.channels_last)


def centred(image: Tensor, centre: Centre) -> Tensor:
    """Normalised images [B, C, H, W] with their zero at the window's lower end ("none"); in its middle ("half"), so that its
    ends become -1 and 1; or at the mean of each channel of each image, in units of its standard deviation ("crop"), so that
    neither brightness nor contrast tells anything.

    Example:
        >>> centred(torch.tensor([[[[0.0, 1.0]]]]), "half").tolist()
        [[[[-1.0, 1.0]]]]
    """
    if centre == "half":
        return 2 * image - 1
    if centre == "crop":
        image = image - image.mean((2, 3), keepdim=True)
        return image / image.square().mean((2, 3), keepdim=True).sqrt().clamp_min(FLATTEST)
    return image
