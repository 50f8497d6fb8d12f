"""`ganvas edit`"""

import json as json_module
from pathlib import Path
from typing import Annotated

import tyro


def run(
    model: Annotated[str, tyro.conf.Positional],
    *,
    direction: Path,
    which: int = 0,
    strength: tuple[float, ...] = (2.0,),
    layers: tuple[int, ...] = (),
    n: int = 8,
    seed: int = 0,
    out: Path = Path("edit.png"),
    device: str = "auto",
    json: bool = False,
) -> None:
    """Move samples along a direction of `ganvas directions`: the originals on top, one row below for each strength.

    Args:
        model: The model that the direction was found in.
        direction: A file of `ganvas directions`.
        which: Number of the direction in the file, from 0.
        strength: Strengths in sigmas of the space.
        layers: Rows of w+ to touch; all when left out. For directions of w or w+.
        n: How many samples.
        seed: Of the samples.
        out: A .png.
        device: auto, cpu, cuda or mps.
        json: Print the outcome as JSON.
    """
    from dataclasses import replace

    import torch

    from ganvas import io, latent, pictures
    from ganvas.device import stream
    from ganvas.errors import GanvasError
    from ganvas.latent import directions as found_in
    from ganvas.model import load

    if out.suffix != ".png":
        raise GanvasError(f"Can not write {out.suffix or 'a folder'}; use .png.")
    loaded = load(model, device=device, critic=False)
    found = found_in.load_directions(direction, loaded)
    if not 0 <= which < len(found):
        raise GanvasError(
            f"{direction} holds {len(found)} directions, numbers 0 to {len(found) - 1}; there is no {which}."
        )
    chosen = replace(found[which], layers=layers or found[which].layers)
    where = latent.open_space(loaded, "w+" if chosen.layers and chosen.space == "w" else chosen.space)
    if chosen.layers and not all(0 <= layer < where.shape[0] for layer in chosen.layers):
        raise GanvasError(f"Layers go from 0 to {where.shape[0] - 1}, got {list(chosen.layers)}.")
    with torch.no_grad():
        points = where.sample(n, stream(seed, "edit"))
        rows = [points, *(found_in.edit(where, points, chosen, amount) for amount in strength)]
        samples = torch.cat([loaded.to_data(where.decode(row)) for row in rows]).cpu()
        typicality = [float(where.typicality(row).mean()) for row in rows]
    io.write_bytes(out, pictures.png(pictures.grid(samples, columns=n)))
    if json:
        print(
            json_module.dumps(
                {"direction": chosen.name, "strength": list(strength), "typicality": typicality, "out": str(out)}
            )
        )
        return
    kept = ", ".join(f"{amount:+g}: {value:.0%}" for amount, value in zip((0, *strength), typicality, strict=True))
    print(f"{n} samples along {chosen.name} -> {out} (typicality at each strength: {kept})")
