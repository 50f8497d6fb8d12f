"""Every metric in one pass: samples are drawn and embedded once, the reference comes from the cache."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ganvas.config import DataConfig, Resize
from ganvas.data import Dataset, load_dataset, toy
from ganvas.data.base import fingerprint
from ganvas.errors import GanvasError
from ganvas.features import Choice, Extractor, Features, embed, embed_dataset, open_extractor
from ganvas.features.cache import batches
from ganvas.latent.attributes import load_data_of
from ganvas.latent.space import LatentZ
from ganvas.metrics.base import Inputs, Value, metrics
from ganvas.metrics.frechet import frechet
from ganvas.metrics.path_length import PairedSpace, path_length
from ganvas.metrics.rows import Row
from ganvas.model import Model, is_packaged, load

Progress = Callable[[str, int, int], None]
"""(what is done, how many samples of it, of how many)"""
Fakes = Model | Dataset | Tensor | np.ndarray | str | os.PathLike[str]
SMALL_N = 10_000


@dataclass
class Evaluation:
    """What `evaluate` found."""

    rows: list[Row]
    skipped: dict[str, str]
    """Metric -> why it was left out."""
    warnings: list[str]
    inputs: Inputs = field(repr=False)
    samples: Tensor | None = field(default=None, repr=False)
    """The fakes, when they were few enough to keep."""
    reference: Dataset | None = field(default=None, repr=False)

    def __getitem__(self, metric: str) -> float:
        """The value of one metric."""
        for row in self.rows:
            if row.metric == metric:
                return row.value
        why = self.skipped.get(metric, "it was not asked for")
        raise KeyError(f"{metric}: {why}")


def evaluate(
    fake: Fakes,
    real: Dataset | str | os.PathLike[str] | None = None,
    metrics: str | Sequence[str] = "all",
    *,
    n: int = 10_000,
    extractor: Choice = "auto",
    seed: int = 0,
    batch: int = 256,
    device: str = "auto",
    floor: bool = True,
    resolution: int | None = None,
    resize: Resize | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Measure samples against real data.

    `fake` is a model or its path, images as an array or tensor (uint8 N C H W), a folder, .zip, .npy or .npz of
    images, or a `Dataset`. `real` is a data set or its name; a model's own training data by default. A tenth of it
    (the part that ganvas never trains on) is kept out of the reference: it scores the floor, and tests for copies.
    `metrics` are names from `ganvas list metrics`, or `all`. The fakes are embedded once; the reference is embedded
    once ever for each extractor. `resolution` and `resize` bring folders of mixed sizes to one.
    Raises `GanvasError` for what the caller can fix.
    """
    names = _names(metrics)
    model, given, source = _open_fake(fake, device, resolution, resize)
    dataset = _open_real(real, model, resolution, resize)
    data = model.config.data if model else DataConfig()
    reference, held_out = dataset.split(data.holdout, data.fold)
    chosen = open_extractor(extractor, dataset, device)
    tell = progress or (lambda what, done, total: None)

    if model is not None:
        count = n
        stream = model.batches(n, seed=seed, batch=batch)
        labels = model.labels(n)
    else:
        assert given is not None
        _check_kind(given, dataset)
        count = min(n, len(given))
        part = replace(given, indices=_first(given, count, seed))
        stream = batches(part, batch)
        labels = (
            None if given.labels is None or given.class_names != dataset.class_names else part.take_labels()
        )
    kept: list[Tensor] = []
    fakes = embed(chosen, _keep(stream, kept, count), _teller(tell, "samples", count))
    real_features = embed_dataset(
        reference, chosen, batch=batch, advance=_teller(tell, "reference", len(reference))
    )
    held = None
    if len(held_out) > 1:
        held = embed_dataset(held_out, chosen, batch=batch, advance=_teller(tell, "held out", len(held_out)))

    inputs = Inputs(
        fakes,
        real_features,
        seed,
        fake_labels=None if labels is None else labels.numpy(),
        real_labels=None if reference.labels is None else reference.take_labels().numpy(),
        held_out=held,
        modes=_known_modes(dataset),
        path=None
        if model is None
        else (lambda: path_length(PairedSpace(LatentZ(model)), n=min(n, 2000), seed=seed)),
    )
    values, skipped = _compute(inputs, names)
    floors: dict[str, float] = {}
    floor_n = 0
    if floor and held is not None:
        floor_n = min(len(held.features), count)
        subject = Features(held.features[:floor_n], None if held.logits is None else held.logits[:floor_n])
        of_held_out = Inputs(
            subject, real_features, seed, real_labels=inputs.real_labels, modes=inputs.modes,
        )  # fmt: skip
        floors = {value.name: value.value for value in _compute(of_held_out, names)[0]}
    warnings = _warnings(inputs, values, count)
    rows = [
        Row(
            metric=value.name, value=value.value, error=value.error, error_kind=value.kind,
            floor=floors.get(value.name), floor_n=floor_n if value.name in floors else 0, n=count,
            reference_n=len(reference), seed=seed, extractor=chosen.id, resize=chosen.resize, reference=dataset.name,
            fingerprint=reference.fingerprint, source=source, snapshot=str(model.path or "") if model else "",
            kimg=model.info.get("kimg") if model else None,
        )
        for value in values
    ]  # fmt: skip
    samples = torch.cat(kept) if kept else None
    return Evaluation(rows, skipped, warnings, inputs, samples, reference)


def _names(asked: str | Sequence[str]) -> list[str]:
    words = asked.split(",") if isinstance(asked, str) else list(asked)
    if words == ["all"]:
        return [name for name in metrics if metrics.get(name).default]
    for name in words:
        metrics.get(name)
    if not words:
        raise GanvasError("No metric was asked for. See: ganvas list metrics.")
    return words


def _compute(inputs: Inputs, names: Sequence[str]) -> tuple[list[Value], dict[str, str]]:
    values: list[Value] = []
    skipped: dict[str, str] = {}
    for name in names:
        metric = metrics.get(name)
        if why := metric.fits(inputs):
            skipped[name] = why
        else:
            values += metric.compute(inputs)
    return values, skipped


def _open_fake(
    fake: Fakes, device: str, resolution: int | None, resize: Resize | None
) -> tuple[Model | None, Dataset | None, str]:
    if isinstance(fake, Model):
        return fake, None, str(fake.path or "model")
    if isinstance(fake, Dataset):
        return None, fake, fake.name
    if isinstance(fake, Tensor | np.ndarray):
        tensor = torch.as_tensor(fake)
        points = tensor.dim() == 2 and tensor.is_floating_point()
        if not points and (tensor.dim() != 4 or tensor.dtype != torch.uint8):
            raise GanvasError(
                f"Samples have shape {tuple(tensor.shape)} and type {tensor.dtype}; expected uint8 images (N, C, H, W) "
                "or float points (N, D)."
            )
        kept = tensor.float() if points else tensor
        return (
            None,
            Dataset("array", kept, tuple(kept.shape[1:]), fingerprint(kept.numpy().tobytes())),
            "array",
        )
    path = Path(fake)
    is_model = (
        is_packaged(path)
        or path.suffix == ".safetensors"
        or any((path / name).is_file() for name in ("config.json", "generator.safetensors"))
    )
    if is_model:
        return load(path, device=device, critic=False), None, str(fake)
    if not path.exists():
        raise GanvasError(
            f"No model or images at {str(fake)!r}. Give a run or snapshot folder, a .safetensors file, or images as a "
            "folder, .zip, .npy or .npz."
        )
    return None, load_dataset(DataConfig(str(fake), resolution, resize)), str(fake)


def _open_real(
    real: Dataset | str | os.PathLike[str] | None,
    model: Model | None,
    resolution: int | None,
    resize: Resize | None,
) -> Dataset:
    if isinstance(real, Dataset):
        return real
    if real is not None:
        source = os.fspath(real)
        if model is not None and source and source == model.config.data.source and not model.config.data.also:
            return load_dataset(model.config.data)
        return load_dataset(DataConfig(source, resolution, resize))
    if model is None:
        raise GanvasError("Images of unknown origin need real data to compare with: --reference DATA.")
    return load_data_of(model, option="--reference (real=)")[0]


def _check_kind(fake: Dataset, real: Dataset) -> None:
    if fake.is_images != real.is_images:
        kinds = [("images" if d.is_images else "points") for d in (fake, real)]
        raise GanvasError(f"The samples are {kinds[0]} and the reference {real.name} is {kinds[1]}.")


def _first(dataset: Dataset, count: int, seed: int) -> Tensor:
    order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(seed))[:count].sort().values
    return order if dataset.indices is None else dataset.indices[order]


def _keep(stream: Iterator[Tensor], kept: list[Tensor], count: int) -> Iterator[Tensor]:
    """Pass batches on and remember them while they are small: the report shows some, and nothing is drawn twice."""
    for batch in stream:
        if batch[0].numel() * count < 2**28:
            kept.append(batch.cpu())
        yield batch


def _teller(tell: Progress, what: str, total: int) -> Callable[[int], None]:
    done = 0

    def advance(more: int) -> None:
        nonlocal done
        done += more
        tell(what, done, total)

    return advance


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
    tell = progress or (lambda what, done, total: None)
    sizes = []
    for what, part in zip(("reference", "held out"), dataset.split(DataConfig().holdout), strict=True):
        embed_dataset(part, extractor, batch=batch, advance=_teller(tell, what, len(part)))
        sizes.append(len(part))
    return sizes[0], sizes[1]
