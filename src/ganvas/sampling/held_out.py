"""Real data that nothing was trained on: one half calibrates what guides a sampler, the other judges it."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from ganvas import arrays, dist
from ganvas.cache import cache_folder
from ganvas.data import Dataset
from ganvas.data.base import fingerprint
from ganvas.data.labels import shorten
from ganvas.device import resolve_device
from ganvas.errors import GanvasError
from ganvas.features import Choice, Extractor, classifier, open_extractor
from ganvas.features.cache import LONGEST_NAME
from ganvas.latent import LatentZ
from ganvas.latent.critic import judges_alone
from ganvas.model import Model
from ganvas.model_data import CHANGED, class_names, classifier_of, has_changed, is_own, load_data_of
from ganvas.notebook import shown
from ganvas.sampling.calibration import Method
from ganvas.sampling.critics import FeatureCritic, pool_of
from ganvas.sampling.ratio import LEAST_REAL, LogRatio, Which, fit_ratio
from ganvas.types import Progress


@shown
def calibrate_model(
    model: Model,
    data: str | None = None,
    *,
    critic: Which | Callable[[Tensor, Tensor | None], Tensor] = "auto",
    method: Method = "auto",
    seed: int = 0,
    judged: bool = False,
    progress: Progress | None = None,
) -> tuple[LogRatio, Dataset]:
    """The ratio of a model by its own data (or `data`), and the half of the held-out part it has not seen.

    `judged`: that half will judge what the ratio guides, so there must be enough for both. Otherwise, where
    the held-out part is only just enough, all of it calibrates. The rest as for `fit_ratio`.
    Raises `GanvasError` where the data are not at hand or too few.
    """
    seed = arrays.seed(seed)
    dataset, config = load_data_of(model, data)
    if dist.spread():
        dist.check_alike("models or data", weights=model.hash, data=dataset.fingerprint, seed=seed)
    if model.generator.num_classes and dataset.labels is None:
        named = shorten(class_names(model)) or f"0 to {model.generator.num_classes - 1}"
        raise GanvasError(
            f"The model draws classes, and {dataset.name} has no labels or those of others. Give data with its own: {named}."
        )
    seen = classifier_of(model)
    fits = seen is not None and tuple(seen.network.shape) == tuple(model.shape)
    share, need = config.holdout, LEAST_REAL * (2 if judged else 1)
    # Of other data nothing was trained on: as much as is needed may be held out.
    own = is_own(model, dataset, config)
    if not own:
        share = max(share, min(0.5, 2 * LEAST_REAL / len(dataset)))
    train, held = dataset.split(share, config.fold)
    if len(held) < need:
        halves = ", half of them to judge by" if judged else ""
        more = ", or train with --set data.holdout=0.5" if own and len(dataset) // 2 >= need else ""
        raise GanvasError(
            f"This needs {need} real samples that the model was not trained on{halves}; "
            f"of {dataset.name} there are {len(held)}. Give {2 * need} others or more with --data{more}."
        )
    assert held.indices is not None
    guide, judge = (replace(held, indices=held.indices[i::2]) for i in (0, 1))
    if judged and held.spans is not None:
        # Of windows that overlap every second one would judge by the steps that guided.
        guide, judge = held.halves(LEAST_REAL)
    if len(guide) < LEAST_REAL:
        guide = held

    def some(part: Dataset, most: int) -> Dataset:
        return part.subset(torch.randperm(len(part), generator=torch.Generator().manual_seed(seed))[:most])

    guide = some(guide, len(guide))
    real, labels = guide.take(torch.arange(len(guide)))
    learns = critic in ("fresh", "features") or (
        critic == "auto" and ((seen is not None and fits) or not judges_alone(model) or len(model.shape) != 3)
    )
    few = some(train, pool_of(model.shape)) if learns else None
    taught = None if few is None else few.take(torch.arange(len(few)))
    ratio = fit_ratio(
        LatentZ(model),
        real,
        labels,
        train=taught,
        guide=seen.network if seen is not None and fits else None,
        critic=critic,
        method=method,
        seed=seed,
        groups=guide.stretches,
        progress=progress,
    )
    if model.info.data is None:
        ratio.report.warnings.append(
            "It is not known what this model was trained on: held-out samples may be among it, and judged "
            "too well."
        )
    elif has_changed(model, dataset, config):
        ratio.report.warnings.append(
            f"{dataset.name} {CHANGED}: held-out samples may be among it, and judged too well."
        )
    if (
        seen is not None
        and ratio.report.critic == "features"
        and (told := classifier.learned(seen, dataset, guide))
    ):
        ratio.report.warnings.append(
            f"{told}, by which the critic tells them from generated ones better than it would others: AUC and KL may be too "
            "high. --critic fresh does not look through it."
        )
    return ratio, judge


def guided_by(ratio: LogRatio, extractor: Extractor) -> bool:
    """Whether the ratio's critic sees the features of this very extractor, which then cannot judge."""
    if not isinstance(ratio.network, FeatureCritic) or not isinstance(
        extractor, classifier.ClassifierExtractor
    ):
        return False
    mine, guide = extractor.network.state_dict(), ratio.network.guide.state_dict()
    return mine.keys() == guide.keys() and all(torch.equal(mine[k].cpu(), guide[k].cpu()) for k in mine)


def independent_extractor(
    ratio: LogRatio,
    held_out: Dataset,
    name: Choice = "auto",
    *,
    device: str = "auto",
    guide: str = "",
    progress: Progress | None = None,
) -> Extractor:
    """An extractor that the ratio was not made with, to judge what the ratio guides.

    `auto` is that of `evaluate` unless the ratio's critic sees by it: then a classifier of another kind is
    trained once on what was not held out, and kept in the user's cache. `guide` has guided the model's training (`Model.info`).
    Raises `GanvasError` when an extractor was named and it is the guide.
    """
    usual = open_extractor(name, held_out, device, guide=guide)
    if not guided_by(ratio, usual):
        return usual
    if name != "auto":
        raise GanvasError(
            f"The critic was trained on the features of {usual.id}, which cannot judge what it guides."
        )
    here, tell = resolve_device(device), progress or (lambda what, done, total: None)
    assert held_out.indices is not None
    # Of another part that was held out it is another one, which has not learned from this one.
    part = fingerprint(held_out.fingerprint, held_out.indices.sort().values.numpy().tobytes())
    name = held_out.name[:LONGEST_NAME]
    path = cache_folder() / "extractors" / f"residual-{name}-{part}.safetensors"
    if path.is_file():
        with suppress(GanvasError):  # one that is damaged is trained anew
            return classifier.load(path, here)
    rest = torch.ones(len(held_out.items), dtype=torch.bool)
    rest[held_out.indices] = False
    trained = classifier.train_on(
        replace(held_out, indices=rest.nonzero()[:, 0]),
        held_out,
        seed=1,
        body="residual",
        device=here,
        advance=lambda share: tell("a classifier of another kind to judge by", round(1000 * share), 1000),
    )
    named: tuple[str, Mapping[str, object]] = (f"judge-{held_out.name}", {"data": part, "seed": 1})
    try:
        classifier.save(path, trained, *named)
        return classifier.load(path, here)
    except GanvasError:
        # A cache that is full, or cannot be written: the classifier lives as long as this process.
        with TemporaryDirectory() as elsewhere:
            path = Path(elsewhere) / path.name
            classifier.save(path, trained, *named)
            return classifier.load(path, here)
