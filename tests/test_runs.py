import errno
import io as memory
import json
import os
import resource
import shutil
import socket
import threading
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest.mock import DEFAULT, Mock

import numpy as np
import pytest
from filelock import FileLock
from matplotlib.axes import Axes
from PIL import Image

from ganvas import io
from ganvas.cli import main
from ganvas.config import Config, to_dict
from ganvas.errors import GanvasError
from ganvas.metrics import evaluate
from ganvas.model_file import load
from ganvas.pictures import png
from ganvas.report import artifacts
from ganvas.report.page import curves, signals
from ganvas.runs import (
    LONGEST_NAME,
    MOST_FIGURES,
    MOST_VERDICTS,
    Run,
    command_line,
    create_run,
    open_run,
    trained_beyond,
)

CONTENT = {"format_version": 1, "config": to_dict(Config())}


def test_folders_are_numbered_on(tmp_path: Path) -> None:
    (tmp_path / "00007-old").mkdir(parents=True)
    (tmp_path / "notes").mkdir()
    assert create_run(tmp_path, "a", CONTENT).path.name == "00008-a"
    assert create_run(tmp_path, "b", CONTENT).path.name == "00009-b"


def test_numbers_go_on_beyond_five_digits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second run after 99999 made and removed a folder 100000 for ever."""
    (tmp_path / "20261130-notes").mkdir()
    assert create_run(tmp_path, "a", CONTENT).path.name == "00000-a"
    (tmp_path / "20261130-notes").rmdir()
    (tmp_path / "99999-old").mkdir()
    assert create_run(tmp_path, "a", CONTENT).path.name == "100000-a"
    monkeypatch.setattr(
        io, "write_json", Mock(wraps=io.write_json, side_effect=[DEFAULT, AssertionError("again")])
    )
    assert create_run(tmp_path, "a", CONTENT).path.name == "100001-a"


def test_runs_that_start_together_get_their_own_folders(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda _: create_run(tmp_path, "same", CONTENT).path, range(16)))
        # Of other names each had a folder, and two of them one number.
        paths += pool.map(lambda i: create_run(tmp_path, f"other{i % 3}", CONTENT).path, range(48))
    assert len({path.name[:5] for path in paths}) == 64
    assert not list(tmp_path.glob(".*"))
    (tmp_path / "killed" / ".00000.taken").mkdir(parents=True)
    assert create_run(tmp_path / "killed", "a", CONTENT).path.name == "00001-a"
    assert all((path / "config.json").is_file() for path in paths)


def test_numbers_that_killed_processes_hold_are_passed_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a stranger's folder with thousands of them each was tried, and the whole listed anew for it: hours, in silence."""
    for each in (*range(300), 301):
        (tmp_path / f".{each:05d}.taken").mkdir()
    listed = Mock(wraps=os.listdir)
    monkeypatch.setattr("os.listdir", listed)
    tried = Mock(wraps=Path.mkdir)
    monkeypatch.setattr(Path, "mkdir", lambda *given, **more: tried(*given, **more))
    assert create_run(tmp_path, "a", CONTENT).path.name == "00300-a"
    assert listed.call_count < 5
    assert tried.call_count < 10
    assert create_run(tmp_path, "a", CONTENT).path.name == "00302-a"
    # One that was taken since the folder was listed.
    listed.side_effect = lambda *given: [] if given == (tmp_path,) else DEFAULT
    shutil.rmtree(tmp_path / "00300-a")
    shutil.rmtree(tmp_path / "00302-a")
    assert create_run(tmp_path, "a", CONTENT).path.name == "00300-a"


def test_what_killed_commands_left_goes_after_a_day(tmp_path: Path) -> None:
    """Those of a killed `calibrate` or `eval` stayed for ever; what a command is at work on stays."""
    run = create_run(tmp_path, "a", CONTENT)
    begun, home = time.time() - 100_000, run.path / "sampling" / "0123"
    home.mkdir(parents=True)
    old = [
        home / ".ratio.safetensors.0a1b2c3d.tmp", run.path / ".nearest.png.0a1b2c3d.tmp", home / ".folder.0a1b2c3d.tmp",
        run.path / ".my table.csv.0a1b2c3d.tmp",
    ]  # fmt: skip
    new = [run.path / ".nearest.png.1a1b2c3d.tmp", home / ".grows.1a1b2c3d.tmp"]
    others = [home / ".mine.tmp", home / "ratio.safetensors.0a1b2c3d.tmp", home / "ratio.safetensors"]
    for each in (*old, *new, *others):
        if each.suffixes[0] in (".0a1b2c3d", ".1a1b2c3d"):
            each.mkdir()
            (each / "part").touch()
        else:
            each.touch()
    for each in (*old, *(each / "part" for each in old if each.is_dir()), *others, new[1]):
        os.utime(each, (begun, begun))
    run.remove_leftovers()
    assert not [each for each in old if each.exists()]
    assert all(each.exists() for each in (*new, *others))


def test_open_run_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(GanvasError, match="No such run folder"):
        open_run(tmp_path / "none")
    with pytest.raises(GanvasError, match=r"holds no config.json"):
        open_run(tmp_path)


def test_who_mistypes_a_run_is_shown_those_there_are(tmp_path: Path) -> None:
    made = [create_run(tmp_path / "runs", "mine", CONTENT).path for _ in range(4)]
    for each in made:
        (each / "log.txt").touch()
    other = tmp_path / "runs" / "vae"
    other.mkdir()
    (other / "config.json").write_text("{}")
    for wrong in (tmp_path / "runs" / "00009-mine", tmp_path / "runs"):
        for opened in (open_run, load):
            with pytest.raises(GanvasError) as error:
                opened(wrong)
            assert f"There are: {', '.join(map(str, made[1:]))}." in str(error.value)


def test_who_types_the_name_of_a_run_is_told_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("own", "own", "of-another"):
        (create_run(Path("runs"), name, CONTENT).path / "log.txt").touch()
    for typed, run in (
        ("own", "00001-own"),
        ("of-another", "00002-of-another"),
        ("runs/own", "00001-own"),
        ("00000", "00000-own"),
        ("00000-own", "00000-own"),
    ):
        for opened in (open_run, load, evaluate):
            with pytest.raises(GanvasError, match=f" Did you mean {Path('runs') / run}\\? ?"):
                opened(typed)
    for opened in (open_run, load, evaluate):
        with pytest.raises(GanvasError, match=r" There are: runs.*\. ?"):
            opened("another")
    assert main(["eval", "own", "--snapshots"]) == 2


def test_a_folder_without_files_is_no_snapshot(tmp_path: Path) -> None:
    """As a copy that was cut off leaves one: the run would not open for it, whatever snapshots it has."""
    snapshots = create_run(tmp_path, "a", CONTENT).path / "snapshots"
    for name in ("000001", "000002", "999999"):
        (snapshots / name).mkdir(parents=True)
    (snapshots / "000003").touch()
    (snapshots / "000002" / "generator.safetensors").touch()
    assert Run(snapshots.parent).snapshots == [snapshots / "000002"]


def test_config_round_trip(tmp_path: Path) -> None:
    run = create_run(tmp_path, "a", CONTENT)
    assert open_run(run.path).config == Config()
    run.config_path.write_text('{"config": 3}')
    with pytest.raises(GanvasError, match="damaged"):
        _ = run.config


@pytest.mark.parametrize("kimg", ["much", None, [1], float("nan")])
def test_a_snapshot_that_does_not_say_when_it_is_of_is_of_no_later_state(
    tmp_path: Path, kimg: object
) -> None:
    folder = tmp_path / "000001"
    folder.mkdir()
    io.save_tensors(folder / "generator.safetensors", {}, {"kimg": kimg})
    assert not trained_beyond(folder, 0.5)
    io.save_tensors(folder / "mine.safetensors", {}, {"kimg": 9, "kind": "generator"})
    assert not trained_beyond(folder, 0.5), "somebody's own file beside it"
    io.save_tensors(folder / "generator.safetensors", {}, {"kimg": 1})
    assert trained_beyond(folder, 0.5)


def test_stats_survive_a_cut_line_and_rewind(tmp_path: Path) -> None:
    run = create_run(tmp_path, "a", CONTENT)
    for kimg in (1.0, 2.0, 3.0):
        run.append_stats({"kimg": kimg})
    with open(run.path / "stats.jsonl", "a") as file:
        file.write('{"kimg": 4.')
    assert [r["kimg"] for r in run.stats()] == [1, 2, 3]
    assert run.rewind_stats(2.0) == [], "lines of statistics were told as figures of ganvas eval"
    assert [r["kimg"] for r in run.stats()] == [1, 2]


def test_lines_that_are_added_while_a_run_goes_back_are_kept(tmp_path: Path) -> None:
    """`train --resume` read metrics.jsonl and renamed a copy over it: what `ganvas eval` had added between was lost."""
    run = create_run(tmp_path, "a", CONTENT)
    added = [
        threading.Thread(target=lambda: [run.append_metrics([{"kimg": 1.0}]) for _ in range(300)])
        for _ in "12"
    ]
    for each in added:
        each.start()
    while any(each.is_alive() for each in added):
        run.append_metrics([{"kimg": 9.0}])
        assert run.rewind_stats(2.0)
        time.sleep(0.002)
    assert len(run.metrics()) == 600


def test_lines_stay_the_file_that_they_are_where_none_is_beyond(tmp_path: Path) -> None:
    run = create_run(tmp_path, "a", CONTENT)
    run.append_metrics([{"kimg": 1.0}])
    before = os.stat(run.path / "metrics.jsonl")
    assert run.rewind_stats(2.0) == []
    assert os.path.samestat(os.stat(run.path / "metrics.jsonl"), before)


def test_an_out_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(GanvasError, match="creating the run folder"):
        create_run(tmp_path / "file", "a", CONTENT)


def test_a_command_with_names_that_are_no_text_can_be_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["ganvas", "train", "digits", "--out", os.fsdecode(b"out\xff")])
    run = create_run(tmp_path, "a", {"command": command_line()})
    assert io.read_json(run.path / "config.json")["command"] == "ganvas train digits --out out\\udcff"


def test_a_strangers_lines_of_statistics_cost_no_more_than_a_runs_own(tmp_path: Path) -> None:
    """Each name was a curve, looked for in every line: 2 MB took two minutes in a notebook, and more in a report."""
    run = create_run(tmp_path, "a", CONTENT)
    lines: list[io.Json] = [{"kimg": i, f"loss_{i}": 1.0, "diversity": 0.5} for i in range(3000)]
    lines += [
        {
            "kimg": 3000,
            "verdicts": [f"{i:0999}" for i in range(100)],
            "diversity": 0.5,
            **dict.fromkeys(map(str, lines), 1),
        }
    ]
    (run.path / "stats.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = run.stats()
    assert len(found) == 3001
    assert len({name for line in found for name in line if name != "verdicts"}) == MOST_FIGURES
    assert len(found[-1]["verdicts"]) == MOST_VERDICTS
    assert max(map(len, found[-1]["verdicts"])) == LONGEST_NAME
    assert found[199] == {"kimg": 199, "diversity": 0.5}
    assert run._repr_html_().count("<polyline") < MOST_FIGURES
    for draw in (curves, signals):
        assert (draw(run) or b"").startswith(b"\x89PNG")


def test_names_of_figures_are_text_in_plots_and_of_some_letters(tmp_path: Path) -> None:
    """What stands between two dollars was mathematics, which has to make sense; a name of a million letters took minutes."""
    run = create_run(tmp_path, "a", CONTENT)
    figures = {r"loss_$\frac{$": 1.0, r"$\undefined$_logits": 1.0, "loss_" + "W" * 100_000: 1.0}
    (run.path / "stats.jsonl").write_text(
        "".join(json.dumps({"kimg": i, **figures}) + "\n" for i in range(2))
    )
    assert set(run.stats()[0]) == {"kimg", *list(figures)[:2]}
    assert (curves(run) or b"").startswith(b"\x89PNG")


def test_a_plot_has_as_many_points_as_pixels_and_no_figure_is_too_large_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = create_run(tmp_path, "a", CONTENT)
    largest = 1.7e308
    lines = [{"kimg": i, **{f"loss_{k}": largest * (-1) ** i for k in range(100)}} for i in range(4001)]
    (run.path / "stats.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    drawn = []

    def kept(axes: Axes, x: Any, y: Any, **options: Any) -> Any:
        drawn.append((len(x), x[-1], abs(y).max()))
        return plot(axes, x, y, **options)

    plot = Axes.plot
    monkeypatch.setattr(Axes, "plot", kept)
    assert (curves(run) or b"").startswith(b"\x89PNG")
    assert drawn == [(1334, 4000, 1e30)] * 20


def test_a_line_that_has_no_room_leaves_no_half(tmp_path: Path) -> None:
    """The next one joined it, and both were lost."""
    run = create_run(tmp_path, "a", CONTENT)
    run.append_metrics([{"metric": "first"}])
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = (run.path / "metrics.jsonl").stat().st_size + 5
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, usual[1]))
    try:
        with pytest.raises(GanvasError, match=r"writing metrics\.jsonl"):
            run.append_metrics([{"metric": "second"}])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    run.append_metrics([{"metric": "third"}])
    assert [row["metric"] for row in run.metrics()] == ["first", "third"]


def test_a_line_cut_by_a_kill_spoils_no_other(tmp_path: Path) -> None:
    run = create_run(tmp_path, "a", CONTENT)
    (run.path / "metrics.jsonl").write_text('{"metric": "first"}\n{"metr')
    run.append_metrics([{"metric": "third"}])
    assert [row["metric"] for row in run.metrics()] == ["first", "third"]


@pytest.mark.parametrize("name", ["log.txt", "stats.jsonl", "metrics.jsonl"])
def test_nothing_is_written_through_a_link(tmp_path: Path, name: str) -> None:
    """A run from somebody else would choose the file of this user that a figure is added to."""
    theirs = tmp_path / "profile"
    theirs.write_text("mine\n")
    run = create_run(tmp_path, "a", CONTENT)
    (run.path / name).symlink_to(theirs)
    with pytest.raises(GanvasError, match=r"is a link, or no file: nothing is written through it"):
        {"log.txt": lambda: run.log("x"), "stats.jsonl": lambda: run.append_stats({"kimg": 1.0})}.get(
            name, lambda: run.append_metrics([{"a": 1}])
        )()
    assert theirs.read_text() == "mine\n"
    (run.path / name).unlink()
    run.log("x")
    assert (run.path / "log.txt").read_text() == "x\n"


@pytest.mark.parametrize("name", ["stats.jsonl", "metrics.jsonl"])
def test_nothing_is_read_through_a_link(tmp_path: Path, name: str) -> None:
    """Figures of another file would go into the report of a run that somebody passed on."""
    (tmp_path / "theirs").write_text('{"kimg": 1, "secret": 5}\n')
    run = create_run(tmp_path, "a", CONTENT)
    (run.path / name).symlink_to(tmp_path / "theirs")
    for read in (run.stats if name == "stats.jsonl" else run.metrics, lambda: run.rewind_stats(0.5)):
        with pytest.raises(GanvasError, match="is a link, or no file"):
            read()
    assert (run.path / name).is_symlink()


@pytest.mark.parametrize(
    "name", ["samples", "snapshots", "snapshots/000512", "state", "sampling", "evaluation"]
)
def test_no_folder_of_a_run_leads_out_of_it(tmp_path: Path, name: str) -> None:
    """A link would choose where snapshots and pictures are written: over those of another run."""
    run = create_run(tmp_path / "runs", "a", CONTENT)
    (tmp_path / "away").mkdir()
    (run.path / name).parent.mkdir(exist_ok=True)
    (run.path / name).symlink_to(tmp_path / "away")
    before = sorted(run.path.rglob("*"))
    with pytest.raises(GanvasError, match=f"{name} is a link that leads out of the run"), run.locked():
        pass
    assert sorted(run.path.rglob("*")) == before
    (tmp_path / "linked").symlink_to(run.path)  # the whole run may lie where one likes
    (run.path / name).unlink()
    (run.path / "elsewhere").mkdir()
    (run.path / name).symlink_to(run.path / "elsewhere")
    with Run(tmp_path / "linked").locked() as said:
        assert said == ""


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: os.symlink("/dev/zero", path), os.mkdir])
def test_an_owner_that_is_no_file_is_a_stranger(tmp_path: Path, make: Callable[[Path], None]) -> None:
    """To open a pipe waited for ever."""
    run = create_run(tmp_path, "a", CONTENT)
    make(run.path / "owner.json")
    with pytest.raises(GanvasError, match="is being trained by process"), run.locked():
        pass


def test_an_owner_with_a_number_that_no_process_has(tmp_path: Path) -> None:
    """Of this machine, so that its lock is believed; asking the system for the number ended in an OverflowError."""
    run = create_run(tmp_path, "a", CONTENT)
    (run.path / "owner.json").write_text(json.dumps({"host": socket.gethostname(), "pid": 10**18}))
    with run.locked() as said:
        assert "taken over" in said


def test_where_there_are_no_locks_the_owner_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in some network folders: no training could begin there, and each try left a numbered folder."""

    def refuse(self: FileLock, timeout: float = 0) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(FileLock, "acquire", refuse)
    run = create_run(tmp_path, "a", CONTENT)
    with run.locked() as said:
        assert said == ""
        with (
            pytest.raises(GanvasError, match=r"is being trained by process.*delete .*owner\.json"),
            run.locked(),
        ):
            pass
    gone = {"host": socket.gethostname(), "pid": 2**22 + 1}
    (run.path / "owner.json").write_text(json.dumps(gone))
    with run.locked() as said:
        assert "taken over" in said
    # A process of another container of this machine is not seen here, and is no dead one.
    (run.path / "owner.json").write_text(json.dumps({**gone, "processes": "pid:[1]"}))
    with pytest.raises(GanvasError, match="is being trained by process"), run.locked():
        pass


@pytest.mark.parametrize("killed", [False, True])
def test_where_there_are_no_locks_one_of_those_that_begin_at_once_trains(
    killed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each looked for an owner, saw none, and wrote itself: all trained."""

    def refuse(self: FileLock, timeout: float = 0) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(FileLock, "acquire", refuse)
    run = create_run(tmp_path, "a", CONTENT)
    begin, over, claim = threading.Barrier(4), threading.Event(), Run._claim

    def together(self: Run, *given: Any) -> None:
        begin.wait(20)  # all have looked
        claim(self, *given)

    def train(number: int) -> str:
        try:
            with run.locked():
                over.wait(20)
        except GanvasError as error:
            return str(error)
        return ""

    monkeypatch.setattr(Run, "_claim", together)
    if killed:
        gone = {"host": socket.gethostname(), "pid": 2**22 + 1}
        (run.path / "owner.json").write_text(json.dumps(gone))
    with ThreadPoolExecutor(4) as pool:
        at_work = [pool.submit(train, number) for number in range(4)]
        end = time.monotonic() + 20
        while sum(each.done() for each in at_work) < 3 and time.monotonic() < end:
            time.sleep(0.01)
        over.set()
    said = sorted(each.result() for each in at_work)
    assert said[0] == ""
    assert all("is being trained by" in words for words in said[1:])
    assert not [path for path in run.path.iterdir() if "owner" in path.name]


def test_where_the_system_has_no_locks_a_file_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """filelock takes one then, which a kill on another machine leaves behind: nobody said what to do about it."""

    def refuse(file: object, how: int) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr("fcntl.flock", refuse)
    run = create_run(tmp_path, "a", CONTENT)
    with warnings.catch_warnings(action="ignore"):
        with run.locked(), pytest.raises(GanvasError, match="is being trained by process"), run.locked():
            pass
        (run.path / ".lock").write_text("12\nelsewhere\n")
        theirs = {"host": "elsewhere", "boot": "another", "pid": 12, "since": "2026-01-01"}
        (run.path / "owner.json").write_text(json.dumps(theirs))
        with (
            pytest.raises(GanvasError, match=r"If that process is over, delete .*owner\.json"),
            run.locked(),
        ):
            pass
        for name in (".lock", "owner.json"):
            (run.path / name).unlink()
        with run.locked() as said:
            assert said == ""


def test_a_lock_or_an_owner_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    """filelock empties what its file leads to before 3.20.1; what another file says is nobody's business."""
    theirs = tmp_path / "theirs"
    theirs.write_text('{"host": "secret"}')
    run = create_run(tmp_path, "a", CONTENT)
    (run.path / ".lock").symlink_to(theirs)
    with pytest.raises(GanvasError, match="lock is a link, or no file"), run.locked():
        pass
    (run.path / ".lock").unlink()
    (run.path / "owner.json").symlink_to(theirs)
    with pytest.raises(GanvasError, match=r"on an unknown machine") as refused, run.locked():
        pass
    assert "secret" not in str(refused.value)
    assert theirs.read_text() == '{"host": "secret"}'


def test_pictures_of_a_run_are_its_own(tmp_path: Path) -> None:
    png = b"\x89PNG\r\n\x1a\n and so on"
    run = create_run(tmp_path / "runs", "a", CONTENT)
    run.samples_path.mkdir()
    (tmp_path / "away").mkdir()
    for path in (run.samples_path / "1.png", tmp_path / "away" / "1.png"):
        path.write_bytes(png)
    (run.samples_path / "2.png").write_bytes(b"-----BEGIN PRIVATE KEY-----")
    (run.samples_path / "3.png").symlink_to(tmp_path / "away" / "1.png")
    (run.samples_path / "4.png").symlink_to(run.samples_path / "1.png")
    (run.samples_path / "5.png").symlink_to("5.png")
    (run.samples_path / "6.png").symlink_to("/dev/zero")
    (run.path / "evaluation").symlink_to(tmp_path / "away")
    with (run.samples_path / "7.png").open("wb") as file:
        file.write(png)
        file.truncate(2**28 + 1)
    found = {str(i): run.picture(run.samples_path / f"{i}.png") for i in range(8)}
    assert {name for name, content in found.items() if content is not None} == {"1", "4"}
    assert found["1"] == png
    assert run.picture(run.path / "evaluation" / "1.png") is None


def test_large_pictures_of_a_run_are_shown_smaller(tmp_path: Path) -> None:
    """A page held each several times over: a dozen of 256 MiB, 10 MB of a packed run, took many gigabytes."""
    run = create_run(tmp_path / "runs", "a", CONTENT)
    run.samples_path.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (2100, 4200, 3), dtype=np.uint8)
    (run.samples_path / "1.png").write_bytes(png(Image.fromarray(noise)))
    (run.samples_path / "2.png").write_bytes(png(Image.fromarray(noise[:512, :512])))
    with (run.samples_path / "3.png").open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        file.truncate(artifacts.WHOLE_PICTURE + 1)
    one, two, none = (artifacts.picture(run, run.samples_path / f"{i}.png") for i in (1, 2, 3))
    assert one is not None
    assert len(one) <= artifacts.WHOLE_PICTURE
    assert Image.open(memory.BytesIO(one)).size == (2048, 1024)
    assert two == (run.samples_path / "2.png").read_bytes()
    assert none is None
    # Of a few bytes, too: a browser took what they unfold to.
    (run.samples_path / "4.png").write_bytes(png(Image.new("1", (9000, 4500))))
    (run.samples_path / "5.png").write_bytes(png(Image.new("1", (20_000, 20_000))))
    four, five = (artifacts.picture(run, run.samples_path / f"{i}.png") for i in (4, 5))
    assert four is not None
    assert Image.open(memory.BytesIO(four)).size == (2048, 1024)
    assert five is None
