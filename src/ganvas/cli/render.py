"""`ganvas render`"""

from pathlib import Path
from typing import Annotated

import tyro

from ganvas.cli import _shared

LARGEST = 2**27
"""Pixels of a picture that is enlarged: it is held several times."""


def run(
    recipe: Annotated[Path, tyro.conf.Positional],
    *,
    model: Path | None = None,
    out: Path = Path("render.png"),
    scale: int | None = None,
    device: str = "auto",
    json: bool = False,
) -> None:
    """Draw what a recipe of `ganvas explore` shows: the picture, or the film of its timeline.

    Args:
        recipe: A .json that the explorer saved.
        model: The model, where the recipe's own name for it does not lead to it. Its weights must be the same.
        out: .png for the picture; .mp4, .gif or .webp for the film.
        scale: Whole factor that a .png is enlarged by. Default: 1, which keeps the pixels as they are.
        device: auto, cpu, cuda or mps.
        json: Print the outcome as JSON.
    """
    from functools import partial

    from ganvas import io, pictures
    from ganvas.errors import GanvasError, counted
    from ganvas.model_file import load
    from ganvas.web.opening import replay, replay_film
    from ganvas.web.state import read

    found = read(recipe)
    if out.suffix != ".png":
        _shared.unused("a film is enlarged by itself", scale=scale)
        pictures.check_film(out, found.timeline.fps)
    _shared.outputs(out)
    scale = 1 if scale is None else scale
    if not 1 <= scale <= 64:
        raise GanvasError(f"The scale is a whole factor from 1 to 64, got {scale}.")
    loaded = None if model is None else load(model, device=device)
    if out.suffix == ".png":
        drawn = replay(found, loaded, device=device)
        sides = [scale * side for side in drawn.shape[:0:-1]]
        if (pixels := sides[0] * sides[1]) > LARGEST:
            raise GanvasError(
                f"--scale {scale} gives a picture of {sides[0]:,} x {sides[1]:,} px, {pixels / 1e6:,.0f} megapixels; "
                f"{LARGEST / 1e6:,.0f} are written at most."
            )
        drawn = drawn.repeat_interleave(scale, 1).repeat_interleave(scale, 2)
        io.write_bytes(out, pictures.png(pictures.to_image(drawn)))
        frames = 1
    else:
        with _shared.progress() as tell:
            film = replay_film(found, loaded, device=device, progress=partial(tell, "frames"))
        pictures.save_animation(film, out, found.timeline.fps)
        frames = len(film)
    if json:
        _shared.answer({"recipe": str(recipe), "model": found.model, "frames": frames, "out": str(out)})
    else:
        _shared.say(
            f"{recipe.name} of {found.model}: {'1 picture' if frames == 1 else counted(frames, 'frame')} -> {out}"
        )
