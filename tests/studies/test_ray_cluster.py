"""A Ray cluster of two nodes, both on this machine: what each of its nodes makes is what is made here."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from stkd import models
from stkd.cli.main import main
from stkd.studies.compare.recipe import Comparison
from stkd.studies.compare.study import compare

pytestmark = pytest.mark.services

PLAIN = {
    "epochs": 2,
    "train_images": 128,
    "precision": "32",
    "accelerator": "cpu",
    "compile": "none",
    "preflight": "off",
}

PLUGIN = """
import os, ray
from pathlib import Path

if os.getpid() != {driver}:
    (Path(__file__).parent / ray.get_runtime_context().get_node_id()).touch()
"""
"""Leaves a file for each node that makes a run."""


@pytest.fixture(scope="module")
def cluster(cache_of_the_session: Path) -> Iterator[Any]:
    """Two nodes of one CPU each, found by RAY_ADDRESS."""
    pytest.importorskip("ray", reason="Ray is not installed (stkd[ray])")
    import ray
    from ray.cluster_utils import Cluster

    os.environ.setdefault("RAY_worker_niceness", "0")  # else they starve beside other tests
    node = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "include_dashboard": False}
    made = Cluster(initialize_head=True, head_node_args={**node, "resources": {"first": 1}})
    try:
        made.add_node(**node, resources={"second": 1})
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("RAY_ADDRESS", made.address)
            yield made
    finally:
        ray.shutdown()
        made.shutdown()


def test_runs_of_a_comparison_are_made_on_both_nodes(cluster: Any, tmp_path: Path) -> None:
    nodes = tmp_path / "nodes"
    nodes.mkdir()
    (nodes / "plugin.py").write_text(PLUGIN.format(driver=os.getpid()))
    recipe = Comparison.of(
        {
            "data": "digits",
            "options": {**PLAIN, "plugin": str(nodes / "plugin.py")},
            "teacher": {"model": "cnn4", **PLAIN},
            "students": ["cnn2"],
            "methods": ["ce", "kd"],
            "seeds": 1,
        }
    )
    found = compare(recipe, tmp_path / "ray", jobs=2, backend="ray")
    assert len(list(nodes.glob("[0-9a-f]*"))) == 2
    here = compare(recipe, tmp_path / "here", jobs=1)
    for one, two in zip(found["cells"], here["cells"], strict=True):
        assert len(one["runs"]) == 1
        assert one["failed"] == []
        for ours, theirs in zip(one["runs"], two["runs"], strict=True):
            assert ours["test"] == pytest.approx(theirs["test"], rel=1e-5)


def test_nodes_share_a_tuning_study_and_a_cache(cluster: Any, tmp_path: Path) -> None:
    pytest.importorskip("optuna", reason="Optuna is not installed (stkd[tune])")
    import ray

    torch.manual_seed(3)
    torch.save(models.create("cnn4", num_classes=10, in_channels=1).state_dict(), tmp_path / "teacher.pth")
    words = ["--data", "digits", "--teacher", "cnn4", "--teacher-weights", str(tmp_path / "teacher.pth")]
    words += [word for name, value in PLAIN.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    tuning = [
        "tune",
        *words,
        "--student",
        "cnn2",
        "--search",
        "alpha",
        "--trials",
        "3",
        "--out",
        str(tmp_path / "tuned"),
    ]

    def command(*words: str) -> tuple[int, str]:
        return main(list(words)), ray.get_runtime_context().get_node_id()

    ray.init(address=cluster.address, log_to_driver=False)
    on = {name: ray.remote(num_cpus=1, max_retries=0, resources={name: 1})(command) for name in ("first", "second")}
    workers = ray.get([on[name].remote(*tuning) for name in on], timeout=300)
    cached = ray.get(on["second"].remote("cache", *words, "--out", str(tmp_path / "cache")), timeout=300)
    ray.shutdown()

    assert [code for code, _ in (*workers, cached)] == [0, 0, 0]
    assert len({node for _, node in workers}) == 2
    results = sorted(tmp_path.glob("tuned/trial-*/result.json"))
    assert len(list(tmp_path.glob("tuned/trial-*"))) == 3
    assert len(results) >= 2  # others may have been pruned
    assert all(json.loads(file.read_text())["val"]["top1"] > 0 for file in results)
    assert main(["cache", *words, "--out", str(tmp_path / "own")]) == 0
    shards = sorted((tmp_path / "own").glob("epoch-*.npy"))
    assert len(shards) == PLAIN["epochs"]
    assert all(shard.read_bytes() == (tmp_path / "cache" / shard.name).read_bytes() for shard in shards)
