"""`ganvas walk`"""

import json as json_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

COLUMNS = 12
"""Of a strip."""


def run(
    model: Annotated[str, tyro.conf.Positional],
    *,
    space: str | None = None,
    kind: Literal["auto", "linear", "spherical", "spline", "geodesic", "mixing"] = "auto",
    keys: int = 4,
    frames: int = 60,
    loop: bool = False,
    equal: bool = False,
    labels: tuple[str, ...] | None = None,
    layers: int = 3,
    plain: bool = False,
    seed: int = 0,
    fps: float = 24.0,
    out: Path = Path("walk.gif"),
    device: str = "auto",
    json: bool = False,
) -> None:
    """Walk through the latent space of a model.

    Args:
        model: A run or snapshot folder, a .safetensors file, or a name from `ganvas list models`.
        space: z, w, w+, styles, class or layer:NAME. Default: w where there is one, else z.
        kind: auto is a straight line in flat spaces and a great circle in z; spline is smooth through all keys; geodesic is the
            shortest way as the pictures see it; mixing crosses keys in w+, coarse layers by row and fine ones by column.
        keys: Random key points on the way.
        frames: Pictures of the walk.
        loop: Come back to the first key.
        equal: The same change from picture to picture.
        labels: Class of each key by name or number, for conditional models: all frames between two keys have the first one's.
        layers: Layers that mixing takes from the row.
        seed: Of the key points.
        fps: Pictures a second of a film.
        out: .gif, .webp or .mp4 for a film, .png for a strip; .png or .npz for points.
        plain: No text in the pictures.
        device: auto, cpu, cuda or mps.
        json: Print the outcome as JSON.
    """
    import torch

    from ganvas import latent, pictures
    from ganvas.cli import _shared
    from ganvas.errors import GanvasError
    from ganvas.model import load

    if kind == "mixing" and out.suffix != ".png":
        raise GanvasError("Mixing draws a table of pictures: use --out mixing.png.")
    if out.suffix not in (".png", ".npz"):
        pictures.check_film(out, fps)
    _shared.outputs(out)
    if keys < 2 or frames < 2:
        raise GanvasError(f"A walk needs at least 2 keys and 2 frames, got {keys} and {frames}.")
    loaded = load(model, device=device, critic=False)
    if len(loaded.shape) == 1 and out.suffix not in (".png", ".npz"):
        raise GanvasError(f"This model draws points: use --out {out.with_suffix('.png')} or .npz.")
    if len(loaded.shape) == 3 and out.suffix == ".npz":
        raise GanvasError(
            f"Pictures are written as a film or a strip: use --out {out.with_suffix('.gif')} or .png."
        )
    where = latent.open_space(loaded, "w+" if kind == "mixing" and space is None else space)
    classes = loaded.labels(keys, _shared.classes(labels, loaded))
    outcome: dict[str, Any] = {"space": where.name, "kind": kind, "keys": keys, "seed": seed, "out": str(out)}
    with torch.no_grad():
        points = where.numbered(keys, seed, classes)
    chosen = None
    if kind == "mixing":
        half = keys // 2
        walk = latent.style_mixing(where, points[:half], points[half:], layers)
        outcome |= {"rows": half, "columns": keys - half, "layers": layers}
    elif kind == "geodesic":
        walk, energies = latent.geodesic(where, points[0], points[1], frames)
        outcome |= {"energy_before": energies[0], "energy_after": min(energies)}
    else:
        path = latent.through(where, points, kind, loop)

        def labels_at(times: torch.Tensor) -> torch.Tensor | None:
            if classes is None:
                return None
            index = (times * (keys if loop else keys - 1)).floor().long().clamp(max=keys - 1)
            return classes[index].to(loaded.device)

        times = torch.linspace(0, 1, frames, dtype=torch.float64)
        lengths = latent.step_lengths(where, path(times), labels_at(times))
        outcome["variation_before"] = latent.variation(lengths)
        if equal:
            times = latent.equal_steps(where, path, frames, labels_at)
            outcome["variation_after"] = latent.variation(
                latent.step_lengths(where, path(times), labels_at(times))
            )
        walk, chosen = path(times), labels_at(times)
    with torch.no_grad():
        drawn = torch.cat(
            [
                where.decode(part, None if chosen is None else chosen[i * 64 : i * 64 + 64])
                for i, part in enumerate(walk.split(64))
            ]
        )
        sources = where.decode(points, None if classes is None else classes.to(loaded.device))
    samples = loaded.to_data(drawn).cpu()
    if kind == "mixing":
        _shared.write_picture(out, _mixed(loaded.to_data(sources).cpu(), samples, layers, seed, plain))
    elif out.suffix == ".png" and samples.dim() == 4:
        rows = samples.split(COLUMNS)
        names = [f"{i * COLUMNS + 1} to {i * COLUMNS + len(row)}" for i, row in enumerate(rows)]
        title = f"{len(samples)} steps through {keys} samples of seed {seed} in {where.name}" + (
            f", {kind}" if kind != "auto" else ""
        )
        _shared.write_picture(out, pictures.sheet(rows, names, title=title, plain=plain))
    elif samples.dim() == 4:
        pictures.save_animation(samples, out, fps)
    else:
        pictures.save_samples(samples, out)
    if json:
        print(json_module.dumps(outcome))
        return
    figures = "".join(f", {k.replace('_', ' ')} {v:.3g}" for k, v in outcome.items() if isinstance(v, float))
    print(f"{len(samples)} pictures through {where.name}{figures} -> {out}")


def _mixed(sources: "Tensor", mixed: "Tensor", layers: int, seed: int, plain: bool) -> "Image":
    """The table of a mixing, with the samples that it crosses on the left and on top."""
    import torch

    from ganvas import pictures

    half = len(sources) // 2
    rows, columns = sources[:half], sources[half:]
    empty = torch.full_like(sources[:1], 128)
    table = [
        torch.cat([empty, columns]),
        *map(torch.cat, zip(rows.split(1), mixed.split(len(columns)), strict=True)),
    ]
    title = f"First {layers} layers of the sample on the left, the others of the one on top (seed {seed})"
    names = ["", *(f"sample {i}" for i in range(half))]
    heads = ["", *(f"sample {i}" for i in range(half, len(sources)))]
    return pictures.sheet(table, names, heads=heads, title=title, plain=plain)
