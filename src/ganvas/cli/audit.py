"""`ganvas audit`"""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from ganvas.cli import _shared

if TYPE_CHECKING:
    from PIL.Image import Image

    from ganvas.privacy import Audit
    from ganvas.runs import Run


def run(
    model: Annotated[Path, tyro.conf.Positional],
    *,
    data: str | None = None,
    held_out: str | None = None,
    against: Path | None = None,
    n: int = 10_000,
    extractor: str = "raw",
    reconstruct: int = 64,
    seed: int = 0,
    fail_above: float | None = None,
    out: Path | None = None,
    device: str = "auto",
    json: bool = False,
) -> int:
    """Find what a generator gives away of its training data: copies, who was among them, and of series the rest of a record.

    Every test runs again with copies of training images planted among the samples, which says what it would have noticed.

    Args:
        model: A run folder, snapshot, .safetensors file or packaged name; or samples: a folder, .zip, .npy or .npz.
        data: What it was trained on. Default: as the model says.
        held_out: Samples of the same kind that it has not seen. Default: the part that ganvas holds out of every training.
        against: Another model or samples, trained on other data of the kind: the reference of the attacks that take one.
        n: Samples to draw.
        extractor: What pictures are compared by; raw is pixels, which no training has bent.
        reconstruct: Members, and as many others, that are searched for in the latent space; 0 for none.
        seed: Of the samples and of every choice.
        fail_above: Exit with code 1 when the AUC of an attack is above this.
        out: Picture of the closest pairs (.png). Default: evaluation/audit.png in a run, else none.
        device: auto, cpu, cuda or mps.
        json: Print everything as JSON.
    """
    from ganvas import io
    from ganvas.arrays import number
    from ganvas.privacy import audit
    from ganvas.privacy.auditing import picture
    from ganvas.runs import is_run, open_run

    if fail_above is not None:
        number(fail_above, "--fail-above", least=0, most=1)
    kept = open_run(model).anchored() if is_run(model) and io.writable(model) else None
    newest = [] if kept is None else list(kept.stamps().items())[-1:]  # that of now: a training may go on
    places = [] if out is None else [out]
    if kept is not None:
        kept.check_folders()
        places.append(kept.path / "evaluation" / "audit.png")
    for place in places:
        _shared.outputs(place, ".png")
    with _shared.progress() as tell:
        found = audit(
            model, data, held_out=held_out, against=against, n=n, extractor=extractor, reconstruct=reconstruct, seed=seed,
            device=device, progress=tell,
        )  # fmt: skip
    for note in found.notes:
        _shared.say(note, beside=True)
    document = found.to_json()
    shown = picture(found)
    if kept is not None and newest and list(kept.stamps().items())[-1:] == newest:
        document["snapshot"] = newest[0][0]  # else which of them it was is not known
    with ExitStack() as last:
        # Whatever cannot be written of them: they may have taken hours.
        if json:
            last.callback(_shared.answer, document)
        else:
            last.callback(_show, found)
        _keep(kept, places, shown, document)
    if out is not None and shown is None:
        _shared.say("note: there are pairs to show of pictures alone, so --out was not written.", beside=True)
    failed = fail_above is not None and found.largest > fail_above
    if not json and shown is not None and places:
        _shared.say(f"-> {places[0]}")
    if failed:
        _shared.say(f"The best attack has an AUC of {found.largest:.3f}, above {fail_above:g}.", beside=True)
    return int(failed)


def _keep(kept: "Run | None", places: list[Path], shown: "Image | None", document: dict[str, Any]) -> None:
    """The picture, and what a run keeps of its audit."""
    from ganvas.report import save_audit, write_report

    if shown is not None:
        for place in places if kept is None else places[:-1]:
            _shared.write_picture(place, shown)
    if kept is None:
        return
    save_audit(kept, document, shown)
    write_report(kept)


def _show(found: "Audit") -> None:
    """Tables and a verdict for people."""
    from ganvas.cli._shared import Column, table
    from ganvas.privacy.auditing import written

    def told(heard: Mapping[str, bool]) -> str:
        return ", ".join(name for name, each in heard.items() if each) or "none"

    _shared.say(
        f"{found.source}: {found.samples:,} samples beside {found.train:,} of {found.data} and {found.held_out:,} it has "
        f"not seen, compared by {found.view}"
    )
    heads, rows = found.cells()
    table([Column(head, index < 2, (0, 2, 0, 0, 1, 2)[index]) for index, head in enumerate(heads)], rows)
    heads, rows = found.told()
    if rows:
        table(
            [Column(head, index < 1, (0, 0, 0, 4, 0, 1, 3, 2, 5)[index]) for index, head in enumerate(heads)],
            rows,
        )
    for control in found.controls:
        noticed = told(control.noticed) if any(control.noticed.values()) else "none of the attacks"
        _shared.say(
            f"planted {control.rate:.1%} copies: {control.found:,} of {control.planted:,} found (p {written(control.chance)}); "
            f"noticed by {noticed}"
            + ("" if not found.inferences else f"; by guesses of {told(control.inferred)}")
        )
    if found.copying is not None:
        _shared.say(
            f"C_T {found.copying[0]:.2f} ± {found.copying[1]:.2f}, authenticity {found.authenticity:.2f}"
        )
    for line in found.warnings:
        _shared.say(f"warning: {line}", beside=True)
    _shared.say("\n".join(found.verdict()))
