"""Directions on generators whose answer is known, and on the packaged model beside random ones."""

import json
import math
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sklearn.decomposition import PCA
from torch import Tensor, nn

import ganvas
from ganvas import io
from ganvas.cli import main
from ganvas.config import NetworkConfig
from ganvas.device import stream
from ganvas.errors import GanvasError
from ganvas.latent import finders as finders_of
from ganvas.latent import open_space, paths
from ganvas.latent import space as spaces_of
from ganvas.latent.attributes import attributes, open_attribute
from ganvas.latent.directions import chance, edit, find, load_directions, save, unmoved
from ganvas.latent.dissect import _pixel_masks
from ganvas.latent.edits import draw_edit
from ganvas.latent.finders import early_layer, finders
from ganvas.latent.jacobian import jacobians, metric
from ganvas.latent.paths import pyramid, small_pyramid
from ganvas.latent.space import covariance
from ganvas.latent.supervised import attribute
from ganvas.model import Model, ModelInfo, all_over
from ganvas.networks import build_generator
from ganvas.networks.coded import Coded
from ganvas.networks.style import StyleGenerator
from tests.conftest import series_model
from tests.latent.test_space import ours, plain_dcgan
from tests.test_model_file import rewrite


class Linear(nn.Module):
    """z -> A z, with a known A."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.layer = nn.Linear(6, 9, bias=False)

    def forward(self, z: Tensor) -> Tensor:
        drawn: Tensor = self.layer(z)
        return drawn


def space_of(module: nn.Module, size: int):  # type: ignore[no-untyped-def]
    return open_space(ganvas.wrap(module, latent_dim=size), "z")


def angle(a: Tensor, b: Tensor) -> float:
    """Largest principal angle between the spans of the rows of a and b."""
    qa, _ = torch.linalg.qr(a.double().t())
    qb, _ = torch.linalg.qr(b.double().t())
    return float(torch.arcsin((qa - qb @ (qb.t() @ qa)).norm(2).clamp(max=1)))


def test_streamed_principal_axes_are_those_of_scikit_learn() -> None:
    torch.manual_seed(0)
    points = (
        torch.randn(6000, 24)
        @ torch.diag(torch.linspace(3, 0.3, 24))
        @ torch.linalg.qr(torch.randn(24, 24))[0]
        + 50
    )
    mean, found = covariance(points.split(500), 24)
    np.testing.assert_allclose(
        found.numpy(), np.cov(points.double().numpy(), rowvar=False), rtol=2e-4, atol=2e-4
    )
    np.testing.assert_allclose(mean.numpy(), points.double().mean(0).numpy(), rtol=1e-6)
    ours_ = torch.linalg.eigh(found)[1].flip(1).t()[:5]
    theirs = PCA(5, svd_solver="full").fit(points.double().numpy()).components_
    assert angle(ours_, torch.from_numpy(theirs)) < 1e-3


@pytest.mark.parametrize("name", list(finders))
def test_every_method_gives_measured_unit_vectors(name: str) -> None:
    space = open_space(ours(), "w")
    found = find(space, name, 3, seed=1)
    assert len(found) == 3
    assert [d.name for d in found] == [f"{name}-{i}" for i in range(3)]
    for direction in found:
        assert direction.vector.norm().item() == pytest.approx(1, abs=1e-4)
        assert direction.sigma > 0
        assert direction.effect > 0
    scores = [direction.score for direction in found]
    assert scores == sorted(scores, reverse=True)
    again = find(space, name, 3, seed=1)
    assert all(torch.equal(a.vector, b.vector) for a, b in zip(found, again, strict=True))


def test_sefa_and_jacobian_of_a_linear_map() -> None:
    """For x = A z both are known: J^T J = A^T A; SeFa takes A with rows of unit length."""
    module = Linear()
    space = space_of(module, 6)
    a = module.layer.weight.detach().double()
    torch.testing.assert_close(metric(space, torch.randn(3, 6)), a.t() @ a, atol=1e-5, rtol=1e-4)
    for name, matrix in (("jacobian", a), ("sefa", a / a.norm(dim=1, keepdim=True))):
        _, vectors = torch.linalg.eigh(matrix.t() @ matrix)
        found = torch.stack([d.vector for d in find(space, name, 6)])
        for direction, expected in zip(found.double(), vectors.flip(1).t(), strict=True):
            assert abs(float(direction @ expected)) == pytest.approx(1, abs=1e-3), name
    first = find(space, "jacobian", 1)[0]
    assert first.effect > max(d.effect for d in find(space, "random", 6)), "no direction does more"


def test_axes_of_a_long_z_take_no_square_of_its_length(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 65,536 numbers, which a file of 2 MB may have, sefa took 34 GB and pca 69 GB."""
    module, many = Linear(), space_of(Linear(), 6)
    module.layer = nn.Linear(6, 4, bias=False)
    space = space_of(module, 6)
    vectors, shares = finders.get("sefa")(space, 4, 0)
    monkeypatch.setattr(finders_of, "BROAD", 5)
    with monkeypatch.context() as patch:  # of more weights than that it is the quicker way, and no larger
        patch.setattr(torch.linalg, "svd", None)
        finders.get("sefa")(many, 4, 0)
    monkeypatch.setattr(finders_of, "leading", None)
    found, their = finders.get("sefa")(space, 4, 0)
    torch.testing.assert_close((found * vectors).sum(1).abs(), torch.ones(4), atol=1e-4, rtol=0)
    torch.testing.assert_close(their, shares, atol=1e-5, rtol=0)
    assert finders_of.usual(space) == "pca"
    monkeypatch.setattr(finders_of, "MOST_SLOPES", 5)
    assert finders_of.usual(space) == "random"
    with pytest.raises(GanvasError, match=r"four samples for each of its 6 numbers.* sefa or random"):
        find(space, "pca", 1)
    for name in ("ica", "sefa"):  # they sent to those that refuse it, too
        with pytest.raises(GanvasError, match=r"Take --method random\."):
            finders.get(name)(space_of(nn.Tanh(), 6), 1, 0)


def test_principal_axes_of_z_are_those_of_an_early_layer() -> None:
    """Behind a linear layer they are its right singular vectors, whatever the seed; z's own would be noise."""
    module = Linear()
    space = space_of(module, 6)
    _, values, expected = torch.linalg.svd(module.layer.weight.detach())
    for seed in (0, 1, 2):
        found = find(space, "pca", 4, seed)
        for direction, axis in zip(found, expected, strict=False):
            assert abs(float(direction.vector @ axis)) > 0.999
        shares = (values.square() / values.square().sum())[:4]
        torch.testing.assert_close(torch.tensor([d.score for d in found]), shares, atol=1e-3, rtol=0)
        assert all(direction.sigma == 1 for direction in found)


@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("name", ["dcgan", "style", "resnet"])
def test_principal_axes_of_z_agree_between_seeds(name: str, classes: int) -> None:
    space = open_space(ours(name, classes), "z")
    first, second = (find(space, "pca", 3, seed) for seed in (0, 1))
    for a, b in zip(first, second, strict=True):
        assert float((a.vector * b.vector).sum()) > 0.95, "and they point the same way"


def test_axes_have_one_sign_for_all_seeds() -> None:
    space = open_space(ganvas.load("fashion", device="cpu", critic=False), "w")
    runs = [finders.get("pca")(space, 3, seed)[0] for seed in range(4)]
    for other in runs[1:]:
        assert ((runs[0] * other).sum(1) > 0.9).all()
    vectors, _ = finders.get("pca")(space, 4, 0)
    assert (vectors.gather(1, vectors.abs().argmax(1, keepdim=True)) > 0).all()


def test_what_has_no_axes_says_so() -> None:
    with pytest.raises(GanvasError, match=r"ica would find noise\. Take --method pca or jacobian"):
        find(open_space(ours("dcgan"), "z"), "ica", 2)
    with pytest.raises(GanvasError, match="no principal axes of its own"):
        find(open_space(ganvas.wrap(nn.Tanh(), latent_dim=3), "z"), "pca", 2)


def test_sefa_takes_the_layers_that_its_authors_take() -> None:
    """Style weights of all convolutions and of the last image, a column each at unit length: W W^T (Shen and Zhou 2021)."""
    model = ours()
    generator = model.generator
    assert isinstance(generator, StyleGenerator)
    layers: list[Any] = [*generator.layers, generator.to_image[-1]]
    assert len(generator.to_image) == 3
    weight = np.concatenate([layer.affine.weight.detach().numpy().T for layer in layers], 1)
    weight = weight / np.linalg.norm(weight, axis=0, keepdims=True)
    values, vectors = np.linalg.eigh(weight @ weight.T)
    found = find(open_space(model, "w"), "sefa", 4)
    for direction, expected, value in zip(found, vectors.T[::-1], values[::-1], strict=False):
        assert abs(float(direction.vector.numpy() @ expected)) == pytest.approx(1, abs=1e-4)
        assert direction.score == pytest.approx(value / values.sum(), rel=1e-4)


class OfClasses(nn.Module):
    """The vector of a class, by a layer of weights, beside z; the last layer has as many inputs as z has numbers."""

    def __init__(self, ahead: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.ahead, self.told = ahead, nn.Linear(16, 4)
        self.first, self.last = nn.ConvTranspose2d(12, 8, 4), nn.ConvTranspose2d(8, 3, 4, 2, 1)

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        told = self.told(nn.functional.one_hot(labels, 16).to(z.dtype))
        both = torch.cat([told, z] if self.ahead else [z, told], 1)[:, :, None, None]
        return torch.tanh(self.last(torch.relu(self.first(both))))


@pytest.mark.parametrize("ahead", [False, True])
def test_sefa_and_pca_of_z_read_the_layer_that_z_reaches_first(ahead: bool) -> None:
    module = OfClasses(ahead)
    space = open_space(ganvas.wrap(module, latent_dim=8, num_classes=16), "z")
    weight = module.first.weight.detach()[4:] if ahead else module.first.weight.detach()[:8]
    rows = weight.permute(1, 2, 3, 0).flatten(0, 2).double()
    wanted = torch.linalg.eigh(rows.t() @ (rows / rows.norm(dim=1, keepdim=True).square())).eigenvectors[
        :, -1
    ]
    (found,) = find(space, "sefa", 1)
    assert abs(float(found.vector.double() @ wanted)) > 0.999
    assert early_layer(space) == "module.first"


@pytest.mark.parametrize("components", [1, 2])
def test_sefa_of_an_autoencoder_with_a_fitted_prior_is_of_z(components: int) -> None:
    """What the first layer reads is a normal of another shape: z -> mean + L z -> W."""
    torch.manual_seed(0)
    decoder = ganvas.wrap(Linear(), latent_dim=6).generator
    whole = Coded(decoder, {"components": components})
    assert whole.mixture is not None
    whole.mixture.fit(torch.randn(500, 6) @ torch.diag(torch.tensor([8.0, 1.0, 1.0, 1.0, 1.0, 0.1])))
    space = open_space(Model(whole.eval().requires_grad_(False), None, ModelInfo.of(whole, "coded")), "z")
    if components > 1:
        with pytest.raises(GanvasError, match="behind a mixture"):
            find(space, "sefa", 1)
        return
    rows = decoder.get_submodule("module.layer").weight.double() @ whole.mixture.factors[0].double()
    rows = torch.nn.functional.normalize(rows)
    wanted = torch.linalg.eigh(rows.t() @ rows).eigenvectors[:, -1]
    assert abs(float(find(space, "sefa", 1)[0].vector.double() @ wanted)) > 0.999


def test_axes_of_a_large_layer_need_no_covariance(monkeypatch: pytest.MonkeyPatch) -> None:
    """32 maps of 32 px have one of 8 GB, and its eigenvectors take hours."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(20, 600), nn.Linear(600, 4))
    axes = torch.linalg.qr(torch.randn(600, 20))[0]
    spread = torch.tensor([8.0, 4.0, 2.0, *[0.1] * 17])
    module[0].weight.data = axes * spread
    space = open_space(ganvas.wrap(module, latent_dim=20), "layer:module.0")
    monkeypatch.setattr(finders_of, "BROAD", 500)
    monkeypatch.setattr(finders_of, "NUMBERS", 4000 * space.size)
    vectors, shares = finders.get("pca")(space, 3, 0)
    assert (vectors * axes[:, :3].t()).sum(1).abs().min() > 0.99
    torch.testing.assert_close(shares, spread[:3].square() / spread.square().sum(), rtol=0.1, atol=0)
    vectors, _ = finders.get("ica")(space, 3, 0)
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(3))
    assert angle(vectors, axes[:, :3].t()) < 0.05
    monkeypatch.setattr(finders_of, "MOST_SLOPES", 500)
    for name in ("jacobian", "local"):
        with pytest.raises(GanvasError, match="derivative by each of the 600 numbers"):
            find(space, name, 1)


@pytest.mark.parametrize("name", ["jacobian", "local"])
def test_large_samples_have_no_jacobians(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of 18 kB with 512 latents and series of a million numbers took 10.8 GB."""
    space = open_space(series_model(), "z")
    assert len(find(space, name, 1)) == 1
    monkeypatch.setattr(finders_of, "MOST_NUMBERS", 4 * 48 - 1)
    with pytest.raises(GanvasError, match=r"192 numbers, and 191 are the most\. Take --method pca or random"):
        find(space, name, 1)


def test_independent_axes_of_a_space_with_fewer_directions_than_numbers(tmp_path: Path) -> None:
    """Vectors of three classes lie in a plane: others of length 0 were written, to a file that was refused."""
    model = ours("dcgan", 3)
    found = find(open_space(model, "class"), "ica", 8)
    assert len(found) == 2
    for each in found:
        assert float(each.vector.norm()) == pytest.approx(1, abs=1e-5)
        assert each.sigma > 1e-3
    save(tmp_path / "d.safetensors", found)
    assert len(load_directions(tmp_path / "d.safetensors", model)) == 2

    class Same(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.ReLU()

        def forward(self, z: Tensor) -> Tensor:
            hidden: Tensor = z + self.layer(-1 - z.abs())
            return hidden

    dead = open_space(ganvas.wrap(Same(), latent_dim=3, value_range=(-1, 1)), "layer:module.layer")
    with pytest.raises(GanvasError, match="are the same: it has no axes"):
        find(dead, "ica", 2)
    assert [each.score for each in find(dead, "pca", 2)] == [0, 0], "not NaN, with which no file is opened"


def test_effects_are_those_of_classes_from_all_over() -> None:
    """Names of classes are sorted: the first 128 are alike."""

    class OfClass(nn.Module):
        def forward(self, z: Tensor, labels: Tensor) -> Tensor:
            return z * (labels[:, None] + 1)

    model = ganvas.wrap(OfClass(), latent_dim=4, num_classes=1000, value_range=(-1, 1))
    space = open_space(model, "z")
    _, labels, _ = unmoved(space)
    assert labels is not None
    assert sorted(labels.tolist()) == [i * 1000 // 128 for i in range(128)]
    assert chance(space).effect == pytest.approx(500, rel=0.02)
    spread = metric(space, space.known[:16], labels=torch.tensor(all_over(16, 1000))).diagonal()
    _, shares = finders.get("jacobian")(space, 4, 0)
    assert float(spread[0]) > 300_000
    assert float(shares.sum()) == pytest.approx(1)
    halves = [int(half.sum()) for half in labels.split(64)]
    assert max(halves) < 2 * min(halves), "and no part of them is of classes beside each other"
    few = open_space(ganvas.wrap(OfClass(), latent_dim=4, num_classes=10, value_range=(-1, 1)), "z")
    _, labels, _ = unmoved(few)
    assert labels is not None
    assert labels.tolist() == [i % 10 for i in range(128)]


def test_points_of_a_large_layer_are_of_classes_from_all_over(monkeypatch: pytest.MonkeyPatch) -> None:
    class Deep(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Identity()

        def forward(self, z: Tensor, labels: Tensor) -> Tensor:
            hidden: Tensor = self.layer(z / 100 + labels[:, None])
            return hidden

    model = ganvas.wrap(Deep(), latent_dim=4, num_classes=1000, value_range=(-1, 1))
    for module in (spaces_of, finders_of):
        monkeypatch.setattr(module, "NUMBERS", 0)
    space = open_space(model, "layer:module.layer")
    assert len(space.known) == 64, "fewer than there are classes"
    assert float(space.mean.mean()) == pytest.approx(500, abs=10)
    points, labels = space.few(16)
    assert labels is not None
    torch.testing.assert_close(points[:, 0], labels.float(), atol=0.1, rtol=0)
    assert float(labels.float().std()) > 200
    held = torch.cat(list(space.batches(64, torch.Generator(), 16)))
    assert float(held.mean()) == pytest.approx(500, abs=10)


def test_sefa_of_series_is_of_what_its_first_layer_reads() -> None:
    """A series model reads a part of z at first, and the rest chunk by chunk."""
    config = NetworkConfig("recurrent", latent_dim=16, conditional=True)
    torch.manual_seed(0)
    generator: Any = build_generator(config, (2, 24), 3).eval().requires_grad_(False)
    whole = generator.whole
    assert 0 < whole < 16
    space = open_space(Model.of_run(generator, None, ganvas.Config(network=config), {}), "z")
    found = find(space, "sefa", 16)
    assert len(found) == whole
    assert all(not each.vector[whole:].any() for each in found)
    rows = torch.nn.functional.normalize(generator.start[0].weight.detach().double()[:, :whole])
    leading = torch.linalg.eigh(rows.t() @ rows).eigenvectors[:, -1]
    assert abs(float(found[0].vector[:whole].double() @ leading)) > 0.99


def test_sefa_of_a_foreign_convolutional_generator() -> None:
    assert len(find(space_of(plain_dcgan(), 20), "sefa", 4)) == 4
    with pytest.raises(
        GanvasError,
        match=r"z and w only, not of .styles.. Those of every space: pca, ica, jacobian",
    ):
        find(open_space(ours(), "styles"), "sefa", 2)


def test_a_hyperplane_is_recovered_and_kept_off_others() -> None:
    space = open_space(ours(), "z")
    z = space.sample(3000, stream(0, "test"))
    wanted, other = torch.eye(8)[2], torch.eye(8)[5]
    noise = 0.1 * torch.randn(3000, generator=torch.Generator().manual_seed(0))
    found = attribute(space, z, z @ (wanted + 0.8 * other) + noise, "mixed")
    assert abs(float(found.vector @ ((wanted + 0.8 * other) / (1 + 0.64) ** 0.5))) > 0.98
    assert found.score > 0.95
    alone = attribute(
        space, z, z @ (wanted + 0.8 * other) + noise, "alone", [attribute(space, z, z @ other, "other")]
    )
    assert abs(float(alone.vector @ other)) < 0.05
    assert abs(float(alone.vector @ wanted)) > 0.97
    guess = attribute(space, z, torch.randn(3000, generator=torch.Generator().manual_seed(1)), "nothing")
    assert guess.score < 0.6, "the accuracy is on held-out samples"
    with pytest.raises(GanvasError, match="at least 4 samples on each side"):
        attribute(space, z, torch.zeros(3000), "constant")
    with pytest.raises(GanvasError, match="kept ones contain it"):
        attribute(space, z[:, :], z @ wanted, "same", find(space, "random", 8))


def test_times_random_is_that_of_many_random_directions() -> None:
    """For x = A z a random direction moves a sample by |A v|, v on the unit sphere: its mean, by 100,000 of them."""
    module = Linear()
    found = chance(space_of(module, 6))
    sphere = torch.nn.functional.normalize(torch.randn(100_000, 6, generator=stream(2, "sphere")), dim=1)
    exact = float((sphere @ module.layer.weight.detach().t()).norm(dim=1).mean())
    assert found.effect == pytest.approx(exact, abs=3 * found.error)
    assert 0 < found.error < 0.1 * exact
    times, error = found.times(2 * found.effect)
    assert times == pytest.approx(2)
    assert error == pytest.approx(2 * found.error / found.effect)


@pytest.mark.parametrize(("size", "cosine"), [(64, 0.998), (512, 0.98)])
def test_a_supervised_direction_in_z_is_near_the_truth(size: int, cosine: float) -> None:
    """z is white by its own formula; a covariance of samples would turn the normal to .991 of the truth, and to .925."""
    space = space_of(nn.Linear(size, 2), size)
    truth = torch.nn.functional.normalize(torch.randn(size, generator=stream(1, "truth")), dim=0)
    z = space.sample(5000, stream(3, "test"))
    found = attribute(space, z, z @ truth, "x")
    assert float(found.vector @ truth) > cosine
    assert found.sigma == 1


def test_jacobians_are_those_of_small_pictures() -> None:
    generator = nn.Sequential(nn.Unflatten(1, (3, 2, 2)), nn.Upsample((256, 128)), nn.Tanh())
    model = ganvas.wrap(generator, latent_dim=12)
    seen = list[torch.Size]()

    def see(samples: Tensor) -> Tensor:
        seen.append(samples.shape)
        return small_pyramid(samples)

    space = open_space(model)
    torch.testing.assert_close(metric(space, space.numbered(2)), metric(space, space.numbered(2), see))
    assert seen[0][-2:] == (256, 128)


def test_jacobians_where_no_gradient_is_kept() -> None:
    """An operation without forward mode asks for gradients, whoever calls."""

    class Twice(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return 2 * x

        @staticmethod
        def backward(ctx: Any, *given: Tensor) -> Tensor:
            return 2 * given[0]

    class Doubled(Linear):
        def forward(self, z: Tensor) -> Tensor:
            return Twice.apply(super().forward(z))  # type: ignore[no-any-return]

    space = space_of(Doubled(), 6)
    with torch.no_grad():
        found = jacobians(space, space.numbered(1))[1][0]
    torch.testing.assert_close(found, 2 * space.model.generator.get_submodule("module.layer").weight)


def test_attributes_are_kept_where_layers_are_chosen() -> None:
    torch.manual_seed(0)
    model = ours()
    (direction,) = find(open_space(model, "w"), "random", 1)
    found = draw_edit(model, direction, layers=[0, 1], keep=["brightness"], n=2)
    assert found.space.name == "w+"
    assert found.direction is not None
    assert found.direction.layers == (0, 1)
    assert found.direction.made["kept"] == ["brightness"]
    assert "sigmas:" in found.direction._repr_html_()


def test_edits_move_by_sigmas_and_by_layers() -> None:
    model = ours()
    w, plus = open_space(model, "w"), open_space(model, "w+")
    (direction,) = find(w, "pca", 1)
    points = w.sample(4, stream(0, "test"))
    moved = edit(w, points, direction, torch.tensor([0.0, 1.0, 2.0, -1.0]))
    torch.testing.assert_close(
        ((moved - points) @ direction.vector) / direction.sigma,
        torch.tensor([0.0, 1, 2, -1]),
        atol=1e-4,
        rtol=0,
    )

    rows = plus.sample(4, stream(0, "test"))
    some = edit(plus, rows, replace(direction, layers=(1,)), 2.0)
    assert torch.equal(some[:, 0], rows[:, 0])
    assert not torch.allclose(some[:, 1], rows[:, 1])
    with pytest.raises(GanvasError, match=r"one of 'w', the points are of 'z'"):
        edit(open_space(model, "z"), points, direction, 1.0)
    with pytest.raises(GanvasError, match=r"in w\+ only"):
        edit(w, points, replace(direction, layers=(1,)), 1.0)


def test_saved_directions_belong_to_their_model(tmp_path: Path) -> None:
    model = ours()
    found = find(open_space(model, "w"), "pca", 2)
    path = tmp_path / "d.safetensors"
    save(str(path), found)
    loaded = load_directions(str(path), model)
    assert all(
        torch.equal(a.vector, b.vector) and a.sigma == b.sigma for a, b in zip(found, loaded, strict=True)
    )
    with torch.no_grad():
        next(model.generator.parameters()).add_(1e-3)  # a `Model` stands for weights as they were
    with pytest.raises(GanvasError, match="of another model"):
        load_directions(path, replace(model))


def test_what_is_transparent_is_no_colour() -> None:
    """Opaque black had a brightness of 64, and clear pixels one of 0."""
    colours = torch.randint(0, 256, (5, 3, 12, 12), generator=torch.Generator().manual_seed(0)).byte()
    solid = torch.cat([colours, torch.full_like(colours[:, :1], 255)], 1)
    clear = torch.cat([colours, torch.zeros_like(colours[:, :1])], 1)
    for name in attributes:
        torch.testing.assert_close(attributes.get(name)(solid), attributes.get(name)(colours))
    assert attributes.get("brightness")(clear).tolist() == [255.0] * 5
    opaque, expected = _pixel_masks(solid), _pixel_masks(colours)
    assert opaque.keys() == expected.keys()
    assert all(opaque[name].equal(mask) for name, mask in expected.items())


def test_attributes_measure_what_they_say() -> None:
    images = torch.zeros(2, 1, 28, 28, dtype=torch.uint8)
    images[0, 0, 10:18, 4:24] = 200  # wide
    images[1, 0, 4:24, 10:18] = 200  # tall
    score = {name: attributes.get(name)(images) for name in attributes}
    assert score["width"][0] > 2 * score["width"][1]
    assert score["height"][1] > 2 * score["height"][0]
    assert score["brightness"][0] == pytest.approx(score["brightness"][1])
    leaning = torch.zeros(2, 1, 28, 28, dtype=torch.uint8)
    for row in range(20):
        leaning[0, 0, 4 + row, 4 + row] = 200
        leaning[1, 0, 4 + row, 23 - row] = 200
    slants = attributes.get("slant")(leaning)
    assert slants[0] == pytest.approx(1, abs=0.15)
    assert slants[1] == pytest.approx(-1, abs=0.15)


@pytest.mark.slow
def test_directions_of_the_packaged_model_do_more_than_random_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "pca.safetensors"
    assert (
        main(["directions", "fashion", "--count", "3", "--out", str(out), "--device", "cpu", "--json"]) == 0
    )
    document = json.loads(capsys.readouterr().out)
    assert all(row["effect_over_random"] > 2 for row in document["directions"])
    first = document["directions"][0]
    assert main(["directions", "fashion", "--count", "1", "--out", str(tmp_path / "one.safetensors"), "--device", "cpu",
                 "--json"]) == 0  # fmt: skip
    (alone,) = json.loads(capsys.readouterr().out)["directions"]
    for key in ("effect_over_random", "effect_over_random_error"):
        assert alone[key] == pytest.approx(first[key]), "however many directions were asked for"
    assert out.with_suffix(".png").is_file()
    picture = tmp_path / "edit.png"
    assert (
        main(
            [
                "edit",
                "fashion",
                "--direction",
                str(out),
                "--strength",
                "-2",
                "2",
                "--n",
                "4",
                "--out",
                str(picture),
                "--device",
                "cpu",
            ]
        )
        == 0
    )
    assert picture.is_file()
    assert (
        main(
            [
                "edit",
                "fashion",
                "--direction",
                str(out),
                "--layers",
                "1",
                "2",
                "--out",
                str(picture),
                "--device",
                "cpu",
            ]
        )
        == 0
    )
    capsys.readouterr()
    assert main(["edit", "fashion", "--direction", str(out), "--which", "9"]) == 2
    assert "numbers 0 to 2" in capsys.readouterr().err


@pytest.mark.slow
def test_an_attribute_direction_changes_its_attribute(tmp_path: Path) -> None:
    """Re-scored on new samples: the attribute moves, the one that was kept moves far less."""
    out = tmp_path / "width.safetensors"
    flags = ["--method", "attribute", "--attribute", "width", "--keep", "brightness", "--samples", "1000"]
    assert main(["directions", "fashion", *flags, "--out", str(out), "--device", "cpu"]) == 0
    model = ganvas.load("fashion", device="cpu")
    space = open_space(model, "w")
    (direction,) = load_directions(out, model)
    with torch.no_grad():
        points = space.sample(300, stream(9, "test"))
        change = {}
        for name in ("width", "brightness"):
            measure = open_attribute(name, model)
            before, after = (
                measure(model.to_data(space.decode(edit(space, points, direction, s)))) for s in (-1.5, 1.5)
            )
            change[name] = float((after - before).mean() / measure(model.to_data(space.decode(points))).std())
    assert change["width"] > 1
    assert abs(change["brightness"]) < change["width"] / 2


@pytest.mark.parametrize(
    ("change", "vector", "message"),
    [
        ({}, torch.tensor([math.nan, 0, 0, 1]), "not finite"),
        ({}, torch.zeros(4), "zero, or not finite"),
        ({}, torch.ones(4, dtype=torch.int64), "of torch.int64"),
        ({}, torch.ones(5), r"has \(5,\) numbers"),
        ({}, torch.ones(2, 2), r"has \(2, 2\) numbers"),
        ({"sigma": "one"}, None, "not finite"),
        ({"sigma": 0.0}, None, "sigma of 0"),
        ({"sigma": math.nan}, None, "not finite"),
        ({"cost": "much"}, None, "not finite"),
        ({"effects": {"brightness": math.inf}}, None, "not finite"),
        ({"effects": [1]}, None, "damaged"),
        ({"name": 3}, None, "are texts"),
        ({"space": "nowhere"}, None, "no space 'nowhere'"),
        ({"layers": [-1]}, None, "layers"),
        ({"layers": ["a"]}, None, "layers"),
        ({"other": 1}, None, "damaged"),
        ({"made": ["kept"]}, None, "damaged"),
    ],
)
def test_directions_from_outside_are_checked(
    tmp_path: Path, change: dict[str, Any], vector: torch.Tensor | None, message: str
) -> None:
    model = ganvas.wrap(
        torch.nn.Sequential(torch.nn.Linear(4, 2), torch.nn.Tanh()), latent_dim=4, value_range=(-1, 1)
    )
    path = tmp_path / "d.safetensors"
    save(path, find(open_space(model, "z"), "random", 1))
    assert len(load_directions(path, model)) == 1
    (row,) = io.read_header(path)["directions"]
    tensors = load_file(path) if vector is None else {"0": vector}
    rewrite(path, path, {"directions": [{**row, **change}]}, tensors)
    with pytest.raises(GanvasError, match=message):
        load_directions(path, model)


def test_a_space_is_opened_once_for_all_its_directions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each direction of a hidden layer drew two samples to know the shape: 16,000 of them, in 5 MB, took hours."""
    model = ours()
    layer = next(name for name in spaces_of.spaces(model) if name.startswith("layer:"))
    found = find(open_space(model, layer), "random", 5)
    save(tmp_path / "d.safetensors", [*found, *find(open_space(model, "z"), "random", 5)])
    runs = list[bool]()
    reached = spaces_of.HiddenLayer._reached

    def counted(self: Any, z: Tensor, labels: Tensor | None, *, whole: bool) -> Tensor:
        runs.append(whole)
        return reached(self, z, labels, whole=whole)

    monkeypatch.setattr(spaces_of.HiddenLayer, "_reached", counted)
    assert len(load_directions(tmp_path / "d.safetensors", model)) == 10
    assert len(runs) == 2


def test_layers_that_the_model_lacks_are_refused(tmp_path: Path) -> None:
    """Moving along them ended in an IndexError."""
    model = ganvas.load("fashion", device="cpu")
    path = tmp_path / "d.safetensors"
    for name in ("w", "w+"):
        space = open_space(model, name)
        found = find(space, "random", 1)
        save(path, [replace(found[0], layers=(3,))])
        assert load_directions(path, model)[0].layers == (3,)
        save(path, [replace(found[0], layers=(4,))])
        with pytest.raises(GanvasError, match=r"has the layers \(4,\), this model 4"):
            load_directions(path, model)


def test_effects_of_large_pictures_are_measured_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 1,024 px the samples before and after, and what is seen of them, took 10 GB."""
    where, rows = open_space(ours("dcgan", 3), "z"), list[int]()

    def see(samples: torch.Tensor) -> torch.Tensor:
        rows.append(len(samples))
        return pyramid(samples)

    numbers = math.prod(where.model.shape)
    whole, by_chance = find(where, "random", 2, see=see), chance(where, see)
    assert max(rows) == 128
    rows.clear()
    monkeypatch.setattr("ganvas.latent.directions.HELD", numbers)
    monkeypatch.setattr(paths, "NUMBERS", 50 * numbers)
    assert unmoved(where).drawn is None
    parts, again = find(where, "random", 2, see=see), chance(where, see)
    assert max(rows) == 50
    assert again.effect == pytest.approx(by_chance.effect, rel=1e-4)
    for one, other in zip(whole, parts, strict=True):
        assert other.effect == pytest.approx(one.effect, rel=1e-4)
        assert other.effects == pytest.approx(one.effects, rel=0.01, abs=1e-3)


def test_axes_of_large_layers_are_those_of_scikit_learn_in_little_memory() -> None:
    """Behind the 1,936 numbers of a z of another toolkit the first layer has a gigabyte, and was held four times."""
    random = torch.Generator().manual_seed(0)
    points = torch.randn(3000, 20, generator=random) @ torch.randn(20, 600, generator=random) + 3
    fitted = PCA(4, svd_solver="randomized", random_state=0)
    places = fitted.fit_transform(points.numpy())
    tracemalloc.start()
    axes, shares, along = finders_of._axes_of(finders_of._joined(points.split(500), 3000), 4, 0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2e6, "the points have 7.2"
    assert angle(axes, torch.from_numpy(fitted.components_)) < 1e-3
    np.testing.assert_allclose(shares.numpy(), fitted.explained_variance_ratio_, rtol=1e-4)
    np.testing.assert_allclose(along.abs().numpy(), np.abs(places), atol=1e-2)


def test_directions_of_a_collapsed_space_are_not_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # A file with one of them was written, and refused by whatever opens it.
    model = ours("style")
    for weight in model.generator.parameters():
        weight.zero_()
    model.save(tmp_path / "m.safetensors")
    out = tmp_path / "d.safetensors"
    assert main(["directions", str(tmp_path / "m.safetensors"), "--method", "random", "--out", str(out)]) == 2
    assert "all points of w are the same" in capsys.readouterr().err.lower()
    assert not out.exists()


def test_directions_along_which_nothing_differs_are_left_out(tmp_path: Path) -> None:
    # Of a layer with a dead unit a file was written that nothing opened.
    class Half(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 3, bias=False)
            self.layer.weight.data = torch.diag(torch.tensor([1.0, 2.0, 0.0]))

        def forward(self, z: Tensor) -> Tensor:
            hidden: Tensor = self.layer(z)
            return hidden

    model = ganvas.wrap(Half(), latent_dim=3, value_range=(-1, 1))
    save(tmp_path / "d.safetensors", found := find(open_space(model, "layer:module.layer"), "pca", 3))
    assert [each.name for each in found] == ["pca-0", "pca-1"]
    assert len(load_directions(tmp_path / "d.safetensors", model)) == 2
