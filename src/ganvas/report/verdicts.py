"""From signals to plain words: what is wrong with a run, and what to try. Pure functions of the lines of stats.jsonl.

A verdict begins where its rule holds and ends where a weaker form of the rule no longer holds (hysteresis), so that a signal on
the line between two verdicts does not make them take turns.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from statistics import median
from typing import Literal

from ganvas.io import Json
from ganvas.latent.likeness import STRANGE

WINDOW = 3
"""A rule looks at the median of so many measurements: one odd probe of 128 samples is no verdict."""
WARM_UP = 5
"""Measurements before any verdict but the first one: an untrained generator draws the same grey image from every latent."""
HORIZON = 48
"""Measurements that verdicts look back on."""
SURE = 3.0
"""Standard errors by which a figure must pass its threshold where the probe may be too small to tell."""


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


Rule = Callable[[Sequence[Json], bool], Verdict | None]
"""(Measurements, oldest first; whether the verdict stands so far) -> the verdict at the last one."""


def _last(probes: Sequence[Json], name: str, window: int = WINDOW) -> float | None:
    """Median of a signal over the last measurements; None when it was not measured."""
    values = [probe[name] for probe in probes[-window:] if name in probe]
    return median(values) if len(values) == window else None


def _grows(name: str) -> bool:
    """Whether this figure is a loss, a mean logit or the norm of a gradient."""
    return (name.startswith(("loss_", "gradient_")) and name != "gradient_ratio") or name.endswith("_logits")


def non_finite_soon(probes: Sequence[Json], stands: bool) -> Verdict | None:
    """Logits, losses or gradients that are huge, or large and multiplying."""
    sizes = [
        max((abs(value) for name, value in probe.items() if _grows(name)), default=0.0)
        for probe in probes[-WARM_UP:]
    ]
    growing = sizes[-1] > 1e3 and all(later > 1.5 * earlier for earlier, later in pairwise(sizes))
    if min(sizes[-2:]) > (3e3 if stands else 1e4) or growing:
        return Verdict(
            "non-finite soon", "problem", f"logits, losses or gradients reached {sizes[-1]:.3g} and grow.",
            "Lower the learning rates, add --penalty r1, or use --precision fp32.",
        )  # fmt: skip
    return None


def mode_collapse(probes: Sequence[Json], stands: bool = False, window: int = WINDOW) -> Verdict | None:
    """Samples that resemble each other far more than real ones do, or classes that are missing."""
    diversity, spread, modes = (_last(probes, name, window) for name in ("diversity", "spread", "modes"))
    near, all_classes = (0.4, 0.75) if stands else (0.3, 0.65)
    seen = []
    if diversity is not None and diversity < near:
        seen.append(f"the nearest neighbour within a batch is {diversity:.0%} as far as among real samples")
    if spread is not None and spread < near:
        seen.append(f"the spread of a batch is {spread:.0%} of the real one")
    if modes is not None and modes < all_classes:
        seen.append(f"{modes:.0%} of the classes that real data hit are drawn")
    if not seen:
        return None
    return Verdict(
        "mode collapse", "problem", "; ".join(seen) + ".",
        "Try --set network.pack=2, a stronger --gamma, --term mode-seeking, or half the generator's learning rate; "
        "go back with --on-collapse rollback.",
    )  # fmt: skip


def critic_over_fitting(probes: Sequence[Json], stands: bool) -> Verdict | None:
    """Training images score above held-out ones, which the critic has never seen, by more than so small a probe may show."""
    overfit, train, held = (
        _last(probes, name, WARM_UP) for name in ("overfit", "accuracy_train", "accuracy_held")
    )
    if overfit is None or train is None or held is None:
        return None
    # Every measurement sees the same images: a median over several is no surer than one.
    error = _last(probes, "overfit_error", WARM_UP) or 0.0
    # The critic's scale swings from one measurement to the next, and each of the conditions with it.
    least, errors, gap, right = (0.2, 1.5, 0.03, 0.58) if stands else (0.3, SURE, 0.08, 0.65)
    if overfit < max(least, errors * error) or train < right or train - held < gap:
        return None
    return Verdict(
        "critic over-fitting", "problem",
        f"held-out samples stand {overfit:.0%}{f' (error {error:.0%})' if error else ''} of the way from training samples to "
        f"fakes; pairs ranked right {train:.0%} against {held:.0%}.",
        "Add --augment ada (or diffaugment), more data, --mirror where it is right, or a smaller critic.",
    )  # fmt: skip


def memorising(probes: Sequence[Json], stands: bool) -> Verdict | None:
    """Samples far nearer to training images than held-out ones are, though they differ among themselves."""
    nearest, diversity = _last(probes, "nearest"), _last(probes, "diversity")
    near, least = (0.75, 0.2) if stands else (0.65, 0.3)
    if nearest is None or diversity is None or nearest > near or diversity < least:
        return None
    return Verdict(
        "memorising", "problem",
        f"samples lie at {nearest:.0%} of the distance that held-out samples have to the training set.",
        "Stop earlier (snapshots/), add data or --augment ada, and look at ganvas eval --metrics authenticity,data-copying.",
    )  # fmt: skip


def critic_too_strong(probes: Sequence[Json], stands: bool) -> Verdict | None:
    """The critic is never wrong on data it has not seen, and the samples are far off."""
    accuracy, energy = _last(probes, "accuracy_held"), _last(probes, "energy")
    least, far = (0.975, 0.07) if stands else (0.99, FAR)
    if accuracy is None or energy is None or accuracy < least or energy < far:
        return None
    return Verdict(
        "critic too strong", "problem",
        f"{accuracy:.1%} of (held-out, fake) pairs are ranked right and "
        f"samples stay far from the data (energy {energy:.2f}).",
        "Lower optimizer.lr_critic or raise optimizer.lr_generator, one critic step, a stronger --gamma, or a wider generator.",
    )  # fmt: skip


def critic_too_weak(probes: Sequence[Json], stands: bool) -> Verdict | None:
    """The critic cannot tell samples from data although they are easy to tell apart."""
    accuracy, energy = _last(probes, "accuracy_held"), _last(probes, "energy")
    most, far = (0.68, 0.07) if stands else (0.62, FAR)
    if accuracy is None or energy is None or accuracy > most or energy < far:
        return None
    return Verdict(
        "critic too weak", "problem",
        f"only {accuracy:.0%} of (held-out, fake) pairs are ranked right although "
        f"samples are far from the data (energy {energy:.2f}).",
        "Raise optimizer.lr_critic, take more objective.critic_steps, a wider critic, or a weaker --gamma.",
    )  # fmt: skip


def posterior_collapse(probes: Sequence[Json], stands: bool) -> Verdict | None:
    """An encoder most of whose codes are the same for every sample: the decoder draws without them."""
    active = _last(probes, "active")
    if active is None or active > (0.35 if stands else 0.25):
        return None
    return Verdict(
        "posterior collapse", "problem",
        f"{active:.0%} of the codes tell held-out samples apart; the others say nothing of them.",
        "Lower method.options.beta, set method.options.free_bits=0.1, or take a smaller network.latent_dim.",
    )  # fmt: skip


def blurry_decoder(probes: Sequence[Json], stands: bool) -> Verdict | None:
    """Reconstructions of held-out images without the detail of the images."""
    sharpness = _last(probes, "sharpness")
    if sharpness is None or sharpness > (0.65 if stands else 0.55):
        return None
    return Verdict(
        "blurry decoder", "problem",
        f"neighbouring pixels of reconstructions differ {sharpness:.0%} as much as those of the images.",
        "Take a larger network.latent_dim, a smaller method.options.beta or sigma, a longer training, or --method vae-gan.",
    )  # fmt: skip


def critic_of_codes_too_strong(probes: Sequence[Json], stands: bool) -> Verdict | None:
    """The critic of codes is hardly ever wrong, and the codes are not what latents are drawn from."""
    accuracy, distance = _last(probes, "code_accuracy"), _last(probes, "code_distance")
    least, far = (0.92, 0.15) if stands else (0.95, 0.3)
    if accuracy is None or distance is None or accuracy < least or distance < far:
        return None
    return Verdict(
        "critic of codes too strong", "problem",
        f"{accuracy:.0%} of pairs of a latent and a code are ranked right, and the codes are not normal "
        f"(distance {distance:.2f} for each number; 0 is normal, codes of no spread are 1 away).",
        "Raise method.options.weight, lower optimizer.lr_critic, a stronger --gamma, or fewer numbers in network.latent_dim.",
    )  # fmt: skip


def dead_codes(probes: Sequence[Json], stands: bool) -> Verdict | None:
    """A code book most of whose entries stand for nothing."""
    used = _last(probes, "book_used")
    if used is None or used > (0.25 if stands else 0.15):
        return None
    return Verdict(
        "dead codes", "problem", f"held-out samples use {used:.0%} of the code book as if evenly.",
        "Take a smaller network.codes.book, raise method.options.revive, or a faster method.options.decay.",
    )  # fmt: skip


def oscillation(probes: Sequence[Json], stands: bool) -> Verdict | None:
    """The same latents keep being drawn as something else, late in the run."""
    recent = [probe["movement"] for probe in probes[-WARM_UP:] if "movement" in probe]
    if len(probes) < 2 * WARM_UP or len(recent) < WARM_UP or min(recent) < (0.45 if stands else 0.6):
        return None
    return Verdict(
        "oscillation", "problem",
        f"between two measurements the same latents move {median(recent):.0%} as far "
        "as two real samples lie apart, and do not settle.",
        "Lower both learning rates, take beta1 = 0, add --penalty r1, or a falling optimizer.schedule.",
    )  # fmt: skip


FAR = 0.1
"""Energy distance, in mean distances of real samples, above which shape and brightness are plainly off."""
ROUGH = 1.6
"""Differences of neighbouring pixels over those of real images from which samples are noise, and the reverse too smooth."""


def far_from_the_data(probes: Sequence[Json], stands: bool) -> Verdict | None:
    """Samples are not yet like the data by absolute measures: one measurement is enough to say so."""
    window = min(WINDOW, len(probes))
    energy, roughness, likeness = (
        _last(probes, name, window) for name in ("energy", "roughness", "likeness")
    )
    far, rough, like = (0.07, 1.4, 0.3) if stands else (FAR, ROUGH, STRANGE)
    seen = []
    if likeness is not None and likeness < like:
        seen.append(
            f"likeness {likeness:.0%} (0 %: noise, or one sample over and over; 100 %: real ones among themselves)"
        )
    if energy is not None and energy > far:
        seen.append(
            f"their energy distance is {energy:.2f} (0 is the same distribution, 1 about that of unrelated samples)"
        )
    if roughness is not None and not 1 / rough < roughness < rough:
        kind = "noise" if roughness > 1 else "blur"
        seen.append(
            f"neighbouring pixels differ {roughness:.2g} times as much as in real images, which is {kind}"
        )
    if not seen:
        return None
    return Verdict(
        "far from the data", "note", f"samples do not look like the data: {'; '.join(seen)}.",
        "Train on, and look at samples/. Where this stays, the run needs more time, a simpler preset or more data.",
    )  # fmt: skip


def _trend(probes: Sequence[Json]) -> tuple[float, float, float] | None:
    """Median energy distance in the first and in the last third, and the standard error of their difference.

    The error is that of two medians of independent values that scatter as neighbours in time do.
    """
    values = [probe["energy"] for probe in probes if "energy" in probe]
    if len(values) < 12:
        return None
    third = len(values) // 3
    # The median keeps the great falls of the first measurements out: 1.05 = 1.4826 / sqrt(2) makes a standard deviation of it.
    scatter = 1.05 * median(abs(b - a) for a, b in pairwise(values))
    return median(values[:third]), median(values[-third:]), 1.25 * scatter * (2 / third) ** 0.5


FALLS = (4.5, 0.15, 0.002)
"""Standard errors, share and distance by which the energy must fall to be called falling."""
LEVEL = (1.5, 0.05, 0.001)
"""The same, below which it is called level. Between the two what was said last stands: they can hardly take turns."""


def _falls(trend: tuple[float, float, float], limits: tuple[float, float, float]) -> bool:
    before, now, error = trend
    errors, share, least = limits
    return before - now > max(errors * error, share * before, least)


def still_improving(probes: Sequence[Json], stands: bool) -> Verdict | None:
    """The distance to the data falls by more than its noise."""
    trend = _trend(probes)
    if trend is None or not _falls(trend, LEVEL if stands else FALLS):
        return None
    before, now, error = trend
    span = probes[-1]["kimg"] - probes[0]["kimg"]
    return Verdict(
        "still improving", "note",
        f"over the last {span:.0f} kimg the energy distance to the data fell from {_shown(before)} to {_shown(now)} "
        f"(error {error:.3f}).",
        "Let it train on, beyond its budget by: ganvas train --resume RUN --more 10",
    )  # fmt: skip


def levelled_off(probes: Sequence[Json], stands: bool) -> Verdict | None:
    """The distance to the data no longer falls by more than its noise."""
    trend = _trend(probes)
    if trend is None or len(probes) < HORIZON // 2 or _falls(trend, FALLS if stands else LEVEL):
        return None
    _, now, error = trend
    span = probes[-1]["kimg"] - probes[0]["kimg"]
    return Verdict(
        "levelled off", "note",
        f"over the last {span:.0f} kimg the energy distance to the data stayed at {_shown(now)} (error {error:.3f}).",
        "It sees averages of 14 x 14 at most: whether detail still improves, ganvas eval RUN --snapshots says. For more, try "
        "a larger --size or a longer preset.",
    )  # fmt: skip


def _shown(energy: float) -> str:
    """The estimate is unbiased and so may fall below 0, where a distance cannot be."""
    return f"{max(0.0, energy):.3f}"


RULES: dict[str, Rule] = {
    "non-finite soon": non_finite_soon,
    "mode collapse": mode_collapse,
    "critic over-fitting": critic_over_fitting,
    "memorising": memorising,
    "critic too strong": critic_too_strong,
    "critic too weak": critic_too_weak,
    "posterior collapse": posterior_collapse,
    "blurry decoder": blurry_decoder,
    "critic of codes too strong": critic_of_codes_too_strong,
    "dead codes": dead_codes,
    "oscillation": oscillation,
    "far from the data": far_from_the_data,
    "still improving": still_improving,
    "levelled off": levelled_off,
}
"""Name of the verdict -> its rule, most urgent first."""
IN_PRIVATE = "Its training is private, which rules most remedies out: more --kimg, a larger --batch or --epsilon (docs/leaks.md)."
"""What to try, in place of what would break the guarantee and is refused."""
FROM_THE_FIRST = ("far from the data",)
"""Verdicts that need no warm-up."""


def probes(records: Sequence[Json]) -> list[Json]:
    """The lines of stats.jsonl that hold a measurement of the monitor, since the run last went back after a collapse."""
    measured = [record for record in records if "diversity" in record]
    return [record for record in measured if record.get("rollbacks", 0) == measured[-1].get("rollbacks", 0)]


def of(records: Sequence[Json]) -> list[Verdict]:
    """The verdicts that stand at the last measurement among `records`, the lines of stats.jsonl, problems first.

    Which verdicts stood before is read from the lines, or worked out where they do not say.
    """
    measured = probes(records)[-HORIZON:]
    standing: list[str] = []
    first = 1
    for i in range(len(measured) - 1, 0, -1):
        if "verdicts" in measured[i - 1]:
            standing, first = measured[i - 1]["verdicts"], i + 1
            break
    found: list[Verdict] = []
    for end in range(first, len(measured) + 1):
        found = _at(measured[:end], standing)
        standing = [verdict.name for verdict in found]
    if measured and "epsilon" in measured[-1]:
        found = [replace(verdict, fix=IN_PRIVATE) for verdict in found]
    return found


def _at(measured: Sequence[Json], standing: Sequence[str]) -> list[Verdict]:
    names = RULES if len(measured) >= WARM_UP else FROM_THE_FIRST
    found = [v for name in names if (v := RULES[name](measured, name in standing)) is not None]
    # A run with a problem has not levelled off, nor is it on its way.
    problems = [verdict for verdict in found if verdict.kind == "problem"]
    return problems or found


NOTES = ("far from the data", "still improving", "levelled off", "converged")
"""Verdicts that are no problem; the last one is of runs of before."""


def suspicious(records: Sequence[Json]) -> bool:
    """True when the last measurement alone looks like a collapse: no state to come back to."""
    return mode_collapse(probes(records), window=1) is not None


def healthy_until(records: Sequence[Json]) -> float:
    """The kimg of the last measurement that looks like no collapse, neither alone nor with those before it; 0: there is none."""
    found = 0.0
    for end, each in enumerate(measured := probes(records), 1):
        if mode_collapse(measured[max(0, end - WINDOW) : end]) is None and not suspicious([each]):
            found = each["kimg"]
    return found


def nothing(records: Sequence[Json]) -> str:
    """What to say when `of` found nothing: never that all is well, which the monitor cannot know."""
    count = len(probes(records))
    if not count:
        return "No measurements: the run is too short, or training.monitor_kimg is 0."
    if count < WARM_UP:
        return f"Too early to say: {count} of the {WARM_UP} measurements that verdicts need."
    return "No verdict: none of the faults that the monitor knows is seen. How good the samples are, ganvas eval RUN says."


def problems(records: Sequence[Json]) -> list[tuple[str, float, float]]:
    """`history` without the notes."""
    return [stretch for stretch in history(records) if stretch[0] not in NOTES]


def history(records: Sequence[Json]) -> list[tuple[str, float, float]]:
    """(name, first kimg, last kimg) of every stretch of measurements in which a verdict was written to stats.jsonl."""
    stretches: list[tuple[str, float, float]] = []
    open_: dict[str, tuple[float, float]] = {}
    for record in [record for record in records if "diversity" in record]:
        names = record.get("verdicts", [])
        for name in [name for name in open_ if name not in names]:
            stretches.append((name, *open_.pop(name)))
        for name in names:
            open_[name] = (open_.get(name, (record["kimg"], 0.0))[0], record["kimg"])
    return sorted([*stretches, *((name, *when) for name, when in open_.items())], key=lambda s: s[1])
