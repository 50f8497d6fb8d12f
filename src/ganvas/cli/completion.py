"""`ganvas completion`"""

from contextlib import redirect_stdout, suppress
from importlib import import_module
from importlib.metadata import version
from io import StringIO
from typing import Annotated, Literal

import tyro

from ganvas.cli import _shared
from ganvas.errors import GanvasError

BEGUN = {"bash": ('"$python_cmd" ', "-"), "zsh": ('"$python_cmd" ', "-"), "fish": ("$python_cmd ", "-c")}
"""How a script begins Python, and with what."""


def run(shell: Annotated[Literal["bash", "zsh", "fish"], tyro.conf.Positional] = "bash") -> None:
    """Print a script with which a shell completes the commands and flags of ganvas.

    For bash, put the line of the example into ~/.bashrc. For zsh, write it to a file called _ganvas in a folder of $fpath; for
    fish, to ~/.config/fish/completions/ganvas.fish.

    Args:
        shell: bash, zsh or fish.
    """
    from ganvas.cli import COMMANDS, _parse

    commands = {
        name: _parse.prepared(import_module(f"ganvas.cli.{command.module}").run, name)
        for name, command in COMMANDS.items()
    }
    with redirect_stdout(StringIO()) as printed, suppress(SystemExit):
        tyro.extras.subcommand_cli_from_dict(
            commands, prog="ganvas", args=["--tyro-print-completion", shell], config=_parse.MARKERS
        )
    script, (python, given) = printed.getvalue(), BEGUN[shell]
    if script.count(python + given) != 1:
        raise GanvasError(
            f"The installed tyro {version('tyro')} writes scripts for {shell} that are not known. Install another one."
        )
    # Isolated: else it imports what lies in the current folder, of anybody, at each TAB.
    _shared.say(script.rstrip("\n").replace(python + given, f"{python}-I {given}"))
