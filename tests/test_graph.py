"""Drawing as a CUDA graph gives the pictures of drawing plainly."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from ganvas.config import NetworkConfig
from ganvas.graph import WARM_UP, Replay
from ganvas.networks import build_generator
from ganvas.training.capture import Captured

SIZES = [4, 4, 4, 4, 4, 4, 2, 4]
"""Of batches: the last but one is drawn plainly, and the graph stays."""


class Counted:
    """How often a network was called from Python."""

    def __init__(self, network: Any) -> None:
        self.network, self.calls = network, 0

    def __call__(self, z: Tensor, labels: Tensor | None) -> Tensor:
        self.calls += 1
        drawn: Tensor = self.network(z, labels)
        return drawn


def drawn_of(network: Any, device: str, classes: int) -> tuple[list[Tensor], list[Tensor], int]:
    """Batches by `Replay`, plainly, and the calls of Python that the first took."""
    torch.manual_seed(0)
    network = network.to(device).eval()
    batches = [
        (torch.randn(n, 8, device=device), torch.arange(n, device=device) % classes if classes else None)
        for n in SIZES
    ]
    counted = Counted(network)
    replay = Replay(counted)
    with torch.inference_mode():
        replayed = [replay(*batch) for batch in batches]
        return replayed, [network(*batch) for batch in batches], counted.calls


def network(name: str, classes: int) -> Any:
    torch.manual_seed(0)
    return build_generator(NetworkConfig(name, 8, conditional=bool(classes)), (3, 32, 32), classes)


@pytest.mark.parametrize("classes", [0, 3])
def test_without_cuda_it_is_the_network(classes: int) -> None:
    replayed, plain, calls = drawn_of(network("dcgan", classes), "cpu", classes)
    assert all(torch.equal(a, b) for a, b in zip(replayed, plain, strict=True))
    assert calls == len(SIZES)


@pytest.mark.gpu
@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("name", ["dcgan", "style", "stylegan2", "stylegan3"])
def test_the_pictures_are_those_of_the_network(name: str, classes: int) -> None:
    replayed, plain, calls = drawn_of(network(name, classes), "cuda", classes)
    for ours, theirs in zip(replayed, plain, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    assert calls == WARM_UP + 1 + 1, "plain, captured, and one of another size"


@pytest.mark.gpu
def test_what_asks_the_device_for_a_number_is_drawn_plainly() -> None:
    class Asking(torch.nn.Module):
        def forward(self, z: Tensor, labels: Tensor | None) -> Tensor:
            return z * 2 if z.sum().item() > 0 else z * 3

    replayed, plain, calls = drawn_of(Asking(), "cuda", 0)
    assert all(torch.equal(a, b) for a, b in zip(replayed, plain, strict=True))
    assert calls == len(SIZES) + 1


class Elsewhere:
    """Stands in for a tensor of the second GPU, which no machine of the tests has."""

    device, shape = torch.device("cuda", 1), (4, 8)

    def clone(self) -> "Elsewhere":
        return self

    def copy_(self, other: "Elsewhere", **_: Any) -> None:
        pass

    def record_stream(self, stream: object) -> None:
        pass


class Gpus:
    """Stands in for `torch.cuda` of two GPUs: on which one each stream was made and captured."""

    def __init__(self) -> None:
        self.current, self.used = 0, list[int]()

    @contextmanager
    def device(self, wanted: torch.device) -> Iterator[None]:
        before, self.current = self.current, wanted.index
        yield
        self.current = before

    def Stream(self, device: torch.device | None = None) -> Any:
        gpu = self.current if device is None else device.index
        return SimpleNamespace(gpu=gpu, wait_stream=lambda other: None)

    def stream(self, stream: Any) -> Any:
        self.used.append(stream.gpu)
        return nullcontext()

    def graph(self, graph: Any, stream: Any = None, **_: Any) -> Any:
        return self.stream(stream or SimpleNamespace(gpu=0))

    def current_stream(self) -> Any:
        return self.Stream()

    def CUDAGraph(self) -> Any:
        return SimpleNamespace(
            replay=lambda: self.used.append(self.current), register_generator_state=lambda _: None
        )

    def graph_pool_handle(self) -> None:
        pass


def test_streams_and_graphs_are_of_the_gpu_where_the_latents_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the current one capture nothing of another: one batch came again and again."""
    gpus, z = Gpus(), Elsewhere()
    monkeypatch.setattr("ganvas.graph.torch.cuda", gpus)
    replay = Replay(lambda z, labels: z)
    for _ in range(WARM_UP + 2):
        replay(z, None)  # type: ignore[arg-type]
    assert gpus.used == [1] * (WARM_UP + 1 + 2), "aside, captured, and replayed twice"


def test_captured_steps_are_of_the_gpu_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = Gpus()
    monkeypatch.setattr("ganvas.training.capture.torch.cuda", gpus)
    captured = Captured(lambda batches: None, SimpleNamespace(device=Elsewhere.device), [])  # type: ignore[arg-type]
    for _ in range(WARM_UP + 2):
        captured("step", [(Elsewhere(), None)])  # type: ignore[list-item]
    assert gpus.used == [1] * (WARM_UP + 1 + 2)
