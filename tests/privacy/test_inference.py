"""What samples tell of a part of a record to whoever knows the rest: planted copies, laws that are learned, and nothing."""

import json
import math
import types
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import scipy.signal
import torch

from ganvas import io
from ganvas.cli import main
from ganvas.config import DataConfig, NetworkConfig
from ganvas.data import load_dataset
from ganvas.errors import GanvasError
from ganvas.model import Model, ModelInfo
from ganvas.networks import build_generator, families
from ganvas.privacy import Audit, Records, audit, infer
from ganvas.privacy.copies import ALARM
from ganvas.privacy.inference import Scales, secrets
from ganvas.report.artifacts import leaks
from ganvas.runs import Run
from ganvas.series import Column, Schema, Series
from tests.held import Held

COUNTS = {"train": 1500, "held_out": 400, "fake": 2000, "reference": 400}


def law(n: int, random: torch.Generator, numbers: bool) -> Records:
    """Five numbers are known; the secret follows the first of them, and chance."""
    known = torch.randn(n, 5, generator=random)
    noise = torch.randn(n, 3, generator=random)
    if numbers:
        return Records(known, 0.8 * known[:, :1] + 0.6 * noise)
    return Records(known, ((known[:, 0] + noise[:, 0]) > 0).long() + 2 * (noise[:, 1] > 1).long())


def drawn(seed: int, numbers: bool) -> dict[str, Records]:
    random = torch.Generator().manual_seed(seed)
    return {name: law(n, random, numbers) for name, n in COUNTS.items()}


def with_copies(of: dict[str, Records], rate: float, start: int = 0) -> dict[str, Records]:
    """Records that were trained on among the samples, `rate` of them."""
    count = round(rate * len(of["fake"].known))
    parts = (of["fake"], Records(*(each[start : start + count] for each in of["train"][:2])))
    fake = Records(
        *(
            torch.cat([torch.as_tensor(a), torch.as_tensor(b)])
            for a, b in zip(parts[0][:2], parts[1][:2], strict=True)
        )
    )
    return {**of, "fake": fake}


@pytest.mark.parametrize("numbers", [False, True])
def test_samples_of_the_same_law_give_nothing_away(numbers: bool) -> None:
    """An alarm in one of a hundred: of 40 draws four or more come once in fifteen hundred."""
    found = [infer(**drawn(seed, numbers), draws=200) for seed in range(40)]
    assert sum(each.chance <= ALARM for each in found) <= 3
    risks = [each.risk for each in found]
    assert abs(float(np.mean([risk.value for risk in risks]))) < 0.02
    assert np.mean([risk.low <= 0 <= risk.high for risk in risks]) > 0.8


@pytest.mark.parametrize("numbers", [False, True])
def test_copies_are_caught(numbers: bool) -> None:
    of = drawn(0, numbers)
    whole = infer(**{**of, "fake": of["train"]})
    guesses = whole.guesses[1.0]
    assert guesses is not None
    assert (guesses.train, whole.risk.value) == (1.0, 1.0)
    # A nearest record of the same law tells as much of others, whoever drew it.
    assert guesses.held_out == pytest.approx(whole.baseline, abs=0.08)
    tenths = [infer(**with_copies(drawn(seed, numbers), 0.1)) for seed in range(5)]
    # 200 of 1,500 are known for sure, the others as well as anybody.
    assert np.mean([each.risk.value for each in tenths]) == pytest.approx(200 / 1500, abs=0.06)
    for each in tenths:
        surest = each.guesses[0.1]
        assert surest is not None
        assert surest.risk.low > 0.3
        assert each.chance < ALARM / 10


def test_guesses_that_come_nearer_are_caught_although_none_is_right() -> None:
    """Samples are the trained records with noise: what is hidden of them is missed by less, and never by a tenth."""
    random = torch.Generator().manual_seed(0)
    of = {name: Records(x := torch.randn(n, 4, generator=random), x + torch.randn(n, 4, generator=random))
          for name, n in COUNTS.items()}  # fmt: skip
    known, secret = (torch.as_tensor(each) for each in of["train"][:2])
    noisy = Records(known, secret + torch.randn(secret.shape, generator=random) / 2)
    found = infer(of["train"], of["held_out"], noisy, of["reference"])
    guesses = found.guesses[1.0]
    assert guesses is not None
    assert guesses.train < 0.02
    assert found.nearer is not None
    assert found.nearer.low > 0.8
    assert found.chance < 1e-6


def test_what_is_true_of_the_whole_group_is_no_leak() -> None:
    """Guesses are right four times in five, of everybody and without samples as well."""

    def sure(n: int, seed: int) -> Records:
        known = torch.randn(n, 2, generator=torch.Generator().manual_seed(seed))
        return Records(known, (known[:, 0] > 0).long())

    found = infer(*(sure(n, seed) for seed, n in enumerate(COUNTS.values())))
    guesses = found.guesses[1.0]
    assert guesses is not None
    assert min(guesses.train, guesses.held_out, found.baseline) > 0.95
    assert found.chance > ALARM


def test_known_parts_that_are_copied_without_their_secret_are_no_inference() -> None:
    """The attacker is surer of records that were trained on, and no more right: membership, not attributes."""
    of = drawn(0, False)
    secret = torch.as_tensor(of["train"].secret)
    shuffled = secret[torch.randperm(len(secret), generator=torch.Generator().manual_seed(1))]
    found = infer(**{**of, "fake": Records(of["train"].known, shuffled)})
    assert found.chance > ALARM


def test_a_figure_by_hand() -> None:
    """Two thirds of the trained and a half of the others are guessed: a third of the rest is given away."""
    places = torch.arange(60.0)[:, None]
    fake = Records(places, torch.zeros(60, dtype=torch.long))
    train = Records(places, (torch.arange(60) % 3 == 0).long())
    held = Records(places, (torch.arange(60) % 2 == 0).long())
    found = infer(train, held, fake, Records(places[:2], torch.tensor([1, 1])))
    guesses = found.guesses[1.0]
    assert guesses is not None
    assert (guesses.train, guesses.held_out) == (2 / 3, 0.5)
    assert found.risk.value == pytest.approx(1 / 3)
    assert found.baseline == 0.5
    # At least 40 of the 70 right guesses among 60 of 120 (Fisher), of the one share that there are enough records for.
    ways = sum(math.comb(60, k) * math.comb(60, 70 - k) for k in range(40, 61))
    assert found.chance == pytest.approx(ways / math.comb(120, 70))
    assert found.guesses[0.1] is None
    everybody = Records(places, torch.zeros(60, dtype=torch.long))
    assert infer(everybody, everybody, fake, fake).risk == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"held_out": Records(torch.zeros(9, 5), torch.zeros(9))}, "held_out has 9 records; 10 or more"),
        ({"train": Records(torch.zeros(9, 5), torch.zeros(9), torch.zeros(8))}, r"9 samples and groups \(8,\)"),
        ({"fake": Records(torch.zeros(20, 4), torch.zeros(20))}, r"differ in what is known or secret: .*fake \(4, 0\)"),
        ({"fake": Records(torch.zeros(20, 5), torch.zeros(20, 3))}, r"fake \(5, 3\)"),
        ({"train": Records(torch.zeros(20, 5), torch.zeros(19))}, "train has known"),
        ({"train": Records(torch.full((20, 5), torch.nan), torch.zeros(20))}, "train holds NaN"),
    ],
)  # fmt: skip
def test_what_cannot_be_compared(change: dict[str, Records], said: str) -> None:
    with pytest.raises(GanvasError, match=said):
        infer(**{**drawn(0, False), **change})


TABLE = """patient,day,heart,drug,sex,age,outcome
a,1,60,none,m,30,ill
a,2,64,none,m,30,ill
a,3,62,beta,m,30,ill
a,4,66,none,m,30,ill
b,1,60,none,f,30,ill
b,2,64,none,f,30,ill
b,3,62,beta,f,30,ill
b,4,66,none,f,30,ill
c,1,70,none,m,50,well
c,2,,none,m,50,well
d,1,60,beta,m,30,ill
d,2,64,beta,m,30,ill
d,3,99,none,m,30,ill
d,4,99,none,m,30,ill
"""


def test_what_is_known_and_what_is_secret_of_a_table(tmp_path: Path) -> None:
    """Categories are 1 apart, numbers are in deviations, a column of steps counts once; a secret is not among what is known."""
    (tmp_path / "table.csv").write_text(TABLE)
    config = DataConfig(
        str(tmp_path / "table.csv"),
        by="patient",
        time="day",
        static=("sex", "age"),
        label="outcome",
        holdout=0.0,
    )
    data = load_dataset(config)
    assert data.series is not None
    found = data.series.decode(data.take(torch.arange(4))[0])
    records = secrets(found, data.take_labels(), data.num_classes, Scales.of(found))
    assert list(records) == ["sex", "age", "class", "steps 3 to 4"]

    def apart(name: str, one: int, other: int) -> float:
        known = torch.as_tensor(records[name]().known)
        return float((known[one] - known[other]).norm())

    a, b, c = range(3)
    assert apart("sex", a, b) == pytest.approx(0), "of two who differ in nothing else"
    assert apart("age", a, b) == apart("class", a, b) == pytest.approx(1)
    sex = torch.as_tensor(records["sex"]().secret)
    assert sex.tolist() == [sex[a], 1 - sex[a], sex[a], sex[a]]
    age = torch.as_tensor(records["age"]().secret)[:, 0]
    assert float(age[c] - age[a]) == pytest.approx(20 / np.std([30, 30, 50, 30]), rel=1e-3)
    # Of the first two steps two differ in the drug: in both, which is as far as in one static column. c ends before the third.
    assert len(records["steps 3 to 4"]().known) == 3
    assert apart("steps 3 to 4", 0, 2) == pytest.approx(1)
    hidden = torch.as_tensor(records["steps 3 to 4"]().secret)
    there = [60, 64, 62, 66, 60, 64, 62, 66, 70, 60, 64, 99, 99]
    assert float((hidden[2] - hidden[0]).abs().max()) == pytest.approx(37 / np.std(there), rel=1e-3)


def test_how_long_a_series_is_counts_no_more_than_what_it_holds() -> None:
    """Behind the end lay 0 of the column's own units, fifty deviations from its values: who was alike was who was as long."""
    values = np.random.default_rng(0).normal(100, 2, (40, 6, 1))
    values[1] = values[0]
    values[1, 5] = 0.0
    lengths = np.array([6, 5, *[6] * 38])
    found = Series(values, lengths, np.zeros((40, 1)), Schema(6, (Column("x"),), (Column("age"),)))
    records = secrets(found, None, 0, Scales.of(found))
    known = torch.as_tensor(records["age"]().known)
    near = (known[0] - known[1:]).norm(dim=1)
    assert int(near.argmin()) == 0, "the same in all but its last step"
    assert float(torch.as_tensor(records["steps 4 to 6"]().secret).abs().max()) < 5


def test_the_steps_lie_in_memory_a_few_times_whatever_is_asked() -> None:
    """They did once for each attribute, as doubles: of 5,000 series of 1,000 steps and five columns 5 GB."""
    random = np.random.default_rng(0)
    columns, static = (tuple(Column(f"{kind}{i}") for i in range(6)) for kind in ("x", "age"))
    values, once = random.normal(size=(200, 300, 6)), random.normal(size=(200, 6))
    found = Series(values, np.full(200, 300), once, Schema(300, columns, static))
    with Held(torch.is_floating_point) as held:
        records = secrets(found, None, 0, Scales.of(found))
        for make in records.values():
            assert torch.as_tensor(make().known).shape[1] > 900
    assert len(records) == 7
    assert held.most < 5 * 4 * values.size


def test_a_column_that_does_not_move_is_no_unit() -> None:
    """What rounding leaves of its deviation, 3e-17, would make one odd sample a longer way off than all else together."""
    values = np.full((100, 4, 1), 0.1)
    still = types.SimpleNamespace(values=values, lengths=np.full(100, 4), static=values[:, 0])
    assert Scales.of(cast(Series, still)) == ([(pytest.approx(0.1), 1.0)], [(pytest.approx(0.1), 1.0)])


def visits(n: int, seed: int) -> dict[str, np.ndarray]:
    """Patients: two slow curves, two attributes that go with them and chance, an outcome."""
    random = np.random.default_rng(seed)
    level, slope = random.normal(size=(2, n))
    steps = np.arange(8) / 8
    heart = 70 + 8 * (level[:, None] + slope[:, None] * steps + 0.3 * random.normal(size=(n, 8)))
    weight = 80 + 5 * (slope[:, None] + 0.3 * random.normal(size=(n, 8)))
    age = 50 + 10 * level + 10 * random.normal(size=n)
    site = random.integers(0, 4, n)
    return {
        "series": np.stack([heart, weight], 2), "static": np.stack([age, site], 1),
        "labels": (level + random.normal(size=n) > 0).astype(int), "columns": np.array(["heart", "weight"]),
        "static_columns": np.array(["age", "site"]),
    }  # fmt: skip


def pooled(*parts: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    names = {name: parts[0][name] for name in ("columns", "static_columns")}
    return {
        **{name: np.concatenate([each[name] for each in parts]) for name in ("series", "static", "labels")},
        **names,
    }


def first(of: dict[str, np.ndarray], n: int) -> dict[str, np.ndarray]:
    return {name: each if "columns" in name else each[:n] for name, each in of.items()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("visits")
    seen = visits(700, 0)
    for name, of in {
        "seen": seen, "unseen": visits(400, 1), "fresh": visits(900, 2), "copies": pooled(visits(300, 3), first(seen, 300)),
    }.items():  # fmt: skip
        np.savez(place / f"{name}.npz", **of)
    return place


@cache
def audited(folder: Path, name: str) -> Audit:
    return audit(
        folder / f"{name}.npz", str(folder / "seen.npz"), held_out=str(folder / "unseen.npz"), n=1000, device="cpu"
    )  # fmt: skip


def test_an_audit_of_series_asks_for_every_attribute(folder: Path) -> None:
    found = audited(folder, "fresh")
    assert list(found.inferences) == ["age", "site", "class", "steps 5 to 8"]
    assert not found.leaks, found.verdict()
    assert "Nor is any of 4 attributes told better" in found.verdict()[0]
    # The outcome follows the curves: it is guessed of everybody, with samples and without.
    outcome = found.inferences["class"].guesses[1.0]
    assert outcome is not None
    assert min(outcome.train, outcome.held_out, found.inferences["class"].baseline) > 0.55
    assert found.controls[-1].inferred["steps 5 to 8"], "copies of a tenth are noticed"
    document = json.loads(json.dumps(found.to_json()))
    asked = document["inferences"]["class"]
    assert set(asked) == {"guesses", "baseline", "nearer", "chance", "tells"}
    assert asked["nearer"] is None
    assert set(document["inferences"]["age"]["nearer"]) == {"value", "low", "high"}
    assert set(asked["guesses"]["1"]) == {"train", "held_out", "risk", "members", "others"}
    heads, rows = found.told()
    assert [len(row) for row in rows] == [len(heads)] * 4


def test_a_generator_that_copies_gives_every_attribute_away(folder: Path) -> None:
    """Three in seven of the trained records are among its samples."""
    found = audited(folder, "copies")
    assert set(found.inferred) == {"age", "site", "class", "steps 5 to 8"}
    for name in found.inferred:
        assert found.inferences[name].risk.value == pytest.approx(3 / 7, abs=0.12), name
    assert any(
        line.startswith("Attributes: whoever knows the rest of a record guesses age")
        for line in found.verdict()
    )
    assert "steps 5 to 8" in found._repr_html_()


def test_a_model_of_series_with_classes_is_asked_by_its_own_samples(folder: Path) -> None:
    """Not trained: nothing of it can tell."""
    data = load_dataset(str(folder / "seen.npz"))
    network = NetworkConfig("recurrent", 8, conditional=True, generator=families.get("recurrent").tiny)
    options = {"layout": data.series.layout} if data.series is not None else {}
    network = replace(network, generator={**network.generator, **options})
    generator = build_generator(network, data.shape, 2).eval().requires_grad_(False)
    info = ModelInfo.of(
        generator, "recurrent", architecture=network, series=data.series, class_names=data.class_names
    )
    found = audit(
        Model(generator, None, info), str(folder / "seen.npz"), held_out=str(folder / "unseen.npz"), n=200, device="cpu"
    )  # fmt: skip
    assert list(found.inferences) == ["age", "site", "class", "steps 5 to 8"]
    assert not found.inferred, found.verdict()


def test_the_report_shows_them_as_text(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["audit", str(folder / "fresh.npz"), "--data", str(folder / "seen.npz"), "--held-out",
                 str(folder / "unseen.npz"), "--n", "200", "--device", "cpu"]) == 0  # fmt: skip
    said = capsys.readouterr().out
    assert "right guesses of" in said
    assert "by guesses of none" in said, "of copies at 0.1 %"
    document = audited(folder, "copies").to_json()
    inferences = dict(document["inferences"])
    inferences["<script>"] = inferences.pop("site")
    run = types.SimpleNamespace(path=tmp_path)
    document["inferences"] = inferences
    io.write_json(tmp_path / "evaluation" / "audit.json", document)
    page = "".join(leaks(cast(Run, run)))
    assert "<td>age<td>" in page
    assert "&lt;script&gt;" in page
    assert "<script>" not in page
    for odd in ([1], {"age": {}}, {"age": {"guesses": {"1": None}, "baseline": 1}}):
        io.write_json(tmp_path / "evaluation" / "audit.json", {**document, "inferences": odd})
        assert "damaged" in "".join(leaks(cast(Run, run)))


def test_other_data_have_no_attributes(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for name, n in (("train", 300), ("unseen", 150)):
        np.save(tmp_path / f"{name}.npy", random.normal(size=(n, 2)).astype("float32"))
    found = audit(
        random.normal(size=(200, 2)), str(tmp_path / "train.npy"), held_out=str(tmp_path / "unseen.npy")
    )
    assert found.inferences == {}
    assert found.to_json()["inferences"] == {}


def windows(seed: int, rows: int) -> Records:
    """Of one long series: the first half of each is known, the second secret."""
    noise = np.random.default_rng(seed).standard_normal((rows, 2))
    series = scipy.signal.lfilter([1], [1, -0.99], noise, axis=0)
    series = torch.from_numpy((series - series.mean(0)) / series.std(0)).float()
    cut = series.unfold(0, 24, 1)
    return Records(cut[:, :, :12].flatten(1), cut[:, :, 12:].flatten(1), torch.arange(len(cut)) // 48)


def test_windows_of_one_series_are_no_independent_records() -> None:
    """Of other series of the same law two in three were an alarm."""
    found = [infer(*(windows(4 * seed + i, n) for i, n in enumerate((1500, 400, 1000, 400))), draws=50)
             for seed in range(20)]  # fmt: skip
    assert sum(each.chance <= ALARM for each in found) <= 3
    train, held_out, _, reference = (windows(i, n) for i, n in enumerate((1500, 400, 1000, 400)))
    assert infer(train, held_out, train, reference).chance < ALARM, "what is drawn is what was trained on"
    alone = infer(train, held_out._replace(group=torch.zeros(377)), train, reference)
    assert alone.chance == 1
    assert alone.risk[1:] == (-1, 1)


@pytest.mark.gpu
def test_records_may_lie_on_several_devices() -> None:
    of = drawn(0, False)
    apart = {
        name: Records(*(torch.as_tensor(each).to("cuda" if i % 2 else "cpu") for each in records[:2]))
        for i, (name, records) in enumerate(of.items())
    }
    assert infer(**apart) == infer(**of)
