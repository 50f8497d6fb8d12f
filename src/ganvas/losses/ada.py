"""The augmentations of ADA, `bgc`: pixel blitting, general geometry and colour (Karras et al. 2020, "limited data", appendix B).

Each transform has a chance of its own. All geometry of an image is one matrix, applied by one resampling: the image is
continued by reflection, doubled with the sym6 wavelet, sampled bilinearly, and halved with the same wavelet. All colour is one
matrix, too. Everything is linear in the image, so gradient penalties can differentiate it twice.
"""

import functools
import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

SYM6 = (
    0.015404109327027373, 0.0034907120842174702, -0.11799011114819057, -0.048311742585633,
    0.4910559419267466, 0.787641141030194, 0.3379294217276218, -0.07263752278646252,
    -0.021060292512300564, 0.04472490177066578, 0.0017677118642428036, -0.007800708325034148,
)  # fmt: skip
"""Low-pass filter of the orthogonal wavelet with six vanishing moments that is nearest to symmetric (Daubechies 1992)."""
EDGE = len(SYM6) // 4
"""Pixels that the filter reaches beyond the border, at each of the two resamplings."""
DRAWS = 28
"""Random numbers an image: a value and a chance each, two values for the shifts."""


def bgc(x: Tensor, numbers: Tensor, p: Tensor | float, *, colour: float = 1.0) -> Tensor:
    """Images (B, C, H, W) in [-1, 1], C 1, 3 or 4, and (B, 28) uniform numbers -> images, each transform with probability `p`.

    Changes of colour leave the fourth channel, how solid the picture is, as it is.

    `colour` multiplies the probability of the colour transforms (R3GAN: 0.5).
    """
    with torch.autocast(x.device.type, enabled=False):
        drawn = _Numbers(iter(numbers.to(x.dtype).unbind(1)), p)
        moved = warp(x, geometry(drawn, x.shape[2], x.shape[3]))
        drawn.p = colour * p
        matrix = colours(drawn, min(3, x.shape[1]))
        return torch.cat([recolour(moved[:, :3], matrix), moved[:, 3:]], 1)


class _Numbers:
    """Values of the transforms, each with probability p, else the one that changes nothing."""

    def __init__(self, uniform: Iterator[Tensor], p: Tensor | float) -> None:
        self.uniform, self.p = uniform, p

    def normal(self, count: int = 1) -> list[Tensor]:
        """`count` standard normal numbers (B,); 0 where the chance says no."""
        values = [next(self.uniform).clamp(1e-6, 1 - 1e-6) for _ in range(count)]
        return self._by_chance([torch.erfinv(2 * u - 1) * math.sqrt(2) for u in values], self.p)

    def between(self, reach: float, count: int = 1, p: Tensor | float | None = None) -> list[Tensor]:
        """`count` numbers within +-reach (B,); 0 where the chance says no."""
        values = [(2 * next(self.uniform) - 1) * reach for _ in range(count)]
        return self._by_chance(values, self.p if p is None else p)

    def whole(self, choices: int) -> Tensor:
        """One of 0 .. choices - 1 (B,); 0 where the chance says no."""
        return self._by_chance([(next(self.uniform) * choices).floor()], self.p)[0]

    def _by_chance(self, values: list[Tensor], p: Tensor | float) -> list[Tensor]:
        chosen = next(self.uniform) < p
        return [torch.where(chosen, value, 0.0) for value in values]


def geometry(drawn: _Numbers, height: int, width: int) -> Tensor:
    """(B, 3, 3): where in the image each place of the result is taken from; pixels, the centre of the image being 0."""
    flipped = 1 - 2 * drawn.whole(2)
    one = torch.ones_like(flipped)
    matrix = _scale(flipped, one) @ _turn(drawn.whole(4) * (math.pi / 2))
    right, down = drawn.between(0.125, 2)
    matrix = matrix @ _shift(-(right * width).round(), -(down * height).round())
    smaller = torch.exp2(-0.2 * drawn.normal()[0])
    matrix = matrix @ _scale(smaller, smaller)
    # Two turns, before and after stretching, so that one of them comes with probability p.
    p = 1 - (1 - torch.as_tensor(drawn.p)).clamp(0, 1).sqrt()
    matrix = matrix @ _turn(drawn.between(math.pi, p=p)[0])
    narrower = torch.exp2(-0.2 * drawn.normal()[0])
    matrix = matrix @ _scale(narrower, 1 / narrower)
    matrix = matrix @ _turn(drawn.between(math.pi, p=p)[0])
    right, down = drawn.normal(2)
    return matrix @ _shift(-0.125 * width * right, -0.125 * height * down)


def warp(x: Tensor, matrix: Tensor) -> Tensor:
    """Images (B, C, H, W) resampled at `matrix` (B, 3, 3) times the places of their pixels."""
    height, width = x.shape[2:]
    left, top, right, bottom = _margins(matrix, height, width, exactly=x.device.type == "cpu")
    x = F.pad(x, (left, right, top, bottom), mode="reflect")
    half = torch.full_like(matrix[:, 0, 0], 0.5)
    centre = _shift(half * (left - right), half * (top - bottom))
    # The filter puts the old pixels on the even new ones: half a new pixel beside their centre.
    matrix = (
        _shift(-half, -half)
        @ _scale(4 * half, 4 * half)
        @ centre
        @ matrix
        @ _scale(half, half)
        @ _shift(half, half)
    )
    x = _double(_double(x).mT).mT
    rows, columns = (
        torch.arange(2 * size, dtype=x.dtype, device=x.device) + 0.5 - size
        for size in (height + 2 * EDGE, width + 2 * EDGE)
    )
    place = torch.stack(torch.broadcast_tensors(columns, rows[:, None], torch.ones_like(rows[0])))
    across, down, _ = (matrix @ place.flatten(1)).unbind(1)
    seen = _bilinear(x, across + x.shape[3] / 2 - 0.5, down + x.shape[2] / 2 - 0.5)
    seen = seen.unflatten(2, (len(rows), len(columns)))
    return _halve(_halve(seen).mT).mT


def _margins(matrix: Tensor, height: int, width: int, *, exactly: bool) -> list[int]:
    """Left, top, right, bottom: how far beyond the image its corners are taken from, and the filter; at most all but one pixel.

    Not `exactly`: the most there can be, which draws the same and does not wait for the device.
    """
    if not exactly:
        return [width - 1, height - 1, width - 1, height - 1]
    x, y = (width - 1) / 2, (height - 1) / 2
    corners = torch.tensor([[-x, x, x, -x], [-y, -y, y, y], [1, 1, 1, 1]]).to(matrix)
    across, down, _ = (matrix @ corners).unbind(1)
    reach = torch.stack([-across.min(), -down.min(), across.max(), down.max()])
    reach = (reach + 2 * EDGE - torch.tensor([x, y, x, y]).to(matrix)).ceil()
    most = (width - 1, height - 1, width - 1, height - 1)
    return [max(0, min(int(value), end)) for value, end in zip(reach.tolist(), most, strict=True)]


@functools.cache
def _taps(dtype: torch.dtype, device: torch.device) -> Tensor:
    taps = torch.tensor(SYM6, dtype=dtype, device=device)
    return (taps / taps.sum()).reshape(1, 1, 1, -1)


def _double(x: Tensor) -> Tensor:
    """Rows of twice the length: a zero behind every pixel, then the filter times two."""
    taps = 2 * _taps(x.dtype, x.device)
    longer = F.conv_transpose2d(x.reshape(-1, 1, *x.shape[2:]), taps, stride=(1, 2), padding=(0, 5))
    return longer.reshape(*x.shape[:3], -1)


def _halve(x: Tensor) -> Tensor:
    """Rows of half the length without the filter's reach at both ends: the filter mirrored, then every second pixel."""
    flat = x.reshape(-1, 1, *x.shape[2:])[..., 1:-1]
    return F.conv2d(flat, _taps(x.dtype, x.device), stride=(1, 2)).reshape(*x.shape[:3], -1)


def _bilinear(x: Tensor, across: Tensor, down: Tensor) -> Tensor:
    """Images (B, C, H, W) at places (B, N) -> (B, C, N); 0 beyond the border. torch's own cannot be differentiated twice."""
    height, width = x.shape[2:]
    left, top = across.floor(), down.floor()
    found = torch.zeros_like(x[:1, :1, :1, 0])
    for row, share_row in ((top, 1 - (down - top)), (top + 1, down - top)):
        for column, share in ((left, 1 - (across - left)), (left + 1, across - left)):
            inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            # Whole numbers: float32 has none of its own for every pixel above 2^24 of them.
            index = row.long().clamp(0, height - 1) * width + column.long().clamp(0, width - 1)
            values = x.flatten(2).gather(2, index[:, None].expand(-1, x.shape[1], -1))
            found = found + values * (share_row * share * inside)[:, None]
    return found


def colours(drawn: _Numbers, channels: int) -> Tensor:
    """(B, 3, 4): what a pixel's colour, with a 1 behind it, is multiplied by. Grey images have no hue and no saturation."""
    brighter = 0.2 * drawn.normal()[0]
    stronger = torch.exp2(0.5 * drawn.normal()[0])
    mirrored = drawn.whole(2)
    along, across, about = _grey_axis(brighter.dtype, brighter.device)
    identity = along + across
    # Light becomes dark by mirroring along the axis of grey.
    matrix = identity - 2 * along * mirrored[:, None, None]
    shift = matrix.sum(2) * (brighter * stronger)[:, None]
    matrix = matrix * stronger[:, None, None]
    if channels == 3:
        angle = drawn.between(math.pi)[0][:, None, None]
        richer = torch.exp2(drawn.normal()[0])[:, None, None]
        # Hue turns about the axis of grey (Rodrigues' formula), saturation stretches across it.
        turned = along + (across * angle.cos() + about * angle.sin()) * richer
        matrix, shift = turned @ matrix, (turned @ shift[:, :, None])[:, :, 0]
    return torch.cat([matrix, shift[:, :, None]], 2)


@functools.cache
def _grey_axis(dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """(3, 3) each: the projections along the axis of grey and across it, and the cross product with it."""
    along = torch.full((3, 3), 1 / 3, dtype=dtype, device=device)
    about = torch.tensor([[0, -1, 1], [1, 0, -1], [-1, 1, 0]], dtype=dtype, device=device) / math.sqrt(3)
    return along, torch.eye(3, dtype=dtype, device=device) - along, about


def recolour(x: Tensor, matrix: Tensor) -> Tensor:
    """Images (B, 1 or 3, H, W) with every pixel's colour multiplied by (B, 3, 4); grey ones as equal channels, averaged."""
    if x.shape[1] == 1:
        mean = matrix.mean(1)
        grey: Tensor = x * mean[:, :3].sum(1)[:, None, None, None] + mean[:, 3][:, None, None, None]
        return grey
    mixed: Tensor = matrix[:, :, :3] @ x.flatten(2) + matrix[:, :, 3:]
    colour: Tensor = mixed.unflatten(2, x.shape[2:])
    return colour


def _scale(across: Tensor, down: Tensor) -> Tensor:
    zero, one = torch.zeros_like(across), torch.ones_like(across)
    return _matrix([across, zero, zero], [zero, down, zero], [zero, zero, one])


def _turn(angle: Tensor) -> Tensor:
    zero, one = torch.zeros_like(angle), torch.ones_like(angle)
    return _matrix([angle.cos(), -angle.sin(), zero], [angle.sin(), angle.cos(), zero], [zero, zero, one])


def _shift(across: Tensor, down: Tensor) -> Tensor:
    zero, one = torch.zeros_like(across), torch.ones_like(across)
    return _matrix([one, zero, across], [zero, one, down], [zero, zero, one])


def _matrix(*rows: list[Tensor]) -> Tensor:
    return torch.stack([torch.stack(row, 1) for row in rows], 1)
