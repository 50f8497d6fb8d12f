"""Plain strided convolutions, 8 to 256 px: the default for small images, and the tutorial's pair (Radford et al. 2016)."""

from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from ganvas.errors import GanvasError
from ganvas.networks.base import CriticBase, Family, GeneratorBase, doubled, families, start_of
from ganvas.networks.layers import MinibatchStd, activation, maybe_spectral_norm, norm
from ganvas.types import Shape


class DcganGenerator(GeneratorBase):
    """z -> a small stack of maps -> doubled by 4 x 4 transposed convolutions, halving the channels -> tanh image.

    `channels` is the width of the last hidden layer.
    A kernel that the stride divides leaves no checkerboard pattern of unequal overlap (Odena et al. 2016). The last
    convolution keeps the size and costs little; `last_up` makes the last doubling draw the image itself instead,
    as the well-known tutorial does. `refine` follows every hidden size with a 3 x 3 convolution, norm and activation:
    cheap at the small sizes, where most of the drawing is decided.
    """

    def __init__(
        self,
        shape: Shape,
        latent_dim: int,
        *,
        num_classes: int = 0,
        channels: int = 32,
        max_channels: int = 512,
        norm: str = "batch",
        act: str = "relu",
        last_up: bool = False,
        refine: bool = False,
        init_std: float | None = None,
    ) -> None:
        super().__init__(shape, latent_dim, num_classes)
        steps, rows, columns = start_of(shape, "dcgan", 8, 256)
        ups = steps - last_up
        widths = doubled(channels, ups, max_channels)[::-1]
        self.start = (widths[0], rows, columns)
        bias = norm == "none"

        def finish(width: int) -> list[nn.Module]:
            done = [_norm(norm, width), activation(act)]
            if refine:
                done += [
                    nn.Conv2d(width, width, 3, padding=1, bias=bias),
                    _norm(norm, width),
                    activation(act),
                ]
            return done

        layers = finish(widths[0])
        for inputs, outputs in pairwise(widths):
            layers += [nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=bias), *finish(outputs)]
        if last_up:
            layers += [nn.ConvTranspose2d(widths[-1], shape[0], 4, 2, 1)]
        else:
            layers += [nn.Conv2d(widths[-1], shape[0], 3, padding=1)]
        self.first = nn.Linear(self.input_dim, widths[0] * rows * columns, bias=bias)
        self.layers = nn.Sequential(*layers, nn.Tanh())
        _initialise(self, init_std)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        drawn: Tensor = self.layers(self.first(self.with_labels(z, labels)).unflatten(1, self.start))
        return drawn


class DcganCritic(CriticBase):
    """Image -> halved by 4 x 4 strided convolutions, doubling the channels -> optional last convolution -> logit."""

    def __init__(
        self,
        shape: Shape,
        *,
        num_classes: int = 0,
        channels: int = 32,
        max_channels: int = 512,
        norm: str = "none",
        minibatch_std: bool = True,
        last_conv: bool = True,
        spectral_norm: bool = False,
        init_std: float | None = None,
        label_maps: bool = False,
        std_group: int = 4,
        **heads: Any,
    ) -> None:
        steps, rows, columns = start_of(shape, "dcgan", 8, 256)
        widths = doubled(channels, steps, max_channels)
        last = widths[-1] if last_conv else widths[-2]
        # Without a last convolution the heads see the spread of the batch beside the maps.
        width = (last + (minibatch_std and not last_conv)) * rows * columns
        super().__init__(shape, num_classes, width, label_maps=label_maps, **heads)
        layers: list[nn.Module] = []
        inputs = shape[0] + (num_classes if self.label_maps else 0)
        for i, outputs in enumerate(widths[:-1]):
            # No norm on the first layer: it would hide the contrast of the image (Radford et al. 2016, section 3).
            plain = norm == "none" or i == 0
            layers += [
                maybe_spectral_norm(nn.Conv2d(inputs, outputs, 4, 2, 1, bias=plain), spectral_norm),
                *([] if plain else [_norm(norm, outputs)]),
                activation("leaky"),
            ]
            inputs = outputs
        if minibatch_std:
            layers += [MinibatchStd(std_group)]
            inputs += 1
        if last_conv:
            layers += [
                maybe_spectral_norm(nn.Conv2d(inputs, last, 3, padding=1), spectral_norm),
                activation("leaky"),
            ]
        self.layers = nn.Sequential(*layers, nn.Flatten())
        self.last = maybe_spectral_norm(nn.Linear(width, 1), spectral_norm)
        _initialise(self, init_std)

    def features(self, x: Tensor) -> Tensor:
        hidden: Tensor = self.layers(x)
        return hidden

    def head(self, features: Tensor) -> Tensor:
        logits: Tensor = self.last(features)
        return logits


def _initialise(network: nn.Module, std: float | None) -> None:
    """Normal weights of a given spread, as the DCGAN paper draws them (0.02); None keeps torch's own."""
    if std is None:
        return
    if type(std) not in (int, float) or not std >= 0:
        raise GanvasError(f"init_std of a dcgan network is a number from 0, or none; got {std!r}.")
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(module.weight, 0.0, std)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, std)


_norm = norm  # the keyword argument of both networks has the same name

families.add(
    "dcgan",
    Family(DcganGenerator, DcganCritic, "small", {"channels": 4}),
    "plain strided convolutions, 8 to 256 px: the default for small images",
)
