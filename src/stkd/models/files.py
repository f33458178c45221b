"""Models on disk: safetensors files that say which model they hold, for which classes and which normalisation."""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, get_args

from safetensors import SafetensorError, safe_open
from torch import nn

from .. import models
from ..core import manifest
from ..core.errors import StkdError
from ..core.files import write_atomic
from ..core.keywords import check_keywords
from . import weights
from .names import check_name, needs_hub
from .outputs import as_logits
from .published import Interpolation, published
from .weight_files import INDEX_ENDING

__all__ = ["ModelInfo", "find_weights", "load_model", "read_info", "save_model"]

_KEY = "stkd"
_DEFAULTS = {"options": {}, "crop_pct": 1.0, "interpolation": "bilinear"}
"""What a header means that does not name these: those of earlier versions do not."""


@dataclass(frozen=True)
class ModelInfo:
    """What has to be known to use a model's weights.

    Attributes:
        model: Name for `stkd.models.create`; a model made in Python has the name of its class.
        classes: Class names, position = label.
        channels: Channels of its images.
        size: Side of its images in pixels.
        mean, std: Normalisation of images scaled to 0..1, one number per channel.
        options: Keyword arguments of the model, see `stkd.models.create`.
        crop_pct: Share of a resized image's side that evaluation keeps of its centre.
        interpolation: How images are resized.
    """

    model: str
    classes: tuple[str, ...]
    channels: int
    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    crop_pct: float = 1.0
    interpolation: Interpolation = "bilinear"

    def build(self) -> nn.Module:
        """The model, with initial weights; nothing is downloaded.

        Raises:
            StkdError: There is none of this name, or its name asks for a download.
        """
        self.check_local()
        return models.create(
            self.model,
            num_classes=len(self.classes),
            in_channels=self.channels,
            image_size=self.size,
            options=self.options,
        )

    def check(self) -> None:
        """Check that all values are possible; a file could say anything.

        Raises:
            StkdError: One is not.
        """
        check_name(self.model)
        if not isinstance(self.classes, tuple) or not self.classes:
            raise StkdError("there are no class names")
        for name in self.classes:
            if not isinstance(name, str) or not name.strip() or not _printable(name):
                raise StkdError(f"the class name {ascii(name)[:60]} is empty or has control characters")
        if len(set(self.classes)) != len(self.classes):
            raise StkdError("two classes have the same name")
        for what, value, most in (("channels", self.channels, 4096), ("size", self.size, 4096)):
            if type(value) is not int or not 1 <= value <= most:
                raise StkdError(f"{what} is {value!r}; it must be a whole number from 1 to {most}")
        for what, values in (("mean", self.mean), ("std", self.std)):
            if not isinstance(values, tuple) or not all(type(v) in (int, float) and math.isfinite(v) for v in values):
                raise StkdError(f"{what} must be a list of finite numbers")
            if len(values) != self.channels:
                raise StkdError(f"{what} has {len(values)} numbers for {self.channels} channels")
        if min(self.std) <= 0:
            raise StkdError(f"std must be positive, got {list(self.std)}")
        if type(self.crop_pct) not in (int, float) or not 0.1 <= self.crop_pct <= 1:
            raise StkdError(f"crop_pct is {self.crop_pct!r}; it must be a number from 0.1 to 1")
        if self.interpolation not in (known := get_args(Interpolation)):
            raise StkdError(f"interpolation is {self.interpolation!r}; it must be {' or '.join(known)}")
        check_keywords("options", self.options)

    def check_local(self) -> None:
        """Check that the model can be built without a download.

        Raises:
            StkdError: It cannot.
        """
        if needs_hub(self.model):
            raise StkdError(
                f"{self.model} would be fetched from the Hugging Face hub or read from a folder, which a file never "
                f"causes; name the model yourself: --teacher {self.model}, or in Python "
                f"stkd.models.create({self.model!r}, ...) and stkd.models.load"
            )


def _printable(text: str) -> bool:
    return not any(unicodedata.category(character) in ("Cc", "Cs") for character in text)


def save_model(
    module: nn.Module, path: Path, info: ModelInfo, *, write: Callable[[Path, bytes], None] = write_atomic
) -> None:
    """Write weights and what describes them to a safetensors file, whole or not at all; `write` as `weights.save`."""
    fields = {key: value for key, value in asdict(info).items() if key not in _DEFAULTS or value != _DEFAULTS[key]}
    weights.save(module, path, {_KEY: json.dumps(fields)}, write=write)


def read_info(path: Path) -> ModelInfo | None:
    """What a safetensors file says of its model; None for other files and for files that say nothing.

    Raises:
        StkdError: What it says cannot be true, or the file is not what was written there.
    """
    if path.suffix != ".safetensors":
        return None
    try:
        manifest.check(path)
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(_KEY)
    except (OSError, SafetensorError):
        return None  # reading the weights will say what is wrong with the file
    if text is None:
        return None
    try:
        fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in json.loads(text).items()}
        info = ModelInfo(**fields)
        info.check()
    except StkdError as error:
        raise StkdError(f"the header of {path} is wrong: {error}; give another file") from None
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise StkdError(f"the header of {path} was not written by this version of stkd; give another file") from None
    return info


def find_weights(path: Path) -> Path:
    """The file of weights behind a path: the file itself, or the one that a folder holds.

    Args:
        path: A file, a run directory, or a folder with the weights of a model, in one file or in shards with an index.

    Raises:
        StkdError: There is none.
    """
    if not path.exists():
        raise StkdError(f"{path} does not exist; give a .safetensors or .pth file, or a finished run directory")
    if not path.is_dir():
        return path
    for name in ("student.safetensors", "model.safetensors", f"model.safetensors{INDEX_ENDING}", *_OF_A_HUB):
        if (path / name).is_file():
            return path / name
    raise StkdError(f"{path} holds no student.safetensors or model.safetensors; is the run finished?")


_OF_A_HUB = ("pytorch_model.bin", f"pytorch_model.bin{INDEX_ENDING}")


def load_model(path: str | Path, module: nn.Module | None = None) -> tuple[nn.Module, ModelInfo]:
    """The model of a run directory, of a safetensors file written by stkd, or of a folder that timm or transformers
    saved it to, in evaluation mode.

    Args:
        path: Run directory, file or folder.
        module: Takes the weights; None builds the model that the file names.

    Raises:
        StkdError: The file is missing, damaged, or does not say which model it holds.
    """
    file = find_weights(Path(path))
    info = read_info(file)
    if info is None and module is None and (Path(path) / "config.json").is_file():
        return _of_library(Path(path))
    if info is None:
        weights.read_state(file)  # a damaged file is the better thing to report
        raise StkdError(f"{file} does not say which model it holds; give a file or directory that stkd wrote")
    try:
        if module is None:
            info.check_local()
    except StkdError as error:
        raise StkdError(f"{file}: {error}") from None
    try:
        module = info.build() if module is None else module
    except StkdError as error:
        raise type(error)(
            f"{file} holds a {info.model}, which cannot be built by name ({error}); "
            f"give your module to stkd.load({str(path)!r}, model=MODULE), or --plugin FILE that registers the name"
        ) from None
    weights.load(module, file)
    return as_logits(module, info.channels, info.size, len(info.classes)).eval(), info


def _of_library(folder: Path) -> tuple[nn.Module, ModelInfo]:
    """The model in a folder of timm or transformers; where its classes have no names, their numbers stand for them."""
    source = f"hf/{folder}"
    known = published(source)
    assert known is not None
    module = models.create(
        source, num_classes=known.outputs, in_channels=len(known.mean), image_size=known.size, pretrained=True
    )
    name, options = models.recorded_name(source)
    classes = next(iter(known.classes), tuple(map(str, range(known.outputs))))
    info = ModelInfo(
        *(name, classes, len(known.mean), known.size, known.mean, known.std, options),
        *(known.crop_pct, known.interpolation),
    )
    return module.eval(), info
