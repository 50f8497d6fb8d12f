"""The networks of TimeGAN (Yoon et al. 2019): a series is drawn and judged step by step in a latent space of its own.

h (B, S + T, W) are the latents of a series: those of its T steps, and in front of them one of what is constant in time, where
there is anything (S = 1 or 0). The embedder leads from a series to h, the recovery back (eq. 3 and 4); the generator draws h,
and the critic judges it (eq. 5 and 6). `training.timegan` trains them as published; in any other method they are a pair like
others, whose generator is generator, supervisor and recovery, and whose critic is embedder and judge.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganvas.networks.base import CriticBase, Family, families
from ganvas.networks.series import ChunkedGenerator, Recurrent, begin, check_shape, ended
from ganvas.series import Part, read_layout
from ganvas.types import Shape

FAMILY = "timegan"


def dense(inputs: int, width: int, outputs: int) -> nn.Sequential:
    """Two layers."""
    return nn.Sequential(nn.Linear(inputs, width), nn.LeakyReLU(0.2), nn.Linear(width, outputs))


def together(once: Tensor | None, steps: Tensor) -> Tensor:
    """Latents h of what is constant (B, W) and of the steps (B, T, W)."""
    return steps if once is None else torch.cat([once[:, None], steps], 1)


def beside(once: Tensor | None, steps: Tensor) -> Tensor:
    """What every step sees: its own numbers (B, T, I), and those of what is constant (B, W)."""
    return steps if once is None else torch.cat([steps, once[:, None].expand(-1, steps.shape[1], -1)], 2)


class Embedder(nn.Module):
    """Series (B, C, T) -> h: h_S = e_S(s), h_t = e_X(h_S, h_t-1, x_t) (eq. 3)."""

    def __init__(self, channels: int, fixed: int, width: int, depth: int) -> None:
        super().__init__()
        self.fixed = fixed
        self.once = dense(fixed, width, width) if fixed else None
        self.join = nn.Linear(channels - fixed + (width if fixed else 0), width)
        self.steps = Recurrent(width, depth, True)

    def forward(self, x: Tensor) -> Tensor:
        moving, constant = x.split([x.shape[1] - self.fixed, self.fixed], 1)
        # In the range of a recurrent state, as the latents of the steps are.
        once = None if self.once is None else torch.tanh(self.once(constant.mean(2)))
        return together(once, self.steps(self.join(beside(once, moving.transpose(1, 2)))))


class Recovery(nn.Module):
    """h -> series (B, C, T): s = r_S(h_S), x_t = r_X(h_t) (eq. 4), each step for itself."""

    def __init__(self, parts: list[Part], once: list[Part], width: int) -> None:
        super().__init__()
        self.parts, self.of_once = parts, once
        fixed = sum(part.size for part in once)
        self.once = dense(width, width, fixed) if fixed else None
        self.steps = dense(width, width, sum(part.size for part in parts))

    def forward(self, h: Tensor, frame: int) -> Tensor:
        """Windows of a frame have `frame` steps."""
        if self.once is None:
            return ended(self.steps(h).transpose(1, 2), self.parts, frame)
        moving = ended(self.steps(h[:, 1:]).transpose(1, 2), self.parts, frame)
        constant = ended(self.once(h[:, 0])[:, :, None], self.of_once)
        return torch.cat([moving, constant.expand(-1, -1, moving.shape[2])], 1)


class Maker(nn.Module):
    """What z has for the whole (B, V) and for each step (B, T, Z) -> h: h_S = g_S(z_S), h_t = g_X(h_S, h_t-1, z_t) (eq. 5)."""

    def __init__(self, whole: int, noise: int, once: bool, width: int, depth: int) -> None:
        super().__init__()
        self.shows = once
        self.once = dense(whole, width, width)
        self.join = nn.Linear(noise + width, width)
        self.steps = Recurrent(width, depth, True)

    def forward(self, whole: Tensor, noise: Tensor) -> Tensor:
        # Series without anything constant have it too, for what a series is as a whole, and nobody else sees it.
        once = torch.tanh(self.once(whole))
        return together(once if self.shows else None, self.steps(self.join(beside(once, noise))))


class TimeGenerator(ChunkedGenerator):
    """z -> h -> the supervisor's h of the step behind each -> series (C, T)."""

    family = FAMILY

    def __init__(
        self,
        shape: Shape,
        latent_dim: int,
        *,
        num_classes: int = 0,
        layout: str = "",
        noise: int = 8,
        channels: int = 24,
        depth: int = 1,
    ) -> None:
        super().__init__(shape, latent_dim, num_classes, layout, 1, noise)
        once, inputs = self.fixed > 0, self.whole + self.input_dim - latent_dim
        self.maker = Maker(inputs, self.noise, once, channels, depth)
        self.supervisor = Recurrent(channels, depth, True)
        self.recovery = Recovery(self.parts, self.once, channels)
        begin(self)

    def drawn(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """The latents h that z stands for, before the supervisor has seen them."""
        h: Tensor = self.maker(*self.split(z, labels))
        return h

    def led(self, h: Tensor) -> Tensor:
        """The supervisor: h of which each step's latent is the one that is expected behind it and those before it."""
        once = 1 if self.fixed else 0
        return torch.cat([h[:, :once], self.supervisor(h[:, once:])], 1)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        found: Tensor = self.recovery(self.led(self.drawn(z, labels)), self.trained)
        return found[:, :, : self.shape[1]]


class Judge(nn.Module):
    """h -> logits: y_S = d_S(h_S), y_t = d_X of states that read h from both ends (eq. 6)."""

    def __init__(self, once: bool, width: int, depth: int) -> None:
        super().__init__()
        self.once = dense(width, width, 1) if once else None
        self.join = nn.Linear(2 * width if once else width, width)
        self.steps = Recurrent(width, depth, False)
        self.last = nn.Linear(width, 1)

    def states(self, h: Tensor) -> Tensor:
        """Of the steps (B, T, W)."""
        if self.once is not None:
            h = beside(h[:, 0], h[:, 1:])
        found: Tensor = self.steps(F.leaky_relu(self.join(h), 0.2))
        return found

    def forward(self, h: Tensor) -> Tensor:
        """Logits (B, S + T)."""
        logits: Tensor = self.last(self.states(h))[:, :, 0]
        return logits if self.once is None else torch.cat([self.once(h[:, 0]), logits], 1)


class TimeCritic(CriticBase):
    """Series (C, T) -> h -> the mean logit of the steps, and that of what is constant."""

    def __init__(
        self,
        shape: Shape,
        *,
        num_classes: int = 0,
        layout: str = "",
        channels: int = 24,
        depth: int = 1,
        **heads: Any,
    ) -> None:
        check_shape(shape, FAMILY)
        fixed = sum(part.size for part in read_layout(layout, shape[0])[1])
        super().__init__(shape, num_classes, channels * (2 if fixed else 1), **heads)
        self.embedder = Embedder(shape[0], fixed, channels, depth)
        self.judge = Judge(fixed > 0, channels, depth)
        begin(self)

    def features(self, x: Tensor) -> Tensor:
        h = self.embedder(x)
        states = self.judge.states(h).mean(1)
        return states if self.judge.once is None else torch.cat([states, h[:, 0]], 1)

    def head(self, features: Tensor) -> Tensor:
        width = self.judge.last.in_features
        logits: Tensor = self.judge.last(features[:, :width])
        return logits if self.judge.once is None else logits + self.judge.once(features[:, width:])


families.add(
    FAMILY,
    Family(TimeGenerator, TimeCritic, "", {"channels": 8}),
    "series: TimeGAN's pair, step by step in a latent space (Yoon et al. 2019)",
)
