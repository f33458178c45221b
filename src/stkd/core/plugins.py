"""Methods, models and data sets from a user's own Python file."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
from pathlib import Path

from .errors import StkdError

__all__ = ["load_plugin"]


def load_plugin(path: Path) -> None:
    """Execute a Python file once, so that it can register methods, models and data sets.

    Args:
        path: The file; it is executed with the rights of this process.

    Raises:
        StkdError: The file does not exist or fails.
    """
    # `is_file` knows of zero bytes, of loops of links and of names that are too long for the disk
    spec, name = None, ""
    if path.is_file():
        place = hashlib.blake2b(os.fsencode(path.resolve()), digest_size=4).hexdigest()
        name = f"stkd_plugin_{path.stem}_{place}"
        if name in sys.modules:
            return
        spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise StkdError(f"plugin {path} is not a Python file; give a .py file that registers something")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up there
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        if isinstance(error, StkdError):
            raise
        raise StkdError(f"plugin {path} failed: {type(error).__name__}: {' '.join(str(error).split())}") from error
