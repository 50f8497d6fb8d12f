"""The examples of docs/extending/term.md and method.md: short, and they run."""

import ast
import re
from pathlib import Path

import pytest

from ganvas import losses
from ganvas.training.method import methods

PAGES = Path(__file__).parents[2] / "docs" / "extending"


@pytest.mark.parametrize(
    ("page", "registry", "name"), [("term", losses.terms, "spectrum"), ("method", methods, "imle")]
)
def test_the_example_runs(
    page: str,
    registry: object,
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (PAGES / f"{page}.md").read_text(), flags=re.S)
    scope: dict[str, object] = {"__name__": "example"}
    try:
        for block in blocks:
            assert len([line for line in block.splitlines() if line.strip()]) <= 30
            ast.parse(block)
            exec(compile(block, f"{page}.md", "exec"), scope)
        assert name in registry  # type: ignore[operator]
    finally:
        vars(registry)["_entries"].pop(name, None)
        vars(registry)["_summaries"].pop(name, None)
    shown = capsys.readouterr().out
    assert "spectrum" in shown if page == "term" else "torch.Size([4, 1, 8, 8])" in shown
    assert list(tmp_path.glob("runs/*/snapshots/*/generator.safetensors"))
