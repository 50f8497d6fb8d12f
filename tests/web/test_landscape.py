"""The map is drawn once, and neighbours lie together on it."""

import copy
from dataclasses import replace

import pytest
import torch

import ganvas
from ganvas import io
from ganvas.training import Result
from ganvas.web import landscape as module
from ganvas.web.landscape import landscape
from ganvas.web.quality import Real
from ganvas.web.renderer import Renderer


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LANDMARKS", 200)


def test_the_map_is_kept_and_says_what_is_where(fashion: Renderer, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    found = landscape(fashion, 500, lambda what, done, total: steps.append(what))
    assert "places" in steps
    assert found.places.shape == (500, 2)
    assert found.places.abs().max() <= 1.0001
    assert {"density", "realism", "class", "brightness"} <= found.values.keys()
    assert all(values.shape == (500,) and values.isfinite().all() for values in found.values.values())
    # Classes are told apart: most samples have a neighbour on the map of their own class.
    away = torch.cdist(found.places, found.places) + 9 * torch.eye(500)
    same = found.values["class"][away.argmin(1)] == found.values["class"]
    assert same.double().mean() > 0.7
    # A known picture lies where its sample is.
    here = found.at(found.features[:5])
    assert (here - found.places[:5]).norm(dim=1).max() < 0.05
    assert found.real_places is not None
    assert len(found.real_places) == 1000
    assert torch.equal(
        found.values["brightness"][:9], fashion.model.sample(9).float().mean((1, 2, 3)).to(torch.float32)
    )

    def never(*given: object) -> None:
        raise AssertionError("drawn again")

    monkeypatch.setattr(module, "_draw", never)
    again = landscape(fashion, 500)
    assert torch.equal(again.places, found.places)
    real = fashion.real
    assert real is not None
    other = copy.copy(fashion)
    other.real = Real(real.images.flip(0), real.source)
    with pytest.raises(AssertionError, match="drawn again"):
        landscape(other, 500)
    path = fashion.kept("landscape")
    assert path is not None
    kept, header = io.load_tensors(path)
    del header["format_version"]
    for name, tensor in (
        ("places", kept["places"][:9]), ("places", kept["places"] * float("nan")), ("features", kept["features"][:9]),
        ("value.density", kept["value.density"][:9]), ("value.density", torch.tensor(1.0)), ("real_places", torch.zeros(3)),
        *((each, kept[each] * float("nan")) for each in ("features", "value.density", "real_places")),
        ("places", kept["places"].long()),
    ):  # fmt: skip
        io.save_tensors(path, {**kept, name: tensor}, header)
        with pytest.raises(AssertionError, match="drawn again"):
            landscape(fashion, 500)
    path.write_bytes(b"damaged")
    with pytest.raises(AssertionError, match="drawn again"):
        landscape(fashion, 500)


def test_files_with_a_critic_and_without_have_maps_of_their_own(
    trained: Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They have one hash, that of the generator, and so one folder in the cache."""
    model = ganvas.load(trained.run.path, device="cpu")
    judged, bare = Renderer(model), Renderer(replace(model, critic=None))
    for renderer, told in ((bare, False), (judged, True), (bare, False)):
        assert ("realism" in landscape(renderer, 60).values) is told
    judged = Renderer(model)
    landscape(judged, 60)
    monkeypatch.setattr(module, "_draw", None)
    assert "realism" in landscape(judged, 60).values, "kept"


def test_a_model_without_anything_has_a_map_too(small: Renderer) -> None:
    found = landscape(small, 120)
    assert "realism" not in found.values
    assert "class" not in found.values
    assert found.real_places is None


def test_pictures_of_another_size_have_no_place(small: Renderer) -> None:
    """A page that followed a run of large pictures failed at every step: those of each snapshot are as coarse as it is slow."""
    found = landscape(small, 60)
    for more in (-1, 1):
        assert found.at(torch.zeros(3, found.features.shape[1] + more)).shape == (0, 2)
    assert found.at(found.features[:3]).shape == (3, 2)


def test_classes_are_shown_by_name_whatever_they_are_called(fashion: Renderer) -> None:
    from ganvas.web.landscape import Landscape
    from ganvas.web.panels.map import REAL, SAMPLE, _options, hue

    names = ("real", "way", "samples", *(f"class {i}" for i in range(37)))
    kinds = torch.arange(80) % 40
    found = Landscape(torch.rand(80, 2), {"class": kinds.float()}, torch.rand(5, 2), torch.rand(80, 3))
    series = _options(found, "class", True, names)["series"]
    classes = [
        each for each in series if each["type"] == "scatter" and each["data"] and each["data"][0][4] == SAMPLE
    ]
    assert [each["name"] for each in classes] == list(names)
    assert [row[3] for row in classes[0]["data"]] == [0, 40]
    assert len({hue(i) for i in range(40)}) == len({each["color"] for each in classes}) == 40
    assert [row[3:] for each in series for row in each["data"] if row[4] == REAL] == [
        [i, REAL] for i in range(5)
    ]
