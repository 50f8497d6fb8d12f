"""Where a run's figures and pictures go beside its folder: TensorBoard, Trackio, Weights & Biases, or code of your own."""

import contextlib
import importlib.util
import io as memory
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ganvas import io
from ganvas.config import to_dict
from ganvas.errors import GanvasError, install, printable
from ganvas.pictures import opaque
from ganvas.registry import Registry, did_you_mean
from ganvas.report.verdicts import Verdict
from ganvas.runs import Run

if TYPE_CHECKING:
    from PIL.Image import Image

PROJECT = "ganvas"
"""The project that runs belong to in Trackio and Weights & Biases."""


class Logger:
    """What hears of a training. Every method may stay empty; one that raises is said once, and the training goes on.

    `step` counts the steps of the optimisers. Of several processes rank 0 alone calls, between steps: what takes long here
    makes the training wait. What is printed goes to stderr.
    """

    def on_start(self, run: Run, step: int) -> None:
        """The run goes on from `step`: 0 for a new one, else it was resumed, or went back after a collapse.

        What was logged of this run past `step` is no longer true: those steps are taken again.
        """

    def on_stats(self, step: int, stats: io.Json) -> None:
        """A line of stats.jsonl: finite numbers by name, perhaps the list `verdicts`; `frechet` of the light evaluation."""

    def on_images(self, step: int, images: Mapping[str, "Image"]) -> None:
        """Grids of pictures by name: `reals` at the start, `samples` with each snapshot, always of the same latents."""

    def on_verdict(self, step: int, verdict: Verdict, began: bool) -> None:
        """A verdict of the monitor began, or ended."""

    def on_end(self, step: int, stopped: str) -> None:
        """The last call: `stopped` is that of `Result`, or `failed`."""


EVENTS = [name for name in vars(Logger) if name.startswith("on_")]
loggers: Registry[Callable[[], Any]] = Registry("logger")
"""Name -> what makes one; nothing is opened before `on_start`."""


class TensorBoard(Logger):
    """Event files in RUN/tensorboard: `tensorboard --logdir runs` shows all runs."""

    def __init__(self) -> None:
        with needed("tensorboard", "log"):
            from torch.utils.tensorboard import SummaryWriter  # it imports tensorboard
        self.open = SummaryWriter
        self.writer: Any = None

    def on_start(self, run: Run, step: int) -> None:
        if self.writer is not None:
            self.writer.close()
        # The reader drops what an earlier file says of these steps.
        self.writer = self.open(str(run.path / "tensorboard"), purge_step=step + 1 if step else None)
        if not step:
            self.writer.add_text("config", f"```json\n{json.dumps(to_dict(run.config), indent=1)}\n```", 0)

    def on_stats(self, step: int, stats: io.Json) -> None:
        for name, value in numbers(stats).items():
            self.writer.add_scalar(name, value, step)

    def on_images(self, step: int, images: Mapping[str, "Image"]) -> None:
        for name, image in images.items():
            self.writer.add_image(name, np.asarray(opaque(image).convert("RGB")), step, dataformats="HWC")
        self.writer.flush()

    def on_verdict(self, step: int, verdict: Verdict, began: bool) -> None:
        self.writer.add_text("verdicts", str(verdict) if began else f"no longer: {verdict.name}", step)

    def on_end(self, step: int, stopped: str) -> None:
        self.writer.close()


class Tracked(Logger):
    """Trackio, or Weights & Biases, whose calls Trackio has: a run in the project `ganvas`.

    Neither takes back what it was told: steps that are taken again are left out.
    """

    def __init__(self, library: str) -> None:
        with needed(library, library):
            self.library: Any = import_module(library)
        self.run: Any = None
        self.told = -1
        """The last step that it has been told."""
        self.known = -1
        """The last step of what was said before the run was resumed, or went back."""

    def on_start(self, run: Run, step: int) -> None:
        if self.run is not None:  # gone back after a collapse
            self.known = self.told
            return
        key = str(run.info.get("id", ""))  # many runs have the name of this one
        name = f"{run.path.name}-{key}" if re.fullmatch("[0-9a-f]{8}", key) else run.path.name
        # Trackio tells runs apart by their names, the other one by an id.
        its_own = (
            {"embed": False} if self.library.__name__ == "trackio" else {"id": name, "dir": str(run.path)}
        )
        self.run = self.library.init(
            project=PROJECT, name=name, config=to_dict(run.config), resume="allow", **its_own
        )
        # One says which step comes next, the other one keeps it for itself.
        self.known = int(getattr(self.run, "step", 0) or getattr(self.run, "_next_step", 0)) - 1

    def _tell(self, step: int, what: Mapping[str, Any]) -> None:
        if step > self.known:
            self.run.log(dict(what), step=step)
            self.told = step

    def on_stats(self, step: int, stats: io.Json) -> None:
        self._tell(step, numbers(stats))

    def on_images(self, step: int, images: Mapping[str, "Image"]) -> None:
        self._tell(step, {name: self.library.Image(image) for name, image in images.items()})

    def on_verdict(self, step: int, verdict: Verdict, began: bool) -> None:
        if began and verdict.kind == "problem" and step > self.known:
            self.run.alert(title=verdict.name, text=f"{verdict.text} {verdict.fix}")

    def on_end(self, step: int, stopped: str) -> None:
        self.library.finish()
        self.run = None


def numbers(stats: io.Json) -> dict[str, float]:
    """The figures of a line of statistics, without the step, which is where they are drawn."""
    return {name: each for name, each in stats.items() if isinstance(each, int | float) and name != "step"}


@contextmanager
def needed(library: str, extra: str) -> Iterator[None]:
    """Say what to install where the imports inside fail."""
    try:
        yield
    except ImportError as error:
        raise GanvasError(f"--log {library} needs an extra package. Type: {install(extra)}") from error


loggers.add("tensorboard", TensorBoard, "event files in RUN/tensorboard (extra log)")
loggers.add("trackio", lambda: Tracked("trackio"), "Trackio's store on this machine (extra trackio)")
loggers.add("wandb", lambda: Tracked("wandb"), "Weights & Biases, over the network (extra wandb)")


def open_logger(asked: Any) -> Any:
    """A logger by name, by FILE.py:NAME, or the object itself.

    Raises `GanvasError` for a name that is not registered, a file that is missing or fails, and what is no logger.
    """
    if not isinstance(asked, str):
        return _checked(asked, "log")
    file, colon, name = asked.rpartition(":")
    if not colon or not file.endswith(".py"):
        if asked.endswith(".py"):
            raise GanvasError(f"--log {asked}: which of its names? Type --log {asked}:NAME")
        if asked not in loggers:
            known = ", ".join(loggers)
            raise GanvasError(
                f"Unknown logger {asked!r}.{did_you_mean(asked, list(loggers))} Known: {known}; your own: FILE.py:NAME."
            )
        return _checked(loggers.get(asked)(), asked)
    found = _attribute(Path(file), name)
    if isinstance(found, type) or (callable(found) and not hasattr(found, EVENTS[0])):
        try:
            found = found()
        except Exception as error:
            raise GanvasError(f"--log {asked}: {name}() failed: {_said(error)}.") from error
    return _checked(found, f"--log {asked}")


def _attribute(path: Path, name: str) -> Any:
    """What a file of the user's own calls `name`. The file is run, as an extension is."""
    if not path.is_file():
        raise GanvasError(f"--log {path}:{name}: there is no file {path}.")
    spec = importlib.util.spec_from_file_location(f"ganvas_log_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look themselves up there
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise GanvasError(f"{path} failed: {_said(error)}.") from error
    if not hasattr(module, name):
        own = [each for each in vars(module) if not each.startswith("_")]
        raise GanvasError(f"{path} has no {name!r}.{did_you_mean(name, own)}")
    return getattr(module, name)


def _checked(found: Any, what: str) -> Any:
    missing = [name for name in EVENTS if not callable(getattr(found, name, None))]
    if missing or isinstance(found, type):
        why = "a class; give an object" if isinstance(found, type) else f"without {', '.join(missing)}"
        raise GanvasError(
            f"{what} is no logger: {type(found).__name__} is {why}. Derive it from ganvas.Logger, whose methods are empty."
        )
    return found


def _said(error: Exception) -> str:
    return printable(f"{type(error).__name__}: {error}".rstrip(": "))


class Audience:
    """The loggers of one run: calls them all, and says once of each that it failed."""

    def __init__(self, asked: Sequence[Any] = (), quiet: bool = False) -> None:
        """Opens them; on every process alike, so that a mistake ends all of them."""
        if isinstance(asked, str) or not isinstance(asked, Sequence):
            asked = (asked,)
        self.members = [
            (each if isinstance(each, str) else type(each).__name__, open_logger(each)) for each in asked
        ]
        self.quiet = quiet
        self.failed: set[str] = set()
        self.started = False
        self.step = 0
        self.standing: dict[str, Verdict] = {}
        self.say: Callable[[str], None] = lambda line: None

    def start(self, run: Run, step: int, standing: Sequence[Verdict] = ()) -> None:
        """A run begins, is resumed or goes back; `standing` are verdicts that have been said."""
        self.started = True
        self.standing = {verdict.name: verdict for verdict in standing}
        self._call("on_start", run, step, at=step)

    def stats(self, step: int, record: io.Json, found: Sequence[Verdict] | None = None) -> None:
        """A line of statistics, and the verdicts at it where it was measured."""
        self._call("on_stats", step, record, at=step)
        if found is None:
            return
        now = {verdict.name: verdict for verdict in found}
        for name, verdict in self.standing.items():
            if name not in now:
                self._call("on_verdict", step, verdict, False, at=step)
        for name, verdict in now.items():
            if name not in self.standing:
                self._call("on_verdict", step, verdict, True, at=step)
        self.standing = now

    def images(self, step: int, **images: "Image") -> None:
        """Pictures by name."""
        self._call("on_images", step, images, at=step)

    def end(self, stopped: str) -> None:
        """The last call, and only where there was a first."""
        if self.started:
            self._call("on_end", self.step, stopped, at=self.step)

    def _call(self, event: str, *arguments: Any, at: int) -> None:
        self.step = at
        for name, member in self.members:
            # What a library prints is no result of the command.
            with contextlib.redirect_stdout(memory.StringIO() if self.quiet else sys.stderr):
                try:
                    # Copies: what one of them does to its own is nobody else's business.
                    getattr(member, event)(
                        *(dict(each) if isinstance(each, dict) else each for each in arguments)
                    )
                except Exception as error:
                    if name not in self.failed:
                        self.failed.add(name)
                        self.say(
                            f"The logger {name} failed in {event}: {_said(error)}. The training goes on."
                        )
