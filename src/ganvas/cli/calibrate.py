"""`ganvas calibrate`"""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from ganvas.cli import _shared

if TYPE_CHECKING:
    from ganvas.sampling import LogRatio


def run(
    model: Annotated[Path, tyro.conf.Positional],
    *,
    data: str | None = None,
    critic: Literal["auto", "own", "fresh", "features"] = "auto",
    method: Literal["auto", "isotonic", "platt"] = "auto",
    seed: int = 0,
    out: Path | None = None,
    device: str = "auto",
    json: bool = False,
) -> None:
    """Calibrate a critic to the log density ratio log p_data / p_G, which samplers follow, on held-out real data.

    Args:
        model: A run folder (its newest snapshot), a snapshot folder, a .safetensors file, or a name from `ganvas list models`.
        data: Real data. Default: what the model was trained on.
        critic: own is the model's; fresh trains a small one after the fact; features trains one on what the bundled classifier
            of the data sees; auto takes features where there is such a classifier, else own (for points the better of the two).
        method: platt is a line, isotonic any rising curve, auto the one with the smaller held-out log loss.
        seed: Of the generated samples and of the fresh critic.
        out: A .safetensors file; a picture of the same name lies beside it. Default: sampling/ in the run, or
            the user's cache for other models.
        device: auto, cpu, cuda or mps.
        json: Print the report as JSON.
    """
    from ganvas import io, pictures
    from ganvas.model_file import load
    from ganvas.sampling import calibrate_model
    from ganvas.sampling.store import home_of

    if out is not None:
        _shared.outputs(out, ".safetensors")
    with _shared.together(device) as (here, first), _shared.progress() as tell:
        loaded = load(model, device=here)
        path = out or home_of(loaded) / "ratio.safetensors"
        plot = out.with_suffix(".png") if out else path.with_name("calibration.png")
        _shared.outputs(path, beside=[plot])
        ratio, _ = calibrate_model(loaded, data, critic=critic, method=method, seed=seed, progress=tell)
    if not first:
        return
    drawn = pictures.plot_png(_plot(ratio))
    report, words = {"out": str(path), **asdict(ratio.report)}, "\n".join(ratio.report.words())
    # One right after the other: of two commands at once both shall be those of the last.
    with _shared.telling(report, words, json):
        ratio.save(path)
        io.write_bytes(plot, drawn)
    if json:
        _shared.answer(report)
        return
    _shared.say(words)
    _shared.say(f"-> {path}, {plot}")


def _plot(ratio: "LogRatio") -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), dpi=100)
    left, right = (figure.add_subplot(1, 2, i) for i in (1, 2))
    said, found, counts = zip(*ratio.report.curve, strict=True)
    left.plot([0, 1], [0, 1], color="grey", linewidth=1)
    left.scatter(said, found, s=[20 + 200 * c / max(counts) for c in counts])
    left.set(
        title=f"Calibration of the {ratio.report.critic} critic, held-out folds", xlabel="predicted share of real",
        ylabel="found share of real", xlim=(0, 1), ylim=(0, 1),
    )  # fmt: skip
    x = ratio.calibration.x
    right.plot(x.tolist(), ratio.calibration(x).tolist(), marker=".")
    right.set(
        title=f"{ratio.report.method} map",
        xlabel="critic score",
        ylabel="log density ratio: log p_data / p_G",
    )
    return figure
