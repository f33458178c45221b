"""What the scripts of the study share: units of work that are made once, kept in a result file, and scored alike.

docs/protocol.md says what is run. A unit is a few students that learn beside each other from one pass of the teacher.
Its scores are written to the result file as soon as it ends, and a unit that is in the file is not run again, so a
script goes on where it stopped, on another machine too; a unit that was interrupted goes on from its checkpoint.
"""

from __future__ import annotations

import argparse
import dataclasses
import multiprocessing
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from common import by_seed, read_result, with_differences, write_result

import stkd
from stkd.data.digest import digest_file
from stkd.evaluation import logits_of, scores
from stkd.models.files import find_weights
from stkd.runs.environment import environment
from stkd.runs.finished_run import open_run
from stkd.studies.statistics import holm

__all__ = ["Unit", "arguments", "arm", "compared", "environment_entry", "make", "teacher_entry"]

# All arithmetic is float32, so that the kind of CPU does not matter; nothing is scored before the end of a run.
_OPTIONS: dict[str, Any] = {"precision": "32", "teacher_precision": "32", "compile": "none", "preflight": "off"}


@dataclass(frozen=True)
class Unit:
    """Students of one teacher pass.

    Attributes:
        name: Key in the result file.
        students: Name of each student, and its own options.
        data: As `--data` takes it.
        options: Options of all students.
        split: Split that is scored.
        keep: Whether its runs stay, for what is scored later.
    """

    name: str
    students: Mapping[str, Mapping[str, Any]]
    data: str
    options: Mapping[str, Any] = field(default_factory=dict)
    split: str = "test"
    keep: bool = False


def arguments(description: str | None) -> argparse.ArgumentParser:
    """The options that the scripts have in common."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder of the runs; most are deleted when finished")
    parser.add_argument("--result", type=Path, required=True, help="result file, read and written")
    parser.add_argument("--jobs", type=int, default=2, help="units at the same time, one thread each")
    parser.add_argument("--only", default="", help="only units whose name contains this")
    return parser


def make(units: Sequence[Unit], teacher: Path, args: argparse.Namespace, head: Mapping[str, Any]) -> dict[str, Any]:
    """Make the units that the result file does not hold yet, in their order.

    Args:
        units: All of them.
        teacher: Run directory of their teacher.
        args: Of `arguments`.
        head: What the file says beside `units`, such as `what` and `command`.

    Returns:
        What the file holds.
    """
    result = {**head, "units": read_result(args.result).get("units", {})}
    left = [unit for unit in units if unit.name not in result["units"] and args.only in unit.name]
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(args.jobs, mp_context=spawn, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        running = {pool.submit(_made, unit, teacher, args.work): unit for unit in left}
        while running:
            for done in wait(running, return_when=FIRST_COMPLETED).done:
                unit = running.pop(done)
                result["units"][unit.name] = done.result()
                write_result(args.result, result)
                if not unit.keep:
                    shutil.rmtree(args.work / unit.name)
                print(f"{time.strftime('%H:%M:%S')} {unit.name}: {len(running)} left", flush=True)
    return result


def _made(unit: Unit, teacher: Path, work: Path) -> dict[str, Any]:
    """One unit's scores, made in a process of its own."""
    began = time.monotonic()
    out = work / unit.name
    epochs = unit.options["epochs"]
    results = stkd.distill_many(
        str(teacher),
        unit.students,
        unit.data,
        out=out,
        **{**_OPTIONS, "eval_every": epochs, "checkpoint_epochs": max(1, epochs // 10), **unit.options},
    )
    failed = [name for name, one in results.items() if not isinstance(one, stkd.Result)]
    about = environment()
    return {
        "teacher": digest_file(find_weights(teacher)),
        "revision": about["git"],
        "cpu": about["cpu"],
        "seconds": round(time.monotonic() - began),
        "students": {name: None if name in failed else _scores(out / name, unit.split) for name in unit.students},
    }


def _scores(run: Path, split: str) -> dict[str, float]:
    """Top-1, NLL, ECE and agreement with the teacher of a run after its last epoch."""
    opened = open_run(run)
    scored = getattr(opened.data, split)
    answers, labels = logits_of(opened.model, scored, opened.data, device=opened.device)
    taught = None
    if opened.teacher is not None:
        taught, _ = logits_of(opened.teacher, scored, opened.data, device=opened.device)
    found = scores(answers, labels, taught)
    return {name: round(found[name], 6) for name in ("top1", "nll", "ece", "agreement") if name in found}


def environment_entry() -> dict[str, Any]:
    """What a result file says about the machine that wrote it last; every unit names its own processor."""
    about = environment()
    return {name: about[name] for name in ("python", "platform", "versions", "cpu", "threads", "git")}


def teacher_entry(folder: Path, spec: str, **options: Any) -> dict[str, Any]:
    """What a result file says about the teacher.

    Args:
        folder: With its weights.
        spec: The data, as `stkd.open_data` takes it.
        options: Of `stkd.open_data`.
    """
    model, info = stkd.load(find_weights(folder))
    data = dataclasses.replace(stkd.open_data(spec, **options), mean=info.mean, std=info.std)
    entry: dict[str, Any] = {"model": info.model.rpartition("/")[2], "weights": digest_file(find_weights(folder))}
    for name, split in (("val", data.val), ("test", data.test)):
        if split is not None:
            entry[name] = scores(*logits_of(model, split, data, device=torch.device("cpu")))
    return entry


def arm(units: Mapping[str, Any], keys: Iterable[tuple[int, str, str]]) -> dict[str, Any] | None:
    """The scores of one arm by seed.

    Args:
        units: Of a result file.
        keys: Seed, name of the unit and name of the student, for each seed; those that are not there are left out.
    """
    found = {
        seed: units[unit]["students"][student]
        for seed, unit, student in keys
        if unit in units and units[unit]["students"].get(student)
    }
    if not found:
        return None
    names = [name for name in ("top1", "nll", "ece", "agreement") if all(name in one for one in found.values())]
    return by_seed(list(found), {name: [one[name] for one in found.values()] for name in names})


def compared(
    cells: Mapping[str, Mapping[str, Any]], baseline: str = "kd", claim: tuple[str, str] | None = None
) -> dict[str, Any]:
    """Arms of each cell with their differences to a baseline, p-values adjusted by Holm over all cells.

    Args:
        cells: Name of each cell, and its arms as `arm` makes them.
        baseline: Name of an arm.
        claim: Cell and arm of the one comparison that was named beforehand, which is left out of the adjustment.
    """
    all_cells = {
        name: with_differences(arms, baseline) if baseline in arms else dict(arms) for name, arms in cells.items()
    }
    pairs = [
        one["top1"]["paired"]
        for cell, arms in all_cells.items()
        for name, one in arms.items()
        if one["top1"].get("paired") and (cell, name) != claim
    ]
    for pair, corrected in zip(pairs, holm([pair["p"] for pair in pairs]), strict=True):
        pair["p_corrected"] = corrected
    return all_cells
