"""Photographs from a folder: presets, single means and peers in the same minutes, judged by networks that guided none of them.

    python benchmarks/real_pictures.py run PICTURES.zip photo --minutes 20 --resolution 32 [--seed 0]     # one row
    python benchmarks/real_pictures.py run PICTURES.zip lightweight-gan --minutes 20 --python PEER/bin/python
    python benchmarks/real_pictures.py coder PICTURES.zip RUN --resolution 128      # what an autoencoder's reconstructions score
    python benchmarks/real_pictures.py table                                                        # all rows, Markdown
    python benchmarks/real_pictures.py list                                                      # what a row may be

A row that is there is not run again (`--again` does), so that a table of hours can be made row by row. Rows lie in
benchmarks/out/real_pictures.jsonl, pictures beside them. The judge is a classifier that is trained here from scratch on the
labels of the pictures (sub-folders), and the image pyramid, which knows no labels; Frechet distance, precision, recall and
coverage of as many samples as the training part has, 10,000 at most, with the floor of held-out pictures.

The peers: `dcgan-tutorial`, the recipe of the well-known PyTorch tutorial, is written out below. `lightweight-gan` is the package
of that name, 1.2.1, in a Python of its own with torch and torchvision; it wants a GPU, and is told that the CPU is one.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from clock import CLOCKS, count_by
from torch import Tensor, nn

import ganvas
from ganvas import io, pictures
from ganvas.config import DataConfig
from ganvas.data import Dataset, load_dataset
from ganvas.data.loader import Batches
from ganvas.device import resolve_device
from ganvas.features import Extractor, classifier, open_extractor
from ganvas.metrics import evaluate
from ganvas.presets import presets
from judge import OUT

ROWS = OUT / "real_pictures.jsonl"
METRICS = ["frechet", "precision-recall", "density-coverage"]
ABLATION: dict[str, dict[str, Any]] = {
    "projected without augmentation": {"preset": "projected", "augment": ["none"]},
    "projected with ada": {"preset": "projected", "augment": ["ada-diffaugment"]},
    "projected with lecam": {"preset": "projected", "term": ["lecam"]},
    "projected with bcr": {"preset": "projected", "term": ["bcr"]},
    "projected as published": {
        "preset": "projected",
        "penalty": ["none"],
        "augment": ["diffaugment"],
        "settings": {
            "network.critic": {"features": "efficientnet-lite0"},
            "optimizer.lr_generator": 2e-4,
            "optimizer.lr_critic": 2e-4,
        },
    },
    "projected without a critic of pixels": {"preset": "projected", "settings": {"network.critic.pixels": 0}},
    "projected, features of 64 px": {"preset": "projected", "settings": {"network.critic.side": 64}},
    "projected, ema 2 kimg": {"preset": "projected", "settings": {"training.ema_kimg": 2.0}},
    "projected, ema 40 kimg": {"preset": "projected", "settings": {"training.ema_kimg": 40.0}},
    "projected, r1 in every step": {
        "preset": "projected",
        "settings": {"objective.penalties": [{"name": "r1", "weight": 0.4, "interval": 1}]},
    },
    "projected, gamma 0.1": {"preset": "projected", "gamma": 0.1},
    "photo, gamma 0.1": {"preset": "photo", "gamma": 0.1},
    "photo, batch 64": {"preset": "photo", "batch": 64},
    "photo, gamma 0.1, classes": {"preset": "photo", "gamma": 0.1, "conditional": True},
    "photo, gamma 0.1, without augmentation": {"preset": "photo", "gamma": 0.1, "augment": ["none"]},
    "photo, gamma 0.1, lecam": {"preset": "photo", "gamma": 0.1, "term": ["lecam"]},
    "photo, gamma 0.1, averages": {
        "preset": "photo",
        "gamma": 0.1,
        "settings": {"training.ema_also_kimg": [0.1, 2.0, 40.0], "training.ema_rampup": None},
    },
    "photo, gamma 0.1, critic of 32 maps": {
        "preset": "photo",
        "gamma": 0.1,
        "settings": {"network.critic.channels": 32},
    },
    "photo without augmentation": {"preset": "photo", "augment": ["none"]},
    "photo-hour, rate 0.015": {
        "preset": "photo-hour",
        "settings": {"optimizer.lr_generator": 0.015, "optimizer.lr_critic": 0.015},
    },
    "photo-hour, classes, mirrored, generator of 16 maps": {
        "preset": "photo-hour",
        "conditional": True,
        "mirror": True,
        "settings": {"network.generator.channels": 16},
    },
    "photo-hour without augmentation": {"preset": "photo-hour", "augment": ["none"]},
}
"""Rows that change one thing, or what their names say. What keeps several averages of its generator gets a row for each."""
LATENT: dict[str, dict[str, Any]] = {
    "latent of ae": {"preset": "ae", "settings": {"network.latent_dim": 64}},
    "latent of vae-gan": {"preset": "vae-gan", "settings": {"network.latent_dim": 64}},
}
"""Rows of a GAN in the latent space of an autoencoder, which gets `SHARE` of the minutes."""
SHARE = 0.7
PEERS = ("dcgan-tutorial", "lightweight-gan")
LIGHTWEIGHT = """
import sys, time, torch, numpy
folder, size, seconds, count, seed, out, work, which, threads = sys.argv[1:]
torch.manual_seed(int(seed))
torch.set_num_threads(int(threads))
library = torch.library.Library("torchvision", "DEF")  # its wheels of GPUs cannot load their operations here; none is used
for name in ("nms", "qnms"):
    library.define(name + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
torch.cuda.is_available = lambda: True
torch.Tensor.cuda = lambda self, *a, **k: self
torch.nn.Module.cuda = lambda self, *a, **k: self
import lightweight_gan.lightweight_gan as package
class OnCpu:
    def __getattr__(self, name):
        return (lambda *a: torch.empty(0).device) if name == "device" else getattr(torch, name)
package.torch = OnCpu()
trainer = package.Trainer(name="peer", base_dir=work, image_size=int(size), batch_size=10,
                          gradient_accumulate_every=4, use_aim=False, num_workers=0,
                          attn_res_layers=[32], save_every=10**9, evaluate_every=10**9)
trainer.evaluate = lambda *a, **k: None
trainer.set_data_src(folder)
clock = time.process_time if which == "cpu" else time.monotonic
started = clock()
while clock() - started < float(seconds):
    trainer.train()
trainer.GAN.eval()
# It averages from step 20,001 on, and until then GE is what G was at the last step of the form 1000 k + 2.
network = trainer.GAN.G if trainer.steps <= 20000 else trainer.GAN.GE
drawn = []
with torch.no_grad():
    for start in range(0, int(count), 100):
        drawn.append(network(torch.randn(100, 256)).clamp(0, 1).mul(255).round().byte())
numpy.savez(out, images=torch.cat(drawn)[: int(count)].numpy(), steps=trainer.steps)
"""
"""Run in the peer's own Python: its Trainer with the settings of its command line, its augmentation as it sets it by itself."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run")
    run.add_argument("data")
    run.add_argument("row", nargs="+", help="names of `list`")
    run.add_argument("--minutes", type=float, default=20)
    run.add_argument("--resolution", type=int)
    run.add_argument("--resize", choices=["crop", "fit", "stretch"])
    run.add_argument("--alpha", action="store_true", help="keep what is transparent as a fourth channel")
    run.add_argument("--count", type=int, help="train on so many pictures only, chosen by chance")
    run.add_argument("--seed", type=int, nargs="+", default=[0])
    run.add_argument(
        "--clock", choices=list(CLOCKS), default="wall", help="what --minutes are: `cpu` on a busy machine"
    )
    run.add_argument("--threads", type=int, default=1)
    run.add_argument("--device", default="cpu")
    run.add_argument("--samples", type=int, default=10_000)
    run.add_argument("--epochs", type=int, help="of the judge")
    run.add_argument("--python", default=sys.executable, help="the Python that has lightweight-gan")
    run.add_argument("--again", action="store_true")
    coder = commands.add_parser("coder")
    coder.add_argument("data")
    coder.add_argument(
        "run", help="of an autoencoder, say benchmarks/out/real_pictures/00000-flowers-latent_of_ae-0"
    )
    coder.add_argument("--resolution", type=int)
    coder.add_argument("--resize", choices=["crop", "fit", "stretch"])
    coder.add_argument("--epochs", type=int, help="of the judge")
    coder.add_argument("--device", default="cpu")
    commands.add_parser("table")
    commands.add_parser("list")
    options = parser.parse_args()
    if options.command == "table":
        print(table(rows()))
    elif options.command == "list":
        print("\n".join([*presets, *ABLATION, *LATENT, *PEERS]))
    elif options.command == "coder":
        one_coder(options)
    else:
        torch.set_num_threads(options.threads)
        count_by(options.clock)
        for seed in options.seed:
            for name in options.row:
                one_row(options, name, seed)


def one_row(options: argparse.Namespace, name: str, seed: int) -> None:
    """Train, draw, measure, and add a line to `ROWS`."""
    source = DataConfig(options.data, options.resolution, options.resize, alpha=options.alpha)
    whole = load_dataset(source)
    trained_on, held_out = whole.split(source.holdout)
    key = {
        "data": whole.name, "side": whole.shape[-1], "pictures": options.count or len(trained_on), "row": name,
        "minutes": options.minutes, "seed": seed, "threads": options.threads, "device": options.device,
        "clock": options.clock, "alpha": options.alpha or None,
    }  # fmt: skip
    if not options.again and any(all(row.get(k) == v for k, v in key.items()) for row in rows()):
        print(f"there already: {key}")
        return
    folder = as_folder(trained_on, options.count, classes="conditional" in ABLATION.get(name, {}))
    started = time.process_time()
    every, more = draw(options, name, seed, folder, whole)
    more["cpu_seconds"] = round(time.process_time() - started)
    chosen = judges(whole, trained_on, held_out, options)
    for average, samples in every.items():
        found: dict[str, Any] = {**key, **more, "row": name + average}
        for judge in chosen:
            which = "pyramid" if judge.id.startswith("pyramid") else "judge"
            measured = evaluate(
                samples, whole, METRICS, n=len(samples), extractor=judge, device=options.device
            )
            for row in measured.rows:
                found |= {f"{which} {row.metric}": row.value, f"{which} {row.metric} floor": row.floor}
        with open(ROWS, "a", encoding="utf-8") as file:
            file.write(json.dumps(found) + "\n")
        drawn = OUT / f"real_pictures-{whole.name}-{(name + average).replace(' ', '_')}-{seed}.png"
        io.write_bytes(drawn, pictures.png(pictures.draw(samples[:64])))
        print(json.dumps(found, indent=1), drawn)


def one_coder(options: argparse.Namespace) -> None:
    """Print what reconstructions of the training part score, and as many samples of the mixture that the run drew from."""
    whole = load_dataset(DataConfig(options.data, options.resolution, options.resize))
    trained_on, held_out = whole.split(DataConfig().holdout)
    model = ganvas.load(options.run, device=options.device)
    known = trained_on.take(torch.arange(len(trained_on)))[0]
    drawn = {
        "reconstructions": torch.cat([model.reconstruct(part) for part in known.split(64)]),
        "mixture": model.sample(len(known), seed=1),
    }
    for judge in judges(whole, trained_on, held_out, options):
        for what, samples in drawn.items():
            found = evaluate(samples, whole, METRICS, n=len(samples), extractor=judge, device=options.device)
            print(what, judge.id, {row.metric: round(row.value, 3) for row in found.rows})


def draw(
    options: argparse.Namespace, name: str, seed: int, folder: Path, whole: Dataset
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Samples uint8 (n, C, H, W) of a row by its average ("": the one it ends with), and what is known of the training."""
    count, side = min(options.samples, max(1000, len(whole))), whole.shape[-1]
    if name == "dcgan-tutorial":
        data = load_dataset(DataConfig(str(folder), alpha=options.alpha))
        drawn, known = tutorial(data, options.minutes, count, seed, options.device, CLOCKS[options.clock])
        return {"": drawn}, known
    if name == "lightweight-gan":
        out = OUT / f"lightweight-{whole.name}-{seed}.npz"
        work = OUT / f"lightweight-{whole.name}-{seed}-{int(time.time())}"
        work.mkdir(parents=True)
        arguments = [
            str(folder),
            str(side),
            str(60 * options.minutes),
            str(count),
            str(seed),
            str(out),
            str(work),
            options.clock,
            str(options.threads),
        ]
        subprocess.run([options.python, "-c", LIGHTWEIGHT, *arguments], check=True)
        made = load_dataset(DataConfig(str(out)))
        steps = int(np.load(out)["steps"])
        return {"": made.take(torch.arange(len(made)))[0]}, {"kimg": round(steps * 0.04, 1)}

    def trained(minutes: float, **asked: Any) -> Any:
        return ganvas.train(
            folder, out=OUT / "real_pictures", name=f"{whole.name}-{name.replace(' ', '_')}-{seed}", seed=seed,
            minutes=minutes, device=options.device, quiet=True, report=False, alpha=options.alpha, **asked,
        )  # fmt: skip

    known = {}
    if name in LATENT:
        coder = trained(SHARE * options.minutes, **LATENT[name])
        known["kimg of the autoencoder"] = round(coder.kimg, 1)
        result = trained((1 - SHARE) * options.minutes, in_latent=str(coder.run.path))
    else:
        result = trained(options.minutes, **ABLATION.get(name, {"preset": name}))
    files = {"": result.run.path} | {
        f", {path.stem.removeprefix('generator-')}": path
        for path in result.run.snapshots[-1].glob("generator-ema*.safetensors")
    }
    drawn = {
        average: ganvas.load(path, device=options.device).sample(count, seed=seed + 1)
        for average, path in files.items()
    }
    return drawn, {"kimg": round(result.kimg, 1), **known}


def as_folder(training: Dataset, count: int | None, classes: bool) -> Path:
    """The training part as PNG files, so that all programs see the same pixels and no held-out ones; classes as sub-folders."""
    marks = f"{training.fingerprint[:8]}-{count or len(training)}" + ("-classes" if classes else "")
    folder = OUT / f"pictures-{marks}"
    if not folder.exists():
        chosen = torch.arange(len(training))
        if count:
            chosen = (
                torch.randperm(len(training), generator=torch.Generator().manual_seed(0))[:count]
                .sort()
                .values
            )
        with io.atomic_folder(folder) as temporary:
            temporary.mkdir()
            images, labels = training.take(chosen)
            for i, image in enumerate(images):
                within = temporary / training.class_names[labels[i]] if classes else temporary
                within.mkdir(exist_ok=True)
                io.write_bytes(within / f"{i:06d}.png", pictures.png(pictures.to_image(image)))
    return folder


def judges(
    whole: Dataset, training: Dataset, held_out: Dataset, options: argparse.Namespace
) -> list[Extractor]:
    """The classifier of the labels, where there are some, and the pyramid."""
    pyramid = open_extractor("pyramid")
    if not whole.num_classes:
        return [pyramid]
    path = OUT / f"judge-{whole.name}-{whole.shape[-1]}-{options.epochs or 'all'}.safetensors"
    device = resolve_device(options.device)
    if not path.is_file():
        trained = classifier.train_on(
            training, held_out, seed=1, body="residual", epochs=options.epochs, device=device
        )
        print(f"judge of {whole.name}: {trained.accuracy:.1%} of held-out pictures named rightly")
        classifier.save(path, trained, f"judge-{whole.name}", {})
    return [classifier.load(path, device), pyramid]


def tutorial(
    data: Dataset, minutes: float, count: int, seed: int, device: str, clock: Callable[[], float]
) -> tuple[Tensor, dict[str, Any]]:
    """The DCGAN of the PyTorch tutorial: z of 100, 64 maps, batch norm, cross-entropy, Adam 2e-4 and beta1 0.5, batch 128."""
    torch.manual_seed(seed)
    channels, side = data.shape[0], data.shape[-1]
    widths = [64 << i for i in range(side.bit_length() - 3)][::-1]
    up: list[nn.Module] = [nn.ConvTranspose2d(100, widths[0], 4, 1, 0, bias=False)]
    for inputs, outputs in zip(widths, [*widths[1:], None], strict=True):
        up += [nn.BatchNorm2d(inputs), nn.ReLU(True)]
        up += [nn.ConvTranspose2d(inputs, outputs or channels, 4, 2, 1, bias=False)]
    down: list[nn.Module] = [nn.Conv2d(channels, 64, 4, 2, 1, bias=False), nn.LeakyReLU(0.2, True)]
    for inputs, outputs in zip(widths[:0:-1], widths[-2::-1], strict=True):
        down += [
            nn.Conv2d(inputs, outputs, 4, 2, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.LeakyReLU(0.2, True),
        ]
    generator = nn.Sequential(*up, nn.Tanh()).to(device)
    critic = nn.Sequential(*down, nn.Conv2d(widths[0], 1, 4, 1, 0, bias=False), nn.Flatten(0)).to(device)
    for module in (*generator, *critic):
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0.0, 0.02)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.02)
    optimizers = [torch.optim.Adam(each.parameters(), 2e-4, (0.5, 0.999)) for each in (critic, generator)]
    wrong = nn.functional.binary_cross_entropy_with_logits
    started, seen = clock(), 0
    for images, _ in Batches(data, 128, seed, torch.device(device)):
        real = images.float() / 127.5 - 1
        fake = generator(torch.randn(len(real), 100, 1, 1, device=device))
        on_real, on_fake = critic(real), critic(fake.detach())
        loss = wrong(on_real, torch.ones_like(on_real)) + wrong(on_fake, torch.zeros_like(on_fake))
        step(optimizers[0], loss)
        on_fake = critic(fake)
        step(optimizers[1], wrong(on_fake, torch.ones_like(on_fake)))
        seen += len(real)
        if clock() - started > 60 * minutes:
            break
    generator.eval()
    with torch.no_grad():
        parts = [generator(torch.randn(100, 100, 1, 1, device=device)).cpu() for _ in range(-(-count // 100))]
    return torch.cat(parts)[:count].mul(127.5).add(127.5).round().clamp(0, 255).byte(), {
        "kimg": round(seen / 1000, 1)
    }


def step(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def rows() -> list[dict[str, Any]]:
    """The rows that there are."""
    if not ROWS.is_file():
        return []
    return [json.loads(line) for line in ROWS.read_text(encoding="utf-8").splitlines()]


def table(found: list[dict[str, Any]]) -> str:
    """The rows in Markdown, the best of each data set and budget first; a judge's figures with the floor behind."""
    heads = ("data", "side", "pictures", "row", "seed", "minutes", "threads", "kimg")
    lines = [f"| {' | '.join(heads)} | Frechet (floor) | precision | recall | coverage | pyramid (floor) |"]
    lines += ["| --- " * (len(heads) + 5) + "|"]

    def figure(row: dict[str, Any], name: str, floor: bool = False) -> str:
        value, least = row.get(name), row.get(f"{name} floor")
        return (
            ""
            if value is None
            else f"{value:.3g}" + (f" ({least:.2g})" if floor and least is not None else "")
        )

    order = sorted(
        found,
        key=lambda r: (
            r["data"],
            r["side"],
            r["pictures"],
            r["minutes"],
            r.get("judge frechet", r["pyramid frechet"]),
        ),
    )
    for row in order:
        cells = [str(row.get(k, "")) for k in heads]
        cells += [figure(row, "judge frechet", True)]
        cells += [figure(row, f"judge {k}") for k in ("precision", "recall", "coverage")]
        lines.append("| " + " | ".join([*cells, figure(row, "pyramid frechet", True)]) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
