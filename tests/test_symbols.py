"""benchmarks/symbols.py: a generator whose own likelihood is known, held to closed forms."""

import itertools
import math
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ganvas.networks import families
from ganvas.processes import MarkovChain


@pytest.fixture(scope="module")
def symbols() -> Iterator[dict[str, Any]]:
    """The benchmark's names; the registry is as before afterwards."""
    before = dict(families._entries), dict(families._summaries)
    yield runpy.run_path(str(Path(__file__).parents[1] / "benchmarks" / "symbols.py"))
    families._entries, families._summaries = before


CHAIN = MarkovChain(np.array([[0.9, 0.1], [0.5, 0.5]]))
ENTROPY = -sum(p * math.log(p) for p in (5 / 6, 1 / 6)) - 3 * (
    5 / 6 * (0.9 * math.log(0.9) + 0.1 * math.log(0.1)) + 1 / 6 * math.log(0.5)
)
"""Of 4 steps: that of the first symbol, and three times that of a move."""


def test_it_draws_by_its_own_likelihood(symbols: dict[str, Any]) -> None:
    torch.manual_seed(0)
    model = symbols["Generator"]((3, 3), 9, width=8).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight *= 4
        every = torch.tensor(list(itertools.product(range(3), repeat=3)))
        chances = model.log_likelihood(every).exp().numpy()
        assert chances.sum() == pytest.approx(1, rel=1e-5)
        assert chances.max() > 3 * chances.mean()
        drawn = model(torch.randn(20_000, 9))
        assert set(drawn.unique().tolist()) == {0.0, 1.0}
        number = (drawn.argmax(1) * torch.tensor([9, 3, 1])).sum(1)
        found = np.bincount(number.numpy(), minlength=27) / 20_000
        assert (np.abs(found - chances) < 5 * np.sqrt(chances / 20_000)).all()
        model.logits.weight.zero_()
        model.logits.bias.zero_()
        assert torch.allclose(model.log_likelihood(every), torch.tensor(-3 * math.log(3)))


def test_noise_is_gumbel(symbols: dict[str, Any]) -> None:
    share = torch.linspace(0, 1, 10_002, dtype=torch.float64)[1:-1]
    normal = torch.special.ndtri(share)
    assert torch.allclose(symbols["gumbel"](normal), -(-share.log()).log())
    assert torch.isfinite(symbols["gumbel"](torch.tensor([-10.0, 10.0]))).all()


def test_straight_through_shows_one_symbol_and_has_the_gradient_of_the_softmax(
    symbols: dict[str, Any],
) -> None:
    torch.manual_seed(1)
    model = symbols["Generator"]((4, 1), 4, width=8, temperature=0.7)
    z, weight = torch.randn(5, 4), torch.randn(4)
    drawn = model(z)[:, :, 0]
    with torch.no_grad():
        told = model.logits(model.cell(torch.zeros(5, 4))) + symbols["gumbel"](z)
        soft = (told / 0.7).softmax(1)
    assert torch.allclose(drawn, torch.eye(4)[told.argmax(1)])
    (gradient,) = torch.autograd.grad((drawn @ weight).sum(), model.logits.bias)
    # The Jacobian of a softmax: s_i (w_i - s w) / temperature.
    assert torch.allclose(gradient, (soft * (weight - (soft @ weight)[:, None]) / 0.7).sum(0), atol=1e-6)


def test_likelihood_finds_the_entropy_and_what_repeats_one_sequence_fools_the_oracle_alone(
    symbols: dict[str, Any],
) -> None:
    oracle = symbols["Oracle"](CHAIN, 4)
    random = np.random.default_rng(0)
    train, held = torch.from_numpy(oracle.draw(4_000, random)), oracle.draw(5_000, random)
    model = symbols["by_likelihood"](oracle, train, 0, 150)
    found = symbols["score"](model, oracle, held, 0)
    noise = 3 * np.std(CHAIN.log_likelihood(held)) / 5_000**0.5
    assert abs(found.by_model - ENTROPY) < noise + 0.02
    assert abs(found.by_oracle - ENTROPY) < noise + 0.05
    assert abs(found.forward) < 0.02
    assert abs(found.reverse) < 0.02
    with torch.no_grad():  # always 0 0 0 0, the likeliest sequence
        model.logits.weight.zero_()
        model.logits.bias.copy_(torch.tensor([20.0, -20.0]))
    stuck = symbols["score"](model, oracle, held, 0)
    assert stuck.by_oracle == pytest.approx(-math.log(5 / 6 * 0.9**3))
    assert stuck.by_oracle < ENTROPY
    assert stuck.reverse == pytest.approx(stuck.by_oracle, rel=1e-4)
    assert stuck.forward > 10


def test_the_relaxed_head_shows_the_softmax_in_training_alone(symbols: dict[str, Any]) -> None:
    torch.manual_seed(2)
    model = symbols["Generator"]((4, 3), 12, width=8, hard=False)
    z = torch.randn(5, 12)
    soft, hard = model(z), model.eval()(z)
    assert torch.allclose(soft.sum(1), torch.ones(5, 3))
    assert soft.max() < 1
    assert torch.equal(hard[:, :, 0], torch.eye(4)[soft[:, :, 0].argmax(1)])


def test_the_game_learns(symbols: dict[str, Any]) -> None:
    oracle = symbols["Oracle"](CHAIN, 4)
    random = np.random.default_rng(0)
    train, held = torch.from_numpy(oracle.draw(2_000, random)), oracle.draw(2_000, random)
    before, after = (
        symbols["score"](symbols["by_game"](oracle, train, 0, steps, width=16), oracle, held, 0)
        for steps in (1, 100)
    )
    assert after.forward < 0.5 * before.forward
    assert after.reverse < 0.5 * before.reverse
