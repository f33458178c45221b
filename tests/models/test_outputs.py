"""Logits are found among whatever a model answers with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from stkd.core.errors import StkdError
from stkd.models.outputs import as_logits


@dataclass
class Answer:
    """As libraries have them."""

    logits: Tensor
    loss: Tensor | None = None


class Net(nn.Module):
    """A small model whose output is packed in some way."""

    def __init__(self, pack: Any) -> None:
        super().__init__()
        self.fc, self.drop, self.pack = nn.Linear(3, 4), nn.Dropout(), pack

    def forward(self, x: Tensor) -> Any:
        features = x.mean((2, 3))
        return self.pack(self.fc(features), features)


IMAGES = torch.randn(5, 3, 8, 8)


@pytest.mark.parametrize(
    "pack",
    [
        lambda logits, features: (logits, features),
        lambda logits, features: [features, logits],
        lambda logits, features: {"logits": logits, "aux": logits},
        lambda logits, features: {"out": logits, "features": features},
        lambda logits, features: Answer(logits),
    ],
)
def test_logits_in_something(pack: Any) -> None:
    model = Net(pack).train()
    answering = as_logits(model, 3, 8, 4)
    assert answering is not model
    torch.testing.assert_close(answering(IMAGES), model.fc(IMAGES.mean((2, 3))))
    assert model.training
    assert model.drop.training
    assert answering(IMAGES[:4]).shape == (4, 4)  # as many images as there are classes


def test_logits_alone_are_left_alone() -> None:
    model = Net(lambda logits, features: logits)
    assert as_logits(model, 3, 8, 4) is model


@pytest.mark.parametrize(
    ("pack", "words"),
    [
        (lambda a, f: (a, a), r"Net answers with 2 tensors \(2, 4\), of which any could be the logits, in a tuple"),
        (lambda a, f: {"a": a, "b": a, "c": f}, r"2 tensors \(2, 4\), .* in a dict; give a module that returns its"),
        (lambda a, f: (f,), r"no tensor \(2, 4\), in a tuple"),
        (lambda a, f: None, r"no tensor \(2, 4\), in a NoneType"),
    ],
)
def test_answers_without_logits_are_one_line(pack: Any, words: str) -> None:
    with pytest.raises(StkdError, match=words) as caught:
        as_logits(Net(pack), 3, 8, 4)
    assert "\n" not in str(caught.value)
