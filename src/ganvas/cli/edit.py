"""`ganvas edit`"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from ganvas.cli import _shared

if TYPE_CHECKING:
    from PIL.Image import Image

    from ganvas.latent.arithmetic import Sum
    from ganvas.latent.edits import Edit


def run(
    model: Annotated[str, tyro.conf.Positional],
    *,
    direction: Path | None = None,
    which: int = 0,
    strength: tuple[float, ...] = (),
    layers: tuple[int, ...] = (),
    keep: tuple[str, ...] = (),
    arithmetic: str | None = None,
    space: str | None = None,
    n: int | None = None,
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
        strength: Strengths in sigmas of the space. Default: 2.
        layers: Rows of w+ to touch; all when left out. For directions of w or w+.
        keep: Attributes to lock: brightness, contrast, width, height, slant or class:NAME.
        arithmetic: Samples of the seed by number, or classes by name: '12 - 3 + 40', 'Sandal - Sneaker + Ankle boot'.
        space: Where --arithmetic happens without a direction. Default: w where there is one, else z.
        n: How many samples. Default: 8.
        seed: Of the samples, as `ganvas sample` draws them.
        out: A .png.
        plain: No text in the picture.
        device: auto, cpu, cuda or mps.
        json: Print the outcome as JSON.
    """
    from dataclasses import replace

    from ganvas import pictures
    from ganvas.errors import GanvasError, counted
    from ganvas.latent.directions import load_directions
    from ganvas.latent.edits import draw_edit
    from ganvas.model_file import load

    _shared.outputs(out, ".png")
    moved = {"which": which, "strength": strength, "layers": layers, "keep": keep}
    _check(direction, arithmetic, {flag: value or None for flag, value in moved.items()}, space, n)
    n, strength = 8 if n is None else n, strength or (2.0,)
    loaded = load(model, device=device)
    if len(loaded.shape) == 1:
        raise GanvasError(
            "This model draws points; an edit is drawn of pictures and series. See: ganvas walk."
        )
    chosen = None
    if direction is not None:
        found = load_directions(direction, loaded)
        if not 0 <= which < len(found):
            raise GanvasError(
                f"{direction} holds {counted(len(found), 'direction')}, numbers 0 to {len(found) - 1}; "
                f"there is no {which}."
            )
        chosen = found[which]
    if arithmetic is None:
        pictures.check_table(len({0.0, *strength}), n, loaded.shape)
    with _shared.progress() as tell:
        edit = draw_edit(
            loaded, chosen, strengths=strength, layers=layers, keep=keep, expression=arithmetic, space=space, n=n,
            seed=seed, progress=tell,
        )  # fmt: skip
    used = edit.direction
    what = " along ".join(
        part for part in (arithmetic or counted(n, "sample"), used.name if used else "") if part
    )
    unit = f", strength in sigmas of {edit.space.name}" if used else f" in {edit.space.name}"
    shown = replace(
        edit,
        samples=tuple(map(loaded.shown, edit.samples)),
        terms=None if edit.terms is None else loaded.shown(edit.terms),
    )
    _shared.write_picture(out, _sheet(shown, what + unit, plain))
    outcome = {
        "direction": used.name if used else None, "arithmetic": arithmetic, "kept": list(keep),
        "strength": edit.strengths, "typicality": edit.typicality, "cost": used.cost if used else None,
        "effects": dict(used.effects) if used else {}, "out": str(out),
    }  # fmt: skip
    if json:
        _shared.answer(outcome)
        return
    _shared.say(f"{what} -> {out}")
    if used is None:
        return
    _shared.say(
        "typicality, the share of the model's own samples that are less usual: "
        + ", ".join(f"{word}: {value:.0%}" for word, value in zip(_words(edit), edit.typicality, strict=True))
    )


def _check(
    direction: Path | None, arithmetic: str | None, moved: dict[str, Any], space: str | None, n: int | None
) -> None:
    """Raise `GanvasError` without anything to do, and for flags that would do nothing: `moved` are those of a direction."""
    from ganvas.errors import GanvasError

    if direction is None and arithmetic is None:
        raise GanvasError(
            "Edit with --direction FILE (see: ganvas directions), with --arithmetic '12 - 3 + 40', or both."
        )
    if direction is None:
        _shared.unused("nothing is moved without --direction FILE", **moved)
    else:
        _shared.unused("a direction says itself what space it is of", space=space)
    if arithmetic is not None:
        _shared.unused("a sum is one sample", n=n)


def _words(edit: "Edit") -> list[str]:
    """The strengths as they are shown."""
    return [f"{amount:+g}" if amount else "as it is" for amount in edit.strengths]


def _sheet(edit: "Edit", title: str, plain: bool) -> "Image":
    """A row for each strength; of a sum, its terms and result above, and its strengths side by side."""
    import torch

    from ganvas import pictures

    words = _words(edit)
    if edit.sum is None or edit.terms is None:
        return pictures.sheet(list(edit.samples), words, title=title, plain=plain)
    rows, names = [edit.terms], ["terms, result"]
    signed = zip(signs_of(edit.sum), edit.sum.names, strict=True)
    captions = [[*(f"{sign}{name}" for sign, name in signed), "result"]]
    if edit.direction is not None:
        rows, names = [*rows, torch.cat(edit.samples)], [*names, "moved"]
        captions.append(words)
    return pictures.sheet(rows, names, captions=captions, title=title, plain=plain)


def signs_of(found: "Sum") -> list[str]:
    """What stands before each term."""
    return ["", *("+ " if sign > 0 else "− " for sign in found.signs[1:])]
