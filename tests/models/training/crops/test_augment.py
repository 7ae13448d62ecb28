"""Batches: readers, crops, mirrors and warps, on tiny arrays whose every pixel is known."""

import torch

from ambiseg.models.core.randomness import generator_for
from ambiseg.models.runs.config import AugmentSettings, DataSettings, make_config
from ambiseg.models.runs.normalise import Centre
from ambiseg.models.runs.run_record import RunRecord
from ambiseg.models.training.crops.augment import make_batch
from ambiseg.models.training.crops.crop_source import Crops
from ambiseg.models.training.distributed import Processes
from ambiseg.models.training.stepper import Stepper
from ambiseg.preprocessing.store.store import IGNORE, Store

PLAIN = AugmentSettings(flip="none")


def crops(batch: int = 4, size: int = 12, readers: int = 3) -> Crops:
    """Images in which every pixel is its own number, masks that mark where that number is even (reader r: times r)."""
    image = torch.arange(size * size, dtype=torch.float32).view(1, 1, size, size).expand(batch, 1, -1, -1)
    mask = (image[:, 0] % 2 == 0).to(torch.uint8)
    masks = torch.stack([mask * number for number in range(readers)], 1)
    return Crops(image.clone(), masks, torch.ones(batch, readers))


def batch_of(
    data: DataSettings,
    augment: AugmentSettings,
    seed: int = 0,
    batch: int = 4,
    readers: int = 3,
    centre: Centre = "none",
):
    return make_batch(crops(batch, readers=readers), data, augment, (0.0, 143.0), generator_for(seed), centre=centre)


def test_without_augmentation_the_centre_is_cut() -> None:
    made = batch_of(DataSettings(crop=8), PLAIN)
    whole = crops().images[:, :, 2:10, 2:10] / 143
    assert torch.equal(made.image, whole)
    assert made.mask.shape == (4, 1, 8, 8)


def test_a_batch_is_centred_last() -> None:
    """What augmentation does is done to images in 0..1."""
    data, augment = DataSettings(crop=8), AugmentSettings(flip="all", gain=0.3, offset=0.2)
    image = batch_of(data, augment, centre="crop").image
    torch.testing.assert_close(image.mean((2, 3)), torch.zeros(4, 1), atol=1e-5, rtol=0)
    torch.testing.assert_close(image.square().mean((2, 3)), torch.ones(4, 1), atol=1e-5, rtol=0)


def test_batches_are_centred_as_the_datas_unit_asks(known_truth: Store) -> None:
    config = make_config("ssn", "small", settings=["data.crop=16", "data.centre=auto", "batch=4"])
    cpu = torch.device("cpu")
    batch = Stepper(RunRecord.of(config, known_truth, "cpu"), known_truth, cpu, Processes()).batch_of(0, 0.0)
    torch.testing.assert_close(batch.image.mean((2, 3)), torch.zeros(4, 1), atol=1e-5, rtol=0)


def test_image_and_masks_move_together() -> None:
    augment = AugmentSettings(flip="all", shift_px=2)
    made = batch_of(DataSettings(crop=8, readers=3), augment, batch=32)
    number = (made.image[:, 0] * 143).round().long()
    marked = made.mask.amax(1)
    assert torch.equal(marked, (number % 2 == 0).long() * 2)
    assert len({picture.numpy().tobytes() for picture in made.image}) > 16


def test_a_warp_moves_image_and_masks_together() -> None:
    """A disc stays where the image is bright, whatever the rotation, zoom, shift and displacement."""
    y, x = torch.meshgrid(torch.arange(48.0), torch.arange(48.0), indexing="ij")
    disc = ((y - 20) ** 2 + (x - 27) ** 2 < 64).float()
    images = disc.expand(16, 1, -1, -1).clone()
    masks = disc.to(torch.uint8).expand(16, 2, -1, -1).clone()
    augment = AugmentSettings(flip="all", rotate_deg=30, scale=0.2, shift_px=4, elastic_px=2)
    made = make_batch(
        Crops(images, masks, torch.ones(16, 2)),
        DataSettings(crop=40),
        augment,
        (0.0, 1.0),
        generator_for(3),
        centre="none",
    )
    inside = made.mask[:, 0] != IGNORE
    differ = (inside & ((made.image[:, 0] > 0.5) != (made.mask[:, 0] == 1))).sum((1, 2))
    areas = (made.mask[:, 0] == 1).sum((1, 2))
    assert inside.float().mean((1, 2)).min() > 0.6
    assert (differ <= 12).all()
    assert areas.min() > 100
    assert areas.float().std() > 5


def test_what_lies_beyond_the_stored_crop_is_ignored() -> None:
    """A crop as large as the image, shifted and turned: labels where there is image, and nothing is made up beside it."""
    whole = Crops(torch.ones(8, 1, 24, 40), torch.full((8, 1, 24, 40), 3, dtype=torch.uint8), torch.ones(8, 1))
    augment = AugmentSettings(flip="none", rotate_deg=20, shift_px=500)
    made = make_batch(whole, DataSettings(crop=24), augment, (0.0, 2.0), generator_for(0), centre="none")
    assert set(made.mask.unique().tolist()) == {3, IGNORE}
    shares = (made.mask == 3).float().mean((1, 2, 3))
    assert shares.min() > 0.4
    assert shares.median() < 1


def test_a_scene_is_mirrored_sideways_only() -> None:
    made = batch_of(DataSettings(crop=12), AugmentSettings(flip="horizontal"), batch=16)
    plain = crops(1).images / 143
    seen = {(torch.equal(picture, plain[0]), torch.equal(picture, plain[0].flip(-1))) for picture in made.image}
    assert seen == {(True, False), (False, True)}


def test_another_segmenters_probabilities_move_with_the_image_and_keep_their_values() -> None:
    plain = crops(32)
    even = (plain.images % 2 == 0).to(torch.uint8) * 255
    with_them = Crops(plain.images, plain.masks, plain.chances, probabilities=torch.cat((255 - even, even), 1))
    augment = AugmentSettings(flip="all", shift_px=2, gain=0.3)
    made = make_batch(
        with_them, DataSettings(crop=8, readers=3), augment, (0.0, 143.0), generator_for(0), centre="none"
    )
    assert made.image.shape == (32, 3, 8, 8)
    assert torch.equal(made.image[:, 2], made.mask.amax(1) / 2)
    assert torch.equal(made.image[:, 1], 1 - made.image[:, 2])


def test_jitter_changes_intensities_and_no_mask() -> None:
    plain = batch_of(DataSettings(crop=8), PLAIN)
    jittered = batch_of(DataSettings(crop=8), AugmentSettings(flip="none", gain=0.2, offset=0.1))
    assert torch.equal(plain.mask, jittered.mask)
    assert (plain.image - jittered.image).abs().amax((1, 2, 3)).min() > 1e-3


def test_a_squeezed_image_is_the_same_in_a_part_of_its_range() -> None:
    plain = batch_of(DataSettings(crop=12), PLAIN, batch=64)
    squeezed = batch_of(DataSettings(crop=12), AugmentSettings(flip="none", squeeze=0.6), batch=64)
    assert torch.equal(plain.mask, squeezed.mask)
    flat, seen = plain.image.flatten(1).double(), squeezed.image.flatten(1).double()
    spread = flat.std(1)
    kept = seen.std(1) / spread
    low = (seen - kept[:, None] * flat).mean(1)
    assert (seen - kept[:, None] * flat - low[:, None]).abs().max() < 1e-5  # an affine change of each image
    assert 0.4 <= kept.min() < 0.5
    assert 0.9 < kept.max() <= 1
    assert low.min() >= 0
    assert (low + kept).max() <= 1 + 1e-6
    share = low / (1 - kept)
    assert share.min() < 0.1
    assert share.max() > 0.9
