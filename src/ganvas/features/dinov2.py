"""DINOv2 (Oquab et al. 2024): self-supervised ViT features, weights from a file that the user names.

Only the network is here: `GANVAS_DINOV2` points to a published `dinov2_vit{s,b,l}14_pretrain.pth`. Its depth and width
are read from the file. Images are resized bicubically with antialiasing to 224 px and the class token is the feature.
"""

import hashlib
import math
import os
from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganvas import inert
from ganvas.checkpoint import DIGITS
from ganvas.errors import GanvasError
from ganvas.features.base import Embedded, Extractor, extractors, grey_or_rgb, in_parts

SIDE, PATCH, HEAD = 224, 14, 64
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class _Attention(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.heads = dim // HEAD
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        b, n, dim = x.shape
        q, k, v = self.qkv(x).view(b, n, 3, self.heads, HEAD).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, dim)
        out: Tensor = self.proj(mixed)
        return out


class _Mlp(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return out


class _Scale(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(dim))


class _Block(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm1, self.attn, self.ls1 = nn.LayerNorm(dim, eps=1e-6), _Attention(dim), _Scale(dim)
        self.norm2, self.mlp, self.ls2 = nn.LayerNorm(dim, eps=1e-6), _Mlp(dim), _Scale(dim)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.ls1.gamma * self.attn(self.norm1(x))
        out: Tensor = x + self.ls2.gamma * self.mlp(self.norm2(x))
        return out


class Dinov2(nn.Module):
    """Normalised images (B, 3, S, S), S a multiple of 14 -> class token (B, D). Names as in the published weights."""

    def __init__(self, dim: int, depth: int, positions: int) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, positions + 1, dim))
        self.mask_token = nn.Parameter(torch.zeros(1, dim))  # of its training only; the file holds it
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, dim, PATCH, PATCH)})
        self.blocks = nn.ModuleList(_Block(dim) for _ in range(depth))
        self.norm = nn.LayerNorm(dim, eps=1e-6)

    def forward(self, images: Tensor) -> Tensor:
        patches = self.patch_embed["proj"](images)
        tokens = patches.flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(images), -1, -1), tokens], 1) + self._positions(
            patches.shape[2]
        )
        for block in self.blocks:
            x = block(x)
        out: Tensor = self.norm(x)[:, 0]
        return out

    def _positions(self, side: int) -> Tensor:
        """Position vectors, learned at 518 px, interpolated to `side` x `side` patches as the authors' code does."""
        own, grid = self.pos_embed[:, :1], self.pos_embed[:, 1:]
        given = math.isqrt(grid.shape[1])
        if given == side:
            return self.pos_embed
        square = grid.view(1, given, given, -1).permute(0, 3, 1, 2)
        # Their code adds 0.1 to the wanted size against rounding, and the factor carries it into the sampling.
        factor = (side + 0.1) / given
        resized = F.interpolate(square, scale_factor=(factor, factor), mode="bicubic", antialias=False)
        return torch.cat([own, resized.permute(0, 2, 3, 1).flatten(1, 2)], 1)


def build(weights: Mapping[str, Tensor]) -> Dinov2:
    """The network that a published file holds. Raises `GanvasError` when it is none."""
    try:
        positions, dim = weights["pos_embed"].shape[1] - 1, weights["pos_embed"].shape[2]
        depth = len({name.split(".")[1] for name in weights if name.startswith("blocks.")})
        with torch.device("meta"):  # what the file holds decides how large it is, not what it says
            network = Dinov2(dim, depth, positions)
        network.load_state_dict({name: each.float().clone() for name, each in weights.items()}, assign=True)
    except (KeyError, IndexError, ValueError, RuntimeError, TypeError, AttributeError) as error:
        raise GanvasError(f"This is no DINOv2 ViT with patches of {PATCH} px: {str(error)[:200]}") from error
    return network


class Dinov2Extractor:
    """The network behind the extractor's face."""

    cacheable = True
    resize = f"bicubic, antialiased, to {SIDE} px"

    def __init__(self, network: Dinov2, mark: str, device: torch.device) -> None:
        self.network = network.to(device).eval().requires_grad_(False)
        self.device = device
        width = {384: "s", 768: "b", 1024: "l"}.get(network.pos_embed.shape[2], "x")
        self.id = f"dinov2-vit-{width}14-{mark}"

    def __call__(self, samples: Tensor) -> Embedded:
        return in_parts(self._embed, samples, self.device)

    def _embed(self, samples: Tensor) -> Embedded:
        images = grey_or_rgb(samples.to(self.device), 3).float() / 255
        images = F.interpolate(
            images, (SIDE, SIDE), mode="bicubic", antialias=True, align_corners=False
        ).clamp(0, 1)
        mean, std = (torch.tensor(v, device=self.device)[:, None, None] for v in (MEAN, STD))
        return Embedded(self.network((images - mean) / std))


@extractors.register("dinov2")
def open_dinov2(device: torch.device) -> Extractor:
    """self-supervised ViT features; set GANVAS_DINOV2 to a published dinov2_vit*14_pretrain.pth"""
    chosen = os.environ.get("GANVAS_DINOV2")
    if not chosen or not Path(chosen).is_file():
        raise GanvasError(
            "The extractor dinov2 needs its weights: download dinov2_vits14_pretrain.pth (or vitb14, vitl14) as its "
            "authors publish it and set GANVAS_DINOV2 to its path."
        )
    weights = inert.read(Path(chosen))
    mark = hashlib.sha256(Path(chosen).read_bytes()).hexdigest()[:DIGITS]
    return Dinov2Extractor(build(weights), mark, device)
