"""A run folder: who writes what, and how it is found again.

runs/00003-digits-dcgan/
  config.json   resolved config, command, versions, data
  log.txt       what was said, line by line
  stats.jsonl   one JSON object every `log_kimg`
  metrics.jsonl one JSON object a figure of `ganvas eval`, or of the light evaluation while training
  samples/      reals.png, 000512.png: fixed latents, the number is kimg
  snapshots/    000512/generator.safetensors, critic.safetensors; best/ by the light evaluation
  state/        latest.safetensors: everything that --resume needs
  report.html
  .lock, owner.json   who is training it, while somebody is
"""

import errno
import itertools
import json
import math
import os
import random
import re
import shutil
import socket
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

from filelock import FileLock, SoftFileLock, Timeout

from ganvas import io, notebook
from ganvas.config import Config, read_config, to_dict
from ganvas.errors import PATH, GanvasError, expect, explain_os_error, printable

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

PROCESSES = Path("/proc/self/ns/pid")
"""Names the processes that are seen from here: those of this machine, or of this container."""
BOOT = Path("/proc/sys/kernel/random/boot_id")
"""Tells one start of a machine from all others, where there is such a file; containers of one machine share it."""
LARGEST_PICTURE = 2**28
"""Bytes of a picture in a run that a report or a page shows."""
MOST_FIGURES, MOST_VERDICTS = 200, 50
"""Names in all lines of statistics, and in the list of verdicts of one, that are read: a run has some 30 and 10, and each is a
curve in its report."""
LONGEST_NAME = 100
"""Characters of a figure's or a verdict's name: the plots lay all of them out."""
RUNS = "runs"
"""Where `ganvas train` makes them unless told otherwise."""
SHOWN = 3
"""Runs that a message names."""
LINGERING = 8.0
"""Seconds that loader workers may outlive a killed process, whose lock they share."""
UNLOCKED = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL, errno.ENOSYS)
"""What folders say that know no locks, as some network shares."""
ABANDONED = 86_400.0
"""Seconds after which a temporary file that nobody has written to is that of a command that was killed."""
PATIENCE = 30.0
"""Seconds for a file of lines that another process replaces whenever it is opened here."""


@dataclass(frozen=True)
class Run:
    """A folder that a training run owns."""

    path: Path
    home: os.stat_result | None = field(default=None, compare=False, repr=False)
    """Of an `anchored` one, its folder as it was found."""

    @property
    def config_path(self) -> Path:
        return self.path / "config.json"

    @property
    def state_path(self) -> Path:
        return self.path / "state" / "latest.safetensors"

    @property
    def samples_path(self) -> Path:
        return self.path / "samples"

    @property
    def config(self) -> Config:
        """The resolved config that the run was started with."""
        info = self.info
        return read_config(info["config"], info["format_version"])

    @property
    def info(self) -> io.Json:
        """config.json: the config and where it came from."""
        check_own(self.config_path, self.path)
        value = io.read_json(self.config_path)
        version = value.get("format_version")
        if version is not None:
            io.check_version(version, self.config_path)
        if version is None or not isinstance(value.get("config"), dict):
            raise GanvasError(f"{self.config_path} is damaged: it holds no 'format_version' or no 'config'.")
        return value

    @property
    def started(self) -> bool:
        """Whether there is a state to go on from; False for a run that was stopped before its first step.

        Raises `GanvasError` where the state is gone although the run went on: beginning again would write over its snapshots.
        """
        if self.state_path.is_file():
            return True
        trained = [path for path in self.snapshots if int(path.name)]
        if os.path.lexists(self.state_path) or trained or self.stats():
            kept = f" Its snapshots are kept, the newest is {trained[-1]}." if trained else ""
            raise GanvasError(
                f"{self.path} cannot be resumed: {self.state_path.relative_to(self.path)} is missing or is no file, and to begin "
                f"again would write over what was trained.{kept} Bring the file back, or start a new run without --resume."
            )
        return False

    @contextmanager
    def locked(self) -> Iterator[str]:
        """Keep other processes from training this run; yields a sentence when the last one died holding it, else "".

        Raises `GanvasError` that names who holds it. The system's lock on `.lock` ends with its process, however that ends; on
        some network folders it is not seen by other machines. There `owner.json` tells, and only a person can know that a
        process of another machine is over.
        """
        self.check_folders()
        here = self.anchored()
        owner = self.path / "owner.json"
        lock = FileLock(self._own(".lock"))  # its first versions empty what a link leads to
        try:
            held = _owner(owner)
            try:
                lock.acquire(timeout=LINGERING if held and _is_over(held) else 0)
                alone = True
            except Timeout as error:
                soft = isinstance(lock, SoftFileLock)  # which is a file, where the system knows no locks
                over = f" If that process is over, delete {lock.lock_file} and {owner}." if soft else ""
                raise GanvasError(
                    f"{self.path} is being trained by {_named(held)}. Wait for it, or stop it first.{over}"
                ) from error
            except NotImplementedError:  # filelock before it took a file there
                alone = False
            except OSError as error:
                if error.errno not in UNLOCKED:
                    raise
                alone = False
            held = _owner(owner)  # of a process that is over: while it lived it had the lock
            if held and not (_is_here(held) if alone else _is_over(held)):
                raise GanvasError(
                    f"{self.path} is being trained by {_named(held)}. If that process is over, delete {owner} and give the "
                    "same command again."
                )
            me = {**_me(), "since": time.strftime("%Y-%m-%d %H:%M:%S %z")}
            if alone:
                io.write_json(owner, me)
            else:
                self._claim(owner, held, me)
        except OSError as error:
            lock.release()
            raise explain_os_error(error, f"locking {self.path}") from error
        except GanvasError:
            lock.release()
            raise
        try:
            yield f"{_named(held)} ended without letting go of the run: taken over." if held else ""
        finally:
            with suppress(OSError, GanvasError):
                here.check_home()
                owner.unlink(missing_ok=True)
            lock.release()

    def _claim(self, owner: Path, held: io.Json, me: io.Json) -> None:
        """Where there are no locks: of several that begin at once, and have read the same file, one writes itself into it.

        A folder is made by one alone, on shares as well; a kill within these milliseconds leaves it, and a person removes it.
        """
        taking = owner.with_name(f".{owner.name}.taking")
        try:
            taking.mkdir()
        except FileExistsError as error:
            raise GanvasError(
                f"{self.path} is being trained by another process, which begins just now. If there is none, delete {taking} and "
                "give the same command again."
            ) from error
        try:
            now = _owner(owner)
            if now != held:
                raise GanvasError(
                    f"{self.path} is being trained by {_named(now)}, which began at the same time. If that process is over, "
                    f"delete {owner} and give the same command again."
                )
            io.write_json(owner, me)
        finally:
            taking.rmdir()

    def anchored(self) -> "Run":
        """The same run for who works on it for long: nothing is written once another folder lies here, or none."""
        try:
            return replace(self, home=self.path.stat())
        except OSError as error:
            raise explain_os_error(error, f"looking at {self.path}") from error

    def check_home(self) -> None:
        """Raise `GanvasError` where the folder of an `anchored` run is gone.

        What is written would get into a run of the same number that was begun since, or into half a folder.
        """
        if self.home is None:
            return
        try:
            if os.path.samestat(self.path.stat(), self.home):
                return
        except (FileNotFoundError, NotADirectoryError):
            pass
        except OSError as error:
            raise explain_os_error(error, f"looking at {self.path}") from error
        raise GanvasError(
            f"{self.path} was moved or removed while it was worked on, and nothing more is written there. Where it lies now, it "
            "goes on from what was saved: ganvas train --resume FOLDER."
        )

    @property
    def snapshots(self) -> list[Path]:
        """Complete snapshots, oldest first. A folder appears under its name only when it is whole; one without files is none."""
        named = (p for p in (self.path / "snapshots").glob("*") if re.fullmatch(r"\d{6,}", p.name))
        found = [p for p in named if next(p.glob("*.safetensors"), None)]
        return sorted(found, key=lambda p: int(p.name))

    def check_folders(self) -> None:
        """Raise `GanvasError` where a folder in this run is a link that leads out of it, or its state is.

        Of a run from anybody it would choose where files are written, over another run's snapshots for instance.
        """
        if self.state_path.exists():
            check_own(self.state_path, self.path)
        home = self.path.resolve()
        for folder, names, _ in os.walk(self.path):
            for path in (Path(folder, name) for name in names):
                if path.is_symlink() and not path.resolve().is_relative_to(home):
                    raise GanvasError(
                        f"{path} is a link that leads out of the run: nothing is written through it. "
                        "Put the folder itself there, or move the whole run and link that."
                    )

    def picture(self, path: Path) -> bytes | None:
        """The bytes of a PNG of this run; None for what is none, is too large, or lies elsewhere behind a link.

        A run may come from anybody: a link in it must not put other files of this machine into a report or onto a page.
        """
        with suppress(OSError):
            if is_own(path, self.path) and path.is_file() and path.stat().st_size <= LARGEST_PICTURE:
                content = path.read_bytes()
                return content if content.startswith(b"\x89PNG\r\n\x1a\n") else None
        return None

    def stamps(self) -> dict[str, tuple[int, int] | None]:
        """What tells each snapshot from another that is made under its name."""
        return {path.name: io.stamp(path / "generator.safetensors") for path in self.snapshots}

    @property
    def previews(self) -> list[Path]:
        """The pictures of its samples, oldest first: each is named after the kimg that were trained."""
        found = (path for path in self.samples_path.glob("*.png") if re.fullmatch(r"[0-9]+", path.stem))
        return sorted(found, key=lambda path: int(path.stem))

    def _repr_html_(self) -> str:
        """What a notebook shows: its curves and newest samples."""
        try:
            found = self.stats()
            trained = f"{found[-1]['kimg']:g} kimg" if found else "nothing trained yet"
            name = self.info.get("data", {}).get("name", "")
            standing: list[str] = next(
                (record["verdicts"] for record in reversed(found) if "verdicts" in record), []
            )
        except (GanvasError, AttributeError) as error:
            return notebook.card(f"Run {self.path}", notebook.line(str(error)))
        words = ", ".join([str(name), trained, f"{len(self.snapshots)} snapshots", *standing])
        content = next((c for path in reversed(self.previews) if (c := self.picture(path)) is not None), None)
        parts = [notebook.line(words), curves(found)]
        if content is not None:
            parts.append(notebook.picture(content, "the newest samples", 360))
        return notebook.card(f"Run {self.path}", *parts)

    def write_config(self, config: Config, info: io.Json) -> None:
        """Write config.json."""
        io.write_json(
            self.config_path, {"format_version": io.FORMAT_VERSION, "config": to_dict(config), **info}
        )

    def remove_leftovers(self, exports: Iterable[str] = ("generator", "critic")) -> None:
        """Delete the temporary files and folders that killed commands left behind; not those of other commands at work.

        Those of a training can be nobody's else. Others' are when nothing was written there for `ABANDONED` seconds.
        `exports` are the stems of the files of a snapshot.
        """
        # Of a folder that is replaced the new one is written by a temporary name of a temporary name.
        names = r"config\.json|owner\.json|stats\.jsonl|metrics\.jsonl|report\.html|latest\.safetensors|reals\.png|\d{6,}|best"
        exported = "".join(rf"|{re.escape(stem)}\.safetensors" for stem in exports)
        ends = r"\.[0-9a-f]{8}(\.new(\.tmp\.[0-9a-f]{8})?)?\.tmp"
        kinds = re.compile(rf"\.\.?({names}{exported}|\d{{6,}}\.png){ends}")
        # With a letter: eight digits are a date in a name of somebody's own (and one in 43 of ours, which stay).
        any_kind = re.compile(rf"\.\.?.+?(?=\.\d*[a-f]){ends}", re.DOTALL)
        for path in list(self.path.rglob(".*.tmp")):
            if kinds.fullmatch(path.name) or (any_kind.fullmatch(path.name) and _is_abandoned(path)):
                with suppress(OSError):
                    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

    def log(self, message: str) -> None:
        """Append a line to log.txt."""
        self._append("log.txt", printable(message))

    def append_stats(self, record: io.Json) -> None:
        """Append one line to stats.jsonl."""
        self._append("stats.jsonl", json.dumps(record))

    def _append(self, name: str, line: str) -> None:
        """A line is written whole or not at all, and begins on a line of its own whatever a kill has left."""
        with self._held(name) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - 1, 0))
            cut = file.read(1) not in (b"", b"\n")
            content = ("\n" * cut + line.rstrip("\n") + "\n").encode()
            try:
                if file.write(content) < len(content):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError:
                file.truncate(size)
                raise

    @contextmanager
    def _held(self, name: str) -> Iterator[IO[bytes]]:
        """A file of lines, opened to be added to, while nobody else adds to it or puts another in its place."""
        self.check_home()
        path = self._own(name)
        end = time.monotonic() + PATIENCE
        try:
            while time.monotonic() < end:
                with open(path, "ab+", buffering=0) as file:
                    if fcntl is not None:
                        with suppress(OSError):  # network folders may have no locks
                            fcntl.flock(file, fcntl.LOCK_EX)
                    if _is_at(file, path):
                        yield file
                        return
                time.sleep(random.uniform(0, 0.01))  # not in step with the other
        except OSError as error:
            raise explain_os_error(error, f"writing {name}") from error
        raise GanvasError(f"{path} is replaced over and over by other programs. Give the same command again.")

    def _own(self, name: str) -> Path:
        """A file of lines. Raises `GanvasError` for a link: in a run from anybody it leads to what is nobody's business."""
        path = self.path / name
        if path.is_symlink() or (path.exists() and not path.is_file()):
            raise GanvasError(
                f"{path} is a link, or no file: nothing is written through it, nor read. Remove it."
            )
        return path

    def stats(self) -> list[io.Json]:
        """The lines of stats.jsonl: finite numbers by name, among them `kimg`, and the list `verdicts`.

        What is neither is left out, and so is a line without `kimg` or one cut by a kill.
        """
        return records(self._lines("stats.jsonl"))

    def _lines(self, name: str) -> list[io.Json]:
        return io.read_json_lines(self._own(name))

    def append_metrics(self, rows: list[io.Json]) -> None:
        """Append lines to metrics.jsonl."""
        for row in rows:
            self._append("metrics.jsonl", json.dumps(row))

    def metrics(self) -> list[io.Json]:
        """The lines of metrics.jsonl."""
        return self._lines("metrics.jsonl")

    def rewind_stats(self, kimg: float) -> list[io.Json]:
        """Drop lines past the state that a resumed run starts from: they will be made again. Returns those of metrics.jsonl."""
        self._drop("stats.jsonl", kimg)
        return self._drop("metrics.jsonl", kimg)

    def drop_metrics(self, kimg: float, but: str) -> list[io.Json]:
        """Drop the lines of metrics.jsonl past `kimg` that are not of this source, and return them."""
        return self._drop("metrics.jsonl", kimg, but)

    def _drop(self, name: str, kimg: float, but: str | None = None) -> list[io.Json]:
        if not (self.path / name).exists():
            return []
        kept, gone = list[io.Json](), list[io.Json]()
        # ganvas eval may be adding to it. Where there are no such locks no open file can be replaced, either.
        with self._held(name) if fcntl is not None else nullcontext():
            for line in self._lines(name):
                beyond = _is_number(line.get("kimg")) and line["kimg"] > kimg + 1e-9
                beyond = beyond and (but is None or line.get("source") != but)
                (gone if beyond else kept).append(line)
            if gone:
                content = "".join(json.dumps(line) + "\n" for line in kept)
                io.write_bytes(self.path / name, content.encode())
        return gone

    def remove_beyond(self, kimg: float) -> None:
        """Delete the snapshots and previews past a state: not those of a run that goes on, which are made again as they were."""
        beyond = self.beyond(kimg)
        names = {path.name for path in beyond}
        try:
            for path in beyond:
                shutil.rmtree(path)
            for path in self.previews:
                # The name of one before the first snapshot is rounded.
                if path.stem in names or int(path.stem) > kimg + 0.5:
                    path.unlink()
        except OSError as error:
            raise explain_os_error(error, f"removing what lies beyond {kimg:.1f} kimg") from error

    def beyond(self, kimg: float) -> list[Path]:
        """The snapshots past a state, damaged ones by their names."""
        return [path for path in self.snapshots if int(path.name) > kimg or trained_beyond(path, kimg)]


def _is_abandoned(path: Path) -> bool:
    """Whether nothing was written to a temporary file, nor into a folder, for so long that no command is at work on it."""
    try:
        newest = max(each.lstat().st_mtime for each in (path, *path.rglob("*")))
    except OSError:
        return False
    return time.time() - newest > ABANDONED


def trained_beyond(snapshot: Path, kimg: float) -> bool:
    """Whether a network of a snapshot is of a later state, to the image: its name has whole kimg."""
    return max(map(trained, snapshot.glob("*.safetensors")), default=kimg) > kimg + 1e-9


def trained(network: Path) -> float:
    """How far the network of a file is trained, in kimg; -1 for one that cannot be read or does not say.

    And for a file that is not called by its kind: a person may have put others beside those of a snapshot.
    """
    header: io.Json = {}
    with suppress(GanvasError):
        header = io.read_header(network)
    kind, own = header.get("kind"), header.get("kimg", -1.0)
    named = kind is None or network.stem.partition("-")[0] == kind
    return float(own) if named and _is_number(own) else -1.0


def short_name(name: str) -> str:
    """`G` and `D` for the losses of the two players, else the name: `loss_encoder` is `encoder`."""
    return {"loss_generator": "G", "loss_critic": "D"}.get(name, name.removeprefix("loss_"))


def curves(found: Sequence[io.Json]) -> str:
    """Lines of statistics as curves in HTML; empty for fewer than two."""

    def of(title: str, names: Mapping[str, str]) -> str:
        lines = {
            shown: points
            for name, shown in names.items()
            if (points := [(record["kimg"], record[name]) for record in found if name in record])
        }
        return notebook.curves(title, lines)

    names = dict.fromkeys(name for record in found for name in record)
    parts = (
        of("losses", {name: short_name(name) for name in names if name.startswith("loss_")}),
        of("logits of the critic", {name: name.removesuffix("_logits") for name in names if name.endswith("_logits")}),
        of("distance to the data", {"energy": "energy"}),
    )  # fmt: skip
    return f'<div style="display:flex;flex-wrap:wrap;gap:8px">{"".join(parts)}</div>' if any(parts) else ""


def records(lines: Iterable[Any]) -> list[io.Json]:
    """Lines of statistics as `Run.stats` gives them, of whatever was read: the first `MOST_FIGURES` names of at most
    `LONGEST_NAME` letters that occur."""
    found, names = [], {"kimg"}
    for line in lines:
        if not isinstance(line, dict) or not _is_number(line.get("kimg")):
            continue
        record = {}
        for key, value in line.items():
            if key == "verdicts":
                said = value[:MOST_VERDICTS] if isinstance(value, list) else []
                record[key] = [printable(name[:LONGEST_NAME]) for name in said if isinstance(name, str)]
            elif (
                _is_number(value) and len(key) <= LONGEST_NAME and (key in names or len(names) < MOST_FIGURES)
            ):
                names.add(key)
                record[key] = value
        found.append(record)
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _me() -> io.Json:
    boot = processes = ""
    with suppress(OSError):
        boot = BOOT.read_text().strip()
    with suppress(OSError):
        processes = os.readlink(PROCESSES)
    return {"host": socket.gethostname(), "boot": boot, "processes": processes, "pid": os.getpid()}


def _is_at(file: IO[bytes], path: Path) -> bool:
    """Whether an open file is still what lies at its path."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except FileNotFoundError:
        return False


def _owner(path: Path) -> io.Json:
    """Who wrote owner.json; {} when nobody did. One that cannot be read says nothing about its writer."""
    if not os.path.lexists(path):
        return {}
    try:
        own = path.is_file() and not path.is_symlink()
        return io.read_json(path) if own else {"host": "an unknown machine"}
    except GanvasError:
        return {"host": "an unknown machine"}


def _is_here(owner: io.Json) -> bool:
    """Whether the system's lock tells the truth about this owner: same machine, now or before it was started again."""
    me = _me()
    return owner.get("host") == me["host"] or (bool(me["boot"]) and owner.get("boot") == me["boot"])


def _is_over(owner: io.Json) -> bool:
    """Whether a process of this machine is gone for certain: one of another container is not seen here."""
    pid, me = owner.get("pid"), _me()
    seen = all(owner.get(name, me[name]) == me[name] for name in ("host", "boot", "processes"))
    if os.name != "posix" or not seen or not isinstance(pid, int) or pid < 1:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):  # the number comes from a file
        return False
    return False


def _named(owner: io.Json) -> str:
    since = f" since {owner['since']}" if "since" in owner else ""
    return (
        f"process {owner.get('pid', '?')} on {owner.get('host', 'this machine')}{since}"
        if owner
        else "another process"
    )


def create_run(out: Path, name: str, content: io.Json) -> Run:
    """Make the next numbered folder `out/00003-name` with its config.json already in it.

    The folder appears whole; two runs that start together get two numbers.
    """
    io.check_name(out / name)
    try:
        out.mkdir(parents=True, exist_ok=True)
        passed = set[str]()
        while True:
            names = set(os.listdir(out))
            found = {m[1] for name in names if (m := re.match(r"(\d{5,})-", name))}
            # Longer ones, which may be dates, count when those of five digits are used up.
            taken = [int(each) for each in found if len(each) == 5 or "99999" in found]
            free = (f"{each:05d}" for each in itertools.count(max(taken, default=-1) + 1))
            # Each is held by one process, whatever the name: that of a killed one is passed over.
            number = next(each for each in free if each not in passed and f".{each}.taken" not in names)
            held = out / f".{number}.taken"
            try:
                held.mkdir()
            except FileExistsError:  # by one that was quicker
                passed.add(number)
                continue
            try:
                if any(out.glob(f"{number}-*")):  # it came before this one held the number
                    continue
                path = out / f"{number}-{name}"
                with io.atomic(path) as temporary:
                    temporary.mkdir()
                    io.write_json(temporary / "config.json", content)
                return Run(path)
            finally:
                held.rmdir()
    except OSError as error:
        raise explain_os_error(error, "creating the run folder") from error


def is_own(path: Path, folder: Path) -> bool:
    """Whether a path leads into a folder: no link in it leads out."""
    return _real(path).is_relative_to(_real(folder))


def check_own(path: Path, run: Path) -> None:
    """Raise `GanvasError` where a file of a run lies behind a link that leads out of it.

    A run may come from anybody: such a link would put a model of this machine, or what it was trained on, into a report.
    """
    if not is_own(path, run):
        raise GanvasError(
            f"{path} lies behind a link that leads out of the run, and is not opened. Put the file itself there, or move the "
            "whole run and link that."
        )


def check_beside(path: Path, file: Path) -> None:
    """Raise `GanvasError` where what lies beside a generator's `file` lies behind a link that leads out of their folder or run.

    A model may come from anybody: such a link would put a network of this machine into what is made of it. In the hub's cache
    the generator is itself a link, and the others lead into the same folder.
    """
    if (run := run_around(file)) is not None:
        check_own(path, run)
        return
    if not is_own(path, file.parent) and _real(path).parent != _real(file).parent:
        raise GanvasError(
            f"{path} lies behind a link that leads out of its folder, and is not opened. Put the file itself there, or take the "
            "link away."
        )


def _real(path: Path) -> Path:
    """What a path leads to; of links that lead around, some place of theirs (`resolve` raises)."""
    return Path(os.path.realpath(path))


def run_around(file: Path) -> Path | None:
    """The folder of the run in whose snapshots a file lies, by its name; None for other files."""
    folder = Path(os.path.abspath(file)).parent
    return folder.parents[1] if folder.parent.name == "snapshots" and is_run(folder.parents[1]) else None


def is_run(path: Path) -> bool:
    """Whether a folder is a run, and not a model as it is shared: that has a config.json, too, beside its weights."""
    return _is_of_run(path / "config.json") and not (path / "generator.safetensors").is_file()


def _is_of_run(path: Path) -> bool:
    """Whether a config.json is that of a run, be it damaged, and not what other toolkits write beside their weights."""
    try:
        return path.is_file() and io.read_json(path).keys() >= {"format_version", "config"}
    except GanvasError:
        return True


def runs_near(path: Path, otherwise: str = "") -> str:
    """`" Did you mean runs/00003-mine?"` for the name or number of a run; else what else may have been meant, and `" There are:
    a, b, c."`: the newest runs in a folder, or beside one that is not there. Empty where there are none."""
    folder = path if path.is_dir() else path.parent
    runs: list[Path] = []
    for place in (folder, folder / RUNS):
        with suppress(OSError):
            runs += sorted(each for each in place.iterdir() if (each / "log.txt").is_file() and is_run(each))
    if not path.exists():
        called = [each for each in runs if path.name in (each.name, *each.name.partition("-")[::2])]
        if called:
            return f" Did you mean {called[-1]}?"
    said = ", ".join(map(str, runs[-SHOWN:]))
    return otherwise + (f" There {'are' if len(runs) > 1 else 'is'}: {said}." if runs else "")


def open_run(path: str | os.PathLike[str]) -> Run:
    """The run at `path`; raises `GanvasError` when it is not one."""
    expect(path, PATH, "path", "a run folder")
    run = Run(Path(path))
    if not run.path.is_dir():
        raise GanvasError(f"No such run folder: {run.path}.{runs_near(run.path)}")
    if not _is_of_run(run.config_path):
        raise GanvasError(
            f"{run.path} is not a run folder: it holds no config.json of a run.{runs_near(run.path)}"
        )
    return run


def command_line() -> str:
    """The command of this process, as a person would type it."""
    program = Path(sys.argv[0]).name
    line = " ".join([program if program != "__main__.py" else "python -m ganvas", *sys.argv[1:]])
    return line.encode("utf-8", "backslashreplace").decode()  # a name on the disk may be no text
