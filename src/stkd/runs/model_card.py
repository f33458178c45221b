"""README.md of a run directory: the model card, written when training ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from ..core.config import DistillConfig, TrainConfig
from ..core.files import write_atomic
from ..models import models
from ..models.files import ModelInfo
from .description import describe_data, describe_run, describe_splits

__all__ = ["show_exports", "write_card"]


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
    text = environment.get_template("model_card.md").render(
        config=config,
        info=info,
        weights=weights,
        data=describe_data(config.data),
        splits=describe_splits(result["images"]) if result.get("images") else "",
        findings=None if preflight is None else [f for f in preflight.get("findings", []) if f["check"] != "length"],
        own_module="/" not in info.model and info.model not in models,
        description=describe_run(config, result, teacher),
        scores={split: score for split, score in scores.items() if score},
    )
    write_atomic(folder / "README.md", text)


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
