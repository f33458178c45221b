"""What the modules of a room register, read from their source: to list names takes no torch.

A registration is a call with a name, a summary and a paper: `@methods.register("kd", ...)`, or for the model zoo
`register(f"resnet{depth}", ...)(...)` in a loop. Whatever is not as plain as that has the room imported instead.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from types import CodeType
from typing import Any

__all__ = ["Registration", "registrations"]


@dataclass(frozen=True)
class Registration:
    """A name that is registered.

    Attributes:
        name, summary, paper: As `stkd.core.registry.Entry` has them.
        options: Fields of the class that is registered, and their defaults.
    """

    name: str
    summary: str
    paper: str = ""
    options: dict[str, Any] = field(default_factory=dict)


def registrations(room: str, group: str) -> list[Registration] | None:
    """What a room of stkd registers, in the order of its files.

    Args:
        room: Such as "stkd.methods".
        group: Entry points by which installed packages add to it.

    Returns:
        None where only an import can tell: installed packages add to it, or a registration is not plain.
    """
    spec = find_spec(room)
    if spec is None or not spec.submodule_search_locations or entry_points(group=group):
        return None
    (folder,) = spec.submodule_search_locations
    try:
        trees = [ast.parse(file.read_text(encoding="utf-8")) for file in sorted(Path(folder).rglob("*.py"))]
        classes = {node.name: node for tree in trees for node in tree.body if isinstance(node, ast.ClassDef)}
        return [one for tree in trees for node in tree.body for one in _registered(node, classes)]
    except (OSError, SyntaxError, ValueError, NameError, TypeError, KeyError):
        return None


def _registered(node: ast.stmt, classes: dict[str, ast.ClassDef]) -> Iterator[Registration]:
    if isinstance(node, ast.ClassDef | ast.FunctionDef):
        for call in node.decorator_list:
            if isinstance(call, ast.Call) and _is_register(call.func):
                name, summary, *paper = (_value(argument) for argument in call.args)
                options = _options(node, classes) if isinstance(node, ast.ClassDef) else {}
                yield Registration(name, summary, paper[0] if paper else "", options)
    elif isinstance(node, ast.For | ast.Expr) and any(
        isinstance(inner, ast.Call) and _is_register(inner.func) for inner in ast.walk(node)
    ):
        yield from _run(compile(ast.Module([node], []), "", "exec"))


def _is_register(function: ast.expr) -> bool:
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    return name == "register"


def _options(node: ast.ClassDef, classes: dict[str, ast.ClassDef]) -> dict[str, Any]:
    """The fields of a dataclass with their defaults, those of its bases first."""
    options: dict[str, Any] = {}
    for base in node.bases:
        if isinstance(base, ast.Name) and base.id in classes:
            options |= _options(classes[base.id], classes)
    for line in node.body:
        match line:
            case ast.AnnAssign(target=ast.Name(id=name), annotation=kind, value=ast.expr() as value):
                if not ast.unparse(kind).startswith("ClassVar"):
                    options[name] = _value(value)
    return options


def _value(expression: ast.expr) -> Any:
    """The value of numbers and texts, and of arithmetic with them.

    Raises:
        NameError: There is a name in it.
    """
    return eval(compile(ast.Expression(expression), "", "eval"), {"__builtins__": {}})  # noqa: S307, our own source


class _Names(dict[str, Any]):
    """Names of a module that is not imported: `register` notes its arguments, all others stand for nothing."""

    def __init__(self) -> None:
        super().__init__(register=self._register)
        self.found: list[Registration] = []

    def __missing__(self, name: str) -> Any:
        return self._nothing

    def _register(self, name: str, summary: str, paper: str = "") -> Any:
        self.found.append(Registration(name, summary, paper))
        return self._nothing

    def _nothing(self, *_: Any, **__: Any) -> Any:
        return self._nothing


def _run(loop: CodeType) -> list[Registration]:
    names = _Names()
    exec(loop, {"__builtins__": {}}, names)  # noqa: S102, our own source, and no name in it but `register` does a thing
    return names.found
