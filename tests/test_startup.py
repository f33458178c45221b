"""What starting must not load; seconds are measured by benchmarks/startup.py."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from stkd import models
from stkd.models.files import ModelInfo, save_model


def loaded(code: str) -> set[str]:
    """Top-level packages that a fresh Python has loaded after running some code."""
    show = "import sys; print('loaded:', *{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", f"{code}\n{show}"], capture_output=True, text=True, check=True)
    return set(done.stdout.rpartition("loaded:")[2].split())


def test_the_package_alone_loads_nothing_large() -> None:
    assert not loaded("import stkd") & {"torch", "numpy", "PIL"}


def test_help_loads_no_torch() -> None:
    code = "import contextlib, stkd.cli.main\nwith contextlib.suppress(SystemExit): stkd.cli.main.main(['--help'])"
    assert not loaded(code) & {"torch", "torchvision", "timm", "lightning_fabric", "plotly", "sklearn"}


def test_lists_load_no_torch() -> None:
    kinds = ("methods", "models", "data", "formats", "recipes", "comparisons")
    code = f"import stkd.cli.main\nfor kind in {kinds}:\n    stkd.cli.main.main(['list', kind, '--json'])"
    assert not loaded(code) & {"torch", "torchvision", "timm", "sklearn"}


def test_prediction_loads_little_beside_torch(tmp_path: Path) -> None:
    file, picture = tmp_path / "model.safetensors", tmp_path / "picture.png"
    seen = ("a", "b"), 3, 32, (0.5,) * 3, (0.5,) * 3
    save_model(models.create("resnet20", num_classes=2), file, ModelInfo("resnet20", *seen))
    Image.new("RGB", (40, 40)).save(picture)
    code = (
        f"import stkd.cli.main\nassert stkd.cli.main.main(['predict', {str(file)!r}, {str(picture)!r}, '--json']) == 0"
    )
    large = {"lightning_fabric", "torchmetrics", "torchvision", "timm", "scipy", "sklearn", "plotly", "onnxruntime"}
    found = loaded(code)
    assert not found & large
    added = found - loaded("import torch")
    assert len(added) < 60, sorted(added)


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
