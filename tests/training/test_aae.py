"""The adversarial autoencoder on digits: it reconstructs, its codes are normal, it is resumed and explored like a GAN."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import ganvas
from ganvas import io, losses
from ganvas.config import DataConfig
from ganvas.data import Batches, load_dataset
from ganvas.errors import GanvasError
from ganvas.networks import from_uint8
from ganvas.runs import Run, open_run
from ganvas.training import plan
from ganvas.training.aae import AutoencoderMethod, load_encoder
from ganvas.training.engine import Engine
from ganvas.training.method import DataSpec, build_method, evaluating

TINY = {
    "network.latent_dim": 4, "network.generator.channels": 8, "network.critic.channels": 8, "training.precision": "fp32",
    "training.log_kimg": 0.064, "training.snapshot_kimg": 0.256, "training.monitor_kimg": 0.256,
    "optimizer.schedule": "constant",
}  # fmt: skip


def train(out: Path, kimg: float, resume: Path | None = None) -> Run:
    if resume is not None:
        return ganvas.train(resume=resume, kimg=kimg, quiet=True, report=False).run
    return ganvas.train(
        "digits",
        preset="aae",
        kimg=kimg,
        batch=32,
        device="cpu",
        settings=TINY,
        out=out,
        quiet=True,
        report=False,
    ).run


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of 20 kimg with 8 numbers of code, some seconds."""
    return ganvas.train(
        "digits", preset="aae", kimg=20, batch=32, device="cpu", out=tmp_path_factory.mktemp("aae"), quiet=True,
        settings={**TINY, "network.latent_dim": 8, "training.snapshot_kimg": 10.0, "training.log_kimg": 1.0,
                  "training.monitor_kimg": 2.0},
    ).run  # fmt: skip


def test_it_reconstructs_and_its_codes_are_like_the_prior(trained: Run) -> None:
    model, encoder = ganvas.load(trained.path, device="cpu"), load_encoder(trained.snapshots[-1])
    data = load_dataset(DataConfig("digits"))
    _, held_out = data.split(trained.config.data.holdout)
    images, _ = held_out.take(torch.arange(len(held_out)))
    x = from_uint8(images, model.generator.value_range)
    with torch.no_grad():
        codes = encoder.answer(x).codes
        assert codes is not None
        error = (model.generator(codes) - x).square().mean()
    mean_image = x.mean(0, keepdim=True)
    assert error < 0.4 * (mean_image - x).square().mean(), (
        "far below the mean picture, on images never trained on"
    )
    assert codes.mean(0).abs().max() < 0.8
    assert 0.5 < float(codes.std(0).mean()) < 1.6


def test_its_decoder_is_a_generator_like_any_other(trained: Run) -> None:
    model = ganvas.load(trained.path, device="cpu")
    assert model.critic is None
    assert model.sample(5, seed=2).shape == (5, 1, 8, 8)
    assert len(ganvas.walk(model, keys=3, frames=6).samples) == 6
    assert {path.name for path in trained.snapshots[-1].iterdir()} == {
        "generator.safetensors", "encoder.safetensors", "code_critic.safetensors",
    }  # fmt: skip
    stats = trained.stats()
    assert {"loss_reconstruction", "loss_encoder", "loss_critic", "real_logits"} <= stats[-1].keys()
    assert "likeness" in next(line for line in reversed(stats) if "verdicts" in line)
    assert "logits_train" not in stats[-1], "no network judges samples here"
    assert stats[-1]["loss_reconstruction"] < 0.6 * stats[0]["loss_reconstruction"]
    assert (trained.path / "report.html").is_file()


def test_resumed_equals_left_alone(tmp_path: Path) -> None:
    whole = train(tmp_path / "whole", 0.512)
    part = train(tmp_path / "part", 0.256)
    train(tmp_path, 0.512, part.path)
    for stem in ("generator", "encoder", "code_critic"):
        a, b = (io.load_tensors(run.snapshots[-1] / f"{stem}.safetensors")[0] for run in (whole, part))
        assert a.keys() == b.keys()
        assert all(torch.equal(a[key], b[key]) for key in a), stem


@pytest.mark.parametrize("loss", list(losses.losses))
def test_with_every_loss_the_encoder_learns_from_the_critic(loss: str) -> None:
    """A loss of pairs compares the codes with the prior: with themselves there is nothing to learn from."""
    settings = {**TINY, "optimizer.lr_generator": 0.0}
    config, data = plan("digits", preset="aae", batch=32, device="cpu", loss=loss, settings=settings)
    method = build_method(config, DataSpec(data.shape), torch.device("cpu"))
    before = {key: value.clone() for key, value in method.networks["autoencoder"].named_parameters()}
    batches = iter(Batches(data, 32, 0, torch.device("cpu")))
    method.step(lambda stream: next(batches), 0.0)
    moved = [
        key
        for key, value in method.networks["autoencoder"].named_parameters()
        if (value != before[key]).any()
    ]
    assert moved
    assert all(key.startswith("encoder.") for key in moved), "nothing else has a rate here"


def test_a_killed_run_goes_on(tmp_path: Path) -> None:
    command = [
        sys.executable, "-m", "ganvas", "train", "digits", "--preset", "aae", "--kimg", "200", "--batch", "32", "--device",
        "cpu", "--out", str(tmp_path), "--set", *(f"{key}={value}" for key, value in TINY.items()),
    ]  # fmt: skip
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        for _ in range(600):
            if list(tmp_path.glob("*/snapshots/000001")):
                break
            time.sleep(0.1)
        os.kill(process.pid, signal.SIGKILL)
    (path,) = tmp_path.iterdir()
    before = io.read_header(open_run(path).state_path)["images"]
    assert before >= 256
    target = before / 1000 + 0.256
    run = train(tmp_path, target, path)
    assert io.read_header(run.state_path)["images"] >= target * 1000
    assert ganvas.load(run.path, device="cpu").sample(2).shape == (2, 1, 8, 8)


def test_several_data_sets_are_refused_for_what_they_are(tmp_path: Path) -> None:
    """Nobody had typed --conditional, which was said not to be for this method."""
    paths = [tmp_path / f"{name}.npz" for name in ("first", "second")]
    for value, path in enumerate(paths):
        np.savez(path, images=np.full((100, 8, 8, 1), value, dtype=np.uint8))
    with pytest.raises(ganvas.GanvasError, match=r"Several data sets .* takes no labels\. Give one"):
        plan(paths, preset="aae")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"conditional": True}, "--conditional is not for method aae"),
        ({"augment": "diffaugment"}, "--augment is not for method aae"),
        ({"term": "mode-seeking"}, "--term is not for method aae"),
        ({"penalty": "clip"}, "Penalty 'clip' is not for method aae"),
        ({"network": "progressive", "resolution": 16}, "grows, which method aae does not"),
        ({"settings": {"method.options": {"width": 3}}}, "Unknown option 'width' of method aae"),
        (
            {"settings": {"method.options": {"hidden": "x"}}},
            r"method.options.hidden is 'x'; it must be a list of widths",
        ),
        ({"settings": {"method.options": {"hidden": 8}}}, "hidden is 8; it must be a list of widths"),
        (
            {"settings": {"method.options": {"hidden": [8, 0]}}},
            r"hidden is \[8, 0\]; it must be a list of widths",
        ),
        ({"settings": {"method.options": {"hidden": []}}}, r"hidden is \[\]; it must be a list of widths"),
        (
            {"settings": {"method.options": {"lr_encoder": "x"}}},
            "lr_encoder is 'x'; it must be null, or a number",
        ),
        (
            {"settings": {"method.options": {"lr_encoder": -1}}},
            "lr_encoder is -1; it must be null, or a number",
        ),
        ({"settings": {"objective.critic_steps": 2}}, "objective.critic_steps above 1 is not for method aae"),
        ({"settings": {"objective.instance_noise": 0.1}}, "objective.instance_noise is not for method aae"),
        ({"settings": {"training.duality_steps": 5}}, "training.duality_steps is not for method aae"),
        ({"settings": {"training.compile": True}}, "training.compile is not for method aae"),
        (
            {"settings": {"method": {"name": "gan", "options": {"hidden": [8]}}}},
            "Method 'gan' reads no options",
        ),
    ],
)
def test_what_does_not_suit_it_is_refused(given: dict[str, object], said: str) -> None:
    with pytest.raises(GanvasError, match=said):
        plan("digits", preset="aae", device="cpu", **given)


@pytest.mark.parametrize("network", ["dcgan", "mlp", "style"])
def test_the_code_of_a_sample_is_its_own(network: str) -> None:
    """Whatever else is in the batch, and however the batch is split over processes."""
    settings = {"network.critic.minibatch_std": True}
    config, data = plan(
        "digits", preset="aae", device="cpu", precision="fp32", network=network, settings=settings
    )
    method = AutoencoderMethod(Engine(config, torch.device("cpu")), DataSpec(data.shape))
    x = method.floats(data.take(torch.arange(8))[0])
    with evaluating(method.live), torch.no_grad():
        alone = torch.cat([method.encode(method.live, each[None]) for each in x])
        torch.testing.assert_close(method.encode(method.live, x), alone)


def test_an_encoder_that_is_none_is_refused(trained: Run, tmp_path: Path) -> None:
    with pytest.raises(GanvasError, match=r"holds no encoder.safetensors"):
        load_encoder(tmp_path)
    shutil.copy(trained.snapshots[-1] / "generator.safetensors", tmp_path / "encoder.safetensors")
    with pytest.raises(GanvasError, match="holds a generator, expected a encoder"):
        load_encoder(tmp_path)
