"""The evaluation of a run: used while nothing that it depends on has changed, made anew afterwards."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from stkd.core.errors import StkdError
from stkd.models.files import load_model, read_info, save_model
from stkd.runs.evaluation import current_evaluation, evaluate_run, read_evaluation


@pytest.fixture(scope="module")
def evaluated(_student_run: Path, _teacher_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with teacher, both in one folder, evaluated with all that there is."""
    folder = tmp_path_factory.mktemp("evaluated")
    shutil.copytree(_teacher_run, folder / "teacher")
    shutil.copytree(_student_run, folder / "run")
    shutil.copytree(_teacher_run, folder / "alone")
    options = yaml.safe_load((folder / "run" / "config.yaml").read_text())
    for copy in ("teacher", "run", "alone"):  # as an earlier version left them, since tests change what lies there
        (folder / copy / "manifest.json").unlink()
    (folder / "run" / "config.yaml").write_text(yaml.safe_dump({**options, "teacher_weights": str(folder / "teacher")}))
    for name in ("cat", "dog"):
        shutil.copytree(_pictures(folder / "source"), folder / "foreign" / name)
    evaluate_run(folder / "run", alone=folder / "alone", corrupted=True, ood=f"folder:{folder / 'foreign'}")
    return folder


def _pictures(folder: Path) -> Path:
    from PIL import Image

    folder.mkdir(exist_ok=True)
    for i in range(4):
        Image.new("RGB", (8, 8), (60 * i, 10, 10)).save(folder / f"{i}.png")
    return folder


@pytest.fixture
def run(evaluated: Path, tmp_path: Path) -> Path:
    """A copy of the run alone; what it refers to is where it was."""
    return Path(shutil.copytree(evaluated / "run", tmp_path / "run", copy_function=shutil.copyfile))


def change(weights: Path) -> None:
    """Other weights in the file, of the same size."""
    model, info = load_model(weights)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter))
    save_model(model, weights, info)


def edit(file: Path, **changes: Any) -> None:
    file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), **changes}))


def test_a_copy_of_a_run_keeps_its_evaluation_and_looks_at_no_model(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stkd.runs.evaluation.open_run", pytest.fail)
    evaluation = current_evaluation(run)
    assert evaluation.keys() >= {"top1", "teacher", "alone", "similarity", "examples", "robustness", "ood"}
    assert evaluation["robustness"].keys() >= {"model", "teacher", "alone"}


def test_other_weights_are_evaluated_anew(run: Path) -> None:
    before = read_evaluation(run)
    change(run / "student.safetensors")
    assert read_evaluation(run) == {}
    after = current_evaluation(run)
    assert after["confusion"] != before["confusion"]
    assert "robustness" not in after
    assert "ood" not in after
    assert read_evaluation(run)["confusion"] == after["confusion"]


def test_other_data_are_evaluated_anew(run: Path) -> None:
    before = read_evaluation(run)
    edit(run / "config.yaml", val_fraction=0.3)
    assert read_evaluation(run) == {}
    after = current_evaluation(run)
    assert after["calibration"]["temperatures"] != before["calibration"]["temperatures"]


def test_other_options_are_evaluated_anew(run: Path) -> None:
    result = json.loads((run / "result.json").read_text())
    before = read_evaluation(run)
    result["mix"]["instances"] = 3
    (run / "result.json").write_text(json.dumps(result))
    assert "top1" not in read_evaluation(run)
    assert "robustness" in read_evaluation(run)  # which does not depend on how virtual samples are mixed
    after = current_evaluation(run)
    assert after["examples"]["virtual"] != before["examples"]["virtual"]
    assert after["robustness"] == before["robustness"]


def test_another_teacher_is_evaluated_anew(evaluated: Path, run: Path, tmp_path: Path) -> None:
    teacher = Path(shutil.copytree(evaluated / "teacher", tmp_path / "teacher"))
    edit(run / "config.yaml", teacher_weights=str(teacher))
    before = read_evaluation(run)
    assert before["teacher"]["top1"] > 0.5  # the same weights elsewhere
    change(teacher / "model.safetensors")
    held = read_evaluation(run)
    assert "top1" not in held
    assert held["robustness"].keys() >= {"model", "alone"}
    assert "teacher" not in held["robustness"]
    assert "teacher" not in held["ood"]
    after = current_evaluation(run)
    assert after["teacher"]["top1"] != before["teacher"]["top1"]
    assert after["similarity"] != before["similarity"]


def test_a_teacher_in_shards_is_known_by_all_of_them(evaluated: Path, run: Path, tmp_path: Path) -> None:
    whole = evaluated / "teacher" / "model.safetensors"
    with safe_open(whole, framework="pt") as file:
        names, header = sorted(file.keys()), file.metadata()
    folder, tensors, places = tmp_path / "teacher", load_file(whole), {}
    folder.mkdir()
    for i, own in enumerate((names[:2], names[2:]), start=1):
        save_file({name: tensors[name] for name in own}, shard := folder / f"model-{i}-of-2.safetensors")
        places |= dict.fromkeys(own, shard.name)
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": places}))
    info = json.loads(header["stkd"])
    edit(run / "config.yaml", teacher=info["model"], teacher_weights=str(folder))
    evaluation = current_evaluation(run)
    assert evaluation["teacher"]["top1"] > 0.5
    assert evaluation["teacher"]["file_bytes"] == sum(file.stat().st_size for file in folder.iterdir())
    assert read_evaluation(run)["top1"] == evaluation["top1"]
    shard = folder / "model-2-of-2.safetensors"
    save_file({name: -tensor for name, tensor in load_file(shard).items()}, shard)
    assert "top1" not in read_evaluation(run)
    assert current_evaluation(run)["teacher"]["top1"] != evaluation["teacher"]["top1"]


def test_what_was_compared_with_must_not_have_changed_either(evaluated: Path, run: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(evaluated / "alone", tmp_path / "alone"))
    pictures = Path(shutil.copytree(evaluated / "foreign", tmp_path / "foreign"))
    evaluate_run(run, alone=moved, ood=f"folder:{pictures}")
    assert read_evaluation(run)["ood"].keys() >= {"model", "alone"}
    change(moved / "model.safetensors")
    held = read_evaluation(run)
    assert "alone" not in held
    assert "alone" not in held["ood"]
    assert held["ood"]["model"]
    assert "alone" in held["robustness"]  # measured with the other one, which is as it was
    (pictures / "dog" / "0.png").unlink()
    assert "ood" not in read_evaluation(run)
    assert "top1" in read_evaluation(run)


def test_what_is_measured_on_request_stays_until_it_is_measured_again(evaluated: Path, run: Path) -> None:
    before = read_evaluation(run)
    evaluate_run(run)
    after = read_evaluation(run)
    assert "alone" not in after
    assert (after["robustness"], after["ood"]) == (before["robustness"], before["ood"])
    evaluate_run(run, ood=f"folder:{evaluated / 'foreign'}")
    after = read_evaluation(run)
    assert "alone" not in after["ood"]
    assert after["robustness"] == before["robustness"]


def test_damaged_and_foreign_files_are_made_anew(run: Path) -> None:
    file = run / "evaluation.json"
    whole = file.read_text()
    stored = json.loads(whole)
    damaged = ["", "[1]", "{}", "null", '"x"', whole[:-5], json.dumps({**stored, "format": 0})]
    damaged += [json.dumps({**stored, "inputs": value}) for value in (None, 3, [], {})]
    damaged += [json.dumps({"format": stored["format"]}), json.dumps({**stored, "robustness": 1, "inputs": {}})]
    for text in damaged:
        file.write_text(text)
        assert "top1" not in read_evaluation(run), text
    file.write_bytes(b"\xff\xfe\x00")
    assert read_evaluation(run) == {}
    file.write_text(json.dumps({**stored, "ood": 1}))
    assert "ood" not in read_evaluation(run)
    file.write_text("{")
    assert current_evaluation(run)["top1"] == stored["top1"]
    assert json.loads(file.read_text())["top1"] == stored["top1"]


def test_nothing_is_shown_of_data_or_weights_that_are_gone(run: Path) -> None:
    edit(run / "config.yaml", data="folder:/nowhere")
    with pytest.raises(StkdError, match="nowhere"):
        read_evaluation(run)
    edit(run / "config.yaml", data="digits")
    (run / "student.safetensors").unlink()
    with pytest.raises(StkdError, match="is the run finished"):
        current_evaluation(run)


def test_only_the_runs_own_test_images_are_kept(student_run: Path) -> None:
    evaluate_run(student_run, split="val")
    evaluate_run(student_run, data_spec="digits")
    assert not (student_run / "evaluation.json").exists()


def test_a_run_that_cannot_be_written_is_evaluated_all_the_same(
    student_run: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("stkd.runs.evaluation.write_record", fail)
    with caplog.at_level(logging.WARNING, "stkd"):
        assert 0 <= evaluate_run(student_run)["top1"] <= 1
    assert "Read-only file system" in caplog.text
    assert read_info(student_run / "student.safetensors") is not None
