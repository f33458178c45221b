"""Compiling the C++ of this folder, and loading it."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from ..core.files import write_atomic
from ..data.cache import cache_folder

__all__ = ["load_kernels"]

_SOURCE = Path(__file__).with_name("batch_norm.cpp")
_MACHINE = {"AVX512": ["-march=x86-64-v4"], "AVX2": ["-march=x86-64-v3"]}
"""By what torch's own kernels use here; not "native", for a cache folder may be shared by different machines."""
_FLAGS = ["-O3", "-fopenmp", "-fno-math-errno", "-fno-trapping-math"]


@functools.cache
def load_kernels() -> None:
    """Load the operations into torch.ops.stkd, from the cache folder, or compile them first (20 s, once a machine).

    Raises:
        Exception: There is no C++ compiler, or it failed; torch raises many kinds.
    """
    flags = [*_FLAGS, *_MACHINE.get(torch.backends.cpu.get_cpu_capability(), [])]
    # what is compiled fits one build of torch alone
    parts = [_SOURCE.read_text(), *flags, torch.__version__, torch.__file__]
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
    library = cache_folder() / "kernels" / f"stkd_{key}.so"
    if library.exists():
        with contextlib.suppress(OSError):  # damaged: made again
            torch.ops.load_library(library)  # type: ignore[no-untyped-call]
            return
    # its folder is this process's own: a lock that a killed process has left there would be waited for by all others
    with TemporaryDirectory() as folder:
        _compile(library.stem, flags, Path(folder))
        with contextlib.suppress(OSError):  # where nothing can be kept, the next process compiles again
            library.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(library, (Path(folder) / library.name).read_bytes())


def _compile(name: str, flags: list[str], folder: Path) -> None:
    """Write the library `name`.so to a folder, and load it."""
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # says that there is no CUDA, in vain
    from torch.utils import cpp_extension

    cpp_extension.load(
        name,
        [str(_SOURCE)],
        extra_cflags=flags,
        extra_ldflags=["-fopenmp"],
        build_directory=str(folder),
        is_python_module=False,
    )
