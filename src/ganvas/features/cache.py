"""Features of reference data kept on the disk, so that sweeping ten samplers embeds the reference once."""

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor

from ganvas import arrays, dist, io
from ganvas.cache import cache_folder
from ganvas.data import Dataset
from ganvas.errors import GanvasError
from ganvas.features.base import Extractor, Features, embed
from ganvas.features.stats import MAX_DIM, Moments, moments

MOST_NUMBERS = 2**26
"""Of samples that are embedded at a time: an extractor may have several copies of them as floats."""
LONGEST_NAME = 40
"""Letters of the name of the data in a file's name, which may have 255 bytes with all else."""


def key(dataset: Dataset, extractor: Extractor) -> str:
    """What the features depend on: the data, the part of it, the network and the resizing."""
    digest = hashlib.sha256(f"{dataset.fingerprint} {extractor.id} {extractor.resize}".encode())
    if dataset.indices is not None:
        digest.update(dataset.indices.numpy().tobytes())
    return digest.hexdigest()[:24]


def path_of(dataset: Dataset, extractor: Extractor) -> Path:
    """Where its features are kept."""
    name = dataset.name[:LONGEST_NAME]  # of a folder it may be as long as a file's may be
    return cache_folder() / "features" / f"{name}-{key(dataset, extractor)}.safetensors"


def batches(dataset: Dataset, size: int, *, sharded: bool = False) -> Iterator[Tensor]:
    """All samples in order, fewer of large ones. `sharded`: those batches alone that are this process's part (`dist.shard`)."""
    size = arrays.fitting(math.prod(dataset.shape), MOST_NUMBERS, size)
    starts = range(0, len(dataset), size)
    for start in dist.shard(starts) if sharded else starts:
        yield dataset.take(torch.arange(start, min(start + size, len(dataset))))[0]


def _header(dataset: Dataset, extractor: Extractor) -> io.Json:
    return {
        "kind": "features", "data": dataset.name, "fingerprint": dataset.fingerprint, "extractor": extractor.id,
        "resize": extractor.resize, "n": len(dataset),
    }  # fmt: skip


def _fits(tensors: Mapping[str, Tensor], n: int) -> bool:
    """Whether a file of the cache holds what its name says."""
    features, logits = tensors.get("features"), tensors.get("logits")
    kept = [tensors.get(name) for name in ("mean", "cov")]
    for each, kind in (
        (features, torch.float32),
        (logits, torch.float32),
        *((k, torch.float64) for k in kept),
    ):
        if each is not None and (each.dtype != kind or not each.isfinite().all()):
            return False
    if features is None or features.ndim != 2 or len(features) != n:
        return False
    if logits is not None and (logits.ndim != 2 or len(logits) != n):
        return False
    d = features.shape[1]
    shapes = [None if each is None else tuple(each.shape) for each in kept]
    return shapes in ([None, None], [(d,), (d, d)])


def embed_dataset(
    dataset: Dataset, extractor: Extractor, *, batch: int = 256, advance: Callable[[int], None] | None = None
) -> Features:
    """Features of a data set: from the cache when they are there, else embedded.

    They are kept where the cache can be written. Several processes share the work (`dist.together`), all get
    the features, and rank 0 keeps them.
    """
    path, wanted = path_of(dataset, extractor), _header(dataset, extractor)
    tensors: dict[str, Tensor] = {}
    if extractor.cacheable and path.is_file():
        with suppress(GanvasError):  # a damaged file of the cache is made anew
            kept, said = io.load_tensors(path)
            ours = said.items() >= wanted.items() and _fits(kept, len(dataset))
            tensors = kept if ours else {}
    lacking = torch.tensor("features" not in tensors)
    if not dist.total(lacking):  # machines may have caches of their own
        if advance is not None:
            advance(len(dataset))
        logits, known = tensors.get("logits"), None
        if "cov" in tensors:
            known = Moments(len(dataset), tensors["mean"].numpy(), tensors["cov"].numpy())
        return Features(tensors["features"].numpy(), None if logits is None else logits.numpy(), known)
    found = embed(extractor, batches(dataset, batch, sharded=True), advance, sharded=True)
    if len(found.features) > 1 and found.features.shape[1] <= MAX_DIM:
        found = found._replace(moments=moments(found.features))
    if extractor.cacheable and dist.rank() == 0:
        tensors = {"features": torch.from_numpy(found.features)}
        if found.logits is not None:
            tensors["logits"] = torch.from_numpy(found.logits)
        if found.moments is not None:
            tensors |= {
                "mean": torch.from_numpy(found.moments.mean),
                "cov": torch.from_numpy(found.moments.cov),
            }
        # What cannot be kept is embedded again the next time; that is no reason to lose it now.
        with suppress(GanvasError), io.atomic(path) as temporary:
            io.save_tensors(temporary, tensors, wanted)
    return found
