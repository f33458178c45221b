"""torch.export's .pt2 files, for programs with torch but without stkd and timm; the contract is an extra file inside.

Reading one unpickles and evaluates what stands in it. So only files are opened that stkd wrote for the same user, whose
digests it keeps in the user's cache folder, where nobody who sends a file can add one.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ...core.errors import StkdError
from ...core.files import digest_file, write_atomic
from ...data.decoded_cache import cache_folder
from ..contract import KEY, Contract
from ..format import Format, Opened, Source, exporters

__all__ = ["TorchExport"]


@exporters.register("torch-export", "torch.export's .pt2, for programs that have torch but not stkd")
class TorchExport(Format):
    """Written and run by torch."""

    title = "torch.export"
    suffix = ".pt2"

    def _write(self, source: Source, file: Path) -> None:
        content = io.BytesIO()
        torch.export.save(source.program, content, extra_files={KEY: source.contract.text()})
        file.write_bytes(content.getvalue())
        mark = _mark(file)
        mark.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(mark, "")

    def _open(self, file: Path, threads: int) -> Opened:
        if not _mark(file).is_file():
            raise StkdError(
                f"{file} was not written by stkd for you, and reading a .pt2 file can run code; export the run again, "
                "or give an ONNX file"
            )
        with zipfile.ZipFile(file) as archive:
            said = [name for name in archive.namelist() if name.endswith(f"/extra/{KEY}")]
            contract = Contract.read(archive.read(said[0]).decode() if said else None, file)
        module = torch.export.load(file).module()

        def run(batch: NDArray[np.float32]) -> NDArray[np.float32]:
            with torch.inference_mode():
                answer: NDArray[np.float32] = module(torch.from_numpy(batch)).numpy()
            return answer

        return Opened(contract, run, f"torch {torch.__version__}")


def _mark(file: Path) -> Path:
    return cache_folder() / "exports" / digest_file(file)
