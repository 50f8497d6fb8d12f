"""Run the notebooks of examples/ from a clean kernel, and write their outputs anew.

    python tools/notebooks.py [examples/train.ipynb ...]

What differs from run to run (times, ports, tokens, bars) is taken out, so that a change of the program shows as a small change of
the file.
"""

import argparse
import os
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

EXAMPLES = Path(__file__).parents[1] / "examples"
SECONDS = 300
"""That a cell may take."""
VARIES = (
    (r'<span class="ganvas-time".*?</span>', ""),
    (r" *\b[\d,.]+ img/s", ""),
    (r" after [\d.]+ s(econds)?\b", ""),
    (r", seconds=[\d.]+", ""),
    (r"http://127\.0\.0\.1:\d+/\?token=[\w-]+", "http://127.0.0.1:PORT/?token=TOKEN"),
)
"""What is different each time, and what stands in its place."""


def read(path: Path) -> NotebookNode:
    """A notebook, with names for its cells that do not change."""
    found = nbformat.read(path, as_version=4)
    for i, cell in enumerate(found.cells):
        cell.id = f"cell-{i}"
    return found


def execute(notebook: NotebookNode, folder: Path) -> NotebookNode:
    """The notebook, run in a folder by a kernel of its own. Raises `CellExecutionError` where a cell fails."""
    run = NotebookClient(notebook, timeout=SECONDS, kernel_name="python3", record_timing=False)
    # Sums in one order, whatever the machine; a history of nobody's.
    run.execute(
        cwd=str(folder), env={**os.environ, "OMP_NUM_THREADS": "1", "IPYTHONDIR": str(folder / ".ipython")}
    )
    return notebook


def clean(notebook: NotebookNode) -> NotebookNode:
    """The notebook without what another run would have otherwise."""
    notebook.metadata = NotebookNode(
        kernelspec={"display_name": "Python 3", "language": "python", "name": "python3"},
        language_info={"name": "python"},
    )
    for cell in notebook.cells:
        cell.metadata = NotebookNode()
        if cell.cell_type == "code":
            cell.outputs = [output for each in cell.outputs if (output := _steady(each)) is not None]
    return notebook


def _steady(output: NotebookNode) -> NotebookNode | None:
    """An output without what varies; None where nothing is left."""
    if output.output_type == "stream":
        output.text = _replaced(output.text)
        return output
    data: dict[str, Any] = output.get("data", {})
    content = data.get("text/html", "")
    if "<iframe" in content:  # of a server that is no more
        del data["text/html"]
    if 'class="ganvas-bar"' in content and "<svg" not in content:  # slow machines alone show one
        return None
    for kind, value in data.items():
        if kind.startswith("text/"):
            data[kind] = _replaced(value)
    return output


def _replaced(text: str) -> str:
    for pattern, instead in VARIES:
        text = re.sub(pattern, instead, text)
    return text


def main(names: Sequence[Path]) -> None:
    for path in names or sorted(EXAMPLES.glob("*.ipynb")):
        with tempfile.TemporaryDirectory() as folder:
            os.environ["GANVAS_CACHE"] = folder
            found = clean(execute(read(path), Path(folder)))
        nbformat.write(found, path)
        print(f"{path}: {path.stat().st_size / 1000:.0f} KB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("notebooks", nargs="*", type=Path)
    main(parser.parse_args().notebooks)
