"""Advice that works."""

import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from ganvas.errors import GanvasError, TrainingError, counted, install, printable, size

ROOT = Path(__file__).parents[1]


def test_counted() -> None:
    assert [counted(n, "image") for n in (0, 1, 2, 2000)] == [
        "0 images",
        "1 image",
        "2 images",
        "2,000 images",
    ]
    assert [counted(n, "class", "classes") for n in (1, 2)] == ["1 class", "2 classes"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("क्\u200dष 10\xa0000\u202fm 東\u3000京", "क्\u200dष 10\xa0000\u202fm 東\u3000京"),
        ("a\rb\tc", "a\\rb\\tc"),
        ("\x1b[2J\x9b1m", "\\x1b[2J\\x9b1m"),
        ("exe.\u202egnp", "exe.\\u202egnp"),
        ("two\u2028lines\u2029or \u2066three", "two\\u2028lines\\u2029or \\u2066three"),
        ("\ufeff\u200bhidden\ud800", "\\ufeff\\u200bhidden\\ud800"),
    ],
)
def test_what_could_rewrite_a_terminal_is_spelled_out_and_letters_are_not(text: str, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.parametrize("extra", ["hub", "video", "maps", "features"])
def test_the_packages_of_an_extra_are_named_themselves(extra: str) -> None:
    """`pip install 'ganvas[extra]'` fails where ganvas came from a clone; the packages themselves can be had anywhere."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = " ".join(f"'{name}'" for name in project["optional-dependencies"][extra])
    assert install(extra) == f"{sys.executable} -m pip install {wanted}"


def test_run_from_its_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> list[str]:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", missing)
    assert install("video").endswith("-m pip install 'ganvas[video]'")


def test_nothing_tells_people_to_install_ganvas_by_an_extra() -> None:
    files = [*ROOT.glob("src/**/*.py"), *ROOT.glob("docs/*.md"), ROOT / "README.md"]
    assert len(files) > 100
    found = [str(path) for path in files if re.search(r"pip install -?.{0,4}'?ganvas\[\w", path.read_text())]
    assert found == []


def test_the_middle_of_a_long_message_is_left_out() -> None:
    """A file may call a tensor by a million letters, and the way out stands at the end of a message."""
    name = "x" * 1_000_000
    said = str(TrainingError(f"The tensor {name!r} is missing. Fetch the file again."))
    assert len(said) == 4000
    assert said.startswith("The tensor 'xxx")
    assert said.endswith("xxx' is missing. Fetch the file again.")
    assert str(GanvasError("y" * 4000)) == "y" * 4000


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (1, "1 byte"),
        (700, "700 bytes"),
        (27 * 1024, "27 KiB"),
        (1024**2 - 1, "1.0 MiB"),
        (3 << 19, "1.5 MiB"),
    ],
)
def test_a_size_is_never_nothing(count: int, words: str) -> None:
    assert size(count) == words
