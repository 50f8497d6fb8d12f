"""The truth of a run: frozen dataclasses that go to JSON and back. Imports no torch."""

import dataclasses
import json
import math
import types
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from ganvas.errors import GanvasError
from ganvas.registry import did_you_mean

Resize = Literal["crop", "fit", "stretch"]
Options = Mapping[str, Any]


@dataclass(frozen=True)
class DataConfig:
    """What is trained on."""

    source: str = ""
    """`digits`, `fashion-mnist`, a folder, a .zip, a .npy/.npz, `toy:...` or `hub:org/name`."""
    resolution: int | None = None
    """Side of the square images in pixels, or the width beside `height`; None keeps the size of the source."""
    resize: Resize | None = None
    """How other sizes get there: `crop` the centre, `fit` with black bars, or `stretch`."""
    mirror: bool = False
    """Flip half of the images left-right. Wrong for letters, digits and anything with a handedness."""
    holdout: float = 0.1
    """Share set aside and never trained on (at most 10,000), for calibration and over-fitting checks."""
    fold: int = 0
    """Which share is set aside: with a holdout of 1/K, folds 0 to K - 1 have nothing in common."""
    also: tuple[str, ...] = ()
    """Further data sets of the same run; the set is the label."""
    select: float = 1.0
    """Train on this share of the images only: the likeliest under a Gaussian in feature space (instance selection)."""
    balance: bool = False
    """Show every class (or data set) equally often: the smaller ones repeat."""
    height: int | None = None
    """Height of images that are not square; `resolution` is then their width."""
    alpha: bool = False
    """Keep what is transparent as a fourth channel, invisible parts being black; else transparent parts become white."""
    white: float | None = None
    """What becomes white in grey pictures of more than 8 bits; None: 1, 255, 511, ... by the brightest of them. A run keeps what
    that was, so that other pictures are read alike."""
    window: int | None = None
    """Steps of the windows that series are cut into; None keeps whole sequences, and takes 24 of one long one."""
    columns: tuple[str, ...] = ()
    """Columns of a table that are drawn; none: all of them."""
    time: str = ""
    """Its column of time; empty: the first one with rising dates, if any."""
    by: str = ""
    """The column that tells one sequence of a table from another."""
    static: tuple[str, ...] = ()
    """Columns that are constant in a sequence, drawn once beside it."""
    label: str = ""
    """The column with the class of a sequence."""


@dataclass(frozen=True)
class NetworkConfig:
    """The generator and the critic."""

    name: str = "dcgan"
    """A family from `ganvas list networks`."""
    latent_dim: int = 64
    """Length of the latent z, drawn from a standard normal."""
    categorical: tuple[int, ...] = ()
    """Sizes of the one-hot codes that z begins with, which the critic learns to read from the samples (InfoGAN)."""
    conditional: bool = False
    """Feed the labels of the data to both networks."""
    pack: int = 1
    """Samples that the critic judges as one, which shows it a lack of diversity (PacGAN)."""
    generator: Options = field(default_factory=dict)
    """Keyword arguments of the family's generator."""
    critic: Options = field(default_factory=dict)
    """Keyword arguments of the family's critic."""
    critic_name: str = ""
    """Take the critic from another family; empty: from the same one."""
    codes: Options = field(default_factory=dict)
    """What stands between z and a decoder: `components` of a mixture that is fitted to the codes of the data; `book` and `dim`,
    a code book; `network`, a generator of codes.
    """


@dataclass(frozen=True)
class PenaltyConfig:
    """One regulariser of the critic."""

    name: str = "r1"
    """From `ganvas list penalties`."""
    weight: float = 1.0
    """gamma of R1 and R2, lambda of WGAN-GP; of no meaning for clipping, which has `bound`."""
    interval: int = 1
    """Apply it every so many steps (lazy regularisation); the loss is scaled by the same number."""
    bound: float | None = None
    """Of weight clipping; None: `weight`, which is where configs of before have it."""
    weight_end: float | None = None
    """The weight at the end of the budget, reached by a cosine; None: it stays."""


@dataclass(frozen=True)
class TermConfig:
    """One thing that a network minimises besides its loss."""

    name: str = "feature-matching"
    """From `ganvas list terms`."""
    weight: float | None = None
    """What it is multiplied by; None: as the term is published. 0 leaves it out."""
    interval: int | None = None
    """Apply it every so many steps, scaled by the same number; None: as the term is published."""
    options: Options = field(default_factory=dict)
    """Further numbers of the term, for instance `{"damping": 0.1}` of latent-optimisation."""


@dataclass(frozen=True)
class MethodConfig:
    """How the networks are trained."""

    name: str = "gan"
    """From `ganvas list methods`."""
    options: Options = field(default_factory=dict)
    """What the method reads besides the rest of the config."""


@dataclass(frozen=True)
class ObjectiveConfig:
    """The objective of generator and critic."""

    loss: str = "non-saturating"
    """From `ganvas list losses`."""
    penalties: tuple[PenaltyConfig, ...] = ()
    critic_steps: int = 1
    """Critic updates for one generator update."""
    instance_noise: float = 0.0
    """Standard deviation of the noise on every image that the critic sees, falling linearly to 0."""
    input_noise: float = 0.0
    """Standard deviation of the noise added to the latent before the generator, in training only."""
    terms: tuple[TermConfig, ...] = ()
    """What else they minimise; terms of the critic's heads join by themselves."""


@dataclass(frozen=True)
class AugmentConfig:
    """Differentiable augmentation of what the critic sees, for small data."""

    policy: tuple[str, ...] = ()
    """From `ganvas list augmentations`; none: no augmentation."""
    p: float = 1.0
    """Probability of each for each image; where it starts when it is adaptive."""
    p_end: float | None = None
    """The probability at the end of the budget, reached by a cosine; None: it stays, or adapts."""
    target: float | None = None
    """Mean sign of the real logits that p follows (ADA: 0.6); None: p stays."""
    kimg: float = 500.0
    """Images in which an adaptive p goes from 0 to 1."""
    limit: float = 0.8
    """The highest that an adaptive p gets; 1 as published, less where augmentations must not leak into the samples."""
    pseudo: bool = False
    """Show the critic fakes as real with probability p (adaptive pseudo augmentation)."""


@dataclass(frozen=True)
class OptimizerConfig:
    """How both networks are updated."""

    name: Literal["adam", "rmsprop"] = "adam"
    lr_generator: float = 2e-4
    lr_critic: float = 2e-4
    beta1: float = 0.0
    beta2: float = 0.99
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """How the learning rate falls over the budget to `rate_end` of it."""
    rate_end: float = 0.02
    """Share of the learning rate that `cosine` and `linear` end at."""
    beta2_end: float | None = None
    """beta2 at the end of the budget, reached by a cosine; None: it stays."""


@dataclass(frozen=True)
class TrainingConfig:
    """How long, how large, how repeatable. Progress is counted in thousands of images (kimg)."""

    kimg: float | None = 1000.0
    """Stop after so many thousand real images; None: only `minutes` counts."""
    minutes: float | None = None
    """Stop after so many minutes of training; whichever budget ends first."""
    batch: int = 64
    seed: int = 0
    ema_kimg: float = 10.0
    """Half-life of the averaged generator in kimg; 0 turns averaging off."""
    ema_end_kimg: float | None = None
    """The half-life at the end of the budget, reached by a cosine; None: it stays."""
    ema_rampup: float | None = 0.05
    """The half-life is at most this share of the images seen so far; None: full from the start."""
    start: str = ""
    """The model whose weights a new run begins with; empty: random ones."""
    freeze_critic: int = 0
    """So many of the critic's first layers are not trained (freeze-D): for fine-tuning."""
    freeze_mapping: bool = False
    """Keep the mapping network of a style-based generator as it is."""
    ema_also_kimg: tuple[float, ...] = ()
    """Half-lives of further averages, kept as generator-ema2.safetensors of a snapshot: choose after the run."""
    ema_statistics: bool = False
    """Average the running figures of norms like the weights; off: they are copied."""
    snapshot_kimg: float = 200.0
    """Write a snapshot, a preview and the resume state every so many kimg."""
    log_kimg: float = 2.0
    """Write a line of statistics every so many kimg."""
    eval_kimg: float = 0.0
    """Measure the averaged generator at the first snapshot after every so many kimg and keep the best one; 0: never."""
    monitor_kimg: float = 4.0
    """Measure what goes on in the run (docs/train.md, the monitor) every so many kimg; 0: never."""
    duality_steps: int = 0
    """Measure the duality gap at every snapshot by so many updates of a copy of each player; 0: never."""
    on_collapse: Literal["warn", "stop", "rollback"] = "warn"
    """What to do about a collapse of modes: say it, end the run, or go back to the last healthy state at half the rates."""
    eval_samples: int = 2000
    """Samples of that light evaluation: enough to rank snapshots of one run, not to publish."""
    device: str = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    channels_last: bool = True
    capture: Literal["auto", "on", "off"] = "auto"
    """Run whole steps as CUDA graphs: `auto` wherever that can be done, `on` says so where it cannot."""
    compile: bool = False
    """torch.compile both networks: worth it for long runs on a GPU, where it adds to `capture`."""


@dataclass(frozen=True)
class Config:
    """A whole run. `ganvas train --dry-run` prints it, `config.json` keeps it, always fully resolved."""

    preset: str = ""
    data: DataConfig = field(default_factory=DataConfig)
    method: MethodConfig = field(default_factory=MethodConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)


D = TypeVar("D")


def to_dict(config: Any) -> dict[str, Any]:
    """The dataclass as plain JSON values."""
    result: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(config)))
    return result


def from_dict(cls: type[D], values: Mapping[str, Any], where: str = "config") -> D:
    """Build `cls` from JSON values; a name or a type that does not fit raises `GanvasError` with its path."""
    hints = get_type_hints(cls)
    if not isinstance(values, Mapping):
        raise GanvasError(f"{where} must be a JSON object, got {values!r}.")
    for name in values:
        if name not in hints:
            raise GanvasError(f"Unknown setting {where}.{name}.{did_you_mean(name, list(hints))}")
    missing = [each.name for each in fields(cast(Any, cls)) if _is_needed(each) and each.name not in values]
    if missing:
        raise GanvasError(f"{where} lacks {', '.join(missing)}.")
    return cls(**{name: _convert(hints[name], value, f"{where}.{name}") for name, value in values.items()})


def read_config(values: Any, version: int = 2, where: str = "config") -> Config:
    """A config from a file of format 1 or 2; raises `GanvasError` like `from_dict`."""
    if version == 1 and isinstance(values, Mapping) and isinstance(values.get("objective"), Mapping):
        values = {**values, "objective": _with_terms(values["objective"])}
    return from_dict(Config, values, where)


def _with_terms(objective: Mapping[str, Any]) -> dict[str, Any]:
    """The objective of format 1, which had a field for each term, with `terms`."""
    old = dict(objective)
    weights = {name: old.pop(field, usual) for field, (name, usual) in _WEIGHTS_OF_FORMAT_1.items()}
    usual = dict(_WEIGHTS_OF_FORMAT_1.values())
    interval, damping = old.pop("path_length_interval", 4), old.pop("latent_damping", 0.1)
    terms = [{"name": name, "weight": weight} for name, weight in weights.items() if weight != usual[name]]
    for term in terms:
        if term["name"] == "path-length":
            term["interval"] = interval
        if term["name"] == "latent-optimisation":
            term["options"] = {"damping": damping}
    return {**old, "terms": terms}


_WEIGHTS_OF_FORMAT_1 = {
    "auxiliary": ("auxiliary", 1.0), "categories": ("categories", 1.0), "codes": ("codes", 0.1),
    "feature_matching": ("feature-matching", 0.0), "mode_seeking": ("mode-seeking", 0.0),
    "path_length": ("path-length", 0.0), "latent_step": ("latent-optimisation", 0.0), "top_k": ("top-k", 1.0),
}  # fmt: skip
"""Field -> the term it became, and the value that it had when nobody said one."""


def _is_needed(each: "dataclasses.Field[Any]") -> bool:
    return each.default is dataclasses.MISSING and each.default_factory is dataclasses.MISSING


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        options = [arg for arg in get_args(hint) if arg is not type(None)]
        return None if value is None else _convert(options[0], value, where)
    if origin is Literal:
        if value not in get_args(hint):
            raise GanvasError(
                f"{where} is {value!r}; expected one of {', '.join(map(repr, get_args(hint)))}."
            )
        return value
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise GanvasError(f"{where} must be a list, got {value!r}.")
        return tuple(_convert(get_args(hint)[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return value if isinstance(value, hint) else from_dict(hint, value, where)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    expected, name = (hint, hint.__name__) if origin is None else (Mapping, "a JSON object")
    if not isinstance(value, expected) or (isinstance(value, bool) and hint is not bool):
        raise GanvasError(f"{where} must be {name}, got {value!r}.")
    if isinstance(value, float) and not math.isfinite(value):
        raise GanvasError(f"{where} is {value}; it must be a finite number.")
    return value


def replace_at(config: Config, path: str, value: Any) -> Config:
    """A copy with the setting at a dotted path (`optimizer.lr_critic`) replaced; checks name and type."""
    values = to_dict(config)
    target, *rest = path.split(".")
    node: dict[str, Any] = values
    while rest:
        if not isinstance(node.get(target), dict):
            known = [name for name, _ in leaves(to_dict(config))]
            raise GanvasError(f"Unknown setting {path!r}.{did_you_mean(path, known)}")
        node, target = node[target], rest.pop(0)
    node[target] = value
    return from_dict(Config, values)


def differences(old: Config, new: Config) -> list[str]:
    """Dotted paths of the settings that differ, each with both values."""
    return [
        f"{path}: {_short(a)} -> {_short(b)}"
        for (path, a), (_, b) in zip(leaves(to_dict(old)), leaves(to_dict(new)), strict=False)
        if a != b
    ]


def is_like(value: Any, default: Any) -> bool:
    """Whether a value from a file is of the kind of an option's default; None says of none."""
    if isinstance(default, bool | str):
        return type(value) is type(default)
    if isinstance(default, int | float):
        return type(value) is int or (type(value) is float and isinstance(default, float))
    if isinstance(default, tuple):
        whole = all(type(each) is int for each in default)
        return isinstance(value, list | tuple) and all(type(each) is int or not whole for each in value)
    return True


def _short(value: Any) -> str:
    """As text of some lines at most: a damaged file may hold any number of entries."""
    text = repr(value)
    return text if len(text) <= 300 else f"{text[:300]}..."


def leaves(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Dotted paths of all settings of a config as `to_dict` gives it, each with its value."""
    result: list[tuple[str, Any]] = []
    for section in fields(Config):
        value = values[section.name]
        if isinstance(value, dict):
            result += [(f"{prefix}{section.name}.{name}", leaf) for name, leaf in value.items()]
        else:
            result.append((f"{prefix}{section.name}", value))
    return result


FLAGS = {
    f"training.{name}": f" (--{name.replace('_', '-')})"
    for name in ("batch", "kimg", "minutes", "eval_kimg", "seed")
}
"""What most people set these by."""


def validate(config: Config) -> Config:
    """Check ranges; returns the config so that calls can be chained."""
    t, o = config.training, config.optimizer
    for path, value, low in (
        ("training.batch", t.batch, 2),
        ("network.latent_dim", config.network.latent_dim, 1),
        ("network.pack", config.network.pack, 1),
        ("objective.critic_steps", config.objective.critic_steps, 1),
        ("augment.kimg", config.augment.kimg, 0.001),
        ("training.log_kimg", t.log_kimg, 0.001),
        ("training.snapshot_kimg", t.snapshot_kimg, 0.001),
        ("optimizer.lr_generator", o.lr_generator, 0),
        ("optimizer.lr_critic", o.lr_critic, 0),
        ("training.ema_kimg", t.ema_kimg, 0),
        ("training.eval_kimg", t.eval_kimg, 0),
        ("training.duality_steps", t.duality_steps, 0),
        ("training.monitor_kimg", t.monitor_kimg, 0),
        ("training.eval_samples", t.eval_samples, 100),
        ("training.seed", t.seed, 0),
        ("training.ema_rampup", t.ema_rampup, 0),
        ("objective.instance_noise", config.objective.instance_noise, 0),
        ("objective.input_noise", config.objective.input_noise, 0),
    ):
        if value is not None and not value >= low:
            raise GanvasError(f"{path}{FLAGS.get(path, '')} is {value}; it must be at least {low}.")
    for path, share in (
        ("augment.p", config.augment.p),
        ("augment.p_end", config.augment.p_end),
        ("augment.limit", config.augment.limit),
        ("optimizer.rate_end", o.rate_end),
    ):
        if share is not None and not 0 <= share <= 1:
            raise GanvasError(f"{path} is {share}; it must be between 0 and 1.")
    for name in ("beta1", "beta2", "beta2_end"):
        beta = getattr(o, name)
        if beta is not None and not 0 <= beta < 1:
            raise GanvasError(f"optimizer.{name} is {beta}; it must be at least 0 and below 1.")
    if len({f"{kimg:g}" for kimg in t.ema_also_kimg}) < len(t.ema_also_kimg) or not all(
        kimg > 0 for kimg in t.ema_also_kimg
    ):
        raise GanvasError(
            f"training.ema_also_kimg is {list(t.ema_also_kimg)}; it must be different lengths above 0, for instance [2, 40]."
        )
    if t.ema_end_kimg is not None and not t.ema_end_kimg >= 0:
        raise GanvasError(f"training.ema_end_kimg is {t.ema_end_kimg}; it must be at least 0.")
    if config.augment.p_end is not None and config.augment.target is not None:
        raise GanvasError(
            "augment.p_end is a schedule of p and augment.target adapts it: set one of them and the other to null."
        )
    if t.batch % config.network.pack:
        raise GanvasError(
            f"A batch of {t.batch} cannot be packed by {config.network.pack}. Use a multiple: --batch."
        )
    if t.kimg is None and t.minutes is None:
        raise GanvasError("No budget: give --kimg, --minutes or both.")
    for name, budget in (("kimg", t.kimg), ("minutes", t.minutes)):
        if budget is not None and not 0 < budget < math.inf:
            raise GanvasError(f"training.{name} (--{name}) is {budget}; it must be more than 0, and finite.")
    if config.data.resolution is not None and config.data.resolution < 4:
        raise GanvasError(f"--resolution is {config.data.resolution}; it must be at least 4.")
    if config.data.height is not None and (config.data.resolution is None or config.data.height < 4):
        raise GanvasError(
            f"--height is {config.data.height}; it must be at least 4, with the width as --resolution beside it."
        )
    if not 0 < config.data.select <= 1:
        raise GanvasError(f"data.select is {config.data.select}; it must be above 0 and at most 1.")
    named = set[str]()
    for term in config.objective.terms:
        if term.name in named:
            raise GanvasError(
                f"Term {term.name!r} is named twice. Give it once, with the weight that you mean."
            )
        if not (term.weight is None or term.weight >= 0) or not (term.interval is None or term.interval >= 1):
            raise GanvasError(f"Term {term.name!r} needs weight >= 0 and interval >= 1.")
        named.add(term.name)
    if not 0 <= config.data.holdout < 0.9:
        raise GanvasError(f"data.holdout is {config.data.holdout}; it must be between 0 and 0.9.")
    if not 0 <= config.data.fold * config.data.holdout < 1:
        raise GanvasError(
            f"data.fold is {config.data.fold}; with a holdout of {config.data.holdout} there is no such fold."
        )
    for penalty in config.objective.penalties:
        if penalty.interval < 1 or not penalty.weight >= 0:
            raise GanvasError(f"Penalty {penalty.name!r} needs interval >= 1 and weight >= 0.")
        if penalty.weight_end is not None and not penalty.weight_end >= 0:
            raise GanvasError(
                f"Penalty {penalty.name!r} has weight_end {penalty.weight_end}; it must be at least 0."
            )
        if penalty.bound is not None and not penalty.bound > 0:
            raise GanvasError(f"Penalty {penalty.name!r} has bound {penalty.bound}; it must be above 0.")
    return config
