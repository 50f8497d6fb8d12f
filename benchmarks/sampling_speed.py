"""How fast the batched samplers are: runs of the network a second beside plain sampling's, and chains side by side.

python benchmarks/sampling_speed.py [--model fashion] [--device cuda --n 20000]
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

import ganvas
from ganvas.latent import LatentZ
from ganvas.latent.critic import logits_of
from ganvas.sampling import samplers
from ganvas.sampling.critics import FeatureCritic
from ganvas.sampling.settings import at_budget

RUNS = 3


def seconds(call: Callable[[], object]) -> float:
    """Median of a few calls."""
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        call()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="fashion")
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    from ganvas.model_data import classifier_of

    model = ganvas.load(options.model, device=options.device)
    space, seen = LatentZ(model), classifier_of(model)
    assert seen is not None
    critic = (
        FeatureCritic(seen.network, model.generator.value_range).to(model.device).eval().requires_grad_(False)
    )

    def ratio(samples: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
        return logits_of(critic, samples, labels, model.generator.value_range)

    n = options.n
    plain = n / seconds(lambda: samplers.get("prior")(space, ratio, n))
    print(
        f"{model.device}, {torch.get_num_threads()} threads; plain sampling, judged: {plain:.0f} runs of the network a second\n"
    )
    print(
        "| sampler | runs of the network a second | of plain sampling's (target: 80 %) |\n| --- | --- | --- |"
    )
    for name in ("budget", "metropolis", "resample"):
        took = seconds(lambda: samplers.get(name)(space, ratio, n, **at_budget(name, 10).options))  # noqa: B023
        print(f"| {name} 10 | {10 * n / took:.0f} | {10 * n / took / plain:.0%} |", flush=True)

    def one_chain(steps: int, random: np.random.Generator) -> torch.Tensor:
        """The published reference's way: the candidates of one chain are drawn together, then accepted in turn."""
        z = torch.from_numpy(random.standard_normal((steps, model.latent_dim)).astype(np.float32))
        with torch.no_grad():
            drawn = model.generator(z.to(model.device))
            score = ratio(drawn, None).tolist()
        at = 0
        for i in range(1, steps):
            if np.log(random.random()) < score[i] - score[at]:
                at = i
        return model.to_data(drawn[at : at + 1])

    print(
        "\n| chains of | one after another, samples a second | side by side | ratio (target: 10 x) |\n| --- | --- | --- | --- |"
    )
    for steps, few, many in ((10, 60, n // 2), (100, 6, n // 10)):
        random = np.random.default_rng(0)
        slow = few / seconds(lambda: [one_chain(steps, random) for _ in range(few)])  # noqa: B023
        fast = many / seconds(lambda: samplers.get("metropolis")(space, ratio, many, steps=steps))  # noqa: B023
        print(f"| {steps} | {slow:.1f} | {fast:.1f} | {fast / slow:.1f} x |", flush=True)


if __name__ == "__main__":
    main()
