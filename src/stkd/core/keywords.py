"""Keyword arguments as text: KEY=VALUE,KEY=VALUE, with values as in YAML."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from typing import Any

import yaml

from .errors import StkdError
from .plain_yaml import parse_yaml

__all__ = ["KeywordsAction", "check_keywords", "parse_keywords", "yaml_scalar"]

_NEXT_KEY = re.compile(r",(?=[^,=\[\]{}]+=)")


def parse_keywords(text: str) -> dict[str, Any]:
    """A mapping from text such as "drop_rate=0.1,global_pool=max".

    A value ends where a comma and the next KEY= begin, so that lists such as `depths=[2,2]` stay whole.

    Raises:
        StkdError: A part has no key or no value.

    Example:
        >>> parse_keywords("drop_rate=1e-1,depths=[2,2],pool=max")
        {'drop_rate': 0.1, 'depths': [2, 2], 'pool': 'max'}
    """
    keywords: dict[str, Any] = {}
    for item in _NEXT_KEY.split(text):
        key, equals, value = item.partition("=")
        if not equals or not key.strip().isidentifier():
            raise StkdError(f"{item!r} is not KEY=VALUE; write for example drop_rate=0.1,global_pool=max")
        keywords[key.strip()] = yaml_scalar(value)
    return keywords


def yaml_scalar(text: str) -> Any:
    """The value that a text has in YAML, where numbers may also be written as 1e-3."""
    try:
        value = parse_yaml(text)
    except yaml.YAMLError:
        return text
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            pass
    return value


def check_keywords(name: str, keywords: object) -> None:
    """Check that an option is a mapping of keyword arguments with plain values.

    Args:
        name: Of the option.
        keywords: Its value.

    Raises:
        StkdError: It is not.
    """
    if not isinstance(keywords, Mapping):
        raise StkdError(f"{name} must be a mapping such as {{drop_rate: 0.1}}, got {keywords!r}")
    for key, value in keywords.items():
        if not isinstance(key, str) or not key.isidentifier():
            raise StkdError(f"{name} must have names of keyword arguments as keys, got {key!r}")
        if not _is_plain(value):
            raise StkdError(f"{name}: {key} must be a number, a text, true, false, none or a list of these")


def _is_plain(value: object) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)


class KeywordsAction(argparse.Action):
    """A flag that takes KEY=VALUE,... and may be repeated; the last value of a key counts."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        """Add what one flag gives."""
        before = getattr(namespace, self.dest, None) or {}
        setattr(namespace, self.dest, {**before, **parse_keywords(values)})
