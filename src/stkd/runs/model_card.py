"""README.md of a run directory: the model card, written when training ends, with metadata for the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from ..core.config import DistillConfig, TrainConfig
from ..core.files import write_atomic
from ..models import models
from ..models.external.timm_models import size_keywords
from ..models.files import ModelInfo
from ..models.names import split_name
from .description import describe_data, describe_run, describe_splits

__all__ = ["show_exports", "write_card"]


_TOLD = ("length", "fine_tuning")
"""Checks whose findings were for the one who trained; what matters of them later stands elsewhere in the card."""


def write_card(
    folder: Path,
    config: TrainConfig | DistillConfig,
    result: Mapping[str, Any],
    info: ModelInfo,
    weights: str,
    teacher: str,
    preflight: Mapping[str, Any] | None = None,
) -> None:
    """Write the model card of a finished run.

    Args:
        folder: Where README.md is written.
        config: Options of the run.
        result: What result.json holds.
        info: What the weights' header says.
        weights: File name of the weights.
        teacher: Names of the teachers' models; empty if the method used none.
        preflight: What preflight.json holds; None if nothing was checked.
    """
    environment = Environment(
        loader=PackageLoader(__package__),
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701, it is Markdown
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["numbers"] = _numbers
    scores = {"validation": result.get("val"), "test": result.get("test")}
    source, _ = split_name(info.model)
    text = environment.get_template("model_card.md").render(
        config=config,
        info=info,
        weights=weights,
        data=describe_data(config.data),
        splits=describe_splits(result["images"]) if result.get("images") else "",
        findings=None if preflight is None else [f for f in preflight.get("findings", []) if f["check"] not in _TOLD],
        own_module="/" not in info.model and info.model not in models,
        metadata=_metadata(config, result, info, teacher),
        source=source,
        timm_call=_timm_call(info, weights) if source == "timm" else "",
        description=describe_run(config, result, teacher),
        scores={split: score for split, score in scores.items() if score},
    )
    write_atomic(folder / "README.md", text)


def _metadata(config: TrainConfig | DistillConfig, result: Mapping[str, Any], info: ModelInfo, teacher: str) -> str:
    """What the hub reads of a card, as YAML; its license is for the maker of the model to choose."""
    from huggingface_hub import EvalResult, ModelCardData

    kind = config.data.partition(":")[0]
    words = {"val": "validation", "test": "test"}
    found = [
        EvalResult(
            task_type="image-classification",
            dataset_type="imagefolder" if kind == "folder" else kind,
            dataset_name=describe_data(config.data),
            dataset_split=words[split],
            metric_type="accuracy",
            metric_name=f"top-1, {words[split]} images",
            metric_value=round(result[split]["top1"], 4),
        )
        for split in words
        if result.get(split)
    ]
    tags = ["image-classification", "stkd", *(["knowledge-distillation"] if teacher else [])]
    data = ModelCardData(
        library_name="stkd",
        pipeline_tag="image-classification",
        tags=tags,
        metrics=["accuracy"],
        model_name=info.model if found else None,
        eval_results=found or None,
    )
    return str(data.to_yaml())


def _timm_call(info: ModelInfo, weights: str) -> str:
    """How timm opens the weights without stkd."""
    _, name = split_name(info.model)
    keywords = {
        "checkpoint_path": weights,
        "num_classes": len(info.classes),
        **({"in_chans": info.channels} if info.channels != 3 else {}),
        **size_keywords(name, info.size),
        **info.options,
    }
    return f"timm.create_model({', '.join([repr(name), *(f'{key}={value!r}' for key, value in keywords.items())])})"


_EXPORTS = ("<!-- exports -->", "<!-- end of exports -->")


def show_exports(folder: Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Show the exported files of a run in its model card; the rest of the card stays as it is.

    Args:
        folder: Where README.md is; without one nothing is shown.
        records: What is known about each file, see `stkd.runs.exports`.
    """
    card = folder / "README.md"
    if not card.is_file():
        return
    rows = [
        f"| `{record['file']}` | {record['runtime']} | {record['bytes'] / 1e6:.2f} "
        f"| {record['agreement']['largest_difference']:.1e} | {record['agreement']['equal_top1']:.2%} "
        f"| {record['timing']['1']['file']['median_ms']:.2f} | {record['timing']['1']['torch']['median_ms']:.2f} |"
        for record in records
    ]
    head = [
        "| file | runs in | MB | largest difference | equal top-1 | ms | ms, PyTorch |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    words = [
        "The model for other runtimes, each file compared with it on real images (logits), and timed with one image. "
        "Their metadata hold the classes and what they expect: images scaled to 0..1, not normalised.",
    ]
    begin, end = _EXPORTS
    section = "\n".join([begin, "## Exported", "", *words, "", *head, *rows, end]) + "\n"
    text = card.read_text(encoding="utf-8")
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(f"{end}\n")
    if not (found and closed):
        before, after = f"{text.rstrip()}\n\n", ""
    write_atomic(card, f"{before}{section}{after}")


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{v:.4f}" for v in values)
