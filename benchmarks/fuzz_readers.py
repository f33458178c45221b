"""What reads files and texts of others, and valid examples to start from, for `fuzz.py`."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import struct
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import yaml
from PIL import Image

import stkd
from stkd import models
from stkd.core.config import DistillConfig, plain
from stkd.core.errors import StkdError
from stkd.core.plain_yaml import parse_yaml
from stkd.data.decode import decode_square
from stkd.data.idx import read_idx
from stkd.data.plain_pickle import load_plain
from stkd.methods import parse
from stkd.models.files import ModelInfo, read_info, save_model
from stkd.models.weights import read_state
from stkd.runs.checkpoint import load_checkpoint, save_checkpoint
from stkd.runs.directory import read_metrics, read_preflight, read_result
from stkd.runs.options import read_config
from stkd.teachers.class_map import read_class_map
from stkd.teachers.classes import read_classes

__all__ = ["READERS", "Reader"]


@dataclass(frozen=True)
class Reader:
    """Something that reads what others wrote.

    Attributes:
        file: Name of the file that it reads.
        read: Reads it, given its path.
        seeds: Valid contents, given an empty folder.
        refuses: Errors by which it says that the content is bad.
    """

    file: str
    read: Callable[[Path], object]
    seeds: Callable[[Path], list[bytes]]
    refuses: tuple[type[Exception], ...] = (StkdError,)


def _model() -> torch.nn.Module:
    return models.create("cnn2", num_classes=3, in_channels=1)


def _safetensors(folder: Path) -> list[bytes]:
    info = ModelInfo("cnn2", ("a", "b", "c"), 1, 8, (0.5,), (0.2,))
    save_model(_model(), folder / "seed.safetensors", info)
    return [(folder / "seed.safetensors").read_bytes()]


def _saved(content: object, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, **options)
    return buffer.getvalue()


def _torch_files(folder: Path) -> list[bytes]:
    state = _model().state_dict()
    nested = {"epoch": 3, "args": {"lr": 0.1}, "model": {f"module.{name}": value for name, value in state.items()}}
    return [_saved(state), _saved(nested), _saved(state, _use_new_zipfile_serialization=False)]


def _checkpoints(folder: Path) -> list[bytes]:
    save_checkpoint(folder / "seed.pt", {"identity": "x", "epoch": 1, "student": _model().state_dict()})
    return [(folder / "seed.pt").read_bytes()]


def _idx(folder: Path) -> list[bytes]:
    head = struct.pack(">HBBIII", 0, 8, 3, 2, 4, 4)
    return [head + bytes(range(32)), gzip.compress(head + bytes(32))]


def _cifar(folder: Path) -> list[bytes]:
    batch = {b"data": np.zeros((2, 3072), np.uint8), b"labels": [1, 2], b"filenames": [b"a.png", b"b.png"]}
    return [pickle.dumps(batch, protocol) for protocol in (0, 2, 4)]


def _images(folder: Path) -> list[bytes]:
    pixels = np.random.default_rng(0).integers(0, 255, (24, 32, 3), np.uint8)
    found = []
    for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM"):
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, kind)
        found.append(buffer.getvalue())
    return found


def _config(folder: Path) -> list[bytes]:
    config = DistillConfig(data="digits", teacher="cnn2", student="cnn2", out=Path("run"))
    return [yaml.safe_dump(plain(config)).encode()]


def _text(*seeds: str) -> Callable[[Path], list[bytes]]:
    return lambda folder: [seed.encode() for seed in seeds]


def _json(*seeds: object) -> Callable[[Path], list[bytes]]:
    return _text(*(json.dumps(seed) for seed in seeds))


def _opened(kind: str) -> Callable[[Path], object]:
    """Opens a data set and reads all of it."""

    def read(path: Path) -> object:
        data = stkd.open_data(f"{kind}:{path}", image_size=8)
        splits = (data.train, data.val, data.test)
        return [split.images[0] for split in splits if split is not None and len(split.images)]

    return read


def _png(value: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (value, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def _csv(folder: Path) -> list[bytes]:
    rows = []
    for number in range(6):
        (folder / f"{number}.png").write_bytes(_png(number))
        rows.append(f"{folder / str(number)}.png,{'cat' if number % 2 else 'dog'},{'train' if number < 4 else 'test'}")
    return ["\n".join(["path,label,split", *rows]).encode()]


def _tar(folder: Path) -> list[bytes]:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for number in range(8):
            for name, content in ((f"{number}.png", _png(number)), (f"{number}.cls", str(number % 2).encode())):
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return [buffer.getvalue()]


def _parquet(folder: Path) -> list[bytes]:
    images = [{"bytes": _png(number), "path": None} for number in range(8)]
    pq.write_table(pa.table({"image": images, "label": [0, 1] * 4}), folder / "seed.parquet")
    return [(folder / "seed.parquet").read_bytes()]


READERS = {
    "safetensors": Reader("model.safetensors", lambda path: (read_info(path), read_state(path)), _safetensors),
    "pth": Reader("model.pth", read_state, _torch_files),
    "checkpoint": Reader("last.pt", load_checkpoint, _checkpoints),
    "idx": Reader("train-images-idx3-ubyte", lambda path: read_idx(path, 3), _idx),
    "cifar": Reader("data_batch_1", lambda path: load_plain(path.read_bytes()), _cifar, (pickle.UnpicklingError,)),
    "image": Reader("image", lambda path: decode_square(path.read_bytes(), 3, 16), _images),
    "yaml": Reader(
        "text",
        lambda path: parse_yaml(path.read_bytes().decode(errors="replace")),
        _text("a: 1\nb: [x, {c: 2.5}]\n", "a: &x [1, 2]\nb: *x\n", "- 2024-01-01\n- !!str 5\n- |\n  text\n"),
        (yaml.YAMLError,),
    ),
    "config": Reader("config.yaml", lambda path: read_config(path.parent), _config),
    "method": Reader(
        "text",
        lambda path: parse(path.read_bytes().decode(errors="replace")),
        _text("stkd:temperature=2,beta=8", "crd+kd:weight=0.5", "mlkd:strong=true"),
    ),
    "csv": Reader("table.csv", _opened("csv"), _csv),
    "tar": Reader("train.tar", _opened("webdataset"), _tar),
    "parquet": Reader("train.parquet", _opened("parquet"), _parquet),
    "class map": Reader("map.csv", read_class_map, _text("cat,Felis catus\ndog,n02084071\n", '# two\n"a, b"\tc\n')),
    "classes": Reader("classes.txt", read_classes, _text("cat\ndog\n", '["cat", "dog"]')),
    "result": Reader(
        "result.json",
        lambda path: read_result(path.parent),
        _json({"scores": {"test": {"top1": 0.5}}, "weights": {"student.safetensors": "00"}}),
    ),
    "metrics": Reader("metrics.jsonl", lambda path: read_metrics(path.parent), _json({"epoch": 1, "train_loss": 0.5})),
    "preflight": Reader(
        "preflight.json", lambda path: read_preflight(path.parent), _json({"findings": [], "mode": "warn"})
    ),
}
"""By name."""
