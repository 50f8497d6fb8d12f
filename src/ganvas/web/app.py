"""The server of the explorer."""

import asyncio
import contextlib
import secrets
import socket
import threading
import warnings
import webbrowser
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Literal, overload

import torch
from fastapi import FastAPI, Request, Response
from nicegui import Client, core, ui
from torch import Tensor

from ganvas import arrays, notebook, pictures
from ganvas.errors import GanvasError, counted, printable
from ganvas.model import Model
from ganvas.sampling import LogRatio
from ganvas.web.beside import Explorer, Hub
from ganvas.web.guard import LOOPBACK, App, Guard, Receive, Scope, Send
from ganvas.web.landscape import SAMPLES, SEED
from ganvas.web.layout import build
from ganvas.web.opening import DEFAULT, open_renderer
from ganvas.web.outlet import bound, bound_connections
from ganvas.web.pace import STRIPS
from ganvas.web.quality import BALL, Real
from ganvas.web.renderer import Renderer
from ganvas.web.serving import ENDING, run
from ganvas.web.source import Source
from ganvas.web.state import FROM_PYTHON, State

ICON = (
    "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'><rect width='16' height='16' rx='3' fill='#4f46e5'/>"
    "<path d='M3 11c3-8 7 2 10-6' stroke='#fff' stroke-width='2' fill='none' stroke-linecap='round'/></svg>"
)
SOURCE = "ganvas.source"
"""Of a request, among what the server knows of it."""
RECONNECT = 60.0
"""Seconds that a page may be gone and come back as it was; after that its address brings it back."""
MOST_PAGES = 200
"""Open at a time, those included that were left less than `RECONNECT` seconds ago."""


@overload
def explore(
    model: Model | str | Path = DEFAULT, *, ratio: LogRatio | None = None, real: Tensor | None = None,
    data: str | None = None, host: str = "127.0.0.1", port: int = 0, browser: bool = True, device: str = "auto",
    wait: Literal[False],
) -> Explorer: ...  # fmt: skip


@overload
def explore(
    model: Model | str | Path = DEFAULT, *, ratio: LogRatio | None = None, real: Tensor | None = None,
    data: str | None = None, host: str = "127.0.0.1", port: int = 0, browser: bool = True, device: str = "auto",
    wait: bool | None = None,
) -> Explorer | None: ...  # fmt: skip


def explore(
    model: Model | str | Path = DEFAULT, *, ratio: LogRatio | None = None, real: Tensor | None = None,
    data: str | None = None, host: str = "127.0.0.1", port: int = 0, browser: bool = True, device: str = "auto",
    wait: bool | None = None,
) -> Explorer | None:  # fmt: skip
    """The explorer's page on a model: in a notebook's cell, elsewhere in the browser until Ctrl-C.

    `model`: what `ganvas.load` takes, or a `Model`: your own module by `ganvas.wrap`. For a `Model` the quality panel knows what
    it is given: `ratio` of `ganvas.sampling.fit_ratio` for realism, `real` uint8 images (n, C, H, W) for the nearest ones. For
    the others it knows what `ganvas explore` finds.

    With `wait` it returns nothing, when Ctrl-C is pressed. Without, as in a notebook unless you say otherwise, it returns at once
    an `Explorer` that is served in the background until it is closed: as many as you like. `browser` opens the page where it is
    waited for. Raises `GanvasError` when the address is taken or `real` does not fit.
    """
    if isinstance(model, Model):
        if data is not None:
            raise GanvasError(
                "data= goes with a model that is opened by name; give a Model its images by real=."
            )
        real = None if real is None else arrays.as_samples(real, "real")
        if real is not None and (real.dtype != torch.uint8 or tuple(real.shape[1:]) != tuple(model.shape)):
            raise GanvasError(
                f"real must be uint8 (n, {', '.join(map(str, model.shape))}), got {real.dtype} {tuple(real.shape)}."
            )
        if real is not None and len(real) <= BALL:
            raise GanvasError(f"real has {counted(len(real), 'image')}, and more than {BALL} are needed.")
        if ratio is not None and ratio.model != model.hash:
            raise GanvasError(
                f"The ratio is of a model with weights {ratio.model}, this one has {model.hash}: fit_ratio of its own space."
            )
        known = None if real is None else Real.given(real)
        unsaid = ", and what this model was trained on is not known" if model.info.data is None else ""
        unreal = f"No real images were given{unsaid}: ganvas.explore(model, real=images)"
        renderer = Renderer(model, model.place or FROM_PYTHON, ratio, known, unreal)
    elif ratio is not None or real is not None:
        raise GanvasError(
            "ratio= and real= go with a Model; what is opened by name finds its own, with data=."
        )
    else:
        renderer = open_renderer(model, data, device)
    if not (notebook.is_notebook() if wait is None else not wait):
        renderer.warm()
        serve(Source(renderer), host, port, browser)
        return None
    if host not in LOOPBACK:
        raise GanvasError(
            f"In the background it is served to this machine alone, not at {host}. Type: ganvas explore MODEL --host {host}"
        )
    listener = _listen("127.0.0.1", port)
    try:
        renderer.warm()
        source = Source(renderer)
        return _hub().open(_at(source), listener, renderer.name, notebook.is_colab(), source.over)
    except BaseException:
        listener.close()
        raise


def serve(
    source: Source,
    host: str = "127.0.0.1",
    port: int = 0,
    browser: bool = True,
    say: Callable[[str], None] = print,
) -> None:
    """Serve until Ctrl-C. Port 0 is a free one. Raises `GanvasError` when the address is taken or nothing can be served here."""
    _check_process()
    listener = _listen(host, port)
    token = None if host in LOOPBACK else secrets.token_urlsafe(16)
    shown = f"[{host}]" if ":" in host else "127.0.0.1" if host in ("0.0.0.0", "") else host
    url = f"http://{shown}:{listener.getsockname()[1]}/" + (f"?token={token}" if token else "")
    with warnings.catch_warnings():
        # On starting it looks at every object there is for the server, and meets a deprecated one of torch on the way.
        warnings.filterwarnings("ignore", message=".*reduce_op.*", category=FutureWarning)
        warnings.filterwarnings("ignore", module=r"PIL\.")  # of a damaged picture, which is refused in words
        run(Guard(_at(source), token), listener, lambda: _greet(source.renderer.name, url, browser, say))


@cache
def _application() -> FastAPI:
    """What all explorers of a process share: the web framework has one application, and begins once."""
    server = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    @server.get("/thumb/{key}/{number}.png")
    def thumb(key: str, number: int, request: Request) -> Response:
        source = _source(request)
        if not (source.knows(key) and 0 <= number < SAMPLES):
            return Response(status_code=404)
        renderer = source.shown.get(request.url.query, source.renderer)
        return _picture(renderer.thumbs([State(SEED, number)], STRIPS)[0])

    @server.get("/real/{key}/{number}.png")
    def real(key: str, number: int, request: Request) -> Response:
        source = _source(request)
        known = source.renderer.real
        if not source.knows(key) or known is None or not 0 <= number < len(known.images):
            return Response(status_code=404)
        return _picture(known.images[number])

    @server.post("/upload/{key}")
    async def upload(key: str, request: Request) -> Response:
        return await _source(request).intake.receive(key, request)

    @ui.page("/", response_timeout=RECONNECT)
    async def index(request: Request, r: str = "") -> Response | None:
        if len(Client.instances) > MOST_PAGES:
            ui.context.client.delete()
            return Response(f"{MOST_PAGES} pages are open: close some, and come back in a minute.", 503)
        # Of a hundred pages that wait for their turn each would take it, and the end would wait for all of them.
        if request.scope[ENDING]():
            ui.context.client.delete()
            return Response("The explorer was stopped.", 503)
        bound(ui.context.client)
        source = _source(request)
        ui.page_title(f"ganvas: {source.renderer.name}")
        await build(source, r)
        return None

    @core.app.exception_handler(404)
    async def unknown(request: Request, error: Exception) -> Response:
        # The framework's own makes a page of its own for each, and writes the address to the terminal as it is.
        return Response("There is nothing here.", 404)

    bound_connections()
    ui.run_with(
        server, title="ganvas", favicon=ICON, dark=None, reconnect_timeout=RECONNECT, show_welcome_message=False,
        binding_refresh_interval=None, tailwind=False,
    )  # fmt: skip
    return server


def _at(source: Source) -> App:
    """The application for one source: its requests say which."""
    application = _application()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await application({**scope, SOURCE: source}, receive, send)

    return app


def _source(request: Request) -> Source:
    found = request.scope[SOURCE]
    assert isinstance(found, Source)
    return found


@cache
def _hub() -> Hub:
    _check_framework()
    application = _application()
    return Hub(application.router.lifespan_context(application))


def _check_framework() -> None:
    if core.app.middleware_stack is not None:
        raise GanvasError(
            "This Python process has served an explorer before, and can begin to do so once. Start another for the next; "
            "or serve all of them in the background, the first too: ganvas.explore(model, wait=False)"
        )


def _check_process() -> None:
    _check_framework()
    with contextlib.suppress(RuntimeError):
        asyncio.get_running_loop()
        raise GanvasError(
            "Nothing can be waited for inside of a running loop. Serve it in the background: "
            "ganvas.explore(model, wait=False)"
        )


def _greet(name: str, url: str, browser: bool, say: Callable[[str], None]) -> None:
    say(printable(f"{name}: {url}  (Ctrl-C stops it)"))
    if browser:  # one in the terminal is waited for until it is left, and would itself wait for the server
        threading.Thread(target=webbrowser.open, args=(url,), name="browser", daemon=True).start()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen()  # else somebody else may, while the model is warmed
    except (OSError, OverflowError, UnicodeError) as error:
        listener.close()
        why = str(getattr(error, "strerror", None) or error).rstrip(".")
        raise GanvasError(
            f"Cannot listen on {host}:{port}: {why}. Choose another --port or --host, or omit them."
        ) from error
    return listener


def _picture(image: Tensor) -> Response:
    content = pictures.png(pictures.to_image(image))
    return Response(content, media_type="image/png", headers={"Cache-Control": "private, max-age=3600"})
