"""Who gets in."""

import asyncio
from collections.abc import MutableMapping
from typing import Any

import pytest

from ganvas.web.guard import COOKIE, LARGEST_BODY, Guard

Message = MutableMapping[str, Any]


async def inner(scope: Message, receive: Any, send: Any) -> None:
    """Answers everything."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        return
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        if not message.get("more_body"):
            break
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})


def ask(
    token: str | None, *, kind: str = "http", query: str = "", bodies: tuple[int, ...] = (0,), **headers: str
) -> list[Message]:
    """What the server says to a request."""
    sent: list[Message] = []
    pieces = [
        {"type": "http.request", "body": b"x" * size, "more_body": i < len(bodies) - 1}
        for i, size in enumerate(bodies)
    ]
    waiting: list[dict[str, Any]] = pieces if kind == "http" else [{"type": "websocket.connect"}]

    async def receive() -> Message:
        return waiting.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    raw = [(k.replace("_", "-").encode(), v.encode()) for k, v in {"host": "127.0.0.1:80", **headers}.items()]
    scope = {"type": kind, "path": "/", "query_string": query.encode(), "headers": raw}
    asyncio.run(Guard(inner, token)(scope, receive, send))
    return sent


def status(sent: list[Message]) -> int:
    return int(sent[0]["status"])


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost:1", "[::1]:9"])
def test_on_loopback_its_own_names_are_answered(host: str) -> None:
    assert status(ask(None, host=host)) == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:80", "", "10.0.0.5"])
def test_on_loopback_other_names_are_refused(host: str) -> None:
    assert status(ask(None, host=host)) == 400


def test_elsewhere_the_token_is_needed_once() -> None:
    assert status(ask("secret", host="box:80")) == 403
    assert status(ask("secret", host="box:80", query="token=wrong")) == 403
    assert status(ask("secret", host="box:80", cookie=f"{COOKIE}=wrong")) == 403
    first = ask("secret", host="box:80", query="token=secret&r=1")
    assert status(first) == 200
    cookie = dict(first[0]["headers"])[b"set-cookie"].decode()
    assert cookie.startswith(f"{COOKIE}=secret")
    assert "HttpOnly" in cookie
    assert status(ask("secret", host="box:80", cookie=cookie.split(";")[0])) == 200


def test_another_site_may_not_open_a_websocket() -> None:
    assert ask(None, kind="websocket", origin="http://127.0.0.1:80")[0]["type"] == "websocket.accept"
    assert ask(None, kind="websocket", origin="http://evil.example")[0]["type"] == "websocket.close"
    assert ask("secret", kind="websocket")[0]["type"] == "websocket.close"


def test_large_bodies_are_refused_and_cut() -> None:
    assert status(ask(None, content_length=str(LARGEST_BODY + 1))) == 413
    assert ask(None, bodies=(LARGEST_BODY, 1)) == [], "one that lies about its length is cut off"
    assert status(ask(None, bodies=(1000, 1000))) == 200
