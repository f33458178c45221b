"""Files of torch.save are read without importing or calling anything that they name."""

from __future__ import annotations

import argparse
import builtins
import functools
import os
import pickle
import subprocess
import sys
from collections import Counter, OrderedDict, defaultdict, deque
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from stkd.models.safe_pickle import RunsCode, StandIn, load_torch_file


class Call:
    """An object whose unpickling calls something."""

    def __init__(self, function: Any, *args: object) -> None:
        self.function, self.args = function, args

    def __reduce__(self) -> tuple[Any, ...]:
        return self.function, self.args


class Changed:
    """An object whose unpickling sets attributes of something that the reader hands out."""

    def __init__(self, target: Any) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return _Same(self.target), (), {"__defaults__": (1,)}


def _Same(target: Any) -> Any:
    return target


def written(value: object, path: Path, *, legacy: bool = False, protocol: int = 2) -> object:
    torch.save(value, path, _use_new_zipfile_serialization=not legacy, pickle_protocol=protocol)
    return load_torch_file(path)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize(
    "function",
    [os.system, os.mkdir, subprocess.call, subprocess.Popen, eval, exec, builtins.open, sys.exit, __import__],
    ids=lambda function: function.__name__,
)
def test_programs_are_refused_and_not_run(
    function: Any, protocol: int, legacy: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    marker = "ran"
    arguments = {"system": "touch ran", "call": ["touch", "ran"], "Popen": ["touch", "ran"]}
    content = {"model": {"a": torch.ones(1)}, "args": Call(function, arguments.get(function.__name__, marker))}
    with pytest.raises(RunsCode, match=function.__name__):
        written(content, tmp_path / "x.pth", legacy=legacy, protocol=protocol)
    assert os.listdir(tmp_path) == ["x.pth"]


@pytest.mark.parametrize("protocol", [2, 4])
def test_methods_of_harmless_classes_are_not_called(protocol: int, tmp_path: Path) -> None:
    """Before protocol 4 a method is looked up with getattr, and the answer is called."""
    content = {"a": torch.ones(1), "b": Call(Path.touch, tmp_path / "ran"), "c": Call(Path.unlink, tmp_path / "x.pth")}
    try:
        written(content, tmp_path / "x.pth", protocol=protocol)
    except RunsCode as error:
        assert "getattr" in str(error)  # noqa: PT017
    assert os.listdir(tmp_path) == ["x.pth"]


def test_no_module_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "strange_module.py").write_text("class Thing:\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    from strange_module import Thing  # type: ignore[import-not-found]

    torch.save({"a": torch.ones(1), "b": Thing()}, tmp_path / "x.pth")
    monkeypatch.delitem(sys.modules, "strange_module")
    content = load_torch_file(tmp_path / "x.pth")
    assert "strange_module" not in sys.modules
    assert isinstance(content, dict)
    assert isinstance(content["b"], StandIn)
    assert content["b"].stands_for == "strange_module.Thing"


@pytest.mark.parametrize("opcodes", [b"}b", b"N}\x86b"], ids=["state", "slots"])
@pytest.mark.parametrize(
    "name", [b"torch._utils\n_rebuild_tensor_v2", b"copyreg\n_reconstructor", b"argparse\nNamespace"]
)
def test_a_pickle_cannot_change_what_it_is_handed(name: bytes, opcodes: bytes, tmp_path: Path) -> None:
    pickled = b"\x80\x02c" + name + b"\n" + opcodes + b"."
    path = tmp_path / "x.pth"
    torch.save(torch.ones(1), path, _use_new_zipfile_serialization=False)
    content = path.read_bytes()
    # the fourth pickle of the old format is the object; those before it are numbers and the machine's sizes
    places = [end for end in range(len(content)) if content[end : end + 2] == b"\x80\x02"]
    path.write_bytes(content[: places[3]] + pickled + b"\x80\x02]q\x00.")
    with pytest.raises((pickle.UnpicklingError, TypeError, AttributeError)):
        load_torch_file(path)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("protocol", [2, 4])
def test_harmless_objects_are_no_hindrance(legacy: bool, protocol: int, tmp_path: Path) -> None:
    recent = defaultdict(list, {"a": [1]})
    content = {
        "model": OrderedDict(a=torch.arange(3.0), b=nn.Parameter(torch.ones(2))),
        "args": argparse.Namespace(lr=0.1, out=Path("runs"), kind=int),
        "windows": PureWindowsPath("a/b"),
        "numbers": [
            np.float64(1),
            np.float32(2),
            np.int64(3),
            np.bool_(True),
            np.uint8(4),
            np.float16(5),
            np.str_("x"),
        ],
        "array": np.zeros(3),
        "complex": 1 + 2j,
        "recent": recent,
        "queue": deque([1, 2], maxlen=3),
        "count": Counter("abc"),
        "function": functools.partial(max, 1),
        "set": {1, 2},
        "dtype": torch.float16,
        "size": torch.Size([1, 2]),
        "loss": nn.CrossEntropyLoss(weight=torch.ones(2)),
        "paths": {Path("a"), Path("b")},
    }
    read = written(content, tmp_path / "x.pth", legacy=legacy, protocol=protocol)
    assert isinstance(read, dict)
    assert list(read) == list(content)
    assert torch.equal(read["model"]["a"], torch.arange(3.0))
    assert type(read["model"]["b"]) is Tensor
    assert read["set"] == {1, 2}
    assert read["dtype"] is torch.float16
    assert dict(read["recent"]) == {"a": [1]}
    assert read["args"].stands_for == "argparse.Namespace"
    assert len(read["paths"]) == 2


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.uint8, torch.bool, torch.uint16]
)
@pytest.mark.parametrize("legacy", [False, True])
def test_tensors_of_every_type(dtype: torch.dtype, legacy: bool, tmp_path: Path) -> None:
    tensor = torch.arange(6).to(dtype).reshape(2, 3)
    read = written(
        {"a": tensor, "view": tensor[:, 1:] if dtype != torch.uint16 else tensor}, tmp_path / "x.pth", legacy=legacy
    )
    assert isinstance(read, dict)
    assert read["a"].dtype == dtype
    assert torch.equal(read["a"].to(torch.float64), tensor.to(torch.float64))


def test_tensors_with_attributes_and_of_subclasses_are_tensors(tmp_path: Path) -> None:
    named = torch.ones(2)
    named.note = "kept elsewhere"  # type: ignore[attr-defined]
    kind = torch.ones(3).as_subclass(Marked)
    read = written({"named": named, "kind": kind}, tmp_path / "x.pth")
    assert isinstance(read, dict)
    assert torch.equal(read["named"], torch.ones(2))
    assert torch.equal(read["kind"], torch.ones(3))


class Marked(Tensor):
    """A tensor of a class of its own."""
