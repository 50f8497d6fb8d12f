"""A step takes nothing to its device and asks it nothing, which no graph could hold: seen on the meta device, without a GPU."""

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ganvas.config import replace_at
from ganvas.losses import augmentations, penalties, terms
from ganvas.presets import presets
from ganvas.training import engine
from ganvas.training.method import DataSpec, build_method, methods

BATCH, CLASSES = 16, 3
META = torch.device("meta")
BESIDE: dict[str, dict[str, Any]] = {
    "auxiliary": {"network.conditional": True, "network.critic": {"auxiliary": True}},
    "codes": {"network.critic": {"codes": 2}},
    "categories": {"network.categorical": [3]},
    "path-length": {"preset": "hour"},
}
"""What a term needs."""
CASES: dict[str, dict[str, Any]] = {
    **{f"term {name}": {"objective.terms": [{"name": name}], **BESIDE.get(name, {})} for name in terms},
    "augmented": {"augment": {"policy": list(augmentations), "p": 0.2, "target": 0.6}},
    "penalties": {"objective.penalties": [{"name": name} for name in penalties]},
    **{name: {"preset": name} for name in ("wgan", "r3", "projected", "progressive")},
    **{name: {"preset": name} for name in sorted(set(methods) & set(presets)) if name not in ("private", "latent")},
    "colours": {"preset": "photo-gpu", "shape": (3, 16, 16)},
    "classes": {"preset": "biggan", "network.conditional": True},
    "attention": {"preset": "sagan", "network.conditional": True, "shape": (1, 32, 32)},
    "series": {"preset": "series", "shape": (2, 24)},
    "timegan": {"preset": "timegan", "shape": (2, 24)},
    "points": {"preset": "toy", "shape": (2,)},
    "pseudo": {"augment": {"p": 0.2, "target": 0.6, "pseudo": True}},
    "noise": {"objective.instance_noise": 0.1, "objective.input_noise": 0.1},
    "packs": {"network.pack": 2},
    "averages": {"training.ema_also_kimg": [1.0], "training.ema_statistics": True},
}  # fmt: skip


class Apart(TorchDispatchMode):
    """Refuses what mixes tensors of the device with others; single numbers are no tensors there."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = [each for each in tree_leaves((args, kwargs or {})) if isinstance(each, torch.Tensor)]
        there, here = [each for each in given if each.is_meta], [each for each in given if not each.is_meta]
        copies = func in (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)
        taken = bool(here) and (bool(there) or (kwargs or {}).get("device") == META)
        assert not (taken and (copies or any(each.dim() for each in here))), f"{func} takes from the CPU"
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("case", CASES)
def test_a_step_takes_nothing_to_its_device(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    changes = dict(CASES[case])
    config, shape = presets.get(changes.pop("preset", "small")), changes.pop("shape", (1, 16, 16))
    settings = {"training.batch": BATCH, "training.precision": "fp32", "training.compile": False}
    for path, value in (settings | changes).items():
        config = replace_at(config, path, value)
    # The meta device has no generators, no number formats, and no optimiser of one kernel.
    monkeypatch.setattr(engine, "stream", lambda *_: None)
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    monkeypatch.setattr(
        engine, "optimizer_of", lambda config, network, rate: torch.optim.SGD(network.parameters(), rate)
    )
    classes = CLASSES if config.network.conditional else 0
    made = build_method(config, DataSpec(shape, classes), META)
    made.engine.steps = 2**10 * 3**4 * 5  # all that is lazy is due
    kind = torch.uint8 if len(shape) == 3 else torch.float32
    labels = torch.zeros(BATCH, dtype=torch.int64, device=META) if classes else None
    samples = torch.zeros(BATCH, *shape, dtype=kind, device=META)
    batches = [(samples, labels)] * len(made.streams) * made.batches_per_step
    made.prepare(0.9)
    made.figured(batches)  # what is made once and kept is made here
    with Apart():
        made.figured(batches)
