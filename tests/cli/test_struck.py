"""Each event by which a command makes, moves or opens a file to write, struck once by a full disk; then the command again."""

import errno
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ganvas import io
from ganvas.cli import main
from ganvas.training import Result

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class Disk:
    """Counts what is written below a folder, and is full at one of these events."""

    def __init__(self) -> None:
        self.root, self.at, self.events = "", 0, list[str]()
        sys.addaudithook(self.look)

    def look(self, event: str, given: tuple[Any, ...]) -> None:
        if not self.root:
            return
        if event == "open":
            path = given[0] if isinstance(given[2], int) and given[2] & WRITES else None
        else:
            path = {
                "os.rename": given[1:2],
                "os.link": given[1:2],
                "os.mkdir": given[:1],
                "os.chmod": given[:1],
            }.get(event)
            path = path[0] if path else None
        if not isinstance(path, str | bytes | os.PathLike) or not os.path.abspath(
            os.fsdecode(path)
        ).startswith(self.root):
            return
        self.events.append(f"{event} {os.fsdecode(path)}")
        if len(self.events) == self.at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), os.fsdecode(path))

    def during(self, work: Callable[[], int], root: Path, at: int = 0) -> int:
        self.root, self.at, self.events = str(root), at, []
        try:
            return work()
        finally:
            self.root = ""


@pytest.fixture(scope="module")
def disk() -> Disk:
    return Disk()


def content(folder: Path) -> dict[str, object]:
    """What lies there; of tensors what they are, whose header is in any order."""
    return {
        str(path.relative_to(folder)): path.is_file() and repr(io.load_tensors(path))
        if path.suffix == ".safetensors"
        else path.is_file() and path.read_bytes()
        for path in folder.rglob("*")
    }


COMMANDS = {
    "picture": "sample RUN --n 9 --out out/s.png",
    "array": "sample RUN --n 9 --out out/s.npz",
    "folder": "sample RUN --n 3 --out out/s",
    "edit": "edit RUN --arithmetic 0 --out out/e.png",
    "film": "walk RUN --keys 2 --frames 2 --out out/w.gif",
    "directions": "directions RUN --method random --out out/d.safetensors",
    "invert": "invert RUN pictures.npy --n 1 --method optimise --restarts 1 --steps 2 --newton 0 --out out/i.npz",
    "hub": "export RUN --to hub --dry-run --out out/h",
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_write_that_fails_costs_nothing(
    disk: Disk, trained: Result, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Final names hold what they held, or all that they shall; nothing else is left, and the same command then does it."""
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    np.save("pictures.npy", np.zeros((1, 8, 8), np.uint8))
    out = tmp_path / "out"
    line = [str(trained.run.path) if word == "RUN" else word for word in command.split()]
    line += ["--device", "cpu"] if "export" not in line else []

    def work() -> int:
        return main([*line, "--quiet"])

    out.mkdir()
    assert disk.during(work, out) == 0, capsys.readouterr().err
    whole, events = content(out), len(disk.events)
    assert events
    for at in range(1, events + 1):
        shutil.rmtree(out)
        out.mkdir()
        code = disk.during(work, out, at)
        said = capsys.readouterr().err
        struck = disk.events[at - 1]
        assert code in (0, 2), (struck, said)
        found = content(out)
        assert all(whole.get(name) == each for name, each in found.items()), struck
        assert code == 2 or found == whole, struck
        assert code == 0 or "No space left" in said or "disk is full" in said, (struck, said)
        if (out / "s").is_dir():  # whole, and then it is not written over
            shutil.rmtree(out / "s")
        assert work() == 0, (struck, capsys.readouterr().err)
        assert content(out) == whole, struck
