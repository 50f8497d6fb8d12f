"""The critic score: the logit that a model's own critic gives a sample, of each sample alone.

A critic is trained on batches and may look at them (`MinibatchStd`), so that its raw logit of a sample
changes with the neighbours. Everything that scores single samples goes through here.
"""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ganvas import arrays
from ganvas.device import stream
from ganvas.effort import largest_result
from ganvas.latent.hooks import hooked
from ganvas.model import ROWS, Model, all_over
from ganvas.networks import from_uint8
from ganvas.networks.layers import MinibatchStd

CRITIC_SCORE = "critic-score"
"""Its name among concepts, colours and figures."""
BATCH, ROOM = 500, 2**20
"""Samples that are judged at a time, and numbers that these have: a critic keeps 40 MB of a picture of 256 px."""
USUAL, FEWEST, SEEN = 512, 64, 2**25
"""Own samples whose minibatch statistics stand in for those of a sample's neighbours; of large ones as many as have so many
numbers, and `FEWEST` at least."""

LAYER = 2**26
"""Numbers in a critic's largest layer, of all samples that it judges at a time: some see them larger than they are."""
_layers: "WeakKeyDictionary[nn.Module, dict[tuple[int, ...], int]]" = WeakKeyDictionary()


def judged_at_once(shape: Sequence[int]) -> int:
    """How many samples of a shape a critic judges at a time."""
    return arrays.fitting(math.prod(shape), ROOM, BATCH)


def _fitting(network: object, samples: Tensor, labels: Tensor | None, most: int) -> int:
    """How many samples like these, `most` at most, the largest layer of a critic has room for; one that learns takes all."""
    if not isinstance(network, nn.Module) or network.training or most <= ROWS:
        return most
    shape, known = tuple(samples.shape[1:]), _layers.setdefault(network, {})
    if shape not in known:
        label = None if labels is None else labels[:1]
        with torch.no_grad():
            known[shape] = largest_result(lambda: _seen(network, samples[:1].detach(), label))
    return arrays.fitting(known[shape], LAYER, most)


def _seen(network: Callable[..., Tensor], samples: Tensor, labels: Tensor | None) -> Tensor:
    return network(resized(samples, getattr(network, "shape", tuple(samples.shape[1:]))), labels)


def _enough(shape: Sequence[int]) -> int:
    return arrays.fitting(math.prod(shape), SEEN, USUAL, FEWEST)


class _ConstantChannels(nn.Module):
    """What stands in for `MinibatchStd` when samples are judged one by one: its usual values, whatever the neighbours are."""

    def __init__(self, value: Tensor) -> None:
        super().__init__()
        # A single one is kept as a number, as files of before have it.
        self.register_buffer("value", value.squeeze(0) if len(value) == 1 else value)

    def forward(self, x: Tensor) -> Tensor:
        value: Any = self.value
        channels = value.to(x.dtype).reshape(1, -1, *[1] * (x.dim() - 2))
        return torch.cat([x, channels.expand(x.shape[0], -1, *x.shape[2:])], 1)


def _spreads(network: nn.Module) -> dict[str, MinibatchStd]:
    """Where a critic looks at the spread of its batch, by name."""
    return {name: each for name, each in network.named_modules() if isinstance(each, MinibatchStd)}


def alone(network: nn.Module, values: Mapping[str, Tensor] | None = None) -> nn.Module:
    """The critic with its minibatch statistics replaced by constants (of `minibatch_std`; without `values`, by 1), to judge."""
    for name, spread in _spreads(network).items():
        parent, _, own = name.rpartition(".")
        value = torch.ones(spread.channels) if values is None else values[name]
        setattr(network.get_submodule(parent), own, _ConstantChannels(value))
    return network.eval().requires_grad_(False)


@torch.no_grad()
def minibatch_std(
    network: nn.Module, model: Model, samples: Tensor, labels: Tensor | None
) -> dict[str, Tensor]:
    """The means of what each `MinibatchStd` adds on samples (channels,), by its name."""
    found: dict[str, Tensor] = {}
    spreads, shape = _spreads(network), samples.shape[1:]
    if not spreads:
        return found
    count, whole = (
        min(len(samples), BATCH, _enough(shape)),
        math.lcm(*(each.group for each in spreads.values())),
    )
    # In whole groups, as in training: what is no multiple would be one large group of a larger spread.
    count -= count % whole if whole <= count else 0

    def part_of(rows: slice) -> tuple[Tensor, Tensor | None]:
        label = None if labels is None else labels[rows].to(model.device)
        return to_floats(model, samples[rows]).to(model.device), label

    few = _fitting(network, *part_of(slice(1)), judged_at_once(shape))
    size = count if whole > count else max(whole, few // whole * whole)
    seen: dict[str, Tensor] = {}
    with ExitStack() as stack:
        for name, spread in spreads.items():
            stack.enter_context(hooked(spread, partial(_note, seen, name)))
        for rows in torch.arange(count).split(size):
            network(*part_of(slice(int(rows[0]), int(rows[-1]) + 1)))
            for name, mean in seen.items():
                share = mean * (len(rows) / count)
                found[name] = found[name] + share if name in found else share
    return found


def _note(found: dict[str, Tensor], name: str, spread: MinibatchStd, given: Any, output: Tensor) -> None:
    added = output[:, -spread.channels :].float()
    found[name] = added.mean((0, *range(2, added.dim())))


def to_floats(model: Model, samples: Tensor) -> Tensor:
    """uint8 images as floats in the generator's range; floats as they are."""
    return from_uint8(samples, model.generator.value_range) if samples.dtype == torch.uint8 else samples


def resized(samples: Tensor, shape: Sequence[int]) -> Tensor:
    """Images as large as a network of a shape (C, H, W) sees them; other samples as they are."""
    if samples.dim() != 4 or tuple(shape[1:]) == tuple(samples.shape[2:]):
        return samples
    return F.interpolate(samples, tuple(shape[1:]), mode="bilinear", antialias=True, align_corners=False)


def logits_of(
    network: Callable[..., Tensor], samples: Tensor, labels: Tensor | None, range_: tuple[float, float]
) -> Tensor:
    """Logits (n,). Images are rounded to 8 bits as they will be kept, with the gradient passed through."""
    if samples.dim() == 4:
        low, high = range_
        levels = (samples - low) * (255 / (high - low))
        samples = samples + ((levels.round().clamp(0, 255) - levels) * ((high - low) / 255)).detach()
    few = _fitting(network, samples, labels, len(samples))
    if few >= len(samples):
        return _seen(network, samples, labels).float()
    # For a gradient the layers of all parts would be kept: they are computed again.
    see = (
        partial(checkpoint, _seen, network, use_reentrant=False)
        if torch.is_grad_enabled()
        else partial(_seen, network)
    )
    return torch.cat([see(*each).float() for each in arrays.split(samples, labels, few)])


class CriticScorer:
    """Scores samples by a copy of the model's own critic; a sample's score does not depend on what is scored beside it.

    The spread of a batch, where the critic looks at it, is the usual one of `samples` (uint8 or floats, with
    `labels`), by default of `USUAL` own samples.
    """

    def __init__(self, model: Model, samples: Tensor | None = None, labels: Tensor | None = None) -> None:
        assert model.critic is not None
        if samples is None:
            count = _enough(model.shape)
            labels = model.labels_at(all_over(count, model.generator.num_classes))
            samples = model.sample(count, seed=1, labels=labels)
        else:  # the first of sorted data are all of one class
            rows = torch.randperm(len(samples), generator=stream(0, "spread"))[:BATCH]
            samples, labels = samples[rows], None if labels is None else labels[rows]
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
        device, size = self.model.device, judged_at_once(samples.shape[1:])
        found = [
            self.logits(part.to(device), None if label is None else label.to(device)).double().cpu()
            for part, label in arrays.split(samples, labels, size)
        ]
        return torch.cat(found)


def judges_alone(model: Model) -> bool:
    """Whether a model came with a critic, and one of single samples (`network.pack`)."""
    return model.critic is not None and model.critic.pack == 1


def scorer_of(model: Model) -> CriticScorer | None:
    """The scorer of a model; None where there is no critic, or one that judges several samples at once (`network.pack`)."""
    return CriticScorer(model) if judges_alone(model) else None
