"""How much a classifier's features tell that it has learned from a sample: the bundled one of Fashion-MNIST, and its test images.

    python benchmarks/seen_features.py [--n 6000] [--seeds 5]

The bundled classifier has learned from all 60,000 training images, so from those too that a training holds out. Beside
them stand as many of the 10,000 test images, which it has never seen: what the Fréchet distance to the 54,000 others
says of either (the floor that `ganvas eval` prints), how well one is told from the other by the distance to the nearest
of these (0.5 is not at all), by which copies are found, and how well by a logistic regression on the features, in five
folds, as the critic `features` of `ganvas calibrate` would.
"""

import argparse

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ganvas.config import DataConfig
from ganvas.data import load_dataset
from ganvas.data.idx import load_named
from ganvas.features import open_extractor
from ganvas.features.base import embed
from ganvas.metrics.frechet import frechet

NAME = "fashion-mnist"


def auc_of_nearest(seen: np.ndarray, unseen: np.ndarray, others: np.ndarray) -> float:
    """Of the distance to the nearest of the others: 1 where all that were seen lie nearer."""
    every, rest = torch.from_numpy(np.concatenate([seen, unseen])), torch.from_numpy(others)
    nearest = torch.cat([torch.cdist(part, rest).amin(1) for part in every.split(500)])
    return float(roc_auc_score(np.arange(len(every)) < len(seen), -nearest.numpy()))


def auc_of_critic(seen: np.ndarray, unseen: np.ndarray) -> float:
    rows = np.concatenate([seen, unseen])
    is_seen = np.arange(len(rows)) < len(seen)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
    told = cross_val_predict(model, rows, is_seen, cv=5, method="predict_proba")[:, 1]
    return float(roc_auc_score(is_seen, told))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--n", type=int, default=6000)
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    train, test = load_dataset(NAME), load_named(NAME, DataConfig(), "test")
    extractor = open_extractor(f"classifier-{NAME}", train, "cpu")
    seen, unseen = (
        embed(extractor, data.take(torch.arange(len(data)))[0].split(500)).features for data in (train, test)
    )
    figures = []
    for seed in range(options.seeds):
        random = np.random.default_rng(seed)
        order, other = random.permutation(len(seen)), random.permutation(len(unseen))[: options.n]
        held_out, rest = seen[order[: options.n]], seen[order[options.n :]]
        new = unseen[other]
        aucs = auc_of_nearest(held_out, new, rest), auc_of_critic(held_out, new)
        figures.append((frechet(held_out, rest), frechet(new, rest), *aucs))
    print("| | mean | least | most |\n| --- | ---: | ---: | ---: |")
    names = (
        "Fréchet distance, learned from",
        "Fréchet distance, never seen",
        "AUC of the nearest",
        "AUC of a critic",
    )
    for name, row in zip(names, np.array(figures).T, strict=True):
        print(f"| {name} | {row.mean():.4f} | {row.min():.4f} | {row.max():.4f} |")


if __name__ == "__main__":
    main()
