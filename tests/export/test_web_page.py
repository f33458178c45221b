"""The exported page in headless Chromium: Python's answers, and a page that asks nobody else anything."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import stkd as library
from stkd.data.decode import decode_square, resized
from stkd.export import export_run, web

from .web_pictures import write_pictures

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install 'stkd[dev]'")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PACKAGE = Path(__file__).parents[2] / "node_modules" / "onnxruntime-web"
SCRIPTS = Path(web.__file__).parent / "templates"
pytestmark = [
    pytest.mark.services,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (Debian: apt-get install chromium)"),
]

GRAPHICS = ("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader")
CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
DONE = "body.ready:has(.card):not(:has(.card.waiting))"


class Handler(SimpleHTTPRequestHandler):
    """Serves files, with the headers that a test asks for."""

    headers_sent: dict[str, str] = {}  # noqa: RUF012

    def end_headers(self) -> None:
        for name, value in self.headers_sent.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        flags = ["--no-sandbox", *GRAPHICS, *CAMERA]  # a test machine may run as root
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield launched
        launched.close()


@pytest.fixture
def page_of(onnx: Any, run_of: Any) -> Callable[..., Path]:
    """The exported folder of a run by the name of its model, and of the format."""
    if not (PACKAGE / "package.json").is_file():
        pytest.skip("onnxruntime-web is not installed (make node_modules/onnxruntime-web/package.json)")
    return lambda name, to="web": export_run(run_of(name), to, runtime=PACKAGE).file


@pytest.fixture
def visit(browser: Any) -> Iterator[Any]:
    """A function that serves a folder in a sub-path and opens it; nothing may be complained of or asked of others."""
    wrong: list[str] = []
    closing: list[Callable[[], None]] = []

    def go(folder: Path, *, headers: dict[str, str] | None = None, **options: Any) -> Any:
        handler = type("Sending", (Handler,), {"headers_sent": headers or {}})
        server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=str(folder.parents[1])))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/"
        context = browser.new_context(**{"viewport": {"width": 1200, "height": 900}, **options})
        context.set_default_timeout(300_000)  # a busy machine is no failure
        closing.extend((context.close, server.shutdown, server.server_close))
        page = context.new_page()
        context.on("request", lambda r: None if r.url.startswith((address, "data:", "blob:")) else wrong.append(r.url))
        page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
        page.on("console", lambda m: wrong.append(f"{m.type}: {m.text}") if m.type in ("error", "warning") else None)
        page.goto(f"{address}{folder.parent.name}/{folder.name}/")
        return page

    yield go
    for close in closing:
        close()
    assert wrong == []


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_pictures(tmp_path_factory.mktemp("pictures"))


def seen_in(card: Any, channels: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The levels that the model got of a picture, (C, S, S)."""
    values, side = card.locator(".seen").evaluate(
        "(n) => [[...n.getContext('2d').getImageData(0, 0, n.width, n.height).data], n.width]"
    )
    return np.array(values).reshape(side, side, 4)[..., :channels].transpose(2, 0, 1)


@pytest.mark.parametrize(("model", "to"), [("cnn4", "web"), ("cnn2", "web"), ("cnn4", "int8-web")])
def test_the_page_answers_as_predict_does(
    model: str, to: str, page_of: Any, visit: Any, pictures: list[Path], stkd: Any
) -> None:
    """RGB with bicubic interpolation and a crop, and grey with neither."""
    folder = page_of(model, to)
    who = folder.parents[1] if to == "web" else folder / "model.onnx"
    rows = json.loads(stkd("predict", who, *pictures, "--json", "--top", 10).out)
    _, info = library.load(folder.parents[1])
    page = visit(folder)
    page.wait_for_selector("body.ready")
    page.set_input_files("#files", pictures)
    page.wait_for_selector(DONE)
    assert page.inner_text("#state") == f"{len(pictures)} answered. WebAssembly."
    cards = page.locator(".card").all()
    assert len(cards) == len(rows) == len(pictures) >= 20
    for card, row, path in zip(cards, rows, pictures, strict=True):
        expected = decode_square(path, info.channels, info.size, info.crop_pct, info.interpolation).numpy()
        # browsers may decode with another libjpeg, libwebp or libavif
        assert np.abs(seen_in(card, info.channels) - expected).mean() < 1, path.name
        shown = dict(zip(info.classes, json.loads(card.get_attribute("data-probabilities")), strict=True))
        predicted = {one["class"]: one["probability"] for one in row["model"]}
        assert shown == pytest.approx(predicted, abs=0.01), path.name
        assert card.locator("h2").inner_text() == row["model"][0]["class"] == max(shown, key=shown.__getitem__)
        assert path.name in card.locator(".name").inner_text()


RESIZE = """
import fs from 'fs';
import { alongRows, downColumns } from './resize.js';

for (const [name, from, to, channels, interpolation] of JSON.parse(process.argv[2])) {
  const levels = new Uint8ClampedArray(fs.readFileSync(`${name}.in`));
  const rows = alongRows(levels, from[0], from[1], to[1], channels, interpolation);
  fs.writeFileSync(`${name}.out`, downColumns(rows, from[0], to[0], to[1], channels, interpolation));
}
"""


def test_the_page_resizes_as_torch_does(tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("needs node (Debian: apt-get install nodejs)")
    shutil.copy(SCRIPTS / "resize.js", tmp_path)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "resizing.js").write_text(RESIZE)
    sizes = [((37, 53), (16, 23)), ((8, 8), (33, 31)), ((600, 900), (64, 96)), ((64, 100), (64, 50)),
             ((5, 900), (7, 60)), ((64, 64), (64, 64)), ((1, 9), (3, 27))]  # fmt: skip
    cases = [
        (f"{size}-{channels}-{how}", *sizes[size], channels, how)
        for size in range(len(sizes))
        for channels, how in ((3, "bilinear"), (1, "bicubic"), (3, "bicubic"))
    ]
    rng = np.random.default_rng(0)
    expected = []
    for k, (name, (height, width), to, channels, how) in enumerate(cases):
        levels = rng.integers(0, 256, (height, width, channels), dtype=np.uint8)
        if k % 2:
            levels = np.where(levels > 127, np.uint8(255), np.uint8(0))  # what overshoots
        (tmp_path / f"{name}.in").write_bytes(levels.tobytes())
        expected.append(resized(torch.from_numpy(levels).permute(2, 0, 1), *to, how).permute(1, 2, 0).numpy())
    subprocess.run([node, "resizing.js", json.dumps(cases)], cwd=tmp_path, check=True)
    for (name, *_), levels in zip(cases, expected, strict=True):
        found = np.frombuffer((tmp_path / f"{name}.out").read_bytes(), np.uint8).reshape(levels.shape)
        assert np.abs(found.astype(int) - levels).max() <= 1, name


def test_webgpu_is_a_choice_and_answers_alike(page_of: Any, visit: Any, pictures: list[Path]) -> None:
    page = visit(page_of("cnn4"))
    page.wait_for_selector("body.ready")
    if not page.locator("#choice").is_visible():
        pytest.skip("this Chromium has no WebGPU")
    answers = []
    for name, kind in (("WebGPU", "webgpu"), ("WebAssembly", "wasm")):
        page.select_option("#backend", kind)
        page.wait_for_selector(f"body.ready #state:text('Ready: {name}.')")
        page.set_input_files("#files", pictures[0])
        page.wait_for_selector(DONE)
        answers.append(json.loads(page.locator(".card").first.get_attribute("data-probabilities")))
    assert answers[0] == pytest.approx(answers[1], abs=1e-3)


def test_headers_of_the_server_give_threads(page_of: Any, visit: Any, pictures: list[Path]) -> None:
    headers = {"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp"}
    page = visit(page_of("cnn4"), headers=headers)
    page.wait_for_selector("body.ready")
    threads = min(4, os.cpu_count() or 1)
    assert page.inner_text("#state") == f"Ready: WebAssembly{f', {threads} threads' if threads > 1 else ''}."
    page.set_input_files("#files", pictures[0])
    page.wait_for_selector(DONE)
    assert page.locator(".failed").count() == 0


LOOKS: dict[str, dict[str, Any]] = {
    "light": {},
    "dark": {"color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}},
    "narrow": {"viewport": {"width": 320, "height": 700}, "color_scheme": "dark"},
}


@pytest.mark.parametrize("look", LOOKS)
def test_it_fits_the_screen_and_the_colour_scheme(look: str, page_of: Any, visit: Any, tmp_path: Path) -> None:
    long = tmp_path / f"{'a_very_long_name_' * 8}.png"
    Image.new("RGB", (30, 20)).save(long)
    page = visit(page_of("cnn4"), **LOOKS[look])
    width = page.viewport_size["width"]
    page.wait_for_selector("body.ready")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.set_input_files("#files", [long, long, long])
    page.wait_for_selector(DONE)
    page.locator("summary").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == ("rgb(20, 24, 31)" if "color_scheme" in LOOKS[look] else "rgb(255, 255, 255)")
    for box in page.locator("button:visible, select:visible").all():
        assert box.bounding_box()["height"] >= 30


def test_broken_files_get_one_line_and_the_others_an_answer(page_of: Any, visit: Any, tmp_path: Path) -> None:
    Image.new("RGB", (30, 20), "red").save(tmp_path / "red.png")
    (tmp_path / "script.jpg").write_text("import os")
    (tmp_path / "empty.png").write_bytes(b"")
    page = visit(page_of("cnn4"))
    page.wait_for_selector("body.ready")
    page.set_input_files("#files", [tmp_path / name for name in ("script.jpg", "red.png", "empty.png")])
    page.wait_for_selector(DONE)
    assert (
        page.locator(".failed h2").all_inner_texts()
        == ["This file is broken, or no picture that this browser reads"] * 2
    )
    assert page.inner_text("#state") == "1 answered, 2 not. WebAssembly."
    page.click("#clear")
    assert page.locator(".card").count() == 0
    page.set_input_files("#files", tmp_path / "script.jpg")
    page.wait_for_selector(DONE)
    said = "script.jpg is broken, or no picture that this browser reads. WebAssembly."
    assert page.inner_text("#state") == said
    assert page.get_attribute("#state", "role") == "status"


GIVE = """async ([kind, names]) => {
  const canvas = Object.assign(document.createElement('canvas'), { width: 40, height: 30 });
  canvas.getContext('2d').fillRect(0, 0, 20, 30);
  const blob = await new Promise((done) => canvas.toBlob(done));
  const given = new DataTransfer();
  for (const name of names) given.items.add(new File([blob], name, { type: 'image/png' }));
  const event = kind === 'paste'
    ? new ClipboardEvent(kind, { clipboardData: given, bubbles: true, cancelable: true })
    : new DragEvent(kind, { dataTransfer: given, bubbles: true, cancelable: true });
  document.body.dispatchEvent(event);
  return event.defaultPrevented;
}"""


def test_pictures_can_be_dropped_and_pasted(page_of: Any, visit: Any) -> None:
    page = visit(page_of("cnn4"))
    page.wait_for_selector("body.ready")
    assert page.evaluate(GIVE, ["dragover", ["a.png"]])
    assert page.locator("body.over").count() == 1
    assert page.evaluate(GIVE, ["drop", ["a.png", "b.png"]])
    assert page.locator("body.over").count() == 0
    page.wait_for_selector(DONE)
    page.evaluate(GIVE, ["paste", ["c.png"]])
    page.wait_for_selector(".card:nth-child(3)")
    page.wait_for_selector(DONE)
    names = [text.split(",")[0] for text in page.locator(".card .name").all_inner_texts()]
    assert names == ["c.png", "a.png", "b.png"]
    assert page.locator(".card .bars li").count() == 3 * 2
    page.evaluate(GIVE, ["drop", [f"{k}.png" for k in range(120)]])
    page.wait_for_selector(DONE)
    assert page.locator(".card").count() == 100


def test_a_picture_of_the_camera_is_answered(page_of: Any, visit: Any) -> None:
    page = visit(page_of("cnn4"), permissions=["camera"])
    page.wait_for_selector("body.ready")
    page.click("#camera")
    page.wait_for_selector("#viewfinder[open].live")
    page.click("#viewfinder button[value=take]")
    page.wait_for_selector(DONE)
    assert page.locator(".card .name").inner_text().startswith("camera picture, ")
    assert not page.locator("#viewfinder").is_visible()
    assert page.evaluate("document.querySelector('video').srcObject") is None


def test_the_keyboard_reaches_everything(page_of: Any, visit: Any, pictures: list[Path]) -> None:
    page = visit(page_of("cnn4"))
    page.wait_for_selector("body.ready")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the answers"
    page.keyboard.press("Tab")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    # the browser's own dialog is left out: it does not open in every headless browser
    page.evaluate(
        "document.getElementById('files').addEventListener('click', (e) => { e.preventDefault(); window.asked = 1; })"
    )
    page.keyboard.press("Enter")
    assert page.evaluate("window.asked") == 1
    page.set_input_files("#files", pictures[0])
    page.wait_for_selector(DONE)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "camera"
    for _ in range(5):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "clear":
            break
    page.keyboard.press("Enter")
    assert page.locator(".card").count() == 0
    assert page.evaluate("document.activeElement.id") == "choose"
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map((node) => node.id)")
    assert len(set(ids)) == len(ids)
    nameless = "(n) => !n.labels?.length && !n.textContent.trim() && !n.ariaLabel"
    assert page.evaluate(f"[...document.querySelectorAll('input, button, select')].filter({nameless}).length") == 0


def test_what_answers_otherwise_is_not_used(page_of: Any, visit: Any) -> None:
    folder = page_of("cnn4")
    check = json.loads((folder / "check.json").read_text())
    (folder / "check.json").write_text(json.dumps({**check, "logits": [value + 1 for value in check["logits"]]}))
    page = visit(folder)
    page.wait_for_selector(".line.wrong")
    said = "The model does not run here: WebAssembly does not work here: it answers otherwise than in Python"
    assert page.inner_text("#state") == said
    assert page.locator("#choose").is_disabled()


def test_opened_as_a_file_it_says_what_to_do(page_of: Any, browser: Any) -> None:
    page = browser.new_page()
    page.goto((page_of("cnn4") / "index.html").as_uri())
    page.wait_for_selector("#state:text('python3 -m http.server')")
    page.close()
