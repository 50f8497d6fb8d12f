"""`ganvas sample`"""

import json as json_module
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from ganvas.cli import _shared

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from ganvas.cli._shared import Tell
    from ganvas.model import Model
    from ganvas.sampling import LogRatio
    from ganvas.sampling.settings import Setting

MOST_NUMBERS = 100
"""Pictures with a number each; of more the first of each row has one."""
MOST_ROWS = 20
"""Of a picture with a row for each class."""
OTHER_RATIO = (
    "the recommendation was found with another ratio than the one that is followed here. Find it again:"
)


def run(
    model: Annotated[Path, tyro.conf.Positional],
    *,
    n: int = 64,
    seed: int = 0,
    seeds: str | None = None,
    labels: tuple[str, ...] | None = None,
    sampler: str = "prior",
    budget: int | None = None,
    set: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=VALUE")] = (),
    truncate: float | None = None,
    best: bool = False,
    length: int | None = None,
    ratio: Path | None = None,
    out: Path = Path("samples.png"),
    plain: bool = False,
    device: str = "auto",
    json: bool = False,
) -> None:
    """Draw samples from a trained model.

    Args:
        model: A run folder (its newest snapshot), a snapshot folder, a .safetensors file, or a name from `ganvas list models`.
        n: How many.
        seed: The same seed draws the same samples.
        seeds: A sample for each, like 85,265 or 0-9: those that NVIDIA's and Hugging Face's own scripts draw for them,
            with their generators (NumPy's RandomState). Replaces --n and --seed.
        labels: Classes to draw, by name or number, repeated to n; the picture has a row for each.
        sampler: From `ganvas list samplers`; those that follow a ratio need `ganvas calibrate` first.
        budget: Forward passes of generator and critic that a sample of a sampler may cost (a gradient: three). Default: 10.
        set: Any option of the sampler, say rejections=4.
        truncate: Draw from a truncated space first: psi in w, a threshold in z.
        best: Use what `ganvas improve` recommended for this model.
        length: Steps of series, more or fewer than trained: networks recurrent, tcn and transformer-small go on.
        ratio: A file of `ganvas calibrate --out`. Default: the one that was kept for this model.
        out: A .png grid; or an .npy or .npz array or a new folder of PNGs, which take any number of samples
            in little memory. Of series a .png of curves, a .csv, .npz or .npy, in their own units.
        plain: No numbers, seeds or names of classes in the picture, and no row for each class.
        device: auto, cpu, cuda or mps.
        json: Print the outcome as JSON.
    """
    import torch

    from ganvas import dist
    from ganvas.errors import counted
    from ganvas.model_file import load
    from ganvas.pictures import check_out

    check_out(out)
    _shared.outputs(out / "0.png" if out.suffix == "" else out)
    named = _checked(seeds, sampler, budget, set, truncate, best, length, ratio)
    n = n if named is None else len(named)
    usual = not best and sampler == "prior" and truncate is None and named is None
    with _shared.together(device) as (here, is_first), _shared.progress() as tell:
        loaded = load(model, device=here, critic=False)
        loaded = loaded if length is None else loaded.over(length)
        check_out(out, n, loaded.shape)
        numbers = _shared.classes(labels, loaded, n)
        write = partial(_write, n=n, out=out, model=loaded, numbers=numbers, named=named, plain=plain)
        about = {"out": str(out), "n": n, "seed": seed, "kimg": loaded.info.kimg}
        words = ""
        if named is not None:
            if is_first:
                from ganvas.sampling import seeds as by_seeds

                batches = by_seeds.draw(loaded, named, labels=numbers, truncate=truncate)
                write(_counted(batches, n, tell))
                about["seeds"] = named
        elif usual:
            mine = loaded.batches(n, seed=seed, labels=numbers, sharded=True)
            batches = dist.collect(mine, everywhere=False)
            if is_first:
                write(_counted(batches, n, tell))
            else:
                deque(batches, 0)
        else:
            # A sampler has one stream of random numbers from its first sample to its last: one process draws.
            with dist.turn():
                if is_first:
                    chosen, mark = _setting(loaded, sampler, budget, set, truncate, best)
                    judge = _ratio(loaded, chosen, ratio, model, mark)
                    given = None if numbers is None else torch.tensor(numbers)
                    tell(chosen.label, 0, 1)
                    drawn = chosen.draw(
                        loaded, judge, n, seed=seed, labels=given,
                        callback=lambda done, total: tell(chosen.label, done, total),
                    )  # fmt: skip
                    write([drawn.samples])
                    words = f", {chosen.label}: {drawn.costs}"
                    about |= {"sampler": chosen.label, "cost": drawn.cost, "info": dict(drawn.info)}
                    if judge is not None:
                        about["log_ratio"] = float(drawn.log_ratio.mean())
    if not is_first:
        return
    if json:
        _shared.answer(about)
    else:
        trained = "kimg unknown" if loaded.info.kimg is None else f"{loaded.info.kimg:g} kimg"
        which = f"seed {seed}" if seeds is None else f"seeds {seeds}"
        _shared.say(f"{counted(n, 'sample')} ({which}, {trained}{words}) -> {out}")


def _checked(
    seeds: str | None,
    sampler: str,
    budget: int | None,
    options: tuple[str, ...],
    truncate: float | None,
    best: bool,
    length: int | None,
    ratio: Path | None,
) -> list[int] | None:
    """The seeds that are named, if any. Raises `GanvasError` for flags that exclude each other."""
    from ganvas.errors import GanvasError

    if best and (sampler != "prior" or options or truncate is not None):
        raise GanvasError("--best uses the recommended sampler; leave --sampler, --set and --truncate away.")
    if ratio is not None and sampler == "prior" and not best:
        raise GanvasError("--ratio is what a sampler follows; name one with --sampler, or use --best.")
    if options and sampler == "prior":
        raise GanvasError("--set gives options of a sampler; name one with --sampler.")
    if budget is not None and (sampler == "prior" or best):
        raise GanvasError("--budget is of a sampler that is named: use --sampler, or leave it out.")
    if length is not None and (best or sampler != "prior" or seeds is not None):
        raise GanvasError(
            "--length draws as the model does: samplers and seeds know the trained length alone. Omit it."
        )
    if seeds is None:
        return None
    if best or sampler != "prior":
        raise GanvasError("--seeds names samples as they are drawn; omit --sampler and --best.")
    from ganvas.sampling.seeds import parse

    return parse(seeds)


def _setting(
    model: "Model",
    sampler: str,
    budget: int | None,
    options: tuple[str, ...],
    truncate: float | None,
    best: bool,
) -> "tuple[Setting, str]":
    """What the flags say, or what was recommended with the mark of its ratio."""
    from ganvas.errors import GanvasError
    from ganvas.sampling.settings import Setting, at_budget
    from ganvas.sampling.store import recommended

    if best:
        return recommended(model)
    usual = at_budget(sampler, 10 if budget is None else budget)
    if budget is not None and usual == at_budget(sampler, budget + 100):
        raise GanvasError(f"The sampler {sampler!r} costs what it costs: leave --budget out.")
    given = {**usual.options, **_options(usual.sampler, options)}
    return Setting(usual.sampler, given, truncation=truncate), ""


def _ratio(
    model: "Model", setting: "Setting", given: Path | None, name: Path, mark: str
) -> "LogRatio | None":
    """The calibrated ratio that a sampler follows, and a note where a recommendation was found with one of another `mark`; None
    for one that never asks."""
    from ganvas.errors import GanvasError
    from ganvas.sampling import samplers
    from ganvas.sampling.ratio import LogRatio
    from ganvas.sampling.store import kept_ratio

    if samplers.get(setting.sampler).blind:
        _shared.unused(f"the sampler {setting.sampler!r} follows no ratio", ratio=given)
        return None
    path = given or kept_ratio(model)
    if not path.is_file():
        raise GanvasError(
            f"The sampler {setting.sampler!r} follows a calibrated ratio, and none is kept for this model. "
            f"Run: ganvas calibrate {name}"
        )
    found = LogRatio.load(path, model)
    if mark and found.mark != mark:
        _shared.say(f"Note: {OTHER_RATIO} ganvas improve {name}", beside=True)
    return found


def _counted(batches: "Iterable[Tensor]", n: int, tell: "Tell") -> "Iterator[Tensor]":
    """The batches, told to a bar."""
    done = 0
    tell("samples", done, n)
    for batch in batches:
        done += len(batch)
        tell("samples", done, n)
        yield batch


def _write(
    batches: "Iterable[Tensor]",
    n: int,
    out: Path,
    model: "Model",
    numbers: Sequence[int] | None,
    named: Sequence[int] | None,
    plain: bool,
) -> None:
    """Batches of n samples, as they come; in a picture with their numbers, or the seeds that were named, and a row a class."""
    import torch

    from ganvas.model_data import class_names
    from ganvas.pictures import write_samples

    labels = None if numbers is None and len(model.shape) == 3 else model.labels(n, numbers)
    if plain or out.suffix != ".png" or len(model.shape) != 3:
        known, chosen = class_names(model), [] if labels is None or len(model.shape) != 2 else labels.tolist()
        bare = plain and out.suffix == ".png"
        classes = [] if bare else [known[i] if known else str(i) for i in chosen]
        write_samples(batches, n, out, model.info.series, classes)
        return
    samples = torch.cat([batch.cpu() for batch in batches])
    texts = [str(each) for each in named or range(n)]
    names = () if labels is None else class_names(model)
    _shared.write_picture(out, _numbered(samples, texts, labels, names))


def _numbered(
    samples: "Tensor", texts: Sequence[str], labels: "Tensor | None", names: Sequence[str]
) -> "Image":
    """Samples with their numbers; a row for each of the chosen classes, as long as there are few enough of them."""
    from math import ceil

    from ganvas import pictures

    under = texts if len(texts) <= MOST_NUMBERS else []
    found = [] if labels is None else labels.unique().tolist()
    if labels is None or len(found) > MOST_ROWS:
        columns = ceil(len(texts) ** 0.5)
        return pictures.grid(samples, columns, captions=under, names=[] if under else texts[::columns])
    rows = [(labels == number).nonzero()[:, 0] for number in found]
    captions = [[texts[i] for i in row] for row in rows] if under else []
    heads = [names[number] if number < len(names) else str(number) for number in found]
    return pictures.sheet([samples[row] for row in rows], heads, captions=captions)


def _options(sampler: str, given: tuple[str, ...]) -> dict[str, object]:
    """NAME=VALUE pairs as keyword arguments of the sampler."""
    from ganvas.errors import GanvasError
    from ganvas.registry import did_you_mean
    from ganvas.sampling import samplers

    known = samplers.get(sampler).options
    found: dict[str, object] = {}
    for pair in given:
        name, _, text = pair.partition("=")
        if name not in known:
            raise GanvasError(
                f"The sampler {sampler!r} has no option {name!r}.{did_you_mean(name, list(known))} "
                f"Known: {', '.join(known) or 'none'}."
            )
        try:
            value = json_module.loads(text)
        except ValueError:
            value = text
        default = known[name]
        fits = isinstance(value, type(default)) or (
            isinstance(default, float | None) and isinstance(value, int | float)
        )
        if not fits or (isinstance(value, bool) and not isinstance(default, bool)):
            raise GanvasError(f"--set {pair}: expected a value like {default!r}.")
        found[name] = float(value) if isinstance(default, float) else value
    return found
