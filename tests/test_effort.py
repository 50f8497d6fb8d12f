"""What drawing one sample takes is known before it is drawn, and bounded by the size of the file."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

import ganvas
from ganvas import effort, io, model, networks
from ganvas.config import Config, NetworkConfig
from ganvas.errors import GanvasError
from ganvas.model import save_network


def test_operations_are_counted_by_hand() -> None:
    layers = [nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 16 * 16, 5)]
    network = nn.Sequential(*layers).to("meta")
    found = effort._Effort(1e12, 1e12)
    x = torch.empty(2, 3, 16, 16, device="meta")
    with torch.no_grad(), found:
        network(x)
    maps, dense = 2 * 8 * 16 * 16, 2 * 5
    # Multiplications and additions; then what is written, by convolution and ReLU, and by the dense layer; then all that is
    # begun: convolution, ReLU, another view of the maps, and of the weights, the dense layer.
    written, begun = 2 * maps + dense, 5
    assert found.work == 2 * maps * 27 + 2 * dense * 2048 + effort.TOUCHED * written + effort.BEGUN * begun


def test_the_largest_result_is_counted_by_hand() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 16 * 16, 5))
    assert effort.largest_result(lambda: network(torch.zeros(2, 3, 16, 16))) == 2 * 8 * 16 * 16


def test_whatever_else_the_compiler_is_asked_for_is_asked_of_the_real_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = ModuleType(effort.DYNAMO)
    real.graph_break = "of the real one"  # type: ignore[attr-defined]
    monkeypatch.delitem(sys.modules, effort.DYNAMO, raising=False)
    monkeypatch.setattr(effort.importlib, "import_module", lambda name: real)

    def function() -> None: ...

    with effort.without_dynamo():
        stand_in = sys.modules[effort.DYNAMO]
        function.__dynamo_disable = stand_in.disable(function, True, wrapping=False)  # type: ignore[attr-defined]
        assert stand_in.graph_break == "of the real one"
        assert effort.DYNAMO not in sys.modules
    assert not vars(function)


def saved(path: Path, name: str, side: int, **options: Any) -> Path:
    """A file whose few weights draw pictures of that side."""
    network = NetworkConfig(name, latent_dim=4, generator=options)
    made = networks.build_generator(network, (3, side, side), 0)
    header = {"kind": "generator", "shape": [3, side, side], "num_classes": 0}
    with io.atomic(path) as temporary:
        save_network(temporary, made, Config(network=network), header)
    return path


@pytest.mark.parametrize(
    ("name", "side", "options", "said"),
    [
        # Every pixel looks at its neighbours' 1,024 numbers: 19 GB.
        ("lightweight", 1024, {"channels": 1, "max_channels": 1, "attention": [7]}, "numbers at a time"),
        # Every pixel looks at a quarter of the others: 69 GB.
        ("biggan", 256, {"channels": 4, "attention": 11}, "numbers at a time"),
        ("lucidrains", 1024, {"channels": 1, "max_channels": 1, "attention": [8]}, "numbers at a time"),
        # 4,096 maps of 1,024 px, made by 4,096 weights: 17 GB.
        ("r3", 1024, {"channels": 1, "max_channels": 1, "expansion": 4096, "group": 1}, "numbers at a time"),
        # Its filters are 64 x 64: more than a minute.
        ("stylegan2", 4096, {"channel_base": 16384, "channel_max": 4, "taps": [1.0] * 64, "noise": False}, "operations"),
    ],
)  # fmt: skip
def test_a_small_file_does_not_draw_for_ever(
    name: str, side: int, options: dict[str, Any], said: str, tmp_path: Path
) -> None:
    path = saved(tmp_path / "generator.safetensors", name, side, **options)
    assert path.stat().st_size < 20 * 2**20
    with pytest.raises(GanvasError, match=said):
        ganvas.load(path, device="cpu")


PUBLISHED: list[tuple[str, int, int, dict[str, Any]]] = [
    ("stylegan2", 1024, 0, {}),
    ("stylegan2", 4096, 0, {"architecture": "resnet"}),
    ("stylegan3", 1024, 0, {"channel_base": 32768, "channel_max": 512}),
    ("stylegan3", 1024, 0, {"channel_base": 65536, "channel_max": 1024, "conv_kernel": 1, "use_radial_filters": True}),
    ("stylegan3", 128, 0, {"channel_base": 65536, "channel_max": 1024, "conv_kernel": 1, "use_radial_filters": True}),
    ("biggan", 512, 1000, {"channels": 128, "attention": 8, "rows": 51}),
    ("biggan", 128, 1000, {"channels": 128, "attention": 8, "rows": 51}),
    ("lightweight", 1024, 0, {"attention": [3]}),
    ("lucidrains", 1024, 0, {"attention": [1, 2]}),
    ("r3", 256, 0, {"published": True, "channels": 192, "max_channels": 768}),
    ("r3", 1024, 0, {}),
    ("progressive", 256, 0, {}),
    ("style", 256, 0, {}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "side", "classes", "options"), PUBLISHED)
def test_what_was_published_is_not_too_much(
    name: str, side: int, classes: int, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With room to spare: a third more work, and a third more memory, are let through too."""
    for limit in ("WORK", "WORK_EACH", "NUMBERS", "NUMBERS_EACH"):
        monkeypatch.setattr(effort, limit, getattr(effort, limit) * 0.75)
    chosen = NetworkConfig(name, 512, conditional=classes > 0, generator=options)
    with torch.device("meta"):
        made = networks.build_generator(chosen, (3, side, side), classes)
    labels = torch.zeros(1, dtype=torch.long, device="meta") if classes else None
    z = torch.empty(1, 512, device="meta")
    effort.check_effort("it", made, lambda: made(z, labels), model.least_batch((3, side, side)))


def test_a_network_is_left_as_it_was_and_unknown_operations_are_let_through() -> None:
    class Looks(nn.Module):
        def forward(self, x: torch.Tensor) -> float:
            return x.sum().item()

    network = Looks()
    effort.check_effort("it", network, lambda: network(torch.zeros(1, device="meta")))
    assert network.training


def test_parts_that_do_not_fit_are_a_sentence() -> None:
    network = nn.Sequential(nn.Linear(3, 4), nn.Linear(5, 1)).to("meta")
    with pytest.raises(GanvasError, match="it: its parts do not fit each other"):
        effort.check_effort("it", network, lambda: network(torch.zeros(1, 3, device="meta")))


def test_a_long_way_in_small_steps_is_work_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """4 KB that say 65,536 steps of 250 layers took hours to look at, since each step writes a few numbers only."""
    config = NetworkConfig("recurrent", latent_dim=4, generator={"channels": 2, "noise": 0, "chunk": 1})
    for steps in (10, 300):
        made = networks.build_generator(config, (1, steps), 0)
        header = {"kind": "generator", "shape": [1, steps], "num_classes": 0}
        with io.atomic(tmp_path / f"{steps}.safetensors") as temporary:
            save_network(temporary, made, Config(network=config), header)
    monkeypatch.setattr(effort, "WORK", 1000 * 2**19)
    assert ganvas.load(tmp_path / "10.safetensors").shape == (1, 10)
    with pytest.raises(GanvasError, match="operations for one sample"):
        ganvas.load(tmp_path / "300.safetensors")
