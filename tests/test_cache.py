"""Downloads: a server that is slow, sends without end or speaks no HTTP is not waited for, and said in words."""

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from ganvas.cache import COMPILED, cache_folder, check_compiled, fetch, keep_compiled
from ganvas.errors import GanvasError

OVER = threading.Event()


class Server(BaseHTTPRequestHandler):
    """A byte every 20 ms, of as many as are asked for; at once, `/much`; or what is no HTTP, `/wrong` and `/cut`."""

    def log_message(self, format: str, *arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        with suppress(OSError):  # the client left
            getattr(self, self.path[1:], self.slowly)()

    def slowly(self) -> None:
        many = int(self.path[1:])
        self.send_response(200)
        self.send_header("Content-Length", str(many))
        self.end_headers()
        for _ in range(many):
            self.wfile.write(b"x")
            OVER.wait(0.02)

    def much(self) -> None:
        self.send_response(200)
        self.end_headers()
        for _ in range(100):
            self.wfile.write(bytes(2**16))

    def wrong(self) -> None:
        self.wfile.write(b"hello there\r\n\r\n")

    def cut(self) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab")


@pytest.fixture
def address() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Server) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        OVER.set()
        server.shutdown()
        thread.join()
        OVER.clear()


def test_a_byte_now_and_then(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """urllib's own limit begins anew with each byte."""
    monkeypatch.setattr("ganvas.cache.PAUSE", 0.5)
    assert fetch(f"{address}5", "") == b"xxxxx"
    with pytest.raises(GanvasError, match=r"Could not download .*: \d+ bytes in \d+ s. Do this"):
        fetch(f"{address}100000", "Do this")


def test_more_than_any_file_of_ours(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setattr("ganvas.cache.LARGEST", 2**20)
    with pytest.raises(GanvasError, match=r"more than 1,048,576 bytes come.* Do this"):
        fetch(f"{address}much", "Do this")


@pytest.mark.parametrize("path", ["wrong", "cut"])
def test_what_is_no_http(path: str, address: str) -> None:
    with pytest.raises(GanvasError, match=r"Could not download http.* Do this"):
        fetch(address + path, "Do this")


def test_without_a_home_the_cache_is_where_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container that is run for a user whom the system does not know."""

    def unknown() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", unknown)
    monkeypatch.setenv("GANVAS_CACHE", "/tmp/somewhere")
    assert cache_folder() == Path("/tmp/somewhere")
    monkeypatch.delenv("GANVAS_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    with pytest.raises(GanvasError, match=r"no home folder to keep anything in.*GANVAS_CACHE"):
        cache_folder()


def test_torch_compiles_into_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And not into /tmp under a name that is known: who made that first chose what is run, and a file there ended trainings."""
    named = {name: value for name, value in os.environ.items() if name != COMPILED}
    environment = {
        **named,
        "GANVAS_CACHE": str(tmp_path / "cache"),
        "TMPDIR": str(tmp_path),
        "USER": "me",
        "LOGNAME": "me",
    }
    (tmp_path / "torchinductor_me").touch()
    command = "from ganvas.cli import main; main(['list', 'terms']); import torch._dynamo"
    subprocess.run([sys.executable, "-c", command], env=environment, check=True, timeout=120)
    assert (tmp_path / "cache" / "compiled").is_dir()
    for name in ("QUACK_CACHE_DIR", "QUACK_CACHE_ENABLED"):
        monkeypatch.setenv(name, "")  # so that it is put back
    monkeypatch.setenv(COMPILED, "mine")
    keep_compiled()
    assert os.environ[COMPILED] == "mine"
    monkeypatch.delenv(COMPILED)
    (tmp_path / "file").touch()
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path / "file"))  # where nothing can be kept
    keep_compiled()
    assert COMPILED not in os.environ


def test_torch_keeps_kernels_of_gpus_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It loads those of /tmp/NAME/torch_vendor_quack_cache, whoever made that, unless these variables are there."""
    monkeypatch.setenv(COMPILED, "mine")
    names = "QUACK_CACHE_DIR", "QUACK_CACHE_ENABLED"
    for name in names:
        monkeypatch.setenv(name, "")  # so that it is put back
        monkeypatch.delenv(name)
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path / "cache"))
    keep_compiled()
    assert [os.environ.get(name) for name in names] == [str(tmp_path / "cache" / "compiled" / "quack"), None]
    monkeypatch.delenv(names[0])
    (tmp_path / "file").touch()
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path / "file"))  # where nothing can be kept
    keep_compiled()
    assert [os.environ.get(name) for name in names] == [None, "0"]


@pytest.mark.skipif(os.name != "posix", reason="who made a folder is known there")
def test_what_others_may_have_compiled_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(COMPILED, str(tmp_path / "compiled"))
    monkeypatch.setenv("LOGNAME", "me")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    check_compiled()
    (tmp_path / "compiled").chmod(0o777)
    with pytest.raises(GanvasError, match=f"not yours alone.*{COMPILED}="):
        check_compiled()
    (tmp_path / "compiled").chmod(0o755)
    # Its headers are compiled into what runs, whatever the variable says.
    (tmp_path / "torchinductor_me").chmod(0o777)
    with pytest.raises(GanvasError, match=r"torchinductor_me is not yours alone.*TMPDIR="):
        check_compiled()
    (tmp_path / "torchinductor_me").chmod(0o755)
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    with pytest.raises(GanvasError, match="not yours alone"):
        check_compiled()
