"""The tables of what became of faults."""

from __future__ import annotations

from typing import Any

__all__ = ["faults"]


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
