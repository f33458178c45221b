from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from stkd.core.errors import StkdError
from stkd.data import open_data
from stkd.runs.prediction import predict_images
from stkd.serve import Explorer, shares
from stkd.serve.bars import bars, problem


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Four digits as image files."""
    data = open_data("digits")
    assert data.test is not None
    paths = [tmp_path / f"{i}.png" for i in range(4)]
    for path, image in zip(paths, np.asarray(data.test.images), strict=False):
        Image.fromarray(image[0]).save(path)
    return paths


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ([0.0], (1, 0)),
        ([0.25], (0.75, 0.25)),
        ([1.0], (0, 1)),
        ([0.25, 0.5], (0.25, 0.25, 0.5)),
        ([1, 1], (0, 0.5, 0.5)),
    ],
)
def test_weights_sum_to_one(others: list[float], expected: tuple[float, ...]) -> None:
    assert shares(others) == pytest.approx(expected)
    assert sum(shares(others)) == pytest.approx(1)


def test_ends_of_lambda_are_the_images_themselves(student_run: Path, files: list[Path]) -> None:
    explorer = Explorer(student_run)
    assert list(explorer.models) == ["teacher", "student"]
    assert all(ms > 0 for ms in explorer.latency_ms.values())
    for weight, path in ((0.0, files[0]), (1.0, files[1])):
        found = explorer.ask(files[:2], [weight])
        assert np.array_equal(found.image, np.asarray(Image.open(path)))
        alone = predict_images(student_run, [path], top=1)[0]
        for who in ("teacher", "student"):
            assert alone[who][0]["probability"] == pytest.approx(float(found.probabilities[who].max()), abs=1e-5)


def test_virtual_sample_of_four_images(student_run: Path, files: list[Path]) -> None:
    explorer = Explorer(student_run)
    found = explorer.ask(files, [0.1, 0.2, 0.3], temperature=4)
    pixels = [np.asarray(Image.open(p)).astype(float) for p in files]
    expected = 0.4 * pixels[0] + 0.1 * pixels[1] + 0.2 * pixels[2] + 0.3 * pixels[3]
    assert np.abs(found.image - expected).max() <= 0.51
    sharp = explorer.ask(files, [0.1, 0.2, 0.3])
    for who, probabilities in sharp.probabilities.items():
        assert torch.allclose(found.probabilities[who], (probabilities.log() / 4).softmax(0), atol=1e-5)
    p, q = (sharp.probabilities[who] for who in ("teacher", "student"))
    assert sharp.kl == pytest.approx(float(F.kl_div(q.log(), p, reduction="sum")), abs=1e-5)


def test_examples_are_test_images(teacher_run: Path) -> None:
    explorer = Explorer(teacher_run)
    assert list(explorer.models) == ["model"]
    data = open_data("digits")
    assert data.test is not None
    assert len(explorer.examples) == 24
    image, name = explorer.examples[0]
    assert np.array_equal(image, data.test.images[0, 0])  # type: ignore[index]
    assert name == data.classes[data.test.labels[0]]


def test_weights_alone_and_data_that_are_gone(
    student_run: Path, files: list[Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    explorer = Explorer(student_run / "student.safetensors")
    assert (list(explorer.models), explorer.examples) == (["model"], [])
    assert explorer.ask(files[:2], [0.5]).kl is None
    (student_run / "manifest.json").unlink()
    config = student_run / "config.yaml"
    config.write_text(config.read_text().replace("data: digits", f"data: folder:{tmp_path / 'gone'}"))
    assert Explorer(student_run).examples == []
    assert re.search("there are no examples: .*gone does not exist", caplog.text)
    with pytest.raises(StkdError, match="gone"):
        Explorer(student_run, f"folder:{tmp_path / 'gone'}")


def test_broken_image_is_one_line(student_run: Path, files: list[Path], tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"import os")
    with pytest.raises(StkdError, match="broken or no image") as error:
        Explorer(student_run).ask([files[0], bad], [0.5])
    assert "\n" not in str(error.value)


def test_bars_escape_names_and_follow_the_first_model() -> None:
    shown = bars(
        {"teacher": torch.tensor([0.1, 0.7, 0.2]), "student": torch.tensor([0.8, 0.1, 0.1])},
        ["<b>a", "b", "c"],
        {"teacher": 1.0, "student": 2.0},
        "cap & tion",
        top=1,
    )
    assert "<b>a" not in shown
    assert shown.index('scope="row">b<') < shown.index('scope="row">&lt;b&gt;a<')
    assert 'scope="row">c<' not in shown
    assert "width:70.0%" in shown
    assert "cap &amp; tion" in shown
    assert "<i>" not in problem("<i>")
