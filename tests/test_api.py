from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import yaml
from safetensors.torch import load_file
from torch import nn

import stkd
from stkd.api import run_distill
from stkd.core.config import DistillConfig
from stkd.teachers.selection import fitting

SMALL = {"epochs": 2, "train_images": 128, "precision": "32", "accelerator": "cpu"}


def mlp(classes: int = 10) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, classes))


def test_distill_modules(tmp_path: Path) -> None:
    teacher, student = stkd.models.create("cnn8", num_classes=10, in_channels=1), mlp()
    result = stkd.distill(
        teacher, student, stkd.open_data("digits"), out=tmp_path / "run", **SMALL | {"train_images": None}
    )
    assert result.fresh
    assert result.model is student
    assert not student.training
    assert result.weights == tmp_path / "run" / "student.safetensors"
    saved = load_file(result.weights)
    assert all(torch.equal(saved[name], tensor) for name, tensor in student.state_dict().items())
    assert set(result.scores["test"]) == {"top1", "nll"}
    assert result.scores["teacher_passes"] == result.scores["images_seen"] > 0

    again = stkd.distill(
        teacher, mlp(), stkd.open_data("digits"), out=tmp_path / "run", **SMALL | {"train_images": None}
    )
    assert not again.fresh
    assert again.model is None
    assert again.scores == result.scores


def test_python_and_command_line_make_the_same_student(teacher_run: Path, tmp_path: Path, request: Any) -> None:
    run = request.getfixturevalue("stkd")
    command = ["distill", "--data", "digits", "--teacher-weights", teacher_run, "--student", "cnn2", "--method", "kd"]
    flags = [w for k, v in SMALL.items() for w in (f"--{k.replace('_', '-')}", v)]
    assert run(*command, *flags, "--out", tmp_path / "a").code == 0
    stkd.distill(str(teacher_run), "cnn2", "digits", "kd", out=tmp_path / "b", **SMALL)
    assert (tmp_path / "a" / "student.safetensors").read_bytes() == (
        tmp_path / "b" / "student.safetensors"
    ).read_bytes()


def test_who_listens_to_the_epochs_may_end_the_run(tmp_path: Path) -> None:
    """It hears all rows so far, and the same run goes on to the same end."""

    class Enough(Exception):
        pass

    heard: list[list[int]] = []

    def listen(rows: Any) -> None:
        heard.append([row["epoch"] for row in rows if "test_top1" in row])
        if len(heard) == 2:
            raise Enough

    config = {"data": "digits", "student": "cnn2", "method": "ce", **SMALL, "epochs": 3}
    whole = run_distill(DistillConfig(**config, out=tmp_path / "whole"))
    parts = DistillConfig(**config, out=tmp_path / "parts")
    with pytest.raises(Enough):
        run_distill(parts, on_epoch=listen)
    assert run_distill(parts, on_epoch=listen).weights.read_bytes() == whole.weights.read_bytes()
    assert heard == [[1], [1, 2], [1, 2, 3]]
    run_distill(parts, on_epoch=listen)
    assert len(heard) == 3, "a finished run has no epochs left"


def test_train_then_distil_its_run(tmp_path: Path) -> None:
    teacher = stkd.train("cnn4", "digits", out=tmp_path / "teacher", **SMALL)
    assert teacher.weights.name == "model.safetensors"
    result = stkd.distill(str(teacher.out), "cnn2", "digits", "stkd:temperature=2", out=tmp_path / "run", **SMALL)
    assert result.scores["method_options"]["temperature"] == 2.0
    assert result.scores["mix"]["instances"] == 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"epoch": 3}, "unknown option 'epoch'; did you mean epochs"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"method": "kdd"}, "unknown method 'kdd'"),
        ({"student": mlp(7)}, r"Sequential answers \(2, 1, 8, 8\) with \(2, 7\), not \(2, 10\)"),
        ({"student": nn.Conv2d(3, 4, 3)}, "Conv2d cannot take images"),
        ({"teacher": mlp(7)}, "give it 10 outputs"),
    ],
)
def test_refused(options: dict[str, Any], words: str, tmp_path: Path) -> None:
    given: dict[str, Any] = {"teacher": mlp(), "student": mlp(), "data": "digits", **SMALL, **options}
    with pytest.raises(stkd.StkdError, match=words):
        stkd.distill(**given, out=tmp_path / "run")
    stkd.train("cnn2", "digits", out=tmp_path / "run", **SMALL)


def test_loss_alone_in_somebody_elses_loop() -> None:
    """The three lines that the README shows."""
    torch.manual_seed(0)
    data = stkd.open_data("digits")
    images = torch.from_numpy(data.train.images[:64].copy()).float() / 255
    labels = torch.from_numpy(data.train.labels[:64])
    teacher, student = mlp(), mlp()
    optimizer = torch.optim.SGD(student.parameters(), lr=0.5)
    history = []
    for step in range(60):
        mixed, targets = stkd.virtual_samples(images, labels, num_classes=10, seed=step)
        answer, taught = student(mixed), teacher(mixed).detach()
        loss = 0.1 * F.cross_entropy(answer, targets) + 0.9 * stkd.losses.stkd(answer, taught, temperature=4.0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(loss.item())
    assert sum(history[-5:]) < 0.95 * sum(history[:5])


def test_options_that_come_too_late(tmp_path: Path) -> None:
    with pytest.raises(stkd.StkdError, match="train_images comes too late"):
        stkd.train("cnn2", stkd.open_data("digits"), out=tmp_path / "run", **SMALL)


def test_names() -> None:
    for name in stkd.__all__:
        assert getattr(stkd, name) is not None
    with pytest.raises(AttributeError, match="nothing_like_this"):
        _ = stkd.nothing_like_this


def test_generations_are_taught_by_the_one_before(teacher_run: Path, tmp_path: Path) -> None:
    small = {"epochs": 1, "train_images": 64, "precision": "32", "accelerator": "cpu"}
    result = stkd.distill(
        str(teacher_run), "cnn2", "digits", "kd", out=tmp_path / "run", generations=3, seed=5, **small
    )
    chain = [
        yaml.safe_load((tmp_path / n / "config.yaml").read_text())
        for n in ("run-generation1", "run-generation2", "run")
    ]
    taught_by = [str(teacher_run), str(tmp_path / "run-generation1"), str(tmp_path / "run-generation2")]
    assert [c["teacher_weights"] for c in chain] == taught_by
    assert [c["seed"] for c in chain] == [5, 6, 7]
    assert result.out == tmp_path / "run"
    with pytest.raises(stkd.StkdError, match="generations need"):
        stkd.distill(str(teacher_run), "cnn2", "digits", "ce", out=tmp_path / "no", generations=2, **small)


def test_generations_are_not_lengthened_halfway(teacher_run: Path, tmp_path: Path) -> None:
    small = {"train_images": 64, "precision": "32", "accelerator": "cpu", "preflight": "off"}

    def distil(**options: int) -> stkd.Result:
        return stkd.distill(str(teacher_run), "cnn2", "digits", "kd", out=tmp_path / "run", **small, **options)

    # the first alone may be lengthened while nothing was learnt from it
    stkd.distill(str(teacher_run), "cnn2", "digits", "kd", out=tmp_path / "run-generation1", epochs=1, **small)
    distil(epochs=2, generations=2)
    kept = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(stkd.StkdError, match=r"run was started with epochs=2, now epochs=3; .*another --out"):
        distil(epochs=3, generations=2)
    with pytest.raises(stkd.StkdError, match=r"run was started with .*now .*generations that have begun"):
        distil(epochs=2, generations=3)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == kept
    assert not distil(epochs=2, generations=2).fresh


def test_module_starts_from_given_weights(tmp_path: Path) -> None:
    before = stkd.models.create("cnn2", num_classes=10, in_channels=1)
    stkd.models.save(before, tmp_path / "start.safetensors")
    student = stkd.models.create("cnn2", num_classes=10, in_channels=1)
    options = {**SMALL, "epochs": 1, "lr": 1e-12, "student_weights": tmp_path / "start.safetensors"}
    stkd.distill(mlp(), student, "digits", "kd", out=tmp_path / "run", **options)
    torch.testing.assert_close(student.fc.weight, before.fc.weight)


def test_a_module_is_the_only_teacher(teacher_run: Path, tmp_path: Path) -> None:
    with pytest.raises(stkd.StkdError, match="leave out teacher_weights and more_teachers"):
        stkd.distill(mlp(), "cnn2", "digits", "kd", out=tmp_path / "run", more_teachers=[teacher_run], **SMALL)


@pytest.mark.parametrize("method", ["kd", "at", "simkd"])  # at and simkd look at features, through hooks
def test_modules_come_back_without_our_hooks_and_the_teacher_as_it_was(method: str, tmp_path: Path) -> None:
    teacher = stkd.models.create("cnn8", num_classes=10, in_channels=1).train()
    student = stkd.models.create("cnn4", num_classes=10, in_channels=1)
    frozen = next(teacher.parameters()).requires_grad_(False)
    memory = {name: (t.data_ptr(), t.stride()) for name, t in teacher.state_dict().items()}
    result = stkd.distill(teacher, student, "digits", method, out=tmp_path / "run", **SMALL)
    assert all(part.training for part in teacher.modules())
    assert [p for p in teacher.parameters() if not p.requires_grad] == [frozen]
    assert {name: (t.data_ptr(), t.stride()) for name, t in teacher.state_dict().items()} == memory
    for model in (teacher, student, result.model):
        assert model is not None
        assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.modules())
        torch.save(model, tmp_path / "model.pt")


def test_a_failed_training_gives_the_teacher_back(tmp_path: Path) -> None:
    teacher = stkd.models.create("cnn8", num_classes=10, in_channels=1).train()
    with pytest.raises(stkd.StkdError, match="became NaN or infinite"):
        stkd.distill(teacher, "cnn2", "digits", "at", out=tmp_path / "run", lr=1e30, **SMALL)
    assert all(part.training and not part._forward_hooks for part in teacher.modules())
    assert all(p.requires_grad for p in teacher.parameters())


def test_a_module_is_probed_where_it_is() -> None:
    """On a device without numbers, which stands for a GPU."""
    data = stkd.open_data("digits")
    fitting(mlp().to("meta"), data)
    with pytest.raises(stkd.StkdError, match="give it 10 outputs"):
        fitting(mlp(7).to("meta"), data)


def test_a_result_prints_without_the_whole_network(tmp_path: Path) -> None:
    result = stkd.train(mlp(), "digits", out=tmp_path / "run", **SMALL)
    assert "Linear" not in repr(result)
    assert "model.safetensors" in repr(result)


def test_a_run_of_a_module_of_ones_own(tmp_path: Path, caplog: pytest.LogCaptureFixture, request: Any) -> None:
    """It is said how to open it; nothing that the run names is executed."""

    class Own(nn.Sequential):
        pass

    def own() -> nn.Module:
        return Own(*mlp().children())

    caplog.set_level("INFO", "stkd")
    result = stkd.train(own(), "digits", out=tmp_path / "run", **SMALL)
    assert any(f"stkd.load({str(result.out)!r}, model=MODULE)" in message for message in caplog.messages)
    with pytest.raises(stkd.StkdError, match=r"give your module to stkd\.load\('.*', model=MODULE\), or --plugin FILE"):
        stkd.load(result.out)
    answer = request.getfixturevalue("stkd")("evaluate", result.out)
    assert answer.code == 2
    assert "stkd.load(" in answer.err
    model, info = stkd.load(result.out, model=own())
    assert (info.model, info.size, len(info.classes)) == ("Own", 8, 10)
    assert not model.training
    assert result.model is not None
    torch.testing.assert_close(model.state_dict(), result.model.state_dict())
    with pytest.raises(stkd.StkdError, match="has 10 classes, the model 7"):
        stkd.load(result.out, model=mlp(7))


def test_load_takes_text_and_gives_what_was_trained(student_run: Path) -> None:
    model, info = stkd.load(str(student_run))
    assert info.model == "cnn2"
    saved = load_file(student_run / "student.safetensors")
    assert all(torch.equal(saved[name], tensor) for name, tensor in model.state_dict().items())


def test_a_finished_run_is_looked_at(student_run: Path, request: Any) -> None:
    """Weights that were deleted are written again, bit for bit; others are not taken for the run's."""
    run = request.getfixturevalue("stkd")
    command = ["distill", "--recipe", student_run / "config.yaml", "--out", student_run]
    weights = student_run / "student.safetensors"
    before = weights.read_bytes()
    weights.unlink()
    answer = run(*command)
    assert answer.code == 0, answer.err
    assert "lost its student.safetensors; it is written again from the last checkpoint" in answer.err
    assert weights.read_bytes() == before
    assert "was finished before" in run(*command).out
    weights.write_bytes(before[:-4] + b"abcd")
    answer = run(*command)
    assert answer.code == 2
    assert "is not the file that this run wrote" in answer.err
