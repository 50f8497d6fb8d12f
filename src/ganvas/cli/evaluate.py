"""`ganvas eval`"""

from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from ganvas.cli import _shared

if TYPE_CHECKING:
    from ganvas.metrics import Evaluation, Row
    from ganvas.runs import Run


def run(
    samples: Annotated[Path, tyro.conf.Positional],
    *,
    reference: str | None = None,
    metrics: str = "all",
    n: int | None = None,
    labels: Literal["data", "uniform"] = "data",
    extractor: str = "auto",
    seed: int = 0,
    batch: int = 256,
    device: str = "auto",
    resolution: int | None = None,
    resize: Literal["crop", "fit", "stretch"] | None = None,
    height: int | None = None,
    alpha: bool = False,
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
        n: How many samples. Default: as many as the reference has, from 1,000 to 10,000; fewer of large series.
        labels: Classes of a conditional model's samples: data draws them in the reference's shares, uniform as many of each.
        extractor: auto, a name from `ganvas list extractors`, or a file of `ganvas extractor train`.
        seed: Of the samples and of every random choice of a metric.
        batch: Images embedded at a time, of large ones as many as there is room for.
        device: auto, cpu, cuda or mps.
        resolution: Side in pixels that folders of mixed sizes are brought to.
        resize: How they get there.
        height: Height of pictures that are not square; --resolution is then their width.
        alpha: Keep transparent parts as a fourth channel, in samples and reference; else they become white.
        snapshots: Measure every snapshot of the run, for the curve in its report.
        against: Figures saved with --out before, shown beside these; refused when they cannot be compared.
        json: Print the figures as JSON.
        out: Save the figures as JSON here.
    """
    from ganvas import io
    from ganvas.errors import GanvasError
    from ganvas.metrics import evaluate
    from ganvas.metrics.rows import read_rows
    from ganvas.runs import is_run, open_run, runs_near

    of_run = is_run(samples)
    if snapshots and not of_run:
        raise GanvasError(f"--snapshots wants a run folder; {samples} is none.{runs_near(samples)}")
    before = read_rows(against) if against else []
    subjects: list[Path] = open_run(samples).snapshots if snapshots else [samples]
    if out is not None:
        _shared.outputs(out, ".json")
    kept_in_run = of_run and io.writable(samples)
    kept = open_run(samples).anchored() if kept_in_run else None
    if kept is not None:
        kept.check_folders()
    found: Evaluation | None = None
    unkept: GanvasError | None = None
    outdated = False
    with _shared.together(device) as (here, first), _shared.progress() as tell:
        if first:
            _shared.without_cache()
            if of_run and not kept_in_run:
                _shared.say(f"note: {samples} cannot be written, so its report stays as it is.", beside=True)
        for subject in subjects:
            stamps = {} if kept is None else kept.stamps()
            found = evaluate(
                subject, reference, metrics, n=n, labels=labels, extractor=extractor, seed=seed, batch=batch,
                device=here, resolution=resolution, resize=resize, height=height, alpha=alpha, progress=tell,
            )  # fmt: skip
            if kept is not None and first:
                try:
                    outdated = not _keep(kept, found, stamps)
                except GanvasError as error:  # said when the figures are
                    unkept = error
    if found is None:
        raise GanvasError(
            f"{samples} holds no snapshot yet. Train on: ganvas train --resume {samples} --minutes 5"
        )
    if not first:
        return
    for note in dict.fromkeys(found.notes):
        _shared.say(note, beside=True)
    if not found.rows:
        raise GanvasError(
            f"Nothing was measured: {'; '.join(f'{name} left out, {why}' for name, why in found.skipped.items())}."
        )
    _finish(found, before, json, out, kept, unkept, pictured=not outdated)


def _keep(run: "Run", found: "Evaluation", stamps: Mapping[str, Any]) -> bool:
    """Add the figures to those of the run; False where the snapshot was removed meanwhile, or a training that has gone back made
    another one."""
    from ganvas.report import artifacts

    run.check_home()
    now, names = run.stamps(), {Path(row.snapshot).parent.name for row in found.rows}
    # Figures of one that is new are kept: the training that makes it once more drops them.
    anew = [name for name in sorted(names & stamps.keys()) if stamps[name] != now.get(name)]
    if anew:
        _shared.say(
            f"note: snapshot {', '.join(anew)} was removed or made anew while it was measured: its figures are not kept.",
            beside=True,
        )
        return False
    if found.rows:
        artifacts.forget(run, unknown=True)
    run.append_metrics([row.to_json() for row in found.rows])
    return True


def _finish(
    found: "Evaluation",
    before: "list[Row]",
    json: bool,
    out: Path | None,
    run: "Run | None",
    unkept: Exception | None,
    pictured: bool,
) -> None:
    """Tell the figures, whatever cannot be written of them or compared with those of `before`; keep them; then raise that."""
    from ganvas import io
    from ganvas.errors import GanvasError
    from ganvas.metrics import compare

    document = {
        "rows": [row.to_json() for row in found.rows],
        "skipped": found.skipped,
        "warnings": found.warnings,
    }
    earlier: dict[str, float | None] = {}
    failed = unkept
    try:
        earlier = {name: values[0] for name, values in compare(before, found.rows)} if before else {}
    except GanvasError as error:
        failed = failed or error
    if json:
        tell_figures = partial(_shared.answer, {**document, **({"before": earlier} if earlier else {})})
    else:
        tell_figures = partial(_show, found, earlier)
    with ExitStack() as last:
        last.callback(tell_figures)
        if out is not None:
            io.write_json(out, document)
        if run is not None and unkept is None:
            _report(run, found, pictured)
        if failed is not None:
            raise failed


def _report(run: "Run", found: "Evaluation", pictured: bool) -> None:
    """The report of the run with these figures, and with their pictures where they are kept."""
    from ganvas.errors import GanvasError
    from ganvas.report import save_artifacts, write_report

    try:
        if pictured:
            save_artifacts(run, found)
        write_report(run)
    except GanvasError as error:  # whatever else is in the run
        _shared.say(f"note: no report was written: {error}", beside=True)


def _show(found: "Evaluation", earlier: "dict[str, float | None]") -> None:
    """A table for people."""
    from ganvas.cli._shared import Column, table
    from ganvas.metrics.rows import cells

    first = found.rows[0]
    kimg = f" at {first.kimg:,.1f} kimg" if first.kimg is not None else ""
    _shared.say(
        f"{first.source}{kimg}: {first.n:,} samples (seed {first.seed}) against {first.reference_n:,} of "
        f"{first.reference} ({first.fingerprint}), features {first.extractor}, resize {first.resize}"
        + (f", classes: {first.labels}" if first.labels else "")
    )
    shares = {
        "data": "classes in the reference's shares", "uniform": "as many samples of each class", "": "",
    }[first.labels]  # fmt: skip
    notes = [shares] if shares else []
    if found.held_out:
        notes.append(
            f"{found.held_out:,} of {first.reference} are kept out of the reference: they score the floor"
        )
    if notes:
        _shared.say("; ".join(notes), style="dim")
    heads, rows = cells(found.rows)
    drops = {"metric": 0, "value": 0, "±": 2, "better": 3}
    columns = [Column(head, head in ("metric", "better"), drops.get(head, 1)) for head in heads]
    if earlier:
        columns.append(Column("before"))
        old = [earlier.get(row.metric) for row in found.rows]
        rows = [[*row, "" if value is None else f"{value:.4g}"] for row, value in zip(rows, old, strict=True)]
    table(columns, rows)
    for name, why in found.skipped.items():
        _shared.say(f"{name} left out: {why}", style="dim")
    for warning in found.warnings:
        _shared.say(f"warning: {warning}", style="yellow")
