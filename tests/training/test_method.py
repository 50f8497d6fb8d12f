"""Every method keeps the contract of `Method`, and what breaks it is named."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ganvas.config import Config, MethodConfig, replace_at
from ganvas.data import Dataset
from ganvas.errors import GanvasError
from ganvas.presets import presets
from ganvas.testing import check_method
from ganvas.training import describe
from ganvas.training.engine import Engine
from ganvas.training.gan import GanMethod
from ganvas.training.loop import streams_of
from ganvas.training.method import DataSpec, Method, check_split, methods
from ganvas.types import Batch

IMAGES = torch.randint(0, 256, (64, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
DATA = Dataset("noise", IMAGES, (1, 8, 8), "noise", torch.arange(64) % 2, ("a", "b"))
WALKS = torch.randn(64, 3, 6, generator=torch.Generator().manual_seed(0)).cumsum(2).tanh()
SERIES = Dataset("walks", WALKS, (3, 6), "walks")


def config(method: str, **changes: Any) -> Config:
    made = presets.get(method if method in presets else "small")
    for path, value in {
        "network.latent_dim": 4, "network.generator.channels": 4, "network.critic.channels": 4, "training.batch": 16,
        "training.precision": "fp32", "method.name": method, **changes,
    }.items():  # fmt: skip
        made = replace_at(made, path, value)
    return made


@pytest.mark.parametrize(
    "name", [name for name in methods if name != "latent"]
)  # it needs an autoencoder: test_latent
def test_each_method_keeps_the_contract(name: str) -> None:
    late = {"vae-gan": {"method.options": {"start": 0.0}}}  # its critic begins later than after four steps
    check_method(config(name, **late.get(name, {})), SERIES if name == "timegan" else DATA)


def test_only_a_method_with_a_loss_is_said_to_have_one() -> None:
    """A method of one's own was said to train by hinge loss, the default of every config."""

    assert describe(config("gan"), DATA).split(". ")[1].startswith("dcgan, hinge loss, batch 16")
    methods.add("mine", Method, "nothing")
    try:
        assert describe(config("mine"), DATA).split(". ")[1].startswith("dcgan, method mine, batch 16")
    finally:
        del methods._entries["mine"]


def test_the_contract_of_a_game_with_classes_and_every_term() -> None:
    terms = ["feature-matching", "mode-seeking", "latent-optimisation", "top-k"]
    changes = {"network.conditional": True, "objective.terms": [{"name": name} for name in terms]}
    check_method(config("gan", **changes), DATA)


@pytest.mark.parametrize(
    ("term", "said"),
    [
        ({"name": "codes"}, r"'codes' needs a critic with a head of codes. Add --set network.critic.codes=2"),
        ({"name": "auxiliary", "weight": 0.3}, r"Add --conditional --set network.critic.auxiliary=true"),
        ({"name": "categories", "weight": 2.0}, r"Add --set network.categorical=\[10\]"),
        (
            {"name": "latent-optimisation", "options": {"damping": "x"}},
            r"'damping' of .* is 'x'; it must be a number",
        ),
        ({"name": "latent-optimisation", "options": {"damping": [1]}}, r"is \[1\]; it must be a number"),
        ({"name": "latent-optimisation", "options": {"damping": True}}, "is True; it must be a number"),
        ({"name": "latent-optimisation", "interval": 4}, "applies at every step, and its interval is 4"),
        ({"name": "top-k", "interval": 2}, "applies at every step, and its interval is 2"),
    ],
)
def test_a_term_that_would_do_nothing_or_fail_later_is_refused(term: dict[str, Any], said: str) -> None:
    with pytest.raises(GanvasError, match=said):
        GanMethod.check(config("gan", **{"objective.terms": [term]}), DataSpec((1, 8, 8), 2))


@pytest.mark.parametrize("changes", [
    {"objective.terms": [{"name": "codes", "weight": 0.0}]},
    {"objective.terms": [{"name": "codes", "weight": 0.3}], "network.critic.codes": 2},
    {"objective.terms": [{"name": "auxiliary"}], "network.conditional": True, "network.critic.auxiliary": True},
    {"objective.terms": [{"name": "categories"}], "network.categorical": [3]},
    {"objective.terms": [{"name": "latent-optimisation", "options": {"damping": 1}}]},
])  # fmt: skip
def test_a_term_with_its_head_or_without_weight_is_taken(changes: dict[str, Any]) -> None:
    GanMethod.check(config("gan", **changes), DataSpec((1, 8, 8), 2))


class Nan(GanMethod):
    def play(self, batches: Sequence[Batch]) -> Mapping[str, Tensor]:
        return {**super().play(batches), "loss_generator": torch.tensor(float("nan"))}


class Changing(GanMethod):
    def play(self, batches: Sequence[Batch]) -> Mapping[str, Tensor]:
        found = dict(super().play(batches))
        if self.engine.steps:
            self.engine.figures.names = ()
            found["loss_extra"] = found["loss_critic"]
        return found


class Idle(GanMethod):
    def __init__(self, engine: Engine, spec: DataSpec) -> None:
        super().__init__(engine, spec)
        self.networks["idle"] = nn.Linear(2, 2)


class Forgetful(GanMethod):
    """A number that decides is not in the state."""

    scale = 0.0

    def _augment(self, x: Tensor) -> Tensor:
        type(self).scale += 0.01
        return super()._augment(x) + self.scale


class Nameless(GanMethod):
    def exports(self) -> Mapping[str, nn.Module]:
        return {"../generator": self.average}


@pytest.fixture
def broken() -> Iterator[None]:
    """Methods that break the contract, registered for the time of a test."""
    kinds = (Nan, Changing, Idle, Forgetful, Nameless)
    for kind in kinds:
        methods.add(kind.__name__, kind, "broken")
    yield
    for kind in kinds:
        del methods._entries[kind.__name__]


@pytest.mark.usefixtures("broken")
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Nan", "not finite"),
        ("Changing", "gave the figures"),
        ("Idle", "no tensor of idle has moved"),
        ("Forgetful", "differs after a step from the same state"),
        ("Nameless", "no name of a file"),
    ],
)
def test_what_breaks_the_contract_is_named(name: str, said: str) -> None:
    with pytest.raises(GanvasError, match=said):
        check_method(config(name), DATA)


def test_a_method_is_named_by_the_config() -> None:
    with pytest.raises(GanvasError, match=r"Unknown method 'gann'. Did you mean 'gan'"):
        check_method(config("gan", **{"method.name": "gann"}), DATA)
    assert Config().method == MethodConfig("gan")


def test_the_streams_of_a_method_are_the_sets_of_data() -> None:
    assert streams_of(DATA, 1) == [DATA]
    first, second = streams_of(DATA, 2)
    assert torch.equal(first.take(torch.arange(32))[0], IMAGES[::2])
    assert torch.equal(second.take(torch.arange(32))[0], IMAGES[1::2])
    trained_on, _ = DATA.split(0.25)
    part = streams_of(trained_on, 2)[1]
    assert set(part.take_labels().tolist()) == {1}
    assert len(part) < 32, "of this part alone"
    with pytest.raises(GanvasError, match="trains on 3 sets of data, noise has 2"):
        streams_of(DATA, 3)


def test_a_batch_is_split_without_cutting_what_belongs_together() -> None:
    spec = DataSpec((1, 8, 8), 2)
    packed = config("gan", **{"network.pack": 2, "network.critic.minibatch_std": False})
    check_split(packed, spec, 4)
    with pytest.raises(GanvasError, match=r"split over 3 processes in groups of 2.*--batch 18"):
        check_split(packed, spec, 3)
    check_split(config("aae"), spec, 8)
    assert issubclass(methods.get("aae"), Method)
