"""Drawing as a CUDA graph. For a few pictures a GPU waits for the host to launch its kernels; a graph is one launch."""

from collections.abc import Callable

import torch
from torch import Tensor

WARM_UP = 3
"""Calls that run as they are written before one is captured: libraries choose their kernels in them."""


class Replay:
    """`draw(z, labels)`, from the call after `WARM_UP` on as a CUDA graph, where z and labels are as large as in the first call.

    It is for a loop over batches: weights and settings of the network must stay as they are while it is in use. Anywhere but
    on CUDA, for other sizes, and where a network can not be captured (as it asks the device for a number), it runs as it is
    written.
    """

    def __init__(self, draw: Callable[[Tensor, Tensor | None], Tensor]) -> None:
        self.draw = draw
        self.calls = 0
        self.graph: torch.cuda.CUDAGraph | None = None
        self.impossible = False

    def __call__(self, z: Tensor, labels: Tensor | None) -> Tensor:
        """What is drawn: a tensor of the caller's own."""
        if z.device.type != "cuda" or self.impossible or (self.calls and not self._fits(z, labels)):
            return self.draw(z, labels)
        # Streams and graphs are those of the current GPU, which need not be that of z.
        with torch.cuda.device(z.device):
            return self._drawn(z, labels)

    def _drawn(self, z: Tensor, labels: Tensor | None) -> Tensor:
        self.calls += 1
        if self.calls == 1:
            self.z, self.labels = z.clone(), None if labels is None else labels.clone()
        if self.calls <= WARM_UP:
            return self._aside(z, labels)
        if self.graph is None and not self._capture():
            return self.draw(z, labels)
        assert self.graph is not None
        self.z.copy_(z)
        if self.labels is not None and labels is not None:
            self.labels.copy_(labels)
        self.graph.replay()
        return self.drawn.clone()

    def _fits(self, z: Tensor, labels: Tensor | None) -> bool:
        if labels is None or self.labels is None:
            return z.shape == self.z.shape and labels is self.labels
        return z.shape == self.z.shape and labels.shape == self.labels.shape

    def _aside(self, z: Tensor, labels: Tensor | None) -> Tensor:
        """On a side stream, as torch asks for: what is set up lazily must not belong to the default one."""
        side, main = torch.cuda.Stream(), torch.cuda.current_stream()
        side.wait_stream(main)
        with torch.cuda.stream(side):
            drawn = self.draw(z, labels)
        main.wait_stream(side)
        drawn.record_stream(main)
        return drawn

    def _capture(self) -> bool:
        graph = torch.cuda.CUDAGraph()
        try:
            # Not the stream that torch keeps for all graphs: it may be of another GPU. Other threads may work meanwhile.
            with torch.cuda.graph(graph, stream=torch.cuda.Stream(), capture_error_mode="thread_local"):
                self.drawn = self.draw(self.z, self.labels)
        except RuntimeError:
            torch.cuda.synchronize()
            self.impossible = True
            return False
        self.graph = graph
        return True
