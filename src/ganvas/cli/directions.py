"""`ganvas directions`"""

import json as json_module
from pathlib import Path
from typing import Annotated

import tyro


def run(
    model: Annotated[str, tyro.conf.Positional],
    *,
    method: str = "pca",
    space: str | None = None,
    attribute: str | None = None,
    keep: tuple[str, ...] = (),
    count: int = 6,
    samples: int = 2000,
    reach: float = 3.0,
    seed: int = 0,
    out: Path = Path("directions.safetensors"),
    picture: Path | None = None,
    device: str = "auto",
    json: bool = False,
) -> None:
    """Find directions in a latent space, measure them beside random ones, and draw what they do.

    Args:
        model: A run or snapshot folder, a .safetensors file, or a name from `ganvas list models`.
        method: pca, ica, sefa, jacobian, random, or attribute.
        space: z, w, w+, styles or layer:NAME. Default: w where there is one, else z.
        attribute: For --method attribute: brightness, contrast, width, height, slant, or class:NAME.
        keep: Attributes that the direction shall leave alone (conditional projection).
        count: How many directions.
        samples: Samples that are scored for an attribute.
        reach: Strengths of the picture go from -reach to reach, in sigmas.
        seed: Of every random choice.
        out: The directions, for `ganvas edit`.
        picture: Grid of strengths by directions, a random one below as the control. Default: beside `out`, as a .png.
        device: auto, cpu, cuda or mps.
        json: Print the figures as JSON.
    """
    import torch
    from rich.console import Console
    from rich.table import Table

    from ganvas import io, latent, pictures
    from ganvas.device import stream
    from ganvas.errors import GanvasError
    from ganvas.latent import directions as found_in
    from ganvas.latent.attributes import open_attribute
    from ganvas.model import load

    if out.suffix != ".safetensors":
        raise GanvasError(f"Directions are written as .safetensors, got {out.name!r}.")
    loaded = load(model, device=device, critic=False)
    where = latent.open_space(loaded, space)
    if method == "attribute":
        if attribute is None:
            raise GanvasError(
                "--method attribute needs --attribute NAME: brightness, contrast, width, height, slant or class:NAME."
            )
        with torch.no_grad():
            points = where.sample(samples, stream(seed, "attribute"))
            images = torch.cat([loaded.to_data(where.decode(part)) for part in points.split(256)])
        against = [found_in.attribute(where, points, open_attribute(name, loaded)(images).cpu(), name) for name in keep]
        found = [found_in.attribute(where, points, open_attribute(attribute, loaded)(images).cpu(), attribute, against)]
    else:
        found = found_in.find(where, method, count, seed)
    control = found_in.find(where, "random", min(8, count), seed)
    typical = sum(each.effect for each in control) / len(control)
    found_in.save(out, found)
    drawn_to = picture or out.with_suffix(".png")
    if len(loaded.shape) == 3:
        steps = torch.linspace(-reach, reach, 9, device=loaded.device)
        with torch.no_grad():
            start = where.sample(1, stream(seed, "edit"))
            rows = [
                loaded.to_data(where.decode(found_in.edit(where, start.expand(9, *where.shape), each, steps)))
                for each in [*found, control[0]]
            ]
        io.write_bytes(drawn_to, pictures.png(pictures.grid(torch.cat(rows).cpu(), columns=9)))
    figures = [
        {
            "name": d.name,
            "score": d.score,
            "sigma": d.sigma,
            "effect": d.effect,
            "effect_over_random": d.effect / max(typical, 1e-12),
        }
        for d in found
    ]
    if json:
        print(
            json_module.dumps({"space": where.name, "random_effect": typical, "directions": figures, "out": str(out)})
        )
        return
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("direction", "score", "sigma", "effect of 1 sigma", "over random"):
        table.add_column(column, justify="left" if column == "direction" else "right")
    for row in figures:
        table.add_row(str(row["name"]), *(f"{row[k]:.3g}" for k in ("score", "sigma", "effect", "effect_over_random")))
    table.add_row("random", "", "", f"{typical:.3g}", "1")
    Console().print(table)
    print(
        f"{len(found)} directions of {where.name} -> {out}; strengths -{reach:g} to {reach:g}, random below -> {drawn_to}"
    )
