"""Signals against their definitions, on data and networks whose answers are known."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

import ganvas
from ganvas.config import replace_at
from ganvas.data import Batches, Dataset, balanced
from ganvas.geometry import distance_matrix
from ganvas.presets import presets
from ganvas.training import monitor
from ganvas.training.gan import GanMethod
from ganvas.training.method import Method
from ganvas.training.monitor import Monitor, ranked_right, sketch
from tests.training.games import gan


@pytest.fixture
def players() -> GanMethod:
    made = presets.get("small")
    for path, value in {
        "network.generator.channels": 4,
        "network.critic.channels": 4,
        "training.precision": "fp32",
    }.items():
        made = replace_at(made, path, value)
    return gan(made, (1, 8, 8), 10, torch.device("cpu"))


def test_accuracy_is_the_area_under_the_curve() -> None:
    torch.manual_seed(0)
    real, fake = torch.randn(50) + 0.5, torch.randn(40)
    fake[:5] = real[:5]
    truth = [1] * 50 + [0] * 40
    assert ranked_right(real, fake) == pytest.approx(roc_auc_score(truth, torch.cat([real, fake]).numpy()))


def test_real_samples_score_like_real_samples(players: GanMethod) -> None:
    """A generator that draws held-out digits looks right in every signal; one that draws a single digit does not."""
    data = ganvas.load_dataset("digits")
    trained_on, held_out = data.split(0.1)
    monitor = Monitor(players, trained_on, held_out)
    images = held_out.take(torch.arange(128))[0].float() / 127.5 - 1
    good = monitor._samples(sketch(images))
    assert good["diversity"] == pytest.approx(1, abs=0.2)
    assert good["spread"] == pytest.approx(1, abs=0.1)
    assert good["energy"] == pytest.approx(0, abs=0.02)
    assert good["nearest"] == pytest.approx(1, abs=0.1)
    assert good["modes"] == 1
    collapsed = monitor._samples(
        sketch(images[:1].expand(128, -1, -1, -1) + 0.01 * torch.randn(128, 1, 8, 8))
    )
    assert collapsed["diversity"] < 0.1
    assert collapsed["spread"] < 0.1
    assert collapsed["modes"] == pytest.approx(0.1)
    assert collapsed["energy"] > 0.3
    copies = monitor._samples(sketch(trained_on.take(torch.arange(128))[0].float() / 127.5 - 1))
    assert copies["nearest"] < 0.4
    assert copies["movement"] > 0.3


def test_distances_do_not_depend_on_where_points_lie() -> None:
    """Squares in float32 left nothing of the distances of points ten thousand of their own away from 0."""
    x = torch.randn(200, 2, generator=torch.Generator().manual_seed(0)).double()
    near = torch.cdist(x, x)
    assert torch.allclose(distance_matrix((x + 1e4).float(), (x + 1e4).float()).double(), near, atol=5e-3)
    assert monitor._nearest_within((x + 1e4).float()) == pytest.approx(
        monitor._nearest_within(x.float()), rel=0.02
    )


def test_pictures_are_seen_a_part_at_a_time(players: GanMethod, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two thousand of 256 px were held in full size, 3 GB, and 128 drawn at once; where none is held out, none is taken."""
    seen: list[int] = []
    as_drawn = monitor.from_uint8
    monkeypatch.setattr(monitor, "from_uint8", lambda x, r: [seen.append(len(x)), as_drawn(x, r)][1])
    players.generator.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    data = ganvas.load_dataset("digits")
    streamed = replace(data, items=[*data.items])
    looking = Monitor(players, streamed, streamed.subset(torch.arange(0)))
    assert len(looking.reference) == len(data)
    assert torch.equal(looking.reference, Monitor(players, data, data).reference)
    found = looking.measure(players)
    assert "accuracy_train" in found
    assert "accuracy_held" not in found
    assert max(seen) <= 32


def test_measuring_gradients_drift_and_logits(players: GanMethod) -> None:
    data = ganvas.load_dataset("digits")
    trained_on, held_out = data.split(0.1)
    monitor = Monitor(players, trained_on, held_out)
    images, labels = trained_on.take(torch.arange(32))
    players.step(lambda _: (images, labels), 0.0)
    found = monitor.measure(players)
    norm = (
        torch.cat([p.grad.flatten() for p in players.critic.parameters() if p.grad is not None]).norm().item()
    )
    assert found["gradient_critic"] == pytest.approx(norm, rel=1e-4)
    assert found["gradient_ratio"] == pytest.approx(found["gradient_generator"] / norm, rel=1e-4)
    assert found["ema_drift"] > 0
    players.average.load_state_dict(players.generator.state_dict())
    assert monitor.measure(players)["ema_drift"] == 0
    assert monitor.measure(players)["movement"] == 0
    held = monitor.held[0]
    assert found["logits_held"] == pytest.approx(players.critic.eval()(held).mean().item(), abs=1e-4)


def test_the_probe_of_a_conditional_generator_has_the_classes_of_the_data() -> None:
    """Nine of ten samples are zeros; so are those of the probe, which a perfect generator is then not told from."""
    made = replace_at(presets.get("small"), "network.conditional", True)
    data = ganvas.load_dataset("digits")
    images, labels = data.take(torch.arange(len(data)))
    assert labels is not None
    rows = torch.cat([(labels == 0).nonzero()[:, 0], (labels > 0).nonzero()[:20, 0]])
    unequal = replace(data, items=images[rows], labels=labels[rows])
    monitor = Monitor(gan(made, (1, 8, 8), 10, torch.device("cpu")), *unequal.split(0.1))
    assert monitor.labels is not None
    assert float((monitor.labels == 0).double().mean()) == pytest.approx(178 / 198, abs=0.03)


def test_what_the_critic_compares_is_as_large_as_in_training(players: GanMethod) -> None:
    """Fifty held-out samples were one group to its minibatch std, and training samples groups of four: it called them apart."""
    data = ganvas.load_dataset("digits")
    trained_on, held_out = data.split(50 / len(data))
    assert len(held_out) == 50
    players.step(lambda _: trained_on.take(torch.arange(32)), 0.0)
    monitor = Monitor(players, trained_on, held_out)
    assert len(monitor.held[0]) == 48
    fours = torch.cat([players.critic.eval()(part) for part in monitor.held[0].split(4)])
    found = monitor.measure(players)
    assert found["logits_held"] == pytest.approx(float(fours.detach().mean()), abs=1e-5)


def test_a_conditional_critic_compares_samples_of_one_class_as_in_training() -> None:
    """Batches have their classes side by side; the probe's were mixed, so that its minibatch std saw what no training shows."""
    made = replace_at(presets.get("small"), "network.conditional", True)
    for path, value in {"network.generator.channels": 4, "network.critic.channels": 4}.items():
        made = replace_at(made, path, value)
    players = gan(replace_at(made, "training.precision", "fp32"), (1, 8, 8), 10, torch.device("cpu"))
    data = ganvas.load_dataset("digits")
    trained_on, held_out = data.split(0.1)
    batches = iter(Batches(trained_on, 32, 0, torch.device("cpu"), by_label=True))
    players.step(lambda _: next(batches), 0.0)
    monitor = Monitor(players, trained_on, held_out)
    samples, labels = monitor.held
    assert labels is not None
    critic, expected = players.critic.eval(), []
    for x, known in zip(samples.split(32), labels.split(32), strict=True):
        order = known.argsort(stable=True)
        expected.append(critic(x[order], known[order]).detach())
    found = monitor.measure(players)
    assert found["logits_held"] == pytest.approx(float(torch.cat(expected).mean()), abs=1e-5)


@pytest.mark.parametrize("batch", [2, 30])
def test_a_batch_that_is_no_whole_groups_is_one_group(batch: int) -> None:
    """Thirty samples are one group to the critic of a training, and were groups of four to the probe; of three pictures no group
    of four is left, which was a traceback."""
    made = replace_at(presets.get("small"), "training.batch", batch)
    for path, value in {"network.generator.channels": 4, "network.critic.channels": 4}.items():
        made = replace_at(made, path, value)
    players = gan(replace_at(made, "training.precision", "fp32"), (1, 8, 8), 10, torch.device("cpu"))
    data = ganvas.load_dataset("digits").subset(torch.arange(batch + 1))
    players.step(lambda _: data.take(torch.arange(batch)), 0.0)
    monitor = Monitor(players, data, data)
    found = monitor.measure(players)
    (samples, _), critic = monitor.held, players.critic.eval()
    assert len(samples) == batch
    assert found["logits_held"] == pytest.approx(float(critic(samples).detach().mean()), abs=1e-5)


def test_samples_that_are_shown_again_are_no_neighbours(players: GanMethod) -> None:
    """With --balance ten ones are shown a hundred times: at no distance from themselves, so that all samples looked diverse."""
    data = ganvas.load_dataset("digits")
    images, labels = data.take(torch.arange(len(data)))
    assert labels is not None
    zeros, ones = ((labels == digit).nonzero()[:, 0] for digit in (0, 1))
    rows = torch.cat([zeros[:100], ones[:10]])
    few = balanced(replace(data, items=images[rows], labels=labels[rows]))
    monitor = Monitor(players, few, few.subset(torch.arange(0)))
    perfect = torch.cat([zeros[100:164], ones[100:164]])
    found = monitor._samples(sketch(images[perfect].float() / 127.5 - 1))
    assert found["diversity"] == pytest.approx(1, abs=0.2)
    assert "likeness" not in found


def test_data_too_small_to_hold_out(players: GanMethod) -> None:
    data = ganvas.load_dataset("digits")
    trained_on, held_out = data.split(0.0)
    players.step(lambda _: trained_on.take(torch.arange(32)), 0.0)
    found = Monitor(players, trained_on, held_out).measure(players)
    assert "accuracy_held" not in found
    assert "nearest" not in found
    assert found["accuracy_train"] >= 0


def test_classes_that_are_balanced_stand_beside_balanced_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Held-out samples in the shares of the data beside training ones in equal shares were over-fitting, for good."""
    digits = ganvas.load_dataset("digits")
    assert digits.labels is not None
    rows = torch.cat(
        [(digits.labels == label).nonzero()[:count, 0] for label, count in enumerate((160, 20, 20))]
    )
    images, labels = digits.take(rows)
    np.savez(tmp_path / "few.npz", images=images.numpy()[:, 0], labels=labels.numpy())
    seen: list[Dataset] = []

    class Heard(Monitor):
        def __init__(self, method: Method, trained_on: Dataset, held_out: Dataset) -> None:
            seen.extend([trained_on, held_out])
            super().__init__(method, trained_on, held_out)

    monkeypatch.setattr("ganvas.training.loop.Monitor", Heard)
    small = {"network.generator.channels": 4, "network.critic.channels": 4, "data.holdout": 0.3}
    ganvas.train(
        str(tmp_path / "few.npz"),
        out=tmp_path,
        balance=True,
        kimg=0.032,
        batch=16,
        settings=small,
        quiet=True,
        report=False,
    )
    for part in seen:
        assert len(part.take_labels().bincount().unique()) == 1
    kept = seen[0].take_labels().bincount()[0]
    counts = [len(seen[0].indices[seen[0].take_labels() == label].unique()) for label in range(3)]
    wanted = 9 / sum(1 / count for count in counts)  # of a mean over three equal shares
    assert monitor._worth(seen[0], torch.arange(3 * int(kept))) == pytest.approx(wanted, rel=0.05)


def test_of_wide_series_fewer_are_compared(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Series have no sketch: 2,048 of 16,384 channels took gigabytes."""
    data = ganvas.load_dataset("goog")
    numbers = int(np.prod(data.shape))
    made = presets.get("series")
    layout = {"layout": data.series.layout}  # type: ignore[union-attr]
    for path in ("network.generator", "network.critic"):
        made = replace_at(made, path, {"channels": 4} | (layout if path == "network.generator" else {}))
    made = replace_at(replace_at(made, "network.latent_dim", 96), "training.precision", "fp32")
    game = gan(made, data.shape, 0, torch.device("cpu"))
    usual = Monitor(game, *data.split(0.1))
    assert (len(usual.train[0]), len(usual.reference)) == (128, len(data.split(0.1)[0]))
    monkeypatch.setattr(monitor, "WIDE", numbers - 1)
    monkeypatch.setattr(monitor, "PROBED", 40 * numbers)
    monkeypatch.setattr(monitor, "COMPARED", 100 * numbers)
    fewer = Monitor(game, *data.split(0.1))
    assert (len(fewer.train[0]), len(fewer.reference), len(fewer.z)) == (40, 100, 40)
    assert fewer.held_nearest == 0
    assert fewer.measure(game).keys() == usual.measure(game).keys() - {"nearest"}
