"""Latent spaces: what can be sampled, decoded, and told how typical a point is.

Every tool here takes a `LatentSpace` and never a network, so all of them work on every generator: ours, or a foreign module
given to `ganvas.wrap`. z is always there; a generator with a mapping network also has w, w+ and styles; a conditional one has its
class vectors; and every named hidden layer is a space of its own.
"""

import copy
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Self

import torch
from torch import Tensor, nn

from ganvas import arrays, notebook
from ganvas.device import stream
from ganvas.errors import GanvasError, expect
from ganvas.latent.critic import CriticScorer, scorer_of
from ganvas.latent.hooks import hooked
from ganvas.lazy import lazy
from ganvas.model import Model, all_over, draw_prior
from ganvas.networks import StyleBased, categories_of, to_prior, truncation_of
from ganvas.networks.base import CUT
from ganvas.registry import did_you_mean

KNOWN = 4096
"""Samples that mean, spread and typicality of a space without a formula are taken from."""
FEWEST, NUMBERS = 64, 2**26
"""The least of them, and the numbers that more have: those of a large layer take gigabytes."""
PART = 2**24
"""Numbers of points that are made white together, in float64."""
WIDE, MOST_NUMBERS = 2**14, 2**25
"""Numbers in a point above which a space is wide, and in all points that are held several times over: of a wide space fewer."""
PER_DIMENSION = 50
"""Points for each number of a point that a covariance is estimated from: eigenvalues are then right within a third."""
WIDEST = 1024
"""Numbers in a point above which the spread is taken coordinate by coordinate."""


def covariance(batches: Iterable[Tensor], dim: int) -> tuple[Tensor, Tensor]:
    """Mean (D,) and covariance (D, D) of points that come in batches (n, D), in float64; nothing else is kept."""
    total, outer, count = torch.zeros(dim, dtype=torch.float64), torch.zeros(dim, dim, dtype=torch.float64), 0
    shift: Tensor | None = None
    for batch in batches:
        x = batch.flatten(1)
        if shift is None:
            shift = x.mean(0)  # near the mean, so that squares lose no digits
        x = x - shift
        total += x.sum(0).double().cpu()
        outer += (x.t() @ x).double().cpu()
        count += len(x)
    if shift is None or count < 2:
        raise GanvasError("A covariance needs at least two points.")
    mean = total / count
    return mean + shift.double().cpu(), (outer - count * torch.outer(mean, mean)) / (count - 1)


OF_A_CLASS, OF_ALL_CLASSES = 1024, 2**20
"""Samples that the mean of one class is taken from, and of all classes: of more than 1,024 classes each has fewer."""


def of_a_class(model: Model, least: int = 1) -> int:
    """Samples that stand for one class of a model: 1,024 for each of 65,536, which a small file may say, would take hours."""
    return arrays.fitting(max(1, model.generator.num_classes), OF_ALL_CLASSES, OF_A_CLASS, least)


class LatentSpace:
    """One space of a model. Points are rows: (n, *shape) on the model's device; images come out as floats."""

    flat = True
    """True where straight lines are natural (w); False for normal latents, which live near a sphere (z)."""

    def __init__(self, model: Model, name: str) -> None:
        self.model, self.name = model, name

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, points {self.shape}, of {self.model!r})"

    def _repr_html_(self) -> str:
        """What a notebook shows: samples of the model."""
        return notebook.card(f"{self.name}: points {self.shape}", self.model._repr_html_())

    def of_model(self, model: Model) -> Self:
        """The same space, and what is known of it, with another model behind it that has the same points."""
        found = copy.copy(self)
        found.model = model
        if isinstance(found, LatentW | LatentStyles):
            found.generator = style_based(model)
        return found

    def sample(self, n: int, generator: torch.Generator, labels: Tensor | None = None) -> Tensor:
        """n points of the space's own distribution (n, *shape). `labels` (n,) for conditional generators."""
        prior, n = self.model.generator.prior, arrays.count(n, "n")
        return self.of(draw_prior(prior, n, self.model.latent_dim, generator).to(self.model.device), labels)

    def of(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """The points that latents z (n, Z) stand for: (n, *shape). `labels` (n,) for conditional generators."""
        raise NotImplementedError

    def from_noise(self, noise: Tensor, labels: Tensor | None = None) -> Tensor:
        """Standard normal numbers (n, Z) -> points (n, *shape) with the space's own distribution. Differentiable.

        In these coordinates every prior (normal, uniform, sphere) has the same exact density, which samplers need.
        """
        return self.of(to_prior(self.model.generator.prior, noise), labels)

    def decode(self, points: Tensor, labels: Tensor | None = None) -> Tensor:
        """(n, *shape) -> float samples (n, C, H, W) within the generator's range, or (n, D). Differentiable.

        Without gradients `Model.at_once` are drawn at a time: layers may be far larger than the samples.
        """
        points = self.fitted(points)
        n = len(points)
        if n <= 1 or torch.is_grad_enabled() or n <= (size := self.model.at_once):
            return self._decode(points, labels)
        labels = self.labels(n, labels)
        drawn = [self._decode(*each) for each in arrays.split(points, labels, size)]
        return torch.cat(drawn)

    def _decode(self, points: Tensor, labels: Tensor | None) -> Tensor:
        """`decode`, all at once, of points that are `fitted`."""
        raise NotImplementedError

    @torch.no_grad()
    def numbered(self, n: int, seed: int = 0, labels: Tensor | None = None) -> Tensor:
        """The points of the n samples that `model.sample(n, seed=seed)` draws (n, *shape): what a person sees and numbers."""
        z = self.model.latents(arrays.count(n, "n"), seed).to(self.model.device)
        return self.of(z, self.labels(n, labels))

    @torch.no_grad()
    def at(self, numbers: Sequence[int], seed: int = 0) -> Tensor:
        """The points of some of these samples, by number (k, *shape), wherever they are in the row."""
        labels = self.model.labels_at(numbers)
        z = self.model.latents_at(numbers, seed).to(self.model.device)
        return self.of(z, None if labels is None else labels.to(self.model.device))

    def batches(self, n: int, generator: torch.Generator, size: int) -> Iterator[Tensor]:
        """n points of its own distribution, so many at a time, of all classes in turn from batch to batch.

        Of more classes than n from all over.
        """
        numbers = all_over(n, self.model.generator.num_classes)
        for first in range(0, n, size):
            part = numbers[first : first + size]
            yield self.sample(len(part), generator, self.model.labels_at(part))

    def few(self, n: int) -> tuple[Tensor, Tensor | None]:
        """n of `known` and their classes, which are from all over where there are more than n."""
        known, classes = self.known, self.model.generator.num_classes
        n = min(n, len(known))
        if classes <= n:
            return known[:n], self.labels(n, None)
        rows, numbers = all_over(n, min(classes, len(known))), all_over(len(known), classes)
        return known[rows], self.labels(n, self.model.labels_at([numbers[row] for row in rows]))

    @lazy
    def known(self) -> Tensor:
        """`KNOWN` points, always the same ones (KNOWN, *shape); of a large layer fewer.

        Of all classes in turn, or, where these are more, from all over.
        """
        with torch.no_grad():
            count = arrays.fitting(self.size, NUMBERS, KNOWN, FEWEST)
            numbers = all_over(count, self.model.generator.num_classes)
            return self.sample(count, stream(0, f"space {self.name}"), self.model.labels_at(numbers))

    @lazy
    def shape(self) -> tuple[int, ...]:
        """Shape of one point."""
        with torch.no_grad():
            return tuple(self.sample(1, stream(0, "shape")).shape[1:])

    @property
    def size(self) -> int:
        """Numbers in one point."""
        return math.prod(self.shape)

    def affords(self, n: int) -> int:
        """How many of n points are taken where they are held several times over: all, but of a wide space."""
        return arrays.fitting(self.size, MOST_NUMBERS, n, FEWEST)

    def parts(self, points: Tensor) -> Sequence[Tensor]:
        """Points, as many at a time as are made white together: 4,096 of 16,384 numbers take gigabytes."""
        found: Sequence[Tensor] = points.split(arrays.fitting(self.size, PART, max(1, len(points))))
        return found

    @lazy
    def scorer(self) -> CriticScorer | None:
        """What gives samples their critic score; None without a critic of single samples."""
        return scorer_of(self.model)

    @lazy
    def mean(self) -> Tensor:
        """Mean point (*shape)."""
        return self.known.mean(0)

    def mean_of(self, labels: Tensor | None) -> Tensor:
        """The mean point of each label's class (n, *shape), or of all for None: (1, *shape). Labels are those of the points."""
        if labels is None or not self.model.generator.num_classes:
            return self.mean[None]
        return torch.stack([self._mean_of_class(int(label)) for label in labels])

    def _mean_of_class(self, label: int) -> Tensor:
        if (known := self._class_means.get(label)) is None:
            each = of_a_class(self.model)
            # Classes of few samples together with those beside them, always the same, so that a mean hangs on no order.
            group = OF_A_CLASS // each
            first = label // group * group
            classes = torch.arange(first, min(first + group, self.model.generator.num_classes))
            with torch.no_grad():
                labels = classes.repeat_interleave(each).to(self.model.device)
                points = self.sample(len(labels), stream(0, f"space {self.name} class {first}"), labels)
            if (len(self._class_means) + len(classes)) * self.size > NUMBERS:
                self._class_means.clear()
            means = points.unflatten(0, (-1, each)).mean(1)
            del points
            # A copy, made when the points are gone: among them it would keep their room from being used again, gigabytes of it.
            found: dict[int, Tensor] = dict(zip(classes.tolist(), means.clone(), strict=True))
            self._class_means |= found
            return found[label]
        return known

    @lazy
    def _class_means(self) -> dict[int, Tensor]:
        return {}

    @lazy
    def std(self) -> Tensor:
        """Standard deviation of every coordinate (*shape)."""
        return self.known.std(0)

    @lazy
    def _axes(self) -> tuple[Tensor | None, Tensor]:
        """Principal axes (D, D) as columns and the spread along each (D,); without axes the spread of every coordinate."""
        if self.size > WIDEST:
            variance = self.known.var(0).flatten().double()
            return None, (variance + 1e-6 * variance.mean()).sqrt()
        known = (self.known - self.mean).flatten(1).double()
        floor = 1e-6 * known.square().mean()
        values, vectors = torch.linalg.eigh(self._covariance().to(known))
        return vectors, (values.clamp(min=0) + floor).sqrt()

    @torch.no_grad()
    def _covariance(self) -> Tensor:
        """Of `PER_DIMENSION` points a dimension, and `KNOWN` at least (D, D)."""
        random = stream(0, f"covariance {self.name}")
        batches = -(-max(KNOWN, PER_DIMENSION * self.size) // 1024)
        return covariance(self.batches(1024 * batches, random, 1024), self.size)[1]

    def sigma(self, vector: Tensor) -> float:
        """Standard deviation of the space's own points along a unit vector (*shape)."""
        # Of a large layer without another copy of its points, which take half a gigabyte.
        known = self.known if self.size > WIDEST else self.known - self.mean
        return float((known.flatten(1) @ vector.flatten().to(known)).std())

    def whiten(self, steps: Tensor) -> Tensor:
        """Steps between points, flattened (n, D) -> coordinates in which the space's own points have unit covariance."""
        axes, spread = self._axes
        steps = steps.to(spread)
        whitened: Tensor = (steps if axes is None else steps @ axes) / spread
        return whitened

    def unwhiten(self, steps: Tensor) -> Tensor:
        """The reverse of `whiten`."""
        axes, spread = self._axes
        steps = steps.to(spread) * spread
        return steps if axes is None else steps @ axes.t()

    @lazy
    def known_lengths(self) -> Tensor:
        """Of all `known` points, the shortest first (n,)."""
        return self._lengths(self.known).sort().values

    def _lengths(self, points: Tensor) -> Tensor:
        """Squared Mahalanobis distances to the mean (n,)."""
        lengths = [self.whiten((part - self.mean).flatten(1)).square().sum(1) for part in self.parts(points)]
        return torch.cat(lengths)

    def typicality(self, points: Tensor) -> Tensor:
        """(n, *shape) -> (n,) in [0, 1]: the share of the space's own points that lie further from its typical shell.

        The two-sided tail probability of the Mahalanobis length: both the mean and the far outside are untypical.
        """
        known, points = self.known_lengths, self.check(points)
        below = torch.searchsorted(known, self._lengths(points)).double() / len(known)
        return (2 * torch.minimum(below, 1 - below)).clamp(0, 1).to(points.dtype)

    def project(self, points: Tensor, least: float = 0.01) -> Tensor:
        """The nearest points along the ray from the mean whose length is not rarer than `least`: (n, *shape)."""
        known, points = self.known_lengths, self.check(points)
        arrays.number(least, "least", above=0, most=1)
        low, high = (known[round(q * (len(known) - 1))] for q in (least / 2, 1 - least / 2))
        lengths = self._lengths(points)
        wanted = lengths.clamp(low, high)
        scale = (wanted / lengths.clamp(min=1e-12)).sqrt().to(points.dtype)
        return self.mean + (points - self.mean) * scale.reshape(-1, *[1] * (points.dim() - 1))

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        """Euclidean distance in units of the space's spread: (n, *shape) twice -> (n,); random points are about 1.4 apart."""
        a, b = self.check(a), self.check(b)
        if len(a) != len(b):
            raise GanvasError(f"Distances are between pairs of points; got {len(a)} and {len(b)}.")
        scale = self.std.square().sum().sqrt()
        apart: Tensor = (a - b).flatten(1).norm(dim=1) / scale
        return apart

    def fitted(self, points: Tensor) -> Tensor:
        """`points` (n, *shape) on the model's device, in float32 or the generator's own format, with their gradient.

        Raises `GanvasError` for another shape or kind. Nothing here looks at a value, so that it can stand inside of
        `torch.func.vmap`.
        """
        if not isinstance(points, Tensor) or not points.is_floating_point() or points.layout != torch.strided:
            points = arrays.as_floats(points, f"points of {self.name}")
        if points.dim() == 0 or tuple(points.shape[1:]) != self.shape:
            raise GanvasError(
                f"Space {self.name!r} has points of shape {self.shape}, got {tuple(points.shape[1:])}: give (n, *{self.shape})."
            )
        weights = (p.dtype for p in self.model.generator.parameters() if p.is_floating_point())
        own = next(weights, torch.float32)
        return points.to(self.model.device, points.dtype if points.dtype == own else torch.float32)

    def check(self, points: Tensor) -> Tensor:
        """The same. Raises `GanvasError` when there are none, or NaN or infinite numbers among them, too."""
        points = self.fitted(points)
        if len(points) == 0:
            raise GanvasError(f"There are no points of {self.name!r}: got shape {tuple(points.shape)}.")
        if not torch.isfinite(points).all():
            raise GanvasError(f"Points of {self.name!r} must be finite; there are NaN or infinite numbers.")
        return points

    def labels(self, n: int, labels: Tensor | None) -> Tensor | None:
        """Labels for n points on the device: those given, else all classes in turn; None without classes."""
        found = self.model.labels(n, labels)
        return None if found is None else found.to(self.model.device)

    def labels_of_batch(self, n: int, generator: torch.Generator) -> Tensor | None:
        """Labels for one of many batches of n points: all classes in turn; of more classes than n others in each batch."""
        classes = self.model.generator.num_classes
        if classes <= n:
            return self.labels(n, None)
        return torch.randint(classes, (n,), generator=generator).to(self.model.device)


class LatentZ(LatentSpace):
    """The prior: standard normal numbers, or what the generator says."""

    def __init__(self, model: Model) -> None:
        super().__init__(model, "z")
        self.prior = model.generator.prior
        self.categories, self.scale = categories_of(self.prior), truncation_of(self.prior)
        self.flat = self.prior == "uniform"

    @lazy
    def mean(self) -> Tensor:
        """0, and 1 / K in a one-hot block of K."""
        found = torch.zeros(self.model.latent_dim, device=self.model.device)
        return torch.cat([*(torch.full((k,), 1 / k).to(found) for k in self.categories), found])[: len(found)]

    @lazy
    def std(self) -> Tensor:
        """Of the prior itself: 1 for the normal one and the sphere of length sqrt(Z), 1 / sqrt(3) for the uniform one.

        0.88 of its scale for the truncated one.
        """
        block = [1 / k - 1 / k**2 for k in self.categories for _ in range(k)]
        rest = [self._variance] * (self.model.latent_dim - len(block))
        return torch.tensor(block + rest, dtype=torch.float64, device=self.model.device).sqrt().float()

    @lazy
    def _axes(self) -> tuple[Tensor | None, Tensor]:
        if self.categories:
            return super()._axes
        return None, self.std.double()  # coordinates are uncorrelated

    @property
    def _variance(self) -> float:
        """Of a number that is of no one-hot block."""
        value = 1 / 3 if self.prior == "uniform" else 1.0
        if self.scale is not None:  # 1 - 2 c phi(c) / (Phi(c) - Phi(-c)) within -c to c
            density = math.exp(-(CUT**2) / 2) / math.sqrt(2 * math.pi)
            value = self.scale**2 * (1 - 2 * CUT * density / math.erf(CUT / math.sqrt(2)))
        return value

    def _covariance(self) -> Tensor:
        """Exact. A one-hot block of K has 1 / K on the diagonal, less 1 / K^2 everywhere."""
        size, device = self.model.latent_dim, self.model.device
        found = self._variance * torch.eye(size, dtype=torch.float64, device=device)
        start = 0
        for k in self.categories:
            block = slice(start, start + k)
            found[block, block] = torch.eye(k, dtype=torch.float64, device=device) / k - 1 / k**2
            start += k
        return found

    def sigma(self, vector: Tensor) -> float:
        if not self.categories:
            return float(self.std[0])
        flat = vector.flatten().to(self.model.device, torch.float64)
        # Without the covariance, which takes 34 GB of 65,536 numbers.
        *blocks, rest = flat.split([*self.categories, len(flat) - sum(self.categories)])
        of_blocks = [each.square().sum() / len(each) - (each.sum() / len(each)).square() for each in blocks]
        return float((sum(of_blocks) + self._variance * rest.square().sum()).clamp(min=0).sqrt())

    def of(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return z.to(self.model.device)

    def mean_of(self, labels: Tensor | None) -> Tensor:
        """The prior is the same for all classes."""
        return self.mean[None]

    def _decode(self, points: Tensor, labels: Tensor | None) -> Tensor:
        drawn: Tensor = self.model.generator(points, self.labels(len(points), labels))
        return drawn.float()

    def typicality(self, points: Tensor) -> Tensor:
        """Exact for the normal prior: the squared length has a chi-square distribution.

        Points of the sphere prior all have the length in the middle of it: 1 nearly, and less the further off the sphere.
        """
        if self.prior == "uniform" or self.categories or self.scale is not None:
            return super().typicality(points)
        points = self.check(points)
        half = torch.tensor(self.model.latent_dim / 2, dtype=torch.float64, device=points.device)
        below = torch.special.gammainc(half, points.double().square().sum(1) / 2)
        return (2 * torch.minimum(below, 1 - below)).to(points.dtype)

    def project(self, points: Tensor, least: float = 0.01) -> Tensor:
        """Normal: the length is brought between the tails; sphere: onto it; uniform: into the cube; categories: the nearest.

        Truncated: as normal, by its own lengths, and into the cube.
        """
        points = self.check(points)
        arrays.number(least, "least", above=0, most=1)
        if self.categories:
            return to_prior(self.prior, points)
        if self.prior == "uniform":
            return points.clamp(-1, 1)
        if self.scale is not None:
            return super().project(points, least).clamp(-CUT * self.scale, CUT * self.scale)
        if self.prior == "sphere":
            length = points.norm(dim=1, keepdim=True).clamp(min=1e-12)
            on_sphere: Tensor = points / length * math.sqrt(points.shape[1])
            return on_sphere
        from scipy.special import gammaincinv  # slow to import

        # Quantiles of the chi-squared distribution of squared lengths.
        low, high = (
            float(2 * gammaincinv(points.shape[1] / 2, q)) ** 0.5 for q in (least / 2, 1 - least / 2)
        )
        lengths = points.norm(dim=1, keepdim=True).clamp(min=1e-12)
        shell: Tensor = points / lengths * lengths.clamp(low, high)
        return shell


def style_based(model: Model) -> StyleBased:
    """The model's generator. Raises `GanvasError` where it has no w."""
    if not isinstance(model.generator, StyleBased):
        raise GanvasError(
            f"{model.info.name} has no w, w+ or styles: it is not style-based (ganvas.networks.StyleBased)."
        )
    return model.generator


class LatentW(LatentSpace):
    """What the mapping network makes of z: `w`, or `w+` with one row for each layer."""

    def __init__(self, model: Model, plus: bool = False) -> None:
        super().__init__(model, "w+" if plus else "w")
        self.plus = plus
        self.generator = style_based(model)

    def of(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        w = self.generator.mapping(z.to(self.model.device), self.labels(len(z), labels))
        return self.generator.broadcast(w).clone() if self.plus else w

    def _decode(self, points: Tensor, labels: Tensor | None) -> Tensor:
        styles = self.generator.styles(points if self.plus else self.generator.broadcast(points))
        return self.generator.synthesis(styles).float()


class LatentStyles(LatentSpace):
    """All style vectors side by side (n, S), coarse to fine (StyleSpace, Wu et al. 2021)."""

    def __init__(self, model: Model) -> None:
        super().__init__(model, "styles")
        self.generator = style_based(model)

    @lazy
    def sizes(self) -> list[int]:
        """Channels of each layer's vector."""
        with torch.no_grad():
            w = self.generator.mapping(*self._some())
            return [style.shape[1] for style in self.generator.styles(self.generator.broadcast(w))]

    def _some(self) -> tuple[Tensor, Tensor | None]:
        return torch.zeros(1, self.model.latent_dim, device=self.model.device), self.labels(1, None)

    def of(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        w = LatentW(self.model, plus=True).of(z, labels)
        return torch.cat(list(self.generator.styles(w)), 1)

    def _decode(self, points: Tensor, labels: Tensor | None) -> Tensor:
        return self.generator.synthesis(points.split(self.sizes, 1)).float()


class _Reached(Exception):
    """A forward pass has come as far as it has to."""


class HiddenLayer(LatentSpace):
    """The output of a named module of the generator, taken out on the way and put back in to decode.

    Its points cost forward passes, so that its covariance is that of `known` alone, drawn towards a multiple of the identity as
    far as its noise asks for (Ledoit and Wolf 2004).

    What does not pass through the module (skip connections, labels) comes from `z`, by default the mean latent; a plain chain
    has nothing of the kind.
    """

    def __init__(self, model: Model, layer: str, z: Tensor | None = None, name: str | None = None) -> None:
        super().__init__(model, name or f"layer:{layer}")
        modules = layers_of(model.generator)
        if layer not in modules:
            hint = did_you_mean(layer, list(modules))
            raise GanvasError(f"The generator has no layer {layer!r}.{hint} Known: {', '.join(modules)}.")
        self.module = modules[layer]
        self.z = LatentZ(model).mean.cpu() if z is None else z.flatten()
        self.is_checked = False

    def of(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        z, labels = z.to(self.model.device), self.labels(len(z), labels)
        if not self.is_checked:  # a forward pass to its end, of a few: what comes twice is seen twice
            self._reached(z[:2], None if labels is None else labels[:2], whole=True)
            self.is_checked = True
        if torch.is_grad_enabled() or len(z) <= (size := self.model.at_once):
            return self._reached(z, labels, whole=False)
        found = [self._reached(*each, whole=False) for each in arrays.split(z, labels, size)]
        return torch.cat(found)

    def _reached(self, z: Tensor, labels: Tensor | None, *, whole: bool) -> Tensor:
        """The module's output for latents; not `whole`: what lies behind it is not computed."""
        seen: list[Tensor] = []

        def note(module: nn.Module, inputs: object, output: Tensor) -> None:
            seen.append(output)
            if not whole:
                raise _Reached

        with hooked(self.module, note), suppress(_Reached):
            self.model.generator(z, labels)
        if len(seen) != 1 or not isinstance(seen[0], Tensor) or len(seen[0]) != len(z):
            raise GanvasError(
                f"{self.name} does not give one tensor with a row for each sample, so it is no latent space."
            )
        return seen[0]

    def _covariance(self) -> Tensor:
        from sklearn.covariance import ledoit_wolf

        found: Tensor = torch.from_numpy(ledoit_wolf(self.known.flatten(1).double().cpu().numpy())[0])
        return found

    def _decode(self, points: Tensor, labels: Tensor | None) -> Tensor:
        z = self.z.to(points).expand(len(points), -1)
        # A copy: the next module may work in place (`nn.ReLU(True)`), and the points belong to who asks.
        with hooked(self.module, lambda module, inputs, output: points.to(output.dtype, copy=True)):
            drawn: Tensor = self.model.generator(z, self.labels(len(points), labels))
        return drawn.float()


def layers_of(generator: nn.Module) -> dict[str, nn.Module]:
    """The named modules that samples pass through: not those that make weights of weights, as spectral norm does."""
    return {
        name: module
        for name, module in generator.named_modules()
        if name and "parametrizations" not in name.split(".")
    }


def spaces(model: Model) -> list[str]:
    """Names of the spaces that `open_space` opens for this model."""
    generator = model.generator
    found = ["z"]
    if isinstance(generator, StyleBased):
        found += ["w", "w+", "styles"]
    if generator.num_classes and isinstance(getattr(generator, "embed", None), nn.Embedding):
        found.append("class")
    layers = layers_of(generator)
    inner = {name.rpartition(".")[0] for name in layers}
    return found + [f"layer:{name}" for name in layers if name not in inner]


def open_space(model: Model, name: str | None = None) -> LatentSpace:
    """The space called `name`; by default w where there is one, else z. Raises `GanvasError` naming those that there are."""
    expect(model, Model, "model", 'a Model, say ganvas.load("fashion")')
    expect(name, (str, type(None)), "space", "a name: z, w, w+, styles, class or layer:NAME")
    known = spaces(model)
    name = name or ("w" if "w" in known else "z")
    if name.startswith("layer:"):
        return HiddenLayer(model, name.removeprefix("layer:"))
    if name not in known:
        short = [each for each in known if not each.startswith("layer:")]
        raise GanvasError(
            f"This model has no space {name!r}.{did_you_mean(name, short)} It has {', '.join(short)} and layer:NAME."
        )
    if name == "class":
        return HiddenLayer(model, "embed", name="class")
    if name in ("w", "w+"):
        return LatentW(model, plus=name == "w+")
    return LatentZ(model) if name == "z" else LatentStyles(model)
