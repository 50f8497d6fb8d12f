"""The door for arrays and numbers: what people have becomes one kind of tensor, or an error that says what to write.

Every public function that takes samples, features, points or counts comes through here, so that none of them has checks of its
own. NumPy arrays of any type, byte order and stride, tensors with or without a gradient, and lists are welcome; what would
change a value silently (a mask, an imaginary part, a number beyond a float's digits) is refused.
"""

import math
import operator
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ganvas.errors import GanvasError, brief, counted

Array = np.ndarray | Tensor
"""Rows are samples. float32 stays float32, float64 and whole numbers are computed with in float64, halves in float32."""
EXACT = 2**53
"""Whole numbers above this are not all floats."""
TAME = 1e9
"""Values within (1 / TAME, TAME) can be squared and summed in float32."""
BLOCK = 4096
"""Rows that are computed with in float64 at a time."""
POINTS = 2**20
"""Numbers of points that are held against their float32 at a time."""
MOST = 10_000_000
"""Samples that may be asked for at once."""
TOGETHER = 2**26
"""Numbers of samples, or pixels of pictures, that are held together to be shown or measured: of large ones there are fewer."""


def as_tensor(values: Any, name: str) -> Tensor:
    """Real numbers of any shape as a plain tensor: bool, uint8, int64, float32 or float64, without a gradient.

    Raises `GanvasError` for complex, masked, object and text arrays, for sparse tensors, and for lists that are no rectangle.
    """
    if isinstance(values, Tensor):
        return _plain(values.detach(), name)
    if isinstance(values, str | os.PathLike):
        raise GanvasError(
            f"{name} is {brief(os.fspath(values))}, expected numbers. A file is read before: a picture by "
            "numpy.asarray(PIL.Image.open(FILE)), an array by numpy.load(FILE)."
        )
    if isinstance(values, np.ma.MaskedArray):
        hidden = int(np.ma.getmaskarray(values).sum())
        if hidden:
            raise GanvasError(
                f"{hidden} values of {name} are masked. Drop those rows, or fill them in: {name}.filled(VALUE)."
            )
        values = values.data
    try:
        array = np.asarray(values)
    except (ValueError, TypeError) as error:
        raise GanvasError(f"{name} is no array of numbers: {error}. Give rows of equal length.") from error
    if array.dtype.kind == "c":
        raise GanvasError(
            f"{name} is complex ({array.dtype}). Say which part is meant: {name}.real, abs({name}), or both side by side."
        )
    if array.dtype.kind not in "biuf":
        raise GanvasError(
            f"{name} holds {array.dtype}, expected numbers. If they are numbers in disguise, write {name}.astype('float64')."
        )
    if array.dtype.kind == "u" and array.dtype.itemsize == 8 and array.size and array.max() > EXACT:
        raise GanvasError(f"{name} holds whole numbers above 2^53, which no float can tell apart.")
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        array = array.astype(np.float64)
    elif array.dtype.kind == "u" and array.dtype.itemsize > 1:
        array = array.astype(np.int64)
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    # torch takes neither negative strides nor memory that must not be written to.
    if not (array.flags.writeable and array.flags.c_contiguous):
        array = array.copy(order="C")
    return _plain(torch.from_numpy(array), name)


def _plain(tensor: Tensor, name: str) -> Tensor:
    if tensor.layout != torch.strided or tensor.is_nested:
        raise GanvasError(f"{name} is sparse. Write {name}.to_dense().")
    if tensor.is_complex():
        raise GanvasError(
            f"{name} is complex ({tensor.dtype}). Say which part is meant: {name}.real or {name}.abs()."
        )
    if tensor.is_quantized:
        raise GanvasError(f"{name} is quantized. Write {name}.dequantize().")
    if tensor.device.type == "meta":
        raise GanvasError(f"{name} lies on the device 'meta', which holds no numbers.")
    if tensor.dtype in (torch.bool, torch.uint8, torch.int64, torch.float32, torch.float64):
        return tensor
    return tensor.float() if tensor.is_floating_point() else tensor.long()


def as_floats(values: Any, name: str) -> Tensor:
    """The same as float32 or float64. Raises `GanvasError` for NaN, infinity and whole numbers beyond a float's digits."""
    tensor = as_tensor(values, name)
    if tensor.dtype == torch.int64:
        if tensor.numel() and max(abs(int(tensor.min())), abs(int(tensor.max()))) > EXACT:
            raise GanvasError(
                f"{name} holds whole numbers beyond 2^53, which no float can tell apart. Subtract an offset first."
            )
        return tensor.double()
    if not tensor.is_floating_point():
        return tensor.float()
    # By the ends: of which are finite there would be a copy, and a half.
    if tensor.numel() and not all(map(math.isfinite, map(float, tensor.aminmax()))):
        bad = ~torch.isfinite(tensor)
        rows = bad.flatten(1).any(1) if tensor.dim() > 1 else bad.reshape(-1)
        several = int(rows.sum())
        raise GanvasError(
            f"{several} of {len(rows)} rows of {name} hold{'s' if several == 1 else ''} NaN or infinity. Remove them first: "
            f"{name}[np.isfinite({name}).all(1)]."
        )
    return tensor


def as_rows(values: Any, name: str, least: int = 1) -> Tensor:
    """Features as a float tensor (N, D). Raises `GanvasError` for other shapes and for fewer than `least` rows."""
    tensor = as_tensor(values, name)
    if tensor.dim() != 2 or tensor.shape[1] == 0:
        raise GanvasError(
            f"{name} has shape {tuple(tensor.shape)}; expected features (N, D), one row a sample. "
            "Flatten images first, or embed them: ganvas.metrics.evaluate does."
        )
    if len(tensor) < least:
        raise GanvasError(f"{name} has {counted(len(tensor), 'row')}; it needs at least {least}.")
    return as_floats(tensor, name)


def as_pair(
    fake: Any, real: Any, least: int = 1, names: tuple[str, str] = ("fake", "real")
) -> tuple[Tensor, Tensor]:
    """Two sets of features, in one number format and on one device, with equal numbers of columns."""
    x, y = as_rows(fake, names[0], least), as_rows(real, names[1], least)
    if x.shape[1] != y.shape[1]:
        raise GanvasError(
            f"{names[0]} has {x.shape[1]} columns and {names[1]} has {y.shape[1]}; both must come from the same extractor."
        )
    dtype = torch.promote_types(x.dtype, y.dtype)
    return x.to(dtype), y.to(x.device, dtype)


def apart(*sets: Tensor) -> tuple[tuple[Tensor, ...], float]:
    """Sets of features (N, D) for a figure that depends on distances alone, and the unit that these are then in.

    Brings values that squares would take out of a float's range near 1, by a power of two, and in float64 takes a row of the
    last set off all: an offset of 2^40 costs no digits. Usual features come back as they are, with a unit of 1.
    """
    sets, unit = _scaled(sets)
    if sets[0].dtype == torch.float64:
        sets, more = _scaled(tuple(rows - sets[-1][:1] for rows in sets))
        unit *= more
    return sets, unit


def _scaled(sets: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], float]:
    # Of their absolute values there would be a copy.
    largest = max(float(max(rows.max(), -rows.min())) for rows in sets)
    if largest == 0 or 1 / TAME < largest < TAME:
        return sets, 1.0
    exponent = math.frexp(largest)[1] - 1
    half = exponent // 2  # in two steps, so that neither power leaves a float's range
    return tuple(rows * 2.0**-half * 2.0 ** (half - exponent) for rows in sets), 2.0**exponent


def leading(rows: Tensor, most: int, middle: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The largest eigenvalues (k,) of the rows' products, rising, and their vectors (D, k), of rows (N, D); float64.

    k is `most`, N or D, whichever is least. Of few rows with many numbers no D x D matrix is made, and of many rows no second
    copy. `middle` (D,) is taken off all rows first.
    """
    middle = rows.new_zeros(rows.shape[1]) if middle is None else middle
    if rows.shape[1] <= len(rows):
        products = torch.zeros(rows.shape[1], rows.shape[1], dtype=torch.float64, device=rows.device)
        for part in rows.split(BLOCK):
            off = (part - middle).double()
            products += off.T @ off
        values, vectors = torch.linalg.eigh(products)
        return values[-most:], vectors[:, -most:]
    wide = (rows - middle).double()
    values, sides = torch.linalg.eigh(wide @ wide.T)
    values, sides = values[-most:], sides[:, -most:] * (values[-most:] > 1e-12 * values[-1])
    return values, F.normalize(wide.T @ sides, dim=0)


def split(rows: Tensor, labels: Tensor | None, size: int) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Rows (n, ...) and their labels (n,), where they have some, `size` at a time."""
    parts = rows.split(size)
    return zip(parts, [None] * len(parts) if labels is None else labels.split(size), strict=True)


def joined(parts: Iterable[Tensor], count: int) -> Tensor:
    """Parts (n, ...) of `count` rows in all as one tensor, each let go as it comes: of all parts and their whole there would be
    two in memory."""
    whole, done = torch.empty(0), 0
    for part in parts:
        whole = whole if done else part.new_empty(count, *part.shape[1:])
        whole[done : done + len(part)] = part
        done += len(part)
    return whole


def fitting(each: int, room: int, most: int, least: int = 1) -> int:
    """How many things of `each` numbers are held together where there is room for so many numbers, from `least` to `most`."""
    return min(most, max(least, room // each))


def finite(value: float, name: str) -> float:
    """`value`. Raises `GanvasError` when it left a float's range."""
    if not math.isfinite(value):
        raise GanvasError(
            f"The {name} of these features is beyond a float's range. Divide both sets by their largest value."
        )
    return value


def as_whole(values: Any, name: str, classes: int | None = None) -> Tensor:
    """Whole numbers (N,) from 0, below `classes` where it is given, int64 on the CPU. Raises `GanvasError` for others."""
    tensor = as_tensor(values, name)
    if tensor.dim() != 1 or len(tensor) == 0 or tensor.is_floating_point() or tensor.dtype == torch.bool:
        raise GanvasError(f"{name} must be whole numbers (N,), got {tuple(tensor.shape)} of {_word(tensor)}.")
    low, high = int(tensor.min()), int(tensor.max())
    if low < 0 or (classes is not None and high >= classes):
        end = "up" if classes is None else f"to {classes - 1}"
        raise GanvasError(f"{name} must lie from 0 {end}, got {low} to {high}.")
    return tensor.long().cpu()


COLOURS, ALPHA = (1, 3), 4
"""Channels of what is solid; with a fourth one, which says how solid."""


def as_samples(values: Any, name: str, series: bool = False) -> Tensor:
    """uint8 images (N, C, H, W), float32 series (N, C, T) or float32 points (N, D), as a `Dataset` holds them.

    Images may be (N, C, H, W), (N, H, W, C) or (N, H, W) with 1, 3 or 4 channels. Raises `GanvasError` for
    floats that are no points, points that float32 cannot tell apart, other numbers of channels, one picture without its N,
    and anything empty. Floats of three dimensions are series where these are asked for.
    """
    tensor = as_tensor(values, name)
    wanted = (
        "uint8 images (N, C, H, W), (N, H, W, C) or (N, H, W) with 1, 3 or 4 channels, or float points (N, D)"
    )
    got = f"{name} has shape {tuple(tensor.shape)} and type {_word(tensor)}; expected {wanted}."
    if tensor.numel() == 0:
        raise GanvasError(f"{name} is empty: {got}")
    if tensor.dim() == 2 and tensor.dtype != torch.uint8:
        return as_points(tensor, name)
    if tensor.dim() not in (3, 4):
        raise GanvasError(got)
    if tensor.dim() == 3 and tensor.is_floating_point() and series:
        return as_points(tensor.flatten(1), name).reshape(tensor.shape)
    if tensor.dtype != torch.uint8:
        how = (
            "Floats in [0, 1] become bytes by (x * 255).round(), those in [-1, 1] by ((x + 1) * 127.5).round(), then "
            "x.astype('uint8')."
            if tensor.is_floating_point()
            else "If they go from 0 to 255, write x.astype('uint8')."
        )
        raise GanvasError(f"{got} {how}")
    return channels_first(tensor, name)


def as_points(values: Any, name: str) -> Tensor:
    """Points in float32. Raises `GanvasError` where it has too few digits to tell them apart."""
    points = as_floats(values, name)
    found = points.float()
    size = fitting(points.shape[1], POINTS, BLOCK)
    largest = torch.maximum(points.amax(0), -points.amin(0)).double()
    lost, total, squares = (torch.zeros_like(largest) for _ in range(3))
    # Some rows at a time: of all of them there would be five copies in float64.
    for own, given in zip(found.split(size), points.split(size), strict=True):
        exact = given.double()
        lost = torch.maximum(lost, (own.double() - exact).abs().amax(0))
        total += (exact / largest).nan_to_num().sum(0)
    # Of shares of the largest: squares of tiny numbers are nothing.
    for given in points.split(size):
        squares += ((given.double() / largest).nan_to_num() - total / len(points)).square().sum(0)
    spread = largest * (squares / len(points)).sqrt()
    varies = spread > 1e-12 * largest  # a constant column has a spread of rounding
    poor = varies & ~(lost <= 1e-3 * spread)
    if not torch.isfinite(found).all() or bool(poor.any()):
        least = float(spread[poor].min() if poor.any() else spread.max())
        raise GanvasError(
            f"{name} needs more digits than float32 has: values up to {float(largest.max()):.3g} that differ by about "
            f"{least:.3g}. Subtract the same offset from both sets, or divide them by the same number."
        )
    return found


def channel_axis(shape: Sequence[int]) -> int | None:
    """Which axis of images (N, C, H, W) or (N, H, W, C) is C, 1 or 3; None where neither can be.

    Four channels count only where neither end can be grey or colours.
    """
    for wanted in (COLOURS, (ALPHA,)):
        for axis in (1, 3):
            if shape[axis] in wanted:
                return axis
    return None


def channels_first(tensor: Tensor, name: str) -> Tensor:
    """Images (N, C, H, W), (N, H, W, C) or (N, H, W) -> (N, C, H, W). Raises `GanvasError` where that cannot be told."""
    if tensor.dim() == 3:
        if tensor.shape[2] in (3, 4) and tensor.shape[1] > 4:
            raise GanvasError(
                f"{name} has shape {tuple(tensor.shape)}, which is one picture (H, W, C), or many that are "
                f"{tensor.shape[2]} px wide. Write {name}[None] for the one, {name}[:, None] for the many."
            )
        return tensor[:, None]
    if (axis := channel_axis(tuple(tensor.shape))) is not None:
        return tensor if axis == 1 else tensor.permute(0, 3, 1, 2).contiguous()
    raise GanvasError(
        f"{name} has shape {tuple(tensor.shape)}; expected images with 1, 3 or 4 channels, (N, C, H, W) or (N, H, W, C)."
    )


def count(value: Any, name: str, least: int = 1, most: int = MOST) -> int:
    """A whole number from `least` to `most`. Raises `GanvasError` for anything else."""
    try:
        if isinstance(value, bool):
            raise TypeError  # Python counts with it
        number = operator.index(value)
    except TypeError as error:
        raise GanvasError(f"{name} is {value!r}; it must be a whole number.") from error
    if not least <= number <= most:
        end = f"at least {least}" if number < least else f"at most {most:,}"
        raise GanvasError(f"{name} is {number}; it must be {end}.")
    return number


def seed(value: Any, name: str = "seed") -> int:
    """A whole number from 0 to 2^32 - 1, which every random stream takes. Raises `GanvasError` for anything else."""
    return count(value, name, 0, 2**32 - 1)


def number(
    value: Any, name: str, *, least: float = -math.inf, above: float = -math.inf, most: float = math.inf
) -> float:
    """A finite number of at least `least`, above `above` and at most `most`. Raises `GanvasError` for anything else."""
    try:
        if isinstance(value, bool):
            raise TypeError  # Python counts with it
        found = float(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise GanvasError(f"{name} is {value!r}; it must be a number.") from error
    if not math.isfinite(found) or found < least or found <= above or found > most:
        words = [
            word for word, told in (
                (f"at least {least:g}", least > -math.inf), (f"above {above:g}", above > -math.inf),
                (f"at most {most:g}", most < math.inf),
            ) if told
        ]  # fmt: skip
        raise GanvasError(f"{name} is {found:g}; it must be {' and '.join(words) or 'finite'}.")
    return found


def _word(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
