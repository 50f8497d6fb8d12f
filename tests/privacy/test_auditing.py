"""The audit end to end: a model that gives nothing away, one that gives out its data, samples from elsewhere."""

import json
import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import torch

import ganvas
from ganvas import io, report
from ganvas.cli import main
from ganvas.config import DataConfig
from ganvas.data import Dataset, load_dataset
from ganvas.errors import GanvasError
from ganvas.export import hub
from ganvas.metrics import authenticity
from ganvas.privacy import audit, auditing
from ganvas.privacy.scores import attack
from ganvas.report import write_report
from ganvas.runs import open_run
from ganvas.series import Schema
from ganvas.training import Result
from tests.conftest import full_disk


@pytest.fixture(scope="module")
def parts() -> tuple[torch.Tensor, torch.Tensor]:
    """Digits that were trained on, and others."""
    seen, unseen = load_dataset(DataConfig("digits")).split(0.4)
    return seen.take(torch.arange(len(seen)))[0], unseen.take(torch.arange(len(unseen)))[0]


@pytest.fixture(scope="module")
def files(parts: tuple[torch.Tensor, torch.Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("audit")
    for name, images in zip(("seen", "unseen"), parts, strict=True):
        np.save(folder / f"{name}.npy", images.numpy())
    return folder


def test_a_generator_that_gives_out_its_data(parts: tuple[torch.Tensor, torch.Tensor], files: Path) -> None:
    """Half of what was trained on comes back with a little noise: everything that sees samples must tell."""
    seen, _ = parts
    noise = torch.randint(-4, 5, seen[::2].shape, generator=torch.Generator().manual_seed(0))
    copies = (seen[::2].int() + noise).clamp(0, 255).to(torch.uint8)
    found = audit(copies, str(files / "seen.npy"), held_out=str(files / "unseen.npy"), n=500)
    assert found.leaks
    assert found.chance < 1e-3
    assert {"distance", "calibrated"} <= set(found.telling)
    # Half of the members are told for sure, of the others nothing: 0.5 x 1 + 0.5 x 0.5.
    assert found.attacks["distance"].auc.value == pytest.approx(0.75, abs=0.06)
    assert found.verdict()[0].startswith("Copies: ")
    assert found.pairs[0].ratio < 0.3


def test_samples_are_looked_for_among_many_in_little_memory() -> None:
    """Walked through at once, 1.9 million pictures of a file of 700 kB became as many objects, and 6.7 GB."""
    many, few = (
        torch.arange(200_000).reshape(-1, 1).float(),
        torch.tensor([[3.0], [3.0], [-1.0], [199_999.0]]),
    )
    for asked, others, there, most in ((few, many, 3, 5e6), (many, few, 2, 30e6)):
        tracemalloc.start()
        found = auditing._among(asked, others)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert found == there
        assert peak < most


def test_non_members_are_of_all_kinds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Folders are read class by class: of many samples that nobody trained on not the first classes alone are asked for."""
    monkeypatch.setattr(auditing, "ASKED", 300)
    random = np.random.default_rng(0)

    def points(n: int, kinds: int) -> np.ndarray:
        """`n` of each of the first kinds, one kind after the other."""
        return np.concatenate(
            [random.normal((8 * kind, 0), 1, (n, 2)) for kind in range(kinds)], dtype=np.float32
        )

    np.save(tmp_path / "seen.npy", points(100, 5))
    np.save(tmp_path / "unseen.npy", points(300, 5))
    found = audit(points(100, 2), str(tmp_path / "seen.npy"), held_out=str(tmp_path / "unseen.npy"), n=200)
    assert found.attacks["distance"].non_members == 300
    assert not found.telling, found.verdict()


def test_others_of_the_same_kind_give_nothing_away(
    parts: tuple[torch.Tensor, torch.Tensor], files: Path
) -> None:
    """Samples that nobody trained on: no alarm, and planted copies are noticed."""
    _, unseen = parts
    np.save(files / "rest.npy", unseen[::2].numpy())  # every second: they lie in the order of their writers
    found = audit(unseen[1::2], str(files / "seen.npy"), held_out=str(files / "rest.npy"), n=1000)
    assert not found.leaks, found.verdict()
    assert found.verdict()[0].startswith("Nothing found")
    assert [control.found for control in found.controls[1:]] == [
        control.planted for control in found.controls[1:]
    ]
    assert found.controls[-1].chance < 1e-6


def test_held_out_samples_that_were_trained_on_are_no_others(
    parts: tuple[torch.Tensor, torch.Tensor], files: Path
) -> None:
    """Members beside themselves: an audit of copies would find nothing, and say so."""
    seen, unseen = parts
    with pytest.raises(GanvasError, match="are among what was trained on"):
        audit(seen[:300], str(files / "seen.npy"), held_out=str(files / "seen.npy"), n=300)
    np.save(files / "few.npy", torch.cat([unseen[:150], seen[:20]]).numpy())
    found = audit(seen[:300], str(files / "seen.npy"), held_out=str(files / "few.npy"), n=300)
    assert found.warnings[0].startswith("20 held-out samples of 170 are among")


def test_a_run_by_command(
    trained: Result, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The critic and the search answer too; the report has a section; --fail-above says what it is for."""
    run = shutil.copytree(trained.run.path, tmp_path / "run")
    asked = ["audit", str(run), "--n", "200", "--reconstruct", "10", "--device", "cpu"]
    assert main([*asked, "--json", "--quiet", "--fail-above", "0.1"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert set(found["attacks"]) == {
        "distance", "monte-carlo", "density", "calibrated", "domias", "critic", "reconstruction",
    }  # fmt: skip
    kept = io.read_json(run / "evaluation" / "audit.json")
    assert kept.pop("picture")
    assert found == kept
    assert (run / "evaluation" / "audit.png").read_bytes().startswith(b"\x89PNG")
    assert report.artifacts.audit_picture(open_run(run)) is not None
    io.write_json(run / "evaluation" / "audit.json", {**kept, "picture": "of another"})
    assert report.artifacts.audit_picture(open_run(run)) is None, "of two at once it was that of the other"
    page = (run / "report.html").read_text()
    assert "What it gives away" in page
    assert found["verdict"][0].split("'")[0][:40] in page
    assert f"Of snapshot {open_run(run).snapshots[-1].name}." in page
    assert main([*asked, "--fail-above", "1.5"]) == 2
    before, elsewhere = (run / "evaluation" / "audit.png").read_bytes(), tmp_path / "else.png"
    assert main([*asked, "--seed", "3", "--quiet", "--out", str(elsewhere)]) == 0
    now = (run / "evaluation" / "audit.png").read_bytes()
    assert now == elsewhere.read_bytes() != before, "the figures of the report are of this audit, too"
    capsys.readouterr()
    monkeypatch.setattr(io, "write_bytes", full_disk)
    assert main([*asked, "--json", "--quiet"]) == 2
    assert json.loads(capsys.readouterr().out)["attacks"] == found["attacks"], (
        "told, though they cannot be kept"
    )


def test_a_model_with_one_picture_is_audited_by_all_else(trained: Result, tmp_path: Path) -> None:
    """The search divides by the distance of two samples: the whole audit was lost with it, over rows that nobody had."""
    run = shutil.copytree(trained.run.path, tmp_path / "run")
    path = open_run(run).snapshots[-1] / "generator.safetensors"
    tensors, header = io.load_tensors(path)
    next(each for each in tensors.values() if each.dim() > 1).zero_()
    io.save_tensors(path, tensors, header)
    found = audit(run, n=200, reconstruct=10, device="cpu")
    assert "reconstruction left out: the generator draws one and the same sample" in found.warnings
    assert {"distance", "critic"} & set(found.attacks)


def test_members_are_those_that_were_selected(tiny_train: Callable[..., Result]) -> None:
    """The others of the training part are none, and would pull every attack to a guess; of those who were held out the same rule
    takes its part, or the unusual ones would show that they are no members of a model that knows nothing."""
    run = tiny_train(kimg=0.064, settings={"data.select": 0.25, "data.holdout": 0.3}).run
    found = audit(run.path, n=200, reconstruct=0)
    whole, held = (len(part) for part in load_dataset(DataConfig("digits")).split(0.3))
    assert found.train == round(0.25 * whole)
    assert found.held_out == pytest.approx(0.25 * held, rel=0.3)
    low = found.attacks["distance"].auc.low
    assert low < 0.5


AUC = {"needs": "samples", "auc": dict.fromkeys(("value", "low", "high"), 1e308)}
MANY = {"verdict": ["<script>" * 10_000] * 50, "attacks": {str(i): AUC for i in range(1000)}}


@pytest.mark.parametrize(
    "text",
    [
        '{"verdict": ["<script>alert(1)</script>"], "attacks": {}}',
        "[1]",
        '{"verdict": 3}',
        "{",
        json.dumps(MANY),
    ],
)
def test_an_audit_of_a_stranger(text: str, trained: Result, tmp_path: Path) -> None:
    run = shutil.copytree(trained.run.path, tmp_path / "run")
    (run / "evaluation").mkdir(exist_ok=True)
    (run / "evaluation" / "audit.json").write_text(text)
    page = write_report(open_run(run)).read_text()
    assert "<script>alert" not in page
    assert page.count("&lt;script&gt;") <= 20 * 250
    assert page.count("1e+308") <= 20 * 3
    assert "0" * 300 not in page
    assert "&lt;script&gt;" in page or "audit.json is damaged" in page


def test_what_was_seen_must_be_known(
    files: Path, parts: tuple[torch.Tensor, torch.Tensor], trained: Result
) -> None:
    samples = parts[1]
    with pytest.raises(GanvasError, match="--data"):
        audit(samples)
    with pytest.raises(GanvasError, match="--held-out"):
        audit(samples, str(files / "seen.npy"))
    with pytest.raises(GanvasError, match="--held-out"):
        audit(trained.run.path, str(files / "seen.npy"))
    np.save(files / "few.npy", samples[:99].numpy())
    with pytest.raises(GanvasError, match=r"needs 100 samples .* there are 99"):
        audit(samples, str(files / "seen.npy"), held_out=str(files / "few.npy"))


def test_against_another_generator(parts: tuple[torch.Tensor, torch.Tensor], files: Path) -> None:
    """All unseen samples answer then, and the other generator's are the reference."""
    seen, unseen = parts
    found = audit(
        seen[:300], str(files / "seen.npy"), held_out=str(files / "unseen.npy"), against=unseen[:300], n=300
    )
    assert found.attacks["calibrated"].non_members == len(unseen)
    assert found.attacks["calibrated"].auc.value > 0.6


@pytest.mark.parametrize("against", [False, True])
@pytest.mark.parametrize("shape", [(2,), (3, 8, 8), (1, 4, 16)])
def test_samples_of_another_shape(
    shape: tuple[int, ...], against: bool, parts: tuple[torch.Tensor, torch.Tensor], files: Path
) -> None:
    """Points, other channels, another form with as many pixels: none of them tells anything of the data."""
    other = torch.rand(60, *shape) if len(shape) == 1 else torch.zeros(60, *shape, dtype=torch.uint8)
    with pytest.raises(GanvasError, match="cannot be compared"):
        audit(
            parts[0][:60] if against else other, str(files / "seen.npy"), held_out=str(files / "unseen.npy"),
            against=other if against else None, n=100,
        )  # fmt: skip


def test_points(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    train, unseen = rng.normal(size=(500, 2)).astype("float32"), rng.normal(size=(200, 2)).astype("float32")
    np.save(tmp_path / "train.npy", train)
    np.save(tmp_path / "unseen.npy", unseen)
    found = audit(train[:200], str(tmp_path / "train.npy"), held_out=str(tmp_path / "unseen.npy"))
    assert found.leaks
    assert found.pictures is None
    assert isinstance(found._repr_html_(), str)
    assert ganvas.audit is audit


def test_what_the_files_hold_besides_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A part of the data that is left out may be the one that is given away."""
    rng = np.random.default_rng(0)
    for name, size in (("fake", 200), ("train", 300), ("unseen", 100)):
        np.savez(
            tmp_path / f"{name}.npz", points=rng.normal(size=(size, 2)), **{f"more_{name}": np.ones(size)}
        )
    fake, train, unseen = (str(tmp_path / f"{name}.npz") for name in ("fake", "train", "unseen"))
    assert main(["audit", fake, "--data", train, "--held-out", unseen, "--n", "200", "--device", "cpu"]) == 0
    said = capsys.readouterr().err
    for name in ("fake", "train", "unseen"):
        assert f"Left out of {name}.npz: more_{name}. Read: points." in said


def test_the_packaged_model_says_what_its_audit_found(capsys: pytest.CaptureFixture[str]) -> None:
    """File, card and documentation agree; `ganvas info` and a card for the hub show it."""
    model = ganvas.load("fashion", device="cpu")
    found = model.info.audit
    assert found is not None
    assert model.path is not None
    pages = [model.path.with_name("README.md"), Path(__file__).parents[2] / "docs" / "leaks.md"]
    for text in (page.read_text(encoding="utf-8").lower().replace("*", "") for page in pages):
        for name, (auc, low, high) in found.attacks.items():
            assert (
                f"| {auc:.3f} ({low:.3f} to {high:.3f}) |" in text.split(f"\n| {name} |")[-1].split("\n")[0]
            )
    assert main(["info", "fashion"]) == 0
    assert (
        f"the best attack, critic, has an AUC of {found.attacks['critic'][0]:.3f}" in capsys.readouterr().out
    )
    assert "## What it gives away of its data" in hub.card(model, [], None, None)


@pytest.mark.parametrize("name", ["data", "held_out"])
def test_data_are_named(name: str) -> None:
    with pytest.raises(GanvasError, match=rf"{name} is array.* it must be the path or the name of data"):
        audit(np.zeros((100, 8, 8, 1), np.uint8), **{name: np.zeros((2, 8, 8, 1))})


def test_windows_that_overlap_give_nothing_away(tmp_path: Path) -> None:
    """Windows moved by a step are next to each other: no held-out one was as near to a sample as to its neighbour in the
    reference, so that all that was trained on looked copied, and members were told from others."""
    for seed, name in enumerate(("drawn", "seen", "unseen")):
        noise = np.random.default_rng(seed).standard_normal((1200, 2))
        series = scipy.signal.lfilter([0.4], [1, -0.9], noise, axis=0)
        np.savetxt(tmp_path / f"{name}.csv", series, "%.5f", ",", header="a,b", comments="")
    drawn, seen, unseen = (str(tmp_path / f"{name}.csv") for name in ("drawn", "seen", "unseen"))
    found = audit(drawn, seen, held_out=unseen, n=600)
    assert not found.leaks, found.verdict()
    assert found.suspects == 0
    assert found.authenticity < 0.95
    assert any(
        "rest on 25 sequences or stretches of time of members and 13 of others" in each
        for each in found.warnings
    ), found.warnings
    (tmp_path / "short.csv").write_text("\n".join((tmp_path / "unseen.csv").read_text().splitlines()[:141]))
    with pytest.raises(GanvasError, match="in halves of"):
        audit(drawn, seen, held_out=str(tmp_path / "short.csv"), n=600)


def test_attributes_of_windows_of_one_series_give_nothing_away(tmp_path: Path) -> None:
    """What was drawn is of neither; windows that share their steps were taken for independent records (p 5e-8)."""
    for seed, (name, rows) in enumerate({"drawn": 1000, "seen": 1200, "unseen": 900}.items()):
        noise = np.random.default_rng(seed).standard_normal((rows, 2))
        series = scipy.signal.lfilter([1], [1, -0.99], noise, axis=0)
        series = (series - series.mean(0)) / series.std(0)
        np.savetxt(tmp_path / f"{name}.csv", series, "%.5f", ",", header="a,b", comments="")
    drawn, seen, unseen = (str(tmp_path / f"{name}.csv") for name in ("drawn", "seen", "unseen"))
    found = audit(drawn, seen, held_out=unseen, n=600)
    assert found.inferences["steps 13 to 24"].chance > 0.01
    assert found.copying is not None
    assert found.copying[1] > 1, "C_T of as many independent samples has .6"


def test_of_a_single_stretch_nothing_is_ruled_out() -> None:
    """An AUC above 1.000 was said to be."""
    found = attack(torch.rand(40), torch.rand(40), groups=(None, torch.zeros(40)))
    given = dict.fromkeys(
        ("source", "data", "samples", "train", "held_out", "view", "suspects", "drawn", "duplicates", "copying",
         "authenticity", "controls", "pairs", "warnings"), ()
    )  # fmt: skip
    told = " ".join(auditing.Audit(**{**given, "attacks": {"distance": found}, "chance": 1.0}).verdict())  # type: ignore[arg-type]
    assert "but no AUC is ruled out" in told


def test_sequences_that_are_held_out_whole_are_held_against_others(tmp_path: Path) -> None:
    """Each has a shape of its own. The reference was of the same ones as those who were not trained on, so that members were told
    from them (AUC 0.7); and neighbours were of the same one, unlike those of what is drawn."""

    def at(path: str, count: int, schema: Schema | None = None) -> Dataset:
        random = np.random.default_rng(count)
        series = np.tile(random.standard_normal((count, 12, 2)), (1, 5, 1))
        np.save(tmp_path / path, series + 0.1 * random.standard_normal(series.shape))
        return load_dataset(DataConfig(str(tmp_path / path), window=24), schema=schema)

    data = at("real.npy", 100)
    train, held = data.split(0.1)
    fake, x = (
        each.take(torch.arange(len(each)))[0].flatten(1) for each in (at("a.npy", 60, data.series), train)
    )
    outside, apart = auditing._halves(held, 0)
    assert held.kin is not None
    owners = [set(held.kin[rows, 0].tolist()) for rows in (outside, apart)]
    assert [len(each) for each in owners] == [5, 5]
    assert not owners[0] & owners[1]
    assert held.stretches is not None
    assert held.stretches.tolist() == [i // 37 for i in range(370)]
    assert authenticity(fake[::2], x, train.kin) < 0.83 < authenticity(fake[::2], x, train.spans_of_part)


def test_a_collapsed_generator(parts: tuple[torch.Tensor, torch.Tensor], files: Path, tmp_path: Path) -> None:
    """One picture has no density, and its cell may hold few that nobody trained on: then nothing else was told, either."""
    np.save(tmp_path / "few.npy", np.concatenate([np.zeros((15, 1, 8, 8), np.uint8), parts[1][:95]]))
    blank = np.zeros((200, 1, 8, 8), np.uint8)
    np.save(tmp_path / "seen.npy", np.concatenate([blank, blank, parts[0][:600]]))
    found = audit(blank, str(tmp_path / "seen.npy"), held_out=str(tmp_path / "few.npy"))
    assert found.copying is None
    assert {"distance", "calibrated"} <= set(found.attacks)
    assert "density" not in found.attacks
    assert [each.partition(" left out: ")[0] for each in found.warnings if " left out: " in each] == [
        *(name for name in ("density", "domias") if name not in found.attacks),
        "C_T",
    ]
    assert found.duplicates == pytest.approx(199 / 200)
    assert found.to_json()["verdict"]


def test_pictures_are_looked_at_a_few_at_a_time(
    parts: tuple[torch.Tensor, torch.Tensor], files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten thousand of 256 px are 2 GB, and were held several times over; 256 of 1,024 px are 3 GB as floats."""
    sizes = list[int]()

    def look(images: torch.Tensor) -> torch.Tensor:
        sizes.append(len(images))
        return images.flatten(1).float()

    np.save(files / "others.npy", parts[1][::2].numpy())
    seen, others = str(files / "seen.npy"), str(files / "others.npy")
    whole = audit(parts[1][1::2], seen, held_out=others, n=300, extractor=look)
    monkeypatch.setattr("ganvas.features.cache.MOST_NUMBERS", 50 * 8 * 8)
    sizes.clear()
    found = audit(parts[1][1::2], seen, held_out=others, n=300, extractor=look)
    assert max(sizes) == 50
    assert found.attacks == whole.attacks
    assert found.pairs == whole.pairs
