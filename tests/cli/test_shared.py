"""What all commands share: tables, progress where nobody sees a bar, outputs that are checked before the work."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook

import ganvas
from ganvas import io, pictures
from ganvas.cli import _shared, main
from ganvas.errors import GanvasError
from ganvas.networks import GeneratorBase
from ganvas.training import Result
from ganvas.training.display import Display
from tests.conftest import TINY, full_disk

COLUMNS = [
    _shared.Column("metric", left=True), _shared.Column("value"), _shared.Column("floor", drop=1),
    _shared.Column("what it means", left=True, drop=2),
]  # fmt: skip
ROWS = [["frechet", "12.5", "1.25", "w" * 100], ["a metric with a long name", "3", "", "short"]]


def test_tables_are_whole_in_pipes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    _shared.table(COLUMNS, ROWS)
    assert capsys.readouterr().out.splitlines() == [
        "metric                     value  floor  what it means",
        "frechet                     12.5   1.25  " + "w" * 100,
        "a metric with a long name      3         short",
    ]


@pytest.mark.parametrize(
    ("width", "left"),
    [(200, "metric value floor what it means"), (100, "metric value floor"), (35, "metric value")],
)
def test_terminals_drop_columns_by_importance(
    width: int, left: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(width))
    _shared.table(COLUMNS, ROWS)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()
    assert " ".join(lines[0].split()) == left
    assert [line.split("  ")[0] for line in lines[1:3]] == [row[0] for row in ROWS], "words are whole"
    gone = [column.name for column in COLUMNS if column.name not in left]
    note = f"no room for: {', '.join(gone)}; a wider window, a pipe or --json shows them"
    assert " ".join(" ".join(lines[3:]).split()) == (note if gone else "")


def test_long_jobs_report_in_pipes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while a part of them says nothing; a quick job is silent."""
    monkeypatch.setattr(_shared, "FIRST", 0.01)
    monkeypatch.setattr(_shared, "EVERY", 0.01)
    said = ""
    with _shared.progress() as tell:
        tell("descent", 3, 1200)
        give_up = time.monotonic() + 20
        while "descent: 3 of 1,200" not in said and time.monotonic() < give_up:
            time.sleep(0.01)
            said += capsys.readouterr().err
    assert "descent: 3 of 1,200" in said
    monkeypatch.setattr(_shared, "FIRST", 60.0)
    capsys.readouterr()
    with _shared.progress() as tell:
        tell("descent", 1, 2)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("command", "parts"),
    [
        (["walk", "--frames", "130"], ["how evenly the pictures change", "frames", "writing a.gif"]),
        (["walk", "--frames", "20", "--equal"], ["rounds of equal steps", "frames"]),
        (["walk", "--frames", "4", "--kind", "geodesic"], ["steps of the geodesic", "frames"]),
        (["edit", "--arithmetic", "0 + 1"], ["strengths"]),
    ],
)
def test_walk_and_edit_say_how_far_they_are(
    trained: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str], parts: list[str]
) -> None:
    """A film of many frames drew for minutes and said nothing."""
    told: list[tuple[str, int, int]] = []

    @contextmanager
    def progress() -> Iterator[_shared.Tell]:
        yield lambda *said: told.append(said)

    monkeypatch.setattr(_shared, "progress", progress)
    name, *options = command
    out = tmp_path / ("a.gif" if name == "walk" else "a.png")
    assert main([name, str(trained.run.path), *options, "--out", str(out), "--device", "cpu"]) == 0
    whats = [what for what, _, _ in told]
    assert [what for what in dict.fromkeys(whats) if what in parts] == parts
    for what in parts:
        done = [(n, total) for each, n, total in told if each == what]
        assert [n for n, _ in done] == sorted({n for n, _ in done}), "it goes on and never back"
        assert all(n < total for n, total in done)
    if "130" in command:
        assert [n for what, n, _ in told if what == "frames"] == [0, 64, 128]


def test_pictures_of_two_calibrations_in_one_folder_are_both_kept(trained: Result, tmp_path: Path) -> None:
    """Both were called calibration.png, and the second was written over the first."""
    run = shutil.copytree(trained.run.path, tmp_path / "run")
    for name in ("platt", "isotonic"):
        out = ["--out", str(tmp_path / f"{name}.safetensors"), "--device", "cpu"]
        assert main(["calibrate", str(run), "--critic", "own", "--method", name, *out]) == 0
    assert sorted(path.name for path in tmp_path.glob("*.png")) == ["isotonic.png", "platt.png"]
    assert main(["calibrate", str(run), "--critic", "own", "--device", "cpu"]) == 0
    assert [path.name for path in run.rglob("calibration.png")] == ["calibration.png"], (
        "where nobody names one"
    )


SEARCH = ["digits", "--n", "1", "--steps", "1", "--restarts", "1"]
QUICK = {
    "calibrate": ["--critic", "own"], "directions": ["--method", "random", "--count", "1"],
    "edit": ["--arithmetic", "0 + 1"], "eval": ["--n", "50", "--metrics", "frechet", "--extractor", "raw"],
    "invert": [*SEARCH, "--method", "optimise", "--newton", "0"], "map": ["--n", "60", "--method", "pca", "--data", "none"],
    "restore": SEARCH, "sample": ["--n", "9"], "statistics": ["--n", "20", "--spaces", "z"], "walk": ["--frames", "3"],
}  # fmt: skip
WRITTEN = {
    "calibrate": ".safetensors",
    "directions": ".safetensors",
    "eval": ".json",
    "invert": ".npz",
    "restore": ".npz",
}


TEXTS = {
    "directions": {"-3", "as it is", "+3", "random-0", "random"}, "edit": {"0", "+ 1", "terms, result"},
    "invert": {"target", "found"}, "restore": {"original", "damaged", "restored"}, "sample": set("012345678"),
}  # fmt: skip
"""Words in the pictures of commands: without them nobody knows which picture is what."""


@pytest.mark.parametrize("command", QUICK)
def test_nothing_is_drawn_before_it_is_said_what_for(
    command: str, trained: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Commands in a pipe said "starting", and on a large network nothing else for minutes. Their pictures are labelled."""
    for name, few in (
        ("latent.directions.EFFECT_SAMPLES", 8), ("latent.directions.CONTROLS", 2), ("latent.invert.CANDIDATES", 8),
    ):  # fmt: skip
        monkeypatch.setattr(f"ganvas.{name}", few)
    told: list[str] = []
    early: list[str] = []

    @contextmanager
    def progress() -> Iterator[_shared.Tell]:
        yield lambda what, done, total: told.append(what)

    def draws(module: nn.Module, given: tuple[Tensor, ...]) -> None:
        if isinstance(module, GeneratorBase) and not given[0].is_meta and not told:
            early.append(command)

    written: list[str] = []
    write = pictures._shortened
    monkeypatch.setattr(pictures, "_shortened", lambda text, room: written.append(text) or write(text, room))
    monkeypatch.setattr(_shared, "progress", progress)
    hook = register_module_forward_pre_hook(draws)
    out = [] if command == "statistics" else ["--out", f"a{WRITTEN.get(command, '.png')}"]
    monkeypatch.chdir(tmp_path)
    try:
        run = shutil.copytree(trained.run.path, tmp_path / "run")
        assert main([command, str(run), *QUICK[command], *out, "--device", "cpu"]) == 0
    finally:
        hook.remove()
    assert told
    assert not early
    assert TEXTS.get(command, set()) <= set(written)


def test_outputs_are_refused_for_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "file").write_text("x")
    for out, message in (
        ("a.gif", "Cannot write .gif here"),
        ("a", "Cannot write a name without suffix here"),
        ("folder.png", "is a folder"),
        ("file/a.png", "is a file, not a folder"),
        ("file/deeper/a.png", "is a file, not a folder"),
        ("x" * 300 + ".png", "name too long"),
    ):
        with pytest.raises(GanvasError, match=re.compile(message, re.IGNORECASE)):
            _shared.outputs(tmp_path / out, ".png")
    with pytest.raises(GanvasError, match="is a folder"):
        _shared.outputs(tmp_path / "a.png", ".png", beside=[tmp_path / "folder.png"])
    _shared.outputs(tmp_path / "new" / "folders" / "a.png", ".png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.png"], (
        "nothing is left behind"
    )
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path / "file"))
    with pytest.raises(GanvasError, match="set GANVAS_CACHE"):
        _shared.outputs(tmp_path / "file" / "ratio.safetensors")


@pytest.mark.parametrize(
    "command", [["invert", "fashion"], ["restore", "fashion"], ["encode", "model.safetensors"]]
)
def test_what_is_read_is_not_written_over(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`ganvas invert RUN face.png --out face.npz` wrote its picture over the face, `encode --fit` its model over the model."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for name in ("face.png", "photos/face.png", "model.safetensors", "face.npz"):
        (tmp_path / name).write_bytes(b"mine")
    fit = ["--fit", "2"] if command[0] == "encode" else []
    derived = "face.npz" if not fit else "model.npz"
    for images, out in (("face.png", derived), ("face.npz", "face.npz"), ("photos", "photos/face.npz")):
        if fit and images == "photos":
            continue
        assert main([*command, images, "--out", out, *fit]) == 2
        assert "would be written over" in capsys.readouterr().err
    assert {path.read_bytes() for path in tmp_path.rglob("*.*")} == {b"mine"}


@pytest.mark.skipif(
    not Path("/proc/self").is_dir(), reason="only Linux has a folder that takes files from nobody"
)
def test_a_folder_that_takes_no_files() -> None:
    """Permissions alone would say yes to an administrator."""
    with pytest.raises(GanvasError, match="Choose another folder"):
        _shared.outputs(Path("/proc/self/a.png"), ".png")


def test_messages_name_the_file_that_was_asked_for(tmp_path: Path) -> None:
    """Never the temporary one beside it."""
    from ganvas import io

    with pytest.raises(GanvasError) as refused, io.atomic(tmp_path / "a.png") as temporary:
        raise OSError(28, "No space left on device", str(temporary))
    assert "a.png" in str(refused.value)
    assert "tmp" not in str(refused.value).replace(str(tmp_path), "")


@pytest.mark.parametrize("table", [False, True])
def test_a_reader_that_goes_away_is_no_error(table: bool) -> None:
    """`ganvas list | head`; of tables the exit code was that of a run that failed, or of an audit that found something."""
    shown = "cli._run = lambda *_: _shared.table([_shared.Column('a')], [['b']])"
    code = f"from ganvas import cli; from ganvas.cli import _shared; {shown if table else ''}\n"
    code += "raise SystemExit(cli.main(['list']))"
    ganvas = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )  # fmt: skip
    assert ganvas.stdout is not None
    assert ganvas.stderr is not None
    ganvas.stdout.close()
    assert ganvas.stderr.read() == ""
    ganvas.stderr.close()
    assert ganvas.wait(60) == 141


def test_an_output_without_a_sign_gets_another_for_it() -> None:
    """A code page of Windows, or ASCII, has no ± and no class names in other scripts: a traceback, after all the work."""
    code = "from ganvas.cli import _shared, main; main(['list']); _shared.say('1 \\xb1 2 \\u732b')"
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, timeout=120, check=True,
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
    )  # fmt: skip
    assert said.stdout.splitlines()[-1] == b"1 ? 2 ?"


def test_ctrl_c_is_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from ganvas import metrics

    def interrupted(*arguments: object, **named: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(metrics, "evaluate", interrupted)
    assert main(["eval", "fashion"]) == 130
    assert "interrupted" in capsys.readouterr().err


def test_what_commands_say_goes_by_one_function() -> None:
    """A name out of a file, printed as it is, could clear the screen and write a line of its own there."""
    allowed = {"__init__.py": 9, "_shared.py": 2}
    for path in Path(_shared.__file__).parent.glob("*.py"):
        tree = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        names = [each.func for each in tree if isinstance(each, ast.Call)]
        printed = [each for each in names if isinstance(each, ast.Name) and each.id == "print"]
        assert len(printed) <= allowed.get(path.name, 0), path


def test_names_of_files_rewrite_no_screen(capsys: pytest.CaptureFixture[str]) -> None:
    name = "\x1b[2Jok\u202e\x07"
    _shared.say(name)
    _shared.say(name, beside=True)
    _shared.say(name, style="dim")
    _shared.table([_shared.Column(name, left=True)], [[name]])
    for said in capsys.readouterr():
        assert "\\x1b[2Jok\\u202e\\x07" in said
        assert not {*"\x1b\x07\u202e"} & {*said}


def test_what_a_bar_says_is_text(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A recommendation in a run from anybody has words of its own, which were markup and reached the terminal as they were."""
    for name, value in {"FORCE_COLOR": "1", "TERM": "xterm", "COLUMNS": "200"}.items():
        monkeypatch.setenv(name, value)
    with _shared.progress() as tell:
        tell("truncate mode=[/red][bold]\x1b]0;title\x07", 0, 1)
    with Display() as display:
        display.resume(["[/red][bold]"])
        display.show({"kimg": 1.0, "images_per_second": 1.0}, 0.5, [])
    said = capsys.readouterr().err
    assert r"truncate mode=[/red][bold]\x1b]0;title\x07" in said
    assert "[/red][bold]" in said.split("img/s")[-1]


def test_what_is_written_is_named_after_the_whole_name_of_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`00000-lr-0.002` became `00000-lr-0.onnx`, and the run of another rate wrote there too."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "00000-lr-0.002").mkdir()
    (tmp_path / "flowers.v2.safetensors").touch()
    for model, name in (
        ("00000-lr-0.002", "00000-lr-0.002"), ("flowers.v2.safetensors", "flowers.v2"), ("fashion", "fashion"),
        ("hub:me/sd-v1.5", "sd-v1.5"),
    ):  # fmt: skip
        assert str(_shared.named_after(Path(model), ".onnx")) == f"{name}.onnx"


def test_lines_say_how_long_it_takes_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a terminal nobody saw that 500 Jacobians take hours."""
    now = [0.0]
    monkeypatch.setattr(_shared.time, "monotonic", lambda: now[0])
    lines = _shared.Lines()
    lines.tell("samples", 0, 10)
    now[0] = 100.0
    lines.tell("jacobians", 0, 500)
    assert lines._left() == ""
    now[0] = 172.0
    lines.tell("jacobians", 5, 500)
    assert lines._left() == ", about 2.0 h to go"
    lines.tell("jacobians", 400, 500)
    assert lines._left() == ""


@pytest.fixture(scope="module")
def encoded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with an encoder."""
    made = ganvas.train(
        "digits", method="ae", kimg=0.032, batch=16, device="cpu", out=tmp_path_factory.mktemp("ae"), quiet=True, report=False,
        settings=TINY,
    )  # fmt: skip
    return made.run.path


@pytest.mark.parametrize(
    ("command", "key", "words"),
    [
        (["restore", "{run}", "digits", "--task", "inpaint", "--n", "2", "--steps", "2"], "n", "2 images"),
        (["invert", "{run}", "digits", "--method", "optimise", "--n", "2", "--steps", "2"], "n", "2 images"),
        (["directions", "{run}", "--count", "1"], "space", "random"),
        (["dissect", "fashion", "--units", "1", "--n", "64"], "concept", "Switched off"),
        (["map", "{run}", "--n", "50", "--data", "none", "--method", "tsne"], "clusters", "Without real images"),
        (["calibrate", "{run}", "--critic", "own"], "method", "log loss"),
        (["reconstruct", "{encoded}", "digits", "--n", "8", "--extractor", "none"], "psnr", "8 images"),
    ],
)  # fmt: skip
def test_what_took_hours_is_told_though_it_cannot_be_kept(
    command: list[str], key: str, words: str, trained: Result, encoded: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """A figure of an hour was gone because a disk was full."""
    monkeypatch.setattr(io, "write_bytes", full_disk)
    name = {"restore": "a.npz", "invert": "a.npz", "map": "a.png", "reconstruct": "a.png", "dissect": "a.png"}
    out = str(tmp_path / name.get(command[0], "a.safetensors"))
    asked = [each.format(run=trained.run.path, encoded=encoded) for each in command]
    asked += ["--device", "cpu", "--out", out]
    assert main(asked) == 2
    said = capsys.readouterr()
    assert words in said.out
    assert "->" not in said.out
    assert "No space left" in said.err
    assert main([*asked, "--json"]) == 2
    assert key in json.loads(capsys.readouterr().out)
