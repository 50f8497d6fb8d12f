"""Which sampler is best for this generator at this budget: all of them measured, one recommended, and kept for later use."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ganvas import arrays, io, notebook, pictures
from ganvas.data import Dataset
from ganvas.errors import GanvasError
from ganvas.features import Extractor, Features, embed, open_extractor
from ganvas.features.base import at_once
from ganvas.features.cache import batches
from ganvas.features.classifier import learned
from ganvas.features.stats import moments
from ganvas.metrics.base import BLOCKS, Inputs, metrics
from ganvas.metrics.resample import in_shares
from ganvas.model import Model
from ganvas.notebook import shown
from ganvas.sampling.base import check_room, each_costs
from ganvas.sampling.held_out import calibrate_model, guided_by, independent_extractor
from ganvas.sampling.ratio import SHOWN, LogRatio, Which
from ganvas.sampling.rejection import MOST_BUDGET
from ganvas.sampling.settings import Setting, settings
from ganvas.types import Progress

Objective = Literal["frechet", "precision", "recall", "f1"]
MEASURES = ("frechet", "precision", "recall", "coverage")
FINALISTS, MORE = 2, 4
"""So many of the best are drawn again, so many times more samples: the first of many noisy figures is the luckiest."""


@dataclass
class Outcome:
    """One setting, measured."""

    setting: Setting
    values: dict[str, float]
    """`MEASURES` and f1."""
    errors: dict[str, float]
    """Of these; NaN where it is not known."""
    cost: float
    """Forward passes a sample."""
    info: dict[str, Any]
    failed: str = ""
    """Why it could not be measured."""


@dataclass(repr=False)
class Improvement:
    """What `improve` found."""

    rows: list[Outcome]
    best: Outcome
    """By the objective; the prior's row when nothing helps."""
    before: Outcome
    """The prior again, on other samples than the choice was made with."""
    after: Outcome
    """The best again, on other samples."""
    objective: str
    helps: bool
    words: list[str]
    samples: tuple[Tensor, Tensor] = (torch.empty(0), torch.empty(0))
    """64 of before and after."""

    def __repr__(self) -> str:
        """What it recommends."""
        return f"Improvement({self.words[0] if self.words else self.best.setting.label})"

    def cells(self) -> tuple[list[str], list[list[str]]]:
        """The heads and the rows of a table of all settings."""
        rows = [
            [
                row.setting.label, f"{row.cost:.3g}",
                *(f"{row.values[name]:.3f}{_error(row, name, '.3f')}" for name in MEASURES),
            ]
            if not row.failed
            else [row.setting.label, "failed", *[""] * len(MEASURES)]
            for row in self.rows
        ]  # fmt: skip
        return ["sampler", "runs of the network", *MEASURES], rows

    def _repr_html_(self) -> str:
        """What a notebook shows: the recommendation, samples before and after, all settings."""
        parts = [notebook.line(each) for each in self.words]
        if all(each.dim() == 4 and len(each) for each in self.samples):
            for when, row, samples in zip(
                ("Before", "After"), (self.before, self.after), self.samples, strict=True
            ):
                parts.append(notebook.line(f"{when}, {row.setting.label}:"))
                parts.append(notebook.picture(pictures.grid(samples[: 2 * SHOWN].cpu(), columns=SHOWN), when))
        parts.append(notebook.table(*self.cells()))
        parts += [
            notebook.line(f"{row.setting.label} failed: {row.failed}") for row in self.rows if row.failed
        ]
        return notebook.card("Improvement", *parts)


class Evaluator:
    """Measures samples against held-out real ones in the features of an extractor that guided nothing."""

    def __init__(self, extractor: Extractor, real: Dataset, batch: int = 256) -> None:
        self.extractor, self.batch = extractor, batch
        self.real = embed(extractor, batches(real, batch))
        self.labels = None if real.labels is None else real.take_labels()
        if len(self.real.features) > self.real.features.shape[1]:
            self.real = Features(self.real.features, self.real.logits, moments(self.real.features))

    def __call__(self, samples: Tensor, seed: int = 0) -> tuple[dict[str, float], dict[str, float]]:
        """Values and their errors, by name."""
        inputs = Inputs(
            embed(self.extractor, samples.split(at_once(tuple(samples.shape[1:]), self.batch))),
            self.real,
            seed,
        )
        values: dict[str, float] = {}
        errors: dict[str, float] = {}
        for name in ("frechet", "precision-recall", "density-coverage"):
            if why := metrics.get(name).fits(inputs):
                raise GanvasError(f"{name} cannot be measured here: {why}.")
            for value in metrics.get(name).compute(inputs):
                values[value.name] = value.value
                errors[value.name] = math.nan if value.error is None else value.error
        p, r = values["precision"], values["recall"]
        values["f1"] = 2 * p * r / max(p + r, 1e-12)
        errors["f1"] = (
            2 * math.hypot(r**2 * errors["precision"], p**2 * errors["recall"]) / max((p + r) ** 2, 1e-12)
        )
        return values, errors


@dataclass(frozen=True, repr=False)
class Improved:
    """An `Improvement` with what it was found by, as `save` keeps it."""

    found: Improvement
    ratio: LogRatio
    """Calibrated on the half of the held-out data that did not measure."""
    about: Mapping[str, Any]
    """data, budget, n, seed, the id of the extractor that measured, and on how many real samples (`real`)."""

    def __repr__(self) -> str:
        return repr(self.found)

    def _repr_html_(self) -> str:
        return self.found._repr_html_()


@shown
def improve_model(
    model: Model,
    data: str | None = None,
    *,
    budget: int = 10,
    objective: Objective = "frechet",
    n: int = 2000,
    critic: Which = "auto",
    extractor: str = "auto",
    seed: int = 0,
    device: str = "auto",
    progress: Progress | None = None,
) -> Improved:
    """The best sampler for a model by its own data (or `data`): what `ganvas improve` does.

    Calibrates a ratio on one half of the held-out data (`calibrate_model`, by `critic`), and measures every
    sampler at `budget` forward passes a sample, n samples each, against the other half (`improve`), as an
    extractor sees them that guided none of them (`independent_extractor`). Nothing is written: see `save`.
    Raises `GanvasError` where the data are not at hand or too few, and when a named extractor is the guide.
    """
    _check(budget, n, objective, seed)
    check_room(model, MORE * n)
    judge: str | Extractor = extractor
    if extractor not in ("auto", "classifier"):  # these look at the data
        judge = open_extractor(extractor, device=device, guide=model.info.guide)
    ratio, held_out = calibrate_model(model, data, critic=critic, seed=seed, judged=True, progress=progress)
    evaluator = Evaluator(
        independent_extractor(
            ratio, held_out, judge, device=device, guide=model.info.guide, progress=progress
        ),
        held_out,
    )
    told = learned(evaluator.extractor, replace(held_out, indices=None), held_out)
    found = improve(
        model, ratio, evaluator, budget=budget, objective=objective, n=n, seed=seed, progress=progress
    )
    if told:
        found.words.append(
            f"{told}, so that they may lie farther from samples than others would: compare samplers by these figures, not models."
        )
    about = {
        "data": held_out.name, "budget": budget, "n": n, "seed": seed, "extractor": evaluator.extractor.id,
        "real": len(held_out),
    }  # fmt: skip
    return Improved(found, ratio, about)


def _check(budget: int, n: int, objective: str, seed: int) -> None:
    """Before the work: raise `GanvasError` for what nothing can be measured with."""
    arrays.count(budget, "budget", most=MOST_BUDGET)
    arrays.count(n, "n", 100)
    arrays.seed(seed)
    if objective not in ("frechet", "precision", "recall", "f1"):
        raise GanvasError(f"Unknown objective {objective!r}. Use frechet, precision, recall or f1.")


@shown
def improve(
    model: Model,
    ratio: LogRatio,
    evaluator: Evaluator,
    *,
    budget: int = 10,
    objective: Objective = "frechet",
    n: int = 5000,
    tried: Sequence[Setting] | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Improvement:
    """Measure all `settings` at a budget and recommend one.

    `evaluator` holds real samples that guided nothing. The `FINALISTS` best by the objective are drawn again,
    `MORE` times n samples with other numbers, beside the prior, so that what is reported was not chosen for
    its luck. The best of them helps when it is ahead of the prior by more than two standard errors there.
    Raises `GanvasError` when the evaluator sees by what guides, and when n is too small for a Frechet distance with an error.
    """
    _check(budget, n, objective, seed)
    check_room(model, MORE * n)
    width = evaluator.real.features.shape[1]
    least = math.ceil((width + 1) * BLOCKS / (BLOCKS - 1) / MORE)
    if objective == "frechet" and n < least:
        raise GanvasError(
            f"With {MORE} x {n} samples and {width:,} features the error of the Frechet distance is not known, and so not what "
            f"helps. Draw {least} or more (--n), or take an extractor of fewer features, or another --objective."
        )
    tell, chosen = progress or (lambda what, done, total: None), list(tried or settings(model, budget))
    if guided_by(ratio, evaluator.extractor):
        raise GanvasError(
            f"The critic was trained on the features of {evaluator.extractor.id}, which cannot judge what it guides. "
            "Take ganvas.sampling.independent_extractor(ratio, real)."
        )
    sign = 1.0 if objective == "frechet" else -1.0

    def measured(setting: Setting, seed: int, n: int) -> tuple[Outcome, Tensor]:
        def inner(done: int, total: int) -> None:
            tell(setting.label, done, total)

        inner(0, 1)
        # Classes in the shares of the data that measure: with others the plain generator would already be far from them.
        asked = None
        if model.generator.num_classes and evaluator.labels is not None:
            asked = in_shares(evaluator.labels, n, seed)
        drawn = setting.draw(model, ratio, n, seed=seed, labels=asked, callback=inner)
        values, errors = evaluator(drawn.samples, seed)
        inner(1, 1)
        info = {key: value for key, value in drawn.info.items() if isinstance(value, int | float)}
        # A copy: the first 64 of a tensor keep all of it in memory.
        return Outcome(setting, values, errors, drawn.cost, info), drawn.samples[:64].clone()

    rows: list[Outcome] = []
    notebook.beneath(lambda: _bars(rows, objective))
    for setting in chosen:
        try:
            rows.append(measured(setting, seed, n)[0])
        except GanvasError as error:
            rows.append(Outcome(setting, {}, {}, float("nan"), {}, str(error)))
    good = [row for row in rows if not row.failed]
    if not good:
        raise GanvasError(f"No sampler could be measured. The first said: {rows[0].failed}")
    ranked = sorted(good, key=lambda row: sign * row.values[objective])
    before, first = measured(Setting("prior"), seed + 1, MORE * n)
    again = []
    for row in ranked[:FINALISTS]:
        if row.setting.sampler == "prior":
            continue
        try:
            again.append((*measured(row.setting, seed + 1, MORE * n), row))
        except GanvasError as error:  # with other numbers, and more of them, it may not do what it did before
            row.failed = str(error)
    plain = next((row for row in good if row.setting.sampler == "prior"), before)
    after, second, best = min(
        again, key=lambda each: sign * each[0].values[objective], default=(before, first, plain)
    )
    gain = sign * (before.values[objective] - after.values[objective])
    helps = gain > 2 * math.hypot(before.errors[objective], after.errors[objective])
    found = Improvement(
        rows, best if helps else plain, before, after, objective, helps, [], (first, second)
    )  # fmt: skip
    found.words = _words(found, ratio)
    return found


def _bars(rows: Sequence[Outcome], objective: str) -> str:
    """The settings that are measured so far, as bars of the objective."""
    known = [
        (
            row.setting.label,
            row.values[objective],
            f"{row.values[objective]:.3g}{_error(row, objective, '.2g')}",
        )
        for row in rows
        if not row.failed
    ]
    better = "less is better" if objective == "frechet" else "more is better"
    return notebook.bars(f"{objective}, {better}:", known) if known else ""


def _error(row: Outcome, name: str, how: str) -> str:
    """What stands behind a figure; nothing where its error is not known."""
    return "" if math.isnan(row.errors[name]) else f" ± {row.errors[name]:{how}}"


def written(value: float) -> str:
    """A measure as its table has it: 0.880, and 36.0 where there is more before the point."""
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def _words(found: Improvement, ratio: LogRatio) -> list[str]:
    b, a, name = found.before.values, found.after.values, found.objective
    if not found.helps:
        return [
            f"Nothing helps: the best of {len(found.rows)} settings, {found.after.setting.label}, changes {name} from "
            f"{written(b[name])} to {written(a[name])}, within two standard errors of no gain. Keep plain sampling.",
            *ratio.report.warnings,
        ]
    change = "; ".join(f"{key} {written(b[key])} -> {written(a[key])}" for key in MEASURES)
    words = [f"Use {found.after.setting.label}: {change}, at {each_costs(found.after.cost)}."]
    for key in ("precision", "recall", "coverage"):
        error = 2 * math.hypot(found.before.errors[key], found.after.errors[key])
        if a[key] < b[key] - error:
            words.append(f"The price: {key} falls by {b[key] - a[key]:.3f}.")
    return words + ratio.report.warnings


def pareto(rows: Sequence[Outcome]) -> list[bool]:
    """Whether no other row has both a higher precision and a higher recall, for each row."""
    points = np.array([[r.values.get("precision", -1), r.values.get("recall", -1)] for r in rows])
    beaten = [bool(((points >= p).all(1) & (points > p).any(1)).any()) for p in points]
    return [not b for b in beaten]


def described(found: Improvement, ratio: LogRatio, about: Mapping[str, Any]) -> io.Json:
    """What stands in improve.json."""

    def plain(row: Outcome) -> dict[str, Any]:
        known = {name: None if math.isnan(error) else error for name, error in row.errors.items()}
        cost = None if math.isnan(row.cost) else row.cost
        return {**asdict(row), "errors": known, "label": row.setting.label, "cost": cost}

    return {
        **about, "ratio": ratio.mark, "objective": found.objective, "helps": found.helps, "best": asdict(found.best.setting),
        "words": found.words, "before": plain(found.before), "after": plain(found.after),
        "rows": [plain(row) for row in found.rows],
    }  # fmt: skip


def save(folder: Path, ratio: LogRatio, document: io.Json) -> None:
    """Write improve.json, what is `described`, and ratio.safetensors, which `ganvas sample --best` reads."""
    ratio.save(folder / "ratio.safetensors")
    io.write_json(folder / "improve.json", document)
