"""A page for browsers: a static folder with the ONNX file, onnxruntime-web, and what answers pictures with them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ...core.errors import StkdError
from ...models.files import ModelInfo
from ..contract import Contract
from ..format import Format, Opened, Source, exporters
from ..web import page
from ..web import runtime as onnxruntime_web
from .int8_onnx import Int8Onnx
from .onnx import Onnx

__all__ = ["Int8Web", "Web"]

_MODEL, _CONTRACT, _CHECK, _RUNTIME = "model.onnx", "contract.json", "check.json", "runtime"


@exporters.register("web", "a folder for any web server: a page that answers pictures in the browser")
class Web(Format):
    """Written as ONNX, run by onnxruntime-web in the browser, and by onnxruntime to check it.

    Args:
        runtime: Folder of the npm package onnxruntime-web; None fetches it by npm.
    """

    title = "web"
    suffix = ""
    extra = Onnx.extra
    writers = Onnx.writers
    runners = Onnx.runners
    folder = True
    options = ("runtime",)
    model: ClassVar[type[Onnx]] = Onnx
    backends: ClassVar[tuple[str, ...]] = ("webgpu", "wasm")  # in order of preference

    def __init__(self, runtime: Path | None = None) -> None:
        self.runtime = runtime

    @classmethod
    def file_name(cls, stem: str) -> str:
        """Name of the folder."""
        return "web"

    @classmethod
    def parts(cls, file: Path) -> tuple[Path, ...]:
        """All files of the folder."""
        names = (*(f"{_RUNTIME}/{name}" for name in onnxruntime_web.FILES), *page.FILES, _CHECK, _CONTRACT, _MODEL)
        return tuple(file / name for name in names)

    def ready(self) -> None:
        """Also check that the runtime is there, or npm, which fetches it."""
        super().ready()
        if self.runtime is not None:
            onnxruntime_web.check_package(self.runtime)
        elif onnxruntime_web.npm() is None:
            raise StkdError(
                "the page needs onnxruntime-web, and npm, which fetches it, is not installed; give --runtime DIR, a "
                f"folder of that npm package (version {onnxruntime_web.VERSION})"
            )

    def _write(self, source: Source, file: Path) -> Mapping[str, Any]:
        model, beside = file / _MODEL, file / _RUNTIME
        found = self.model().write(source, file.with_name(_MODEL))  # not into the folder, which gets nothing else
        file.mkdir()
        file.with_name(_MODEL).rename(model)
        version = onnxruntime_web.copy_runtime(self.runtime, beside)
        logits = Onnx().open(model, 1).run(_pattern(source.contract.info))[0]
        check = {"logits": logits.tolist(), "backends": self.backends}
        (file / _CHECK).write_text(json.dumps(check), encoding="utf-8")
        (file / _CONTRACT).write_text(json.dumps(json.loads(source.contract.text()), indent=1), encoding="utf-8")
        sizes = {name: sum((beside / f"{name}.{end}").stat().st_size for end in ("js", "wasm")) for name in _KINDS}
        sizes["model"] = model.stat().st_size
        for name, text in page.page_files(source.contract, sizes, version).items():
            (file / name).write_text(text, encoding="utf-8")
        return {**found, "onnxruntime-web": version, "sizes": sizes}

    def _open(self, file: Path, threads: int) -> Opened:
        opened = Onnx().open(file / _MODEL, threads)
        said = json.loads((file / _CONTRACT).read_text(encoding="utf-8"))
        if Contract.read(json.dumps(said), file / _CONTRACT) != opened.contract:
            raise StkdError(f"{file / _CONTRACT} is not that of {_MODEL}; export the run again")
        return opened


@exporters.register("int8-web", "the same page with the model in 8-bit integers")
class Int8Web(Web):
    """Written and run as int8 ONNX."""

    title = "int8 web"
    exact = False
    model = Int8Onnx
    backends = ("wasm",)  # integers are for the processor

    @classmethod
    def file_name(cls, stem: str) -> str:
        """Name of the folder."""
        return "web-int8"


_KINDS = ("wasm", "webgpu")


def _pattern(info: ModelInfo) -> NDArray[np.float32]:
    """What a browser's answers are checked with before they are shown: the page makes the same values."""
    count = info.channels * info.size**2
    values = (np.arange(count) * 37 % 256 / 255).astype(np.float32)
    return values.reshape(1, info.channels, info.size, info.size)
