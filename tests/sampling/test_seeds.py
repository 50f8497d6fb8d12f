"""Samples by their seeds, as other toolkits number them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import truncnorm

import ganvas
from ganvas.cli import main
from ganvas.config import NetworkConfig
from ganvas.errors import GanvasError
from ganvas.model import Model, ModelInfo
from ganvas.networks import build_generator
from ganvas.sampling import seeds


def built(family: str, **options: object) -> Model:
    config = NetworkConfig(family, latent_dim=8, generator=dict(options))
    generator = build_generator(config, (3, 16, 16), 0).eval().requires_grad_(False)
    return Model(generator, None, ModelInfo.of(generator, family, architecture=config))


@pytest.mark.parametrize(
    ("text", "found"), [("5", [5]), ("85,265, 297", [85, 265, 297]), ("0-3,9", [0, 1, 2, 3, 9]), ("7-7", [7])]
)
def test_seeds_are_numbers_and_ranges(text: str, found: list[int]) -> None:
    assert seeds.parse(text) == found


@pytest.mark.parametrize("text", ["", "a", "-1", "1,,2", "3-1", "0-99999999", "9999999999", "1.5", "1-2-3"])
def test_what_is_no_seed_is_refused(text: str) -> None:
    with pytest.raises(GanvasError, match=r"[Ss]eed"):
        seeds.parse(text)


@pytest.mark.parametrize("family", ["stylegan2", "stylegan3"])
def test_nvidia_s_rule(family: str) -> None:
    """np.random.RandomState(seed).randn(1, z_dim), as their generate.py has it."""
    found = seeds.latents(built(family), [85, 3])
    wanted = [np.random.RandomState(seed).randn(1, 8) for seed in (85, 3)]
    np.testing.assert_array_equal(found.numpy(), np.concatenate(wanted).astype(np.float32))


def test_hugging_face_s_rule() -> None:
    model = built("biggan")
    found = torch.cat(list(seeds.draw(model, [7], truncate=0.4)))
    z = 0.4 * truncnorm.rvs(-2, 2, size=(1, 8), random_state=np.random.RandomState(7))
    assert model.generator.truncation == pytest.approx(0.4)  # type: ignore[attr-defined]
    drawn = model.to_data(model.generator(torch.from_numpy(z).float()))
    assert torch.equal(found, drawn)


def test_other_families_draw_the_first_sample_of_a_seed() -> None:
    model = built("dcgan")
    assert torch.equal(seeds.latents(model, [4, 9]), torch.cat([model.latents(1, 4), model.latents(1, 9)]))


@pytest.mark.parametrize("truncate", [None, 0.5])
def test_wide_networks_draw_fewer_seeds_at_a_time(
    monkeypatch: pytest.MonkeyPatch, truncate: float | None
) -> None:
    """By the size of the pictures alone, 400 of 32 px took 3.3 GB of a StyleGAN2 of 512 channels."""
    model = built("stylegan2", channel_base=128)
    expected = torch.cat(list(seeds.draw(model, range(40), truncate=truncate)))
    monkeypatch.setattr("ganvas.model.AT_ONCE", 1)
    model = Model(model.generator, None, model.info)
    parts = list(seeds.draw(model, range(40), truncate=truncate))
    assert [len(each) for each in parts] == [16, 16, 8]
    assert (torch.cat(parts).int() - expected.int()).abs().max() <= 1


def test_psi_pulls_towards_the_mean_of_w() -> None:
    model = built("stylegan2")
    z = torch.from_numpy(np.random.RandomState(2).randn(1, 8)).float()
    generator = model.generator
    w = generator.mapping(z)  # type: ignore[operator]
    pulled = generator.w_mean + 0.5 * (w - generator.w_mean)  # type: ignore[operator]
    wanted = generator.synthesis(generator.styles(generator.broadcast(pulled)))  # type: ignore[operator]
    assert torch.equal(next(seeds.draw(model, [2], truncate=0.5)), model.to_data(wanted))


def test_a_seed_s_picture_is_the_same_alone_and_among_others() -> None:
    model = built("stylegan2")
    many = torch.cat(list(seeds.draw(model, range(5))))
    assert torch.equal(many[3:4], torch.cat(list(seeds.draw(model, [3]))))


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "model.safetensors"
    model = built("stylegan2")
    model.save(path)
    out = tmp_path / "made.npy"
    assert (
        main(
            [
                "sample",
                str(path),
                "--seeds",
                "1,0-1",
                "--truncate",
                "0.7",
                "--out",
                str(out),
                "--device",
                "cpu",
            ]
        )
        == 0
    )
    assert "3 samples (seeds 1,0-1" in capsys.readouterr().out
    made = torch.from_numpy(np.load(out))
    assert torch.equal(
        made, torch.cat(list(seeds.draw(ganvas.load(path, device="cpu"), [1, 0, 1], truncate=0.7)))
    )
    for wrong in (["--seeds", "x"], ["--seeds", "1", "--best"], ["--seeds", "1", "--sampler", "budget"]):
        assert main(["sample", str(path), *wrong, "--out", str(out)]) == 2
    capsys.readouterr()
    built("dcgan").save(path)
    assert (
        main(["sample", str(path), "--seeds", "1", "--truncate", "0.7", "--out", str(out), "--device", "cpu"])
        == 2
    )
    assert "no w to truncate in" in capsys.readouterr().err
