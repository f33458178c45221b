"""`stkd export`: what is kept, what is said, and what bad input gets."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stkd.export.formats.int8_onnx import Int8Onnx
from stkd.export.formats.onnx import Onnx
from stkd.runs.exports import read_exports
from stkd.runs.model_card import show_exports


def exported(run: Path) -> list[str]:
    return sorted(p.name for p in run.glob("exports/*") if not p.name.startswith(".") and p.name != "manifest.json")


def test_a_run_has_the_file_its_record_a_row_in_its_card_and_one_on_its_page(
    onnx: Any, student_run: Path, stkd: Any
) -> None:
    (student_run / "exports" / ".export-of-a-killed-process").mkdir(parents=True)
    answer = stkd("export", student_run, "--to", "onnx")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.startswith(f"{student_run}/exports/student.onnx\n")
    assert "300 test images of digits" in answer.out
    assert "onnxruntime" in answer.out
    assert exported(student_run) == ["onnx.json", "student.onnx"]
    assert not list(student_run.glob("exports/.export-*"))
    (record,) = read_exports(student_run)
    assert record["file"] == "student.onnx"
    assert record["agreement"]["images"] == 300
    assert record["agreement"]["largest_difference"] < 1e-4
    assert record["agreement"]["equal_top1"] == 1.0
    assert set(record["timing"]) == {"threads", "1", "64"}
    card = (student_run / "README.md").read_text()
    assert card.count("| `student.onnx` | onnxruntime") == 1
    assert stkd("report", student_run).code == 0
    page = (student_run / "report.html").read_text()
    assert '<section id="exports"' in page
    assert "student.onnx" in page


def test_the_card_is_rewritten_only_where_it_shows_exports(onnx: Any, student_run: Path, stkd: Any) -> None:
    card = student_run / "README.md"
    card.write_text("# Mine\n\nwords\n")
    assert stkd("export", student_run, "--to", "onnx").code == 0
    card.write_text(card.read_text() + "\nmore words\n")
    assert stkd("export", student_run, "--to", "torch-export").code == 0
    text = card.read_text()
    assert text.startswith("# Mine\n\nwords\n")
    assert text.endswith("more words\n")
    assert [text.count(name) for name in ("## Exported", "`student.onnx`", "`student.pt2`")] == [1, 1, 1]
    card.unlink()
    show_exports(student_run, [])
    assert not card.exists()


@pytest.mark.slow
@pytest.mark.parametrize("last", ["show_exports", "manifest.write"])
def test_an_export_that_was_not_recorded_is_made_again(
    last: str, student_run: Path, stkd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that was ended after it put the file in its place does not stand in the way of the same command."""

    def end(*_: Any) -> None:
        raise KeyboardInterrupt

    command = ["export", student_run, "--to", "torch-export"]
    with monkeypatch.context() as patch:
        patch.setattr(f"stkd.runs.exports.{last}", end)
        assert stkd(*command).code == 130
    assert exported(student_run) == ["student.pt2"]
    assert stkd(*command).code == 0
    assert exported(student_run) == ["student.pt2", "torch-export.json"]
    again = stkd(*command)
    assert (again.code, again.err.count("\n")) == (2, 1)
    assert "student.pt2 exists; give --force" in again.err


def test_exports_of_other_weights_are_not_shown(onnx: Any, student_run: Path, stkd: Any) -> None:
    assert stkd("export", student_run, "--to", "onnx").code == 0
    record = student_run / "exports" / "onnx.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "weights": "0" * 32}))
    assert read_exports(student_run) == []


def test_a_damaged_record_is_left_out_of_the_page(
    onnx: Any, student_run: Path, stkd: Any, caplog: pytest.LogCaptureFixture
) -> None:
    assert stkd("export", student_run, "--to", "onnx").code == 0
    (student_run / "exports" / "torch-export.json").write_text('{"weights": 1}')
    (student_run / "exports" / "web.json").write_text("{")
    assert [record["to"] for record in read_exports(student_run)] == ["onnx"]
    assert caplog.text.count("is damaged; export the run again") == 2
    (student_run / "student.safetensors").unlink()
    assert read_exports(student_run) == []


def test_an_existing_file_stays_without_force(onnx: Any, teacher_run: Path, tmp_path: Path, stkd: Any) -> None:
    out = tmp_path / "small.onnx"
    out.write_text("precious")
    answer = stkd("export", teacher_run, "--to", "onnx", "--out", out)
    assert (answer.code, answer.err) == (
        2,
        f"stkd: error: {out} exists; give --force to replace it, or another --out\n",
    )
    assert out.read_text() == "precious"
    assert not (teacher_run / "exports").exists()
    assert stkd("export", teacher_run, "--to", "onnx", "--out", out, "--force").code == 0
    assert out.stat().st_size > 1000
    assert exported(teacher_run) == ["onnx.json"]


def test_a_file_that_differs_is_not_kept(
    onnx: Any, student_run: Path, stkd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Onnx._write

    def damaged(self: Onnx, source: Any, file: Path) -> None:
        write(self, source, file)
        model = onnx.load(file)
        weights = next(w for w in model.graph.initializer if len(w.dims) == 4)
        weights.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weights) * 1.1, weights.name))
        onnx.save(model, file)

    monkeypatch.setattr(Onnx, "_write", damaged)
    card = (student_run / "README.md").read_text()
    answer = stkd("export", student_run, "--to", "onnx")
    assert answer.code == 2
    assert answer.err.startswith("stkd: error: the ONNX file is not kept, since it does not answer as the model does")
    assert answer.err.count("\n") == 1
    assert not (student_run / "exports").exists()
    assert (student_run / "README.md").read_text() == card


def test_an_int8_file_that_answers_nonsense_is_not_kept(
    onnx: Any, student_run: Path, stkd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be far from its model, but not without an answer."""
    opened = Int8Onnx._open

    def damaged(self: Int8Onnx, file: Path, threads: int) -> Any:
        sound = opened(self, file, threads)
        return dataclasses.replace(sound, run=lambda batch: sound.run(batch) * np.float32("nan"))

    monkeypatch.setattr(Int8Onnx, "_open", damaged)
    answer = stkd("export", student_run, "--to", "int8-onnx")
    assert answer.code == 2
    assert "the int8 ONNX file is not kept" in answer.err
    assert answer.err.count("\n") == 1
    assert not (student_run / "exports").exists()


def test_a_file_for_one_number_of_images_is_not_kept(
    onnx: Any, student_run: Path, stkd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Onnx._write

    def specialised(self: Onnx, source: Any, file: Path) -> None:
        write(self, source, file)
        model = onnx.load(file)
        model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2
        onnx.save(model, file)

    monkeypatch.setattr(Onnx, "_write", specialised)
    answer = stkd("export", student_run, "--to", "onnx")
    assert answer.code == 2
    assert answer.err.startswith("stkd: error: the ONNX file is not kept, since it does not answer: ")
    assert answer.err.count("\n") == 1
    assert not (student_run / "exports").exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--to", "onx"], "unknown export format 'onx'; did you mean onnx or int8-onnx?"),
        (["--to", "onnx", "--out", "a.bin"], "--out a.bin must be a file that ends with .onnx"),
        (["--to", "onnx", "--out", "nowhere/a.onnx"], "--out nowhere/a.onnx cannot be written: nowhere is no folder"),
        (["--to", "onnx", "--data", "folder:nowhere"], "nowhere"),
    ],
)
def test_bad_options_get_one_line(
    options: list[str], says: str, onnx: Any, student_run: Path, stkd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(student_run.parent)
    answer = stkd("export", student_run, *options)
    assert (answer.code, answer.out) == (2, "")
    assert says in answer.err
    assert answer.err.count("\n") == 1
    assert not (student_run / "exports").exists()


def test_a_run_that_is_not_finished_is_refused(onnx: Any, student_run: Path, tmp_path: Path, stkd: Any) -> None:
    (student_run / "result.json").unlink()
    assert "is not finished" in stkd("export", student_run, "--to", "onnx").err
    assert "is not a run directory" in stkd("export", tmp_path / "nowhere", "--to", "onnx").err
    assert "is not a run directory" in stkd("export", student_run / "student.safetensors", "--to", "onnx").err


@pytest.mark.parametrize(("to", "package"), [("onnx", "onnxscript"), ("onnx", "onnxruntime"), ("openvino", "openvino")])
def test_a_missing_package_is_named_with_its_extra(
    to: str, package: str, student_run: Path, stkd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == package else find(name, *a))
    answer = stkd("export", student_run, "--to", to)
    assert answer.code == 2
    assert package in answer.err
    assert f"pip install 'stkd[{to}]'\n" in answer.err


def test_damaged_and_foreign_files_get_one_line(
    onnx: Any, student_run: Path, pictures: Path, tmp_path: Path, stkd: Any
) -> None:
    assert stkd("export", student_run, "--to", "onnx").code == 0
    file = student_run / "exports" / "student.onnx"
    (tmp_path / "half.onnx").write_bytes(file.read_bytes()[:1000])
    (tmp_path / "empty.onnx").write_bytes(b"")
    foreign = onnx.load(file)
    del foreign.metadata_props[:]
    onnx.save(foreign, tmp_path / "foreign.onnx")
    for name, says in (
        ("half", "is damaged or no ONNX file"),
        ("empty", "is damaged or no ONNX file"),
        ("foreign", "does not say its classes and its input"),
        ("nowhere", "is missing"),
    ):
        answer = stkd("predict", tmp_path / f"{name}.onnx", pictures)
        assert (answer.code, answer.out) == (2, "")
        assert says in answer.err
        assert answer.err.count("\n") == 1


class Touch:
    """What a hostile pickle does."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_a_foreign_pt2_is_refused_and_nothing_in_it_is_run(
    student_run: Path, pictures: Path, tmp_path: Path, stkd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert stkd("export", student_run, "--to", "torch-export").code == 0
    file = student_run / "exports" / "student.pt2"
    assert stkd("predict", file, pictures).code == 0
    hostile, touched = tmp_path / "hostile.pt2", tmp_path / "touched"
    with zipfile.ZipFile(file) as source, zipfile.ZipFile(hostile, "w") as target:
        for name in source.namelist():
            evil = name.endswith("sample_inputs/model.pt")
            target.writestr(name, pickle.dumps(Touch(touched)) if evil else source.read(name))
    answer = stkd("predict", hostile, pictures)
    assert answer.code == 2
    assert answer.err.startswith(f"stkd: error: {hostile} was not written by stkd for you")
    assert not touched.exists()
    monkeypatch.setenv("STKD_CACHE", str(tmp_path / "of another user"))
    assert "was not written by stkd for you" in stkd("predict", file, pictures).err


def test_openvino_tells_nobody_that_it_is_used(student_run: Path, tmp_path: Path) -> None:
    pytest.importorskip("openvino_telemetry", reason="openvino-telemetry is not installed (stkd[openvino])")
    home = tmp_path / "home"
    home.mkdir()
    environment = {name: value for name, value in os.environ.items() if name not in ("CI", "TF_BUILD", "JENKINS_URL")}
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from stkd.export import export_run, open_exported\n"
        "open_exported(export_run(Path(sys.argv[1]), 'openvino').file)\n"
        "assert not [name for name in sys.modules if name.startswith('openvino_telemetry.')]"
    )
    command = [sys.executable, "-c", code, str(student_run)]
    done = subprocess.run(command, env={**environment, "HOME": str(home)}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not (home / "intel").exists()  # where it keeps the number that it calls its user by


def test_weights_of_openvino_that_are_gone_get_one_line(student_run: Path, pictures: Path, stkd: Any) -> None:
    pytest.importorskip("openvino", reason="OpenVINO is not installed (stkd[openvino])")
    assert stkd("export", student_run, "--to", "openvino").code == 0
    assert exported(student_run) == ["openvino.json", "student.bin", "student.xml"]
    (student_run / "exports" / "student.bin").unlink()
    answer = stkd("predict", student_run / "exports" / "student.xml", pictures)
    assert answer.code == 2
    assert answer.err == f"stkd: error: {student_run}/exports/student.bin is missing; export the run again\n"
