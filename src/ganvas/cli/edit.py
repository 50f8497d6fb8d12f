"""`ganvas edit`"""

import json as json_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

if TYPE_CHECKING:
    from ganvas.latent.arithmetic import Sum


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
    plain: bool = False,
    device: str = "auto",
    json: bool = False,
) -> None:
    """Move samples along a direction of `ganvas directions`, or add and subtract them.

    One row for each strength, in order, and one for the samples as they are. With --arithmetic the first row holds the terms and
    the result, which is then what is moved.

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
        plain: No text in the picture.
        device: auto, cpu, cuda or mps.
        json: Print the outcome as JSON.
    """
    from dataclasses import replace

    import torch

    from ganvas import latent, pictures
    from ganvas.cli import _shared
    from ganvas.errors import GanvasError, counted
    from ganvas.latent import directions as found_in
    from ganvas.latent.arithmetic import arithmetic as work_out
    from ganvas.latent.supervised import from_attribute
    from ganvas.model import load

    _shared.outputs(out, ".png")
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
                f"{direction} holds {counted(len(found), 'direction')}, numbers 0 to {len(found) - 1}; there is no {which}."
            )
        chosen = replace(found[which], layers=layers or found[which].layers)
        space = chosen.space
        if keep:
            home = latent.open_space(loaded, space)
            kept: list[found_in.Direction] = []
            with _shared.progress() as tell:
                for name in keep:
                    tell("attributes to keep", len(kept), len(keep))
                    kept.append(from_attribute(home, name))
            chosen = found_in.keeping(home, chosen, kept)
        if chosen.layers and chosen.space == "w":
            space = "w+"
    where = latent.open_space(loaded, space)
    if (
        chosen is not None
        and chosen.layers
        and not all(0 <= layer < where.shape[0] for layer in chosen.layers)
    ):
        raise GanvasError(f"Layers go from 0 to {where.shape[0] - 1}, got {list(chosen.layers)}.")
    sum_ = None if arithmetic is None else work_out(where, arithmetic, seed)
    points = where.numbered(n, seed) if sum_ is None else sum_.result[None]
    # One result, one picture, one class.
    label = None if sum_ is None else where.labels(1, None)
    strengths = [0.0] if chosen is None else sorted({0.0, *strength})
    moved = [
        points if not amount or chosen is None else found_in.edit(where, points, chosen, amount)
        for amount in strengths
    ]

    def drawn(points: torch.Tensor) -> torch.Tensor:
        labels = None if label is None else label.expand(len(points))
        return loaded.to_data(where.decode(points, labels)).cpu()

    words = [f"{amount:+g}" if amount else "as it is" for amount in strengths]
    with torch.no_grad(), _shared.progress() as tell:
        typicality: list[float] = []
        images: list[torch.Tensor] = []
        for each in moved:
            tell("strengths", len(typicality), len(moved))
            typicality.append(float(where.typicality(each).mean()))
            images.append(drawn(each))
        if sum_ is None:
            rows, names, captions = images, words, []
        else:
            # The strengths of one result stand side by side.
            rows, names = [drawn(torch.cat([sum_.terms, points]))], ["terms, result"]
            captions = [
                [*(f"{sign}{name}" for sign, name in zip(signs_of(sum_), sum_.names, strict=True)), "result"]
            ]
            if chosen is not None:
                rows, names = [*rows, torch.cat(images)], [*names, "moved"]
                captions.append(words)
    what = " along ".join(
        part for part in (arithmetic or counted(n, "sample"), chosen.name if chosen else "") if part
    )
    unit = f", strength in sigmas of {where.name}" if chosen else f" in {where.name}"
    picture = pictures.sheet(rows, names, captions=captions, title=what + unit, plain=plain)
    _shared.write_picture(out, picture)
    outcome = {
        "direction": chosen.name if chosen else None, "arithmetic": arithmetic, "kept": list(keep), "strength": strengths,
        "typicality": typicality, "cost": chosen.cost if chosen else None,
        "effects": dict(chosen.effects) if chosen else {}, "out": str(out),
    }  # fmt: skip
    if json:
        print(json_module.dumps(outcome))
        return
    print(f"{what} -> {out}")
    if chosen is None:
        return
    print(
        "typicality, the share of the model's own samples that are less usual: "
        + ", ".join(f"{word}: {value:.0%}" for word, value in zip(words, typicality, strict=True))
    )


def signs_of(found: "Sum") -> list[str]:
    """What stands before each term."""
    return ["", *("+ " if sign > 0 else "− " for sign in found.signs[1:])]
