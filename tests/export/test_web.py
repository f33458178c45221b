"""`stkd export --to web`: the folder, its parts and its record, and what bad input gets."""

from __future__ import annotations

import json
import os
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stkd.export import export_run
from stkd.export.contract import Contract
from stkd.export.web import runtime
from stkd.export.web.page import FILES, page_files
from stkd.models.files import ModelInfo
from stkd.runs.exports import read_exports


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A folder that looks like the npm package."""
    folder = tmp_path / "onnxruntime-web"
    (folder / "dist").mkdir(parents=True)
    for name in runtime.FILES.values():
        (folder / "dist" / name).write_text(f"of {name}")
    (folder / "package.json").write_text(json.dumps({"name": "onnxruntime-web", "version": "9.8.7"}))
    return folder


class Links(HTMLParser):
    """What a page loads or leads to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value or "" for name, value in attrs if name in ("src", "href")]


def test_the_folder_has_all_that_the_page_loads(onnx: Any, run_of: Any, package: Path, stkd: Any) -> None:
    run = run_of("cnn4")
    answer = stkd("export", run, "--to", "web", "--runtime", package)
    assert (answer.code, answer.err) == (0, "")
    folder = run / "exports" / "web"
    assert answer.out.startswith(f"{folder}\n")
    page = (folder / "index.html").read_text()
    links = [link for link in Links(page).found if link[0] != "#" and link != "data:,"]
    assert {"page.css", "page.js", "file.js", "model.onnx"} <= {*links}
    assert [link for link in links if not (folder / link).is_file()] == []
    scripts = [file.read_text() for file in folder.glob("*.js")]
    imported = {line.split("'")[1] for text in scripts for line in text.splitlines() if line.startswith("import ")}
    assert [name for name in imported if not (folder / name).is_file()] == []
    assert "://" not in "".join(scripts)
    assert page.count("http") == page.count("http-equiv") + page.count("http://localhost") + page.count("http.server")
    assert "9.8.7" in page
    assert "kiwi, plum" in page
    assert (folder / "runtime" / "wasm.wasm").read_text() == "of ort-wasm-simd-threaded.wasm"
    contract = json.loads((folder / "contract.json").read_text())
    session = __import__("onnxruntime").InferenceSession(folder / "model.onnx")
    assert json.loads(session.get_modelmeta().custom_metadata_map["stkd"]) == contract
    pattern = (np.arange(3 * 64 * 64) * 37 % 256 / 255).astype(np.float32).reshape(1, 3, 64, 64)
    (logits,) = session.run(None, {"images": pattern})[0]
    assert json.loads((folder / "check.json").read_text())["logits"] == pytest.approx(logits.tolist(), abs=1e-5)
    (record,) = read_exports(run)
    assert record["to"] == record["file"] == "web"
    assert record["bytes"] == sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    assert record["sizes"]["model"] == (folder / "model.onnx").stat().st_size
    assert record["sizes"]["wasm"] == len("of ort.wasm.bundle.min.mjs" + "of ort-wasm-simd-threaded.wasm")
    assert record["onnxruntime-web"] == "9.8.7"
    assert "onnxruntime-web 9.8.7" in answer.out
    assert record["agreement"]["equal_top1"] == 1.0
    assert "| `web` | onnxruntime" in (run / "README.md").read_text()


def test_predict_and_evaluate_take_the_folder(onnx: Any, run_of: Any, package: Path, photos: Path, stkd: Any) -> None:
    run = run_of("cnn4")
    folder = export_run(run, "web", runtime=package).file
    answers = [json.loads(stkd("predict", who, photos, "--json").out) for who in (folder, folder / "model.onnx")]
    assert len(answers[0]) == 28
    assert answers[0] == answers[1]
    scores = json.loads(stkd("evaluate", folder, "--data", f"folder:{photos}", "--json").out)
    assert scores["images"] == 12
    (folder / "page.js").unlink()
    assert stkd("predict", folder, photos).code == 2


def test_the_model_of_the_page_can_be_in_integers(onnx: Any, run_of: Any, package: Path) -> None:
    run = run_of("cnn4")
    folder = export_run(run, "int8-web", runtime=package).file
    assert folder == run / "exports" / "web-int8"
    assert sorted(path.name for path in folder.glob("*.onnx")) == ["model.onnx"]
    kinds = {node.op_type for node in onnx.load(folder / "model.onnx").graph.node}
    assert "DequantizeLinear" in kinds or any("Integer" in kind or "QLinear" in kind for kind in kinds)
    assert json.loads((folder / "check.json").read_text())["backends"] == ["wasm"]
    (record,) = read_exports(run)
    assert record["accuracy"]["images"] == 12


def test_class_names_are_text(onnx: Any, run_of: Any, package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_of("cnn4")
    evil = "<script>alert(1)</script>"
    monkeypatch.setattr("stkd.export.exporting.describe_data", lambda _: evil)
    page = (export_run(run, "web", runtime=package).file / "index.html").read_text()
    assert evil not in page
    assert "&lt;script&gt;alert(1)" in page


def test_no_folder_of_the_machine_is_on_the_page() -> None:
    info = ModelInfo("hf//home/me/secret/lite0", ("kiwi", "plum"), 3, 64, (0.5,) * 3, (0.5,) * 3)
    texts = page_files(Contract(info, "the folder photos", "0" * 32), {"model": 1, "wasm": 1, "webgpu": 1}, "1.0.0")
    assert set(texts) == {*FILES}
    assert "hf/lite0" in texts["index.html"]
    assert "secret" not in "".join(texts.values())


def test_force_replaces_an_export_and_nothing_else(
    onnx: Any, run_of: Any, package: Path, tmp_path: Path, stkd: Any
) -> None:
    run, out = run_of("cnn2"), tmp_path / "public" / "flowers"
    out.mkdir(parents=True)
    export = ("export", run, "--to", "web", "--runtime", package, "--out", out)
    says = f"stkd: error: {out} exists; give --force to replace it, or another --out\n"
    assert (stkd(*export).code, stkd(*export).err) == (2, says)
    assert stkd(*export, "--force").code == 0
    (out / "page.js").write_text("")
    assert stkd(*export, "--force").code == 0
    assert (out / "page.js").stat().st_size > 100
    (out / "holiday.txt").write_text("precious")
    answer = stkd(*export, "--force")
    assert answer.code == 2
    assert answer.err == (
        f"stkd: error: {out} is not replaced, since {out}/holiday.txt is not of an export; give another --out\n"
    )
    assert (out / "holiday.txt").read_text() == "precious"
    file = tmp_path / "public" / "file"
    file.write_text("precious")
    assert f"{file} is not of an export" in stkd(*export[:-1], file, "--force").err
    assert file.read_text() == "precious"
    assert sorted(path.name for path in out.parent.iterdir()) == ["file", "flowers"]


def test_a_folder_that_cannot_be_moved_leaves_the_old_one(
    onnx: Any, run_of: Any, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_of("cnn2")
    folder = export_run(run, "web", runtime=package).file
    before = (folder / "index.html").read_text()
    rename = Path.rename

    def refused(self: Path, target: Path) -> Path:
        if target == folder and (self / "index.html").read_text() != before:
            raise OSError("no")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refused)
    (package / "package.json").write_text(json.dumps({"name": "onnxruntime-web", "version": "9.9.9"}))
    with pytest.raises(OSError, match="no"):
        export_run(run, "web", runtime=package, force=True)
    assert (folder / "index.html").read_text() == before
    left = {path.name for path in (run / "exports").iterdir()}
    assert left == {".lock", "manifest.json", "web", "web.json"}


def test_bad_runtimes_get_one_line(onnx: Any, run_of: Any, package: Path, tmp_path: Path, stkd: Any) -> None:
    run = run_of("cnn2")
    other = Path(shutil.copytree(package, tmp_path / "other"))
    (other / "package.json").write_text(json.dumps({"name": "react", "version": "1.0.0"}))
    (package / "dist" / "ort.wasm.bundle.min.mjs").unlink()
    install = f"install it with: npm install --ignore-scripts onnxruntime-web@{runtime.VERSION}"
    for options, says in (
        (["web", "--runtime", other], f"--runtime {other} is not the npm package onnxruntime-web; {install}"),
        (["web", "--runtime", tmp_path], f"--runtime {tmp_path} is not the npm package onnxruntime-web; {install}"),
        (
            ["web", "--runtime", package],
            f"--runtime {package} is onnxruntime-web 9.8.7, without dist/ort.wasm.bundle.min.mjs; {install}",
        ),
        (["onnx", "--runtime", package], "--runtime is of no use for --to onnx; it is for web and int8-web"),
    ):
        answer = stkd("export", run, "--to", *options)
        assert (answer.code, answer.out, answer.err) == (2, "", f"stkd: error: {says}\n")
    assert not (run / "exports").exists()


def test_without_npm_the_runtime_is_asked_for(
    onnx: Any, run_of: Any, stkd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime.shutil, "which", lambda _: None)
    run = run_of("cnn2")
    answer = stkd("export", run, "--to", "web")
    assert answer.code == 2
    assert answer.err == (
        "stkd: error: the page needs onnxruntime-web, and npm, which fetches it, is not installed; give --runtime DIR, "
        f"a folder of that npm package (version {runtime.VERSION})\n"
    )
    assert not (run / "exports").exists()


NPM = """#!/bin/sh
[ "$1 $2 $3" = "pack onnxruntime-web@{version} --ignore-scripts" ] || exit 9
{does}
"""
"""In the place of npm: tests have no network."""


def test_npm_fetches_the_runtime(
    onnx: Any, run_of: Any, package: Path, tmp_path: Path, stkd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, program = run_of("cnn2"), tmp_path / "bin" / "npm"
    program.parent.mkdir()
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")

    def npm(does: str) -> None:
        program.write_text(NPM.format(version=runtime.VERSION, does=does))
        program.chmod(0o755)

    npm("echo 'npm error code ENOTFOUND\nnpm error no such host' >&2; exit 1")
    answer = stkd("export", run, "--to", "web")
    says = (
        "npm cannot fetch onnxruntime-web (code ENOTFOUND no such host); give --runtime DIR, a folder of that package"
    )
    assert (answer.code, answer.err) == (2, f"stkd: error: {says}\n")
    assert not (run / "exports").exists()
    archive = tmp_path / "onnxruntime-web.tgz"
    npm(f"tar -czf {archive.name} -C {package.parent} --transform s/onnxruntime-web/package/ {package.name}")
    answer = stkd("export", run, "--to", "web")
    assert (answer.code, answer.err) == (0, "")
    assert (run / "exports" / "web" / "runtime" / "webgpu.js").read_text() == "of ort.webgpu.bundle.min.mjs"


def test_a_model_that_differs_from_its_contract_is_not_opened(onnx: Any, run_of: Any, package: Path) -> None:
    from stkd.core.errors import StkdError
    from stkd.export import exporters

    folder = export_run(run_of("cnn2"), "web", runtime=package).file
    format = exporters.get("web")()
    assert format.open(folder, 1).contract.info.model == "cnn2"
    contract = json.loads((folder / "contract.json").read_text())
    (folder / "contract.json").write_text(json.dumps({**contract, "classes": contract["classes"][::-1]}))
    with pytest.raises(StkdError, match=r"contract\.json is damaged or was changed"):
        format.open(folder, 1)
    for manifest in folder.parent.rglob("manifest.json"):
        manifest.unlink()
    with pytest.raises(StkdError, match=r"is not that of model\.onnx"):
        format.open(folder, 1)
    (folder / "page.js").unlink()
    with pytest.raises(StkdError, match=r"page\.js is missing; export the run again"):
        format.open(folder, 1)
