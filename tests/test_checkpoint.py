"""What a long job goes on from: a file that anybody may have written."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ganvas import io
from ganvas.checkpoint import Checkpoint, hash_of, is_hash, pack, told_apart, unpack
from ganvas.errors import GanvasError

Tensors = dict[str, Tensor]


def job(kind: Any = torch.optim.Adam, **options: Any) -> tuple[torch.Generator, Any, Any]:
    torch.manual_seed(0)
    network = nn.Linear(64, 8)
    optimizer = kind(network.parameters(), lr=0.01, **options)
    network(torch.ones(2, 64)).square().sum().backward()
    optimizer.step()
    return torch.Generator(), [("network", network)], [("optimizer", optimizer)]


def put(name: str, value: Tensor | None) -> Callable[[Tensors], None]:
    def change(tensors: Tensors) -> None:
        tensors.pop(name, None)
        if value is not None:
            tensors[name] = value

    return change


HOSTILE = {
    "shorter": put("optimizer.0.exp_avg", torch.zeros(3)),
    "one number": put("optimizer.0.exp_avg_sq", torch.zeros(())),
    "longer": put("optimizer.1.exp_avg", torch.zeros(10_000)),
    "gone": put("optimizer.0.exp_avg", None),
    "no step": put("optimizer.0.step", None),
    "many steps": put("optimizer.0.step", torch.zeros(1000)),
    "none": put("optimizer.0.step", torch.zeros(0)),
    "whole steps": put("optimizer.0.step", torch.tensor(5)),
    "complex": put("optimizer.0.exp_avg", torch.zeros(8, 64, dtype=torch.complex64)),
    "no such parameter": put("optimizer.999.exp_avg", torch.zeros(8, 64)),
    "the last from behind": put("optimizer.-1.exp_avg", torch.zeros(8)),
    "beyond a machine": put(f"optimizer.{10**30}.exp_avg", torch.zeros(8, 64)),
    "strange": put("optimizer.0.__class__", torch.zeros(8, 64)),
    "deep": put("optimizer.0.exp_avg.x", torch.zeros(8, 64)),
    "no random numbers": put("random", None),
    "no weight": put("network.weight", None),
}


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE)
def test_what_no_optimiser_kept_is_refused(change: Callable[[Tensors], None], fused: bool) -> None:
    """A fused step takes the size of the parameter for that of its memory: it read and wrote beyond the end."""
    tensors = pack(*job(fused=fused))
    change(tensors)
    with pytest.raises((ValueError, KeyError, RuntimeError)):
        unpack(tensors, *job(fused=fused))


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop, torch.optim.SGD])
def test_what_was_packed_is_unpacked(kind: Any) -> None:
    options = {"momentum": 0.9} if kind is torch.optim.SGD else {}
    first, second = job(kind, **options), job(kind, **options)
    for p in second[1][0][1].parameters():
        p.data.zero_()
    unpack(pack(*first), *second)
    for (name, one), (_, other) in zip(
        sorted(pack(*first).items()), sorted(pack(*second).items()), strict=True
    ):
        assert torch.equal(one, other), name


def test_what_was_taken_up_since_is_dropped() -> None:
    """A run that goes back to before its critic began kept the critic's averages, and took it for begun."""
    _, _, optimizers = fresh = job()
    before = pack(*fresh)
    kept = {name: value for name, value in before.items() if not name.startswith("optimizer.")}
    unpack(kept, *fresh)
    assert pack(*fresh).keys() == kept.keys()
    assert not optimizers[0][1].state


@pytest.mark.parametrize(
    ("header", "change"),
    [
        *(({"step": step}, put("", None)) for step in (-1, 1.5, True, "5", None, [])),
        ({}, put("", None)), ({"step": 1}, HOSTILE["shorter"]), ({"step": 1}, HOSTILE["no such parameter"]),
        ({"step": 1}, HOSTILE["no weight"]),
    ],
)  # fmt: skip
def test_a_damaged_checkpoint_says_so(
    header: io.Json, change: Callable[[Tensors], None], tmp_path: Path
) -> None:
    path = tmp_path / "state.safetensors"
    tensors = pack(*job())
    change(tensors)
    io.save_tensors(told_apart(path, {"a": 1}), tensors, {"kind": "checkpoint", "job": {"a": 1}, **header})
    with pytest.raises(GanvasError, match="Delete it, and the job begins anew"):
        Checkpoint(path, {"a": 1}).resume(*job())


def random_state(left: int, following: int) -> Tensor:
    """Of torch's Mersenne twister, with so many of its 624 numbers left and that one next."""
    state = torch.Generator().manual_seed(5).get_state()
    state[8:12] = torch.tensor([left], dtype=torch.int32).view(torch.uint8)
    state[16:24] = torch.tensor([following], dtype=torch.int64).view(torch.uint8)
    return state


@pytest.mark.parametrize(("left", "following"), [(624, 624), (2, 624), (624, 2), (1, 623), (300, 0)])
def test_random_numbers_are_not_read_past_their_end(left: int, following: int) -> None:
    """torch takes such a state, and what it draws then is whatever lies behind the generator in memory."""
    tensors = pack(*job()) | {"random": random_state(left, following)}
    with pytest.raises(ValueError, match="random numbers are at"):
        unpack(tensors, *job())


@pytest.mark.parametrize("drawn", [0, 1, 2, 300, 623, 624, 625, 1248, 1249])
def test_every_state_that_a_generator_has_been_in_is_taken(drawn: int) -> None:
    random, *rest = job()
    random.manual_seed(3)
    torch.randint(2**31, (drawn,), generator=random)
    other = job()
    unpack(pack(random, *rest), *other)
    assert torch.equal(torch.randn(700, generator=random), torch.randn(700, generator=other[0]))


def test_a_hash_is_long_and_the_short_one_of_before_is_known() -> None:
    """Weights with the same 8 digits as a model can be made by trying 4 billion; with 16 they can not."""
    own = hash_of(torch.nn.Linear(2, 3))
    assert re.fullmatch("[0-9a-f]{16}", own)
    assert is_hash(own, own)
    assert is_hash(own[:8], own)
    other = own[:8] + "".join("1" if each == "0" else "0" for each in own[8:])
    for wrong in (other, own[:7], own[:9], own[:15], "", own + "0", 5, None):
        assert not is_hash(wrong, own)
