"""From key frames to a film."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ganvas import arrays, latent, pictures
from ganvas.errors import GanvasError
from ganvas.latent import LatentSpace
from ganvas.latent.paths import NUMBERS, Path, equal_times, last_key, pyramid, steps_between
from ganvas.web.renderer import Renderer, alike
from ganvas.web.state import State, Timeline

Advance = Callable[[int, int], None]
BATCH = 32
LARGEST = 2**32
"""Bytes of a film: its frames, and the enlarged pictures of them that are written, counted as if all were there at once."""


@torch.no_grad()
def film(
    renderer: Renderer, timeline: Timeline, progress: Advance = lambda done, total: None
) -> tuple[Tensor, float]:
    """The frames (T, C, H, W) uint8 and the variation of their steps (0: every picture changes as much as the one before).

    Frames between two keys have the class and the noise of the first one; the picture's place, the share of another class and
    BigGAN's truncation go from one key to the next. Raises `GanvasError` for fewer than two keys.
    """
    keys = timeline.keys
    if len(keys) < 2:
        raise GanvasError(f"A film needs at least 2 key frames, there are {len(keys)}.")
    size = timeline.frames * _bytes(renderer.model.shape)
    if size > LARGEST:
        raise GanvasError(
            f"{timeline.frames} frames of this size take {size / 2**30:.1f} GiB, {LARGEST >> 30} at most: ask for fewer."
        )
    found = [renderer.point(key) for key in keys]
    names = {space.name for space, _ in found}
    if len(names) > 1:
        if names != {"w", "w+"}:
            raise GanvasError(f"The key frames lie in different spaces: {', '.join(sorted(names))}.")
        found = [each if each[0].name == "w+" else renderer.rows(*each) for each in found]
    space = found[0][0]
    path = _through(space, torch.cat([points for _, points in found]), timeline)
    spans = len(keys) if timeline.loop else len(keys) - 1
    batch = arrays.fitting(math.prod(renderer.model.shape), NUMBERS, BATCH)

    def drawn(times: Tensor) -> Iterator[Tensor]:
        points, reached = path(times), last_key(times, len(keys), timeline.loop).tolist()
        at = (times * spans % len(keys)).tolist()
        rows = [_between(keys, *each) for each in zip(reached, at, strict=True)]
        for start in range(0, len(rows), batch):
            some = slice(start, start + batch)
            if alike(rows[some]):
                yield renderer.samples(space, points[some], rows[start], renderer.labels(rows[some]))
            else:
                for i, row in enumerate(rows[some], start):
                    yield renderer.samples(space, points[i : i + 1], row)

    def changes(times: Tensor) -> Tensor:
        return steps_between(map(pyramid, drawn(times)))

    times = torch.linspace(0, 1, timeline.frames, dtype=torch.float64)
    if timeline.equal:
        times = equal_times(changes, timeline.frames)
    # Made before what drawing takes for a moment, between whose pieces frames would lie scattered.
    frames = torch.empty(len(times), *renderer.model.shape, dtype=torch.uint8)
    done = 0

    def kept() -> Iterator[Tensor]:
        nonlocal done
        for part in drawn(times):
            frames[done : done + len(part)] = renderer.model.to_data(part)
            done += len(part)
            progress(done, len(times))
            yield pyramid(part)

    variation = latent.variation(steps_between(kept()))
    return frames, variation


def _through(space: LatentSpace, points: Tensor, timeline: Timeline) -> Path:
    """The way through keys (k, *shape). A spline goes at a typical length where space is not flat: here by as much nearer to the
    mean, or further away, as the keys are that are truncated."""
    path = latent.through(space, points, timeline.kind, timeline.loop)
    if timeline.kind != "spline" or space.flat:
        return path
    typical, each = space.project(points) - space.mean, [-1] + [1] * len(space.shape)
    lengths = [away.flatten(1).norm(dim=1) for away in (points - space.mean, typical)]
    factors = lengths[0] / lengths[1].clamp(min=1e-12)
    if not torch.allclose(space.mean + factors.reshape(each) * typical, points, atol=1e-4):
        return path  # one that is put back otherwise than along its ray: categories
    factors = torch.cat([factors, factors[:1]]) if timeline.loop else factors

    def along(times: Tensor) -> Tensor:
        place = times.to(factors).clamp(0, 1) * (len(factors) - 1)
        first = place.floor().long().clamp(max=len(factors) - 2)
        now = torch.lerp(factors[first], factors[first + 1], place - first)
        return space.mean + now.reshape(each) * (path(times) - space.mean)

    return along


def _bytes(shape: Sequence[int]) -> int:
    """Of a frame (C, H, W), and of the picture that it becomes: colour takes four for a pixel."""
    channels, height, width = shape
    return height * width * (channels + (1 if channels == 1 else 4) * pictures.enlarged(shape) ** 2)


def _between(keys: Sequence[State], first: int, time: float) -> State:
    """Key number `first` with what goes on to the next one as it is at a time, in keys."""
    a, b, share = keys[first], keys[(first + 1) % len(keys)], min(max(time - first, 0.0), 1.0)

    def mixed(start: float, end: float) -> float:
        return start if start == end else start + share * (end - start)

    right, down, turn = (mixed(*each) for each in zip(a.place, b.place, strict=True))
    # What only one of the two has mixed in begins or ends at a share of 0.
    others = {key.other for key in (a, b)} - {None}
    shares = [0.0 if key.other is None else key.share for key in (a, b)]
    if len(others) == 1:
        a = replace(a, other=others.pop(), share=mixed(*shares))
    return replace(a, place=(right, down, turn), truncation=mixed(a.truncation, b.truncation))
