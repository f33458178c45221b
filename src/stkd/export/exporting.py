"""Exporting a finished run: capture, write, check, time, keep."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..core.errors import StkdError
from ..core.files import digest_file
from ..data import DataSet
from ..data.base import Split
from ..data.broken_files import readable
from ..data.decode import resize_square
from ..data.loader import eval_batches
from ..data.splits import take
from ..models.files import ModelInfo, find_weights
from ..runs.description import describe_data
from ..runs.directory import finished_result
from ..runs.environment import environment
from ..runs.exports import exports_folder, record_export, recorded
from ..runs.finished_run import FinishedRun, open_run
from ..runs.options import read_config
from .accuracy import accuracy, unnormalised
from .captured import Normalised, capture, capture_whole
from .comparison import Agreement, compare, timed
from .contract import Contract
from .format import Format, Opened, Run, Source, exporters
from .keeping import announce, announced, claimed, keep, need_room, unfinished
from .whole import answers_of, pictures_of

__all__ = ["Exported", "export_run"]

_IMAGES = 300  # that a file is checked on
_PICTURES = 4  # that a file is timed with, where it takes whole ones


@dataclass(frozen=True)
class Exported:
    """An exported file.

    Attributes:
        file: Where it is; of some formats a folder.
        record: What is kept about it in the run directory, see `stkd.runs.exports`.
    """

    file: Path
    record: dict[str, Any]


def export_run(
    run: Path, to: str, *, out: Path | None = None, force: bool = False, data_spec: str | None = None, **options: Any
) -> Exported:
    """Write a finished run's model as a file for another runtime, and keep it if it answers as the model does.

    Args:
        run: Run directory.
        to: Name of a format, see `exporters`.
        out: The file; None is `exports/NAME` in the run directory, NAME that of the run's weights.
        force: Whether an existing file is replaced.
        data_spec: Images to check the file on, instead of the run's own.
        options: Of the format, see `Format.options`.

    Raises:
        StkdError: The run is not finished, the format has no such option, the run's data cannot be read, a package is
            missing, the file exists, the format cannot express the model, or the file answers otherwise than the model.
            Nothing is written then.
    """
    format = _format(to, options)
    target = _target(run, format, out)
    need_room(format, target, force or _broken_off(run, format, to, target))
    format.ready()
    opened = open_run(run, data_spec=data_spec, with_teacher=False)
    split, images = _images(opened.data)
    weights = digest_file(find_weights(run))
    words = describe_data(read_config(run).data)
    contract = Contract(opened.info, words, weights, whole=format.whole_pictures, batch=format.batch)
    model = Normalised(opened.model.float(), opened.info)
    program = (capture_whole if format.whole_pictures else capture)(model, opened.info)
    source = format.prepared(opened, Source(program, contract, _Calibration(opened)))
    with claimed(exports_folder(run)):
        with unfinished(exports_folder(run)) as folder:
            file = folder / target.name
            found = format.write(source, file)
            answering = format.open(file, torch.get_num_threads())
            agreement = _checked(format, answers_of(answering, images), opened, _batches(images, opened))
            parts = format.parts(file)
            record = {
                "to": to,
                "file": target.name,
                "bytes": sum(part.stat().st_size for part in parts),
                "digest": digest_file(parts[-1]),
                "weights": weights,
                "runtime": answering.runtime,
                "images": split,
                "data": describe_data(data_spec or read_config(run).data),
                "agreement": dataclasses.asdict(agreement),
                "timing": _timing(model, answering, images, next(_batches(images, opened))),
                "cpu": environment()["cpu"],
                **found,
            }
            if not format.exact:
                record["accuracy"] = accuracy(opened, model, answering.run)
            if target.parent.resolve() == exports_folder(run).resolve():
                announce(format, file, target)
            keep(format, file, target)
        record_export(run, to, record)
    return Exported(target, record)


def _format(to: str, options: dict[str, Any]) -> Format:
    format = exporters.get(to)
    for name in options:
        if name not in format.options:
            takers = [entry.name for entry in exporters.entries() if name in entry.value.options]
            raise StkdError(f"--{name.replace('_', '-')} is of no use for --to {to}; it is for {' and '.join(takers)}")
    return format(**options)


def _target(run: Path, format: Format, out: Path | None) -> Path:
    if not run.is_dir():
        raise StkdError(f"{run} is not a run directory; give one that 'stkd train' or 'stkd distill' wrote")
    read_config(run)
    if finished_result(run) is None:
        raise StkdError(f"{run} is not finished; run its command again to go on, then export it")
    if out is None:
        return exports_folder(run) / format.file_name(find_weights(run).stem)
    if not format.folder and (out.suffix != format.suffix or out.is_dir()):
        raise StkdError(f"--out {out} must be a file that ends with {format.suffix}")
    if not out.parent.is_dir():
        raise StkdError(f"--out {out} cannot be written: {out.parent} is no folder that is there")
    return out


def _broken_off(run: Path, format: Format, to: str, target: Path) -> bool:
    """Whether a process was ended between putting an export in its place and recording it: then it is made anew."""
    if target.parent.resolve() != exports_folder(run).resolve() or not announced(format, target):
        return False
    last, known = format.parts(target)[-1], recorded(run, to)
    if known is None or not last.exists():
        return True
    name, digest = known
    return name == target.name and digest != digest_file(last)


def _images(data: DataSet) -> tuple[str, Split]:
    """The name of a split, the test split where there is one, and some of its images, evenly spread."""
    name, split = next((n, s) for n, s in (("test", data.test), ("val", data.val), ("train", data.train)) if s)
    return name, _some(split)


def _some(split: Split) -> Split:
    return readable(take(split, np.linspace(0, len(split) - 1, min(_IMAGES, len(split))).astype(np.int64)))


def _batches(split: Split, opened: FinishedRun) -> Iterator[Tensor]:
    """The images as evaluation sees them, before they are normalised: float32 in 0..1."""
    for images, _ in eval_batches(split, unnormalised(opened.data), batch_size=100, device=torch.device("cpu")):
        yield images


class _Calibration:
    """Batches of some training images, evenly spread, each time from the first on."""

    def __init__(self, opened: FinishedRun) -> None:
        self.opened = opened

    def __iter__(self) -> Iterator[Tensor]:
        return _batches(_some(self.opened.data.train), self.opened)


def _checked(format: Format, run: Run, opened: FinishedRun, batches: Iterator[Tensor]) -> Agreement:
    """How near a file is to its model.

    Raises:
        StkdError: It is not near enough, or does not answer, or the images cannot be read.
    """
    try:
        agreement = compare(opened.model, opened.info, run, batches)
    except StkdError:
        raise
    except Exception as error:  # runtimes raise many kinds
        why = " ".join(str(error).split())[:200]
        raise StkdError(f"the {format.title} file is not kept, since it does not answer: {why}") from None
    if not (agreement.near if format.exact else math.isfinite(agreement.largest_difference)):
        raise StkdError(
            f"the {format.title} file is not kept, since it does not answer as the model does: on {agreement.images} "
            f"images the largest difference of a logit is {agreement.largest_difference:.3g}, and "
            f"{agreement.equal_top1:.2%} have the same class"
        )
    return agreement


def _timing(model: Normalised, answering: Opened, split: Split, images: Tensor) -> dict[str, Any]:
    """Milliseconds of a pass of one image and of 64, by the file and by torch; of whole pictures with resizing.

    Args:
        model: The model.
        answering: The file.
        split: Images.
        images: Squares of some of them.
    """
    timing: dict[str, Any] = {"threads": torch.get_num_threads()}
    pass_by_torch = torch.inference_mode()(model)
    pictures = [] if answering.whole is None else list(islice(pictures_of(split, answering.contract.info), _PICTURES))
    for size in (1, 64):
        batch = images[torch.arange(size) % len(images)].contiguous()
        answers: dict[str, Callable[[], object]] = {
            "file": partial(answering.run, batch.numpy()),
            "torch": partial(pass_by_torch, batch),
        }
        if answering.whole is not None:
            some = [pictures[i % len(pictures)] for i in range(size)]
            answers = {
                "file": partial(_each, answering.whole, some),
                "torch": partial(_each, partial(_resized_and_answered, pass_by_torch, answering.contract.info), some),
            }
        timing[str(size)] = timed(answers, inside={} if answering.seconds is None else {"file": answering.seconds})
    return timing


def _each(answer: Callable[[Any], object], pictures: Sequence[Any]) -> None:
    for picture in pictures:
        answer(picture)


def _resized_and_answered(model: Callable[[Tensor], Tensor], info: ModelInfo, picture: NDArray[np.uint8]) -> Tensor:
    square = resize_square(torch.from_numpy(picture).permute(2, 0, 1), info.size, info.crop_pct, info.interpolation)
    return model(square[None] / 255)
