"""Whether a method keeps the contract that the loop, the state and the monitor rely on: `ganvas.testing.check_method`."""

from collections.abc import Callable

import torch

from ganvas.checkpoint import pack, unpack
from ganvas.config import Config
from ganvas.data import Batches, Dataset
from ganvas.errors import GanvasError
from ganvas.model import Model
from ganvas.networks import GeneratorBase
from ganvas.training.loop import streams_of
from ganvas.training.method import DataSpec, Method, build_method, methods
from ganvas.training.monitor import Monitor


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
            name: iter(Batches(method.takes(part), t.batch, t.seed, device))
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
        if name not in ("augment", *method.frozen)
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
        if method.repeats and not torch.equal(ends[0][key], ends[1][key]):
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
