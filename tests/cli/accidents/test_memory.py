"""Memory that is not there, and processes that are killed for it: what to reduce, and the same command goes on."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import get_worker_info

from stkd.data import file_stream
from stkd.models.registry import register

SHORT = ["--epochs", "3", "--precision", "32", "--accelerator", "cpu", "--compile", "none"]


def weights(run: Path) -> bytes:
    return (run / "model.safetensors").read_bytes()


def test_an_allocator_without_memory(tmp_path: Path, stkd: Any, forget: Callable[[], None]) -> None:
    needed = [0]

    class Hungry(nn.Sequential):
        def forward(self, images: Tensor) -> Tensor:
            needed[0] -= 1
            if needed[0] == 0:
                torch.empty(10**15, dtype=torch.uint8)
            return super().forward(images)  # type: ignore[no-any-return]

    @register("hungry", "needs much memory at times")
    def hungry(*, num_classes: int, in_channels: int) -> nn.Module:
        return Hungry(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(16 * in_channels, num_classes))

    command = ["train", "--data", "digits", "--model", "hungry", "--train-images", "256", *SHORT]
    assert stkd(*command, "--out", tmp_path / "whole").code == 0
    for place in (-needed[0] // 2, 3, 1):
        needed[0] = place
        answer = stkd(*command, "--out", tmp_path / "run")
        assert answer.code == 2
        assert answer.err == (
            "stkd: error: this machine has no memory left for another 1000000000000000 bytes; take a smaller "
            "--batch-size or --image-size or --train-images, or a smaller model, or end what else runs there\n"
        )
    assert (tmp_path / "run" / "checkpoints" / "last.pt").exists()
    needed[0] = 0
    assert stkd(*command, "--out", tmp_path / "run").code == 0
    assert weights(tmp_path / "run") == weights(tmp_path / "whole")


@pytest.fixture
def streamed(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A training whose images are decoded by a process beside it, as those are that do not fit memory."""
    for module in ("image_tree", "python_items"):
        monkeypatch.setattr(f"stkd.data.{module}.STORE_LIMIT", 0)
    images = ["--data", f"folder:{pictures}", "--image-size", "8", "--workers", "1", "--batch-size", "4"]
    return ["train", *images, "--model", "cnn2", *SHORT]


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows has no SIGKILL")
def test_a_process_that_decodes_is_killed(
    streamed: list[str], tmp_path: Path, stkd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert stkd(*streamed, "--out", tmp_path / "whole").code == 0
    square, shown = file_stream._square, [0]

    def killed(*args: Any) -> Tensor:
        shown[0] += 1
        if get_worker_info() is not None and shown[0] > 30:
            os.kill(os.getpid(), signal.SIGKILL)
        return square(*args)

    with monkeypatch.context() as patch:
        patch.setattr(file_stream, "_square", killed)
        answer = stkd(*streamed, "--out", tmp_path / "run")
    assert answer.code == 2
    assert answer.err.startswith("stkd: error: a process that decodes images was killed, ")
    assert "take fewer --workers or a smaller --batch-size" in answer.err
    assert answer.err.count("\n") == 1
    assert stkd(*streamed, "--out", tmp_path / "run").code == 0
    assert weights(tmp_path / "run") == weights(tmp_path / "whole")


def test_an_image_for_which_there_is_no_memory_is_not_called_broken(
    pictures: Path, tmp_path: Path, stkd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr("stkd.data.decode._to_8_bits", fail)
    answer = stkd("train", "--data", f"folder:{pictures}", "--model", "cnn2", *SHORT, "--out", tmp_path / "run")
    assert answer.code == 2
    assert "cannot be decoded, no memory is left" in answer.err
    assert "broken" not in answer.err
    assert "delete" not in answer.err.partition("; ")[0]
