"""From stored intensities to the numbers that networks see."""

import torch

from ambiseg.models.runs.normalise import normalise, resolve_window
from ambiseg.preprocessing.store.intensity import BYTES, HOUNSFIELD, LUNG_WINDOW, Channel, Intensity


def test_the_window_follows_the_unit_unless_asked() -> None:
    assert resolve_window("auto", HOUNSFIELD) == LUNG_WINDOW
    assert resolve_window("auto", BYTES) == (0, 255)
    assert resolve_window((-160.0, 240.0), HOUNSFIELD) == (-160.0, 240.0)
    assert resolve_window("crop", HOUNSFIELD) == "crop"


def test_a_window_becomes_zero_to_one_and_clips() -> None:
    images = torch.tensor([-2000, -1000, -300, 400, 3000], dtype=torch.int16).view(1, 1, 1, 5)
    assert normalise(images, LUNG_WINDOW).flatten().tolist() == [0.0, 0.0, 0.5, 1.0, 1.0]


def test_each_crop_by_its_own_range() -> None:
    images = torch.tensor([[10.0, 20.0, 30.0], [7.0, 7.0, 7.0]]).view(2, 1, 1, 3)
    scaled = normalise(images, "crop")
    assert scaled[0].flatten().tolist() == [0.0, 0.5, 1.0]
    assert scaled[1].flatten().tolist() == [0.0, 0.0, 0.0]


def test_channels_of_different_ranges_have_a_window_each() -> None:
    channels = [Channel("T1", 0, 10, 0, 10), Channel("FLAIR", 100, 300, 0, 1e6)]
    window = resolve_window("auto", Intensity("relative", 0, 300), channels)
    assert window == ((0, 10), (100, 300))
    images = torch.tensor([5.0, 200.0])[None, :, None, None]
    assert normalise(images, window).flatten().tolist() == [0.5, 0.5]
    assert resolve_window("auto", BYTES, [Channel(name, 0, 255, 1, 9) for name in ("red", "green")]) == (0, 255)
    assert resolve_window("auto", HOUNSFIELD, channels) == LUNG_WINDOW
