"""What starting must not load; seconds are measured by benchmarks/startup.py."""

from __future__ import annotations

import subprocess
import sys

import pytest


def loaded(code: str) -> set[str]:
    """Top-level packages that a fresh Python has loaded after running some code."""
    show = "import sys; print('\\n'.join({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", f"{code}\n{show}"], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_package_alone_loads_nothing_large() -> None:
    assert not loaded("import stkd") & {"torch", "numpy", "PIL"}


def test_help_loads_no_torch() -> None:
    code = "import contextlib, stkd.cli.main\nwith contextlib.suppress(SystemExit): stkd.cli.main.main(['--help'])"
    assert not loaded(code) & {"torch", "torchvision", "timm", "lightning_fabric", "plotly", "sklearn"}


@pytest.mark.parametrize("package", ["torchmetrics", "matplotlib", "torchvision", "timm", "plotly", "sklearn"])
def test_training_loads_only_what_it_needs(package: str, loaded_by_training: set[str]) -> None:
    assert "lightning_fabric" in loaded_by_training
    assert package not in loaded_by_training


@pytest.fixture(scope="module")
def loaded_by_training() -> set[str]:
    return loaded("import stkd.api; from stkd.methods import parse; parse('stkd')")


def test_pages_load_nothing_that_trains() -> None:
    assert not loaded("import stkd.report.run, stkd.report.comparison") & {"lightning_fabric", "timm", "sklearn"}


def test_opening_data_loads_nothing_that_trains() -> None:
    assert not loaded("import stkd.data; stkd.data.open_data('digits')") & {"lightning_fabric", "timm", "torchmetrics"}


def test_serving_loads_nothing_that_trains() -> None:
    pytest.importorskip("fastapi", reason="fastapi is not installed (stkd[serve])")
    found = loaded("import stkd.serve.http_model, stkd.serve.http_api")
    assert not found & {"lightning_fabric", "timm", "torchmetrics", "sklearn", "torchvision", "gradio"}


def test_torchmetrics_is_whole_where_it_is_asked_for() -> None:
    code = (
        "import stkd.core.fabric, torchmetrics\n"
        "from torchmetrics.functional.classification import multiclass_calibration_error\n"
        "from lightning_fabric.utilities.imports import _TORCHMETRICS_GREATER_EQUAL_1_0_0\n"
        "assert _TORCHMETRICS_GREATER_EQUAL_1_0_0 and torchmetrics.MeanMetric"
    )
    assert "torchmetrics" in loaded(code)
