"""A 2-D map of a model: where samples lie, how dense, what the critic says of them, what clusters, what is missing.

Distances are those of features: the bundled classifier's where the model's data have one, else image
pyramids.
"""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganvas import arrays
from ganvas.errors import GanvasError, counted, install
from ganvas.features.base import Extractor, Raw, Wrapped, embed
from ganvas.latent.attributes import attributes_of
from ganvas.latent.critic import CRITIC_SCORE
from ganvas.latent.jacobian import spectrum
from ganvas.latent.paths import rows_seen, small_pyramid
from ganvas.latent.space import LatentSpace
from ganvas.latent.statistics import MANY, participation, sample_dimension
from ganvas.model import Model
from ganvas.model_data import class_names, classifier_of
from ganvas.networks import from_uint8
from ganvas.notebook import shown
from ganvas.pictures import smaller
from ganvas.types import Progress, silent

Array = NDArray[np.float64]
Method = Literal["pca", "tsne", "umap"]
NEIGHBOURS = 5
MOST_CLUSTERS = 15
BLOCK = 200
"""Samples, and real images, that holes are looked for among at a time: what is covered depends on both numbers."""
FEWEST = 50
"""Samples of a map, and real images that copies are compared with."""
LARGEST = 256
"""Pixels of the longer side of the pictures that a map keeps."""
HELD = 2**31
"""Bytes of samples and features that a map may hold; of the latter there are two copies for a while."""
HELD_OF_SERIES, ROWS, EACH = 3 * 2**29, 256, 64
"""The same of series, whose features are as large as they are and held three times; and in how many rows scikit-learn looks
for neighbours, with how many bytes for each of their numbers."""
ROUNDING = 3e-7
"""Of features, as a share of their length."""


@dataclass(frozen=True)
class Cluster:
    """One group of samples."""

    number: int
    share: float
    """Of all samples."""
    real_share: float | None
    """Of the real images that are nearest to this group; None without real images."""
    typical: tuple[int, ...]
    """Samples nearest to its middle."""
    extreme: tuple[int, ...]
    """Its samples furthest from their neighbours."""
    label: str
    """Commonest class by the classifier, and its share: `93% Sandal`; empty without one."""


@dataclass(frozen=True)
class Holes:
    """Real images that have no sample near."""

    share: float
    error: float
    """Its standard error."""
    floor: float
    """The share that real images in the samples' place would leave."""
    uncovered: NDArray[np.bool_]
    """(b,) of the first b rows of the real images that `find_holes` was given, whole blocks."""


@dataclass(frozen=True)
class Map:
    """n samples on a plane."""

    samples: Tensor = field(repr=False)
    """uint8 (n, C, H, W), or points; sample i is that of `model.sample(n, seed=seed)`, above `LARGEST` px a fraction of it."""
    places: Array
    """(n, 2)"""
    values: dict[str, Array]
    """What to colour by (n,): `density`, `critic-score` with a critic, `class` with a classifier, attributes."""
    clusters: tuple[Cluster, ...]
    cluster_of: NDArray[np.int64]
    """(n,)"""
    nearest_real: NDArray[np.int64] | None
    """Position of the nearest real image of each sample (n,)."""
    real: Tensor | None = field(repr=False)
    """The real images that were compared with, as small as the samples."""
    real_places: Array | None
    """Real images on the map, at the mean place of their nearest samples (m, 2)."""
    holes: "Holes | None"
    """None without `BLOCK` real images."""
    dimension: float
    """Intrinsic dimension of the samples' features (TwoNN); 0 where nearly all are copies of each other."""
    spectrum: Array
    """Eigenvalues of the mean metric of the space, largest first, as shares; empty for large spaces."""
    words: tuple[str, ...] = field(default=())
    """What the map says."""


def extractor_of(model: Model) -> Extractor:
    """What distances on the map are measured by: the bundled classifier, else image pyramids; points as they are."""
    if len(model.shape) != 3:
        return Raw()

    def image_pyramid(samples: Tensor) -> Tensor:
        return small_pyramid(from_uint8(samples, model.generator.value_range))

    return classifier_of(model) or Wrapped(image_pyramid, model.device)


def place(features: Array, method: Method, seed: int = 0) -> Array:
    """Features (n, F) -> places (n, 2). t-SNE and UMAP keep neighbourhoods, PCA keeps distances."""
    from sklearn.decomposition import PCA

    if features.shape[1] == 1:  # a place on a line
        features = np.pad(features, ((0, 0), (0, 1)))
    if not (features != features[0]).any():
        return np.zeros((len(features), 2))  # a collapsed model: nothing is apart
    few = PCA(min(50, *features.shape), random_state=seed).fit_transform(features)
    if method == "pca":
        return np.asarray(few[:, :2])
    if method == "umap":
        if find_spec("umap") is None:
            raise GanvasError(f"--method umap needs umap-learn: {install('maps')}. Or use tsne or pca.")
        import umap

        return np.asarray(umap.UMAP(random_state=seed, n_jobs=1).fit_transform(few), np.float64)
    if method != "tsne":
        raise GanvasError(f"Unknown method {method!r}. Use pca, tsne or umap.")
    from sklearn.manifold import TSNE

    perplexity = min(30.0, (len(few) - 1) / 3)
    return np.asarray(
        TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(few), np.float64
    )


def colors(space: LatentSpace) -> list[str]:
    """The names of `Map.values`, before a map is drawn."""
    model = space.model
    scored = [CRITIC_SCORE] if space.scorer is not None else []
    classified = ["class"] if len(model.shape) == 3 and classifier_of(model) is not None else []
    return ["density", *scored, *classified, *attributes_of(model)]


def _kept(samples: Tensor) -> Tensor:
    """uint8 images (n, C, H, W) at a whole fraction of their size, `LARGEST` px at most; other samples as they are."""
    return samples if samples.dim() != 4 else smaller(samples, -(-max(samples.shape[2:]) // LARGEST))


class _Looked:
    """Samples of a map, seen part by part in their full size: 3,000 of 1,024 px are 9 GB."""

    def __init__(self, space: LatentSpace, n: int) -> None:
        self.space, self.n, self.scorer = space, n, space.scorer
        self.samples = torch.empty(0)
        """As the map keeps them."""
        self.values: dict[str, Tensor] = {}
        """What is measured of whole ones, by name."""

    def parts(self, seed: int, size: int) -> Iterator[Tensor]:
        """All of them, `size` at most at a time."""
        model, done = self.space.model, 0
        measures, labels = attributes_of(model), model.labels(self.n)
        for batch in model.batches(self.n, seed=seed):
            for part in batch.cpu().split(size):
                rows = slice(done, done + len(part))
                small = _kept(part)
                # One piece of memory: of a list and its whole there would be two.
                self.samples = self.samples if done else small.new_empty(self.n, *small.shape[1:])
                self.samples[rows] = small
                if self.scorer is not None:
                    label = None if labels is None else labels[rows]
                    self._note(CRITIC_SCORE, rows, self.scorer.scores(part, label))
                for name, measure in measures.items():
                    self._note(name, rows, measure(part).double().cpu())
                done += len(part)
                yield part

    def _note(self, name: str, rows: slice, found: Tensor) -> None:
        # Of one piece: a few numbers kept of each part lie where its pictures were, and the next ones are put behind them.
        if name not in self.values:
            self.values[name] = found.new_empty(self.n)
        self.values[name][rows] = found


@shown
def draw_map(
    space: LatentSpace,
    n: int = 3000,
    method: Method = "tsne",
    seed: int = 0,
    real: Tensor | None = None,
    progress: Progress = silent,
) -> Map:
    """Map n samples of `seed`; with `real` (uint8 images, or points) holes, copies and nearest real images are found too.

    `progress` hears what is being done. Raises `GanvasError` for fewer than 50 samples and for real images
    of another size.
    """
    model = space.model
    n, seed = arrays.count(n, "n, the number of samples of a map,", FEWEST), arrays.seed(seed)
    real = None if real is None else arrays.as_samples(real, "real", len(model.shape) == 2)
    if real is not None:
        model.check_shape(real, "real images")
    progress("samples", 0, 1)
    extractor = extractor_of(model)
    size = rows_seen(space)
    looked = _Looked(space, n)
    _check_room(model, extractor, n)
    found = embed(extractor, looked.parts(seed, size))
    features, logits = _digits(found.features), found.logits
    del found
    progress(f"places by {method}", 0, 1)
    places = place(features, method, seed)
    progress("neighbours and clusters", 0, 1)
    from sklearn.neighbors import NearestNeighbors

    neighbours = NearestNeighbors(n_neighbors=min(NEIGHBOURS, n - 1)).fit(features)
    away, _ = neighbours.kneighbors()
    values: dict[str, Array] = {"density": -np.log(away.mean(1) + 1e-12)}
    told = {name: each.numpy() for name, each in looked.values.items()}
    values |= {name: told[name] for name in (CRITIC_SCORE,) if name in told}
    classes = None if logits is None else logits.argmax(1)
    if classes is not None:
        values["class"] = classes.astype(np.float64)
    values |= told
    cluster_of, centres = _cluster(features, seed)
    nearest_real = real_places = real_cluster = of_real = None
    holes: Holes | None = None
    # Holes and duplicates are looked for in parts of the real images, which people give class by class.
    mixed = np.random.default_rng(seed).permutation(0 if real is None else len(real))
    if real is not None:
        of_real = _digits(embed(extractor, real.split(size)).features)
        nearest_real = NearestNeighbors(n_neighbors=1).fit(of_real).kneighbors(features)[1][:, 0]
        _, near = neighbours.kneighbors(of_real, n_neighbors=3)
        real_places, real_cluster = places[near].mean(1), cluster_of[near[:, 0]]
        of_real = of_real[mixed]
        holes = find_holes(features, of_real)
    names = class_names(model)
    clusters = []
    for number in range(len(centres)):
        members = np.flatnonzero(cluster_of == number)
        inward = np.linalg.norm(features[members] - centres[number], axis=1)
        label = ""
        if classes is not None:
            kinds = np.bincount(classes[members])
            common = int(kinds.argmax())
            name = names[common] if common < len(names) else str(common)
            # A number alone would not be taken for a class, beside that of the cluster and its share.
            label = f"{kinds[common] / len(members):.0%} {f'class {name}' if name.isdecimal() else name}"
        clusters.append(
            Cluster(
                number,
                len(members) / n,
                None if real_cluster is None else float((real_cluster == number).mean()),
                tuple(int(i) for i in members[inward.argsort()[:6]]),
                tuple(int(i) for i in members[away[members].mean(1).argsort()[::-1][:4]]),
                label,
            )
        )
    progress("dimension and metric", 0, 1)
    dimension = sample_dimension(features)
    shares = spectrum(space, seed).numpy()
    shares = shares if shares.any() else shares[:0]  # nothing changes the picture
    duplicates = find_duplicates(features, of_real)
    mixed_cluster = None if real_cluster is None else real_cluster[mixed]
    words = _words(
        clusters, duplicates, holes, real is not None, mixed_cluster, dimension, shares, space.name
    )
    return Map(
        looked.samples,
        places,
        values,
        tuple(clusters),
        cluster_of,
        nearest_real,
        None if real is None else torch.cat([_kept(part) for part in real.split(size)]),
        real_places,
        holes,
        dimension,
        shares,
        words,
    )


def _check_room(model: Model, extractor: Extractor, n: int) -> None:
    """Raise `GanvasError` where n samples and their features take more than `HELD`."""
    one = torch.zeros(1, *model.shape, dtype=torch.uint8 if len(model.shape) == 3 else torch.float32)
    features = extractor(one).features.numel()
    each, row, room = _kept(one).nbytes + 8 * features, 0, HELD
    if len(model.shape) == 2:
        each, row, room = _kept(one).nbytes + 12 * features, EACH * features, HELD_OF_SERIES
    taken = n * each + min(n, ROWS) * row
    if taken > room:
        most = (room - ROWS * row) // each
        most = most if most > ROWS else min(ROWS, room // (each + row))
        ask = (
            f"Ask for {most:,} at most (--n)"
            if most >= FEWEST
            else f"{FEWEST} are the fewest, and are too large"
        )
        raise GanvasError(f"A map of {n:,} samples of this model takes {taken / 1e9:.1f} GB. {ask}.")


def _digits(features: NDArray[np.float32]) -> Any:
    """Features in float64; of large pictures as they are: several copies of them are held, 400 MB each of 3,000 of 64 px."""
    return features if features.size > MANY else features.astype(np.float64)


def find_holes(features: Array, real: Array) -> Holes | None:
    """Holes by the features of samples (n, F) and of real images (m, F); None where either has fewer than `BLOCK`.

    A real image is covered when a sample lies nearer than its fifth real neighbour (coverage, Naeem et al.
    2020, k = 5). That depends on both numbers, so it is asked within blocks of `BLOCK` samples and `BLOCK`
    real images, as many as there are of both: maps of 300 and of 3,000 samples then say the same. Of one
    distribution prod_{i<5} (B-1-i) / (2B-1-i) is uncovered.
    """
    found = []
    for start in range(0, min(len(features), len(real)) // BLOCK * BLOCK, BLOCK):
        rows = slice(start, start + BLOCK)
        x, y = (torch.from_numpy(each[rows]).double() for each in (features, real))
        near = torch.cdist(y, y).topk(NEIGHBOURS + 1, largest=False).values[:, -1]  # itself comes first
        away = torch.cdist(y, x).amin(1)
        found.append((away >= near).numpy())
    if not found:
        return None
    shares = np.asarray([each.mean() for each in found])
    floor = float(np.prod([(BLOCK - 1 - i) / (2 * BLOCK - 1 - i) for i in range(NEIGHBOURS)]))
    share = float(shares.mean())
    # Real images of one block share its samples: blocks tell the error, where there are some, better than images do.
    error = float(shares.std(ddof=1) / len(shares) ** 0.5) if len(shares) > 4 else 0.0
    least = (max(share * (1 - share), 1 / BLOCK) / (BLOCK * len(shares))) ** 0.5
    return Holes(share, max(error, least), floor, np.concatenate(found))


def find_duplicates(features: Array, real: Array | None) -> tuple[float, float | None]:
    """Shares of samples (n, F), and of real images (m, F), whose nearest one of their kind is nearly the same.

    Nearer than a twentieth of the usual distance of real images, where there are `FEWEST`: collapsed samples
    have none of their own to go by. Nearest distances shrink with the number, so as many of both are looked
    at: the first min(n, m), drawn in no order. Without so many real images, all samples by their own usual
    distance, and None.
    """
    compared = real is not None and min(len(real), len(features)) >= FEWEST
    shown = [features, real] if real is not None and compared else [features]
    k = min(len(each) for each in shown)
    nearest = [_nearest(each[:k]) for each in shown]
    # Of a collapsed model all distances are 0, but for rounding.
    limit = max(
        0.05 * float(np.median(nearest[-1])), ROUNDING * float(np.linalg.norm(features, axis=1).max())
    )
    shares = [float((each <= limit).mean()) for each in nearest]
    return shares[0], shares[1] if compared else None


def _nearest(rows: Array) -> Array:
    """The distance of each row to the nearest other one."""
    from sklearn.neighbors import NearestNeighbors

    return np.asarray(NearestNeighbors(n_neighbors=1).fit(rows).kneighbors()[0][:, 0])


def _cluster(features: Array, seed: int) -> tuple[NDArray[np.int64], Array]:
    """k-means with the number of clusters that has the best silhouette on a subset (Rousseeuw 1987)."""
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.metrics import silhouette_score

    some = features[:1000]
    best, chosen = -1.0, 2
    with warnings.catch_warnings():
        # Of fewer different samples than clusters, as a collapsed model draws, some are empty.
        warnings.simplefilter("ignore", ConvergenceWarning)
        for k in range(2, min(MOST_CLUSTERS, len(some) // 10) + 1):
            found = KMeans(k, n_init=3, random_state=seed).fit_predict(some)
            quality = float(silhouette_score(some, found)) if len(set(found)) > 1 else -1.0
            if quality > best:
                best, chosen = quality, k
        fitted = KMeans(chosen, n_init=5, random_state=seed).fit(features)
    there, cluster_of = np.unique(fitted.labels_, return_inverse=True)
    return cluster_of.astype(np.int64), fitted.cluster_centers_[there]


def _words(
    clusters: Sequence[Cluster],
    duplicates: tuple[float, float | None],
    holes: Holes | None,
    with_real: bool,
    real_cluster: NDArray[np.int64] | None,
    dimension: float,
    shares: Array,
    space: str,
) -> tuple[str, ...]:
    ordered = sorted(clusters, key=lambda c: -c.share)
    largest, smallest = ordered[0], ordered[-1]
    found = [
        f"Modes: {counted(len(clusters), 'cluster')}, from {called(smallest)} with {smallest.share:.0%} "
        f"to {called(largest)} with {largest.share:.0%} of the samples."
    ]
    if with_real and holes is None:
        found.append(f"Holes: not looked for; they need at least {BLOCK} samples and {BLOCK} real images.")
    if holes is not None and real_cluster is not None:
        among = real_cluster[: len(holes.uncovered)]
        rates = {
            c.number: holes.uncovered[among == c.number].mean() for c in clusters if (among == c.number).any()
        }
        worst = max(rates, key=lambda number: float(rates[number]))
        found.append(
            f"Holes: {holes.share:.1%} ± {holes.error:.1%} of the real images have no sample as near as their own real "
            f"neighbours (a perfect model would leave {holes.floor:.0%}); it is worst near "
            f"{called(clusters[worst])}, with {rates[worst]:.0%}."
        )
    if real_cluster is not None:
        short = [c for c in clusters if c.real_share and c.share < 0.5 * c.real_share]
        found += [
            f"Too rare: {called(c)} is {c.share:.0%} of the samples and {c.real_share:.0%} of the real images."
            for c in short
        ]
    copies, usual = duplicates
    beside = "" if usual is None else f"; among as many real images {usual:.1%}"
    found.append(
        f"Duplicates: {copies:.1%} of the samples are nearly another one "
        f"(nearer than a twentieth of the usual distance{beside})."
    )
    found.append(
        f"Dimension: the samples spread in about {dimension:.0f} directions (TwoNN of their features)."
    )
    if len(shares):
        matter, most = participation(torch.from_numpy(shares)), int((np.cumsum(shares) < 0.9).sum()) + 1
        found.append(
            f"Metric: of {len(shares)} directions of {space}, {most} make 90 % of what changes the picture "
            f"(participation {matter:.1f})."
        )
    return tuple(found)


def called(cluster: Cluster) -> str:
    """Its number and what it shows: `cluster 4 (93% Sandal)`."""
    return f"cluster {cluster.number} ({cluster.label})" if cluster.label else f"cluster {cluster.number}"
