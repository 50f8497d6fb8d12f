"""Directions from scores: labels, a classifier, a measured attribute, or what a person clicked."""

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from ganvas.errors import GanvasError
from ganvas.features.base import hash_of
from ganvas.latent.attributes import open_attribute
from ganvas.latent.directions import Direction, measured, without
from ganvas.latent.paths import Perception, pyramid
from ganvas.latent.space import LatentSpace

FOLDS = 5
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Inverse penalties of the hyperplane that cross-validation chooses from: 50 clicks want a strong one, 5,000 samples none."""


def attribute(
    space: LatentSpace,
    points: Tensor,
    scores: Tensor,
    name: str = "attribute",
    against: Sequence[Direction] = (),
    see: Perception = pyramid,
) -> Direction:
    """The normal of the hyperplane between points (n, *shape) of low and high scores (n,) (InterFaceGAN, Shen et al. 2020).

    Scores of two values are classes; others are split at their quartiles. The hyperplane is that of a logistic regression in
    coordinates where the space is white, whose penalty is cross-validated; the normal is taken there too, so that an edit stays
    among likely points. `against` are directions whose attributes shall stay: their part is projected out. `score` is the
    accuracy on held-out folds.
    """
    points = space.check(points)
    low, high = (
        (scores.min(), scores.max()) if len(scores.unique()) == 2 else (scores.quantile(0.25), scores.quantile(0.75))
    )
    chosen = (scores <= low) | (scores >= high)
    white, y = space.whiten((points[chosen] - space.mean).flatten(1)), (scores[chosen] >= high).cpu()
    if low == high or min(int(y.sum()), int((~y).sum())) < 4:
        raise GanvasError(
            f"The scores of {name!r} need at least 4 samples on each side, there are {int(y.sum())} and {int((~y).sum())}."
        )
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_score

    x = white.cpu().numpy()
    folds = StratifiedKFold(min(FOLDS, int(y.sum()), int((~y).sum())), shuffle=True, random_state=0)
    models = [LogisticRegression(C=c, class_weight="balanced", max_iter=500) for c in STRENGTHS]
    accuracies = [float(cross_val_score(m, x, y.numpy(), cv=folds, scoring="balanced_accuracy").mean()) for m in models]
    best = max(range(len(models)), key=accuracies.__getitem__)
    normal = torch.from_numpy(models[best].fit(x, y.numpy()).coef_).to(points.device)
    vector = without(space, space.unwhiten(normal)[0], against).reshape(space.shape)
    made = {"samples": len(scores), "kept": [other.name for other in against]}
    found = Direction(
        name, vector, space.name, hash_of(space.model.generator), "attribute", 1.0, score=accuracies[best], made=made
    )
    return measured(space, found, see)


@torch.no_grad()
def scores_of(space: LatentSpace, names: Sequence[str], points: Tensor) -> dict[str, Tensor]:
    """The attributes called `names` of the samples at points (n, *shape), which are drawn once: (n,) each, on the CPU.

    Of a class it is 1 where the sample is that class.
    """
    measures = {name: open_attribute(name, space.model) for name in names}
    images = [space.model.to_data(space.decode(part)) for part in points.split(256)]
    found = {name: torch.cat([measure(part).cpu() for part in images]) for name, measure in measures.items()}
    return {name: (each > 0.5).float() if name.startswith("class:") else each for name, each in found.items()}


def from_attribute(
    space: LatentSpace, name: str, keep: Sequence[str] = (), samples: int = 2000, seed: int = 0
) -> Direction:
    """The direction of a named attribute (`ganvas.latent.attributes`, `class:NAME`) that leaves those of `keep` alone."""
    points = space.numbered(samples, seed)
    scores = scores_of(space, (name, *keep), points)
    against = [attribute(space, points, scores[each], each) for each in keep]
    return attribute(space, points, scores[name], name, against)


def from_scores(
    space: LatentSpace, path: Path, keep: Sequence[str] = (), samples: int = 2000, seed: int = 0
) -> Direction:
    """The direction of a person's scores (`read_scores`) for the samples of `seed`, called like the file."""
    numbers, scores = read_scores(path)
    # What is kept is known from samples, not from the few that a person rated.
    against = [from_attribute(space, each, (), samples, seed) for each in keep]
    return attribute(space, space.at(numbers, seed), scores, path.stem, against)


def read_scores(path: Path) -> tuple[list[int], Tensor]:
    """A person's scores: JSON {"0": 1, "7": 0, ...} or CSV lines `number,score` -> sample numbers and scores (n,).

    The numbers count the samples of `ganvas sample MODEL --seed S` from 0, row by row in its grid.
    """
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".json":
            pairs = [(int(number), float(score)) for number, score in json.loads(text).items()]
        else:
            lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
            pairs = [(int(number), float(score)) for number, score in (line.split(",") for line in lines)]
    except OSError as error:
        raise GanvasError(f"Can not read {path}: {error.strerror}.") from error
    except (ValueError, AttributeError) as error:
        raise GanvasError(
            f'{path} holds no scores ({error}). Write lines like 12,1 (sample number, score), or JSON {{"12": 1}}.'
        ) from error
    if not pairs or min(number for number, _ in pairs) < 0 or len({number for number, _ in pairs}) < len(pairs):
        raise GanvasError(f"{path}: give each sample number once, from 0 up; there are {len(pairs)} lines.")
    return [number for number, _ in pairs], torch.tensor([score for _, score in pairs])
