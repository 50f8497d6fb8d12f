"""Jacobians of what samples look like."""

import threading

import torch

from ganvas.device import stream
from ganvas.latent import open_space
from ganvas.latent.jacobian import columns
from tests.latent.test_space import ours


def test_slopes_that_two_threads_take_at_once_are_those_of_one() -> None:
    """Torch counts levels of forward mode for the whole process: one in twenty was wrong, and kept in the cache."""
    space = open_space(ours(), "w")
    points = space.sample(2, stream(1, "test"))
    wanted = [columns(space, point)[1] for point in points]
    wrong = list[float]()

    def work(i: int) -> None:
        for _ in range(60):
            found = columns(space, points[i])[1]
            if not torch.allclose(found, wanted[i], rtol=1e-3, atol=1e-5):
                wrong.append(float((found - wanted[i]).abs().max()))

    threads = [threading.Thread(target=work, args=(i,)) for i in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
