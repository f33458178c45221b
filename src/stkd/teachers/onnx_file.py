"""A teacher that is an ONNX file from anywhere, run by onnxruntime on the CPU: it shows its logits alone."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..core import manifest
from ..core.errors import StkdError
from ..core.files import digest_file

__all__ = ["OnnxModel", "Said", "is_onnx"]

_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


def is_onnx(path: Path) -> bool:
    """Whether a path has the ending of an ONNX file."""
    return path.suffix.lower() == ".onnx"


@dataclass(frozen=True)
class Said:
    """What a file that stkd exported says of itself; normalisation is inside such a file.

    Attributes:
        classes: Class names, position = output.
        interpolation: How images are resized.
    """

    classes: tuple[str, ...]
    interpolation: str


class OnnxModel(nn.Module):
    """An ONNX file as a frozen module from images to logits.

    Args:
        path: The file.

    Attributes:
        channels: That its images have.
        size: Side of its images; None where it takes any.
        outputs: Number of its logits; None where the file does not say.
        said: What a file of stkd says of itself; None for others.
        probabilities: Whether it ends in a softmax, so that the logarithms of its answers stand for logits.

    Raises:
        StkdError: onnxruntime is missing, the file cannot be read, or it takes or gives something else.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        if importlib.util.find_spec("onnxruntime") is None:
            raise StkdError(f"{path} needs onnxruntime: pip install 'stkd[onnx]'")
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = torch.get_num_threads(), 1
        options.log_severity_level = 4  # errors are raised besides
        try:
            manifest.check(path)
            digest = digest_file(path)
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except OSError as error:
            raise StkdError(f"cannot read {path}: {error.strerror}") from None
        except StkdError:
            raise
        except Exception as error:  # onnxruntime raises many kinds
            why = " ".join(str(error).split())[:120]
            raise StkdError(f"{path} is damaged or no ONNX file that onnxruntime runs ({why})") from None
        beside = [file for file in sorted(path.parent.glob(f"{path.name}[._]*data")) if file.is_file()]
        whole = blake2b("".join([digest, *map(digest_file, beside)]).encode(), digest_size=16).digest()
        # part of the module's state, by which teachers are told apart
        self.register_buffer("digest", torch.frombuffer(bytearray(whole), dtype=torch.uint8))
        self.path = path
        self.said = _said(self._session.get_modelmeta().custom_metadata_map.get("stkd"), path)
        self._input, self.channels, self.size, self._last, self._rows, self._type = _input_of(
            self._session.get_inputs(), path
        )
        self._output, self.outputs = _output_of(self._session.get_outputs(), path)
        self.probabilities = False
        sample = (
            torch.arange(2 * self.channels * (self.size or 64) ** 2).sin().view(2, self.channels, self.size or 64, -1)
        )
        answers = self(sample)
        self.outputs = self.outputs or answers.shape[1]
        ones = torch.ones(2)
        self.probabilities = bool((answers >= 0).all()) and torch.allclose(answers.sum(1), ones, atol=1e-3)

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) to logits float32 (B, outputs), on the same device."""
        shown = images.detach().cpu().float()
        if self._last:
            shown = shown.permute(0, 2, 3, 1)
        pixels = np.ascontiguousarray(shown.numpy().astype(self._type, copy=False))
        step = self._rows or len(pixels)
        answers = [self._answer(pixels[start : start + step]) for start in range(0, len(pixels), step)]
        logits = torch.from_numpy(np.concatenate(answers)).float().to(images.device)
        return logits.clamp_min(1e-30).log() if self.probabilities else logits

    def _answer(self, pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        short = (self._rows or len(pixels)) - len(pixels)
        padded = np.concatenate([pixels, np.repeat(pixels[-1:], short, axis=0)]) if short else pixels
        try:
            answer: np.ndarray[Any, Any] = self._session.run([self._output], {self._input: padded})[0]
        except Exception as error:  # onnxruntime raises many kinds
            why = " ".join(str(error).split())[:120]
            raise StkdError(f"{self.path} does not take images {pixels.shape} ({why}); give --teacher-size") from None
        if answer.ndim != 2 or len(answer) != len(padded):
            raise StkdError(
                f"{self.path} answers {len(padded)} images with {answer.shape}, not with a row of logits each"
            )
        return answer[: len(pixels)]


def _said(text: str | None, path: Path) -> Said | None:
    if text is None:
        return None
    try:
        content: Mapping[str, Any] = json.loads(text)
        if content["resize"]["inside"]:
            raise StkdError(f"{path} takes whole pictures one by one; export the run without --whole-pictures")
        return Said(tuple(map(str, content["classes"])), str(content["resize"]["interpolation"]))
    except (ValueError, KeyError, TypeError):
        return None


def _input_of(inputs: Sequence[Any], path: Path) -> tuple[str, int, int | None, bool, int | None, Any]:
    """Name, channels, side, whether channels come last, images at once, and type of the one input."""
    if len(inputs) != 1:
        names = ", ".join(one.name for one in inputs)
        raise StkdError(f"{path} takes {len(inputs)} inputs ({names}); a teacher takes images alone")
    (one,) = inputs
    shape = [side if isinstance(side, int) and side > 0 else None for side in one.shape]
    if one.type not in _TYPES or len(shape) != 4:
        raise StkdError(
            f"{path} takes {one.type} of shape {list(one.shape)}, not images of floats (B, C, H, W); export it again "
            "without what comes before the model"
        )
    rows, *rest = shape
    last = rest[0] not in (1, 3) and rest[2] in (1, 3)
    channels, height, width = (rest[2], rest[0], rest[1]) if last else rest
    if height != width:
        raise StkdError(f"{path} takes images of {height} x {width} pixels; a teacher takes squares")
    return one.name, channels or 3, height, last, rows, _TYPES[one.type]


def _output_of(outputs: Sequence[Any], path: Path) -> tuple[str, int | None]:
    """Name and width of the logits."""
    rows = [one for one in outputs if len(one.shape) == 2]
    named = [one for one in rows if one.name.lower() == "logits"]
    chosen = named if len(named) == 1 else rows
    if len(chosen) != 1:
        names = ", ".join(one.name for one in outputs)
        what = f"{len(rows)} outputs that could be logits" if rows else "no output (B, classes)"
        raise StkdError(f"{path} has {what} ({names}); export it with its logits alone, or under the name 'logits'")
    width = chosen[0].shape[1]
    return chosen[0].name, width if isinstance(width, int) and width > 0 else None
