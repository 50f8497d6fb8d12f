"""The loop: batches in, steps, statistics, snapshots, state; from a budget to a trained run."""

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType

import torch
from PIL.Image import Image
from torch import Tensor

from ganvas import dist, io, pictures, signals
from ganvas.checkpoint import hash_of
from ganvas.config import Config, to_dict
from ganvas.data import Batches, Dataset, balanced
from ganvas.data.origin import mark
from ganvas.device import resolve_device, stream
from ganvas.errors import GanvasError, TrainingError
from ganvas.features.select import trained_on
from ganvas.model import Model, save_network
from ganvas.model_file import are_learned
from ganvas.networks import GeneratorBase
from ganvas.report import artifacts, verdicts
from ganvas.runs import Run, trained, trained_beyond
from ganvas.training import state
from ganvas.training.best import SOURCE, BestSnapshot
from ganvas.training.display import Display
from ganvas.training.hints import too_long
from ganvas.training.loggers import Audience
from ganvas.training.method import DataSpec, build_method, evaluating
from ganvas.training.monitor import Monitor
from ganvas.training.start import begin
from ganvas.types import Batch

MAX_ROLLBACKS = 3
FIRST = 30.0
"""Seconds by whose speed it is told how long a training will take."""
HALF_AN_IMAGE = 0.0005
"""In kimg."""
PREVIEWS = 64
"""Pictures of a preview grid."""
PREVIEWED = {"images": PREVIEWS, "series": 12, "points": 20 * PREVIEWS}


@dataclass(frozen=True)
class Result:
    """How a call to `train` ended."""

    run: Run
    kimg: float
    seconds: float
    stopped: str
    """`budget`, or `interrupted` by Ctrl-C, SIGTERM or SIGHUP, or `collapsed`; all leave a state to resume from."""


class Loop:
    """One training run in one process (or this process's part of it)."""

    def __init__(
        self, run: Run, dataset: Dataset, display: Display, config: Config | None = None,
        audience: Audience | None = None,
    ) -> None:  # fmt: skip
        """Goes on where the run's state is; `config` is the run's own, perhaps with another budget. Writes nothing."""
        self.run, self.display, self.audience = run, display, audience or Audience()
        self.audience.say = self._say
        self.config = run.config if config is None else config
        self.device = dist.local_device(resolve_device(self.config.training.device))
        self.trained_on, self.held_out = trained_on(dataset, self.config.data, str(self.device))
        # What the monitor holds side by side has the same shares of classes.
        beside = self.held_out
        if self.config.data.balance:
            self.trained_on, beside = balanced(self.trained_on), balanced(self.held_out)
        self.dataset = dataset
        # Rank 0 writes the snapshots; other machines need not have the folder.
        self.before = run.info.get("data", {}).get("before", []) if dist.rank() == 0 else []
        if not are_learned(self.before):
            raise GanvasError(
                f"{run.config_path} is damaged: its data.before is no list of what was learned from."
            )
        spec = DataSpec(dataset.shape, dataset.num_classes, len(self.trained_on))
        try:
            self.method = build_method(self.config, spec, self.device)
        except (TypeError, ValueError, KeyError, IndexError, AttributeError, ArithmeticError) as error:
            # A new one was checked before there was a run; a resumed one is what its file says.
            if not self.run.state_path.is_file():
                raise
            raise GanvasError(
                f"{self.run.config_path} does not fit its own method {self.config.method.name!r}: nothing can be built of it "
                f"({error!r})."
            ) from error
        self.engine = self.method.engine
        # Rank 0 says: a slower process may find the state that rank 0 has written in the meantime.
        self.resumed = bool(dist.share("yes" if dist.rank() == 0 and run.started else ""))
        self.memory = state.Memory()
        if self.config.training.start and not self.resumed:
            # The weights of rank 0 are everybody's; another machine may have another model there.
            known = str(run.info.get("begun_with", "")) if dist.rank() == 0 else ""
            begin(self.method, self.config.training.start, known)
        if not self.resumed and dist.rank() == 0:  # whose weights are everybody's
            self.method.begin()
        if self.resumed:
            self.memory = state.restore(run, self.method, dataset.fingerprint)
            self.method.recall(_told(run))
        self._begin_alike()
        self.begun_at = self.engine.images
        self.started = time.monotonic() - self.memory.seconds
        self.monitor = Monitor(self.method, self.trained_on, beside) if self._monitored else None
        if self.monitor is not None and self.memory.drawn is not None:
            self.monitor.last = self.memory.drawn.to(self.device)
        display.resume([verdict.name for verdict in verdicts.of(self.memory.records)])
        self.collapsed = self.foretold = False
        self.unread: GanvasError | None = None
        self.best: BestSnapshot | None = None

    def _begin_alike(self) -> None:
        """On every process the same weights: new ones are rank 0's; a state, which is more than weights, has to be the same."""
        if dist.world_size() == 1:
            return
        networks = self.method.networks.items()
        if self.resumed:
            weights = {name: hash_of(network) for name, network in networks}
            dist.check_alike("states", steps=self.engine.steps, **weights)
        else:
            for _, network in networks:
                dist.broadcast_weights(network)

    @property
    def _monitored(self) -> bool:
        watched = self.method.probe() is not None
        return watched and self.config.training.monitor_kimg > 0 and dist.rank() == 0

    @property
    def progress(self) -> float:
        """Share of the budget that is used, 0 to 1: of images, of minutes or of what the method counts, whichever is furthest."""
        t = self.config.training
        by_images = self.engine.images / (t.kimg * 1000) if t.kimg else 0.0
        by_time = (time.monotonic() - self.started) / (t.minutes * 60) if t.minutes else 0.0
        return min(1.0, max(by_images, by_time, self.method.used))

    def __call__(self) -> Result:
        t = self.config.training
        self.batches = self._batches()
        if dist.rank() == 0 and self.resumed:
            self._rewind()
        if dist.rank() == 0:
            self.best = BestSnapshot(self.run, self.dataset, str(self.device))
            if self.resumed and self.memory.rollbacks:
                # A kill may have come when the state was that from before a collapse, and the collapse was still there.
                self.run.remove_beyond(self.engine.images / 1000)
                self.best.rewind(self.engine.images / 1000)
        with dist.turn() as first:
            if first:
                self.audience.start(self.run, self.engine.steps, verdicts.of(self.memory.records))
        if self.resumed:
            self._one_writes(self._write_missing)
        else:
            self._save_reals()
            self._save()
        per_step = t.batch * self.method.batches_per_step
        log, save, probe = (kimg * 1000 / per_step for kimg in (t.log_kimg, t.snapshot_kimg, t.monitor_kimg))
        # One beat for all three: a line between two others would hold the losses of a step or two, which look like spikes.
        beat = max(1, round(min(each for each in (log, save, probe) if each > 0)))
        last_time, last_images = time.monotonic(), self.engine.images
        last_saved = last_images if self.run.snapshots else -1  # those of a resumed run may have been deleted
        began, begun_at = last_time, last_images
        with _interruptible() as interrupted:
            while not self._finished(interrupted):
                self.method.step(self._next_batch, self._schedule())
                self.display.alive(self.engine.images / 1000, self.progress)
                self._foretell(time.monotonic() - began, self.engine.images - begun_at)
                steps = self.engine.steps
                due, probed = _falls(steps, beat, save), _falls(steps, beat, probe)
                if due or probed or _falls(steps, beat, log):
                    now = time.monotonic()
                    speed = (self.engine.images - last_images) / max(now - last_time, 1e-9)
                    self._log(speed, probed, due)
                    self.collapsed = dist.agree(self.collapsed, self.device)  # only rank 0 has a monitor
                    if self.collapsed and t.on_collapse != "warn":
                        if t.on_collapse == "stop" or not self._roll_back():
                            break
                        self.batches = self._batches()
                        last_saved = self.engine.images
                    elif due:
                        self._save()
                        last_saved = self.engine.images
                    elif steps < save and (steps // beat).bit_count() == 1:
                        self._look()
                    last_time, last_images = time.monotonic(), self.engine.images
            # A signal to one process stops all of them.
            stopped = "budget" if dist.agree(self.progress >= 1, self.device) else "interrupted"
            if self.engine.figures.steps:  # none since the last line where a collapse ended the run
                elapsed = max(time.monotonic() - last_time, 1e-9)
                self._log((self.engine.images - last_images) / elapsed, False, False)
            if t.on_collapse != "warn" and self.collapsed:
                stopped = "collapsed"  # the last saved state is from before
            elif last_saved != self.engine.images:
                self._save_last()
            # Asked for, and not a slower machine within its minutes.
            full = self.engine.images >= t.kimg * 1000 if t.kimg else False
            if self.resumed and full and self.method.repeats:
                self._one_writes(partial(self._end_before, removes=True))
            elif self.resumed and dist.rank() == 0:
                self._end_before(removes=False)
        if self.unread is not None:
            raise self.unread
        return Result(self.run, self.engine.images / 1000, time.monotonic() - self.started, stopped)

    def _batches(self) -> dict[str, Iterator[Batch]]:
        """The samples of each of the method's streams, from where the training is."""
        t, names = self.config.training, self.method.streams
        by_label = self.config.network.conditional and self.dataset.num_classes > 0
        taken = self.method.takes(self.trained_on)
        return {
            name: iter(
                Batches(
                    each,
                    t.batch,
                    t.seed,
                    self.device,
                    self.engine.images,
                    by_label=by_label,
                    positions=self.method.positions(len(each)),
                )
            )
            for name, each in zip(names, streams_of(taken, len(names)), strict=True)
        }

    def _read(self) -> bool:
        """Read the batches of the next step, so that one which cannot be had ends the run between two steps, on all processes."""
        each = range(self.method.batches_per_step)
        try:
            self.batch_of = {name: [next(found) for _ in each] for name, found in self.batches.items()}
        except GanvasError as error:
            self.unread = error
        return self.unread is None

    def _next_batch(self, stream: str) -> Batch:
        return self.batch_of[stream].pop(0)

    def _roll_back(self) -> bool:
        """Back to the last saved state, with other random numbers and half the rates; False after `MAX_ROLLBACKS`."""
        if self.memory.rollbacks == MAX_ROLLBACKS:
            return False
        rollbacks, seconds = self.memory.rollbacks + 1, time.monotonic() - self.started
        collapsed_at = self.engine.images / 1000
        state.restore(self.run, self.method, self.dataset.fingerprint)
        self.begun_at = self.engine.images
        self.engine.rate_factor = 0.5**rollbacks
        # The same generator, since captured steps are tied to it.
        other = stream(self.config.training.seed, f"rollback {self.engine.rate_factor}", self.device)
        self.engine.random.set_state(other.get_state())
        self.collapsed = False
        self.memory = state.Memory(seconds, rollbacks)  # a new start, with a new warm-up
        if self.monitor is not None:
            self.monitor.last = None
        with dist.turn() as first:
            if first:
                # At once: a run that is killed now would else go on as if it had not gone back.
                state.save(self.run, self.method, self.memory, self.dataset.fingerprint)
                self._rewind()
                kimg = self.engine.images / 1000
                self.run.remove_beyond(kimg)  # the newest would be taken for the run's model
                if self.best is not None:
                    self.best.rewind(kimg)
                factor = self.engine.rate_factor
                line = f"Mode collapse at {collapsed_at:.1f} kimg: back to {kimg:.1f} kimg with {factor:g} x the rates."
                self._say(line)
                self.audience.start(self.run, self.engine.steps)
        self._one_writes(self._write_missing)
        return True

    def _schedule(self) -> float:
        """Like `progress`, the same on every process: the learning rates must not drift apart."""
        progress = self.progress
        if self.config.training.minutes and dist.world_size() > 1:
            return float(dist.share(str(progress)))
        return progress

    def _finished(self, interrupted: threading.Event) -> bool:
        over = interrupted.is_set() or self.progress >= 1 or not self._read()
        return dist.agree(over, self.device)

    def _log(self, speed: float, probe: bool, snapshot: bool) -> None:
        """Write a line of statistics, and stop the run when a figure was not finite."""
        figures = self.engine.read_figures() | self.method.log_figures()
        bad_step = int(figures.pop("bad_step"))
        if dist.agree(bad_step >= 0, self.device):
            self._fail(bad_step)
        self.memory.seconds = time.monotonic() - self.started
        if probe or snapshot:
            with dist.turn() as first:
                if first and self.monitor is not None and probe:
                    figures |= self.monitor.measure(self.method)
                    self.memory.drawn = self.monitor.last
                if first and snapshot:
                    figures |= self.method.snapshot_figures(self.trained_on)
        if dist.rank() != 0:
            return
        record: io.Json = {
            "kimg": round(self.engine.images / 1000, 3),
            "step": self.engine.steps,
            "seconds": round(self.memory.seconds, 3),
            "images_per_second": round(speed, 1),
            **{name: round(value, 5) for name, value in figures.items() if math.isfinite(value)},
        }
        if self.memory.rollbacks:
            record["rollbacks"] = self.memory.rollbacks
        found: list[verdicts.Verdict] = []
        if probe:
            self.memory.records = [*self.memory.records, record][-verdicts.HORIZON :]
            found = verdicts.of(self.memory.records)
            record["verdicts"] = [verdict.name for verdict in found]
            self.collapsed = "mode collapse" in record["verdicts"]
        self.run.append_stats(record)
        for text in self.display.show(record, self.progress, found):
            self.run.log(f"{record['kimg']:.1f} kimg: {text}")
        self.audience.stats(self.engine.steps, record, found if probe else None)

    def _rewind(self) -> None:
        """Drop the lines past this state. What others measured there, training does not measure again: say so."""
        kimg = self.engine.images / 1000
        self._outdated(kimg, [row for row in self.run.rewind_stats(kimg) if row.get("source") != SOURCE])

    def _outdated(self, kimg: float, measured: list[io.Json], anew: str = "") -> None:
        """What `ganvas eval` and `audit` found of snapshots beyond `kimg`, or of one that was made `anew`, is of others."""
        if measured:
            artifacts.forget(self.run)
            self._say(
                f"What `ganvas eval` measured beyond {kimg:.1f} kimg is dropped from metrics.jsonl (rows: {len(measured)}): "
                "those snapshots are gone, or made anew from here. Measure what is there."
            )
        if audited := artifacts.forget_audit(self.run, kimg, anew):
            self._say(
                f"What `ganvas audit` found of snapshot {audited} is dropped: it is gone, or made anew. Audit what is there."
            )

    def _foretell(self, seconds: float, images: int) -> None:
        """Say how long the budget takes on a CPU, once, by the speed of its first seconds."""
        t = self.config.training
        if self.foretold or seconds < FIRST or images <= 0:
            return
        self.foretold = True
        if t.kimg and not t.minutes and self.device.type == "cpu" and dist.rank() == 0:
            left = t.kimg * 1000 - self.engine.images
            if line := too_long(self.config, self.dataset, left, images / seconds):
                self._say(line)

    def _say(self, line: str) -> None:
        self.run.log(line)
        self.display.say(line)

    def _fail(self, step: int) -> None:
        snapshots = self.run.snapshots
        kept = (
            f"The last good snapshot is {snapshots[-1]}." if snapshots else "There was no good snapshot yet."
        )
        message = (
            f"Training stopped: a loss was not finite at step {step} ({self.engine.images / 1000:.1f} kimg). {kept} "
            "Try a lower learning rate (--set optimizer.lr_critic=... --set optimizer.lr_generator=...), "
            "a stronger --gamma, or --precision fp32."
        )
        if dist.rank() == 0:
            self.run.log(message)
        raise TrainingError(message)

    def _save(self) -> None:
        """Snapshot, preview, state; in this order, so that the state never points past what is there."""
        self._one_writes(self._write)

    def _save_last(self) -> None:
        """At the end. Where samples could not be read, its snapshot may want them as well: that it is resumed says enough."""
        try:
            self._save()
        except GanvasError:
            if self.unread is None:
                raise

    def _end_before(self, removes: bool) -> None:
        """A kill leaves snapshots beyond the state, and the newest is the run's model: where it ends before them another one.

        Where it was only stopped they are kept, for they may be all that there is of hours; and so they are where they can not be
        made again: they say what the guarantee of a private run has cost.
        """
        kimg = self.engine.images / 1000
        beyond = [path.name for path in self.run.beyond(kimg)]
        if not beyond:
            return
        if removes:
            try:
                self.run.remove_beyond(kimg)
            except GanvasError as error:  # what was trained is kept all the same
                self._say(f"Snapshots of before, beyond {kimg:.1f} kimg, stay: {error}")
                return
            try:
                self._outdated(kimg, self.run.drop_metrics(kimg, but=SOURCE))
                if self.best is not None:
                    self.best.rewind(kimg)
            except GanvasError as error:
                self._say(f"What was found of them stays: {error}")
        stay = "are the run's model" + (" until it is resumed up to there" if self.method.repeats else "")
        self._say(
            f"Snapshots of before, beyond {kimg:.1f} kimg, {'are removed' if removes else stay}: {', '.join(beyond)}."
        )

    def _write_missing(self) -> None:
        """The snapshot of a state that was gone back to, where a later one of the same whole kimg had replaced it; or of one that
        was saved when its snapshot, or its preview or figure, could not be made."""
        kimg = self.engine.images / 1000
        newest = self.run.snapshots[-1:]
        files = [path / f"{kind}.safetensors" for path in newest for kind in self.method.exports()]
        if min(map(trained, files), default=-1) < kimg - HALF_AN_IMAGE:
            self._write()
            return
        own = self.run.path / "snapshots" / self._name
        if not own.exists() or trained_beyond(own, kimg + HALF_AN_IMAGE):
            return  # those of a state from before are whole
        unseen = "generator" in self.method.exports() and not self._preview_path(own.name).exists()
        if unseen or self._is_due():
            self.method.settle(self.trained_on)
        if unseen:
            self._save_preview(own.name)
        self._measure(own)

    def _look(self) -> None:
        """A preview alone: before the first snapshot a short run would show nothing."""
        name = f"{round(self.engine.images / 1000):06d}"
        if int(name) > 0:  # else that of the beginning
            self._one_writes(lambda: self._settled_preview(name))

    def _one_writes(self, write: Callable[[], None]) -> None:
        """What is written of the averaged networks, by one process, with the statistics that all of them have."""
        for network in self.method.exports().values():
            dist.broadcast_buffers(network)
        with dist.turn() as first, evaluating(*self.method.exports().values()):
            if first:
                self.run.check_home()
                write()

    def _settled_preview(self, name: str) -> None:
        self.method.settle(self.trained_on)
        self._save_preview(name)

    def _write(self) -> None:
        self.memory.seconds = time.monotonic() - self.started
        try:
            self._write_snapshot()
        except GanvasError:
            # Pictures may be gone that it is made or measured with. What was trained is not lost with them.
            with suppress(GanvasError):
                self._write_state()
            raise
        self._write_state()

    def _write_state(self) -> None:
        if self.config.training.on_collapse != "rollback" or not verdicts.suspicious(self.memory.records):
            state.save(self.run, self.method, self.memory, self.dataset.fingerprint)

    @property
    def _name(self) -> str:
        """Of a snapshot of this state, in whole kimg."""
        return f"{self.engine.images // 1000:06d}"

    def _header(self) -> io.Json:
        """What every network of a snapshot says beside what it is."""
        return {
            "shape": list(self.dataset.shape),
            "num_classes": self.dataset.num_classes if self.config.network.conditional else 0,
            "kimg": self.engine.images / 1000,
            "data": {
                "name": self.dataset.name,
                "fingerprint": self.dataset.fingerprint if self.method.tells_of_data else "",
                "mark": mark(self.config.data),
                **({"before": self.before} if self.before else {}),
            },
            "class_names": list(self.dataset.class_names),
            **({} if self.dataset.series is None else {"series": to_dict(self.dataset.series)}),
            **self.method.about(),
        }

    def _write_snapshot(self) -> None:
        header = self._header()
        self.method.settle(self.trained_on)
        files = self.method.exports().items()
        folder = self.run.path / "snapshots" / self._name
        if folder.exists():
            # The same kimg twice: all files are written first, and then replaced one after another.
            with ExitStack() as all_written:
                for kind, network in files:
                    temporary = all_written.enter_context(io.atomic(folder / f"{kind}.safetensors"))
                    save_network(temporary, network, self.config, {"kind": kind.partition("-")[0], **header})
        else:
            with io.atomic(folder) as temporary:
                temporary.mkdir()
                for kind, network in files:
                    save_network(
                        temporary / f"{kind}.safetensors",
                        network,
                        self.config,
                        {"kind": kind.partition("-")[0], **header},
                    )
        if self.engine.images > self.begun_at:
            # A command may have measured the one that was there until now, and kept its figures after `_rewind`.
            before = self.engine.images / 1000 - HALF_AN_IMAGE
            self._outdated(before, self.run.drop_metrics(before, but=SOURCE), folder.name)
        self._save_preview(folder.name)
        self._measure(folder)

    def _is_due(self) -> bool:
        return (
            self.best is not None
            and "generator" in self.method.exports()
            and self.best.due(self.engine.images / 1000)
        )

    def _measure(self, snapshot: Path) -> None:
        """The figure of a snapshot of this state, where it is due."""
        if not self._is_due():
            return
        assert self.best is not None
        value, kimg = self.best.measure(self._model(self._header()), snapshot), self.engine.images / 1000
        self.display.say(f"{kimg:.1f} kimg: Frechet distance {value:.2f} (best {self.best.value:.2f})")
        self.audience.stats(self.engine.steps, {"frechet": value})

    def _preview_path(self, name: str) -> Path:
        return self.run.samples_path / f"{name}.png"

    def _save_preview(self, name: str) -> None:
        if "generator" not in self.method.exports():
            return
        model = self._model({})
        count = PREVIEWED[self.dataset.kind]
        picture = self._preview(model.sample(count, seed=self.config.training.seed))
        content = pictures.png(picture)
        self.run.check_home()
        io.write_bytes(self._preview_path(name), content)
        self.display.picture(content)
        self.audience.images(self.engine.steps, samples=picture)

    def _preview(self, samples: Tensor) -> Image:
        """Samples; of an autoencoder held-out originals and their reconstructions above them."""
        columns = round(PREVIEWS**0.5)
        pool = self.held_out if len(self.held_out) >= 2 * columns else self.trained_on
        originals, _ = pool.take(torch.arange(min(2 * columns, len(pool))))
        drawn = self.method.reconstruct(originals) if self.dataset.is_images else None
        if drawn is None:
            return pictures.draw(samples, schema=self.dataset.series)
        again = self._model({}).to_data(drawn).cpu()
        pairs = zip(originals.split(columns), again.split(columns), strict=True)
        rows = [*(row for pair in pairs for row in pair), *samples[: PREVIEWS // 2].split(columns)]
        names = ["original", "reconstruction"] * -(-len(originals) // columns) + ["sample"] * (columns // 2)
        return pictures.sheet(rows, names)

    def _model(self, header: io.Json) -> Model:
        generator = self.method.exports()["generator"]
        assert isinstance(generator, GeneratorBase)
        return Model.of_run(generator, None, self.config, {**header, "series": self.dataset.series})

    def _save_reals(self) -> None:
        if dist.rank() != 0:
            return
        count = min(len(self.trained_on), PREVIEWED[self.dataset.kind])
        chosen = torch.randperm(len(self.trained_on), generator=stream(self.config.training.seed, "reals"))
        reals, _ = self.trained_on.take(chosen[:count])
        picture = pictures.draw(reals, schema=self.dataset.series)
        io.write_bytes(self.run.samples_path / "reals.png", pictures.png(picture))
        self.audience.images(self.engine.steps, reals=picture)


def _falls(steps: int, beat: int, period: float) -> bool:
    """Whether this step is the beat nearest to a multiple of `period` steps; never where that is 0."""
    if period <= 0 or steps % beat:
        return False
    return (steps + beat / 2) // period > (steps - beat / 2) // period


def _told(run: Run) -> list[io.Json]:
    """What the files of a run's snapshots say; of those that do not open nobody learns anything."""
    found = []
    for path in (file for folder in run.snapshots for file in folder.glob("*.safetensors")):
        with suppress(GanvasError):
            found.append(io.read_header(path))
    return found


def streams_of(dataset: Dataset, count: int) -> list[Dataset]:
    """The data of each stream of a method: all of it for one, else stream i has the samples of label i.

    Raises `GanvasError` unless there are as many labels as streams.
    """
    if count == 1:
        return [dataset]
    if dataset.num_classes != count:
        raise GanvasError(
            f"This method trains on {count} sets of data, {dataset.name} has {dataset.num_classes}. Name {count} of them."
        )
    labels = dataset.take_labels()
    return [dataset.subset((labels == i).nonzero().flatten()) for i in range(count)]


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """Ctrl-C, SIGTERM or SIGHUP sets the event, so that the step ends and the state is written; a second Ctrl-C does not wait.

    Of the others a second one is none: a terminal that closes, `timeout` and others send theirs twice.
    """
    event = threading.Event()

    def handle(number: int, frame: FrameType | None) -> None:
        event.set()
        signal.signal(number, previous[number] if number == signal.SIGINT else signal.SIG_IGN)

    with signals.heard(handle) as previous:
        yield event
