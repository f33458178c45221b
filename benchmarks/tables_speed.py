"""Tables of the training step's speed."""

from __future__ import annotations

from statistics import median
from typing import Any

__all__ = ["machines", "peers", "speed"]

WAYS = ("as chosen", "float32", "int8 teacher")


def speed(result: dict[str, Any]) -> str:
    """Rows are figures, with what each is a ratio to, and where the time of a step goes."""
    lines = [
        "| figure | images/s | beside it | ratio | teacher, student, data, rest (%) | share of the product's rate (%) |"
    ]
    lines.append("| --- | ---: | --- | ---: | ---: | ---: |")
    others = {"whole": "loop by hand, same settings", "stkd": "kd"}
    for name, figure in result["figures"].items():
        other = "bare loop" if "parts" in figure else others[name.split()[0]]
        theirs, ours = (median(pair[i] for pair in figure["pairs"]) for i in (0, 1))
        where, rate = "", ""
        if shares := figure.get("shares"):
            student = shares["student_forward"] + shares["backward"]
            parts = (shares["teacher"], student, shares["data"], shares["optimizer"] + shares["rest"])
            where, rate = ", ".join(f"{100 * part:.0f}" for part in parts), f"{100 * figure['flops']['share']:.0f}"
        lines.append(f"| {name} | {ours:.0f} | {theirs:.0f}, {other} | {figure['ratio']:.2f} | {where} | {rate} |")
    return "\n".join([*lines, "", machine(result)])


def machines(avx2: dict[str, Any], bf16: dict[str, Any], amx: dict[str, Any]) -> str:
    """Rows are pairs of networks, columns kinds of CPU; a cell has the ratio of each way to run the step."""
    results = {"limited to AVX2" if avx2["limits"] else "AVX2": avx2, "AVX512-BF16": bf16, "AVX512-BF16 and AMX": amx}
    lines = [f"| teacher → student | {' | '.join(results)} |", "| --- |" + " ---: |" * len(results)]
    for pair in dict.fromkeys(name.split(", ")[0] for name, figure in amx["figures"].items() if "parts" in figure):
        found = [[r["figures"].get(f"{pair}, stkd, {way}") for way in WAYS] for r in results.values()]
        cells = [" / ".join(f"{figure['ratio']:.2f}" for figure in ways if figure) for ways in found]
        lines.append(f"| {pair.replace('->', '→')} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", "; ".join(f"{name}: {machine(result)}" for name, result in results.items())])


def peers(result: dict[str, Any]) -> str:
    """Rows are libraries."""
    lines = ["| library | images/s | stkd beside it | of single turns |", "| --- | ---: | ---: | ---: |"]
    for name, rates in result["images_per_s"].items():
        to = result["stkd_to"].get(name)
        ratio = f"{to['median']:.2f} | {min(to['turns']):.2f} to {max(to['turns']):.2f}" if to else " |"
        lines.append(f"| {name} | {median(rates):.0f} | {ratio} |")
    return "\n".join([*lines, "", machine(result)])


def machine(result: dict[str, Any]) -> str:
    """What the figures were measured on."""
    about = result["environment"]
    limits = " ".join(f"{name}={value}" for name, value in result.get("limits", {}).items())
    limited = f", limited by `{limits}`" if limits else ""
    return f"{about['gpu'] or about['cpu']}, {about['threads']} threads, torch {about['versions']['torch']}{limited}"
