"""Methods as users write them: NAME, NAME:option=value,option=value, or several of these joined by +."""

from __future__ import annotations

import dataclasses
import re
import types
from typing import Any, Union, get_args, get_origin, get_type_hints

import yaml

from ..core.errors import StkdError, unknown
from ..core.plain_yaml import parse_yaml
from ..mixing import Mix
from .base import REAL, Method, methods
from .combined import Combined

__all__ = ["parse", "resolve_mix"]


def parse(spec: str) -> Method:
    """A method from its text, such as "kd", "stkd:temperature=2,beta=8" or "crd+kd:weight=0.5".

    Raises:
        StkdError: The name or an option is unknown, or a value has the wrong type or range.
    """
    parts = [_parse_one(part) for part in re.split(r"\+(?=[A-Za-z])", spec)]
    return parts[0] if len(parts) == 1 else Combined(parts=tuple(parts))


def _parse_one(spec: str) -> Method:
    name, _, rest = spec.partition(":")
    cls = methods.get(name)
    hints = get_type_hints(cls)
    fields = {f.name for f in dataclasses.fields(cls)}
    options: dict[str, Any] = {}
    for item in filter(None, rest.split(",")):
        key, equals, text = item.partition("=")
        if not equals:
            raise StkdError(f"option {item!r} of method {name} has no value; write {name}:{item}=VALUE")
        if key not in fields:
            raise unknown(f"option of method {name}", key, fields)
        if key in options:
            raise StkdError(f"option {key} of method {name} is given twice; leave out one")
        options[key] = _typed(text, hints[key], f"option {key} of method {name}")
    return cls(**options)


def _typed(text: str, hint: Any, what: str) -> Any:
    """The text as one of the plain types that method options have."""
    try:
        value = parse_yaml(text)
    except yaml.YAMLError:
        value = text
    allowed = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    if type(None) in allowed and text.lower() == "none":  # as `stkd list methods` shows it
        return None
    if float in allowed:
        try:
            return float(text)  # YAML would take 1e-3 for a word
        except ValueError:
            pass
    if type(value) in allowed:
        return value
    names = " or ".join("none" if t is type(None) else t.__name__ for t in allowed)
    raise StkdError(f"{what} must be {names}, got {text!r}")


def resolve_mix(method: Method, **asked: Any) -> Mix:
    """The virtual samples of a run: the method's own, changed where the user chose (fields of Mix; None = not chosen).

    Raises:
        StkdError: The choices contradict each other.
    """
    chosen = {k: v for k, v in asked.items() if v is not None}
    if chosen.get("kind", method.mix.kind) == "none":
        neutral = {"kind"} | {name for name in ("instances", "until") if chosen.get(name) == 1}
        useless = sorted("mix_until" if name == "until" else name for name in set(chosen) - neutral)
        if useless:
            raise StkdError(
                f"{', '.join(useless)} set, but there are no virtual samples here; add --mix mixup or leave it out"
            )
        return dataclasses.replace(REAL, strong=method.mix.strong)
    if "kind" in chosen and method.mix.kind == "none" and "instances" not in chosen:
        chosen["instances"] = Mix().instances
    mix = dataclasses.replace(method.mix, **chosen)
    if mix.instances == 1:
        return dataclasses.replace(REAL, strong=mix.strong)
    if method.real_rows and not (mix.beside or mix.real):
        raise StkdError(
            "this method works on single images, and every row would be mixed; "
            "keep real ones with --beside true or --real 0.5, or take --mix none"
        )
    return mix
