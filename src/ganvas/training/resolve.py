"""From what the user typed to a fully resolved config."""

import inspect
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from ganvas import arrays, losses
from ganvas.checkpoint import LARGEST_SETTING, check_numbers
from ganvas.config import (
    AugmentConfig,
    Config,
    DataConfig,
    MethodConfig,
    NetworkConfig,
    ObjectiveConfig,
    PenaltyConfig,
    Resize,
    TermConfig,
    replace_at,
    to_dict,
    validate,
)
from ganvas.data import Dataset, balanced
from ganvas.data.limits import check_memory
from ganvas.data.loader import check_batch
from ganvas.device import resolve_device, resolve_precision
from ganvas.errors import PATH, GanvasError, expect
from ganvas.features.select import how_many
from ganvas.losses import augmentations
from ganvas.model import check_opens
from ganvas.networks import build_generator, families
from ganvas.networks.projected import guide_of
from ganvas.options import Source, TrainOptions
from ganvas.presets import WIDTHS, default_preset, presets, resized
from ganvas.series import MOST_STEPS, told_lengths
from ganvas.training.latent import in_latent
from ganvas.training.method import DataSpec, methods
from ganvas.training.start import network_of

DIFFAUGMENT = ("colour", "translation", "cutout")
RECIPES = {
    "none": AugmentConfig(),
    "diffaugment": AugmentConfig(policy=DIFFAUGMENT),
    "ada": AugmentConfig(policy=("bgc",), p=0.0, target=0.6, limit=1.0),
    "ada-diffaugment": AugmentConfig(policy=DIFFAUGMENT, p=0.0, target=0.6),
    "apa": AugmentConfig(p=0.0, target=0.6, pseudo=True),
}
"""The names that --augment takes: Zhao et al. 2020; Karras et al. 2020; both in one; Jiang et al. 2021."""
MOST_CHUNKS = 16
"""Chunks of a series where nobody says how long they are: a recurrent network learns less of more, and takes longer."""
FEW_NUMBERS, MOST_WEIGHTS = 32, 2**22
"""Of a point: up to so many the critic sees their sines, too; and of a layer beside all of them."""
MOST_TOGETHER, EACH_NUMBER = 2**22, 140
"""Numbers of the series of a batch where nobody says how many they are, and bytes that each of them takes in a step: of 64
columns of 256 categories, in 100 kB, 64 windows took gigabytes."""
LARGE, LARGE_RATE = 32, 4e-3
"""Pixels of a side above which the rates of a style-based pair are at most so high. With the 0.015 of `hour` flowers of 128 px
were a grid of noise after 19 kimg, and those of 64 px black with flat spots after 24 (docs/autoencoders.md, docs/figures.md)."""

OF_AUTOENCODER = ("network.latent_dim", "network.codes", "method")
"""What begins like these --in-latent brings along."""
NOT_OF_AUTOENCODER = ("network.codes.components", "method.name")


def resolve(data: DataConfig, dataset: Dataset, options: TrainOptions) -> Config:
    """The preset, then the family with its recipe, then the size, then what else was asked for; checks names and ranges."""
    config = replace(presets.get(_preset(options, dataset)), data=data)
    if options.method not in (None, config.method.name):
        config = replace(config, method=MethodConfig(str(options.method)))
    config = _in_private(config, options)
    if options.network is not None and options.network != config.network.name:
        config = _with_family(config, options.network, dataset)
    if options.start is not None:
        config = _begun(config, options, dataset)
    elif options.size is not None:
        config = resized(_spelled_out(config), options.size)
    if options.in_latent is not None or options.method is not None:
        config = _with_codes(config, "latent" if options.in_latent is not None else str(options.method))
    if options.conditional or data.also:
        if dataset.num_classes < 2:
            how = "Put images in one sub-folder a class."
            how = how if dataset.series is None else "Name the column of the classes with --label."
            raise GanvasError(f"--conditional needs labels, and {dataset.name} has none. {how}")
        config = replace(config, network=replace(config.network, conditional=True))
    _check_loss(config, options)
    config = replace(config, objective=_objective(config, options))
    if options.augment is not None:
        config = replace(config, augment=_augmentation(options.augment))
    training = config.training
    if options.kimg is not None or options.minutes is not None:
        training = replace(training, kimg=options.kimg, minutes=options.minutes)
    if options.precision not in (None, "auto", "fp32", "bf16"):
        raise GanvasError(f"Unknown precision {options.precision!r}. Use auto, fp32 or bf16.")
    config = replace(config, training=replace(training, device=options.device or "auto"))
    asked: dict[str, Any] = {
        "training.batch": options.batch,
        "training.seed": options.seed,
        # Small recurrent networks gain nothing from bf16, and a series of prices needs its digits.
        "training.precision": options.precision or ("fp32" if dataset.kind == "series" else "auto"),
        "training.eval_kimg": options.eval_kimg,
        "training.on_collapse": options.on_collapse,
    }
    settings = {path: value for path, value in asked.items() if value is not None}
    settings |= options.settings or {}
    if dataset.series is not None:
        config = _of_series(config, dataset, settings)
    if dataset.kind == "points" and options.start is None and config.network.name == "mlp":
        config = _of_points(config, dataset.shape[0])
    if options.in_latent is not None or (not dataset.is_images and options.start is None):
        config = _reaching(config, dataset, options.in_latent is not None)
    if dataset.is_images and config.network.name == "style" and max(dataset.shape[1:]) > LARGE:
        config = _of_large(config)
    for path, value in settings.items():
        config = replace_at(config, path, value)
    where = resolve_device(config.training.device)
    config = replace_at(config, "training.precision", resolve_precision(config.training.precision, where))
    config = replace_at(config, "training.device", str(where))
    if options.in_latent is not None:
        if config.method.name not in ("gan", "latent"):
            raise GanvasError(
                f"--in-latent trains a GAN; method {config.method.name} is none. Omit --method."
            )
        for path in settings:
            if path.startswith(OF_AUTOENCODER) and path not in NOT_OF_AUTOENCODER:
                raise GanvasError(
                    f"--set {path} is that of the autoencoder, which --in-latent brings. Omit it."
                )
        config = in_latent(config, options.in_latent, dataset)
    return _check(_told_black(config, dataset), dataset)


def _check_loss(config: Config, options: TrainOptions) -> None:
    """Raise `GanvasError` for a loss or penalties that a method without a critic would keep and not use."""
    settings = options.settings or {}
    name = str(settings.get("method.name", config.method.name))
    # A GAN of codes plays a game within, with this loss.
    if name not in methods or name == "latent" or methods.get(name).has_loss:
        return
    for what, given in (
        ("--loss", options.loss is not None or "objective.loss" in settings),
        ("--penalty", bool({*(options.penalty or ())} - {"none"} or settings.get("objective.penalties"))),
        ("--gamma", options.gamma is not None),
    ):
        if given:
            raise GanvasError(f"{what} is that of a critic, which method {name} has not. Omit it.")


def _in_private(config: Config, options: TrainOptions) -> Config:
    """With --private the game of a preset is played in private, if nothing in it stands against that."""
    if options.private and config.method.name not in ("gan", "private"):
        raise GanvasError(
            f"--private is for games of generator and critic; method {config.method.name!r} is none."
        )
    if options.private and config.method.name == "gan":
        config = replace(config, method=MethodConfig("private"))
    asked = {name: value for name in ("epsilon", "delta") if (value := getattr(options, name)) is not None}
    if not asked and config.method.name != "private":
        return config
    if config.method.name != "private":
        raise GanvasError(f"--{next(iter(asked))} belongs to private training. Add --private.")
    return replace(config, method=replace(config.method, options={**config.method.options, **asked}))


def _preset(options: TrainOptions, dataset: Dataset) -> str:
    """The preset that was asked for, by its name or by that of a method."""
    usual = default_preset(dataset.kind) if options.in_latent is None else "latent"
    usual = "private" if options.private else usual
    if options.preset is not None or options.method is None:
        return options.preset or usual
    methods.get(options.method)
    return options.method if options.method in presets else usual


def _begun(config: Config, options: TrainOptions, dataset: Dataset) -> Config:
    """The config with the networks of the model that the training begins with, and the recipe of their family."""
    assert options.start is not None
    for name in ("network", "size"):
        if getattr(options, name) is not None:
            raise GanvasError(f"--start brings the networks of its model. Omit --{name}.")
    network = network_of(options.start, config, dataset)
    if options.preset is None:
        config = _with_family(config, network.name, dataset)
        network = network_of(options.start, config, dataset)
    if options.conditional and not network.conditional:
        raise GanvasError(f"--start {options.start}: the model draws no classes. Omit --conditional.")
    return replace(config, network=network, training=replace(config.training, start=options.start))


def _objective(config: Config, options: TrainOptions) -> ObjectiveConfig:
    """Loss, penalties and terms by name, with the weights that were asked for."""
    objective = config.objective
    if options.loss is not None:
        losses.losses.get(options.loss)
        objective = replace(objective, loss=options.loss)
    if options.penalty is not None:
        had = {p.name: p for p in objective.penalties}
        names = [name for name in options.penalty if name != "none"]
        objective = replace(
            objective, penalties=tuple(had.get(name) or _usual_penalty(name) for name in names)
        )
    if options.gamma is not None:
        objective = replace(objective, penalties=_weighted(objective.penalties, options.gamma))
    if options.term is not None:
        terms = {term.name: term for term in objective.terms}
        for name, weight in map(_term, options.term):
            own = terms.get(name, TermConfig(name))
            terms[name] = own if weight is None else replace(own, weight=weight)
        objective = replace(objective, terms=tuple(terms.values()))
    return replace(objective, terms=tuple(map(_spelled_out_term, objective.terms)))


def _spelled_out_term(settings: TermConfig) -> TermConfig:
    """A term with its weight and interval, so that config.json says what was done."""
    term = losses.terms.get(settings.name)
    weight = term.weight if settings.weight is None else settings.weight
    return replace(settings, weight=weight, interval=settings.interval or term.interval)


def _term(text: str) -> tuple[str, float | None]:
    """Name and weight of `mode-seeking=0.2`; of `mode-seeking` alone the weight is None."""
    name, equals, weight = text.partition("=")
    losses.terms.get(name)
    try:
        return name, float(weight) if equals else None
    except ValueError as error:
        raise GanvasError(
            f"--term {text!r}: the weight must be a number, for instance {name}=0.5."
        ) from error


def _augmentation(names: Sequence[str]) -> AugmentConfig:
    """What --augment stands for: the published recipes by name, or a policy of single augmentations."""
    if len(names) == 1 and names[0] in RECIPES:
        return RECIPES[names[0]]
    for name in names:
        if name in RECIPES:
            raise GanvasError(
                f"--augment {name} is a whole recipe: give it alone, or name single augmentations."
            )
        augmentations.get(name)
    return AugmentConfig(policy=tuple(names))


def _with_family(config: Config, name: str, dataset: Dataset) -> Config:
    """Another network brings its recipe: widths, loss, penalties, rates, batch and averaging, and the recipe's name as label.

    Rates and penalties of one family ruin another (0.015 suits equalised weights alone). Budget, augmentation and what is
    logged stay as in the preset.

    A recipe is that of a game: other methods take the networks alone.
    """
    usual = presets.get(default_preset(dataset.kind))
    if usual.network.name != name:
        recipe = families.get(name).recipe
        if not recipe:
            network = NetworkConfig(name, config.network.latent_dim, codes=config.network.codes)
            return replace(config, network=network)
        usual = presets.get(recipe)
    if not methods.get(config.method.name).takes_recipes:
        n = config.network
        return replace(config, network=replace(usual.network, latent_dim=n.latent_dim, codes=n.codes))
    training = replace(
        config.training,
        batch=usual.training.batch,
        ema_kimg=usual.training.ema_kimg,
        ema_end_kimg=usual.training.ema_end_kimg,
        ema_rampup=usual.training.ema_rampup,
    )
    return replace(
        config,
        preset=usual.preset,
        network=usual.network,
        objective=usual.objective,
        optimizer=usual.optimizer,
        training=training,
    )


def _of_large(config: Config) -> Config:
    """The config with rates that large pictures stand."""
    o = config.optimizer
    rates = {name: min(getattr(o, name), LARGE_RATE) for name in ("lr_generator", "lr_critic")}
    return replace(config, optimizer=replace(o, **rates))


def _told_black(config: Config, dataset: Dataset) -> Config:
    """The config with what black is in the range of the generator, for a critic whose frozen network has seen it as -1."""
    network = config.network
    if not guide_of(network) or "black" in network.critic:
        return config
    with torch.device("meta"):
        low, _ = build_generator(network, dataset.shape, dataset.num_classes).value_range
    return (
        config
        if low == -1
        else replace(config, network=replace(network, critic={**network.critic, "black": low}))
    )


def _with_codes(config: Config, method: str) -> Config:
    """The config with what the method's own preset puts between z and codes, where another one says nothing of it: the codes of
    an autoencoder lie where they will, and drawn from the normal alone they would be of no sample."""
    if config.network.codes or method not in presets:
        return config
    return replace(config, network=replace(config.network, codes=presets.get(method).network.codes))


def _reaching(config: Config, dataset: Dataset, of_codes: bool) -> Config:
    """The config with an output that reaches all of the data: pictures are brought to a network's range, 0 to 1 of a sigmoid,
    but series lie from -1 to 1, and points and codes anywhere."""
    network = config.network
    if network.name != "mlp" or network.generator.get("output", "sigmoid") != "sigmoid":
        return config
    output = "linear" if dataset.series is None or of_codes else "tanh"
    return replace(config, network=replace(network, generator={**network.generator, "output": output}))


def _of_points(config: Config, numbers: int) -> Config:
    """The config for points of so many numbers: sines are for modes in a plane, and layers beside many numbers are narrower."""
    network, most = config.network, max(1, MOST_WEIGHTS // numbers)

    def narrower(options: Mapping[str, Any]) -> dict[str, Any]:
        return {
            name: [min(each, most) for each in value] if name == "hidden" else value
            for name, value in options.items()
        }

    critic = narrower(network.critic)
    if numbers > FEW_NUMBERS:
        critic.pop("fourier", None)
    return replace(config, network=replace(network, generator=narrower(network.generator), critic=critic))


def _of_series(config: Config, dataset: Dataset, settings: Mapping[str, Any]) -> Config:
    """The config with the layout of the channels, with room in z for what each chunk of steps has for itself, and with a batch
    that few series fill."""
    assert dataset.series is not None
    training, network = config.training, config.network
    part = dataset.split(config.data.holdout, config.data.fold)[0]
    if len(part) < training.batch:
        training = replace(training, batch=max(2, 2 ** (len(part).bit_length() - 1)))
    if "training.batch" not in settings:
        training = replace(training, batch=_small_batch(training.batch, dataset))
    family = families.get(network.name)
    known = inspect.signature(family.generator).parameters
    if "layout" in known and "layout" not in network.generator:
        usual = {name: known[name].default for name in ("chunk", "noise") if name in known}
        if "chunk" in usual:
            usual["chunk"] = max(usual["chunk"], -(-dataset.series.length // MOST_CHUNKS))
        chunk, noise = (
            arrays.count(
                settings.get(f"network.generator.{name}", network.generator.get(name, usual[name])),
                f"network.generator.{name}", least,
            )
            if name in usual
            else 1  # a family without chunks goes step by step
            for name, least in (("chunk", 1), ("noise", 0))
        )  # fmt: skip
        extra = -(-dataset.series.length // chunk) * noise
        layout = {"layout": dataset.series.layout}
        lengths = {"lengths": _lengths(config, part)} if "lengths" in known and dataset.series.ends else {}
        network = replace(
            network,
            latent_dim=network.latent_dim + extra,
            generator={**layout, **lengths, **network.generator},
        )
        if "chunk" in usual and usual["chunk"] > known["chunk"].default:
            own = {"chunk": usual["chunk"]}
            network = replace(network, generator={**own, **network.generator})
            if not network.critic_name:
                network = replace(network, critic={**own, **network.critic})
        if "layout" in inspect.signature(family.critic).parameters and not network.critic_name:
            network = replace(network, critic={**network.critic, **layout})
    elif network.generator.get("lengths") and dataset.series.ends:
        # Of a model that is begun with: it goes on with other series.
        network = replace(network, generator={**network.generator, "lengths": _lengths(config, part)})
    return replace(config, training=training, network=network)


def batch_of(usual: int, dataset: Dataset) -> int:
    """The usual batch, or as many series, a power of two, as have `MOST_TOGETHER` numbers: 0 where one has more."""
    fitting = MOST_TOGETHER // math.prod(dataset.shape)
    return usual if usual <= fitting else 2 ** fitting.bit_length() // 2


def _small_batch(usual: int, dataset: Dataset) -> int:
    """`batch_of`. Raises `GanvasError` where not even two fit."""
    if (found := batch_of(usual, dataset)) >= 2:
        return found
    memory = 2 * math.prod(dataset.shape) * EACH_NUMBER / 1e9
    raise GanvasError(
        f"{wide(dataset)}. A batch is two at the least, and has at most {MOST_TOGETHER:,} numbers unless you say how many it "
        f"takes. Take fewer columns (--columns) or a shorter --window; or say --batch 2, for about {memory:.1f} GB."
    )


def wide(dataset: Dataset) -> str:
    """How many numbers a series has, and of which columns most of them are."""
    assert dataset.series is not None
    columns = sorted((*dataset.series.columns, *dataset.series.static), key=lambda each: -each.channels)
    most = ", ".join(f"{each.name!r} {each.channels:,}" for each in columns[:3])
    return (
        f"A series of {dataset.name} has {math.prod(dataset.shape):,} numbers: {dataset.shape[1]:,} steps of "
        f"{dataset.shape[0]:,} channels, of which {most}{' and so on' if len(columns) > 3 else ''}"
    )


def _check_together(config: Config, dataset: Dataset) -> None:
    """Raise `GanvasError` for a batch of series that takes more memory than data may."""
    if dataset.series is None or not config.training.device.startswith("cpu"):
        return
    size = config.training.batch * math.prod(dataset.shape) * EACH_NUMBER
    otherwise = "Take a smaller --batch, fewer columns (--columns) or a shorter --window"
    check_memory(size, f"{wide(dataset)}; a step of {config.training.batch}", otherwise)


def _lengths(config: Config, part: Dataset) -> str:
    """How long the series of the part are that is trained on, of each class by itself where there are classes."""
    assert part.series is not None
    series, labels = part.take(torch.arange(len(part)))
    lengths = part.series.lengths(series.numpy())
    if labels is None or not config.network.conditional:
        return told_lengths(lengths)
    return told_lengths(lengths, labels.numpy(), part.num_classes)


def _spelled_out(config: Config) -> Config:
    """The widths that a config leaves to the networks' defaults, written into it, so that --size has them to scale."""
    n = config.network
    family, judge = families.get(n.name), families.get(n.critic_name or n.name)

    def widths(build: Callable[..., Any]) -> dict[str, Any]:
        parameters = inspect.signature(build).parameters
        return {name: parameters[name].default for name in WIDTHS if name in parameters}

    generator, critic = widths(family.generator), widths(judge.critic)
    if not generator or not critic:
        raise GanvasError(
            f"--size scales {' or '.join(WIDTHS)}, and network {n.name!r} has neither. Omit it."
        )
    return replace(
        config,
        network=replace(n, generator={**generator, **n.generator}, critic={**critic, **n.critic}),
    )


def _usual_penalty(name: str) -> PenaltyConfig:
    found = losses.penalties.get(name)
    if found.project is not None:
        return PenaltyConfig(name, bound=found.usual)
    return PenaltyConfig(name, found.usual)


def _weighted(penalties: Sequence[PenaltyConfig], gamma: float) -> tuple[PenaltyConfig, ...]:
    """The penalties with `gamma` as the weight of those that take it (what it falls to in proportion); the others keep theirs."""
    takers = [name for name in losses.penalties if losses.penalties.get(name).gamma]
    if not any(p.name in takers for p in penalties):
        there = ", ".join(p.name for p in penalties) or "none"
        raise GanvasError(
            f"--gamma sets the weight of a penalty ({', '.join(takers)}), and this run has {there}. Add --penalty r1."
        )
    return tuple(
        replace(
            p,
            weight=gamma,
            weight_end=None if p.weight_end is None else gamma * p.weight_end / (p.weight or 1.0),
        )
        if p.name in takers
        else p
        for p in penalties
    )


def _check(config: Config, dataset: Dataset) -> Config:
    """Names, ranges, and whether the networks fit the data: everything that would fail later fails here."""
    validate(config)
    arrays.seed(config.training.seed, "training.seed")
    had = set[str]()
    for penalty in config.objective.penalties:
        if penalty.name in had:
            raise GanvasError(
                f"Penalty {penalty.name!r} is named twice. Give it once, with the weight that you mean: --gamma, or "
                "--set objective.penalties."
            )
        had.add(penalty.name)
    trained_on = dataset.split(config.data.holdout, config.data.fold)[0]
    trained_on = trained_on.subset(torch.arange(how_many(trained_on, config.data.select)))  # as many
    check_batch(config.training.batch, trained_on)
    _check_together(config, dataset)
    spec = DataSpec(dataset.shape, dataset.num_classes, len(trained_on))
    method = methods.get(config.method.name)
    method.check(config, spec)
    if config.data.balance:
        balanced(dataset)
    config = method.spelled_out(config, spec)
    check_kept(config, spec)
    wanted = "Its file would not open, for there is a bound by its size. Take a wider network, or larger chunks of series"
    check_opens(wanted, config.network, spec.shape, spec.num_classes)
    return config


def check_kept(config: Config, spec: DataSpec) -> None:
    """Raise `GanvasError` for numbers that no file of the model could say again: it would be trained, and open nowhere."""
    check_numbers(to_dict(config), "config", LARGEST_SETTING)
    shape = {"shape": list(spec.shape), "num_classes": spec.num_classes}
    check_numbers({**to_dict(config.network), **shape}, "config.network")


def data_config(
    source: Source,
    resolution: int | None = None,
    resize: Resize | None = None,
    mirror: bool = False,
    balance: bool = False,
    height: int | None = None,
    alpha: bool = False,
    **of_series: Any,
) -> DataConfig:
    """The data part of a config, checked. Several sources are trained on together, the source being the label.

    `of_series`: window, columns, time, by, static and label, None where nobody says them.
    """
    wanted = "a name of `ganvas list datasets`, a path, or a list of several"
    names = list[str]()
    several: Sequence[Any] = source if isinstance(source, list | tuple) else [source]
    for each in several:
        expect(each, PATH, "data", wanted)
        names.append(os.fspath(each))
    if resize not in (None, "crop", "fit", "stretch"):
        raise GanvasError(f"Unknown --resize {resize!r}. Use crop, fit or stretch.")
    window = of_series.get("window")
    if window is not None and not 2 <= window <= MOST_STEPS:
        raise GanvasError(f"--window is {window}; it must be between 2 and {MOST_STEPS:,}.")
    said = {name: value for name, value in of_series.items() if value is not None}
    return DataConfig(
        names[0],
        resolution,
        resize,
        mirror,
        also=tuple(names[1:]),
        balance=balance,
        height=height,
        alpha=alpha,
        **said,
    )
