"""Explorers beside a notebook's cells: a thread serves them all, and the cells go on."""

import asyncio
import html
import secrets
import socket
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager

from ganvas.web.guard import COLAB, LOCAL, App, Guard
from ganvas.web.serving import LAST, Server, loop_of, server_of

HEIGHT = 820
"""Pixels of a cell's frame, which its corner makes higher or lower."""


class Hub:
    """The thread of a process that serves its explorers, each at a port of its own. It ends with the process."""

    def __init__(self, life: AbstractAsyncContextManager[object]) -> None:
        """`life` is entered before the first is served, and never left: the web framework begins once."""
        self.loop = loop_of(ThreadPoolExecutor(thread_name_prefix="ganvas"))
        self.token = secrets.token_urlsafe(16)
        self.over: list[threading.Event] = []
        """Of all that were served, set when each is no more."""
        begun: Future[None] = Future()
        threading.Thread(target=self._run, args=(life, begun), name="ganvas-explorers", daemon=True).start()
        begun.result()
        # Python waits for the threads of executors before it tells anybody else that it ends. They hear of it by this, which is
        # not public: a Python without it would wait for what pages are at, and no more.
        if hear := getattr(threading, "_register_atexit", None):
            hear(self._end)

    def _end(self) -> None:
        """What pages had begun is not waited for."""
        for each in self.over:
            each.set()

    def _run(self, life: AbstractAsyncContextManager[object], begun: "Future[None]") -> None:
        async def live() -> None:
            with warnings.catch_warnings():
                # On starting the framework looks at every object there is, and meets a deprecated one of torch.
                warnings.filterwarnings("ignore", message=".*reduce_op.*", category=FutureWarning)
                await life.__aenter__()

        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_until_complete(live())
        except BaseException as error:
            begun.set_exception(error)
            return
        begun.set_result(None)
        self.loop.run_forever()

    def open(
        self, app: App, listener: socket.socket, name: str, colab: bool, over: threading.Event
    ) -> "Explorer":
        """Serve an application, and return when it listens. `over` is set when it is closed, and when Python ends."""
        listening = threading.Event()
        server = server_of(Guard(app, self.token, COLAB if colab else LOCAL), listening.set, "off")
        serving = asyncio.run_coroutine_threadsafe(server.until_stopped(listener), self.loop)
        serving.add_done_callback(lambda _: listening.set())
        listening.wait()
        if serving.done():
            serving.result()
        self.over.append(over)
        return Explorer(name, listener.getsockname()[1], self.token, server, serving, colab, over)


class Explorer:
    """An explorer that is served in the background. A notebook shows its page; `close` ends it, as the end of Python does.

    What a page had begun, a map or a long film, then ends with the pictures that are being drawn.
    """

    def __init__(
        self, name: str, port: int, token: str, server: Server, serving: "Future[None]", colab: bool,
        over: threading.Event,
    ) -> None:  # fmt: skip
        self.name, self.port, self.colab = name, port, colab
        self.path = f"/?token={token}"
        """Of the page, with what opens it."""
        self._server, self._serving, self._over = server, serving, over

    @property
    def url(self) -> str:
        """Of the page, on this machine."""
        return f"http://127.0.0.1:{self.port}{self.path}"

    @property
    def closed(self) -> bool:
        """Whether it is served no more."""
        return self._serving.done()

    def close(self) -> None:
        """Serve it no more, whatever its pages are at; once is enough."""
        self._over.set()
        self._server.should_exit = True
        self._serving.result(timeout=LAST + 3)

    def __enter__(self) -> "Explorer":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Explorer({self.name}, {'closed' if self.closed else self.url})"

    def _repr_html_(self) -> str:
        """What a notebook shows: the page."""
        if self.closed:
            return f"<p>{html.escape(repr(self))}</p>"
        address = html.escape(self.url)
        return (
            f'<iframe src="{address}" title="{html.escape(self.name)}" allow="clipboard-write; fullscreen" '
            f'style="width:100%;height:{HEIGHT}px;border:1px solid #8884;resize:vertical"></iframe>'
            f'<div><a href="{address}" target="_blank">in a window of its own</a></div>'
        )

    @property
    def _ipython_display_(self) -> Callable[[], None]:
        """In Colab the page goes through its proxy. Elsewhere there is no such method, and `_repr_html_` is asked."""
        if not self.colab or self.closed:
            raise AttributeError("_ipython_display_")
        return self._show_in_colab

    def _show_in_colab(self) -> None:
        from google.colab import output

        output.serve_kernel_port_as_iframe(self.port, path=self.path, height=str(HEIGHT))
