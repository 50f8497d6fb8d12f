"""The packaged model, opened once with the real images that come with it."""

import numpy as np
import pytest
import torch

import ganvas
from ganvas.model import PACKAGED, Model
from ganvas.networks import build_generator
from ganvas.sampling import LogRatio
from ganvas.sampling.store import kept_ratio
from ganvas.web.quality import Real
from ganvas.web.renderer import Renderer


@pytest.fixture(scope="package")
def fashion() -> Renderer:
    """What `ganvas explore` shows without a model."""
    model = ganvas.load("fashion", device="cpu")
    with np.load(PACKAGED / "fashion" / "real.npz") as arrays:
        real = Real(torch.from_numpy(arrays["images"]), "1,000 images that come along")
    return Renderer(model, "fashion", LogRatio.load(kept_ratio(model), model), real)


@pytest.fixture(scope="package")
def small() -> Renderer:
    """An untrained conditional style model of 16 px in colour, without a critic."""
    from ganvas.config import Config, NetworkConfig

    config = NetworkConfig("style", latent_dim=8, conditional=True, generator={"channels": 4})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        generator = build_generator(config, (3, 16, 16), 3).eval()
    with torch.no_grad():
        for name, weight in generator.named_parameters():
            if name.endswith("strength"):
                weight.fill_(0.5)  # so that noise shows
    generator.requires_grad_(False)
    return Renderer(Model.of_run(generator, None, Config(network=config), {}), "small")
