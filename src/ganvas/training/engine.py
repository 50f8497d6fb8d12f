"""What every training needs, whatever is trained: the device, random numbers, optimisers, figures, captured steps.

A method (`training.method`) asks it for random numbers and updates, and never looks at processes, devices or number formats.
"""

import math
from collections.abc import Hashable, Mapping, Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from ganvas import dist
from ganvas.config import Config
from ganvas.device import autocast, stream
from ganvas.training.capture import Captured, Play
from ganvas.types import Batch


def cosine(start: float, end: float | None, progress: float) -> float:
    """From `start` to `end` by half a cosine as `progress` goes from 0 to 1; None: `start` throughout."""
    return start if end is None else end + (start - end) * 0.5 * (1 + math.cos(math.pi * progress))


class Engine:
    """Runs the steps of a method on one device, or this process's part of them.

    No step waits for the device: figures are summed there and read once per line of statistics.
    """

    def __init__(self, config: Config, device: torch.device) -> None:
        self.config, self.device = config, device
        self.random = stream(config.training.seed, "training", device)
        """The only source of random numbers of a step; part of the state."""
        self.images = 0
        self.steps = 0
        self.rate_factor = 1.0
        """Halved by each rollback."""
        self.figures = Figures(device)
        self.eager_because = ""
        """Why steps are not captured as CUDA graphs; empty where they are, and before the first step."""
        self.captured: Captured | None = None
        self._rates: list[tuple[torch.optim.Optimizer, float]] = []
        self._knobs: dict[str, float | Tensor] = {}

    def normal(self, *shape: int) -> Tensor:
        """Standard normal numbers (B, *shape), this process's part; every process draws those of the whole batch."""
        batch = self.config.training.batch
        return dist.mine(torch.randn(batch, *shape, generator=self.random, device=self.device))

    def uniform(self, *shape: int) -> Tensor:
        """Numbers in [0, 1) as `normal` draws them."""
        batch = self.config.training.batch
        return dist.mine(torch.rand(batch, *shape, generator=self.random, device=self.device))

    def autocast(self) -> torch.autocast:
        """The number format of the run."""
        # A captured step casts weights anew: what the cache of an earlier step held is not part of its graph.
        return autocast(self.device, self.config.training.precision, cache=self.captured is None)

    def optimizer(self, network: nn.Module, rate: float) -> torch.optim.Optimizer:
        """The config's optimiser for the parameters of one network; its rate follows the config's schedule."""
        made = optimizer_of(self.config, network, rate)
        self._rates.append((made, rate))
        return made

    def update(self, optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
        """One step of `optimizer` down the gradient of `loss`, averaged over the processes."""
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        dist.sync_gradients(p for group in optimizer.param_groups for p in group["params"])
        optimizer.step()

    def set_knob(self, name: str, value: float) -> float | Tensor:
        """A number that changes between steps. On CUDA it is a tensor that keeps its place, where a captured step reads it."""
        there = self._knobs.get(name)
        if self.device.type == "cuda" and there is None:
            there = torch.zeros((), device=self.device)
        self._knobs[name] = _turned(value if there is None else there, value)
        return self._knobs[name]

    def set_rates(self, progress: float) -> None:
        """Learning rates, and beta2 of Adam, by the config's schedule."""
        o = self.config.optimizer
        share = {
            "constant": 1.0,
            "linear": 1 - (1 - o.rate_end) * progress,
            "cosine": cosine(1.0, o.rate_end, progress),
        }[o.schedule]
        for optimizer, rate in self._rates:
            for group in optimizer.param_groups:
                group["lr"] = _turned(group["lr"], rate * share * self.rate_factor)
                if o.beta2_end is not None and "betas" in group:
                    group["betas"] = (o.beta1, cosine(o.beta2, o.beta2_end, progress))

    def capture(self, play: Play, networks: Mapping[str, nn.Module], why_not: str) -> None:
        """Capture whole steps where that can be done; `why_not` is the method's own reason against it, or ""."""
        t = self.config.training
        reasons = (
            ("there is no CUDA device", self.device.type != "cuda"),
            ("training.capture is off", t.capture == "off"),
            ("several processes share the batch", dist.world_size() > 1),
            ("optimizer.beta2_end changes a constant of Adam", self.config.optimizer.beta2_end is not None),
            (why_not, bool(why_not)),
        )
        self.eager_because = next((reason for reason, holds in reasons if holds), "")
        if not self.eager_because:
            parameters = chain.from_iterable(network.parameters() for network in networks.values())
            self.captured = Captured(play, self.random, parameters)

    def run(self, play: Play, kind: Hashable, batches: Sequence[Batch]) -> None:
        """One step: `play` as it is written, or the graph of its `kind`."""
        if self.captured is None:
            play(batches)
        else:
            self.captured(kind, batches)
        self.steps += 1
        self.figures.steps += 1

    def read_figures(self) -> dict[str, float]:
        """Means since the last call, and `bad_step`: number of the first step that was not finite, or -1."""
        first, before = self.figures.first_bad_step(), self.steps - self.figures.steps
        return self.figures.read() | {"bad_step": float(before + first if first else -1)}


class Figures:
    """Sums of a step's figures on the device, and which step was the first with one that is not finite."""

    def __init__(self, device: torch.device) -> None:
        self.names: tuple[str, ...] = ()
        self.sums = torch.zeros(0, device=device)
        self.steps = 0
        # Of the steps since the last reading: how many there were, and the first bad one, from 1.
        self.counted, self.first_bad = (torch.zeros((), dtype=torch.int64, device=device) for _ in range(2))

    def add(self, figures: Mapping[str, Tensor]) -> None:
        """The figures of one step, the same names at each."""
        if not self.names:
            self.names = tuple(figures)
            self.sums = torch.zeros(len(figures), device=self.counted.device)
        values = torch.stack([figures[name].detach() for name in self.names])
        self.sums += values
        self.counted += 1
        bad = ~torch.isfinite(values).all() & (self.first_bad == 0)
        self.first_bad.copy_(torch.where(bad, self.counted, self.first_bad))

    def first_bad_step(self) -> int:
        """Number of the first bad step since the last reading, from 1; 0: none. Waits for the device."""
        return int(self.first_bad.item())

    def read(self) -> dict[str, float]:
        """Means over all steps and processes since the last reading."""
        means = dist.mean(self.sums / max(self.steps, 1)).tolist()
        for figure in (self.sums, self.counted, self.first_bad):
            figure.zero_()
        self.steps = 0
        return dict(zip(self.names, means, strict=True))


def optimizer_of(config: Config, network: nn.Module, rate: float) -> torch.optim.Optimizer:
    """The optimiser of a config for one network. On CUDA its rate is a tensor, which a captured step can read."""
    o = config.optimizer
    device = next(network.parameters()).device
    settings: dict[str, Any] = {"lr": rate}
    if device.type == "cuda":
        settings = {"lr": torch.tensor(rate, device=device), "capturable": True}
    if o.name == "rmsprop":
        return torch.optim.RMSprop(network.parameters(), **settings)
    return torch.optim.Adam(network.parameters(), betas=(o.beta1, o.beta2), fused=True, **settings)


def _turned(knob: float | Tensor, value: float) -> float | Tensor:
    return knob.fill_(value) if isinstance(knob, Tensor) else value
