import io as memory
import tracemalloc
import weakref
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import av
import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image, ImageSequence

from ganvas import arrays, pictures, series
from ganvas.cli.map import _scatter
from ganvas.errors import GanvasError
from ganvas.series import Column, Schema, Series
from tests.held import Held, is_picture

IMAGES = torch.randint(0, 256, (5, 3, 4, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def read(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.array(picture)


def test_grid_places_every_image() -> None:
    picture = np.array(pictures.grid(IMAGES, columns=2, min_width=24))
    gap, scale = pictures.GAP, 2
    assert picture.shape == (3 * (4 * scale + gap) + gap, 2 * (6 * scale + gap) + gap, 3)
    for i, image in enumerate(IMAGES):
        row, column = divmod(i, 2)
        top, left = gap + row * (4 * scale + gap), gap + column * (6 * scale + gap)
        tile = picture[top : top + 4 * scale, left : left + 6 * scale]
        for offset in range(scale):
            np.testing.assert_array_equal(tile[offset::scale, offset::scale], image.permute(1, 2, 0).numpy())
    assert (picture[:, :gap] == 128).all()
    assert (picture[-4 * scale :, -6 * scale :] == 128).all(), "the empty place stays empty"
    assert pictures.grid(IMAGES).width >= 500, "small images are enlarged"


def test_a_large_grid_is_laid_out_once() -> None:
    """It was four times in memory beside its pictures: an atlas of 512 px took 3 GB."""
    images = torch.full((48, 3, 64, 96), 7, dtype=torch.uint8)
    with Held(is_picture) as held:
        picture = pictures.grid(images, columns=8)
    assert picture.size == (8 * 98 + 2, 6 * 66 + 2)
    assert held.most < 2.8 * images.numel()


def inked(picture: Image.Image, box: tuple[int, int, int, int]) -> bool:
    """Whether something is written on the white of a box."""
    return bool((np.array(picture.convert("L").crop(box)) < 100).any())


def test_labels_stand_where_they_belong_and_leave_the_pixels_alone() -> None:
    rows = list(IMAGES.split([3, 2]))
    plain = pictures.sheet(rows, ["a", "b"], heads=["x"], captions=[["1"]], title="T", plain=True)
    np.testing.assert_array_equal(
        np.array(plain), np.array(pictures.grid(torch.cat([*rows, torch.full_like(IMAGES[:1], 128)]), 3))
    )
    labelled = pictures.sheet(
        rows, ["first", "second"], heads=["x", "", "z"], captions=[["1", "", "3"]], title="T"
    )
    line = pictures.TEXT + 8
    margin, width = labelled.width - plain.width, (plain.width - pictures.GAP) // 3
    height = (plain.height - pictures.GAP) // 2
    assert labelled.height == plain.height + 3 * line, "a title, heads, captions of the first row"
    for number, top in enumerate((2 * line, 3 * line + height)):  # the second row lies below the captions
        mine = labelled.crop((margin, top, labelled.width, top + height))
        theirs = plain.crop((0, number * height, plain.width, (number + 1) * height))
        np.testing.assert_array_equal(np.array(mine), np.array(theirs))
        assert inked(labelled, (0, top, margin - 2, top + height)), "its name"
    assert inked(labelled, (0, 0, 20, line)), "the title"
    under = 2 * line + height + pictures.GAP
    for column, (head, caption) in enumerate(((True, True), (False, False), (True, True))):
        left = margin + column * width
        assert inked(labelled, (left, line, left + width, 2 * line)) == head
        assert inked(labelled, (left, under, left + width, under + line - 4)) == caption


def test_labels_that_do_not_fit() -> None:
    """Small images are enlarged for their labels; what is longer than any picture ends in an ellipsis."""
    small = torch.zeros(40, 1, 4, 4, dtype=torch.uint8)
    wide = pictures.grid(small, 40, heads=["strength"] * 40)
    assert wide.width > 40 * pictures.font().getlength("strength")
    endless = pictures.grid(small, 40, heads=["x" * 10_000] * 40, names=["y" * 10_000], title="z" * 10_000)
    assert endless.width <= pictures.WIDEST + 400
    for text in ("strength", "strength" * 1000):
        cut = pictures._shortened(text, 40.0)
        assert cut.startswith("st")
        assert cut.endswith("…")
        assert pictures.font().getlength(cut) <= 40 < pictures.font().getlength(text[: len(cut)] + "…")
    assert (
        pictures.grid(IMAGES, 5, title="Ein Größenvergleich: α, Ж, →").height
        > pictures.grid(IMAGES, 5).height
    )


@pytest.mark.parametrize("end", ["\n", "\r", "\x1c", "\x85", "\u2028", "\u2029", "\0", "\ud800"])
def test_names_of_several_lines_are_drawn_in_one(end: str) -> None:
    """A line's end within a text is an error to what lays letters out."""
    name = f"shoe{end}worn"
    drawn = pictures.grid(
        IMAGES, 5, heads=[name] * 5, names=[name], captions=[name] * len(IMAGES), title=name
    )
    one = "shoe worn"
    same = pictures.grid(IMAGES, 5, heads=[one] * 5, names=[one], captions=[one] * len(IMAGES), title=one)
    assert drawn.tobytes() == same.tobytes()
    assert pictures.in_a_line("می\u200cخواهم") == "می\u200cخواهم"


def test_labels_are_cut_before_they_are_measured() -> None:
    """Of a stranger's name of a megabyte every letter was laid out; beyond a million Pillow ends in a traceback."""
    long, cut = ("l" * n for n in (1_100_000, pictures.MOST_LETTERS))
    drawn = pictures.grid(
        IMAGES, 5, heads=[long] * 5, names=[long], captions=[long] * len(IMAGES), title=long
    )
    same = pictures.grid(IMAGES, 5, heads=[cut] * 5, names=[cut], captions=[cut] * len(IMAGES), title=cut)
    assert drawn.tobytes() == same.tobytes()


def test_labels_do_not_enlarge_what_is_high_and_narrow() -> None:
    """16 pictures of 1 x 65,536 px had room made for the words below them: 2.4 million px high, and 8 GB."""
    images = torch.zeros(32, 1, 65_536, 1, dtype=torch.uint8)
    drawn = pictures.grid(images, 16, captions=["100%"] * 32)
    assert drawn.width * drawn.height < 2 * pictures.MOST_PIXELS


def test_tall_sheets_stay_on_a_screen() -> None:
    assert pictures.grid(torch.zeros(40, 1, 8, 8, dtype=torch.uint8), 2).height <= 1200


def test_three_ways_to_save(tmp_path: Path) -> None:
    pictures.save_samples(IMAGES, tmp_path / "a.png")
    pictures.save_samples(IMAGES, tmp_path / "a.npz")
    pictures.save_samples(IMAGES, tmp_path / "folder")
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.mode == "RGB"
    np.testing.assert_array_equal(np.load(tmp_path / "a.npz")["images"], IMAGES.numpy())
    files = sorted((tmp_path / "folder").iterdir())
    assert len(files) == 5
    np.testing.assert_array_equal(read(files[3]), IMAGES[3].permute(1, 2, 0).numpy())


def test_points(tmp_path: Path) -> None:
    points = torch.randn(50, 2)
    pictures.save_samples(points, tmp_path / "a.npz")
    np.testing.assert_array_equal(np.load(tmp_path / "a.npz")["points"], points.numpy())
    pictures.save_samples(points, tmp_path / "a.png")
    assert len(np.unique(read(tmp_path / "a.png"))) > 10
    with pytest.raises(GanvasError, match=r"points\.npz"):
        pictures.save_samples(points, tmp_path / "folder")


def test_nothing_is_overwritten_by_accident(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("x")
    with pytest.raises(GanvasError, match="not empty"):
        pictures.save_samples(IMAGES, tmp_path / "full")
    with pytest.raises(GanvasError, match=r"Cannot write .gif"):
        pictures.save_samples(IMAGES, tmp_path / "a.gif")
    assert [p.name for p in (tmp_path / "full").iterdir()] == ["mine.txt"]


def test_a_folder_of_pictures_takes_no_place_that_cannot_be_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All were drawn, and then it said "Invalid argument"."""
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "there")
    monkeypatch.chdir(tmp_path / "there")
    for out in (Path(), tmp_path / "there", tmp_path / "link"):
        with pytest.raises(GanvasError, match=r"a new folder takes its place. Name one within it: .*samples"):
            pictures.check_out(out, 3, (1, 8, 8))


def test_of_two_that_fill_one_folder_the_second_is_refused_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty folder makes way for the new one, and another command may have done that a moment before."""
    out, image = tmp_path / "made", torch.zeros(1, 1, 8, 8, dtype=torch.uint8)
    out.mkdir()
    rmdir = Path.rmdir

    def late(path: Path) -> None:
        rmdir(path)
        rmdir(path)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rmdir", late)
        pictures.write_samples([image], 1, out)
    assert len(list(out.iterdir())) == 1

    def batches() -> Iterator[torch.Tensor]:
        yield image
        pictures.write_samples([image], 1, tmp_path / "both")
        yield image

    with pytest.raises(GanvasError, match="was written there in the meantime, and is kept"):
        pictures.write_samples(batches(), 2, tmp_path / "both")
    assert len(list((tmp_path / "both").iterdir())) == 1
    assert len(list(tmp_path.iterdir())) == 2


def test_a_film_can_be_read_again(tmp_path: Path) -> None:
    frames = torch.zeros(5, 1, 28, 28, dtype=torch.uint8)
    for i in range(5):
        frames[i, :, :, i * 5 :] = 255
    pictures.save_animation(frames, tmp_path / "a.mp4", fps=12.5)
    with av.open(tmp_path / "a.mp4") as film:
        read = [frame.to_ndarray(format="gray") for frame in film.decode(video=0)]
        assert float(film.streams.video[0].average_rate or 0) == 12.5
    assert len(read) == 5
    for i, image in enumerate(read):
        assert abs(float((image > 127).mean()) - (28 - 5 * i) / 28) < 0.02
    with pytest.raises(GanvasError, match="as a film"):
        pictures.save_animation(frames, tmp_path / "a.avi")


def _durations(content: bytes) -> list[int]:
    with Image.open(memory.BytesIO(content)) as film:
        found = []
        for frame in ImageSequence.Iterator(film):
            frame.load()
            found.append(int(frame.info["duration"]))
        return found


@pytest.mark.parametrize(
    ("suffix", "side", "instead"),
    [
        (".webp", 16_384, r"\.gif or \.mp4"),
        (".mp4", 16_385, r"Use \.gif\."),
        (".gif", 65_536, r"\.png, as a strip"),
    ],
)
def test_sides_that_a_film_cannot_have_are_told_before_the_work(
    suffix: str, side: int, instead: str, tmp_path: Path
) -> None:
    """After all was drawn it ended in a traceback of whatever library writes it."""
    if suffix == ".mp4":
        pytest.importorskip("av")
    for fails in (
        lambda: pictures.check_film(tmp_path / f"a{suffix}", 24, 2, (1, 2, side)),
        lambda: pictures.animation(torch.zeros(2, 1, side, 1, dtype=torch.uint8), suffix),
    ):
        with pytest.raises(GanvasError, match=instead):
            fails()
    pictures.check_film(tmp_path / f"a{suffix}", 24, 2, (1, 2, side - 1))


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
@pytest.mark.parametrize(("fps", "seconds"), [(24, 1.25), (30, 1.0), (50, 0.6), (7, 30 / 7), (12.5, 2.4)])
def test_a_film_lasts_as_long_as_it_should(suffix: str, fps: float, seconds: float) -> None:
    """30 pictures at 24 a second last 1.25 s: delays of 40 and 50 ms alternate, where each rounded for itself gave 1.20."""
    frames = torch.randint(0, 256, (30, 1, 16, 16), dtype=torch.uint8)
    found = _durations(pictures.animation(frames, suffix, fps))
    assert len(found) == 30
    assert sum(found) / 1000 == pytest.approx(seconds, abs=0.0051)
    assert max(found) - min(found) <= pictures.DELAYS[suffix]


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".mp4"])
@pytest.mark.parametrize("sides", [(1024, 4), (1, 300), (8, 2), (1, 1)])
def test_films_of_narrow_pictures(suffix: str, sides: tuple[int, int]) -> None:
    """The width alone was brought to 256 px: 1024 x 4 px became 65,536 x 256, more than a .webp or an .mp4 can be."""
    content = pictures.animation(torch.randint(0, 256, (3, 3, *sides), dtype=torch.uint8), suffix)
    if suffix == ".mp4":
        with av.open(memory.BytesIO(content)) as film:
            shown = film.streams.video[0].height, film.streams.video[0].width
    else:
        with Image.open(memory.BytesIO(content)) as picture:
            shown = picture.height, picture.width
    assert max(shown) == max(256, *sides)


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".mp4"])
def test_pictures_of_a_film_are_enlarged_one_at_a_time(suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of 10,000 frames of 28 px, 24 MB, took 2.5 GB."""
    alive = most = 0
    made = pictures.to_image

    def gone() -> None:
        nonlocal alive
        alive -= 1

    def counted(pixels: torch.Tensor) -> Image.Image:
        nonlocal alive, most
        image = made(pixels)
        weakref.finalize(image, gone)
        alive += 1
        most = max(most, alive)
        return image

    monkeypatch.setattr(pictures, "to_image", counted)
    frames = torch.randint(0, 256, (40, 3, 8, 12), dtype=torch.uint8)
    content = pictures.animation(frames, suffix)
    assert most <= 4
    if suffix == ".webp":  # without loss: the right ones, in their order
        with Image.open(memory.BytesIO(content)) as film:
            for frame, shown in zip(frames, ImageSequence.Iterator(film), strict=True):
                small = torch.from_numpy(np.array(shown.convert("RGB"))[::21, ::21]).permute(2, 0, 1)
                assert torch.equal(small, frame)


def test_a_gif_that_does_not_fit_is_refused_before_it_is_drawn(tmp_path: Path) -> None:
    pictures.check_film(tmp_path / "a.webp", 24, 100_000, (1, 28, 28))
    pictures.check_film(tmp_path / "a.gif", 24, 10_000, (1, 28, 28))
    with pytest.raises(GanvasError, match=r"100,000 pictures of 28 x 28 px takes 5.9 GiB .*a.webp, an .mp4"):
        pictures.check_film(tmp_path / "a.gif", 24, 100_000, (1, 28, 28))
    with pytest.raises(GanvasError, match="of 144 x 96 px"):
        pictures.check_film(tmp_path / "a.gif", 24, 100_000, (2, 24))


def test_tables_of_series_are_counted_as_they_are_shown() -> None:
    """A strip of 10,000 steps through series took gigabytes; only pictures were counted."""
    pictures.check_table(10, 12, (2, 24))
    with pytest.raises(GanvasError, match="A table of 834 x 12 pictures of 144 x 96 px has 138 megapixels"):
        pictures.check_table(834, 12, (2, 24))


def test_large_series_are_counted_by_their_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """64 of 128 x 65,536 are 2 GB, several times over, and were drawn as 64 of 24 steps are."""
    pictures.check_out(tmp_path / "a.png", 96, (6, 24))
    with pytest.raises(GanvasError, match=r"4 series at most.*a\.npz"):
        pictures.check_out(tmp_path / "a.png", 64, (128, 65_536))
    pictures.check_out(tmp_path / "a.png", 1, (1024, 65_536))
    pictures.check_out(tmp_path / "a.npz", 10_000, (128, 65_536))  # part by part
    pictures.check_walk(600, (3, 1024, 1024))
    with pytest.raises(GanvasError, match=r"60 pictures of 4096 x 4096 px takes 2.8 GiB, .* --frames 42"):
        pictures.check_walk(60, (3, 4096, 4096))
    monkeypatch.setattr(arrays, "TOGETHER", 2 * 5 * 48)
    with pytest.raises(
        GanvasError, match=r"6 series of 2 x 24 numbers have 288, and 240 .* 5 series at most"
    ):
        pictures.check_series(6, (2, 24), "")
    assert [pictures.affordable(shape, 64) for shape in ((2, 24), (2, 1), (3, 4, 5), (1, 4, 5))] == [
        5,
        64,
        24,
        24,
    ]


def test_what_no_viewer_plays_is_refused(tmp_path: Path) -> None:
    frames = torch.zeros(3, 1, 8, 8, dtype=torch.uint8)
    with pytest.raises(
        GanvasError, match=r"at most 50 pictures a second, got 120. Use --fps 50, a .webp or an .mp4"
    ):
        pictures.check_film(tmp_path / "a.gif", 120)
    with pytest.raises(GanvasError, match="at most 50"):
        pictures.animation(frames, ".gif", 60)
    noise = torch.randint(0, 256, (60, 1, 8, 8), dtype=torch.uint8)
    assert sum(_durations(pictures.animation(noise, ".webp", 120))) == 500
    for fps in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(GanvasError, match="pictures a second"):
            pictures.save_animation(frames, tmp_path / "a.webp", fps)


def test_without_pyav_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "find_spec", lambda name: None)
    with pytest.raises(GanvasError, match=r"pip install 'av>=12'"):
        pictures.save_animation(torch.zeros(2, 1, 8, 8, dtype=torch.uint8), tmp_path / "a.mp4")


@pytest.mark.parametrize("text", [r"$\frac{$", "$a$ and $b$", r"\$x$", "5$"])
def test_names_in_plots_are_no_mathematics(text: str) -> None:
    """matplotlib reads what stands between two dollars as TeX, and raises for half a fraction."""
    assert pictures.scatter(torch.zeros(3, 2), title=text).size == (512, 512)
    shown, mathematics = Text(text=pictures.literal(text))._preprocess_math(pictures.literal(text))
    assert (shown, mathematics) == (text, False)


@pytest.mark.filterwarnings("error:Glyph")
@pytest.mark.parametrize("name", ["\x1b[31mred\x07", "\u4ef7\u683c"])
def test_letters_that_the_font_lacks_are_no_warning(name: str) -> None:
    from matplotlib.figure import Figure

    figure = Figure()
    figure.add_subplot().set_title(pictures.literal(name))
    assert pictures.plot_png(figure).startswith(b"\x89PNG")
    assert "\x1b" not in pictures.literal(name)


def test_a_matplotlibrc_that_asks_for_latex_is_not_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    """One in the current folder is read, too: without LaTeX there it was a traceback, with it a program that names speak to."""
    monkeypatch.setenv("PATH", "")
    with matplotlib.rc_context({"text.usetex": True}):
        figure = Figure()
        axes = figure.add_subplot(xlabel="x", title="50 % of a_b")
        axes.plot([1, 1e6], [1, 2], label="one")
        axes.set_xscale("log")
        axes.legend()
        label = axes.annotate("here", (1, 1), (0, 0), textcoords="offset points")
        pictures.move_apart(figure, [label])
        assert pictures.plot_png(figure).startswith(b"\x89PNG")
        assert pictures.draw(torch.randn(50, 2)).width > 100


def test_categories_are_named_beside_their_panel() -> None:
    """They were numbers from 0, with halves between them."""
    schema = Schema(4, (Column("weather", "category", categories=("rain", "sun $x$")),))
    series = Series(np.array([[[0.0], [1.0], [1.0], [0.0]]]), np.array([4]), np.empty((1, 0)), schema)
    axes = Figure().subplots()
    pictures._plot(axes, series, 0, [0])
    assert axes.get_yticks().tolist() == [0, 1]
    assert [each.get_text() for each in axes.get_yticklabels()] == ["rain", r"sun \$x\$"]


def test_points_of_one_coordinate_are_drawn_as_a_histogram() -> None:
    one = np.array(pictures.scatter(torch.linspace(-1, 0, 200)[:, None]))
    assert one.shape == (512, 512, 3)
    left, right = one[100:400, 100:250], one[100:400, 300:450]
    assert (left != 255).mean() > 10 * (right != 255).mean(), "bars stand where the points are"


def test_points_of_many_coordinates_are_drawn_as_wide_as_the_two_that_are_shown_spread() -> None:
    points = torch.randn(300, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 1.0, 50.0])
    shown, alone = (np.array(pictures.scatter(each)) for each in (points, points[:, :2]))
    assert np.array_equal(shown, alone)


def test_what_is_missing_has_no_power_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A series about 1,000 that ends early, or lacks a value, moves no more than a whole one."""
    x = 1000 + np.random.default_rng(0).normal(size=(40, 32, 1))
    gappy = x.copy()
    gappy[::2, 9] = np.nan
    cut = x.copy()
    cut[:, 20:] = 0.0
    schema = Schema(32, (Column("x", low=990.0, high=1010.0, gaps=True),), ends=True)
    whole, ends, none = np.full(40, 32), np.full(40, 20), np.zeros((40, 0))
    drawn: dict[str, float] = {}

    def finish(figure: Figure, title: str = "") -> Image.Image:
        drawn.update(
            {str(line.get_label()): float(np.max(line.get_ydata())) for line in figure.axes[0].lines}
        )
        return Image.new("RGB", (1, 1))

    monkeypatch.setattr(pictures, "_plotted", finish)
    sets = [("whole", x, whole), ("gaps", gappy, whole), ("ends", cut, ends)]
    pictures.spectra([(name, Series(values, lengths, none, schema)) for name, values, lengths in sets])
    assert max(drawn.values()) < 3 * min(drawn.values())


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_many_series_are_written_as_they_come(suffix: str, tmp_path: Path) -> None:
    """A part is in memory at a time, and what is written is that of all at once."""
    schema = Schema(64, tuple(Column(name) for name in "abcd"), ends=True)
    parts = [torch.rand(100, 5, 64, generator=torch.Generator().manual_seed(i)) for i in range(40)]
    whole = schema.decode(torch.cat(parts))
    out = tmp_path / f"x{suffix}"
    tracemalloc.start()
    pictures.write_samples(iter(parts), 4000, out, schema, ["u", "v"] * 2000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < whole.values.nbytes / 2
    if suffix == ".npy":
        np.testing.assert_array_equal(np.load(out), series.until_ends(whole).values)
        return
    with np.load(out) as found:
        assert {*found} == {"series", "labels", "lengths", "columns", "time"}
        np.testing.assert_array_equal(found["series"], whole.values)
        np.testing.assert_array_equal(found["lengths"], whole.lengths)
        assert found["labels"].tolist() == ["u", "v"] * 2000
        assert found["columns"].tolist() == [*"abcd"]
        assert len(found["time"]) == 64


def test_long_names_of_many_series(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each took as much as the longest: of a million series, with a name of 1,000 letters, 4 GB; and it was a traceback, for a
    .zip takes so much only when it is told before."""
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 100_000)
    schema = Schema(4, (Column("a"),))
    names = ["b", "l" * 1000] * 5000
    tracemalloc.start()
    pictures.write_samples(iter([torch.zeros(10_000, 1, 4)]), 10_000, tmp_path / "x.npz", schema, names)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000 * 4000 * 0.75
    with np.load(tmp_path / "x.npz") as found:
        assert found["labels"].tolist() == names


def test_names_in_a_table_have_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand constant columns with names of 1,000 letters: of a model of 2.4 MB 16.8 GB were written, forged 4 TB."""
    monkeypatch.setattr(pictures, "MOST_LETTERS_OF_NAMES", 100_000)
    for length, fits in ((1000, False), (32, True)):
        column = Column("x", kind="category", categories=("l" * length, "k" * length))
        series_of = Series(
            np.zeros((30, 8, 1), np.float32), np.full(30, 8), np.zeros((30, 0)), Schema(8, (column,))
        )
        if fits:
            pictures.write_table([series_of], tmp_path / "x.csv")
            assert len((tmp_path / "x.csv").read_text().splitlines()) == 1 + 30 * 8
        else:
            with pytest.raises(
                GanvasError, match=r"The long names of categories alone have more than 100,000 letters"
            ):
                pictures.write_table([series_of], tmp_path / "x.csv")
            assert not list(tmp_path.iterdir())


def test_names_from_files_are_cut_in_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand letters of each of a hundred classes took minutes to lay out, and more where each is spelled out."""
    laid_out = list[str]()
    monkeypatch.setattr(Axes, "set_title", lambda axes, text, **options: laid_out.append(text))
    found = series.plain(1, 5).decode(torch.zeros(3, 1, 5))
    pictures.curves(found, names=["W" * 1000, "\U000e0001" * 1000, "a class with a name"])
    assert laid_out[0] == "W" * 23 + "…"
    assert max(map(len, laid_out)) <= 240
    assert laid_out[2] == "a class with a name"


def test_a_map_names_classes_while_each_has_a_colour_of_its_own() -> None:
    rng = np.random.default_rng(0)

    def legend(count: int) -> list[str]:
        found = SimpleNamespace(
            real_places=None, places=rng.normal(size=(300, 2)), values={"class": np.arange(300.0) % count},
            clusters=[SimpleNamespace(number=0, label=f"93% {'V' * 1000}")], cluster_of=np.zeros(300),
        )  # fmt: skip
        axes = _scatter(cast(Any, found), ["class"], "pca", [f"{i} {'W' * 1000}" for i in range(count)]).axes[
            0
        ]
        assert sum(len(each.get_offsets()) for each in axes.collections) == 300
        assert axes.texts[0].get_text() == f"0: 93% {'V' * 19}…"
        return axes.get_legend_handles_labels()[1]

    assert legend(20) == [pictures.brief(f"{i} {'W' * 1000}") for i in range(20)]
    assert legend(21) == []
