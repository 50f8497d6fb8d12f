"""3 x 3 convolutions with 2.25 times fewer multiplications, for CPUs: F(2 x 2, 3 x 3) of Lavin and Gray 2016, section 4.1.

Of every 4 x 4 pixels sums and differences are taken, 16 products of matrices join the channels, and further sums give 2 x 2
pixels. Numbers stay within 1e-5 of the largest. For inference: what is given is written over.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

HELD = 1 << 22
"""Numbers of sums and differences that are held at once: they stay near the processor, and in memory that it has already."""
TAPS = ((1.0, 0.0, 0.0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0.0, 0.0, 1.0))
FEWEST = 128
"""Channels on either side below which the sums cost more than the products that they save."""
SMALLEST = 32
"""Side of the maps below which reading the kernels costs more."""


def fits(x: Tensor, weight: Tensor, side: int) -> bool:
    """Whether maps like `x`, of that side, gain by it, convolved with `weight` (O, I, 3, 3).

    At one thread alone: with more, they wait for each other after each of its many small sums.
    """
    if torch.get_num_threads() > 1:
        return False
    alike = x.device.type == "cpu" and x.dtype == weight.dtype == torch.float32
    large = side >= SMALLEST and not side % 2 and min(weight.shape[:2]) >= FEWEST
    return alike and large and torch.backends.mkldnn.is_available() and not torch.is_autocast_enabled("cpu")


class Kept:
    """What was made of weights, until these change. Copies of a network begin anew."""

    def __init__(self) -> None:
        self.key: object = None
        self.made: dict[str, Any] = {}

    def __reduce__(self) -> tuple[type["Kept"], tuple[()]]:
        return Kept, ()

    def once(self, weight: Tensor, name: str, make: Callable[[], Any]) -> Any:
        """What `make` makes of a weight, or made of it before."""
        key = (weight.data_ptr(), weight._version, weight.dtype)
        if self.key != key:
            self.key, self.made = key, {}
        if name not in self.made:
            self.made[name] = make()
        return self.made[name]


def kernels(weight: Tensor) -> Tensor:
    """Weights (O, I, 3, 3) -> what `convolved` takes instead (4, 4, O, I, 1, 1)."""
    taps = torch.tensor(TAPS, dtype=torch.float64)
    made = weight.new_empty(4, 4, *weight.shape[:2])
    for some, part in zip(
        made.split(64, 2), weight.split(64), strict=True
    ):  # little is held in double precision
        some.copy_(torch.einsum("ai,oxij,bj->abox", taps, part.double(), taps))
    return made[..., None, None]


def convolved(x: Tensor, kernels: Tensor) -> Tensor:
    """x (B, I, H + 2, W + 2), H and W even, with its border -> (B, O, H, W), both with the channels last."""
    count, inputs, height, width = x.shape
    high, wide = height // 2 - 1, width // 2 - 1
    found = torch.empty(
        count, kernels.shape[2], 2 * high, 2 * wide, dtype=x.dtype, memory_format=torch.channels_last
    )
    given, drawn = x.permute(0, 2, 3, 1), found.permute(0, 2, 3, 1)
    rows = max(1, HELD // (16 * wide * inputs))
    several = max(1, rows // high)
    for i in range(0, count, several):
        for top in range(0, high, rows):
            end = min(top + rows, high)
            some = given[i : i + several, 2 * top : 2 * end + 2]
            _tiles(some, kernels, drawn[i : i + several, 2 * top : 2 * end])
    return found


def _tiles(x: Tensor, kernels: Tensor, drawn: Tensor) -> None:
    """x (B, 2 n + 2, 2 m + 2, I) -> `drawn` (B, 2 n, 2 m, O)."""
    count, inputs, outputs = len(x), x.shape[3], drawn.shape[3]
    n, m = drawn.shape[1] // 2, drawn.shape[2] // 2
    down = x.new_empty(4, count, n, x.shape[2], inputs)
    _differences([x[:, i : i + 2 * n : 2] for i in range(4)], down.unbind(0))
    both = x.new_empty(4, 4, count, n, m, inputs)
    _differences([down[:, :, :, i : i + 2 * m : 2] for i in range(4)], both.unbind(0))
    columns = x.new_empty(2, 4, count, n, m, outputs)
    for j in range(4):
        # The channels of all tiles, as a map of one column. At one thread torch takes a slower library for kernels of
        # 1 x 1, unless they are dilated, which means nothing to them.
        maps = [both[j, i].reshape(1, -1, 1, inputs).permute(0, 3, 1, 2) for i in range(4)]
        products = [F.conv2d(each, kernels[i, j], dilation=2) for i, each in enumerate(maps)]
        sums = [each.permute(0, 2, 3, 1).reshape(count, n, m, outputs) for each in products]
        _sums(sums, (columns[0, j], columns[1, j]))
    for i in range(2):
        part = drawn[:, i::2]
        _sums(list(columns[i].unbind(0)), (part[:, :, 0::2], part[:, :, 1::2]))


def _differences(x: list[Tensor], found: tuple[Tensor, ...]) -> None:
    torch.sub(x[0], x[2], out=found[0])
    torch.add(x[1], x[2], out=found[1])
    torch.sub(x[2], x[1], out=found[2])
    torch.sub(x[1], x[3], out=found[3])


def _sums(x: list[Tensor], found: tuple[Tensor, Tensor]) -> None:
    torch.add(x[1], x[2], out=found[0]).add_(x[0])
    torch.sub(x[1], x[2], out=found[1]).sub_(x[3])
