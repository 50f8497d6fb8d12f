"""Directions from scores: labels, a classifier, a measured attribute, or what a person clicked."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganvas import arrays, io
from ganvas.device import stream
from ganvas.errors import GanvasError, counted
from ganvas.latent.attributes import open_attribute
from ganvas.latent.directions import Direction, measured, without
from ganvas.latent.paths import Perception, looks, pyramid, see_many
from ganvas.latent.space import WIDE, LatentSpace

Array = NDArray[np.float64]
FOLDS = 5
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Inverse penalties of the hyperplane that cross-validation chooses from: few samples want a strong one, 5,000 none."""
FEW = 400
"""Scored samples below which a teacher that looks at the pictures scores `TAUGHT` more: drawn samples cost nothing, clicks do."""
TAUGHT = 2000
TEACHER_AXES = 30
"""Principal axes of the pictures' features that the teacher sees."""
MOST_SCORED = 2**23
"""Numbers in all points that a file scores, or in all shufflings of these, which are held some sixteen times over."""
SHUFFLES = 199
"""How often scores are shuffled to see what accuracy chance gives."""
CHANCE = 0.05
"""Share of shuffled scores that are told as well, above which scores say nothing."""


class Control(NamedTuple):
    """Whether scores say anything, by a permutation test."""

    accuracy: float
    """Balanced share of held-out samples that are put on the right side of the middle score."""
    chance: float
    """What 95 of 100 shuffled scores stay below."""
    p: float
    """Share of shuffled scores that are told at least as well."""


def control(learner: Any, x: Array, high: NDArray[np.bool_], seed: int = 0) -> Control:
    """How well samples (n, F) tell the sides (n,) that they are on, held out, beside the same with shuffled sides.

    `learner` is a scikit-learn regressor of several outputs whose settings do not depend on the sides: the test is then exact
    (Ojala and Garriga 2010, test 1). Sides count the same, however many are on each.
    """
    from sklearn.model_selection import KFold, cross_val_predict

    random, share = np.random.default_rng(seed), high.mean()
    sides = np.stack([high, *(random.permutation(high) for _ in range(SHUFFLES))], 1)
    guesses = cross_val_predict(
        learner,
        x,
        np.where(sides, 1 / share, -1 / (1 - share)),
        cv=KFold(FOLDS, shuffle=True, random_state=0),
    )
    right = (guesses > 0) == sides
    found = ((right & sides).sum(0) / sides.sum(0) + (right & ~sides).sum(0) / (~sides).sum(0)) / 2
    told = 1 + int((found[1:] >= found[0]).sum())
    return Control(float(found[0]), float(np.quantile(found[1:], 0.95)), told / (1 + SHUFFLES))


def in_words(direction: Direction) -> str:
    """Whether the scores that a direction was found by say anything; empty for other directions."""
    made = direction.made
    if "p" not in made:
        return ""
    told = f"{made['accuracy']:.0%} of held-out samples are told right, with shuffled scores up to {made['chance']:.0%}"
    if says_nothing(direction):
        return f"{direction.name}: {told}: these marks say nothing about the pictures. Do not trust the direction."
    return f"{direction.name}: {told}."


def says_nothing(direction: Direction) -> bool:
    """Whether shuffled scores were told as well as those that the direction was found by."""
    return float(direction.made.get("p", 0)) > CHANCE


def attribute(
    space: LatentSpace,
    points: Tensor,
    scores: Tensor,
    name: str = "attribute",
    against: Sequence[Direction] = (),
    see: Perception = pyramid,
    labels: Tensor | None = None,
) -> Direction:
    """The normal of the hyperplane between points (n, *shape) of low and high scores (n,) (InterFaceGAN, Shen et al. 2020).

    Scores of two values are classes; others are split at their quartiles. The hyperplane is that of a logistic regression in
    coordinates where the space is white, whose penalty is cross-validated; the normal is taken there too, so that an edit stays
    among likely points. `against` are directions whose attributes shall stay: their part is projected out. `score` is the
    accuracy on held-out folds, and `made` says what shuffled scores reach (`control`). Fewer than `FEW` samples first teach a
    regression on what `see` sees of them (`teach`), for which `labels` (n,) say the classes of their pictures.
    """
    points, scores = space.check(points), arrays.as_floats(scores, "scores").float()
    given = len(points)
    if scores.shape != (given,):
        raise GanvasError(
            f"scores must be one number for each of the {given} points, got {tuple(scores.shape)}."
        )
    taught: Control | None = None
    if given < space.affords(FEW):
        above = scores > _middle(scores)
        _two_sides(name, above, ~above)
        points, scores, taught = teach(space, points, scores, see, labels)
    low, high = (
        (scores.min(), scores.max())
        if len(scores.unique()) == 2
        else (scores.quantile(0.25), scores.quantile(0.75))
    )
    chosen = (scores <= low) | (scores >= high)
    white, y = space.whiten((points[chosen] - space.mean).flatten(1)), (scores[chosen] >= high).cpu()
    _two_sides(name, y, ~y & bool(low < high))
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_validate

    # A hyperplane and its penalty are the same in what the points span: regressions hold several copies of all numbers.
    rows = spanned(white) if space.size > WIDE else white
    x = rows.cpu().numpy()
    folds = StratifiedKFold(min(FOLDS, int(y.sum()), int((~y).sum())), shuffle=True, random_state=0)
    models = [LogisticRegression(C=c, class_weight="balanced", max_iter=500) for c in STRENGTHS]
    scored = [
        cross_validate(m, x, y.numpy(), cv=folds, scoring=("balanced_accuracy", "neg_log_loss"))
        for m in models
    ]
    accuracies = [float(each["test_balanced_accuracy"].mean()) for each in scored]
    # Where sides are fully apart, all accuracies are 1: the weaker penalty then turns the normal less.
    best = max(
        range(len(models)), key=lambda i: (accuracies[i], float(scored[i]["test_neg_log_loss"].mean()))
    )
    normal = torch.from_numpy(models[best].fit(x, y.numpy()).coef_).to(points.device)
    if space.size > WIDE:
        normal = normal / rows.square().sum(0) @ rows.T @ white
    vector = without(space, space.unwhiten(normal)[0], against).reshape(space.shape)
    if taught is None:
        from sklearn.linear_model import Ridge

        chance = control(Ridge(alpha=1.0), x, y.numpy())
    else:
        chance = taught
    made = {
        "samples": given, "taught": 0 if taught is None else len(scores), "kept": [other.name for other in against],
        **chance._asdict(),
    }  # fmt: skip
    score = accuracies[best] if taught is None else taught.accuracy
    found = Direction(name, vector, space.name, space.model.hash, "attribute", 1.0, score=score, made=made)
    return measured(space, found, see)


def spanned(points: Tensor) -> Tensor:
    """Points (n, D) by their coordinates (n, r) in what they span: w+ has many more numbers than its points vary in."""
    values, vectors = torch.linalg.eigh(points.double() @ points.double().T)
    kept = values > 1e-10 * values.max()
    found: Tensor = vectors[:, kept] * values[kept].sqrt()
    return found


def _two_sides(name: str, high: Tensor, low: Tensor) -> None:
    """Raise `GanvasError` unless both sides have enough samples."""
    if min(int(high.sum()), int(low.sum())) < 4:
        raise GanvasError(
            f"The scores of {name!r} need at least 4 samples on each side, there are {int(high.sum())} and {int(low.sum())}."
        )


def _middle(scores: Tensor) -> float:
    """Between two classes, or the median."""
    return float((scores.min() + scores.max()) / 2 if len(scores.unique()) == 2 else scores.median())


@torch.no_grad()
def teach(
    space: LatentSpace,
    points: Tensor,
    scores: Tensor,
    see: Perception = pyramid,
    labels: Tensor | None = None,
) -> tuple[Tensor, Tensor, Control]:
    """Few scored points (n, *shape) -> `TAUGHT` fresh ones, their scores as a teacher sees them, and whether they say anything.

    The teacher is a Gaussian process (linear and radial kernel, widths by marginal likelihood) on the principal axes of the
    pictures' features, where most attributes are far simpler than in the latent space. It is controlled with the widths that
    it starts from, which do not depend on the scores. `labels` (n,) are the classes of the pictures that were scored.
    """
    from sklearn.decomposition import PCA
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct, WhiteKernel

    fresh = space.sample(space.affords(TAUGHT), stream(len(points), "teach"))
    look = see_many(space, see)
    few, many = (
        torch.cat(list(looks(space, *part, look))).cpu().numpy() for part in ((points, labels), (fresh, None))
    )
    if not (many != many[0]).any():
        raise GanvasError(
            "All samples of this model look the same: it has collapsed, and no direction changes what it draws. "
            "Train it anew, or take an older snapshot."
        )
    axes = PCA(min(TEACHER_AXES, many.shape[1]), random_state=0).fit(many)
    few, many = axes.transform(few), axes.transform(many)
    few, many = few / many.std(), many / many.std()
    y = scores.double().cpu().numpy()
    kernel = ConstantKernel() * RBF(3.0) + ConstantKernel() * DotProduct() + WhiteKernel(0.1)
    teacher = GaussianProcessRegressor(kernel, normalize_y=True, random_state=0)
    with warnings.catch_warnings():  # a width at its bound says that the attribute is linear, or all noise
        warnings.simplefilter("ignore", ConvergenceWarning)
        teacher.fit(few, y)
    blind = GaussianProcessRegressor(kernel, optimizer=None)
    told = control(blind, few, y > _middle(scores))
    return fresh, torch.from_numpy(teacher.predict(many)).to(scores), told


@torch.no_grad()
def scores_of(space: LatentSpace, names: Sequence[str], points: Tensor) -> dict[str, Tensor]:
    """The attributes called `names` of the samples at points (n, *shape), which are drawn once: (n,) each, on the CPU.

    Of a class it is 1 where the sample is that class.
    """
    measures = {name: open_attribute(name, space.model) for name in names}
    if not measures:
        return {}
    seen = looks(space, points, see=space.model.to_data)
    rows = (torch.stack([measure(samples).cpu() for measure in measures.values()], 1) for samples in seen)
    found = dict(zip(measures, arrays.joined(rows, len(points)).T.contiguous(), strict=True))
    return {name: (each > 0.5).float() if name.startswith("class:") else each for name, each in found.items()}


def from_attribute(
    space: LatentSpace, name: str, keep: Sequence[str] = (), samples: int = 2000, seed: int = 0
) -> Direction:
    """The direction of a named attribute (`ganvas.latent.attributes`, `class:NAME`) that leaves those of `keep` alone."""
    points = space.numbered(space.affords(samples), seed)
    scores = scores_of(space, (name, *keep), points)
    against = [attribute(space, points, scores[each], each) for each in keep]
    return attribute(space, points, scores[name], name, against)


def from_scores(
    space: LatentSpace, path: Path, keep: Sequence[str] = (), samples: int = 2000, seed: int = 0
) -> Direction:
    """The direction of a person's scores (`read_scores`) for the samples of `seed`, called like the file."""
    numbers, scores = read_scores(path)
    if len(numbers) > (most := arrays.fitting(max(space.size, SHUFFLES + 1), MOST_SCORED, len(numbers))):
        raise GanvasError(
            f"{path} has {counted(len(numbers), 'score')}; of points of {space.size:,} numbers at most {most:,} are taken. Some "
            "hundreds will do."
        )
    # What is kept is known from samples, not from the few that a person rated.
    against = [from_attribute(space, each, (), samples, seed) for each in keep]
    labels = space.model.labels_at(numbers)
    return attribute(space, space.at(numbers, seed), scores, path.stem, against, labels=labels)


def read_scores(path: Path) -> tuple[list[int], Tensor]:
    """A person's scores: JSON {"0": 1, "7": 0, ...} or CSV lines `number,score` -> sample numbers and scores (n,).

    The numbers count the samples of `ganvas sample MODEL --seed S` from 0, row by row in its grid.
    """
    text = io.read_text(path)
    try:
        if path.suffix == ".json":
            found = io.parse_json(text, "it").items()
            pairs = [(int(number), float(score)) for number, score in found]
        else:
            lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
            pairs = [(int(number), float(score)) for number, score in (line.split(",") for line in lines)]
    except (ValueError, TypeError, AttributeError, OverflowError, GanvasError) as error:
        raise GanvasError(
            f'{path} holds no scores ({error}). Write lines like 12,1 (sample number, score), or JSON {{"12": 1}}.'
        ) from error
    if (
        not pairs
        or min(number for number, _ in pairs) < 0
        or len({number for number, _ in pairs}) < len(pairs)
    ):
        raise GanvasError(
            f"{path}: give each sample number once, from 0 up; it has {counted(len(pairs), 'line')}."
        )
    scores = torch.tensor([score for _, score in pairs])
    if not torch.isfinite(scores).all():
        raise GanvasError(f"{path}: a score must be a finite number.")
    return [number for number, _ in pairs], scores
