"""Pictures that are transparent in places and not square: from a folder to a model, its samples, pages and exports."""

import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import ganvas
from ganvas.cli import main
from ganvas.data import load_dataset
from ganvas.data.resize import resize
from ganvas.features.base import grey_or_rgb
from ganvas.losses.ada import DRAWS, bgc
from ganvas.losses.augment import colour
from ganvas.networks.projected import on_white
from ganvas.pictures import grid
from ganvas.web.export import _sprite
from ganvas.web.panels.directions import _strip
from ganvas.web.renderer import Renderer
from ganvas.web.upload import read_image

SETTINGS = ["network.latent_dim=4", "network.generator.channels=4", "network.critic.channels=4"]


def sprite(seed: int) -> Image.Image:
    """24 x 16 px: a disc of one colour, and around it an invisible colour that must not be learnt."""
    random = np.random.default_rng(seed)
    pixels = np.empty((16, 24, 4), np.uint8)
    pixels[..., :3] = random.integers(0, 256, 3)
    rows, columns = np.mgrid[:16, :24]
    pixels[..., 3] = 255 * ((rows - 8) ** 2 + (columns - 12) ** 2 < random.integers(9, 50))
    return Image.fromarray(pixels)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of sprites, and a run on them, typed as people type it."""
    place = tmp_path_factory.mktemp("alpha")
    (place / "sprites").mkdir()
    for i in range(40):
        sprite(i).save(place / "sprites" / f"{i}.png")
    command = [
        "train",
        str(place / "sprites"),
        "--alpha",
        "--preset",
        "photo",
        "--kimg",
        "0.064",
        "--batch",
        "16",
    ]
    command += [
        "--device",
        "cpu",
        "--out",
        str(place),
        "--name",
        "run",
        "--quiet",
        "--set",
        *SETTINGS,
    ]
    assert main(command) == 0
    return place


def test_colours_that_cannot_be_seen_are_black(place: Path) -> None:
    data = load_dataset(ganvas.config.DataConfig(str(place / "sprites"), alpha=True))
    assert data.shape == (4, 16, 24)
    assert "40 of 40 images with transparent parts, kept as a fourth channel." in data.notes
    for i, pixels in enumerate(data.take(torch.arange(5))[0]):
        wanted = np.array(sprite(int(sorted(map(str, range(40)), key=lambda n: f"{n}.png")[i])))
        wanted[wanted[..., 3] == 0] = 0
        np.testing.assert_array_equal(pixels.permute(1, 2, 0).numpy(), wanted)
    assert load_dataset(str(place / "sprites")).shape == (3, 16, 24)


def test_invisible_colours_do_not_bleed_into_smaller_pictures() -> None:
    """A red pixel beside an invisible green one: half as solid, and red."""
    pair = np.array([[[255, 0, 0, 255], [0, 255, 0, 0]]], np.uint8)
    pixels = np.array(resize(Image.fromarray(pair).resize((64, 32), 0), (32, 32), "stretch"))
    assert pixels[:, 15:17, :3].reshape(-1, 3).tolist() == [[255, 0, 0]] * 64
    wide = resize(Image.new("RGBA", (32, 16), "red"), (16, 16), "fit")
    assert wide.getpixel((8, 0)) == (0, 0, 0, 0), "bars are transparent"


@pytest.mark.parametrize("alone", [(), ("--resize", "stretch")])
def test_oblong_photographs_keep_their_sides(tmp_path: Path, alone: tuple[str, ...]) -> None:
    picture = Image.new("RGB", (48, 32), "blue")
    picture.paste("red", (0, 0, 24, 32))
    picture.save(tmp_path / "a.png")
    config = ganvas.config.DataConfig(str(tmp_path), 24, alone[1] if alone else None, height=16)
    pixels = load_dataset(config).take(torch.tensor([0]))[0][0]
    assert pixels.shape == (3, 16, 24)
    assert (pixels[0, :, :9] == 255).all()
    assert (pixels[2, :, 15:] == 255).all()


def test_what_is_asked_of_heights(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = str(place / "sprites")
    for words, message in (
        (["--resolution", "12"], "--height 8 to keep them whole"),
        (["--resolution", "12", "--height", "12"], "Add --resize crop, fit or stretch."),
        (["--height", "16"], "with the width as --resolution"),
        (["--augment", "rotate90"], "--augment rotate90 is for square images"),
        (["--network", "stylegan2"], "draws square images"),
    ):
        assert main(["train", source, *words, "--dry-run"]) == 2
        assert message in " ".join(capsys.readouterr().err.split())
    assert main(["train", "digits", "--alpha", "--dry-run"]) == 2
    assert "Omit it" in capsys.readouterr().err


def test_samples_are_transparent_files(place: Path, tmp_path: Path) -> None:
    run = str(place / "00000-run")
    assert main(["sample", run, "--n", "3", "--out", str(tmp_path / "some")]) == 0
    found = sorted((tmp_path / "some").glob("*.png"))
    drawn = ganvas.load(run, device="cpu").sample(3, seed=0)
    assert drawn.shape == (3, 4, 16, 24)
    for path, image in zip(found, drawn, strict=True):
        with Image.open(path) as picture:
            assert (picture.mode, picture.size) == ("RGBA", (24, 16))
            np.testing.assert_array_equal(np.array(picture), image.permute(1, 2, 0).numpy())
    sheet = np.array(grid(drawn, 3, min_width=1))
    assert sheet[0].tolist() == [[128, 128, 128, 255]] * sheet.shape[1], "lines between them are solid"
    np.testing.assert_array_equal(sheet[2:18, 2:26], drawn[0].permute(1, 2, 0).numpy())


def test_the_commands_that_look_at_pictures(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, source, out = str(place / "00000-run"), str(place / "sprites"), str(tmp_path / "a.npz")
    search = ["--n", "2", "--steps", "2", "--restarts", "1", "--out", out, "--json"]
    assert main(["invert", run, source, *search, "--method", "optimise", "--newton", "0"]) == 0
    assert np.load(out)["drawn"].shape == (2, 4, 16, 24)
    assert main(["map", run, "--data", source, "--n", "60", "--out", str(tmp_path / "map.png")]) == 0
    assert main(["dissect", run, "--units", "1", "--out", str(tmp_path / "units.png")]) == 0
    capsys.readouterr()
    measured = [
        "--reference",
        source,
        "--metrics",
        "frechet",
        "--extractor",
        "pyramid",
        "--n",
        "40",
        "--json",
    ]
    assert main(["eval", run, *measured]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert 0 < row["value"] < 1000


def test_samples_are_measured_as_the_model_is(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As an .npz and as a folder, with their alpha; what cannot be seen is all that may differ from the model's own figure."""
    run, source = str(place / "00000-run"), str(place / "sprites")
    for out in ("drawn.npz", "drawn"):
        assert main(["sample", run, "--n", "40", "--out", str(tmp_path / out)]) == 0

    def figure(samples: str, *words: str) -> dict[str, float | str]:
        capsys.readouterr()
        asked = ["--metrics", "frechet", "--extractor", "pyramid", "--n", "40", "--json"]
        assert main(["eval", samples, "--reference", source, *asked, *words]) == 0
        found: dict[str, float | str] = json.loads(capsys.readouterr().out)["rows"][0]
        return found

    of_model = figure(run)
    array, folder = (figure(str(tmp_path / out), "--alpha") for out in ("drawn.npz", "drawn"))
    assert array["value"] == folder["value"] == pytest.approx(of_model["value"], rel=0.02)
    assert array["fingerprint"] == of_model["fingerprint"], "the same reference"
    on_white = figure(str(tmp_path / "drawn.npz"))
    assert on_white["fingerprint"] != array["fingerprint"]
    assert on_white["value"] == figure(str(tmp_path / "drawn"))["value"]
    small = ["--resolution", "12", "--height", "8", "--alpha"]
    assert (
        figure(str(tmp_path / "drawn"), *small)["value"]
        == figure(str(tmp_path / "drawn.npz"), *small)["value"]
    )
    assert main(["eval", "fashion", "--reference", source, "--alpha"]) == 2
    assert "draws nothing transparent" in capsys.readouterr().err
    assert main(["reference", source, "--extractor", "raw", *small, "--json"]) == 0


def test_what_is_transparent_in_memory_is_measured(place: Path) -> None:
    """Four channels beside three lie on white; beside four they stay."""
    data = load_dataset(ganvas.config.DataConfig(str(place / "sprites"), alpha=True))
    images = data.take(torch.arange(40))[0]
    white = grey_or_rgb(images, 3)

    def distance(fake: torch.Tensor, real: torch.Tensor) -> float:
        return ganvas.evaluate(fake, real, "frechet", extractor="raw", floor=False, device="cpu")["frechet"]

    assert distance(images, white) == distance(white, white)
    assert distance(white, images) > distance(images, images) + 10, "solid"


def test_arrays_of_four_channels_are_trained_on(place: Path, tmp_path: Path) -> None:
    """First or last; the same pixels as the files have; on white without --alpha."""
    wanted = load_dataset(ganvas.config.DataConfig(str(place / "sprites"), alpha=True))
    raw = np.stack([np.array(sprite(i)) for i in range(40)])
    order = sorted(range(40), key=lambda i: f"{i}.png")
    np.savez(tmp_path / "last.npz", images=raw[order])
    np.save(tmp_path / "first.npy", raw[order].transpose(0, 3, 1, 2))
    for name in ("last.npz", "first.npy"):
        data = load_dataset(ganvas.config.DataConfig(str(tmp_path / name), alpha=True))
        assert torch.equal(data.take(torch.arange(40))[0], wanted.take(torch.arange(40))[0])
        white = load_dataset(str(tmp_path / name))
        assert torch.equal(
            white.take(torch.arange(9))[0], load_dataset(str(place / "sprites")).take(torch.arange(9))[0]
        )
        assert "which become white (--alpha keeps them)" in white.notes[0]
        assert load_dataset(str(tmp_path / name), (4, 16, 24)).shape == (4, 16, 24), (
            "for a model that draws it"
        )
        assert (
            load_dataset(str(tmp_path / name), (4, 16, 24))
            .take(torch.arange(1))[0]
            .equal(data.take(torch.arange(1))[0])
        )
    small = ganvas.config.DataConfig(str(tmp_path / "last.npz"), 12, height=8, alpha=True)
    files = ganvas.config.DataConfig(str(place / "sprites"), 12, height=8, alpha=True)
    assert torch.equal(*(load_dataset(each).take(torch.arange(40))[0] for each in (small, files)))


def test_a_large_array_keeps_its_alpha_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "a.npy", np.stack([np.array(sprite(i)) for i in range(700)]))
    config = ganvas.config.DataConfig(str(tmp_path / "a.npy"), alpha=True)
    inside = load_dataset(config)
    monkeypatch.setenv("GANVAS_RESIDENT_MB", "1")
    streamed = load_dataset(config)
    assert (inside.resident, streamed.resident) == (True, False)
    assert streamed.shape == (4, 16, 24)
    assert streamed.fingerprint == inside.fingerprint
    assert torch.equal(*(each.take(torch.tensor([3, 699]))[0] for each in (streamed, inside)))


def test_a_judge_sees_what_is_transparent(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two classes that differ in nothing but where they can be seen through, and a network that tells them apart."""
    for i in range(80):
        pixels = np.full((16, 24, 4), 90, np.uint8)
        pixels[:8, :, 3] = 255 * (i % 2)
        pixels[8:, :, 3] = 255 * (1 - i % 2)
        (tmp_path / "two" / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "two" / "ab"[i % 2] / f"{i}.png")
    judge = str(tmp_path / "judge.safetensors")
    command = [
        "extractor",
        "train",
        str(tmp_path / "two"),
        "--alpha",
        "--epochs",
        "12",
        "--out",
        judge,
        "--json",
    ]
    assert main(command) == 0
    assert json.loads(capsys.readouterr().out)["accuracy"] == 1
    network = ganvas.features.open_extractor(judge, device="cpu")
    assert network.resize == "bilinear to 24 x 16 px"
    assert network.network.shape == (4, 16, 24)
    words = [
        "--reference",
        str(place / "sprites"),
        "--alpha",
        "--extractor",
        judge,
        "--metrics",
        "frechet",
        "--n",
        "40",
    ]
    assert main(["eval", str(place / "sprites"), *words, "--json"]) == 0


@pytest.mark.parametrize("command", [["extractor", "train"], ["reference"], ["eval"], ["train"]])
def test_sides_are_checked_in_every_command(
    command: list[str], place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = str(place / "sprites")
    more = ["--reference", source] if command == ["eval"] else []
    for sizes, message in (
        (["--resolution", "0", "--resize", "crop"], "--resolution is 0; it must be between 4 and 1024"),
        (["--resolution", "16", "--height", "-1", "--resize", "crop"], "--height is -1; it must be"),
        (["--height", "16"], "with the width as --resolution"),
    ):
        assert main([*command, source, *more, *sizes]) == 2
        assert message in " ".join(capsys.readouterr().err.split())


def test_onnx_draws_the_same(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(place / "00000-run"), "--out", str(tmp_path / "a.onnx"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["difference"] < 1
    import onnx

    sizes = onnx.load(str(tmp_path / "a.onnx")).graph.output[0].type.tensor_type.shape.dim
    assert [each.dim_value for each in sizes][1:] == [4, 16, 24]


def test_the_explorer_shows_what_is_transparent(place: Path) -> None:
    renderer = Renderer(ganvas.load(place / "00000-run", device="cpu"), "sprites")
    assert "sprites, 24 x 16 px" in renderer.title
    drawn = renderer.model.sample(5)
    strip = Image.open(io.BytesIO(base64.b64decode(_strip(drawn).split(",")[1])))
    assert (strip.mode, strip.size) == ("RGBA", (9 * 24, 16))
    np.testing.assert_array_equal(np.array(strip)[:, :24], drawn[0].permute(1, 2, 0).numpy())
    clear = torch.zeros(1, 4, 16, 24, dtype=torch.uint8)
    flat = Image.open(io.BytesIO(base64.b64decode(_sprite(clear, 1).split(",")[1])))
    assert np.array(flat.convert("RGB")).min() == 255, "what cannot be seen is white"
    assert renderer.quality(ganvas.web.state.State(number=0)) is not None


def test_an_upload_keeps_its_alpha_and_a_negative_turns_its_colours() -> None:
    buffer = io.BytesIO()
    Image.new("RGBA", (24, 16), (200, 100, 50, 255)).save(buffer, "PNG")
    for negative, wanted in ((False, [200, 100, 50, 255]), (True, [55, 155, 205, 255])):
        found = read_image(buffer.getvalue(), (4, 16, 24), negative)
        assert found[:, 3, 5].tolist() == wanted


def test_transparent_is_white_to_networks_that_know_three_colours() -> None:
    """0.2 of the colour and 0.8 of white, counted by hand."""
    image = torch.tensor([10, 20, 30, 51], dtype=torch.uint8)[None, :, None, None].expand(1, 4, 8, 8)
    assert grey_or_rgb(image, 3)[0, :, 0, 0].tolist() == [206, 208, 210]
    seen = on_white(image.float() / 127.5 - 1)[0, :, 0, 0]
    torch.testing.assert_close(seen, torch.tensor([206.0, 208.0, 210.0]) / 127.5 - 1)
    assert grey_or_rgb(image[:, :3], 4)[0, :, 0, 0].tolist() == [10, 20, 30, 255]


def test_changes_of_colour_leave_alpha() -> None:
    random = torch.Generator().manual_seed(0)
    images = torch.rand(6, 4, 16, 24, generator=random) * 2 - 1
    numbers = torch.rand(6, DRAWS, generator=random)
    moved = bgc(images, numbers, 1.0)
    assert torch.equal(moved[:, :3], bgc(images[:, :3], numbers, 1.0))
    assert torch.equal(moved[:, 3:], bgc(images, numbers, 1.0, colour=0.0)[:, 3:])
    coloured = colour(images, numbers[:, :3])
    assert torch.equal(coloured[:, :3], colour(images[:, :3], numbers[:, :3]))
    assert torch.equal(coloured[:, 3:], images[:, 3:])
