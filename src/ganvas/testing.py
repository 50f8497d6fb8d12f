"""For people with a generator of their own: what works with it, what does not, and why."""

from dataclasses import dataclass

import torch

from ganvas.device import stream
from ganvas.errors import GanvasError
from ganvas.latent import open_space, spaces
from ganvas.model import Model


@dataclass(frozen=True)
class Finding:
    """One check."""

    name: str
    passed: bool
    text: str

    def __str__(self) -> str:
        return f"{'ok     ' if self.passed else 'missing'} {self.name}: {self.text}"


def check_generator(model: Model) -> list[Finding]:
    """Try what the tools need, in words. Give the result of `ganvas.wrap(...)` or `ganvas.load(...)`."""
    generator, found = model.generator, []
    z = model.latents(4, seed=0).to(model.device)
    labels = model.labels(4)
    labels = None if labels is None else labels.to(model.device)
    with torch.no_grad():
        first, again, part = (
            generator(z, labels),
            generator(z, labels),
            generator(z[:2], None if labels is None else labels[:2]),
        )
    found.append(
        Finding("sampling", True, f"latents ({model.latent_dim},) -> samples {tuple(first.shape[1:])}")
    )
    same = torch.equal(first, again)
    found.append(
        Finding(
            "repeatable",
            same,
            "the same latent draws the same sample"
            if same
            else "the same latent draws other samples: noise inside?",
        )
    )
    alone = torch.allclose(first[:2], part, atol=1e-4)
    found.append(
        Finding(
            "independent",
            alone,
            "a sample does not depend on its batch"
            if alone
            else "samples depend on their batch: batch norm in training mode?",
        )
    )
    low, high = generator.value_range
    inside = bool(first.min() >= low - 1e-3 and first.max() <= high + 1e-3)
    values = f"values {float(first.min()):.2f} to {float(first.max()):.2f} within {generator.value_range}"
    found.append(
        Finding(
            "range",
            inside,
            values if inside else values.replace("within", "outside of") + ": give value_range",
        )
    )
    differs = bool((first[0] - first[1]).abs().max() > 1e-4)
    found.append(
        Finding(
            "latent matters",
            differs,
            "other latents draw other samples" if differs else "all latents draw the same",
        )
    )
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
