"""`ganvas reconstruct`"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from ganvas.cli import _shared

if TYPE_CHECKING:
    from torch import Tensor

COLUMNS = 8
SHOWN = 32
"""Pictures of the sheet."""


def run(
    model: Annotated[str, tyro.conf.Positional],
    images: Annotated[str, tyro.conf.Positional],
    *,
    n: int = 2000,
    extractor: str = "auto",
    side: int | None = None,
    out: Path = Path("reconstructed.png"),
    plain: bool = False,
    device: str = "auto",
    json: bool = False,
) -> None:
    """Draw pictures again from their codes, and measure how like them they are.

    Of the data that the model was trained on, only images are taken that were held out of the training.

    Args:
        model: A run or snapshot folder, or a .safetensors file, of a training with an encoder (--method vae, ae, aae ...); or
            another toolkit's autoencoder: a file or a folder in the layout of AutoencoderKL, AutoencoderTiny or TAESD.
        images: A picture, folder, .zip, data set, .npy or .npz; any size and colour is brought to the model's.
        n: How many of the images at most, the first ones.
        extractor: For distances between features: auto, a name or file as of `ganvas eval`, or none.
        side: Pixels of a side of the pictures that another toolkit's autoencoder takes. Default: 64.
        out: A .png, originals above their reconstructions.
        plain: No text in the picture.
        device: auto, cpu, cuda or mps.
        json: Print the figures as JSON.
    """

    from ganvas import pictures
    from ganvas.errors import GanvasError, counted
    from ganvas.features import open_extractor
    from ganvas.metrics.reconstruction import measure
    from ganvas.model import load
    from ganvas.model_data import unseen

    _shared.outputs(out, ".png")
    loaded = load(model, device=device, critic=False, side=side)
    data, held_out = unseen(loaded, images)
    samples = data.take(_first(n, len(data)))[0]
    judge = None
    try:
        judge = None if extractor == "none" else open_extractor(extractor, data, device)
    except GanvasError as error:
        if extractor != "auto":
            raise
        _shared.say(f"note: no distances between features: {error}", beside=True)
    again = loaded.reconstruct(samples[:SHOWN])
    pairs = zip(samples[:SHOWN].split(COLUMNS), again.split(COLUMNS), strict=True)
    rows = [row for pair in pairs for row in pair]
    names = ["original", "reconstruction"] * (len(rows) // 2)
    _shared.write_picture(out, pictures.sheet(rows, names, plain=plain))
    found = measure(loaded, samples, judge)
    if json:
        _shared.answer({**found.to_json(), "held_out": held_out, "out": str(out)})
        return
    which = "held-out image" if held_out else "image"
    text = f"{counted(found.n, which)}: {found.psnr:.1f} dB, structural similarity {found.ssim:.2f}"
    if found.frechet is not None:
        text += f", feature distance {found.feature_distance:.0%} of that of two images, Frechet distance {found.frechet:.3g}"
    _shared.say(
        f"{text}; {found.active} of {found.codes} codes active, effective rank {found.rank:.1f} -> {out}"
    )


def _first(n: int, total: int) -> "Tensor":
    import torch

    from ganvas import arrays

    return torch.arange(min(arrays.count(n, "n", 2), total))
