"""How much of a figure is chance: random parts, and the errors that come of leaving them out or drawing them again."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor


def pick(total: int, count: int, seed: int) -> Tensor:
    """`count` of the numbers below `total`, in rising order."""
    return torch.randperm(total, generator=torch.Generator().manual_seed(seed))[:count].sort().values


def parts(total: int, count: int, seed: int) -> list[Tensor]:
    """The numbers below `total` in `count` random parts of about equal size.

    Random, because samples often come sorted: parts that are classes differ by far more than chance does.
    """
    order = torch.randperm(total, generator=torch.Generator().manual_seed(seed))
    return list(order.tensor_split(count))


def in_shares(labels: Tensor, count: int, seed: int) -> Tensor:
    """`count` labels in the shares of `labels` (N,), in random order: all of them once, then again, and some for the rest."""
    random = torch.Generator().manual_seed(seed)
    rounds = [torch.randperm(len(labels), generator=random) for _ in range(-(-count // len(labels)))]
    return labels[torch.cat(rounds)[:count]].cpu()


def standard_error(values: Tensor | Sequence[float]) -> float:
    """Of the mean of independent values; 0 for a single one."""
    numbers = torch.as_tensor(values, dtype=torch.float64)
    return float(numbers.std() / len(numbers) ** 0.5) if len(numbers) > 1 else 0.0


def jackknife(without: Sequence[float]) -> float:
    """Standard error from the values with one part left out in turn (Efron and Stein 1981)."""
    return float(np.sqrt((len(without) - 1) * np.var(without)))


def bootstrap(
    figures: Callable[[Tensor], object], counts: Tensor, seed: int, fields: Sequence[str], times: int = 100
) -> list[float]:
    """Standard deviations of some fields of `figures(counts)`, from as many samples again out of the shares found."""
    total = int(counts.sum())
    redrawn = np.random.default_rng(seed).multinomial(total, (counts.double() / total).numpy(), times)
    again = [figures(torch.from_numpy(drawn)) for drawn in redrawn]
    return [float(np.std([getattr(each, field) for each in again])) for field in fields]
