"""`ganvas list`"""

from typing import Annotated, Any, Literal

import tyro

from ganvas.cli import _shared

Kind = Literal[
    "all",
    "datasets",
    "networks",
    "losses",
    "penalties",
    "terms",
    "methods",
    "augmentations",
    "presets",
    "metrics",
    "extractors",
    "samplers",
    "finders",
    "importers",
    "loggers",
    "models",
]


def run(kind: Annotated[Kind, tyro.conf.Positional] = "all", *, json: bool = False) -> None:
    """Show what can be named on the command line.

    Args:
        kind: datasets, networks, losses, penalties, terms, methods, augmentations, presets, metrics, extractors, samplers,
            finders, importers, loggers or models.
        json: Print JSON for programs.
    """
    from ganvas import metrics
    from ganvas.data import datasets
    from ganvas.features import extractors
    from ganvas.importers import importers
    from ganvas.latent.finders import finders
    from ganvas.losses import augmentations, losses, penalties, terms
    from ganvas.model import packaged
    from ganvas.networks import families
    from ganvas.presets import presets
    from ganvas.registry import Registry
    from ganvas.sampling import samplers
    from ganvas.training import loggers, methods

    registries: dict[str, Registry[Any]] = {
        "datasets": datasets,
        "networks": families,
        "losses": losses,
        "penalties": penalties,
        "terms": terms,
        "methods": methods,
        "augmentations": augmentations,
        "presets": presets,
        "metrics": metrics.registry,
        "extractors": extractors,
        "samplers": samplers,
        "finders": finders,
        "importers": importers,
        "loggers": loggers,
    }
    models: Registry[None] = Registry("model")
    for name, line in packaged().items():
        models.add(name, None, line)
    registries["models"] = models
    chosen = {name: registry for name, registry in registries.items() if kind in ("all", name)}
    if json:
        _shared.answer({name: {n: r.summary(n) for n in r} for name, r in chosen.items()})
        return
    for name, registry in chosen.items():
        _shared.say(name)
        widest = max(len(entry) for entry in registry)
        for entry in registry:
            _shared.say(f"  {entry:<{widest}}  {registry.summary(entry)}")
    if "datasets" in chosen:
        _shared.say("  also: a folder or .zip of images, an .npy or .npz array, hub:org/name")
