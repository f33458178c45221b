"""An epoch of 100,000 small images from tar shards and from Parquet files, beside the same images in folders.

    python benchmarks/shards.py --work DIR --result results/shards.json

The images are JPEGs made here, ten classes, every one another picture: of 32 pixels, whose squares are kept in the
cache and in memory, and of 96 pixels, which are too many for that and are decoded when they are wanted. Each form is
opened and loaded in a process of its own with a cache of its own; its peak is that of resident memory, which counts
pages that are shared with others. That all forms give the same batches is seen to. About twenty minutes on two cores.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from common import ROOT, write_result
from PIL import Image

from stkd.runs.environment import environment

CLASSES, PER_TAR, PARQUET_FILES, TEST = 10, 1000, 10, 100
WORKERS = 1

LOAD = f"""
import hashlib, json, re, resource, sys, time
from pathlib import Path
import torch
from stkd.data import ImageFiles, open_data
from stkd.data.loader import TrainLoader
from stkd.mixing import Mix

def peak():  # ru_maxrss would be that of the process that started this one, where that is larger
    return round(int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024)

torch.set_num_threads(1)
before = peak()
began = time.perf_counter()
data = open_data(sys.argv[1], image_size=int(sys.argv[2]))
opened = time.perf_counter()
device = torch.device("cpu")
loader = TrainLoader(
    data, batch_size=64, mix=Mix("none", 1), augmentation=data.augment, seed=0, device=device, workers={WORKERS}
)
total, images = hashlib.blake2b(digest_size=16), 0
for batch in loader.epoch(0):
    total.update(batch.images.permute(0, 2, 3, 1).contiguous().numpy().data)
    total.update(batch.labels.numpy().data)
    images += len(batch.images)
ended = time.perf_counter()
kept = not isinstance(data.train.images, ImageFiles)
of_a_worker = None if kept else round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)
print(json.dumps({{
    "images": len(data.train),
    "kept": kept,
    "opening_seconds": round(opened - began, 1),
    "images_per_s": round(images / (ended - opened)),
    "mb_before": before,
    "mb_peak": peak(),
    "mb_peak_of_a_worker": of_a_worker,
    "batches": total.hexdigest(),
}}))
"""


def pictures(count: int, size: int, seed: int) -> Iterator[tuple[int, str, bytes]]:
    """Class, name and content of smooth random pictures, the classes in order."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        coarse, content = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)), io.BytesIO()
        coarse.resize((size, size), Image.Resampling.BICUBIC).save(content, "JPEG", quality=90)
        yield number * CLASSES // count, f"{number:06d}", content.getvalue()


def write_forms(root: Path, count: int, size: int) -> dict[str, int]:
    """Write the same images in every form; the bytes of each."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    for split, images, seed in (("train", count, 0), ("test", TEST, 1)):
        tar: tarfile.TarFile | None = None
        rows: list[dict[str, Any]] = []
        files = PARQUET_FILES if split == "train" else 1
        for number, (label, name, content) in enumerate(pictures(images, size, seed)):
            file = root / "folder" / split / f"class{label}" / f"{name}.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
            if number % PER_TAR == 0:
                if tar is not None:
                    tar.close()
                (root / "webdataset").mkdir(exist_ok=True)
                tar = tarfile.open(root / "webdataset" / f"{split}-{number // PER_TAR:06d}.tar", "w")  # noqa: SIM115
            assert tar is not None
            for suffix, part in {"jpg": content, "cls": f"class{label}".encode()}.items():
                member = tarfile.TarInfo(f"{name}.{suffix}")
                member.size = len(part)
                tar.addfile(member, io.BytesIO(part))
            rows.append({"image": {"bytes": content, "path": f"{name}.jpg"}, "label": f"class{label}"})
            if len(rows) * files == images:
                (root / "parquet").mkdir(exist_ok=True)
                part_number = number * files // images
                place = root / "parquet" / f"{split}-{part_number:05d}-of-{files:05d}.parquet"
                pq.write_table(pa.Table.from_pylist(rows), place, row_group_size=1000)
                rows = []
        assert tar is not None
        tar.close()
    return {form.name: sum(f.stat().st_size for f in form.rglob("*.*")) for form in sorted(root.iterdir())}


def loaded(form: str, root: Path, size: int, cache: Path) -> dict[str, Any]:
    """One epoch of a form, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", LOAD, f"{form}:{root / form}", str(size)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env={**os.environ, "STKD_CACHE": str(cache), "PYTHONPATH": str(ROOT / "src")},
    )
    result: dict[str, Any] = json.loads(done.stdout)
    result["mb_in_the_cache"] = round(sum(f.stat().st_size for f in cache.rglob("*") if f.is_file()) / 2**20)
    return result


def main() -> None:
    """Measure, print and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100_000, help="a multiple of 10")
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 96])
    parser.add_argument("--work", type=Path, required=True, help="folder for the images, for the time")
    parser.add_argument("--result", type=Path)
    args = parser.parse_args()
    sets = {}
    for size in args.sizes:
        root = args.work / f"shards-{size}"
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir(parents=True)
        of_forms = write_forms(root, args.images, size)
        forms = {}
        for form, written in of_forms.items():
            forms[form] = {"mb_on_disk": round(written / 2**20), **loaded(form, root, size, root / f"cache-{form}")}
            print(size, form, forms[form], flush=True)
            shutil.rmtree(root / f"cache-{form}", ignore_errors=True)  # of folders that are streamed nothing is kept
        if len({own.pop("batches") for own in forms.values()}) > 1:
            raise SystemExit("the forms give other batches")
        shutil.rmtree(root)
        sets[f"{size} pixels"] = forms
    result = {
        "what": "one epoch of small images in tar shards, in Parquet files and in folders: peak resident memory in MB "
        "of the process (before: after its imports) and of a worker, and images a second; the batches are the same",
        "options": {"images": args.images, "per_tar": PER_TAR, "parquet_files": PARQUET_FILES, "workers": WORKERS},
        "environment": {k: v for k, v in environment().items() if k not in ("command", "gpu")},
        "sets": sets,
    }
    if args.result:
        write_result(args.result, result)


if __name__ == "__main__":
    main()
