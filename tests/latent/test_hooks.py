"""Hooks on a network that several threads draw with."""

import threading
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import ganvas
from ganvas.latent import open_space
from ganvas.latent.directions import find
from ganvas.latent.hooks import hooked
from ganvas.training import Result


def elsewhere(work: Callable[[], Tensor]) -> Tensor:
    """What another thread gets."""
    found: list[Tensor] = []
    thread = threading.Thread(target=lambda: found.append(work()))
    thread.start()
    thread.join()
    return found[0]


def test_a_hook_answers_to_its_own_thread() -> None:
    module, seen = nn.Identity(), list[int]()

    def hook(module: object, inputs: object, output: Tensor) -> Tensor:
        seen.append(len(output))
        return output + 1

    with hooked(module, hook):
        assert module(torch.zeros(1)).item() == 1
        assert elsewhere(lambda: module(torch.zeros(2))).tolist() == [0, 0]
    assert seen == [1]
    assert module(torch.zeros(1)).item() == 0


def test_a_hook_goes_when_the_work_fails() -> None:
    module = nn.Identity()
    with pytest.raises(ZeroDivisionError), hooked(module, lambda *given: 1 / 0):
        module(torch.zeros(1))
    assert module(torch.zeros(1)).item() == 0


@pytest.mark.parametrize("method", ["pca", "random"])
def test_directions_are_found_while_others_draw(tiny_train: Callable[..., Result], method: str) -> None:
    """In the explorer, samples of other threads were taken for those of the layer, and no sliders came."""
    model = ganvas.load(tiny_train(kimg=0.064).run.path, device="cpu")
    space, over = open_space(model, "z"), threading.Event()
    wanted = find(space, method, 4)
    drawn: list[Tensor] = []

    def draw() -> None:
        while not over.is_set():
            drawn.append(model.sample(3))

    others = [threading.Thread(target=draw) for _ in range(2)]
    for each in others:
        each.start()
    try:
        for _ in range(5):
            for one, other in zip(find(space, method, 4), wanted, strict=True):
                assert torch.equal(one.vector, other.vector)
    finally:
        over.set()
        for each in others:
            each.join()
    assert all(torch.equal(each, drawn[0]) for each in drawn)
