"""`ganvas improve`"""

import json as json_module
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

if TYPE_CHECKING:
    from ganvas.data import Dataset
    from ganvas.features import Extractor
    from ganvas.sampling import LogRatio
    from ganvas.sampling.improve import Improvement


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
    device: str = "auto",
    json: bool = False,
) -> None:
    """Find the sampler that gets the most out of a generator as it is; `ganvas sample MODEL --best` then uses it.

    Calibrates a critic on one half of the held-out data, draws with every sampler at the budget, and measures all of them against
    the other half with an extractor that guided none of them.

    Args:
        model: A run folder (its newest snapshot), a snapshot folder, a .safetensors file, or a name from `ganvas list models`.
        data: Real data. Default: what the model was trained on.
        budget: Forward passes of generator and critic that one sample may cost; a gradient counts for three.
        objective: What the recommendation is chosen by; all are printed.
        n: Samples for each setting; the best two are drawn again, four times as many.
        critic: As for `ganvas calibrate`.
        extractor: Of the measurement: a name from `ganvas list extractors`, or a file. auto is that of `ganvas eval`, unless the
            critic sees its features: then a classifier of another kind is trained once, and kept in the user's cache.
        seed: Of everything.
        out: A folder for the table, the pictures and the ratio. Default: sampling/ in the run, or the user's cache.
        device: auto, cpu, cuda or mps.
        json: Print everything as JSON.
    """
    from ganvas import io, pictures
    from ganvas.cli import _shared
    from ganvas.cli.calibrate import calibrated, describe
    from ganvas.model import load
    from ganvas.sampling.improve import Judge, home_of, save
    from ganvas.sampling.improve import improve as improve_model

    loaded = load(model, device=device)
    with _shared.named_progress() as tell:
        ratio, held_out = calibrated(loaded, data, critic, "auto", seed, tell)
        judge = Judge(_independent(extractor, ratio, held_out, device, tell), held_out)
        found = improve_model(
            loaded, ratio, judge, budget=budget, objective=objective, n=n, seed=seed, progress=tell
        )
    folder = home_of(loaded)
    about = {
        "model": str(model), "data": held_out.name, "budget": budget, "n": n, "seed": seed, "extractor": judge.extractor.id,
        "real": len(held_out),
    }  # fmt: skip
    save(folder, found, ratio, about)
    shown = out or folder
    io.write_bytes(shown / "pareto.png", pictures.plot_png(_plot(found, len(held_out), n)))
    for name, samples in zip(("before", "after"), found.samples, strict=True):
        io.write_bytes(shown / f"{name}.png", pictures.png(pictures.draw(samples)))
    document = io.read_json(folder / "improve.json")
    if json:
        print(json_module.dumps({**document, "folder": str(shown)}))
        return
    print(describe(ratio))
    _table(found)
    print("\n".join(found.words))
    print(
        f"-> {shown}: pareto.png, before.png, after.png"
        + (f"; ganvas sample {model} --best" if found.helps else "")
    )


def _independent(name: str, ratio: "LogRatio", held_out: "Dataset", device: str, tell: Any) -> "Extractor":
    """An extractor that the ratio was not made with."""
    import torch

    from ganvas.data.idx import cache_folder
    from ganvas.device import resolve_device
    from ganvas.errors import GanvasError
    from ganvas.features import classifier, open_extractor
    from ganvas.sampling.critics import FeatureCritic

    usual = open_extractor(name, held_out, device)
    if not isinstance(ratio.network, FeatureCritic) or not isinstance(usual, classifier.ClassifierExtractor):
        return usual
    mine, guide = usual.network.state_dict(), ratio.network.guide.state_dict()
    same = mine.keys() == guide.keys() and all(torch.equal(mine[k].cpu(), guide[k].cpu()) for k in mine)
    if not same:
        return usual
    if name != "auto":
        raise GanvasError(
            f"The critic was trained on the features of {name}, which can not judge what it guides."
        )
    path = cache_folder() / "extractors" / f"residual-{held_out.name}-{held_out.fingerprint}.safetensors"
    if not path.is_file():
        rest = torch.ones(len(held_out.items), dtype=torch.bool)
        assert held_out.indices is not None
        rest[held_out.indices] = False
        trained = classifier.train_on(
            replace(held_out, indices=rest.nonzero()[:, 0]), held_out, seed=1, body="residual", device=resolve_device(device),
            advance=lambda share: tell("a classifier of another kind to judge by", round(1000 * share), 1000),
        )  # fmt: skip
        classifier.save(path, trained, f"judge-{held_out.name}", {"data": held_out.fingerprint, "seed": 1})
    return classifier.load(path, resolve_device(device))


def _table(found: "Improvement") -> None:
    from rich.console import Console
    from rich.table import Table

    from ganvas.sampling.improve import MEASURES

    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("sampler")
    for name in ("forwards", *MEASURES):
        table.add_column(name, justify="right")
    for row in found.rows:
        if row.failed:
            table.add_row(row.setting.label, "failed", row.failed[:60])
            continue
        cells = [f"{row.values[name]:.3f} ± {row.errors[name]:.3f}" for name in MEASURES]
        style = "bold" if row is found.best else None
        table.add_row(row.setting.label, f"{row.cost:.3g}", *cells, style=style)
    Console().print(table)


def _plot(found: "Improvement", real: int, n: int) -> Any:
    from matplotlib.figure import Figure

    from ganvas.sampling.improve import pareto

    rows = [row for row in found.rows if not row.failed]
    front = pareto(rows)
    figure = Figure(figsize=(13, 6), dpi=100)
    left, right = (figure.add_subplot(1, 2, i) for i in (1, 2))
    dots = left.scatter(
        [r.values["recall"] for r in rows], [r.values["precision"] for r in rows], c=[r.cost for r in rows], s=70,
        cmap="viridis", edgecolors=["red" if f else "none" for f in front], linewidths=1.5,
    )  # fmt: skip
    figure.colorbar(dots, ax=left, label="forwards a sample")
    for row in rows:
        left.annotate(
            row.setting.label, (row.values["recall"], row.values["precision"]), fontsize=7, xytext=(4, 3),
            textcoords="offset points",
        )  # fmt: skip
    left.set(
        title=f"{n:,} against {real:,} held-out; red: none is ahead in both", xlabel="recall (coverage of the data)",
        ylabel="precision (fidelity)",
    )  # fmt: skip
    order = sorted(rows, key=lambda row: -row.values["frechet"])
    right.barh(
        [r.setting.label for r in order], [r.values["frechet"] for r in order], xerr=[r.errors["frechet"] for r in order],
        color=["tab:green" if r is found.best else "tab:grey" if r.setting.sampler == "prior" else "tab:blue" for r in order],
    )  # fmt: skip
    right.set(title="Frechet distance; green: recommended, grey: plain sampling", xlabel="lower is better")
    right.tick_params(axis="y", labelsize=8)
    return figure
