"""Fine-tuning: what a training that begins with a model takes from it, and what it leaves alone."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ganvas
from ganvas import io
from ganvas.cli import main
from ganvas.config import DataConfig, NetworkConfig
from ganvas.errors import GanvasError
from ganvas.model import DataReference
from ganvas.model_data import has_changed, learned_by
from ganvas.model_file import are_learned
from ganvas.training import Result, plan
from ganvas.training.start import check_held_out, freeze_first, freeze_mapping
from tests.conftest import same_tensors
from tests.importers.opened import FILES

Train = Callable[..., Result]
BRIEF = {"training.snapshot_kimg": 1.024, "training.log_kimg": 0.512}


def files(result: Result, index: int) -> dict[str, dict[str, torch.Tensor]]:
    folder = result.run.snapshots[index]
    return {kind: io.load_tensors(folder / f"{kind}.safetensors")[0] for kind in ("generator", "critic")}


def test_a_run_begins_where_a_model_is_and_keeps_what_is_frozen(trained: Result, tmp_path: Any) -> None:
    """The first snapshot is the model. Then all but the critic's first layer moves; a resumed run ends in the same weights."""
    settings = {
        **BRIEF,
        "training.freeze_critic": 1,
        "training.monitor_kimg": 0,
        "training.ema_also_kimg": [0.005],
    }

    def tuned(kimg: float, **more: Any) -> Result:
        return ganvas.train(
            "digits", start=str(trained.run.path), kimg=kimg, batch=16, device="cpu", precision="fp32", out=tmp_path,
            quiet=True, report=False, settings={**settings, "optimizer.schedule": "constant"}, **more,
        )  # fmt: skip

    whole = tuned(1.024)
    source = files(trained, -1)
    for kind, tensors in files(whole, 0).items():
        assert same_tensors(tensors, source[kind])
    last = files(whole, -1)["critic"]
    kept = {name for name in last if torch.equal(last[name], source["critic"][name])}
    assert kept == {"layers.0.weight", "layers.0.bias"}
    assert whole.run.config.network == trained.run.config.network
    assert whole.run.config.training.start == str(trained.run.path)
    folder = whole.run.snapshots[-1]
    other = ganvas.load(folder / "generator-ema0.005.safetensors", device="cpu")
    assert other.hash != ganvas.load(folder, device="cpu").hash
    assert other.critic is not None
    half = tuned(0.512)
    again = ganvas.train(resume=half.run.path, kimg=1.024, quiet=True, report=False)
    for kind, tensors in files(again, -1).items():
        assert same_tensors(tensors, files(whole, -1)[kind])


def test_a_preset_with_a_projected_critic_keeps_it(trained: Result) -> None:
    config, _ = plan("digits", preset="projected", start=str(trained.run.path), device="cpu")
    assert config.network.generator == trained.run.config.network.generator
    assert config.network.critic_name == "projected"


def test_a_file_of_another_toolkit_is_gone_on_with(tmp_path: Path) -> None:
    """One step of Adam without momentum moves each weight by the rate at most; the mapping stays to the bit."""
    place = FILES / "stylegan2_ada.pkl"
    model = ganvas.load(place, device="cpu")
    images = np.random.default_rng(0).integers(0, 256, (32, 16, 16, 3), dtype=np.uint8)
    np.savez(tmp_path / "data.npz", images=images, labels=np.arange(32) % model.generator.num_classes)
    command = [
        "train",
        str(tmp_path / "data.npz"),
        "--from",
        str(place),
        "--kimg",
        "0.008",
        "--batch",
        "8",
        "--quiet",
    ]
    command += [
        "--device",
        "cpu",
        "--precision",
        "fp32",
        "--out",
        str(tmp_path),
        "--set",
        "training.freeze_mapping=true",
    ]
    assert (
        main([*command, "training.monitor_kimg=0", "training.ema_kimg=0", "optimizer.lr_generator=0.01"]) == 0
    )
    (run,) = tmp_path.glob("00000-*")
    last = ganvas.load(run, device="cpu").generator.state_dict()
    moved = {}
    for name, before in model.generator.state_dict().items():
        moved[name] = float((last[name] - before).abs().max())
    assert [name for name, by in moved.items() if by and name.startswith("map.")] == []
    assert sum(by > 0.009 for by in moved.values()) > len(moved) / 2
    assert max(moved.values()) < 0.0101


def test_what_the_model_has_learned_from_is_not_held_out(trained: Result, tmp_path: Path) -> None:
    """Membership, over-fitting and calibration took for new what the weights that a run began with had seen."""
    asked: Any = {"start": str(trained.run.path), "device": "cpu"}
    with pytest.raises(
        GanvasError, match=r"has learned from 179 of the 179.*data\.holdout=0\.1 data\.fold=0"
    ):
        plan("digits", settings={"data.fold": 1}, **asked)
    with pytest.raises(GanvasError, match=r"has learned from 179 of the 359 samples of digits"):
        plan("digits", settings={"data.holdout": 0.2}, **asked)
    for settings in ({}, {"data.holdout": 0.05}, {"data.holdout": 0}):
        assert plan("digits", settings=settings, **asked)[0].training.start
    np.save(tmp_path / "other.npy", np.zeros((200, 8, 8), np.uint8))
    assert plan(tmp_path / "other.npy", settings={"data.fold": 1}, **asked)[0].training.start


def test_the_model_that_is_begun_with_is_the_one_that_was_looked_at(
    trained: Result, tiny_train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was opened anew for its weights, days later where the run was stopped at once: another one there, that had learned from
    what the run holds out, was begun with."""
    place, other = tmp_path / "model", tiny_train(settings={"data.holdout": 0.0})
    shutil.copytree(trained.run.snapshots[-1], place)
    asked: Any = {
        "start": str(place),
        "device": "cpu",
        "kimg": 0.064,
        "batch": 32,
        "quiet": True,
        "report": False,
    }

    def replaced(method: Any, place: str, known: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("ganvas.training.loop.begin", replaced)
        with pytest.raises(KeyboardInterrupt):
            ganvas.train("digits", out=tmp_path / "begun", **asked)
    (run,) = (tmp_path / "begun").iterdir()
    shutil.move(place, tmp_path / "kept")
    shutil.copytree(other.run.snapshots[-1], place)
    with pytest.raises(GanvasError, match="holds another model than this run is to begin with"):
        ganvas.train(resume=run, device="cpu", quiet=True, report=False)
    shutil.rmtree(place)
    shutil.move(tmp_path / "kept", place)
    assert ganvas.train(resume=run, device="cpu", quiet=True, report=False).stopped == "budget"


def test_what_a_model_further_back_has_learned_from_is_not_held_out(
    trained: Result, tiny_train: Train, tmp_path: Path
) -> None:
    """One between that was trained on other data names these alone: an audit of the third took members of the first for new."""
    np.save(tmp_path / "other.npy", np.random.default_rng(0).integers(0, 255, (200, 8, 8), np.uint8))
    between = tiny_train(str(tmp_path / "other.npy"), kimg=0.064, start=str(trained.run.path))
    between = ganvas.train(resume=between.run.path, kimg=0.128, device="cpu", quiet=True, report=False)
    asked: Any = {"start": str(between.run.path), "device": "cpu"}
    with pytest.raises(
        GanvasError, match=r"has learned from 179 of the 179.*data\.holdout=0\.1 data\.fold=0"
    ):
        plan("digits", settings={"data.fold": 1}, **asked)
    again = tiny_train(kimg=0.064, start=str(between.run.path))
    known = ganvas.load(again.run.path, device="cpu").info.data
    assert known is not None
    assert [each.holdout for each in known.before] == [0.1, 0.1]
    digits, model = ganvas.data.load_dataset("digits"), ganvas.load(between.run.path, device="cpu")
    assert has_changed(model, digits, DataConfig("digits"))


def test_what_has_changed_since_a_model_further_back_learned_from_it_is_not_held_out(
    tiny_train: Train, tmp_path: Path
) -> None:
    """By way of other data nothing told: 131 of 152 that were held out had been trained on, and an audit took them for new."""
    path, other = tmp_path / "mine.npy", tmp_path / "other.npy"
    images = np.random.default_rng(0).integers(0, 255, (400, 8, 8), np.uint8)
    np.save(path, images[:200])
    np.save(other, images[200:])
    base = tiny_train(str(path), kimg=0.064)
    between = tiny_train(str(other), kimg=0.064, start=str(base.run.path))
    between = ganvas.train(resume=between.run.path, kimg=0.128, device="cpu", quiet=True, report=False)
    asked: Any = {"start": str(between.run.path), "device": "cpu"}
    assert plan(path, **asked)[0].data.holdout, "as it was"
    np.save(path, images[:201])
    with pytest.raises(GanvasError, match=r"as it was then.*the 20 samples it has seen.*data\.holdout=0"):
        plan(path, **asked)
    assert plan(path, settings={"data.holdout": 0}, **asked)[0].training.start
    model, data = ganvas.load(between.run.path, device="cpu"), ganvas.data.load_dataset(str(path))
    assert has_changed(model, data, DataConfig(str(path)))


def test_what_a_private_model_further_back_has_learned_from_is_known_by_its_place(trained: Result) -> None:
    """It tells no fingerprint, and was left out."""
    model, digits = ganvas.load(trained.run.path, device="cpu"), ganvas.data.load_dataset("digits")
    assert model.info.data is not None
    private = replace(model, info=replace(model.info, data=replace(model.info.data, fingerprint="")))
    (learned,) = learned_by(private)
    assert (learned.fingerprint, learned.holdout, learned.fold) == ("", 0.1, 0)
    other = DataReference(DataConfig("other.npy"), "other", "another", before=(learned,))
    child = replace(model, info=replace(model.info, data=other))
    check_held_out(child, "it", DataConfig("digits", holdout=0.1), digits)
    for asked in ({"holdout": 0.1, "fold": 1}, {"holdout": 0.3}):
        with pytest.raises(GanvasError, match="has learned from digits as it was then"):
            check_held_out(child, "it", DataConfig("digits", **asked), digits)  # type: ignore[arg-type]
    assert are_learned(child.info.header()["data"]["before"])


def test_of_data_that_have_changed_none_are_held_out(tiny_train: Train, tmp_path: Path) -> None:
    """With one picture more, 94 of 100 held-out ones had been trained on, and an audit found nothing in what knew them."""
    path, images = tmp_path / "mine.npy", np.random.default_rng(0).integers(0, 255, (200, 8, 8), np.uint8)
    np.save(path, images)
    base = tiny_train(str(path), kimg=0.064)
    asked: Any = {"start": str(base.run.path), "device": "cpu"}
    assert plan(path, **asked)[0].data.holdout
    np.save(path, np.concatenate([images, images[:1]]))
    with pytest.raises(GanvasError, match=r"as it was then.*the 20 samples it has seen.*data\.holdout=0"):
        plan(path, **asked)
    assert plan(path, settings={"data.holdout": 0}, **asked)[0].training.start


def test_a_model_that_has_grown_goes_on_at_its_size(tmp_path: Path) -> None:
    """It was shrunk to the smallest pictures, and a short training ended with those."""
    grows = {"stable_kimg": 0.1, "fade_kimg": 0.2, "channels": 4}
    asked: Any = {"batch": 16, "device": "cpu", "out": tmp_path, "quiet": True, "report": False}
    settings = {**BRIEF, "training.snapshot_kimg": 0.064, "network.critic.channels": 4}
    grown = {f"network.generator.{name}": value for name, value in grows.items()}
    half = ganvas.train(
        "digits", network="progressive", kimg=0.2, settings={**settings, **grown}, **asked
    ).run
    level = float(ganvas.load(half.path, device="cpu").generator.level)
    assert 0.4 < level < 0.6
    on = ganvas.train("digits", start=str(half.path), kimg=0.064, settings=BRIEF, **asked).run
    found = float(ganvas.load(on.path, device="cpu").generator.level)
    assert found == pytest.approx(level + 0.048 / 0.2, abs=1e-3), "one step less: the level is set before it"


def test_what_cannot_be_begun_with(trained: Result, tmp_path: Any) -> None:
    place = str(trained.run.path)
    for asked, message in (
        ({"resolution": 16}, "the data are images of 1 x 16 x 16. Add --resolution 8"),
        ({"data": "toy:grid25"}, "draws images of 1 x 8 x 8, the data are points of 2. Start from another"),
        ({"network": "style"}, "Omit --network"),
        ({"conditional": True}, "draws no classes. Omit --conditional"),
        ({"preset": "aae"}, "no pair for method 'aae'"),
        ({"settings": {"training.freeze_critic": 40}}, "at least one must learn"),
        ({"settings": {"training.freeze_mapping": True}}, "this generator has none"),
    ):
        with pytest.raises(GanvasError, match=message):
            plan(**{"data": "digits", "start": place, "device": "cpu", **asked})  # type: ignore[arg-type]


def test_a_model_of_series_of_another_length_says_which_it_draws(tmp_path: Path) -> None:
    table = tmp_path / "prices.csv"
    numbers = np.random.default_rng(0).normal(size=200)
    table.write_text("price\n" + "\n".join(map(str, numbers)))
    asked: Any = {"kimg": 0.03, "batch": 16, "out": tmp_path, "quiet": True}
    began = ganvas.train(table, window=8, **asked)
    with pytest.raises(GanvasError, match="Add --window 8,"):
        plan(table, ganvas.TrainOptions(window=12, start=str(began.run.path)))
    with pytest.raises(GanvasError, match="Start from another model"):
        plan("digits", ganvas.TrainOptions(start=str(began.run.path)))


def test_a_model_of_series_of_other_columns_is_not_begun_with(tmp_path: Path) -> None:
    """As many channels, of which three were numbers and are now a category of three."""
    random = np.random.default_rng(0)
    numbers, texts = tmp_path / "numbers.csv", tmp_path / "texts.csv"
    rows = random.uniform(-1, 1, size=(200, 4)).round(4)
    numbers.write_text("x,a,b,c\n" + "\n".join(",".join(map(str, row)) for row in rows))
    texts.write_text("x,kind\n" + "\n".join(f"{row[0]},{'abc'[i % 3]}" for i, row in enumerate(rows)))
    began = ganvas.train(numbers, window=8, kimg=0.03, batch=16, out=tmp_path, report=False, quiet=True)
    with pytest.raises(GanvasError, match="other columns than the data have, 'n n n n' and 'n c3'"):
        plan(texts, ganvas.TrainOptions(window=8, start=str(began.run.path)))
    coded = ganvas.train(
        numbers,
        window=8,
        method="vae",
        network="recurrent",
        kimg=0.03,
        batch=16,
        out=tmp_path,
        report=False,
        quiet=True,
    )
    with pytest.raises(GanvasError, match="other columns than the data have, 'n n n n' and 'n c3'"):
        plan(texts, ganvas.TrainOptions(window=8, in_latent=str(coded.run.path)))


def test_a_mapping_is_kept_and_layers_are_counted_from_the_image() -> None:
    style = NetworkConfig("style", latent_dim=4, generator={"channels": 4}, critic={"channels": 4})
    generator = ganvas.networks.build_generator(style, (1, 8, 8), 0)
    names = {name for name, _ in generator.named_parameters()}
    freeze_mapping(generator)
    kept = names - {name for name, _ in generator.named_parameters()}
    assert kept
    assert kept == {name for name in names if name.startswith("map.")}
    critic = ganvas.networks.build_critic(NetworkConfig("dcgan", critic={"channels": 4}), (1, 8, 8), 0)
    before = [name for name, _ in critic.named_parameters()]
    freeze_first(critic, 1)
    assert [name for name, _ in critic.named_parameters()] == before[2:], "a weight and a bias"


@pytest.mark.parametrize(
    ("network", "options", "first"),
    [
        ("dcgan", {"channels": 4}, ["layers.0.", "layers.2."]),
        ("dcgan", {"channels": 4, "auxiliary": True}, ["layers.0.", "layers.2."]),
        ("dcgan", {"channels": 4, "codes": 2, "templates": True}, ["layers.0.", "layers.2."]),
        ("resnet", {"channels": 4, "spectral_norm": True}, ["blocks.0.conv1.", "blocks.0.conv2."]),
        ("style", {"channels": 4, "attention": 16, "residual": False}, ["layers.0.", "layers.1."]),
        ("progressive", {"channels": 4}, ["from_image.2.", "blocks.1.0."]),
        ("stylegan2", {"channel_max": 4, "architecture": "skip"}, ["from_image.0.", "blocks.0.first."]),
    ],
)
def test_the_first_layers_are_those_that_see_the_picture_first(
    network: str, options: dict[str, Any], first: list[str]
) -> None:
    """The vectors of classes came first, which then were random for ever, and a layer with spectral norm was two."""
    config = NetworkConfig(network, conditional=True, critic=options)
    critic = ganvas.networks.build_critic(config, (1, 16, 16), 3)
    before = {name for name, _ in critic.named_parameters()}
    freeze_first(critic, 2)
    frozen = before - {name for name, _ in critic.named_parameters()}
    assert frozen == {name for name in before if name.startswith(tuple(first))}
    assert critic(torch.zeros(4, 1, 16, 16), torch.zeros(4, dtype=torch.long)).requires_grad
