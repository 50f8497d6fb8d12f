"""The projected critic: small critics that look through a frozen, pretrained network (Sauer et al. 2021, "Projected GANs").

What a critic of pixels has to find out from the data alone, which edges and textures matter, is known to a network that has
seen a million photographs. It is the fastest way to pictures that look right, and such a network must not judge them.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganvas.config import NetworkConfig
from ganvas.errors import GanvasError
from ganvas.networks import efficientnet
from ganvas.networks.base import Answer, CriticBase, Family, families, start_of
from ganvas.networks.dcgan import DcganCritic, DcganGenerator
from ganvas.networks.layers import MinibatchStd, activation, maybe_spectral_norm
from ganvas.networks.layers import norm as norm_of
from ganvas.registry import Registry
from ganvas.types import Shape


@dataclass(frozen=True)
class Backbone:
    """A pretrained network that has feature maps."""

    build: Callable[[], nn.Module]
    """Images (B, 3, S, S) in [-1, 1] -> a list of maps (B, C, H, W), from large to small; without its weights."""
    load: Callable[[], Mapping[str, Tensor]]
    """Its weights by name; raises `GanvasError` where they are not installed."""
    strides: tuple[int, ...]
    """Pixels of the image to one of each of its maps."""
    widths: tuple[int, ...]
    """Channels of each of its maps."""
    ready: Callable[[], Any]
    """Raises `GanvasError` where its weights are not installed."""


backbones: Registry[Backbone] = Registry("feature network")
"""By the names of the extractors that they are: what has guided a training must not judge it (`features.open_extractor`)."""

USUAL = "efficientnet-lite0"


class _LiteMaps(nn.Module):
    """The maps of EfficientNet-Lite0 behind its stages 2, 3, 5 and 7, where they have become smaller, norms folded in."""

    ENDS = (3, 5, 11, 16)
    """Blocks up to each map."""

    def __init__(self, network: efficientnet.EfficientNetLite0 | None = None) -> None:
        super().__init__()
        network = (network or efficientnet.EfficientNetLite0()).eval()
        network.fuse()
        self.stem = network._conv_stem
        starts = (0, *self.ENDS[:-1])
        self.parts = nn.ModuleList(network._blocks[a:b] for a, b in zip(starts, self.ENDS, strict=True))

    def forward(self, x: Tensor) -> list[Tensor]:
        # 127 and 128: the preprocessing that the Lite weights were trained with.
        x = F.relu6(self.stem((x * 127.5 + 0.5) / 128), True)
        found = []
        for part in self.parts:
            x = part(x)
            found.append(x)
        return found


def _lite_weights() -> Mapping[str, Tensor]:
    return _LiteMaps(efficientnet.load_efficientnet()).state_dict()


backbones.add(
    USUAL,
    Backbone(_LiteMaps, _lite_weights, (4, 8, 16, 32), (24, 40, 112, 320), efficientnet.weights_path),
    "EfficientNet-Lite0, trained on ImageNet; offline with the extra `features`",
)


class Mixing(nn.Module):
    """Random, fixed convolutions of the maps: across channels (1 x 1), then across scales (3 x 3, from small to large maps).

    Sauer et al. 2021, section 3.2: no part of the features can be ignored, and every map holds something of the smaller ones.
    Maps i (B, widths[i], H, W), each half as large as the one before -> maps (B, out[i], H, W).
    """

    def __init__(self, widths: Sequence[int], out: Sequence[int]) -> None:
        super().__init__()
        self.channels = nn.ModuleList(nn.Conv2d(a, b, 1) for a, b in zip(widths, out, strict=True))
        wider = [*out[1:], out[-1]]
        self.scales = nn.ModuleList(nn.Conv2d(b, a, 3, padding=1) for a, b in zip(out, wider, strict=True))
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and module.bias is not None:
                nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
                nn.init.zeros_(module.bias)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        mixed = [mix(each) for mix, each in zip(self.channels, maps, strict=True)]
        found = [self.scales[-1](mixed[-1])]
        for i in range(len(mixed) - 2, -1, -1):
            below = F.interpolate(self.scales[i](found[0]), mixed[i].shape[2:], mode="bilinear")
            # Two of equal variance: their sum has that of one.
            found.insert(0, (mixed[i] + below) * 0.5**0.5)
        return found


class SmallCritic(nn.Module):
    """Maps (B, C, H, W) -> halved by 4 x 4 convolutions down to 4 px, at least once -> logits (B, h * w), hidden maps."""

    SMALLEST = 4

    def __init__(
        self, inputs: int, sides: tuple[int, int], most: int, kind: str, spread: bool, group: int = 4
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        rows, columns = sides
        side = min(sides)
        for _ in range(max(1, round(math.log2(max(1, side / self.SMALLEST))))):
            outputs = min(most, 2 * inputs)
            # Of a map of one pixel nothing is left to be halved.
            kernel, stride, padding = (4, 2, 1) if side > 1 else (1, 1, 0)
            conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=kind == "none")
            layers += [maybe_spectral_norm(conv, True), norm_of(kind, outputs), activation("leaky")]
            inputs, side = outputs, max(1, side // 2)
            rows, columns = rows // stride, columns // stride
        self.layers = nn.Sequential(*layers)
        self.spread = MinibatchStd(group) if spread else nn.Identity()
        self.last = maybe_spectral_norm(nn.Conv2d(inputs + spread, 1, 3, padding=1), True)
        self.width, self.parts = inputs, rows * columns

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.layers(x)
        return self.last(self.spread(hidden)).flatten(1), hidden


class ProjectedCritic(CriticBase):
    """Image -> maps of a frozen network -> random mixing of channels and scales -> one small critic for each map.

    Every small critic says something of every part of the image (`Answer.parts`); the loss judges each of them, and the
    logit of an image is their mean. Labels enter by projection on the mean of the hidden maps. `features` names the frozen
    network; the longer side of images is brought to `side` pixels for it
    (0: as it is), both to multiples of 32. `channels` is the width of the largest
    mixed map, doubled for each smaller one up to `max_channels`. `norm` is that of the small critics, and
    `minibatch_std` shows each of them the spread of the batch, in groups of `std_group`. `pixels` is the width of a plain critic
    of pixels beside them, whose word counts as much as theirs together (Kumari et al. 2022); 0: none. `black` is that of the
    generator's range, which ends at 1.
    """

    def __init__(
        self,
        shape: Shape,
        *,
        num_classes: int = 0,
        features: str = USUAL,
        side: int = 0,
        channels: int = 32,
        max_channels: int = 256,
        norm: str = "batch",
        minibatch_std: bool = False,
        pixels: int = 0,
        std_group: int = 4,
        black: float = -1.0,
        **heads: Any,
    ) -> None:
        start_of(shape, "projected", 8, 1024)
        if shape[0] not in (1, 3, 4) or (shape[0] == 4 and not pixels):
            raise GanvasError(
                f"The projected critic looks at grey and colour images, the data has {shape[0]} channels. "
                + (
                    "What is transparent is seen by a critic of pixels alone: --set network.critic.pixels=16."
                    if shape[0] == 4
                    else "Use --network dcgan."
                )
            )
        if not black < 1:
            raise GanvasError(f"network.critic.black is {black:g}; it must be below 1, which is white.")
        backbone = backbones.get(features)
        smallest, longest = backbone.strides[-1], max(shape[1:])
        if side and (side < smallest or side > 1024 or side % smallest):
            raise GanvasError(
                f"network.critic.side is {side}; {features} takes multiples of {smallest} up to 1024."
            )
        seen = [-(-(side or longest) * each // (longest * smallest)) * smallest for each in shape[1:]]
        out = [min(max_channels, channels << i) for i in range(len(backbone.widths))]
        critics = [
            SmallCritic(
                width, (seen[0] // stride, seen[1] // stride), max_channels, norm, minibatch_std, std_group
            )
            for width, stride in zip(out, backbone.strides, strict=True)
        ]
        width, parts = sum(critic.width for critic in critics), sum(critic.parts for critic in critics)
        super().__init__(shape, num_classes, width + parts * (2 if pixels else 1), **heads)
        self.width, self.of_maps, self.black = width, parts, black
        self.pixels = DcganCritic(shape, channels=pixels, std_group=std_group) if pixels else None
        self.backbone, self.seen = features, (seen[0], seen[1])
        self.frozen = backbone.build()
        self.mixing = Mixing(backbone.widths, out)
        self.critics = nn.ModuleList(critics)
        if next(self.frozen.parameters()).device.type != "meta":
            self.frozen.load_state_dict(backbone.load())
        freeze(self.frozen)
        freeze(self.mixing)

    def ready(self) -> None:
        """Raise `GanvasError` where the frozen network's weights are not installed, and for packed samples.

        Their channels would pass for colours, or for what is transparent.
        """
        if self.pack > 1:
            raise GanvasError(
                f"network.pack is {self.pack}; the projected critic looks at single pictures. Omit it, or use another critic."
            )
        backbones.get(self.backbone).ready()

    def answer(self, x: Tensor, labels: Tensor | None = None) -> Answer:
        """Logits, and what the small critics say of each part of the images."""
        found = super().answer(x, labels)
        said = found.features[:, self.width :]
        # What labels add to the logit of an image they add to each of its parts.
        return found._replace(parts=said + (found.logits - said.mean(1))[:, None])

    def features(self, x: Tensor) -> Tensor:
        """Means of the small critics' last hidden maps (B, width), and behind them their logits of each part (B, K)."""
        beside = [] if self.pixels is None else [self.pixels(x)[:, None].expand(-1, self.of_maps)]
        if self.black != -1:
            x = (x - self.black) * (2 / (1 - self.black)) - 1
        # The frozen network has seen pictures of three colours: what is transparent is shown on white.
        x = on_white(x) if x.shape[1] == 4 else x.expand(-1, 3, -1, -1)
        if x.shape[2:] != self.seen:
            smaller = x.shape[-1] > self.seen[-1]
            x = F.interpolate(x, self.seen, mode="bilinear", antialias=smaller)
        # In bf16 a CPU goes back through convolutions of single channels at a third of the speed.
        slow = x.requires_grad and x.device.type == "cpu"
        with torch.autocast(x.device.type, enabled=False) if slow else nullcontext():
            maps = self.frozen(x)
        maps = self.mixing(maps)
        seen = [critic(each) for critic, each in zip(self.critics, maps, strict=True)]
        return torch.cat([hidden.mean((2, 3)) for _, hidden in seen] + [said for said, _ in seen] + beside, 1)

    def head(self, features: Tensor) -> Tensor:
        return features[:, self.width :].mean(1, keepdim=True)


def on_white(images: Tensor) -> Tensor:
    """Images (B, 4, H, W) in [-1, 1], the last channel how solid they are -> (B, 3, H, W) before a white wall."""
    solid = (images[:, 3:] + 1) / 2
    return images[:, :3] * solid + (1 - solid)


def freeze(network: nn.Module) -> None:
    """Make all weights buffers: kept in files and moved with the network, never trained."""
    for module in network.modules():
        for name, weight in list(module.named_parameters(recurse=False)):
            delattr(module, name)
            module.register_buffer(name, weight.detach())


def guide_of(config: NetworkConfig | None) -> str:
    """The name of the network that guides a training with such a critic, and so must not judge it; empty: none does."""
    if config is None or (config.critic_name or config.name) != "projected":
        return ""
    return str(config.critic.get("features", USUAL))


families.add(
    "projected",
    Family(DcganGenerator, ProjectedCritic, "projected", {"channels": 4, "max_channels": 8}),
    "the dcgan generator, and a critic that looks through a frozen pretrained network; 8 to 256 px: for photographs",
)
