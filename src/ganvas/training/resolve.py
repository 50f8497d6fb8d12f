"""From what the user typed to a fully resolved config."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ganvas import losses, networks
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
from ganvas.presets import default_preset, presets, resized

PENALTY_WEIGHTS = {"r1": 0.05, "r2": 0.05, "wgan-gp": 10.0, "clip": 0.01, "drift": 0.001}
"""When the preset does not say: R1 and R2 as our presets have them, the others as published."""


USUAL = {"resnet": "sngan", "style": "hour", "r3": "r3", "progressive": "progressive"}
"""Network -> the preset that its widths and rates come from when only --network names it."""

DIFFAUGMENT = ("colour", "translation", "cutout")
RECIPES = {
    "none": AugmentConfig(),
    "diffaugment": AugmentConfig(policy=DIFFAUGMENT),
    "ada": AugmentConfig(policy=DIFFAUGMENT, p=0.0, target=0.6),
    "apa": AugmentConfig(p=0.0, target=0.6, pseudo=True),
}
"""The names that --augment takes: Zhao et al. 2020; Karras et al. 2020; Jiang et al. 2021."""


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
    """Start from the preset, apply what was asked for, check every name and range."""
    config = presets.get(preset or default_preset(dataset.is_images))
    config = replace(config, data=data)
    if size is not None:
        config = resized(config, size)
    if network is not None and network != config.network.name:
        networks.families.get(network)
        if network not in USUAL:
            config = replace(config, network=_default_network(network, dataset))
        else:  # other networks do not stand the rates of the small default pair
            usual = presets.get(USUAL[network])
            config = replace(config, optimizer=usual.optimizer, network=usual.network)
            if network != "resnet":
                config = replace(config, objective=usual.objective)
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
        wanted = [name for name in names if name != "none"]
        for name in wanted:
            losses.penalties.get(name)
        objective = replace(
            objective,
            penalties=tuple(
                had.get(name, PenaltyConfig(name, PENALTY_WEIGHTS.get(name, 1.0))) for name in wanted
            ),
        )
    if gamma is not None:
        if not objective.penalties:
            raise GanvasError("--gamma sets the weight of a penalty and there is none. Add --penalty r1.")
        objective = replace(objective, penalties=tuple(replace(p, weight=gamma) for p in objective.penalties))
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


def _default_network(name: str, dataset: Dataset) -> NetworkConfig:
    if name == "mlp":
        output = "tanh" if dataset.is_images else "linear"
        hidden = [256, 256, 256]
        return NetworkConfig(
            name,
            64 if dataset.is_images else 2,
            generator={"hidden": hidden, "output": output},
            critic={"hidden": hidden, "act": "leaky"},
        )
    return NetworkConfig(name, latent_dim=64)


def _check(config: Config, dataset: Dataset) -> Config:
    """Names, ranges, and whether the networks fit the data: everything that would fail later fails here."""
    import torch

    validate(config)
    check_batch(config.training.batch, dataset.split(config.data.holdout, config.data.fold)[0])
    losses.losses.get(config.objective.loss)
    for penalty in config.objective.penalties:
        losses.penalties.get(penalty.name)
    for name in config.augment.policy:
        augmentations.get(name)
    with torch.device("meta"):
        generator = networks.build_generator(config.network, dataset.shape, dataset.num_classes)
        networks.build_critic(config.network, dataset.shape, dataset.num_classes)
    assert generator.shape == dataset.shape
    if config.augment.policy and not dataset.is_images:
        raise GanvasError(f"--augment is for images, and {dataset.name} has points. Leave it away.")
    if config.objective.path_length and not hasattr(generator, "path_mean"):
        raise GanvasError(
            f"objective.path_length needs a generator with a mapping network, and {config.network.name!r} has none. "
            "Use --network style."
        )
    codes = int(config.network.critic.get("codes", 0))
    if not 0 <= codes <= config.network.latent_dim:
        raise GanvasError(
            f"network.critic.codes is {codes}; there are {config.network.latent_dim} numbers in z."
        )
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
