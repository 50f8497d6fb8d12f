"""What goes on inside a run: signals measured on a fixed probe every few kimg, cheap and without a trace in the training.

The probe has random numbers and data of its own, and runs the networks in evaluation mode, so that a run with it and one
without it end in the same weights.
"""

import math
from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganvas import arrays
from ganvas.data import Dataset
from ganvas.device import stream
from ganvas.errors import GanvasError
from ganvas.geometry import distance_matrix
from ganvas.latent.likeness import LEAST, neighbours
from ganvas.metrics.resample import in_shares
from ganvas.networks import from_uint8, to_prior
from ganvas.training.method import Method, Probe, evaluating

PROBE = 128
"""Real, held-out and drawn samples of one measurement."""
REFERENCE = 2048
"""Training samples that the drawn ones are compared with."""
WIDE, PROBED, COMPARED, FEWEST = 2**16, 2**23, 2**24, 8
"""Numbers of a series above which there are fewer of them in the one and in the other, how many all of them have then, and the
least of them: of many columns of categories, which have no sketch, they took gigabytes."""
AT_ONCE = 32
"""Of them that are held in their full size at a time."""
SKETCH = 14
"""Side to which images are averaged before distances are taken: enough for shape, cheap, and blind to pixel noise."""


class Monitor:
    """Measures what a method shows (`Method.probe`) on its own data. Signals that cannot be measured are left out.

    critic: `logits_train`, `logits_held`, `logits_fake` (means); `accuracy_train`, `accuracy_held`: share of (real, fake) pairs
    ranked right, 0.5 is guessing; `overfit`: (train - held) / (train - fake) of the mean logits (Karras et al. 2020, eq. 1), and
    `overfit_error`, its standard error with so many images.
    gradients: norms of the last step, and `gradient_ratio` generator / critic.
    samples: `diversity` and `spread`, the nearest-neighbour distance and the standard deviation within the drawn batch over
    those of real data; `energy`, the energy distance of drawn and real over the mean distance of real samples (Szekely and
    Rizzo 2013); `nearest`, mean distance of drawn samples to their nearest training sample over that of held-out ones (small data
    only: all of it must fit the reference); `roughness`, root mean square difference of neighbouring pixels over that of real
    images, which the averages are blind to; `likeness`, as the explorer and the map have it: how often drawn and real samples are
    one another's nearest neighbours;
    `modes`, classes hit over classes that as many real samples hit, by the label of the nearest training sample;
    `movement`, how far the same latents moved since the last measurement, over the mean distance of real samples.
    reconstructions of held-out samples, of autoencoders: `psnr`, `sharpness`, `active` and what else the method shows.
    averaging: `ema_drift`, distance of the averaged weights to the live ones over their length. augmentation: `augment_p`.
    """

    def __init__(self, method: Method, trained_on: Dataset, held_out: Dataset) -> None:
        seed, device, probe = method.config.training.seed, method.engine.device, method.probe()
        if probe is None:
            raise GanvasError(f"Method {method.config.method.name!r} shows nothing to a monitor.")
        generator = probe.generator
        # What the critic compares stays whole: the rest of a group would be judged beside others than in training.
        unit = math.lcm(probe.pack, method.unit(method.config, method.spec))
        batch = method.config.training.batch
        # A batch that is no whole groups is one group, and there may be no more samples than it.
        unit = batch if batch % unit else unit
        self.part = batch
        """Samples that networks see at a time: no more than in training, which there was room for."""

        def as_drawn(samples: Tensor) -> Tensor:
            samples = samples.to(device)
            return from_uint8(samples, generator.value_range) if method.spec.kind == "images" else samples

        def rows(dataset: Dataset, count: int, unit: int) -> Tensor:
            count = min(count, len(dataset)) // unit * unit
            return torch.randperm(len(dataset), generator=stream(seed, "probe"))[:count]

        def choose(
            dataset: Dataset, count: int, unit: int = 1, look: Callable[[Tensor], Tensor] = lambda x: x
        ) -> tuple[Tensor, Tensor | None]:
            chosen = rows(dataset, count, unit)
            # A part at a time: two thousand pictures of 256 px are gigabytes, and their sketches none.
            samples, labels = [], []
            for part in chosen.split(AT_ONCE):
                taken, known = dataset.take(part)
                samples.append(look(as_drawn(taken)))
                labels.append(torch.empty(0) if known is None else known.to(device))
            return torch.cat(samples), None if dataset.labels is None else torch.cat(labels)

        probes, references = PROBE, REFERENCE
        if method.spec.kind == "series" and (numbers := math.prod(method.spec.shape)) > WIDE:
            probes = arrays.fitting(numbers, PROBED, PROBE, FEWEST)
            references = arrays.fitting(numbers, COMPARED, REFERENCE, FEWEST)
        count = max(1, probes // unit) * unit
        self.train, self.held = choose(trained_on, count, unit), choose(held_out, count, unit)
        self.worth = [_worth(part, rows(part, count, unit)) for part in (trained_on, held_out)]
        """How many samples of their own the ones and the others count as."""
        self.reference, self.reference_labels = choose(trained_on, references, look=sketch)
        noise = torch.randn(count, generator.latent_dim, generator=stream(seed, "monitor"))
        self.z = to_prior(generator.prior, noise).to(device)
        self.labels: Tensor | None = None
        if generator.num_classes:
            # In the shares of the data: as many of each class would be another distribution, however good the generator is.
            known = torch.arange(generator.num_classes) if self.train[1] is None else self.train[1].cpu()
            self.labels = in_shares(known, count, seed).to(device)
        self.last: Tensor | None = None
        """Sketch of the last measurement's samples; part of the state of a run."""
        real = sketch(self.train[0])
        self.real_roughness = _roughness(self.train[0])
        self.real = real
        repeats = trained_on.indices is not None and len(trained_on.indices.unique()) < len(trained_on)
        self.real_differ = trained_on.spans is None and not repeats
        """Windows that overlap, and samples that are there twice (`balanced`), are each other's nearest neighbours, whatever is
        drawn: of them nothing is said by that."""
        self.real_distance = _mean_distance(real)
        self.real_nearest = _nearest_within(real.unique(dim=0) if repeats else real)
        self.real_spread = _spread(real)
        self.reference_distance = _mean_distance(self.reference[: 4 * probes])
        self.held_nearest = 0.0
        if len(trained_on) <= references and len(self.held[0]) >= 16:
            self.held_nearest = float(
                distance_matrix(sketch(self.held[0]), self.reference).min(1).values.mean()
            )
        self.real_classes = 0 if self.train[1] is None else len(self.train[1].unique())

    @torch.no_grad()
    def measure(self, method: Method) -> dict[str, float]:
        """The signals now."""
        probe = method.probe()
        assert probe is not None
        if not probe.begun:
            return {name: value for name, value in _gradients(probe.networks).items() if math.isfinite(value)}
        with evaluating(probe.generator, *probe.networks.values()), method.engine.autocast():
            if probe.learn is not None:
                probe.learn(self.train[0])
            fake = self._in_parts(probe.generator, self.z, self.labels)
            found = self._samples(sketch(fake))
            if probe.critic is not None:
                found = self._judged(probe, fake) | found
            if probe.signals is not None and len(self.held[0]) > 1:
                found |= probe.signals(self.held[0])
        found |= _gradients(probe.networks)
        if self.real_roughness:
            found["roughness"] = _roughness(fake) / self.real_roughness
        if probe.average is not None:
            found["ema_drift"] = _drift(probe.average, probe.generator)
        if probe.augment_p is not None:
            found["augment_p"] = float(probe.augment_p)
        return {name: value for name, value in found.items() if math.isfinite(value)}

    def _in_parts(self, network: Callable[..., Tensor], x: Tensor, labels: Tensor | None) -> Tensor:
        return torch.cat([network(*each).float() for each in arrays.split(x, labels, self.part)])

    def _judged(self, probe: Probe, fake: Tensor) -> dict[str, float]:
        assert probe.critic is not None
        conditional = bool(probe.generator.num_classes)

        def by_class(samples: Tensor, labels: Tensor | None) -> Tensor:
            """As batches of the training have them: the critic's minibatch std compares neighbours."""
            assert probe.critic is not None
            order = slice(None) if labels is None else labels.argsort(stable=True)
            judged: Tensor = probe.critic(samples[order], None if labels is None else labels[order])
            return judged

        def logits(samples: Tensor, labels: Tensor | None) -> Tensor:
            return self._in_parts(by_class, samples, labels if conditional else None)

        on_held = logits(*self.held) if len(self.held[0]) else None
        return self._critic(logits(fake, self.labels), logits(*self.train), on_held)

    def _critic(self, on_fake: Tensor, on_train: Tensor, on_held: Tensor | None) -> dict[str, float]:
        found = {
            "logits_fake": float(on_fake.mean()),
            "logits_train": float(on_train.mean()),
            "accuracy_train": ranked_right(on_train, on_fake),
        }
        if on_held is not None:
            gap = found["logits_train"] - found["logits_fake"]
            found["logits_held"] = float(on_held.mean())
            found["accuracy_held"] = ranked_right(on_held, on_fake)
            found["overfit"] = (found["logits_train"] - found["logits_held"]) / gap if gap > 1e-6 else 0.0
            if gap > 1e-6 and min(len(on_train), len(on_held)) > 1:
                squares = on_train.var() / self.worth[0] + on_held.var() / self.worth[1]
                found["overfit_error"] = float(squares.sqrt()) / gap
        return found

    def _samples(self, fake: Tensor) -> dict[str, float]:
        distances = distance_matrix(fake, self.reference)
        found = {
            "diversity": _nearest_within(fake) / max(self.real_nearest, 1e-9),
            "spread": _spread(fake) / max(self.real_spread, 1e-9),
            "energy": (2 * float(distances.mean()) - _mean_distance(fake) - self.reference_distance)
            / max(self.real_distance, 1e-9),
        }
        if self.real_differ and min(len(fake), len(self.real)) >= LEAST:
            n = min(len(fake), len(self.real))
            found["likeness"] = neighbours(fake[:n].cpu(), self.real[:n].cpu()).value
        if self.last is not None and self.last.shape == fake.shape and self.last.dtype == fake.dtype:
            found["movement"] = float((fake - self.last).norm(dim=1).mean()) / max(self.real_distance, 1e-9)
        self.last = fake
        nearest = distances.min(1)
        if self.held_nearest:
            found["nearest"] = float(nearest.values.mean()) / self.held_nearest
        if self.reference_labels is not None and self.real_classes > 1:
            found["modes"] = min(
                1.0, len(self.reference_labels[nearest.indices].unique()) / self.real_classes
            )
        return found


def _worth(dataset: Dataset, rows: Tensor) -> float:
    """As how many samples those at `rows` count, some of which may be the same (Kish 1965): (sum w)^2 / sum w^2."""
    times = (rows if dataset.indices is None else dataset.indices[rows]).unique(return_counts=True)[1].float()
    return float(times.sum().square() / times.square().sum()) if len(times) else 0.0


def sketch(samples: Tensor) -> Tensor:
    """Images (B, C, H, W) averaged to at most 14 px, or points, as rows (B, F)."""
    if samples.dim() == 4 and samples.shape[2] > SKETCH:
        samples = F.adaptive_avg_pool2d(samples, SKETCH)
    return samples.float().flatten(1)


def _roughness(samples: Tensor) -> float:
    """Root mean square difference of neighbouring pixels of images (B, C, H, W); 0 for points, which have none."""
    if samples.dim() != 4:
        return 0.0
    squares = [samples.diff(dim=axis).square().mean() for axis in (2, 3) if samples.shape[axis] > 1]
    return float(torch.stack(squares).mean().sqrt()) if squares else 0.0


def _mean_distance(x: Tensor) -> float:
    return float(distance_matrix(x, x).sum() / max(1, len(x) * (len(x) - 1)))


def _nearest_within(x: Tensor) -> float:
    distances = distance_matrix(x, x).fill_diagonal_(float("inf"))
    return float(distances.min(1).values.mean())


def _spread(x: Tensor) -> float:
    return float(x.var(0).mean().sqrt())


def ranked_right(real: Tensor, fake: Tensor) -> float:
    """Share of pairs with the real logit above the fake one, ties count half: the area under the ROC curve."""
    above = real[:, None] - fake[None, :]
    return float((above > 0).float().mean() + 0.5 * (above == 0).float().mean())


def _gradients(networks: Mapping[str, nn.Module]) -> dict[str, float]:
    found = {}
    for name, network in networks.items():
        each = [p.grad for p in network.parameters() if p.grad is not None]
        if each:
            found[f"gradient_{name}"] = float(torch.stack(torch._foreach_norm(each)).norm())
    if found.get("gradient_critic") and "gradient_generator" in found:
        found["gradient_ratio"] = found["gradient_generator"] / found["gradient_critic"]
    return found


def _drift(average: nn.Module, live: nn.Module) -> float:
    pairs = zip(average.parameters(), live.parameters(), strict=True)
    squares = [((a - b).square().sum(), b.square().sum()) for a, b in pairs]
    return float((sum(s for s, _ in squares) / sum(s for _, s in squares)) ** 0.5)
