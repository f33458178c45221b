"""Examples: which images are shown, what is said of them, and the pictures themselves."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from stkd.data import DataSet, ImageFiles, Split, open_data
from stkd.evaluation.examples import disagreements, virtual_examples
from stkd.evaluation.thumbnails import data_uri, read_pixels
from stkd.mixing import Mix

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def digits() -> DataSet:
    return open_data("digits")


def pixels(example: dict[str, Any]) -> np.ndarray[Any, Any]:
    kind, _, text = example["picture"].partition(",")
    assert kind == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))


def test_disagreements_are_those_of_the_largest_distance_between_different_answers(digits: DataSet) -> None:
    split = digits.test
    assert split is not None
    logits = torch.randn(2, len(split), 10, generator=torch.Generator().manual_seed(0))
    logits[1, :300] = logits[0, :300]  # no difference
    examples = disagreements(logits[0], logits[1], split, digits)
    student, teacher = logits.softmax(2)
    distance = (student - teacher).abs().sum(1) / 2
    differ = student.argmax(1) != teacher.argmax(1)
    order = sorted(differ.nonzero().flatten().tolist(), key=lambda i: -float(distance[i]))[:12]
    assert min(order) >= 300
    for example, i in zip(examples, order, strict=True):
        assert example["truth"] == [(int(split.labels[i]), 1.0)]
        for who, probabilities in (("student", student[i]), ("teacher", teacher[i])):
            assert example[who][0] == (int(probabilities.argmax()), pytest.approx(float(probabilities.max())))
            assert all(value >= 0.05 for _, value in example[who][1:])
        assert np.array_equal(pixels(example), np.asarray(split.images)[i, 0])
    assert disagreements(logits[0], logits[0], split, digits) == []


def test_virtual_examples_are_mixed_alike_for_image_and_label(digits: DataSet) -> None:
    """Models that say how bright an image is show that both see the same picture."""
    split = digits.test
    assert split is not None

    class Brightness(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            raw = images * digits.std[0] + digits.mean[0]
            return torch.stack([raw.mean((1, 2, 3)), *[torch.zeros(len(images))] * 9], dim=1)

    model = Brightness()
    examples = virtual_examples(model, model, split, digits, Mix(instances=3), device=CPU)
    assert len(examples) == 12
    for example in examples:
        assert sum(value for _, value in example["truth"]) == pytest.approx(1, abs=0.06)  # below 5 % is left out
        assert example["student"] == example["teacher"]
        said = dict(example["student"])[0]
        seen = np.exp(pixels(example).mean() / 255)
        assert said == pytest.approx(seen / (seen + 9), abs=1e-3)
    assert examples == virtual_examples(model, model, split, digits, Mix(instances=3), device=CPU)
    of_two = virtual_examples(model, model, split, digits, Mix(kind="none"), device=CPU)
    assert max(len(example["truth"]) for example in of_two) == 2


def test_small_images_keep_their_pixels_and_large_ones_are_resized(tmp_path: Path) -> None:
    small = torch.randint(0, 256, (3, 64, 64), generator=torch.Generator().manual_seed(0)).float()
    assert np.array_equal(pixels({"picture": data_uri(small)}), small.permute(1, 2, 0).numpy())
    large = pixels({"picture": data_uri(small.repeat(1, 3, 3))})
    assert large.shape[:2] == (80, 80)
    Image.new("RGB", (30, 20), (200, 100, 50)).save(tmp_path / "a.png")
    files = ImageFiles(tmp_path, ("a.png",), channels=3, size=16)
    read = read_pixels(Split(files, np.zeros(1, dtype=np.int64)), open_data("digits"), [0])
    assert read.shape == (1, 3, 16, 16)
    assert read[0, :, 5, 5].tolist() == [200, 100, 50]
