"""A sampler with its options as one value: what `improve` tries, keeps and `ganvas sample` draws with."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from ganvas.checkpoint import check_numbers
from ganvas.config import is_like
from ganvas.device import stream
from ganvas.errors import GanvasError
from ganvas.latent.space import LatentSpace, LatentZ, open_space, spaces
from ganvas.model import Model
from ganvas.sampling.base import Callback, Drawn, samplers
from ganvas.sampling.ratio import LogRatio
from ganvas.sampling.truncation import Mode, Truncated, cuts, usual_amounts

MOST_KEPT = 10_000
"""Any number among the options of a recommendation, and all of them multiplied: steps, candidates, a bank."""


@dataclass(frozen=True)
class Setting:
    """A sampler with its options, on a truncated space or not: everything that `ganvas sample` needs to use it again."""

    sampler: str
    options: Mapping[str, Any] = field(default_factory=dict)
    truncation: float | None = None
    mode: Mode = "auto"

    @property
    def label(self) -> str:
        """`budget 10` or `truncate 0.8 + budget 10`; several options have their names: `ex2 steps=1 candidates=3`."""
        words = [str(v) if isinstance(v, str) else f"{v:g}" for v in self.options.values()]
        if len(words) > 1:
            words = [f"{name}={word}" for name, word in zip(self.options, words, strict=True)]
        return (f"truncate {self.truncation:g} + " if self.truncation else "") + " ".join(
            [self.sampler, *words]
        )

    def space(self, model: Model) -> LatentSpace:
        """Where it draws: z, or the truncated w (z without one)."""
        return (
            LatentZ(model)
            if self.truncation is None
            else Truncated(_where(model), self.truncation, self.mode)
        )

    def draw(
        self, model: Model, ratio: LogRatio | None, n: int, *, seed: int = 0, labels: Tensor | None = None,
        callback: Callback | None = None,
    ) -> Drawn:  # fmt: skip
        """n samples. The ratio is calibrated anew for a truncated space."""
        space = self.space(model)
        if ratio is None and not samplers.get(self.sampler).blind:
            raise GanvasError(
                f"The sampler {self.sampler!r} needs a calibrated ratio. Run: ganvas calibrate MODEL"
            )
        if ratio is not None and self.truncation is not None and not samplers.get(self.sampler).blind:
            ratio = ratio.refit(space, labels=labels)
        if samplers.get(self.sampler).in_w:
            if self.truncation is not None:
                raise GanvasError(
                    f"The sampler {self.sampler!r} truncates by itself: leave truncation (--truncate) out, and say its amount "
                    f"(--set amount={self.truncation:g})."
                )
            space = _where(model)
        judge = ratio or _no_evidence
        return samplers.get(self.sampler)(
            space,
            judge,
            n,
            generator=stream(seed, "sampling"),
            labels=labels,
            callback=callback,
            **self.options,
        )


def check_kept(setting: Setting) -> Setting:
    """The setting of a file, which anybody may have written. Raises `GanvasError` for options that its sampler lacks or that
    are of another kind, and for numbers above `MOST_KEPT`, multiplied too: none of them may choose hours."""
    known = samplers.get(setting.sampler).options
    for name, value in setting.options.items():
        if name not in known or not is_like(value, known[name]):
            wanted = f"expected a value like {known[name]!r}" if name in known else "there is no such option"
            raise GanvasError(f"Option {name!r} of the sampler {setting.sampler!r} is {value!r}: {wanted}.")
    check_numbers(setting.options, "best.options", MOST_KEPT)
    numbers = [abs(value) for value in setting.options.values() if isinstance(value, (int, float))]
    together = math.prod(max(1, number) for number in numbers)
    if together > MOST_KEPT:
        raise GanvasError(f"best.options multiply to {together:,.0f}; they may say {MOST_KEPT:,} at most.")
    return setting


def _no_evidence(samples: Tensor, labels: Tensor | None) -> Tensor:
    return torch.zeros(len(samples), device=samples.device)


def _where(model: Model) -> LatentSpace:
    return open_space(model, "w") if "w" in spaces(model) else LatentZ(model)


def at_budget(name: str, budget: int) -> Setting:
    """A sampler at about `budget` forward passes a sample; a gradient counts for three of them."""
    return Setting(name, samplers.get(name).at_budget(budget))


def settings(model: Model, budget: int) -> list[Setting]:
    """What `improve` tries at a budget, as the samplers say of themselves: what asks no ratio first, truncated spaces last."""
    flat = "w" in spaces(model)
    facts = {name: samplers.get(name) for name in samplers}
    order = sorted(facts, key=lambda name: (not facts[name].blind, facts[name].tried_from or 0))
    found = [Setting(name, options) for name in order for options in facts[name].variants(budget, flat)]
    composed = [name for name in order if facts[name].tried_truncated]
    if not flat and not cuts(model):
        return [each for each in found if not samplers.get(each.sampler).in_w]
    return [
        *found,
        *(
            replace(at_budget(name, budget), truncation=a)
            for name in composed
            for a in usual_amounts(flat)[:2]
        ),
    ]
