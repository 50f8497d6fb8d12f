"""Inversion and restoration where the answer is known: the generator's own samples."""

import json
import weakref
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import ganvas
from ganvas import io
from ganvas import model as model_of
from ganvas.checkpoint import Checkpoint
from ganvas.cli import main
from ganvas.cli._shared import save
from ganvas.config import NetworkConfig
from ganvas.device import stream
from ganvas.errors import GanvasError
from ganvas.latent import invert as invert_module
from ganvas.latent import open_space, paths
from ganvas.latent.encoder import Encoder, encode, train_encoder
from ganvas.latent.invert import Search, choose, invert, scale_of, tune
from ganvas.latent.learned import Reconstructor, learn
from ganvas.latent.paths import pyramid
from ganvas.latent.restore import colorize, damage, deblur, inpaint, psnr, restore, superres, tasks
from ganvas.latent.supervised import from_attribute
from ganvas.model import Model
from ganvas.networks import build_generator, to_uint8
from ganvas.networks.style import StyleGenerator
from ganvas.types import Guarantee
from tests.latent.test_space import Decoder, ours, plain_dcgan

_keep = Checkpoint.keep


class Apart(nn.Module):
    """Classes that differ far more than their samples do."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.of_class, self.own = nn.Embedding(classes, 192), nn.Linear(4, 192)

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        return torch.tanh(2 * self.of_class(labels) + 0.1 * self.own(z)).reshape(-1, 3, 8, 8)


@pytest.mark.parametrize("classes", [2, 3, 4, 10])
def test_the_unit_of_residuals_is_that_of_samples_of_any_classes(classes: int) -> None:
    model = ganvas.wrap(Apart(classes), latent_dim=4, num_classes=classes)
    features = pyramid(model.sample(500, seed=5) / 127.5 - 1)
    usual = torch.pdist(features).mean()
    assert abs(scale_of(open_space(model)) / usual - 1) < 0.05


def test_the_unit_of_residuals_of_points_is_the_same_wherever_they_lie() -> None:
    """Around 2,000 (years) it was off by a tenth and more, by what rounding leaves of squares."""

    class Points(nn.Module):
        def __init__(self, middle: float) -> None:
            super().__init__()
            self.middle, self.own = middle, nn.Linear(3, 2)
            nn.init.constant_(self.own.weight, 0.1)
            nn.init.zeros_(self.own.bias)

        def forward(self, z: Tensor) -> Tensor:
            return self.own(z) * torch.tensor([1.0, -1.0]) * z[:, :2] + self.middle

    here, far = (scale_of(open_space(ganvas.wrap(Points(middle), latent_dim=3))) for middle in (0.0, 2000.0))
    assert far == pytest.approx(here, rel=0.01)


@pytest.mark.parametrize("module", ["vae", "dcgan"])
def test_foreign_generators_are_inverted(module: str) -> None:
    model = (
        ganvas.wrap(Decoder(), latent_dim=6) if module == "vae" else ganvas.wrap(plain_dcgan(), latent_dim=20)
    )
    space = open_space(model, "z")
    targets = model.sample(6, seed=3)
    found = invert(space, targets, steps=150, restarts=2, seed=1)
    assert found.residual.median() < 0.1
    torch.testing.assert_close(found.drawn, space.decode(found.points))
    blind = invert(space, targets, steps=0, restarts=2, seed=1)
    assert found.residual.median() < 0.2 * blind.residual.median()
    assert (found.typicality >= 0).all()


def test_starts_and_steps_are_told_with_their_totals() -> None:
    model = ganvas.wrap(Decoder(), latent_dim=6)
    told: dict[str, list[tuple[int, int]]] = {"starts": [], "progress": []}
    hear = {name: lambda done, total, name=name: told[name].append((done, total)) for name in told}
    invert(open_space(model, "z"), model.sample(1, seed=3), steps=2, restarts=1, newton=0, **hear)
    assert told["starts"] == [(i, 2048) for i in range(0, 2049, 256)]
    assert told["progress"] == [(0, 2), (1, 2), (2, 2)]


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


def test_gradients_of_large_pictures_go_back_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """64 pictures of 256 px at once, which is what `ganvas restore` searches with, took 14 GB."""
    model = ganvas.wrap(Decoder(), latent_dim=6)
    space, targets = open_space(model, "z"), model.sample(5, seed=3)

    def found() -> tuple[Tensor, Tensor, Tensor]:
        made = invert(space, targets, steps=20, restarts=3, seed=1)
        tuned, there = tune(space, made, targets, steps=3)
        vectors = learn(space, 2, steps=2, batch=8)[0]
        assert not any(p.requires_grad for p in tuned.generator.parameters())
        return made.points, there.drawn, vectors

    at_once = found()
    monkeypatch.setattr(paths, "BACK", 2 * 192)
    rows: list[int] = []

    def note(module: nn.Module, given: tuple[Tensor, ...]) -> None:
        if isinstance(module, Decoder) and torch.is_grad_enabled():
            rows.append(len(given[0]))

    handle = nn.modules.module.register_module_forward_pre_hook(note)
    try:
        in_parts = found()
    finally:
        handle.remove()
    assert rows
    assert max(rows) <= 2
    for one, other in zip(at_once, in_parts, strict=True):
        torch.testing.assert_close(one, other, atol=1e-3, rtol=1e-3)


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
    assert deblur(3)(torch.ones(1, 1, 4, 4)).tolist() == torch.ones(1, 1, 4, 4).tolist(), (
        "the border is no darker"
    )
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


class Painted(nn.Module):
    """Pictures of a shape by one layer."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.shape, self.layer = shape, nn.Linear(4, int(np.prod(shape)))

    def forward(self, z: Tensor) -> Tensor:
        return torch.tanh(self.layer(z)).reshape(-1, *self.shape)


class Wide(nn.Module):
    """Pictures of 16 px by the first numbers of many."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, z: Tensor) -> Tensor:
        return torch.tanh(z[:, :256] * self.scale).reshape(-1, 1, 16, 16)


@pytest.mark.parametrize("shape", [(3, 32, 8), (3, 8, 32)])
def test_factors_and_masks_of_pictures_that_are_not_square(shape: tuple[int, ...]) -> None:
    model = ganvas.wrap(Painted(*shape), latent_dim=4)
    with pytest.raises(GanvasError, match="from 2 to 4"):
        damage(model, "superres", factor=5)
    for task in ("superres", "deblur"):
        done = restore(open_space(model), model.sample(1), damage(model, task, factor=4), steps=1)
        assert done.damaged.shape == (1, *shape)
    with pytest.raises(GanvasError, match="The mask is"):
        damage(model, mask=torch.ones(*shape[:0:-1]))


@pytest.mark.parametrize("white", [True, np.uint8(255)])
def test_a_mask_may_be_a_picture_or_true_and_false(white: Any) -> None:
    model = ganvas.wrap(Decoder(), latent_dim=6)
    mask = torch.from_numpy(np.where(np.arange(64).reshape(8, 8) % 8 < 4, white, type(white)(0)))
    made, plain = (
        restore(open_space(model), model.sample(1), damage(model, mask=each), steps=2, restarts=1)
        for each in (mask, (mask != 0).float())
    )
    torch.testing.assert_close(made.samples, plain.samples)
    torch.testing.assert_close(made.psnr, plain.psnr)


def test_colours_that_were_not_seen_leave_no_alpha_behind() -> None:
    config = NetworkConfig("dcgan", latent_dim=4, generator={"channels": 4})
    generator = build_generator(config, (4, 16, 16), 0).eval().requires_grad_(False)
    model = Model.of_run(generator, None, ganvas.Config(network=config), {})
    done = restore(open_space(model), model.sample(2), damage(model, "colorize"), steps=1)
    assert (done.damaged[:, 3] == 255).all()
    assert torch.equal(done.damaged[:, 0], done.damaged[:, 2])


def test_what_can_not_be_inverted() -> None:
    model = ours()
    space = open_space(model, "w")
    with pytest.raises(
        GanvasError, match=r"draws samples of shape \(1, 16, 16\), the targets have \(1, 8, 8\)"
    ):
        invert(space, torch.zeros(1, 1, 8, 8))
    with pytest.raises(GanvasError, match="must lie from"):
        invert(space, torch.full((1, 1, 16, 16), 3.0))
    with pytest.raises(GanvasError, match="must lie from"):
        invert(space, torch.full((1, 1, 16, 16), float("nan")))


def test_without_gradients_an_evolution_searches_and_says_so() -> None:
    """The signs of four numbers are what is drawn: descent has no slope, CMA-ES finds them."""
    space = open_space(ganvas.wrap(Stepped(), latent_dim=4), "z")
    targets = space.decode(space.sample(3, stream(4, "test")))
    found = invert(
        space, targets, steps=30, restarts=2, seed=2**32 - 1
    )  # those counted up from it were a traceback
    assert "CMA-ES" in found.notes[0]
    assert (found.residual < 1e-6).all()
    assert torch.equal(found.points.sign(), targets.reshape(3, 4))


def test_an_evolution_takes_no_settings_of_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`cma_signals.in` changed what was found, or ended it in a traceback: a folder may be anybody's."""
    monkeypatch.chdir(tmp_path)
    space = open_space(ganvas.wrap(Stepped(), latent_dim=4), "z")
    targets = space.decode(space.sample(1, stream(4, "test")))
    alone = invert(space, targets, steps=10, restarts=1).points
    for said in ("{'maxiter': 1}", "{'ftarget': 'nothing of the kind'}", "{"):
        (tmp_path / "cma_signals.in").write_text(said)
        assert torch.equal(invert(space, targets, steps=10, restarts=1).points, alone)


@pytest.mark.parametrize("size", [512, 65_536])
def test_an_evolution_in_a_wide_space_has_no_covariance(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 65,536 numbers, which a file of 133 kB may have, each start asked for 34 GB; 8,000 took 5 GB."""
    import cma

    asked, samplers = list[weakref.ref[Any]](), set[str]()
    plain = cma.CMAEvolutionStrategy

    def begun(start: Any, spread: float, options: Any) -> Any:
        assert not any(each() for each in asked), "the one before is held"
        found = plain(start, spread, options)
        asked.append(weakref.ref(found))
        samplers.add(type(found.sm).__name__)
        return found

    monkeypatch.setattr(cma, "CMAEvolutionStrategy", begun)
    space = open_space(ganvas.wrap(Stepped(), latent_dim=size), "z")
    targets = space.decode(space.sample(1, stream(4, "test")))
    found = invert(space, targets, steps=3, restarts=2)
    assert "CMA-ES" in found.notes[0]
    assert found.residual.isfinite().all()
    assert len(asked) == 2
    assert samplers == {"GaussFullSampler" if size == 512 else "GaussStandardConstant"}


def test_few_points_of_a_wide_space_are_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model of 133 kB with 65,536 latents took over two gigabytes for whatever begins with 2,000 of its points."""
    drawn: list[int] = []
    plain = model_of.draw_prior

    def draw(prior: str, n: int, *others: Any) -> Tensor:
        drawn.append(n)
        return plain(prior, n, *others)

    monkeypatch.setattr(model_of, "draw_prior", draw)
    monkeypatch.setattr("ganvas.latent.space.draw_prior", draw)
    model = ganvas.wrap(Painted(1, 8, 8), latent_dim=4)
    space, target = open_space(model), model.sample(1)
    invert(space, target, steps=0, restarts=1)
    assert max(drawn[1:]) == 4096
    assert 2048 in drawn
    drawn.clear()
    monkeypatch.setattr("ganvas.latent.space.MOST_NUMBERS", 500 * space.size)
    assert from_attribute(space, "brightness").made["samples"] == 500
    invert(space, target, steps=0, restarts=1)
    assert 500 in drawn
    assert 2048 not in drawn
    assert len(invert(space, target, steps=0, restarts=700).points) == 1


class Pitted(nn.Module):
    """Draws its latent; where the first number is below -1 the gradient is not finite."""

    def forward(self, z: Tensor) -> Tensor:
        pit = torch.where(z[:, :1] < -1, z[:, :1] - z[:, :1].detach(), torch.ones_like(z[:, :1]))
        return (torch.tanh(z) * (1 + 0 * pit.abs().sqrt())).reshape(-1, 1, 2, 2)


def test_targets_without_a_finite_gradient_stop_where_they_were_best() -> None:
    space = open_space(ganvas.wrap(Pitted(), latent_dim=4), "z")
    start = torch.tensor([[-1.5, 0, 0, 0], [0.5, 0.5, 0, 0]])
    targets = torch.tanh(torch.tensor([[-1.4, 0.2, 0, 0], [0.2, 0.2, 0.1, 0]])).reshape(2, 1, 2, 2)
    found = invert(space, targets, start=start, steps=150)
    assert torch.isfinite(found.points).all()
    assert torch.equal(found.points[0], start[0])
    assert found.residual[1] < 0.02
    assert "1 of 2 starts was not finite" in found.notes[0]


def test_gauss_newton_lands_on_what_the_generator_can_draw() -> None:
    model = ours()
    space = open_space(model, "w")
    points = space.sample(5, stream(1, "test"))
    targets = space.decode(points)
    near = points + 0.1 * space.std * torch.randn(points.shape, generator=torch.Generator().manual_seed(0))
    plain = invert(space, targets, start=near, steps=20)
    exact = invert(space, targets, start=near, steps=20, newton=12)
    assert exact.residual.max() < 1e-3
    assert exact.residual.median() < 0.1 * plain.residual.median()
    torch.testing.assert_close(exact.drawn, space.decode(exact.points))


def test_slopes_of_large_pictures_are_taken_in_parts_and_have_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of 256 px in 512 latents took 4.3 GB, of 1,024 px 69 GB by calculation."""
    model = ours()
    space = open_space(model, "w")
    points = space.sample(2, stream(1, "test"))
    targets, near = space.decode(points), points + 0.1 * space.std
    told: list[tuple[int, int]] = []
    whole = invert(space, targets, start=near, steps=5, newton=3)
    monkeypatch.setattr(invert_module, "PART", 7 * space.size)
    parts = invert(
        space, targets, start=near, steps=5, newton=3, progress=lambda done, total: told.append((done, total))
    )
    torch.testing.assert_close(parts.points, whole.points, rtol=1e-3, atol=1e-3)
    assert told[-6:] == [(done, 6) for done in range(1, 7)]
    monkeypatch.setattr(invert_module, "MOST_NUMBERS", 1000)
    none = invert(space, targets, start=near, steps=5, newton=3)
    assert "no Newton steps: the slopes of" in none.notes[0]
    assert torch.equal(none.points, invert(space, targets, start=near, steps=5).points)


@pytest.mark.parametrize("size", [1, 3])
def test_points_have_encoders(size: int) -> None:
    torch.manual_seed(0)
    model = ganvas.wrap(nn.Linear(4, size), latent_dim=4)
    space = open_space(model)
    targets = model.sample(16, seed=3)
    encoded = encode(space, train_encoder(space, steps=300), targets)
    assert encoded.residual.median() < 0.1
    found = ganvas.invert(space, targets[:2], method="hybrid", steps=5)
    assert found.points.shape == (2, 4)


def test_an_encoder_is_kept_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    space = open_space(ganvas.wrap(Decoder(), latent_dim=6), "z")
    whole = train_encoder(space, steps=40)
    path = tmp_path / "encoder.safetensors"
    monkeypatch.setattr(Checkpoint, "keep", _every_step)

    def interrupt(done: int, total: int) -> None:
        if done == 25:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_encoder(space, steps=40, path=path, progress=interrupt)
    assert not path.exists()
    seen: list[int] = []
    resumed = train_encoder(space, steps=40, path=path, progress=lambda done, total: seen.append(done))
    assert seen[0] == 26, "it goes on after the last step that was kept"
    for a, b in zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b)
    assert [each.name for each in tmp_path.iterdir()] == ["encoder.safetensors"], "the state is gone"
    again = train_encoder(
        space, steps=40, path=path, progress=lambda done, total: pytest.fail("trained again")
    )
    assert torch.equal(again.layers[0].weight, resumed.layers[0].weight)
    with pytest.raises(GanvasError, match="is no encoder of this model"):
        train_encoder(space, steps=41, path=path)


def test_an_encoder_that_came_meanwhile_is_not_written_over(tmp_path: Path) -> None:
    """Of two commands in one folder the second lost the encoder of the first, under the default name of both."""
    path, space = tmp_path / "encoder.safetensors", open_space(ours(), "w")

    def meanwhile(done: int, total: int) -> None:
        if done == 1:
            train_encoder(space, steps=3, seed=1, path=path)

    with pytest.raises(GanvasError, match="another command meanwhile") as told:
        train_encoder(space, steps=2, path=path, progress=meanwhile)
    first, header = io.load_tensors(path)
    assert header["job"]["seed"] == 1
    (own,) = tmp_path.glob("encoder.*.safetensors")
    assert f"--encoder {own}" in str(told.value)
    kept = train_encoder(space, steps=2, path=own, progress=lambda done, total: pytest.fail("trained again"))
    assert not torch.equal(kept.layers[0].weight, first["layers.0.weight"])


def _every_step(self: Checkpoint, step: int, *what: Any) -> None:
    assert self.path is None or self.path.match("encoder.state.*.safetensors")
    if self.path is not None:
        self.written -= 1e6
        _keep(self, step, *what)


def test_tuning_draws_the_target_and_leaves_the_rest() -> None:
    model = ours()
    model = replace(model, info=replace(model.info, privacy=Guarantee(1.0, 1e-5)))
    space = open_space(model, "w")
    targets = (
        torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    )  # noise: nothing it can draw
    found = invert(space, targets, steps=20, restarts=1)
    before = model.sample(8, seed=2)
    tuned, there = tune(space, found, targets, steps=60)
    assert (there.residual < 0.8 * found.residual).all()
    assert torch.equal(there.points, found.points)
    assert torch.equal(model.sample(8, seed=2), before), "the model itself is not touched"
    assert not torch.equal(tuned.sample(8, seed=2), before)
    assert tuned.info.privacy is None, "nothing bounds what it knows of the targets"
    held, _ = tune(space, found, targets, steps=60, locality=10.0)
    moved = [
        (each.sample(32, seed=2).float() - model.sample(32, seed=2).float()).abs().mean()
        for each in (tuned, held)
    ]
    assert moved[1] < moved[0], "locality keeps the other samples where they were"


@pytest.mark.slow
def test_by_command_on_the_packaged_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    images = tmp_path / "own.npz"
    np.savez(images, images=ganvas.load("fashion", device="cpu").sample(4, seed=8).numpy())
    out = tmp_path / "a.npz"
    assert (
        main(
            [
                "invert",
                "fashion",
                str(images),
                "--method",
                "optimise",
                "--steps",
                "120",
                "--newton",
                "0",
                "--out",
                str(out),
                "--device",
                "cpu",
                "--json",
            ]
        )
        == 0
    )
    assert json.loads(capsys.readouterr().out)["residual_median"] < 0.15
    assert np.load(out)["points"].shape[0] == 4
    assert out.with_suffix(".png").is_file()
    monkeypatch.setattr("ganvas.latent.invert.CANDIDATES", 256)
    for task in tasks:
        flags = ["--task", task, "--steps", "10", "--restarts", "2", "--n", "2"]
        assert (
            main(["restore", "fashion", str(images), *flags, "--out", str(out), "--device", "cpu", "--json"])
            == 0
        )
        assert json.loads(capsys.readouterr().out)["psnr"] > 5


@pytest.mark.parametrize(
    ("command", "flags", "message"),
    [
        ("restore", ["digits", "--task", "inpant"], "Did you mean 'inpaint'"),
        ("invert", ["digits", "--out", "a.gif"], "use .npz"),
        ("restore", ["no-such-data"], "No data at"),
    ],
)
def test_mistakes(command: str, flags: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "fashion", *flags]) == 2
    assert message in capsys.readouterr().err


def test_damaged_pictures_and_a_mask_of_ones_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = ganvas.load("fashion", device="cpu")
    whole = model.sample(2, seed=8)
    small = tmp_path / "small.npz"
    np.savez(small, images=superres(4)(whole.float()).round().to(torch.uint8).numpy())
    out = tmp_path / "a.npz"
    flags = ["--device", "cpu", "--json", "--steps", "60", "--restarts", "2", "--out", str(out)]
    assert main(["restore", "fashion", str(small), "--task", "superres", "--damaged", *flags]) == 0
    document = json.loads(capsys.readouterr().out)
    assert "psnr" not in document, "there is nothing to judge it by"
    assert np.load(out)["drawn"].shape == (2, 1, 28, 28)
    assert document["residual"] < 0.1
    mask = np.full((28, 28), 255, np.uint8)
    mask[10:18, 10:18] = 0
    Image.fromarray(mask).save(tmp_path / "mask.png")
    images = tmp_path / "whole.npz"
    np.savez(images, images=whole.numpy())
    assert main(["restore", "fashion", str(images), "--task", str(tmp_path / "mask.png"), *flags]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["psnr"] > 15
    assert document["class_agreement"] == 1
    kept = to_uint8(torch.from_numpy(np.load(out)["drawn"]), model.generator.value_range)
    assert torch.equal(kept[:, :, :10], whole[:, :, :10]), "what was seen stays as it was"


def test_a_tuned_model_is_a_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = tmp_path / "own.npz"
    np.savez(images, images=ganvas.load("fashion", device="cpu").sample(2, seed=8).numpy())
    out, encoder = tmp_path / "a.npz", tmp_path / "e.safetensors"
    monkey = [
        "--method",
        "tune",
        "--steps",
        "5",
        "--newton",
        "1",
        "--encoder",
        str(encoder),
        "--out",
        str(out),
    ]
    with pytest.MonkeyPatch.context() as patch:  # an encoder of 20 steps will do here
        patch.setattr(train_encoder, "__defaults__", (20, *(train_encoder.__defaults__ or ())[1:]))
        assert main(["invert", "fashion", str(images), *monkey, "--device", "cpu"]) == 0
    said = capsys.readouterr().out
    tuned = ganvas.load(tmp_path / "a.safetensors", device="cpu")
    space = open_space(tuned, "w")
    with torch.no_grad():
        drawn = space.decode(torch.from_numpy(np.load(out)["points"]))
    np.testing.assert_allclose(drawn.numpy(), np.load(out)["drawn"], atol=1e-4)
    assert encoder.is_file()
    for path in (out, out.with_suffix(".png"), out.with_suffix(".safetensors"), encoder):
        assert str(path) in said, "every file that was written is named"


@pytest.mark.parametrize("restarts", [4, 900])
def test_of_many_classes_the_one_that_was_asked_for_is_found(restarts: int) -> None:
    """Typical points of all classes in turn have two or three of each of a thousand: fewer than there are starts."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        generator = StyleGenerator((1, 8, 8), 8, num_classes=1000, channels=4).eval().requires_grad_(False)
    space = open_space(ganvas.wrap(generator, latent_dim=8, num_classes=1000), "z")
    labels = torch.tensor([7, 999]).repeat(6)
    with torch.no_grad():
        targets = space.decode(space.sample(12, stream(2, "test")), torch.arange(12) * 80)
    found = invert(space, targets, labels=labels, steps=1, restarts=restarts)
    assert found.labels is not None
    assert found.labels.equal(labels)


def test_a_conditional_inversion_keeps_the_class_of_the_start_it_chose() -> None:
    """In z the class is not part of the point: what was found is drawn again only with the class that it was found with."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        generator = StyleGenerator((1, 16, 16), 8, num_classes=3, channels=8).eval().requires_grad_(False)
    space = open_space(ganvas.wrap(generator, latent_dim=8, num_classes=3), "z")
    labels = torch.tensor([2, 0, 1, 2])
    with torch.no_grad():
        targets = space.decode(space.sample(4, stream(2, "test")), labels)
    found = invert(space, targets, steps=30, restarts=3, newton=3)
    assert found.labels is not None
    with torch.no_grad():
        torch.testing.assert_close(space.decode(found.points, found.labels), found.drawn)
    plain = invert(space, targets, steps=30, restarts=3)
    assert (found.residual <= plain.residual + 1e-6).all(), (
        "Gauss-Newton goes on from there, with the same class"
    )


@pytest.mark.parametrize("tried", [3, 1])
def test_the_class_of_a_known_point_is_found(
    tried: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """By the encoder, and by the descent that begins where it says: targets were taken to be of all classes in turn."""
    monkeypatch.setattr("ganvas.latent.invert.TRIED", tried)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        generator = StyleGenerator((1, 16, 16), 8, num_classes=3, channels=8).eval().requires_grad_(False)
    model = ganvas.wrap(generator, latent_dim=8, num_classes=3)
    space = open_space(model, "z")
    labels = torch.tensor([2, 0, 1, 2])
    # Those that the nearest typical samples are looked for among, which have a class each.
    points = space.sample(2048, stream(0, "invert"), space.labels(2048, None))[[5, 3, 7, 2]]
    with torch.no_grad():
        targets = space.decode(points, labels)
    found = encode(space, lambda wanted: points, targets)
    assert found.labels is not None
    assert found.labels.equal(labels)
    assert float(found.residual.max()) < 1e-3
    assert invert(space, targets, start=points, steps=0).labels.equal(labels)
    asked = invert(space, targets, start=points, steps=0, labels=torch.tensor([1, 1, 1, 1]))
    assert asked.labels is not None
    assert asked.labels.tolist() == [1, 1, 1, 1]
    save(tmp_path / "a.npz", found)
    assert np.load(tmp_path / "a.npz")["labels"].tolist() == labels.tolist()


def test_large_samples_are_looked_at_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The unit of residuals of 1,024 px took 12 GB, the choice among all restarts of sixteen pictures 5."""
    space = open_space(ganvas.wrap(Decoder(), latent_dim=6), "z")
    rows: list[int] = []

    def see(samples: Tensor) -> Tensor:
        rows.append(len(samples))
        return pyramid(samples)

    points, errors = space.numbered(12, 3), torch.arange(12.0).flip(0)
    unit = scale_of(space, see)
    search = Search(space, see(space.decode(points[::3])), None, None, see, unit)
    whole = choose(search, points, errors, 4, 3)
    monkeypatch.setattr(paths, "NUMBERS", 3 * 192)
    rows.clear()
    assert scale_of(space, see) == pytest.approx(unit, rel=1e-4)
    assert (max(rows), sum(rows)) == (3, 256)
    found = choose(search, points, errors, 4, 3)
    assert max(rows) == 3
    for name in ("points", "drawn", "residual", "ambiguity", "typicality"):
        torch.testing.assert_close(getattr(found, name), getattr(whole, name), atol=1e-5, rtol=1e-5)
    assert found.residual.tolist() == [9, 6, 3, 0]
    rows.clear()
    monkeypatch.setattr("ganvas.latent.invert.NUMBERS", 40 * 192)
    assert scale_of(space, see) == pytest.approx(unit, rel=0.2)
    assert sum(rows) == 40


def test_the_encoder_of_a_wide_space_is_no_wider_than_its_points(tmp_path: Path) -> None:
    """A last layer of 65,536 numbers took 2 GB to train, and five seconds a step."""
    usual, wide = (
        open_space(ganvas.wrap(Wide(size), latent_dim=size, shape=(1, 16, 16))) for size in (2**14, 2**16)
    )
    assert [each.weight.shape for each in Encoder(usual).layers if isinstance(each, nn.Linear)] == [
        (2**14, 1024)
    ]
    encoder, path = Encoder(wide), tmp_path / "encoder.safetensors"
    assert sum(each.numel() for each in encoder.parameters()) < 2**24
    made = train_encoder(wide, steps=1, batch=2, path=path)
    assert made(torch.zeros(2, 1, 16, 16)).shape == (2, 2**16)
    assert io.read_header(path)["job"]["narrow"] == 128


def test_encoders_learn_from_small_pictures() -> None:
    """A batch of 64 of 1,024 px took 12 GB."""
    sizes = []
    for side in (256, 1024):
        model = SimpleNamespace(shape=(3, side, side // 2))
        space = SimpleNamespace(model=model, size=4, shape=(4,), mean=torch.zeros(4), std=torch.ones(4))
        network: Any = Encoder(space)  # type: ignore[arg-type]
        assert network(torch.zeros(2, *model.shape)).shape == (2, 4)
        sizes.append(sum(each.numel() for each in network.parameters()))
        assert Reconstructor(model.shape, 3)(*torch.zeros(2, 2, *model.shape))[0].shape == (2, 3)
    assert sizes[0] == sizes[1]
