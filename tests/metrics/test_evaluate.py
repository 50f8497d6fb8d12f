import importlib
import json
import math
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import ganvas
from ganvas import dist, io, metrics, report
from ganvas.cli import main
from ganvas.config import DataConfig
from ganvas.data import load_dataset
from ganvas.data.idx import CLASSES
from ganvas.data.toy import distribution
from ganvas.errors import GanvasError
from ganvas.features import Embedded, Features, decoded, open_extractor
from ganvas.features.base import Raw
from ganvas.features.classifier import learned
from ganvas.metrics import Row, compare, evaluate, published
from ganvas.metrics.base import Inputs, Value
from ganvas.metrics.base import metrics as registered
from ganvas.metrics.evaluate import open_fakes
from ganvas.runs import Run
from ganvas.training import Result
from ganvas.training.best import BestSnapshot

EVERYTHING = list(metrics.registry)
FILES = Path(__file__).parents[1] / "importers" / "files"


def digits(count: int = 600) -> Tensor:
    return load_dataset("digits").take(torch.arange(count))[0]


def test_a_model_in_one_call(trained: Result) -> None:
    found = evaluate(trained.run.path, n=500, device="cpu")
    assert {row.metric for row in found.rows} >= {
        "frechet", "kid", "inception-score", "precision", "recall", "density", "coverage", "authenticity",
        "data-copying", "ndb", "bins-jsd", "sliced-wasserstein", "modes", "reverse-kl",
    }  # fmt: skip
    row = found.rows[0]
    assert (row.n, row.reference_n, row.floor_n, row.seed) == (500, 1617, 180, 0)
    assert row.extractor.startswith("classifier-digits-")
    assert row.reference == "digits"
    assert row.snapshot.endswith("generator.safetensors")
    assert row.kimg == pytest.approx(0.512)
    assert all(r.floor is not None for r in found.rows if r.metric not in ("data-copying", "ndb", "bins-jsd"))
    assert row.floor is not None
    assert row.floor < row.value / 5, "an untrained model is far from the floor"
    assert any("500 is small" in warning for warning in found.warnings)
    assert found["frechet"] == row.value
    with pytest.raises(KeyError, match="known centres"):
        found["points"]


def test_metrics_are_told_as_they_are_computed() -> None:
    """Two minutes of `ganvas eval` stood at `held out: 6,000 of 6,000` while neighbours were looked for."""
    told: list[tuple[str, int, int]] = []
    evaluate(digits(), "digits", ["frechet", "kid"], device="cpu", progress=lambda *step: told.append(step))
    steps = [step for step in told if step[0].startswith("metrics")]
    assert steps == [
        (what, i, 2)
        for what in ("metrics of the samples", "metrics of the floor", "metrics at N=180")
        for i in range(2)
    ]


@pytest.mark.parametrize("name", EVERYTHING)
def test_contract_of_every_metric(name: str, trained: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    """Finite figures with a direction and a floor, the same ones for the same seed, or a reason why not."""
    data = {"points": "toy:grid25", "series": "goog", "series-legacy": "goog"}.get(name)
    fake: object = trained.run.path
    if name == "points":
        fake = distribution("toy:grid25").draw(300, torch.Generator().manual_seed(0))[0]
    elif data:
        fake, fit = load_dataset("goog"), published._fit
        monkeypatch.setattr(published, "_fit", lambda network, loss, iterations: fit(network, loss, 2))
    first, second = (evaluate(fake, data, [name], n=300, device="cpu", extractor="auto") for _ in range(2))
    assert first.rows
    assert [r.to_json() for r in first.rows] == [r.to_json() for r in second.rows]
    for row in first.rows:
        assert np.isfinite(row.value)
        assert row.better in ("lower", "higher") or row.better.startswith("near ")
        assert (row.error is None) == (row.error_kind == "")
        assert Row.from_json(json.loads(json.dumps(row.to_json()))) == row


def test_real_images_are_near_the_floor_and_copies_are_named() -> None:
    dataset = load_dataset("digits")
    train, held_out = dataset.split(0.1)
    copies, _ = train.take(torch.arange(len(train)))
    fresh, _ = held_out.take(torch.arange(len(held_out)))
    of_copies, of_fresh = (evaluate(images, "digits", device="cpu") for images in (copies, fresh))
    assert of_copies["frechet"] == pytest.approx(0, abs=1e-6)
    assert of_copies["authenticity"] == 0
    assert of_copies["data-copying"] < -10
    assert of_fresh["frechet"] == pytest.approx(of_fresh.rows[0].floor, rel=1e-6)
    assert of_fresh["authenticity"] > 0.3
    assert of_fresh["precision"] > 0.85


def test_a_part_of_the_data_is_a_reference_of_its_own() -> None:
    """Zeros were compared with digits of all kinds: a part was split as if it were the beginning of the whole."""
    data = load_dataset("digits")
    assert data.labels is not None
    zeros, ones = (data.subset((data.labels == number).nonzero()[:, 0]) for number in (0, 1))
    alike = evaluate(zeros, zeros, ["frechet"], extractor="raw", device="cpu")
    apart = evaluate(zeros, ones, ["frechet"], extractor="raw", device="cpu")
    assert alike["frechet"] < 0.1
    assert apart["frechet"] > 5
    assert apart.reference is not None
    assert set(apart.reference.take_labels().tolist()) == {1}


def test_dropping_a_class_and_blurring_are_noticed() -> None:
    dataset = load_dataset("digits")
    train, _ = dataset.split(0.1)
    images, labels = train.take(torch.arange(len(train)))
    assert labels is not None
    whole = evaluate(images[::2], "digits", device="cpu")
    dropped = evaluate(images[labels != 3][::2], "digits", device="cpu")
    assert dropped["modes"] == 9
    assert dropped["reverse-kl"] > whole["reverse-kl"]
    assert dropped["frechet"] > 3 * whole["frechet"]
    noise = torch.randint(0, 256, images[::2].shape, dtype=torch.uint8)
    poor = evaluate(noise, "digits", device="cpu")
    assert poor["precision"] < 0.2 < whole["precision"]


def test_images_of_another_program(tmp_path: Path) -> None:
    for i, image in enumerate(digits(300)):
        (tmp_path / "made").mkdir(exist_ok=True)
        Image.fromarray(image[0].numpy()).resize((16, 16)).save(tmp_path / "made" / f"{i}.png")
    np.savez(tmp_path / "made.npz", images=digits(300).numpy())
    by_folder = evaluate(tmp_path / "made", "digits", ["frechet"], device="cpu")
    by_array = evaluate(tmp_path / "made.npz", "digits", ["frechet"], device="cpu")
    assert by_folder.rows[0].n == by_array.rows[0].n == 300
    assert by_array["frechet"] < by_folder["frechet"]


def test_images_of_mixed_sizes_need_a_word(tmp_path: Path) -> None:
    for i, image in enumerate(digits(120)):
        side = 16 if i % 2 else 24
        Image.fromarray(image[0].numpy()).resize((side, side)).save(tmp_path / f"{i}.png")
    with pytest.raises(GanvasError, match="--resize crop"):
        evaluate(tmp_path, "digits", ["frechet"], device="cpu")
    # A classifier is taken by name for data of its own size alone; by its full name it takes any.
    found = evaluate(
        tmp_path,
        "digits",
        ["frechet"],
        device="cpu",
        resolution=16,
        resize="stretch",
        extractor="classifier-digits",
    )
    assert found.rows[0].n == 120


def test_pixels_of_large_images_have_no_covariance() -> None:
    images = torch.randint(0, 256, (30, 3, 40, 40), dtype=torch.uint8)
    found = evaluate(
        images, ganvas.Dataset("noise", images, (3, 40, 40), "noise"), extractor="raw", device="cpu"
    )
    assert "at most 4,096 features" in found.skipped["frechet"]
    assert "precision" in {row.metric for row in found.rows}


@pytest.mark.slow
def test_points_against_their_exact_modes() -> None:
    points = distribution("toy:grid25").draw(800, torch.Generator().manual_seed(1))[0]
    found = evaluate(points, "toy:grid25", device="cpu", n=800)
    assert found["point-modes"] == 25
    assert found["high-quality"] > 0.99
    assert found.rows[0].extractor == "raw"
    assert "inception-score" in found.skipped


def test_every_sample_is_embedded_once_and_the_reference_once_ever(trained: Result) -> None:
    decoded.seen = 0
    evaluate(trained.run.path, n=256, device="cpu")
    assert decoded.seen == 256 + 1617 + 180
    evaluate(trained.run.path, n=256, seed=1, device="cpu")
    assert decoded.seen == 256 + 1617 + 180 + 256


def test_as_many_are_drawn_and_embedded_at_a_time_as_there_is_room_for(
    trained: Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    """256 pictures of 256 px at once took 9 GB, though `sample` draws a few."""
    model = ganvas.load(trained.run.path)
    model.at_once = 16
    monkeypatch.setattr("ganvas.features.cache.MOST_NUMBERS", 30 * 64)
    sizes: list[int] = []

    def brightness(images: Tensor) -> Tensor:
        sizes.append(len(images))
        return images.float().mean((1, 2, 3), keepdim=True).flatten(1).expand(-1, 2) + torch.randn(
            len(images), 2
        )

    evaluate(model, "digits", "precision-recall", n=100, extractor=brightness)
    assert max(sizes[:7]) == 16
    assert max(sizes[7:]) == 30


def test_a_warm_cache_reads_no_reference_image(trained: Result) -> None:
    class Untouchable:
        """Items that may be counted and never read."""

        def __len__(self) -> int:
            return 1797

        def __getitem__(self, index: int) -> Tensor:
            raise AssertionError("a reference image was decoded again")

        def __iter__(self) -> Iterator[Tensor]:
            raise AssertionError

    dataset = load_dataset("digits")
    expected = evaluate(trained.run.path, dataset, ["frechet"], n=100, device="cpu")
    again = evaluate(
        trained.run.path, replace(dataset, items=Untouchable()), ["frechet"], n=100, device="cpu"
    )
    assert again["frechet"] == expected["frechet"]


def test_what_can_not_be_compared_is_refused(trained: Result) -> None:
    run = trained.run.path
    base = evaluate(run, metrics=["frechet"], n=200, device="cpu").rows
    other_seed = evaluate(run, metrics=["frechet"], n=200, seed=1, device="cpu").rows
    assert compare(base, other_seed)[0][0] == "frechet"
    fewer = evaluate(run, metrics=["frechet"], n=150, device="cpu").rows
    raw = evaluate(run, metrics=["frechet"], n=200, extractor=Raw(), device="cpu").rows
    with pytest.raises(GanvasError, match=r"numbers of samples \(150 and 200\)"):
        compare(base, fewer)
    with pytest.raises(GanvasError, match="different extractors"):
        compare(base, raw)
    before, other = (
        [replace(row, extractor=row.extractor[:-8] + end) for row in base] for end in ("", "0" * 8)
    )
    assert compare(before, base)[0][0] == "frechet", (
        "files of before have eight digits of the extractor's hash"
    )
    for rows in ([other, base], [other, before, base]):
        with pytest.raises(GanvasError, match="different extractors"):
            compare(*rows)


def test_a_model_says_who_guided_its_training(trained: Result) -> None:
    """The config of its run says it, and so do files of the generator alone."""
    model = ganvas.load(trained.run.path, critic=False, device="cpu")
    architecture = replace(trained.run.config.network, critic_name="projected", critic={})
    model.info = replace(model.info, architecture=architecture)
    assert model.info.guide == "efficientnet-lite0"
    with pytest.raises(GanvasError, match="guided the training"):
        evaluate(model, metrics=["frechet"], extractor="efficientnet-lite0", device="cpu")
    found = evaluate(model, metrics=["frechet"], n=50, floor=False, device="cpu")
    assert any(
        "efficientnet-lite0 guided the training and does not judge it" in each for each in found.warnings
    )


def test_only_inception_is_called_fid() -> None:
    row = Row(
        "frechet", 1.0, None, "", None, 0, 10, 10, 0, "classifier-digits-x", "", "d", "f", "s", "", None
    )
    assert row.label == "frechet"
    fid = replace(row, extractor="inception-2015-6726825d", resize="tf1 to 299 px")
    assert fid.label == "FID"
    assert replace(fid, resize="clean to 299 px").label == "FID (clean)"
    assert replace(fid, metric="kid").label == "kid"


def test_the_expected_bias_is_close_to_the_bias() -> None:
    """Points against their own distribution: the true distance is 0, so all of the figure is bias."""
    rng = np.random.default_rng(0)
    np_points = lambda n: torch.from_numpy(rng.normal(size=(n, 20)).astype(np.float32))  # noqa: E731
    reference = ganvas.Dataset("normal", np_points(40_000), (20,), "normal-20")
    found = evaluate(np_points(1000), reference, ["frechet"], device="cpu", floor=False)
    (warning,) = found.warnings
    said = float(warning.split("about +")[1].split(". Compare")[0])
    assert said == pytest.approx(found["frechet"], rel=0.35)


@pytest.mark.parametrize(
    ("fake", "real", "asked", "message"),
    [
        ("no-such", "digits", "all", "No model or images at 'no-such'"),
        (torch.zeros(5, 8, 8), "digits", "all", "expected uint8 images"),
        (torch.zeros(50, 1, 8, 8, dtype=torch.uint8), None, "all", "--reference"),
        (torch.zeros(50, 2), "digits", "all", "are points and the reference digits is images"),
        (
            torch.zeros(50, 1, 8, 8, dtype=torch.uint8),
            "digits",
            "fid",
            "Type --metrics frechet, with --extractor inception-2015",
        ),
        (torch.zeros(50, 1, 8, 8, dtype=torch.uint8), "digits", "frechett", "Did you mean 'frechet'"),
        (torch.zeros(50, 1, 32, 32, dtype=torch.uint8), "digits", "pyramid", "Add --resolution 8"),
        (torch.zeros(50, 1, 8, 8, dtype=torch.uint8), "digts", "all", "Did you mean 'digits'"),
    ],
)
def test_bad_input(fake: object, real: str | None, asked: str, message: str) -> None:
    asked, extractor = ("frechet", asked) if asked == "pyramid" else (asked, "auto")
    with pytest.raises(GanvasError, match=message):
        evaluate(fake, real, asked, extractor=extractor, device="cpu")  # type: ignore[arg-type]


def test_light_evaluation_without_an_extractor_leaves_no_folder(
    tiny_train: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ganvas.networks.efficientnet.installed", lambda: False)
    np.save(tmp_path / "mine.npy", np.zeros((200, 8, 8), np.uint8))
    with pytest.raises(GanvasError, match="ganvas extractor train"):
        tiny_train(str(tmp_path / "mine.npy"), settings={"training.eval_kimg": 0.256})
    assert not (tmp_path / "runs").exists()


def test_light_evaluation_keeps_the_best_snapshot(tiny_train: Callable[..., Result]) -> None:
    result = tiny_train(
        kimg=1.28,
        settings={"training.eval_kimg": 0.256, "training.eval_samples": 200, "training.snapshot_kimg": 0.256},
    )
    rows = [Row.from_json(line) for line in result.run.metrics()]
    assert [round(row.kimg or 0, 3) for row in rows] == [0.256, 0.512, 0.768, 1.024, 1.28]
    assert {row.source for row in rows} == {"training"}
    best = min(rows, key=lambda row: row.value)
    kept = ganvas.load(result.run.path / "snapshots" / "best", device="cpu")
    assert kept.info.kimg == pytest.approx(best.kimg)
    again = evaluate(kept, metrics=["frechet"], n=200, seed=3, device="cpu", floor=False)
    assert again["frechet"] == pytest.approx(best.value, rel=1e-6)
    assert [p.name for p in result.run.snapshots][-1] != "best"
    # Killed between the two renames: what stood there has another name, and goes with the leftovers.
    lowest = BestSnapshot(result.run, load_dataset("digits"), "cpu").value
    assert lowest == best.value
    shutil.rmtree(kept.path.parent)  # type: ignore[union-attr]
    (newest,) = [row for row in rows if row.kimg == 1.28]
    lines = [row if row.snapshot != newest.snapshot else replace(row, value=1e9) for row in rows]
    lines[-1] = replace(newest, value=0.5)
    (result.run.path / "metrics.jsonl").write_text("".join(json.dumps(row.to_json()) + "\n" for row in lines))
    assert BestSnapshot(result.run, load_dataset("digits"), "cpu").value == 0.5
    assert ganvas.load(result.run.path / "snapshots" / "best", device="cpu").info.kimg == 1.28
    shutil.rmtree(result.run.path / "snapshots" / "best")
    shutil.rmtree(result.run.snapshots[-1])
    assert BestSnapshot(result.run, load_dataset("digits"), "cpu").value == float("inf"), (
        "the next one is the best"
    )


class Album(nn.Module):
    """A perfect conditional generator of some labelled pictures: draws one of the class asked for; or one of `only`."""

    def __init__(self, images: Tensor, labels: Tensor, only: int | None = None) -> None:
        super().__init__()
        self.images, self.order, self.only = images.float() / 255, labels.argsort(stable=True), only
        self.counts = torch.bincount(labels)

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        asked = labels if self.only is None else torch.full_like(labels, self.only)
        place = (torch.special.ndtr(z[:, 0]) * self.counts[asked]).long().clamp(max=self.counts[asked] - 1)
        return self.images[self.order[(self.counts.cumsum(0) - self.counts)[asked] + place]]


def album(data: ganvas.Dataset, only: int | None = None) -> ganvas.Model:
    images, labels = data.take(torch.arange(len(data)))
    assert labels is not None
    return ganvas.wrap(Album(images, labels, only), latent_dim=2, num_classes=10, value_range=(0, 1))


def unequal_digits() -> ganvas.Dataset:
    """Digits with 178 zeros and 8 of each other class."""
    data = load_dataset("digits")
    images, labels = data.take(torch.arange(len(data)))
    assert labels is not None
    rows = torch.cat([(labels == c).nonzero()[: 178 if c == 0 else 8, 0] for c in range(10)]).sort().values
    return replace(data, items=images[rows], labels=labels[rows], fingerprint="unequal digits")


def test_a_perfect_conditional_generator_of_unequal_classes_is_at_its_data() -> None:
    """By as many of each class it would score a Frechet distance of 39 and a coverage of 0.61."""
    data = unequal_digits()
    asked = ["frechet", "density-coverage", "modes"]
    as_data, uniform = (
        evaluate(album(data), data, asked, n=2500, device="cpu", labels=labels)
        for labels in ("data", "uniform")  # type: ignore[arg-type]
    )
    assert as_data["frechet"] < 0.4
    assert as_data["coverage"] > 0.97
    assert as_data["reverse-kl"] < 0.001
    assert (as_data.rows[0].labels, uniform.rows[0].labels) == ("data", "uniform")
    assert uniform["frechet"] == pytest.approx(39, rel=0.05)
    assert uniform["coverage"] < 0.75
    named = replace(album(data), info=replace(album(data).info, class_names=data.class_names))
    told = evaluate(named, data, ["frechet"], n=200, device="cpu")
    assert [
        any("what its classes are called" in each for each in found.warnings) for found in (as_data, told)
    ] == [True, False]


def test_modes_are_what_is_seen_and_not_what_was_asked_for() -> None:
    data = load_dataset("digits")
    only_zeros = album(data, only=0)
    for fake in (only_zeros, only_zeros.sample(500)):
        found = evaluate(fake, data, ["modes"], n=500, device="cpu")
        assert found["modes"] == 1
        assert found["reverse-kl"] == pytest.approx(np.log(10), abs=0.02)
    whole = evaluate(album(data), data, ["modes", "per-class"], n=1000, device="cpu")
    assert whole["modes"] == 10
    assert whole["reverse-kl"] < 0.005
    collapsed = evaluate(only_zeros, data, ["per-class"], n=1000, device="cpu")
    assert collapsed["frechet[0]"] < 1.5
    assert collapsed["frechet[7]"] > 20 * whole["frechet[7]"], (
        "another class in the place of the one asked for"
    )


def test_a_floor_by_class_is_sorted_as_the_samples_are() -> None:
    """By what a classifier sees, which is not always right: what is held out is then as good as itself."""
    data = ganvas.load_dataset("digits")
    held = data.split(0.1)[1].take(torch.arange(180))[0]
    found = evaluate(held, data, ["per-class"], device="cpu", extractor="classifier-digits")
    rows = [row for row in found.rows if row.floor is not None]
    assert len(rows) > 10
    for row in rows:
        assert row.at_floor_n == pytest.approx(row.floor, rel=1e-6)


def test_the_largest_seed_is_a_seed_of_every_metric() -> None:
    names = ["kid", "inception-score"]
    found = evaluate(digits(200), "digits", names, seed=2**32 - 1, floor=False, device="cpu")
    assert [row.metric for row in found.rows] == names


def test_a_class_that_is_rare_in_the_data_is_not_said_to_be_missed() -> None:
    """Of six samples for six real ones recall was 0: of so few nothing is known."""
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), [200, 200, 200, 6])
    sets = [random.standard_normal((len(labels), 8)).astype(np.float32) + 3 * labels[:, None] for _ in "ab"]
    fake, real = (Features(each.astype(np.float32), None) for each in sets)
    asked = Inputs(fake, real, fake_labels=labels, real_labels=labels)
    values = {value.name: value.value for value in metrics.registry.get("per-class").compute(asked)}
    assert set(values) == {f"{name}[{label}]" for name in ("frechet", "recall") for label in range(3)}
    assert min(values[f"recall[{label}]"] for label in range(3)) > 0.5
    missed = replace(asked, fake_labels=np.where(labels == 1, 0, labels))
    assert {v.name: v.value for v in metrics.registry.get("per-class").compute(missed)}["recall[1]"] == 0
    few = replace(asked, fake=Features(fake.features[::40], None), fake_labels=labels[::40])
    assert "10 samples" in metrics.registry.get("per-class").fits(few)


def test_the_kernel_distance_of_few_samples_has_an_error() -> None:
    """Subsets of all samples are the same samples: it stood there with an error of 2e-16."""
    random = np.random.default_rng(0)

    def measured(count: int) -> Value:
        fake, real = (
            Features((random.standard_normal((count, 16)) + shift).astype(np.float32), None)
            for shift in (0.3, 0)
        )
        return metrics.registry.get("kid").compute(Inputs(fake, real))[0]

    found = [measured(200) for _ in range(20)]
    spread = np.std([each.value for each in found])
    assert np.mean([each.error for each in found if each.error]) == pytest.approx(spread, rel=0.7)


def test_the_frechet_distance_of_few_samples_needs_no_copy_of_the_reference(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """60,000 reference rows of 2,048 features were taken anew in float64, twice: 2.5 GB."""
    random = np.random.default_rng(0)
    fake, real = (random.standard_normal((n, 32)).astype(np.float32) * (1 + 0.01 * n) for n in (20, 90))
    wanted = metrics.frechet(fake, real)
    seen: list[int] = []
    module = importlib.import_module("ganvas.metrics.frechet")  # the name is also the function's
    factor = module._sample_factor
    monkeypatch.setattr(module, "_sample_factor", lambda rows: seen.append(len(rows)) or factor(rows))
    (value,) = metrics.registry.get("frechet").compute(Inputs(Features(fake, None), Features(real, None)))
    assert value.value == pytest.approx(wanted, rel=1e-6)
    assert seen == [20]


def test_shares_of_another_reference_are_not_made_up() -> None:
    data = load_dataset("digits")
    nameless = replace(data, labels=None, class_names=())
    found = evaluate(album(data), nameless, ["frechet"], n=200, extractor="raw", device="cpu")
    assert found.rows[0].labels == "uniform"
    assert any("the reference digits has no labels" in warning for warning in found.warnings)
    with pytest.raises(GanvasError, match="draws no classes"):
        evaluate("fashion", "digits", labels="uniform", device="cpu")


def test_labels_with_a_gap_make_no_phantom_classes() -> None:
    """Class 0 has no images: two classes there are, and both are drawn."""
    data = load_dataset("digits")
    images, labels = data.take(torch.arange(len(data)))
    assert labels is not None
    two = (labels == 1) | (labels == 2)
    part = replace(data, items=images[two], labels=labels[two], fingerprint="ones and twos")
    found = evaluate(images[two], part, ["modes"], device="cpu")
    assert found["modes"] == 2
    assert found["reverse-kl"] < 0.01
    far = metrics.base.Inputs(
        Features(np.zeros((4, 2), np.float32), np.zeros((4, 2), np.float32)),
        Features(np.zeros((4, 2), np.float32), None), real_labels=np.full(4, 1_000_000),
    )  # fmt: skip
    assert metrics.registry.get("modes").fits(far).startswith("it needs a classifier")


class Named:
    """A classifier of digits, its answers in another order, under any names."""

    id, resize, cacheable = "named", "none", False

    def __init__(self, order: list[int], class_names: tuple[str, ...] | None) -> None:
        self.order, self.judge = order, open_extractor("classifier-digits", device="cpu")
        if class_names is not None:
            self.class_names = class_names

    def __call__(self, samples: Tensor) -> Embedded:
        found = self.judge(samples)
        assert found.logits is not None
        return Embedded(found.features, found.logits[:, self.order])


def test_classes_of_a_classifier_are_those_of_the_reference_by_name() -> None:
    """They were by number: of a reference's classes in another order reverse-kl was 1.4 in the place of 0."""
    data = load_dataset("digits")
    images, labels = data.take(torch.arange(len(data)))
    assert labels is not None
    uneven = torch.cat([(labels == 0).nonzero()[:100, 0], (labels > 0).nonzero()[:200, 0]])
    part = replace(data, items=images[uneven], labels=labels[uneven], fingerprint="uneven")
    names = ["modes", "per-class"]

    def judged(order: list[int], names_of: tuple[str, ...] | None) -> ganvas.metrics.Evaluation:
        return evaluate(
            images[uneven], part, names, extractor=Named(order, names_of), device="cpu", floor=False
        )

    turned = [3, 4, 5, 6, 7, 8, 9, 0, 1, 2]
    wanted = judged(list(range(10)), data.class_names)
    found = judged(turned, tuple(str(i) for i in turned))
    assert wanted["reverse-kl"] < 0.01
    assert {row.metric: row.value for row in found.rows} == {row.metric: row.value for row in wanted.rows}
    assert "recall[0]" in {row.metric for row in found.rows}
    assert not any("number by number" in warning for warning in found.warnings)
    for others in (CLASSES["fashion-mnist"], (*"012345678", "ten"), (*"0123456788",)):
        strange = judged(list(range(10)), others)
        assert strange.rows == []
        for name in names:
            assert f"(0, 1, 2, 3, 4, 5 and 4 more; this one's are {others[0]}, " in strange.skipped[name]
    nameless = judged(list(range(10)), None)
    assert nameless["reverse-kl"] == wanted["reverse-kl"]
    assert any("number by number" in warning for warning in nameless.warnings)
    unread = evaluate(
        images[uneven], part, ["inception-score"], extractor=Named(turned, None), device="cpu", floor=False
    )
    assert not any("number by number" in warning for warning in unread.warnings)


def test_digits_are_named_by_a_classifier_of_digits_and_not_by_one_of_garments(trained: Result) -> None:
    """Ten garments were taken for ten digits: "modes 8, reverse-kl 1.147"."""
    size = {"resolution": 16, "resize": "stretch"}
    larger = load_dataset(DataConfig("digits", **size))  # type: ignore[arg-type]
    found = evaluate(
        larger, larger, ["modes"], n=400, extractor="classifier-mnist", device="cpu", floor=False
    )
    assert not found.skipped
    assert not found.warnings
    strange = evaluate(
        trained.run.path, metrics=["modes", "per-class", "inception-score"], n=200, extractor="classifier-fashion-mnist",
        device="cpu", floor=False,
    )  # fmt: skip
    assert [row.metric for row in strange.rows] == ["inception-score"]
    assert "this one's are T-shirt/top, " in strange.skipped["modes"]


@pytest.mark.parametrize("name", ["frechet", "sliced-wasserstein"])
def test_errors_do_not_depend_on_the_order_of_the_samples(name: str) -> None:
    """Sorted by class the blocks would be classes, and the error would be that of leaving classes out."""
    data = load_dataset("digits")
    train, _ = data.split(0.1)
    images, labels = train.take(torch.arange(0, len(train), 2))
    assert labels is not None
    shuffled, by_class = (
        evaluate(images[order], data, [name], device="cpu", floor=False).rows[0].error
        for order in (
            torch.randperm(len(images), generator=torch.Generator().manual_seed(0)),
            labels.argsort(),
        )
    )
    assert shuffled is not None
    assert by_class == pytest.approx(shuffled, rel=0.6)


def test_the_floor_is_of_as_many_samples_as_what_stands_beside_it() -> None:
    """Samples of the very distribution are at the floor when both are as many, and far below it with more."""
    rng = np.random.default_rng(0)
    real, fake = rng.normal(size=(2000, 20)), rng.normal(size=(4000, 20))
    (row,) = evaluate(fake, real, ["frechet"], n=4000, device="cpu").rows
    assert (row.n, row.floor_n) == (4000, 200)
    assert row.at_floor_n is not None
    assert row.floor is not None
    assert row.at_floor_n == pytest.approx(row.floor, rel=0.3)
    assert row.value < 0.3 * row.floor
    none = evaluate(fake, real[:300], ["frechet"], device="cpu")
    assert none.rows[0].floor is None
    assert none.rows[0].at_floor_n is None
    assert any("No floor: 30 held-out samples" in warning for warning in none.warnings)


def test_two_arrays_are_measured_as_the_docs_write_it() -> None:
    train, held_out = load_dataset("digits").split(0.1)
    (real, _), (fake, _) = (part.take(torch.arange(len(part))) for part in (train, held_out))
    first_layout = evaluate(fake, real, ["frechet"], extractor="raw", device="cpu", floor=False)
    last_layout = evaluate(
        fake.permute(0, 2, 3, 1).numpy(), real[:, 0], ["frechet"], extractor="raw", device="cpu", floor=False
    )
    assert first_layout["frechet"] == last_layout["frechet"]
    points = np.random.default_rng(0).normal(size=(400, 3))
    assert evaluate(points[:200] + 1, points[200:], ["frechet"], device="cpu")["frechet"] == pytest.approx(
        3, rel=0.2
    )


def test_colour_images_with_channels_last_are_what_they_are() -> None:
    random = np.random.default_rng(0)
    images = (random.integers(0, 256, (60, 1, 1, 3)) + random.integers(-20, 20, (60, 12, 12, 3))).clip(0, 255)
    images = images.astype(np.uint8)
    first = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    mean = lambda x: x.float().mean((2, 3))  # noqa: E731
    found = [
        evaluate(each, first[::2], ["frechet"], extractor=mean, device="cpu", floor=False)["frechet"]
        for each in (first, images)
    ]
    assert found[0] == found[1]
    with pytest.raises(GanvasError, match="1, 3 or 4 channels"):
        evaluate(np.zeros((5, 12, 12, 5), np.uint8), first, device="cpu")
    with pytest.raises(GanvasError, match="one picture"):
        evaluate(images[0], first, device="cpu")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": -1}, "n is -1; it must be at least 1"),
        ({"n": 0}, "n is 0"),
        ({"n": 1e9}, "n is 1000000000.0; it must be a whole number"),
        ({"batch": 0}, "batch is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"labels": "some"}, "Unknown labels 'some'"),
        ({"metrics": []}, "No metric was asked for"),
    ],
)
def test_counts_that_are_none(options: dict[str, object], message: str) -> None:
    with pytest.raises(GanvasError, match=message):
        evaluate(digits(60), "digits", **{"metrics": ["frechet"], "device": "cpu", **options})  # type: ignore[arg-type]


def test_a_small_reference_asks_for_few_samples(trained: Result) -> None:
    few = replace(load_dataset("digits"), indices=torch.arange(200), fingerprint="few digits")
    assert evaluate(trained.run.path, few, ["frechet"], device="cpu").rows[0].n == 1000
    assert evaluate(trained.run.path, metrics=["frechet"], device="cpu").rows[0].n == 1617


def test_a_metric_of_somebody_else_says_itself_what_is_better(monkeypatch: pytest.MonkeyPatch) -> None:
    def brightness(inputs: metrics.base.Inputs) -> list[metrics.base.Value]:
        return [metrics.base.Value("brightness", float(inputs.fake.features.mean()), None, "")]

    monkeypatch.setitem(
        metrics.registry._entries, "theirs", metrics.Metric(brightness, better={"brightness": "near 0"})
    )
    monkeypatch.setitem(metrics.registry._entries, "silent", metrics.Metric(brightness))
    (row,) = evaluate(digits(60), "digits", ["theirs"], device="cpu", floor=False).rows
    assert row.better == "near 0"
    assert Row.from_json(row.to_json()) == row
    monkeypatch.delitem(metrics.registry._entries, "theirs")
    (row,) = evaluate(digits(60), "digits", ["silent"], device="cpu", floor=False).rows
    assert row.better == ""


def test_other_folds_and_holdouts_are_other_references(trained: Result) -> None:
    row = evaluate(trained.run.path, metrics=["frechet"], n=100, device="cpu", floor=False).rows[0]
    assert row.split == "all but a share of 0.1, fold 0"
    with pytest.raises(GanvasError, match="different parts of the reference"):
        compare([row], [replace(row, split="all but a share of 0.1, fold 3")])
    old = {k: v for k, v in row.to_json().items() if k not in ("split", "better", "at_floor_n", "labels")}
    assert Row.from_json(old).better == "lower"
    assert compare([Row.from_json(old)], [row])
    uniform, shares = (replace(row, labels=each) for each in ("uniform", "data"))
    with pytest.raises(GanvasError, match="different shares of the classes"):
        compare([uniform], [shares])
    assert compare([row], [shares])
    assert not report.artifacts._same(uniform, shares)


def test_errors_are_the_deviation_over_many_draws() -> None:
    """The figures of 30 sets of samples against one reference spread by what each set says of itself."""
    rng, found = np.random.default_rng(0), dict[str, list[tuple[float, float]]]()
    real = rng.normal(size=(1500, 3)).astype(np.float32)
    for seed in range(30):
        fake = rng.normal(0.2, 1.1, size=(500, 3)).astype(np.float32)
        inputs = metrics.base.Inputs(Features(fake, None), Features(real, None), seed)
        for name in ("frechet", "kid-exact", "authenticity", "precision-recall"):
            for value in metrics.registry.get(name).compute(inputs):
                found.setdefault(value.name, []).append((value.value, value.error or 0.0))
    for name, rows in found.items():
        values, errors = np.array(rows).T
        assert errors.mean() == pytest.approx(values.std(ddof=1), rel=0.45), name


def test_by_command_the_floor_is_explained_and_usual_names_are_told(
    trained: Result, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = shutil.copytree(trained.run.path, tmp_path / "run")
    base = ["eval", str(run), "--device", "cpu", "--n", "300"]
    assert main([*base, "--metrics", "frechet"]) == 0
    said = capsys.readouterr().out
    assert "180 of digits are kept out of the reference" in said
    assert "at N=180" in said
    assert "floor (N=180)" in said
    for wrong, message in (
        (["--metrics", "fid"], "Type --metrics frechet"),
        (["--labels", "uniform"], "draws no classes"),
        (["--n", "-1"], "n is -1; it must be at least 1"),
    ):
        assert main([*base, *wrong]) == 2
        assert message in capsys.readouterr().err


def test_by_command_what_was_measured_is_shown_though_it_cannot_be_kept(
    trained: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = shutil.copytree(trained.run.path, tmp_path / "run")
    full = GanvasError("There is no room on the disk")
    monkeypatch.setattr(Run, "append_metrics", Mock(side_effect=full))
    figures = tmp_path / "figures.json"
    base = ["eval", str(run), "--device", "cpu", "--n", "300", "--metrics", "frechet"]
    assert main([*base, "--out", str(figures)]) == 2
    said = capsys.readouterr()
    assert "frechet" in said.out
    assert str(full) in said.err
    assert io.read_json(figures)["rows"]


def test_too_few_series_to_compare_with_are_said(tmp_path: Path) -> None:
    """Of 60 rows in windows of 8 steps none is held out: it ended in a shape of (0, 8, 1)."""
    source = tmp_path / "short.csv"
    source.write_text("\n".join(["x", *(str(i % 7) for i in range(60))]))
    few = load_dataset(DataConfig(str(source), window=8))
    with pytest.raises(GanvasError, match="0 held out; 20 of each are needed"):
        evaluate(few, few, device="cpu")


def test_what_one_metric_cannot_say_the_others_can() -> None:
    """Ten pictures again and again have no twenty bins, and a collapsed model beside few held-out samples no cell with enough
    of both: no figure at all was told."""
    random = np.random.default_rng(0)
    ten = random.integers(0, 256, (10, 1, 8, 8)).astype(np.uint8)
    found = evaluate(ten[random.integers(0, 10, 1200)], ten[random.integers(0, 10, 1500)], extractor="raw")
    assert "fewer than 24 different rows" in found.skipped["ndb"]
    assert np.isfinite(found["frechet"])
    places, sizes = np.array([0, 8, -8]), [600, 70, 80]
    real = np.concatenate([random.normal(m, 1, (n, 2)) for m, n in zip(places, sizes, strict=True)])
    collapsed = evaluate(random.normal(8, 0.1, (300, 2)), random.permutation(real))
    assert "No cell" in collapsed.skipped["data-copying"]
    assert collapsed["recall"] == 0


def test_series_of_a_short_table_are_measured_without_a_floor_of_the_classifier(tmp_path: Path) -> None:
    """500 rows in windows of 24 steps: what is held out is one stretch of time, which cannot be split, and nothing was told."""
    for seed, name in enumerate(("drawn", "real")):
        noise = np.random.default_rng(seed).standard_normal((500, 2))
        np.savetxt(tmp_path / f"{name}.csv", noise, "%.5f", ",", header="a,b", comments="")
    drawn, real = (
        load_dataset(DataConfig(str(tmp_path / f"{name}.csv"), window=24)) for name in ("drawn", "real")
    )
    rows = {row.metric: row for row in evaluate(drawn, real, device="cpu").rows}
    assert rows["discriminative"].floor is None
    assert rows["discriminative"].floor_p is None
    assert rows["discriminative"].p_value is not None
    assert rows["nearer-than-held-out"].error is None, "of one stretch nobody knows how much stretches differ"
    assert rows["marginals"].floor is not None


def test_large_series_are_measured_by_fewer_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thousand of 262,144 numbers, in a model of 5 kB, took 7.5 GB, and measuring them had no end."""
    module = importlib.import_module("ganvas.metrics.evaluate")
    np.save(tmp_path / "series.npy", np.random.default_rng(0).normal(size=(400, 6, 2)).astype(np.float32))
    data = load_dataset(str(tmp_path / "series.npy"))

    def drawn(**asked: Any) -> int:
        samples = evaluate(data, data, "series", device="cpu", **asked).samples
        assert samples is not None
        return len(samples)

    assert drawn() == 400
    monkeypatch.setattr(module, "SERIES_HELD", math.prod(data.shape) * 50)
    assert drawn() == 50
    assert drawn(n=60) == 60
    assert module.affordable(data, 10_000) == 50, "of the runs of --seeds, too"
    assert module.affordable(load_dataset("digits"), 10_000) == 10_000
    monkeypatch.setattr(module, "LONGEST_SERIES", 11)
    with pytest.raises(GanvasError, match="numbers each, of up to 11 that are measured"):
        evaluate(data, data, device="cpu")
    assert evaluate(data, data, "sliced-wasserstein", device="cpu").rows


def test_windows_of_a_file_are_not_independent(tmp_path: Path) -> None:
    """Two series of one process, cut into windows, were told apart with p = 0.015: only those of the real one were grouped."""
    for seed, name in ((400, "drawn"), (401, "real")):
        noise, found = np.random.default_rng(seed), np.zeros((2400, 1))
        for i in range(1, len(found)):
            found[i] = 0.97 * found[i - 1] + noise.standard_normal(1)
        np.savetxt(tmp_path / f"{name}.csv", found, "%.5f", ",", header="a", comments="")
    np.savetxt(tmp_path / "short.csv", found[:60], "%.5f", ",", header="a", comments="")
    drawn, real = (
        load_dataset(DataConfig(str(tmp_path / f"{name}.csv"), window=24)) for name in ("drawn", "real")
    )
    rows = {row.metric: row for row in evaluate(drawn, real, device="cpu").rows}
    assert rows["discriminative"].p_value is not None
    assert rows["discriminative"].p_value > 0.2
    short = load_dataset(str(tmp_path / "short.csv"), schema=real.series)
    # Of one stretch nothing can be told apart.
    assert "discriminative" not in {row.metric for row in evaluate(short, real, device="cpu").rows}


@pytest.mark.parametrize("name", ["stylegan2_ada.pkl", "rosinality.pt", "lucidrains"])
def test_models_of_other_toolkits_are_models(name: str) -> None:
    """They were taken for data that cannot be read, though every other command opens them."""
    model, given, source = open_fakes(FILES / name, "cpu")
    assert model is not None
    assert given is None
    assert source.endswith(name)


def test_a_classifier_that_knows_what_is_held_out_is_named(trained: Result) -> None:
    """Classifiers are made without the tenth of fold 0; a run may hold out another."""
    model = ganvas.load(trained.run.path, device="cpu")
    assert model.info.data is not None
    for fold, known in ((0, False), (1, True)):
        config = replace(model.info.data.config, fold=fold)
        of = replace(model, info=replace(model.info, data=replace(model.info.data, config=config)))
        found = evaluate(of, metrics="frechet", n=200, device="cpu")
        assert any("has learned from 179 of the 179 held-out" in each for each in found.warnings) == known


@pytest.mark.parametrize(
    ("said", "size", "words"),
    [
        ({}, None, None),
        ({}, 12, None),
        ({"trained_on": 1797}, None, "has learned from all of digits, the 180 held-out samples too"),
        (
            {"data": "0", "trained_on": 1616},
            None,
            "has learned from digits as it was then, perhaps from the 180",
        ),
        ({"data": "0", "held_out": 179}, 12, "has learned from digits as it was then, perhaps from the 180"),
        ({"data": "0", "name": "others"}, None, None),
    ],
)
def test_a_classifier_of_all_the_data_or_of_what_they_were_is_named(
    said: dict[str, Any], size: int | None, words: str | None
) -> None:
    """One of a folder that has grown since has seen most of what is held out now."""
    judge: Any = open_extractor("classifier-digits", device="cpu")
    judge.info, judge.is_bundled = {**judge.info, **said}, False
    real = load_dataset(DataConfig("digits", size, "stretch" if size else None))
    found = evaluate(real.subset(torch.arange(200)), real, "frechet", n=200, extractor=judge, device="cpu")
    told = [each for each in found.warnings if "the floor may be too low" in each]
    assert len(told) == (words is not None)
    assert words is None or words in told[0]


def test_the_bundled_classifier_that_has_seen_all_of_its_data_is_not_accused() -> None:
    """That of fashion-mnist, which tells none that it has seen from others: benchmarks/seen_features.py."""
    judge: Any = open_extractor("classifier-digits", device="cpu")
    judge.info = {**judge.info, "trained_on": 1797}
    real = load_dataset("digits")
    held_out = real.split(0.1)[1]
    assert learned(judge, real, held_out) == ""
    judge.is_bundled = False
    assert "has learned from all of digits" in learned(judge, real, held_out)


def test_data_that_have_changed_since_are_said(tiny_train: Callable[..., Result], tmp_path: Path) -> None:
    """With one picture more most of what is held out has been trained on, and copies looked three times less like some."""
    path, images = tmp_path / "mine.npy", np.random.default_rng(0).integers(0, 255, (200, 8, 8), np.uint8)
    np.save(path, images)
    of = tiny_train(str(path), kimg=0.064).run.path
    how: Any = {"metrics": "frechet", "n": 100, "extractor": "raw", "device": "cpu"}
    words = "or has changed since"
    assert not any(words in each for each in evaluate(of, **how).warnings)
    np.save(path, np.concatenate([images, images[:1]]))
    for real in (None, path):
        assert any(words in each for each in evaluate(of, real, **how).warnings)
    assert not any(words in each for each in evaluate(of, images, **how).warnings)


def test_figures_are_not_left_out_because_another_process_has_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """They were, as of a collapsed model, with their floors, and the command ended well."""
    metric = registered.get("frechet")

    def compute(inputs: Any) -> list[Any]:
        raise dist.Gone("Another process stopped.")

    monkeypatch.setitem(registered._entries, "frechet", replace(metric, compute=compute))
    real = load_dataset("digits")
    with pytest.raises(dist.Gone):
        evaluate(real.subset(torch.arange(100)), real, "frechet", n=100, extractor="raw", device="cpu")
