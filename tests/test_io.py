"""Atomic writes on a real full device (/dev/full), hostile and damaged weight files."""

import contextlib
import errno
import json
import os
import pickle
import resource
import shutil
import stat
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from ganvas import io
from ganvas.errors import GanvasError
from ganvas.runs import create_run


def test_write_replaces_whole_files(tmp_path: Path) -> None:
    target = tmp_path / "new" / "a.txt"
    io.write_bytes(target, b"one")
    io.write_bytes(target, b"two")
    assert target.read_bytes() == b"two"
    assert [p.name for p in target.parent.iterdir()] == ["a.txt"]


def test_failure_keeps_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_bytes(b"old")

    def half_way() -> None:
        with io.atomic(target) as temporary:
            temporary.write_bytes(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half_way()
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_clean_up_that_fails_does_not_hide_the_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a file system mounted read-only both the write and the removal of what was not written fail."""

    def refuse(*arguments: object, **options: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(tmp_path / "a.txt"))

    for name in ("write_bytes", "unlink"):
        monkeypatch.setattr(Path, name, refuse)
    with pytest.raises(GanvasError, match=r"Could not finish writing .*a\.txt.*Read-only file system"):
        io.write_bytes(tmp_path / "a.txt", b"x")


def test_a_folder_that_can_not_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(GanvasError, match=r"Could not finish writing .*a\.txt"):
        io.write_bytes(tmp_path / "file" / "a.txt", b"x")


@pytest.mark.parametrize("by_signal", [False, True])
def test_a_folder_is_put_back_when_its_successor_does_not_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_signal: bool
) -> None:
    """A signal between the two renames took both."""
    target, real = tmp_path / "best", os.replace
    target.mkdir()
    (target / "x").write_bytes(b"old")

    def failing(source: Path, to: Path) -> None:
        if to == target and ".new." in source.name:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(to))
        real(source, to)

    def stopped(source: Path, to: Path) -> None:
        real(source, to)
        if source == target:
            raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", stopped if by_signal else failing)
    expected = (
        pytest.raises(KeyboardInterrupt) if by_signal else pytest.raises(GanvasError, match="writing best")
    )
    with expected, io.atomic_folder(target) as temporary:
        temporary.mkdir()
    assert (target / "x").read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_may_have_the_longest_name_that_there_is(tmp_path: Path) -> None:
    target = tmp_path / ("x" * 255)
    for word in (b"one", b"two"):
        with io.atomic_folder(target) as temporary:
            temporary.mkdir()
            (temporary / "x").write_bytes(word)
    assert list(tmp_path.iterdir()) == [target]
    assert (target / "x").read_bytes() == b"two"


def test_an_older_folder_is_not_put_back_for_one_that_another_process_moves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stood in the way of the other's, which then ended in an error and took the finished one with it."""
    target, theirs, real = tmp_path / "hub", tmp_path / "theirs", io._flush
    target.mkdir()
    (target / "x").write_bytes(b"old")

    def flush(folder: Path) -> None:
        real(folder)
        if folder == tmp_path and (target / "x").read_bytes() == b"new":
            target.rename(theirs)

    monkeypatch.setattr(io, "_flush", flush)
    with io.atomic_folder(target) as temporary:
        temporary.mkdir()
        (temporary / "x").write_bytes(b"new")
    assert list(tmp_path.iterdir()) == [theirs]
    assert (theirs / "x").read_bytes() == b"new"


def test_a_folder_appears_whole(tmp_path: Path) -> None:
    with io.atomic(tmp_path / "folder") as temporary:
        temporary.mkdir()
        (temporary / "x").write_bytes(b"1")
        assert not (tmp_path / "folder").exists()
    assert (tmp_path / "folder" / "x").read_bytes() == b"1"


def test_a_folder_that_another_command_wrote_in_the_meantime(tmp_path: Path) -> None:
    """Of two commands at once with one --out the first one is kept, and the other says what to do."""
    out = tmp_path / "folder"

    def late() -> None:
        with io.atomic(out) as temporary:
            temporary.mkdir()
            out.mkdir()
            (out / "theirs").write_bytes(b"1")

    with pytest.raises(GanvasError, match="was written there in the meantime, and is kept"):
        late()
    assert [path.name for path in tmp_path.rglob("*")] == ["folder", "theirs"]


def test_a_place_without_permissions_takes_files_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As mounts of other systems are, whose files belong to somebody else: nothing could be written there, after all the work."""

    def refuse(self: Path, mode: int) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), str(self))

    monkeypatch.setattr(Path, "chmod", refuse)
    io.write_bytes(tmp_path / "a", b"all")
    assert (tmp_path / "a").read_bytes() == b"all"


def test_a_folder_that_cannot_be_flushed_takes_files_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some shares answer that with EINVAL: every file was said not to be written, and was."""
    flush = os.fsync

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    io.write_bytes(tmp_path / "a.bin", b"1")
    with io.atomic(tmp_path / "folder") as temporary:
        temporary.mkdir()
        (temporary / "x").write_bytes(b"1")
    assert sorted(each.name for each in tmp_path.rglob("*")) == ["a.bin", "folder", "x"]


@pytest.mark.parametrize("name", ["a" * 251 + ".bin", "é" * 125 + ".bin"])
def test_a_name_as_long_as_the_system_takes(name: str, tmp_path: Path) -> None:
    """That of the temporary file was too long when all was computed."""
    io.check_place(tmp_path / name)
    io.write_bytes(tmp_path / name, b"1")
    assert [each.name for each in tmp_path.iterdir()] == [name]


def test_a_pipe_is_not_written_over(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(GanvasError, match=r"pipe\.png is a pipe or a device.*Choose another name"):
        io.check_place(tmp_path / "pipe.png")


def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The temporary file is a link to /dev/full, which answers every write as a full disk does."""
    monkeypatch.setattr(io.secrets, "token_hex", lambda n: "fixed")
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")
    (tmp_path / ".a.bin.fixed.tmp").symlink_to("/dev/full")
    with pytest.raises(GanvasError, match=r"disk is full.*Free some space"):
        io.write_bytes(target, b"x" * 100_000)
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_no_room_for_tensors(tmp_path: Path) -> None:
    """The system's limit on the size of a file stands in for the end of the disk: the write fails half-way."""
    target = tmp_path / "a.safetensors"
    target.write_bytes(b"old")

    def write() -> None:
        with io.atomic(target) as temporary:
            io.save_tensors(temporary, {"w": torch.zeros(100_000)}, {})

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    try:
        with pytest.raises(GanvasError, match=r"disk is full.*Free some space"):
            write()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_arrays_and_tensors_come_back_from_an_npz(tmp_path: Path) -> None:
    io.write_arrays(tmp_path / "a.npz", {"x": torch.arange(6.0).view(2, 3), "names": ["é", "b"]})
    with np.load(tmp_path / "a.npz", allow_pickle=False) as found:
        assert found["x"].tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
        assert found["names"].tolist() == ["é", "b"]
    assert [each.name for each in tmp_path.iterdir()] == ["a.npz"]


def test_tensors_round_trip_with_channels_last(tmp_path: Path) -> None:
    weight = torch.randn(4, 3, 2, 2).to(memory_format=torch.channels_last)
    io.save_tensors(tmp_path / "w.safetensors", {"w": weight, "n": torch.tensor(3)}, {"kind": "x"})
    tensors, header = io.load_tensors(tmp_path / "w.safetensors")
    assert torch.equal(tensors["w"], weight)
    assert tensors["n"] == 3
    assert header == {"format_version": io.FORMAT_VERSION, "kind": "x"}


class _Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("way", ["written over", "cut"])
def test_what_was_read_is_not_the_file(way: str, tmp_path: Path) -> None:
    """A file that is copied over stays the same file: an open model became the other one, or the process ended by SIGBUS."""
    path = tmp_path / "a.safetensors"
    wanted = torch.arange(4096.0)
    io.save_tensors(path, {"a": wanted}, {})
    found = io.load_tensors(path)[0]["a"]
    content = path.read_bytes()
    with path.open("r+b") as file:
        if way == "cut":
            file.truncate(0)
        file.write(content[: -4 * len(wanted)] + bytes(4 * len(wanted)))
    assert torch.equal(found, wanted)


def test_a_pickle_bomb_does_not_run(tmp_path: Path) -> None:
    target = tmp_path / "bomb.safetensors"
    target.write_bytes(pickle.dumps(_Bomb(tmp_path / "boom")))
    torch.save({"w": _Bomb(tmp_path / "boom")}, tmp_path / "zipped.safetensors")
    for path in (target, tmp_path / "zipped.safetensors"):
        with pytest.raises(GanvasError, match="never unpickles"):
            io.load_tensors(path)
    assert not (tmp_path / "boom").exists()


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("good") / "good.safetensors"
    io.save_tensors(path, {"w": torch.arange(50.0)}, {"kind": "x"})
    return path.read_bytes()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_any_truncation_is_a_clear_error(tmp_path: Path, good: bytes, data: st.DataObject) -> None:
    length = data.draw(st.integers(0, len(good) - 1))
    path = tmp_path / "cut.safetensors"
    path.write_bytes(good[:length])
    with pytest.raises(GanvasError, match="truncated"):
        io.load_tensors(path)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(content=st.binary(max_size=300))
def test_any_bytes_are_a_clear_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "noise.safetensors"
    path.write_bytes(content)
    with pytest.raises(GanvasError):
        io.load_tensors(path)


@pytest.mark.parametrize("shape", [[2**63, 0], [2**62, 4, 0], [0, 2**64 - 1]])
def test_sizes_that_torch_does_not_hold(tmp_path: Path, shape: list[int]) -> None:
    # They multiply to nothing, so that the library takes them, and torch refuses them by errors of other kinds.
    header = json.dumps({"a": {"dtype": "F32", "shape": shape, "data_offsets": [0, 0]}}).encode()
    path = tmp_path / "g.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    for read in (io.load_tensors, io.load_foreign):
        with pytest.raises(GanvasError, match="not a readable safetensors file") as refused:
            read(path)
        assert "\n" not in str(refused.value)


def test_a_header_that_claims_terabytes(tmp_path: Path) -> None:
    header = json.dumps({"w": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4 * 10**12]}}).encode()
    path = tmp_path / "huge.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(GanvasError):
        io.load_tensors(path)


def test_foreign_and_newer_files(tmp_path: Path) -> None:
    foreign, newer = tmp_path / "foreign.safetensors", tmp_path / "newer.safetensors"
    save_file({"w": torch.zeros(1)}, foreign)
    save_file({"w": torch.zeros(1)}, newer, {"ganvas": json.dumps({"format_version": 99})})
    with pytest.raises(GanvasError, match="not written by ganvas"):
        io.load_tensors(foreign)
    with pytest.raises(GanvasError, match=r"format version 99.*Upgrade"):
        io.read_header(newer)
    with pytest.raises(GanvasError, match="No such file"):
        io.read_header(tmp_path / "none.safetensors")


@pytest.mark.parametrize("version", ["1", None, True, 1.5, -1, [2]])
def test_a_version_that_is_none_is_not_called_a_newer_one(version: object, tmp_path: Path) -> None:
    save_file(
        {"w": torch.zeros(1)}, tmp_path / "a.safetensors", {"ganvas": json.dumps({"format_version": version})}
    )
    with pytest.raises(GanvasError, match="damaged: its 'format_version'"):
        io.read_header(tmp_path / "a.safetensors")


def test_json_errors(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with pytest.raises(GanvasError, match="Cannot read"):
        io.read_json(path)
    path.write_text("{")
    with pytest.raises(GanvasError, match="not valid JSON"):
        io.read_json(path)
    path.write_text("[]")
    with pytest.raises(GanvasError, match="expected a JSON object"):
        io.read_json(path)
    with pytest.raises(ValueError, match="not JSON compliant"):
        io.write_json(path, float("nan"))
    assert path.read_text() == "[]"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"[" * 100_000, "more than 32 levels"),
        (b'{"a":' * 33 + b"1" + b"}" * 33, "more than 32 levels"),
        (b"[" + b"0," * 1_000_000 + b"0]", "more than 1,000,000 values"),
        (b" " * (io.LONGEST + 1), "16,777,217 bytes long; 16,777,216 are read at most"),
        (b'{"a": 1e999}', "too large"),
        (b'{"a": -1e999}', "too large"),
        (b'{"a": ' + b"9" * 5000 + b"}", "too large"),
        (b'{"a": 18446744073709551616}', "too large"),
        (b'{"a": NaN}', "NaN is no number of JSON"),
        (b'{"a": -Infinity}', "-Infinity is no number of JSON"),
        (b'{"a": "\xff"}', "not valid JSON"),
        (b'{"a": "\\ud800"}', "not valid JSON"),
        (b'"' + b'\\"' * 200_000, "not valid JSON"),  # quadratic for a careless scan
        ("\ud800", "not valid JSON"),
        (b"", "not valid JSON"),
    ],
)
def test_one_reader_refuses_what_json_must_not_hold(text: bytes | str, message: str, tmp_path: Path) -> None:
    with pytest.raises(GanvasError, match=message):
        io.parse_json(text, "It")
    if isinstance(text, bytes):
        (tmp_path / "a.json").write_bytes(text)
        with pytest.raises(GanvasError):
            io.read_json(tmp_path / "a.json")
        assert ("NaN" in message or "Infinity" in message) == bool(io.read_json_lines(tmp_path / "a.json"))


def test_brackets_in_strings_are_not_levels() -> None:
    text = json.dumps({"a": "[{" * 1000 + '"\\', "b": ["\U0001f600", -0.5, 2**64 - 1, None]})
    assert io.parse_json(text, "It") == json.loads(text)
    assert io.parse_json("[" * 32 + "]" * 32, "It") == json.loads("[" * 32 + "]" * 32)


@settings(max_examples=200, deadline=None)
@given(st.recursive(st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False)
                    | st.text(st.characters(exclude_categories=["Cs"])), lambda each: st.lists(each) | st.dictionaries(
                        st.text(st.characters(exclude_categories=["Cs"])), each), max_leaves=20))  # fmt: skip
def test_the_reader_reads_all_json(value: object) -> None:
    assert io.parse_json(json.dumps(value), "It") == value
    assert io.parse_json(json.dumps(value, ensure_ascii=False).encode(), "It") == value


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet='[]{}",:\\0e.-nul ', max_size=60) | st.binary(max_size=60))
def test_the_reader_gives_one_kind_of_error(text: str | bytes) -> None:
    """Nothing but `GanvasError` gets out, whatever is in it."""
    with contextlib.suppress(GanvasError):
        io.parse_json(text, "It", nan=True)


def test_lines_that_are_no_objects_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "stats.jsonl"
    assert io.read_json_lines(path) == []
    good = [{"kimg": 1}, {"kimg": 2}]
    path.write_bytes(
        b'{"kimg": 1}\nnull\n5\n\xff\n[1]\n' + b"[" * 5000 + b'\n{"kimg": 2}\n{"kimg": NaN}\n{"kimg": 3'
    )
    *rest, last = io.read_json_lines(path)
    assert rest == good
    assert last["kimg"] != last["kimg"]


def test_a_device_without_an_end_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "a.json").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "b.json")
    (tmp_path / "c.json").symlink_to("/dev/tty")  # of a stranger's folder it waits for who sits there
    for name in ("a.json", "b.json", "c.json"):
        with pytest.raises(GanvasError, match="is no file"):
            io.read_json(tmp_path / name)
    with pytest.raises(GanvasError, match="Cannot read"):
        io.read_json(tmp_path / ("x" * 300))
    read, write = os.pipe()
    os.write(write, b'{"a": 1}')
    os.close(write)
    assert io.read_json(Path(f"/dev/fd/{read}")) == {"a": 1}, "of the shell: --against <(...)"
    os.close(read)


def test_files_of_tensors_get_the_usual_permissions(tmp_path: Path) -> None:
    """As `open` gives them under the umask of the process; safetensors' own are 0600."""
    script = (
        "import os, sys, torch, pathlib\n"
        "for mask in sys.argv[2:]:\n"
        "    if not os.fork():\n"
        "        os.umask(int(mask, 8)); from ganvas import io\n"
        "        folder = pathlib.Path(sys.argv[1], mask); folder.mkdir(); (folder / 'usual').write_text('')\n"
        "        with io.atomic(folder / 'w') as t: io.save_tensors(t, {'a': torch.zeros(2)}, {})\n"
        "        with io.atomic(folder / 'f') as t: t.mkdir(); io.save_tensors(t / 'w', {'a': torch.zeros(2)}, {})\n"
        "        sys.exit()\n"
        "    assert os.wait()[1] == 0\n"
    )
    modes = {"022": 0o644, "077": 0o600, "002": 0o664}
    subprocess.run([sys.executable, "-c", script, str(tmp_path), *modes], check=True, timeout=120)
    for mask, mode in modes.items():
        names = [tmp_path / mask / name for name in ("usual", "w", "f/w")]
        assert [name.stat().st_mode & 0o777 for name in names] == [mode] * 3


def test_a_changed_weight_is_noticed(tmp_path: Path) -> None:
    """One bit of one tensor, which its file format does not notice; files without checksums still open."""
    path = tmp_path / "w.safetensors"
    tensors = {
        "a": torch.arange(6.0).reshape(2, 3), "half": torch.ones(3, dtype=torch.bfloat16), "none": torch.empty(0),
        "number": torch.tensor(7), "yes": torch.tensor([True]),
    }  # fmt: skip
    io.save_tensors(path, tensors, {"kind": "x"})
    whole = path.read_bytes()
    assert io.load_tensors(path)[1] == {"format_version": io.FORMAT_VERSION, "kind": "x"}
    start = 8 + int.from_bytes(whole[:8], "little")
    for place in range(start, len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 1
        path.write_bytes(changed)
        with pytest.raises(GanvasError, match=r"is damaged: tensor '\w+' is not what was written"):
            io.load_tensors(path)
    save_file({"a": torch.zeros(1)}, path, {"ganvas": json.dumps({"format_version": io.FORMAT_VERSION})})
    assert torch.equal(io.load_tensors(path)[0]["a"], torch.zeros(1))
    for wrong in ("[]", "{}", '{"a": 5}', "[" * 10_000):
        about = {"ganvas": json.dumps({"format_version": io.FORMAT_VERSION}), "checksums": wrong}
        save_file({"a": torch.zeros(1)}, path, about)
        with pytest.raises(GanvasError, match="damaged"):
            io.load_tensors(path)


def test_too_many_tensors(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_file({str(i): torch.zeros(0) for i in range(io.MOST_TENSORS + 1)}, path, {"ganvas": "{}"})
    with pytest.raises(GanvasError, match=r"tensors; .* are read at most"):
        io.read_header(path)


def test_tiny_tensors_are_counted_before_the_library_reads_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """200,000 took it two seconds. What a text in the header quotes is none."""
    path = tmp_path / "w.safetensors"
    io.save_tensors(path, {"a": torch.zeros(1)}, {"text": '"{' * 300_000 + '\\"' * 300_000})
    assert io.read_header(path)["text"].count('"') == 600_000
    save_file({str(i): torch.zeros(0) for i in range(2 * io.MOST_TENSORS)}, path, {"ganvas": "{}"})

    def read(*given: object, **more: object) -> None:
        raise AssertionError("the library read it")

    monkeypatch.setattr("safetensors.safe_open", read)
    with pytest.raises(GanvasError, match="more than 16,384 tensors"):
        io.read_header(path)
    assert io.is_own(path)


def test_a_long_header_of_tensors_is_not_parsed(tmp_path: Path) -> None:
    """70 MB of it took 4 seconds and 1.3 GB before the tensors in it were counted."""
    path = tmp_path / "w.safetensors"
    with path.open("wb") as file:
        file.write((io.LONGEST_HEADER + 8).to_bytes(8, "little"))
        file.truncate(io.LONGEST_HEADER + 64)
    with pytest.raises(GanvasError, match="has a header of 16,777,224 bytes; 16,777,216 are read at most"):
        io.read_header(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names on this system")
def test_lines_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "stats.jsonl")
    with pytest.raises(GanvasError, match=r"stats.jsonl is no file"):
        io.read_json_lines(tmp_path / "stats.jsonl")


def test_escapes_cost_no_gigabytes() -> None:
    """A string of eight million of them took 1.2 GB to measure: a hundred bytes each."""
    code = (
        "import resource; from ganvas import io; before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss; "
        "io.parse_json(b'\"' + rb'\\n' * (4 * 2**20) + b'\"', 'it'); "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert int(out) < 250_000  # KiB


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (r'["\\", [["\""]]]' , ""),
        (r'"\\\" [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["', ""),
        (r'["\\", ' + "[" * 40 + "]" * 40 + "]", "32 levels"),
        (r'{"\"": ' + "[" * 40 + "]" * 40 + "}", "32 levels"),
    ],
)  # fmt: skip
def test_what_stands_behind_an_escape_is_measured(text: str, message: str) -> None:
    if not message:
        assert io.parse_json(text, "it") == json.loads(text)
    else:
        with pytest.raises(GanvasError, match=message):
            io.parse_json(text, "it")


@pytest.mark.parametrize("line", [b"", b"1", b"{", b'{"kimg": 1}'])
def test_lines_are_counted_before_they_are_read(
    tmp_path: Path, line: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """64 MiB of empty ones took sixteen minutes."""
    path = tmp_path / "stats.jsonl"
    path.write_bytes((line + b"\n") * (io.MOST_LINES + 1))
    monkeypatch.setattr(io, "parse_json", None)
    with pytest.raises(GanvasError, match="more than 500,000 lines"):
        io.read_json_lines(path)


def test_no_header_is_written_that_could_not_be_read(tmp_path: Path) -> None:
    with pytest.raises(GanvasError, match="16,777,216 are read at most"):
        io.save_tensors(tmp_path / "a.safetensors", {"x": torch.ones(1)}, {"names": "n" * 2**24})
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names are text")
def test_a_folder_whose_name_is_no_text_is_said_to_be_one(tmp_path: Path) -> None:
    """It was called damaged, and another snapshot was advised."""
    folder = tmp_path / os.fsdecode(b"run\xff")
    folder.mkdir()
    io.save_tensors(tmp_path / "a.safetensors", {"a": torch.zeros(2)}, {"kind": "x"})
    shutil.copy(tmp_path / "a.safetensors", folder)
    # Hours of a training went before it was said that its own snapshots cannot be opened.
    for fails in (
        lambda: io.load_tensors(folder / "a.safetensors"), lambda: io.check_place(folder / "b.safetensors"),
        lambda: create_run(folder, "mine", {}),
    ):  # fmt: skip
        with pytest.raises(GanvasError, match=r"is no UTF-8 text.*Rename it"):
            fails()
    io.check_place(folder / "b.png")
    assert os.listdir(folder) == ["a.safetensors"]


def test_a_foreign_header_is_refused_before_its_tensors_are_copied(tmp_path: Path) -> None:
    """Two gigabytes of holes were read before it was said that they are nobody's."""
    path = tmp_path / "a.safetensors"
    save_file({"a": torch.ones(3)}, path, {"checksums": "{}"})
    with pytest.raises(GanvasError, match="not written by ganvas"):
        io.load_tensors(path)


def test_a_file_that_is_changed_while_it_is_read_is_told_of(tmp_path: Path) -> None:
    """Also where that is what the error came of; what went wrong with one that stayed is said as it is."""
    path, other = tmp_path / "a", tmp_path / "b"

    def read(change: Callable[[], object], fails: bool = False) -> None:
        path.write_text("one")
        with io.unchanged(other, path):
            change()
            if fails:
                raise ValueError("its own")

    def replaced() -> None:
        path.with_name("new").write_text("another")
        path.with_name("new").replace(path)

    changes = (lambda: path.write_text("more"), replaced, path.unlink, lambda: other.write_text("there now"))
    for change in changes:
        for fails in (False, True):
            other.unlink(missing_ok=True)
            with pytest.raises(GanvasError, match="was changed while it was read"):
                read(change, fails)
    with pytest.raises(ValueError, match="its own"):
        read(path.read_text, fails=True)
    read(path.read_text)
