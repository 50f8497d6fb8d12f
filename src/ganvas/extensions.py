"""What other packages add to the registries, found by the entry points that they declare.

A package names the modules that register things, and whoever installs it has them in every command:

    [project.entry-points.ganvas]
    mine = "mine"

In Python an `import mine` does the same.
"""

import sys
from contextlib import redirect_stdout
from importlib.metadata import EntryPoint, entry_points

from ganvas.errors import GanvasError

GROUP = "ganvas"
_done: set[EntryPoint] = set()


def load_extensions() -> list[str]:
    """Import the modules of all entry points of the group `ganvas`, once; their names.

    Raises `GanvasError` that names the package when one of them fails. What they print goes to stderr: stdout is for results.
    """
    found = entry_points(group=GROUP)
    for each in found:
        if each in _done:
            continue
        try:
            with redirect_stdout(sys.stderr):
                each.load()
        except (Exception, SystemExit) as error:
            # One that ends the process would end every command without a word.
            package = each.dist.name if each.dist else each.name
            raise GanvasError(
                f"The extension {each.name!r} of the package {package!r} failed: {type(error).__name__}: {error}. "
                f"Mend it, or uninstall {package}."
            ) from error
        _done.add(each)
    return [each.name for each in found]
