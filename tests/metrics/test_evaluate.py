import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import ganvas
from ganvas import metrics
from ganvas.data import load_dataset
from ganvas.data.toy import distribution
from ganvas.errors import GanvasError
from ganvas.features import decoded
from ganvas.features.base import Raw
from ganvas.metrics import Row, compare, evaluate
from ganvas.training import Result

EVERYTHING = list(metrics.registry)


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


@pytest.mark.parametrize("name", EVERYTHING)
def test_contract_of_every_metric(name: str, trained: Result) -> None:
    """Finite figures with a direction and a floor, the same ones for the same seed, or a reason why not."""
    data = "toy:grid25" if name == "points" else None
    fake = (
        distribution("toy:grid25").draw(300, torch.Generator().manual_seed(0))[0]
        if data
        else trained.run.path
    )
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
    found = evaluate(tmp_path, "digits", ["frechet"], device="cpu", resolution=16, resize="stretch")
    assert found.rows[0].n == 120


def test_pixels_of_large_images_have_no_covariance() -> None:
    images = torch.randint(0, 256, (30, 3, 40, 40), dtype=torch.uint8)
    found = evaluate(
        images, ganvas.Dataset("noise", images, (3, 40, 40), "noise"), extractor="raw", device="cpu"
    )
    assert "at most 4,096 features" in found.skipped["frechet"]
    assert "precision" in {row.metric for row in found.rows}


def test_points_against_their_exact_modes() -> None:
    points = distribution("toy:grid25").draw(2000, torch.Generator().manual_seed(1))[0]
    found = evaluate(points, "toy:grid25", device="cpu", n=2000)
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
        (torch.zeros(50, 1, 8, 8, dtype=torch.uint8), "digts", "all", "Did you mean 'digits'"),
    ],
)
def test_bad_input(fake: object, real: str | None, asked: str, message: str) -> None:
    with pytest.raises(GanvasError, match=message):
        evaluate(fake, real, asked, device="cpu")  # type: ignore[arg-type]


def test_light_evaluation_without_an_extractor_leaves_no_folder(
    tiny_train: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ganvas.features.efficientnet.installed", lambda: False)
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
    assert kept.info["kimg"] == pytest.approx(best.kimg)
    again = evaluate(kept, metrics=["frechet"], n=200, seed=3, device="cpu", floor=False)
    assert again["frechet"] == pytest.approx(best.value, rel=1e-6)
    assert [p.name for p in result.run.snapshots][-1] != "best"
