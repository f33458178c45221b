"""A Ray cluster of two nodes, on this machine: a comparison on both, and a cache and a study by tasks of Ray."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stkd.studies.compare.recipe import Comparison
from stkd.studies.compare.study import compare

ray = pytest.importorskip("ray")
cluster_utils = pytest.importorskip("ray.cluster_utils")

pytestmark = [pytest.mark.services, pytest.mark.slow]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Of a cluster of two nodes with one CPU each."""
    cluster = cluster_utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
        yield cluster.address
    finally:
        ray.shutdown()
        cluster.shutdown()


def test_a_comparison_on_two_nodes(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    recipe: dict[str, Any] = {
        "data": "digits",
        "teacher": {"model": "cnn4", "epochs": 1},
        "students": ["cnn2"],
        "methods": ["ce", "kd"],
        "seeds": 2,
        "options": {"epochs": 1, "accelerator": "cpu", "precision": "32", "compile": "none", "preflight": "off"},
    }
    made = compare(Comparison.of(recipe), tmp_path / "out", backend="ray")
    assert [len(cell["runs"]) for cell in made["cells"]] == [2, 2]
    assert not any(cell["failed"] for cell in made["cells"])
    assert len(list((tmp_path / "out").rglob("result.json"))) == 5


def test_a_cache_and_a_study_by_tasks(address: str, tmp_path: Path, teacher_run: Path) -> None:
    """What is one process each, wherever Ray puts it: two workers of a study share its storage."""
    pytest.importorskip("optuna", reason="Optuna is not installed (stkd[tune])")
    short = ["--data", "digits", "--teacher-weights", str(teacher_run), "--train-images", "64", "--epochs", "1"]
    short += ["--accelerator", "cpu", "--precision", "32", "--compile", "none", "--preflight", "off"]
    study = ["tune", *short, "--student", "cnn2", "--search", "lr", "--trials", "3", "--out", str(tmp_path / "study")]
    cache = ["cache", *short, "--out", str(tmp_path / "cache")]
    ray.init(address=address, log_to_driver=False)

    @ray.remote(num_cpus=1, scheduling_strategy="SPREAD")
    def stkd(words: list[str]) -> tuple[int, str, str]:
        done = subprocess.run(
            [sys.executable, "-m", "stkd", *words],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        return done.returncode, done.stderr, ray.get_runtime_context().get_node_id()

    found = ray.get([stkd.remote(words) for words in (cache, study, study)])
    assert [code for code, _, _ in found] == [0, 0, 0], found
    assert len({node for _, _, node in found}) == 2
    assert json.loads((tmp_path / "cache" / "header.json").read_text())["epochs"] == 1
    assert len(list((tmp_path / "study").glob("trial-*/result.json"))) >= 3
    learnt = ["distill", *short[:2], *short[4:], "--student", "cnn2", "--teacher-cache", str(tmp_path / "cache")]
    code, error, _ = ray.get(stkd.remote([*learnt, "--out", str(tmp_path / "run")]))
    assert code == 0, error
