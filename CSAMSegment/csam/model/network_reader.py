"""A network from untrusted weights: checked against the digest and the architecture that its model states."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping
from typing import Any

import torch

from ..errors import ModelError
from ..network.networks import build_with_weights, read_architecture
from . import weights as stored
from .weights import Weights, bounded


def read_network(
    weights: Weights, name: str, file: str, sha256: str, architecture: Mapping[str, Any]
) -> torch.nn.Module:
    """The network in evaluation mode, on the CPU. name, file: of the model and of what describes it, for errors.

    Raises ModelError when the weights are damaged or do not fit the architecture.
    """
    data = weights.read()
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise ModelError(
            f"The weights of {name} are damaged: their SHA-256 is {found[:12]}..., {file} says "
            f"{sha256[:12]}.... Get the model again."
        )
    try:
        if zipfile.is_zipfile(io.BytesIO(data)):
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                bounded(sum(member.file_size for member in archive.infolist()), stored.WEIGHTS_LIMIT, "weights.pt")
        state_dict = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except ModelError:
        raise
    except Exception as error:  # torch.load raises whatever its reader met, and advises to trust the file
        raise ModelError(
            f"The weights of {name} cannot be read as a plain state dict of tensors: the file is damaged or "
            "holds more. Get the model again, from somebody you trust."
        ) from error
    if not isinstance(state_dict, Mapping) or not all(
        isinstance(k, str) and isinstance(v, torch.Tensor) for k, v in state_dict.items()
    ):
        raise ModelError(f"The weights of {name} are not a plain state dict of tensors.")
    claimed = 0
    for key, value in state_dict.items():
        # A tensor can claim more elements than are stored, and many can share one storage.
        plain = value.layout is torch.strided and value.device.type == "cpu"
        size = value.numel() * value.element_size()
        claimed += size
        if not plain or size > value.untyped_storage().nbytes() or claimed > stored.WEIGHTS_LIMIT:
            raise ModelError(f"The weights of {name} claim a tensor {key} larger than the file holds.")
    found = read_architecture(state_dict)
    # What no tensor tells.
    untold = ("num_slices", "uncertainty", "rank") if not found["slice"] else ()
    untold = untold or (() if found["uncertainty"] else ("rank",))
    found |= {key: architecture[key] for key in untold}
    wrong = [key for key, value in found.items() if architecture[key] != value]
    if wrong:
        raise ModelError(
            f"{name}/{file}: architecture.{wrong[0]} is {architecture[wrong[0]]}, "
            f"but the weights are of a network with {found[wrong[0]]}."
        )
    network = build_with_weights(architecture, state_dict)
    if not all(torch.isfinite(parameter).all() for parameter in network.parameters()):
        raise ModelError(f"The weights of {name} hold values that are not finite; the training failed.")
    return network
