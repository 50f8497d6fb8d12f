"""Generators that ganvas did not make: `ganvas.wrap(module, latent_dim=...)` gives a `Model` that every tool takes."""

import copy
import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from math import isfinite, isqrt, prod
from numbers import Real
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from ganvas import arrays
from ganvas.device import seeded, stream
from ganvas.errors import GanvasError, expect
from ganvas.model import LARGE, MOST_SIDE, MOST_VALUES, Model, ModelInfo, draw_prior
from ganvas.networks import Answer, CriticBase, GeneratorBase, StyleBased

Prior = Literal["normal", "uniform", "sphere"]
Output = Callable[[Any], Tensor]
TRIED = 16
"""Samples that the checks are made on."""
FEWEST = 4
"""Of large ones, whose layers take gigabytes."""
OUTSIDE = 0.1
"""Share of the values that may lie outside of the range and be clipped: linear outputs overshoot a little."""
SMALLEST_PICTURE = 64
"""Numbers in a flat sample that may be a picture."""


@dataclass(frozen=True)
class Finding:
    """One check."""

    name: str
    passed: bool
    text: str

    def __str__(self) -> str:
        return f"{'ok     ' if self.passed else 'missing'} {self.name}: {self.text}"


class WrappedGenerator(GeneratorBase):
    """A foreign module behind the interface of ours; its own layers keep their names below `module`."""

    def __init__(
        self,
        module: nn.Module,
        shape: tuple[int, ...],
        latent_dim: int,
        latent_shape: tuple[int, ...],
        num_classes: int,
        value_range: tuple[float, float],
        prior: Prior,
        output: Output | None = None,
    ) -> None:
        super().__init__(shape, latent_dim, num_classes, value_range, embed=False)
        self.module, self.latent_shape, self.prior, self.output = module, latent_shape, prior, output

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        z = self.with_labels(z, labels).reshape(z.shape[0], *self.latent_shape)
        drawn = _call(self.module, z, labels if self.num_classes else None, self.output)
        return drawn.reshape(z.shape[0], *self.shape)


class WrappedStyleGenerator(WrappedGenerator):
    """A wrapped module that is `StyleBased` itself: its w, w+ and styles are the model's."""

    module: Any

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.w_dim: int = self.module.w_dim
        self.num_layers: int = self.module.num_layers
        self.noise_shapes: Sequence[tuple[int, ...]] = self.module.noise_shapes
        self.style_layers: Sequence[nn.Module] = self.module.style_layers

    def mapping(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """z (B, Z), in whatever shape the module takes latents -> w (B, W)."""
        z = self.with_labels(z, labels).reshape(z.shape[0], *self.latent_shape)
        w: Tensor = self.module.mapping(*([z, labels] if self.num_classes else [z]))
        return w

    def broadcast(self, w: Tensor) -> Tensor:
        """As the module does it, as `styles`."""
        w_plus: Tensor = self.module.broadcast(w)
        return w_plus

    def styles(self, w_plus: Tensor) -> Sequence[Tensor]:
        found: Sequence[Tensor] = self.module.styles(w_plus)
        return found

    def synthesis(self, styles: Sequence[Tensor], noise: Sequence[Tensor] | None = None) -> Tensor:
        """The module's samples as (B, *shape)."""
        drawn: Tensor = self.module.synthesis(styles, noise)
        return drawn.reshape(len(drawn), *self.shape)


def wrap(
    module: nn.Module,
    *,
    latent_dim: int,
    shape: tuple[int, ...] | None = None,
    latent_shape: tuple[int, ...] | None = None,
    num_classes: int = 0,
    value_range: tuple[float, float] | None = None,
    prior: Prior = "normal",
    output: Output | None = None,
    encoder: nn.Module | None = None,
    encoder_output: Output | None = None,
) -> Model:
    """A `Model` around any module that maps latents (B, latent_dim) to samples.

    What is left out is found by running the module: `latent_shape` is (latent_dim,) or (latent_dim, 1, 1), `shape` that of
    its samples, `value_range` (-1, 1) or (0, 1) by the values that it draws. With `num_classes` it gets labels (B,) too.
    `output` takes the samples out of what else it gives: `lambda found: found["image"]`, or brings them to channels first:
    `lambda x: x.permute(0, 3, 1, 2)`.

    `encoder` maps samples, as the module draws them, to their latents, in any shape of as many numbers: the model then
    encodes, reconstructs and inverts with it. `encoder_output` takes them out of what else it gives:
    `lambda found: found.latent_dist.mode()`. Codes of most decoders are not normal: `ganvas.latent.prior.fit_prior`
    fits what they are drawn from to images.

    The module is put into evaluation mode and its weights are frozen; half and double precision work, samples are float32.
    A module that is `ganvas.networks.StyleBased` keeps its w, w+ and styles.
    What was found, and done, is kept in `model.info.notes` and shown by `print(model)`. A module that is
    not a function of its latents alone gets a `UserWarning`; what cannot be taken raises `GanvasError`
    saying what does not fit and what to give.
    """
    if not isinstance(module, nn.Module):
        raise GanvasError(
            f"wrap takes a torch.nn.Module, got {_kind(module)}. Put a function into the forward of a module of your own."
        )
    arrays.count(latent_dim, "latent_dim", 1, MOST_VALUES)
    if prior not in get_args(Prior):
        raise GanvasError(f"wrap needs a prior of normal, uniform or sphere, got {prior!r}.")
    for name, numbers in (("shape", shape), ("latent_shape", latent_shape), ("value_range", value_range)):
        wanted = "numbers in brackets, say value_range=(0, 1) or shape=(1, 28, 28)"
        expect(numbers, (tuple, list, type(None)), name, wanted)
    arrays.count(num_classes, "num_classes", 0, MOST_SIDE)
    if value_range is not None and (
        len(value_range) != 2 or not all(isinstance(each, Real) and isfinite(each) for each in value_range)
    ):
        raise GanvasError(
            f"value_range is {value_range!r}; it must be the lowest and the highest value, say (0, 1)."
        )
    if latent_shape is not None and prod(latent_shape) != latent_dim:
        raise GanvasError(f"latent_shape {latent_shape} has not the {latent_dim} numbers of latent_dim.")
    notes = []
    if any(each.training for each in module.modules()):
        notes.append("it was put into evaluation mode, as batch norm and dropout need")
    module = module.eval().requires_grad_(False)
    drawn, latent_shape = _first(module, latent_dim, latent_shape, num_classes, prior, output)
    name = type(module).__name__
    if drawn.dim() < 2 or len(drawn) != 4 or not drawn.is_floating_point():
        raise GanvasError(
            f"{name} gave {tuple(drawn.shape)} of {drawn.dtype} for 4 latents; expected 4 float samples."
        )
    found = _shape(name, tuple(drawn.shape[1:]), shape)
    if drawn.layout is not torch.strided:
        raise GanvasError(f"{name} gave a sparse tensor; make it dense: output=lambda x: x.to_dense().")
    if not torch.isfinite(drawn).all():
        raise GanvasError(f"{name} draws NaN or infinite numbers.")
    made = (
        module, found, latent_dim, latent_shape, num_classes, value_range or (-1.0, 1.0), prior, output,
    )  # fmt: skip
    generator = WrappedGenerator(*made).eval()
    if len(found) == 3 and value_range is None:
        with seeded():
            generator.value_range = _range(name, _tried(generator))
        notes.append(
            f"values were taken to lie in {_span(*generator.value_range)}: value_range= says otherwise"
        )
    if isinstance(module, StyleBased):
        styled = WrappedStyleGenerator(*made).eval()
        styled.value_range = generator.value_range
        plain = output is None and _dtype(module) in (None, torch.float32)
        why = "" if plain else "that takes float32 and no output="
        if why := why or next((each.text for each in verify_style(styled) if not each.passed), ""):
            notes.append(f"it is style-based, and its w is not used: {why}")
        else:
            generator = styled
    findings = {each.name: each for each in verify(generator)}
    if not findings["range"].passed:
        raise GanvasError(f"{name} draws {findings['range'].text}.")
    restless = next(
        (findings[kind] for kind in ("repeatable", "independent") if not findings[kind].passed), None
    )
    if restless is not None:  # who is not repeatable seems to depend on the batch as well
        warnings.warn(f"{name}: {restless.text} What is found in it will not be found again.", stacklevel=2)
    if dtype := _dtype(module):
        notes.append(f"it computes in {dtype}, its samples are float32") if dtype != torch.float32 else None
    notes += [each.text for each in findings.values() if not each.passed or "clipped" in each.text]
    coder = None if encoder is None else _encoder(encoder, encoder_output, generator)
    return Model(generator, None, ModelInfo.of(generator, name, notes=tuple(notes)), encoder=coder)


class WrappedEncoder(CriticBase):
    """A foreign module behind the interface of our encoders: `answer(x).codes`."""

    def __init__(self, module: nn.Module, shape: tuple[int, ...], output: Output | None) -> None:
        super().__init__(shape)
        self.module, self.output = module, output

    def answer(self, x: Tensor, labels: Tensor | None = None) -> Answer:
        """Samples (B, *shape) -> codes (B, latent_dim), and nothing else."""
        codes = _call(self.module, x, None, self.output).flatten(1)
        return Answer(codes.new_zeros(len(codes)), codes, None, codes)


def _encoder(module: nn.Module, output: Output | None, generator: GeneratorBase) -> WrappedEncoder:
    """The encoder, tried on what the generator draws. Raises `GanvasError` for one that does not fit it."""
    name = type(module).__name__
    if not isinstance(module, nn.Module):
        raise GanvasError(f"encoder is {_kind(module)}; it must be a torch.nn.Module.")
    found = WrappedEncoder(module.eval().requires_grad_(False), generator.shape, output).eval()
    if generator.num_classes:
        raise GanvasError("A generator that takes labels has no encoder here: give one without num_classes.")
    drawn = _tried(generator, 4)
    try:
        codes = found.answer(drawn).codes
    except _NotSamples as error:
        raise GanvasError(f"{error} Of an encoder: by encoder_output=.") from error
    except Exception as error:  # whatever a foreign module raises
        words = (str(error).splitlines() or [""])[0]
        raise GanvasError(
            f"{name} cannot encode samples of shape {('B', *generator.shape)}: {type(error).__name__}: {words}"
        ) from error
    assert codes is not None
    if codes.shape != (4, generator.latent_dim):
        raise GanvasError(
            f"{name} gives {codes[0].numel() if len(codes) == 4 else tuple(codes.shape)} numbers for a sample, and the module "
            f"takes {generator.latent_dim}. Take the latents alone out by encoder_output=, of a posterior its mean."
        )
    if not torch.isfinite(codes).all():
        raise GanvasError(f"{name} encodes samples as NaN or infinite numbers.")
    return found


def verify(generator: GeneratorBase) -> list[Finding]:
    """What every tool assumes of a generator, tried on a few samples: a function of the latents alone, in its range."""
    with seeded():
        first, again = _tried(generator), _tried(generator)
        part = _tried(generator, min(5, len(first) - 1))
    level = max(float(first.max() - first.min()), 1e-6)
    same, alone = float((first - again).abs().max()), float((first[: len(part)] - part).abs().max())
    differs = float((first[0] - first[1]).abs().max()) > 1e-4 * min(level, 1)
    low, high = float(first.min()), float(first.max())
    begin, end = generator.value_range
    points = len(generator.shape) == 1
    outside = ((first < begin - 1e-3) | (first > end + 1e-3)).double().mean()
    within = points or bool(outside <= OUTSIDE)
    values = f"values from {low:.3g} to {high:.3g}"
    if not within:
        values += (
            f", {outside:.0%} of them outside of {_span(begin, end)}: give value_range={_likely(low, high)}"
        )
    elif not points:
        values += f" for {_span(begin, end)}" + (f", {outside:.1%} of them clipped" if outside > 0 else "")
    found = [
        Finding("sampling", True, f"latents ({generator.latent_dim},) -> samples {generator.shape}"),
        Finding(
            "repeatable",
            same <= 1e-4 * level,
            "the same latent draws the same sample"
            if same <= 1e-4 * level
            else f"the same latent draws other samples, by {same / level:.0%} of their range: noise inside?",
        ),
        Finding(
            "independent",
            alone <= 1e-3 * level,
            "a sample does not depend on its batch"
            if alone <= 1e-3 * level
            else f"samples depend on their batch, by {alone / level:.0%} of their range: batch statistics or noise inside?",
        ),
        Finding("range", within, values),
        Finding(
            "latent matters",
            differs,
            "other latents draw other samples" if differs else "all latents draw the same",
        ),
    ]
    if points and (side := _side(generator.shape[0])):
        channels = generator.shape[0] // side**2
        text = f"{generator.shape[0]} numbers are points; if they are pictures, give shape=({channels}, {side}, {side})"
        found.append(Finding("layout", False, text))
    return found


@torch.no_grad()
def verify_style(generator: GeneratorBase) -> list[Finding]:
    """Whether the steps of a `StyleBased` generator fit each other, tried in evaluation mode."""
    members = [name for name in (*StyleBased.__annotations__, *vars(StyleBased)) if not name.startswith("_")]
    if lacking := [name for name in members if not hasattr(generator, name)]:
        return [Finding("members", False, f"it lacks {', '.join(lacking)}")]
    tried: Any = copy.deepcopy(generator).eval() if generator.training else generator
    where = next(tried.parameters(), torch.empty(0)).device
    z = draw_prior(tried.prior, 4, tried.latent_dim, stream(0, "check")).to(where)
    labels = torch.arange(4, device=where) % tried.num_classes if tried.num_classes else None
    w: Tensor = torch.empty(0)
    rows: Tensor = torch.empty(0)
    styles: list[Tensor] = []

    def mapping() -> bool:
        nonlocal w
        w = tried.mapping(z, labels)
        return w.shape == (4, tried.w_dim) and not torch.equal(w[0], w[1])

    def broadcast() -> bool:
        nonlocal rows
        rows = tried.broadcast(w)
        return torch.equal(rows, w[:, None].expand(-1, tried.num_layers, -1))

    def given() -> bool:
        styles.extend(tried.styles(rows))
        return all(each.dim() == 2 and len(each) == 4 for each in styles)

    def drawn() -> bool:
        return _alike(tried.synthesis(styles), tried(z, labels))

    def apart() -> bool:
        plain = tried.synthesis(styles)
        least = 1e-5 * plain.abs().max()

        def acts(row: int) -> bool:  # one at a time: all rows would take the memory of so many batches
            moved = rows.clone()
            moved[:, row] += w.std()
            change = (tried.synthesis(tried.styles(moved)) - plain).flatten(1).abs()
            return bool((change.amax(1) > least).all())

        return all(acts(row) for row in range(tried.num_layers))

    def noise() -> bool:
        maps = [torch.randn(1, *shape, generator=stream(0, "maps")).to(where) for shape in tried.noise_shapes]
        if not maps:
            return True
        same = _alike(tried.synthesis(styles, maps), tried.synthesis(styles, maps))
        taken = "noise" in inspect.signature(tried.forward).parameters
        return same and (not taken or _alike(tried(z, labels, noise=maps), tried.synthesis(styles, maps)))

    def layers() -> bool:
        step, good = w[1:] - w[:-1], []
        for layer in tried.style_layers:
            style, weighed = layer(w), step @ layer.weight.t()
            slope = style[1:] - style[:-1]
            scale = (slope * weighed).sum() / weighed.square().sum()
            acts = any(style.shape == each.shape and _alike(style, each) for each in styles)
            good.append(acts and _alike(slope, scale * weighed))
        return bool(good) and all(good)

    steps: dict[str, tuple[Callable[[], bool], str]] = {
        "mapping": (mapping, "z (B, Z) becomes w (B, w_dim), each its own"),
        "broadcast": (broadcast, "w becomes w+ (B, num_layers, w_dim), every row the same"),
        "styles": (given, "w+ becomes style vectors (B, C)"),
        "synthesis": (drawn, "synthesis(styles(broadcast(mapping(z)))) is what the generator draws of z"),
        "rows": (apart, "every row of w+ changes the samples"),
        "noise": (noise, "synthesis takes a map for each of noise_shapes, as the generator does"),
        "style_layers": (layers, "each gives one of the styles, by its weight (C, w_dim) up to a scale"),
    }
    found: list[Finding] = []
    for name, (works, text) in steps.items():
        try:
            with seeded():
                good, said = works(), text
        except (RuntimeError, TypeError, ValueError, IndexError, AttributeError) as error:
            good, said = False, f"{text}: {type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
        found.append(Finding(name, good, said if good or said != text else f"not so: {text}"))
        if not good and name in ("mapping", "broadcast", "styles"):  # the others need what it gives
            break
    return found


def _alike(found: Tensor, expected: Tensor) -> bool:
    """The same shape, and the same numbers within rounding."""
    level = float(expected.abs().max()) if expected.numel() else 0.0
    return found.shape == expected.shape and torch.allclose(found, expected, atol=1e-4 * level, rtol=1e-4)


@torch.no_grad()
def _tried(generator: GeneratorBase, n: int | None = None) -> Tensor:
    """Its first samples, in one batch (n, *shape): without n `TRIED`, of large ones `FEWEST`."""
    n = n or (TRIED if prod(generator.shape) <= LARGE else FEWEST)
    where = next(chain(generator.parameters(), generator.buffers()), torch.empty(0)).device
    z = draw_prior(generator.prior, TRIED, generator.latent_dim, stream(0, "latents"))[:n].to(where)
    classes = generator.num_classes
    drawn: Tensor = generator(z, torch.arange(n, device=where) % classes if classes else None)
    return drawn.float()


def _first(
    module: nn.Module, latent_dim: int, latent_shape: tuple[int, ...] | None, num_classes: int, prior: Prior,
    output: Output | None,
) -> tuple[Tensor, tuple[int, ...]]:  # fmt: skip
    """Four samples, and the shape of latents that the module takes."""
    where = next(chain(module.parameters(), module.buffers()), torch.empty(0)).device
    z = draw_prior(prior, 4, latent_dim, stream(0, "latents")).to(where)
    labels = torch.zeros(4, dtype=torch.long, device=where) if num_classes else None
    errors: list[str] = []
    for candidate in [latent_shape] if latent_shape else [(latent_dim,), (latent_dim, 1, 1)]:
        try:
            with torch.no_grad(), seeded():
                return _call(module, z.reshape(4, *candidate), labels, output), candidate
        except _NotSamples as error:
            raise GanvasError(str(error)) from error
        except Exception as error:  # whatever a foreign module raises
            words = str(error).strip().splitlines() or [""]
            errors.append(f"{('B', *candidate)}: {type(error).__name__}: {words[0]}")
    call = f"{type(module).__name__}.forward({', '.join(inspect.signature(module.forward).parameters)})"
    wanted = [
        each.name
        for each in inspect.signature(module.forward).parameters.values()
        if each.default is each.empty and each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)
    ]
    if len(wanted) > 1 + bool(num_classes):
        raise GanvasError(
            f"{call} wants {', '.join(wanted[1:])} beside the latents. Class numbers come with num_classes=, how many there "
            "are; fill in anything else in a module of your own that calls this one."
        )
    labelled = " Labels are class numbers (B,), int64." if num_classes else ""
    raise GanvasError(
        f"{call} cannot be called with latents of shape {'; or '.join(errors)}.{labelled} "
        "Give latent_dim, latent_shape and num_classes as it wants them."
    )


class _NotSamples(Exception):
    """The module ran, and what it gave is not one tensor."""


def _call(module: nn.Module, z: Tensor, labels: Tensor | None, output: Output | None) -> Tensor:
    """What the module draws, in its own precision and back."""
    dtype = _dtype(module)
    z = z if dtype is None else z.to(dtype)
    given = module(z) if labels is None else module(z, labels)
    drawn = given if output is None else output(given)
    if not isinstance(drawn, Tensor):
        what = "output=" if output is not None else type(module).__name__
        raise _NotSamples(f"{what} gave {_inside(drawn)} and not one tensor. Say which by output=.")
    return drawn.float() if drawn.dtype in (torch.float16, torch.bfloat16, torch.float64) else drawn


def _inside(given: Any) -> str:
    """What a dictionary, sequence or object holds, with what `output=` would take it out."""
    if isinstance(given, Mapping):
        parts = {f"output=lambda found: found[{key!r}]": each for key, each in given.items()}
    elif isinstance(given, list | tuple):
        parts = {f"output=lambda found: found[{i}]": each for i, each in enumerate(given)}
    else:
        parts = {
            f"output=lambda found: found.{key}": each for key, each in getattr(given, "__dict__", {}).items()
        }
    tensors = [f"{how} is {tuple(each.shape)}" for how, each in parts.items() if isinstance(each, Tensor)]
    return f"{_kind(given)} ({'; '.join(tensors)})" if tensors else _kind(given)


def _kind(given: object) -> str:
    return f"a {type(given).__name__}"


def _dtype(module: nn.Module) -> torch.dtype | None:
    """The precision that a module computes in; None without weights."""
    floating = (t.dtype for t in chain(module.parameters(), module.buffers()) if t.is_floating_point())
    return next(floating, None)


def _shape(name: str, drawn: tuple[int, ...], wanted: tuple[int, ...] | None) -> tuple[int, ...]:
    """The shape of a sample, (C, H, W) or (D,). Raises `GanvasError` for another layout, saying what to give."""
    last = len(drawn) == 3 and drawn[2] in (1, 3) and drawn[0] not in (1, 3)
    if wanted is not None:
        wanted = tuple(wanted)
        if len(wanted) not in (1, 3) or prod(drawn) != prod(wanted):
            also = f" Give shape=(1, {wanted[0]}, {wanted[1]})." if len(wanted) == 2 else ""
            raise GanvasError(f"{name} draws {drawn}, which is not shape {wanted}.{also}")
        flat = len(drawn) == 1 or len(wanted) == 1 or (1, *drawn) == wanted
        if not flat and drawn != wanted:
            hint = " Bring channels to the front: output=lambda x: x.permute(0, 3, 1, 2)" if last else ""
            raise GanvasError(f"{name} draws {drawn}, which is not laid out as shape {wanted}.{hint}")
    elif last:
        raise GanvasError(
            f"{name} draws {drawn}, height, width and channels; channels come first here. "
            "Give output=lambda x: x.permute(0, 3, 1, 2)"
        )
    elif len(drawn) == 2:
        raise GanvasError(
            f"{name} draws {drawn}. If that is a grey picture, give shape=(1, {drawn[0]}, {drawn[1]})."
        )
    elif len(drawn) not in (1, 3):
        raise GanvasError(f"{name} draws {drawn}; expected pictures (C, H, W) or points (D,).")
    found = wanted or drawn
    if len(found) == 3 and found[0] not in (1, 3):
        raise GanvasError(
            f"{name} draws {found[0]} channels; pictures have 1 or 3. Give shape= (channels, height, width), or output= that "
            "takes three of them: output=lambda x: x[:, :3]"
        )
    return found


def _side(numbers: int) -> int:
    """The side of the square picture in grey or colour that so many numbers may be; 0 for none."""
    if numbers < SMALLEST_PICTURE:
        return 0
    sides = {channels: isqrt(numbers // channels) for channels in (1, 3)}
    return next((side for channels, side in sides.items() if channels * side**2 == numbers), 0)


def _range(name: str, drawn: Tensor) -> tuple[float, float]:
    """(-1, 1) or (0, 1), where the values leave no doubt. Raises `GanvasError` where they do."""
    low, high = float(drawn.min()), float(drawn.max())
    if float((drawn.abs() > 1 + 1e-3).double().mean()) > OUTSIDE:
        raise GanvasError(
            f"{name} draws values from {low:.3g} to {high:.3g}, outside of -1 to 1: give value_range={_likely(low, high)}, or "
            "what black and white are."
        )
    if low < -0.05:
        return -1.0, 1.0
    if low > 0.5:
        raise GanvasError(
            f"{name} draws values from {low:.3g} to {high:.3g} only: that may be a part of 0 to 1 or of -1 to 1. Give "
            "value_range=(0, 1) or value_range=(-1, 1)."
        )
    return 0.0, 1.0


def _likely(low: float, high: float) -> str:
    if low >= -0.5:
        return "(0, 1)" if high <= 1.05 else "(0, 255)" if high > 16 else f"(0, {high:.2g})"
    reach = max(-low, high)
    return "(-1, 1)" if reach <= 1.05 else f"({-reach:.2g}, {reach:.2g})"


def _span(low: float, high: float) -> str:
    return f"{low:g} to {high:g}"
