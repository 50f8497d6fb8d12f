"""Batches without end. Which images a step sees depends on the seed and the step alone, so a run can be resumed."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from ganvas import dist
from ganvas.data.base import Dataset
from ganvas.device import stream
from ganvas.errors import GanvasError
from ganvas.lazy import lazy

Sent = tuple[np.ndarray, np.ndarray | None] | GanvasError
"""Samples and labels as a worker hands them on, or what is wrong."""


def check_batch(batch: int, dataset: Dataset) -> None:
    """Raise `GanvasError` when `dataset` has fewer samples than a batch takes."""
    if batch > len(dataset):
        fitting = max(2, len(dataset) // 2)
        if len(dataset) < 2:
            raise GanvasError(
                f"Training wants 2 samples at least, of {dataset.name} there are {len(dataset)}."
            )
        raise GanvasError(
            f"A batch of {batch} does not fit {len(dataset)} training samples. Use --batch {fitting}."
        )


class Batches:
    """Iterate over (samples, labels) on `device`, starting at image number `start` of the run.

    A resident data set is gathered where it lies, with no worker processes. A larger one streams through a
    `DataLoader` whose workers read ahead. Under several processes each one gets its part of every batch. `by_label` puts
    the classes of a batch side by side, so that minibatch std compares samples of one class. `positions` says itself which
    samples each batch has.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch: int,
        seed: int,
        device: torch.device,
        start: int = 0,
        workers: int | None = None,
        by_label: bool = False,
        positions: Iterator[Tensor] | None = None,
    ) -> None:
        check_batch(batch, dataset)
        self.dataset = dataset.to(device) if _fits(dataset, device) else dataset
        self.batch, self.seed, self.device, self.position = batch, seed, device, start
        self.by_label = by_label and dataset.labels is not None
        self.chosen = positions
        self.workers = min(4, os.cpu_count() or 1) if workers is None else workers

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor | None]]:
        if self.dataset.resident:
            for positions in self.chosen or self._positions():
                samples, labels = self.dataset.take(positions)
                yield samples.to(self.device), None if labels is None else labels.to(self.device)
            return
        loader = DataLoader(
            _AsTorch(self.dataset),
            batch_size=None,
            sampler=self.chosen or self._positions(),
            num_workers=self.workers,
            collate_fn=_as_it_is,
            worker_init_fn=_deaf,
        )
        for arrays, numbers in _heard_of(loader):
            yield (
                torch.from_numpy(arrays).to(self.device),
                None if numbers is None else torch.from_numpy(numbers).to(self.device),
            )

    @lazy
    def labels(self) -> Tensor:
        """Labels of the data (N,)."""
        return self.dataset.take_labels()

    def _positions(self) -> Iterator[Tensor]:
        size = len(self.dataset)
        place = self.position
        while True:
            wanted = torch.arange(place, place + self.batch)
            place += self.batch
            first, last = int(wanted[0]) // size, int(wanted[-1]) // size
            orders = [
                epoch_order(size, self.seed, epoch) for epoch in range(first, last + 1)
            ]  # a batch may span two
            chosen = (orders[0] if first == last else torch.cat(orders))[wanted - first * size]
            if self.by_label:
                chosen = chosen[self.labels[chosen].argsort(stable=True)]
            yield dist.mine(chosen)


def _fits(dataset: Dataset, device: torch.device) -> bool:
    """Whether resident data may move to the device: on a GPU only into a quarter of what is free there."""
    if device.type != "cuda" or not isinstance(dataset.items, Tensor):
        return True
    free, _ = torch.cuda.mem_get_info(device)
    return dataset.items.nbytes <= free // 4


@lru_cache(maxsize=2)
def epoch_order(size: int, seed: int, epoch: int) -> Tensor:
    """The order in which epoch number `epoch` visits the images: a permutation (size,)."""
    return torch.randperm(size, generator=stream(seed, f"epoch {epoch}"))


def _deaf(worker: int) -> None:
    """What a terminal or a service manager tells all processes of a job is for the one that trains: it saves, and ends its
    workers, by SIGTERM where it has to. One that ended by itself would end it in the midst of its save."""
    for name in ("SIGINT", "SIGHUP"):
        if number := getattr(signal, name, None):  # Windows has no SIGHUP
            signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):  # macOS does not say who sent a signal
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_end_by_parent, daemon=True).start()


def _end_by_parent() -> None:
    """Wait for a SIGTERM from the process that trains; those of others count for nothing."""
    parent = multiprocessing.parent_process()
    while parent is not None and signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent.pid:
        pass
    os._exit(0)


def _heard_of(loader: "DataLoader[Sent]") -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """Batches; raises `GanvasError` for what a worker could not read, and for one that was ended."""
    ours = threading.current_thread() is threading.main_thread() and hasattr(signal, "SIGCHLD")
    before = signal.getsignal(signal.SIGCHLD) if ours else None
    batches = iter(loader)
    # By torch's own it would raise wherever the training is, in the midst of a step or of a file.
    if before is not None:
        signal.signal(signal.SIGCHLD, before)
    while True:
        try:
            found: Sent = next(batches)
        except RuntimeError as error:
            # What is raised in one has "DataLoader worker process" in its words.
            if "DataLoader worker (pid" not in str(error):
                raise
            raise GanvasError(
                "A process that read pictures was ended from outside, most likely as memory ran out. What was saved stays: "
                "ganvas train --resume RUN goes on, with a smaller --batch if it happens again."
            ) from error
        if isinstance(found, GanvasError):
            raise found
        yield found


def _as_it_is(found: Any) -> Any:
    return found


class _AsTorch(torch.utils.data.Dataset[Sent]):
    """What a `DataLoader` worker needs: a whole batch at once.

    Arrays go through the pipe. Tensors would lie in shared memory, of which a container has 64 MB as a rule: where a batch finds
    no room torch drops it, and the training waits for it for ever. An error in words is handed on: raised in a worker, it would
    arrive with the traceback of that as its words.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def __getitem__(self, positions: Tensor) -> Sent:
        try:
            samples, labels = self.dataset.take(positions)
        except GanvasError as error:
            return error
        return samples.numpy(), None if labels is None else labels.numpy()
