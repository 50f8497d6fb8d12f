"""Where spectral norm sits: by singular values, and by what the papers say a projection adds."""

import pytest
import torch
from torch import Tensor, nn

from ganvas.config import NetworkConfig
from ganvas.networks import CriticBase, build_critic, build_generator
from ganvas.networks.base import GeneratorBase
from ganvas.networks.layers import ConditionalBatchNorm
from ganvas.networks.resnet import ResnetCritic
from ganvas.presets import presets


def singular(module: nn.Module) -> float:
    weight: Tensor = module.weight  # type: ignore[assignment]
    return float(torch.linalg.matrix_norm(weight.detach().flatten(1), 2))


def layers(network: nn.Module) -> list[tuple[str, nn.Module]]:
    """Every layer with a matrix, but the per-class scales of norms."""
    norms = tuple(name for name, m in network.named_modules() if isinstance(m, ConditionalBatchNorm))
    kinds = (nn.Linear, nn.Conv2d, nn.Embedding)
    return [(n, m) for n, m in network.named_modules() if isinstance(m, kinds) and not n.startswith(norms)]


def settled(network: GeneratorBase | CriticBase) -> None:
    """One power iteration a forward pass: enough of them that the estimate is the value."""
    labels = torch.tensor([0, 1])
    x = torch.randn(2, network.latent_dim if isinstance(network, GeneratorBase) else 3, 32, 32)
    for _ in range(60):
        network(x[:, :, 0, 0] if isinstance(network, GeneratorBase) else x, labels)


@pytest.mark.parametrize("auxiliary", [False, True])
def test_sagan_norms_every_layer_of_both_networks(auxiliary: bool) -> None:
    config = presets.get("sagan").network
    config = NetworkConfig(
        "resnet", 16, conditional=True,
        generator={**config.generator, "channels": 8}, critic={**config.critic, "channels": 8, "auxiliary": auxiliary},
    )  # fmt: skip
    torch.manual_seed(0)
    pair = build_generator(config, (3, 32, 32), 4), build_critic(config, (3, 32, 32), 4)
    for network in pair:
        settled(network)
        found = layers(network)
        assert len(found) >= 12
        for name, layer in found:
            assert singular(layer) == pytest.approx(1.0, abs=0.02), name
    heads = {name for name, _ in layers(pair[1])}
    assert ("classify" if auxiliary else "embed") in heads


def test_a_generator_without_the_option_is_as_it_was() -> None:
    """Files of before have plain weights: no name of a tensor may change."""
    config = NetworkConfig("resnet", 6, generator={"channels": 8}, critic={"channels": 8})
    for network in (build_generator(config, (1, 8, 8), 0), build_critic(config, (1, 8, 8), 0)):
        spectral = any("parametrizations" in name for name in network.state_dict())
        assert spectral == isinstance(network, CriticBase)


def test_a_normed_projection_is_the_published_inner_product() -> None:
    """Miyato and Koyama 2018, eq. 3: y^T V phi(x) + psi(phi(x)), V divided by its largest singular value."""
    torch.manual_seed(0)
    critic = ResnetCritic((1, 8, 8), num_classes=3, channels=8, spectral_heads=True).double()
    x, labels = torch.randn(4, 1, 8, 8).double(), torch.tensor([0, 2, 1, 0])
    for _ in range(200):
        critic(x, labels)
    critic.eval()
    v = dict(critic.named_parameters())["embed.parametrizations.weight.original"]
    features = critic.features(x)
    expected = critic.head(features).squeeze(1) + (
        (v / torch.linalg.matrix_norm(v, 2))[labels] * features
    ).sum(1)
    torch.testing.assert_close(critic(x, labels), expected, atol=1e-6, rtol=1e-6)
