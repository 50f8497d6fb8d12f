"""Key frames are on the film, and the pace is even."""

import io
from types import SimpleNamespace
from typing import cast

import pytest
import torch
from PIL import Image

from ganvas import pictures
from ganvas.config import Config, NetworkConfig
from ganvas.errors import GanvasError
from ganvas.model import Model
from ganvas.networks import build_generator
from ganvas.web.film import _between, film
from ganvas.web.panels import timeline
from ganvas.web.renderer import Renderer
from ganvas.web.state import Mix, State, Timeline


def test_the_film_begins_and_ends_at_its_keys(fashion: Renderer) -> None:
    keys = (State(1), State(2), State(3))
    frames, even = film(fashion, Timeline(keys, frames=21))
    assert frames.shape == (21, 1, 28, 28)
    for at, key in ((0, keys[0]), (-1, keys[2])):
        assert (frames[at].int() - fashion.draw([key])[0].int()).abs().max() <= 1
    _, uneven = film(fashion, Timeline(keys, frames=21, equal=False))
    assert even < uneven / 3
    looped, _ = film(fashion, Timeline(keys, frames=21, loop=True, kind="spline"))
    assert (looped[-1].int() - looped[0].int()).abs().max() <= 1


def test_a_sheet_that_does_not_fit_is_refused_before_it_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """200 frames of 1,024 px were drawn on one sheet of 210 megapixels, which took gigabytes."""
    monkeypatch.setattr(timeline, "film", lambda *given: pytest.fail("drawn"))
    large = cast(Renderer, SimpleNamespace(model=SimpleNamespace(shape=(3, 1024, 1024))))
    with pytest.raises(GanvasError, match="17 x 12 pictures of 1024 x 1024 px has 214 megapixels"):
        timeline._content(large, Timeline((State(1), State(2)), frames=200), ".png")


def test_keys_with_layers_classes_and_noise(fashion: Renderer, small: Renderer) -> None:
    frames, _ = film(fashion, Timeline((State(1), State(2, mix=Mix(4, 0, 1, 2))), frames=6))
    assert (frames[-1].int() - fashion.draw([State(2, mix=Mix(4, 0, 1, 2))])[0].int()).abs().max() <= 1
    done: list[int] = []
    frames, _ = film(
        small,
        Timeline((State(1, label=0, noise=3), State(2, label=1)), frames=5),
        lambda i, n: done.append(i),
    )
    assert torch.equal(frames[0], small.draw([State(1, label=0, noise=3)])[0])
    assert done[-1] == 5


@pytest.mark.parametrize("loop", [False, True])
def test_a_spline_in_z_keeps_the_truncation_of_its_keys(loop: bool) -> None:
    """Its points were put back at a typical length: of a film at psi = 0.4 the keys, too."""
    config = NetworkConfig("dcgan", latent_dim=32, generator={"channels": 4})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        generator = build_generator(config, (3, 16, 16), 0).eval().requires_grad_(False)
    plain = Renderer(Model.of_run(generator, None, Config(network=config), {}), "z")
    keys = (State(1, truncation=0.4), State(2), State(3, truncation=0.0), State(4, truncation=1.8))
    frames, _ = film(plain, Timeline(keys, kind="spline", equal=False, loop=loop, frames=13))
    at = (0, 3, 6, 9, 12) if loop else (0, 4, 8, 12)
    for place, key in zip(at, (*keys, keys[0]), strict=False):
        assert (frames[place].int() - plain.draw([key])[0].int()).abs().max() <= 1


def test_a_film_has_its_bytes_counted_as_it_is_written(
    fashion: Renderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A narrow, tall picture was counted as it is and written a thousand times as large."""
    frames, _ = film(fashion, Timeline((State(1), State(2)), frames=3))
    with Image.open(io.BytesIO(pictures.animation(frames, ".webp"))) as shown:
        written = shown.width * shown.height
    taken = frames.numel() + 3 * written
    monkeypatch.setattr("ganvas.web.film.LARGEST", taken)
    film(fashion, Timeline((State(1), State(2)), frames=3))
    monkeypatch.setattr("ganvas.web.film.LARGEST", taken - 1)
    with pytest.raises(GanvasError, match="ask for fewer"):
        film(fashion, Timeline((State(1), State(2)), frames=3))


def test_one_key_is_no_film(fashion: Renderer) -> None:
    with pytest.raises(GanvasError, match="at least 2 key frames"):
        film(fashion, Timeline((State(),)))


def test_what_only_the_first_key_has_ends_with_the_next(small: Renderer) -> None:
    """Everything behind it was drawn with the generator of the first key: its place, its mixed class, its truncation."""
    config = NetworkConfig("dcgan", latent_dim=8, conditional=True, generator={"channels": 4})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build_generator(config, (3, 16, 16), 3).eval().requires_grad_(False)
    for renderer in (small, Renderer(Model.of_run(network, None, Config(network=config), {}), "plain")):
        keys = (State(1, other=2, share=0.9), State(2, number=1), State(3))
        frames, _ = film(renderer, Timeline(keys, frames=9, equal=False))
        for at, key in zip((0, 4, 8), keys, strict=True):
            assert torch.equal(frames[at], renderer.draw([key])[0])


def test_a_class_that_only_the_next_key_has_mixed_in_comes_gradually(small: Renderer) -> None:
    keys = (State(1), State(1, other=2, share=0.8))
    for first, last in (keys, keys[::-1]):
        between = _between((first, last), 0, 0.5)
        assert (between.other, between.share) == (2, pytest.approx(0.4))
    assert _between((State(other=1, share=0.5), keys[1]), 0, 0.5).share == 0.5
    assert _between((State(share=0.5), State()), 0, 0.5).other is None
