"""What every command makes of its flags, and what its help says."""

import inspect
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest
import tyro

from ganvas.cli import COMMANDS, _parse, completion, main
from ganvas.errors import GanvasError


def run_of(command: str) -> Callable[..., None]:
    run: Callable[..., None] = import_module(f"ganvas.cli.{COMMANDS[command].module}").run
    return run


def recorder(command: str) -> tuple[Callable[..., None], dict[str, Any]]:
    """A function that looks like a command and keeps what it is called with."""
    given: dict[str, Any] = {}

    def record(**arguments: Any) -> None:
        options = arguments.pop("options", None)  # a request: its fields are the flags
        given.update(arguments if options is None else arguments | vars(options))

    vars(record)["__signature__"] = inspect.signature(run_of(command))
    record.__doc__ = run_of(command).__doc__
    return record, given


def kinds(command: str) -> Iterator[tuple[str, Any, bool, bool]]:
    """(name, type, positional, required) of each parameter."""
    for parameter in _parse.parameters_of(run_of(command)):
        kind, own = parameter.annotation, ()
        if hasattr(kind, "__metadata__"):
            kind, *own = get_args(kind)
        if type(None) in get_args(kind):
            kind = next(each for each in get_args(kind) if each is not type(None))
        yield parameter.name, kind, tyro.conf.Positional in own, parameter.default is parameter.empty


def needed(command: str) -> list[str]:
    """The shortest command line: something for each positional that has no default."""
    return [
        str(get_args(kind)[0]) if get_origin(kind) is not tuple and get_args(kind) else "x"
        for _, kind, _, required in kinds(command)
        if required
    ]


def defaults(command: str) -> dict[str, Any]:
    """Parameter -> its default."""
    return {each.name: each.default for each in _parse.parameters_of(run_of(command))}


REPEATABLE = [
    (command, name, get_args(kind)[0])
    for command in COMMANDS
    for name, kind, positional, _ in kinds(command)
    if get_origin(kind) is tuple and not positional
]


def test_the_flags_that_take_several_values_are_known() -> None:
    found = {name for _, name, _ in REPEATABLE}
    assert {
        "set",
        "penalty",
        "term",
        "augment",
        "labels",
        "strength",
        "layers",
        "keep",
        "rescore",
        "directions",
    } <= found


@pytest.mark.parametrize(("command", "name", "kind"), REPEATABLE)
def test_flags_append(command: str, name: str, kind: Any) -> None:
    """Several values at once, one by one, and both: nothing is dropped, and no default is mixed in."""
    values = tuple(kind(text) for text in ("1", "2", "3"))
    for spelling in (["1", "2", "3"], ["1", None, "2", None, "3"], ["1", None, "2", "3"]):
        run, given = recorder(command)
        flag = "--" + name.replace("_", "-")
        argv = [flag, *(text or flag for text in spelling)]
        _parse.call(run, [*needed(command), *argv], command, "")
        assert given[name] == values
        run, given = recorder(command)
        _parse.call(run, needed(command), command, "")
        assert given.get(name) == defaults(command)[name] or name not in given
    with pytest.raises(GanvasError, match=f"{flag} wants at least one value"):
        _parse.call(recorder(command)[0], [*needed(command), flag], command, "")


def test_the_settings_of_a_training_append(capsys: pytest.CaptureFixture[str]) -> None:
    argv = [
        "train",
        "digits",
        "--set",
        "optimizer.lr_critic=0.125",
        "--set",
        "training.log_kimg=7",
        "--dry-run",
        "--json",
    ]
    assert main(argv) == 0
    shown = capsys.readouterr().out
    assert '"lr_critic": 0.125' in shown
    assert '"log_kimg": 7' in shown


@pytest.mark.parametrize("command", list(COMMANDS))
def test_help_can_be_read(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """An example, a default for what has one, names for values, and nothing of the parser's inner life."""
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    shown = capsys.readouterr().out
    assert stop.value.code == 0
    assert f"Example: {COMMANDS[command].example}" in shown
    for inner in ("None", "STR", "INT", "FLOAT", "True", "False", "(default: )", "BOOL"):
        assert not re.search(rf"(?<![A-Z]){re.escape(inner)}(?![A-Z])", shown), inner
    flat = re.sub(r"[\s│]+", " ", shown)
    for name, _, positional, required in kinds(command):
        default = defaults(command)[name]
        assert name.upper() in flat if positional else f"--{name.replace('_', '-')}" in flat
        if not required and default is not None and default is not False and default != ():
            text = " ".join(map(str, default)) if isinstance(default, tuple) else str(default)
            assert f"(default: {text})" in flat
    assert all(len(line) <= 80 for line in shown.splitlines() if not line.startswith(("Example", "usage")))


@pytest.mark.parametrize("command", list(COMMANDS))
def test_help_breaks_lines_by_the_terminal_alone(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a line of the source ended, one of the help did, in the middle of a sentence."""
    monkeypatch.setenv("COLUMNS", "100")
    with pytest.raises(SystemExit):
        main([command, "--help"])
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    for line, following in pairwise(lines):
        margins = [len(each) - len(each.lstrip()) for each in (line, following)]
        if margins[0] == margins[1] > 8 and following:
            assert len(f"{line} {following.split()[0]}") > 90, f"{following.split()[0]!r} fits behind: {line}"


@pytest.mark.parametrize(
    "command", [name for name in COMMANDS if name not in ("completion", "demo", "env", "list")]
)
def test_the_example_of_a_command_is_one(command: str) -> None:
    """It parses, with the flags that there are."""
    words = re.findall(r"'[^']*'|\S+", COMMANDS[command].example)
    assert words[:2] == ["ganvas", command]
    run, given = recorder(command)
    _parse.call(run, words[2:], command, "")
    assert given


def test_of_a_flag_given_twice_the_last_one_counts() -> None:
    run, given = recorder("train")
    _parse.call(run, ["digits", "--seed", "3", "--seed", "4", "--size", "xs"], "train", "")
    assert given["seed"] == 4
    assert given["size"] == "xs"
    assert given["kimg"] is None if "kimg" in given else True


def test_messages_do_not_offer_none(capsys: pytest.CaptureFixture[str]) -> None:
    for argv in (["train", "digits", "--size", "huge"], ["train", "digits", "--seed", "x"], ["list", "x"]):
        with pytest.raises(SystemExit) as stop:
            main(argv)
        assert stop.value.code == 2
        assert "None" not in capsys.readouterr().err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell: str) -> None:
    """A script that names every command and its flags, and that the shell can read where there is one."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "ganvas", "completion", shell], check=True, capture_output=True, text=True
    )  # fmt: skip
    for word in (*COMMANDS, "--on-collapse", "--arithmetic", "--log", "--quiet", "--dry-run", "--repo"):
        assert word in done.stdout
    if shell != "fish" and shutil.which(shell):
        subprocess.run([shell, "-n"], input=done.stdout, check=True, text=True)


def test_completion_completes() -> None:
    """bash asks the script's function: `ganvas dis<TAB>`."""
    if shutil.which("bash") is None:
        pytest.skip("there is no bash here")
    code = (
        f'eval "$({sys.executable} -m ganvas completion bash)"\n'
        'COMP_WORDS=(ganvas dis); COMP_CWORD=1; COMP_LINE="ganvas dis"; COMP_POINT=10\n'
        '$(complete -p ganvas | sed -n "s/.*-F \\([^ ]*\\) .*/\\1/p") ganvas dis ganvas 2>/dev/null\n'
        'echo "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["dissect"]


@pytest.mark.parametrize(
    "argv", [["info", "a", "b\x1b]52;c;eA==\x07"], ["walk", "fashion", "--kind", "\x1b[31mx"]]
)
def test_words_that_do_not_fit_are_spelled_out(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """`ganvas info *` sent what stands in the name of a stranger's file to the terminal, clipboards among it."""
    with pytest.raises(SystemExit) as stop:
        main(argv)
    assert stop.value.code == 2
    said = capsys.readouterr()
    assert not {"\x1b", "\x07"} & set(said.out + said.err)
    assert "\\x1b" in said.err


def test_completion_imports_nothing_of_the_current_folder(tmp_path: Path) -> None:
    """At each TAB in a stranger's folder its `typing.py` ran."""
    (tmp_path / "typing.py").write_text("open('ran', 'w')")
    python = tmp_path / "bin" / "python3"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')  # site may have imported the real one
    python.chmod(0o755)
    plain = {**os.environ, "PATH": f"{python.parent}:{os.environ['PATH']}", "PYTHONSAFEPATH": ""}
    code = (
        f'eval "$({sys.executable} -P -m ganvas completion bash)"\n'
        'COMP_WORDS=(ganvas dis); COMP_CWORD=1; COMP_LINE="ganvas dis"; COMP_POINT=10\n'
        '$(complete -p ganvas | sed -n "s/.*-F \\([^ ]*\\) .*/\\1/p") ganvas dis ganvas 2>/dev/null\n'
        'echo "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "-c", code], cwd=tmp_path, env=plain, check=True, capture_output=True, text=True
    )  # fmt: skip
    assert done.stdout.split() == ["dissect"]
    assert not (tmp_path / "ran").exists()


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")
@pytest.mark.parametrize("knows", [True, False])
@pytest.mark.parametrize("typed", ["m", "~/m", "'m"])
def test_completion_puts_no_code_into_the_line(knows: bool, typed: str, tmp_path: Path) -> None:
    """`ganvas sample fashion --out m<TAB>` in a stranger's folder, and Enter ran what the name of a file says."""
    names = ["m o re", "m$(touch${IFS}ran) `touch ran`;.safetensors"]
    for name in names:
        (tmp_path / name).touch()
    code = (
        f'eval "$({sys.executable} -P -m ganvas completion bash)"\n'
        # It says to readline that names of files are given, which quotes them; that of before version 4 cannot be told.
        f"compopt() {{ {'echo $*' if knows else 'return 1'}; }}\n"
        f"COMP_WORDS=(ganvas sample fashion --out {shlex.quote(typed)}); COMP_CWORD=4\n"
        '$(complete -p ganvas | sed -n "s/.*-F \\([^ ]*\\) .*/\\1/p") ganvas m --out\n'
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    env = os.environ | {"HOME": str(tmp_path)}
    done = subprocess.run(
        ["bash", "-c", code], cwd=tmp_path, env=env, check=True, capture_output=True, text=True
    )  # fmt: skip
    said = sorted(done.stdout.splitlines())
    if knows:
        assert "-o filenames" in said
        assert typed != "m" or [each for each in said if each != "-o filenames"] == sorted(names)
    elif "'" in typed:
        assert said == [""], "what is within quotes is not known here"
    else:
        again = f"printf '%s\\n' {' '.join(said)}"  # as the shell reads them
        read = subprocess.run(
            ["bash", "-c", again], cwd=tmp_path, env=env, check=True, capture_output=True, text=True
        )
        start = "" if typed == "m" else f"{tmp_path}/"
        assert sorted(read.stdout.splitlines()) == sorted(start + name for name in names)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_that_is_not_known_is_no_completion(
    shell: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It might begin Python in another way, which looks into the current folder."""
    monkeypatch.setattr(completion, "BEGUN", dict.fromkeys(completion.BEGUN, ("python3 ", "-")))
    assert main(["completion", shell]) == 2
    assert "writes scripts" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (
            ["sample", "fashion", "--seeds", "1", "2", "3"],
            "--seeds takes its values with commas and no spaces: --seeds 1,2,3",
        ),
        (["sample", "fashion", "--seeds", "1,", "2-4"], "--seeds 1,2-4"),
        (["eval", "fashion", "--metrics", "frechet", "kid"], "--metrics frechet,kid"),
        (["train", "digits", "--seeds", "1", "2", "3"], "--seeds takes one value, got 3: 1 2 3"),
        (["walk", "fashion", "--keys", "1", "2"], "--keys takes one value, got 2: 1 2"),
    ],
)
def test_lists_with_spaces_are_told_how_to_write_them(
    argv: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(argv)
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err


def test_what_takes_several_values_is_not_said_to_take_one(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["walk", "fashion", "--labels", "1", "2", "--nothing"])
    assert "takes one value" not in capsys.readouterr().err
