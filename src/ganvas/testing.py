"""For people with a generator of their own: what works with it, what does not, and why."""

import copy
import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ganvas.device import stream
from ganvas.errors import GanvasError
from ganvas.foreign import Finding, verify
from ganvas.latent import open_space, spaces
from ganvas.model import Model, draw_prior
from ganvas.networks import GeneratorBase, StyleBased

__all__ = ["Finding", "check_generator", "check_style_based"]


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


def _space(model: Model, name: str, expected: torch.Tensor) -> Finding:
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


@torch.no_grad()
def check_style_based(generator: GeneratorBase) -> list[Finding]:
    """Whether the steps of a `ganvas.networks.StyleBased` generator are there and fit each other, tried on a copy of it."""
    members = [name for name in (*StyleBased.__annotations__, *vars(StyleBased)) if not name.startswith("_")]
    if lacking := [name for name in members if not hasattr(generator, name)]:
        return [Finding("members", False, f"it lacks {', '.join(lacking)}")]
    tried: Any = copy.deepcopy(generator).eval()
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
        plain, moved = tried.synthesis(styles), rows.repeat(tried.num_layers, 1, 1)
        for i in range(tried.num_layers):
            moved[4 * i : 4 * i + 4, i] += w.std()
        others = tried.synthesis(tried.styles(moved)).unflatten(0, (tried.num_layers, 4))
        least = 1e-5 * plain.abs().max()  # batches of another size may round otherwise
        return bool(((others - plain).flatten(1).abs().amax(1) > least).all())

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
