"""`ganvas statistics`"""

from collections.abc import Callable, Sequence
from functools import partial
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from ganvas.cli import _shared
from ganvas.errors import GanvasError

if TYPE_CHECKING:
    from ganvas.cli._shared import Tell
    from ganvas.latent import LatentSpace
    from ganvas.latent.directions import Direction

FEWEST = 64
"""Series that a space is measured by."""
EFFECT = 0.5
"""Deviations by which every direction changes its own attribute in the re-scoring matrix."""


def run(
    model: Annotated[str, tyro.conf.Positional],
    *,
    spaces: tuple[str, ...] = (),
    n: int = 2000,
    rca: int = 0,
    directions: Path | None = None,
    rescore: tuple[str, ...] = (),
    seed: int = 0,
    device: str = "auto",
    json: bool = False,
) -> None:
    """Measure a latent space: path length, separability, dimension, and disentanglement where the factors are known.

    Args:
        model: A run or snapshot folder, a .safetensors file, or a name from `ganvas list models`.
        spaces: z, w, w+, styles or layer:NAME. Default: z, and w where there is one.
        n: Samples of each measurement.
        rca: Steps of the network that tells directions apart (discovery accuracy): 0 leaves it out, 2000 take minutes.
        directions: For --rca and --rescore: the directions of this file, and its space.
        rescore: Attributes: what the direction of each changes in all of them, where each has changed its own by half a
            deviation. Directions come from --directions where it has them, else they are found, each for itself.
        seed: Of every random choice.
        device: auto, cpu, cuda or mps.
        json: Print JSON.
    """
    from ganvas import latent
    from ganvas.latent.attributes import attributes
    from ganvas.latent.directions import load_directions
    from ganvas.latent.factors import train_reader
    from ganvas.model_data import class_names, classifier_of, data_of
    from ganvas.model_file import load

    if not rca and not rescore:
        _shared.unused("it is of --rca and --rescore", directions=directions if spaces else None)
    loaded = load(model, device=device, critic=False)
    given = load_directions(directions, loaded) if directions else []
    _check_spaces(spaces, given, directions)
    names = spaces or ((given[0].space,) if given else ("z", "w") if "w" in latent.spaces(loaded) else ("z",))
    opened = [latent.open_space(loaded, name) for name in names]
    separated = list(attributes) if len(loaded.shape) == 3 else []
    if classifier_of(loaded) is not None:
        separated = [f"class:{name}" for name in class_names(loaded)] or separated
    with _shared.progress() as tell:

        def show(name: str) -> Callable[[int, int], None]:
            return partial(tell, name)

        # Before what takes minutes: an unknown name is refused at once.
        matrix = _rescored(opened[-1], given, rescore, seed, show) if rescore else None
        reader = accuracy = None
        if data_of(loaded) == "shapes":
            reader, accuracy = train_reader(seed=seed, progress=show("reader of factors"))
        rows: dict[str, dict[str, float]] = {}
        for space in opened:
            count = _count(space, n)
            rows[space.name] = {"samples": count} if count < n else {}
            rows[space.name] |= _measure(space, count, seed, separated, partial(_begin, tell, space))
            if reader is not None:
                _begin(tell, space, "disentanglement")
                rows[space.name] |= _disentangled(space, reader, count, seed)
            if rca:
                rows[space.name] |= _discovery(space, given, rca, seed, show)
    document: dict[str, Any] = {"model": model, "n": n, "seed": seed, "spaces": rows}
    if accuracy is not None:
        document["reader_accuracy"] = [round(float(value), 3) for value in accuracy]
    if matrix is not None:
        document["rescored"] = matrix
    if json:
        _shared.answer(document)
        return
    found = dict.fromkeys(name for row in rows.values() for name in row)
    _shared.table(
        [_shared.Column("statistic", left=True), *(_shared.Column(name) for name in rows)],
        [[name, *("" if name not in row else f"{row[name]:.4g}" for row in rows.values())] for name in found],
    )
    if matrix is not None:
        _show_matrix(matrix)
    if accuracy is not None:
        _shared.say(
            "Factors are read by a network that is right on "
            + ", ".join(f"{float(a):.0%}" for a in accuracy)
            + " of real ones."
        )


def _count(space: "LatentSpace", n: int) -> int:
    """Samples that a space is measured by, of n. Raises `GanvasError` for series of which too few are held together."""
    from ganvas import arrays

    if (count := space.affords(n)) < n:
        words = f"A point of {space.name} has {space.size:,} numbers: it is measured by {count:,} samples."
        _shared.say(words, beside=True)
    shape = space.model.shape
    # Of pictures small ones are held.
    if len(shape) == 3 or (fewer := arrays.fitting(prod(shape), arrays.TOGETHER, count)) == count:
        return count
    words = f"A sample has {prod(shape):,} numbers: {space.name} is measured by {fewer:,} of them"
    if fewer < FEWEST:
        raise GanvasError(
            f"{words}, which are held together, and {FEWEST} are the fewest that say anything. There is nothing to measure "
            f"above {arrays.TOGETHER // FEWEST:,} numbers."
        )
    _shared.say(f"{words}.", beside=True)
    return fewer


def _check_spaces(spaces: Sequence[str], given: "Sequence[Direction]", directions: Path | None) -> None:
    for each in given if spaces else ():
        if each.space not in spaces:
            raise GanvasError(
                f"{directions} holds directions of {each.space!r}, which --spaces does not name. Leave --spaces out."
            )
    if "class" in spaces:
        raise GanvasError(
            "The space class has a point for each class and none between: nothing is measured there. Leave it out of --spaces."
        )


def _rescored(
    space: "LatentSpace", given: list[Any], names: tuple[str, ...], seed: int, show: Any
) -> dict[str, Any]:  # fmt: skip
    from ganvas.latent.statistics import rescore
    from ganvas.latent.supervised import from_attribute

    if len(names) < 2:
        raise GanvasError(
            "--rescore compares attributes with each other: name at least two, say brightness slant."
        )
    known, done = {each.name: each for each in given}, show("directions of attributes")
    found = []
    for i, name in enumerate(names):
        found.append(known[name] if name in known else from_attribute(space, name, seed=seed))
        done(i + 1, len(names))
    result = rescore(space, found, names, EFFECT, seed=seed)
    return {
        "space": space.name, "names": list(names), "effect": EFFECT, "matrix": result.matrix.round(4).tolist(),
        "strengths": [None if value != value else round(float(value), 3) for value in result.strengths],
        "leakage": result.leakage().round(4).tolist(),
    }  # fmt: skip


def _show_matrix(matrix: dict[str, Any]) -> None:
    from ganvas.cli._shared import Column, table

    _shared.say(
        f"what directions of {matrix['space']} change, in deviations; [its own attribute] by {EFFECT:g}"
    )
    columns = [Column("direction", left=True), Column("sigmas"), *(Column(name) for name in matrix["names"])]
    rows = []
    for i, name in enumerate(matrix["names"]):
        strength = matrix["strengths"][i]
        cells = [f"{value:+.2f}" for value in matrix["matrix"][i]]
        cells[i] = f"[{cells[i]}]"
        reached = "not reached" if strength is None else f"{strength:.2f}"
        rows.append([name, reached, *cells, f"{matrix['leakage'][i]:.2f}"])
    table([*columns, Column("leakage")], rows)


def _begin(tell: "Tell", space: "LatentSpace", what: str) -> None:
    """Say what is measured now."""
    tell(f"{space.name}: {what}", 0, 1)


def _measure(
    space: "LatentSpace", n: int, seed: int, separated: list[str], begin: "Callable[[str], None]"
) -> dict[str, float]:
    import torch

    from ganvas import arrays
    from ganvas.latent.jacobian import spectrum
    from ganvas.latent.paths import looks, pyramid, see_many
    from ganvas.latent.statistics import linear_separability, participation, sample_dimension
    from ganvas.metrics.path_length import PairedSpace, path_length

    begin("path length")
    found = path_length(PairedSpace(space), n=n, seed=seed)
    row = {"path length (pixels)": found.mean, "its standard error": found.error}
    if separated:
        begin("separability")
        try:
            row["linear separability"] = linear_separability(space, separated, n, seed)
        except GanvasError as error:
            _shared.say(f"{space.name}: no linear separability. {error}", beside=True)
    begin("dimension")
    with torch.no_grad():
        points = space.numbered(n, seed)
        features = arrays.joined(looks(space, points, see=see_many(space, pyramid)), len(points))
    row["dimension of points"] = sample_dimension(points.flatten(1).cpu().numpy())
    row["dimension of samples"] = sample_dimension(features.cpu().numpy())
    begin("metric")
    if (shares := spectrum(space, seed)).any():  # of a collapsed model nothing changes the picture
        row["metric participation"] = participation(shares)
    return row


def _disentangled(space: "LatentSpace", reader: Any, n: int, seed: int) -> dict[str, float]:
    import torch

    from ganvas.latent.paths import looks
    from ganvas.latent.statistics import dci, factor_vae_score, mig, sap

    with torch.no_grad():
        points = space.numbered(n, seed)
        images = torch.cat(list(looks(space, points, see=space.model.to_data)))
    codes, factors = points.flatten(1).cpu().numpy(), reader.read(images.cpu()).numpy()
    d, c, i = dci(codes, factors, seed)
    return {
        "DCI disentanglement": d, "DCI completeness": c, "DCI informativeness": i, "MIG": mig(codes, factors),
        "SAP": sap(codes, factors), "FactorVAE score": factor_vae_score(codes, factors, seed),
    }  # fmt: skip


def _discovery(space: "LatentSpace", given: list[Any], steps: int, seed: int, show: Any) -> dict[str, float]:
    import torch

    from ganvas.latent.finders import random_directions
    from ganvas.latent.learned import discovery_accuracy

    own = [each for each in given if each.space == space.name]
    count = len(own) or min(16, space.size)
    sets = {"random": random_directions(space, count, seed)[0], "coordinates": torch.eye(count, space.size)}
    if own:
        sets["given"] = torch.stack([each.vector.flatten() for each in own])
    return {
        f"discovery of {count} {name}": discovery_accuracy(
            space, vectors, seed, steps=steps, progress=show(f"{space.name}: {name}")
        )
        for name, vectors in sets.items()
    }
