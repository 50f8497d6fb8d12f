"""Chaos: runs are killed, stopped, starved of disk, corrupted and resumed twice, and a running explorer gets hostile links.

    python tools/chaos.py --minutes 20
    python tools/chaos.py --minutes 3 --seed 7 --keep /tmp/chaos

Not part of the tests: it takes its minutes and chooses at random. What must hold is checked after every blow:

- nothing ends in a traceback, and exit codes are 0, 2, or those of a signal;
- the run's newest snapshot loads and draws, whatever happened;
- one process at a time trains a run;
- a run that was struck until its budget was used ends in the very weights of one left alone.

The table counts the blows and what did not hold. The exit code is 1 when anything did not.
"""

import argparse
import base64
import contextlib
import multiprocessing
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import Request, urlopen

import torch

import ganvas
from ganvas import io
from ganvas.errors import GanvasError
from ganvas.runs import Run
from ganvas.web.state import from_bytes, from_text

SETTINGS = [
    "network.latent_dim=8", "network.generator.channels=4", "network.critic.channels=4", "training.snapshot_kimg=0.032",
    "training.log_kimg=0.064", "training.monitor_kimg=0.128",
]  # fmt: skip
"""A tiny network that writes at every step: most blows strike a write."""
TRAIN = [
    "train",
    "digits",
    "--kimg",
    "1.28",
    "--batch",
    "32",
    "--device",
    "cpu",
    "--precision",
    "fp32",
    "--set",
    *SETTINGS,
]
JS = "window.pwned=1"
LINKS = (
    f'" :title="{JS}"', f"<script>{JS}</script>", f"<img src=x onerror={JS}>", f"{{{{constructor.constructor('{JS}')()}}}}",
    f"javascript:{JS}", "{0.__class__} {name!r:{width}} {", "%n%s%(x)s", "\x00\x1b]0;x\x07", "\u202e\ud7ff", "[" * 5000, "1e999",
    '{"a":' * 3000, "../../../../etc/passwd", "%c3%28", "A" * 7000, "-1", "9" * 400, "null", "NaN",
)  # fmt: skip
"""What a link, a token, a header or a path may hold."""


class Chaos:
    """The blows and their count."""

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self.folder, self.chance = folder, chance
        self.blows: Counter[str] = Counter()
        self.outcomes: dict[str, Counter[str]] = {}
        self.faults: list[str] = []
        # Children of a fork server that has imported everything start at once: many blows fit into minutes.
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(
            ["ganvas.training", "ganvas.cli.train", "sklearn.datasets", "tyro"]
        )
        self.number = 0
        self.lives = 0
        self.run: Run | None = None
        self.whole: dict[str, torch.Tensor] = {}

    def count(self, blow: str, outcome: str) -> None:
        """Note a blow and what came of it."""
        self.blows[blow] += 1
        self.outcomes.setdefault(blow, Counter())[outcome] += 1

    def fault(self, text: str) -> None:
        """Note what did not hold."""
        self.faults.append(text)
        print(f"FAULT: {text}", flush=True)

    def start(self, *arguments: str, limit: int = 0) -> tuple[Any, Path]:
        """A command in a process of its own; (process, file of what it says)."""
        self.number += 1
        said = self.folder / f"said-{self.number}.txt"
        process = self.context.Process(target=command, args=(list(arguments), str(said), limit))
        process.start()
        return process, said

    def end(
        self, blow: str, process: Any, said: Path, allowed: tuple[int, ...], patience: float = 120
    ) -> str:
        """Wait for a command and judge how it ended; its output."""
        process.join(patience)
        if process.exitcode is None:
            process.kill()
            process.join()
            self.fault(f"{blow}: no end after {patience:.0f} s")
        text = said.read_text(errors="replace") if said.exists() else ""
        if "Traceback" in text:
            self.fault(f"{blow}: a traceback:\n{text[-3000:]}")
        elif process.exitcode not in allowed:
            self.fault(f"{blow}: exit code {process.exitcode}, allowed {allowed}:\n{text[-2000:]}")
        else:
            said.unlink(missing_ok=True)
        return text

    def undisturbed(self) -> None:
        """The run that all others are compared with."""
        process, said = self.start(*TRAIN, "--out", str(self.folder / "whole"))
        self.end("undisturbed", process, said, (0,))
        (path,) = (self.folder / "whole").glob("0*")
        self.whole = weights(Run(path))

    def go_on(self) -> tuple[str, ...]:
        """The command that starts a life or resumes it."""
        if self.run is None:
            found = sorted((self.folder / "lives").glob("0*"))
            if len(found) > self.lives:
                self.run = Run(found[-1])
        if self.run is None:
            return (*TRAIN, "--out", str(self.folder / "lives"))
        return ("train", "--resume", str(self.run.path))

    def look(self, blow: str) -> None:
        """Whatever happened, the run loads; and where it is whole it is that of nobody's interference."""
        self.go_on()
        if self.run is None:
            return
        try:
            drawn = ganvas.load(self.run.path, device="cpu").sample(2)
            assert drawn.shape == (2, 1, 8, 8)
        except (GanvasError, AssertionError) as error:
            if self.run.snapshots:  # a run that was struck before its first snapshot has none, and says so
                self.fault(f"{blow}: the run does not load: {error}")
        if self.run.state_path.is_file() and io.read_header(self.run.state_path)["images"] >= 1280:
            process, said = self.start(*self.go_on())
            self.end("finishing", process, said, (0,))
            found = weights(self.run)
            if found.keys() != self.whole.keys() or not all(
                torch.equal(found[k], self.whole[k]) for k in found
            ):
                self.fault(f"{self.run.path} ended in other weights than a run left alone")
            kimgs = [record["kimg"] for record in self.run.stats()]
            if kimgs != sorted(set(kimgs)):
                self.fault(f"{self.run.path} holds lines of statistics twice")
            left = [*self.run.path.rglob("*.tmp"), *self.run.path.glob("owner.json")]
            if left:
                self.fault(f"left behind: {left}")
            self.lives += 1
            self.run = None

    def kill(self) -> None:
        """kill -9 at any moment."""
        process, said = self.start(*self.go_on())
        process.join(self.chance.uniform(0, 1.5))
        process.kill()
        self.end("kill -9", process, said, (0, -signal.SIGKILL))
        self.count("kill -9", "killed" if process.exitcode else "had ended")
        self.look("kill -9")

    def stop(self) -> None:
        """A signal that asks to stop: the state is written. Before the first step it just ends the process."""
        number = self.chance.choice([signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
        process, said = self.start(*self.go_on())
        if self.chance.random() < 0.7:  # wait until it trains
            while process.is_alive() and "Run folder" not in (said.read_text() if said.exists() else ""):
                process.join(0.02)
            process.join(self.chance.uniform(0, 0.4))
        else:
            process.join(self.chance.uniform(0, 2))
        if process.is_alive():
            os.kill(process.pid, number)
        text = self.end(number.name, process, said, (0, 130, -number))
        outcome = (
            "saved"
            if "Stopped (interrupted)" in text
            else "had ended"
            if process.exitcode == 0
            else "ended before its first step"
        )
        self.count(number.name, outcome)
        self.look(number.name)

    def fill(self) -> None:
        """A disk that takes so many bytes a file and no more."""
        process, said = self.start(*self.go_on(), limit=self.chance.randrange(0, 120_000))
        text = self.end("full disk", process, said, (0, 2))
        outcome = room(process, text)
        if outcome == "other words":
            print(f"full disk: {text[-500:]}", flush=True)
        self.count("full disk", outcome)
        self.look("full disk")

    def fill_mount(self, mount: Path) -> None:
        """A small file system that is full before the run is over."""
        for each in mount.iterdir():
            shutil.rmtree(each, ignore_errors=True) if each.is_dir() else each.unlink()
        filler = self.chance.randrange(0, 900_000)
        (mount / "filler").write_bytes(b"x" * filler)
        process, said = self.start(*TRAIN, "--out", str(mount / "runs"))
        text = self.end("full tmpfs", process, said, (0, 2))
        self.count("full tmpfs", room(process, text))
        (mount / "filler").unlink()
        for path in (mount / "runs").glob("0*"):
            if not Run(path).snapshots:
                continue
            try:
                ganvas.load(path, device="cpu").sample(2)
            except GanvasError as error:
                self.fault(f"full tmpfs: the run does not load: {error}")
            process, said = self.start("train", "--resume", str(path))
            text = self.end("resumed on a tmpfs", process, said, (0, 2))
            if process.exitcode == 0 and not same(weights(Run(path)), self.whole):
                self.fault("a run that met a full tmpfs ended in other weights")

    def twice(self) -> None:
        """Two processes resume one run."""
        if self.run is None:
            return
        pairs = [self.start(*self.go_on()) for _ in range(2)]
        texts = [self.end("two at once", *pair, (0, 2)) for pair in pairs]
        # While the other trains, and after it.
        words = ("is being trained by", "was gone on with by another command")
        refused = sum(any(each in text for each in words) for text in texts)
        if [process.exitcode for process, _ in pairs].count(2) != refused:
            self.fault(f"two at once: {texts}")
        self.count("two at once", ("one after the other", "one was refused", "both refused")[refused])
        if refused == 2:
            self.fault("two at once: nobody went on")
        self.look("two at once")

    def corrupt(self) -> None:
        """Flipped bits, holes, cut ends, rubbish, in any file of a copy of a finished run; then any command."""
        (source,) = (self.folder / "whole").glob("0*")
        copy = self.folder / "corrupt"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(source, copy)
        unread = (".png", ".html", ".txt")
        path = self.chance.choice(
            [p for p in sorted(copy.rglob("*")) if p.is_file() and p.suffix not in unread]
        )
        content = bytearray(path.read_bytes())
        how = self.chance.choice(["flip", "hole", "cut", "rubbish", "header", "empty", "gone", "deep"])
        if how == "flip" and content:
            for _ in range(self.chance.randint(1, 20)):
                content[self.chance.randrange(len(content))] ^= 1 << self.chance.randrange(8)
        elif how == "header" and content:
            content[self.chance.randrange(min(len(content), 400))] = self.chance.randrange(256)
        elif how == "hole" and content:
            start = self.chance.randrange(len(content))
            content[start : start + self.chance.randint(1, 4096)] = b"\0" * len(content[start : start + 4096])
        elif how == "cut":
            content = content[: self.chance.randrange(len(content) + 1)]
        elif how == "rubbish":
            content = bytearray(self.chance.randbytes(self.chance.randint(0, 5000)))
        elif how == "deep":
            content = bytearray(b"[" * 100_000)
        elif how == "empty":
            content = bytearray()
        path.unlink() if how == "gone" else path.write_bytes(content)
        run = str(copy)
        commands = {
            "train --resume": ["train", "--resume", run, "--kimg", "1.4"],
            "diagnose": ["diagnose", run],
            "sample": ["sample", run, "--n", "4", "--out", str(self.folder / "drawn.png")],
        }
        name = self.chance.choice(list(commands))
        process, said = self.start(*commands[name])
        blow = f"{how} in {path.relative_to(copy)}, then {name}"
        self.end(blow, process, said, (0, 1, 2))
        self.count("corruption", "refused in words" if process.exitcode else "went on")

    def hostile(self, url: str) -> None:
        """A link, a path, a host, an origin or a token made to hurt."""
        words = self.chance.choice(LINKS)
        plain = quote(words, safe="")
        hidden = base64.urlsafe_b64encode(words.encode(errors="replace")).decode()
        target, headers = self.chance.choice(
            [
                (f"/?s={plain}", {}), (f"/?s={hidden}", {}), (f"/?token={plain}", {}), (f"/{plain[:2000]}", {}),
                (f"/real/x/{plain}.png", {}),
                ("/", {"Host": "[::1"}), ("/", {"Host": "evil.example"}), ("/", {"Origin": "http://evil.example"}),
                (f"/_nicegui_ws/socket.io/?client_id={plain}&EIO=4&transport=polling", {"Origin": "http://evil.example"}),
            ]
        )  # fmt: skip
        try:
            with urlopen(Request(url + target, headers=headers), timeout=30) as answer:
                code = answer.status
        except HTTPError as error:
            code = error.code
        except (URLError, OSError, ValueError) as error:
            self.fault(f"hostile link {target[:200]!r}: {error}")
            code = 0
        if code >= 500:
            self.fault(f"hostile link {target[:200]!r} {headers}: {code}")
        self.count("hostile link", f"{code // 100}xx")
        for read, given in (
            (from_text, words),
            (from_text, hidden),
            (from_bytes, words.encode(errors="replace")),
        ):
            try:
                read(given)
                self.fault(f"hostile recipe {words[:200]!r} was taken for one")
            except GanvasError:
                self.count("hostile recipe", "refused in words")
            except Exception as error:
                self.fault(f"hostile recipe {words[:200]!r}: {error!r}")


def command(arguments: list[str], said: str, limit: int) -> None:
    """A command of ganvas in this process, as the shell runs it; `limit` bounds the size of files."""
    output = os.open(said, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    os.dup2(output, 1), os.dup2(output, 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    torch.set_num_threads(1)
    sys.argv = ["ganvas", *arguments]
    if limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    from ganvas.cli import main as ganvas_main

    code = ganvas_main(arguments)
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code) if limit else sys.exit(code)


def room(process: Any, text: str) -> str:
    """How a command on a full disk ended."""
    return (
        "refused in words" if "disk is full" in text else "other words" if process.exitcode else "enough room"
    )


def weights(run: Run) -> dict[str, torch.Tensor]:
    """All tensors of the newest snapshot."""
    return {
        f"{kind}.{key}": value
        for kind in ("generator", "critic")
        for key, value in io.load_tensors(run.snapshots[-1] / f"{kind}.safetensors")[0].items()
    }


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    """Bit for bit."""
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


@contextlib.contextmanager
def explorer(folder: Path) -> Iterator[tuple[str, Path]]:
    """A running explorer: (its address, the file of what it says)."""
    said = folder / "explorer.txt"
    with open(said, "wb") as out:
        arguments = [sys.executable, "-m", "ganvas", "explore", "fashion", "--no-browser", "--device", "cpu"]
        process = subprocess.Popen(arguments, stdout=out, stderr=subprocess.STDOUT)
    try:
        url = ""
        for _ in range(1200):
            found = [word for word in said.read_text(errors="replace").split() if word.startswith("http://")]
            if found:
                url = found[0].rstrip("/")
                break
            time.sleep(0.1)
        yield url, said
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()


@contextlib.contextmanager
def small_mount(folder: Path) -> Iterator[Path | None]:
    """A tmpfs of 1 MB where that is permitted, else None."""
    mount = folder / "mount"
    mount.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(mount)], capture_output=True)
    try:
        yield mount if done.returncode == 0 else None
    finally:
        if done.returncode == 0:
            subprocess.run(["umount", str(mount)], capture_output=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="work here and leave the files")
    parser.add_argument("--no-explorer", action="store_true")
    options = parser.parse_args()
    folder = options.keep or Path(tempfile.mkdtemp(prefix="ganvas-chaos-"))
    folder.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("GANVAS_CACHE", str(folder / "cache"))
    end = time.monotonic() + 60 * options.minutes
    chaos = Chaos(folder, random.Random(options.seed))
    with contextlib.ExitStack() as stack:
        url, said = ("", folder / "none") if options.no_explorer else stack.enter_context(explorer(folder))
        if not url and not options.no_explorer:
            chaos.fault("the explorer did not start")
        mount = stack.enter_context(small_mount(folder))
        chaos.undisturbed()
        blows: list[Callable[[], None]] = [chaos.kill, chaos.stop, chaos.fill, chaos.twice]
        blows += [chaos.kill, chaos.corrupt, chaos.corrupt]
        if mount is not None:
            blows.append(lambda: chaos.fill_mount(mount))
        while time.monotonic() < end:
            chaos.chance.choice(blows)()
            for _ in range(5 if url else 0):
                chaos.hostile(url)
        if url:
            with contextlib.suppress(HTTPError):
                urlopen(url, timeout=60).close()
            if "Traceback" in said.read_text(errors="replace"):
                chaos.fault(f"the explorer: {said.read_text(errors='replace')[-3000:]}")
    print(f"| blow ({options.minutes:g} minutes, seed {options.seed}) | times | what came of it |")
    print("| --- | ---: | --- |")
    for blow, times in sorted(chaos.blows.items()):
        print(
            f"| {blow} | {times} | {', '.join(f'{what} {n}' for what, n in chaos.outcomes[blow].most_common())} |"
        )
    print(
        f"\nRuns struck until they were whole, and equal to one left alone: {chaos.lives}. Faults: {len(chaos.faults)}."
    )
    if options.keep is None:
        shutil.rmtree(folder, ignore_errors=True)
    sys.exit(bool(chaos.faults))


if __name__ == "__main__":
    main()
