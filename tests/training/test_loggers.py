"""What loggers hear, and what TensorBoard's reader and Trackio's store say of a run that was killed and resumed."""

import os
import shutil
import signal
import sys
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import ganvas
from ganvas import io
from ganvas.cli import main
from ganvas.errors import GanvasError, TrainingError
from ganvas.report.verdicts import Verdict
from ganvas.runs import Run
from ganvas.training import Logger, Result
from ganvas.training.loggers import EVENTS, Audience, Tracked, open_logger
from tests.conftest import TINY, same_tensors
from tests.training.test_train import stop_at, weights

Train = Callable[..., Result]


class Ear(Logger):
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, int, Any]] = []

    def on_start(self, run: Run, step: int) -> None:
        self.heard.append(("start", step, run.path))

    def on_stats(self, step: int, stats: io.Json) -> None:
        self.heard.append(("stats", step, stats))

    def on_images(self, step: int, images: Mapping[str, Image.Image]) -> None:
        self.heard.append(("images", step, {name: image.size for name, image in images.items()}))

    def on_verdict(self, step: int, verdict: Verdict, began: bool) -> None:
        self.heard.append(("verdict", step, (verdict.name, began)))

    def on_end(self, step: int, stopped: str) -> None:
        self.heard.append(("end", step, stopped))

    def of(self, kind: str) -> list[tuple[int, Any]]:
        return [(step, what) for name, step, what in self.heard if name == kind]


class Broken(Logger):
    """Fails whenever it can."""

    def on_stats(self, step: int, stats: io.Json) -> None:
        stats.clear()
        raise RuntimeError("no\x1b room")

    def on_end(self, step: int, stopped: str) -> None:
        raise SyntaxError("neither")


def test_what_is_heard_is_what_the_run_keeps(tiny_train: Train, trained: Result) -> None:
    """And neither a logger nor one that fails changes a weight."""
    ear = Ear()
    result = tiny_train(log=[Broken(), ear], seed=0)
    run = result.run
    assert same_tensors(weights(result), weights(trained))
    assert ear.heard[0] == ("start", 0, run.path)
    assert ear.heard[-1] == ("end", 16, "budget")
    assert [what for _, what in ear.of("stats")] == run.stats()
    assert [step for step, _ in ear.of("stats")] == [record["step"] for record in run.stats()]
    pictures = ear.of("images")
    assert [(step, *names) for step, names in pictures] == [
        (0, "reals"),
        (0, "samples"),
        (8, "samples"),
        (16, "samples"),
    ]
    with Image.open(run.samples_path / "000000.png") as picture:
        assert pictures[-1][1]["samples"] == picture.size
    assert (run.path / "log.txt").read_text().count("logger") == 1
    assert (
        "The logger Broken failed in on_stats: RuntimeError: no\\x1b room. The training goes on."
        in (run.path / "log.txt").read_text()
    )


def test_a_run_that_fails_is_ended(tiny_train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    ear = Ear()
    with pytest.raises(TrainingError, match="not finite"):
        tiny_train(log=ear, settings={"optimizer.lr_critic": 1e15, "optimizer.lr_generator": 1e15})
    assert ear.heard[-1][0::2] == ("end", "failed")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Trackio reads the place of its store when it is imported."""
    os.environ["TRACKIO_DIR"] = str(tmp_path_factory.mktemp("trackio"))


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory, store: None) -> Run:
    """A run of 16 steps whose log went on to the 12th when it was killed after the state of the 8th."""
    log = ["tensorboard", "trackio"]
    out = tmp_path_factory.mktemp("killed")
    settings = {**TINY, "training.eval_kimg": 0.256, "training.eval_samples": 100}
    run = ganvas.train(
        "digits",
        kimg=0.256,
        batch=32,
        device="cpu",
        out=out,
        quiet=True,
        report=False,
        log=log,
        settings=settings,
    ).run
    kept = out / "kept"
    shutil.copy(run.state_path, kept)
    with pytest.MonkeyPatch.context() as patch:
        stop_at(patch, 12, signal.SIGTERM)
        ganvas.train(resume=run.path, kimg=0.512, quiet=True, report=False, log=log)
    shutil.copy(kept, run.state_path)
    ganvas.train(resume=run.path, kimg=0.512, quiet=True, report=False, log=log)
    return run


def test_tensorboard_reads_one_log(killed: Run) -> None:
    reader = EventAccumulator(str(killed.path / "tensorboard"), size_guidance={"images": 0, "tensors": 0})
    reader.Reload()
    stats = killed.stats()
    assert [record["step"] for record in stats] == list(range(2, 17, 2))
    for name in ("kimg", "loss_critic", "loss_generator", "images_per_second"):
        read = [(each.step, each.value) for each in reader.Scalars(name)]
        expected = [(record["step"], record[name]) for record in stats if name in record]
        assert [step for step, _ in read] == [step for step, _ in expected]
        assert [value for _, value in read] == pytest.approx([value for _, value in expected], rel=1e-6), name
    rows = killed.metrics()
    assert [each.value for each in reader.Scalars("frechet")] == pytest.approx([row["value"] for row in rows])
    assert [each.step for each in reader.Images("samples")] == [0, 8, 16]
    seen = np.asarray(Image.open(BytesIO(reader.Images("samples")[-1].encoded_image_string)))
    with Image.open(killed.samples_path / "000000.png") as kept:
        assert np.array_equal(seen, np.asarray(kept.convert("RGB")))
    assert "config/text_summary" in reader.Tags()["tensors"]


def test_trackio_keeps_one_run(killed: Run) -> None:
    from trackio.sqlite_storage import SQLiteStorage

    (name,) = SQLiteStorage.get_runs("ganvas")
    assert name == f"{killed.path.name}-{killed.info['id']}"
    rows = SQLiteStorage.get_logs("ganvas", name)
    steps = [row["step"] for row in rows if "loss_critic" in row]
    assert steps == [record["step"] for record in killed.stats()]
    losses = {record["step"]: record["loss_critic"] for record in killed.stats()}
    assert {row["step"]: row["loss_critic"] for row in rows if "loss_critic" in row} == losses
    assert [row["step"] for row in rows if "frechet" in row] == [8, 16]
    assert [row["step"] for row in rows if "samples" in row][:2] == [0, 8]
    assert SQLiteStorage.get_run_config("ganvas", name)["training"]["batch"] == 32


def collapse(run: Run, audience: Audience) -> None:
    """Six steps, back to the second, four more; a verdict that stands from 3 to 4."""
    bad = Verdict("mode collapse", "problem", "seen.", "Try this.")
    found: dict[int, Sequence[Verdict]] = {3: [bad], 4: [bad], 5: []}
    audience.start(run, 0)
    for step in range(1, 7):
        audience.stats(step, {"step": step, "kimg": 1.0 * step}, found.get(step))
    audience.start(run, 2)
    for step in range(3, 8):
        audience.stats(step, {"step": step, "kimg": 100.0 * step})
    audience.end("budget")


@pytest.mark.usefixtures("store")
def test_going_back_replaces_or_keeps(trained: Result, tmp_path: Path) -> None:
    run = Run(tmp_path / trained.run.path.name)
    shutil.copytree(trained.run.path, run.path)
    io.write_json(run.config_path, {**run.info, "id": "../../.."})  # of a run from anybody
    ear = Ear()
    collapse(run, Audience([ear, "tensorboard", "trackio"], quiet=True))
    assert ear.of("verdict") == [(3, ("mode collapse", True)), (5, ("mode collapse", False))]
    reader = EventAccumulator(str(run.path / "tensorboard"))
    reader.Reload()
    assert [each.value for each in reader.Scalars("kimg")] == [1, 2, 300, 400, 500, 600, 700]
    from trackio.sqlite_storage import SQLiteStorage

    rows = SQLiteStorage.get_logs("ganvas", run.path.name)
    assert [row["kimg"] for row in rows] == [1, 2, 3, 4, 5, 6, 700]
    (alert,) = SQLiteStorage.get_alerts("ganvas", run_name=run.path.name)
    assert alert["title"] == "mode collapse"
    assert alert["step"] == 3


def test_wandb_is_told_an_id_and_a_folder(trained: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same adapter, with what the library of the calls wants; a stand-in, since the real one needs its server."""
    calls: list[Any] = []
    told = types.SimpleNamespace(step=4, log=lambda what, step: calls.append((step, what)))
    fake = types.ModuleType("wandb")
    vars(fake).update(init=lambda **given: calls.append(given) or told, finish=lambda: calls.append("finish"))
    monkeypatch.setitem(sys.modules, "wandb", fake)
    logger = Tracked("wandb")
    logger.on_start(trained.run, 2)
    for step in (3, 4, 5):
        logger.on_stats(step, {"step": step, "kimg": 1.5, "verdicts": ["no"]})
    logger.on_end(5, "budget")
    begun, *rest = calls
    assert rest == [(4, {"kimg": 1.5}), (5, {"kimg": 1.5}), "finish"]
    key = f"{trained.run.path.name}-{trained.run.info['id']}"
    assert {name: begun[name] for name in ("project", "name", "id", "resume", "dir")} == {
        "project": "ganvas", "name": key, "id": key, "resume": "allow", "dir": str(trained.run.path),
    }  # fmt: skip


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for library, extra in (("tensorboard", "log"), ("trackio", "trackio"), ("wandb", "wandb")):
        for name in (library, "torch.utils.tensorboard"):
            monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(
            GanvasError, match=rf"--log {library} needs .* pip install '({library}>=|ganvas\[{extra}\])"
        ):
            open_logger(library)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("tensorbord", "Unknown logger 'tensorbord'. Did you mean 'tensorboard'"),
        ("mine.py", "--log mine.py:NAME"),
        ("none.py:Mine", "there is no file none.py"),
        ("mine.py:Mime", "mine.py has no 'Mime'. Did you mean 'Mine'"),
        ("mine.py:Half", "Half is without on_images"),
        ("mine.py:number", "int is without on_start"),
        ("mine.py:Wants", r"Wants\(\) failed: TypeError"),
        ("broken.py:Mine", "broken.py failed: ZeroDivisionError"),
    ],
)
def test_mistakes(asked: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("broken.py").write_text("1 / 0\n")
    Path("mine.py").write_text(
        "import ganvas\n"
        "class Mine(ganvas.Logger): pass\n"
        "class Wants(ganvas.Logger):\n    def __init__(self, more): pass\n"
        f"class Half:\n    {' = '.join(set(EVENTS) - {'on_images'})} = print\n"
        "number = 3\n"
    )
    with pytest.raises(GanvasError, match=said):
        ganvas.train("digits", log=[asked])
    assert not Path("runs").exists()


def test_a_class_is_no_object(tiny_train: Train) -> None:
    with pytest.raises(GanvasError, match="a class; give an object"):
        tiny_train(log=[Ear])


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(
        "import ganvas\n"
        "class Mine(ganvas.Logger):\n"
        "    def on_start(self, run, step):\n"
        "        print('a word on stdout')\n"
        "        with open('heard', 'a') as file: file.write(f'{run.path.name} {step}\\n')\n"
    )
    yield tmp_path
    sys.modules.pop("ganvas_log_mine")


def test_a_series_is_a_log_for_each_run(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By the command, whose stdout stays that of its result."""
    settings = [f"{name}={value}" for name, value in TINY.items()]
    command = [
        "train",
        "digits",
        "--kimg",
        "0.064",
        "--batch",
        "32",
        "--device",
        "cpu",
        "--seeds",
        "2",
        "--json",
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ganvas.training.repeat.METRICS", ("kid",))
        assert main([*command, "--log", "mine.py:Mine", "--set", *settings]) == 0
    out, err = capsys.readouterr()
    assert len(io.parse_json(out, "stdout")["runs"]) == 2
    assert err.count("a word on stdout") == 2
    assert Path("heard").read_text() == "00000-digits-small 0\n00001-digits-small 0\n"
