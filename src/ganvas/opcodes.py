"""The instructions of pickles, run on inert values: what a pickle asks to import or call stays a name.

`pickletools` says how each instruction looks and runs none. The names that stand for data (tensors, arrays, dicts)
become that data after every size is checked; what is made with any other is a `Thing`. `ganvas.inert` reads whole files.
"""

import math
import mmap
import pickletools
import re
import struct
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Never

import torch

MOST_STEPS = 2**19
"""Instructions of all pickles in a file, plus the items that they copy; a StyleGAN3 snapshot has some 60,000."""
MOST_TEXT = 2**27
"""Bytes of all text and of bytes that are no numbers; the sources that NVIDIA's files carry have 100 kB each."""
LONGEST_PART = 2**22
"""Bytes of a line of text or of an archive's directory."""
MOST_NUMBERS = 2**15
"""Keys of dicts and sets that are numbers; an optimiser has one for each parameter."""
LARGEST_INT = 512
"""Bytes of an integer."""
LONGEST_NAME = 300
MOST_DIMENSIONS = 16
LARGEST_SIZE = 2**40
AGAIN = "Fetch it again, or save it anew"


class Refusal(Exception):
    """What is wrong, as the end of a sentence that begins with the file's name."""


def refuse(reason: str) -> Never:
    raise Refusal(reason)


def check(good: bool, reason: str) -> None:
    """Refuse as damaged."""
    if not good:
        raise Refusal(f"is damaged: {reason}. {AGAIN}")


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


Content = mmap.mmap | bytes
"""The file, or bytes that it holds as text."""

# What is on the machine's stack before it is content.


class Name(str):
    """A class or function, "module.name"."""

    __slots__ = ()


@dataclass(eq=False, slots=True)
class Blob:
    """Bytes, not looked at."""

    content: Content
    start: int
    stop: int


@dataclass(eq=False, slots=True)
class Storage:
    """The numbers of torch tensors; an old file says where they start behind its pickles."""

    dtype: torch.dtype
    numel: int
    content: Content
    start: int = -1
    flat: torch.Tensor | None = None


@dataclass(eq=False, slots=True)
class View:
    """A tensor, checked to lie in its storage. `dtype` reads a storage of bytes as something else."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype | None = None


@dataclass(eq=False, slots=True)
class DType:
    """A NumPy type; without code where it is no number of up to eight bytes."""

    code: str | None
    order: str = "="


@dataclass(eq=False, slots=True)
class Array:
    """A NumPy array; a scalar has no shape."""

    dtype: DType | None = None
    shape: tuple[int, ...] | None = None
    fortran: bool = False
    data: Blob | None = None


class Budget:
    """What all pickles of a file have cost."""

    def __init__(self) -> None:
        self.steps = self.text = self.numbers = self.copied = 0

    def number(self) -> None:
        """A number that is a key: its hash is itself, so that places in a dict can be chosen to meet."""
        self.numbers += 1
        if self.numbers > MOST_NUMBERS:
            refuse(f"has more than {MOST_NUMBERS:,} numbers as keys; no checkpoint needs as many")

    def step(self, count: int) -> None:
        self.steps += count
        if self.steps > MOST_STEPS:
            refuse(f"has more than {MOST_STEPS:,} instructions; no checkpoint needs as many")

    def read(self, length: int) -> None:
        self.text += length
        if self.text > MOST_TEXT:
            refuse(
                f"has more than {MOST_TEXT:,} bytes of text, or of numbers in text: protocols below 3 write them so. "
                "Pickle it anew with protocol=4"
            )

    def copy(self, length: int) -> None:
        """Text that becomes bytes: a file may ask for the same again and again."""
        self.copied += length
        if self.copied > MOST_TEXT:
            refuse("has the same text as numbers again and again, which no checkpoint needs")


class Window:
    """A part of the file as the standard library's readers want it; none gets much at once."""

    def __init__(self, content: Content, start: int, stop: int, budget: Budget) -> None:
        self.content, self.at, self.stop, self.budget = content, start, stop, budget

    def read(self, size: int = -1) -> bytes:
        stop = self.stop if size < 0 else min(self.stop, self.at + size)
        if stop - self.at > LONGEST_PART:
            refuse(
                f"has a part of more than {LONGEST_PART:,} bytes that is no tensor; no checkpoint needs it"
            )
        data = self.content[self.at : stop]
        self.at = max(self.at, stop)
        return data

    def readline(self) -> bytes:
        end = self.content.find(b"\n", self.at, min(self.stop, self.at + LONGEST_PART))
        line = self.read(end + 1 - self.at) if end >= 0 else b""
        self.budget.read(len(line))
        return line

    def seek(self, offset: int, whence: int = 0) -> int:
        self.at = max(0, (0, self.at, self.stop)[whence] + offset)
        return self.at

    def tell(self) -> int:
        return self.at

    def blob(self, form: str) -> Blob:
        """Bytes after their length, which is not believed."""
        (length,) = struct.unpack(form, self.read(struct.calcsize(form)))
        start = self.at
        if length > self.stop - start:
            refuse(f"is cut off: it ends before its content does. {AGAIN}")
        self.at += length
        return Blob(self.content, start, self.at)

    def bytes(self, blob: Blob) -> bytes:
        self.budget.read(blob.stop - blob.start)
        return blob.content[blob.start : blob.stop]


_LENGTHS = {
    "SHORT_BINBYTES": "<B", "BINBYTES": "<I", "BINBYTES8": "<Q", "BYTEARRAY8": "<Q", "SHORT_BINUNICODE": "<B",
    "BINUNICODE": "<I", "BINUNICODE8": "<Q", "SHORT_BINSTRING": "<B", "BINSTRING": "<I",
}  # fmt: skip
_KINDS = {
    "GET": "GET BINGET LONG_BINGET",
    "PUT": "PUT BINPUT LONG_BINPUT",
    "BYTES": "SHORT_BINBYTES BINBYTES BINBYTES8 BYTEARRAY8",
    "TEXT": "SHORT_BINUNICODE BINUNICODE BINUNICODE8",
    "OLD TEXT": "SHORT_BINSTRING BINSTRING",
    "VALUE": "BININT BININT1 BININT2 BINFLOAT LONG1 LONG4 INT LONG FLOAT UNICODE STRING",
    "NOTHING": "PROTO FRAME",
}
_KIND = {name: kind for kind, names in _KINDS.items() for name in names.split()}


def _quiet(reader: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A reader of lines of text: Python warns of escapes in them that it does not know, which is nobody's business here."""

    def read(window: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return reader(window)

    return read


def _reader(operation: pickletools.OpcodeInfo) -> Callable[[Any], Any] | None:
    if operation.arg is None:
        return None
    return _quiet(operation.arg.reader) if "stringnl" in operation.arg.name else operation.arg.reader


_OPERATIONS: dict[int, tuple[str, str, Any]] = {
    ord(each.code): (each.name, _KIND.get(each.name, each.name), _reader(each))
    for each in pickletools.opcodes
}
"""Byte -> name, name of those that do the same, reader of its argument."""


class Machine:
    """Runs one pickle. `persistent` answers its persistent ids, `load` reads the file within a blob."""

    def __init__(
        self,
        window: Window,
        load: Callable[[Blob], Any],
        persistent: Callable[[Any], Any] | None = None,
    ) -> None:
        self.window, self.load, self.persistent = window, load, persistent
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        """The object of the pickle. The window is left behind it."""
        window, content, step = self.window, self.window.content, self.window.budget.step
        while True:
            if window.at >= window.stop:
                refuse(f"is cut off: it ends before its content does. {AGAIN}")
            operation = _OPERATIONS.get(content[window.at])
            if operation is None:
                refuse(f"is neither torch.save's nor a pickle, or it is damaged. {AGAIN}")
            window.at += 1
            step(1)
            name, kind, reader = operation
            if kind == "STOP":
                return self.stack.pop()
            if name in _LENGTHS:
                self._text(kind, window.blob(_LENGTHS[name]))
            else:
                self._step(kind, reader(window) if reader else None)

    def _text(self, kind: str, blob: Blob) -> None:
        if kind == "BYTES":
            self.stack.append(blob)
        else:
            data = self.window.bytes(blob)
            text = data.decode("latin-1") if kind == "OLD TEXT" else data.decode("utf-8", "surrogatepass")
            self.stack.append(_printable(text))

    def _step(self, kind: str, argument: Any) -> None:
        stack = self.stack
        match kind:
            case "GET":
                stack.append(self.memo[argument])
            case "PUT":
                # Written as text it may be any number: of those with one hash each looks at all before it.
                check(0 <= argument < MOST_STEPS, "it keeps more than it has")
                self.memo[argument] = stack[-1]
            case "MEMOIZE":
                self.memo[len(self.memo)] = stack[-1]
            case "VALUE":
                if type(argument) is int and argument.bit_length() > 8 * LARGEST_INT:
                    refuse("has an integer that is larger than any checkpoint needs")
                stack.append(_printable(argument) if type(argument) is str else argument)
            case "MARK":
                self.marks.append(stack)
                self.stack = []
            case "NONE" | "NEWTRUE" | "NEWFALSE":
                stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[kind])
            case "EMPTY_TUPLE" | "EMPTY_LIST" | "EMPTY_DICT" | "EMPTY_SET":
                stack.append(
                    {"EMPTY_TUPLE": (), "EMPTY_LIST": [], "EMPTY_DICT": {}, "EMPTY_SET": set()}[kind]
                )
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                start = len(stack) - int(kind[-1])
                check(start >= 0, "a tuple lacks its items")
                stack[start:] = [tuple(stack[start:])]
            case "TUPLE" | "LIST":
                items = self._marked()
                self.stack.append(tuple(items) if kind == "TUPLE" else items)
            case "REDUCE" | "NEWOBJ":
                arguments, called = stack.pop(), stack.pop()
                stack.append(self.make(called, arguments, {}, new=kind == "NEWOBJ"))
            case "NEWOBJ_EX":
                keywords, arguments, called = stack.pop(), stack.pop(), stack.pop()
                stack.append(self.make(called, arguments, keywords, new=True))
            case "BUILD":
                state = stack.pop()
                self._build(stack[-1], state)
            case "SETITEM":
                value, key = stack.pop(), stack.pop()
                self.put(stack[-1], [key, value])
            case "SETITEMS" | "DICT":
                items = self._marked()
                if kind == "DICT":
                    self.stack.append({})
                self.put(self.stack[-1], items)
            case "APPEND" | "APPENDS":
                items = self._marked() if kind == "APPENDS" else [stack.pop()]
                _append(self.stack[-1], items)
            case "ADDITEMS" | "FROZENSET":
                items = self._marked()
                if kind == "FROZENSET":
                    self.stack.append(set())
                check(type(self.stack[-1]) is set, "it adds to something that is no set")
                self.stack[-1].update(self.key(item) for item in items)
            case "GLOBAL":
                stack.append(_name(*argument.split(" ", 1)))
            case "STACK_GLOBAL":
                attribute, module = stack.pop(), stack.pop()
                stack.append(_name(module, attribute))
            case "BINPERSID" if self.persistent is not None:
                stack.append(self.persistent(stack.pop()))
            case "POP" | "POP_MARK":
                if kind == "POP" and stack:
                    stack.pop()
                else:
                    self._marked()
            case "DUP":
                stack.append(stack[-1])
            case "NOTHING":
                pass
            case _:
                refuse(
                    f"uses the instruction {kind} of pickles, which no checkpoint needs: it is damaged or hostile"
                )

    def _marked(self) -> list[Any]:
        items, self.stack = self.stack, self.marks.pop()
        return items

    def key(self, key: Any) -> Any:
        """A key of a dict or set: nothing whose hash takes long, or could be chosen."""
        if type(key) is Blob:
            return self.window.bytes(key)
        if type(key) is Name:  # Lightning before 1.5 kept what its callbacks know by their classes
            return str(key)
        small = type(key) is int and abs(key) < sys.hash_info.modulus
        if not (small or key is None or type(key) in (str, bytes, float, bool)):
            refuse("has a dict or set whose keys are no names or numbers, which no checkpoint needs")
        if type(key) in (int, float):
            self.window.budget.number()
        return key

    def put(self, target: Any, items: list[Any]) -> None:
        """Keys and values by turns into a dict or a Thing."""
        if type(target) is Thing:
            target = target.items
        check(type(target) is dict, "it puts items into something that is no dict")
        check(len(items) % 2 == 0, "a key has no value")
        target.update(zip(map(self.key, items[::2]), items[1::2], strict=True))

    def make(self, called: Any, arguments: Any, keywords: dict[str, Any], *, new: bool) -> Any:
        """What a call gives: data for the names that stand for it, else a Thing. `new` makes an object, without __init__."""
        if type(called) is not Name:
            refuse("calls what is no name: it is damaged or hostile")
        check(type(arguments) is tuple and type(keywords) is dict, "a call has no arguments")
        self.window.budget.step(len(arguments))
        if called.endswith(".EasyDict"):
            return _dict(self, *arguments)
        if called.endswith("persistence._reconstruct_persistent_obj"):
            return _persistent_object(*arguments)
        if called in MAKERS and not new and not keywords:
            return MAKERS[called](self, *arguments)
        return Thing(str(called), arguments, keywords)

    def _build(self, target: Any, state: Any) -> None:
        """The attributes of an object, or what completes an array or its type."""
        match target:
            case Thing():
                target.state = state
            case DType():
                check(type(state) is tuple and len(state) > 1, "a type is incomplete")
                check(type(state[1]) is str and state[1] in "<>|=", "a type has no order of bytes")
                target.order = state[1]
            case Array(dtype=None):
                check(
                    type(state) is tuple and len(state) == 5 and type(state[2]) is DType,
                    "an array has no type",
                )
                target.shape, target.dtype, target.fortran = sizes(state[1]), state[2], state[3] is True
                target.data = _data(self, state[4])
            case dict() if type(state) is dict:
                # What hangs on an ordered dict: torch's _metadata, which nothing here needs.
                self.window.budget.step(len(state))
                check(all(type(key) is str and key[:2] != "__" for key in state), "a dict has odd attributes")
            case _:
                refuse("gives attributes to what can have none: it is damaged or hostile")


def _printable(text: str) -> str:
    """Halves of characters, which cannot be written to any file, replaced."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _append(target: Any, items: list[Any]) -> None:
    if type(target) is Thing:
        target.items.update(enumerate(items, len(target.items)))
    else:
        check(type(target) is list, "it appends to something that is no list")
        target.extend(items)


_PLAIN = frozenset(
    [
        "builtins.set",
        "builtins.frozenset",
        "builtins.list",
        "builtins.dict",
        "builtins.tuple",
        "builtins.int",
        "builtins.float",
        "builtins.bool",
        "builtins.complex",
        "builtins.str",
        "builtins.bytes",
        "builtins.bytearray",
        "builtins.object",
        "builtins.slice",
        "builtins.range",
        "builtins.type",
        "builtins.getattr",
        "builtins.abs",
        "builtins.max",
        "builtins.min",
        "builtins.sum",
        "builtins.round",
        "builtins.len",
        "collections.OrderedDict",
        "collections.defaultdict",
        "collections.deque",
        "collections.Counter",
        "copyreg._reconstructor",
        "copyreg.__newobj_ex__",
        "_codecs.encode",
        "argparse.Namespace",
        "types.SimpleNamespace",
        "functools.partial",
        "enum.Enum",
        "pathlib.Path",
        "pathlib.PosixPath",
        "pathlib.WindowsPath",
        "pathlib.PurePath",
        "pathlib.PurePosixPath",
        "pathlib.PureWindowsPath",
        "pathlib._local.PosixPath",
        "pathlib._local.WindowsPath",
        "datetime.datetime",
        "datetime.date",
        "datetime.time",
        "datetime.timedelta",
        "datetime.timezone",
        "decimal.Decimal",
        "fractions.Fraction",
        "uuid.UUID",
        "random.Random",
        "itertools.count",
        "logging.getLogger",
        "logging.Logger",
        "re._compile",
        "array._array_reconstructor",
        "time.struct_time",
        "math.sqrt",
        "math.log",
        "math.exp",
        "typing.Any",
    ]
)
"""Names of Python's own library that checkpoints have. Its others start programs and open files."""
_OLD_MODULES = {"__builtin__": "builtins", "copy_reg": "copyreg"}
_LIBRARY = sys.stdlib_module_names | {"commands", "urllib2"}


def _name(module: Any, attribute: Any) -> Name:
    check(type(module) is str and type(attribute) is str, "a class in it has no name")
    name = f"{_OLD_MODULES.get(module, module)}.{attribute}"
    check(
        len(name) <= LONGEST_NAME and re.fullmatch(r"\w+(\.\w+)+", name) is not None,
        "a class in it has no name",
    )
    if name.split(".")[0] in _LIBRARY and name not in _PLAIN:
        refuse(
            f"asks for {name[:60]}, which no checkpoint needs: it is hostile. Nothing of it was run here; do not open it "
            "in other programs"
        )
    return Name(name)


def count(value: Any) -> int:
    check(type(value) is int and 0 <= value < LARGEST_SIZE, "a size in it is no size")
    return int(value)


def sizes(value: Any) -> tuple[int, ...]:
    check(type(value) is tuple and len(value) <= MOST_DIMENSIONS, "a tensor has no shape")
    return tuple(count(size) for size in value)


def _data(machine: Machine, value: Any) -> Blob | None:
    """The bytes of an array, which Python 2 wrote as text; None for a list of objects."""
    if type(value) is str:
        machine.window.budget.copy(len(value))
        value = value.encode("latin-1")
    return Blob(value, 0, len(value)) if type(value) is bytes else value if type(value) is Blob else None


# What the names that stand for data make: each is called with the machine and the arguments that the file has.


def _dict(machine: Machine, content: Any = ()) -> dict[Any, Any]:
    """dict, OrderedDict, EasyDict: of nothing, of a dict, or of a list of pairs."""
    check(type(content) in (dict, list, tuple), "a dict in it is of no pairs")
    machine.window.budget.step(len(content))
    if type(content) is dict:
        return dict(content)
    made: dict[Any, Any] = {}
    for pair in content:
        check(type(pair) in (list, tuple) and len(pair) == 2, "a dict in it is of no pairs")
        made[machine.key(pair[0])] = pair[1]
    return made


def _default_dict(machine: Machine, factory: Any = None, content: Any = ()) -> dict[Any, Any]:
    return _dict(machine, content)


def _items(machine: Machine, content: Any = ()) -> list[Any]:
    check(type(content) in (list, tuple, set), "a list in it is of no items")
    machine.window.budget.step(len(content))
    return list(content)


def _tuple(machine: Machine, content: Any = ()) -> tuple[Any, ...]:
    return tuple(_items(machine, content))


def _set(machine: Machine, content: Any = ()) -> set[Any]:
    return {machine.key(item) for item in _items(machine, content)}


def _encode(machine: Machine, text: Any, encoding: Any = "latin1") -> bytes:
    """_codecs.encode, by which protocols below 3 have bytes."""
    check(
        type(text) is str and type(encoding) is str and encoding in ("latin1", "latin-1"),
        "bytes in it are no bytes",
    )
    machine.window.budget.read(len(text))
    return str(text).encode("latin-1")


def _no_bytes(machine: Machine) -> bytes:
    return b""


def _reconstructed(machine: Machine, kind: Any, base: Any, content: Any = None) -> Any:
    """copyreg._reconstructor, by which protocols below 2 have objects."""
    made = machine.make(kind, (), {}, new=True)
    if content is not None and type(base) is Name and base == "builtins.dict":
        made = (
            _dict(machine, content) if type(made) is dict else Thing(str(kind), items=_dict(machine, content))
        )
    elif content is not None and type(base) is Name and base == "builtins.list":
        made = Thing(str(kind), items=dict(enumerate(_items(machine, content))))
    return made


def _with_keywords(machine: Machine, kind: Any, arguments: Any, keywords: Any) -> Any:
    """copyreg.__newobj_ex__, by which protocols below 4 have objects of keywords."""
    return machine.make(kind, arguments, keywords, new=True)


def _persistent_object(meta: Any) -> Thing:
    """torch_utils.persistence: NVIDIA's objects carry the source of their class, which is not looked at."""
    check(type(meta) is dict, "a network in it has no description")
    name, state = meta.get("class_name"), meta.get("state")
    if meta.get("type") != "class" or type(meta.get("version")) is not int:
        refuse(
            "has a network of another torch_utils.persistence. Save it anew by the official code of StyleGAN3"
        )
    check(
        type(name) is str and len(name) <= LONGEST_NAME and type(state) is dict,
        "a network in it has no state",
    )
    return Thing(name, state=state)


def _tensor(machine: Machine, storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> View:
    """torch._utils._rebuild_tensor and _v2."""
    check(type(storage) is Storage, "a tensor has no numbers")
    return _view(storage, storage.numel, offset, size, stride, None)


def _typed_tensor(
    machine: Machine,
    storage: Any,
    offset: Any,
    size: Any,
    stride: Any,
    grad: Any,
    hooks: Any,
    dtype: Any,
    *_: Any,
) -> View:
    """torch._utils._rebuild_tensor_v3: a type for a storage of bytes."""
    wanted = DTYPES.get(dtype) if type(dtype) is Name else None
    if wanted is None:
        refuse("has tensors of a type that ganvas does not read")
    check(type(storage) is Storage and storage.dtype == torch.uint8, "a tensor has no bytes")
    return _view(storage, storage.numel // wanted.itemsize, offset, size, stride, wanted)


def _view(
    storage: Storage, numel: int, offset: Any, size: Any, stride: Any, dtype: torch.dtype | None
) -> View:
    offset, size, stride = count(offset), sizes(size), sizes(stride)
    check(len(size) == len(stride), "a tensor lacks strides")
    if 0 in size:
        check(max(size) <= 2**31, "an empty tensor is large")
        return View(storage, 0, size, (0,) * len(size), dtype)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    check(last < numel and math.prod(size) <= numel, "a tensor is larger than its numbers")
    return View(storage, offset, size, stride, dtype)


def _parameter(machine: Machine, data: Any, *_: Any) -> View:
    check(type(data) is View, "a parameter is no tensor")
    return data  # type: ignore[no-any-return]


def _subclassed(machine: Machine, function: Any, kind: Any, arguments: Any, state: Any) -> Any:
    """torch._tensor._rebuild_from_type_v2: a tensor with attributes, or of a class of its own."""
    if type(function) is not Name or not function.startswith("torch._utils._rebuild_tensor"):
        refuse("has tensors of a kind that ganvas does not read")
    return machine.make(function, arguments, {}, new=False)


def _loaded(machine: Machine, data: Any) -> Any:
    """torch.storage._load_from_bytes: a whole old torch file, which torch would unpickle without a question."""
    blob = _data(machine, data)
    if blob is None:
        refuse(f"is damaged: a tensor has no bytes. {AGAIN}")
    return machine.load(blob)


def _new_array(machine: Machine, *_: Any) -> Array:
    return Array()


def _dtype(machine: Machine, code: Any, *_: Any) -> DType:
    return DType(code if type(code) is str and re.fullmatch(r"b1|[iu][1248]|f[248]", code) else None)


def _scalar(machine: Machine, dtype: Any, data: Any = None) -> Array:
    check(type(dtype) is DType, "a number has no type")
    return Array(dtype, None, False, _data(machine, data))


def _buffer(machine: Machine, data: Any, dtype: Any, shape: Any, order: Any = "C") -> Array:
    """numpy's _frombuffer, of protocol 5."""
    check(type(dtype) is DType and type(order) is str and order in ("C", "F"), "an array has no type")
    return Array(dtype, sizes(shape), order == "F", _data(machine, data))


STORAGES = {
    "Double": torch.float64, "Float": torch.float32, "Half": torch.float16, "BFloat16": torch.bfloat16,
    "Long": torch.int64, "Int": torch.int32, "Short": torch.int16, "Char": torch.int8, "Byte": torch.uint8,
    "Bool": torch.bool, "Untyped": torch.uint8, "ComplexFloat": torch.complex64, "ComplexDouble": torch.complex128,
}  # fmt: skip
"""torch.KINDStorage -> type."""
DTYPES = {f"{each}": each for each in (*STORAGES.values(), torch.uint16, torch.uint32, torch.uint64)}
"""torch.NAME -> type."""
MAKERS: dict[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _typed_tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch._tensor._rebuild_from_type_v2": _subclassed,
    "torch.storage._load_from_bytes": _loaded,
    "torch.Size": _tuple,
    "collections.OrderedDict": _dict,
    "collections.defaultdict": _default_dict,
    "builtins.dict": _dict,
    "builtins.set": _set,
    "builtins.frozenset": _set,
    "builtins.list": _items,
    "builtins.tuple": _tuple,
    "builtins.bytes": _no_bytes,
    "_codecs.encode": _encode,
    "copyreg._reconstructor": _reconstructed,
    "copyreg.__newobj_ex__": _with_keywords,
    "numpy.dtype": _dtype,
    **{f"numpy.{core}.multiarray._reconstruct": _new_array for core in ("core", "_core")},
    **{f"numpy.{core}.multiarray.scalar": _scalar for core in ("core", "_core")},
    **{f"numpy.{core}.numeric._frombuffer": _buffer for core in ("core", "_core")},
}
