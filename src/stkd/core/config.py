"""The options of a run: typed dataclasses that are Python keywords, command line and YAML recipe at once."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, get_type_hints

import yaml

from .errors import SEEDS, StkdError, check_range, unknown
from .keywords import check_keywords

__all__ = [
    "CacheConfig",
    "CheckConfig",
    "DistillConfig",
    "ProbeConfig",
    "RunConfig",
    "TrainConfig",
    "build",
    "completed",
    "fine_tuning",
    "groups",
    "hints",
    "plain",
    "plain_value",
    "to_yaml",
]

C = TypeVar("C", bound="RunConfig")


def _opt(default: Any, text: str) -> Any:
    return dataclasses.field(default=default, metadata={"help": text})


def _need(text: str) -> Any:
    return dataclasses.field(metadata={"help": text})


@dataclass(kw_only=True)
class DataOptions:
    """Images"""

    data: str = _need("KIND[:PATH], such as digits, cifar100:PATH or folder:PATH; see 'stkd list data'")
    labels: Literal["fine", "coarse"] = _opt("fine", "label set of CIFAR-100")
    image_size: int | None = _opt(None, "side in pixels to bring images to (folders: 224 if not given)")
    crop_pct: float | None = _opt(None, "share of the shorter side that evaluation sees (default: all of it)")
    interpolation: Literal["bilinear", "bicubic"] | None = _opt(None, "how evaluation resizes (default: bilinear)")
    norm: str | None = _opt(
        None, "normalisation: data, imagenet, inception, ... (default: that of the weights it starts from, else data)"
    )
    nested: bool = _opt(False, "folders inside a class folder are classes of their own")
    val_fraction: float = _opt(0.0, "share of the training images held out for validation")
    train_images: int | None = _opt(None, "train on this many images only, the same share of each class")
    label_noise: float = _opt(0.0, "share of the training labels that are made wrong, to see what that does")
    split_seed: int = _opt(0, "seed of every split that is drawn")
    augment: Literal["auto", "none"] = _opt("auto", "crops and flips that suit the data set, or none")
    auto_augment: Literal["none", "randaugment", "trivialaugment"] = _opt(
        "none", "operations on each image after that, with torchvision's ranges"
    )
    erasing: Literal["none", "cutout", "random"] = _opt("none", "a square, or of half of the images a box, is erased")
    data_seed: int | None = _opt(None, "seed of order, crops and virtual samples (default: the run's seed)")
    drop_last: bool = _opt(False, "leave out the images of an epoch that do not fill a batch, as many protocols do")
    sample_epochs: int | None = _opt(None, "repeat the samples of this many epochs (default: every epoch has new ones)")
    workers: int = _opt(2, "processes that decode images, for sets too large for memory")
    skip_bad: bool = _opt(False, "go on without image files that cannot be decoded")


@dataclass(kw_only=True)
class MixOptions:
    """Virtual samples (the method chooses what is not given)"""

    mix: Literal["none", "mixup", "cutmix"] | None = _opt(None, "how virtual samples are made")
    instances: int | None = _opt(None, "K, images in one virtual sample")
    alpha: float | None = _opt(None, "concentration of the Dirichlet distribution of their weights")
    per_sample: bool | None = _opt(None, "draw weights for each sample instead of once for a batch")
    real: float | None = _opt(None, "share of each batch that stays real")
    beside: bool | None = _opt(None, "keep the real batch beside the virtual one")
    mix_until: float | None = _opt(None, "share of the epochs in which images are mixed; afterwards they stay real")


@dataclass(kw_only=True)
class OptimOptions:
    """Optimisation"""

    epochs: int = _opt(100, "passes over the training images")
    batch_size: int = _opt(64, "images in a step")
    optimizer: Literal["sgd", "adamw"] = _opt("sgd", "SGD with momentum, or AdamW")
    lr: float | None = _opt(None, "peak learning rate (SGD: the model's usual one, at batch 64; AdamW: 0.001)")
    momentum: float = _opt(0.9, "momentum of SGD")
    nesterov: bool = _opt(False, "Nesterov's form of momentum")
    weight_decay: float = _opt(5e-4, "weight decay")
    schedule: Literal["multistep", "cosine", "onecycle", "constant"] = _opt("cosine", "how the learning rate falls")
    milestones: tuple[float, ...] = _opt((0.625, 0.75, 0.875), "multistep: epochs, or shares of the run when below 1")
    gamma: float = _opt(0.1, "multistep: factor at each milestone")
    warmup_epochs: float = _opt(0.0, "epochs of linear warm-up from 1 % of the learning rate")
    clip_norm: float | None = _opt(None, "largest gradient norm")
    label_smoothing: float = _opt(0.0, "label smoothing of the cross-entropy")
    class_weights: str | None = _opt(
        None, "weights of the classes in the cross-entropy: balanced, or a file of lines 'class weight'"
    )
    ema: float | None = _opt(None, "decay of an exponential moving average of the weights, reported beside the weights")
    freeze: int = _opt(0, "epochs at first in which the classifier alone is trained")
    layer_decay: float | None = _opt(None, "factor on the learning rate from each layer to the one before (timm)")


@dataclass(kw_only=True)
class RunOptions:
    """Run"""

    out: Path = _need("directory of the run; the same command again resumes it, with more epochs lengthens it")
    seed: int = _opt(0, "seed of initial weights, order, crops and virtual samples")
    accelerator: str = _opt("auto", "cpu, cuda, mps or auto")
    devices: int | None = _opt(None, "number of devices, one process each (default: what a launcher started, or one)")
    strategy: str = _opt("auto", "how several devices work together: ddp, which is auto, or another form of it")
    precision: Literal["auto", "32", "bf16", "16", "64"] = _opt(
        "auto", "arithmetic; auto: by trial in a long run; 64: to compare, not to train"
    )
    compile: Literal["auto", "none", "teacher", "all"] = _opt(
        "auto", "what torch.compile runs; auto: by trial in a long run"
    )
    cuda_graph: bool = _opt(False, "record training steps as a CUDA graph and replay it (one GPU; not measured)")
    eval_every: int = _opt(1, "epochs between evaluations")
    checkpoint_epochs: int = _opt(1, "epochs between checkpoints")
    checkpoint_minutes: float = _opt(5.0, "minutes between checkpoints inside an epoch")
    preflight: Literal["off", "warn", "strict"] = _opt(
        "warn", "check teacher, images and budget first; strict stops at warnings too"
    )
    preflight_seconds: float = _opt(30.0, "time for the teacher's answers in that check, and again for the files")
    plugin: Path | None = _opt(None, "Python file that registers methods, models or data sets of yours; it is executed")
    data_changed: Literal["refuse", "accept"] = _opt(
        "refuse", "what to do when images were added or removed since the run was begun"
    )
    tensorboard: bool = _opt(False, "also write TensorBoard events")


@dataclass(kw_only=True)
class RunConfig(DataOptions, MixOptions, OptimOptions, RunOptions):
    """Options of every training run.

    Raises:
        StkdError: A value is out of range.
    """

    def __post_init__(self) -> None:
        self.out = Path(self.out)
        self.milestones = tuple(self.milestones)
        for name, (low, high) in _RANGES.items():
            if (value := getattr(self, name, None)) is not None:
                check_range(name, value, low, high)
        for name in ("model_options", "teacher_options", "student_options"):
            if (value := getattr(self, name, None)) is not None:
                check_keywords(name, value)
        for name in ("lr", "clip_norm", "gamma"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise StkdError(f"{name} must be a positive number, got {value}")
        for name in ("val_fraction", "label_noise", "label_smoothing", "ema", "momentum"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < 1:
                raise StkdError(f"{name} must be at least 0 and below 1, got {value}")
        if self.nesterov and not self.momentum:
            raise StkdError("nesterov needs momentum; set momentum to 0.9, or leave nesterov out")
        if list(self.milestones) != sorted(self.milestones) or any(m <= 0 for m in self.milestones):
            raise StkdError(f"milestones must be positive and rising, got {list(self.milestones)}")
        if self.warmup_epochs >= self.epochs:
            raise StkdError(f"warmup_epochs ({self.warmup_epochs}) must be less than epochs ({self.epochs})")
        if self.freeze >= self.epochs:
            raise StkdError(
                f"freeze ({self.freeze}) must be less than epochs ({self.epochs}); 'stkd probe' fits a classifier alone"
            )
        if self.layer_decay is not None and not 0 < self.layer_decay <= 1:
            raise StkdError(f"layer_decay must be above 0 and at most 1, got {self.layer_decay}; 0.75 is usual")
        for name, value in vars(self).items():
            for part in value if isinstance(value, tuple) else (value,):
                if isinstance(part, float) and not math.isfinite(part):
                    raise StkdError(f"{name} must be finite, got {part}")
                if isinstance(part, str | Path) and "\0" in str(part):
                    raise StkdError(f"{name} has a zero byte, which no name and no path can have")

    @property
    def sampling_seed(self) -> int:
        """Seed of order, crops and virtual samples; several students that learn from one teacher pass share it."""
        return self.seed if self.data_seed is None else self.data_seed


_MANY = 1_000_000
_RANGES: dict[str, tuple[float, float]] = {
    "epochs": (1, 1_000 * _MANY),
    "batch_size": (1, _MANY),
    "seed": SEEDS,
    "split_seed": SEEDS,
    "data_seed": SEEDS,
    "sample_epochs": (1, _MANY),
    "top_k": (1, _MANY),
    "image_size": (8, 4096),
    "teacher_size": (8, 4096),
    "train_images": (1, math.inf),
    "workers": (0, 1024),
    "unlabelled_ratio": (0.01, 100),
    "weight_decay": (0, math.inf),
    "warmup_epochs": (0, _MANY),
    "freeze": (0, _MANY),
    "devices": (1, 1024),
    "generations": (1, _MANY),
    "eval_every": (1, _MANY),
    "checkpoint_epochs": (1, _MANY),
    "checkpoint_minutes": (0, math.inf),
    "preflight_seconds": (0, math.inf),
}


@dataclass(kw_only=True)
class TrainConfig(RunConfig):
    """Train one model alone.

    Example: stkd train --data cifar100:PATH --model resnet32x4 --epochs 60 --out runs/teacher
    """

    model: str = _need("model by name, such as resnet20 or timm/resnet18; see 'stkd list models'")
    model_options: dict[str, Any] | None = _opt(None, "keyword arguments of the model, such as drop_rate=0.1")
    weights: Path | None = _opt(None, "weights to start from: .safetensors, .pth, .ckpt, shards or a run directory")
    weights_key: str | None = _opt(None, "key or prefix in that file, where it holds several weights")
    pretrained: bool = _opt(False, "start from the published weights of a timm or torchvision model")
    method: str = _opt("ce", "ce, mixup to train on virtual samples, or dml")


@dataclass(kw_only=True)
class DistillConfig(RunConfig):
    """Distil a teacher into a student.

    Example: stkd distill --data cifar100:PATH --teacher resnet32x4 --teacher-weights T.safetensors --student resnet8x4
    --method stkd --out runs/a
    """

    teacher: str | None = _opt(None, "teacher by name; not needed when the weights come from a run of stkd")
    teacher_options: dict[str, Any] | None = _opt(None, "keyword arguments of the teacher's model")
    teacher_weights: Path | None = _opt(None, "the teacher's weights: .safetensors, .pth, .ckpt, shards or a run")
    teacher_weights_key: str | None = _opt(None, "key or prefix in that file, where it holds several weights")
    more_teachers: tuple[Path, ...] | None = _opt(None, "further teachers' weights; the logits are averaged")
    teacher_shares: tuple[float, ...] | None = _opt(None, "weights of the teachers in that average")
    teacher_pretrained: bool = _opt(False, "use the published weights of a timm or torchvision teacher")
    teacher_classes: Path | None = _opt(None, "text file of the teacher's class names, one a line, by output")
    teacher_class_map: Path | None = _opt(
        None, "text file of lines 'class,teacher class', where names and WordNet ids do not tell which is which"
    )
    teacher_probe: bool = _opt(
        False,
        "replace the teacher's head by a linear one fitted on the training images: for a teacher of other classes",
    )
    teacher_mean: tuple[float, ...] | None = _opt(
        None, "mean of its normalisation, images scaled to 0..1 (default: its weights' own, else the data's)"
    )
    teacher_std: tuple[float, ...] | None = _opt(None, "standard deviation of its normalisation")
    teacher_norm: str | None = _opt(
        None, "both by name: crd-cifar100, mdistiller-tiny-imagenet, imagenet or inception (0.5)"
    )
    teacher_size: int | None = _opt(None, "side in pixels of the images that it expects")
    teacher_precision: Literal["auto", "32", "bf16", "int8"] = _opt(
        "auto", "arithmetic of the teacher; auto: by trial in a long run, where its logits hardly change"
    )
    teacher_engine: Literal["auto", "torch", "openvino"] = _opt("auto", "what runs the teacher; auto: by trial")
    teacher_cache: Path | None = _opt(None, "learn from the logits that 'stkd cache' wrote; needs no teacher")
    unlabelled: Path | None = _opt(None, "folder of images without labels, taught by the teacher beside the others")
    unlabelled_ratio: float = _opt(1.0, "how many of those come with each labelled image")
    student: str = _need("student by name, such as resnet8x4 or timm/mobilenetv3_small_100")
    student_options: dict[str, Any] | None = _opt(None, "keyword arguments of the student's model")
    student_weights: Path | None = _opt(None, "weights the student starts from")
    student_weights_key: str | None = _opt(None, "key or prefix in that file, where it holds several weights")
    student_pretrained: bool = _opt(False, "start the student from published weights")
    baseline: Path | None = _opt(None, "a finished run of the student alone: how far the teacher is ahead of it")
    generations: int = _opt(1, "students in a row, each taught by the one before (born-again networks)")
    method: str = _opt("stkd", "NAME or NAME:option=value,...; see 'stkd list methods'")


@dataclass(kw_only=True)
class CacheConfig(DistillConfig):
    """Write a teacher's logits for the virtual samples of a run, for students to learn from without the teacher.

    It takes the options of 'stkd distill'; those of the student and of the optimiser are not used.

    Example: stkd cache --data cifar100:PATH --teacher-weights runs/teacher --method stkd --epochs 240 --top-k 16
    --out caches/a
    """

    student: str = _opt("", "not used here")
    top_k: int | None = _opt(None, "keep the K largest logits and the mean of the rest (default: all logits)")
    dtype: Literal["fp16", "fp32"] = _opt("fp16", "number format of the logits")


@dataclass(kw_only=True)
class ProbeConfig(DistillConfig):
    """Fit a new head on the features of a trained model, and write the model with that head.

    It takes the options of 'stkd distill' that name data and teacher; the others are not used.

    Example: stkd probe --data folder:PATH --teacher timm/resnet50 --teacher-pretrained true --out probes/a
    """

    student: str = _opt("", "not used here")


@dataclass(kw_only=True)
class CheckConfig(DistillConfig):
    """Check a teacher, images and budget, as every training does first; nothing is trained.

    It takes the options of 'stkd distill'; a teacher and a student may be left out.

    Example: stkd check --data folder:PATH --teacher-weights runs/teacher
    """

    student: str = _opt("", "student by name, for the estimate of time and disk")
    out: Path = _opt(Path("."), "not used here")
    save: Path | None = _opt(None, "folder for preflight.json, which lists all, and for what helps to mend it")


def groups(config: type[RunConfig]) -> dict[str, list[dataclasses.Field[Any]]]:
    """The options of a config by heading, in the order in which help shows them."""
    shared = {f.name for f in dataclasses.fields(RunConfig)}
    own = [f for f in dataclasses.fields(config) if f.name not in shared]
    headings = {"Models and method": own}
    for part in (DataOptions, MixOptions, OptimOptions, RunOptions):
        assert part.__doc__
        headings[part.__doc__] = list(dataclasses.fields(part))
    return headings


def hints(config: type[RunConfig]) -> dict[str, Any]:
    """Types of a config's options."""
    return get_type_hints(config)


def build(config: type[C], options: dict[str, Any]) -> C:
    """A config from keyword options, as Python callers and recipes give them.

    A model that starts from trained weights has other defaults, see `fine_tuning`.

    Raises:
        StkdError: An option is unknown, missing or out of range.
    """
    fields = {f.name: f for f in dataclasses.fields(config)}
    for name in options:
        if name not in fields:
            raise unknown("option", name, fields)
    for name, field in fields.items():
        if field.default is dataclasses.MISSING and options.get(name) is None:
            raise StkdError(f"--{name.replace('_', '-')} is missing: {field.metadata['help']}")
    return config(**{**options, **fine_tuning(config, options)})


_TRAINED = {"TrainConfig": ("pretrained", "weights"), "DistillConfig": ("student_pretrained", "student_weights")}
"""Options by which a model starts from trained weights."""

_CHOSEN = ("optimizer", "lr", "momentum", "nesterov")
_FINE_TUNING = {"optimizer": "adamw", "lr": 5e-4, "weight_decay": 0.05, "warmup_epochs": 0.5}


def fine_tuning(config: type[RunConfig], options: Mapping[str, Any]) -> dict[str, Any]:
    """Defaults for a model that starts from trained weights, where nothing is said of optimizer and learning rate.

    They do not depend on the number of epochs, so that a run can be lengthened by the same command.

    Args:
        config: The class of the config.
        options: What is given; None is not given.

    Returns:
        Those that are not given; none where the model starts from initial weights, or an optimizer was chosen.
    """
    given = {name for name, value in options.items() if value is not None}
    starts = any(options.get(name) for name in _TRAINED.get(config.__name__, ()))
    if not starts or given & set(_CHOSEN):
        return {}
    return {name: value for name, value in _FINE_TUNING.items() if name not in given}


_BEFORE = {"drop_last": True, "nested": True, "norm": "data"}
"""What was done before there was an option, where that is not the option's default."""


def completed(record: dict[str, Any]) -> dict[str, Any]:
    """The options in a run's config.yaml, with those that the version that wrote it did not have yet."""
    return {**_BEFORE, **record}


def to_yaml(config: RunConfig) -> str:
    """The resolved config as a recipe that repeats the run."""
    return yaml.safe_dump(plain(config), sort_keys=False, allow_unicode=True)


def plain(config: RunConfig) -> dict[str, Any]:
    """The options of a config, with values as YAML has them."""
    return {name: plain_value(value) for name, value in vars(config).items()}


def plain_value(value: Any) -> Any:
    """A value as YAML has it: paths as text, tuples as lists."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, dict):
        return {key: plain_value(v) for key, v in value.items()}
    return [plain_value(v) for v in value] if isinstance(value, tuple | list) else value
