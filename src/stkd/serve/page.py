"""The page: Gradio on this machine alone, with nothing fetched from elsewhere."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..core.errors import StkdError

try:
    import gradio as gr
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware
except ImportError:
    raise StkdError("the explore page needs Gradio; pip install 'stkd[explore]'") from None

from .bars import STYLE, bars, problem
from .explorer import Explorer
from .page_guard import PageGuard
from .uploads import LARGEST, own_cache, uploaded

__all__ = ["build", "serve"]

_SLOTS = 4  # most images in one virtual sample
_HOSTS = ["127.0.0.1", "localhost"]  # names that the page answers to; others may be a foreign site's that lead here


def _picture(**options: Any) -> Any:
    """An image that stays a file: stkd alone decodes it, within its own limits.

    Its options must not be updated later: Gradio would put one in its place that reads the file's header first.
    """
    kept: dict[str, Any] = {"type": "filepath", "image_mode": None, "format": "png"}
    picture = gr.Image(**kept, sources=["upload", "clipboard"], elem_classes="pixels", buttons=[], **options)
    cache = Path(picture.GRADIO_CACHE)

    def preprocess(payload: Any) -> str | None:
        if payload is None:
            return None
        try:
            return uploaded(str(payload.path), cache)
        except StkdError as error:
            raise gr.Error(str(error), print_exception=False) from None

    picture.preprocess = preprocess
    return picture


def _without_downloads(page: Any) -> None:
    """Refuse requests that name a web address in place of a file: Gradio would fetch it."""

    def guarded(move: Callable[[Any], Any]) -> Callable[[Any], Any]:
        async def to_cache(place: Any) -> Any:
            if str(place).lower().startswith(("http:", "https:")):
                raise gr.Error("this page fetches nothing from other places", print_exception=False)
            return await move(place)

        return to_cache

    for block in page.blocks.values():
        block.async_move_resource_to_block_cache = guarded(block.async_move_resource_to_block_cache)


def _without_tracebacks(page: Any) -> None:
    """Answer a request whose values the page cannot have sent in one line, which the terminal is spared."""
    read = page.preprocess_data

    def sensible(block: Any, value: Any) -> bool:
        if value is None:
            return not isinstance(block, gr.Radio)
        return not isinstance(value, float) or math.isfinite(value)

    async def checked(function: Any, *args: Any, **options: Any) -> Any:
        try:
            values = await read(function, *args, **options)
            if not all(map(sensible, function.inputs, values)):
                raise ValueError
        except gr.Error as error:
            error.print_exception = False
            raise
        except Exception:
            raise gr.Error("these are no values of this page", print_exception=False) from None
        return values

    page.preprocess_data = checked


def build(explorer: Explorer, title: str) -> Any:
    """The page as Gradio blocks.

    Args:
        explorer: The models, and examples.
        title: Heading.
    """

    def answer(count: int, temperature: float, *values: Any) -> tuple[Any, str]:
        paths, others = values[:count], values[_SLOTS : _SLOTS + count - 1]
        if missing := [i + 1 for i, path in enumerate(paths) if path is None]:
            return None, problem(f"image {missing[0]} is missing: drop a file there, or pick an example")
        try:
            sample = explorer.ask([Path(p) for p in paths], others, temperature)
        except StkdError as error:
            return None, problem(_without_folders(str(error), paths))
        weights = " + ".join(f"{w:.2f} x image {i}" for i, w in enumerate(sample.weights, 1))
        kl = "" if sample.kl is None else f"; KL(teacher || student) {sample.kl:.3f} nats"
        caption = f"{weights}, temperature {temperature:g}{kl}"
        return sample.image, bars(sample.probabilities, explorer.info.classes, explorer.latency_ms, caption)

    def resize(count: int) -> list[Any]:
        shown = [gr.update(visible=i < count) for i in range(_SLOTS)]
        return [*shown, *shown[1:], *([gr.update(choices=list(range(1, count + 1)), value=1)] if target else [])]

    def pick(chosen: gr.SelectData, target: int, count: int, *paths: str | None) -> list[Any]:
        pictures: list[Any] = list(paths)
        pictures[target - 1] = explorer.examples[chosen.index][0]
        return [*pictures, target % count + 1]

    quiet = {"show_progress": "hidden", "api_visibility": "private"}
    with gr.Blocks(title=title, analytics_enabled=False, delete_cache=(3600, 3600)) as page:
        gr.Markdown(
            f"# {title}\nDrop images or pick examples, and move their weights. {_who(explorer)} the same mixture."
        )
        with gr.Row():
            first = [image for image, _ in explorer.examples[:_SLOTS]]
            columns = [gr.Column(visible=i < 2, min_width=160) for i in range(_SLOTS)]
            pictures = []
            for i, column in enumerate(columns):
                with column:
                    value = first[i] if i < len(first) else None
                    pictures.append(_picture(value=value, label=f"Image {i + 1}", height=220, elem_id=f"image-{i + 1}"))
        with gr.Row():
            count = gr.Radio([2, 3, 4], value=2, label="K, images in the virtual sample", elem_id="count")
            sliders = [
                gr.Slider(
                    0,
                    1,
                    value=0.5 if i == 1 else 0.0,
                    step=0.01,
                    label="lambda (weight of image 2)" if i == 1 else f"weight of image {i + 1}",
                    visible=i < 2,
                    elem_id=f"weight-{i + 1}",
                )
                for i in range(1, _SLOTS)
            ]
            temperature = gr.Slider(1, 10, value=1, step=0.5, label="temperature", elem_id="temperature")
        with gr.Row():
            virtual = gr.Image(
                label="Virtual sample",
                format="png",
                height=260,
                interactive=False,
                buttons=[],
                scale=1,
                elem_id="virtual",
                elem_classes="pixels",
            )
            with gr.Column(scale=2):
                answers = gr.HTML(elem_id="answers")
        target = None
        if explorer.examples:
            target = gr.Radio([1, 2], value=1, label="An example that is clicked becomes image", elem_id="target")
            gallery = gr.Gallery(
                explorer.examples,
                label="Examples from the test split",
                show_label=False,
                columns=8,
                height="auto",
                allow_preview=False,
                interactive=False,
                format="png",
                buttons=[],
                elem_id="examples",
                elem_classes="pixels",
            )
            gallery.select(pick, [target, count, *pictures], [*pictures, target], **quiet)
        count.change(resize, count, [*columns, *sliders, *([target] if target else [])], **quiet)
        inputs = [count, temperature, *pictures, *sliders]
        gr.on(
            [page.load, *(control.change for control in inputs)],
            answer,
            inputs,
            [virtual, answers],
            trigger_mode="always_last",
            **quiet,
        )
    _without_downloads(page)
    _without_tracebacks(page)
    return page


def serve(explorer: Explorer, title: str, port: int | None = None) -> tuple[Any, str]:
    """Start serving the page to this machine, in the background.

    Args:
        explorer: The models, and examples.
        title: Heading.
        port: TCP port; None takes the first free one from 7860 on.

    Returns:
        The page, whose `close()` ends it, and its address.

    Raises:
        StkdError: The port is taken.
    """
    own_cache()
    page = build(explorer, title)
    # Gradio's own themes name web fonts; these are on every machine.
    theme = gr.themes.Base(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
    try:
        _, address, _ = page.launch(
            server_name="127.0.0.1",
            server_port=port,
            share=False,
            prevent_thread_lock=True,
            quiet=True,
            theme=theme,
            css=STYLE,
            max_file_size=LARGEST,
            app_kwargs={
                "middleware": [
                    Middleware(TrustedHostMiddleware, allowed_hosts=_HOSTS, www_redirect=False),
                    Middleware(PageGuard),
                ]
            },
            state_session_capacity=50,
            footer_links=[],
            run_history=False,
            enable_monitoring=False,
            ssr_mode=False,
            pwa=False,
            mcp_server=False,
        )
    except (OSError, OverflowError):
        raise StkdError(f"port {port or '7860 and those after it'} cannot be used; give --port another") from None
    return page, address


def _who(explorer: Explorer) -> str:
    return f"{' and '.join(explorer.models).capitalize()} {'see' if len(explorer.models) > 1 else 'sees'}"


def _without_folders(message: str, paths: tuple[str, ...]) -> str:
    for path in paths:
        message = message.replace(path, Path(path).name)
    return message
