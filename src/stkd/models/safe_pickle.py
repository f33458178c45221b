"""Reading files of torch.save without importing or calling anything that they name.

A pickle names the classes and functions that rebuild it. Here tensors, ordered dictionaries and sets are rebuilt; every
other name becomes a stand-in, a class of ours that keeps what it is given and does nothing. So arguments, paths and
numbers beside the weights are no hindrance, and no file can run code.
"""

from __future__ import annotations

import pickle
import warnings
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections import OrderedDict
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from ..core.pickles import BoundedUnpickler

__all__ = ["RunsCode", "StandIn", "load_torch_file"]


class RunsCode(pickle.UnpicklingError):
    """The pickle asks for something that no checkpoint has a use for; it was neither imported nor called.

    Attributes:
        name: What it asks for, with its module.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class StandIn(dict[Any, Any]):
    """Stands in for an object of a class that is not read; its items are those of an object that is a dictionary.

    Attributes:
        stands_for: Module and name of the class.
        state: What the object was made of; None if nothing.
    """

    stands_for = ""

    def __new__(cls, *args: object, **kwargs: object) -> StandIn:
        return super().__new__(cls)

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__()
        self.state: object = args or None

    def __setstate__(self, state: object) -> None:
        self.state = state

    def __call__(self, *args: object, **kwargs: object) -> None:
        raise RunsCode(f"the result of {self.stands_for}")

    def append(self, item: object) -> None:
        """Drop an item of what was a list."""

    def extend(self, items: Iterable[object]) -> None:
        """Drop items of what was a list."""

    __hash__ = object.__hash__  # type: ignore[assignment]
    __eq__ = object.__eq__


def load_torch_file(path: Path) -> object:
    """What torch.save wrote to a file, with tensors on the CPU and a `StandIn` for all that is neither data nor tensor.

    Args:
        path: A file of torch.save, of any age, that is no TorchScript archive.

    Raises:
        RunsCode: It asks for a function that runs programs or changes files.
        Exception: It is damaged or something else; torch's readers raise whatever they like.
    """
    reader = SimpleNamespace(__name__="stkd", Unpickler=_Unpickler, load=_load)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the age of the format, which is not the user's concern
        # Not weights_only: that reader refuses a file for a harmless class beside the weights. Ours calls even less.
        return torch.load(path, "cpu", pickle_module=reader, weights_only=False, encoding="latin1")


class _Function:
    """A function of ours in the hands of a pickle, which can call it and not change it."""

    __slots__ = ("_call",)

    def __init__(self, call: Callable[..., object]) -> None:
        self._call = call

    def __call__(self, *args: object) -> object:
        return self._call(*args)

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError("it would change a function")


def _tensor(storage: Any, offset: int, size: Any, stride: Any, *_: object) -> Tensor:
    """A tensor without gradient and hooks."""
    tensor: Tensor = torch._utils._rebuild_tensor(storage, offset, size, stride)  # type: ignore[no-untyped-call]
    return tensor


def _tensor_of_dtype(
    storage: Any, offset: int, size: Any, stride: Any, _grad: object, _hooks: object, dtype: torch.dtype, *_: object
) -> Tensor:
    """A tensor whose storage does not say its type."""
    tensor: Tensor = torch._utils._rebuild_tensor_v3(  # type: ignore[no-untyped-call]
        storage, offset, size, stride, False, OrderedDict(), dtype
    )
    return tensor


def _parameter(data: Tensor, *_: object) -> Tensor:
    """The tensor of a parameter."""
    return data


def _of_type(function: Callable[..., Tensor], _kind: object, args: tuple[object, ...], *_: object) -> Tensor:
    """The tensor behind one of a subclass or with attributes."""
    if not isinstance(function, _Function):
        raise pickle.UnpicklingError("it rebuilds a tensor in a way that is not known")
    return function(*args)  # type: ignore[return-value]


def _instance(kind: object, *_: object) -> object:
    """An empty object, by which pickles of protocol 2 begin one of a class."""
    return kind() if isinstance(kind, type) and issubclass(kind, StandIn) else StandIn()


_ADMITTED: dict[str, object] = {
    "collections.OrderedDict": OrderedDict,
    "builtins.set": set,
    "builtins.frozenset": frozenset,
    "torch.Size": torch.Size,
    "torch._utils._rebuild_tensor": _Function(_tensor),
    "torch._utils._rebuild_tensor_v2": _Function(_tensor),
    "torch._utils._rebuild_tensor_v3": _Function(_tensor_of_dtype),
    "torch._utils._rebuild_parameter": _Function(_parameter),
    "torch._utils._rebuild_parameter_with_state": _Function(_parameter),
    "torch._tensor._rebuild_from_type_v2": _Function(_of_type),
    "copyreg._reconstructor": _Function(_instance),
}
"""What is not replaced by a stand-in: none of it imports, writes or can be changed by a pickle."""

_PROGRAMS = frozenset(
    {"os", "posix", "nt", "sys", "subprocess", "shutil", "importlib", "runpy", "socket", "pty", "ctypes", "webbrowser"}
)
_FUNCTIONS = frozenset(
    {f"builtins.{name}" for name in ("eval", "exec", "compile", "open", "__import__", "breakpoint", "setattr")}
    | {"io.open", "_io.open"}
)
"""Honest checkpoints have no use for these. They would be harmless as stand-ins too; a file that asks is told of."""


class _Unpickler(BoundedUnpickler):
    def find_class(self, module: str, name: str) -> Any:
        # pickles up to protocol 2 have the names of Python 2
        module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
        full = f"{module}.{name}"
        if module.partition(".")[0] in _PROGRAMS or full in _FUNCTIONS:
            raise RunsCode(full)
        if module == "torch" and isinstance(value := getattr(torch, name, None), torch.dtype):
            return value
        if full == "torch.storage.UntypedStorage":
            return SimpleNamespace(dtype=torch.uint8)  # all that torch's reader asks it for
        if full in _ADMITTED:
            return _ADMITTED[full]
        return type(name, (StandIn,), {"stands_for": full})


def _load(file: Any, **options: Any) -> object:
    return _Unpickler(file, **options).load()
