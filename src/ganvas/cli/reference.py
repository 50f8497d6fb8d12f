"""`ganvas reference`"""

from typing import Annotated, Literal

import tyro

from ganvas.cli import _shared


def run(
    data: Annotated[str, tyro.conf.Positional],
    *,
    extractor: str = "auto",
    batch: int = 256,
    device: str = "auto",
    resolution: int | None = None,
    resize: Literal["crop", "fit", "stretch"] | None = None,
    height: int | None = None,
    alpha: bool = False,
    json: bool = False,
) -> None:
    """Embed real data once and keep the features; `ganvas eval` then never decodes them again.

    Args:
        data: A name from `ganvas list datasets`, a folder or .zip of images, an array.
        extractor: auto, a name from `ganvas list extractors`, or a file of `ganvas extractor train`.
        batch: Images embedded at a time, of large ones as many as there is room for.
        device: auto, cpu, cuda or mps.
        resolution: Side of the images in pixels: that of the models to be measured.
        resize: How images of other sizes get there.
        height: Height of images that are not square; --resolution is then their width.
        alpha: Keep transparent parts as a fourth channel; else they become white.
        json: Print the outcome as JSON.
    """

    from ganvas.config import DataConfig
    from ganvas.data import load_dataset
    from ganvas.features import open_extractor
    from ganvas.features.cache import path_of
    from ganvas.metrics import embed_reference
    from ganvas.types import counted_samples

    dataset = load_dataset(DataConfig(data, resolution, resize, height=height, alpha=alpha))
    with _shared.together(device) as (here, first), _shared.progress() as tell:
        chosen = open_extractor(extractor, dataset, here)
        path = path_of(dataset.split(0.1)[0], chosen)
        _shared.outputs(path)
        sizes = embed_reference(dataset, chosen, batch=batch, progress=tell)
    if not first:
        return
    if json:
        _shared.answer(
            {"extractor": chosen.id, "reference": sizes[0], "held_out": sizes[1], "path": str(path)}
        )
        return
    _shared.say(
        f"{dataset.name}: {counted_samples(sizes[0], dataset.shape)} and {sizes[1]:,} held out, features {chosen.id} -> {path}"
    )
