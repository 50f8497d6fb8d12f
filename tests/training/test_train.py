"""Whole runs: what is in the folder, that they learn, that they can be stopped, resumed and killed."""

import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ganvas
from ganvas import io, training
from ganvas.cli import main
from ganvas.errors import GanvasError, TrainingError
from ganvas.runs import open_run
from ganvas.training import Result
from ganvas.training.gan import GanMethod
from ganvas.training.hints import too_long
from ganvas.training.loop import Loop
from tests.conftest import TINY, same_tensors

Train = Callable[..., Result]


def weights(result: Result) -> dict[str, torch.Tensor]:
    folder = result.run.snapshots[-1]
    return {
        f"{kind}.{key}": value
        for kind in ("generator", "critic")
        for key, value in io.load_tensors(folder / f"{kind}.safetensors")[0].items()
    }


def test_what_a_run_leaves_behind(tiny_train: Train) -> None:
    trained = tiny_train(report=True)
    path = trained.run.path
    names = {p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file()}
    assert names == {
        ".lock", "config.json", "log.txt", "stats.jsonl", "report.html", "state/latest.safetensors",
        "samples/reals.png", "samples/000000.png",
        "snapshots/000000/generator.safetensors", "snapshots/000000/critic.safetensors",
    }  # fmt: skip
    assert trained.stopped == "budget"
    assert trained.kimg == 0.512
    info = trained.run.info
    assert info["data"]["trained_on"] == 1617
    assert info["data"]["held_out"] == 180
    assert info["config"]["training"]["device"] == "cpu"
    assert info["config"]["training"]["precision"] in ("fp32", "bf16"), "saved resolved, never auto"
    stats = trained.run.stats()
    assert [r["kimg"] for r in stats] == [0.064 * i for i in range(1, 9)]
    assert all(r["images_per_second"] > 0 for r in stats)
    log = (path / "log.txt").read_text()
    assert "1,617 samples of 1 x 8 x 8" in log
    assert "budget" in log


def test_what_a_run_tells_to_type_works(
    tiny_train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Own pictures without a network that sees them, and a table of which too few windows are held out."""
    monkeypatch.setattr("ganvas.networks.efficientnet.installed", lambda: False)

    def told(data: str, **options: Any) -> tuple[Path, str]:
        path = tiny_train(data, report=True, kimg=0.032, **options).run.path
        return path, (path / "log.txt").read_text()

    np.save(tmp_path / "mine.npy", np.random.default_rng(0).integers(0, 256, (200, 8, 8), np.uint8))
    path, log = told(str(tmp_path / "mine.npy"))
    assert f"Go on: ganvas explore {path}, ganvas eval {path} --extractor pyramid\n" in log
    assert main(["eval", str(path), "--extractor", "pyramid", "--n", "50", "--metrics", "frechet"]) == 0
    path, log = told("digits")
    assert log.endswith(f"ganvas eval {path}\n")
    run = ganvas.train(
        "toy:ring8", kimg=0.2, device="cpu", out=tmp_path / "runs", quiet=True, settings={}
    ).run
    log = (run.path / "log.txt").read_text()
    assert log.endswith(f"Go on: ganvas sample {run.path}, ganvas eval {run.path}\n"), (
        "points are not explored"
    )
    table = tmp_path / "shop.csv"
    table.write_text("a\n" + "".join(f"{i % 7}\n" for i in range(120)))
    run = ganvas.train(
        str(table), kimg=0.032, batch=16, device="cpu", out=tmp_path / "runs", quiet=True, settings={}
    ).run
    log = (run.path / "log.txt").read_text()
    assert "ganvas eval will not measure this run. shop has" in log
    assert log.endswith(f"Go on: ganvas explore {run.path}\n")
    assert main(["eval", str(run.path)]) == 2


def test_a_budget_of_hours_is_told_of_when_it_begins(
    tiny_train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """600 kimg of 128 px are ten hours of two cores, of which nothing was said."""
    config, small = training.plan("digits", kimg=600, device="cpu")
    large = replace(small, shape=(3, 128, 128))
    assert too_long(config, large, 600_000, 20) == (
        "At 20 samples a second its budget takes about 8.3 h more. Quicker: --minutes 60, or --resolution 32."
    )
    assert too_long(config, small, 600_000, 20).endswith(" --minutes 60.")
    assert not too_long(config, large, 600_000, 84)

    def log() -> str:
        return (tiny_train(kimg=0.128).run.path / "log.txt").read_text()

    assert "its budget takes" not in log()
    monkeypatch.setattr("ganvas.training.loop.FIRST", 0.0)
    monkeypatch.setattr(import_module("ganvas.training.hints"), "LONG", 0.0)
    assert log().count("samples a second its budget takes about") == 1


def test_no_line_of_statistics_is_of_a_step_or_two(tiny_train: Callable[..., Result]) -> None:
    """Losses of 62 steps and, at the monitor's 125th, of one looked like spikes in the report."""
    settings = {"training.log_kimg": 0.1, "training.monitor_kimg": 0.2}
    run = tiny_train(kimg=1.6, batch=16, settings=settings).run
    steps = [record["step"] for record in run.stats()]
    assert steps == [6 * i for i in range(1, 17)] + [100]
    watched = [record["step"] for record in run.stats() if "verdicts" in record]
    assert watched == [12, 24, 36, 48, 60, 72, 90], "the beats nearest to 12.5, 25, 37.5, ..."


def test_a_short_run_shows_something_before_its_first_snapshot(tiny_train: Callable[..., Result]) -> None:
    settings = {"training.log_kimg": 1.0, "training.snapshot_kimg": 100.0, "training.monitor_kimg": 0}
    run = tiny_train(kimg=3, settings=settings).run
    assert [path.stem for path in run.previews] == ["000000", "000001", "000002", "000003"]
    often = tiny_train(kimg=1.2, settings={**settings, "training.log_kimg": 0.1}).run
    first, same = ((each.samples_path / "000000.png").read_bytes() for each in (run, often))
    assert first == same, "that of the beginning stays"
    assert len(run.snapshots) == 2


def test_the_report_is_self_contained(trained: Result) -> None:
    page = (trained.run.path / "report.html").read_text()
    assert page.count("data:image/png;base64,") >= 4
    assert "http" not in page.replace("http-equiv", "")
    assert trained.run.info["command"].split()[0] in page


def test_same_seed_same_weights_other_seed_other_weights(tiny_train: Train) -> None:
    first, again, other = tiny_train(seed=1), tiny_train(seed=1), tiny_train(seed=2)
    assert same_tensors(weights(first), weights(again))
    assert not same_tensors(weights(first), weights(other))


STRESSED: dict[str, Any] = {
    "objective.instance_noise": 0.1,
    "objective.input_noise": 0.1,
    "objective.penalties": [{"name": "r1", "weight": 0.1, "interval": 3}, {"name": "wgan-gp", "weight": 1.0}],
    "objective.critic_steps": 2,
    "data.mirror": True,
}


def stop_at(monkeypatch: pytest.MonkeyPatch, step: int, number: int) -> None:
    original = GanMethod.step

    def stepping(self: GanMethod, *arguments: Any) -> None:
        original(self, *arguments)
        if self.engine.steps == step:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(GanMethod, "step", stepping)


CASES: dict[str, dict[str, Any]] = {
    "digits": {"settings": STRESSED},
    "toy:grid25": {
        "preset": "toy",
        "settings": {"network.generator.hidden": [16], "network.critic.hidden": [16]},
    },
}


@pytest.mark.parametrize(
    ("name", "folder"), [("a\nb\x1b[2J\u202e", "a-b--2J-"), ("...", "run"), ("\u82b1" * 99, "\u82b1" * 66)]
)
def test_a_name_is_made_one_of_a_folder(tmp_path: Path, name: str, folder: str) -> None:
    """Whatever is typed: a line break in it would be one in the log, the report and on the terminal."""
    config, dataset = training.plan("digits", device="cpu")
    assert training._create(tmp_path, name, config, dataset).path.name == f"00000-{folder}"


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM], ids=["sighup", "sigterm"])
@pytest.mark.parametrize(("place", "step", "images"), [("step", 4, 160), ("save", 8, 256)])
def test_a_signal_that_comes_twice_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, place: str, step: int, images: int
) -> None:
    """As terminals that close and `timeout` send it: the second one ended the training before anything was saved."""

    def twice(self: Any, *arguments: Any) -> None:
        if self.engine.steps == step:
            os.kill(os.getpid(), number)
            os.kill(os.getpid(), number)
        original(self, *arguments)

    where, name = (GanMethod, "step") if place == "step" else (Loop, "_save")
    original = getattr(where, name)
    monkeypatch.setattr(where, name, twice)
    asked = ["train", "digits", "--kimg", "0.256", "--batch", "32", "--device", "cpu", "--quiet", "--out"]
    small = ["--set", "network.generator.channels=4", "network.critic.channels=4"]
    assert main([*asked, str(tmp_path), *small]) in (0, 130)
    (run,) = tmp_path.iterdir()
    assert io.read_header(open_run(run).state_path)["images"] == images


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
@pytest.mark.parametrize("data", list(CASES))
def test_stopped_and_resumed_equals_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: str, number: int
) -> None:
    common = TINY if data == "digits" else {"training.log_kimg": 0.064}
    case = {**CASES[data], "settings": {**common, **CASES[data]["settings"]}}
    budget: dict[str, Any] = {"kimg": 0.512, "batch": 32, "device": "cpu", "quiet": True, "report": False}
    whole = ganvas.train(data, out=tmp_path, **budget, **case)
    with monkeypatch.context() as patch:
        stop_at(patch, 5, number)
        half = ganvas.train(data, out=tmp_path, **budget, **case)
    assert half.stopped == "interrupted"
    assert half.kimg < whole.kimg
    resumed = ganvas.train(resume=half.run.path, quiet=True, report=False)
    assert resumed.run.path == half.run.path
    assert resumed.stopped == "budget"
    assert same_tensors(weights(whole), weights(resumed))
    kimgs = [record["kimg"] for record in resumed.run.stats()]
    assert kimgs == sorted(set(kimgs)), "no line twice"


def test_what_eval_measured_beyond_the_state_does_not_go_without_a_word(tiny_train: Train) -> None:
    run = tiny_train(kimg=0.256).run
    run.append_metrics(
        [
            {"metric": "frechet", "kimg": kimg, "source": source}
            for kimg, source in ((0.256, "a"), (0.3, "training"), (0.3, "a"))
        ]
    )
    ganvas.train(resume=run.path, kimg=0.384, quiet=True, report=False)
    assert [row["kimg"] for row in run.metrics()] == [0.256]
    said = "What `ganvas eval` measured beyond 0.3 kimg is dropped from metrics.jsonl (rows: 1)"
    assert said in (run.path / "log.txt").read_text()


def test_trains_wherever_the_call_stands(tiny_train: Train) -> None:
    alone = tiny_train(kimg=0.128, seed=3)
    for context in (torch.no_grad(), torch.inference_mode()):
        with context:
            assert same_tensors(weights(tiny_train(kimg=0.128, seed=3)), weights(alone))


def test_resume_can_extend_the_budget(tiny_train: Train) -> None:
    short = tiny_train(kimg=0.256)
    longer = ganvas.train(resume=short.run.path, kimg=0.384, quiet=True, report=False)
    assert longer.kimg == pytest.approx(0.384)
    assert longer.run.config.training.kimg == 0.384


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch": 16}, "training.batch: 32 -> 16"),
        ({"seed": 9}, "training.seed: 0 -> 9"),
        ({"loss": "least-squares"}, "objective.loss: '[a-z-]+' -> 'least-squares'"),
        ({"network": "mlp"}, "network.name: 'dcgan' -> 'mlp'"),
        ({"preset": "toy"}, "preset: 'small' -> 'toy'"),
        ({"data": "toy:ring8"}, "data.source: 'digits' -> 'toy:ring8'"),
        ({"mirror": True}, "data.mirror: False -> True"),
        ({"gamma": 3.0}, "--gamma cannot be changed"),
        ({"settings": {"optimizer.lr_critic": 0.1}}, "--set cannot be changed"),
    ],
)
def test_resume_with_another_config_names_the_field(
    trained: Result, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(GanvasError, match=message):
        ganvas.train(resume=trained.run.path, quiet=True, **changes)


def test_resume_with_other_images_is_refused(tiny_train: Train, image_folder: Path) -> None:
    result = tiny_train(str(image_folder), batch=4, kimg=0.008)
    (image_folder / "cats" / "0.png").unlink()
    with pytest.raises(GanvasError, match=r"changed since .* data.fingerprint"):
        ganvas.train(resume=result.run.path, quiet=True)


def test_resume_with_exchanged_labels_is_refused(tiny_train: Train, tmp_path: Path) -> None:
    """The same images under other labels went on without a word: the fingerprint was that of the images."""
    images, labels = np.arange(12 * 64, dtype=np.uint8).reshape(12, 8, 8), np.arange(12) % 2
    np.savez(tmp_path / "a.npz", images=images, labels=labels)
    result = tiny_train(str(tmp_path / "a.npz"), batch=4, kimg=0.008, conditional=True)
    assert ganvas.train(resume=result.run.path, kimg=0.016, quiet=True, report=False).kimg == 0.016
    np.savez(tmp_path / "a.npz", images=images, labels=1 - labels)
    with pytest.raises(GanvasError, match=r"changed since .* data.fingerprint"):
        ganvas.train(resume=result.run.path, kimg=0.024, quiet=True, report=False)


def test_resume_with_the_same_bytes_in_another_shape_is_refused(tiny_train: Train, tmp_path: Path) -> None:
    """Height and width mixed up when they were saved: the run went on with the right ones."""
    path, content = tmp_path / "a.npy", np.random.default_rng(0).integers(0, 256, 48 * 256, dtype=np.uint8)

    def run_of(*shape: int) -> Result:
        np.save(path, content.reshape(shape))
        return tiny_train(str(path), batch=4, kimg=0.008, resolution=8, resize="stretch")

    def resumed(run: Result, *shape: int) -> Result:
        np.save(path, content.reshape(shape))
        return ganvas.train(resume=run.run.path, kimg=0.016, quiet=True, report=False)

    high, square = run_of(48, 32, 8), run_of(48, 16, 16)
    with pytest.raises(GanvasError, match=r"changed since .* data.fingerprint"):
        resumed(high, 48, 8, 32)
    with pytest.raises(GanvasError, match="they are 12 samples, and were 48"):
        resumed(square, 12, 32, 32)
    assert resumed(high, 48, 32, 8).kimg == resumed(square, 48, 16, 16).kimg == 0.016


def test_non_finite_losses_stop_the_run(
    tiny_train: Train, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    original = GanMethod.step

    def poisoned(self: GanMethod, *arguments: Any) -> None:
        if self.engine.steps == 11:
            with torch.no_grad():
                next(self.critic.parameters()).fill_(float("inf"))
        original(self, *arguments)

    monkeypatch.setattr(GanMethod, "step", poisoned)
    with pytest.raises(
        TrainingError, match=r"not finite at step 12 .*The last good snapshot.*lower learning rate"
    ):
        tiny_train(settings={"training.snapshot_kimg": 0.128})
    (path,) = (tmp_path / "runs").iterdir()
    model = ganvas.load(path)
    assert model.info.kimg == 0.256
    assert all(torch.isfinite(p).all() for p in model.generator.parameters())
    assert "not finite at step 12" in (path / "log.txt").read_text()


def test_a_full_disk_leaves_a_loadable_run(
    tiny_train: Train, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    original, calls = io.save_tensors, []

    def filling(path: Path, *arguments: Any) -> None:
        calls.append(path)
        if len(calls) > 5:
            path.write_bytes(b"half")
            raise OSError(28, "No space left on device", str(path))
        original(path, *arguments)

    monkeypatch.setattr(io, "save_tensors", filling)
    with pytest.raises(GanvasError, match="disk is full"):
        tiny_train(settings={"training.snapshot_kimg": 0.128})
    (path,) = (tmp_path / "runs").iterdir()
    assert not list(path.rglob("*.tmp"))
    assert ganvas.load(path).sample(4).shape == (4, 1, 8, 8)
    monkeypatch.undo()
    assert ganvas.train(resume=path, quiet=True, report=False).kimg == 0.512


def test_dry_values_are_saved_as_json(trained: Result) -> None:
    saved = json.loads(trained.run.config_path.read_text())
    assert saved["config"]["objective"]["penalties"][0]["name"] == "r1"
    assert saved["versions"]["torch"] == torch.__version__


def test_nothing_is_created_for_a_bad_request(tmp_path: Path) -> None:
    for changes in (
        {"network": "dcgn"},
        {"loss": "hing"},
        {"penalty": "r3"},
        {"preset": "smal"},
        {"batch": 5000},
    ):
        with pytest.raises(GanvasError):
            ganvas.train("digits", out=tmp_path / "runs", quiet=True, **changes)  # type: ignore[arg-type]
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_a_toy_run_finds_the_modes(tmp_path: Path) -> None:
    """Real learning: most of the eight Gaussians are hit, and points lie far nearer to them than untrained ones."""
    result = ganvas.train("toy:ring8", kimg=80, seed=0, device="cpu", out=tmp_path, quiet=True, report=False)
    points = ganvas.load(result.run.path, device="cpu").sample(2000)
    exact = ganvas.load_dataset("toy:ring8")
    assert exact.log_density is not None
    centres = exact.log_density.centres  # type: ignore[attr-defined]
    distance, nearest = torch.cdist(points, centres).min(1)
    assert len(nearest[distance < 0.1].unique()) >= 7
    untrained = torch.randn(2000, 2)
    assert distance.median() < 0.5 * torch.cdist(untrained, centres).min(1).values.median()
