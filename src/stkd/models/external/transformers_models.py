"""Image classifiers of the transformers library: by the type of their configuration, or from a folder."""

from __future__ import annotations

import importlib.util
import inspect
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from ...core.errors import StkdError, unknown
from ..heads import head_names
from .spec import ModelSpec

__all__ = [
    "TransformersClassifier",
    "build",
    "is_configuration",
    "model_and_options",
    "read_pixels",
]

_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")

_NOT_OPTIONS = frozenset(
    {"model_type", "id2label", "label2id", "num_labels", "num_channels", "transformers_version"}
    | {"dtype", "torch_dtype", "_name_or_path", "auto_map", "problem_type", "return_dict", "quantization_config"}
    | {"_attn_implementation_autoset", "use_pretrained_backbone", "backbone", "image_size", "pretrained_cfg"}
    | {"out_features", "out_indices", "stage_names"}  # of a backbone
)
"""What stands in a configuration and is set by stkd, says nothing of the architecture, or would fetch or run code."""


class TransformersClassifier(nn.Module):
    """A classifier of transformers as a module from images to logits.

    Args:
        model: The model, whose answer has `logits`.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) to logits (B, num_classes)."""
        logits: Tensor = self.model(pixel_values=images).logits
        return logits


def is_configuration(config: Mapping[str, Any]) -> bool:
    """Whether a config.json is one of transformers, not of timm."""
    return "model_type" in config and "architecture" not in config


def model_and_options(config: Mapping[str, Any], name: str) -> tuple[str, dict[str, Any]]:
    """The name "transformers/TYPE" and the options that build the architecture of a configuration.

    Args:
        config: The content of a config.json.
        name: Where it stands, for messages.

    Raises:
        StkdError: It is of no image classifier.
    """
    kind = str(config["model_type"])
    _check_type(kind, name)
    options = {key: value for key, value in config.items() if key not in _NOT_OPTIONS and value is not None}
    if not _has_forms(kind):
        options.pop("architectures", None)  # it tells apart forms such as DeiT's with a second head
    nested = [key for key, value in options.items() if isinstance(value, dict)]
    if nested:
        raise StkdError(
            f"{name} is a {kind} whose configuration has parts of its own ({', '.join(nested)}), which stkd cannot "
            "record; register the model in a file for --plugin"
        )
    return f"transformers/{kind}", options


def build(spec: ModelSpec, folder: Path | None = None) -> TransformersClassifier:
    """A classifier, of which no code of elsewhere is run.

    Args:
        spec: The model; its name is the type of a configuration, such as "vit" or "resnet", its options are fields of
            the configuration.
        folder: Where its weights are; its head stays new where they are for another number of classes. None leaves all
            weights initial.

    Raises:
        StkdError: The library is missing, it knows no such type or field, or the weights do not fit.
    """
    kind = spec.name
    if spec.pretrained and folder is None:
        raise StkdError(f"transformers/{kind} names an architecture; pretrained weights are those of hf/OWNER/NAME")
    _check_type(kind, f"transformers/{kind}")
    from transformers import AutoConfig, AutoModelForImageClassification

    known = AutoConfig.for_model(kind)
    fields = {*known.to_dict(), *inspect.signature(type(known)).parameters} - {"kwargs"}
    for key in spec.options:
        if key not in fields or key in _NOT_OPTIONS:
            raise unknown(f"option of transformers/{kind}", key, fields - _NOT_OPTIONS)
    sized = {"image_size": spec.image_size} if spec.image_size is not None and "image_size" in fields else {}
    own = {**spec.options, **sized, "num_labels": spec.num_classes, "num_channels": spec.in_channels}
    config = AutoConfig.for_model(kind, **own)
    if folder is not None:
        return TransformersClassifier(_with_weights(config, folder))
    return TransformersClassifier(AutoModelForImageClassification.from_config(config, trust_remote_code=False))


def _with_weights(config: Any, folder: Path) -> nn.Module:
    """A model with the weights of a folder; transformers reads them, since it renames some from version to version."""
    from transformers import AutoModelForImageClassification

    if not any((folder / name).is_file() for name in _WEIGHTS):
        raise StkdError(
            f"{folder} holds no {_WEIGHTS[0]}; save the model by save_pretrained of a recent transformers, which "
            "writes it"
        )
    how = {"use_safetensors": True, "local_files_only": True, "trust_remote_code": False, "dtype": torch.float32}
    with _quiet():
        model, found = AutoModelForImageClassification.from_pretrained(
            folder, config=config, ignore_mismatched_sizes=True, output_loading_info=True, **how
        )
    head = set(head_names(model))
    differing = [entry[0] if isinstance(entry, tuple) else entry for entry in found["mismatched_keys"]]
    if strange := [name for name in (*found["missing_keys"], *differing) if name not in head]:
        raise StkdError(
            f"the weights in {folder} do not fit its model for images of {getattr(config, 'image_size', None)} pixels: "
            f"{len(strange)} are missing or of another shape, first {strange[0]}; give the size and channels that it "
            "was trained with"
        )
    if broken := [name for name, tensor in model.state_dict().items() if not bool(tensor.isfinite().all())]:
        raise StkdError(f"{folder} holds NaN or infinite values in {broken[0]}; use an earlier checkpoint")
    return cast(nn.Module, model)


@contextmanager
def _quiet() -> Iterator[None]:
    """While this lasts transformers says nothing of new heads and shows no bar."""
    from transformers.utils import logging

    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()


def read_pixels(folder: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """What a model of transformers expects of images, as timm's pretrained_cfg has it, from preprocessor_config.json.

    Where there is no such file, size and normalisation are ImageNet's usual ones.

    Args:
        folder: Of both files.
        config: The content of its config.json.

    Raises:
        StkdError: The file is damaged.
    """
    file = folder / "preprocessor_config.json"
    try:
        said: Mapping[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        size, crop = _side(said.get("size")), _side(said.get("crop_size"))
        cropped = crop is not None and said.get("do_center_crop", True)
        side = crop if cropped and crop is not None else size or config.get("image_size") or 224
        share = crop / size if cropped and crop and size else float(said.get("crop_pct") or 1) if side < 384 else 1.0
        mean, std = _normalisation(said)
        names = config.get("id2label") or {}
        labels = [str(names[key]) for key in sorted(names, key=int)]
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        raise StkdError(f"{file} or the config.json beside it is damaged; copy or download them again") from None
    side = side[0] if isinstance(side, list | tuple) else side
    outputs = len(labels) or int(config.get("num_labels", 2))
    named = {"label_names": labels} if labels and labels != [f"LABEL_{i}" for i in range(outputs)] else {}
    return {
        "input_size": (len(mean), int(side), int(side)),
        "mean": mean,
        "std": std,
        "crop_pct": min(share, 1.0),
        "interpolation": "bicubic" if said.get("resample") in (1, 3) else "bilinear",
        "num_classes": outputs,
        **named,
    }


def _has_forms(kind: str) -> bool:
    """Whether a type of configuration stands for several classifiers."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES as KNOWN

    return not isinstance(KNOWN[kind], str)


def _check_type(kind: str, name: str) -> None:
    if importlib.util.find_spec("transformers") is None:
        raise StkdError(f"{name} is a model of transformers: pip install 'stkd[hf]'")
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES as KNOWN

    if kind not in KNOWN:
        raise unknown(f"image classifier of transformers, for {name},", kind, KNOWN)


def _side(size: Any) -> int | None:
    """The side of a square from a size as processors write it."""
    if isinstance(size, Mapping):
        size = size.get("shortest_edge") or size.get("height")
    return None if size is None else int(size)


def _normalisation(said: Mapping[str, Any]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation for pixels from 0 to 1, of what a processor does with those from 0 to 255."""
    from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

    mean, std = said.get("image_mean", IMAGENET_DEFAULT_MEAN), said.get("image_std", IMAGENET_DEFAULT_STD)
    if not said.get("do_normalize", True):
        mean, std = (0.0,) * 3, (1.0,) * 3
    factor = 255 * float(said.get("rescale_factor", 1 / 255)) if said.get("do_rescale", True) else 255.0
    shift = 1.0 if said.get("rescale_offset") else 0.0
    return tuple((float(m) + shift) / factor for m in mean), tuple(float(s) / factor for s in std)
