import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

import ganvas
from ganvas import device, dist
from ganvas.checkpoint import rebuild
from ganvas.config import NetworkConfig
from ganvas.errors import GanvasError
from ganvas.networks import build_critic

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [({}, "fp32"), ({"avx512_bf16": True}, "bf16"), ({"amx_bf16": True}, "bf16"), ({"avx2": True}, "fp32")],
)
def test_auto_takes_bf16_only_from_hardware(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool], expected: str
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    monkeypatch.setattr(device.platform, "machine", lambda: "x86_64")
    assert device.resolve_precision("auto", CPU) == expected
    assert device.resolve_precision("fp32", CPU) == "fp32"


@pytest.mark.parametrize("has", [True, False])
def test_torch_that_does_not_say_all_that_a_processor_can(monkeypatch: pytest.MonkeyPatch, has: bool) -> None:
    """As of 2.9, which the package may be installed beside: `train` ended in an AttributeError."""
    monkeypatch.setattr(device.platform, "machine", lambda: "x86_64")
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has)
    assert device.resolve_precision("auto", CPU) == ("bf16" if has else "fp32")


def test_unavailable_and_unknown_devices() -> None:
    assert device.resolve_device("cpu") == CPU
    with pytest.raises(GanvasError, match="Unknown device 'gpu'"):
        device.resolve_device("gpu")
    if not torch.cuda.is_available():
        with pytest.raises(GanvasError, match="not available"):
            device.resolve_device("cuda")


def test_streams_are_repeatable_and_independent() -> None:
    def draw(seed: int, name: str) -> torch.Tensor:
        return torch.randn(1000, generator=device.stream(seed, name))

    assert torch.equal(draw(0, "a"), draw(0, "a"))
    for other in (draw(1, "a"), draw(0, "b"), draw(0, "aa")):
        assert abs(torch.corrcoef(torch.stack([draw(0, "a"), other]))[0, 1]) < 0.15


@pytest.mark.parametrize(
    ("switch", "value", "usual", "words"),
    [
        (
            torch.set_default_dtype,
            torch.float64,
            torch.float32,
            r"float64.*set_default_dtype\(torch.float32\)",
        ),
        (torch.set_default_device, "meta", None, r"meta.*set_default_device"),
    ],
)
def test_other_defaults_of_torch_are_refused(
    switch: Callable[[Any], None], value: Any, usual: Any, words: str, tmp_path: Path
) -> None:
    """A seed would draw other pictures, without a word."""
    known = ganvas.load("fashion", device="cpu")
    try:
        switch(value)
        for call in (
            lambda: known.sample(2),
            lambda: ganvas.load("fashion"),
            lambda: ganvas.train("digits", kimg=0.1, out=tmp_path),
        ):
            with pytest.raises(GanvasError, match=words):
                call()
    finally:
        switch(usual)


def test_fewer_digits_by_the_caller_are_refused(tmp_path: Path) -> None:
    """Features in bf16 were kept under the key of those in fp32, for every command to come."""
    known = ganvas.load("fashion", device="cpu")
    shown = known.sample(2)
    for call in (
        lambda: known.sample(2),
        lambda: known.encode(shown),
        lambda: ganvas.invert(known, shown, steps=1),
        lambda: ganvas.evaluate(known, "digits", "frechet", n=50),
        lambda: ganvas.evaluate("fashion", n=50),
        lambda: ganvas.train("digits", kimg=0.1, out=tmp_path),
    ):
        with torch.autocast("cpu", dtype=torch.bfloat16), pytest.raises(GanvasError, match="autocast is on"):
            call()
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.autocast("cpu", enabled=False):
        assert known.sample(2, seed=3).equal(ganvas.load("fashion", device="cpu").sample(2, seed=3))


@pytest.mark.parametrize("number", ["x", "", "-1", "7"])
def test_a_gpu_that_is_not_there(monkeypatch: pytest.MonkeyPatch, number: str) -> None:
    """A traceback: a number that is none, or one of a process without a GPU of its own."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("LOCAL_RANK", number)
    with pytest.raises(GanvasError, match="GPUs here are numbered from 0 to 1"):
        dist.local_device(torch.device("cuda"))
    assert dist.local_device(CPU) == CPU
    with pytest.raises(GanvasError, match="Device 'cuda:2' is not available"):
        device.resolve_device("cuda:2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert dist.local_device(torch.device("cuda")).index == 1


def test_a_seed_is_its_own_where_several_threads_seed() -> None:
    """The process has one generator: of networks that two threads built from seeds a tenth had others' weights."""
    wanted = {seed: float(weights(seed).double().sum()) for seed in (1, 2)}
    torch.manual_seed(0)
    state = torch.random.get_rng_state()
    found: dict[int, set[float]] = {1: set(), 2: set()}

    def work(seed: int) -> None:
        found[seed] |= {float(weights(seed).double().sum()) for _ in range(300)}

    threads = [threading.Thread(target=work, args=(seed,)) for seed in wanted]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {seed: {total} for seed, total in wanted.items()}
    assert torch.equal(torch.random.get_rng_state(), state)


def weights(seed: int) -> torch.Tensor:
    with device.seeded(seed):
        return torch.cat([torch.randn(200) for _ in range(20)])


def test_threads_that_build_do_not_wait_for_one_another() -> None:
    """One holds the generator of random numbers and needs torch's modules as they are, the other the other way round."""
    spec = NetworkConfig("dcgan", conditional=True, critic={"channels": 4, "templates": True})
    made = partial(build_critic, spec, (1, 16, 16), 3)
    tensors, done = made().state_dict(), list[int]()

    def build() -> None:
        for seed in range(20):
            made(seed)
        done.append(0)

    def open_again() -> None:
        for _ in range(20):
            rebuild(Path("a"), {}, made, tensors)
        done.append(1)

    threads = [threading.Thread(target=each, daemon=True) for each in (build, open_again) * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(done) == [0, 0, 1, 1]
