"""The notebook of the guide runs from its first cell to its last, at a tiny size."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stkd.export.web import runtime

nbformat = pytest.importorskip("nbformat", reason="nbclient is not installed (stkd[ci])")
nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed (stkd[ci])")
FILE = Path(__file__).parents[1] / "docs" / "guide.ipynb"
TINY = """
TEACHER, STUDENT = "cnn16", "cnn4"
PRETRAINED = False
IMAGE_SIZE, TEACHER_EPOCHS, STUDENT_EPOCHS = 32, 20, 3
RUNTIME = "onnxruntime-web"
"""


def test_it_is_committed_without_outputs() -> None:
    notebook = nbformat.read(FILE, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.id for cell in code if cell.outputs or cell.execution_count] == []


@pytest.mark.slow
@pytest.mark.services
def test_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxscript", reason="onnxscript is not installed (stkd[onnx])")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed (stkd[ci])")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    package = tmp_path / "onnxruntime-web"
    (package / "dist").mkdir(parents=True)
    for name in runtime.FILES.values():
        (package / "dist" / name).write_text(f"of {name}")
    (package / "package.json").write_text(json.dumps({"name": "onnxruntime-web", "version": runtime.VERSION}))

    notebook = nbformat.read(FILE, as_version=4)
    (settings,) = (cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", []))
    settings.source += TINY
    nbclient.NotebookClient(notebook, timeout=1200, resources={"metadata": {"path": str(tmp_path)}}).execute()

    said = {cell.id: "".join(output.get("text", "") for output in cell.get("outputs", [])) for cell in notebook.cells}
    assert said["teacher"].startswith("right on ")
    assert said["student"].rstrip().endswith("MB")
    assert " MB, right on " in said["int8"]
    student = tmp_path / "runs" / "notebook" / "student"
    assert (student / "exports" / "student.int8.onnx").is_file()
    assert (student / "exports" / "web-int8" / "index.html").is_file()
    assert "--directory runs/notebook/student/exports/web-int8" in said["page"]
