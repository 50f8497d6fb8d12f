"""Images per second of one training step, beside a plain loop over the same networks.

    python benchmarks/train_speed.py [--seconds 8] [--rounds 5] [--batch 64]

The plain loop is what people write first: eager, fp32, contiguous, torch's default Adam, R1 on the same steps. Ours
is `Method.step`, in fp32 and, where the hardware computes bf16, in bf16. All take turns in one process; each figure
is the median of the rounds. The arithmetic of a step is counted with torch's FlopCounterMode, and the share is of the
matmul speed measured on the same machine in the same format.

    python benchmarks/train_speed.py --device cuda [--presets small gpu] [--sizes 32 64] [--batches 64 256] [--compile]

On a GPU the question is another one: at these sizes it waits for the host to launch its kernels. The table has the steps
of presets as they are written beside the same steps captured as CUDA graphs, and with --compile those whose networks went
through torch.compile first (bf16 alone: it takes most of a minute a row).
"""

import argparse
import itertools
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from ganvas.config import Config, replace_at
from ganvas.device import has_fast_bf16, resolve_device
from ganvas.networks import build_critic, build_generator, from_uint8
from ganvas.presets import presets
from ganvas.training.method import DataSpec, build_method

SHAPE = (1, 28, 28)


def plain(config: Config, images: torch.Tensor, device: torch.device) -> Callable[[], None]:
    """The loop that people write first; one call is one step."""
    generator = build_generator(config.network, SHAPE, 0).to(device)
    critic = build_critic(config.network, SHAPE, 0).to(device)
    o, batch = config.optimizer, config.training.batch
    for_generator = torch.optim.Adam(generator.parameters(), o.lr_generator, (o.beta1, o.beta2))
    for_critic = torch.optim.Adam(critic.parameters(), o.lr_critic, (o.beta1, o.beta2))
    penalty = next(iter(config.objective.penalties), None)
    average = [p.detach().clone() for p in generator.parameters()]
    steps = 0

    def step() -> None:
        nonlocal steps
        real = from_uint8(images[torch.randint(len(images), (batch,), device=device)], generator.value_range)
        fake = generator(torch.randn(batch, generator.latent_dim, device=device))
        due = penalty is not None and steps % penalty.interval == 0
        real.requires_grad_(due)
        scores = critic(real)
        loss = F.softplus(-scores).mean() + F.softplus(critic(fake.detach())).mean()
        if penalty is not None and due:
            (gradient,) = torch.autograd.grad(scores.sum(), real, create_graph=True)
            loss = loss + penalty.weight * penalty.interval / 2 * gradient.square().sum((1, 2, 3)).mean()
        for_critic.zero_grad()
        loss.backward()
        for_critic.step()
        for_generator.zero_grad()
        F.softplus(-critic(fake)).mean().backward()
        for_generator.step()
        with torch.no_grad():
            for mine, theirs in zip(average, generator.parameters(), strict=True):
                mine.lerp_(theirs, 0.01)
        steps += 1

    return step


def ours(
    config: Config, images: torch.Tensor, device: torch.device, shape: tuple[int, ...] = SHAPE
) -> Callable[[], None]:
    """One step of ganvas on the same networks."""
    method = build_method(config, DataSpec(shape), device)

    def following(_: str) -> tuple[torch.Tensor, None]:
        return images[torch.randint(len(images), (config.training.batch,), device=device)], None

    return lambda: method.step(following, 0.0)


def speed(step: Callable[[], None], batch: int, seconds: float, device: torch.device) -> float:
    """Images per second."""
    sync = torch.cuda.synchronize if device.type == "cuda" else (lambda: None)
    sync()
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < seconds or count % 8:  # whole rounds of the lazy penalty
        step()
        count += 1
    sync()
    return count * batch / (time.perf_counter() - start)


def matmul_peak(dtype: torch.dtype, device: torch.device) -> float:
    """FLOP/s of a 2048 x 2048 product (8192 on a GPU): the best of twelve tries, the speed of shared machines varies."""
    n = 8192 if device.type == "cuda" else 2048
    a, b = (torch.randn(n, n, device=device).to(dtype) for _ in range(2))
    best = 0.0
    for _ in range(12):
        start = time.perf_counter()
        for _ in range(2):
            c = a @ b
        if device.type == "cuda":
            torch.cuda.synchronize()
        best = max(best, 4 * n**3 / (time.perf_counter() - start))
    assert c.shape == (n, n)
    return best


def captured_table(options: argparse.Namespace, device: torch.device) -> None:
    """Plain and captured steps of presets on a GPU, in colour."""
    peak = matmul_peak(torch.bfloat16, device)
    print(
        f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}, bf16 matmul {peak / 1e12:.0f} TFLOP/s"
    )
    modes = ["plain", "captured"] + ["compiled"] * options.compile
    print(
        f"\n| preset | px | batch | format | {' images/s | '.join(modes)} images/s | captured / plain | share of the bf16 peak |"
    )
    print("| --- " * (6 + len(modes)) + "|")
    for name, size, batch in itertools.product(options.presets, options.sizes, options.batches):
        shape = (3, size, size)
        images = torch.randint(0, 256, (10_000, *shape), dtype=torch.uint8, device=device)
        config = replace_at(presets.get(name), "training.batch", batch)
        config = replace_at(config, "training.compile", False)
        flops = step_flops(config, shape, images, device) / batch
        for precision in ("fp32", "bf16"):
            speeds: dict[str, float] = {}
            for mode in modes:
                if mode == "compiled" and precision == "fp32":
                    continue
                changed = replace_at(config, "training.precision", precision)
                changed = replace_at(changed, "training.capture", "off" if mode == "plain" else "on")
                changed = replace_at(changed, "training.compile", mode == "compiled")
                step = ours(changed, images, device, shape)
                for _ in range(80):  # every kind of step is captured after three plain ones
                    step()
                rounds = [
                    speed(step, batch, options.seconds / options.rounds, device)
                    for _ in range(options.rounds)
                ]
                speeds[mode] = statistics.median(rounds)
                del step
                torch.cuda.empty_cache()
            best = max(speeds.values())
            shown = [f"{speeds[mode]:,.0f}" if mode in speeds else "" for mode in modes]
            ratio = f"{speeds['captured'] / speeds['plain']:.1f}"
            print(
                f"| {' | '.join([name, str(size), str(batch), precision, *shown, ratio, f'{best * flops / peak:.1%}'])} |",
                flush=True,
            )


def step_flops(config: Config, shape: tuple[int, ...], images: torch.Tensor, device: torch.device) -> int:
    """Arithmetic of one step without its penalties, whose inner gradients the counter cannot follow: a lower bound."""
    config = replace_at(config, "objective.penalties", [])
    config = replace_at(config, "objective.terms", [])
    step = ours(replace_at(config, "training.capture", "off"), images, device, shape)
    with FlopCounterMode(display=False) as counter:
        step()
    return counter.get_total_flops()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--presets", nargs="+", default=["small", "gpu"])
    parser.add_argument("--sizes", nargs="+", type=int, default=[32, 64])
    parser.add_argument("--batches", nargs="+", type=int, default=[64, 256])
    parser.add_argument("--compile", action="store_true")
    options = parser.parse_args()
    device = resolve_device(options.device)
    if device.type == "cuda":
        captured_table(options, device)
        return
    images = torch.randint(0, 256, (10_000, *SHAPE), dtype=torch.uint8, device=device)
    base = replace_at(presets.get("small"), "training.batch", options.batch)
    base = replace_at(base, "objective.loss", "non-saturating")
    base = replace_at(base, "objective.penalties", [{"name": "r1", "weight": 0.05, "interval": 8}])
    base = replace_at(base, "training.precision", "fp32")
    bf16 = has_fast_bf16(device)
    peaks = {"fp32": matmul_peak(torch.float32, device), "bf16": matmul_peak(torch.bfloat16, device)}
    print(
        f"{device}, {torch.get_num_threads()} threads, torch {torch.__version__}, batch {options.batch}, 28 px"
    )
    print("matmul: " + ", ".join(f"{name} {peak / 1e9:.1f} GFLOP/s" for name, peak in peaks.items()))
    if not bf16:
        print("This machine does not compute bf16 in hardware (auto takes fp32), so there is no bf16 row.")
    print(
        "\n| pair | loop | images/s | ratio | GFLOP/image | share of its matmul peak |\n| --- | --- | --- | --- | --- | --- |"
    )
    own = base.network.generator["channels"]
    for channels in dict.fromkeys((own, 32, 64)):
        config = base
        for network in ("generator", "critic"):
            if channels != own:
                config = replace_at(config, f"network.{network}.channels", channels)
        half = replace_at(config, "training.precision", "bf16")
        loops = {"plain fp32": plain(config, images, device), "ganvas fp32": ours(config, images, device)}
        if bf16:
            loops["ganvas bf16"] = ours(half, images, device)
        # The counter cannot follow a penalty's inner gradient; without it the share is a lower bound.
        unpenalised = plain(replace_at(config, "objective.penalties", []), images, device)
        with FlopCounterMode(display=False) as counter:
            unpenalised()
        flops = counter.get_total_flops() / options.batch
        for step in loops.values():
            for _ in range(8):
                step()
        speeds: dict[str, list[float]] = {name: [] for name in loops}
        for _ in range(options.rounds):
            for name, step in loops.items():
                speeds[name].append(speed(step, options.batch, options.seconds / 2, device))
        reference = statistics.median(speeds["plain fp32"])
        for name, values in speeds.items():
            found = statistics.median(values)
            peak = peaks["bf16" if name.endswith("bf16") else "fp32"]
            label = "default" if channels == own else f"{channels} channels"
            row = (
                label,
                name,
                f"{found:.0f}",
                f"{found / reference:.2f}",
                f"{flops / 1e9:.3f}",
                f"{found * flops / peak:.0%}",
            )
            print(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    main()
