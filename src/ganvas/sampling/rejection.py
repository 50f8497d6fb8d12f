"""Rejection: candidates are kept or not, each by its own log ratio."""

import math

import torch
from torch import Tensor

from ganvas import arrays
from ganvas.errors import GanvasError
from ganvas.latent.space import LatentSpace
from ganvas.sampling.base import Callback, Candidates, Drawn, Ratio, Target, samplers

PILOT = 2000
EPSILON = 1e-6
RAREST = 1e-4
"""Acceptance below which rejection is refused: it would draw for hours."""
MOST_REFUSED = 100_000
"""Candidates after which a sampler that has accepted none gives up."""
OVER = 5
"""Times its budget: rejection that needs more gives up, and so does one without a budget that accepts less than `RAREST`."""
MOST_BUDGET = 10_000
"""Runs of the network a sample that may be asked for: what accepts one in as many is refused, too."""


@samplers.register("reject", at_budget=lambda budget: {"budget": float(budget)}, exact={})
def reject(
    space: LatentSpace,
    ratio: Ratio,
    n: int,
    *,
    gamma: float = 0.0,
    budget: float | None = None,
    generator: torch.Generator | None = None,
    labels: Tensor | None = None,
    callback: Callback | None = None,
) -> Drawn:
    """discriminator rejection (DRS): accept by the ratio over its largest value

    Accepts with probability sigmoid(F), F = u - log(1 - exp(u - epsilon)) - gamma with u the log ratio less its largest value
    (Azadi et al. 2019). `gamma` 0 is exact rejection, as far as the largest value of the pilot is the true one; a lower gamma
    accepts more and shifts the distribution back towards the prior. `budget` picks gamma so that a sample costs about so
    many runs of the network, and `OVER` times as many at most. Raises `GanvasError` where that is not enough.
    """
    gamma = arrays.number(gamma, "gamma")
    if budget is not None:
        budget = arrays.number(budget, "budget, candidates a sample,", least=1, most=MOST_BUDGET)
    target = Target(space, ratio, n, generator, labels)
    pool = target.draw(min(max(PILOT, n), target.most), target.labels)
    top = float(pool.log_ratio.max())
    if not math.isfinite(top):
        return target.drawn(pool.take(torch.arange(min(n, len(pool.noise)))))  # raises
    shift = gamma if budget is None else _gamma(pool.log_ratio, top, budget)
    if float(_accept(pool.log_ratio, top, shift).mean()) < RAREST:
        raise GanvasError(
            f"gamma {shift:g} accepts less than one of {1 / RAREST:,.0f} candidates. Give a lower gamma, or budget instead."
        )
    waiting = torch.arange(n, device=pool.noise.device)
    found = pool.room(n, target.labels)
    accepted = seen = raised = 0
    most = max(MOST_REFUSED // 10, OVER * n * budget) if budget is not None else max(MOST_REFUSED, n / RAREST)
    while True:
        if float(pool.log_ratio.max()) > top:
            top, raised = float(pool.log_ratio.max()), raised + 1
            if budget is not None:  # relative to a higher bound the same gamma would accept less
                shift = _gamma(pool.log_ratio, top, budget)
        good = target.uniform(len(pool.noise)) < _accept(pool.log_ratio, top, shift)
        seen, accepted = seen + len(good), accepted + int(good.sum())
        waiting, filled = _fill(waiting, target.labels, pool.take(good.nonzero()[:, 0]))
        for rows, some in filled:
            found.put(rows, some)
        if callback is not None:
            callback(n - len(waiting), n)
        if not len(waiting):
            break
        if seen >= most or (not accepted and seen >= MOST_REFUSED):
            raise GanvasError(
                f"Rejection accepted {accepted:,} of {seen:,} candidates, {n - len(waiting):,} of the {n:,} samples asked for, "
                "and gave up. Use --sampler budget, or a lower gamma."
            )
        rate = max(accepted / seen, 1e-4)
        count = min(target.most, max(256, math.ceil(1.1 * len(waiting) / rate)))
        pool = target.draw(count, None if target.labels is None else target.labels[waiting])
    return target.drawn(
        found,
        acceptance=accepted / seen,
        gamma=shift,
        bound=top,
        raised=raised,
    )


def _accept(log_ratio: Tensor, top: float, gamma: float) -> Tensor:
    u = log_ratio - top
    return torch.sigmoid(u - torch.log(-torch.expm1((u - EPSILON).clamp(max=-1e-12))) - gamma)


def _gamma(log_ratio: Tensor, top: float, budget: float) -> float:
    """The shift at which one of `budget` candidates is accepted."""
    low, high = float((log_ratio - top).clamp(min=-1e6).min()) - 50, 50.0
    for _ in range(60):
        middle = (low + high) / 2
        if float(_accept(log_ratio, top, middle).mean()) * budget > 1:
            low = middle
        else:
            high = middle
    return high


def _fill(
    waiting: Tensor, labels: Tensor | None, found: Candidates
) -> tuple[Tensor, list[tuple[Tensor, Candidates]]]:
    """Put candidates into waiting slots of their label: the slots still waiting, and (slots, candidates) that are done."""
    if labels is None or found.labels is None:
        count = min(len(waiting), len(found.noise))
        return waiting[count:], [(waiting[:count], found.take(torch.arange(count)))]
    still, done = [], []
    for label in labels[waiting].unique():
        mine, theirs = waiting[labels[waiting] == label], (found.labels == label).nonzero()[:, 0]
        count = min(len(mine), len(theirs))
        still.append(mine[count:])
        done.append((mine[:count], found.take(theirs[:count])))
    return torch.cat(still), done


@samplers.register(
    "budget",
    at_budget=lambda budget: {"budget": budget},
    tried=lambda budget, flat: [{"budget": share} for share in sorted({max(2, budget // 2), budget})],
    tried_truncated=True,
    exact={"budget": 60},
)
def budget(
    space: LatentSpace,
    ratio: Ratio,
    n: int,
    *,
    budget: int = 10,
    generator: torch.Generator | None = None,
    labels: Tensor | None = None,
    callback: Callback | None = None,
) -> Drawn:
    """optimal budgeted rejection at exactly `budget` candidates a sample

    Accepts with probability min(1, c r), c such that one candidate of `budget` is kept (Verine et al. 2024: for every
    f-divergence the best acceptance of that mean). The kept ones are drawn by systematic sampling, so that exactly n are kept of
    exactly n `budget`, each with its own probability.
    """
    budget = arrays.count(budget, "budget, candidates a sample,", most=MOST_BUDGET)
    target = Target(space, ratio, n, generator, labels)
    chunk = max(1, target.most // budget)
    found: Candidates | None = None
    constants = []
    for start in range(0, n, chunk):
        slots = torch.arange(start, min(start + chunk, n), device=space.model.device)
        own = None if target.labels is None else target.labels[slots]
        pool = target.draw(len(slots) * budget, own)
        kept = torch.zeros(len(slots), dtype=torch.long, device=slots.device)
        for label in [None] if own is None or pool.labels is None else own.unique():
            mine = (
                torch.arange(len(slots), device=slots.device)
                if label is None
                else (own == label).nonzero()[:, 0]
            )
            theirs = (
                torch.arange(len(pool.noise), device=slots.device)
                if label is None or pool.labels is None
                else (pool.labels == label).nonzero()[:, 0]
            )
            probability, constant = optimal_acceptance(pool.log_ratio[theirs], len(mine))
            constants.append(constant)
            kept[mine] = theirs[_systematic(probability, len(mine), target)]
        found = (found or pool.room(n, target.labels)).put(slots, pool.take(kept))
        if callback is not None:
            callback(start + len(slots), n)
    assert found is not None
    return target.drawn(found, acceptance=1 / budget, log_constant=sum(constants) / len(constants))


def optimal_acceptance(log_ratio: Tensor, count: int) -> tuple[Tensor, float]:
    """min(1, c r) for each candidate, with c such that their sum is `count`; and log c."""
    values = log_ratio.nan_to_num(neginf=-1e9)
    low, high = -float(values.max()) - 50, -float(values.min().clamp(min=float(values.max()) - 700)) + 50
    for _ in range(100):
        middle = (low + high) / 2
        if float((values + middle).clamp(max=0).exp().sum()) < count:
            low = middle
        else:
            high = middle
    return (values + high).clamp(max=0).exp(), high


def _systematic(probability: Tensor, count: int, target: Target) -> Tensor:
    """`count` rows, row i with exactly its probability (whose sum is `count`), by one uniform number (Madow 1949)."""
    order = target.uniform(len(probability)).argsort()
    total = probability[order].cumsum(0)
    total = total * (count / total[-1].clamp(min=1e-300))
    ticks = torch.arange(count, device=total.device) + target.uniform(1).double()
    return order[
        torch.searchsorted(total, ticks.clamp(max=float(total[-1])), right=False).clamp(max=len(order) - 1)
    ]
