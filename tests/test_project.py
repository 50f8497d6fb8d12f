"""Lint, types and the direction of imports are part of the suite."""

import ast
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from packaging.version import Version

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent


@pytest.mark.parametrize(
    "command",
    [
        ["ruff", "check", "."],
        ["ruff", "format", "--check", "."],
        ["mypy"],
        ["lint-imports"],
    ],
    ids=" ".join,
)
def test_tools_are_content(command: list[str]) -> None:
    program = shutil.which(command[0], path=str(BIN)) or command[0]
    done = subprocess.run([program, *command[1:]], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def imported(nodes: Iterable[ast.AST]) -> Iterator[str]:
    """Names that are imported, inside functions too, but not for the type checker alone."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports name the whole path"
            yield from (f"{node.module}.{each.name}" for each in node.names)
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            yield from imported(node.orelse)
        else:
            yield from imported(ast.iter_child_nodes(node))


def import_graph(folder: Path) -> dict[str, set[str]]:
    """Module -> the modules of the folder that it imports, at once or later. A package is its __init__.py."""
    files = {
        ".".join(path.relative_to(folder).with_suffix("").parts).removesuffix(".__init__"): path
        for path in folder.rglob("*.py")
    }
    return {
        name: {
            found if found in files else found.rpartition(".")[0]
            for found in imported(ast.parse(path.read_text(encoding="utf-8")).body)
        }
        & files.keys() - {name}
        for name, path in files.items()
    }


def test_a_circle_of_imports_is_found(tmp_path: Path) -> None:
    (tmp_path / "house").mkdir()
    for name, content in {
        "__init__": "",
        "a": "from house import b",
        "b": "class B:\n    from house.c import thing",
        "c": "if TYPE_CHECKING:\n    from house import a",
    }.items():
        (tmp_path / "house" / f"{name}.py").write_text(content)
    graph = import_graph(tmp_path)
    assert graph == {"house": set(), "house.a": {"house.b"}, "house.b": {"house.c"}, "house.c": set()}
    (tmp_path / "house" / "c.py").write_text("def later():\n    from house.a import b")
    with pytest.raises(CycleError):
        TopologicalSorter(import_graph(tmp_path)).prepare()


def test_no_circle_of_imports() -> None:
    """Layers hold between packages, this between modules. An import inside a function only hides a circle."""
    graph = import_graph(ROOT / "src")
    assert "ganvas.networks" in graph["ganvas.model"]
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' <- '.join(error.args[1])}")


@pytest.mark.parametrize("folder", ["benchmarks", "examples", "src", "tools"])
def test_no_program_imports_the_tests(folder: str) -> None:
    found = [
        str(path.relative_to(ROOT))
        for path in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import | ast.ImportFrom)
        and any(name.split(".")[0] == "tests" for name in imported([node]))
    ]
    assert not found


def test_no_constant_is_set_twice() -> None:
    """The limit on the letters of a label was that of the letters of a table, which stood further down."""
    twice = []
    for path in (ROOT / "src").rglob("*.py"):
        nodes = ast.parse(path.read_text(encoding="utf-8")).body
        targets = [each for node in nodes if isinstance(node, ast.Assign) for each in node.targets]
        targets += [node.target for node in nodes if isinstance(node, ast.AnnAssign)]
        names = [each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name)]
        twice += [f"{path.name}: {name}" for name in set(names) if names.count(name) > 1]
    assert not twice


def test_commands_are_short() -> None:
    """A command parses, calls the library and prints: what takes more than 60 lines belongs in the library."""
    long = {}
    for path in (ROOT / "src" / "ganvas" / "cli").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                first = node.body[1 if ast.get_docstring(node) and len(node.body) > 1 else 0]
                lines = (node.end_lineno or 0) - first.lineno + 1
                long |= {f"{path.name}: {node.name}": lines} if lines > 60 else {}
    assert not long


def test_the_oldest_libraries_are_those_that_are_asked_for() -> None:
    """tests/oldest.txt, beside which the suite is tried by hand, follows pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    named = [*project["dependencies"], *(each for extra in extras.values() for each in extra)]
    asked = {name: version for name, at, version in (each.partition(">=") for each in named) if at}
    lines = (ROOT / "tests" / "oldest.txt").read_text(encoding="utf-8").splitlines()
    tried = dict(line.split("==") for line in lines if not line.startswith("#"))
    assert {each.partition(">=")[0] for each in project["dependencies"]} <= tried.keys()
    for name, version in tried.items():
        assert Version(version) == Version(asked[name]), name
