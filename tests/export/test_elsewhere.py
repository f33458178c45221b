"""ExecuTorch and LiteRT files: written, checked and run in environments of their own."""

from __future__ import annotations

import json
import subprocess
import venv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stkd.core.errors import StkdError
from stkd.data.decode import decode_square
from stkd.export import exporters, open_exported
from stkd.export.elsewhere.format import Elsewhere

MAKEFILE = (Path(__file__).parents[2] / "Makefile").read_text()

ALONE = {
    "executorch": """
import sys
sys.modules |= dict.fromkeys(["stkd", "timm", "torchvision"])  # importing one raises
import json, numpy as np, torch
from executorch.runtime import Runtime
program = Runtime.get().load_program(sys.argv[1])
about = json.loads(program.load_method("stkd").execute([])[0])
method = program.load_method("forward")
def answer(image):
    return method.execute([torch.from_numpy(image)])[0].numpy()
""",
    "litert": """
import sys
sys.modules |= dict.fromkeys(["stkd", "timm", "torchvision", "torch"])
import json, numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
content = open(sys.argv[1], "rb").read()
model = schema.Model.GetRootAs(content)
entries = [model.Metadata(i) for i in range(model.MetadataLength())]
place = next(entry.Buffer() for entry in entries if entry.Name() == b"stkd")
about = json.loads(model.Buffers(place).DataAsNumpy().tobytes())
runner = Interpreter(model_content=content).get_signature_runner()
def answer(image):
    return next(iter(runner(images=image).values()))
""",
}
"""Programs that open a file by its runtime alone."""

SHOWS = """
for image in np.load(sys.argv[2]):
    print(about["classes"][int(answer(image[None])[0].argmax())])
"""


def environment(name: str) -> Path:
    """The Python of a format's environment, or the test is skipped."""
    try:
        return exporters.get(name).python()  # type: ignore[attr-defined, no-any-return]
    except StkdError:
        pytest.skip(f"there is no environment for {name}: make env-{name}")


@pytest.mark.services
@pytest.mark.parametrize("name", ["executorch", "litert"])
def test_file_answers_as_the_run_by_stkd_and_by_its_runtime_alone(
    name: str, run_of: Any, photos: Path, tmp_path: Path, stkd: Any
) -> None:
    python, run = environment(name), run_of("cnn4")
    answer = stkd("export", run, "--to", name, "--json")
    assert (answer.code, answer.err) == (0, "")
    record = json.loads(answer.out)
    assert record["agreement"]["largest_difference"] < 1e-4
    assert record["agreement"]["equal_top1"] == 1.0
    assert all(record["timing"][size]["file"]["median_ms"] > 0 for size in ("1", "64"))
    file = run / "exports" / record["file"]
    info, images = open_exported(file).contract.info, sorted(photos.glob("test/*/*.png"))
    rows = {who: json.loads(stkd("predict", who, *images, "--json").out) for who in (run, file)}
    for one, other in zip(rows[run], rows[file], strict=True):
        assert other["model"][0]["class"] == one["model"][0]["class"]
        assert other["model"][0]["probability"] == pytest.approx(one["model"][0]["probability"], abs=1e-4)
    data = f"folder:{photos}"
    scored, score = (json.loads(stkd("evaluate", who, "--data", data, "--json").out) for who in (run, file))
    assert score["nll"] == pytest.approx(scored["nll"], abs=1e-4)
    assert score["confusion"] == scored["confusion"]

    squares = [decode_square(path, info.channels, info.size, info.crop_pct, info.interpolation) for path in images]
    np.save(tmp_path / "squares.npy", np.stack([square.numpy() for square in squares]).astype(np.float32) / 255)
    program = [python, "-I", "-c", ALONE[name] + SHOWS, file, tmp_path / "squares.npy"]
    done = subprocess.run([str(part) for part in program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-len(images) :] == [row["model"][0]["class"] for row in rows[file]]

    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 3])
    answer = stkd("predict", file, images[0])
    assert (answer.code, answer.out) == (2, "")
    assert "is not what was written there" in answer.err
    (file.parent / "manifest.json").unlink()
    answer = stkd("predict", file, images[0])
    assert answer.code == 2
    assert answer.err.startswith(f"stkd: error: {file} is damaged or no {exporters.get(name).title} file")
    assert answer.err.count("\n") == 1


@pytest.mark.parametrize("name", ["executorch", "litert"])
def test_missing_environment_is_said_with_the_command_that_makes_it(
    name: str, run_of: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stkd: Any
) -> None:
    monkeypatch.setenv(f"STKD_ENV_{name.upper()}", str(tmp_path / "none"))
    run = run_of("cnn2")
    answer = stkd("export", run, "--to", name)
    assert answer.code == 2
    assert f"there is none in {tmp_path / 'none'}: make env-{name}, or set STKD_ENV_{name.upper()} to one" in answer.err
    assert answer.err.count("\n") == 1
    assert not (run / "exports").exists()


def test_an_environment_without_the_tool_is_said(
    run_of: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stkd: Any
) -> None:
    folder = tmp_path / "env"
    venv.create(folder)
    monkeypatch.setenv("STKD_ENV_LITERT", str(folder))
    run = run_of("cnn2")
    answer = stkd("export", run, "--to", "litert")
    assert answer.code == 2
    assert f"the environment of LiteRT, {folder}, is not whole (No module named " in answer.err
    assert "; install litert-torch==0.10.0 and torch==2.14.1 into it\n" in answer.err
    assert not (run / "exports").exists()


@pytest.mark.parametrize("name", ["executorch", "litert"])
def test_the_make_target_installs_what_the_message_names(name: str) -> None:
    format = exporters.get(name)
    assert issubclass(format, Elsewhere)
    assert f"env-{name}: PACKAGES = {' '.join(format.packages)}\n" in MAKEFILE
