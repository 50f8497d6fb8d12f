"""The protocol of style-based generators: who has it, what breaks it, and that the tools need nothing else."""

import re
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import ganvas
from ganvas.config import NetworkConfig
from ganvas.errors import GanvasError
from ganvas.latent import open_space, spaces
from ganvas.latent.directions import find
from ganvas.latent.space import LatentW
from ganvas.model import Model, ModelInfo
from ganvas.networks import GeneratorBase, StyleBased, build_generator, families
from ganvas.networks.style import StyleGenerator
from ganvas.testing import check_generator, check_style_based
from tests.contracts.test_networks import SERIES


class Bars(GeneratorBase):
    """The smallest one: w = A z; row 0 of w+ draws columns, row 1 rows; noise is added. No layer of ours."""

    w_dim, num_layers, noise_shapes = 5, 2, ((1, 4, 4),)

    def __init__(self) -> None:
        super().__init__((1, 4, 4), 3)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.map = nn.Linear(3, 5)
            self.affine = nn.ModuleList([nn.Linear(5, 4), nn.Linear(5, 4)])
            self.register_buffer("fixed", torch.randn(1, 1, 4, 4))

    @property
    def style_layers(self) -> Sequence[nn.Module]:
        return list(self.affine)

    def mapping(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        w: Tensor = self.map(z)
        return w

    def broadcast(self, w: Tensor) -> Tensor:
        return w[:, None].expand(-1, 2, -1)

    def styles(self, w_plus: Tensor) -> list[Tensor]:
        return [layer(w_plus[:, i]) for i, layer in enumerate(self.affine)]

    def synthesis(self, styles: Sequence[Tensor], noise: Sequence[Tensor] | None = None) -> Tensor:
        maps: Any = self.fixed if noise is None else noise[0]
        drawn: Tensor = torch.tanh(styles[0][:, None, None] + 0.1 * styles[1][:, None, :, None] + 0.1 * maps)
        return drawn

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.synthesis(self.styles(self.broadcast(self.mapping(z, labels))))


def model_of(generator: GeneratorBase) -> Model:
    return Model(generator, None, ModelInfo.of(generator.eval().requires_grad_(False), "bars"))


@pytest.mark.parametrize("name", list(families))
def test_a_family_that_calls_itself_style_based_is(name: str) -> None:
    shape = (2, 8) if name in SERIES else (1, 16, 16)
    generator = build_generator(NetworkConfig(name, 8), shape, 0)
    assert isinstance(generator, StyleBased) == (name.startswith("style") or name == "lucidrains")
    if isinstance(generator, StyleBased):
        assert all(each.passed for each in check_style_based(generator))


@pytest.mark.parametrize("options", [{}, {"last_up": True}, {"num_classes": 3}, {"w_dim": 5, "convs": 1}])
def test_ours_pass_and_are_left_as_they_were(options: dict[str, Any]) -> None:
    generator = StyleGenerator((3, 16, 16), 8, channels=4, **options).train()
    mean = generator.w_mean.clone()  # type: ignore[operator]
    found = check_style_based(generator)
    assert [each.name for each in found] == [
        "mapping", "broadcast", "styles", "synthesis", "rows", "noise", "style_layers",
    ]  # fmt: skip
    assert all(each.passed for each in found), [str(each) for each in found]
    assert generator.training
    assert torch.equal(generator.w_mean, mean)  # type: ignore[arg-type]


def doubled(method: str) -> Callable[[Bars], None]:
    """Makes one step give twice what it gave."""

    def change(bars: Bars) -> None:
        old = getattr(bars, method)
        setattr(bars, method, lambda *given: 2 * old(*given))

    return change


def of_row_0(bars: Bars) -> None:
    bars.styles = lambda w: [layer(w[:, 0]) for layer in bars.affine]  # type: ignore[method-assign]


def of_another_layer(bars: Bars) -> None:
    bars.affine.append(nn.Linear(5, 4))
    bars.styles = lambda w: [layer(w[:, i]) for i, layer in enumerate(list(bars.affine)[:2])]  # type: ignore[method-assign]


def bent(bars: Bars) -> None:
    bars.affine[0] = nn.Sequential(nn.Linear(5, 4), nn.Tanh())
    bars.affine[0].weight = bars.affine[0][0].weight  # type: ignore[index]


@pytest.mark.parametrize(
    ("broken", "name", "said"),
    [
        (lambda bars: setattr(bars, "w_dim", 6), "mapping", r"not so: z \(B, Z\) becomes w \(B, w_dim\)"),
        (lambda bars: setattr(bars, "mapping", lambda z, y=None: torch.ones(4, 5)), "mapping", "each its own"),
        (lambda bars: setattr(bars, "mapping", lambda z: bars.map(z)), "mapping", "TypeError"),
        (lambda bars: setattr(bars, "num_layers", 3), "broadcast", "every row the same"),
        (doubled("broadcast"), "broadcast", "every row the same"),
        (lambda bars: setattr(bars, "styles", lambda w: [w]), "styles", r"style vectors \(B, C\)"),
        (lambda bars: setattr(bars, "forward", lambda z, y=None: torch.zeros(4, 1, 4, 4)), "synthesis", "draws of z"),
        (of_row_0, "rows", "every row of w"),
        (lambda bars: setattr(bars, "noise_shapes", ((1, 3, 3),)), "noise", "RuntimeError"),
        (of_another_layer, "style_layers", "gives one of the styles"),
        (bent, "style_layers", "by its weight"),
        (lambda bars: setattr(bars, "affine", nn.ModuleList()), "synthesis", "IndexError"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(broken: Callable[[Bars], None], name: str, said: str) -> None:
    bars = Bars()
    assert all(each.passed for each in check_style_based(bars)), "whole, it passes"
    broken(bars)
    first = next(each for each in check_style_based(bars) if not each.passed)
    assert first.name == name
    assert re.search(said, first.text), first.text


def test_what_lacks_a_step_is_none() -> None:
    plain = build_generator(ganvas.Config().network, (1, 8, 8), 0)
    (found,) = check_style_based(plain)
    assert not found.passed
    assert found.text.startswith("it lacks w_dim, num_layers, noise_shapes, style_layers, mapping, broadcast")
    model = model_of(plain)
    assert "w" not in spaces(model)
    with pytest.raises(GanvasError, match=r"bars has no w, w\+ or styles: it is not style-based"):
        LatentW(model)


class Reel(nn.Module):
    """Somebody's own, no class of ganvas: `Bars` inside, latents (B, 3, 1, 1), samples (B, 4, 4)."""

    def __init__(self, **changed: Any) -> None:
        super().__init__()
        self.bars = Bars()
        for name in ("w_dim", "num_layers", "noise_shapes", "style_layers", "broadcast", "styles"):
            setattr(self, name, changed.get(name, getattr(self.bars, name)))

    def mapping(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.bars.mapping(z[:, :, 0, 0])

    def synthesis(self, styles: Sequence[Tensor], noise: Sequence[Tensor] | None = None) -> Tensor:
        return self.bars.synthesis(styles, noise)[:, 0]

    def forward(self, z: Tensor) -> Tensor:
        return self.synthesis(self.styles(self.broadcast(self.mapping(z))))


def test_a_wrapped_module_keeps_its_w() -> None:
    model = ganvas.wrap(Reel(), latent_dim=3, shape=(1, 4, 4), latent_shape=(3, 1, 1))
    assert spaces(model)[:4] == ["z", "w", "w+", "styles"]
    assert model.config is None
    z = model.latents(5)
    expected = Bars()(z)
    for name in ("z", "w", "w+", "styles"):
        space = open_space(model, name)
        torch.testing.assert_close(space.decode(space.of(z)), expected)
    assert all(each.passed for each in check_generator(model) if each.name.startswith("space "))
    assert find(open_space(model, "w"), "sefa", 2)[0].vector.shape == (5,)


@pytest.mark.parametrize(
    ("changed", "given", "said"),
    [
        ({"num_layers": 3}, {}, "every row the same"),
        ({}, {"output": lambda drawn: drawn}, "takes float32 and no output="),
    ],
)
def test_a_w_that_does_not_fit_is_left_out_and_said(
    changed: dict[str, Any], given: dict[str, Any], said: str
) -> None:
    reel = Reel(**changed)
    if "num_layers" in changed:
        reel.forward = lambda z: reel.bars(z[:, :, 0, 0])[:, 0]  # type: ignore[method-assign]
    model = ganvas.wrap(reel, latent_dim=3, shape=(1, 4, 4), latent_shape=(3, 1, 1), **given)
    assert "w" not in spaces(model)
    assert f"it is style-based, and its w is not used: {'not so: w becomes w+' if changed else ''}" in repr(
        model
    )
    assert said in repr(model)
    torch.testing.assert_close(model.generator(model.latents(5)), Bars()(model.latents(5)))


def test_the_tools_need_nothing_but_the_protocol() -> None:
    """w, w+ and styles draw what z draws; sefa gives the leading axis of all rows; noise has a seed."""
    from ganvas.web.renderer import Renderer
    from ganvas.web.state import State, pack

    bars = Bars()
    model = model_of(bars)
    z = model.latents(5)
    drawn = bars(z)
    for name in ("w", "w+", "styles"):
        space = open_space(model, name)
        torch.testing.assert_close(space.decode(space.of(z)), drawn)
    rows = torch.cat([nn.functional.normalize(each.weight.double()) for each in bars.affine])  # type: ignore[arg-type]
    expected = torch.linalg.svd(rows).Vh[0].float()
    (found,) = find(open_space(model, "w"), "sefa", 1)
    assert abs(float(found.vector.flatten() @ expected)) == pytest.approx(1, abs=1e-5)
    renderer = Renderer(model)
    fixed, first, again, other = renderer.draw([State(), State(noise=1), State(noise=1), State(noise=2)])
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first, fixed)
    inz = State(base=pack(z[0]), space="z", noise=1)
    inw = State(base=pack(bars.mapping(z[:1])[0]), space="w", noise=1)
    assert torch.equal(*renderer.draw([inz, inw])), "a point of z goes through the mapping there too"
    bars.noise_shapes = ()  # type: ignore[assignment]
    with pytest.raises(GanvasError, match="no noise maps"):
        renderer.draw([State(noise=1)])
