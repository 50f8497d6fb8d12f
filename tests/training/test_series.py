"""Series from a table to a report: training, previews, resuming, samples of any length, measures, latent tools, the explorer."""

import csv
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ganvas
from ganvas import io, pictures
from ganvas.cli import main
from ganvas.cli._shared import images
from ganvas.config import DataConfig, NetworkConfig
from ganvas.data import load_dataset
from ganvas.errors import GanvasError
from ganvas.export import onnx
from ganvas.export.hub import card
from ganvas.latent import open_space
from ganvas.latent.attributes import attributes_of, of_series, open_attribute
from ganvas.latent.directions import find
from ganvas.latent.impute import _errors, gaps_of, impute, without_gaps
from ganvas.latent.invert import Inversion
from ganvas.latent.supervised import from_attribute
from ganvas.metrics import of_series as measures
from ganvas.model import Model, ModelInfo
from ganvas.model_data import load_data_of
from ganvas.networks import build_generator, families
from ganvas.report import write_report
from ganvas.runs import Run
from ganvas.series import Column, Schema, plain
from ganvas.web import export
from ganvas.web.landscape import landscape
from ganvas.web.plotted import plotted
from ganvas.web.quality import Real
from ganvas.web.renderer import Renderer
from ganvas.web.state import State

SMALL = {
    "network.latent_dim": 8, "network.generator.noise": 2, "network.generator.channels": 12, "network.critic.channels": 12,
    "training.log_kimg": 0.064, "training.snapshot_kimg": 1.0, "training.monitor_kimg": 0.128,
    "data.holdout": 0.3, "optimizer.schedule": "constant", "objective.penalties": [{"name": "r1"}, {"name": "r2"}],
}  # fmt: skip


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of visits by day: rising and falling, of 5 to 8 days, with gaps, a category and an attribute."""
    random = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("series") / "visits.csv"
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["who", "day", "kind", "size", "heart", "drug"])
        for who in range(80):
            kind, level = who % 2, random.normal(60, 8)
            for day in range(random.integers(5, 9)):
                level += (2 * kind - 1) * random.uniform(1, 3)
                shown = "" if day == 3 and who % 5 == 0 else f"{level:.2f}"
                rows.writerow(
                    [f"p{who}", f"2024-01-{day + 1:02}", ["down", "up"][kind], who % 7, shown, "ab"[day % 2]]
                )
    return path


def train(source: Path, out: Path, kimg: float = 0.256, **given: object) -> Run:
    settings = SMALL | dict(given.pop("settings", {}))  # type: ignore[call-overload]
    return ganvas.train(
        str(source), by="who", static=("size",), label="kind", conditional=True, kimg=kimg, batch=16, out=out, quiet=True,
        settings=settings, **{"report": False, **given},
    ).run  # fmt: skip


@pytest.fixture(scope="module")
def run(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(source, tmp_path_factory.mktemp("runs"), report=True)


def test_a_run_has_previews_a_report_and_figures_of_the_monitor(run: Run) -> None:
    assert {"reals.png"} < {path.name for path in (run.path / "samples").iterdir()}
    page = (run.path / "report.html").read_text(encoding="utf-8")
    assert "the middle 50 and 90 %" in page
    assert "mean power at each frequency" in page
    assert any("energy" in record or "diversity" in record for record in run.stats())
    assert run.config.training.precision == "fp32"


def test_resumed_equals_left_alone(run: Run, source: Path, tmp_path: Path) -> None:
    part = train(source, tmp_path, 0.128)
    ganvas.train(resume=part.path, kimg=0.256, quiet=True, report=False)
    for name in ("generator", "critic"):
        a, b = (io.load_tensors(each.snapshots[-1] / f"{name}.safetensors")[0] for each in (run, part))
        assert all(torch.equal(a[key], b[key]) for key in a)


def test_the_penalty_of_wgan_goes_through_a_recurrent_critic(source: Path, tmp_path: Path) -> None:
    penalty = {"objective.loss": "wasserstein", "objective.penalties": [{"name": "wgan-gp", "weight": 10.0}]}
    found = train(source, tmp_path, 0.032, network="recurrent", settings=penalty)
    assert ganvas.load(found.path, device="cpu").series(4, length=30).values.shape == (4, 30, 2)


def test_what_stands_beside_the_data_has_their_shares_of_classes(
    run: Run, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = ganvas.load(run.path)
    found = load_data_of(model, str(source))
    monkeypatch.setattr("ganvas.report.page.load_data_of", lambda model, download: found)
    asked: list[torch.Tensor] = []
    series = ganvas.Model.series

    def kept(self: ganvas.Model, n: int = 64, **named: Any) -> Any:
        asked.append(named["labels"])
        return series(self, n, **named)

    monkeypatch.setattr(ganvas.Model, "series", kept)
    write_report(run)
    data = found[0].split(found[1].holdout)[0]
    shares = torch.bincount(asked[0], minlength=2)
    assert shares.tolist() == torch.bincount(data.take_labels(), minlength=2).tolist()
    made = card(model, [], None, None)
    assert "numbers -> series of " in made
    assert "256 series." in made


def test_series_that_have_changed_do_not_stand_beside_the_drawn_ones(
    run: Run, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table that was written anew: fans of other values were called real."""
    data, config = load_data_of(ganvas.load(run.path), str(source))
    for found, said in ((data, False), (replace(data, fingerprint="another"), True)):
        monkeypatch.setattr("ganvas.report.page.load_data_of", lambda model, download: (found, config))  # noqa: B023
        page = write_report(run).read_text(encoding="utf-8")
        assert ("has changed since" in page) == said


def test_of_wide_series_the_report_draws_fewer(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """500 of 16,384 channels took gigabytes, when the training was done."""
    asked: list[int] = []
    series = ganvas.Model.series

    def kept(self: ganvas.Model, n: int = 64, **named: Any) -> Any:
        asked.append(n)
        return series(self, n, **named)

    monkeypatch.setattr(ganvas.Model, "series", kept)
    write_report(run)
    numbers = math.prod(ganvas.load(run.path).shape)
    monkeypatch.setattr("ganvas.report.page.WIDE", numbers - 1)
    monkeypatch.setattr("ganvas.report.page.NUMBERS", 30 * numbers)
    write_report(run)
    assert asked == [500, 30]


def test_samples_are_tables_arrays_and_pictures(run: Run, tmp_path: Path) -> None:
    for name, given in (
        ("a.csv", ["--length", "20"]), ("a.npz", ["--length", "20"]), ("a.npy", []), ("a.png", ["--labels", "up"])
    ):  # fmt: skip
        assert main(["sample", str(run.path), "--n", "6", *given, "--out", str(tmp_path / name)]) == 0
    with (tmp_path / "a.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    arrays = np.load(tmp_path / "a.npz")
    assert list(rows[0]) == [
        "series",
        "day",
        "kind" if "kind" in rows[0] else "class",
        "size",
        "heart",
        "drug",
    ]
    assert arrays["series"].shape == (6, 20, 2)
    assert [sum(row["series"] == str(i) for row in rows) for i in range(6)] == arrays["lengths"].tolist()
    first = [row for row in rows if row["series"] == "0"]
    np.testing.assert_allclose(
        [float(r["heart"] or "nan") for r in first], arrays["series"][0, : len(first), 0], rtol=1e-5
    )
    assert {row["drug"] for row in rows} <= {"a", "b"}
    assert {row["class"] for row in rows} == set(arrays["labels"]) == {"down", "up"}
    assert [row["day"] for row in first][:2] == ["2024-01-09", "2024-01-10"], (
        "the day after the last of the data"
    )
    bare = tmp_path / "bare.png"
    assert main(["sample", str(run.path), "--n", "6", "--labels", "up", "--plain", "--out", str(bare)]) == 0
    assert bare.read_bytes() != (tmp_path / "a.png").read_bytes(), "names of classes stand above the others"
    values = np.load(tmp_path / "a.npy")
    assert values.shape == (6, 8, 2)
    again = load_dataset(DataConfig(str(tmp_path / "a.npy")))
    assert again.series is not None
    model = ganvas.load(run.path, device="cpu")
    drawn = model.series(6, seed=0).lengths
    assert drawn.min() < 8
    assert again.series.lengths(again.items.numpy()).tolist() == drawn.tolist(), (
        "zeros behind the ends were data"
    )


def test_mistakes_end_with_a_sentence(
    run: Run, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, out = str(run.path), str(tmp_path / "x.npz")
    for line, said in (
        (["sample", model, "--length", "0", "--out", out], "at least 1"),
        (["sample", model, "--n", "500", "--out", out[:-3] + "png"], "room for 96"),
        (["sample", model, "--length", "9", "--seeds", "1", "--out", out], "Omit it"),
        (["restore", model, str(source), "--task", "superres", "--out", out], "for pictures"),
        (["restore", model, str(source), "--hidden", "top", "--out", out], "right is a forecast"),
        (["restore", model, str(source), "--hidden", "left", "--damaged", "--out", out], "Give one of them"),
        (
            ["restore", model, str(source), "--out", str(source.with_suffix(".npz"))],
            f"{source} would be written over",
        ),
        (["dissect", model], "generators of images"),
        (["train", str(source), "--network", "dcgan", "--dry-run"], "--network recurrent"),
        (["train", str(source), "--augment", "ada", "--dry-run"], "has series"),
        (
            ["train", str(source), "--set", "network.generator.chunk=1e400", "--dry-run"],
            "generator.chunk is inf",
        ),
        (["train", str(source), "--set", "network.generator.noise=x", "--dry-run"], "generator.noise is 'x'"),
        (["train", str(source), "--conditional", "--dry-run"], "--label"),
    ):
        assert main(line) == 2
        assert said in capsys.readouterr().err, line


def test_measures_stand_beside_their_floors(run: Run, source: Path) -> None:
    """Real series in the place of the fakes: no classifier tells them from real ones, and their order is right."""
    found = ganvas.evaluate(run.path, str(source), n=60)
    rows = {row.metric: row for row in found.rows}
    assert {
        "discriminative",
        "predictive",
        "tstr",
        "trts",
        "autocorrelation",
        "lengths",
        "near-training",
    } <= set(rows)
    assert all(row.floor is not None for row in rows.values())
    assert rows["discriminative"].value > 0.2, "ten steps of training are told at sight"
    assert rows["discriminative"].p_value == pytest.approx(0.005)
    floor_p = rows["discriminative"].floor_p
    assert floor_p is not None
    assert floor_p > 0.05
    dataset, _ = load_data_of(ganvas.load(run.path, device="cpu"), str(source))
    few = dataset.take(torch.arange(30))[0]
    with pytest.raises(GanvasError, match=r"data\.holdout"):
        measures.figures(few, None, *dataset.split(0.1), 0)


def test_windows_of_one_series_are_grouped_by_time() -> None:
    data = ganvas.data.load_dataset("goog")
    train_part, held = data.split(0.1)
    together = measures.real(train_part), measures.real(held)
    for part, sample in zip((train_part, held), together, strict=True):
        values = part.series.decode(part.take(torch.arange(len(part)))[0]).values  # type: ignore[union-attr]
        rows = {tuple(row) for window in values for row in window[:, [0, 3]].round(4)}
        of_group = [
            {tuple(row) for window in sample.series[sample.groups == g] for row in window[:, [0, 3]].round(4)}
            for g in np.unique(sample.groups)
        ]
        assert len(of_group) > 1
        assert sum(map(len, of_group)) == len(set.union(*of_group)) <= len(rows), "no row is in two groups"


def test_attributes_are_what_they_say() -> None:
    steps = torch.arange(24.0, dtype=torch.double)
    line, wave = 3.0 + 0.5 * steps, 2 * torch.sin(2 * torch.pi * steps / 6)
    x = torch.stack([line, wave, torch.full_like(line, 7.0)])
    assert of_series.get("trend")(x)[[0, 2]].tolist() == pytest.approx([12.0, 0.0])
    assert of_series.get("volatility")(x)[[0, 2]].tolist() == pytest.approx([0.0, 0.0], abs=1e-9)
    assert of_series.get("volatility")(wave[None] * 3).item() == pytest.approx(
        3 * of_series.get("volatility")(wave[None]).item()
    )
    assert of_series.get("period")(x)[1].item() == pytest.approx(6.0)
    assert of_series.get("amplitude")(x).tolist() == pytest.approx([5.75, 2 * np.sin(np.pi / 3), 0.0])
    assert of_series.get("level")(x).tolist() == pytest.approx([8.75, 0.0, 7.0])
    x[:, 20:] = torch.nan
    assert of_series.get("trend")(x)[0].item() == pytest.approx(12.0), "the slope, for as many steps"


def test_gaps_are_filled_by_what_the_model_can_draw(run: Run) -> None:
    """The model's own series, half hidden: what was seen stays to the digit, and the search beats what it starts from."""
    model = ganvas.load(run.path, device="cpu")
    own = model.sample(3, seed=1)
    mask = torch.ones(8)
    mask[3:5] = 0
    with torch.no_grad():
        space = ganvas.latent.open_space(model)
    found = impute(space, own, mask, steps=60, restarts=2)
    before, after = model.decode(own), found.series
    np.testing.assert_allclose(after.values[:, [0, 1, 2, 5, 6, 7]], before.values[:, [0, 1, 2, 5, 6, 7]])
    assert np.isnan(found.damaged.values[:, 3:5]).all()
    assert all(float(each.residual) < 0.1 for each in found.found)
    with pytest.raises(GanvasError, match="Nothing was seen"):
        impute(space, own, torch.zeros(8))
    with pytest.raises(GanvasError, match="every value is there"):
        impute(space, own, torch.ones(8))


def test_a_column_that_does_not_move_is_no_unit() -> None:
    """Beside it others are missed by as much as without it."""
    random = np.random.default_rng(0)
    true = np.stack([random.normal(size=(6, 10)), np.full((6, 10), 0.1)], 2)
    drawn = true + random.normal(0.0, 0.1, true.shape)
    there = np.broadcast_to(np.arange(10)[:, None] < 5, true.shape)
    schema = Schema(10, (Column("a"), Column("b")))
    assert _errors(schema, true, drawn, there) == _errors(
        replace(schema, columns=schema.columns[:1]), true, drawn, there
    )
    alone = replace(schema, columns=schema.columns[1:])
    assert _errors(alone, true[:, :, 1:], drawn[:, :, 1:], there[:, :, 1:]) == (None, None), "no error of 0"


def test_nothing_is_hidden_behind_an_end(run: Run, source: Path) -> None:
    """Zeros behind the ends were compared as if they had been hidden, and made every guess look better."""
    model = ganvas.load(run.path, device="cpu")
    data, _ = load_data_of(model, str(source))
    samples = data.take(torch.arange(6))[0]
    schema = model.info.series
    assert schema is not None
    true = schema.decode(samples)
    assert true.lengths.min() < 8
    mask = torch.ones(8)
    mask[4:] = 0
    made = impute(open_space(model, "z"), samples, mask, steps=1, restarts=1)
    alive = (np.arange(8)[None] < true.lengths[:, None]) & (np.arange(8)[None] >= 4)
    heart = np.where(np.arange(8)[None] < true.lengths[:, None], true.values[:, :, 0], np.nan)
    spread = np.nanstd(heart - np.nanmean(heart, 1, keepdims=True))
    rows = []
    for row, there in zip(heart, alive, strict=True):
        wanted = there & ~np.isnan(row)
        seen = np.flatnonzero(~np.isnan(row[:4]))
        rows.append(np.abs(np.interp(np.flatnonzero(wanted), seen, row[seen]) - row[wanted]).mean() / spread)
    assert made.naive == pytest.approx(np.mean(rows))


def test_each_series_is_filled_in_by_its_own_class(run: Run, source: Path) -> None:
    """All were drawn as the class of the first."""
    model = ganvas.load(run.path, device="cpu")
    space, samples = open_space(model, "z"), load_data_of(model, str(source))[0].take(torch.arange(3))[0]
    mask = torch.ones(8)
    mask[6:] = 0
    start = space.numbered(3)
    made = impute(space, samples, mask, steps=0, labels=torch.tensor([1, 0, 1]), start=start)
    assert [int(each.labels) for each in made.found if each.labels is not None] == [1, 0, 1]
    torch.testing.assert_close(torch.cat([each.points for each in made.found]), start)
    made = impute(space, samples, mask, steps=0, start=start[:1])  # one for all
    torch.testing.assert_close(torch.cat([each.points for each in made.found]), start[:1].expand(3, -1))
    with pytest.raises(GanvasError, match="start has 2 points and there are 3 series: one for each"):
        impute(space, samples, mask, steps=0, start=start[:2])


def test_a_series_beyond_what_was_learned_is_searched_for_at_its_edge(run: Run, source: Path) -> None:
    """It ended after the search, in words about float targets."""
    model = ganvas.load(run.path, device="cpu")
    data, _ = load_data_of(model, str(source))
    samples = 1.5 * data.take(torch.arange(2))[0]
    mask = torch.ones(8)
    mask[6:] = 0
    made = impute(open_space(model, "z"), samples, mask, steps=1, restarts=1)
    assert all(any("at the edge of it" in note for note in each.notes) for each in made.found)
    found = ganvas.invert(model, samples, steps=1, restarts=1)
    assert any("at the edge of it" in note for note in found.notes)


@pytest.mark.parametrize("network", ["recurrent", "tcn", "transformer-small"])
def test_every_family_trains_in_half_precision(network: str, source: Path, tmp_path: Path) -> None:
    done = train(source, tmp_path, 0.064, precision="bf16", network=network)
    assert done.config.training.precision == "bf16"
    assert torch.isfinite(ganvas.load(done.path, device="cpu").sample(4)).all()


def test_latent_tools_draw_curves(run: Run, source: Path, tmp_path: Path) -> None:
    model = str(run.path)
    for line in (
        ["walk", model, "--keys", "2", "--frames", "4", "--out", "w.gif"],
        ["walk", model, "--keys", "2", "--frames", "4", "--out", "w.csv"],
        ["directions", model, "--method", "attribute", "--attribute", "volatility:heart", "--samples", "60", "--out",
         "d.safetensors"],
        ["edit", model, "--direction", "d.safetensors", "--n", "2", "--out", "e.png"],
        ["map", model, "--n", "60", "--method", "pca", "--out", "m.png"],
        ["invert", model, str(source), "--n", "2", "--method", "optimise", "--steps", "2", "--newton", "0", "--out", "i.npz"],
        ["restore", model, str(source), "--n", "2", "--steps", "2", "--restarts", "1", "--out", "r.npz"],
    ):  # fmt: skip
        line = [str(tmp_path / each) if each[1:2] == "." else each for each in line]
        assert main(line) == 0, line
    assert {"w.gif", "w.csv", "d.png", "e.png", "m-atlas.png", "i.png", "r.png", "r.csv"} <= {
        p.name for p in tmp_path.iterdir()
    }
    loaded = ganvas.load(run.path, device="cpu")
    assert set(attributes_of(loaded)) == {"trend", "volatility", "period", "amplitude", "level"}
    with pytest.raises(GanvasError, match="Use one of: heart"):
        open_attribute("trend:drug", loaded)


def restoring(run: Run, source: Path, out: Path, *more: str) -> list[str]:
    """A short search for three series."""
    return [
        "restore", str(run.path), str(source), *more, "--n", "3", "--steps", "2", "--restarts", "1", "--out", str(out)
    ]  # fmt: skip


def restored(out: Path) -> list[dict[str, str]]:
    """The table beside the latents that were found."""
    return list(csv.DictReader(out.with_suffix(".csv").read_text().splitlines()))


def test_what_is_restored_was_not_learned_and_lies_beside_the_truth(
    run: Run, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first ones were taken, which the model had seen, and dated as if they lay behind the end of the data."""
    model, out = ganvas.load(run.path, device="cpu"), tmp_path / "r.npz"
    data, _ = load_data_of(model, str(source))
    held = data.split(0.3)[1].take(torch.arange(3))[0]
    line = restoring(run, source, out)
    assert main(line) == 0
    assert (
        f"Of {data.name} what was held out of the training: {len(data.split(0.3)[1])}."
        in capsys.readouterr().err
    )
    rows = restored(out)
    assert [row["step"] for row in rows if row["series"] == "0"][:3] == ["0", "1", "2"]
    truth = model.info.series
    assert truth is not None
    values = truth.decode(held).values
    heart = truth.decode(held).names.index("heart")
    seen = [float(row["heart"]) for row in rows if row["step"] == "0"]
    np.testing.assert_allclose(seen, values[:, 0, heart], rtol=1e-4)


def test_where_nothing_was_held_out_what_was_learned_is_restored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of 40 days no window of 24 lies behind those that are learned: there was none, and the search ended in a traceback."""
    table = tmp_path / "prices.csv"
    days = np.datetime64("2024-01-01") + np.arange(40)
    table.write_text("day,close\n" + "".join(f"{day},{100 + i % 7}\n" for i, day in enumerate(days)))
    given = {"kimg": 0.032, "batch": 8, "window": 24, "columns": ["close"], "device": "cpu", "quiet": True}
    run = ganvas.train(table, out=tmp_path, report=False, **given).run
    assert main(restoring(run, table, tmp_path / "r.npz", "--hidden", "right")) == 0
    assert (
        "Of prices nothing was held out: these are what the model has learned from."
        in capsys.readouterr().err
    )


def test_what_nobody_drew_stays_empty(run: Run, source: Path, tmp_path: Path) -> None:
    """Behind the end of a drawn series the table had its last value again and again."""
    model, out = ganvas.load(run.path, device="cpu"), tmp_path / "r.npz"
    data, _ = load_data_of(model, str(source))
    schema = model.info.series
    assert schema is not None
    long = torch.tensor(
        [i for i in range(len(data)) if schema.lengths(data.items[i : i + 1].numpy())[0] == 8][:8]
    )
    samples, mask = data.take(long)[0], torch.ones(8)
    mask[3:] = 0
    made = impute(open_space(model, "z"), samples, mask, steps=1, restarts=1)
    drawn = schema.lengths(torch.cat([each.drawn for each in made.found]).numpy())
    assert drawn.min() < 8, "of some the end is drawn too early"
    behind = np.arange(8)[None] >= drawn[:, None]
    assert np.isnan(made.series.values[behind]).all()
    assert not np.isnan(made.series.values[~behind]).any()
    assert any("stays empty" in note for each in made.found for note in each.notes)
    pictures.write_table([made.series], out.with_suffix(".csv"))
    rows = restored(out)
    assert [not row["heart"] for row in rows] == behind.flatten().tolist()
    np.testing.assert_array_equal(schema.lengths(made.samples.numpy()), np.maximum(drawn, 3))
    again = schema.decode(made.samples).values
    np.testing.assert_allclose(again[~behind], made.series.values[~behind], rtol=1e-4)


def test_a_gap_is_not_what_is_searched_for() -> None:
    """Of a model that knows gaps: that a value lacks was compared as if it had been seen, so that it stayed empty."""
    schema, random = Schema(6, (Column("a", gaps=True), Column("b"))), np.random.default_rng(0)
    values, lengths = random.uniform(size=(3, 6, 2)), np.full(3, 6)
    holed = values.copy()
    holed[:, 2, 0] = holed[:, 4, 1] = np.nan
    damaged, mask = without_gaps(gaps_of(schema).encode(holed, lengths), schema)
    whole = schema.encode(values, lengths)
    assert torch.equal(schema.seen(whole, mask), schema.seen(damaged, mask))
    assert not torch.equal(whole, damaged)


def test_what_is_drawn_as_missing_is_said(run: Run, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = ganvas.load(run.path, device="cpu")
    schema = model.info.series
    assert schema is not None
    drawn = load_data_of(model, str(source))[0].take(torch.arange(1))[0]
    mask = torch.ones(8)
    mask[2:4] = 0
    heart = schema.places[schema.decode(drawn).names.index("heart")]
    for lacks in (False, True):
        drawn[:, heart, 3] = 0.0 if lacks else 1.0
        found = Inversion(torch.zeros(1, 8), drawn.clone(), *torch.zeros(3, 1))
        monkeypatch.setattr("ganvas.latent.impute.invert", lambda *_, found=found, **__: found)
        made = impute(open_space(model, "z"), drawn, mask)
        assert any("drawn as missing" in note for note in made.found[0].notes) == lacks


def test_gaps_of_a_table_are_filled_in_the_series_that_have_some(
    run: Run, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It ended as soon as one series had none."""
    out = tmp_path / "r.npz"
    line = restoring(run, source, out, "--damaged")
    assert main(line) == 0
    assert "3 with gaps" in capsys.readouterr().err
    rows = restored(out)
    assert {row["series"] for row in rows} == {"0", "1", "2"}
    assert all(row["heart"] for row in rows), "the third day of every fifth was missing"
    every = [row["who"] for row in csv.DictReader(source.read_text().splitlines()) if not row["heart"]]
    assert {row["size"] for row in rows} == {str(int(who[1:]) % 7) for who in every[:3]}, (
        "shorter ones lack nothing"
    )
    whole = tmp_path / "whole.csv"
    whole.write_text("".join(each for each in source.read_text().splitlines(True) if ",," not in each))
    assert main([*line[:2], str(whole), *line[3:]]) == 2


def test_the_explorer_shows_curves(run: Run) -> None:
    model = ganvas.load(run.path, device="cpu")
    renderer = Renderer(model)
    picture = renderer.draw([State()])[0]
    assert (picture.shape, picture.dtype) == ((3, 256, 384), torch.uint8)
    assert renderer.hash == model.hash, "directions of the model are those of its curves"
    drawn = pictures.shown(model.sample(1, seed=4, labels=[1]), model.info.series, (256, 384))
    assert torch.equal(plotted(model).sample(1, seed=4, labels=[1]), drawn)


def test_the_explorer_tells_of_series_what_is_told_of_series(run: Run) -> None:
    """Not how bright a picture of their curves is; and the same where no page is open."""
    model = ganvas.load(run.path, device="cpu")
    renderer, own = Renderer(model), attributes_of(model)
    found = renderer.directions("pca")
    assert [set(each.effects) for each in found] == [set(own)] * len(found)
    alone = find(open_space(model), "pca", len(found))
    assert [each.effects for each in found] == [each.effects for each in alone]
    assert set(landscape(renderer, 64).values) - {"density"} == set(own)
    locked = renderer.locked(found[0], ["trend"])
    trend = from_attribute(open_space(model), "trend").vector
    assert abs(float((locked.vector * trend).sum())) < 1e-4 < abs(float((found[0].vector * trend).sum()))


def test_curves_are_drawn_by_a_page_with_classes_mixed(run: Run) -> None:
    """The graph in a page of series: their pictures, of any batch, of a class and of another one in part."""
    model = plotted(ganvas.load(run.path, device="cpu"))
    z, labels = model.latents(3), torch.tensor([0, 1, 0])
    given = {"z": z, "labels": labels, "other": torch.ones(3, dtype=torch.long), "share": torch.tensor(0.4)}
    drawn = onnx.run(model, onnx.to_onnx(model, optional=onnx.optional_of(model)), given)
    with torch.no_grad():
        wanted = model.generator.with_class(1, 0.4)(z, labels)
        assert not torch.allclose(wanted[0], model.generator(z, labels)[0], atol=0.05)
    torch.testing.assert_close(drawn, wanted, atol=2e-3, rtol=0)


def test_curves_without_classes_have_none_to_mix() -> None:
    config = NetworkConfig("recurrent", 4, generator=dict(families.get("recurrent").tiny))
    generator = build_generator(config, (1, 8), 0)
    model = plotted(Model(generator, None, ModelInfo.of(generator, "recurrent")))
    with pytest.raises(GanvasError, match="no vectors of classes that could be mixed"):
        model.generator.with_class(1, 0.5)
    renderer = Renderer(Model(generator, None, ModelInfo.of(generator, "recurrent")))
    with pytest.raises(GanvasError, match="no vectors of classes"):
        renderer.draw([State(seed=1, other=1, share=0.5)])


def test_lines_lie_where_the_values_are() -> None:
    """A constant of 0 is a line in the middle row, 1 at the top and -1 at the bottom; gradients pull it up."""
    values = torch.tensor([[0.0], [0.9], [-0.9]])[:, :, None].expand(3, 1, 12).clone().requires_grad_()
    drawn = pictures.lines(values, plain(1, 12), (41, 60))
    dark = (drawn.detach().mean(1) < 0).float()
    rows = [float((each.sum(1) * torch.arange(41.0)).sum() / each.sum()) for each in dark]
    assert rows == pytest.approx([20.0, 20 - 0.9 * 18, 20 + 0.9 * 18], abs=0.6)
    (drawn[:, :, :20].mean()).backward()
    assert values.grad is not None
    assert values.grad.abs().sum() > 0


def test_the_header_of_a_model_chooses_nothing_beside_the_data_that_are_given(
    run: Run, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Columns are read as they were where the data have the name that the header says; no path in it is looked at."""
    model = ganvas.load(run.path, device="cpu")
    assert model.info.data is not None
    known, opened = model.info.data.config, list[DataConfig]()

    def open_it(config: DataConfig, *given: object) -> None:
        opened.append(config)
        raise GanvasError("opened")

    monkeypatch.setattr("ganvas.data.load_dataset", open_it)
    (tmp_path / "loop").symlink_to("loop")
    for change in (
        {}, {"also": (str(tmp_path), "hub:somebody/data")}, {"source": "a\0b"}, {"source": str(tmp_path / "loop")},
    ):  # fmt: skip
        info = replace(model.info, data=replace(model.info.data, config=replace(known, **change)))
        with pytest.raises(GanvasError, match="opened"):
            images(str(source), 2, replace(model, info=info))
    assert opened == [known, *[DataConfig(str(source))] * 3]


def test_the_explorer_compares_curves_at_a_small_size(run: Run) -> None:
    """5,000 of them for the map, whole, were 8 GB."""
    renderer = Renderer(ganvas.load(run.path, device="cpu"))
    images = renderer.draw([State(), State(1)])
    assert renderer.gauge.features(images).shape[1] < images[0].numel() / 20
    assert renderer.gauge._looks(images).shape[1] < images[0].numel() / 20
    large = torch.arange(2 * 3 * 8 * 9000, dtype=torch.uint8).reshape(2, 3, 8, 9000)
    assert export._smaller(large, 2).shape == (2, 3, 4, 4500)
    assert export._sprite(export._smaller(large, 2), 2).startswith("data:image/webp")


def test_whole_curves_are_drawn_for_who_looks_at_them_alone(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1,000 of them to compare with, and the tangents of one, were gigabytes beside a model of a few kilobytes."""
    model = ganvas.load(run.path, device="cpu")
    real = Real(pictures.shown(model.sample(40, seed=9), model.info.series), "others")
    sizes, draw = set[tuple[int, int]](), pictures.lines

    def lines(samples: torch.Tensor, schema: Schema | None, size: tuple[int, int]) -> torch.Tensor:
        sizes.add(size)
        return draw(samples, schema, size)

    monkeypatch.setattr(pictures, "lines", lines)
    renderer = Renderer(model, real=real)
    whole = renderer.draw([State(3)])
    assert (256, 384) in sizes
    sizes.clear()
    found = renderer.quality(State(3))
    assert found.nearest is not None
    assert renderer.likeness is not None
    assert len(renderer.neighbours(State(3))) == 8
    assert renderer.thumbs([State(3), State(4)]).shape[2:] == pictures.ROOM
    assert landscape(renderer, 64).real_places is not None
    for image in (whole[0], real.images[0]):
        assert renderer.inverted(image)[0].base is not None
    assert sizes == {pictures.ROOM}


def test_many_windows_are_read_a_part_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """There were six copies of a million windows, 7 GB."""
    part, rows, decode = load_dataset(DataConfig("goog")).split(0.1)[0], list[int](), Schema.decode
    whole = measures.real(part)
    monkeypatch.setattr(measures, "NUMBERS", 100 * math.prod(part.shape))
    monkeypatch.setattr(
        Schema, "decode", lambda self, samples: rows.append(len(samples)) or decode(self, samples)
    )
    found = measures.real(part)
    assert max(rows) == 100
    np.testing.assert_array_equal(found.series, whole.series)
    np.testing.assert_array_equal(found.lengths, whole.lengths)
    np.testing.assert_array_equal(found.groups, whole.groups)
