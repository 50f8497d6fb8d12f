"""Everything that a resumed run needs, in one file: safetensors, written atomically, never a pickle."""

import torch
from torch import Tensor

from ganvas import io
from ganvas.errors import GanvasError
from ganvas.runs import Run
from ganvas.training.players import Players


def save(run: Run, players: Players, seconds: float) -> None:
    """Write state/latest.safetensors."""
    tensors: dict[str, Tensor] = {"random": players.random.get_state()}
    for name, module in players.tensors():
        tensors |= {f"{name}.{key}": value for key, value in module.state_dict().items()}
    for name, optimizer in players.optimizers():
        for index, slots in optimizer.state_dict()["state"].items():
            tensors |= {f"{name}.{index}.{key}": torch.as_tensor(value) for key, value in slots.items()}
    header = {"kind": "state", "images": players.images, "steps": players.steps, "seconds": seconds}
    header["rate_factor"] = players.rate_factor
    with io.atomic(run.state_path) as temporary:
        io.save_tensors(temporary, tensors, header)


def restore(run: Run, players: Players) -> float:
    """Load the state into `players`; returns the seconds trained so far."""
    tensors, header = io.load_tensors(run.state_path)
    try:
        players.random.set_state(tensors["random"])
        for name, module in players.tensors():
            # copy_ inside keeps each tensor's memory format, on which the last bits of a result may depend.
            module.load_state_dict(_part(tensors, name))
        for name, optimizer in players.optimizers():
            _restore_optimizer(optimizer, _part(tensors, name))
        players.rate_factor = float(header.get("rate_factor", 1.0))
        players.images, players.steps = int(header["images"]), int(header["steps"])
        return float(header["seconds"])
    except (KeyError, RuntimeError, ValueError, TypeError) as error:
        raise GanvasError(f"{run.state_path} does not fit the run's config: {error}") from error


def _part(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return {key.removeprefix(f"{name}."): value for key, value in tensors.items() if key.startswith(f"{name}.")}


def _restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for key, value in tensors.items():
        index, slot = key.split(".")
        parameter = parameters[int(index)]
        if value.shape == parameter.shape:
            value = torch.empty_like(parameter, memory_format=torch.preserve_format).copy_(value).detach()
        elif slot == "step" and parameter.device.type != "cpu":
            value = value.to(parameter.device)
        optimizer.state[parameter][slot] = value
