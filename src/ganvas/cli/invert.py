"""`ganvas invert`"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from ganvas.latent.invert import Inversion
    from ganvas.model import Model

MOST_COLUMNS = 8
"""Of the picture."""


def run(
    model: Annotated[str, tyro.conf.Positional],
    images: Annotated[str, tyro.conf.Positional],
    *,
    method: Literal["optimise", "encoder", "hybrid", "tune"] = "hybrid",
    space: str | None = None,
    n: int = 16,
    steps: int | None = None,
    newton: int | None = None,
    restarts: int | None = None,
    encoder: Path | None = None,
    seed: int = 0,
    out: Path = Path("inverted.npz"),
    plain: bool = False,
    device: str = "auto",
    json: bool = False,
) -> None:
    """Find the latents of pictures or series.

    Args:
        model: A run or snapshot folder, a .safetensors file, or a name from `ganvas list models`.
        images: A picture, folder, .zip, data set, .npy or .npz; any size and colour is brought to the model's.
        method: optimise descends from several starts; encoder is one pass of the model's encoder, or of one trained on its
            samples; hybrid descends from what the encoder says; tune then changes the generator until it draws the pictures, and
            writes it.
        space: z, w, w+ or styles. Default: w where there is one, else z.
        n: How many of the images, the first ones.
        steps: Of the descent, and of the tuning. Default: 100.
        newton: Most Gauss-Newton steps after the descent; spaces of more than 512 numbers take none. Default: 10.
        restarts: Starts for each image, 4 if not said; their spread tells how far the picture decides its latent.
        encoder: Where a trained encoder is kept; it is trained when there is none, and an interrupted training resumes. Default:
            the model's own encoder, where it is an autoencoder, else encoder.safetensors.
        seed: Of the starts.
        out: Latents, residuals and drawn images as an .npz; a picture beside it with targets above what was drawn.
        plain: No text in the picture.
        device: auto, cpu, cuda or mps.
        json: Print the figures as JSON.
    """
    from ganvas import latent
    from ganvas.cli import _shared as shared
    from ganvas.errors import GanvasError
    from ganvas.latent import tools
    from ganvas.latent.encoder import has_encoder
    from ganvas.latent.jacobian import MOST
    from ganvas.model_file import load
    from ganvas.types import counted_samples

    picture, tuned_to = out.with_suffix(".png"), out.with_suffix(".safetensors")
    written = [out, picture, *([tuned_to] if method == "tune" else [])]
    shared.outputs(out, ".npz", beside=written[1:])
    if method == "encoder":
        shared.unused("an encoder finds latents in one pass", steps=steps, newton=newton)
    if method == "optimise":
        shared.unused("--method optimise asks no encoder", encoder=encoder)
    else:
        shared.unused(f"--method {method} starts where the encoder says", restarts=restarts)
    loaded = load(model, device=device, critic=False)
    if encoder is None and method != "optimise" and not has_encoder(loaded):
        encoder = Path("encoder.safetensors")
    if encoder is not None and method != "optimise":
        if method == "tune" and encoder.resolve() == tuned_to.resolve():
            raise GanvasError(
                f"{tuned_to} would hold the tuned generator and the encoder. Choose another name with --out."
            )
        if not encoder.is_file():
            shared.outputs(encoder, ".safetensors")
    where = latent.open_space(loaded, space)
    targets = shared.images(images, n, loaded)
    with shared.progress() as tell:
        found = tools.invert(
            where, targets, method=method, encoder=encoder, steps=100 if steps is None else steps,
            restarts=4 if restarts is None else restarts,
            newton=0 if where.size > MOST else 10 if newton is None else newton, seed=seed, progress=tell,
        )  # fmt: skip
    sheet = _sheet(found, loaded, targets, where.name, plain)
    figures, text = _figures(found, where.name, counted_samples(len(targets), loaded.shape))
    figures |= {"n": len(targets), "out": str(out)}
    with shared.telling(figures, text, json):
        if found.tuned is not None:
            found.tuned.save(tuned_to)
        shared.save(out, found)
        shared.write_picture(picture, sheet)
    beside = f"; the encoder is kept in {encoder}" if encoder is not None and method != "optimise" else ""
    shared.tell(figures, text, f"{', '.join(map(str, written))}{beside}", json)


def _figures(found: "Inversion", space: str, samples: str) -> tuple[dict[str, Any], str]:
    """What was found of so many samples, for --json and in words."""
    figures = {
        "space": space, "residual_median": float(found.residual.median()), "residual_worst": float(found.residual.max()),
        "ambiguity": float(found.ambiguity.mean()), "typicality": float(found.typicality.mean()), "notes": list(found.notes),
    }  # fmt: skip
    text = (
        f"{samples} in {space}: residual {figures['residual_median']:.1%} of the distance of two samples "
        f"(worst {figures['residual_worst']:.1%}), "
        f"typicality {figures['typicality']:.0%} (share of the model's own samples that are less usual)"
    )
    return figures, text


def _sheet(found: "Inversion", model: "Model", targets: "Tensor", space: str, plain: bool) -> "Image":
    """The targets above what was drawn of each."""
    from ganvas import pictures

    drawn, shown = model.shown(model.to_data(found.drawn).cpu()), model.shown(targets)
    pairs = list(zip(shown.split(MOST_COLUMNS), drawn.split(MOST_COLUMNS), strict=True))
    residuals = [[f"{value:.0%}" for value in part] for part in found.residual.split(MOST_COLUMNS)]
    return pictures.sheet(
        [row for pair in pairs for row in pair], ["target", "found"] * len(pairs),
        captions=[row for part in residuals for row in ([""] * len(part), part)],
        title=f"Found in {space}; below: what is left, of the distance of two samples", plain=plain,
    )  # fmt: skip
