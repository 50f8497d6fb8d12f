"""Inversion and restoration where the answer is known: the generator's own samples."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import ganvas
from ganvas.cli import main
from ganvas.errors import GanvasError
from ganvas.latent import open_space
from ganvas.latent.invert import colorize, deblur, encode, inpaint, invert, psnr, superres, tasks, train_encoder
from tests.latent.test_space import Decoder, ours, plain_dcgan


@pytest.mark.parametrize("module", ["vae", "dcgan"])
def test_foreign_generators_are_inverted(module: str) -> None:
    model = ganvas.wrap(Decoder(), latent_dim=6) if module == "vae" else ganvas.wrap(plain_dcgan(), latent_dim=20)
    space = open_space(model, "z")
    targets = model.sample(6, seed=3)
    found = invert(space, targets, steps=150, restarts=2, seed=1)
    assert found.residual.median() < 0.1
    torch.testing.assert_close(found.drawn, space.decode(found.points))
    blind = invert(space, targets, steps=0, restarts=2, seed=1)
    assert found.residual.median() < 0.2 * blind.residual.median()
    assert (found.typicality >= 0).all()


def test_an_encoder_beats_guessing_and_starts_the_descent() -> None:
    model = ganvas.wrap(Decoder(), latent_dim=6)
    space = open_space(model, "z")
    targets = model.sample(8, seed=3)
    encoder = train_encoder(space, steps=400)
    encoded = encode(space, encoder, targets)
    blind = invert(space, targets, steps=0, restarts=1)
    assert encoded.residual.median() < 0.6 * blind.residual.median()
    hybrid = invert(space, targets, start=encoded.points, steps=60)
    assert (hybrid.residual <= encoded.residual + 1e-6).all()
    assert (hybrid.ambiguity == 0).all(), "one start has no spread"


def test_restarts_show_what_the_target_does_not_decide() -> None:
    """Of two decoders' halves only one was seen: what is hidden differs between restarts, what was seen does not."""
    space = open_space(ganvas.wrap(Decoder(), latent_dim=6), "z")
    targets = space.model.sample(4, seed=2)
    mask = torch.zeros(8, 8)
    mask[:1] = 1
    some = invert(space, targets, steps=120, restarts=3, degrade=inpaint(mask))
    whole = invert(space, targets, steps=120, restarts=3)
    assert some.ambiguity.mean() > whole.ambiguity.mean()
    assert some.residual.median() < 0.1, "the residual is that of what was seen"


def test_degradations_by_hand() -> None:
    x = torch.arange(32.0).reshape(1, 2, 4, 4)
    assert torch.equal(inpaint(torch.eye(4))(x), x * torch.eye(4))
    assert superres(2)(x)[0, 0, 0, 0] == (0 + 1 + 4 + 5) / 4
    assert torch.equal(colorize()(x), (x[:, :1] + x[:, 1:]) / 2)
    assert deblur(3)(torch.ones(1, 1, 4, 4)).tolist() == torch.ones(1, 1, 4, 4).tolist(), "the border is no darker"
    assert list(tasks) == ["inpaint", "superres", "denoise", "deblur", "colorize"]
    a, b = torch.zeros(1, 1, 4, 4), torch.full((1, 1, 4, 4), 0.2)
    assert float(psnr(a, b, (-1, 1))) == pytest.approx(20)
    b[:, :, 2:] = 0
    mask = torch.zeros(1, 1, 4, 4)
    mask[:, :, :2] = 1
    assert float(psnr(a, b, (-1, 1), mask)) == pytest.approx(20)


class Stepped(nn.Module):
    """Draws, but lets no gradient through."""

    def forward(self, z: Tensor) -> Tensor:
        return z.detach().sign()[:, :4].reshape(-1, 1, 2, 2)


def test_what_can_not_be_inverted() -> None:
    model = ours()
    space = open_space(model, "w")
    with pytest.raises(GanvasError, match=r"draws samples of shape \(1, 16, 16\), the targets have \(1, 8, 8\)"):
        invert(space, torch.zeros(1, 1, 8, 8))
    with pytest.raises(GanvasError, match="must lie from"):
        invert(space, torch.full((1, 1, 16, 16), 3.0))
    with pytest.raises(GanvasError, match="No gradient flows"):
        invert(open_space(ganvas.wrap(Stepped(), latent_dim=4), "z"), torch.zeros(1, 1, 2, 2), steps=2)


def test_by_command_on_the_packaged_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = tmp_path / "own.npz"
    np.savez(images, images=ganvas.load("fashion", device="cpu").sample(4, seed=8).numpy())
    out = tmp_path / "a.npz"
    assert (
        main(["invert", "fashion", str(images), "--steps", "120", "--out", str(out), "--device", "cpu", "--json"]) == 0
    )
    assert json.loads(capsys.readouterr().out)["residual_median"] < 0.15
    assert np.load(out)["points"].shape[0] == 4
    assert out.with_suffix(".png").is_file()
    for task in tasks:
        flags = ["--task", task, "--steps", "10", "--restarts", "2", "--n", "2"]
        assert main(["restore", "fashion", str(images), *flags, "--out", str(out), "--device", "cpu", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["psnr"] > 5


@pytest.mark.parametrize(
    ("command", "flags", "message"),
    [
        ("invert", ["digits"], r"The model draws (1, 28, 28), digits holds (1, 8, 8)"),
        ("invert", ["digits", "--out", "a.gif"], "written as .npz"),
        ("restore", ["no-such-data"], "No data at"),
    ],
)
def test_mistakes(command: str, flags: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "fashion", *flags]) == 2
    assert message in capsys.readouterr().err
