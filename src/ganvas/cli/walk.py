"""`ganvas walk`"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from ganvas.cli import _shared

if TYPE_CHECKING:
    from collections.abc import Mapping

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
    frames: int | None = None,
    loop: bool = False,
    equal: bool = False,
    labels: tuple[str, ...] | None = None,
    layers: int | None = None,
    plain: bool = False,
    seed: int = 0,
    fps: float | None = None,
    out: Path = Path("walk.gif"),
    device: str = "auto",
    json: bool = False,
) -> None:
    """Walk through the latent space of a model.

    Args:
        model: A run or snapshot folder, a .safetensors file, or a name from `ganvas list models`.
        space: z, w, w+, styles, class or layer:NAME. Default: w where there is one, else z.
        kind: auto is a straight line in flat spaces and a great circle in z; spline is smooth through all keys; geodesic is the
            shortest way between the first two as the pictures see it; mixing crosses keys in w+, coarse layers by row and fine
            ones by column.
        keys: Random key points on the way.
        frames: Pictures of the walk. Default: 60.
        loop: Come back to the first key.
        equal: The same change from picture to picture.
        labels: Class of each key by name or number, for conditional models: all frames between two keys have the first one's.
        layers: Layers that mixing takes from the row. Default: 3.
        seed: Of the key points.
        fps: Pictures a second of a film. Default: 24.
        out: .gif, .webp or .mp4 for a film, .png for a strip; .csv or .npz for series, .png or .npz for points.
        plain: No text in the pictures.
        device: auto, cpu, cuda or mps.
        json: Print the outcome as JSON.
    """
    from ganvas import pictures
    from ganvas.errors import GanvasError
    from ganvas.latent import tools
    from ganvas.model_file import load
    from ganvas.types import counted_samples

    frames, layers, fps = _checked(kind, out, loop, equal, frames, layers, fps)
    if out.suffix not in (".png", ".npz", ".csv"):
        pictures.check_film(out, fps)
    _shared.outputs(out)
    loaded = load(model, device=device, critic=False)
    if len(loaded.shape) == 1 and out.suffix not in (".png", ".npz"):
        raise GanvasError(f"This model draws points: use --out {out.with_suffix('.png')} or .npz.")
    if len(loaded.shape) != 2 and out.suffix == ".csv":
        raise GanvasError("A .csv is for series, and the samples are none. Use a .png.")
    if len(loaded.shape) == 3 and out.suffix == ".npz":
        raise GanvasError(
            f"Pictures are written as a film or a strip: use --out {out.with_suffix('.gif')} or .png."
        )
    if out.suffix in pictures.FILMS:
        pictures.check_film(out, fps, frames, loaded.shape)
    if out.suffix == ".png" and kind != "mixing":
        pictures.check_table(-(-frames // COLUMNS), COLUMNS, loaded.shape)
    classes = _shared.classes(labels, loaded)
    with _shared.progress() as tell:
        found = tools.walk(
            loaded, kind=kind, keys=keys, frames=frames, loop=loop, equal=equal, layers=layers, seed=seed, space=space,
            labels=classes, progress=tell,
        )  # fmt: skip
    outcome: dict[str, Any] = {
        "space": found.space,
        "kind": kind,
        "keys": keys,
        "seed": seed,
        "out": str(out),
    }
    outcome |= found.figures
    samples = found.samples
    if kind == "mixing":
        outcome |= {"rows": keys // 2, "columns": keys - keys // 2, "layers": layers}
        sources = loaded.sample(keys, seed=seed, labels=classes)
        _shared.write_picture(out, _mixed(sources, samples, layers, seed, plain))
    elif out.suffix == ".png" and samples.dim() > 2:
        rows = loaded.shown(samples).split(COLUMNS)
        names = [f"{i * COLUMNS + 1} to {i * COLUMNS + len(row)}" for i, row in enumerate(rows)]
        on_the_way = 2 if kind == "geodesic" else keys
        title = f"{len(samples)} steps through {on_the_way} samples of seed {seed} in {found.space}" + (
            f", {kind}" if kind != "auto" else ""
        )
        _shared.write_picture(out, pictures.sheet(rows, names, title=title, plain=plain))
    else:
        with _shared.progress() as tell:
            tell(f"writing {out.name}", 0, 1)
            found.save(out, fps)
    if json:
        _shared.answer(outcome)
        return
    _shared.say(
        f"{counted_samples(len(samples), loaded.shape)} through {found.space}{_words(found.figures)} -> {out}"
    )


def _checked(
    kind: str, out: Path, loop: bool, equal: bool, frames: int | None, layers: int | None, fps: float | None
) -> tuple[int, int, float]:
    """Frames, layers and pictures a second. Raises `GanvasError` for flags of a way given to a table, and the other way round."""
    from ganvas.errors import GanvasError

    if kind == "mixing" and out.suffix != ".png":
        raise GanvasError("Mixing draws a table of pictures: use --out mixing.png.")
    if kind == "mixing" and (loop or equal or frames is not None):
        raise GanvasError("Mixing draws a table, which has no way: omit --loop, --equal and --frames.")
    if kind != "mixing" and layers is not None:
        raise GanvasError("--layers is what mixing takes from the row: use --kind mixing, or leave it out.")
    if kind == "geodesic":
        _shared.unused("a geodesic is the one way between two keys", loop=loop, equal=equal)
    if out.suffix in (".png", ".npz", ".csv"):
        _shared.unused(f"{out.name} is no film", fps=fps)
    return 60 if frames is None else frames, 3 if layers is None else layers, 24.0 if fps is None else fps


def _words(figures: "Mapping[str, float]") -> str:
    """`, variation of the steps 0.62, 0.07 when equal`; nothing where nothing was measured."""
    parts = []
    if "variation_before" in figures:
        parts.append(f"variation of the steps {figures['variation_before']:.2f}")
    if "variation_after" in figures:
        parts.append(f"{figures['variation_after']:.2f} when equal")
    if "energy_before" in figures:
        parts.append(f"energy of the way {figures['energy_before']:.3g} -> {figures['energy_after']:.3g}")
    return "".join(f", {part}" for part in parts)


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
