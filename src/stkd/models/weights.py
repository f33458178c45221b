"""Weights in files: safetensors written whole or not at all, and checkpoints of common formats read safely."""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from ..core.errors import StkdError
from ..core.files import disk_full, write_atomic
from .registry import models
from .taps import classifier

__all__ = ["load", "read_state", "save"]

NESTED_UNDER = ("state_dict", "model_state_dict", "model", "net", "student", "state_dict_ema", "model_ema", "ema")
"""Keys that checkpoints hold their weights under, in order of preference: averaged ones where there are no others."""

PREFIXES = ("module.", "_orig_mod.", "model.")
"""What DistributedDataParallel, torch.compile and Lightning put before the names."""

SHOWN = 3
"""Number of names that a message lists."""

COUNTER = "num_batches_tracked"
"""Buffer of batch norms that checkpoints from before torch 0.4.1 do not have."""


def save(module: nn.Module, path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write the state dict of a module as safetensors; the file appears under its name only when it is complete.

    Args:
        module: Any module; tensors that share memory are written each.
        path: Name of the file, usually ending in .safetensors.
        metadata: Text to keep with the weights.

    Raises:
        StkdError: The file cannot be written.
        OSError: The disk is full.
    """
    state = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in module.state_dict().items()}
    content = safetensors.torch.save(state, dict(metadata or {}))
    try:
        write_atomic(path, content)
    except OSError as error:
        if disk_full(error):
            raise
        raise StkdError(f"cannot write {path}: {error.strerror}") from error


def load(module: nn.Module, path: Path) -> None:
    """Copy the weights of a file into a module; names and shapes must match exactly.

    Prefixes that wrappers leave are taken off, and the batch counters that old checkpoints lack are not missed.

    Args:
        module: The module, unchanged where anything is wrong.
        path: A file that `read_state` reads.

    Raises:
        StkdError: The file cannot be read, is of another model or of another number of classes, or holds NaN.
    """
    own = module.state_dict()
    state = _without_prefixes(read_state(path), own)
    counters = {name: tensor for name, tensor in own.items() if name.endswith(COUNTER)}
    state = counters | {name: tensor for name, tensor in state.items() if name in own or not name.endswith(COUNTER)}
    _check(module, own, state, path)
    module.load_state_dict(state)


def read_state(path: Path) -> dict[str, Tensor]:
    """Read the state dict in a .safetensors, .pth or .pt file, on the CPU; the content tells the kind, not the ending.

    Args:
        path: The file. A checkpoint may hold the state dict under a usual key ("model", "state_dict", ...).

    Raises:
        StkdError: No such file, damaged, of another kind, or holding objects that only unsafe unpickling would read.
    """
    try:
        with path.open("rb") as file:
            head = file.read(9)
    except FileNotFoundError:
        raise StkdError(f"no weights file {path}; check the path") from None
    except IsADirectoryError:
        raise StkdError(f"{path} is a folder; name the weights file in it") from None
    except OSError as error:
        raise StkdError(f"cannot read {path}: {error.strerror}") from error
    if head[8:] == b"{":
        return _read_safetensors(path)
    if head.startswith((b"PK\x03\x04", b"\x80")):
        return _state_in(_read_pickle(path), path)
    what = "is empty" if not head else "is not a weights file"
    raise StkdError(f"{path} {what}; give a .safetensors file, or a .pth or .pt file with a state dict")


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load_file(path)
    except SafetensorError as error:
        raise StkdError(f"{path} is damaged or cut short; copy or download it again") from error


def _read_pickle(path: Path) -> object:
    try:
        with torch.serialization.safe_globals(_numpy_scalars()), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the age of the format, which is not the user's concern
            content: object = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # torch tells the kinds of failure apart in its message alone.
        foreign = re.search(r"GLOBAL ([\w.]+)", str(error))
        if foreign is None:
            raise _not_torch(path) from error
        raise StkdError(
            f"{path} holds more than tensors ({foreign[1]}), which is not safe to load; "
            "re-save it where it comes from with torch.save(model.state_dict(), ...)"
        ) from error
    # Damaged bytes make torch's readers fail in many ways.
    except Exception as error:
        if "TorchScript" in str(error):
            raise StkdError(f"{path} is a TorchScript archive; give the state dict of the model instead") from error
        raise _not_torch(path) from error
    return content


def _numpy_scalars() -> list[Any]:
    """What a best accuracy of numpy's type, common in checkpoints, is made of; harmless numbers."""
    scalar: Any = np.float64(0).__reduce__()[0]
    kinds = [type(np.dtype(kind)) for kind in (np.float64, np.float32, np.int64)]
    # numpy 1 called the module of its scalars otherwise.
    return [np.dtype, *kinds, scalar, (scalar, "numpy.core.multiarray.scalar")]


def _not_torch(path: Path) -> StkdError:
    return StkdError(f"{path} is damaged, cut short or not written by torch.save; copy or download it again")


def _state_in(content: object, path: Path) -> dict[str, Tensor]:
    """The state dict in what a checkpoint holds, itself or under a usual key."""
    while isinstance(content, Mapping):
        inner = next((content[key] for key in NESTED_UNDER if isinstance(content.get(key), Mapping)), None)
        if inner is None:
            break
        content = inner
    if isinstance(content, Mapping) and content and all(isinstance(value, Tensor) for value in content.values()):
        return {str(name): tensor.detach() for name, tensor in content.items()}
    found = f"keys {_some(list(map(str, content)))}" if isinstance(content, Mapping) else f"a {type(content).__name__}"
    raise StkdError(f"{path} holds no state dict ({found}); save one under 'state_dict' or on its own")


def _without_prefixes(state: dict[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    while not own.keys() & state.keys():
        prefix = next((prefix for prefix in PREFIXES if all(name.startswith(prefix) for name in state)), None)
        if prefix is None:
            break
        state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return dict(state)


def _check(module: nn.Module, own: Mapping[str, Tensor], state: Mapping[str, Tensor], path: Path) -> None:
    missing = [name for name in own if name not in state]
    unexpected = [name for name in state if name not in own]
    kind = type(module).__name__
    if missing or unexpected:
        wrong = [
            f"{len(names)} {what} ({_some(names)})"
            for names, what in ((missing, "missing"), (unexpected, "unexpected"))
            if names
        ]
        raise StkdError(f"{path} does not fit the {kind}: names {' and '.join(wrong)}{_guess(state)}")
    differing = [name for name in own if own[name].shape != state[name].shape]
    if differing:
        if classes := _class_counts(module, state, differing):
            raise StkdError(
                f"the checkpoint {path} has {classes[0]} classes, the model {classes[1]}; "
                "use weights for these classes, or the data set that the weights are for"
            )
        name = differing[0]
        shapes = f"{tuple(state[name].shape)} in the file, {tuple(own[name].shape)} in the model"
        raise StkdError(
            f"{path} does not fit the {kind}: {len(differing)} shapes differ, first {name}: {shapes}{_guess(state)}"
        )
    broken = [name for name, tensor in state.items() if not bool(torch.isfinite(tensor).all())]
    if broken:
        raise StkdError(f"{path} holds NaN or infinite values in {_some(broken)}; use an earlier checkpoint")


def _class_counts(module: nn.Module, state: Mapping[str, Tensor], differing: list[str]) -> tuple[int, int] | None:
    """Numbers of classes in the file and the model, where nothing but the classifier differs."""
    try:
        head = classifier(module)
    except StkdError:
        return None
    name = next(name for name, submodule in module.named_modules() if submodule is head)
    weight = f"{name}.weight" if name else "weight"
    if not set(differing) <= {weight, weight.removesuffix("weight") + "bias"} or weight not in state:
        return None
    if state[weight].shape[1:] != head.weight.shape[1:]:
        return None
    return state[weight].shape[0], head.weight.shape[0]


def _guess(state: Mapping[str, Tensor]) -> str:
    """Which of our models the weights belong to, as the end of a message; empty if none."""
    shapes = {name: tensor.shape for name, tensor in state.items() if not name.endswith(COUNTER)}
    for entry in models.entries():
        # One class and one channel: a 1 in these shapes stands for any number.
        with torch.device("meta"):
            own = entry.value(num_classes=1, in_channels=1).state_dict()
        own = {name: tensor for name, tensor in own.items() if not name.endswith(COUNTER)}
        if own.keys() == shapes.keys() and all(_fits(shapes[name], tensor.shape) for name, tensor in own.items()):
            return f"; these look like weights of {entry.name}"
    return ""


def _fits(shape: torch.Size, pattern: torch.Size) -> bool:
    return len(shape) == len(pattern) and all(wanted in (1, n) for n, wanted in zip(shape, pattern, strict=True))


def _some(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
