"""Short sequences of symbols by a generator with a Gumbel head, beside the same network by maximum likelihood.

    python benchmarks/symbols.py                          # chain and grammar, three seeds: 6 CPU minutes
    python benchmarks/symbols.py chain --seeds 1

What draws the data is known exactly (`ganvas.processes`): a Markov chain of 6 symbols in 10 steps, and bracketed sums of at
most 13. The generator is a GRU that draws one symbol after another, the largest of its logits plus Gumbel noise, so that its
own likelihood is known as well: all figures are in nats a sequence, and hold for both directions.

    of the samples, by the oracle     mean -log p(x) of what the model draws. Alone it is fooled: a model that repeats the
                                      likeliest sequence has a better one than the truth.
    of the data, by the model         mean -log q(x) of held-out sequences: misses what the model leaves out.
    KL(q | p), KL(p | q)              the same less the entropy of model and oracle: 0 where they are equal.

Trained by ganvas' own game and engine, of a family that is registered here as docs/extending/family.md says.
"""

import argparse
import dataclasses
import itertools
import math
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganvas.config import (
    Config,
    NetworkConfig,
    ObjectiveConfig,
    OptimizerConfig,
    PenaltyConfig,
    TrainingConfig,
)
from ganvas.networks import CriticBase, Family, GeneratorBase, build_generator, families
from ganvas.networks.layers import MinibatchStd
from ganvas.processes import Grammar, MarkovChain, Wholes, random_chain, sums
from ganvas.training.method import DataSpec, build_method
from ganvas.types import Batch, Shape

TRAINING, HELD, DRAWN = 10_000, 5_000, 5_000
BATCH = 64


class Generator(GeneratorBase):
    """z (B, T K) -> symbols (B, K, T), one-hot: a GRU that is told its last symbol and draws the next one.

    z, as normal numbers, becomes Gumbel noise; the largest of logits plus noise is drawn by the probabilities of their softmax.
    `hard` shows one-hot symbols in training, whose gradient is that of the softmax at `temperature` (straight-through); without
    it the softmax itself is shown (Jang et al. 2017; Maddison et al. 2017), and in evaluation mode one-hot symbols.
    """

    def __init__(
        self,
        shape: Shape,
        latent_dim: int,
        *,
        num_classes: int = 0,
        width: int = 64,
        temperature: float = 1.0,
        hard: bool = True,
    ) -> None:
        super().__init__(shape, latent_dim, num_classes, (0.0, 1.0))
        assert latent_dim == math.prod(shape), "one number of noise for each symbol and step"
        self.temperature, self.hard = temperature, hard
        self.cell, self.logits = nn.GRUCell(shape[0], width), nn.Linear(width, shape[0])

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        noise = gumbel(z).unflatten(1, (self.shape[1], self.shape[0]))
        symbol, state, drawn = z.new_zeros(len(z), self.shape[0]), None, []
        for given in noise.unbind(1):
            state = self.cell(symbol, state)
            scores = self.logits(state) + given
            symbol = (scores / self.temperature).softmax(1)
            if self.hard or not self.training:
                symbol = F.one_hot(scores.argmax(1), self.shape[0]) + (symbol - symbol.detach())
            drawn.append(symbol)
        return torch.stack(drawn, 2)

    def log_likelihood(self, symbols: Tensor) -> Tensor:
        """Natural log of the probability that it draws each sequence (B, T): (B,)."""
        hot = F.one_hot(symbols, self.shape[0]).to(self.logits.weight.dtype)
        told = F.pad(hot, (0, 0, 1, 0))[:, :-1]
        state, found = None, symbols.new_zeros(len(symbols), dtype=hot.dtype)
        for given, true in zip(told.unbind(1), hot.unbind(1), strict=True):
            state = self.cell(given, state)
            found = found + (self.logits(state).log_softmax(1) * true).sum(1)
        return found


def gumbel(normal: Tensor) -> Tensor:
    """Normal numbers -> Gumbel ones: -log(-log u) of the share u of normal numbers that are below."""
    return -(-torch.special.log_ndtr(normal)).log()


class Critic(CriticBase):
    """Symbols (B, K, T) -> a GRU in both directions -> the mean and the largest of its states -> logit."""

    def __init__(self, shape: Shape, *, num_classes: int = 0, width: int = 64, **heads: Any) -> None:
        super().__init__(shape, num_classes, width, **heads)
        self.read = nn.GRU(shape[0], width // 2, batch_first=True, bidirectional=True)
        self.judge = nn.Linear(2 * width, width)
        self.spread, self.last = MinibatchStd(), nn.Linear(width + 1, 1)

    def features(self, x: Tensor) -> Tensor:
        states = self.read(x.transpose(1, 2))[0]
        return F.leaky_relu(self.judge(torch.cat([states.mean(1), states.amax(1)], 1)), 0.2)

    def head(self, features: Tensor) -> Tensor:
        logits: Tensor = self.last(self.spread(features))
        return logits


families.add(
    "symbols",
    Family(Generator, Critic, tiny={"width": 8}),
    "symbols: a GRU with a Gumbel head, and one that reads",
)


@dataclass(frozen=True)
class Oracle:
    """What draws the data."""

    process: MarkovChain | Grammar
    length: int

    @property
    def shape(self) -> Shape:
        return (self.process.symbols, self.length)

    def draw(self, count: int, random: np.random.Generator) -> Wholes:
        """Sequences (count, T)."""
        if isinstance(self.process, Grammar):
            return self.process.draw(count, random)
        return self.process.draw(count, self.length, random)


ORACLES = {
    "chain": Oracle(random_chain(6, np.random.default_rng(0)), 10),
    "grammar": Oracle(sums(13), 13),
}


def config(oracle: Oracle, seed: int, **options: Any) -> Config:
    """Of the game; the generator is that of maximum likelihood, too."""
    network = NetworkConfig("symbols", latent_dim=math.prod(oracle.shape), generator=options)
    # Loss and penalties of R3GAN (Huang et al. 2024).
    objective = ObjectiveConfig("relativistic", (PenaltyConfig("r1", 0.2, 4), PenaltyConfig("r2", 0.2, 4)))
    training = TrainingConfig(
        batch=BATCH, seed=seed, ema_kimg=2.0, channels_last=False, precision="fp32", device="cpu"
    )
    return Config(
        network=network,
        objective=objective,
        optimizer=OptimizerConfig("adam", 2e-3, 2e-3, beta1=0.0, beta2=0.99, schedule="cosine"),
        training=training,
    )


def batches(symbols: Tensor, seed: int) -> Iterator[Tensor]:
    """Random batches, again and again."""
    random = torch.Generator().manual_seed(seed)
    while True:
        for rows in torch.randperm(len(symbols), generator=random).split(BATCH):
            if len(rows) == BATCH:
                yield symbols[rows]


def by_game(oracle: Oracle, symbols: Tensor, seed: int, steps: int, **options: Any) -> Generator:
    """The averaged generator of a game on sequences (N, T)."""
    method = build_method(
        config(oracle, seed, **options), DataSpec(oracle.shape, count=len(symbols)), torch.device("cpu")
    )
    stream = batches(symbols, seed)

    def next_batch(name: str) -> Batch:
        return F.one_hot(next(stream), oracle.shape[0]).float().transpose(1, 2), None

    for step in range(steps):
        method.step(next_batch, step / steps)
    found = method.exports()["generator"]
    assert isinstance(found, Generator)
    return found.eval()


def by_likelihood(oracle: Oracle, symbols: Tensor, seed: int, steps: int) -> Generator:
    """The same generator, by maximum likelihood."""
    network = build_generator(config(oracle, seed).network, oracle.shape, 0, seed)
    assert isinstance(network, Generator)
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for rows in itertools.islice(batches(symbols, seed), steps):
        optimizer.zero_grad()
        (-network.log_likelihood(rows).mean()).backward()
        optimizer.step()
        schedule.step()
    return network.eval()


@dataclass(frozen=True)
class Score:
    """In nats a sequence."""

    by_oracle: float
    by_model: float
    reverse: float
    """KL(q | p)"""
    forward: float
    """KL(p | q)"""
    possible: float
    """Share of the samples that the oracle may draw. The figures by the oracle are of these alone."""


@torch.no_grad()
def score(model: Generator, oracle: Oracle, held: Wholes, seed: int) -> Score:
    """Of `DRAWN` samples, and of held-out sequences (N, T)."""
    random = torch.Generator().manual_seed(seed)
    drawn = model(torch.randn(DRAWN, model.latent_dim, generator=random)).argmax(1)
    p, q = oracle.process.log_likelihood(drawn.numpy()), model.log_likelihood(drawn).double().numpy()
    possible = np.isfinite(p)
    by_oracle = -p[possible].mean() if possible.any() else math.inf
    reverse = float((q - p).mean()) if possible.all() else math.inf
    true, told = (
        oracle.process.log_likelihood(held),
        model.log_likelihood(torch.from_numpy(held)).double().numpy(),
    )
    return Score(
        float(by_oracle), float(-told.mean()), reverse, float((true - told).mean()), float(possible.mean())
    )


WAYS: dict[str, dict[str, Any] | None] = {
    "maximum likelihood": None,
    "game, straight-through": {},
}
RELAXED: dict[str, dict[str, Any] | None] = {"game, relaxed": {"hard": False, "temperature": 0.5}}
COLUMNS = ("samples by the oracle", "data by the model", "KL(q, p)", "KL(p, q)", "possible")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("oracles", nargs="*", default=list(ORACLES))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=2_000, help="of the game")
    parser.add_argument("--likelihood-steps", type=int, default=2_000)
    parser.add_argument("--relaxed", action="store_true", help="train the relaxed head, too")
    options = parser.parse_args()
    ways = WAYS | (RELAXED if options.relaxed else {})
    for name in options.oracles:
        oracle = ORACLES[name]
        rows: dict[str, list[Score]] = {}
        for seed in range(options.seeds):
            random = np.random.default_rng(seed)
            symbols, held = torch.from_numpy(oracle.draw(TRAINING, random)), oracle.draw(HELD, random)
            for way, game in ways.items():
                start = time.process_time()
                if game is None:
                    model = by_likelihood(oracle, symbols, seed, options.likelihood_steps)
                else:
                    model = by_game(oracle, symbols, seed, options.steps, **game)
                found = score(model, oracle, held, seed)
                rows.setdefault(way, []).append(found)
                print(
                    f"{name}, {way}, seed {seed}: {found} ({time.process_time() - start:.0f} CPU s)",
                    flush=True,
                )
        entropy = -oracle.process.log_likelihood(held).mean()
        print(f"\n{name}: true sequences have {entropy:.2f}\n\n| | " + " | ".join(COLUMNS) + " |")
        print("| --- " * (1 + len(COLUMNS)) + "|")
        for way, scores in rows.items():
            columns = zip(*(dataclasses.astuple(each) for each in scores), strict=True)
            print(f"| {way} | " + " | ".join(spread(column) for column in columns) + " |")


def spread(values: tuple[float, ...]) -> str:
    """Mean and standard deviation."""
    deviation = statistics.stdev(values) if len(values) > 1 and all(map(math.isfinite, values)) else 0.0
    return f"{statistics.fmean(values):.2f} ± {deviation:.2f}"


if __name__ == "__main__":
    main()
