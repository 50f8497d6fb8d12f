"""Which samples lie near the data and which data lie near samples: balls around nearest neighbours, block by block."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ganvas import arrays, dist
from ganvas.arrays import Array
from ganvas.errors import GanvasError

HELD = 2**26
"""Numbers of rows of which a second copy is held."""
BLOCK, MOST = 1024, 2**26
"""Rows in a block, and distances in it: memory is BLOCK x M and never N x M, and of a million M no more than of 65,536."""
FEW = 32
"""Columns up to which distances are computed in float64: neighbours may lie a thousand times nearer than sets are wide."""


class PrecisionRecall(NamedTuple):
    """Share of the fakes near real data, share of the real data near fakes; 0 to 1."""

    precision: float
    recall: float


class DensityCoverage(NamedTuple):
    """Density (0 to above 1) and coverage (0 to 1)."""

    density: float
    coverage: float


@dataclass(frozen=True)
class Neighbourhood:
    """Everything that one pass over all distances of N fakes to M real rows yields. Distances are Euclidean."""

    near_real: Tensor
    """bool (N,): within the k_precision-th neighbour distance of some real row."""
    near_fake: Tensor
    """bool (M,): within the k_precision-th neighbour distance of some fake."""
    balls: Tensor
    """float64 (N,): real balls of radius k_density that hold the fake, divided by k_density."""
    covered: Tensor
    """bool (M,): the ball of radius k_density holds some fake."""
    realism: Tensor
    """(N,): largest radius of a real ball over the distance to its centre; above 1 is inside (Kynkaanniemi et al. 2019)."""


def precision_recall(fake: Array, real: Array, k: int = 3) -> PrecisionRecall:
    """Improved precision and recall (Kynkaanniemi et al. 2019), each ball closed, k neighbours besides itself.

    Features (N, D) and (M, D), more than k rows each. Both depend on N and M: compare equal sizes only.
    One outlier with a large ball raises precision; recall stays high for broad, blurred samples.
    """
    found = neighbourhood(fake, real, k, k)
    return PrecisionRecall(_share(found.near_real), _share(found.near_fake))


def density_coverage(fake: Array, real: Array, k: int = 5) -> DensityCoverage:
    """Density and coverage (Naeem et al. 2020): open balls around the real rows only.

    Features (N, D) and (M, D), M more than k. Equal distributions have expected density 1 and expected coverage
    1 - prod_{i<k} (M-1-i) / (N+M-1-i). Identical constant rows give 0 for both: their balls are empty.
    """
    found = neighbourhood(fake, real, k, k)
    return DensityCoverage(float(found.balls.mean()), _share(found.covered))


def neighbourhood(fake: Array, real: Array, k_precision: int = 3, k_density: int = 5) -> Neighbourhood:
    """One pass for precision, recall, density, coverage and realism.

    Raises `GanvasError` when a set has no more rows than the neighbours asked for.
    """
    for k in (k_precision, k_density):
        arrays.count(k, "k")
    (x, y), _ = arrays.apart(*arrays.as_pair(fake, real))  # ratios of distances: the unit does not matter
    if min(len(x) - k_precision, len(y) - max(k_precision, k_density)) < 1:
        raise GanvasError(
            f"{max(k_precision, k_density)} neighbours need more rows than that; got {len(x)} and {len(y)}."
        )
    around_real = nearest_squares(y, max(k_precision, k_density))
    around_fake = nearest_squares(x, k_precision)[:, -1]
    for_precision, for_density = around_real[:, k_precision - 1], around_real[:, k_density - 1]
    near_fake, covered = torch.zeros(2, len(y), dtype=torch.bool, device=x.device)

    def of_fakes() -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        for rows, squares in _blocks(x, y):
            near_real = (squares <= for_precision).any(1)
            near_fake.logical_or_((squares <= around_fake[rows, None]).any(0))
            inside = squares < for_density
            covered.logical_or_(inside.any(0))
            realism = squares.clamp_min_(1e-30).reciprocal_().mul_(for_precision).max(1).values
            yield near_real, inside.sum(1).double() / k_density, realism

    near_real, balls, realism = _joined(of_fakes(), x)
    return Neighbourhood(
        near_real=near_real,
        near_fake=dist.total(near_fake),
        balls=balls,
        covered=dist.total(covered),
        realism=realism.sqrt(),
    )


def _joined(blocks: Iterable[tuple[Tensor, ...]], like: Tensor) -> tuple[Tensor, ...]:
    """The columns of all processes' blocks, as long as those `like` (N, ...).

    Each of one piece from the start: a little tensor kept from each block leaves a hole where its distances were, gigabytes
    in all.
    """
    columns, done = tuple[Tensor, ...](), 0
    for block in dist.collect(blocks):
        columns = columns or tuple(part.new_empty(len(like), device=like.device) for part in block)
        for column, part in zip(columns, block, strict=True):
            column[done : done + len(part)] = part
        done += len(block[0])
    return columns


def nearest_squares(x: Tensor, k: int) -> Tensor:
    """Squared distances of every row to its k nearest others, rising: (N, k).

    A pair of blocks is multiplied once and serves the rows of both.
    """
    x = exact(x) - x.mean(0)  # features far from 0 would lose digits in |x|^2 - 2xy + |y|^2
    best = torch.full((len(x), k), torch.inf, dtype=x.dtype, device=x.device)
    norms = _norms(x)

    def keep(rows: slice, squares: Tensor) -> None:
        found = squares.topk(min(k, squares.shape[1]), largest=False, sorted=False).values
        best[rows] = torch.cat([best[rows], found], 1).topk(k, largest=False).values

    size = at_a_time(len(x) * x.itemsize // 4)
    for i in dist.shard(range(0, len(x), size)):
        above = slice(i, i + size)
        # The rows from this block on: those before have met it already.
        squares = _squares(x[above], x[i:], norms[above], norms[i:])
        own = squares.shape[0]
        squares[:, :own].fill_diagonal_(torch.inf)
        keep(above, squares)
        if squares.shape[1] > own:
            below = slice(i + own, len(x))
            keep(below, squares[:, own:].T.contiguous())
    if dist.spread():  # each process has met some of the pairs
        best = torch.cat(list(dist.collect([best])), 1).topk(k, largest=False).values.to(x.device)
    return best


def nearest_distances(
    queries: Tensor, points: Tensor, own: Tensor | None = None, spans: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Distance of every query (N, D) to its nearest point (M, D), and which point that is.

    `own` (N,) says which point a query itself is, and leaves that one out. Of windows, whose `spans` (M, 3) are those of the
    points (`Dataset.spans`), it leaves out all that overlap with it, too; where nothing is left the distance is infinite.
    """

    def found() -> Iterator[tuple[Tensor, Tensor]]:
        for rows, squares in _blocks(queries, points):
            if own is not None:
                squares.scatter_(1, own[rows, None], torch.inf)
                if spans is not None:
                    squares.masked_fill_(
                        overlapping(spans[own[rows].to(spans.device)], spans).to(squares.device), torch.inf
                    )
            least, nearest = squares.min(1)
            # Once more from the difference itself: |x|^2 - 2xy + |y|^2 of a copy is rounding, which ranks
            # would sort by.
            apart = torch.linalg.vector_norm(queries[rows] - points[nearest], dim=1)
            yield torch.where(least.isinf(), least.to(apart), apart), nearest

    distances, which = _joined(found(), queries)
    return distances, which


def overlapping(these: Tensor, those: Tensor) -> Tensor:
    """Whether windows share a step, by their `Dataset.spans` (N, 3) and (M, 3): (N, M)."""
    (owner, start, end), (other, first, last) = these.unbind(1), those.unbind(1)
    slack = 1e-9  # where one ends the next may begin
    found: Tensor = owner[:, None] == other
    return found & (start[:, None] < last - slack) & (first < end[:, None] - slack)


def _blocks(x: Tensor, y: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """(rows of x, their squared distances to all of y), block after block of this process's part.

    Both are centred for exactness.
    """
    mean = y.mean(0)
    # Of many rows with many numbers no second copy is held: they are centred piece by piece, again for each block.
    held = y.numel() <= HELD
    pieces: Sequence[Tensor] = [exact(y) - mean] if held else y.split(max(BLOCK, HELD // 8 // y.shape[1]))
    norms = torch.cat([_norms(piece if held else exact(piece) - mean) for piece in pieces])
    size = at_a_time(len(y) * norms.itemsize // 4)
    for start in dist.shard(range(0, len(x), size)):
        rows = slice(start, start + size)
        part = exact(x[rows]) - mean
        own = _norms(part)
        if held:
            yield rows, _squares(part, pieces[0], own, norms)
            continue
        squares, done = part.new_empty(len(part), len(y)), 0
        for piece in pieces:
            columns = slice(done, done + len(piece))
            squares[:, columns] = _squares(part, exact(piece) - mean, own, norms[columns])
            done += len(piece)
        yield rows, squares


def exact(rows: Tensor) -> Tensor:
    """Rows (N, D) as distances are taken of them: those of few columns in float64, where |x|^2 - 2xy + |y|^2 keeps small ones."""
    return rows.double() if rows.shape[1] <= FEW else rows


def at_a_time(others: int, block: int = BLOCK) -> int:
    """How many rows, `block` at most, are held against so many others at a time."""
    return arrays.fitting(others, MOST, block)


def _norms(x: Tensor) -> Tensor:
    """Squared lengths of the rows, without a second copy of them."""
    squares: Tensor = torch.linalg.vector_norm(x, dim=1).square_()
    return squares


def _squares(a: Tensor, b: Tensor, norms_a: Tensor, norms_b: Tensor) -> Tensor:
    squares = torch.addmm(norms_b, a, b.T, alpha=-2)
    return squares.add_(norms_a[:, None]).clamp_min_(0)


def _share(hits: Tensor) -> float:
    return float(hits.double().mean())
