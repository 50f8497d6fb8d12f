"""Everything that a resumed run needs, in one file: safetensors, written atomically, never a pickle."""

from ganvas import io
from ganvas.checkpoint import pack, unpack
from ganvas.errors import GanvasError
from ganvas.runs import Run
from ganvas.training.players import Players


def save(run: Run, players: Players, seconds: float) -> None:
    """Write state/latest.safetensors."""
    header = {"kind": "state", "images": players.images, "steps": players.steps, "seconds": seconds}
    header["rate_factor"] = players.rate_factor
    with io.atomic(run.state_path) as temporary:
        io.save_tensors(temporary, pack(players.random, players.tensors(), players.optimizers()), header)


def restore(run: Run, players: Players) -> float:
    """Load the state into `players`; returns the seconds trained so far."""
    tensors, header = io.load_tensors(run.state_path)
    try:
        unpack(tensors, players.random, players.tensors(), players.optimizers())
        if players.captured is not None:
            players.captured.forget()
        players.rate_factor = float(header.get("rate_factor", 1.0))
        players.images, players.steps = int(header["images"]), int(header["steps"])
        return float(header["seconds"])
    except (KeyError, RuntimeError, ValueError, TypeError) as error:
        raise GanvasError(f"{run.state_path} does not fit the run's config: {error}") from error
