"""Who may talk to the server: the person who started it, or somebody with the token."""

import asyncio
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_plus, urlsplit

from ganvas.web.upload import LARGEST

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

LOOPBACK = ("127.0.0.1", "localhost", "::1")
COOKIE = "ganvas-token"
"""Begins its name, which ends with the port: browsers keep one jar for all ports of a host."""
LARGEST_BODY = LARGEST + 2**20
"""Of a request: an upload and what is around it."""
BODY_SECONDS = 60.0
"""In which the whole of a body has to come."""
PIECE_SECONDS = 10.0
"""In which the next piece of it has to come."""
ALONE = ("host", "origin", "content-length", "sec-fetch-site", "sec-fetch-mode", "sec-fetch-dest")
"""Headers that decide something: two of them could be read as either."""
LONGEST_TOKEN = 200
"""Bytes of a token in an address that are looked at; ours have 22."""
LONGEST_BESIDE = 2**14
"""Bytes of the address and headers, but for cookies, of what is not the page, whose address may hold a recipe. The framework
keeps those of a connection for a minute after it is gone."""
SOCKET = "/_nicegui_ws/"
"""Begins the paths of a page's connection."""
GREETING = 2000
"""Letters of a page's first message, which comes in the address of its connection or by itself. The framework keeps its names,
thrice, for a minute after the page said that it goes."""
OURS = ("same-origin", "none")
HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
POLICY = (
    "default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'; connect-src 'self' ws://{host}; object-src 'none'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors {framers}"
)
"""The framework's page runs scripts that stand in it; what a script can reach is this server and nothing else."""
UNFRAMED = (b"x-frame-options", b"DENY")


@dataclass(frozen=True)
class Notebook:
    """Whose cells may show the page."""

    framers: str
    """Sources of the pages around it, as of `frame-ancestors`."""
    hosts: tuple[str, ...] = ()
    """Ends of the host names that its proxy answers to, and that pages come from; empty: loopback names alone."""


LOCAL = Notebook(
    "http://localhost:* http://127.0.0.1:* https://localhost:* https://127.0.0.1:* vscode-webview: vscode-file:"
)
"""Jupyter on this machine, or behind a tunnel, and VS Code, whose pages have schemes of their own that no `*` would match."""
COLAB = Notebook(
    "https://colab.research.google.com https://*.googleusercontent.com https://*.colab.dev",
    (".googleusercontent.com", ".colab.dev"),
)


class Guard:
    """ASGI middleware around everything: pages, pictures, uploads, polling and websockets alike.

    On loopback a request must name a loopback host, so that no other site reaches the server under a name of its own. Elsewhere
    it must bring the token, in the address or as the cookie that the first visit sets. What says where it comes from must come
    from the server's own page; other sites may link to that page and do nothing else. Bodies above `LARGEST_BODY` are refused,
    slow ones are cut.

    For a `notebook` both are asked of the page itself, a loopback name and the token; with it a page of the notebook's list may
    frame it too. A browser sends a frame of another site no cookies, so what the page then asks for goes by where it comes from,
    as on loopback, and its websocket by the name that the page was given.
    """

    def __init__(self, app: App, token: str | None, notebook: Notebook | None = None) -> None:
        self.app, self.token, self.notebook = app, token, notebook

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers: dict[str, str] = {}
        try:
            headers = _headers(scope)
            why = self._refused(scope, headers)
        except ValueError as error:
            why = 400, f"Malformed: {error}."
        if why is not None:
            await _refuse(scope, receive, send, *why)
            return
        # Nothing of ours stands behind a proxy that would say the first, and the framework writes one of them into its page.
        # Cookies are for the token alone, and Python's own reader may take minutes for one.
        scope["headers"] = [
            each for each in scope["headers"] if not each[0].lower().startswith((b"x-forwarded", b"cookie"))
        ]
        address, path = len(scope.get("query_string", b"")), scope.get("path", "")
        length = address + sum(len(k) + len(v) for k, v in scope["headers"])
        if (path != "/" and length > LONGEST_BESIDE) or (path.startswith(SOCKET) and address > GREETING):
            await _refuse(scope, receive, send, 431, "The address or the headers are too long.")
            return
        fresh = self.token is not None and _same(_given(scope), self.token)
        cookie = f"{_cookie(headers)}={self.token}; Path=/; HttpOnly; SameSite=Strict"
        framers = self.notebook.framers if self.notebook else "'none'"
        policy = POLICY.replace("{host}", headers.get("host", "")).replace("{framers}", framers)
        said = [
            *HEADERS,
            *([] if self.notebook else [UNFRAMED]),
            (b"content-security-policy", policy.encode()),
        ]
        if fresh:
            said.append((b"set-cookie", cookie.encode()))
        body, started = _Body(receive), False

        async def dressed(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                if body.cut:
                    return
                started = True
                message["headers"] = [*message.get("headers", []), *said]
            elif message["type"] == "http.response.body" and not started:
                return
            await send(message)

        if scope["type"] == "websocket":
            await self.app(scope, receive, send)
            return
        try:
            await self.app(scope, body, dressed)
        except Exception:
            if not body.cut:
                raise
        if body.cut and not started:
            await _refuse(scope, receive, send, *body.cut)

    def _refused(self, scope: Scope, headers: dict[str, str]) -> tuple[int, str] | None:
        host = _host(headers.get("host", ""))
        hosts = self.notebook.hosts if self.notebook else ()
        if (self.token is None or self.notebook) and host not in LOOPBACK and not host.endswith(hosts):
            return 400, f"This server answers to localhost, not to {host!r}."
        given = self.token is not None and any(
            _same(each, self.token) for each in (_given(scope), *_kept(headers))
        )
        page = scope.get("path") == "/"
        if self.token is not None and not given and (page or not self.notebook):
            return 403, "The address needs its token: open the one that ganvas explore printed."
        if (origin := headers.get("origin")) is not None:
            whence = urlsplit(origin)
            if whence.netloc != headers.get("host") and not (whence.hostname or "").endswith(hosts):
                return 403, "A page of another site may not do this."
        # A link on another site may lead to the page, but nothing here may be a part of another site's page.
        framed = self.notebook and page and headers.get("sec-fetch-dest") == "iframe"
        linked = headers.get("sec-fetch-mode") == "navigate" and (
            framed or headers.get("sec-fetch-dest") == "document"
        )
        if headers.get("sec-fetch-site", "none") not in OURS and not (
            linked and scope.get("method") == "GET"
        ):
            return 403, "A page of another site may not do this."
        length = headers.get("content-length", "0")
        if not re.fullmatch(r"\d{1,18}", length, re.ASCII):
            raise ValueError("a content-length is a number")
        if int(length) > LARGEST_BODY:
            return 413, f"At most {LARGEST_BODY >> 20} MiB."
        return None


class _Body:
    """Receives the body of a request, and cuts it when it is too long or too slow."""

    def __init__(self, receive: Receive) -> None:
        self.receive = receive
        self.cut: tuple[int, str] | None = None
        self.seen, self.whole, self.end = 0, False, time.monotonic() + BODY_SECONDS

    async def __call__(self) -> Message:
        if self.whole:  # what follows is that the other side goes, and it may stay as long as it likes
            return await self.receive()
        if self.cut is None:
            try:
                left = min(PIECE_SECONDS, self.end - time.monotonic())
                message = await asyncio.wait_for(self.receive(), max(left, 0))
            except TimeoutError:
                self.cut = 408, "Too slow."
            else:
                self.seen += len(message.get("body", b""))
                self.whole = not message.get("more_body", False)
                if self.seen <= LARGEST_BODY:
                    return message
                self.cut = 413, f"At most {LARGEST_BODY >> 20} MiB."
        return {"type": "http.disconnect"}


def _headers(scope: Scope) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in scope["headers"]:
        key = name.decode("latin-1").lower()
        if key in found and key in ALONE:
            raise ValueError(f"{key} twice")
        found[key] = value.decode("latin-1")
    return found


def _host(text: str) -> str:
    """The host of a Host header, without its port. Raises `ValueError` for what is none."""
    if not re.fullmatch(r"(?:[\w.-]+|\[[0-9A-Fa-f:.]+\])?(?::\d{1,5})?", text, re.ASCII):
        raise ValueError("a Host is a name or an address, and a port")
    return urlsplit(f"//{text}").hostname or ""


def _same(given: str, token: str) -> bool:
    return secrets.compare_digest(given.encode("utf-8", "replace"), token.encode())


def _given(scope: Scope) -> str:
    # Not by parse_qs: of a long address from anybody that would keep everybody waiting for seconds.
    for each in scope.get("query_string", b"").split(b"&"):
        if each.startswith(b"token="):
            return unquote_plus(each[6 : 6 + LONGEST_TOKEN].decode("latin-1"), errors="replace")
    return ""


def _cookie(headers: dict[str, str]) -> str:
    """The name of our cookie."""
    host = headers.get("host", "")
    return f"{COOKIE}-{host[len(host.rstrip('0123456789')) :]}"


def _kept(headers: dict[str, str]) -> Iterator[str]:
    """The values of our cookie: a host may keep several of one name."""
    wanted = _cookie(headers)
    for each in headers.get("cookie", "").split(";"):
        name, _, value = each.strip().partition("=")
        if name == wanted:
            yield value


async def _refuse(scope: Scope, receive: Receive, send: Send, status: int, why: str) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008})
        return
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close"), *HEADERS, UNFRAMED]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": why.encode("utf-8", "replace")})
