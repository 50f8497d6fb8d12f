"""`ganvas restore`"""

import json as json_module
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro


def run(
    model: Annotated[str, tyro.conf.Positional],
    images: Annotated[str, tyro.conf.Positional],
    *,
    task: str = "inpaint",
    damaged: bool = False,
    hidden: Literal["left", "right", "top", "bottom", "middle"] = "bottom",
    factor: int = 4,
    noise: float = 0.3,
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
    """Repair pictures by searching the latent space for one that fits what is left of them.

    The images are damaged first, so that the result can be judged: original, damaged and restored are drawn one below the other.
    With --damaged they are so already.

    Args:
        model: A run or snapshot folder, a .safetensors file, or a name from `ganvas list models`.
        images: A picture, folder, .zip, data set, .npy or .npz; any size and colour is brought to the model's (smaller by
            --factor for superres --damaged).
        task: inpaint, superres, denoise, deblur, colorize, or an image of a mask: white was seen, black is to be filled in.
        damaged: The images are damaged already; there is nothing to judge the result by.
        hidden: The half (or middle) that inpaint has to fill.
        factor: Of superres, and the width of the blur.
        noise: Standard deviation that denoise has to remove, in units of half the range.
        space: z, w, w+ or styles. Default: w where there is one, else z.
        n: How many of the images, the first ones.
        steps: Of the descent.
        restarts: Starts for each image; their spread is the ambiguity.
        seed: Of the starts and of the noise.
        out: Latents, residuals and drawn images as an .npz, with the picture beside it.
        plain: No text in the picture.
        device: auto, cpu, cuda or mps.
        json: Print the figures as JSON.
    """
    from dataclasses import replace
    from functools import partial

    import torch
    import torch.nn.functional as F

    from ganvas import latent, pictures
    from ganvas.cli import _shared as shared
    from ganvas.device import stream
    from ganvas.errors import GanvasError, counted
    from ganvas.latent.attributes import classifier_of
    from ganvas.latent.invert import as_floats, invert, seen_shape
    from ganvas.latent.restore import half, psnr, tasks
    from ganvas.model import load
    from ganvas.registry import did_you_mean

    picture = out.with_suffix(".png")
    shared.outputs(out, ".npz", beside=[picture])
    loaded = load(model, device=device, critic=False)
    where = latent.open_space(loaded, space)
    channels, height, width = loaded.shape
    low, high = loaded.generator.value_range
    if task in ("superres", "deblur") and not 2 <= factor <= height // 2:
        raise GanvasError(f"--factor is {factor}; it must lie from 2 to {height // 2}.")
    mask = None
    if task == "inpaint":
        mask = half(hidden, height, width)
    elif task not in tasks:
        if not Path(task).is_file():
            hint = did_you_mean(task, list(tasks))
            raise GanvasError(
                f"There is no task {task!r}.{hint} Use {', '.join(tasks)}, or the path of a mask."
            )
        mask, task = shared.read_mask(Path(task), loaded), "inpaint"
    arguments: dict[str, tuple[Any, ...]] = {
        "inpaint": (mask,),
        "superres": (factor,),
        "deblur": (factor | 1,),
    }
    degrade = tasks.get(task)(*arguments.get(task, ()))
    shape = seen_shape(where, degrade) if damaged else loaded.shape
    originals = shared.images(images, n, loaded, shape)
    wanted = as_floats(where, originals, shape)
    seen = wanted
    if task == "denoise" and not damaged:
        seen = wanted + noise * (high - low) / 2 * torch.randn(
            wanted.shape, generator=stream(seed, "noise")
        ).to(wanted)
        seen = seen.clamp(low, high)
    if damaged and task == "inpaint":
        seen = degrade(seen)
    with shared.progress() as tell:
        found = invert(
            where, seen, steps=steps, restarts=restarts, degrade=degrade, damaged=damaged, seed=seed,
            progress=partial(tell, "descent"), keep=0.003,
        )  # fmt: skip
    shown = seen if damaged else degrade(seen)
    if mask is not None:
        shown = torch.where(mask.to(seen).bool(), seen, torch.zeros_like(seen) + (low + high) / 2)
    shown = loaded.to_data(F.interpolate(shown, (height, width)).expand(-1, channels, -1, -1)).cpu()
    filled = (
        found.drawn if mask is None else torch.where(mask.to(seen).bool(), seen, found.drawn)
    )  # what was seen stays
    restored = loaded.to_data(filled).cpu()
    shared.save(out, replace(found, drawn=filled))
    parts = {} if damaged else {"original": originals}
    parts |= {"damaged": shown, "restored": restored}
    rows = [
        (name, row)
        for i in range(0, len(originals), 8)
        for name, each in parts.items()
        for row in [each[i : i + 8]]
    ]
    title = f"{task}, restored in {where.name}"
    sheet = pictures.sheet([row for _, row in rows], [name for name, _ in rows], title=title, plain=plain)
    shared.write_picture(picture, sheet)
    figures: dict[str, Any] = {
        "n": len(originals), "task": task, "residual": float(found.residual.mean()),
        "ambiguity": float(found.ambiguity.mean()), "typicality": float(found.typicality.mean()), "notes": list(found.notes),
        "out": str(out),
    }  # fmt: skip
    text = f"residual {figures['residual']:.1%} on what was seen, ambiguity {figures['ambiguity']:.1%}"
    if not damaged:
        figures["psnr"] = float(
            psnr(found.drawn, wanted, (low, high), None if mask is None else 1 - mask).mean()
        )
        text = f"{figures['psnr']:.1f} dB on {'the hidden' if mask is not None else 'all'} pixels, {text}"
        judge = classifier_of(loaded)
        if judge is not None:
            before, after = (judge(each).logits.argmax(1) for each in (originals, restored))  # type: ignore[union-attr]
            figures["class_agreement"] = float((before == after).float().mean())
            text += f", class agreement {figures['class_agreement']:.0%}"
    if json:
        print(json_module.dumps(figures))
        return
    for note in found.notes:
        print(f"Note: {note}.")
    print(f"{counted(len(originals), 'image')}: {text} -> {out}, {picture}")
