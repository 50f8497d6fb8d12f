"""The server below the explorer, with an application that never comes to an end."""

import io
import logging
import signal
import socket

import pytest

from ganvas.web import serving
from tests.forked import Process

SERVER = """
import asyncio, socket
from ganvas.web.serving import run

async def app(scope, receive, send):
    if scope["type"] == "http":
        print("asked", flush=True)
        await asyncio.sleep(60)
    else:  # the beginning and the end of the server itself
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})

listener = socket.create_server(("127.0.0.1", 0))
run(app, listener, lambda: print(listener.getsockname()[1], flush=True))
"""


def test_what_is_cut_off_by_the_end_is_no_error() -> None:
    process = Process("-c", SERVER, together=True)
    port = int(process.stdout.readline())
    with socket.create_connection(("127.0.0.1", port)) as waiting:
        waiting.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert process.stdout.readline() == "asked\n"
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert said == ""


@pytest.mark.parametrize("head", ["GET /?r=" + "a" * 9000, "GET /", "GET /?many"])
def test_a_long_handshake_of_a_websocket_is_answered(head: str) -> None:
    process = Process("-c", SERVER, together=True)
    port = int(process.stdout.readline())
    more = {"GET /": "X-Long: " + "a" * 9000 + "\r\n", "GET /?many": "X-One: a\r\n" * 200}.get(head, "")
    wanted = (
        f"Host: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n{more}"
    )
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.sendall(
            f"{head} HTTP/1.1\r\n{wanted}Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
        )
        assert client.recv(1000).startswith(b"HTTP/1.1 400 ")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)


def test_what_an_application_does_not_catch_is_a_line() -> None:
    """A body in pieces that are none ends in an error of the server's own, an empty frame of a websocket in the framework's."""
    fails = SERVER.replace("await asyncio.sleep(60)", "raise ValueError('an empty packet')")
    process = Process("-c", fails, together=True)
    port = int(process.stdout.readline())
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert client.recv(1000).startswith(b"HTTP/1.1 500 ")
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=30)
    asked, error = said.splitlines()
    assert asked == "asked"
    assert "the explorer met an error: ValueError: an empty packet" in error


def test_errors_are_a_line_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """Anybody with a page may send events that no handler takes, by the thousand, and words that would move the cursor."""
    written, log = io.StringIO(), logging.Logger("nicegui")
    log.addHandler(logging.StreamHandler(written))
    log.addFilter(serving.in_a_line)
    try:
        float("\x1b[2J" + "9" * 100_000 + "x")
    except ValueError as error:
        log.exception(error)
        log.error("the explorer met an error", exc_info=error)
    log.error("a page says %s", "\x1b[31m100%\nok")
    first, second, third = written.getvalue().splitlines()
    assert first == second
    assert first.startswith(
        "the explorer met an error: ValueError: could not convert string to float: '\\x1b[2J999"
    )
    assert "(test_serving.py:" in first
    assert len(first) < 400
    assert third == "a page says \\x1b[31m100% ok"
    monkeypatch.setattr(serving.LOG, "level", logging.DEBUG)
    log.error("again", exc_info=ValueError("x"))
    assert "ValueError: x" in written.getvalue().splitlines()[-1]


def test_the_logs_of_the_server_have_the_filter() -> None:
    process = Process("-c", SERVER.replace("        await asyncio.sleep(60)", FORGED), together=True)
    port = int(process.stdout.readline())
    with socket.create_connection(("127.0.0.1", port)) as asking:
        asking.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert process.stdout.readline() == "asked\n"
        said = process.stdout.readline()
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=30)
    assert said.startswith("the explorer met an error: KeyError: 'no such' (<string>:")
    assert "Traceback" not in rest


FORGED = """        import logging
        try:
            {}["no such"]
        except KeyError as error:
            logging.getLogger("nicegui").exception(error)
        await asyncio.sleep(60)
"""
