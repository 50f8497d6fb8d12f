"""Does a conditional model draw the label that was asked for? Fashion-MNIST, by the judge's classifier.

    python benchmarks/conditional.py [--kimg 300] [--recipes projection auxiliary] [--seed 0]

1,000 samples of each class; the share that the classifier names like the label asked for, beside its accuracy on real
test images.
"""

import argparse

import torch

import ganvas
from ganvas import io
from judge import OUT, features, frechet, load_judge, splits

RECIPES = {
    "projection": {},
    "auxiliary": {"network.critic.auxiliary": True},
    "style-projection": {},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kimg", type=float, default=300)
    parser.add_argument("--recipes", nargs="+", default=list(RECIPES), choices=list(RECIPES))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    judge, accuracy = load_judge()
    images, _, _, _ = splits()
    real = features(judge, images)
    rows = []
    print("\n| recipe | right | worst class | Frechet distance |\n| --- | --- | --- | --- |")
    print(f"| real test images | {accuracy:.1%} | | |")
    for recipe in options.recipes:
        result = ganvas.train(
            "fashion-mnist", preset="hour" if recipe.startswith("style") else "small", conditional=True, kimg=options.kimg,
            seed=options.seed, device="cpu", quiet=True, report=False, out=OUT / "runs", name=f"conditional-{recipe}",
            settings=RECIPES[recipe],
        )  # fmt: skip
        labels = torch.arange(10).repeat(1000)
        drawn = ganvas.load(result.run.path, device="cpu").sample(10_000, seed=1, labels=labels)
        with torch.no_grad():
            answers = torch.cat([judge(part).argmax(1) for part in drawn.split(1000)])
        right = (answers == labels).float()
        each = [float(right[labels == label].mean()) for label in range(10)]
        distance = frechet(features(judge, drawn), real)
        rows.append({"recipe": recipe, "right": float(right.mean()), "each": each, "frechet": distance})
        print(
            f"| {recipe}, {result.kimg:.0f} kimg | {right.mean():.1%} | {min(each):.1%} | {distance:.1f} |",
            flush=True,
        )
    io.write_json(OUT / "conditional.json", {"rows": rows})


if __name__ == "__main__":
    main()
