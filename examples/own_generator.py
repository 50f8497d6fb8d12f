"""Your own generator in every tool: here the decoder of a small autoencoder, written and trained in plain PyTorch.

    python examples/own_generator.py [--epochs 60] [--out own-generator] [--explore]

Writes samples, a walk, directions and what they do, images found in the latent space, and samples before and after a sampler.
"""

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ganvas
from ganvas import pictures
from ganvas.latent import equal_steps, open_space, through
from ganvas.latent.directions import edit, find
from ganvas.latent.invert import invert
from ganvas.sampling import budget, fit_ratio
from ganvas.testing import check_generator

LATENT = 8


def train_decoder(images: Tensor, epochs: int) -> nn.Module:
    """A variational autoencoder (Kingma and Welling 2014) of 8 x 8 digits; only its decoder is kept. Nothing of ganvas here."""
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 256), nn.SiLU(), nn.Linear(256, 2 * LATENT))
    decoder = nn.Sequential(
        nn.Linear(LATENT, 256),
        nn.SiLU(),
        nn.Linear(256, 256),
        nn.SiLU(),
        nn.Linear(256, 64),
        nn.Sigmoid(),
        nn.Unflatten(1, (1, 8, 8)),
    )
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], 1e-3)
    for _ in range(epochs):
        for batch in images[torch.randperm(len(images))].split(64):
            mean, log_variance = encoder(batch).chunk(2, 1)
            drawn = decoder(mean + torch.randn_like(mean) * (log_variance / 2).exp())
            divergence = 0.5 * (mean.square() + log_variance.exp() - log_variance - 1).sum(1).mean()
            loss = F.binary_cross_entropy(drawn, batch, reduction="none").sum((1, 2, 3)).mean() + divergence
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return decoder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--out", type=Path, default=Path("own-generator"))
    parser.add_argument("--explore", action="store_true", help="open the page at the end")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    data = ganvas.load_dataset("digits")
    train, held_out = data.split(0.2)
    real = train.take(torch.arange(len(train)))[0]
    decoder = train_decoder(real / 255, options.epochs)

    # One call; what works and what is missing is said in words.
    model = ganvas.wrap(decoder, latent_dim=LATENT)
    for finding in check_generator(model):
        print(finding)

    def save(name: str, images: Tensor, columns: int) -> None:
        (options.out / name).write_bytes(pictures.png(pictures.grid(images, columns=columns)))
        print(f"-> {options.out / name}")

    save("samples.png", model.sample(64, seed=0), 8)
    space = open_space(model)
    with torch.no_grad():
        path = through(space, space.sample(4, torch.Generator().manual_seed(1)))
        save("walk.png", model.to_data(space.decode(path(equal_steps(space, path, 16)))), 16)

        start, rows = space.numbered(1, seed=2), []
        for direction in find(space, "jacobian", 4):
            print(f"{direction.name}: {direction.effect:.2f} mean distances of two samples for one sigma")
            rows += [edit(space, start, direction, strength) for strength in (-3, -2, -1, 0, 1, 2, 3)]
        save("directions.png", model.to_data(space.decode(torch.cat(rows))), 7)

    wanted = held_out.take(torch.arange(8))[0]
    found = invert(space, wanted, steps=100)
    print(
        f"8 held-out images found with a residual of {float(found.residual.mean()):.0%} of a usual distance"
    )
    save("found.png", torch.cat([wanted, model.to_data(space.decode(found.points)).cpu()]), 8)

    # A critic learns what gives the samples away; one in ten candidates is kept.
    held = held_out.take(torch.arange(len(held_out)))[0]
    ratio = fit_ratio(space, held, train=(real, None), critic="fresh")
    print(f"critic: AUC {ratio.report.auc:.2f}")
    save("better.png", budget(space, ratio, 64, budget=10).samples, 8)
    if options.explore:
        ganvas.explore(model, ratio=ratio, real=real)


if __name__ == "__main__":
    main()
