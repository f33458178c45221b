"""`stkd serve` before it serves: what it runs, where it listens, and one line for what cannot be."""

from __future__ import annotations

import importlib.util
import shutil
import socket
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stkd.core.errors import StkdError
from stkd.export import open_exported


@pytest.fixture
def refused(stkd: Any) -> Any:
    """Gives the command and looks at its one line."""

    def check(*words: Any, says: str) -> None:
        answer = stkd("serve", *words)
        assert answer.code == 2
        assert answer.out == ""
        assert answer.err.startswith("stkd: error: ")
        assert answer.err.count("\n") == 1
        assert says in answer.err

    return check


def test_what_is_no_model(refused: Any, served_file: Path, tmp_path: Path) -> None:
    refused(tmp_path / "nowhere.onnx", "--port", 0, says="nowhere.onnx is missing")
    refused(tmp_path / "nowhere", "--port", 0, says="is no run directory and no .onnx file")
    refused(tmp_path, "--port", 0, says=str(tmp_path))
    (tmp_path / "cut.onnx").write_bytes(served_file.read_bytes()[:1000])
    refused(tmp_path / "cut.onnx", "--port", 0, says="is damaged or no ONNX file")
    shutil.copy(served_file, tmp_path / "model.pth")
    refused(tmp_path / "model.pth", "--port", 0, says="is no run directory and no .onnx file")


def test_an_unfinished_run(refused: Any, served_run: Path) -> None:
    shutil.rmtree(served_run / "exports")
    (served_run / "result.json").unlink()
    refused(served_run, "--port", 0, says="is not finished")
    assert not (served_run / "exports").exists()


def test_an_onnx_file_of_other_weights(refused: Any, served_run: Path, student_run: Path) -> None:
    shutil.copytree(served_run / "exports", student_run / "exports")
    (student_run / "exports" / "model.onnx").rename(student_run / "exports" / "student.onnx")
    refused(student_run, "--port", 0, says="has other weights than the run; make it anew: stkd export")


def test_a_file_that_takes_whole_pictures(refused: Any, served_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = replace(open_exported(served_run / "exports" / "model.onnx"), whole=lambda picture: picture)
    monkeypatch.setattr("stkd.serve.http_model.open_exported", lambda _: whole)
    refused(served_run, "--port", 0, says="exports/model.onnx takes whole pictures; export the run to another --out")


def test_a_run_is_exported_once(served_run: Path, served_file: Path, caplog: pytest.LogCaptureFixture) -> None:
    from stkd.serve.http_model import open_served

    caplog.set_level("INFO", "stkd")
    of_run, of_file = open_served(served_run).contract, open_served(served_file).contract
    assert of_run == of_file
    assert caplog.messages == []
    shutil.rmtree(served_run / "exports")
    assert open_served(served_run).contract == of_file
    made = f"{served_run} has no ONNX file yet; made first, as by stkd export {served_run} --to onnx"
    assert caplog.messages == [made]
    assert (served_run / "exports" / "model.onnx").is_file()


@pytest.mark.parametrize("port", ["-1", "65536", "http"])
def test_no_port(port: str, refused: Any, served_file: Path) -> None:
    refused(served_file, "--port", port, says="--port must be")


def test_a_port_that_is_taken(refused: Any, served_file: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused(served_file, "--port", port, says=f"port {port} cannot be used (Address already in use); give --port")


def test_an_address_of_another_machine(refused: Any, served_file: Path) -> None:
    refused(served_file, "--host", "192.0.2.1", "--port", 0, says="--host 192.0.2.1 is no address of this machine")
    refused(served_file, "--host", "no address", "--port", 0, says="--host no address is no address")


@pytest.mark.parametrize("package", ["fastapi", "uvicorn", "python_multipart", "onnxruntime"])
def test_without_a_package(package: str, refused: Any, served_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == package else real(name))
    refused(served_file, "--port", 0, says=f"stkd serve needs {package}; pip install 'stkd[serve]'")


def test_addresses() -> None:
    pytest.importorskip("uvicorn", reason="uvicorn is not installed (stkd[serve])")
    from stkd.serve.http_server import address_of, hosts_of, is_loopback, listen

    assert [is_loopback(host) for host in ("127.0.0.1", "127.8.8.8", "::1", "localhost")] == [True] * 4
    assert [is_loopback(host) for host in ("0.0.0.0", "::", "192.168.1.2", "localhost.evil.example")] == [False] * 4
    assert hosts_of("127.0.0.2") == {"127.0.0.1", "127.0.0.2", "localhost", "[::1]"}
    assert hosts_of("0.0.0.0") is None
    with listen("127.0.0.1", 0) as listening:
        assert address_of(listening, "127.0.0.1") == f"http://127.0.0.1:{listening.getsockname()[1]}"
        with pytest.raises(StkdError, match="cannot be used"):
            listen("127.0.0.1", listening.getsockname()[1])


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_it_serves_until_it_is_ended(host: str, served_file: Path, stkd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def serve(sockets: list[socket.socket]) -> None:
        assert len(sockets) == 1
        raise KeyboardInterrupt

    monkeypatch.setattr("stkd.serve.http_server.make_server", lambda app: SimpleNamespace(run=serve))
    answer = stkd("serve", served_file, "--host", host, "--port", 0)
    assert answer.code == 130
    assert f"POST images to http://{host}:" in answer.out
    assert ("whoever reaches this machine can ask the model" in answer.err) == (host == "0.0.0.0")
