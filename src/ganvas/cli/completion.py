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
FILES = 'COMPREPLY=($(compgen -f -- "$cur"))'
"""How bash is given names of files: torn at spaces, and put into the line as they are, where `$(...)` in a name runs at Enter."""
QUOTED = """local name quoted=""
    compopt -o filenames 2>/dev/null || quoted=yes  # bash before 4 has no such thing
    COMPREPLY=()
    while IFS= read -r name; do
      if [[ -z "$quoted" ]]; then
        COMPREPLY+=("$name")
      elif [[ "$cur" != *[\\'\\"\\\\]* ]]; then  # what was typed stays, and within quotes there is nothing to add
        name=${name#"$cur"}
        COMPREPLY+=("$cur${name:+$(printf %q "$name")}")
      fi
    done < <(compgen -f -- "$cur")"""


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
    python, given = BEGUN[shell]
    # Isolated: else it imports what lies in the current folder, of anybody, at each TAB.
    mended = {python + given: f"{python}-I {given}"} | ({FILES: QUOTED} if shell == "bash" else {})
    script = printed.getvalue().rstrip("\n")
    for written, better in mended.items():
        if script.count(written) != 1:
            raise GanvasError(
                f"The installed tyro {version('tyro')} writes scripts for {shell} that are not known. Install another one."
            )
        script = script.replace(written, better)
    _shared.say(script)
