"""Every tool on every family that is imported, by the registries: a new sampler, finder, damage, metric or importer is tried too.

Small files, few steps. What is asked of each: that it works, or says in a sentence why it can not.
"""

import dataclasses
from functools import cache, partial
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import Tensor

import ganvas
from ganvas.config import NetworkConfig
from ganvas.data import load_dataset
from ganvas.data.base import Dataset
from ganvas.errors import GanvasError
from ganvas.features.base import Embedded
from ganvas.importers import importers
from ganvas.latent import directions, dissect, edits, learned, restore, statistics, supervised, tools
from ganvas.latent.arithmetic import arithmetic
from ganvas.latent.critic import scorer_of
from ganvas.latent.finders import finders
from ganvas.latent.hooks import hooked
from ganvas.latent.likeness import likeness
from ganvas.latent.map import Method, draw_map
from ganvas.latent.space import HiddenLayer, open_space, spaces
from ganvas.model import Model, ModelInfo
from ganvas.networks import StyleBased, build_critic, build_generator, families
from ganvas.report.page import interpolation
from ganvas.sampling import LogRatio, fit_ratio, samplers
from ganvas.sampling.improve import Evaluator, improve
from ganvas.sampling.ratio import Which
from ganvas.sampling.settings import Setting, settings
from ganvas.web import export, landscape, quality
from ganvas.web.renderer import Renderer
from ganvas.web.state import State
from tests.importers.opened import FILES

FILE_OF = {
    "biggan-deep": "biggan_deep", "stylegan2-pytorch": "lucidrains", "lightweight-gan": "lightweight_cosines",
    "r3gan": "r3gan.pkl", "stylegan2": "stylegan2_ada.pkl", "rosinality": "rosinality.pt",
    "stylegan2-tensorflow": "stylegan2_tf.pkl", "stylegan3": "stylegan3_r.pkl",
}  # fmt: skip
GENERATOR: dict[str, dict[str, Any]] = {"stylegan3": {"num_layers": 3, "num_critical": 1, "margin_size": 2}}
FAMILIES = ("biggan", "lucidrains", "lightweight", "r3", "stylegan2", "stylegan3")
CLASSES = {"biggan": 3, "stylegan2": 3, "r3": 3}
FEWER = {"jacobian": {"samples": 1}, "ica": {"samples": 200}}
"""Options of finders that take their time."""
REALS = 220


@cache
def model_of(name: str) -> Model:
    """A tiny one of the family, as an importer would build it; the critic only where the files have one."""
    tiny = dict(families.get(name).tiny)
    shape, classes = (3, 8, 8), CLASSES.get(name, 0)
    network = NetworkConfig(
        name, 4, conditional=classes > 0, generator=tiny | GENERATOR.get(name, {}), critic=tiny
    )
    generator = build_generator(network, shape, classes, seed=1).eval().requires_grad_(False)
    random = torch.Generator().manual_seed(0)
    for (
        weight
    ) in generator.parameters():  # what training begins at 0: strengths of noise, weights of attention
        if not weight.any():
            weight.copy_(0.2 * torch.randn(weight.shape, generator=random))
    has_critic = name in ("r3", "stylegan2", "stylegan3")
    critic = (
        build_critic(network, shape, classes, seed=1).eval().requires_grad_(False) if has_critic else None
    )
    info = ModelInfo.of(generator, name, architecture=network, source="another toolkit")
    return Model(generator, critic, info)


@cache
def real_of(name: str) -> tuple[Tensor, Tensor | None]:
    """Real images and their classes: what the model draws, and noise on it."""
    model = model_of(name)
    drawn = model.sample(REALS, seed=5).int()
    noise = torch.randint(-40, 41, drawn.shape, generator=torch.Generator().manual_seed(0))
    return (drawn + noise).clamp(0, 255).to(torch.uint8), model.labels_at(range(REALS))


@cache
def ratio_of(name: str) -> LogRatio:
    """Of the critic of the file, or one that is trained where it has none."""
    model = model_of(name)
    own: Which = "own" if model.critic is not None else "fresh"
    return fit_ratio(open_space(model, "z"), *real_of(name), critic=own, steps=20)


def shaped(samples: Tensor, model: Model, count: int) -> None:
    assert tuple(samples.shape) == (count, *model.shape)


def rowwise(space: HiddenLayer, z: Tensor, labels: Tensor | None) -> bool:
    """Whether the layer gives one tensor with a row a sample in one forward pass."""
    seen: list[Any] = []
    with hooked(space.module, lambda module, inputs, output: seen.append(output)):
        space.model.generator(z, labels)
    return len(seen) == 1 and isinstance(seen[0], Tensor) and len(seen[0]) == len(z)


each_family = pytest.mark.parametrize("name", FAMILIES)


def test_all_importers_are_tried() -> None:
    """Each gives a family that is tried below; autoencoders, of which nobody says what to draw, are in `test_autoencoders`."""
    assert {*FILE_OF, "autoencoder-kl", "taesd"} == set(importers)
    made = {name: ganvas.load(FILES / file, device="cpu") for name, file in FILE_OF.items()}
    assert {model.info.name for model in made.values()} == set(FAMILIES)
    for name in FAMILIES:
        critics = {model.critic is not None for model in made.values() if model.info.name == name}
        assert critics == {model_of(name).critic is not None}


@each_family
def test_every_space(name: str) -> None:
    """The point of a latent draws what the latent draws, where nothing goes around it; a layer may be no space, and says so."""
    model, asked = model_of(name), []
    z, labels = model.latents(2), model.labels(2)
    with torch.no_grad():
        whole = model.generator(z, labels)
        for kind in spaces(model):
            space = open_space(model, kind)
            if isinstance(space, HiddenLayer) and not rowwise(space, z, labels):
                asked.append(kind)
                with pytest.raises(GanvasError, match="so it is no latent space"):
                    space.of(z, labels)
                continue
            points = space.of(z, labels)
            drawn = space.decode(points, labels)
            assert drawn.shape == whole.shape
            assert drawn.isfinite().all(), kind
            if not isinstance(space, HiddenLayer):
                torch.testing.assert_close(drawn, whole, rtol=1e-4, atol=1e-4)
    assert len(asked) < 0.5 * len(spaces(model)), asked
    assert isinstance(model.generator, StyleBased) == ({"w", "w+", "styles"} <= set(spaces(model)))
    assert bool(model.generator.num_classes) == ("class" in spaces(model))


@each_family
def test_every_noise_map(name: str) -> None:
    """Another draws another picture, the own one the same; a generator without says that it has none."""
    generator: Any = model_of(name).generator
    if not isinstance(generator, StyleBased):
        return
    with torch.no_grad():
        w = generator.mapping(model_of(name).latents(1), model_of(name).labels(1))
        styles = generator.styles(generator.broadcast(w))
        plain = generator.synthesis(styles)
        random = torch.Generator().manual_seed(0)
        maps = [torch.randn(1, *shape, generator=random) for shape in generator.noise_shapes]
        if not maps:
            return
        flat = [torch.zeros(1, *shape) for shape in generator.noise_shapes]
        assert not torch.equal(generator.synthesis(styles, maps), generator.synthesis(styles, flat))
        assert torch.equal(generator.synthesis(styles), plain)


@each_family
def test_every_finder(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directions, "EFFECT_SAMPLES", 4)
    monkeypatch.setattr(directions, "CONTROLS", 2)
    model = model_of(name)
    for kind in {"z", open_space(model).name}:
        space = open_space(model, kind)
        for method in finders:
            finder = finders.get(method)
            if not finder.knows(space) or (method == "ica" and kind == "z"):
                with pytest.raises(GanvasError):
                    finder(space, 2, 0)
                continue
            vectors, _ = finder(space, 2, 0, **FEWER.get(method, {}))
            assert vectors.shape == (2, space.size), method
            torch.testing.assert_close(vectors.norm(dim=1), torch.ones(2), rtol=1e-4, atol=1e-4)
    space = open_space(model)
    (found, _) = directions.find(space, "random", 2)
    assert np.isfinite(found.effect)
    assert (found.cost is not None) == (model.critic is not None)
    vectors, _ = learned.learn(space, 2, steps=2, batch=4)
    assert vectors.shape == (2, space.size)
    made = supervised.from_attribute(space, "brightness", (), 60, 0)
    assert made.vector.shape == space.shape
    edited = tools.edit(model, [0, 3], found, [-1.0, 0.0])
    assert torch.equal(edited[0, 1], model.sample(1)[0])
    shaped(edits.draw_edit(model, found, strengths=[2.0], n=3).samples[0], model, 3)
    if isinstance(model.generator, StyleBased):
        row = dataclasses.replace(found, layers=(0,))
        shaped(edits.draw_edit(model, row, strengths=[2.0], n=2).samples[0], model, 2)
    sums = arithmetic(space, "0 - 1 + 2")
    with torch.no_grad():
        shaped(space.decode(sums.result[None], space.labels(1, None)), model, 1)


@each_family
def test_every_way(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "STEPS", 2)
    monkeypatch.setattr(tools, "ROUNDS", 1)
    model = model_of(name)
    for kind in get_args(tools.Kind):
        if kind == "mixing" and not isinstance(model.generator, StyleBased):
            with pytest.raises(GanvasError, match=r"no space 'w\+'"):
                tools.walk(model, kind=kind, keys=2, frames=3)
            continue
        found = tools.walk(model, kind=kind, keys=2, frames=3, layers=1)
        shaped(found.samples, model, len(found.samples))
    shaped(tools.walk(model, keys=2, frames=3, loop=True, equal=True).samples, model, 3)
    assert interpolation(model, 2, 3).width > 3 * model.shape[2]


@each_family
def test_every_inversion(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pivotal tuning among them, which leaves the model as it was."""
    model = model_of(name)
    monkeypatch.setattr(tools, "train_encoder", partial(tools.train_encoder, steps=2, batch=4))
    images, before, found_in = model.sample(2, seed=3), model.hash, open_space(model)
    for method in ("optimise", "encoder", "hybrid", "tune"):
        options = {} if method == "encoder" else {"steps": 2, "restarts": 1}
        found = tools.invert(model, images, method=method, **options)  # type: ignore[arg-type]
        shaped(found.drawn, model, 2)
        assert found.residual.isfinite().all()
        assert (found.tuned is not None) == (method == "tune")
        if found.tuned is not None:
            shaped(found.tuned.sample(2), model, 2)
            points, labels = found.points, found.labels
            with torch.no_grad():
                drawn = open_space(found.tuned, found_in.name).decode(points, labels)
            torch.testing.assert_close(drawn, found.drawn)
    for task in restore.tasks:
        done = restore.damage(model, task, factor=2)
        repaired = restore.restore(found_in, images, done, steps=2, start=found_in.numbered(2))
        shaped(repaired.samples, model, 2)
    assert type(model)(model.generator, None, model.info).hash == before


@each_family
def test_every_view(name: str) -> None:
    """Maps, neighbours, units, and what is measured of a space."""
    model = model_of(name)
    real, _ = real_of(name)
    for method in get_args(Method):
        if method != "umap":  # has dependencies of its own
            assert draw_map(open_space(model, "z"), 60, method, real=real[:60]).places.shape == (60, 2)
    assert likeness(model, real[:100], n=100).words
    space = open_space(model)
    if scorer_of(model) is None:
        with pytest.raises(GanvasError, match="critic"):
            dissect.switch(space, n=40)
    concept = "brightness" if scorer_of(model) is None else dissect.CRITIC_SCORE
    switched = dissect.switch(space, concept, units=2, n=40)
    assert switched.units
    names = ["brightness", "contrast"]
    assert statistics.linear_separability(space, names, samples=200) >= 1
    made = directions.find(space, "random", 2)
    assert np.isfinite(statistics.rescore(space, made, names, samples=20).leakage()).all()
    assert statistics.intrinsic_dimension(space.numbered(200).flatten(1).numpy()) > 0


@each_family
def test_every_sampler(name: str) -> None:
    """By the critic of the file; where it has none, asking for it is an error in words and another is trained."""
    model = model_of(name)
    if model.critic is None:
        with pytest.raises(GanvasError, match="critic"):
            fit_ratio(open_space(model, "z"), *real_of(name), critic="own")
    ratio = ratio_of(name)
    for sampler in samplers:
        drawn = Setting(sampler, samplers.get(sampler).tiny).draw(model, ratio, 4)
        shaped(drawn.samples, model, 4)
        assert drawn.points.isfinite().all(), sampler
    for mode in ("z", "w"):
        if mode in spaces(model):
            shaped(Setting("prior", truncation=0.7).draw(model, None, 3).samples, model, 3)


@each_family
def test_improve_and_measure(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of(name)
    real, labels = real_of(name)
    kept = {"images": real.permute(0, 2, 3, 1).numpy()}
    if labels is not None:
        kept["labels"] = labels.numpy()
    np.savez(tmp_path / "real.npz", **kept)
    data = load_dataset(tmp_path / "real.npz")
    assert isinstance(data, Dataset)

    class Averages:
        """Features of 4 x 4 averages, for which nothing has to be trained."""

        id, resize, cacheable = "averages", "averages", False

        def __call__(self, samples: Tensor) -> Embedded:
            return Embedded(torch.nn.functional.adaptive_avg_pool2d(samples.float(), 2).flatten(1), None)

    monkeypatch.setattr("ganvas.sampling.improve.MORE", 1)
    tried = [each for each in settings(model, 2) if each.sampler in ("prior", "resample")][:3]
    found = improve(model, ratio_of(name), Evaluator(Averages(), data), budget=2, n=100, tried=tried)
    assert found.words
    assert not [row.failed for row in found.rows if row.failed]
    measured = ganvas.evaluate(
        model, data, "frechet,precision-recall", n=100, extractor=Averages(), device="cpu"
    )
    assert measured.rows


@each_family
def test_the_explorer_s_page_and_its_parts(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module, constant, value in (
        (export, "STARTS", 2), (export, "DIRECTIONS", 2), (export, "STRENGTHS", (-1.0, 0.0, 1.0)), (export, "DOTS", 20),
        (export, "FIRST", 4), (landscape, "SAMPLES", 120), (landscape, "LANDMARKS", 60), (quality, "KNOWN", 120),
        (directions, "EFFECT_SAMPLES", 4), (directions, "CONTROLS", 2),
    ):  # fmt: skip
        monkeypatch.setattr(module, constant, value)
    renderer = Renderer(model_of(name), name)
    page = export.page(renderer, "random")
    assert b"<html" in page
    assert b"NaN" not in page
    shaped(renderer.draw([State(number=1)]), renderer.model, 1)
