"""From stored intensities to the numbers that networks see."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from ambiseg.models.core.randomness import generator_for
from ambiseg.models.runs.normalise import Centre, network_input, normalise, resolve_centre, resolve_window, used_ends
from ambiseg.preprocessing.store.intensity import BYTES, HOUNSFIELD, LUNG_WINDOW, Channel, Intensity
from ambiseg.preprocessing.volumes.hounsfield import TISSUE_HU


def test_the_window_follows_the_unit_unless_asked() -> None:
    assert resolve_window("auto", HOUNSFIELD) == LUNG_WINDOW
    assert resolve_window("auto", BYTES) == (0, 255)
    assert resolve_window((-160.0, 240.0), HOUNSFIELD) == (-160.0, 240.0)
    assert resolve_window("crop", HOUNSFIELD) == "crop"


def test_the_centre_follows_the_unit_unless_asked() -> None:
    assert resolve_centre("auto", HOUNSFIELD) == "half"  # HU mean the same in every scan
    assert resolve_centre("auto", BYTES) == "crop"
    assert resolve_centre("none", BYTES) == "none"


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


def test_inputs_have_their_zero_where_they_are_asked_to() -> None:
    image = normalise(torch.tensor([0.0, 0.0, 4.0, 4.0]).view(1, 1, 2, 2), (0.0, 8.0))
    seen: dict[Centre, list[float]] = {"none": [0, 0, 0.5, 0.5], "half": [-1, -1, 0, 0], "crop": [-1, -1, 1, 1]}
    for centre, values in seen.items():
        assert network_input(image, centre).flatten().tolist() == values
        assert torch.equal(network_input(image, centre, image * 255)[:, 1:], image)  # the probabilities stay


@given(gain=st.floats(0.1, 1), share=st.floats(0, 1), seed=st.integers(0, 9))
def test_centred_on_each_crop_neither_brightness_nor_contrast_is_seen(gain: float, share: float, seed: int) -> None:
    image = torch.rand(2, 3, 6, 5, generator=generator_for(seed))
    other = image * gain + share * (1 - gain)
    torch.testing.assert_close(network_input(other, "crop"), network_input(image, "crop"), atol=1e-4, rtol=0)
    flat = torch.full((1, 1, 4, 4), 0.3)
    assert network_input(flat, "crop").abs().max() < 1e-4


@given(
    strays=st.lists(st.floats(-16_000, 16_000), max_size=40),
    intensity=st.sampled_from([BYTES, Intensity("relative", 0, 1)]),
    seed=st.integers(0, 9),
)
def test_metal_and_filling_leave_a_slice_in_hounsfield_units_its_contrast(
    strays: list[float], intensity: Intensity, seed: int
) -> None:
    """Whatever stands in for some pixels, the ends hold all of the tissue and are at most as far apart as air and bone."""
    tissue = np.random.default_rng(seed).uniform(-900, 300, (32, 32))
    plane = tissue.copy()
    plane.reshape(-1)[: len(strays)] = strays
    low, high = used_ends(plane, intensity, hounsfield=True)
    least, most = used_ends(tissue[2:], intensity, hounsfield=True)
    assert TISSUE_HU[0] <= low <= least < most <= high <= TISSUE_HU[1]
    assert used_ends(plane.clip(*TISSUE_HU), intensity, hounsfield=True) == (low, high)
    assert used_ends(tissue, BYTES, hounsfield=True) == used_ends(tissue, BYTES, hounsfield=False)
