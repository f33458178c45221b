"""The site in a real browser: every page is there, nothing is fetched from elsewhere, nothing is complained about."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import stkd.losses

pytest.importorskip("mkdocs", reason="the site's tools are not installed (stkd[docs])")
sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (stkd[dev])")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
ROOT = Path(__file__).parents[1]
pytestmark = [pytest.mark.services, pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")]


class Quiet(SimpleHTTPRequestHandler):
    """A file server that prints nothing."""

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return folder


@pytest.fixture
def address(site: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=site)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.mark.parametrize(("colors", "width", "pages"), [("light", 390, "**/"), ("dark", 1280, "*/")])
def test_pages(site: Path, address: str, browser: Any, colors: str, width: int, pages: str) -> None:
    wrong: list[str] = []
    page = browser.new_page(color_scheme=colors, viewport={"width": width, "height": 900})
    page.set_default_timeout(300_000)  # a busy machine is no failure
    page.on("request", lambda r: None if r.url.startswith((address, "data:", "blob:")) else wrong.append(r.url))
    page.on("response", lambda r: wrong.append(f"{r.status} {r.url}") if r.status >= 400 else None)
    page.on("console", lambda message: wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    files = sorted(site.glob(f"{pages}index.html"))
    assert len(files) > 5
    for file in files:
        page.goto(address + file.parent.relative_to(site).as_posix())
        assert page.locator("article h1").count() == 1, file
        assert page.evaluate("document.documentElement.scrollWidth") <= width, file
    page.close()
    assert wrong == []


def test_search_finds_a_loss(address: str, browser: Any) -> None:
    page = browser.new_page()
    page.set_default_timeout(300_000)
    page.goto(address)
    page.click(".md-search__input")
    page.locator(".md-search__input").press_sequentially("reviewkd")
    page.locator(".md-search-result__item").first.wait_for()
    page.close()


def test_every_public_name_is_documented(site: Path) -> None:
    page = (site / "api" / "functions" / "index.html").read_text()
    modules = {"data", "losses", "methods", "mixing", "models"}
    assert set(re.findall(r'id="stkd\.(\w+)"', page)) == set(stkd.__all__) - modules - {"__version__"}


def test_every_loss_is_documented(site: Path) -> None:
    page = (site / "api" / "losses" / "index.html").read_text()
    for name in stkd.losses.__all__:
        home = getattr(stkd.losses, name).__module__
        assert f'id="{home}.{name}"' in page
