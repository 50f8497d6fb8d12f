from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from ganvas import pictures
from ganvas.errors import GanvasError

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
    with pytest.raises(GanvasError, match=r"Can not write .gif"):
        pictures.save_samples(IMAGES, tmp_path / "a.gif")
    assert [p.name for p in (tmp_path / "full").iterdir()] == ["mine.txt"]


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


def test_without_pyav_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "find_spec", lambda name: None)
    with pytest.raises(GanvasError, match=r"pip install 'av>=12'"):
        pictures.save_animation(torch.zeros(2, 1, 8, 8, dtype=torch.uint8), tmp_path / "a.mp4")
