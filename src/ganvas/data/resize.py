"""Bringing images to one size, always logged."""

import contextlib
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from ganvas.config import DataConfig, Resize
from ganvas.errors import GanvasError, counted
from ganvas.types import Shape

Size = tuple[int, int]
"""(width, height)"""


def resize(picture: Image.Image, target: Size, how: Resize) -> Image.Image:
    """To (width, height): `crop` the middle, `fit` with black bars (transparent ones where there is alpha), or `stretch`."""
    if picture.size == target:
        return picture
    # LANCZOS averages over the whole footprint when shrinking; it needs grey, RGB or RGBA, which the callers ensure.
    if how == "crop":
        return ImageOps.fit(picture, target, Image.Resampling.LANCZOS)
    if how == "fit":
        scale = min(target[0] / picture.width, target[1] / picture.height)
        if min(picture.size) * scale < 1:  # Pillow would make nothing of half a pixel, and a black picture
            strip = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
            picture = picture.resize(strip, Image.Resampling.LANCZOS)
        return ImageOps.pad(picture, target, Image.Resampling.LANCZOS, color=0)
    return picture.resize(target, Image.Resampling.LANCZOS)


WORDS = {"crop": "cropped to the middle", "fit": "fitted with black bars", "stretch": "stretched"}
CLEAR = WORDS | {"fit": "fitted with transparent bars"}


def plan(
    sizes: Sequence[Size], config: DataConfig, shape: Shape | None = None
) -> tuple[Size, Resize | None, tuple[str, ...]]:
    """Decide the common size from all sizes: (target size, how or None for no resizing, what to say).

    `shape` (C, H, W) is what somebody else, a model, has decided: everything is brought to it, as the config says where that
    leads there, else by cropping. Nothing is refused then.
    """
    if shape is not None:
        return _plan_for((shape[2], shape[1]), sizes, config)
    if config.resize not in (None, *WORDS):
        raise GanvasError(f"resize is {config.resize!r}; it must be {', '.join(WORDS)} or none.")
    widths, heights = [s[0] for s in sizes], [s[1] for s in sizes]
    same = len(set(sizes)) == 1
    side, how = config.resolution, config.resize
    if not same and how is None:
        raise GanvasError(
            f"The images have {len(set(sizes))} different sizes, from {min(widths)} x {min(heights)} to "
            f"{max(widths)} x {max(heights)} px. Say how to bring them to one: "
            f"--resize crop|fit|stretch, and --resolution N (for instance --resize crop --resolution {side or 32})."
        )
    if side is None and (how is None or (same and widths[0] == heights[0])):
        return sizes[0], None, ()
    if side is None:
        shortest = int(np.median([min(size) for size in sizes]))
        side = next((s for s in (64, 32, 16) if s <= shortest), 8)
        hint = " (chosen by ganvas; change it with --resolution)"
    else:
        hint = ""
    target = (side, side if config.height is None else config.height)
    if how is None:
        if widths[0] * target[1] != heights[0] * target[0]:
            if config.height is None:
                shape_is, asked = "square", f"--resolution {side}"
                keeps = f", or --height {round(side * heights[0] / widths[0])} to keep them whole"
            else:
                shape_is, asked, keeps = "of that shape", f"--resolution {side} --height {config.height}", ""
            raise GanvasError(
                f"The images are {widths[0]} x {heights[0]} px, not {shape_is}: {asked} alone does not say how. "
                f"Add --resize crop, fit or stretch{keeps}."
            )
        how = "stretch"  # to the same shape: the three are the same
    changed = sum(size != target for size in sizes)
    note = (
        f"{changed:,} of {counted(len(sizes), 'image')} resized to {target[0]} x {target[1]} px{hint}, "
        f"{(CLEAR if config.alpha else WORDS)[how]} (--resize {how})."
    )
    return target, how, (note,) if changed or hint else ()


def flags(shape: Shape) -> str:
    """What brings pictures to a shape (C, H, W) on the command line."""
    height = "" if shape[1] == shape[2] else f" --height {shape[1]}"
    return f"--resolution {shape[2]}{height}{' --alpha' if shape[0] == 4 else ''}"


def advice(wanted: Shape, given: Shape) -> str:
    """`Add --resolution 32 --resize crop`, with which data of one shape come as another; empty where no flag does that."""
    if len(wanted) == len(given) == 3 and wanted[0] in (given[0], 4):
        return f"Add {flags(wanted)} --resize crop"
    if len(wanted) == len(given) == 2 and wanted[0] == given[0]:
        return f"Add --window {wanted[1]}"
    return ""


def _plan_for(
    target: Size, sizes: Sequence[Size], config: DataConfig
) -> tuple[Size, Resize | None, tuple[str, ...]]:
    changed = sum(size != target for size in sizes)
    chosen: Resize | None = (config.resize or "crop") if changed else None
    with contextlib.suppress(GanvasError):  # the same words as for the model's own data: the same fingerprint
        size, how, _ = plan(sizes, config)
        chosen = how if size == target else chosen
    if not changed or chosen is None:
        return target, chosen, ()
    note = f"{changed:,} of {counted(len(sizes), 'image')} brought to {target[0]} x {target[1]} px, {WORDS[chosen]}."
    return target, chosen, (note,)


def to_tensor(picture: Image.Image) -> Tensor:
    """A grey, RGB or RGBA picture as uint8 (C, H, W)."""
    array = np.array(picture)
    return torch.from_numpy(array[None] if array.ndim == 2 else array.transpose(2, 0, 1).copy())
