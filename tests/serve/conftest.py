"""An exported model of two classes of photos, the server around it, and images of many kinds."""

from __future__ import annotations

import io
import shutil
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter

import stkd
from stkd.export import export_run, open_exported

HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]"})

PLAIN: dict[str, Any] = {"epochs": 1, "precision": "32", "accelerator": "cpu", "preflight": "off", "batch_size": 8}


@pytest.fixture(scope="session")
def _served_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for package in ("onnx", "onnxscript", "onnxruntime", "fastapi", "uvicorn", "python_multipart"):
        pytest.importorskip(package, reason=f"{package} is not installed (stkd[onnx,serve])")
    rng, root = np.random.default_rng(0), tmp_path_factory.mktemp("private")
    for split, count in (("train", 8), ("test", 6)):
        for name, blur in (("kiwi", 4), ("plum", 12)):
            (folder := root / "photos" / split / name).mkdir(parents=True)
            for k in range(count):
                pixels = rng.integers(0, 256, (60 + 20 * k, 130, 3), dtype=np.uint8)
                Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(blur)).save(folder / f"{k}.png")
    how: dict[str, Any] = {"image_size": 64, "crop_pct": 0.875, "interpolation": "bicubic"}
    run = stkd.train("cnn4", f"folder:{root / 'photos'}", out=root / "run", **how, **PLAIN).out
    export_run(run, "onnx")
    return run


@pytest.fixture
def served_run(_served_run: Path, tmp_path: Path) -> Path:
    """A run with an ONNX file, of the classes "kiwi" and "plum"; a copy."""
    return Path(shutil.copytree(_served_run, tmp_path / "served_run"))


@pytest.fixture(scope="session")
def served_file(_served_run: Path) -> Path:
    """The ONNX file of that run."""
    return _served_run / "exports" / "model.onnx"


@pytest.fixture
def server(served_file: Path) -> Iterator[Callable[..., Any]]:
    """Makes a server in this process, with other attributes of the opened file and other limits, and a client of it."""
    from dataclasses import replace

    from fastapi.testclient import TestClient

    from stkd.serve.http_api import make_app
    from stkd.serve.http_limits import Limits

    with ExitStack() as stack:

        def start(changed: dict[str, Any] | None = None, **limits: Any) -> Any:
            opened = replace(open_exported(served_file), **(changed or {}))
            app = make_app(opened, limits=replace(Limits(), **limits), hosts=HOSTS)
            return stack.enter_context(TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False))

        yield start


@pytest.fixture
def client(server: Callable[..., Any]) -> Any:
    """A client of a server with the limits that it has by default."""
    return server()


def content(image: Image.Image, format: str, **options: Any) -> bytes:
    """An image as a file."""
    image.save(file := io.BytesIO(), format, **options)
    return file.getvalue()


@pytest.fixture(scope="session")
def kinds() -> dict[str, bytes]:
    """Images of many kinds by file name, none of them square."""
    pixels = np.random.default_rng(1).integers(0, 256, (90, 160, 4), dtype=np.uint8)
    clear = Image.fromarray(pixels, "RGBA").filter(ImageFilter.GaussianBlur(3))
    photo, exif = clear.convert("RGB"), Image.Exif()
    exif[0x0112] = 6
    return {
        "plain.jpg": content(photo, "JPEG", quality=95),
        "rotated.jpg": content(photo, "JPEG", exif=exif),
        "cmyk.jpg": content(photo.convert("CMYK"), "JPEG"),
        "grey.jpg": content(photo.convert("L"), "JPEG"),
        "large.jpg": content(photo.resize((1600, 900)), "JPEG"),
        "clear.png": content(clear, "PNG"),
        "palette.png": content(photo.quantize(16), "PNG"),
        "deep.png": content(Image.fromarray(pixels[..., 0].astype(np.uint16) * 257), "PNG"),
        "lossy.webp": content(clear, "WEBP"),
        "moving.gif": content(photo, "GIF", save_all=True, append_images=[photo.rotate(180)]),
    }


@pytest.fixture(scope="session")
def bomb() -> bytes:
    """A PNG file that says it has 60,000 x 60,000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1 << 20))) + chunk(b"IEND", b"")
