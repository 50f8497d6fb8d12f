"""Ways through a latent space: lines, great circles, splines, loops, geodesics, and equal steps along any of them."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ganvas import arrays
from ganvas.errors import GanvasError
from ganvas.geometry import lerp, slerp
from ganvas.latent.space import LatentSpace

Path = Callable[[Tensor], Tensor]
"""Times (n,) in [0, 1] -> points (n, *shape)."""
Perception = Callable[[Tensor], Tensor]
"""Float samples (n, ...) -> features (n, F) whose distances say how different samples look."""
Kind = Literal["auto", "linear", "spherical", "spline"]
MOST_AT_ONCE, NUMBERS = 256, 2**22
"""Samples that are looked at together, and numbers that these have."""
MOST_BACK, BACK = 256, 2**20
"""Samples that a gradient goes back from together, and numbers that these have."""


def through(space: LatentSpace, keys: Tensor, kind: Kind = "auto", loop: bool = False) -> Path:
    """A path through key points (k, *shape), reached at equal times; `loop` comes back to the first.

    `auto` is `spherical` in spaces whose points live near a sphere and `linear` in flat ones. `spline` is a cubic spline with
    continuous second derivatives, periodic in a loop; in spaces that are not flat its points are put back at a typical length.
    """
    keys = space.check(keys)
    if len(keys) < 2:
        raise GanvasError(f"A path needs at least 2 key points, got {len(keys)}.")
    if kind not in ("auto", "linear", "spherical", "spline"):
        raise GanvasError(f"Unknown kind of path {kind!r}. Use auto, linear, spherical or spline.")
    chosen = ("linear" if space.flat else "spherical") if kind == "auto" else kind
    if loop:
        keys = torch.cat([keys, keys[:1]])
    flat, last = keys.flatten(1), len(keys) - 1
    if chosen == "spline":
        from scipy.interpolate import CubicSpline  # slow to import

        boundary = "periodic" if loop else "natural"
        spline = CubicSpline(range(last + 1), flat.detach().double().cpu().numpy(), bc_type=boundary)

        def along(times: Tensor) -> Tensor:
            times = arrays.as_floats(times, "times")
            found = torch.as_tensor(spline((times.clamp(0, 1) * last).cpu().numpy())).to(flat)
            points = found.reshape(-1, *keys.shape[1:])
            return points if space.flat else space.project(points)

        return along
    step = lerp if chosen == "linear" else slerp

    def straight(times: Tensor) -> Tensor:
        place = arrays.as_floats(times, "times").to(flat).clamp(0, 1) * last
        index = place.floor().long().clamp(max=last - 1)
        points: Tensor = step(flat[index], flat[index + 1], (place - index)[:, None]).reshape(
            -1, *keys.shape[1:]
        )
        return points

    return straight


def last_key(times: Tensor, keys: int, loop: bool = False) -> Tensor:
    """Which of the keys of `through` is reached last at each time (n,), by number: at the end of a loop the first one again."""
    places = arrays.as_floats(times, "times").double().clamp(0, 1) * (keys if loop else keys - 1)
    return (places + 1e-9).floor().long() % keys  # a time that is a key's may be rounded to before it


def pyramid(samples: Tensor) -> Tensor:
    """What distances between samples are measured by, unless another network is given: image pyramids; points as they are.

    Float samples (n, ...) -> (n, F): the image averaged over 1, 2, 4, ... pixels, every level weighing the same. Small shifts
    count less than they do in plain pixels.
    """
    if not isinstance(samples, Tensor) or not samples.is_floating_point():
        samples = arrays.as_floats(samples, "samples")
    if samples.dim() < 2:
        raise GanvasError(f"Samples are rows (n, ...), got shape {tuple(samples.shape)}.")
    if samples.dim() != 4:
        return samples.flatten(1)
    levels, x = [], samples
    while True:
        levels.append(x.flatten(1) / x[0].numel() ** 0.5)
        if min(x.shape[2:]) < 4:
            return torch.cat(levels, 1)
        x = F.avg_pool2d(x, 2)


LEARNED = 256
"""Side of the pictures that networks here learn from: batches of larger ones take gigabytes."""
SMALL = 64
"""Side that pictures are compared at, at most, where there are thousands of them."""


def small_pyramid(images: Tensor) -> Tensor:
    """`pyramid` of pictures (n, C, H, W), above `SMALL` px at a whole fraction of their size: 5,000 of 384 px take 8 GB else."""
    high, wide = images.shape[2:]
    factor = -(-max(high, wide) // SMALL)
    return pyramid(F.avg_pool2d(images, (min(factor, high), min(factor, wide))) if factor > 1 else images)


def smaller(shape: Sequence[int]) -> tuple[int, int]:
    """Rows and columns of pictures (C, H, W) that are averaged for a side of `LEARNED` at most."""
    factor = -(-max(shape[1:]) // LEARNED)
    return min(factor, shape[1]), min(factor, shape[2])


def told(shape: Sequence[int]) -> dict[str, int]:
    """What a file of such a network says of it, where pictures are larger: those of before saw them whole."""
    return {"side": LEARNED} if len(shape) == 3 and max(shape[1:]) > LEARNED else {}


def see_many(space: LatentSpace, see: Perception) -> Perception:
    """What many samples of a space are seen by: where it is `pyramid`, pictures by `small_pyramid`."""
    return small_pyramid if see is pyramid and len(space.model.shape) == 3 else see


def rows_seen(space: LatentSpace) -> int:
    """How many samples of a space are looked at together."""
    return arrays.fitting(math.prod(space.model.shape), NUMBERS, MOST_AT_ONCE)


def rows_back(space: LatentSpace) -> int:
    """How many of them a gradient goes back from together."""
    most = min(MOST_BACK, space.model.at_once)  # layers may be far larger than the samples
    return arrays.fitting(math.prod(space.model.shape), BACK, most)


def looks(
    space: LatentSpace, points: Tensor, labels: Tensor | None = None, see: Perception = pyramid
) -> Iterator[Tensor]:
    """Features of the samples at points (n, *shape), part by part: all of those of a long film of large pictures take gigabytes.

    `labels` (n,) are the classes of the samples; all classes in turn where nobody says, as `ganvas sample` draws them.
    """
    labels = space.labels(len(points), labels)
    for part, label in arrays.split(points, labels, rows_seen(space)):
        yield see(space.decode(part, label))


def drawn_in_parts(space: LatentSpace, points: Tensor, labels: Tensor | None) -> Tensor:
    """`decode`, differentiable; what the generator keeps for a gradient is that of a part: each is drawn anew on the way back."""
    batch = rows_back(space)
    if len(points) <= batch:
        return space.decode(points, labels)
    drawn: list[Tensor] = [
        checkpoint(space.decode, *each, use_reentrant=False) for each in arrays.split(points, labels, batch)
    ]
    return torch.cat(drawn)


@torch.no_grad()
def step_lengths(
    space: LatentSpace, points: Tensor, labels: Tensor | None = None, see: Perception = pyramid
) -> Tensor:
    """Feature distances between neighbours of a path (n, *shape): (n - 1,)."""
    points = space.check(points)
    if len(points) < 2:
        raise GanvasError("A path has at least 2 points, got 1.")
    return steps_between(looks(space, points, labels, see))


def steps_between(looked: Iterable[Tensor]) -> Tensor:
    """Distances between neighbours of features (n, D) that come part by part: (n - 1,)."""
    lengths, last = list[Tensor](), torch.empty(0)
    for features in looked:
        joined = torch.cat([last, features]) if lengths else features
        lengths.append((joined[1:] - joined[:-1]).norm(dim=1))
        last = features[-1:]
    return torch.cat(lengths)


def variation(lengths: Tensor) -> float:
    """Coefficient of variation: standard deviation over mean; 0 for equal steps."""
    values = arrays.as_floats(lengths, "lengths").double()
    if values.dim() != 1 or len(values) == 0 or bool((values < 0).any()):
        raise GanvasError(
            f"lengths must be lengths of steps (n,), none below 0; got shape {tuple(values.shape)}."
        )
    if float(values.max()) == 0:
        return 0.0  # equally nothing
    values = values / values.max()
    return float(values.std(correction=0) / values.mean())


@torch.no_grad()
def equal_steps(
    space: LatentSpace,
    path: Path,
    frames: int,
    labels: Callable[[Tensor], Tensor | None] | None = None,
    see: Perception = pyramid,
    oversample: int = 8,
    rounds: int = 3,
    advance: Callable[[int], object] = lambda done: None,
) -> Tensor:
    """Times (frames,) at which the samples along `path` change by the same amount from frame to frame.

    `labels` maps times to labels, for paths of a conditional generator. The rest is as in `equal_times`.
    """

    def changes(times: Tensor) -> Tensor:
        return step_lengths(space, path(times), labels(times) if labels else None, see)

    return equal_times(changes, frames, oversample, rounds, advance)


def equal_times(
    changes: Callable[[Tensor], Tensor],
    frames: int,
    oversample: int = 8,
    rounds: int = 3,
    advance: Callable[[int], object] = lambda done: None,
) -> Tensor:
    """Times (frames,) from 0 to 1 between which something changes by the same amount.

    `changes` gives the lengths (n - 1,) between n times, as `step_lengths` does. The length of the way is measured on a fine
    grid, inverted, and corrected on the steps that come out. `advance` hears how many of the rounds are done.
    """
    arrays.count(frames, "frames", 2)
    arrays.count(oversample, "oversample")
    arrays.count(rounds, "rounds")
    times = torch.linspace(0, 1, frames * oversample, dtype=torch.float64)
    best, best_variation = torch.linspace(0, 1, frames, dtype=torch.float64), float("inf")
    for done in range(rounds):
        advance(done)
        lengths = changes(times).double().cpu()
        total = torch.cat([torch.zeros(1, dtype=torch.float64), lengths.cumsum(0)])
        if total[-1] <= 0:
            return best  # nothing changes along the way
        wanted = torch.linspace(0, 1, frames, dtype=torch.float64) * total[-1]
        right = torch.searchsorted(total, wanted).clamp(1, len(total) - 1)
        span = (total[right] - total[right - 1]).clamp(min=1e-12)
        found = times[right - 1] + (wanted - total[right - 1]) / span * (times[right] - times[right - 1])
        found[0], found[-1] = 0.0, 1.0
        # A chord is shorter than the way along it, so steps of equal way can still differ: refine the grid around them.
        chords = changes(found).double().cpu()
        if variation(chords) < best_variation:
            best, best_variation = found, variation(chords)
        speed = chords / chords.mean().clamp(min=1e-12)
        steps = (found[1:] - found[:-1]) / speed.clamp(min=0.2, max=5.0)
        corrected = torch.cat([torch.zeros(1, dtype=torch.float64), steps.cumsum(0)])
        corrected = corrected / corrected[-1]
        achieved = variation(changes(corrected))
        if achieved < best_variation:
            best, best_variation = corrected, achieved
        times = torch.cat(
            [torch.linspace(0, 1, frames * oversample, dtype=torch.float64), found, corrected]
        ).unique()
    return best


def geodesic(
    space: LatentSpace,
    start: Tensor,
    stop: Tensor,
    frames: int = 16,
    steps: int = 100,
    see: Perception = pyramid,
    advance: Callable[[int], object] = lambda done: None,
    label: Tensor | None = None,
) -> tuple[Tensor, list[float]]:
    """The shortest way between two points as the samples see it: points (frames, *shape), and the energy after each step.

    The path's energy, the sum of squared feature distances of its steps, is minimised over the points between (Shao et al. 2018,
    algorithm 1: the pulled-back metric by finite differences). Starts from `through`. `advance` hears how many
    steps are done. `label` (1,) is the class of all samples on the way, the first class where nobody says.
    """
    arrays.count(frames, "frames", 2)
    arrays.count(steps, "steps", 0)
    ends = torch.cat(
        [space.check(arrays.as_tensor(end, "an end of the path")[None]) for end in (start, stop)]
    )
    points = through(space, ends)(torch.linspace(0, 1, frames)).detach()
    inner = points[1:-1].clone().requires_grad_(True)
    optimizer = torch.optim.Adam([inner], lr=0.02 * float(space.std.mean()))
    labels = space.labels(frames, space.labels(1, label))
    energies, best, kept = [], float("inf"), inner.detach().clone()
    batch = rows_back(space)
    for done in range(steps):
        advance(done)
        whole = torch.cat([points[:1], inner.detach(), points[-1:]])
        with torch.no_grad():
            features = torch.cat(list(looks(space, whole, labels, see)))
        features.requires_grad_(True)
        energy = (features[1:] - features[:-1]).square().sum() * (frames - 1)
        if not torch.isfinite(energy):
            raise GanvasError("The generator drew NaN or infinity on the way.")
        energies.append(float(energy.detach()))
        if energies[-1] < best:
            best, kept = energies[-1], inner.detach().clone()
        optimizer.zero_grad()
        (pull,) = torch.autograd.grad(energy, features)
        # Back through the generator part by part: what it keeps for that, of a film of large pictures, is gigabytes.
        for rows in torch.arange(frames - 2, device=points.device).split(batch) if frames > 2 else ():
            label = None if labels is None else labels[rows + 1]
            see(space.decode(inner[rows], label)).backward(pull[rows + 1])
        optimizer.step()
    return torch.cat([points[:1], kept, points[-1:]]), energies


def style_mixing(space: LatentSpace, rows: Tensor, columns: Tensor, layers: int) -> Tensor:
    """w+ of every pair: the first `layers` layers of `rows` (r, L, W), the others of `columns` (c, L, W) -> (r c, L, W)."""
    if space.name != "w+":
        raise GanvasError(f"Style mixing happens in w+, not in {space.name!r}.")
    rows, columns = space.check(rows), space.check(columns)
    if not 0 < arrays.count(layers, "layers", 0) < rows.shape[1]:
        raise GanvasError(f"The crossover must lie between 1 and {rows.shape[1] - 1} layers, got {layers}.")
    coarse, fine = rows.repeat_interleave(len(columns), 0), columns.repeat(len(rows), 1, 1)
    return torch.cat([coarse[:, :layers], fine[:, layers:]], 1)
