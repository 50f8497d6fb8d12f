"""Maps of generators whose clusters, holes and copies are known."""

import itertools
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text
from torch import Tensor, nn

import ganvas
from ganvas import pictures
from ganvas.cli import main
from ganvas.cli.map import _scatter
from ganvas.errors import GanvasError
from ganvas.latent import map as maps
from ganvas.latent import open_space, paths
from ganvas.latent.attributes import Attribute
from ganvas.latent.paths import pyramid, small_pyramid
from ganvas.model_data import classifier_of
from ganvas.training import Result
from tests.conftest import series_model
from tests.held import Held, is_picture


class Corners(nn.Module):
    """Points near three corners of a square; the fourth is never drawn."""

    def forward(self, z: Tensor) -> Tensor:
        corner = torch.tensor([[0.0, 0], [0, 4], [4, 0]])[(z[:, 0] > 0.43).long() + (z[:, 0] > -0.43).long()]
        return corner + 0.1 * z[:, 1:3]


def test_modes_holes_and_what_is_too_rare() -> None:
    model = ganvas.wrap(Corners(), latent_dim=3)
    random = np.random.default_rng(0)
    four = np.repeat([[0, 0], [0, 4], [4, 0], [4, 4]], 100, 0) + 0.1 * random.normal(size=(400, 2))
    found = maps.draw_map(open_space(model, "z"), 400, "pca", real=torch.from_numpy(four).float())
    assert len(found.clusters) == 3
    assert all(cluster.share == pytest.approx(1 / 3, abs=0.08) for cluster in found.clusters)
    text = " ".join(found.words)
    assert "Modes: 3 clusters" in text
    hole = float(text.split("Holes: ")[1].split("%")[0])
    assert 24 <= hole <= 40, "the fourth corner has no samples"
    assert found.nearest_real is not None
    nearest = four[found.nearest_real]
    assert np.abs(nearest - found.samples.numpy()).max() < 0.5
    assert found.real_places is not None
    assert len(found.real_places) == 400
    assert found.dimension == pytest.approx(2, abs=0.5)


def test_clusters_of_digits_are_not_told_by_numbers_alone(trained: Result) -> None:
    """`cluster 4: 1 95%, with 26%` was the number of a cluster, a class and two shares."""
    found = maps.draw_map(open_space(ganvas.load(trained.run.path)), 100, "pca")
    for cluster in found.clusters:
        assert re.fullmatch(r"\d+% class \d", cluster.label)
        assert maps.called(cluster) == f"cluster {cluster.number} ({cluster.label})"
    one = r"cluster \d+ \(\d+% class \d\) with \d+%"
    assert re.match(rf"Modes: \d+ clusters, from {one} to {one} of the samples\.$", found.words[0])
    labels = [each.get_text() for each in _scatter(found, ["class"], "pca", ["0"]).axes[0].texts]
    assert labels == [f"{each.number}: {each.label}" for each in found.clusters]


def four_corners(n: int, seed: int) -> Tensor:
    random = np.random.default_rng(seed)
    corners = np.asarray([[0, 0], [0, 4], [4, 0], [4, 4]])[random.integers(4, size=n)]
    return torch.from_numpy(corners + 0.1 * random.normal(size=(n, 2))).float()


def test_holes_do_not_depend_on_how_many_samples_are_mapped() -> None:
    """A quarter of the data is never drawn, and a perfect model would leave 3 % of the rest: 27 % at any n."""
    space = open_space(ganvas.wrap(Corners(), latent_dim=3), "z")
    found = [maps.draw_map(space, n, "pca", real=four_corners(3000, 1)).holes for n in (300, 3000)]
    for each in found:
        assert each is not None
        assert each.share == pytest.approx(0.25 + 0.75 * each.floor, abs=3 * each.error + 0.02)
    few, many = found
    assert few is not None
    assert many is not None
    assert few.share == pytest.approx(many.share, abs=3 * few.error)
    assert many.error < few.error < 0.05


def test_a_perfect_model_leaves_the_floor() -> None:
    """coverage's expected value (Naeem et al. 2020, lemma 2) at 200 against 200 is 1 - .0301."""
    random = np.random.default_rng(0)
    shares = []
    for _ in range(10):
        found = maps.find_holes(random.normal(size=(600, 6)), random.normal(size=(700, 6)))
        assert found is not None
        assert len(found.uncovered) == 600
        shares.append(found.share)
    assert found.floor == pytest.approx(0.0301, abs=1e-4)
    assert np.mean(shares) == pytest.approx(found.floor, abs=3 * 0.0031)
    assert maps.find_holes(random.normal(size=(199, 6)), random.normal(size=(700, 6))) is None


def test_without_enough_real_images_holes_are_refused_in_words() -> None:
    space = open_space(ganvas.wrap(Corners(), latent_dim=3), "z")
    few = maps.draw_map(space, 300, "pca", real=four_corners(100, 1))
    assert few.holes is None
    assert "they need at least 200 samples and 200 real images" in " ".join(few.words)
    assert few.nearest_real is not None
    assert maps.draw_map(space, 100, "pca").holes is None


class Ring(nn.Module):
    """Points near ten places on a circle, alike."""

    def forward(self, z: Tensor) -> Tensor:
        angle = (torch.special.ndtr(z[:, 0]) * 10).floor() * 0.2 * torch.pi
        return torch.stack([angle.cos(), angle.sin()], 1) * 5 + 0.3 * z[:, 1:3]


def test_real_images_may_come_class_by_class() -> None:
    """A perfect model leaves about 3 % of them uncovered, in whatever order they are given."""
    model = ganvas.wrap(Ring(), latent_dim=3)
    real = model.sample(1000, seed=1)
    real = real[torch.atan2(real[:, 1], real[:, 0]).argsort()]
    found = maps.draw_map(open_space(model, "z"), 1000, "pca", real=real)
    assert found.holes is not None
    assert found.holes.share < 0.08
    assert found.nearest_real is not None
    assert float((real[found.nearest_real] - found.samples).norm(dim=1).median()) < 0.1


class Few(nn.Module):
    """Ten pictures over and over."""

    def forward(self, z: Tensor) -> Tensor:
        torch.manual_seed(0)
        kinds = torch.rand(10, 1, 8, 8) * 2 - 1
        return kinds[(z[:, 0].abs() * 1000).long() % 10] + 1e-3 * z[:, :1, None, None]


def test_copies_are_called_duplicates() -> None:
    model = ganvas.wrap(Few(), latent_dim=2, value_range=(-1.1, 1.1))
    real = torch.randint(0, 256, (60, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    found = maps.draw_map(open_space(model, "z"), 80, "pca", real=real)
    share = float(" ".join(found.words).split("Duplicates: ")[1].split("%")[0])
    assert share > 90


class Collapsed(nn.Module):
    """A collapsed model: pictures of which there are one or three."""

    def __init__(self, count: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.count, self.pictures = count, torch.rand(3, 1, 28, 28) * 2 - 1

    def forward(self, z: Tensor) -> Tensor:
        return self.pictures[
            (z[:, 0] > 0.43).long() + (z[:, 0] > -0.43).long() if self.count > 1 else z[:, 0].long() * 0
        ]


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("method", ["pca", "tsne"])
@pytest.mark.parametrize("judged", [False, True])
def test_a_collapsed_model_has_a_map(
    count: int, method: maps.Method, judged: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = ganvas.wrap(Collapsed(count), latent_dim=2)
    if judged:
        monkeypatch.setattr(maps, "classifier_of", lambda model: classifier_of(ganvas.load("fashion")))
    found = maps.draw_map(open_space(model, "z"), 60, method)
    assert len(found.clusters) == count
    assert np.isfinite(found.places).all()
    text = " ".join(found.words)
    assert "Duplicates: 100.0% of the samples" in text
    assert "about 0 directions" in text


def test_copies_are_counted_among_equal_numbers() -> None:
    """A perfect model has as many copies as the data, whatever the numbers: 3,000 samples by 100 real images had far more."""
    random = np.random.default_rng(0)
    points = random.random((3100, 2))
    samples, real = points[:3000], points[3000:]
    found, usual = maps.find_duplicates(samples, real)
    # In the plane a nearest neighbour lies within r with 1 - exp(-n pi r^2): within t medians with 1 - 0.5^(t^2).
    expected = 1 - 0.5 ** (0.05**2)
    assert usual is not None
    assert abs(found - expected) < 0.03
    assert abs(usual - expected) < 0.03
    twice = np.concatenate([real, real[:20]])
    assert maps.find_duplicates(twice, points[:3000])[0] == pytest.approx(40 / 120, abs=0.02)
    assert maps.find_duplicates(samples, real[:9])[1] is None
    assert maps.find_duplicates(samples, None)[0] == pytest.approx(expected, abs=0.005)


def test_places_keep_clusters_apart() -> None:
    random = np.random.default_rng(0)
    features = np.concatenate([random.normal(size=(60, 10)) + 8 * i for i in range(3)])
    for method in ("pca", "tsne"):
        places = maps.place(features, method)  # type: ignore[arg-type]
        middles = [places[60 * i : 60 * i + 60].mean(0) for i in range(3)]
        spread = max(places[60 * i : 60 * i + 60].std() for i in range(3))
        assert min(np.linalg.norm(middles[i] - middles[j]) for i in range(3) for j in range(i)) > 1.5 * spread


def test_mistakes(monkeypatch: pytest.MonkeyPatch) -> None:
    space = open_space(ganvas.wrap(Corners(), latent_dim=3), "z")
    with pytest.raises(GanvasError, match="at least 50"):
        maps.draw_map(space, 10)
    with pytest.raises(GanvasError, match=r"the real images are \(3,\)"):
        maps.draw_map(space, 60, real=torch.zeros(9, 3))
    monkeypatch.setattr(maps, "find_spec", lambda name: None)
    with pytest.raises(GanvasError, match=r"pip install 'umap-learn>="):
        maps.place(np.random.default_rng(0).normal(size=(60, 3)), "umap")
    with pytest.raises(GanvasError, match="pca, tsne or umap"):
        maps.place(np.random.default_rng(0).normal(size=(60, 3)), "mds")  # type: ignore[arg-type]


def test_an_atlas_shows_each_image_at_its_place() -> None:
    images = torch.stack([torch.full((1, 4, 4), value, dtype=torch.uint8) for value in (10, 250)])
    picture = np.asarray(pictures.atlas(images, np.asarray([[0.0, 0.0], [1.0, 1.0]]), cells=3))
    size = picture.shape[0]
    assert picture[size - size // 6, size // 6] == 10, "low places are at the bottom"
    assert picture[size // 6, size - size // 6] == 250
    assert picture[size // 2, size // 2] == 128, "nothing lies there"


def test_an_atlas_of_large_images_shows_them_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "MOST_PIXELS", 9 * 32 * 32)
    images = torch.stack([torch.full((3, 64, 64), value, dtype=torch.uint8) for value in (10, 250)])
    with Held(is_picture) as held:
        picture = np.asarray(pictures.atlas(images, np.asarray([[0.0, 0.0], [1.0, 1.0]]), cells=3, title=""))
    small = np.asarray(pictures.grid(torch.full((9, 3, 32, 32), 128, dtype=torch.uint8), 3))
    assert picture.shape == small.shape
    assert set(np.unique(picture)) == {10, 128, 250}
    assert held.most < 3 * picture.size


def test_by_command_on_the_packaged_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "map.png"
    flags = ["--n", "300", "--method", "pca", "--data", "none", "--out", str(out), "--device", "cpu"]
    assert main(["map", "fashion", *flags, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert all(Path(path).is_file() for path in document["pictures"])
    assert len(document["pictures"]) == 3
    assert sum(cluster["share"] for cluster in document["clusters"]) == pytest.approx(1)
    assert document["words"][-1] == "Without real images (no holes, no nearest ones): none were asked for"
    assert len(json.loads(out.with_suffix(".json").read_text())["places"]) == 300
    assert main(["map", "fashion", *flags, "--colour", "smell"]) == 2
    assert "density, critic-score, class" in capsys.readouterr().err


def test_what_there_is_to_color_by_is_known_before_a_map_is_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A map takes minutes: what cannot color it is refused before."""
    toy = str(ganvas.train("toy:ring8", kimg=0.064, out=tmp_path, quiet=True, report=False).run.path)
    for name in ("fashion", toy):
        space = open_space(ganvas.load(name))
        assert maps.colors(space) == list(maps.draw_map(space, 60, "pca").values)
    monkeypatch.setattr(maps, "draw_map", lambda *given, **more: pytest.fail("a map was drawn"))
    for model, colour in ((toy, "brightness"), ("fashion", "trend"), ("fashion", "class:0")):
        assert main(["map", model, "--colour", colour, "--out", str(tmp_path / "a.png")]) == 2
        assert f"nothing called '{colour}' to colour by" in capsys.readouterr().err


@pytest.mark.parametrize("apart", [0.0, 0.02, 1.0])
def test_labels_of_near_clusters_lie_apart(apart: float) -> None:
    """Fifteen clusters at one place or near each other: every label is read whole, within the picture."""
    random = np.random.default_rng(0)
    clusters = tuple(maps.Cluster(i, 1 / 15, None, (i,), (i,), "55% T-shirt/top") for i in range(15))
    cluster_of = np.arange(60) % 15
    places = np.repeat([[0.0, 0.0], [1, 1]], [58, 2], axis=0)
    places[:58] += apart * random.normal(size=(15, 2))[cluster_of[:58]]
    found = maps.Map(
        torch.zeros(60, 1, 8, 8, dtype=torch.uint8), places, {"density": np.zeros(60)}, clusters, cluster_of,
        None, None, None, None, 2.0, np.zeros(0),
    )  # fmt: skip
    figure = _scatter(found, ["density", "density"], "pca", ())
    pictures.plot_png(figure)
    renderer = FigureCanvasAgg(figure).get_renderer()
    panels = [axes for axes in figure.axes if axes.get_title()]
    assert len(panels) == 2
    for axes in panels:
        labels = [each for each in axes.texts if isinstance(each, Annotation)]
        boxes = [Text.get_window_extent(label, renderer) for label in labels]
        assert len(boxes) == 15
        assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
        frame = axes.get_window_extent(renderer)
        assert all(frame.y0 <= box.y0 and box.y1 <= frame.y1 for box in boxes)
        assert all(frame.x0 <= box.x0 and box.x1 <= frame.x1 for box in boxes)
        assert {label.get_text() for label in labels} == {f"{i}: 55% T-shirt/top" for i in range(15)}


def test_a_label_alone_stays_at_its_place() -> None:
    figure = Figure()
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1])
    label = axes.annotate("alone", (0.5, 0.5), (3, 4), textcoords="offset points")
    pictures.move_apart(figure, [label])
    assert label.xyann == (3, 4)


def test_labels_keep_clear_of_the_points_that_they_name() -> None:
    """In the picture of `ganvas improve` a name lay across another sampler's point."""
    figure = Figure()
    axes = figure.add_subplot()
    places = [(0.3 + 0.01 * i, 0.5 + 0.002 * i) for i in range(5)]
    axes.scatter(*zip(*places, strict=True))
    labels = [
        axes.annotate("a long name", place, (6, 3), textcoords="offset points", arrowprops=pictures.LEADER)
        for place in places
    ]
    pictures.move_apart(figure, labels, clear=5)
    renderer = FigureCanvasAgg(figure).get_renderer()
    for label in labels:
        box = Text.get_window_extent(label, renderer)
        for x, y in axes.transData.transform(places):
            assert not (box.x0 - 4 < x < box.x1 + 4 and box.y0 - 4 < y < box.y1 + 4)


def test_points_of_one_coordinate_have_places_on_a_line() -> None:
    places = maps.place(np.linspace(0, 1, 60)[:, None], "pca")
    assert places.shape == (60, 2)
    assert not places[:, 1].any()
    assert maps.place(np.linspace(0, 1, 60)[:, None], "tsne").shape == (60, 2)


def test_attributes_of_large_pictures_are_measured_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 3,000 pictures of 256 px at once they took 3 GB."""
    model = ganvas.load("fashion", device="cpu")
    whole = maps.draw_map(open_space(model), 60, "pca")
    rows: list[int] = []
    measured = maps.attributes_of(model)

    def noting(name: str) -> Attribute:
        def measure(images: Tensor) -> Tensor:
            rows.append(len(images))
            return measured[name](images)

        return measure

    monkeypatch.setattr(maps, "attributes_of", lambda model: {name: noting(name) for name in measured})
    monkeypatch.setattr(paths, "NUMBERS", 7 * 28 * 28)
    found = maps.draw_map(open_space(model), 60, "pca")
    assert max(rows) == 7
    for name in measured:
        np.testing.assert_allclose(found.values[name], whole.values[name], rtol=1e-6)


def test_a_map_keeps_large_pictures_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 3,000 samples of 1,024 px it held 9 GB, and their atlas took more."""
    generator = nn.Sequential(nn.Linear(4, 3 * 8 * 12), nn.Tanh())
    model = ganvas.wrap(generator, latent_dim=4, shape=(3, 8, 12))
    space, real = open_space(model, "z"), model.sample(60, seed=9)
    whole = maps.draw_map(space, 60, "pca", real=real)
    assert torch.equal(whole.samples, model.sample(60))
    monkeypatch.setattr(maps, "LARGEST", 4)
    monkeypatch.setattr(paths, "NUMBERS", 7 * 288)
    found = maps.draw_map(space, 60, "pca", real=real)
    assert found.real is not None
    assert (found.samples.shape, found.real.shape) == ((60, 3, 2, 4), (60, 3, 2, 4))
    small = nn.functional.avg_pool2d(whole.samples.float(), 3)
    assert torch.equal(found.samples, small.round().to(torch.uint8))
    np.testing.assert_allclose(found.places, whole.places, atol=1e-3)
    assert list(found.values) == list(whole.values)
    for name, values in whole.values.items():
        np.testing.assert_allclose(found.values[name], values, rtol=1e-4)


def test_features_of_many_pictures_are_held_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several copies are held: with those in float64 a map of 3,000 pictures of 64 px took 2.7 GB."""
    model, real = (
        ganvas.load("fashion", device="cpu"),
        ganvas.load_dataset("digits").take(torch.arange(300))[0],
    )
    real = torch.nn.functional.interpolate(real, tuple(model.shape[1:]))
    seen: list[Any] = []
    place = maps.place

    def noting(features: np.ndarray, *rest: Any) -> Any:
        seen.append(features.dtype)
        return place(features, *rest)

    monkeypatch.setattr(maps, "place", noting)
    space = open_space(model, "w")
    exact = maps.draw_map(space, 300, "pca", real=real)
    monkeypatch.setattr(maps, "MANY", 0)
    found = maps.draw_map(space, 300, "pca", real=real)
    assert seen == [np.float64, np.float32]
    assert found.words == exact.words
    assert (found.nearest_real == exact.nearest_real).mean() > 0.99
    assert np.abs(found.places - exact.places).max() < 1e-3 * np.abs(exact.places).max()


def test_pictures_of_more_than_64_px_are_compared_small() -> None:
    for side, seen in ((64, 64), (65, 32), (96, 48), (200, 50)):
        found = small_pyramid(torch.zeros(1, 1, side, side))
        assert torch.equal(found, pyramid(torch.zeros(1, 1, seen, seen))), side


def test_a_map_of_more_samples_than_there_is_room_for_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """50,000 pictures of 64 px took 13 GB for what they look like alone."""
    monkeypatch.setattr(maps, "HELD", 24 * 99)
    space = open_space(ganvas.wrap(Corners(), latent_dim=3), "z")
    with pytest.raises(GanvasError, match=r"A map of 100 samples .* Ask for 99 at most \(--n\)"):
        maps.draw_map(space, 100, "pca")
    assert len(maps.draw_map(space, 99, "pca").places) == 99


def test_series_of_a_map_count_with_their_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    """3,000 of 59,000 numbers were within the bound, and took 3.3 GB."""
    space = open_space(series_model(), "z")
    each = 16 * 48
    monkeypatch.setattr(maps, "ROWS", 60)
    monkeypatch.setattr(maps, "HELD_OF_SERIES", 99 * each + 60 * 64 * 48)
    with pytest.raises(GanvasError, match=r"A map of 100 samples .* Ask for 99 at most \(--n\)"):
        maps.draw_map(space, 100, "pca")
    assert len(maps.draw_map(space, 99, "pca").places) == 99
    monkeypatch.setattr(maps, "HELD_OF_SERIES", 49 * (each + 64 * 48))
    with pytest.raises(GanvasError, match="50 are the fewest, and are too large"):
        maps.draw_map(space, 50, "pca")
