"""The tools of the latent space, given what they cannot use: a `GanvasError` that says so, never an error from inside torch."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import ganvas
from ganvas.errors import GanvasError
from ganvas.latent import open_space
from ganvas.latent.attributes import open_attribute
from ganvas.latent.directions import edit, find
from ganvas.latent.dissect import dissect
from ganvas.latent.encoder import train_encoder
from ganvas.latent.invert import invert, tune
from ganvas.latent.learned import discovery_accuracy, learn
from ganvas.latent.likeness import likeness, neighbours
from ganvas.latent.map import draw_map
from ganvas.latent.space import LatentSpace
from ganvas.latent.supervised import attribute


def pictures() -> LatentSpace:
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Linear(4, 8 * 16), nn.Unflatten(1, (8, 4, 4)), nn.ConvTranspose2d(8, 1, 4, 2, 1), nn.Tanh()
    )
    return open_space(ganvas.wrap(module, latent_dim=4, value_range=(-1, 1)), "z")


SPACE = pictures()
REAL = torch.randint(0, 256, (60, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
POINTS = SPACE.numbered(60)
TARGETS = SPACE.model.sample(2)
(RANDOM,) = find(SPACE, "random", 1)
NAN, HUGE = math.nan, 10**12


@pytest.mark.parametrize(
    "call",
    [
        *(lambda n=n: find(SPACE, "random", n) for n in (0, -1, 2.5, NAN, "two", HUGE)),
        *(lambda n=n: draw_map(SPACE, n, "pca") for n in (49, 60.5, NAN, None, HUGE)),
        lambda: draw_map(SPACE, 60, "pca", real=REAL.float()),
        lambda: draw_map(SPACE, 60, "pca", real=REAL[:, :, :4]),
        lambda: draw_map(SPACE, 60, "pca", real=REAL.numpy() + 0j),
        *(lambda n=n: dissect(SPACE, n=n) for n in (1, 0, NAN, HUGE)),
        *(lambda n=n: likeness(SPACE.model, REAL, n=n) for n in (0, -3, NAN, 19)),
        lambda: likeness(SPACE.model, REAL.float()),
        lambda: likeness(SPACE.model, np.zeros((60, 1, 8, 8), object)),
        lambda: neighbours(torch.full((5, 2), NAN), torch.zeros(5, 2)),
        *(lambda s=s: attribute(SPACE, POINTS, s) for s in (torch.full((60,), NAN), torch.arange(59.0), torch.eye(60), None)),
        lambda: attribute(SPACE, POINTS[:, :3], torch.arange(60.0)),
        *(lambda s=s: edit(SPACE, POINTS[:3], RANDOM, s) for s in (NAN, math.inf, torch.zeros(2), torch.eye(3))),
        *(
            lambda o=o: invert(SPACE, TARGETS, **{"steps": 1, **o})
            for o in (
                {"steps": -1}, {"steps": NAN}, {"restarts": 0}, {"newton": -1}, {"rate": 0.0}, {"rate": NAN}, {"keep": -1.0},
                {"keep": NAN},
            )
        ),
        lambda: invert(SPACE, TARGETS.numpy() + 0j, steps=1),
        lambda: invert(SPACE, TARGETS[:0], steps=1),
        lambda: ganvas.invert(SPACE, TARGETS, encoder="encoder.safetensors"),
        *(lambda s=s: ganvas.edit(SPACE, [0], RANDOM, s) for s in (["a"], [NAN], [None])),
        lambda: ganvas.edit(SPACE, [0.5], RANDOM, [1.0]),
        lambda: invert(SPACE, np.ma.masked_less(TARGETS.numpy(), 128), steps=1),
        *(lambda o=o: train_encoder(SPACE, **o) for o in ({"steps": 0}, {"batch": 1}, {"rate": NAN})),
        *(lambda o=o: learn(SPACE, 2, **o) for o in ({"steps": 0}, {"batch": 1}, {"rate": -1.0})),
        *(lambda n=n: learn(SPACE, n) for n in (1, 5, NAN, HUGE)),
        lambda: discovery_accuracy(SPACE, torch.eye(3), steps=1),
        lambda: discovery_accuracy(SPACE, torch.eye(4)[:1], steps=1),
        lambda: discovery_accuracy(SPACE, torch.full((2, 4), NAN), steps=1),
    ],
)  # fmt: skip
def test_what_can_not_be_used_is_said(call: Callable[[], Any]) -> None:
    with pytest.raises(GanvasError):
        call()


def test_points_have_no_attributes_of_pictures() -> None:
    model = ganvas.wrap(torch.nn.Linear(4, 3), latent_dim=4)
    with pytest.raises(GanvasError, match="width is not measured here: this model draws points"):
        open_attribute("width", model)
    with pytest.raises(GanvasError, match="trend is not measured here"):
        open_attribute("trend", model)


def test_tuning_takes_its_own_numbers() -> None:
    found = invert(SPACE, TARGETS, steps=2, restarts=1)
    for options in ({"steps": -1}, {"rate": 0.0}, {"locality": -0.5}, {"locality": NAN}):
        wrong: Any = options
        with pytest.raises(GanvasError):
            tune(SPACE, found, TARGETS, **wrong)


def test_arrays_are_as_good_as_tensors() -> None:
    arrays: Any = TARGETS.numpy()
    torch.testing.assert_close(
        invert(SPACE, arrays, steps=3, restarts=1).points, invert(SPACE, TARGETS, steps=3, restarts=1).points
    )
    real: Any = REAL.permute(0, 2, 3, 1).numpy()  # (N, H, W, C)
    assert likeness(SPACE.model, real) == likeness(SPACE.model, REAL)
    scores: Any = POINTS[:, 0].numpy()
    same = attribute(SPACE, POINTS, scores), attribute(SPACE, POINTS, POINTS[:, 0])
    assert torch.equal(same[0].vector, same[1].vector)
