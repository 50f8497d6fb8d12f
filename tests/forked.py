"""Python processes that start at once: children of a fork server that has imported torch and ganvas, each as clean as a new one.

A new Python imports them for two seconds, and the suite starts some forty. `Process` has what tests use of `subprocess.Popen`.
How a program starts from nothing is tested by tests/cli/test_cli.py and by torchrun itself, in tests/test_dist.py.
"""

import contextlib
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import IO, Any
from unittest import mock

from ganvas.web import landscape
from tools import browser

MAPPED = 300
"""Samples on the map of an explorer or a page: each draws one beside what is tested, and thousands take ten seconds."""
ROOT = Path(__file__).parents[1]
SERVER = multiprocessing.get_context("forkserver")
PRELOADED = ["ganvas.training", "ganvas.web.app", "sklearn.datasets", "torch._dynamo", "tests.forked"]


def _play(
    words: Sequence[str], environment: Mapping[str, str], folder: str, alone: bool, *streams: Connection
) -> None:  # pragma: no cover
    """In the child: be `python words`."""
    if alone:
        os.setsid()
    for number, stream in enumerate(streams):
        os.dup2(stream.fileno(), number)
    for stream in {*streams}:
        stream.close()
    for number, (name, mode) in enumerate(zip(("stdin", "stdout", "stderr"), "rww", strict=True)):
        setattr(sys, name, open(number, mode, buffering=1, encoding="utf-8", closefd=False))  # noqa: SIM115
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    landscape.SAMPLES = MAPPED
    kind, *rest = words
    sys.argv = [kind, *rest[1:]] if kind in ("-c", "-m") else [*words]
    if kind == "-c":
        here: dict[str, Any] = {"__name__": "__main__"}
        exec(compile(rest[0], "<string>", "exec"), here)
    elif kind == "-m":
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(kind, run_name="__main__")


def server(*arguments: str, cache: Path) -> AbstractContextManager[tuple[str, Any]]:
    """`ganvas explore arguments...`, as `tools.browser.server` starts it."""
    return browser.server(*arguments, cache=cache, start=partial(Process, together=True))


@contextlib.contextmanager
def kernels() -> Iterator[None]:
    """Inside, the kernels of notebooks are such processes, too."""

    def launched(command: list[str], *, env: Mapping[str, str], cwd: str, **_: object) -> "Process":
        words = [word for word in command[1:] if not word.startswith("-X")]
        kernel = Process(*words, env=env, cwd=cwd, together=True, alone=True)
        while os.getpgid(kernel.pid) != kernel.pid:  # it is ended with all of its group
            time.sleep(0.01)
        return kernel

    with mock.patch("jupyter_client.provisioning.local_provisioner.launch_kernel", launched):
        yield


def start(process: BaseProcess) -> None:
    """Start one of the fork server.

    The server, which the first of them begins, looks for `tests` here: where `PYTHONSAFEPATH` is set already, Python 3.11 does
    not, and takes another package's.
    """
    path = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    with mock.patch.dict(os.environ, {"PYTHONPATH": os.pathsep.join(path)}):
        process.start()


class Process:
    """`python words...`, with pipes for what is said and asked; `together`: errors among what is said; `alone`: in a session of
    its own."""

    def __init__(
        self, *words: str, env: Mapping[str, str] | None = None, cwd: str | Path = ".", together: bool = False,
        alone: bool = False,
    ) -> None:  # fmt: skip
        SERVER.set_forkserver_preload(PRELOADED)
        asked, self._ask = SERVER.Pipe(duplex=False)
        self._said, say = SERVER.Pipe(duplex=False)
        self._wrong, complain = (self._said, say) if together else SERVER.Pipe(duplex=False)
        whole = dict(os.environ if env is None else env)
        self._process = SERVER.Process(
            target=_play, args=(words, whole, str(Path(cwd).resolve()), alone, asked, say, complain)
        )
        start(self._process)
        for end in {asked, say, complain}:
            end.close()
        self.args = words
        self.stdin: IO[str] = self._open(self._ask, "w")
        self.stdout: IO[str] = self._open(self._said, "r")
        self.stderr: IO[str] | None = None if together else self._open(self._wrong, "r")

    @staticmethod
    def _open(end: Connection, mode: str) -> IO[str]:
        file = open(os.dup(end.fileno()), mode, encoding="utf-8", errors="replace")  # noqa: SIM115
        end.close()
        return file

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code; `subprocess.TimeoutExpired` after so many seconds."""
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        self._hang_up()
        return self.returncode

    def _hang_up(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            self.stdin.close()

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """All that it still says, and its errors where they are apart."""
        self._hang_up()
        files = [self.stdout] if self.stderr is None else [self.stdout, self.stderr]
        with ThreadPoolExecutor(len(files)) as readers:
            reading = [readers.submit(file.read) for file in files]
            try:
                self.wait(timeout)
            except subprocess.TimeoutExpired:
                self.kill()
                raise
            said = [each.result(10) for each in reading]
        for file in files:
            file.close()
        return said[0], (said[1] if len(said) > 1 else "")

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self._process.kill()
        self.wait()

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *error: object) -> None:
        self.wait()
        for file in (self.stdout, self.stderr):
            if file is not None:
                file.close()
