"""Tables of what loaders, servers, starts and students cost."""

from __future__ import annotations

from statistics import median
from typing import Any

__all__ = ["loader", "many_students", "serve_load", "shards", "startup", "suggest", "way_out"]


def many_students(result: dict[str, Any]) -> str:
    """Rows are ratios of student-images/s."""
    rows = {
        "three students of one teacher pass, beside three runs, float32": result["one_pass_against_three_runs_float32"],
        "the same in bf16": result["one_pass_against_three_runs"],
        "the same in bf16, long run, teacher by OpenVINO": result["one_pass_against_three_runs_long"],
        "a student from a cache, beside training without a teacher": result["cached_against_no_teacher"],
    }
    lines = ["| figure | images/s | ratio (median) | of single turns |", "| --- | ---: | ---: | ---: |"]
    for name, figure in rows.items():
        rate, ratios = median(pair[0] for pair in figure["images_per_s"]), figure["ratios"]
        lines.append(f"| {name} | {rate:.0f} | {median(ratios):.2f} | {min(ratios):.2f} to {max(ratios):.2f} |")
    return "\n".join(lines)


def loader(result: dict[str, Any]) -> str:
    """Rows are loaders of files."""
    files = result["files"]
    lines = ["| loader | images/s | beside torchvision v1 | beside torchvision v2 |", "| --- | ---: | ---: | ---: |"]
    for name, text in {"stkd": "stkd, real images", "stkd_mixed": "stkd, virtual samples"}.items():
        ratios = " | ".join(f"{files['ratios'][f'{name}/torchvision_{v}']:.2f}" for v in ("v1", "v2"))
        lines.append(f"| {text} | {files['images_per_s'][name]:.0f} | {ratios} |")
    lines += [f"| torchvision {v} | {files['images_per_s'][f'torchvision_{v}']:.0f} | | |" for v in ("v1", "v2")]
    return "\n".join(lines)


def startup(result: dict[str, Any]) -> str:
    """Rows are seconds of fresh processes."""
    names = {
        "help": "`stkd --help`",
        "import_torch": "`import torch`",
        "stkd_adds": "what `import stkd` adds to it",
        "first_step": "first training step on CIFAR-10, decoded before",
    }
    lines = ["| | seconds |", "| --- | ---: |"]
    lines += [f"| {text} | {result['median_s'][name]:.2f} |" for name, text in names.items()]
    return "\n".join(lines)


def serve_load(result: dict[str, Any]) -> str:
    """The load, and a row for each bad request."""
    load = result["load"]
    lines = ["| clients | requests | errors | requests/s | p50 (ms) | p99 (ms) | memory at start, at end (MB) |"]
    lines.append("| ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    cells = (
        *(f"{load[name]:,}" for name in ("clients", "requests", "errors")),
        *(f"{load[name]:.0f}" for name in ("requests_per_s", "p50_ms", "p99_ms")),
        f"{load['memory_at_start_mb']}, {load['memory_at_end_mb']}",
    )
    lines += [f"| {' | '.join(cells)} |", "", "| bad request | status | seconds |", "| --- | ---: | ---: |"]
    lines += [f"| {name} | {row['status']} | {row['seconds']:.2f} |" for name, row in result["bad_requests"].items()]
    return "\n".join(lines)


def way_out(result: dict[str, Any]) -> str:
    """Rows are the files of both students, columns accuracy, size, latency and agreement."""
    names = {"mobilenetv3": "mobilenetv3_small_050", "lite0": "EfficientNet-Lite 0"}
    lines = ["| student | file | top-1 (%) | same class as PyTorch (%) | MB | 1 image (ms) | PyTorch (ms) | runtime |"]
    lines.append("| --- | --- | ---: | ---: | ---: | ---: | ---: | --- |")
    for run, name in names.items():
        for file, row in result[run]["files"].items():
            if "not made" in row:
                lines.append(f"| {name} | {file} | not made | | | | | |")
                continue
            times = row.get("milliseconds", {}).get("1")
            speed = f"{times['file']:.2f} | {times['torch']:.2f}" if times else " | "
            cells = f"{100 * row['top1']:.2f} | {100 * row['agreement']:.2f} | {row['bytes'] / 1e6:.2f} | {speed}"
            lines.append(f"| {name} | {file} | {cells} | {row.get('runtime', '')} |")
    teacher, images = result["teacher"]["top1"], result["lite0"]["test_images"]
    lines.append(f"| *teacher, EfficientNet-Lite 2* | | *{100 * teacher:.2f}* | | | | | |")
    threads = result["lite0"]["files"]["onnx"]["threads"]
    said = f"{images} test photos, one seed; {result['environment']['cpu']}, {threads} threads, a shared machine."
    return "\n".join([*lines, "", said])


def shards(result: dict[str, Any]) -> str:
    """Rows are sizes and forms, columns what they take; speeds beside that of folders."""
    heads = ("on disk (MB)", "in the cache (MB)", "peak memory (MB)", "images/s to folders")
    lines = [f"| images | {' | '.join(heads)} |", "| --- |" + " ---: |" * len(heads)]
    for size, forms in result["sets"].items():
        for form, own in forms.items():
            where = "kept as squares" if own["kept"] else "decoded when wanted"
            numbers = [f"{own[name]:,}" for name in ("mb_on_disk", "mb_in_the_cache", "mb_peak")]
            if own["mb_peak_of_a_worker"] is not None:
                numbers[-1] += f", a worker {own['mb_peak_of_a_worker']:,}"
            speed = own["images_per_s"] / forms["folder"]["images_per_s"]
            cells = " | ".join([*numbers, f"{speed:.2f}"])
            lines.append(f"| {form}, {size}, {where} | {cells} |")
    first = next(iter(result["sets"].values()))["folder"]
    said = (
        f"Opening the set and an epoch of {first['images']:,} JPEGs, without a training; of the peak "
        f"{first['mb_before']} MB are there after the imports. A busy machine: the speeds are rough."
    )
    return "\n".join([*lines, "", said])


def suggest(result: dict[str, Any]) -> str:
    """What was asked; rows are the proposed students, or the nearest one, and the teacher."""
    teacher = result["teacher"]["model"].removeprefix("timm/")
    limit, photos = f"{result['limits']['latency_ms']:g} ms", f"photos of {result['size']} pixels"
    shown = result["proposed"] or [result["nearest"]]
    lines = [
        f"For {result['classes']} kinds of flowers, {photos}, {limit} and {teacher} as teacher:",
        "",
        f"| student | {result['benchmark']} (%) | parameters (M) | MB | MACs (M) | ms, one image | middle half |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for one in [*shown, result["teacher"]]:
        name = one["model"].removeprefix("timm/")
        low, high = one["latency_spread_ms"]
        cells = f"{one['params'] / 1e6:.2f} | {one['file_bytes'] / 1e6:.2f} | {one['macs'] / 1e6:.1f}"
        times = f"{one['latency_ms']:.2f} | {low:.2f} to {high:.2f}"
        known = f"{one['accuracy']:.1f}" if one["accuracy"] is not None else ""
        lines.append(f"| {f'*teacher, {name}*' if one is result['teacher'] else name} | {known} | {cells} | {times} |")
    machine, number = result["environment"], len(result["candidates"])
    said = (
        f"Of {number} candidates; {machine['cpu']}, threads: {result['threads']}, torch {machine['versions']['torch']}."
    )
    return "\n".join([*lines, "", said])
