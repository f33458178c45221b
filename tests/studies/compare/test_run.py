"""A whole comparison: its record agrees with its runs, it goes on where it stopped, and what fails is shown."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from stkd.core.config import DistillConfig
from stkd.core.locks import lock_folder
from stkd.runs.evaluation import evaluate_run
from stkd.studies.compare import workers
from stkd.studies.compare.grid import Task, grid_of
from stkd.studies.compare.progress import Progress
from stkd.studies.compare.recipe import Comparison
from stkd.studies.compare.study import compare
from stkd.studies.statistics import best, holm, paired_difference


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory, recipe_file: Path) -> Path:
    """A finished comparison."""
    from stkd.cli.main import main

    folder = tmp_path_factory.mktemp("compare") / "out"
    assert main(["compare", str(recipe_file), "--out", str(folder), "--jobs", "1", "--ema", "0.5"]) == 0
    return folder


def record(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "comparison.json").read_text())
    return found


def result(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "result.json").read_text())
    return found


def test_record_has_what_the_runs_have(out: Path) -> None:
    found = record(out)
    assert found["schema"] == 2
    assert [c["method"] for c in found["cells"]] == ["ce", "kd", "stkd"]
    for cell in found["cells"]:
        assert [r["seed"] for r in cell["runs"]] == [0, 1]
        assert cell["failed"] == []
        made = [result(out / r["path"]) for r in cell["runs"]]
        assert [r["test"] for r in cell["runs"]] == [m["test"] for m in made]
        assert [r["ema"] for r in cell["runs"]] == [m["ema"]["test"] for m in made]
        assert cell["mean"]["top1"] == pytest.approx(sum(m["test"]["top1"] for m in made) / 2)
        assert cell["std"]["nll"] == pytest.approx(abs(made[0]["test"]["nll"] - made[1]["test"]["nll"]) / 2**0.5)
        assert cell["mix"] == made[0]["mix"]
        assert {r["images_seen"] for r in cell["runs"]} == {256}, "the same budget for all"
        assert cell["mean"]["teacher_passes"] == (0 if cell["method"] == "ce" else 256)
    assert found["cells"][2]["mix"]["alpha"] == 0.5
    assert found["protocol"]["options"]["ema"] == 0.5


def test_all_arms_had_the_same_engines(out: Path) -> None:
    shared = json.loads((out / "digits" / "cnn2" / "engines.json").read_text())
    for run in out.glob("digits/cnn2/*/seed-*"):
        own = json.loads((run / "env.json").read_text())["engines"]
        assert (own["precision"], own["student"]) == (shared["precision"], shared["student"])
        assert own["teachers"] == ([] if run.parent.name == "ce" else shared["teachers"])


def test_sizes_are_those_of_the_saved_models(out: Path) -> None:
    found = record(out)
    scores = evaluate_run(out / found["cells"][1]["runs"][0]["path"])
    for entry in (found["students"]["cnn2"], found["cells"][1]):
        assert (entry["parameters"], entry["macs"]) == (scores["params"], scores["macs"])
    teacher = found["teachers"]["digits"]
    assert teacher["path"] == "digits/teacher"
    assert teacher["test"] == result(out / "digits" / "teacher")["test"]
    assert (teacher["model"], teacher["parameters"]) == ("cnn4", evaluate_run(out / "digits" / "teacher")["params"])


def test_differences_are_paired_by_seed_and_corrected_together(out: Path) -> None:
    cells = {c["method"]: c for c in record(out)["cells"]}
    assert cells["kd"]["paired"] is None
    for score in ("top1", "nll"):
        values = {m: {r["seed"]: r["test"][score] for r in c["runs"]} for m, c in cells.items()}
        wanted = {m: paired_difference(values[m], values["kd"]) for m in ("ce", "stkd")}
        known = {m: d for m, d in wanted.items() if d is not None}  # None where both seeds differ by the same number
        corrected = dict(zip(known, holm([d.p for d in known.values()]), strict=True))
        for method in wanted:
            stored = (cells[method]["paired"] or {}).get(score)
            assert stored == ({**vars(known[method]), "p_corrected": corrected[method]} if method in known else None)
    top1 = {m: {r["seed"]: r["test"]["top1"] for r in c["runs"]} for m, c in cells.items()}
    assert record(out)["best"] == [{"data": "digits", "student": "cnn2", "method": best(top1)}]


def test_tables_name_every_method_and_its_mean(out: Path) -> None:
    for file, line in (("table.md", "| {} | {:.2f} ± "), ("table.tex", "{} & {:.2f} $\\pm$ ")):
        text = (out / file).read_text()
        for cell in record(out)["cells"]:
            assert line.format(cell["method"], 100 * cell["mean"]["top1"]) in text


def test_page_shows_every_method(out: Path) -> None:
    page = (out / "report.html").read_text()
    assert all(cell["method"] in page for cell in record(out)["cells"])


def test_second_call_makes_nothing_and_says_the_same(out: Path, recipe_file: Path, stkd: Any) -> None:
    before = record(out)
    stamps = {p: p.stat().st_mtime_ns for p in out.rglob("result.json")}
    answer = stkd("compare", recipe_file, "--out", out, "--ema", "0.5")
    assert answer.code == 0
    assert {p: p.stat().st_mtime_ns for p in out.rglob("result.json")} == stamps
    assert record(out)["cells"] == before["cells"]
    assert "teacher (cnn4)" in answer.out
    answer = stkd("compare", recipe_file, "--out", out)
    assert answer.code == 2
    assert "was started with ema=0.5, now ema=None" in answer.err


def test_flags_alone(teacher_run: Path, tmp_path: Path, stkd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    answer = stkd(
        *("compare", "--data", "digits", "--teacher-weights", teacher_run.name),
        *("--methods", "kd,stkd:beta=2,weight=0.5"),
        *("--students", "cnn2,cnn4", "--seeds", "1", "--epochs", "1", "--train-images", "64", "--precision", "32"),
        *("--out", tmp_path / "out", "--jobs", "1"),
    )
    assert answer.code == 0, answer.err
    found = record(tmp_path / "out")
    assert [(c["student"], c["method"]) for c in found["cells"]] == [
        (student, method) for student in ("cnn2", "cnn4") for method in ("kd", "stkd-beta=2,weight=0.5")
    ]
    assert found["cells"][1]["paired"] is None, "one seed says nothing about differences"
    assert found["cells"][0]["std"]["top1"] is None
    assert found["teachers"]["digits"]["path"] == f"../{teacher_run.name}", "found wherever the page is made"
    assert "No predictions of" not in (tmp_path / "out" / "report.html").read_text()
    assert not (tmp_path / "out" / "digits" / "teacher").exists()


def test_a_run_that_fails_is_shown_and_the_others_go_on(tiny: dict[str, Any], tmp_path: Path, stkd: Any) -> None:
    tiny["methods"]["wild"] = {"method": "ce", "lr": 1e30}
    (tmp_path / "r.yaml").write_text(json.dumps(tiny))
    answer = stkd("compare", tmp_path / "r.yaml", "--out", tmp_path / "out", "--jobs", "1")
    assert answer.code == 1
    assert re.search(r"Failed: digits cnn2 wild, seed 1: the \w+ became NaN or infinite", answer.out)
    cells = {c["method"]: c for c in record(tmp_path / "out")["cells"]}
    assert [f["seed"] for f in cells["wild"]["failed"]] == [0, 1]
    assert (cells["wild"]["runs"], cells["wild"]["mean"], cells["wild"]["paired"]) == ([], {}, None)
    assert len(cells["stkd"]["runs"]) == 2
    assert "| wild | failed |" in (tmp_path / "out" / "table.md").read_text()


def test_without_its_teacher_a_run_is_not_tried(tiny: dict[str, Any], tmp_path: Path) -> None:
    tiny["teacher"]["lr"] = 1e30
    found = compare(Comparison.of(tiny), tmp_path, jobs=1)
    cells = {c["method"]: c for c in found["cells"]}
    assert len(cells["ce"]["runs"]) == 2
    assert all(f["why"].startswith("its teacher failed: the ") for f in cells["kd"]["failed"] + cells["stkd"]["failed"])
    assert found["teachers"] == {}


def test_mistake_in_the_library_fails_one_run(tiny: dict[str, Any], tmp_path: Path, monkeypatch: Any) -> None:
    from stkd import api

    distill = api.run_distill

    def broken(config: DistillConfig, **options: Any) -> Any:
        if config.method == "stkd" and config.seed == 1:
            raise ValueError("no such\nthing")
        return distill(config, **options)

    monkeypatch.setattr(api, "run_distill", broken)
    found = compare(Comparison.of(tiny), tmp_path, jobs=1)
    assert found["cells"][2]["failed"] == [{"seed": 1, "why": "ValueError: no such thing"}]
    assert found["cells"][2]["paired"] is None
    assert len(found["cells"][2]["runs"]) == 1


def test_what_another_process_is_making_is_taken_from_it(
    tiny: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The other runs are made meanwhile."""
    config = grid_of(Comparison.of(tiny), tmp_path).cells[0].runs[0].config
    lock, said, made = lock_folder(config.out), list[str](), list[int]()
    told = Progress.ended

    def ended(self: Progress, task: Task, why: str | None) -> None:
        said.append(task.title)
        told(self, task, why)
        if len(said) == 6:
            lock.release()
            assert workers.attempt(config) is None
            made.append((config.out / "student.safetensors").stat().st_mtime_ns)

    monkeypatch.setattr(Progress, "ended", ended)
    with caplog.at_level("INFO", "stkd"):
        result = compare(Comparison.of(tiny), tmp_path, jobs=1)
    assert [(len(c["runs"]), c["failed"]) for c in result["cells"]] == [(2, [])] * 3
    waiting = [line for line in caplog.messages if "waiting for another process" in line]
    assert waiting == ["digits cnn2 ce, seed 0: waiting for another process that is making it"], "it is said once"
    assert (len(said), said[-1]) == (7, "digits cnn2 ce, seed 0")
    assert made == [(config.out / "student.safetensors").stat().st_mtime_ns], "it is not made again"


def test_what_another_process_leaves_unfinished_is_made(tiny: dict[str, Any], tmp_path: Path) -> None:
    """A teacher too, for which all others wait."""
    tiny |= {"methods": {"kd": "kd"}, "seeds": 1}
    lock = lock_folder(tmp_path / "digits" / "teacher")

    class Release(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lock.release()

    handler, logger = Release(), logging.getLogger("stkd.studies.compare.schedule")
    logger.addHandler(handler)
    level = logger.level
    logger.setLevel(logging.INFO)
    try:
        assert len(compare(Comparison.of(tiny), tmp_path, jobs=1)["cells"][0]["runs"]) == 1
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


# ---- several processes, killed and stopped ----


LONGER = ("--epochs", "20", "--checkpoint-minutes", "0.0005")


def command(out: Path, recipe: Path) -> list[str]:
    return [sys.executable, "-m", "stkd", "compare", str(recipe), "--out", str(out), "--jobs", "2", *LONGER]


def started(argv: list[str]) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def wait_for(condition: Any, process: subprocess.Popen[str]) -> None:
    while not condition():
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)


def half_done(out: Path) -> bool:
    """Whether a run is at work while another has ended."""
    begun = {p.parent.parent for p in out.glob("digits/cnn2/*/*/checkpoints/last.pt")}
    ended = {p.parent for p in out.glob("digits/cnn2/*/*/result.json")}
    return bool(begun - ended) and bool(ended)


def weights(out: Path) -> dict[str, bytes]:
    return {p.relative_to(out).as_posix(): p.read_bytes() for p in out.rglob("*.safetensors")}


@pytest.mark.services
def test_killed_and_resumed(recipe_file: Path, tmp_path: Path, stkd: Any) -> None:
    whole, out = tmp_path / "whole", tmp_path / "out"
    process = started(command(out, recipe_file))
    wait_for(lambda: half_done(out), process)
    process.kill()
    process.communicate()  # its workers hold the pipes until they have noticed and written their checkpoints
    assert not (out / "comparison.json").exists()
    again = stkd("compare", recipe_file, "--out", out, "--jobs", "1", *LONGER)
    assert again.code == 0, again.err
    assert "of 7 runs were finished before" in again.err
    assert "[7/7]" in again.err
    assert stkd("compare", recipe_file, "--out", whole, "--jobs", "1", *LONGER).code == 0
    assert weights(out) == weights(whole)
    assert _scores(out) == _scores(whole)


def _scores(out: Path) -> list[Any]:
    return [(c["method"], [(r["seed"], r["test"]) for r in c["runs"]], c["paired"]) for c in record(out)["cells"]]


@pytest.mark.services
def test_signal(recipe_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = started(command(out, recipe_file))
    wait_for(lambda: half_done(out), process)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate()
    assert process.returncode == 143, err
    last = err.splitlines()[-1]
    assert re.fullmatch(r"stkd: stopped after \d of 7 runs; run the same command again to go on", last), err
    assert "Traceback" not in err


DEAF = """
import signal
import time
from pathlib import Path

import torch
from torch import nn

from stkd.models.registry import register

mark, heard = Path("MARK"), []


class Deaf(nn.Sequential):
    def forward(self, images):
        if torch.is_grad_enabled() and not heard:
            signal.signal(signal.SIGTERM, lambda *_: heard.append(True))
            mark.touch()
            while not heard:
                time.sleep(0.01)
        return super().forward(images)


@register("deaf", "keeps the first signal to itself")
def deaf(*, num_classes, in_channels):
    return Deaf(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(16 * in_channels, num_classes))
"""


@pytest.mark.services
def test_process_of_a_run_that_hears_no_signal_ends_with_it(tmp_path: Path) -> None:
    """As when the signal comes after the last step, too late to stop at."""
    plugin, mark = tmp_path / "deaf.py", tmp_path / "mark"
    plugin.write_text(DEAF.replace("MARK", mark.as_posix()))
    pool = workers.Processes(1, devices=[])
    try:
        given = {"data": "digits", "student": "deaf", "method": "ce", "train_images": 64, "precision": "32"}
        pool.start(DistillConfig(**given, epochs=1, out=tmp_path / "a", plugin=plugin))
        while not mark.exists():
            time.sleep(0.01)
        pool.stop()
        assert (tmp_path / "a" / "result.json").exists()
    finally:
        pool.close()


GIVEN = {"data": "digits", "student": "cnn2", "method": "ce", "train_images": 64, "precision": "32"}
ENDLESS = 100_000  # epochs


@pytest.mark.services
def test_a_process_that_dies_fails_its_run_alone(tmp_path: Path) -> None:
    """The process beside it goes on, and another takes its place."""
    pool = workers.Processes(2, devices=[])
    try:
        killed = DistillConfig(**GIVEN, epochs=ENDLESS, out=tmp_path / "a")
        beside = DistillConfig(**GIVEN, epochs=ENDLESS, out=tmp_path / "b")
        pool.start(killed)
        pool.start(beside)
        while not all((tmp_path / name / "checkpoints" / "last.pt").exists() for name in "ab"):
            time.sleep(0.01)
        os.kill(pool._pools[0][1].result(), signal.SIGKILL)
        died = workers.Failure("its process died without a word; is the memory full?")
        assert list(pool.wait(600)) == [(killed, died)]
        short = DistillConfig(**GIVEN, epochs=1, out=tmp_path / "c")
        pool.start(short)
        assert list(pool.wait(600)) == [(short, None)]
        pool.stop()
        ((config, failure),) = pool.wait(0)
        assert (config, failure) == (beside, workers.Failure("stopped"))
    finally:
        pool.close()


@pytest.mark.services
def test_a_process_that_dies_between_two_runs_is_replaced(tmp_path: Path) -> None:
    pool = workers.Processes(1, devices=[])
    try:
        for name in "ab":
            config = DistillConfig(**GIVEN, epochs=1, out=tmp_path / name)
            pool.start(config)
            assert list(pool.wait(600)) == [(config, None)]
            process = pool._pools[0][1].result()
            os.kill(process, signal.SIGKILL)
            while pool._pools[0][0]._broken is False:  # type: ignore[attr-defined]
                time.sleep(0.01)
    finally:
        pool.close()


@pytest.mark.services
def test_a_stop_before_a_run_has_begun_is_heard(tmp_path: Path) -> None:
    """While its process still imports torch; else the run would be made to its end."""
    pool = workers.Processes(1, devices=[])
    try:
        pool.start(DistillConfig(**GIVEN, epochs=ENDLESS, out=tmp_path / "a"))
        pool.stop()
        assert [failure for _, failure in pool.wait(0)] == [workers.Failure("stopped")]
    finally:
        pool.close()


@pytest.mark.services
def test_each_process_has_a_device_and_a_share_of_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")

    def threads(size: int) -> list[int]:
        pool = workers.Processes(size, devices=["3", "5"])
        try:
            executors = [pool._pool(place) for place in range(size)]
            devices = [executor.submit(os.getenv, "CUDA_VISIBLE_DEVICES") for executor in executors]
            assert [device.result() for device in devices] == ["3", "5"][:size]
            return [executor.submit(torch.get_num_threads).result() for executor in executors]
        finally:
            pool.close()

    (alone,) = threads(1)
    assert threads(2) == [max(1, alone // 2)] * 2
