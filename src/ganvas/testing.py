"""For people who bring something of their own, a generator or a method: what works with it, what does not, and why."""

from collections.abc import Callable

import torch

from ganvas.checkpoint import pack, unpack
from ganvas.config import Config
from ganvas.data import Batches, Dataset
from ganvas.device import stream
from ganvas.errors import GanvasError
from ganvas.foreign import Finding, verify, verify_style
from ganvas.latent import open_space, spaces
from ganvas.model import Model
from ganvas.networks import GeneratorBase
from ganvas.training.loop import streams_of
from ganvas.training.method import DataSpec, Method, build_method, methods
from ganvas.training.monitor import Monitor

__all__ = ["Finding", "check_generator", "check_method", "check_style_based"]


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


def check_method(config: Config, dataset: Dataset, steps: int = 4) -> None:
    """Try what the loop, the state and the monitor expect of the method that a config names, on a few steps of the CPU.

    Checked: finite figures of the same names at each step; weights that move; a state that continues to the same weights;
    a probe that leaves no trace; exports with tensors; a `generator` that can be drawn from. Raises `GanvasError` naming the
    first thing that does not hold.
    """
    spec, device = DataSpec(dataset.shape, dataset.num_classes), torch.device("cpu")
    methods.get(config.method.name).check(config, spec)
    parts = streams_of(dataset, len(methods.get(config.method.name).streams))

    def made() -> tuple[Method, Callable[[int], dict[str, float]]]:
        method = build_method(config, spec, device)
        t = config.training
        batches = {
            name: iter(Batches(part, t.batch, t.seed, device))
            for name, part in zip(method.streams, parts, strict=True)
        }

        def run(step: int) -> dict[str, float]:
            method.step(lambda name: next(batches[name]), step / (2 * steps))
            return method.engine.read_figures()

        return method, run

    (method, run), (other, run_other) = made(), made()
    before = {k: v.clone() for k, v in pack(method.engine.random, method.networks.items(), ()).items()}
    figures = [run(step) for step in range(steps)]
    for step, found in enumerate(figures):
        if found.keys() != figures[0].keys():
            raise GanvasError(
                f"Step {step} gave the figures {sorted(found)}, the first {sorted(figures[0])}."
            )
        if found["bad_step"] >= 0:
            raise GanvasError(f"A figure of step {step} is not finite: {found}.")
    after = pack(method.engine.random, method.networks.items(), ())
    still = [
        name
        for name in method.networks
        if name != "augment"
        and all(torch.equal(before[k], after[k]) for k in before if k.startswith(f"{name}."))
    ]
    if still:
        raise GanvasError(f"After {steps} steps no tensor of {', '.join(still)} has moved.")
    # One that has seen the same batches but is then given the state must go on to the same weights.
    for step in range(steps):
        run_other(step)
    packed = pack(method.engine.random, method.networks.items(), method.optimizers.items())
    state = {key: value.clone() for key, value in packed.items()}
    unpack(state, other.engine.random, other.networks.items(), other.optimizers.items())
    if method.probe() is not None:
        Monitor(method, dataset, dataset).measure(method)
    run(steps), run_other(steps)
    ends = [
        pack(each.engine.random, each.networks.items(), each.optimizers.items()) for each in (method, other)
    ]
    for key in ends[0]:
        if not torch.equal(ends[0][key], ends[1][key]):
            raise GanvasError(f"{key} differs after a step from the same state: what decides is not in `networks`, or the probe "
                              "leaves a trace.")  # fmt: skip
    exports = method.exports()
    for stem, network in exports.items():
        if not stem.isidentifier() or not network.state_dict():
            raise GanvasError(f"exports() gives {stem!r}, which is no name of a file, or has no tensors.")
    generator = exports.get("generator")
    if generator is not None:
        if not isinstance(generator, GeneratorBase):
            raise GanvasError("exports()['generator'] is no GeneratorBase.")
        Model.of_run(generator, None, config, {}).sample(2)
