"""What a run on photographs looks like after some minutes: docs/images/photos.png, on pictures that may be shown.

    python benchmarks/photo_looks.py --minutes 5 20 [--clock cpu] [--write]

The pictures are 2,000 squares of 160 to 280 px, cut by chance out of the two photographs that scikit-learn ships (china.jpg and
flower.jpg, under CC BY 2.0) and made 32 px small. One run of the preset goes on from one budget to the next.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from clock import CLOCKS, count_by
from PIL import Image
from torch import Tensor

import ganvas
from ganvas import io, pictures
from ganvas.data import load_dataset
from judge import OUT

PAGE = Path(__file__).parents[1] / "docs" / "images" / "photos.png"
NAMES = ("china.jpg", "flower.jpg")
COUNT, SIDE, CUT = 1000, 32, (160, 280)
ACROSS = 14
"""Pictures in a row, of which each budget has two."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, nargs="+", default=[5, 20])
    parser.add_argument("--preset", default="photo")
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall", help="`cpu` on a busy machine")
    parser.add_argument("--write", action="store_true", help=f"to {PAGE.name} of the docs, else to {OUT}")
    options = parser.parse_args()
    torch.set_num_threads(1)
    count_by(options.clock)
    folder = cut()
    data = load_dataset(str(folder))
    chosen = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))[: 2 * ACROSS]
    shown, names = [data.take(chosen)[0]], ["real", ""]
    run = None
    for minutes in sorted(options.minutes):
        result = (
            ganvas.train(
                folder, preset=options.preset, minutes=minutes, out=OUT / "photo_looks", name=options.preset
            )
            if run is None
            else ganvas.train(resume=run, minutes=minutes)
        )
        run = result.run.path
        shown.append(samples(run))
        names += [f"{minutes:g} min", ""]
        print(f"{minutes:g} minutes: {result.kimg:.0f} kimg")
        out = PAGE if options.write else OUT / "photos.png"
        io.write_bytes(out, pictures.png(pictures.grid(torch.cat(shown), ACROSS, min_width=900, names=names)))


def cut() -> Path:
    """The squares as PNG files, a folder for each photograph."""
    from sklearn.datasets import load_sample_image

    folder = OUT / "photographs"
    if folder.exists():
        return folder
    random = np.random.default_rng(0)
    with io.atomic_folder(folder) as temporary:
        for name in NAMES:
            whole = Image.fromarray(load_sample_image(name))
            (temporary / name.split(".")[0]).mkdir(parents=True)
            for i in range(COUNT):
                side = int(random.integers(CUT[0], CUT[1] + 1))
                left, top = (int(random.integers(0, most - side + 1)) for most in whole.size)
                box = (left, top, left + side, top + side)
                small = whole.resize((SIDE, SIDE), Image.Resampling.LANCZOS, box)
                io.write_bytes(temporary / name.split(".")[0] / f"{i:04d}.png", pictures.png(small))
    return folder


def samples(run: Path) -> Tensor:
    """Those of the first seeds, none chosen."""
    return ganvas.load(run, device="cpu").sample(2 * ACROSS, seed=0)


if __name__ == "__main__":
    main()
