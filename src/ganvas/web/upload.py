"""A picture from outside, brought to a model's size. Only its pixels are taken."""

import numpy as np
import torch
from torch import Tensor

from ganvas.data.decode import decode, is_deep, to_mode, white_of, why
from ganvas.data.fitted import MODES
from ganvas.data.resize import resize, to_tensor
from ganvas.errors import GanvasError
from ganvas.types import Shape

LARGEST = 10 * 2**20
"""Bytes of an upload."""
MOST_MEGAPIXELS = 25.0


def read_image(content: bytes, shape: Shape, negative: bool = False, white: float | None = None) -> Tensor:
    """The middle square of a picture as uint8 (C, H, W) of a model's shape; `negative` turns dark on light to light on dark.

    Transparent parts become white, as in data that are trained on, or stay so where the model draws an alpha channel. `white` is
    what that is in grey pictures of more than 8 bits, which this one says itself where the model does not.
    Raises `GanvasError` for files that are too large, damaged, or of no known kind.
    """
    if len(content) > LARGEST:
        raise GanvasError(
            f"The file has {len(content) / 2**20:.0f} MiB; pictures of up to {LARGEST >> 20} MiB are taken."
        )
    try:
        picture = decode(content, MOST_MEGAPIXELS)
        if white is None and is_deep(picture):
            white = white_of(float(np.asarray(picture).max()))
        wanted = to_mode(picture, MODES[shape[0]], white or 255.0)
    except Exception as error:  # Pillow raises many kinds for broken files
        raise GanvasError(f"This cannot be read as a picture: {why(error)}.") from error
    pixels = to_tensor(resize(wanted, (shape[2], shape[1]), "crop"))
    return torch.cat([255 - pixels[:3], pixels[3:]]) if negative else pixels
