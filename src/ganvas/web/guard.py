"""Who may talk to the server: the person who started it, or somebody with the token."""

import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlsplit

from ganvas.web.upload import LARGEST

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

LOOPBACK = ("127.0.0.1", "localhost", "::1")
COOKIE = "ganvas-token"
LARGEST_BODY = LARGEST + 2**20
"""Of a request: an upload and what is around it."""


class Guard:
    """ASGI middleware around everything, websockets too.

    On loopback a request must name a loopback host, so that no other site reaches the server under a name of its own. Elsewhere
    it must bring the token, in the address or as the cookie that the first visit sets. A websocket must come from the
    server's own page. Bodies above `LARGEST_BODY` are refused.
    """

    def __init__(self, app: App, token: str | None) -> None:
        self.app, self.token = app, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]
        }
        fresh = False
        if (why := self._refused(scope, headers)) is not None:
            await _refuse(scope, receive, send, *why)
            return
        if self.token is not None:
            fresh = secrets.compare_digest(_given(scope), self.token)
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b"")) if message["type"] == "http.request" else 0
            if seen > LARGEST_BODY:
                return {"type": "http.disconnect"}
            return message

        async def with_cookie(message: Message) -> None:
            if fresh and message["type"] == "http.response.start":
                cookie = f"{COOKIE}={self.token}; Path=/; HttpOnly; SameSite=Strict"
                message["headers"] = [*message.get("headers", []), (b"set-cookie", cookie.encode())]
            await send(message)

        await self.app(scope, counted, with_cookie)

    def _refused(self, scope: Scope, headers: dict[str, str]) -> tuple[int, str] | None:
        host = urlsplit(f"//{headers.get('host', '')}").hostname or ""
        if self.token is None:
            if host not in LOOPBACK:
                return 400, f"This server answers to localhost, not to {host!r}."
        else:
            cookies = SimpleCookie(headers.get("cookie", ""))
            kept = cookies[COOKIE].value if COOKIE in cookies else ""
            if not any(secrets.compare_digest(each, self.token) for each in (_given(scope), kept)):
                return 403, "The address needs its token: open the one that ganvas explore printed."
        origin = headers.get("origin")
        if scope["type"] == "websocket" and origin and urlsplit(origin).netloc != headers.get("host"):
            return 403, "A page of another site may not connect."
        if int(headers.get("content-length") or 0) > LARGEST_BODY:
            return 413, f"At most {LARGEST_BODY >> 20} MiB."
        return None


def _given(scope: Scope) -> str:
    query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
    return str(query.get("token", [""])[0])


async def _refuse(scope: Scope, receive: Receive, send: Send, status: int, why: str) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008})
        return
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": why.encode()})
