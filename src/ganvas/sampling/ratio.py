"""`LogRatio`: a critic, calibrated on held-out data to log p_data / p_G: the realism of a sample."""

import copy
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganvas import io
from ganvas.checkpoint import Checkpoint
from ganvas.config import NetworkConfig, from_dict, to_dict
from ganvas.device import stream
from ganvas.errors import GanvasError
from ganvas.features.base import hash_of
from ganvas.features.classifier import Classifier
from ganvas.latent.fit import fit
from ganvas.latent.space import LatentSpace, LatentZ
from ganvas.model import Model
from ganvas.networks import build_critic, from_uint8
from ganvas.networks.layers import MinibatchStd
from ganvas.sampling.base import BATCH
from ganvas.sampling.calibration import Calibration, Method, Quality, calibrate

Which = Literal["auto", "own", "fresh", "features"]
Progress = Callable[[str, int, int], None]
LEAST_REAL = 100
"""Held-out real samples below which a calibration is refused."""
FEW_REAL = 500
LARGEST_SIDE = 64
POOL = 30_000
"""Samples that a fresh critic is trained on, at most, of each kind."""


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
    """Mean log ratio of held-out real samples: a lower bound on KL(p_data | p_G) in nats."""
    curve: list[tuple[float, float, int]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


class LogRatio:
    """(float samples, labels) -> log p_data / p_G (n,), differentiable. Made by `fit_ratio` or `LogRatio.load`."""

    def __init__(
        self, network: nn.Module, calibration: Calibration, real: Tensor, report: Report, model: Model,
        spec: io.Json | None = None,
    ) -> None:  # fmt: skip
        self.network, self.calibration, self.report, self.spec = network, calibration, report, spec
        self.real = real
        """Log ratios of the held-out real samples (n,): where chains start."""
        self.value_range, self.shape = model.generator.value_range, model.shape
        self.model = hash_of(model.generator)

    def __call__(self, samples: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.calibration(self.logits(samples, labels))

    def logits(self, samples: Tensor, labels: Tensor | None = None) -> Tensor:
        """What the critic says before calibration (n,)."""
        return _judge(self.network, samples, labels, self.value_range)

    def refit(self, space: LatentSpace, fake: int = 0, labels: Tensor | None = None, seed: int = 1) -> "LogRatio":
        """The same critic calibrated anew for samples of another proposal (a `Truncated` space, refined samples).

        The real samples' logits are kept; `fake` samples are drawn, as many as there were real ones by default.
        """
        drawn = _draw(space, fake or len(self.real_logits), stream(seed, "refit"), labels)
        logits = torch.cat([self.logits(part, label) for part, label in drawn])
        return _calibrated(self.network, self.real_logits, logits, self.report.critic, "auto", space.model, self.spec)

    real_logits: Tensor
    """Of the held-out real samples (n,), before calibration."""

    def save(self, path: Path) -> None:
        """Write one .safetensors file: critic, map, real samples' logits, report."""
        if self.spec is None:
            raise GanvasError("A ratio of a critic that was given as a function can not be saved.")
        tensors = {f"network.{name}": tensor for name, tensor in self.network.state_dict().items()}
        tensors |= {"x": self.calibration.x, "y": self.calibration.y, "slope": self.calibration.slope}
        tensors["real_logits"] = self.real_logits
        header = {
            "kind": "ratio", "network": self.spec, "model": self.model, "report": asdict(self.report),
        }  # fmt: skip
        with io.atomic(path) as temporary:
            io.save_tensors(temporary, tensors, header)

    @classmethod
    def load(cls, path: Path, model: Model) -> "LogRatio":
        """The ratio of a file. Raises `GanvasError` when it is of another model, or damaged."""
        tensors, header = io.load_tensors(path)
        if header.get("kind") != "ratio":
            raise GanvasError(f"{path} holds a {header.get('kind')}, expected a ratio (ganvas calibrate).")
        if header.get("model") != hash_of(model.generator):
            raise GanvasError(f"{path} was calibrated for another model. Run: ganvas calibrate MODEL")
        try:
            spec = dict(header["network"])
            report = Report(**{**header["report"], "curve": [tuple(row) for row in header["report"]["curve"]]})
            network = _build(spec, model)
            weights = {k.removeprefix("network."): v for k, v in tensors.items() if k.startswith("network.")}
            network.load_state_dict(weights)
            calibration = Calibration(report.method, tensors["x"], tensors["y"], tensors["slope"])
            logits = tensors["real_logits"]
        except (KeyError, TypeError, RuntimeError) as error:
            raise GanvasError(f"{path} is damaged: {error!r}.") from error
        network.to(model.device).eval().requires_grad_(False)
        found = cls(network, calibration, calibration(logits), report, model, spec)
        found.real_logits = logits
        return found


def fit_ratio(
    space: LatentSpace,
    real: Tensor,
    real_labels: Tensor | None = None,
    *,
    train: tuple[Tensor, Tensor | None] | None = None,
    guide: Classifier | None = None,
    critic: Which | Callable[[Tensor, Tensor | None], Tensor] = "auto",
    method: Method = "auto",
    fake: int = 0,
    steps: int = 0,
    seed: int = 0,
    progress: Progress | None = None,
) -> LogRatio:
    """Calibrate a critic of a space's own samples on held-out real data.

    `real`: uint8 images or float points that neither the generator nor the critic was trained on, with labels for
    conditional models. `fake` samples are drawn beside them, by default as many. `critic`: `own`, the model's (any loss,
    Wasserstein too); `fresh`, a small one trained here on `train` (real samples and labels) against generated ones, for models
    that come without; `features`, a smaller one on the features of `guide`, which sees what a picture shows and not the grain by
    which pixels give generated ones away; `auto`, features where there is a guide, else whichever of the others has the smaller
    held-out log loss; or any function of float samples and labels. Raises `GanvasError` when there is too little to learn from.
    """
    model, tell = space.model, progress or (lambda what, done, total: None)
    if tuple(real.shape[1:]) != tuple(model.shape):
        raise GanvasError(f"The model draws {tuple(model.shape)}, the real samples are {tuple(real.shape[1:])}.")
    if len(real) < LEAST_REAL:
        raise GanvasError(
            f"A calibration needs at least {LEAST_REAL} held-out real samples, there are {len(real)}. Give more with --data."
        )
    if model.generator.num_classes == 0:
        real_labels, train = None, None if train is None else (train[0], None)
    elif real_labels is None:
        raise GanvasError("The model is conditional, so the real samples need their labels.")
    named: list[tuple[str, nn.Module | Callable[..., Tensor], io.Json | None]] = []
    if critic in ("fresh", "features") and train is None:
        raise GanvasError("A fresh critic needs real samples to train on.")
    if callable(critic):
        named.append(("given", critic, None))
    elif critic == "features" or (critic == "auto" and guide is not None and train is not None):
        if guide is None:
            raise GanvasError(
                "There is no classifier of these data whose features a critic could see. Use --critic fresh."
            )
        assert train is not None
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            on_features = FeatureCritic(guide, model.generator.value_range)
        named.append(("features", *_fresh(space, train, steps, seed, tell, on_features)))
    else:
        own = model.critic is not None and model.critic.pack == 1
        if critic == "own" and not own:
            raise GanvasError("This model has no critic of single samples. Use --critic fresh.")
        if critic != "fresh" and own:
            assert model.critic is not None
            named.append(("own", copy.deepcopy(model.critic), to_dict(model.config.network)))
        if train is not None and critic != "own":
            named.append(("fresh", *_fresh(space, train, steps, seed, tell)))
    if not named:
        raise GanvasError("This model has no critic, and there are no real samples to train one on.")
    generated = list(_draw(space, fake or len(real), stream(seed, "calibration"), _spread(real_labels, fake)))
    found = []
    for kind, network, spec in named:
        if kind == "own":
            network = _frozen(network, _minibatch_std(network, model, real, real_labels))  # type: ignore[arg-type]
        judge: Any = network
        range_, floats = model.generator.value_range, _to_floats(model, real)
        with torch.no_grad():
            labels = [None] * len(floats) if real_labels is None else real_labels.split(BATCH)
            on_real = torch.cat(
                [
                    _judge(judge, x.to(model.device), None if y is None else y.to(model.device), range_)
                    for x, y in zip(floats.split(BATCH), labels, strict=False)
                ]
            )
            on_fake = torch.cat([_judge(judge, x, y, range_) for x, y in generated])
        found.append(_calibrated(judge, on_real, on_fake, kind, method, model, spec))
    return min(found, key=lambda each: each.report.log_loss)


def _calibrated(
    network: Any, on_real: Tensor, on_fake: Tensor, kind: str, method: Method, model: Model, spec: io.Json | None
) -> LogRatio:  # fmt: skip
    usable = on_fake[on_fake.isfinite()]
    if not on_real.isfinite().all() or len(usable) < len(on_fake) // 2:
        raise GanvasError(
            f"The {kind} critic gives NaN or infinite logits. Use --critic fresh, or see ganvas diagnose."
        )
    calibration, quality = calibrate(on_real, usable, method)
    d = calibration(usable.double())
    weights = d.exp()
    real = calibration(on_real.double())
    report = Report(
        critic=kind, method=calibration.method, real=len(on_real), fake=len(usable), auc=quality.auc,
        auc_error=quality.auc_error, log_loss=quality.log_loss, ece=quality.ece,
        ess=float(weights.sum() ** 2 / (len(weights) * weights.square().sum())), mean_ratio=float(weights.mean()),
        kl=float(real.mean()), curve=quality.curve,
    )  # fmt: skip
    report.warnings = warnings_of(report, quality)
    found = LogRatio(network, calibration, real, report, model, spec)
    found.real_logits = on_real.double().cpu()
    return found


def warnings_of(report: Report, quality: Quality) -> list[str]:
    """When the ratio knows too little to be trusted, in words."""
    found = []
    if quality.auc < 0.5 + 2 * quality.auc_error:
        found.append(
            f"The {report.critic} critic can not tell real from generated samples (AUC {quality.auc:.3f}): "
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
        found.append(f"Predicted and found shares differ by {report.ece:.2f} on average: calibrate on more samples.")
    return found


class _ConstantChannel(nn.Module):
    """What stands in for `MinibatchStd` when samples are judged one by one: its usual value, whatever the neighbours are."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.register_buffer("value", torch.tensor(value))

    def forward(self, x: Tensor) -> Tensor:
        value: Any = self.value
        return torch.cat([x, value.to(x.dtype).expand(x.shape[0], 1, *x.shape[2:])], 1)


def _frozen(network: nn.Module, value: float) -> nn.Module:
    """The critic with its minibatch statistics replaced by a constant, ready to judge."""
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, MinibatchStd):
                setattr(module, name, _ConstantChannel(value))
    return network.eval().requires_grad_(False)


@torch.no_grad()
def _minibatch_std(network: nn.Module, model: Model, real: Tensor, labels: Tensor | None) -> float:
    """The mean of what `MinibatchStd` adds on real samples; 0 without one."""
    seen: list[float] = []
    hooks = [
        module.register_forward_hook(lambda m, i, output: seen.append(float(output[:, -1].mean())))
        for module in network.modules()
        if isinstance(module, MinibatchStd)
    ]
    rows = slice(0, min(len(real), BATCH))
    network(_to_floats(model, real[rows]).to(model.device), None if labels is None else labels[rows].to(model.device))
    for hook in hooks:
        hook.remove()
    return sum(seen) / len(seen) if seen else 0.0


def _to_floats(model: Model, samples: Tensor) -> Tensor:
    return from_uint8(samples, model.generator.value_range) if samples.dtype == torch.uint8 else samples


def _seen(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that a fresh critic takes: images as squares of 8 to `LARGEST_SIDE` px with an even side."""
    if len(shape) != 3:
        return shape
    side = max(8, min(LARGEST_SIDE, max(shape[1:])))
    fits = shape[1] == shape[2] == side and side % 2 == 0
    return shape if fits else (shape[0], side + side % 2, side + side % 2)


def _judge(
    network: Callable[..., Tensor], samples: Tensor, labels: Tensor | None, range_: tuple[float, float]
) -> Tensor:
    """Logits (n,). Images are rounded to 8 bits as they will be kept, with the gradient passed through."""
    if samples.dim() == 4:
        low, high = range_
        levels = (samples - low) * (255 / (high - low))
        samples = samples + ((levels.round().clamp(0, 255) - levels) * ((high - low) / 255)).detach()
        wanted = getattr(network, "shape", tuple(samples.shape[1:]))
        if tuple(wanted) != tuple(samples.shape[1:]):
            samples = F.interpolate(samples, tuple(wanted[1:]), mode="bilinear", antialias=True, align_corners=False)
    logits: Tensor = network(samples, labels)
    return logits.float()


def _spread(labels: Tensor | None, fake: int) -> Tensor | None:
    """Labels of the real samples for the generated ones: both sides must hold the same classes."""
    return labels if labels is None or not fake else labels.repeat(-(-fake // len(labels)))[:fake]


@torch.no_grad()
def _draw(
    space: LatentSpace, n: int, random: torch.Generator, labels: Tensor | None
) -> list[tuple[Tensor, Tensor | None]]:
    """Float samples and labels in batches, n in all."""
    chosen = space.labels(n, labels)
    batches = []
    for start in range(0, n, BATCH):
        size = min(BATCH, n - start)
        label = None if chosen is None else chosen[start : start + size]
        u = torch.randn(size, space.model.latent_dim, generator=random).to(space.model.device)
        batches.append((space.decode(space.from_noise(u, label), label), label))
    return batches


def _build(spec: io.Json, model: Model) -> nn.Module:
    """The critic that a file describes, without its weights."""
    if "classes" in spec:
        guide = Classifier(tuple(spec["shape"]), int(spec["classes"]), int(spec["channels"]), int(spec["width"]))
        return FeatureCritic(guide, model.generator.value_range)
    config = from_dict(NetworkConfig, spec)
    return _frozen(build_critic(config, _seen(model.shape), model.generator.num_classes), 1.0)


class FeatureCritic(nn.Module):
    """Three dense layers on the features of a classifier, which stays as it is. Float samples (n, C, H, W) -> logits (n,).

    Labels are not looked at: the features know the class.
    """

    def __init__(self, guide: Classifier, value_range: tuple[float, float], hidden: int = 128) -> None:
        super().__init__()
        self.guide, self.shape, self.value_range = (
            copy.deepcopy(guide).eval().requires_grad_(False),
            guide.shape,
            value_range,
        )
        self.register_buffer("middle", torch.zeros(guide.width))
        self.register_buffer("spread", torch.ones(guide.width))
        self.layers = nn.Sequential(
            nn.Linear(guide.width, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, 1)
        )

    def features(self, samples: Tensor) -> Tensor:
        """(n, width)"""
        low, high = self.value_range
        found: Tensor = self.guide.body((samples - low) * (2 / (high - low)) - 1)
        return found

    def head(self, features: Tensor) -> Tensor:
        """Features -> logits."""
        middle: Any = self.middle
        spread: Any = self.spread
        logits: Tensor = self.layers((features - middle) / spread)[:, 0]
        return logits

    def forward(self, samples: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.head(self.features(samples))


def _fresh(
    space: LatentSpace, train: tuple[Tensor, Tensor | None], steps: int, seed: int, tell: Progress,
    on_features: FeatureCritic | None = None,
) -> tuple[nn.Module, io.Json]:  # fmt: skip
    """A small critic trained by cross-entropy on real against generated samples, the generator as it is.

    Cross-entropy at its minimum is the log ratio itself (Goodfellow et al. 2014).
    """
    model, batch = space.model, 128
    network: nn.Module
    if on_features is None:
        images = len(model.shape) == 3
        options: dict[str, Any] = {"hidden": [128, 128, 128], "act": "leaky", "fourier": 3}
        if images:
            options = {"channels": 24, "minibatch_std": False}
        config = NetworkConfig(
            "dcgan" if images else "mlp", conditional=model.generator.num_classes > 0, critic=options
        )
        network, spec = build_critic(config, _seen(model.shape), model.generator.num_classes, seed), to_dict(config)
    else:
        network, guide = on_features, on_features.guide
        spec = {"shape": list(guide.shape), "classes": guide.classes, "channels": guide.channels, "width": guide.width}
    network = network.to(model.device)
    random = stream(seed, "fresh critic")
    rows = torch.randperm(len(train[0]), generator=random)[:POOL]
    real, real_labels = train[0][rows], None if train[1] is None else train[1][rows]
    fakes: list[Tensor] = []
    count = min(POOL, max(2000, 2 * len(real)))
    wanted = space.labels(count, real_labels)
    for start in range(0, count, BATCH):
        label = None if wanted is None else wanted[start : start + BATCH]
        size = min(BATCH, count - start)
        with torch.no_grad():
            u = torch.randn(size, model.latent_dim, generator=random).to(model.device)
            fakes.append(model.to_data(space.decode(space.from_noise(u, label), label)).cpu())
        tell("samples for the critic", start + size, count)
    pool = torch.cat(fakes)
    steps = steps or max(300, min(2000, 8 * len(real) // batch))
    judge: Callable[[Tensor, Tensor | None], Tensor] = network
    sides: list[tuple[Tensor, Tensor | None, float]] = [(real, real_labels, -1.0), (pool, wanted, 1.0)]
    if on_features is not None:  # each picture is looked at once, the head many times
        with torch.no_grad():
            seen = [_features_of(on_features, model, samples) for samples, _, _ in sides]
        on_features.middle, on_features.spread = seen[0].mean(0), seen[0].std(0) + 1e-3
        sides = [(features, None, sign) for features, (_, _, sign) in zip(seen, sides, strict=True)]
        steps = 2 * steps

    def loss() -> Tensor:
        losses = []
        for samples, labels, sign in sides:
            chosen = torch.randint(len(samples), (batch,), generator=random)
            if on_features is not None:
                logits = on_features.head(samples[chosen.to(samples.device)])
            else:
                label = None if labels is None else labels[chosen.to(labels.device)].to(model.device)
                x = _to_floats(model, samples[chosen]).to(model.device)
                logits = _judge(judge, x, label, model.generator.value_range)
            losses.append(F.softplus(sign * logits).mean())
        return torch.stack(losses).sum()

    def falling(step: int) -> float:
        return (1e-3 if on_features is not None else 2e-3) * (1 - step / steps) + 1e-5

    learning: nn.Module = network if on_features is None else on_features.layers
    fit([("critic", learning)], loss, falling, steps, random, Checkpoint(None, {}), lambda d, t: tell("critic", d, t))
    network.eval().requires_grad_(False)
    return network, spec


def _features_of(critic: FeatureCritic, model: Model, samples: Tensor) -> Tensor:
    return torch.cat([critic.features(_to_floats(model, part).to(model.device)) for part in samples.split(BATCH)])


def space_of(model: Model) -> LatentSpace:
    """Where samplers work by default: z, whose every point stands for one sample."""
    return LatentZ(model)
