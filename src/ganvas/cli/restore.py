"""`ganvas restore`"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from ganvas.cli import _shared

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from ganvas.latent.restore import Damage, Restored
    from ganvas.model import Model
    from ganvas.series import Schema


OF_TASK = {
    "inpaint": ("--hidden",),
    "superres": ("--factor",),
    "deblur": ("--factor",),
    "denoise": ("--noise",),
}
"""What a task looks at beside what all of them do."""


def run(
    model: Annotated[str, tyro.conf.Positional],
    images: Annotated[str, tyro.conf.Positional],
    *,
    task: str = "inpaint",
    damaged: bool = False,
    hidden: Literal["left", "right", "top", "bottom", "middle"] | None = None,
    factor: int | None = None,
    noise: float | None = None,
    space: str | None = None,
    n: int = 16,
    steps: int = 120,
    restarts: int = 4,
    seed: int = 0,
    out: Path = Path("restored.npz"),
    plain: bool = False,
    device: str = "auto",
    json: bool = False,
) -> None:
    """Repair pictures or series by searching the latent space for one that fits what is left of them.

    The images are damaged first, so that the result can be judged: original, damaged and restored are drawn one below the other.
    With --damaged they are so already. Of the data that the model was trained on, those are taken that were held out.

    Args:
        model: A run or snapshot folder, a .safetensors file, or a name from `ganvas list models`.
        images: A picture, folder, .zip, data set, .npy or .npz; any size and colour is brought to the model's (smaller by
            --factor for superres --damaged).
        task: inpaint, superres, denoise, deblur, colorize, or an image of a mask: white was seen, black is to be filled in.
        damaged: The images are damaged already; there is nothing to judge the result by.
        hidden: The half (or middle) that inpaint has to fill. Default: bottom; of series right, which is a forecast.
        factor: Of superres, and the width of the blur. Default: 4.
        noise: Standard deviation that denoise adds and has to remove, in units of half the range. Default: 0.3.
        space: z, w, w+ or styles. Default: w where there is one, else z.
        n: How many of the images, the first ones; of windows that overlap so many far apart.
        steps: Of the descent.
        restarts: Starts for each image; their spread is the ambiguity.
        seed: Of the starts and of the noise.
        out: Latents, residuals and drawn images as an .npz, with the picture beside it.
        plain: No text in the picture.
        device: auto, cpu, cuda or mps.
        json: Print the figures as JSON.
    """
    from functools import partial

    from ganvas import latent, pictures
    from ganvas.cli import _shared as shared
    from ganvas.errors import GanvasError
    from ganvas.latent.invert import seen_shape
    from ganvas.latent.restore import restore
    from ganvas.latent.tools import STARTS
    from ganvas.model_file import load

    picture = out.with_suffix(".png")
    shared.outputs(out, ".npz", beside=[picture])
    _check(task, damaged, {"--hidden": hidden, "--factor": factor, "--noise": noise})
    loaded = load(model, device=device, critic=False)
    where = latent.open_space(loaded, space)
    if len(loaded.shape) == 2:
        if damaged and hidden is not None:
            raise GanvasError(
                "--hidden hides steps that are there; --damaged fills in those without a value. Give one of them."
            )
        if plain:
            raise GanvasError("--plain is for pictures: the curves of series have names. Leave it out.")
        asked = (task, hidden or "right", damaged, space, n, steps, restarts, seed, out, json)
        _series(loaded, images, *asked)
        return
    done = _damage(task, loaded, hidden or "bottom", 4 if factor is None else factor)
    shape = seen_shape(where, done.degrade) if damaged else loaded.shape
    originals = shared.images(images, n, loaded, shape, unseen=True)
    with shared.progress() as tell:
        made = restore(
            where, originals, done, damaged=damaged, noise=0.3 if noise is None else noise, steps=steps,
            restarts=restarts, seed=seed, progress=partial(tell, "descent"), starts=partial(tell, STARTS),
        )  # fmt: skip
    found = made.found
    parts = {} if damaged else {"original": originals}
    parts |= {"damaged": made.damaged, "restored": made.samples}
    rows = [(name, each[i : i + 8]) for i in range(0, len(originals), 8) for name, each in parts.items()]
    title = f"{done.task}, restored in {where.name}"
    sheet = pictures.sheet([row for _, row in rows], [name for name, _ in rows], title=title, plain=plain)
    figures, text = _figures(made, done, len(originals))
    figures["out"] = str(out)
    with shared.telling(figures, text, json):
        shared.save(out, found)
        shared.write_picture(picture, sheet)
    shared.tell(figures, text, f"{out}, {picture}", json)


def _figures(made: "Restored", done: "Damage", n: int) -> tuple[dict[str, Any], str]:
    """What was found of `n` pictures, for --json and in words."""
    from ganvas.errors import counted

    found = made.found
    figures: dict[str, Any] = {
        "n": n, "task": done.task, "residual": float(found.residual.mean()), "ambiguity": float(found.ambiguity.mean()),
        "typicality": float(found.typicality.mean()), "notes": list(found.notes),
    }  # fmt: skip
    text = f"residual {figures['residual']:.1%} on what was seen, ambiguity {figures['ambiguity']:.1%}"
    if made.psnr is not None:
        figures["psnr"] = float(made.psnr.mean())
        text = f"{figures['psnr']:.1f} dB on {'all' if done.mask is None else 'the hidden'} pixels, {text}"
    if made.class_agreement is not None:
        figures["class_agreement"] = made.class_agreement
        text += f", class agreement {made.class_agreement:.0%}"
    return figures, f"{counted(n, 'image')}: {text}"


def _check(task: str, damaged: bool, given: "Mapping[str, object]") -> None:
    """Raise `GanvasError` for a flag that the task, a name or the path of a mask, does not look at."""
    from ganvas.arrays import number
    from ganvas.errors import GanvasError

    for flag, value in given.items():
        if value is None:
            continue
        if flag not in OF_TASK.get(task, ()):
            raise GanvasError(f"{flag} is not for --task {task}. Leave it out.")
        if flag == "--noise":
            number(value, flag, least=0)
        if damaged and flag == "--noise":
            raise GanvasError(
                "--noise is added before it is removed, and to --damaged images nothing is. Leave it out."
            )


def _series(
    model: "Model", source: str, task: str, hidden: str, damaged: bool, space: str | None, n: int, steps: int, restarts: int,
    seed: int, out: Path, json: bool,
) -> None:  # fmt: skip
    """Steps of series that were not seen: those of a half of them, or with --damaged those without a value."""
    from dataclasses import replace
    from functools import partial

    from ganvas import latent, pictures
    from ganvas.errors import GanvasError, counted
    from ganvas.latent.impute import hide, impute
    from ganvas.latent.tools import STARTS

    if task != "inpaint":
        raise GanvasError(
            f"Series are restored by inpaint alone, which fills in hidden steps; {task} is for pictures."
        )
    table = out.with_suffix(".csv")
    _shared.outputs(out, beside=[table])
    schema, shape = model.info.series, tuple(model.shape)
    if damaged and schema is not None:
        samples, mask = _with_gaps(source, n, model, schema)
    else:
        samples = _shared.images(source, n, model, unseen=True)
        mask = hide(hidden, shape[1])
    where = latent.open_space(model, space)
    with _shared.progress() as tell:
        made = impute(
            where, samples, mask, damaged=damaged, seed=seed, steps=steps, restarts=restarts,
            progress=partial(tell, "descent"), starts=partial(tell, STARTS),
        )  # fmt: skip
    # Windows of any time: their steps are counted, since the schema's own time is that behind the end of the data.
    undated = replace(made.series.schema, time="", unit="", start=0.0, step=1.0)
    first = min(len(samples), pictures.ACROSS)
    whole = [] if damaged or schema is None else [("original", schema.decode(samples))]
    parts = [*whole, ("damaged", made.damaged), ("restored", made.series)]
    sheet = pictures.beside(parts, first)
    figures: dict[str, Any] = {
        name: sum(float(getattr(each, name)) for each in made.found) / len(made.found)
        for name in ("residual", "ambiguity", "typicality")
    }
    figures |= {
        "n": len(samples),
        "task": task,
        "notes": sorted({note for each in made.found for note in each.notes}),
    }
    figures |= {"error": made.error, "naive": made.naive, "out": str(out)}
    text = f"{counted(len(samples), 'series', 'series')}: residual {figures['residual']:.1%} on what was seen"
    if made.error is not None:
        text += (
            f"; hidden values are off by {made.error:.2f} of their spread, straight lines by {made.naive:.2f}"
        )
    with _shared.telling(figures, text, json):
        pictures.write_table([made.series._replace(schema=undated)], table)
        _shared.save(out, *made.found)
        _shared.write_picture(out.with_suffix(".png"), sheet)
    _shared.tell(figures, text, f"{out}, {out.with_suffix('.png')}, {table}", json)


def _with_gaps(source: str, n: int, model: "Model", schema: "Schema") -> "tuple[Tensor, Tensor]":
    """The first n series of a source that lack some of their values and not all, which do not overlap; and what is there."""
    import torch

    from ganvas.arrays import count
    from ganvas.errors import GanvasError
    from ganvas.latent.impute import fillable, gaps_of, without_gaps

    gaps = gaps_of(schema)
    data = _shared.brought(source, model, gaps.shape, gaps)
    samples, mask = without_gaps(data.take(torch.arange(len(data)))[0], schema)
    n, chosen = count(n, "--n"), list[int]()
    for i in fillable(samples, mask, schema).nonzero()[:, 0].tolist():
        apart = data.spans is None or not chosen or not _overlap(data.spans[chosen[-1]], data.spans[i])
        if apart and len(chosen) < n:
            chosen.append(i)
    if not chosen:
        raise GanvasError(
            f"Every value of {data.name} is there, so there is nothing to fill in. Without --damaged a half is hidden."
        )
    _shared.say(f"Of {len(data):,} series {len(chosen)} with gaps, which do not overlap.", beside=True)
    return samples[chosen], mask[chosen]


def _overlap(a: "Tensor", b: "Tensor") -> bool:
    """Whether two windows share steps: the sequence of each, and where in it it begins and ends."""
    return bool(a[0] == b[0] and a[1] < b[2] and b[1] < a[2])


def _damage(
    task: str, model: "Model", hidden: Literal["left", "right", "top", "bottom", "middle"], factor: int
) -> "Damage":
    """What --task says: a name, or the path of a mask."""
    from ganvas.cli._shared import read_mask
    from ganvas.errors import GanvasError
    from ganvas.latent.restore import damage, tasks
    from ganvas.registry import did_you_mean

    if task in tasks:
        return damage(model, task, hidden=hidden, factor=factor)
    if not Path(task).is_file():
        hint = did_you_mean(task, list(tasks))
        raise GanvasError(f"There is no task {task!r}.{hint} Use {', '.join(tasks)}, or the path of a mask.")
    return damage(model, mask=read_mask(Path(task), model))
