"""What an exported file says of itself: classes, what it expects of images, and where it came from."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from .. import __version__
from ..core.errors import StkdError
from ..models.files import ModelInfo
from .resizing import PICTURE

__all__ = ["INPUT", "KEY", "OUTPUT", "Contract"]

KEY = "stkd"
"""Under which name the contract stands in a file's own metadata."""

INPUT, OUTPUT = "images", "logits"

_IMAGES = {"name": INPUT, "layout": "NCHW", "type": "float32", "range": [0, 1]}
_PICTURE = {"name": PICTURE, "layout": "HWC", "type": "uint8", "range": [0, 255]}

_FORMAT = 1


@dataclass(frozen=True)
class Contract:
    """What a consumer has to know of an exported file.

    Attributes:
        info: The model's name, classes, input and normalisation (which is inside the file).
        data: The images that it was trained on, in words.
        weights: Digest of the weights that it was made of.
        version: Of stkd, when it was written.
        whole: Whether the file takes one whole picture uint8 (H, W, C), and resizing is inside it.
        batch: Images that it takes at once: 1, or None for any number.
    """

    info: ModelInfo
    data: str
    weights: str
    version: str = __version__
    whole: bool = False
    batch: Literal[1] | None = None

    def text(self) -> str:
        """As JSON, in ASCII."""
        info, batch = self.info, 1 if self.whole else self.batch or "batch"
        square = (info.channels, info.size, info.size)
        return json.dumps(
            {
                "format": _FORMAT,
                "model": _without_folders(info.model),
                "classes": list(info.classes),
                "input": {
                    **(_PICTURE if self.whole else _IMAGES),
                    "shape": ["height", "width", info.channels] if self.whole else [batch, *square],
                    "colour": "grey" if info.channels == 1 else "RGB",
                    "batch": "dynamic" if batch == "batch" else batch,
                },
                "resize": {
                    "inside": self.whole,
                    "size": info.size,
                    "steps": _steps(info),
                    "crop_pct": info.crop_pct,
                    "interpolation": info.interpolation,
                    "antialias": True,
                },
                "normalisation": {"inside": True, "mean": list(info.mean), "std": list(info.std)},
                "output": {"name": OUTPUT, "shape": [batch, len(info.classes)], "order": "classes"},
                "provenance": {"stkd": self.version, "data": self.data, "weights": self.weights},
            }
        )

    @classmethod
    def read(cls, text: str | None, file: Path) -> Contract:
        """The contract in a file's metadata.

        Args:
            text: What stands there; None for nothing.
            file: The file, for messages.

        Raises:
            StkdError: It is none, or what it says cannot be true.
        """
        if text is None:
            raise StkdError(f"{file} does not say its classes and its input; give a file that 'stkd export' wrote")
        try:
            said: Mapping[str, Any] = json.loads(text)
            shape, whole, batch = said["input"]["shape"], said["resize"]["inside"], said["input"]["batch"]
            channels = shape[2] if whole else shape[1]
            size = said["resize"]["size"] if whole else shape[3]
            square = [channels] if whole else [channels, size, size]
            if said["format"] != _FORMAT or shape[2 if whole else 1 :] != square or batch not in ("dynamic", 1):
                raise ValueError
            info = ModelInfo(
                model=said["model"],
                classes=tuple(said["classes"]),
                channels=channels,
                size=size,
                mean=tuple(said["normalisation"]["mean"]),
                std=tuple(said["normalisation"]["std"]),
                crop_pct=said["resize"]["crop_pct"],
                interpolation=said["resize"]["interpolation"],
            )
            origin = {name: str(said["provenance"][name]) for name in ("data", "weights", "stkd")}
            info.check()
        except StkdError as error:
            raise StkdError(f"what {file} says of itself is wrong: {error}; export the run again") from None
        except (ValueError, KeyError, TypeError, RecursionError):
            raise StkdError(
                f"what {file} says of itself was not written by this version of stkd; export the run again"
            ) from None
        at_once: Literal[1] | None = None if batch == "dynamic" or whole else 1
        return cls(info, origin["data"], origin["weights"], origin["stkd"], whole is True, at_once)

    def check(self, file: Path, expected: object, answered: object) -> None:
        """Check that a file has the input and the output that it claims.

        Args:
            file: The file, for messages.
            expected: Channels, height and width of its input; of one that takes whole pictures the channels alone.
            answered: Number of its outputs.

        Raises:
            StkdError: It has not.
        """
        info = self.info
        if expected != ((info.channels,) if self.whole else (info.channels, info.size, info.size)) or answered != len(
            info.classes
        ):
            raise StkdError(f"{file} does not have the input and the classes that it claims; export the run again")


def _steps(info: ModelInfo) -> list[dict[str, Any]]:
    """What `stkd.data.decode.resize_square` does to an image, for readers without it."""
    square = [info.size, info.size]
    crop: dict[str, Any]
    if info.crop_pct == 1 and info.interpolation == "bilinear":
        crop = {"do": "centre crop", "to": "square of the shorter side", "offset": "rounded down"}
        return [crop, {"do": "resize", "to": square}]
    shorter = math.floor(info.size / info.crop_pct)
    crop = {"do": "centre crop", "to": square, "offset": "rounded, halves to even"}
    return [{"do": "resize", "shorter side to": shorter}, crop]


def _without_folders(model: str) -> str:
    """A model's name; of one that was read from a folder the folder's name alone."""
    kind, slash, rest = model.partition("/")
    return f"{kind}{slash}{Path(rest).name}" if rest.startswith(("/", ".", "~")) else model
