"""`ganvas demo`"""

from pathlib import Path


def run(*, minutes: float = 1.5, out: Path = Path("runs")) -> int | None:
    """Train on 1,797 handwritten digits, draw samples and a latent interpolation, and write a report.

    Args:
        minutes: Of training.
        out: Folder of the run folders.
    """
    from ganvas import pictures
    from ganvas.io import write_bytes
    from ganvas.model import load
    from ganvas.report import interpolation
    from ganvas.training import train

    result = train("digits", minutes=minutes, out=out, name="demo")
    if result.stopped == "interrupted":
        return 130
    path = result.run.path
    model = load(path, critic=False)
    pictures.save_samples(model.sample(100), path / "samples.png")
    write_bytes(path / "interpolation.png", pictures.png(interpolation(model)))
    print(f"Made in {result.seconds:.0f} seconds of training:")
    print(f"  samples        {path / 'samples.png'}")
    print(f"  interpolation  {path / 'interpolation.png'}")
    print(f"  report         {path / 'report.html'}")
    print("Next:")
    print(f"  ganvas explore {path}")
    print(f"  ganvas train --resume {path} --more 5")
    print("  ganvas train FOLDER-OF-PICTURES --minutes 10")
    return None
