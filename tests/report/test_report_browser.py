"""The pages in a real browser: headless Chromium, all requests but the page itself forbidden."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from stkd.evaluation import CORRUPTIONS
from stkd.report import write_report
from stkd.runs.evaluation import current_evaluation

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install 'stkd[dev]'")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.services,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (Debian: apt-get install chromium)"),
]


@dataclass
class Visit:
    """An open page and everything that went wrong on it."""

    page: Any
    wrong: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        # a test machine may run as root, where Chromium's sandbox does not start
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture
def visit(browser: Any) -> Iterator[Any]:
    """A function that opens a report and collects errors and requests; there must be none in the end."""
    visits, contexts = [], []

    def go(report: Path, **options: Any) -> Visit:
        context = browser.new_context(**{"viewport": {"width": 1200, "height": 900}, **options})
        context.set_default_timeout(300_000)  # a busy machine is no failure
        contexts.append(context)
        opened = Visit(context.new_page())
        visits.append(opened)

        def allow(route: Any) -> None:
            if route.request.url == report.as_uri():
                route.continue_()
            else:
                opened.wrong.append(f"request: {route.request.url}")
                route.abort()

        context.route("**/*", allow)
        opened.page.on("pageerror", lambda error: opened.wrong.append(f"error: {error}"))
        opened.page.on(
            "console", lambda m: opened.wrong.append(f"console: {m.text}") if m.type in ("error", "warning") else None
        )
        opened.page.on("dialog", lambda dialog: opened.wrong.append(f"dialog: {dialog.message}"))
        opened.page.goto(report.as_uri())
        return opened

    yield go
    for opened in visits:
        assert opened.wrong == []
    for context in contexts:
        context.close()


@pytest.fixture(scope="module")
def report(comparison: Path) -> Path:
    return write_report(comparison)


@pytest.fixture(scope="module")
def evil_report(evil_run: Path) -> Path:
    """With robustness and foreign images, as if `stkd evaluate --robustness --ood` had measured them."""
    shares = [0.05] * 20
    ood = {"auroc": 0.5, "mean_confidence": 0.5, "foreign_confidence": 0.5}
    ood |= {"histogram": shares, "foreign_histogram": shares}
    corrupted = {"top1": {name: [0.5] * 5 for name in CORRUPTIONS}, "mean_top1": 0.5, "clean_top1": 0.9}
    models = ("model", "teacher", "alone")
    parts = {"robustness": dict.fromkeys(models, corrupted)}
    parts["ood"] = {"data": "<img src=x onerror=alert(1)>", "images": 9, **dict.fromkeys(models, ood)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stkd.report.run.current_evaluation", lambda run: {**current_evaluation(run), **parts})
        return write_report(evil_run)


def column(page: Any, name: str) -> list[str]:
    """Texts of a column of the first table, as a reader sees them."""
    heads = page.locator("table").first.locator("thead th").all_inner_texts()
    place = next(i for i, head in enumerate(heads) if head.startswith(name))
    rows = page.locator("table").first.locator("tbody tr").all()
    cells = [row.locator("th, td").all_inner_texts() for row in rows]
    return [line[place] for line in cells if len(line) == len(heads)]


def test_table_sorts_by_click_and_by_keyboard(visit: Any, report: Path) -> None:
    page = visit(report).page
    head = page.locator("table").first.locator("th", has_text="top-1")
    assert head.get_attribute("aria-sort") == "none"
    head.locator("button").click()
    falling = [float(text) for text in column(page, "top-1")]
    assert falling == sorted(falling, reverse=True)
    assert head.get_attribute("aria-sort") == "descending"
    head.locator("button").focus()
    page.keyboard.press("Enter")
    assert [float(text) for text in column(page, "top-1")] == falling[::-1]
    assert head.get_attribute("aria-sort") == "ascending"
    assert "failed" in page.locator("table").first.locator("tbody tr").last.inner_text()  # without values: last


def test_plots_are_drawn_as_they_come_near_and_answer_to_the_mouse(visit: Any, report: Path) -> None:
    page = visit(report).page
    count = page.locator(".plot").count()
    page.locator(".plot .main-svg").first.wait_for()
    assert page.locator(".plot:has(.main-svg)").count() < count
    for plot in page.locator(".plot").all():
        plot.scroll_into_view_if_needed()
        plot.locator(".main-svg").first.wait_for()
    assert page.locator(".plot .js-line, .plot .point, .plot .hm").count() > count
    seeds = page.locator("#seeds .plot")
    seeds.scroll_into_view_if_needed()
    box = seeds.locator(".point").first.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    seeds.locator(".hoverlayer text").first.wait_for()


def test_every_kind_of_file_can_be_saved(visit: Any, report: Path, tmp_path: Path) -> None:
    page = visit(report).page
    starts = {"png": b"\x89PNG", "svg": b"<svg", "csv": b"series,"}
    for kind, start in starts.items():
        with page.expect_download() as waiting:
            page.locator(f"#seeds [data-tool={kind}]").click()
        file = tmp_path / f"figure.{kind}"
        waiting.value.save_as(file)
        assert waiting.value.suggested_filename.endswith(f".{kind}")
        assert file.read_bytes().startswith(start)
    rows = list(csv.reader((tmp_path / "figure.csv").read_text().splitlines()))
    assert rows[0] == ["series", "test accuracy", "y"]
    assert {row[0] for row in rows} >= {"alone", "KD", 'STKD <img src=x onerror="alert(1)">&amp;\'</script>'}


def test_values_of_a_figure_can_be_read_as_a_table(visit: Any, report: Path) -> None:
    page = visit(report).page
    button = page.locator("#similarity figure").first.locator("[data-tool=values]")
    button.click()
    assert button.get_attribute("aria-expanded") == "true"
    table = page.locator("#similarity figure").first.locator(".values table")
    assert table.locator("tr").count() == 101
    button.click()
    assert not table.is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_paper_and_plots_follow_the_colour_scheme(visit: Any, report: Path, scheme: str) -> None:
    page = visit(report, color_scheme=scheme).page
    text = page.locator("#seeds .plot text").first
    text.wait_for()

    def colours() -> tuple[str, str]:
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return paper, text.evaluate("(node) => getComputedStyle(node).fill")

    expected = {"light": ("rgb(255, 255, 255)", "rgb(29, 36, 48)"), "dark": ("rgb(20, 24, 31)", "rgb(230, 234, 240)")}
    assert colours() == expected[scheme]
    other = {"light": "dark", "dark": "light"}[scheme]
    page.emulate_media(color_scheme=other)
    page.wait_for_function(
        f"getComputedStyle(document.querySelector('#seeds .plot text')).fill === '{expected[other][1]}'"
    )
    assert colours() == expected[other]


def test_a_phone_scrolls_down_only(visit: Any, report: Path, evil_report: Path) -> None:
    width = 320  # of the narrowest phones
    for path in (report, evil_report):
        page = visit(path, viewport={"width": width, "height": 700}).page
        page.evaluate("boxes.forEach(draw)")
        page.locator(".plot .main-svg").last.wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("width", [390, 1280])
def test_tables_are_whole(visit: Any, report: Path, evil_report: Path, width: int) -> None:
    for path in (report, evil_report):
        page = visit(path, viewport={"width": width, "height": 900}).page
        hidden = "[...document.querySelectorAll('.scroll:has(table)')].map((box) => box.scrollWidth - box.clientWidth)"
        assert max(page.evaluate(hidden)) <= 1  # a fraction of a pixel is rounded up
        assert page.locator("#classes td, #scores td, #table td").first.is_visible()


def test_nothing_is_cut_off_on_paper(visit: Any, report: Path) -> None:
    page = visit(report, viewport={"width": 1280, "height": 900}, color_scheme="dark").page
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator(".plot .main-svg").count() >= page.locator(".plot:visible").count()
    right = "[...document.querySelectorAll('.main-svg, td, th, img')].map((node) => node.getBoundingClientRect().right)"
    assert max(page.evaluate(right)) <= page.evaluate("document.body.getBoundingClientRect().right") + 1
    assert page.evaluate("document.body.getBoundingClientRect().width") < 720  # A4 and Letter, without their margins
    boxes = "[...document.querySelectorAll('thead button')].map((node) => node.getClientRects().length)"
    assert set(page.evaluate(boxes)) == {0}  # a button would not be repeated with its heading on the next page
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.evaluate("document.body.style.width") == ""


def test_first_stop_of_the_keyboard_skips_to_the_content(visit: Any, report: Path) -> None:
    page = visit(report).page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_everything_has_a_name_and_a_place(visit: Any, report: Path) -> None:
    page = visit(report).page
    assert page.locator("html").get_attribute("lang") == "en"
    for landmark in ("header", "nav", "main", "footer"):
        assert page.locator(f"body > {landmark}, body > header > {landmark}").count() == 1
    assert page.locator("h1").count() == 1
    assert page.locator("img:not([alt]), img[alt='']").count() == 0
    assert page.locator("table:not(:has(caption))").count() == page.locator(".values table").count() == 0
    assert page.locator("figure").count() == page.locator("figure figcaption").count() > 8
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map((node) => node.id)")
    assert len(set(ids)) == len(ids)


def test_a_run_with_odd_class_names_opens(visit: Any, evil_report: Path) -> None:
    page = visit(evil_report).page
    page.evaluate("boxes.forEach(draw)")
    page.locator(".plot .main-svg").last.wait_for()
    assert page.locator("#robustness .plot .main-svg").count() > 0
    assert page.locator("#foreign .plot").count() == 3
    assert page.locator("img").count() == page.locator(".gallery img").count() > 0
