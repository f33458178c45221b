"""YAML as options need it: of bounded size and depth, without a key that comes twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

__all__ = ["parse_yaml", "read_yaml", "why"]

_MOST_BYTES = 1 << 20
_MOST_NODES = 100_000  # values and keys, each alias counted as what it stands for
_DEEPEST = 50
_LONGEST_NUMBER = 40  # characters; Python itself refuses to read, or to print, more than 4,300 digits


def parse_yaml(text: str) -> Any:
    """What a text means, in Python's own containers and values.

    Raises:
        yaml.YAMLError: It is not YAML, is nested deeply, grows by its aliases beyond all use, refers to itself, has a
            key twice, or a value that cannot be read.
    """
    loader = _Loader(text)
    try:
        return loader.get_single_data()
    except yaml.YAMLError:
        raise
    except (ValueError, LookupError, AttributeError, TypeError, ArithmeticError) as error:
        # PyYAML's constructors let through what Python says of a date such as 2024-13-45 or a text under a tag
        raise yaml.YAMLError(f"a value cannot be read ({error})") from error
    finally:
        loader.dispose()


def read_yaml(file: Path) -> Any:
    """What a file holds; raises as `parse_yaml`.

    Raises:
        OSError: It cannot be read.
        yaml.YAMLError: It is longer than a megabyte, or not UTF-8.
    """
    with file.open("rb") as stream:
        content = stream.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise yaml.YAMLError("it is longer than 1 MB, which options never are")
    try:
        return parse_yaml(content.decode())
    except UnicodeDecodeError:
        raise yaml.YAMLError("it is no text in UTF-8") from None


def why(error: yaml.YAMLError) -> str:
    """What is wrong with a text, in one line."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem and error.problem_mark:
        return f"{error.problem} (line {error.problem_mark.line + 1})"
    return " ".join(str(error).split())


class _Loader(yaml.SafeLoader):
    """Refuses while nodes are composed, before values are made of them."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0
        self._nodes: dict[int, int] = {}  # how many there are in each node that is complete, by its id

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        alias, mark = self.check_event(yaml.AliasEvent), self.peek_event().start_mark  # type: ignore[no-untyped-call]
        self._depth += 1
        if self._depth > _DEEPEST:
            raise _refused(f"it is nested more than {_DEEPEST} deep", mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        if not alias:
            self._nodes[id(node)] = 1 + sum(self._nodes[id(part)] for part in _parts(node))
        elif id(node) not in self._nodes:
            raise _refused("a value refers to itself", mark)
        if self._nodes[id(node)] > _MOST_NODES:
            raise _refused(f"its aliases stand for more than {_MOST_NODES:,} values", mark)
        return node

    def compose_mapping_node(self, anchor: Any) -> Any:
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if (key.tag, key.value) in seen:
                    raise _refused(f"the key {key.value!r} comes twice", key.start_mark)
                seen.add((key.tag, key.value))
        return node

    def compose_scalar_node(self, anchor: Any) -> Any:
        node = super().compose_scalar_node(anchor)
        if node.tag == "tag:yaml.org,2002:int" and len(node.value) > _LONGEST_NUMBER:
            raise _refused(f"a number has {len(node.value):,} digits", node.start_mark)
        return node


def _parts(node: yaml.Node | None) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _refused(problem: str, mark: Any) -> yaml.YAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=mark)
