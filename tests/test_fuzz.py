"""Readers of foreign files and damaged input: they return or refuse. `make fuzz` tries far more."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
try:
    from fuzz import changed
    from fuzz_readers import READERS
finally:
    sys.path.remove(str(BENCHMARKS))


@pytest.mark.parametrize("name", READERS)
def test_damaged_content_is_read_or_refused(name: str, tmp_path: Path) -> None:
    reader = READERS[name]
    with tempfile.TemporaryDirectory() as place:
        seeds = reader.seeds(Path(place))
    file = tmp_path / reader.file
    for content in changed(seeds, 60, seed=1):
        file.write_bytes(content)
        with contextlib.suppress(*reader.refuses):
            reader.read(file)
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "counted"),
    [
        ("lambda path: path.read_bytes()", ""),
        ("lambda path: 1 / 0", "crashes"),
        ("lambda path: __import__('os').system('true')", "executions"),
        ("lambda path: (path.parent.parent.parent / 'stray').write_text('x')", "executions"),
    ],
)
def test_the_script_counts_what_goes_wrong(body: str, counted: str, tmp_path: Path) -> None:
    for name in ("common", "fuzz"):
        (tmp_path / f"{name}.py").write_text((BENCHMARKS / f"{name}.py").read_text())
    (tmp_path / "fuzz_readers.py").write_text(
        "from types import SimpleNamespace\n"
        f"calls = []\ndef read(path):\n    calls.append(1)\n    return None if len(calls) < 2 else ({body})(path)\n"
        "READERS = {'one': SimpleNamespace(file='f', read=read, seeds=lambda folder: [b'abc'], refuses=(OSError,))}\n"
    )
    command = [sys.executable, tmp_path / "fuzz.py", "--inputs", "20", "--keep", tmp_path / "kept"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    total = json.loads(done.stdout)["total"]
    assert [what for what in ("crashes", "hangs", "executions") if total[what]] == ([counted] if counted else [])
    assert done.returncode == (1 if counted else 0)
