"""The command line: a thin face, clear errors, exit code 2 for the user's mistake, nothing half-written."""

import json
import os
import shutil
import subprocess
import sys
import types
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from PIL import Image

import ganvas
from ganvas import io, metrics, pictures, report
from ganvas.cli import COMMANDS, main
from ganvas.runs import create_run
from ganvas.training import Result

SMALL = [
    "--kimg", "0.064", "--batch", "32", "--device", "cpu", "--set", "network.generator.channels=4",
    "--set", "network.critic.channels=4",
]  # fmt: skip


def test_help_is_light() -> None:
    """No torch, no numpy: what makes help slow is never imported."""
    code = (
        "import sys; from ganvas.cli import main; assert main(['--help' if 0 else '-h'][:0]) == 0; "
        "heavy = {'torch', 'numpy', 'matplotlib', 'tyro', 'rich'} & set(sys.modules); assert not heavy, heavy"
    )
    output = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert all(name in output for name in COMMANDS)
    for flag, said in (("--help", "ganvas"), ("--version", f"ganvas {ganvas.__version__}")):
        done = subprocess.run(
            [sys.executable, "-m", "ganvas", flag], check=True, capture_output=True, text=True
        )
        assert said in done.stdout


@pytest.mark.parametrize("command", list(COMMANDS))
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    assert "--" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_a_closed_stream_is_no_mistake(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Python has None for what the shell closed by `>&-`: flushing that was a traceback, of `train` when it was done."""
    monkeypatch.setattr(sys, name, None)
    assert main(["list", "models"]) == 0
    settings = ["--kimg", "0.064", "--batch", "32", "--out", str(tmp_path), "--device", "cpu"]
    assert main(["train", "toy:ring8", *settings]) == 0
    getattr(sys, name).close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is full")
def test_a_full_disk_below_the_help_is_told_in_words() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "ganvas", "--help"], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 2
    assert done.stderr.startswith("error: The disk is full")


def test_help_has_an_end_on_a_terminal_of_two_columns() -> None:
    """It was laid out for ever."""
    environment = {**os.environ, "COLUMNS": "2"}
    command = [sys.executable, "-m", "ganvas", "info", "--help"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
    assert "MODEL" in done.stdout


def test_a_backend_that_matplotlib_does_not_know_ends_nothing(tmp_path: Path) -> None:
    """As `Qt4Agg`, which its older versions had: commands open no windows, and it could not be imported."""
    environment = {**os.environ, "MPLBACKEND": "Qt4Agg"}
    command = "import sys; from ganvas.cli import main; main(['list', 'terms']); import matplotlib"
    subprocess.run([sys.executable, "-c", command], env=environment, cwd=tmp_path, check=True, timeout=120)


def test_settings_of_plots_are_not_read_in_the_current_folder(tmp_path: Path) -> None:
    """Of data from anybody: 78 bytes of dashes made plots that never ended, and some bytes a traceback."""
    (tmp_path / "matplotlibrc").write_bytes(b"font.size: 99\n\xff: 1\n")
    command = "import sys; from ganvas.cli import main; main(['list', 'terms'])"
    shown = "import os, matplotlib; print(matplotlib.rcParams['font.size'], os.getcwd())"
    environment = {**os.environ, "MATPLOTLIBRC": "", "MPLCONFIGDIR": str(tmp_path / "own")}
    done = subprocess.run(
        [sys.executable, "-c", f"{command}; {shown}"], env=environment, cwd=tmp_path, check=True, timeout=120,
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == f"10.0 {tmp_path}"


def test_what_pages_are_built_with_reads_nothing_in_the_current_folder(tmp_path: Path) -> None:
    """Of data from anybody: a pipe of that name was waited for, and whatever stood there was loaded."""
    kept = tmp_path / ".nicegui" / "storage-general.json"
    kept.parent.mkdir()
    kept.write_text('{"left": "by a stranger"}')
    command = "from ganvas.cli import main; main(['list', 'terms'])"
    shown = "from nicegui import app; print(dict(app.storage.general))"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NICEGUI")}
    done = subprocess.run(
        [sys.executable, "-c", f"{command}; {shown}"], env=environment, cwd=tmp_path, check=True, timeout=120,
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "{}"


def test_python_that_libraries_begin_imports_nothing_of_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loader workers are begun so where they are not forked, and what torch.compile tries: a `ctypes.py` beside pictures ran."""
    (tmp_path / "ctypes.py").write_text("raise SystemExit('ran')")
    monkeypatch.setenv("PYTHONSAFEPATH", "")
    assert main(["list", "models"]) == 0
    done = subprocess.run(
        [sys.executable, "-c", "import ctypes; print('done')"], cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("done\n", "")


def test_films_read_no_settings_of_a_folder_that_is_everybodys(monkeypatch: pytest.MonkeyPatch) -> None:
    """What PyAV's wheel brings looks for a file of `/tmp` as it is loaded, and waited for a pipe that lay there."""
    monkeypatch.delenv("GNUTLS_SYSTEM_PRIORITY_FILE", raising=False)
    assert main(["list", "models"]) == 0
    assert os.environ["GNUTLS_SYSTEM_PRIORITY_FILE"] == os.devnull
    monkeypatch.setenv("GNUTLS_SYSTEM_PRIORITY_FILE", "mine")
    assert main(["list", "models"]) == 0
    assert os.environ["GNUTLS_SYSTEM_PRIORITY_FILE"] == "mine"


def test_settings_of_numba_in_the_current_folder_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """They named a cache there, of which numba unpickled what it found: what a stranger had put into it ran."""
    monkeypatch.chdir(tmp_path)
    Path(".numba_config.yaml").write_text("cache_dir: ./cache")
    assert main(["map", "fashion", "--method", "umap"]) == 2
    assert ".numba_config.yaml in this folder would say to numba" in capsys.readouterr().err


@pytest.mark.parametrize("folder", ["wandb", ".wandb"])
def test_settings_of_wandb_in_the_current_folder_are_refused(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of data from anybody: the user's key and all figures went to the server that they name."""
    (tmp_path / folder).mkdir()
    (tmp_path / folder / "settings").write_text("[default]\nbase_url = http://127.0.0.1:9\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "wandb", types.ModuleType("wandb"))
    assert main(["train", "digits", "--kimg", "0.1", "--log", "wandb"]) == 2
    assert (
        f"{Path(folder, 'settings')} in this folder would say to whom wandb sends" in capsys.readouterr().err
    )
    assert not (tmp_path / "runs").exists()


def test_defaults_of_wandb_in_the_current_folder_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Names of YAML that multiply: 366 bytes kept a training from its first step for minutes."""
    (tmp_path / "config-defaults.yaml").write_text("a: {value: 1}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "wandb", types.ModuleType("wandb"))
    assert main(["train", "digits", "--kimg", "0.1", "--log", "wandb"]) == 2
    assert "config-defaults.yaml in this folder would be read by wandb" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_pictures_of_an_evaluation_before_are_not_those_of_this_one(trained: Result, tmp_path: Path) -> None:
    """Where none are kept, as of many large samples, the report showed those of an older snapshot below the figures."""
    run = ganvas.Run(Path(shutil.copytree(trained.run.path, tmp_path / "run")))
    asked = ["eval", str(run.path), "--metrics", "frechet", "--device", "cpu", "--quiet"]
    assert main([*asked, "--n", "100"]) == 0
    assert (run.path / "evaluation" / "nearest.png").is_file()
    assert main([*asked, "--n", "5"]) in (0, 2)
    assert not list((run.path / "evaluation").glob("*.png"))


def test_the_report_shows_no_pictures_of_another_evaluation(trained: Result, tmp_path: Path) -> None:
    """Of two at once the rows of one came last, and the pictures of the other; or a kill came between the two."""
    run = ganvas.Run(Path(shutil.copytree(trained.run.path, tmp_path / "run")))
    for seed in ("1", "2"):
        assert (
            main(
                [
                    "eval",
                    str(run.path),
                    "--metrics",
                    "frechet",
                    "--seed",
                    seed,
                    "--n",
                    "100",
                    "--device",
                    "cpu",
                ]
            )
            == 0
        )
        found = [
            (run.path / "evaluation" / name).read_bytes()
            for name in ("nearest.png", "realism.png", "shown.json")
        ]
        if seed == "1":
            before = found
    captions = [caption for _, caption in report.artifacts.saved_pictures(run)]
    assert len(captions) == 2
    for left in ({0, 1, 2}, {0}, {0, 1}, {2}):
        for i, name in enumerate(("nearest.png", "realism.png", "shown.json")):
            (run.path / "evaluation" / name).write_bytes((before if i in left else found)[i])
        shown = [caption for _, caption in report.artifacts.saved_pictures(run)]
        assert shown == (captions[1:] if left == {0} else [])
    (run.path / "evaluation" / "shown.json").write_text('{"of": [], "pictures": 3}')
    assert report.artifacts.saved_pictures(run) == []
    (run.path / "evaluation" / "shown.json").unlink()
    assert len(report.artifacts.saved_pictures(run)) == 2, "of runs from before nobody knows"
    for asked in ([], ["--snapshots"]):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("ganvas.cli.evaluate._finish", Mock(side_effect=KeyboardInterrupt))
            command = ["eval", str(run.path), "--metrics", "frechet", "--seed", "3", "--n", "100", *asked]
            assert main([*command, "--device", "cpu"]) == 130
        assert report.artifacts.saved_pictures(run) == []


def test_figures_of_a_snapshot_that_was_made_anew_meanwhile_are_not_kept(
    trained: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A training that had gone back behind it wrote another one of its name: the figures stood for that, on a card as well."""
    run = ganvas.Run(Path(shutil.copytree(trained.run.path, tmp_path / "run")))
    file, before = run.snapshots[-1] / "generator.safetensors", run.metrics()
    measured = metrics.evaluate

    def anew(*arguments: Any, **named: Any) -> Any:
        found = measured(*arguments, **named)
        tensors, header = io.load_tensors(file)
        io.save_tensors(file, {name: each * 2 for name, each in tensors.items()}, header)
        return found

    asked = [str(run.path), "--n", "100", "--device", "cpu"]
    with monkeypatch.context() as patch:
        patch.setattr(metrics, "evaluate", anew)
        assert main(["eval", *asked, "--metrics", "frechet"]) == 0
    said = capsys.readouterr()
    assert "frechet" in said.out
    assert f"snapshot {file.parent.name} was removed or made anew while it was measured" in said.err
    assert run.metrics() == before
    assert main(["eval", *asked, "--metrics", "frechet", "--quiet"]) == 0
    assert [row["metric"] for row in run.metrics()] == [*(row["metric"] for row in before), "frechet"]


def test_a_terminal_of_no_columns_is_one_that_does_not_say(
    trained: Result, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rich took it at its word: `eval` printed no table."""
    monkeypatch.setenv("COLUMNS", "0")
    assert main(["eval", str(trained.run.path), "--n", "100", "--metrics", "frechet"]) == 0
    assert "frechet" in capsys.readouterr().out


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    shown = capsys.readouterr().out
    for word in ("digits", "toy:grid25", "dcgan", "relativistic", "wgan-gp", "article", "hub:org/name"):
        assert word in shown
    assert main(["list", "presets", "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out)) == ["presets"]


def test_train_and_sample(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "digits", *SMALL, "--out", str(tmp_path), "--name", "mine", "--json"]) == 0
    run = json.loads(capsys.readouterr().out)["run"]
    assert Path(run).name == "00000-mine"
    picture, archive, folder = tmp_path / "a.png", tmp_path / "a.npz", tmp_path / "folder"
    for out in (picture, archive, folder):
        assert main(["sample", run, "--n", "6", "--seed", "1", "--out", str(out)]) == 0
    with Image.open(picture) as grid:
        assert grid.width >= 500
    assert np.load(archive)["images"].shape == (6, 1, 8, 8)
    assert len(list(folder.iterdir())) == 6
    capsys.readouterr()
    assert main(["train", "--resume", run, "--kimg", "0.128", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["kimg"] == 0.128


def test_conditional_samples(tmp_path: Path) -> None:
    assert main(["train", "digits", *SMALL, "--conditional", "--out", str(tmp_path), "--name", "c"]) == 0
    assert (
        main(["sample", str(tmp_path / "00000-c"), "--labels", "3", "5", "--out", str(tmp_path / "a.png")])
        == 0
    )


def test_demo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--minutes", "0.02", "--out", str(tmp_path)]) == 0
    run = tmp_path / "00000-demo"
    for name in ("samples.png", "interpolation.png", "report.html"):
        assert (run / name).stat().st_size > 1000
        assert str(run / name) in capsys.readouterr().out if name == "samples.png" else True


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tarin", "digits"], "unknown command 'tarin'. Did you mean 'train'?"),
        (["train"], "What to train on?"),
        (["train", "digit"], "Did you mean 'digits'?"),
        (["train", "no/such/place"], "neither a known data set nor an existing path"),
        (["train", "digits", "--preset", "smal"], "Did you mean 'small'?"),
        (["train", "digits", "--network", "dcgn"], "Did you mean 'dcgan'?"),
        (["train", "digits", "--loss", "hinges"], "Did you mean 'hinge'?"),
        (["train", "digits", "--penalty", "wgan"], "Did you mean 'wgan-gp'?"),
        (["train", "digits", "--precision", "fp8"], "Use auto, fp32 or bf16"),
        (["train", "digits", "--device", "tpu"], "Unknown device 'tpu'"),
        (["train", "digits", "--kimg", "-1"], "more than 0"),
        (["train", "digits", "--batch", "1"], "must be at least 2"),
        (["train", "digits", "--batch", "5000"], "does not fit"),
        (["train", "digits", "--resolution", "9"], "--resolution 8"),
        (["train", "digits", "--set", "optimizer.lr=1"], "Unknown setting config.optimizer.lr"),
        (["train", "digits", "--set", "batch"], "--set wants PATH=VALUE"),
        (["train", "digits", "--penalty", "none", "--gamma", "1"], "--gamma sets the weight of a penalty"),
        (["train", "toy:swissroll", "--conditional"], "--conditional needs labels"),
        (["train", "toy:ring8", "--network", "dcgan"], "--network mlp"),
        (["train", "--resume", "nowhere"], "No such run folder"),
        (["train", "--resume", "nowhere", "--dry-run"], "--dry-run shows the config of a new run"),
        (["train", "digits", "--more", "2", "--dry-run"], "neither --resume nor --more"),
        (["sample", "nowhere"], "No such model"),
    ],
)
def test_mistakes(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [], "nothing half-written"


@pytest.mark.parametrize(
    "arguments", [["train", "digits", "--kimgs", "3"], ["train", "digits", "--resize", "squash"], ["sample"]]
)
def test_mistyped_flags(arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert list(tmp_path.iterdir()) == []


def test_sample_refuses_before_working(
    trained: Result, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sample", str(trained.run.path), "--out", str(tmp_path / "a.gif")]) == 2
    assert main(["sample", str(trained.run.path), "--labels", "1", "--out", str(tmp_path / "a.png")]) == 2
    assert "trained without labels" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_failed_run_is_not_the_users_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A learning rate that blows everything up: exit code 1, and the message names the step."""
    broken = ["--set", "optimizer.lr_critic=1e15", "--set", "optimizer.lr_generator=1e15"]
    assert main(["train", "digits", *SMALL, *broken, "--kimg", "1", "--out", str(tmp_path)]) == 1
    assert "not finite at step" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "worker"),
    [
        (["eval", "--metrics", "frechet"], "ganvas.metrics.evaluate"),
        (["audit", "--reconstruct", "0", "--out", "pairs.png"], "ganvas.privacy.audit"),
    ],
)
def test_figures_of_a_run_that_was_moved_meanwhile_are_told(
    words: list[str], worker: str, trained: Result, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """And get into no other run of its number."""
    run = tmp_path / "00000-a"
    shutil.copytree(trained.run.path, run)
    package, name = worker.rsplit(".", 1)
    measured = getattr(import_module(package), name)

    def moving(*arguments: Any, **named: Any) -> Any:
        found = measured(*arguments, **named)
        run.rename(tmp_path / "moved")
        create_run(tmp_path, "a", {"format_version": 1, "config": {}})
        return found

    def content() -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in (tmp_path / "moved").rglob("*") if path.is_file()}

    shutil.copytree(run, tmp_path / "moved")
    before = content()
    shutil.rmtree(tmp_path / "moved")
    monkeypatch.setattr(worker, moving)
    monkeypatch.chdir(tmp_path)
    asked = [words[0], str(run), *words[1:], "--n", "100", "--extractor", "raw", "--device", "cpu", "--json"]
    assert main(asked) == 2
    told = capsys.readouterr()
    assert json.loads(told.out)
    assert "00000-a was moved or removed while it was worked on" in told.err
    assert [path.name for path in run.iterdir()] == ["config.json"]
    assert content() == before
    assert (tmp_path / "pairs.png").exists() == (words[0] == "audit")


def test_eval_prints_a_table_and_writes_everything(
    tiny_train: Callable[..., Result], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tiny_train(kimg=2.048, settings={"training.snapshot_kimg": 1.024}).run.path
    figures = tmp_path / "figures.json"
    assert main(["eval", str(run), "--n", "300", "--out", str(figures), "--device", "cpu"]) == 0
    table = capsys.readouterr().out
    for word in (
        "frechet",
        "classifier-digits-",
        "floor (N=180)",
        "300 samples",
        "points left out",
        "warning: N = 300",
    ):
        assert word in table
    rows = json.loads(figures.read_text())["rows"]
    assert [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()] == rows
    page = (run / "report.html").read_text()
    assert "<h2>Quality</h2>" in page
    assert "<th>at N=180<th>floor (N=180)" in page, (
        "300 samples beside the floor of 180 look better or worse than they are"
    )
    assert "nearest real images" in page
    assert (
        main(["eval", str(run), "--n", "300", "--seed", "1", "--against", str(figures), "--device", "cpu"])
        == 0
    )
    assert "before" in capsys.readouterr().out
    beside = ["eval", str(run), "--n", "300", "--seed", "1", "--against", str(figures), "--json"]
    assert main([*beside, "--device", "cpu"]) == 0
    assert json.loads(capsys.readouterr().out)["before"] == {row["metric"]: row["value"] for row in rows}
    for more in ([], ["--json"]):
        refused = ["eval", str(run), "--n", "200", "--against", str(figures), "--device", "cpu", *more]
        assert main(refused) == 2
        said = capsys.readouterr()
        assert "cannot be compared" in said.err
        assert "frechet" in said.out, "they are measured all the same"
    assert (
        main(
            [
                "eval",
                str(run),
                "--n",
                "200",
                "--metrics",
                "frechet",
                "--snapshots",
                "--json",
                "--device",
                "cpu",
            ]
        )
        == 0
    )
    assert json.loads(capsys.readouterr().out)["rows"][0]["metric"] == "frechet"
    assert "Quality over training" in (run / "report.html").read_text()


def test_eval_of_a_folder(trained: Result, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sample", str(trained.run.path), "--n", "120", "--out", str(tmp_path / "made")]) == 0
    capsys.readouterr()
    assert (
        main(["eval", str(tmp_path / "made"), "--reference", "digits", "--metrics", "frechet,kid", "--json"])
        == 0
    )
    document = json.loads(capsys.readouterr().out)
    assert [row["metric"] for row in document["rows"]] == ["frechet", "kid"]
    assert document["rows"][0]["n"] == 120


def test_names_are_no_markup_in_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What an archive calls its folders ended in a traceback: to the library that prints, [/bold] closes what was not open."""
    path = tmp_path / "made[" / "bold].npy"
    path.parent.mkdir()
    np.save(path, np.random.default_rng(0).integers(0, 256, (120, 8, 8), dtype=np.uint8))
    assert main(["eval", str(path), "--reference", "digits", "--metrics", "frechet"]) == 0
    assert "made[/bold].npy" in capsys.readouterr().out.replace("\n", "")


def test_an_extractor_of_pictures_that_none_looks_at_is_refused_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All epochs were trained, and the file could never be opened."""
    images = np.zeros((20, 16, 1056), np.uint8)
    np.savez(tmp_path / "tall.npz", images=images, labels=np.arange(20) % 2)
    monkeypatch.chdir(tmp_path)
    assert main(["extractor", "train", "tall.npz", "--epochs", "1", "--device", "cpu"]) == 2
    assert (
        "pictures of 1056 x 16 px, and a classifier looks at sides of up to 1,024" in capsys.readouterr().err
    )
    assert [each.name for each in tmp_path.iterdir()] == ["tall.npz"]


def test_extractor_and_reference(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "mine.safetensors"
    assert main(["extractor", "train", "digits", "--epochs", "4", "--out", str(out), "--device", "cpu"]) == 0
    assert "held-out images right" in capsys.readouterr().out
    assert main(["reference", "digits", "--extractor", str(out), "--device", "cpu", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["extractor"].startswith("classifier-digits-")
    assert Path(document["path"]).is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["eval", "no-such-run"], "No model or images"),
        (["eval", "{run}", "--metrics", "frechte"], "Did you mean 'frechet'?"),
        (["eval", "{run}", "--extractor", "resnet"], "Unknown extractor"),
        (["eval", "{run}", "--n", "0"], "at least 1"),
        (["eval", "{run}/snapshots/000000", "--snapshots"], "wants a run folder"),
        (["extractor", "train", "toy:ring8"], "labels of two or more classes"),
        (["reference", "no-such-data"], "No data at"),
    ],
)
def test_mistakes_in_measuring(
    trained: Result, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([a.format(run=trained.run.path) for a in arguments]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "augment"),
    [
        (
            ["--augment", "ada"],
            {"policy": ["bgc"], "p": 0.0, "target": 0.6, "kimg": 500.0, "limit": 1.0, "pseudo": False},
        ),
        (
            ["--augment", "ada-diffaugment"],
            {"policy": ["colour", "translation", "cutout"], "p": 0.0, "target": 0.6, "limit": 0.8},
        ),
        (["--augment", "bgc"], {"policy": ["bgc"], "p": 1.0, "target": None}),
        (
            ["--augment", "diffaugment"],
            {"policy": ["colour", "translation", "cutout"], "p": 1.0, "target": None},
        ),
        (["--augment", "apa"], {"policy": [], "target": 0.6, "pseudo": True}),
        (["--augment", "flip", "cutout"], {"policy": ["flip", "cutout"], "p": 1.0}),
        (["--preset", "photo", "--augment", "none"], {"policy": []}),
    ],
)
def test_augmentation_by_name(
    flags: list[str], augment: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "digits", *flags, "--dry-run", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["augment"]
    assert {key: found[key] for key in augment} == augment


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["digits", "--augment", "cutuot"], "Did you mean 'cutout'?"),
        (["digits", "--augment", "ada", "flip"], "give it alone"),
        (["toy:ring8", "--augment", "ada"], "is for images"),
        (["digits", "--term", "path-length"], "--network style"),
        (["digits", "--set", "network.pack=5"], "cannot be packed by 5"),
        (["digits", "--term", "top-k=2"], "between 0 and 1"),
        (["digits", "toy:ring8"], "must all be images"),
        (["digits", "digits"], "given twice"),
        (["toy:swissroll", "--balance"], "has neither"),
    ],
)
def test_mistakes_in_the_new_options(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *arguments, "--kimg", "0.1", "--out", str(tmp_path / "runs")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "runs").exists(), "nothing is left behind"


def test_eval_draws_classes_in_the_references_shares_or_equally(
    tiny_train: Callable[..., Result],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """180 images of class 0 for 20 of class 1: of 100 samples 90 and 10, or 50 and 50."""
    images = np.random.default_rng(0).integers(0, 255, (200, 8, 8, 1), dtype=np.uint8)
    np.savez(tmp_path / "a.npz", images=images, labels=np.arange(200) % 10 == 9)
    run = tiny_train(
        data=str(tmp_path / "a.npz"), conditional=True, kimg=0.064, settings={"data.holdout": 0.0}
    )
    drawn: list[torch.Tensor] = []
    batches = ganvas.Model.batches

    def watched(self: ganvas.Model, n: int, **options: Any) -> Any:
        drawn.append(torch.as_tensor(options["labels"]))
        return batches(self, n, **options)

    monkeypatch.setattr(ganvas.Model, "batches", watched)
    command = ["eval", str(run.run.path), "--n", "100", "--metrics", "frechet", "--extractor", "raw"]
    for more, shares, words in (
        ([], [90, 10], "classes in the reference's shares"),
        (["--labels", "uniform"], [50, 50], "as many samples of each class"),
    ):
        assert main([*command, "--device", "cpu", *more]) == 0
        assert drawn[-1].bincount().tolist() == shares
        assert words in capsys.readouterr().out


def test_edit_shows_strengths_in_order_and_says_what_typicality_is(
    trained: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """They stood as +0, -2, +2, with a "typicality 0%" that nothing explained."""
    run, file, out = str(trained.run.path), str(tmp_path / "d.safetensors"), str(tmp_path / "edit.png")
    assert main(["directions", run, "--method", "random", "--count", "1", "--out", file]) == 0
    capsys.readouterr()
    rows: list[list[str]] = []
    sheet = pictures.sheet
    monkeypatch.setattr(
        pictures, "sheet", lambda images, names, **o: rows.append(list(names)) or sheet(images, names, **o)
    )
    command = ["edit", run, "--direction", file, "--strength", "2", "-2", "1", "--n", "2", "--out", out]
    assert main(command) == 0
    assert rows == [["-2", "as it is", "+1", "+2"]]
    (last,) = (line for line in capsys.readouterr().out.splitlines() if "typicality" in line)
    assert last.startswith("typicality, the share of the model's own samples that are less usual: -2: ")
    places = [last.index(f" {words}: ") for words in ("-2", "as it is", "+1", "+2")]
    assert places == sorted(places)
    assert main([*command, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert len(document["typicality"]) == 4
    assert document["strength"] == [-2, 0, 1, 2], "in the order of the typicality"
    capsys.readouterr()
    assert main([*command, "--n", "1000000"]) == 2, "of that many walk draws no strip, and sample no grid"
    assert "A table of 4 x 1,000,000 pictures" in capsys.readouterr().err


SPREAD = {"train", "sample", "calibrate", "eval", "reference"}
"""Commands whose work several processes share: tests/test_dist.py and tests/test_shared_work.py run them all."""


@pytest.mark.parametrize("command", list(COMMANDS))
def test_what_is_not_spread_runs_in_one_process(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    called = list[str]()
    monkeypatch.setattr("ganvas.cli._parse.call", lambda run, argv, name, example: called.append(name) or 0)
    code = main([command])
    if command in SPREAD:
        assert (code, called) == (0, [command])
        return
    assert (code, called) == (2, []), "refused before anything is written"
    assert f"ganvas {command} runs in one process: leave torchrun out" in capsys.readouterr().err
    assert main([command, "--help"]) == 0
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert main([command]) == 0
    assert called == [command, command]


def test_runs_with_several_seeds_are_trained_in_one_process(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(["train", "digits", "--seeds", "2", "--out", str(tmp_path / "runs")]) == 2
    assert (
        "--seeds and --folds train and measure in one process: leave torchrun out" in capsys.readouterr().err
    )
    assert not list(tmp_path.iterdir())
