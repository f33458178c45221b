from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image


def recipe(text: str) -> Callable[[Any], None]:
    def make(place: Any) -> None:
        place.text("recipe.yaml", text)

    return make


def picture(place: Any) -> None:
    Image.new("L", (9, 9)).save(place.path("recipe.yaml"), "PNG")


GIVEN = "train --recipe {recipe.yaml}"
ROWS: dict[str, tuple[Any, ...]] = {
    "missing": ("train --recipe {nowhere.yaml}", "nowhere.yaml does not exist", "crd"),
    "not-yaml": (GIVEN, "is not valid YAML", recipe("epochs: [1\nlr: }")),
    "not-a-mapping": (GIVEN, "'option: value'", recipe("- epochs\n- lr\n")),
    "empty": (GIVEN, "'option: value'", recipe("")),
    "unknown-key": (GIVEN, "unknown option 'epoch'", "epochs", recipe("epoch: 3")),
    "wrong-type": (GIVEN, "epochs must be a whole", "many", recipe("epochs: many")),
    "wrong-range": (GIVEN, "lr must be a positive", recipe("lr: -0.1")),
    "not-text": (GIVEN, "valid YAML", picture),
    "key-twice": (GIVEN, "the key 'epochs' comes twice (line 2)", recipe("epochs: 1\nepochs: 2")),
    "option-twice": (
        "compare {recipe.yaml} --out {nowhere}",
        "sets batch_size twice",
        recipe("data: digits\nstudents: cnn2\nmethods: ce\noptions: {batch-size: 8, batch_size: 9}"),
    ),
    "brackets": (GIVEN, "nested more than 50 deep", recipe("milestones: " + "[" * 20_000)),
    "students-twice": (
        "many {recipe.yaml} --data digits",
        "the key 'a' comes twice",
        recipe("a: {student: cnn2}\na: {student: cnn4}"),
    ),
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_recipe(row: tuple[Any, ...], refused: Any) -> None:
    refused(*row)
