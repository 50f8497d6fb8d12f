"""Chains that follow the gradient: Langevin, Metropolis-adjusted, and mixed with resampling."""

import math

import torch
from torch import Tensor

from ganvas import arrays
from ganvas.latent.space import LatentSpace
from ganvas.sampling.base import Callback, Candidates, Drawn, Ratio, Target, in_gradients, samplers
from ganvas.sampling.metropolis import step_resample

LANGEVIN_TARGET = 0.574
"""Acceptance at which MALA moves fastest in high dimensions (Roberts and Rosenthal 1998)."""
EX2_TARGET = 0.67
FIRST_STEP = 0.1


class Mala:
    """Steps of the Metropolis-adjusted Langevin algorithm on the noise of many chains, with one step size for all.

    The step size follows the acceptance (Robbins-Monro on its logarithm) until `freeze` is called: while it moves, chains are
    not exact.
    """

    def __init__(self, target: Target, size: float, wanted: float, adjust: bool = True) -> None:
        self.target, self.size, self.wanted, self.adjust = target, size, wanted, adjust
        self.adapting, self.taken = True, 0
        self.rates: list[float] = []

    def freeze(self) -> None:
        """From now on the step size stays, and acceptance is recorded."""
        self.adapting = False
        self.rates.clear()

    def step(self, state: Candidates, slope: Tensor) -> tuple[Candidates, Tensor]:
        """One step for all chains, states and gradients of the log ratio (n, Z): both are changed themselves."""
        e, rates = self.size, list[Tensor]()
        drift = slope - state.noise  # of the log density: log ratio plus the normal prior
        # The noise of a step of size e has standard deviation sqrt(e), its variance is e.
        proposal = state.noise + e / 2 * drift + math.sqrt(e) * self.target.normal(*state.noise.shape)
        luck = self.target.uniform(len(proposal)).double().log() if self.adjust else None
        for rows, new, new_slope in self.target.sloped(proposal, state.labels):
            good = new.log_ratio.isfinite()
            if luck is not None:
                old = Candidates(state.noise[rows], state.samples[:0], state.log_ratio[rows], None)
                log_accept = self._log_accept(old, drift[rows], new, new_slope)
                rates.append(log_accept.clamp(max=0).exp())
                good = luck[rows] < log_accept
            state.where(good, new, rows.start)
            slope[rows] = torch.where(good[:, None], new_slope, slope[rows])
        if rates:
            self._adapt(float(torch.cat(rates).mean()))
        return state, slope

    def _log_accept(self, old: Candidates, drift: Tensor, new: Candidates, new_slope: Tensor) -> Tensor:
        """The logarithm of the chance that each proposal is accepted."""
        e, new_drift = self.size, new_slope - new.noise
        forward = (new.noise - old.noise - e / 2 * drift).double().square().sum(1)
        back = (old.noise - new.noise - e / 2 * new_drift).double().square().sum(1)
        density = new.log_ratio - old.log_ratio
        density = density - 0.5 * (new.noise.double().square().sum(1) - old.noise.double().square().sum(1))
        found = density + (forward - back) / (2 * e)
        return torch.where(new.log_ratio.isfinite(), found.nan_to_num(nan=-torch.inf), -torch.inf)

    def _adapt(self, rate: float) -> None:
        """The step size after a step of this acceptance."""
        self.taken += 1
        self.rates.append(rate)
        if self.adapting:
            self.size *= math.exp((rate - self.wanted) * 2 / math.sqrt(self.taken))

    @property
    def acceptance(self) -> float:
        """Mean since `freeze`."""
        return sum(self.rates) / max(1, len(self.rates))


@samplers.register(
    "langevin", gradient=True, at_budget=in_gradients, tried_from=4, exact={"steps": 150}, tiny={"steps": 5}
)
def langevin(
    space: LatentSpace,
    ratio: Ratio,
    n: int,
    *,
    steps: int = 50,
    size: float = FIRST_STEP,
    adjust: bool = True,
    acceptance: float = LANGEVIN_TARGET,
    generator: torch.Generator | None = None,
    labels: Tensor | None = None,
    callback: Callback | None = None,
) -> Drawn:
    """Langevin steps on the noise (DDLS); Metropolis-adjusted with a step size that adapts

    u <- u + e / 2 grad log p(u) + sqrt(e) n on log p(u) = -|u|^2 / 2 + log r(G(u)) (Che et al. 2020). With `adjust` steps are
    accepted as MALA does, and e follows the wanted acceptance over the first half of the steps; without, `size` stays.
    """
    steps, size = arrays.count(steps, "steps"), arrays.number(size, "size", above=0)
    acceptance = arrays.number(acceptance, "acceptance", above=0, most=1)
    target = Target(space, ratio, n, generator, labels)
    state, slope = target.slope(target.normal(n, space.model.latent_dim), target.labels)
    chain = Mala(target, size, acceptance, adjust)
    for step in range(steps):
        if step == steps // 2:
            chain.freeze()
        state, slope = chain.step(state, slope)
        if callback is not None:
            callback(step + 1, steps)
    state = replace_unjudged(target, state)
    return target.drawn(state, step_size=chain.size, **({"acceptance": chain.acceptance} if adjust else {}))


@samplers.register(
    "ex2",
    gradient=True,
    at_budget=lambda budget: {"steps": max(1, budget // 8), "candidates": 3, "local": 1},
    tried_from=8,
    exact={"steps": 12},
    tiny={"steps": 2},
)
def ex2(
    space: LatentSpace,
    ratio: Ratio,
    n: int,
    *,
    steps: int = 5,
    candidates: int = 10,
    local: int = 3,
    size: float = FIRST_STEP,
    acceptance: float = EX2_TARGET,
    generator: torch.Generator | None = None,
    labels: Tensor | None = None,
    callback: Callback | None = None,
) -> Drawn:
    """explore and exploit: resampling for far jumps, then a few Langevin steps (Ex2MCMC)

    Each step is one of i-SIR among `candidates` and `local` of MALA (Samsonov et al. 2022).
    """
    steps, candidates = arrays.count(steps, "steps"), arrays.count(candidates, "candidates", 2)
    local, size = arrays.count(local, "local"), arrays.number(size, "size", above=0)
    acceptance = arrays.number(acceptance, "acceptance", above=0, most=1)
    target = Target(space, ratio, n, generator, labels)
    state = target.draw(n, target.labels)
    chain = Mala(target, size, acceptance)
    for step in range(steps):
        if step == steps // 2 and step:
            chain.freeze()
        state = step_resample(target, state, candidates)
        _, slope = target.uphill(state.noise, state.labels)
        for _ in range(local):
            state, slope = chain.step(state, slope)
        if callback is not None:
            callback(step + 1, steps)
    state = replace_unjudged(target, state)
    return target.drawn(state, step_size=chain.size, acceptance=chain.acceptance)


def replace_unjudged(target: Target, state: Candidates) -> Candidates:
    """Rows without a finite ratio, drawn again from the prior: what moves along gradients cannot start from there."""
    for _ in range(10):
        bad = (~state.log_ratio.isfinite()).nonzero()[:, 0]
        if not len(bad):
            break
        new = target.draw(len(bad), None if state.labels is None else state.labels[bad])
        state.put(bad, new)
    return state
