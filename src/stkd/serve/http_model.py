"""The model that the prediction server runs: an exported file, or a run's, which is made where there is none."""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path

from ..core.errors import StkdError
from ..core.files import digest_file
from ..export import export_run, open_exported
from ..export.format import Opened, exporters
from ..models.files import find_weights
from ..runs.directory import finished_result
from ..runs.exports import exports_folder

__all__ = ["need_packages", "open_served"]

_FORMAT = "onnx"

_log = logging.getLogger(__name__)


def need_packages() -> None:
    """Check that all is installed that serving takes.

    Raises:
        StkdError: A package is missing.
    """
    packages = ("fastapi", "uvicorn", "python_multipart", "onnxruntime")
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise StkdError(f"stkd serve needs {' and '.join(missing)}; pip install 'stkd[serve]'")


def open_served(source: Path) -> Opened:
    """Open an ONNX file, or that of a run.

    Args:
        source: The file, or a run directory; one without an ONNX file is exported.

    Raises:
        StkdError: It is neither, cannot be opened or exported, or the run has other weights than its ONNX file.
    """
    file = _file_of_run(source) if source.is_dir() else source
    if file.suffix.lower() != ".onnx":
        raise StkdError(f"{file} is no run directory and no .onnx file; give what 'stkd export --to onnx' wrote")
    opened = open_exported(file)
    if opened.whole is not None:
        raise StkdError(f"{file} takes whole pictures; export the run to another --out without --whole-pictures")
    if source.is_dir() and opened.contract.weights != digest_file(find_weights(source)):
        raise StkdError(f"{file} has other weights than the run; make it anew: stkd export {source} --to onnx --force")
    return opened


def _file_of_run(run: Path) -> Path:
    file = exports_folder(run) / exporters.get(_FORMAT).file_name(find_weights(run).stem)
    if not file.exists():
        if finished_result(run) is None:
            raise StkdError(f"{run} is not finished; run its command again to go on, then serve it")
        _log.info("%s has no ONNX file yet; made first, as by stkd export %s --to onnx", run, run)
        export_run(run, _FORMAT)
    return file
