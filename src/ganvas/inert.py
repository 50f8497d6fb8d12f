"""Other toolkits' checkpoints (.pkl, .pt, .bin) as plain data and tensors, without running anything that they name.

A pickle is a program for a small machine. The one here knows the instructions (from `pickletools`, which only names
them) and never imports or calls what the program asks for: a class or function stays a name, and the object made with it
a `Thing`. The few names that stand for data (tensors, arrays, dicts) become that data, after every size is checked.

Where the bytes of a tensor can stay in the file they are mapped, copy on write; the others are read once. All work and
memory are bounded by the constants below and by the size of the file.
"""

import math
import mmap
import re
import struct
import sys
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from pickletools import code2op
from typing import Any, BinaryIO, Never

import numpy as np
import safetensors
import torch
from torch import Tensor

from ganvas.errors import GanvasError

MOST_OPCODES = 2**21
"""Instructions of all pickles in a file; a StyleGAN3 snapshot has 30,000. What copies a list counts by its length."""
MOST_TENSORS = 2**16
"""Tensors and arrays of one file; the largest training checkpoints have some 5,000."""
MOST_VALUES = 2**22
"""Values in the content, counted as often as they are reached: shared tuples multiply without growing the file."""
MOST_TEXT = 2**27
"""Bytes of all text; the sources that NVIDIA's files carry have 100 kB each."""
DEEPEST = 100
"""Containers and objects within each other; each level of modules takes three, and 30 are usual."""
DEEPEST_PICKLE = 3
"""Pickles within the bytes of another; NVIDIA's files have two, for each tensor."""
MOST_DIMENSIONS = 16
LARGEST_INT = 512
"""Bytes of an integer."""
LONGEST_DIRECTORY = 2**22
"""Bytes of a zip archive's directory, of a line of text and of a safetensors header."""
_MAGIC = 0x1950A86A20F9469CFC6C


@dataclass(eq=False, slots=True)
class Thing:
    """An object of a class that was not made: what its pickle says about it.

    `name` is "module.Class" as the file has it, `args` and `kwargs` what the class would have been called with, `state`
    its attributes, `items` what was put into it (by key, or by position for a list). NVIDIA's persistent objects have
    their class's name and state; a class or function itself is a Thing with nothing but a name.
    """

    name: str
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    state: Any = None
    items: dict[Any, Any] = field(default_factory=dict)


def read(path: Path) -> Any:
    """The content of a checkpoint: dicts, lists, tuples, sets, text, bytes, numbers, None, CPU tensors and `Thing`s.

    Read are torch.save's files, new (zip) and old, pickles with tensors or NumPy arrays, and .safetensors, told apart by
    content. Arrays become tensors of their type, parameters plain tensors, ordered and attribute dicts plain dicts. A
    mapped file must not be shortened while its tensors live. Raises `GanvasError` for everything else, damaged or
    hostile files included.
    """
    path = Path(path)
    if path.is_dir():
        raise GanvasError(f"{path} is a folder; give the checkpoint in it.")
    if not path.is_file():
        raise GanvasError(f"No such file: {path}.")
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            if not size:
                raise _Refusal("is empty. Fetch it again")
            content = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_COPY)
            return _File(file, content).read()
    except _Refusal as refusal:
        raise GanvasError(f"{path} {refusal}.") from None
    except OSError as error:
        raise GanvasError(f"Cannot read {path}: {error.strerror or 'it is damaged'}.") from error
    except (
        ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RuntimeError, MemoryError, EOFError,
        struct.error, zipfile.BadZipFile, safetensors.SafetensorError,
    ) as error:  # fmt: skip
        # Nothing of the error's text: it may hold what the file holds, at any length.
        raise GanvasError(
            f"{path} is damaged: it is not what torch.save or pickle write. Fetch it again."
        ) from error


def parameters(thing: Thing) -> dict[str, Tensor]:
    """All parameters and buffers of a torch module and of the modules in it, by dotted names as in its state dict.

    Buffers that are None are left out, those that the module does not save are in. Raises `GanvasError` for other things.
    """
    found: dict[str, Tensor] = {}

    def collect(module: Any, prefix: str) -> None:
        state = module.state if isinstance(module, Thing) else None
        parts = [state.get(part, {}) for part in _MODULE] if isinstance(state, dict) else []
        if not all(isinstance(part, dict) for part in parts) or not any(part in state for part in _MODULE):
            raise GanvasError(f"{_shown(prefix[:-1]) or 'The object'} is no torch module.")
        for name, tensor in (parts[0] | parts[1]).items():
            if isinstance(tensor, Tensor):
                found[f"{prefix}{name}"] = tensor
            elif tensor is not None:
                raise GanvasError(f"{_shown(f'{prefix}{name}')} is no tensor.")
        for name, part in parts[2].items():
            if part is not None:
                collect(part, f"{prefix}{name}.")

    collect(thing, "")
    return found


_MODULE = ("_parameters", "_buffers", "_modules")


def _shown(text: str) -> str:
    """A name from a file, for a message."""
    return text if len(text) <= 100 and text.isprintable() else f"{text[:100]!a}"


class _Refusal(Exception):
    """What is wrong, as the end of a sentence that begins with the file's name."""


def _refuse(reason: str) -> Never:
    raise _Refusal(reason)


def _check(good: bool, reason: str) -> None:
    if not good:
        raise _Refusal(f"is damaged: {reason}. Fetch it again")


def _count(value: Any) -> int:
    _check(type(value) is int and 0 <= value < 2**48, "a size in it is no size")
    return int(value)


# Values on the machine's stack that are not content yet.


class _Name(str):
    """A class or function, "module.name"."""

    __slots__ = ()


@dataclass(eq=False, slots=True)
class _Blob:
    """Bytes of the file, not looked at."""

    start: int
    stop: int


@dataclass(eq=False, slots=True)
class _Storage:
    """Numbers of a torch file; where they start is known later in an old one."""

    dtype: torch.dtype
    numel: int
    start: int = -1
    flat: Tensor | None = None


@dataclass(eq=False, slots=True)
class _View:
    """A tensor in a storage, checked to lie in it."""

    storage: _Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


@dataclass(eq=False, slots=True)
class _DType:
    """A NumPy type; None where it is no number of up to eight bytes."""

    code: str | None
    order: str = "="

    def numpy(self) -> np.dtype[Any]:
        _check(self.code is not None, "an array in it is of no type")
        return np.dtype(f"{self.order}{self.code}")


@dataclass(eq=False, slots=True)
class _Array:
    """A NumPy array or, without shape, a scalar."""

    dtype: _DType | None = None
    shape: tuple[int, ...] | None = None
    fortran: bool = False
    data: "_Blob | bytes | None" = None


_STORAGES = {
    "Double": torch.float64, "Float": torch.float32, "Half": torch.float16, "BFloat16": torch.bfloat16,
    "Long": torch.int64, "Int": torch.int32, "Short": torch.int16, "Char": torch.int8, "Byte": torch.uint8,
    "Bool": torch.bool, "Untyped": torch.uint8, "ComplexFloat": torch.complex64, "ComplexDouble": torch.complex128,
}  # fmt: skip
_DTYPES = {
    f"torch.{name}": getattr(torch, name)
    for name in (
        "float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool", "uint16",
        "uint32", "uint64", "complex64", "complex128",
    )
}  # fmt: skip


class _File:
    """One file and what its pickles have cost so far."""

    def __init__(self, file: BinaryIO, content: mmap.mmap) -> None:
        self.file, self.content, self.size = file, content, len(content)
        self.steps = self.text = self.tensors = self.bytes = 0

    def spend(self, steps: int = 1) -> None:
        self.steps += steps
        if self.steps > MOST_OPCODES:
            _refuse(f"has more than {MOST_OPCODES:,} instructions; no checkpoint has")

    def read(self) -> Any:
        start = bytes(self.content[:512])
        if start[:2] == b"PK":
            value = self._zip()
        elif start[8:9] == b"{" and start[:1] != b"\x80" and int.from_bytes(start[:8], "little") < self.size:
            return self._safetensors()
        else:
            for pattern, reason in _OTHERS:
                if re.match(pattern, start, re.DOTALL | re.IGNORECASE):
                    _refuse(reason)
            value = self.pickles(0, self.size)
        content = _Settled(self).settle(value, 0)[0]
        if not self.tensors:
            _refuse("holds no tensor, so there is no model in it")
        return content

    def pickles(self, start: int, stop: int, depth: int = 0) -> Any:
        """A plain pickle or an old torch file, whose first pickle is a magic number."""
        first, end = _Machine(self, start, stop, depth).run()
        if type(first) is int and first == _MAGIC:
            return self._old_torch(end, stop, depth)
        if depth:
            _refuse(
                "is not a checkpoint that ganvas can read: bytes in it that should be a tensor are another pickle"
            )
        return first

    def _old_torch(self, start: int, stop: int, depth: int) -> Any:
        version, start = _Machine(self, start, stop, depth).run()
        _check(type(version) is int and version == 1001, "torch.save wrote another version of its old format")
        system, start = _Machine(self, start, stop, depth).run()
        if not isinstance(system, dict) or system.get("little_endian") is not True:
            _refuse("was written on a machine with another order of bytes")
        storages: dict[str, _Storage] = {}
        machine = _Machine(self, start, stop, depth, lambda pid: _old_storage(pid, storages))
        value, start = machine.run()
        keys, start = _Machine(self, start, stop, depth).run()
        _check(isinstance(keys, list) and len(keys) == len(storages), "its list of tensors is another's")
        for key in keys:
            storage = storages.get(key) if type(key) is str else None
            if storage is None or storage.start >= 0:
                _refuse("is damaged: its list of tensors names another. Fetch it again")
            numel = int.from_bytes(self.content[start : start + 8], "little", signed=True)
            _check(numel == storage.numel, "a tensor has another size than its list says")
            storage.start = start + 8
            start += 8 + numel * storage.dtype.itemsize
            _check(start <= stop, "it ends before its last tensor: the download was cut off")
        return value

    def _zip(self) -> Any:
        try:
            archive = zipfile.ZipFile(_Window(self.content, 0, self.size))  # type: ignore[arg-type]
        except zipfile.BadZipFile:
            _refuse(
                "is damaged: the end of the archive is missing, so the download was cut off. Fetch it again"
            )
        entries = {entry.filename: entry for entry in archive.infolist()}
        _check(len(entries) == len(archive.infolist()), "two entries have the same name")
        roots = [name[: -len("data.pkl")] for name in entries if re.fullmatch(r"[^/]+/data\.pkl", name)]
        if len(roots) != 1:
            inside = "NumPy arrays" if any(name.endswith(".npy") for name in entries) else "other files"
            _refuse(
                f"is a zip archive of {inside}, not of torch.save. Unpack it and give the checkpoint in it"
            )
        root = roots[0]
        if f"{root}constants.pkl" in entries or any(name.startswith(f"{root}code/") for name in entries):
            _refuse("is a TorchScript program. Load it in torch and save its state_dict() with torch.save")

        def place(name: str) -> tuple[int, int]:
            entry = entries.get(root + name)
            if entry is None:
                _refuse("is damaged: a tensor is not in the archive. Fetch it again")
            if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
                _refuse(
                    "has compressed or encrypted entries, which torch.save never writes. Save it anew by torch.save"
                )
            at = entry.header_offset
            header = self.content[at : at + 30] if at >= 0 else b""
            _check(header[:4] == b"PK\3\4" and len(header) == 30, "an entry is not where the archive says")
            start = at + 30 + sum(struct.unpack("<HH", header[26:]))
            _check(start + entry.file_size <= self.size, "an entry ends after the archive")
            return start, start + entry.file_size

        if f"{root}byteorder" in entries:
            start, stop = place("byteorder")
            if self.content[start : min(stop, start + 16)] != b"little":
                _refuse("was written on a machine with another order of bytes")
        storages: dict[str, _Storage] = {}

        def persistent(pid: Any) -> Any:
            storage = _persistent(pid, 5, storages)
            if storage.start < 0:
                start, stop = place(f"data/{pid[2]}")
                _check(
                    stop - start >= storage.numel * storage.dtype.itemsize,
                    "a tensor is larger than its entry",
                )
                storage.start = start
            return storage

        return _Machine(self, *place("data.pkl"), 0, persistent).run()[0]

    def _safetensors(self) -> dict[str, Tensor]:
        if int.from_bytes(self.content[:8], "little") > LONGEST_DIRECTORY:
            _refuse(f"has a header of more than {LONGEST_DIRECTORY:,} bytes")
        try:
            with safetensors.safe_open(self.file.name, framework="pt") as file:
                names = list(file.keys())
                if len(names) > MOST_TENSORS:
                    _refuse(f"has more than {MOST_TENSORS:,} tensors; no checkpoint has")
                return {name: file.get_tensor(name) for name in names}
        except safetensors.SafetensorError:
            _refuse("is a damaged safetensors file, or the download was cut off. Fetch it again")

    def numbers(self, start: int, numel: int, dtype: torch.dtype) -> Tensor:
        """A flat tensor of numbers of the file, mapped where a machine can compute with them in their place."""
        self.tensors += 1
        self.bytes += numel * dtype.itemsize
        if self.tensors > MOST_TENSORS or self.bytes > self.size:
            _refuse("has more tensors than its size allows")
        if not numel:
            return torch.empty(0, dtype=dtype)
        _check(0 <= start <= self.size - numel * dtype.itemsize, "a tensor lies outside of it")
        if dtype == torch.bool:
            return torch.frombuffer(self.content, dtype=torch.uint8, count=numel, offset=start) != 0
        if start % dtype.itemsize == 0:
            return torch.frombuffer(self.content, dtype=dtype, count=numel, offset=start)
        flat = torch.empty(numel, dtype=dtype)
        self.file.seek(start)
        read = self.file.readinto(flat.view(torch.uint8).numpy())  # type: ignore[attr-defined]
        _check(read == numel * dtype.itemsize, "it became shorter while it was read")
        return flat


def _persistent(pid: Any, length: int, storages: dict[str, _Storage]) -> _Storage:
    """The storage of a persistent id: ("storage", class, key, device, number of numbers)."""
    if type(pid) is not tuple or len(pid) != length or type(pid[0]) is not str or pid[0] != "storage":
        _refuse("is damaged: it refers to something that is no tensor. Fetch it again")
    _, kind, key, _, numel = pid[:5]
    found = re.fullmatch(r"torch\.(?:cuda\.|storage\.)?(\w+)Storage", kind) if type(kind) is _Name else None
    dtype = _STORAGES.get(found[1]) if found else None
    if dtype is None:
        _refuse("has tensors of a type that ganvas does not read (quantised ones, say)")
    _check(type(key) is str and len(key) <= 100, "a tensor has no key")
    new = _Storage(dtype, _count(numel))
    storage = storages.setdefault(key, new)
    _check(storage.dtype == new.dtype and storage.numel == new.numel, "two tensors disagree on their numbers")
    return storage


def _old_storage(pid: Any, storages: dict[str, _Storage]) -> Any:
    if type(pid) is tuple and len(pid) == 4 and type(pid[0]) is str and pid[0] == "module":
        return pid[1]  # a class with its source, which is not looked at
    if type(pid) is tuple and len(pid) == 6 and pid[5] is not None:
        _refuse("has tensors within tensors, as torch wrote before 1.0. Save it anew by a newer torch")
    return _persistent(pid, 6, storages)


class _Window:
    """A part of the file, for readers of the standard library; none may ask for much at once."""

    def __init__(self, content: mmap.mmap, start: int, stop: int) -> None:
        self.content, self.at, self.stop = content, start, stop

    def read(self, size: int = -1) -> bytes:
        stop = self.stop if size < 0 else min(self.stop, self.at + size)
        if stop - self.at > LONGEST_DIRECTORY:
            _refuse("has a part that is larger than any checkpoint has")
        data = self.content[self.at : stop]
        self.at = max(self.at, stop)
        return data

    def readline(self) -> bytes:
        end = self.content.find(b"\n", self.at, min(self.stop, self.at + LONGEST_DIRECTORY))
        return self.read(end + 1 - self.at) if end >= 0 else b""

    def seek(self, offset: int, whence: int = 0) -> int:
        self.at = max(0, (0, self.at, self.stop)[whence] + offset)
        return self.at

    def tell(self) -> int:
        return self.at


_BYTES = {"SHORT_BINBYTES": "<B", "BINBYTES": "<I", "BINBYTES8": "<Q", "BYTEARRAY8": "<Q"}
_TEXT = {
    "SHORT_BINUNICODE": "<B",
    "BINUNICODE": "<I",
    "BINUNICODE8": "<Q",
    "SHORT_BINSTRING": "<B",
    "BINSTRING": "<I",
}
_PUSHED = {
    "BININT", "BININT1", "BININT2", "BINFLOAT", "LONG1", "LONG4", "INT", "LONG", "FLOAT", "UNICODE", "STRING",
}  # fmt: skip
_NEW: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_SET": set,
}
_NO_INSTRUCTION = {"PROTO", "FRAME"}
_PUT = {"PUT", "BINPUT", "LONG_BINPUT"}
_GET = {"GET", "BINGET", "LONG_BINGET"}


class _Machine:
    """Runs one pickle on inert values."""

    def __init__(
        self, file: _File, start: int, stop: int, depth: int, persistent: Callable[[Any], Any] | None = None
    ) -> None:
        if depth > DEEPEST_PICKLE:
            _refuse("has pickles within pickles, deeper than any checkpoint has")
        self.file, self.depth, self.persistent = file, depth, persistent
        self.window = _Window(file.content, start, stop)
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> tuple[Any, int]:
        """The object of the pickle and where it ends."""
        window, spend = self.window, self.file.spend
        while True:
            code = window.read(1)
            if not code:
                _refuse("is cut off: it ends before its content does. Fetch it again")
            operation = code2op.get(code.decode("latin-1"))
            if operation is None:
                _refuse(
                    "is not a checkpoint that ganvas can read: neither torch.save's nor a pickle, or damaged. Fetch it again"
                )
            spend()
            name = operation.name
            if name == "STOP":
                return self.stack.pop(), window.at
            if name in _BYTES:
                self.stack.append(_Blob(*self._extent(_BYTES[name])))
            elif name in _TEXT:
                self.stack.append(self._text(name))
            else:
                argument = operation.arg.reader(window) if operation.arg else None
                self._step(name, argument)

    def _extent(self, form: str) -> tuple[int, int]:
        (length,) = struct.unpack(form, self.window.read(struct.calcsize(form)))
        start = self.window.at
        if length > self.window.stop - start:
            _refuse("is cut off: it ends before its content does. Fetch it again")
        self.window.at = start + length
        return start, start + length

    def _text(self, name: str) -> str:
        start, stop = self._extent(_TEXT[name])
        self._read_text(stop - start)
        data = self.file.content[start:stop]
        return data.decode("latin-1") if "STRING" in name else data.decode("utf-8", "surrogatepass")

    def _read_text(self, length: int) -> None:
        self.file.text += length
        if self.file.text > MOST_TEXT:
            _refuse(f"has more than {MOST_TEXT:,} bytes of text; no checkpoint has")

    def _marked(self) -> list[Any]:
        items, self.stack = self.stack, self.marks.pop()
        return items

    def _step(self, name: str, argument: Any) -> None:
        stack = self.stack
        if name in _GET:
            stack.append(self.memo[argument])
        elif name in _PUT:
            self.memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = stack[-1]
        elif name in _PUSHED:
            if type(argument) is int and argument.bit_length() > 8 * LARGEST_INT:
                _refuse("has an integer that is larger than any checkpoint has")
            if type(argument) is str:
                self._read_text(len(argument))
            stack.append(argument)
        elif name in _NEW:
            stack.append(_NEW[name]())
        elif name == "MARK":
            self.marks.append(stack)
            self.stack = []
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            count = int(name[-1])
            stack[-count:] = [tuple(stack[-count:])] if len(stack) >= count else [][0]
        elif name in ("TUPLE", "LIST"):
            items = self._marked()
            self.stack.append(tuple(items) if name == "TUPLE" else items)
        elif name in ("DICT", "SETITEMS"):
            items = self._marked()
            if name == "DICT":
                self.stack.append({})
            self._put(self.stack[-1], items)
        elif name == "SETITEM":
            value, key = stack.pop(), stack.pop()
            self._put(stack[-1], [key, value])
        elif name in ("APPEND", "APPENDS"):
            items = self._marked() if name == "APPENDS" else [stack.pop()]
            self._append(self.stack[-1], items)
        elif name in ("ADDITEMS", "FROZENSET"):
            items = self._marked()
            if name == "FROZENSET":
                self.stack.append(set())
            self._add(self.stack[-1], items)
        elif name == "GLOBAL":
            stack.append(_name(*argument.split(" ", 1)))
        elif name == "STACK_GLOBAL":
            attribute, module = stack.pop(), stack.pop()
            stack.append(_name(module, attribute))
        elif name in ("REDUCE", "NEWOBJ"):
            arguments, called = stack.pop(), stack.pop()
            stack.append(self._make(called, arguments, {}, name == "NEWOBJ"))
        elif name == "NEWOBJ_EX":
            keywords, arguments, called = stack.pop(), stack.pop(), stack.pop()
            stack.append(self._make(called, arguments, keywords, True))
        elif name == "BUILD":
            state = stack.pop()
            self._build(stack[-1], state)
        elif name == "BINPERSID" and self.persistent is not None:
            stack.append(self.persistent(stack.pop()))
        elif name == "POP":
            if stack:
                stack.pop()
            else:
                self._marked()
        elif name == "POP_MARK":
            self._marked()
        elif name == "DUP":
            stack.append(stack[-1])
        elif name not in _NO_INSTRUCTION:
            _refuse(
                f"uses the instruction {name} of pickles, which no checkpoint needs: it is damaged or hostile"
            )

    def _key(self, key: Any) -> Any:
        if isinstance(key, _Blob):
            _check(key.stop - key.start <= 4096, "bytes that name something are too long")
            return self.file.content[key.start : key.stop]
        if type(key) is str or key is None or isinstance(key, float | bool):
            return key
        # Larger ones can be chosen to have the same hash.
        if type(key) is int and abs(key) < sys.hash_info.modulus:
            return key
        _refuse("has a dict or set whose keys are no names or numbers, which no checkpoint needs")

    def _put(self, target: Any, items: list[Any]) -> None:
        if isinstance(target, Thing):
            target = target.items
        if type(target) is not dict:
            _refuse("is damaged: it puts items into something that is no dict. Fetch it again")
        _check(len(items) % 2 == 0, "a key has no value")
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[self._key(key)] = value

    def _append(self, target: Any, items: list[Any]) -> None:
        if isinstance(target, Thing):
            for item in items:
                target.items[len(target.items)] = item
        elif type(target) is list:
            target.extend(items)
        else:
            _refuse("is damaged: it appends to something that is no list. Fetch it again")

    def _add(self, target: Any, items: list[Any]) -> None:
        if type(target) is not set:
            _refuse("is damaged: it adds to something that is no set. Fetch it again")
        target.update(self._key(item) for item in items)

    def _make(self, called: Any, arguments: Any, keywords: Any, new: bool) -> Any:
        """What REDUCE, NEWOBJ and NEWOBJ_EX push: data for the names that stand for it, else a Thing."""
        if type(called) is not _Name:
            _refuse("calls what is no name: it is damaged or hostile")
        if type(arguments) is not tuple or type(keywords) is not dict:
            _refuse("is damaged: it calls something without arguments. Fetch it again")
        self.file.spend(len(arguments))
        maker = None if keywords else _MAKERS.get(called)
        if maker is not None and not (new and maker is not _dict):
            return maker(self, *arguments)
        if called.endswith(".EasyDict"):
            return _dict(self, *arguments)
        if called.endswith("persistence._reconstruct_persistent_obj"):
            return _persistent_object(*arguments)
        return Thing(str(called), arguments, keywords)

    def _build(self, target: Any, state: Any) -> None:
        """BUILD: the attributes of an object, or what completes an array or its type."""
        if isinstance(target, Thing):
            target.state = state
        elif isinstance(target, _DType):
            _check(
                type(state) is tuple and len(state) > 1 and state[1] in ("<", ">", "|", "="),
                "a type has no order",
            )
            target.order = state[1]
        elif isinstance(target, _Array) and target.dtype is None:
            if type(state) is not tuple or len(state) != 5 or not isinstance(state[2], _DType):
                _refuse("is damaged: an array has no type. Fetch it again")
            target.dtype, target.shape, target.fortran = state[2], _sizes(state[1]), state[3] is True
            target.data = _data(state[4])
        elif type(target) is dict and type(state) is dict:
            # What hangs on an ordered dict: torch's _metadata. Nothing here needs it.
            _check(
                all(type(key) is str and not key.startswith("__") for key in state),
                "a dict has odd attributes",
            )
            self.file.spend(len(state))
        else:
            _refuse("gives attributes to what can have none: it is damaged or hostile")


_PLAIN = {
    "builtins": "set frozenset list dict tuple int float bool complex str bytes bytearray object slice range getattr type",
    "collections": "OrderedDict defaultdict deque Counter namedtuple",
    "copyreg": "_reconstructor __newobj__ __newobj_ex__",
    "_codecs": "encode",
    "argparse": "Namespace",
    "types": "SimpleNamespace",
    "functools": "partial",
    "pathlib": "Path PosixPath WindowsPath PurePath PurePosixPath PureWindowsPath",
    "datetime": "datetime date time timedelta timezone",
    "enum": "Enum IntEnum",
    "decimal": "Decimal",
    "fractions": "Fraction",
    "uuid": "UUID",
    "random": "Random",
    "itertools": "count",
    "array": "array _array_reconstructor",
}
"""Names of Python's own library that checkpoints have. Others are functions that start programs and open files."""
_OLD_MODULES = {"__builtin__": "builtins", "copy_reg": "copyreg", "UserDict": "collections"}
_LIBRARY = sys.stdlib_module_names | {"commands", "__main__.os"}


def _name(module: Any, attribute: Any) -> _Name:
    if not (type(module) is str and type(attribute) is str and len(module) + len(attribute) <= 300):
        _refuse("is damaged: a class in it has no name. Fetch it again")
    module = _OLD_MODULES.get(module, module)
    name = f"{module}.{attribute}"
    if not re.fullmatch(r"\w+(\.\w+)+", name):
        _refuse("is damaged: a class in it has no name. Fetch it again")
    if module.split(".")[0] in _LIBRARY and attribute not in _PLAIN.get(module, "").split():
        _refuse(
            f"asks for {_shown(name)}, which no checkpoint needs: it is hostile, and nothing of it was run. Do not open it "
            "in other programs"
        )
    return _Name(name)


def _sizes(value: Any) -> tuple[int, ...]:
    _check(type(value) is tuple and len(value) <= MOST_DIMENSIONS, "a tensor has no shape")
    return tuple(_count(size) for size in value)


def _data(value: Any) -> "_Blob | bytes | None":
    """The bytes of an array; None for a list of objects."""
    if type(value) is str:  # as Python 2 wrote them
        return value.encode("latin-1")
    return value if isinstance(value, _Blob | bytes) else None


def _dict(machine: _Machine, *arguments: Any) -> dict[Any, Any]:
    """dict, OrderedDict, EasyDict: of nothing, of a dict, or of a list of pairs."""
    if len(arguments) > 1:
        _refuse("is damaged: a dict in it is of two. Fetch it again")
    made: dict[Any, Any] = {}
    for content in arguments:
        if type(content) is dict:
            machine.file.spend(len(content))
            made.update(content)
            continue
        _check(type(content) in (list, tuple), "a dict in it is of no pairs")
        for pair in content:
            machine.file.spend()
            _check(type(pair) in (list, tuple) and len(pair) == 2, "a dict in it is of no pairs")
            machine._put(made, list(pair))
    return made


def _defaults(machine: _Machine, factory: Any = None, *arguments: Any) -> dict[Any, Any]:
    return _dict(machine, *arguments)


def _sequence(make: Callable[[list[Any]], Any]) -> Callable[..., Any]:
    def maker(machine: _Machine, content: Any = ()) -> Any:
        _check(type(content) in (list, tuple, set), "a list in it is of no items")
        machine.file.spend(len(content))
        return make([machine._key(item) for item in content] if make is set else list(content))

    return maker


def _encode(machine: _Machine, text: Any, encoding: Any = "latin1") -> bytes:
    _check(type(text) is str and encoding in ("latin1", "latin-1"), "bytes in it are no bytes")
    machine._read_text(len(text))
    return text.encode("latin-1")  # type: ignore[no-any-return]


def _bytes(machine: _Machine, *arguments: Any) -> bytes:
    _check(not arguments, "bytes in it are no bytes")
    return b""


def _reconstructed(machine: _Machine, kind: Any, base: Any, state: Any = None) -> Any:
    """copyreg._reconstructor: how pickles of the first protocols make objects."""
    if type(kind) is not _Name:
        _refuse("calls what is no name: it is damaged or hostile")
    if kind.endswith(".EasyDict"):
        return _dict(machine, *(() if state is None else (state,)))
    return Thing(str(kind))


def _new_with_keywords(machine: _Machine, kind: Any, arguments: Any, keywords: Any) -> Any:
    return machine._make(kind, arguments, keywords, True)


def _persistent_object(meta: Any) -> Thing:
    """NVIDIA's objects that carry their source, which is not looked at."""
    state = meta.get("state") if type(meta) is dict else None
    name = meta.get("class_name") if type(meta) is dict else None
    if type(name) is not str or len(name) > 300 or type(state) is not dict:
        _refuse("is damaged: a network in it has no class or no state. Fetch it again")
    if meta.get("type") != "class" or type(meta.get("version")) is not int:
        _refuse(
            "has a network that a newer torch_utils wrote. Save it anew by the official code of StyleGAN3"
        )
    return Thing(name, state=state)


def _tensor(machine: _Machine, storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> _View:
    """torch._utils._rebuild_tensor and _v2."""
    if not isinstance(storage, _Storage):
        _refuse("is damaged: a tensor has no numbers. Fetch it again")
    size, stride, offset = _sizes(size), _sizes(stride), _count(offset)
    _check(len(size) == len(stride), "a tensor has no strides")
    numel = math.prod(size)
    inside = (
        numel == 0 or offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True)) < storage.numel
    )
    _check(
        inside and numel <= storage.numel and max(size, default=0) < 2**40,
        "a tensor is larger than its numbers",
    )
    return _View(storage, offset, size, stride)


def _typed_tensor(
    machine: _Machine,
    storage: Any,
    offset: Any,
    size: Any,
    stride: Any,
    grad: Any,
    hooks: Any,
    dtype: Any,
    *_: Any,
) -> _View:
    """torch._utils._rebuild_tensor_v3: a type for a storage of bytes."""
    wanted = _DTYPES.get(dtype) if type(dtype) is _Name else None
    if not isinstance(storage, _Storage) or wanted is None or storage.dtype != torch.uint8:
        _refuse("has tensors of a type that ganvas does not read")
    typed = _Storage(wanted, storage.numel // wanted.itemsize, storage.start)
    return _tensor(machine, typed, offset, size, stride)


def _parameter(machine: _Machine, data: Any, *_: Any) -> Any:
    _check(isinstance(data, _View), "a parameter is no tensor")
    return data


def _subclassed(machine: _Machine, function: Any, kind: Any, arguments: Any, state: Any) -> Any:
    """torch._tensor._rebuild_from_type_v2: a tensor with attributes or of a class of its own."""
    if function not in _TENSORS or type(function) is not _Name:
        _refuse("has tensors of a kind that ganvas does not read")
    return machine._make(function, arguments, {}, False)


def _loaded(machine: _Machine, data: Any) -> Any:
    """torch.storage._load_from_bytes: a whole old torch file, which torch would unpickle without a question."""
    if not isinstance(data, _Blob):
        _refuse("is damaged: a tensor has no bytes. Fetch it again")
    value = machine.file.pickles(data.start, data.stop, machine.depth + 1)
    _check(isinstance(value, _Storage | _View), "bytes that should be a tensor are something else")
    return value


def _new_array(machine: _Machine, *_: Any) -> _Array:
    return _Array()


def _dtype(machine: _Machine, code: Any, *_: Any) -> _DType:
    known = type(code) is str and re.fullmatch(r"b1|[iu][1248]|f[248]", code)
    return _DType(code if known else None)


def _scalar(machine: _Machine, dtype: Any, data: Any = None) -> Any:
    _check(isinstance(dtype, _DType), "a number has no type")
    return _Array(dtype, None, False, _data(data))


def _buffer(machine: _Machine, data: Any, dtype: Any, shape: Any, order: Any = "C") -> _Array:
    """numpy.core.numeric._frombuffer, protocol 5."""
    _check(isinstance(dtype, _DType) and order in ("C", "F"), "an array has no type")
    return _Array(dtype, _sizes(shape), order == "F", _data(data))


_TENSORS: Mapping[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _typed_tensor,
}
_MAKERS: Mapping[str, Callable[..., Any]] = {
    **_TENSORS,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch._tensor._rebuild_from_type_v2": _subclassed,
    "torch.storage._load_from_bytes": _loaded,
    "torch.Size": _sequence(tuple),
    "collections.OrderedDict": _dict,
    "collections.defaultdict": _defaults,
    "builtins.dict": _dict,
    "builtins.set": _sequence(set),
    "builtins.frozenset": _sequence(set),
    "builtins.list": _sequence(list),
    "builtins.tuple": _sequence(tuple),
    "builtins.bytes": _bytes,
    "_codecs.encode": _encode,
    "copyreg._reconstructor": _reconstructed,
    "copyreg.__newobj_ex__": _new_with_keywords,
    "numpy.dtype": _dtype,
    **{
        f"numpy.{core}.{name}": maker
        for core in ("core", "_core")
        for name, maker in {
            "multiarray._reconstruct": _new_array,
            "multiarray.scalar": _scalar,
            "numeric._frombuffer": _buffer,
        }.items()
    },
}


class _Settled:
    """Turns what the machine made into content: tensors, plain data and Things, none of them endless."""

    def __init__(self, file: _File) -> None:
        self.file = file
        self.done: dict[int, tuple[Any, int] | None] = {}

    def settle(self, value: Any, depth: int) -> tuple[Any, int]:
        """The content and how many values one meets in walking through it."""
        if value is None or type(value) in (bool, int, float, str, bytes):
            return value, 1
        if depth > DEEPEST:
            _refuse(f"has more than {DEEPEST} levels of lists and objects; no checkpoint has")
        # The machine's values live as long as this does, so no number is given twice.
        key = id(value)
        if key in self.done:
            found = self.done[key]
            if found is None:
                _refuse("holds an object that contains itself, which no checkpoint needs")
            return found
        self.done[key] = None
        found = self._settle(value, depth + 1)
        if found[1] > MOST_VALUES:
            _refuse(f"unfolds into more than {MOST_VALUES:,} values; no checkpoint has so many")
        self.done[key] = found
        return found

    def _settle(self, value: Any, depth: int) -> tuple[Any, int]:
        match value:
            case dict():
                parts = {key: self.settle(item, depth) for key, item in value.items()}
                return {key: part[0] for key, part in parts.items()}, 1 + sum(n for _, n in parts.values())
            case list() | tuple():
                items = [self.settle(item, depth) for item in value]
                return type(value)(item for item, _ in items), 1 + sum(n for _, n in items)
            case set():
                return value, 1 + len(value)
            case Thing():
                args, a = self.settle(value.args, depth)
                kwargs, b = self.settle(value.kwargs, depth)
                state, c = self.settle(value.state, depth)
                items, d = self.settle(value.items, depth)
                return Thing(value.name, args, kwargs, state, items), 1 + a + b + c + d
            case _Name():
                return Thing(str(value)), 1
            case _Blob():
                self.file.text += value.stop - value.start
                if self.file.text > MOST_TEXT:
                    _refuse(f"has more than {MOST_TEXT:,} bytes that are no tensor; no checkpoint has")
                return self.file.content[value.start : value.stop], 1
            case _View():
                return self._flat(value.storage).as_strided(value.size, value.stride, value.offset), 1
            case _Storage():
                return self._flat(value), 1
            case _Array():
                return self._array(value), 1
            case _DType():
                return Thing("numpy.dtype", (value.code,)), 1
        _refuse("is damaged: it holds something that is no data. Fetch it again")

    def _flat(self, storage: _Storage) -> Tensor:
        if storage.flat is None:
            _check(storage.start >= 0 or not storage.numel, "a tensor has no numbers")
            storage.flat = self.file.numbers(storage.start, storage.numel, storage.dtype)
        return storage.flat

    def _array(self, array: _Array) -> Any:
        if array.dtype is None or array.dtype.code is None or array.data is None:
            return Thing("numpy.ndarray")  # of text or objects: nothing that a network has
        dtype, shape = array.dtype.numpy(), array.shape or ()
        numel = math.prod(shape)
        if isinstance(array.data, _Blob):
            start, length = array.data.start, array.data.stop - array.data.start
            _check(length == numel * dtype.itemsize, "an array has another size than its numbers")
            native = torch.from_numpy(np.empty(0, dtype.newbyteorder("="))).dtype
            flat = self.file.numbers(start, numel, native)
        else:
            self.file.tensors += 1
            _check(len(array.data) == numel * dtype.itemsize, "an array has another size than its numbers")
            flat = torch.from_numpy(np.frombuffer(array.data, dtype.newbyteorder("=")).copy())
        if not dtype.isnative:
            flat = torch.from_numpy(flat.numpy().byteswap())
        if array.shape is None:
            self.file.tensors -= 1
            return flat.item()
        return (
            flat.reshape(shape[::-1]).permute(*reversed(range(len(shape))))
            if array.fortran
            else flat.reshape(shape)
        )


_CUT = "Fetch it again"
_OTHERS: list[tuple[bytes, str]] = [
    (rb"version https://git-lfs", "is a Git LFS pointer, not the checkpoint: the content is fetched by: git lfs pull"),
    (rb"\s*(<!doctype|<html|<head|<\?xml|<!--)", "is a web page, not a checkpoint: the download asked for a confirmation or "
     "a login. Open the address in a browser and save the file from there"),
    (rb"\s*[{\[]\s*(\"|\{|\[|\}|\])", "is JSON text, not a checkpoint (a config, or a server's error message)"),
    (rb"\x89HDF\r\n", "is an HDF5 file of Keras. ganvas reads StyleGAN2's TensorFlow checkpoints as .pkl"),
    (rb"\x93NUMPY", "is one NumPy array, not a checkpoint"),
    (rb"\x08[\x00-\x20]\x12.{0,40}(pytorch|onnx|tf2onnx|keras|skl)", "is an ONNX program, without the structure that "
     "ganvas needs. Use the checkpoint it was made of"),
    (rb"\x0a.{1,4}\x0a.{1,200}\x12", "is a TensorFlow graph or an ONNX program. ganvas reads StyleGAN2's TensorFlow "
     "checkpoints as .pkl"),
    (rb".{4}TFL3", "is a TensorFlow Lite program. Use the checkpoint it was made of"),
    (rb"GGUF", "is a GGUF file of a language model"),
    (rb".{257}ustar", "is a tar archive. Unpack it and give the checkpoint in it"),
    (rb"\x1f\x8b|BZh|\xfd7zXZ|\x28\xb5\x2f\xfd|7z\xbc\xaf|Rar!", "is compressed. Unpack it and give the checkpoint in it"),
    (rb"\x89PNG|\xff\xd8\xff|GIF8|RIFF|%PDF", "is a picture or document, not a checkpoint"),
]  # fmt: skip
"""What people give by mistake: how it begins, and what to say."""
