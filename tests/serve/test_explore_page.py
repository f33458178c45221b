"""The page in headless Chromium: upload, slider, examples, K; nothing is fetched from elsewhere."""

from __future__ import annotations

import builtins
import io
import re
import shutil
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stkd.serve import Explorer

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture
def address(student_run: Path, gradio: None) -> Iterator[str]:
    from stkd.serve.page import serve

    page, address = serve(Explorer(student_run), "explore a run")
    yield address
    page.close(verbose=False)
    page.server.thread.join(60)  # close() itself gives up after a few seconds


@pytest.fixture
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (stkd[dev])")
    with playwright.sync_playwright() as engine:
        chromium = engine.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.mark.services
def test_page(address: str, browser: Any, tmp_path: Path) -> None:
    page = browser.new_page()
    page.set_default_timeout(300_000)  # a busy machine is no failure
    requests: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(address)

    def answer(contains: str) -> str:
        """What the page says, once it says what is waited for."""
        page.wait_for_function("text => document.querySelector('#answers')?.innerText.includes(text)", arg=contains)
        return str(page.inner_text("#answers"))

    first = answer("0.50 x image 1 + 0.50 x image 2")
    assert "teacher" in first
    assert "student" in first
    assert len(re.findall(r"\d ms", first)) == 2
    assert page.locator("#answers .bar").count() >= 10

    page.fill("#weight-2 input[type=number]", "0.9")
    page.press("#weight-2 input[type=number]", "Enter")
    moved = answer("0.10 x image 1 + 0.90 x image 2")
    assert moved.split("nats")[1] != first.split("nats")[1]

    Image.fromarray(np.full((40, 30, 3), (250, 10, 10), np.uint8)).save(tmp_path / "red.png")
    before = page.get_attribute("#virtual img", "src")
    page.click("#image-2 button[aria-label='Remove Image']")
    answer("image 2 is missing")
    page.set_input_files("#image-2 input[type=file]", tmp_path / "red.png")
    uploaded = answer("0.10 x image 1 + 0.90 x image 2")
    assert uploaded != moved
    assert page.get_attribute("#virtual img", "src") != before

    page.check("#count input[value='3']")
    page.fill("#weight-3 input[type=number]", "0.4")
    page.press("#weight-3 input[type=number]", "Enter")
    answer("0.00 x image 1 + 0.69 x image 2 + 0.31 x image 3")
    uploaded = str(page.inner_text("#answers"))
    page.locator("#examples button").nth(7).click()
    page.wait_for_function("before => document.querySelector('#answers').innerText !== before", arg=uploaded)

    (tmp_path / "script.png").write_text("import os")
    page.click("#image-2 button[aria-label='Remove Image']")
    answer("image 2 is missing")
    page.set_input_files("#image-2 input[type=file]", tmp_path / "script.png")
    said = answer("broken or no image")
    assert "script.png is broken" in said
    assert str(tmp_path) not in said

    assert [url for url in requests if not url.startswith((address, "data:", "blob:"))] == []
    assert complaints == []


@pytest.mark.services
def test_only_this_machine_can_ask_and_large_files_are_refused(address: str) -> None:
    import httpx

    port = int(address.rstrip("/").rsplit(":", 1)[1])
    assert address.startswith("http://127.0.0.1:")
    with socket.socket() as other:
        other.bind(("127.0.0.2", port))  # free, since the page listens on one address only
    large = io.BytesIO(b"x" * 17_000_000)
    answer = httpx.post(f"{address}gradio_api/upload", files={"files": ("large.png", large)}, timeout=300)
    assert answer.status_code == 413
    small = httpx.post(f"{address}gradio_api/upload", files={"files": ("small.png", io.BytesIO(b"x"))}, timeout=300)
    assert small.status_code == 200
    config = httpx.get(f"{address}config", timeout=300).json()
    assert config["analytics_enabled"] is False
    assert all(call["api_visibility"] == "private" for call in config["dependencies"])
    assert httpx.get(f"{address}gradio_api/file=/etc/passwd", timeout=300).status_code == 403


@pytest.mark.usefixtures("gradio")
def test_port_that_is_taken(teacher_run: Path, stkd: Any) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        answer = stkd("explore", teacher_run, "--port", port)
    assert answer.code == 2
    assert answer.err == f"stkd: error: port {port} cannot be used; give --port another\n"


def test_without_gradio(teacher_run: Path, stkd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *args: Any, **options: Any) -> Any:
        if name == "gradio":
            raise ImportError(name)
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", missing)
    monkeypatch.delitem(sys.modules, "stkd.serve.page", raising=False)
    answer = stkd("explore", teacher_run)
    assert answer.code == 2
    assert answer.err == "stkd: error: the explore page needs Gradio; pip install 'stkd[explore]'\n"
