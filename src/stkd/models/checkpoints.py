"""Finding the weights of a model in what a checkpoint holds, whatever keys and prefixes they lie under."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from ..core.errors import StkdError, unknown
from .safe_pickle import StandIn
from .weight_files import SECTION

__all__ = ["COUNTER", "Found", "Role", "find", "find_any", "named_classes", "some"]

Role = Literal["model", "teacher", "student"]
"""What weights are wanted for; it tells which ones are meant in a file that holds a teacher and a student."""

COUNTER = "num_batches_tracked"
"""Buffer of batch norms that checkpoints from before torch 0.4.1 do not have."""

_FLAGS: dict[Role, str] = {
    "model": "--weights-key",
    "teacher": "--teacher-weights-key",
    "student": "--student-weights-key",
}
_PREFERRED: dict[Role, tuple[Role, ...]] = {
    "model": ("model", "student", "teacher"),
    "teacher": ("teacher", "model", "student"),
    "student": ("student", "model", "teacher"),
}
_WRAPPERS = frozenset({"module", "_orig_mod", "_forward_module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
"""What DistributedDataParallel, torch.compile, Fabric and FSDP put into names, in front or in the middle."""

_KEYS = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "student", "module", "weights")
"""Keys and prefixes of weights, the usual ones first."""

_AVERAGED = re.compile(r"(^|_)(ema|swa|averaged?|n_averaged)(_|$)")
_TEACHER = re.compile(r"(^|_)teacher(_|$)")
_STUDENT = re.compile(r"(^|_)(student|architecture)(_|$)")  # mmrazor calls its student an architecture
_BESIDE = re.compile(r"(^|_)(criterions?|criteria|loss|losses|metrics?|optim\w*|schedulers?|scaler)(_|$)")
"""Words in the names of what trains a model, and is no part of it."""

_DEEPEST = 8
_SHOWN = 3


@dataclass(frozen=True)
class Found:
    """Weights of one model in a checkpoint.

    Attributes:
        key: Keys that they lie under, joined by dots; empty at the top.
        prefix: What stood before their names.
        state: Name in the model to tensor.
        averaged: Whether they are moving averages of the weights that were trained.
        missing: Names of the model that are not there.
        unexpected: What has the same prefix and a name that the model does not have.
        differing: Names whose shapes are not the model's.
    """

    key: str
    prefix: str
    state: dict[str, Tensor]
    averaged: bool = False
    missing: tuple[str, ...] = ()
    unexpected: Mapping[str, Tensor] = field(default_factory=dict)
    differing: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """Key and prefix, as an option names them."""
        return ".".join(filter(None, (self.key, self.prefix.rstrip("."))))

    @property
    def role(self) -> Role:
        """Whose weights they are, by the last word of their place that says so."""
        for word in reversed(self.place.split(".")):
            if _TEACHER.search(word):
                return "teacher"
            if _STUDENT.search(word):
                return "student"
        return "model"

    def misfits(self, head: Collection[str]) -> int:
        """How many names or shapes do not fit, beside those of the head."""
        return len(self.unexpected) + len({*self.missing, *self.differing} - set(head))


def find(
    content: object,
    own: Mapping[str, Tensor],
    path: Path,
    *,
    role: Role = "model",
    key: str | None = None,
    head: Collection[str] = (),
) -> tuple[Found, str]:
    """The weights in a checkpoint that fit a model, or those that come nearest.

    Averaged weights go before plain ones, and those of the role before others.

    Args:
        content: By `stkd.models.weight_files.read_content`.
        own: State dict of the model.
        path: The file, for messages.
        role: What they are wanted for.
        key: Take those under this key, or after this prefix.
        head: Names that may be missing or of another shape.

    Returns:
        The weights, and in words where they lay and what was left out; no words where the file is the state dict.

    Raises:
        StkdError: There are no weights, none under the key, or several that fit alike.
    """
    names = {_plain(name): name for name in own}
    names = names if len(names) == len(own) else {name: name for name in own}
    found = [
        _fit(place, prefix, state, names, own)
        for place, state in _parts(content, path).items()
        for prefix in _prefixes(state, names)
    ]
    if not any(one.state for one in found) and _is_module(content):
        raise _whole_model(path)
    if key is not None:
        found = _under(key, found, path)

    def order(one: Found) -> tuple[object, ...]:
        wrong = one.misfits(head)
        nearest = -len(one.state) if wrong else len(one.missing) + len(one.differing)
        return bool(wrong), nearest, *_preference(one, role), wrong, one.place

    best = min(found, key=order)
    others = [one for one in sorted(found, key=order) if not one.misfits(head) and one.place != best.place]
    if not best.misfits(head):
        _check_choice(best, others, role, path)
    return best, _described(best, others, content, role)


def find_any(content: object, path: Path, key: str | None = None) -> dict[str, Tensor]:
    """The weights in a checkpoint, where it is not known of which model they are.

    Args:
        content: By `stkd.models.weight_files.read_content`.
        path: The file, for messages.
        key: Take those under this key.

    Raises:
        StkdError: There are none, or none under the key.
    """
    found = []
    for place, state in _parts(content, path).items():
        state = {_plain(name): tensor for name, tensor in state.items()}
        prefix = ""
        while len(first := {name[len(prefix) :].partition(".")[0] for name in state}) == 1 and first <= set(_KEYS):
            prefix += f"{first.pop()}."
        averaged = _is_averaged(place, prefix, state)
        found.append(Found(place, prefix, {name.removeprefix(prefix): t for name, t in state.items()}, averaged))
    if key is not None:
        found = _under(key, found, path)
    return min(found, key=lambda one: (*_preference(one, "model"), -len(one.state), one.place)).state


def named_classes(content: object) -> tuple[str, ...] | None:
    """Class names that a checkpoint holds beside its weights, in the order of the outputs; None where it names none.

    Args:
        content: By `stkd.models.weight_files.read_content`.
    """
    places = [content, *content.values()] if isinstance(content, Mapping) else []
    for place in (place for place in places if isinstance(place, Mapping)):
        for key, value in place.items():
            word = str(key).lower()
            if word in ("class_to_idx", "class_to_index", "label_to_idx") and isinstance(value, Mapping):
                value = sorted(value, key=value.__getitem__) if _counts(value.values()) else None
            elif word not in ("classes", "class_names", "classnames", "label_names"):
                continue
            names = tuple(value) if isinstance(value, list | tuple) else ()
            if len(names) > 1 and all(isinstance(name, str) for name in names) and len(set(names)) == len(names):
                return names
    return None


def _counts(values: Collection[object]) -> bool:
    """Whether values are 0, 1, 2, ... in some order."""
    return all(type(value) is int for value in values) and set(values) == set(range(len(values)))


def some(names: list[str]) -> str:
    """The first few of some names."""
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")


def _parts(content: object, path: Path) -> dict[str, dict[str, Tensor]]:
    """Every mapping with tensors, by the keys that it lies under.

    Raises:
        StkdError: There is none.
    """
    parts: dict[str, dict[str, Tensor]] = {}
    for keys, tensor in _tensors(content):
        if all(isinstance(key, str) for key in keys):
            parts.setdefault(".".join(keys[:-1]), {})[keys[-1]] = tensor
    if parts:
        return parts
    if _is_module(content):
        raise _whole_model(path)
    found = f"keys {some(list(map(str, content)))}" if isinstance(content, Mapping) else f"a {type(content).__name__}"
    raise StkdError(f"{path} holds no state dict ({found}); save one under 'state_dict' or on its own")


def _tensors(content: object, keys: tuple[Any, ...] = (), seen: set[int] | None = None) -> Iterator[tuple[Any, Tensor]]:
    """Every tensor in nested containers, with the keys that lead to it."""
    seen = set() if seen is None else seen
    if isinstance(content, Tensor):
        yield keys, content.detach()
    elif isinstance(content, Mapping | list | tuple) and len(keys) < _DEEPEST and id(content) not in seen:
        seen.add(id(content))
        for key, value in content.items() if isinstance(content, Mapping) else enumerate(content):
            yield from _tensors(value, (*keys, key), seen)


def _is_module(content: object, depth: int = 3) -> bool:
    """Whether this is a module that was pickled whole, or a checkpoint with one."""
    if isinstance(content, StandIn) and isinstance(content.state, Mapping) and "_modules" in content.state:
        return True
    return isinstance(content, Mapping) and depth > 0 and any(_is_module(v, depth - 1) for v in content.values())


def _whole_model(path: Path) -> StkdError:
    return StkdError(f"{path} holds a whole model, a pickled object of Python code; {SECTION} makes weights of it")


def _plain(name: str) -> str:
    """A name without what wrappers put into it."""
    return ".".join(word for word in name.split(".") if word not in _WRAPPERS)


def _prefixes(state: Mapping[str, Tensor], names: Collection[str]) -> list[str]:
    """What may stand before the names of a model in a part; found by its longest names, which are the rarest."""
    prefixes = {"": None}
    for anchor in sorted((name for name in names if not name.endswith(COUNTER)), key=len)[-3:]:
        for name in map(_plain, state):
            if name.endswith(f".{anchor}"):
                prefixes[name.removesuffix(anchor)] = None
    return list(prefixes)


def _fit(
    place: str, prefix: str, part: Mapping[str, Tensor], names: Mapping[str, str], own: Mapping[str, Tensor]
) -> Found:
    plain = {_plain(name): tensor for name, tensor in part.items()}
    scope = {name.removeprefix(prefix): tensor for name, tensor in plain.items() if name.startswith(prefix)}
    state = {names[name]: tensor for name, tensor in scope.items() if name in names}
    return Found(
        place,
        prefix,
        state,
        averaged=_is_averaged(place, prefix, part),
        missing=tuple(name for name in own if name not in state and not name.endswith(COUNTER)),
        unexpected={
            name: tensor
            for name, tensor in scope.items()
            if name not in names and not name.endswith(COUNTER) and not _beside(name)
        },
        differing=tuple(name for name, tensor in state.items() if tensor.shape != own[name].shape),
    )


def _is_averaged(place: str, prefix: str, part: Collection[str]) -> bool:
    """Whether keys or prefix say so, or the counter that AveragedModel keeps beside its weights."""
    return "n_averaged" in part or any(map(_AVERAGED.search, [*place.split("."), *prefix.split(".")]))


def _beside(name: str) -> bool:
    """Whether a name says that it belongs to no part of the model itself."""
    first = name.partition(".")[0]
    return any(pattern.search(first) for pattern in (_BESIDE, _AVERAGED, _TEACHER, _STUDENT))


def _under(key: str, found: list[Found], path: Path) -> list[Found]:
    """Those whose place is a key, or begins or goes on with it; "." is the top.

    Raises:
        StkdError: There are none; names the nearest place.
    """
    for matches in (
        [one for one in found if (one.place or ".") == key],
        [one for one in found if f".{one.place}.".startswith(f".{key}.")],
        [one for one in found if f".{key}." in f".{one.place}."],
    ):
        if matches:
            return matches
    raise unknown(f"key of weights in {path}", key, {one.place or "." for one in found})


def _preference(one: Found, role: Role) -> tuple[int, ...]:
    """Smaller is better; those alike in all but the last number were not told apart."""
    words = one.place.split(".")
    usual = min((_KEYS.index(word) for word in words if word in _KEYS), default=len(_KEYS))
    beside = any(map(_BESIDE.search, words))
    return (beside, _PREFERRED[role].index(one.role), not one.averaged, usual, len(words))


def _check_choice(best: Found, others: list[Found], role: Role, path: Path) -> None:
    """Refuse to choose between weights that nothing tells apart.

    Raises:
        StkdError: There are others like the best.
    """
    for one in others:
        alike = _preference(one, role)[:-1] == _preference(best, role)[:-1]
        either = role == "model" and {one.role, best.role} == {"teacher", "student"}
        if (alike or either) and not _same(one, best):
            raise StkdError(
                f"{path} holds several weights that fit ({best.place}, {one.place}); "
                f"say which with {_FLAGS[role]} {best.place}"
            )


def _same(one: Found, other: Found) -> bool:
    return one.state.keys() == other.state.keys() and all(
        torch.equal(tensor, other.state[name]) for name, tensor in one.state.items()
    )


def _described(best: Found, others: list[Found], content: object, role: Role) -> str:
    """What was chosen, taken off and left out, in words."""
    said = []
    if best.key:
        said.append(f"weights under {best.key!r}")
    if best.prefix:
        said.append(f"prefix {best.prefix!r} taken off")
    wrappers: set[str] = set()
    left = Counter[str]()
    for keys, _ in _tensors(content):
        here = best.key == ".".join(map(str, keys[:-1]))
        name = _plain(str(keys[-1]))
        if here and name.startswith(best.prefix) and not name.removeprefix(best.prefix).endswith(COUNTER):
            wrappers |= _WRAPPERS & set(str(keys[-1]).split("."))
        if not here or not name.startswith(best.prefix) or _beside(name.removeprefix(best.prefix)):
            left[name.partition(".")[0] if here else str(keys[0]).partition(".")[0]] += 1
    said += [f"{wrapper!r} taken out of the names" for wrapper in sorted(wrappers)]
    if others:
        what = "these are averaged; " if best.averaged and not all(one.averaged for one in others) else ""
        said.append(f"{what}others that fit: {_FLAGS[role]} {' or '.join(one.place or '.' for one in others[:_SHOWN])}")
    if left:
        said.append(
            "left out: " + some([f"{count} tensor{'s' * (count > 1)} of {name}" for name, count in left.most_common()])
        )
    return "; ".join(said)
