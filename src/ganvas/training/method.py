"""What a training method is. The loop, the state, the display, the report and the monitor know no more than this.

A method names its networks and optimisers, takes a step and says what is written of it. `training.gan` is the game of a
generator and a critic; docs/extending/method.md adds one of one's own.
"""

import abc
import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from ganvas import dist
from ganvas.config import Config
from ganvas.data import Dataset
from ganvas.errors import GanvasError
from ganvas.networks import GeneratorBase, from_uint8
from ganvas.registry import Registry, did_you_mean
from ganvas.training.engine import Engine
from ganvas.types import Batch, Kind, Shape, kind_of

NextBatch = Callable[[str], Batch]
"""The name of a stream -> its next samples and labels."""


@dataclass(frozen=True)
class DataSpec:
    """What the samples of a training are."""

    shape: Shape
    num_classes: int = 0
    count: int = 0
    """How many samples are trained on; 0: not known yet."""

    @property
    def kind(self) -> Kind:
        """Images (C, H, W) come as uint8, series (C, T) and points (D,) as floats."""
        return kind_of(self.shape)


class Probe(NamedTuple):
    """What the monitor looks at between steps. It changes nothing of it."""

    generator: GeneratorBase
    """Draws as it trains now."""
    average: GeneratorBase | None
    """Its running average, when there is one."""
    critic: Callable[[Tensor, Tensor | None], Tensor] | None
    """Samples (B, ...) and labels -> logits; None where no network judges samples."""
    networks: Mapping[str, nn.Module]
    """Whose gradient norms are worth a line."""
    pack: int = 1
    """Samples that one logit judges."""
    augment_p: Tensor | None = None
    """Probability of the augmentations, when there are some."""
    learn: Callable[[Tensor], None] | None = None
    """Training samples (B, ...) in the generator's range: what it draws from is fitted to them first."""
    signals: Callable[[Tensor], Mapping[str, float]] | None = None
    """Held-out samples (B, ...) in the generator's range -> what else is worth a line, with the networks in evaluation mode."""
    begun: bool = True
    """Whether the generator has begun to learn: before that gradients alone say anything."""


class Method(abc.ABC):
    """One way to train. A step has two halves: `prepare`, on the host, and `play`, on the device.

    Raises `GanvasError` from `check` for a config that does not suit it.
    """

    streams: ClassVar[tuple[str, ...]] = ("data",)
    """Where batches come from. With several, stream i holds the samples of label i (`ganvas train FOLDER FOLDER`)."""

    has_loss: ClassVar[bool] = False
    """Whether it trains by `objective.loss`, which every config names."""

    frozen: ClassVar[tuple[str, ...]] = ()
    """Those of its networks that stay as they are."""

    takes_recipes: ClassVar[bool] = False
    """Whether `--network` brings the loss, penalties and rates that suit the family in a game of generator and critic."""

    tells_of_data: ClassVar[bool] = True
    """Whether the files of a snapshot hold the fingerprint of the data, by which whoever has most of them can find the rest."""

    repeats: ClassVar[bool] = True
    """Whether the same state leads to the same weights. Not where numbers decide that nobody may know."""

    networks: dict[str, nn.Module]
    """Everything with weights or running figures, by name: what the state keeps. Set by `__init__`."""
    optimizers: dict[str, torch.optim.Optimizer]
    """By name; made by `Engine.optimizer`."""

    def __init__(self, engine: Engine, spec: DataSpec, config: Config | None = None) -> None:
        """`config`: another one than the run's, for a method inside of one."""
        self.engine, self.spec, self.config = engine, spec, config or engine.config
        self.networks, self.optimizers = {}, {}

    @classmethod
    @abc.abstractmethod
    def check(cls, config: Config, spec: DataSpec) -> None:
        """Raise `GanvasError` for what would fail later: names, ranges, networks that do not fit the data."""

    @classmethod
    def spelled_out(cls, config: Config, spec: DataSpec) -> Config:
        """The config of a new run with what the method makes of it at the start, and must keep when it goes on."""
        return config

    @classmethod
    def follows_budget(cls, config: Config) -> bool:
        """Whether something follows from the budget, so that a run cannot go on with another one."""
        return False

    @classmethod
    def unit(cls, config: Config, spec: DataSpec) -> int:
        """How many neighbours in a batch belong together and stay in one process."""
        return 1

    @property
    def batches_per_step(self) -> int:
        """How many batches of each stream a step takes."""
        return 1

    def prepare(self, progress: float) -> None:
        """What the host changes before a step: `engine.set_knob`, growing networks. `progress` is 0 to 1 of the budget."""
        return

    @abc.abstractmethod
    def play(self, batches: Sequence[Batch]) -> Mapping[str, Tensor]:
        """The whole step on the device; batches stream by stream. Returns its figures, the same names at each step.

        Names that begin with `loss` are shown while training and drawn in the report, those that end with `logits` too.
        Nothing here may wait for the device, nor read what the host changes between steps other than by `engine.set_knob`.
        """

    @abc.abstractmethod
    def exports(self) -> Mapping[str, nn.Module]:
        """File stem -> network of a snapshot. What is called `generator` opens with `ganvas.load` and gives the previews."""

    def kind(self) -> Hashable:
        """Names what is due in this step: steps of one kind launch the same kernels."""
        return None

    def why_eager(self) -> str:
        """Why its steps cannot be captured as CUDA graphs; "" where they can."""
        return ""

    def probe(self) -> Probe | None:
        """What the monitor measures; None: nothing to watch."""
        return None

    def takes(self, data: Dataset) -> Dataset:
        """What batches are drawn from: the data, or what is made of them once, before the first step."""
        return data

    def settle(self, data: Dataset) -> None:
        """Called before a snapshot is written, by the process that writes: what `exports` has to know of the data."""
        return

    def reconstruct(self, samples: Tensor) -> Tensor | None:
        """Samples as the data give them -> what is made of them, as floats in the generator's range, for the previews."""
        return None

    def snapshot_figures(self, data: Dataset) -> dict[str, float]:
        """Slow figures of a snapshot, for a line of statistics."""
        return {}

    def positions(self, size: int) -> Iterator[Tensor] | None:
        """Which of `size` samples each next batch of a stream has (int64), this process's part; None: the usual shuffled ones."""
        return None

    @property
    def used(self) -> float:
        """Share of a budget of the method's own that is used; the run ends at 1."""
        return 0.0

    def about(self) -> dict[str, Any]:
        """What the files of a snapshot say besides what all do."""
        return {}

    def begin(self) -> None:
        """Called when a run begins, and has no state yet. Raises `GanvasError` where what it is to begin with is gone."""
        return

    def recall(self, told: Sequence[Mapping[str, Any]]) -> None:
        """Called when a run goes on, with what its snapshots' files say: a kill may leave one newer than its state."""
        return

    def log_figures(self) -> dict[str, float]:
        """Figures of the host for a line of statistics."""
        return {}

    def step(self, next_batch: NextBatch, progress: float) -> None:
        """One step, counted by the engine; `progress` is 0 to 1 of the budget."""
        engine = self.engine
        batches = [next_batch(stream) for stream in self.streams for _ in range(self.batches_per_step)]
        engine.images += self.config.training.batch * self.batches_per_step
        engine.set_rates(progress)
        self.prepare(progress)
        engine.run(self.figured, self.kind(), batches)

    def figured(self, batches: Sequence[Batch]) -> None:
        """`play`, its figures summed by the engine."""
        self.engine.figures.add(self.play(batches))

    def floats(self, samples: Tensor, value_range: tuple[float, float] = (-1.0, 1.0)) -> Tensor:
        """uint8 images -> floats within `value_range`, in the run's memory format; points stay as they are."""
        if self.spec.kind != "images":
            return samples
        found = from_uint8(samples, value_range)
        last = self.config.training.channels_last
        return found.contiguous(memory_format=torch.channels_last) if last else found

    def place(self, network: Any) -> Any:
        """The network on the run's device, in its memory format."""
        network = network.to(self.engine.device)
        last = self.config.training.channels_last and self.spec.kind == "images"
        return network.to(memory_format=torch.channels_last) if last else network


@contextmanager
def evaluating(*networks: nn.Module) -> Iterator[None]:
    """Inside, the networks are in evaluation mode: batch norm uses its averages and keeps them."""
    modes = [network.training for network in networks]
    for network in networks:
        network.eval()
    try:
        yield
    finally:
        for network, mode in zip(networks, modes, strict=True):
            network.train(mode)


methods: Registry[type[Method]] = Registry("method")


def check_plain(config: Config) -> None:
    """Raise `GanvasError` for what a game of generator and critic knows and other methods do not."""
    n, objective, name = config.network, config.objective, config.method.name
    if config.data.also:
        raise GanvasError(
            f"Several data sets share a conditional generator, with the set as the label, and method {name} takes no labels. "
            "Give one data set."
        )
    for what, given in (
        ("objective.critic_steps above 1", objective.critic_steps > 1),
        ("objective.instance_noise", objective.instance_noise > 0),
        ("objective.input_noise", objective.input_noise > 0),
        ("training.duality_steps", config.training.duality_steps > 0),
        ("training.compile", config.training.compile),
        ("training.freeze_critic", config.training.freeze_critic > 0),
        ("training.freeze_mapping", config.training.freeze_mapping),
        ("training.ema_also_kimg", bool(config.training.ema_also_kimg)),
        ("--conditional", n.conditional),
        ("network.pack", n.pack > 1),
        ("network.categorical", bool(n.categorical)),
        ("--augment", bool(config.augment.policy) or config.augment.pseudo),
        ("--term", bool(objective.terms)),
    ):
        if given:
            raise GanvasError(f"{what} is not for method {name}. Omit it.")


def check_options(known: Mapping[str, Any], options: Mapping[str, Any], name: str) -> None:
    """Raise `GanvasError` for options of a method that are not `known`, or no numbers of at least 0 where those are."""
    for key, value in options.items():
        if key not in known:
            raise GanvasError(
                f"Unknown option {key!r} of method {name}.{did_you_mean(key, list(known))} Known: {', '.join(known) or 'none'}."
            )
        if isinstance(known[key], float) and not (type(value) in (int, float) and 0 <= value < math.inf):
            raise GanvasError(f"method.options.{key} is {value!r}; it must be a number of at least 0.")


def build_method(config: Config, spec: DataSpec, device: torch.device) -> Method:
    """The method of a config with networks of fresh weights, ready to step."""
    check_split(config, spec, dist.world_size())
    engine = Engine(config, device)
    made = methods.get(config.method.name)(engine, spec)
    engine.capture(made.figured, made.networks, made.why_eager())
    return made


def check_split(config: Config, spec: DataSpec, processes: int) -> None:
    """Raise `GanvasError` unless a batch can be split over the processes without cutting what belongs together."""
    if processes == 1:
        return
    unit = methods.get(config.method.name).unit(config, spec)
    batch = config.training.batch
    if batch % (processes * unit):
        least = processes * unit
        each = f" in groups of {unit}, which the critic compares" if unit > 1 else ""
        raise GanvasError(
            f"A batch of {batch} cannot be split over {processes} processes{each}. "
            f"Use a multiple of {least}: --batch {max(1, round(batch / least)) * least}."
        )
