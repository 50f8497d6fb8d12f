"""What programs may rely on: --json of every command is one document on stdout, of keys that docs/commands.md names."""

import os
import re
import shutil
from dataclasses import fields
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from PIL import Image

import ganvas
from ganvas import io
from ganvas.cli import COMMANDS, EXIT_CODES, _shared, main
from ganvas.cli.listing import Kind
from ganvas.environment import VARIABLES
from ganvas.latent.directions import save
from ganvas.training import Result
from ganvas.web.state import Recipe, to_json
from tests.cli.test_mistakes import FOREIGN
from tests.conftest import TINY

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
WITHOUT = {"completion"}
"""Its output is a script for a shell."""
SEARCH = ["{pictures}", "--n", "1", "--steps", "2", "--restarts", "1"]
LINES: dict[str, list[str]] = {
    "demo": ["--minutes", "0.005"],
    "train": ["digits", "--kimg", "0.064", "--batch", "32", "--set", *(f"{k}={v}" for k, v in TINY.items())],
    "diagnose": ["{run}"],
    "import": [FOREIGN, "--out", "a.safetensors"],
    "sample": ["{run}", "--n", "4", "--out", "a.png"],
    "calibrate": ["{run}", "--critic", "own"],
    "improve": ["{run}", "--critic", "own", "--n", "100", "--budget", "1", "--extractor", "raw", "--data", "{more}"],
    "audit": ["{run}", "--n", "100", "--reconstruct", "0"],
    "eval": ["{run}", "--n", "100", "--metrics", "sliced-wasserstein"],
    "reference": ["digits", "--extractor", "raw"],
    "extractor": ["train", "digits", "--epochs", "1", "--out", "a.safetensors"],
    "statistics": ["{run}", "--n", "100"],
    "explore": ["{run}", "--static", "a.html"],
    "render": ["{recipe}"],
    "walk": ["{run}", "--keys", "2", "--frames", "4", "--out", "a.png"],
    "directions": ["{run}", "--method", "random", "--count", "2", "--out", "d.safetensors"],
    "edit": ["{run}", "--direction", "{directions}", "--n", "2"],
    "invert": ["{run}", *SEARCH, "--method", "optimise", "--newton", "0"],
    "encode": ["{autoencoder}", "{pictures}"],
    "reconstruct": ["{autoencoder}", "digits", "--n", "20", "--extractor", "raw"],
    "restore": ["{run}", *SEARCH],
    "map": ["{run}", "--n", "60", "--method", "pca"],
    "dissect": ["fashion", "--n", "16", "--concept", "stroke"],
    "export": ["{run}", "--to", "hub", "--dry-run"],
    "info": ["{run}"],
    "list": [],
    "env": [],
}  # fmt: skip


@pytest.fixture(scope="module")
def place(trained: Result, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A run that may be written to, and what the commands need beside it."""
    place = tmp_path_factory.mktemp("json")
    shutil.copytree(trained.run.path, place / "run")
    (place / "pictures").mkdir()
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (8, 8), dtype=np.uint8)).save(place / "pictures" / "a.png")
    np.save(place / "more.npy", rng.integers(0, 256, (400, 8, 8, 1), dtype=np.uint8))
    model = ganvas.load(place / "run", device="cpu")
    io.write_json(
        place / "recipe.json", to_json(Recipe("fashion", ganvas.load("fashion", device="cpu").hash))
    )
    ganvas.train(
        "digits", method="vae", kimg=0.032, batch=16, device="cpu", out=place, name="vae", quiet=True, report=False,
        settings=TINY,
    )  # fmt: skip
    save(place / "directions.safetensors", ganvas.find_directions(model, "random", count=1))
    return {
        "run": str(place / "run"), "autoencoder": str(place / "00000-vae"),
        "pictures": str(place / "pictures"), "more": str(place / "more.npy"),
        "recipe": str(place / "recipe.json"), "directions": str(place / "directions.safetensors"),
    }  # fmt: skip


def documented(command: str) -> tuple[set[str], set[str]]:
    """The keys that a command always prints, and those that it prints at times, in brackets."""
    (line,) = re.findall(rf"^\| `{command}` \| (.*) \|$", PAGE, re.MULTILINE)
    at_times = set(re.findall(r"\(`(\w+)`\)", line))
    return set(re.findall(r"`(\w+)`", line)) - at_times, at_times


def test_every_command_is_tried() -> None:
    assert set(LINES) == set(COMMANDS) - WITHOUT


@pytest.mark.parametrize("command", LINES)
def test_json(
    command: str, place: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """One document, nothing beside it; with --quiet nothing on stderr."""
    monkeypatch.chdir(tmp_path)
    words = [word.format_map(place) if "{" in word else word for word in LINES[command]]
    without = ("demo", "diagnose", "import", "export", "info", "list", "env")
    device = ["--device", "cpu"] if command not in without else []
    assert main([command, *words, *device, "--json", "--quiet"]) == 0
    out, err = capfd.readouterr()
    assert err == ""
    found = io.parse_json(out, "stdout")  # refuses NaN, and a second document
    if command == "list":
        assert set(found) == set(get_args(Kind)) - {"all"}
        return
    always, at_times = documented(command)
    assert always <= set(found) <= always | at_times


def test_the_other_documents_of_a_training(
    place: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A config, without a word before it; a figure that is infinite is null."""
    monkeypatch.chdir(tmp_path)
    assert main(["train", "digits", "--dry-run", "--json"]) == 0
    assert set(io.parse_json(capfd.readouterr().out, "stdout")) == {
        each.name for each in fields(ganvas.Config)
    }
    _shared.answer({"psnr": float("inf"), "rows": [float("nan"), (1.5, "inf")]})
    assert io.parse_json(capfd.readouterr().out, "stdout") == {"psnr": None, "rows": [None, [1.5, "inf"]]}


def test_quiet_leaves_errors(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sample", "no/such/model", "--quiet"]) == 2
    assert "No such model: no/such/model" in capsys.readouterr().err


def test_exit_codes_are_in_the_help_and_on_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    printed = capsys.readouterr().out
    for code, meaning in EXIT_CODES.items():
        assert f"  {code:<11} {meaning}\n" in printed
        assert f"| {code} | {meaning} |" in PAGE


def test_every_variable_is_listed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the source reads, `ganvas env` and the page name."""
    files = [each for each in (ROOT / "src").rglob("*.py") if each.name != "environment.py"]
    read = {
        name for file in files for name in re.findall(r"GANVAS_[A-Z0-9_]+", file.read_text(encoding="utf-8"))
    }
    assert read == set(VARIABLES)
    assert set(re.findall(r"GANVAS_[A-Z0-9_]+", PAGE)) == read
    monkeypatch.setenv("GANVAS_MAX_GB", "3")
    assert main(["env"]) == 0
    printed = capsys.readouterr().out
    for name in read:
        assert name in printed
    assert re.search(r"GANVAS_MAX_GB +3 .*\[16\]", printed)
    assert re.search(r"GANVAS_MAX_FILES +not set .*\[2,000,000\]", printed)
    assert f"cache: {os.environ['GANVAS_CACHE']}" in printed
    monkeypatch.setenv("GANVAS_CACHE", "\x1b]0;title\x07")
    assert main(["env"]) == 0
    assert "cache: \\x1b]0;title\\x07" in capsys.readouterr().out
