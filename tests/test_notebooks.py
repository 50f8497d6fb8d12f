"""The notebooks of examples/ run from a clean kernel, and what is kept of their outputs is small and of this program."""

import re
from pathlib import Path

import pytest
from nbformat import NotebookNode

from tests import forked
from tools import notebooks

NOTEBOOKS = sorted(notebooks.EXAMPLES.glob("*.ipynb"))


def kinds(notebook: NotebookNode) -> list[list[list[str]]]:
    """What each cell has put out: the forms of each output."""
    return [
        [sorted(output.get("data", {})) for output in cell.outputs]
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


def test_there_are_four() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["explore", "improve", "train", "your_own_generator"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
@pytest.mark.slow
def test_it_runs_from_a_clean_kernel(path: Path, tmp_path: Path) -> None:
    kept = notebooks.read(path)
    with forked.kernels():
        found = notebooks.clean(notebooks.execute(notebooks.read(path), tmp_path))
    outputs = [output for cell in found.cells for output in cell.get("outputs", [])]
    assert [o.text for o in outputs if o.output_type == "stream"] == [], "a warning"
    assert kinds(found) == kinds(kept), "python tools/notebooks.py"
    assert [cell.get("execution_count") for cell in found.cells] == [
        cell.get("execution_count") for cell in kept.cells
    ]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_is_kept_is_small_and_says_nothing_of_the_machine(path: Path) -> None:
    content = path.read_text(encoding="utf-8")
    assert path.stat().st_size < 100_000
    pictures = [*re.findall(r"base64,([\w+/=]+)", content), *re.findall(r'"image/png": "([^"]+)"', content)]
    assert len(pictures) >= 4
    assert max(map(len, pictures)) < 40_000
    for word in (
        "token=[^T]",
        r"127\.0\.0\.1:\d",
        '"/(home|tmp|usr|work|root)',
        "ganvas-time",
        "iframe",
        r"\\u001b",
    ):
        assert not re.search(word, content), word
    assert notebooks.clean(notebooks.read(path)) == notebooks.read(path)
