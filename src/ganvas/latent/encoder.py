"""An encoder of a generator: from a picture to its point in one pass, trained on the generator's own samples."""

import math
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from ganvas import arrays, io
from ganvas.checkpoint import Checkpoint, rebuild, told_apart
from ganvas.device import seeded, stream
from ganvas.errors import GanvasError
from ganvas.latent.fit import Advance, fit
from ganvas.latent.invert import Inversion, Search, as_floats, choose, likeliest, scale_of
from ganvas.latent.paths import Perception, pyramid, rows_seen, smaller, told
from ganvas.latent.space import WIDE, LatentSpace
from ganvas.model import Model
from ganvas.networks.coded import Coded

POINTS = 128
"""Width of the layers that points are encoded by."""
NARROW = 128
"""Numbers that a point of a wide space is told from: a last layer of 65,536 takes two gigabytes to train."""


class Encoder(nn.Module):
    """Sample -> the point of a space that draws it: strided convolutions and a dense layer; of points dense layers alone.

    Large pictures are seen at a whole fraction of their size.
    """

    def __init__(self, space: LatentSpace, channels: int = 32) -> None:
        super().__init__()
        (inputs, *size), layers, width = space.model.shape, list[nn.Module](), channels
        oblong = len(size) == 2
        if oblong and max(few := smaller(space.model.shape)) > 1:
            layers += [nn.AvgPool2d(few)]
            size = [side // each for side, each in zip(size, few, strict=True)]
        if not size:
            layers += [
                nn.Linear(inputs, POINTS),
                nn.LeakyReLU(0.2),
                nn.Linear(POINTS, POINTS),
                nn.LeakyReLU(0.2),
            ]
            inputs = POINTS
        while size and min(size) > 4:
            fold = nn.Conv2d(inputs, width, 3, 2, 1) if oblong else nn.Conv1d(inputs, width, 3, 2, 1)
            norm = nn.BatchNorm2d(width) if oblong else nn.BatchNorm1d(width)
            layers += [fold, norm, nn.LeakyReLU(0.2)]
            inputs, width, size = width, min(256, 2 * width), [(side + 1) // 2 for side in size]
        layers, inputs = [*layers, nn.Flatten()], inputs * math.prod(size)
        if space.size > WIDE:
            layers, inputs = [*layers, nn.Linear(inputs, NARROW), nn.LeakyReLU(0.2)], NARROW
        self.layers = nn.Sequential(*layers, nn.Linear(inputs, space.size))
        self.shape = space.shape
        self.register_buffer("mean", space.mean.detach().clone())
        self.register_buffer("std", space.std.detach().clamp(min=1e-6).clone())

    def forward(self, images: Tensor) -> Tensor:
        found: Tensor = self.mean + self.layers(images).unflatten(1, self.shape) * self.std
        return found


def train_encoder(
    space: LatentSpace,
    steps: int = 1500,
    batch: int = 64,
    rate: float = 2e-3,
    seed: int = 0,
    path: Path | None = None,
    progress: Advance | None = None,
) -> Encoder:
    """An encoder trained on the generator's own samples: the points are known, so no data are needed (Zhu et al. 2016).

    With a path, the encoder is kept there and opened instead of being trained again; an interrupted training resumes.
    """
    steps, batch = arrays.count(steps, "steps"), arrays.count(batch, "batch", 2)
    rate = arrays.number(rate, "rate", above=0)
    with seeded(seed):
        encoder = Encoder(space).to(space.model.device)
    job = {"job": "encoder", "model": space.model.hash, "space": space.name, "steps": steps, "batch": batch,
           "rate": rate, "seed": seed, **told(space.model.shape)}  # fmt: skip
    if space.model.generator.num_classes > batch:
        job["classes"] = "all"  # those of before knew the first ones alone
    if space.size > WIDE:
        job["narrow"] = NARROW
    before, job = job, {**job, "key": space.model.key}
    if path is not None and path.is_file():
        tensors, header = io.load_tensors(path)
        # Those of before know a model by its weights alone.
        if not _is_of(header, job, before):
            raise GanvasError(
                f"{path} is no encoder of this model and space, or of other steps. Give another --encoder, or delete it."
            )
        rebuild(path, {}, lambda: encoder, tensors)
        return encoder.to(space.model.device).eval().requires_grad_(False)
    random = stream(seed, "encoder")

    def loss() -> Tensor:
        with torch.no_grad():
            labels = space.labels_of_batch(batch, random)
            points = space.sample(batch, random, labels)
            images = space.decode(points, labels)
        error: Tensor = (encoder(images) - points) / space.std.clamp(min=1e-6)
        return error.square().mean()

    def up_and_down(step: int) -> float:
        return rate * min(1.0, (step + 1) / (0.3 * steps), 1.4 * (steps - step) / steps)

    state = Checkpoint(path and path.with_suffix(".state.safetensors"), job)
    fit([("encoder", encoder)], loss, up_and_down, steps, random, state, progress)
    if path is not None:
        lost = path.is_file() and not _is_of(io.read_header(path), job)  # another command was as far
        own = told_apart(path, job) if lost else path
        with io.atomic(own) as temporary:
            io.save_tensors(temporary, encoder.state_dict(), {"kind": "encoder", "job": job})
        state.done()
        if lost:
            raise GanvasError(
                f"{path} has been written by another command meanwhile, and is another encoder. This one is kept in {own}. Give "
                f"the same command again, with --encoder {own}: it is not trained again."
            )
    return encoder.requires_grad_(False)


def _is_of(header: io.Json, *jobs: io.Json) -> bool:
    """Whether a file is the encoder of one of these."""
    return header.get("kind") == "encoder" and header.get("job") in jobs


@torch.no_grad()
def encode(
    space: LatentSpace,
    encoder: Encoder,
    targets: Tensor,
    see: Perception = pyramid,
    labels: Tensor | None = None,
) -> Inversion:
    """One pass of the encoder, no optimisation. `labels` (n,) are the classes of the targets, found where nobody says."""
    wanted = as_floats(space, targets)
    parts = wanted.split(rows_seen(space))  # the first layer of 64 pictures of 1,024 px takes 8 GB
    points, seen = torch.cat([encoder(part) for part in parts]), see(wanted)
    search = Search(space, seen, None, None, see, scale_of(space, see))
    search = replace(
        search, labels=likeliest(search, points) if labels is None else space.labels(len(points), labels)
    )
    return choose(search, points, search.error(points), len(points), 1)


def has_encoder(model: Model) -> bool:
    """Whether it came with an encoder that leads to its z."""
    maker = model.generator.maker if isinstance(model.generator, Coded) else None
    return model.encoder is not None and maker is None


@torch.no_grad()
def own_encoder(space: LatentSpace, targets: Tensor, see: Perception = pyramid) -> Inversion:
    """One pass of the encoder that an autoencoder came with: to z, and on to the points of the space."""
    wanted = as_floats(space, targets)
    points = space.of(space.model.encode(wanted))
    search = Search(space, see(wanted), None, None, see, scale_of(space, see))
    return choose(search, points, search.error(points), len(points), 1)
