"""What every network family has in common, and how a family is built from a config."""

import copy
import inspect
import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganvas.config import NetworkConfig, is_like
from ganvas.device import seeded
from ganvas.effort import without_dynamo
from ganvas.errors import GanvasError
from ganvas.networks.layers import maybe_spectral_norm
from ganvas.registry import Registry, did_you_mean
from ganvas.types import Shape, kind_of

CATEGORICAL = "categorical"
TRUNCATED = "truncated"
TEMPLATE = 16
"""Pixels a side of the picture of a class, at most (`CriticBase`)."""
UNKNOWN = "unknown"
"""The prior of a decoder that somebody else trained: nobody has said what its codes are drawn from."""
CUT = 2.0
"""Where the truncated prior ends, before it is scaled (Brock et al. 2019, section 3.1 and their published code)."""


def categories_of(prior: str) -> tuple[int, ...]:
    """The sizes of the one-hot blocks at the start of z: `categorical 10 5` -> (10, 5); none for other priors."""
    return tuple(int(size) for size in prior.split()[1:]) if prior.startswith(CATEGORICAL) else ()


def truncation_of(prior: str) -> float | None:
    """What the truncated normal prior is multiplied by: `truncated 0.4` -> 0.4; None for other priors."""
    return float(prior.split()[1]) if prior.startswith(TRUNCATED) else None


def to_prior(prior: str, noise: Tensor) -> Tensor:
    """Standard normal numbers (n, size) -> latents with exactly the prior's distribution, differentiable.

    The one place that knows what a prior is: training, the monitor, the duality gap and sampling all draw through it.
    `normal`: as they are; `uniform`: in [-1, 1]; `sphere`: of length sqrt(size); `categorical 10 5`: a one-hot vector of 10
    numbers, one of 5, the rest normal. The largest of K normal numbers is any of them with probability 1 / K. `truncated 0.4`:
    standard normal numbers of at most `CUT` either way, by quantiles, times 0.4. Raises `GanvasError` for `unknown`.
    """
    if prior == UNKNOWN:
        raise GanvasError(
            "This is the decoder of an autoencoder, and nobody has said what its codes are drawn from: of noise it draws no "
            "picture. Fit that to pictures, which writes a model that is drawn from: ganvas encode MODEL IMAGES --fit 1 --out "
            "fitted.npz gives fitted.safetensors. In Python: ganvas.latent.prior.fit_prior(model, images, 1)."
        )
    if prior.startswith(CATEGORICAL):
        sizes = categories_of(prior)
        *blocks, rest = noise.split([*sizes, noise.shape[1] - sum(sizes)], 1)
        hot = [F.one_hot(b.argmax(1), b.shape[1]).to(noise.dtype) for b in blocks]
        return torch.cat([*hot, rest], 1)
    if prior == "uniform":
        return torch.erf(noise / 2**0.5)
    if (scale := truncation_of(prior)) is not None:
        # In float64: erf is 1 in float32 from 4 on.
        share = torch.erf(noise.double() / 2**0.5) * math.erf(CUT / 2**0.5)
        return (torch.erfinv(share) * (scale * 2**0.5)).to(noise.dtype)
    if prior == "sphere":
        on_sphere: Tensor = noise / noise.norm(dim=1, keepdim=True).clamp(min=1e-12) * noise.shape[1] ** 0.5
        return on_sphere
    return noise


class GeneratorBase(nn.Module):
    """Latents z (B, latent_dim) and labels (B,) -> samples (B, *shape) within `value_range`."""

    prior = "normal"
    """What z is drawn from: `normal`, `uniform` in [-1, 1], `sphere` of length sqrt(latent_dim), `categorical 10 5`,
    `truncated 0.4` (`to_prior`), or `unknown`.
    """
    settings: ClassVar[Mapping[str, float]] = {}
    """Numbers that choose how it draws and can be set, by attribute, and what they usually are; a file of the model keeps them
    beside the weights.
    """

    def __init__(
        self,
        shape: Shape,
        latent_dim: int,
        num_classes: int = 0,
        value_range: tuple[float, float] = (-1.0, 1.0),
        *,
        embed: bool = True,
    ) -> None:
        super().__init__()
        self.shape = shape
        self.latent_dim = latent_dim
        self.num_classes = num_classes
        self.value_range = value_range
        # A label enters as a learned vector beside z, unless the network has another way (`embed` false).
        self.embed = nn.Embedding(num_classes, latent_dim) if num_classes and embed else None
        self.input_dim = latent_dim * (2 if self.embed is not None else 1)

    def with_labels(self, z: Tensor, labels: Tensor | None) -> Tensor:
        """z, or z and the label's vector side by side (B, input_dim)."""
        if self.num_classes and labels is None:
            raise GanvasError("This generator is conditional: give labels, a long tensor of shape (B,).")
        return z if self.embed is None else torch.cat([z, self.embed(labels)], dim=1)

    def training_inputs(
        self, normal: Callable[..., Tensor], uniform: Callable[..., Tensor]
    ) -> dict[str, Any]:
        """Random keyword arguments of `forward` for a training step. `normal(*size)` draws (B, *size), `uniform` too.

        The loop draws them, so that resumed runs and several processes see the same numbers.
        """
        return {}

    def seeded(self, seed: int) -> Tensor | None:
        """z (1, latent_dim) that the toolkit which the family comes from draws for a seed; None: it has no such rule."""
        return None

    @property
    def coarse_sides(self) -> tuple[int, ...]:
        """Heights below its own, small to large, of the pictures that it draws on its way; none for most networks."""
        return ()

    def at(self, side: int) -> Self:
        """This generator up to the picture of one of `coarse_sides`: the same weights and the same points, for less work."""
        if side not in self.coarse_sides:
            raise GanvasError(
                f"This generator draws no picture of {side} px on its way, but of {list(self.coarse_sides) or 'none'}."
            )
        found = copy.copy(self)  # not the weights: both hold the same
        found.shape = (self.shape[0], side, side * self.shape[2] // self.shape[1])
        return found

    def with_class(self, other: int, share: float) -> Self:
        """This generator with every class's vector mixed with that of `other`, of which it then has a `share` from 0 to 1."""
        if self.embed is None or not 0 <= other < self.num_classes or not 0 <= share <= 1:
            raise GanvasError(
                f"Classes are mixed by their vectors: a class from 0 to {self.num_classes - 1} and a share from 0 to 1, "
                f"got {other} and {share:g}."
                if self.embed is not None
                else "This generator has no vectors of classes that could be mixed."
            )
        return self.mixed(other, share)

    def mixed(self, other: int | Tensor, share: float | Tensor) -> Self:
        """As `with_class`, unchecked: both may be tensors, `other` one of (B,)."""
        assert self.embed is not None
        found: Self = with_parts(self, embed=Mixed(self.embed, other, share))
        return found

    def grow(self, kimg: float) -> float | None:
        """Called before every step with the images seen: families that grow set and return their level."""
        return None


class Mixed(nn.Module):
    """Class vectors, each mixed with that of another class."""

    def __init__(self, embed: nn.Module, other: int | Tensor, share: float | Tensor) -> None:
        super().__init__()
        self.vectors, self.other, self.share = embed, other, share

    def forward(self, labels: Tensor) -> Tensor:
        """Labels (B,) -> vectors (B, C)."""
        other = self.other if isinstance(self.other, Tensor) else torch.full_like(labels, self.other)
        mixed: Tensor = torch.lerp(self.vectors(labels), self.vectors(other), self.share)
        return mixed


def with_parts(network: GeneratorBase, **parts: nn.Module) -> Any:
    """The network with some of its modules exchanged; it shares all others, and their weights, with the one that is given."""
    found = copy.copy(network)
    found._modules = {**network._modules, **parts}
    return found


def numpy_normal(seed: int, size: int) -> Tensor:
    """(1, size) standard normal numbers of NumPy's RandomState(seed), as the scripts of NVIDIA's generators draw them."""
    return torch.from_numpy(np.random.RandomState(seed).randn(1, size)).float()


class Answer(NamedTuple):
    """All that a critic says about a batch."""

    logits: Tensor
    """(B,), or (B / pack,)."""
    features: Tensor
    """(B, F): the last hidden layer."""
    classes: Tensor | None
    """(B, num_classes) logits of the auxiliary classifier."""
    codes: Tensor | None
    """(B, codes): its guess at the first entries of the latent, behind the categories."""
    categories: Tensor | None = None
    """(B, sum of the sizes): logits of the categories that the latent begins with."""
    parts: Tensor | None = None
    """(B, K): logits of K parts of every sample, each of which the loss judges; None: it judges `logits`."""

    @property
    def judged(self) -> Tensor:
        """(B, K) logits that the loss judges, K = 1 for most critics."""
        return self.logits[:, None] if self.parts is None else self.parts

    def float(self) -> "Answer":
        """The same in float32."""
        return Answer(*(None if part is None else part.float() for part in self))  # type: ignore[arg-type]


class CriticBase(nn.Module):
    """Samples (B, *shape) and labels (B,) -> logits (B,), higher for real.

    Labels enter by projection (Miyato and Koyama 2018, eq. 3), or not at all when `auxiliary`: then a second head names the class
    (AC-GAN, Odena et al. 2017). `codes` adds a head that guesses the first entries of z, `categories` one for the one-hot blocks
    in front of them (InfoGAN, Chen et al. 2016).
    `label_maps` shows the class beside the picture instead, a map of ones or zeros for each (Mirza and Osindero 2014), in
    families that make room for them.
    `templates` learns a picture for each class besides, at most `TEMPLATE` px a side, whose scalar product with the sample
    adds to the logit: no feature has to be found first for classes to count, which matters where steps are few or noisy.
    `spectral_heads` divides the projection's embedding and the class head by their largest singular value too, as
    Miyato and Koyama 2018 and Zhang et al. 2019 do; the projection then enters as it is, no longer than the features.
    """

    def __init__(
        self,
        shape: Shape,
        num_classes: int = 0,
        features: int = 1,
        *,
        auxiliary: bool = False,
        codes: int = 0,
        categories: tuple[int, ...] = (),
        spectral_heads: bool = False,
        label_maps: bool = False,
        templates: bool = False,
    ) -> None:
        super().__init__()
        self.shape = shape
        self.num_classes = num_classes
        self.pack = 1
        self.auxiliary = auxiliary and num_classes > 0
        self.label_maps = label_maps and num_classes > 0
        projects = num_classes and not auxiliary and not label_maps
        self.embed = nn.Embedding(num_classes, features) if projects else None
        self.classify = nn.Linear(features, num_classes) if self.auxiliary else None
        self.spectral_heads = spectral_heads
        for head in (self.embed, self.classify):
            if spectral_heads and head is not None:
                maybe_spectral_norm(head, True)
        if self.embed is not None and not spectral_heads:
            # Nearly nothing at first: random projections of a wide layer would drown what the critic sees.
            nn.init.normal_(self.embed.weight, 0.0, 0.02)
        self.templates: nn.Embedding | None = None
        if templates and num_classes:
            with without_dynamo():
                size = self._coarse(torch.empty(1, *shape, device="meta")).shape[1]
            self.templates = nn.Embedding(num_classes, size)
            nn.init.zeros_(self.templates.weight)
        self.guess = nn.Linear(features, codes) if codes else None
        self.guess_categories = nn.Linear(features, sum(categories)) if categories else None

    @property
    def in_order(self) -> list[nn.Module]:
        """Its parts from the sample to the logit, without those that know of classes and codes."""
        heads = (self.embed, self.classify, self.templates, self.guess, self.guess_categories)
        return [part for part in self.children() if all(part is not head for head in heads)]

    def ready(self) -> None:
        """Raise `GanvasError` where something is missing that training needs, and opening a file does not."""

    def follow(self, level: float) -> None:
        """Take the level that the generator has grown to."""

    def features(self, x: Tensor) -> Tensor:
        """The last hidden layer, flattened (B, F)."""
        raise NotImplementedError

    def head(self, features: Tensor) -> Tensor:
        """Features (B, F) -> unconditional logits (B, 1)."""
        raise NotImplementedError

    def score(self, features: Tensor, labels: Tensor | None) -> Tensor:
        """Features (B, F) and labels (B,) -> logits (B,): the head, and the projection of the labels where there is one."""
        logits = self.head(features).squeeze(1)
        if self.embed is None:
            return logits
        length = 1.0 if self.spectral_heads else features.shape[1] ** 0.5
        projected: Tensor = (self.embed(labels) * features).sum(1) / length
        return logits + projected

    @staticmethod
    def _coarse(x: Tensor) -> Tensor:
        """What templates are compared with: points, or means of pixels, flat."""
        if x.dim() == 4 and max(x.shape[2:]) > TEMPLATE:
            x = F.avg_pool2d(x, -(-max(x.shape[2:]) // TEMPLATE), ceil_mode=True)
        return x.flatten(1)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.answer(x, labels).logits

    def answer(self, x: Tensor, labels: Tensor | None = None) -> Answer:
        """Logits, features and what the other heads say."""
        if self.pack > 1:
            # Neighbours of the batch are seen as one sample of `pack` times the channels (Lin et al. 2018, section 3).
            x = x.unflatten(0, (-1, self.pack)).flatten(1, 2)
        if self.num_classes and labels is None:
            raise GanvasError("This critic is conditional: give labels, a long tensor of shape (B,).")
        sample = x
        if self.label_maps and labels is not None:
            maps = (labels[:, None] == torch.arange(self.num_classes, device=x.device))[:, :, None, None].to(
                x.dtype
            )
            x = torch.cat([x, maps.expand(-1, -1, *x.shape[2:])], 1)
        features = self.features(x)
        logits = self.score(features, labels)
        if self.templates is not None:
            logits = logits + (self.templates(labels) * self._coarse(sample)).sum(1)
        classes = None if self.classify is None else self.classify(features)
        codes = None if self.guess is None else self.guess(features)
        categories = None if self.guess_categories is None else self.guess_categories(features)
        return Answer(logits, features, classes, codes, categories)


@dataclass(frozen=True)
class Family:
    """A generator and the critic that goes with it."""

    generator: Callable[..., GeneratorBase]
    critic: Callable[..., CriticBase]
    recipe: str = ""
    """The preset whose widths, rates, loss and penalties --network takes; empty: only the networks are exchanged."""
    tiny: Mapping[str, Any] = field(default_factory=dict)
    """Options of both networks with which a step takes no time, for tests."""


families: Registry[Family] = Registry("network")
opened_only: Registry[Family] = Registry("network")
"""Families of which there are others' weights only: files hold them, and no training offers them."""
wrappers: list[Callable[[GeneratorBase, NetworkConfig], GeneratorBase]] = []
"""What stands around the generator of a config with `codes`: `networks.coded`, which builds generators itself, puts it here."""


def family_of(name: str) -> Family:
    """The family of a network in a file, whether it can be trained or not."""
    return opened_only.get(name) if name in opened_only else families.get(name)


def build_generator(config: NetworkConfig, shape: Shape, num_classes: int, seed: int = 0) -> GeneratorBase:
    """The generator of a config, its weights drawn from `seed` alone."""
    build = family_of(config.name).generator
    options = _check_options(build, config.generator, f"{config.name} generator")
    sizes = config.categorical
    if any(size < 2 for size in sizes) or sum(sizes) > config.latent_dim:
        raise GanvasError(
            f"network.categorical is {list(sizes)}: every code needs 2 or more categories, and all of them fit into the "
            f"{config.latent_dim} numbers of z."
        )
    with seeded(seed), _sound(f"{config.name} generator"):
        made = build(shape, config.latent_dim, num_classes=_classes(config, num_classes), **options)
        _check_widths(made)
    if sizes:
        made.prior = " ".join([CATEGORICAL, *map(str, sizes)])
    for wrap in wrappers if config.codes else ():
        made = wrap(made, config)
    return made


def build_critic(config: NetworkConfig, shape: Shape, num_classes: int, seed: int = 0) -> CriticBase:
    """The critic of a config, its weights drawn from `seed` alone."""
    name = config.critic_name or config.name
    build = family_of(name).critic
    options = _check_options(build, config.critic, f"{name} critic")
    classes = _classes(config, num_classes)
    if config.pack > 1 and (classes or options.get("codes") or config.categorical):
        raise GanvasError(
            "network.pack shows the critic several samples as one: it cannot be combined with labels or codes."
        )
    if config.categorical:
        options["categories"] = tuple(config.categorical)
    with seeded(seed + 1), _sound(f"{name} critic"):
        critic = build((shape[0] * config.pack, *shape[1:]), num_classes=classes, **options)
        _check_widths(critic)
    critic.pack = config.pack
    return critic


@contextmanager
def _sound(what: str) -> Iterator[None]:
    """Turns what torch says of options that make no network into a `GanvasError`."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Initializing zero-element tensors")  # `_check_widths` says it
            yield
    except (
        RuntimeError,
        ValueError,
        TypeError,
        ArithmeticError,
        LookupError,
        AssertionError,
        MemoryError,
    ) as error:
        raise GanvasError(
            f"No {what} can be built with these sizes and options ({type(error).__name__}: {str(error)[:200]})."
        ) from error


def _check_widths(network: nn.Module) -> None:
    """Raise `ValueError` for a layer of no channels: torch builds it, and stumbles over it when something is drawn."""
    for name, weight in network.named_parameters():
        if not weight.numel():
            raise ValueError(f"{name} would be of size {tuple(weight.shape)}")


def _classes(config: NetworkConfig, num_classes: int) -> int:
    return num_classes if config.conditional else 0


def _check_options(build: Callable[..., Any], options: Mapping[str, Any], what: str) -> dict[str, Any]:
    known = list(inspect.signature(build).parameters)
    if "heads" in known:  # passed on to CriticBase
        known = [name for name in known if name != "heads"] + [
            "auxiliary",
            "codes",
            "spectral_heads",
            "templates",
        ]
    known = [name for name in known if name not in ("self", "shape", "latent_dim", "num_classes")]
    for name in options:
        if name not in known:
            raise GanvasError(
                f"Unknown option {name!r} of the {what}.{did_you_mean(name, known)} Known: {', '.join(known)}."
            )
    usual = _usual(build)
    for name, value in options.items():
        if not is_like(value, usual.get(name)):
            raise GanvasError(
                f"Option {name!r} of the {what} is {value!r}; expected a value like {usual[name]!r}."
            )
    return {name: tuple(value) if isinstance(value, list) else value for name, value in options.items()}


def _usual(build: Callable[..., Any]) -> dict[str, Any]:
    """The defaults of a network's options, those of the critic's heads among them; None where there is none."""
    parameters = [
        *inspect.signature(CriticBase).parameters.values(),
        *inspect.signature(build).parameters.values(),
    ]
    return {each.name: None if each.default is each.empty else each.default for each in parameters}


class Start(NamedTuple):
    """How an image is drawn from small maps."""

    steps: int
    """How often they are doubled."""
    rows: int
    columns: int
    """Of the smallest maps."""


def start_of(shape: Shape, family: str, low: int, high: int) -> Start:
    """The maps that a square or oblong image begins with; raises `GanvasError` saying which sizes `family` can draw.

    Both sides are halved equally often, as often as the one that ends first.
    """
    if len(shape) != 3 or shape[1] == shape[2]:
        side = square_side(shape, family, low, high)
        steps = halvings(side)
        return Start(steps, side >> steps, side >> steps)
    height, width = shape[1:]
    if not all(low <= side <= high and side % 2 == 0 for side in (height, width)):
        fitting = [min(high, max(low, 8 * round(side / 8))) for side in (width, height)]
        raise GanvasError(
            f"Network {family!r} draws images with even sides of {low} to {high} px, the data has {width} x {height}. "
            f"Add --resolution {fitting[0]} --height {fitting[1]} --resize crop."
        )
    steps = min(halvings(height), halvings(width))
    return Start(steps, height >> steps, width >> steps)


def square_side(shape: Shape, family: str, low: int, high: int) -> int:
    """The side of a square image that `family` can draw; raises `GanvasError` saying which sizes it can."""
    if len(shape) != 3:
        other = "recurrent" if len(shape) == 2 else "mlp"
        raise GanvasError(
            f"Network {family!r} draws images, not {kind_of(shape)} of shape {shape}. Use --network {other}."
        )
    side = shape[1]
    if shape[1] != shape[2] or not low <= side <= high or (side > 7 and side % 2):
        raise GanvasError(
            f"Network {family!r} draws square images of {low} to {high} px with an even side, the data has {shape[2]} x "
            f"{shape[1]}. Add --resolution {min(high, max(low, 2 ** round(math.log2(side))))} --resize crop."
            + (
                ""
                if shape[1] == shape[2]
                else " Other shapes are drawn by --network dcgan, style, r3 and others."
            )
        )
    return side


def halvings(side: int, smallest: int = 4) -> int:
    """How often a side can be halved before it is odd or smaller than 2 x `smallest`: 28 -> 2 (7), 32 -> 3 (4)."""
    count = 0
    while side % 2 == 0 and side >= 2 * smallest:
        side, count = side // 2, count + 1
    return count


def doubled(channels: int, steps: int, most: int) -> list[int]:
    """Widths of maps that are halved `steps` times, from the full size down: doubled each time, never above `most`."""
    return [min(most, channels << i) for i in range(steps + 1)]


def from_uint8(images: Tensor, value_range: tuple[float, float]) -> Tensor:
    """uint8 images -> floats within `value_range`."""
    low, high = value_range
    return images.to(torch.get_default_dtype()) * ((high - low) / 255) + low


def to_uint8(images: Tensor, value_range: tuple[float, float]) -> Tensor:
    """Floats within `value_range` -> uint8 images, rounded and clipped."""
    low, high = value_range
    return ((images.float() - low) * (255 / (high - low))).round().clamp(0, 255).to(torch.uint8)
