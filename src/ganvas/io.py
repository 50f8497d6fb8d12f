"""Files: atomic writes, JSON, and safetensors with the JSON config in the header.

A reader never sees half a file: everything is written beside its place, flushed to the disk and renamed. Nothing
here unpickles, and a file from outside cannot choose what gets imported.
"""

import contextlib
import hashlib
import io as memory
import json
import math
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from ganvas.errors import GanvasError, explain_os_error

FORMAT_VERSION = 2
"""Of the safetensors files and config.json. A newer file is refused with a message, never misread."""
READABLE = (1, 2)
"""Format 1 had a field of the objective for each term: `ganvas.config.read_config` brings it up to date."""

Json = dict[str, Any]
LONGEST = 16 * 2**20
"""Bytes of one JSON document that is read, unless its reader sets a lower limit."""
LONGEST_HEADER = 2**24
"""Bytes of the header of a file of tensors; 150 a tensor are usual, and what ganvas adds is one JSON document."""
BYTES_OF_TENSOR = 200
"""Of a header, that the place of one of our tensors takes."""
MOST_TENSORS = 16_384
"""In one file of tensors; the largest network here has some 300, its state with the optimisers' six times as many."""
LONGEST_LINES = 64 * 2**20
"""Bytes of a file of JSON lines that is read."""
MOST_LINES = 500_000
"""Of such a file: a line that is damaged costs as much time as a good one, however short it is."""
DEEPEST = 32
"""Lists and objects within each other; the deepest of ganvas' own (a recipe's) is 7."""
MOST_VALUES = 1_000_000
"""Values in one document: small ones take far more memory than their text."""
LONGEST_NAME = 230
"""Bytes of the name of a file that its temporary one repeats: a file system takes 255."""
_LARGEST = 2**64
# Permissions of a new file. The umask is read by setting it, which is done here, before there are threads.
os.umask(_UMASK := os.umask(0o077))
_USUAL_MODE = 0o666 & ~_UMASK


def _beside(path: Path) -> Path:
    name = os.fsencode(path.name)[:LONGEST_NAME].decode(errors="ignore")
    return path.with_name(f".{name}.{secrets.token_hex(4)}.tmp")


@contextlib.contextmanager
def atomic(path: Path, said: Path | None = None) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it takes its place, on failure it is removed. Errors name `said`.

    Works for a file, and for a folder that does not exist yet. Files get the permissions that the user's umask gives to any
    other new one: safetensors' own are readable by nobody else.
    """
    temporary = _beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        for file in _within(temporary) if temporary.is_dir() else [temporary]:
            # Some mounts take files and no permissions.
            with contextlib.suppress(PermissionError):
                if file.is_file() and not file.is_symlink():
                    file.chmod(_USUAL_MODE)
            _flush(file)
        os.replace(temporary, path)
        _flush(path.parent)
    except OSError as error:
        # The temporary file is nobody's business; another one, say the folder's, is.
        if error.filename and temporary.name in str(error.filename):
            error.filename = None
        raise explain_os_error(error, f"writing {said or path}") from error
    finally:
        # Where nothing can be written nothing can be removed either: the first error is the one to tell.
        with contextlib.suppress(OSError):
            if temporary.is_dir():
                shutil.rmtree(temporary, ignore_errors=True)
            else:
                temporary.unlink(missing_ok=True)


def check_name(path: Path) -> None:
    """Raise `GanvasError` for a place of tensors whose name safetensors does not take: it would say that the file is damaged."""
    try:
        os.fspath(path).encode()
    except UnicodeEncodeError as error:
        raise GanvasError(
            f"{path} cannot be opened: its name or that of a folder is no UTF-8 text, which safetensors wants. Rename it."
        ) from error


def check_place(path: Path) -> None:
    """Raise `GanvasError` when no file could be written at `path`: a folder has its name, or its folder takes no files.

    A file is tried in the folder, or in the nearest one above it that is there: permissions alone do not tell of read-only
    disks, and an administrator has all of them.
    """
    if path.suffix == ".safetensors":
        check_name(path)
    try:
        if path.is_dir():
            raise GanvasError(f"{path} is a folder, and a file is to be written there. Choose another name.")
        if path.exists() and not path.is_file():
            raise GanvasError(
                f"{path} is a pipe or a device, and a file would take its place. Choose another name."
            )
        folder = next(each for each in path.parents if each.exists())
        if not folder.is_dir():
            raise GanvasError(
                f"Cannot write {path}: {folder} is a file, not a folder. Choose another folder."
            )
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise GanvasError(
            f"Cannot write {path}: {error.strerror or error}. Choose another folder."
        ) from error


def writable(folder: Path) -> bool:
    """Whether files can be written into a folder, which need not be there yet."""
    try:
        check_place(folder / f".{secrets.token_hex(4)}.tmp")
    except GanvasError:
        return False
    return True


def stamp(path: Path) -> tuple[int, int] | None:
    """What another file in its place, or another content, changes; None where there is none. Not its number: some file systems of
    the network give a file another one now and then."""
    try:
        about = path.stat()
    except OSError:
        return None
    return about.st_mtime_ns, about.st_size


@contextlib.contextmanager
def unchanged(*paths: Path) -> Iterator[None]:
    """Files that are opened more than once inside. Raises `GanvasError` where one was changed meanwhile: what was read of it is
    partly of the old one, and errors are about what nobody has written."""
    before = [stamp(path) for path in paths]

    def check(cause: BaseException | None) -> None:
        for path, known in zip(paths, before, strict=True):
            if stamp(path) != known:
                raise GanvasError(
                    f"{path} was changed while it was read. Wait until it is written, or take a copy of it."
                ) from cause

    try:
        yield
    except Exception as error:
        check(error)
        raise
    check(None)


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Like `atomic` for a folder that may exist: a reader finds the old one, the new one, or for an instant none."""
    old = _beside(path)
    new = old.with_suffix(".new.tmp")
    done = False
    try:
        with atomic(new, path) as temporary:
            yield temporary
        with contextlib.suppress(FileNotFoundError):
            os.replace(path, old)
        os.replace(new, path)
        done = True
        _flush(path.parent)
    except OSError as error:
        raise explain_os_error(error, f"writing {path.name}") from error
    finally:
        # An error, or a signal, came between the two. What stands there by now is another process's, and stays.
        if not done:
            with contextlib.suppress(OSError):
                os.replace(old, path)
        for leftover in (old, new) if done or path.exists() else (new,):
            shutil.rmtree(leftover, ignore_errors=True)


def _within(folder: Path) -> Iterator[Path]:
    """Everything below a folder, one by one: there may be a million files."""
    with os.scandir(folder) as entries:
        for entry in entries:
            yield Path(entry.path)
            if entry.is_dir(follow_symlinks=False):
                yield from _within(Path(entry.path))


def _flush(path: Path) -> None:
    """To the disk. Folders are as well as they can be: some systems, and shares of others, know no such thing for them."""
    folder = path.is_dir()
    if os.name == "nt" and folder:
        return
    try:
        descriptor = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError:
        if not folder:
            raise


def write_bytes(path: Path, content: bytes) -> None:
    """Atomically write a file."""
    with atomic(path) as temporary:
        temporary.write_bytes(content)


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write arrays or tensors of the CPU under their names as a compressed .npz, atomically."""
    import numpy as np

    buffer = memory.BytesIO()
    held: dict[str, Any] = {name: np.asarray(each) for name, each in arrays.items()}
    np.savez_compressed(buffer, **held)
    write_bytes(path, buffer.getvalue())


def write_json(path: Path, value: Any) -> None:
    """Atomically write pretty JSON (NaN is not JSON and is refused)."""
    write_bytes(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


def parse_json(text: bytes | str, what: str, *, longest: int = LONGEST, nan: bool = False) -> Any:
    """The one reader of JSON from outside. `what` names it in errors: a path, "The recipe in the address".

    Raises `GanvasError` for more than `longest` bytes, `DEEPEST` levels or `MOST_VALUES` values, for anything that is not
    UTF-8, and for numbers that are not finite or too large. `nan` lets NaN and Infinity through, which Python writes.
    """
    try:
        size = len(text) if isinstance(text, bytes) else len(text.encode())
        if size > longest:
            raise GanvasError(f"{what} is {size:,} bytes long; {longest:,} are read at most.")
        plain = text.decode() if isinstance(text, bytes) else text
        _measure(plain, what)
        constant = float if nan else _refuse
        value = json.loads(plain, parse_constant=constant, parse_float=_float, parse_int=_int)
        if _HALF_A_CHARACTER.search(plain):
            json.dumps(value, ensure_ascii=False).encode()
    except ValueError as error:
        raise GanvasError(f"{what} is damaged: it is not valid JSON ({error}).") from error
    return value


# A string without escapes, up to its end or that of the text so that none is looked at twice; a bracket; a comma.
_TOKENS = re.compile(r'"[^"]*(?:"|\Z)|[\[{\]},]')
# Taken out first: as a part of the string they would cost a hundred bytes of memory each.
_ESCAPE = re.compile(r"\\.?", re.DOTALL)
_HALF_A_CHARACTER = re.compile(r"\\u[dD][89a-fA-F]")


def _measure(text: str, what: str) -> None:
    """Refuse what is too deep or has too many values, before Python's recursive reader sees it."""
    depth = values = 0
    plain = _ESCAPE.sub("", text) if "\\" in text else text
    for token in _TOKENS.finditer(plain):
        first = plain[token.start()]
        if first in "[{":
            depth += 1
        elif first in "]}":
            depth -= 1
        if first != '"':
            values += first in "[{,"
        if depth > DEEPEST or values > MOST_VALUES:
            limit = f"{DEEPEST} levels" if depth > DEEPEST else f"{MOST_VALUES:,} values"
            raise GanvasError(f"{what} is damaged: it has more than {limit}.")


def _refuse(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


def _float(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"the number {text[:40]} is too large")
    return number


def _int(text: str) -> int:
    if len(text) > 21 or abs(number := int(text)) >= _LARGEST:
        raise ValueError(f"the number {text[:40]} is too large")
    return number


OF_SHELLS = re.compile(r"/dev/(stdin|fd/\d+)|/proc/[^/]+/fd/\d+")


def _read_bytes(path: Path, longest: int) -> bytes:
    """At most `longest` + 1 bytes, whatever the file claims: it may grow, or be a device.

    A pipe that lies in a folder, and a link to a terminal, may never begin; those of the shell are meant where they are typed.
    """
    try:
        if path.exists() and not path.is_file() and not OF_SHELLS.fullmatch(os.path.abspath(path)):
            raise GanvasError(f"{path} is no file. Give the name of one.")
        with path.open("rb") as file:
            return file.read(longest + 1)
    except OSError as error:
        raise GanvasError(f"Cannot read {path}: {error.strerror}.") from error


def read_text(path: Path, *, longest: int = LONGEST) -> str:
    """A file of text, without the mark that spreadsheets begin one with.

    Raises `GanvasError` when it is missing, is no text in UTF-8, or has more than `longest` bytes.
    """
    content = _read_bytes(path, longest)
    if len(content) > longest:
        raise GanvasError(f"{path} has more than {longest:,} bytes, which are read at most.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise GanvasError(f"{path} is no text in UTF-8.") from error


def read_json(path: Path, *, longest: int = LONGEST) -> Json:
    """Read a JSON object by `parse_json`; raises `GanvasError` when it is missing or damaged."""
    value = parse_json(_read_bytes(path, longest), str(path), longest=longest)
    if not isinstance(value, dict):
        raise GanvasError(f"{path} is damaged: expected a JSON object.")
    return value


def read_json_lines(path: Path) -> list[Json]:
    """The JSON objects of a file with one a line, by `parse_json`; none where there is no file.

    Lines that are damaged, or no objects, are left out: a kill cuts the last one. NaN is read, as figures may be.
    """
    if not path.exists():
        return []
    if not path.is_file():  # to open a pipe would wait for ever
        raise GanvasError(f"{path} is no file. Remove it.")
    content = _read_bytes(path, LONGEST_LINES)
    for what, there, most in (
        ("bytes", len(content), LONGEST_LINES),
        ("lines", content.count(b"\n"), MOST_LINES),
    ):
        if there > most:
            raise GanvasError(
                f"{path} has more than {most:,} {what}, which are read at most. A run works without its older lines: move the "
                f"file away, or keep the newest (tail -n 100000 {path.name} > newest, then rename it)."
            )
    found = []
    for line in content.split(b"\n"):
        try:
            value = parse_json(line, str(path), nan=True)
        except GanvasError:
            continue
        if isinstance(value, dict):
            found.append(value)
    return found


def save_tensors(path: Path, tensors: Mapping[str, Tensor], header: Json) -> None:
    """Write tensors with `header` (any JSON) beside them in one safetensors file, not atomically by itself.

    Use inside `atomic`. safetensors wants dense row-major tensors, so channels_last ones are rewritten.
    """
    dense = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    metadata = {
        "ganvas": json.dumps({"format_version": FORMAT_VERSION, **header}),
        "checksums": json.dumps({name: _checksum(tensor) for name, tensor in dense.items()}),
    }
    if (size := len(json.dumps(metadata)) + BYTES_OF_TENSOR * len(dense)) > LONGEST_HEADER:
        raise GanvasError(
            f"{path.name} would have a header of {size:,} bytes, and {LONGEST_HEADER:,} are read at most. Shorten the names of "
            "classes, columns or notes."
        )
    try:
        safetensors.torch.save_file(dense, path, metadata)
    except safetensors.SafetensorError as error:
        # The library hides the number of the system's error in its text.
        if found := re.search(r"os error (\d+)", str(error)):
            number = int(found[1])
            raise OSError(number, os.strerror(number), str(path)) from error
        raise


def _checksum(tensor: Tensor) -> str:
    """Of type, shape and every byte: 64 bits of BLAKE2b (RFC 7693)."""
    digest = hashlib.blake2b(f"{tensor.dtype} {tuple(tensor.shape)} ".encode(), digest_size=8)
    digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def read_header(path: Path) -> Json:
    """The JSON header of a file that ganvas wrote; raises `GanvasError` with what to do for anything else."""
    return _open(path)[0]


def load_tensors(path: Path) -> tuple[dict[str, Tensor], Json]:
    """All tensors and the header. Pickles, truncated and changed files and other people's are refused.

    What was written with checksums is held against them; files of before have none.
    """
    header, tensors = _open(path, with_tensors=True)
    return tensors, header


def is_own(path: Path) -> bool:
    """Whether a .safetensors file has a header of ganvas; True too for a damaged one, of which `load_tensors` says more."""
    try:
        _check_start(path)
        with safetensors.safe_open(path, framework="pt") as file:
            return "ganvas" in (file.metadata() or {})
    except (GanvasError, safetensors.SafetensorError, OSError, ValueError):
        return True


def load_foreign(path: Path) -> dict[str, Tensor]:
    """All tensors of a .safetensors file that somebody else wrote: its very bytes, to be copied where they are kept."""
    return _read(path, with_tensors=True)[1]


def _verify(path: Path, tensors: Mapping[str, Tensor], expected: Any) -> None:
    found = {name: _checksum(tensor) for name, tensor in tensors.items()}
    if found != expected:
        known = expected if isinstance(expected, dict) else {}
        name = next((name for name in found if known.get(name) != found[name]), "one")
        raise GanvasError(
            f"{path} is damaged: tensor {name!r} is not what was written (its checksum differs). "
            "Use another snapshot of the run, or fetch the file again."
        )


def _check_start(path: Path) -> None:
    """Raise `GanvasError` for a header that is too long, or describes too many tensors, before the library reads it."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        # What is no such file at all may have any number there, and the library says so.
        if size >= path.stat().st_size:
            return
        if size > LONGEST_HEADER:
            raise GanvasError(f"{path} has a header of {size:,} bytes; {LONGEST_HEADER:,} are read at most.")
        header = file.read(size)
    # A tensor's entry has ten quotation marks, and text of JSON none that stands alone. Their exact number is looked at later.
    if header.count(b'"') - header.count(b'\\"') > 10 * MOST_TENSORS + 1000:
        raise GanvasError(f"{path} holds more than {MOST_TENSORS:,} tensors, which are read at most.")


def _read(path: Path, with_tensors: bool) -> tuple[dict[str, str], dict[str, Tensor]]:
    """The metadata and the tensors, within their limits."""
    if not path.is_file():
        raise GanvasError(f"No such file: {path}.")
    tensors: dict[str, Tensor] = {}
    check_name(path)
    try:
        _check_start(path)
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            names = list(file.keys())
            if len(names) > MOST_TENSORS:
                raise GanvasError(f"{path} holds {len(names):,} tensors; {MOST_TENSORS:,} are read at most.")
            if with_tensors:
                tensors = {name: file.get_tensor(name) for name in names}
    except (safetensors.SafetensorError, OSError, ValueError, RuntimeError, TypeError) as error:
        # Sizes that torch cannot hold pass the library where one of them is 0; torch's words end in a listing of its calls.
        words = (str(error).splitlines() or [""])[0]
        raise GanvasError(
            f"{path} is not a readable safetensors file: it is truncated, damaged or of another kind ({words}). "
            "ganvas reads .safetensors only and never unpickles; use another snapshot of the run."
        ) from error
    return metadata, tensors


def _open(path: Path, with_tensors: bool = False) -> tuple[Json, dict[str, Tensor]]:
    metadata, mapped = _read(path, with_tensors)
    header = parse_json(metadata.get("ganvas", "null"), f"The header of {path}", nan=True)
    if not isinstance(header, dict):
        raise GanvasError(f"{path} was not written by ganvas: its header holds no 'ganvas' entry.")
    check_version(header.get("format_version"), path)
    # Copies: the library's are the bytes of the file, so that whoever copies another over it would change what is held here, an
    # open model, and whoever cuts it would end the process. What is verified is what is held.
    tensors = {name: each.clone() for name, each in mapped.items()}
    del mapped
    if with_tensors and "checksums" in metadata:
        _verify(path, tensors, parse_json(metadata["checksums"], f"The list of checksums of {path}"))
    return header, tensors


def check_version(version: Any, path: Path) -> None:
    """Raise `GanvasError` for a format version that is none, or a newer one."""
    if type(version) is not int or version < 1:
        raise GanvasError(
            f"{path} is damaged: its 'format_version' is {version!r:.40}, expected {FORMAT_VERSION} or less."
        )
    if version not in READABLE:
        raise GanvasError(
            f"{path} has format version {version}, this ganvas reads up to {FORMAT_VERSION}. Upgrade it: pip install -U ganvas, "
            "in a clone git pull."
        )
