"""All reference cases, value and gradient, to 1e-9 relative in float64."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from stkd import losses
from stkd.losses.crd import CRDMemory
from stkd.losses.vid import VIDRegressor

Arrays = dict[str, Tensor]
FILE = np.load(Path(__file__).parents[1] / "data" / "losses.npz", allow_pickle=False)


def arrays(case: str) -> Arrays:
    names = [key.removeprefix(f"{case}/") for key in FILE.files if key.startswith(f"{case}/")]
    return {name: torch.tensor(FILE[f"{case}/{name}"]) for name in names}


def logits(loss: Callable[..., Tensor], **options: float) -> Callable[[Arrays], Tensor]:
    return lambda a: loss(a["student"], a["teacher"], *([a["labels"]] if "labels" in a else []), **options)


def features(loss: Callable[..., Tensor]) -> Callable[[Arrays], Tensor]:
    return lambda a: loss([a["student0"], a["student1"]], [a["teacher0"], a["teacher1"]])


def last(loss: Callable[..., Tensor]) -> Callable[[Arrays], Tensor]:
    return lambda a: loss(a["student1"], a["teacher1"])


def load(module: torch.nn.Module, a: Arrays) -> torch.nn.Module:
    parameters = {k.removeprefix("param_"): v for k, v in a.items() if k.startswith("param_")}
    module.double().load_state_dict(parameters)
    return module


def vid(a: Arrays) -> Tensor:
    return load(VIDRegressor(8, 12), a)(a["student"], a["teacher"])


def crd_memory(a: Arrays) -> CRDMemory:
    # The reference keeps its temperature in float32; 0.07 itself is 4e-9 off.
    temperature = float(np.float32(0.07))
    memory = CRDMemory(24, 40, num_samples=50, dim=16, temperature=temperature).double()
    memory.student_embedding.load_state_dict({k: a[f"param_embed_s.linear.{k}"] for k in ("weight", "bias")})
    memory.teacher_embedding.load_state_dict({k: a[f"param_embed_t.linear.{k}"] for k in ("weight", "bias")})
    memory.student_bank.copy_(a["memory_student"])
    memory.teacher_bank.copy_(a["memory_teacher"])
    return memory


CASES: dict[str, Callable[[Arrays], Tensor]] = {
    "kd_T1": logits(losses.kd, temperature=1),
    "kd_T4": logits(losses.kd, temperature=4),
    "kd_T7": logits(losses.kd, temperature=7),
    "kd_ls_T2": logits(losses.kd, temperature=2, standardize=True),
    "dkd_a1_b8_T4": logits(losses.dkd, alpha=1, beta=8, temperature=4),
    "dkd_a1_b2_T2": logits(losses.dkd, alpha=1, beta=2, temperature=2),
    "dist_T1": logits(losses.dist, temperature=1),
    "dist_T4": logits(losses.dist, temperature=4),
    "nkd": logits(losses.nkd, gamma=1.5, temperature=1),
    "mlkd_class_T4": logits(losses.mlkd_class, temperature=4),
    "mlkd_batch_T4": logits(losses.mlkd_batch, temperature=4),
    "rkd": logits(losses.rkd),
    "pkt": logits(losses.pkt),
    "cc": logits(losses.cc),
    "at": features(losses.at),
    "sp": features(losses.sp),
    "nst": features(losses.nst),
    "fsp": features(losses.fsp),
    "ab": features(losses.ab),
    "hcl": features(losses.reviewkd),
    "ft": last(losses.ft),
    "hint": last(losses.fitnet),
    "ofd": lambda a: losses.ofd(a["student1"], a["teacher1"], margin=a["margin"]),
    "vid": vid,
    "crd": lambda a: crd_memory(a)(a["student"], a["teacher"], a["contrast_index"]),
}


def test_every_case_of_the_file_is_tested() -> None:
    assert set(CASES) == set(json.loads(str(FILE["meta.json"])))


@pytest.mark.parametrize("case", CASES)
def test_value_and_gradient(case: str) -> None:
    a = arrays(case)
    gradients = {name.removeprefix("grad_"): value for name, value in a.items() if name.startswith("grad_")}
    for name in gradients:
        a[name].requires_grad_()
    loss = CASES[case](a)
    loss.backward()
    torch.testing.assert_close(loss.detach(), a["loss"], rtol=1e-9, atol=0)
    for name, expected in gradients.items():
        # Relative to the largest entry: those that are zero up to rounding have no digits to agree in.
        torch.testing.assert_close(a[name].grad, expected, rtol=1e-9, atol=1e-9 * float(expected.abs().max()))


def test_crd_moves_the_memories_as_the_reference_does() -> None:
    a = arrays("crd")
    memory = crd_memory(a)
    memory(a["student"], a["teacher"], a["contrast_index"])
    torch.testing.assert_close(memory.student_bank, a["memory_student_after"], rtol=1e-9, atol=0)
    torch.testing.assert_close(memory.teacher_bank, a["memory_teacher_after"], rtol=1e-9, atol=0)
