"""Every command, given what people give by mistake: exit code 2, a sentence and no traceback, nothing half-written."""

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

import ganvas
from ganvas.cli import COMMANDS, main
from ganvas.cli._parse import parameters_of
from ganvas.training import Result

NOWHERE = "no/such/thing"
TAKES_MODEL = (
    "calibrate", "directions", "dissect", "edit", "eval", "explore", "improve", "invert", "map", "restore", "sample",
    "statistics", "walk",
)  # fmt: skip
WRITES = {
    "calibrate": ".safetensors", "directions": ".safetensors", "dissect": ".png", "edit": ".png", "eval": ".json",
    "invert": ".npz", "map": ".png", "restore": ".npz", "sample": ".png", "walk": ".gif",
}  # fmt: skip
"""Commands that write where --out says, with a suffix that they take."""
FURTHER = {"edit": ["--arithmetic", "1 - 2"], "invert": ["{images}"], "restore": ["{images}"]}
"""What these need beside the model."""
SEEDED = [
    name for name, command in COMMANDS.items()
    if "seed" in {each.name for each in parameters_of(import_module(f"ganvas.cli.{command.module}").run)}
]  # fmt: skip

FOREIGN = str(Path(__file__).parents[1] / "importers" / "files" / "stylegan2_ada.pkl")

MISTAKES: list[tuple[list[str], str]] = [
    *(([command, NOWHERE, *FURTHER.get(command, [])], NOWHERE) for command in TAKES_MODEL),
    *(([command, "{run}", *FURTHER.get(command, []), "--out", "wrong.xyz"], ".xyz") for command in WRITES),
    *(
        ([command, "{run}", *FURTHER.get(command, []), "--out", f"folder{suffix}"], f"folder{suffix}")
        for command, suffix in WRITES.items()
    ),
    *(
        ([command, "{run}", *FURTHER.get(command, []), "--out", f"file/deeper/a{suffix}"], "not a folder")
        for command, suffix in WRITES.items()
    ),
    *(
        ([command, "{run}", *FURTHER.get(command, []), "--device", "tpu"], "Unknown device 'tpu'")
        for command in TAKES_MODEL
    ),
    (["demo", "--minutes", "-1"], "more than 0"),
    (["demo", "--minutes", "0.01", "--out", "file"], "file"),
    (["train", "digits", "--out", "file"], "file"),
    (["diagnose", NOWHERE], NOWHERE),
    # Flags that would do nothing.
    (["walk", "{run}", "--kind", "geodesic", "--equal"], "--equal would do nothing: a geodesic is"),
    (["walk", "{run}", "--kind", "geodesic", "--loop"], "--loop would do nothing"),
    (["walk", "{run}", "--fps", "3", "--out", "a.png"], "--fps would do nothing: a.png is no film"),
    (
        ["sample", "{run}", "--sampler", "truncate", "--ratio", "file"],
        "--ratio would do nothing: the sampler 'truncate'",
    ),
    (["sample", "{run}", "--sampler", "truncate", "--truncate", "0.5"], "--set amount=0.5"),
    (
        ["edit", "{run}", "--arithmetic", "1 - 2", "--strength", "1"],
        "--strength would do nothing: nothing is moved",
    ),
    (["edit", "{run}", "--arithmetic", "1 - 2", "--keep", "width"], "--keep would do nothing"),
    (["edit", "{run}", "--arithmetic", "1 - 2", "--layers", "0"], "--layers would do nothing"),
    (["edit", "{run}", "--arithmetic", "1 - 2", "--n", "3"], "--n would do nothing: a sum is one sample"),
    (["edit", "{run}", "--direction", "file", "--space", "z"], "--space would do nothing: a direction says"),
    (["directions", "{run}", "--reach", "nan"], "--reach is nan"),
    (["directions", "{run}", "--reach", "-2"], "--reach is -2; it must be above 0"),
    (["directions", "{run}", "--method", "pca", "--steps", "9"], "--steps would do nothing"),
    (["directions", "{run}", "--method", "pca", "--samples", "9"], "--samples would do nothing"),
    (
        ["directions", "{run}", "--method", "attribute", "--attribute", "width", "--count", "2"],
        "--count would do nothing",
    ),
    (
        ["invert", "{run}", "{images}", "--method", "optimise", "--encoder", "file"],
        "--encoder would do nothing",
    ),
    (["invert", "{run}", "{images}", "--method", "encoder", "--newton", "1"], "--newton would do nothing"),
    (
        ["invert", "{run}", "{images}", "--method", "tune", "--out", "encoder.npz"],
        "would hold the tuned generator and the encoder",
    ),
    (["invert", "{run}", "{images}", "--method", "hybrid", "--restarts", "2"], "--restarts would do nothing"),
    (["map", "{run}", "--data", "none", "--real", "5"], "--real would do nothing"),
    (["statistics", "{run}", "--directions", "file", "--spaces", "z"], "--directions would do nothing"),
    (["train", "sines", "--alpha"], "--alpha are for images"),
    (["train", "toy:grid25", "--alpha"], "--alpha is for images"),
    (["extractor", "train", NOWHERE], NOWHERE),
    (["extractor", "train", "digits", "--epochs", "0"], "epochs is 0; it must be at least 1"),
    (["extractor", "train", "digits", "--out", "file/deeper/a.safetensors"], "not a folder"),
    (["reference", NOWHERE], NOWHERE),
    (["render", NOWHERE], NOWHERE),
    (["render", "file"], "file"),
    (["explore", "{run}", "--port", "70000"], "0 to 65535"),
    (["explore", "{run}", "--export", "page.pdf"], "use .html"),
    (["explore", "{run}", "--export", "file/deeper/page.html"], "not a folder"),
    (["improve", "{run}", "--out", "file/deeper"], "not a folder"),
    (["sample", "{run}", "--n", "0"], "at least 1"),
    (["sample", "{run}", "--ratio", NOWHERE], "name one with --sampler"),
    (["directions", "{run}", "--keep", "brightness"], "--keep leaves attributes alone"),
    (
        ["edit", "{run}", "--arithmetic", "1 + 2", "--which", "1"],
        "--which would do nothing: nothing is moved without --direction FILE",
    ),
    (["explore", "{run}", "--static", "a.html", "--directions", "d.safetensors"], "Omit --directions"),
    (["walk", "{run}", "--kind", "mixing", "--loop", "--out", "a.png"], "omit --loop"),
    (
        ["eval", "{run}", "--n", "50", "--metrics", "kid"],
        "Nothing was measured: kid left out, it needs 100 samples",
    ),
    (["eval", "{run}", "--resolution", "8"], "read as it was then"),
    (
        ["walk", "{run}", "--kind", "mixing", "--frames", "9", "--out", "a.png"],
        "omit --loop, --equal and --frames",
    ),
    (["walk", "{run}", "--layers", "2"], "use --kind mixing"),
    (
        ["restore", "{run}", "{images}", "--task", "denoise", "--noise", "-1"],
        "--noise is -1; it must be at least 0",
    ),
    (["sample", "{run}", "--sampler", "truncate", "--budget", "5"], "costs what it costs"),
    (["sample", "{run}", "--budget", "5"], "--budget is of a sampler that is named"),
    (["restore", "{run}", "{images}", "--factor", "2"], "--factor is not for --task inpaint"),
    (
        ["restore", "{run}", "{images}", "--task", "deblur", "--hidden", "left"],
        "--hidden is not for --task deblur",
    ),
    (
        ["restore", "{run}", "{images}", "--task", "denoise", "--noise", ".2", "--damaged"],
        "to --damaged images nothing is",
    ),
    (["sample", "{run}", "--sampler", "bugdet"], "Did you mean 'budget'?"),
    (["sample", "{run}", "--set", "x=1"], "name one with --sampler"),
    (
        ["sample", "{run}", "--n", "2", "--sampler", "polarity", "--set", "bank=20", "rho=1e308"],
        "at most 1e+09",
    ),
    (["sample", "{run}", "--sampler", "truncate", "--set", "psy=1"], "no option 'psy'"),
    (["sample", "{run}", "--out", "full"], "not empty"),
    (["walk", "{run}", "--keys", "1"], "at least 2"),
    (["walk", "{run}", "--kind", "mixing"], "use --out mixing.png"),
    (["walk", "{run}", "--labels", "dress"], "without labels"),
    (["directions", "{run}", "--method", "attribute"], "--attribute NAME"),
    (["import", NOWHERE], NOWHERE),
    (["info", NOWHERE], NOWHERE),
    (["audit", "{run}", "--fail-above", "2"], "--fail-above is 2; it must be at least 0 and at most 1"),
    (["encode", "{run}", "{images}"], "has no encoder"),
    (["reconstruct", "{run}", "{images}"], "has no encoder"),
    (["import", "{run}"], "is not of another toolkit"),
    (["import", "{foreign}", "--out", "wrong.xyz"], ".xyz"),
    (["import", "{foreign}", "--out", "folder.safetensors"], "folder.safetensors"),
    (["sample", "{run}", "--seeds", "one"], "Seeds are whole numbers"),
    (["edit", "{run}"], "--direction FILE"),
    (["edit", "{run}", "--direction", "file"], "file"),
    (["map", "{run}", "--colour", "sadness"], "nothing called 'sadness'"),
    (["dissect", "{run}", "--units", "0"], "at least 1"),
    (["restore", "{run}", "{images}", "--task", "inpiant"], "Did you mean 'inpaint'?"),
    (["restore", "{run}", NOWHERE], NOWHERE),
    (["restore", "{run}", "{images}", "--n", "0"], "--n is 0; it must be at least 1"),
    (["invert", "{run}", "{images}", "--n", "-3"], "--n is -3; it must be at least 1"),
    (["restore", "{run}", "{images}", "--restarts", "3000"], "at most 2,048"),
    (["invert", "{run}", NOWHERE], NOWHERE),
    (["statistics", "{run}", "--spaces", "q"], "no space 'q'"),
    (["statistics", "{run}", "--spaces", "w", "class"], "The space class has a point for each class"),
    (["statistics", "{run}", "--rescore", "width"], "at least two"),
    (["explore", "{run}", "--json"], "--json says what --export or --static wrote"),
    (["explore", "{run}", "--export", "a.html", "--static", "b.html"], "give one of them"),
    (["explore", "{run}", "--static", "page.pdf"], "use .html"),
    (["export", "{run}", "--to", "page", "--out", "page.pdf"], "use .html"),
    (["export", "{run}", "--to", "page", "--public"], "not for --to page"),
    (["export", "{run}", "--share-data"], "not for --to onnx"),
    (["export", "{run}", "--to", "hub"], "Give --repo ORG/NAME, or --dry-run"),
    (["export", "{run}", "--to", "hub", "--repo", "name"], "is no name on the hub"),
    (["export", "{run}", "--to", "hub", "--half", "--dry-run"], "not for --to hub"),
    (["export", "{run}", "--to", "onnx", "--public"], "not for --to onnx"),
    (["export", NOWHERE, "--to", "hub", "--dry-run"], NOWHERE),
]


@pytest.fixture
def places(tmp_path: Path, trained: Result, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """A folder with things that are in the way, and nothing else when the test is over."""
    monkeypatch.chdir(tmp_path)
    for suffix in {*WRITES.values()}:
        (tmp_path / f"folder{suffix}").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    (tmp_path / "file").write_text("not a model, not a recipe, not a folder")
    before = sorted(str(path) for path in tmp_path.rglob("*"))
    yield {"run": str(trained.run.path), "images": "digits", "foreign": FOREIGN}
    assert sorted(str(path) for path in tmp_path.rglob("*")) == before, "nothing half-written"


@pytest.mark.parametrize(("arguments", "message"), MISTAKES, ids=[" ".join(words) for words, _ in MISTAKES])
def test_mistakes(
    arguments: list[str], message: str, places: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([text.format(**places) for text in arguments]) == 2
    said = capsys.readouterr().err
    last = said.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert message in last
    assert "Traceback" not in said
    assert "Errno" not in said
    assert ".tmp" not in said


def test_every_command_is_driven() -> None:
    assert {words[0] for words, _ in MISTAKES} == set(COMMANDS) - {"completion", "env", "list"}


@pytest.mark.parametrize("seed", ["-1", "4294967296", "99999999999999999999999"])
@pytest.mark.parametrize("command", SEEDED)
def test_seeds(command: str, seed: str, places: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """In every command, and before its work."""
    words = ["digits"] if command == "train" else ["train", "digits"] if command == "extractor" else ["{run}"]
    words += FURTHER.get(command, [])
    assert main([command, *(word.format(**places) for word in words), "--seed", seed]) == 2
    assert f"--seed is {seed}; it must be at" in capsys.readouterr().err


@pytest.mark.parametrize("command", list(COMMANDS))
@pytest.mark.parametrize("wrong", [["--no-such-flag"], ["--device"]])
def test_flags_that_there_are_none_of(
    command: str, wrong: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main([command, *wrong])
    assert stop.value.code == 2
    assert not list(tmp_path.iterdir())


def test_a_cache_that_can_not_be_written(
    trained: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is only quicker with it goes on and says so; what is kept there alone is refused before the work."""
    blocked = tmp_path / "file"
    blocked.write_text("x")
    monkeypatch.setenv("GANVAS_CACHE", str(blocked / "cache"))
    run = str(trained.run.path)
    assert main(["eval", run, "--n", "100", "--metrics", "frechet", "--device", "cpu"]) == 0
    shown = capsys.readouterr()
    assert "frechet" in shown.out
    assert "Set GANVAS_CACHE to a folder of your own" in shown.err
    for constant in ("STARTS", "DOTS", "DIRECTIONS"):
        monkeypatch.setattr(f"ganvas.web.export.{constant}", 1)
    page = tmp_path / "page.html"
    assert main(["explore", run, "--static", str(page), "--device", "cpu"]) == 0
    assert b"pca-0" in page.read_bytes()
    assert "Set GANVAS_CACHE to a folder of your own" in capsys.readouterr().err
    snapshot = str(trained.run.snapshots[-1] / "generator.safetensors")
    lone = tmp_path / "lone.safetensors"
    lone.write_bytes(Path(snapshot).read_bytes())
    for command in ("calibrate", "improve"):
        assert main([command, str(lone), "--device", "cpu"]) == 2
        shown = capsys.readouterr()
        assert "set GANVAS_CACHE" in shown.err
    assert main(["reference", "digits", "--device", "cpu"]) == 2
    assert "set GANVAS_CACHE" in capsys.readouterr().err


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")]
)
def test_too_little_memory_is_said_in_words(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def load(*given: object, **more: object) -> None:
        raise error

    monkeypatch.setattr("ganvas.model_file.load", load)
    assert main(["info", "fashion"]) == 2
    assert capsys.readouterr().err.startswith("error: There is not enough memory")
    monkeypatch.setattr("ganvas.model_file.load", lambda *given, **more: int("x"))
    with pytest.raises(ValueError, match="invalid literal"):
        main(["info", "fashion"])


def test_points_are_not_searched_for_or_edited(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """There is nothing to show of them."""
    toy = ganvas.train("toy:ring8", kimg=0.064, out=tmp_path, quiet=True, report=False).run.path
    for command in ("restore", "invert"):
        assert main([command, str(toy), "toy:ring8", "--out", str(tmp_path / "a.npz")]) == 2
        assert "draws points" in capsys.readouterr().err
    for words in (["reconstruct", str(toy), "toy:ring8"], ["edit", str(toy), "--arithmetic", "1 - 2"]):
        assert main([*words, "--out", str(tmp_path / "a.png")]) == 2
        assert "draws points" in capsys.readouterr().err
    assert main(["statistics", str(toy), "--n", "60", "--rescore", "brightness", "width"]) == 2
    assert "ganvas directions takes your own: --method attribute --scores FILE" in capsys.readouterr().err
    assert main(["sample", str(toy), "--n", "4", "--out", str(tmp_path / "folder")]) == 2
    assert "error: Points do not go into a folder" in capsys.readouterr().err
