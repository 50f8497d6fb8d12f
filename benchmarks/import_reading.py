"""Other toolkits' checkpoints: time and memory of `ganvas.inert.read` beside torch.load's, and what becomes of damaged files.

    python benchmarks/import_reading.py [--megabytes 350] [--rounds 5] [--mutations 10000] [FILE ...]

A file of each kind is written, and read in processes of their own by both in turn: the time of the call alone, the time
with the sum of every number (torch.load reads them all, a mapped file is read where it is used), and the most memory that
the process took above what it had before. Targets: twice the time, 1.2 x the memory. Then small files of each kind, and
the files given, are changed at random and read: each must give data or a sentence, whatever it takes is shown.
"""

import argparse
import collections
import io
import pickle
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ganvas import inert
from ganvas.errors import GanvasError

CHILD = """
import pickle, sys, time, torch
from pathlib import Path
from ganvas import inert
def status(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024
def tensors(value):
    if isinstance(value, torch.Tensor): yield value
    elif hasattr(value, "state_dict"): yield from value.state_dict().values()
    elif hasattr(value, "state"): yield from inert.parameters(value).values()
    elif isinstance(value, dict):
        for each in value.values(): yield from tensors(each)
    elif type(value).__module__ == "numpy": yield torch.from_numpy(value)
path, how, small = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
def torchs(path):
    if how == "torch": return torch.load(path, weights_only=False)
    with path.open("rb") as file: return pickle.load(file)
read = inert.read if how == "ganvas" else torchs
torch.ones(9).sum(), read(small)
before, start = status("VmRSS"), time.perf_counter()
value = read(path)
taken, held = time.perf_counter() - start, status("VmHWM") - before
total = sum(float(each.sum()) for each in tensors(value))
print(time.perf_counter() - start, taken, status("VmHWM") - before, total)
"""


def weights(megabytes: float) -> dict[str, Tensor]:
    """Of a generator: 3 x 3 kernels of 512 channels, and their biases."""
    size = 512 if megabytes > 1 else 8
    count = max(2, round(megabytes * 1e6 / (size * size * 9 * 4)))
    made: dict[str, Tensor] = {}
    for i in range(count):
        made[f"layer{i}.weight"] = torch.randn(size, size, 3, 3)
        made[f"layer{i}.bias"] = torch.randn(size)
    return made


def module(state: dict[str, Tensor]) -> nn.Module:
    network = nn.Module()
    for name, tensor in state.items():
        layer, kind = name.split(".")
        if layer not in network._modules:
            network.add_module(layer, nn.Module())
        network.get_submodule(layer).register_parameter(kind, nn.Parameter(tensor))
    return network


def torch_bytes(value: Any, new: bool) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=new)
    return buffer.getvalue()


KINDS: dict[str, tuple[str, Callable[[dict[str, Tensor]], bytes]]] = {
    "torch.save, new": ("torch", lambda state: torch_bytes({"g_ema": state}, True)),
    "torch.save, old": ("torch", lambda state: torch_bytes({"g_ema": state}, False)),
    "pickle of a module": ("pickle", lambda state: pickle.dumps({"G_ema": module(state)}, 4)),
    "pickle of arrays": ("pickle", lambda state: pickle.dumps({n: t.numpy() for n, t in state.items()}, 4)),
}


def compare(megabytes: float, rounds: int) -> None:
    print(f"| {megabytes:g} MB | reader | s, read | s, read and summed | MB at most | time | memory |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as folder:
        large, small = Path(folder) / "large", Path(folder) / "small"
        for kind, (other, write) in KINDS.items():
            large.write_bytes(write(weights(megabytes)))
            small.write_bytes(write(weights(0.01)))
            found: dict[str, list[list[float]]] = {other: [], "ganvas": []}
            for _ in range(rounds):
                for how, rows in found.items():
                    command = [sys.executable, "-c", CHILD, str(large), how, str(small)]
                    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                    rows.append([float(each) for each in out.split()])
            middle = {
                how: [statistics.median(c) for c in zip(*rows, strict=True)] for how, rows in found.items()
            }
            assert middle[other][3] == middle["ganvas"][3], "the numbers differ"
            for how, (summed, read, memory, _) in middle.items():
                against = middle[other]
                print(
                    f"| {kind} | {how} | {read:.3f} | {summed:.3f} | {memory:.0f} | {summed / against[0]:.2f} x | "
                    f"{memory / against[2]:.2f} x |",
                    flush=True,
                )


def mutated(content: bytes, draw: random.Random) -> bytes:
    """Some bytes changed, put in, taken out, repeated or swapped, most of them near the beginning or the end."""
    changed = bytearray(content)
    for _ in range(draw.choice([1, 1, 1, 2, 4, 16])):
        size = len(changed)
        at = draw.choice(
            [draw.randrange(size), int(size * draw.random() ** 4), size - 1 - int(size * draw.random() ** 4)]
        )
        at = min(max(at, 0), size - 1)
        length = draw.choice([1, 1, 2, 4, 8, 64])
        match draw.randrange(6):
            case 0:
                changed[at] ^= 1 << draw.randrange(8)
            case 1:
                changed[at : at + length] = draw.randbytes(length)
            case 2:
                changed[at:at] = draw.choice(FRAGMENTS)
            case 3:
                del changed[at : at + length]
            case 4:
                start = draw.randrange(size)
                changed[at:at] = changed[start : start + 4 * length]
            case _:
                changed[at : at + length] = draw.choice([b"\xff", b"\0", b"\x7f"]) * length
        if draw.random() < 0.01:
            del changed[draw.randrange(len(changed) + 1) :]
        if not changed:
            break
    return bytes(changed)


FRAGMENTS = [
    b"cos\nsystem\n", b"\x93", b"R", b"b", b"u", b"s", b"a", b"e", b"(", b"t", b"0", b".", b"\x81", b"\x92", b"\x94", b"Q",
    b"]", b"}", b"\x8f", b"\x85", b"\x86", b"h\0", b"j\xff\0\0\0", b"r\xff\xff\xff\xff", b"J\xff\xff\xff\x7f",
    b"\x8b\xff\xff\xff\x7f", b"\x8e" + b"\xff" * 8, b"B\xff\xff\xff\x7f", b"X\0\0\0\x40",
]  # fmt: skip


def mutate(files: list[Path], count: int) -> None:
    """Read changed files, most of them as often as the others; print what came of them."""
    state = weights(0.01)
    contents = {kind: write(state) for kind, (_, write) in KINDS.items()}
    contents |= {str(path): path.read_bytes() for path in files}
    draw, outcomes = random.Random(0), collections.Counter[str]()
    slowest, longest = (0.0, ""), 0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x"
        for i in range(count):
            name = list(contents)[i % len(contents)]
            path.unlink(missing_ok=True)  # a mapped file is never written into
            path.write_bytes(mutated(contents[name], draw))
            start = time.process_time()
            try:
                inert.read(path)
                outcomes["data"] += 1
            except GanvasError as error:
                sentence = str(error).removeprefix(str(path))
                longest = max(longest, len(sentence))
                outcomes[sentence.split(":")[0].split(";")[0].split(".")[0].strip()] += 1
            slowest = max(slowest, (time.process_time() - start, name))
        left = [each.name for each in Path(folder).iterdir()]
        assert left in ([], ["x"]), left
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(
        f"\n{count:,} changed files of {len(contents)} kinds: {outcomes['data']:,} gave data, the others a sentence;"
    )
    print(
        f"slowest {slowest[0]:.2f} s ({slowest[1]}), {memory:.0f} MB more, longest sentence {longest} characters.\n"
    )
    for sentence, times in outcomes.most_common(14):
        print(f"| {sentence} | {times:,} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--megabytes", type=float, default=350)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--mutations", type=int, default=10_000)
    options = parser.parse_args()
    torch.manual_seed(0)
    if options.rounds:
        compare(options.megabytes, options.rounds)
    if options.mutations:
        mutate(options.files, options.mutations)


if __name__ == "__main__":
    main()
