"""Wherever `stkd tune` is killed, it goes on to the same trials."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("optuna")


@pytest.mark.slow
def test_every_kill_resumes_to_the_same_trials(tmp_path: Path) -> None:
    """Between ask and the end of a trial there is no point where a kill loses it, the defaults or a pruning."""
    command = [sys.executable, str(Path(__file__).with_name("killed_tune.py")), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["kills"] + told["chain"] >= 40
    assert "PRUNED" in told["states"]
    assert told["defaults"] == {"alpha": 1.0, "temperature": 4.0}
