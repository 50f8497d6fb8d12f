"""What is typed -> what is trained: preset, then the family with its recipe, then the size, then single flags."""

from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ganvas
from ganvas.config import NetworkConfig, PenaltyConfig, from_dict
from ganvas.data import limits
from ganvas.errors import GanvasError
from ganvas.losses import penalties
from ganvas.networks import build_critic, build_generator, families
from ganvas.networks.base import Family
from ganvas.networks.dcgan import DcganCritic, DcganGenerator
from ganvas.presets import presets
from ganvas.training import describe, methods, plan
from ganvas.training.hints import hints
from tests.training.games import gan

RECIPE = {
    "biggan": "biggan",
    "dcgan": "small",
    "mlp": "article",
    "progressive": "progressive",
    "projected": "projected",
    "r3": "r3",
    "resnet": "sngan",
    "style": "hour",
}
FACTOR = {"xs": 0.5, "s": 1, "m": 2, "l": 4}
EACH = [(size, gamma) for size in FACTOR for gamma in (None, 3.0)]
ENDS = [("xs", None), ("l", 3.0)]
"""Sizes and gammas: all of them with a preset's own network, an end with each other one, the next preset the other end."""
TAKES_GAMMA = {"r1", "r2", "wgan-gp"}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("pictures") / "pictures.npz"
    np.savez(path, images=np.random.default_rng(0).integers(0, 256, (1200, 8, 8, 1), dtype=np.uint8))
    return str(path)


WIDTHS = ("channels", "max_channels", "hidden")


def scaled(options: Any, factor: float) -> dict[str, Any]:
    def wider(value: Any) -> Any:
        return [wider(each) for each in value] if isinstance(value, list) else max(1, round(value * factor))

    return {k: wider(v) if k in WIDTHS else v for k, v in options.items()}


@pytest.mark.parametrize(
    "preset", [name for name in presets if name not in ("latent", "private", "series", "timegan")]
)  # in their own
def test_every_preset_with_every_network_size_and_gamma(preset: str, pictures: str) -> None:
    points = preset == "toy"
    own = presets.get(preset)
    takes_recipes = methods.get(own.method.name).takes_recipes
    recipes = [name for name in families if families.get(name).recipe not in ("", "series")]
    number = list(presets).index(preset)
    for place, network in enumerate((None, *(["mlp"] if points else recipes))):
        recipe = own
        if network not in (None, own.network.name):
            recipe = presets.get(RECIPE[str(network)])
            if not takes_recipes:
                n = own.network
                theirs = replace(recipe.network, latent_dim=n.latent_dim, codes=n.codes)
                recipe = replace(own, network=theirs)
        for size, gamma in EACH if network in (None, own.network.name) else [ENDS[(number + place) % 2]]:
            given = {"preset": preset, "network": network, "size": size, "gamma": gamma, "device": "cpu"}
            asked = {key: value for key, value in given.items() if value is not None}
            if gamma and not TAKES_GAMMA & {p.name for p in recipe.objective.penalties}:
                none = r"r1, r2, wgan-gp\), and this run has (none|clip)|--gamma is that of a critic"
                with pytest.raises(GanvasError, match=none):
                    plan("toy:ring8" if points else pictures, **asked)
                continue
            if network == "progressive" and not takes_recipes:
                with pytest.raises(GanvasError, match=f"grows, which method {own.method.name} does not"):
                    plan(pictures, **asked)
                continue
            config, _ = plan("toy:ring8" if points else pictures, **asked)
            assert config.preset == recipe.preset, "labelled by what it is"
            assert config.network == replace(
                recipe.network,
                generator=scaled(recipe.network.generator, FACTOR[size]),
                critic=scaled(recipe.network.critic, FACTOR[size]),
            ), (network, size)
            assert config.optimizer == recipe.optimizer
            assert config.objective.critic_steps == recipe.objective.critic_steps
            assert config.objective.loss == recipe.objective.loss
            assert config.training.batch == recipe.training.batch
            assert config.training.kimg == own.training.kimg, "the budget stays"
            assert config.augment == own.augment
            for found, before in zip(config.objective.penalties, recipe.objective.penalties, strict=True):
                if gamma and before.name in TAKES_GAMMA:
                    end = before.weight_end and pytest.approx(gamma * before.weight_end / before.weight)
                    assert (found.weight, found.weight_end) == (gamma, end)
                else:
                    assert found == before


def test_series_have_room_in_z_for_every_chunk_and_a_batch_that_they_fill(tmp_path: Path) -> None:
    """32 numbers for the whole and 8 for each of the chunks of three steps; of 60 series 54 are trained on."""
    config, dataset = plan("goog", size="l", device="cpu")
    network = config.network
    assert (network.latent_dim, network.generator["channels"]) == (32 + 8 * 8, 384)
    assert network.generator["layout"] == dataset.series.layout  # type: ignore[union-attr]
    assert (config.preset, config.training.precision) == ("series", "fp32")
    config, _ = plan("goog", network="tcn", device="cpu", settings={"network.generator.chunk": 2})
    assert (config.network.name, config.network.latent_dim) == ("tcn", 32 + 12 * 8)
    np.save(tmp_path / "few.npy", np.random.default_rng(0).normal(size=(60, 10, 2)))
    assert plan(str(tmp_path / "few.npy"), device="cpu")[0].training.batch == 32
    assert plan(str(tmp_path / "few.npy"), device="cpu", batch=8)[0].training.batch == 8


def test_wide_series_are_taken_a_few_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """64 windows of 64 columns of 256 categories, a table of 100 kB, took gigabytes in every step."""
    rows = np.random.default_rng(0).integers(0, 9, (120, 2))
    table = tmp_path / "kinds.csv"
    table.write_text("a,b\n" + "".join(f"x{a},y{b}\n" for a, b in rows))
    usual, dataset = plan(str(table), device="cpu")
    numbers = int(np.prod(dataset.shape))
    assert (usual.training.batch, numbers) == (64, 18 * 24)
    (few,) = hints(usual, dataset)
    assert few.startswith("ganvas eval will not measure this run. ")
    resolve = import_module("ganvas.training.resolve")
    monkeypatch.setattr(resolve, "MOST_TOGETHER", 11 * numbers)
    fewer, _ = plan(str(table), device="cpu")
    assert fewer.training.batch == 8
    line = next(each for each in hints(fewer, dataset) if each != few)
    assert "24 steps of 18 channels, of which 'a' 9, 'b' 9: batches are of 8 instead of 64" in line
    assert plan(str(table), device="cpu", batch=64)[0] == usual
    assert plan(str(table), device="cpu", settings={"training.batch": 32})[0].training.batch == 32
    monkeypatch.setattr(resolve, "MOST_TOGETHER", numbers)
    with pytest.raises(GanvasError, match=r"kinds has 432 numbers.* 'a' 9, 'b' 9\. .*--columns.*--batch 2"):
        plan(str(table), device="cpu")
    monkeypatch.setattr(limits, "ALWAYS", 0)
    monkeypatch.setenv("GANVAS_RESIDENT_MB", "1")
    assert plan(str(table), device="cpu", batch=2)[0].training.batch == 2
    with pytest.raises(GanvasError, match=r"'b' 9; a step of 64 holds 4 MB, .*--batch"):
        plan(str(table), device="cpu", batch=64)


def test_long_series_have_no_more_chunks(tmp_path: Path) -> None:
    np.save(tmp_path / "long.npy", np.random.default_rng(0).normal(size=(60, 100, 2)))
    network = plan(str(tmp_path / "long.npy"), device="cpu")[0].network
    assert (network.generator["chunk"], network.critic["chunk"]) == (7, 7)
    assert network.latent_dim == 32 + 15 * 8
    asked = {"network.generator.chunk": 3, "network.critic.chunk": 3}
    network = plan(str(tmp_path / "long.npy"), device="cpu", settings=asked)[0].network
    assert (network.generator["chunk"], network.critic["chunk"], network.latent_dim) == (3, 3, 32 + 34 * 8)
    network = plan("goog", device="cpu")[0].network
    assert "chunk" not in network.generator, "up to 48 steps it is the network's own"
    assert plan(str(tmp_path / "long.npy"), method="timegan", device="cpu")[0].network.name == "timegan"


@pytest.mark.parametrize(("side", "rate"), [(32, 0.015), (64, 0.004), (128, 0.004)])
def test_large_pictures_have_lower_rates(side: int, rate: float, tmp_path: Path) -> None:
    """With those of small ones a style-based pair draws noise; what was asked for stays."""
    source = tmp_path / "large.npz"
    np.savez(source, images=np.random.default_rng(0).integers(0, 256, (80, side, side, 3), dtype=np.uint8))
    given = {"preset": "photo-hour", "device": "cpu"}
    assert plan(str(source), **given)[0].optimizer.lr_generator == rate
    assert plan(str(source), **given)[0].optimizer.lr_critic == rate
    asked = plan(str(source), **given, settings={"optimizer.lr_critic": 0.01})[0].optimizer
    assert (asked.lr_generator, asked.lr_critic) == (rate, 0.01)
    assert plan(str(source), preset="photo-256", device="cpu")[0].optimizer.lr_generator == 0.0025


def test_a_preset_of_another_family_than_the_data_asks_for_names_the_recipe(pictures: str) -> None:
    """The three cases of which each went wrong: rates, size and label."""
    config, _ = plan(pictures, preset="hour", network="dcgan", device="cpu")
    assert config.optimizer.lr_critic == 2e-3
    assert (config.training.minutes, config.preset) == (60.0, "small")
    config, _ = plan(pictures, network="style", size="l", device="cpu")
    assert (config.network.generator["channels"], config.network.critic["channels"]) == (128, 64)
    config, _ = plan(pictures, network="resnet", device="cpu")
    assert config.objective.penalties == ()
    assert config.objective.critic_steps == 5


def test_a_size_reaches_a_family_without_a_recipe(pictures: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(families._entries, "ours", Family(DcganGenerator, DcganCritic))
    plain, _ = plan(pictures, network="ours", device="cpu")
    assert (plain.preset, plain.network) == ("small", NetworkConfig("ours", 64))
    large, _ = plan(pictures, network="ours", size="l", device="cpu")
    assert (large.network.generator["channels"], large.network.critic["channels"]) == (128, 128)
    counts = [
        sum(p.numel() for p in build(config.network, (1, 8, 8), 0).parameters())
        for config in (plain, large)
        for build in (build_generator, build_critic)
    ]
    assert counts[2] > 3 * counts[0]
    assert counts[3] > 3 * counts[1]
    monkeypatch.setitem(families._entries, "plain", Family(_Widthless, DcganCritic))
    with pytest.raises(
        GanvasError, match=r"--size scales channels or hidden, and network 'plain' has neither"
    ):
        plan(pictures, network="plain", size="l", device="cpu")


class _Widthless(DcganGenerator):
    def __init__(self, shape: tuple[int, ...], latent_dim: int, *, num_classes: int = 0) -> None:
        super().__init__(shape, latent_dim, num_classes=num_classes)


def test_gamma_leaves_drift_and_clipping_alone(pictures: str) -> None:
    config, _ = plan(pictures, preset="progressive", gamma=1.0, device="cpu")
    assert [(p.name, p.weight) for p in config.objective.penalties] == [("wgan-gp", 1.0), ("drift", 0.001)]
    config, _ = plan(pictures, penalty=["clip", "r1"], gamma=2.0, device="cpu")
    assert config.objective.penalties == (PenaltyConfig("clip", bound=0.01), PenaltyConfig("r1", 2.0, 8))
    with pytest.raises(GanvasError, match=r"this run has clip\. Add --penalty r1"):
        plan(pictures, preset="wgan", gamma=1.0, device="cpu")
    with pytest.raises(GanvasError, match="bound -1"):
        plan(
            pictures,
            preset="wgan",
            device="cpu",
            settings={"objective.penalties": [{"name": "clip", "bound": -1}]},
        )


@pytest.mark.parametrize(
    ("written", "bound"),
    [({"name": "clip", "weight": 0.02, "interval": 1}, 0.02), ({"name": "clip", "bound": 0.03}, 0.03)],
)
def test_clipping_has_a_bound_and_older_configs_keep_theirs(
    written: dict[str, Any], bound: float, pictures: str
) -> None:
    config, data = plan(
        pictures, preset="wgan", size="xs", device="cpu", settings={"objective.penalties": [written]}
    )
    assert from_dict(PenaltyConfig, written) == config.objective.penalties[0]
    p = gan(config, (1, 8, 8), 0, torch.device("cpu"))
    p.step(lambda _: data.take(torch.arange(64)), 0.0)
    largest = max(float(w.detach().abs().max()) for w in p.critic.parameters())
    assert largest == pytest.approx(bound)


def test_every_penalty_says_what_is_usual() -> None:
    """Published: lambda 10 (Gulrajani 2017), drift 0.001 (Karras 2018), bound 0.01 (Arjovsky 2017)."""
    usual = {name: penalties.get(name).usual for name in ("wgan-gp", "drift", "clip")}
    assert usual == {"wgan-gp": 10, "drift": 0.001, "clip": 0.01}
    assert {name for name in penalties if penalties.get(name).gamma} == TAKES_GAMMA


def test_the_run_folder_carries_the_label(pictures: str, tmp_path: Path) -> None:
    import ganvas

    result = ganvas.train(
        pictures, network="mlp", kimg=0.032, device="cpu", out=tmp_path, quiet=True, report=False
    )
    assert result.run.path.name.endswith("pictures-article")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"seed": 2**60}, "training.seed is 1152921504606846976"),
        ({"gamma": 1e17}, "penalties.*weight is 1e"),
        ({"kimg": 1e17}, "config.training.kimg is 1e"),
        ({"settings": {"network.latent_dim": 70_000}}, "config.network.latent_dim is 70000"),
    ],
)
def test_what_no_file_could_say_again_is_refused(given: dict[str, Any], words: str) -> None:
    """Such runs were trained to their end, and no snapshot of them opened."""
    with pytest.raises(GanvasError, match=words):
        plan("digits", **given)


def test_generators_know_how_long_the_series_are_that_they_learn(tmp_path: Path) -> None:
    """Of each class by itself, and of the training part alone; of those that a run begins with when they are others."""
    waves = np.resize([[-1.0, 1.0], [1.0, -1.0]], (60, 9, 2))
    labels = np.arange(60) % 2
    lengths = np.where(labels == 1, 9, 4)
    path, longer = tmp_path / "few.npz", tmp_path / "longer.npz"
    np.savez(path, series=waves, lengths=lengths, labels=labels)
    np.savez(longer, series=waves, lengths=np.maximum(lengths, 8), labels=labels)
    asked: dict[str, Any] = {"device": "cpu", "precision": "fp32", "network": "tcn"}
    told = {c: plan(str(path), **asked, conditional=c)[0].network.generator["lengths"] for c in (False, True)}
    assert told[True] == " / ".join([" ".join("4" * 64), " ".join("9" * 64)])
    assert set(told[False].split()) == {"4", "9"}
    learned, _ = plan(str(path), **asked, settings={"network.generator.lengths": ""})
    assert learned.network.generator["lengths"] == ""
    run = ganvas.train(
        str(path), **asked, conditional=True, kimg=0.1, out=tmp_path, report=False, quiet=True,
        settings={"network.generator.channels": 8, "network.critic.channels": 8, "training.monitor_kimg": 0},
    ).run  # fmt: skip
    again, _ = plan(str(longer), start=str(run.path), device="cpu")
    assert set(again.network.generator["lengths"].split()) == {"8", "9", "/"}
    begun = ganvas.train(
        str(longer), start=str(run.path), device="cpu", kimg=0.1, out=tmp_path, report=False, quiet=True,
        settings={"training.monitor_kimg": 0},
    ).run  # fmt: skip
    series = ganvas.load(begun.path, device="cpu").series(40)
    assert set(series.lengths) == {8, 9}, "of the data, and not of the model that it begins with"


def test_settings_of_the_data_are_those_of_their_flags(tmp_path: Path) -> None:
    """They were written into the run after its data were opened: it trained on others than it said, and could not go on."""
    config, data = plan("sines", settings={"data.window": 12})
    assert config.data.window == data.shape[1] == 12
    assert data.fingerprint == plan("sines", window=12)[1].fingerprint
    np.save(tmp_path / "points.npy", np.random.default_rng(0).normal(size=(400, 2)))
    for source, settings, said in (
        ("sines", {"data.mirror": True}, "--mirror and --alpha are for images"),
        ("toy:ring8", {"data.mirror": True}, "--mirror is for images, and toy-ring8 holds points"),
        (str(tmp_path / "points.npy"), {"data.mirror": True}, "--mirror is for images"),
        ("digits", {"data.window": 12}, "--window is for series"),
        ("sines", {"data.window": 1}, "--window is 1"),
        ("digits", {"data.source": "sines"}, "--set data.source would name other data"),
        ("digits", {"data": {"source": "sines"}}, "--set data would name other data"),
        ("digits", {"data": {"holdout": 0.5}}, "by its own path"),
        ("digits", {"preset": "small"}, "Use --preset"),
    ):
        with pytest.raises(GanvasError, match=said):
            plan(source, settings=settings)


def test_a_selection_is_counted_before_there_is_a_run() -> None:
    """The log and the report told how many samples there were without it; too few for a batch were found in a run folder."""
    config, data = plan("digits", settings={"data.select": 0.5})
    assert describe(config, data).startswith("digits: 808 samples of 1 x 8 x 8")
    with pytest.raises(GanvasError, match="A batch of 32 does not fit 16 training samples"):
        plan("digits", settings={"data.select": 0.01})


@pytest.mark.parametrize("data", ["toy:ring8", "sines"])
def test_what_looks_at_pixels_is_for_images(data: str) -> None:
    with pytest.raises(GanvasError, match="Term 'bcr' is for images"):
        plan(data, term="bcr")


@pytest.mark.parametrize(("preset", "network"), [(None, "mlp"), ("article", None)])
def test_dense_layers_reach_what_series_and_points_hold(
    preset: str | None, network: str | None, tmp_path: Path
) -> None:
    """The article's sigmoid drew nothing below 0, the middle of what a series may be."""
    np.savez(tmp_path / "series.npz", series=np.random.default_rng(0).normal(size=(40, 12, 2)))
    np.save(tmp_path / "points.npy", np.random.default_rng(0).normal(size=(400, 2)).astype(np.float32))
    outputs = {"series.npz": "tanh", "points.npy": "linear", "digits": "sigmoid"}
    for source, output in outputs.items():
        where = source if source == "digits" else tmp_path / source
        config, _ = plan(where, preset=preset, network=network, device="cpu")
        assert config.network.generator["output"] == output, source
    config, data = plan(
        tmp_path / "series.npz", network="mlp", device="cpu", settings={"network.generator.output": "sigmoid"}
    )
    assert config.network.generator["output"] == "sigmoid"
    config, data = plan(tmp_path / "series.npz", preset=preset, network=network, device="cpu")
    drawn = gan(config, data.shape, 0, torch.device("cpu"))._fake(None)[1]
    assert drawn.min() < 0


def test_the_number_of_a_gpu_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """`--device cuda:1` trained on the first one."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    config, _ = plan("digits", device="cuda:1", precision="fp32")
    assert config.training.device == "cuda:1"


def test_what_would_not_open_is_not_trained(tmp_path: Path) -> None:
    """It was trained to the end, and refused by every command: running it takes more than a file of its size may."""
    np.save(tmp_path / "long.npy", np.random.default_rng(0).normal(size=(64, 2000, 1)).cumsum(1))
    settings = {"network.generator.chunk": 1}
    with pytest.raises(
        GanvasError, match=r"Its file would not open.*larger chunks.* at a time for one sample"
    ):
        ganvas.train(
            str(tmp_path / "long.npy"), network="transformer-small", settings=settings, out=tmp_path / "runs"
        )
    assert not (tmp_path / "runs").exists()
    config, _ = plan(str(tmp_path / "long.npy"), network="transformer-small")
    assert config.network.name == "transformer-small"


def test_points_of_many_numbers_have_layers_that_memory_holds(tmp_path: Path) -> None:
    """A file of 179 kB with points of 60,000 numbers, trained by default: seven of each for the critic, and 4.5 GB."""
    seen = {}
    for numbers in (2, 33, 60_000):
        np.savez_compressed(tmp_path / f"{numbers}.npz", points=np.zeros((120, numbers), np.float32))
        config, _ = plan(str(tmp_path / f"{numbers}.npz"), settings={"network.critic.act": "leaky"})
        seen[numbers] = config.network.critic
        assert config.network.generator["hidden"] == [min(256, 2**22 // numbers)] * 3
    assert [each.get("fourier", 0) for each in seen.values()] == [3, 0, 0]
    assert [each["hidden"][0] for each in seen.values()] == [256, 256, 69]
    asked = {"network.critic.fourier": 2, "network.critic.hidden": [100]}
    config, _ = plan(str(tmp_path / "60000.npz"), settings=asked)
    assert (config.network.critic["fourier"], config.network.critic["hidden"]) == (2, [100])
