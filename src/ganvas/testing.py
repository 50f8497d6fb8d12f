"""For people with a generator of their own: what works with it. And whether what somebody registers is sound."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ganvas.config import NetworkConfig
from ganvas.device import stream
from ganvas.errors import GanvasError
from ganvas.features import Features
from ganvas.foreign import Finding, verify, verify_style, wrap
from ganvas.latent import LatentSpace, open_space, spaces
from ganvas.losses import losses
from ganvas.metrics.base import Inputs, metrics
from ganvas.model import Model
from ganvas.networks import CriticBase, GeneratorBase, build_critic, build_generator, families
from ganvas.sampling import Drawn, Ratio, samplers
from ganvas.training.check import check_method

__all__ = [
    "Finding",
    "check_family",
    "check_generator",
    "check_loss",
    "check_method",
    "check_metric",
    "check_sampler",
    "check_style_based",
]

SHAPES = ((2,), (3, 10), (1, 8, 8), (3, 16, 16), (1, 28, 28), (3, 32, 32), (3, 64, 64))
GROWTH = (0.0, 900.0, 2100.0, 3300.0, 4500.0, 6000.0)
"""kimg in the default schedule of progressive growing: in the middle of each fade."""
CENTRES, SIGMA = torch.tensor([[-0.9, 0.0], [0.9, 0.5]]), 0.45
"""What samplers are tried with."""
BAD = ("far", "collapsed", "scattered", "copied")


def check_generator(model: Model) -> list[Finding]:
    """Try what the tools need, in words. Give the result of `ganvas.wrap(...)` or `ganvas.load(...)`."""
    found = verify(model.generator)
    found.append(_differentiable(model))
    whole = open_space(model, "z")
    with torch.no_grad():
        drawn = whole.decode(whole.sample(3, stream(0, "check")))
    names = spaces(model)
    layers = [name for name in names if name.startswith("layer:")]
    found += [_space(model, name, drawn) for name in names if name not in layers]
    good = [name for name in layers if _space(model, name, drawn).passed]
    found.append(
        Finding(
            "hidden layers",
            bool(good),
            f"{len(good)} of {len(layers)} decode: {', '.join(good[:6])}{' ...' if len(good) > 6 else ''}",
        )
    )
    found.append(
        Finding(
            "critic",
            model.critic is not None,
            "there is one" if model.critic is not None else "none: samples have no critic score",
        )
    )
    return found


def _differentiable(model: Model) -> Finding:
    space = open_space(model, "z")
    z = space.sample(2, stream(0, "check")).requires_grad_(True)
    try:
        (gradient,) = torch.autograd.grad(space.decode(z).square().sum(), z)
        good = bool(torch.isfinite(gradient).all() and gradient.abs().sum() > 0)
        return Finding(
            "gradients", good, "flow from samples to latents" if good else "are zero or not finite"
        )
    except RuntimeError as error:
        return Finding("gradients", False, f"do not flow: {str(error).splitlines()[0]}")


def _space(model: Model, name: str, expected: Tensor) -> Finding:
    """A space works when what it takes out of a latent draws what the latent draws: `expected`, the samples of z."""
    try:
        space = open_space(model, name)
        with torch.no_grad():
            points = space.sample(3, stream(0, "check"))
            drawn = space.decode(points)
        good = drawn.shape == expected.shape and torch.allclose(drawn, expected, atol=1e-3)
        return Finding(
            f"space {name}",
            good,
            f"points {space.shape}" if good else "does not draw what its latents draw: skips around it?",
        )
    except (GanvasError, RuntimeError) as error:
        return Finding(f"space {name}", False, str(error).splitlines()[0])


def check_style_based(generator: GeneratorBase) -> list[Finding]:
    """Whether the steps of a `ganvas.networks.StyleBased` generator are there and fit each other.

    Tried in evaluation mode, on a copy where it is in training.
    """
    return verify_style(generator)


def check_loss(name: str) -> None:
    """Try what training asks of a registered adversarial loss. Raises `AssertionError` that says what is wrong."""
    loss = losses.get(name)
    real = torch.tensor([0.3, 0.2, 0.5], requires_grad=True)
    fake = torch.tensor([0.1, 0.4, 0.2], requires_grad=True)
    for scale in (1.0, 120.0):  # a sure critic must not overflow
        for sign in (1.0, -1.0):
            critic, generator = (
                side(sign * scale * real, scale * fake) for side in (loss.critic, loss.generator)
            )
            for side, value in (("critic", critic), ("generator", generator)):
                _claim(value.shape == (), f"{name}: the {side}'s loss is {tuple(value.shape)}, not a scalar")
                found = float(value.detach())
                _claim(
                    math.isfinite(found),
                    f"{name}: the {side}'s loss is {found} for logits up to {scale / 2:g}",
                )
    to_real, to_fake = torch.autograd.grad(loss.critic(real, fake), (real, fake))
    _claim(bool((to_real < 0).all()), f"{name}: the critic must lower its loss by raising real logits")
    _claim(bool((to_fake > 0).all()), f"{name}: the critic must lower its loss by lowering fake logits")
    generator = loss.generator(real.detach(), fake)
    (to_fake,) = torch.autograd.grad(generator, fake)
    _claim(bool((to_fake < 0).all()), f"{name}: the generator must lower its loss by raising fake logits")
    _claim(
        loss.pairs or torch.equal(loss.generator(real.detach() - 1, fake), generator),
        f"{name}: the generator's loss reads the real logits; register it with pairs=True",
    )


def check_family(name: str, shapes: Sequence[tuple[int, ...]] = SHAPES) -> None:
    """Try what training and sampling ask of a registered family, at every one of `shapes` that it draws.

    Shapes, ranges, gradients to every weight, second derivatives, labels, and that a seed alone decides the weights.
    Give `Family(tiny=...)` options that make it fast. Raises `AssertionError` that says what is wrong.
    """
    drawn = 0
    for shape in shapes:
        for classes in (0, 3):
            try:
                generator, critic = _pair(name, shape, classes)
            except GanvasError as error:
                _claim("--" in str(error), f"{name} refuses {shape} without saying what to type: {error}")
                continue
            drawn += 1
            _check_pair(f"{name} at {shape}", generator, critic, shape, classes)
    _claim(drawn > 0, f"{name} draws none of {list(shapes)}")


def _pair(name: str, shape: tuple[int, ...], classes: int, seed: int = 0) -> tuple[GeneratorBase, CriticBase]:
    tiny = families.get(name).tiny
    config = NetworkConfig(name, latent_dim=6, conditional=classes > 0, generator=tiny, critic=tiny)
    return build_generator(config, shape, classes, seed), build_critic(config, shape, classes, seed)


def _check_pair(
    what: str, generator: GeneratorBase, critic: CriticBase, shape: tuple[int, ...], classes: int
) -> None:
    random = stream(0, "check")
    z = torch.randn(4, 6, generator=random)
    labels = torch.tensor([0, 1, 2, 0]) if classes else None
    fake = generator(z, labels)
    _claim(fake.shape == (4, *shape), f"{what}: the generator draws {tuple(fake.shape)} of 4 latents")
    low, high = generator.value_range
    inside = low <= float(fake.detach().min()) and float(fake.detach().max()) <= high
    _claim(inside or len(shape) == 1, f"{what}: values beyond the {low:g} to {high:g} that value_range says")
    logits = critic(fake, labels)
    _claim(logits.shape == (4,), f"{what}: the critic gives {tuple(logits.shape)} for 4 samples")
    logits.sum().backward()
    for kimg in GROWTH:  # what grows uses every layer at some level
        level = generator.grow(kimg)
        if level is not None:
            critic.follow(level)
            critic(generator(z, labels), labels).sum().backward()
    for network in (generator, critic):
        for weight, parameter in network.named_parameters():
            good = parameter.grad is not None and bool(parameter.grad.isfinite().all())
            _claim(good, f"{what}: no finite gradient reaches {weight} of the {type(network).__name__}")
    critic.zero_grad()
    x = torch.randn(4, *shape, generator=random).requires_grad_(True)
    (gradient,) = torch.autograd.grad(critic(x, labels).sum(), x, create_graph=True)
    try:
        gradient.square().sum().backward()
    except RuntimeError as error:
        raise AssertionError(
            f"{what}: gradient penalties need second derivatives of the critic: {error}"
        ) from error
    twice = any(p.grad is not None and bool(p.grad.any()) for p in critic.parameters())
    _claim(twice, f"{what}: the critic's second derivatives are 0; gradient penalties need them")
    name, seeds = what.split(" at ")[0], (1, 1, 2)
    first, again, other = (_pair(name, shape, classes, seed)[0].state_dict() for seed in seeds)
    _claim(all(torch.equal(first[k], again[k]) for k in first), f"{what}: one seed gives two sets of weights")
    _claim(
        any(not torch.equal(first[k], other[k]) for k in first), f"{what}: all seeds give the same weights"
    )
    generator.eval()
    with torch.no_grad():
        apart = (
            (generator(z, labels)[:2] - generator(z[:2], None if labels is None else labels[:2])).abs().max()
        )
        _claim(
            float(apart) < 1e-4,
            f"{what}: a sample depends on its neighbours in the batch, by {float(apart):g}",
        )
        if labels is not None:
            _claim(
                not torch.allclose(generator(z, labels), generator(z, 2 - labels)),
                f"{what}: G ignores labels",
            )
            _claim(not torch.allclose(critic(x, labels), critic(x, 2 - labels)), f"{what}: D ignores labels")
            for each, given in ((generator, z), (critic, x)):
                try:
                    each(given)
                except GanvasError:
                    continue
                raise AssertionError(
                    f"{what}: a conditional {type(each).__name__} must refuse missing labels"
                )


def check_sampler(name: str) -> None:
    """Try what `ganvas sample` asks of a registered sampler, and whether what it says of itself is true.

    It draws from the identity, whose density is known, towards two Gaussians. With `exact` options its samples are compared with
    those of the target p_G r (Kolmogorov-Smirnov). Raises `AssertionError` that says what is wrong.
    """
    sampler = samplers.get(name)
    space = open_space(wrap(nn.Identity(), latent_dim=2, shape=(2,)), "z")
    heard: list[tuple[int, int]] = []

    def draw(ratio: Ratio, n: int = 40, seed: int = 0, **options: Any) -> Drawn:
        return sampler(
            space, ratio, n, generator=torch.Generator().manual_seed(seed),
            callback=lambda done, total: heard.append((done, total)), **{**sampler.tiny, **options},
        )  # fmt: skip

    found, again, other = draw(_two_gaussians), draw(_two_gaussians), draw(_two_gaussians, seed=1)
    for what, value in (("points", found.points), ("samples", found.samples)):
        _claim(tuple(value.shape) == (40, 2), f"{name}: {what} are {tuple(value.shape)}, expected (40, 2)")
    _claim(tuple(found.log_ratio.shape) == (40,), f"{name}: log_ratio is {tuple(found.log_ratio.shape)}")
    _claim(bool(found.log_ratio.isfinite().all()), f"{name}: a log ratio is not finite")
    _claim(
        torch.equal(found.samples, again.samples),
        f"{name}: the same generator draws other samples; use `Target.normal`",
    )
    _claim(
        not torch.equal(found.samples, other.samples),
        f"{name}: it does not draw from the generator it is given",
    )
    _claim(found.cost >= 1, f"{name}: {found.cost:g} forward passes a sample; the least is 1")
    _claim(all(0 < done <= total for done, total in heard), f"{name}: the callback hears {heard}")
    # Another target of the same height: one that is unbounded would keep a rejection sampler busy for minutes.
    turned = draw(lambda samples, labels: _two_gaussians(-samples, labels))
    same = torch.equal(found.samples, turned.samples)
    _claim(not sampler.blind or same, f"{name}: it is blind and yet follows the ratio")
    _claim(sampler.blind or not same, f"{name}: it never asks the ratio; register it with blind=True")
    once = any(key.startswith("one_off") for key in draw(_two_gaussians, 1).info)
    _claim(
        once == sampler.bank,
        f"{name}: bank={sampler.bank}, and info names {'a' if once else 'no'} one_off cost",
    )
    if not sampler.blind:
        follows = _refuses(lambda: draw(lambda samples, labels: _two_gaussians(samples.detach(), labels)))
        _claim(
            follows == sampler.gradient,
            f"{name}: gradient={sampler.gradient}, and a ratio without one is {'refused' if follows else 'taken'}",
        )
    for budget in (1, 10, 100):
        unknown = set(sampler.at_budget(budget)) - set(sampler.options)
        _claim(not unknown, f"{name}: at_budget gives {sorted(unknown)}, which is no option of it")
    for option, default in sampler.options.items():
        if not isinstance(default, bool):
            wrong: dict[str, Any] = {option: "nonsense"}
            refused = _refuses(partial(draw, _two_gaussians, **wrong))
            _claim(
                refused,
                f"{name}: {option}='nonsense' must be a GanvasError (`ganvas.arrays` has count and number)",
            )
    _claim(
        _refuses(lambda: draw(_two_gaussians, 0)), f"{name}: n = 0 must be a GanvasError (`Target` raises it)"
    )
    classes = wrap(_Classes(), latent_dim=2, shape=(2,), num_classes=3)
    labels = torch.tensor([2, 0, 1, 1]).repeat(10)

    def around(samples: Tensor, labels: Tensor | None) -> Tensor:
        centre = torch.zeros(len(samples), 1) if labels is None else 5.0 * labels[:, None]
        return _two_gaussians(samples - centre)

    held = sampler(open_space(classes, "z"), around, 40, labels=labels, **sampler.tiny)
    kept = held.labels is not None and torch.equal(held.labels, labels)
    near = ((held.samples.mean(1) / 5).round() == labels).float().mean() > 0.9
    _claim(kept and bool(near), f"{name}: sample i is not of the class labels[i]")
    if sampler.exact is not None:
        _check_exact(name, space, sampler.exact)


def _check_exact(name: str, space: LatentSpace, options: Mapping[str, Any]) -> None:
    from scipy.stats import ks_2samp

    random = stream(1, "check")
    drawn = samplers.get(name)(space, _two_gaussians, 2000, generator=random, **options).samples
    target = CENTRES[torch.randint(2, (20_000,), generator=random)] + SIGMA * torch.randn(
        20_000, 2, generator=random
    )
    angles = torch.arange(8) * math.pi / 8
    axes = torch.stack([angles.cos(), angles.sin()])
    p = min(float(ks_2samp((drawn @ axis).numpy(), (target @ axis).numpy()).pvalue) for axis in axes.t())
    _claim(
        8 * p > 1e-4,
        f"{name}: with {dict(options)} its samples are not those of the target (p = {8 * p:.1g})",
    )


def check_metric(name: str) -> None:
    """Try what `evaluate` asks of a registered metric, and whether `better` is true.

    It sees good fakes, and fakes that are bad in several ways: far off, collapsed, scattered, copied. Each figure has to call one
    of the bad ones worse by more than a tenth of what another seems to gain. Raises `AssertionError` that says what is wrong.
    """
    metric = metrics.get(name)
    good = _inputs("good")
    if why := metric.fits(good):
        raise AssertionError(f"{name} cannot be had for 400 points of 4 known classes: {why}")
    values, again = metric.compute(good), metric.compute(_inputs("good"))
    _claim(bool(values), f"{name}: compute gives no figure")
    for value in values:
        _claim(math.isfinite(value.value), f"{name}: {value.name} is {value.value}")
    _claim(values == again, f"{name}: the same inputs give other figures; draw from `inputs.seed`")
    for value in values:
        _claim(value.error is None or value.error >= 0, f"{name}: {value.name} has the error {value.error}")
        _claim(
            value.name.split("[")[0] in metric.better,
            f"{name}: `better` does not say which way {value.name} gets better",
        )
    bad = [{value.name: value.value for value in metric.compute(_inputs(way))} for way in BAD]
    for value in values:
        better = metric.better[value.name.split("[")[0]]
        lost = [_lost(better, value.value, each[value.name]) for each in bad if value.name in each]
        # Not each way of being bad shows in each figure, and copies look better than honest samples in most.
        _claim(
            max(lost) > 0.1 * -min(lost) and max(lost) > 0,
            f"{name}: {value.name} is said to be better {better!r}, and no bad sample is worse than good ones",
        )
    nothing = Features(np.zeros((3, 2), np.float32), None)
    few = Inputs(nothing, nothing)
    if not metric.fits(few):  # what says that it fits has to compute
        metric.compute(few)


def _lost(better: str, good: float, bad: float) -> float:
    """By how much a figure calls bad samples worse than good ones."""
    if better.startswith("near "):
        target = float(better.removeprefix("near "))
        return abs(bad - target) - abs(good - target)
    _claim(better in ("lower", "higher"), f"`better` is {better!r}; expected lower, higher or near X")
    return bad - good if better == "lower" else good - bad


def _inputs(way: str) -> Inputs:
    """Points around four centres, a class each, and fakes that are `good` or bad in one of the ways of `BAD`."""
    centres = 6.0 * np.eye(4, 6)

    def drawn(seed: int) -> tuple[np.ndarray, np.ndarray]:
        random = np.random.default_rng(seed)
        kinds = np.arange(400) % 4
        return (centres[kinds] + random.normal(size=(400, 6))).astype(np.float32), kinds

    (real, kinds), (held_out, _), (fake, asked) = drawn(0), drawn(1), drawn(2)
    if way == "far":
        fake = fake + 3
    elif way == "collapsed":
        fake = fake[:1] + 0.1 * (fake - centres[asked]).astype(np.float32)
    elif way == "scattered":
        fake = fake.mean(0) + 4 * (fake - fake.mean(0))
    elif way == "copied":
        fake = real.copy()

    def logits(points: np.ndarray) -> np.ndarray:
        found: np.ndarray = -np.square(points[:, None] - centres).sum(2).astype(np.float32)
        return found

    return Inputs(
        Features(fake, logits(fake)), Features(real, logits(real)), 0, asked, kinds, "0123", Features(held_out, None),
        (centres, 1.0), lambda: (1.0 if way == "good" else 3.0, 0.1),
    )  # fmt: skip


class _Classes(nn.Module):
    """Class k draws around 5 k."""

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        return z + 5.0 * labels[:, None]


def _two_gaussians(samples: Tensor, labels: Tensor | None = None) -> Tensor:
    """log ratio of two Gaussians over the standard normal prior."""
    each = -(samples[:, None] - CENTRES).square().sum(2) / (2 * SIGMA**2) - math.log(2 * SIGMA**2)
    return each.logsumexp(1) + samples.square().sum(1) / 2


def _refuses(call: Callable[[], object]) -> bool:
    try:
        call()
    except GanvasError:
        return True
    return False


def _claim(true: bool, text: str) -> None:
    """An `assert` that python -O keeps."""
    if not true:
        raise AssertionError(text)
