"""The metrics that `evaluate` knows, each a thin line over the pure functions."""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from ganvas.features.base import Features
from ganvas.features.stats import MAX_DIM, RunningMoments
from ganvas.metrics import kernel, memorisation, modes
from ganvas.metrics.arrays import standard_error
from ganvas.metrics.base import BLOCKS, Inputs, Metric, Value, metrics
from ganvas.metrics.frechet import frechet, frechet_of_moments
from ganvas.metrics.inception_score import inception_score
from ganvas.metrics.sliced import sliced_wasserstein

MIN_KID = 100
KID_SUBSETS = 50
"""Half of the usual number: with many features they cost more than all other metrics together."""
PROJECTIONS = 256


def _frechet(inputs: Inputs) -> list[Value]:
    blocks, real = inputs.fake_blocks, inputs.reference_moments
    if len(inputs.fake.features) <= inputs.fake.features.shape[1]:
        value = frechet(inputs.fake.features, inputs.real.features)
        return [Value("frechet", value, None, "")]
    whole = frechet_of_moments(RunningMoments.merge(blocks), real)
    if len(inputs.fake.features) * (BLOCKS - 1) // BLOCKS <= inputs.fake.features.shape[1]:
        return [Value("frechet", whole, None, "")]
    without = [
        frechet_of_moments(RunningMoments.merge(blocks[:i] + blocks[i + 1 :]), real) for i in range(BLOCKS)
    ]
    return [Value("frechet", whole, _jackknife(without), "jackknife")]


def _kid(inputs: Inputs) -> list[Value]:
    size = min(1000, len(inputs.fake.features), len(inputs.real.features))
    found = kernel.kid(
        inputs.fake.features,
        inputs.real.features,
        subsets=KID_SUBSETS,
        subset_size=size,
        seed=2020 + inputs.seed,
    )
    return [Value("kid", found.mean, found.std, "subsets")]


def _kid_exact(inputs: Inputs) -> list[Value]:
    found = kernel.kid_exact(inputs.fake.features, inputs.real.features)
    return [Value("kid-exact", found.mean, found.std, "samples")]


def _inception_score(inputs: Inputs) -> list[Value]:
    probabilities = inputs.fake.probabilities
    assert probabilities is not None
    found = inception_score(probabilities, splits=min(10, len(probabilities)), seed=2020 + inputs.seed)
    return [Value("inception-score", found.mean, found.std, "subsets")]


def _precision_recall(inputs: Inputs) -> list[Value]:
    found = inputs.neighbours
    return [_share("precision", found.near_real), _share("recall", found.near_fake)]


def _density_coverage(inputs: Inputs) -> list[Value]:
    found = inputs.neighbours
    density = Value("density", float(found.balls.mean()), standard_error(found.balls), "samples")
    return [density, _share("coverage", found.covered)]


def _authenticity(inputs: Inputs) -> list[Value]:
    return [_share("authenticity", inputs.nearest.distance > inputs.nearest.spacing)]


def _data_copying(inputs: Inputs) -> list[Value]:
    assert inputs.held_out is not None
    value = memorisation.data_copying(
        inputs.fake.features, inputs.real.features, inputs.held_out.features, seed=inputs.seed
    )
    return [Value("data-copying", value, 1.0, "samples")]


def _sliced(inputs: Inputs) -> list[Value]:
    fake, real = inputs.equal[:2]
    value = sliced_wasserstein(fake, real, projections=PROJECTIONS)
    parts = torch.arange(len(fake)) % BLOCKS
    without = [
        sliced_wasserstein(fake[parts != i], real, projections=PROJECTIONS // 8) for i in range(BLOCKS)
    ]
    return [Value("sliced-wasserstein", value, _jackknife(without), "jackknife")]


def _bins(inputs: Inputs) -> list[Value]:
    fake, real = inputs.equal[:2]
    ours, theirs = modes.bin_counts(fake, real, count=min(100, max(2, len(real) // 50)), seed=inputs.seed)
    names = {"ndb": "ndb", "bins-jsd": "jsd"}
    return _bootstrapped(lambda counts: modes.bins_of_counts(counts, theirs), ours, inputs.seed, names)


def _per_class(inputs: Inputs) -> list[Value]:
    labels = fake_classes(inputs)
    assert labels is not None
    assert inputs.real_labels is not None
    values: list[Value] = []
    for label in np.unique(inputs.real_labels):
        fake = inputs.fake.features[labels == label]
        real = inputs.real.features[inputs.real_labels == label]
        if min(len(fake), len(real)) < 10:  # a class that is (almost) not drawn has no distance and no recall
            values.append(Value(f"recall[{label}]", 0.0, None, ""))
            continue
        part = Inputs(Features(fake, None), Features(real, None), inputs.seed)
        values.append(Value(f"frechet[{label}]", frechet(fake, real), None, ""))
        values.append(_share(f"recall[{label}]", part.neighbours.near_fake))
    return values


def _modes(inputs: Inputs) -> list[Value]:
    labels = fake_classes(inputs)
    assert labels is not None
    assert inputs.real_labels is not None
    count = int(inputs.real_labels.max()) + 1
    target = torch.bincount(torch.from_numpy(inputs.real_labels), minlength=count).double()
    target /= target.sum()
    ours = torch.bincount(torch.from_numpy(labels), minlength=count)
    names = {"modes": "modes", "reverse-kl": "reverse_kl"}
    return _bootstrapped(
        lambda counts: modes.mode_coverage_of_counts(counts, target), ours, inputs.seed, names
    )


def _point_modes(inputs: Inputs) -> list[Value]:
    assert inputs.modes is not None
    found = modes.point_modes(inputs.fake.features, torch.as_tensor(inputs.modes[0]), inputs.modes[1])
    spread = (found.high_quality * (1 - found.high_quality) / len(inputs.fake.features)) ** 0.5
    return [
        Value("high-quality", found.high_quality, spread, "samples"),
        Value("point-modes", found.modes, None, ""),
        Value("mode-jsd", found.jsd, None, ""),
    ]


def _path_length(inputs: Inputs) -> list[Value]:
    assert inputs.path is not None
    return [Value("path-length", *inputs.path(), "samples")]


def _jackknife(without: Sequence[float]) -> float:
    """Standard error from the values with one block left out in turn (Efron and Stein 1981)."""
    return float(np.sqrt((len(without) - 1) * np.var(without)))


def _bootstrapped(
    figures: Callable[[torch.Tensor], object],
    counts: torch.Tensor,
    seed: int,
    names: dict[str, str],
    times: int = 100,
) -> list[Value]:
    """Figures of counts, by name and field; their errors from as many samples again out of the shares found."""
    total = int(counts.sum())
    redrawn = np.random.default_rng(seed).multinomial(total, (counts.double() / total).numpy(), times)
    found, again = figures(counts), [figures(torch.from_numpy(drawn)) for drawn in redrawn]
    return [
        Value(name, getattr(found, field), float(np.std([getattr(a, field) for a in again])), "bootstrap")
        for name, field in names.items()
    ]


def fake_classes(inputs: Inputs) -> np.ndarray | None:
    """Class of every fake: the one asked of the generator, else the one that the extractor's classifier sees."""
    if inputs.fake_labels is not None:
        return inputs.fake_labels
    logits = inputs.fake.logits
    if logits is None or inputs.real_labels is None or logits.shape[1] != int(inputs.real_labels.max()) + 1:
        return None
    classes: np.ndarray = logits.argmax(1)
    return classes


def _share(name: str, hits: torch.Tensor) -> Value:
    return Value(name, float(hits.double().mean()), standard_error(hits.double()), "samples")


def _needs_logits(inputs: Inputs) -> str:
    return "" if inputs.fake.logits is not None else "the extractor is no classifier"


def _needs_classes(inputs: Inputs) -> str:
    return "" if fake_classes(inputs) is not None else "it needs labels of the reference and of the samples"


def _needs_kid(inputs: Inputs) -> str:
    found = min(len(inputs.fake.features), len(inputs.real.features))
    return "" if found >= MIN_KID else f"it needs {MIN_KID} samples"


def _needs_two(inputs: Inputs) -> str:
    return "" if min(len(inputs.fake.features), len(inputs.real.features)) >= 2 else "it needs two samples"


def _needs_covariance(inputs: Inputs) -> str:
    if inputs.fake.features.shape[1] > MAX_DIM:
        return f"it takes at most {MAX_DIM:,} features, these have {inputs.fake.features.shape[1]:,}"
    return _needs_two(inputs)


def _needs_neighbours(inputs: Inputs) -> str:
    return (
        ""
        if min(len(inputs.fake.features), len(inputs.real.features)) > 5
        else "it needs more than 5 samples"
    )


def _needs_held_out(inputs: Inputs) -> str:
    if inputs.held_out is None:
        return "it needs held-out real samples"
    return (
        ""
        if min(len(inputs.held_out.features), len(inputs.fake.features)) >= 60
        else "it needs 60 held-out samples"
    )


def _needs_bins(inputs: Inputs) -> str:
    found = min(len(inputs.fake.features), len(inputs.real.features))
    return "" if found >= 200 else "it needs 200 samples"


def _needs_points(inputs: Inputs) -> str:
    return "" if inputs.modes is not None else "it needs data with known centres (toy:grid25, toy:ring8)"


def _needs_path(inputs: Inputs) -> str:
    return "" if inputs.path is not None else "it needs a generator, not images alone"


metrics.add("frechet", Metric(_frechet, _needs_covariance), "distance of two Gaussians fitted to features")
metrics.add("kid", Metric(_kid, _needs_kid), "kernel distance, unbiased, mean of subsets")
metrics.add("kid-exact", Metric(_kid_exact, _needs_two, False), "kernel distance over all pairs")
metrics.add("inception-score", Metric(_inception_score, _needs_logits), "sure and varied class scores")
metrics.add(
    "precision-recall", Metric(_precision_recall, _needs_neighbours), "fakes near data, data near fakes; k=3"
)
metrics.add(
    "density-coverage", Metric(_density_coverage, _needs_neighbours), "the same, less moved by outliers; k=5"
)
metrics.add("authenticity", Metric(_authenticity, _needs_neighbours), "share of samples that are no copies")
metrics.add("data-copying", Metric(_data_copying, _needs_held_out), "C_T: below -3 copies, above 3 underfits")
metrics.add("ndb", Metric(_bins, _needs_bins), "bins of the data whose shares differ, and their divergence")
metrics.add("sliced-wasserstein", Metric(_sliced, _needs_two), "mean of one-dimensional transport costs")
metrics.add("modes", Metric(_modes, _needs_classes), "classes drawn, and KL of their shares")
metrics.add("per-class", Metric(_per_class, _needs_classes, False), "Frechet and recall of every class")
metrics.add("points", Metric(_point_modes, _needs_points), "high-quality share, modes, mode divergence")
metrics.add("path-length", Metric(_path_length, _needs_path, False), "how far pictures move with the latent")
