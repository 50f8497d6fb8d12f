"""Spaces: the formulas of the prior, and that every space leads to the same pictures, on ours and on foreign generators."""

from typing import Any

import pytest
import torch
from scipy import stats
from torch import nn

import ganvas
from ganvas.config import NetworkConfig
from ganvas.device import stream
from ganvas.errors import GanvasError
from ganvas.latent import LatentSpace, LatentZ, open_space, spaces
from ganvas.latent import space as spaces_of
from ganvas.latent.directions import find
from ganvas.latent.invert import scale_of
from ganvas.model import Model
from ganvas.networks import build_generator
from ganvas.testing import check_generator


def ours(name: str = "style", classes: int = 0) -> Model:
    config = NetworkConfig(name, latent_dim=8, conditional=classes > 0, generator={"channels": 4})
    generator = build_generator(config, (1, 16, 16), classes).eval().requires_grad_(False)
    return Model.of_run(generator, None, ganvas.Config(network=config), {})


def plain_dcgan() -> nn.Module:
    """What people have: transposed convolutions from (B, 100, 1, 1)."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.ConvTranspose2d(20, 16, 4), nn.BatchNorm2d(16), nn.ReLU(), nn.ConvTranspose2d(16, 8, 4, 2, 1), nn.BatchNorm2d(8),
        nn.ReLU(), nn.ConvTranspose2d(8, 1, 4, 2, 1), nn.Tanh(),
    )  # fmt: skip


class Decoder(nn.Module):
    """The decoder of a plain VAE, with images from 0 to 1."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.hidden, self.out = nn.Linear(6, 32), nn.Linear(32, 3 * 8 * 8)

    def forward(self, code: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(self.out(torch.relu(self.hidden(code)))).reshape(-1, 3, 8, 8)


def test_the_normal_prior_by_its_formulas() -> None:
    space = LatentZ(ours())
    assert not space.flat
    z = space.sample(2000, stream(0, "test"))
    expected = 2 * torch.from_numpy(stats.chi2(8).cdf(z.square().sum(1).double().numpy()))
    torch.testing.assert_close(
        space.typicality(z).double(), torch.minimum(expected, 2 - expected), atol=1e-4, rtol=1e-3
    )
    assert space.typicality(torch.zeros(1, 8)) == 0, (
        "the origin is the densest point and the least typical one"
    )
    far = space.project(torch.stack([10 * z[0], 0.01 * z[0]]))
    assert (space.typicality(far) > 0.002).all()
    torch.testing.assert_close(
        far / far.norm(dim=1, keepdim=True), (z[0] / z[0].norm()).expand(2, -1), atol=0.05, rtol=0
    )
    assert space.distance(z[:1000], z[1000:]).mean().item() == pytest.approx(2**0.5, rel=0.05)


@pytest.mark.parametrize("name", ["w", "w+", "styles"])
@pytest.mark.parametrize("classes", [0, 3])
def test_style_spaces_draw_what_their_latents_draw(name: str, classes: int) -> None:
    model = ours(classes=classes)
    space, z = open_space(model, name), open_space(model, "z")
    points = space.sample(6, stream(1, "test"))
    drawn = z.decode(z.sample(6, stream(1, "test")))
    torch.testing.assert_close(space.decode(points), drawn, atol=1e-5, rtol=1e-4)
    known = space.typicality(space.known[:500]).sort().values
    assert abs(known.median() - 0.5) < 0.1, "typicality of typical points is uniform"
    outside = space.mean + 20 * (points - space.mean)
    assert (space.typicality(outside) < 0.01).all()
    assert (space.typicality(space.project(outside)) > 0.002).all()


@pytest.mark.parametrize("foreign", [False, True])
def test_hidden_layers_are_spaces(foreign: bool) -> None:
    model = ganvas.wrap(plain_dcgan(), latent_dim=20) if foreign else ours("dcgan")
    names = [name for name in spaces(model) if name.startswith("layer:")]
    assert len(names) >= 5
    z = open_space(model, "z")
    for name in names:
        space = open_space(model, name)
        with torch.no_grad():
            drawn = space.decode(space.sample(3, stream(2, "test")))
            torch.testing.assert_close(drawn, z.decode(z.sample(3, stream(2, "test"))), atol=1e-5, rtol=1e-4)


def test_a_large_layer_is_known_by_fewer_points(monkeypatch: pytest.MonkeyPatch) -> None:
    """4,096 points of 32 maps of 64 px are 2 GB."""
    monkeypatch.setattr(spaces_of, "NUMBERS", 300 * 8 * 8 * 8)
    model = ganvas.wrap(plain_dcgan(), latent_dim=20)
    monkeypatch.setitem(vars(model), "at_once", 16)
    large, small = open_space(model, "layer:module.3"), open_space(model, "z")
    assert large.size == 8 * 8 * 8
    assert len(large.known) == 300
    assert len(small.known) == 4096
    whole = open_space(ganvas.wrap(plain_dcgan(), latent_dim=20), "layer:module.3")
    torch.testing.assert_close(large.known, whole.known, atol=1e-5, rtol=1e-4)
    vector = torch.nn.functional.normalize(torch.randn(512), dim=0)
    expected = large.sigma(vector), large.typicality(large.numbered(4))
    assert scale_of(large) == pytest.approx(scale_of(small), rel=0.2)
    monkeypatch.setattr(spaces_of, "WIDEST", 500)  # number by number, and without another copy of the points
    assert large.sigma(vector) == pytest.approx(expected[0], rel=1e-4)
    wide = open_space(model, "layer:module.3")
    torch.testing.assert_close(wide._axes[1], wide.known.flatten(1).double().std(0), rtol=1e-3, atol=1e-4)


def test_drawing_leaves_the_points_of_a_layer_as_they_are() -> None:
    """The tutorial's activations work in place, on what is put in their layer's stead."""
    layers = [nn.ReLU(True) if isinstance(each, nn.ReLU) else each for each in plain_dcgan()]  # type: ignore[attr-defined]
    space = open_space(ganvas.wrap(nn.Sequential(*layers), latent_dim=20), "layer:module.1")
    points = space.numbered(3)
    assert (points < 0).any()
    before = points.clone()
    with torch.no_grad():
        space.decode(points)
    assert torch.equal(points, before)


def test_class_vectors_morph_between_classes() -> None:
    model = ours(classes=3)
    space = open_space(model, "class")
    assert space.shape == (8,)
    embed = model.generator.embed
    assert embed is not None
    with torch.no_grad():
        drawn = space.decode(embed.weight)
        expected = model.generator(torch.zeros(3, 8), torch.arange(3))
        torch.testing.assert_close(drawn, expected)
        half = space.decode(embed.weight[:2].mean(0, keepdim=True))
    assert not torch.allclose(half, expected[:1])


@pytest.mark.parametrize("prior", ["uniform", "sphere"])
def test_other_priors(prior: str) -> None:
    model = ganvas.wrap(plain_dcgan(), latent_dim=20, prior=prior)  # type: ignore[arg-type]
    z = model.latents(256)
    space = open_space(model, "z")
    if prior == "uniform":
        assert z.abs().max() <= 1
        assert space.flat
        assert space.project(3 * z).abs().max() <= 1
    else:
        torch.testing.assert_close(z.norm(dim=1), torch.full((256,), 20**0.5))
        torch.testing.assert_close(space.project(3 * z), z)
    assert model.sample(3).shape == (3, 1, 16, 16)


def test_a_foreign_generator_is_a_model() -> None:
    decoder = ganvas.wrap(Decoder(), latent_dim=6)
    assert decoder.shape == (3, 8, 8)
    assert decoder.generator.value_range == (0, 1), "seen from what it draws"
    images = decoder.sample(5, seed=1)
    assert images.dtype == torch.uint8
    assert spaces(decoder) == ["z", "layer:module.hidden", "layer:module.out"]
    assert ganvas.wrap(plain_dcgan(), latent_dim=20).generator.value_range == (-1, 1)
    found = {finding.name: finding for finding in check_generator(decoder)}
    assert found["gradients"].passed
    assert found["space z"].passed
    assert found["hidden layers"].passed
    assert not found["critic"].passed
    assert all(str(finding) for finding in found.values())


def test_check_finds_what_is_wrong() -> None:
    class Noisy(nn.Module):
        def forward(self, z: torch.Tensor) -> torch.Tensor:
            return (z + torch.randn_like(z)).sign()[:, :4] * 3

    with pytest.warns(UserWarning, match="noise inside"):
        model = ganvas.wrap(Noisy(), latent_dim=5)
    found = {finding.name: finding for finding in check_generator(model)}
    assert not found["repeatable"].passed
    assert not found["gradients"].passed


def test_what_can_not_be_wrapped() -> None:
    with pytest.raises(
        GanvasError, match=r"Sequential.forward\(input\) cannot be called with latents of shape .*'B', 21"
    ):
        ganvas.wrap(plain_dcgan(), latent_dim=21)
    with pytest.raises(GanvasError, match="which is not shape"):
        ganvas.wrap(Decoder(), latent_dim=6, shape=(3, 9, 9))
    with pytest.raises(GanvasError, match="a prior of normal, uniform or sphere"):
        ganvas.wrap(Decoder(), latent_dim=6, prior="cauchy")  # type: ignore[arg-type]
    with pytest.raises(GanvasError, match="NaN"):
        ganvas.wrap(nn.Sequential(nn.Linear(3, 2), nn.Threshold(1e9, float("nan"))), latent_dim=3)


def test_points_that_do_not_belong() -> None:
    space = open_space(ours(), "w")
    with pytest.raises(GanvasError, match=r"points of shape \(8,\), got \(9,\)"):
        space.check(torch.zeros(2, 9))
    with pytest.raises(GanvasError, match="finite"):
        space.check(torch.full((1, 8), float("nan")))
    with pytest.raises(GanvasError, match=r"no space 'style'. Did you mean 'styles'"):
        open_space(ours(), "style")
    with pytest.raises(GanvasError, match="has no layer"):
        open_space(ours(), "layer:nothing")
    assert open_space(ours()).name == "w"
    assert open_space(ours("dcgan")).name == "z"


@pytest.mark.parametrize("prior", ["normal", "uniform", "sphere"])
def test_the_prior_is_white_by_its_formula(prior: str) -> None:
    """Identity for the normal prior and the sphere, 1 / std for the uniform one: exactly, at any length of z."""
    space = open_space(ganvas.wrap(nn.Linear(200, 2), latent_dim=200, prior=prior), "z")
    steps = torch.randn(7, 200, generator=stream(0, "test"))
    scale = 3**0.5 if prior == "uniform" else 1.0
    torch.testing.assert_close(space.whiten(steps), steps.double() * scale, rtol=1e-6, atol=0)
    torch.testing.assert_close(space.unwhiten(space.whiten(steps)), steps.double())
    assert torch.equal(space.mean, torch.zeros(200))
    assert torch.equal(space.mean_of(torch.tensor([0, 1])), torch.zeros(1, 200))
    drawn = space.typicality(space.sample(500, stream(2, "test")))
    if prior == "sphere":  # all have one length
        assert drawn.min() > 0.95
    else:  # a tail probability is uniform
        assert drawn.mean().item() == pytest.approx(0.5, abs=0.06)
    assert (space.typicality(2 * space.sample(5, stream(2, "test"))) < 0.01).all()
    points = space.sample(20_000, stream(1, "test"))
    assert points.std(0).mean().item() == pytest.approx(space.sigma(steps[0]), rel=0.01)


def test_a_long_z_has_no_covariance(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 65,536 numbers, which a file of 2 MB may have, it takes 34 GB."""

    def refused(self: LatentZ) -> torch.Tensor:
        raise AssertionError

    monkeypatch.setattr(LatentZ, "_covariance", refused)
    space = open_space(ganvas.wrap(nn.Linear(200, 2), latent_dim=200), "z")
    assert torch.equal(space.std, torch.ones(200))
    assert find(space, "random", 1)[0].sigma == 1
    config = NetworkConfig("dcgan", latent_dim=12, categorical=(4, 3), generator={"channels": 4})
    generator = build_generator(config, (1, 16, 16), 0).eval().requires_grad_(False)
    coded = LatentZ(Model.of_run(generator, None, ganvas.Config(network=config), {}))
    assert coded.sigma(torch.eye(12)[4]) == pytest.approx((1 / 3 - 1 / 9) ** 0.5)


def test_many_numbers_are_made_white_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """In float64 those of 4,096 points of 16,384 numbers took over a gigabyte, for how typical one of them is."""
    space = open_space(ganvas.wrap(nn.Linear(3000, 2), latent_dim=3000, prior="uniform"), "z")
    points = space.sample(9, stream(0, "test"))
    whole, made = space.whiten(space.known - space.mean).square().sum(1).sort().values, list[int]()
    plain = LatentZ.whiten

    def noted(self: LatentZ, steps: torch.Tensor) -> torch.Tensor:
        made.append(len(steps))
        return plain(self, steps)

    monkeypatch.setattr(LatentZ, "whiten", noted)
    monkeypatch.setattr(spaces_of, "PART", 1000 * 3000)
    assert torch.equal(space.known_lengths, whole)
    assert made == [1000] * 4 + [96]
    assert len(space.typicality(points)) == 9


def test_one_hot_blocks_are_white_by_their_formula() -> None:
    """The covariance of one of K has 1 / K - 1 / K^2 on its diagonal; along the sum of the block nothing varies."""
    config = NetworkConfig("dcgan", latent_dim=12, categorical=(4, 3), generator={"channels": 4})
    generator = build_generator(config, (1, 16, 16), 0).eval().requires_grad_(False)
    space = LatentZ(Model.of_run(generator, None, ganvas.Config(network=config), {}))
    points = space.sample(200_000, stream(0, "test"))
    torch.testing.assert_close(space.mean, points.mean(0), atol=0.01, rtol=0)
    torch.testing.assert_close(space.std, points.std(0), atol=0.01, rtol=0)
    torch.testing.assert_close(space._covariance().float(), torch.cov(points.t()), atol=0.015, rtol=0)
    assert space.sigma(torch.eye(12)[0]) == pytest.approx((1 / 4 - 1 / 16) ** 0.5)
    across = torch.randn(12, generator=stream(1, "test")).double()
    assert space.sigma(across) == pytest.approx(float(across @ space._covariance() @ across) ** 0.5)
    assert space.sigma(torch.tensor([0.5] * 4 + [0.0] * 8)) == pytest.approx(0, abs=1e-6)
    values = torch.linalg.eigvalsh(torch.cov(space.whiten(points - space.mean).t()))
    assert values[:2].max() < 0.01
    torch.testing.assert_close(values[2:], torch.ones(10, dtype=torch.float64), atol=0.03, rtol=0)
    assert find(space, "pca", 2)[0].effect > 0


def test_w_is_whitened_by_fifty_points_a_dimension() -> None:
    """w = A z + b: whitened by n points, A A^T has eigenvalues within 1 / (1 +- sqrt(D / n))^2 (Marchenko and Pastur)."""

    class Space(LatentSpace):
        def of(self, z: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
            return z @ mix.t() + 5

    size = 300
    turn, _ = torch.linalg.qr(torch.randn(size, size, generator=stream(0, "mix")))
    mix = torch.linspace(0.5, 2, size) * turn
    space = Space(ganvas.wrap(nn.Linear(size, 2), latent_dim=size), "w")
    exact = space.whiten(mix.t())  # rows: what the axes of z become
    values = torch.linalg.eigvalsh(exact.t() @ exact)
    low, high = ((1 + sign * 50**-0.5) ** -2 for sign in (1, -1))
    assert values.min() == pytest.approx(low, rel=0.03)
    assert values.max() == pytest.approx(high, rel=0.03), "by 4,096 points it would be 1.88"


@pytest.mark.parametrize("name", ["z", "w", "w+", "styles", "layer:layers.0"])
def test_points_of_every_kind_of_number_are_decoded(name: str) -> None:
    """float64, halves and NumPy arrays draw what float32 draws; another shape is named."""
    space = open_space(ours(), name)
    points = space.sample(3, stream(0, "test"))
    expected = space.decode(points)
    assert torch.equal(space.decode(points.double()), expected)
    array: Any = points.numpy()
    torch.testing.assert_close(space.decode(array), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(space.decode(points.half()), expected, atol=0.02, rtol=0)
    for wrong in (points.flatten(1)[:, :-1], points[0], torch.zeros(())):
        with pytest.raises(GanvasError, match="has points of shape"):
            space.decode(wrong)
    leaf = points.double().requires_grad_(True)
    space.decode(leaf).sum().backward()
    assert leaf.grad is not None
    assert leaf.grad.dtype == torch.float64


@pytest.mark.parametrize("name", ["z", "w", "w+", "styles"])
def test_latents_are_taken_to_the_device_of_the_model(name: str) -> None:
    """`model.latents` gives them on the CPU. The meta device stands for a GPU, which has to refuse what lies elsewhere, too."""
    model = ours(classes=3)
    model.generator.to("meta")
    assert open_space(model, name).of(torch.randn(3, 8)).is_meta
    assert open_space(model, name).from_noise(torch.randn(3, 8)).is_meta


@pytest.mark.gpu
def test_numbers_points_and_steps_may_lie_elsewhere() -> None:
    model = ours()
    model.generator.to("cuda")
    space, numbers = open_space(model), torch.tensor([3, 1])
    assert torch.equal(space.at(numbers.cuda()), space.at(numbers))
    steps = torch.randn(2, 8)
    assert torch.equal(
        space.unwhiten(space.whiten(steps)).cpu(), space.unwhiten(space.whiten(steps.cuda())).cpu()
    )
