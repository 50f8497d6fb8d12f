"""`ganvas train`"""

import json as json_module
import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import tyro

from ganvas.cli import _shared
from ganvas.errors import GanvasError
from ganvas.options import TrainOptions
from ganvas.signals import is_first, several_processes


def run(
    data: Annotated[tuple[str, ...], tyro.conf.Positional] = (),
    *,
    options: TrainOptions,
    more: float | None = None,
    out: Path = Path("runs"),
    name: str | None = None,
    resume: Path | None = None,
    set: Annotated[tuple[str, ...], tyro.conf.arg(metavar="PATH=VALUE")] = (),
    seeds: int = 0,
    folds: int = 0,
    log: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME")] = (),
    dry_run: bool = False,
    json: bool = False,
) -> int | None:
    """Train a generator and a critic.

    Args:
        data: A name from `ganvas list datasets`, a folder or .zip of images, an .npy or .npz array, a table of series (.csv,
            .tsv, .parquet, .ts), hub:org/name. Several share one generator, with the set as the label.
        more: With --resume: so many minutes beside those that the run has had.
        out: Folder of the run folders.
        name: Last part of the run folder's name.
        resume: Continue this run folder from its last state.
        set: Single settings by their path in config.json, for instance optimizer.lr_critic=0.001.
        seeds: Train so many times with other seeds, measure each, report mean and spread.
        folds: The same, with another part of the data held out each time.
        log: Where figures and pictures go beside the run folder: some of `ganvas list loggers`, or FILE.py:NAME of your own.
        dry_run: Print the resolved config and stop.
        json: Print the outcome as JSON on stdout; progress stays on stderr.
    """
    from ganvas import training
    from ganvas.config import to_dict

    options = replace(options, settings=dict(_setting(text) for text in set) or None)
    if dry_run:
        if not data or resume is not None or more is not None:
            raise GanvasError(
                "--dry-run shows the config of a new run: give a data set, and neither --resume nor --more."
            )
        config, dataset = training.plan(data, options)
        if not is_first():
            return None
        if not json:
            for line in (*dataset.notes, training.describe(config, dataset)):
                _shared.say(line)
        _shared.answer(to_dict(config), indent=None if json else 2)
        return None
    if "wandb" in log:
        _check_wandb()
    if seeds or folds:
        if more is not None:
            raise GanvasError(
                "--more adds minutes to a run that there is; --seeds and --folds start new ones."
            )
        if not data or resume is not None:
            raise GanvasError("--seeds and --folds start new runs: give a data set and no --resume.")
        if several_processes():
            raise GanvasError(
                "--seeds and --folds train and measure in one process: leave torchrun out (or unset WORLD_SIZE)."
            )
        _repeat(data, options, seeds, folds, out, name, log, json)
        return None
    result = training.train(data, options, out=out, name=name, resume=resume, more=more, log=log)
    if json and is_first():
        _shared.answer(
            {
                "run": str(result.run.path),
                "kimg": result.kimg,
                "seconds": round(result.seconds, 3),
                "stopped": result.stopped,
                "snapshot": str(result.run.snapshots[-1]),
            }
        )
    return 130 if result.stopped == "interrupted" else None


def _repeat(
    data: tuple[str, ...],
    options: TrainOptions,
    seeds: int,
    folds: int,
    out: Path,
    name: str | None,
    log: tuple[str, ...],
    json: bool,
) -> None:
    from itertools import compress
    from statistics import mean

    from ganvas import io
    from ganvas.cli._shared import Column, table
    from ganvas.training.repeat import repeat

    found = repeat(data, options, seeds=seeds, folds=folds, out=out, name=name, log=log)
    if json:
        _shared.answer(io.read_json(found.path))
        return
    at = f"N={found.floor_n:,}"
    columns = [
        Column("metric", left=True), Column("mean"), Column("spread"), Column(f"at {at}", drop=1),
        Column(f"floor ({at})", drop=1), Column("each", left=True, drop=2),
    ]  # fmt: skip
    rows = []
    for metric, each in found.values.items():
        beside = [f"{mean(of[metric]):.4g}" if of[metric] else "" for of in (found.at_floor_n, found.floors)]
        cells = [f"{value:.4g}" for value in (found.mean(metric), found.spread(metric))]
        rows.append([metric, *cells, *beside, ", ".join(f"{value:.4g}" for value in each)])
    kept = [True, True, True, any(map(any, found.at_floor_n.values())), bool(found.floor_n), True]
    columns, rows = list(compress(columns, kept)), [list(compress(row, kept)) for row in rows]
    table(columns, rows)
    _shared.say(f"Written to {found.path}")


def _check_wandb() -> None:
    """Raise `GanvasError` for settings of wandb in the current folder: of data from anybody they would send the figures and this
    user's key to a server of theirs. Left out, they would send to the public one what is meant for one of the user's own.

    And for the defaults of a run's config that wandb reads there: names in them may multiply, and take minutes.
    """
    defaults = Path("config-defaults.yaml")
    if os.path.lexists(defaults):
        raise GanvasError(
            f"{defaults} in this folder would be read by wandb, and be part of the run's config. If it is yours, move it while "
            "you train here: ganvas says all settings itself. If it came with something else, remove it."
        )
    for place in (Path(folder, "settings") for folder in ("wandb", ".wandb")):
        if place.exists():
            raise GanvasError(
                f"{place} in this folder would say to whom wandb sends figures and your key. If it is yours, move it to "
                "~/.config/wandb/settings; if it came with something else, remove it."
            )


def _setting(text: str) -> tuple[str, object]:
    path, equals, value = text.partition("=")
    if not equals:
        raise GanvasError(f"--set wants PATH=VALUE, for instance optimizer.lr_critic=0.001; got {text!r}.")
    try:
        return path, json_module.loads(value)
    except ValueError:
        return path, value
