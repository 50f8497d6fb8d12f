"""What is said while a run trains, and how often."""

import errno
import io
import sys

import pytest

from ganvas.report.verdicts import Verdict
from ganvas.training import display as module
from ganvas.training.display import Display

COLLAPSE = Verdict("mode collapse", "problem", "the spread of a batch is 10% of the real one.", "Try this.")
NOTE = Verdict("still improving", "note", "the distance fell.", "Train on.")


def record(kimg: float) -> dict[str, object]:
    figures = dict.fromkeys(("loss_generator", "loss_critic", "real_logits", "fake_logits"), 0.5)
    return {"kimg": kimg, "images_per_second": 100.0, **figures, "verdicts": []}


class Clock:
    """Stands in for the time module."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(module, "time", made)
    return made


def test_verdicts_are_said_when_they_begin_and_end_at_most_one_line_in_15_s(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two verdicts that take turns every second for a minute: five lines at most, and nothing of it is lost."""
    said: list[str] = []
    with Display() as display:
        for second in range(60):
            clock.now += 1
            found = [COLLAPSE] if second % 2 else [NOTE]
            said += display.show(record(float(second)), 0.5, found)
    assert len(said) == 119
    lines = [
        line for line in capsys.readouterr().err.splitlines() if "Try this" in line or "Train on" in line
    ]
    assert len(lines) <= 5
    assert sum(line.count("no longer") for line in lines) == 59
    assert "0.0 kimg: still improving: the distance fell. Train on." in lines[0]


def test_the_first_verdict_is_said_at_once_and_the_last_at_the_end(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with Display() as display:
        display.show(record(1.0), 0.1, [COLLAPSE])
        assert "1.0 kimg: mode collapse" in capsys.readouterr().err
        clock.now += 1
        display.show(record(2.0), 0.2, [])
        assert "no longer" not in capsys.readouterr().err
    assert "2.0 kimg: no longer: mode collapse" in capsys.readouterr().err


def test_what_stood_before_a_resume_is_not_said_again(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with Display() as display:
        display.resume(["mode collapse"])
        assert display.show(record(1.0), 0.1, [COLLAPSE]) == []
        assert display.show(record(2.0), 0.1, []) == ["no longer: mode collapse"]
    assert "Try this" not in capsys.readouterr().err


def test_where_statistics_are_far_apart_it_says_how_far_it_is(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run of large pictures was silent for hours."""
    with Display() as display:
        for step in range(60):
            display.alive(step / 10, step / 60)
            clock.now += 1
        display.show(record(6.0), 1.0, [])
        display.alive(6.1, 1.0)
    said = capsys.readouterr().err
    assert [line.split()[1] for line in said.splitlines()] == ["0.0", "1.5", "3.0", "4.5", "6.0"]


def test_lines_say_how_much_time_is_left(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    """A tenth is there when a run is gone on with, and a hundredth more after each minute."""
    with Display() as display:
        for minute in (0, 1, 2, 85, 90):
            clock.now = 1000 + 60 * minute
            display.alive(1.0, 0.1 + 0.01 * minute)
    ends = [line.partition("kimg")[2].strip() for line in capsys.readouterr().err.splitlines()]
    assert ends == ["", "89 min left", "88 min left", "5 min left", ""]


@pytest.mark.parametrize("number", [errno.EPIPE, errno.EIO])
def test_a_reader_that_goes_ends_no_training(
    number: int, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`train 2>&1 | head -3`, and a window that was closed, ended it by an exit of rich's or an error, unsaved."""

    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(number, "gone")

        def flush(self) -> None:
            self.write("")

    monkeypatch.setattr(sys, "stderr", Gone())
    with Display() as display:
        display.say("one")
        clock.now += 100
        assert display.show(record(1.0), 0.1, [COLLAPSE])
        display.alive(2.0, 0.5)
    assert display.console.quiet
