from __future__ import annotations

import errno
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stkd.cli.commands import commands
from stkd.cli.main import main

WITHOUT_TORCH = """
import sys
from stkd.cli.main import main
try:
    code = main(sys.argv[1:])
except SystemExit as leaving:
    code = leaving.code
loaded = {"torch", "timm", "sklearn", "torchvision", "plotly"} & set(sys.modules)
sys.exit(f"imported {loaded}" if loaded else code)
"""

IMPORT = """
import logging, os, signal, sys, warnings
def world():
    return signal.getsignal(signal.SIGINT), list(logging.root.handlers), list(warnings.filters), dict(os.environ)
before = world()
import stkd
assert not {"torch", "numpy", "stkd.api"} & set(sys.modules)
assert world() == before
stkd.distill, stkd.losses, stkd.models
assert world()[0] == before[0] and world()[1] == before[1]
assert os.listdir() == []
"""


@pytest.mark.parametrize("argv", [["--help"], ["distill", "--help"], ["train", "--data", "digits", "--epochs", "x"]])
def test_help_and_mistakes_do_not_wait_for_torch(argv: list[str]) -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_TORCH, *argv], capture_output=True, text=True, check=False)
    assert done.returncode == (0 if "--help" in argv else 2), done.stderr
    if "--help" in argv:
        assert done.stderr == ""
        assert "usage: stkd" in done.stdout


def test_importing_has_no_side_effects(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout + done.stderr == ""


@pytest.mark.parametrize(
    "command", [[], *([name] for name in commands())], ids=lambda words: " ".join(["stkd", *words])
)
def test_help(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        main([*command, "--help"])
    shown = capsys.readouterr().out
    assert leaving.value.code == 0
    assert " ".join(["usage: stkd", *command]) in shown
    assert "Do it" not in shown
    if command == ["distill"]:
        assert shown.startswith("usage: stkd distill --student NAME --data KIND[:PATH] --out DIR [OPTIONS]\n")
    if command in (["train"], ["distill"]):
        for words in ("--data KIND[:PATH]", "--epochs N", "[100]", "Virtual samples", "Optimisation", "true|false"):
            assert words in shown


def test_no_command_shows_help(stkd: Any) -> None:
    answer = stkd()
    assert answer.code == 0
    assert "COMMAND" in answer.out


@pytest.mark.parametrize(
    ("what", "names"),
    [
        ("methods", {"ce", "mixup", "kd", "stkd", "dkd", "fm"}),
        ("models", {"resnet8", "resnet110", "wrn_40_2", "MobileNetV2", "ShuffleV2", "cnn4", "timm/NAME"}),
        ("data", {"digits", "fashion-mnist", "cifar10", "cifar100", "tiny-imagenet", "cinic10", "folder"}),
        ("recipes", {"crd"}),
        ("comparisons", {"digits", "methods", "ablations"}),
        ("formats", {"onnx", "openvino", "torch-export"}),
    ],
)
def test_list(what: str, names: set[str], stkd: Any) -> None:
    entries = json.loads(stkd("list", what, "--json").out)
    assert names <= {entry["name"] for entry in entries}
    assert len({entry["name"] for entry in entries}) == len(entries)
    assert all(entry["summary"] and "\n" not in entry["summary"] for entry in entries)
    assert all(("paper" in entry) == (what in ("methods", "models", "data")) for entry in entries)
    shown = stkd("list", what)
    assert shown.code == 0
    assert all(name in shown.out for name in names)


def test_list_searches_timm_and_torchvision(stkd: Any) -> None:
    found = [entry["name"] for entry in json.loads(stkd("list", "models", "--search", "MobileNet", "--json").out)]
    assert {"MobileNetV2", "timm/mobilenetv3_small_100", "torchvision/mobilenet_v3_small"} <= set(found)
    assert all("mobilenet" in name.casefold() for name in found)
    assert found == sorted(found, key=str.casefold)
    small = stkd("list", "models", "--search", "mobilenetv3_small")
    assert "timm/mobilenetv3_small_100" in small.out
    assert "torchvision/mobilenet_v3_small" in small.out
    assert "lamb_in1k" in small.out
    many = stkd("list", "models", "--search", "e")
    assert len(many.out.splitlines()) < 150
    assert re.search(r"and \d+ more", many.out)
    nothing = stkd("list", "models", "--search", "mobilnetv3_smal")
    assert nothing.code == 2
    assert "mobilenet_v3_small" in nothing.err or "mobilenetv3_small" in nothing.err
    assert stkd("list", "methods", "--search", " ").code == 2


def test_evaluate(student_run: Path, stkd: Any) -> None:
    found = json.loads(stkd("evaluate", student_run, "--json").out)
    recorded = json.loads((student_run / "result.json").read_text())
    assert {"top1", "top5", "nll", "ece", "params", "macs", "agreement", "latency_ms_1"} <= found.keys()
    assert found["top1"] == recorded["test"]["top1"]
    assert found["nll"] == pytest.approx(recorded["test"]["nll"])
    val = json.loads(stkd("evaluate", student_run, "--split", "val", "--json").out)
    assert val["top1"] == recorded["val"]["top1"]
    shown = stkd("evaluate", student_run)
    assert f"{found['top1']:.2%}" in shown.out
    assert f"{found['params']:,}" in shown.out


def test_evaluate_leaves_what_it_found_for_the_page(student_run: Path, stkd: Any) -> None:
    file = student_run / "evaluation.json"
    stkd("evaluate", student_run, "--split", "val")
    stkd("evaluate", student_run, "--data", "digits")
    assert not file.exists()  # the page shows the run's own test images
    found = json.loads(stkd("evaluate", student_run, "--json").out)
    assert json.loads(file.read_text()).items() >= found.items()


def test_evaluate_of_a_run_that_cannot_be_written_shows_what_it_found(
    student_run: Path, stkd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("stkd.runs.evaluation.write_record", fail)
    answer = stkd("evaluate", student_run)
    assert answer.code == 0
    assert answer.err.startswith(
        "stkd: warning: the evaluation is not kept for the run's page: Read-only file system ("
    )
    assert "top-1 accuracy" in answer.out


def test_evaluate_of_a_model_alone_has_no_agreement(teacher_run: Path, stkd: Any) -> None:
    found = json.loads(stkd("evaluate", teacher_run, "--json").out)
    assert "agreement" not in found
    assert found["top1"] == json.loads((teacher_run / "result.json").read_text())["test"]["top1"]


def test_evaluate_shows_teacher_and_student_alone(
    student_run: Path, teacher_run: Path, stkd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The teacher's run stands in for the student trained alone: any run on the same classes will do."""
    monkeypatch.setenv("COLUMNS", "120")
    extra = ("--alone", teacher_run, "--robustness", "--split", "val")
    found = json.loads(stkd("evaluate", student_run, *extra, "--json").out)
    assert found["file_bytes"] == (student_run / "student.safetensors").stat().st_size
    assert found["alone"]["file_bytes"] == (teacher_run / "model.safetensors").stat().st_size
    assert found["alone"]["top1"] == found["teacher_top1"]
    assert found["alone"]["similarity"]["pearson"] == pytest.approx(1)
    shown = stkd("evaluate", student_run, *extra).out
    for words in (
        "student",
        "alone",
        "Virtual samples",
        "ECE after temperature scaling",
        "gaussian noise",
        "Gained most",
    ):
        assert words in shown
    assert shown.count(f"{found['teacher']['params']:,}") == 2
    for title in ("Accuracy", "Calibration", "Cost"):
        assert title in shown


def test_own_data_are_not_out_of_distribution(student_run: Path, stkd: Any) -> None:
    answer = stkd("evaluate", student_run, "--ood", "digits")
    assert answer.code == 2
    assert answer.err == "stkd: error: digits is the data that the model was made for; give another data set\n"


def test_out_of_distribution(teacher_run: Path, pictures: Path, stkd: Any) -> None:
    found = json.loads(stkd("evaluate", teacher_run, "--ood", f"folder:{pictures}", "--json").out)["ood"]
    assert found["data"] == "folder"
    assert 0 <= found["model"]["auroc"] <= 1
    assert "AUROC" in stkd("evaluate", teacher_run, "--ood", f"folder:{pictures}").out


def test_predict(student_run: Path, teacher_run: Path, pictures: Path, stkd: Any) -> None:
    images = [pictures / "cat" / "0.png", pictures / "dog" / "1.png"]
    found = json.loads(stkd("predict", student_run, *images, "--top", 3, "--json").out)
    assert [entry["image"] for entry in found] == [str(i) for i in images]
    for entry in found:
        assert set(entry) == {"image", "student", "teacher"}
        for who in ("student", "teacher"):
            chances = [answer["probability"] for answer in entry[who]]
            assert len(chances) == 3
            assert chances == sorted(chances, reverse=True)
            assert 0 < sum(chances) <= 1 + 1e-6
            assert {answer["class"] for answer in entry[who]} <= set("0123456789")
    alone = json.loads(stkd("predict", teacher_run, images[0], "--top", 99, "--json").out)
    assert [len(answer) for name, answer in alone[0].items() if name == "model"] == [10]
    assert [a["class"] for a in alone[0]["model"][:3]] == [a["class"] for a in found[0]["teacher"]]
    file = json.loads(stkd("predict", student_run / "student.safetensors", images[0], "--json").out)
    for one, of_two in zip(file[0]["model"], found[0]["student"], strict=False):
        assert one == {**of_two, "probability": pytest.approx(of_two["probability"], abs=1e-6)}
    shown = stkd("predict", student_run, *images)
    assert shown.code == 0
    assert "student" in shown.out


def test_predict_sees_what_evaluation_sees(teacher_run: Path, tmp_path: Path, stkd: Any) -> None:
    """Test images written to files get the same answers as inside the data set."""
    import numpy as np
    from PIL import Image

    from stkd.data import open_data

    data = open_data("digits")
    assert data.test is not None
    count = 40
    for i, image in enumerate(np.asarray(data.test.images)[:count]):
        Image.fromarray(image[0]).save(tmp_path / f"{i:02}.png")
    answers = json.loads(stkd("predict", teacher_run, *sorted(tmp_path.glob("*.png")), "--json").out)
    hits = [int(a["model"][0]["class"]) == label for a, label in zip(answers, data.test.labels[:count], strict=True)]
    top1 = json.loads((teacher_run / "result.json").read_text())["test"]["top1"]
    assert abs(sum(hits) / count - top1) < 0.25
    assert sum(hits) > count // 3


def test_unlabelled_folder_with_function_matching(teacher_run: Path, pictures: Path, tmp_path: Path, stkd: Any) -> None:
    """Images without any class teach too, and what the teacher knows are the classes."""
    teacher = tmp_path / "teacher"
    colours = ["train", "--data", f"folder:{pictures}", "--model", "cnn4", "--epochs", "2", "--out", teacher]
    assert stkd(*colours).code == 0
    loose = tmp_path / "loose"
    loose.mkdir()
    for i, picture in enumerate(sorted(pictures.rglob("*.png"))):
        (loose / f"{i}.png").write_bytes(picture.read_bytes())
    command = ["distill", "--data", f"folder:{loose}", "--teacher-weights", teacher, "--student", "cnn2"]
    answer = stkd(*command, "--method", "fm", "--epochs", "2", "--batch-size", "8", "--out", tmp_path / "fm")
    assert answer.code == 0, answer.err
    found = json.loads(stkd("predict", tmp_path / "fm", pictures / "cat" / "0.png", "--json").out)
    assert {entry["class"] for entry in found[0]["student"]} == {"cat", "dog"}
    scored = stkd("evaluate", tmp_path / "fm", "--data", f"folder:{pictures}", "--json")
    assert scored.code == 0, scored.err
    assert json.loads(scored.out)["images"] == 4
