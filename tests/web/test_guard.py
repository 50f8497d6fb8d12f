"""Who gets in."""

import asyncio
from collections.abc import MutableMapping
from typing import Any

import pytest

from ganvas.web.guard import COLAB, LARGEST_BODY, LOCAL, Guard, Notebook

COOKIE = "ganvas-token-80"
"""Of the port that most requests here name."""

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
    token: str | None, *, kind: str = "http", query: str = "", bodies: tuple[int, ...] = (0,), app: Any = inner,
    notebook: Notebook | None = None, path: str = "/", **headers: str,
) -> list[Message]:  # fmt: skip
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

    raw = [
        (k.replace("_", "-").encode(), each.encode("latin-1"))
        for k, v in {"host": "127.0.0.1:80", **headers}.items()
        for each in v.split("\n")
    ]
    scope = {
        "type": kind, "method": "GET", "path": path, "query_string": query.encode("latin-1"), "headers": raw
    }  # fmt: skip
    asyncio.run(Guard(app, token, notebook)(scope, receive, send))
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


def test_the_greeting_of_a_page_is_short() -> None:
    """It comes in the address of its connection, where it could have 16 KiB, which the framework keeps thrice."""
    place = "/_nicegui_ws/socket.io/"
    for kind, good, refused in (("http", 200, 431), ("websocket", "websocket.accept", "websocket.close")):
        for letters, expected in ((1900, good), (2100, refused)):
            said = ask(None, kind=kind, path=place, query=f"document_id={'a' * letters}")
            assert (status(said) if kind == "http" else said[0]["type"]) == expected
    assert status(ask(None, path="/thumb/1/1.png", query="r=" + "a" * 10_000)) == 200, "a recipe may be long"


def test_each_port_has_a_cookie_of_its_own() -> None:
    """Two servers at one host would else lose each other's pages."""
    assert status(ask("secret", host="box:81", cookie=f"{COOKIE}=secret")) == 403
    assert status(ask("secret", host="box:81", cookie=f"{COOKIE}=other; ganvas-token-81=secret")) == 200


FRAMED = {"sec_fetch_mode": "navigate", "sec_fetch_dest": "iframe"}


def test_a_notebook_frames_the_page_with_its_token() -> None:
    for site in ("cross-site", "same-site"):
        said = ask("secret", notebook=LOCAL, query="token=secret", sec_fetch_site=site, **FRAMED)
        assert status(said) == 200
        headers = dict(said[0]["headers"])
        assert b"x-frame-options" not in headers
        framers = headers[b"content-security-policy"].decode().partition("frame-ancestors ")[2].split()
        assert {"http://localhost:*", "http://127.0.0.1:*", "vscode-webview:"} < set(framers)
        assert all(
            each.startswith("vscode-") or each.split("//")[1] in ("localhost:*", "127.0.0.1:*")
            for each in framers
        )
    for refused in (
        ask("secret", notebook=LOCAL),
        ask("secret", notebook=LOCAL, query="token=wrong", sec_fetch_site="same-site", **FRAMED),
        ask(
            "secret",
            notebook=LOCAL,
            query="token=secret",
            path="/thumb/1.png",
            sec_fetch_site="same-site",
            **FRAMED,
        ),
        ask("secret", query="token=secret", sec_fetch_site="same-site", **FRAMED),
        ask(None, notebook=LOCAL, query="token=secret", sec_fetch_site="same-site", sec_fetch_dest="image"),
        ask("secret", notebook=LOCAL, query="token=secret", origin="http://localhost:8888"),
    ):
        assert status(refused) == 403
    assert status(ask("secret", notebook=LOCAL, query="token=secret", host="evil.example")) == 400
    own = {"sec_fetch_site": "same-origin", "sec_fetch_mode": "no-cors", "sec_fetch_dest": "image"}
    assert status(ask("secret", notebook=LOCAL, path="/thumb/1.png", **own)) == 200, (
        "a frame is sent no cookie"
    )
    assert (
        ask("secret", kind="websocket", notebook=LOCAL, path="/_nicegui_ws/", origin="http://127.0.0.1:80")[
            0
        ]["type"]
        == "websocket.accept"
    )
    assert (
        ask("secret", kind="websocket", notebook=LOCAL, path="/_nicegui_ws/", origin="http://localhost:8888")[
            0
        ]["type"]
        == "websocket.close"
    )


def test_colabs_proxy_is_answered_under_its_names_alone() -> None:
    proxied = {"host": "8080-m-s-1.prod.colab.dev", "origin": "https://1-colab.googleusercontent.com"}
    assert status(ask("secret", notebook=COLAB, query="token=secret", **proxied)) == 200
    assert (
        status(ask("secret", notebook=COLAB, query="token=secret", **{**proxied, "host": "localhost:80"}))
        == 200
    )
    assert status(ask("secret", notebook=COLAB, **proxied)) == 403
    assert (
        status(
            ask(
                "secret",
                notebook=COLAB,
                query="token=secret",
                **{**proxied, "host": "colab.dev.evil.example"},
            )
        )
        == 400
    )
    assert (
        status(
            ask(
                "secret",
                notebook=COLAB,
                query="token=secret",
                **{**proxied, "origin": "https://evilcolab.dev"},
            )
        )
        == 403
    )


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"}, {"origin": "null"}, {"origin": ""}, {"origin": "http://127.0.0.1:81"},
        {"origin": "http://127.0.0.1"}, {"origin": "http://127.0.0.1:80@evil.example"},
        {"sec_fetch_site": "cross-site", "sec_fetch_mode": "no-cors", "sec_fetch_dest": "image"},
        {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate", "sec_fetch_dest": "iframe"},
        {"sec_fetch_site": "same-site", "sec_fetch_mode": "cors", "sec_fetch_dest": "empty"},
    ],
)  # fmt: skip
def test_another_site_may_do_nothing_whatever_the_protocol(kind: str, headers: dict[str, str]) -> None:
    said = ask(None, kind=kind, **headers)
    assert said[0]["type"] == "websocket.close" if kind == "websocket" else status(said) == 403


def test_another_site_may_link_to_the_page_and_the_page_asks_for_itself() -> None:
    link = {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate", "sec_fetch_dest": "document"}
    assert status(ask(None, **link)) == 200
    own = {"sec_fetch_site": "same-origin", "sec_fetch_mode": "cors", "sec_fetch_dest": "empty"}
    assert status(ask(None, origin="http://127.0.0.1:80", **own)) == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "[::1"}, {"host": "127.0.0.1:80:80"}, {"host": "127.0.0.1\n127.0.0.1"}, {"host": "a b"}, {"host": "\xe9"},
        {"host": "127.0.0.1/x"}, {"host": "x@127.0.0.1"}, {"content_length": "1e3"}, {"content_length": "-1"},
        {"content_length": "5\n6"}, {"origin": "http://127.0.0.1:80\nhttp://evil.example"}, {"origin": "http://[::1"},
    ],
)  # fmt: skip
@pytest.mark.parametrize("token", [None, "secret"])
@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_malformed_requests_get_400(headers: dict[str, str], token: str | None, kind: str) -> None:
    said = ask(token, kind=kind, query="token=secret", **headers)
    assert said[0]["type"] == "websocket.close" if kind == "websocket" else status(said) == 400


@pytest.mark.parametrize(
    "query", ["token=%C3%A9", "token=%E9", "token=\xe9", "token=%FF%00", "token=", "token[]=secret"]
)
def test_strange_tokens_are_wrong_ones(query: str) -> None:
    assert status(ask("secret", host="box:80", query=query)) == 403
    assert status(ask("secret", host="box:80", cookie=f"{COOKIE}=\xe9")) == 403


def test_of_a_long_address_no_more_than_a_token_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody needs a token to send one: of 1 MB of fields everybody waited for 2.6 s."""
    import urllib.parse

    read, unquote = list[int](), urllib.parse.unquote

    def counted(text: str, *given: Any, **more: Any) -> str:
        read.append(len(text))
        return unquote(text, *given, **more)

    monkeypatch.setattr("urllib.parse.unquote", counted)
    for query in ("a=%41&" * 50_000, "token=" + "%41" * 300_000, "token=x&" * 50_000):
        assert status(ask("secret", host="box:80", query=query)) == 403
    assert status(ask("secret", host="box:80", query="a=%41&" * 50_000 + "token=secr%65t")) == 200
    assert 0 < sum(read) < 1000


def test_one_of_several_cookies_is_enough_and_none_is_read_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody needs a token to send one: Python's own reader took seven seconds for 100 KB of quotes, and minutes for 1 MB."""

    def slow(text: str) -> str:
        raise AssertionError("read by http.cookies")

    monkeypatch.setattr("http.cookies._unquote", slow)
    quotes = 'a="' + '\\"' * 400_000 + '"'
    for cookie in (quotes, f"{COOKIE}={quotes[2:]}", "a=b;" * 200_000, "=" * 900_000, "; ;=;", COOKIE):
        assert status(ask("secret", host="box:80", cookie=cookie)) == 403
        assert (
            status(ask("secret", host="box:80", cookie=f"{cookie}; {COOKIE}=secret; {COOKIE}=other")) == 200
        )


@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_the_framework_is_given_no_cookies(kind: str) -> None:
    """It reads them in the same slow way, and needs none."""
    seen: list[bytes] = []

    async def looking(scope: Message, receive: Any, send: Any) -> None:
        seen.extend(name for name, _ in scope["headers"])
        await inner(scope, receive, send)

    ask("secret", kind=kind, app=looking, cookie=f"{COOKIE}=secret", x_forwarded_prefix="/x", accept="*/*")
    assert seen == [b"host", b"accept"]


def test_only_the_page_has_a_long_address() -> None:
    """The framework keeps what a connection came with: 367 of 900 kB took 650 MB, and stayed for a minute."""
    there = "/_nicegui_ws/socket.io/"
    assert status(ask(None, query="r=" + "a" * 2**17)) == 200
    assert status(ask(None, path=there, cookie="a" * 2**15)) == 200, "a browser brings those of all ports"
    assert status(ask(None, path=there, accept="a" * 2**15)) == 431
    assert status(ask(None, path=there, query="a" * 2**15)) == 431
    assert ask(None, kind="websocket", path=there, query="a" * 2**15)[0]["type"] == "websocket.close"


def test_slow_bodies_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    from ganvas.web import guard

    monkeypatch.setattr(guard, "PIECE_SECONDS", 0.2)
    monkeypatch.setattr(guard, "BODY_SECONDS", 0.5)

    def drip(gap: float) -> list[Message]:
        sent: list[Message] = []

        async def receive() -> Message:
            await asyncio.sleep(gap)
            return {"type": "http.request", "body": b"x", "more_body": True}

        async def send(message: Message) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": "/", "headers": [(b"host", b"localhost")]}
        asyncio.run(asyncio.wait_for(Guard(inner, None)(scope, receive, send), 30))
        return sent

    assert status(drip(60)) == 408, "no piece comes"
    assert status(drip(0.01)) == 408, "pieces come, and the end never does"


def test_every_answer_says_what_a_page_may_do() -> None:
    for said in (ask(None), ask(None, host="evil.example")):
        headers = dict(said[0]["headers"])
        assert headers[b"x-frame-options"] == b"DENY"
        assert headers[b"x-content-type-options"] == b"nosniff"
    policy = dict(ask(None)[0]["headers"])[b"content-security-policy"].decode()
    assert "connect-src 'self' ws://127.0.0.1:80;" in policy
    assert "frame-ancestors 'none'" in policy


def test_another_site_may_not_open_a_websocket() -> None:
    assert ask(None, kind="websocket", origin="http://127.0.0.1:80")[0]["type"] == "websocket.accept"
    assert ask(None, kind="websocket", origin="http://evil.example")[0]["type"] == "websocket.close"
    assert ask("secret", kind="websocket")[0]["type"] == "websocket.close"


def test_large_bodies_are_refused_and_cut() -> None:
    assert status(ask(None, content_length=str(LARGEST_BODY + 1))) == 413
    assert status(ask(None, bodies=(LARGEST_BODY, 1))) == 413, "one that lies about its length is cut off"
    assert status(ask(None, bodies=(1000, 1000))) == 200
