"""`ganvas map`"""

import json as json_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

if TYPE_CHECKING:
    from ganvas.latent.map import Map


def run(
    model: Annotated[str, tyro.conf.Positional],
    *,
    method: Literal["tsne", "pca", "umap"] = "tsne",
    colour: str | None = None,
    data: str | None = None,
    space: str | None = None,
    n: int = 3000,
    real: int = 3000,
    seed: int = 0,
    out: Path = Path("map.png"),
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
        real: How many real images at most.
        seed: Of the samples, as `ganvas sample` draws them.
        out: A .png.
        device: auto, cpu, cuda or mps.
        json: Print the figures as JSON.
    """
    import torch

    from ganvas import io, latent, pictures
    from ganvas.cli import _shared
    from ganvas.errors import GanvasError
    from ganvas.latent.attributes import attributes, real_images_of
    from ganvas.latent.critic import CRITIC_SCORE
    from ganvas.latent.map import NEIGHBOURS, draw_map
    from ganvas.model import load
    from ganvas.registry import did_you_mean

    _shared.check_png(out)
    known = ["density", CRITIC_SCORE, "class", *attributes]
    if colour is not None and colour not in known and not colour.startswith("class:"):
        raise GanvasError(
            f"There is nothing called {colour!r} to colour by.{did_you_mean(colour, known)} Use one of {', '.join(known)}."
        )
    loaded = load(model, device=device)
    where = latent.open_space(loaded, space)
    images, missing = None, "none were asked for"
    if data != "none":
        images, missing = real_images_of(loaded, real, data, seed, more_than=NEIGHBOURS)
    with _shared.progress() as show:
        found = draw_map(where, n, method, seed, images, tell=show)
    words = list(found.words)
    if images is None:
        words.append(f"Without real images (no holes, no nearest ones): {missing}")
    usual = [name for name in ("density", "class", CRITIC_SCORE) if name in found.values][:2]
    shown: list[str] = [colour] if colour else list(usual)
    for name in shown:
        if name not in found.values:
            raise GanvasError(
                f"There is nothing called {name!r} to colour by. Use one of {', '.join(found.values)}."
            )
    io.write_bytes(out, _scatter(found, shown, method))
    written = [str(out)]
    if found.samples.dim() == 4:
        atlas, sheet = (out.with_name(f"{out.stem}-{kind}.png") for kind in ("atlas", "clusters"))
        io.write_bytes(atlas, pictures.png(pictures.atlas(found.samples, found.places)))
        rows_ = []
        for cluster in found.clusters:
            picked = [*cluster.typical, *cluster.extreme]
            tiles = found.samples[picked]
            tiles = (
                torch.cat([tiles, tiles.new_zeros(10 - len(tiles), *tiles.shape[1:])])
                if len(tiles) < 10
                else tiles
            )
            if found.real is not None and found.nearest_real is not None:
                tiles = torch.cat([tiles, found.real[found.nearest_real[picked[:2]]]])
            rows_.append(tiles)
        io.write_bytes(sheet, pictures.png(pictures.grid(torch.cat(rows_), columns=len(rows_[0]))))
        written += [str(atlas), str(sheet)]
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
    io.write_json(out.with_suffix(".json"), {**document, **places})
    if json:
        print(json_module.dumps(document))
        return
    print("\n".join(words))
    print(f"-> {', '.join(written)}, {out.with_suffix('.json')}")


def _scatter(found: "Map", shown: list[str], method: str) -> bytes:
    from matplotlib.figure import Figure

    from ganvas import pictures

    figure = Figure(figsize=(7.5 * len(shown), 7), dpi=100)
    for i, name in enumerate(shown):
        axes = figure.add_subplot(1, len(shown), i + 1)
        if found.real_places is not None:
            axes.scatter(
                found.real_places[:, 0],
                found.real_places[:, 1],
                s=2,
                c="lightgrey",
                linewidths=0,
                label="real",
            )
        colours = "tab10" if name == "class" else "viridis"
        dots = axes.scatter(
            found.places[:, 0], found.places[:, 1], s=5, c=found.values[name], cmap=colours, linewidths=0
        )
        figure.colorbar(dots, ax=axes, shrink=0.8)
        for cluster in found.clusters:
            middle = found.places[found.cluster_of == cluster.number].mean(0)
            text = f"{cluster.number} {cluster.label}"
            axes.annotate(text, middle, ha="center", fontsize=8, bbox={"fc": "white", "alpha": 0.7, "lw": 0})
        axes.set(
            title=f"{len(found.places):,} samples by {method}, colour: {name}; real images grey",
            xticks=[],
            yticks=[],
        )
    return pictures.plot_png(figure)
