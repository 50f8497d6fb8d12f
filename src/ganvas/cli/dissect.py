"""`ganvas dissect`"""

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import tyro

from ganvas.cli import _shared


def run(
    model: Annotated[str, tyro.conf.Positional],
    *,
    concept: str = "critic-score",
    layers: tuple[str, ...] = (),
    mask: Path | None = None,
    units: int = 8,
    insert: bool = False,
    space: str | None = None,
    n: int = 512,
    seed: int = 0,
    out: Path = Path("dissect.png"),
    plain: bool = False,
    device: str = "auto",
    json: bool = False,
) -> None:
    """Find the hidden units that draw a concept, switch them off (or on), and measure what changes.

    The picture shows samples above, the same with the units switched below; NAME-units.png shows for each unit (a row) the
    samples where it is strongest, in colour where it is on. For `critic-score` these are the units of bad samples:
    switched off, samples should gain. The change is measured on other samples than the units were chosen with.

    Args:
        model: A run or snapshot folder, a .safetensors file, or a name from `ganvas list models`.
        concept: critic-score (units behind bad samples), stroke, edge, red, green, blue, an attribute, class:NAME, or mask.
        layers: Names of layers. Default: one for each size of maps.
        mask: An image whose white is the concept `mask`.
        units: How many units to switch.
        insert: Switch them on everywhere, not off.
        space: Whose samples. Default: w where there is one, else z.
        n: How many samples are looked at.
        seed: Of the samples.
        out: A .png.
        plain: No text in the pictures.
        device: auto, cpu, cuda or mps.
        json: Print the figures as JSON.
    """
    from ganvas import latent, pictures
    from ganvas.errors import GanvasError, counted
    from ganvas.latent.dissect import switch
    from ganvas.model_file import load

    shown = out.with_name(f"{out.stem}-units.png")
    _shared.outputs(out, ".png", beside=[shown])
    if units < 1:
        raise GanvasError(f"--units is {units}; it must be at least 1.")
    loaded = load(model, device=device)
    where = latent.open_space(loaded, space)
    with _shared.progress() as tell:
        done = switch(
            where, concept, layers=layers, mask=None if mask is None else _shared.read_mask(mask, loaded)[0, 0],
            units=units, insert=insert, n=n, seed=seed, progress=tell,
        )  # fmt: skip
    turned = "on" if insert else "off"
    rows = ["as they are", f"switched {turned}"]
    title = f"{counted(len(done.units), 'unit')} of {concept!r} switched {turned}"
    sheet = pictures.sheet([done.samples, done.changed], rows, title=title, plain=plain)
    names = [f"{unit.layer} {unit.index}" for unit, _ in done.units]
    title = f"Units of {concept!r}: the samples where each is strongest, lit where it is on"
    strongest = pictures.sheet(list(done.strongest), names, title=title, plain=plain)
    document: dict[str, Any] = {
        "concept": concept, "layers": list(done.found.layers), "switched": turned,
        "units": [
            {"layer": u.layer, "unit": u.index, "kind": u.kind, "agreement": u.agreement, "effect": e}
            for u, e in done.units
        ],
        "before": done.before, "after": done.after, "out": str(out), "out_units": str(shown),
    }  # fmt: skip
    if done.note is not None:
        document["note"] = done.note
    found = done.found
    show = partial(_show, found.concepts, document, {c: found.units(c, 1)[0] for c in found.concepts})
    with _shared.telling(document, show, json):
        _shared.write_picture(out, sheet)
        _shared.write_picture(shown, strongest)
    if json:
        _shared.answer(document)
        return
    show()
    _shared.say(f"-> {out}, {shown}")


def _show(concepts: tuple[str, ...], document: dict[str, Any], best: dict[str, Any]) -> None:
    from ganvas.cli._shared import Column, table

    rows = []
    for name in concepts:
        unit = best[name]
        kind = "IoU" if unit.kind == "mask" else "correlation"
        rows.append([name, f"{unit.layer} {unit.index}", f"{unit.agreement:.2f} {kind}"])
    table(
        [Column("concept", left=True), Column("best unit", left=True), Column("agreement", left=True)], rows
    )
    listed = ", ".join(f"{u['layer']} {u['unit']} ({u['effect']:+.3g})" for u in document["units"])
    _shared.say(f"Switched {document['switched']}: {listed}")
    changes = ", ".join(
        f"{name} {document['before'][name]:.3g} to {document['after'][name]:.3g}"
        for name in document["before"]
    )
    if "note" in document:
        _shared.say(document["note"])
    _shared.say(f"Means of 256 other samples: {changes}")
