"""What a process is told from outside: to stop, by Ctrl-C, SIGTERM and SIGHUP; and that it is one of several."""

import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, TypeVar

from ganvas.errors import Interrupted

T = TypeVar("T")
SHORT = 0.2
"""Seconds of one wait for another thread."""
SOON = 0.02
"""Seconds after which a signal comes again that came too early."""


@contextmanager
def heard(handle: Callable[[int, FrameType | None], Any]) -> Iterator[dict[int, Any]]:
    """Inside, each of them calls `handle`; yields what was done at them before, and puts it back.

    A signal that is ignored stays so: `nohup` keeps a run going when its terminal closes. Signals reach the main thread alone: in
    another one nothing changes.
    """
    previous: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            number = int(getattr(signal, name, 0))  # Windows has no SIGHUP
            if number and signal.getsignal(number) is not signal.SIG_IGN:
                previous[number] = signal.getsignal(number)
                signal.signal(number, handle)
    try:
        yield previous
    finally:
        with suppress(ValueError):
            for number, handler in previous.items():
                signal.signal(number, handler)


class Stopped(KeyboardInterrupt):
    """By a signal. After a plain KeyboardInterrupt that passed through `exec`, as in a dataclass, Python ends by SIGINT, whatever
    exit code it was given."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


@contextmanager
def interrupting(program: bool = False) -> Iterator[None]:
    """Inside, each of them raises `Stopped`, which removes what is half written on its way out.

    Only Ctrl-C interrupts that as well: a terminal that closes, `timeout` and others send theirs twice, of a whole `program`
    also while it ends. After that Ctrl-C ends the process in silence: torch takes its time to close, and would be interrupted
    with a traceback.
    """

    def handle(number: int, frame: FrameType | None) -> None:
        if _sets_up_torch(frame):
            _send_again(number)
            return
        for each in previous:
            if each != signal.SIGINT:
                signal.signal(each, signal.SIG_IGN)
                previous[each] = signal.SIG_IGN if program else previous[each]
        raised.append(number)
        raise Stopped(number)

    def ignored(lost: "sys.UnraisableHookArgs") -> None:
        if not isinstance(lost.exc_value, Stopped):
            told(lost)
            return
        raised.clear()
        signal.signal(lost.exc_value.number, handle)
        _send_again(lost.exc_value.number)

    told, raised = sys.unraisablehook, list[int]()
    with heard(handle) as previous:
        if program and previous.get(signal.SIGINT) is signal.default_int_handler:
            previous[signal.SIGINT] = signal.SIG_DFL
        if previous:
            # Nothing can be raised out of `__del__` and the callbacks of weak references: Python prints it, and goes on.
            sys.unraisablehook = ignored
        try:
            yield
        except Exception as error:
            # Compiled code makes other errors of it: torch, in its first reads of tensors, that of a damaged file.
            if raised and not isinstance(error, Interrupted):
                raise Stopped(raised[-1]) from error
            raise
        finally:
            if previous:
                sys.unraisablehook = told


def _send_again(number: int) -> None:
    again = threading.Timer(SOON, os.kill, (os.getpid(), number))
    again.daemon = True
    again.start()


def _sets_up_torch(frame: FrameType | None) -> bool:
    """Whether a module of torch is being imported: what is compiled of it aborts the process at an exception from Python."""
    while frame is not None:
        if (
            frame.f_code.co_name == "<module>"
            and str(frame.f_globals.get("__name__")).partition(".")[0] == "torch"
        ):
            return True
        frame = frame.f_back
    return False


def several_processes() -> bool:
    """Whether this is one of several processes, as `torchrun` says it; without torch, which is slow to import."""
    count = os.environ.get("WORLD_SIZE", "")
    return count.isdecimal() and int(count) > 1


def is_first() -> bool:
    """Whether this is the only process, or the first of several, which alone prints."""
    return not several_processes() or os.environ.get("RANK", "0") == "0"


def in_a_thread(job: Callable[[], T], seconds: float | None = None) -> T:
    """What `job`, which waits for others, returns or raises. Signals are heard meanwhile, also where it waits outside of Python.

    After `seconds` it is left behind, and TimeoutError raised.
    """
    done = Future[T]()

    def work() -> None:
        try:
            done.set_result(job())
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=work, daemon=True).start()  # no pool: its threads are waited for when Python ends
    end = math.inf if seconds is None else time.monotonic() + seconds
    # In short waits: Windows interrupts no long one.
    while not done.done() and (left := end - time.monotonic()) > 0:
        wait([done], timeout=min(SHORT, left))
    if not done.done():
        raise TimeoutError(f"it did not send what was asked for in {seconds:.0f} s")
    return done.result()
