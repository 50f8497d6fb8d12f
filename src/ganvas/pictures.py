"""Samples on disk: a PNG grid, a folder of PNGs, an .npz; and a scatter plot for 2-D points."""

import base64
import io as memory
from fractions import Fraction
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ganvas import io
from ganvas.errors import GanvasError, install

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def to_image(pixels: Tensor) -> Image.Image:
    """One uint8 image (C, H, W) with 1 or 3 channels as a PIL image."""
    array = pixels.permute(1, 2, 0).contiguous().numpy()
    return Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)


GAP = 2
"""Grey pixels between the tiles of a grid: without them, small dark images run into one another."""


def grid(images: Tensor, columns: int | None = None, min_width: int = 512, gap: int = GAP) -> Image.Image:
    """Tile uint8 images (N, C, H, W) row by row, small ones enlarged by a whole factor so that a person sees them."""
    n, channels, height, width = images.shape
    columns = columns or int(np.ceil(np.sqrt(n)))
    rows = -(-n // columns)
    scale = max(1, round(min_width / (columns * width)))
    height, width = height * scale + gap, width * scale + gap
    canvas = torch.full((rows * columns, channels, height, width), 128, dtype=torch.uint8)
    canvas[:n, :, gap:, gap:] = images.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    tiled = canvas.reshape(rows, columns, channels, height, width).permute(2, 0, 3, 1, 4)
    tiled = tiled.reshape(channels, rows * height, columns * width)
    return to_image(F.pad(tiled, (0, gap, 0, gap), value=128))


def atlas(images: Tensor, places: np.ndarray, cells: int = 28) -> Image.Image:
    """uint8 images (N, C, H, W) on a raster: in each of `cells` x `cells` the one whose place (N, 2) is nearest its middle."""
    low, high = np.quantile(places, 0.005, axis=0), np.quantile(places, 0.995, axis=0)
    at = (places - low) / np.maximum(high - low, 1e-12) * cells
    column, row = (np.clip(np.floor(at[:, i]).astype(int), 0, cells - 1) for i in (0, 1))
    away = np.linalg.norm(at - np.stack([column, row], 1) - 0.5, axis=1)
    tiles = torch.full((cells * cells, *images.shape[1:]), 128, dtype=torch.uint8)
    for i in away.argsort()[::-1]:  # the nearest comes last and stays
        tiles[(cells - 1 - row[i]) * cells + column[i]] = images[i]
    return grid(tiles, columns=cells)


def scatter(points: Tensor, size: int = 512) -> Image.Image:
    """2-D points (N, 2) as a plot from -5 to 5 or as wide as they spread."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(size / 100, size / 100), dpi=100)
    axes = figure.add_subplot()
    axes.scatter(points[:, 0].numpy(), points[:, 1].numpy(), s=3, alpha=0.5, linewidths=0)
    reach = max(1.0, float(points.abs().quantile(0.999)) * 1.1)
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
    return Image.open(memory.BytesIO(plot_png(figure))).convert("RGB")


def plot_png(figure: "Figure") -> bytes:
    """A matplotlib figure, laid out, as PNG bytes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure.tight_layout()
    buffer = memory.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer)
    return buffer.getvalue()


def draw(samples: Tensor) -> Image.Image:
    """A grid of images or a scatter of points: whatever fits the samples."""
    return grid(samples) if samples.dim() == 4 else scatter(samples)


def png(picture: Image.Image) -> bytes:
    """The picture as PNG bytes."""
    buffer = memory.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def data_url(content: bytes, media: str = "image/png") -> str:
    """Bytes as an address that a page can show without a server."""
    return f"data:{media};base64,{base64.b64encode(content).decode()}"


FILMS = (".gif", ".webp", ".mp4")
DELAYS = {".gif": 10, ".webp": 1}
"""Milliseconds that delays between pictures are counted in."""
FASTEST_GIF = 50.0
"""Pictures a second: a viewer plays what is faster, a delay of 10 ms or none, at ten a second."""


def check_film(out: Path, fps: float = 24.0) -> None:
    """Raise `GanvasError` when `save_animation` could not write there or so fast, before any work is done."""
    if out.suffix not in FILMS:
        raise GanvasError(f"Can not write {out.suffix or 'a folder'} as a film; use {', '.join(FILMS)}.")
    if out.suffix == ".mp4" and find_spec("av") is None:
        raise GanvasError(f"An .mp4 needs PyAV: {install('video')}. Or write a .webp or .gif.")
    _check_fps(out.suffix, fps)


def _check_fps(suffix: str, fps: float) -> None:
    if not 0.01 <= fps <= 240:
        raise GanvasError(f"{fps:g} pictures a second: give 0.01 to 240.")
    if suffix == ".gif" and fps > FASTEST_GIF:
        raise GanvasError(
            f"A .gif holds at most {FASTEST_GIF:g} pictures a second, got {fps:g}. Use --fps {FASTEST_GIF:g}, a .webp or an .mp4."
        )


def save_animation(frames: Tensor, out: Path, fps: float = 24.0) -> None:
    """Write uint8 frames (T, C, H, W) as an endless .gif or .webp or an .mp4 (H.264), small ones enlarged by a whole factor."""
    check_film(out, fps)
    io.write_bytes(out, animation(frames, out.suffix, fps))


def delays(count: int, fps: float, unit: int) -> list[int]:
    """How long each of `count` pictures stays, in ms that are whole multiples of `unit`: as long in all as at `fps` exactly."""
    ends = [round(i * 1000 / fps / unit) * unit for i in range(count + 1)]
    return [stop - start for start, stop in pairwise(ends)]


def animation(frames: Tensor, suffix: str, fps: float = 24.0) -> bytes:
    """The bytes of such a file."""
    _check_fps(suffix, fps)
    scale = max(1, round(256 / frames.shape[3]))
    images = [to_image(frame.repeat_interleave(scale, 1).repeat_interleave(scale, 2)) for frame in frames]
    buffer = memory.BytesIO()
    if suffix == ".mp4":
        _encode(images, buffer, fps)
        return buffer.getvalue()
    options: dict[str, Any] = {"lossless": True} if suffix == ".webp" else {}
    images[0].save(
        buffer,
        suffix[1:].upper(),
        save_all=True,
        append_images=images[1:],
        duration=delays(len(images), fps, DELAYS[suffix]),
        loop=0,
        **options,
    )
    return buffer.getvalue()


def _encode(images: list[Image.Image], buffer: memory.BytesIO, fps: float) -> None:
    import av

    with av.open(buffer, "w", format="mp4") as container:
        film = container.add_stream(
            "libx264", rate=Fraction(fps).limit_denominator(1000), options={"crf": "14"}
        )
        # Players want even sides and colour at half the resolution.
        film.width, film.height, film.pix_fmt = images[0].width // 2 * 2, images[0].height // 2 * 2, "yuv420p"
        for image in images:
            cropped = image.convert("RGB").crop((0, 0, film.width, film.height))
            container.mux(film.encode(av.VideoFrame.from_ndarray(np.asarray(cropped), format="rgb24")))
        container.mux(film.encode(None))


def check_out(out: Path) -> None:
    """Raise `GanvasError` when `save_samples` could not write there, before any work is done."""
    if out.suffix not in (".png", ".npz", ""):
        raise GanvasError(
            f"Can not write {out.suffix} files; use a .png grid, an .npz array, or a folder name."
        )
    if out.suffix == "" and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise GanvasError(f"{out} is there already and not empty; choose another --out.")


def save_samples(samples: Tensor, out: Path) -> None:
    """Write `samples` as `out` says: `.png` is a grid, `.npz` an array, a name without suffix a new folder of PNGs."""
    check_out(out)
    if out.suffix == ".png":
        io.write_bytes(out, png(draw(samples)))
    elif out.suffix == ".npz":
        arrays: dict[str, Any] = {"images" if samples.dim() == 4 else "points": samples.numpy()}
        buffer = memory.BytesIO()
        np.savez_compressed(buffer, **arrays)
        io.write_bytes(out, buffer.getvalue())
    elif samples.dim() != 4:
        raise GanvasError("2-D points do not go into a folder of images; use --out points.npz or points.png.")
    else:
        if out.is_dir():
            out.rmdir()  # empty: see check_out
        with io.atomic(out) as temporary:
            temporary.mkdir()
            digits = len(str(len(samples) - 1))
            for i, image in enumerate(samples):
                (temporary / f"{i:0{digits}d}.png").write_bytes(png(to_image(image)))
