"""`ganvas encode`"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from ganvas.cli import _shared

if TYPE_CHECKING:
    from ganvas.config import DataConfig
    from ganvas.data import Dataset
    from ganvas.model import Model


def run(
    model: Annotated[str, tyro.conf.Positional],
    images: Annotated[str, tyro.conf.Positional],
    *,
    n: int = 1000,
    fit: int | None = None,
    side: int | None = None,
    out: Path = Path("z.npz"),
    device: str = "auto",
    json: bool = False,
) -> None:
    """Encode pictures or series with a trained autoencoder.

    Args:
        model: A run or snapshot folder, or a .safetensors file, of a training with an encoder (--method vae, ae, aae ...); or
            another toolkit's autoencoder: a file or a folder in the layout of AutoencoderKL, AutoencoderTiny or TAESD.
        images: A picture, folder, .zip, data set, .npy or .npz; any size and colour is brought to the model's. Of series also a
            table: by the columns, windows and scale of the model.
        n: How many of the images at most, the first ones.
        fit: Fit a mixture of so many normals to the codes of n images from all over the data (of its own: of those that it was
            trained on), 0 for the standard normal, and write a model that is drawn from it beside `out`, as .safetensors.
        side: Pixels of a side of the pictures that another toolkit's autoencoder takes. Default: 64.
        out: An .npz: `z`, the latents that the model draws from; `codes`, what its decoder gets of them; `typicality` of each
            among the model's own samples, where it is known what these are drawn from; `labels`, numbers of the model's classes,
            where the images have some of these.
        device: auto, cpu, cuda or mps.
        json: Print the figures as JSON.
    """
    import torch

    from ganvas import io, latent
    from ganvas.arrays import count
    from ganvas.latent.prior import fit_prior
    from ganvas.model_data import learned_from
    from ganvas.model_file import load
    from ganvas.networks import UNKNOWN
    from ganvas.networks.coded import MOST_COMPONENTS
    from ganvas.types import counted_samples

    if fit is not None:
        count(fit, "--fit", 0, MOST_COMPONENTS)
    refitted = out.with_suffix(".safetensors")
    _shared.outputs(out, ".npz", beside=[] if fit is None else [refitted])
    loaded = load(model, device=device, critic=False, side=side)
    data, config = _opened(loaded, images, refits=fit is not None)
    n = min(count(n, "--n"), len(data))
    samples, labels = data.take(torch.arange(n))
    z = loaded.encode(samples)
    found = {
        "z": z,
        "codes": loaded.codes(samples),
    }
    known = loaded.generator.prior != UNKNOWN
    found |= {"typicality": latent.open_space(loaded, "z").typicality(z)} if known else {}
    found |= {} if labels is None else {"labels": labels}
    fitted = None
    if fit is not None:
        from ganvas.metrics.resample import pick

        part = learned_from(loaded, data, config)
        # The first ones of data that are sorted by class are of one class, and so would be all that is drawn.
        fitted = fit_prior(loaded, part.take(pick(len(part), min(n, len(part)), 0))[0], fit)
    io.write_arrays(out, {name: each.cpu() for name, each in found.items()})
    typicality = float(found["typicality"].mean()) if known else None
    if fitted is not None:
        fitted.save(refitted)
    if json:
        said = {} if fit is None else {"model": str(refitted)}
        _shared.answer(
            {"n": len(z), "latent_dim": z.shape[1], "typicality": typicality, "out": str(out), **said}
        )
        return
    like = (
        "" if typicality is None else f", typicality {typicality:.0%} (50% for samples of the model itself)"
    )
    written = "" if fit is None else f", {refitted}"
    _shared.say(
        f"{counted_samples(len(z), loaded.shape)} as {z.shape[1]} numbers each{like} -> {out}{written}"
    )


def _opened(model: "Model", images: str, refits: bool) -> "tuple[Dataset, DataConfig]":
    """Data with the classes of a model, where they have no others, and how they are read. Says on stderr what was done."""
    from ganvas.data import load_dataset
    from ganvas.model_data import CHANGED, class_names, config_for, has_changed

    config = config_for(model, images)
    given = load_dataset(config, tuple(model.shape), model.info.series)
    data = given.classed_as(class_names(model))
    words = f"{data.name} {CHANGED}: the prior may be fitted to what was held out then, and that is new to it no more."
    _shared.say_notes(data, words if refits and has_changed(model, data, config) else "")
    if given.labels is not None and data.labels is None:
        _shared.say(
            f"Labels are left out: {data.name} has classes that the model's data have not.", beside=True
        )
    return data, config
