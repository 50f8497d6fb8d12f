"""Downloads: a server that sends a byte now and then is not waited for."""

import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from ganvas.cache import fetch
from ganvas.errors import GanvasError

OVER = threading.Event()


class Slow(BaseHTTPRequestHandler):
    """A byte every 20 ms, of as many as are asked for."""

    def log_message(self, format: str, *arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        many = int(self.path[1:])
        self.send_response(200)
        self.send_header("Content-Length", str(many))
        self.end_headers()
        with suppress(OSError):  # the client left
            for _ in range(many):
                self.wfile.write(b"x")
                OVER.wait(0.02)


def test_a_byte_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """urllib's own limit begins anew with each byte."""
    monkeypatch.setattr("ganvas.cache.PAUSE", 0.5)
    with HTTPServer(("127.0.0.1", 0), Slow) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        address = f"http://127.0.0.1:{server.server_port}/"
        try:
            assert fetch(f"{address}5", "") == b"xxxxx"
            with pytest.raises(GanvasError, match=r"Could not download .*: \d+ bytes in \d+ s. Do this"):
                fetch(f"{address}100000", "Do this")
        finally:
            OVER.set()
            server.shutdown()
            thread.join()
