"""A network of the latent that says how often each should be drawn: rejection before the generator is called at all."""

import math

import torch
from torch import Tensor, nn

from ganvas import arrays
from ganvas.checkpoint import Checkpoint
from ganvas.device import seeded
from ganvas.errors import GanvasError
from ganvas.latent.fit import fit
from ganvas.latent.space import WIDE, LatentSpace
from ganvas.sampling.base import BATCH, Callback, Drawn, Ratio, Target, samplers

MOST_ROUNDS = 1000
MOST_BANK = 10_000 * WIDE
"""Numbers in all latents of a bank: of those of a wide space there are fewer."""
MOST_HIDDEN = 4096
"""Its weights, their gradients and what Adam keeps are 256 MiB then."""


@samplers.register("reweight", bank=True, tiny={"bank": 500, "steps": 50})
def reweight(
    space: LatentSpace,
    ratio: Ratio,
    n: int,
    *,
    bank: int = 10_000,
    steps: int = 1500,
    most: float = 3.0,
    hidden: int = 128,
    generator: torch.Generator | None = None,
    labels: Tensor | None = None,
    callback: Callback | None = None,
) -> Drawn:
    """learned latent weights: reject latents by a small network, then one forward a sample

    w(u), a dense network bounded by `most`, is fitted to the ratios of `bank` latents by the generalised KL divergence, whose
    minimum is E[r | u]; latents are accepted with w / most (the sampling of Issenhuth et al. 2022; there w is learned against a
    second critic). The bank is a cost of its own, named in `info`; labels are not seen by the network.
    """
    most, bank = arrays.number(most, "most", above=1), arrays.count(bank, "bank", 100)
    steps, hidden = arrays.count(steps, "steps"), arrays.count(hidden, "hidden", most=MOST_HIDDEN)
    target = Target(space, ratio, n, generator, labels)
    bank = arrays.fitting(space.model.latent_dim, MOST_BANK, bank, 100)
    noise, log_ratio = _bank(target, bank)
    one_off, target.forwards = target.forwards, 0
    weights = (log_ratio - log_ratio.logsumexp(0) + math.log(bank)).exp().clamp(max=most)
    weights = (weights / weights.mean()).float()
    with seeded(int(torch.randint(2**31, (1,), generator=target.random))):
        size = space.model.latent_dim
        network = nn.Sequential(
            nn.Linear(size, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, 1)
        ).to(noise.device)

    def log_weight(u: Tensor) -> Tensor:
        bounded: Tensor = math.log(most) - nn.functional.softplus(network(u)[:, 0])
        return bounded

    def loss() -> Tensor:
        rows = torch.randint(bank, (256,), generator=target.random)
        found = log_weight(noise[rows])
        value: Tensor = (found.exp() - weights[rows] * found).mean()
        return value

    fit([("weights", network)], loss, lambda step: 1e-3, steps, target.random, Checkpoint(None, {}), callback)
    waiting = torch.arange(n, device=noise.device)
    u = torch.zeros(n, size, device=noise.device)
    calls = 0
    with torch.no_grad():
        for _ in range(MOST_ROUNDS):
            new = target.normal(len(waiting), size)
            calls += len(new)
            good = target.uniform(len(new)).log() < log_weight(new) - math.log(most)
            u[waiting[good]] = new[good]
            waiting = waiting[~good]
            if not len(waiting):
                break
        else:
            raise GanvasError(
                "The learned weights accept almost nothing. Give a larger most (--set most=10), or fit the ratio again."
            )
    state = target.at(u, target.labels)
    return target.drawn(
        state._replace(log_ratio=state.log_ratio.nan_to_num(neginf=0.0)),
        one_off_forwards=one_off,
        latents_a_sample=calls / n,
    )


def _bank(target: Target, count: int) -> tuple[Tensor, Tensor]:
    """Noise and log ratios of so many latents; their samples, 2 GB of 256 px, are not kept."""
    labels = target.bank_labels(count)
    noise, ratios = torch.empty(0), list[Tensor]()
    most = target.most if target.space.model.latent_dim <= WIDE else BATCH
    for start in range(0, count, most):
        here = min(most, count - start)
        drawn = target.draw(here, None if labels is None else labels[start : start + here])
        # One piece of memory: of all parts and their whole there would be two.
        noise = noise if start else drawn.noise.new_empty(count, drawn.noise.shape[1])
        noise[start : start + here] = drawn.noise
        ratios.append(drawn.log_ratio)
    return noise, torch.cat(ratios)
