"""Checkpoints with argparse.Namespace, numpy scalars or paths beside the weights were refused as unsafe."""

from __future__ import annotations

import argparse
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
import pytest
import torch

from stkd.models import create, load


@pytest.mark.parametrize(
    "beside",
    [
        argparse.Namespace(lr=0.1, out=Path("runs/a")),
        Path("runs/a"),
        PureWindowsPath("runs/a"),
        *(np.dtype(kind).type(1) for kind in ("f2", "f4", "f8", "i1", "i4", "i8", "u1", "u8", "b1", "c16", "U1")),
        np.datetime64("2026-01-01"),
        np.arange(3),
    ],
    ids=lambda beside: type(beside).__name__,
)
def test_weights_are_read(beside: Any, tmp_path: Path) -> None:
    source, target = create("cnn2", num_classes=4), create("cnn2", num_classes=4)
    torch.save({"state_dict": source.state_dict(), "best": beside}, tmp_path / "checkpoint.pth.tar")
    load(target, tmp_path / "checkpoint.pth.tar")
    torch.testing.assert_close(target.state_dict(), source.state_dict())
