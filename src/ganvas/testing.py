"""For people with a generator of their own: what works with it, what does not, and why."""

import torch

from ganvas.device import stream
from ganvas.errors import GanvasError
from ganvas.foreign import Finding, verify, verify_style
from ganvas.latent import open_space, spaces
from ganvas.model import Model
from ganvas.networks import GeneratorBase

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


def check_style_based(generator: GeneratorBase) -> list[Finding]:
    """Whether the steps of a `ganvas.networks.StyleBased` generator are there and fit each other.

    Tried in evaluation mode, on a copy where it is in training.
    """
    return verify_style(generator)
