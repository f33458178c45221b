from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from stkd import models
from stkd.data import Split, open_data
from stkd.evaluation import CORRUPTIONS, corrupt, robustness, scores
from stkd.evaluation.predictions import logits_of

CPU = torch.device("cpu")


def test_accuracies_of_several_models_on_the_same_images() -> None:
    data = open_data("digits")
    assert data.test is not None
    few = Split(data.test.images[:60], data.test.labels[:60])
    torch.manual_seed(0)
    model = models.create("cnn4", num_classes=10, in_channels=1).eval()
    seen: list[torch.Tensor] = []

    def watched(images: torch.Tensor) -> torch.Tensor:
        seen.append(images)
        return model(images)

    accuracies = robustness({"one": model, "other": watched}, few, data, device=CPU)
    assert accuracies["one"] == accuracies["other"]
    assert list(accuracies["one"]["top1"]) == list(CORRUPTIONS)
    assert all(len(v) == 5 for v in accuracies["one"]["top1"].values())
    every = [a for v in accuracies["one"]["top1"].values() for a in v]
    assert accuracies["one"]["mean_top1"] == pytest.approx(sum(every) / 70)
    clean = scores(*logits_of(model, few, data, device=CPU))["top1"]
    assert accuracies["one"]["clean_top1"] == pytest.approx(clean, abs=0.1)  # in bf16 where that is fast
    assert len(seen) == 71
    again = robustness({"one": model}, few, data, device=CPU)
    assert again["one"] == accuracies["one"]


def test_some_corruptions_get_the_same_images_as_all() -> None:
    data = open_data("digits")
    assert data.test is not None
    few = Split(data.test.images[:20], data.test.labels[:20])
    inputs: dict[int, list[torch.Tensor]] = {0: [], 1: []}

    def watch(run: int) -> dict[str, object]:
        def model(images: torch.Tensor) -> torch.Tensor:
            inputs[run].append(images)
            return torch.zeros(len(images), 10)

        return {"model": model}

    robustness(watch(0), few, data, device=CPU)  # type: ignore[arg-type]
    robustness(watch(1), few, data, device=CPU, corruptions=["impulse_noise"])  # type: ignore[arg-type]
    place = 5 * CORRUPTIONS.index("impulse_noise")
    for one, other in zip(inputs[0][place : place + 5], inputs[1], strict=False):
        assert torch.equal(one, other)


def test_clean_pixels_survive_the_way_back() -> None:
    """Images come normalised; with statistics like these the corruption still gets the very pixels."""
    data = replace(open_data("digits"), mean=(0.4914,), std=(0.2023,))
    assert data.test is not None
    few = Split(data.test.images[:20], data.test.labels[:20])
    shown: list[torch.Tensor] = []

    def model(images: torch.Tensor) -> torch.Tensor:
        shown.append(images)
        return torch.zeros(len(images), 10)

    robustness({"model": model}, few, data, device=CPU, corruptions=["jpeg_compression"])
    pixels = torch.from_numpy(few.images[:])  # type: ignore[index]
    expected = corrupt(pixels, "jpeg_compression", 1, torch.Generator())
    assert torch.allclose(shown[0] * 0.2023 + 0.4914, expected.float() / 255, atol=1e-5)


def test_progress_is_shown_on_a_terminal_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = open_data("digits")
    assert data.test is not None
    few = Split(data.test.images[:8], data.test.labels[:8])

    def look(progress: bool) -> str:
        model = {"model": lambda images: torch.zeros(len(images), 10)}
        robustness(model, few, data, device=CPU, corruptions=["contrast"], progress=progress)
        captured = capsys.readouterr()
        assert captured.out == ""
        return captured.err

    assert look(True) == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    assert look(False) == ""
    assert "corruptions" in look(True)
