"""What every metric checks about the arrays it is given."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ganvas.errors import GanvasError

Array = np.ndarray | Tensor
"""Rows are samples. float32 stays float32, float64 stays float64, anything else becomes float32."""


def as_rows(values: Array, name: str, least: int = 1) -> Tensor:
    """`values` as a float tensor (N, D). Raises `GanvasError` for other shapes, fewer than `least` rows, NaN, infinity."""
    tensor = torch.as_tensor(values)
    if tensor.dim() != 2 or tensor.shape[1] == 0:
        raise GanvasError(
            f"{name} has shape {tuple(tensor.shape)}; expected features (N, D), one row a sample. "
            "Flatten images first, or embed them: ganvas.metrics.evaluate does."
        )
    if len(tensor) < least:
        raise GanvasError(f"{name} has {len(tensor)} rows; this metric needs at least {least}.")
    if tensor.dtype not in (torch.float32, torch.float64):
        tensor = tensor.float()
    if not torch.isfinite(tensor).all():
        bad = int((~torch.isfinite(tensor).all(1)).sum())
        raise GanvasError(f"{bad} of {len(tensor)} rows of {name} hold NaN or infinity. Remove them first.")
    return tensor


def as_pair(fake: Array, real: Array, least: int = 1) -> tuple[Tensor, Tensor]:
    """Both sets checked, in one number format and on one device, with equal numbers of columns."""
    x, y = as_rows(fake, "fake", least), as_rows(real, "real", least)
    if x.shape[1] != y.shape[1]:
        raise GanvasError(
            f"fake has {x.shape[1]} columns and real has {y.shape[1]}; both must come from the same extractor."
        )
    dtype = torch.promote_types(x.dtype, y.dtype)
    return x.to(dtype), y.to(x.device, dtype)


def pick(total: int, count: int, seed: int) -> Tensor:
    """`count` of the numbers below `total`, in rising order."""
    return torch.randperm(total, generator=torch.Generator().manual_seed(seed))[:count].sort().values


def standard_error(values: Tensor | Sequence[float]) -> float:
    """Of the mean of independent values; 0 for a single one."""
    numbers = torch.as_tensor(values, dtype=torch.float64)
    return float(numbers.std() / len(numbers) ** 0.5) if len(numbers) > 1 else 0.0
