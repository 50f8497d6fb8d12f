"""Other toolkits' checkpoints (.pkl, .pt, .bin) as plain data and tensors; nothing that they name is imported or run.

A pickle is a program, and `ganvas.opcodes` runs it on inert values. Here are the files around the pickles: torch.save's,
new (zip) and old, and plain ones. A file is held in memory, above `HELD` mapped, copy on write; where one can compute with the
numbers of a tensor in their place they stay there. Work and memory are bounded by the constants here and there, and by the size
of the file.
"""

import io
import mmap
import re
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganvas.errors import GanvasError
from ganvas.opcodes import (
    AGAIN,
    LONGEST_NAME,
    STORAGES,
    Array,
    Blob,
    Budget,
    Content,
    DType,
    Machine,
    Name,
    Refusal,
    Storage,
    Thing,
    View,
    Window,
    check,
    count,
    refuse,
)  # fmt: skip

__all__ = ["Thing", "parameters", "read"]

MOST_TENSORS = 2**16
"""Tensors and arrays of one file; the largest training checkpoints have some 5,000."""
MOST_VALUES = 2**22
"""Values in the content, counted as often as they are reached: shared tuples multiply without growing the file."""
MOST_NAMED = 2**14
"""Modules and tensors of one network, each with a name of its own: what they share multiplies without growing the file."""
DEEPEST = 100
"""Containers and objects within each other; a module takes three, and 30 are usual."""
DEEPEST_PICKLE = 3
"""Pickles within bytes of another; NVIDIA's files have one for each tensor."""
HELD = 2**30
"""Bytes of a file up to which it is read into memory. What is mapped ends the process without a word where its toolkit, or a
copy, begins to write the file anew."""
_MAGIC = 0x1950A86A20F9469CFC6C
_ALIGNMENT = 16
"""torch's own files have their numbers at multiples of 64."""


def read(path: Path) -> Any:
    """The content of a checkpoint: dicts, lists, tuples, sets, text, bytes, numbers, None, CPU tensors and `Thing`s.

    Read are torch.save's files, new and old, and pickles with torch tensors or NumPy arrays, told apart by content.
    Arrays become tensors of their type, parameters plain tensors, ordered and attribute dicts plain dicts; what shares
    numbers in the file shares them here. A file above `HELD` bytes must not be shortened in its place while its tensors live.
    Raises `GanvasError` for everything else, damaged and hostile files included.
    """
    path = Path(path)
    if path.is_dir():
        raise GanvasError(f"{path} is a folder; give the checkpoint in it.")
    if not path.is_file():  # to open a pipe would wait for ever
        raise GanvasError(f"No such file: {path}.")
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            if not size:
                refuse("is empty. Fetch it again")
            if size > HELD:
                return _File(file, mmap.mmap(file.fileno(), size, access=mmap.ACCESS_COPY)).read()
            content = mmap.mmap(-1, size)
            check(file.readinto(content) == size, "it became shorter while it was read")
            return _File(file, content).read()
    except Refusal as refusal:
        raise GanvasError(f"{path} {refusal}.") from None
    except OSError as error:
        raise GanvasError(f"Cannot read {path}: {error.strerror or 'it is damaged'}.") from error
    except (
        ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RuntimeError, MemoryError, EOFError,
        struct.error, zipfile.BadZipFile,
    ) as error:  # fmt: skip
        # Nothing of the error's text: it may hold what the file holds, at any length.
        raise GanvasError(
            f"{path} is damaged: neither torch.save nor pickle write it so. {AGAIN}."
        ) from error


def parameters(thing: Thing) -> dict[str, Tensor]:
    """All parameters and buffers of a torch module and of the modules in it, by dotted names as in a state dict.

    Buffers that are None are left out, those that a state dict omits are in. Raises `GanvasError` for other things, and for
    more modules and tensors than any network has.
    """
    found: dict[str, Tensor] = {}
    modules = 0

    def collect(module: Any, prefix: str) -> None:
        nonlocal modules
        modules += 1
        state = module.state if isinstance(module, Thing) else None
        held = (
            [state.get(part) for part in ("_modules", "_parameters", "_buffers")]
            if isinstance(state, dict)
            else []
        )
        if not held or held[0] is None or not all(part is None or isinstance(part, dict) for part in held):
            raise GanvasError(f"{prefix[:-1][-100:]!a} is no torch module.")
        longest = max((len(name) for part in held for name in part or () if isinstance(name, str)), default=0)
        if len(prefix) + longest > LONGEST_NAME:
            raise GanvasError(f"A module or tensor has a name of more than {LONGEST_NAME} letters.")
        if modules + len(found) + sum(len(part or {}) for part in held[1:]) > MOST_NAMED:
            raise GanvasError(f"A network has more than {MOST_NAMED:,} modules and tensors.")
        for part in held[1:]:
            for name, tensor in (part or {}).items():
                if isinstance(tensor, Tensor):
                    found[f"{prefix}{name}"] = tensor
                elif tensor is not None:
                    raise GanvasError(f"{f'{prefix}{name}'[-100:]!a} is no tensor.")
        for name, child in held[0].items():
            if child is not None:
                collect(child, f"{prefix}{name}.")

    collect(thing, "")
    return found


class _File:
    """One file, and what was read of it so far."""

    def __init__(self, file: io.BufferedReader, content: mmap.mmap) -> None:
        self.file, self.content, self.size = file, content, len(content)
        self.budget = Budget()
        self.tensors = self.views = self.bytes = 0
        self.settled: dict[int, tuple[Any, int] | None] = {}

    def read(self) -> Any:
        start = self.content[:512]
        if start[:2] == b"PK":
            value = self._zip()
        elif start[8:9] == b"{" and int.from_bytes(start[:8], "little") < self.size:
            refuse("is a safetensors file by another name. Rename it to end in .safetensors")
        else:
            for pattern, reason in _OTHERS:
                if re.match(pattern, start, re.DOTALL | re.IGNORECASE):
                    refuse(reason)
            value = self._pickles(Window(self.content, 0, self.size, self.budget), 0)
        # Pages of a map that the pickles were read of need not stay beside the tensors.
        if self.size > HELD and hasattr(mmap, "MADV_DONTNEED"):
            self.content.madvise(mmap.MADV_DONTNEED)
        content, _ = self.settle(value, 0)
        if not self.tensors:
            refuse("holds no tensor, so there is no model in it")
        return content

    def _pickles(self, window: Window, depth: int) -> Any:
        """A plain pickle or an old torch file: five pickles, the first one a magic number, and the numbers."""
        if depth > DEEPEST_PICKLE:
            refuse("has pickles within pickles, deeper than any checkpoint needs")

        def load(blob: Blob) -> Any:
            return self._pickles(Window(blob.content, blob.start, blob.stop, self.budget), depth + 1)

        first = Machine(window, load).run()
        if type(first) is not int or first != _MAGIC:
            check(depth == 0, "bytes that should be a tensor are another pickle")
            return first
        check(Machine(window, load).run() == 1001, "torch.save wrote another version of its old format")
        system = Machine(window, load).run()
        if type(system) is not dict or system.get("little_endian") is not True:
            refuse(_ORDER)
        storages: dict[str, Storage] = {}
        value = Machine(window, load, lambda pid: _old_persistent(pid, storages, window.content)).run()
        keys = Machine(window, load).run()
        check(type(keys) is list and len(keys) == len(storages), "its list of tensors is another's")
        at = window.at
        for key in keys:
            check(
                type(key) is str and key in storages and storages[key].start < 0,
                "its list of tensors is another's",
            )
            storage, numel = storages[key], int.from_bytes(window.content[at : at + 8], "little")
            check(numel == storage.numel, "a tensor has another size than its list says")
            storage.start = at + 8
            at = storage.start + numel * storage.dtype.itemsize
            check(at <= window.stop, "it is cut off, before its last tensor ends")
        check(
            depth == 0 or type(value) in (Storage, View), "bytes that should be a tensor are something else"
        )
        return value

    def _zip(self) -> Any:
        window: Any = Window(self.content, 0, self.size, self.budget)
        try:
            archive = zipfile.ZipFile(window)
        except zipfile.BadZipFile:
            refuse(f"is cut off, or damaged: the end of the archive is missing. {AGAIN}")
        entries = {entry.filename: entry for entry in archive.infolist()}
        roots = [name.removesuffix("data.pkl") for name in entries if re.fullmatch(r"[^/]+/data\.pkl", name)]
        if len(roots) != 1:
            refuse(
                "is a zip archive, but none that torch.save writes. Unpack it and give the checkpoint in it"
            )
        root = roots[0]
        check(len(entries) == len(archive.infolist()), "two entries have the same name")
        if f"{root}constants.pkl" in entries or any(name.startswith(f"{root}code/") for name in entries):
            refuse("is a TorchScript program. Load it in torch and save its state_dict() by torch.save")

        def place(name: str) -> Window:
            entry = entries.get(root + name)
            if entry is None:
                refuse(f"is damaged: a tensor is not in the archive. {AGAIN}")
            if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
                refuse(
                    "has compressed or encrypted entries, which torch.save never writes. Save it anew by torch.save"
                )
            at = entry.header_offset
            header = self.content[max(at, 0) : at + 30]
            check(header[:4] == b"PK\3\4" and len(header) == 30, "an entry is not where the archive says")
            at += 30 + sum(struct.unpack("<HH", header[26:]))
            check(at + entry.file_size <= self.size, "an entry ends after the archive")
            return Window(self.content, at, at + entry.file_size, self.budget)

        if f"{root}byteorder" in entries and place("byteorder").read() != b"little":
            refuse(_ORDER)
        storages: dict[str, Storage] = {}

        def persistent(pid: Any) -> Storage:
            storage = _persistent(pid, 5, storages, self.content)
            if storage.start < 0:
                window = place(f"data/{pid[2]}")
                check(
                    storage.numel * storage.dtype.itemsize <= window.stop - window.at, "a tensor is cut off"
                )
                storage.start = window.at
            return storage

        def load(blob: Blob) -> Any:
            return self._pickles(Window(blob.content, blob.start, blob.stop, self.budget), 1)

        return Machine(place("data.pkl"), load, persistent).run()

    def _numbers(self, content: Content, start: int, numel: int, dtype: torch.dtype) -> Tensor:
        """Flat numbers of the file, in their place where one can compute with them there."""
        self.tensors += 1
        self.bytes += numel * dtype.itemsize
        if self.tensors > MOST_TENSORS or self.bytes > self.size:
            refuse(_MANY)
        if not numel:
            return torch.empty(0, dtype=dtype)
        check(0 <= start <= len(content) - numel * dtype.itemsize, "a tensor lies outside of it")
        held: mmap.mmap | bytearray
        if isinstance(content, bytes):
            held, start = bytearray(content[start : start + numel * dtype.itemsize]), 0
        else:
            held = content
        if dtype == torch.bool:  # any byte but 0 is true, and only 1 is safe
            return torch.frombuffer(held, dtype=torch.uint8, count=numel, offset=start) != 0
        if start % _ALIGNMENT == 0:
            return torch.frombuffer(held, dtype=dtype, count=numel, offset=start)
        if self.size <= HELD:
            near = torch.frombuffer(held, dtype=torch.uint8, count=numel * dtype.itemsize, offset=start)
            return near.clone().view(dtype)
        flat = torch.empty(numel, dtype=dtype)  # not by the map, whose pages would stay beside it
        self.file.seek(start)
        into: Any = flat.view(torch.uint8).numpy()
        length = self.file.readinto(into)
        check(length == numel * dtype.itemsize, "it became shorter while it was read")
        return flat

    def _flat(self, storage: Storage) -> Tensor:
        if storage.flat is None:
            storage.flat = self._numbers(storage.content, storage.start, storage.numel, storage.dtype)
        return storage.flat

    def _view(self, view: View) -> Tensor:
        self.views += 1
        if self.views > MOST_TENSORS:
            refuse(_MANY)
        flat = self._flat(view.storage)
        if view.dtype is not None:
            flat = flat[: len(flat) // view.dtype.itemsize * view.dtype.itemsize].view(view.dtype)
        return flat.as_strided(view.size, view.stride, view.offset)

    def _array(self, array: Array) -> Any:
        if array.dtype is None or array.dtype.code is None or array.data is None:
            return Thing("numpy.ndarray")  # of text or objects, which no network has
        stored = np.dtype(f"{array.dtype.order}{array.dtype.code}")
        shape, native = array.shape or (), stored.newbyteorder("=")
        numel = int(np.prod(shape, dtype=object))
        data = array.data
        check(data.stop - data.start == numel * stored.itemsize, "an array has another size than its numbers")
        if array.shape is None:  # a scalar
            return np.frombuffer(data.content[data.start : data.stop], stored)[0].item()
        flat = self._numbers(data.content, data.start, numel, torch.from_numpy(np.empty(0, native)).dtype)
        if not stored.isnative:
            flat = torch.from_numpy(flat.numpy().byteswap())
        if array.fortran:
            return flat.reshape(shape[::-1]).permute(tuple(reversed(range(len(shape)))))
        return flat.reshape(shape)

    def settle(self, value: Any, depth: int) -> tuple[Any, int]:
        """What the machine made as content, and how many values one meets on a walk through it."""
        if value is None or type(value) in (bool, int, float, str, bytes, Tensor):
            return value, 1
        if depth > DEEPEST:
            refuse(f"has more than {DEEPEST} levels of lists and objects; no checkpoint needs as many")
        # The machine's values live for as long as this does, so no number is given twice.
        if (key := id(value)) in self.settled:
            found = self.settled[key]
            if found is None:
                refuse("holds an object that contains itself, which no checkpoint needs")
            return found
        self.settled[key] = None
        found = self.settled[key] = self._settle(value, depth + 1)
        if found[1] > MOST_VALUES:
            refuse(f"unfolds into more than {MOST_VALUES:,} values; no checkpoint needs as many")
        return found

    def _settle(self, value: Any, depth: int) -> tuple[Any, int]:
        match value:
            case Name():
                return Thing(str(value)), 1
            case list() | tuple():
                items = [self.settle(item, depth) for item in value]
                return type(value)(item for item, _ in items), 1 + sum(met for _, met in items)
            case dict():
                named = {key: self.settle(item, depth) for key, item in value.items()}
                return {key: item for key, (item, _) in named.items()}, 1 + sum(
                    met for _, met in named.values()
                )
            case set():
                return value, 1 + len(value)
            case Thing():
                parts = [
                    self.settle(part, depth) for part in (value.args, value.kwargs, value.state, value.items)
                ]
                return Thing(value.name, *(part for part, _ in parts)), 1 + sum(met for _, met in parts)
            case View():
                return self._view(value), 1
            case Storage():
                return self._flat(value), 1
            case Array():
                return self._array(value), 1
            case Blob():
                return Window(self.content, 0, 0, self.budget).bytes(value), 1
            case DType():
                return Thing("numpy.dtype", (value.code,)), 1
            case _:
                raise Refusal(f"is damaged: it holds something that is no data. {AGAIN}")


def _persistent(pid: Any, length: int, storages: dict[str, Storage], content: Content) -> Storage:
    """The storage of a persistent id: ("storage", class, key, device, how many numbers)."""
    check(
        type(pid) is tuple and len(pid) == length and type(pid[0]) is str,
        "it refers to something that is no tensor",
    )
    check(pid[0] == "storage" and type(pid[2]) is str, "it refers to something that is no tensor")
    found = (
        re.fullmatch(r"torch\.(?:cuda\.|storage\.)?(\w+)Storage", pid[1]) if type(pid[1]) is Name else None
    )
    if found is None or found[1] not in STORAGES:
        refuse("has tensors of a type that ganvas does not read (quantised ones, say)")
    new = Storage(STORAGES[found[1]], count(pid[4]), content)
    storage = storages.setdefault(pid[2], new)
    check((storage.dtype, storage.numel) == (new.dtype, new.numel), "two tensors disagree on their numbers")
    return storage


def _old_persistent(pid: Any, storages: dict[str, Storage], content: Content) -> Any:
    if type(pid) is tuple and len(pid) == 4 and type(pid[0]) is str and pid[0] == "module":
        return pid[1]  # a class, with its source, which is not looked at
    check(type(pid) is tuple and len(pid) == 6, "it refers to something that is no tensor")
    if pid[5] is not None:
        refuse("has storages within storages, as torch wrote before 0.4. Save it anew by a newer torch")
    return _persistent(pid, 6, storages, content)


_ORDER = "was written on a machine with another order of bytes. Save it anew on a usual one"
_MANY = "has more tensors than its size allows, or than any checkpoint needs"
_OTHERS: list[tuple[bytes, str]] = [
    (rb"version https://git-lfs", "is a Git LFS pointer, not the checkpoint. Fetch that by: git lfs pull"),
    (rb"\s*(<!doctype|<html|<head|<\?xml|<!--)", "is a web page, not a checkpoint: the server asked for a confirmation or "
     "a login. Open the address in a browser and save the file from there"),
    (rb"\s*[{\[]\s*[\"{}\[\]]", "is JSON text, not a checkpoint: a config, or a server's error message"),
    (rb"[A-Z][a-z]+ \w", "is text, not a checkpoint: a server's error message? Read it, and fetch the file again"),
    (rb"\x89HDF\r\n", "is an HDF5 file of Keras. ganvas reads StyleGAN2's TensorFlow checkpoints as .pkl"),
    (rb"\x93NUMPY", "is one NumPy array, not a checkpoint"),
    (rb"\x08[\x00-\x20](\x12|\x3a|\x1a)", "is an ONNX program. Use the checkpoint that it was made of"),
    (rb"\x0a.{1,4}\x0a.{1,200}\x12", "is a TensorFlow graph. ganvas reads StyleGAN2's TensorFlow checkpoints as .pkl"),
    (rb".{4}TFL3", "is a TensorFlow Lite program. Use the checkpoint that it was made of"),
    (rb"GGUF", "is a GGUF file of a language model"),
    (rb".{257}ustar", "is a tar archive. Unpack it and give the checkpoint in it"),
    (rb"\x1f\x8b|BZh|\xfd7zXZ|\x28\xb5\x2f\xfd|7z\xbc\xaf|Rar!", "is compressed. Unpack it and give the checkpoint in it"),
    (rb"\x89PNG|\xff\xd8\xff|GIF8|RIFF|%PDF", "is a picture or a document, not a checkpoint"),
]  # fmt: skip
"""What people give by mistake: how it begins, and what to say."""
