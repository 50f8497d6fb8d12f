"""What a style-based generator is: the written form of what the tools for w, w+ and styles call."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from ganvas import dist
from ganvas.networks.base import GeneratorBase, to_prior
from ganvas.types import Shape

W_MEAN_DECAY = 0.998
"""Of the running mean of w, per training step, as published."""


@runtime_checkable
class StyleBased(Protocol):
    """A generator in steps: z -> `mapping` -> w -> `broadcast` -> w+ -> `styles` -> `synthesis` -> samples.

    Whoever has these members has the spaces w, w+ and styles, `sefa`, truncation in w and other noise in the
    explorer; `ganvas.testing.check_style_based` tries whether they fit. W is `w_dim`, L is `num_layers`.
    """

    w_dim: int
    """Numbers in w."""

    @property
    def num_layers(self) -> int:
        """Rows of w+: the layers that can be given a w of their own."""

    @property
    def noise_shapes(self) -> Sequence[tuple[int, ...]]:
        """Shape of each noise map that `synthesis` takes, without the batch: (1, H, W), coarse to fine."""

    @property
    def style_layers(self) -> Sequence[nn.Module]:
        """Affine layers w (B, W) -> style (B, C) of `styles`, whose `weight` (C, W) `sefa` reads.

        Not all of them: of those that draw images SeFa takes the last one alone (Shen and Zhou 2021).
        """

    def mapping(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """z (B, Z), and labels (B,) of a conditional one -> w (B, W)."""

    def broadcast(self, w: Tensor) -> Tensor:
        """w (B, W) -> w+ (B, L, W), every row the same."""

    def styles(self, w_plus: Tensor) -> Sequence[Tensor]:
        """w+ (B, L, W) -> style vectors (B, C), each of a width of its own, coarse to fine."""

    def synthesis(self, styles: Sequence[Tensor], noise: Sequence[Tensor] | None = None) -> Tensor:
        """Style vectors -> (B, *shape). `noise`: (B or 1, 1, H, W) for each of `noise_shapes`; or the fixed."""


class StyledGenerator(GeneratorBase):
    """What the style-based families share: `forward` by their steps, truncation, and the random inputs of training.

    Has `w_mean` and `path_mean` (of path-length regularisation). A subclass brings the members of `StyleBased` that are
    missing here. `style_mixing` is the share of training samples that take w from two latents.
    """

    num_layers: int
    noise_shapes: Sequence[tuple[int, ...]]
    style_layers: Sequence[nn.Module]
    w_mean: Tensor

    def __init__(
        self,
        shape: Shape,
        latent_dim: int,
        num_classes: int,
        w_dim: int,
        style_mixing: float,
        *,
        embed: bool = True,
    ) -> None:
        super().__init__(shape, latent_dim, num_classes, embed=embed)
        self.w_dim = w_dim or latent_dim
        self.style_mixing = style_mixing

    def mapping(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """z (B, Z), labels (B,) -> w (B, W)."""
        raise NotImplementedError

    def broadcast(self, w: Tensor) -> Tensor:
        """w (B, W) -> w+ (B, num_layers, W), every layer the same."""
        return w[:, None].expand(-1, self.num_layers, -1)

    def truncate(self, w: Tensor, psi: float, layers: int | None = None) -> Tensor:
        """Pull w (B, W) or w+ (B, L, W) towards the mean of w (Karras et al. 2019, B); `layers`: only the first of w+."""
        pulled: Tensor = self.w_mean + psi * (w - self.w_mean)
        return pulled if layers is None or w.dim() == 2 else torch.cat([pulled[:, :layers], w[:, layers:]], 1)

    def styles(self, w_plus: Tensor) -> list[Tensor]:
        """w+ (B, L, W) -> style vectors (B, C), coarse to fine."""
        raise NotImplementedError

    def synthesis(self, styles: Sequence[Tensor], noise: Sequence[Tensor] | None = None) -> Tensor:
        """Style vectors, and noise (B, 1, H, W) for each of `noise_shapes` or None for the fixed one -> (B, *shape)."""
        raise NotImplementedError

    def forward(
        self,
        z: Tensor,
        labels: Tensor | None = None,
        *,
        mix: Tensor | None = None,
        cut: Tensor | None = None,
        noise: Sequence[Tensor] | None = None,
    ) -> Tensor:
        """`mix` (B, Z) are the latents that take over from layer `cut` (B,) on; `noise` as in `synthesis`."""
        w = self.mapping(z, labels)
        if self.training:
            self.w_mean.lerp_(dist.mean(w.detach().float().mean(0)), 1 - W_MEAN_DECAY)
        w_plus = self.broadcast(w)
        if mix is not None and cut is not None:
            late = torch.arange(self.num_layers, device=z.device) >= cut[:, None]
            w_plus = torch.where(late[:, :, None], self.mapping(mix, labels)[:, None], w_plus)
        return self.synthesis(self.styles(w_plus), noise)

    def training_inputs(
        self, normal: Callable[..., Tensor], uniform: Callable[..., Tensor]
    ) -> dict[str, Any]:
        inputs: dict[str, Any] = {"noise": [normal(*shape) for shape in self.noise_shapes]}
        if self.style_mixing:
            cut = 1 + (uniform() * (self.num_layers - 1)).long()
            unmixed = uniform() >= self.style_mixing
            inputs |= {
                "mix": to_prior(self.prior, normal(self.latent_dim)),
                "cut": cut.masked_fill(unmixed, self.num_layers),
            }
        return inputs
