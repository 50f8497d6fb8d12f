"""The loop of the small networks here (encoder, reconstructor, reader of factors): a loss, a rate, a state to resume from."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from ganvas.checkpoint import Checkpoint
from ganvas.errors import GanvasError

Advance = Callable[[int, int], None]
"""(done, of how many) for a progress bar."""


def fit(
    modules: Sequence[tuple[str, nn.Module]],
    loss: Callable[[], Tensor],
    rate: Callable[[int], float],
    steps: int,
    random: torch.Generator,
    checkpoint: Checkpoint,
    progress: Advance | None = None,
) -> None:
    """Take `steps` steps of Adam on all weights of `modules`, at the rate of each step.

    `loss` draws its batch by `random`, whose state is kept with the weights. Ends in evaluation mode. Raises `GanvasError` when a
    loss is not finite.
    """
    optimizer = torch.optim.Adam([p for _, module in modules for p in module.parameters()], lr=rate(0))
    state = (random, modules, [("optimizer", optimizer)])
    for step in range(checkpoint.resume(*state), steps):
        optimizer.param_groups[0]["lr"] = rate(step)
        found = loss()
        if not torch.isfinite(found):
            raise GanvasError(
                f"The generator drew NaN or infinity at step {step} of the training of {modules[-1][0]}."
            )
        optimizer.zero_grad()
        found.backward()
        optimizer.step()
        checkpoint.keep(step + 1, *state)
        if progress is not None:
            progress(step + 1, steps)
    for _, module in modules:
        module.eval()
