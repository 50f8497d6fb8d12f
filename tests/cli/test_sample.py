"""`ganvas sample` writes as it draws: the files of all samples at once, in memory that does not grow."""

import io as memory
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import ganvas
import ganvas.sampling.seeds
from ganvas import pictures
from ganvas.cli import main
from ganvas.config import Config, NetworkConfig
from ganvas.errors import GanvasError
from ganvas.model import Model
from ganvas.networks import build_generator
from ganvas.sampling.base import each_costs
from ganvas.training import Result

N = 300
"""Samples: more than a batch, and no whole number of them."""


def saved(path: Path, size: int, classes: int = 0) -> Path:
    """An untrained generator of grey pictures."""
    config = NetworkConfig("dcgan", latent_dim=8, conditional=classes > 0, generator={"channels": 2})
    generator = build_generator(config, (1, size, size), classes).eval().requires_grad_(False)
    Model.of_run(generator, None, replace(Config(), network=config), {"kimg": 0.0}).save(path)
    return path


def test_files_are_those_of_all_samples_at_once(trained: Result, tmp_path: Path) -> None:
    """Byte for byte those of numpy, which has them in memory together."""
    all_at_once = ganvas.load(trained.run.path, device="cpu").sample(N, seed=4)
    for suffix in (".npy", ".npz", ""):
        command = ["sample", str(trained.run.path), "--n", str(N), "--seed", "4", "--device", "cpu"]
        assert main([*command, "--out", str(tmp_path / f"drawn{suffix}")]) == 0
    for suffix in (".npy", ".npz"):
        expected = memory.BytesIO()
        if suffix == ".npy":
            np.save(expected, all_at_once.numpy())
        else:
            np.savez_compressed(expected, images=all_at_once.numpy())
        assert (tmp_path / f"drawn{suffix}").read_bytes() == expected.getvalue()
    files = sorted((tmp_path / "drawn").iterdir())
    assert [path.name for path in files] == [f"{i:03d}.png" for i in range(N)]
    for path, image in zip(files, all_at_once, strict=True):
        with Image.open(path) as picture:
            assert np.array_equal(np.array(picture), image[0].numpy())
    assert {path.name for path in tmp_path.iterdir()} == {"drawn", "drawn.npy", "drawn.npz"}


def test_chosen_classes_are_those_of_all_samples_at_once(tmp_path: Path) -> None:
    model = saved(tmp_path / "model.safetensors", 8, classes=3)
    for chosen in (["2", "0"], None):
        labels = None if chosen is None else [int(each) for each in chosen]
        expected = ganvas.load(model, device="cpu").sample(N, labels=labels)
        assert not torch.equal(expected[:256], ganvas.load(model, device="cpu").sample(256, labels=[1]))
        command = ["sample", str(model), "--n", str(N), "--out", str(tmp_path / "drawn.npy")]
        assert main([*command, "--device", "cpu", *([] if chosen is None else ["--labels", *chosen])]) == 0
        assert np.array_equal(np.load(tmp_path / "drawn.npy"), expected.numpy())


PEAKS = """
import json, resource, sys
from pathlib import Path
from ganvas.cli import main
peaks = []
for n in (1_000, 6_000):
    for suffix in (".npy", ".npz"):
        out = f"{sys.argv[2]}/{n}{suffix}"
        assert main(["sample", sys.argv[1], "--n", str(n), "--out", out, "--device", "cpu"]) == 0
    unit = 2**20 if sys.platform == "darwin" else 1024
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit)
print(json.dumps(peaks))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="resource is of Unix")
@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_samples(tmp_path: Path) -> None:
    """5,000 pictures more are 20 MiB more, wherever they are kept together.

    C's library learns by itself which pieces of memory it gives back, and what it keeps differs from run to run by as much:
    here it gives back all from 128 KiB on, and 1 MiB is left.
    """
    model = saved(tmp_path / "model.safetensors", 64)
    done = subprocess.run(
        [sys.executable, "-c", PEAKS, str(model), str(tmp_path)],
        capture_output=True, text=True, check=True, timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_MMAP_THRESHOLD_": str(2**17)},
    )  # fmt: skip
    few, many = json.loads(done.stdout.splitlines()[-1])
    assert np.load(tmp_path / "6000.npy", mmap_mode="r").nbytes > 20 * 2**20
    assert many - few < 8, f"{many - few:.0f} MiB more"


def test_pictures_carry_the_numbers_of_their_samples(trained: Result, tmp_path: Path) -> None:
    """Marks name samples by number, and the sheet that is made for marking had none."""
    out = tmp_path / "a.png"

    def drawn(*flags: str) -> np.ndarray:
        assert main(["sample", str(trained.run.path), *flags, "--device", "cpu", "--out", str(out)]) == 0
        with Image.open(out) as picture:
            return np.array(picture)

    images = ganvas.load(trained.run.path, device="cpu").sample(121)
    five, plain = drawn("--n", "5"), drawn("--n", "5", "--plain")
    numbered = pictures.grid(images[:5], 3, captions=["0", "1", "2", "3", "4"])
    np.testing.assert_array_equal(five, np.array(numbered))
    np.testing.assert_array_equal(plain, np.array(pictures.grid(images[:5], 3)))
    many = pictures.grid(images, 11, names=[str(11 * row) for row in range(11)])
    np.testing.assert_array_equal(drawn("--n", "121"), np.array(many))
    seeds = ganvas.sampling.seeds.draw(ganvas.load(trained.run.path, device="cpu"), [41, 7])
    of_seeds = pictures.grid(torch.cat(list(seeds)), 2, captions=["41", "7"])
    np.testing.assert_array_equal(drawn("--seeds", "41,7"), np.array(of_seeds))


def test_chosen_classes_stand_in_rows_with_their_numbers(tmp_path: Path) -> None:
    model = saved(tmp_path / "model.safetensors", 8, classes=3)
    flags = ["--n", "5", "--labels", "2", "0", "--device", "cpu", "--out", str(tmp_path / "a.png")]
    assert main(["sample", str(model), *flags]) == 0
    images = ganvas.load(model, device="cpu").sample(5, labels=[2, 0])  # 2, 0, 2, 0, 2
    rows = [images[[1, 3]], images[[0, 2, 4]]]
    expected = pictures.sheet(rows, ["0", "2"], captions=[["1", "3"], ["0", "2", "4"]])
    with Image.open(tmp_path / "a.png") as picture:
        np.testing.assert_array_equal(np.array(picture), np.array(expected))


def test_a_failure_half_way_leaves_nothing(
    trained: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "drawn.npy").write_bytes(b"mine")
    draw, drawn = Model.to_data, []

    def failing(self: Model, found: torch.Tensor) -> torch.Tensor:
        drawn.append(found)
        if len(drawn) % 2 == 0:
            raise GanvasError("no more")
        return draw(self, found)

    monkeypatch.setattr(Model, "to_data", failing)
    for name in ("drawn.npy", "new.npz", "new"):
        command = ["sample", str(trained.run.path), "--n", str(N), "--out", str(tmp_path / name)]
        assert main([*command, "--device", "cpu"]) == 2
        assert "no more" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["drawn.npy"]
    assert (tmp_path / "drawn.npy").read_bytes() == b"mine"


def test_a_grid_that_no_screen_shows_is_refused_before_a_sample_is_drawn(
    trained: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Model, "to_data", None)
    out = tmp_path / "samples.png"
    assert (
        main(["sample", str(trained.run.path), "--n", "1000001", "--out", str(out), "--device", "cpu"]) == 2
    )
    assert f"--out {out.with_suffix('.npy')}" in capsys.readouterr().err
    pictures.check_out(out, 1_000_000, (1, 8, 8))


def test_what_a_sample_costs_is_told_in_words(
    trained: Result, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--n", "1", "--truncate", "0.7", "--device", "cpu", "--out", str(tmp_path / "a.png")]
    assert main(["sample", str(trained.run.path), *flags]) == 0
    assert "truncate 0.7 + prior: 1 run of the network a sample)" in capsys.readouterr().out
    assert each_costs(10.5) == "10.5 runs of the network a sample"


def test_numbers_of_samples_are_held_to() -> None:
    with pytest.raises(ValueError, match="3 samples came, and 4"):
        pictures._write_array(memory.BytesIO(), [torch.zeros(3, 2)], 4)


def test_drawing_imports_neither_metrics_nor_training_nor_compilers(tmp_path: Path) -> None:
    """What stood in for the compiler while the model was checked is gone without a trace: it compiles."""
    code = (
        "import sys; from ganvas.cli import main\n"
        "assert main(['sample', 'fashion', '--n', '2', '--sampler', 'budget', '--budget', '2', '--out', sys.argv[1]]) == 0\n"
        "others = ('ganvas.metrics', 'ganvas.training', 'matplotlib', 'torch._dynamo')\n"
        "print({name for name in sys.modules if name.startswith(others)})\n"
        "import torch; assert torch._dynamo.config.suppress_errors is False\n"
        "torch.empty(2, device='meta') * 2\n"
        "assert torch.compile(lambda x: x * 2, backend='eager')(torch.ones(1)) == 2"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "two.npz")], capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1] == "set()", done.stdout + done.stderr
    assert done.returncode == 0, done.stderr
