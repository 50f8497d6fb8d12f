"""`ganvas completion`"""

from importlib import import_module
from typing import Annotated, Literal

import tyro


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
    tyro.extras.subcommand_cli_from_dict(
        commands, prog="ganvas", args=["--tyro-print-completion", shell], config=_parse.MARKERS
    )
