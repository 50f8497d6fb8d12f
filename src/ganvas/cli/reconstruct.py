"""`ganvas reconstruct`"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from ganvas.cli import _shared

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from ganvas.metrics.reconstruction import Reconstruction
    from ganvas.model import Model

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
    """Draw pictures or series again from their codes, and measure how like them they are.

    Of the data that the model was trained on, only those are taken that were held out of the training.

    Args:
        model: A run or snapshot folder, or a .safetensors file, of a training with an encoder (--method vae, ae, aae ...); or
            another toolkit's autoencoder: a file or a folder in the layout of AutoencoderKL, AutoencoderTiny or TAESD.
        images: A picture, folder, .zip, data set, .npy or .npz; any size and colour is brought to the model's. Of series also a
            table: by the columns, windows and scale of the model.
        n: How many of the images at most, chosen at random, always the same ones.
        extractor: For distances between features of pictures: auto, a name or file as of `ganvas eval`, or none.
        side: Pixels of a side of the pictures that another toolkit's autoencoder takes. Default: 64.
        out: A .png, originals above their reconstructions.
        plain: No text in the picture; the curves of series have names.
        device: auto, cpu, cuda or mps.
        json: Print the figures as JSON.
    """
    import torch

    from ganvas.errors import GanvasError
    from ganvas.features import open_extractor
    from ganvas.metrics.reconstruction import measure
    from ganvas.model_data import unseen
    from ganvas.model_file import load
    from ganvas.types import counted_samples

    _shared.outputs(out, ".png")
    loaded = load(model, device=device, critic=False, side=side)
    of_series = len(loaded.shape) == 2
    if len(loaded.shape) == 1:
        raise GanvasError("This model draws points; pictures and series are what is drawn again here.")
    if of_series and (plain or extractor not in ("auto", "none")):
        flag = "--plain" if plain else "--extractor"
        raise GanvasError(f"{flag} is for pictures, and this model draws series. Leave it out.")
    data, held_out, words = unseen(loaded, images)
    _shared.say_notes(data, words)
    samples = data.take(_some(n, len(data)))[0]
    judge = None
    try:
        judge = None if of_series or extractor == "none" else open_extractor(extractor, data, device)
    except GanvasError as error:
        if extractor != "auto":
            raise
        _shared.say(f"note: no distances between features: {error}", beside=True)
    found = measure(loaded, samples, judge)
    # From all over them: data are often sorted by class.
    shown = torch.linspace(0, len(samples) - 1, min(SHOWN, len(samples))).round().long()
    which = counted_samples(found.n, loaded.shape) + (" held out" if held_out else "")
    words = f"{which}: {_told(found)}; {found.active} of {found.codes} codes active, effective rank {found.rank:.1f}"
    document = {**found.to_json(), "held_out": held_out, "out": str(out)}
    sheet = _drawn(loaded, samples[shown], plain)
    with _shared.telling(document, words, json):
        _shared.write_picture(out, sheet)
    if json:
        _shared.answer(document)
        return
    _shared.say(f"{words} -> {out}")


def _drawn(model: "Model", samples: "Tensor", plain: bool) -> "Image":
    """Samples above their reconstructions."""
    from ganvas import pictures, series

    if len(model.shape) == 2:
        samples = samples[: pictures.ACROSS]
        schema = model.info.series or series.plain(*model.shape)
        pair = {"original": samples, "reconstruction": model.reconstruct(samples)}
        return pictures.beside([(name, schema.decode(each)) for name, each in pair.items()], len(samples))
    again = model.reconstruct(samples)
    pairs = zip(samples.split(COLUMNS), again.split(COLUMNS), strict=True)
    rows = [row for pair in pairs for row in pair]
    names = ["original", "reconstruction"] * (len(rows) // 2)
    return pictures.sheet(rows, names, plain=plain)


def _told(found: "Reconstruction") -> str:
    """The figures of samples in words."""
    words = []
    if found.psnr is not None:
        words += [f"{found.psnr:.1f} dB, structural similarity {found.ssim:.2f}"]
    if found.frechet is not None:
        words += [f"feature distance {found.feature_distance:.0%} of that of two images"]
        words += [f"Frechet distance {found.frechet:.3g}"]
    if found.error is not None:
        words += [f"values are off by {found.error:.2f} of their spread"]
    if found.agreement is not None:
        words += [f"{found.agreement:.1%} of the categories are the same"]
    return ", ".join(words)


def _some(n: int, total: int) -> "Tensor":
    """Rows of n of so many images, in their order."""
    from ganvas import arrays
    from ganvas.metrics.resample import pick

    return pick(total, arrays.count(n, "n", 2), 0)
