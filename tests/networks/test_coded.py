"""What stands between a normal z and the codes: quantiles, densities and slopes against closed forms and other libraries."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.mixture import GaussianMixture

from ganvas.config import NetworkConfig
from ganvas.errors import GanvasError
from ganvas.networks import build_critic, build_generator, coded, families
from ganvas.networks.coded import Book, Coded, Mixture, encoder_network, mean_codes


def mixture(weights: list[float], means: list[list[float]], factors: list[list[list[float]]]) -> Mixture:
    made = Mixture(len(weights), len(means[0]))
    for name, values in (("weights", weights), ("means", means), ("factors", factors)):
        getattr(made, name).copy_(torch.tensor(values))
    return made


@pytest.fixture(scope="module")
def two() -> Mixture:
    """Two normals in three dimensions, apart and oblique."""
    return mixture(
        [0.25, 0.75], [[-3.0, 0.5, 1.0], [2.0, -1.0, 0.0]],
        [[[1.0, 0, 0], [0.5, 0.5, 0], [0.25, 0, 2.0]], [[0.5, 0, 0], [-1.0, 1.0, 0], [0, 0.5, 0.25]]],
    )  # fmt: skip


def test_one_component_is_linear() -> None:
    one = mixture([1.0], [[3.0, -1.0]], [[[2.0, 0.0], [0.5, 0.25]]])
    z = torch.tensor([[1.0, 2.0], [-4.0, 0.0]])
    expected = torch.tensor([[5.0, 0.0], [-5.0, -3.0]])
    torch.testing.assert_close(one(z), expected)
    torch.testing.assert_close(one.back(expected), z)


def test_the_first_number_is_the_quantile_of_its_marginal(two: Mixture) -> None:
    z = torch.linspace(-4, 4, 9, dtype=torch.float64)[:, None].expand(-1, 3)
    x = two(z)[:, 0].numpy()
    below = 0.25 * stats.norm.cdf(x, -3, 1) + 0.75 * stats.norm.cdf(x, 2, 0.5)
    np.testing.assert_allclose(below, stats.norm.cdf(z[:, 0].numpy()), rtol=1e-9)


def test_there_and_back(two: Mixture) -> None:
    z = 2 * torch.randn(200, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(two.back(two(z)), z, atol=1e-7, rtol=1e-7)


def test_what_is_drawn_component_by_component_has_the_same_distribution(two: Mixture) -> None:
    random = torch.Generator().manual_seed(0)
    drawn = two.drawn(torch.randn(2000, 3, generator=random), torch.rand(2000, generator=random))
    for number in two.back(drawn.double()).T:
        assert stats.kstest(number.numpy(), "norm").statistic < 1.63 / 2000**0.5


def test_density_is_that_of_scipy_and_of_the_change_of_variables(two: Mixture) -> None:
    z = torch.tensor([[0.3, -1.2, 0.7]], dtype=torch.float64)
    x = two(z)
    log_density = two.log_density(x)
    covariances = two.factors @ two.factors.transpose(1, 2)
    parts = [
        float(w) * stats.multivariate_normal.pdf(x[0].numpy(), m.numpy(), c.numpy())
        for w, m, c in zip(two.weights, two.means, covariances, strict=True)
    ]
    assert float(log_density) == pytest.approx(np.log(sum(parts)), abs=1e-6)
    slopes = torch.autograd.functional.jacobian(lambda a: two(a[None])[0], z[0])
    normal = stats.norm.logpdf(z.numpy()).sum()
    assert float(log_density) == pytest.approx(float(normal - torch.linalg.slogdet(slopes)[1]), abs=1e-6)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what torch itself loads for forward mode
def test_the_mean_of_z_has_slopes(two: Mixture) -> None:
    """Searches and sliders begin there."""
    z = torch.zeros(1, 3, dtype=torch.float64)
    there, beside = (torch.func.jacrev(two)(each)[0, :, 0] for each in (z, z - 1e-7))
    assert there.diagonal().min() > 0
    torch.testing.assert_close(there, beside, atol=1e-3, rtol=1e-3)


@pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")  # torch's own, of forward mode
def test_slopes_are_those_of_differences(two: Mixture) -> None:
    z = torch.tensor([[0.3, -0.2, 0.7]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(two, (z,), eps=1e-6, atol=1e-4, check_forward_ad=True)
    assert torch.autograd.gradcheck(two.back, (two(z).detach().requires_grad_(),), eps=1e-6, atol=1e-4)


def test_one_normal_is_that_of_scikit_learn_whatever_the_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A million codes of 64 numbers took several gigabytes."""
    codes = 100 + torch.randn(501, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor(
        [1.0, 3.0, 1e-4]
    )
    monkeypatch.setattr(coded, "MOMENTS_AT_ONCE", 300)
    found = Mixture(1, 3)
    found.fit(codes)
    floor = 1e-5 * float(codes.double().var(0).mean())
    wanted = GaussianMixture(1, reg_covar=floor).fit(codes.double().numpy())
    np.testing.assert_allclose(found.means.double().numpy(), wanted.means_, rtol=1e-6)
    covariance = (found.factors[0] @ found.factors[0].t()).double().numpy()
    np.testing.assert_allclose(covariance, wanted.covariances_[0], rtol=1e-4, atol=1e-6)


def test_what_is_fitted_is_what_scikit_learn_finds(two: Mixture) -> None:
    z = torch.randn(1500, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    codes = two(z)
    found = Mixture(2, 3)
    found.fit(codes)
    theirs = GaussianMixture(2, random_state=0).fit(codes.numpy())
    ours = float(found.log_density(codes).mean())
    assert ours == pytest.approx(theirs.score(codes.numpy()), abs=2e-3)
    back = found.back(codes)
    for (
        number
    ) in back.T:  # normal again: 1.63 / sqrt(n) is the 1 % point of Kolmogorov and Smirnov's distance
        assert stats.kstest(number.numpy(), "norm").statistic < 1.63 / 1500**0.5


def test_too_few_codes_are_refused() -> None:
    with pytest.raises(GanvasError, match=r"mixture of 3 needs more than 3 codes.* got 2"):
        Mixture(3, 2).fit(torch.zeros(2, 2))
    with pytest.raises(GanvasError, match="2,048 numbers at most; these have 65,536"):
        Mixture(10, 2**16)  # of a code book, or an autoencoder at 1024 px: 172 GB


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("weights", [0.0, 0.0], "shares of its mixture"),
        ("weights", [-0.5, 1.5], "shares of its mixture"),
        ("weights", [1e38, 1.0], "shares of its mixture"),
        ("factors", [[[0.0, 0.0], [0.0, 0.0]]] * 2, "spreads above 0"),
        ("factors", [[[1.0, 0.0], [0.0, -1.0]]] * 2, "spreads above 0"),
        ("factors", [[[1.0, 2.0], [0.0, 1.0]]] * 2, "not triangular"),
    ],
)
def test_numbers_that_no_mixture_has_are_not_loaded(name: str, value: list[Any], said: str) -> None:
    made = Mixture(2, 2)
    with pytest.raises(GanvasError, match=said):
        made.load_state_dict({**Mixture(2, 2).state_dict(), name: torch.tensor(value)})


@pytest.mark.parametrize(("more", "taken"), [(0.0, True), (0.004, True), (-0.004, True), (0.02, False)])
def test_shares_that_were_rounded_are_loaded(more: float, taken: bool) -> None:
    """As bfloat16 rounds them: each by a part in 256 at most, so that the sum is 1 to that."""
    shares = torch.full((64,), 1 / 64)
    shares[0] += more
    made = Mixture(64, 2)
    given = {**made.state_dict(), "weights": shares}
    if taken:
        made.load_state_dict(given)
        assert torch.equal(made.weights, shares)
    else:
        with pytest.raises(GanvasError, match="whose sum is 1"):
            made.load_state_dict(given)


def test_a_book_gives_the_nearest_entries_and_passes_gradients() -> None:
    book = Book(3, 2)
    book.vectors.copy_(torch.tensor([[0.0, 0.0], [1.0, 1.0], [5.0, -5.0]]))
    codes = torch.tensor([[0.4, 0.4, 0.7, 0.7], [9.0, -9.0, -1.0, -1.0]], requires_grad=True)
    assert book.numbers(codes).tolist() == [[0, 1], [2, 0]]
    found = book(codes)
    assert found.tolist() == [[0, 0, 1, 1], [5, -5, 0, 0]]
    found.sum().backward()
    assert codes.grad is not None
    assert (codes.grad == 1).all()


def test_a_decoder_behind_a_mixture_is_a_generator() -> None:
    config = NetworkConfig("mlp", 4, codes={"components": 2}, generator={"hidden": [8]})
    made = build_generator(config, (1, 8, 8), 0)
    assert isinstance(made, Coded)
    assert (made.latent_dim, made.prior, made.shape) == (4, "normal", (1, 8, 8))
    z = torch.randn(3, 4)
    torch.testing.assert_close(made.back(made.codes(z)), z, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(made(z), made.decoder(made.codes(z)))


def test_a_generator_of_codes_has_no_way_back() -> None:
    inner = {"name": "mlp", "latent_dim": 4, "generator": {"hidden": [8], "output": "linear"}}
    made = build_generator(NetworkConfig("mlp", 4, codes={"network": inner}), (1, 8, 8), 0)
    assert isinstance(made, Coded)
    assert made.latent_dim == 4
    assert made(torch.randn(2, 4)).shape == (2, 1, 8, 8)
    with pytest.raises(GanvasError, match="drawn by a generator"):
        made.back(torch.randn(2, 4))


@pytest.mark.parametrize(
    ("codes", "said"),
    [
        ({"component": 3}, r"Unknown setting network.codes.component\. Did you mean 'components'"),
        ({"components": 65}, "components is 65; it must be a whole number from 0 to 64"),
        ({"components": 2.0}, "components is 2.0"),
        ({"book": 8, "dim": 3}, "4 numbers of a code are not whole groups"),
        ({"network": {"name": "mlp", "latent_dim": 6}}, "takes 6 numbers, the decoder 4"),
        ({"network": {"name": "mlp", "latent_dim": 4, "conditional": True}}, "is a plain generator"),
    ],
)
def test_what_cannot_stand_there_is_refused(codes: dict[str, object], said: str) -> None:
    with pytest.raises(GanvasError, match=said):
        build_generator(NetworkConfig("mlp", 4, codes=codes), (1, 8, 8), 0)


@pytest.mark.parametrize(
    ("family", "options"),
    [
        *((name, {}) for name in ("dcgan", "style", "stylegan2", "stylegan3", "progressive", "r3", "resnet", "recurrent", "mlp")),
        ("projected", {"pixels": 4, "side": 32}),
    ],
)  # fmt: skip
def test_codes_of_a_sample_are_its_own(family: str, options: dict[str, Any]) -> None:
    """Critics of StyleGAN2, of progressive growing and of pixels beside a projected one saw the batch as encoders, too."""
    shape = (2, 24) if family == "recurrent" else (1, 16, 16)
    critic = {**families.get(family).tiny, **options}
    config = NetworkConfig("dcgan", latent_dim=6, critic_name=family, critic=critic)
    encoder = build_critic(encoder_network(config, 6), shape, 0).eval().requires_grad_(False)
    x = torch.randn(8, *shape, generator=torch.Generator().manual_seed(0))
    apart = torch.cat([mean_codes(encoder, each[None], 6) for each in x])
    torch.testing.assert_close(mean_codes(encoder, x, 6), apart, atol=1e-5, rtol=1e-5)
