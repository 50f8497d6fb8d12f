"""`ganvas eval`"""

import json as json_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

if TYPE_CHECKING:
    from ganvas.metrics import Evaluation


def run(
    samples: Annotated[Path, tyro.conf.Positional],
    *,
    reference: str | None = None,
    metrics: str = "all",
    n: int = 10_000,
    extractor: str = "auto",
    seed: int = 0,
    batch: int = 256,
    device: str = "auto",
    resolution: int | None = None,
    resize: Literal["crop", "fit", "stretch"] | None = None,
    snapshots: bool = False,
    against: Path | None = None,
    json: bool = False,
    out: Path | None = None,
) -> None:
    """Measure a model, or images that any program made, against real data.

    Args:
        samples: A run folder, snapshot or .safetensors file; or a folder, .zip, .npy or .npz of images.
        reference: Real data to compare with. Default: what the model was trained on.
        metrics: Names from `ganvas list metrics` with commas between, or all.
        n: How many samples.
        extractor: auto, a name from `ganvas list extractors`, or a file of `ganvas extractor train`.
        seed: Of the samples and of every random choice of a metric.
        batch: Images embedded at a time.
        device: auto, cpu, cuda or mps.
        resolution: Side in pixels that folders of mixed sizes are brought to.
        resize: How they get there.
        snapshots: Measure every snapshot of the run, for the curve in its report.
        against: Figures saved with --out before, shown beside these; refused when they can not be compared.
        json: Print the figures as JSON.
        out: Save the figures as JSON here.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    from ganvas import io
    from ganvas.errors import GanvasError
    from ganvas.metrics import compare, evaluate
    from ganvas.metrics.rows import read_rows
    from ganvas.runs import open_run

    is_run = (samples / "config.json").is_file()
    if snapshots and not is_run:
        raise GanvasError(f"--snapshots wants a run folder; {samples} is none.")
    before = read_rows(against) if against else []
    subjects: list[Path] = open_run(samples).snapshots if snapshots else [samples]
    bars: dict[str, TaskID] = {}
    found: Evaluation | None = None
    with Progress(
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:,}/{task.total:,}"),
        TimeRemainingColumn(), console=Console(stderr=True), transient=True,
    ) as bar:  # fmt: skip

        def progress(what: str, done: int, total: int) -> None:
            if what not in bars:
                bars[what] = bar.add_task(what, total=total)
            bar.update(bars[what], completed=done, total=total)

        for subject in subjects:
            found = evaluate(
                subject, reference, metrics, n=n, extractor=extractor, seed=seed, batch=batch, device=device,
                resolution=resolution, resize=resize, progress=progress,
            )  # fmt: skip
            if is_run:
                open_run(samples).append_metrics([row.to_json() for row in found.rows])
    if found is None:
        raise GanvasError(
            f"{samples} holds no snapshot yet. Train on: ganvas train --resume {samples} --minutes 5"
        )
    document = {
        "rows": [row.to_json() for row in found.rows],
        "skipped": found.skipped,
        "warnings": found.warnings,
    }
    if out is not None:
        io.write_json(out, document)
    if is_run:
        from ganvas.training.report import save_evidence, write_report

        save_evidence(open_run(samples), found)
        write_report(open_run(samples))
    if json:
        print(json_module.dumps(document))
        return
    earlier = {name: values[0] for name, values in compare(before, found.rows)} if before else {}
    _show(found, earlier)


def _show(found: "Evaluation", earlier: "dict[str, float | None]") -> None:
    """A table for people."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    if not found.rows:
        for name, why in found.skipped.items():
            console.print(f"{name} left out: {why}", highlight=False)
        return
    first = found.rows[0]
    kimg = f" at {first.kimg:,.1f} kimg" if first.kimg is not None else ""
    console.print(
        f"{first.source}{kimg}: {first.n:,} samples (seed {first.seed}) against {first.reference_n:,} of "
        f"{first.reference} ({first.fingerprint}), features {first.extractor}, resize {first.resize}",
        highlight=False, soft_wrap=True,
    )  # fmt: skip
    floor_n = max(row.floor_n for row in found.rows)
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("metric")
    table.add_column("value", justify="right")
    table.add_column("±", justify="right")
    table.add_column(f"floor (N={floor_n:,})" if floor_n else "floor", justify="right")
    table.add_column("better")
    if earlier:
        table.add_column("before", justify="right")
    for row in found.rows:
        cells = [
            row.label, f"{row.value:.4g}", "" if row.error is None else f"{row.error:.2g}",
            "" if row.floor is None else f"{row.floor:.4g}", row.better,
        ]  # fmt: skip
        if earlier:
            old = earlier.get(row.metric)
            cells.append("" if old is None else f"{old:.4g}")
        table.add_row(*cells)
    console.print(table)
    for name, why in found.skipped.items():
        console.print(f"{name} left out: {why}", highlight=False, style="dim")
    for warning in found.warnings:
        console.print(f"warning: {warning}", highlight=False, style="yellow", soft_wrap=True)
