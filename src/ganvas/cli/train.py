"""`ganvas train`"""

import json as json_module
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from ganvas.errors import GanvasError


def run(
    data: Annotated[tuple[str, ...], tyro.conf.Positional] = (),
    *,
    preset: str | None = None,
    size: Literal["xs", "s", "m", "l"] | None = None,
    kimg: float | None = None,
    minutes: float | None = None,
    more: float | None = None,
    batch: int | None = None,
    seed: int | None = None,
    device: str | None = None,
    precision: str | None = None,
    out: Path = Path("runs"),
    name: str | None = None,
    resume: Path | None = None,
    resolution: int | None = None,
    resize: Literal["crop", "fit", "stretch"] | None = None,
    mirror: bool = False,
    balance: bool = False,
    network: str | None = None,
    loss: str | None = None,
    penalty: tuple[str, ...] | None = None,
    gamma: float | None = None,
    eval_kimg: float | None = None,
    conditional: bool = False,
    augment: tuple[str, ...] | None = None,
    on_collapse: Literal["warn", "stop", "rollback"] | None = None,
    set: Annotated[tuple[str, ...], tyro.conf.arg(metavar="PATH=VALUE")] = (),
    seeds: int = 0,
    folds: int = 0,
    dry_run: bool = False,
    json: bool = False,
) -> int | None:
    """Train a generator and a critic.

    Args:
        data: A name from `ganvas list datasets`, a folder or .zip of images, an .npy or .npz array, hub:org/name. Several
            share one generator, with the set as the label.
        preset: From `ganvas list presets`. Default: small for images, toy for points.
        size: Width of the networks: half (xs), as in the preset (s), double (m) or four times (l).
        kimg: Stop after so many thousand images.
        minutes: Stop after so many minutes.
        more: With --resume: so many minutes beside those that the run has had.
        batch: Images in a step.
        seed: Of weights, order and latents.
        device: auto, cpu, cuda or mps.
        precision: auto, fp32 or bf16; auto takes bf16 where the hardware has it.
        out: Folder of the run folders.
        name: Last part of the run folder's name.
        resume: Go on with this run folder where its last state is.
        resolution: Side of the images in pixels.
        resize: How images of other sizes get there.
        mirror: Flip half of the images left-right.
        balance: Show every class or data set equally often.
        network: From `ganvas list networks`; brings the widths, loss and rates of its own preset.
        loss: From `ganvas list losses`.
        penalty: One or more of `ganvas list penalties`, or none.
        gamma: Weight of r1, r2 and wgan-gp; other penalties keep theirs.
        eval_kimg: Measure a few samples every so many kimg and keep the best snapshot in snapshots/best.
        conditional: Feed the labels to both networks, to draw chosen classes later.
        augment: diffaugment, ada, ada-diffaugment, apa, none, or some of `ganvas list augmentations`: for small data.
        on_collapse: When the monitor sees a mode collapse: warn, stop, or go back to the last healthy state.
        set: Single settings by their path in config.json, for instance optimizer.lr_critic=0.001.
        seeds: Train so many times with other seeds, measure each, report mean and spread.
        folds: The same, with another part of the data held out each time.
        dry_run: Print the resolved config and stop.
        json: Print the outcome as JSON on stdout; progress stays on stderr.
    """
    from ganvas import training
    from ganvas.config import to_dict

    settings = dict(_setting(text) for text in set)
    if eval_kimg is not None:
        settings["training.eval_kimg"] = eval_kimg
    given: dict[str, Any] = {
        "preset": preset, "size": size, "kimg": kimg, "minutes": minutes, "batch": batch, "seed": seed, "device": device,
        "precision": precision, "network": network, "loss": loss, "penalty": penalty, "gamma": gamma,
        "conditional": conditional or None, "augment": augment, "on_collapse": on_collapse, "settings": settings or None,
    }  # fmt: skip
    given = {key: value for key, value in given.items() if value is not None}
    if dry_run:
        if not data or resume is not None:
            raise GanvasError("--dry-run shows the config of a new run: give a data set and no --resume.")
        config, dataset = training.plan(
            data, resolution=resolution, resize=resize, mirror=mirror, balance=balance, **given
        )
        if not json:
            for line in (*dataset.notes, training.describe(config, dataset)):
                print(line)
        print(json_module.dumps(to_dict(config), indent=2))
        return None
    if seeds or folds:
        if more is not None:
            raise GanvasError(
                "--more adds minutes to a run that there is; --seeds and --folds start new ones."
            )
        _repeat(data, seeds, folds, out, name, resume, resolution, resize, mirror, balance, given, json)
        return None
    result = training.train(
        data,
        out=out,
        name=name,
        resume=resume,
        resolution=resolution,
        resize=resize,
        mirror=mirror,
        balance=balance,
        more=more,
        **given,
    )
    if json:
        print(
            json_module.dumps(
                {
                    "run": str(result.run.path),
                    "kimg": result.kimg,
                    "seconds": round(result.seconds, 3),
                    "stopped": result.stopped,
                    "snapshot": str(result.run.snapshots[-1]),
                }
            )
        )
    return 130 if result.stopped == "interrupted" else None


def _repeat(
    data: tuple[str, ...],
    seeds: int,
    folds: int,
    out: Path,
    name: str | None,
    resume: Path | None,
    resolution: int | None,
    resize: Literal["crop", "fit", "stretch"] | None,
    mirror: bool,
    balance: bool,
    given: dict[str, Any],
    json: bool,
) -> None:
    from ganvas.cli._shared import Column, table
    from ganvas.training.repeat import repeat

    if not data or resume is not None:
        raise GanvasError("--seeds and --folds start new runs: give a data set and no --resume.")
    found = repeat(
        data, seeds=seeds, folds=folds, out=out, name=name, resolution=resolution, resize=resize, mirror=mirror,
        balance=balance, **given,
    )  # fmt: skip
    if json:
        print(found.path.read_text())
        return
    columns = [
        Column("metric", left=True), Column("mean"), Column("spread"), Column("floor", drop=1),
        Column("each", left=True, drop=2),
    ]  # fmt: skip
    rows = []
    for metric, each in found.values.items():
        floor = sum(found.floors[metric]) / len(each)
        cells = (f"{value:.4g}" for value in (found.mean(metric), found.spread(metric), floor))
        rows.append([metric, *cells, ", ".join(f"{value:.4g}" for value in each)])
    table(columns, rows)
    print(f"Written to {found.path}")


def _setting(text: str) -> tuple[str, object]:
    path, equals, value = text.partition("=")
    if not equals:
        raise GanvasError(f"--set wants PATH=VALUE, for instance optimizer.lr_critic=0.001; got {text!r}.")
    try:
        return path, json_module.loads(value)
    except ValueError:
        return path, value
