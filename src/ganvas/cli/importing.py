"""`ganvas import`"""

from pathlib import Path
from typing import Annotated

import tyro

from ganvas.cli import _shared


def run(
    file: Annotated[Path, tyro.conf.Positional],
    *,
    side: int | None = None,
    out: Path | None = None,
    json: bool = False,
) -> None:
    """Read the generator of another toolkit, without running anything that its file names, and write it as ganvas' own.

    Every command opens such files as they are; what is written opens faster, and alone.

    Args:
        file: A .pkl, .pt, .pth, .bin or .safetensors, or a folder, of a toolkit of `ganvas list importers`.
        side: Pixels of a side of the pictures that an autoencoder takes and draws. Default: 64.
        out: A .safetensors file with the generator, and the critic or the encoder where there is one. Default: the name of the
            file, here.
        json: Print what was found as JSON.
    """
    from ganvas import importers
    from ganvas.errors import GanvasError, counted
    from ganvas.model_file import load
    from ganvas.networks import UNKNOWN

    theirs = importers.find(file)
    if theirs is None:
        if not file.exists():
            raise GanvasError(f"No such file: {file}.")
        raise GanvasError(
            f"{file} is not of another toolkit: give a {', '.join(importers.SUFFIXES)}, or a folder with "
            "config.json beside the weights. What ganvas wrote opens as it is."
        )
    out = out or _shared.named_after(file, ".safetensors")
    _shared.outputs(out, ".safetensors")
    if out.exists() and out.resolve() == theirs.resolve():
        raise GanvasError(f"{out} is the file itself. Give another --out.")
    model = load(file, device="cpu", side=side)
    model.save(out, critic=True)
    parameters = sum(each.numel() for each in model.generator.parameters())
    info, critic, encoder = model.info, model.critic is not None, model.encoder is not None
    if json:
        about = {
            "source": info.source, "family": info.name, "shape": list(info.shape), "latent_dim": info.latent_dim,
            "classes": info.num_classes, "parameters": parameters, "critic": critic, "encoder": encoder, "prior": info.prior,
            "notes": list(info.notes), "hash": model.hash, "out": str(out),
        }  # fmt: skip
        _shared.answer(about)
        return
    size = " x ".join(str(side) for side in info.shape[1:])
    many = f"{parameters / 1e6:,.1f} million" if parameters >= 1e6 else f"{parameters:,}"
    classes = f", {counted(info.num_classes, 'class', 'classes')}" if info.num_classes else ""
    _shared.say(f"{info.source}: {size} px, z of {info.latent_dim}{classes}, {many} parameters")
    for note in info.notes:
        _shared.say(f"- {note}")
    if encoder:
        _shared.say("- its encoder came along")
    elif critic:
        _shared.say("- its critic came along")
    elif not any("critic" in note for note in info.notes):  # else they say why there is none
        _shared.say("- the file holds no critic")
    if info.prior == UNKNOWN:
        fitted = out.with_name(f"{out.stem}-fitted.npz")
        _shared.say(
            f"- what its codes are drawn from is not known; fit it to pictures: ganvas encode {out} IMAGES --fit 1 --out {fitted}"
        )
        _shared.say(f"Written to {out}. Try: ganvas reconstruct {out} IMAGES")
        return
    _shared.say(f"Written to {out}. Try: ganvas explore {out}")
