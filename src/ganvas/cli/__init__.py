"""The command line: a lazy table of commands. Help imports neither torch nor a command."""

import os
import sys
from collections.abc import Sequence
from contextlib import chdir
from importlib import import_module
from importlib.metadata import version
from io import TextIOWrapper
from pathlib import Path
from shutil import get_terminal_size
from typing import NamedTuple

from ganvas.errors import GanvasError, Interrupted, TrainingError, explain_os_error, is_of_memory, printable
from ganvas.registry import did_you_mean
from ganvas.signals import interrupting, several_processes


class Command(NamedTuple):
    """One command of `ganvas`."""

    module: str
    """Below `ganvas.cli`, with a typed function `run`."""
    line: str
    """Of the help."""
    example: str
    spread: bool = False
    """Whether several processes of `torchrun` share its work; all others run in one."""


GROUPS = {
    "train": {
        "demo": Command("demo", "train on handwritten digits for 90 seconds, draw samples, write a report", "ganvas demo"),
        "train": Command(
            "train", "train a generator and a critic on images, series or points",
            "ganvas train photographs/ --resolution 64 --minutes 30 --augment ada", spread=True,
        ),
        "diagnose": Command(
            "diagnose", "say what is wrong with a run and what to try", "ganvas diagnose runs/00000-digits-small"
        ),
    },
    "sample": {
        "import": Command(
            "importing", "read the generator of another toolkit, and keep it as ganvas' own file",
            "ganvas import network-snapshot-012345.pkl --out faces.safetensors",
        ),
        "sample": Command(
            "sample", "draw samples from a trained model", "ganvas sample fashion --n 16 --seed 3 --out samples.png",
            spread=True,
        ),
        "calibrate": Command(
            "calibrate", "calibrate a critic to the log density ratio log p_data / p_G, which samplers follow",
            "ganvas calibrate runs/00000-digits-small", spread=True,
        ),
        "improve": Command(
            "improve", "find the sampler that gets the most out of a generator as it is",
            "ganvas improve runs/00000-digits-small --budget 10",
        ),
    },
    "measure": {
        "eval": Command(
            "evaluate", "measure a model or images of any origin against real data",
            "ganvas eval made/ --reference photographs/ --metrics frechet,kid", spread=True,
        ),
        "audit": Command(
            "audit", "find what a generator gives away of its training data: copies, and who was among them",
            "ganvas audit fashion --data fashion-mnist",
        ),
        "reference": Command(
            "reference", "embed real data once and keep the features", "ganvas reference digits", spread=True
        ),
        "extractor": Command(
            "extractor", "train a feature extractor on your own labelled data",
            "ganvas extractor train photographs/ --out mine.safetensors",
        ),
        "statistics": Command(
            "statistics", "measure a latent space: path length, separability, dimension, disentanglement",
            "ganvas statistics fashion --spaces z w",
        ),
    },
    "explore": {
        "explore": Command(
            "explore", "open a page to move through the latent space and see the quality while you move",
            "ganvas explore runs/00000-digits-small",
        ),
        "render": Command(
            "render", "draw the picture or the film of a recipe that the explorer saved",
            "ganvas render recipe.json --out recipe.png --scale 8",
        ),
        "walk": Command(
            "walk", "walk through the latent space: a film or a strip of pictures",
            "ganvas walk fashion --keys 5 --loop --out walk.gif",
        ),
        "directions": Command(
            "directions", "find directions in the latent space, beside random ones",
            "ganvas directions fashion --method attribute --attribute width --keep brightness",
        ),
        "edit": Command(
            "edit", "move samples along a direction",
            "ganvas edit fashion --direction directions.safetensors --strength -2 2",
        ),
        "invert": Command(
            "invert", "find the latents of pictures or series", "ganvas invert fashion pictures/ --n 8 --out found.npz"
        ),
        "encode": Command(
            "encode", "encode pictures or series with a trained autoencoder",
            "ganvas encode runs/00000-digits-vae digits --out z.npz",
        ),
        "reconstruct": Command(
            "reconstruct", "draw pictures or series again from their codes, and measure how like them they are",
            "ganvas reconstruct runs/00000-digits-vae digits --out sheet.png",
        ),
        "restore": Command(
            "restore", "repair pictures by a search in the latent space",
            "ganvas restore fashion pictures/ --task inpaint --hidden left",
        ),
        "map": Command(
            "map", "map thousands of samples: clusters, holes, duplicates, nearest real images",
            "ganvas map fashion --n 2000",
        ),
        "dissect": Command(
            "dissect", "find which hidden units draw what, and switch them off or on",
            "ganvas dissect fashion --concept stroke --units 4",
        ),
    },
    "elsewhere": {
        "export": Command(
            "export", "write a generator for elsewhere: ONNX, one page of HTML, or a folder for the Hugging Face hub",
            "ganvas export fashion --to onnx --out fashion.onnx",
        ),
    },
    "other": {
        "info": Command(
            "info", "say what a model is, what it was trained on, and what it gives away of that", "ganvas info fashion"
        ),
        # Not `list.py`: importing it would hide the builtin of that name here.
        "list": Command("listing", "show data sets, networks, losses, penalties and presets", "ganvas list presets"),
        "env": Command(
            "env", "show versions, the device, the cache and the variables that ganvas reads", "ganvas env"
        ),
        "completion": Command(
            "completion", "print what makes a shell complete these commands",
            'eval "$(ganvas completion bash)"',
        ),
    },
}  # fmt: skip
EXIT_CODES = {
    0: "done",
    1: "a run failed, and its last good state is kept; or an audit found more than --fail-above",
    2: "the command or the data have to change",
    130: "stopped by Ctrl-C, SIGTERM or SIGHUP",
    141: "whoever read the output went away",
}
NARROWEST = 10
"""Columns of a terminal: in three or fewer the help would be laid out for ever."""
COMMANDS = {name: command for group in GROUPS.values() for name, command in group.items()}


def _settle() -> None:
    """Keep from libraries what they would find around a command, and get stuck at, or believe of a stranger."""
    if os.environ.get("COLUMNS") == "0":  # as some terminals say: in no columns rich prints nothing
        del os.environ["COLUMNS"]
    if get_terminal_size().columns < NARROWEST:
        os.environ["COLUMNS"] = str(NARROWEST)
    # Of windows, which no command opens: matplotlib cannot be imported where it does not know the name.
    os.environ.pop("MPLBACKEND", None)
    # What pages are built with reads a file of the current folder as soon as it is imported, a pipe or gigabytes of it, too.
    os.environ["NICEGUI_STORAGE_PATH"] = os.devnull
    # The library of films reads a file of /tmp as it is loaded, where anybody may put a pipe.
    os.environ.setdefault("GNUTLS_SYSTEM_PRIORITY_FILE", os.devnull)
    # wandb would ask for a repository there, and git runs what the settings of one name.
    os.environ["WANDB_DISABLE_GIT"] = "true"
    # Python processes that libraries begin (workers, what torch compiles) import nothing from the current folder.
    os.environ["PYTHONSAFEPATH"] = "1"
    if "matplotlib" not in sys.modules and os.path.exists("matplotlibrc"):
        # It would take its settings from there, of a folder that may come from anybody: dashes without an end, and older
        # versions evaluate some. Only now, as other threads would be in another folder, too.
        with chdir(Path(__file__).parent):
            import_module("matplotlib")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns one of `EXIT_CODES`."""
    argv = list(sys.argv[1:] if arguments is None else arguments)
    for name in ("stdout", "stderr"):
        # Closed, as by `>&-`: the next file that is opened would get its number.
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8"))
    # A class may have a name in any script, and a pipe a code page without it.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    _settle()
    name = argv[0] if argv and argv[0] in COMMANDS else ""
    asks_for_help = bool({"-h", "--help"} & set(argv))
    if name and several_processes() and not COMMANDS[name].spread and not asks_for_help:
        return _failed(
            f"ganvas {name} runs in one process: leave torchrun out (or unset WORLD_SIZE). Several processes share the work "
            f"of {', '.join(each for each in COMMANDS if COMMANDS[each].spread)}.", 2,
        )  # fmt: skip
    try:
        with interrupting(program=arguments is None):
            code = _run(name, argv[1:], asks_for_help) if name else _top_level(argv)
            sys.stdout.flush()
            return code
    except Interrupted as error:
        return _failed(str(error), 130)
    except TrainingError as error:
        return _failed(str(error), 1)
    except GanvasError as error:
        return _failed(str(error), 2)
    except BrokenPipeError:
        # The reader went, as `| head` does. Python would complain once more when it flushes at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except SystemExit as end:
        # Rich says the same by the exit code of a run that failed.
        if isinstance(end.__context__, BrokenPipeError):
            return 141
        raise
    except OSError as error:
        return _failed(str(explain_os_error(error, f"ganvas {name}".rstrip())), 2)
    except (MemoryError, RuntimeError) as error:
        if not is_of_memory(error):
            raise
        return _failed(
            f"There is not enough memory for this ({str(error)[-200:]}). Ask for less at a time: fewer or smaller samples, a "
            "shorter --length, a smaller --batch.", 2,
        )  # fmt: skip
    except KeyboardInterrupt:
        kept = (
            "" if name == "explore" else "; where a job keeps its state, the same command resumes from there"
        )
        print(f"interrupted{kept}", file=sys.stderr)
        return 130


def _run(name: str, argv: Sequence[str], asks_for_help: bool) -> int:
    from ganvas.cli import _parse
    from ganvas.extensions import load_extensions

    if not asks_for_help:  # help stays quick
        from ganvas.cache import keep_compiled

        keep_compiled()
        load_extensions()
    command = COMMANDS[name]
    return _parse.call(import_module(f"ganvas.cli.{command.module}").run, argv, name, command.example)


def _failed(message: str, code: int) -> int:
    print(f"error: {printable(message)}", file=sys.stderr)
    return code


def _top_level(argv: list[str]) -> int:
    """`ganvas` without a command: help, the version, or what was mistyped."""
    if argv and argv[0] == "--version":
        print(f"ganvas {version('ganvas')}")
        return 0
    if argv and argv[0] not in ("-h", "--help"):
        what = "flag" if argv[0].startswith("-") else "command"
        hint = did_you_mean(argv[0], list(COMMANDS)) or " A command comes first: ganvas sample fashion."
        return _failed(f"unknown {what} {argv[0]!r}.{hint} See: ganvas --help", 2)
    print("usage: ganvas COMMAND ...\n\nTrain GANs, measure them honestly, explore their latent space.")
    for title, commands in GROUPS.items():
        print(f"\n{title}:")
        for name, command in commands.items():
            print(f"  {name:<11} {command.line}")
    print(
        "\nMore about a command: ganvas COMMAND --help\n"
        "Your shell completes commands and flags after: ganvas completion --help\n"
        "The version: ganvas --version\n"
        "For programs: --json prints one document on stdout, --quiet keeps stderr for errors"
    )
    print("\nexit codes:")
    for code, meaning in EXIT_CODES.items():
        print(f"  {code:<11} {meaning}")
    return 0
