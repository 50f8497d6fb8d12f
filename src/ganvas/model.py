"""A trained generator, ready to draw: what `ganvas.load` returns."""

import hashlib
import json
import math
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

import torch
from torch import Tensor, nn

from ganvas import arrays, dist, io, networks, notebook, pictures
from ganvas.checkpoint import DIGITS, hash_of
from ganvas.config import Config, DataConfig, NetworkConfig, Resize, to_dict
from ganvas.device import check_defaults, stream
from ganvas.effort import check_effort, largest_result, without_dynamo
from ganvas.errors import PATH, GanvasError, brief, counted, expect
from ganvas.graph import Replay
from ganvas.lazy import lazy
from ganvas.networks.base import CriticBase, GeneratorBase, to_prior
from ganvas.networks.coded import Coded, bare, mean_codes
from ganvas.networks.projected import guide_of
from ganvas.networks.series import ChunkedGenerator
from ganvas.series import Schema, Series
from ganvas.types import Guarantee

MOST_SIDE = 2**16
MOST_VALUES = 2**26
"""Numbers in one sample that a file may claim: 4,700 px in colour."""
CRITIC, ENCODER = "critic.", "encoder."
"""Begin the names of the critic's and the encoder's tensors in a file that holds them beside the generator's."""
SHOWN = 16
"""Samples that a notebook shows."""
SHOWN_VALUES = SHOWN * 3 * 64 * 64
"""Numbers in them at most, so that nobody waits for a cell."""
KNOWLEDGE = ("kimg", "privacy", "audit")
"""What a file says of a model that changes nothing of what it draws."""
BLOCK = 256
"""Latents are drawn so many at a time, each block from a stream of its own: any of them is a block away."""


def draw_prior(prior: str, n: int, size: int, generator: torch.Generator) -> Tensor:
    """`normal`: standard normal; `uniform`: in [-1, 1]; `sphere`: of length sqrt(size). (n, size) on the CPU."""
    if prior == "uniform":
        return torch.rand(n, size, generator=generator) * 2 - 1
    return to_prior(prior, torch.randn(n, size, generator=generator))


ROWS = 16
"""Batches are whole multiples of so many rows: kernels for fewer add up in another order, and pixels round differently."""
LARGE = 3 * 128 * 128
"""Numbers of a sample above which memory may not hold `ROWS` of them: fewer are drawn at a time where that is asked for."""
BATCH = 256
"""Samples that are drawn at a time where nobody says another number; of large ones as many as these have numbers."""
MOST_BEFORE = 64
"""Data that a model's file names of what was learned from before its own."""
AT_ONCE = 2**24
"""Numbers in the largest result of a layer on the CPU, 64 MiB: more samples at a time take memory, and are no faster."""


class Learned(NamedTuple):
    """A part of data that weights have learned from."""

    fingerprint: str
    holdout: float
    fold: int
    """Which part they have not."""
    places: tuple[str, ...] = ()
    """Marks of where they lay (`ganvas.data.origin.marks`): they tell what has changed since, or came without a fingerprint."""


@dataclass(frozen=True)
class DataReference:
    """What a model was trained on, by its own word."""

    config: DataConfig
    """Where the data come from, and how they were cut."""
    name: str = ""
    """For people, and for what is bundled for known sets; empty in files of before that do not say."""
    fingerprint: str = ""
    """Of what was in them."""
    mark: str = ""
    """Tells `ganvas.data.origin` that this user trained on them; of no meaning in anybody else's file."""
    before: tuple[Learned, ...] = ()
    """What the models had learned from that its training began with, one after the other, as far as they say it."""


def _learned(row: Sequence[Any]) -> Learned:
    """Of a header; files of before say no places."""
    mark, holdout, fold, *places = row
    return Learned(mark, holdout, fold, tuple(places[0]) if places else ())


class Audited(NamedTuple):
    """What `ganvas audit` found, as the file of a model holds it."""

    samples: int
    """That were drawn."""
    attacks: Mapping[str, tuple[float, float, float]]
    """Name -> AUC and its interval of 95 %."""
    suspects: int
    """Training samples said to be reproduced."""

    def __str__(self) -> str:
        name = max(self.attacks, key=lambda each: self.attacks[each][0])
        auc, low, high = self.attacks[name]
        copies = f"{self.suspects:,} suspected copies" if self.suspects else "no copy found"
        return f"the best attack, {name}, has an AUC of {auc:.3f} ({low:.3f} to {high:.3f}); {copies}"


@dataclass(frozen=True)
class ModelInfo:
    """What is known of a model. What nobody knows is None, and whatever needs it says so."""

    name: str
    """The family of the networks, or the class of a module that ganvas did not make."""
    shape: tuple[int, ...]
    """(C, H, W) of an image, (C, T) of a series or (D,) of a point."""
    latent_dim: int
    num_classes: int = 0
    """That the generator takes labels of; 0: none."""
    prior: str = "normal"
    """What z is drawn from, as of `GeneratorBase`."""
    value_range: tuple[float, float] = (-1.0, 1.0)
    """Black and white of what the generator draws."""
    class_names: tuple[str, ...] | None = None
    """Of the data, whether the generator takes labels or not; empty where they have no classes."""
    kimg: float | None = None
    """Thousands of images that it was trained with."""
    data: DataReference | None = None
    architecture: NetworkConfig | None = None
    """What the generator can be built from, and so be kept in a file."""
    training: Config | None = None
    """The whole config of its run."""
    notes: tuple[str, ...] = ()
    """What was found out about a wrapped module or another toolkit's file, and done to it."""
    source: str = ""
    """The toolkit that made it; empty for ganvas' own and for wrapped modules."""
    privacy: Guarantee | None = None
    """What bounds its knowledge of any one training sample, by its file's word; None: nothing that is known."""
    audit: Audited | None = None
    """What an audit found, by its file's word; None: none that is known."""
    series: Schema | None = None
    """What the channels of its series are; None for other samples, and where nobody knows."""

    @classmethod
    def of(cls, generator: GeneratorBase, name: str, **known: Any) -> "ModelInfo":
        """What a generator says of itself, and what else is `known`, by field."""
        return cls(
            name,
            tuple(generator.shape),
            generator.latent_dim,
            generator.num_classes,
            generator.prior,
            generator.value_range,
            **known,
        )

    @classmethod
    def of_run(cls, generator: GeneratorBase, config: Config, header: Mapping[str, Any]) -> "ModelInfo":
        """Of a run's generator: its config, and `kimg`, `class_names` and `data` of its files' header."""
        about, kimg, names = header.get("data") or {}, header.get("kimg"), header.get("class_names")
        said = {key: about.get(key) for key in ("name", "fingerprint", "mark")}
        words = {key: word if isinstance(word, str) else "" for key, word in said.items()}
        notes, before = header.get("notes", []), tuple(map(_learned, about.get("before", [])))
        return cls.of(
            generator,
            config.network.name,
            notes=tuple(notes),
            source=header.get("source", ""),
            privacy=header.get("privacy"),
            audit=header.get("audit"),
            class_names=None if names is None else tuple(names),
            kimg=None if kimg is None else float(kimg),
            data=DataReference(config.data, **words, before=before) if config.data.source else None,
            architecture=config.network,
            training=config,
            series=header.get("series"),
        )

    @property
    def guide(self) -> str:
        """The extractor that guided its training, and so must not judge it; empty: none is known to have."""
        return guide_of(self.architecture)

    @property
    def resize(self) -> Resize | None:
        """How its own data were brought to its size, and others are; None: not known, or not needed."""
        return None if self.data is None else self.data.config.resize

    @property
    def white(self) -> float | None:
        """What is white in grey pictures of more than 8 bits, as in its own data; None: not known, or they have none."""
        return None if self.data is None else self.data.config.white

    def changed(self) -> "ModelInfo":
        """Of a generator that has been changed by pictures since: nothing bounds what it knows of them, and nobody audited it."""
        return replace(self, privacy=None, audit=None)

    def header(self) -> io.Json:
        """What a file of the generator says beside its weights; what is not known is left out."""
        found: io.Json = {"kind": "generator", "shape": list(self.shape), "num_classes": self.num_classes}
        if self.training is not None:
            found["config"] = to_dict(self.training)
        elif self.architecture is not None:  # a part of a config: no run stands behind it
            found["config"] = {"network": to_dict(self.architecture)}
            found["config"] |= {} if self.data is None else {"data": to_dict(self.data.config)}
        if self.source:
            found |= {"source": self.source, "notes": list(self.notes)}
        if self.privacy is not None:
            found["privacy"] = self.privacy._asdict()
        if self.audit is not None:
            attacks = {name: list(figures) for name, figures in self.audit.attacks.items()}
            found["audit"] = {**self.audit._asdict(), "attacks": attacks}
        if self.kimg is not None:
            found["kimg"] = self.kimg
        if self.class_names is not None:
            found["class_names"] = list(self.class_names)
        if self.series is not None:
            found["series"] = to_dict(self.series)
        if self.data is not None:
            about = {"name": self.data.name, "fingerprint": self.data.fingerprint, "mark": self.data.mark}
            found["data"] = {name: value for name, value in about.items() if value}
            if self.data.before:
                found["data"]["before"] = [[*each[:3], [*each.places]] for each in self.data.before]
        return found


_known: "WeakValueDictionary[str, Model]" = WeakValueDictionary()


def known(mark: str) -> "Model | None":
    """The model of a hash, the first in use whose hash was asked for: what lives in a model holds its hash alone."""
    return _known.get(mark)


@dataclass(repr=False)
class Model:
    """A generator (the EMA one of a run), its critic when there is one, and where they come from."""

    generator: GeneratorBase
    critic: CriticBase | None
    info: ModelInfo
    path: Path | None = None
    """The generator's file."""
    encoder: CriticBase | None = None
    """Of an autoencoder: its `answer(x).codes` begin with the codes (B, D) of samples in the generator's range."""

    @classmethod
    def of_run(
        cls, generator: GeneratorBase, critic: CriticBase | None, config: Config, header: Mapping[str, Any],
        path: Path | None = None,
    ) -> "Model":  # fmt: skip
        """The networks of a run, as its config and the header of its files describe them."""
        return cls(generator, critic, ModelInfo.of_run(generator, config, header), path)

    @property
    def config(self) -> Config | None:
        """How it was trained; None where that is not known."""
        return self.info.training

    @property
    def shape(self) -> tuple[int, ...]:
        """(C, H, W) of an image, (C, T) of a series or (D,) of a point."""
        return self.generator.shape

    @property
    def latent_dim(self) -> int:
        """Length of z."""
        return self.generator.latent_dim

    @lazy
    def _weights(self) -> str:
        return hash_of(self.generator)

    @property
    def hash(self) -> str:
        """Sixteen digits of the SHA-256 of the generator's weights, which stay as they are (counted once), and of its settings
        where they are not the usual ones.
        """
        found, usual = self._weights, self.generator.settings
        changed = {name: getattr(self.generator, name) for name in usual}
        if changed != usual:
            found = hashlib.sha256(f"{found} {sorted(changed.items())}".encode()).hexdigest()[:DIGITS]
        _known.setdefault(found, self)  # the explorer makes others of it, of smaller pictures
        return found

    @property
    def key(self) -> str:
        """What the user's cache knows it by: `hash`, and all that its file says of what is drawn and how that is measured.

        Of the same weights anybody can make a file with other options of the networks, other data or other names.
        """
        said = {name: each for name, each in self.info.header().items() if name not in KNOWLEDGE}
        config = said.get("config", {})
        said["config"] = {name: config.get(name) for name in ("network", "data")}
        said |= {"prior": self.generator.prior, "range": list(self.generator.value_range)}
        if tuple(self.shape) != tuple(self.info.shape):  # of another length than it was trained for
            said["drawn"] = list(self.shape)
        told = f"{self.hash} {json.dumps(said, sort_keys=True)}"
        return hashlib.sha256(told.encode()).hexdigest()[:DIGITS]

    @property
    def is_packaged(self) -> bool:
        """Whether it came with ganvas."""
        return self.path is not None and PACKAGED in self.path.resolve().parents

    @property
    def place(self) -> str:
        """What `load` opens it by: a name or a file; empty for a module of your own."""
        if self.path is not None and self.is_packaged:
            return self.path.parent.name
        return str(self.path or "")

    @property
    def device(self) -> torch.device:
        """Where the generator lives."""
        return next(chain(self.generator.parameters(), self.generator.buffers()), torch.empty(0)).device

    @lazy
    def at_once(self) -> int:
        """How many samples are drawn at a time where nobody says another number: on the CPU as its largest layer has room for.

        A generator of grey pictures may have 32 maps of their size.
        """
        usual = _usual_batch(self.shape)
        # A module that somebody wrapped may decide from call to call what it does: it is not called for this.
        if self.info.architecture is None or self.device.type != "cpu" or usual <= ROWS:
            return usual
        with torch.inference_mode():
            widest = largest_result(lambda: self.generator(self.latents(1), self.labels(1)))
        return min(usual, max(ROWS, AT_ONCE // widest // ROWS * ROWS))

    @lazy
    def encoded_at_once(self) -> int:
        """How many samples are encoded, and drawn again, at a time where nobody says another number: as `at_once`."""
        usual = _usual_batch(self.shape)
        if self.info.architecture is None or self.device.type != "cpu":
            return usual
        widest = largest_result(lambda: self.reconstruct(torch.zeros(1, *self.shape), 1))
        return min(usual, max(1, AT_ONCE // widest))

    def latents(self, n: int, seed: int = 0) -> Tensor:
        """The first n latents (n, latent_dim) of the generator's prior for a seed."""
        return self.latents_at(range(n), seed)

    def latents_at(self, numbers: Sequence[int], seed: int = 0) -> Tensor:
        """The latents of some samples, by number from 0 (k, latent_dim), drawn on the CPU so that every device agrees.

        Each depends on its number and the seed alone, and costs a block of `BLOCK` wherever it is.
        """
        check_defaults()
        rows = _numbers(numbers)
        found = torch.empty(len(rows), self.latent_dim)
        if len(rows) and rows.min() < 0:
            raise GanvasError(f"Samples are numbered from 0, got {int(rows.min())}.")
        order = rows.argsort()
        blocks, counts = (rows[order] // BLOCK).unique_consecutive(return_counts=True)
        for block, here in zip(blocks.tolist(), order.split(counts.tolist()), strict=True):
            random = stream(seed, f"latents {block}" if block else "latents")
            drawn = draw_prior(self.generator.prior, BLOCK, self.latent_dim, random)
            found[here] = drawn[rows[here] % BLOCK]
        return found

    @torch.inference_mode()
    def sample(
        self, n: int = 64, *, seed: int = 0, labels: Sequence[int] | Tensor | None = None, batch: int | None = None,
        first: int = 0,
    ) -> Tensor:  # fmt: skip
        """Draw n samples: uint8 images (n, C, H, W), or float points (n, D) for 2-D data.

        Sample i depends on the seed and on i alone, not on n nor on `batch`, which is rounded to whole multiples of 16. Only
        images above 128 px are drawn fewer at a time where `batch` is below 16, since memory may be short: there a pixel may
        differ by 1 of 255. `batch` is `at_once`: up to 256 for images up to 128 px, 64 at 256 px, 4 at 1024 px. `first` is the
        number of the first. `labels` are class numbers, repeated to length n; a conditional generator without labels cycles
        through its classes.
        """
        samples, done = torch.empty(0), 0
        for drawn in self.batches(n, seed=seed, labels=labels, batch=batch, first=first):
            # One piece of memory: of all batches and their whole there would be two.
            samples = samples if done else torch.empty(n, *drawn.shape[1:], dtype=drawn.dtype)
            samples[done : done + len(drawn)] = drawn.cpu()
            done += len(drawn)
        return samples

    @torch.inference_mode()
    def batches(
        self, n: int, *, seed: int = 0, labels: Sequence[int] | Tensor | None = None, batch: int | None = None,
        first: int = 0, sharded: bool = False,
    ) -> Iterator[Tensor]:  # fmt: skip
        """The samples of `sample`, batch by batch, where the generator lives: memory does not grow with n.

        `sharded`: those batches alone that this process draws of several (`dist.shard`).
        """
        n, batch, first = (
            arrays.count(n, "The number of samples"),
            self.at_once
            if batch is None
            else max(arrays.count(batch, "batch"), ROWS if math.prod(self.shape) <= LARGE else 1),
            arrays.count(first, "first", 0, 2**53),
        )
        wanted = None if labels is None else self._classes(labels)
        if sharded and dist.spread():
            dist.check_alike("models", weights=self.hash, n=n, seed=seed, first=first, labels=wanted)
        batch -= batch % ROWS if batch >= ROWS else 0
        starts = range(0, n, batch)
        # A module that somebody wrapped may decide from call to call what it does.
        draw = self.generator if self.info.architecture is None else Replay(self.generator)
        for start in dist.shard(starts) if sharded else starts:
            count = min(batch, n - start)
            # The last rows are repeated until the batch is whole, and cut off again.
            rows = start + torch.arange(min(batch, -(-count // ROWS) * ROWS)).clamp(max=count - 1)
            numbers = (first + rows).tolist()
            chosen = self.labels_at(numbers) if wanted is None else wanted[rows % len(wanted)]
            z = self.latents_at(numbers, seed).to(self.device)
            drawn = draw(z, None if chosen is None else chosen.to(self.device))
            yield self.to_data(drawn[:count])

    def labels_at(self, numbers: Sequence[int]) -> Tensor | None:
        """The classes that samples have by their number: each in turn (k,); None without classes."""
        classes = self.generator.num_classes
        return _numbers(numbers) % classes if classes else None

    def encode(self, samples: arrays.Array, batch: int | None = None) -> Tensor:
        """The z (n, latent_dim) of samples as `codes` takes them: what the generator draws their reconstructions from.

        Raises `GanvasError` for a model without an encoder.
        """
        codes = self.codes(samples, batch)
        with torch.no_grad():
            return self.generator.back(codes) if isinstance(self.generator, Coded) else codes

    @torch.no_grad()
    def codes(self, samples: arrays.Array, batch: int | None = None) -> Tensor:
        """What the encoder gives of samples (n, D), of a posterior the mean: uint8 images (n, C, H, W), floats in the generator's
        range, or points (n, D).

        Raises `GanvasError` for a model without an encoder.
        """
        check_defaults()
        if self.encoder is None:
            raise GanvasError(
                f"This model ({self.info.name}) has no encoder: it is no autoencoder. Train one: ganvas train DATA --method vae. "
                "ganvas invert finds latents of pictures and series without one."
            )
        samples = arrays.as_tensor(samples, "samples")
        self.check_shape(samples, "samples")
        if len(self.shape) == 3 and samples.dtype != torch.uint8 and not samples.is_floating_point():
            kind = str(samples.dtype).removeprefix("torch.")
            raise GanvasError(
                f"samples are {kind}; give uint8 images (whole numbers from 0 to 255: x.astype('uint8')), or floats within "
                f"{self.generator.value_range}."
            )
        size, found = bare(self.generator).latent_dim, []
        batch = self.encoded_at_once if batch is None else arrays.count(batch, "batch")
        for part in samples.split(batch):
            x = part.to(self.device)
            x = networks.from_uint8(x, self.generator.value_range) if x.dtype == torch.uint8 else x.float()
            found.append(mean_codes(self.encoder, x, size))
        return torch.cat(found) if found else torch.empty(0, size, device=self.device)

    @torch.no_grad()
    def reconstruct(self, samples: arrays.Array, batch: int | None = None) -> Tensor:
        """Samples as `encode` takes them -> what the generator draws of their codes, as `sample` gives it."""
        batch = self.encoded_at_once if batch is None else arrays.count(batch, "batch")
        parts = arrays.as_tensor(samples, "samples").split(batch)
        drawn = [self.to_data(self.generator(self.encode(part, batch), None)).cpu() for part in parts]
        return torch.cat(drawn) if drawn else torch.empty(0, *self.shape)

    def series(
        self,
        n: int = 64,
        *,
        length: int | None = None,
        seed: int = 0,
        labels: Sequence[int] | Tensor | None = None,
    ) -> Series:
        """Draw n series in their own units, of `length` steps where the network can go on: values (n, T, D), lengths (n,).

        Sample i is the one that `sample` draws. Raises `GanvasError` for a model of other samples.
        """
        model = self if length is None else self.over(length)
        drawn = model.sample(n, seed=seed, labels=labels)
        return self.decode(drawn)

    def decode(self, samples: Tensor) -> Series:
        """Series (n, C, T) that the model has drawn, in their own units."""
        if self.info.series is None:
            raise GanvasError(
                f"This model ({self.info.name}) does not say what its samples {tuple(self.shape)} stand for."
            )
        return self.info.series.decode(samples)

    def over(self, steps: int) -> "Model":
        """This model of series of another length than trained. Raises `GanvasError` where there is no such thing."""
        steps = arrays.count(steps, "length", 1, MOST_SIDE)
        if steps == self.shape[-1] and len(self.shape) == 2:
            return self
        if not isinstance(self.generator, ChunkedGenerator):
            raise GanvasError(
                f"This model ({self.info.name}) draws samples {tuple(self.shape)} and no others. Other lengths are drawn by the "
                "networks recurrent, tcn, transformer-small and timegan."
            )
        return replace(self, generator=self.generator.over(steps), critic=None)

    def check_length(self) -> None:
        """Raise `GanvasError` for a model by `over`: a file of it opens at the trained length."""
        own = tuple(self.info.shape)
        if tuple(self.shape) != own:
            raise GanvasError(
                f"This model draws {tuple(self.shape)}, and a file of it would draw {own} again, as it was trained to. "
                "Save the model that was opened, and ask for another length when you draw: model.over(steps), --length."
            )

    def check_shape(self, samples: Tensor, what: str) -> None:
        """Raise `GanvasError` unless samples (n, ...) are of the shape that the model draws; `what` names them."""
        if tuple(samples.shape[1:]) != tuple(self.shape):
            raise GanvasError(
                f"The model draws {tuple(self.shape)}, the {what} are {tuple(samples.shape[1:])}."
            )

    def to_data(self, drawn: Tensor) -> Tensor:
        """What the generator draws -> uint8 images; points stay as they are.

        Raises `GanvasError` for what is no number: as an image it would be black, in a series missing.
        """
        if not bool(drawn.isfinite().all()):
            raise GanvasError(
                f"This model ({self.info.name}) draws NaN or infinity here: its weights or what they are given are too large for "
                f"{str(drawn.dtype).removeprefix('torch.')}. Use another snapshot, or less truncation and smaller strengths."
            )
        return networks.to_uint8(drawn, self.generator.value_range) if len(self.shape) == 3 else drawn

    def shown(self, samples: Tensor) -> Tensor:
        """Samples (n, ...) as pictures for a sheet, uint8: images as they are, series as small curves."""
        return pictures.shown(samples, self.info.series)

    def save(self, path: str | os.PathLike[str], *, critic: bool = False) -> None:
        """Write the generator, its encoder where there is one, and with `critic` the critic, as one .safetensors file that `load`
        opens.

        Raises `GanvasError` for a generator that it could not.
        """
        if self.info.architecture is None:
            wrapped = "module" in dict(self.generator.named_children())
            held = "model.generator.module" if wrapped else "model.generator"
            raise GanvasError(
                f"This model is {self.info.name}, a module of your own: a file of it could not be opened "
                f"without its code. Keep its weights, safetensors.torch.save_model({held}, path), and wrap it "
                "again."
            )
        self.check_length()
        expect(path, PATH, "path", "the name of a .safetensors file")
        path = Path(path)
        if path.suffix != ".safetensors":
            raise GanvasError(f"A model is written as .safetensors, got {path.name!r}.")
        _check_opens(path, self.info)
        tensors, header = self.generator.state_dict(), self.info.header()
        if names := self.generator.settings:
            header["settings"] = {name: getattr(self.generator, name) for name in names}
        if critic and self.critic is not None:
            tensors |= {f"{CRITIC}{name}": tensor for name, tensor in self.critic.state_dict().items()}
            header["with_critic"] = True
        if self.encoder is not None:
            tensors |= {f"{ENCODER}{name}": tensor for name, tensor in self.encoder.state_dict().items()}
            header["with_encoder"] = True
        with io.atomic(path) as temporary:
            io.save_tensors(temporary, tensors, header)

    def __repr__(self) -> str:
        """One line: what it draws, from what, and where it comes from."""
        count = self.generator.num_classes
        classes = f", {counted(count, 'class', 'classes')}" if count else ""
        trained = f", {self.info.kimg:g} kimg" if self.info.kimg else ""
        source = f", {self.info.source}" if self.info.source else ""
        source += f", {self.place}" if self.path else ""
        critic = ", with its critic" if self.critic is not None else ""
        critic += ", with its encoder" if self.encoder is not None else ""
        notes = "".join(f"; {note}" for note in self.info.notes)
        notes += f"; private, {self.info.privacy}" if self.info.privacy else ""
        drawn = f"{self.info.name}: z {self.latent_dim} -> {self.shape}"
        return f"Model({drawn}{classes}{trained}{critic}{source}{notes})"

    def _repr_html_(self) -> str:
        """What a notebook shows: the first samples, fewer of large ones."""
        parts = [notebook.line(repr(self))]
        if len(self.shape) > 1 and self.info.prior != networks.UNKNOWN:
            count = max(1, min(SHOWN, SHOWN_VALUES // math.prod(self.shape)))
            drawn = pictures.grid(self.shown(self.sample(count)), columns=min(count, SHOWN // 2))
            parts.append(notebook.picture(drawn, "samples"))
        return notebook.card(self.info.name, *parts)

    def labels(self, n: int, labels: Sequence[int] | Tensor | None = None) -> Tensor | None:
        """Class numbers (n,) for `sample`: those given, repeated; all classes in turn; None without classes."""
        if labels is None:
            return self.labels_at(range(n))
        wanted = self._classes(labels)
        return wanted.repeat(-(-n // len(wanted)))[:n]

    def _classes(self, labels: Sequence[int] | Tensor) -> Tensor:
        """Class numbers (k,) that the generator can draw. Raises `GanvasError` for others."""
        classes = self.generator.num_classes
        if classes == 0:
            raise GanvasError(
                "This generator was trained without labels, so it cannot draw chosen classes. "
                "Train with --conditional, or omit --labels."
            )
        wanted = _whole_numbers(labels)
        if len(wanted) == 0 or wanted.min() < 0 or wanted.max() >= classes:
            said = wanted.tolist() if len(wanted) < 20 else f"{int(wanted.min())} to {int(wanted.max())}"
            raise GanvasError(f"Labels must be whole numbers from 0 to {classes - 1}, got {said}.")
        return wanted


def all_over(n: int, classes: int) -> list[int]:
    """Numbers of n samples, whose classes are in turn: the first ones; of more classes than n some from all over, shuffled.

    Names of classes are sorted, and neighbours alike: the first 128 of ImageNet are fish and birds.
    """
    if classes <= n:
        return list(range(n))
    order = torch.randperm(n, generator=stream(0, "classes"))
    return (order * classes // n).tolist()


def _numbers(numbers: Any) -> Tensor:
    """Numbers of samples (k,). Raises `GanvasError` for fractions and masks, of which torch would make other numbers."""
    try:
        found = torch.as_tensor(numbers)
        if found.numel() and (found.is_floating_point() or found.is_complex() or found.dtype == torch.bool):
            raise TypeError
        return found.reshape(-1).long().cpu()
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise GanvasError(f"numbers is {brief(numbers)}; samples are numbered from 0, say [0, 7].") from error


def _whole_numbers(labels: Any) -> Tensor:
    """Class numbers (n,) of whatever holds some. Raises `GanvasError` for soft or one-hot ones, which name no class."""
    found = labels.detach() if isinstance(labels, Tensor) else arrays.as_tensor(labels, "labels")
    if found.dim() > 1 and found.shape[-1] > 1:
        raise GanvasError(
            f"Labels must be class numbers (n,), got shape {tuple(found.shape)}. One-hot or soft labels: labels.argmax(1)"
        )
    if found.numel() and (found.is_floating_point() or found.is_complex() or found.dtype == torch.bool):
        kind = str(found.dtype).removeprefix("torch.")
        raise GanvasError(
            f"Labels must be whole numbers, got {kind}. Numbers without a fraction: labels.long()"
        )
    return found.long().reshape(-1)


def save_network(
    path: Path, network: nn.Module, config: Config, header: io.Json, dtype: torch.dtype | None = None
) -> None:
    """Write one network with the config in its header; use inside `io.atomic`. `dtype` rounds its numbers."""
    tensors = {
        name: t.to(dtype) if dtype and t.is_floating_point() else t
        for name, t in network.state_dict().items()
    }
    io.save_tensors(path, tensors, {"config": to_dict(config), **header})


PACKAGED = Path(__file__).with_name("models")
"""Trained models that come with ganvas, one folder each: `ganvas.load("fashion")`."""
PACKAGED_LICENSE = "Apache-2.0"


def packaged() -> dict[str, str]:
    """Name -> line of description of the models that come with ganvas."""
    return {
        path.parent.name: path.read_text(encoding="utf-8").split("\n")[0].lstrip("# ")
        for path in sorted(PACKAGED.glob("*/README.md"))
    }


def is_packaged(path: Path) -> bool:
    """Whether this is the name of a packaged model and of no file here."""
    return not path.exists() and path.name == str(path) and path.name in packaged()


def _usual_batch(shape: Sequence[int]) -> int:
    """How many samples of a shape are drawn at once where nobody says it."""
    return max(1, BATCH * LARGE // max(math.prod(shape), LARGE))


def least_batch(shape: Sequence[int]) -> int:
    """How many samples are drawn at once at the least."""
    return min(ROWS, _usual_batch(shape))


def run_once(network: nn.Module) -> None:
    """Run a network that lies on torch's meta device on one sample."""
    if not isinstance(network, GeneratorBase | CriticBase):
        return
    count = network.pack if isinstance(network, CriticBase) else 1
    labels = torch.empty(count, dtype=torch.long, device="meta") if network.num_classes else None
    if isinstance(network, GeneratorBase):
        network(torch.empty(1, network.latent_dim, device="meta"), labels)
    else:
        channels, *sides = network.shape
        network(torch.empty(count, channels // network.pack, *sides, device="meta"), labels)


def _check_opens(path: Path, info: ModelInfo) -> None:
    """Raise `GanvasError` for a side of another toolkit's decoder at which a file of it would be refused."""
    network = info.architecture
    if network is not None and network.name in networks.opened_only:
        what = f"{path} would not open again, draw pictures of another size (--side)"
        check_opens(what, network, info.shape, info.num_classes)


def check_opens(what: str, network: NetworkConfig, shape: Sequence[int], num_classes: int) -> None:
    """Raise `GanvasError`, which `what` begins, where a file of these networks would be refused for what it takes to run them."""
    for build in (networks.build_generator, networks.build_critic):  # or a decoder and its encoder
        with without_dynamo(), torch.device("meta"), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            built: nn.Module = build(network, tuple(shape), num_classes)
        check_effort(what, built, partial(run_once, built), least_batch(shape))
