"""model.safetensors: the weights of a method as one file with a checksum.

The header of the file holds the method and the step, and the SHA-256 of all tensors: names, types, shapes and bytes. Files
of earlier versions have no checksum; their values must still be finite.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from ambiseg.preprocessing.documents import parse_json
from ambiseg.preprocessing.errors import DataError

KEY, HASH = "ambiseg", "sha256"  # of the header, and of what stands there
AGAIN = "restore it or train again"
UNREADABLE = (safetensors.SafetensorError, RuntimeError, KeyError, ValueError, TypeError, OverflowError)


def weights_bytes(tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> bytes:
    """The content of a weights file, from tensors on the CPU and a description. The same input gives the same bytes."""
    said = {**about, HASH: tensors_hash(tensors)}
    # One key: safetensors writes several in no fixed order, and the same run should give the same bytes.
    return safetensors.torch.save(dict(tensors), {KEY: json.dumps(said)})


def read_weights(content: bytes, name: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of a weights file, and their description.

    Args:
        content: of the file.
        name: of the file in messages.

    Raises:
        DataError: the file is damaged or was changed, or holds NaN or infinite numbers.
    """
    try:
        tensors = safetensors.torch.load(content)
        about = _about(content, name)
    except UNREADABLE as error:
        raise DataError(f"{name} is corrupt or not of this model: {AGAIN}.") from error
    if HASH in about and about[HASH] != tensors_hash(tensors):
        raise DataError(f"{name} is damaged, its weights are not those that were written: {AGAIN}.")
    check_finite(tensors, name)
    return tensors, {key: value for key, value in about.items() if key != HASH}


def check_finite(tensors: Mapping[str, Tensor], name: str) -> None:
    """Raise a DataError that names the first tensor with NaN or infinite numbers."""
    for key, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise DataError(f"{name} holds NaN or infinite numbers in {key}, so no model can use it: {AGAIN}.")


def tensors_hash(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and bytes of tensors on the CPU, in the order of their names."""
    total = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        total.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        total.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()


def _about(content: bytes, name: str) -> dict[str, Any]:
    """What the header says beside its tensors."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])  # as safetensors has just read it
    text = (header.get("__metadata__") or {}).get(KEY, "{}")
    return parse_json(text, dict[str, Any], f"The header of {name}", AGAIN)
