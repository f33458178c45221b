"""A recipe that takes a second, and where its runs lie."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

TINY: dict[str, Any] = {
    "data": "digits",
    "options": {"epochs": 2, "train_images": 128, "precision": "32", "accelerator": "cpu"},
    "teacher": {"model": "cnn4", "epochs": 2, "precision": "32"},
    "students": ["cnn2"],
    "seeds": [0, 1],
    "baseline": "kd",
    "methods": {"ce": "ce", "kd": {"method": "kd"}, "stkd": {"method": "stkd", "alpha": 0.5}},
}


@pytest.fixture
def tiny() -> dict[str, Any]:
    """Three methods, one student, two seeds."""
    copied: dict[str, Any] = yaml.safe_load(yaml.safe_dump(TINY))
    return copied


@pytest.fixture(scope="session")
def recipe_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as a file."""
    file = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    file.write_text(yaml.safe_dump(TINY, sort_keys=False))
    return file
