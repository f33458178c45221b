"""Published corrupted test sets: files as their authors lay them out, made of digits here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from stkd import models
from stkd.core.errors import StkdError
from stkd.data import DataSet, Split, open_data
from stkd.evaluation import evaluate, robustness
from stkd.evaluation.corrupted_files import corrupted_files
from stkd.evaluation.corruptions import corrupt

CPU = torch.device("cpu")
NAMES = ("gaussian_noise", "frost")


@pytest.fixture
def few() -> DataSet:
    data = open_data("digits")
    assert data.test is not None
    return replace(data, test=Split(data.test.images[:40], data.test.labels[:40]))


@pytest.fixture
def arrays(few: DataSet, tmp_path: Path) -> Path:
    """As CIFAR-10-C: severity after severity in one array, labels beside it, and a corruption of no use."""
    assert few.test is not None
    folder = tmp_path / "CIFAR-10-C"
    folder.mkdir()
    images = torch.from_numpy(np.ascontiguousarray(few.test.images))
    for name in (*NAMES, "speckle_noise"):
        made = [corrupt(images, "gaussian_noise", s, torch.Generator().manual_seed(s)) for s in range(1, 6)]
        np.save(folder / f"{name}.npy", torch.cat(made).permute(0, 2, 3, 1).numpy())
    np.save(folder / "labels.npy", np.tile(few.test.labels, 5).astype(np.uint8))
    return folder


def test_each_severity_is_scored_on_its_own_images(few: DataSet, arrays: Path) -> None:
    torch.manual_seed(0)
    model = models.create("cnn4", num_classes=10, in_channels=1).eval()
    files = corrupted_files(arrays, few)
    assert few.test is not None
    found = robustness({"m": model}, few.test, few, device=CPU, files=files)["m"]
    assert list(found["top1"]) == list(NAMES)
    for severity in range(1, 6):
        rows = slice(40 * (severity - 1), 40 * severity)
        pixels = torch.from_numpy(np.load(arrays / "frost.npy")[rows]).permute(0, 3, 1, 2)
        with torch.no_grad():
            logits = model((pixels / 255 - few.mean[0]) / few.std[0])
        expected = (logits.argmax(1).numpy() == few.test.labels).mean()
        assert found["top1"]["frost"][severity - 1] == pytest.approx(expected, abs=0.051)  # in bf16 where that is fast
    assert found["mean_top1"] == pytest.approx(np.mean([found["top1"][name] for name in NAMES]))
    values = evaluate(model, few, corrupted=arrays, progress=False)
    assert values["robustness"]["model"] == found


def test_folders_as_tiny_imagenet_c_has_them(few: DataSet, tmp_path: Path) -> None:
    assert few.test is not None
    for severity in range(1, 6):
        for k, (image, label) in enumerate(zip(few.test.images, few.test.labels.tolist(), strict=True)):
            folder = tmp_path / "frost" / str(severity) / few.classes[label]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image[0]).save(folder / f"{k}.png")
    files = corrupted_files(tmp_path, few)
    assert list(files) == [("frost", severity) for severity in range(1, 6)]
    model = models.create("cnn4", num_classes=10, in_channels=1).eval()
    found = robustness({"m": model}, few.test, few, device=CPU, files=files)["m"]
    assert found["top1"]["frost"] == [found["clean_top1"]] * 5  # nothing was done to them


def damaged(folder: Path, how: str) -> None:
    labels, images = folder / "labels.npy", folder / "frost.npy"
    if how == "cut":
        images.write_bytes(images.read_bytes()[:-5])
    elif how == "pickle":
        np.save(images, np.array([{"a": 1}]), allow_pickle=True)
    elif how == "size":
        np.save(images, np.load(images)[:, 1:])
    elif how == "many":
        np.save(labels, np.load(labels)[:7])
    elif how == "classes":
        np.save(labels, np.load(labels) + 60)
    elif how == "none":
        labels.unlink()
    elif how == "empty":
        for file in folder.iterdir():
            file.unlink()


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("cut", "frost.npy cannot be read"),
        ("pickle", "frost.npy cannot be read"),
        ("size", "not five severities of uint8"),
        ("many", "7 labels for 200 images"),
        ("classes", "labels up to 69"),
        ("none", "labels.npy cannot be read"),
        ("empty", "has no files such as gaussian_noise.npy"),
    ],
)
def test_other_files_get_one_line(how: str, words: str, few: DataSet, arrays: Path) -> None:
    damaged(arrays, how)
    with pytest.raises(StkdError, match=words) as error:
        corrupted_files(arrays, few)
    assert "\n" not in str(error.value)


def test_the_command_reads_them(few: DataSet, teacher_run: Path, arrays: Path, stkd: Any, tmp_path: Path) -> None:
    done = stkd("evaluate", teacher_run, "--robustness-files", tmp_path / "gone")
    assert done.code == 2
    assert "is no folder" in done.err
