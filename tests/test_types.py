"""What is of a wrong kind is named by every public function: what it is called, what was given, what it must be."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ganvas
from ganvas.errors import expect
from ganvas.features import classifier
from ganvas.latent.directions import Direction
from ganvas.options import TrainOptions
from ganvas.sampling import calibrate_model, improve_model
from ganvas.training import plan

WRONG = (5, 2.5, [1], {"a": 1}, object(), b"x", None)


@pytest.fixture(scope="module")
def model() -> ganvas.Model:
    return ganvas.load("fashion", device="cpu")


@pytest.fixture(scope="module")
def direction(model: ganvas.Model) -> Direction:
    return ganvas.find_directions(model, "random", count=1)[0]


FIRST: dict[str, Callable[[Any], object]] = {
    "audit": lambda wrong: ganvas.audit(wrong, "digits"),
    "load": ganvas.load,
    "load_dataset": ganvas.load_dataset,
    "open_run": ganvas.open_run,
    "open_space": ganvas.open_space,
    "walk": ganvas.walk,
    "find_directions": ganvas.find_directions,
    "map": ganvas.map,
    "invert": lambda wrong: ganvas.invert(wrong, torch.zeros(1, 1, 28, 28, dtype=torch.uint8)),
    "fit_ratio": lambda wrong: ganvas.fit_ratio(wrong, torch.zeros(200, 1, 28, 28, dtype=torch.uint8)),
    "evaluate": lambda wrong: ganvas.evaluate(wrong, "digits"),
    "train": lambda wrong: ganvas.train(wrong, kimg=0.01),
    "explore": ganvas.explore,
    "replay": ganvas.replay,
    "wrap": lambda wrong: ganvas.wrap(wrong, latent_dim=4),
}


def test_every_public_function_is_here() -> None:
    functions = {name for name in dir(ganvas) if not isinstance(getattr(ganvas, name), type)}
    assert functions - {"edit"} == set(FIRST)


@pytest.mark.parametrize("name", FIRST)
@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: type(wrong).__name__)
def test_the_first_argument(name: str, wrong: Any) -> None:
    with pytest.raises(ganvas.GanvasError):
        FIRST[name](wrong)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"numbers": "x"}, "samples are numbered from 0"),
        ({"direction": "pca"}, "direction is 'pca'; it must be one of ganvas.find_directions"),
        ({"strengths": 2}, r"strengths is 2; it must be numbers of sigmas, say \[-2, 0, 2\]"),
        ({"strengths": []}, "strengths is empty"),
    ],
)
def test_edit(model: ganvas.Model, direction: Direction, given: dict[str, Any], said: str) -> None:
    good = {"numbers": [0], "direction": direction, "strengths": [1.0]}
    with pytest.raises(ganvas.GanvasError, match=said):
        ganvas.edit(model, **good | given)


@pytest.mark.parametrize("seed", ["x", 2.5, [1], None], ids=repr)
def test_seeds(model: ganvas.Model, seed: Any) -> None:
    for use in (model.sample, lambda **given: ganvas.walk(model, keys=2, frames=2, **given)):
        with pytest.raises(ganvas.GanvasError, match="it must be a whole number"):
            use(seed=seed)


@pytest.mark.parametrize("seed", [-1, 2**32, 2**70])
def test_seeds_that_no_stream_takes(model: ganvas.Model, seed: int) -> None:
    """Before the work: each of these made something else fail, in the words of a library."""
    images, labels = torch.zeros(200, 1, 28, 28, dtype=torch.uint8), torch.arange(200) % 2
    space = ganvas.open_space(model, "z")
    for use in (
        lambda: ganvas.find_directions(model, "pca", seed=seed),
        lambda: ganvas.fit_ratio(space, images, seed=seed),
        lambda: calibrate_model(model, seed=seed),
        lambda: improve_model(model, seed=seed),
        lambda: ganvas.map(model, n=100, seed=seed),
        lambda: ganvas.evaluate(images, images, n=100, seed=seed),
        lambda: ganvas.audit(model, seed=seed),
        lambda: classifier.train(images, labels, (images, labels), seed=seed),
    ):
        with pytest.raises(ganvas.GanvasError, match=f"seed is {seed}; it must be at"):
            use()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"keys": "x"}, "keys is 'x'; it must be a whole number"),
        ({"frames": 2.5}, "frames is 2.5; it must be a whole number"),
        ({"frames": 1}, "frames is 1; it must be at least 2"),
        ({"space": 5}, "space is 5; it must be a name"),
    ],
)
def test_walk(model: ganvas.Model, given: dict[str, Any], said: str) -> None:
    with pytest.raises(ganvas.GanvasError, match=said):
        ganvas.walk(model, **given)


def test_a_walk_is_saved_under_a_name(model: ganvas.Model) -> None:
    wrong: Any = 5
    with pytest.raises(ganvas.GanvasError, match=r"out is 5; it must be the name of a \.gif"):
        ganvas.walk(model, keys=2, frames=2).save(wrong)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"metrics": 5}, "metrics is 5; it must be a name"),
        ({"metrics": [5]}, "metrics is 5; it must be a name"),
        ({"extractor": 5}, "extractor is 5; it must be a name"),
        ({"device": 5.5}, "Unknown device 5.5"),
        ({"real": 5}, "real is 5; it must be an array"),
    ],
)
def test_evaluate(given: dict[str, Any], said: str) -> None:
    images = torch.zeros(100, 1, 28, 28, dtype=torch.uint8)
    with pytest.raises(ganvas.GanvasError, match=said):
        ganvas.evaluate(images, **{"real": images, "n": 100} | given)


@pytest.mark.parametrize(
    "given", [{"shape": 5}, {"value_range": 1.0}, {"value_range": (1.0,)}, {"latent_shape": 5}], ids=repr
)
def test_wrap(given: dict[str, Any]) -> None:
    with pytest.raises(ganvas.GanvasError, match=f"{next(iter(given))} is .*; it must be"):
        ganvas.wrap(torch.nn.Linear(4, 2), latent_dim=4, **given)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"resolution": "x"}, "resolution is 'x'; it must be a whole number"),
        ({"batch": 2.5}, "batch is 2.5; it must be a whole number"),
        ({"seed": True}, "seed is True; it must be a whole number"),
        ({"kimg": "x"}, "kimg is 'x'; it must be a number"),
        ({"conditional": "yes"}, "conditional is 'yes'; it must be True or False"),
        ({"mirror": None}, "mirror is None; it must be True or False"),
        ({"size": [1]}, r"size is \[1\]; it must be a name"),
        ({"device": {}}, "device is {}; it must be a name"),
    ],
)
def test_options_of_a_training(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ganvas.GanvasError, match=said):
        TrainOptions(**given)


@pytest.mark.parametrize(("given", "said"), [({"out": 5}, "out is 5"), ({"name": 5}, "name is 5")])
def test_train(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ganvas.GanvasError, match=said):
        ganvas.train("digits", kimg=0.01, **given)


def test_numbers_of_numpy_and_paths_are_taken(tmp_path: Path) -> None:
    """A Path as data was no name, and NumPy's whole numbers could not be written into a config."""
    path = tmp_path / "pictures.npz"
    np.savez(path, images=np.zeros((100, 8, 8, 1), dtype=np.uint8))
    config, data = plan(path, batch=np.int64(16), kimg=np.float32(0.5), device="cpu")
    assert (config.data.source, config.training.batch, config.training.kimg) == (str(path), 16, 0.5)
    assert type(config.training.batch) is int
    assert len(ganvas.load_dataset(path)) == len(data) == 100


def test_a_large_value_is_shown_in_short() -> None:
    with pytest.raises(ganvas.GanvasError) as caught:
        expect(torch.zeros(1000, 1000), str, "data", "a name")
    assert len(str(caught.value)) < 100
