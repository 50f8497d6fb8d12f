"""What is registered passes the public checks, whatever its name, and the checks catch what is broken on purpose."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from ganvas import sampling
from ganvas.losses import losses
from ganvas.metrics.base import Inputs, Value, metrics
from ganvas.networks import families
from ganvas.networks.mlp import MlpCritic, MlpGenerator
from ganvas.registry import Registry
from ganvas.sampling import samplers
from ganvas.testing import check_family, check_loss, check_metric, check_sampler


@pytest.mark.parametrize("name", list(losses))
def test_losses(name: str) -> None:
    check_loss(name)


@pytest.mark.parametrize("name", list(families))
def test_families(name: str) -> None:
    check_family(name)


@pytest.mark.parametrize("name", list(samplers))
def test_samplers(name: str) -> None:
    check_sampler(name)


# Those of series see no points; planted cheats of tests/metrics/test_sequences.py say which way they get better.
@pytest.mark.parametrize("name", [name for name in metrics if not name.startswith("series")])
def test_metrics(name: str) -> None:
    check_metric(name)


@pytest.fixture(autouse=True)
def _registries_as_before() -> Iterator[None]:
    registries: list[Registry[Any]] = [losses, families, samplers, metrics]
    before = [dict(each._entries) for each in registries]
    yield
    for each, entries in zip(registries, before, strict=True):
        each._entries = entries


def swap(registry: Registry[Any], name: str, **changed: Any) -> None:
    registry._entries[name] = replace(registry.get(name), **changed)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"critic": lambda real, fake: real.mean() - fake.mean()}, "raising real logits"),
        ({"critic": lambda real, fake: -real.mean() - fake.mean()}, "lowering fake logits"),
        ({"generator": lambda real, fake: fake.mean()}, "raising fake logits"),
        ({"generator": lambda real, fake: -fake}, "not a scalar"),
        ({"generator": lambda real, fake: (real.detach() - fake).mean()}, "pairs=True"),
        ({"generator": lambda real, fake: (2 * fake).exp().mean()}, "is inf"),
        ({"generator": lambda real, fake: 0 * fake.mean()}, "raising fake logits"),
    ],
)
def test_broken_losses(changed: dict[str, Any], said: str) -> None:
    swap(losses, "hinge", **changed)
    with pytest.raises(AssertionError, match=said):
        check_loss("hinge")


class Wide(MlpGenerator):
    def forward(self, *given: Any) -> Tensor:
        return 9 * super().forward(*given)


class Idle(MlpGenerator):
    def __init__(self, shape: Any, latent_dim: int, num_classes: int = 0, hidden: Any = (8,)) -> None:
        super().__init__(shape, latent_dim, num_classes=num_classes, hidden=hidden)
        self.idle = torch.nn.Linear(2, 2)


class Neighbours(MlpGenerator):
    def forward(self, *given: Any) -> Tensor:
        drawn = super().forward(*given)
        return drawn - 0.5 * drawn.mean(0)


class Columns(MlpCritic):
    def forward(self, *given: Any) -> Tensor:
        return super().forward(*given)[:, None]


class Straight(MlpCritic):
    def forward(self, x: Tensor, *labels: Any) -> Tensor:
        return super().forward(x.detach(), *labels) + x.flatten(1).sum(1)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"generator": Wide}, "value_range says"),
        ({"generator": Idle}, "reaches idle.weight of the Idle"),
        ({"generator": Neighbours}, "depends on its neighbours"),
        ({"critic": Columns}, r"gives \(4, 1\) for 4 samples"),
        ({"critic": Straight}, "second derivatives"),
    ],
)
def test_broken_families(changed: dict[str, Any], said: str) -> None:
    swap(families, "mlp", **changed)
    with pytest.raises(AssertionError, match=said):
        check_family("mlp", [(1, 8, 8)])


def other_numbers(space: Any, ratio: Any, n: int, **options: Any) -> Any:
    return sampling.prior(space, ratio, n, generator=torch.Generator().manual_seed(torch.seed() % 2**31))


def no_labels(
    space: Any, ratio: Any, n: int, *, generator: Any = None, labels: Any = None, callback: Any = None
) -> Any:
    return sampling.prior(space, ratio, n, generator=generator)


def careless(
    space: Any,
    ratio: Any,
    n: int,
    *,
    steps: int = 3,
    generator: Any = None,
    labels: Any = None,
    callback: Any = None,
) -> Any:
    return sampling.prior(space, ratio, n, generator=generator, labels=labels)


@pytest.mark.parametrize(
    ("name", "changed", "said"),
    [
        ("prior", {"blind": False}, "register it with blind=True"),
        ("budget", {"blind": True}, "yet follows the ratio"),
        ("budget", {"bank": True}, "bank=True"),
        ("budget", {"gradient": True}, "gradient=True"),
        ("budget", {"at_budget": lambda budget: {"steps": budget}}, r"at_budget gives \['steps'\]"),
        ("budget", {"exact": {"budget": 2}}, "not those of the target"),
        ("prior", {"draw": other_numbers}, "the same generator draws other samples"),
        ("prior", {"draw": no_labels}, "not of the class"),
        ("prior", {"draw": careless}, "steps='nonsense' must be a GanvasError"),
    ],
)
def test_broken_samplers(name: str, changed: dict[str, Any], said: str) -> None:
    swap(samplers, name, **changed)
    with pytest.raises(AssertionError, match=said):
        check_sampler(name)


def figure(value: Callable[[Inputs], float], name: str = "kid") -> Callable[[Inputs], list[Value]]:
    return lambda inputs: [Value(name, value(inputs), None, "")]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"better": {"kid": "higher"}}, "no bad sample is worse"),
        ({"better": {}}, "does not say which way kid"),
        ({"better": {"kid": "up"}}, "expected lower, higher or near X"),
        ({"compute": figure(lambda inputs: 1.0)}, "no bad sample is worse"),
        ({"compute": figure(lambda inputs: float("nan"))}, "nan"),
        ({"compute": figure(lambda inputs: float(torch.rand(())))}, "give other figures"),
        ({"compute": lambda inputs: []}, "no figure"),
        ({"fits": lambda inputs: "never"}, "cannot be had"),
    ],
)
def test_broken_metrics(changed: dict[str, Any], said: str) -> None:
    swap(metrics, "kid", **changed)
    with pytest.raises(AssertionError, match=said):
        check_metric("kid")
