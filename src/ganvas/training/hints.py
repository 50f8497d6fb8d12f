"""What is worth knowing about the data before a run begins, said once."""

import math

from ganvas.config import Config
from ganvas.data import Dataset
from ganvas.errors import GanvasError, lasting
from ganvas.features.select import how_many
from ganvas.metrics.evaluate import how_to_measure
from ganvas.presets import presets
from ganvas.training.method import methods
from ganvas.training.resolve import EACH_NUMBER, batch_of, wide

FEW = 1_000
"""Images below which the critic of an unchanged preset knows them by heart within minutes (Karras et al. 2020, figure 1)."""
USUAL_KIMG = 500
"""Shortest run of docs/presets.md that draws what one recognises, from few pictures."""

LONG = 7200.0
"""Seconds of a training that are told of when it has begun."""
SMALL = 32
"""Pixels of a side that a CPU trains on in an hour."""


def too_long(config: Config, dataset: Dataset, left: float, speed: float) -> str:
    """About how long it takes to see so many more samples at so many a second, and what is quicker; empty where that is soon."""
    if left < LONG * speed:
        return ""
    large = dataset.is_images and max(dataset.shape[1:]) > SMALL
    smaller = f", or --resolution {SMALL}" if large else ""
    return f"At {speed:.3g} samples a second its budget takes about {lasting(left / speed)} more. Quicker: --minutes 60{smaller}."


def hints(config: Config, dataset: Dataset) -> list[str]:
    """Lines about classes that cannot be learnt, few images and too few series; none for data without such a thing."""
    train, _ = dataset.split(config.data.holdout, config.data.fold)
    count = how_many(train, config.data.select)
    lines = []
    if empty := train.empty_classes():
        shown = ", ".join(empty[:10]) + (f" and {len(empty) - 10:,} more" if len(empty) > 10 else "")
        lines.append(
            f"No image of {len(empty):,} of {train.num_classes:,} classes is trained on: {shown}. "
            f"{'It' if len(empty) == 1 else 'They'} cannot be learnt."
        )
    try:
        how_to_measure(dataset, config.data)
    except GanvasError as error:
        lines.append(f"ganvas eval will not measure this run. {error}")
    plays = methods.get(config.method.name).takes_recipes  # whatever else trains takes no augmentation
    usual = presets.get(config.preset).training.batch if config.preset in presets else 0
    if dataset.series is not None and config.training.batch == batch_of(usual, dataset) < usual:
        lines.append(
            f"{wide(dataset)}: batches are of {config.training.batch} instead of {usual}. --batch takes more, and for each about "
            f"{math.prod(dataset.shape) * EACH_NUMBER / 1e6:,.0f} MB."
        )
    if dataset.is_images and count < FEW and plays:
        augmented = bool(config.augment.policy)
        seen = (
            ""
            if augmented
            else " Let it see them altered: --preset photo for colour, --augment ada for any other preset."
        )
        kimg = config.training.kimg  # none: the budget is one of minutes
        short = kimg is not None and kimg < USUAL_KIMG
        passes = round(USUAL_KIMG * 1000 / count)
        time = f" Its budget is short: --kimg {USUAL_KIMG} shows each {passes:,} times."
        keep = "" if config.training.eval_kimg else " Add --eval-kimg 50, which keeps the best snapshot."
        if not augmented or short:
            lines.append(
                f"{count:,} images are few: a critic soon knows them by heart.{seen}{time if short else ''}{keep}"
            )
    return lines
