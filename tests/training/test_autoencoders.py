"""Autoencoders on digits: they reconstruct what they have not seen, resume to the bit, and are models like any other."""

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import ganvas
from ganvas import io
from ganvas.cli import main
from ganvas.cli.reconstruct import _some
from ganvas.config import DataConfig
from ganvas.data import load_dataset
from ganvas.errors import GanvasError
from ganvas.latent.prior import fit_prior
from ganvas.metrics import evaluate
from ganvas.model import Model
from ganvas.networks.coded import Book, Coded
from ganvas.runs import Run
from ganvas.training import Result, plan
from ganvas.training.method import DataSpec, build_method
from ganvas.training.vae import VariationalAutoencoder, divergences
from ganvas.training.vae_gan import VaeGan
from ganvas.training.vq import Learned
from ganvas.web.renderer import Renderer

METHODS = ("ae", "vae")
OTHERS = ("vae-gan", "bigan", "vq")
TINY = {
    "network.latent_dim": 4, "network.generator.channels": 8, "network.critic.channels": 8, "network.codes.components": 2,
    "training.precision": "fp32", "training.log_kimg": 0.064, "training.snapshot_kimg": 0.256,
    "training.monitor_kimg": 0.256, "optimizer.schedule": "constant",
}  # fmt: skip


def tiny(method: str, out: Path, kimg: float) -> Run:
    own: dict[str, dict[str, Any]] = {
        "vq": {"network.codes.book": 8, "network.codes.dim": 2}, "vae-gan": {"method.options": {"start": 0}}
    }  # fmt: skip
    return ganvas.train(
        "digits", method=method, kimg=kimg, batch=32, device="cpu", settings={**TINY, **own.get(method, {})}, out=out, quiet=True,
        report=False,
    ).run  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """Some seconds of each."""
    settings = {
        **TINY, "network.latent_dim": 8, "network.generator.channels": 16, "network.codes.components": 10,
        "training.snapshot_kimg": 20.0, "training.log_kimg": 1.0, "training.monitor_kimg": 4.0,
    }  # fmt: skip
    return {
        method: ganvas.train(
            "digits", method=method, kimg=12, batch=32, device="cpu", quiet=True, settings=settings,
            out=tmp_path_factory.mktemp(method),
        ).run
        for method in METHODS
    }  # fmt: skip


def held_out(run: Run) -> torch.Tensor:
    _, held = load_dataset(DataConfig("digits")).split(run.config.data.holdout)
    return held.take(torch.arange(len(held)))[0]


def principal(run: Run, dim: int) -> float:
    """Mean squared error of held-out images by the principal components of the others, the best linear autoencoder."""
    trained, _ = load_dataset(DataConfig("digits")).split(run.config.data.holdout)
    x, held = (
        part.flatten(1).double() for part in (trained.take(torch.arange(len(trained)))[0], held_out(run))
    )
    axes = torch.linalg.svd(x - x.mean(0), full_matrices=False)[2][:dim]
    rest = (held - x.mean(0)) - (held - x.mean(0)) @ axes.T @ axes
    return float(rest.square().mean())


@pytest.mark.parametrize("method", METHODS)
def test_it_reconstructs_what_it_has_not_seen_better_than_half_as_many_components(
    runs: dict[str, Run], method: str
) -> None:
    x = held_out(runs[method])
    error = float((ganvas.load(runs[method].path).reconstruct(x).double() - x).square().mean())
    assert error < principal(runs[method], 4), (error, principal(runs[method], 8))


@pytest.mark.parametrize("method", METHODS)
def test_codes_of_data_have_a_normal_z(runs: dict[str, Run], method: str) -> None:
    """The mixture is that of the codes: of held-out images as well."""
    z = ganvas.load(runs[method].path, device="cpu").encode(held_out(runs[method])).double()
    assert float(z.mean(0).abs().max()) < 0.4
    assert 0.6 < float(z.std(0).min()) <= float(z.std(0).max()) < 1.4


def test_a_fitted_mixture_draws_better_samples_than_the_normal(runs: dict[str, Run]) -> None:
    model = ganvas.load(runs["ae"].path, device="cpu")
    assert isinstance(model.generator, Coded)
    plain = Model(model.generator.decoder, None, replace(model.info, architecture=None))
    fitted, normal = (
        evaluate(each, "digits", ["frechet"], n=1000, device="cpu", floor=False)["frechet"] for each in (model, plain)
    )  # fmt: skip
    assert fitted < 0.6 * normal


@pytest.mark.parametrize("method", [*METHODS, *OTHERS])
def test_resumed_equals_left_alone(tmp_path: Path, method: str) -> None:
    whole = tiny(method, tmp_path / "whole", 0.512)
    part = tiny(method, tmp_path / "part", 0.256)
    ganvas.train(resume=part.path, kimg=0.512, quiet=True, report=False)
    for stem in (path.stem for path in whole.snapshots[-1].iterdir()):
        a, b = (io.load_tensors(run.snapshots[-1] / f"{stem}.safetensors")[0] for run in (whole, part))
        assert a.keys() == b.keys()
        assert all(torch.equal(a[key], b[key]) for key in a), stem


@pytest.mark.parametrize("method", METHODS)
def test_one_file_holds_the_whole_model(runs: dict[str, Run], method: str, tmp_path: Path) -> None:
    model = ganvas.load(runs[method].path, device="cpu")
    model.save(tmp_path / "one.safetensors")
    again, x = ganvas.load(tmp_path / "one.safetensors", device="cpu"), held_out(runs[method])[:5]
    assert torch.equal(again.sample(4, seed=3), model.sample(4, seed=3))
    assert torch.equal(again.encode(x), model.encode(x))


@pytest.mark.parametrize("method", METHODS)
def test_the_monitor_and_the_report_see_reconstructions(runs: dict[str, Run], method: str) -> None:
    run = runs[method]
    last = next(line for line in reversed(run.stats()) if "verdicts" in line)
    assert {"psnr", "active", "sharpness", "likeness"} <= last.keys()
    first = next(line for line in run.stats() if "verdicts" in line)
    assert last["psnr"] > first["psnr"] + 1
    assert (run.path / "report.html").is_file()


@pytest.mark.parametrize("network", ["mlp", "resnet"])
def test_dense_and_residual_encoders(network: str, tmp_path: Path) -> None:
    settings = {
        "network.generator": {},
        "network.critic": {"hidden": [16]} if network == "mlp" else {"channels": 8},
    }
    if network == "resnet":
        settings["network.generator"] = {"channels": 8}
    run = ganvas.train(
        "digits", method="vae", network=network, kimg=0.064, batch=16, device="cpu", out=tmp_path, quiet=True, report=False,
        settings=settings,
    ).run  # fmt: skip
    assert ganvas.load(run.path).reconstruct(held_out(run)[:3]).shape == (3, 1, 8, 8)


def test_points_are_encoded_too(tmp_path: Path) -> None:
    run = ganvas.train(
        "toy:ring8", method="vae", network="mlp", kimg=2, device="cpu", out=tmp_path, quiet=True, report=False,
        settings={"network.latent_dim": 2},
    ).run  # fmt: skip
    points = torch.randn(7, 2)
    assert ganvas.load(run.path).encode(points).shape == (7, 2)


def test_divergence_is_that_of_torch() -> None:
    mean, spread = torch.randn(5, 3), torch.randn(5, 3)
    normal = torch.distributions.Normal
    expected = torch.distributions.kl_divergence(normal(mean, (spread / 2).exp()), normal(0.0, 1.0))
    torch.testing.assert_close(divergences(mean, spread), expected.mean(0))


def trained_vae(tmp_path: Path, **options: Any) -> dict[str, Any]:
    settings = {**TINY, "method": {"name": "vae", "options": options}}
    run = ganvas.train(
        "digits", method="vae", kimg=2, batch=32, device="cpu", settings=settings, out=tmp_path, quiet=True, report=False
    ).run  # fmt: skip
    found: dict[str, Any] = run.stats()[-1]
    return found


def test_beta_collapses_the_posterior_and_free_bits_keep_it(tmp_path: Path) -> None:
    collapsed = trained_vae(tmp_path, beta=1000.0)["loss_divergence"]
    kept = trained_vae(tmp_path, beta=1000.0, free_bits=0.5)["loss_divergence"]
    assert collapsed < 0.1
    assert 0.4 < kept < 4 * 0.5 + 0.2, (
        "half a nat for each of four codes is free, and no more is worth its price"
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"conditional": True}, "--conditional is not for method vae"),
        ({"settings": {"method.options": {"betta": 3}}}, "Unknown option 'betta' of method vae. Did you mean 'beta'"),
        ({"settings": {"method.options": {"beta": -1}}}, "beta is -1; it must be a number of at least 0"),
        ({"network": "progressive", "resolution": 16}, "grows, which method vae does not"),
        ({"method": "vea"}, "Unknown method 'vea'. Did you mean"),
    ],
)  # fmt: skip
def test_what_does_not_suit_it_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(GanvasError, match=said):
        plan("digits", **{"method": "vae", "device": "cpu", **given})


def test_a_method_takes_the_preset_of_its_name_or_the_one_that_is_given() -> None:
    assert plan("digits", method="vae", device="cpu")[0].preset == "vae"
    config = plan("digits", method="ae", preset="vae", device="cpu")[0]
    assert (config.preset, config.method.name) == ("vae", "ae")
    assert np.isclose(config.optimizer.lr_generator, 2e-3)


def test_inversion_begins_with_its_own_encoder(runs: dict[str, Run], tmp_path: Path) -> None:
    """One pass, then a descent: no other encoder is trained, none is written."""
    model, x = ganvas.load(runs["vae"].path, device="cpu"), held_out(runs["vae"])[:6]
    first = ganvas.invert(model, x, method="encoder")
    torch.testing.assert_close(first.points, model.encode(x))
    found = ganvas.invert(model, x, method="hybrid", steps=20)
    assert float(found.residual.mean()) < 0.95 * float(first.residual.mean())
    picture, out = tmp_path / "pictures.npy", tmp_path / "found.npz"
    np.save(picture, x.permute(0, 2, 3, 1).numpy())
    where = [
        str(runs["vae"].path),
        str(picture),
        "--out",
        str(out),
        "--steps",
        "2",
        "--device",
        "cpu",
        "--newton",
        "0",
    ]
    assert main(["invert", *where]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["found.npz", "found.png", "pictures.npy"]


def test_what_was_held_out_has_no_part_in_a_prior(
    runs: dict[str, Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new model says of it that it has not seen it, and a mixture of some normals knows by heart what it was fitted to."""
    given: list[torch.Tensor] = []

    def told(model: ganvas.Model, samples: torch.Tensor, components: int) -> ganvas.Model:
        given.append(samples)
        return fit_prior(model, samples, components)

    monkeypatch.setattr("ganvas.latent.prior.fit_prior", told)
    run, out = runs["vae"], str(tmp_path / "z.npz")
    common = ["--n", "1797", "--fit", "1", "--device", "cpu", "--out", out]
    assert main(["encode", str(run.path), "digits", *common]) == 0
    train, held_out = load_dataset(run.config.data).split(run.config.data.holdout)
    assert torch.equal(given[0].unique(dim=0), train.take(torch.arange(len(train)))[0].unique(dim=0))
    with np.load(out) as found:
        assert len(found["z"]) == len(train) + len(held_out)


def test_a_prior_of_data_that_have_changed_may_know_what_was_held_out(
    tmp_path: Path, tiny_train: Callable[..., Result], capsys: pytest.CaptureFixture[str]
) -> None:
    """The new model goes on saying that it has not seen it."""
    path, images = tmp_path / "mine.npy", np.random.default_rng(0).integers(0, 255, (200, 8, 8), np.uint8)
    np.save(path, images)
    run = tiny_train(str(path), method="ae", kimg=0.064).run
    command = ["encode", str(run.path), str(path), "--device", "cpu", "--out", str(tmp_path / "z.npz")]
    for grown in (False, True):
        np.save(path, np.concatenate([images, images[:1]]) if grown else images)
        for fit in ([], ["--fit", "1"]):
            assert main([*command, *fit]) == 0
            assert ("what was held out then" in capsys.readouterr().err) == (grown and bool(fit))


def test_labels_of_codes_are_those_of_the_model(
    runs: dict[str, Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a folder of threes and sevens they were 0 and 1, as its own classes are numbered."""
    samples, labels = load_dataset("digits").take(torch.arange(200))
    assert labels is not None
    for label in (3, 7):
        (tmp_path / "two" / str(label)).mkdir(parents=True)
        for i in (labels == label).nonzero().flatten().tolist()[:5]:
            Image.fromarray(samples[i, 0].numpy()).save(tmp_path / "two" / str(label) / f"{i}.png")
    out = tmp_path / "z.npz"
    command = ["encode", str(runs["vae"].path), str(tmp_path / "two"), "--device", "cpu", "--out", str(out)]
    assert main(command) == 0
    with np.load(out) as found:
        assert found["labels"].tolist() == [3] * 5 + [7] * 5
    (tmp_path / "two" / "7").rename(tmp_path / "two" / "cats")
    capsys.readouterr()
    assert main(command) == 0
    assert "Labels are left out: two has classes that the model's data have not." in capsys.readouterr().err
    with np.load(out) as found:
        assert "labels" not in found


def test_commands_of_an_autoencoder(
    runs: dict[str, Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`encode` writes what the model draws again; `reconstruct` measures held-out images alone."""
    run, out = runs["vae"], tmp_path / "z.npz"
    words = [
        "encode",
        str(run.path),
        "digits",
        "--n",
        "50",
        "--fit",
        "1",
        "--out",
        str(out),
        "--device",
        "cpu",
    ]
    many = ["65" if word == "1" else word for word in words]
    assert main(many) == 2, "of more normals than a file may have"
    assert not list(tmp_path.iterdir())
    with pytest.raises(GanvasError, match="components is 65; it must be at most 64"):
        fit_prior(ganvas.load(run.path, device="cpu"), torch.zeros(70, 1, 8, 8), 65)
    assert main(words) == 0
    fitted = ganvas.load(tmp_path / "z.safetensors", device="cpu").generator
    assert isinstance(fitted, Coded)
    assert fitted.mixture is not None
    assert fitted.mixture.components == 1
    with np.load(out) as found:
        assert found["z"].shape == found["codes"].shape == (50, 8)
        assert found["labels"].shape == found["typicality"].shape == (50,)
        model = ganvas.load(run.path, device="cpu")
        drawn = model.to_data(model.generator(torch.from_numpy(found["z"])))
    digits = load_dataset(DataConfig("digits"))
    assert torch.equal(drawn, model.reconstruct(digits.take(torch.arange(50))[0]))
    assert digits.labels is not None
    everything = digits.take(digits.labels.argsort(stable=True))[0]
    np.save(tmp_path / "sorted.npy", everything.numpy())
    words[2] = str(tmp_path / "sorted.npy")
    assert main(words) == 0
    again = ganvas.load(tmp_path / "z.safetensors", device="cpu").generator
    assert isinstance(again, Coded)
    assert again.mixture is not None
    middle, zeros = (model.codes(part).mean(0) for part in (everything, everything[:50]))
    found_middle = again.mixture.means[0]
    assert (found_middle - middle).norm() < (found_middle - zeros).norm(), "the first ones are zeros alone"
    capsys.readouterr()
    words = [
        "reconstruct",
        str(run.path),
        "digits",
        "--out",
        str(tmp_path / "a.png"),
        "--device",
        "cpu",
        "--json",
        "--quiet",
    ]
    assert main(words) == 0
    figures = io.parse_json(capsys.readouterr().out, "stdout")
    held = held_out(run)
    error = float(
        (model.reconstruct(held).double() - held).square().mean((1, 2, 3)).div(255**2).log10().mean()
    )
    assert figures["held_out"]
    assert (figures["n"], figures["psnr"]) == (180, pytest.approx(-10 * error, abs=1e-6))


def visits(path: Path, patients: range) -> Path:
    """A table of some days of patients, whose hearts beat faster from one to the next."""
    days = [
        f"{patient},2024-01-{day + 1:02d},{60 + patient + 5 * np.sin(day):.2f},{'none' if day % 2 else 'beta'},"
        f"{'mf'[patient % 2]}"
        for patient in patients
        for day in range(6)
    ]
    path.write_text("\n".join(["patient,day,heart,drug,sex", *days]), encoding="utf-8")
    return path


def test_commands_of_an_autoencoder_of_series(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Series are read as the model has them: the same ones have the same codes wherever they lie, larger ones others."""
    table = visits(tmp_path / "visits.csv", range(40))
    run = ganvas.train(
        str(table), by="patient", static=["sex"], method="vae", network="recurrent", kimg=0.1, device="cpu", quiet=True,
        out=tmp_path,
    ).run  # fmt: skip
    common = ["--device", "cpu"]

    def codes(name: Path, note: str = "") -> np.ndarray:
        out = tmp_path / "z.npz"
        assert main(["encode", str(run.path), str(name), "--out", str(out), *common]) == 0
        said = capsys.readouterr()
        assert "series as" in said.out
        assert note in said.err
        with np.load(out) as found:
            return np.array(found["codes"])

    whole = codes(table)
    assert len(whole) == 40
    few = codes(visits(tmp_path / "few.csv", range(3, 7)))
    np.testing.assert_allclose(few, whole[3:7], atol=1e-5)
    assert np.abs(codes(visits(tmp_path / "fast.csv", range(103, 107))) - few).max() > 1e-3
    out = tmp_path / "again.png"
    assert main(["reconstruct", str(run.path), str(table), "--out", str(out), *common]) == 0
    assert "4 series held out: values are off by" in capsys.readouterr().out
    assert (
        main(["reconstruct", str(run.path), str(table), "--out", str(out), "--json", "--quiet", *common]) == 0
    )
    figures = io.parse_json(capsys.readouterr().out, "stdout")
    assert figures["held_out"]
    assert (figures["n"], figures["psnr"]) == (4, None)
    assert figures["error"] > 0
    assert 0 <= figures["agreement"] <= 1
    for suffix, said in ((".csv", ""), (".npz", "sex holds numbers of categories: 0 is f, 1 is m")):
        own = tmp_path / f"own{suffix}"
        assert main(["sample", str(run.path), "--n", "30", "--out", str(own), *common]) == 0
        assert len(codes(own, said)) == 30, "what ganvas wrote is read again"
    for flag in (["--plain"], ["--extractor", "raw"]):
        assert main(["reconstruct", str(run.path), str(table), "--out", str(out), *flag, *common]) == 2
        assert f"{flag[0]} is for pictures" in capsys.readouterr().err


def test_where_nothing_was_held_out_what_was_learned_is_drawn_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of few windows all overlap with those that are trained on."""
    table = tmp_path / "prices.csv"
    table.write_text("\n".join(["close", *(f"{100 + 10 * np.sin(i / 5):.2f}" for i in range(60))]))
    run = ganvas.train(
        str(table),
        window=24,
        method="vae",
        network="recurrent",
        kimg=0.05,
        device="cpu",
        quiet=True,
        out=tmp_path,
    ).run
    out = tmp_path / "again.png"
    assert main(["reconstruct", str(run.path), str(table), "--out", str(out), "--device", "cpu"]) == 0
    said = capsys.readouterr()
    assert "nothing was held out: these are what the model has learned from" in said.err
    assert "37 series: values are off by" in said.out


TOOLS = {
    "dissect": ["--concept", "stroke", "--n", "16"],
    "directions": ["--method", "pca", "--count", "2", "--out", "d.safetensors"],
    "edit": ["--arithmetic", "1 - 2"],
    "eval": ["--n", "100", "--metrics", "sliced-wasserstein"],
    "invert": ["digits", "--n", "1", "--steps", "2", "--newton", "1"],
    "map": ["--n", "60", "--method", "pca"],
    "restore": ["digits", "--n", "1", "--steps", "2"],
    "sample": ["--n", "4", "--truncate", "0.7", "--out", "a.png"],
    "statistics": ["--n", "100"],
    "walk": ["--keys", "2", "--frames", "3", "--kind", "geodesic", "--out", "a.png"],
}  # fmt: skip


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return tiny("vae", tmp_path_factory.mktemp("small"), 0.256)


@pytest.mark.parametrize("tool", TOOLS)
def test_every_latent_tool_runs_on_an_autoencoder(
    small: Run, tool: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path / "cache"))
    assert main([tool, str(small.path), *TOOLS[tool], "--device", "cpu", "--quiet"]) == 0


@pytest.fixture(scope="module")
def quantised(tmp_path_factory: pytest.TempPathFactory) -> Run:
    settings = {
        **TINY, "network.latent_dim": 16, "network.generator.channels": 16, "network.codes.book": 32, "network.codes.dim": 2,
        "network.codes.components": 4, "training.snapshot_kimg": 10.0, "training.monitor_kimg": 2.0,
    }  # fmt: skip
    return ganvas.train(
        "digits", method="vq", kimg=8, batch=32, device="cpu", quiet=True, report=False, settings=settings,
        out=tmp_path_factory.mktemp("vq"),
    ).run  # fmt: skip


def test_codes_of_a_book_are_its_entries(quantised: Run) -> None:
    model, x = ganvas.load(quantised.path, device="cpu"), held_out(quantised)
    generator = model.generator
    assert isinstance(generator, Coded)
    assert generator.book is not None
    groups = generator.book(model.codes(x)).unflatten(1, (8, 2))
    assert (
        float(torch.cdist(groups.flatten(0, 1).double(), generator.book.vectors.double()).min(1).values.max())
        < 1e-5
    )
    error, mean = (
        float((x - part.double()).square().mean()) for part in (model.reconstruct(x), x.double().mean(0))
    )
    assert error < 0.5 * mean
    assert generator(torch.randn(2, 16)).shape == (2, 1, 8, 8)


def test_dead_entries_begin_anew_where_the_encoder_is() -> None:
    book = Learned(4, 2)
    book.vectors.copy_(torch.tensor([[0.0, 0.0], [1.0, 1.0], [50.0, 50.0], [60.0, 60.0]]))
    book.sums.copy_(book.vectors)
    groups = torch.tensor([[0.0, 0.2], [1.0, 0.8], [1.2, 1.0], [0.2, 0.0]])
    for _ in range(200):
        fresh = torch.tensor([[0.0, 0.2], [1.0, 0.8], [1.2, 1.0], [0.2, 0.0]])
        book.follow(groups, book.numbers(groups.flatten(0)[None])[0], 0.9, fresh)
    assert float(torch.cdist(groups, book.vectors).min(1).values.max()) < 0.15
    assert float(book.vectors.abs().max()) < 2


def test_a_critic_of_images_makes_reconstructions_sharper(runs: dict[str, Run], tmp_path: Path) -> None:
    """Differences of neighbouring pixels, over those of the originals: those of a blurred image are smaller."""
    settings = {**runs["vae"].config.method.options, "weight": 0.5}
    run = ganvas.train(
        "digits", method="vae-gan", kimg=6, batch=32, device="cpu", quiet=True, report=False, out=tmp_path,
        settings={
            **TINY, "network.latent_dim": 4, "network.generator.channels": 16, "training.snapshot_kimg": 20.0,
            "training.monitor_kimg": 2.0, "method.options": {**settings, "start": 0.2},
        },
    ).run  # fmt: skip
    weights = [line["critic_weight"] for line in run.stats() if "critic_weight" in line]
    assert weights[0] == 0 < weights[-1], "it comes late"
    plain = ganvas.train(
        "digits", method="vae", kimg=6, batch=32, device="cpu", quiet=True, report=False, out=tmp_path,
        settings={
            **TINY, "network.latent_dim": 4, "network.generator.channels": 16, "training.snapshot_kimg": 20.0,
            "training.monitor_kimg": 2.0,
        },
    ).run  # fmt: skip
    sharp, blurred = (
        [line["sharpness"] for line in each.stats() if "sharpness" in line][-1] for each in (run, plain)
    )
    assert abs(1 - sharp) < abs(1 - blurred), (sharp, blurred)


def test_the_critic_sees_samples_as_they_will_be_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the mixture that is fitted to the codes, wherever that lies."""
    config = plan(
        "digits", method="vae-gan", device="cpu", settings={**TINY, "method.options": {"start": 0}}
    )[0]
    method = build_method(config, DataSpec((1, 8, 8)), torch.device("cpu"))
    assert isinstance(method, VaeGan)
    assert method.seen is not None
    method.seen.mixture.means.fill_(50.0)
    drawn: list[torch.Tensor] = []

    def watched(codes: torch.Tensor) -> torch.Tensor:
        drawn.append(codes)
        found: torch.Tensor = method.decoder(codes, None)
        return found

    monkeypatch.setattr(method, "decode_some", watched)
    batch = torch.zeros(config.training.batch, 1, 8, 8, dtype=torch.uint8)
    method.step(lambda _: (batch, None), 0.5)
    (codes,) = drawn
    assert float(codes.mean()) == pytest.approx(50, abs=1)


def test_images_to_draw_again_are_from_all_over_the_data() -> None:
    """The first ones of a folder are of its first classes."""
    rows = _some(40, 1000)
    assert torch.equal(rows, _some(40, 1000))
    assert torch.equal(rows, rows.unique())
    assert len(rows) == 40
    assert int((rows < 500).sum()) in range(10, 30)
    assert torch.equal(_some(40, 30), torch.arange(30))


def test_a_prior_is_fitted_to_codes_of_any_log_variance() -> None:
    """One of 200 would be a deviation beyond what a float holds, which ended trainings at their first preview."""
    config = plan("digits", method="vae", device="cpu", settings=TINY)[0]
    method = build_method(config, DataSpec((1, 8, 8)), torch.device("cpu"))
    assert isinstance(method, VariationalAutoencoder)
    found = load_dataset(DataConfig("digits")).split(0.9)[0]
    heads = [part for part in method.average["encoder"].modules() if isinstance(part, nn.Linear)]
    for head in heads:
        if head.out_features == 2 * config.network.latent_dim:
            head.bias.data[config.network.latent_dim :] = 200.0
    method.settle(found)
    drawn = method.exports()["generator"](torch.randn(8, config.network.latent_dim))
    assert drawn.isfinite().all()


def test_a_run_that_goes_on_keeps_its_critic(tmp_path: Path) -> None:
    """With a longer budget it is before the share again at which a critic begins."""
    settings = {**TINY, "method.options": {"start": 0.5}}
    run = ganvas.train(
        "digits", method="vae-gan", kimg=0.128, batch=32, device="cpu", settings=settings, out=tmp_path, quiet=True, report=False
    ).run  # fmt: skip
    ganvas.train(resume=run.path, kimg=0.512, quiet=True, report=False)
    weights = [line["critic_weight"] for line in run.stats() if "critic_weight" in line]
    assert weights[0] == 0
    assert min(weights[1:]) > 0


def test_the_encoder_of_a_bigan_learns_without_a_reconstruction(tmp_path: Path) -> None:
    """Pairs alone: what it draws again is nearer to the image than what it draws of another image's code."""
    run = ganvas.train(
        "digits", method="bigan", kimg=9, batch=32, device="cpu", quiet=True, report=False, out=tmp_path,
        settings={**TINY, "network.codes": {}, "network.generator.channels": 16, "network.critic.channels": 16,
                  "training.snapshot_kimg": 20.0, "training.monitor_kimg": 20.0},
    ).run  # fmt: skip
    model, x = ganvas.load(run.path, device="cpu"), held_out(run).double()
    again = model.reconstruct(held_out(run)).double()
    own, other = ((x - part).square().mean() for part in (again, again.roll(1, 0)))
    assert own < 0.85 * other


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"method": "vq", "settings": {"network.codes": {}}}, "needs a code book"),
        ({"method": "vq", "settings": {"method.options": {"decay": 1.0}}}, "must be below 1"),
        ({"method": "bigan", "penalty": "wgan-gp"}, "Use --penalty r1, r2 or none"),
        ({"method": "bigan", "settings": {"method.options": {"width": 0}}}, "width is 0; it must be a whole number"),
        ({"method": "vae-gan", "settings": {"method.options": {"start": 2}}}, "start is 2; it must be a share of the budget"),
        ({"method": "vae-gan", "penalty": "clip"}, "Penalty 'clip' is not for method vae-gan"),
    ],
)  # fmt: skip
def test_what_does_not_suit_the_others_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(GanvasError, match=said):
        plan("digits", device="cpu", **given)


def test_codes_have_their_mixture_whatever_the_preset() -> None:
    """Beside a preset of a game `ae` drew its codes from the standard normal, which they are far from."""
    config, _ = plan("digits", method="ae", preset="small", device="cpu")
    assert config.network.codes == {"components": 10}
    assert config.network.latent_dim == 64
    config, _ = plan("digits", method="ae", preset="small", device="cpu", settings={"network.codes": {}})
    assert config.network.codes == {}
    assert plan("digits", method="vq", preset="hour", device="cpu")[0].network.codes["book"] == 256
    assert plan("digits", method="aae", preset="small", device="cpu")[0].network.codes == {}


def test_a_mixture_of_more_normals_than_samples_is_refused_before_a_run(tmp_path: Path) -> None:
    """The first snapshot could not be written, in a run folder that was there."""
    np.save(tmp_path / "few.npy", np.zeros((9, 8, 8), np.uint8))
    with pytest.raises(GanvasError, match=r"mixture of 10 normals needs more than 10 samples, there are 8"):
        plan(tmp_path / "few.npy", method="vae", device="cpu", batch=4)


def test_the_page_on_reducing_the_dimension_is_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its example in Python, a little shorter."""
    page = (Path(__file__).parents[2] / "docs" / "autoencoders.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    scope: dict[str, Any] = {}
    exec(code.replace("kimg=2", "kimg=0.064"), scope)
    assert scope["z"].shape == (500, 16)
    assert scope["again"].shape == scope["digits"].shape == (500, 1, 8, 8)
    assert scope["plain"].generator.mixture.components == 1
    assert scope["found"].points.shape == (4, 16)


def test_the_explorer_finds_a_picture_by_the_encoder(small: Run) -> None:
    model = ganvas.load(small.path, device="cpu")
    image = model.sample(1, seed=5)[0]
    assert Renderer(model).inverted(image)[1] < 0.1


def test_what_lies_beside_a_generator_is_its_own(runs: dict[str, Run], tmp_path: Path) -> None:
    """The encoder of pictures of another size opened, and ended in a traceback when it was used; one of other data encoded."""
    own = runs["vae"].snapshots[-1]
    other = ganvas.train(
        "digits", method="vae", resolution=16, kimg=0.064, batch=32, device="cpu", quiet=True, report=False, out=tmp_path,
        settings={**TINY, "network.latent_dim": 8, "training.monitor_kimg": 0},
    ).run  # fmt: skip
    folder = tmp_path / "mixed"
    shutil.copytree(own, folder)
    shutil.copy(other.snapshots[-1] / "encoder.safetensors", folder)
    with pytest.raises(
        GanvasError, match=r"encoder.safetensors belongs to another model .* shape \(1, 16, 16\)"
    ):
        ganvas.load(folder, device="cpu")
    shutil.copy(own / "encoder.safetensors", folder)
    tensors, header = io.load_tensors(own / "encoder.safetensors")
    about = {name: each for name, each in header.items() if name != "format_version"}
    io.save_tensors(folder / "encoder.safetensors", {**tensors, "guess.bias": torch.tensor(0.0)}, about)
    with pytest.raises(GanvasError, match="gives 1 numbers"):
        ganvas.load(folder)
    header["data"]["fingerprint"] = "0" * 12
    header.pop("format_version")
    io.save_tensors(folder / "encoder.safetensors", tensors, header)
    with pytest.raises(GanvasError, match="belongs to another model"):
        ganvas.load(folder, device="cpu")


def test_a_decoder_draws_all_of_a_reconstruction_from_its_code() -> None:
    """Style mixing drew the late layers of most reconstructions from other latents."""
    settings = {"network.generator": {"channels": 4, "max_channels": 8, "style_mixing": 1.0}}
    config, data = plan(
        "digits", method="vae", network="style", device="cpu", precision="fp32", settings=settings
    )
    made = build_method(config, DataSpec(data.shape, 0), torch.device("cpu"))
    assert isinstance(made, VariationalAutoencoder)
    codes = torch.randn(32, config.network.latent_dim)
    with torch.no_grad():  # noise has no strength before training
        torch.testing.assert_close(made.decode(codes), made.decoder(codes))


def test_large_pictures_are_encoded_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 256 px the prior of a snapshot took 6 GB, and the monitor 3."""
    config = plan("digits", method="ae", device="cpu", settings=TINY)[0]
    method: Any = build_method(config, DataSpec((1, 8, 8)), torch.device("cpu"))
    found, rows = load_dataset(DataConfig("digits")).split(0.1)[1], list[int]()
    held = method.floats(found.take(torch.arange(60))[0], (-1.0, 1.0))
    method.live.eval()
    with torch.no_grad():
        whole = method.signals(held)
    monkeypatch.setattr("ganvas.features.base.NUMBERS", 50 * 64)
    for part in (method.live["encoder"], method.average["encoder"], method.decoder):
        part.register_forward_pre_hook(lambda module, given: rows.append(len(given[0])))
    answer = type(method.encoder).answer
    monkeypatch.setattr(
        type(method.encoder), "answer", lambda self, x: rows.append(len(x)) or answer(self, x)
    )
    with torch.no_grad():
        assert method.signals(held) == pytest.approx(whole, rel=1e-4)
    method.settle(found)
    assert max(rows) == 50


@pytest.mark.parametrize("method", ["ae", "vae", "vq"])
def test_a_loss_of_a_critic_is_refused_where_there_is_none(method: str) -> None:
    """It was kept in the config, and did nothing."""
    for given in (
        {"loss": "hinge"},
        {"settings": {"objective.loss": "hinge"}},
        {"penalty": ("r1",)},
        {"gamma": 1.0, "preset": "small"},
    ):
        with pytest.raises(GanvasError, match=f"method {method} has not. Omit it"):
            plan("digits", method=method, device="cpu", **given)  # type: ignore[arg-type]
    plan("digits", method="aae", loss="hinge", penalty=("r1",), device="cpu")
    plan("digits", method=method, penalty=("none",), device="cpu")


def test_entries_are_chosen_in_single_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """In bf16 other entries are the nearest: a third of them where codes lie three deviations off 0."""
    numbers, precise = Book.numbers, list[bool]()

    def noted(book: Book, codes: torch.Tensor) -> torch.Tensor:
        precise.append(not torch.is_autocast_enabled("cpu"))
        return numbers(book, codes)

    config, _ = plan(
        "digits",
        method="vq",
        device="cpu",
        batch=8,
        precision="bf16",
        settings={"network.codes.book": 8, "network.codes.dim": 2},
    )
    made = build_method(config, DataSpec((1, 8, 8), 0), torch.device("cpu"))
    samples = load_dataset("digits").take(torch.arange(8))[0]
    monkeypatch.setattr(Book, "numbers", noted)
    made.step(lambda stream: (samples, None), 0.0)
    with made.engine.autocast(), torch.no_grad():
        made.probe().signals(samples.float() / 127.5 - 1)  # type: ignore[union-attr, misc]
    assert len(precise) == 4
    assert all(precise)
