"""What import-linter cannot say: which packages from elsewhere a room may use."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "stkd"
ROOTS = [*sorted((SOURCE / "losses").glob("*.py")), SOURCE / "mixing.py"]
ALLOWED = {"numpy", "torch", *sys.stdlib_module_names}


@pytest.mark.parametrize("file", ROOTS, ids=lambda file: file.stem)
def test_losses_and_mixing_use_torch_and_numpy_alone(file: Path) -> None:
    used = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            used |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            used.add(node.module.partition(".")[0])
    assert used <= ALLOWED
