"""`ganvas improve`"""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from ganvas.cli import _shared

if TYPE_CHECKING:
    from ganvas.sampling.improve import Improved, Improvement, Outcome

WIDEST = 32
"""Letters of a line of a label in the plot."""


def run(
    model: Annotated[Path, tyro.conf.Positional],
    *,
    data: str | None = None,
    budget: int = 10,
    objective: Literal["frechet", "precision", "recall", "f1"] = "frechet",
    n: int = 2000,
    critic: Literal["auto", "own", "fresh", "features"] = "auto",
    extractor: str = "auto",
    seed: int = 0,
    out: Path | None = None,
    plain: bool = False,
    device: str = "auto",
    json: bool = False,
) -> None:
    """Find the sampler that gets the most out of a generator as it is; `ganvas sample MODEL --best` then uses it.

    Calibrates a critic on one half of the held-out data, draws with every sampler at the budget, and measures all of them against
    the other half with an extractor that guided none of them.

    Args:
        model: A run folder (its newest snapshot), a snapshot folder, a .safetensors file, or a name from `ganvas list models`.
        data: Real data. Default: what the model was trained on.
        budget: About how many forward passes of generator and critic one sample may cost; a gradient counts for three.
        objective: What the recommendation is chosen by; all are printed.
        n: Samples for each setting; the best two are drawn again, four times as many.
        critic: As for `ganvas calibrate`.
        extractor: Of the measurement: a name from `ganvas list extractors`, or a file. auto is that of `ganvas eval`, unless the
            critic sees its features: then a classifier of another kind is trained once, and kept in the user's cache.
        seed: Of everything.
        out: A folder for the pictures. Default: sampling/ in the run, or the user's cache, where the table and the ratio always
            are: --best finds them there.
        plain: No text in the pictures of samples.
        device: auto, cpu, cuda or mps.
        json: Print everything as JSON.
    """
    from ganvas import io, pictures
    from ganvas.model_file import load
    from ganvas.sampling.improve import described, improve_model, save, written
    from ganvas.sampling.store import home_of

    loaded = load(model, device=device)
    folder = home_of(loaded)
    shown = out or folder
    files = [shown / name for name in ("pareto.png", "before.png", "after.png")]
    _shared.outputs(folder / "improve.json", beside=files)
    _shared.without_cache()
    with _shared.progress() as tell:
        improved = improve_model(
            loaded, data, budget=budget, objective=objective, n=n, critic=critic, extractor=extractor, seed=seed,
            device=device, progress=tell,
        )  # fmt: skip
    found, about = improved.found, {"model": str(model), **improved.about}
    drawn = [pictures.plot_png(_plot(found, about["real"], n))]
    titles = [
        f"{when}: {row.setting.label}, {objective} {written(row.values[objective])}"
        for when, row in (("Before", found.before), ("After", found.after))
    ]
    for title, samples in zip(titles, found.samples, strict=True):
        drawn.append(pictures.png(pictures.draw(samples, "" if plain else title)))
    document = described(found, improved.ratio, about)
    with ExitStack() as last:
        # Whatever cannot be written of it: it may have taken hours.
        if json:
            last.callback(_shared.answer, {**document, "folder": str(shown)})
        else:
            last.callback(_show, improved)
        # One right after the other: of two commands at once all shall be those of the last.
        save(folder, improved.ratio, document)
        for path, picture in zip(files, drawn, strict=True):
            io.write_bytes(path, picture)
    if json:
        return
    _shared.say(
        f"-> {shown}: pareto.png, before.png, after.png"
        + (f"; ganvas sample {model} --best" if found.helps else "")
    )


def _show(improved: "Improved") -> None:
    """Tables and words for people."""
    _shared.say("\n".join(improved.ratio.report.words()))
    _table(improved.found)
    _shared.say("\n".join(improved.found.words))


def _table(found: "Improvement") -> None:
    from ganvas.cli._shared import Column, table

    heads, rows = found.cells()
    drops = (0, 3, 0, 1, 2, 4)
    columns = [Column(name, left=not i, drop=drops[i]) for i, name in enumerate(heads)]
    table(columns, rows, [i for i, row in enumerate(found.rows) if row is found.best])
    for row in found.rows:
        if row.failed:
            _shared.say(f"{row.setting.label} failed: {row.failed}")


def _plot(found: "Improvement", real: int, n: int) -> Any:
    from textwrap import fill

    from matplotlib.figure import Figure

    from ganvas import pictures
    from ganvas.sampling.improve import pareto

    def name(row: "Outcome") -> str:
        """Its label in lines: a sampler from elsewhere may have many options."""
        return fill(row.setting.label, WIDEST)

    rows = [row for row in found.rows if not row.failed]
    front = pareto(rows)
    figure = Figure(figsize=(13, 6), dpi=100)
    left, right = (figure.add_subplot(1, 2, i) for i in (1, 2))
    dots = left.scatter(
        [r.values["recall"] for r in rows], [r.values["precision"] for r in rows], c=[r.cost for r in rows], s=70,
        cmap="viridis", edgecolors=["red" if f else "none" for f in front], linewidths=1.5,
    )  # fmt: skip
    figure.colorbar(dots, ax=left, label="runs of the network a sample")
    labels = [
        left.annotate(
            name(row), (row.values["recall"], row.values["precision"]), fontsize=7, xytext=(6, 3),
            textcoords="offset points", arrowprops=pictures.LEADER,
        )
        for row in rows
    ]  # fmt: skip
    left.set(
        title=f"{n:,} against {real:,} held-out\nred: none is ahead in both", xlabel="recall (coverage of the data)",
        ylabel="precision (fidelity)",
    )  # fmt: skip
    order = sorted(rows, key=lambda row: -row.values["frechet"])
    right.barh(
        [name(r) for r in order], [r.values["frechet"] for r in order], xerr=[r.errors["frechet"] for r in order],
        color=["tab:green" if r is found.best else "tab:grey" if r.setting.sampler == "prior" else "tab:blue" for r in order],
    )  # fmt: skip
    right.set(title="Frechet distance\ngreen: recommended, grey: plain sampling", xlabel="lower is better")
    right.tick_params(axis="y", labelsize=8)
    left.margins(x=0.18)  # room for words at the right
    pictures.move_apart(figure, labels, clear=5)
    return figure
