"""The log ratio: calibration against known densities, saving, and the commands that use it."""

import errno
import json
import math
import os
import shutil
from dataclasses import asdict, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from safetensors.torch import load_file
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

import ganvas
from ganvas import io
from ganvas.cli import improve as improve_command
from ganvas.cli import main
from ganvas.cli.improve import _plot
from ganvas.config import DataConfig, NetworkConfig, to_dict
from ganvas.data import Dataset, load_dataset
from ganvas.errors import GanvasError
from ganvas.features import classifier, open_extractor
from ganvas.features.classifier import ClassifierExtractor
from ganvas.latent import LatentZ, open_space
from ganvas.latent.critic import to_floats
from ganvas.metrics.manifold import overlapping
from ganvas.model import DataReference, Model, ModelInfo
from ganvas.networks import build_critic, build_generator
from ganvas.networks.layers import MinibatchStd
from ganvas.sampling import (
    LogRatio,
    Truncated,
    calibrate_model,
    critics,
    fit_ratio,
    held_out,
    independent_extractor,
    repair,
    samplers,
)
from ganvas.sampling.base import Target
from ganvas.sampling.calibration import calibrate, fit_map
from ganvas.sampling.critics import seen_shape
from ganvas.sampling.held_out import guided_by
from ganvas.sampling.improve import (
    Evaluator,
    Improved,
    Improvement,
    Outcome,
    described,
    pareto,
    save,
    written,
)
from ganvas.sampling.improve import improve as improve_model
from ganvas.sampling.improve import improve_model as improve_whole
from ganvas.sampling.metropolis import _starts
from ganvas.sampling.ratio import Report
from ganvas.sampling.settings import Setting, at_budget, settings
from ganvas.sampling.store import best_of, home_of, kept_ratio
from ganvas.training import Result
from tests.conftest import full_disk
from tests.latent.test_space import ours
from tests.metrics.test_evaluate import album, unequal_digits
from tests.sampling.test_samplers import exact, identity, log_ratio, same_distribution
from tests.test_model_file import rewrite

SCALE = 7.0


def logits(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Real from N(1, 1), generated from N(0, 1): the log ratio of x is x - 1/2; the critic says 7 x + 3."""
    random = torch.Generator().manual_seed(seed)
    return (SCALE * (torch.randn(n, generator=random) + m) + 3 for m in (1.0, 0.0))  # type: ignore[return-value]


@pytest.mark.parametrize("method", ["platt", "isotonic", "auto"])
def test_calibration_finds_the_log_ratio_of_two_gaussians(method: str) -> None:
    calibration, quality = calibrate(*logits(20_000, 0), method)  # type: ignore[arg-type]
    x = torch.linspace(-1, 2, 31)
    found = calibration(SCALE * x + 3)
    assert float((found - (x - 0.5)).abs().max()) < (0.1 if method != "isotonic" else 0.35)
    assert (found.diff() >= 0).all(), "monotone"
    # Published closed form: AUC of two unit Gaussians a distance of 1 apart is the normal CDF at 1 / sqrt(2).
    assert quality.auc == pytest.approx(0.5 * (1 + math.erf(0.5)), abs=0.01)
    assert quality.ece < 0.02
    assert quality.log_loss < math.log(2)


def test_platt_is_scikit_learns_logistic_regression() -> None:
    real, fake = logits(500, 1)
    scores = torch.cat([real, fake]).double().numpy()
    truth = np.concatenate([np.ones(500), np.zeros(500)])
    line = LogisticRegression(C=1e9).fit(scores[:, None], truth)
    found = fit_map(scores, truth, "platt")(torch.from_numpy(scores))
    np.testing.assert_allclose(found.numpy(), line.decision_function(scores[:, None]), atol=0.01)


@pytest.mark.parametrize("method", ["platt", "isotonic"])
@pytest.mark.parametrize("logit", [0.0, -3.0, 1e10, -1e12])
def test_a_critic_with_one_logit_for_all_knows_nothing(method: str, logit: float) -> None:
    """However large it is: the map of 1e10 had two knots in one place, and a file of it was called damaged."""
    found = fit_map(np.full(400, logit), np.repeat([1.0, 0.0], 200), method)
    assert found.x[0] < found.x[1]
    assert float(found(torch.tensor([logit], dtype=torch.float64))) == pytest.approx(0.0, abs=0.01)


def test_isotonic_bends_where_a_line_can_not() -> None:
    """A critic that saturates: auto takes the curve; above its last knot it is flat, below its first it goes on down."""
    real, fake = (torch.tanh(3 * (x - 3) / SCALE) for x in logits(5000, 2))
    calibration, _ = calibrate(real, fake)
    assert calibration.method == "isotonic"
    top, far = calibration(torch.tensor([1.0, 50.0]))
    assert top == pytest.approx(float(far), abs=0.1)
    assert calibration(torch.tensor([-60.0])) < calibration(torch.tensor([-1.0])) - 5
    x = torch.tensor([0.1], requires_grad=True)
    (slope,) = torch.autograd.grad(calibration(x).sum(), x)
    assert slope > 0


def test_the_isotonic_map_never_says_infinity() -> None:
    calibration, _ = calibrate(torch.randn(200) + 100, torch.randn(200), "isotonic")
    assert calibration(torch.tensor([-1e6, 0.0, 50.0, 100.0, 1e6])).isfinite().all()
    assert calibration(torch.tensor([1e6])) < math.log(200)


def test_a_critic_that_knows_nothing_says_so() -> None:
    space, random = identity(), torch.Generator().manual_seed(0)
    found = fit_ratio(
        space,
        torch.randn(600, 2, generator=random),
        critic=lambda samples, labels: samples[:, 0] * 0 + torch.rand(len(samples), generator=random),
    )
    assert "cannot tell real from generated" in " ".join(found.report.warnings)
    assert found.report.ess > 0.9
    few = fit_ratio(space, torch.randn(150, 2), critic=lambda samples, labels: samples[:, 0])
    assert "150 real samples only" in " ".join(few.report.warnings)


def test_a_scaled_critic_is_brought_back() -> None:
    """What a Wasserstein critic gives: the right order at a wrong scale. Calibrated, resampling reaches the data."""
    space = identity()
    ratio = fit_ratio(space, exact(5000, 1), critic=lambda samples, labels: 25 * log_ratio(samples) - 40)
    points = torch.randn(500, 2)
    assert float((ratio(points) - log_ratio(points)).abs().mean()) < 0.3
    assert ratio.report.mean_ratio == pytest.approx(1, abs=0.15)
    drawn = samplers.get("budget")(space, ratio, 1000, budget=40)
    assert same_distribution(drawn.samples, exact(20_000, 5)) > 1e-3
    with pytest.raises(GanvasError, match="cannot be saved"):
        ratio.save(Path("never.safetensors"))


def test_a_fresh_critic_learns_the_ratio_and_a_new_proposal_is_fitted_anew() -> None:
    space = identity()
    ratio = fit_ratio(space, exact(3000, 1), train=(exact(8000, 2), None), critic="fresh", steps=600)
    points = torch.randn(1000, 2, generator=torch.Generator().manual_seed(0))
    inside = log_ratio(points) > -3
    assert float((ratio(points) - log_ratio(points))[inside].abs().mean()) < 0.5
    narrow = Truncated(space, 0.5, "threshold")
    again = ratio.refit(narrow)
    assert again.report.auc > ratio.report.auc
    assert ratio.refit(Truncated(space, 2.2, "threshold")).report.mean_ratio == pytest.approx(1, abs=0.1)
    drawn = samplers.get("resample")(narrow, again, 300)
    assert float(drawn.samples.abs().max()) <= 0.5


def test_the_judgement_of_a_sample_does_not_depend_on_its_neighbours(trained: Result, tmp_path: Path) -> None:
    """Critics with minibatch statistics see the batch: here each sample is judged alone. Saved and loaded it says the same."""
    model = ganvas.load(trained.run.path, device="cpu")
    assert model.critic is not None
    assert any(isinstance(module, MinibatchStd) for module in model.critic.modules())
    images, _ = ganvas.load_dataset("digits").take(torch.arange(300))
    ratio = fit_ratio(LatentZ(model), images, critic="own")
    drawn = LatentZ(model).decode(torch.randn(8, model.latent_dim))
    together = ratio(drawn)
    torch.testing.assert_close(
        together, torch.cat([ratio(each[None]) for each in drawn]), atol=1e-4, rtol=1e-4
    )
    ratio.save(tmp_path / "ratio.safetensors")
    ratio.save(str(tmp_path / "ratio.safetensors"))
    loaded = LogRatio.load(str(tmp_path / "ratio.safetensors"), model)
    torch.testing.assert_close(loaded(drawn), together)
    torch.testing.assert_close(loaded.real, ratio.real)
    assert loaded.report == ratio.report
    with pytest.raises(GanvasError, match="another model"):
        LogRatio.load(tmp_path / "ratio.safetensors", ganvas.load("fashion", device="cpu"))
    with pytest.raises(GanvasError, match="expected a ratio"):
        LogRatio.load(model.path, model)  # type: ignore[arg-type]


def test_mistakes_are_named() -> None:
    space = identity()
    with pytest.raises(GanvasError, match="at least 100"):
        fit_ratio(space, torch.randn(20, 2), critic=lambda s, y: s[:, 0])
    with pytest.raises(GanvasError, match="real samples are"):
        fit_ratio(space, torch.randn(200, 3), critic=lambda s, y: s[:, 0])
    with pytest.raises(GanvasError, match="no critic"):
        fit_ratio(space, torch.randn(200, 2), critic="own")
    for critic in ("auto", "fresh"):
        with pytest.raises(
            GanvasError, match=r"trained on half .* at least 200, or others with train=. There are 199"
        ):
            fit_ratio(space, torch.randn(199, 2), critic=critic)
    with pytest.raises(GanvasError, match="no classifier"):
        fit_ratio(space, torch.randn(200, 2), train=(torch.randn(200, 2), None), critic="features")
    with pytest.raises(GanvasError, match="NaN"):
        fit_ratio(space, torch.randn(200, 2), critic=lambda s, y: s[:, 0] * float("nan"))
    with pytest.raises(GanvasError, match="fake is 1; it must be at least 100"):
        fit_ratio(space, torch.randn(200, 2), critic=lambda s, y: s[:, 0], fake=1)


def test_repair_raises_the_ratio_in_every_space() -> None:
    model = ganvas.load("fashion", device="cpu")

    def bright(samples: Tensor, labels: Tensor | None) -> Tensor:
        return 5 * samples.flatten(1).mean(1)

    for name in ("z", "w"):
        space = open_space(model, name)
        points = space.numbered(4)
        moved, way = repair(space, bright, points, steps=4)
        assert way.shape == (5, 4)
        assert (way.diff(dim=0) >= 0).all()
        assert (way[-1] > way[0]).all()
        torch.testing.assert_close(bright(space.decode(moved), None), way[-1])


def test_long_labels_stay_in_the_plot() -> None:
    """A sampler of somebody else has the name and the options that it has; of titles the ends were missing."""
    options = {"candidates": 12.0, "patience": 40.0, "temperature": 0.125}
    named = [
        Setting("prior"),
        Setting("budget", {"budget": 10}),
        Setting("nearest-of-several-neighbours", options),
    ]
    errors = dict.fromkeys(("precision", "recall", "frechet"), 0.1)
    rows = [
        Outcome(e, {"precision": 1 - i, "recall": i, "frechet": 9 - i}, errors, i, {})
        for i, e in enumerate(named)
    ]
    figure = _plot(Improvement(rows, rows[1], rows[0], rows[1], "frechet", True, []), 1000, 2000)
    canvas = FigureCanvasAgg(figure)
    figure.tight_layout()
    canvas.draw()
    left, right = (axes for axes in figure.axes if axes.get_title())
    ticks = [
        each for axes in figure.axes for each in axes.get_xticklabels()
    ]  # some lie beyond the axes, unseen
    for text in set(figure.findobj(Text)) - set(ticks):
        box = text.get_window_extent(canvas.get_renderer())
        whole = left.bbox if text in left.texts else figure.bbox
        assert not text.get_text() or whole.x0 <= box.x0 <= box.x1 <= whole.x1, text
    assert [each.get_text().split() for each in left.texts] == [row.setting.label.split() for row in rows]
    assert right.bbox.width > figure.bbox.width / 4


def test_pareto_and_budgets() -> None:
    places = ((0.5, 0.5), (0.6, 0.4), (0.4, 0.4), (0.5, 0.5))
    rows = [Outcome(Setting("prior"), {"precision": p, "recall": r}, {}, 1, {}) for p, r in places]
    assert pareto(rows) == [True, True, False, True]
    space = identity()
    for name in ("budget", "metropolis", "resample", "langevin", "flow", "transport", "ex2"):
        for k in (10, 40):
            chosen = at_budget(name, k)
            drawn = samplers.get(name)(space, log_ratio, 50, **chosen.options)
            slack = 8 if name == "transport" else 4  # one-off pairs for the slope; a last look at the samples
            assert drawn.cost <= k + slack
    assert [s.sampler for s in settings(space.model, 2)].count("langevin") == 0


def test_improve_finds_a_sampler_and_says_when_nothing_helps() -> None:
    """Exact ratio: resampling wins clearly. A ratio that says nothing: it is told so."""
    space = identity()
    data = ganvas.Dataset("points", exact(4000, 1), (2,), "x")
    ratio = fit_ratio(space, exact(4000, 2), critic=lambda samples, labels: log_ratio(samples))
    from ganvas.features import open_extractor

    judge = Evaluator(open_extractor("raw", data, "cpu"), data)
    tried = [
        Setting("prior"),
        at_budget("budget", 10),
        at_budget("flow", 10),
        Setting("truncate", {"amount": -1.0}),
    ]
    found = improve_model(space.model, ratio, judge, n=1500, tried=tried)
    assert found.helps
    assert found.best.setting.sampler == "budget"
    assert found.after.values["frechet"] < 0.5 * found.before.values["frechet"]
    assert "truncation" in found.rows[3].failed
    empty = fit_ratio(space, exact(4000, 2), critic=lambda samples, labels: 0 * samples[:, 0])
    nothing = improve_model(
        space.model, empty, judge, n=1500, tried=[Setting("prior"), at_budget("budget", 4)]
    )
    assert not nothing.helps
    assert nothing.best.setting.sampler == "prior"
    assert "Nothing helps" in nothing.words[0]
    with pytest.raises(GanvasError, match="objective"):
        improve_model(space.model, ratio, judge, objective="fid")  # type: ignore[arg-type]


class Brightness(nn.Module):
    def forward(self, x: Tensor, labels: Tensor | None) -> Tensor:
        return x.flatten(1).mean(1)


def test_nothing_is_recommended_where_the_error_is_not_known(tmp_path: Path) -> None:
    """Of 400 samples with 784 features it counted as 0: the luckiest of four that are all the prior was recommended."""
    random = torch.Generator().manual_seed(0)
    pictures = torch.randint(0, 256, (300, 1, 20, 20), dtype=torch.uint8, generator=random)
    data = ganvas.Dataset("noise", pictures, (1, 20, 20), "x")
    module = nn.Sequential(nn.Linear(8, 400), nn.Sigmoid(), nn.Unflatten(1, (1, 20, 20)))
    model = ganvas.wrap(module, latent_dim=8)
    ratio = fit_ratio(LatentZ(model), pictures, critic=Brightness())
    judge = Evaluator(open_extractor("raw", data, "cpu"), data)
    tried = [Setting("prior"), *(Setting("truncate", {"amount": 5.0 + i}) for i in range(3))]
    with pytest.raises(GanvasError, match="Draw 112 or more"):
        improve_model(model, ratio, judge, n=111, tried=tried)
    found = improve_model(model, ratio, judge, n=112, tried=tried)
    assert not found.helps
    assert all(math.isnan(row.errors["frechet"]) for row in found.rows)
    assert "±" not in found.cells()[1][0][2]
    ratio.spec = {}
    kept = described(found, ratio, {})
    save(tmp_path, ratio, kept)
    assert kept["rows"][0]["errors"]["frechet"] is None
    assert kept["after"]["errors"]["frechet"] > 0


def test_a_finalist_that_fails_when_it_is_drawn_again_is_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are judged without it: what took minutes is not lost."""
    space, data = identity(), ganvas.Dataset("points", exact(4000, 1), (2,), "x")
    ratio = fit_ratio(space, exact(4000, 2), critic=lambda samples, labels: log_ratio(samples))
    from ganvas.features import open_extractor

    draw = Setting.draw

    def once(self: Setting, model: ganvas.Model, ratio: LogRatio | None, n: int, **more: Any) -> Any:
        if self.sampler == "budget" and n > 500:
            raise GanvasError("accepts almost nothing")
        return draw(self, model, ratio, n, **more)

    monkeypatch.setattr(Setting, "draw", once)
    judge = Evaluator(open_extractor("raw", data, "cpu"), data)
    tried = [Setting("prior"), at_budget("budget", 10), at_budget("resample", 10)]
    found = improve_model(space.model, ratio, judge, n=500, tried=tried)
    assert found.rows[1].failed == "accepts almost nothing"
    assert found.helps
    assert found.best.setting.sampler == "resample"


def test_a_perfect_conditional_generator_of_unequal_classes_is_judged_as_its_data() -> None:
    """By as many of each class its Frechet distance would be about 39, and truncation might seem to help."""
    from ganvas.features import open_extractor

    data = unequal_digits()
    images, labels = data.take(torch.arange(len(data)))
    model = album(data)
    ratio = fit_ratio(LatentZ(model), images, labels, critic=lambda x, y: x.flatten(1).mean(1))
    judge = Evaluator(open_extractor("classifier-digits", device="cpu"), data)
    found = improve_model(model, ratio, judge, n=500, tried=[Setting("prior")])
    assert found.rows[0].values["frechet"] < 0.5
    assert found.before.values["coverage"] > 0.95


def test_commands_calibrate_improve_and_sample(
    trained: Result, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:

    run = tmp_path / "run"
    shutil.copytree(trained.run.path, run)
    out = tmp_path / "s.png"
    base = ["--device", "cpu", "--json"]
    assert main(["sample", str(run), "--sampler", "budget", "--out", str(out), *base]) == 2
    assert "ganvas calibrate" in capsys.readouterr().err
    assert main(["sample", str(run), "--best", "--out", str(out), *base]) == 2
    assert f"ganvas improve {run}" in capsys.readouterr().err
    assert main(["improve", str(run), "--budget", "1000000", *base]) == 2
    assert "budget is 1000000; it must be at most 10,000" in capsys.readouterr().err
    with monkeypatch.context() as patch:
        patch.setattr(
            import_module("ganvas.sampling.improve"), "calibrate_model", None
        )  # refused before that
        assert main(["improve", str(run), "--extractor", "nobodys", *base]) == 2
    assert "Unknown extractor 'nobodys'" in capsys.readouterr().err
    assert (
        main(["sample", str(run), "--sampler", "truncate", "--set", "amount=0.5", "--out", str(out), *base])
        == 0
    )
    assert json.loads(capsys.readouterr().out)["cost"] == 1
    assert (
        main(["sample", str(run), "--sampler", "truncate", "--set", "amout=0.5", "--out", str(out), *base])
        == 2
    )
    assert "Did you mean 'amount'" in capsys.readouterr().err
    assert (
        main(["sample", str(run), "--sampler", "truncate", "--set", "amount=much", "--out", str(out), *base])
        == 2
    )
    assert main(["sample", str(run), "--set", "amount=1", "--out", str(out), *base]) == 2
    capsys.readouterr()
    model = ganvas.load(run, device="cpu")
    images, labels = ganvas.load_dataset("digits").take(torch.arange(1797))
    np.savez(tmp_path / "few.npz", images=images[:90].numpy())
    assert main(["calibrate", str(run), "--data", str(tmp_path / "few.npz"), *base]) == 2
    assert (
        "needs 100 real samples that the model was not trained on; of few there are 45"
        in capsys.readouterr().err
    )
    np.savez(
        tmp_path / "more.npz",
        images=np.concatenate([images.numpy()] * 2),
        labels=np.concatenate([labels.numpy()] * 2),
    )  # type: ignore[union-attr]
    more = ["--data", str(tmp_path / "more.npz")]
    assert main(["calibrate", str(run), *more, "--critic", "own", *base]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["critic"] == "own"
    assert (home_of(model) / "ratio.safetensors").is_file()
    assert home_of(model).is_relative_to(run)
    (run / "sampling").rename(run / "kept")
    (tmp_path / "theirs").mkdir()
    (run / "sampling").symlink_to(tmp_path / "theirs")
    assert not home_of(model).is_relative_to(run), "a linked folder is not the run's: nothing goes into it"
    home_of(model).mkdir(parents=True)
    for name in ("ratio.safetensors", "improve.json"):
        (home_of(model) / name).touch()
    assert kept_ratio(model) == home_of(model) / "ratio.safetensors", "the cache is the user's"
    with pytest.raises(GanvasError, match="is damaged"):
        best_of(model)
    shutil.rmtree(home_of(model))
    (run / "sampling").unlink()
    (run / "kept").rename(run / "sampling")
    kept = home_of(model) / "ratio.safetensors"
    kept.rename(tmp_path / "elsewhere")
    for path, read in ((kept, kept_ratio), (kept.with_name("improve.json"), best_of)):
        path.symlink_to(tmp_path / "elsewhere")
        with pytest.raises(GanvasError, match="lies behind a link that leads out of the run"):
            read(model)
        path.unlink()
    (tmp_path / "elsewhere").rename(kept)
    for name in ("budget", "metropolis", "langevin"):
        assert (
            main(
                ["sample", str(run), "--sampler", name, "--n", "9", "--budget", "4", "--out", str(out), *base]
            )
            == 0
        )
        assert json.loads(capsys.readouterr().out)["cost"] >= 4
    flags = [
        "--budget",
        "4",
        "--n",
        "200",
        "--critic",
        "own",
        "--extractor",
        "raw",
        "--out",
        str(tmp_path / "shown"),
    ]
    plotted = improve_command._plot

    def meanwhile(*given: Any) -> Any:
        """Another `improve` of the same model ends while this one draws."""
        io.write_json(home_of(model) / "improve.json", {"best": "of another"})
        return plotted(*given)

    improving = import_module("ganvas.sampling.improve")
    made: list[Improved] = []

    def noted(*given: Any, **more: Any) -> Improved:
        made.append(improve_whole(*given, **more))
        return made[0]

    monkeypatch.setattr(improve_command, "_plot", meanwhile)
    monkeypatch.setattr(improving, "improve_model", noted)
    assert main(["improve", str(run), *more, *flags, *base]) == 0
    document = json.loads(capsys.readouterr().out)
    assert io.read_json(home_of(model) / "improve.json")["rows"] == document["rows"]
    assert len(document["rows"]) > 10
    assert {path.name for path in (tmp_path / "shown").iterdir()} == {"pareto.png", "before.png", "after.png"}
    with monkeypatch.context() as patch:
        patch.setattr(improving, "improve_model", lambda *given, **more: made[0])
        patch.setattr(improve_command, "_plot", plotted)
        patch.setattr(io, "write_json", full_disk)
        assert main(["improve", str(run), *more, *flags, *base]) == 2
    assert json.loads(capsys.readouterr().out) == document, "told, though they cannot be kept"
    best = ["sample", str(run), "--best", "--n", "9", "--out", str(out), *base]
    assert main(best) == 0
    assert main([*best, "--sampler", "flow"]) == 2
    path = home_of(model) / "improve.json"
    io.write_json(path, {**io.read_json(path), "best": {"sampler": "budget", "options": {}}})
    assert "another ratio" not in capsys.readouterr().err
    assert main(best) == 0
    assert "another ratio" not in capsys.readouterr().err
    assert main(["calibrate", str(run), *more, "--critic", "own", "--seed", "5", *base]) == 0
    assert main(best) == 0
    assert "another ratio" in capsys.readouterr().err


def test_a_model_without_a_critic_and_its_classifier_as_the_guide() -> None:
    """The features critic: a head on the bundled classifier, differentiable down to the latent."""
    from ganvas.model_data import classifier_of

    model = ganvas.load("fashion", device="cpu", critic=False)
    seen = classifier_of(model)
    assert seen is not None
    noise = torch.randint(0, 256, (300, 1, 28, 28), dtype=torch.uint8)
    ratio = fit_ratio(
        LatentZ(model), noise[:150], train=(noise[150:], None), guide=seen.network, method="platt", steps=50
    )
    assert ratio.report.critic == "features"
    assert ratio.report.auc > 0.95
    z = torch.randn(3, model.latent_dim, requires_grad=True)
    (slope,) = torch.autograd.grad(ratio(model.generator(z)).sum(), z)
    assert slope.abs().sum() > 0

    held_out = Dataset("noise", noise, (1, 28, 28), "noise", torch.zeros(300).long(), ("noise",))
    judge = Evaluator(open_extractor("classifier-fashion-mnist", device="cpu"), held_out)
    with pytest.raises(GanvasError, match="cannot judge what it guides"):
        improve_model(model, ratio, judge, budget=1, n=100)
    with pytest.raises(GanvasError, match=r"classifier-fashion-mnist-\w+, which cannot judge what it guides"):
        independent_extractor(ratio, held_out, "classifier-fashion-mnist", device="cpu")
    assert independent_extractor(ratio, held_out, "raw", device="cpu").id == "raw"


@pytest.mark.slow
def test_an_extractor_that_did_not_guide_is_trained_on_what_was_not_held_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """And kept: the same weights the second time, of another kind than the guide."""
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path))
    data = load_dataset("digits")
    _, held_out = data.split(0.3, 0)
    bundled = open_extractor("auto", held_out, "cpu")
    assert isinstance(bundled, ClassifierExtractor)
    images, labels = data.take(torch.arange(300))
    ratio = fit_ratio(
        LatentZ(album(data)), images[:150], labels[:150], train=(images[150:], labels[150:]), guide=bundled.network,
        method="platt", steps=5,
    )  # fmt: skip
    assert guided_by(ratio, bundled)
    judge = independent_extractor(ratio, held_out, device="cpu")
    assert isinstance(judge, ClassifierExtractor)
    assert not guided_by(ratio, judge)
    assert judge.network.spec["body"] == "residual" != bundled.network.spec["body"]
    assert judge.id == independent_extractor(ratio, held_out, device="cpu").id
    assert [path.parent.name for path in tmp_path.rglob("*.safetensors")] == ["extractors"]


def test_an_extractor_that_did_not_guide_is_kept_for_the_part_that_was_held_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One of another split has learned from what it would judge; one that is damaged is made anew."""
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path))
    monkeypatch.setattr("ganvas.sampling.held_out.guided_by", lambda ratio, extractor: True)
    digits, learned = load_dataset("digits"), []

    def train(part: Dataset, held_out: Dataset, **more: Any) -> classifier.Trained:
        assert part.indices is not None
        learned.append(part.indices)
        return classifier.Trained(classifier.Classifier((1, 8, 8), 10, body="residual"), 1.0)

    monkeypatch.setattr("ganvas.features.classifier.train_on", train)
    parts = [digits.split(0.3, fold)[1] for fold in (0, 1, 0, 0)]
    for each in parts:
        independent_extractor(cast(LogRatio, None), each, device="cpu")
    assert len(learned) == 2
    for part, indices in zip(parts, learned, strict=False):
        assert part.indices is not None
        assert not set(part.indices.tolist()) & set(indices.tolist())
    for path in tmp_path.rglob("*.safetensors"):
        path.write_bytes(b"damaged")
    independent_extractor(cast(LogRatio, None), parts[0], device="cpu")
    assert len(learned) == 3


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_what_the_cache_has_no_room_for_is_used_once(
    error: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`ganvas improve` ended with all that it had calibrated: an empty file could be made in a cache that was full."""
    cache, put = tmp_path / "cache", os.replace
    monkeypatch.setenv("GANVAS_CACHE", str(cache))
    monkeypatch.setattr("ganvas.sampling.held_out.guided_by", lambda ratio, extractor: True)
    trained = classifier.Trained(classifier.Classifier((1, 8, 8), 10, body="residual"), 1.0)
    monkeypatch.setattr("ganvas.features.classifier.train_on", lambda *given, **more: trained)

    def full(source: Path, target: Path) -> None:
        if Path(target).is_relative_to(cache):
            raise OSError(error, os.strerror(error), str(target))
        put(source, target)

    _, held_out = load_dataset("digits").split(0.3, 0)
    with monkeypatch.context() as patch:
        patch.setattr("os.replace", full)
        once = independent_extractor(cast(LogRatio, None), held_out, device="cpu")
        assert not list(cache.rglob("*.safetensors"))
    assert once.id == independent_extractor(cast(LogRatio, None), held_out, device="cpu").id
    assert len(list(cache.rglob("*.safetensors"))) == 1


def test_one_call_calibrates_and_measures_on_halves_that_share_no_sample(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`improve_model` judges on what `calibrate_model` gave back, by an extractor that did not guide."""
    train = critics.train_fresh
    quickly = "ganvas.sampling.ratio.train_fresh"
    monkeypatch.setattr(quickly, lambda space, real, steps, *more: train(space, real, 60, *more))
    model = album(load_dataset("digits"))
    improved = improve_whole(model, "digits", n=100, budget=2, critic="fresh", extractor="raw", device="cpu")
    ratio, held_out = calibrate_model(model, "digits", critic="fresh", judged=True)
    assert improved.about == {
        "data": "digits", "budget": 2, "n": 100, "seed": 0, "extractor": "raw", "real": len(held_out)
    }  # fmt: skip
    assert improved.ratio.report == ratio.report
    assert improved.found.before.setting == Setting("prior")
    with pytest.raises(GanvasError, match="Unknown objective"):
        improve_whole(model, "digits", n=100, critic="fresh", extractor="raw", objective="fid")  # type: ignore[arg-type]


def test_a_guide_or_a_judge_that_knows_what_was_held_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bundled classifiers spare the tenth of fold 0 at best: nothing said so."""
    train = critics.train_fresh
    quickly = "ganvas.sampling.ratio.train_fresh"
    monkeypatch.setattr(quickly, lambda space, real, steps, *more: train(space, real, 5, *more))
    monkeypatch.setattr(classifier, "train_on", partial(classifier.train_on, epochs=1))
    digits = load_dataset("digits")
    model = album(digits)

    def of(**split: Any) -> Model:
        known = DataReference(DataConfig("digits", **split), digits.name, digits.fingerprint)
        return Model(model.generator, None, replace(model.info, data=known, class_names=digits.class_names))

    told = "held-out samples, by which the critic tells them"
    for split in ({}, {"fold": 1}):
        for critic in ("features", "fresh"):
            ratio, _ = calibrate_model(of(**split), critic=critic)
            said = any(told in each for each in ratio.report.warnings)
            assert said == (bool(split) and critic == "features")
    how: Any = {"n": 100, "budget": 1, "objective": "precision", "device": "cpu"}
    for critic in ("features", "fresh"):
        words = " ".join(improve_whole(of(holdout=0.2, fold=1), critic=critic, **how).found.words)
        assert (told in words) == (critic == "features")
        judges = critic == "fresh"  # else a classifier that was trained without them
        assert ("compare samplers by these figures" in words) == judges


class Classes(nn.Module):
    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        return z + labels[:, None]


def test_conditional_models_need_the_labels_of_real_samples() -> None:
    space = LatentZ(ganvas.wrap(Classes(), latent_dim=2, shape=(2,), num_classes=2))

    def judge(samples: Tensor, labels: Tensor | None) -> Tensor:
        assert labels is not None
        return -(samples - labels[:, None]).square().sum(1)

    with pytest.raises(GanvasError, match="conditional"):
        fit_ratio(space, torch.randn(200, 2), critic=judge)
    labels = torch.arange(200) % 2
    ratio = fit_ratio(space, 0.5 * torch.randn(200, 2) + labels[:, None], labels, critic=judge)
    assert ratio.report.auc > 0.6
    again = ratio.refit(Truncated(space, 1.0, "threshold"))
    assert again.report.fake == 200


def test_a_ratios_file_does_not_choose_how_many_samples_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten megabytes of a stranger's had five million drawn, for hours, where four were wanted."""
    space = LatentZ(ganvas.wrap(Classes(), latent_dim=2, shape=(2,), num_classes=2))

    def judge(samples: Tensor, labels: Tensor | None) -> Tensor:
        assert labels is not None
        return -(samples - labels[:, None]).square().sum(1)

    labels = torch.arange(400) % 2
    ratio = fit_ratio(space, 0.5 * torch.randn(400, 2) + labels[:, None], labels, critic=judge)
    monkeypatch.setattr("ganvas.sampling.ratio.MOST_REFIT", 150)
    again = ratio.refit(Truncated(space, 1.0, "threshold"))
    assert (again.report.fake, again.report.real) == (150, 150)
    assert ratio.refit(Truncated(space, 1.0, "threshold"), fake=300).report.fake == 300


@pytest.mark.parametrize("shape", [(3, 16, 32), (1, 12, 12), (1, 128, 128)])
@pytest.mark.parametrize("critic", ["own", "fresh"])
def test_a_ratio_of_pictures_of_any_size_is_opened_again(
    critic: Literal["own", "fresh"], shape: tuple[int, ...], tmp_path: Path
) -> None:
    """A fresh critic sees squares of up to 64 px; the model's own was taken for one of them."""
    config = NetworkConfig("dcgan", latent_dim=4, generator={"channels": 2}, critic={"channels": 2})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        generator, judge = build_generator(config, shape, 0), build_critic(config, shape, 0)
    model = Model.of_run(generator.eval(), judge.eval(), ganvas.Config(network=config), {})
    space = LatentZ(model)
    real = torch.randint(256, (120, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    ratio = fit_ratio(space, real, critic=critic, train=(real, None), steps=1)
    ratio.save(tmp_path / "r.safetensors")
    kept = LogRatio.load(tmp_path / "r.safetensors", model)
    some = to_floats(model, real[:3])
    torch.testing.assert_close(kept.logits(some), ratio.logits(some))
    assert kept.network.shape == (shape if critic == "own" else seen_shape(shape))


def test_a_ratio_is_fitted_anew_to_samples_of_the_classes_of_the_real_ones(tmp_path: Path) -> None:
    """A perfect generator and data that are mostly of one class: shares of the classes are nothing that tells them apart."""
    model = ganvas.wrap(Classes(), latent_dim=2, shape=(2,), num_classes=2)
    space = LatentZ(model)
    labels = (torch.arange(2000) % 10 == 0).long()
    real = torch.randn(2000, 2, generator=torch.Generator().manual_seed(1)) + labels[:, None]
    ratio = fit_ratio(space, real, labels, critic=lambda samples, labels: samples[:, 0])
    whole = Truncated(space, 8.0, "threshold")  # the prior itself
    for found in (ratio, ratio.refit(whole), ratio.refit(whole, labels=torch.tensor([1]))):
        assert found.report.auc == pytest.approx(0.5, abs=0.1)
    assert ratio.refit(whole, labels=torch.tensor([1])).report.real == 200
    # Chains start at real samples of their own class.
    apart = torch.where(labels == 1, 5.0, -5.0)
    chains = Target(space, ratio, 50, None, torch.arange(2))
    assert _starts(chains, apart, labels).tolist() == [-5.0, 5.0] * 25
    fresh = fit_ratio(space, real, labels, train=(real, labels), critic="fresh", steps=3)
    fresh.save(tmp_path / "r.safetensors")
    kept = LogRatio.load(tmp_path / "r.safetensors", model)
    assert kept.real_labels is not None
    assert kept.real_labels.equal(labels)
    for odd in (labels + 1, labels[:9], labels.float()):
        fresh.real_labels = odd
        fresh.save(tmp_path / "r.safetensors")
        with pytest.raises(GanvasError, match="no classes of the model"):
            LogRatio.load(tmp_path / "r.safetensors", model)


@pytest.fixture(scope="module")
def saved_ratio(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Model]:
    model = ganvas.wrap(
        torch.nn.Sequential(torch.nn.Linear(4, 2), torch.nn.Tanh()), latent_dim=4, value_range=(-1, 1)
    )
    real = torch.rand(400, 2) * 2 - 1
    ratio = fit_ratio(open_space(model, "z"), real[:200], train=(real[200:], None), critic="fresh", steps=20)
    path = tmp_path_factory.mktemp("ratio") / "ratio.safetensors"
    ratio.save(path)
    return path, model


def _knots(tensors: dict[str, torch.Tensor], x: list[float], y: list[float]) -> dict[str, torch.Tensor]:
    return {**tensors, "x": torch.tensor(x, dtype=torch.float64), "y": torch.tensor(y, dtype=torch.float64)}


@pytest.mark.parametrize(
    ("change", "tensors", "message"),
    [
        ({"network.critic": {"hidden": [60_000, 60_000]}}, None, "does not fit its own config"),
        ({"network.name": "dcgan", "network.critic": {"channels": 6000}}, None, "does not fit its own config"),
        ({"network.critic": {"hidden": [4] * 60_000}}, None, "more layers than it holds tensors"),
        ({"network.critic": {"hidden": 10**9}}, None, "65,536 at most"),
        ({"network": 5}, None, "damaged"),
        ({"report.method": "guess"}, None, "method 'guess'"),
        ({"report.auc": float("nan")}, None, "auc is nan"),
        ({"report.kl": "much"}, None, "kl is 'much'"),
        ({"report.curve": [[1, 2]]}, None, "damaged"),
        ({"report.curve": [[0.5, 0.5, math.inf]]}, None, "damaged"),
        ({"report": None}, None, "damaged"),
        ({"network.pack": 2}, None, "judges none alone"),
        ({}, lambda t: _knots(t, [0.0, math.nan], [0.0, 1.0]), "not finite"),
        ({}, lambda t: _knots(t, [0.0, 1.0], [0.0, math.inf]), "not finite"),
        ({}, lambda t: _knots(t, [], []), "two or more"),
        ({}, lambda t: _knots(t, [0.0], [0.0]), "two or more"),
        ({}, lambda t: _knots(t, [0.0, 1.0], [0.0, 1.0, 2.0]), "two or more"),
        ({}, lambda t: _knots(t, [1.0, 0.0], [0.0, 1.0]), "does not rise"),
        ({}, lambda t: _knots(t, [0.0, 1.0], [1.0, 0.0]), "does not rise"),
        ({}, lambda t: {**t, "slope": torch.zeros(3)}, "two or more"),
        ({}, lambda t: {**t, "x": t["x"].long()}, "not finite numbers"),
        ({}, lambda t: {**t, "y": t["y"].to(torch.float8_e4m3fn)}, "damaged"),
        ({}, lambda t: {**t, "real_logits": torch.empty(0)}, "no row of numbers"),
        ({}, lambda t: {**t, "real_groups": torch.zeros(200)}, "groups are no numbers"),
        ({}, lambda t: {**t, "real_logits": torch.tensor([math.nan])}, "not finite"),
        ({}, lambda t: {k: v for k, v in t.items() if k != "real_logits"}, "damaged"),
        ({}, lambda t: {k: v * math.nan if "network" in k else v for k, v in t.items()}, "NaN or infinite weights"),
    ],
)  # fmt: skip
def test_a_ratio_from_outside_is_checked(
    saved_ratio: tuple[Path, Model], tmp_path: Path, change: dict[str, object], tensors: Any, message: str
) -> None:
    """Before anything is allocated or computed with: the header, the map, and the weights against both."""
    path, model = saved_ratio
    assert LogRatio.load(path, model).report.real == 200
    given = None if tensors is None else tensors(load_file(path))
    with pytest.raises(GanvasError, match=message):
        LogRatio.load(rewrite(path, tmp_path / "bad.safetensors", change, given), model)


def test_a_ratio_chooses_no_amount_of_memory(saved_ratio: tuple[Path, Model], tmp_path: Path) -> None:
    """What a critic takes hangs on more than its weights: 0.3 MB for long series took gigabytes."""
    config = NetworkConfig("mlp", latent_dim=4, generator={"hidden": [8]})
    generator = build_generator(config, (1, 8192), 0)
    model = Model(generator, None, ModelInfo.of(generator, "mlp", architecture=config))
    judge = NetworkConfig("transformer-small", critic={"channels": 32})
    critic = critics.alone(build_critic(judge, (1, 8192), 0))
    tensors, header = io.load_tensors(saved_ratio[0])
    tensors = {name: each for name, each in tensors.items() if not name.startswith("network.")}
    tensors |= {f"network.{name}": each for name, each in critic.state_dict().items()}
    del header["format_version"]
    header |= {"network": to_dict(judge), "model": model.hash}
    io.save_tensors(tmp_path / "ratio.safetensors", tensors, header)
    with pytest.raises(GanvasError, match="at a time for one sample"):
        LogRatio.load(tmp_path / "ratio.safetensors", model)


def test_settings_and_measures_can_be_told_apart() -> None:
    """The table of `ganvas improve` had a sampler called `ex2 1 3 1`, and its words `0.88` beside `0.882`."""
    assert Setting("budget", {"candidates": 10}).label == "budget 10"
    assert Setting("ex2", {"steps": 1, "candidates": 3}).label == "ex2 steps=1 candidates=3"
    assert [written(value) for value in (0.88, 0.8951, 36.04)] == ["0.880", "0.895", "36.0"]


@pytest.mark.parametrize(
    ("best", "message"),
    [
        ({"sampler": "budget", "options": {"n": 5}}, "no such option"),
        ({"sampler": "budget", "options": {"generator": 1}}, "no such option"),
        ({"sampler": "prior", "options": {"callback": "x"}}, "no such option"),
        ({"sampler": "langevin", "options": {"steps": "x"}}, "expected a value like"),
        ({"sampler": "budget", "options": {"budget": [1]}}, "expected a value like"),
        ({"sampler": "budget", "options": {"budget": True}}, "expected a value like"),
        ({"sampler": "metropolis", "options": {"steps": 10_000_000}}, "may say 10,000 at most"),
        ({"sampler": "polarity", "options": {"bank": 10_000_000}}, "may say 10,000 at most"),
        ({"sampler": "resample", "options": {"candidates": 2**63}}, "may say 10,000 at most"),
        ({"sampler": "resample", "options": {"candidates": 200, "steps": 100}}, "multiply to 20,000"),
        (
            {"sampler": "ex2", "options": {"steps": 100, "candidates": 100, "local": 100}},
            "multiply to 1,000,000",
        ),
        ({"sampler": "reweight", "options": {"hidden": 10_000, "bank": 100}}, "multiply to 1,000,000"),
    ],
)
def test_a_recommendation_from_anybody(best: dict[str, Any], message: str) -> None:
    """A run is passed on with its improve.json: it chose hours, or ended in a traceback."""
    model = ganvas.load("fashion", device="cpu")
    path = home_of(model) / "improve.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"best": best}))
    with pytest.raises(GanvasError, match=message):
        best_of(model)


def test_every_setting_that_improve_tries_is_read_again() -> None:
    model = ganvas.load("fashion", device="cpu")
    path = home_of(model) / "improve.json"
    for budget in (1, 10, 1000, 10_000):
        for setting in settings(model, budget):
            io.write_json(path, {"best": asdict(setting)})
            assert best_of(model) == setting


def test_a_ratio_whose_guide_sees_huge_pictures_is_refused() -> None:
    """All samples are brought to the size that its header says."""
    model = ganvas.load("fashion", device="cpu")
    guide = classifier.Classifier((1, 128, 128), 10)
    assert critics.build(guide.spec, model, own=False)
    with pytest.raises(GanvasError, match="1024 x 1024 px; for this model they have 128 px at most"):
        critics.build({**guide.spec, "shape": [1, 1024, 1024]}, model, own=False)


def test_generated_samples_of_a_calibration_are_of_all_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of real samples that come class by class, fewer generated ones were of the first classes alone."""
    model, asked = ours("dcgan", 5), list[Tensor]()

    def watched(samples: Tensor, labels: Tensor | None) -> Tensor:
        assert labels is not None
        asked.append(labels)
        return samples.flatten(1).mean(1)

    real = torch.randint(0, 256, (500, 1, 16, 16), dtype=torch.uint8)
    labels = torch.arange(5).repeat_interleave(100)
    fit_ratio(LatentZ(model), real, labels, critic=watched, fake=150)
    assert torch.cat(asked)[:150].bincount(minlength=5).min() > 15


def test_large_pictures_are_judged_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """All real and generated pictures as floats, and 30,000 to train a critic on that nobody asked for, were gigabytes."""
    model, sizes = ours("dcgan"), list[int]()

    def watched(samples: Tensor, labels: Tensor | None) -> Tensor:
        sizes.append(len(samples))
        return samples.flatten(1).mean(1)

    real = torch.randint(0, 256, (300, 1, 16, 16), dtype=torch.uint8)
    whole = fit_ratio(LatentZ(model), real, critic=watched)
    monkeypatch.setattr("ganvas.features.base.NUMBERS", 40 * 16 * 16)
    sizes.clear()
    found = fit_ratio(LatentZ(model), real, critic=watched)
    assert max(sizes) == 40
    assert found.report.auc == pytest.approx(whole.report.auc)
    assert critics.pool_of((3, 256, 256)) * 3 * 256**2 <= critics.HELD
    # A critic keeps 40 MB of a picture of 256 px, of which 64 are drawn at a time.
    monkeypatch.setattr("ganvas.latent.critic.ROOM", 13 * 16 * 16)
    sizes.clear()
    again = found.refit(LatentZ(model))
    assert fit_ratio(LatentZ(model), real, critic=watched).report.auc == pytest.approx(whole.report.auc)
    assert max(sizes) == 13
    assert again.report.fake == 300


def test_a_guide_of_another_size_learns_from_what_it_judges() -> None:
    """Pictures were brought to its size to be judged, and not to be learned from."""
    model = ours("dcgan")
    critic = critics.FeatureCritic(classifier.Classifier((1, 8, 8), 3), (-1.0, 1.0))
    samples = model.sample(5)
    found = critics._features_of(critic, model, samples, lambda what, done, total: None)
    small = critics.resized(to_floats(model, samples), (1, 8, 8))
    assert small.shape == (5, 1, 8, 8)
    assert torch.allclose(found, critic.features(small), atol=1e-5)


def test_a_bound_on_the_divergence_is_one_where_the_mean_ratio_is_above_one() -> None:
    """E log r alone is no bound then: twice the ratio would be log 2 more."""
    report = Report("fresh", "platt", 9, 9, 0.5, 0.1, 0.7, 0.0, 1.0, mean_ratio=2.0, kl=1.0)
    assert f"at least {1 - math.log(2):.2f} nats" in " ".join(report.words())
    assert "at least 1.00 nats" in " ".join(replace(report, mean_ratio=0.5).words())


def test_windows_that_guide_and_windows_that_judge_share_no_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every second one judged, which overlapped with its neighbours."""
    values = np.random.default_rng(0).standard_normal((4000, 2)).cumsum(0)
    np.savetxt(tmp_path / "a.csv", values, "%.5f", ",", header="a,b", comments="")
    data = load_dataset(DataConfig(str(tmp_path / "a.csv"), window=24))
    guides = list[Tensor]()

    def noted(space: Any, real: Tensor, *_: Any, groups: Tensor, **__: Any) -> Any:
        guides.append(real)
        assert 10 < len(groups.unique()) < len(groups) == len(real)
        raise GanvasError("enough")

    monkeypatch.setattr(held_out, "fit_ratio", noted)
    monkeypatch.setattr(held_out, "load_data_of", lambda *_: (data, DataConfig(data.name, holdout=0.5)))
    halves = list[Dataset]()
    split = Dataset.split
    monkeypatch.setattr(Dataset, "split", lambda self, *a: halves.extend(found := split(self, *a)) or found)
    model = ganvas.wrap(nn.Linear(2, 48), latent_dim=2, shape=(48,))
    with pytest.raises(GanvasError, match="enough"):
        calibrate_model(model, "a", judged=True)
    guide, judge = halves[-2:]
    assert guide.spans_of_part is not None
    assert judge.spans_of_part is not None
    assert len(guides[0]) == len(guide)
    assert not overlapping(guide.spans_of_part, judge.spans_of_part).any()


def test_windows_of_one_series_are_not_as_many_real_samples() -> None:
    """The error of the AUC was that of independent ones, and windows of one stretch were in several folds."""
    groups = torch.arange(400) // 40
    found = []
    for seed in range(40):
        random = torch.Generator().manual_seed(seed)
        real = torch.randn(10, generator=random)[groups] + 0.1 * torch.randn(400, generator=random)
        found.append(calibrate(real, torch.randn(400, generator=random), "platt", groups)[1])
    beyond = [abs(each.auc - 0.5) > 3 * each.auc_error for each in found]
    assert np.mean(beyond) < 0.2
    assert np.mean([each.log_loss for each in found]) > 0.69, "nothing is known of other stretches"
    plain = calibrate(real, torch.randn(400, generator=random), "platt")[1]
    alone = calibrate(real, torch.randn(400, generator=random), "platt", groups * 0)[1]
    assert 3 * plain.auc_error < found[-1].auc_error < alone.auc_error == 0.5
    each = calibrate(real, real + 0.1, "platt", torch.arange(400))[1].auc_error
    assert each == pytest.approx(calibrate(real, real + 0.1, "platt")[1].auc_error, rel=0.2)


def test_a_critic_is_not_trained_on_windows_beside_those_it_is_calibrated_on(tmp_path: Path) -> None:
    model = ganvas.wrap(nn.Linear(4, 2), latent_dim=4)
    groups = torch.arange(400) // 40
    real = torch.randn(10, 2, generator=torch.Generator().manual_seed(0))[groups].contiguous()
    real += 0.01 * torch.randn(400, 2, generator=torch.Generator().manual_seed(1))
    found = fit_ratio(open_space(model, "z"), real, critic="fresh", steps=3, groups=groups)
    assert found.real_groups is not None
    assert found.real_groups.unique(return_counts=True)[1].tolist() == [40] * 5, "whole ones"
    assert "rests on 5 sequences or" in found.report.warnings[-1]
    found.save(tmp_path / "r.safetensors")
    kept = LogRatio.load(tmp_path / "r.safetensors", model)
    assert kept.refit(open_space(model, "z")).report.auc_error > 0.02
    with pytest.raises(GanvasError, match="one number each"):
        fit_ratio(open_space(model, "z"), real, groups=groups[:9])


@pytest.mark.parametrize("seed", range(4))
def test_two_sequences_are_two_halves_in_either_order(seed: int) -> None:
    """Where the larger one came first, one half was empty, and the calibration refused."""
    model = ganvas.wrap(nn.Linear(4, 2), latent_dim=4)
    groups = (torch.arange(400) >= 210).long()
    found = fit_ratio(
        open_space(model, "z"), torch.randn(400, 2), critic="fresh", steps=1, seed=seed, groups=groups
    )
    assert len(found.real_logits) in (190, 210)
    assert found.real_groups is not None
    assert len(found.real_groups.unique()) == 1
