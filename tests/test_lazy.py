"""Attributes that are computed once, in several threads."""

import threading

from ganvas.lazy import lazy

PATIENCE = 20.0


class Slow:
    def __init__(self, wait: threading.Event | None = None) -> None:
        self.wait, self.begun, self.count = wait, threading.Event(), 0

    @lazy
    def value(self) -> list[int]:
        """What it is."""
        self.count += 1
        self.begun.set()
        if self.wait is not None:
            assert self.wait.wait(PATIENCE)
        return [self.count]


def test_it_is_computed_once() -> None:
    one = Slow()
    assert one.value is one.value
    assert one.count == 1
    assert Slow.value.__doc__ == "What it is."


def test_no_instance_waits_for_another() -> None:
    """Python 3.11 holds a lock for the class: a picture that was waited for stopped, for minutes, who held it."""
    go_on = threading.Event()
    stopped, other = Slow(go_on), Slow()
    thread = threading.Thread(target=lambda: stopped.value)
    thread.start()
    assert stopped.begun.wait(PATIENCE)
    found: list[list[int]] = []
    second = threading.Thread(target=lambda: found.append(other.value))
    second.start()
    second.join(PATIENCE / 4)
    assert found == [[1]]
    go_on.set()
    thread.join()


def test_two_threads_get_the_same() -> None:
    go_on = threading.Event()
    one, found = Slow(go_on), list[list[int]]()
    threads = [threading.Thread(target=lambda: found.append(one.value)) for _ in range(2)]
    for thread in threads:
        thread.start()
    go_on.set()
    for thread in threads:
        thread.join()
    assert found[0] is found[1]
    assert one.value is found[0]
