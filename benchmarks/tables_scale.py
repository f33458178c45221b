"""The tables of docs/scale.md."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["scale"]


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
    networks = list(next(iter(_first_network(result).values()))["seconds"])
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


def _first_network(result: dict[str, Any]) -> dict[str, Any]:
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
