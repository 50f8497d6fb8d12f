"""Small things that many tests need. Every run here is tiny: seconds on one core."""

import gc
import importlib
import itertools
import os
import shutil
import signal
import urllib.request

os.environ.setdefault(
    "CUDA_VISIBLE_DEVICES", ""
)  # the suite judges the CPU; GPU checks have benchmarks of their own
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # as many processes as cores: a thread each

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from filelock import FileLock
from PIL import Image
from torch.nn.utils import parametrizations

import ganvas
from ganvas import io
from ganvas.config import NetworkConfig
from ganvas.data.idx import SYSTEM_FOLDERS, is_idx_folder
from ganvas.errors import GanvasError
from ganvas.model import Model, ModelInfo
from ganvas.networks import build_generator
from ganvas.runs import open_run
from ganvas.training import Result
from ganvas.web import landscape
from tests.forked import MAPPED
from tools import browser

TINY = {
    "network.latent_dim": 8,
    "network.generator.channels": 4,
    "network.critic.channels": 4,
    "training.snapshot_kimg": 0.256,
    "training.log_kimg": 0.064,
}
"""Settings that make the default preset train in a blink on 8 px digits."""


FASHION = Path(SYSTEM_FOLDERS["fashion-mnist"])
"""Where the Debian package dataset-fashion-mnist puts the 70,000 images."""
NEEDS = {
    "browser": "no Chromium with its driver here: apt-get install chromium chromium-driver",
    "fashion": "no Fashion-MNIST here: apt-get install dataset-fashion-mnist",
    "gpu": "no GPU here, or hidden: CUDA_VISIBLE_DEVICES=0",
    "slow": "`make test CI=1` runs them, too",
    "weights": "set GANVAS_INCEPTION to the file with the published weights",
}
"""Marker -> why its tests are left out where that is missing, or are not asked for."""


def full_disk(*arguments: object) -> None:
    """In the place of a function that writes."""
    raise GanvasError("Could not finish writing: No space left on device.")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help="leave out tests marked slow, and say how many")


def there(marker: str, config: pytest.Config) -> bool:
    """Whether this machine has what tests with a marker need."""
    if marker == "slow":
        return not config.getoption("quick")
    if marker == "browser":
        return bool(browser.CHROMIUM and browser.DRIVER)
    if marker == "fashion":
        return is_idx_folder(FASHION)
    if marker == "gpu":
        return torch.cuda.is_available()
    return bool(os.environ.get("GANVAS_INCEPTION"))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Leave out what cannot run here. Where commits are checked there is a browser, or the check is none."""
    for marker, reason in NEEDS.items():
        if item.get_closest_marker(marker) and not there(marker, item.config):
            if marker in ("browser", "fashion") and os.environ.get("CI"):
                pytest.fail(f"CI is set, and there is {reason}", pytrace=False)
            pytest.skip(reason)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How many tests were left out, by what they need."""
    skipped = terminalreporter.stats.get("skipped", [])
    for marker, reason in NEEDS.items():
        if count := sum(marker in report.keywords for report in skipped):
            terminalreporter.write_line(
                f"{count} tests marked {marker!r} were left out: {reason}", yellow=True
            )


@pytest.fixture(autouse=True, scope="session")
def _a_bare_machine() -> Iterator[None]:
    """Data sets of the system are seen by tests marked `fashion` alone, and nothing is downloaded."""

    urlopen = urllib.request.urlopen

    def near(url: Any, *further: Any, **named: Any) -> Any:
        address = getattr(url, "full_url", url)
        if not address.startswith(("file:", "http://127.0.0.1", "http://localhost", "http://[::1]")):
            raise OSError(f"a test asked for {address}")
        return urlopen(url, *further, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.delitem(SYSTEM_FOLDERS, "fashion-mnist")
        patch.setattr("urllib.request.urlopen", near)
        yield


@pytest.fixture(autouse=True, scope="session")
def _small_maps() -> Iterator[None]:
    """Of explorers and pages, in this process as in those that tests start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(landscape, "SAMPLES", MAPPED)
        yield


@pytest.fixture(autouse=True, scope="session")
def _no_power_iterations_on_nothing() -> Iterator[None]:
    """Networks that are built without numbers, to see that they can be: torch is slow there, and nothing comes of it."""
    iterate = parametrizations._SpectralNorm._power_method

    def where_there_are_numbers(self: Any, weight: torch.Tensor, iterations: int) -> None:
        if not weight.is_meta:
            iterate(self, weight, iterations)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parametrizations._SpectralNorm, "_power_method", where_there_are_numbers)
        yield


@pytest.fixture(autouse=True, scope="session")
def _one_registry_of_onnx() -> Iterator[None]:
    """An export to ONNX asks a thousand functions for their signatures, which takes a second: the first one asks for all."""
    export = torch.onnx.export

    with pytest.MonkeyPatch.context() as patch:

        def first(*given: Any, **named: Any) -> Any:
            registry = importlib.import_module("torch.onnx._internal.exporter._registration").ONNXRegistry
            patch.setattr(registry, "from_torchlib", staticmethod(cache(registry.from_torchlib)))
            patch.setattr(torch.onnx, "export", export)
            return export(*given, **named)

        patch.setattr(torch.onnx, "export", first)
        yield


@pytest.fixture(scope="session")
def _caches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Folders to come, in one of their own: to name its next, pytest's factory reads all of thousands each time."""
    base = tmp_path_factory.mktemp("caches")
    return (base / str(number) for number in itertools.count())


@pytest.fixture(autouse=True)
def _own_cache(
    request: pytest.FixtureRequest, _caches: Iterator[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = next(_caches)
    cache.mkdir(mode=0o700)
    monkeypatch.setenv("GANVAS_CACHE", str(cache))
    if request.node.get_closest_marker("fashion"):
        monkeypatch.setitem(SYSTEM_FOLDERS, "fashion-mnist", FASHION)


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
def common(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of this run of the suite that all its processes share."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


def once(folder: Path, make: Callable[[Path], object]) -> Path:
    """`folder` as `make` fills it, in the first process that asks; the others wait for it."""
    done = folder / "done"
    with FileLock(f"{folder}.lock"):
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)  # what a failed one left
            make(folder)
            done.touch()
    return folder


@pytest.fixture(scope="session")
def trained(common: Path) -> Result:
    """One finished tiny run that tests may read and must not change."""

    def make(out: Path) -> None:
        result = ganvas.train(
            "digits", kimg=0.512, batch=32, device="cpu", out=out, quiet=True, settings=TINY
        )
        io.write_json(out / "result.json", {**vars(result), "run": result.run.path.name})

    folder = once(common / "trained", make)
    found = io.read_json(folder / "result.json")
    return Result(**{**found, "run": open_run(folder / found["run"])})


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


def series_model(latent_dim: int = 4) -> Model:
    """An untrained model of series of two channels and 24 steps."""
    config = NetworkConfig("tcn", latent_dim=latent_dim, generator={"channels": 8, "depth": 1})
    generator = build_generator(config, (2, 24), 0).eval().requires_grad_(False)
    return Model(generator, None, ModelInfo.of(generator, "tcn", architecture=config))


def same_tensors(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    """Bit for bit."""
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


FIRST = (
    "test_project", "test_dist", "test_shared_work", "web/test_pages", "web/test_page", "web/test_hostile",
    "training/test_verdicts", "test_notebooks", "export/test_onnx", "export/test_page", "web/test_large", "web/test_beside",
    "importers/test_every_tool", "cli/test_json", "latent/test_statistics",
    "training/test_aae", "training/test_autoencoders", "training/test_latent",
    "training/test_series", "training/test_resolve", "training/test_kill", "training/test_resume", "test_fuzz", "test_readme",
)  # fmt: skip
"""Files that take long for the number of their tests. At the end one process would work on them while the others wait."""


def pytest_configure() -> None:
    """A suite that a shell started in the background would ignore the signals that its tests send."""
    for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, usual)


def pytest_collection_finish() -> None:
    """What five thousand tests are made of stays until the end: the collector of garbage need not look at it again and again."""
    import hypothesis  # noqa: F401  # it looks for the owners of random numbers, and would not find what is frozen

    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first; the order within a file stays."""
    places = {name: place for place, name in enumerate(FIRST)}
    folder = Path(__file__).parent

    def place(item: pytest.Item) -> int:
        return places.get(item.path.relative_to(folder).with_suffix("").as_posix(), len(FIRST))

    items.sort(key=place)
