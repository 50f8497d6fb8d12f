import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ganvas import io
from ganvas.config import Config, to_dict
from ganvas.errors import GanvasError
from ganvas.runs import command_line, create_run, open_run

CONTENT = {"format_version": 1, "config": to_dict(Config())}


def test_folders_are_numbered_on(tmp_path: Path) -> None:
    (tmp_path / "00007-old").mkdir(parents=True)
    (tmp_path / "notes").mkdir()
    assert create_run(tmp_path, "a", CONTENT).path.name == "00008-a"
    assert create_run(tmp_path, "b", CONTENT).path.name == "00009-b"


def test_runs_that_start_together_get_their_own_folders(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda _: create_run(tmp_path, "same", CONTENT).path, range(16)))
    assert len(set(paths)) == 16
    assert all((path / "config.json").is_file() for path in paths)


def test_open_run_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(GanvasError, match="No such run folder"):
        open_run(tmp_path / "none")
    with pytest.raises(GanvasError, match=r"holds no config.json"):
        open_run(tmp_path)


def test_config_round_trip(tmp_path: Path) -> None:
    run = create_run(tmp_path, "a", CONTENT)
    assert open_run(run.path).config == Config()
    run.config_path.write_text('{"config": 3}')
    with pytest.raises(GanvasError, match="damaged"):
        _ = run.config


def test_stats_survive_a_cut_line_and_rewind(tmp_path: Path) -> None:
    run = create_run(tmp_path, "a", CONTENT)
    for kimg in (1.0, 2.0, 3.0):
        run.append_stats({"kimg": kimg})
    with open(run.path / "stats.jsonl", "a") as file:
        file.write('{"kimg": 4.')
    assert [r["kimg"] for r in run.stats()] == [1, 2, 3]
    run.rewind_stats(2.0)
    assert [r["kimg"] for r in run.stats()] == [1, 2]


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
