"""Whole training steps as CUDA graphs. At 28 to 64 px a GPU waits for the host to launch its kernels; a graph is one launch."""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence

import torch
from torch import Tensor, nn

from ganvas.types import Batch

WARM_UP = 3
"""Steps of one kind that run as they are written before it is captured: libraries choose their kernels in them."""

Play = Callable[[Sequence[Batch]], None]


class Captured:
    """Runs `play(batches)` for steps of several kinds, each as a CUDA graph of its own after `WARM_UP` plain ones.

    A kind names what launches other kernels than the rest: the combination of the penalties and terms that are due.
    Everything that `play` reads must keep its place in memory: batches are copied into buffers here, and
    what changes from step to step must be a tensor on the device. `random` is the only source of random numbers; its
    state is advanced by a replay as by the plain step, so that both draw the same numbers.
    """

    def __init__(self, play: Play, random: torch.Generator, parameters: Iterable[nn.Parameter]) -> None:
        self.play, self.random, self.parameters = play, random, list(parameters)
        self.device = random.device
        self.side = torch.cuda.Stream(self.device)
        self.pool = torch.cuda.graph_pool_handle()
        self.forget()

    def forget(self) -> None:
        """Drop the graphs: needed when tensors of the optimisers have been replaced, as loading a state does."""
        self.graphs: dict[Hashable, tuple[torch.cuda.CUDAGraph, list[Tensor | None]]] = {}
        self.seen: Counter[Hashable] = Counter()
        self.batches: list[Batch] = []
        self.last: Hashable = None

    def __call__(self, kind: Hashable, batches: Sequence[Batch]) -> None:
        """One step, on the streams of its GPU, which need not be the current one."""
        with torch.cuda.device(self.device):
            self._step(kind, batches)

    def _step(self, kind: Hashable, batches: Sequence[Batch]) -> None:
        self._fill(batches)
        if kind not in self.graphs:
            self.seen[kind] += 1
            if self.seen[kind] <= WARM_UP:
                # On a side stream, as torch asks for: what is set up lazily must not belong to the default one.
                self.side.wait_stream(torch.cuda.current_stream())
                with torch.cuda.stream(self.side):
                    self.play(self.batches)
                torch.cuda.current_stream().wait_stream(self.side)
                self.last = None
                return
            self._capture(kind)
        graph, gradients = self.graphs[kind]
        if kind != self.last:  # whoever looks at gradients between two steps shall see those of the last one
            for parameter, gradient in zip(self.parameters, gradients, strict=True):
                parameter.grad = gradient
            self.last = kind
        graph.replay()

    def _capture(self, kind: Hashable) -> None:
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(self.random)
        # Other threads may work with the GPU meanwhile.
        with torch.cuda.graph(graph, pool=self.pool, stream=self.side, capture_error_mode="thread_local"):
            self.play(self.batches)
        self.graphs[kind] = (graph, [parameter.grad for parameter in self.parameters])

    def _fill(self, batches: Sequence[Batch]) -> None:
        if not self.batches:
            self.batches = [
                (samples.clone(), None if labels is None else labels.clone()) for samples, labels in batches
            ]
            return
        for (samples, labels), (new_samples, new_labels) in zip(self.batches, batches, strict=True):
            samples.copy_(new_samples, non_blocking=True)
            if labels is not None and new_labels is not None:
                labels.copy_(new_labels, non_blocking=True)
