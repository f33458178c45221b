"""Names of classes whose images have numbers for labels, from a file beside them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from ..core.errors import StkdError
from ..core.plain_yaml import parse_yaml

__all__ = ["class_list", "names_in", "one_of_each"]

_TEXTS = ("classes.txt", "classnames.txt", "labels.txt")
_INFOS = ("dataset_info.json", "dataset_infos.json")
_MOST_BYTES = 64 << 20


def class_list(root: Path, labels: Sequence[str]) -> tuple[str, ...] | None:
    """Names of the classes in the order of their labels, where a file of a data set tells them.

    That is a text file with one name a line (classes.txt, classnames.txt or labels.txt), or what the `datasets` library
    writes: dataset_info.json, or the head of README.md.

    Args:
        root: Folder of the data set.
        labels: Names that the feature of labels may have there.

    Returns:
        The names, each once; None where no file tells them.

    Raises:
        StkdError: The text file cannot be read.
    """
    for name in _TEXTS:
        if (file := root / name).is_file():
            return one_of_each([line.strip() for line in _text(file).splitlines() if line.strip()])
    for name in (*_INFOS, "README.md"):
        found = names_in(_document(root / name), labels)
        if found is not None:
            return found
    return None


def names_in(document: Any, labels: Sequence[str]) -> tuple[str, ...] | None:
    """Names of the classes in a description of a data set as `datasets` writes it; None where none, or two, are there.

    Args:
        document: Of JSON or YAML.
        labels: As in `class_list`.
    """
    try:
        found = {tuple(names) for names in _names(document, labels)}
    except RecursionError:
        return None
    return one_of_each(found.pop()) if len(found) == 1 else None


def one_of_each(names: Sequence[str]) -> tuple[str, ...]:
    """The names, with its label behind each that comes twice."""
    count: dict[str, int] = {}
    for name in names:
        count[name] = count.get(name, 0) + 1
    # ImageNet has two cranes
    return tuple(name if count[name] == 1 else f"{name} ({label})" for label, name in enumerate(names))


def _names(node: Any, labels: Sequence[str]) -> Iterator[list[str]]:
    if isinstance(node, list):
        for part in node:
            yield from _names(part, labels)
    if not isinstance(node, dict):
        return
    for label in labels:
        if isinstance(feature := node.get(label), dict) and isinstance(names := feature.get("names"), list):
            yield [str(name) for name in names]
    if node.get("name") in labels and isinstance(kind := node.get("dtype"), dict):
        names = kind["class_label"].get("names") if isinstance(kind.get("class_label"), dict) else None
        if isinstance(names, dict) and all(str(key).isdecimal() for key in names):
            yield [str(names[key]) for key in sorted(names, key=lambda key: int(str(key)))]
    for part in node.values():
        yield from _names(part, labels)


def _document(file: Path) -> Any:
    """What a description holds; None where there is none, or it is no such thing."""
    try:
        if not file.is_file() or file.stat().st_size > _MOST_BYTES:
            return None
        text = file.read_text(encoding="utf-8-sig")
        if file.suffix == ".json":
            return json.loads(text)
        _, start, rest = text.partition("---\n")
        head, end, _ = rest.partition("\n---")
        return parse_yaml(head) if start and end and text.startswith("---\n") else None
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return None


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no text in UTF-8"
        raise StkdError(f"{file} cannot be read ({reason}); give one name of a class a line, or remove it") from None
