"""`ganvas edit`"""

import json as json_module
from pathlib import Path
from typing import Annotated

import tyro


def run(
    model: Annotated[str, tyro.conf.Positional],
    *,
    direction: Path | None = None,
    which: int = 0,
    strength: tuple[float, ...] = (2.0,),
    layers: tuple[int, ...] = (),
    keep: tuple[str, ...] = (),
    arithmetic: str | None = None,
    space: str | None = None,
    n: int = 8,
    seed: int = 0,
    out: Path = Path("edit.png"),
    device: str = "auto",
    json: bool = False,
) -> None:
    """Move samples along a direction of `ganvas directions`, or add and subtract them.

    The originals are on top, one row below for each strength. With --arithmetic the first row holds the terms and the result,
    which is then what is moved.

    Args:
        model: The model that the direction was found in.
        direction: A file of `ganvas directions`.
        which: Number of the direction in the file, from 0.
        strength: Strengths in sigmas of the space.
        layers: Rows of w+ to touch; all when left out. For directions of w or w+.
        keep: Attributes to lock: brightness, contrast, width, height, slant or class:NAME.
        arithmetic: Samples of the seed by number, or classes by name: '12 - 3 + 40', 'Sandal - Sneaker + Ankle boot'.
        space: Where --arithmetic happens without a direction. Default: w where there is one, else z.
        n: How many samples.
        seed: Of the samples, as `ganvas sample` draws them.
        out: A .png.
        device: auto, cpu, cuda or mps.
        json: Print the outcome as JSON.
    """
    from dataclasses import replace

    import torch

    from ganvas import io, latent, pictures
    from ganvas.cli import _shared
    from ganvas.errors import GanvasError
    from ganvas.latent import directions as found_in
    from ganvas.latent.arithmetic import arithmetic as work_out
    from ganvas.latent.supervised import from_attribute
    from ganvas.model import load

    _shared.check_png(out)
    if direction is None and arithmetic is None:
        raise GanvasError(
            "Edit with --direction FILE (see: ganvas directions), with --arithmetic '12 - 3 + 40', or both."
        )
    loaded = load(model, device=device)
    chosen = None
    if direction is not None:
        found = found_in.load_directions(direction, loaded)
        if not 0 <= which < len(found):
            raise GanvasError(
                f"{direction} holds {len(found)} directions, numbers 0 to {len(found) - 1}; there is no {which}."
            )
        chosen = replace(found[which], layers=layers or found[which].layers)
        space = chosen.space
        if keep:
            home = latent.open_space(loaded, space)
            chosen = found_in.keeping(home, chosen, [from_attribute(home, name) for name in keep])
        if chosen.layers and chosen.space == "w":
            space = "w+"
    where = latent.open_space(loaded, space)
    if (
        chosen is not None
        and chosen.layers
        and not all(0 <= layer < where.shape[0] for layer in chosen.layers)
    ):
        raise GanvasError(f"Layers go from 0 to {where.shape[0] - 1}, got {list(chosen.layers)}.")
    label = None
    if arithmetic is None:
        points = shown = where.numbered(n, seed)
    else:
        sum_ = work_out(where, arithmetic, seed)
        points, shown = sum_.result[None], torch.cat([sum_.terms, sum_.result[None]])
        label = where.labels(1, None)  # one picture: one class
    moved = [] if chosen is None else [found_in.edit(where, points, chosen, amount) for amount in strength]
    strengths = [0.0, *(strength if moved else ())]
    # The strengths of one result stand side by side.
    rows = [shown, *([torch.cat(moved)] if moved and arithmetic is not None else moved)]
    with torch.no_grad():
        drawn = [
            loaded.to_data(where.decode(row, None if label is None else label.expand(len(row)))).cpu()
            for row in rows
        ]
        columns = max(len(row) for row in drawn)
        # Rows of different lengths are filled up with empty pictures.
        drawn = [torch.cat([row, row.new_full((columns - len(row), *row.shape[1:]), 128)]) for row in drawn]
        typicality = [float(where.typicality(each).mean()) for each in (points, *moved)]
    io.write_bytes(out, pictures.png(pictures.grid(torch.cat(drawn), columns=columns)))
    outcome = {
        "direction": chosen.name if chosen else None, "arithmetic": arithmetic, "kept": list(keep), "strength": strengths,
        "typicality": typicality, "cost": chosen.cost if chosen else None,
        "effects": dict(chosen.effects) if chosen else {}, "out": str(out),
    }  # fmt: skip
    if json:
        print(json_module.dumps(outcome))
        return
    kept = ", ".join(f"{amount:+g}: {value:.0%}" for amount, value in zip(strengths, typicality, strict=True))
    what = " along ".join(
        part for part in (arithmetic or f"{n} samples", chosen.name if chosen else "") if part
    )
    print(f"{what} -> {out} (typicality at each strength: {kept})")
