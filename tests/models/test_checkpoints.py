"""Weights are found under whatever keys and prefixes a checkpoint has, and what was done is said."""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn

from stkd.core.errors import StkdError
from stkd.models import create, load, read_state
from stkd.models.checkpoints import Role
from stkd.models.weights import classes_in

State = dict[str, Tensor]


def network(seed: int = 1, classes: int = 4, name: str = "cnn2") -> nn.Module:
    torch.manual_seed(seed)
    return create(name, num_classes=classes)


def holds(module: nn.Module, state: State) -> bool:
    own = module.state_dict()
    return own.keys() == state.keys() and all(torch.equal(tensor, state[name]) for name, tensor in own.items())


def prefixed(state: State, prefix: str) -> State:
    return {prefix + name: tensor for name, tensor in state.items()}


def said(caplog: pytest.LogCaptureFixture) -> str:
    return " | ".join(record.getMessage() for record in caplog.records)


@pytest.fixture(autouse=True)
def hear(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "stkd")


KEYS = st.sampled_from(
    ["model", "state_dict", "net", "student", "ema", "model_state_dict", "state_dict_ema", "network", "anything", "a b"]
)
PREFIXES = st.sampled_from(["module.", "_orig_mod.", "model.", "net.", "student.", "backbone.", "encoder.model."])
EXTRAS: dict[str, Any] = {
    "optimizer": {"state": {0: {"momentum_buffer": torch.ones(3)}}, "param_groups": [{"lr": 0.1, "params": [0]}]},
    "criterion": {"weight": torch.ones(4, 16), "bias": torch.ones(4)},
    "epoch": 3,
    "args": argparse.Namespace(lr=0.1, out=Path("runs")),
    "best_acc": torch.tensor(70.0),
    "scaler": None,
    "history": [0.5, 0.7],
}


@st.composite
def wrappings(draw: st.DrawFn) -> tuple[list[str], list[str], list[str], bool]:
    keys = draw(st.lists(KEYS, max_size=3))
    prefixes = draw(st.lists(PREFIXES, max_size=3))
    extras = draw(st.lists(st.sampled_from(sorted(EXTRAS)), unique=True)) if keys else []
    return keys, prefixes, extras, draw(st.booleans())


@given(wrappings())
@settings(max_examples=60)
def test_any_wrapping_reads_back_equal(tmp_path_factory: pytest.TempPathFactory, wrapping: Any) -> None:
    keys, prefixes, extras, inside = wrapping
    state = network().state_dict()
    content: Any = {("".join(prefixes)) + name: tensor for name, tensor in state.items()}
    if inside:
        content = {
            name.replace("conv", "conv._orig_mod", 1) if ".conv." in name else name: t for name, t in content.items()
        }
    for key in keys:
        content = {key: content}
    content |= {name: EXTRAS[name] for name in extras if name not in content}
    path = tmp_path_factory.mktemp("wrapped") / "checkpoint.pth"
    torch.save(content, path)
    target = network(2)
    load(target, path)
    assert holds(target, state)


def test_a_plain_state_dict_needs_no_words(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    torch.save(network().state_dict(), tmp_path / "plain.pth")
    load(network(2), tmp_path / "plain.pth")
    assert said(caplog) == ""


def test_what_was_taken_off_and_left_out_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    state = network().state_dict()
    torch.save({"model": prefixed(state, "module.net."), **EXTRAS}, tmp_path / "x.pth")
    load(network(2), tmp_path / "x.pth")
    line = said(caplog)
    for words in (
        "under 'model'",
        "prefix 'net.' taken off",
        "'module' taken out of the names",
        "2 tensors of criterion",
        "1 tensor of optimizer",
    ):
        assert words in line


@pytest.mark.parametrize(
    ("plain", "averaged", "key"),
    [
        ("state_dict", "state_dict_ema", "state_dict"),
        ("model", "model_ema", "model"),
        ("model", "ema", "model"),
        ("net", "ema_net", "net"),
    ],
)
def test_averaged_weights_go_before_plain_ones(
    plain: str, averaged: str, key: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "x.pth"
    torch.save({plain: network(1).state_dict(), averaged: network(2).state_dict(), "epoch": 1}, path)
    target = network(3)
    load(target, path)
    assert holds(target, network(2).state_dict())
    assert f"these are averaged; others that fit: --weights-key {key}" in said(caplog)
    load(target, path, key=key)
    assert holds(target, network(1).state_dict())
    assert torch.equal(read_state(path)["fc.weight"], network(2).fc.weight)
    assert torch.equal(read_state(path, key)["fc.weight"], network(1).fc.weight)


def test_plain_weights_at_the_top_beside_averaged_ones(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    torch.save({**network(1).state_dict(), "ema": network(2).state_dict()}, tmp_path / "x.pth")
    target = network(3)
    load(target, tmp_path / "x.pth")
    assert holds(target, network(2).state_dict())
    assert "others that fit: --weights-key .;" in said(caplog)
    load(target, tmp_path / "x.pth", key=".")
    assert holds(target, network(1).state_dict())


@given(st.data())
@settings(max_examples=150)
def test_damaged_files_end_in_one_line(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Or in weights, where the damage is in a number; never in another exception."""
    path = tmp_path_factory.mktemp("damaged") / "checkpoint.pth"
    content = {"model": network().state_dict(), "args": argparse.Namespace(lr=0.1), "epoch": 3}
    torch.save(content, path, _use_new_zipfile_serialization=data.draw(st.booleans()))
    raw = bytearray(path.read_bytes())
    # where the pickle lies in both formats
    for place in data.draw(st.lists(st.integers(0, 3000), min_size=1, max_size=8)):
        raw[place] = data.draw(st.integers(0, 255))
    path.write_bytes(raw)
    try:
        load(network(2), path)
    except StkdError as error:
        assert "\n" not in str(error)  # noqa: PT017


def test_a_checkpoint_that_contains_itself(tmp_path: Path) -> None:
    content: dict[str, Any] = {"model": network().state_dict(), "args": {}}
    content["args"]["all"] = content
    torch.save(content, tmp_path / "x.pth")
    target = network(2)
    load(target, tmp_path / "x.pth")
    assert holds(target, network().state_dict())
    del content["model"]
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(StkdError, match="holds no state dict"):
        load(target, tmp_path / "x.pth")


def test_averaged_model_of_torch(tmp_path: Path) -> None:
    averaged = torch.optim.swa_utils.AveragedModel(network(1))
    torch.save(averaged.state_dict(), tmp_path / "x.pth")
    target = network(2)
    load(target, tmp_path / "x.pth")
    assert holds(target, network(1).state_dict())
    torch.save({"model": network(3).state_dict(), "other": averaged.state_dict()}, tmp_path / "both.pth")
    load(target, tmp_path / "both.pth")
    assert holds(target, network(1).state_dict())


def test_averages_after_a_prefix(tmp_path: Path) -> None:
    state = {**prefixed(network(1).state_dict(), "model."), **prefixed(network(2).state_dict(), "ema_model.module.")}
    torch.save(
        {"state_dict": state, "pytorch-lightning_version": "2.5", "optimizer_states": [{"a": torch.ones(2)}]},
        tmp_path / "x.ckpt",
    )
    target = network(3)
    load(target, tmp_path / "x.ckpt")
    assert holds(target, network(2).state_dict())
    load(target, tmp_path / "x.ckpt", key="model")
    assert holds(target, network(1).state_dict())


@pytest.mark.parametrize(
    ("teacher", "student"),
    [("teacher.", "student."), ("module.teacher.", "module.student."), ("teacher.", "architecture.")],
)
@pytest.mark.parametrize("role", ["teacher", "student"])
def test_teacher_and_student_in_one_state_dict(
    teacher: str, student: str, role: Role, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state = {**prefixed(network(1).state_dict(), student), **prefixed(network(2).state_dict(), teacher)}
    torch.save({"model": state}, tmp_path / "x.pth")
    target = network(3)
    load(target, tmp_path / "x.pth", role=role)
    assert holds(target, network(2 if role == "teacher" else 1).state_dict())
    assert f"others that fit: --{role}-weights-key" in said(caplog)
    with pytest.raises(StkdError, match=r"several weights that fit .*say which with --weights-key"):
        load(target, tmp_path / "x.pth")
    load(target, tmp_path / "x.pth", key="teacher")
    assert holds(target, network(2).state_dict())


def test_of_several_alike_none_is_taken(tmp_path: Path) -> None:
    torch.save({"first": network(1).state_dict(), "second": network(2).state_dict()}, tmp_path / "x.pth")
    with pytest.raises(
        StkdError, match=r"several weights that fit \(first, second\); say which with --weights-key first"
    ):
        load(network(3), tmp_path / "x.pth")
    target = network(3)
    load(target, tmp_path / "x.pth", key="second")
    assert holds(target, network(2).state_dict())
    with pytest.raises(StkdError, match=r"unknown key of weights .*'secnd'; did you mean second"):
        load(target, tmp_path / "x.pth", key="secnd")


def test_only_the_model_that_fits_is_taken(tmp_path: Path) -> None:
    """A file of a large teacher and a small student, given as a teacher by the name of the student."""
    state = {
        **prefixed(network(1, name="cnn4").state_dict(), "teacher."),
        **prefixed(network(2).state_dict(), "student."),
    }
    torch.save(state, tmp_path / "x.pth")
    target = network(3)
    load(target, tmp_path / "x.pth", role="teacher")
    assert holds(target, network(2).state_dict())


def test_a_deeper_network_is_not_cut_short(tmp_path: Path) -> None:
    torch.save({"state_dict": prefixed(create("resnet14", num_classes=4).state_dict(), "module.")}, tmp_path / "x.pth")
    with pytest.raises(StkdError, match=r"unexpected .*look like weights of resnet14"):
        load(create("resnet8", num_classes=4), tmp_path / "x.pth")


def test_new_head_where_one_is_wanted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    torch.save(network(1, classes=9).state_dict(), tmp_path / "nine.pth")
    target, initial = network(2), network(2).fc.weight
    load(target, tmp_path / "nine.pth", new_head=True)
    assert torch.equal(target.fc.weight, initial)
    assert torch.equal(next(target.parameters()), next(network(1, classes=9).parameters()))
    assert "the head fc.weight is new: 9 classes in the file, 4 in the model" in said(caplog)
    with pytest.raises(
        StkdError, match=r"has 9 classes, the model 4 \(fc.weight\); name its 9 classes with --teacher-classes"
    ):
        load(target, tmp_path / "nine.pth", role="teacher")

    caplog.clear()
    torch.save(network(1).state_dict(), tmp_path / "four.pth")
    load(network(2), tmp_path / "four.pth", new_head=True)
    assert "classes are taken by position" in said(caplog)

    state = network(1).state_dict()
    del state["fc.weight"], state["fc.bias"]
    torch.save(state, tmp_path / "headless.pth")
    load(target, tmp_path / "headless.pth", new_head=True)
    assert torch.equal(target.fc.weight, initial)


def test_rows_of_the_head_by_class(tmp_path: Path) -> None:
    torch.save(network(1, classes=5).state_dict(), tmp_path / "x.pth")
    target, initial, given_ = network(2), network(2).fc, network(1, classes=5).fc
    load(target, tmp_path / "x.pth", new_head=True, rows=[4, -1, 0, 1])
    assert torch.equal(target.fc.weight[[0, 2, 3]], given_.weight[[4, 0, 1]])
    assert torch.equal(target.fc.bias[1], initial.bias[1])


@pytest.mark.parametrize("given", ["folder", "index"])
def test_shards(given: str, tmp_path: Path) -> None:
    from stkd.models.files import find_weights

    state = network().state_dict()
    names = sorted(state)
    parts = {"model-00001-of-00002.safetensors": names[:5], "model-00002-of-00002.safetensors": names[5:]}
    for file, own in parts.items():
        save_file({name: state[name] for name in own}, tmp_path / file)
    index = tmp_path / "model.safetensors.index.json"
    places = {name: file for file, own in parts.items() for name in own}
    index.write_text(json.dumps({"metadata": {}, "weight_map": places}))
    target = network(2)
    load(target, find_weights(tmp_path if given == "folder" else index))
    assert holds(target, state)

    index.write_text(json.dumps({"weight_map": places | {names[0]: "model-00003-of-00003.safetensors"}}))
    with pytest.raises(StkdError, match=r"model-00003-of-00003\.safetensors is missing"):
        load(target, index)
    index.write_text(json.dumps({"weight_map": places | {"other": "model-00001-of-00002.safetensors"}}))
    with pytest.raises(StkdError, match="lacks other"):
        load(target, index)
    index.write_text(json.dumps({"weight_map": places | {names[0]: "../secret.pth"}}))
    with pytest.raises(StkdError, match="outside of its folder"):
        load(target, index)
    for broken in ("{", "[]", '{"weight_map": 3}'):
        index.write_text(broken)
        with pytest.raises(StkdError, match="is not an index of shards"):
            load(target, index)


def test_whole_models_and_programs_get_a_line_about_the_docs(tmp_path: Path) -> None:
    for content in (network(), {"model": network(), "best_acc": torch.tensor(1.0)}, {"epoch": 1, "net": network()}):
        torch.save(content, tmp_path / "whole.pth")
        with pytest.raises(StkdError, match=r"holds a whole model.*docs/models\.md, 'A whole model in a file'"):
            load(network(2), tmp_path / "whole.pth")
    traced = torch.jit.trace(network().eval(), torch.zeros(1, 3, 8, 8), check_trace=False)
    torch.jit.save(traced, tmp_path / "traced.pt")
    with pytest.raises(StkdError, match=r"TorchScript archive.*docs/models\.md"):
        load(network(2), tmp_path / "traced.pt")
    page = (Path(__file__).parents[2] / "docs" / "models.md").read_text()
    assert "## A whole model in a file\n" in page


@pytest.mark.parametrize(
    "beside",
    [
        {"class_to_idx": {"dog": 2, "ant": 0, "cat": 1}},
        {"classes": ["ant", "cat", "dog"]},
        {"meta": {"CLASSES": ("ant", "cat", "dog"), "epoch": 1}},
        {"class_names": ["ant", "cat", "dog"]},
    ],
    ids=str,
)
def test_class_names_beside_the_weights(beside: dict[str, Any], tmp_path: Path) -> None:
    torch.save({"state_dict": network().state_dict(), **beside}, tmp_path / "x.pth")
    assert classes_in(tmp_path / "x.pth") == ("ant", "cat", "dog")


@pytest.mark.parametrize(
    "beside",
    [{}, {"classes": 10}, {"classes": [1, 2]}, {"classes": ["a", "a"]}, {"class_to_idx": {"a": 1, "b": 3}}],
    ids=str,
)
def test_what_are_no_class_names(beside: dict[str, Any], tmp_path: Path) -> None:
    torch.save({"state_dict": network().state_dict(), **beside}, tmp_path / "x.pth")
    assert classes_in(tmp_path / "x.pth") is None
