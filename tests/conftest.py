"""Small things that many tests need. Every run here is tiny: seconds on one core."""

import os

os.environ.setdefault(
    "CUDA_VISIBLE_DEVICES", ""
)  # the suite judges the CPU; GPU checks have benchmarks of their own

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import ganvas
from ganvas.training import Result

TINY = {
    "network.latent_dim": 8,
    "network.generator.channels": 4,
    "network.critic.channels": 4,
    "training.snapshot_kimg": 0.256,
    "training.log_kimg": 0.064,
}
"""Settings that make the default preset train in a blink on 8 px digits."""


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def tiny_train(tmp_path: Path) -> Callable[..., Result]:
    """`ganvas.train` on digits with a tiny network for half a kimg; keyword arguments replace anything."""

    def run(data: str = "digits", **changes: Any) -> Result:
        settings = {**TINY, **changes.pop("settings", {})}
        defaults: dict[str, Any] = {
            "kimg": 0.512, "batch": 32, "seed": 3, "device": "cpu", "out": tmp_path / "runs", "quiet": True, "report": False,
        }  # fmt: skip
        return ganvas.train(data, settings=settings, **{**defaults, **changes})

    return run


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """One finished tiny run that tests may read and must not change."""
    return ganvas.train(
        "digits",
        kimg=0.512,
        batch=32,
        device="cpu",
        out=tmp_path_factory.mktemp("trained"),
        quiet=True,
        settings=TINY,
    )


@pytest.fixture
def image_folder(tmp_path: Path) -> Path:
    """Twelve 16 px colour PNGs in two sub-folders."""
    rng = np.random.default_rng(0)
    for name in ("cats", "dogs"):
        folder = tmp_path / "pictures" / name
        folder.mkdir(parents=True)
        for i in range(6):
            Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(folder / f"{i}.png")
    return tmp_path / "pictures"


def same_tensors(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    """Bit for bit."""
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests with the published Inception weights run where GANVAS_INCEPTION says where they are."""
    if not os.environ.get("GANVAS_INCEPTION"):
        for item in items:
            if item.get_closest_marker("weights"):
                item.add_marker(pytest.mark.skip(reason="set GANVAS_INCEPTION to the weights file to run it"))
