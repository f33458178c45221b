"""Which devices are quick in bf16."""

from __future__ import annotations

import pytest
import torch

from stkd.core.devices import fast_bfloat16


@pytest.mark.parametrize(
    ("instructions", "used", "fast"),
    [
        ({"avx512_bf16": True}, "AVX512", True),
        ({"avx512_bf16": True, "amx_bf16": True}, "AVX512", True),
        ({"avx512_bf16": False, "amx_bf16": False}, "AVX512", False),
        ({"avx512_bf16": True}, "AVX2", False),
        ({"avx512_bf16": True}, "DEFAULT", False),
        ({}, "AVX2", False),
    ],
)
def test_bf16_needs_instructions_that_pytorch_uses(
    instructions: dict[str, bool], used: str, fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: instructions)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: used)
    assert fast_bfloat16(torch.device("cpu")) == fast
