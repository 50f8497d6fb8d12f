"""The inert reader against pickle and torch.load on files that they wrote, and against files made to harm."""

import argparse
import collections
import io
import pickle
import signal
import struct
import sys
import types
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from ganvas import inert
from ganvas.errors import GanvasError


def written(folder: Path, content: bytes) -> Path:
    path = folder / "checkpoint"
    path.write_bytes(content)
    return path


def saved(value: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


def same(found: Any, expected: Any) -> None:
    """Plain data is equal, with its types; tensors have the same type, shape and bits."""
    match expected:
        case torch.Tensor():
            assert type(found) is torch.Tensor
            assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
            assert torch.equal(found, expected.detach())
        case np.ndarray():
            same(found, torch.from_numpy(np.array(expected, expected.dtype.newbyteorder("="), order="C")))
        case np.generic():
            same(found, expected.item())
        case dict():
            assert type(found) is dict
            assert list(found) == list(expected)
            for key, value in expected.items():
                same(found[key], value)
        case list() | tuple():
            assert type(found) in (list, tuple)
            assert len(found) == len(expected)
            for one, other in zip(found, expected, strict=True):
                same(one, other)
        case argparse.Namespace():
            assert found.name == "argparse.Namespace"
            same(found.state, vars(expected))
        case frozenset():
            assert found == set(expected)
        case _:
            assert type(found) is type(expected)
            assert found == expected


KINDS = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16,
         torch.int8, torch.uint8, torch.bool, torch.complex64, torch.uint16, torch.uint32]  # fmt: skip


UNSIGNED = [torch.uint16, torch.uint32]
"""Of which torch itself reads no old files."""


def tensors(*, old: bool = False) -> dict[str, Any]:
    random = torch.Generator().manual_seed(0)
    found: dict[str, Any] = {
        f"{kind}": (100 * torch.rand(3, 5, generator=random)).to(kind)
        for kind in KINDS
        if not (old and kind in UNSIGNED)
    }
    whole = torch.randn(4, 6, generator=random)
    found |= {
        "whole": whole,
        "transposed": whole.t(),
        "part": whole[1:3, ::2],
        "widened": whole[:1].expand(3, 6),
        "last": torch.randn(2, 4, 3, 3, generator=random).to(memory_format=torch.channels_last),
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 7),
        "parameter": nn.Parameter(torch.randn(3, generator=random)),
    }
    return found


PLAIN = {
    "none": None, "yes": True, "no": False, "small": 7, "byte": 255, "minus": -70000, "large": 2**100, "half": 0.5,
    "text": "ä 写", "long": "x" * 70_000, "bytes": b"\0\1\xff", "more bytes": bytes(range(256)) * 300,
    "list": [1, [2.0, "three"]], "tuples": ((), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)), "set": {1, "a"},
    "frozen": frozenset({3}), "dict": {1: "a", None: "b", 0.5: "c", b"d": "e"},
    "ordered": collections.OrderedDict(a=1, b=2), "default": collections.defaultdict(list, a=[1]),
    "options": argparse.Namespace(size=256, path=None),
}  # fmt: skip


class Attributes(dict[str, Any]):
    """Like dnnlib.EasyDict."""


Attributes.__qualname__ = Attributes.__name__ = "EasyDict"
EasyDict = Attributes


@pytest.mark.parametrize("new", [True, False])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_files_of_torch_are_read_as_torch_reads_them(tmp_path: Path, new: bool, protocol: int) -> None:
    content = saved(
        {**tensors(old=not new), **PLAIN, "attributes": EasyDict(a=1)},
        _use_new_zipfile_serialization=new,
        pickle_protocol=protocol,
    )
    path = written(tmp_path, content)
    same(inert.read(path), dict(torch.load(path, weights_only=False)))


@pytest.mark.parametrize("protocol", range(6))
def test_plain_pickles_are_read_as_pickle_reads_them(tmp_path: Path, protocol: int) -> None:
    """Tensors in them are whole old torch files within bytes."""
    content = pickle.dumps({**tensors(old=True), **PLAIN, "attributes": EasyDict(a=1)}, protocol)
    same(inert.read(written(tmp_path, content)), pickle.loads(content))


@pytest.mark.parametrize("protocol", range(6))
def test_arrays_become_tensors(tmp_path: Path, protocol: int) -> None:
    values = np.arange(24).reshape(2, 3, 4)
    arrays: dict[str, Any] = {
        code: values.astype(code)
        for code in ["<f2", "<f4", "<f8", ">f2", ">f4", ">f8", ">i4", "<i8", ">u2", "u1", "i1", "b1"]
    }
    arrays |= {
        "columns": np.asfortranarray(values, "f4"),
        "columns, swapped": np.asfortranarray(values, ">f8"),
        "part": values[:, ::2],
        "none": np.zeros((0, 3), "f4"),
        "point": np.array(2.5, "f4"),
        "number": np.float32(2.5),
        "swapped number": np.dtype(">i8").type(-3),
        "yes": np.bool_(True),
    }
    content = pickle.dumps(arrays, protocol)
    same(inert.read(written(tmp_path, content)), pickle.loads(content))


def test_what_shares_numbers_shares_them(tmp_path: Path) -> None:
    """Tied weights stay tied, and what is written into a tensor does not reach the file."""
    weight = torch.arange(600.0)
    for new in (True, False):
        content = saved({"a": weight, "b": weight[3:], "c": weight}, _use_new_zipfile_serialization=new)
        path = written(tmp_path, content)
        found = inert.read(path)
        found["a"][4] = -1
        assert found["b"][1] == found["c"][4] == -1
        assert path.read_bytes() == content


def test_large_files_stay_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers of a new file lie where the file is mapped, not in a copy; those of an old one are not aligned. Small
    files are held: a map of what is written anew meanwhile ends the process.
    """
    path = written(tmp_path, saved({"a": torch.ones(1000), "b": torch.ones(3).half()}))

    def lies_in_file(tensor: torch.Tensor) -> bool:
        maps = [
            line.split() for line in Path("/proc/self/maps").read_text().splitlines() if str(path) in line
        ]
        ranges = [[int(end, 16) for end in line[0].split("-")] for line in maps]
        return any(start <= tensor.data_ptr() < stop for start, stop in ranges)

    monkeypatch.setattr(inert, "HELD", 0)
    found = inert.read(path)
    assert lies_in_file(found["a"])
    assert lies_in_file(found["b"])
    assert not lies_in_file(found["a"].clone())
    monkeypatch.undo()
    held = inert.read(path)
    assert not lies_in_file(held["a"])
    path.write_bytes(b"")
    assert held["a"].sum() == 1000


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 4)
        self.norm = nn.BatchNorm1d(4)
        self.none = None
        self.parts = nn.ModuleList([nn.Conv2d(2, 3, 3, bias=False), nn.PReLU()])
        self.register_buffer("fixed", torch.arange(3))
        self.register_buffer("missing", None)


@pytest.mark.parametrize("new", [True, False])
def test_parameters_of_modules(tmp_path: Path, new: bool) -> None:
    block = Block().half()
    path = written(tmp_path, saved({"model": block}, _use_new_zipfile_serialization=new))
    thing = inert.read(path)["model"]
    assert thing.name == f"{__name__}.Block"
    same(inert.parameters(thing), dict(block.state_dict()))
    path.write_bytes(pickle.dumps(block))
    same(inert.parameters(inert.read(path)), dict(block.state_dict()))
    for other in (inert.Thing("a.B"), inert.Thing("a.B", state={"_modules": {"c": 3}})):
        with pytest.raises(GanvasError, match="no torch module"):
            inert.parameters(other)
    with pytest.raises(GanvasError, match="no tensor"):
        inert.parameters(inert.Thing("a.B", state={"_modules": {}, "_buffers": {"c": 3}}))


def _reconstruct_persistent_obj(meta: Any) -> None:
    """Takes the place of NVIDIA's, whose file is not here."""


class Persistent:
    def __reduce__(self) -> tuple[Any, ...]:
        meta = EasyDict(
            type="class",
            version=6,
            module_src="import os\nos.mkdir('run')",
            class_name="Generator",
            state={"_parameters": {"a": torch.ones(2)}, "_modules": {}, "z_dim": 8},
        )
        return _reconstruct_persistent_obj, (meta,)


def test_nvidias_objects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package, module = types.ModuleType("torch_utils"), types.ModuleType("torch_utils.persistence")
    monkeypatch.setitem(sys.modules, "torch_utils", package)
    monkeypatch.setitem(sys.modules, "torch_utils.persistence", module)
    monkeypatch.setattr(module, "_reconstruct_persistent_obj", _reconstruct_persistent_obj, raising=False)
    monkeypatch.setattr(_reconstruct_persistent_obj, "__module__", "torch_utils.persistence")
    thing = inert.read(written(tmp_path, pickle.dumps({"G_ema": Persistent()})))["G_ema"]
    assert (thing.name, thing.state["z_dim"]) == ("Generator", 8)
    same(inert.parameters(thing), {"a": torch.ones(2)})


class Kept:
    """An object with arguments, keywords, state and items."""

    def __new__(cls, *args: Any, **kwargs: Any) -> "Kept":
        return super().__new__(cls)

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        import copyreg

        new = copyreg.__newobj_ex__  # type: ignore[attr-defined]
        return new, (Kept, (1, torch.ones(2)), {"b": 2}), {"c": 3}, None, iter([("d", 4)])

    def __setitem__(self, key: Any, value: Any) -> None:
        pass


@pytest.mark.parametrize("protocol", [4, 5])
def test_other_objects_stay_things(tmp_path: Path, protocol: int) -> None:
    thing = inert.read(written(tmp_path, pickle.dumps(Kept(), protocol)))
    assert thing.name == f"{__name__}.Kept"
    assert (thing.args[0], thing.kwargs, thing.state, thing.items) == (1, {"b": 2}, {"c": 3}, {"d": 4})
    named = inert.read(written(tmp_path, pickle.dumps([nn.Linear, torch.float16, torch.ones(1)], protocol)))
    assert [each.name for each in named[:2]] == ["torch.nn.modules.linear.Linear", "torch.float16"]


@pytest.mark.parametrize("new", [True, False])
def test_classes_may_be_keys(tmp_path: Path, new: bool) -> None:
    """Checkpoints of Stable Diffusion have them: Lightning before 1.5 kept what its callbacks know by their classes."""
    content = saved(
        {"callbacks": {Kept: {"best": 1}}, "a": torch.ones(1)}, _use_new_zipfile_serialization=new
    )
    assert inert.read(written(tmp_path, content))["callbacks"] == {f"{__name__}.Kept": {"best": 1}}


def test_safetensors_by_another_name(tmp_path: Path) -> None:
    save_file({"a.weight": torch.randn(3, 4)}, tmp_path / "model.bin")
    with pytest.raises(GanvasError, match=r"Rename it to end in \.safetensors"):
        inert.read(tmp_path / "model.bin")


MISTAKES = [
    (b"", "is empty"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n", "git lfs pull"),
    (b"<!DOCTYPE html><html><head>", "is a web page"),
    (b"\n\n <HTML lang=en>", "is a web page"),
    (b'{"error": "not found"}', "is JSON"),
    (b"Entry not found", "is text"),
    (b"\x89HDF\r\n\x1a\n" + bytes(100), "HDF5"),
    (b"\x93NUMPY\x01\0", "NumPy array"),
    (b"\x08\x07\x12\x07pytorch\x1a\x052.1.0", "ONNX"),
    (b"\x0a\x1b\x0a\x05input\x12\x0bPlaceholder", "TensorFlow graph"),
    (b"\x1c\0\0\0TFL3", "TensorFlow Lite"),
    (bytes(257) + b"ustar\0", "tar archive"),
    (b"\x1f\x8b\x08\0", "is compressed"),
    (b"\x89PNG\r\n", "picture"),
    (b"\xff" * 40, "neither torch.save's nor a pickle"),
    (pickle.dumps({"a": 1}), "holds no tensor"),
    (pickle.dumps({"a": np.ones(3)})[:-30], "is cut off"),
    (saved({"a": torch.ones(3)})[:-30], "is cut off"),
    (saved({"a": torch.ones(3)}, _use_new_zipfile_serialization=False)[:-4], "is cut off"),
]


@pytest.mark.parametrize(("content", "sentence"), MISTAKES)
def test_files_given_by_mistake_get_a_sentence(tmp_path: Path, content: bytes, sentence: str) -> None:
    with pytest.raises(GanvasError, match=sentence):
        inert.read(written(tmp_path, content))


def test_folders_and_missing_files(tmp_path: Path) -> None:
    with pytest.raises(GanvasError, match="is a folder"):
        inert.read(tmp_path)
    with pytest.raises(GanvasError, match="No such file"):
        inert.read(tmp_path / "none.pt")


def test_programs_of_torch(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        program = torch.jit.trace(nn.Linear(2, 2), torch.ones(1, 2))
        torch.jit.save(program, tmp_path / "program.pt")
    with pytest.raises(GanvasError, match="TorchScript"):
        inert.read(tmp_path / "program.pt")


# Files made to harm. Each holds a good tensor too, so that it is not refused for want of one.


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


GOOD = pickle.dumps(np.arange(4.0), 4)[11:-1]
COMMAND = text("touch pwned") + b"\x85"
SYSTEM = b"cposix\nsystem\n" + COMMAND + b"R"


def beside(harm: bytes) -> bytes:
    """A pickle of {"good": array, "harm": the value that these instructions push}."""
    return b"\x80\x04}(" + text("good") + GOOD + text("harm") + harm + b"u."


def archive(program: bytes, compression: int = zipfile.ZIP_STORED, **others: bytes) -> bytes:
    """A torch file of this pickle."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as target:
        for name, content in {"data.pkl": program, "data/0": bytes(16), "version": b"3\n", **others}.items():
            target.writestr(f"archive/{name}", content)
    return buffer.getvalue()


def storage(kind: str = "FloatStorage", key: str = "0", numel: bytes = b"K\x04") -> bytes:
    return (
        b"(" + text("storage") + b"ctorch\n" + kind.encode() + b"\n" + text(key) + text("cpu") + numel + b"tQ"
    )


def view(
    offset: bytes = b"K\0", size: bytes = b"K\x02\x85", stride: bytes = b"K\x01\x85", of: bytes | None = None
) -> bytes:
    made = storage() if of is None else of
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + made + offset + size + stride + b"\x89}tR"


def old(program: bytes, keys: bytes, numbers: bytes) -> bytes:
    start = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2)
    return start + pickle.dumps({"little_endian": True}, 2) + program + keys + numbers


def old_view(numel: int = 4, keys: tuple[Any, ...] = ("0",), says: int = 4) -> bytes:
    made = storage(numel=b"J" + struct.pack("<i", numel))[:-2] + b"NtQ"
    return old(
        b"\x80\x02" + view(of=made) + b".", pickle.dumps(list(keys), 2), struct.pack("<q", says) + bytes(16)
    )


def put(index: int) -> bytes:
    return b"r" + struct.pack("<I", 1000 + index)


def get(index: int) -> bytes:
    return b"j" + struct.pack("<I", 1000 + index)


def bytes8(content: bytes) -> bytes:
    return b"B" + struct.pack("<I", len(content)) + content


def long(number: int) -> bytes:
    data = number.to_bytes(number.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8b" + struct.pack("<i", len(data)) + data


def twice(start: bytes, join: bytes, times: int) -> bytes:
    """A value that holds the one before it twice, and so on: exponential to walk or to hash."""
    return start + b"".join(put(i) + b"0" + get(i) + get(i) + join for i in range(times))


def repeated(first: bytes, call: bytes, times: int) -> bytes:
    """A large value made once, and a call of it again and again."""
    return first + put(0) + b"0]" + (call + b"a") * times


def array(shape: bytes = b"K\x04\x85", code: str = "f4", data: bytes = b"", build: bytes = b"b") -> bytes:
    made = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\0\x85C\x01btR"
    kind = (
        b"cnumpy\ndtype\n"
        + text(code)
        + b"\x89\x88\x87R(K\x03"
        + text("<")
        + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb"
    )
    return made + b"(K\x01" + shape + kind + b"\x89" + (data or bytes8(bytes(16))) + b"t" + build


def lied(content: bytes, at: bytes, offset: int, form: str, value: int) -> bytes:
    """The archive with a field of its directory changed."""
    start = content.index(at) + offset
    return content[:start] + struct.pack(form, value) + content[start + struct.calcsize(form) :]


def text_as_numbers(times: int) -> bytes:
    """An array of one text of a million letters, made again and again."""
    kind = b"cnumpy\ndtype\n" + text("u1") + b"\x89\x88\x87R"
    call = (
        b"cnumpy.core.numeric\n_frombuffer\n(" + get(0) + kind + b"J" + struct.pack("<i", 10**6) + b"\x85tR"
    )
    return repeated(text("a" * 10**6), call, times)


GOOD_ARCHIVE = archive(b"\x80\x02" + view() + b".")
FLOOD = 300_000
HARM: dict[str, Callable[[], bytes]] = {
    "a command": lambda: beside(SYSTEM),
    "a command, protocol 0": lambda: b"(dp0\nVG\np1\ncposix\nsystem\np2\n(Vtouch pwned\np3\ntp4\nRp5\ns.",
    "a command, by its stack": lambda: beside(text("os") + text("system") + b"\x93" + COMMAND + b"R"),
    "a command, in Python 2": lambda: beside(b"c__builtin__\neval\n" + text("open('pwned', 'w')") + b"\x85R"),
    "a command, as object": lambda: beside(b"csubprocess\nPopen\n" + text("touch pwned") + b"\x85\x81"),
    "a command, by keywords": lambda: beside(b"csubprocess\nPopen\n)}" + text("args") + COMMAND + b"s\x92"),
    "a command, never called": lambda: beside(b"cos\nsystem\n"),
    "a command in an archive": lambda: archive(b"\x80\x02(" + view() + SYSTEM + b"t."),
    "a command in an old file": lambda: old(b"\x80\x02(" + SYSTEM + b"t.", pickle.dumps([], 2), b""),
    "a command for a tensor": lambda: beside(
        b"ctorch.storage\n_load_from_bytes\n" + bytes8(b"\x80\x02" + SYSTEM + b".") + b"\x85R"
    ),
    "a command for a key": lambda: beside(b"}" + SYSTEM + b"Ns"),
    "a command to rebuild": lambda: beside(
        b"ctorch._tensor\n_rebuild_from_type_v2\n(cos\nsystem\nctorch\nTensor\n" + COMMAND + b"NtR"
    ),
    "another pickle for a tensor": lambda: beside(
        b"ctorch.storage\n_load_from_bytes\n" + bytes8(pickle.dumps(3)) + b"\x85R"
    ),
    "INST": lambda: beside(b"(Vtouch pwned\nios\nsystem\n"),
    "OBJ": lambda: beside(b"(ca.b\nC\nVtouch pwned\no"),
    "EXT1": lambda: beside(b"\x82\x01"),
    "EXT2": lambda: beside(b"\x83\x01\x00"),
    "EXT4": lambda: beside(b"\x84\x01\0\0\0"),
    "PERSID": lambda: beside(b"P0\n"),
    "BINPERSID": lambda: beside(b"K\x01Q"),
    "NEXT_BUFFER": lambda: beside(b"\x97"),
    "a call of what a call gave": lambda: beside(b"cbuiltins\ngetattr\n(ca.b\nC\n" + text("d") + b"tR" + COMMAND + b"R"),
    "a call of text": lambda: beside(text("os.system") + COMMAND + b"R"),
    "a call without arguments": lambda: beside(b"ca.b\nC\nK\x01R"),
    "attributes of a dict": lambda: beside(b"}}" + text("__class__") + b"Nsb"),
    "attributes of a list": lambda: beside(b"]}b"),
    "attributes of a class": lambda: beside(b"ca.b\nC\n}b"),
    "attributes of a tensor": lambda: archive(b"\x80\x02" + view() + b"}b."),
    "items of a number": lambda: beside(b"K\x01K\x02K\x03s"),
    "items of text": lambda: beside(text("a") + b"(K\x02K\x03u"),
    "items of a tuple": lambda: beside(b")K\x01a"),
    "more items of a dict": lambda: beside(b"}(K\x01e"),
    "members of a list": lambda: beside(b"](K\x01\x90"),
    "a key without value": lambda: beside(b"}(K\x01u"),
    "a list for a key": lambda: beside(b"}]Ns"),
    "a tuple for a key": lambda: beside(b"}" + twice(b")", b"\x86", 60) + b"Ns"),
    "a tuple in a set": lambda: beside(b"(" + twice(b")", b"\x86", 60) + b"\x91"),
    "a bomb of tuples": lambda: beside(twice(b")", b"\x86", 70)),
    "a bomb of lists": lambda: beside(twice(b"]", b"\x86", 25)),
    "a bomb of objects": lambda: beside(b"".join(
        [b")", *(put(i) + b"0ca.b\nC\n" + get(i) + get(i) + b"\x86R" for i in range(45))])),
    "a list in itself": lambda: beside(b"]" + put(0) + get(0) + b"a"),
    "a dict in itself": lambda: beside(b"}" + put(0) + b"K\x01" + get(0) + b"s"),
    "an object in itself": lambda: beside(b"ca.b\nC\n)\x81" + put(0) + b"}" + text("me") + get(0) + b"sb"),
    "deep lists": lambda: beside(b"]" * 100_000 + b"a" * 99_999),
    "deep tuples": lambda: beside(b")" + b"\x85" * 100_000),
    "deep marks": lambda: beside(b"(" * 100_000),
    "deep objects": lambda: beside(b")" + b"".join([put(0) + b"0ca.b\nC\n" + get(0) + b"\x85R"] * 1000)),
    "a view beyond its numbers": lambda: archive(b"\x80\x02" + view(offset=b"K\x03") + b"."),
    "a view that is wide": lambda: archive(b"\x80\x02" + view(size=b"J\xff\xff\xff\x7f\x85", stride=b"K\0\x85") + b"."),
    "a view that is long": lambda: archive(b"\x80\x02" + view(stride=long(2**62) + b"\x85") + b"."),
    "a view of minus": lambda: archive(b"\x80\x02" + view(offset=b"J\xff\xff\xff\xff") + b"."),
    "a view backwards": lambda: archive(b"\x80\x02" + view(offset=b"K\x03", stride=b"J\xff\xff\xff\xff\x85") + b"."),
    "a view of halves": lambda: archive(b"\x80\x02" + view(size=b"G" + struct.pack(">d", 1.5) + b"\x85") + b"."),
    "a view of truth": lambda: archive(b"\x80\x02" + view(size=b"\x88\x85") + b"."),
    "a view without strides": lambda: archive(b"\x80\x02" + view(stride=b")") + b"."),
    "a view of 1,000 dimensions": lambda: archive(
        b"\x80\x02" + view(size=b"(" + b"K\x01" * 1000 + b"t", stride=b"(" + b"K\x01" * 1000 + b"t") + b"."),
    "an empty view that is large": lambda: archive(
        b"\x80\x02" + view(size=b"K\0" + long(2**39) + b"\x86", stride=b"K\x01K\x01\x86") + b"."),
    "a view of text": lambda: archive(b"\x80\x02" + view(of=text("0")) + b"."),
    "a tensor larger than its entry": lambda: archive(b"\x80\x02" + view(of=storage(numel=b"K\x05")) + b"."),
    "a tensor larger than memory": lambda: archive(b"\x80\x02" + view(of=storage(numel=long(2**39))) + b"."),
    "a tensor that is not there": lambda: archive(b"\x80\x02" + view(of=storage(key="../../1")) + b"."),
    "two tensors of one": lambda: archive(
        b"\x80\x02(" + view() + view(of=storage("HalfStorage")) + b"t."),
    "a tensor of another class": lambda: archive(b"\x80\x02" + view(of=storage("QInt8Storage")) + b"."),
    "a persistent command": lambda: archive(b"\x80\x02" + text("touch pwned") + b"Q."),
    "a compressed archive": lambda: archive(b"\x80\x02" + view() + b".", zipfile.ZIP_DEFLATED, **{"data/0": bytes(10**7)}),
    "an encrypted archive": lambda: lied(GOOD_ARCHIVE, b"PK\1\2", 8, "<H", 1),
    "an archive of two": lambda: archive(b"N.", **{"../b/data.pkl": b"N."}),
    "an entry elsewhere": lambda: lied(GOOD_ARCHIVE, b"PK\1\2", 42, "<I", 10),
    "an entry nowhere": lambda: lied(GOOD_ARCHIVE, b"PK\1\2", 42, "<I", 2**31),
    "an entry that is large": lambda: lied(lied(GOOD_ARCHIVE, b"PK\1\2", 20, "<I", 2**31), b"PK\1\2", 24, "<I", 2**31),
    "a directory that is large": lambda: lied(GOOD_ARCHIVE, b"PK\5\6", 12, "<I", 2**31),
    "a directory of many": lambda: archive(b"\x80\x02" + view() + b".", **{f"{i:0100}": b"" for i in range(30_000)}),
    "another order of bytes": lambda: archive(b"\x80\x02" + view() + b".", byteorder=b"big"),
    "a number of numbers": lambda: old_view(says=5),
    "a negative number of numbers": lambda: old_view(says=-1),
    "numbers behind the end": lambda: old_view(numel=2**30, says=2**30),
    "a tensor twice": lambda: old_view(keys=("0", "0")),
    "a tensor of no key": lambda: old_view(keys=("1",)),
    "a key that is a list": lambda: old_view(keys=(["0"],)),
    "bytes of a huge length": lambda: beside(b"\x8e" + b"\xff" * 7 + b"\x7f"),
    "text of a huge length": lambda: beside(b"\x8d" + b"\xff" * 8),
    "a number of a huge length": lambda: beside(b"\x8b\xff\xff\xff\x7f"),
    "a number of a negative length": lambda: beside(b"\x8b\xff\xff\xff\xff"),
    "a large number": lambda: beside(long(1 << 8_000_000)),
    "a number of many digits": lambda: beside(b"L" + b"9" * 1_000_000 + b"L\n"),
    "a line without end": lambda: beside(b"V" + b"a" * 5_000_000),
    "nothing at a place": lambda: beside(get(7)),
    "nothing on the stack": lambda: b"\x80\x04.",
    "nothing to put": lambda: b"\x80\x04\x94.",
    "too little on the stack": lambda: b"\x80\x04N\x87.",
    "no mark": lambda: b"\x80\x04Nt.",
    "a class of numbers": lambda: beside(b"K\x01K\x02\x93N\x85R"),
    "a class of spaces": lambda: beside(text("a b") + text("c") + b"\x93"),
    "a class of a long name": lambda: beside(text("a" * 10**6) + text("c") + b"\x93"),
    "a network without state": lambda: beside(
        b"ctorch_utils.persistence\n_reconstruct_persistent_obj\n}" + text("type") + text("class") + b"s\x85R"),
    "a network of text": lambda: beside(b"ctorch_utils.persistence\n_reconstruct_persistent_obj\n" + text("a") + b"\x85R"),
    "an array of other size": lambda: beside(array(b"K\x05\x85")),
    "an array of a huge size": lambda: beside(array(long(2**39) + b"\x85")),
    "an array of a huge product": lambda: beside(array((long(2**39) * 3) + b"\x87")),
    "an array of minus": lambda: beside(array(b"J\xff\xff\xff\xff\x85")),
    "a number of no bytes": lambda: beside(b"cnumpy.core.multiarray\nscalar\ncnumpy\ndtype\n" + text("f4") + b"\x85RC\0\x86R"),
    "an array of no type": lambda: beside(b"cnumpy.core.numeric\n_frombuffer\n(" + bytes8(bytes(4)) + b"NK\x01\x85tR"),
    "many instructions": lambda: beside(b"N0" * 2_000_000 + b"N"),
    "many sets": lambda: beside(b"(" + b"\x8f" * 3_000_000 + b"l"),
    "many copies of a list": lambda: beside(
        repeated(b"(" + b"N" * FLOOD + b"l", b"cbuiltins\nlist\n" + get(0) + b"\x85R", 1000)),
    "many copies of a dict": lambda: beside(
        repeated(b"(" + b"K\x01N" * FLOOD + b"d", b"ccollections\nOrderedDict\n" + get(0) + b"\x85R", 200_000)),
    "many copies of text": lambda: beside(
        repeated(text("a" * 10**6), b"c_codecs\nencode\n" + get(0) + text("latin1") + b"\x86R", 10_000)),
    "many copies of text as numbers": lambda: beside(text_as_numbers(150)),
    "places that meet": lambda: beside(
        b"N" + b"".join(b"p%d\n" % (i * sys.hash_info.modulus) for i in range(1, 20_000))),
    "a place of minus": lambda: beside(b"Np-1\n"),
    "many copies of bytes": lambda: beside(
        repeated(bytes8(b"a" * 10**6), b"}" + get(0) + b"Ns", 10_000)),
    "many arguments": lambda: beside(
        repeated(b"(" + b"N" * FLOOD + b"t", b"ctorch\nSize\n" + get(0) + b"R", 10_000)),
    "many files within one": lambda: beside(
        repeated(bytes8(old(b"\x80\x02" + storage()[:-2] + b"NtQ.", pickle.dumps(["0"], 2),
                            struct.pack("<q", 4) + bytes(16))),
                 b"ctorch.storage\n_load_from_bytes\n" + get(0) + b"\x85R", 30_000)),
    "many tensors": lambda: archive(
        b"\x80\x02(" + b"ctorch._utils\n_rebuild_tensor_v2\n" + put(0) + b"0("
        + storage() + b"K\0K\x02\x85K\x01\x85\x89}t" + put(1) + b"0(" + (get(0) + get(1) + b"R") * 100_000 + b"t."),
    "files in files": lambda: beside(nested(20)),
}  # fmt: skip


def nested(times: int) -> bytes:
    """Old torch files within each other's bytes."""
    program = storage()[:-2] + b"NtQ"
    for _ in range(times):
        program = (
            b"ctorch.storage\n_load_from_bytes\n"
            + bytes8(old(b"\x80\x02" + program + b".", b"].", b""))
            + b"\x85R"
        )
    return program


@contextmanager
def guarded(seconds: int) -> Iterator[None]:
    """What hangs ends with a traceback of where."""

    def stop(*_: object) -> None:
        raise AssertionError(f"still reading after {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("name", HARM)
def test_hostile_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    path = written(tmp_path, HARM[name]())
    with guarded(20), pytest.raises(GanvasError) as refused:
        inert.read(path)
    message = str(refused.value).removeprefix(str(path))
    assert message.isprintable()
    assert len(message) < 300
    assert message.endswith(".")
    assert [each.name for each in tmp_path.iterdir()] == ["checkpoint"]


def test_text_becomes_numbers_as_often_as_there_is_text(tmp_path: Path) -> None:
    """A file of 2 MB had the machine hold a copy of its text for each array, 20 GB and more, before their sizes were added up."""
    with pytest.raises(GanvasError, match="the same text as numbers again and again"):
        inert.read(written(tmp_path, beside(text_as_numbers(150))))


# Files of each kind, damaged anywhere.


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.arange(6.0).reshape(2, 3))
        self.register_buffer("kernel", torch.tensor([True, False]))


WHOLE = [
    saved({"g_ema": {"a": torch.ones(2, 3), "b": torch.ones(3).half()}, "args": argparse.Namespace(size=8)}),
    saved({"g_ema": {"a": torch.ones(2, 3).t(), "b": torch.ones(1)}}, _use_new_zipfile_serialization=False),
    pickle.dumps({"G_ema": Small(), "seed": 3}, 4),
    pickle.dumps({"G_ema": Small()}, 0),
    pickle.dumps([("a", np.ones((2, 3), ">f4")), ("b", np.float64(2)), ("c", np.asfortranarray(np.eye(3)))], 5),
    b"\x80\x02ctorch_utils.persistence\n_reconstruct_persistent_obj\n}("
    + text("type") + text("class") + text("version") + b"K\x06" + text("class_name") + text("Generator")
    + text("state") + b"}(" + text("_parameters") + b"}" + text("a") + array() + b"s" + text("_modules") + b"}uu\x85R.",
]  # fmt: skip
FRAGMENTS = [
    b"", b"cos\nsystem\n", COMMAND, SYSTEM, b"\x93", b"R", b"b", b"u", b"s", b"a", b"e", b"(", b"t", b"0", b".", b"\x81",
    b"\x92", b"\x94", b"Q", b"]", b"}", b"\x8f", b"\x85", b"\x86", b"\x87", b"h\0", b"r\xff\xff\xff\xff",
    b"J\xff\xff\xff\x7f", b"\x8b\xff\xff\xff\x7f", b"\x8e" + b"\xff" * 8, b"X\0\0\0\x40", b"\xff" * 4, bytes(8),
]  # fmt: skip


def walk(value: Any) -> None:
    """Every number and every value of a content, and nothing else in it."""
    match value:
        case torch.Tensor():
            assert value.device.type == "cpu"
            value.double().sum() if not value.is_complex() else value.sum()
        case dict():
            for key, item in value.items():
                assert type(key) in (str, int, float, bytes, bool, type(None))
                walk(item)
        case list() | tuple() | set():
            for item in value:
                walk(item)
        case inert.Thing():
            assert type(value.name) is str
            for item in (value.args, value.kwargs, value.state, value.items):
                walk(item)
        case _:
            assert type(value) in (str, int, float, bytes, bool, type(None))


@pytest.mark.parametrize("content", WHOLE)
def test_the_whole_files_are_read(tmp_path: Path, content: bytes) -> None:
    """Without this, a reader that refuses everything would pass the next test."""
    walk(inert.read(written(tmp_path, content)))


@pytest.mark.parametrize("content", WHOLE)
def test_files_that_are_cut_are_refused(tmp_path: Path, content: bytes) -> None:
    for length in range(0, len(content) - 1, max(1, len(content) // 150)):
        path = tmp_path / f"{length}"
        path.write_bytes(content[:length])
        with pytest.raises(GanvasError):
            inert.read(path)


def test_nobody_is_warned_of_escapes_in_text(tmp_path: Path) -> None:
    """By Python, which reads them for us and does not know this one."""
    with pytest.raises(GanvasError, match="holds no tensor"):
        inert.read(written(tmp_path, b"(dS'\\o'\nI1\ns."))
    with pytest.raises(GanvasError, match="a class in it has no name"):
        inert.read(written(tmp_path, b"c\\o\nx\n."))


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_damaged_files_give_data_or_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = bytearray(data.draw(st.sampled_from(WHOLE)))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, max(0, len(content) - 1)))
        length = data.draw(st.integers(0, 8))
        content[at : at + length] = data.draw(st.one_of(st.sampled_from(FRAGMENTS), st.binary(max_size=8)))
    folder = tmp_path_factory.mktemp("damaged")
    path = written(folder, bytes(content))
    try:
        with guarded(20):
            walk(inert.read(path))
    except GanvasError as error:
        message = str(error).removeprefix(str(path))
        assert message.isprintable()
        assert len(message) < 300
    assert [each.name for each in folder.iterdir()] == ["checkpoint"]
    assert not Path("pwned").exists()
