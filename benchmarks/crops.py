"""Random-resized-crops of a folder of photos: their detail beside torchvision's, and what keeping whole pictures costs.

    python benchmarks/crops.py --result results/crops.json

About three minutes. The photos are scikit-learn's two (427 x 640), for their detail at several sizes, and for the costs
JPEGs of 1200 x 1600 that the script makes: patches of every scale, the smaller the fainter. Detail is the mean absolute
difference of neighbouring pixels of crops; 1 is that of RandomResizedCrop on the files.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import write_result
from PIL import Image
from sklearn.datasets import load_sample_image
from torch import Tensor
from torchvision.transforms import v2

from stkd.data import ImageFiles, open_data, pictures
from stkd.data.augment import resized_boxes
from stkd.data.decode import resized, resized_crop
from stkd.data.file_stream import FileStream
from stkd.data.plan import plan_epoch
from stkd.mixing import Mix
from stkd.runs.environment import environment

SIZE = 224
CROPS = 500


def detail(image: Tensor) -> float:
    """Mean absolute difference of neighbouring pixels."""
    image = image.float()
    return float(image.diff(dim=-1).abs().mean() + image.diff(dim=-2).abs().mean()) / 2


def detail_of(photo: Tensor, size: int, multiple: float | None) -> float:
    """Of crops of a photo whose shorter side was reduced to a multiple of their size."""
    height, width = photo.shape[1:]
    scale = 1.0 if multiple is None else max(1.0, min(height, width) / (multiple * size))
    if scale > 1:
        photo = resized(photo, round(height / scale), round(width / scale), "bicubic")
    numbers = torch.rand(CROPS, 4, generator=torch.Generator().manual_seed(0))
    boxes = resized_boxes(numbers, *photo.shape[1:]).round().int().tolist()
    return statistics.mean(detail(resized_crop(photo, *map(int, box), size)) for box in boxes)


def compare_detail() -> dict[str, dict[str, float]]:
    """Detail of crops by multiple, as a share of that of torchvision's."""
    found = {}
    for name in ("china.jpg", "flower.jpg"):
        photo = torch.from_numpy(load_sample_image(name).copy()).permute(2, 0, 1)
        for size in (72, 96, 128):
            torch.manual_seed(0)
            crop = v2.RandomResizedCrop(size, antialias=True)
            theirs = statistics.mean(detail(crop(photo)) for _ in range(CROPS))
            multiples = (None, 1.5, 2, pictures.MULTIPLE, 3)
            found[f"{name} {size}"] = {
                "file" if m is None else str(m): round(detail_of(photo, size, m) / theirs, 3) for m in multiples
            }
            print(name, size, found[f"{name} {size}"], flush=True)
    return found


def make_photos(root: Path, count: int) -> None:
    """Write JPEGs of 1200 x 1600 into two classes of a training and a test split."""
    for number in range(count):
        rng, pixels = np.random.default_rng(number), np.zeros((1200, 1600, 3))
        for octave in range(1, 9):
            patches = rng.integers(0, 256, (3 * 2**octave, 4 * 2**octave, 3), dtype=np.uint8)
            large = Image.fromarray(patches).resize((1600, 1200), Image.Resampling.BICUBIC)
            pixels += (np.asarray(large).astype(float) - 128) / (octave + 1)
        path = root / ("train" if number % 8 else "test") / f"c{number // 2 % 2}" / f"{number:05d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(((pixels - pixels.min()) / np.ptp(pixels) * 255).astype(np.uint8)).save(path, quality=90)


def images_per_s(stream: FileStream, epochs: range) -> float:
    """Crops a second, in one process."""
    began, count = time.perf_counter(), 0
    for epoch in epochs:
        for step in range(stream.steps):
            count += len(stream.take(epoch, step))
    return count / (time.perf_counter() - began)


def seconds(work: Callable[[], Any]) -> float:
    """How long something takes."""
    began = time.perf_counter()
    work()
    return round(time.perf_counter() - began, 2)


def costs(root: Path, rounds: int) -> dict[str, Any]:
    """Seconds to open, bytes on disk, and crops a second with and without kept pictures."""
    spec = f"folder:{root}"
    opening = {"first": seconds(lambda: open_data(spec)), "again": seconds(lambda: open_data(spec))}
    files = open_data(spec).train.decoded
    assert isinstance(files, ImageFiles)
    keeping = {
        "first": seconds(lambda: pictures.pictures_of(files)),
        "again": seconds(lambda: pictures.pictures_of(files)),
    }
    kept = pictures.pictures_of(files)
    assert kept is not None
    labels = np.zeros(len(files), np.int64)

    def stream(of: pictures.Pictures | None) -> FileStream:
        def plan(epoch: int) -> Any:
            return plan_epoch(len(files), 16, Mix("none", 1), seed=0, epoch=epoch)

        return FileStream(files, labels, "resized", plan, steps=len(files) // 16, workers=0, pin=False, pictures=of)

    speeds: dict[str, list[float]] = {"kept": [], "files": []}
    for number in range(rounds):
        for name, of in (("kept", kept), ("files", None)):
            speeds[name].append(round(images_per_s(stream(of), range(number, number + 1)), 1))
    ratio = statistics.median(a / b for a, b in zip(speeds["kept"], speeds["files"], strict=True))
    return {
        "images": len(files),
        "opening_seconds": opening,
        "keeping_seconds": keeping,
        "bytes_per_image": {
            "jpeg": round(statistics.mean((root / name).stat().st_size for name in files.names)),
            "kept": kept.file.stat().st_size // len(files),
            "square": 3 * SIZE * SIZE,
        },
        "crops_per_s": {name: statistics.median(values) for name, values in speeds.items()},
        "kept/files": round(ratio, 2),
        "rounds": speeds,
    }


def main() -> None:
    """Measure, print and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--result", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["STKD_CACHE"] = str(Path(folder) / "cache")
        make_photos(Path(folder) / "photos", args.images)
        cost = costs(Path(folder) / "photos", args.rounds)
    result = {
        "what": "detail of random-resized-crops, by the shorter side in crop sizes of the pictures that they are of, "
        "as a share of that of torchvision's on the file; cost of keeping pictures of 1200 x 1600 photos for 224 "
        "pixels, crops a second in one process, in turn with decoding the files",
        "options": {"images": args.images, "rounds": args.rounds, "multiple": pictures.MULTIPLE, "size": SIZE},
        "environment": {k: v for k, v in environment().items() if k not in ("command", "gpu")},
        "cost": cost,
        "detail": compare_detail(),
    }
    print(json.dumps(result["cost"], indent=1))
    if args.result:
        write_result(args.result, result)


if __name__ == "__main__":
    main()
