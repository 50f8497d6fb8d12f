"""`ganvas train`"""

import json as json_module
from pathlib import Path
from typing import Annotated, Literal

import tyro

from ganvas.errors import GanvasError


def run(
    data: Annotated[str | None, tyro.conf.Positional] = None,
    *,
    preset: str | None = None,
    kimg: float | None = None,
    minutes: float | None = None,
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
    network: str | None = None,
    loss: str | None = None,
    penalty: tuple[str, ...] | None = None,
    gamma: float | None = None,
    eval_kimg: float | None = None,
    conditional: bool = False,
    set: tuple[str, ...] = (),
    dry_run: bool = False,
    json: bool = False,
) -> None:
    """Train a generator and a critic.

    Args:
        data: A name from `ganvas list datasets`, a folder or .zip of images, an .npy or .npz array, hub:org/name.
        preset: From `ganvas list presets`. Default: small for images, toy for points.
        kimg: Stop after so many thousand images.
        minutes: Stop after so many minutes.
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
        network: From `ganvas list networks`.
        loss: From `ganvas list losses`.
        penalty: One or more of `ganvas list penalties`, or none.
        gamma: Weight of the penalty.
        eval_kimg: Measure a few samples every so many kimg and keep the best snapshot in snapshots/best.
        conditional: Feed the labels to both networks, to draw chosen classes later.
        set: Single settings by their path in config.json, for instance optimizer.lr_critic=0.001.
        dry_run: Print the resolved config and stop.
        json: Print the outcome as JSON on stdout; progress stays on stderr.
    """
    from ganvas import training
    from ganvas.config import to_dict

    settings = dict(_setting(text) for text in set)
    if eval_kimg is not None:
        settings["training.eval_kimg"] = eval_kimg
    given = {
        "preset": preset, "kimg": kimg, "minutes": minutes, "batch": batch, "seed": seed, "device": device,
        "precision": precision, "network": network, "loss": loss, "penalty": penalty, "gamma": gamma,
        "conditional": conditional or None, "settings": settings or None,
    }  # fmt: skip
    given = {key: value for key, value in given.items() if value is not None}
    if dry_run:
        if data is None or resume is not None:
            raise GanvasError("--dry-run shows the config of a new run: give a data set and no --resume.")
        config, dataset = training.plan(data, resolution=resolution, resize=resize, mirror=mirror, **given)
        if not json:
            for line in (*dataset.notes, training.describe(config, dataset)):
                print(line)
        print(json_module.dumps(to_dict(config), indent=2))
        return
    result = training.train(
        data,
        out=out,
        name=name,
        resume=resume,
        resolution=resolution,
        resize=resize,
        mirror=mirror,
        **given,  # type: ignore[arg-type]
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


def _setting(text: str) -> tuple[str, object]:
    path, equals, value = text.partition("=")
    if not equals:
        raise GanvasError(f"--set wants PATH=VALUE, for instance optimizer.lr_critic=0.001; got {text!r}.")
    try:
        return path, json_module.loads(value)
    except ValueError:
        return path, value
