"""Batches are made on the device: readers are drawn, crops cut, mirrored, warped and jittered, all from one generator.

Without rotation, zoom or elastic warping a crop is cut exactly, pixel by pixel. With them the image (bilinear) and the
masks (nearest) are sampled on one smooth grid, and pixels beyond the stored crop are ignored.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ambiseg.preprocessing.store.store import IGNORE
from ambiseg.preprocessing.volumes.planes import centre_start

from ...core.batch import Batch
from ...core.named_readers import some_forgotten
from ...core.randomness import normal, uniform
from ...core.readers import chosen_masks, likely_modes, present_readers
from ...runs.config import AugmentSettings, DataSettings
from ...runs.normalise import Centre, Window, network_input, normalise
from .crop_source import Crops

ELASTIC_KNOTS = 6  # control points a side of the smooth displacement


def make_batch(
    crops: Crops,
    data: DataSettings,
    augment: AugmentSettings,
    window: Window,
    generator: torch.Generator,
    progress: float = 0.0,
    readers: Tensor | None = None,
    *,
    centre: Centre,
) -> Batch:
    """A training batch from stored crops; `readers` are the numbers [R] of the readers, where the method tells them apart.

    window, centre: those of the run's record. What `data` asks for may depend on the data's unit, and is not looked at here.
    """
    draw = likely_modes if crops.known else present_readers
    chosen = draw(crops.chances if crops.known else crops.chances > 0, data.readers, generator)
    masks = chosen_masks(crops.masks, chosen, crops.flips)
    stored = [crops.images] if crops.probabilities is None else [crops.images.float(), crops.probabilities.float()]
    images = torch.cat(stored, 1)
    warp = augment.rotate_deg or augment.scale or augment.elastic_px
    cut = _warped_crop if warp else _exact_crop
    image, mask = cut(images, masks, data.crop, augment, generator)
    if augment.flip != "none":
        image, mask = _mirror(image, mask, augment.flip, generator)
    shown, *probabilities = image.split([part.shape[1] for part in stored], 1)
    shown = _jitter(_squeezed(normalise(shown, window), augment.squeeze, generator), augment, generator)
    who = None if readers is None else some_forgotten(readers[chosen], generator)
    return Batch(network_input(shown, centre, *probabilities), mask.long(), progress, readers=who)


def _exact_crop(
    images: Tensor, masks: Tensor, crop: int, augment: AugmentSettings, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Cut whole pixels, shifted from the centre as far as the settings say and the stored crop allows."""
    batch = len(images)
    index = []
    for size in images.shape[-2:]:
        first = centre_start(size, crop)
        reach = min(round(augment.shift_px), first)
        shift = (uniform((batch,), generator, images) * (2 * reach + 1)).long() - reach
        index.append(first + shift[:, None] + torch.arange(crop, device=images.device))
    which = torch.arange(batch, device=images.device)[:, None, None]
    rows, columns = index[0][:, :, None], index[1][:, None, :]
    image, mask = (stack.movedim(1, -1)[which, rows, columns].movedim(-1, 1) for stack in (images, masks))
    return image, mask


def _warped_crop(
    images: Tensor, masks: Tensor, crop: int, augment: AugmentSettings, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Sample crops on a rotated, zoomed, shifted and smoothly displaced grid; beyond the border the image repeats and the
    mask is `IGNORE`. The shift leaves three quarters of the crop's width and height on the image.
    """
    batch, (height, width) = len(images), images.shape[-2:]
    random = uniform((batch, 4), generator, images) * 2 - 1
    angle, zoom = random[:, 0] * math.radians(augment.rotate_deg), 1 + random[:, 1] * augment.scale
    reach = [min(augment.shift_px, side / 2 - crop / 4) for side in (width, height)]
    shift = torch.stack((random[:, 2] * reach[0], random[:, 3] * reach[1]), -1)
    axis = torch.arange(crop, device=images.device, dtype=torch.float32) - (crop - 1) / 2
    grid = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), -1)
    cos, sin = angle.cos() * zoom, angle.sin() * zoom
    turn = torch.stack((torch.stack((cos, -sin), -1), torch.stack((sin, cos), -1)), 1)
    offset = shift[:, None, None] + _elastic(batch, crop, augment.elastic_px, generator, images)
    pixels = torch.einsum("hwi,bij->bhwj", grid, turn) + offset
    grid = torch.stack((pixels[..., 0] * 2 / width, pixels[..., 1] * 2 / height), -1)
    image = F.grid_sample(images.float(), grid, "bilinear", "border", align_corners=False)
    mask = F.grid_sample(masks.float() + 1, grid, "nearest", "zeros", align_corners=False) - 1
    return image, mask.masked_fill(mask < 0, IGNORE)


def _elastic(batch: int, crop: int, pixels: float, generator: torch.Generator, like: Tensor) -> Tensor:
    """A smooth random displacement [B, crop, crop, 2] with that standard deviation at its knots."""
    knots = normal((batch, 2, ELASTIC_KNOTS, ELASTIC_KNOTS), generator, like) * pixels
    return F.interpolate(knots, size=(crop, crop), mode="bicubic", align_corners=True).movedim(1, -1)


def _mirror(image: Tensor, mask: Tensor, kind: str, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    columns, rows, swap = (uniform((3, len(image)), generator, image) < 0.5)[..., None, None, None]

    def mirrored(stack: Tensor) -> Tensor:
        stack = torch.where(columns, stack.flip(-1), stack)
        if kind == "horizontal":
            return stack
        stack = torch.where(rows, stack.flip(-2), stack)
        return torch.where(swap, stack.transpose(-1, -2), stack)

    return mirrored(image), mirrored(mask)


def _squeezed(image: Tensor, most: float, generator: torch.Generator) -> Tensor:
    """Images in 0..1 in a part of this range: up to `most` of it is lost, part of that below and the rest above.

    Crops that were scaled by their own extremes look so where metal, bright vessels or filling lie at their border.
    """
    if not most:
        return image
    lost, below = uniform((2, len(image), 1, 1, 1), generator, image)
    return image * (1 - most * lost) + most * lost * below


def _jitter(image: Tensor, augment: AugmentSettings, generator: torch.Generator) -> Tensor:
    if not (augment.gain or augment.offset):
        return image
    gain, offset = normal((2, len(image), 1, 1, 1), generator, image)
    return image * (gain * augment.gain).exp() + offset * augment.offset
