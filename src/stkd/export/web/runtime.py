"""onnxruntime-web's files, from a folder of its npm package, or from the package itself, fetched by npm."""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from ...core.errors import StkdError

__all__ = ["FILES", "VERSION", "check_package", "copy_runtime", "npm"]

VERSION = "1.30.0"
"""Of onnxruntime-web, the one that is fetched."""

FILES = {
    "wasm.js": "ort.wasm.bundle.min.mjs",
    "wasm.wasm": "ort-wasm-simd-threaded.wasm",
    "webgpu.js": "ort.webgpu.bundle.min.mjs",
    "webgpu.wasm": "ort-wasm-simd-threaded.asyncify.wasm",
}
"""Names on the page, and in the package's dist folder: not every web server says that an .mjs file is JavaScript."""

_ADVICE = f"install it with: npm install --ignore-scripts onnxruntime-web@{VERSION}"
_SECONDS = 600


def npm() -> str | None:
    """Where npm is, None where it is not installed."""
    return shutil.which("npm")


def check_package(package: Path) -> str:
    """The version of a folder that holds the package.

    Raises:
        StkdError: It does not hold it, or one without the files that are needed.
    """
    try:
        said = json.loads((package / "package.json").read_text(encoding="utf-8"))
        if said["name"] != "onnxruntime-web":
            raise ValueError
        version = str(said["version"])
    except (OSError, ValueError, KeyError, TypeError):
        raise StkdError(f"--runtime {package} is not the npm package onnxruntime-web; {_ADVICE}") from None
    for name in FILES.values():
        if not (package / "dist" / name).is_file():
            raise StkdError(f"--runtime {package} is onnxruntime-web {version}, without dist/{name}; {_ADVICE}")
    return version


def copy_runtime(package: Path | None, folder: Path) -> str:
    """Copy the files that the page needs.

    Args:
        package: Folder of the package; None fetches it by npm.
        folder: Where the files go; it is made.

    Returns:
        The version.

    Raises:
        StkdError: The package is not there, not whole, or cannot be fetched.
    """
    if package is None:
        with tempfile.TemporaryDirectory() as temporary:
            return copy_runtime(_fetched(Path(temporary)), folder)
    version = check_package(package)
    folder.mkdir()
    for name, source in FILES.items():
        shutil.copyfile(package / "dist" / source, folder / name)
    return version


def _fetched(folder: Path) -> Path:
    """The package, of which npm has checked that it is what the registry names; nothing in it is run."""
    program = npm()
    assert program is not None
    command = [program, "pack", f"onnxruntime-web@{VERSION}", "--ignore-scripts", "--loglevel=error"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise StkdError(f"npm did not fetch onnxruntime-web in {_SECONDS} seconds; {_BY_HAND}") from None
    archives = list(folder.glob("*.tgz"))
    if done.returncode or not archives:
        why = " ".join(done.stderr.replace("npm error", "").split())[:200]
        raise StkdError(f"npm cannot fetch onnxruntime-web ({why}); {_BY_HAND}")
    with tarfile.open(archives[0]) as archive:
        archive.extractall(folder, filter="data")
    return folder / "package"


_BY_HAND = "give --runtime DIR, a folder of that package"
