"""What a style-based generator is: the written form of what the tools for w, w+ and styles call."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor, nn


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
