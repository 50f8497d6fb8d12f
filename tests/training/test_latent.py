"""A GAN in the latent space of an autoencoder: one model, resumed without the autoencoder, refused where it cannot be."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ganvas
from ganvas import io
from ganvas.cli import main
from ganvas.errors import GanvasError
from ganvas.export import onnx
from ganvas.latent.prior import fit_prior
from ganvas.metrics import evaluate
from ganvas.networks.coded import Coded
from ganvas.runs import Run
from ganvas.testing import check_method
from ganvas.training import plan
from ganvas.web import opening

NARROW = {
    "network.generator.hidden": [64, 64], "network.critic.hidden": [64, 64],
    "training.precision": "fp32", "training.log_kimg": 0.64, "training.snapshot_kimg": 2.56, "training.monitor_kimg": 2.56,
}  # fmt: skip


@pytest.fixture(scope="module")
def autoencoder(tmp_path_factory: pytest.TempPathFactory) -> Run:
    settings = {
        "network.latent_dim": 8, "network.generator.channels": 16, "network.critic.channels": 8, "training.snapshot_kimg": 20.0,
        "training.precision": "fp32",
    }  # fmt: skip
    return ganvas.train(
        "digits", method="ae", kimg=9, batch=32, device="cpu", settings=settings, quiet=True, report=False,
        out=tmp_path_factory.mktemp("ae"),
    ).run  # fmt: skip


def game(autoencoder: Run | Path, out: Path, kimg: float, **settings: Any) -> Run:
    path = autoencoder.path if isinstance(autoencoder, Run) else autoencoder
    return ganvas.train(
        "digits", in_latent=str(path), kimg=kimg, device="cpu", settings={**NARROW, **settings}, out=out, quiet=True, report=False
    ).run  # fmt: skip


@pytest.fixture(scope="module")
def trained(autoencoder: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return game(autoencoder, tmp_path_factory.mktemp("game"), 30, **{"training.snapshot_kimg": 100.0})


@pytest.mark.parametrize(
    ("kind", "advice"),
    [
        ("autoencoder", "--fit 1 --out"),
        ("trained", "--in-latent AUTOENCODER --set network.codes.components=1"),
    ],
)
def test_a_mixture_is_not_written_as_onnx(kind: str, advice: str, request: pytest.FixtureRequest) -> None:
    """It took minutes until onnxruntime said that it has no such operator; and a GAN of codes has no encoder to fit one with."""
    with pytest.raises(GanvasError, match=f"mixture of 10 normals.*{advice}"):
        onnx.to_onnx(ganvas.load(request.getfixturevalue(kind).path, device="cpu"))


def test_a_gan_of_codes_that_began_with_one_normal_is_written_as_onnx(
    autoencoder: Run, tmp_path: Path
) -> None:
    begun = game(autoencoder, tmp_path, 1, **{"network.codes.components": 1})
    model = ganvas.load(begun.path, device="cpu", critic=False)
    z = model.latents(3)
    with torch.no_grad():
        torch.testing.assert_close(
            onnx.run(model, onnx.to_onnx(model), {"z": z}), model.generator(z), atol=1e-3, rtol=0
        )


def test_one_normal_is_written_as_onnx(autoencoder: Run, tmp_path: Path) -> None:
    coder, file = ganvas.load(autoencoder.path, device="cpu"), tmp_path / "one.safetensors"
    fit_prior(coder, coder.sample(200), 1).save(file)
    model = ganvas.load(file, device="cpu")
    z = model.latents(3)
    drawn = onnx.run(model, onnx.to_onnx(model), {"z": z})
    with torch.no_grad():
        torch.testing.assert_close(drawn, model.generator(z), atol=1e-3, rtol=0)


def test_its_samples_decode_to_pictures_that_are_nearer_to_the_data_than_those_of_a_normal(
    trained: Run, autoencoder: Run
) -> None:
    model, coder = ganvas.load(trained.path, device="cpu"), ganvas.load(autoencoder.path, device="cpu")
    assert isinstance(model.generator, Coded)
    assert model.latent_dim == model.generator.decoder.latent_dim == 8
    assert model.sample(3).shape == (3, 1, 8, 8)
    normal = fit_prior(coder, torch.zeros(1, 1, 8, 8), 0)
    ours, theirs = (
        evaluate(each, "digits", ["frechet"], n=1000, device="cpu", floor=False)["frechet"] for each in (model, normal)
    )  # fmt: skip
    assert ours < 0.5 * theirs, (ours, theirs)


def test_the_decoder_is_that_of_the_autoencoder(trained: Run, autoencoder: Run) -> None:
    ours, theirs = ganvas.load(trained.path, device="cpu"), ganvas.load(autoencoder.path, device="cpu")
    codes = torch.randn(3, 8)
    assert isinstance(ours.generator, Coded)
    assert isinstance(theirs.generator, Coded)
    assert torch.equal(ours.generator.decoder(codes), theirs.generator.decoder(codes))


def test_it_goes_on_to_the_same_weights_without_the_autoencoders_file(
    autoencoder: Run, tmp_path: Path
) -> None:
    shutil.copytree(autoencoder.path, tmp_path / "coder")
    whole = game(tmp_path / "coder", tmp_path / "whole", 5.12, **{"optimizer.schedule": "constant"})
    part = game(tmp_path / "coder", tmp_path / "part", 2.56, **{"optimizer.schedule": "constant"})
    shutil.rmtree(tmp_path / "coder")
    ganvas.train(resume=part.path, kimg=5.12, quiet=True, report=False)
    a, b = (io.load_tensors(run.snapshots[-1] / "generator.safetensors")[0] for run in (whole, part))
    assert a.keys() == b.keys()
    assert all(torch.equal(a[key], b[key]) for key in a)


def stateless(run: Run, out: Path) -> Run:
    """The run as it is left by a kill before its first state."""
    shutil.copytree(run.path, out)
    shutil.rmtree(out / "state")
    shutil.rmtree(out / "snapshots")
    for name in ("stats.jsonl", "metrics.jsonl"):
        (out / name).unlink(missing_ok=True)
    return Run(out)


def test_it_does_not_begin_without_the_autoencoder(trained: Run, tmp_path: Path) -> None:
    """A run that had been killed before its first state was trained on a decoder of random weights."""
    run = stateless(trained, tmp_path / "killed")
    about = io.read_json(run.config_path)
    about["config"]["method"]["options"]["autoencoder"] = str(tmp_path / "gone")
    io.write_json(run.config_path, about)
    with pytest.raises(GanvasError, match=r"is gone, the autoencoder that this run is to begin with"):
        ganvas.train(resume=run.path, quiet=True, report=False)
    assert not run.started


@pytest.mark.parametrize(
    ("name", "value"), [("autoencoder", 5), ("numbers", "x"), ("numbers", None), ("hash", 7)]
)
def test_options_that_are_none_are_refused(trained: Run, tmp_path: Path, name: str, value: Any) -> None:
    run = stateless(trained, tmp_path / "forged")
    about = io.read_json(run.config_path)
    about["config"]["method"]["options"][name] = value
    io.write_json(run.config_path, about)
    with pytest.raises(GanvasError, match=f"method.options.{name} is|Option 'codes'|another autoencoder"):
        ganvas.train(resume=run.path, quiet=True, report=False)


def test_another_autoencoder_in_its_place_is_noticed(autoencoder: Run, tmp_path: Path) -> None:
    shutil.copytree(autoencoder.path, tmp_path / "coder")
    run = game(tmp_path / "coder", tmp_path, 0.64)
    (snapshot,) = (tmp_path / "coder" / "snapshots").glob("000009")
    for stem in ("generator", "encoder"):
        shutil.copy(tmp_path / "coder" / "snapshots" / "000000" / f"{stem}.safetensors", snapshot)
    with pytest.raises(GanvasError, match="holds another autoencoder than this run began with"):
        ganvas.train(resume=run.path, kimg=1.28, quiet=True)


def test_codes_of_an_autoencoder_with_a_book_become_its_vectors(tmp_path: Path) -> None:
    """They became those of a book that was drawn at random, and the samples had nothing of the data."""
    settings = {
        "network.latent_dim": 8, "network.codes.book": 16, "network.generator.channels": 8, "network.critic.channels": 8,
        "training.precision": "fp32", "training.snapshot_kimg": 0.64,
    }  # fmt: skip
    coder = ganvas.train(
        "digits", method="vq", kimg=0.64, device="cpu", settings=settings, quiet=True, report=False, out=tmp_path,
    ).run  # fmt: skip
    book = ganvas.load(coder.path, device="cpu").generator.book.vectors
    run = game(coder, tmp_path, 0.64)
    assert torch.equal(ganvas.load(run.path, device="cpu").generator.book.vectors, book)
    shutil.rmtree(coder.path)
    ganvas.train(resume=run.path, kimg=2.56, quiet=True, report=False)
    assert torch.equal(ganvas.load(run.path, device="cpu").generator.book.vectors, book), "without it as well"


def test_it_keeps_the_contract_of_a_method(autoencoder: Run) -> None:
    check_method(*plan("digits", in_latent=str(autoencoder.path), device="cpu", settings=NARROW, batch=16))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"resolution": 16},
            "draws images of 1 x 8 x 8, the data are images of 1 x 16 x 16. Add --resolution 8",
        ),
        (
            {"data": "toy:grid25"},
            "draws images of 1 x 8 x 8, the data are points of 2. Train one on these data",
        ),
        ({"settings": {"network.latent_dim": 5}}, "--set network.latent_dim is that of the autoencoder"),
        ({"settings": {"method.options.numbers": 5}}, "--set method.options.numbers is that of"),
        ({"settings": {"network.codes.book": 5}}, "--set network.codes.book is that of"),
        ({"settings": {"network.codes.components": 5000}}, "components is 5000; it must be .* from 0 to 64"),
        ({"mirror": True}, "--mirror is not for a GAN in a latent space"),
        ({"conditional": True}, "--conditional is not for|is a plain generator"),
        ({"method": "vae"}, "--in-latent trains a GAN; method vae is none"),
        ({"in_latent": "digits-of-nobody"}, "No such model: digits-of-nobody"),
        ({"settings": {"data.fold": 1}}, "the model has learned from 179 of the 179 samples of digits"),
        ({"in_latent": None, "method": "latent"}, "Which latent space.*--in-latent RUN"),
    ],
)
def test_what_does_not_suit_it_is_refused(autoencoder: Run, given: dict[str, Any], said: str) -> None:
    with pytest.raises(GanvasError, match=said):
        plan(**{"data": "digits", "in_latent": str(autoencoder.path), "device": "cpu", **given})


def test_a_mixture_of_more_normals_than_samples_is_refused_before_a_run(
    autoencoder: Run, tmp_path: Path
) -> None:
    np.save(tmp_path / "few.npy", np.zeros((40, 8, 8), np.uint8))
    asked: Any = {"in_latent": str(autoencoder.path), "device": "cpu", "batch": 16}
    with pytest.raises(GanvasError, match=r"mixture of 50 normals needs more than 50 samples, there are 36"):
        plan(tmp_path / "few.npy", settings={"network.codes.components": 50}, **asked)


def test_size_and_flags_are_those_of_the_game(autoencoder: Run) -> None:
    config, _ = plan(
        "digits", in_latent=str(autoencoder.path), device="cpu", size="m", gamma=0.5, loss="hinge"
    )
    assert config.network.codes["network"]["generator"]["hidden"] == [512, 512, 512]
    assert config.network.generator["channels"] == 16, "the decoder is as it was"
    assert [p.weight for p in config.objective.penalties] == [0.5, 0.5]
    assert (config.objective.loss, config.method.name, config.preset) == ("hinge", "latent", "latent")


def test_another_preset_reaches_all_codes_and_begins_as_their_mixture(autoencoder: Run) -> None:
    """The article's sigmoid drew no code below 0, where half of them are, from a normal z."""
    config, _ = plan("digits", in_latent=str(autoencoder.path), preset="article", device="cpu")
    codes = config.network.codes
    assert codes["network"]["generator"]["output"] == "linear"
    assert codes["components"] == 10
    none = {"network.codes.components": 0}
    config, _ = plan("digits", in_latent=str(autoencoder.path), preset="article", device="cpu", settings=none)
    assert config.network.codes["components"] == 0


def test_a_page_of_a_mixture_is_refused_before_the_work(
    autoencoder: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(opening, "real_images_of", None)
    assert main(["explore", str(autoencoder.path), "--export", str(tmp_path / "page.html")]) == 2
    assert "mixture of 10 normals" in capsys.readouterr().err


def test_a_model_without_an_encoder_is_no_autoencoder(trained: Run) -> None:
    with pytest.raises(GanvasError, match="has no encoder, so there are no codes to learn"):
        plan("digits", in_latent=str(trained.path), device="cpu")
