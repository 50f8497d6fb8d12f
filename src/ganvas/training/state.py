"""Everything that a resumed run needs, in one file: safetensors, written atomically, never a pickle."""

import math
from dataclasses import dataclass, field, replace

from torch import Tensor

from ganvas import io
from ganvas.checkpoint import pack, unpack
from ganvas.config import Config, differences, read_config, to_dict
from ganvas.errors import GanvasError
from ganvas.runs import Run, records
from ganvas.training.method import Method, methods

MAY_CHANGE = (
    "kimg", "minutes", "device", "log_kimg", "snapshot_kimg", "eval_kimg", "eval_samples", "monitor_kimg", "duality_steps",
    "on_collapse", "compile", "capture",
)  # fmt: skip
"""Settings of `training` with which a state may go on that was written with others."""
BUDGET = ("kimg", "minutes")
"""Those of them that a method may have taken something from (`Method.follows_budget`)."""


LONGEST = 2.0**53
"""Images, steps and seconds that a state may have had."""


@dataclass
class Memory:
    """What a run remembers beside its method."""

    seconds: float = 0.0
    """Trained so far."""
    rollbacks: int = 0
    """Times that it went back after a collapse."""
    records: list[io.Json] = field(default_factory=list)
    """The lines of statistics with measurements that the verdicts rest on, oldest first."""
    drawn: Tensor | None = None
    """The monitor's last sketch of its samples, which the next one is compared with."""


def save(run: Run, method: Method, memory: Memory, fingerprint: str) -> None:
    """Write state/latest.safetensors."""
    engine = method.engine
    header = {
        "kind": "state", "images": engine.images, "steps": engine.steps, "seconds": memory.seconds,
        "rate_factor": engine.rate_factor, "rollbacks": memory.rollbacks, "records": memory.records,
        "config": to_dict(method.config), "data": fingerprint,
    }  # fmt: skip
    tensors = pack(engine.random, method.networks.items(), method.optimizers.items())
    if memory.drawn is not None:
        tensors["monitor.drawn"] = memory.drawn
    run.check_home()
    with io.atomic(run.state_path) as temporary:
        io.save_tensors(temporary, tensors, header)


def check(run: Run, config: Config, fingerprint: str) -> io.Json:
    """The state's header; raises `GanvasError` unless it is a state of this config and these data.

    States of before know of neither: their tensors tell whether they fit.
    """
    header = io.read_header(run.state_path)
    if header.get("kind") != "state":
        raise GanvasError(f"{run.state_path} holds a {header.get('kind')}, expected a state.")
    for name in ("images", "steps", "seconds"):
        if not isinstance(header.get(name), (int, float)) or not 0 <= header[name] < LONGEST:
            raise GanvasError(f"{run.state_path} is damaged: its {name!r} is {header.get(name)!r}.")
    if "config" in header:
        written = read_config(header["config"], header["format_version"], "the state's config")
        kept = BUDGET if methods.get(written.method.name).follows_budget(written) else ()
        now = {name: getattr(config.training, name) for name in MAY_CHANGE if name not in kept}
        written = replace(written, training=replace(written.training, **now))
        if found := differences(written, config):
            raise GanvasError(
                f"{run.state_path} was written with other settings than config.json holds: {'; '.join(found)} (state -> config). "
                "Bring back the file that belongs here."
            )
    if header.get("data", fingerprint) != fingerprint:
        raise GanvasError(f"{run.state_path} was trained on other data than {run.path} names.")
    return header


def restore(run: Run, method: Method, fingerprint: str) -> Memory:
    """Load the state into `method`; what the run remembers beside them."""
    engine = method.engine
    check(run, method.config, fingerprint)
    tensors, header = io.load_tensors(run.state_path)
    try:
        unpack(tensors, engine.random, method.networks.items(), method.optimizers.items())
        if engine.captured is not None:
            engine.captured.forget()
        engine.rate_factor = float(header.get("rate_factor", 1.0))
        if not 0 < engine.rate_factor <= 1 or not 0 <= _rollbacks(header) < 64:
            raise ValueError(f"rate_factor {engine.rate_factor:g}, {_rollbacks(header)} rollbacks")
        engine.images, engine.steps = int(header["images"]), int(header["steps"])
        return Memory(
            float(header["seconds"]), _rollbacks(header), _records(header, run), tensors.get("monitor.drawn")
        )
    except (KeyError, RuntimeError, ValueError, TypeError, OverflowError) as error:
        raise GanvasError(f"{run.state_path} does not fit the run's config: {error}") from error


def _rollbacks(header: io.Json) -> int:
    if "rollbacks" in header:
        return int(header["rollbacks"])
    rate = float(header.get("rate_factor", 1.0))  # each one halved the rates
    return round(-math.log2(rate)) if 0 < rate < 1 else 0


def _records(header: io.Json, run: Run) -> list[io.Json]:
    if "records" not in header:
        kimg = float(header["images"]) / 1000
        return [record for record in run.stats() if record["kimg"] <= kimg + 1e-3]
    return records(header["records"])
