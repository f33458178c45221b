from __future__ import annotations

import torch
from sklearn.metrics import confusion_matrix as reference

from stkd.evaluation import class_accuracy, class_change, confusion_matrix


def test_confusion_is_scikit_learns() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(300, 7, generator=generator), torch.randint(7, (300,), generator=generator)
    values = confusion_matrix(logits, labels)
    assert values.tolist() == reference(labels, logits.argmax(1)).tolist()
    assert int(values.sum()) == 300


def test_change_of_each_class() -> None:
    student, alone = torch.tensor([[3, 1, 0], [0, 4, 0], [0, 0, 0]]), torch.tensor([[4, 0, 0], [2, 2, 0], [0, 0, 0]])
    assert class_accuracy(student).tolist()[:2] == [0.75, 1.0]
    change = class_change(student, alone)
    assert change.tolist()[:2] == [-0.25, 0.5]
    assert change[2].isnan()
