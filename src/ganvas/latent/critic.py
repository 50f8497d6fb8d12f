"""The critic score: the logit that a model's own critic gives a sample, of each sample alone.

A critic is trained on batches and may look at them (`MinibatchStd`), so that its raw logit of a sample
changes with the neighbours. Everything that scores single samples goes through here.
"""

import copy
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganvas.latent.hooks import hooked
from ganvas.model import Model
from ganvas.networks import from_uint8
from ganvas.networks.layers import MinibatchStd

CRITIC_SCORE = "critic-score"
"""Its name among concepts, colours and figures."""
BATCH = 500
"""Samples that are judged at a time."""
USUAL = 512
"""Own samples whose minibatch statistics stand in for those of a sample's neighbours."""


class _ConstantChannel(nn.Module):
    """What stands in for `MinibatchStd` when samples are judged one by one: its usual value, whatever the neighbours are."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.register_buffer("value", torch.tensor(value))

    def forward(self, x: Tensor) -> Tensor:
        value: Any = self.value
        return torch.cat([x, value.to(x.dtype).expand(x.shape[0], 1, *x.shape[2:])], 1)


def alone(network: nn.Module, value: float) -> nn.Module:
    """The critic with its minibatch statistics replaced by a constant, ready to judge."""
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, MinibatchStd):
                setattr(module, name, _ConstantChannel(value))
    return network.eval().requires_grad_(False)


@torch.no_grad()
def minibatch_std(network: nn.Module, model: Model, samples: Tensor, labels: Tensor | None) -> float:
    """The mean of what `MinibatchStd` adds on samples; 0 without one."""
    seen: list[float] = []
    rows = slice(0, min(len(samples), BATCH))
    with ExitStack() as stack:
        for module in network.modules():
            if isinstance(module, MinibatchStd):
                stack.enter_context(
                    hooked(module, lambda m, i, output: seen.append(float(output[:, -1].mean())))
                )
        network(
            to_floats(model, samples[rows]).to(model.device),
            None if labels is None else labels[rows].to(model.device),
        )
    return sum(seen) / len(seen) if seen else 0.0


def to_floats(model: Model, samples: Tensor) -> Tensor:
    """uint8 images as floats in the generator's range; floats as they are."""
    return from_uint8(samples, model.generator.value_range) if samples.dtype == torch.uint8 else samples


def logits_of(
    network: Callable[..., Tensor], samples: Tensor, labels: Tensor | None, range_: tuple[float, float]
) -> Tensor:
    """Logits (n,). Images are rounded to 8 bits as they will be kept, with the gradient passed through."""
    if samples.dim() == 4:
        low, high = range_
        levels = (samples - low) * (255 / (high - low))
        samples = samples + ((levels.round().clamp(0, 255) - levels) * ((high - low) / 255)).detach()
        wanted = getattr(network, "shape", tuple(samples.shape[1:]))
        if tuple(wanted) != tuple(samples.shape[1:]):
            samples = F.interpolate(
                samples, tuple(wanted[1:]), mode="bilinear", antialias=True, align_corners=False
            )
    logits: Tensor = network(samples, labels)
    return logits.float()


class CriticScorer:
    """Scores samples by a copy of the model's own critic; a sample's score does not depend on what is scored beside it.

    The spread of a batch, where the critic looks at it, is the usual one of `samples` (uint8 or floats, with
    `labels`), by default of `USUAL` own samples.
    """

    def __init__(self, model: Model, samples: Tensor | None = None, labels: Tensor | None = None) -> None:
        assert model.critic is not None
        if samples is None:
            samples, labels = model.sample(USUAL, seed=1), model.labels(USUAL)
        self.model = model
        usual = minibatch_std(model.critic, model, samples, labels)
        self.network = alone(copy.deepcopy(model.critic), usual)

    def logits(self, samples: Tensor, labels: Tensor | None = None) -> Tensor:
        """Critic scores (n,) of uint8 or float samples (n, ...) on the model's device, differentiable; higher is more real."""
        return logits_of(
            self.network, to_floats(self.model, samples), labels, self.model.generator.value_range
        )

    @torch.no_grad()
    def scores(self, samples: Tensor, labels: Tensor | None = None) -> Tensor:
        """The same for any number of samples, wherever they are: float64 (n,) on the CPU."""
        device, found = self.model.device, []
        for start in range(0, len(samples), BATCH):
            rows = slice(start, start + BATCH)
            label = None if labels is None else labels[rows].to(device)
            found.append(self.logits(samples[rows].to(device), label).double().cpu())
        return torch.cat(found)


def scorer_of(model: Model) -> CriticScorer | None:
    """The scorer of a model; None where there is no critic, or one that judges several samples at once (`network.pack`)."""
    return None if model.critic is None or model.critic.pack > 1 else CriticScorer(model)
