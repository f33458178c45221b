"""What the command asks of its process: asked before torch is there, and never against the user."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

FAULTS = """
import ctypes, resource, sys
import numpy as np
ctypes.CDLL(None).prctl(41, 1, 0, 0, 0)  # pages of one size, also where the system would join them
if "tune" in sys.argv:
    from stkd.runtime import tune_process
    tune_process()
    assert "torch" not in sys.modules
def step():
    kept = [np.ones(2**20, np.float32) for _ in range(16)]  # like activations until the backward pass
for _ in range(3):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(*arguments: str, **variables: str) -> int:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    done = subprocess.run(
        [sys.executable, "-c", FAULTS, *arguments], env={**env, **variables}, capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="settings of glibc's malloc")
def test_memory_that_a_step_frees_is_there_for_the_next() -> None:
    assert page_faults("tune") < 100
    assert page_faults() > 1000  # 192 MiB again from the system
    assert page_faults("tune", MALLOC_TRIM_THRESHOLD_="131072") > 1000  # the user's choice stands


def test_settings_of_the_user_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    from stkd.runtime import tune_process

    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    tune_process()
    assert os.environ["GOMP_SPINCOUNT"] == "7"
    monkeypatch.delenv("GOMP_SPINCOUNT")
    tune_process()
    assert os.environ["GOMP_SPINCOUNT"] == "10000"
