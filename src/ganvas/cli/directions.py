"""`ganvas directions`"""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from ganvas.cli import _shared

if TYPE_CHECKING:
    from PIL.Image import Image

    from ganvas.latent.directions import Chance, Direction
    from ganvas.latent.space import LatentSpace


def run(
    model: Annotated[str, tyro.conf.Positional],
    *,
    method: str = "pca",
    space: str | None = None,
    attribute: str | None = None,
    scores: Path | None = None,
    keep: tuple[str, ...] = (),
    count: int | None = None,
    samples: int | None = None,
    steps: int | None = None,
    reach: float | None = None,
    seed: int = 0,
    out: Path = Path("directions.safetensors"),
    picture: Path | None = None,
    plain: bool = False,
    device: str = "auto",
    json: bool = False,
) -> None:
    """Find directions in a latent space, measure them beside random ones, and draw what they do.

    Args:
        model: A run or snapshot folder, a .safetensors file, or a name from `ganvas list models`.
        method: From `ganvas list finders`, learned or attribute.
            pca and ica read the spread of the space, sefa the weights, jacobian the derivative, local that at the seed's
            sample; learned trains a network to tell directions apart; attribute separates scores; random is the control.
        space: z, w, w+, styles or layer:NAME. Default: w where there is one, else z.
        attribute: For --method attribute: brightness, contrast, width, height, slant, or class:NAME.
        scores: For --method attribute: your own scores, lines `number,score` (or JSON) for the samples that
            `ganvas sample MODEL --seed SEED` draws; about 50 will do.
        keep: Attributes that the direction shall leave alone (conditional projection).
        count: How many directions; an attribute has one. Default: 6.
        samples: Samples that are scored for an attribute. Default: 2,000.
        steps: Training steps of --method learned, 2,000 if not said. An interrupted training resumes when the same command is
            given again.
        reach: Strengths of the picture go from -reach to reach, in sigmas. Default: 3.
        seed: Of every random choice.
        out: The directions, for `ganvas edit`.
        picture: Grid of strengths by directions, a random one below as the control. Default: beside `out`, as a .png.
        plain: No text in the picture.
        device: auto, cpu, cuda or mps.
        json: Print the figures as JSON.
    """
    from ganvas import arrays, latent
    from ganvas.errors import counted
    from ganvas.latent import directions as found_in
    from ganvas.latent.finders import early_layer
    from ganvas.latent.supervised import in_words
    from ganvas.latent.tools import check_method, find_directions
    from ganvas.model_file import load

    drawn_to = picture or out.with_suffix(".png")
    _shared.outputs(out, ".safetensors")
    _shared.outputs(drawn_to, ".png")
    check_method(method, attribute, scores, keep)
    if method == "attribute":
        _shared.unused("an attribute has one direction", count=count)
    else:
        _shared.unused(f"no sample is scored by --method {method}", samples=samples)
    if method != "learned":
        _shared.unused("--method learned alone trains", steps=steps)
    far = arrays.number(3.0 if reach is None else reach, "--reach", above=0)
    loaded = load(model, device=device)
    if len(loaded.shape) == 1:
        _shared.unused(
            "this model draws points, which no picture of strengths shows", picture=picture, reach=reach
        )
    count = 6 if count is None else count
    where = latent.open_space(loaded, space)
    with _shared.progress() as tell:
        found = find_directions(
            where, method, count, seed=seed, attribute=attribute, scores=scores, keep=keep,
            samples=2000 if samples is None else samples, steps=2000 if steps is None else steps,
            state=out.with_suffix(".state.safetensors"), progress=tell,
        )  # fmt: skip
        found_in.check_moves(found)
        control = found_in.find(where, "random", 1, seed, progress=tell)
        typical = found_in.chance(where, progress=tell)
    notes = [words for each in found if (words := in_words(each))]
    if method == "pca" and where.name == "z":
        notes.append(
            f"z has no principal axes of its own: these are those of {early_layer(where)}, regressed to z."
        )
    drawn = _drawn(where, [*found, control[0]], far, seed, plain) if len(loaded.shape) > 1 else None
    document = {
        "space": where.name, "random_effect": typical.effect, "random_effect_error": typical.error,
        "directions": [_figures(each, typical) for each in found], "notes": notes, "out": str(out),
    }  # fmt: skip
    show = partial(_show, [*found, control[0]], typical, notes)
    # One right after the other: of two commands at once both shall be those of the last. So it is in the others.
    with _shared.telling(document, show, json):
        found_in.save(out, found)
        if drawn is not None:
            _shared.write_picture(drawn_to, drawn)
    if json:
        _shared.answer(document)
        return
    show()
    pictured = "" if drawn is None else f"; strengths -{far:g} to {far:g}, random below -> {drawn_to}"
    _shared.say(f"{counted(len(found), 'direction')} of {where.name} -> {out}{pictured}")


def _drawn(where: "LatentSpace", found: "list[Direction]", reach: float, seed: int, plain: bool) -> "Image":
    """Sample 0 of the seed moved along each, the last of which is the random one."""
    import torch

    from ganvas import pictures
    from ganvas.latent.directions import edit

    amounts = torch.linspace(-reach, reach, 9, device=where.model.device)
    with torch.no_grad():
        start = where.numbered(1, seed).expand(len(amounts), *where.shape)
        labels = where.labels(len(amounts), where.labels(1, None))
        drawn = [
            where.model.to_data(where.decode(edit(where, start, each, amounts), labels)) for each in found
        ]
        rows = [where.model.shown(each.cpu()) for each in drawn]
    heads = [f"{amount:+.3g}" if amount else "as it is" for amount in amounts.tolist()]
    names = [*(each.name for each in found[:-1]), "random"]
    title = f"Sample 0 of seed {seed} moved along directions of {where.name}, strength in sigmas"
    return pictures.sheet(rows, names, heads=heads, title=title, plain=plain)


def _figures(d: "Direction", typical: "Chance") -> dict[str, Any]:
    times, error = typical.times(d.effect)
    return {
        "name": d.name, "score": d.score, "sigma": d.sigma, "effect": d.effect, "effect_over_random": times,
        "effect_over_random_error": error, "effects": dict(d.effects), "cost": d.cost, "made": dict(d.made),
    }  # fmt: skip


def _show(found: "list[Direction]", typical: "Chance", notes: list[str]) -> None:
    from ganvas.cli._shared import Column, table

    columns = [
        Column("direction", left=True), Column("score", drop=3), Column("sigma", drop=4), Column("effect"),
        Column("x random", drop=1), Column("cost", drop=2), Column("changes most", left=True, drop=5),
    ]  # fmt: skip
    rows = []
    for d in found:
        most = sorted(d.effects.items(), key=lambda item: -abs(item[1]))[:2]
        rows.append([
            d.name, *(f"{value:.3g}" for value in (d.score, d.sigma, d.effect)),
            "{:.2f} ± {:.2f}".format(*typical.times(d.effect)), "" if d.cost is None else f"{d.cost:+.2f}",
            ", ".join(f"{name} {change:+.2f}" for name, change in most),
        ])  # fmt: skip
    table(columns, rows)
    _shared.say(
        "effect: feature distance of 1 sigma; x random: over the mean effect of 32 random directions; "
        "cost: how far 2 sigmas lower the critic score, in its standard deviations; "
        "changes: in standard deviations of the attribute"
    )
    for note in notes:
        _shared.say(note)
