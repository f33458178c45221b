"""What README and docs claim is what the committed files say."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest

from stkd.methods import parse

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def script(name: str) -> Any:
    """A file of benchmarks/ as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_tables_are_those_of_the_result_files() -> None:
    tables = script("tables")
    found = set()
    for document in tables.DOCUMENTS:
        text = document.read_text()
        found |= set(tables.BLOCK.findall(text))
        assert tables.rendered(text) == text, document
    assert found


def test_picture_of_the_ablations_is_that_of_the_result_files() -> None:
    matplotlib = pytest.importorskip("matplotlib")
    drawn = (ROOT / "docs" / "ablations.svg").read_text(encoding="utf-8")
    if f"Matplotlib v{matplotlib.__version__}," not in drawn:
        pytest.skip("drawn by another version of matplotlib")
    assert script("ablations").draw() == drawn, "run python benchmarks/ablations.py"


@pytest.mark.parametrize("page", ["README.md", "docs/stkd.md", "docs/many.md", "docs/ablations.md"])
def test_links_lead_somewhere(page: str) -> None:
    file = ROOT / page
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", file.read_text())
    assert links
    for link in links:
        assert link.startswith("https://") or (file.parent / link).exists(), link


def test_methods_named_exist() -> None:
    for spec in re.findall(r"^\| `([\w:=,.]+)` \|", README, re.MULTILINE):
        parse(spec)


def test_own_loop_runs() -> None:
    """The three lines for a loop of one's own, as the README has them."""
    code = re.search(r"## In your own training loop\n\n```python\n(.*?)```", README, re.DOTALL)
    assert code is not None
    import torch
    from torch.nn import functional as F

    import stkd

    names = {
        "stkd": stkd,
        "F": F,
        "images": torch.rand(8, 3, 16, 16),
        "labels": torch.randint(100, (8,)),
        "teacher": stkd.models.create("resnet8", num_classes=100),
        "student": stkd.models.create("resnet8", num_classes=100),
    }
    exec(code[1], names)
    loss = names["loss"]
    assert isinstance(loss, torch.Tensor)
    loss.backward()
