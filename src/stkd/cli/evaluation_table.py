"""An evaluation as people read it in the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

__all__ = ["show_evaluation"]

_SECTIONS: dict[str, dict[str, tuple[str, str]]] = {
    "Accuracy": {
        "top1": ("top-1 accuracy", "{:.2%}"),
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


def show_evaluation(found: dict[str, Any], title: str) -> None:
    """Sections of a table with a column for each model, then the classes that changed most.

    Args:
        found: By `stkd.runs.evaluation.evaluate_run`.
        title: Above the table.
    """
    console = Console()
    console.print(title, style="bold", soft_wrap=True)
    console.print(
        f"{found['images']:,} images of the {found['split']} split, {len(found['classes'])} classes; "
        f"timed with {found['threads']} thread{'s' if found['threads'] > 1 else ''}",
        soft_wrap=True,
    )
    columns = {"student" if "teacher" in found else "model": found}
    columns |= {who: found[who] for who in ("teacher", "alone") if who in found}
    table = Table(box=box.SIMPLE)
    table.add_column()
    for who in columns:
        table.add_column(who, justify="right")
    for section, names in _SECTIONS.items():
        table.add_row(f"[bold]{section}")
        for name, (label, shape) in names.items():
            cells = [_cell(name, {**about["calibration"], **about}, shape) for about in columns.values()]
            if any(cells):
                table.add_row(f"  {label}", *cells)
    for row in (*_transfer(found), *_robustness(found), *_ood(found)):
        table.add_row(*row)
    console.print(table)
    for line in _notes(found):
        console.print(line, soft_wrap=True)


def _cell(name: str, about: dict[str, Any], shape: str) -> str:
    value = about.get(name)
    if value is None:
        return ""
    if name == "temperatures":
        return " / ".join(f"{t:.2f}" for t in value)
    return shape.format(value / 1e6 if name.partition("_")[2].startswith("bytes") else value)


def _transfer(found: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    if "teacher" not in found:
        return
    yield ("[bold]Class similarity to the teacher's",)
    alone = found.get("alone", {}).get("similarity")
    for name in ("pearson", "spearman"):
        cells = [_number(found["similarity"][name]), *(["", _number(alone[name])] if alone else [])]
        yield (f"  {name.capitalize()}", *cells)
    if (virtual := found.get("virtual")) is None:
        return
    yield ("[bold]Virtual samples, against the teacher", "KL (nats)", "agreement")
    for i, weight in enumerate(virtual["lambdas"]):
        agreement = f"{virtual['agreement'][i]:.1%}"
        yield (f"  lambda {weight:g}", f"{virtual['kl'][i]:.4f}", agreement)


def _robustness(found: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    if "robustness" not in found:
        return
    yield ("[bold]Accuracy under corruption",)
    models = found["robustness"]
    for name in models["model"]["top1"]:
        yield (f"  {name.replace('_', ' ')}", *(f"{sum(m['top1'][name]) / 5:.2%}" for m in models.values()))
    yield ("  mean", *(f"{m['mean_top1']:.2%}" for m in models.values()))


def _ood(found: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    if "ood" not in found:
        return
    ood = found["ood"]
    models = [ood[who] for who in ("model", "teacher", "alone") if who in ood]
    yield (f"[bold]Against {ood['images']:,} images of {ood['data']}",)
    yield ("  AUROC of confidence", *(f"{m['auroc']:.4f}" for m in models))
    yield ("  mean confidence, own images", *(f"{m['mean_confidence']:.2%}" for m in models))
    yield ("  mean confidence, those images", *(f"{m['foreign_confidence']:.2%}" for m in models))


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _notes(found: dict[str, Any]) -> Iterator[str]:
    how = {
        "halves": "Temperatures are fitted on one half of the images and scored on the other, both ways.",
        "held-out images": "Temperatures are fitted on the validation split.",
    }
    yield how[found["calibration"]["fitted_on"]]
    if "robustness" in found:
        yield "Accuracies under corruption are means of 5 severities."
    if "alone" in found and "class_change" in found["alone"]:
        change = [(c, name) for c, name in zip(found["alone"]["class_change"], found["classes"], strict=True) if c]
        for word, some in (("Gained", sorted(change, reverse=True)[:5]), ("Lost", sorted(change)[:5])):
            named = [f"{name} {100 * c:+.1f}" for c, name in some if (c > 0) == (word == "Gained")]
            yield f"{word} most against alone (points): {', '.join(named) or 'no class'}"
