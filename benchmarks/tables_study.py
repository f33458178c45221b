"""Tables of the study in docs/protocol.md."""

from __future__ import annotations

from typing import Any

from tables_cells import interval, percent

from stkd.studies.statistics import LEVEL

__all__ = ["study_digits", "study_photos"]


def study_digits(result: dict[str, Any]) -> str:
    """Rows are students and numbers of images, columns lengths of training; how far STKD is from KD."""
    cells = {tuple(name.split(", ")): arms for name, arms in result["cells"].items()}
    lengths = list(dict.fromkeys(epochs for *_, epochs in cells))
    lines = [f"| STKD - KD (points), 95 % interval | {' | '.join(lengths)} |", "| --- |" + " ---: |" * len(lengths)]
    for images, student in dict.fromkeys((images, student) for images, student, _ in cells):
        arms = [cells.get((images, student, epochs), {}).get("stkd", {}) for epochs in lengths]
        pairs = [arm["top1"].get("paired") if arm else None for arm in arms]
        columns = [interval(pair) + (" *" if pair and pair["p_corrected"] < LEVEL else "") for pair in pairs]
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
            difference = interval(top1.get("paired"))
            if (top1.get("paired") or {}).get("p_corrected", 1.0) < LEVEL:
                difference += " \\*"
            shares = [f"{100 * arm[score]['mean']:.1f}" if score in arm else "" for score in ("ece", "agreement")]
            cells = f"{len(arm['seeds'])} | {percent(top1['mean'], top1['std'] or 0.0)} | {difference}"
            lines.append(f"| {photos}, {epochs} | `{name}` | {cells} | {nll['mean']:.3f} | {' | '.join(shares)} |")
    if "corrupted" in result:
        of_arms = {name: arm["mean_top1"] for name, arm in result["corrupted"].items()}
        told = [f"`{name}` {percent(one['mean'], one['std'])} %" for name, one in of_arms.items()]
        difference = interval(of_arms["stkd-strong"]["paired"])
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
