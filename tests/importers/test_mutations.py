"""Whatever becomes of a file, it is opened as what it says or refused with a sentence."""

import copy
import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ganvas.errors import GanvasError
from ganvas.importers import recognise
from ganvas.inert import Thing
from tests.importers.opened import FILES, content, critic_of, generator_of

NAMES = [
    "biggan_deep/pytorch_model.bin", "r3gan.pkl", "lucidrains/model_3.pt", "lucidrains_attention/model_3.pt",
    "lightweight/model_7.pt", "lightweight_cosines/model_7.pt",
]  # fmt: skip
OTHERS: list[Any] = [
    None, True, -1, 0, 3, 2**70, 1.5, float("nan"), "x", b"x", [], [1, [2]], {}, {"a": 1}, (), torch.ones(()), torch.ones(3),
    torch.ones(2, 2), torch.ones(0, 4), torch.ones(1, dtype=torch.int64), torch.full((3,), float("nan")), torch.ones(2, 3, 1, 1),
    torch.ones(1).expand(1000, 1000), Thing("a.B", (), {}, {}, {}), Thing("a.B", (), {}, None, {}),
]  # fmt: skip


def places(found: Any) -> list[tuple[Any, Any]]:
    """(container, key) of all that lies in a content."""
    inside = found.state if isinstance(found, Thing) else found
    if not isinstance(inside, dict):
        return []
    return [(inside, key) for key in inside] + [each for value in inside.values() for each in places(value)]


def mutate(found: Any, draw: random.Random) -> None:
    for _ in range(draw.choice([1, 1, 2, 5])):
        here = places(found)
        if not here:
            return
        inside, key = draw.choice(here)
        value = inside[key]
        kind = draw.choice(["drop", "other", "cut", "turn", "rename", "swap"])
        if kind == "drop":
            del inside[key]
        elif kind == "cut" and isinstance(value, Tensor) and value.dim():
            inside[key] = value[: draw.randrange(len(value) + 1)]
        elif kind == "turn" and isinstance(value, Tensor):
            inside[key] = value.flatten() if draw.random() < 0.5 else value[None]
        elif kind == "rename":
            inside[draw.choice([f"{key}x", str(key)[:-1], 7, ("a", 1)])] = inside.pop(key)
        elif kind == "swap":
            other, second = draw.choice(here)
            if second in other and key in inside:
                inside[key], other[second] = other[second], inside[key]
        else:
            inside[key] = draw.choice(OTHERS)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.slow
def test_mutated_files_are_refused_or_opened(name: str, tmp_path: Path) -> None:
    draw, whole = random.Random(name), content(name)
    beside = next(iter((FILES / name).parent.glob("*config.json")), None)
    refused = longest = 0
    for _ in range(120):
        found = copy.deepcopy(whole)
        config = None if beside is None or "/" not in name else json.loads(beside.read_text())
        mutate(config if config is not None and draw.random() < 0.3 else found, draw)
        if config is not None and beside is not None:
            (tmp_path / beside.name).write_text(json.dumps(config, default=str, skipkeys=True))
        try:
            made = recognise(found, tmp_path / "model.pt")
            generator = generator_of(made)
            if made.critic is not None:
                critic_of(made)
        except GanvasError as error:
            refused += 1
            longest = max(longest, len(str(error)))
            continue
        labels = torch.zeros(1, dtype=torch.long) if made.num_classes else None
        assert generator(torch.zeros(1, generator.latent_dim), labels).shape == (1, *made.shape)
    assert 20 < refused < 120
    assert longest < 1000, "a sentence"
