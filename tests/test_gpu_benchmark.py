"""The benchmark of a GPU, small and on whatever device there is: it runs from end to end, and no part is lost."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_every_part_is_in_the_result(tmp_path: Path) -> None:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    command = ["bash", ROOT / "benchmarks" / "gpu.sh", "digits", tmp_path / "work", tmp_path / "gpu.json", "--tiny"]
    done = subprocess.run(command, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "gpu.json").read_text())
    found = {part: result[part]["found"] for part in ("methods", "graph", "speed", "protocol")}
    failed = {name: run["error"] for name, run in found["methods"].items() if "error" in run}
    assert set(failed) <= {"fsp"}, failed  # which wants a student as wide as the teacher
    assert len(found["methods"]) > 25
    assert found["speed"]["cnn4 -> cnn2"]["tera_operations_per_s"] > 0
    for unit in ("kd", "stkd"):
        students = found["protocol"]["units"][unit]["students"]
        assert len(students) == 3
        assert all(math.isfinite(one["nll"]) for one in students.values())
