"""The batch scripts of docs/cluster.md, with stand-ins of srun and scontrol."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.services

DOCUMENT = Path(__file__).parents[2] / "docs" / "cluster.md"

SRUN = """#!/bin/bash
# As many tasks on this machine as asked for, else two; a signal is handed on, the highest exit code is its own.
number=2
while [[ $1 == --* ]]; do
    [[ $1 == --ntasks=* ]] && number=${1#--ntasks=}
    shift
done
for ((task = 0; task < number; task++)); do
    SLURM_PROCID=$task SLURM_LOCALID=$task SLURM_NODEID=0 SLURM_STEP_ID=0 SLURM_NTASKS=$number \\
        SLURM_STEP_NUM_TASKS=$number SLURM_STEP_TASKS_PER_NODE=$number SLURM_STEP_NODELIST=here "$@" &
    tasks+=($!)
done
trap 'kill -TERM "${tasks[@]}"' TERM
highest=0
for task in "${tasks[@]}"; do
    wait "$task"
    code=$?
    while [ $code -gt 128 ] && kill -0 "$task" 2>/dev/null; do
        wait "$task"
        code=$?
    done
    ((code > highest)) && highest=$code
done
exit $highest
"""

OPTIONS = {
    "data": "digits",
    "student": "cnn4",
    "teacher": "cnn4",
    "method": "ce",
    "epochs": 600,
    "train_images": 128,
    "eval_every": 600,
    "accelerator": "cpu",
    "precision": "32",
    "compile": "none",
    "preflight": "off",
    "checkpoint_epochs": 600,
}


def script(title: str) -> str:
    (found,) = re.findall(rf'```sh title="{re.escape(title)}"\n(.*?)```', DOCUMENT.read_text(), re.DOTALL)
    return str(found)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Of a job of Slurm, in which `srun`, `scontrol` and `stkd` are those of a folder."""
    programs = tmp_path / "bin"
    programs.mkdir()
    contents = {
        "srun": SRUN,
        "scontrol": f'#!/bin/bash\necho "$@" >> {tmp_path}/scontrol.log\n',
        "stkd": f'#!/bin/bash\nexec {sys.executable} -m stkd "$@"\n',
    }
    for name, text in contents.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    job = {"SLURM_JOB_ID": str(os.getpid()), "SLURM_NTASKS": "2", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}
    return {**os.environ, **job, "OMP_NUM_THREADS": "1", "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}


def test_a_job_whose_time_is_over_is_requeued_and_goes_on(tmp_path: Path, environment: dict[str, str]) -> None:
    (tmp_path / "distill.sbatch").write_text(script("distill.sbatch"))
    (tmp_path / "distill.yaml").write_text(yaml.safe_dump(OPTIONS))
    log, run = tmp_path / "scontrol.log", tmp_path / "run"
    given = {"cwd": tmp_path, "env": {**environment, "RUN": "run"}, "stderr": subprocess.PIPE, "text": True}
    job = subprocess.Popen(["bash", "distill.sbatch"], **given)  # type: ignore[call-overload]
    while not (run / "metrics.jsonl").exists():
        assert job.poll() is None, job.stderr.read()
        time.sleep(0.1)
    job.send_signal(signal.SIGTERM)
    _, said = job.communicate(timeout=60)
    assert job.returncode == 143, said
    assert "stopped by SIGTERM" in said
    assert log.read_text() == f"requeue {environment['SLURM_JOB_ID']}\n"
    assert (run / "checkpoints" / "last.pt").exists()
    assert len((run / "metrics.jsonl").read_text().splitlines()) < 600
    again = subprocess.run(["bash", "distill.sbatch"], **given, check=False, timeout=300)  # type: ignore[call-overload]
    assert again.returncode == 0, again.stderr
    assert log.read_text().count("\n") == 1
    assert json.loads((run / "result.json").read_text())["epochs"] == 600


def test_tasks_of_an_array_share_a_comparison(tmp_path: Path, environment: dict[str, str]) -> None:
    (tmp_path / "compare.sbatch").write_text(script("compare.sbatch"))
    recipe = {
        "data": "digits",
        "teacher": {"model": "cnn4", "epochs": 1},
        "students": ["cnn2"],
        "methods": ["ce", "kd"],
        "seeds": 1,
        "options": {"epochs": 1, "accelerator": "cpu", "precision": "32", "compile": "none", "preflight": "off"},
    }
    (tmp_path / "comparison.yaml").write_text(yaml.safe_dump(recipe))
    tasks = [
        subprocess.Popen(
            ["bash", "compare.sbatch"],
            cwd=tmp_path,
            env={**environment, "OUT": "out", "SLURM_ARRAY_TASK_ID": str(task)},
            stdout=subprocess.DEVNULL,
        )
        for task in range(2)
    ]
    assert [task.wait(300) for task in tasks] == [0, 0]
    cells = json.loads((tmp_path / "out" / "comparison.json").read_text())["cells"]
    assert [len(cell["runs"]) for cell in cells] == [1, 1]
