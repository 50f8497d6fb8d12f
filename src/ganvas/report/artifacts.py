"""What an evaluation leaves in the run folder for the report: pictures, a table, the curve over snapshots."""

import html
import re
from contextlib import suppress
from hashlib import sha256
from itertools import islice
from pathlib import Path

import torch
from PIL.Image import Image
from torch import Tensor

from ganvas import io, pictures
from ganvas.data.decode import decode
from ganvas.errors import GanvasError, printable
from ganvas.metrics import Evaluation, Row
from ganvas.metrics.rows import cells, rows_among
from ganvas.runs import Run, is_own, trained_beyond

AUDIT = "audit.json"
SHOWN_OF = "shown.json"
"""Which figures the pictures are of."""
PICTURES = {
    "nearest": "random samples (above) and their nearest real images in feature space (below)",
    "realism": "the samples with the best (above) and the worst (below) realism",
}
"""Name -> caption."""
ALIKE = ("extractor", "resize", "fingerprint", "n", "reference_n", "seed", "source", "split", "labels")
"""What figures of one evaluation have in common."""
SHOWN = 10
MOST_LINES, LONGEST_LINE = 20, 2000
"""Of an audit.json."""
WHOLE_PICTURE = 2**24
"""Bytes, and pixels, of a picture that goes onto a page as it is: more than one of `SHOWN_SIDE` has."""
SHOWN_SIDE = 2048
"""Pixels of a side of those that are larger: of a dozen each is held several times over."""
MOST_MEGAPIXELS = 100.0
"""Of a picture that is brought to that: 64 samples of 1024 px have 67."""


def picture(run: Run, path: Path) -> bytes | None:
    """A PNG of this run as a page shows it: a large one smaller. None for what is none, is too large, or lies elsewhere."""
    content = run.picture(path)
    if content is None:
        return None
    # Its header begins with both sides: a browser takes what is unfolded, whatever the bytes are.
    pixels = int.from_bytes(content[16:20], "big") * int.from_bytes(content[20:24], "big")
    if max(len(content), pixels) <= WHOLE_PICTURE:
        return content
    try:
        shown = decode(content, MOST_MEGAPIXELS)
    except Exception:  # Pillow raises many kinds
        return None
    shown.thumbnail((SHOWN_SIDE, SHOWN_SIDE))
    return pictures.png(shown)


def forget(run: Run, unknown: bool = False) -> None:
    """Remove the pictures of the last evaluation; with `unknown` only where nothing says which figures they are of, as of before:
    they would stand below others."""
    if unknown and "of" in _own(run, SHOWN_OF):
        return
    _remove(run, *(f"{name}.png" for name in PICTURES), SHOWN_OF)


def forget_audit(run: Run, kimg: float, anew: str = "") -> str:
    """Remove what `ganvas audit` found of a snapshot beyond `kimg`, or of one that was made `anew` under its name.

    Its name, "" where there is none.
    """
    name = _own(run, AUDIT).get("snapshot")
    if not isinstance(name, str) or not re.fullmatch("[0-9]{6,20}", name):
        return ""
    if name != anew and int(name) <= kimg and not trained_beyond(run.path / "snapshots" / name, kimg):
        return ""
    _remove(run, AUDIT, "audit.png")
    return name


def _own(run: Run, name: str) -> io.Json:
    """What an evaluation left; {} for nothing, for what is damaged, and for what a link in a run from anybody leads to."""
    path = run.path / "evaluation" / name
    with suppress(GanvasError):
        if is_own(path, run.path):
            return io.read_json(path)
    return {}


def _remove(run: Run, *names: str) -> None:
    run.check_home()
    for name in names:
        with suppress(OSError):
            (run.path / "evaluation" / name).unlink()


def save_artifacts(run: Run, found: Evaluation) -> None:
    """Pictures of random samples above their nearest real ones, and of the samples with the best and worst realism.

    Which figures they are of is written first: after a kill, and of two at once, the report shows none of another evaluation.
    """
    drawn = _drawn(found)
    digests = {name: sha256(content).hexdigest() for name, content in drawn.items()}
    _save(run, SHOWN_OF, {"of": _of(found.rows[-1]), "pictures": digests}, drawn)
    _remove(run, *(f"{name}.png" for name in PICTURES if name not in drawn))


def save_audit(run: Run, document: io.Json, drawn: Image | None) -> None:
    """What `ganvas audit` found, and its closest pairs: those of an audit before would stand below these figures."""
    content = b"" if drawn is None else pictures.png(drawn)
    _save(
        run,
        AUDIT,
        {**document, "picture": sha256(content).hexdigest()},
        {"audit": content} if content else {},
    )
    if not content:
        _remove(run, "audit.png")


def _save(run: Run, name: str, document: io.Json, drawn: dict[str, bytes]) -> None:
    run.check_home()
    io.write_json(run.path / "evaluation" / name, document)
    for each, content in drawn.items():
        run.check_home()
        io.write_bytes(run.path / "evaluation" / f"{each}.png", content)


def _of(row: Row) -> list[object]:
    """Which evaluation a figure is of."""
    return [row.snapshot, row.kimg, *(getattr(row, field) for field in ALIKE)]


def _drawn(found: Evaluation) -> dict[str, bytes]:
    """The pictures as PNG bytes by name; none of what is no picture."""
    if found.samples is None or found.reference is None or not found.reference.is_images:
        return {}
    if min(len(found.samples), len(found.reference)) <= 5:
        return {}
    samples = found.samples
    random = torch.randperm(len(samples), generator=torch.Generator().manual_seed(0))[:SHOWN]
    reals = found.reference.take(found.inputs.nearest.which[random].cpu())[0]
    order = torch.from_numpy(found.inputs.equal[2])[
        found.inputs.neighbours.realism.cpu().argsort(descending=True)
    ]
    best, worst = order[:SHOWN], order[-SHOWN:].flip(0)
    return {
        "nearest": _sheet(torch.cat([samples[random], _fit(reals, samples)])),
        "realism": _sheet(torch.cat([samples[best], samples[worst]])),
    }


def _fit(images: Tensor, like: Tensor) -> Tensor:
    """Real images at the size and with the channels of the samples, for a picture only."""
    if images.shape[1] != like.shape[1]:
        images = images.expand(-1, 3, -1, -1) if like.shape[1] == 3 else images[:, :1]
    if images.shape[2:] != like.shape[2:]:
        images = torch.nn.functional.interpolate(images, like.shape[2:])
    return images


def _sheet(images: Tensor) -> bytes:
    return pictures.png(pictures.grid(images, columns=max(1, len(images) // 2)))


def section(run: Run) -> list[str]:
    """The HTML of the report's section on quality; empty before the first evaluation. Pictures are named, not inlined."""
    full = [row for row in rows_among(run.metrics()) if row.source != "training"]
    if not full:
        return []
    last = full[-1]
    shown = {row.metric: row for row in full if _same(row, last) and row.kimg == last.kimg}
    how = ", ".join([f"seed {last.seed}", *([last.classes] if last.classes else [])])
    parts = [
        f"<p>{last.n:,} samples ({how}) at {last.kimg or 0:,.1f} kimg against {last.reference_n:,} of "
        f"{html.escape(last.reference)} ({html.escape(last.fingerprint)}); features {html.escape(last.extractor)}, resize "
        f"{html.escape(last.resize)}. The floor is what held-out real samples score.</p>",
        "<table>",
    ]
    heads, lines = cells(list(shown.values()))
    parts.append("<tr>" + "".join(f"<th>{html.escape(each)}" for each in heads) + "</tr>")
    parts += ["<tr>" + "".join(f"<td>{html.escape(each)}" for each in line) + "</tr>" for line in lines]
    return [*parts, "</table>"]


def leaks(run: Run) -> list[str]:
    """The HTML of what `ganvas audit` found; empty before the first. A run may come from anybody: all of it is text."""
    path = run.path / "evaluation" / AUDIT
    if not path.is_file() or not is_own(path, run.path):
        return []
    try:
        found = io.read_json(path)
        lines = [str(line)[:LONGEST_LINE] for line in found["verdict"][:MOST_LINES]]
        rows = [
            (
                name[:100],
                str(each["needs"])[:100],
                [float(each["auc"][key]) for key in ("value", "low", "high")],
            )
            for name, each in islice(found["attacks"].items(), MOST_LINES)
        ]
        told = [  # runs of before have none
            (
                name[:100],
                [float(of_all[key]) for key in ("train", "held_out")] + [float(each["baseline"])],
                [float(of_all["risk"][key]) for key in ("value", "low", "high")],
            )
            for name, each in islice(found.get("inferences", {}).items(), MOST_LINES)
            for of_all in [each["guesses"]["1"]]
        ]
    except (GanvasError, KeyError, TypeError, ValueError, AttributeError):
        return [f"<p>{html.escape(path.name)} is damaged. Make it anew: ganvas audit.</p>"]
    parts = [f"<p>{html.escape(line)}</p>" for line in lines]
    if isinstance(snapshot := found.get("snapshot"), str):
        parts.insert(0, f"<p>Of snapshot {html.escape(printable(snapshot[:LONGEST_TITLE]))}.</p>")
    parts.append("<table><tr><th>attack<th>needs<th>AUC<th>from<th>to</tr>")
    parts += [
        f"<tr><td>{html.escape(name)}<td>{html.escape(needs)}{''.join(f'<td>{figure:.4g}' for figure in figures)}</tr>"
        for name, needs, figures in rows
    ]
    parts.append("</table>")
    if told:
        parts.append(
            "<table><tr><th>right guesses of<th>trained on<th>others<th>without samples<th>risk<th>from<th>to</tr>"
        )
        parts += [
            f"<tr><td>{html.escape(name)}{''.join(f'<td>{figure:.4g}' for figure in [*rates, *risk])}</tr>"
            for name, rates, risk in told
        ]
        parts.append("</table>")
    return parts


LONGEST_TITLE = 200
"""Letters of an extractor's name above the curve: one from anybody may have thousands, which take their time to draw."""


def curve(run: Run) -> bytes | None:
    """Frechet distance over kimg as PNG bytes, from the largest group of figures that may be compared."""
    from matplotlib.figure import Figure

    groups: dict[tuple[object, ...], dict[float, Row]] = {}
    for row in rows_among(run.metrics()):
        if row.metric == "frechet" and row.kimg is not None and 0 < row.value < 1e30 and 0 <= row.kimg < 1e30:
            key = (row.extractor, row.resize, row.fingerprint, row.n, row.reference_n, row.split, row.labels)
            groups.setdefault(key, {})[row.kimg] = row
    found = max(groups.values(), key=len, default={})
    if len(found) < 2:
        return None
    rows = [found[kimg] for kimg in sorted(found)]
    figure = Figure(figsize=(9, 3), dpi=110)
    axes = figure.add_subplot()
    errors = [max(0.0, row.error or 0.0) for row in rows]
    axes.errorbar(
        [row.kimg or 0.0 for row in rows],
        [row.value for row in rows],
        errors,
        marker=".",
        linewidth=1.2,
        capsize=2,
    )
    title = f"{pictures.literal(rows[0].extractor[:LONGEST_TITLE])}, N = {rows[0].n:,}"
    axes.set(xlabel="kimg", ylabel="Frechet distance", title=title, yscale="log")
    axes.grid(alpha=0.3, which="both")
    return pictures.plot_png(figure)


def saved_pictures(run: Run) -> list[tuple[bytes, str]]:
    """(PNG, caption) of what `save_artifacts` wrote of the last figures; of runs of before all that is there."""
    about = _own(run, SHOWN_OF)
    if "of" in about:
        full = [row for row in rows_among(run.metrics()) if row.source != "training"]
        if not full or about["of"] != _of(full[-1]):
            return []
        known = about.get("pictures")
        digests = known if isinstance(known, dict) else {}
        found = [(shown(run, name, digests.get(name, "")), text) for name, text in PICTURES.items()]
    else:
        found = [(shown(run, name, None), text) for name, text in PICTURES.items()]
    return [(content, text) for content, text in found if content is not None]


def audit_picture(run: Run) -> bytes | None:
    """The closest pairs of the audit that is shown."""
    return shown(run, "audit", _own(run, AUDIT).get("picture"))


def shown(run: Run, name: str, digest: object) -> bytes | None:
    """A picture of an evaluation as PNG bytes; None where it is not that of the figures, as two at once, or a kill, may leave it.

    Of before nobody knows: `digest` is None.
    """
    path = run.path / "evaluation" / f"{name}.png"
    if digest is not None and digest != sha256(run.picture(path) or b"").hexdigest():
        return None
    return picture(run, path)


def _same(row: Row, other: Row) -> bool:
    return all(getattr(row, field) == getattr(other, field) for field in ALIKE)
