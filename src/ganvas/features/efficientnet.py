"""The extractor of EfficientNet-Lite0 (`ganvas.networks.efficientnet`)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ganvas.features.base import Embedded, Extractor, extractors, grey_or_rgb
from ganvas.networks.efficientnet import SHA256, EfficientNetLite0, load_efficientnet

SIDE = 224
CPU_BATCH = 8


class EfficientNetExtractor:
    """The network behind the extractor's face."""

    cacheable = True
    id = f"efficientnet-lite0-{SHA256[:8]}"
    resize = f"bilinear, antialiased, to {SIDE} px"

    def __init__(self, network: EfficientNetLite0, device: torch.device) -> None:
        network.eval().fuse()
        self.network = network.to(device, memory_format=torch.channels_last).eval().requires_grad_(False)  # type: ignore[call-overload]
        self.device = device

    def __call__(self, samples: Tensor) -> Embedded:
        # A few at a time on a CPU: the first layers of a large batch would not stay in its cache.
        parts = samples.split(CPU_BATCH) if self.device.type == "cpu" else (samples,)
        found = [self._embed(part) for part in parts]
        return Embedded(torch.cat([f for f, _ in found]), torch.cat([logits for _, logits in found]))

    def _embed(self, samples: Tensor) -> tuple[Tensor, Tensor]:
        images = grey_or_rgb(samples.to(self.device), 3).float()
        images = F.interpolate(images, (SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False)
        # 127 and 128: the preprocessing that the Lite weights were trained with.
        found: tuple[Tensor, Tensor] = self.network(
            ((images - 127) / 128).contiguous(memory_format=torch.channels_last)
        )
        return found


@extractors.register("efficientnet-lite0")
def open_efficientnet(device: torch.device) -> Extractor:
    """ImageNet features, 1280 of them; offline with the extra `features`"""
    return EfficientNetExtractor(load_efficientnet(), device)
