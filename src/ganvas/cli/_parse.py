"""What tyro makes of a command's signature: help that a person reads, flags that may be given again."""

import dataclasses
import inspect
import re
import sys
import types
from collections.abc import Callable, Sequence
from contextlib import nullcontext, redirect_stderr
from io import StringIO
from itertools import chain, takewhile
from pathlib import Path
from textwrap import fill
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import tyro

from ganvas.cli import _shared
from ganvas.errors import GanvasError, printable

MARKERS = (tyro.conf.FlagCreatePairsOff,)
QUIET = inspect.Parameter("quiet", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=bool)
COMMAS = ("metrics", "seeds")
"""Flags of one word that hold a list; others take their values one after another."""
Run = Callable[..., int | None]
Reader = Callable[[tuple[Any, ...]], Any]
METAVARS: dict[Any, str] = {str: "NAME", Path: "PATH", int: "N", float: "X", bool: ""}
"""What stands for a value in the help, by its type; an argument's own `tyro.conf.arg(metavar=...)` wins."""


def call(run: Run, argv: Sequence[str], name: str, example: str) -> int:
    """Parse argv by the signature and docstring of `run` and call it; returns its exit code, 0 for None.

    Raises `SystemExit` as argparse does: 0 after help, 2 for what does not fit the signature.
    """
    about = inspect.cleandoc(run.__doc__ or "").split("\nArgs:")[0].strip()
    # tyro joins lines that begin with a letter.
    paragraphs = (fill(part, 80, subsequent_indent="  ") for part in about.split("\n\n"))
    text = "\n\n".join([*paragraphs, f"Example: {example}"])
    command = prepared(run, name)
    # Of a file that a pattern of the shell found: the name would be said as it is.
    odd = any(printable(word) != word for word in argv)
    try:
        with redirect_stderr(Spelled()) if odd else nullcontext():
            return tyro.cli(command, args=argv, prog=f"ganvas {name}", description=text, config=MARKERS) or 0
    except SystemExit as stopped:
        if stopped.code == 2 and (words := spaced(run, argv)):
            _shared.say(words, beside=True)
        raise


class Spelled(StringIO):
    """Writes to what is stderr now, with what could rewrite the screen spelled out."""

    def __init__(self) -> None:
        super().__init__()
        self.through = sys.stderr

    def write(self, text: str) -> int:
        """As a file does."""
        return self.through.write(printable(text))

    def flush(self) -> None:
        """As a file does."""
        self.through.flush()


def spaced(run: Run, argv: Sequence[str]) -> str:
    """What to type instead of `--seeds 1 2 3`, where a flag of one value was given several; empty if none was."""
    single = {
        f"--{each.name.replace('_', '-')}": each
        for each in parameters_of(run)
        if "tuple[" not in str(each.annotation) and each.annotation is not bool
    }
    for i, flag in enumerate(argv):
        if flag not in single:
            continue
        values = list(takewhile(lambda word: not word.startswith("-"), argv[i + 1 :]))
        if len(values) > 1 and single[flag].name in COMMAS and "str" in str(single[flag].annotation):
            return f"{flag} takes its values with commas and no spaces: {flag} {','.join(each.strip(',') for each in values)}"
        if len(values) > 1 and all(re.fullmatch(r"[\d.]+,?", each) for each in values):
            return f"{flag} takes one value, got {len(values)}: {' '.join(values)}"
    return ""


def prepared(run: Run, name: str) -> Run:
    """`run` with a signature for tyro; a parameter that is a dataclass stands for its fields, as flags.

    Every flag that takes several values takes them at once or one by one: `--set a=1 b=2` is `--set a=1 --set b=2`. Every command
    has --quiet.
    """
    parameters, readers = [], dict[str, Reader]()
    requests = {
        name: parameter.annotation
        for name, parameter in inspect.signature(run).parameters.items()
        if _is_request(parameter)
    }
    # A line is as long as the terminal, not as the source: what goes on in the next one is joined.
    doc = re.sub(r"\n {5,}", " ", inspect.cleandoc(run.__doc__ or ""))
    for request in requests.values():
        doc += "".join(f"\n    {each.name}: {each.metadata['help']}" for each in _flags(request))
    for parameter in parameters_of(run):
        annotation, reader = _readable(parameter)
        default = parameter.default
        if reader is not None:
            readers[parameter.name], default = reader, ()
        parameters.append(
            parameter.replace(annotation=annotation, default=default, kind=parameter.KEYWORD_ONLY)
        )

    parameters.append(QUIET.replace(annotation=_readable(QUIET)[0]))
    doc += f"{'' if 'Args:' in doc else chr(10) * 2 + 'Args:'}\n    quiet: Say nothing on stderr but errors."

    def command(quiet: bool = False, **given: Any) -> int | None:
        for key, reader in readers.items():
            if found := given.pop(key):
                try:
                    given[key] = reader(found)
                except ValueError as error:
                    flag = key.replace("_", "-")
                    raise GanvasError(f"--{flag} {error}. See: ganvas {name} --help") from error
        if given.get("seed") is not None:
            from ganvas import arrays  # with torch, which a page of help does without

            arrays.seed(given["seed"], "--seed")
        for key, kind in requests.items():
            names = [each.name for each in _flags(kind)]
            given[key] = kind(**{name: given.pop(name) for name in names if name in given})
        with _shared.silence(quiet), _shared.reading(given):
            return run(**given)

    command.__doc__ = doc
    command.__annotations__ = {each.name: each.annotation for each in parameters}
    vars(command)["__signature__"] = inspect.Signature(parameters)
    return command


def parameters_of(run: Run) -> list[inspect.Parameter]:
    """Of a command, with the fields of a request in its place."""
    found: list[inspect.Parameter] = []
    for parameter in inspect.signature(run).parameters.values():
        found += _flags(parameter.annotation).values() if _is_request(parameter) else [parameter]
    return found


def _is_request(parameter: inspect.Parameter) -> bool:
    return isinstance(parameter.annotation, type) and dataclasses.is_dataclass(parameter.annotation)


def _flags(request: type[Any]) -> dict["dataclasses.Field[Any]", inspect.Parameter]:
    """The fields of a request that a command line can say, each with its parameter."""
    hints = get_type_hints(request)

    def annotation(each: "dataclasses.Field[Any]") -> Any:
        also = each.metadata.get("also")
        return Annotated[hints[each.name], tyro.conf.arg(aliases=[also])] if also else hints[each.name]

    return {
        each: inspect.Parameter(
            each.name, inspect.Parameter.KEYWORD_ONLY, default=each.default, annotation=annotation(each)
        )
        for each in dataclasses.fields(request)
        if not str(hints[each.name]).startswith("collections.abc.Mapping")
    }


def _joined(groups: tuple[tuple[Any, ...], ...]) -> tuple[Any, ...]:
    """`--set a b --set c` in one tuple."""
    if not all(groups):
        raise ValueError("wants at least one value")
    return tuple(chain.from_iterable(groups))


def _last(found: tuple[Any, ...]) -> Any:
    """Of a flag that was given twice the last one counts."""
    return found[-1]


def _readable(parameter: inspect.Parameter) -> tuple[Any, Reader | None]:
    """The annotation that tyro shall read, and how to read what it then gives, where that is not the value itself.

    Flags without a default are lists for tyro: its optional types offer `None` on the command line, and name it in messages.
    """
    kind, own = parameter.annotation, list[Any]()
    if get_origin(kind) is Annotated:
        kind, *own = get_args(kind)
    optional = get_origin(kind) in (Union, types.UnionType)
    if optional:
        kind = next(each for each in get_args(kind) if each is not type(None))
    several = get_origin(kind) is tuple
    element = get_args(kind)[0] if several else kind
    positional = tyro.conf.Positional in own
    metavar = parameter.name.upper() if positional else METAVARS.get(element, "")
    if get_origin(element) is Literal and not positional:
        metavar = "{" + ",".join(str(each) for each in get_args(element)) + "}"
    metavar = next((each.metavar for each in own if getattr(each, "metavar", None)), metavar)
    if several:
        metavar = f"{metavar} [{metavar} ...]"
    if positional and parameter.default is not parameter.empty:
        metavar = f"[{metavar}]"
    own.append(tyro.conf.arg(metavar=metavar or None, help_behavior_hint=_default(parameter.default)))
    reader: Reader | None = None
    if not positional and (several or optional):
        own.append(tyro.conf.UseAppendAction)
        kind, reader = types.GenericAlias(tuple, (kind, ...)), _joined if several else _last
    return Annotated[(kind, *own)], reader


def _default(value: Any) -> str:
    """What the help says about a default; of None and () the docstring says what happens then."""
    if value is None or value is False or value == () or value is inspect.Parameter.empty:
        return ""
    value = " ".join(map(str, value)) if isinstance(value, tuple) else value
    return f"(default: {value})"
