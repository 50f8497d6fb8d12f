"""`ganvas diagnose`"""

from pathlib import Path
from typing import Annotated, Any

import tyro

from ganvas.cli import _shared


def run(path: Annotated[Path, tyro.conf.Positional], *, json: bool = False) -> None:
    """Say what goes well or wrong in a run, from its statistics, and what to try.

    Args:
        path: A run folder, also of a run that is still training.
        json: Print JSON for programs.
    """
    from ganvas.errors import counted
    from ganvas.report import verdicts
    from ganvas.runs import open_run

    run = open_run(path)
    records = run.stats()
    found, stretches = verdicts.of(records), verdicts.history(records)
    probes = verdicts.probes(records)
    if json:
        _shared.answer(
            {
                "run": str(run.path),
                "kimg": records[-1]["kimg"] if records else 0,
                "verdicts": [verdict.to_json() for verdict in found],
                "history": [
                    {"name": name, "from_kimg": first, "to_kimg": last} for name, first, last in stretches
                ],
                "signals": probes[-1] if probes else {},
            }
        )
        return
    _shared.say(
        f"{run.path} at {records[-1]['kimg'] if records else 0:.1f} kimg, {counted(len(probes), 'measurement')}."
    )
    for verdict in found:
        _shared.say(f"  {verdict.name}: {verdict.text}\n      {verdict.fix}")
    if not found:
        _shared.say(f"  {verdicts.nothing(records)}")
    if before := verdicts.problems(records):
        _shared.say("Problems so far:")
        for name, first, last in before:
            _shared.say(f"  {first:8.1f} to {last:8.1f} kimg  {name}")
    if probes:
        _shared.say("Last measurement (all of its numbers: --json):")
        for line in _told(probes[-1]):
            _shared.say(f"  {line}")


TOLD = (
    ("critic", "accuracy_held", "{:.0%} of (held-out, drawn) pairs ranked right; 50 % is guessing"),
    ("", "overfit", "held-out images stand {:.0%} of the way from training images to drawn ones"),
    ("samples", "likeness", "{:.0%} likeness; 0 % is noise, 100 % as real images among themselves"),
    ("", "diversity", "{:.2f} of the distance between neighbours of real images"),
    ("", "modes", "{:.0%} of the classes are drawn"),
    ("", "energy", "{:.3f} energy distance to the data; 0 is the same distribution"),
    ("", "movement", "{:.2f} moved since the measurement before, in distances of real images"),
)
"""(heading, signal, what it says)"""


def _told(probe: dict[str, Any]) -> list[str]:
    """The signals that a person reads, in words."""
    lines, shown = [], ""
    for heading, name, text in TOLD:
        shown = heading or shown
        if name in probe:
            value = max(0.0, probe[name]) if name in ("energy", "overfit") else probe[name]
            lines.append(f"{shown:8} {text.format(value)}")
            shown = "" if lines else shown
    return lines
