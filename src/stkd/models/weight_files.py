"""What files of weights hold, as it is: safetensors, torch.save of any age, and shards listed in an index."""

from __future__ import annotations

import json
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from ..core import manifest
from ..core.errors import StkdError
from .safe_pickle import RunsCode, load_torch_file

__all__ = ["INDEX_ENDING", "SECTION", "files_of", "read_content"]

INDEX_ENDING = ".index.json"
"""End of the name of a file that lists the shards of a model."""

SECTION = "docs/models.md, 'A whole model in a file'"
"""Where the lines of Python stand that turn a model into a state dict."""


def read_content(path: Path) -> object:
    """The content of a file of weights, on the CPU; the content tells the kind, not the ending.

    Nothing that a file names is imported or called, see `stkd.models.safe_pickle`.

    Args:
        path: A .safetensors, .pth, .pt or .ckpt file, or the index of shards (model.safetensors.index.json).

    Raises:
        StkdError: No such file, damaged, of another kind, or it would run code.
    """
    try:
        manifest.check(path)
        with path.open("rb") as file:
            head = file.read(9)
    except FileNotFoundError:
        raise StkdError(f"no weights file {path}; check the path") from None
    except IsADirectoryError:
        raise StkdError(f"{path} is a folder; name the weights file in it") from None
    except OSError as error:
        raise StkdError(f"cannot read {path}: {error.strerror}") from error
    if path.name.endswith(INDEX_ENDING):
        return _read_shards(path)
    if head[8:] == b"{":
        return _read_safetensors(path)
    if head.startswith((b"PK\x03\x04", b"\x80")):
        return _read_pickle(path)
    what = "is empty" if not head else "is not a weights file"
    raise StkdError(f"{path} {what}; give a .safetensors file, or a .pth or .pt file with a state dict")


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load_file(path)
    except SafetensorError as error:
        raise StkdError(f"{path} is damaged or cut short; copy or download it again") from error


def files_of(path: Path) -> list[Path]:
    """All files that a file of weights stands for: itself, and where it is an index the shards that it lists.

    Raises:
        StkdError: The index is damaged, or a shard is missing.
    """
    if not path.name.endswith(INDEX_ENDING):
        return [path]
    return [path, *(path.parent / name for name in sorted(set(_places(path).values())))]


def _read_shards(index: Path) -> dict[str, Tensor]:
    places = _places(index)
    state: dict[str, Tensor] = {}
    for file in sorted(set(places.values())):
        content = read_content(index.parent / file)
        if isinstance(content, dict):
            state |= content
    if lacking := [name for name in places if name not in state]:
        raise StkdError(f"{places[lacking[0]]} lacks {lacking[0]}, which {index} says it holds; copy it again")
    return state


def _places(index: Path) -> dict[str, str]:
    """The name of the shard, beside the index, that holds each tensor."""
    try:
        places: dict[str, str] = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        files = sorted({Path(name).name for name in places.values()})
        plain = all(Path(name).name == name for name in places.values())
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        raise StkdError(f"{index} is not an index of shards; copy or download it again") from None
    if not plain:
        raise StkdError(f"{index} names files outside of its folder; put all shards beside it")
    if absent := [name for name in files if not (index.parent / name).is_file()]:
        raise StkdError(f"{index} names {len(files)} files, of which {absent[0]} is missing; copy or download it too")
    return places


def _read_pickle(path: Path) -> object:
    if _is_torchscript(path):
        raise StkdError(f"{path} is a TorchScript archive, a program with its weights; {SECTION} makes weights of it")
    try:
        return load_torch_file(path)
    except RunsCode as error:
        raise StkdError(
            f"{path} holds more than tensors: it would run {error.name} when it is unpickled, which was not done; "
            "do not trust it, or re-save it where it comes from with torch.save(model.state_dict(), ...)"
        ) from error
    except MemoryError:
        raise
    # Damaged bytes make torch's readers fail in many ways.
    except Exception as error:
        raise StkdError(
            f"{path} is damaged, cut short or not written by torch.save; copy or download it again"
        ) from error


def _is_torchscript(path: Path) -> bool:
    """Whether torch.load would take a file for a program; asked of the reader that torch.load itself uses."""
    try:
        return "constants.pkl" in torch._C.PyTorchFileReader(str(path)).get_all_records()
    except (RuntimeError, UnicodeDecodeError):  # no zip archive, or a damaged one
        return False
