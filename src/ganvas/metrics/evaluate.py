"""Every metric in one pass: samples are drawn and embedded once, the reference comes from the cache."""

import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ganvas import arrays, dist, hub, importers, notebook, pictures
from ganvas.arrays import Array
from ganvas.config import DataConfig, Resize
from ganvas.data import Dataset, fit, load_beside, load_dataset, toy
from ganvas.data.base import fingerprint
from ganvas.data.decode import white_beside
from ganvas.data.origin import places
from ganvas.data.resize import flags
from ganvas.data.series import scaled_as
from ganvas.errors import PATH, GanvasError, expect
from ganvas.features import Choice, Extractor, Features, embed, embed_dataset, open_extractor, suited
from ganvas.features.cache import batches
from ganvas.features.classifier import learned
from ganvas.latent.space import LatentZ
from ganvas.metrics import of_series, sequences
from ganvas.metrics.base import Inputs, Value, better, metrics
from ganvas.metrics.frechet import frechet
from ganvas.metrics.path_length import PairedSpace, path_length
from ganvas.metrics.resample import in_shares, pick
from ganvas.metrics.rows import Row, cells
from ganvas.metrics.sequences import Figure
from ganvas.metrics.standard import SERIES
from ganvas.model import SHOWN, Model, is_packaged
from ganvas.model_data import CHANGED, config_beside, config_for, has_changed, load_data_of
from ganvas.model_file import load
from ganvas.notebook import shown
from ganvas.runs import is_run, runs_near
from ganvas.types import Progress, counting, kind_of

Fakes = Model | Dataset | Tensor | np.ndarray | str | os.PathLike[str]
Reals = Dataset | Tensor | np.ndarray | str | os.PathLike[str]
Labels = Literal["data", "uniform"]
SMALL_N = 10_000
"""Samples that are drawn where nobody says how many, of however large a reference."""
LEAST_N = 1000
"""Samples that are drawn for however small a reference."""
SERIES_HELD = 2**24
"""Numbers of the series or points that are drawn where nobody says how many: they are held whole, several times over, in float64
too."""
LONGEST_SERIES = 2**16
"""Numbers of one: the encoder that its measures train restores all of them, and takes minutes for so many."""
LEAST_FLOOR = 50
"""Held-out samples below which their own figures say nothing."""
USUAL_NAMES = {
    "fid": "ganvas calls it frechet, and FID only with the features of the paper: other features give other numbers. "
    "Type --metrics frechet, with --extractor inception-2015 for the FID of the literature",
    "mmd": "the kernel distance is called kid", "is": "it is called inception-score",
    "prdc": "these are precision-recall and density-coverage", "precision": "it comes with precision-recall",
    "recall": "it comes with precision-recall", "density": "it comes with density-coverage",
    "coverage": "it comes with density-coverage", "ct": "it is called data-copying", "c_t": "it is called data-copying",
    "swd": "it is called sliced-wasserstein", "ppl": "it is called path-length", "reverse-kl": "it comes with modes",
}  # fmt: skip
"""What people call metrics elsewhere."""
OF_COPIES = {"authenticity", "data-copying"}
"""Figures that are about the very data that a model was trained on."""


@dataclass(repr=False)
class Evaluation:
    """What `evaluate` found."""

    rows: list[Row]
    skipped: dict[str, str]
    """Metric -> why it was left out."""
    warnings: list[str]
    inputs: Inputs
    samples: Tensor | None = None
    """The fakes, when they were few enough to keep."""
    reference: Dataset | None = None
    held_out: int = 0
    """Real samples that are no part of the reference: nobody trained on them, and they score the floor."""
    notes: tuple[str, ...] = ()
    """What was done to the pictures of the fakes and of the reference."""

    def __repr__(self) -> str:
        """One line of all figures."""
        return f"Evaluation({', '.join(f'{row.metric} {row.value:.4g}' for row in self.rows)})"

    def _repr_html_(self) -> str:
        """What a notebook shows: the figures, and the first samples."""
        parts = [] if not self.rows else [notebook.table(*cells(self.rows))]
        if self.rows:
            row = self.rows[0]
            words = f"{row.n:,} samples (seed {row.seed}) against {row.reference_n:,} of {row.reference}, "
            words += f"features {row.extractor}"
            parts = [notebook.line(words), *parts]
        parts += [notebook.line(f"{name} left out: {why}") for name, why in self.skipped.items()]
        parts += [notebook.line(f"warning: {each}") for each in self.warnings]
        if self.samples is not None and self.samples.dim() == 4:
            parts.append(notebook.picture(pictures.grid(self.samples[:SHOWN], columns=SHOWN // 2), "samples"))
        return notebook.card(f"Evaluation of {self.rows[0].source}" if self.rows else "Evaluation", *parts)

    def __getitem__(self, metric: str) -> float:
        """The value of one metric."""
        for row in self.rows:
            if row.metric == metric:
                return row.value
        why = self.skipped.get(metric, "it was not asked for")
        raise KeyError(f"{metric}: {why}")


@shown
def evaluate(
    fake: Fakes,
    real: Reals | None = None,
    metrics: str | Sequence[str] = "all",
    *,
    n: int | None = None,
    labels: Labels = "data",
    extractor: Choice = "auto",
    seed: int = 0,
    batch: int = 256,
    device: str = "auto",
    floor: bool = True,
    resolution: int | None = None,
    resize: Resize | None = None,
    height: int | None = None,
    alpha: bool = False,
    progress: Progress | None = None,
) -> Evaluation:
    """Measure samples against real data.

    `fake` is a model or its path, images as an array or tensor (uint8 N C H W, or channels last), points (N, D), a
    folder, .zip, .npy or .npz of images, or a `Dataset`. `real` is any of these but a model; a model's own training data
    by default. A tenth of it (the part that ganvas never trains on) is kept out of the reference: it scores the floor,
    and tests for copies. `metrics` are names from `ganvas list metrics`, or `all`. By default `n` is the size of the
    reference, from 1,000 to 10,000, fewer of large series. The classes of a conditional model's samples have the reference's
    shares (`data`), or are as many of each (`uniform`). The fakes are embedded once; the reference once ever for each extractor
    that has a name. `resolution`, `resize` and `height` bring folders of mixed sizes to one; what is transparent in files becomes
    white, or stays as a fourth channel with `alpha`, as it does where a model draws one. Inside `dist.together` several
    processes share the work, and all get the figures; rank 0 alone has the `samples`.
    Raises `GanvasError` for what the caller can fix.
    """
    names = _names(metrics)
    for name, value in (("n", n), ("batch", batch)):
        if value is not None:
            arrays.count(value, name)
    arrays.seed(seed)
    if labels not in ("data", "uniform"):
        raise GanvasError(f"Unknown labels {labels!r}. Use data (the reference's shares) or uniform.")
    size = Size(resolution, resize, height, alpha)
    model, given, source = open_fakes(fake, device, size)
    dataset = _open_real(real, model, size)
    trained = model.info.data if model else None
    data = trained.config if trained else DataConfig()
    if metrics == "all":
        names = _usual(names, dataset)
    if model is not None and model.info.series is not None and dataset.series is not None:
        dataset = scaled_as(dataset, model.info.series)
    if given is not None:
        given = given_as(fake, given, dataset, size)
    if (
        given is not None
        and given.is_images
        and dataset.is_images
        and 4 in (given.shape[0], dataset.shape[0])
    ):
        given = fit(given, (dataset.shape[0], *given.shape[1:]))  # solid, or on white
    reference, held_out = dataset.split(data.holdout, data.fold)
    check_parts(dataset, reference, held_out, names)
    chosen = open_extractor(extractor, dataset, device, guide=model.info.guide if model else "")
    tell = progress or (lambda what, done, total: None)

    count = n or affordable(dataset, min(SMALL_N, max(LEAST_N, len(reference))))
    asked, chosen_by, unsaid, alike, stretches, cut = None, "", "", True, None, None
    if model is not None:
        _check_kind(tuple(model.shape), dataset)
        asked, chosen_by, unsaid = _labels(model, reference, count, seed, labels)
        alike = _alike(model, reference)
        tell("samples", 0, count)  # before the first one is drawn, to know how much room they take
        # Embedding has room for more at a time than drawing: at 256 px that many would take 9 GB.
        stream = model.batches(count, seed=seed, batch=min(batch, model.at_once), labels=asked, sharded=True)
    else:
        assert given is not None
        _check_kind(given.shape, dataset)
        count = min(count, len(given))
        part = given.subset(pick(len(given), count, seed))
        stretches, cut = part.stretches, of_series.groups_of(part)
        stream = batches(part, batch, sharded=True)
        if given.labels is not None and given.class_names == dataset.class_names:
            asked = part.take_labels()
    if dist.spread():
        of = None if given is None else given.fingerprint
        dist.check_alike("samples", data=of, n=count, seed=seed)
        dist.check_alike("data", fingerprint=dataset.fingerprint, extractor=chosen.id, metrics=names)
    kept: list[Tensor] = []
    fakes = embed(chosen, _keep(stream, kept, count), counting(tell, "samples", count), sharded=True)
    kept = list(dist.collect(kept, everywhere=dataset.series is not None))
    real_features = embed_dataset(
        reference, chosen, batch=batch, advance=counting(tell, "reference", len(reference))
    )
    if fakes.features.shape[1:] != real_features.features.shape[1:]:
        raise GanvasError(
            f"The extractor {chosen.id} takes pictures as they are, and the samples have another size than {dataset.name}. "
            f"Add {flags(dataset.shape)} --resize stretch, or take another extractor."
        )
    held = None
    if len(held_out) > 1:
        held = embed_dataset(held_out, chosen, batch=batch, advance=counting(tell, "held out", len(held_out)))

    inputs = Inputs(
        fakes,
        real_features,
        seed,
        fake_labels=None if asked is None or not alike else asked.numpy(),
        real_labels=None if reference.labels is None else reference.take_labels().numpy(),
        class_names=dataset.class_names if dataset.num_classes else (),
        real_spans=reference.kin,
        groups=(stretches, held_out.stretches),
        seen_names=tuple(getattr(chosen, "class_names", ())),  # of one's own there may be none
        held_out=held,
        modes=_known_modes(dataset),
        path=None
        if model is None
        else (lambda: path_length(PairedSpace(LatentZ(model)), n=min(count, 2000), seed=seed)),
        series=None
        if dataset.series is None or not kept
        else (
            lambda legacy: of_series.figures(
                torch.cat(kept), asked if alike else None, reference, held_out, seed, legacy, cut
            )
        ),
    )
    values, skipped = _compute(inputs, names, partial(tell, "metrics of the samples"))
    warnings = [*([unsaid] if unsaid else []), *_warnings(inputs, values, count)]
    if model is not None and asked is not None and alike and trained is None and not model.info.class_names:
        warnings.append(
            f"This model does not say what its classes are called: they are taken, number by number, for those of {dataset.name}."
        )
    if _by_number(inputs, names):
        silent = dataset.name if inputs.seen_names else chosen.id
        warnings.append(
            f"{silent} does not say what its classes are called: those of {chosen.id} are taken, number by number, for "
            f"those of {dataset.name}. A classifier of ganvas extractor train DATA names its own."
        )
    if model is not None and model.info.guide:
        warnings.append(f"{model.info.guide} guided the training and does not judge it; {chosen.id} does.")
    if model is not None and trained is None and OF_COPIES & {value.name for value in values}:
        warnings.append(
            "It is not known what this model was trained on: "
            f"{' and '.join(sorted(OF_COPIES))} tell copies of {dataset.name} only, and held-out samples "
            "may be among what it has seen."
        )
    if model is not None and _has_changed(model, real, dataset):
        warnings.append(
            f"{dataset.name} {CHANGED}: what is held out here may be among what it has seen, and what it has seen is not all in "
            "the reference. Copies are told worse."
        )
    floors: dict[str, float] = {}
    beside: dict[str, float] = {}
    floor_n = 0
    if inputs.figures and len(inputs.figures) == len(values):
        pass  # they bring their own floors
    elif floor and len(held_out) < LEAST_FLOOR:
        warnings.append(
            f"No floor: {len(held_out)} held-out samples say too little about their own figures, it needs {LEAST_FLOOR}. "
            "Compare models by equal N."
        )
    elif floor and held is not None:
        floor_n = min(len(held.features), count)
        if told := learned(chosen, dataset, held_out):
            warnings.append(
                f"{told}, so that they may lie nearer to the reference than others would: the floor may be too low. "
                "ganvas extractor train holds out what data.holdout 0.1 and data.fold 0 do."
            )
        # Where the samples are sorted by what a classifier sees, so is the floor.
        labelled = held_out.labels is not None and inputs.fake_labels is not None
        true = held_out.take_labels().numpy() if labelled else None
        floors = _of_part(inputs, held, true, floor_n, names, partial(tell, "metrics of the floor"))
        # A figure moves with N, so what is compared with the floor is that of as many samples.
        beside = _by_name(values)
        if floor_n < count:
            what = f"metrics at N={floor_n:,}"
            beside = _of_part(inputs, fakes, inputs.fake_labels, floor_n, names, partial(tell, what))
    rows = [
        Row(
            metric=value.name, value=value.value, error=value.error, error_kind=value.kind,
            floor=floors.get(value.name), floor_n=floor_n if value.name in floors else 0, n=count,
            better=better(value.name), at_floor_n=beside.get(value.name) if value.name in floors else None,
            split=f"all but a share of {data.holdout:g}, fold {data.fold}", labels=chosen_by,
            reference_n=len(reference), seed=seed, extractor=chosen.id, resize=chosen.resize, reference=dataset.name,
            fingerprint=reference.fingerprint, source=source, snapshot=str(model.path or "") if model else "",
            kimg=model.info.kimg if model else None,
        )
        for value in values
    ]  # fmt: skip
    rows = [
        _beside_floor(row, *inputs.figures[row.metric]) if row.metric in inputs.figures else row
        for row in rows
    ]
    samples = torch.cat(kept) if kept else None
    notes = (*(given.notes if given else ()), *dataset.notes)
    return Evaluation(rows, skipped, warnings, inputs, samples, reference, len(held_out), notes)


def _beside_floor(row: Row, figure: Figure, count: int) -> Row:
    """A row of a measure of series with what the measure says of it."""
    return replace(
        row, floor=figure.floor, floor_n=count, better=figure.better, p_value=figure.p_value, floor_p=figure.floor_p,
        note=figure.note,
    )  # fmt: skip


def _by_number(inputs: Inputs, names: Sequence[str]) -> bool:
    """Whether figures take the numbers of a classifier's classes for those of the reference, as nobody says what they are."""
    by_class = {"modes"} if inputs.fake_labels is not None else {"modes", "per-class"}
    return bool(by_class & set(names)) and inputs.seen_classes is not None and not inputs.are_named


def _by_name(values: Sequence[Value]) -> dict[str, float]:
    return {value.name: value.value for value in values}


def _of_part(
    inputs: Inputs, samples: Features, labels: np.ndarray | None, count: int, names: Sequence[str],
    tell: Callable[[int, int], None],
) -> dict[str, float]:  # fmt: skip
    """The figures of `count` random ones of the samples against the reference."""
    rows = pick(len(samples.features), count, inputs.seed + 1).numpy()
    part = Features(samples.features[rows], None if samples.logits is None else samples.logits[rows])
    few = Inputs(
        part, inputs.real, inputs.seed, fake_labels=None if labels is None else labels[rows],
        real_labels=inputs.real_labels, class_names=inputs.class_names, modes=inputs.modes,
        real_spans=inputs.real_spans, seen_names=inputs.seen_names,
    )  # fmt: skip
    return _by_name(_compute(few, names, tell)[0])


def _alike(model: Model, reference: Dataset) -> bool:
    """Whether the classes of a reference are those that a model draws."""
    names = model.info.class_names or reference.class_names
    return names == reference.class_names and 0 < model.generator.num_classes == reference.num_classes


def _labels(
    model: Model, reference: Dataset, count: int, seed: int, wanted: Labels
) -> tuple[Tensor | None, str, str]:
    """Classes (count,) to ask of a conditional model, how they were chosen, and why not as they were wanted."""
    classes = model.generator.num_classes
    if not classes:
        if wanted == "uniform":
            raise GanvasError("This model draws no classes, so there are none to choose. Omit --labels.")
        return None, "", ""
    if wanted == "uniform":
        return model.labels(count), "uniform", ""
    if _alike(model, reference):
        return in_shares(reference.take_labels(), count, seed), "data", ""
    has = f"has {reference.num_classes} classes" if reference.num_classes else "has no labels"
    has = "names its classes otherwise" if reference.num_classes == classes else has
    why = f"The model draws {classes} classes and the reference {reference.name} {has}: as many samples of each class are drawn."
    return model.labels(count), "uniform", why


def _usual(names: Sequence[str], dataset: Dataset) -> list[str]:
    """Those of the names that measure such data."""
    return [each for each in names if (each == SERIES) == (dataset.series is not None)]


def how_to_measure(dataset: Dataset, data: DataConfig, guide: str = "") -> str:
    """What follows `ganvas eval MODEL` for a model of these data: nothing, or the extractor to name where none is usual.

    Raises `GanvasError` where it would not measure them at all.
    """
    check_parts(dataset, *dataset.split(data.holdout, data.fold), _usual(_names("all"), dataset))
    try:
        suited("auto", dataset, guide)
    except GanvasError:
        return " --extractor pyramid"
    return ""


def check_parts(dataset: Dataset, reference: Dataset, held_out: Dataset, names: Sequence[str]) -> None:
    """Raise `GanvasError` where series are too few, or too long, to be measured: before any is drawn, or a model of them is."""
    if dataset.series is not None and min(len(reference), len(held_out)) < sequences.LEAST:
        raise GanvasError(
            f"{dataset.name} has {len(reference)} series to compare with and {len(held_out)} held out; {sequences.LEAST} of each "
            "are needed. Give --reference with more of them, or train with --set data.holdout=0.3 or a shorter --window."
        )
    numbers = math.prod(dataset.shape)
    if (
        dataset.series is not None
        and numbers > LONGEST_SERIES
        and any(each.startswith(SERIES) for each in names)
    ):
        raise GanvasError(
            f"Series of {dataset.name} have {numbers:,} numbers each, of up to {LONGEST_SERIES:,} that are measured. Take a "
            "shorter --window, fewer columns, or other --metrics than series."
        )


def _names(asked: str | Sequence[str]) -> list[str]:
    several = asked if isinstance(asked, list | tuple) else [asked]
    for word in several:
        expect(word, str, "metrics", "a name of `ganvas list metrics`, or a list of several")
    words = [word.strip() for word in (asked.split(",") if isinstance(asked, str) else asked)]
    words = list(dict.fromkeys(word for word in words if word))
    if words == ["all"]:
        return [name for name in metrics if metrics.get(name).default]
    for name in words:
        if name not in metrics and name.lower() in USUAL_NAMES:
            raise GanvasError(f"There is no metric {name!r}: {USUAL_NAMES[name.lower()]}.")
        metrics.get(name)
    if not words:
        raise GanvasError("No metric was asked for. See: ganvas list metrics.")
    return words


def _compute(
    inputs: Inputs, names: Sequence[str], tell: Callable[[int, int], None]
) -> tuple[list[Value], dict[str, str]]:
    values: list[Value] = []
    skipped: dict[str, str] = {}
    for i, name in enumerate(names):
        tell(i, len(names))
        metric = metrics.get(name)
        if why := metric.fits(inputs):
            skipped[name] = why
            continue
        # Of a collapsed model, or of data with few different samples, the others can be had.
        try:
            values += metric.compute(inputs)
        except dist.Gone:
            raise
        except GanvasError as error:
            skipped[name] = str(error)
    return values, skipped


@dataclass(frozen=True)
class Size:
    """What pictures in files are brought to."""

    resolution: int | None = None
    resize: Resize | None = None
    height: int | None = None
    alpha: bool = False

    def of(self, source: str) -> DataConfig:
        return DataConfig(source, self.resolution, self.resize, height=self.height, alpha=self.alpha)


def open_fakes(
    fake: Fakes, device: str = "auto", size: Size = Size(), *, critic: bool = False
) -> tuple[Model | None, Dataset | None, str]:
    """What `evaluate` takes as its fakes: (the model, or None; else the samples; where they come from)."""
    if isinstance(fake, Model):
        return fake, None, str(fake.path or "model")
    if isinstance(fake, Dataset):
        return None, fake, fake.name
    if isinstance(fake, Tensor | np.ndarray):
        return None, _of_array(fake, "fake", size), "array"
    expect(fake, PATH, "fake", "a Model, an array, a Dataset, or the path of a model or of images")
    path = Path(fake)
    is_model = (
        is_packaged(path)
        or hub.is_address(path)
        or path.suffix == ".safetensors"
        or (path / "generator.safetensors").is_file()
        or is_run(path)
        or importers.find(path) is not None
    )
    if is_model:
        return load(path, device=device, critic=critic), None, str(fake)
    if not path.exists():
        raise GanvasError(
            f"No model or images at {str(fake)!r}.{runs_near(path)} Give a run or snapshot folder, a model's file, or images as "
            "a folder, .zip, .npy or .npz."
        )
    return None, load_dataset(size.of(str(fake))), str(fake)


def given_as(
    fake: Fakes, given: Dataset, real: Dataset, size: Size = Size(), known: DataConfig | None = None
) -> Dataset:
    """Samples that are given scaled as the real ones are and not by themselves: series by their range, those of a file being cut
    anew (by the columns of `known`, as far as it has them), and grey pictures of more than 8 bits by the same white."""
    source = os.fspath(fake) if isinstance(fake, str | os.PathLike) else None
    if source is not None and given.white is not None:
        white = real.white or white_beside(given.white)
        return given if given.white == white else load_dataset(replace(size.of(source), white=white))
    if real.series is None or given.series in (None, real.series):
        return given
    if source is None:
        return scaled_as(given, real.series)
    plain = size.of(source)
    return load_dataset(plain if known is None else config_beside(known, plain), schema=real.series)


def _of_array(values: Array, name: str, size: Size) -> Dataset:
    """Images or points in memory as a data set; a fourth channel stays."""
    samples = arrays.as_samples(values, name).cpu()
    if size.resolution or size.resize or size.height:
        raise GanvasError(
            "resolution, resize and height are for files. Bring arrays to one size before: ganvas.data.resize."
        )
    mark = fingerprint(str(tuple(samples.shape)), samples.contiguous().numpy())
    return Dataset("array", samples, tuple(samples.shape[1:]), mark)


def _open_real(real: Reals | None, model: Model | None, size: Size) -> Dataset:
    if model is not None and size.alpha and model.shape[0] != 4:
        raise GanvasError("This model draws nothing transparent, which alpha (--alpha) would keep. Omit it.")
    if isinstance(real, Dataset):
        return real
    if isinstance(real, Tensor | np.ndarray):
        return _of_array(real, "real", size)
    if real is not None:
        expect(real, PATH, "real", "an array, a Dataset, a name of `ganvas list datasets` or a path")
        source = os.fspath(real)
        known = None if model is None else model.info.data
        if model is not None and known is not None and places(DataConfig(source)) == places(known.config):
            _check_unsized(size)
            return load_dataset(known.config, model.shape, model.info.series)
        if (
            model is not None and (size.resolution or size.height) is None
        ):  # any images, brought to what the model draws
            config = config_for(model, source)
            config = replace(config, resize=size.resize or config.resize)
            return load_beside(config, model.info.white, model.shape, model.info.series)
        wanted = size.of(source)
        if model is None:
            return load_dataset(wanted)
        return load_beside(replace(wanted, alpha=model.shape[0] == 4), model.info.white)
    if model is None:
        raise GanvasError("Samples of unknown origin need real data to compare with: --reference DATA.")
    _check_unsized(size)
    return load_data_of(model, option="--reference (real=)")[0]


def _has_changed(model: Model, real: Reals | None, dataset: Dataset) -> bool:
    """Whether real data lie where what the model was trained on lay, and are not that."""
    if model.info.data is None or isinstance(real, Dataset | Tensor | np.ndarray):
        return False
    config = model.info.data.config if real is None else DataConfig(os.fspath(real))
    return has_changed(model, dataset, config)


def _check_unsized(size: Size) -> None:
    """Raise `GanvasError` where somebody says how the data are brought to a size that the model was trained on."""
    if size.resolution or size.height or size.resize:
        raise GanvasError(
            "The reference is what the model was trained on, read as it was then: omit resolution, height and resize "
            "(--resolution, --height, --resize)."
        )


def _check_kind(fake: tuple[int, ...], real: Dataset) -> None:
    if kind_of(fake) != real.kind:
        raise GanvasError(f"The samples are {kind_of(fake)} and the reference {real.name} is {real.kind}.")
    if not real.is_images and tuple(fake) != tuple(real.shape):
        shapes = [" x ".join(map(str, shape)) for shape in (fake, real.shape)]
        raise GanvasError(
            f"The samples have {shapes[0]} numbers each and the reference {real.name} {shapes[1]}."
        )


def affordable(dataset: Dataset, count: int) -> int:
    """How many of so many samples are drawn where nobody says how many: all, but of large series and points of many numbers."""
    if dataset.is_images:
        return count
    return arrays.fitting(math.prod(dataset.shape), SERIES_HELD, count, sequences.LEAST)


def _keep(stream: Iterator[Tensor], kept: list[Tensor], count: int) -> Iterator[Tensor]:
    """Pass batches on and remember them while they are small: the report shows some, and nothing is drawn twice."""
    for batch in stream:
        if batch[0].numel() * count < 2**28:
            kept.append(batch.cpu())
        yield batch


def _known_modes(dataset: Dataset) -> tuple[Tensor, float] | None:
    exact = dataset.log_density
    return (exact.centres, exact.sigma) if isinstance(exact, toy.Mixture) else None


def _warnings(inputs: Inputs, values: Sequence[Value], count: int) -> list[str]:
    """Small N: what it does to the Frechet distance, estimated from the samples themselves."""
    found = next((value for value in values if value.name == "frechet"), None)
    dim = inputs.fake.features.shape[1]
    if found is None or (count >= SMALL_N and count > 5 * dim):
        return []
    text = f"N = {count:,} is small: the Frechet distance is biased upwards by about b / N"
    if count // 2 > dim:
        halves = np.array_split(
            inputs.fake.features[np.random.default_rng(inputs.seed).permutation(count)], 2
        )
        of_half = np.mean([frechet(half, inputs.real.features) for half in halves])
        # F(N) = F + b / N, so F(N / 2) - F(N) = b / N (Chong and Forsyth 2020).
        return [
            f"{text}, here about +{max(0.0, float(of_half) - found.value):.3g}. Compare with equal N only."
        ]
    return [f"{text}, and with {dim} features its covariance is rank-deficient. Compare with equal N only."]


def embed_reference(
    dataset: Dataset, extractor: Extractor, *, batch: int = 256, progress: Progress | None = None
) -> tuple[int, int]:
    """Embed the reference and held-out parts of a data set into the cache; their sizes."""
    if dist.spread():
        dist.check_alike("data", fingerprint=dataset.fingerprint, extractor=extractor.id)
    tell = progress or (lambda what, done, total: None)
    sizes = []
    for what, part in zip(("reference", "held out"), dataset.split(DataConfig().holdout), strict=True):
        embed_dataset(part, extractor, batch=batch, advance=counting(tell, what, len(part)))
        sizes.append(len(part))
    return sizes[0], sizes[1]
