"""The training step beside those of other distillation libraries, in turn on this machine.

    pip install --no-deps torchdistill        # where torch is not to be changed
    python benchmarks/peers.py --result results/peers.json --repdistiller CHECKOUT

All run KD (temperature 4, 0.1 cross-entropy, 0.9 KL) of resnet56 -> resnet20, batches of 64, random images of CIFAR's
size that are padded, cropped and flipped. A peer trains by its own loop, with its own loss and a DataLoader over images
in memory with torchvision's transforms and two workers, as its examples do; all use the same two networks, so models
make no difference. CHECKOUT is a folder with RepDistiller's source, which is imported. Each turn is a process of its
own; about ten minutes on two idle cores.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from common import CIFAR_PAIRS, bench, write_result
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, RandomSampler
from torchvision.transforms import v2

from stkd import models
from stkd.runs.environment import environment

PAIR = "resnet56 -> resnet20"
BATCH, CLASSES = 64, 100
SGD = {"lr": 0.05, "momentum": 0.9, "weight_decay": 5e-4}


class Pictures(Dataset[tuple[Any, ...]]):
    """Random images as torchvision's CIFAR-100 gives them.

    Args:
        images: Number of images.
        indexed: Also give the place of each image, as RepDistiller wants.
    """

    def __init__(self, images: int, indexed: bool = False) -> None:
        rng = np.random.default_rng(0)
        self.images: NDArray[np.uint8] = rng.integers(0, 256, (images, 32, 32, 3), np.uint8)
        self.labels = rng.integers(0, CLASSES, images)
        self.indexed = indexed
        to_tensor = [v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5] * 3, [0.5] * 3)]
        self.transform = v2.Compose([v2.RandomCrop(32, padding=4), v2.RandomHorizontalFlip(), *to_tensor])

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        item = self.transform(Image.fromarray(self.images[index])), int(self.labels[index])
        return (*item, index) if self.indexed else item


class Answers(nn.Module):
    """A network with the signature of RepDistiller's: features and logits."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, images: Tensor, is_feat: bool = False, preact: bool = False) -> tuple[list[Tensor], Tensor]:
        """Logits, and no features, which KD does not look at."""
        return [], self.module(images)


def networks() -> tuple[nn.Module, nn.Module]:
    """Teacher and student."""
    options: dict[str, Any] = {"num_classes": CLASSES, "in_channels": 3, "image_size": 32}
    return models.create("resnet56", **options), models.create("resnet20", **options)


def torchdistill(images: int) -> Callable[[], None]:
    """An epoch by torchdistill's DistillationBox, as its example of image classification runs it."""
    from torchdistill.core.distillation import get_distillation_box

    term = {"student_module_path": ".", "student_module_io": "output", "teacher_module_path": "."}
    term |= {"teacher_module_io": "output", "temperature": 4.0, "alpha": 0.1}
    model = {"forward_proc": "forward_batch_only"}
    config = {
        "num_epochs": 1,
        "train_data_loader": {
            "dataset_id": "train",
            "sampler": {"class_or_func": RandomSampler},
            "kwargs": {"batch_size": BATCH, "num_workers": 2, "drop_last": True},
        },
        "teacher": {**model, "requires_grad": False},
        "student": model,
        "optimizer": {"key": "SGD", "kwargs": dict(SGD)},
        "criterion": {
            "key": "WeightedSumLoss",
            "kwargs": {"sub_terms": {"kd": {"criterion": {"key": "KDLoss", "kwargs": term}, "weight": 1.0}}},
        },
    }
    teacher, student = networks()
    device = torch.device("cpu")
    box = get_distillation_box(teacher, student, {"train": Pictures(images)}, config, device, None, False, 1)

    def epoch() -> None:
        box.pre_epoch_process(epoch=0)
        for pictures, targets, more in box.train_data_loader:
            box.post_forward_process(box.forward_process(pictures, targets, more))

    return epoch


def repdistiller(images: int) -> Callable[[], None]:
    """An epoch by RepDistiller's train_distill."""
    from distiller_zoo import DistillKL
    from helper.loops import train_distill

    teacher, student = (Answers(module) for module in networks())
    loader = DataLoader(Pictures(images, indexed=True), BATCH, shuffle=True, num_workers=2, drop_last=True)
    losses = [nn.CrossEntropyLoss(), DistillKL(4.0), DistillKL(4.0)]
    optimizer = torch.optim.SGD(student.parameters(), **SGD)
    options = Namespace(distill="kd", gamma=0.1, alpha=0.9, beta=0.0, print_freq=100)
    return lambda: train_distill(1, loader, [student, teacher], losses, optimizer, options)


PEERS = {"torchdistill": torchdistill, "RepDistiller": repdistiller}


def images_per_s(name: str, images: int) -> float:
    """The second epoch of a peer, since the first one warms up."""
    epoch = PEERS[name](images)
    with contextlib.redirect_stdout(io.StringIO()):
        epoch()
        began = time.perf_counter()
        epoch()
    return images // BATCH * BATCH / (time.perf_counter() - began)


def in_a_process(name: str, images: int, checkout: Path | None) -> float:
    """The same in a process of its own."""
    command = [sys.executable, __file__, "--one", name, "--images", str(images)]
    paths = [str(p) for p in (checkout, os.environ.get("PYTHONPATH")) if p]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)}, stdout=subprocess.PIPE, text=True, check=True
    )
    return float(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    """Measure in turn, and write the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--result", type=Path)
    parser.add_argument("--repdistiller", type=Path, help="folder with RepDistiller's source")
    parser.add_argument("--images", type=int, default=2048, help="images in an epoch of a peer")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--one", choices=list(PEERS), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(images_per_s(args.one, args.images)))
        return
    names = ["torchdistill", *(["RepDistiller"] if args.repdistiller else [])]
    rates: dict[str, list[float]] = {name: [] for name in ("stkd", *names)}
    for _ in range(args.turns):
        rates["stkd"].append(bench(*CIFAR_PAIRS[PAIR], "--method", "kd", "--pairs", "1")["images_per_s"])
        for name in names:
            rates[name].append(in_a_process(name, args.images, args.repdistiller))
    ratios = {name: [ours / theirs for ours, theirs in zip(rates["stkd"], rates[name], strict=True)] for name in names}
    result = {
        "what": f"images/s of KD, {PAIR}, batch {BATCH}: stkd as in a long run, and peers by their own loops",
        "environment": environment(),
        "images_per_s": rates,
        "stkd_to": {name: {"median": median(ratios[name]), "turns": ratios[name]} for name in names},
    }
    print(json.dumps(result["stkd_to"], indent=1))
    if args.result:
        write_result(args.result, result)


if __name__ == "__main__":
    main()
