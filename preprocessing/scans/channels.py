"""Scans whose channels lie in files of their own."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..errors import DataError, UsageError
from ..volumes.grid import check_same_grid
from ..volumes.volume import of_channels
from .scan import Scan, open_scan


def joined(scans: Sequence[Scan], names: Sequence[str] = ()) -> Scan:
    """One scan of the channels of several, in their order.

    Args:
        scans: Scans on one grid, that of the first.
        names: What the channels show, one each; none: nobody says.

    Raises:
        DataError: The scans lie on different grids.
        UsageError: There are not as many names as channels, or two are the same.
    """
    first = scans[0]
    for scan in scans[1:]:
        check_same_grid(f"The channel {scan.name}", scan.volume, f"the channel {first.name}", first.volume)
    parts = [scan.volume.channels for scan in scans]
    kind = parts[0].dtype if all(part.dtype == parts[0].dtype for part in parts) else np.dtype(np.float32)
    channels = np.concatenate(parts).astype(kind, copy=False)
    if names and (len(names) != len(channels) or len(set(names)) != len(names)):
        raise UsageError(f"Expected a name of its own for each of {len(channels)} channels, got {', '.join(names)}.")
    volume = of_channels(channels, first.volume.affine)
    return replace(first, volume=volume, channel_names=tuple(names))


def with_files(scan: Scan, others: Sequence[tuple[str, Path]], known: Sequence[str] = ()) -> Scan:
    """A scan with the channels of further files behind its own.

    Args:
        scan: The scan of the first channel.
        others: The further channels' names and files; the names of all may be empty.
        known: The names that a model gives its channels; the scan's own is the one that `others` leave.

    Raises:
        UsageError: Some of `others` have names and some have not, or they leave more or less than one of the `known` names.
        DataError: A file is damaged, or lies on another grid.
        InputError: There is no such file.
    """
    scans = [scan]
    for _, path in others:
        with open_scan(path) as opened:
            scans.append(opened)
    given = [name for name, _ in others if name]
    if given and len(given) < len(others):
        raise UsageError("`channel`: expected names for all further channels or for none, as in flair=flair.nii.gz.")
    if not given:
        return joined(scans)
    left = [name for name in known if name not in given] if known else ["1"]
    if len(left) != 1 or not set(given) <= set(known or given):
        raise UsageError(
            f"`channel` names {', '.join(given)}, but the model reads {', '.join(known)}: expected all of these but the scan's "
            "own."
        )
    if any(len(each.volume.channels) > 1 for each in scans):
        raise DataError("Expected one channel in each file, as they have names.")
    return joined(scans, (left[0], *given))
