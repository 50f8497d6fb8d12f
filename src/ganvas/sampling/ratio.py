"""`LogRatio`: a critic, calibrated on held-out data to the log density ratio log p_data / p_G."""

import math
import os
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from ganvas import arrays, dist, io, notebook, pictures
from ganvas.checkpoint import hash_of, is_hash, rebuild
from ganvas.config import to_dict
from ganvas.data.base import fingerprint
from ganvas.device import seeded, stream
from ganvas.errors import PATH, GanvasError, counted, expect
from ganvas.features.base import at_once
from ganvas.features.classifier import Classifier
from ganvas.latent.critic import CriticScorer, judged_at_once, judges_alone, logits_of, to_floats
from ganvas.latent.space import LatentSpace
from ganvas.model import SHOWN_VALUES, Model, known, least_batch
from ganvas.notebook import shown
from ganvas.sampling.base import BATCH
from ganvas.sampling.calibration import Calibration, Method, Reliability, calibrate
from ganvas.sampling.critics import (
    FeatureCritic,
    build,
    check_guide,
    draw_batches,
    judge_once,
    train_fresh,
)
from ganvas.types import Progress

Which = Literal["auto", "own", "fresh", "features"]
MOST_REFIT = 2**14
"""Real samples that another proposal is compared with."""
LEAST_REAL = 100
"""Held-out real samples below which a calibration is refused."""
FEW_REAL = 500
SHOWN = 8
"""Samples in a row that a notebook shows."""


@dataclass
class Report:
    """What a calibration found out about the critic and about itself."""

    critic: str
    """`own`, `fresh`, `features` or `given`."""
    method: str
    real: int
    fake: int
    auc: float
    auc_error: float
    log_loss: float
    ece: float
    ess: float
    """Effective size of the weights on generated samples, as a share: (sum r)^2 / (n sum r^2)."""
    mean_ratio: float
    """Of generated samples; 1 where the ratio is one of densities."""
    kl: float
    """Mean log ratio of held-out real samples: less log `mean_ratio`, where that is above 1, a lower bound on KL(p_data | p_G) in
    nats (Donsker and Varadhan)."""
    curve: list[tuple[float, float, int]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def words(self) -> list[str]:
        """The report in words, line by line."""
        return [
            f"{self.critic} critic, {self.method} map, {self.real:,} held-out real and {self.fake:,} generated samples",
            f"AUC {self.auc:.3f} ± {self.auc_error:.3f} (0.5: cannot tell them apart), "
            f"log loss {self.log_loss:.3f} (0.693: knows nothing)",
            f"calibration error {self.ece:.3f}, effective sample size {self.ess:.1%}, "
            f"KL(data | generator) at least {max(0.0, self.kl - math.log(max(1.0, self.mean_ratio))):.2f} nats",
            *(f"warning: {each}" for each in self.warnings),
        ]

    def _repr_html_(self) -> str:
        """What a notebook shows: the words, and how often the critic is right."""
        points = [(said, found) for said, found, _ in self.curve]
        drawn = notebook.curves(
            "found share of real", {"found": points, "perfect": [(0.0, 0.0), (1.0, 1.0)]}, "predicted"
        )
        return notebook.card("Calibration", *map(notebook.line, self.words()), drawn)


class LogRatio:
    """(float samples, labels) -> log p_data / p_G (n,), differentiable. Made by `fit_ratio` or `LogRatio.load`."""

    def __init__(
        self, network: nn.Module, calibration: Calibration, real: Tensor, report: Report, model: Model,
        spec: io.Json | None = None,
    ) -> None:  # fmt: skip
        self.network, self.calibration, self.report, self.spec = network, calibration, report, spec
        self.real = real
        """Log ratios of the held-out real samples (n,): where chains start."""
        self.real_labels: Tensor | None = None
        """Their classes (n,), for conditional models; None in files from before these were kept, too."""
        self.real_groups: Tensor | None = None
        """Numbers (n,) of what is independent of one another, as windows of one sequence are not; None: each sample is."""
        self.value_range, self.shape = model.generator.value_range, model.shape
        self.model = model.hash

    def __call__(self, samples: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.calibration(self.logits(samples, labels))

    def __repr__(self) -> str:
        """One line."""
        return f"LogRatio({self.report.words()[0]}, AUC {self.report.auc:.3f}, of model {self.model})"

    @torch.no_grad()
    def _repr_html_(self) -> str:
        """What a notebook shows: the report, and the samples that look least and most real to it, where the model is in use."""
        parts, model = [self.report._repr_html_()], known(self.model)
        count = (
            0 if model is None or len(self.shape) != 3 else min(BATCH, SHOWN_VALUES // math.prod(self.shape))
        )
        if model is not None and count >= 2 * SHOWN:
            samples, labels = model.sample(count), model.labels_at(range(count))
            labels = None if labels is None else labels.to(model.device)
            order = self(to_floats(model, samples).to(model.device), labels).argsort(stable=True).cpu()
            for words, chosen in (("most", order[-SHOWN:].flip(0)), ("least", order[:SHOWN])):
                parts.append(notebook.line(f"Of {count} samples those that look {words} real to it:"))
                parts.append(notebook.picture(pictures.grid(samples[chosen], columns=SHOWN), f"{words} real"))
        return notebook.card("", *parts)

    @property
    def mark(self) -> str:
        """Sixteen digits of the SHA-256 of its critic and its map."""
        knots = [each.cpu().numpy().tobytes() for each in (self.calibration.x, self.calibration.y)]
        return fingerprint(hash_of(self.network), *knots)

    def logits(self, samples: Tensor, labels: Tensor | None = None) -> Tensor:
        """What the critic says before calibration (n,)."""
        return logits_of(self.network, samples, labels, self.value_range)

    def refit(
        self, space: LatentSpace, fake: int = 0, labels: Tensor | None = None, seed: int = 1
    ) -> "LogRatio":
        """The same critic calibrated anew for samples of another proposal (a `Truncated` space, refined samples).

        The real samples' logits are kept, of which `MOST_REFIT` count; `fake` samples are drawn, as many as these by
        default, of the same classes. With `labels` only real samples of these classes count, where there are enough.
        """
        on_real, kinds, groups = self.real_logits, self.real_labels, self.real_groups
        if kinds is not None and labels is not None:
            mine = torch.isin(kinds, labels.cpu())
            if int(mine.sum()) >= LEAST_REAL:
                on_real, kinds = on_real[mine], kinds[mine]
                groups = None if groups is None else groups[mine]
        if len(on_real) > MOST_REFIT:
            chosen = torch.randperm(len(on_real), generator=stream(seed, "refit real"))[:MOST_REFIT]
            on_real = on_real[chosen]
            kinds, groups = (None if each is None else each[chosen] for each in (kinds, groups))
        count = fake or len(on_real)
        wanted = _shared_out(labels if kinds is None else kinds, count, seed)
        drawn = draw_batches(space, count, stream(seed, "refit"), wanted)
        logits = _together(
            (_judged(self.network, part, label, space.model) for part, label in drawn), space.model
        )
        return _calibrated(
            self.network, on_real, logits, self.report.critic, "auto", space.model, self.spec, kinds, groups
        )

    real_logits: Tensor
    """Of the held-out real samples (n,), before calibration."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write one .safetensors file: critic, map, real samples' logits, report."""
        expect(path, PATH, "path", "the name of a .safetensors file")
        if self.spec is None:
            what = (
                "that was given as a function" if self.report.critic == "given" else "of unknown architecture"
            )
            raise GanvasError(f"A ratio of a critic {what} cannot be saved.")
        tensors = {f"network.{name}": tensor for name, tensor in self.network.state_dict().items()}
        tensors |= {"x": self.calibration.x, "y": self.calibration.y, "slope": self.calibration.slope}
        tensors["real_logits"] = self.real_logits
        if self.real_labels is not None:
            tensors["real_labels"] = self.real_labels
        if self.real_groups is not None:
            tensors["real_groups"] = self.real_groups
        header = {
            "kind": "ratio", "network": self.spec, "model": self.model, "report": asdict(self.report),
        }  # fmt: skip
        with io.atomic(Path(path)) as temporary:
            io.save_tensors(temporary, tensors, header)

    @classmethod
    def load(cls, path: str | os.PathLike[str], model: Model) -> "LogRatio":
        """The ratio of a file. Raises `GanvasError` when it is of another model, or damaged."""
        expect(path, PATH, "path", "the file of a ratio")
        path = Path(path)
        tensors, header = io.load_tensors(path)
        if header.get("kind") != "ratio":
            raise GanvasError(f"{path} holds a {header.get('kind')}, expected a ratio (ganvas calibrate).")
        if not is_hash(header.get("model"), model.hash):
            raise GanvasError(f"{path} was calibrated for another model. Run: ganvas calibrate MODEL")
        try:
            spec = dict(header["network"])
            report = _report(header["report"])
            weights = {k.removeprefix("network."): v for k, v in tensors.items() if k.startswith("network.")}
            calibration = Calibration(report.method, tensors["x"], tensors["y"], tensors["slope"])
            logits = tensors["real_logits"]
            calibration.check()
            if logits.dim() != 1 or not len(logits) or not logits.dtype.is_floating_point:
                raise ValueError("the real samples' logits are no row of numbers")
            if not torch.isfinite(logits).all():
                raise ValueError("a real sample's logit is not finite")
            kinds, classes = tensors.get("real_labels"), model.generator.num_classes
            if kinds is not None and (
                kinds.shape != logits.shape
                or kinds.dtype != torch.int64
                or not 0 <= int(kinds.min()) <= int(kinds.max()) < classes
            ):
                raise ValueError("the real samples' labels are no classes of the model")
            groups = tensors.get("real_groups")
            if groups is not None and (groups.shape != logits.shape or groups.dtype != torch.int64):
                raise ValueError("the real samples' groups are no numbers, one each")
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError, ArithmeticError) as error:
            raise GanvasError(f"{path} is damaged: {error!r}.") from error
        network = rebuild(
            path,
            spec,
            lambda: build(spec, model, report.critic == "own"),
            weights,
            judge_once,
            least_batch(model.shape),
        )
        network.to(model.device).eval().requires_grad_(False)
        found = cls(network, calibration, calibration(logits), report, model, spec)
        found.real_logits, found.real_labels, found.real_groups = logits, kinds, groups
        return found


def _report(values: io.Json) -> Report:
    """The report in a file. Raises `KeyError`, `TypeError` or `ValueError` for what is none."""
    curve = [(float(said), float(found), int(count)) for said, found, count in values["curve"]]
    made = Report(**{**values, "curve": curve, "warnings": [str(line) for line in values["warnings"]]})
    if not all(math.isfinite(each) for point in curve for each in point):
        raise ValueError("a point of the curve is not finite")
    for name, value in asdict(made).items():
        number = name not in ("critic", "method", "curve", "warnings")
        if number and not (isinstance(value, int | float) and math.isfinite(value)):
            raise ValueError(f"{name} is {value!r}")
    if made.method not in ("isotonic", "platt") or not isinstance(made.critic, str):
        raise ValueError(f"method {made.method!r} of critic {made.critic!r}")
    return made


def _samples(samples: Tensor, name: str, model: Model) -> Tensor:
    """uint8 images, float series or points of the model's shape. Raises `GanvasError` for others."""
    found = arrays.as_samples(samples, name, len(model.shape) == 2)
    model.check_shape(found, f"{name} samples")
    return found


def _labels(labels: Any, samples: Tensor, model: Model) -> Tensor:
    found = arrays.as_whole(labels, "labels", model.generator.num_classes)
    if len(found) != len(samples):
        raise GanvasError(
            f"{counted(len(samples), 'real sample')} and {counted(len(found), 'label')}: give as many."
        )
    return found.to(samples.device)


@shown
def fit_ratio(
    space: LatentSpace,
    real: Any,
    real_labels: Tensor | None = None,
    *,
    train: tuple[Tensor, Tensor | None] | None = None,
    guide: Classifier | None = None,
    critic: Which | Callable[[Tensor, Tensor | None], Tensor] = "auto",
    method: Method = "auto",
    fake: int = 0,
    steps: int = 0,
    seed: int = 0,
    groups: Tensor | None = None,
    progress: Progress | None = None,
) -> LogRatio:
    """Calibrate a critic of a space's own samples on held-out real data.

    `real`: uint8 images or float points that neither the generator nor the critic was trained on, with
    labels for conditional models; where a critic has to be trained and there is no `train`, half of them go
    into it. `fake` samples are drawn beside them, by default as many. `critic`: `own`, the model's (any
    loss, Wasserstein too); `fresh`, a small one trained here on `train` (real samples and labels) against
    generated ones, for models that come without; `features`, a smaller one on the features of `guide`, which
    sees what a picture shows and not the grain by which pixels give generated ones away; `auto`, features
    where there is a guide, else the model's own for images, and for points whichever of the two has the
    smaller held-out log loss; or any function of float samples and labels. `groups`: of real samples that are
    windows of longer series, the numbers (n,) of what is independent (`Dataset.stretches`), or the report would be
    too sure. Raises `GanvasError` when there is too little to learn from.
    """
    expect(space, LatentSpace, "space", 'a space of a model: ganvas.open_space(model, "z")')
    model, tell = space.model, progress or (lambda what, done, total: None)
    real = _samples(real, "real", model)
    if train is not None:
        train = (_samples(train[0], "train", model), train[1])
    if isinstance(critic, str) and critic not in get_args(Which):
        raise GanvasError(
            f"Unknown critic {critic!r}. Use auto, own, fresh, features, or a function of samples and labels."
        )
    if method not in get_args(Method):
        raise GanvasError(f"Unknown method {method!r}. Use auto, isotonic or platt.")
    for name, value in (("fake", fake), ("steps", steps)):
        arrays.count(value, name, 0)
    if fake:
        arrays.count(fake, "fake", LEAST_REAL)
    arrays.seed(seed)
    if len(real) < LEAST_REAL:
        raise GanvasError(
            f"A calibration needs at least {LEAST_REAL} held-out real samples, there are {len(real)}. Give more with --data."
        )
    if model.generator.num_classes == 0:
        real_labels, train = None, None if train is None else (train[0], None)
    elif real_labels is None or (train is not None and train[1] is None):
        raise GanvasError("The model is conditional, so the real samples need their labels.")
    else:
        real_labels = _labels(real_labels, real, model)
        train = None if train is None else (train[0], _labels(train[1], train[0], model))
    if groups is not None and len(groups := arrays.as_whole(groups, "groups")) != len(real):
        raise GanvasError(
            f"There are {len(real)} real samples and groups of {len(groups)}: give one number each."
        )
    tell("scores of the critic", 0, 1)
    own = judges_alone(model)
    if train is None and (critic in ("fresh", "features") or (critic == "auto" and not own)):
        rows, others = _halved(len(real), groups, seed)
        train = real[others], None if real_labels is None else real_labels[others]
        real, real_labels = real[rows], None if real_labels is None else real_labels[rows]
        groups = None if groups is None else groups[rows]
    named: list[tuple[str, nn.Module | Callable[..., Tensor], io.Json | None]] = []
    if callable(critic):
        named.append(("given", critic, None))
    elif critic == "features" or (critic == "auto" and guide is not None and train is not None):
        if guide is None:
            raise GanvasError(
                "There is no classifier of these data whose features a critic could see. Use --critic fresh."
            )
        check_guide(guide.shape, model)
        assert train is not None
        with seeded(seed):
            on_features = FeatureCritic(guide, model.generator.value_range)
        named.append(("features", *train_fresh(space, train, steps, seed, tell, on_features)))
    else:
        if critic == "own" and not own:
            raise GanvasError("This model has no critic of single samples. Use --critic fresh.")
        if critic != "fresh" and own:
            own_critic, built = CriticScorer(model, real, real_labels).network, model.info.architecture
            named.append(("own", own_critic, None if built is None else to_dict(built)))
        # Of pictures a fresh critic of pixels always has the smaller loss, by their grain, and guides worse.
        if train is not None and critic != "own" and (critic == "fresh" or not own or len(model.shape) != 3):
            named.append(("fresh", *train_fresh(space, train, steps, seed, tell)))
    count = fake or len(real)
    drawn = draw_batches(space, count, stream(seed, "calibration"), _shared_out(real_labels, count, seed))
    # Part by part: all samples as floats are gigabytes.
    generated = [[_judged(each, x, y, model) for _, each, _ in named] for x, y in drawn]
    found = []
    few = at_once(model.shape, BATCH)
    for place, (kind, network, spec) in enumerate(named):
        critic_: Any = network
        ours = dist.shard(arrays.split(real, real_labels, few))
        on_real = _together((_judged(critic_, x, y, model) for x, y in ours), model)
        on_fake = _together((logits[place] for logits in generated), model)
        found.append(_calibrated(critic_, on_real, on_fake, kind, method, model, spec, real_labels, groups))
    return min(found, key=lambda each: each.report.log_loss)


@torch.no_grad()
def _judged(network: Any, samples: Tensor, labels: Tensor | None, model: Model) -> Tensor:
    """Logits (n,), fewer at a time than are drawn: a critic keeps 40 MB of a picture of 256 px."""
    few = judged_at_once(samples.shape[1:])
    found = [
        logits_of(
            network,
            to_floats(model, x).to(model.device),
            None if y is None else y.to(model.device),
            model.generator.value_range,
        )
        for x, y in arrays.split(samples, labels, few)
    ]
    return torch.cat(found)


def _shared_out(labels: Tensor | None, count: int, seed: int) -> Tensor | None:
    """Classes of `count` samples in the shares of those of the real ones, which often come sorted."""
    if labels is None or len(labels) == count:
        return labels
    from ganvas.metrics.resample import in_shares  # who only draws need not import the metrics

    return in_shares(labels, count, seed)


def _together(parts: Iterable[Tensor], model: Model) -> Tensor:
    """What all processes found in their parts of the samples."""
    return torch.cat(list(dist.collect(parts))).to(model.device)


def _halved(count: int, groups: Tensor | None, seed: int) -> tuple[Tensor, Tensor]:
    """Places of one half to calibrate on, and of one to train a critic with, which a model without one of its own needs; none of
    the `groups` is in both."""
    if count < 2 * LEAST_REAL:
        raise GanvasError(
            "A critic is trained on half of the real samples, and calibrated on the other half: give at least "
            f"{2 * LEAST_REAL}, or others with train=. There are {count}."
        )
    random = stream(seed, "halves")
    if groups is None:
        first, second = torch.randperm(count, generator=random).chunk(2)
        return first, second
    side, sizes = groups.unique(return_inverse=True, return_counts=True)[1:]
    order = torch.randperm(len(sizes), generator=random)
    cut = (2 * sizes[order].cumsum(0) - count).abs().argmin() + 1  # where both are most alike
    inside = torch.isin(side, order[:cut])
    first, second = inside.nonzero()[:, 0], (~inside).nonzero()[:, 0]
    if min(len(first), len(second)) < LEAST_REAL:
        raise GanvasError(
            f"The {count} real windows come in halves of {len(first)} and {len(second)} that are independent; {LEAST_REAL} "
            "of both are needed. Give others to train a critic with (train=)."
        )
    return first, second


def _calibrated(
    network: Any, on_real: Tensor, on_fake: Tensor, kind: str, method: Method, model: Model, spec: io.Json | None,
    real_labels: Tensor | None, groups: Tensor | None,
) -> LogRatio:  # fmt: skip
    usable = on_fake[on_fake.isfinite()]
    if not on_real.isfinite().all() or len(usable) < len(on_fake) // 2:
        raise GanvasError(
            f"The {kind} critic gives NaN or infinite logits. Use --critic fresh, or see ganvas diagnose."
        )
    calibration, reliability = calibrate(on_real, usable, method, groups)
    d = calibration(usable.double())
    weights = d.exp()
    real = calibration(on_real.double())
    report = Report(
        critic=kind, method=calibration.method, real=len(on_real), fake=len(usable), auc=reliability.auc,
        auc_error=reliability.auc_error, log_loss=reliability.log_loss, ece=reliability.ece,
        ess=float(weights.sum() ** 2 / (len(weights) * weights.square().sum())), mean_ratio=float(weights.mean()),
        kl=float(real.mean()), curve=reliability.curve,
    )  # fmt: skip
    report.warnings = warnings_of(report, reliability)
    if groups is not None:
        report.warnings.append(
            f"Windows of one sequence are not independent: the error rests on {counted(len(groups.unique()), 'sequence')} or "
            "stretches of time."
        )
    found = LogRatio(network, calibration, real, report, model, spec)
    found.real_logits = on_real.double().cpu()
    found.real_labels = None if real_labels is None else real_labels.cpu()
    found.real_groups = groups
    return found


def warnings_of(report: Report, reliability: Reliability) -> list[str]:
    """When the ratio knows too little to be trusted, in words."""
    found = []
    if reliability.auc < 0.5 + 2 * reliability.auc_error:
        found.append(
            f"The {report.critic} critic cannot tell real from generated samples (AUC {reliability.auc:.3f}): "
            "nothing can be gained from it. Try --critic fresh."
        )
    if report.ess < 0.02:
        found.append(
            f"The weights rest on {report.ess:.1%} of the samples: resampling will repeat the same few. "
            "Expect much from rejection at a large budget only."
        )
    if report.real < FEW_REAL:
        found.append(
            f"Calibrated on {report.real} real samples only: log ratios above {math.log(report.real):.1f} are guesses."
        )
    if report.ece > 0.05:
        found.append(
            f"Predicted and found shares differ by {report.ece:.2f} on average: calibrate on more samples."
        )
    return found
