"""Samplers and calibration given what people give them: samples of the right kind, or a `GanvasError`; never a hang."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import ganvas
from ganvas import sampling
from ganvas.errors import GanvasError
from ganvas.latent.space import LatentSpace, LatentZ
from ganvas.sampling import samplers
from ganvas.sampling.settings import Setting

NUMBERS = {
    name: [option for option, value in samplers.get(name).options.items() if type(value) is not bool]
    for name in samplers
}
"""Options of each sampler that are no switches."""
WALKS = [name for name in samplers if samplers.get(name).gradient]


class Line(nn.Module):
    """G(z) = z: points (2,)."""

    def forward(self, z: Tensor) -> Tensor:
        return z.clone()


def space() -> LatentSpace:
    return LatentZ(ganvas.wrap(Line(), latent_dim=2, shape=(2,)))


def tilted(samples: Tensor, labels: Tensor | None = None) -> Tensor:
    """log ratio of a normal distribution moved by 0.5."""
    return 0.5 * samples[:, 0] - 0.125


@pytest.mark.parametrize("name", list(samplers))
@pytest.mark.parametrize("n", [0, -1, 2.5, 10**12, None])
def test_numbers_of_samples_that_are_none(name: str, n: Any) -> None:
    with pytest.raises(GanvasError, match=r"^n, "):
        samplers.get(name)(space(), tilted, n)


@pytest.mark.parametrize(
    ("name", "option"), [(name, o) for name, options in NUMBERS.items() for o in options]
)
@pytest.mark.parametrize("value", [math.nan, math.inf, -1e9, "many"])
def test_options_that_are_no_numbers(name: str, option: str, value: Any) -> None:
    if option in ("gamma", "rho") and value == -1e9:
        return  # as low as one likes: accept all, only the most typical
    with pytest.raises(GanvasError):
        samplers.get(name)(space(), tilted, 3, **{option: value})


@pytest.mark.parametrize("name", list(samplers))
def test_what_a_sampler_says_of_itself_is_true(name: str) -> None:
    """Blind ones draw the same whatever the ratio says; with a bank, one sample costs far more calls than the next."""
    asked = [0]

    def reversed_(samples: Tensor, labels: Tensor | None = None) -> Tensor:
        asked[0] += len(samples)
        return -4 * tilted(samples)

    draw = partial(samplers.get(name), **(samplers.get(name).tiny if name == "reweight" else {}))
    same = torch.equal(draw(space(), tilted, 20).samples, draw(space(), reversed_, 20).samples)
    assert same == (samplers.get(name).blind)
    info = draw(space(), tilted, 1).info
    assert samplers.get(name).bank == any(key.startswith("one_off") for key in info)


def test_a_sampler_of_somebody_else_says_itself_that_it_needs_no_ratio(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for kept in ("_entries", "_summaries"):
        monkeypatch.setattr(samplers, kept, getattr(samplers, kept).copy())
    for name, blind in (("theirs", True), ("theirs too", False)):
        samplers.register(name, blind=blind)(lambda *a, **k: sampling.prior(*a, **k))
    model = ganvas.wrap(Line(), latent_dim=2, shape=(2,))
    assert Setting("theirs").draw(model, None, 3).samples.shape == (3, 2)
    with pytest.raises(GanvasError, match="needs a calibrated ratio"):
        Setting("theirs too").draw(model, None, 3)


def test_a_gamma_that_accepts_nothing_ends() -> None:
    with pytest.raises(GanvasError, match="accepts less than one of"):
        sampling.reject(space(), tilted, 3, gamma=1e6)


@pytest.mark.parametrize("name", WALKS)
def test_a_ratio_without_a_gradient_is_named(name: str) -> None:
    with pytest.raises(GanvasError, match="has no gradient"):
        samplers.get(name)(space(), lambda x, labels: tilted(x).detach(), 3, steps=2)
    with pytest.raises(GanvasError, match="has no gradient"):
        sampling.repair(space(), lambda x, labels: tilted(x).detach(), torch.zeros(3, 2))


@pytest.mark.parametrize("name", [name for name in samplers if name not in ("polarity", "magnet")])
@pytest.mark.parametrize(
    "ratio",
    [
        lambda x, y: tilted(x)[:, None],
        lambda x, y: tilted(x)[:1].sum(),
        lambda x, y: 0.0,
        lambda x, y: tilted(x)[1:],
    ],
)
def test_a_ratio_of_another_shape_is_named(name: str, ratio: Callable[..., Any]) -> None:
    with pytest.raises(GanvasError, match=r"The ratio gave .* expected a float tensor"):
        samplers.get(name)(space(), ratio, 3)


@pytest.mark.parametrize(
    "name", [name for name in samplers if name not in ("prior", "truncate", "reweight", "polarity", "magnet")]
)
def test_a_ratio_of_nothing_but_nan_is_named(name: str) -> None:
    with pytest.raises(GanvasError, match="NaN or infinite"):
        samplers.get(name)(space(), lambda x, labels: tilted(x) * math.nan, 3)


REAL = np.random.default_rng(0).normal(0.3, 1, size=(200, 2))


@pytest.mark.parametrize(
    "real",
    [
        REAL,
        REAL.astype(np.float16),
        REAL.astype(">f4"),
        REAL[::-1],
        REAL.tolist(),
        torch.from_numpy(REAL).requires_grad_(True),
    ],
)
def test_real_samples_in_any_clothes(real: Any) -> None:
    found = sampling.fit_ratio(space(), real, critic=tilted)
    assert found.report.real == 200
    assert found.report.kl == pytest.approx(
        sampling.fit_ratio(space(), REAL, critic=tilted).report.kl, abs=0.01
    )  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("real", "options", "message"),
    [
        (REAL * np.nan, {}, "NaN"),
        (REAL + 0j, {}, "complex"),
        (np.ma.masked_less(REAL, 0), {}, "masked"),
        (REAL[:, :1], {}, r"the real samples are \(1,\)"),
        (REAL[:20], {}, "at least 100"),
        (np.zeros((200, 3, 8, 8), np.uint8), {}, "The model draws"),
        (REAL, {"fake": -1}, "fake is -1"),
        (REAL, {"steps": 0.5}, "steps is 0.5"),
        (REAL, {"method": "best"}, "Unknown method"),
        (REAL, {"critic": "mine"}, "Unknown critic"),
        (REAL, {"critic": "fresh", "train": (REAL * np.inf, None)}, "train hold NaN"),
    ],
)
def test_what_no_ratio_can_be_fitted_to(real: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(GanvasError, match=message):
        sampling.fit_ratio(space(), real, **{"critic": tilted, **options})


@pytest.mark.parametrize(
    ("amount", "mode"),
    [(math.nan, "psi"), (0, "psi"), (1.5, "psi"), (-1, "threshold"), ("a", "psi"), (0.5, "round")],
)
def test_truncations_that_are_none(amount: Any, mode: Any) -> None:
    with pytest.raises(GanvasError, match=r"amount of truncation is|Unknown mode"):
        sampling.Truncated(space(), amount, mode)


@given(st.sampled_from(sorted(samplers)), st.integers(1, 9), st.floats(-5, 5), st.floats(0, 3))
@settings(max_examples=30, deadline=None)
def test_whatever_the_ratio_says_the_samples_are_finite(name: str, n: int, tilt: float, edge: float) -> None:
    """A steep ratio that is NaN beyond an edge: samples are finite and in their place, or a `GanvasError` says why not."""

    def ratio(samples: Tensor, labels: Tensor | None = None) -> Tensor:
        return torch.where(samples[:, 0] > edge, math.nan, tilt * samples[:, 0])

    options = {key: value for key, value in {"bank": 100, "steps": 3}.items() if key in NUMBERS[name]}
    try:
        found = samplers.get(name)(space(), ratio, n, **options)
    except GanvasError:
        return
    assert found.samples.shape == (n, 2)
    assert torch.isfinite(found.samples).all()
    assert torch.isfinite(found.log_ratio).all()
    assert found.log_ratio.shape == (n,)
