import copy
import json
from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open

import ganvas
from ganvas import io
from ganvas.checkpoint import hash_of
from ganvas.config import Config, DataConfig, NetworkConfig
from ganvas.effort import largest_result
from ganvas.errors import GanvasError
from ganvas.latent import open_space
from ganvas.model import BLOCK, PACKAGED, ROWS, DataReference, Model, ModelInfo, draw_prior, packaged
from ganvas.networks import build_generator
from ganvas.networks.style import StyleGenerator
from ganvas.sampling.store import home_of
from ganvas.training import Result
from tests.conftest import same_tensors


@settings(max_examples=25, deadline=None)
@given(n=st.integers(1, 70), more=st.integers(0, 50), batch=st.integers(1, 64), seed=st.integers(0, 3))
def test_sample_i_depends_on_the_seed_alone(
    trained: Result, n: int, more: int, batch: int, seed: int
) -> None:
    model = ganvas.load(trained.run.path, device="cpu", critic=False)
    few, many = model.sample(n, seed=seed, batch=batch), model.sample(n + more, seed=seed)
    assert few.shape == (n, 1, 8, 8)
    assert few.dtype == torch.uint8
    assert torch.equal(few, many[:n])
    assert torch.equal(model.latents(n, seed), model.latents(n + more, seed)[:n])


def test_large_images_are_drawn_as_few_at_a_time_as_memory_asks(
    trained: Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Above `LARGE` the last bit of a pixel may round otherwise, which is said; up to it batches are padded to `ROWS`."""
    model = ganvas.load(trained.run.path, device="cpu", critic=False)
    many = model.sample(40)
    drawn: list[int] = []
    model.generator.register_forward_hook(lambda _, given, __: drawn.append(len(given[0])))
    assert torch.equal(model.sample(40, batch=3), many)
    assert drawn == [ROWS] * 3
    drawn.clear()
    monkeypatch.setattr("ganvas.model.LARGE", 8 * 8 - 1)
    assert (model.sample(40, batch=3).int() - many.int()).abs().max() <= 1
    assert drawn == [3] * 14


def test_any_sample_costs_what_the_first_costs(trained: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is asked for: the same numbers, from the blocks that it lies in and no other."""
    model = ganvas.load(trained.run.path, device="cpu", critic=False)
    whole = model.latents(1300, seed=4)
    drawn: list[int] = []

    def counted(prior: str, n: int, size: int, generator: torch.Generator) -> torch.Tensor:
        drawn.append(n)
        return draw_prior(prior, n, size, generator)

    monkeypatch.setattr("ganvas.model.draw_prior", counted)
    for numbers in ([0], [1299], [255, 256], [1299, 0, 700, 0], []):
        drawn.clear()
        assert torch.equal(model.latents_at(numbers, 4), whole[numbers])
        assert drawn == [BLOCK] * len({number // BLOCK for number in numbers})
    drawn.clear()
    far = model.latents_at([2**31 - 1, 10**12], 4)
    assert len(drawn) == 2
    assert far.shape == (2, model.latent_dim)
    space = open_space(model, "z")
    assert torch.equal(space.at([1299, 3], 4), whole[[1299, 3]])
    with pytest.raises(GanvasError, match="numbered from 0, got -1"):
        model.latents_at([-1])
    mistakes: list[Any] = [[0.5], np.array([1.9]), [True, False], "ab", [2**80]]
    for wrong in mistakes:
        with pytest.raises(GanvasError, match="samples are numbered from 0"):
            space.at(wrong)


def test_blocks_of_latents_are_independent(trained: Result) -> None:
    """40 blocks of 256 x 8: mean, variance and the correlation between neighbours within 5 standard errors."""
    model = ganvas.load(trained.run.path, device="cpu", critic=False)
    blocks = model.latents(40 * BLOCK, seed=1).reshape(40, -1)
    numbers = blocks.numel()
    assert abs(float(blocks.mean())) < 5 / numbers**0.5
    assert abs(float(blocks.var()) - 1) < 5 * (2 / numbers) ** 0.5
    assert abs(float((blocks[1:] * blocks[:-1]).mean())) < 5 / (numbers * 39 / 40) ** 0.5
    assert len(blocks[:, 0].unique()) == 40
    seeds = torch.stack([model.latents(BLOCK, seed=seed) for seed in range(40)])
    assert len(torch.cat([seeds[:, 0, 0], blocks[1:, 0]]).unique()) == 79


def test_samples_from_a_number_on(trained: Result) -> None:
    model = ganvas.load(trained.run.path, device="cpu", critic=False)
    whole = model.sample(300, seed=2)
    assert (model.sample(7, seed=2, first=250).int() - whole[250:257].int()).abs().max() <= 1
    assert (model.sample(3, seed=2, first=100, batch=1).int() - whole[100:103].int()).abs().max() <= 1
    wrong: dict[str, Any]
    for wrong in ({"first": -1}, {"batch": 0}, {"n": 1.5}, {"n": "2"}, {"first": None}):
        with pytest.raises(GanvasError, match=r"must be (at least|a whole number)"):
            model.sample(**wrong)


def test_the_packaged_models_samples_are_the_same_in_every_batch_of_sixteen_up() -> None:
    """Its kernels for fewer rows add up in another order: without whole batches these seeds differ by 1 of 255."""
    model = ganvas.load("fashion", device="cpu", critic=False)
    for seed in (49, 80):
        many = model.sample(96, seed=seed)
        for n in (1, 2, 3, 7, 17, 40):
            assert torch.equal(model.sample(n, seed=seed), many[:n]), n
        for batch in (16, 17, 31, 40):
            assert torch.equal(model.sample(96, seed=seed, batch=batch), many), batch
        assert (model.sample(32, seed=seed, batch=1).int() - many[:32].int()).abs().max() <= 1
    with pytest.raises(GanvasError, match="batch is 0"):
        model.sample(4, batch=0)


def test_labels(trained: Result, tmp_path: Path) -> None:
    plain = ganvas.load(trained.run.path, device="cpu")
    with pytest.raises(GanvasError, match="trained without labels"):
        plain.sample(4, labels=[1])
    with pytest.raises(GanvasError, match="at least 1"):
        plain.sample(0)
    result = ganvas.train(
        "digits", kimg=0.064, batch=32, device="cpu", conditional=True, out=tmp_path, quiet=True, report=False,
        settings={"network.generator.channels": 4, "network.critic.channels": 4},
    )  # fmt: skip
    model = ganvas.load(result.run.path, device="cpu")
    assert model.generator.num_classes == 10
    assert model.sample(12).shape == (12, 1, 8, 8)
    assert not torch.equal(model.sample(4, labels=[3]), model.sample(4, labels=[5]))
    assert torch.equal(model.sample(4, labels=[3, 5]), model.sample(4, labels=torch.tensor([3, 5, 3, 5])))
    for bad in ([10], [-1], []):
        with pytest.raises(GanvasError, match="whole numbers from 0 to 9"):
            model.sample(4, labels=bad)


def test_what_is_known_of_a_model(trained: Result, tmp_path: Path) -> None:
    """Of a run everything is; a file of it says the same, and its shape and prior are the generator's."""
    model = ganvas.load(trained.run.path, device="cpu")
    info, run = model.info, trained.run
    assert info.data is not None
    data = run.info["data"]
    assert (info.name, info.kimg, info.notes) == ("dcgan", run.stats()[-1]["kimg"], ())
    assert (info.data.name, info.data.fingerprint) == ("digits", data["fingerprint"])
    with safe_open(model.path or "", "pt") as file:
        header = json.loads(file.metadata()["ganvas"])
    assert info.data.mark == header["data"]["mark"] != ""
    assert info.class_names == tuple("0123456789"), "although it draws no chosen classes"
    assert info.training == model.config == run.config
    assert info.architecture == run.config.network
    generator = model.generator
    assert (info.shape, info.latent_dim, info.num_classes) == (generator.shape, generator.latent_dim, 0)
    assert (info.prior, info.value_range) == (generator.prior, generator.value_range)
    model.save(tmp_path / "kept.safetensors")
    assert ganvas.load(tmp_path / "kept.safetensors", device="cpu").info == info
    with pytest.raises(FrozenInstanceError):
        info.kimg = 1.0  # type: ignore[misc]


def test_a_file_of_an_architecture_alone_invents_no_run(tmp_path: Path) -> None:
    """A generator that was built, and not trained by ganvas: what is not known stays unknown in the file."""
    config = NetworkConfig("mlp", 2, generator={"hidden": [4]}, categorical=(2,))
    generator = build_generator(config, (2,), 0)
    cut = DataConfig("toy:ring", holdout=0.3)
    for data in (None, DataReference(cut, "a ring")):
        info = ModelInfo.of(generator, "mlp", architecture=config, data=data)
        Model(generator, None, info).save(tmp_path / "g.safetensors")
        again = ganvas.load(tmp_path / "g.safetensors", device="cpu")
        assert again.info == info
        assert again.info.prior == "categorical 2"
        assert again.config is None
        assert same_tensors(again.generator.state_dict(), generator.state_dict())


def test_the_packaged_model_draws_at_once(tmp_path: Path) -> None:
    """No run folder, no download: generator and critic under 4 MB, with a card that says how they were made."""
    assert "fashion" in packaged()
    folder = PACKAGED / "fashion"
    assert sum(path.stat().st_size for path in folder.glob("*.safetensors")) < 4_000_000
    model = ganvas.load("fashion", device="cpu")
    assert model.critic is not None
    assert next(model.generator.parameters()).dtype == torch.float32, "stored in bf16, computed with in fp32"
    images = model.sample(200, seed=0)
    assert images.shape == (200, 1, 28, 28)
    generator = model.generator
    assert isinstance(generator, StyleGenerator)
    w = generator.mapping(model.latents(4))
    assert generator.synthesis(generator.styles(generator.broadcast(w))).shape == (4, 1, 28, 28)
    assert torch.isfinite(model.critic(images[:16].float() / 127.5 - 1)).all()
    # Garments are bright on black: most of a border is dark, most of the middle is not, and they differ.
    assert images[:, :, :2].float().mean() < 30
    assert images[:, :, 8:20, 8:20].float().mean() > 60
    assert images.float().std(0).mean() > 40
    card = (folder / "README.md").read_text()
    assert all(
        word in card for word in ("ganvas train fashion-mnist", "seed", "minutes", "coverage", "Frechet")
    )


def test_the_hash_is_that_of_the_weights_and_counted_once(trained: Result) -> None:
    model = ganvas.load(trained.run.path)
    assert model.hash == hash_of(model.generator)
    assert model.hash is model.hash
    other = copy.deepcopy(model.generator)
    with torch.no_grad():
        next(other.parameters()).flatten()[0] += 1
    assert replace(model, generator=other).hash == hash_of(other) != model.hash


@pytest.mark.parametrize(
    "change",
    [
        lambda said: said["config"]["network"]["generator"].update(mapping_rate=1.0),
        lambda said: said["config"]["network"]["critic"].update(channels=99),
        lambda said: said["data"].update(name="digits"),
        lambda said: said.update(class_names=["shoe"] * 10),
    ],
)
def test_the_cache_knows_a_model_by_more_than_its_weights(
    tmp_path: Path, change: Callable[[dict[str, Any]], None]
) -> None:
    """Anybody can make a file of the same weights that draws other pictures: what was found of them was shown of one's own."""
    tensors, header = io.load_tensors(PACKAGED / "fashion" / "generator.safetensors")
    own = ganvas.load("fashion", device="cpu", critic=False)
    io.save_tensors(tmp_path / "same.safetensors", tensors, {**header, "kimg": 1.0})
    assert ganvas.load(tmp_path / "same.safetensors", device="cpu").key == own.key
    change(header)
    io.save_tensors(tmp_path / "other.safetensors", tensors, header)
    other = ganvas.load(tmp_path / "other.safetensors", device="cpu")
    assert other.hash == own.hash, "files that name a model's weights stay valid"
    assert other.key != own.key
    assert home_of(other) != home_of(own), "where a ratio and a recommendation are kept"


@pytest.mark.parametrize(("side", "n", "sizes"), [(256, 70, [64, 16]), (1024, 6, [4, 4])])
def test_large_images_are_drawn_a_few_at_a_time(side: int, n: int, sizes: list[int]) -> None:
    """256 of 1024 px, as once, take gigabytes for the smallest of networks."""
    network = NetworkConfig("r3", 2, generator={"channels": 1, "max_channels": 1, "blocks": 1, "group": 1})
    generator = build_generator(network, (3, side, side), 0).eval()
    seen: list[int] = []
    generator.register_forward_pre_hook(lambda module, given: seen.append(len(given[0])))
    model = Model(generator, None, ModelInfo.of(generator, "r3"))
    assert sum(len(drawn) for drawn in model.batches(n)) == n
    assert seen == sizes


def wide(side: int = 8, maps: int = 32) -> Model:
    """A generator of grey pictures whose largest result is `maps` maps of their size."""
    network = NetworkConfig("dcgan", 24, generator={"channels": maps})
    generator = build_generator(network, (1, side, side), 0).eval().requires_grad_(False)
    return Model.of_run(generator, None, Config(network=network), {})


def test_as_many_are_drawn_at_a_time_as_the_largest_layer_has_room_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By the size of the pictures alone, 256 grey ones of 128 px took 2 GB of a generator of 2 MB."""
    model = wide()
    room = 2 * ROWS * largest_result(lambda: model.generator(model.latents(1), None))
    monkeypatch.setattr("ganvas.model.AT_ONCE", room + 1)
    whole = model.sample(100, batch=256)
    results: list[int] = []
    for layer in model.generator.modules():
        layer.register_forward_hook(lambda _, given, made: results.append(made.numel()))
    space, points = open_space(model), model.latents(100)
    assert torch.equal(model.sample(100), whole)
    assert model.at_once == 2 * ROWS
    assert room / 4 < max(results) <= room
    with torch.no_grad():
        decoded = model.to_data(space.decode(points))
        assert max(results) <= room
    assert (decoded.int() - whole.int()).abs().max() <= 1
    space.decode(points)  # with gradients, for which every layer is kept in any case
    assert max(results) > room


def test_what_is_drawn_at_a_time_is_no_less_than_whole_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer than `ROWS` round differently; of large pictures as few are drawn as before."""
    monkeypatch.setattr("ganvas.model.AT_ONCE", 1)
    assert wide().at_once == ROWS
    monkeypatch.setattr("ganvas.model.LARGE", 8 * 8 * 4)
    monkeypatch.setattr("ganvas.model.BATCH", 8)
    assert wide(16).at_once == 8


def test_what_is_no_number_is_not_drawn_black(trained: Result) -> None:
    """Finite weights whose products are not: NaN became pixels of 0, without a word."""
    model = ganvas.load(trained.run.path, device="cpu")
    for weight in model.generator.parameters():
        weight.data.fill_(3e38)
    with pytest.raises(GanvasError, match="draws NaN or infinity"):
        model.sample(2)
