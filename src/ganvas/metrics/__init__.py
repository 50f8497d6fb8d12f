"""How good are the samples? One pure function a metric on plain arrays, and `evaluate` for all of them in one pass.

    from ganvas import metrics
    metrics.frechet(fake_features, real_features)
    metrics.evaluate("runs/00000-garments").rows

`fake` always comes first. Features are float arrays or tensors (N, D); no function needs anything else of ganvas.
"""

from ganvas.metrics import standard as _standard  # fills the registry
from ganvas.metrics.base import Metric
from ganvas.metrics.base import metrics as registry
from ganvas.metrics.evaluate import Evaluation, embed_reference, evaluate
from ganvas.metrics.frechet import frechet
from ganvas.metrics.inception_score import inception_score
from ganvas.metrics.kernel import kid, kid_exact
from ganvas.metrics.manifold import density_coverage, precision_recall
from ganvas.metrics.memorisation import authenticity, data_copying, nearest_training
from ganvas.metrics.modes import bins, mode_coverage, point_modes
from ganvas.metrics.path_length import path_length
from ganvas.metrics.rows import Row, compare
from ganvas.metrics.sliced import sliced_wasserstein

__all__ = [
    "Evaluation",
    "Metric",
    "Row",
    "authenticity",
    "bins",
    "compare",
    "data_copying",
    "density_coverage",
    "embed_reference",
    "evaluate",
    "frechet",
    "inception_score",
    "kid",
    "kid_exact",
    "mode_coverage",
    "nearest_training",
    "path_length",
    "point_modes",
    "precision_recall",
    "registry",
    "sliced_wasserstein",
]

assert _standard
