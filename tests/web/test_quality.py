"""The numbers beside the picture: usual samples pass, broken ones do not, and repair helps."""

from typing import Any

import pytest
import torch

from ganvas.latent import paths
from ganvas.web.quality import RARE, Gauge, Real, _distances, _parts, shrunk
from ganvas.web.renderer import Renderer
from ganvas.web.state import State, move_of


def test_own_samples_are_rarely_called_strange(fashion: Renderer) -> None:
    found = [fashion.quality(State(3, i)) for i in range(100)]
    # One threshold, and three standard errors of a hundred samples.
    assert sum(bool(each.warnings) for each in found) <= 100 * RARE + 3 * (100 * RARE) ** 0.5
    shares = torch.tensor([each.realism for each in found])
    assert 0.35 < float(shares.mean()) < 0.65, "shares of own samples are uniform"
    assert all(each.log_ratio is not None and each.distance is not None for each in found)


def test_one_threshold_and_one_word(fashion: Renderer) -> None:
    states = [State(5, i, truncation=t) for i in range(20) for t in (0.0, 0.3, 1.0, 2.5)]
    found = [fashion.quality(state) for state in states]
    assert {each.manifold < RARE for each in found} == {True, False}
    for each in found:
        assert bool(each.warnings) == (each.manifold < RARE) == each.words.startswith("off the manifold")
    assert all(
        each.manifold < RARE for each, state in zip(found, states, strict=True) if state.truncation == 2.5
    )


def test_given_images_stand_in_no_order() -> None:
    """The map shows the first 2,000: of images that came class by class these were of the first classes."""
    images = torch.arange(10).repeat_interleave(100)[:, None, None, None].expand(-1, 1, 2, 2).to(torch.uint8)
    found = Real.given(images)
    assert len(found.images[:200].unique()) == 10
    assert torch.equal(found.images.flatten().sort().values, images.flatten())
    assert found.source == "1,000 images that were given"


def test_looks_of_many_are_held_once(fashion: Renderer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 5,000 real images of 112 px a gigabyte: they were held in parts and as a whole, and copied to be compared."""
    gauge, images = fashion.gauge, fashion.model.sample(600)
    parts = torch.cat([gauge._looks(part) for part in images.split(100)])
    monkeypatch.setattr(torch, "cat", lambda found, *more: pytest.fail("held twice"))
    with monkeypatch.context() as patch:
        patch.setattr(paths, "pyramid", lambda seen: seen.flatten(1))
        assert gauge._looks(images).shape == (600, 784)
    monkeypatch.undo()
    assert torch.equal(gauge._looks(images), parts)
    compared: list[int] = []
    plain = torch.cdist

    def counted(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        compared.append(len(b))
        return plain(a, b)

    points = torch.randn(2500, 8, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(torch, "cdist", counted)
    assert torch.allclose(_distances(points[:9], points), plain(points[:9], points), atol=1e-3)
    assert max(compared) <= 1024


def test_points_of_a_wide_space_are_compared_some_at_a_time(
    fashion: Renderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """White in float64, and copied to be compared, 1,024 of 65,536 numbers took 2 GB before the page was served."""
    gauge, space, most = fashion.gauge, fashion.space, list[int]()
    points = space.numbered(90)
    views = fashion.model.sample(90)
    whole = gauge._signs(space, points, views, views, None).values["points"], gauge._white(space, points)
    plain = torch.cdist

    def counted(a: torch.Tensor, b: torch.Tensor, **how: str) -> torch.Tensor:
        if b.shape[1] == space.size:
            most.extend((len(a), len(b)))
        return plain(a, b, **how)

    monkeypatch.setattr(torch, "cdist", counted)
    monkeypatch.setattr("ganvas.latent.space.PART", 40 * space.size)
    assert gauge._own is not None
    gauge._known(space)
    most.clear()
    found = gauge._signs(space, points, views, views, None).values["points"]
    assert torch.allclose(found, whole[0], atol=1e-4)
    assert torch.allclose(gauge._white(space, points), whole[1], atol=1e-5)
    assert max(most) == 40
    monkeypatch.setattr("ganvas.web.quality.WIDE", space.size - 1)
    alone = gauge._signs(space, points[:1], views[:1], views[:1], None).values["points"]
    assert torch.allclose(alone, whole[0][:1], atol=1e-4)


def test_axes_of_a_wide_space_are_those_of_fewer_points(
    fashion: Renderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A singular value decomposition of 1,024 points of 65,536 numbers takes half a gigabyte beside three copies of them."""
    space, seen = fashion.space, list[int]()
    plain = torch.linalg.svd

    def counted(points: torch.Tensor, **how: bool) -> Any:
        seen.append(len(points))
        return plain(points, **how)

    monkeypatch.setattr(torch.linalg, "svd", counted)
    usual = fashion._axes(space)
    monkeypatch.setattr("ganvas.latent.space.MOST_NUMBERS", 2000 * space.size)
    monkeypatch.setattr("ganvas.web.renderer.WIDE", space.size - 1)
    wide = fashion._axes(space)
    assert seen == [len(space.known), 2000]
    assert wide[1][:3].sum() == pytest.approx(float(usual[1][:3].sum()), rel=0.1)


def test_noise_is_not_shown_as_fine(fashion: Renderer) -> None:
    from dataclasses import replace

    import ganvas
    from ganvas.networks import build_generator

    assert fashion.likeness is not None
    assert not fashion.likeness.strange
    good = ganvas.load("fashion", device="cpu")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        noise = build_generator(good.config.network, good.shape, good.generator.num_classes).eval()
    untrained = Renderer(
        replace(good, generator=noise.requires_grad_(False), critic=None), "noise", None, fashion.real
    )
    found = untrained.quality(State())
    assert not found.warnings, "one sample of noise is as usual as the next"
    assert untrained.likeness is not None
    assert untrained.likeness.strange


def test_far_edits_are_called_strange_and_repair_brings_them_back(fashion: Renderer) -> None:
    far = [
        State(i, i + 7).to(move_of(fashion.directions("pca")[k], 6.0))
        for i, k in enumerate((0, 4, 0, 1, 4, 0))
    ]
    before = [fashion.quality(state) for state in far]
    after = [fashion.quality(fashion.repaired(state)) for state in far]
    assert sum(bool(each.warnings) for each in before) >= 4
    assert sum(bool(each.warnings) for each in after) <= 1
    assert sum(a.manifold > b.manifold for a, b in zip(after, before, strict=True)) == len(far)


def test_repair_keeps_a_good_point_nearly_where_it_is(fashion: Renderer) -> None:
    state = fashion.start
    repaired = fashion.repaired(state, steps=3)
    a, b = fashion.quality(state), fashion.quality(repaired)
    assert a.log_ratio is not None
    assert b.log_ratio is not None
    assert b.log_ratio >= a.log_ratio - 0.5
    space = fashion.space
    assert float(space.distance(fashion.point(state)[1], fashion.point(repaired)[1])) < 0.7


def test_a_real_image_is_its_own_nearest(fashion: Renderer) -> None:
    assert fashion.real is not None
    space, points = fashion.point(State())
    found = fashion.gauge.quality(space, points, fashion.real.images[5:6], None)
    assert found.nearest == 5
    assert found.distance is not None
    assert found.distance < 0.01, "rounding of float32 distances"


def test_noise_is_no_garment(fashion: Renderer) -> None:
    space, points = fashion.point(State())
    noise = torch.randint(
        0, 256, (1, 1, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    found = fashion.gauge.quality(space, points, noise, None)
    assert found.distance is not None
    assert found.distance > 1.5
    assert found.manifold < fashion.quality(State()).manifold


def test_a_page_begins_at_a_good_sample(fashion: Renderer) -> None:
    found = fashion.quality(fashion.start)
    assert not found.warnings
    assert found.realism > 0.9


def test_a_ratio_judges_as_many_at_a_time_as_are_drawn(
    fashion: Renderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thousand large pictures at once took gigabytes."""
    assert fashion.ratio is not None
    images, seen, logits = fashion.model.sample(600), list[int](), fashion.ratio.logits
    wanted = Gauge(fashion.model, fashion.ratio, None).scores(images, None)
    monkeypatch.setattr(fashion.ratio, "logits", lambda x, y=None: seen.append(len(x)) or logits(x, y))
    found = Gauge(fashion.model, fashion.ratio, None).scores(images, None)
    assert max(seen) <= fashion.model.at_once
    assert wanted is not None
    assert found is not None
    assert torch.allclose(found, wanted)


def test_large_pictures_are_compared_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """256 of 1,024 px are 3 GB as floats."""
    images = torch.randint(0, 256, (50, 3, 8, 8), dtype=torch.uint8)
    whole = shrunk(images, (4, 4))
    monkeypatch.setattr("ganvas.features.base.NUMBERS", 20 * 192)
    assert [len(part) for part in _parts(images)] == [20, 20, 10]
    assert torch.equal(shrunk(images, (4, 4)), whole)
