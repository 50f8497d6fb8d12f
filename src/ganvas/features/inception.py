"""Inception-2015, the network behind the FID: published weights from a checked download or a local file.

The only extractor whose Frechet distance may be called FID. What the word hides is the resizing to 299 px, so it is
part of the name: `tf1` as in the original code and torch-fidelity, `clean` (PIL bicubic, Parmar et al. 2022), or
`pytorch` (half-pixel bilinear, pytorch-fid).
"""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from ganvas import inert, io
from ganvas.cache import cache_folder, fetch, keeping
from ganvas.errors import GanvasError
from ganvas.features.base import Embedded, Extractor, extractors, grey_or_rgb, in_parts

FILE = "weights-inception-2015-12-05-6726825d.pth"
URL = f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{FILE}"
SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
"""Of the file; the published name carries the first eight digits, which another file could be given, too."""
SIDE = 299
Resize = Literal["tf1", "clean", "pytorch"]

# (name, channels, kernel, stride, padding); a last tuple of tuples forks into units side by side.
_Unit = tuple[str, int, tuple[int, int], int, tuple[int, int]]
_Path = Sequence[_Unit | Sequence[_Unit]]


def _u(
    name: str, channels: int, kernel: int | tuple[int, int] = 1, stride: int = 1, same: bool = True
) -> _Unit:
    size = (kernel, kernel) if isinstance(kernel, int) else kernel
    return name, channels, size, stride, (size[0] // 2, size[1] // 2) if same else (0, 0)


def _a(pool: int) -> tuple[_Path, ...]:
    return (
        (_u("branch1x1", 64),),
        (_u("branch5x5_1", 48), _u("branch5x5_2", 64, 5)),
        (_u("branch3x3dbl_1", 64), _u("branch3x3dbl_2", 96, 3), _u("branch3x3dbl_3", 96, 3)),
        (_u("branch_pool", pool),),
    )


def _c(width: int) -> tuple[_Path, ...]:
    double = [
        _u(f"branch7x7dbl_{i}", 192 if i == 5 else width, (1, 7) if i % 2 else (7, 1)) for i in range(2, 6)
    ]
    return (
        (_u("branch1x1", 192),),
        (_u("branch7x7_1", width), _u("branch7x7_2", width, (1, 7)), _u("branch7x7_3", 192, (7, 1))),
        (_u("branch7x7dbl_1", width), *double),
        (_u("branch_pool", 192),),
    )


def _e() -> tuple[_Path, ...]:
    def fork(name: str) -> tuple[_Unit, _Unit]:
        return _u(f"{name}a", 384, (1, 3)), _u(f"{name}b", 384, (3, 1))

    return (
        (_u("branch1x1", 320),),
        (_u("branch3x3_1", 384), fork("branch3x3_2")),
        (_u("branch3x3dbl_1", 448), _u("branch3x3dbl_2", 384, 3), fork("branch3x3dbl_3")),
        (_u("branch_pool", 192),),
    )


_B: tuple[_Path, ...] = (
    (_u("branch3x3", 384, 3, 2, False),),
    (_u("branch3x3dbl_1", 64), _u("branch3x3dbl_2", 96, 3), _u("branch3x3dbl_3", 96, 3, 2, False)),
)
_D: tuple[_Path, ...] = (
    (_u("branch3x3_1", 192), _u("branch3x3_2", 320, 3, 2, False)),
    (
        _u("branch7x7x3_1", 192), _u("branch7x7x3_2", 192, (1, 7)), _u("branch7x7x3_3", 192, (7, 1)),
        _u("branch7x7x3_4", 192, 3, 2, False),
    ),
)  # fmt: skip
_MIXED: dict[str, tuple[tuple[_Path, ...], Literal["mean", "max", "halve"]]] = {
    "Mixed_5b": (_a(32), "mean"), "Mixed_5c": (_a(64), "mean"), "Mixed_5d": (_a(64), "mean"),
    "Mixed_6a": (_B, "halve"),
    "Mixed_6b": (_c(128), "mean"), "Mixed_6c": (_c(160), "mean"), "Mixed_6d": (_c(160), "mean"),
    "Mixed_6e": (_c(192), "mean"),
    "Mixed_7a": (_D, "halve"), "Mixed_7b": (_e(), "mean"), "Mixed_7c": (_e(), "max"),
}  # fmt: skip
"""Szegedy et al. 2016, table 1, as the 2015 graph has it: its last block pools by maximum."""


class _Basic(nn.Module):
    """Convolution, batch norm, ReLU."""

    def __init__(self, inputs: int, spec: _Unit) -> None:
        super().__init__()
        _, channels, kernel, stride, padding = spec
        self.conv = nn.Conv2d(inputs, channels, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(channels, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


class _Mixed(nn.Module):
    """Paths side by side, and a pooled one; `halve` pools with stride 2 and no convolution after it."""

    def __init__(self, inputs: int, paths: tuple[_Path, ...], pool: Literal["mean", "max", "halve"]) -> None:
        super().__init__()
        self.pool, self.paths = pool, paths
        self.channels = inputs if pool == "halve" else 0
        for path in paths:
            width = inputs
            for step in path:
                units = (step,) if isinstance(step[0], str) else step
                for unit in units:
                    self.add_module(unit[0], _Basic(width, unit))  # type: ignore[arg-type,index]
                width = sum(unit[1] for unit in units)  # type: ignore[index,misc]
            self.channels += width

    def forward(self, x: Tensor) -> Tensor:
        found = []
        for path in self.paths:
            y = x
            if path[0][0] == "branch_pool":
                # TensorFlow's mean does not count the padding.
                pooled = F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
                y = pooled if self.pool == "mean" else F.max_pool2d(x, 3, 1, 1)
            for step in path:
                names = [step[0]] if isinstance(step[0], str) else [unit[0] for unit in step]  # type: ignore[index]
                y = torch.cat([self.get_submodule(name)(y) for name in names], 1)  # type: ignore[arg-type]
            found.append(y)
        if self.pool == "halve":
            found.append(F.max_pool2d(x, 3, 2))
        return torch.cat(found, 1)


class Inception2015(nn.Module):
    """Images (B, 3, 299, 299) in [-1, 1] -> features (B, 2048), logits without bias (B, 1008)."""

    def __init__(self) -> None:
        super().__init__()
        for name, inputs, unit in (
            ("Conv2d_1a_3x3", 3, _u("", 32, 3, 2, False)), ("Conv2d_2a_3x3", 32, _u("", 32, 3, 1, False)),
            ("Conv2d_2b_3x3", 32, _u("", 64, 3)), ("Conv2d_3b_1x1", 64, _u("", 80)),
            ("Conv2d_4a_3x3", 80, _u("", 192, 3, 1, False)),
        ):  # fmt: skip
            self.add_module(name, _Basic(inputs, unit))
        width = 192
        for name, (paths, pool) in _MIXED.items():
            block = _Mixed(width, paths, pool)
            self.add_module(name, block)
            width = block.channels
        self.fc = nn.Linear(2048, 1008)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        for name, module in self.named_children():
            if name == "fc":
                break
            x = module(x)
            if name in ("Conv2d_2b_3x3", "Conv2d_4a_3x3"):
                x = F.max_pool2d(x, 3, 2)
        features = x.mean((2, 3))
        return features, features @ self.fc.weight.T


def to_input(images: Tensor, resize: Resize) -> Tensor:
    """uint8 (B, 3, H, W) -> float (B, 3, 299, 299) in [-1, 1], as the named protocol does it."""
    if resize == "tf1":
        return (resize_tf1(images.float(), SIDE) - 128) / 128
    if resize == "clean":
        return (resize_pil(images, SIDE) - 128) / 128
    half_pixel = F.interpolate(images.float() / 255, (SIDE, SIDE), mode="bilinear", align_corners=False)
    return half_pixel * 2 - 1


def resize_tf1(images: Tensor, side: int) -> Tensor:
    """Bilinear as TensorFlow 1 samples: output pixel i reads position i * in / out, with no half-pixel shift."""
    for axis in (3, 2):
        size = images.shape[axis]
        place = torch.arange(side, dtype=torch.float32, device=images.device) * torch.tensor(size / side)
        low = place.long()
        high = (low + 1).clamp_max(size - 1)
        share = (place - low).view(-1, *[1] * (3 - axis))
        first = images.index_select(axis, low)
        images = first + (images.index_select(axis, high) - first) * share
    return images


def resize_pil(images: Tensor, side: int) -> Tensor:
    """Bicubic with PIL's antialiasing, channel by channel in floats, not rounded (Parmar et al. 2022).

    What overshoots at edges is cut off at 0 and 255, as in the authors' code; without that a tenth of the pixels differ.
    """

    def one(channel: np.ndarray) -> np.ndarray:
        return np.asarray(Image.fromarray(channel).resize((side, side), Image.Resampling.BICUBIC))

    planes = images.cpu().float().flatten(0, 1).numpy()
    resized = torch.from_numpy(np.stack([one(plane) for plane in planes])).clamp(0, 255)
    return resized.view(*images.shape[:2], side, side).to(images.device)


class InceptionExtractor:
    """The network behind the extractor's face."""

    cacheable = True

    def __init__(self, network: Inception2015, resize: Resize, mark: str, device: torch.device) -> None:
        self.network = network.to(device).eval().requires_grad_(False)
        self.device, self.how = device, resize
        self.id = f"inception-2015-{mark}" + ("" if resize == "tf1" else f"-{resize}")
        self.resize = f"{resize} to {SIDE} px" + (", cut off at 0 and 255" if resize == "clean" else "")

    def __call__(self, samples: Tensor) -> Embedded:
        return in_parts(self._embed, samples, self.device)

    def _embed(self, samples: Tensor) -> Embedded:
        images = grey_or_rgb(samples.to(self.device), 3)
        return Embedded(*self.network(to_input(images, self.how)))


def weights_path() -> Path:
    """GANVAS_INCEPTION, or the download in the cache. Raises `GanvasError` when neither can be had."""
    if chosen := os.environ.get("GANVAS_INCEPTION"):
        return Path(chosen)
    path = cache_folder() / FILE
    if not path.is_file():
        content = fetch(URL, f"Fetch {FILE} by other means and set GANVAS_INCEPTION to its path.")
        check(content, URL)
        with keeping():
            io.write_bytes(path, content)
    return path


def check(content: bytes, source: str) -> str:
    """The first digits of the file's hash; raises `GanvasError` when it is not the published file."""
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256:
        raise GanvasError(
            f"{source} has SHA-256 {found[:16]}..., the published weights have {SHA256[:16]}...: it is truncated or "
            "another file. A distance from other weights is no FID."
        )
    return found[:8]


def open_inception(
    device: torch.device, resize: Resize = "tf1", path: Path | None = None
) -> InceptionExtractor:
    """The extractor with the published weights."""
    path = path or weights_path()
    if not path.is_file():
        raise GanvasError(f"No Inception weights at {path}.")
    mark = check(path.read_bytes(), str(path))
    network = Inception2015()
    network.load_state_dict(inert.read(path))
    return InceptionExtractor(network, resize, mark, device)


@extractors.register("inception-2015")
def _tf1(device: torch.device) -> Extractor:
    """the network of the FID, 2048 features, TensorFlow 1 resizing; download of 91 MB or GANVAS_INCEPTION"""
    return open_inception(device)


@extractors.register("inception-2015-clean")
def _clean(device: torch.device) -> Extractor:
    """the same with clean-fid's resizing"""
    return open_inception(device, "clean")


@extractors.register("inception-2015-pytorch")
def _pytorch(device: torch.device) -> Extractor:
    """the same with pytorch-fid's resizing"""
    return open_inception(device, "pytorch")
