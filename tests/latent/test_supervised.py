"""Directions from a person's scores, arithmetic and locks."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import ganvas
from ganvas import io
from ganvas.cli import main
from ganvas.errors import GanvasError
from ganvas.latent import open_space, paths, supervised
from ganvas.latent.arithmetic import arithmetic
from ganvas.latent.directions import edit, find, keeping, load_directions, without
from ganvas.latent.statistics import rescore
from ganvas.latent.supervised import (
    SHUFFLES,
    attribute,
    control,
    from_attribute,
    from_scores,
    in_words,
    read_scores,
    says_nothing,
    scores_of,
)
from tests.latent.test_space import ours


class Bright(nn.Module):
    """The mean of 600 numbers, which decides the brightness, and some of them."""

    def forward(self, z: Tensor) -> Tensor:
        return torch.tanh(z.mean(1, keepdim=True) * 20 + 0.1 * z[:, :64]).reshape(-1, 1, 8, 8)


def test_the_hyperplane_of_a_wide_space_is_found_in_what_its_points_span(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Copies of 512 points of 65,536 numbers, in float64, were more than a gigabyte."""
    space = open_space(ganvas.wrap(Bright(), latent_dim=600), "z")
    whole, seen = from_attribute(space, "brightness", samples=450), list[tuple[int, int]]()
    plain = supervised.control

    def noted(learner: Any, x: Any, high: Any, seed: int = 0) -> supervised.Control:
        seen.append(x.shape)
        return plain(learner, x, high, seed)

    monkeypatch.setattr(supervised, "control", noted)
    monkeypatch.setattr(supervised, "WIDE", 599)
    found = from_attribute(space, "brightness", samples=450)
    assert seen[0][1] == seen[0][0] < 450
    assert float(found.vector @ whole.vector) == pytest.approx(1, abs=1e-3), "but for where its descent stops"
    assert found.made == whole.made
    assert found.score == pytest.approx(whole.score)


def test_fifty_clicks_make_a_direction(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The clicks of somebody who marks bright pictures: the direction brightens samples that were never shown."""
    model = ganvas.load("fashion", device="cpu")
    space = open_space(model, "w")
    bright = model.sample(50, seed=3).float().mean((1, 2, 3)) > 72
    clicks = tmp_path / "bright.csv"
    clicks.write_text("# number, score\n" + "\n".join(f"{i},{int(b)}" for i, b in enumerate(bright)))
    found = from_scores(space, clicks, seed=3)
    assert found.name == "bright"
    assert found.score > 0.7, "accuracy on held-out folds"
    assert found.made["samples"] == 50
    before, after = (
        scores_of(space, ["brightness"], edit(space, space.numbered(200, 9), found, s))["brightness"].mean()
        for s in (-1.0, 1.0)
    )
    assert after > before + 15
    out = tmp_path / "d.safetensors"
    flags = [
        "--method",
        "attribute",
        "--scores",
        str(clicks),
        "--seed",
        "3",
        "--keep",
        "width",
        "--samples",
        "300",
    ]
    assert main(["directions", "fashion", *flags, "--out", str(out), "--device", "cpu", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["directions"]
    assert row["effects"]["brightness"] > 0.5
    (loaded,) = load_directions(out, model)
    assert loaded.made["kept"] == ["width"]
    assert loaded.cost == row["cost"]


@pytest.mark.slow
def test_a_teacher_looks_at_large_pictures_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """2,000 pyramids of 256 px are gigabytes."""
    generator = nn.Sequential(nn.Unflatten(1, (3, 2, 2)), nn.Upsample((256, 128)), nn.Tanh())
    space, seen = open_space(ganvas.wrap(generator, latent_dim=12)), list[int]()

    def looks(*given: Any) -> Iterator[Tensor]:
        for features in paths.looks(*given):
            seen.append(features.shape[1])
            yield features

    monkeypatch.setattr(supervised, "TAUGHT", 64)
    monkeypatch.setattr(supervised, "looks", looks)
    supervised.teach(space, space.numbered(20), torch.arange(20.0))
    assert seen
    assert max(seen) < 2 * 3 * 64 * 64


class _Collapsed(nn.Module):
    """The same picture for every latent."""

    def forward(self, z: Tensor) -> Tensor:
        return torch.full((len(z), 1, 16, 16), 0.3) + 0 * z[:, :1, None, None]


def test_marks_of_a_collapsed_model_are_refused() -> None:
    """There is nothing that a teacher could see: its features were divided by no spread."""
    space = open_space(ganvas.wrap(_Collapsed(), latent_dim=4))
    with pytest.raises(GanvasError, match="look the same"):
        attribute(space, space.numbered(12), torch.arange(12.0))


def test_fifty_scores_teach_what_thousands_would_say() -> None:
    """The attribute's own hyperplane from 2,000 scores is the judge; scores of noise teach nothing."""
    space = open_space(ganvas.load("fashion", device="cpu"), "w")
    many, few = (from_attribute(space, "width", samples=n, seed=s) for n, s in ((2000, 5), (50, 6)))
    agreement = torch.nn.functional.cosine_similarity(many.vector, few.vector, dim=0)
    assert agreement > 0.95
    assert few.made["taught"] == 2000
    assert many.made["taught"] == 0
    points = space.numbered(60, 1)
    noise = torch.rand(60, generator=torch.Generator().manual_seed(0))
    assert attribute(space, points, noise).score < 0.7
    with pytest.raises(GanvasError, match="at least 4 samples on each side"):
        attribute(space, points, torch.ones(60))


@pytest.mark.slow
def test_marks_without_information_are_called_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Marks that alternate are told as well as shuffled ones; a person's marks of brightness are not."""
    model = ganvas.load("fashion", device="cpu")
    space = open_space(model, "w")
    points = space.numbered(50, 3)
    nothing = attribute(space, points, torch.arange(50) % 2.0, "fancy")
    assert says_nothing(nothing)
    assert 0.3 < nothing.score < nothing.made["chance"]
    assert "these marks say nothing" in in_words(nothing)
    bright = scores_of(space, ["brightness"], points)["brightness"]
    something = attribute(space, points, (bright > bright.median()).float(), "bright")
    assert not says_nothing(something)
    assert something.score > 0.8 > something.made["chance"]
    assert "say nothing" not in in_words(something)
    many = space.numbered(500, 3)
    assert says_nothing(attribute(space, many, torch.arange(500) % 2.0, "many"))
    assert in_words(find(space, "pca", 1)[0]) == ""
    marks = tmp_path / "fancy.csv"
    marks.write_text("\n".join(f"{i},{i % 2}" for i in range(50)))
    out = tmp_path / "d.safetensors"
    flags = ["--method", "attribute", "--scores", str(marks), "--seed", "3", "--device", "cpu"]
    assert main(["directions", "fashion", *flags, "--out", str(out)]) == 0
    assert "these marks say nothing" in " ".join(capsys.readouterr().out.split())
    assert says_nothing(load_directions(out, model)[0])


def test_the_control_is_an_exact_test() -> None:
    """Of 200 sets of marks by chance at most one in twenty is called informative, within three standard errors."""
    from sklearn.linear_model import Ridge

    random = np.random.default_rng(0)
    found = [control(Ridge(1.0), random.normal(size=(40, 6)), random.random(40) > 0.5) for _ in range(200)]
    assert np.mean([each.p <= 0.05 for each in found]) < 0.05 + 3 * (0.05 * 0.95 / 200) ** 0.5
    # Folds that lack a side expect it: plain ones give a little less than half, with shuffled marks as well.
    assert 0.42 < np.mean([each.accuracy for each in found]) < 0.51
    x = random.normal(size=(60, 6))
    seen = control(Ridge(1.0), x, x[:, 0] > 0.8)  # few on one side: both sides count the same
    assert seen.p <= 0.01
    assert seen.accuracy > 0.75


def test_scores_as_json_and_mistakes_in_them(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"3": 1, "0": 0.5}')
    numbers, scores = read_scores(path)
    assert numbers == [3, 0]
    assert scores.tolist() == [1, 0.5]
    for text, message in (("{", "holds no scores"), ("[1]", "holds no scores"), ('{"-1": 1}', "from 0 up"),
                          ('{"1": 1e39}', "finite"), ('{"1": null}', "holds no scores")):  # fmt: skip
        path.write_text(text)
        with pytest.raises(GanvasError, match=message):
            read_scores(path)
    for text, message in (("1;2", "holds no scores"), ("1,1\n1,0", "once"), ("", "once")):
        (tmp_path / "b.csv").write_text(text)
        with pytest.raises(GanvasError, match=message):
            read_scores(tmp_path / "b.csv")
    with pytest.raises(GanvasError, match="Cannot read"):
        read_scores(tmp_path / "none.csv")


def test_scores_are_a_file_of_text_with_an_end(tmp_path: Path) -> None:
    """A pipe in its place was waited for, and a device read until the memory was full."""
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "endless.csv").symlink_to("/dev/zero")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe1,1")
    with (tmp_path / "long.csv").open("wb") as file:
        file.truncate(io.LONGEST + 1)
    for name, message in (
        ("pipe", "is no file"), ("endless", "is no file"), ("binary", "is no text in UTF-8"), ("long", "read at most"),
    ):  # fmt: skip
        with pytest.raises(GanvasError, match=message):
            read_scores(tmp_path / f"{name}.csv")
    (tmp_path / "excel.csv").write_text("0,1\n7,0\n", encoding="utf-8-sig")
    assert read_scores(tmp_path / "excel.csv")[0] == [0, 7]


def test_more_scores_than_there_is_room_for_are_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """800,000 lines, 7 MB, took 6.5 GB."""
    space = open_space(ganvas.load("fashion", device="cpu"), "z")
    # The points have fewer numbers than there are shufflings.
    monkeypatch.setattr("ganvas.latent.supervised.MOST_SCORED", 99 * (SHUFFLES + 1))
    (tmp_path / "many.csv").write_text("".join(f"{i},{i % 2}\n" for i in range(100)))
    with pytest.raises(GanvasError, match=r"has 100 scores; of points of \d+ numbers at most 99 are taken"):
        from_scores(space, tmp_path / "many.csv")


def test_a_lock_leaves_the_linear_score_of_the_other_where_it_was() -> None:
    """In a correlated space: the score of the locked attribute is linear, so along the projected direction it is constant."""
    space = open_space(ours(), "w")
    points = space.numbered(2000)
    random = torch.Generator().manual_seed(0)
    locked, wanted = torch.randn(8, generator=random), torch.randn(8, generator=random)
    other = attribute(space, points, points @ locked, "locked")
    free = attribute(space, points, points @ wanted, "wanted")
    held = keeping(space, free, [other])
    moved = {
        name: (edit(space, points, d, 1.0) - points) @ locked for name, d in (("free", free), ("held", held))
    }
    assert moved["held"].abs().mean() < 0.25 * moved["free"].abs().mean()
    assert ((edit(space, points, held, 1.0) - points) @ wanted).mean() > 0
    assert held.made["kept"] == ["locked"]
    with pytest.raises(GanvasError, match="kept ones contain it"):
        without(space, free.vector.flatten(), [free])


@pytest.mark.slow
def test_rescoring_matches_the_effects() -> None:
    model = ganvas.load("fashion", device="cpu")
    space = open_space(model, "w")
    names = ["brightness", "slant"]
    found = rescore(space, [from_attribute(space, name, samples=500) for name in names], names, samples=100)
    np.testing.assert_allclose(np.diag(found.matrix), 1, atol=0.1)
    assert (found.leakage() < 1).all()
    wrong = rescore(space, find(space, "random", 2), ["slant", "width"], effect=50.0, samples=50)
    assert np.isnan(wrong.strengths).all(), "what is out of reach is said"


def test_arithmetic_of_samples_and_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = ganvas.load("fashion", device="cpu")
    z, w = open_space(model, "z"), open_space(model, "w")
    points = w.numbered(6)
    found = arithmetic(w, "2 - 3 + 5")
    torch.testing.assert_close(found.result, points[2] - points[3] + points[5], atol=1e-5, rtol=0)
    assert found.names == ("2", "3", "5")
    two = arithmetic(w, "2 - 3")
    torch.testing.assert_close(two.result, w.mean + points[2] - points[3], atol=1e-5, rtol=0)
    lengths = (
        (z.numbered(4)[0] + z.numbered(4)[1] - z.numbered(4)[3]).norm(),
        arithmetic(z, "0 + 1 - 3").result.norm(),
    )
    assert lengths[1] < lengths[0], "in z it is brought back to a typical length"
    with pytest.raises(GanvasError, match="no class 'Dressing'"):
        arithmetic(w, "Dressing - 3")
    with pytest.raises(GanvasError, match="spaces around the signs"):
        arithmetic(w, "1 + ")
    for number in ("9" * 12, "1" * 5000):  # more digits than Python reads
        with pytest.raises(GanvasError, match="Samples are numbered from 0"):
            arithmetic(w, f"{number} - 1")
    out = tmp_path / "a.png"
    assert (
        main(
            ["edit", "fashion", "--arithmetic", "Sandal - Sneaker + 9", "--out", str(out), "--device", "cpu"]
        )
        == 0
    )
    assert out.is_file()
    capsys.readouterr()
    assert main(["edit", "fashion"]) == 2
    assert "--arithmetic" in capsys.readouterr().err
