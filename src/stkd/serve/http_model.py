"""The model that the prediction server runs: an exported file, or a run's, which is made where there is none."""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path

from ..core.errors import StkdError
from ..data.digest import digest_file
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
    opened = _opened(source)
    if opened.whole is not None:
        raise StkdError(f"{source} takes whole pictures; serve one that was exported without --whole-pictures")
    return opened


def _opened(source: Path) -> Opened:
    if not source.is_dir():
        if source.suffix.lower() != ".onnx":
            raise StkdError(f"{source} is no run directory and no .onnx file; give what 'stkd export --to onnx' wrote")
        return open_exported(source)
    weights = find_weights(source)
    file = exports_folder(source) / exporters.get(_FORMAT).file_name(weights.stem)
    if not file.exists():
        if finished_result(source) is None:
            raise StkdError(f"{source} is not finished; run its command again to go on, then serve it")
        _log.info("%s has no ONNX file yet; made first, as by stkd export %s --to onnx", source, source)
        export_run(source, _FORMAT)
    opened = open_exported(file)
    if opened.contract.weights != digest_file(weights):
        raise StkdError(f"{file} has other weights than the run; make it anew: stkd export {source} --to onnx --force")
    return opened
