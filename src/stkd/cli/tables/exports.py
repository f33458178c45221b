"""What was measured about an exported file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from .plain import plain_console, printable

__all__ = ["show_export"]

_WORST = 3
_DROP = 0.5  # points
_EPOCHS = 10


def show_export(record: Mapping[str, Any], file: str, run: str) -> None:
    """Print where the file is, how near it is to the model, and its latencies beside PyTorch's.

    Args:
        record: As `stkd.runs.exports` keeps it.
        file: The file.
        run: The run directory.
    """
    console = plain_console()
    agreement, timing = record["agreement"], record["timing"]
    console.print(Text(printable(file), style="bold"), soft_wrap=True)
    console.print(
        f"{record['bytes'] / 1e6:.2f} MB; on {agreement['images']:,} {record['images']} images of {record['data']} the "
        f"largest difference of a logit is {agreement['largest_difference']:.1e}, and {agreement['equal_top1']:.2%} "
        "have the same class",
        soft_wrap=True,
    )
    for line in _cost(record, run):
        console.print(line, soft_wrap=True)
    if sizes := record.get("sizes"):
        model, wasm, webgpu = (sizes[name] / 1e6 for name in ("model", "wasm", "webgpu"))
        console.print(
            f"the page loads {model:.2f} MB of model and {wasm:.1f} MB (WebAssembly) or {webgpu:.1f} MB (WebGPU) of "
            f"onnxruntime-web {record['onnxruntime-web']}; any web server serves it: "
            f"python3 -m http.server -d {printable(file)}",
            soft_wrap=True,
        )
    table = Table(box=box.SIMPLE)
    table.add_column("")
    for name in (record["runtime"], "PyTorch"):
        table.add_column(f"{name} (ms)", justify="right")
    for size, label in (("1", "1 image"), ("64", "64 images")):
        table.add_row(label, *(_latency(timing[size][who]) for who in ("file", "torch")))
    console.print(table)
    threads = timing["threads"]
    console.print(f"Median and quartiles of a pass of float32 images, {threads} thread{'s' if threads > 1 else ''}.")


def _cost(record: Mapping[str, Any], run: str) -> Iterator[str]:
    """What integers cost, in lines; none for a file in float."""
    if (accuracy := record.get("accuracy")) is not None:
        yield (
            f"accuracy on {accuracy['images']:,} {accuracy['split']} images: {accuracy['float']:.2%} in float, "
            f"{accuracy['file']:.2%} in the file ({-accuracy['drop']:+.2f} points)"
        )
        if accuracy["drop"] > _DROP and (mend := _mend(record, run)):
            yield f"it loses more than {_DROP} points; {mend}"
    if worst := record.get("sensitivity", [])[:_WORST]:
        layers = ", ".join(f"{printable(one['layer'])} {one['kl']:.2g}" for one in worst)
        yield f"most sensitive layers (KL divergence, in nats, when one alone is in integers): {layers}"


def _mend(record: Mapping[str, Any], run: str) -> str | None:
    """What to do about a file in integers that loses too much."""
    if record["to"] != "int8-onnx":
        return None
    before = record.get("training", {}).get("epochs")
    command = f"stkd export {printable(run)} --to int8-onnx --qad {_EPOCHS if before is None else 2 * before} --force"
    return f"to train the model for it {'' if before is None else 'for longer '}run {command}"


def _latency(measured: Mapping[str, float]) -> str:
    return f"{measured['median_ms']:.2f} ({measured['low_ms']:.2f} to {measured['high_ms']:.2f})"
