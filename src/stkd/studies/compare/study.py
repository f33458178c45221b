"""A whole comparison: its runs, comparison.json, tables and page."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

from joblib import cpu_count

from ...core.errors import StkdError, check_range
from ...core.files import write_atomic
from ...core.processes import check_alone
from ...core.records import write_record
from .grid import Grid, grid_of
from .recipe import Comparison
from .results import record
from .schedule import run_all
from .table import latex, markdown, table
from .workers import Here, Processes, Workers

__all__ = ["compare"]

_MOST = 4  # processes on a CPU unless asked for more; each holds torch and the images


def compare(
    comparison: Comparison, out: Path, *, jobs: int | None = None, backend: Literal["local", "ray"] = "local"
) -> dict[str, Any]:
    """Make every run that is not finished, and write comparison.json, table.md, table.tex and the page.

    Args:
        comparison: What is compared.
        out: Directory of everything; the same call again goes on where it stopped.
        jobs: Runs at the same time; None: one on each CUDA device, or on a CPU one for each core, 4 at most.
        backend: "local", or "ray" for the cluster that Ray is connected to (all machines must see `out`).

    Returns:
        The content of comparison.json; docs/compare.md describes it.

    Raises:
        StkdError: The comparison or the directory cannot be used.
        Interrupted: A signal asked to stop.
    """
    if jobs is not None:
        check_range("--jobs", jobs, 1, 1024)
    check_alone()
    grid = grid_of(comparison, out)
    if grid.out.exists() and not grid.out.is_dir():
        raise StkdError(f"{out} is a file; give --out a directory")
    failures = run_all(grid.tasks(), _workers(grid, jobs, backend))
    result = record(grid, failures)
    grid.out.mkdir(parents=True, exist_ok=True)
    shown = table(result)
    write_atomic(grid.out / "table.md", markdown(shown))
    write_atomic(grid.out / "table.tex", latex(shown))
    write_record(grid.out / "comparison.json", result)
    if any(cell["runs"] for cell in result["cells"]):
        from ...report.comparison import write_comparison

        write_comparison(grid.out)
    return result


def _workers(grid: Grid, jobs: int | None, backend: str) -> Workers:
    if backend == "ray":
        from .ray_workers import RayWorkers

        return RayWorkers(jobs)
    devices = _cuda_devices() if grid.comparison.options.get("accelerator", "auto") in ("auto", "cuda", "gpu") else []
    jobs = jobs or len(devices) or min(_MOST, cpu_count())
    return Here() if jobs == 1 or all(task.done for task in grid.tasks()) else Processes(jobs, devices)


def _cuda_devices() -> list[str]:
    """The CUDA devices that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    import torch

    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    count = torch.cuda.device_count()
    return visible.split(",")[:count] if visible else [str(i) for i in range(count)]
