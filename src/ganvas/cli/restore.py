"""`ganvas restore`"""

import json as json_module
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro


def run(
    model: Annotated[str, tyro.conf.Positional],
    images: Annotated[str, tyro.conf.Positional],
    *,
    task: Literal["inpaint", "superres", "denoise", "deblur", "colorize"] = "inpaint",
    hidden: Literal["left", "right", "top", "bottom", "middle"] = "bottom",
    factor: int = 4,
    noise: float = 0.3,
    space: str | None = None,
    n: int = 16,
    steps: int = 200,
    restarts: int = 4,
    seed: int = 0,
    out: Path = Path("restored.npz"),
    device: str = "auto",
    json: bool = False,
) -> None:
    """Repair pictures by searching the latent space for one that fits what is left of them.

    The images are damaged first, so that the result can be judged: original, damaged and restored are drawn one below the other.

    Args:
        model: A run or snapshot folder, a .safetensors file, or a name from `ganvas list models`.
        images: A data set, folder, .zip, .npy or .npz of images of the model's size.
        task: What is done to the images, and undone.
        hidden: The half (or middle) that inpaint has to fill.
        factor: Of superres, and the width of the blur.
        noise: Standard deviation that denoise has to remove, in units of half the range.
        space: z, w, w+ or styles. Default: w where there is one, else z.
        n: How many of the images, the first ones.
        steps: Of the descent.
        restarts: Starts for each image; their spread is the ambiguity.
        seed: Of the starts and of the noise.
        out: Latents, residuals and drawn images as an .npz, with the picture beside it.
        device: auto, cpu, cuda or mps.
        json: Print the figures as JSON.
    """
    import torch
    import torch.nn.functional as F

    from ganvas import latent
    from ganvas.cli import _shared as shared
    from ganvas.device import stream
    from ganvas.errors import GanvasError
    from ganvas.latent import invert as found_in
    from ganvas.model import load
    from ganvas.networks import from_uint8

    shared.check(out)
    loaded = load(model, device=device, critic=False)
    where = latent.open_space(loaded, space)
    originals = shared.images(images, n, loaded)
    height, width = loaded.shape[1:]
    value_range = loaded.generator.value_range
    wanted = from_uint8(originals, value_range).to(loaded.device)
    if task in ("superres", "deblur") and not 2 <= factor <= height // 2:
        raise GanvasError(f"--factor is {factor}; it must lie from 2 to {height // 2}.")
    mask = torch.ones(1, 1, height, width, device=loaded.device)
    rows, columns = slice(None), slice(None)
    if hidden in ("top", "bottom"):
        rows = slice(0, height // 2) if hidden == "top" else slice(height // 2, None)
    elif hidden in ("left", "right"):
        columns = slice(0, width // 2) if hidden == "left" else slice(width // 2, None)
    else:
        rows, columns = slice(height // 4, height * 3 // 4), slice(width // 4, width * 3 // 4)
    mask[:, :, rows, columns] = 0
    half = (value_range[1] - value_range[0]) / 2
    seen = wanted
    if task == "denoise":
        seen = wanted + noise * half * torch.randn(wanted.shape, generator=stream(seed, "noise")).to(wanted)
        seen = seen.clamp(*value_range)
    arguments: dict[str, tuple[Any, ...]] = {"inpaint": (mask,), "superres": (factor,), "deblur": (factor | 1,)}
    degrade = found_in.tasks.get(task)(*arguments.get(task, ()))
    with shared.progress() as show:
        found = found_in.invert(
            where, seen, steps=steps, restarts=restarts, degrade=degrade, seed=seed, progress=show("descent"), keep=0.01
        )
    shared.save(out, found)
    damaged = degrade(seen)
    if task == "inpaint":
        damaged = torch.where(mask.bool(), seen, torch.zeros_like(seen) + sum(value_range) / 2)
    damaged = F.interpolate(damaged, (height, width)).expand_as(wanted)
    pictured = torch.cat([originals, loaded.to_data(damaged).cpu(), loaded.to_data(found.drawn).cpu()])
    shared.table(pictured, len(originals), out)
    judged = 1 - mask if task == "inpaint" else None
    quality = found_in.psnr(found.drawn, wanted, value_range, judged)
    figures = {
        "n": len(originals), "task": task, "psnr": float(quality.mean()), "residual": float(found.residual.mean()),
        "ambiguity": float(found.ambiguity.mean()), "typicality": float(found.typicality.mean()), "out": str(out),
    }  # fmt: skip
    if json:
        print(json_module.dumps(figures))
        return
    where_judged = "the hidden pixels" if task == "inpaint" else "all pixels"
    print(
        f"{len(originals)} images: {figures['psnr']:.1f} dB on {where_judged}, "
        f"residual {figures['residual']:.1%} on what was seen, "
        f"ambiguity {figures['ambiguity']:.1%} -> {out}, {out.with_suffix('.png')}"
    )
