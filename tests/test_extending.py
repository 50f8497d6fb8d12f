"""The pages of docs/extending: their module registers from outside, their Python and their command use it."""

import re
import shlex
import sys
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

from ganvas import extensions, metrics
from ganvas.cli import main
from ganvas.errors import GanvasError
from ganvas.extensions import load_extensions
from ganvas.features import extractors
from ganvas.latent.finders import finders
from ganvas.losses import losses, penalties
from ganvas.networks import families
from ganvas.registry import Registry
from ganvas.sampling import samplers
from ganvas.training import loggers

PAGES = sorted((Path(__file__).parents[1] / "docs" / "extending").glob("*.md"))
EXAMPLES = [path for path in PAGES if "`mine.py`:" in path.read_text(encoding="utf-8")]
REGISTRIES: list[Registry[Any]] = [
    losses,
    penalties,
    families,
    samplers,
    metrics.registry,
    finders,
    extractors,
    loggers,
]


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An installed package of somebody else, with the module `mine`; the registries are as before afterwards."""
    about = tmp_path / "mine-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[ganvas]\nmine = mine\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(extensions, "_done", set())
    before = [(each, dict(each._entries), dict(each._summaries)) for each in REGISTRIES]
    yield tmp_path
    for each, entries, summaries in before:
        each._entries, each._summaries = entries, summaries
    sys.modules.pop("mine", None)


@pytest.mark.parametrize("page", EXAMPLES, ids=lambda page: page.stem)
def test_the_page_is_true(page: Path, elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = page.read_text(encoding="utf-8")
    module, use = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len([line for line in (module + use).splitlines() if line.strip()]) <= 30
    (elsewhere / "mine.py").write_text(module, encoding="utf-8")
    before = {name for each in REGISTRIES for name in each}
    commands = [
        shlex.split(line)
        for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
        for line in block.splitlines()
    ]
    assert commands
    for command in commands:  # first: nobody has imported the module but the entry point
        assert main(command[1:]) == 0, command
    (name,) = {name for each in REGISTRIES for name in each} - before
    exec(compile(use, str(page), "exec"), {})
    capsys.readouterr()
    kinds = {"family": "networks", "loss": "losses", "penalty": "penalties"}
    kind = kinds.get(page.stem, f"{page.stem}s")
    assert main(["list", kind]) == 0
    assert name in capsys.readouterr().out


def test_there_is_a_page_for_each_registry_and_it_is_linked() -> None:
    index = (PAGES[0].parent / "README.md").read_text(encoding="utf-8")
    assert len(EXAMPLES) >= len(REGISTRIES)
    for page in EXAMPLES:
        assert f"({page.name})" in index


def test_a_broken_extension_is_named(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (elsewhere / "mine.py").write_text("raise ValueError('oh')\n")
    assert [each.name for each in entry_points(group="ganvas")] == ["mine"]
    with pytest.raises(GanvasError, match=r"extension 'mine' of the package 'mine' failed: ValueError: oh"):
        load_extensions()
    assert main(["list", "losses"]) == 2
    assert "uninstall mine" in capsys.readouterr().err


def test_an_extension_that_ends_the_process_is_named(
    elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every command ended with its code and not a word."""
    (elsewhere / "mine.py").write_text("import sys\nprint('hello')\nsys.exit(0)\n")
    assert main(["list", "losses", "--json"]) == 2
    said = capsys.readouterr()
    assert "extension 'mine' of the package 'mine' failed: SystemExit" in said.err
    assert not said.out, "what it prints is no result"


def test_an_extension_is_loaded_once(elsewhere: Path) -> None:
    (elsewhere / "mine.py").write_text(
        "from ganvas.losses import losses\nlosses.add('mine', losses.get('hinge'), 'once')\n"
    )
    assert load_extensions() == ["mine"]
    assert load_extensions() == ["mine"]
    assert losses.summary("mine") == "once"
