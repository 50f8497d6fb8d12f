"""Signals end a command as Ctrl-C does."""

import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest

from ganvas import signals
from ganvas.errors import GanvasError
from tests.forked import Process

STRUCK = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
SCRIPT = """
import signal, sys
from ganvas.cli import main
for name in ("SIGTERM", "SIGHUP"):
    signal.signal(getattr(signal, name), signal.SIG_DFL)
sys.exit(main(["sample", "fashion", "--n", "2000000", "--out", "made"]))
"""


ENDED = """
import signal, sys
from ganvas.cli import main
sys.argv[1:] = ["--version"]
main()
signal.raise_signal(signal.SIGINT)
"""


@pytest.mark.parametrize("number", STRUCK, ids=lambda each: each.name)
def test_a_command_ends_with_the_promised_code_and_leaves_nothing(tmp_path: Path, number: int) -> None:
    process = Process("-c", SCRIPT, cwd=tmp_path)
    while not any(tmp_path.glob(".made*/*.png")):
        assert process.returncode is None
        time.sleep(0.02)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in said
    assert "Traceback" not in said
    assert not list(tmp_path.iterdir())


def test_ctrl_c_after_the_end_is_silent() -> None:
    """Torch takes a second to close: a second Ctrl-C then interrupted it with a traceback."""
    process = Process("-c", ENDED)
    _, said = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGINT
    assert "Traceback" not in said


def test_torch_is_set_up_before_a_signal_ends_the_command() -> None:
    """What is compiled of it aborted the process where `Stopped` came out of a line of Python in between."""
    done: list[str] = []
    code = "signal.raise_signal(signal.SIGTERM)\ndone.append('set up')"

    def command() -> None:
        with signals.interrupting():
            exec(code, {"__name__": "torch.distributed", "signal": signal, "done": done})
            time.sleep(5)

    with pytest.raises(signals.Stopped):
        command()
    assert done == ["set up"]


class Callback:
    """Calls back as it goes, as `__del__` does; nothing can be raised out of that."""

    def __init__(self, call: Callable[[], object]) -> None:
        self.call = call

    def __del__(self) -> None:
        self.call()


def by_a_weak_reference(call: Callable[[], object]) -> None:
    gone = Callback(lambda: None)
    reference = weakref.ref(gone, lambda _: call())
    del gone
    assert reference() is None


def by_del(call: Callable[[], object]) -> None:
    Callback(call)


@pytest.mark.parametrize("calls", [by_a_weak_reference, by_del])
@pytest.mark.parametrize("number", STRUCK, ids=lambda each: each.name)
def test_a_signal_that_python_cannot_raise_where_it_arrives_comes_again(
    number: int, calls: Callable[[Callable[[], object]], None]
) -> None:
    """Python prints what such a callback raises as ignored, and goes on: the training did, to the end of its budget."""
    before, hook = signal.getsignal(number), sys.unraisablehook

    def command() -> None:
        with signals.interrupting():
            calls(lambda: signal.raise_signal(number))
            time.sleep(5)
            raise AssertionError("not interrupted")

    with pytest.raises(signals.Stopped):
        command()
    assert signal.getsignal(number) == before
    assert sys.unraisablehook is hook


def test_what_a_library_makes_of_a_signal_is_one_all_the_same() -> None:
    """Torch made a ValueError of it in its first read of tensors, and a whole file was called damaged."""

    def command() -> None:
        with signals.interrupting():
            try:
                signal.raise_signal(signal.SIGTERM)
            except KeyboardInterrupt:
                raise GanvasError("it is damaged") from None

    with pytest.raises(signals.Stopped):
        command()


def test_an_error_after_a_signal_that_was_heard_stays() -> None:
    """As the loop hears it: what is wrong with the saving then is to be told."""
    heard: list[int] = []

    def command() -> None:
        with signals.interrupting():
            by_del(lambda: signal.raise_signal(signal.SIGTERM))
            with signals.heard(lambda number, _: heard.append(number)):
                while not heard:
                    time.sleep(0.01)
                raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space"):
        command()
    assert heard == [signal.SIGTERM]


def test_an_error_without_a_signal_stays() -> None:
    with pytest.raises(GanvasError, match="damaged"), signals.interrupting():
        raise GanvasError("it is damaged")


def test_other_exceptions_that_python_ignores_are_told_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda lost: told.append(lost.exc_type.__name__))
    with signals.interrupting():
        by_del(lambda: 1 / 0)
    assert told == ["ZeroDivisionError"]


def test_what_is_ignored_stays_so_and_the_rest_is_put_back() -> None:
    before = {number: signal.getsignal(number) for number in STRUCK}
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals.interrupting():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(
                signal.SIGTERM
            )  # the second one of `timeout`, which would spoil the cleaning up
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGTERM) == before[signal.SIGTERM]
    finally:
        signal.signal(signal.SIGHUP, before[signal.SIGHUP])


def test_the_second_of_two_leaves_the_exit_code_while_a_program_ends() -> None:
    before = {number: signal.getsignal(number) for number in STRUCK}

    def program() -> None:
        with signals.interrupting(program=True):
            signal.raise_signal(signal.SIGTERM)

    try:
        with pytest.raises(signals.Stopped):
            program()
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_another_thread_hears_nothing() -> None:
    heard: list[object] = []

    def work() -> None:
        with signals.heard(print) as previous:
            heard.append(previous)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert heard == [{}]
