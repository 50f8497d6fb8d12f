"""Critics that are trained after the fact: small ones on pixels or on features, which judge samples one by one."""

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganvas import arrays, dist, io
from ganvas.checkpoint import Checkpoint
from ganvas.config import NetworkConfig, from_dict, to_dict
from ganvas.device import stream
from ganvas.errors import GanvasError
from ganvas.features import classifier
from ganvas.features.base import at_once
from ganvas.features.classifier import Classifier
from ganvas.latent.critic import alone, logits_of, resized, to_floats
from ganvas.latent.fit import fit
from ganvas.latent.space import LatentSpace
from ganvas.model import Model, run_once
from ganvas.networks import build_critic
from ganvas.sampling.base import BATCH
from ganvas.types import Progress

LARGEST_SIDE = 64
LARGEST_GUIDE = 128
"""Pixels of a guide's side, where the model draws no larger ones."""
POOL, HELD = 30_000, 2**29
"""Samples that a fresh critic is trained on, at most, of each kind, and their bytes."""
MEMBERS = 4
"""Heads of a critic on features."""


def pool_of(shape: Sequence[int]) -> int:
    """How many samples of a shape a fresh critic is trained on, at most, of each kind."""
    return arrays.fitting(math.prod(shape) * (1 if len(shape) == 3 else 4), HELD, POOL, 200)


def seen_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that a fresh critic takes: images as squares of 8 to `LARGEST_SIDE` px with an even side."""
    if len(shape) != 3:
        return shape
    side = max(8, min(LARGEST_SIDE, max(shape[1:])))
    fits = shape[1] == shape[2] == side and side % 2 == 0
    return shape if fits else (shape[0], side + side % 2, side + side % 2)


@torch.no_grad()
def draw_batches(
    space: LatentSpace, n: int, random: torch.Generator, labels: Tensor | None
) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Float samples and labels in batches, n in all; labels are repeated to n.

    Of several processes that share the work each gets its part of the batches (`dist.shard`). Large samples come fewer at a time.
    """
    size = at_once(space.model.shape, BATCH)
    chosen = space.labels(n, labels)
    noise = (
        (torch.randn(min(size, n - start), space.model.latent_dim, generator=random), start)
        for start in range(0, n, size)
    )
    for drawn, start in dist.shard(noise):
        label = None if chosen is None else chosen[start : start + size]
        u = drawn.to(space.model.device)
        yield space.decode(space.from_noise(u, label), label), label


def build(spec: io.Json, model: Model, own: bool) -> nn.Module:
    """The critic that a file describes, without its weights; the model's `own` sees samples as they are, whatever their size."""
    if "classes" in spec:
        check_guide(spec["shape"], model)
        return FeatureCritic(classifier.build(spec), model.generator.value_range)
    config = from_dict(NetworkConfig, spec)
    if config.pack != 1:
        raise GanvasError(f"a critic of {config.pack} samples at once judges none alone.")
    shape = model.shape if own else seen_shape(model.shape)
    return alone(build_critic(config, shape, model.generator.num_classes))


def judge_once(network: nn.Module) -> None:
    """Run a critic of `build` that lies on torch's meta device on one sample."""
    if isinstance(network, FeatureCritic):
        network(torch.empty(1, *network.shape, device="meta"))
    run_once(network)


def check_guide(shape: Sequence[int], model: Model) -> None:
    """Raise `GanvasError` for a classifier of far larger pictures than a model draws: all of them are brought to its size."""
    most = max(LARGEST_GUIDE, *model.shape[1:])
    if max(shape[1:]) > most:
        raise GanvasError(
            f"The guide looks at pictures of {shape[1]} x {shape[2]} px; for this model they have {most} px at most."
        )


class FeatureCritic(nn.Module):
    """Three dense layers on the features of a classifier, which stays as it is. Float samples (n, C, H, W) -> logits (n,).

    Labels are not looked at: the features know the class. `MEMBERS` heads are averaged: where one of them is wrong about how much
    mass lies somewhere, the others mostly are not.
    """

    def __init__(self, guide: Classifier, value_range: tuple[float, float], hidden: int = 128) -> None:
        super().__init__()
        self.guide, self.shape, self.value_range = (
            copy.deepcopy(guide).eval().requires_grad_(False),
            guide.shape,
            value_range,
        )
        self.register_buffer("middle", torch.zeros(guide.width))
        self.register_buffer("spread", torch.ones(guide.width))
        self.members = nn.ModuleList(
            nn.Sequential(
                nn.Linear(guide.width, hidden),
                nn.SiLU(),
                nn.Linear(hidden, hidden),
                nn.SiLU(),
                nn.Linear(hidden, 1),
            )
            for _ in range(MEMBERS)
        )

    def features(self, samples: Tensor) -> Tensor:
        """(n, width)"""
        low, high = self.value_range
        found: Tensor = self.guide.body((samples - low) * (2 / (high - low)) - 1)
        return found

    def scaled(self, features: Tensor) -> Tensor:
        """Features in units of the real ones' spread."""
        middle: Any = self.middle
        spread: Any = self.spread
        found: Tensor = (features - middle) / spread
        return found

    def head(self, features: Tensor) -> Tensor:
        """Features (n, width) -> logits (n,)."""
        scaled = self.scaled(features)
        return torch.stack([member(scaled)[:, 0] for member in self.members]).mean(0)

    def apart(self, features: Tensor) -> Tensor:
        """Features (MEMBERS, n, width), each head's own -> logits (MEMBERS, n): what they are trained by."""
        scaled = self.scaled(features)
        return torch.stack([member(part)[:, 0] for member, part in zip(self.members, scaled, strict=True)])

    def forward(self, samples: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.head(self.features(samples))


def train_fresh(
    space: LatentSpace, train: tuple[Tensor, Tensor | None], steps: int, seed: int, tell: Progress,
    on_features: FeatureCritic | None = None,
) -> tuple[nn.Module, io.Json]:  # fmt: skip
    """A small critic trained by cross-entropy on real against generated samples, the generator as it is.

    Cross-entropy at its minimum is the log ratio itself (Goodfellow et al. 2014).
    """
    model, batch = space.model, 128
    network: nn.Module
    if on_features is None:
        images = len(model.shape) == 3
        options: dict[str, Any] = {"hidden": [128, 128, 128], "act": "leaky", "fourier": 3}
        if images:
            options = {"channels": 24, "minibatch_std": False}
        config = NetworkConfig(
            "dcgan" if images else "mlp", conditional=model.generator.num_classes > 0, critic=options
        )
        network, spec = (
            build_critic(config, seen_shape(model.shape), model.generator.num_classes, seed),
            to_dict(config),
        )
    else:
        network, spec = on_features, on_features.guide.spec
    network = network.to(model.device)
    random = stream(seed, "fresh critic")
    rows = torch.randperm(len(train[0]), generator=random)[: pool_of(model.shape)]
    real, real_labels = train[0][rows], None if train[1] is None else train[1][rows]
    count = min(pool_of(model.shape), max(2000, 2 * len(real)))
    wanted = space.labels(count, real_labels)
    fakes: list[Tensor] = []
    tell("samples for the critic", 0, count)
    for drawn in dist.collect(
        model.to_data(each).cpu() for each, _ in draw_batches(space, count, random, wanted)
    ):
        fakes.append(drawn)
        tell("samples for the critic", sum(map(len, fakes)), count)
    pool = torch.cat(fakes)
    steps = steps or max(300, min(2000, 8 * len(real) // batch))
    critic: Callable[[Tensor, Tensor | None], Tensor] = network
    sides: list[tuple[Tensor, Tensor | None, float]] = [(real, real_labels, -1.0), (pool, wanted, 1.0)]
    if on_features is not None:  # each picture is looked at once, the head many times
        with torch.no_grad():
            seen = [_features_of(on_features, model, samples, tell) for samples, _, _ in sides]
        on_features.middle, on_features.spread = seen[0].mean(0), seen[0].std(0) + 1e-3
        sides = [(features, None, sign) for features, (_, _, sign) in zip(seen, sides, strict=True)]
        steps = 2 * steps

    def loss() -> Tensor:
        losses = []
        for samples, labels, sign in sides:
            if on_features is not None:
                several = torch.randint(len(samples), (MEMBERS, batch), generator=random)
                logits = on_features.apart(samples[several.to(samples.device)])
            else:
                chosen = torch.randint(len(samples), (batch,), generator=random)
                label = None if labels is None else labels[chosen.to(labels.device)].to(model.device)
                x = to_floats(model, samples[chosen]).to(model.device)
                logits = logits_of(critic, x, label, model.generator.value_range)
            losses.append(F.softplus(sign * logits).mean(-1).sum())
        return torch.stack(losses).sum()

    def falling(step: int) -> float:
        return (1e-3 if on_features is not None else 2e-3) * (1 - step / steps) + 1e-5

    learning: nn.Module = network if on_features is None else on_features.members
    # Rank 0 trains it, or all of the processes would do the same.
    with dist.turn() if dist.spread() else nullcontext(True) as first:
        if first:
            fit(
                [("critic", learning)],
                loss,
                falling,
                steps,
                random,
                Checkpoint(None, {}),
                lambda d, t: tell("critic", d, t),
            )
    dist.copy(network)
    network.eval().requires_grad_(False)
    return network, spec


def _features_of(critic: FeatureCritic, model: Model, samples: Tensor, tell: Progress) -> Tensor:
    few = at_once(model.shape, BATCH)
    parts = (
        critic.features(resized(to_floats(model, part).to(model.device), critic.shape))
        for part in dist.shard(samples.split(few))
    )
    found: list[Tensor] = []
    for part in dist.collect(parts):
        found.append(part)
        tell("features for the critic", min(len(found) * few, len(samples)), len(samples))
    return torch.cat(found).to(model.device)
