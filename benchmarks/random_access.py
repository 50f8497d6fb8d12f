"""What sample 100,000 costs beside sample 1: latents, drawn samples, one move of the explorer's slider.

    python benchmarks/random_access.py [MODEL] [--far 100000] [--repeats 200] [--rounds 5]

Both numbers are timed in turn, so that whatever else the machine does meets both; a ratio is of the medians of a round.
`redrawn` is how it was with one stream of random numbers for all samples: all latents up to the one that is wanted.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch

import ganvas
from ganvas.device import stream
from ganvas.model import draw_prior
from ganvas.web.renderer import Renderer
from ganvas.web.state import Move, State, pack


def ratios(work: Callable[[int], object], far: int, repeats: int, rounds: int) -> tuple[float, list[float]]:
    """Median milliseconds at number 1 in the first round, and in each round the cost at `far` over that at 1."""
    for number in (1, far):
        work(number)
    nearest, found = 0.0, []
    for _ in range(rounds):
        taken: dict[int, list[float]] = {1: [], far: []}
        for _ in range(repeats):
            for number in taken:
                start = time.perf_counter()
                work(number)
                taken[number].append(time.perf_counter() - start)
        near = statistics.median(taken[1])
        nearest = nearest or 1000 * near
        found.append(statistics.median(taken[far]) / near)
    return nearest, found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", nargs="?", default="fashion")
    parser.add_argument("--far", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    model = ganvas.load(options.model, device="cpu", critic=False)
    renderer = Renderer(model, options.model)
    prior, size = model.generator.prior, model.latent_dim
    along = torch.zeros(renderer.space.shape)
    along.view(-1)[0] = 1
    moves = (Move("one", pack(along), 1.0, 0.5),)
    work: dict[str, Callable[[int], object]] = {
        "latents": lambda number: model.latents_at([number]),
        "a sample": lambda number: model.sample(1, first=number),
        "64 samples": lambda number: model.sample(64, first=number),
        "a move of the slider": lambda number: renderer.draw([State(number=number, moves=moves)]),
        "latents, redrawn": lambda number: draw_prior(prior, number + 1, size, stream(0, "latents"))[-1],
    }
    print(f"{'':<22}{'ms at 1':>9}  cost at {options.far:,} / cost at 1, {options.rounds} rounds")
    for name, each in work.items():
        near, found = ratios(each, options.far, options.repeats, options.rounds)
        print(
            f"{name:<22}{near:>9.3f}  {statistics.median(found):.2f}  ({min(found):.2f} to {max(found):.2f})"
        )


if __name__ == "__main__":
    main()
