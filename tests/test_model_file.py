import contextlib
import json
import os
import re
import shutil
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
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
from ganvas.config import Config, NetworkConfig, to_dict
from ganvas.errors import GanvasError
from ganvas.model import DataReference
from ganvas.model_data import class_names, data_config_of
from ganvas.networks import families
from ganvas.runs import Run
from ganvas.sampling.store import kept_ratio
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
        ({"data": {"before": [["mark", 1.5, 0]]}}, "damaged header: data.before"),
        ({"data": {"before": [["mark", 0.1, 0, 0]]}}, "damaged header: data.before"),
        ({"data": {"before": [["mark", 0.1, 0, [7]]]}}, "damaged header: data.before"),
        ({"data": {"before": [["mark", 0.1, 0, [], 0]]}}, "damaged header: data.before"),
        ({"data": {"before": {"mark": 0.1}}}, "damaged header: data.before"),
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


@pytest.mark.parametrize("name", ["generator", "critic", "state", "folder", "config"])
def test_a_run_opens_no_files_of_others_through_links(trained: Result, tmp_path: Path, name: str) -> None:
    """Its report and page showed another run's model, data and command, which whoever sent it did not have."""
    mine, theirs = tmp_path / "mine", tmp_path / "theirs"
    for folder in (mine, theirs):
        shutil.copytree(trained.run.path, folder)
    snapshot = Run(theirs).snapshots[-1]
    file = {
        "folder": snapshot, "config": theirs / "config.json", "state": Run(theirs).state_path,
    }.get(name, snapshot / f"{name}.safetensors")  # fmt: skip
    shutil.rmtree(file) if file.is_dir() else file.unlink()
    file.symlink_to(mine / file.relative_to(theirs))
    opened: dict[str, Callable[[], object]] = {
        "state": lambda: ganvas.train(resume=theirs, more=0.1, quiet=True), "config": lambda: Run(theirs).config,
    }  # fmt: skip
    with pytest.raises(GanvasError, match="link that leads out of the run"):
        opened.get(name, lambda: ganvas.load(theirs))()
    (tmp_path / "linked").symlink_to(mine)
    assert (
        ganvas.load(tmp_path / "linked").hash == ganvas.load(mine).hash
    )  # the whole run may lie where one likes


@pytest.mark.parametrize("name", ["critic", "encoder", "ratio"])
def test_a_shared_folder_opens_no_files_of_others_through_links(
    trained: Result, tmp_path: Path, name: str
) -> None:
    """Scores were those of a critic elsewhere on this machine, and an export copied its weights into what is uploaded."""
    mine, theirs, hub = tmp_path / "mine", tmp_path / "theirs", tmp_path / "hub"
    source = trained.run.snapshots[-1]
    for folder in (mine, theirs, hub / "blobs"):
        shutil.copytree(source, folder)
    file = theirs / f"{name}.safetensors"
    elsewhere = mine / file.name if name == "critic" else source / "critic.safetensors"

    def opened(folder: Path) -> object:
        model = ganvas.load(folder, device="cpu")
        return kept_ratio(model) if name == "ratio" else model.critic

    for target in (elsewhere, os.path.relpath(elsewhere, theirs), file):
        file.unlink(missing_ok=True)
        file.symlink_to(target)
        if target != file:
            with pytest.raises(GanvasError, match="link that leads out of its folder"):
                opened(theirs)
        else:
            opened(theirs)
    # As the hub's cache has them, and in the same folder under another name.
    snapshot = hub / "snapshots" / "c0ffee"
    snapshot.mkdir(parents=True)
    for each in ("generator", "critic", "ratio"):
        (hub / "blobs" / "ratio.safetensors").touch()
        (snapshot / f"{each}.safetensors").symlink_to(f"../../blobs/{each}.safetensors")
    assert opened(snapshot)
    if name == "critic":
        file.unlink()
        shutil.copy(mine / file.name, theirs / "another.safetensors")
        file.symlink_to("another.safetensors")
        assert opened(theirs)


@pytest.mark.parametrize("when", ["between", "one by one"])
def test_a_model_that_is_replaced_while_it_is_read_is_of_one_snapshot(
    tiny_train: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """Its critic was that of another generator, or it had none, without a word."""
    old, new = tiny_train(kimg=1.024).run.snapshots
    best = tmp_path / "best"
    shutil.copytree(old, best)
    if when == "one by one":
        shutil.copy(new / "generator.safetensors", best)
    read = io.load_tensors

    def replacing(path: Path) -> Any:
        found = read(path)
        if when == "between" and path.name == "generator.safetensors" and not done:
            done.append(path)
            with io.atomic_folder(best) as temporary:
                shutil.copytree(new, temporary)
        return found

    done = list[Path]()
    monkeypatch.setattr(io, "load_tensors", replacing)
    monkeypatch.setattr(time, "sleep", lambda seconds: shutil.copy(new / "critic.safetensors", best))
    found, wanted = ganvas.load(best, device="cpu"), ganvas.load(new, device="cpu")
    assert found.hash == wanted.hash
    assert found.critic is not None
    assert wanted.critic is not None
    assert hash_of(found.critic) == hash_of(wanted.critic)


def test_a_critic_of_another_snapshot_is_told_of(
    tiny_train: Callable[..., Result],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It was taken without a word: figures of an autoencoder with another's encoder were lower by what no one could see."""
    old, new = tiny_train(kimg=1.024).run.snapshots
    folder = tmp_path / "model"
    shutil.copytree(new, folder)
    shutil.copy(old / "critic.safetensors", folder)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    assert ganvas.load(new, device="cpu").critic is not None
    assert ganvas.load(folder, device="cpu", critic=False).critic is None
    assert not caplog.text
    assert ganvas.load(folder, device="cpu").critic is not None
    assert re.search(r"of different snapshots: generator of .* kimg, critic of ", caplog.text)
    # What lies beside a file that brings its own is another model's.
    whole = ganvas.load(new, device="cpu")
    whole.save(folder / "mine.safetensors", critic=True)
    opened = ganvas.load(folder / "mine.safetensors", device="cpu")
    assert opened.critic is not None
    assert whole.critic is not None
    assert hash_of(opened.critic) == hash_of(whole.critic)


def test_a_critic_that_nobody_asks_for_is_not_read(trained: Result, tmp_path: Path) -> None:
    """Whether it is of the same snapshot is asked where it was read alone."""
    folder = tmp_path / "model"
    shutil.copytree(trained.run.snapshots[-1], folder)
    (folder / "critic.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1")
    assert ganvas.load(folder, device="cpu", critic=False).critic is None
    with pytest.raises(GanvasError, match=r"critic\.safetensors"):
        ganvas.load(folder, device="cpu")


def test_what_is_opened_inside_inference_mode_has_gradients_outside() -> None:
    """Directions, samplers and walks that descend were tracebacks, for as long as the model was held."""
    with torch.inference_mode():
        model = ganvas.load("fashion", device="cpu")
    z = torch.zeros(1, model.latent_dim, requires_grad=True)
    model.generator(z).sum().backward()
    assert z.grad is not None
    assert z.grad.any()
