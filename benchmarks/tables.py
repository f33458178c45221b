"""Write the result tables of README.md and docs/ from the files in results/.

python benchmarks/tables.py          (a test checks that the documents are what this writes)

A document has a table of results/NAME.json between the lines `<!-- results/NAME.json -->` and `<!-- end -->`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from stkd.studies.statistics import LEVEL

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"<!-- results/(\w+)\.json -->\n.*?<!-- end -->", re.DOTALL)


def two_regimes(result: dict[str, Any]) -> str:
    """Rows are methods, columns regimes, each with the difference to KD."""
    regimes: dict[str, Any] = result["regimes"]
    pairs = min(len(arm["seeds"]) for arms in regimes.values() for arm in arms.values())
    columns = "".join(f" {name} | to KD, 95 % interval (n = {pairs}) |" for name in regimes)
    lines = [f"| test accuracy (%) |{columns}", "| --- |" + " ---: |" * 2 * len(regimes)]
    for method in next(iter(regimes.values())):
        cells = [regime[method]["top1"] for regime in regimes.values()]
        columns = "".join(f" {_percent(c['mean'], c['std'])} | {_interval(c.get('paired'))} |" for c in cells)
        lines.append(f"| {method} |{columns}")
    lines.append("| *teacher* |" + f" *{100 * result['teacher']['top1']:.2f}* | |" * len(regimes))
    return "\n".join(lines)


def methods(result: dict[str, Any]) -> str:
    """Rows are methods, the highest mean first; columns real images and virtual samples."""
    cells = {cell["method"]: cell for cell in result["cells"]}
    virtual = {"ce": "mixup", "kd": "stkd", "stkd-decoupled": "stkd-decoupled", "fm": "fm"}
    rows = [
        (label, None if label == virtual.get(label) else cell, cells.get(virtual.get(label, f"{label}-mix")))
        for label, cell in cells.items()
        if label not in ("mixup", "stkd") and not label.endswith("-mix")
    ]
    rows.sort(key=lambda row: -max(_top1(cell) for cell in row[1:]))
    pairs = min(len(cell["runs"]) for cell in result["cells"] if cell["runs"])
    lines = [f"| test accuracy (%) | real images | to `kd` (points), 95 % interval, n = {pairs} | virtual samples |"]
    lines.append("| --- | ---: | ---: | ---: |")
    for label, real, mixed in rows:
        difference = _interval((real["paired"] or {}).get("top1")) if real else ""
        names = {"ce": "`ce`, `mixup`", "kd": "`kd`, `stkd`", "stkd-decoupled": "`stkd:beta=2`"}
        lines.append(f"| {names.get(label, f'`{label}`')} | {_score(real)} | {difference} | {_score(mixed)} |")
    (teacher,) = result["teachers"].values()
    lines.append(f"| *teacher* | *{100 * teacher['test']['top1']:.2f}* | | |")
    return "\n".join(lines)


def ablations(result: dict[str, Any]) -> str:
    """Rows are settings, in the order of the recipe."""
    seeds = len(result["protocol"]["seeds"])
    lines = [f"| setting | test accuracy (%) | NLL | beside the default (points), 95 % interval, n = {seeds} |"]
    lines.append("| --- | ---: | ---: | ---: |")
    for cell in result["cells"]:
        name, mean, paired = cell["method"], cell["mean"], (cell["paired"] or {}).get("top1")
        name = f"`{name}` (default)" if name == result["baseline"] else f"`{name}`"
        difference = _interval(paired) + (" \\*" if paired and paired["p_corrected"] < LEVEL else "")
        lines.append(f"| {name} | {_score(cell)} | {mean['nll']:.3f} | {difference} |")
    return "\n".join(lines)


def _top1(cell: dict[str, Any] | None) -> float:
    return cell["mean"]["top1"] if cell and cell["runs"] else 0.0


def _score(cell: dict[str, Any] | None) -> str:
    if cell is None:
        return ""
    failed = f" ({len(cell['failed'])} failed)" if cell["failed"] else ""
    return (_percent(cell["mean"]["top1"], cell["std"]["top1"]) if cell["runs"] else "") + failed


def _interval(paired: dict[str, float] | None) -> str:
    """A difference of shares in points, with its interval."""
    if paired is None:
        return ""
    difference, low, high = (100 * paired[name] for name in ("difference", "low", "high"))
    return f"{difference:+.2f}, {low:+.2f} to {high:+.2f}"


def _percent(mean: float, std: float) -> str:
    return f"{100 * mean:.2f} ± {100 * std:.2f}"


def speed(result: dict[str, Any]) -> str:
    """Rows are figures, with what each is a ratio to."""
    lines = ["| figure | images/s | beside it | images/s | ratio |", "| --- | ---: | --- | ---: | ---: |"]
    others = {"whole": "loop by hand, same settings", "stkd": "kd"}
    for name, figure in result["figures"].items():
        other = "bare loop, float32" if "parts" in figure else others[name.split()[0]]
        theirs, ours = (median(pair[i] for pair in figure["pairs"]) for i in (0, 1))
        lines.append(f"| {name} | {ours:.0f} | {other} | {theirs:.0f} | {figure['ratio']:.2f} |")
    machine = result["environment"]
    lines.append(
        f"\n{machine['gpu'] or machine['cpu']}, {machine['threads']} threads, torch {machine['versions']['torch']}"
    )
    return "\n".join(lines)


def precision(result: dict[str, Any]) -> str:
    """One row for each arithmetic."""
    pairs = len(result["protocol"]["seeds"])
    lines = [f"| arithmetic | test accuracy (%) | NLL | beside float32 (points), 95 % interval, n = {pairs} |"]
    lines.append("| --- | ---: | ---: | ---: |")
    for name, arm in result["arms"].items():
        scores = _percent(arm["top1"]["mean"], arm["top1"]["std"])
        nll = f"{arm['nll']['mean']:.3f} ± {arm['nll']['std']:.3f}"
        lines.append(f"| {name} | {scores} | {nll} | {_interval(arm['top1'].get('paired'))} |")
    return "\n".join(lines)


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


def int8_teachers(result: dict[str, Any]) -> str:
    """Rows are teachers, columns what is left of them in bf16 and int8."""
    lines = ["| teacher | accuracy (%) float32, bf16, int8 | same class in bf16, int8 (%) | check (%) | `auto` takes |"]
    lines.append("| --- | ---: | ---: | ---: | --- |")
    for teacher in result["teachers"]:
        check = teacher["check"]
        top1 = ", ".join(f"{100 * teacher[kind]['top1']:.2f}" for kind in ("float32", "bf16", "int8"))
        same = ", ".join(f"{100 * teacher[kind]['agreement']:.2f}" for kind in ("bf16", "int8"))
        name = f"{teacher['model']}, {teacher['data']}, {teacher['trained']['epochs']} epochs"
        lines.append(f"| {name} | {top1} | {same} | {100 * check['int8']['agreement']:.2f} | {check['precision']} |")
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


def study_digits(result: dict[str, Any]) -> str:
    """Rows are students and numbers of images, columns lengths of training; how far STKD is from KD."""
    cells = {tuple(name.split(", ")): arms for name, arms in result["cells"].items()}
    lengths = list(dict.fromkeys(epochs for *_, epochs in cells))
    lines = [f"| STKD - KD (points), 95 % interval | {' | '.join(lengths)} |", "| --- |" + " ---: |" * len(lengths)]
    for images, student in dict.fromkeys((images, student) for images, student, _ in cells):
        arms = [cells.get((images, student, epochs), {}).get("stkd", {}) for epochs in lengths]
        pairs = [arm["top1"].get("paired") if arm else None for arm in arms]
        columns = [_interval(pair) + (" *" if pair and pair["p_corrected"] < LEVEL else "") for pair in pairs]
        lines.append(f"| {student}, {images} | {' | '.join(columns)} |")
    return "\n".join(lines)


def study_photos(result: dict[str, Any]) -> str:
    """Rows are arms, for each number of photos and length; then the candidates for stkd-strong on validation photos."""
    columns = ("to `kd` (points), 95 % interval", "NLL", "ECE (%)", "same class as the teacher (%)")
    lines = [f"| photos, epochs | arm | seeds | test accuracy (%) | {' | '.join(columns)} |"]
    lines.append("| --- | --- | ---: | ---: |" + " ---: |" * len(columns))
    for setting, arms in result["cells"].items():
        photos, epochs = (f"{int(number):,}" for number in setting.split("-"))
        for name, arm in arms.items():
            top1, nll = arm["top1"], arm["nll"]
            difference = _interval(top1.get("paired"))
            if (top1.get("paired") or {}).get("p_corrected", 1.0) < LEVEL:
                difference += " \\*"
            shares = [f"{100 * arm[score]['mean']:.1f}" if score in arm else "" for score in ("ece", "agreement")]
            cells = f"{len(arm['seeds'])} | {_percent(top1['mean'], top1['std'] or 0.0)} | {difference}"
            lines.append(f"| {photos}, {epochs} | `{name}` | {cells} | {nll['mean']:.3f} | {' | '.join(shares)} |")
    if "corrupted" in result:
        of_arms = {name: arm["mean_top1"] for name, arm in result["corrupted"].items()}
        told = [f"`{name}` {_percent(one['mean'], one['std'])} %" for name, one in of_arms.items()]
        difference = _interval(of_arms["stkd-strong"]["paired"])
        lines += ["", f"On corrupted test photos, mean of all corruptions: {', '.join(told)}; {difference} points."]
    return "\n".join([*lines, "", *_candidates(result)])


def _candidates(result: dict[str, Any]) -> list[str]:
    """Rows are candidates for stkd-strong, those that mix alike beside each other."""
    chosen = [(name.rpartition("-"), unit) for name, unit in result["units"].items() if name.startswith("choose-")]
    by_seed: dict[str, dict[str, dict[str, float]]] = {}
    for (_, _, seed), unit in chosen:
        for name, scores in unit["students"].items():
            by_seed.setdefault(name, {})[seed] = scores
    seeds = sorted({seed for (_, _, seed), _ in chosen})
    lines = [f"| validation accuracy (%), NLL | {' | '.join(f'seed {seed}' for seed in seeds)} |"]
    lines.append("| --- |" + " ---: |" * len(seeds))
    for name, of_seeds in by_seed.items():
        label = f"`kd`, learning rate {name.removeprefix('lr')}" if name.startswith("lr") else _candidate(name)
        told = (of_seeds.get(seed) for seed in seeds)
        cells = " | ".join(f"{100 * one['top1']:.2f}, {one['nll']:.3f}" if one else "" for one in told)
        lines.append(f"| {label}{' (taken)' if name == result['protocol'].get('stkd-strong') else ''} | {cells} |")
    return lines


def _candidate(name: str) -> str:
    """A candidate's options in words."""
    alpha, until, temperature, labels = name.split("-")
    words = [f"\N{GREEK SMALL LETTER ALPHA} = {alpha.removeprefix('alpha')}", f"T = {temperature.removeprefix('T')}"]
    if until != "until1":
        share = round(100 * float(until.removeprefix("until")))
        words += [f"mixed for {share} %", "labels of all" if labels == "all" else "labels of real images alone"]
    return ", ".join(words)


def probes(result: dict[str, Any]) -> str:
    """Rows are images and the sizes that the teacher is shown, columns its own head and a probe."""
    lines = ["| images | shown to the teacher at | by WordNet id (%) | by a probe (%) |"]
    lines.append("| --- | ---: | ---: | ---: |")
    flowers, tiny = result["flowers"], result["tiny_imagenet"]
    for size, arm in flowers["probe"].items():
        name = f"{flowers['classes']} kinds of flowers, {flowers['train']:,} photos"
        lines.append(f"| {name} | {size} px | | {_percent(arm['mean'], arm['std'])} |")
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


def scale(result: dict[str, Any]) -> str:
    """Rows are quantities, columns the two plans; then the network, which is the same for both."""
    titles = list(result["cache_bytes_per_epoch"])
    lines = [f"| | {' | '.join(titles)} |", "| --- |" + " ---: |" * len(titles)]

    def row(name: str, cell: Callable[[str], str]) -> None:
        lines.append(f"| {name} | {' | '.join(cell(title) for title in titles)} |")

    plans = {device: figure["plans"] for device, figure in result["devices"].items()}
    first = next(iter(plans.values()))
    row("passes over the images", lambda t: f"{first[t]['epochs']}")
    for device, own in plans.items():
        rate = result["devices"][device]["images_per_s"]
        row(f"days on one device: {device}, {rate:,.0f} images/s", lambda t, own=own: f"{own[t]['device_days']:,.0f}")
    for device, own in plans.items():
        cores = {"1": f"cores that decode for it: {device}", "8": "the same, where it is one of 8"}
        for count, name in cores.items():
            row(name, lambda t, o=own, n=count: f"{o[t]['cores_per_device'][n]:.2f}")
    for kind in ("all logits", "top 16"):
        row(f"cached teacher, an epoch, {kind}", lambda t, k=kind: _size(result["cache_bytes_per_epoch"][t][k]))
    row("names and tables, in a process", lambda t: _size(first[t]["process_bytes"]))
    row("names and tables, in a machine of 8 devices", lambda t: _size(first[t]["machine_bytes"]))
    networks = list(next(iter(first_network(result).values()))["seconds"])
    lines += ["", f"| devices | gradients, logits a step | share of a step at {' | at '.join(networks)} |"]
    lines.append("| --- | ---: |" + " ---: |" * len(networks))
    for device, figure in result["devices"].items():
        for count, own in figure["network"].items():
            shares = " | ".join(f"{100 * own['share_of_step'][name]:.1f} %" for name in networks)
            sent = f"{_size(own['gradient_bytes'])}, {_size(own['logit_bytes'])}"
            lines.append(f"| {count} of {device} | {sent} | {shares} |")
    rows = result["assumed"]["rows_per_device"]
    lines += [
        "",
        f"{rows} rows of a batch on each device; {result['decoded_per_core_and_s']:,.0f} images/s decoded by a core.",
    ]
    return "\n".join(lines)


def faults(result: dict[str, Any]) -> str:
    """Rows are what was ended or damaged; then files in which one bit was another one."""
    columns = {"the same": ["equal", "mended"], "refused": ["refused"], "left out": ["left out"]}
    columns |= {"lost": ["lost"], "silent": ["silent"]}
    rows = {}
    for name, kinds in result["ended"]["found"].items():
        command, _, how = name.replace(",", "").partition(" ")
        rows[f"ended: `stkd {command}` {how}".rstrip()] = list(kinds.values())
    for name, kinds in result["damaged"]["found"].items():
        rows[f"damaged: {name}"] = list(kinds.values())
    rows["*all*"] = [outcomes for found in rows.values() for outcomes in found]
    lines = [f"| | faults | {' | '.join(columns)} |", "| --- |" + " ---: |" * (1 + len(columns))]
    for name, found in rows.items():
        counts = [sum(outcomes.get(kind, 0) for outcomes in found for kind in kinds) for kinds in columns.values()]
        lines.append(f"| {name} | {sum(counts):,} | {' | '.join(f'{count:,}' for count in counts)} |")
    lines += ["", "| one flipped bit | places | found |", "| --- | ---: | ---: |"]
    for name, (subject, file) in _FLIPPED.items():
        outcomes = result["damaged"]["found"][subject][f"{file}, flipped"]
        said = sum(outcomes.get(kind, 0) for kind in ("mended", "refused", "left out"))
        lines.append(f"| {name} | {sum(outcomes.values())} | {said} |")
    return "\n".join(lines)


_FLIPPED = {
    "weights": ("run, looked at", "student.safetensors"),
    "checkpoint": ("run, goes on from its checkpoint", "checkpoints/last.pt"),
    "teacher's cache": ("cache of a teacher", "epoch-00000.npy"),
    "decoded images": ("decoded images", "decoded images.npy"),
    "decoded photos": ("decoded images", "decoded pictures.bin"),
}


def first_network(result: dict[str, Any]) -> dict[str, Any]:
    """What the network takes with the first kind of device."""
    network: dict[str, Any] = next(iter(result["devices"].values()))["network"]
    return network


def _size(count: float) -> str:
    """Bytes in words."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} PB"


TABLES: dict[str, Callable[[dict[str, Any]], str]] = {
    "way_out": way_out,
    "probes": probes,
    "shards": shards,
    "int8_students": int8_students,
    "cifar10_two_regimes": two_regimes,
    "cifar100_methods": methods,
    "study_digits": study_digits,
    "study_photos": study_photos,
    "speed_avx2": speed,
    "speed_bf16": speed,
    "precision": precision,
    "many_students": many_students,
    "int8_teachers": int8_teachers,
    "loader": loader,
    "serve_load": serve_load,
    "startup": startup,
    "scale": scale,
    "suggest": suggest,
    "faults": faults,
    "ablations": ablations,
}


def rendered(text: str) -> str:
    """A document with every table made anew."""

    def block(old: re.Match[str]) -> str:
        name = old[1]
        file = ROOT / "results" / f"{name}.json"
        if not file.exists():  # not measured yet; the document says so
            return old[0]
        result = json.loads(file.read_text())
        return f"<!-- results/{name}.json -->\n{TABLES[name](result)}\n<!-- end -->"

    return BLOCK.sub(block, text)


if __name__ == "__main__":
    for file in DOCUMENTS:
        file.write_text(rendered(file.read_text()))
