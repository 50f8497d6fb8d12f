"""`ganvas diagnose`"""

import json as json_module
from pathlib import Path
from typing import Annotated

import tyro


def run(path: Annotated[Path, tyro.conf.Positional], *, json: bool = False) -> None:
    """Say what goes well or wrong in a run, from its statistics, and what to try.

    Args:
        path: A run folder, also of a run that is still training.
        json: Print JSON for programs.
    """
    from ganvas.runs import open_run
    from ganvas.training import verdicts

    run = open_run(path)
    records = run.stats()
    found, stretches = verdicts.judge(records), verdicts.history(records)
    probes = verdicts.probes(records)
    if json:
        print(
            json_module.dumps(
                {
                    "run": str(run.path),
                    "kimg": records[-1]["kimg"] if records else 0,
                    "verdicts": [verdict.to_json() for verdict in found],
                    "history": [
                        {"name": name, "from_kimg": first, "to_kimg": last} for name, first, last in stretches
                    ],
                    "signals": probes[-1] if probes else {},
                },
                indent=2,
            )
        )
        return
    if not probes:
        print(f"{run.path} holds no measurements: it is too short, or training.monitor_kimg is 0.")
        return
    print(f"{run.path} at {records[-1]['kimg']:.1f} kimg, {len(probes)} measurements.")
    for verdict in found:
        print(f"  {verdict.name}: {verdict.text}\n      {verdict.fix}")
    if not found:
        print(
            "  nothing stands out."
            if len(probes) >= verdicts.WARM_UP
            else "  too few measurements for a verdict."
        )
    if before := verdicts.problems(records):
        print("Problems so far:")
        for name, first, last in before:
            print(f"  {first:8.1f} to {last:8.1f} kimg  {name}")
    signals = {name: value for name, value in probes[-1].items() if isinstance(value, float)}
    print("Last measurement: " + ", ".join(f"{name} {value:.3g}" for name, value in signals.items()))
