"""Dense networks: the article's pair, and the pair for 2-D points."""

from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from ganvas.errors import GanvasError
from ganvas.networks.base import CriticBase, Family, GeneratorBase, families
from ganvas.networks.layers import MinibatchStd, activation, maybe_spectral_norm
from ganvas.types import Shape

OUTPUTS: dict[str, tuple[type[nn.Module], tuple[float, float]]] = {
    "tanh": (nn.Tanh, (-1.0, 1.0)),
    "sigmoid": (nn.Sigmoid, (0.0, 1.0)),
    "linear": (nn.Identity, (-1.0, 1.0)),
}
MOST_OCTAVES = 64
"""Beyond half of which float32 has no digits left of an angle."""


class Fourier(nn.Module):
    """Beside each number x, the sine and cosine of 2^k x for k = 0 .. octaves - 1 (Tancik et al. 2020): lets dense layers
    see detail far finer than the range of the data. (B, F) -> (B, F (1 + 2 octaves))."""

    def __init__(self, octaves: int) -> None:
        super().__init__()
        if octaves > MOST_OCTAVES:
            raise GanvasError(f"fourier is {octaves}; it must be at most {MOST_OCTAVES} octaves.")
        self.octaves = octaves

    def forward(self, x: Tensor) -> Tensor:
        angles = [x * 2.0**k for k in range(self.octaves)]
        return torch.cat([x, *(angle.sin() for angle in angles), *(angle.cos() for angle in angles)], 1)


class MlpGenerator(GeneratorBase):
    """z -> hidden layers -> sample. Defaults are the article's: 100-128-128-784, ReLU, sigmoid.

    `residual` adds z to what the layers give, which begin at 0: points of as many numbers as z, which are z before training.
    """

    def __init__(
        self,
        shape: Shape,
        latent_dim: int = 100,
        *,
        num_classes: int = 0,
        hidden: tuple[int, ...] = (128, 128),
        act: str = "relu",
        output: str = "sigmoid",
        fourier: int = 0,
        residual: bool = False,
    ) -> None:
        if output not in OUTPUTS:
            raise GanvasError(f"Unknown output {output!r}. Known: {', '.join(OUTPUTS)}.")
        last, value_range = OUTPUTS[output]
        super().__init__(shape, latent_dim, num_classes, value_range)
        layers: list[nn.Module] = [Fourier(fourier)] if fourier else []
        width = self.input_dim * (1 + 2 * fourier)
        for size in hidden:
            layers += [nn.Linear(width, size), activation(act)]
            width = size
        final = nn.Linear(width, prod(shape))
        self.residual = residual
        if residual:
            if prod(shape) != latent_dim or output != "linear":
                raise GanvasError(
                    f"residual draws as many numbers as z has, with output linear; got {prod(shape)}, {latent_dim} and {output}."
                )
            nn.init.zeros_(final.weight)
            nn.init.zeros_(final.bias)
        self.layers = nn.Sequential(*layers, final, last())

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        drawn: Tensor = self.layers(self.with_labels(z, labels))
        if self.residual:
            drawn = drawn + z
        shaped: Tensor = drawn.unflatten(1, self.shape)
        return shaped


class MlpCritic(CriticBase):
    """Sample -> hidden layers -> logit. Defaults are the article's: 784-128-128-1, ReLU.

    `fourier` adds the sine and cosine of so many octaves of every number, for points with fine detail.
    The article ends in a sigmoid; here it is part of the loss, which is the same function computed without overflow.
    """

    def __init__(
        self,
        shape: Shape,
        *,
        num_classes: int = 0,
        hidden: tuple[int, ...] = (128, 128),
        act: str = "relu",
        minibatch_std: bool = False,
        spectral_norm: bool = False,
        fourier: int = 0,
        **heads: Any,
    ) -> None:
        width = prod(shape) * (1 + 2 * fourier)
        super().__init__(shape, num_classes, hidden[-1] if hidden else width, **heads)
        layers: list[nn.Module] = [nn.Flatten(), *([Fourier(fourier)] if fourier else [])]
        for size in hidden:
            layers += [maybe_spectral_norm(nn.Linear(width, size), spectral_norm), activation(act)]
            width = size
        self.layers = nn.Sequential(*layers)
        self.minibatch_std = MinibatchStd() if minibatch_std else nn.Identity()
        self.last = maybe_spectral_norm(nn.Linear(width + minibatch_std, 1), spectral_norm)

    def features(self, x: Tensor) -> Tensor:
        hidden: Tensor = self.layers(x)
        return hidden

    def head(self, features: Tensor) -> Tensor:
        logits: Tensor = self.last(self.minibatch_std(features))
        return logits


families.add(
    "mlp",
    Family(MlpGenerator, MlpCritic, "article", {"hidden": [16, 16]}),
    "dense layers: the article's pair for MNIST-shaped images, and 2-D points",
)
