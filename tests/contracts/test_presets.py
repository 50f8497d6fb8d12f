"""Every preset: it resolves, survives JSON, builds at every size, takes steps, and what it wrote can be loaded."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import ganvas
from ganvas.cli import main
from ganvas.config import Config, from_dict, to_dict
from ganvas.errors import GanvasError
from ganvas.networks import build_critic, build_generator
from ganvas.presets import SIZES, presets, resized

OTHER = {"toy": "toy:ring8", "series": "goog", "timegan": "goog"}
"""Preset -> what it is for, of those that are not for images."""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pictures") / "pictures.npz"
    images = np.random.default_rng(0).integers(0, 256, (160, 32, 32, 3), dtype=np.uint8)
    np.savez(path, images=images, labels=np.arange(160) % 3)
    return path


@pytest.fixture(scope="module")
def autoencoder(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the preset `latent` trains in."""
    result = ganvas.train(
        str(pictures), method="ae", size="xs", out=tmp_path_factory.mktemp("ae"), quiet=True, report=False, batch=8,
        kimg=0.016, device="cpu",
    )  # fmt: skip
    return str(result.run.path)


@pytest.mark.parametrize("name", list(presets))
def test_presets_train(name: str, pictures: Path, tmp_path: Path, autoencoder: str) -> None:
    data = OTHER.get(name, str(pictures))
    narrow = {f"network.{n}.{w}": 32 for n in ("generator", "critic") for w in ("channels", "max_channels")}
    critic_steps = presets.get(name).objective.critic_steps
    result = ganvas.train(
        data, preset=name, size="xs", out=tmp_path, quiet=True, report=False, batch=8, kimg=0.016 * critic_steps,
        device="cpu", in_latent=autoencoder if name == "latent" else None,
        conditional=name in ("sagan", "biggan", "r3-paper"), settings=narrow if name == "r3-paper" else None,
    )  # fmt: skip
    assert result.stopped == "budget"
    stats = result.run.stats()
    assert all(np.isfinite(value) for value in stats[-1].values() if isinstance(value, float))
    model = ganvas.load(result.run.path)
    assert (model.critic is not None) == (
        result.run.config.method.name in ("gan", "vae-gan", "private", "timegan")
    )
    assert model.sample(3).shape == (3, *model.shape)


@pytest.mark.parametrize("name", list(presets))
def test_presets_dry_run(
    name: str, pictures: Path, autoencoder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    data = OTHER.get(name, str(pictures))
    within = ["--in-latent", autoencoder] if name == "latent" else []
    assert (
        main(
            [
                "train",
                data,
                *within,
                "--preset",
                name,
                "--batch",
                "16",
                "--dry-run",
                "--json",
                "--device",
                "cpu",
            ]
        )
        == 0
    )
    config = from_dict(Config, json.loads(capsys.readouterr().out))
    assert config.preset == name
    assert from_dict(Config, json.loads(json.dumps(to_dict(config)))) == config


@pytest.mark.parametrize("size", list(SIZES))
@pytest.mark.parametrize("name", list(presets))
def test_sizes_scale_the_networks(name: str, size: str) -> None:
    config = resized(presets.get(name), size)
    shape = {"toy": (2,), "latent": (64,), "series": (3, 10), "timegan": (3, 10)}.get(name, (3, 32, 32))
    with torch.device("meta"):
        counts = [
            sum(p.numel() for p in network.parameters())
            for network in (build_generator(config.network, shape, 0), build_critic(config.network, shape, 0))
        ]
        base = presets.get(name).network
        usual = [
            sum(p.numel() for p in network.parameters())
            for network in (build_generator(base, shape, 0), build_critic(base, shape, 0))
        ]
    for count, before in zip(counts, usual, strict=True):
        if size == "s":
            assert count == before
        else:
            assert (count > before) == (SIZES[size] > 1)


def test_an_unknown_size_is_named() -> None:
    with pytest.raises(GanvasError, match=r"Unknown size 'xl'. Use xs, s, m, l\."):
        resized(presets.get("small"), "xl")
