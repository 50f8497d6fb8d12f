"""ganvas: train GANs, measure them honestly, and explore their latent space.

    import ganvas
    result = ganvas.train("digits", minutes=1)
    model = ganvas.load(result.run.path)
    images = model.sample(64, seed=0)          # uint8 (64, 1, 8, 8)

Importing this package is cheap: torch is imported with the first use of a name below.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ganvas.config import Config
    from ganvas.data import Dataset, load_dataset
    from ganvas.errors import GanvasError, TrainingError
    from ganvas.foreign import wrap
    from ganvas.latent import open_space
    from ganvas.latent.tools import Walk, edit, find_directions, invert, walk
    from ganvas.latent.tools import map as map
    from ganvas.metrics.evaluate import evaluate
    from ganvas.model import Model
    from ganvas.model_file import load
    from ganvas.options import TrainOptions
    from ganvas.privacy import audit
    from ganvas.runs import Run, open_run
    from ganvas.sampling import fit_ratio
    from ganvas.training import Logger, Result, train
    from ganvas.web.app import explore
    from ganvas.web.opening import replay

_HOMES = {
    "Config": "ganvas.config",
    "Dataset": "ganvas.data",
    "GanvasError": "ganvas.errors",
    "Logger": "ganvas.training",
    "Model": "ganvas.model",
    "Result": "ganvas.training",
    "Run": "ganvas.runs",
    "TrainOptions": "ganvas.options",
    "TrainingError": "ganvas.errors",
    "Walk": "ganvas.latent.tools",
    "audit": "ganvas.privacy",
    "edit": "ganvas.latent.tools",
    "evaluate": "ganvas.metrics.evaluate",
    "explore": "ganvas.web.app",
    "find_directions": "ganvas.latent.tools",
    "fit_ratio": "ganvas.sampling",
    "invert": "ganvas.latent.tools",
    "load": "ganvas.model_file",
    "load_dataset": "ganvas.data",
    "map": "ganvas.latent.tools",
    "open_run": "ganvas.runs",
    "open_space": "ganvas.latent",
    "replay": "ganvas.web.opening",
    "train": "ganvas.training",
    "walk": "ganvas.latent.tools",
    "wrap": "ganvas.foreign",
}

__all__ = [
    "Config",
    "Dataset",
    "GanvasError",
    "Logger",
    "Model",
    "Result",
    "Run",
    "TrainOptions",
    "TrainingError",
    "Walk",
    "audit",
    "edit",
    "evaluate",
    "explore",
    "find_directions",
    "fit_ratio",
    "invert",
    "load",
    "load_dataset",
    "open_run",
    "open_space",
    "replay",
    "train",
    "walk",
    "wrap",
]

# `map` is not among them: a star import would hide Python's own.


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("ganvas")
    if name not in _HOMES:
        raise AttributeError(f"module 'ganvas' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(_HOMES)
