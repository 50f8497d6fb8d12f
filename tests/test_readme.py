"""What the README says works: every command is run, with its budget shortened."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganvas.cli import main
from ganvas.data import idx
from tests.data.test_idx import write

ROOT = Path(__file__).parents[1]
DOCS = sorted((ROOT / "docs").rglob("*.md"))
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def commands() -> Iterator[list[str]]:
    for line in "\n".join(blocks("sh")).splitlines():
        if words := shlex.split(line, comments=True):
            yield words


@pytest.fixture
def _workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small Fashion-MNIST where ganvas looks for it, and a folder of photographs."""
    monkeypatch.setitem(idx.SYSTEM_FOLDERS, "fashion-mnist", write(tmp_path / "idx"))
    (tmp_path / "here" / "photos").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(80):
        Image.fromarray(rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(
            tmp_path / "here" / "photos" / f"{i}.png"
        )
    (tmp_path / "here" / "my-images").mkdir()
    for i in range(30):
        Image.fromarray(rng.integers(0, 256, (28, 28), dtype=np.uint8)).save(
            tmp_path / "here" / "my-images" / f"{i}.png"
        )
    monkeypatch.chdir(tmp_path / "here")


def test_the_first_two_commands_come_first_and_exist() -> None:
    first = blocks("sh")[0]
    assert [line.split("#")[0].strip() for line in first.strip().splitlines()] == [
        "pip install .",
        "make demo",
        "make test",
    ]
    makefile = (ROOT / "Makefile").read_text()
    assert re.search(r"^demo:.*\n\t\$\(BIN\)/ganvas demo$", makefile, re.MULTILINE)
    assert re.search(r"^test:.*\n\t\$\(BIN\)/python -m pytest\b", makefile, re.MULTILINE)
    assert (ROOT / ".ci" / "run").read_text().strip().splitlines()[-1] == "make test"
    assert "After `make demo`, `. .venv/bin/activate` puts `ganvas` on the PATH" in README
    assert "\nBIN := .venv/bin\n" in makefile
    assert 'eval "$(ganvas completion bash)"' in README


@pytest.mark.parametrize(
    ("paper", "words"),
    [
        ("PacGAN", "counts 1 / pack"), ("StyleGAN2 (Karras et al. 2020), `style`", "[1, 3, 3, 1]"),
        ("StyleGAN2, `style`", "ends in a tanh"), ("R3GAN (Huang et al. 2024), `r3`", "one bias a block"),
        ("Progressive growing", "no sqrt(2)"), ("SAGAN", "one spectral norm"), ("BigGAN", "on one step of eight"),
        ("VAE-GAN", "teaches the encoder, too"),
        ("VQ-VAE", "no map of codes"), ("ADA", "p stops at 0.8"),
        ("MIG", "binned by quantiles"), ("MaGNET", "nothing is uniform"),
        ("GANSpace", "regressed to z"), ("SeFa", "symmetric eigenvectors"), ("PTI", "the locality term"),
        ("projection (Karras et al. 2020)", "noise maps are not optimised"),
        ("projection (Karras et al. 2020)", "not of a perceptual network"),
    ],
)  # fmt: skip
def test_what_a_named_paper_has_and_ganvas_lacks_is_said(paper: str, words: str) -> None:
    table = (ROOT / "docs" / "deviations.md").read_text(encoding="utf-8")
    assert any(line.startswith(f"| {paper}") and words in line for line in table.splitlines())


@pytest.mark.usefixtures("_workplace")
def test_every_command_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[object] = []
    monkeypatch.setattr(
        "ganvas.web.app.serve", lambda source, *given: served.append(source)
    )  # it would not come back
    monkeypatch.setattr("ganvas.cli.explore.leave", lambda: None)  # it would end the tests, and quietly
    budget = iter((0.032, 0.064))
    ran = 0
    for command in commands():
        if command[0] in ("make", "pip"):
            continue
        if command[0] == "python":  # benchmarks take minutes on purpose; that they exist is checked
            assert (ROOT / command[1]).is_file()
            continue
        assert command[0] == "ganvas"
        if "--minutes" in command:
            at = command.index("--minutes")
            command[at : at + 2] = ["--kimg", str(next(budget))]
            command += ["--device", "cpu"]
        if command[1] == "map":
            command += ["--n", "300"]
        if command[1] == "eval":
            command += ["--n", "100", "--device", "cpu"]
        if command[1] == "train" and "fashion-mnist" in command:
            command += ["--batch", "8"]
        assert main(command[1:]) == 0, command
        ran += 1
    assert ran >= 5
    assert served
    assert Path("garments.png").is_file()


@pytest.mark.usefixtures("_workplace")
def test_the_python_example_runs() -> None:
    (code,) = blocks("python")
    assert "minutes=1" in code
    scope: dict[str, object] = {}
    exec(code.replace("minutes=1", "kimg=0.064"), scope)
    assert getattr(scope["images"], "shape", None) == (64, 1, 28, 28)
    assert Path("walk.webp").is_file()
    assert list(Path().glob("runs/*/report.html"))


@pytest.mark.parametrize(
    "page", ["README.md", "SECURITY.md", *(path.relative_to(ROOT).as_posix() for path in DOCS)]
)
def test_links_and_pictures_exist(page: str) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", (ROOT / page).read_text(encoding="utf-8")):
        name, _, heading = target.partition("#")
        path = (ROOT / page).parent / name if name else ROOT / page
        assert path.exists(), target
        if heading:
            titles = re.findall(r"^#+ (.*)", path.read_text(encoding="utf-8"), re.MULTILINE)
            assert heading in [re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles], (
                target
            )
