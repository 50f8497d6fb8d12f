"""Better samples from a generator as it is. New ones: a module here, an import, a row in docs/sampling.md."""

from typing import TYPE_CHECKING, Any

from ganvas.sampling.base import Drawn, Ratio, samplers
from ganvas.sampling.flow import flow, repair, transport
from ganvas.sampling.held_out import calibrate_model, independent_extractor
from ganvas.sampling.langevin import ex2, langevin
from ganvas.sampling.metropolis import metropolis, resample
from ganvas.sampling.ratio import LogRatio, fit_ratio
from ganvas.sampling.rejection import budget, reject
from ganvas.sampling.reweight import reweight
from ganvas.sampling.truncation import Truncated, prior, truncate
from ganvas.sampling.volume import magnet, polarity

if TYPE_CHECKING:
    from ganvas.sampling.improve import improve_model

__all__ = [
    "Drawn",
    "LogRatio",
    "Ratio",
    "Truncated",
    "budget",
    "calibrate_model",
    "ex2",
    "fit_ratio",
    "flow",
    "improve_model",
    "independent_extractor",
    "langevin",
    "magnet",
    "metropolis",
    "polarity",
    "prior",
    "reject",
    "repair",
    "resample",
    "reweight",
    "samplers",
    "transport",
    "truncate",
]


def __getattr__(name: str) -> Any:
    """`improve_model` measures, and who only draws need not import the metrics."""
    if name == "improve_model":
        from ganvas.sampling.improve import improve_model

        return improve_model
    raise AttributeError(f"module 'ganvas.sampling' has no attribute {name!r}")
