"""A teacher of ImageNet's 1,000 classes on other images: by the names of its classes, and by a linear probe.

    python benchmarks/probes.py --teacher hf/LITE2 --flowers FOLDER --tiny FOLDER --work DIR \\
                                --result results/probes.json

LITE2 is a folder with EfficientNet-Lite 2 and its ImageNet weights, as timm saves models for the hub; `--flowers` has
photos, one folder a class; `--tiny` is Tiny-ImageNet as published (or some of its classes), of which ten are taken:
every n-th by WordNet id, with 200 training images each. Images are 64 pixels wide; the teacher is shown them as they
are, and those of Tiny-ImageNet also enlarged to 128 (it was trained with 260). Accuracy on test images: of the flowers
a fifth, drawn with three seeds; of Tiny-ImageNet the published validation images. A quarter of an hour on one core.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch
from common import write_result

from stkd.data import DataSet, open_data
from stkd.evaluation import logits_of, scores
from stkd.runs.environment import environment
from stkd.teachers import LiveTeacher
from stkd.teachers.loading import load_teacher
from stkd.teachers.probed import give_probe

SIZE = 64
SIZES = (64, 128)
SEEDS = (0, 1, 2)
CLASSES, IMAGES = 10, 200
CPU = torch.device("cpu")


def tree_of(tiny: Path, out: Path) -> Path:
    """Ten classes of Tiny-ImageNet as folders named by WordNet ids, in train and test; links to its files."""
    known = sorted(folder.name for folder in (tiny / "train").iterdir())
    chosen = known[:: len(known) // CLASSES][:CLASSES]
    files = [(f"train/{wnid}", file) for wnid in chosen for file in (tiny / "train" / wnid / "images").iterdir()]
    for line in (tiny / "val" / "val_annotations.txt").read_text().splitlines():
        name, wnid, *_ = line.split("\t")
        if wnid in chosen:
            files.append((f"test/{wnid}", tiny / "val" / "images" / name))
    for folder, file in files:
        link = out / folder / file.name
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.exists():
            os.symlink(file.resolve(), link)
    return out


def on_test_images(teacher: LiveTeacher, data: DataSet) -> dict[str, float]:
    """Accuracy, NLL and ECE."""
    assert data.test is not None
    found = scores(*logits_of(teacher.logits, data.test, data, device=CPU))
    return {name: found[name] for name in ("top1", "nll", "ece")}


def by_name(name: str, data: DataSet, size: int) -> dict[str, float]:
    """The teacher's own head, its classes found by their WordNet ids."""
    return on_test_images(load_teacher(name, None, data, CPU, pretrained=True, size=size), data)


def by_probe(name: str, data: DataSet, size: int) -> dict[str, float]:
    """A head fitted on the training images."""
    teacher = load_teacher(name, None, data, CPU, pretrained=True, size=size, new_head=True)
    give_probe(teacher, data)
    assert teacher.head is not None
    return {**on_test_images(teacher, data), **{f"fit_{key}": value for key, value in teacher.head.said.items()}}


def over_seeds(rows: list[dict[str, float]]) -> dict[str, Any]:
    """Each seed's accuracy, their mean and their standard deviation."""
    values = [row["top1"] for row in rows]
    return {"seeds": list(SEEDS), "top1": values, "mean": mean(values), "std": stdev(values), "runs": rows}


def main() -> None:
    """Fit, score, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", required=True)
    for name in ("--flowers", "--tiny", "--work", "--result"):
        parser.add_argument(name, type=Path, required=True)
    args = parser.parse_args()
    flowers = [open_data(f"folder:{args.flowers}", image_size=SIZE, split_seed=seed) for seed in SEEDS]
    tiny = open_data(f"folder:{tree_of(args.tiny, args.work / 'tiny')}", image_size=SIZE, train_images=CLASSES * IMAGES)
    result: dict[str, Any] = {
        "what": f"a teacher of ImageNet's 1,000 classes on other images of {SIZE} pixels, accuracy on test images",
        "command": "python benchmarks/probes.py --teacher hf/LITE2 --flowers FOLDER --tiny FOLDER --work DIR "
        "--result results/probes.json",
        "teacher": "tf_efficientnet_lite2, ImageNet weights",
        "environment": {name: value for name, value in environment().items() if name != "command"},
    }
    rows = [by_probe(args.teacher, data, SIZE) for data in flowers]
    result["flowers"] = {"classes": 5, "train": len(flowers[0].train), "probe": {SIZE: over_seeds(rows)}}
    result["tiny_imagenet"] = {"classes": CLASSES, "train": len(tiny.train), "wordnet_ids": list(tiny.classes)}
    for way, score in (("by_wordnet_id", by_name), ("probe", by_probe)):
        result["tiny_imagenet"][way] = {size: score(args.teacher, tiny, size) for size in SIZES}
    for data, part in ((flowers[0], "flowers"), (tiny, "tiny_imagenet")):
        assert data.test is not None
        result[part]["test"] = len(data.test)
    write_result(args.result, result)


if __name__ == "__main__":
    main()
