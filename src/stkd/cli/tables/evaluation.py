"""The evaluation of a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from .plain import plain_console

__all__ = ["show_evaluation"]

_SHOWN_CLASSES = 20

_SECTIONS: dict[str, dict[str, tuple[str, str]]] = {
    "Accuracy": {
        "top1": ("top-1 accuracy", "{:.2%}"),
        "top1_interval": ("95 % interval of top-1", "{}"),
        "top5": ("top-5 accuracy", "{:.2%}"),
        "nll": ("NLL (nats)", "{:.4f}"),
        "agreement": ("agreement with the teacher", "{:.2%}"),
    },
    "Calibration": {
        "ece": ("ECE, 15 bins", "{:.4f}"),
        "scaled_ece": ("ECE after temperature scaling", "{:.4f}"),
        "scaled_nll": ("NLL after temperature scaling", "{:.4f}"),
        "temperatures": ("temperature", "{}"),
    },
    "Cost": {
        "params": ("parameters", "{:,}"),
        "macs": ("multiply-accumulates per image", "{:,}"),
        "file_bytes": ("weights on disk (MB)", "{:.3f}"),
        "latency_ms_1": ("latency, batch 1 (ms)", "{:.2f}"),
        "latency_ms_64": ("latency, batch 64 (ms)", "{:.2f}"),
        "throughput_1": ("images a second, batch 1", "{:,.0f}"),
        "throughput_64": ("images a second, batch 64", "{:,.0f}"),
        "peak_bytes_1": ("memory of a pass, batch 1 (MB)", "{:.2f}"),
        "peak_bytes_64": ("memory of a pass, batch 64 (MB)", "{:.2f}"),
    },
}


def show_evaluation(evaluation: dict[str, Any], title: str) -> None:
    """Print a table with a column for each model, then the classes with the lowest accuracy.

    Args:
        evaluation: By `stkd.runs.evaluation.evaluate_run`.
        title: Above the table.
    """
    console = plain_console()
    console.print(Text(title, style="bold"), soft_wrap=True)
    console.print(
        f"{evaluation['images']:,} images of the {evaluation['split']} split, {len(evaluation['classes'])} classes; "
        f"timed with {evaluation['threads']} thread{'s' if evaluation['threads'] > 1 else ''}",
        soft_wrap=True,
    )
    columns = {"student" if "teacher" in evaluation else "model": evaluation}
    columns |= {who: evaluation[who] for who in ("teacher", "alone") if who in evaluation}
    table = Table(box=box.SIMPLE)
    table.add_column()
    for who in columns:
        table.add_column(who, justify="right")
    for section, names in _SECTIONS.items():
        table.add_row(_heading(section))
        for name, (label, shape) in names.items():
            cells = [_cell(name, {**about["calibration"], **about}, shape) for about in columns.values()]
            if any(cells):
                table.add_row(f"  {label}", *cells)
    for row in (*_transfer(evaluation), *_robustness(evaluation), *_ood(evaluation)):
        table.add_row(*row)
    console.print(table)
    console.print(_classes(evaluation))
    for line in _notes(evaluation):
        console.print(Text(line), soft_wrap=True)


def _heading(words: str) -> Text:
    return Text(words, style="bold")


def _cell(name: str, about: dict[str, Any], shape: str) -> str:
    value = about.get(name)
    if value is None:
        return ""
    if name == "temperatures":
        return " / ".join(f"{t:.2f}" for t in value)
    if name == "top1_interval":
        return _interval(value)
    return shape.format(value / 1e6 if name.partition("_")[2].startswith("bytes") else value)


def _transfer(evaluation: dict[str, Any]) -> Iterator[tuple[str | Text, ...]]:
    if "teacher" not in evaluation:
        return
    yield (_heading("Class similarity to the teacher's"),)
    alone = evaluation.get("alone", {}).get("similarity")
    for name in ("pearson", "spearman"):
        cells = [_number(evaluation["similarity"][name]), *(["", _number(alone[name])] if alone else [])]
        yield (f"  {name.capitalize()}", *cells)
    if (virtual := evaluation.get("virtual")) is None:
        return
    yield (_heading("Virtual samples, against the teacher"), "KL (nats)", "agreement")
    for i, weight in enumerate(virtual["lambdas"]):
        agreement = f"{virtual['agreement'][i]:.1%}"
        yield (f"  lambda {weight:g}", f"{virtual['kl'][i]:.4f}", agreement)


def _robustness(evaluation: dict[str, Any]) -> Iterator[tuple[str | Text, ...]]:
    if "robustness" not in evaluation:
        return
    yield (_heading("Accuracy under corruption"),)
    models = evaluation["robustness"]
    for name in models["model"]["top1"]:
        yield (f"  {name.replace('_', ' ')}", *(f"{sum(m['top1'][name]) / 5:.2%}" for m in models.values()))
    yield ("  mean", *(f"{m['mean_top1']:.2%}" for m in models.values()))


def _ood(evaluation: dict[str, Any]) -> Iterator[tuple[str | Text, ...]]:
    if "ood" not in evaluation:
        return
    ood = evaluation["ood"]
    models = [ood[who] for who in ("model", "teacher", "alone") if who in ood]
    yield (_heading(f"Against {ood['images']:,} images of {ood['data']}"),)
    yield ("  AUROC of confidence", *(f"{m['auroc']:.4f}" for m in models))
    yield ("  mean confidence, own images", *(f"{m['mean_confidence']:.2%}" for m in models))
    yield ("  mean confidence, those images", *(f"{m['foreign_confidence']:.2%}" for m in models))


def _classes(evaluation: dict[str, Any]) -> Table:
    """The classes with the lowest accuracy first; of many, some."""
    names, accuracy = evaluation["classes"], evaluation["class_accuracy"]
    order = sorted(range(len(names)), key=lambda c: (accuracy[c] is None, accuracy[c]))
    shown = order[:_SHOWN_CLASSES]
    table = Table(box=box.SIMPLE, title_justify="left")
    table.title = "Class by class" if len(shown) == len(names) else f"The {len(shown)} hardest of {len(names)} classes"
    table.add_column("class", overflow="fold")
    for heading in ("images", "accuracy", "95 % interval", *(["teacher"] if "teacher" in evaluation else [])):
        table.add_column(heading, justify="right")
    table.add_column("taken for", overflow="fold")
    for c in shown:
        interval = evaluation["class_interval"][c]
        cells = [
            f"{evaluation['class_images'][c]:,}",
            _percent(accuracy[c]),
            "" if interval is None else _interval(interval),
        ]
        if "teacher" in evaluation:
            cells.append(_percent(evaluation["teacher"]["class_accuracy"][c]))
        mistaken = ", ".join(f"{names[label]} ({count})" for label, count in evaluation["mistaken"][c])
        table.add_row(names[c], *cells, mistaken)
    return table


def _interval(bounds: Sequence[float]) -> str:
    low, high = bounds
    return f"{low:.1%} to {high:.1%}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _notes(evaluation: dict[str, Any]) -> Iterator[str]:
    how = {
        "halves": "Temperatures are fitted on one half of the images and scored on the other, both ways.",
        "held-out images": "Temperatures are fitted on the validation split.",
    }
    yield "Intervals are Wilson's at 95 %, over the choice of test images."
    if len(evaluation["classes"]) > _SHOWN_CLASSES:
        yield "All classes and the confusion matrix: --json, and evaluation.json of the run for its own test images."
    yield how[evaluation["calibration"]["fitted_on"]]
    if "robustness" in evaluation:
        yield "Accuracies under corruption are means of 5 severities."
    if "alone" in evaluation and "class_change" in evaluation["alone"]:
        change = [
            (c, name) for c, name in zip(evaluation["alone"]["class_change"], evaluation["classes"], strict=True) if c
        ]
        for word, some in (("Gained", sorted(change, reverse=True)[:5]), ("Lost", sorted(change)[:5])):
            named = [f"{name} {100 * c:+.1f}" for c, name in some if (c > 0) == (word == "Gained")]
            yield f"{word} most against alone (points): {', '.join(named) or 'no class'}"
