"""Registries whose package has a module that cannot be imported."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from stkd.core import registry as registry_module
from stkd.core.errors import StkdError
from stkd.core.registry import Registry

ROOT = "from stkd.core.registry import Registry\nshapes = Registry('shape', 'shapes')\n"
GOOD = "from shapes import shapes\nshapes.register('circle', 'round')(1)\n"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package `shapes` with a registry of its own and one module."""
    folder = tmp_path / "shapes"
    folder.mkdir()
    (folder / "__init__.py").write_text(
        "from stkd.core.registry import Registry\nshapes = Registry('shape', 'shapes')\n"
    )
    (folder / "a_circle.py").write_text(GOOD)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield folder
    for name in [name for name in sys.modules if name.partition(".")[0] == "shapes"]:
        del sys.modules[name]


def registry() -> Registry[int]:
    import shapes  # type: ignore[import-not-found]

    found: Registry[int] = shapes.shapes
    return found


def test_modules_are_found(package: Path) -> None:
    (package / "more").mkdir()
    (package / "more" / "__init__.py").write_text("")
    (package / "more" / "square.py").write_text(GOOD.replace("circle", "square"))
    assert list(registry()) == ["circle", "square"]


def test_a_module_that_fails_fails_at_every_look_up(package: Path) -> None:
    (package / "b_broken.py").write_text("import no_such_module_at_all\n")
    shapes = registry()
    for _ in range(3):
        with pytest.raises(ModuleNotFoundError, match="no_such_module_at_all"):
            list(shapes)
        with pytest.raises(ModuleNotFoundError, match="no_such_module_at_all"):
            shapes.get("circle")


def test_an_interrupted_look_up_is_made_again(package: Path) -> None:
    (package / "b_slow.py").write_text("raise KeyboardInterrupt\n")
    shapes = registry()
    with pytest.raises(KeyboardInterrupt):
        list(shapes)
    (package / "b_slow.py").write_text(GOOD.replace("circle", "square") + "# another size of the file\n")
    assert list(shapes) == ["circle", "square"]


def test_an_installed_package_that_fails_is_one_line(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = EntryPoint("mine", "no_such_package_of_mine", "shapes")
    monkeypatch.setattr(registry_module, "entry_points", lambda group: [broken])
    shapes = registry()
    for _ in range(2):
        with pytest.raises(StkdError, match="an installed package that adds to shapes cannot be imported") as caught:
            list(shapes)
        assert "\n" not in str(caught.value)
