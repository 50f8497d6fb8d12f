"""What all pages of a server share."""

import asyncio
import secrets
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ParamSpec, TypeVar
from weakref import WeakValueDictionary

from ganvas import io
from ganvas.checkpoint import is_hash
from ganvas.errors import GanvasError
from ganvas.latent.directions import Direction
from ganvas.runs import Run
from ganvas.web.intake import Intake
from ganvas.web.landscape import Landscape
from ganvas.web.opening import open_renderer
from ganvas.web.pace import until
from ganvas.web.renderer import Renderer
from ganvas.web.session import check_directions

Given = ParamSpec("Given")
Found = TypeVar("Found")

Written = tuple[Path, tuple[tuple[str, int, int], ...]]
"""A snapshot, and of each of its files the name, when it was written, and its bytes."""
JOBS = 2
"""Of all pages, that are done at a time: a film alone may take 4 GiB."""


@dataclass
class Source:
    """The model, what was given with it, and what was found once for all pages."""

    renderer: Renderer
    run: Run | None = None
    """Where new snapshots come from."""
    begun: object = None
    """Its `id`, by which it is told from another that lies at its path later; runs of before have none."""
    known: tuple[int, int] | None = None
    other: bool = False
    """When what lies at its path was written, and whether it is another run."""
    opened: Written | None = None
    """What the renderer was opened from."""
    loaded: Sequence[Direction] = ()
    """Directions that were given at the start."""
    opener: Callable[[Path], Renderer] = open_renderer
    """Opens a newer snapshot of the run as the first was opened: on the same device, beside the same real images."""
    landscape: Landscape | None = None
    landscape_of: str = ""
    """The hash of the model that it was drawn of."""
    drawing: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while the map is drawn: the pages wait for one."""
    shown: WeakValueDictionary[str, Renderer] = field(default_factory=WeakValueDictionary)
    """By their hashes: pages that do not follow a run stay with an older snapshot."""
    key: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    """In the addresses of its pictures: its pages alone know it, where others of this machine may ask for pictures, too."""
    jobs: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(JOBS))
    """Held by what a page begins and takes a while: the other threads are for pictures."""
    hands: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(thread_name_prefix="hand"))
    """Draw the pictures that are looked at: the other threads may all be waiting for a turn."""
    intake: Intake = field(default_factory=Intake)
    """Where files go that the pages are given."""

    over: threading.Event = field(default_factory=threading.Event)
    """Set when it is served no more."""

    def astray(self) -> str:
        """What to say where its run is no longer at its path: one begun since has its number again. Empty where it is."""
        if self.run is None:
            return ""
        if not self.run.path.is_dir():
            return f"{self.run.path} was moved or removed."
        written = io.stamp(self.run.config_path)
        if written != self.known:  # every page asks, and a stranger's may be large
            self.known, self.other = written, False
            with suppress(GanvasError):  # what cannot be read is said elsewhere
                self.other = self.begun is not None and self.run.info.get("id") != self.begun
        return f"Another run lies at {self.run.path} by now." if self.other else ""

    def show(self, renderer: Renderer) -> None:
        """Note that a page shows it."""
        self.shown[renderer.hash] = renderer

    def renderer_of(self, mark: str) -> Renderer:
        """The one whose weights are of this hash, where a page still shows it; else the newest."""
        return next((each for own, each in self.shown.items() if is_hash(mark, own)), self.renderer)

    def loaded_for(self, renderer: Renderer) -> list[Direction]:
        """Those of the directions given at the start that are of its weights: a newer snapshot has others."""
        return [each for each in self.loaded if is_hash(each.model, renderer.hash)]

    def lasting(self, job: Callable[Given, Found]) -> Callable[Given, Found]:
        """A job for another thread, which ends at its next picture once this is served no more."""

        def done(*given: Given.args, **named: Given.kwargs) -> Found:
            with until(self.over):
                return job(*given, **named)

        return done

    async def aside(self, job: Callable[Given, Found], *given: Given.args, **named: Given.kwargs) -> Found:
        """What a job finds in another thread, meanwhile everything else goes on."""
        return await asyncio.to_thread(self.lasting(job), *given, **named)

    def knows(self, key: str) -> bool:
        """Whether somebody has an address of its pictures."""
        return secrets.compare_digest(key.encode(), self.key.encode())


def source_of(
    renderer: Renderer, run: Run | None, files: Sequence[Path], opened: Written | None = None,
    opener: Callable[[Path], Renderer] = open_renderer,
) -> Source:  # fmt: skip
    """The renderer with the directions of files, those of a name that another file had called after their own file, too.

    Raises `GanvasError` for those that do not fit.
    """
    loaded: dict[str, Direction] = {}
    for file in files:
        for each in renderer.load(file):
            name, count = each.name, 1
            while name in loaded:
                count += 1
                name = f"{each.name} ({file.stem}{'' if count == 2 else f' {count}'})"
            loaded[name] = replace(each, name=name)
    given = list(loaded.values())
    check_directions(given)
    begun: object = None
    with suppress(GanvasError):  # of a damaged config.json: then it is not told from others
        begun = None if run is None else run.info.get("id")
    return Source(renderer, run, begun, opened=opened, loaded=given, opener=opener)


def newest(run: Run) -> Written | None:
    """Its newest snapshot: less than a kimg after the last one it is written again, under the name it had."""
    for folder in run.snapshots[-1:]:
        files = []
        for path in sorted(folder.glob("*.safetensors")):
            with suppress(OSError):  # it is being replaced, or a link that leads nowhere
                found = path.stat()
                files.append((path.name, found.st_mtime_ns, found.st_size))
        return folder, tuple(files)
    return None
