"""From a critic's logits to log ratios that mean what they say: monotone maps fitted on held-out data."""

import math
from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

Method = Literal["auto", "isotonic", "platt"]
FOLDS = 5
BINS = 60
SMALLEST_BIN = 20
CURVE = 10


class Calibration(NamedTuple):
    """A monotone map of logits: straight pieces between knots, flat above the last, with `slope` below the first."""

    method: str
    x: Tensor
    """Logits (K,), rising."""
    y: Tensor
    """Log ratios (K,), rising."""
    slope: Tensor
    """Of the line below the first knot: where no real sample was seen, further down is less real. ()"""

    def check(self) -> None:
        """Raise `ValueError` unless the knots are those of a rising map."""
        x, y, slope = self.x, self.y, self.slope
        if not all(each.dtype.is_floating_point and torch.isfinite(each).all() for each in (x, y, slope)):
            raise ValueError("the map's knots are not finite numbers")
        if x.dim() != 1 or len(x) < 2 or y.shape != x.shape or slope.dim() != 0:
            raise ValueError(
                f"the map has {tuple(x.shape)} logits, {tuple(y.shape)} log ratios; expected two or more of both"
            )
        if not (x[1:] > x[:-1]).all() or not (y[1:] >= y[:-1]).all():
            raise ValueError("the map does not rise")

    def __call__(self, logits: Tensor) -> Tensor:
        """(n,) -> (n,), differentiable."""
        x, y = self.x.to(logits), self.y.to(logits)
        right = torch.searchsorted(x, logits.detach().contiguous()).clamp(1, len(x) - 1)
        steep = (y[right] - y[right - 1]) / (x[right] - x[right - 1]).clamp(min=1e-12)
        inside = y[right - 1] + steep * (logits - x[right - 1])
        below = y[0] + self.slope.to(logits) * (logits - x[0])
        if self.method == "platt":  # a line all the way
            return y[0] + (y[-1] - y[0]) / (x[-1] - x[0]) * (logits - x[0])
        # No held-out sample says how much more real the upper end is than its last knot, so it is not.
        return torch.where(logits < x[0], below, torch.where(logits > x[-1], y[-1] + 0 * logits, inside))


class Reliability(NamedTuple):
    """How far the calibrated ratio can be trusted, on samples that its map was not fitted to."""

    auc: float
    """Chance that a real sample gets a higher logit than a generated one: 0.5 cannot tell them apart."""
    auc_error: float
    log_loss: float
    """Nats a sample; log 2 = 0.693 knows nothing."""
    ece: float
    """Expected calibration error: mean gap of predicted and found share of real samples over `CURVE` bins."""
    curve: list[tuple[float, float, int]]
    """(predicted, found, samples) for each bin."""


def calibrate(
    real: Tensor, fake: Tensor, method: Method = "auto", groups: Tensor | None = None
) -> tuple[Calibration, Reliability]:
    """Fit a map of the logits of held-out real samples (n,) and of fresh generated ones (m,).

    `platt` is a line (logistic regression), `isotonic` any rising map, on bins of equal counts whose shares
    are smoothed so that they never reach 0 or 1. `auto` takes the smaller log loss over `FOLDS` folds. After
    Turner et al. 2019. Of real samples in `groups`, the numbers (n,) of what is independent, as windows of one sequence are not,
    no group is in two folds, and the error of the AUC is by the spread of whole groups.
    """
    scores = torch.cat([real, fake]).double().cpu().numpy()
    truth = np.concatenate([np.ones(len(real)), np.zeros(len(fake))])
    names = ["platt", "isotonic"] if method == "auto" else [method]
    side = None if groups is None else np.unique(groups.cpu().numpy(), return_inverse=True)[1]
    predicted = {name: _held_out(scores, truth, name, side) for name in names}
    losses = {name: _log_loss(predicted[name], truth) for name in names}
    # A line that is as good as a curve also has a gradient everywhere.
    best = min(names, key=lambda name: losses[name] - (0.001 if name == "platt" else 0.0))
    reliability = _reliability(scores, truth, predicted[best], losses[best])
    if groups is not None:
        reliability = reliability._replace(auc_error=_error_of_groups(real, fake, groups))
    return fit_map(scores, truth, best), reliability


def fit_map(scores: np.ndarray, truth: np.ndarray, method: str) -> Calibration:
    """The map of one method for scores (n,) and 1 for real, 0 for generated (n,); classes weigh the same."""
    from sklearn.isotonic import IsotonicRegression
    from sklearn.linear_model import LogisticRegression

    middle = scores.mean()
    # Of scores that are all one, however large, the map has two points, which a number of 64 bits can tell.
    least = 1e-6 * max(1.0, abs(float(middle)))
    scale = max(float(scores.std()), 1e-6 * least)
    line = LogisticRegression(C=1e4, class_weight="balanced").fit((scores[:, None] - middle) / scale, truth)
    slope = max(0.0, float(line.coef_[0, 0]) / scale)  # a critic that has it backwards says nothing
    offset = float(line.intercept_[0]) - slope * middle
    if method == "platt":
        x = np.array([scores.min(), max(scores.max(), scores.min() + least)])
        y = offset + slope * x
    else:
        order = scores.argsort()
        parts = np.array_split(order, max(2, min(BINS, len(scores) // SMALLEST_BIN)))
        odds = truth.mean() / (1 - truth.mean())
        shares = (
            np.array([(truth[p].sum() + 0.5 * odds) / (len(p) - truth[p].sum() + 0.5) for p in parts]) / odds
        )
        rising = IsotonicRegression().fit_transform(np.arange(len(parts)), np.log(shares))
        x = np.array([scores[p].mean() for p in parts])
        # One knot in the middle of each level: between levels the map rises, so that it has a gradient everywhere inside.
        levels = np.unique(rising)
        x = np.array([np.mean(x[rising == level]) for level in levels])
        kept = np.concatenate([[True], np.diff(x) > 1e-9])
        x, y = x[kept], levels[kept]
        if len(x) < 2:
            x, y = np.array([x[0], x[0] + least]), np.array([y[0], y[0]])
    return Calibration(
        method, *(torch.from_numpy(np.asarray(each, dtype=np.float64)) for each in (x, y, slope))
    )


def _folds(truth: np.ndarray, side: np.ndarray | None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Which samples a map is fitted to, and which it is tried on; of real ones that belong together by whole groups."""
    from sklearn.model_selection import StratifiedKFold

    if side is None or (groups := int(side.max()) + 1) < 2:
        yield from StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(truth[:, None], truth)
        return
    random, count = np.random.default_rng(0), min(FOLDS, groups)
    fold = np.concatenate([
        (random.permutation(groups) % count)[side], random.permutation(len(truth) - len(side)) % count
    ])  # fmt: skip
    for number in range(count):
        yield np.flatnonzero(fold != number), np.flatnonzero(fold == number)


def _error_of_groups(real: Tensor, fake: Tensor, groups: Tensor) -> float:
    """Standard error of the AUC where whole groups of the real samples are drawn; of a single one nothing is known."""
    from ganvas.metrics.resample import pulls, spread_of_groups  # who only draws need not import the metrics

    of_real, of_fake = pulls(*(each.double().cpu().numpy() for each in (real, fake)))
    variance = spread_of_groups(of_real, groups) + spread_of_groups(of_fake, None)
    return min(0.5, math.sqrt(variance))


def _held_out(scores: np.ndarray, truth: np.ndarray, method: str, side: np.ndarray | None) -> np.ndarray:
    """Probability of real for each sample by a map of the other folds (n,)."""
    found = np.zeros(len(scores))
    for train, test in _folds(truth, side):
        fitted = fit_map(scores[train], truth[train], method)
        found[test] = torch.sigmoid(fitted(torch.from_numpy(scores[test]))).numpy()
    return found.clip(1e-6, 1 - 1e-6)


def _log_loss(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Of balanced classes."""
    each = -np.where(truth > 0, np.log(predicted), np.log1p(-predicted))
    return float((each[truth > 0].mean() + each[truth == 0].mean()) / 2)


def _reliability(scores: np.ndarray, truth: np.ndarray, predicted: np.ndarray, loss: float) -> Reliability:
    from sklearn.metrics import roc_auc_score

    auc, n, m = float(roc_auc_score(truth, scores)), int(truth.sum()), int((1 - truth).sum())
    # Hanley and McNeil 1982.
    q1, q2 = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    error = ((auc * (1 - auc) + (n - 1) * (q1 - auc**2) + (m - 1) * (q2 - auc**2)) / (n * m)) ** 0.5
    weight = np.where(truth > 0, 0.5 / n, 0.5 / m)
    bins = (predicted * CURVE).astype(int).clip(0, CURVE - 1)
    curve, gap = [], 0.0
    for b in range(CURVE):
        rows = bins == b
        if rows.any():
            mass = weight[rows].sum()
            said, found = (float((v[rows] * weight[rows]).sum() / mass) for v in (predicted, truth))
            curve.append((said, found, int(rows.sum())))
            gap += mass * abs(said - found)
    return Reliability(auc, float(error), loss, float(gap), curve)
