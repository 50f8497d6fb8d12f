"""From what the user typed to a fully resolved config."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ganvas import losses
from ganvas.config import (
    AugmentConfig,
    Config,
    DataConfig,
    NetworkConfig,
    PenaltyConfig,
    Resize,
    replace_at,
    validate,
)
from ganvas.data import Dataset, balanced
from ganvas.data.loader import check_batch
from ganvas.device import resolve_device, resolve_precision
from ganvas.errors import GanvasError
from ganvas.losses import augmentations
from ganvas.networks import families
from ganvas.presets import WIDTHS, default_preset, presets, resized
from ganvas.training.method import DataSpec, methods

DIFFAUGMENT = ("colour", "translation", "cutout")
RECIPES = {
    "none": AugmentConfig(),
    "diffaugment": AugmentConfig(policy=DIFFAUGMENT),
    "ada": AugmentConfig(policy=("bgc",), p=0.0, target=0.6, limit=1.0),
    "ada-diffaugment": AugmentConfig(policy=DIFFAUGMENT, p=0.0, target=0.6),
    "apa": AugmentConfig(p=0.0, target=0.6, pseudo=True),
}
"""The names that --augment takes: Zhao et al. 2020; Karras et al. 2020; both in one; Jiang et al. 2021."""


def resolve(
    data: DataConfig,
    dataset: Dataset,
    *,
    preset: str | None = None,
    size: str | None = None,
    kimg: float | None = None,
    minutes: float | None = None,
    batch: int | None = None,
    seed: int | None = None,
    device: str = "auto",
    precision: str = "auto",
    network: str | None = None,
    loss: str | None = None,
    penalty: str | Sequence[str] | None = None,
    gamma: float | None = None,
    conditional: bool = False,
    augment: str | Sequence[str] | None = None,
    on_collapse: str | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Config:
    """The preset, then the family with its recipe, then the size, then what else was asked for; checks names and ranges."""
    config = replace(presets.get(preset or default_preset(dataset.is_images)), data=data)
    if network is not None and network != config.network.name:
        config = _with_family(config, network, dataset)
    if size is not None:
        config = resized(_spelled_out(config), size)
    if conditional or data.also:
        if dataset.num_classes < 2:
            raise GanvasError(
                f"--conditional needs labels, and {dataset.name} has none. Put images in one sub-folder a class."
            )
        config = replace(config, network=replace(config.network, conditional=True))
    objective = config.objective
    if loss is not None:
        losses.losses.get(loss)
        objective = replace(objective, loss=loss)
    if penalty is not None:
        names = [penalty] if isinstance(penalty, str) else list(penalty)
        had = {p.name: p for p in objective.penalties}
        chosen = tuple(had.get(name) or _usual_penalty(name) for name in names if name != "none")
        objective = replace(objective, penalties=chosen)
    if gamma is not None:
        objective = replace(objective, penalties=_weighted(objective.penalties, gamma))
    if augment is not None:
        config = replace(
            config, augment=_augmentation([augment] if isinstance(augment, str) else list(augment))
        )
    if on_collapse is not None:
        config = replace_at(config, "training.on_collapse", on_collapse)
    training = config.training
    if kimg is not None or minutes is not None:
        training = replace(training, kimg=kimg, minutes=minutes)
    if batch is not None:
        training = replace(training, batch=batch)
    if seed is not None:
        training = replace(training, seed=seed)
    if precision not in ("auto", "fp32", "bf16"):
        raise GanvasError(f"Unknown precision {precision!r}. Use auto, fp32 or bf16.")
    config = replace(config, objective=objective, training=replace(training, device=device))
    config = replace_at(config, "training.precision", precision)
    for path, value in (settings or {}).items():
        config = replace_at(config, path, value)
    where = resolve_device(config.training.device)
    config = replace_at(config, "training.precision", resolve_precision(config.training.precision, where))
    config = replace_at(config, "training.device", where.type)
    return _check(config, dataset)


def _augmentation(names: list[str]) -> AugmentConfig:
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
    """
    usual = presets.get(default_preset(dataset.is_images))
    if usual.network.name != name:
        recipe = families.get(name).recipe
        if not recipe:
            return replace(config, network=NetworkConfig(name, config.network.latent_dim))
        usual = presets.get(recipe)
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
    check_batch(config.training.batch, dataset.split(config.data.holdout, config.data.fold)[0])
    spec = DataSpec(dataset.shape, dataset.num_classes)
    methods.get(config.method.name).check(config, spec)
    if config.data.balance:
        balanced(dataset)
    return config


def data_config(
    source: str | Sequence[str],
    resolution: int | None = None,
    resize: Resize | None = None,
    mirror: bool = False,
    balance: bool = False,
) -> DataConfig:
    """The data part of a config, checked. Several sources are trained on together, the source being the label."""
    names = [source] if isinstance(source, str) else [str(each) for each in source]
    if resize not in (None, "crop", "fit", "stretch"):
        raise GanvasError(f"Unknown --resize {resize!r}. Use crop, fit or stretch.")
    if resolution is not None and not 4 <= resolution <= 1024:
        raise GanvasError(f"--resolution is {resolution}; it must be between 4 and 1024.")
    return DataConfig(names[0], resolution, resize, mirror, also=tuple(names[1:]), balance=balance)
