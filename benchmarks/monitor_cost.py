"""The share of a run's time that the monitor takes.

    python benchmarks/monitor_cost.py [--kimg 40]

One run of each preset at the default interval; the time spent in `Monitor.measure` and in the rules is
summed up beside the time of the whole run.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from typing import Any

import ganvas
from ganvas.report import verdicts
from ganvas.training import loop
from ganvas.training.monitor import Monitor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kimg", type=float, default=40)
    options = parser.parse_args()
    spent = [0.0]

    def timed(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            start = time.perf_counter()
            result = function(*arguments)
            spent[0] += time.perf_counter() - start
            return result

        return call

    Monitor.measure = timed(Monitor.measure)  # type: ignore[method-assign]
    loop.verdicts.of = timed(verdicts.of)  # type: ignore[attr-defined]
    print("| data, preset | probes | share of the time |\n| --- | --- | --- |")
    for data, preset in (
        ("fashion-mnist", "small"),
        ("fashion-mnist", "hour"),
        ("digits", "small"),
        ("toy:ring8", "toy"),
    ):
        spent[0] = 0.0
        with tempfile.TemporaryDirectory() as folder:
            result = ganvas.train(
                data, preset=preset, kimg=options.kimg, device="cpu", out=folder, quiet=True, report=False,
            )  # fmt: skip
            probes = len(verdicts.probes(result.run.stats()))
        print(f"| {data}, {preset} | {probes} | {spent[0] / result.seconds:.1%} |", flush=True)


if __name__ == "__main__":
    main()
