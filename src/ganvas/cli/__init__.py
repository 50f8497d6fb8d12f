"""The command line: a lazy table of commands. Help imports neither torch nor a command."""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version

from ganvas.errors import GanvasError, TrainingError
from ganvas.registry import did_you_mean

COMMANDS = {
    "demo": ("demo", "train on handwritten digits for 90 seconds, draw samples, write a report"),
    "train": ("train", "train a generator and a critic on images or points"),
    "sample": ("sample", "draw samples from a trained model"),
    "calibrate": ("calibrate", "calibrate a critic to log p_data / p_G, the realism that samplers follow"),
    "improve": ("improve", "find the sampler that gets the most out of a generator as it is"),
    "eval": ("evaluate", "measure a model or images of any origin against real data"),
    "walk": ("walk", "walk through the latent space: a film or a strip of pictures"),
    "directions": ("directions", "find directions in the latent space, beside random ones"),
    "edit": ("edit", "move samples along a direction"),
    "invert": ("invert", "find the latents of pictures"),
    "restore": ("restore", "repair pictures by a search in the latent space"),
    "map": ("map", "map thousands of samples: clusters, holes, duplicates, nearest real images"),
    "dissect": ("dissect", "find which hidden units draw what, and switch them off or on"),
    "statistics": (
        "statistics",
        "measure a latent space: path length, separability, dimension, disentanglement",
    ),
    "explore": ("explore", "open a page to move through the latent space and see the quality while you move"),
    "render": ("render", "draw the picture or the film of a recipe that the explorer saved"),
    "diagnose": ("diagnose", "say what is wrong with a run and what to try"),
    "extractor": ("extractor", "train a feature extractor on your own labelled data"),
    "reference": ("reference", "embed real data once and keep the features"),
    # Not `list.py`: importing it would hide the builtin of that name here.
    "list": ("listing", "show data sets, networks, losses, penalties and presets"),
}
"""Name -> (module below `ganvas.cli` with a typed function `run`, line of help)."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code: 0, 1 when a run failed, 2 for a mistake of the user."""
    argv = list(sys.argv[1:] if arguments is None else arguments)
    if not argv or argv[0] not in COMMANDS:
        return _top_level(argv)
    import tyro

    command = import_module(f"ganvas.cli.{COMMANDS[argv[0]][0]}")
    try:
        tyro.cli(command.run, args=argv[1:], prog=f"ganvas {argv[0]}", config=(tyro.conf.FlagCreatePairsOff,))
    except TrainingError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except GanvasError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            "interrupted; where a job keeps its state, the same command goes on from there", file=sys.stderr
        )
        return 130
    return 0


def _top_level(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="ganvas",
        description="Train GANs, measure them honestly, explore their latent space.",
        epilog="More about a command: ganvas COMMAND --help",
    )
    parser.add_argument("--version", action="version", version=f"ganvas {version('ganvas')}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    for name, (_, line) in COMMANDS.items():
        commands.add_parser(name, help=line, add_help=False)
    if argv and not argv[0].startswith("-"):
        hint = did_you_mean(argv[0], list(COMMANDS))
        print(f"error: unknown command {argv[0]!r}.{hint} See: ganvas --help", file=sys.stderr)
        return 2
    if argv:
        parser.parse_args(argv)
    parser.print_help()
    return 0
