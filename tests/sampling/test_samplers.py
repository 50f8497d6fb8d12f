"""Every sampler against exact densities: the identity as the generator, so that p_G is the prior and the ratio is known."""

import math
import os
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp
from torch import Tensor, nn

import ganvas
from ganvas.errors import GanvasError
from ganvas.latent import LatentZ, open_space
from ganvas.latent import space as spaces_of
from ganvas.latent.space import OF_A_CLASS, LatentSpace
from ganvas.model import Model, ModelInfo
from ganvas.networks.base import GeneratorBase
from ganvas.sampling import Drawn, Truncated, base, samplers
from ganvas.sampling.base import Target
from ganvas.sampling.langevin import Mala
from ganvas.sampling.rejection import optimal_acceptance
from ganvas.sampling.settings import settings
from ganvas.sampling.truncation import Mode
from ganvas.sampling.volume import log_volumes
from tests.held import Held, is_picture

CENTRES = torch.tensor([[-0.9, 0.0], [0.9, 0.5]])
SIGMA = 0.45


def identity(prior: str = "normal", size: int = 2) -> LatentZ:
    return LatentZ(ganvas.wrap(nn.Identity(), latent_dim=size, shape=(size,), prior=prior))


def exact(n: int, seed: int) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    chosen = torch.randint(2, (n,), generator=random)
    return CENTRES[chosen] + SIGMA * torch.randn(n, 2, generator=random)


def log_ratio(samples: Tensor, labels: Tensor | None = None) -> Tensor:
    """Two Gaussians over the standard normal prior."""
    each = -(samples[:, None] - CENTRES).square().sum(2) / (2 * SIGMA**2) - math.log(2 * math.pi * SIGMA**2)
    prior = -samples.square().sum(1) / 2 - math.log(2 * math.pi)
    found: Tensor = each.logsumexp(1) - math.log(2) - prior
    return found


def same_distribution(found: Tensor, truth: Tensor) -> float:
    """Smallest Kolmogorov-Smirnov p-value over eight projections, times their number."""
    angles = torch.arange(8) * math.pi / 8
    axes = torch.stack([angles.cos(), angles.sin()])
    return min(1.0, 8 * min(ks_2samp((found @ a).numpy(), (truth @ a).numpy()).pvalue for a in axes.t()))


EXACT = {name: samplers.get(name).exact for name in samplers if samplers.get(name).exact is not None}


@pytest.mark.parametrize("n", [300, 2000])
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("name", EXACT)
def test_exact_samplers_reach_the_data(name: str, seed: int, n: int) -> None:
    drawn = samplers.get(name)(
        identity(), log_ratio, n, generator=torch.Generator().manual_seed(seed), **EXACT[name]
    )
    truth = exact(20_000, 100 + seed)
    assert same_distribution(drawn.samples, truth) > 1e-3
    torch.testing.assert_close(drawn.log_ratio.float(), log_ratio(drawn.samples))


def test_the_test_has_power() -> None:
    """What the exact samplers pass, the prior fails, and so do gradient flow and half-way chains."""
    truth = exact(20_000, 0)
    for name, options in {
        "prior": {},
        "metropolis": {"steps": 1},
        "resample": {"candidates": 2},
        "flow": {},
    }.items():
        assert (
            same_distribution(samplers.get(name)(identity(), log_ratio, 2000, **options).samples, truth)
            < 1e-6
        )


@pytest.mark.parametrize("prior", ["uniform", "sphere"])
@pytest.mark.parametrize("name", ["budget", "langevin", "metropolis"])
def test_other_priors_keep_their_density(prior: str, name: str) -> None:
    """p_G uniform on a square, or on a circle; the ratio exp(1.5 x): the first coordinate has a known distribution."""
    space = identity(prior)
    drawn = samplers.get(name)(
        space,
        lambda samples, labels: 1.5 * samples[:, 0],
        2000,
        **EXACT[name],
    )
    grid = torch.linspace(-1, 1, 200_001, dtype=torch.float64)
    if prior == "uniform":
        values, weights = grid, (1.5 * grid).exp()
    else:  # x = sqrt(2) cos(angle), the angle uniform
        values = math.sqrt(2) * (grid * math.pi).cos()
        weights = (1.5 * values).exp()
    truth = np.random.default_rng(0).choice(values.numpy(), 20_000, p=(weights / weights.sum()).numpy())
    assert ks_2samp(drawn.samples[:, 0].numpy(), truth).pvalue > 1e-3
    second = drawn.samples[:, 1]
    if prior == "uniform":  # and the second is free of the first
        assert ks_2samp(second.numpy(), grid[::10].numpy()).pvalue > 1e-3
    else:  # and the points are still on the circle
        torch.testing.assert_close(drawn.samples.square().sum(1), torch.full((2000,), 2.0), atol=1e-4, rtol=0)


class Counting:
    """A ratio that counts the samples it judged."""

    def __init__(self) -> None:
        self.seen = 0

    def __call__(self, samples: Tensor, labels: Tensor | None) -> Tensor:
        self.seen += len(samples)
        return log_ratio(samples)


def test_budgets_are_kept() -> None:
    for k in (1, 3, 20):
        ratio = Counting()
        drawn = samplers.get("budget")(identity(), ratio, 700, budget=k)
        assert ratio.seen == 700 * k
        assert drawn.cost == k
        assert len(drawn.samples) == 700
    for name, options, cost in (
        ("metropolis", {"steps": 7}, 7),
        ("resample", {"candidates": 7}, 7),
        ("prior", {}, 1),
    ):
        ratio = Counting()
        drawn = samplers.get(name)(identity(), ratio, 700, **options)
        assert ratio.seen == 700 * cost == 700 * drawn.cost
    drawn = samplers.get("reject")(identity(), log_ratio, 5000, budget=4.0)
    assert drawn.cost == pytest.approx(4, rel=0.15)
    # With heavy tails the largest ratio goes on rising while it runs.
    drawn = samplers.get("reject")(
        identity(), lambda samples, labels: samples.square().sum(1), 2000, budget=10.0
    )
    assert drawn.info["raised"] > 0
    assert drawn.cost == pytest.approx(10, rel=0.3)


@pytest.mark.parametrize("seed", [0, 1])
def test_optimal_acceptance_is_the_truncated_ratio(seed: int) -> None:
    """min(1, c r) with the wanted sum, for ratios over forty orders of magnitude."""
    d = 10 * torch.randn(5000, generator=torch.Generator().manual_seed(seed)).double()
    probability, log_c = optimal_acceptance(d, 500)
    assert float(probability.sum()) == pytest.approx(500, rel=1e-9)
    torch.testing.assert_close(probability, (d + log_c).exp().clamp(max=1))


def test_mala_reaches_its_acceptance_and_noise_is_its_deviation() -> None:
    drawn = samplers.get("langevin")(identity(), log_ratio, 1000, steps=100)
    assert drawn.info["acceptance"] == pytest.approx(0.574, abs=0.05)
    drawn = samplers.get("ex2")(identity(), log_ratio, 1000, steps=20)
    assert drawn.info["acceptance"] == pytest.approx(0.67, abs=0.05)
    # On a flat ratio the step from 0 is noise alone: its variance is the step size.
    target = Target(
        identity(), lambda samples, labels: 0 * samples[:, 0], 1, torch.Generator().manual_seed(0), None
    )
    start, slope = target.slope(torch.zeros(20_000, 2), None)
    moved, _ = Mala(target, 0.09, 0.5, adjust=False).step(start, slope)
    assert float(moved.noise.var()) == pytest.approx(0.09, rel=0.03)


def test_unadjusted_langevin_is_near() -> None:
    """With small steps the bias is small: mean and spread of the prior under a flat ratio."""
    drawn = samplers.get("langevin")(
        identity(), lambda samples, labels: 0 * samples[:, 0], 3000, steps=60, size=0.05, adjust=False
    )
    assert float(drawn.samples.std()) == pytest.approx(1.0, abs=0.04)


def test_chains_start_at_real_ratios_and_start_again() -> None:
    class Started:
        real = torch.full((10,), 50.0)  # no generated sample is accepted against these

        def __call__(self, samples: Tensor, labels: Tensor | None) -> Tensor:
            return log_ratio(samples)

    drawn = samplers.get("metropolis")(identity(), Started(), 500, steps=20)
    assert drawn.info["restarts"] == 500
    assert drawn.log_ratio.isfinite().all()
    assert (
        drawn.log_ratio.mean() > log_ratio(samplers.get("prior")(identity(), log_ratio, 500).samples).mean()
    )


ALL = [name for name in samplers if name != "prior"]


@pytest.mark.parametrize("name", list(samplers))
def test_every_sampler_on_a_plain_generator(name: str) -> None:
    """The contract: shapes, finite ratios, the same numbers for the same stream, progress, costs, errors."""
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Linear(5, 16), nn.Tanh(), nn.Linear(16, 3 * 64), nn.Unflatten(1, (3, 8, 8)), nn.Tanh()
    )
    space = LatentZ(ganvas.wrap(module, latent_dim=5))

    def ratio(samples: Tensor, labels: Tensor | None) -> Tensor:
        return samples.flatten(1).mean(1) * 3

    heard: list[tuple[int, int]] = []

    def draw(seed: int) -> Drawn:
        return samplers.get(name)(
            space, ratio, 37, generator=torch.Generator().manual_seed(seed), callback=lambda d, t: heard.append((d, t)),
            **samplers.get(name).tiny,
        )  # fmt: skip

    drawn, again, other = draw(1), draw(1), draw(2)
    assert drawn.samples.shape == (37, 3, 8, 8)
    assert drawn.samples.dtype == torch.uint8
    assert drawn.points.shape == (37, 5)
    assert drawn.cost >= 1
    assert torch.equal(drawn.samples, again.samples)
    assert not torch.equal(drawn.samples, other.samples)
    assert torch.equal(space.model.to_data(space.decode(drawn.points)), drawn.samples) or name == "truncate"
    assert all(0 < done <= total for done, total in heard)
    with pytest.raises(GanvasError, match="at least 1"):
        samplers.get(name)(space, ratio, 0)


@pytest.mark.parametrize("name", ALL)
def test_what_has_no_ratio_is_never_chosen(name: str) -> None:
    """The ratio is NaN on a third of the plane. Samplers that do not judge each candidate draw there, as the docs say."""

    def holed(samples: Tensor, labels: Tensor | None) -> Tensor:
        return torch.where(samples[:, 0] > 0.4, float("nan"), log_ratio(samples))

    drawn = samplers.get(name)(identity(), holed, 300, **samplers.get(name).tiny)
    assert drawn.log_ratio.isfinite().all()
    if name in EXACT or samplers.get(name).gradient:
        assert float(drawn.samples[:, 0].max()) <= 0.4
        with pytest.raises(GanvasError, match="NaN or infinite"):
            samplers.get(name)(identity(), lambda samples, labels: samples[:, 0] * float("nan"), 50)
    elif samplers.get(name).blind:
        assert float(drawn.samples[:, 0].max()) > 0.4
        assert (drawn.log_ratio[drawn.samples[:, 0] > 0.4] == 0).all()


class Classes(nn.Module):
    """Class k draws around 3 k."""

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        return z + 3.0 * labels[:, None]


@pytest.mark.parametrize("name", list(samplers))
def test_labels_stay_with_their_slots(name: str) -> None:
    model = ganvas.wrap(Classes(), latent_dim=2, shape=(2,), num_classes=3)
    labels = torch.tensor([2, 0, 0, 1]).repeat(25)

    def ratio(samples: Tensor, labels: Tensor | None) -> Tensor:
        assert labels is not None
        return -2 * (samples - 3.0 * labels[:, None]).square().sum(1)

    drawn = samplers.get(name)(LatentZ(model), ratio, 100, labels=labels, **samplers.get(name).tiny)
    assert drawn.labels is not None
    assert torch.equal(drawn.labels, labels)
    assert float((drawn.samples - 3.0 * labels[:, None]).abs().mean()) < 1.5
    assert torch.equal(
        (drawn.samples.mean(1) / 3).round().clamp(0, 2).long().bincount() > 0, torch.ones(3, dtype=bool)
    )


def test_truncation_draws_again_and_never_divides() -> None:
    """Against noise that is drawn anew until it lies within: one distribution. Dividing by the threshold is another."""
    space = identity(size=1)
    drawn = samplers.get("truncate")(
        space, lambda s, labels: 0 * s[:, 0], 5000, amount=0.8, mode="threshold"
    ).samples
    assert float(drawn.abs().max()) <= 0.8
    pool = torch.randn(100_000, generator=torch.Generator().manual_seed(5))
    assert ks_2samp(drawn[:, 0].numpy(), pool[pool.abs() <= 0.8][:20_000].numpy()).pvalue > 1e-3
    assert ks_2samp(drawn[:, 0].numpy(), (pool / 0.8)[:20_000].numpy()).pvalue < 1e-6


def test_psi_and_centres() -> None:
    space: LatentSpace = identity()
    psi = Truncated(space, 0.5, "psi")
    u = torch.randn(1000, 2, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(psi.from_noise(u), space.mean + 0.5 * (u - space.mean))
    near = Truncated(space, 0.2, "clusters")
    found = near.from_noise(u)
    assert (
        torch.cdist(found, near.centres).min(1).values.mean()
        < 0.3 * torch.cdist(u, near.centres).min(1).values.mean()
    )
    for amount, mode in ((0.0, "threshold"), (1.5, "psi"), (-1.0, "clusters")):
        with pytest.raises(GanvasError, match="truncation"):
            Truncated(space, amount, mode)  # type: ignore[arg-type]


def test_gradients_are_taken_of_as_many_pictures_as_there_is_room_for() -> None:
    """Of grey pictures of 128 px they were of 256 at once, with the results of all layers: 3.6 GB."""
    module = nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Unflatten(1, (1, 8, 8)))
    space, seen = LatentZ(ganvas.wrap(module, latent_dim=4)), list[int]()
    vars(space.model)["at_once"] = 16

    def brightness(samples: Tensor, labels: Tensor | None = None) -> Tensor:
        seen.append(len(samples))
        return samples.flatten(1).mean(1)

    target = Target(space, brightness, 40, None, None)
    u = target.normal(40, 4)
    candidates, slope = target.slope(u, None)
    assert seen == [16, 16, 8]
    assert candidates.samples.shape == (40, 1, 8, 8)
    whole = torch.func.vmap(torch.func.grad(lambda z: module(z[None]).mean()))(u)
    torch.testing.assert_close(slope, whole, atol=1e-6, rtol=1e-4)


def test_banks_of_a_wide_space_are_smaller_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 65,536 numbers a bank of 10,000 took 5 GB, and the square of a Jacobian 34."""
    # The package has the function under the name of its module.
    module = import_module("ganvas.sampling.reweight")
    monkeypatch.setattr(module, "MOST_BANK", 200 * identity().model.latent_dim)
    drawn = samplers.get("reweight")(identity(), log_ratio, 4, bank=500, steps=2)
    assert drawn.info["one_off_forwards"] == 200
    monkeypatch.setattr("ganvas.sampling.volume.MOST_SLOPES", 1)
    with pytest.raises(GanvasError, match=r"1 are the most\. Take --sampler truncate"):
        samplers.get("polarity")(identity(), log_ratio, 4)


def test_volumes_of_large_samples_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jacobians of 512 px by 512 latents took 8.7 GB; by the first of them, 500 take 14 hours."""
    numbers = identity().model.latent_dim * math.prod(identity().model.shape)
    monkeypatch.setattr("ganvas.sampling.volume.MOST_NUMBERS", numbers - 1)
    with pytest.raises(GanvasError, match=rf"numbers of z: {numbers}, and {numbers - 1} are the most"):
        samplers.get("magnet")(identity(), log_ratio, 4)


def test_the_bank_of_reweight_keeps_no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """10,000 of 256 px are 2 GB: as many lie in memory as other samplers hold, and the outcome is the same."""
    draw, seen = Target.draw, list[tuple[int, list[int]]]()

    def noted(self: Target, n: int, labels: Tensor | None) -> Any:
        seen.append((n, [] if labels is None else labels.tolist()))
        return draw(self, n, labels)

    space = LatentZ(ganvas.wrap(Classes(), latent_dim=2, shape=(2,), num_classes=3))
    options: dict[str, Any] = {"bank": 160, "steps": 20, "labels": torch.tensor([0, 2])}
    whole = samplers.get("reweight")(space, log_ratio, 2, **options)
    monkeypatch.setattr(Target, "draw", noted)
    monkeypatch.setattr("ganvas.sampling.base.MOST_HELD", 64)
    monkeypatch.setattr("ganvas.sampling.base.BATCH", 32)
    again = samplers.get("reweight")(space, log_ratio, 2, **options)
    assert [n for n, _ in seen] == [64, 64, 32]
    assert [label for _, labels in seen for label in labels] == [0, 2] * 80
    torch.testing.assert_close(again.points, whole.points)


def test_volumes_of_a_linear_map() -> None:
    """The Jacobian of z A is A: its volume is |det A|; polarity prefers nothing where the volume is the same everywhere."""
    matrix = torch.tensor([[2.0, 1.0], [0.0, 0.5]])
    layer = nn.Linear(2, 2, bias=False)
    layer.weight.data = matrix
    space = LatentZ(ganvas.wrap(layer, latent_dim=2, shape=(2,)))
    expected = torch.full((4,), math.log(1.0)).double()
    torch.testing.assert_close(log_volumes(space, torch.randn(4, 2)), expected, atol=1e-5, rtol=0)
    assert samplers.get("polarity")(space, log_ratio, 50, bank=40).info["effective_size"] == pytest.approx(
        40, rel=1e-3
    )


def test_volumes_of_points_are_those_of_their_numbers() -> None:
    """Of 16 latents and two numbers 14 directions change nothing: what rounding left of them drowned the volume."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(16, 32), nn.Tanh(), nn.Linear(32, 2))
    model, u = ganvas.wrap(module, latent_dim=16), torch.randn(12, 16)
    expected = [torch.linalg.svdvals(torch.func.jacfwd(module)(each).double()).log().sum() for each in u]
    torch.testing.assert_close(log_volumes(LatentZ(model), u), torch.stack(expected), atol=1e-4, rtol=0)


class Cubed(nn.Module):
    def forward(self, z: Tensor) -> Tensor:
        return z**3


def test_polarity_leans_to_small_or_large_volumes() -> None:
    """|J| of z^3 grows with |z|: below 0 samples come from the middle, above 0 from the outside."""
    space = LatentZ(ganvas.wrap(Cubed(), latent_dim=2, shape=(2,)))
    spread = [
        float(samplers.get("polarity")(space, log_ratio, 500, rho=rho, bank=400).points.norm(dim=1).mean())
        for rho in (-0.3, 0.0, 0.3)
    ]
    assert spread[0] < spread[1] - 0.1 < spread[2] - 0.2
    magnet = samplers.get("magnet")(space, log_ratio, 500, bank=400)
    assert float(magnet.points.norm(dim=1).mean()) > spread[2]


def test_reweighting_learns_the_ratio() -> None:
    """Below its bound the learned weight is the ratio: a ratio between 0.2 and 1.8 that is bounded by 3."""

    def soft(samples: Tensor, labels: Tensor | None) -> Tensor:
        return torch.log(1 + 0.8 * torch.tanh(2 * samples[:, 0]))

    drawn = samplers.get("reweight")(identity(), soft, 4000)
    share = float((drawn.samples[:, 0] > 0).float().mean())
    right = torch.randn(200_000, generator=torch.Generator().manual_seed(1))
    weights = 1 + 0.8 * torch.tanh(2 * right)
    assert share == pytest.approx(float(weights[right > 0].sum() / weights.sum()), abs=0.03)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("truncate", {"amount": -1.0}), ("reject", {"budget": 0.5}), ("budget", {"budget": 0}),
        ("metropolis", {"steps": 0}), ("resample", {"candidates": 1}), ("langevin", {"size": 0.0}), ("ex2", {"local": 0}),
        ("transport", {"steps": 0}), ("reweight", {"most": 1.0}), ("polarity", {"bank": 1}), ("magnet", {"bank": 0}),
    ],
)  # fmt: skip
def test_values_out_of_range_are_refused(name: str, wrong: dict[str, Any]) -> None:
    with pytest.raises(GanvasError):
        samplers.get(name)(identity(), log_ratio, 10, **wrong)


@pytest.mark.parametrize("name", list(samplers))
def test_nonsense_is_refused(name: str) -> None:
    model: Any = identity().model
    with pytest.raises(GanvasError, match=r"space is .* it must be a space of a model"):
        samplers.get(name)(model, log_ratio, 10)
    for option, value in samplers.get(name).options.items():
        if isinstance(value, bool):
            continue
        with pytest.raises(GanvasError):
            samplers.get(name)(identity(), log_ratio, 10, **{option: "nonsense"})


NUMBERS = {
    name: [
        option
        for option, value in samplers.get(name).options.items()
        if type(value) in (int, float, type(None))
    ]
    for name in samplers
}


@pytest.mark.parametrize(
    ("name", "option"), [(name, option) for name, all_ in NUMBERS.items() for option in all_]
)
def test_no_number_makes_a_sampler_hang_or_fail_inside(name: str, option: str) -> None:
    """reject(gamma=nan) used to draw for hours."""
    for value in (float("nan"), float("inf"), -float("inf"), "many", None):
        if value is None and (name, option) == ("reject", "budget"):
            continue  # no budget
        with pytest.raises(GanvasError):
            samplers.get(name)(identity(), log_ratio, 10, **{option: value})


@pytest.mark.parametrize("n", [0, -1, 2.5, float("nan"), "ten", None, 1e12])
def test_numbers_of_samples(n: Any) -> None:
    with pytest.raises(GanvasError, match="number of samples"):
        samplers.get("prior")(identity(), log_ratio, n)


def test_a_gamma_that_accepts_nothing_is_refused_at_once() -> None:
    with pytest.raises(GanvasError, match="accepts less than one of 10,000 candidates"):
        samplers.get("reject")(identity(), log_ratio, 10, gamma=60.0)


@pytest.mark.parametrize(
    ("shape", "batch"), [((2,), 500), ((3, 32, 32), 500), ((3, 256, 256), 16), ((3, 1024, 1024), 1)]
)
def test_large_samples_are_drawn_and_judged_fewer_at_a_time(shape: tuple[int, ...], batch: int) -> None:
    """With what their gradients take, 500 of 256 px would be tens of gigabytes."""
    space = identity()
    space.model.generator.shape = shape
    target = Target(space, log_ratio, 1, None, None)
    assert target.batch == batch
    assert batch <= target.most <= 100_000


CANDIDATES = """
import resource, sys
import torch
import ganvas
from ganvas.latent import open_space
from ganvas.sampling import base, samplers

base.HELD = 2**26

class Large(torch.nn.Module):
    def forward(self, z):
        return torch.tanh(z[:, :3, None, None]).expand(-1, 3, 256, 256)

space = open_space(ganvas.wrap(Large(), latent_dim=8, shape=(3, 256, 256)), "z")
unit = 2**20 if sys.platform == "darwin" else 1024

def judge(samples, labels):
    return samples[:, 0, 0, 0] * float(sys.argv[3])

judge(space.decode(space.known[:16]), None)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
drawn = samplers.get(sys.argv[1])(space, judge, 100, budget=int(sys.argv[2]))
assert len(drawn.samples) == 100
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / unit)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="resource is of Unix")
@pytest.mark.slow
@pytest.mark.parametrize(("name", "budget"), [("budget", 20), ("reject", 4)])
def test_candidates_of_large_pictures_do_not_fill_the_memory(name: str, budget: int) -> None:
    """100 of 256 px are 19 MiB, a part of the candidates 64; together they took more than 400."""
    done = subprocess.run(
        [sys.executable, "-c", CANDIDATES, name, str(budget), "1.0"],
        capture_output=True, text=True, check=True, timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_MMAP_THRESHOLD_": str(2**17)},
    )  # fmt: skip
    assert float(done.stdout) < 280


@pytest.mark.parametrize("name", [*samplers])
def test_samples_are_in_memory_once(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that were, those that came and what became of both lay there together: 4.7 GB for 1.6 of 256 px."""
    monkeypatch.setattr(base, "HELD", 2**17)  # 512 candidates
    module = nn.Sequential(nn.Linear(4, 256), nn.Tanh(), nn.Unflatten(1, (1, 16, 16)))
    space, n, facts = LatentZ(ganvas.wrap(module, latent_dim=4)), 4000, samplers.get(name)
    options = {"steps": 4} if name == "flow" else {**facts.at_budget(4), **facts.tiny}
    with Held(is_picture) as held:
        drawn = facts(space, lambda images, labels: images.flatten(1).mean(1), n, **options)
    assert drawn.samples.shape == (n, 1, 16, 16)
    assert held.most < 1.6 * drawn.samples.numel()


def test_rejection_ends_when_it_costs_far_more_than_its_budget() -> None:
    """Nothing is accepted after the pilot: it drew for hours."""
    calls: list[int] = []

    def fading(samples: Tensor, labels: Tensor | None = None) -> Tensor:
        calls.append(len(samples))
        return torch.full((len(samples),), -1e4 if sum(calls) > 5000 else 0.0)

    with pytest.raises(
        GanvasError, match=r"Rejection accepted .* of the 5,000 samples asked for, and gave up"
    ):
        samplers.get("reject")(identity(), fading, 5000, budget=2.0)
    assert sum(calls) < 5000 + 5 * 2 * 5000 + 100_000


@pytest.mark.parametrize("spread", [1e3, 1e5])
def test_a_budget_holds_whatever_the_spread_of_the_ratio(spread: float) -> None:
    """Of a poor generator log ratios lie thousands apart."""
    drawn = samplers.get("reject")(
        identity(), lambda samples, labels=None: spread * samples[:, 0], 4000, budget=4.0
    )
    assert drawn.info["acceptance"] == pytest.approx(1 / 4, rel=0.1)


@pytest.mark.parametrize("name", [name for name in samplers if samplers.get(name).gradient])
def test_a_ratio_without_a_gradient_is_named(name: str) -> None:
    for ratio in (
        lambda samples, labels: log_ratio(samples.detach()),
        lambda samples, labels: torch.from_numpy(log_ratio(samples).detach().numpy().copy()),
        lambda samples, labels: torch.zeros(len(samples), requires_grad=True),
    ):
        with pytest.raises(
            GanvasError, match=r"has no gradient by the latents.*without gradients: .*reject, budget"
        ):
            samplers.get(name)(identity(), ratio, 10)
    assert (
        len(
            samplers.get("budget")(
                identity(), lambda samples, labels: log_ratio(samples.detach()), 10
            ).samples
        )
        == 10
    )


@pytest.mark.parametrize(
    ("wrong", "got"),
    [(lambda samples: samples[:, :1], r"\(500, 1\)"), (lambda samples: samples.sum(), r"\(\)"), (lambda samples: 1.0, "float"),
     (lambda samples: torch.zeros(len(samples), dtype=torch.long), "int64")],
)  # fmt: skip
def test_a_ratio_is_one_number_a_sample(wrong: Callable[[Tensor], Any], got: str) -> None:
    for name, options in (("budget", {"budget": 1}), ("langevin", {"steps": 1})):
        with pytest.raises(GanvasError, match=f"The ratio gave .*{got}.*expected a float tensor"):
            samplers.get(name)(identity(), lambda samples, labels: wrong(samples), 500, **options)


def test_the_share_that_magnet_puts_far_out() -> None:
    """x = sinh z has density phi(asinh x) / sqrt(e): normal latents leave the far end thin, as the docstring says."""

    class Sinh(nn.Module):
        def forward(self, z: Tensor) -> Tensor:
            return torch.sinh(z)

    from scipy import integrate, stats

    drawn = samplers.get("magnet")(
        LatentZ(ganvas.wrap(Sinh(), latent_dim=1, shape=(1,))), log_ratio, 4000, bank=4000,
        generator=torch.Generator().manual_seed(0),
    ).samples[:, 0]  # fmt: skip
    for low, high, said in ((0, 1, 0.21), (5, 6, 0.013)):
        exact = integrate.quad(lambda x: stats.norm.pdf(np.arcsinh(x)), low, high)[0] / np.exp(0.5)
        assert exact == pytest.approx(said, abs=0.003)
        share = float(((drawn >= low) & (drawn < high)).double().mean())
        assert share == pytest.approx(exact, abs=5 * (exact / 4000) ** 0.5 + 0.005)


def test_flow_goes_uphill_and_transport_too_but_stays_near() -> None:
    """From the same starting points, on a ratio of fine waves whose slope is far above that between distant pairs."""

    def waves(samples: Tensor, labels: Tensor | None) -> Tensor:
        return torch.sin(12 * samples).sum(1)

    for name, options in (("flow", {"steps": 5, "size": 0.005, "noise": 0.0}), ("transport", {"steps": 5})):
        start, end = (
            samplers.get(name)(identity(), waves, 500, **{**options, "size": size}) for size in (1e-9, options.get("size", 0.01))
        )  # fmt: skip
        assert end.log_ratio.mean() > start.log_ratio.mean() + (1 if name == "flow" else 0.05)
        assert float((end.points - start.points).norm(dim=1).max()) < 1.0


class Offset(GeneratorBase):
    """A style generator whose w is z, 10 further along an axis of its own for each class: class c has its mean at 10 e_c."""

    w_dim, num_layers, noise_shapes, style_layers = 3, 2, (), ()

    def __init__(self) -> None:
        super().__init__((3,), 3, 3, embed=False)

    def mapping(self, z: Tensor, labels: Tensor) -> Tensor:
        return z + 10 * nn.functional.one_hot(labels, 3)

    def broadcast(self, w: Tensor) -> Tensor:
        return w[:, None].expand(-1, 2, -1)

    def styles(self, w: Tensor) -> list[Tensor]:
        return [w[:, 0]]

    def synthesis(self, styles: list[Tensor]) -> Tensor:
        return styles[0]

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        assert labels is not None
        return self.mapping(z, labels)


@pytest.mark.parametrize("mode", ["psi", "clusters"])
@pytest.mark.parametrize("space", ["w", "w+"])
def test_truncation_pulls_to_the_mean_of_the_class_asked_for(mode: Mode, space: str) -> None:
    """Not to the mean of all classes, (10, 10, 10) / 3, where none of their samples is."""
    model = Model(made := Offset(), None, ModelInfo.of(made, "offset"))
    labels = torch.tensor([2, 0, 1, 1])
    truncated = Truncated(open_space(model, space), 0.01, mode)
    expected = 10 * nn.functional.one_hot(labels, 3).float()
    most = (
        5 / OF_A_CLASS**0.5 if mode == "psi" else 4.0
    )  # centres lie within a class, which has a spread of 1
    for points in (
        truncated.of(model.latents(4), labels),
        truncated.from_noise(torch.randn(4, 3, generator=torch.Generator().manual_seed(0)), labels),
        truncated.sample(4, torch.Generator().manual_seed(1), labels),
    ):
        assert (truncated.decode(points, labels) - expected).abs().max() < most + 0.05
    in_turn = truncated.decode(truncated.of(model.latents(3)))
    assert in_turn.argmax(1).tolist() == [0, 1, 2]
    z = open_space(model, "z")
    assert z.mean_of(labels).abs().max() < 0.1, "the prior has one mean for all"


@pytest.mark.parametrize(("of_a_class", "passes"), [(1024, [682] * 3), (2 * 682, [682, 2 * 682])])
def test_of_many_classes_each_has_fewer_samples(
    monkeypatch: pytest.MonkeyPatch, of_a_class: int, passes: list[int]
) -> None:
    """1,024 of each of 65,536 classes took an hour and a half; whichever is asked for first, the means are the same."""
    model = Model(made := Offset(), None, ModelInfo.of(made, "offset"))
    whole = open_space(model, "w").mean_of(torch.arange(3))
    monkeypatch.setattr(spaces_of, "OF_ALL_CLASSES", 2048)  # 682 for each of three
    monkeypatch.setattr(spaces_of, "OF_A_CLASS", of_a_class)
    drawn = list[int]()
    mapping = Offset.mapping

    def counted(self: Offset, z: Tensor, labels: Tensor) -> Tensor:
        drawn.append(len(z))
        return mapping(self, z, labels)

    monkeypatch.setattr(Offset, "mapping", counted)
    space = open_space(model, "w")
    assert space.size == 3
    drawn.clear()
    means = space.mean_of(torch.tensor([2, 0, 1]))
    assert drawn == passes
    assert (means[[1, 2, 0]] - whole).abs().max() < 10 / 682**0.5
    assert torch.equal(open_space(model, "w").mean_of(torch.arange(3)), means[[1, 2, 0]])
    drawn.clear()
    pulled = Truncated(space, 0.01, "clusters").sample(3, torch.Generator().manual_seed(1), torch.arange(3))
    assert (pulled - whole).abs().max() < 4
    assert drawn.count(682) == 3


def test_means_of_classes_are_not_all_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of 65,536 classes in a wide space took gigabytes."""
    model = Model(made := Offset(), None, ModelInfo.of(made, "offset"))
    whole = open_space(model, "w").mean_of(torch.arange(3))
    monkeypatch.setattr(spaces_of, "NUMBERS", 3)
    space = open_space(model, "w")
    assert torch.equal(space.mean_of(torch.arange(3)), whole)
    assert len(space._class_means) == 1


class Kinds(nn.Module):
    """Class 0 draws z, class 1 its cube."""

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        return torch.where(labels[:, None] == 1, z**3, z)


def test_polarity_weighs_each_class_by_volumes_of_its_own() -> None:
    space = LatentZ(ganvas.wrap(Kinds(), latent_dim=2, shape=(2,), num_classes=2))
    u = torch.tensor([[2.0, 1.0], [0.5, 3.0]])
    cubes = (3 * u.double() ** 2).log().sum(1)
    for label, wanted in ((0, torch.zeros(2).double()), (1, cubes)):
        found = log_volumes(space, u, torch.full((2,), label))
        torch.testing.assert_close(found, wanted, atol=1e-4, rtol=0)
    torch.testing.assert_close(log_volumes(space, u)[1], cubes[1], atol=1e-4, rtol=0)
    labels = torch.arange(600) % 2
    drawn = samplers.get("polarity")(space, log_ratio, 600, rho=0.5, bank=600, labels=labels)
    lengths = [float(drawn.points[labels == label].norm(dim=1).mean()) for label in (0, 1)]
    assert lengths[0] == pytest.approx(math.sqrt(math.pi / 2), abs=0.15), "volumes are the same everywhere"
    assert lengths[1] > lengths[0] + 0.3
    three = LatentZ(ganvas.wrap(Kinds(), latent_dim=2, shape=(2,), num_classes=3))
    with pytest.raises(GanvasError, match="A bank of 2 has no latent for each of 3 classes"):
        samplers.get("polarity")(three, log_ratio, 6, bank=2)


def test_volumes_are_those_of_what_is_drawn_in_a_truncated_space() -> None:
    """By quantiles of the normal within [-a, a]: in the middle numbers are drawn together by the share that lies within."""
    layer = nn.Linear(2, 2, bias=False)
    layer.weight.data = torch.eye(2)
    space = Truncated(LatentZ(ganvas.wrap(layer, latent_dim=2, shape=(2,))), 1.0, "threshold")
    found = log_volumes(space, torch.zeros(1, 2))
    assert float(found) == pytest.approx(2 * math.log(math.erf(1 / math.sqrt(2))), abs=1e-4)


def test_a_threshold_cuts_nothing_off_a_sphere() -> None:
    """It was drawn as if it did: what is left of normal numbers within a threshold has the same directions."""
    of_sphere = identity("sphere")
    with pytest.raises(GanvasError, match="are of one length"):
        Truncated(of_sphere, 1.0)
    names = [each.label for each in settings(of_sphere.model, 10)]
    assert not [name for name in names if "truncate" in name]
    assert [each for each in settings(identity("normal").model, 10) if each.truncation]


def test_few_large_pictures_keep_their_layers_for_a_gradient() -> None:
    """Sixteen of 256 px were drawn together."""
    module = nn.Sequential(
        nn.Linear(4, 3 * 64), nn.Unflatten(1, (3, 8, 8)), nn.Upsample(scale_factor=32), nn.Tanh()
    )
    space = LatentZ(ganvas.wrap(module, latent_dim=4, shape=(3, 256, 256)))
    target = Target(space, lambda samples, labels: samples.mean((1, 2, 3)), 12, None, None)
    rows = [len(part.noise) for _, part, _ in target.sloped(torch.randn(12, 4), None)]
    assert rows == [5, 5, 2]


def test_a_bank_is_of_all_classes_that_are_asked_for() -> None:
    """Of sorted ones it was of the first."""
    model = ganvas.wrap(Kinds(), latent_dim=2, shape=(2,), num_classes=4)
    target = Target(LatentZ(model), log_ratio, 4000, None, torch.arange(4).repeat_interleave(1000))
    found = target.bank_labels(500)
    assert found is not None
    assert found.bincount(minlength=4).min() > 90
    some = Target(LatentZ(model), log_ratio, 2, None, torch.tensor([3, 1])).bank_labels(4)
    assert some is not None
    assert some.tolist() == [3, 1, 3, 1]


def test_more_samples_than_memory_has_room_for_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """50,000 pictures of 256 px took 10 GB, and `improve`, which draws four times as many in the end, 40: after its work."""
    monkeypatch.setattr(base.limits, "ALWAYS", 24 * 100)
    monkeypatch.setenv("GANVAS_RESIDENT_MB", "0")
    assert len(samplers.get("prior")(identity(), silent_ratio, 100).points) == 100
    with pytest.raises(GanvasError, match=r"its 101 samples in memory .* Draw fewer at a time \(--n\)"):
        samplers.get("prior")(identity(), silent_ratio, 101)


def silent_ratio(samples: Tensor, labels: Tensor | None) -> Tensor:
    return samples.new_zeros(len(samples))
