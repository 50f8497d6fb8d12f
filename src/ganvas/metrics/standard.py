"""The metrics that `evaluate` knows, each a thin line over the pure functions."""

from collections.abc import Sequence

import numpy as np
import torch

from ganvas import dist
from ganvas.data.labels import shorten
from ganvas.features.base import MOST_ANSWERS, Features
from ganvas.features.stats import MAX_DIM, RunningMoments
from ganvas.metrics import kernel, memorisation, modes
from ganvas.metrics.base import BLOCKS, Inputs, Metric, Value, metrics
from ganvas.metrics.frechet import frechet, frechet_of_few, frechet_of_moments
from ganvas.metrics.inception_score import inception_score
from ganvas.metrics.resample import bootstrap, jackknife, standard_error
from ganvas.metrics.sliced import sliced_wasserstein

LONGEST_SHOWN = 60
"""Letters of a class's name in a message."""
MIN_KID = 100
LEAST_OF_CLASS = 10
"""Samples and real ones of a class below which it has no distance and no recall."""
KID_SUBSETS = 50
"""Half of the usual number: with many features they cost more than all other metrics together."""
SUBSET = 1000
"""Samples in a subset, and half of all at most: subsets of all have no spread, those of half spread as much as all may be off."""
PROJECTIONS = 256
SERIES = "series"
"""The metric that stands for all measures of series."""


def _frechet(inputs: Inputs) -> list[Value]:
    fake, real = inputs.fake.features, inputs.reference_moments
    if len(fake) <= fake.shape[1]:
        return [Value("frechet", frechet_of_few(fake, inputs.real.features, real), None, "")]
    blocks = inputs.fake_blocks
    whole = frechet_of_moments(RunningMoments.merge(blocks), real)
    if len(fake) * (BLOCKS - 1) // BLOCKS <= fake.shape[1]:
        return [Value("frechet", whole, None, "")]
    without = [
        frechet_of_moments(RunningMoments.merge(blocks[:i] + blocks[i + 1 :]), real)
        for i in dist.shard(range(BLOCKS))
    ]
    without = list(dist.collect(without))
    return [Value("frechet", whole, jackknife(without), "jackknife")]


def _kid(inputs: Inputs) -> list[Value]:
    size = min(SUBSET, len(inputs.fake.features) // 2, len(inputs.real.features) // 2)
    found = kernel.kid(
        inputs.fake.features,
        inputs.real.features,
        subsets=KID_SUBSETS,
        subset_size=size,
        seed=(2020 + inputs.seed) % 2**32,
    )
    return [Value("kid", found.mean, found.std, "subsets")]


def _kid_exact(inputs: Inputs) -> list[Value]:
    found = kernel.kid_exact(inputs.fake.features, inputs.real.features)
    return [Value("kid-exact", found.mean, found.std, "samples")]


def _inception_score(inputs: Inputs) -> list[Value]:
    probabilities = inputs.fake.probabilities
    assert probabilities is not None
    found = inception_score(
        probabilities, splits=min(10, len(probabilities)), seed=(2020 + inputs.seed) % 2**32
    )
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
    found = memorisation.copying_test(
        inputs.fake.features,
        inputs.real.features,
        inputs.held_out.features,
        seed=inputs.seed,
        groups=inputs.groups,
    )
    return [Value("data-copying", found.score, found.error, "samples")]


def _sliced(inputs: Inputs) -> list[Value]:
    fake, real = inputs.equal[:2]
    value = sliced_wasserstein(fake, real, projections=PROJECTIONS)
    without = []
    for part in inputs.parts(len(fake)):
        kept = torch.ones(len(fake), dtype=torch.bool)
        kept[part] = False
        if kept.any():
            without.append(sliced_wasserstein(fake[kept], real, projections=PROJECTIONS // 8))
    return [Value("sliced-wasserstein", value, jackknife(without), "jackknife")]


def _bins(inputs: Inputs) -> list[Value]:
    fake, real = inputs.equal[:2]
    ours, theirs = modes.bin_counts(fake, real, count=min(100, max(2, len(real) // 50)), seed=inputs.seed)
    found = modes.bins_of_counts(ours, theirs)
    errors = bootstrap(lambda counts: modes.bins_of_counts(counts, theirs), ours, inputs.seed, ("ndb", "jsd"))
    return [
        Value("ndb", found.ndb, errors[0], "bootstrap"), Value("bins-jsd", found.jsd, errors[1], "bootstrap")
    ]  # fmt: skip


def _per_class(inputs: Inputs) -> list[Value]:
    # Of a conditional model the pictures that were asked for: another class drawn in their place is what shall show.
    labels = inputs.seen_classes if inputs.fake_labels is None else inputs.fake_labels
    assert labels is not None
    assert inputs.real_labels is not None
    assert inputs.classes is not None
    values: list[Value] = []
    for label in inputs.classes:
        fake = inputs.fake.features[labels == label]
        real = inputs.real.features[inputs.real_labels == label]
        wanted = len(real) / len(inputs.real.features) * len(labels)
        if min(len(real), wanted) < LEAST_OF_CLASS:  # of what is rare in the data nothing can be said
            continue
        if len(fake) < LEAST_OF_CLASS:
            # A class that is (almost) not drawn has no distance.
            if inputs.fake_labels is None or not len(fake):
                values.append(Value(f"recall[{label}]", 0.0, None, ""))
            continue
        part = Inputs(Features(fake, None), Features(real, None), inputs.seed)
        values.append(Value(f"frechet[{label}]", frechet(fake, real), None, ""))
        values.append(_share(f"recall[{label}]", part.neighbours.near_fake))
    return values


def _modes(inputs: Inputs) -> list[Value]:
    seen, classes = inputs.seen_classes, inputs.classes
    assert seen is not None
    assert classes is not None
    assert inputs.real_labels is not None
    ours, theirs = (
        torch.bincount(torch.from_numpy(np.searchsorted(classes, labels)), minlength=len(classes))
        for labels in (seen, inputs.real_labels)
    )
    target = theirs.double() / theirs.sum()
    found = modes.mode_coverage_of_counts(ours, target)
    fields = ("modes", "reverse_kl")
    errors = bootstrap(
        lambda counts: modes.mode_coverage_of_counts(counts, target), ours, inputs.seed, fields
    )
    return [
        Value("modes", found.modes, errors[0], "bootstrap"),
        Value("reverse-kl", found.reverse_kl, errors[1], "bootstrap"),
    ]


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


def _share(name: str, hits: torch.Tensor) -> Value:
    return Value(name, float(hits.double().mean()), standard_error(hits.double()), "samples")


def _needs_logits(inputs: Inputs) -> str:
    if inputs.fake.logits is not None:
        return ""
    return f"the extractor is no classifier, or one of more than {MOST_ANSWERS:,} classes"


def _needs_classifier(inputs: Inputs) -> str:
    if inputs.real_labels is None:
        return "it needs labels of the reference"
    if inputs.seen_classes is not None:
        return ""
    names = ""
    if inputs.fake.logits is not None and inputs.are_named:
        names = f" ({_listed(inputs.class_names)}; this one's are {_listed(inputs.seen_names)})"
    if len(inputs.seen_names) > MOST_ANSWERS:
        return f"of more than {MOST_ANSWERS:,} classes it is not known which one each sample is of"
    return f"it needs a classifier of the reference's classes{names}: ganvas extractor train DATA, then --extractor FILE"


def _listed(names: Sequence[str]) -> str:
    return shorten([name[:LONGEST_SHOWN] for name in names])


def _needs_classes(inputs: Inputs) -> str:
    why = "" if inputs.fake_labels is not None else _needs_classifier(inputs)
    if why or inputs.real_labels is None:
        return why or "it needs labels of the reference"
    largest = np.unique(inputs.real_labels, return_counts=True)[1].max()
    of_fakes = largest / len(inputs.real.features) * len(inputs.fake.features)
    return (
        "" if min(largest, of_fakes) >= LEAST_OF_CLASS else f"it needs {LEAST_OF_CLASS} samples of some class"
    )


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


LOWER, HIGHER = "lower", "higher"


def _needs_series(inputs: Inputs) -> str:
    return "" if inputs.series is not None else "the samples are no series, or not known as such"


OF_SERIES = {
    "discriminative": "near 0", "predictive": LOWER, "tstr": HIGHER, "trts": HIGHER, "autocorrelation": LOWER, "spectrum": LOWER,
    "marginals": LOWER, "cross-correlation": LOWER, "frechet-encoder": LOWER, "lengths": LOWER,
    "near-training": "near 0.05", "nearer-than-held-out": "near 0.5",
}  # fmt: skip


def _series(inputs: Inputs) -> list[Value]:
    return _of_series(inputs, legacy=False)


def _series_legacy(inputs: Inputs) -> list[Value]:
    return _of_series(inputs, legacy=True)


def _of_series(inputs: Inputs, legacy: bool) -> list[Value]:
    assert inputs.series is not None
    found, count = inputs.series(legacy)
    inputs.figures |= {each.name: (each, count) for each in found}
    return [Value(f.name, f.value, f.error, "" if f.error is None else "samples") for f in found]


metrics.add(
    "frechet",
    Metric(_frechet, _needs_covariance, better={"frechet": LOWER}),
    "distance of two Gaussians fitted to features",
)
metrics.add(
    "kid", Metric(_kid, _needs_kid, better={"kid": LOWER}), "kernel distance, unbiased, mean of subsets"
)
metrics.add(
    "kid-exact",
    Metric(_kid_exact, _needs_two, False, {"kid-exact": LOWER}),
    "kernel distance over all pairs",
)
metrics.add(
    "inception-score",
    Metric(_inception_score, _needs_logits, better={"inception-score": HIGHER}),
    "sure and varied class scores",
)
metrics.add(
    "precision-recall",
    Metric(_precision_recall, _needs_neighbours, better={"precision": HIGHER, "recall": HIGHER}),
    "fakes near data, data near fakes; k=3",
)
metrics.add(
    "density-coverage",
    Metric(_density_coverage, _needs_neighbours, better={"density": "near 1", "coverage": HIGHER}),
    "the same, less moved by outliers; k=5",
)
metrics.add(
    "authenticity",
    Metric(_authenticity, _needs_neighbours, better={"authenticity": "near 0.5"}),
    "share of samples that are no copies",
)
metrics.add(
    "data-copying",
    Metric(_data_copying, _needs_held_out, better={"data-copying": "near 0"}),
    "C_T: below 0 by three errors copies, above underfits",
)
metrics.add(
    "ndb",
    Metric(_bins, _needs_bins, better={"ndb": LOWER, "bins-jsd": LOWER}),
    "bins of the data whose shares differ, and their divergence",
)
metrics.add(
    "sliced-wasserstein",
    Metric(_sliced, _needs_two, better={"sliced-wasserstein": LOWER}),
    "mean of one-dimensional transport costs",
)
metrics.add(
    "modes",
    Metric(_modes, _needs_classifier, better={"modes": HIGHER, "reverse-kl": LOWER}),
    "classes seen in the samples, and KL of their shares",
)
metrics.add(
    "per-class",
    Metric(_per_class, _needs_classes, False, {"frechet": LOWER, "recall": HIGHER}),
    "Frechet and recall of every class",
)
metrics.add(
    "points",
    Metric(
        _point_modes, _needs_points, better={"high-quality": HIGHER, "point-modes": HIGHER, "mode-jsd": LOWER}
    ),
    "high-quality share, modes, mode divergence",
)
metrics.add(
    "path-length",
    Metric(_path_length, _needs_path, False, {"path-length": LOWER}),
    "how far pictures move with the latent",
)
metrics.add(
    SERIES,
    Metric(_series, _needs_series, better=OF_SERIES),
    "series: a classifier's test, prediction, order, spectrum, copies",
)
metrics.add(
    "series-legacy",
    Metric(
        _series_legacy, _needs_series, False, {"discriminative-legacy": LOWER, "predictive-legacy": LOWER}
    ),
    "series: the published two scores, which are easily fooled",
)
