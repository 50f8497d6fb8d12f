"""Reading the factors of `shapes` off any picture of it, so that generated ones have factors too."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganvas.checkpoint import Checkpoint
from ganvas.data.shapes import FACTORS, SIDE, draw_factors, render
from ganvas.device import seeded
from ganvas.latent.fit import Advance, fit


class FactorReader(nn.Module):
    """uint8 images (n, 3, 32, 32) -> logits of every factor's values."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 3
        for outputs in (width, 2 * width, 4 * width):
            layers += [nn.Conv2d(inputs, outputs, 3, 2, 1), nn.BatchNorm2d(outputs), nn.ReLU()]
            inputs = outputs
        side = SIDE // 8
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(inputs * side * side, 128), nn.ReLU())
        self.heads = nn.ModuleList(nn.Linear(128, values) for values in FACTORS.values())

    def forward(self, images: Tensor) -> list[Tensor]:
        hidden = self.layers(images.float() / 127.5 - 1)
        return [head(hidden) for head in self.heads]

    @torch.no_grad()
    def read(self, images: Tensor) -> Tensor:
        """The likeliest value of every factor (n, K)."""
        return torch.cat(
            [torch.stack([each.argmax(1) for each in self(part)], 1) for part in images.split(512)]
        )


def train_reader(
    steps: int = 1500, batch: int = 128, seed: int = 0, progress: Advance | None = None
) -> tuple[FactorReader, Tensor]:
    """A reader trained on rendered pictures, and its accuracy on fresh ones (K,)."""
    with seeded(seed):
        reader = FactorReader()
    factors = draw_factors(20_000, seed + 1)
    images = torch.cat([render(part) for part in factors.split(1000)])
    random = torch.Generator().manual_seed(seed)

    def loss() -> Tensor:
        rows = torch.randint(len(images), (batch,), generator=random)
        return torch.stack(
            [F.cross_entropy(z, factors[rows, k]) for k, z in enumerate(reader(images[rows]))]
        ).sum()

    def falling(step: int) -> float:
        return 2e-3 * min(1.0, 2 * (steps - step) / steps)

    fit([("reader", reader)], loss, falling, steps, random, Checkpoint(None, {}), progress)
    reader.requires_grad_(False)
    fresh = draw_factors(2000, seed + 2)
    return reader, (reader.read(render(fresh)) == fresh).float().mean(0)
