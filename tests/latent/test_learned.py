"""Learned directions where a linear generator makes some directions visible and others not."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import ganvas
from ganvas import io
from ganvas.checkpoint import Checkpoint
from ganvas.cli import statistics
from ganvas.errors import GanvasError
from ganvas.latent import LatentSpace, LatentZ, open_space
from ganvas.latent.encoder import train_encoder
from ganvas.latent.learned import Reconstructor, discovery_accuracy, learn


class Half(nn.Module):
    """Of eight numbers the first four are drawn, the others are not."""

    def forward(self, z: Tensor) -> Tensor:
        return torch.tanh(z[:, :4] / 4).reshape(-1, 1, 2, 2)


def space() -> LatentSpace:
    return open_space(ganvas.wrap(Half(), latent_dim=8), "z")


def test_discovery_accuracy_of_what_can_and_can_not_be_seen() -> None:
    seen = discovery_accuracy(space(), torch.eye(8)[:4], steps=400)
    hidden = discovery_accuracy(space(), torch.eye(8)[4:], steps=400)
    assert seen > 0.9
    assert abs(hidden - 0.25) < 0.05, "chance is one in four"


def test_pictures_that_are_not_square() -> None:
    """Each side is halved by itself, until the smaller one has four pixels or fewer."""
    for shape, values in (((3, 16, 32), 4 * 8), ((1, 64, 8), 4 * 32), ((1, 32, 32), 4 * 4)):
        network = Reconstructor(shape, 5, width=4)
        which, far = network(torch.zeros(2, *shape), torch.zeros(2, *shape))
        assert which.shape == (2, 5)
        assert far.shape == (2,)
        dense = next(each for each in network.layers if isinstance(each, nn.Linear))
        assert dense.in_features == 16 * values


@pytest.mark.parametrize("broad", [4096, 4])
def test_learned_directions_turn_to_what_can_be_seen(broad: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ganvas.latent.learned.BROAD", broad)
    vectors, scores = learn(space(), 4, steps=600, rate=1e-2)
    torch.testing.assert_close(vectors @ vectors.t(), torch.eye(4), atol=0.05, rtol=0)
    assert vectors[:, :4].square().sum() > 3, "of 4, where a random turn has 2"
    assert (scores > 0.85).all()


def test_directions_of_a_wide_space_are_told_apart_without_a_square(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 65,536 numbers, which a file of 133 kB may have, it takes 17 GB."""
    monkeypatch.setattr("ganvas.latent.learned.TEST_BATCHES", 1)
    wide = open_space(ganvas.wrap(Half(), latent_dim=65_536), "z")
    vectors, _ = learn(wide, 3, steps=2, batch=4)
    torch.testing.assert_close(vectors @ vectors.t(), torch.eye(3), atol=1e-4, rtol=0)
    found = statistics._discovery(wide, [], 1, 0, lambda name: lambda done, total: None)
    assert list(found) == ["discovery of 16 random", "discovery of 16 coordinates"]


def test_networks_learn_of_all_classes_however_small_their_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class OfClass(nn.Module):
        def forward(self, z: Tensor, labels: Tensor) -> Tensor:
            return torch.tanh(z / 4 + labels[:, None] / 100).reshape(-1, 1, 2, 2)

    seen: list[Tensor] = []
    decode = LatentZ.decode

    def kept(self: LatentZ, points: Tensor, labels: Tensor | None = None) -> Tensor:
        if labels is not None:
            seen.append(labels)
        return decode(self, points, labels)

    monkeypatch.setattr(LatentZ, "decode", kept)
    of_many = open_space(ganvas.wrap(OfClass(), latent_dim=4, num_classes=100), "z")
    for learns in (
        lambda space: train_encoder(space, steps=60, batch=16),
        lambda space: learn(space, 2, steps=60, batch=16),
        lambda space: discovery_accuracy(space, torch.eye(4)[:2], steps=60, batch=16),
    ):
        seen.clear()
        learns(of_many)
        assert len(torch.cat(seen).unique()) == 100
    train_encoder(of_many, steps=1, batch=16, path=tmp_path / "e.safetensors")
    tensors, header = io.load_tensors(tmp_path / "e.safetensors")
    assert header["job"].pop("classes") == "all"
    io.save_tensors(tmp_path / "before.safetensors", tensors, header)
    with pytest.raises(GanvasError, match="is no encoder of this model"):
        train_encoder(of_many, steps=1, batch=16, path=tmp_path / "before.safetensors")
    header["job"]["classes"] = "all"
    assert header["job"].pop("key") == of_many.model.key
    io.save_tensors(tmp_path / "weights.safetensors", tensors, header)
    train_encoder(of_many, steps=1, batch=16, path=tmp_path / "weights.safetensors")  # of before
    named = replace(of_many.model, info=replace(of_many.model.info, class_names=tuple(map(str, range(100)))))
    assert named.hash == of_many.model.hash
    with pytest.raises(GanvasError, match="is no encoder of this model"):
        train_encoder(open_space(named, "z"), steps=1, batch=16, path=tmp_path / "e.safetensors")
    seen.clear()
    train_encoder(of_many, steps=1, batch=200)
    assert seen[-1].tolist() == [i % 100 for i in range(200)], "in turn, where they have room"


def test_an_interrupted_search_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, _ = learn(space(), 3, seed=2, steps=60)
    state = tmp_path / "directions.state.safetensors"
    keep = Checkpoint.keep

    def always(self: Checkpoint, *arguments: Any) -> None:
        self.written -= 1e6
        keep(self, *arguments)

    monkeypatch.setattr(Checkpoint, "keep", always)

    def interrupt(done: int, total: int) -> None:
        if done == 31:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        learn(space(), 3, seed=2, steps=60, state=state, progress=interrupt)
    (kept,) = tmp_path.glob("directions.state.*.safetensors")
    other, _ = learn(space(), 3, seed=3, steps=5, state=tmp_path / "other.safetensors")
    seen: list[int] = []
    resumed, _ = learn(
        space(), 3, seed=2, steps=60, state=state, progress=lambda done, total: seen.append(done)
    )
    assert seen == list(range(32, 61))
    torch.testing.assert_close(resumed, whole)
    assert not torch.allclose(other, whole)
    assert not kept.exists()


def test_a_state_of_another_job_is_not_taken(tmp_path: Path) -> None:
    """Nor written over, nor removed: a short job of that name took the state of a long one with it, or a model."""
    state = tmp_path / "a.safetensors"
    state.write_text("a model of somebody's")
    first = Checkpoint(state, {"job": "a"}, every=0)
    module, random = nn.Linear(2, 2), torch.Generator().manual_seed(0)
    first.keep(7, random, [("m", module)], [])
    other = Checkpoint(state, {"job": "b"}, every=0)
    assert other.resume(random, [("m", nn.Linear(2, 2))], []) == 0
    other.keep(3, random, [("m", module)], [])
    other.done()
    assert state.read_text() == "a model of somebody's"
    fresh = nn.Linear(2, 2)
    assert Checkpoint(state, {"job": "a"}).resume(random, [("m", fresh)], []) == 7
    assert torch.equal(fresh.weight, module.weight)


def test_more_directions_than_numbers() -> None:
    with pytest.raises(GanvasError, match="ask for 2 to 8"):
        learn(space(), 9, steps=1)
