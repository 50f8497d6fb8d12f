"""A run on a folder of mixed photographs: every command takes pictures of any size, kind and colour."""

import json
import re
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

import ganvas
from ganvas.cli import _shared, main
from ganvas.config import AugmentConfig, Config, MethodConfig, TrainingConfig
from ganvas.data import Dataset, load_dataset
from ganvas.errors import GanvasError
from ganvas.model_data import load_data_of
from ganvas.training.hints import hints
from ganvas.web.opening import open_renderer
from tests.conftest import TINY

QUICK = ["--n", "2", "--steps", "3", "--restarts", "1"]
KINDS = ("jpg", "png", "gif", "bmp", "tiff", "webp", "jfif", "ppm")


def picture(seed: int, size: tuple[int, int]) -> Image.Image:
    """Soft colours of any size."""
    noise = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)


def photographs(root: Path, count: int) -> Path:
    """Photographs as people have them: eight formats, any size, CMYK, palettes, turned by EXIF; classes 2 and 10."""
    for i in range(count):
        folder = root / ("2", "10")[i % 2]
        folder.mkdir(parents=True, exist_ok=True)
        image, kind = picture(i, (17 + i % 13, 40 - i % 17)), KINDS[i % len(KINDS)]
        if kind == "jpg" and i % 3 == 0:
            image = image.convert("CMYK")
        if kind == "png" and i % 3 == 0:
            image = image.quantize(16)
        image.save(folder / f"{i}.{kind}", "JPEG" if kind in ("jpg", "jfif") else None)
    (root / "notes.txt").write_text("from the summer")
    return root


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on such a folder, the folder, a zip of it and a picture of a phone."""
    place = tmp_path_factory.mktemp("own")
    folder = photographs(place / "photos", 64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GANVAS_CACHE", str(place / "cache"))
        ganvas.train(
            str(folder), resolution=16, resize="crop", conditional=True, kimg=0.064, batch=16, device="cpu", out=place,
            name="run", quiet=True, report=False, settings=TINY,
        )  # fmt: skip
    shutil.make_archive(str(place / "archive"), "zip", folder)
    with zipfile.ZipFile(place / "archive.zip", "a") as file:
        file.writestr("inner.zip", b"PK")
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: to be turned by a quarter
    phone().rotate(90, expand=True).save(place / "phone.jpg", exif=exif, quality=95)
    return place


@pytest.fixture(autouse=True)
def _same_user(place: Path, monkeypatch: pytest.MonkeyPatch, _own_cache: None) -> None:
    """Whoever trained the run: its word on its data counts."""
    monkeypatch.setenv("GANVAS_CACHE", str(place / "cache"))


def phone() -> Image.Image:
    return picture(99, (300, 400))


@pytest.mark.parametrize("source", ["phone.jpg", "photos", "archive.zip"])
@pytest.mark.parametrize(
    "command",
    [
        ["invert", *QUICK, "--method", "optimise", "--newton", "0"],
        ["restore", *QUICK],
        ["restore", *QUICK, "--task", "superres", "--damaged"],
    ],
)
def test_pictures_of_any_size_are_searched_for(
    place: Path, tmp_path: Path, source: str, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "a.npz"
    name, *options = command
    arguments = [name, str(place / "00000-run"), str(place / source), *options, "--out", str(out), "--json"]
    assert main(arguments) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["n"] == (1 if source == "phone.jpg" else 2)
    assert "cropped to the middle" in printed.err
    assert ("1 .zip (inner.zip)" in printed.err) == (source == "archive.zip")
    assert np.load(out)["drawn"].shape[1:] == (3, 16, 16)


def test_one_is_not_said_in_the_plural(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`1 images in w`, `1 directions of z`, `1 samples` stood there."""
    run, one, out = str(place / "00000-run"), str(place / "phone.jpg"), tmp_path / "a.npz"
    search = ["--steps", "3", "--restarts", "1", "--out", str(out)]
    directions = str(tmp_path / "d.safetensors")
    for command, begin in (
        (["invert", run, one, *search, "--method", "optimise", "--newton", "0"], "1 image in z: "),
        (["restore", run, one, *search], "1 image: "),
        (["directions", run, "--method", "random", "--count", "1", "--out", directions], "1 direction of z"),
        (["sample", run, "--n", "1", "--out", str(tmp_path / "a.png")], "1 sample (seed 0"),
        (["diagnose", run], ""),
    ):
        assert main(command) == 0
        printed = capsys.readouterr()
        assert any(line.startswith(begin) for line in printed.out.splitlines()), printed.out
        assert not re.search(r"\b1 (image|direction|sample|picture|measurement|class|file)e?s\b", printed.out)
    assert main(["edit", run, "--direction", directions, "--which", "1"]) == 2
    assert "holds 1 direction, numbers 0 to 0" in capsys.readouterr().err


def test_a_phones_picture_is_the_upright_middle(place: Path) -> None:
    model = ganvas.load(place / "00000-run")
    found = _shared.images(str(place / "phone.jpg"), 4, model)
    wanted = np.array(ImageOps.fit(phone(), (16, 16), Image.Resampling.LANCZOS), float).transpose(2, 0, 1)
    assert found.shape == (1, 3, 16, 16)
    assert np.abs(found[0].numpy() - wanted).mean() < 2, "JPEG's own error, and no more"


def test_a_mask_of_any_size(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mask = Image.new("L", (200, 100))
    mask.paste(255, (100, 0, 200, 100))  # of the middle square the right half is seen
    mask.save(tmp_path / "mask.png")
    seen = _shared.read_mask(tmp_path / "mask.png", ganvas.load(place / "00000-run"))
    assert seen.shape == (1, 1, 16, 16)
    assert torch.equal(seen[0, 0], torch.cat([torch.zeros(16, 8), torch.ones(16, 8)], 1))
    Image.new("L", (9, 9)).save(tmp_path / "mask.png")
    run = str(place / "00000-run")
    assert main(["restore", run, str(place / "phone.jpg"), "--task", str(tmp_path / "mask.png")]) == 2
    assert "all black: everything is hidden" in capsys.readouterr().err


def mapping(place: Path, out: Path) -> list[str]:
    """The command that maps the run."""
    return ["map", str(place / "00000-run"), "--n", "60", "--method", "pca", "--out", str(out / "a.png")]


@pytest.mark.parametrize("source", ["archive.zip", None])
def test_mapped(place: Path, tmp_path: Path, source: str | None, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--data", str(place / source)] if source else []
    arguments = mapping(place, tmp_path)
    assert main([*arguments, *given]) == 0
    assert "\nHoles:" in capsys.readouterr().out


def test_mapped_without_its_data(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = mapping(place, tmp_path)
    assert main([*arguments, "--data", str(place / "phone.jpg")]) == 2
    assert "phone holds 1 image, and more than 5 are needed" in capsys.readouterr().err
    (place / "photos").rename(place / "elsewhere")
    try:
        assert main(arguments) == 0
    finally:
        (place / "elsewhere").rename(place / "photos")
    assert "\nWithout real images (no holes, no nearest ones): " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("sizes", "given"),
    [
        ([(16, 16)], {}),
        ([(24, 24)], {"resolution": 16}),
        ([(24, 24)], {"resolution": 24}),
        ([(24, 20)], {"resolution": 16, "resize": "fit"}),
        ([(24, 20), (16, 30)], {"resize": "crop"}),
        ([(24, 24)], {"resize": "crop"}),
    ],
)
def test_the_models_own_data_are_what_it_was_trained_on(
    tmp_path: Path, sizes: list[tuple[int, int]], given: dict[str, Any]
) -> None:
    """The same pixels and the same fingerprint, whatever was typed; and a picture of another size does no harm later."""
    folder = tmp_path / "mine"
    folder.mkdir()
    for i in range(24):
        picture(i, sizes[i % len(sizes)]).save(folder / f"{i}.png")
    result = ganvas.train(
        str(folder),
        kimg=0.016,
        batch=8,
        device="cpu",
        out=tmp_path,
        quiet=True,
        report=False,
        settings=TINY,
        **given,
    )
    data, _ = load_data_of(ganvas.load(result.run.path))
    assert data.fingerprint == result.run.info["data"]["fingerprint"]
    trained_on = load_dataset(result.run.config.data)
    assert torch.equal(data.take(torch.arange(24))[0], trained_on.take(torch.arange(24))[0])
    picture(99, (50, 41)).save(folder / "late.png")
    more, _ = load_data_of(ganvas.load(result.run.path))
    assert (len(more), more.shape) == (25, data.shape)


def test_calibrated_with_other_pictures(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = str(place / "00000-run"), str(tmp_path / "ratio.safetensors")
    assert main(["calibrate", run, "--critic", "own", "--out", out]) == 2
    said = capsys.readouterr().err
    assert "needs 100 real samples that the model was not trained on; of photos there are 6." in said
    assert "Give 200 others or more with --data" in said
    assert main(["improve", run, "--critic", "own"]) == 2
    assert (
        "needs 200 real samples that the model was not trained on, half of them to judge by"
        in capsys.readouterr().err
    )
    others = photographs(tmp_path / "others", 400)
    assert main(["calibrate", run, "--critic", "own", "--data", str(others), "--out", out, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["real"] == 100


def test_audited(place: Path) -> None:
    """Nearest neighbours are looked for among the pictures as the model draws them, whichever set they come from."""
    for real in (None, str(place / "archive.zip")):
        found = ganvas.evaluate(
            place / "00000-run",
            real,
            "precision-recall",
            n=16,
            extractor=lambda images: images.flatten(1).float(),
            device="cpu",
        )
        assert tuple(found.reference.shape) == (3, 16, 16)
        assert found.samples is not None


def test_eval_says_what_was_done_to_the_reference(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Grey pictures of another size were brought to the model's without a word."""
    folder = tmp_path / "grey"
    folder.mkdir()
    for i in range(20):
        picture(i, (24, 20)).convert("L").save(folder / f"{i}.png")
    command = [
        "eval",
        str(place / "00000-run"),
        "--reference",
        str(folder),
        "--metrics",
        "sliced-wasserstein",
        "--n",
        "16",
    ]
    assert main([*command, "--device", "cpu", "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["rows"]
    assert "20 of 20 images brought to 16 x 16 px, cropped to the middle." in printed.err
    assert "20 of 20 images made RGB." in printed.err


@pytest.mark.parametrize("source", ["photos", "archive.zip"])
def test_explored(place: Path, source: str) -> None:
    real = open_renderer(place / "00000-run", str(place / source), "cpu").real
    assert real is not None
    assert real.images.shape == (64, 3, 16, 16)


def test_explored_beside_too_few(place: Path) -> None:
    with pytest.raises(GanvasError, match="phone holds 1 image, and more than 5 are needed"):
        open_renderer(place / "00000-run", str(place / "phone.jpg"), "cpu")


@pytest.mark.parametrize(
    "command", [["invert"], ["restore"], ["map", "--data"], ["calibrate", "--data"], ["explore", "--data"]]
)
def test_no_advice_names_an_option_that_is_not_there(
    place: Path, tmp_path: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever is wrong with the pictures, the way out is not another command's."""
    (tmp_path / "a.txt").write_text("")
    np.save(tmp_path / "points.npy", np.zeros((9, 2)))
    run, (name, *option) = str(place / "00000-run"), command
    for source in (tmp_path, tmp_path / "points.npy", tmp_path / "nothing"):
        assert main([name, run, *option, str(source)]) == 2
        said = capsys.readouterr().err
        with pytest.raises(SystemExit):
            main([name, "--help"])
        help_ = capsys.readouterr().out
        assert [
            word for word in said.split() if word.startswith("--") and word.strip(".,") not in help_
        ] == []


@pytest.mark.parametrize(("labels", "numbers"), [(["10"], [1]), (["2", "10"], [0, 1]), (["1"], [1])])
def test_labels_by_name(place: Path, labels: list[str], numbers: list[int]) -> None:
    """Class 2 is number 0 and class 10 number 1: names come first, numbers where there is no such name."""
    assert _shared.classes(labels, ganvas.load(place / "00000-run")) == numbers


def test_more_labels_than_samples(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The last ones were left out without a word."""
    flags = ["--n", "1", "--labels", "2", "10", "--out", str(tmp_path / "a.png")]
    assert main(["sample", str(place / "00000-run"), *flags]) == 2
    assert "--labels names 2 classes for 1 sample." in capsys.readouterr().err


def test_labels_that_are_not_there(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = str(place / "00000-run")
    assert main(["sample", run, "--n", "2", "--labels", "10", "--out", str(tmp_path / "a.png")]) == 0
    assert main(["sample", run, "--n", "2", "--labels", "dogs", "--out", str(tmp_path / "b.png")]) == 2
    assert "There is no class 'dogs'. Give names or numbers from 0: 2, 10." in capsys.readouterr().err
    assert (
        main(
            [
                "walk",
                run,
                "--keys",
                "2",
                "--frames",
                "3",
                "--labels",
                "10",
                "2",
                "--out",
                str(tmp_path / "a.png"),
            ]
        )
        == 0
    )
    assert main(["walk", run, "--keys", "2", "--labels", "x", "--out", str(tmp_path / "a.png")]) == 2


def started(folder: Path, out: Path, **given: Any) -> str:
    """What a run says before it begins."""
    result = ganvas.train(
        str(folder),
        kimg=0.032,
        batch=8,
        device="cpu",
        out=out,
        quiet=True,
        report=False,
        settings=TINY,
        **given,
    )
    return (result.run.path / "log.txt").read_text()


def test_few_images_are_said_at_the_start(tmp_path: Path) -> None:
    folder = photographs(tmp_path / "few", 61)
    said = started(folder, tmp_path / "runs", resolution=16, resize="crop")
    assert (
        "55 images are few: a critic soon knows them by heart. Let it see them altered: --preset photo"
        in said
    )
    assert "Its budget is short: --kimg 500 shows each 9,091 times. Add --eval-kimg 50" in said
    altered = started(folder, tmp_path / "runs", resolution=16, resize="crop", augment="ada")
    assert "55 images are few: a critic soon knows them by heart. Its budget is short: --kimg 500" in altered


def test_what_is_said_fits_the_run() -> None:
    def said(count: int, labels: list[int], changes: dict[str, Any]) -> list[str]:
        data = Dataset(
            "a",
            torch.zeros(count, 1, 8, 8, dtype=torch.uint8),
            (1, 8, 8),
            "",
            torch.tensor(labels),
            ("x", "y", "z"),
        )
        config = replace(
            Config(),
            training=TrainingConfig(kimg=changes.get("kimg")),
            augment=AugmentConfig(("flip",)),
            method=MethodConfig(changes.get("method", "gan")),
        )
        return hints(config, data)

    assert said(2000, [0, 1, 2, 0] * 500, {}) == []
    assert said(500, [0, 1, 2, 0] * 125, {"kimg": 500.0}) == []
    assert len(said(500, [0, 1, 2, 0] * 125, {"kimg": 5.0})) == 1
    assert said(500, [0, 1, 2, 0] * 125, {"kimg": 5.0, "method": "vae"}) == [], "it takes no --augment"
    assert said(2000, [0, 2] * 1000, {}) == [
        "No image of 1 of 3 classes is trained on: y. It cannot be learnt."
    ]
