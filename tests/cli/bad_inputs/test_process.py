from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    ["train --model cnn3", "evaluate {nowhere}", "distil", "list methods --jsn"],
)
def test_one_line_from_a_process(command: str, place: Any) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "stkd", *place.words(command)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("stkd: error: ")
    assert done.stderr.count("\n") == 1
