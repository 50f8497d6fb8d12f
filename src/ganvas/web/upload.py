"""A picture from outside, brought to a model's size. Only its pixels are taken."""

import io as memory

import torch
from PIL import Image
from torch import Tensor

from ganvas.data.resize import resize, to_tensor
from ganvas.errors import GanvasError
from ganvas.types import Shape

LARGEST = 10 * 2**20
"""Bytes of an upload."""
MOST_PIXELS = 25_000_000
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")


def read_image(content: bytes, shape: Shape, negative: bool = False) -> Tensor:
    """The middle square of a picture as uint8 (C, H, W) of a model's shape; `negative` turns dark on light to light on dark.

    Raises `GanvasError` for files that are too large, damaged, or of no known kind.
    """
    if len(content) > LARGEST:
        raise GanvasError(
            f"The file has {len(content) / 2**20:.0f} MiB; pictures of up to {LARGEST >> 20} MiB are taken."
        )
    try:
        with Image.open(memory.BytesIO(content), formats=FORMATS) as picture:
            if picture.width * picture.height > MOST_PIXELS:
                raise GanvasError(
                    f"The picture has {picture.width} x {picture.height} px; up to {MOST_PIXELS // 10**6} million are taken."
                )
            plain = picture.convert("RGBA" if picture.mode in ("RGBA", "LA", "PA", "P") else "RGB").convert(
                "RGBA"
            )
            # Transparent is background: black, as in the data that small generators are trained on.
            flat = Image.new("RGBA", plain.size, (0, 0, 0, 255))
            flat.alpha_composite(plain)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise GanvasError(f"This can not be read as a picture ({', '.join(FORMATS)}): {error}.") from error
    wanted = flat.convert("L" if shape[0] == 1 else "RGB")
    pixels = to_tensor(resize(wanted, (shape[2], shape[1]), "crop"))
    return 255 - pixels if negative else pixels.to(torch.uint8)
