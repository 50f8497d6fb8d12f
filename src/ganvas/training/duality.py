"""The duality gap: how much either player could still win against the other, frozen (Grnarova et al. 2019, eq. 4).

It needs no labels and no extractor, and is near 0 only where neither can gain: a collapse shows, as the worst critic finds it.
"""

import copy
from typing import TYPE_CHECKING

import torch

from ganvas.data import Dataset
from ganvas.device import stream
from ganvas.networks import from_uint8, to_prior
from ganvas.training.engine import optimizer_of

if TYPE_CHECKING:
    from ganvas.training.gan import GanMethod

RATE_FACTOR = 0.5
"""Of the run's own rates: the copies shall win, not run away."""


def duality_gap(game: "GanMethod", data: Dataset, steps: int) -> float:
    """V(G, worst D) - V(worst G, D), V being minus the critic's loss, after `steps` updates of a copy of each player.

    Uses random numbers of its own and changes nothing in `game`. With few steps it is a lower bound.
    """
    config = game.config
    seed, batch = config.training.seed, config.training.batch
    random = stream(seed, "duality")
    generator, critic = copy.deepcopy(game.generator).train(), copy.deepcopy(game.critic).train()
    worst_generator, worst_critic = copy.deepcopy(generator), copy.deepcopy(critic)
    generator.requires_grad_(False), critic.requires_grad_(False)
    o = config.optimizer
    for_critic = optimizer_of(config, worst_critic, RATE_FACTOR * o.lr_critic)
    for_generator = optimizer_of(config, worst_generator, RATE_FACTOR * o.lr_generator)

    classes = data.take_labels() if game.generator.num_classes else None

    def turn(g: torch.nn.Module, d: torch.nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
        chosen = torch.randint(len(data), (batch,), generator=random)
        if classes is not None:
            # As batches of the training have them: the critic's minibatch std compares neighbours.
            chosen = chosen[classes[chosen].argsort(stable=True)]
        real, labels = data.take(chosen)
        real = real.to(game.engine.device)
        if game.spec.kind == "images":
            real = from_uint8(real, game.generator.value_range)
        known = labels.to(game.engine.device) if labels is not None and game.generator.num_classes else None
        noise = torch.randn(batch, game.generator.latent_dim, generator=random)
        z = to_prior(game.generator.prior, noise).to(game.engine.device)
        with game.engine.autocast():
            return d(real, known).float(), d(g(z, known), known).float()

    for _ in range(steps):
        loss = game.loss.critic(*turn(generator, worst_critic))
        for_critic.zero_grad()
        loss.backward()
        for_critic.step()
        loss = game.loss.generator(*turn(worst_generator, critic))
        for_generator.zero_grad()
        loss.backward()
        for_generator.step()
    with torch.no_grad():
        against_critic = sum(float(game.loss.critic(*turn(generator, worst_critic))) for _ in range(4)) / 4
        against_generator = sum(float(game.loss.critic(*turn(worst_generator, critic))) for _ in range(4)) / 4
    return against_generator - against_critic
