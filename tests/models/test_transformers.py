"""Image classifiers of transformers in folders, as its save_pretrained writes them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from stkd import models
from stkd.core.errors import StkdError
from stkd.models import hub
from stkd.models.files import ModelInfo, load_model, save_model
from stkd.models.published import published

transformers = pytest.importorskip("transformers", reason="transformers is not installed (stkd[hf])")

NAMES = {0: "cat", 1: "dog", 2: "emu"}


def saved(folder: Path, kind: str = "resnet", **more: Any) -> torch.nn.Module:
    """A tiny network with initial weights, saved to a folder."""
    torch.manual_seed(0)
    fields: dict[str, Any] = {
        "resnet": {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"},
        "vit": {
            "hidden_size": 16,
            "num_hidden_layers": 4,
            "num_attention_heads": 2,
            "intermediate_size": 32,
            "image_size": 32,
            "patch_size": 8,
        },
        "deit": {
            "hidden_size": 16,
            "num_hidden_layers": 4,
            "num_attention_heads": 2,
            "intermediate_size": 32,
            "image_size": 32,
            "patch_size": 8,
            "architectures": ["DeiTForImageClassificationWithTeacher"],
        },
    }[kind]
    config = transformers.AutoConfig.for_model(kind, **fields, id2label=NAMES, **more)
    model = transformers.AutoModelForImageClassification.from_config(config)
    model.save_pretrained(folder)
    return model.eval()  # type: ignore[no-any-return]


def processor(folder: Path, **fields: Any) -> None:
    (folder / "preprocessor_config.json").write_text(json.dumps(fields))


@pytest.mark.parametrize("kind", ["resnet", "vit"])
def test_it_answers_as_transformers_does(kind: str, tmp_path: Path) -> None:
    original = saved(tmp_path / "a", kind)
    model = models.create(f"hf/{tmp_path}/a", num_classes=3, pretrained=True, image_size=32).eval()
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(model(images), original(pixel_values=images).logits)
    assert models.classifier(model).out_features == 3
    assert models.stages(model, images)


def test_a_folder_opens_as_a_run_does(tmp_path: Path) -> None:
    original = saved(tmp_path / "a", "vit")
    processor(tmp_path / "a", size={"height": 32, "width": 32}, image_mean=[0.5] * 3, image_std=[0.25] * 3, resample=3)
    model, info = load_model(tmp_path / "a")
    assert (info.model, info.classes, info.size) == ("transformers/vit", ("cat", "dog", "emu"), 32)
    assert (info.mean, info.std, info.interpolation) == ((0.5,) * 3, (0.25,) * 3, "bicubic")
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(model(images), original(pixel_values=images).logits)
    assert not model.training


def test_a_run_opens_without_the_folder(tmp_path: Path) -> None:
    saved(tmp_path / "a", "vit")
    name = f"hf/{tmp_path}/a"
    model = models.create(name, num_classes=5, pretrained=True, image_size=32).eval()
    recorded, options = models.recorded_name(name)
    assert recorded == "transformers/vit"
    info = ModelInfo(recorded, tuple("abcde"), 3, 32, (0.5,) * 3, (0.5,) * 3, options)
    save_model(model, tmp_path / "x.safetensors", info)
    (tmp_path / "a" / "config.json").unlink()
    again, read = load_model(tmp_path / "x.safetensors")
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(again(images), model(images))
    assert read.options["hidden_size"] == 16


def test_a_new_head_for_other_classes(tmp_path: Path) -> None:
    original = saved(tmp_path / "a")
    model = models.create(f"hf/{tmp_path}/a", num_classes=7, pretrained=True, image_size=32).eval()
    assert model(torch.randn(1, 3, 32, 32)).shape == (1, 7)
    body = {name: t for name, t in original.state_dict().items() if not name.startswith("classifier")}
    for name, tensor in body.items():
        assert torch.equal(model.state_dict()[f"model.{name}"], tensor)


def test_a_fresh_one_by_its_type() -> None:
    options = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"}
    model = models.create("transformers/resnet", num_classes=4, in_channels=1, image_size=32, options=options)
    assert model(torch.randn(2, 1, 32, 32)).shape == (2, 4)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"size": {"height": 32, "width": 32}, "image_mean": [0.5] * 3, "image_std": [0.25] * 3, "resample": 3},
         (32, 0.5, 0.25, 1.0, "bicubic")),
        ({"size": {"shortest_edge": 256}, "crop_size": {"height": 224, "width": 224}, "do_center_crop": True,
          "image_mean": [0.4] * 3, "image_std": [0.2] * 3, "resample": 2}, (224, 0.4, 0.2, 0.875, "bilinear")),
        ({"size": {"shortest_edge": 224}, "crop_pct": 0.9, "image_mean": [0.5] * 3, "image_std": [0.5] * 3},
         (224, 0.5, 0.5, 0.9, "bilinear")),
        ({"size": 64, "do_normalize": False}, (64, 0.0, 1.0, 1.0, "bilinear")),
        ({"size": 64, "do_rescale": False, "image_mean": [127.5] * 3, "image_std": [51.0] * 3},
         (64, 0.5, 0.2, 1.0, "bilinear")),
        ({"size": 64, "rescale_factor": 2 / 255, "rescale_offset": True, "do_normalize": False},
         (64, 0.5, 0.5, 1.0, "bilinear")),
    ],
)  # fmt: skip
def test_what_it_expects_of_images(fields: dict[str, Any], expected: tuple[Any, ...], tmp_path: Path) -> None:
    saved(tmp_path / "a")
    processor(tmp_path / "a", **fields)
    known = published(f"hf/{tmp_path}/a")
    assert known is not None
    assert (known.size, known.crop_pct, known.interpolation) == (expected[0], expected[3], expected[4])
    assert known.mean == pytest.approx((expected[1],) * 3)
    assert known.std == pytest.approx((expected[2],) * 3)
    assert (known.outputs, known.classes) == (3, (("cat", "dog", "emu"),))


def test_processors_of_transformers_see_the_same_pixels(tmp_path: Path) -> None:
    import numpy as np

    saved(tmp_path / "a")
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    for options in ({}, {"do_normalize": False}, {"rescale_factor": 1 / 127.5}):
        own = transformers.ViTImageProcessor(size={"height": 32, "width": 32}, **options)
        own.save_pretrained(tmp_path / "a")
        known = published(f"hf/{tmp_path}/a")
        assert known is not None
        expected = own(image, return_tensors="pt")["pixel_values"][0]
        mean, std = (torch.tensor(v).view(3, 1, 1) for v in (known.mean, known.std))
        ours = (torch.from_numpy(image / 255).float().permute(2, 0, 1) - mean) / std
        torch.testing.assert_close(ours, expected.float(), atol=1e-5, rtol=1e-5)


def test_folders_that_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    saved(folder, "vit")
    name = f"hf/{folder}"
    for size, options, words in (
        (64, {}, "do not fit its model for images of 64 pixels: 1 are missing or of another shape"),
        (32, {"hiden_size": 8}, "unknown option of transformers/vit 'hiden_size'; did you mean hidden_size"),
        (32, {"num_labels": 8}, "unknown option of transformers/vit 'num_labels'"),
    ):
        with pytest.raises(StkdError, match=re.escape(words)) as caught:
            models.create(name, num_classes=3, pretrained=True, image_size=size, options=options)
        assert "\n" not in str(caught.value)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(StkdError, match=r"holds no model\.safetensors; save the model by save_pretrained"):
        models.create(name, num_classes=3, pretrained=True, image_size=32)
    (folder / "preprocessor_config.json").write_text("{")
    with pytest.raises(StkdError, match="is damaged"):
        published(name)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model_type": "bert"}, "unknown image classifier of transformers, for hf/.*, 'bert'"),
        ({"text_config": {"a": 1}}, "has parts of its own (text_config)"),
    ],
)
def test_configurations_that_are_refused(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    saved(tmp_path / "a")
    file = tmp_path / "a" / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    with pytest.raises(StkdError, match=words.replace("(", r"\(").replace(")", r"\)")):
        models.create(f"hf/{tmp_path}/a", num_classes=3)


def test_a_folder_never_runs_code(tmp_path: Path) -> None:
    saved(tmp_path / "a")
    file, ran = tmp_path / "a" / "config.json", tmp_path / "ran"
    code = {"AutoConfig": "evil.Config", "AutoModelForImageClassification": "evil.Model"}
    file.write_text(json.dumps({**json.loads(file.read_text()), "auto_map": code}))
    (tmp_path / "a" / "evil.py").write_text(f"open({str(ran)!r}, 'w')")
    models.create(f"hf/{tmp_path}/a", num_classes=3, pretrained=True, image_size=32)
    assert not ran.exists()


def test_one_from_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = saved(tmp_path / "a")
    asked = []

    def snapshot(repository: str, **options: Any) -> str:
        asked.append((repository, options["revision"]))
        return str(tmp_path / "a")

    def config(name: str) -> None:
        raise KeyError("architecture")  # as timm does where a configuration is not its own

    monkeypatch.setattr(hub, "reachable", lambda url: True)
    monkeypatch.setattr("timm.models.load_model_config_from_hf", config)
    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    model = models.create("hf/owner/name@v1", num_classes=3, pretrained=True, image_size=32)
    assert torch.equal(model.state_dict()["model.classifier.1.weight"], original.state_dict()["classifier.1.weight"])
    assert set(asked) == {("owner/name", "v1")}


def test_without_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(tmp_path / "a")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(StkdError, match=r"is a model of transformers: pip install 'stkd\[hf\]'"):
        models.create(f"hf/{tmp_path}/a", num_classes=3)


def test_two_heads_are_one_answer(tmp_path: Path) -> None:
    """DeiT's distilled form answers with the mean of its heads; that is no linear classifier at its end."""
    original = saved(tmp_path / "a", "deit")
    model = models.create(f"hf/{tmp_path}/a", num_classes=3, pretrained=True, image_size=32).eval()
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(model(images), original(pixel_values=images).logits)
