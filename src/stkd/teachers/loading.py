"""Live teachers from what options name: models by name, and their weights."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from .. import models
from ..core.config import DistillConfig
from ..core.errors import StkdError
from ..data import DataSet
from ..models import weights
from ..models.files import ModelInfo, find_weights, read_info
from ..models.outputs import as_logits
from ..models.published import Published, imagenet_names, published
from .class_map import read_class_map
from .classes import read_classes
from .ensemble import Ensemble
from .live import LiveTeacher
from .normalisations import normalisation_of
from .onnx_file import OnnxModel, is_onnx
from .probed import give_probe

__all__ = ["is_published", "load_teacher", "probe_as_asked", "teacher_of"]

_log = logging.getLogger(__name__)


def load_teacher(
    name: str | None,
    weights_path: Path | None,
    data: DataSet | ModelInfo,
    device: torch.device,
    *,
    key: str | None = None,
    pretrained: bool = False,
    classes: Path | None = None,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    size: int | None = None,
    options: Mapping[str, Any] | None = None,
    new_head: bool = False,
    class_map: Path | None = None,
) -> LiveTeacher:
    """A teacher by name and weights.

    Args:
        name: Model name; may be left out when the weights say it.
        weights_path: A file of weights, a run directory, a folder that timm or transformers saved a model to, or an
            ONNX file.
        data: The data set it teaches on, or what its student expects.
        device: Where it runs.
        key: Take the weights under this key of the file.
        pretrained: Use the published weights of a timm or torchvision model instead.
        classes: Text file of its class names, one a line, where its weights do not name them.
        mean, std, size: What it was trained with, where its weights do not say it and it is not the same as the data's.
        options: Keyword arguments of the model; None takes those that the weights name.
        new_head: Give it a head of the data's classes with initial weights, whatever classes its own head is for.
        class_map: Text file that says which of its classes are which of the data's, where their names do not.

    Raises:
        StkdError: Name or weights are missing or do not fit each other.
    """
    if weights_path is not None and is_onnx(weights_path):
        pixels_given = mean, std, size
        return _onnx(weights_path, name, data, device, classes, pixels_given, new_head, class_map)
    file = find_weights(weights_path) if weights_path is not None else None
    info = read_info(file) if file is not None else None
    if name is None and info is None and weights_path is not None and (weights_path / "config.json").is_file():
        name, file, pretrained = f"hf/{weights_path}", None, True
    if file is None and not pretrained:
        raise StkdError("a teacher needs weights: give --teacher-weights FILE or RUN, or --teacher-pretrained")
    if name is None:
        if info is None:
            raise StkdError("--teacher is missing: the weights do not say which model they are for")
        info.check_local()
        name = info.model
    if options is None and info is not None:
        options = info.options
    recorded, options = models.recorded_name(name, options)
    if info is not None and info.model not in (name, recorded):
        raise StkdError(f"the teacher's weights are of {info.model}, not of {name}; give --teacher {info.model}")
    known = info if info is not None else published(name) if pretrained and file is None else None
    named = None
    if file is not None and info is None and classes is None and not new_head:
        named = weights.classes_in(file)
    own = data.classes if new_head else named or _classes(name, known, classes, data)
    pixels = known if known is not None else data
    channels = len(pixels.mean)
    size = size or pixels.size
    module = models.create(
        name,
        num_classes=len(own),
        in_channels=channels,
        image_size=size,
        pretrained=pretrained and file is None,
        options=options,
    )
    if file is not None:
        rows = [-1] * len(own) if new_head else None
        weights.load(module, file, role="teacher", key=key, new_head=new_head, rows=rows)
        if info is None:
            _say_what_is_assumed(file, data, classes or named or new_head, mean or std)
    module = as_logits(module, channels, size, len(own))
    mean, std = mean or pixels.mean, std or pixels.std
    resizing = (known.crop_pct, known.interpolation) if known is not None else ()
    info = ModelInfo(name, own, channels, size, mean, std, options, *resizing)
    return LiveTeacher(module, info, data, device, None if class_map is None else read_class_map(class_map))


def _onnx(
    path: Path,
    name: str | None,
    data: DataSet | ModelInfo,
    device: torch.device,
    classes: Path | None,
    given: tuple[tuple[float, ...] | None, tuple[float, ...] | None, int | None],
    new_head: bool,
    class_map: Path | None,
) -> LiveTeacher:
    """A teacher that is an ONNX file.

    Raises:
        StkdError: It cannot be read or does not fit the data, or something is asked for that it has not.
    """
    if name is not None:
        raise StkdError(f"{path} is a whole model; leave out --teacher {name}")
    if new_head:
        raise StkdError(f"--teacher-probe needs a teacher's features, and {path} shows its logits alone; leave it out")
    if not path.is_file():
        raise StkdError(f"{path} does not exist; check the path")
    module = OnnxModel(path)
    mean, std, size = given
    said, outputs = module.said, module.outputs
    assert outputs is not None
    if size is not None and module.size not in (None, size):
        raise StkdError(f"{path} takes images of {module.size} pixels; leave out --teacher-size {size}")
    if classes is not None:
        own: tuple[str, ...] | None = read_classes(classes)
    elif said is not None:
        own = said.classes
    elif outputs == len(data.classes):
        own = data.classes
    else:
        lists = imagenet_names(outputs)
        own = max(lists, key=lambda names: len({*names} & {*data.classes}), default=None)
    if own is None or len(own) != outputs:
        raise StkdError(
            f"{path} has {outputs} outputs, and {'their names are not known' if own is None else f'{len(own)} names'}; "
            "name its classes with --teacher-classes FILE, one a line in the order of its outputs"
        )
    inside = said is not None
    if not inside:
        _say_what_is_assumed(path, data, own is not data.classes, mean or std)
    if module.probabilities:
        _log.info("%s answers with probabilities; their logarithms are taken as logits", path)
    repeat = module.channels if len(data.mean) == 1 else 1  # grey images are shown in three channels alike
    info = ModelInfo(
        path.name,
        own,
        module.channels,
        module.size or size or data.size,
        (0.0,) * module.channels if inside else mean or tuple(data.mean) * repeat,
        (1.0,) * module.channels if inside else std or tuple(data.std) * repeat,
        interpolation="bicubic" if said is not None and said.interpolation == "bicubic" else "bilinear",
    )
    return LiveTeacher(module, info, data, device, None if class_map is None else read_class_map(class_map))


def _classes(
    name: str, known: ModelInfo | Published | None, file: Path | None, data: DataSet | ModelInfo
) -> tuple[str, ...]:
    """Class names in the order of the teacher's outputs: what the user says, else what is known, else the data's.

    Raises:
        StkdError: They are not known, or are not as many as the outputs.
    """
    if file is not None:
        own = read_classes(file)
        if isinstance(known, Published) and len(own) != known.outputs:
            raise StkdError(
                f"{file} names {len(own)} classes, the published weights of {name} have {known.outputs}; "
                "name all of them in the order of the outputs, or leave out --teacher-classes"
            )
        return own
    if isinstance(known, ModelInfo):
        return known.classes
    if known is None:
        return data.classes
    names = known.names_for(data.classes)
    if names is None:
        raise StkdError(
            f"the names of the {known.outputs} classes of {name} are not known; --teacher-pretrained needs "
            "--teacher-classes FILE with the names of its classes, one a line"
        )
    return names


def _say_what_is_assumed(file: Path, data: DataSet | ModelInfo, classes: object, normalised: object) -> None:
    """Of weights that do not say what they are for."""
    said = []
    if not classes:
        said.append("its outputs are the data's classes by position (else: --teacher-classes FILE)")
    if not normalised:
        shown = [round(value, 3) for value in (*data.mean, *data.std)]
        said.append(f"its pixels are normalised like the data's, {shown} (else: --teacher-norm)")
    if said:
        _log.info("%s does not say what it expects; it is taken that %s", file, ", and that ".join(said))


def teacher_of(config: DistillConfig, data: DataSet | ModelInfo, device: torch.device) -> LiveTeacher | Ensemble:
    """The teacher, or the teachers, that a config names, each with a new head where that is asked for.

    Raises:
        StkdError: A name, weights or classes are missing or do not fit.
    """

    mean, std = normalisation_of(config)
    # of weights that do not say it themselves
    unsaid: dict[str, Any] = {"classes": config.teacher_classes, "class_map": config.teacher_class_map}
    unsaid |= {"mean": mean, "std": std, "size": config.teacher_size}

    def another(path: Path) -> LiveTeacher:
        name = path.as_posix() if is_published(path) else None
        known = {} if name is not None or _says_itself(path) else unsaid
        return load_teacher(
            *(name, None if name is not None else path, data, device),
            pretrained=name is not None,
            new_head=config.teacher_probe,
            **known,
        )

    def one(
        name: str | None, path: Path | None, options: Mapping[str, Any] | None = None, key: str | None = None
    ) -> LiveTeacher:
        return load_teacher(
            name,
            path,
            data,
            device,
            key=key,
            pretrained=config.teacher_pretrained,
            options=options,
            new_head=config.teacher_probe,
            **unsaid,
        )

    teachers = [one(config.teacher, config.teacher_weights, config.teacher_options, config.teacher_weights_key)]
    teachers += [another(path) for path in config.more_teachers or ()]
    if config.teacher_probe:
        for place, teacher in enumerate(teachers):
            probe_as_asked(config, teacher, data, place)
    return Ensemble(teachers, config.teacher_shares) if len(teachers) > 1 else teachers[0]


def is_published(path: Path) -> bool:
    """Whether a path is the name of a model with published weights, such as timm/resnet50."""
    return not path.exists() and path.as_posix().partition("/")[0] in ("timm", "torchvision", "hf")


def _says_itself(path: Path) -> bool:
    """Whether weights say what they expect of images, and for which classes they are."""
    return not is_onnx(path) and (read_info(find_weights(path)) is not None or (path / "config.json").is_file())


def probe_as_asked(config: DistillConfig, teacher: LiveTeacher, data: DataSet | ModelInfo, place: int = 0) -> None:
    """Give a teacher the head that a config asks for.

    Raises:
        StkdError: It has no features, there are no labelled images, or the config asks for its own classes too.
    """
    for name in ("teacher_classes", "teacher_class_map"):
        if getattr(config, name) is not None:
            raise StkdError(f"--teacher-probe takes the data's classes; leave out --{name.replace('_', '-')}")
    folders = [config.out, *([config.teacher_cache] if config.teacher_cache is not None else [])]
    changed = config.data_changed == "accept"
    give_probe(teacher, data, folders=folders, place=place, data_may_differ=changed, workers=config.workers)
