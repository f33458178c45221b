"""The evaluation of a run: made once, kept in evaluation.json, and used while nothing it depends on has changed."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

from ..core.config import DistillConfig, TrainConfig
from ..core.devices import best_device
from ..core.errors import StkdError
from ..core.files import digest_file
from ..core.records import read_record, write_record
from ..data import DataSet, open_data
from ..data.digest import fingerprint
from ..data.selection import data_of
from ..evaluation import evaluate
from ..methods.spec import parse
from ..mixing import Mix
from ..models.files import ModelInfo, find_weights, read_info
from ..models.weight_files import files_of
from .directory import read_result
from .finished_run import asking_for_plugin, data_seen_by, open_model_for, open_run
from .options import read_config
from .probe import is_probe, read_probe

__all__ = ["current_evaluation", "evaluate_run", "read_evaluation"]

log = logging.getLogger(__name__)

_FILE = "evaluation.json"
_FORMAT = 3
_ON_REQUEST = ("robustness", "ood")
_COMPARED = ("teacher", "alone")

Inputs = dict[str, Any]
"""What an evaluation depends on: digests of weights ("model", "teacher", "alone"), fingerprints of data ("data" and
"foreign"), and "options"."""


def evaluate_run(
    run: Path,
    *,
    split: str = "test",
    data_spec: str | None = None,
    teacher: Path | None = None,
    alone: Path | None = None,
    corrupted: bool | Path = False,
    ood: str | None = None,
) -> dict[str, Any]:
    """Score a run's model, and compare it with its teacher if it had one.

    What is found on the run's own test images is written to evaluation.json in the run directory. Robustness and
    foreign images that were measured before stay in that file as long as they hold. Of a probe nothing is kept.

    Args:
        run: Run directory, or the folder of a probe.
        split: "test", "val" or "train".
        data_spec: Another data set with the same classes, instead of the run's own.
        teacher: Weights of a teacher for a run that had none.
        alone: Run of the same student trained without a teacher, to compare with.
        corrupted: Also measure the accuracy under common corruptions, or on published ones in a folder.
        ood: Data set of other images, to see whether the models are less confident on them.

    Returns:
        What `stkd.evaluation.evaluate` returns, with file_bytes, the size of the weights on disk.

    Raises:
        StkdError: The run, its weights, the data or the teacher cannot be read, or `alone` was taught by a teacher.
    """
    if split not in ("train", "val", "test"):
        raise StkdError(f"unknown split {split!r}; choose train, val or test")
    if not run.is_dir():
        raise StkdError(f"{run} is not a run directory; give one that 'stkd train' or 'stkd distill' wrote")
    foreign = None if ood is None else open_data(ood)
    if is_probe(run):
        return _evaluate_probe(run, split, data_spec, alone, corrupted, foreign)
    config = read_config(run)
    opened = open_run(run, data_spec=data_spec, teacher=teacher, device=best_device())
    inputs = _inputs(run, config, opened.data, teacher)
    if alone is not None:
        _check_alone(alone, opened.info)
        inputs["alone"] = {"path": str(alone.resolve()), "weights": _digest(alone)}
    if foreign is not None:
        inputs["foreign"] = {"spec": ood, "data": foreign.fingerprint}
    evaluation = evaluate(
        opened.model,
        opened.data,
        split=split,
        teacher=opened.teacher,
        alone=None if alone is None else open_model_for(alone, opened.data, opened.device),
        corrupted=corrupted,
        foreign=foreign,
        mix=Mix(**inputs["options"]["mix"]),
        workers=config.workers,
    )
    evaluation["file_bytes"] = _bytes(run)
    for who, path in (("teacher", getattr(config, "teacher_weights", None) or teacher), ("alone", alone)):
        if who in evaluation and path is not None:
            evaluation[who]["file_bytes"] = _bytes(path)
    if split == "test" and data_spec is None:
        _store(run, evaluation, inputs)
    return evaluation


def _evaluate_probe(
    folder: Path, split: str, data_spec: str | None, alone: Path | None, corrupted: bool | Path, foreign: DataSet | None
) -> dict[str, Any]:
    """Score the model of a probe, which sees images as it does when it teaches."""
    if alone is not None:
        raise StkdError("--alone compares a student with one trained without a teacher; leave it out for a probe")
    config = read_probe(folder)
    if data_spec is not None:
        config = dataclasses.replace(config, data=data_spec, val_fraction=0.0, train_images=None, label_noise=0.0)
    with asking_for_plugin(folder):
        data = data_of(config)
    model = open_model_for(folder, data, best_device())
    workers = config.workers
    evaluation = evaluate(model, data, split=split, corrupted=corrupted, foreign=foreign, workers=workers)
    return {**evaluation, "file_bytes": _bytes(folder)}


def _check_alone(alone: Path, student: ModelInfo) -> None:
    """See that a run to compare with had no teacher; warn where its model is another one."""
    if (alone / "config.yaml").is_file():
        method = read_config(alone).method
        with asking_for_plugin(alone):
            if parse(method).uses_teacher:
                raise StkdError(
                    f"{alone} was taught by a teacher ({method}); --alone takes the same student trained without one, "
                    "as 'stkd train' or 'stkd distill --method ce' makes it"
                )
    info = read_info(find_weights(alone))
    if info is not None and info.model != student.model:
        why = "so not only the teacher makes the difference"
        log.warning("%s is a %s and the student a %s, %s", alone, info.model, student.model, why)


def read_evaluation(run: Path, *, teacher: Path | None = None) -> dict[str, Any]:
    """What evaluation.json of a run holds, as far as it is of the weights, data and options of now.

    Args:
        run: Run directory.
        teacher: Weights of a teacher for a run that had none.

    Returns:
        As `evaluate_run`; only "robustness" or "ood" where only they still hold, and nothing where nothing does or the
        file is missing or damaged.

    Raises:
        StkdError: The run or its data cannot be read, so that nothing is known about them.
    """
    stored = _load(run)
    if not stored:
        return {}
    config = read_config(run)
    info = read_info(find_weights(run))
    with asking_for_plugin(run):
        data = data_of(config) if info is None else data_seen_by(info, config)
    return _valid(stored, _inputs(run, config, data, teacher))


def current_evaluation(run: Path, *, teacher: Path | None = None) -> dict[str, Any]:
    """The evaluation of a run on its test images: the stored one where it holds, else made anew.

    Args:
        run: Run directory.
        teacher: Weights of a teacher for a run that had none.

    Returns:
        As `evaluate_run`, with the robustness and foreign images that were measured before, if they hold.

    Raises:
        StkdError: The run, its weights, the data or the teacher cannot be read.
    """
    stored = read_evaluation(run, teacher=teacher)
    if "top1" in stored:
        return stored
    return {**stored, **evaluate_run(run, teacher=teacher)}


def _store(run: Path, evaluation: Mapping[str, Any], inputs: Inputs) -> None:
    before = _valid(_load(run), inputs)
    parts = {part: {"inputs": inputs, **evaluation[part]} for part in _ON_REQUEST if part in evaluation}
    parts = {**{part: before[part] for part in _ON_REQUEST if part in before}, **parts}
    content = {"format": _FORMAT, "inputs": inputs, **evaluation, **parts}
    try:
        write_record(run / _FILE, content, indent=None)
    except OSError as error:
        log.warning("the evaluation is not kept for the run's page: %s (%s)", error.strerror, run)


def _load(run: Path) -> dict[str, Any]:
    try:
        stored = read_record(run / _FILE)
        return stored if stored["format"] == _FORMAT else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}  # missing, damaged or of another version


def _valid(stored: dict[str, Any], now: Inputs) -> dict[str, Any]:
    """The parts of a stored evaluation that depend on nothing that has changed."""
    try:
        parts = {part: stored.pop(part) for part in _ON_REQUEST if part in stored}
        valid = _unchanged(stored, now, whole=("model", "teacher", "data", "options"))
        for name, part in parts.items():
            if part := _unchanged(part, now, whole=("model", "data", *(["foreign"] if name == "ood" else []))):
                valid[name] = part
        return valid
    except (KeyError, TypeError, AttributeError):
        return {}  # not written by stkd


def _unchanged(part: dict[str, Any], now: Inputs, whole: tuple[str, ...]) -> dict[str, Any]:
    """A part of an evaluation without models whose weights have changed; empty where one of `whole` has."""
    inputs = part["inputs"]
    now = {**now, "alone": _alone_now(inputs), "foreign": _foreign_now(inputs)}
    if any(inputs.get(name) != now[name] for name in whole):
        return {}
    changed = [who for who in _COMPARED if inputs.get(who) != now[who]]
    return {name: value for name, value in part.items() if name not in changed}


def _inputs(run: Path, config: TrainConfig | DistillConfig, data: DataSet, teacher: Path | None) -> Inputs:
    result = read_result(run) or {}
    options = {"mix": result.get("mix", dataclasses.asdict(Mix()))}
    teacher_digest = _teacher_digest(config) or (None if teacher is None else _digest(teacher))
    return {"model": _digest(run), "teacher": teacher_digest, "data": data.fingerprint, "options": options}


def _teacher_digest(config: TrainConfig | DistillConfig) -> str | None:
    """Of the weights and options of a run's own teacher; None where it has none or its weights are gone."""
    if not isinstance(config, DistillConfig) or not (config.teacher_weights or config.teacher_pretrained):
        return None
    files = [path for path in (config.teacher_weights, *(config.more_teachers or ())) if path is not None]
    if not all(path.exists() for path in files):
        return None
    options = {
        field.name: getattr(config, field.name)
        for field in dataclasses.fields(config)
        if field.name.startswith("teacher")
        and field.name not in ("teacher_weights", "teacher_cache", "teacher_precision", "teacher_engine")
    }
    for name in ("teacher_classes", "teacher_class_map"):
        file: Path | None = getattr(config, name)
        options[name] = file and file.read_text(encoding="utf-8")
    for name in ("teacher_probe", "teacher_class_map"):
        if not options[name]:
            del options[name]  # evaluations of before there was the option stay good
    text = json.dumps([[_digest(path) for path in files], options], default=str)
    return blake2b(text.encode(), digest_size=16).hexdigest()


def _alone_now(inputs: Inputs) -> dict[str, str] | None:
    if (before := inputs.get("alone")) is None:
        return None
    try:
        return {"path": before["path"], "weights": _digest(Path(before["path"]))}
    except (OSError, StkdError):
        return None


def _foreign_now(inputs: Inputs) -> dict[str, str] | None:
    if (before := inputs.get("foreign")) is None:
        return None
    try:
        return {"spec": before["spec"], "data": open_data(before["spec"]).fingerprint}
    except StkdError:
        return None


def _digest(path: Path) -> str:
    """Of the weights of a run or file; of their content, since a run may have been copied."""
    one, *shards = (digest_file(file) for file in files_of(find_weights(path)))
    return fingerprint(one, *shards) if shards else one


def _bytes(path: Path) -> int:
    """Size of the weights of a run or file on disk."""
    return sum(file.stat().st_size for file in files_of(find_weights(path)))
