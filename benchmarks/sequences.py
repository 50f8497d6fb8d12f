"""Drawn series by the published protocol and by an honest one, beside the floors of real series.

    python benchmarks/sequences.py                           # floors of all tasks: 3 CPU minutes
    python benchmarks/sequences.py --write FOLDER            # the training parts as FOLDER/TASK.npz, for what is to learn them
    python benchmarks/sequences.py goog --fakes FOLDER       # beside what lies in FOLDER/goog-*.npz, one file a seed
    python benchmarks/sequences.py goog --train --minutes 5 --seeds 3 [--preset series]    # trains ganvas, then measures it

    sines       2,000 series of 24 steps and 5 columns, as the published code of TimeGAN draws them
    goog        windows of 24 days of matplotlib's share prices; every third stretch of 50 days is held out
    regimes     4,000 series of 48 steps of a process whose likelihood is known (`ganvas.processes.three_regimes`)
    ItalyPowerDemand, BasicMotions, JapaneseVowels           with the archive's own training and test parts

The last three are files of the time series archive, which come with the package aeon: `pip install aeon`, or give the folder
that holds NAME/NAME_TRAIN.ts by --archive. A .npz of fakes holds `series` (N, T, D) in the units of the training part, and beside
them `labels` and `lengths` where the training part has such.

The published scores are those of `ganvas.metrics.published`, means of three trainings, on what was trained on. The others are
those of `ganvas.metrics.sequences.measure`. Minutes of a training are those of the processor, so that other work on the machine
takes nothing from a model. It sees the training part alone, with labels where there are any, and nothing is held out of that.
"""

import argparse
import importlib.util
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from clock import count_by
from scipy.stats import ks_2samp
from series_measures import taught, told

import ganvas
from ganvas.config import DataConfig
from ganvas.data import tables
from ganvas.data.series import goog
from ganvas.errors import counted
from ganvas.metrics import sequences
from ganvas.metrics.sequences import Sample
from ganvas.processes import durations, sines, three_regimes
from judge import OUT

FOLDER = OUT / "sequences"
STEPS = 24
PARTS = 21
"""Stretches of the prices, of which every third is held out."""


@dataclass(frozen=True)
class Task:
    """What a model learns, and what it is measured by."""

    train: Sample
    held: Sample
    true: Sample
    """In place of fakes: another draw where the process is known, else the training series."""
    further: Callable[["Task", Sample], dict[str, float]] = lambda task, fake: {}
    """Figures beside those of `measure`."""
    told: str = ""
    """What others publish, and what is wanted."""


def by_published(task: Task, fake: Sample) -> dict[str, float]:
    """What the published code says."""
    return {"discriminative-legacy": told(fake, task.train), "predictive-legacy": taught(fake, task.train)}


def by_process(task: Task, fake: Sample) -> dict[str, float]:
    """Mean log-likelihood, and whether stays in a regime last as long as those of other true series."""
    process = three_regimes()
    found = ks_2samp(*(one_stay_each(process.decode(each.series)) for each in (fake, task.held)))
    likelihood = process.log_likelihood(fake.series).mean()
    return {
        "log-likelihood": float(likelihood),
        "durations": float(found.statistic),
        "durations p": float(found.pvalue),
    }


def one_stay_each(paths: np.ndarray) -> np.ndarray:
    """How long a stay of each path lasts, one by chance of those that are whole: independent of each other, as a test asks."""
    random = np.random.default_rng(0)
    stays = [durations(path[None]) for path in paths]
    return np.array([random.choice(each) for each in stays if len(each)])


def of_sines() -> Task:
    random = np.random.default_rng(0)
    parts = [Sample.of(sines(count, STEPS, random=random), "sines") for count in (2_000, 1_000, 2_000)]
    return Task(
        *parts, by_published, "published discriminative: TimeGAN .011, Diffusion-TS .006; wanted: at most .05, and within 5 % of "
        "the floor of the published predictive"
    )  # fmt: skip


def of_prices() -> Task:
    long = goog(DataConfig()).sequences[0]
    cut = np.lib.stride_tricks.sliding_window_view(long, STEPS, 0).transpose(0, 2, 1)
    groups = sequences.blocks(len(cut), STEPS, PARTS)
    held = groups % 3 == 2
    train = Sample.of(cut, "goog", groups=np.where(held, -1, groups))
    return Task(
        train, Sample.of(cut, "goog", groups=np.where(held, groups, -1)), train, by_published,
        "published discriminative, of 3,685 days of the same share: TimeGAN .102, its users .126 to .212, Diffusion-TS .067; "
        "wanted: at most .10, and within 5 % of the floor of the published predictive",
    )  # fmt: skip


def of_regimes() -> Task:
    random = np.random.default_rng(0)
    parts = [
        Sample.of(three_regimes().draw(count, 48, random)[0], "regimes") for count in (4_000, 2_000, 2_000)
    ]
    return Task(*parts, by_process, "wanted: log-likelihood within 2 %, durations not rejected")


def of_archive(name: str, folder: Path) -> Task:
    train, test = (read_ts(folder / name / f"{name}_{part}.ts") for part in ("TRAIN", "TEST"))
    wanted = "lengths not rejected" if np.ptp(train.lengths) else "tstr at least 95 % of its floor"
    return Task(train, test, train, told=f"wanted: {wanted}")


def read_ts(path: Path) -> Sample:
    """Series with classes of a .ts file."""
    table = tables.load(path, DataConfig(str(path)))
    assert table.labels is not None
    lengths = np.array([len(x) for x in table.sequences])
    series = np.stack([np.pad(x, ((0, lengths.max() - len(x)), (0, 0))) for x in table.sequences])
    return Sample.of(series, path.name, lengths, labels=table.labels.numpy())


def archive() -> Path | None:
    """The folder of the installed aeon's data."""
    found = importlib.util.find_spec("aeon")
    return None if found is None or found.origin is None else Path(found.origin).parent / "datasets" / "data"


def write(task: Task, path: Path) -> None:
    """The training part as a file for any program."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = {"lengths": task.train.lengths} if np.ptp(task.train.lengths) else {}
    beside |= {} if task.train.labels is None else {"labels": task.train.labels}
    np.savez(path, series=task.train.series, **beside)


def train(name: str, task: Task, seed: int, options: argparse.Namespace) -> None:
    """Train ganvas for so many minutes of CPU time, and keep what it draws as FOLDER/NAME-SEED.npz."""
    count_by("cpu")
    data = FOLDER / f"{name}.npz"
    write(task, data)
    run = ganvas.train(
        str(data), minutes=options.minutes, seed=seed, device="cpu", precision="fp32", out=FOLDER / "runs", name=name,
        conditional=task.train.labels is not None, preset=options.preset, report=False, quiet=True,
        settings={
            "data.holdout": 0.0, "training.monitor_kimg": 0, "training.snapshot_kimg": 1e6,
            **{path: json.loads(value) for path, value in (each.split("=", 1) for each in options.set)},
        },
    ).run  # fmt: skip
    model, count = ganvas.load(run.path, device="cpu"), max(len(task.train), len(task.held))
    labels = None if task.train.labels is None else np.resize(task.train.labels, count).tolist()
    drawn = model.series(count, seed=seed, labels=labels)
    beside = {} if labels is None else {"labels": np.array(labels)}
    np.savez(FOLDER / f"{name}-{seed}.npz", series=drawn.values, lengths=drawn.lengths, **beside)
    print(f"{run.path.name}: {model.info.kimg:.0f} kimg", file=sys.stderr)


ARCHIVED = ("ItalyPowerDemand", "BasicMotions", "JapaneseVowels")
TASKS = {"sines": of_sines, "goog": of_prices, "regimes": of_regimes}


def read_fakes(path: Path) -> Sample:
    with np.load(path, allow_pickle=False) as found:
        beside = {name: found[name] for name in ("lengths", "labels") if name in found}
        return Sample.of(found["series"], path.name, **beside)


def figures(task: Task, fake: Sample) -> tuple[dict[str, float], dict[str, float]]:
    """All figures of the fakes, and the floors."""
    values, floors = {}, {}
    for each in sequences.measure(fake, task.train, task.held):
        values[each.name] = each.value
        floors[each.name] = each.floor if each.floor is not None else float("nan")
        if each.p_value is not None:
            values[f"{each.name} p"] = each.p_value
            floors[f"{each.name} p"] = each.floor_p if each.floor_p is not None else float("nan")
    return values, floors


def report(name: str, task: Task, fakes: list[Sample]) -> None:
    found = [figures(task, fake) for fake in fakes or [task.true]]
    floors = found[0][1] | task.further(task, task.true)
    columns = [values | task.further(task, fake) for fake, (values, _) in zip(fakes, found, strict=False)]
    print(
        f"\n**{name}**: {len(task.train)} series, {len(task.held)} held out, {tuple(task.train.series.shape[1:])}. {task.told}\n"
    )
    print("| | floor |" + (f" {counted(len(fakes), 'model')} |" if fakes else ""))
    print("| --- | --- |" + (" --- |" if fakes else ""))
    for row, floor in floors.items():
        cells = [column[row] for column in columns if row in column]
        print(f"| `{row}` | {floor:.3f} |" + (f" {spread(cells, row)} |" if fakes else ""), flush=True)


def spread(values: list[float], name: str) -> str:
    """Mean and standard deviation; p-values one by one."""
    if name.endswith(" p"):
        return ", ".join(f"{value:.3f}" for value in values)
    deviation = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.3f}{deviation}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tasks", nargs="*", help=", ".join((*TASKS, *ARCHIVED)))
    parser.add_argument("--fakes", type=Path, help="folder of TASK-SEED.npz")
    parser.add_argument("--write", type=Path, help="folder for the training parts")
    parser.add_argument("--archive", type=Path, default=archive(), help="folder of NAME/NAME_TRAIN.ts")
    parser.add_argument("--train", action="store_true", help="train ganvas first, and measure what it draws")
    parser.add_argument("--minutes", type=float, default=5.0, help="of processor time, each training")
    parser.add_argument("--seeds", type=int, default=1, help="how many")
    parser.add_argument(
        "--first", type=int, default=0, help="the first of the seeds; others that are there count, too"
    )
    parser.add_argument("--preset", default="series")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="settings of the config")
    options = parser.parse_args()
    if options.train:
        options.fakes = FOLDER
    names = options.tasks or [*TASKS, *(ARCHIVED if options.archive else ())]
    for name in names:
        if name not in TASKS and options.archive is None:
            parser.error(
                f"{name} lies in the package aeon, which is not installed. Give its folder by --archive."
            )
        task = TASKS[name]() if name in TASKS else of_archive(name, options.archive)
        if options.write:
            write(task, options.write / f"{name}.npz")
            continue
        if options.train:
            for seed in range(options.first, options.first + options.seeds):
                train(name, task, seed, options)
        paths = sorted(options.fakes.glob(f"{name}-*.npz")) if options.fakes else []
        report(name, task, [read_fakes(path) for path in paths])
    print(f"\n{time.process_time() / 60:.1f} CPU minutes")


if __name__ == "__main__":
    main()
