"""Imports of the packages that judge our metrics. torchvision is replaced by empty modules: the judged code uses none."""

import importlib
import sys
import types
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np


class _Empty(types.ModuleType):
    """A module in which every name is an empty class."""

    __version__ = "0.0"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


def _without_torchvision(name: str) -> Any:
    ends = ("", ".transforms", ".transforms.functional", ".datasets", ".models", ".models.inception")
    mine = [f"torchvision{end}" for end in ends]
    for part in mine:
        sys.modules[part] = _Empty(part)
        parent, _, child = part.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, sys.modules[part])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(name)
    finally:
        for part in mine:
            del sys.modules[part]


def pytorch_fid() -> Callable[[np.ndarray, np.ndarray], float]:
    """Its `calculate_frechet_distance` on two arrays of features."""
    module = _without_torchvision("pytorch_fid.fid_score")

    def distance(x: np.ndarray, y: np.ndarray) -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return float(
                module.calculate_frechet_distance(
                    x.mean(0), np.cov(x, rowvar=False), y.mean(0), np.cov(y, rowvar=False)
                )
            )

    return distance


def pytorch_fid_statistics() -> Callable[
    [tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]], float
]:
    """The same from (mean, covariance) of each set."""
    module = _without_torchvision("pytorch_fid.fid_score")
    return lambda x, y: float(module.calculate_frechet_distance(*x, *y))


def torch_fidelity(metric: str) -> Any:
    """The module `torch_fidelity.metric_...`."""
    return _without_torchvision(f"torch_fidelity.metric_{metric}")


def torch_fidelity_inception() -> Any:
    """Its module with the Inception network."""
    return _without_torchvision("torch_fidelity.feature_extractor_inceptionv3")


def prdc() -> Callable[..., dict[str, float]]:
    """`compute_prdc`, which prints; callers capture that."""
    return _without_torchvision("prdc").compute_prdc  # type: ignore[no-any-return]


def clean_fid_resizer() -> Callable[[np.ndarray], np.ndarray]:
    """Its resizing of one image (H, W, 3) to 299 px."""
    return _without_torchvision("cleanfid.resize").build_resizer("clean")  # type: ignore[no-any-return]
