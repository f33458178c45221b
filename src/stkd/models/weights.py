"""Weights in files: safetensors written whole or not at all, and checkpoints of any kind brought into a module."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from ..core.errors import StkdError
from ..core.files import disk_full, write_atomic
from .checkpoints import COUNTER, Found, Role, find, find_any, named_classes, some
from .heads import head_names
from .registry import models
from .weight_files import read_content

__all__ = ["classes_in", "load", "read_state", "save"]

_log = logging.getLogger(__name__)


def save(
    module: nn.Module,
    path: Path,
    metadata: Mapping[str, str] | None = None,
    *,
    write: Callable[[Path, bytes], None] = write_atomic,
) -> None:
    """Write the state dict of a module as safetensors; the file appears under its name only when it is complete.

    Args:
        module: Any module; tensors that share memory are written each.
        path: Name of the file, usually ending in .safetensors.
        metadata: Text to keep with the weights.
        write: Writes the file; `core.manifest.write` where its folder has a manifest.

    Raises:
        StkdError: The file cannot be written.
        OSError: The disk is full.
    """
    state = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in module.state_dict().items()}
    content = safetensors.torch.save(state, dict(metadata or {}))
    try:
        write(path, content)
    except OSError as error:
        if disk_full(error):
            raise
        raise StkdError(f"cannot write {path}: {error.strerror}") from error


def load(
    module: nn.Module,
    path: str | Path,
    *,
    role: Role = "model",
    key: str | None = None,
    new_head: bool = False,
    rows: Sequence[int] | None = None,
) -> None:
    """Copy the weights of a file into a module; names and shapes must match.

    Keys, prefixes and what lies beside the weights are seen to and said in a log line, see
    `stkd.models.checkpoints.find`. The batch counters that old checkpoints lack are not missed.

    Args:
        module: The module, unchanged where anything is wrong.
        path: A file that `stkd.models.weight_files.read_content` reads.
        role: What the weights are for, where a file holds those of a teacher and a student.
        key: Take the weights under this key of the file, or after this prefix.
        new_head: Let the classifier keep its initial weights where the file has none or one for another number of
            classes.
        rows: For each of the model's classes its row in the file's classifier, -1 for one that keeps its initial
            weights. None takes the rows in order.

    Raises:
        StkdError: The file cannot be read, is of another model or of another number of classes, or holds NaN.
    """
    path = Path(path)
    own, head = module.state_dict(), head_names(module)
    found, words = find(read_content(path), own, path, role=role, key=key, head=head if new_head else ())
    said = [words] if words else []
    _check_plain(found.state, path)
    state = {name: tensor for name, tensor in own.items() if name.endswith(COUNTER)} | found.state
    if rows and head and list(rows) != list(range(len(own[head[0]]))):
        taken = sum(row >= 0 for row in rows)
        state |= {name: _rows(state[name], rows, own[name]) for name in head if name in state and taken}
        state |= {name: own[name] for name in head if not taken}
        said.append(
            f"the head's rows are taken by the names of the classes, {taken} of them" if taken else "a new head"
        )
    elif new_head and (fresh := [n for n in head if n not in state or state[n].shape != own[n].shape]):
        said.append(_new_head(fresh[0], own, state))
        state |= {name: own[name] for name in fresh}
    elif new_head and head and rows is None:
        said.append("its classes are taken by position, since the file does not name them")
    _check(module, own, state, found, path, role)
    if said:
        _log.info("%s: %s", path, "; ".join(said))
    module.load_state_dict(state)


def _check_plain(state: Mapping[str, Tensor], path: Path) -> None:
    """Refuse tensors that would lose something on their way into a module, or have nothing to give."""
    for name, tensor in state.items():
        kinds = {
            "complex": tensor.is_complex(),
            "quantised": tensor.is_quantized,
            "sparse": tensor.layout != torch.strided,
            "no": tensor.is_meta,
        }
        if kind := next((kind for kind, found in kinds.items() if found), None):
            raise StkdError(f"{path} holds {kind} numbers in {name}; save the weights as plain floating-point numbers")


def _rows(given: Tensor, rows: Sequence[int], initial: Tensor) -> Tensor:
    """Rows of a classifier, initial ones where a row is -1."""
    if given.shape[1:] != initial.shape[1:] or max(rows) >= len(given):
        return given  # `_check` says what is wrong with it
    known = torch.tensor([row >= 0 for row in rows])
    taken = initial.detach().cpu().clone()
    taken[known] = given[[row for row in rows if row >= 0]].to(taken.dtype)
    return taken


def read_state(path: str | Path, key: str | None = None) -> dict[str, Tensor]:
    """Read the state dict in a file, on the CPU; the content tells the kind, not the ending.

    Averaged weights go before plain ones; prefixes that wrappers leave are taken off.

    Args:
        path: A .safetensors, .pth, .pt or .ckpt file, or the index of shards. The state dict of a checkpoint may lie
            under any keys ("model", "state_dict", ...).
        key: Take the weights under this key.

    Raises:
        StkdError: No such file, damaged, of another kind, or it would run code.
    """
    path = Path(path)
    return find_any(read_content(path), path, key)


def classes_in(path: str | Path) -> tuple[str, ...] | None:
    """Class names that a checkpoint holds beside its weights ("class_to_idx", "classes"), in the order of its outputs.

    Raises:
        StkdError: As for `read_state`.
    """
    path = Path(path)
    return None if path.suffix == ".safetensors" else named_classes(read_content(path))


def _new_head(weight: str, own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> str:
    if weight not in state:
        return f"the head {weight} is new, since the file has none"
    return f"the head {weight} is new: {len(state[weight])} classes in the file, {len(own[weight])} in the model"


def _check(
    module: nn.Module, own: Mapping[str, Tensor], state: Mapping[str, Tensor], found: Found, path: Path, role: Role
) -> None:
    missing = [name for name in own if name not in state]
    kind = type(module).__name__
    if missing or found.unexpected:
        wrong = [
            f"{len(names)} {what} ({some(list(names))})"
            for names, what in ((missing, "missing"), (found.unexpected, "unexpected"))
            if names
        ]
        raise StkdError(f"{path} does not fit the {kind}: names {' and '.join(wrong)}{_guess(found)}")
    differing = [name for name in own if own[name].shape != state[name].shape]
    if differing:
        head = next((name for name in head_names(module) if name.endswith("weight")), "")
        if set(differing) <= set(head_names(module)) and state[head].shape[1:] == own[head].shape[1:]:
            raise StkdError(
                f"the checkpoint {path} has {len(state[head])} classes, the model {len(own[head])} ({head}); "
                + _FOR_THE_HEAD[role].format(count=len(state[head]))
            )
        name = differing[0]
        shapes = f"{tuple(state[name].shape)} in the file, {tuple(own[name].shape)} in the model"
        raise StkdError(
            f"{path} does not fit the {kind}: {len(differing)} shapes differ, first {name}: {shapes}{_guess(found)}"
        )
    # as the model will have them: float64 reaches further than float32
    broken = [name for name, tensor in state.items() if not bool(torch.isfinite(tensor.to(own[name].dtype)).all())]
    if broken:
        raise StkdError(f"{path} holds NaN or infinite values in {some(broken)}; use an earlier checkpoint")


_FOR_THE_HEAD: dict[Role, str] = {
    "model": "use weights for these classes, or the data set that the weights are for",
    "teacher": "name its {count} classes with --teacher-classes FILE, one a line in the order of its outputs",
    "student": "use weights for these classes, or the data set that the weights are for",
}
"""How to go on where weights are for another number of classes."""


def _guess(found: Found) -> str:
    """Which of our models the weights belong to, as the end of a message; empty if none."""
    given = {**found.state, **found.unexpected}
    shapes = {name: tensor.shape for name, tensor in given.items() if not name.endswith(COUNTER)}
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
