"""report.html: one file with the pictures, the curves and the command that made them. Opens anywhere, loads nothing."""

import html
import json
import math
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ganvas import arrays, io, pictures
from ganvas.config import to_dict
from ganvas.errors import GanvasError, printable
from ganvas.geometry import slerp
from ganvas.model import Model
from ganvas.model_data import CHANGED, has_changed, load_data_of
from ganvas.model_file import load
from ganvas.report import artifacts, verdicts
from ganvas.runs import Run

STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}
h1{margin-bottom:0}h2{margin-top:2.5rem}img{max-width:100%;image-rendering:pixelated;border:1px solid #ddd}
img.plot{image-rendering:auto;border:0}figure{margin:1rem 0;display:inline-block;vertical-align:top}
figcaption{color:#555}code,pre{background:#f4f4f4;padding:.1rem .3rem;overflow:auto}pre{padding:1rem}
td,th{padding:.2rem 1rem .2rem 0;text-align:left}.row figure{width:30%;margin-right:1%}
@media (prefers-color-scheme:dark){body{color:#ddd;background:#161616}code,pre{background:#262626}
figcaption{color:#aaa}img{border-color:#333}img.plot{background:#fff}}
"""


MOST_POINTS, MOST_LINES = 2000, 20
"""Of a plot, whose pixels show no more: a run from anybody may have half a million lines of statistics."""
COMPARED, FEWEST = 500, 8
"""Series, drawn and real, of the fans and spectra; and at the least."""
WIDE, NUMBERS = 2**16, 2**23
"""Numbers of a series above which there are fewer, and how many all of them have then."""
LARGEST = 1e30
"""Figure that is plotted as it is."""


def interpolation(model: Model, rows: int = 6, columns: int = 10, seed: int = 1) -> Image.Image:
    """Each row walks from one latent to another along the sphere, which keeps the length typical of a normal latent.

    Large pictures are shown at a fraction of their size; of large series there are fewer.
    """
    shape, factor = model.shape, 1
    if len(shape) == 3:
        factor = math.ceil(math.sqrt(rows * columns * math.prod(shape[1:]) / arrays.TOGETHER))
    else:
        columns = arrays.fitting(2 * rows * math.prod(shape), arrays.TOGETHER, columns)
    start, stop = model.latents(2 * rows, seed).repeat_interleave(columns, 0).chunk(2)
    walk = slerp(start, stop, torch.linspace(0, 1, columns).repeat(rows)[:, None])
    labels = None
    if model.generator.num_classes:
        labels = (torch.arange(rows) % model.generator.num_classes).repeat_interleave(columns)
        labels = labels.to(model.device)

    def drawn(part: Tensor, label: Tensor | None) -> Tensor:
        with torch.inference_mode():
            samples = model.generator(part.to(model.device), label)
        return pictures.smaller(model.to_data(samples).cpu(), factor)

    found = arrays.joined((drawn(*each) for each in arrays.split(walk, labels, model.at_once)), len(walk))
    if len(model.shape) == 2:
        return pictures.draw(found, schema=model.info.series)
    return pictures.grid(found, columns=columns)


def curves(run: Run) -> bytes | None:
    """Losses and logits over kimg as PNG bytes; None before the first line of statistics."""
    from matplotlib.figure import Figure

    stats = _thinned(run.stats())
    if len(stats) < 2:
        return None
    figure = Figure(figsize=(9, 3), dpi=110)
    x = [record["kimg"] for record in stats]
    for place, title, names in (
        (121, "losses", [name for name in stats[-1] if name.startswith("loss_")]),
        (122, "mean logits of the critic", [name for name in stats[-1] if name.endswith("_logits")]),
    ):
        _lines(figure.add_subplot(place), title, x, stats, names)
    return pictures.plot_png(figure)


def signals(run: Run) -> bytes | None:
    """What the monitor measured over kimg as PNG bytes; None before its second measurement."""
    from matplotlib.figure import Figure

    probes = _thinned(verdicts.probes(run.stats()))
    if len(probes) < 2:
        return None
    figure = Figure(figsize=(9, 5.5), dpi=110)
    x = [record["kimg"] for record in probes]
    for place, title, names in (
        (221, "pairs (real, fake) that the critic ranks right", ("accuracy_train", "accuracy_held")),
        (
            222,
            "samples beside real ones",
            ("diversity", "spread", "modes", "nearest", "likeness"),
        ),
        (223, "distance to the data, movement, averaging", ("energy", "movement", "ema_drift")),
        (224, "over-fitting, augmentation", ("overfit", "augment_p")),
    ):
        shown = [name for name in names if any(name in record for record in probes)]
        _lines(figure.add_subplot(place), title, x, probes, shown)
    return pictures.plot_png(figure)


def _thinned(records: list[io.Json]) -> list[io.Json]:
    """At most `MOST_POINTS` of them, the last one too."""
    step = -(-len(records) // MOST_POINTS)
    return records[::-1][::step][::-1] if step > 1 else records


def _lines(
    axes: Any, title: str, x: Sequence[float], records: list[io.Json], names: Sequence[str]
) -> None:  # fmt: skip
    for name in names[:MOST_LINES]:
        values = [record.get(name, float("nan")) for record in records]
        if name == "energy":  # unbiased, so that it may be negative, which a distance is not
            values = [max(0.0, value) if value == value else value for value in values]
        # What is larger the plots have no ticks for.
        across, up = (np.clip(each, -LARGEST, LARGEST) for each in (x, values))
        axes.plot(across, up, label=pictures.literal(name.replace("_", " ")), linewidth=1.2)
    axes.set(title=title, xlabel="kimg")
    axes.grid(alpha=0.3)
    if names:
        axes.legend(frameon=False, fontsize=8)


def diagnosis(run: Run) -> list[str]:
    """The HTML of the monitor's verdicts; empty without measurements."""
    records = run.stats()
    found, stretches = verdicts.of(records), verdicts.problems(records)
    parts = [
        f"<p><b>{html.escape(v.name)}</b>: {html.escape(v.text)} {html.escape(v.fix)}</p>" for v in found
    ]
    if not found and verdicts.probes(records):
        parts.append(f"<p>{html.escape(verdicts.nothing(records))}</p>")
    if stretches:
        parts.append("<table><tr><th>verdict<th>from kimg<th>to kimg</tr>")
        parts += [
            f"<tr><td>{html.escape(name)}<td>{first:.1f}<td>{last:.1f}</tr>"
            for name, first, last in stretches
        ]
        parts.append("</table>")
    return parts


def write_report(run: Run) -> Path:
    """Write report.html into the run folder and return its path."""
    model = load(run.path, device="cpu", critic=False)
    info = run.info
    try:
        data, versions, command = dict(info["data"]), dict(info["versions"]), str(info["command"])
        name, mark = str(data["name"]), str(data["fingerprint"])
        trained_on, held_out = int(data["trained_on"]), int(data["held_out"])
    except (KeyError, TypeError, ValueError) as error:
        raise GanvasError(f"{run.config_path} is damaged, no report is made of it: {error!r}.") from error
    samples = run.previews
    shown = (
        [samples[round(i * (len(samples) - 1) / 5)] for i in range(min(6, len(samples)))] if samples else []
    )
    parts = [
        f"<h1>{html.escape(run.path.name)}</h1>",
        f"<p>{html.escape(name)}: {trained_on:,} samples trained on, "
        f"{held_out:,} held out; {model.info.kimg or 0:,.1f} kimg.</p>",
        f"<p>Made by <code>{html.escape(printable(command))}</code></p>",
        f"<p>Trained in private: {model.info.privacy}.</p>" if model.info.privacy else "",
        "<h2>Samples</h2><p>Never chosen: the first latents of the run's seed.</p>",
    ]
    drawn = "drawn by the averaged generator"
    if len(model.shape) == 3 and (model.encoder is not None or run.config.method.name == "latent"):
        drawn = "originals, their reconstructions and samples, by the averaged networks"
    for path, caption in (
        *((p, drawn) for p in samples[-1:]),
        (run.samples_path / "reals.png", "real, for comparison"),
    ):
        if (content := artifacts.picture(run, path)) is not None:
            parts.append(_figure(content, caption))
    if len(model.shape) > 1:
        walk = interpolation(model) if len(model.shape) == 3 else interpolation(model, 2, pictures.ACROSS)
        parts += [
            "<h2>A walk through the latent space</h2>",
            _figure(pictures.png(walk), "each row goes from one latent (left) to another (right)"),
        ]
    if model.info.series is not None:
        parts += ["<h2>Beside the data</h2>", *_of_series(model)]
    if quality := artifacts.section(run):
        parts += ["<h2>Quality</h2>", *quality]
        parts += [_figure(content, caption) for content, caption in artifacts.saved_pictures(run)]
    if found := artifacts.leaks(run):
        parts += ["<h2>What it gives away</h2>", *found]
        content = artifacts.audit_picture(run)
        parts += [] if content is None else [_figure(content, "the closest pairs")]
    if (plot := artifacts.curve(run)) is not None:
        parts += ["<h2>Quality over training</h2>", _figure(plot, "", "plot")]
    if found := diagnosis(run):
        parts += ["<h2>Diagnosis</h2>", *found]
    if (plot := signals(run)) is not None:
        parts += ["<h2>What the monitor saw</h2>", _figure(plot, "", "plot")]
    if (plot := curves(run)) is not None:
        parts += ["<h2>Training</h2>", _figure(plot, "", "plot")]
    if len(shown) > 2:
        parts += ["<h2>How it came about</h2><div class=row>"]
        parts += [
            _figure(content, f"{int(p.stem)} kimg")
            for p in dict.fromkeys(shown)
            if (content := artifacts.picture(run, p)) is not None
        ]
        parts += ["</div>"]
    parts += [
        "<h2>Config</h2>",
        f"<pre>{html.escape(json.dumps(to_dict(run.config), indent=2))}</pre>",
        f"<p>{html.escape(', '.join(f'{k} {v}' for k, v in versions.items()))}; data {html.escape(mark)}</p>",
    ]
    page = (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width,initial-scale=1'>"
        f"<title>{html.escape(run.path.name)} - ganvas</title><style>{STYLE}</style>\n"
        + "\n".join(parts)
        + "</html>\n"
    )
    path = run.path / "report.html"
    run.check_home()
    io.write_bytes(path, page.encode())
    return path


def _of_series(model: Model) -> list[str]:
    """Fans and spectra of as many drawn and real series; of the drawn ones alone where the data are not at hand."""
    real, labels, words = None, None, list[str]()
    count, numbers = COMPARED, math.prod(model.shape)
    if numbers > WIDE:
        count = arrays.fitting(numbers, NUMBERS, COMPARED, FEWEST)
    with suppress(GanvasError):
        data, config = load_data_of(model, download=False)
        if has_changed(model, data, config):
            words = [f"<p>Without real ones: {html.escape(data.name)} {CHANGED}.</p>"]
            raise GanvasError(CHANGED)
        train, _ = data.split(config.holdout, config.fold)
        rows = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))[:count]
        found, kinds = train.take(rows)
        real = model.decode(found)
        # In the shares of the data: of other classes the two would differ by these alone.
        if model.generator.num_classes and data.num_classes == model.generator.num_classes:
            labels = kinds
    sets = [("drawn", model.series(count, labels=labels)), *([] if real is None else [("real", real)])]
    said = "the middle 50 and 90 % of the values at every step, and the median"
    return [
        *words,
        _figure(pictures.png(pictures.fans(sets)), said, "plot"),
        _figure(pictures.png(pictures.spectra(sets)), "mean power at each frequency", "plot"),
    ]


def _figure(content: bytes, caption: str, kind: str = "") -> str:
    return (
        f"<figure><img class='{kind}' alt='{html.escape(caption)}' src='{pictures.data_url(content)}'>"
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
    )
