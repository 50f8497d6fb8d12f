"""Other people's generators: what `wrap` finds out about them, what it refuses, and every tool on one that it takes."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import ganvas
from ganvas.config import NetworkConfig
from ganvas.errors import GanvasError
from ganvas.foreign import verify_style
from ganvas.latent import open_space
from ganvas.latent.dissect import dissect
from ganvas.latent.invert import invert, tune
from ganvas.latent.map import draw_map
from ganvas.latent.prior import fit_prior
from ganvas.model import Model, ModelInfo
from ganvas.model_data import load_data_of
from ganvas.networks import build_critic, build_generator
from ganvas.sampling import fit_ratio, samplers
from ganvas.sampling.improve import Evaluator, improve
from ganvas.testing import check_generator


class Drawing(nn.Module):
    """z (B, 6) -> 8 x 8 grey, through a dense layer; `last` says what becomes of the numbers."""

    def __init__(self, last: Callable[[Tensor], Any], size: tuple[int, ...] = (1, 8, 8)) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.dense = nn.Linear(6, int(np.prod(size)))
        self.last, self.size = last, size

    def forward(self, z: Tensor) -> Any:
        return self.last(self.dense(z).reshape(len(z), *self.size))


@pytest.mark.parametrize(
    ("last", "found"),
    [(torch.tanh, (-1, 1)), (torch.sigmoid, (0, 1)), (lambda x: torch.tanh(x) * 1.02, (-1, 1))],
)
def test_the_range_is_seen(last: Callable[[Tensor], Tensor], found: tuple[float, float]) -> None:
    model = ganvas.wrap(Drawing(last), latent_dim=6)
    assert model.generator.value_range == found
    assert "values were taken to lie in" in repr(model)
    assert int(model.sample(50).max()) - int(model.sample(50).min()) > 100


@pytest.mark.parametrize(
    ("last", "message"),
    [
        (lambda x: torch.sigmoid(x) * 255, r"outside of -1 to 1: give value_range=\(0, 255\)"),
        (lambda x: 4 * x, r"outside of -1 to 1: give value_range=\(-\d.*, \d"),
        (lambda x: torch.tanh(x + 3), r"only: that may be a part of 0 to 1 or of -1 to 1. Give value_range"),
    ],
)
def test_a_range_in_doubt_is_asked_for(last: Callable[[Tensor], Tensor], message: str) -> None:
    """sigmoid * 255 was drawn all white, 4 x clipped at 68 % of its pixels, tanh(x + 3) stretched, without a word."""
    with pytest.raises(GanvasError, match=message):
        ganvas.wrap(Drawing(last), latent_dim=6)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"value_range": (math.nan, 1)}, "the lowest and the highest value"),
        ({"value_range": ("0", 1)}, "the lowest and the highest value"),
        ({"num_classes": -1}, "num_classes is -1"),
        ({"latent_dim": 10**12}, "latent_dim is 10{12}; it must be at most"),
        ({"output": lambda found: found.to_sparse()}, "gave a sparse tensor; make it dense"),
        ({"output": lambda found: found.mean()}, r"gave \(\) of torch.float32 for 4 latents"),
    ],
)
def test_what_no_picture_is_drawn_by(asked: dict[str, Any], said: str) -> None:
    """Pictures were black where the range was none, and one number for all of them ended in a traceback."""
    with pytest.raises(GanvasError, match=said):
        ganvas.wrap(Drawing(torch.tanh), **{"latent_dim": 6, **asked})


def test_a_given_range_is_held_against_the_values() -> None:
    drawing = Drawing(lambda x: torch.sigmoid(x) * 255)
    model = ganvas.wrap(drawing, latent_dim=6, value_range=(0, 255))
    z = model.latents(20)
    assert torch.equal(model.sample(20), drawing(z).round().to(torch.uint8)), "255 is white, and 0 black"
    with pytest.raises(GanvasError, match=r"outside of 0 to 1: give value_range=\(0, 255\)"):
        ganvas.wrap(drawing, latent_dim=6, value_range=(0, 1))


@pytest.mark.parametrize(
    ("size", "given", "message"),
    [
        ((8, 8, 3), {}, r"channels come first here. Give output=lambda x: x.permute\(0, 3, 1, 2\)"),
        ((8, 8, 3), {"shape": (3, 8, 8)}, r"not laid out as shape \(3, 8, 8\). Bring channels to the front"),
        ((8, 8), {}, r"give shape=\(1, 8, 8\)"),
        ((8, 8), {"shape": (8, 8)}, r"Give shape=\(1, 8, 8\)"),
        ((16, 8, 8), {}, r"draws 16 channels; pictures have 1 or 3"),
        ((1, 3, 8, 8), {}, r"expected pictures \(C, H, W\) or points"),
        ((1, 8, 8), {"shape": (1, 4, 4)}, r"which is not shape \(1, 4, 4\)"),
    ],
)
def test_other_layouts_are_refused_with_what_to_give(
    size: tuple[int, ...], given: dict[str, Any], message: str
) -> None:
    with pytest.raises(GanvasError, match=message):
        ganvas.wrap(Drawing(torch.tanh, size), latent_dim=6, **given)


def test_what_the_errors_say_works() -> None:
    last = Drawing(torch.tanh, (8, 8, 3))
    model = ganvas.wrap(last, latent_dim=6, output=lambda x: x.permute(0, 3, 1, 2))
    assert model.shape == (3, 8, 8)
    expected = ((last(model.latents(2)) + 1) * 127.5).round().to(torch.uint8).permute(0, 3, 1, 2)
    assert torch.equal(model.sample(2), expected)
    assert ganvas.wrap(Drawing(torch.tanh, (8, 8)), latent_dim=6, shape=(1, 8, 8)).shape == (1, 8, 8)
    flat = ganvas.wrap(Drawing(torch.tanh, (784,)), latent_dim=6)
    (layout,) = [each for each in check_generator(flat) if each.name == "layout"]
    assert not layout.passed
    assert "shape=(1, 28, 28)" in layout.text
    assert ganvas.wrap(Drawing(torch.tanh, (784,)), latent_dim=6, shape=(1, 28, 28)).sample(2).shape == (
        2,
        1,
        28,
        28,
    )
    colour = ganvas.wrap(Drawing(torch.tanh, (3 * 64,)), latent_dim=6)
    assert any("shape=(3, 8, 8)" in each.text for each in check_generator(colour))


@pytest.mark.parametrize(
    ("last", "words", "output"),
    [
        (
            lambda x: {"image": x.tanh(), "w": x[:, 0]},
            r"found\['image'\] is \(4, 1, 8, 8\)",
            lambda f: f["image"],
        ),
        (lambda x: (x[:, 0], x.tanh()), r"found\[1\] is \(4, 1, 8, 8\)", lambda f: f[1]),
        (lambda x: SimpleNamespace(sample=x.tanh()), r"found.sample is \(4, 1, 8, 8\)", lambda f: f.sample),
    ],
)
def test_outputs_of_several_parts(
    last: Callable[[Tensor], Any], words: str, output: Callable[[Any], Tensor]
) -> None:
    with pytest.raises(GanvasError, match=words):
        ganvas.wrap(Drawing(last), latent_dim=6)
    model = ganvas.wrap(Drawing(last), latent_dim=6, output=output)
    plain = ganvas.wrap(Drawing(torch.tanh), latent_dim=6)
    assert torch.equal(model.sample(5), plain.sample(5))
    with pytest.raises(GanvasError, match="output= gave a str and not one tensor"):
        ganvas.wrap(Drawing(last), latent_dim=6, output=lambda found: "x")


class Restless(nn.Module):
    """Not a function of z: noise, dropout that stays on, or the statistics of the batch."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.inner = kind, Drawing(lambda x: x)

    def forward(self, z: Tensor) -> Tensor:
        drawn: Tensor = self.inner(z)
        if self.kind == "noise":
            drawn = drawn + 0.5 * torch.randn_like(drawn)
        elif self.kind == "dropout":
            drawn = nn.functional.dropout(drawn, 0.5, training=True)
        else:
            drawn = nn.functional.batch_norm(drawn, None, None, training=True)
        return drawn.tanh()


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("noise", "draws other samples"),
        ("dropout", "draws other samples"),
        ("statistics", "depend on their batch"),
    ],
)
def test_what_is_no_function_of_its_latents_is_said(kind: str, message: str) -> None:
    with pytest.warns(UserWarning, match=message):
        model = ganvas.wrap(Restless(kind), latent_dim=6)
    assert message in repr(model)
    named = {each.name: each for each in check_generator(model)}
    assert not (named["repeatable"].passed and named["independent"].passed)


def test_large_pictures_are_tried_a_few_at_a_time() -> None:
    drawn: list[int] = []

    def large(x: Tensor) -> Tensor:
        drawn.append(len(x))
        return nn.functional.interpolate(x, scale_factor=64.0).tanh()

    model = ganvas.wrap(Drawing(large, (3, 16, 16)), latent_dim=6)
    assert model.shape == (3, 1024, 1024)
    assert max(drawn) == 4
    assert min(drawn) < 4


def test_rows_of_w_are_tried_one_by_one() -> None:
    network = NetworkConfig("stylegan2", 8, generator={"channel_base": 64, "channel_max": 4, "w_dim": 8})
    generator: Any = build_generator(network, (1, 32, 32), 0)
    seen: list[int] = []
    generator.to_image[-1].register_forward_hook(lambda *given: seen.append(len(given[2])))
    assert all(each.passed for each in verify_style(generator))
    assert max(seen) == 4


def test_a_module_is_left_as_its_user_is_told() -> None:
    """In evaluation mode, said; the global random numbers go on where they were."""
    module = nn.Sequential(nn.Linear(6, 64), nn.BatchNorm1d(64), nn.Dropout(), nn.Tanh())
    state = torch.get_rng_state()
    model = ganvas.wrap(module, latent_dim=6)
    assert torch.equal(torch.get_rng_state(), state)
    assert not module.training
    assert "put into evaluation mode" in repr(model)
    assert "put into evaluation mode" not in repr(ganvas.wrap(module, latent_dim=6))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_work(dtype: torch.dtype) -> None:
    exact = ganvas.wrap(Drawing(torch.tanh), latent_dim=6).sample(20)
    model = ganvas.wrap(Drawing(torch.tanh).to(dtype), latent_dim=6)
    off = (model.sample(20).int() - exact.int()).abs().max()
    assert off <= {torch.float64: 1, torch.float16: 1, torch.bfloat16: 3}[dtype]
    space = open_space(model, "z")
    z = space.sample(2, torch.Generator().manual_seed(0)).requires_grad_(True)
    (slope,) = torch.autograd.grad(space.decode(z).sum(), z)
    assert slope.dtype == torch.float32
    assert slope.abs().sum() > 0
    assert str(dtype) in repr(model)


class Labelled(nn.Module):
    def forward(self, z: Tensor, c: Tensor) -> Tensor:
        return torch.tanh(z[:, :4] + c[:, None])


class Named(nn.Module):
    def forward(self, z: Tensor, temperature: float, *, depth: int = 1) -> Tensor:
        return z * temperature


def test_what_can_not_be_called_says_why() -> None:
    wrong: Any
    with pytest.raises(
        GanvasError, match=r"forward\(z, c\) wants c beside the latents. Class numbers come with num_classes="
    ):
        ganvas.wrap(Labelled(), latent_dim=6)
    assert ganvas.wrap(Labelled(), latent_dim=6, num_classes=3).labels(4) is not None
    with pytest.raises(GanvasError, match="wants temperature beside the latents"):
        ganvas.wrap(Named(), latent_dim=6)
    for wrong in (lambda z: z, {"weights": torch.zeros(2)}, nn.Linear):
        with pytest.raises(GanvasError, match=r"wrap takes a torch.nn.Module, got a (function|dict|type)"):
            ganvas.wrap(wrong, latent_dim=6)
    for wrong in (0, -1, 1.5, "6", None):
        with pytest.raises(GanvasError, match="latent_dim is"):
            ganvas.wrap(Drawing(torch.tanh), latent_dim=wrong)
    with pytest.raises(GanvasError, match="has not the 6 numbers"):
        ganvas.wrap(Drawing(torch.tanh), latent_dim=6, latent_shape=(7,))


def test_labels_that_name_no_class() -> None:
    model = ganvas.wrap(Labelled(), latent_dim=6, num_classes=3)
    wrong: Any
    for wrong, message in (
        (torch.tensor([[0.0, 1.0, 0.0]]), r"class numbers \(n,\), got shape \(1, 3\).*argmax"),
        (torch.eye(3).long(), "argmax"),
        ([[0, 1]], "argmax"),
        (torch.tensor([0.5]), r"whole numbers, got float32.*labels.long\(\)"),
        (np.array([1.0]), "whole numbers, got float64"),
        ([True, False], "whole numbers, got bool"),
        (["Sandal"], "labels holds <U6, expected numbers"),
        (np.array([None, 1], dtype=object), "labels holds object"),
        ([1, [2, 3]], "no array of numbers"),
        (torch.tensor([1 + 1j]), "whole numbers, got complex64"),
        ([3], "from 0 to 2"),
        ([-1], "from 0 to 2"),
        ([], "from 0 to 2"),
    ):
        with pytest.raises(GanvasError, match=message):
            model.sample(4, labels=wrong)
    expected = model.sample(4, labels=[2, 0])
    right: Any
    for right in (
        np.array([2, 0], dtype=">i4"),
        np.array([0, 2])[::-1],
        np.uint8([2, 0]),
        torch.tensor([[2], [0]]),
        (2, 0),
    ):
        assert torch.equal(model.sample(4, labels=right), expected)
    assert torch.equal(model.sample(2, labels=1), model.sample(2, labels=[1]))  # type: ignore[arg-type]


# --- a wrapped model in every tool ----------------------------------------------------------------------------------


class Small(nn.Module):
    """z (B, 6) -> 1 x 8 x 8, by a dense layer and two that draw."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(1)
            self.inner = nn.Sequential(
                nn.Linear(6, 64), nn.Unflatten(1, (4, 4, 4)), nn.ReLU(),
                nn.ConvTranspose2d(4, 8, 4, 2, 1), nn.ReLU(), nn.Conv2d(8, 1, 3, padding=1),
            )  # fmt: skip

    def forward(self, z: Tensor) -> Tensor:
        return torch.tanh(4 * self.inner(z))


@pytest.fixture(scope="module")
def model() -> ganvas.Model:
    return ganvas.wrap(Small(), latent_dim=6)


@pytest.fixture(scope="module")
def real(model: ganvas.Model) -> Tensor:
    """What it would draw if it were a little better: other samples, a little brighter."""
    return (model.sample(600, seed=9).int() + 20).clamp(0, 255).to(torch.uint8)


def test_what_is_known_of_a_module(model: ganvas.Model) -> None:
    """What it draws and how; and nothing of a training that nobody has seen."""
    info = model.info
    assert (info.name, info.shape, info.latent_dim, info.prior) == ("Small", (1, 8, 8), 6, "normal")
    assert info.value_range == (-1, 1)
    unknown = (info.data, info.training, info.architecture, info.kimg, info.class_names, model.config)
    assert unknown == (None,) * 6
    assert info.resize is None
    assert len(info.notes) == 2, "its mode, and its range"
    assert "kimg" not in repr(model)


def test_evaluate_says_what_is_not_known(model: ganvas.Model, real: Tensor) -> None:
    """Copies are those of the training data, and these may or may not be among them."""
    found = ganvas.evaluate(model, real, "authenticity,sliced-wasserstein", n=200, extractor="raw")
    assert found.rows[0].kimg is None
    (said,) = [each for each in found.warnings if "not known what this model was trained on" in each]
    assert "authenticity and data-copying tell copies of array only" in said
    found = ganvas.evaluate(model, real, "sliced-wasserstein", n=200, extractor="raw")
    assert not any("not known" in each for each in found.warnings)


@pytest.fixture(scope="module")
def untold(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of a generator that says nothing of a training."""
    config = NetworkConfig("dcgan", 6, generator={"channels": 4})
    generator = build_generator(config, (1, 8, 8), 0).eval()
    path = tmp_path_factory.mktemp("untold") / "g.safetensors"
    Model(generator, None, ModelInfo.of(generator, "dcgan", architecture=config)).save(path)
    return path


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("eval {model} --n 100", 2, "does not say what it was trained on. Give them with --reference"),
        ("calibrate {model}", 2, "does not say what it was trained on. Give them with --data"),
        ("improve {model}", 2, "does not say what it was trained on. Give them with --data"),
        ("calibrate {model} --data {real}", 0, "warning: It is not known what this model was trained on"),
        ("sample {model} --n 4 --out {out}/s.png", 0, "4 samples (seed 0, kimg unknown)"),
        ("sample {model} --n 4 --out {out}/s.png --json", 0, '"kimg": null'),
        ("map {model} --n 300 --method pca --out {out}/m.png", 0, "does not say what it was trained on"),
        (
            "directions {model} --method attribute --attribute class:3 --out {out}/d.safetensors",
            2,
            "what this model was trained on is not known",
        ),
    ],
)
def test_commands_say_what_is_not_known(
    untold: Path, real: Tensor, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: str, code: int, said: str
) -> None:  # fmt: skip
    from ganvas.cli import main

    np.save(tmp_path / "real.npy", real[:, 0].numpy())
    known = {"model": untold, "real": tmp_path / "real.npy", "out": tmp_path}
    assert main([*words.format(**known).split(), "--device", "cpu"]) == code
    assert said in "".join(capsys.readouterr()).replace("\n", " ")


def test_the_explorer_says_what_is_not_known(
    model: ganvas.Model, real: Tensor, untold: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ganvas.web import app
    from ganvas.web.source import Source

    shown: list[Source] = []
    monkeypatch.setattr(app, "serve", lambda source, *rest: shown.append(source))
    ganvas.explore(model)
    ganvas.explore(model, real=real)
    ganvas.explore(untold, device="cpu")
    plain, given, file = (source.renderer for source in shown)
    assert plain.real is None
    assert plain.unreal == (
        "No real images were given, and what this model was trained on is not known: ganvas.explore(model, real=images)"
    )
    assert given.real is not None
    assert file.real is None
    assert "does not say what it was trained on. Compare it with a folder" in file.unreal


def test_evaluate_wants_a_reference(model: ganvas.Model, real: Tensor, tmp_path: Path) -> None:
    np.save(tmp_path / "real.npy", real[:, 0].numpy())
    with pytest.raises(
        GanvasError, match=r"does not say what it was trained on. Give them with --reference \(real=\)"
    ):
        ganvas.evaluate(model, n=200)
    found = ganvas.evaluate(model, tmp_path / "real.npy", "sliced-wasserstein", n=200, extractor="raw")
    assert found["sliced-wasserstein"] > 0
    with pytest.raises(GanvasError, match=r"does not say what it was trained on"):
        load_data_of(model)


def test_calibrate_and_sample(model: ganvas.Model, real: Tensor, tmp_path: Path) -> None:
    """As docs/sampling.md writes it, from real samples alone: half of them train the critic that the module lacks."""
    space = open_space(model)
    ratio = fit_ratio(space, real, steps=200)
    assert ratio.report.critic == "fresh"
    assert ratio.report.real == 300
    assert ratio.report.auc > 0.6, "20 levels of brightness can be told apart"
    drawn = samplers.get("budget")(space, ratio, 20, generator=torch.Generator().manual_seed(0))
    assert drawn.samples.shape == (20, 1, 8, 8)
    ratio.save(tmp_path / "ratio.safetensors")
    again = type(ratio).load(tmp_path / "ratio.safetensors", model)
    images = space.decode(space.numbered(8))
    torch.testing.assert_close(again(images), ratio(images))
    with pytest.raises(GanvasError, match=r"give at least 200, or others with train=. There are 150"):
        fit_ratio(space, real[:150])


def test_a_critic_of_ones_own_is_in_no_file(model: ganvas.Model, real: Tensor, tmp_path: Path) -> None:
    """It calibrates like any other; a file would have to say what it is built from."""
    critic = build_critic(NetworkConfig("dcgan", critic={"channels": 4}), (1, 8, 8), 0).eval()
    ratio = fit_ratio(open_space(replace(model, critic=critic)), real, critic="own")
    assert ratio.report.critic == "own"
    with pytest.raises(GanvasError, match="critic of unknown architecture cannot be saved"):
        ratio.save(tmp_path / "ratio.safetensors")
    assert not list(tmp_path.iterdir())


def test_improve(model: ganvas.Model, real: Tensor) -> None:
    from ganvas.data import Dataset
    from ganvas.features import open_extractor

    data = Dataset("brighter", real, (1, 8, 8), "0" * 16)
    ratio = fit_ratio(open_space(model), real, steps=100)
    found = improve(model, ratio, Evaluator(open_extractor("raw", data, "cpu"), data), budget=3, n=200)
    assert found.rows
    assert found.words
    # The 64 that are shown do not keep all the others in memory.
    assert all(each.untyped_storage().nbytes() == each.nbytes for each in found.samples)


def test_map(model: ganvas.Model, real: Tensor) -> None:
    found = draw_map(open_space(model), 300, "pca", real=real)
    assert found.places.shape == (300, 2)


def test_dissect(model: ganvas.Model) -> None:
    found = dissect(open_space(model), n=64)
    assert {unit.layer for unit in found.units("brightness")} == {"module.inner.4"}
    assert len(found.agreement["module.inner.4"]) == 8, "its eight channels"


def test_invert_with_tuning(model: ganvas.Model) -> None:
    space = open_space(model)
    target = (model.sample(1, seed=3).int() + 10).clamp(0, 255).to(torch.uint8)
    start = invert(space, target, steps=30, restarts=2)
    tuned, after = tune(space, start, target, steps=20)
    assert after.residual < start.residual
    with pytest.raises(GanvasError, match="a module of your own"):
        tuned.save("tuned.safetensors")


def test_save_says_why_it_can_not(model: ganvas.Model, tmp_path: Path) -> None:
    with pytest.raises(GanvasError, match=r"Small, a module of your own.*save_model.*wrap it again"):
        model.save(tmp_path / "mine.safetensors")
    assert not list(tmp_path.iterdir())


def test_recipe_and_replay(model: ganvas.Model, tmp_path: Path) -> None:
    from ganvas.web.opening import replay_film
    from ganvas.web.renderer import Renderer
    from ganvas.web.session import Session, as_python
    from ganvas.web.state import FROM_PYTHON, State, to_json

    renderer = Renderer(model, FROM_PYTHON)
    session = Session(renderer)
    session.state = State(seed=1, number=100_000)
    (tmp_path / "recipe.json").write_text(json.dumps(to_json(session.recipe)))
    with pytest.raises(
        GanvasError, match=r"given from Python, so no file holds it.*replay\(recipe, model=...\)"
    ):
        ganvas.replay(tmp_path / "recipe.json")
    shown = renderer.draw([session.state])[0]
    assert torch.equal(ganvas.replay(tmp_path / "recipe.json", model=model), shown)
    assert torch.equal(model.sample(1, seed=1, first=100_000)[0], shown)
    assert "model=model" in as_python(session.recipe)
    with pytest.raises(GanvasError, match="at least 2 key"):
        replay_film(tmp_path / "recipe.json", model=model)
    missing = {**to_json(session.recipe), "model": str(tmp_path / "gone")}
    with pytest.raises(GanvasError, match=r"names the model .*gone', and was not saved by you.*--model"):
        ganvas.replay(missing)


def test_arrays_as_people_have_them(model: ganvas.Model, real: Tensor) -> None:
    """Big-endian, negative strides, channels last, one or several: the same points and the same ratio."""
    images = model.sample(2, seed=4)
    expected = ganvas.invert(model, images, steps=5, restarts=1).points
    several = images.numpy()
    for same in (
        several,
        several[:, 0],
        several.transpose(0, 2, 3, 1),
        several[::-1].copy()[::-1],
        several.astype(">u1"),
    ):
        assert torch.equal(ganvas.invert(model, same, steps=5, restarts=1).points, expected)
    one = ganvas.invert(model, several[0], steps=5, restarts=1).points
    for same in (images[0], several[0, 0], several[0].transpose(1, 2, 0), several[:1]):
        assert torch.equal(ganvas.invert(model, same, steps=5, restarts=1).points, one)
    wrong: Any
    for wrong in (several.astype(object), several.astype(complex), "images", [[1], [2, 3]]):
        with pytest.raises(GanvasError, match=r"images (holds|is)"):
            ganvas.invert(model, wrong)
    space = open_space(model)
    plain = fit_ratio(space, real, steps=5).report.log_loss
    assert fit_ratio(space, real[:, 0].numpy()[::-1].copy()[::-1], steps=5).report.log_loss == plain
    with pytest.raises(GanvasError, match=r"real has shape .*astype\('uint8'\)"):
        fit_ratio(space, real.float())


class Affine(nn.Module):
    """Numbers in two maps -> grey pictures, each pixel of the upper half one of them; and back."""

    def __init__(self, back: bool = False) -> None:
        super().__init__()
        self.back = back

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.back:
            return x[:, :, :4].atanh().reshape(len(x), 2, 4, 4)
        upper = x.reshape(len(x), 1, 4, 8).tanh()
        return torch.cat([upper, torch.zeros_like(upper)], 2)


def test_a_decoder_with_its_encoder_is_an_autoencoder() -> None:
    model = ganvas.wrap(
        Affine(), latent_dim=32, latent_shape=(2, 4, 4), value_range=(-1, 1), encoder=Affine(back=True)
    )
    z = torch.randn(6, 32, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(model.encode(model.generator(z)), z, atol=1e-3, rtol=1e-3)
    images = model.sample(300, seed=1)
    assert torch.equal(model.reconstruct(images[:4]), images[:4])
    assert torch.equal(model.encode(images[:4].numpy()), model.encode(images[:4]))
    assert torch.equal(model.reconstruct(images[:4].numpy()), images[:4])
    with pytest.raises(GanvasError, match="samples are int64; give uint8 images"):
        model.encode(images[:4].long())
    rows: list[int] = []
    for network in (model.generator, model.encoder):
        assert network is not None
        network.register_forward_pre_hook(lambda m, given: rows.append(len(given[0])))
    model.encoded_at_once = 64  # as where pictures are large: 256 of 256 px took an autoencoder gigabytes
    model.encode(images)
    model.reconstruct(images)
    assert max(rows) == 64
    found = ganvas.invert(model, images[:2], method="encoder")
    assert float(found.residual.max()) < 0.02
    shifted = 0.3 + 0.1 * torch.randn(300, 32, generator=torch.Generator().manual_seed(2))
    fitted = fit_prior(model, model.to_data(model.generator(shifted)), 1)
    codes = torch.atanh(fitted.generator(torch.randn(500, 32))[:, 0, :4].flatten(1))
    assert float(codes.mean()) == pytest.approx(0.3, abs=0.02), "drawn from where the codes are"
    assert float(codes.std()) == pytest.approx(0.1, abs=0.02)


@pytest.mark.parametrize(
    ("encoder", "output", "said"),
    [
        (nn.Flatten(), None, "Flatten gives 64 numbers for a sample, and the module takes 32"),
        (nn.Linear(3, 2), None, r"Linear cannot encode samples of shape \('B', 1, 8, 8\): RuntimeError"),
        (Affine(back=True), lambda found: {"z": found}, r"gave a dict .* Of an encoder: by encoder_output="),
        (lambda x: x, None, "encoder is a function; it must be a torch.nn.Module"),
    ],
)
def test_an_encoder_that_does_not_fit_is_named(encoder: Any, output: Any, said: str) -> None:
    with pytest.raises(GanvasError, match=said):
        ganvas.wrap(
            Affine(),
            latent_dim=32,
            latent_shape=(2, 4, 4),
            value_range=(-1, 1),
            encoder=encoder,
            encoder_output=output,
        )
