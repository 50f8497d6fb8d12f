"""Of a model whose classes are not in the space (z), what is drawn is of the class that it is said to be."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import ganvas
from ganvas import pictures
from ganvas.cli import main
from ganvas.errors import GanvasError
from ganvas.latent import LatentZ, jacobian, open_space, paths
from ganvas.latent.directions import edit, find, save
from ganvas.latent.edits import draw_edit
from ganvas.latent.jacobian import jacobians, metric
from ganvas.latent.paths import geodesic, looks
from ganvas.latent.space import LatentSpace
from ganvas.latent.supervised import from_scores
from ganvas.model import Model
from ganvas.sampling.settings import Setting
from ganvas.web.renderer import Renderer
from tests.latent.test_space import ours

CLASSES = 3


@pytest.fixture(scope="module")
def model() -> Model:
    torch.manual_seed(0)
    found = ours("dcgan", CLASSES)
    one = torch.randn(1, 8, generator=torch.Generator().manual_seed(0)).expand(CLASSES, 8)
    drawn = found.generator(one, torch.arange(CLASSES))
    assert torch.pdist(drawn.flatten(1)).min() > 0.1, "classes differ, or nothing here says anything"
    return found


def of_class(model: Model, points: torch.Tensor, label: int) -> torch.Tensor:
    labels = torch.full((len(points),), label)
    return torch.cat(
        [model.to_data(model.generator(p[None], c[None])) for p, c in zip(points, labels, strict=True)]
    )


def near(found: torch.Tensor, wanted: torch.Tensor) -> bool:
    """The same but for the rounding of other amounts at a time."""
    return bool((found.int() - wanted.int()).abs().max() <= 1)


def test_a_geodesic_is_the_same_part_by_part(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    space = open_space(model)
    start, stop = space.numbered(2)
    whole, energies = geodesic(space, start, stop, 8, 10, label=torch.tensor([1]))
    monkeypatch.setattr(paths, "MOST_BACK", 4)
    parts, again = geodesic(space, start, stop, 8, 10, label=torch.tensor([1]))
    torch.testing.assert_close(parts, whole, atol=1e-4, rtol=1e-3)
    assert again == pytest.approx(energies, rel=1e-3)
    assert geodesic(space, start, stop, 2, 3)[0].shape == (2, 8)


@pytest.mark.parametrize(("keys", "loop", "frames"), [(4, False, 4), (5, True, 36), (3, True, 7)])
def test_a_walk_shows_keys_as_they_are(model: Model, keys: int, loop: bool, frames: int) -> None:
    """36 frames of a loop of five keys: 7 frames a key, where a time times 5 may be rounded to before a key."""
    drawn = ganvas.walk(model, kind="linear", keys=keys, loop=loop, frames=frames).samples
    apart = (frames - 1) // (keys if loop else keys - 1)
    wanted = model.sample(keys)
    assert near(drawn[::apart][:keys], wanted)
    if loop:
        assert near(drawn[-1:], wanted[:1])


def test_a_walk_has_a_key_for_each_class(model: Model) -> None:
    """Those that had none were left out without a word."""
    with pytest.raises(GanvasError, match="There are 3 labels for 2 keys"):
        ganvas.walk(model, keys=2, labels=[0, 1, 0], frames=4)
    one = ganvas.walk(model, keys=2, labels=torch.tensor(1), frames=4)
    assert torch.equal(one.samples, ganvas.walk(model, keys=2, labels=[1, 1], frames=4).samples)


def test_strengths_of_a_direction(model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[torch.Tensor] = []
    sheet = pictures.sheet

    def kept(drawn: Sequence[torch.Tensor], *rest: Any, **named: Any) -> Any:
        rows.extend(drawn)
        return sheet(drawn, *rest, **named)

    monkeypatch.setattr(pictures, "sheet", kept)
    path, out = tmp_path / "m.safetensors", tmp_path / "d.safetensors"
    model.save(path)
    flags = ["--method", "random", "--count", "1", "--device", "cpu", "--out", str(out)]
    assert main(["directions", str(path), *flags]) == 0
    space = LatentZ(model)
    (direction,) = find(space, "random", 1)
    moved = edit(space, space.numbered(1).expand(9, 8), direction, torch.linspace(-3, 3, 9))
    assert near(rows[0], of_class(model, moved, 0))


@pytest.mark.parametrize(("labels", "label"), [(None, 0), ([2, 1, 0, 0], 2)])
def test_a_geodesic(model: Model, labels: list[int] | None, label: int) -> None:
    found = ganvas.walk(model, kind="geodesic", frames=5, labels=labels)
    assert near(found.samples, of_class(model, found.points, label))
    space = LatentZ(model)
    ends = space.numbered(2)
    _, energies = geodesic(space, ends[0], ends[1], 5, 0, label=torch.tensor([label]))
    assert energies == []
    seen = torch.cat(list(looks(space, found.points, torch.full((5,), label))))
    energy = float((seen[1:] - seen[:-1]).square().sum() * 4)
    assert energy == pytest.approx(found.figures["energy_after"], rel=1e-3), "of the pictures that are drawn"


def test_the_metric_is_that_of_the_samples_as_they_are_numbered(model: Model) -> None:
    space = LatentZ(model)
    points = space.numbered(CLASSES)
    each = [
        jacobians(space, points[i : i + 1], labels=torch.tensor([i]))[1][0].double() for i in range(CLASSES)
    ]
    torch.testing.assert_close(metric(space, points), sum(j.t() @ j for j in each) / CLASSES)


def spied(monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor | None]:
    """The labels with which pictures are looked at."""
    seen: list[torch.Tensor | None] = []
    decode = LatentZ.decode

    def kept(self: LatentZ, points: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        seen.append(labels)
        return decode(self, points, labels)

    monkeypatch.setattr(LatentZ, "decode", kept)
    return seen


def test_marks_are_of_the_pictures_that_were_marked(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = [*range(0, 60, 3), 1, 5, 7]
    (tmp_path / "m.csv").write_text("\n".join(f"{n},{n % 2}" for n in numbers))
    seen = spied(monkeypatch)
    from_scores(LatentZ(model), tmp_path / "m.csv")
    assert seen[0] is not None
    assert seen[0].tolist() == [n % CLASSES for n in numbers]
    seen.clear()
    Renderer(model).clicked([(5, n, n % 2 == 0) for n in numbers], "marked")
    first = next(labels for labels in seen if labels is not None and len(labels) == len(numbers))
    assert first.tolist() == [n % CLASSES for n in numbers]


def test_classes_do_not_begin_anew_in_each_part(model: Model) -> None:
    points = LatentZ(model).numbered(300)
    (part, rest) = looks(LatentZ(model), points, see=model.to_data)
    assert len(part) % CLASSES, "or the next part would begin with the first class anyway"
    assert near(torch.cat([part, rest])[-3:], model.sample(300)[-3:])


def test_a_sum_shows_its_terms_as_they_were_numbered(model: Model) -> None:
    found = draw_edit(model, expression="4 - 2")
    assert found.terms is not None
    shown = model.sample(5)
    assert near(found.terms[:2], shown[[4, 2]])
    assert near(found.samples[0], found.terms[2:]), "the result, of the class of the first term"
    assert found.sum is not None
    assert near(found.samples[0], of_class(model, found.sum.result[None], 1))


def test_directions_of_another_space_are_not_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    style, path, file = ours("style"), tmp_path / "m.safetensors", tmp_path / "w.safetensors"
    style.save(path)
    save(file, find(open_space(style, "w"), "random", 2))
    flags = ["--n", "20", "--rca", "1", "--directions", str(file), "--device", "cpu", "--json"]
    assert main(["statistics", str(path), "--spaces", "z", *flags]) == 2
    assert "holds directions of 'w', which --spaces does not name" in capsys.readouterr().err
    assert main(["statistics", str(path), "--spaces", "z", "w", *flags]) == 0
    shown = capsys.readouterr().out
    assert shown.count("2 given") == 1


def test_a_sampler_that_truncates_is_not_told_so_twice(model: Model) -> None:
    with pytest.raises(GanvasError, match=r"truncates by itself.*--set amount=0.2"):
        Setting("truncate", truncation=0.2).draw(model, None, 2)


def test_a_spectrum_is_of_samples_of_all_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was of the first four."""
    seen = list[int]()

    def noted(space: LatentSpace, points: Tensor, labels: Tensor | None = None) -> Tensor:
        assert labels is not None
        seen.extend(labels.tolist())
        return metric(space, points, lambda samples: samples.flatten(1), labels)

    class Shifted(nn.Module):
        def forward(self, z: Tensor, labels: Tensor) -> Tensor:
            return z + labels[:, None]

    monkeypatch.setattr(jacobian, "metric", noted)
    for classes, wanted in ((2, [0, 1, 0, 1]), (10, [*range(10)]), (100, [*range(0, 100, 10)])):
        seen.clear()
        model = ganvas.wrap(Shifted(), latent_dim=2, shape=(2,), num_classes=classes)
        assert len(jacobian.spectrum(LatentZ(model))) == 2
        assert seen == wanted


def named(model: Model) -> Model:
    return replace(model, info=replace(model.info, class_names=("cat", "dog", "hen")))


def test_a_class_in_a_sum_is_one_that_the_model_draws(model: Model) -> None:
    """It was what a classifier called so, drawn as the first class where the model has no such one."""
    found = draw_edit(named(model), expression="hen - cat + dog", space="class")
    assert found.sum is not None
    assert found.terms is not None
    table = model.generator.embed.weight.detach()
    torch.testing.assert_close(found.sum.terms, table[[2, 0, 1]])
    assert found.sum.labels is not None
    assert found.sum.labels.tolist() == [2, 0, 1]
    with pytest.raises(GanvasError, match=r"draws no class 'cow'.*cat, dog, hen"):
        draw_edit(named(model), expression="cow - cat", space="class")
    with pytest.raises(GanvasError, match="Terms are numbers of samples, as its classes have no names"):
        draw_edit(model, expression="cow - cat", space="class")
    with pytest.raises(GanvasError, match="--space class, or numbers of samples"):
        draw_edit(named(model), expression="hen - cat")
