"""Chains over whole samples: Metropolis-Hastings and importance resampling with the prior as the proposal."""

import torch
from torch import Tensor

from ganvas import arrays
from ganvas.latent.space import LatentSpace
from ganvas.sampling.base import Callback, Candidates, Drawn, Ratio, Target, samplers


@samplers.register("metropolis", at_budget=lambda budget: {"steps": budget}, exact={"steps": 60})
def metropolis(
    space: LatentSpace,
    ratio: Ratio,
    n: int,
    *,
    steps: int = 10,
    generator: torch.Generator | None = None,
    labels: Tensor | None = None,
    callback: Callback | None = None,
) -> Drawn:
    """MH-GAN: a chain of `steps` candidates for each sample, all chains at once

    Independence Metropolis-Hastings: accept with min(1, r(new) / r(old)) (Turner et al. 2019). A chain starts at the log
    ratio of a real sample (`ratio.real`, from the calibration), which leaves no burn-in; a chain that accepts nothing is started
    again from a generated sample. Without `ratio.real` all start from generated ones.
    """
    steps = arrays.count(steps, "steps")
    target = Target(space, ratio, n, generator, labels)
    real: Tensor | None = getattr(ratio, "real", None)
    current = target.draw(n, target.labels)
    moved = current.log_ratio.isfinite()
    log_ratio = current.log_ratio
    if real is not None and len(real):
        log_ratio = _starts(target, real.to(log_ratio), getattr(ratio, "real_labels", None))
        moved = _accepts(target.uniform(n), current.log_ratio, log_ratio)
        log_ratio = torch.where(moved, current.log_ratio, log_ratio)
    accepted = int(moved.sum())
    for step in range(1, steps):
        good = _step(target, current, log_ratio, target.labels)
        moved, accepted = moved | good, accepted + int(good.sum())
        if callback is not None:
            callback(step + 1, steps)
    stuck = (~moved).nonzero()[:, 0]
    if len(stuck):
        own = None if target.labels is None else target.labels[stuck]
        again = target.draw(len(stuck), own)
        for _ in range(steps - 1):
            _step(target, again, again.log_ratio, own)
        current.put(stuck, again)
    return target.drawn(current, acceptance=accepted / (n * steps), restarts=len(stuck))


def _starts(target: Target, real: Tensor, kinds: Tensor | None) -> Tensor:
    """Log ratios of real samples for chains to start at (n,): of the chain's own class where there are such."""
    share = target.uniform(target.n)
    found = real[(share * len(real)).long().clamp(max=len(real) - 1)]
    if target.labels is None or kinds is None:
        return found
    for label in target.labels.unique():
        mine, pool = target.labels == label, real[kinds.to(real.device) == label]
        if len(pool):
            found[mine] = pool[(share[mine] * len(pool)).long().clamp(max=len(pool) - 1)]
    return found


def _step(target: Target, current: Candidates, log_ratio: Tensor, labels: Tensor | None) -> Tensor:
    """One proposal for each chain, whose candidates and log ratios (n,) are changed themselves; whether it was accepted (n,)."""
    noise, luck = target.normal(*current.noise.shape), target.uniform(len(current.noise))
    accepted = torch.zeros(len(luck), dtype=torch.bool, device=luck.device)
    for rows, new in target.judged(noise, labels):
        good = _accepts(luck[rows], new.log_ratio, log_ratio[rows])
        log_ratio[rows] = torch.where(good, new.log_ratio, log_ratio[rows])
        current.where(good, new, rows.start)
        accepted[rows] = good
    return accepted


def _accepts(luck: Tensor, new: Tensor, old: Tensor) -> Tensor:
    """log u < new - old by uniform numbers, and never what has no ratio."""
    return (luck.double().log() < new - old) & new.isfinite()


@samplers.register(
    "resample", at_budget=lambda budget: {"candidates": max(2, budget)}, exact={"candidates": 100}
)
def resample(
    space: LatentSpace,
    ratio: Ratio,
    n: int,
    *,
    candidates: int = 10,
    steps: int = 1,
    generator: torch.Generator | None = None,
    labels: Tensor | None = None,
    callback: Callback | None = None,
) -> Drawn:
    """importance resampling (SIR): one of `candidates`, by weight; more `steps` iterate it (i-SIR)

    A step draws `candidates` - 1 new ones beside the current and picks one with probability proportional to its ratio (Andrieu
    et al. 2010, i-SIR), which keeps the aimed distribution; the first step is plain SIR.
    """
    candidates, steps = arrays.count(candidates, "candidates", 2), arrays.count(steps, "steps")
    target = Target(space, ratio, n, generator, labels)
    current = target.draw(n, target.labels)
    current = step_resample(target, current, candidates)
    for step in range(1, steps):
        current = step_resample(target, current, candidates)
        if callback is not None:
            callback(step + 1, steps)
    return target.drawn(current)


def step_resample(target: Target, current: Candidates, candidates: int) -> Candidates:
    """One step of i-SIR for every row, which is changed itself. Picking by the largest of log ratio plus Gumbel noise needs no
    weights in memory."""
    score = current.log_ratio + _gumbel(target, len(current.noise))
    for _ in range(candidates - 1):
        noise, luck = target.normal(*current.noise.shape), _gumbel(target, len(current.noise))
        for rows, new in target.judged(noise, current.labels):
            mine = new.log_ratio + luck[rows]
            current.where(mine > score[rows], new, rows.start)
            score[rows] = torch.maximum(score[rows], mine)
    return current


def _gumbel(target: Target, n: int) -> Tensor:
    uniform: Tensor = target.uniform(n).double().clamp(min=1e-300)
    return -(-uniform.log()).log()
