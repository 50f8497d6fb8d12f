"""Series: tables that are read and written back, windows that share nothing with what is held out, what channels mean."""

import csv
import json
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import torch

from ganvas import pictures, series
from ganvas.config import DataConfig, from_dict, to_dict
from ganvas.data import limits, load_dataset, tables
from ganvas.data import series as of_series
from ganvas.data.columns import MISSING
from ganvas.data.labels import number
from ganvas.data.series import BYTES, BYTES_EACH, Table, make
from ganvas.data.tables import columns_of
from ganvas.errors import GanvasError
from ganvas.latent.impute import gaps_of
from ganvas.metrics.evaluate import given_as
from ganvas.processes import three_regimes
from ganvas.series import Schema, check_names, read_schema, table

MIXED = """patient,day,heart,drug,visits,sex,age,outcome
b,2024-02-03,70.5,none,3,f,41,well
a,2024-01-02,61.25,beta,2,m,30,ill
a,2024-01-01,,none,1,m,30,ill
b,2024-02-01,64.0,aspirin,0,f,41,well
b,2024-02-02,,beta,7,f,41,well
c,2024-03-01,80.0,beta,5,m,55,ill
c,2024-03-02,81.0,beta,6,m,55,ill
d,2024-03-05,60.0,beta,4,f,33,well
d,2024-03-06,62.0,none,4,f,33,well
"""
BY_PATIENT = {"by": "patient", "time": "day", "static": ("sex", "age"), "label": "outcome"}


def saved(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("after", ["b,a\n1,5\n2,6\n3,7\n", "a,b\n1,5\n2,6\n3,7\n4\n"])
def test_a_table_that_is_written_anew_while_it_is_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: str
) -> None:
    """It is read twice: values of one version had the names of the other, or it was a traceback."""
    path, check = tmp_path / "t.csv", tables.check_rows

    def between(*given: Any) -> None:
        check(*given)
        (tmp_path / "new").write_text(after)
        (tmp_path / "new").replace(path)

    path.write_text("a,b\n1,5\n2,6\n3,7\n")
    monkeypatch.setattr(tables, "check_rows", between)
    with pytest.raises(GanvasError, match="was changed while it was read"):
        load_dataset(DataConfig(str(path), window=2))


def test_a_mixed_table_comes_back_as_it_was(tmp_path: Path) -> None:
    """Dates sort and are no column, gaps stay gaps, categories keep their names, series their lengths and what is said once."""
    data = load_dataset(DataConfig(saved(tmp_path / "m.csv", MIXED), **BY_PATIENT))
    assert data.series is not None
    found = data.series.decode(data.items)
    assert found.names == ["heart", "drug", "visits"]
    assert found.lengths.tolist() == [2, 3, 2, 2]
    heart = [[np.nan, 61.25], [64.0, np.nan, 70.5], [80.0, 81.0], [60.0, 62.0]]
    for row, wanted in zip(found.values[:, :, 0], heart, strict=True):
        np.testing.assert_allclose(row[: len(wanted)], wanted, rtol=1e-6)
    drugs, visits = found.schema.columns[1].categories, [[1, 2], [0, 7, 3], [5, 6], [4, 4]]
    assert drugs == ("aspirin", "beta", "none")
    names = [
        [drugs[int(v)] for v in row[:n]] for row, n in zip(found.values[:, :, 1], found.lengths, strict=True)
    ]
    assert names == [["none", "beta"], ["aspirin", "beta", "none"], ["beta", "beta"], ["beta", "none"]]
    assert [row[:n].tolist() for row, n in zip(found.values[:, :, 2], found.lengths, strict=True)] == visits
    assert [found.schema.static[0].categories[int(v)] for v in found.static[:, 0]] == ["m", "f", "m", "f"]
    np.testing.assert_allclose(found.static[:, 1], [30, 41, 55, 33], atol=1e-4)
    assert data.class_names == ("ill", "well")
    assert data.take_labels().tolist() == [0, 1, 0, 1]
    # What is trained on alone says what -1 and 1 are; written as a table, days go on behind the last one of the file.
    kept = found.values[data.split(0.1)[0].indices]
    hearts = kept[:, :, 0][kept[:, :, 0] > 0]
    heart = found.schema.columns[0]
    np.testing.assert_allclose((heart.low, heart.high), (hearts.min(), hearts.max()), rtol=1e-6)
    rows = list(table(found, classes=["ill", "well", "ill", "well"]))
    assert rows[:3] == [
        ["series", "day", "class", "sex", "age", "heart", "drug", "visits"],
        ["0", "2024-03-07", "ill", "m", "30", "", "none", "1"],
        ["0", "2024-03-08", "ill", "m", "30", "61.25", "beta", "2"],
    ]


@pytest.mark.parametrize("fold", [0, 3])
def test_no_row_of_a_held_out_window_is_trained_on(tmp_path: Path, fold: int) -> None:
    np.save(tmp_path / "rows.npy", np.arange(200.0)[:, None] + [[0.0, 1000.0]])
    data = load_dataset(DataConfig(str(tmp_path / "rows.npy"), window=7, fold=fold))
    assert len(data) == 194
    assert data.series is not None
    train, held = (
        {round(v) for v in data.series.decode(part.take(torch.arange(len(part)))[0]).values[:, :, 0].flat}
        for part in data.split(0.1, fold)
    )
    last = 200 - 20 * fold
    assert held == set(range(last - 20, last))
    assert not train & held
    assert train | held == set(range(200))
    assert (data.series.columns[0].low, data.series.columns[0].high) == (min(train), max(train))


def test_few_sequences_are_cut_in_time_and_many_kept_whole(tmp_path: Path) -> None:
    x = np.arange(600.0).reshape(30, 20, 1)
    for count, name in ((30, "many.npy"), (3, "few.npy")):
        np.save(tmp_path / name, x[:count])
        data = load_dataset(DataConfig(str(tmp_path / name), window=5))
        assert data.series is not None
        train, held = (
            {round(v) for v in data.series.decode(part.take(torch.arange(len(part)))[0]).values.flat}
            for part in data.split(0.5)
        )
        assert not train & held
        owners = [{row // 20 for row in rows} for rows in (train, held)]
        assert bool(owners[0] & owners[1]) == (count == 3)


def test_few_sequences_that_are_no_longer_than_a_window_are_trained_on(tmp_path: Path) -> None:
    rows = [(i, k * 0.5) for i, length in enumerate((200, 240, 10, 12)) for k in range(length)]
    text = "id,x\n" + "\n".join(f"{i},{x}" for i, x in rows)
    data = load_dataset(DataConfig(saved(tmp_path / "t.csv", text), by="id", window=20))
    assert data.spans is not None
    for fold in (0, 1):
        train, held = data.split(0.2, fold)
        owners = [set(data.spans[part.indices][:, 0].tolist()) for part in (train, held)]
        assert owners == [{0, 1, 2, 3}, {0, 1}]


def test_few_sequences_a_little_longer_than_a_window_are_trained_on(tmp_path: Path) -> None:
    """All of their windows reach over the edge of what is held out, and were in neither part."""
    rows = [(i, k * 0.5) for i, length in enumerate((200, 22, 21, 20)) for k in range(length)]
    for fold in (0, 1):
        text = "id,x\n" + "\n".join(f"{i},{x}" for i, x in rows)
        data = load_dataset(DataConfig(saved(tmp_path / "t.csv", text), by="id", window=20, fold=fold))
        assert data.spans is not None
        train, held = (each.spans_of_part for each in data.split(0.1, fold))
        assert train is not None
        assert held is not None
        assert train[:, 0].unique(return_counts=True)[1].tolist()[1:] == [3, 2, 1], "all of their windows"
        assert held[:, 0].unique().tolist() == [0]
    alone = "x\n" + "\n".join(str(x) for i, x in rows if i == 1)
    parts = load_dataset(DataConfig(saved(tmp_path / "a.csv", alone), window=20)).split(0.1)
    assert list(map(len, parts)) == [3, 0]


def test_series_beyond_the_memory_for_data_are_no_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(tmp_path / "s.npy", np.random.default_rng(0).normal(size=(500, 12, 4)))
    usual = load_dataset(str(tmp_path / "s.npy"))
    monkeypatch.setenv("GANVAS_RESIDENT_MB", "0.1")
    data = load_dataset(str(tmp_path / "s.npy"))
    assert (data.kind, data.fingerprint) == ("series", usual.fingerprint)


def test_labels_of_the_steps_of_one_series_are_refused(tmp_path: Path) -> None:
    path, x = tmp_path / "l.npz", np.random.default_rng(0).normal(size=(60, 2))
    np.savez(path, series=x, labels=np.arange(60) // 30)
    with pytest.raises(GanvasError, match="a label for each of these"):
        load_dataset(DataConfig(str(path), window=8))
    np.savez(path, series=x.reshape(6, 10, 2), labels=np.arange(6) // 3)
    assert load_dataset(DataConfig(str(path), window=8)).class_names == ("0", "1")


def test_aeon_files_and_arrays_with_ends_gaps_and_attributes(tmp_path: Path) -> None:
    text = "#c\n@univariate false\n@classLabel true up down\n@data\n1,2,3:7,8,9:up\n3,2:9,8:down\n0,?,1,4:5,6,7,8:up\n"
    data = load_dataset(DataConfig(saved(tmp_path / "a.ts", text), holdout=0.0))
    assert data.series is not None
    found = data.series.decode(data.items)
    assert found.lengths.tolist() == [3, 2, 4]
    np.testing.assert_allclose(found.values[2], [[0, 5], [np.nan, 6], [1, 7], [4, 8]], atol=1e-5)
    assert (data.class_names, data.take_labels().tolist()) == (("down", "up"), [1, 0, 1])
    values = np.stack([np.linspace(0, 1, 6), np.linspace(5, 3, 6)], 1)[None] * np.arange(1, 5)[:, None, None]
    np.savez(
        tmp_path / "b.npz", series=values, lengths=np.array([6, 4, 6, 5]), static=np.arange(8.0).reshape(4, 2),
        labels=np.array(["x", "y", "x", "y"]), columns=np.array(["u", "v"]),
    )  # fmt: skip
    data = load_dataset(DataConfig(str(tmp_path / "b.npz"), holdout=0.0))
    assert data.series is not None
    found = data.series.decode(data.items)
    assert (found.names, found.lengths.tolist(), data.class_names) == (["u", "v"], [6, 4, 6, 5], ("x", "y"))
    np.testing.assert_allclose(found.static, np.arange(8.0).reshape(4, 2), atol=1e-5)
    np.testing.assert_allclose(found.values[3, :5], values[3, :5], atol=1e-5)
    assert not found.values[3, 5].any()


def test_prices_have_frames_logarithms_an_order_and_working_days() -> None:
    data = load_dataset("goog")
    assert data.series is not None
    schema = data.series
    prices = ["open", "high", "low", "close"]
    assert [c.name for c in schema.columns if c.frame == 0] == prices
    assert {c.name: c.above for c in schema.columns if c.above} == {
        "open": ("low",), "high": ("open", "low", "close"), "close": ("low",),
    }  # fmt: skip
    assert schema.columns[5].same_as == "close"
    assert all(c.log for c in schema.columns[:5])
    # In every window the prices reach from -1 to 1, and what is drawn keeps the order whatever the channels say.
    x, _ = data.take(torch.arange(0, len(data), 50))
    torch.testing.assert_close(x[:, :4].amax((1, 2)), torch.ones(len(x)))
    torch.testing.assert_close(x[:, :4].amin((1, 2)), -torch.ones(len(x)))
    values = schema.decode(
        torch.rand(20, *schema.shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    ).values
    # Cut off at the others, every third day would end at its highest price; of real ones one in fifty does.
    assert (values[..., 1:2] > values[..., [0, 2, 3, 5]]).all()
    assert (values[..., 2:3] < values[..., [0, 1, 3, 5]]).all()
    days = schema.times(6).astype(str).tolist()
    assert days == [f"2008-10-{d}" for d in (15, 16, 17, 20, 21, 22)], "the file ends on Tuesday the 14th"


def test_a_slip_among_numbers_is_named(tmp_path: Path) -> None:
    """The column was left out, or became categories, and nobody was told which cell made it so."""

    def notes(cells: list[str]) -> str:
        rows = [f'{i},"{cell}"' for i, cell in enumerate(cells)]
        (tmp_path / "a.csv").write_text("\n".join(["x,price", *rows]) + "\n")
        return " ".join(load_dataset(DataConfig(str(tmp_path / "a.csv"), window=6)).notes)

    numbers = [str(i / 8) for i in range(400)]
    for count in (100, 400):
        said = notes([*numbers[: count - 1], "1,5x"])
        assert "Is price a column of numbers? Few of its cells are none, one of them '1,5x'" in said
    for cells in (numbers, ["rain", "sun"] * 50, [*numbers[:99], "nan"], ["2024-01-01"] * 50):
        assert "Is price" not in notes(cells)
    for missing in (
        ["nan"],
        ["#N/A"] * 12,
        ["#DIV/0!", "<NA>"] * 6,
    ):  # a twelfth made it a column of categories
        said = notes([*numbers[:99], *missing])
        assert "Some values are missing, and some that are drawn will be: price." in said
    assert ": (nothing), rain, sun." in notes(["rain", "sun", ""] * 30)


@pytest.mark.parametrize("name", ["", "index", "Unnamed: 0"])
@pytest.mark.parametrize("first", [0, 7])
def test_numbers_of_rows_are_not_drawn(tmp_path: Path, name: str, first: int) -> None:
    """What `DataFrame.to_csv` writes before each row; a table that had none before reads as that with them."""
    numbers = [first, *range(first + 2, first + 20)]  # one row was dropped

    def read(columns: tuple[str, ...] = ()) -> tuple[list[str], tuple[str, ...]]:
        data = load_dataset(DataConfig(path, window=5, columns=columns))
        assert data.series is not None
        return [column.name for column in data.series.columns], data.notes

    path = saved(
        tmp_path / "t.csv", "\n".join([f"{name},a", *(f"{n},{i % 5}" for i, n in enumerate(numbers))])
    )
    called = name or "index"
    found, notes = read()
    assert found == ["a"]
    assert f"Left out: {called} numbers the rows. To draw it, name it among --columns." in notes
    assert read((called, "a"))[0] == [called, "a"]
    # What is there twice, is missing or no whole number is none.
    for other in (numbers[1], "", "0.5"):
        saved(tmp_path / "t.csv", "\n".join([f"{name},a", *(f"{n},1" for n in (other, *numbers))]))
        assert read()[0] == [called, "a"]


def test_numbers_of_rows_in_a_parquet_file_are_not_drawn(tmp_path: Path) -> None:
    level = {"a": np.arange(9.0) % 4, "__index_level_0__": np.arange(9)[::-1]}
    pyarrow.parquet.write_table(pyarrow.table(level), tmp_path / "t.parquet")
    data = load_dataset(DataConfig(str(tmp_path / "t.parquet"), window=3))
    assert data.series is not None
    assert [column.name for column in data.series.columns] == ["a"]


def test_texts_that_are_all_different_are_asked_about(tmp_path: Path) -> None:
    rows = [f"{i % 28 + 1:02d}.01.{2000 + i // 28},{i % 7}" for i in range(40)]
    said = load_dataset(DataConfig(saved(tmp_path / "t.csv", "\n".join(["day,a", *rows])), window=5)).notes
    assert any(note.startswith("Every row of day has another text: an identifier, or dates") for note in said)
    repeated = saved(tmp_path / "u.csv", "\n".join(["day,a", *rows, rows[0]]))
    assert not any("another text" in note for note in load_dataset(DataConfig(repeated, window=5)).notes)


@pytest.mark.parametrize(
    ("head", "said"),
    [("a,b,", "and column 3 of 3 has none"), (",index,b", "column 1 of 3"), ("a,b,a", "'a' is there twice")],
)
def test_names_that_tell_no_columns_apart(tmp_path: Path, head: str, said: str) -> None:
    with pytest.raises(GanvasError, match=said):
        load_dataset(DataConfig(saved(tmp_path / "t.csv", f"{head}\n1,2,3\n4,5,6\n"), window=2))


def test_only_windows_that_are_narrow_beside_the_usual_range_have_frames(tmp_path: Path) -> None:
    """In frames of their own, windows of one stationary process hid from the critic what is the same in all of them."""
    random = np.random.default_rng(0)
    noise = random.normal(0, 1, (400, 24, 1))
    of = {
        "rare leaps": np.where(random.random(noise.shape) < 0.002, 12, 1) * noise,
        "levels": noise + random.normal(0, 8, (400, 1, 1)),
        "sizes": noise * np.exp(random.normal(0, 1, (400, 1, 1))),
        "regimes": three_regimes().draw(2_000, 48, random)[0],
    }
    framed = {}
    for name, values in of.items():
        np.save(tmp_path / "x.npy", values)
        schema = load_dataset(DataConfig(str(tmp_path / "x.npy"))).series
        assert schema is not None
        framed[name] = bool(schema.frames)
    assert framed == {"rare leaps": False, "levels": True, "sizes": True, "regimes": False}


def test_windows_without_a_value_widen_no_frame() -> None:
    """They lay at 0.5, whatever the values are, and half of nothing: all others filled a hundredth of the range of centres."""
    random = np.random.default_rng(0)
    values = random.normal(0, 1, (40, 6, 2)) + random.normal(1000, 8, (40, 1, 2))
    columns, lengths = [series.Column("a"), series.Column("b")], np.full(40, 6)
    full = series.fit(columns, values[1:], lengths[1:])
    values[0, :, 0] = np.nan
    holed = series.fit(columns, values, lengths)
    assert holed.frames[0] == full.frames[0]
    assert holed.frames[0].low > 900
    assert np.isnan(holed.decode(holed.encode(values, lengths)).values[0, :, 0]).all()


def test_a_frame_of_which_nothing_is_seen_says_nothing(tmp_path: Path) -> None:
    """Its centre was that of infinity and its negative, and the search began nowhere."""
    random = np.random.default_rng(0)
    np.save(tmp_path / "x.npy", random.normal(0, 1, (40, 6, 2)) + random.normal(0, 30, (40, 1, 2)))
    data = load_dataset(DataConfig(str(tmp_path / "x.npy")))
    assert data.series is not None
    assert len(data.series.frames) == 2
    x = data.take(torch.arange(3))[0].requires_grad_()
    mask = torch.ones(3, data.series.channels, 6)
    mask[1, 0] = 0
    seen = data.series.seen(x, mask)
    (gradient,) = torch.autograd.grad(seen.square().sum(), x)
    assert torch.isfinite(seen).all()
    assert torch.isfinite(gradient).all()
    assert not gradient[1, 0].any()
    whole = data.series.seen(x, torch.ones(6))
    torch.testing.assert_close(seen[[0, 2]], whole[[0, 2]])


def test_a_series_of_nothing_is_named(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(0, 1, (20, 6, 2))
    values[7] = np.nan
    np.save(tmp_path / "x.npy", values)
    with pytest.raises(GanvasError, match="of series 7 every value is missing"):
        load_dataset(DataConfig(str(tmp_path / "x.npy")))


def test_what_is_seen_says_nothing_of_what_is_hidden(tmp_path: Path) -> None:
    """The encoding of a half is that of the half alone: equal for two futures, and that of a table where the rest is missing."""
    random = np.random.default_rng(0)
    past = random.normal(0, 1, (40, 6, 2)).cumsum(1) + random.normal(0, 30, (40, 1, 2))
    futures = [past[:, -1:] + random.normal(0, s, (40, 6, 2)) for s in (1, 9)]
    mask = torch.ones(12)
    mask[6:] = 0
    np.save(tmp_path / "x.npy", np.concatenate([past, futures[0]], 1))
    schema = load_dataset(DataConfig(str(tmp_path / "x.npy"))).series
    assert schema is not None
    assert schema.frames, "windows that are narrow beside the whole range have frames"
    full = [np.concatenate([past, future], 1) for future in (*futures, np.full((40, 6, 2), np.nan))]
    one, other, alone = (schema.encode(x, np.full(40, 12)).double() for x in full)
    torch.testing.assert_close(schema.seen(one, mask), schema.seen(other, mask), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(schema.seen(one, mask), alone, atol=1e-4, rtol=1e-4)


def test_a_gap_and_an_end_say_nothing_of_what_is_hidden() -> None:
    """Both lie at the centre of the whole window, which counted as a value that was seen."""
    random = np.random.default_rng(0)
    late = random.normal(0, 1, (40, 6, 2)).cumsum(1) + random.normal(0, 30, (40, 1, 2))
    early = [late[:, :1] + random.normal(0, s, (40, 6, 2)) for s in (1, 9)]
    late[::2, 3, 0] = np.nan
    lengths = np.where(np.arange(40) % 3, 12, 10)
    full = [np.concatenate([x, late], 1) for x in (*early, np.full((40, 6, 2), np.nan))]
    schema = series.fit([series.Column("a"), series.Column("b")], full[0], lengths)
    assert (schema.layout, schema.ends) == ("m n0 n1 e / n n n n", True)
    mask = torch.ones(12)
    mask[:6] = 0
    one, other, alone = (schema.seen(schema.encode(x, lengths).double(), mask) for x in full)
    torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(one, alone, atol=1e-4, rtol=1e-4)
    whole = schema.encode(full[0], lengths)
    torch.testing.assert_close(schema.seen(whole, torch.ones(12)), whole, atol=1e-5, rtol=1e-5)


def test_a_schema_survives_its_file_and_forged_ones_are_refused() -> None:
    schema = load_dataset("goog").series
    assert schema is not None
    values = to_dict(schema)
    assert read_schema(values, schema.shape) == schema == from_dict(Schema, values, "series")
    columns = values["columns"]
    for broken in (
        {"length": 10**9}, {"length": 25}, {"unit": "Y"}, {"columns": []}, {"start": 1e300},
        {"columns": [{**columns[0], "frame": 7}, *columns[1:]]},
        {"columns": [{**columns[0], "same_as": "nobody"}, *columns[1:]]},
        {"columns": [{**columns[0], "above": ["high"]}, *columns[1:]]},
        {"columns": [{**columns[0], "high": 1e300}, *columns[1:]]},
        {"frames": [{**frame, "most": 1e6} for frame in values["frames"]]},
        {"unit": "s", "start": 9e13, "step": 0.5, "weekdays": False},
        {"unit": "s", "start": 0, "step": 2e8 + 0.5, "weekdays": False},
    ):  # fmt: skip
        with pytest.raises(GanvasError, match="series"):
            read_schema({**values, **broken}, schema.shape)
    for far in ({"start": 3e12, "step": 0.5}, {"start": -2e10, "step": 3e8}, {"start": 0, "step": 6e7 + 0.5}):
        read = read_schema({**values, **far, "unit": "s", "weekdays": False}, schema.shape)
        assert (np.diff(read.times(65_536).astype("M8[us]")) > np.timedelta64(0)).all(), (
            "of steps of years, too"
        )


def test_mistakes_say_what_to_type(tmp_path: Path) -> None:
    mixed = saved(tmp_path / "m.csv", MIXED)
    for source, given, message in (
        (mixed, {"columns": ("hart",)}, "Did you mean 'heart'"),
        (mixed, {"static": ("sex",)}, "say with --by"),
        (mixed, {"by": "patient", "static": ("visits",)}, "changes within the sequence"),
        (mixed, {"time": "drug"}, "must have a number or an ISO date"),
        (mixed, {"resolution": 8}, "for images"),
        ("goog", {"window": 5000}, "shorter --window"),
        ("goog", {"by": "open"}, "names a column of a .csv"),
        ("digits", {"window": 5}, "is for series"),
        (saved(tmp_path / "b.csv", "a,b\n1,2\n3\n"), {}, "line 3"),
        (saved(tmp_path / "c.csv", "a,a\n1,2\n3,4\n"), {}, "a name of its own"),
        (saved(tmp_path / "d.ts", "@data\n1,x:2\n"), {}, "line 2"),
        (saved(tmp_path / "u.ts", "@data\n1,1_0\n"), {}, "line 2: there is an underscore"),
        (saved(tmp_path / "e.ts", "@timestamps true\n@data\n1\n"), {}, "timestamps"),
    ):  # fmt: skip
        with pytest.raises(GanvasError, match=message):
            load_dataset(DataConfig(source, **given))


@pytest.mark.parametrize("heart", ["heart", "series"])
def test_what_ganvas_wrote_can_be_trained_on(tmp_path: Path, heart: str) -> None:
    """A table of drawn series is read as series of their own: the first column says which, whatever the others are called."""
    data = load_dataset(DataConfig(saved(tmp_path / "m.csv", MIXED.replace("heart", heart)), **BY_PATIENT))
    assert data.series is not None
    with (tmp_path / "again.csv").open("w", newline="") as file:
        csv.writer(file).writerows(table(data.series.decode(data.items)))
    again = load_dataset(DataConfig(str(tmp_path / "again.csv"), columns=(heart, "visits")))
    assert again.series is not None
    assert again.series.decode(again.items).lengths.tolist() == [2, 3, 2, 2]


def test_a_table_that_ganvas_writes_holds_no_formulas(tmp_path: Path) -> None:
    """A spreadsheet would compute what a stranger's model calls its columns and categories; and all of them are read again."""
    texts = ["=1+1", "@SUM(A1)", "+cmd|' /C calc'!A0", "-2+3", "'=x", "-", "-5", "'-5", "fine"]
    rows = "".join(f"{i},{text},{2 * i}\n{i},{text},{i * i}\n" for i, text in enumerate(texts))
    first = load_dataset(DataConfig(saved(tmp_path / "m.csv", f"series,=A1,'=n\n{rows}")))
    assert first.series is not None
    written = [*table(first.series.decode(first.items))]
    assert [text for row in written for text in row if text[0] in "=+@-" and text not in ("-", "-5")] == []
    assert written[0][2:] == ["'=A1", "'=n"]  # the second one comes from a file in which it had its mark
    with (tmp_path / "again.csv").open("w", newline="") as file:
        csv.writer(file).writerows(written)
    again = load_dataset(DataConfig(str(tmp_path / "again.csv"), columns=("=A1", "=n")))
    assert again.series is not None
    assert again.series.columns[0].categories == first.series.columns[0].categories
    assert {"=1+1", "-2+3", "-", "-5", "'-5"} <= {*again.series.columns[0].categories}


def test_nor_any_to_a_spreadsheet_that_parts_fields_by_semicolons_or_tabs(tmp_path: Path) -> None:
    """Where decimals have a comma `x;=1+1` was two cells, the second a formula."""
    texts = ["x;=1+1", "y;'=cmd|' /C calc'!A0;z", "z\t=2+2", 'q;"=3;w', "x;''-4", "r\n@SUM(A1)", "a;b", 'e;"']
    with (tmp_path / "m.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["series", "kind;=9+9", "n"])
        writer.writerows(
            [i, text.replace(";'", ";''"), n] for i, text in enumerate(texts) for n in (2 * i, i * i)
        )
    first = load_dataset(DataConfig(str(tmp_path / "m.csv")))
    assert first.series is not None
    pictures.write_table([first.series.decode(first.items)], tmp_path / "again.csv")
    again = load_dataset(DataConfig(str(tmp_path / "again.csv"), columns=("kind;=9+9", "n")))
    assert again.series is not None
    for each in (first, again):
        assert each.series is not None
        assert [column.name for column in each.series.columns] == ["kind;=9+9", "n"]
        assert {*texts} == {*each.series.columns[0].categories}
    for delimiter in ";\t,":
        with (tmp_path / "again.csv").open(newline="") as file:
            cells = [cell.strip('"') for row in csv.reader(file, delimiter=delimiter) for cell in row]
        assert [cell for cell in cells if cell[:1] in tuple("=+@-")] == []
    assert '"x;\'=1+1"' in (tmp_path / "again.csv").read_text(), "one cell to whoever parts by both"


def test_the_marks_before_formulas_go_away_again() -> None:
    random = Random(0)
    for _ in range(20_000):
        text = "".join(random.choices("a5;\t\r\n'\"=+@-.,", k=random.randrange(9)))
        assert series.active(series.inert(text)) == text, repr(text)


@pytest.mark.parametrize(
    ("head", "fields", "found"),
    [
        ("x", ['"1,234"', "950", '"1,300"', "940"], None),
        ("x", ['"1,234"', '"2,345"', '"1,300"', '"9,400"'], None),
        ("x;y", ["1,234;1", "950;2", "1,300;1", "940;2"], None),
        ("x", ['"1,234.5"', "950.25", '"1,300"', "940"], None),
        ("x", ['"1,234,567"', '"1,5"', "3", "940"], None),
        ("x;y", ["1,234;1", "0,950;2", "1,300;1", "9,400;2"], [1.234, 0.95, 1.3, 9.4]),
        ("x;y", ["1,234;1", "5,950;2", "1,300;1", "9,400;2"], [1.234, 5.95, 1.3, 9.4]),
        ("x", ['"1,234"', '"0,5"', "3", '"1,300"'], [1.234, 0.5, 3, 1.3]),
    ],
)
def test_commas_between_thousands_are_no_decimal_ones(
    head: str, fields: list[str], found: list[float] | None, tmp_path: Path
) -> None:
    """1,234 was 1.234 beside 950."""
    source = saved(tmp_path / "m.csv", "\n".join([head, *fields]))
    if found is None:
        with pytest.raises(GanvasError, match="may part thousands"):
            load_dataset(DataConfig(source, window=2))
        return
    values = tables.load(Path(source), DataConfig(source)).sequences[0][:, 0]
    np.testing.assert_allclose(values, found)


@pytest.mark.parametrize(
    ("head", "fields", "found"),
    [
        ("x;y", ["950;0,5", "1.234;1,5", "-2.500;2,25", "10;3"], None),
        ("x", ['"950,5"', "1.234", '"800,25"', "2.500"], None),
        ("x;y", ["950;0,5", "1.234;1,5", "0.25;2,25", "10;3"], [950, 1.234, 0.25, 10]),
        ("x;y", ["950;5", "1.234;15", "2.500;25", "10;3"], [950, 1.234, 2.5, 10]),
        ("x", ["950", "1.234", "2.500", "10"], [950, 1.234, 2.5, 10]),
    ],
)
def test_points_between_thousands_are_no_decimal_ones(
    head: str, fields: list[str], found: list[float] | None, tmp_path: Path
) -> None:
    """Where decimals have a comma, 1.234 was 1.234 beside 950."""
    test_commas_between_thousands_are_no_decimal_ones(head, fields, found, tmp_path)


@pytest.mark.parametrize("head", ["Tag;Wind, m/s;Druck, bar", ""])
def test_semicolons_part_fields_whose_decimals_have_commas(head: str, tmp_path: Path) -> None:
    """With as many commas as semicolons in the line of names, or with no such line, `21,5;3` was parted into 21 and `5;3`."""
    wanted = [[1, 21.5, 0.25], [2, 20.75, 0.5], [3, 19.5, 0.75]]
    rows = [";".join(f"{value:.2f}".replace(".", ",") for value in row) for row in wanted]
    found = tables.load(
        source := Path(saved(tmp_path / "m.csv", "\n".join([head, *rows]))), DataConfig(str(source))
    )
    assert len(found.columns) == 3
    np.testing.assert_allclose(found.sequences[0], wanted)


@pytest.mark.parametrize(
    "text",
    ["a;b,c\n1,2\n3,4\n", '"a;b",c\n"1;2",2\n"3;4",4\n', "a,b,t\n1,2,x;y\n3,4,z\n", "a,b\r1,x;y;z\r3,;;;\r"],
)
def test_semicolons_in_texts_part_no_fields(text: str, tmp_path: Path) -> None:
    found = tables.load(source := Path(saved(tmp_path / "m.csv", text)), DataConfig(str(source)))
    assert len(found.columns) == text.splitlines()[0].count(",") + 1


def mutated(values: dict[str, Any], random: Random) -> dict[str, Any]:
    """A schema with a few settings of its columns, static columns and frames replaced by odd ones, or one of them gone."""
    found = json.loads(json.dumps(values))
    numbers, texts = (
        [0, -1, 2, -7, 1e12, 9e17, 700, -699, 1e308],
        ["", "heart", "drug", "sex", "age", "D", "date", "category"],
    )
    for _ in range(random.randint(1, 4)):
        part = random.choice(["columns", "columns", "static", "frames"])
        if not found[part] or random.random() < 0.1:
            found["frames"].append({"low": 0.0, "high": 1.0, "least": 0.0, "most": 1.0})
            continue
        one = random.choice(found[part])
        name, old = random.choice(list(one.items()))
        new: Any = random.choice(texts)
        if isinstance(old, bool):
            new = not old
        elif name == "frame":
            new = random.choice([-7, -1, 0, 1])
        elif isinstance(old, int | float):
            new = random.choice(numbers)
        elif isinstance(old, list):
            new = random.choices(texts, k=random.randint(0, 3))
        one[name] = new
    return found


def test_with_any_schema_that_is_read_series_are_written_and_read(tmp_path: Path) -> None:
    """Whoever forges a header gets a sentence or series, and no error of a library."""
    schema = load_dataset(DataConfig(saved(tmp_path / "m.csv", MIXED), **BY_PATIENT)).series
    assert schema is not None
    plain, taken = to_dict(schema), 0
    for seed in range(400):
        values = mutated(plain, Random(seed))
        try:
            shape = from_dict(Schema, values, "series").shape
            found = read_schema(values, shape)
        except GanvasError:
            continue
        taken += 1
        samples = torch.rand(3, *shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1
        series = found.decode(samples)
        assert len(list(table(series))) > 3
        again = found.encode(series.values, series.lengths, series.static if found.static else None)
        assert again.shape == found.seen(samples, torch.ones(1, *shape)).shape == samples.shape
        assert pictures.lines(samples, found).isfinite().all()
    assert taken > 40


def test_what_the_file_of_a_model_could_not_say_again_is_not_trained_on(tmp_path: Path) -> None:
    """The last day that databases know can be; numbers beyond float32, and names that fill a header, are refused at once."""
    rows = [f"{i},{'9999-12-31T00:00:00' if i % 3 else '2020-01-01T10:30:00'}" for i in range(60)]
    schema = load_dataset(saved(tmp_path / "far.csv", "\n".join(["x,until", *rows]))).series
    assert schema is not None
    assert schema.columns[1].kind == "date"
    assert read_schema(to_dict(schema), schema.shape) == schema
    rows = [f"{i}e300,{i % 5}" for i in range(1, 60)]
    with pytest.raises(GanvasError, match="Column 'x' of large holds numbers of 1e\\+18 and more"):
        load_dataset(saved(tmp_path / "large.csv", "\n".join(["x,y", *rows])))
    np.save(tmp_path / "denormal.npy", np.random.default_rng(0).normal(size=(20, 6, 2)) * 5e-324)
    with pytest.raises(GanvasError, match="Column '0' of denormal holds numbers below 1e-100 alone"):
        load_dataset(str(tmp_path / "denormal.npy"))
    series, static = np.random.default_rng(0).normal(size=(20, 6, 1)), np.full((20, 1), 5e-324)
    static[3:] = 0
    np.savez(tmp_path / "static.npz", series=series, static=static)
    with pytest.raises(GanvasError, match="of static holds numbers below 1e-100 alone"):
        load_dataset(str(tmp_path / "static.npz"))
    np.savez(tmp_path / "complex.npz", series=series, static=np.ones((20, 1), complex))
    with pytest.raises(GanvasError, match="static values are complex128; expected numbers"):
        load_dataset(str(tmp_path / "complex.npz"))
    wide = np.random.default_rng(0).random((60, 2))
    np.savez(tmp_path / "a.npz", series=wide[None], columns=np.array(["a", "b" * 1001]))
    np.savez(tmp_path / "half.npz", series=wide[None], columns=np.array(["a", "b\udcff"]))
    for source, message in (
        (tmp_path / "a.npz", r"columns in .* has room for 1,001 letters"),
        (tmp_path / "half.npz", r"the name 'b\\udcff' has half a character"),
        (
            saved(tmp_path / "b.csv", f"a,{'b' * 1001}\n1,2\n3,4\n"),
            "names of columns have up to 1,001 letters",
        ),
    ):
        with pytest.raises(GanvasError, match=message):
            load_dataset(DataConfig(str(source), window=5))
    with pytest.raises(GanvasError, match="take 7 MiB"):
        check_names([f"{i:0999}" for i in range(7000)], "names")


def test_wide_windows_of_one_series_lie_in_memory_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of 600 rows of 64 columns of 256 categories lay there 24 times, a gigabyte, and three while they were read."""
    text = "a,b\n" + "".join(f"x{i % 7},y{i % 5}\n" for i in range(60))
    path = saved(tmp_path / "kinds.csv", text)
    usual = load_dataset(path)
    monkeypatch.setattr(of_series, "WIDE", 0)
    monkeypatch.setattr(of_series, "NUMBERS", 100)  # some rows at a time
    once = load_dataset(path)
    assert isinstance(once.items, torch.Tensor)
    assert torch.equal(once.items, usual.items)
    assert (once.fingerprint, once.notes, once.shape) == (usual.fingerprint, usual.notes, (12, 24))
    assert once.items.untyped_storage().nbytes() == 4 * 12 * 60
    # What is scaled by its window is another number in each.
    found = load_dataset(
        saved(tmp_path / "levels.csv", "v\n" + "".join(f"{100 + i * i}\n" for i in range(60)))
    )
    assert found.series is not None
    assert found.series.frames
    assert isinstance(found.items, torch.Tensor)
    assert found.items.is_contiguous()


def test_tables_take_no_more_memory_than_they_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a few bytes stand for is counted before it is there: a dimension that is filled up, a category's channels, windows."""
    monkeypatch.setattr(limits, "ALWAYS", 2**20)
    monkeypatch.setenv("GANVAS_RESIDENT_MB", "2")
    case = ":".join([",".join(["1"] * 2000)] * 7 + ["1"] * 93)
    long = ",".join(["1"] * 2000) + ":1" * 100
    names = ",".join(f"c{i}" for i in range(40))
    kinds = "\n".join(",".join(f"k{(7 * i + j) % 97}" for j in range(40)) for i in range(40))
    for name, text, given, message in (
        ("a.ts", f"@data\n{case}\n{case}\n", {}, "a.ts up to line 3 holds 3 MB"),
        ("aa.ts", f"@data\n{long}\n", {}, "line 2: dimensions of 1 to 2,000 steps; filled up"),
        ("many.ts", "@data\n" + "1,2\n" * 5000, {}, "many.ts up to line [0-9,]+ holds 2 MB"),
        ("many.csv", "v,i\n" + "".join(f"{i % 7},{i // 2}\n" for i in range(7000)), {"by": "i"}, "of 3,500 series holds"),
        ("b.ts", f"@data\n{'1:' * 2000}1\n", {}, "1,026 dimensions"),
        ("c.ts", f"@data\n{'1,' * 70_000}1\n", {}, "70,001 steps"),
        ("d.csv", f"{names}\n{kinds}\n", {}, "cut into 17 windows"),
        ("e.csv", "a\n" + "1\n" * 100_000, {}, "e.csv of 100,000 rows holds 2 MB"),
        ("g.csv", "a,b\n" + "".join(f"{i},{'x' * 1001}{i % 9}\n" for i in range(50)), {"by": "b"}, "up to 1,002 letters"),
        ("h.csv", "a,b\n" + "1,2\n" * 50, {"columns": ("a", "a")}, "names a column twice"),
        ("i.csv", "a,b\n" + "1,2\n" * 50, {"columns": ("",)}, "no column ''"),
    ):  # fmt: skip
        with pytest.raises(GanvasError, match=message):
            load_dataset(DataConfig(saved(tmp_path / name, text), **given))
    np.savez_compressed(tmp_path / "many.npz", series=np.zeros((5000, 2, 1), dtype="f2"))  # 0.4 kB
    with pytest.raises(GanvasError, match="computed with in float64, holds 3 MB"):
        load_dataset(str(tmp_path / "many.npz"))
    monkeypatch.setenv("GANVAS_RESIDENT_MB", "500")
    with pytest.raises(GanvasError, match="line 2 has more than 4,194,304 letters"):
        load_dataset(saved(tmp_path / "f.csv", "a,b\n" + "," * (2**22 + 1)))
    for source in ("regimes", "sines"):
        with pytest.raises(GanvasError, match="60,000 steps holds"):
            load_dataset(DataConfig(source, window=60_000))
    held = load_dataset(
        saved(tmp_path / "j.csv", "a,b\n" + "".join(f"{i % 7},{'x' * 1001}{i % 9}\n" for i in range(50)))
    )
    assert held.series is not None
    assert [column.name for column in held.series.columns] == ["a"], "texts that are long are no categories"


def test_a_thousand_columns_are_held_against_each_other_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a million pairs, one after another, took two minutes of a table of 4 MB."""
    random = np.random.default_rng(0)
    rows = random.normal(size=(30, 50)) + random.normal(size=(1, 50))
    rows[3] = rows[2] * 2 + 1
    rows[random.random(rows.shape) < 0.1] = np.nan
    rows[5], rows[6, 2:] = 4.0, np.nan
    found = series._correlations(lambda: np.split(rows, 2, 1), 30)  # in two blocks
    for i in range(30):
        for k in range(30):
            np.testing.assert_allclose(found[i, k], series._correlation(rows[i], rows[k]), atol=1e-9)
    asked: list[None] = []
    monkeypatch.setattr(series, "_correlation", lambda a, b: asked.append(None) or 0.0)
    walk = np.cumsum(random.normal(size=(80, 1)), 0) + 100 + 0.01 * random.random((80, 70))
    schema = series.fit([series.Column(str(i)) for i in range(70)], walk[None], np.array([80]))
    assert len(asked) <= 2 * 70
    assert not any(column.above for column in schema.columns), (
        "an order of more columns than 64 is not looked for"
    )


def as_parquet(path: Path, text: str, **types: Any) -> str:
    """The table of a .csv as a Parquet file, its columns of their own types."""
    head, *rows = csv.reader(text.splitlines())
    columns = {}
    for name, values in zip(head, zip(*rows, strict=True), strict=True):
        typed = pyarrow.array([value or None for value in values])
        columns[name] = typed.cast(types.get(name, pyarrow.string()))
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    return str(path)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("named", ["series", "number of series"])
def test_the_column_of_series_is_one_of_names_wherever_it_comes_from(
    tmp_path: Path, kind: str, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It became the one that tells series apart when its numbers had been read: a traceback, and not counted as names are."""
    text = f"{named},a,k\n" + "".join(f"{i // 12},{i},{i % 2}\n" for i in range(2400))

    def table() -> str:
        return saved(tmp_path / "t.csv", text) if kind == "csv" else as_parquet(tmp_path / "t.parquet", text)

    assert len(load_dataset(DataConfig(table())).items) == 200
    for asked in ({"label": "k"}, {"static": ("k",)}):
        with pytest.raises(GanvasError, match="'k' changes within the sequence '0'"):
            load_dataset(DataConfig(table(), **asked))  # type: ignore[arg-type]
    monkeypatch.setattr(limits, "ALWAYS", 0)
    monkeypatch.setattr(limits, "memory_limit", lambda: 300_000)
    with pytest.raises(
        GanvasError, match="2,400 rows"
    ):  # two columns of numbers, and 200 bytes for each name
        load_dataset(DataConfig(table()))


def test_many_series_are_counted_before_they_are_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "series,a\n" + "".join(f"{i // 2},{i}\n" for i in range(1000))
    path = saved(tmp_path / "t.csv", text)
    monkeypatch.setattr(limits, "ALWAYS", 0)
    monkeypatch.setattr(limits, "memory_limit", lambda: 290_000)
    monkeypatch.setattr(np, "split", lambda *given: pytest.fail("made"))
    with pytest.raises(GanvasError, match="500 series"):
        load_dataset(DataConfig(path))


def test_a_parquet_file_is_the_table_that_a_csv_is(tmp_path: Path) -> None:
    """Numbers, dates and texts by their types; texts that spell numbers or dates are those, as in a .csv."""
    csv_data = load_dataset(DataConfig(saved(tmp_path / "m.csv", MIXED), **BY_PATIENT))
    typed = {
        "day": pyarrow.date32(),
        "heart": pyarrow.float32(),
        "visits": pyarrow.int8(),
        "age": pyarrow.decimal128(4, 1),
    }
    coded = {"drug": pyarrow.dictionary(pyarrow.int8(), pyarrow.string()), "day": pyarrow.timestamp("ns")}
    for types in ({}, typed, coded):
        data = load_dataset(DataConfig(as_parquet(tmp_path / "m.parquet", MIXED, **types), **BY_PATIENT))
        assert data.series == csv_data.series
        assert torch.equal(data.items, csv_data.items)
        assert torch.equal(data.take_labels(), csv_data.take_labels())
    with pytest.raises(GanvasError, match=r"'x' holds numbers like '1,234', whose commas may part thousands"):
        load_dataset(DataConfig(as_parquet(tmp_path / "t.parquet", 'x\n5\n"1,234"\n')))
    with pytest.raises(GanvasError, match=r"'x' holds numbers like '1.234', whose points may part thousands"):
        load_dataset(DataConfig(as_parquet(tmp_path / "p.parquet", 'x,y\n950,"0,5"\n1.234,"1,5"\n')))
    by_age = {"by": "age", "label": "outcome"}
    data = load_dataset(DataConfig(str(tmp_path / "m.parquet"), **by_age))
    assert data.class_names == ("ill", "well")


def test_texts_that_a_newer_library_writes_as_views_are_texts(tmp_path: Path) -> None:
    texts = pyarrow.array(["a", "b"] * 20)
    for name, column in (("plain", texts), ("views", texts.cast(pyarrow.string_view()))):
        pyarrow.parquet.write_table(pyarrow.table({"k": column}), tmp_path / f"{name}.parquet")
    plain, views = (
        load_dataset(DataConfig(str(tmp_path / f"{n}.parquet"), window=5)) for n in ("plain", "views")
    )
    assert views.fingerprint == plain.fingerprint


def test_what_a_table_cannot_hold_is_left_out_of_a_parquet_file_unless_it_is_asked_for(
    tmp_path: Path,
) -> None:
    path = tmp_path / "n.parquet"
    times = np.arange("2024-01-01T10", "2024-01-03T10", dtype="M8[h]").astype("M8[ms]")
    table = {
        "when": times,
        "x": np.arange(48.0),
        "ok": np.arange(48) % 3 == 0,
        "many": [[i] for i in range(48)],
    }
    pyarrow.parquet.write_table(pyarrow.table(table), path, row_group_size=7)
    data = load_dataset(DataConfig(str(path), window=5))
    assert data.series is not None
    assert (data.series.time, data.series.unit, data.series.step) == ("when", "s", 3600.0)
    assert [(c.name, c.kind, c.categories) for c in data.series.columns] == [
        ("x", "number", ()), ("ok", "category", ("False", "True")),
    ]  # fmt: skip
    assert "Left out: many holds neither numbers, dates nor texts." in data.notes
    for given, said in (
        ({"columns": ("x", "many")}, "'many' holds list<"),
        ({"columns": ("y",)}, "no column 'y'"),
    ):
        with pytest.raises(GanvasError, match=said):
            load_dataset(DataConfig(str(path), window=5, **given))


def test_parquet_files_are_bounded_by_what_their_footers_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten million equal rows are 1 MB on the disk; broken files end in a sentence."""
    path, rows = tmp_path / "bomb.parquet", 10**7
    same = pyarrow.DictionaryArray.from_arrays(pyarrow.array(np.zeros(rows, dtype=np.int8)), ["x" * 1000])
    pyarrow.parquet.write_table(pyarrow.table({"x": same}), path)
    assert path.stat().st_size < 2**21
    monkeypatch.setenv("GANVAS_RESIDENT_MB", "300")
    with pytest.raises(GanvasError, match="of 10,000,000 rows holds 2,240 MB"):
        load_dataset(DataConfig(str(path)))
    wide = pyarrow.table({f"c{i}": [1.0, 2.0] for i in range(1025)})
    pyarrow.parquet.write_table(wide, tmp_path / "wide.parquet")
    whole = as_parquet(tmp_path / "whole.parquet", "a,b\n1,2\n3,inf\n", b=pyarrow.float64())
    content = Path(whole).read_bytes()
    (tmp_path / "cut.parquet").write_bytes(content[:-1])
    (tmp_path / "middle.parquet").write_bytes(content[:40] + content[60:])
    (tmp_path / "foot.parquet").write_bytes(content[:-8] + (2**31).to_bytes(4, "little") + b"PAR1")
    for name, said in (
        ("wide", "1,025 columns"), ("whole", "'b' holds infinity"), ("cut", "its end is missing"), ("foot", "its end is missing"),
        ("middle", "cannot be read as .parquet"),
    ):  # fmt: skip
        with pytest.raises(GanvasError, match=said):
            load_dataset(DataConfig(str(tmp_path / f"{name}.parquet")))


def test_bytes_tell_no_sequences_in_a_parquet_file(tmp_path: Path) -> None:
    """Taken for texts they were unfolded: one of 80,000 in 16,384 rows, a file of 651 bytes, took 2.2 GB."""
    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"series": [b"x"] * 60, "b": np.arange(60.0)}), path)
    with pytest.raises(GanvasError, match="'series' holds binary; numbers, dates and texts are read"):
        load_dataset(DataConfig(str(path), window=24))


def test_decimals_of_any_length_in_a_parquet_file_are_no_numbers(tmp_path: Path) -> None:
    """Of a kind that Parquet has and pyarrow does not write: the footer of a column of bytes is changed to say so."""
    path = tmp_path / "a.parquet"
    table = pyarrow.table({"price1": pyarrow.array([b"x"] * 60, pyarrow.binary()), "b": np.arange(60.0)})
    pyarrow.parquet.write_table(table, path, store_schema=False)
    content = path.read_bytes()
    length = int.from_bytes(content[-8:-4], "little")
    footer, column = content[-8 - length : -8], b"\x18\x06price1"
    assert footer.count(column + b"\x00") == 1
    footer = footer.replace(column + b"\x00", column + b"\x25\x0a\x15\x00\x15\x12\x00")
    path.write_bytes(content[: -8 - length] + footer + len(footer).to_bytes(4, "little") + b"PAR1")
    assert "decimal128(9, 0)" in str(pyarrow.parquet.read_schema(path))
    with pytest.raises(GanvasError, match="'price1' holds decimal"):
        load_dataset(DataConfig(str(path), window=24, columns=("price1", "b")))


def test_a_parquet_file_of_less_than_no_rows_is_refused(tmp_path: Path) -> None:
    """Its footer holds numbers in zigzag, in whose first byte the last bit is the sign."""
    path = Path(as_parquet(tmp_path / "x.parquet", "a\n" + "1\n" * 40, a=pyarrow.float64()))
    content, said = path.read_bytes(), set()
    for at in range(len(content) - 8 - int.from_bytes(content[-8:-4], "little"), len(content) - 8):
        path.write_bytes(bytes([*content[:at], content[at] ^ 1, *content[at + 1 :]]))
        try:
            load_dataset(DataConfig(str(path), window=5))
        except GanvasError as error:
            said.add(str(error)[len(str(path)) :])
    assert " is damaged: its footer says -41 rows." in said


def test_a_field_that_nothing_ends_is_refused(tmp_path: Path) -> None:
    """It would swallow all rows behind it, and make its column one of texts, which is left out."""
    rows = [f"{i},{i * 0.5}" for i in range(600)]
    good = saved(tmp_path / "good.csv", "\n".join(["a,b", *rows]))
    assert (
        load_dataset(good).shape
        == load_dataset(saved(tmp_path / "end.csv", "\n".join(["a,b", *rows, ""]))).shape
    )
    rows[300] = '300,"150'
    with pytest.raises(GanvasError, match='line 302: a field begins with " and nothing ends it'):
        load_dataset(saved(tmp_path / "bad.csv", "\n".join(["a,b", *rows])))
    rows[300] = '300,"150"'
    assert len(load_dataset(saved(tmp_path / "quoted.csv", "\n".join(["a,b", *rows])))) == len(
        load_dataset(good)
    )


def test_a_table_without_names_says_so(tmp_path: Path) -> None:
    """Its first line may be one of names that are years."""
    rows = "\n".join(f"{i % 7},{i % 5}" for i in range(60))
    for head, said in (("2019,2020", True), ("a,2020", False)):
        notes = load_dataset(saved(tmp_path / "x.csv", f"{head}\n{rows}")).notes
        assert any("no line of names" in note for note in notes) == said


def test_without_pyarrow_a_sentence_says_what_to_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    with pytest.raises(GanvasError, match=r"pyarrow, which is not installed\. Install it: .* -m pip install"):
        load_dataset(DataConfig(str(tmp_path / "a.parquet")))


def test_a_parquet_file_with_a_wrong_byte_is_read_or_refused(tmp_path: Path) -> None:
    """Each byte of its pages in turn: some make rows of entries that their dictionary lacks."""
    path = as_parquet(tmp_path / "x.parquet", "t\n" + "a\nb\n" * 8, t=pyarrow.string())
    pyarrow.parquet.write_table(pyarrow.parquet.read_table(path), path, compression="none")
    content, said = Path(path).read_bytes(), set()
    for i in range(4, len(content) - 8 - int.from_bytes(content[-8:-4], "little")):
        Path(path).write_bytes(bytes([*content[:i], content[i] ^ 6, *content[i + 1 :]]))
        try:
            load_dataset(DataConfig(path, window=4))
        except GanvasError as error:
            said.add(str(error)[len(path) :][:100])
    assert any("out of bounds" in each for each in said), said


def windows_of(path: Path, model: Schema | None = None, **changes: Any) -> Any:
    return load_dataset(DataConfig(str(path), window=5, **changes), schema=model)


def test_booleans_are_the_same_categories_in_every_file(tmp_path: Path) -> None:
    """pandas writes True into a .csv and a boolean into a .parquet, other programs true: a model of one knows the others."""
    told = ["True", "False", "False", ""] * 10
    for name, texts in (("capital", told), ("small", [each.lower() for each in told])):
        (tmp_path / f"{name}.csv").write_text(
            "on,x\n" + "\n".join(f"{t},{i}" for i, t in enumerate(texts)), encoding="utf-8"
        )
    column = pyarrow.array([{"True": True, "False": False, "": None}[each] for each in told])
    pyarrow.parquet.write_table(
        pyarrow.table({"on": column, "x": list(range(40))}), tmp_path / "typed.parquet"
    )
    capital, typed = windows_of(tmp_path / "capital.csv"), windows_of(tmp_path / "typed.parquet")
    assert typed.series.columns[0].categories == ("", "False", "True")
    assert typed.fingerprint == capital.fingerprint
    for model in (capital.series, windows_of(tmp_path / "small.csv").series):
        for each in ("capital.csv", "small.csv", "typed.parquet"):
            assert torch.equal(windows_of(tmp_path / each, model).items, capital.items)


def test_a_table_with_the_newest_row_first_is_turned_round(tmp_path: Path) -> None:
    """It ran backwards, and its dates were drawn as a column."""
    rows = [f"2020-{1 + i // 28:02}-{1 + i % 28:02},{i % 7},{'ab'[i % 2]}" for i in range(120)]
    for name, each in (("up", rows), ("down", rows[::-1])):
        (tmp_path / f"{name}.csv").write_text("\n".join(["date,price,who", *each]))
    up, down = (
        load_dataset(DataConfig(str(tmp_path / f"{name}.csv"), columns=("price",))) for name in ("up", "down")
    )
    assert torch.equal(up.items, down.items)  # type: ignore[arg-type]
    assert up.series == down.series
    assert down.series is not None
    assert down.series.time == "date"
    assert "The rows were sorted by date." in down.notes
    each = load_dataset(DataConfig(str(tmp_path / "down.csv"), by="who", window=5))
    assert each.series is not None
    assert each.series.time == "date"


def test_rows_of_several_series_at_once_are_asked_about(tmp_path: Path) -> None:
    rows = [f"2020-{1 + i // 28:02}-{1 + i % 28:02},{who},{i % 7}" for i in range(60) for who in "ab"]
    path = saved(tmp_path / "t.csv", "\n".join(["day,share,x", *rows]))
    for by in ("", "share"):
        said = load_dataset(DataConfig(path, window=8, by=by)).notes
        assert any("Name it with --by" in note for note in said) == (not by)


def test_dates_that_hardly_change_are_not_the_time_of_steps(tmp_path: Path) -> None:
    """The day of birth stood before that of the visit and was taken for the time; visits were drawn, all on one day."""
    visits = [(who, day) for who in (3, 1, 2) for day in range(1, 13)]
    rows = [f"{who},19{60 + who}-05-01,2020-01-{day:02},{who * day % 7}" for who, day in visits]
    born = load_dataset(DataConfig(saved(tmp_path / "b.csv", "\n".join(["who,born,day,x", *rows])), by="who"))
    rows = [f"2020-{1 + i // 28:02}-01,2020-{1 + i // 28:02}-{1 + i % 28:02},{i % 7}" for i in range(120)]
    month = load_dataset(DataConfig(saved(tmp_path / "m.csv", "\n".join(["month,day,x", *rows]))))
    for data, other in ((born, "born"), (month, "month")):
        assert data.series is not None
        assert (data.series.time, data.series.step) == ("day", 1.0)
        assert [column.name for column in data.series.columns] == [other, "x"]


def test_numbers_of_time_keep_their_steps() -> None:
    """Milliseconds from 1970, ten a second, were all the same."""
    for start, step, last in (
        (1.7e12, 100.0, "1700000000400"),
        (0.1, 0.1, "0.5"),
        (0.0, 1.0, "4"),
        (5.0, 0.0, "5"),
    ):
        schema = Schema(5, (series.Column("x"),), time="t", start=start, step=step)
        found = series.Series(np.zeros((1, 5, 1)), np.array([5]), np.zeros((1, 0)), schema)
        assert [row[1] for row in table(found)][-1] == last


def test_one_long_name_of_a_class_takes_no_room_in_every_row() -> None:
    names = ["a"] * 200_000 + ["b" * 900]
    tracemalloc.start()
    found, classes, _ = number(names, "here")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 10e6, "700 MB"
    assert classes == ("a", "b" * 900)
    assert found.sum() == found[-1] == 1
    with pytest.raises(GanvasError, match="here: the names of classes have up to 60,000 letters"):
        number([*names, "c" * 60_000], "here")


def test_series_take_no_more_memory_than_they_are_counted_for(tmp_path: Path) -> None:
    """A column with frames took 85 bytes a number, where 48 were counted: 100,000 series of 1,000 steps 8.5 GB, not 4.8."""
    walks = np.random.default_rng(0).normal(size=(3000, 1000, 1)).cumsum(1)
    made = Table("walks", [series.Column("x")], list(walks))
    tracemalloc.start()
    found = make(made, DataConfig("walks"))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.shape == (3, 1000)
    assert most < (BYTES + BYTES_EACH) * walks.size


def test_dates_are_counted_in_the_unit_of_the_model(tmp_path: Path) -> None:
    """In seconds instead of days they would be 86,400 times as large; a date is no number of anything else."""
    days = [f"2024-01-{1 + i * 7 % 28:02}" for i in range(40)]
    saved(tmp_path / "days.csv", "due,x\n" + "\n".join(f"{day},{i}" for i, day in enumerate(days)))
    saved(tmp_path / "hours.csv", "due,x\n" + "\n".join(f"{day}T12:00:00,{i}" for i, day in enumerate(days)))
    saved(tmp_path / "numbers.csv", "due,x\n" + "\n".join(f"{i % 7},{i}" for i in range(40)))
    coarse, fine = (windows_of(tmp_path / f"{name}.csv") for name in ("days", "hours"))
    assert [each.series.columns[0].unit for each in (coarse, fine)] == ["D", "s"]
    for model, name, shift in ((coarse.series, "hours.csv", 0.5), (fine.series, "days.csv", -43_200.0)):
        own = windows_of(tmp_path / ("days.csv" if shift == 0.5 else "hours.csv"), model)
        other = windows_of(tmp_path / name, model)
        moved = model.decode(other.items).values[:, :, 0] - model.decode(own.items).values[:, :, 0]
        assert np.abs(moved - shift).max() <= (0.5 if shift == 0.5 else 200)
    with pytest.raises(GanvasError, match="of another kind than in the model: date instead of number"):
        windows_of(tmp_path / "days.csv", windows_of(tmp_path / "numbers.csv").series)


@pytest.mark.parametrize(
    ("names", "gone"),
    [
        ("1 2 3 K", "K"), ("01 02 03 AB", "AB"), ("10 20 x", "x"), ("0 1 2 X", "X"), ("2024-01-01 2024-01-02 never", "never"),
        ("0.5 1.5 half", "half"), ("1 2 ? K", "K"), ("NA a b", "a b"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_categories_that_are_numbers_are_names_where_the_others_are_missing(
    names: str, gone: str, suffix: str, tmp_path: Path
) -> None:
    """Where no cell held a letter they were taken for places: grades 1, 2 and 3 of a model of 1, 2, 3, K became 2, 3 and K."""
    told = [each for i in range(40) for each in [names.split()[i * i % len(names.split())]]] + names.split()
    left = [each for each in told if each not in gone.split()]
    assert left

    def saved_as(name: str, texts: list[str]) -> Path:
        text = saved(
            tmp_path / f"{name}.csv", "x,grade\n" + "\n".join(f"{i},{t}" for i, t in enumerate(texts))
        )
        if suffix == ".csv":
            return Path(text)
        values: list[Any] = [None if each in ("NA", "?") else each for each in texts]
        if not any(values):  # a column of nothing is left out
            return Path(text)
        if all(each is None or each.isdecimal() for each in values) and not any(
            each and each.startswith("0") for each in values
        ):
            values = [None if each is None else int(each) for each in values]  # as pandas would have them
        pyarrow.parquet.write_table(
            pyarrow.table({"x": list(range(len(texts))), "grade": pyarrow.array(values)}),
            tmp_path / f"{name}.parquet",
        )
        return tmp_path / f"{name}.parquet"

    model = windows_of(saved_as("all", told))
    schema = model.series
    some = saved_as("some", left)
    found = windows_of(some, schema)
    grades = schema.columns[1].categories
    again = [grades[int(row)] for row in schema.decode(found.items).values[:, 0, 1]]
    missing = next((each for each in grades if each.lower() in MISSING), "")
    expected = [missing if each in ("NA", "?") else each for each in left]
    assert again == expected[: len(again)]
    if names.startswith(("1", "0 ", "01", "2")):  # halves are not exact in the scale of their own
        assert torch.equal(of_series.scaled_as(windows_of(some), schema).items, found.items)  # type: ignore[arg-type]
    assert not any("numbers of categories" in note for note in found.notes)


def test_numbers_that_are_no_category_are_refused_and_places_of_arrays_taken(tmp_path: Path) -> None:
    rows = [f"{i},{['1', '2', '3', 'K'][i % 4]}" for i in range(40)]
    schema = windows_of(Path(saved(tmp_path / "all.csv", "x,grade\n" + "\n".join(rows)))).series
    for texts, what in (("1 2 4", "4"), ("0 1 2", "0"), ("1 2 NA", "nothing")):
        rows = [f"{i},{texts.split()[i % 3]}" for i in range(40)]
        path = Path(saved(tmp_path / "other.csv", "x,grade\n" + "\n".join(rows)))
        with pytest.raises(
            GanvasError, match=f"'grade' holds {what}, which the model does not know: 1, 2, 3, K"
        ):
            windows_of(path, schema)
    places = np.stack([np.arange(40.0), np.arange(40) % 3], 1)
    np.save(tmp_path / "places.npy", places)
    found = windows_of(tmp_path / "places.npy", schema)
    assert "grade holds numbers of categories: 0 is 1, 1 is 2, 2 is 3, 3 is K." in found.notes
    assert np.array_equal(schema.decode(found.items).values[:, 0, 1], places[: len(found), 1])


@pytest.mark.parametrize("order", ["swapped", "shuffled", "other"])
def test_a_table_beside_others_has_their_column_of_time(order: str, tmp_path: Path) -> None:
    """Guessed again it was another one, or none: rows that were out of order stood so, and copies were called none."""
    days = [f"2020-{1 + i // 28:02}-{1 + i % 28:02}" for i in range(120)]
    shift = [f"2021-01-{1 + i * i % 28:02}" for i in range(120)]
    rows = [f"{day},{other},{i}" for i, (day, other) in enumerate(zip(days, shift, strict=True))]
    real = windows_of(Path(saved(tmp_path / "real.csv", "\n".join(["date,due,x", *rows]))))
    assert real.series.time == "date"
    assert [column.name for column in real.series.columns] == ["due", "x"]
    if order == "other":  # the dates that are drawn rise as well, at as many rows
        rows = [f"{day},{day},{i}" for i, day in enumerate(days)]
    sorted_rows = list(rows)
    if order == "swapped":
        rows[3], rows[4] = rows[4], rows[3]
    elif order == "shuffled":
        rows = [rows[i] for i in np.random.default_rng(0).permutation(120)]
    path, right = (
        Path(saved(tmp_path / f"{name}.csv", "\n".join(["date,due,x", *those])))
        for name, those in (("given", rows), ("right", sorted_rows))
    )
    found = windows_of(path, real.series)
    assert torch.equal(found.items, windows_of(right, real.series).items)
    alone = load_dataset(DataConfig(str(path), window=5))
    assert torch.equal(given_as(path, alone, real).items[:, :, :5], found.items[: len(alone)])
    lost = [*rows[:-1], "," + rows[-1].partition(",")[2]]
    with pytest.raises(
        GanvasError, match="the column of time 'date' must have a number or an ISO date in every row"
    ):
        windows_of(Path(saved(tmp_path / "lost.csv", "\n".join(["date,due,x", *lost]))), real.series)


def test_samples_of_another_table_are_series_by_the_same_column(tmp_path: Path) -> None:
    """`audit --against` cut windows across the ends of sequences, where `--held-out` had these."""
    rows = [f"{i // 8},{i * i % 7},{i}" for i in range(160)]
    path = saved(tmp_path / "t.csv", "\n".join(["id,a,b", *rows]))
    config = DataConfig(path, by="id")
    real = load_dataset(config)
    other = saved(tmp_path / "other.csv", Path(path).read_text())
    found = given_as(other, load_dataset(other), real, known=config)
    assert len(found) == len(real) == 20
    assert torch.equal(found.items, real.items)  # type: ignore[arg-type]


def test_columns_of_other_names_that_are_taken_in_their_order_are_said(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(40, 2))
    text = "\n".join(f"{a},{b}" for a, b in rows)
    model = windows_of(Path(saved(tmp_path / "a.csv", f"low,high\n{text}"))).series
    other = windows_of(Path(saved(tmp_path / "b.csv", f"hoch,tief\n{text}")), model)
    assert any("taken in their order: hoch as low, tief as high" in note for note in other.notes)
    np.save(tmp_path / "c.npy", rows[None])
    plain = load_dataset(DataConfig(str(tmp_path / "c.npy"), window=5), schema=model)
    assert not any("in their order" in note for note in plain.notes)


@pytest.mark.parametrize(
    ("head", "line", "why"),
    [
        ("@univariate true\n@classLabel true a b", "1,2,3", "class '1,2,3', which @classLabel does not name"),
        ("@univariate true\n@classLabel false", "1,2,3:a", "2 dimensions, and its header says 1"),
        ("@dimensions 3\n@classLabel true a b", "1,2,3:1,2,3:a", "2 dimensions, and its header says 3"),
    ],
)
def test_a_ts_whose_header_is_of_another_file_is_refused(
    head: str, line: str, why: str, tmp_path: Path
) -> None:
    """A class that is missing or not expected would be numbers, or numbers a class."""
    path = saved(tmp_path / "x.ts", f"{head}\n@data\n{line}\n{line}\n")
    with pytest.raises(GanvasError, match=why):
        load_dataset(DataConfig(path))


def test_tables_and_arrays_keep_the_digits_of_columns_far_from_zero(tmp_path: Path) -> None:
    """Seven digits of seconds since 1970 are one number."""
    values = np.random.default_rng(0).normal(size=(40, 8, 2))
    values[:, :, 1] = 1.7e9 + 50 * values[:, :, 1]
    np.save(tmp_path / "far.npy", values)
    data = load_dataset(str(tmp_path / "far.npy"))
    assert data.series is not None
    drawn = data.series.decode(data.take(torch.arange(40))[0])
    assert np.abs(drawn.values - values).max() < 1e-3
    for name in ("far.csv", "again.npy"):
        pictures.write_samples([data.take(torch.arange(40))[0]], 40, tmp_path / name, data.series)
    with (tmp_path / "far.csv").open(newline="") as file:
        told = np.array([float(row[-1]) for row in list(csv.reader(file))[1:]])
    assert np.abs(told - drawn.values[:, :, 1].ravel()).max() < 1e-3
    assert np.array_equal(np.load(tmp_path / "again.npy"), drawn.values)


def test_what_a_model_has_no_channel_for_is_refused(tmp_path: Path) -> None:
    """Missing values and ends would become the middle of the range, and be encoded and measured as such."""
    rng = np.random.default_rng(0)
    whole = rng.normal(size=(20, 6, 2))
    np.savez(tmp_path / "whole.npz", series=whole)
    known = load_dataset(DataConfig(str(tmp_path / "whole.npz")))
    gaps = whole.copy()
    gaps[3, 2:4, 1] = np.nan
    np.savez(tmp_path / "gaps.npz", series=gaps)
    np.savez(tmp_path / "short.npz", series=whole, lengths=np.array([6] * 19 + [4]))
    with pytest.raises(GanvasError, match=r"gaps lacks values of '1'.*ganvas restore MODEL FILE --damaged"):
        load_dataset(DataConfig(str(tmp_path / "gaps.npz")), known.shape, known.series)
    with pytest.raises(
        GanvasError, match=r"short has series of 4 steps, and all that the model knows have 6"
    ):
        load_dataset(DataConfig(str(tmp_path / "short.npz")), known.shape, known.series)
    assert known.series is not None
    mended = gaps_of(known.series)  # steps behind an end are missing, too: restore fills them in
    short = load_dataset(DataConfig(str(tmp_path / "short.npz")), mended.shape, mended).take(
        torch.tensor([19])
    )[0]
    assert (short[0, [0, 2]] == torch.tensor([[1.0, 1, 1, 1, 0, 0]] * 2)).all()
    for name in ("gaps", "short"):  # the other way round there is a channel
        other = load_dataset(DataConfig(str(tmp_path / f"{name}.npz")))
        assert len(load_dataset(DataConfig(str(tmp_path / "whole.npz")), other.shape, other.series)) == 20


def test_one_series_that_ends_early_is_taken_by_a_model_of_such(tmp_path: Path) -> None:
    known = load_dataset(DataConfig(saved(tmp_path / "mixed.csv", MIXED), **BY_PATIENT))
    head, *rows = MIXED.splitlines()
    one = "\n".join([head, *(row for row in rows if row.startswith("a"))])
    found = load_dataset(
        DataConfig(saved(tmp_path / "one.csv", one), **BY_PATIENT), known.shape, known.series
    )
    assert len(found) == 1
    assert found.series is not None
    assert found.series.lengths(found.take(torch.arange(1))[0].numpy()) == [2]


@pytest.mark.parametrize(
    ("text", "names"), [("b,a\n1,2\n", ["b", "a"]), ("1,2\n3,4\n", ["0", "1"]), ("", [])]
)
def test_names_of_columns(text: str, names: list[str], tmp_path: Path) -> None:
    assert columns_of(Path(saved(tmp_path / "t.csv", text))) == names


def test_a_table_for_a_model_of_something_else(tmp_path: Path) -> None:
    """The words are of what was given, not of how the model reads its pictures."""
    (tmp_path / "a.csv").write_text("x\n" + "1\n2\n" * 30)
    for shape, kind in (((3, 8, 8), "images"), ((2,), "points")):
        with pytest.raises(GanvasError, match=f"a holds series, and {kind} of shape .* are wanted"):
            load_dataset(DataConfig(str(tmp_path / "a.csv"), resize="crop"), shape)


def a_day(n: int, seed: int = 0) -> np.ndarray:
    """Rows of close, high, low and a twin of close."""
    random = np.random.default_rng(seed)
    close = 100 + np.cumsum(random.normal(size=n))
    high, low = (close + sign * np.abs(random.normal(size=n)) for sign in (0.5, -0.5))
    return np.stack([close, high, low, close], 1)


def days(path: Path, rows: np.ndarray) -> str:
    lines = [",".join("" if np.isnan(x) else repr(float(x)) for x in row) for row in rows]
    return saved(path, "close,high,low,twin\n" + "\n".join(lines))


def test_values_that_the_channels_of_a_model_cannot_hold_are_said(tmp_path: Path) -> None:
    own = load_dataset(days(tmp_path / "own.csv", a_day(300)))
    assert own.series is not None
    assert own.series.columns[3].same_as == "close"
    for change, column in ((lambda x: x[:, [0, 1, 2, 1]], "twin"), (lambda x: x[:, [0, 2, 1, 0]], "high")):
        path = days(tmp_path / "other.csv", change(a_day(300, 1)))
        told = load_dataset(DataConfig(path), own.shape, own.series).notes
        assert any(f"of the values of {column!r} are read as others" in note for note in told)
    told = load_dataset(DataConfig(days(tmp_path / "like.csv", a_day(300, 1))), own.shape, own.series).notes
    assert not any("read as others" in note for note in (*own.notes, *told))


def test_what_is_held_out_keeps_its_values_where_the_rest_has_an_order_or_none_missing(
    tmp_path: Path,
) -> None:
    rows = a_day(300)
    rows[290, 1:3] = rows[290, [2, 1]]
    rows[291, 1] = np.nan
    data = load_dataset(days(tmp_path / "t.csv", rows))
    assert data.series is not None
    found = data.series.decode(data.items)
    last = np.concatenate([found.values[0, :-1], found.values[:, -1]])
    np.testing.assert_allclose(last, rows, rtol=1e-4)


def test_numbers_that_have_no_logarithm_are_no_middle_of_the_range(tmp_path: Path) -> None:
    x = np.exp(np.cumsum(np.random.default_rng(0).normal(size=400)) * 0.3)
    own = load_dataset(saved(tmp_path / "own.csv", "v\n" + "\n".join(map(repr, x.tolist()))))
    assert own.series is not None
    assert own.series.columns[0].log
    x[395] = 0.0
    path = saved(tmp_path / "zero.csv", "v\n" + "\n".join(map(repr, x.tolist())))
    with pytest.raises(GanvasError, match="not above 0"):
        load_dataset(DataConfig(path), own.shape, own.series)
    held = load_dataset(path)
    assert held.series is not None
    assert abs(held.series.decode(held.items[-1:]).values[0, -5, 0]) < 1e-3


def test_shorter_series_of_categories_alone_are_refused_by_a_model_that_knows_no_ends(tmp_path: Path) -> None:
    def written(name: str, steps: int) -> DataConfig:
        rows = [f"{i},{'abc'[(i + k) % 3]}" for i in range(12) for k in range(steps)]
        return DataConfig(saved(tmp_path / name, "id,c\n" + "\n".join(rows)), by="id")

    own = load_dataset(written("long.csv", 9))
    with pytest.raises(GanvasError, match="has series of 4 steps"):
        load_dataset(written("short.csv", 4), own.shape, own.series)


def test_steps_of_a_part_of_a_second_are_drawn_so(tmp_path: Path) -> None:
    rows = [f"2024-01-01T00:00:{i // 100:02d}.{i % 100 * 10:03d},{i % 7}" for i in range(300)]
    data = load_dataset(saved(tmp_path / "t.csv", "t,x\n" + "\n".join(rows)))
    assert data.series is not None
    times = data.series.times(4)
    assert np.diff(times).astype("m8[ms]").astype(int).tolist() == [10, 10, 10]
    assert str(times[0]).startswith("2024-01-01T00:00:03.0")


def test_series_of_one_scale_come_in_another(tmp_path: Path) -> None:
    """A data set that was opened alone is scaled by its own range: measured in another's it would be as large as that."""
    random = np.random.default_rng(0)
    own, other = random.normal(size=(40, 6, 2)), 10 * random.normal(size=(40, 6, 2))
    other[3, 4:] = np.nan
    np.save(tmp_path / "own.npy", own)
    np.save(tmp_path / "other.npy", other)
    data, given = (load_dataset(str(tmp_path / f"{name}.npy")) for name in ("own", "other"))
    assert data.series is not None
    with pytest.raises(GanvasError, match="has series of 4 steps"):
        given_as(given, given, data)
    part = given.subset(torch.arange(5, 40))
    some = replace(part, items=given.items[5:], indices=None, spans=None)
    found = given_as(some, some, data)
    np.testing.assert_allclose(data.series.decode(found.items).values, other[5:], rtol=1e-3, atol=1e-4)
    assert given_as(data, data, data) is data
    short = load_dataset(DataConfig(str(tmp_path / "own.npy"), window=4))
    with pytest.raises(GanvasError, match="and 6 are wanted"):
        given_as(short, short, data)


def test_what_is_said_once_of_a_series_is_kept_or_said_to_be_another(tmp_path: Path) -> None:
    """Held-out ages with halves were rounded, and other sites than the one of the training taken for that, without a word."""
    held = torch.randperm(30, generator=torch.Generator().manual_seed(0))[:3]
    once = np.stack([np.arange(20.0, 50.0), np.ones(30)], 1)
    once[held] += [[0.5, 1], [0.5, 2], [0.5, 3]]
    series_of = np.random.default_rng(0).normal(size=(30, 8, 1))
    np.savez(tmp_path / "m.npz", series=series_of, static=once)
    data = load_dataset(str(tmp_path / "m.npz"))
    assert data.series is not None
    np.testing.assert_allclose(data.series.decode(data.items).static[:, 0], once[:, 0], rtol=1e-5)
    assert [note for note in data.notes if "read as others" in note] == [
        "10.00% of the values of 'static 1' are read as others: in what is learned from all are 1."
    ]
    np.savez(tmp_path / "like.npz", series=series_of, static=np.where(once == once.round(), once, 30))
    assert "10.00% of the values of 'static 1'" in " ".join(
        load_dataset(DataConfig(str(tmp_path / "like.npz")), data.shape, data.series).notes
    )


def test_one_long_series_is_cut_whatever_its_length(tmp_path: Path) -> None:
    """As a table it was read; as an array it was said to be no series."""
    rows = np.cumsum(np.random.default_rng(0).normal(size=(2**16 + 10, 1)), 0)
    np.save(tmp_path / "long.npy", rows)
    assert len(load_dataset(DataConfig(str(tmp_path / "long.npy"), window=4))) == len(rows) - 3
    np.save(tmp_path / "three.npy", rows[None])
    with pytest.raises(GanvasError, match="of up to 65,536 steps and 1,024 columns"):
        load_dataset(DataConfig(str(tmp_path / "three.npy"), window=4))


def test_the_counted_names_of_an_array_are_no_row(tmp_path: Path) -> None:
    """`pandas.DataFrame(array).to_csv(index=False)` calls columns 0, 1, 2: that was the first row, far from all others."""
    rows = [[100.5, 200, 300], [101, 201, 301], [102, 202, 302]]
    text = "\n".join(",".join(map(str, row)) for row in rows)
    for head, count in (("0,1,2\n", 3), ("", 3), ("0,1,3\n", 4)):
        found = tables.load(source := Path(saved(tmp_path / "m.csv", head + text)), DataConfig(str(source)))
        assert [column.name for column in found.columns] == ["0", "1", "2"]
        assert len(found.sequences[0]) == count
        assert any("no line of names" in note for note in found.notes) == (head != "0,1,2\n")
    pair = tables.load(source := Path(saved(tmp_path / "n.csv", "0,1\n1,2\n2,4")), DataConfig(str(source)))
    assert len(pair.sequences[0]) == 3
