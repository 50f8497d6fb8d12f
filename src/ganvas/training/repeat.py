"""Train several times and say how much of the result is chance: other seeds, or other parts of the data held out."""

import gc
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ganvas import arrays, io
from ganvas.data import Dataset
from ganvas.errors import GanvasError, Interrupted
from ganvas.metrics import evaluate
from ganvas.metrics.evaluate import SMALL_N, affordable
from ganvas.options import Source, TrainOptions
from ganvas.training import Logger, Result, plan, train
from ganvas.training.best import check_measurable

METRICS = ("frechet", "precision-recall", "density-coverage")


@dataclass(frozen=True)
class Repeated:
    """What the runs scored."""

    results: list[Result]
    values: dict[str, list[float]]
    """Metric -> its value in each run."""
    floors: dict[str, list[float]]
    """Metric -> what the data held out in that run scored; of too few there is none, and the list is empty."""
    floor_n: int
    """How many samples that was of."""
    at_floor_n: dict[str, list[float]]
    """Metric -> its value with as many samples, which is what compares with the floor; empty where these are not fewer."""
    path: Path
    """The summary as JSON."""

    def mean(self, metric: str) -> float:
        """Mean over the runs."""
        return statistics.mean(self.values[metric])

    def spread(self, metric: str) -> float:
        """Standard deviation over the runs (n - 1)."""
        return statistics.stdev(self.values[metric])


def repeat(
    data: Source,
    options: TrainOptions | None = None,
    *,
    seeds: int = 0,
    folds: int = 0,
    n: int | None = None,
    out: str | Path = "runs",
    name: str | None = None,
    report: bool = True,
    quiet: bool = False,
    log: Sequence[str | Logger] = (),
    **overrides: Any,
) -> Repeated:
    """Train `seeds` times with seeds counted up from `seed`, or `folds` times, each holding out another 1/folds of the data.

    Each run is measured against its own training part with `n` samples, by default 10,000, fewer of large series; `options`
    and `overrides` are those of `train`. With folds the seed stays, so that only the data change. Raises `GanvasError` unless
    one of both is at least 2 and where the data, or the model that each run begins with, change meanwhile, `Interrupted` when a
    run is stopped: the series ends there.
    """
    count = seeds or folds
    if (seeds and folds) or count < 2:
        raise GanvasError("Repeat with --seeds K or with --folds K, K of at least 2, not with both.")
    wanted = TrainOptions.of(options, overrides)
    varied = ("training.seed",) if seeds else ("data.holdout", "data.fold")
    for setting in varied:
        if setting in (wanted.settings or {}):
            raise GanvasError(
                f"--set {setting} would be the same in every run, which are to differ in it. Omit it"
                f"{', or count from another seed by --seed' if seeds else ''}."
            )
    seed = wanted.seed or 0
    if seeds:
        arrays.seed(seed + count - 1, "The last of the seeds")
    results: list[Result] = []
    values, floors, beside = (dict[str, list[float]]() for _ in range(3))
    floor_n, begun = 0, ("", "")
    for i in range(count):
        changes = {"data.holdout": 1 / folds, "data.fold": i} if folds else {}
        asked = replace(
            wanted,
            seed=seed if folds else seed + i,
            settings={**(wanted.settings or {}), **changes},
        )
        if not i:
            first = asked
            config, dataset = plan(data, first)
            if folds:
                _check_folds(folds, dataset)
            check_measurable(config, dataset)
            n = n or affordable(dataset, SMALL_N)
            fingerprint = dataset.fingerprint
            del dataset  # each run holds its own
        gc.collect()  # a run before holds its samples and networks in cycles
        result = train(data, asked, out=out, name=name, report=report, quiet=quiet, log=log)
        if result.stopped == "interrupted":
            raise Interrupted(
                f"Stopped in run {i + 1} of {count}, which is not counted: nothing is averaged. Whole runs:{_named(results)}. "
                f"The one that was stopped resumes with: ganvas train --resume {result.run.path}"
            )
        begun = begun if i else _begun(result)
        device = result.run.config.training.device
        # The rows alone: the samples take memory.
        found = evaluate(result.run.path, metrics=METRICS, n=n, device=device).rows
        # As the first run reads them: series are scaled by the fold that is trained on.
        try:
            now = plan(data, first)[1].fingerprint
        except GanvasError as error:
            raise GanvasError(
                f"{error} Nothing is averaged. Whole runs:{_named([*results, result])}."
            ) from error
        if now != fingerprint:
            raise GanvasError(
                f"The data have changed since the series began, in run {i + 1} of {count} at the latest: nothing is averaged "
                f"over runs of different data. Whole runs:{_named(results)}. Leave the data as they are and start the series "
                "again."
            )
        if begun != _begun(result):
            raise GanvasError(
                f"The model that each run begins with has changed since the series began, in run {i + 1} of {count}: nothing is "
                f"averaged. Whole runs:{_named(results)}. Give one that stays, say a snapshot of a run, and start the series "
                "again."
            )
        results.append(result)
        result.run.append_metrics([row.to_json() for row in found])
        for row in found:
            values.setdefault(row.metric, []).append(row.value)
            floors.setdefault(row.metric, []).extend([] if row.floor is None else [row.floor])
            fewer = row.at_floor_n if row.floor_n < row.n else None
            beside.setdefault(row.metric, []).extend([] if fewer is None else [fewer])
            floor_n = max(floor_n, row.floor_n)
    # What could not be had of one run has no mean.
    values = {name: each for name, each in values.items() if len(each) == count}
    first_run = results[0].run.path
    path = first_run.with_name(f"{first_run.name}-{'folds' if folds else 'seeds'}-{count}.json")
    rows = {
        name: {
            "mean": statistics.mean(each),
            "spread": statistics.stdev(each),
            "each": each,
            "floor": floors[name],
            "at_floor_n": beside[name],
        }
        for name, each in values.items()
    }
    runs = [str(result.run.path) for result in results]
    io.write_json(path, {"runs": runs, "n": n, "floor_n": floor_n, "metrics": rows})
    return Repeated(results, values, floors, floor_n, beside, path)


def _begun(result: Result) -> tuple[str, str]:
    """The hash of the model that a run began with, and that of its autoencoder."""
    info = result.run.info
    return str(info.get("begun_with", "")), str(result.run.config.method.options.get("hash", ""))


def _named(results: list[Result]) -> str:
    return "".join(f" {each.run.path}" for each in results) or " none"


def _check_folds(folds: int, dataset: Dataset) -> None:
    """Raise `GanvasError` for more folds than samples, or sequences: the last ones would hold out those of the first again."""
    # More than there are samples are not tried one by one: of a thousand million that takes days.
    parts = (dataset.split(1 / folds, i)[1].indices for i in range(folds if folds <= len(dataset) else 0))
    held = [each for each in parts if each is not None]
    if not held or len(torch.cat(held).unique()) < sum(map(len, held)):
        raise GanvasError(
            f"{dataset.name} has fewer than {folds} samples or sequences: some would be held out twice. Give fewer --folds."
        )
