"""From signals to plain words: what is wrong with a run, and what to try. Pure functions of the lines of stats.jsonl."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from statistics import median
from typing import Literal

from ganvas.io import Json

WINDOW = 3
"""A rule looks at the median of so many measurements: one odd probe of 128 samples is no verdict."""
WARM_UP = 5
"""Measurements before any verdict: an untrained generator draws the same grey image from every latent."""


@dataclass(frozen=True)
class Verdict:
    """One finding."""

    name: str
    kind: Literal["problem", "note"]
    text: str
    """What was seen, with the figures."""
    fix: str
    """What to try."""

    def to_json(self) -> Json:
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.name}: {self.text} {self.fix}"


Rule = Callable[[Sequence[Json]], Verdict | None]
"""Measurements, oldest first -> the verdict at the last one."""


def _last(probes: Sequence[Json], name: str, window: int = WINDOW) -> float | None:
    """Median of a signal over the last measurements; None when it was not measured."""
    values = [probe[name] for probe in probes[-window:] if name in probe]
    return median(values) if len(values) == window else None


def non_finite_soon(probes: Sequence[Json]) -> Verdict | None:
    """Logits, losses or gradients that are huge, or large and multiplying."""
    names = (
        "real_logits",
        "fake_logits",
        "loss_critic",
        "loss_generator",
        "gradient_critic",
        "gradient_generator",
    )
    sizes = [max(abs(probe.get(name, 0.0)) for name in names) for probe in probes[-WARM_UP:]]
    growing = sizes[-1] > 1e3 and all(later > 1.5 * earlier for earlier, later in pairwise(sizes))
    if min(sizes[-2:]) > 1e4 or growing:
        return Verdict(
            "non-finite soon", "problem", f"logits, losses or gradients reached {sizes[-1]:.3g} and grow.",
            "Lower the learning rates, add --penalty r1, or use --precision fp32.",
        )  # fmt: skip
    return None


def mode_collapse(probes: Sequence[Json], window: int = WINDOW) -> Verdict | None:
    """Samples that resemble each other far more than real ones do, or classes that are missing."""
    diversity, spread, modes = (_last(probes, name, window) for name in ("diversity", "spread", "modes"))
    seen = []
    if diversity is not None and diversity < 0.3:
        seen.append(f"the nearest neighbour within a batch is {diversity:.0%} as far as among real samples")
    if spread is not None and spread < 0.3:
        seen.append(f"the spread of a batch is {spread:.0%} of the real one")
    if modes is not None and modes < 0.65:
        seen.append(f"{modes:.0%} of the classes that real data hit are drawn")
    if not seen:
        return None
    return Verdict(
        "mode collapse", "problem", "; ".join(seen) + ".",
        "Try --set network.pack=2, a stronger --gamma, --set objective.mode_seeking=0.1, or half the generator's learning rate; "
        "go back with --on-collapse rollback.",
    )  # fmt: skip


def critic_over_fitting(probes: Sequence[Json]) -> Verdict | None:
    """Training images score above held-out ones, which the critic has never seen."""
    overfit, train, held = (_last(probes, name) for name in ("overfit", "accuracy_train", "accuracy_held"))
    if (
        overfit is None
        or train is None
        or held is None
        or overfit < 0.4
        or train < 0.65
        or train - held < 0.08
    ):
        return None
    return Verdict(
        "critic over-fitting", "problem",
        f"held-out images stand {overfit:.0%} of the way from training images to fakes; "
        f"pairs ranked right {train:.0%} against {held:.0%}.",
        "Add --augment ada (or diffaugment), more images, --mirror where it is right, or a smaller critic.",
    )  # fmt: skip


def memorising(probes: Sequence[Json]) -> Verdict | None:
    """Samples far nearer to training images than held-out ones are, though they differ among themselves."""
    nearest, diversity = _last(probes, "nearest"), _last(probes, "diversity")
    if nearest is None or diversity is None or nearest > 0.65 or diversity < 0.3:
        return None
    return Verdict(
        "memorising", "problem",
        f"samples lie at {nearest:.0%} of the distance that held-out images have to the training set.",
        "Stop earlier (snapshots/), add images or --augment ada, and look at ganvas eval --metrics authenticity,data-copying.",
    )  # fmt: skip


def critic_too_strong(probes: Sequence[Json]) -> Verdict | None:
    """The critic is never wrong on data it has not seen, and the samples are far off."""
    accuracy, energy = _last(probes, "accuracy_held"), _last(probes, "energy")
    if accuracy is None or energy is None or accuracy < 0.99 or energy < 0.1:
        return None
    return Verdict(
        "critic too strong", "problem",
        f"{accuracy:.1%} of (held-out, fake) pairs are ranked right and "
        f"samples stay far from the data (energy {energy:.2f}).",
        "Lower optimizer.lr_critic or raise optimizer.lr_generator, one critic step, a stronger --gamma, or a wider generator.",
    )  # fmt: skip


def critic_too_weak(probes: Sequence[Json]) -> Verdict | None:
    """The critic can not tell samples from data although they are easy to tell apart."""
    accuracy, energy = _last(probes, "accuracy_held"), _last(probes, "energy")
    if accuracy is None or energy is None or accuracy > 0.62 or energy < 0.1:
        return None
    return Verdict(
        "critic too weak", "problem",
        f"only {accuracy:.0%} of (held-out, fake) pairs are ranked right although "
        f"samples are far from the data (energy {energy:.2f}).",
        "Raise optimizer.lr_critic, take more objective.critic_steps, a wider critic, or a weaker --gamma.",
    )  # fmt: skip


def oscillation(probes: Sequence[Json]) -> Verdict | None:
    """The same latents keep being drawn as something else, late in the run."""
    recent = [probe["movement"] for probe in probes[-WARM_UP:] if "movement" in probe]
    if len(probes) < 2 * WARM_UP or len(recent) < WARM_UP or min(recent) < 0.6:
        return None
    return Verdict(
        "oscillation", "problem",
        f"between two measurements the same latents move {median(recent):.0%} as far "
        "as two real samples lie apart, and do not settle.",
        "Lower both learning rates, take beta1 = 0, add --penalty r1, or a falling optimizer.schedule.",
    )  # fmt: skip


def _trend(probes: Sequence[Json]) -> tuple[float, float] | None:
    """Median energy distance in the last quarter of the run, and in the quarter before it."""
    values = [probe["energy"] for probe in probes if "energy" in probe]
    if len(values) < 12:
        return None
    quarter = max(3, len(values) // 4)
    return median(values[-quarter:]), median(values[-2 * quarter : -quarter])


def still_improving(probes: Sequence[Json]) -> Verdict | None:
    """The distance to the data still falls."""
    trend = _trend(probes)
    if trend is None or trend[0] > 0.9 * trend[1] or trend[1] < 0.002:
        return None
    return Verdict(
        "still improving", "note",
        f"the energy distance to the data fell from {trend[1]:.3f} to {trend[0]:.3f} over the last half.",
        "Train on: ganvas train --resume RUN with a larger budget.",
    )  # fmt: skip


def converged(probes: Sequence[Json]) -> Verdict | None:
    """The distance to the data no longer falls."""
    trend = _trend(probes)
    if trend is None or (trend[0] <= 0.9 * trend[1] and trend[1] >= 0.002):
        return None
    return Verdict(
        "converged", "note", f"the energy distance to the data stays at {trend[0]:.3f}, as before ({trend[1]:.3f}).",
        "Shape and brightness are learned; whether detail still improves, ganvas eval RUN --snapshots says. For more, try a "
        "larger --size or a longer preset.",
    )  # fmt: skip


RULES: tuple[Rule, ...] = (
    non_finite_soon,
    mode_collapse,
    critic_over_fitting,
    memorising,
    critic_too_strong,
    critic_too_weak,
    oscillation,
    still_improving,
    converged,
)
"""Most urgent first."""


def probes(records: Sequence[Json]) -> list[Json]:
    """The lines of stats.jsonl that hold a measurement of the monitor."""
    return [record for record in records if "diversity" in record]


def judge(records: Sequence[Json]) -> list[Verdict]:
    """The verdicts at the last measurement among `records`, the lines of stats.jsonl; empty while there are too few."""
    measured = probes(records)
    if len(measured) < WARM_UP:
        return []
    found = [verdict for rule in RULES if (verdict := rule(measured)) is not None]
    # A run with a problem is neither converged nor on its way.
    return [v for v in found if v.kind == "problem"] or found


def suspicious(records: Sequence[Json]) -> bool:
    """True when the last measurement alone looks like a collapse: no state to come back to."""
    return mode_collapse(probes(records), window=1) is not None


NOTES = ("still improving", "converged")
"""Verdicts that are no problem."""


def problems(records: Sequence[Json]) -> list[tuple[str, float, float]]:
    """`history` without the notes, which take turns where a run levels off."""
    return [stretch for stretch in history(records) if stretch[0] not in NOTES]


def history(records: Sequence[Json]) -> list[tuple[str, float, float]]:
    """(name, first kimg, last kimg) of every stretch of measurements in which a verdict was written to stats.jsonl."""
    stretches: list[tuple[str, float, float]] = []
    open_: dict[str, tuple[float, float]] = {}
    for record in probes(records):
        names = record.get("verdicts", [])
        for name in [name for name in open_ if name not in names]:
            stretches.append((name, *open_.pop(name)))
        for name in names:
            open_[name] = (open_.get(name, (record["kimg"], 0.0))[0], record["kimg"])
    return sorted([*stretches, *((name, *when) for name, when in open_.items())], key=lambda s: s[1])
