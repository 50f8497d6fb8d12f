import torch

from ganvas.config import NetworkConfig
from ganvas.networks import build_critic, build_generator
from ganvas.presets import presets


def test_the_articles_pair() -> None:
    """G 100-128-128-784 and D 784-128-128-1: weights and biases counted by hand."""
    config = presets.get("article").network
    generator, critic = build_generator(config, (1, 28, 28), 10), build_critic(config, (1, 28, 28), 10)
    sizes = [tuple(p.shape) for p in generator.parameters()]
    assert sizes == [(128, 100), (128,), (128, 128), (128,), (784, 128), (784,)]
    assert [tuple(p.shape) for p in critic.parameters()] == [
        (128, 784), (128,), (128, 128), (128,), (1, 128), (1,),
    ]  # fmt: skip
    assert generator.value_range == (0.0, 1.0)
    names = [type(m).__name__ for m in generator.layers]  # type: ignore[union-attr, operator]
    assert names == ["Linear", "ReLU", "Linear", "ReLU", "Linear", "Sigmoid"]
    article = presets.get("article")
    assert (article.training.batch, article.optimizer.lr_generator, article.optimizer.beta1) == (
        32,
        2e-4,
        0.5,
    )


def test_a_critic_without_hidden_layers_sees_the_octaves_of_points() -> None:
    config = NetworkConfig("mlp", 2, conditional=True, critic={"hidden": [], "fourier": 3, "codes": 1})
    found = build_critic(config, (2,), 3).answer(torch.zeros(4, 2), torch.zeros(4, dtype=torch.long))
    assert found.features.shape == (4, 14)
    assert found.codes is not None
