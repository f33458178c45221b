"""Tables of accuracy."""

from __future__ import annotations

from typing import Any

from tables_cells import interval, percent, score

from stkd.studies.statistics import LEVEL
from stkd.teachers.engines import Nearness

__all__ = ["ablations", "int8_students", "int8_teachers", "methods", "precision", "probes", "two_regimes"]


def two_regimes(result: dict[str, Any]) -> str:
    """Rows are methods, columns regimes, each with the difference to KD."""
    regimes: dict[str, Any] = result["regimes"]
    pairs = min(len(arm["seeds"]) for arms in regimes.values() for arm in arms.values())
    columns = "".join(f" {name} | to KD, 95 % interval (n = {pairs}) |" for name in regimes)
    lines = [f"| test accuracy (%) |{columns}", "| --- |" + " ---: |" * 2 * len(regimes)]
    for method in next(iter(regimes.values())):
        cells = [regime[method]["top1"] for regime in regimes.values()]
        columns = "".join(f" {percent(c['mean'], c['std'])} | {interval(c.get('paired'))} |" for c in cells)
        lines.append(f"| {method} |{columns}")
    lines.append("| *teacher* |" + f" *{100 * result['teacher']['top1']:.2f}* | |" * len(regimes))
    return "\n".join(lines)


def methods(result: dict[str, Any]) -> str:
    """Rows are methods, the highest mean first; columns real images and virtual samples."""
    by_name = {cell["method"]: cell for cell in result["cells"]}
    virtual = {"ce": "mixup", "kd": "stkd", "fm": "fm"}
    virtual |= {label: label for label in ("stkd-strong", "stkd-decoupled")}
    rows = [
        (label, None if label == virtual.get(label) else cell, by_name.get(virtual.get(label, f"{label}-mix")))
        for label, cell in by_name.items()
        if label not in ("mixup", "stkd") and not label.endswith("-mix")
    ]
    rows.sort(key=lambda row: -max(_top1(cell) for cell in row[1:]))
    pairs = min(len(cell["runs"]) for cell in result["cells"] if cell["runs"])
    to_kd = f"to `kd` (points), 95 % interval, n = {pairs}"
    lines = [f"| test accuracy (%) | real images | {to_kd} | virtual samples | {to_kd} |"]
    lines.append("| --- |" + " ---: |" * 4)
    names = {"ce": "`ce`, `mixup`", "kd": "`kd`, `stkd`", "stkd-decoupled": "`stkd:beta=2`"}
    for label, *columns in rows:
        cells = " | ".join(f"{score(cell)} | {_to_baseline(cell)}" for cell in columns)
        lines.append(f"| {names.get(label, f'`{label}`')} | {cells} |")
    (teacher,) = result["teachers"].values()
    lines.append(f"| *teacher* | *{100 * teacher['test']['top1']:.2f}* | | | |")
    return "\n".join(lines)


def _to_baseline(cell: dict[str, Any] | None) -> str:
    paired = (cell["paired"] or {}).get("top1") if cell else None
    return interval(paired) + (" \\*" if paired and paired["p_corrected"] < LEVEL else "")


def _top1(cell: dict[str, Any] | None) -> float:
    return cell["mean"]["top1"] if cell and cell["runs"] else 0.0


def ablations(result: dict[str, Any]) -> str:
    """Rows are settings, in the order of the recipe."""
    seeds = len(result["protocol"]["seeds"])
    lines = [f"| setting | test accuracy (%) | NLL | beside the default (points), 95 % interval, n = {seeds} |"]
    lines.append("| --- | ---: | ---: | ---: |")
    for cell in result["cells"]:
        name, mean = cell["method"], cell["mean"]
        name = f"`{name}` (default)" if name == result["baseline"] else f"`{name}`"
        lines.append(f"| {name} | {score(cell)} | {mean['nll']:.3f} | {_to_baseline(cell)} |")
    return "\n".join(lines)


def precision(result: dict[str, Any]) -> str:
    """One row for each arithmetic."""
    pairs = len(result["protocol"]["seeds"])
    lines = [f"| arithmetic | test accuracy (%) | NLL | beside float32 (points), 95 % interval, n = {pairs} |"]
    lines.append("| --- | ---: | ---: | ---: |")
    for name, arm in result["arms"].items():
        scores = percent(arm["top1"]["mean"], arm["top1"]["std"])
        nll = f"{arm['nll']['mean']:.3f} ± {arm['nll']['std']:.3f}"
        lines.append(f"| {name} | {scores} | {nll} | {interval(arm['top1'].get('paired'))} |")
    return "\n".join(lines)


def int8_teachers(result: dict[str, Any]) -> str:
    """Rows are teachers, columns what is left of them in bf16 and int8."""
    lines = [
        "| teacher | accuracy (%) float32, bf16, int8 | same class in bf16, int8 (%) | check (%) | int8 by `auto` |"
    ]
    lines.append("| --- | ---: | ---: | ---: | --- |")
    for teacher in result["teachers"]:
        check = Nearness(**teacher["check"][0]["int8"])
        top1 = ", ".join(f"{100 * teacher[kind]['top1']:.2f}" for kind in ("float32", "bf16", "int8"))
        same = ", ".join(f"{100 * teacher[kind]['agreement']:.2f}" for kind in ("bf16", "int8"))
        name = f"{teacher['model']}, {teacher['data']}, {teacher['trained']['epochs']} epochs"
        lines.append(f"| {name} | {top1} | {same} | {100 * check.agreement:.2f} | {'yes' if check.enough else 'no'} |")
    return "\n".join(lines)


def int8_students(result: dict[str, Any]) -> str:
    """Rows are the files of each student."""
    names = {
        "float": "float",
        "per tensor": "int8, one scale a weight",
        "per channel": "int8, one scale a channel (what is written)",
        "qad": "the same after `--qad {epochs}`",
    }
    lines = ["| student | file | accuracy (%) | same class as float (%) | MB |", "| --- | --- | ---: | ---: | ---: |"]
    for student in result["students"]:
        model, size = student["model"].rpartition("/")[2], student["size"]
        for name, row in student["files"].items():
            label = names[name].format(epochs=student["training"]["epochs"] if name == "qad" else 0)
            cells = f"{100 * row['top1']:.1f} | {100 * row['agreement']:.1f} | {row['bytes'] / 1e6:.2f}"
            lines.append(f"| {model}, {size} px | {label} | {cells} |")
    return "\n".join(lines)


def probes(result: dict[str, Any]) -> str:
    """Rows are images and the sizes that the teacher is shown, columns its own head and a probe."""
    lines = ["| images | shown to the teacher at | by WordNet id (%) | by a probe (%) |"]
    lines.append("| --- | ---: | ---: | ---: |")
    flowers, tiny = result["flowers"], result["tiny_imagenet"]
    for size, arm in flowers["probe"].items():
        name = f"{flowers['classes']} kinds of flowers, {flowers['train']:,} photos"
        lines.append(f"| {name} | {size} px | | {percent(arm['mean'], arm['std'])} |")
    for size, probe in tiny["probe"].items():
        name = f"{tiny['classes']} classes of Tiny-ImageNet, {tiny['train']:,} images"
        own = tiny["by_wordnet_id"][size]["top1"]
        lines.append(f"| {name} | {size} px | {100 * own:.1f} | {100 * probe['top1']:.1f} |")
    seeds = len(next(iter(flowers["probe"].values()))["seeds"])
    said = (
        f"EfficientNet-Lite 2 with its ImageNet weights, which was trained at 260 px, on images of 64 px; test images: "
        f"{flowers['test']} photos, drawn with {seeds} seeds, and {tiny['test']} images."
    )
    return "\n".join([*lines, "", said])
