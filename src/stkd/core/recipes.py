"""Recipes: YAML files of options, those that come with stkd and a user's own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from . import manifest
from .config import completed
from .errors import StkdError, unknown
from .plain_yaml import read_yaml, why

__all__ = ["find_recipe", "read_mapping", "read_recipe", "recipes", "with_underscores"]


def find_recipe(name: str, folder: str = "") -> Path:
    """The file of a recipe: a path, or the name of one that comes with stkd.

    Args:
        name: Path ending in .yaml, or name.
        folder: Folder of named recipes: "" for single runs, "compare" for comparisons.

    Raises:
        StkdError: There is no such recipe.
    """
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            raise StkdError(f"recipe {name} does not exist; give a YAML file, or one of {', '.join(recipes(folder))}")
        return path
    shipped = recipes(folder)
    if name not in shipped:
        raise unknown("recipe", name, shipped)
    return shipped[name]


def recipes(folder: str = "") -> dict[str, Path]:
    """Recipes that come with stkd, by name; `folder` is "" for single runs, "compare" for comparisons."""
    here = Path(__file__).parents[1]  # of the package
    # beside the package when installed, at the root of the repository in an editable install
    shipped = next(f for f in (here / "recipes", here.parents[1] / "recipes") if f.is_dir())
    return {p.stem: p for p in sorted((shipped / folder).glob("*.yaml"))}


def read_recipe(path: Path) -> dict[str, Any]:
    """Options of a YAML recipe; a config.yaml, which a run has written, repeats that run.

    Raises:
        StkdError: The file is not a mapping of options.
    """
    content = read_mapping(path, "recipe")
    if content is None:
        raise StkdError(f"recipe {path} must be lines of 'option: value', such as 'epochs: 60'")
    options = with_underscores(content, f"recipe {path}")
    return completed(options) if path.name == "config.yaml" else options


def with_underscores(options: Mapping[str, Any], what: str) -> dict[str, Any]:
    """Options by the names of their fields; a recipe may write them as flags.

    Args:
        options: Name, with - or _, to value.
        what: Where they stand, for messages.

    Raises:
        StkdError: One comes twice, written in both ways.
    """
    named: dict[str, Any] = {}
    for name, value in options.items():
        field = name.replace("-", "_")
        if field in named:
            raise StkdError(f"{what} sets {field} twice, once with a hyphen; leave out one of the two")
        named[field] = value
    return named


def read_mapping(path: Path, what: str) -> dict[str, Any] | None:
    """The mapping in a YAML file; None where it holds something else.

    Args:
        path: The file.
        what: What the file is, for messages ("recipe").

    Raises:
        StkdError: It cannot be read.
    """
    try:
        manifest.check(path)  # it may be the options of a run
        content = read_yaml(path)
    except yaml.YAMLError as error:
        raise StkdError(f"{what} {path} is not valid YAML: {why(error)}") from None
    except OSError as error:
        raise StkdError(f"cannot read {what} {path}: {error.strerror}") from None
    return content if isinstance(content, dict) and all(isinstance(k, str) for k in content) else None
