"""What a model was trained on, as far as it is known: the data, their classes, and the bundled classifier of them."""

from contextlib import suppress
from dataclasses import replace
from functools import cache

import numpy as np
import torch
from torch import Tensor

from ganvas.config import DataConfig
from ganvas.data import WANTED, Dataset, load_dataset, origin
from ganvas.data.base import find_path
from ganvas.data.idx import CLASSES
from ganvas.data.tables import CLASS, NAMED, SERIES, columns_of
from ganvas.errors import GanvasError, counted
from ganvas.features import classifier
from ganvas.model import MOST_BEFORE, Learned, Model
from ganvas.runs import Run, run_around
from ganvas.series import Schema
from ganvas.types import Shape

CHANGED = "is not, or not all, what this model was trained on, or has changed since"
"""What is said of data wherever they are found to (`has_changed`)."""
EQUAL = 500
"""Images of all classes alike that are enough to compare samples with; of fewer, those in other shares say more."""


def data_of(model: Model) -> str:
    """Name of the data set that the model was trained on, as far as it is known."""
    return "" if model.info.data is None else model.info.data.name


def load_data_of(
    model: Model, data: str | None = None, option: str = "--data", download: bool = True
) -> tuple[Dataset, DataConfig]:
    """What the model was trained on, as it was cut then; or `data`, of any size and colour, brought to the model's.

    Raises `GanvasError` where that is not at hand or unfit.

    The model's own word counts where this user trained it, or it came with ganvas; from anybody else's only
    the known sets that are at hand are opened (`ganvas.data.origin`). `download` false: nothing is fetched
    for any model.
    """
    known = model.info.data
    if not data:
        config = data_config_of(model, option, download)
    elif known is not None and origin.places(DataConfig(data)) == origin.places(known.config):
        config = replace(known.config, source=data)
    else:  # a header's further sets were not asked for
        config = config_for(model, data)
    dataset = load_dataset(config, model.shape, model.info.series)
    if data and known is not None and is_own(model, dataset, config):  # perhaps at another place
        their = known.config
        config = replace(config, holdout=their.holdout, fold=their.fold, select=their.select)
    elif model.generator.num_classes:  # own data may have changed, and their classes with them
        dataset = dataset.classed_as(class_names(model))
    return dataset, config


def config_for(model: Model, source: str) -> DataConfig:
    """How a source is read for a model: what it was trained on as it was then, wherever it lies; other tables by the same columns
    and windows, as far as they have them."""
    known = None if model.info.data is None else model.info.data.config
    plain = DataConfig(source, resize=model.info.resize, white=model.info.white)
    if known is None or known.also:
        return plain
    # What a header names is compared, not looked at.
    if origin.places(plain) == origin.places(known):
        return replace(known, source=source)
    if len(model.shape) != 2:
        return replace(plain, resolution=known.resolution, height=known.height)
    return config_beside(known, plain)


def config_beside(known: DataConfig, plain: DataConfig) -> DataConfig:
    """How a table is read beside another one: by the same columns and windows, as far as it has them. Others as they are."""
    if not all(each.lower().endswith(NAMED) for each in (known.source, plain.source)):
        return plain
    names = columns_of(find_path(plain.source, WANTED))
    time, by, label = (name if name in names else "" for name in (known.time, known.by, known.label))
    if not by and names and names[0] in SERIES:  # ganvas wrote it
        classes = next((name for name in reversed(CLASS) if known.label and name in names), "")
        by, label = names[0], label or classes
    static, columns = (tuple(n for n in each if n in names) for each in (known.static, known.columns))
    found = replace(plain, window=known.window, columns=columns, time=time)
    return replace(found, by=by, label=label, static=static) if by else found


def is_own(model: Model, dataset: Dataset, config: DataConfig) -> bool:
    """Whether these are the data that the model was trained on, so that it is known which of them it has seen.

    By what they hold: a file of that name may be another one, or have changed since. Where neither the model nor its run says
    what was in its data (of before, or shared after a private training), by where they lie.
    """
    known = model.info.data
    if known is None:
        return False
    if mark := known.fingerprint or _said_by_run(model):
        return dataset.fingerprint == mark
    return origin.places(config) == origin.places(known.config)


def _said_by_run(model: Model) -> str:
    """Fingerprint of its data by the run that its snapshot lies in: snapshots of a private training do not say it."""
    run = None if model.path is None else run_around(model.path.resolve())
    if run is None:
        return ""
    with suppress(GanvasError):
        about = Run(run).info.get("data")
        said = about.get("fingerprint") if isinstance(about, dict) else None
        return said if isinstance(said, str) else ""
    return ""


def is_named(model: Model, config: DataConfig) -> bool:
    """Whether the model says that it was trained on something at a place of these."""
    known = model.info.data
    if known is None:
        return False
    theirs = {origin.places(DataConfig(each)) for each in (known.config.source, *known.config.also)}
    return any(origin.places(DataConfig(each)) in theirs for each in (config.source, *config.also))


def has_changed(model: Model, dataset: Dataset, config: DataConfig) -> bool:
    """Whether these lie where what the model was trained on lay, or a model learned from them that its training began with, and
    are not that, or not all of it: which of them it has seen is not known."""
    before = () if model.info.data is None else model.info.data.before
    known = is_named(model, config) or any(each.fingerprint == dataset.fingerprint for each in before)
    return (known or bool(named_before(model, config))) and not is_own(model, dataset, config)


def named_before(model: Model, config: DataConfig) -> list[Learned]:
    """What models learned from, at a place of these, that its training began with."""
    before, here = () if model.info.data is None else model.info.data.before, {*origin.marks(config)}
    return [each for each in before if here & {*each.places}]


def learned_by(model: Model) -> list[Learned]:
    """What the weights of a model have learned from, the newest first, as far as it says it."""
    known = model.info.data
    if known is None:
        return []
    own = Learned(known.fingerprint, known.config.holdout, known.config.fold, origin.marks(known.config))
    return [*dict.fromkeys((own, *known.before))][:MOST_BEFORE]


def data_config_of(model: Model, option: str = "--data", download: bool = True) -> DataConfig:
    """The data that the model was trained on. Raises `GanvasError` where it does not say, or may not choose, what is opened."""
    known = model.info.data
    if known is None:
        raise GanvasError(
            f"Real data are needed, and this model does not say what it was trained on. Give them with {option}."
        )
    config = known.config
    ours = model.is_packaged or origin.is_marked(config, known.mark)
    if origin.at_hand(config) or (ours and (download or not origin.needs_network(config))):
        return config
    if ours:
        raise GanvasError(f"{config.source} is not on this machine. Give real data with {option}.")
    raise GanvasError(
        f"This model says that it was trained on {config.source!r}. It is not known to be trained by you on this machine, so "
        f"its file may not choose what is opened here. If that is what you want, give it: {option} {config.source}"
    )


def real_images_of(
    model: Model, count: int, data: str | None = None, seed: int = 0, more_than: int = 0
) -> tuple[Tensor | None, str]:
    """At most `count` real images to compare with, uint8 (n, C, H, W), and a line on them; or None, and the line says why.

    `data`, else what the model was trained on, else the images that a packaged model brings along. Nothing
    is downloaded that was not asked for. Raises `GanvasError` for `data` that do not fit, or are not
    `more_than` so many.
    """
    try:
        found, config = load_data_of(model, data, download=False)
        if len(found) <= more_than:
            raise GanvasError(
                f"{found.name} holds {counted(len(found), 'image')}, and more than {more_than} are needed."
            )
        rows, shares = _compared(model, found, count, seed)
        changed = f"; {found.name} {CHANGED}" if has_changed(model, found, config) else ""
        part = "" if len(rows) == len(found) else f"{len(rows):,} of "
        words = f"{part}{counted(len(found), 'image')} of {found.name}{shares}{changed}"
        return found.take(rows)[0], words
    except GanvasError as error:
        if data:
            raise
        why = str(error)
    images = shipped_images(model)
    if images is None:
        return None, why
    images = images[:count]
    return images, f"{counted(len(images), 'image')} of {data_of(model)} that come along"


def _compared(model: Model, data: Dataset, count: int, seed: int) -> tuple[Tensor, str]:
    """Rows of images to compare samples with, in random order, and words on them.

    Samples of a conditional model are of all classes in turn: as many images of each, or what is rare would be said to be
    drawn too often. Where a class has too few for that, they are taken as they come, and the words say so.
    """
    rows = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))
    classes = model.generator.num_classes
    if not classes or data.labels is None or data.num_classes != classes:
        return rows[:count], ""
    labels = data.take_labels()[rows]
    fewest = int(torch.bincount(labels, minlength=classes).min())
    if classes * fewest < min(count, EQUAL):
        return rows[:count], f" (in their own shares, though the model draws {classes} classes alike)"
    each = min(fewest, -(-count // classes))
    kept = torch.cat([(labels == label).nonzero()[:each, 0] for label in range(classes)]).sort().values
    return rows[kept][:count], ", as many of each class"


def unseen(
    model: Model, source: str, shape: Shape | None = None, schema: Schema | None = None
) -> tuple[Dataset, bool, str]:
    """A source brought to the model's shape, and whether it is the part of the model's own data that was held out.

    Other data are taken whole, and so are its own where none were held out: of few windows all overlap. The last is what to say.
    """
    config = config_for(model, source)
    data = load_dataset(config, tuple(shape or model.shape), schema or model.info.series)
    known = model.info.data
    if known is None or not is_own(model, data, config):
        words = (
            f"Of {data.name} it is not known what was held out of the training, as it is a part of the data, or read otherwise, "
            "or has changed since: the model may have learned from these."
        )
        return data, False, words if has_changed(model, data, config) else ""
    if not known.config.holdout:
        return data, False, ""
    held = data.split(known.config.holdout, known.config.fold)[1]
    if len(held):
        return held, True, f"Of {data.name} what was held out of the training: {len(held):,}."
    return data, False, f"Of {data.name} nothing was held out: these are what the model has learned from."


def learned_from(model: Model, data: Dataset, config: DataConfig) -> Dataset:
    """Of the model's own data the part that it was trained on, which more may be learned from: what was held out stays so.

    Others are taken whole.
    """
    known = model.info.data
    if known is None or not is_own(model, data, config):
        return data
    return data.split(known.config.holdout, known.config.fold)[0]  # perhaps read at another place


def shipped_images(model: Model) -> Tensor | None:
    """The real images that a packaged model brings along, which may be shared as it is: uint8 (n, C, H, W)."""
    shipped = model.path.with_name("real.npz") if model.path is not None and model.is_packaged else None
    if shipped is None or not shipped.is_file():
        return None
    with np.load(shipped) as arrays:  # without pickle, which is numpy's default
        return torch.from_numpy(arrays["images"])


def classifier_of(model: Model) -> classifier.ClassifierExtractor | None:
    """The bundled classifier of the data that the model was trained on; None where there is none."""
    data, names = data_of(model), class_names(model)
    return _open_classifier(data, model.device) if classifier.knows(data, model.shape, names) else None


@cache
def _open_classifier(data: str, device: torch.device) -> classifier.ClassifierExtractor:
    return classifier.load(classifier.FOLDER / f"{data}.safetensors", device)


def class_names(model: Model) -> tuple[str, ...]:
    """Names of the classes of the model's data, from its own file; empty where it names none: numbers will do.

    Files of before named them for conditional models alone: for the known sets the names are known all the
    same.
    """
    names, classes = model.info.class_names, model.generator.num_classes
    if names is not None:
        return names
    known = CLASSES.get(data_of(model), ())
    return known if classes in (0, len(known)) else ()
