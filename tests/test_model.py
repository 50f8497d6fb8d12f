import contextlib
import copy
import json
import shutil
import warnings
from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import ganvas
from ganvas import io
from ganvas.checkpoint import hash_of
from ganvas.cli import main
from ganvas.config import Config, DataConfig, NetworkConfig, to_dict
from ganvas.effort import largest_result
from ganvas.errors import GanvasError
from ganvas.latent import open_space
from ganvas.model import BLOCK, PACKAGED, ROWS, DataReference, Model, ModelInfo, draw_prior, packaged
from ganvas.model_data import class_names, data_config_of
from ganvas.networks import build_generator, families
from ganvas.networks.style import StyleGenerator
from ganvas.training import Result
from tests.conftest import same_tensors


def test_run_snapshot_and_file_are_the_same_model(trained: Result) -> None:
    snapshot = trained.run.snapshots[-1]
    models = [
        ganvas.load(p, device="cpu") for p in (trained.run.path, snapshot, snapshot / "generator.safetensors")
    ]
    for model in models[1:]:
        assert same_tensors(model.generator.state_dict(), models[0].generator.state_dict())
    assert models[0].critic is not None
    assert models[0].shape == (1, 8, 8)
    assert models[0].config == trained.run.config
    assert not any(p.requires_grad for p in models[0].generator.parameters())


def test_one_file_loads_alone(trained: Result, tmp_path: Path) -> None:
    alone = tmp_path / "alone.safetensors"
    shutil.copy(trained.run.snapshots[-1] / "generator.safetensors", alone)
    model = ganvas.load(alone, device="cpu")
    assert model.critic is None
    assert torch.equal(model.sample(4), ganvas.load(trained.run.path, device="cpu").sample(4))


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


def test_what_is_not_a_model(trained: Result, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "weights.pt").write_bytes(b"x")
    cases = [
        (tmp_path / "none", "No such model"),
        (tmp_path / "empty", "neither a run nor a snapshot folder"),
        (tmp_path / "weights.pt", "neither torch.save's nor a pickle"),
        (trained.run.state_path, "holds a state, not the generator expected there"),
        (
            trained.run.snapshots[-1] / "critic.safetensors",
            "holds a critic, not the generator expected there",
        ),
    ]
    for path, message in cases:
        with pytest.raises(GanvasError, match=message):
            ganvas.load(path)
    shutil.copytree(trained.run.path, tmp_path / "bare", ignore=shutil.ignore_patterns("0*"))
    with pytest.raises(GanvasError, match="holds no snapshot yet"):
        ganvas.load(tmp_path / "bare")


def rewrite(
    source: Path, target: Path, change: dict[str, object], tensors: dict[str, torch.Tensor] | None = None
) -> Path:
    with safe_open(source, "pt") as file:
        header = json.loads(file.metadata()["ganvas"])
    for path, value in change.items():
        node, *rest = path.split(".")
        where = header
        while rest:
            where, node = where[node], rest.pop(0)
        if value is ...:
            del where[node]
        else:
            where[node] = value
    save_file(load_file(source) if tensors is None else tensors, target, {"ganvas": json.dumps(header)})
    return target


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"config.network.generator": {"channels": 2**40}},
            "channels is 1099511627776; a file may say 65,536 at most",
        ),
        ({"config.network.generator": {"channels": 8}}, "does not fit its own config"),
        ({"config.network.generator": {"channels": "abc"}}, "expected a value like 32"),
        ({"config.network.generator": {"channels": -1}}, "does not fit its own config"),
        ({"config.network.generator": {"channels": 0}}, "does not fit its own config"),
        ({"config.network.generator": {"channels": 1.5}}, "expected a value like 32"),
        ({"config.network.generator": {"channels": None}}, "expected a value like 32"),
        ({"config.network.generator": {"channels": [4]}}, "expected a value like 32"),
        ({"config.network.generator": {"channels": True}}, "expected a value like 32"),
        ({"config.network.generator": {"refine": 1}}, "expected a value like False"),
        (
            {"config.network.name": "r3", "config.network.generator": {"group": 1e-9}},
            "expected a value like 16",
        ),
        (
            {
                "config.network.name": "r3",
                "config.network.generator": {
                    "channels": 65_521,
                    "max_channels": 65_521,
                    "expansion": 65_519,
                    "group": 2,
                },
            },
            "there are 1 to 65,536",
        ),
        (
            {"config.network.name": "mlp", "config.network.generator": {"fourier": 2000}},
            "at most 64 octaves",
        ),
        ({"config.network.latent_dim": -5}, "must be at least 1"),
        ({"config.network.latent_dim": 2**60}, "damaged header|at most"),
        ({"config.network.latent_dim": 10**6}, "at most"),
        ({"config.network.pack": 0}, "must be at least 1"),
        (
            {"config.network.name": "style", "config.network.generator": {"mapping_layers": 60_000}},
            "more layers than it holds tensors",
        ),
        (
            {"config.network.name": "mlp", "config.network.generator": {"hidden": [4] * 60_000}},
            "more layers than it holds tensors",
        ),
        ({"config.data.holdout": float("nan")}, "holdout is nan"),
        ({"config.training.kimg": float("inf")}, "kimg is inf"),
        ({"config.data.resolution": 10**6}, "of 1000000 x 1000000 px"),
        ({"config": None}, "damaged header"),
        ({"shape": [1, 8, float("inf")]}, "damaged header"),
        ({"shape": [1, 8.0, 8]}, "damaged header"),
        ({"shape": [1, 8, True]}, "damaged header"),
        ({"shape": [1, 60_000, 60_000], "config.data.resolution": None}, "damaged header"),
        ({"shape": [-1, 8, 8]}, "damaged header"),
        ({"shape": []}, "damaged header"),
        ({"num_classes": -1}, "num_classes -1"),
        ({"num_classes": "ten"}, "num_classes 'ten'"),
        ({"num_classes": 10**9}, "num_classes 1000000000"),
        ({"kimg": "much"}, "kimg 'much'"),
        ({"kimg": float("nan")}, "kimg nan"),
        ({"class_names": [1]}, "class_names"),
        ({"class_names": 7}, "damaged header"),
        ({"data": "digits"}, "damaged header"),
        ({"privacy": 3}, "damaged header"),
        ({"privacy": {"epsilon": -1.0, "delta": 1e-5}}, "privacy"),
        ({"privacy": {"epsilon": "little", "delta": 1e-5}}, "privacy 'little'"),
        ({"privacy": {"epsilon": 1.0, "delta": 2}}, "privacy"),
        ({"audit": {"samples": 1, "suspects": 0, "attacks": {"distance": [0.5, 0.4]}}}, "audit"),
        ({"audit": {"samples": 1, "suspects": 0, "attacks": {"distance": [0.5, 0.4, 7]}}}, "audit"),
        ({"audit": {"samples": -1, "suspects": 0, "attacks": {"distance": [0.5, 0.4, 0.6]}}}, "audit"),
        ({"data": {"name": 3}}, "data.name 3"),
        ({"config.network.name": "os.system"}, "Unknown network"),
        ({"config.network.generator": {"norm": "__import__"}}, "Unknown norm"),
        ({"config.network": 3}, "must be a JSON object"),
        ({"shape": "x"}, "damaged header"),
        ({"kind": "critic"}, "not the generator expected there"),
    ],
)
def test_hostile_headers(trained: Result, tmp_path: Path, change: dict[str, object], message: str) -> None:
    good = trained.run.snapshots[-1] / "generator.safetensors"
    with pytest.raises(GanvasError, match=message):
        ganvas.load(rewrite(good, tmp_path / "bad.safetensors", change))


@pytest.mark.parametrize("missing", ["kimg", "data", "class_names"])
def test_headers_of_before_still_open(
    trained: Result, tmp_path: Path, missing: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What they do not say is not known, and everything else is."""
    good = trained.run.snapshots[-1] / "generator.safetensors"
    path = rewrite(good, tmp_path / "old.safetensors", {missing: ...})
    model, whole = ganvas.load(path, device="cpu"), ganvas.load(good, device="cpu")
    assert whole.info.data is not None
    unknown = DataReference(whole.info.data.config) if missing == "data" else None
    assert model.info == replace(whole.info, **{missing: unknown})
    assert torch.equal(model.sample(4), whole.sample(4))
    out = tmp_path / "s.png"
    assert main(["sample", str(path), "--n", "4", "--out", str(out), "--device", "cpu"]) == 0
    assert ("kimg unknown" if missing == "kimg" else f"{whole.info.kimg:g} kimg") in capsys.readouterr().out


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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.fill_(float("nan")), "NaN or infinite weights, in tensor 'first.weight'"),
        (lambda t: t.index_put_((torch.tensor(0),), torch.tensor(float("inf"))), "NaN or infinite weights"),
        (lambda t: t.int(), r"is of torch.int32, expected torch.float32"),
        (lambda t: t > 0, r"is of torch.bool, expected torch.float32"),
        (lambda t: t.to(torch.float8_e4m3fn), r"is of torch.float8_e4m3fn, expected torch.float32"),
        (lambda t: t[:1], r"is \(1, .*expected"),
    ],
)
def test_weights_are_checked(
    trained: Result, tmp_path: Path, change: Callable[[torch.Tensor], torch.Tensor], message: str
) -> None:
    good = trained.run.snapshots[-1] / "generator.safetensors"
    tensors = load_file(good)
    tensors["first.weight"] = change(tensors["first.weight"]).contiguous()
    with pytest.raises(GanvasError, match=message):
        ganvas.load(rewrite(good, tmp_path / "bad.safetensors", {}, tensors))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_other_widths_are_computed_with_in_fp32(
    trained: Result, tmp_path: Path, dtype: torch.dtype
) -> None:
    good = trained.run.snapshots[-1] / "generator.safetensors"
    tensors = {name: t.to(dtype) if t.is_floating_point() else t for name, t in load_file(good).items()}
    model = ganvas.load(rewrite(good, tmp_path / "other.safetensors", {}, tensors), device="cpu")
    assert {p.dtype for p in model.generator.parameters()} == {torch.float32}
    off = (model.sample(16).int() - ganvas.load(good, device="cpu").sample(16).int()).abs().max()
    assert off <= (0 if dtype == torch.float64 else 8)


def test_many_tensors_are_no_network(trained: Result, tmp_path: Path) -> None:
    good = trained.run.snapshots[-1] / "generator.safetensors"
    tensors = {f"layers.{i}.weight": torch.zeros(1) for i in range(1100)}
    with pytest.raises(GanvasError, match="holds 1,100 tensors; a network has 1,024 at most"):
        ganvas.load(rewrite(good, tmp_path / "bad.safetensors", {}, tensors))


def test_missing_tensors(trained: Result, tmp_path: Path) -> None:
    good = trained.run.snapshots[-1] / "generator.safetensors"
    tensors = load_file(good)
    del tensors["first.weight"]
    with pytest.raises(GanvasError, match=r"'first.weight' is missing"):
        ganvas.load(rewrite(good, tmp_path / "bad.safetensors", {}, tensors))


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


def test_a_packaged_name_is_suggested() -> None:
    with pytest.raises(GanvasError, match="Did you mean 'fashion'"):
        ganvas.load("fashoin")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5),
    lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text(max_size=5), each, max_size=3),
    max_leaves=6,
)


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every place in a JSON value."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(way for key, each in inside for way in leaves(each, (*path, key)))]


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_any_header_opens_or_is_refused(
    trained: Result, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """One place of a good header holds something else: a model, or `GanvasError`; never an error from inside."""
    good = trained.run.snapshots[-1] / "generator.safetensors"
    with safe_open(good, "pt") as file:
        header = json.loads(file.metadata()["ganvas"])
    *way, last = data.draw(st.sampled_from(leaves(header)[1:]))
    node = header
    for key in way:
        node = node[key]
    node[last] = data.draw(JSON)
    path = tmp_path_factory.mktemp("fuzz") / "x.safetensors"
    save_file(load_file(good), path, {"ganvas": json.dumps(header)})
    with contextlib.suppress(GanvasError):
        model = ganvas.load(path, device="cpu")
        assert model.sample(2).shape == (2, 1, 8, 8)
        class_names(model)
        assert len(repr(model)) < 5000
        data_config_of(model)


def test_a_header_writes_nothing_on_the_terminal_and_is_no_wrapped_module(
    trained: Result, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    escape = "\x1b]0;a title\x07\x1b[2J\u202e"
    source = trained.run.snapshots[-1] / "generator.safetensors"
    names = [escape, *"123456789"]
    change = {"notes": 5, "foreign": {"a": 1}, "class_names": names, "data.name": escape}
    model = ganvas.load(rewrite(source, tmp_path / "g.safetensors", change), device="cpu")
    assert repr(model).startswith("Model(dcgan: z ")
    model.save(tmp_path / "again.safetensors")
    assert model.info.class_names is not None
    assert model.info.data is not None
    assert model.info.class_names[0] == r"\x1b]0;a title\x07\x1b[2J\u202e" == model.info.data.name
    assert model.info.notes == ()
    assert main(["eval", str(rewrite(source, tmp_path / "k.safetensors", {"kind": escape}))]) == 2
    said = capsys.readouterr().err
    assert r"holds a \x1b]0;a title\x07" in said
    assert "\x1b" not in said


def test_the_hash_is_that_of_the_weights_and_counted_once(trained: Result) -> None:
    model = ganvas.load(trained.run.path)
    assert model.hash == hash_of(model.generator)
    assert model.hash is model.hash
    other = copy.deepcopy(model.generator)
    with torch.no_grad():
        next(other.parameters()).flatten()[0] += 1
    assert replace(model, generator=other).hash == hash_of(other) != model.hash


def test_a_layer_of_no_width_is_refused(tmp_path: Path) -> None:
    """What was built of it ended in an IndexError when it drew."""
    config = Config(network=NetworkConfig("dcgan", 8, generator={"channels": 4, "max_channels": 0}))
    config = replace(config, training=replace(config.training, kimg=1.0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        network = families.get("dcgan").generator((1, 8, 8), 8, num_classes=0, **config.network.generator)
    path = tmp_path / "none.safetensors"
    header = {"kind": "generator", "shape": [1, 8, 8], "num_classes": 0, "config": to_dict(config)}
    io.save_tensors(path, network.state_dict(), header)
    with pytest.raises(
        GanvasError, match=r"does not fit its own config.*first.weight would be of size \(0, 8\)"
    ):
        ganvas.load(path)


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
