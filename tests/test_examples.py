"""The examples for other training loops: short, and what the teacher sees and says in them is right."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import stkd
from stkd import losses
from stkd.models.files import ModelInfo

FILES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))
INFO = ModelInfo("cnn4", ("cat", "dog"), 3, 16, (0.4, 0.5, 0.6), (0.2, 0.25, 0.3))


def example(name: str) -> ModuleType:
    file = next(file for file in FILES if file.stem == name)
    spec = importlib.util.spec_from_file_location(f"example_{name}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def teacher() -> nn.Module:
    torch.manual_seed(1)
    return stkd.models.create("cnn4", num_classes=2).eval()


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """For each step the virtual samples and the teacher's answers that the loss was given."""
    seen: list[dict[str, Any]] = []
    make, loss = stkd.virtual_samples, losses.stkd

    def virtual_samples(images: Tensor, labels: Tensor, num_classes: int, **how: Any) -> tuple[Tensor, Tensor]:
        mixed, targets = make(images, labels, num_classes, **how)
        seen.append({"real": images, "mixed": mixed, "targets": targets, "key": how["seed"]})
        return mixed, targets

    def of_step(student: Tensor, teacher: Tensor, **options: Any) -> Tensor:
        seen[-1] |= {"taught": teacher, "student": student}
        return loss(student, teacher, **options)

    monkeypatch.setattr(stkd, "virtual_samples", virtual_samples, raising=False)
    monkeypatch.setattr(losses, "stkd", of_step)
    return seen


def check(steps: list[dict[str, Any]], teacher: nn.Module, size: int = 16) -> None:
    """Each step's answers are those of the untouched teacher to the virtual samples, normalised as it expects."""
    torch.manual_seed(1)
    untouched = stkd.models.create("cnn4", num_classes=2).eval()
    assert all(
        torch.equal(a, b) for a, b in zip(teacher.state_dict().values(), untouched.state_dict().values(), strict=True)
    )
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (INFO.mean, INFO.std))
    for step in steps:
        assert 0 <= step["real"].min() < step["real"].max() <= 1
        assert not torch.equal(step["mixed"], step["real"])
        assert not step["taught"].requires_grad
        assert step["student"].requires_grad
        mixed = nn.functional.interpolate(step["mixed"], size=(size, size), mode="bilinear", antialias=True)
        torch.testing.assert_close(step["taught"], untouched((mixed - mean) / std), rtol=1e-4, atol=1e-4)
    assert len({str(step["key"]) for step in steps}) == len(steps) > 1


def test_they_are_short() -> None:
    assert [file.stem for file in FILES] == ["lightning_module", "plain_pytorch", "transformers_trainer"]
    assert all(len(file.read_text().splitlines()) < 40 for file in FILES)


def test_plain_pytorch(
    teacher: nn.Module,
    steps: list[dict[str, Any]],
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stkd, "load", lambda run: (teacher, INFO), raising=False)
    out = tmp_path / "student.pth"
    example("plain_pytorch").distil("run", str(pictures), str(out), name="test_efficientnet", epochs=2, batch_size=8)
    check(steps, teacher)
    assert len(steps) == 4
    assert "classifier.weight" in torch.load(out, weights_only=True)


def test_plain_pytorch_refuses_another_order_of_classes(
    teacher: nn.Module, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (pictures / "cat").rename(pictures / "emu")
    monkeypatch.setattr(stkd, "load", lambda run: (teacher, INFO), raising=False)
    with pytest.raises(AssertionError, match="another order"):
        example("plain_pytorch").distil("run", str(pictures), str(tmp_path / "student.pth"))


@pytest.mark.slow
def test_lightning_module(teacher: nn.Module, steps: list[dict[str, Any]], tmp_path: Path) -> None:
    lightning = pytest.importorskip("lightning", reason="Lightning is not installed (stkd[ci])")
    student = stkd.models.create("cnn2", num_classes=2)
    module = example("lightning_module").Distilled(teacher, INFO, student, (0.5,) * 3, (0.5,) * 3)
    loader = DataLoader(TensorDataset(torch.rand(32, 3, 16, 16), torch.arange(32) % 2), 8)
    trainer = lightning.Trainer(
        max_epochs=2, accelerator="cpu", default_root_dir=tmp_path, logger=False, enable_progress_bar=False
    )
    before = {name: tensor.clone() for name, tensor in student.state_dict().items()}
    trainer.fit(module, loader, loader)
    check(steps, teacher)
    assert len(steps) == 8
    (checkpoint,) = tmp_path.rglob("*.ckpt")
    kept = torch.load(checkpoint, weights_only=True)["state_dict"]
    assert {name.partition(".")[0] for name in kept} == {"student"}
    assert any(not torch.equal(tensor, before[name]) for name, tensor in student.state_dict().items())
    assert not teacher.training
    assert "val_accuracy" in trainer.callback_metrics


@pytest.mark.slow
def test_transformers_trainer(teacher: nn.Module, steps: list[dict[str, Any]], tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed (stkd[hf])")
    pytest.importorskip("accelerate", reason="accelerate is not installed (stkd[ci])")
    config = transformers.ViTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=24,
        patch_size=8,
        id2label=dict(enumerate(INFO.classes)),
    )
    student = transformers.ViTForImageClassification(config)
    images = [{"pixel_values": image, "labels": i % 2} for i, image in enumerate(torch.rand(32, 3, 24, 24))]
    trainer = example("transformers_trainer").DistilTrainer(
        student,
        transformers.TrainingArguments(
            str(tmp_path / "run"),
            per_device_train_batch_size=4,
            gradient_accumulation_steps=2,
            num_train_epochs=2,
            eval_strategy="epoch",
            use_cpu=True,
            report_to="none",
            disable_tqdm=True,
            logging_steps=1,
        ),
        teacher,
        INFO,
        train_dataset=images,
        eval_dataset=images,
        processing_class=transformers.ViTImageProcessor(image_mean=[0.5] * 3, image_std=[0.5] * 3),
        compute_metrics=lambda answers: {
            "accuracy": float((answers.predictions.argmax(1) == answers.label_ids).mean())
        },
    )
    trainer.train()
    check(steps, teacher)
    assert len(steps) == 16
    parts = [
        0.1 * nn.functional.cross_entropy(step["student"].detach(), step["targets"])
        + 0.9 * losses.kd(step["student"].detach(), step["taught"])
        for step in steps
    ]
    expected = [float(a + b) / 2 for a, b in zip(parts[::2], parts[1::2], strict=True)]  # of accumulated gradients
    assert [row["loss"] for row in trainer.state.log_history if "loss" in row] == pytest.approx(expected, abs=1e-3)
    assert "eval_accuracy" in trainer.state.log_history[-2]
    trainer.save_model(str(tmp_path / "student"))
    loaded = transformers.AutoModelForImageClassification.from_pretrained(tmp_path / "student")
    assert set(loaded.state_dict()) == set(student.state_dict())
