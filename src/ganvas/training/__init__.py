"""Training: `train` is the one public function; the command line calls it with the same names."""

import os
import platform
import secrets
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from ganvas import arrays, dist, io
from ganvas.config import Config, differences, leaves, replace_at, to_dict, validate
from ganvas.data import OF_SERIES, Dataset, load_dataset
from ganvas.data.joined import in_memory
from ganvas.device import resolve_device
from ganvas.errors import PATH, GanvasError, TrainingError, expect
from ganvas.features.select import how_many
from ganvas.metrics.evaluate import how_to_measure
from ganvas.networks.projected import guide_of
from ganvas.options import RESUMABLE, Source, TrainOptions
from ganvas.report import verdicts, write_report
from ganvas.runs import Run, command_line, create_run, open_run
from ganvas.training import aae as aae  # each registers its method
from ganvas.training import ae as ae
from ganvas.training import bigan as bigan
from ganvas.training import gan as gan
from ganvas.training import latent as latent
from ganvas.training import private as private
from ganvas.training import state
from ganvas.training import timegan as timegan
from ganvas.training import vae as vae
from ganvas.training import vae_gan as vae_gan
from ganvas.training import vq as vq
from ganvas.training.best import check_measurable
from ganvas.training.display import Display, open_display
from ganvas.training.hints import hints
from ganvas.training.loggers import Audience, Logger, loggers
from ganvas.training.loop import Loop, Result
from ganvas.training.method import DataSpec, Method, check_split, methods
from ganvas.training.resolve import check_kept, data_config, resolve
from ganvas.training.start import begun_with

__all__ = [
    "Logger",
    "Loop",
    "Method",
    "Result",
    "describe",
    "loggers",
    "methods",
    "plan",
    "train",
    "write_report",
]

OF_DATA = ("resolution", "resize", "mirror", "balance", "height", "alpha", *OF_SERIES)
"""What one asks of the data: options, and fields of their config."""
LONGEST_NAME = 200
"""Bytes of the name of a run, whose folder's may have 255 with its number."""
LONGEST_PATH = 4096
"""Letters of a folder that the file of a run may name."""


@torch.inference_mode(False)
@torch.enable_grad()  # whatever the caller's code stands in
def train(
    data: Source | None = None,
    options: TrainOptions | None = None,
    *,
    out: str | Path = "runs",
    name: str | None = None,
    resume: str | Path | None = None,
    more: float | None = None,
    report: bool = True,
    quiet: bool = False,
    log: Sequence[str | Logger] = (),
    **overrides: Any,
) -> Result:
    """Train on `data` and return where the run is: `train("digits", minutes=5)`.

    `data` is a name from `ganvas list datasets`, a folder or .zip of images, or an .npy/.npz array; several of them
    share a conditional generator, the set being the label. What is asked for stands in `options` or, by the same names, in
    `overrides`: see `ganvas.TrainOptions`. The run folder is made in `out`, its name ends with `name`.

    `resume` continues a run from its last state; what is given beside it must agree with the run, except the budget and the
    device. `kimg` and `minutes` count from the start of the run, `more` is minutes beside those it has had.

    `log` names loggers (`ganvas list loggers`, FILE.py:NAME) or is objects like `Logger`: they hear of statistics, pictures and
    verdicts. A resumed run that is given them again goes on in the same log.

    One process at a time trains a run: see `Run.locked`.

    Raises `GanvasError` for anything that the caller can fix, `TrainingError` when a loss is not finite.
    """
    wanted = TrainOptions.of(options, overrides)
    expect(out, PATH, "out", "a folder for run folders")
    expect(name, (str, type(None)), "name", "the last part of the run folder's name")
    if resume is not None:
        run = open_run(resume)
        begun = _standing(run)
        config, dataset = _resumed(run, data, more, wanted)
    elif more is not None:
        raise GanvasError(
            "--more adds minutes to a run that there is: give --resume RUN, or --minutes for a new one."
        )
    else:
        if data is None or _is_empty(data):
            raise GanvasError(
                "What to train on? Give a data set: ganvas train digits (see: ganvas list datasets)."
            )
        config, dataset = plan(data, wanted)
    audience = Audience(log, quiet)
    if config.training.eval_kimg:
        check_measurable(config, dataset)
    torch_device = resolve_device(config.training.device)
    dist.start(dist.local_device(torch_device))
    result: Result | None = None
    try:
        _check_alike(config, dataset)
        check_split(config, DataSpec(dataset.shape, dataset.num_classes), dist.world_size())
        with ExitStack() as held:
            path, notes = "", [*dataset.notes, describe(config, dataset)]
            with dist.turn() as first:
                if first:
                    run = _create(Path(out), name, config, dataset) if resume is None else run
                    path = str(run.path)
                    if taken_over := held.enter_context(run.locked()):
                        notes.append(taken_over)
                    if resume is not None and _standing(run) != begun:
                        raise GanvasError(
                            f"{run.path} was gone on with by another command while this one read its data. Type it again, if "
                            "more is wanted."
                        )
            run = Run(Path(dist.share(path)))
            run = run.anchored() if dist.rank() == 0 else run  # other machines need not have the folder
            display = held.enter_context(open_display(quiet=quiet or dist.rank() > 0))
            loop = Loop(run, dataset, display, config, audience)
            if dist.rank() == 0:
                if resume is not None:  # only now: what cannot go on is left as it was
                    run.remove_leftovers(loop.method.exports())
                    kept = {k: v for k, v in run.info.items() if k not in ("config", "format_version")}
                    run.write_config(config, kept)
                for line in [*notes, *hints(config, dataset), *_opening(loop)]:
                    run.log(line)
                    display.say(line)
            held.callback(lambda: audience.end(result.stopped if result else "failed"))
            result = loop()
            onward = _onward(run, config, dataset)
            del loop, dataset  # the report opens the data anew, which would lie in memory twice
            with dist.turn() as first:
                if first:
                    _close(result, display, report, onward)
        if result.stopped == "collapsed":
            raise TrainingError(
                "Training stopped: the samples collapsed and did not recover. "
                f"{_last_healthy(run)} See: ganvas diagnose {run.path}"
            )
        return result
    finally:
        dist.stop()


def _last_healthy(run: Run) -> str:
    """The newest snapshot from before a collapse, in a sentence: those that were written in it stand beside it."""
    until = verdicts.healthy_until(run.stats())
    for snapshot in reversed(run.snapshots):
        if 0 < float(io.read_header(snapshot / "generator.safetensors")["kimg"]) <= until:
            return f"The last healthy snapshot is {snapshot}."
    return "There is no snapshot from before the collapse."


def _check_alike(config: Config, dataset: Dataset) -> None:
    mark, shape, classes = dataset.fingerprint, dataset.shape, dataset.num_classes
    dist.check_alike("data", fingerprint=mark, shape=shape, classes=classes)
    settings = dict(leaves(to_dict(config)))
    for place in ("data.source", "data.also", "training.start", "training.device"):
        del settings[place]  # where things are, which may differ from machine to machine
    dist.check_alike("settings", **settings)


def _onward(run: Run, config: Config, dataset: Dataset) -> str:
    """The commands that go on from a run, as they work for it."""
    look = f"ganvas {'sample' if dataset.kind == 'points' else 'explore'} {run.path}"
    try:
        flags = how_to_measure(dataset, config.data, guide_of(config.network))
    except GanvasError:
        return look
    return f"{look}, ganvas eval {run.path}{flags}"


def _close(result: Result, display: Display, report: bool, onward: str) -> None:
    """Say how it ended, and write the report. A report that fails is said: the training is done all the same."""
    run = result.run
    lines = [f"Stopped ({result.stopped}) at {result.kimg:.1f} kimg after {result.seconds:.0f} s: {run.path}"]
    if run.config.method.name == "private" and run.snapshots:
        # Not by the statistics, of which a resumed run drops those past its state: what was spent stays so.
        privacy = io.read_header(run.snapshots[-1] / "generator.safetensors")["privacy"]
        asked = run.config.method.options.get("epsilon", private.OPTIONS["epsilon"])
        lines.append(f"It has spent epsilon {privacy['epsilon']:.3g} of {asked:g}.")
    if result.stopped == "interrupted":
        lines.append(f"Resume with: ganvas train --resume {run.path}")
    elif report and result.stopped != "collapsed":
        try:
            write_report(run)
        except Exception as error:
            lines.append(f"The report could not be written: {error or type(error).__name__}")
        else:
            lines.append(f"Look at it: {run.path / 'report.html'}. Go on: {onward}")
    for line in lines:
        run.log(line)
        display.say(line)


def plan(data: Source, options: TrainOptions | None = None, **overrides: Any) -> tuple[Config, Dataset]:
    """The resolved config and the opened data of `train` with the same arguments; writes nothing."""
    wanted = TrainOptions.of(options, overrides)
    source = data_config(data, **{name: getattr(wanted, name) for name in OF_DATA})
    # Before they are opened: how they are read, cut and scaled depends on it.
    for path, value in (wanted.settings or {}).items():
        if path == "preset":
            raise GanvasError("--set preset changes a name and nothing of what it stands for. Use --preset.")
        if path in ("data.source", "data.also"):
            raise GanvasError(
                f"--set {path} would name other data than those that are trained on. Omit it: ganvas train DATA names them."
            )
        if path == "data":
            raise GanvasError(
                "--set data would name other data than those that are trained on. Give what is to change by its own path, for "
                "instance --set data.holdout=0.2."
            )
        if path.startswith("data."):
            source = replace_at(Config(data=source), path, value).data
    data_config(source.source, **{name: getattr(source, name) for name in OF_DATA})  # checked once more
    dataset = in_memory(load_dataset(source))
    config = resolve(source, dataset, wanted)
    if dataset.white is None:
        if source.white is not None:
            raise GanvasError(
                f"data.white is for grey pictures of more than 8 bits, and {dataset.name} has none. Omit it."
            )
        return config, dataset
    if source.white is None and not methods.get(config.method.name).tells_of_data:
        raise GanvasError(
            f"What is white in {dataset.name}, {dataset.white:g}, is taken from its brightest picture without noise. Say what "
            f"it is in all such pictures: --set data.white={dataset.white:g}."
        )
    return replace_at(config, "data.white", dataset.white), dataset


def describe(config: Config, dataset: Dataset) -> str:
    """One line on what will happen."""
    t, shape = config.training, " x ".join(map(str, dataset.shape))
    kept, held = _counts(config, dataset)
    where = "in memory" if dataset.resident else "streamed"
    method = methods.get(config.method.name)
    by = f"{config.objective.loss} loss" if method.has_loss else f"method {config.method.name}"
    budgets = ((t.kimg, "kimg"), (t.minutes, "minute" if t.minutes == 1 else "minutes"))
    budget = " or ".join(f"{round(amount, 2) or amount:g} {unit}" for amount, unit in budgets if amount)
    return (
        f"{dataset.name}: {kept:,} samples of {shape} {where}, {held:,} held out. "
        f"{config.network.name}, {by}, batch {t.batch}, {t.precision} on {t.device}, {budget}."
    )


def _counts(config: Config, dataset: Dataset) -> tuple[int, int]:
    """Samples that are trained on, and held out."""
    train, held_out = dataset.split(config.data.holdout, config.data.fold)
    return how_many(train, config.data.select), len(held_out)


def _create(out: Path, name: str | None, config: Config, dataset: Dataset) -> Run:
    label = name or f"{dataset.name}-{config.preset}"
    if not label.replace("-", "").replace("_", "").replace(".", "").isalnum() or label.startswith("."):
        label = "".join(c if c.isalnum() or c in "-_." else "-" for c in label).lstrip(".") or "run"
    label = label.encode()[:LONGEST_NAME].decode(errors="ignore")
    kept, held = _counts(config, dataset)
    begun, learned = begun_with(config, dataset)
    info: io.Json = {
        "id": secrets.token_hex(4),  # run folders of one name are many
        "command": command_line(),
        "versions": {
            "ganvas": version("ganvas"),
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
        "data": {
            "name": dataset.name,
            "fingerprint": dataset.fingerprint,
            "shape": list(dataset.shape),
            "trained_on": kept,
            "held_out": held,
            "class_names": list(dataset.class_names),
            "named_from": _here(),
            **({"before": learned} if learned else {}),
        },
        **({"begun_with": begun} if begun else {}),
    }
    return create_run(out, label, {"format_version": io.FORMAT_VERSION, "config": to_dict(config), **info})


def _here() -> str:
    """The current folder, as text that a file of JSON can have; empty where it has been removed."""
    try:
        return os.fsencode(os.getcwd()).decode(errors="replace")
    except OSError:
        return ""


def _standing(run: Run) -> list[tuple[int, int] | None]:
    """What changes where a run is trained on, or told another budget."""
    return [io.stamp(path) for path in (run.config_path, run.state_path)]


def _is_empty(data: Source) -> bool:
    """Whether nothing is named; what is no name at all, an array for instance, is refused elsewhere."""
    return isinstance(data, Sequence) and not data


def _resumed(
    run: Run, data: Source | None, more: float | None, wanted: TrainOptions
) -> tuple[Config, Dataset]:
    """The config of a run to resume. Raises `GanvasError` naming each field that does not agree with it."""
    config, given = run.config, wanted.given()
    asked_of_data = {key: given.pop(key) for key in OF_DATA if key in given}
    had = {key: getattr(config.data, key) for key in OF_DATA}
    own = (config.data.source, *config.data.also)
    named = own if data is None or _is_empty(data) else data
    source = data_config(named, **(had | asked_of_data))
    kept = ("holdout", "fold", "select", "white")
    source = replace(source, **{name: getattr(config.data, name) for name in kept})
    about = run.info.get("data", {})
    if not isinstance(about, dict):
        raise GanvasError(f"{run.config_path} is damaged: its 'data' is no object.")
    try:
        dataset = in_memory(load_dataset(source))
    except GanvasError as error:
        begun = about.get("named_from")
        told = isinstance(begun, str) and 0 < len(begun) <= LONGEST_PATH and begun.isprintable()
        here = all(os.path.isabs(each) or os.path.exists(each) for each in own)
        if named is not own or not told or begun == _here() or here:
            raise
        raise GanvasError(
            f"{error} The run names its data from {begun}, where it was started. Type there: "
            f"ganvas train --resume {run.path.resolve()}"
        ) from error
    budget: dict[str, float] = {key: given.pop(key) for key in ("kimg", "minutes") if key in given}
    device = given.pop("device", None)
    asked = replace(config, data=source)
    for key, path in RESUMABLE.items():
        if key in given:
            asked = replace_at(asked, path, given.pop(key))
    if given:
        flag = next(iter(given)).replace("_", "-").replace("settings", "set")
        raise GanvasError(f"--{flag} cannot be changed with --resume. Omit it, or start a new run.")
    if differing := differences(config, asked):
        raise GanvasError(
            f"{run.path} was trained with other settings: {'; '.join(differing)} (run -> asked). "
            "Omit them, or start a new run without --resume."
        )
    expected = about.get("fingerprint")
    if expected != dataset.fingerprint:
        raise GanvasError(
            f"The data at {source.source!r} changed since {run.path} was started: data.fingerprint is "
            f"{dataset.fingerprint}, was {expected}. Bring the data back, or start a new run."
        )
    # Squares of the same bytes under another shape have one fingerprint, and are more or fewer.
    counts = [about.get(name) for name in ("trained_on", "held_out")]
    known = [each for each in counts if isinstance(each, int)]
    if dataset.is_images and config.data.select >= 1 and len(known) == 2 and sum(known) != len(dataset):
        raise GanvasError(
            f"The data at {source.source!r} changed since {run.path} was started: they are {len(dataset):,} samples, and were "
            f"{sum(known):,}. Bring the data back, or start a new run."
        )
    seconds = images = 0.0
    if run.started:
        header = state.check(run, config, dataset.fingerprint)
        seconds, images = float(header["seconds"]), float(header["images"])
    if more is not None:
        if budget:
            raise GanvasError(f"Give --more or --{next(iter(budget))}, not both.")
        budget = {"minutes": seconds / 60 + arrays.number(more, "--more", above=0)}
    if budget and methods.get(config.method.name).follows_budget(config):
        raise GanvasError(
            f"The noise of {run.path} was chosen for its budget, and epsilon counts on it: it cannot go on with another budget. "
            "Start a new run."
        )
    if budget:
        config = replace(
            config, training=replace(config.training, kimg=budget.get("kimg"), minutes=budget.get("minutes"))
        )
    if device is not None:
        config = replace_at(config, "training.device", str(resolve_device(device)))
    check_kept(validate(config), DataSpec(dataset.shape, dataset.num_classes))
    for name, used in (("kimg", images / 1000), ("minutes", seconds / 60)):
        asked_for = budget.get(name)
        if asked_for is not None and asked_for <= used:
            raise GanvasError(
                f"--{name} {asked_for:g} is used up: it counts from the start of the run, which has had {used:.4g} {name}. "
                f"Give more than that, or --more MINUTES to add some."
            )
    return config, dataset


def _opening(loop: Loop) -> list[str]:
    lines = [f"Run folder: {loop.run.path}"]
    if loop.resumed:
        lines.append(f"Resumed at {loop.engine.images / 1000:.1f} kimg.")
    if loop.method.used >= 1:
        lines.append("The budget that its method counts is used up: start a new run.")
    elif loop.progress >= 1:
        lines.append(f"Its budget is used up. To train on: ganvas train --resume {loop.run.path} --more 10")
    options = loop.config.method.options
    if (
        loop.config.method.name == "private"
        and loop.config.training.kimg is None
        and options.get("noise") is None
    ):
        lines.append(
            "Its budget is in minutes, so nobody knows how many steps there will be: with the usual noise it may spend far less "
            "than its epsilon. With --kimg there is as little noise as that allows."
        )
    because = loop.engine.eager_because
    if loop.device.type == "cuda" and because and loop.config.training.capture != "off":
        lines.append(f"Steps are not captured as CUDA graphs, which is slower at small sizes: {because}.")
    return lines
