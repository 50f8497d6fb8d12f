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


def pulls(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What each of both, (n,) and (m,), adds to the share of pairs whose first is the larger, ties by half, beyond its mean."""

    def above(each: np.ndarray, others: np.ndarray) -> np.ndarray:
        others = np.sort(others)
        found = np.searchsorted(others, each) + np.searchsorted(others, each, "right")
        return found / (2 * len(others))

    up, down = above(first, second), above(second, first)
    return (up - up.mean()) / len(first), (down.mean() - down) / len(second)


def spread_of_groups(pulls: np.ndarray, group: Tensor | None) -> float:
    """The variance of the sum of pulls (n,), of which whole groups are independent, or each; infinite of a single one."""
    if group is not None:
        pulls = np.bincount(np.unique(group.cpu().numpy(), return_inverse=True)[1], pulls)
    count = len(pulls)
    return float(np.square(pulls).sum() * count / (count - 1)) if count > 1 else float("inf")


def bootstrap(
    figures: Callable[[Tensor], object], counts: Tensor, seed: int, fields: Sequence[str], times: int = 100
) -> list[float]:
    """Standard deviations of some fields of `figures(counts)`, from as many samples again out of the shares found."""
    total = int(counts.sum())
    redrawn = np.random.default_rng(seed).multinomial(total, (counts.double() / total).numpy(), times)
    again = [figures(torch.from_numpy(drawn)) for drawn in redrawn]
    return [float(np.std([getattr(each, field) for each in again])) for field in fields]
