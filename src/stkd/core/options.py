"""Configs on the command line: each field of a dataclass is a flag; a recipe gives values to absent flags."""

from __future__ import annotations

import argparse
import dataclasses
from argparse import ArgumentError
from collections.abc import Collection, Iterator
from functools import cache
from types import UnionType
from typing import Any, Literal, NoReturn, TypeVar, Union, get_args, get_origin

from jsonargparse import ArgumentParser, Namespace

from .config import RunConfig, build, groups, hints, plain_value
from .errors import StkdError, unknown
from .keywords import KeywordsAction
from .recipes import find_recipe, read_recipe

__all__ = ["Parser", "add_config", "add_options", "checked", "config_from", "options_from"]

C = TypeVar("C", bound=RunConfig)


class Parser(ArgumentParser):
    """A parser whose errors are one line."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(
            *args, exit_on_error=False, print_config=None, formatter_class=argparse.HelpFormatter, **kwargs
        )

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise instead of printing the usage and leaving."""
        raise StkdError(self._problem(message, ex))

    def _problem(self, message: str, error: Exception | None) -> str:
        """What is wrong, in our words.

        jsonargparse's exceptions have neither the name nor the value of an option as attributes; both stand in their
        messages, the name in quotes, the value at the end of the first cause. What would be right is asked of the
        parser.
        """
        if rest := message.partition("unrecognized arguments: ")[2]:
            word = rest.split()[0]
            flags = [flag[2:] for action in self._actions for flag in action.option_strings if flag.startswith("--")]
            name = word.removeprefix("--").partition("=")[0]
            return str(unknown("option", name, flags)) if word.startswith("-") else f"unexpected {word!r}"
        if rest := message.partition("arguments are required: ")[2]:
            return f"missing: {', '.join(name.rpartition('.')[2] for name in rest.split(', '))}"
        if "integer string conversion" in message and '"' in message:  # Python's words are for programmers
            return f"--{message.split(chr(34))[1].rpartition('.')[2].replace('_', '-')} is a number of too many digits"
        cause: BaseException | None = error
        while cause is not None and cause.__cause__ is not None:
            cause = cause.__cause__
        if isinstance(error, TypeError) and " value: " in str(cause):
            dest, value = message.split('"')[1].rpartition(".")[2], str(cause).rpartition(" value: ")[2]
            return self._mismatch(dest, value)
        return " ".join(message.split())

    def _mismatch(self, dest: str, value: str) -> str:
        """A value of an argument that is not of its type."""
        action = next(action for action in self._all_actions() if action.dest == dest)
        name = action.option_strings[-1] if action.option_strings else dest
        return f"{name} must be {_expected(action._typehint)}, got {value}"  # type: ignore[attr-defined]

    def _all_actions(self) -> Iterator[argparse.Action]:
        """Actions of this parser and of those of its subcommands."""
        for action in self._actions:
            yield action
            if isinstance(action.choices, dict):
                for parser in action.choices.values():
                    yield from parser._all_actions()


_KINDS = {int: "a whole number", float: "a number", bool: "true or false", tuple: "a list such as [0.5,0.75]"}


def _expected(kind: Any) -> str:
    """A type in words."""
    if get_origin(kind) is Literal:
        return f"one of {', '.join(repr(choice) for choice in get_args(kind))}"
    parts = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    words = [_expected(part) if get_origin(part) is Literal else _KINDS.get(get_origin(part) or part) for part in parts]
    return " or ".join(word for word in words if word) or "another value"


def add_config(parser: Parser, config: type[RunConfig]) -> None:
    """Give a parser one flag for each field of a config, under the config's headings, and --recipe."""
    needed = [f for fields in groups(config).values() for f in fields if f.default is dataclasses.MISSING]
    words = [str(action.metavar) for action in parser._actions if not action.option_strings]
    kinds = hints(config)
    words += [f"{_flag(field.name)} {_metavar(field.name, kinds[field.name])}" for field in needed]
    parser.usage = " ".join(["%(prog)s", *words, "[OPTIONS]"])
    parser.add_argument("--recipe", metavar="NAME|FILE", help="YAML file of options, or a recipe that comes with stkd")
    add_options(parser, config, {field.name for field in dataclasses.fields(config)})


def add_options(parser: Parser, config: type[RunConfig], names: Collection[str]) -> None:
    """Give a parser one flag for each of some fields of a config, under the config's headings."""
    kinds = hints(config)  # once: it takes a millisecond or two
    for heading, fields in groups(config).items():
        chosen = [field for field in fields if field.name in names]
        if not chosen:
            continue
        group = parser.add_argument_group(heading)
        for field in chosen:
            required = field.default is dataclasses.MISSING
            # An absent flag must not override a recipe, so the parser's defaults are all None.
            text = field.metadata["help"] + ("" if required or field.default is None else f" [{_shown(field.default)}]")
            kind = kinds[field.name]
            mapping = any(get_origin(part) is dict for part in get_args(kind))
            group.add_argument(
                _flag(field.name),
                **({"action": KeywordsAction} if mapping else {"type": kind | None}),
                default=None,
                help=text.replace("%", "%%"),
                metavar="KEY=VALUE,..." if mapping else _metavar(field.name, kind),
            )


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _metavar(name: str, kind: Any) -> str:
    choices = [c for c in get_args(kind) if isinstance(c, str)]
    for part in get_args(kind):
        choices += [c for c in get_args(part) if isinstance(c, str)]
    if choices:
        return "{" + ",".join(choices) + "}"
    return (
        "true|false"
        if kind is bool or bool in get_args(kind)
        else _METAVAR.get(name, "N" if int in (kind, *get_args(kind)) else "X")
    )


_METAVAR = {
    "data": "KIND[:PATH]",
    "out": "DIR",
    "model": "NAME",
    "teacher": "NAME",
    "student": "NAME",
    "method": "NAME",
    "weights": "FILE|RUN",
    "teacher_weights": "FILE|RUN",
    "student_weights": "FILE|RUN",
    "weights_key": "KEY",
    "teacher_weights_key": "KEY",
    "student_weights_key": "KEY",
    "teacher_classes": "FILE",
    "teacher_class_map": "FILE",
    "teacher_cache": "DIR",
    "plugin": "FILE",
    "class_weights": "balanced|FILE",
    "accelerator": "NAME",
    "strategy": "NAME",
    "milestones": "[X,...]",
    "more_teachers": "[RUN,...]",
    "teacher_shares": "[X,...]",
    "teacher_mean": "[X,...]",
    "teacher_std": "[X,...]",
    "teacher_norm": "NAME",
    "norm": "NAME",
}


def _shown(value: Any) -> str:
    """A default as the flag takes it."""
    if isinstance(value, tuple):
        return f"[{','.join(map(_shown, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def config_from(config: type[C], given: Namespace) -> C:
    """The config of a command: its flags, then its recipe, then the defaults.

    Raises:
        StkdError: A recipe's key or value is wrong, or a needed option is missing.
    """
    return build(config, options_from(config, given))


def options_from(config: type[RunConfig], given: Namespace) -> dict[str, Any]:
    """The options that a command gives, by its flags or else by its recipe.

    Raises:
        StkdError: A recipe's key or value is wrong.
    """
    names = {f.name for f in dataclasses.fields(config)}
    flags = {k: v for k, v in vars(given).items() if k in names and v is not None}
    recipe = read_recipe(find_recipe(given.recipe)) if given.recipe else {}
    return {**checked(config, recipe), **flags}


def checked(config: type[RunConfig], options: dict[str, Any]) -> dict[str, Any]:
    """Options from a recipe or from Python, each converted to the type of its field.

    Raises:
        StkdError: A name is unknown or a value has the wrong type.
    """
    names = {f.name for f in dataclasses.fields(config)}
    for name in options:
        if name not in names:
            raise unknown("option", name, names)
    parser = _parser_of(config)  # type: ignore[arg-type]  # classes can be hashed, mypy asks their instances
    plain = {k: plain_value(v) for k, v in options.items()}
    try:
        typed = vars(parser.parse_object(plain, defaults=False))
    except ArgumentError as error:
        parser.error(str(error), error)
    return {k: v for k, v in typed.items() if k in names and v is not None}


@cache
def _parser_of(config: type[RunConfig]) -> Parser:
    """A parser of all fields; building one takes longer than using it."""
    parser = Parser()
    add_config(parser, config)
    return parser
