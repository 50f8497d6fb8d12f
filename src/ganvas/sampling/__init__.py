"""Better samples from a generator as it is. New ones: a module here, an import, a row in docs/sampling.md."""

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
