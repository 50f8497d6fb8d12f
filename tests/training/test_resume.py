"""What --resume resumes, what it refuses and leaves as it was, and who may do it."""

import base64
import errno
import json
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import ganvas
from ganvas import io, report, training
from ganvas.cli import main
from ganvas.config import replace_at, to_dict
from ganvas.data import load_dataset
from ganvas.errors import GanvasError
from ganvas.metrics import Row
from ganvas.report import verdicts
from ganvas.runs import Run, create_run
from ganvas.training import Result, describe, loop, plan, state
from ganvas.training.best import BestSnapshot
from ganvas.training.gan import GanMethod
from ganvas.training.loggers import Logger
from ganvas.training.loop import Loop
from ganvas.training.method import Method
from tests.conftest import TINY, same_tensors
from tests.forked import Process
from tests.training.test_loggers import Ear
from tests.training.test_train import stop_at, weights

Train = Callable[..., Result]


def everything(path: Path) -> dict[str, bytes]:
    """All files of a run but those of the lock and the log."""
    return {
        str(p.relative_to(path)): p.read_bytes()
        for p in sorted(path.rglob("*"))
        if p.is_file() and p.name not in (".lock", "log.txt")
    }


def no_folder(run: Run) -> None:
    shutil.rmtree(run.state_path.parent)


def a_loop_of_links(run: Run) -> None:
    shutil.rmtree(run.state_path.parent)
    run.state_path.parent.symlink_to(run.state_path.parent)


def a_device(run: Run) -> None:
    run.state_path.unlink()
    run.state_path.symlink_to("/dev/null")


@pytest.mark.parametrize("lose", [no_folder, a_loop_of_links, a_device])
def test_a_lost_state_is_no_fresh_start(tiny_train: Train, lose: Callable[[Run], None]) -> None:
    run = tiny_train(kimg=1.024, settings={"training.snapshot_kimg": 1.0}).run
    assert [int(path.name) for path in run.snapshots] == [0, 1]
    lose(run)
    before = everything(run.path)
    with pytest.raises(
        GanvasError,
        match=r"cannot be resumed: state/latest\.safetensors is missing.*000001.*Bring the file back",
    ):
        ganvas.train(resume=run.path, kimg=2.0, quiet=True)
    assert everything(run.path) == before


def test_a_run_killed_before_its_first_state_begins_again(tiny_train: Train) -> None:
    run = tiny_train().run
    whole = weights(Result(run, 0, 0, ""))
    shutil.rmtree(run.state_path.parent)
    (run.path / "stats.jsonl").unlink()
    assert same_tensors(weights(ganvas.train(resume=run.path, quiet=True, report=False)), whole)


def test_a_config_of_a_later_version_is_refused(tiny_train: Train) -> None:
    run = tiny_train().run
    run.config_path.write_text(
        run.config_path.read_text().replace('"format_version": 2', '"format_version": 99')
    )
    before = everything(run.path)
    with pytest.raises(GanvasError, match="format version 99, this ganvas reads up to 2"):
        ganvas.train(resume=run.path, kimg=2.0, quiet=True)
    assert everything(run.path) == before


def test_a_state_of_another_run_is_refused(tiny_train: Train) -> None:
    """Same networks, another loss and seed: the tensors fit, and the run went on with exit 0."""
    run, other = tiny_train().run, tiny_train(loss="least-squares", seed=4).run
    shutil.copy(other.state_path, run.state_path)
    before = everything(run.path)
    with pytest.raises(
        GanvasError, match=r"objective\.loss: 'least-squares' -> 'hinge'; training\.seed: 4 -> 3"
    ):
        ganvas.train(resume=run.path, kimg=2.0, quiet=True)
    assert everything(run.path) == before


def with_header(run: Run, tensors: dict[str, torch.Tensor], **fields: Any) -> None:
    """The state with other tensors and numbers, as somebody else could have written it."""
    had, header = io.load_tensors(run.state_path)
    with io.atomic(run.state_path) as temporary:
        io.save_tensors(temporary, had | tensors, header | fields)


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (("data",), [1], "its 'data' is no object"),
        (("config", "method", "name"), "vq", "does not fit its own method 'vq'"),
    ],
)
def test_a_config_that_nobody_wrote_is_refused(
    tiny_train: Train, place: tuple[str, ...], value: Any, words: str
) -> None:
    """With a state that agrees with it."""
    run = tiny_train().run
    info = json.loads(run.config_path.read_text())
    tensors, header = io.load_tensors(run.state_path)
    for each in (info, header):
        inner = each
        for name in place[:-1]:
            inner = inner[name]
        inner[place[-1]] = value
    run.config_path.write_text(json.dumps(info))
    io.save_tensors(run.state_path, tensors, header)
    with pytest.raises(GanvasError, match=words):
        ganvas.train(resume=run.path, kimg=1.0, device="cpu", quiet=True)


@pytest.mark.parametrize(
    ("tensors", "fields"),
    [
        *(({}, {name: value}) for name in ("images", "steps", "seconds") for value in (-1, 1e300, float("nan"))),
        *(({}, {"rate_factor": value}) for value in (-1, 0, 1e300, float("nan"), [])),
        *(({}, {"rollbacks": value}) for value in (-1, 1e300, 1000, None)),
        ({}, {"records": 5}),
        ({"optimizer_critic.0.exp_avg": torch.zeros(3)}, {}),
        ({"optimizer_critic.999.exp_avg": torch.zeros(3)}, {}),
        ({"optimizer_generator.0.step": torch.zeros(1000)}, {}),
        ({"optimizer_generator.0.__class__": torch.zeros(())}, {}),
    ],
)  # fmt: skip
def test_a_state_that_nobody_wrote_is_refused(
    tiny_train: Train, tensors: dict[str, torch.Tensor], fields: io.Json
) -> None:
    run = tiny_train(kimg=0.064).run
    with_header(run, tensors, **fields)
    before = everything(run.path)
    with pytest.raises(GanvasError, match=r"latest\.safetensors (is damaged|does not fit)"):
        ganvas.train(resume=run.path, kimg=0.128, quiet=True)
    assert everything(run.path) == before


def test_what_a_state_remembers_is_taken_where_it_is_a_measurement(tiny_train: Train) -> None:
    run = tiny_train(kimg=0.064, settings={"training.monitor_kimg": 0.032}).run
    odd = {"kimg": 0.1, "likeness": "x", "energy": float("nan"), "diversity": {}, "verdicts": ["a", 5]}
    with_header(run, {"monitor.drawn": torch.zeros(3, 3)}, records=[odd] * 9 + [5, {}, {"kimg": "x"}])
    assert ganvas.train(resume=run.path, kimg=0.128, quiet=True, report=False).kimg == 0.128


def without_new_fields(run: Run) -> None:
    """The state as ganvas wrote it before it remembered more."""
    tensors, header = io.load_tensors(run.state_path)
    tensors.pop("monitor.drawn", None)
    for name in ("rollbacks", "records", "config", "data"):
        header.pop(name)
    with io.atomic(run.state_path) as temporary:
        io.save_tensors(temporary, tensors, header)


def test_a_state_of_before_goes_on(tiny_train: Train) -> None:
    whole = tiny_train(kimg=0.512)
    half = tiny_train(kimg=0.256, settings={"optimizer.schedule": "constant"})
    straight = tiny_train(kimg=0.512, settings={"optimizer.schedule": "constant"})
    without_new_fields(half.run)
    resumed = ganvas.train(resume=half.run.path, kimg=0.512, quiet=True, report=False)
    assert same_tensors(weights(straight), weights(resumed))
    assert not same_tensors(weights(whole), weights(resumed))


def test_a_whole_run_writes_its_snapshot_again(tiny_train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    whole = tiny_train()
    run, before = whole.run, weights(whole)
    shutil.rmtree(run.path / "snapshots")
    assert main(["train", "--resume", str(run.path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["snapshot"] == str(run.snapshots[-1])
    assert same_tensors(before, weights(whole))


def test_budgets_that_are_used_up(tiny_train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    run = tiny_train().run
    before = everything(run.path)
    with pytest.raises(
        GanvasError, match=r"--kimg 0\.25 is used up.*which has had 0\.512 kimg.*--more MINUTES"
    ):
        ganvas.train(resume=run.path, kimg=0.25, quiet=True)
    with pytest.raises(GanvasError, match=r"--minutes 0\.0001 is used up"):
        ganvas.train(resume=run.path, minutes=0.0001, quiet=True)
    assert everything(run.path) == before
    assert ganvas.train(resume=run.path, report=False).kimg == 0.512
    assert "budget is used up. To train on: ganvas train --resume" in capsys.readouterr().err
    assert main(["train", "digits", "--more", "1"]) == 2
    assert main(["train", "--resume", str(run.path), "--more", "1", "--kimg", "3"]) == 2
    assert main(["train", "--resume", str(run.path), "--more", "-1"]) == 2
    mistakes: list[Any] = [np.zeros((9, 8, 8), np.uint8), torch.zeros(9, 8, 8)]
    for wrong in mistakes:
        with pytest.raises(GanvasError, match=r"data is .* it must be a name of"):
            ganvas.train(wrong, kimg=1)
        with pytest.raises(GanvasError, match=r"data is .* it must be a name of"):
            ganvas.train(wrong, resume=run.path, more=1)


def test_more_minutes(tiny_train: Train) -> None:
    """Whatever kind of number says it."""
    run = tiny_train().run
    seconds = io.read_header(run.state_path)["seconds"]
    minutes: Any = np.float32(0.02)
    result = ganvas.train(resume=run.path, more=minutes, quiet=True, report=False)
    assert result.kimg > 0.512
    assert run.config.training.minutes == pytest.approx(seconds / 60 + 0.02)
    assert run.config.training.kimg is None


def test_a_run_that_another_command_has_gone_on_with_is_not_told_an_older_budget(
    tiny_train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was read before the other one had ended: the budget of that was taken back, and nothing trained."""
    run, read = tiny_train().run, training._resumed

    def meanwhile(*given: Any) -> Any:
        found = read(*given)
        monkeypatch.setattr(training, "_resumed", read)
        ganvas.train(resume=run.path, kimg=1.024, quiet=True, report=False)
        return found

    monkeypatch.setattr(training, "_resumed", meanwhile)
    with pytest.raises(GanvasError, match="was gone on with by another command"):
        ganvas.train(resume=run.path, kimg=0.64, quiet=True, report=False)
    assert run.config.training.kimg == 1.024


def test_a_budget_is_said_in_two_decimals() -> None:
    for minutes, said in ((0.4003294, "0.4"), (0.003, "0.003"), (90, "90")):
        config, dataset = plan("digits", minutes=minutes)
        assert describe(config, dataset).endswith(f", {said} minutes.")


def hold(path: str, ready: Any, seconds: float) -> None:
    with Run(Path(path)).locked():
        ready.set()
        time.sleep(seconds)


def test_one_process_at_a_time(tiny_train: Train) -> None:
    run = tiny_train().run
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=hold, args=(str(run.path), ready, 60))
    process.start()
    try:
        assert ready.wait(60)
        before = everything(run.path)
        with pytest.raises(GanvasError, match=rf"is being trained by process {process.pid} on .* since 20"):
            ganvas.train(resume=run.path, kimg=2.0, quiet=True)
        assert everything(run.path) == before
        process.kill()
        process.join()
        assert (run.path / "owner.json").exists(), "killed: it could not let go"
        assert ganvas.train(resume=run.path, kimg=0.6, quiet=True, report=False).kimg > 0.512
        assert f"process {process.pid} on" in (run.path / "log.txt").read_text()
        assert "ended without letting go of the run: taken over" in (run.path / "log.txt").read_text()
        assert not (run.path / "owner.json").exists()
    finally:
        process.kill()
        process.join()


class Mover(Logger):
    """Moves the run away when it hears of something the second time, and puts a new one of the same number in its place."""

    def __init__(self, to: Path, new: bool, at: str) -> None:
        self.to, self.new, self.at, self.heard = to, new, at, 0

    def on_start(self, run: Run, step: int) -> None:
        self.path = run.path

    def on_stats(self, step: int, stats: io.Json) -> None:
        self.move("stats")

    def on_images(self, step: int, images: Any) -> None:
        self.move("images" if "samples" in images else "reals")

    def move(self, what: str) -> None:
        self.heard += what == self.at
        if self.heard == 2 and not self.to.exists():
            self.path.rename(self.to)
            if self.new:
                assert (
                    create_run(self.path.parent, self.path.name[6:], {"format_version": 1}).path == self.path
                )
                (self.path / "owner.json").write_text("{}")


@pytest.mark.parametrize(("new", "at"), [(True, "stats"), (False, "stats"), (True, "images")])
def test_a_run_that_is_moved_while_it_trains_writes_into_no_other(
    tiny_train: Train, tmp_path: Path, new: bool, at: str
) -> None:
    """The lines, snapshots and state of the first went on in the folder of the second, or in what was half a run."""
    whole = tiny_train(out=tmp_path / "left alone")
    mover = Mover(tmp_path / "moved", new, at)
    with pytest.raises(
        GanvasError, match=r"00000-.* was moved or removed while it was worked on.*--resume FOLDER"
    ):
        tiny_train(log=[mover])
    left = sorted(path.name for path in mover.path.rglob("*")) if new else mover.path.exists()
    assert left == (["config.json", "owner.json"] if new else False)
    again = ganvas.train(resume=mover.to, quiet=True, report=False)
    assert same_tensors(weights(again), weights(whole))


def test_a_run_that_is_moved_before_its_report_is_left_alone(
    tiny_train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The closing lines, and the report of the other model, were written into the new run."""
    written = report.write_report

    def moving(run: Run) -> Path:
        run.path.rename(tmp_path / "moved")
        create_run(run.path.parent, run.path.name[6:], {"format_version": 1})
        return written(run)

    monkeypatch.setattr("ganvas.training.write_report", moving)
    with pytest.raises(GanvasError, match="was moved or removed"):
        tiny_train(report=True)
    (other,) = (tmp_path / "runs").iterdir()
    assert [path.name for path in other.iterdir()] == ["config.json"]


def test_a_process_of_another_machine_is_believed(tiny_train: Train) -> None:
    """Its lock may be unseen here, as on some network folders: only a person can know that it is over."""
    run = tiny_train().run
    owner = {"host": "elsewhere", "boot": "another", "pid": 7, "since": "2026-01-01 00:00:00 +0000"}
    (run.path / "owner.json").write_text(json.dumps(owner))
    with pytest.raises(GanvasError, match=r"process 7 on elsewhere since 2026.*delete .*owner\.json"):
        ganvas.train(resume=run.path, kimg=2.0, quiet=True)
    (run.path / "owner.json").unlink()
    assert ganvas.train(resume=run.path, kimg=0.6, quiet=True, report=False).kimg > 0.512


@pytest.mark.parametrize("text", ["", "[" * 100_000, '{"pid": "x", "host": 3}', "null"])
def test_an_owner_that_can_not_be_read(tiny_train: Train, text: str) -> None:
    run = tiny_train().run
    (run.path / "owner.json").write_text(text)
    with pytest.raises(GanvasError, match="is being trained by process"):
        ganvas.train(resume=run.path, kimg=2.0, quiet=True)


def test_other_commands_keep_their_files(tiny_train: Train) -> None:
    """A calibration that is at work in the run's folder lost its file to a resume that cleaned up."""
    run = tiny_train().run
    snapshot = run.snapshots[-1]
    theirs = [snapshot / ".ratio.safetensors.0123abcd.tmp", run.path / ".map.png.0123abcd.tmp"]
    ours = [
        run.state_path.with_name(".latest.safetensors.0123abcd.tmp"), run.path / ".config.json.0123abcd.tmp",
        run.samples_path / ".000001.png.0123abcd.tmp", snapshot / ".critic.safetensors.0123abcd.tmp",
        snapshot.with_name(".000007.0123abcd.tmp"), snapshot.with_name(".best.0123abcd.new.tmp"),
        snapshot.with_name("..best.0123abcd.new.tmp.4567abcd.tmp"),
    ]  # fmt: skip
    for path in theirs + ours:
        path.write_bytes(b"half")
    ganvas.train(resume=run.path, quiet=True, report=False)
    assert [path.exists() for path in theirs + ours] == [True] * len(theirs) + [False] * len(ours)


def test_a_run_among_the_pictures_that_it_is_trained_on(tiny_train: Train, tmp_path: Path) -> None:
    """`ganvas train .`: its previews were data, so that it could not be resumed, and the next run learned from them."""
    folder = tmp_path / "photos"
    for i, values in enumerate(np.random.default_rng(0).integers(0, 256, (60, 8, 8), np.uint8)):
        (folder / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(values).save(folder / "ab"[i % 2] / f"{i}.png")
    asked = {"out": folder / "runs", "resolution": 8, "resize": "crop"}
    first = tiny_train(str(folder), kimg=0.064, **asked).run
    assert ganvas.train(resume=first.path, kimg=0.128, quiet=True, report=False).kimg == pytest.approx(0.128)
    second = tiny_train(str(folder), kimg=0.064, **asked).run
    assert first.info["data"] == second.info["data"]
    assert second.info["data"]["class_names"] == ["a", "b"]
    said = (second.path / "log.txt").read_text()
    assert "1 folder of a run (runs/00000-" in said


def test_a_rollback_is_remembered(tiny_train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a rollback and a stop the rates were raised again, and the count of rollbacks began anew."""
    said: list[float] = []
    ear = Ear()

    def collapse(records: list[io.Json]) -> list[verdicts.Verdict]:
        if len(said) < 2 and records and records[-1]["kimg"] > 0.3:
            said.append(records[-1]["kimg"])
            return [verdicts.Verdict("mode collapse", "problem", "made up.", "")]
        return []

    watched = {"training.monitor_kimg": 0.064, "training.snapshot_kimg": 0.128}
    with monkeypatch.context() as patch:
        patch.setattr(verdicts, "of", collapse)
        patch.setattr(verdicts, "suspicious", lambda records: False)
        stop_at(patch, 16, signal.SIGTERM)
        half = tiny_train(kimg=0.64, on_collapse="rollback", settings=watched, log=[ear])
    assert [step for step, _ in ear.of("start")] == [0, 8, 8], "loggers hear of it"
    assert [what for _, what in ear.of("verdict")] == [("mode collapse", True)] * 2
    assert half.stopped == "interrupted"
    assert len(said) == 2
    header = io.read_header(half.run.state_path)
    assert header["rollbacks"] == 2
    assert header["rate_factor"] == 0.25
    rates: set[float] = set()
    set_step = GanMethod.step

    def watching(self: GanMethod, *arguments: Any) -> None:
        rates.add(self.engine.rate_factor)
        set_step(self, *arguments)

    monkeypatch.setattr(GanMethod, "step", watching)
    monkeypatch.setattr(verdicts, "of", lambda records: [])
    resumed = ganvas.train(resume=half.run.path, quiet=True, report=False)
    assert rates == {0.25}
    assert io.read_header(resumed.run.state_path)["rollbacks"] == 2
    assert all(record["rollbacks"] == 2 for record in resumed.run.stats() if record["kimg"] > 0.5)


@pytest.mark.parametrize(("end", "measures"), [(40, [1, 2]), (66, [1, 2, 2])])
def test_nothing_collapsed_is_left_after_a_rollback(
    tiny_train: Train, monkeypatch: pytest.MonkeyPatch, end: int, measures: list[int]
) -> None:
    """The snapshot of the collapse stayed the newest one, which `ganvas sample RUN` draws from."""
    said: list[float] = []

    def collapse(records: list[io.Json]) -> list[verdicts.Verdict]:
        if not said and records and records[-1]["kimg"] > 2.2:
            said.append(records[-1]["kimg"])
            return [verdicts.Verdict("mode collapse", "problem", "made up.", "")]
        return []

    monkeypatch.setattr(verdicts, "of", collapse)
    monkeypatch.setattr(verdicts, "suspicious", lambda records: records and records[-1]["kimg"] > 1.9)
    measured: list[float] = []

    def note(self: BestSnapshot, model: ganvas.Model, snapshot: Path) -> float:
        measured.append(int(snapshot.name))
        self.last = self.value = model.info.kimg or 0.0
        return self.value

    monkeypatch.setattr(BestSnapshot, "measure", note)
    step = GanMethod.step

    def stopping(self: GanMethod, *arguments: Any) -> None:
        step(self, *arguments)
        if self.engine.rate_factor < 1 and self.engine.steps == end:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(GanMethod, "step", stopping)
    settings = {
        "training.monitor_kimg": 0.512, "training.snapshot_kimg": 1.024, "training.eval_kimg": 1.0, "training.log_kimg": 0.512,
    }  # fmt: skip
    half = tiny_train(kimg=9.0, on_collapse="rollback", settings=settings)
    assert len(said) == 1
    assert half.stopped == "interrupted"
    assert ganvas.load(half.run.path).info.kimg == half.kimg == end * 0.032
    assert max(int(path.stem) for path in half.run.previews) == int(half.kimg)
    assert measured == measures


def killed_going_back(
    tiny_train: Train,
    tmp_path: Path,
    where: tuple[type, str],
    collapsed: float,
    suspicious: float,
    monitor_kimg: float,
) -> tuple[Path, float]:
    """The folder of a run that was killed in a method while it went back from a collapse, and the kimg of its state."""

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    def collapse(records: list[io.Json]) -> list[verdicts.Verdict]:
        found = [verdicts.Verdict("mode collapse", "problem", "made up.", "")]
        return found if records and records[-1]["kimg"] > collapsed else []

    settings = {
        "training.monitor_kimg": monitor_kimg, "training.snapshot_kimg": 2 * monitor_kimg, "training.log_kimg": monitor_kimg,
    }  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verdicts, "of", collapse)
        patch.setattr(verdicts, "suspicious", lambda records: records and records[-1]["kimg"] > suspicious)
        patch.setattr(*where, killed)
        with pytest.raises(KeyboardInterrupt):
            tiny_train(kimg=9.0, on_collapse="rollback", settings=settings)
    (path,) = (tmp_path / "runs").iterdir()
    return path, io.read_header(Run(path).state_path)["images"] / 1000


def test_a_kill_in_a_rollback_leaves_nothing_collapsed(
    tiny_train: Train, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The state was from before the collapse, and the newest snapshot, which the run's model is, stayed that of the collapse."""
    path, back = killed_going_back(tiny_train, tmp_path, (Run, "remove_beyond"), 2.2, 1.9, 0.512)
    assert ganvas.load(path).info.kimg > back  # type: ignore[operator]
    stop_at(monkeypatch, round(back / 0.032) + 2, signal.SIGTERM)
    half = ganvas.train(resume=path, quiet=True, report=False)
    assert half.stopped == "interrupted"
    assert ganvas.load(path).info.kimg == half.kimg == pytest.approx(back + 0.064)


@pytest.mark.parametrize("how", ["moved", "enlarged"])
@pytest.mark.parametrize("preset", ["small", "ae"])
def test_a_picture_that_goes_away_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, preset: str, how: str
) -> None:
    """The error came within a step, and what was trained since the last snapshot was lost; of pictures that were brought to
    another size it was none in words, and nothing was saved."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(64):
        picture = np.random.default_rng(i).integers(0, 255, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(picture).save(folder / f"{i}.png")
    monkeypatch.setenv("GANVAS_RESIDENT_MB", "0.001")
    settings = {"training.snapshot_kimg": 0.8, "training.log_kimg": 0.16, "data.holdout": 0.25}
    options: dict[str, Any] = {
        "preset": preset, "kimg": 0.96, "batch": 16, "device": "cpu", "quiet": True, "report": False, "settings": settings,
    }  # fmt: skip
    whole = ganvas.train(str(folder), out=tmp_path / "whole", **options)
    step = Method.step

    def gone(self: Method, *arguments: Any) -> None:
        step(self, *arguments)
        if self.engine.steps == 9:
            shutil.move(folder, tmp_path / "aside")
            if how == "enlarged":
                folder.mkdir()
                for each in (tmp_path / "aside").iterdir():
                    Image.open(each).resize((9, 9)).save(folder / each.name)

    with monkeypatch.context() as patch:
        patch.setattr(Method, "step", gone)
        with pytest.raises(GanvasError, match="png"):
            ganvas.train(str(folder), out=tmp_path / "runs", **options)
    shutil.rmtree(folder, ignore_errors=True)
    shutil.move(tmp_path / "aside", folder)
    (path,) = (tmp_path / "runs").iterdir()
    assert io.read_header(Run(path).state_path)["images"] >= 9 * 16
    if preset == "small":
        assert ganvas.load(path).info.kimg >= 9 * 0.016  # type: ignore[operator]
    resumed = ganvas.train(resume=path, quiet=True, report=False)
    first, second = (io.load_tensors(each.run.state_path)[0] for each in (whole, resumed))
    assert same_tensors(first, second)


def all_of(run: Run) -> dict[str, Any]:
    """Weights, figures and pictures of a run, by name."""
    networks = {
        file: io.load_tensors(file) for file in sorted((run.path / "snapshots").rglob("*.safetensors"))
    }
    rows = [Row.from_json(line) for line in run.metrics()]
    return {
        "networks": {
            str(file.relative_to(run.path)): (header["kimg"], {name: each.tolist() for name, each in tensors.items()})
            for file, (tensors, header) in networks.items()
        },
        "figures": [(row.kimg, row.snapshot, row.value) for row in rows],
        "previews": [path.name for path in run.previews],
        "lines": [line["kimg"] for line in run.stats()],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("what", "nth", "kimg"),
    [
        ("000001.png", 2, 2.56), ("metrics.jsonl", 1, 2.56), (r"\.best\..*\.tmp", 1, 2.56), ("best", 1, 2.56),
        ("metrics.jsonl", 2, 2.56), (r"\.best\..*\.tmp", 2, 2.56), ("best", 2, 2.56), ("latest.safetensors", 2, 2.56),
        ("critic.safetensors", 1, 0.48), ("generator.safetensors", 1, 0.48),
    ],
)  # fmt: skip
def test_one_write_that_fails_changes_nothing_of_what_comes(
    what: str, nth: int, kimg: float, tiny_train: Train, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The state behind it was saved: the preview or the figure was never made, an older snapshot stayed the best, and of two that
    replace others one was left of before."""
    settings = {"training.snapshot_kimg": 0.96 if kimg > 1 else 0.16, "training.eval_samples": 100}
    options: dict[str, Any] = {"kimg": kimg, "eval_kimg": 0.96 if kimg > 1 else None, "settings": settings}
    whole = tiny_train(**options)
    replaced, appended, seen = os.replace, Run._append, list[str]()

    def struck(name: str) -> bool:
        seen.extend([name] if re.fullmatch(what, name) else [])
        return len(seen) == nth and seen[-1] == name

    def replacing(source: Path, place: Path) -> None:
        if struck(Path(place).name):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replaced(source, place)

    def appending(self: Run, name: str, line: str) -> None:
        if struck(name):
            raise GanvasError("The disk is full.")
        appended(self, name, line)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", replacing)
        patch.setattr(Run, "_append", appending)
        with pytest.raises(GanvasError, match="full"):
            tiny_train(**options)
    assert len(seen) >= nth
    (path,) = (each for each in (tmp_path / "runs").iterdir() if each != whole.run.path)
    ganvas.train(resume=path, quiet=True, report=False)
    assert all_of(ganvas.open_run(path)) == all_of(whole.run)


def test_a_kill_in_a_rollback_leaves_the_snapshot_that_was_gone_back_to(
    tiny_train: Train, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """That of the collapse, of the same whole kimg, had replaced it: an older one stayed the run's until it saved again."""
    path, back = killed_going_back(tiny_train, tmp_path, (Loop, "_write_missing"), 1.5, 1.2, 0.128)
    assert ganvas.load(path).info.kimg < back  # type: ignore[operator]
    kept: list[float | None] = []
    step = GanMethod.step

    def looking(self: GanMethod, *arguments: Any) -> None:
        kept.append(ganvas.load(path).info.kimg)
        step(self, *arguments)

    monkeypatch.setattr(GanMethod, "step", looking)
    ganvas.train(resume=path, kimg=back + 0.032, quiet=True, report=False)
    assert kept == [back]


@pytest.mark.parametrize("stopped", ["budget", "interrupted", "private", "minutes"])
def test_a_run_that_ends_before_what_it_once_had(
    stopped: str, tiny_train: Train, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A kill between a snapshot and its state, and a smaller budget: the run had ended, and its model was another."""
    private = stopped == "private"
    settings = {"training.snapshot_kimg": 0.96, "training.eval_samples": 100}
    options: dict[str, Any] = (
        {"method": "private", "preset": "private"} if private else {"eval_kimg": 0.96, "settings": settings}
    )
    if private:
        options["settings"] = {"training.snapshot_kimg": 0.96}
    with monkeypatch.context() as patch:
        written = Loop._write_state

        def killed(self: Loop) -> None:
            if self.engine.images > 1500:
                raise KeyboardInterrupt
            written(self)

        patch.setattr(Loop, "_write_state", killed)
        with pytest.raises(KeyboardInterrupt):
            tiny_train(kimg=2.56, **options)
    (path,) = (tmp_path / "runs").iterdir()
    assert ganvas.load(path).info.kimg == 1.92
    kimg = 0.992 if stopped in ("budget", "private") else 2.56
    if stopped == "interrupted":
        stop_at(monkeypatch, 31, signal.SIGTERM)
    if stopped == "minutes":
        monkeypatch.setattr(Loop, "progress", property(lambda self: float(self.engine.images >= 992)))
    ended = ganvas.train(resume=path, kimg=kimg, quiet=True, report=False)
    assert ended.kimg == 0.992
    said = (path / "log.txt").read_text()
    if stopped == "budget":
        assert "Snapshots of before, beyond 1.0 kimg, are removed: 000001." in said
        assert [ganvas.load(each).info.kimg for each in (path, path / "snapshots" / "best")] == [0.992, 0.96]
    else:
        assert "Snapshots of before, beyond 1.0 kimg, are the run's model" in said
        assert ("until it is resumed up to there" in said) == (not private)
        assert ganvas.load(path).info.kimg == 1.92, (
            "it may be all that there is of hours, or say what was spent"
        )


def test_what_was_found_of_a_snapshot_that_is_made_anew_is_dropped(
    tiny_train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An audit outlived the snapshot that it was of, and so did figures that came while the run was on its way there."""
    settings = {"training.snapshot_kimg": 0.96}
    run = tiny_train(kimg=1.28, settings=settings).run
    state_then = run.state_path.read_bytes()
    ganvas.train(resume=run.path, kimg=2.56, quiet=True, report=False)
    figures = {"n": "60", "metrics": "frechet", "device": "cpu"}
    given = [word for name, value in figures.items() for word in (f"--{name}", value)]
    assert main(["eval", str(run.path), *given, "--quiet"]) == 0
    (row,) = run.metrics()
    io.write_json(
        run.path / "evaluation" / "audit.json", {"verdict": ["x"], "attacks": {}, "snapshot": "000002"}
    )
    run.state_path.write_bytes(state_then)
    stepped = GanMethod.step

    def late(self: GanMethod, *arguments: Any) -> None:
        if self.engine.steps == 45:
            assert run.metrics() == []
            run.append_metrics([row])  # `ganvas eval` is done only now
        stepped(self, *arguments)

    monkeypatch.setattr(GanMethod, "step", late)
    ganvas.train(resume=run.path, kimg=2.56, quiet=True, report=False)
    assert run.metrics() == []
    assert not (run.path / "evaluation" / "audit.json").exists()
    said = (run.path / "log.txt").read_text()
    assert said.count("What `ganvas eval` measured beyond") == 2
    assert "What `ganvas audit` found of snapshot 000002 is dropped" in said


def test_a_run_says_from_where_it_names_its_data(
    tiny_train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From another folder there was no way to go on, and no word of which one was meant."""
    (tmp_path / "begun").mkdir()
    monkeypatch.chdir(tmp_path / "begun")
    np.save("own.npy", np.random.default_rng(0).integers(0, 255, (64, 8, 8), dtype=np.uint8))
    run = tiny_train("own.npy", kimg=0.064).run
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        GanvasError, match=rf"No data at 'own.npy'.*from {tmp_path}/begun, .*--resume {run.path}$"
    ):
        ganvas.train(resume=run.path, kimg=0.128, quiet=True)
    with pytest.raises(GanvasError, match=r"No data at 'other\.npy'") as error:
        ganvas.train("other.npy", resume=run.path, kimg=0.128, quiet=True)
    assert "begun" not in str(error.value), "these were named here"
    config = io.read_json(run.config_path)
    for said in ("x" * 5000, f"{tmp_path}/begun\n\n"):
        forged = {**config, "data": {**config["data"], "named_from": said}}
        io.write_json(run.config_path, forged)
        with pytest.raises(GanvasError, match=r"No data at 'own\.npy'") as error:
            ganvas.train(resume=run.path, kimg=0.128, quiet=True)
        assert said not in str(error.value), "of a run from somebody else"
    io.write_json(run.config_path, config)
    monkeypatch.chdir(tmp_path / "begun")
    assert ganvas.train(resume=run.path, kimg=0.128, quiet=True, report=False).kimg == 0.128


def test_a_collapse_of_the_same_kimg_is_not_left_either(
    tiny_train: Train, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It lay in the folder of the good one, whose whole kimg are the same; and as the best of all it hid what came later."""
    said: list[float] = []

    def collapse(records: list[io.Json]) -> list[verdicts.Verdict]:
        if not said and records and records[-1]["kimg"] > 0.5:
            said.append(records[-1]["kimg"])
            return [verdicts.Verdict("mode collapse", "problem", "made up.", "")]
        return []

    def measured(self: BestSnapshot, model: ganvas.Model, snapshot: Path) -> float:
        self.last = model.info.kimg or 0.0
        self.value = -self.last
        self._keep(snapshot)
        return self.value

    found: list[Any] = []
    step = GanMethod.step

    def noting(self: GanMethod, *arguments: Any) -> None:
        if self.engine.rate_factor < 1 and not found:
            (run,) = (tmp_path / "runs").iterdir()
            found.extend([self.engine.images / 1000, (run / "snapshots" / "best").exists()])
            found.append(io.read_header(run / "snapshots" / "000000" / "generator.safetensors")["kimg"])
        step(self, *arguments)

    monkeypatch.setattr(verdicts, "of", collapse)
    monkeypatch.setattr(verdicts, "suspicious", lambda records: records and records[-1]["kimg"] > 0.3)
    monkeypatch.setattr(BestSnapshot, "measure", measured)
    monkeypatch.setattr(GanMethod, "step", noting)
    settings = {
        "training.monitor_kimg": 0.064, "training.snapshot_kimg": 0.128, "training.eval_kimg": 0.1, "training.log_kimg": 0.064,
    }  # fmt: skip
    tiny_train(kimg=0.64, on_collapse="rollback", settings=settings)
    assert said
    state_kimg, best, snapshot_kimg = found
    assert 0 < snapshot_kimg == state_kimg < 0.4
    assert not best


def test_the_monitor_goes_on_where_it_was(tiny_train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every signal and every verdict of a run that was stopped is that of one left alone, `movement` too."""
    settings = {"training.monitor_kimg": 0.032}
    whole = tiny_train(settings=settings)
    with monkeypatch.context() as patch:
        stop_at(patch, 7, signal.SIGINT)
        half = tiny_train(settings=settings)
    assert half.kimg < whole.kimg
    resumed = ganvas.train(resume=half.run.path, quiet=True, report=False)
    times = ("seconds", "images_per_second")

    def told(result: Result) -> list[io.Json]:
        # Losses are means since the line before, and a stop writes a line of its own.
        sums = ("loss_", "real_", "fake_", "penalty")
        return [
            {key: value for key, value in record.items() if key not in times and not key.startswith(sums)}
            for record in result.run.stats()
        ]

    assert told(resumed) == told(whole)
    assert sum("movement" in record for record in resumed.run.stats()) == 15


def test_statistics_that_are_no_statistics(tiny_train: Train) -> None:
    run = tiny_train(settings={"training.monitor_kimg": 0.064}).run
    count = len(run.stats())
    with open(run.path / "stats.jsonl", "ab") as file:
        file.write(
            b'null\n5\n[1]\n"x"\n\xff\n{"kimg": "much"}\n{"diversity": 1}\n{"kimg": 1e999, "a": 1}\n'
            + b"[" * 100_000
        )
        file.write(b'\n{"kimg": 9, "diversity": "x", "verdicts": 3, "energy": NaN}\n')
    assert len(run.stats()) == count + 1
    assert run.stats()[-1] == {"kimg": 9, "verdicts": []}
    assert main(["diagnose", str(run.path)]) == 0
    report.write_report(run)
    assert ganvas.train(resume=run.path, kimg=0.6, quiet=True).kimg > 0.512


def test_a_report_that_fails_does_not_end_the_training(
    tiny_train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(run: Run) -> None:
        raise MemoryError("no room for the pictures")

    monkeypatch.setattr("ganvas.training.write_report", fail)
    result = tiny_train(report=True)
    assert result.stopped == "budget"
    assert (
        "The report could not be written: no room for the pictures"
        in (result.run.path / "log.txt").read_text()
    )


def test_a_report_without_the_real_pictures(tiny_train: Train) -> None:
    run = tiny_train().run
    (run.samples_path / "reals.png").unlink()
    page = report.write_report(run).read_text()
    assert "drawn by the averaged generator" in page
    assert "real, for comparison" not in page


SCRIPT = """
import sys, ganvas, signal
{before}
given = dict(kimg=500, batch=32, device="cpu", out=sys.argv[1], quiet=True, report=False, settings={settings})
print(ganvas.train("digits", **given).stopped)
"""


@pytest.mark.parametrize(
    ("before", "number", "stopped"),
    [
        ("", signal.SIGHUP, True),
        ("signal.signal(signal.SIGHUP, signal.SIG_IGN)", signal.SIGHUP, False),
    ],
    ids=["the terminal closes", "nohup"],
)
def test_a_closed_terminal_saves_unless_it_is_ignored(
    tmp_path: Path, before: str, number: int, stopped: bool
) -> None:
    process = Process("-c", SCRIPT.format(before=before, settings=TINY), str(tmp_path))
    try:
        while not list(tmp_path.glob("*/stats.jsonl")):
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(number)
        if not stopped:
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.7)
            process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert out.strip() == "interrupted"
    (path,) = tmp_path.iterdir()
    assert io.read_header(Run(path).state_path)["images"] > 0


def test_classes_without_samples_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The only picture of a class is held out."""
    held = int(torch.randperm(60, generator=torch.Generator().manual_seed(0))[0])
    labels = np.arange(60) % 2
    labels[held] = 2
    images = np.random.default_rng(0).integers(0, 255, (60, 8, 8, 1), dtype=np.uint8)
    np.savez(tmp_path / "a.npz", images=images, labels=labels)
    for conditional in (True, False):
        ganvas.train(
            str(tmp_path / "a.npz"), conditional=conditional, kimg=0.064, batch=16, device="cpu", out=tmp_path / "runs",
            report=False, settings=TINY,
        )  # fmt: skip
        said = capsys.readouterr().err
        assert said.count("No image of 1 of 3 classes is trained on: 2. It cannot be learnt.") == 1
        assert "no training samples" not in said, "once is enough"


def test_places_that_can_not_be_written(
    tiny_train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(GanvasError, match=r"(creating|writing) "):
        tiny_train(out=Path("/proc/ganvas"))
    run = tiny_train().run
    real = os.open

    def refuse(path: Any, *arguments: Any, **options: Any) -> int:
        if str(path).startswith(str(run.path)):
            raise OSError(30, "Read-only file system", str(path))
        return real(path, *arguments, **options)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(GanvasError, match=r"locking .*Read-only file system"):
        ganvas.train(resume=run.path, kimg=2.0, quiet=True)


def test_what_may_change_and_what_may_not(tiny_train: Train) -> None:
    run = tiny_train().run
    fingerprint = run.info["data"]["fingerprint"]
    config = replace_at(run.config, "training.log_kimg", 7.0)
    assert state.check(run, config, fingerprint)["images"] == 512
    with pytest.raises(GanvasError, match="trained on other data"):
        state.check(run, config, "other")
    with pytest.raises(GanvasError, match=r"optimizer\.lr_critic"):
        state.check(run, replace_at(config, "optimizer.lr_critic", 1.0), fingerprint)
    assert to_dict(config)["training"]["log_kimg"] == 7
    assert torch.is_tensor(io.load_tensors(run.state_path)[0]["random"])


def test_a_report_shows_no_other_files_and_no_markup_of_a_run(tiny_train: Train, tmp_path: Path) -> None:
    """A run may come from anybody: its links lead nowhere, and its texts are text."""
    run = tiny_train().run
    secret = tmp_path / "secret"
    secret.write_bytes(b"nobody's business")
    (run.samples_path / "999999.png").symlink_to(secret)
    (run.samples_path / "²³.png").write_bytes(b"")
    (run.path / "evaluation").mkdir()
    (run.path / "evaluation" / "nearest.png").symlink_to(secret)
    hostile = "<script>marker</script>"
    row = {
        "metric": "frechet", "value": 1.0, "error": 0.1, "error_kind": hostile, "floor": 0.5, "floor_n": 5, "n": 10,
        "reference_n": 10, "seed": 0, "extractor": r"$\frac{$" + hostile, "resize": hostile, "reference": hostile,
        "fingerprint": hostile, "source": hostile, "snapshot": hostile, "kimg": 0.5, "better": hostile,
    }  # fmt: skip
    rows = [row, {**row, "kimg": 0.25}, {**row, "metric": hostile}]
    (run.path / "metrics.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))
    info = json.loads(run.config_path.read_text())
    info["command"] = info["data"]["name"] = info["data"]["fingerprint"] = hostile
    info["versions"] = {hostile: hostile}
    run.config_path.write_text(json.dumps(info))
    page = report.write_report(run).read_text()
    assert "Quality over training" in page
    assert "marker" in page
    assert "<script" not in page
    assert base64.b64encode(secret.read_bytes()).decode() not in page


def test_figures_that_no_evaluation_wrote(tiny_train: Train) -> None:
    """Of a run from anybody: an evaluation that had measured ended in a traceback of the plot, a resumed run of a row."""
    run = tiny_train(kimg=0.064, eval_kimg=0.032, settings={"training.eval_samples": 100}).run
    row = run.metrics()[0]
    odd = [{"source": "training"}, {**row, "value": [1]}, {**row, "kimg": "x"}, {**row, "value": "nan"}]
    hostile = [
        {**row, "kimg": k / 100, "error": -1.0, "value": v}
        for k, v in ((1, 1e308), (2, -5.0), (3, 1.0), (4, 2.0))
    ]
    (run.path / "metrics.jsonl").write_text("".join(json.dumps(each) + "\n" for each in hostile))
    assert report.artifacts.curve(run) is not None
    named = [{**row, "kimg": k / 100, "extractor": "x" * 300_000} for k in (1, 2, 3)]
    (run.path / "metrics.jsonl").write_text("".join(json.dumps(each) + "\n" for each in named))
    assert report.artifacts.curve(run) is None, "a title of any length took its time to draw"
    (run.path / "metrics.jsonl").write_text("".join(json.dumps(each) + "\n" for each in [*odd, row]))
    newer = {**row, "source": "eval", "a field of tomorrow": 3}
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(newer) + "\n" + json.dumps({**row, "source": "eval"}) + "\n")
    assert report.artifacts.section(run), "an audit had measured, and threw away what it found"
    assert ganvas.train(resume=run.path, kimg=0.128, quiet=True, report=False).kimg == 0.128


def test_the_best_snapshot_is_that_by_figures_that_compare(tiny_train: Train) -> None:
    """With fewer samples the distance is larger, with more smaller: none, or the next one whatever it was, became the best."""
    settings = {"training.eval_samples": 800, "training.snapshot_kimg": 0.128}
    run = tiny_train(kimg=0.256, eval_kimg=0.128, settings=settings).run
    first = [Row.from_json(line) for line in run.metrics()]
    kept = ganvas.load(run.path / "snapshots" / "best", device="cpu").info.kimg
    info = json.loads(run.config_path.read_text())
    info["config"]["training"]["eval_samples"] = 100
    run.config_path.write_text(json.dumps(info))
    ganvas.train(resume=run.path, kimg=0.512, quiet=True, report=False)
    rows = [Row.from_json(line) for line in run.metrics()]
    later = [row for row in rows if row.n == 100]
    assert rows[: len(first)] == first
    assert [row.kimg for row in later] == [kept, 0.384, 0.512]
    best = min(later, key=lambda row: row.value)
    assert ganvas.load(run.path / "snapshots" / "best", device="cpu").info.kimg == best.kimg
    assert BestSnapshot(ganvas.open_run(run.path), load_dataset("digits"), "cpu").value == best.value


def test_what_others_put_into_snapshots_stays(
    tiny_train: Train, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A folder of a NAS in one ended the training; a file in the best one was removed at a resume."""
    settings = {"training.eval_samples": 100, "training.snapshot_kimg": 0.128}
    run = tiny_train(kimg=0.256, eval_kimg=0.128, settings=settings).run
    best = run.path / "snapshots" / "best"
    io.save_tensors(best / "directions.safetensors", {}, {"kind": "directions"})
    (run.snapshots[-1] / "@eaDir").mkdir()
    (run.snapshots[-1] / "@eaDir" / "x").touch()
    shutil.copyfile(best / "directions.safetensors", run.snapshots[-1] / "directions.safetensors")
    (tmp_path / "secret").touch()
    (run.snapshots[-1] / "x").symlink_to(tmp_path / "secret")
    before = io.stamp(run.snapshots[-1] / "generator.safetensors")
    figures = run.metrics()
    assert BestSnapshot(run, load_dataset("digits"), "cpu").value == min(row["value"] for row in figures)
    begun: list[Any] = []
    step = GanMethod.step

    def noting(self: GanMethod, *arguments: Any) -> None:
        begun.append((io.stamp(run.snapshots[-1] / "generator.safetensors"), run.metrics()))
        step(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(GanMethod, "step", noting)
        ganvas.train(resume=run.path, kimg=0.288, quiet=True, report=False)
    assert begun == [(before, figures)], "nothing was missing of it"
    assert (best / "directions.safetensors").exists()
    BestSnapshot(run, load_dataset("digits"), "cpu")._keep(run.snapshots[-1])
    assert sorted(path.name for path in best.iterdir()) == [
        "critic.safetensors", "directions.safetensors", "generator.safetensors",
    ]  # fmt: skip
    (run.path / "files").mkdir()
    for file in run.snapshots[-1].glob("*.safetensors"):
        shutil.move(file, run.path / "files" / file.name)
        file.symlink_to(run.path / "files" / file.name)
    BestSnapshot(run, load_dataset("digits"), "cpu")._keep(run.snapshots[-1])
    assert ganvas.load(best).info.kimg == 0.288, "links within the run are its own"
    shutil.move(run.path / "files", tmp_path / "files")
    (run.path / "files").symlink_to(tmp_path / "files")
    with pytest.raises(GanvasError, match="has no generator of its own"):
        BestSnapshot(run, load_dataset("digits"), "cpu")._keep(run.snapshots[-1])
    assert ganvas.load(best).info.kimg == 0.288, "what it held stays"


def test_a_distance_that_cannot_be_had_ends_in_words(
    tiny_train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An evaluation leaves out what cannot be had, and then there was no row to unpack."""
    module = import_module("ganvas.metrics.evaluate")  # the function of that name hides it
    monkeypatch.setattr(module, "_compute", lambda inputs, names, tell: ([], {"frechet": "some reason"}))
    with pytest.raises(GanvasError, match="The Frechet distance cannot be had: some reason"):
        tiny_train(kimg=0.064, eval_kimg=0.032, settings={"training.eval_samples": 100})


def test_a_device_that_nobody_has_is_refused_in_words(tiny_train: Train) -> None:
    run = tiny_train(kimg=0.064).run
    info = json.loads(run.config_path.read_text())
    for device in ("\x1b]0;x\x07", "tpu", "cuda:99999"):
        info["config"]["training"]["device"] = device
        run.config_path.write_text(json.dumps(info))
        with pytest.raises(GanvasError, match=r"Unknown device|is not available"):
            ganvas.train(resume=run.path, kimg=0.128, quiet=True)


@pytest.mark.parametrize(
    "change",
    [{"data": []}, {"data": {"name": "a"}}, {"versions": 5}, {"command": None, "data": {"trained_on": "x"}}],
)
def test_a_report_of_a_damaged_run_is_refused_in_words(tiny_train: Train, change: dict[str, Any]) -> None:
    run = tiny_train().run
    info = json.loads(run.config_path.read_text())
    run.config_path.write_text(json.dumps({**info, **change}))
    with pytest.raises(GanvasError, match=r"config.json is damaged, no report is made of it"):
        report.write_report(run)
    # The figures of an evaluation are told all the same.
    assert (
        main(
            [
                "eval",
                str(run.path),
                "--reference",
                "digits",
                "--n",
                "100",
                "--extractor",
                "raw",
                "--metrics",
                "kid",
            ]
        )
        == 0
    )


@pytest.mark.parametrize("method", ["gan", "private"])
def test_a_run_of_a_gpu_goes_on_on_a_cpu(tiny_train: Train, method: str) -> None:
    """`--device` may change; random numbers of a GPU have a state of another size, and others follow it."""
    options = {"method.options": {"noise": 3.0, "epsilon": 50.0}} if method == "private" else {}
    run = tiny_train(kimg=0.256, method=method, settings=options).run
    tensors, header = io.load_tensors(run.state_path)
    on_gpu = {
        name: torch.arange(16, dtype=torch.uint8) for name in tensors if name.split(".")[-1] == "random"
    }
    assert len(on_gpu) == (2 if options else 1)
    io.save_tensors(run.state_path, tensors | on_gpu, header)
    assert ganvas.train(resume=run.path, kimg=0.512, device="cpu", quiet=True, report=False).kimg > 0.256


@pytest.mark.gpu
def test_a_run_of_a_cpu_goes_on_on_a_gpu(tiny_train: Train) -> None:
    run = tiny_train(kimg=0.256).run
    assert ganvas.train(resume=run.path, kimg=0.512, device="cuda", quiet=True, report=False).kimg > 0.256
    assert ganvas.train(resume=run.path, kimg=0.768, device="cpu", quiet=True, report=False).kimg > 0.512


def test_files_of_a_snapshot_are_replaced_together(
    monkeypatch: pytest.MonkeyPatch, tiny_train: Callable[..., Result]
) -> None:
    """Of the same thousand images as the one before: what was stopped while its critic was written left that of another state."""
    run = tiny_train(kimg=1.024).run
    files = sorted(run.snapshots[-1].glob("*.safetensors"))
    assert len(files) == 2
    before, write = [file.read_bytes() for file in files], loop.save_network
    written: list[str] = []

    def stopped(path: Path, network: Any, config: Any, header: Any) -> None:
        written.append(header["kind"])
        if len(written) == 2:
            raise OSError("the disk is full")
        write(path, network, config, header)

    monkeypatch.setattr(loop, "save_network", stopped)
    with pytest.raises((OSError, GanvasError), match="the disk is full"):
        ganvas.train(resume=run.path, kimg=1.536, device="cpu", quiet=True, report=False)
    assert [file.read_bytes() for file in files] == before
    assert sorted(run.snapshots[-1].iterdir()) == files
