"""`ganvas demo`"""

from pathlib import Path

from ganvas.cli import _shared


def run(*, minutes: float = 1.5, out: Path = Path("runs"), json: bool = False) -> int | None:
    """Train on 1,797 handwritten digits, draw samples and a latent interpolation, and write a report.

    Args:
        minutes: Of training.
        out: Folder of the run folders.
        json: Print where everything is as JSON.
    """
    from ganvas import pictures
    from ganvas.io import write_bytes
    from ganvas.model_file import load
    from ganvas.report import interpolation
    from ganvas.training import train

    result = train("digits", minutes=minutes, out=out, name="demo")
    if result.stopped == "interrupted":
        return 130
    path = result.run.path
    model = load(path, critic=False)
    pictures.save_samples(model.sample(100), path / "samples.png")
    write_bytes(path / "interpolation.png", pictures.png(interpolation(model)))
    made = {name: str(path / name) for name in ("samples.png", "interpolation.png", "report.html")}
    if json:
        _shared.answer({"run": str(path), "seconds": round(result.seconds, 3), "files": made})
        return None
    _shared.say(f"Made in {result.seconds:.0f} seconds of training:")
    for name, file in made.items():
        _shared.say(f"  {name.split('.')[0]:<13}  {file}")
    _shared.say("Next:")
    _shared.say(f"  ganvas explore {path}")
    _shared.say(f"  ganvas train --resume {path} --more 5")
    _shared.say("  ganvas train FOLDER-OF-PICTURES --minutes 10")
    return None
