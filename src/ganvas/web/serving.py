"""The server's process: it listens, waits for nobody who dawdles, and ends when it is told to."""

import asyncio
import contextlib
import logging
import socket
import traceback
from asyncio import TimerHandle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from ganvas.errors import printable
from ganvas.web.guard import App, Receive, Scope, Send

LOG = logging.getLogger("ganvas")

HEAD_SECONDS = 10.0
"""In which the head of a request has to come, whatever drips in meanwhile."""
GOODBYE = 1.0
"""Seconds that open connections get when the server stops."""
ENDING = "ganvas.ending"
"""Of a request: whether its server was told to stop since it came."""
LAST = 2.0
"""Seconds after which nothing is waited for any more."""
MOST_CONNECTIONS = 1000
LONGEST_LINE = 300
"""Of an error's words on the terminal."""
LONGEST_HEAD = 2**20
"""Bytes of a request's address and headers: an address may hold a whole recipe."""
LONGEST_UPGRADE, MOST_HEADERS = 8000, 100
"""Of a request that goes on as a websocket: where a line of it is longer, the library for those says nothing and waits."""


class Patience(H11Protocol):
    """HTTP with an end to waiting for the head of a request (the server's own limit is for silence between two)."""

    _late: TimerHandle | None = None
    _upgraded = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begins to wait."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Waits on while a head is not whole."""
        super().data_received(data)
        if self._upgraded or (self.cycle is not None and not self.cycle.response_complete):
            self._rest()
        elif self._late is None:
            self._wait()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """From here on it is another protocol's."""
        longest = max(len(event.target), *(len(name) + len(value) for name, value in event.headers))
        if longest > LONGEST_UPGRADE or len(event.headers) > MOST_HEADERS:
            self.send_400_response("The address or a header is too long for a websocket.")
            return
        self._upgraded = True
        super().handle_websocket_upgrade(event)

    def connection_lost(self, exc: Exception | None) -> None:
        """Waits no more."""
        self._rest()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._late = self.loop.call_later(HEAD_SECONDS, self.transport.abort)

    def _rest(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None


class Server(uvicorn.Server):
    """Says when it listens, and not before."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self.ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal ends the serving and nothing else; a second one in a hurry."""
        self.force_exit, self.should_exit = self.should_exit, True

    async def until_stopped(self, listener: socket.socket) -> None:
        """Serve, and `LAST` seconds after the end was asked for it has come, whatever clients or jobs are at."""
        serving = asyncio.ensure_future(self.serve([listener]))
        # A page that is cut off by the end is no error, and its traceback nobody's business.
        log = logging.getLogger("uvicorn.error")
        log.addFilter(self._lives)
        while not (self.should_exit or serving.done()):
            await asyncio.sleep(0.1)
        await asyncio.wait([serving], timeout=LAST)
        # What is still at work may say more: as long as the loop has a turn, nothing of it is heard.
        asyncio.get_running_loop().call_later(LAST, log.removeFilter, self._lives)
        if serving.done():
            serving.result()

    def _lives(self, record: logging.LogRecord) -> bool:
        return not self.should_exit


def _uncaught(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """A message that the framework cannot make sense of is said in a line: anybody with a page may send one."""
    coroutine = getattr(context.get("future"), "get_coro", lambda: None)()
    if getattr(coroutine, "__qualname__", "").startswith("AsyncServer."):
        LOG.warning("a message that no page sends: %s", printable(repr(context.get("exception")))[:200])
    else:
        loop.default_exception_handler(context)


def in_a_line(record: logging.LogRecord) -> bool:
    """A log's filter: errors without their tracebacks, and all of it as a terminal may have it.

    Anybody with a page may send an event of the wrong kind, a thousand times. Logging at DEBUG keeps the tracebacks.
    """
    error = record.exc_info[1] if record.exc_info else None
    if LOG.getEffectiveLevel() <= logging.DEBUG:
        return True
    text = record.getMessage()
    if error is not None:
        frames = traceback.extract_tb(error.__traceback__)
        place = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
        text = f"the explorer met an error: {type(error).__name__}: {str(error)[:LONGEST_LINE]}{place}"
    record.msg, record.args = printable(" ".join(text.split()))[: 2 * LONGEST_LINE], ()
    record.exc_info = record.exc_text = None
    return True


def server_of(app: App, ready: Callable[[], None], lifespan: Literal["on", "off"] = "on") -> Server:
    """The server of an ASGI application; `ready` is called when it listens."""

    async def door(scope: Scope, receive: Receive, send: Send) -> None:
        # Pages that were asked for before the end are not built any more: each keeps the loop for a while.
        if server.should_exit and scope["type"] == "http":
            headers = [(b"connection", b"close")]
            await send({"type": "http.response.start", "status": 503, "headers": headers})
            await send({"type": "http.response.body", "body": b"The explorer was stopped."})
        else:
            await app({**scope, ENDING: lambda: server.should_exit}, receive, send)

    config = uvicorn.Config(
        door, http=Patience, log_level="error", timeout_graceful_shutdown=GOODBYE, ws_max_size=2**20, lifespan=lifespan,  # type: ignore[arg-type]
        ws_per_message_deflate=False, limit_concurrency=MOST_CONNECTIONS, h11_max_incomplete_event_size=LONGEST_HEAD,
    )  # fmt: skip
    server = Server(config, ready)
    return server


def loop_of(jobs: ThreadPoolExecutor) -> asyncio.AbstractEventLoop:
    """A new loop for servers, whose slow work is done by `jobs`."""
    loop = asyncio.new_event_loop()
    loop.set_default_executor(jobs)
    loop.set_exception_handler(_uncaught)
    # The server's own says what an application did not catch: a body or a frame that no browser sends is enough.
    for log in (LOG, logging.getLogger("nicegui"), logging.getLogger("uvicorn.error")):
        log.addFilter(in_a_line)
    # It writes a traceback for every malformed message.
    logging.getLogger("engineio.server").setLevel(logging.CRITICAL)
    return loop


def run(app: App, listener: socket.socket, ready: Callable[[], None]) -> None:
    """Serve an ASGI application until Ctrl-C or a signal; `ready` is called when it listens.

    Jobs that somebody had begun on a page are not waited for: their threads end with what they do, or with the process.
    """
    server, jobs = server_of(app, ready), ThreadPoolExecutor(thread_name_prefix="ganvas")
    loop = loop_of(jobs)
    try:
        asyncio.set_event_loop(loop)
        with contextlib.suppress(KeyboardInterrupt):  # before the server listens to signals
            loop.run_until_complete(server.until_stopped(listener))
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.wait(left, timeout=0.3))
    finally:
        jobs.shutdown(wait=False, cancel_futures=True)
        asyncio.set_event_loop(None)
        loop.close()
