"""The adversarial autoencoder on digits: it reconstructs, its codes are normal, it is resumed and explored like a GAN."""

import os
import shutil
import signal
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
from ganvas.latent import open_space
from ganvas.latent.invert import invert
from ganvas.metrics import evaluate
from ganvas.networks import build_generator, from_uint8, to_uint8
from ganvas.runs import Run, open_run
from ganvas.training import plan
from ganvas.training.aae import AutoencoderMethod
from ganvas.training.engine import Engine
from ganvas.training.method import DataSpec, build_method, evaluating
from tests.forked import Process

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


def longer(out: Path, **settings: object) -> Run:
    """A run of 20 kimg, some seconds."""
    return ganvas.train(
        "digits", preset="aae", kimg=20, batch=32, device="cpu", out=out, quiet=True,
        settings={**TINY, "network.latent_dim": 8, "training.snapshot_kimg": 10.0, "training.log_kimg": 1.0,
                  "training.monitor_kimg": 5.0, **settings},
    ).run  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return longer(tmp_path_factory.mktemp("aae"))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The same without a say of the critic: an autoencoder whose codes may lie anywhere."""
    return longer(tmp_path_factory.mktemp("plain"), **{"method.options": {"weight": 0.0, "noise": 0.0}})


def seen(run: Run) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Images that were never trained on, their codes and what is drawn from these."""
    model = ganvas.load(run.path, device="cpu")
    _, held_out = load_dataset(DataConfig("digits")).split(run.config.data.holdout)
    x = from_uint8(held_out.take(torch.arange(len(held_out)))[0], model.generator.value_range)
    with torch.no_grad():
        codes = model.encode(x)
        return x, codes, model.generator(codes)


def from_the_prior(codes: torch.Tensor) -> float:
    """Squared Frechet distance of the codes' normal from the standard one: |m|^2 + the sum of (sqrt(eigenvalue) - 1)^2."""
    spread = torch.linalg.eigvalsh(torch.cov(codes.T)).clamp(min=0).sqrt()
    return float(codes.mean(0).square().sum() + (spread - 1).square().sum())


def test_it_reconstructs_images_that_it_was_not_trained_on(trained: Run) -> None:
    x, _, drawn = seen(trained)
    mean_image = x.mean(0, keepdim=True)
    assert (drawn - x).square().mean() < 0.35 * (mean_image - x).square().mean()


def test_its_codes_are_like_the_prior(trained: Run, plain: Run) -> None:
    """Codes of no spread at all would be 8 away."""
    assert from_the_prior(seen(trained)[1]) < 1
    assert from_the_prior(seen(plain)[1]) > 4


def test_its_samples_are_nearer_to_real_ones_than_those_of_others(trained: Run, plain: Run) -> None:
    untrained = build_generator(trained.config.network, (1, 8, 8), 0)
    with torch.no_grad():
        noise = to_uint8(untrained(torch.randn(1000, 8)), untrained.value_range)
    distances = [
        evaluate(fake, "digits", ["frechet"], n=1000, device="cpu", floor=False)["frechet"]
        for fake in (trained.path, plain.path, noise)
    ]
    assert distances[0] < 0.6 * distances[1], distances
    assert distances[0] < 0.2 * distances[2], distances


def test_its_codes_are_a_start_for_inversion(trained: Run) -> None:
    x, codes, drawn = seen(trained)
    space = open_space(ganvas.load(trained.path, device="cpu"))
    found = invert(space, x[:8], start=codes[:8], steps=30)
    assert (found.drawn - x[:8]).square().mean() < (drawn[:8] - x[:8]).square().mean()


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

    def weights(weight: float) -> dict[str, torch.Tensor]:
        settings = {**TINY, "method.options": {"weight": weight}}
        config, data = plan("digits", preset="aae", batch=32, device="cpu", loss=loss, settings=settings)
        method = build_method(config, DataSpec(data.shape), torch.device("cpu"))
        batches = iter(Batches(data, 32, 0, torch.device("cpu")))
        method.step(lambda stream: next(batches), 0.0)
        return dict(method.networks["autoencoder"].named_parameters())

    alone, judged = weights(0.0), weights(100.0)
    differ = {key for key in alone if (alone[key] != judged[key]).any()}
    assert any(key.startswith("encoder.guess") for key in differ)
    assert not any(key.startswith("decoder.") for key in differ), "the critic sees codes alone"


def test_a_killed_run_goes_on(tmp_path: Path) -> None:
    command = [
        "-m", "ganvas", "train", "digits", "--preset", "aae", "--kimg", "200", "--batch", "32", "--device",
        "cpu", "--out", str(tmp_path), "--set", *(f"{key}={value}" for key, value in TINY.items()),
    ]  # fmt: skip
    with Process(*command, together=True) as process:
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
            {"settings": {"method.options": {"weight": "x"}}},
            "weight is 'x'; it must be a number of at least 0",
        ),
        (
            {"settings": {"method.options": {"noise": -1}}},
            "noise is -1; it must be a number of at least 0",
        ),
        ({"settings": {"objective.critic_steps": 2}}, "objective.critic_steps above 1 is not for method aae"),
        ({"settings": {"training.ema_also_kimg": [2.0]}}, "training.ema_also_kimg is not for method aae"),
        ({"settings": {"training.freeze_critic": 1}}, "training.freeze_critic is not for method aae"),
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
        alone = torch.cat([method.encode(method.live, each[None]).codes for each in x])
        torch.testing.assert_close(method.encode(method.live, x).codes, alone)


def test_an_encoder_that_is_none_is_refused(trained: Run, tmp_path: Path) -> None:
    shutil.copytree(trained.snapshots[-1], tmp_path / "copy")
    shutil.copy(tmp_path / "copy" / "code_critic.safetensors", tmp_path / "copy" / "encoder.safetensors")
    with pytest.raises(GanvasError, match="holds a code_critic, not the encoder expected there"):
        ganvas.load(tmp_path / "copy")
    tensors, header = io.load_tensors(trained.snapshots[-1] / "encoder.safetensors")
    shorter = {**tensors, "guess.bias": tensors["guess.bias"][:3]}
    io.save_tensors(tmp_path / "copy" / "encoder.safetensors", shorter, header)
    with pytest.raises(GanvasError, match="gives 3 numbers, and its decoder takes 8"):
        ganvas.load(tmp_path / "copy")
    (tmp_path / "copy" / "encoder.safetensors").unlink()
    with pytest.raises(GanvasError, match="has no encoder"):
        ganvas.load(tmp_path / "copy").encode(torch.zeros(1, 1, 8, 8))
