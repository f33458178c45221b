"""A folder of 256-pixel JPEGs to normalised 224-pixel batches: stkd's loader against torchvision's.

    python benchmarks/loader.py --result results/loader.json

Random resized crop and flip, the same number of worker processes for all. The peer is torchvision's ImageFolder with
the transforms of its reference training script, v1 and v2, in a torch DataLoader. The script makes its own images:
soft patches of random colours with grain. Kinds take turns for short whole epochs, each warmed up before; of every
pair of turns the ratio is taken, and of the ratios the median. A part on sets in memory tells what a batch costs.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import write_result
from PIL import Image
from torch.utils.data import DataLoader
from torchvision import transforms as v1
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from stkd.data import DataSet, ImageFiles, Split
from stkd.data.channel_stats import IMAGENET_MEAN, IMAGENET_STD
from stkd.data.loader import TrainLoader
from stkd.mixing import Mix
from stkd.runs.environment import environment

SIZE = 224
REAL = Mix("none", 1)
READ_AHEAD = 6


def make_images(root: Path, count: int, side: int, classes: int = 4) -> tuple[str, ...]:
    """Write JPEGs of quality 90 into class folders; their names."""
    rng = np.random.default_rng(0)
    names = tuple(f"{i % classes}/{i:05d}.jpg" for i in range(count))
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        small = Image.fromarray(rng.integers(0, 256, (side // 16, side // 16, 3), dtype=np.uint8))
        smooth = np.asarray(small.resize((side, side), Image.Resampling.BICUBIC)).astype(np.int16)
        grain = rng.integers(-10, 11, smooth.shape, dtype=np.int16)
        Image.fromarray((smooth + grain).clip(0, 255).astype(np.uint8)).save(root / name, quality=90)
    return names


def ours(data: DataSet, batch_size: int, workers: int, mix: Mix) -> Callable[[], Iterator[Any]]:
    """Epochs of stkd's loader."""
    loader = TrainLoader(
        data,
        batch_size=batch_size,
        mix=mix,
        augmentation=data.augment,
        seed=0,
        device=torch.device("cpu"),
        workers=workers,
    )
    epochs = iter(range(1 << 30))
    return lambda: loader.epoch(next(epochs))


def torchvision(root: Path, batch_size: int, workers: int, version: str) -> Callable[[], Iterator[Any]]:
    """Epochs of ImageFolder and DataLoader, its workers kept too."""
    kit: Any = v1 if version == "v1" else v2
    last = v1.ConvertImageDtype(torch.float) if version == "v1" else v2.ToDtype(torch.float, scale=True)
    transform = kit.Compose(
        [
            kit.RandomResizedCrop(SIZE),
            kit.RandomHorizontalFlip(),
            kit.PILToTensor(),
            last,
            kit.Normalize(IMAGENET_MEAN, IMAGENET_STD),
        ]
    )
    loader = DataLoader(
        ImageFolder(str(root), transform),
        batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        persistent_workers=workers > 0,
    )
    return lambda: iter(loader)


def images_per_s(epoch: Callable[[], Iterator[Any]]) -> float:
    """Images a second from the seventh batch of an epoch on, when whatever was read ahead has been used up."""
    time.sleep(0.5)  # until the workers of the turn before have read ahead what they will
    began, count = 0.0, 0
    for number, batch in enumerate(epoch(), 1):
        if number == READ_AHEAD:
            began = time.perf_counter()
        elif number > READ_AHEAD:
            count += len(batch[0] if isinstance(batch, list) else batch.images)
    return count / (time.perf_counter() - began)


def compare_files(root: Path, names: tuple[str, ...], batch_size: int, workers: int, rounds: int) -> dict[str, Any]:
    """Interleaved epochs of all kinds, and ratios to each of torchvision's."""
    labels = np.array([int(name[0]) for name in names])
    split = Split(ImageFiles(root, names, 3, SIZE), labels)
    data = DataSet(
        "bench", ("0", "1", "2", "3"), 3, SIZE, IMAGENET_MEAN, IMAGENET_STD, "resized", split, None, None, ""
    )
    kinds = {
        "stkd": ours(data, batch_size, workers, REAL),
        "stkd_mixed": ours(data, batch_size, workers, Mix()),
        "torchvision_v1": torchvision(root, batch_size, workers, "v1"),
        "torchvision_v2": torchvision(root, batch_size, workers, "v2"),
    }
    speeds: dict[str, list[float]] = {name: [] for name in kinds}
    for number in range(rounds + 1):
        for name, epoch in kinds.items():
            speed = images_per_s(epoch)
            if number:
                speeds[name].append(round(speed, 1))
    ratios = {
        f"{a}/{b}": round(statistics.median(x / y for x, y in zip(speeds[a], speeds[b], strict=True)), 3)
        for a in ("stkd", "stkd_mixed")
        for b in ("torchvision_v1", "torchvision_v2")
    }
    return {"images_per_s": {k: statistics.median(v) for k, v in speeds.items()}, "ratios": ratios, "rounds": speeds}


def batch_ms(side: int, mix: Mix, batch_size: int) -> float:
    """Milliseconds of a batch of a set in memory, the median of nine epochs."""
    count = 40 * batch_size if side < SIZE else 5 * batch_size
    pixels = np.random.default_rng(0).integers(0, 256, (count, 3, side, side), dtype=np.uint8)
    split = Split(pixels, np.arange(count) % 10)
    augment = "crop4" if side < SIZE else "none"
    names = tuple(map(str, range(10)))
    data = DataSet("bench", names, 3, side, IMAGENET_MEAN, IMAGENET_STD, augment, split, None, None, "")
    epoch = ours(data, batch_size, 0, mix)
    times = []
    for _ in range(9):
        began = time.perf_counter()
        batches = sum(1 for _ in epoch())  # several are made at once, so that single ones take no time
        times.append((time.perf_counter() - began) / batches)
    return round(1000 * statistics.median(times), 3)


def main() -> None:
    """Measure, print and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--result", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        names = make_images(root, args.images, args.side)
        fast = find_spec("simplejpeg") is not None
        files = compare_files(root, names, args.batch_size, args.workers, args.rounds)
    mixes = {"real": REAL, "mixup": Mix(), "three_instances": Mix(instances=3)}
    memory = {f"{side}_{name}": batch_ms(side, mix, 64) for side in (32, SIZE) for name, mix in mixes.items()}
    result = {
        "what": "images/s of file loaders in interleaved epochs, medians; ratios are medians over pairs; memory_ms is "
        "the time of a batch of 64 out of memory (32 pixels: shifted and flipped), ready for the network",
        "options": {k: v for k, v in vars(args).items() if k != "result"} | {"simplejpeg": fast},
        "environment": {k: v for k, v in environment().items() if k not in ("command", "gpu")},
        "files": files,
        "memory_ms": memory,
    }
    print(json.dumps({"files": files["images_per_s"], "ratios": files["ratios"], "memory_ms": memory}, indent=1))
    if args.result:
        write_result(args.result, result)


if __name__ == "__main__":
    main()
