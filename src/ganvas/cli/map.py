"""`ganvas map`"""

from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from ganvas.cli import _shared

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.text import Annotation
    from PIL.Image import Image

    from ganvas.latent.map import Map
    from ganvas.model import Model


MEANING = {
    "density": "density: minus the log of the distance to the nearest samples",
    "critic-score": "critic score, in standard deviations",
}
"""What a colour stands for, in the words of the map."""
NUMBA = Path(".numba_config.yaml")
"""Settings of the current folder, which may be anybody's: they name a cache, of which numba unpickles what it finds."""
REAL, HELD = 3000, 2**30
"""Real images where nobody says another number, and numbers that they have at most."""


def run(
    model: Annotated[str, tyro.conf.Positional],
    *,
    method: Literal["tsne", "pca", "umap"] = "tsne",
    colour: str | None = None,
    data: str | None = None,
    space: str | None = None,
    n: int = 3000,
    real: int | None = None,
    seed: int = 0,
    out: Path = Path("map.png"),
    plain: bool = False,
    device: str = "auto",
    json: bool = False,
) -> None:
    """Map thousands of samples on a plane: density, critic score, classes, clusters with their typical and extreme images.

    Writes the map (`out`), an atlas of images at their places (-atlas.png), a sheet of the clusters (-clusters.png) and all
    numbers (.json).

    Args:
        model: A run or snapshot folder, a .safetensors file, or a name from `ganvas list models`.
        method: tsne and umap (when installed) keep neighbourhoods, pca keeps distances.
        colour: density, critic-score, class, or an attribute; default: density and class or critic-score side by side.
        data: Real data for holes and nearest images, in any size. Default: what the model was trained on, where that is at
            hand; or none.
        space: Whose metric is measured. Default: w where there is one, else z.
        n: How many samples.
        real: How many real images at most. Default: 3,000, of large pictures as many as take 1 GiB.
        seed: Of the samples, as `ganvas sample` draws them.
        out: A .png.
        plain: No text in the atlas and the clusters.
        device: auto, cpu, cuda or mps.
        json: Print the figures as JSON.
    """

    from ganvas import io, latent, pictures
    from ganvas.errors import GanvasError
    from ganvas.latent.critic import CRITIC_SCORE
    from ganvas.latent.map import NEIGHBOURS, colors, draw_map
    from ganvas.model_data import class_names, real_images_of
    from ganvas.model_file import load
    from ganvas.registry import did_you_mean

    atlas, sheet, figures = (
        out.with_name(f"{out.stem}{end}") for end in ("-atlas.png", "-clusters.png", ".json")
    )
    _shared.outputs(out, ".png", beside=[atlas, sheet, figures])
    if data == "none":
        _shared.unused("--data none asks for no real images", real=real)
    _check_numba(method)
    loaded = load(model, device=device)
    where = latent.open_space(loaded, space)
    if colour is not None:
        with _shared.progress() as tell:
            tell("what it can be coloured by", 0, 1)
            known = colors(where)
        if colour not in known:
            raise GanvasError(
                f"There is nothing called {colour!r} to colour by.{did_you_mean(colour, known)} Use one of {', '.join(known)}."
            )
    images, line = None, "none were asked for"
    if data != "none":
        most = min(REAL, HELD // prod(loaded.shape)) if real is None else real
        images, line = real_images_of(loaded, most, data, seed, more_than=NEIGHBOURS)
    with _shared.progress() as tell:
        found = draw_map(where, n, method, seed, images, progress=tell)
    words = list(found.words)
    without = "Without real images (no holes, no nearest ones)"
    words.append(f"{without if images is None else 'Real images'}: {line}")
    usual = [name for name in ("density", "class", CRITIC_SCORE) if name in found.values][:2]
    shown = [colour] if colour else usual
    drawn = {out: pictures.plot_png(_scatter(found, shown, method, class_names(loaded)))}
    if found.samples.dim() > 2:
        both = _pictures(found, loaded, plain)
        drawn |= {path: pictures.png(each) for path, each in zip((atlas, sheet), both, strict=True)}
    written = [str(path) for path in drawn]
    document: dict[str, Any] = {
        "model": model, "n": n, "method": method, "seed": seed, "words": words, "dimension": found.dimension,
        "spectrum": [float(value) for value in found.spectrum],
        "clusters": [
            {"number": c.number, "share": c.share, "real_share": c.real_share, "label": c.label, "typical": list(c.typical),
             "extreme": list(c.extreme)} for c in found.clusters
        ],
        "pictures": written,
    }  # fmt: skip
    places = {"places": found.places.round(4).tolist(), "cluster_of": found.cluster_of.tolist()}
    with _shared.telling(document, "\n".join(words), json):
        for path, picture in drawn.items():
            io.write_bytes(path, picture)
        io.write_json(figures, {**document, **places})
    if json:
        _shared.answer(document)
        return
    _shared.say("\n".join(words))
    _shared.say(f"-> {', '.join(written)}, {figures}")


def _check_numba(method: str) -> None:
    from ganvas.errors import GanvasError

    if method == "umap" and NUMBA.exists():
        raise GanvasError(
            f"{NUMBA} in this folder would say to numba, which --method umap runs on, what to run. Remove it, or take tsne."
        )


def _pictures(found: "Map", model: "Model", plain: bool) -> "tuple[Image, Image]":
    """The samples at their places, and those of each cluster."""
    from dataclasses import replace

    from ganvas import pictures

    real = None if found.real is None else model.shown(found.real)
    found = replace(found, samples=model.shown(found.samples), real=real)
    title = "" if plain else f"{len(found.places):,} samples on the map, one shown at each place"
    return pictures.atlas(found.samples, found.places, title=title), _clusters(found, plain)


def _clusters(found: "Map", plain: bool) -> "Image":
    """A row for each cluster: typical samples, extreme ones, and the real images nearest to the most typical ones."""
    import torch

    from ganvas import pictures
    from ganvas.latent.map import called

    parts = {
        "typical": max(len(c.typical) for c in found.clusters),
        "far out": max(len(c.extreme) for c in found.clusters),
    }
    rows, names = [], []
    for cluster in found.clusters:
        row = []
        for chosen, room in zip((cluster.typical, cluster.extreme), parts.values(), strict=True):
            tiles = found.samples[list(chosen)]
            row += [tiles, tiles.new_full((room - len(tiles), *tiles.shape[1:]), 128)]
        if found.real is not None and found.nearest_real is not None:
            row.append(found.real[found.nearest_real[list(cluster.typical[:2])]])
        rows.append(torch.cat(row))
        names.append(f"{called(cluster)}, {cluster.share:.0%} of all")
    heads = [name for name, room in parts.items() for _ in range(room)]
    heads += ["real"] * (max(map(len, rows)) - len(heads))
    title = "Clusters: their most typical samples, those furthest out, and nearest real images"
    return pictures.sheet(rows, names, heads=heads, title=title, plain=plain)


def _scatter(found: "Map", shown: list[str], method: str, classes: Sequence[str]) -> "Figure":
    import matplotlib
    import numpy as np
    from matplotlib.figure import Figure

    from ganvas import pictures

    figure = Figure(figsize=(8.5 * len(shown), 7), dpi=100)
    labels: list[Annotation] = []
    for i, name in enumerate(shown):
        axes = figure.add_subplot(1, len(shown), i + 1)
        if found.real_places is not None:
            axes.scatter(
                found.real_places[:, 0],
                found.real_places[:, 1],
                s=2,
                c="lightgrey",
                linewidths=0,
                label="real images",
            )
        values = found.values[name]
        if name == "class":
            colours = matplotlib.colormaps["tab10" if values.max() < 10 else "tab20"]
            drawn = np.unique(values).astype(int)
            for number in drawn if len(drawn) <= colours.N else ():
                label = pictures.brief(classes[number]) if number < len(classes) else str(number)
                at = found.places[values == number]
                colour = colours(number % colours.N)
                axes.scatter(at[:, 0], at[:, 1], s=5, color=colour, linewidths=0, label=label)
            if len(drawn) > colours.N:  # a colour stands for several, so that no name can stand beside it
                inks = [colours(int(number) % colours.N) for number in values]
                axes.scatter(found.places[:, 0], found.places[:, 1], s=5, color=inks, linewidths=0)
        else:
            dots = axes.scatter(
                found.places[:, 0], found.places[:, 1], s=5, c=values, cmap="viridis", linewidths=0
            )
            figure.colorbar(dots, ax=axes, shrink=0.8, label=MEANING.get(name, name))
        if axes.get_legend_handles_labels()[0]:
            axes.legend(
                loc="upper left", bbox_to_anchor=(0, -0.02), ncols=4, fontsize=8, markerscale=3, frameon=False
            )
        for cluster in found.clusters:
            middle = found.places[found.cluster_of == cluster.number].mean(0)
            label = (
                f"{cluster.number}: {pictures.brief(cluster.label)}" if cluster.label else str(cluster.number)
            )
            head = axes.annotate(
                label, middle, (0, 0), textcoords="offset points", ha="center", va="center",
                fontsize=8, bbox={"fc": "white", "alpha": 0.7, "lw": 0}, arrowprops=pictures.LEADER,
            )  # fmt: skip
            labels.append(head)
        axes.set(title=f"{len(found.places):,} samples by {method}, coloured by {name}", xticks=[], yticks=[])
    pictures.move_apart(figure, labels)
    return figure
