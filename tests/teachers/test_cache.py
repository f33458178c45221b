"""A teacher's logits on disk: exact where they are whole, refused where they are of something else."""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml

import stkd
from stkd.core.errors import StkdError
from stkd.runs.verification import verify
from stkd.teachers.cache import Header, need_header, pack, read_header, shard_file, unpack, write_header, write_shard
from stkd.teachers.cached import CachedTeacher
from stkd.training import cache_writer as caching

SMALL = {"epochs": 3, "train_images": 160, "batch_size": 16, "precision": "32", "accelerator": "cpu"}
FLAGS = [w for k, v in SMALL.items() for w in (f"--{k.replace('_', '-')}", str(v))]
CPU = torch.device("cpu")
CPU = torch.device("cpu")


def header(**changes: Any) -> Header:
    fields = {
        "samples": {"data_seed": 0, "drop_last": False},
        "teacher": "x",
        "teacher_name": "t",
        "precision": "32",
        "classes": tuple("abcdefghij"),
    }
    return Header(**{**fields, "steps": 2, "rows": 6, "epochs": 1, "top_k": None, "dtype": "fp32", **changes})


def failing_at(call: int, function: Callable[..., Any], error: BaseException) -> Callable[..., Any]:
    """A function that raises when it is called for the n-th time."""
    calls = itertools.count(1)

    def failing(*args: Any) -> Any:
        if next(calls) == call:
            raise error
        return function(*args)

    return failing


def weights(run: Path) -> bytes:
    return (run / "student.safetensors").read_bytes()


@pytest.fixture
def full(teacher_run: Path, tmp_path: Path) -> Path:
    """A whole float32 cache of three epochs."""
    stkd.cache_teacher(str(teacher_run), "digits", out=tmp_path / "full", dtype="fp32", **SMALL)
    return tmp_path / "full"


# The format.


@pytest.mark.parametrize("dtype", ["fp16", "fp32"])
@pytest.mark.parametrize("classes", [10, 300])
def test_record(dtype: Any, classes: int) -> None:
    logits = 3 * torch.randn(6, classes, generator=torch.Generator().manual_seed(0)) + 5
    whole = header(dtype=dtype, classes=tuple(map(str, range(classes))))
    tolerance = 1e-2 if dtype == "fp16" else 0.0
    torch.testing.assert_close(unpack(pack(logits, whole), classes, CPU), logits, atol=tolerance, rtol=0)

    part = header(dtype=dtype, classes=whole.classes, top_k=4)
    found, p = unpack(pack(logits, part), classes, CPU).softmax(1), logits.softmax(1)
    top = p.topk(4).indices
    atol = 5e-3 if dtype == "fp16" else 1e-6
    torch.testing.assert_close(found.gather(1, top), p.gather(1, top), atol=atol, rtol=0)
    rest = found.scatter(1, top, 0)
    torch.testing.assert_close(rest.sum(1), 1 - p.gather(1, top).sum(1), atol=atol, rtol=0)
    assert all(len(row[row > 0].unique()) == 1 for row in rest)


def test_reading_copies_nothing(tmp_path: Path) -> None:
    """A step's logits lie in the mapping of the file."""
    written = [torch.randn(6, 10) for _ in range(2)]
    write_shard(tmp_path, 0, header(), (pack(logits, header()) for logits in written))
    cached = CachedTeacher(tmp_path, header(), CPU, cycle=1)
    batch: Any = SimpleNamespace(epoch=5, step=1)
    found = cached(batch)
    assert torch.equal(found, written[1])
    assert cached._open is not None
    first, size = cached._open[1].ctypes.data, cached._open[1].nbytes
    assert isinstance(cached._open[1], np.memmap)
    assert first <= found.data_ptr() < first + size
    found.zero_()
    assert torch.equal(CachedTeacher(tmp_path, header(), CPU, cycle=1)(batch), written[1])


def test_header_comes_back(tmp_path: Path) -> None:
    write_header(tmp_path, header(top_k=3))
    assert read_header(tmp_path) == header(top_k=3)
    assert read_header(tmp_path / "nothing") is None


# Students.


def test_whole_float32_is_live_training(full: Path, teacher_run: Path, tmp_path: Path) -> None:
    """Bit for bit, and the teacher is not needed."""
    live = stkd.distill(str(teacher_run), "cnn2", "digits", out=tmp_path / "live", **SMALL)
    shutil.rmtree(teacher_run)
    cached = stkd.distill(None, "cnn2", "digits", out=tmp_path / "cached", teacher_cache=full, **SMALL)
    assert weights(cached.out) == weights(live.out)
    assert (live.scores["teacher_passes"], cached.scores["teacher_passes"]) == (480, 0)


def test_compressed_is_within_noise(teacher_run: Path, tmp_path: Path) -> None:
    """Half the classes in half precision: the student's accuracy hardly moves."""
    options = SMALL | {"epochs": 8, "train_images": 640, "method": "kd"}
    small = stkd.cache_teacher(str(teacher_run), "digits", out=tmp_path / "small", top_k=5, **options)
    whole = stkd.cache_teacher(str(teacher_run), "digits", out=tmp_path / "whole", dtype="fp32", **options)
    live = stkd.distill(str(teacher_run), "cnn4", "digits", out=tmp_path / "live", **options)
    cached = stkd.distill(None, "cnn4", "digits", out=tmp_path / "cached", teacher_cache=small.out, **options)
    assert cached.scores["test"]["top1"] == pytest.approx(live.scores["test"]["top1"], abs=0.04)
    sizes = [sum(p.stat().st_size for p in c.out.glob("*.npy")) for c in (small, whole)]
    assert sizes[0] < 0.5 * sizes[1]


def test_goes_round_a_shorter_cache(full: Path, teacher_run: Path, tmp_path: Path) -> None:
    """Epoch e has the samples of epoch e mod 3, as a live run with --sample-epochs 3 has them."""
    longer = SMALL | {"epochs": 7}
    cached = stkd.distill(None, "cnn2", "digits", out=tmp_path / "cached", teacher_cache=full, **longer)
    live = stkd.distill(str(teacher_run), "cnn2", "digits", out=tmp_path / "live", sample_epochs=3, **longer)
    all_differ = stkd.distill(str(teacher_run), "cnn2", "digits", out=tmp_path / "differ", **longer)
    assert weights(cached.out) == weights(live.out) != weights(all_differ.out)
    assert yaml.safe_load((cached.out / "config.yaml").read_text())["sample_epochs"] == 3


def test_a_finished_run_needs_its_cache_no_more(full: Path, teacher_run: Path, tmp_path: Path, stkd: Any) -> None:
    """Nor a cache that is still as short as it was; a run of other options is refused all the same."""
    command = ["distill", "--data", "digits", "--student", "cnn2", *FLAGS, "--teacher-cache", full, "--epochs", "5"]
    assert stkd(*command, "--out", tmp_path / "run").code == 0
    longer = ["--teacher-weights", teacher_run, "--dtype", "fp32", "--epochs", "5", "--out", full]
    assert stkd("cache", "--data", "digits", *FLAGS, *longer).code == 0
    assert "was finished before" in stkd(*command, "--out", tmp_path / "run").out
    shutil.rmtree(full)
    again = stkd(*command, "--out", tmp_path / "run")
    assert again.code == 0, again.err
    assert "was finished before" in again.out
    for flag in ("--sample-epochs", "--seed"):
        assert stkd(*command, flag, "2", "--out", tmp_path / "run").code == 2


def test_comparison_from_a_shorter_cache(full: Path, tmp_path: Path, stkd: Any) -> None:
    """The second call finds the runs as they were asked for."""
    command = ["compare", "--data", "digits", "--students", "cnn2", "--methods", "stkd", "--seeds", "1", *FLAGS]
    command += ["--epochs", "5", "--teacher-cache", str(full), "--out", str(tmp_path / "out"), "--jobs", "1"]
    for _ in range(2):
        answer = stkd(*command)
        assert answer.code == 0, answer.err + answer.out
        shutil.rmtree(full, ignore_errors=True)


def test_other_student_seed_and_method_of_the_same_samples(full: Path, teacher_run: Path, tmp_path: Path) -> None:
    options = SMALL | {"seed": 7, "data_seed": 0, "method": "stkd:temperature=2", "lr": 0.1}
    cached = stkd.distill(None, "cnn4", "digits", out=tmp_path / "cached", teacher_cache=full, **options)
    live = stkd.distill(str(teacher_run), "cnn4", "digits", out=tmp_path / "live", **options)
    assert weights(cached.out) == weights(live.out)


def test_resumes(full: Path, tmp_path: Path) -> None:
    options = SMALL | {"teacher_cache": full, "checkpoint_minutes": 1e-9}
    stkd.distill(None, "cnn2", "digits", out=tmp_path / "whole", **options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CachedTeacher, "__call__", failing_at(14, CachedTeacher.__call__, KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            stkd.distill(None, "cnn2", "digits", out=tmp_path / "parts", **options)
    stkd.distill(None, "cnn2", "digits", out=tmp_path / "parts", **options)
    assert weights(tmp_path / "parts") == weights(tmp_path / "whole")


# Writing.


def test_command(teacher_run: Path, tmp_path: Path, stkd: Any) -> None:
    """The command of a student does, with another name and --out; said before: how large, and from when it pays."""
    common = ["--data", "digits", "--teacher-weights", teacher_run, "--student", "cnn2", *FLAGS]
    answer = stkd("cache", *common, "--top-k", "3", "--out", tmp_path / "cache")
    assert answer.code == 0, answer.err
    assert answer.err == "stkd: note: 3 epochs x 160 x top-3 = 5.3 kB, pays from the second student on\n"
    assert 5280 < sum(p.stat().st_size for p in (tmp_path / "cache").glob("*.npy")) < 5280 + 3 * 512
    assert "3 epochs written" in answer.out
    assert stkd("distill", *common, "--teacher-cache", tmp_path / "cache", "--out", tmp_path / "run").code == 0
    again = stkd("cache", *common, "--top-k", "3", "--out", tmp_path / "cache")
    assert "was finished before" in again.out
    cyclic = stkd("cache", *common, "--sample-epochs", "2", "--out", tmp_path / "cyclic")
    assert cyclic.code == 0
    assert "2 epochs x 160 x 10 classes = 6.4 kB, pays from the first student of 3 epochs on" in cyclic.err


def test_killed_and_lengthened(full: Path, teacher_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What stood stays as it was; nothing half-written is left; the end is the same as in one go."""

    def write(epochs: int) -> None:
        options = SMALL | {"epochs": epochs, "dtype": "fp32"}
        stkd.cache_teacher(str(teacher_run), "digits", out=tmp_path / "parts", **options)

    with monkeypatch.context() as patch:
        patch.setattr(caching, "pack", failing_at(14, pack, KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            write(2)
    assert [p.name for p in (tmp_path / "parts").glob("*") if p.suffix != ".lock"].count("epoch-00000.npy") == 1
    assert not list((tmp_path / "parts").glob(".*.part"))
    before = shard_file(tmp_path / "parts", 0).stat().st_mtime_ns
    (tmp_path / "parts" / ".epoch-00001.npy.x.part").write_text("left by kill -9")
    write(2)
    write(3)
    assert shard_file(tmp_path / "parts", 0).stat().st_mtime_ns == before
    files, found = ({p.name: p.read_bytes() for p in cache.iterdir()} for cache in (full, tmp_path / "parts"))
    for name in (".lock", "manifest.json"):  # which says what stood in a header that was lengthened
        del files[name], found[name]
    assert found == files
    assert {*verify(tmp_path / "parts").values()} == {"right"}


def test_disk_full(teacher_run: Path, tmp_path: Path, stkd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    command = ["cache", "--data", "digits", "--teacher-weights", teacher_run, *FLAGS, "--out", tmp_path / "cache"]
    with monkeypatch.context() as patch:
        patch.setattr(caching, "pack", failing_at(14, pack, OSError(errno.ENOSPC, "No space left on device")))
        answer = stkd(*command)
    assert answer.code == 2
    assert answer.err.count("stkd: error: ") == 1
    assert "the disk is full" in answer.err
    left = ["epoch-00000.npy", "header.json", "manifest.json"]
    assert sorted(p.name for p in (tmp_path / "cache").glob("[!.]*")) == left
    with monkeypatch.context() as patch:
        patch.setattr(caching.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
        answer = stkd(*command)
    assert answer.code == 2
    assert "has 1.0 kB free" in answer.err
    assert stkd(*command).code == 0


# Refusals.

OTHERS = {
    "data": (
        ["--train-images", "120", "--batch-size", "12"],
        "was made with 160 training images of digits, 8 x 8 pixels, here it is 120 training images of digits",
    ),
    "split": (["--split-seed", "5"], "here they are as many, but other images, or in another split or order;"),
    "mix": (["--method", "kd"], "was made with --mix mixup, here it is none; give the same, or make another cache"),
    "alpha": (["--alpha", "0.5"], "was made with --alpha 1, here it is 0.5;"),
    "per_sample": (["--per-sample", "true"], "was made with --per-sample false, here it is true;"),
    "batch_size": (["--batch-size", "32"], "was made with --batch-size 16, here it is 32;"),
    "seed": (["--seed", "1"], "was made with the seed (--seed or --data-seed) 0, here it is 1;"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_samples(name: str, full: Path, tmp_path: Path, stkd: Any) -> None:
    flags, says = OTHERS[name]
    common = ["distill", "--data", "digits", "--student", "cnn2", *FLAGS, *flags, "--out", tmp_path / "run"]
    answer = stkd(*common, "--teacher-cache", full)
    assert (answer.code, answer.err.count("\n")) == (2, 1)
    assert f"{full} was made with " in answer.err
    assert says in answer.err


def test_other_teacher(full: Path, teacher_run: Path, tmp_path: Path) -> None:
    """A teacher that is named as well must be the one."""
    options = SMALL | {"teacher_cache": full, "out": tmp_path / "run"}
    other = stkd.models.create("cnn4", num_classes=10, in_channels=1)
    with pytest.raises(stkd.StkdError, match="the teacher cnn4, here it is the teacher TinyCNN; give"):
        stkd.distill(other, "cnn2", "digits", **options)
    with pytest.raises(stkd.StkdError, match="cnn4, here it has other weights, classes or normalisation; give"):
        stkd.distill(str(teacher_run), "cnn2", "digits", teacher_mean=(0.4,), **options)
    stkd.distill(str(teacher_run), "cnn2", "digits", **options)


def test_cache_of_something_else(full: Path, teacher_run: Path, tmp_path: Path, stkd: Any) -> None:
    command = ["cache", "--data", "digits", "--teacher-weights", teacher_run, *FLAGS]
    before = {p: p.read_bytes() for p in full.iterdir()}
    for flags, says in (
        (["--out", full], "was made with --dtype fp32, here it is fp16"),
        (["--out", full, "--dtype", "fp32", "--top-k", "2"], "was made with all logits, here it is --top-k 2"),
        (["--out", full, "--dtype", "fp32", "--alpha", "2"], "was made with --alpha 1, here it is 2"),
        (["--out", teacher_run], "is not empty and is no cache of a teacher"),
        (["--out", teacher_run / "config.yaml"], "is a file"),
        (["--out", tmp_path / "new", "--top-k", "10"], "--top-k 10 keeps all of 10 classes"),
        (["--out", tmp_path / "new", "--top-k", "0"], "top_k must be at least 1"),
        (["--out", tmp_path / "new", "--method", "ce"], "learns from no teacher"),
        (["--out", tmp_path / "new", "--teacher-cache", full], "leave out --teacher-cache"),
    ):
        answer = stkd(*command, *flags)
        assert (answer.code, answer.err.count("\n")) == (2, 1), flags
        assert says in answer.err
    assert {p: p.read_bytes() for p in full.iterdir()} == before
    assert not (tmp_path / "new").exists() or not list((tmp_path / "new").glob("[!.]*"))


@pytest.mark.parametrize("method", ["fitnet", "stkd:divergence=mse", "kd:standardize=true"])
def test_methods_that_need_more(method: str, teacher_run: Path, tmp_path: Path, stkd: Any) -> None:
    """One line, and what is enough for them does."""
    common = ["--data", "digits", "--student", "cnn2", "--method", method, *FLAGS]
    made = stkd("cache", *common, "--teacher-weights", teacher_run, "--top-k", "4", "--out", tmp_path / "cache")
    assert made.code == 0
    answer = stkd("distill", *common, "--teacher-cache", tmp_path / "cache", "--out", tmp_path / "run")
    assert (answer.code, answer.err.count("\n")) == (2, 1)
    assert ("looks at features" if method == "fitnet" else "compares all logits") in answer.err


def test_damage(full: Path, tmp_path: Path, stkd: Any) -> None:
    command = ["distill", "--data", "digits", "--student", "cnn2", *FLAGS, "--out", tmp_path / "run"]

    def says(words: str, *flags: Any, folder: Path = full) -> None:
        answer = stkd(*command, "--teacher-cache", folder, *flags)
        assert (answer.code, answer.err.count("\n")) == (2, 1)
        assert words in answer.err

    says("is no cache of a teacher; make it with", folder=tmp_path / "nothing")
    says("holds 3 epochs, --sample-epochs asks for 5", "--epochs", "9", "--sample-epochs", "5")
    shard = shard_file(full, 2)
    content = shard.read_bytes()
    shard.write_bytes(content[:-10])
    says(f"{shard} is damaged")
    for place in range(8, 60):  # of the header, whose brackets and quotes Python's tokenizer complains about
        shard.write_bytes(content[:place] + bytes([content[place] ^ 0x0F]) + content[place + 1 :])
        with contextlib.suppress(StkdError):
            CachedTeacher(full, need_header(full), CPU, cycle=3)._shard(2)
    shard.unlink()
    says("is not complete: 1 of 3 epochs are missing")
    shard.write_bytes(content)
    (full / "manifest.json").unlink()
    head = full / "header.json"
    fields = json.loads(head.read_text())
    head.write_text(json.dumps(fields | {"format": 2}))
    says("was written by a later version")
    head.write_text("{")
    says("is damaged; delete")


@pytest.mark.parametrize(
    "seeds", [range(10), pytest.param(range(10, 200), marks=pytest.mark.slow)], ids=["some", "many"]
)
def test_a_flipped_bit_in_a_shard_is_named_and_the_shard_is_written_anew(
    seeds: range, full: Path, teacher_run: Path, tmp_path: Path, stkd: Any, flipped: Any
) -> None:
    shard, held = shard_file(full, 1), need_header(full)
    right = shard.read_bytes()
    for seed in seeds:
        with flipped(shard, seed), pytest.raises(StkdError, match=rf"{shard} is damaged; run its 'stkd cache' command"):
            CachedTeacher(full, held, CPU, cycle=3)._shard(1)
    with flipped(shard, 0):
        options = ["--data", "digits", *FLAGS]
        command = ["distill", *options, "--student", "cnn2", "--teacher-cache", full, "--out", tmp_path / "run"]
        answer = stkd(*command)
        assert answer.code == 2
        assert [line for line in answer.err.splitlines() if "error" in line] == answer.err.splitlines()[-1:]
        again = stkd("cache", *options, "--teacher-weights", teacher_run, "--dtype", "fp32", "--out", full)
        assert again.code == 0
        assert f"stkd: warning: {shard} is damaged and is written anew\n" in again.err
        assert "1 epochs written" in again.out
        assert shard.read_bytes() == right
        assert stkd(*command).code == 0
    live = tmp_path / "live"
    assert stkd("distill", *options, "--student", "cnn2", "--teacher-weights", teacher_run, "--out", live).code == 0
    assert weights(tmp_path / "run") == weights(live)


def test_a_flipped_bit_in_a_header_is_one_line(full: Path, flipped: Any) -> None:
    for seed in range(20):
        with flipped(full / "header.json", seed), pytest.raises(StkdError, match=r"header\.json is damaged; delete"):
            read_header(full)


def test_a_cache_of_an_earlier_version_goes_on(full: Path, tmp_path: Path) -> None:
    (full / "manifest.json").unlink()
    stkd.distill(None, "cnn2", "digits", out=tmp_path / "run", teacher_cache=full, **SMALL)
    shard = shard_file(full, 2)
    shard.write_bytes(shard.read_bytes()[:-10])
    with pytest.raises(StkdError, match="is damaged; run its 'stkd cache' command"):
        CachedTeacher(full, need_header(full), CPU, cycle=3)._shard(2)


def test_logits_that_are_not_finite() -> None:
    with pytest.raises(stkd.StkdError, match="not finite in fp16"):
        pack(torch.full((6, 10), 1e6), header(dtype="fp16"))
    pack(torch.full((6, 10), 1e6), header(dtype="fp32"))
