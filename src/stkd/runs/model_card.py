"""README.md of a run directory: the model card, written when training ends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..core.config import DistillConfig, TrainConfig
from ..core.files import write_atomic
from ..models.files import ModelInfo
from .description import story_of_run

__all__ = ["write_card"]


def write_card(
    config: TrainConfig | DistillConfig, result: Mapping[str, Any], info: ModelInfo, weights: str, teacher: str
) -> None:
    """Write the model card of a finished run.

    Args:
        config: Options of the run.
        result: What result.json holds.
        info: What the weights' header says.
        weights: File name of the weights.
        teacher: Names of the teachers' models; empty if the method used none.
    """
    write_atomic(config.out / "README.md", _text(config, result, info, weights, teacher))


def _text(
    config: TrainConfig | DistillConfig, result: Mapping[str, Any], info: ModelInfo, weights: str, teacher: str
) -> str:
    scores = [
        f"| {split} | {found['top1']:.2%} | {found['nll']:.4f} |"
        for split, found in (("validation", result.get("val")), ("test", result.get("test")))
        if found
    ]
    few = ", ".join(f"`{name}`" for name in info.classes[:12]) + (", ..." if len(info.classes) > 12 else "")
    table = ["| images | top-1 | NLL (nats) |", "| --- | --- | --- |", *scores] if scores else ["Not scored."]
    colours = "grey" if info.channels == 1 else "RGB"
    lines = [
        f"# {info.model} on {config.data.partition(':')[0]}",
        "",
        story_of_run(config, result, teacher),
        "",
        "## Scores",
        "",
        "Weights of the last epoch; no epoch was chosen by these images.",
        "",
        *table,
        "",
        "## Data",
        "",
        f"{len(info.classes)} classes: {few}. Images are {colours}, {info.size} x {info.size} pixels, scaled to 0..1 "
        f"and normalised with mean {_numbers(info.mean)} and standard deviation {_numbers(info.std)}.",
        "",
        "## Use",
        "",
        "```bash",
        "stkd predict . IMAGE",
        "stkd evaluate .",
        "stkd report .",
        "```",
        "",
        "```python",
        "from pathlib import Path",
        "",
        "from stkd.models.files import load_model",
        "",
        f'model, info = load_model(Path("{weights}"))  # info.classes, info.mean, info.std, info.size',
        "```",
        "",
        "## Limits",
        "",
        f"It knows these {len(info.classes)} classes and no others: an image of something else is still given one of "
        "them. The scores are of one seed on images like those of training; other cameras, crops or damage can lower "
        "them. Biases of the images, of their labels and of the teacher are likely to be in the model too.",
        "",
        "## Again",
        "",
        "Options are in config.yaml, versions and hardware in env.json.",
        "",
    ]
    return "\n".join(lines)


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{v:.4f}" for v in values)
