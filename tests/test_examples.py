"""Every example runs, shortened, and stays short enough to be read."""

import runpy
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))
SHORT = {"own_generator": (["--epochs", "2"], ["samples", "walk", "directions", "found", "better"])}


def test_each_has_a_short_way() -> None:
    assert {path.stem for path in EXAMPLES} == set(SHORT)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_it_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 120
    flags, pictures = SHORT[path.stem]
    monkeypatch.setattr(sys, "argv", [str(path), *flags, "--out", str(tmp_path)])
    runpy.run_path(str(path), run_name="__main__")
    assert {each.stem for each in tmp_path.glob("*.png")} == set(pictures)
